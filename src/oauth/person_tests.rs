//! People's tokens at the endpoints that judge them: userinfo, introspection, revocation, gateways.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::Form;
use super::access_token::{self, Inactive};
use super::authorize::claims::ClaimsRequest;
use super::bearer::Unusable;
use super::enforcement::{self, admit};
use super::id_token::Hint;
use super::id_token::tests::{ISSUER, sign_in};
use super::person_introspection::{Refresh, introspect, introspect_refresh};
use super::person_revocation::{self, Decision};
use super::person_token::{ActivePerson, Joined, PersonToken, claims, judge};
use super::userinfo::{self, Denial};
use crate::directory::judge::person::testing::{ALICE, alice};
use crate::directory::judge::person_scope::still_held;
use crate::directory::tables::record::GatewayRecord;
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{
    AcceptedClient, ApiScope, Barred, Invalid, ObjectKey, Person, PersonClient, PersonScope,
    StandardScope,
};
use crate::people::account::{Account, AccountId};
use crate::people::grant::{Client as GrantClient, Ended, Grant, GrantStanding};
use crate::people::refresh::{
    self, Family, KeyMaterial, Policy, RefreshKeys, RefreshVerdict, Rotation, Token,
};
use crate::people::testing;
use crate::resources::{ConsentPolicy, IdTokenContent};
use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};
use crate::tokens::reference::Prefix;
use crate::tokens::{AccessTokenClaims, PersonAccessToken, PersonClaims, Released, SeededEntropy};

const API: &str = "https://api.example.com";

/// An API that introspects its tokens, and a client of no relation to them.
const MORE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: api, namespace: platform}
spec:
  identityRef: {name: main}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  resourceServer: {audiences: [https://api.example.com]}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: stranger, namespace: green}
spec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials], scopes: [orders.read]}
";

fn now() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

fn world() -> World {
    World::new(&format!("{QUICKSTART}---\n{MORE}"))
}

fn client<'a>(world: &'a World, id: &str) -> AcceptedClient<'a> {
    world.directory.active_client(&identity(), id).unwrap()
}

/// A token with these scopes, a minute old, and its grant.
struct Case {
    world: World,
    token: AccessTokenClaims,
    person: PersonClaims,
    standing: GrantStanding,
}

impl Case {
    fn new(scopes: &str) -> Self {
        let issued = now() - SignedDuration::from_mins(1);
        let grant = Grant {
            account: AccountId(ALICE.parse().unwrap()),
            session: sign_in().session,
            client: "blue.shop".to_owned(),
            client_uid: "OAuthClient-blue-shop".to_owned(),
            scopes: scopes.to_owned(),
            created_at: issued,
            expires_at: now() + SignedDuration::from_hours(2),
            ..testing::grant()
        };
        Self {
            world: world(),
            token: AccessTokenClaims {
                iss: ISSUER.to_owned(),
                sub: ALICE.to_owned(),
                aud: Audience::Single(API.to_owned()),
                client_id: "blue.shop".to_owned(),
                client_uid: "OAuthClient-blue-shop".to_owned(),
                iat: issued,
                nbf: issued,
                exp: issued + SignedDuration::from_hours(1),
                jti: "JJJJJJJJJJJJJJJJ".to_owned(),
                scope: Scopes::Text(scopes.split(' ').map(str::to_owned).collect()),
                principal_kind: PrincipalKind::Person,
                client_system_user: None,
                no_other_kind: NoOtherKind,
            },
            person: PersonClaims {
                grant_id: grant.id,
                sid: grant.session,
                auth_time: sign_in().at,
                acr: Some("mfa".to_owned()),
                amr: vec!["pwd".to_owned(), "otp".to_owned()],
            },
            standing: GrantStanding {
                grant,
                account: Account {
                    id: AccountId(ALICE.parse().unwrap()),
                    owner: "user:1".to_owned(),
                    created_at: issued,
                    valid_after: issued,
                    epoch: 3,
                },
                session_ended_at: None,
            },
        }
    }

    /// Every scope that the directory grants now.
    fn held(&self) -> Vec<PersonScope<'_>> {
        let client = client(&self.world, "blue.shop");
        still_held(&self.token.scope.to_string(), |value| {
            let standard = StandardScope::parse(value).map(PersonScope::Standard);
            standard.or_else(|| {
                let granted = self.world.directory.granted_scope(&client, value)?;
                Some(PersonScope::Api(ApiScope {
                    granted,
                    claims: &[],
                    ceiling: None,
                }))
            })
        })
    }

    fn joined(&self) -> Joined<'_> {
        Joined {
            standing: Some(&self.standing),
            client_may_act: true,
            person: Ok(alice()),
            scopes: self.held(),
        }
    }

    fn judge_with<'a>(&'a self, joined: Joined<'a>) -> Result<ActivePerson<'a>, Inactive> {
        let presented = PersonToken {
            token: &self.token,
            person: &self.person,
        };
        judge(&self.world.directory, &identity(), presented, joined, now())
    }

    fn judge(&self) -> Result<ActivePerson<'_>, Inactive> {
        self.judge_with(self.joined())
    }
}

fn refused(change: fn(&mut Case)) -> Inactive {
    let mut case = Case::new("openid orders.read");
    assert!(case.judge().is_ok());
    change(&mut case);
    case.judge().unwrap_err()
}

#[test]
fn a_token_is_valid_only_together_with_grant_session_account_person_and_client() {
    let end = |case: &mut Case| case.standing.grant.ended_at = Some(now());
    assert_eq!(refused(end), Inactive::Ended(Ended::Revoked));
    let sign_out = |case: &mut Case| case.standing.session_ended_at = Some(now());
    assert_eq!(refused(sign_out), Inactive::Ended(Ended::Session));
    let everywhere = |case: &mut Case| case.standing.account.epoch = 4;
    assert_eq!(refused(everywhere), Inactive::Ended(Ended::Account));
    let other_client = |case: &mut Case| case.standing.grant.client = "other".to_owned();
    assert_eq!(refused(other_client), Inactive::Ended(Ended::Client));
    let older = |case: &mut Case| case.standing.grant.client_uid = "older".to_owned();
    assert_eq!(refused(older), Inactive::Ended(Ended::Client));
    let expire = |case: &mut Case| case.token.exp = now();
    assert_eq!(refused(expire), Inactive::Invalid(Invalid::Expired));
    let elsewhere = |case: &mut Case| case.token.iss = "https://h/id".to_owned();
    assert_eq!(refused(elsewhere), Inactive::WrongIssuer);
    let ahead = |case: &mut Case| case.token.nbf = now() + SignedDuration::from_mins(2);
    assert_eq!(refused(ahead), Inactive::NotYetValid);
    let recreated = |case: &mut Case| case.token.client_uid = "older".to_owned();
    assert_eq!(refused(recreated), Inactive::Invalid(Invalid::ClientGone));
    let no_scope = |case: &mut Case| case.token.scope = Scopes::default();
    assert_eq!(refused(no_scope), Inactive::Invalid(Invalid::NoScopeLeft));
}

#[test]
fn a_token_of_another_grant_session_or_person_is_not_taken_for_this_one() {
    let other = "OOOOOOOOOOOOOOOO";
    let changes: [fn(&mut Case, &str); 3] = [
        |case, other| case.person.grant_id = other.parse().unwrap(),
        |case, other| case.person.sid = other.parse().unwrap(),
        |case, _| case.standing.grant.account = AccountId(uuid::Uuid::nil()),
    ];
    for change in changes {
        let mut case = Case::new("openid");
        change(&mut case, other);
        assert_eq!(case.judge().unwrap_err(), Inactive::Malformed);
    }
}

#[test]
fn the_join_refuses_what_the_server_no_longer_finds() {
    let case = Case::new("openid orders.read");
    let refused = |joined| case.judge_with(joined).unwrap_err();
    let gone = Joined {
        standing: None,
        ..case.joined()
    };
    assert_eq!(refused(gone), Inactive::Invalid(Invalid::UnknownToken));
    let client = Joined {
        client_may_act: false,
        ..case.joined()
    };
    assert_eq!(refused(client), Inactive::Invalid(Invalid::ClientRefused));
    let person = |person| Joined {
        person,
        ..case.joined()
    };
    let disabled = person(Err(Barred::Disabled));
    assert_eq!(refused(disabled), Inactive::Barred(Barred::Disabled));
    let revoked = person(Ok(Person {
        revoke_issued_before: Some(now()),
        ..alice()
    }));
    assert_eq!(refused(revoked).as_str(), "person_revoked");
    let other = person(Ok(Person {
        subject: "another",
        ..alice()
    }));
    assert_eq!(refused(other), Inactive::Malformed);
    // More scopes than the token has are ignored.
    let more = Joined {
        scopes: vec![PersonScope::Standard(StandardScope::Email)],
        ..case.joined()
    };
    assert_eq!(refused(more), Inactive::Invalid(Invalid::NoScopeLeft));
}

#[test]
fn a_persons_token_is_never_judged_as_a_clients() {
    let case = Case::new("orders.read");
    let alone = access_token::PresentedToken::Jwt(&case.token);
    let judged = access_token::judge(&case.world.directory, &identity(), &alone, now());
    assert_eq!(judged.unwrap_err(), Inactive::WrongKind);
    // Nor the reverse.
    let mut of_client = Case::new("orders.read");
    of_client.token.principal_kind = PrincipalKind::Client;
    assert_eq!(of_client.judge().unwrap_err(), Inactive::WrongKind);
}

#[test]
fn the_claims_of_a_persons_token_are_read_from_its_payload() {
    let case = Case::new("openid");
    let whole = PersonAccessToken {
        token: case.token.clone(),
        person: case.person.clone(),
        released: Released::default(),
    };
    let json = whole.to_json().unwrap();
    assert_eq!(claims(&case.token, &json), Ok(Some(case.person.clone())));
    let bare = case.token.to_json().unwrap();
    assert_eq!(claims(&case.token, &bare), Err(Inactive::Malformed));
    let mut of_client = case.token;
    of_client.principal_kind = PrincipalKind::Client;
    assert_eq!(claims(&of_client, &bare), Ok(None));
}

fn shown(case: &Case, claims: &str, also: &[PersonScope<'_>]) -> Result<Value, Denial> {
    let active = case.judge().unwrap();
    let request = ClaimsRequest::parse(claims).unwrap();
    let also: Vec<PersonScope<'_>> = also.to_vec();
    let answer = userinfo::answer(&active, &request, &also)?;
    Ok(serde_json::from_slice(&answer.to_json().unwrap()).unwrap())
}

#[test]
fn userinfo_has_the_subject_and_the_claims_of_the_scopes() {
    let case = Case::new("openid email groups orders.read");
    let wanted = json!({
        "sub": ALICE, "email": "alice@example.com", "email_verified": true, "groups": ["staff", "buyers"],
    });
    assert_eq!(shown(&case, "{}", &[]), Ok(wanted));
    assert_eq!(
        shown(&Case::new("openid"), "{}", &[]),
        Ok(json!({"sub": ALICE}))
    );
    assert_eq!(
        shown(&Case::new("email orders.read"), "{}", &[]),
        Err(Denial::InsufficientScope)
    );
}

#[test]
fn userinfo_has_the_claims_that_the_request_named_within_the_allowed_scopes() {
    let case = Case::new("openid");
    let claims = r#"{"userinfo": {"name": {"essential": true}, "email": null}, "id_token": {"groups": null}}"#;
    assert_eq!(shown(&case, claims, &[]), Ok(json!({"sub": ALICE})));
    let profile = [PersonScope::Standard(StandardScope::Profile)];
    let wanted = json!({"sub": ALICE, "name": "Alice Adams"});
    assert_eq!(shown(&case, claims, &profile), Ok(wanted));
}

#[test]
fn a_signed_answer_names_issuer_and_client_and_passes_as_no_token() {
    let case = Case::new("openid email");
    let active = case.judge().unwrap();
    let answer = userinfo::answer(&active, &ClaimsRequest::default(), &[]).unwrap();
    let signed = answer.signed_for(ISSUER, "blue.shop", now());
    let json = signed.to_json().unwrap();
    let read: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(
        read,
        json!({
            "iss": ISSUER, "aud": "blue.shop", "iat": now().as_second(), "sub": ALICE,
            "email": "alice@example.com", "email_verified": true,
        })
    );
    assert!(Hint::from_json(&json, ISSUER).is_err());
    assert!(AccessTokenClaims::from_json(&json).is_err());
}

#[rstest]
#[case::header(&["Bearer abc"], None, Ok("abc"))]
#[case::form(&[], Some("access_token=abc"), Ok("abc"))]
#[case::another_scheme(&["Basic abc"], Some("access_token=abc"), Ok("abc"))]
#[case::other_fields(&["bearer abc"], Some("x=1"), Ok("abc"))]
#[case::nothing(&[], None, Err(Unusable::Missing))]
#[case::nothing_in_the_form(&[], Some("x=1"), Err(Unusable::Missing))]
#[case::both(&["Bearer abc"], Some("access_token=abc"), Err(Unusable::SeveralWays))]
#[case::two_headers(&["Bearer abc", "Bearer abc"], None, Err(Unusable::SeveralWays))]
#[case::empty_header(&["Bearer "], None, Err(Unusable::Malformed))]
#[case::not_a_token(&[], Some("access_token=a%22b"), Err(Unusable::Malformed))]
fn userinfo_takes_one_token_from_the_header_or_the_form(
    #[case] headers: &[&str],
    #[case] body: Option<&str>,
    #[case] token: Result<&str, Unusable>,
) {
    let form = body.map(|body| Form::parse(body.as_bytes()).unwrap());
    let headers = headers.iter().map(|header| header.as_bytes());
    assert_eq!(userinfo::token(headers, form.as_ref()), token);
}

#[rstest]
#[case(Denial::Unusable(Unusable::Missing), 401, "")]
#[case(
    Denial::Unusable(Unusable::SeveralWays),
    400,
    r#", error="invalid_request""#
)]
#[case(
    Denial::Unusable(Unusable::Malformed),
    400,
    r#", error="invalid_request""#
)]
#[case(
    Denial::Inactive(Inactive::Malformed),
    401,
    r#", error="invalid_token""#
)]
#[case(
    Denial::InsufficientScope,
    403,
    r#", error="insufficient_scope", scope="openid""#
)]
fn a_refusal_of_userinfo_has_the_form_of_rfc_6750(
    #[case] denial: Denial,
    #[case] status: u16,
    #[case] rest: &str,
) {
    assert_eq!(denial.status(), status);
    assert_eq!(
        denial.challenge("https://h/id"),
        format!(r#"Bearer realm="https://h/id"{rest}"#)
    );
}

fn introspected(case: &Case, caller: &str) -> Result<Value, Inactive> {
    let active = case.judge().unwrap();
    let answer = introspect(&client(&case.world, caller), &active)?;
    Ok(serde_json::from_slice(&answer.to_json().unwrap()).unwrap())
}

#[test]
fn each_caller_of_introspection_sees_its_own_part() {
    let case = Case::new("openid email orders.read");
    let own = introspected(&case, "blue.shop").unwrap();
    assert_eq!(
        own,
        json!({
            "active": true, "iss": ISSUER, "sub": ALICE, "aud": API, "client_id": "blue.shop",
            "scope": "openid email orders.read", "token_type": "Bearer",
            "iat": case.token.iat.as_second(), "nbf": case.token.iat.as_second(), "exp": case.token.exp.as_second(),
            "jti": "JJJJJJJJJJJJJJJJ", "principal_kind": "person", "sid": "SSSSSSSSSSSSSSSS", "auth_time": 900,
            "acr": "mfa", "amr": ["pwd", "otp"], "email": "alice@example.com", "email_verified": true,
        })
    );
    let api = introspected(&case, "platform.api").unwrap();
    assert_eq!(
        (&api["scope"], &api["aud"]),
        (&json!("orders.read"), &json!(API))
    );
    assert_eq!(api.get("email"), None);
    let stranger = introspected(&case, "green.stranger");
    assert_eq!(stranger, Err(Inactive::WrongAudience));
}

#[test]
fn a_token_of_standard_scopes_is_shown_to_its_client_alone() {
    let mut case = Case::new("openid");
    case.token.aud = Audience::Single(ISSUER.to_owned());
    let own = introspected(&case, "blue.shop").unwrap();
    assert_eq!(
        (&own["scope"], &own["aud"]),
        (&json!("openid"), &json!(ISSUER))
    );
    assert_eq!(
        introspected(&case, "platform.api"),
        Err(Inactive::WrongAudience)
    );
}

#[test]
fn a_gateway_judges_a_persons_token_by_the_scopes_of_its_audience() {
    let gateway = |scope: &str| GatewayRecord {
        audience: API.into(),
        scopes: vec![scope.into()],
    };
    let case = Case::new("openid orders.read");
    let token = || case.judge().unwrap().token;
    let passed = admit(token(), &gateway("orders.read")).unwrap();
    let who = (passed.token.kind, passed.token.subject);
    assert_eq!(who, (PrincipalKind::Person, ALICE));
    assert_eq!(super::scope::join(&passed.scopes), "orders.read");
    let denied = admit(token(), &gateway("orders.write")).unwrap_err();
    assert_eq!(denied, enforcement::Denial::InsufficientScope);
    // No scope of an API is left.
    let standard = Case::new("openid");
    let token = standard.judge().unwrap().token;
    let denied = admit(token, &gateway("openid")).unwrap_err();
    let wanted = enforcement::Denial::Inactive(Inactive::WrongAudience);
    assert_eq!(denied, wanted);
}

const POLICY: Policy = Policy {
    rotation: Rotation::Rotate,
    grace: Duration::from_secs(60),
    idle: Duration::from_hours(24),
    max_age: Duration::from_hours(2160),
};

fn keys() -> RefreshKeys {
    RefreshKeys::new(&KeyMaterial::sample(1), None)
}

fn family() -> (Family, Token) {
    let token = keys().first(&Prefix::default(), &mut SeededEntropy::new(3));
    let grant = "GGGGGGGGGGGGGGGG".parse().unwrap();
    let begun = now() - SignedDuration::from_mins(1);
    (refresh::begin(&token, grant, begun), token)
}

fn verdict(family: &Family, token: &Token) -> RefreshVerdict {
    let prefix = Prefix::default();
    let presented = refresh::Presented::parse(token.text.expose(), &prefix).unwrap();
    let grant = Case::new("openid").standing.grant;
    let rules = refresh::Rules {
        keys: &keys(),
        prefix: &prefix,
        policy: &POLICY,
        client: GrantClient {
            id: "blue.shop",
            uid: "OAuthClient-blue-shop",
        },
    };
    refresh::judge(family, &grant, &presented, rules, now())
}

fn refreshing<'a>(case: &'a Case, family: &'a Family, verdict: &'a RefreshVerdict) -> Refresh<'a> {
    Refresh {
        caller: PersonClient {
            accepted: client(&case.world, "blue.shop"),
            is_public: true,
            may_use_codes: true,
            may_refresh: true,
            consent: ConsentPolicy::Remember,
            id_token_lifetime: SignedDuration::from_mins(5),
            id_token_claims: IdTokenContent::Standard,
        },
        family,
        verdict,
        policy: POLICY,
        standing: &case.standing,
        person: Ok(alice()),
        scopes: case.held(),
    }
}

#[test]
fn a_client_learns_about_a_refresh_token_that_it_could_use() {
    let case = Case::new("openid offline_access");
    let (family, token) = family();
    let verdict = verdict(&family, &token);
    let refresh = refreshing(&case, &family, &verdict);
    let answer = introspect_refresh(&refresh, now()).unwrap();
    let read: Value = serde_json::from_slice(&answer.to_json().unwrap()).unwrap();
    assert_eq!(
        read,
        json!({
            "active": true, "iss": ISSUER, "sub": ALICE, "client_id": "blue.shop",
            "scope": "openid offline_access", "iat": family.created_at.as_second(),
            // The grant ends before the family.
            "exp": case.standing.grant.expires_at.as_second(), "sid": "SSSSSSSSSSSSSSSS",
        })
    );
    let refused = |change: fn(&mut Refresh<'_>)| {
        let mut changed = refresh.clone();
        change(&mut changed);
        introspect_refresh(&changed, now()).unwrap_err()
    };
    assert_eq!(
        refused(|it| it.caller.may_refresh = false),
        Inactive::Invalid(Invalid::ClientRefused)
    );
    assert_eq!(
        refused(|it| it.person = Err(Barred::Unknown)),
        Inactive::Barred(Barred::Unknown)
    );
    assert_eq!(
        refused(|it| it.scopes.clear()),
        Inactive::Invalid(Invalid::NoScopeLeft)
    );
    let mut other = refresh.clone();
    other.caller.accepted = client(&case.world, "platform.api");
    assert_eq!(
        introspect_refresh(&other, now()),
        Err(Inactive::WrongAudience)
    );
    let mut ended = case.standing.clone();
    ended.session_ended_at = Some(now());
    let signed_out = Refresh {
        standing: &ended,
        ..refresh
    };
    assert_eq!(
        introspect_refresh(&signed_out, now()),
        Err(Inactive::Ended(Ended::Session))
    );
}

/// The demands of the client count at each use, also for what was issued before it made them.
#[test]
fn a_token_of_a_sign_in_that_the_client_no_longer_takes_is_not_active() {
    let demanding = |demand: &str| {
        format!(
            "apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {{name: shop, namespace: blue}}
spec:
  identityRef: {{name: main, namespace: platform}}
  type: Public
  grantTypes: [AuthorizationCode, RefreshToken]
  scopes: [openid, offline_access, orders.read]
  redirectUris: [https://shop.example.com/callback]
  {demand}
"
        )
    };
    let mut case = Case::new("openid offline_access orders.read");
    case.standing.grant.authenticated_at = now() - SignedDuration::from_mins(90);
    let (family, token) = family();
    let verdict = verdict(&family, &token);
    for (demand, is_good) in [
        ("maxAuthAge: 2h", true),
        ("maxAuthAge: 1h", false),
        ("minimumAcr: Mfa", false),
    ] {
        case.world.apply(&demanding(demand));
        let barred = Inactive::Barred(Barred::SignInInsufficient);
        let wanted = (!is_good).then_some(barred);
        assert_eq!(case.judge().err(), wanted, "{demand}");
        let refresh = refreshing(&case, &family, &verdict);
        assert_eq!(
            introspect_refresh(&refresh, now()).err(),
            wanted,
            "{demand}"
        );
    }
}

/// The same texts as for a refresh: what gives nothing is not active.
#[rstest]
#[case(RefreshVerdict::Reuse)]
#[case(RefreshVerdict::Ahead)]
#[case(RefreshVerdict::UnknownKey)]
#[case(RefreshVerdict::Ended)]
#[case(RefreshVerdict::Expired)]
#[case(RefreshVerdict::Guessed)]
fn a_refresh_token_that_gives_nothing_is_not_active(#[case] verdict: RefreshVerdict) {
    let case = Case::new("openid offline_access");
    let (family, _) = family();
    let refresh = refreshing(&case, &family, &verdict);
    assert!(introspect_refresh(&refresh, now()).is_err());
}

#[test]
fn revoking_a_refresh_token_ends_its_grant_for_every_genuine_generation() {
    let case = Case::new("openid offline_access");
    let (family, token) = family();
    let grant = family.grant;
    let decide = |caller: &str, verdict: &RefreshVerdict| {
        let caller = client(&case.world, caller);
        person_revocation::refresh_token(&caller, &family, verdict, &case.standing)
    };
    let current = verdict(&family, &token);
    for genuine in [
        &current,
        &RefreshVerdict::Reuse,
        &RefreshVerdict::Ahead,
        &RefreshVerdict::Expired,
    ] {
        assert_eq!(decide("blue.shop", genuine), Decision::EndGrant(grant));
        assert_eq!(decide("platform.api", genuine), Decision::Nothing);
    }
    for other in [&RefreshVerdict::Guessed, &RefreshVerdict::Ended] {
        assert_eq!(decide("blue.shop", other), Decision::Nothing);
    }
}

#[test]
fn revoking_an_access_token_ends_its_grant() {
    let mut case = Case::new("openid");
    let decide = |case: &Case, caller: &str| {
        let caller = client(&case.world, caller);
        person_revocation::access_token(&caller, &case.token, &case.person, &case.standing)
    };
    let grant = case.standing.grant.id;
    assert_eq!(decide(&case, "blue.shop"), Decision::EndGrant(grant));
    assert_eq!(decide(&case, "platform.api"), Decision::Nothing);
    case.standing.grant.ended_at = Some(now());
    assert_eq!(decide(&case, "blue.shop"), Decision::Nothing);
}
