//! What codes and refresh tokens give, with given time and randomness.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::person::{Holding, REFUSED, Refused, front_channel_id_token, target};
use super::{authorization_code, refresh_token};
use crate::directory::judge::person::testing::{ALICE, alice};
use crate::directory::judge::person_scope::{join, still_held};
use crate::directory::tables::record::RefreshSettings;
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{
    ApiScope, Barred, ObjectKey, Person, PersonClient, PersonScope, StandardScope,
};
use crate::oauth::authorize::claims::ClaimsRequest;
use crate::oauth::id_token::tests::{ISSUER, sign_in};
use crate::oauth::sign_in::SignIn;
use crate::oauth::{ErrorCode, Form, OAuthError};
use crate::people::account::AccountId;
use crate::people::grant::{Client as GrantClient, EndsWith, Grant};
use crate::people::refresh::{KeyMaterial, Policy, RefreshKeys, Rotation};
use crate::people::testing;
use crate::resources::{ConsentPolicy, IdTokenContent, RefreshTokenEnd};
use crate::tokens::reference::{self, Kind, Prefix};
use crate::tokens::{AccessTokenClaims, Algorithm, PersonClaims, SeededEntropy, TokenHash};

const SHOP: GrantClient<'static> = GrantClient {
    id: "blue.app",
    uid: "OAuthClient-blue-app",
};
const API: &str = "https://api.example.com";
const GREEN: &str = "https://id.example.com/id/green";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// A scope of another team, and one of the issuer itself; the client has all of them.
const MORE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: items, namespace: green}
spec: {identityRef: {name: main, namespace: platform}, allowedNamespaces: {from: All}}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: account, namespace: platform}
spec: {identityRef: {name: main}, allowedNamespaces: {from: All}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: app, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [orders.read, orders.write, green:items, account]
  systemUser: {name: robot}
";

fn now() -> Timestamp {
    "2026-02-01T00:00:00.75Z".parse().unwrap()
}

fn world() -> World {
    World::new(&format!("{QUICKSTART}---\n{MORE}"))
}

fn client(world: &World) -> PersonClient<'_> {
    let identity = ObjectKey::new("platform", "main");
    PersonClient {
        accepted: world
            .directory
            .active_client(&identity, "blue.app")
            .unwrap(),
        is_public: true,
        may_use_codes: true,
        may_refresh: true,
        consent: ConsentPolicy::Remember,
        id_token_lifetime: SignedDuration::from_mins(5),
        id_token_claims: IdTokenContent::Standard,
    }
}

fn grant(scopes: &str, resources: &str) -> Grant {
    Grant {
        account: AccountId(ALICE.parse().unwrap()),
        session: sign_in().session,
        client: SHOP.id.to_owned(),
        client_uid: SHOP.uid.to_owned(),
        scopes: scopes.to_owned(),
        resources: resources.to_owned(),
        created_at: now() - SignedDuration::from_secs(10),
        expires_at: now() + SignedDuration::from_hours(1),
        ..testing::grant()
    }
}

/// A later sign-in in the same session changes no grant.
#[test]
fn the_sign_in_of_a_grant_is_the_one_in_which_it_was_allowed() {
    let mut grant = grant("openid", "");
    grant.authenticated_at = now() - SignedDuration::from_mins(7);
    grant.acr = "https://symbolon.dev/acr/mfa".to_owned();
    grant.methods = "pwd otp mfa".to_owned();
    let SignIn {
        session,
        at,
        acr,
        methods,
    } = SignIn::from(&grant);
    assert_eq!(
        (session, at, acr, methods),
        (
            grant.session,
            grant.authenticated_at,
            Some(&*grant.acr),
            &*grant.methods
        )
    );
}

/// Every scope that the directory grants to the client, and the standard ones.
fn held<'a>(world: &'a World, scopes: &str) -> Vec<PersonScope<'a>> {
    let client = client(world);
    still_held(scopes, |value| {
        let standard = StandardScope::parse(value).map(PersonScope::Standard);
        standard.or_else(|| {
            let granted = world.directory.granted_scope(&client.accepted, value)?;
            Some(PersonScope::Api(ApiScope {
                granted,
                claims: &[],
                ceiling: None,
            }))
        })
    })
}

static NOTHING: ClaimsRequest = ClaimsRequest {
    id_token: std::collections::BTreeMap::new(),
    userinfo: std::collections::BTreeMap::new(),
};

fn holding<'a>(world: &'a World, grant: &'a Grant) -> Holding<'a> {
    Holding {
        client: client(world),
        grant,
        sign_in: sign_in(),
        person: Ok(alice()),
        scopes: held(world, &grant.scopes),
        claims: &NOTHING,
        also_allowed: &[],
    }
}

const POLICY: Policy = Policy {
    rotation: Rotation::Rotate,
    grace: Duration::from_secs(60),
    idle: Duration::from_hours(24),
    max_age: Duration::from_hours(2160),
};

fn code() -> String {
    let minted = reference::mint(
        &Prefix::default(),
        Kind::AuthorizationCode,
        &mut SeededEntropy::new(3),
    );
    minted.token.expose().to_owned()
}

fn refresh_token() -> String {
    let material = KeyMaterial::sample(1);
    let keys = RefreshKeys::new(&material, None);
    let first = keys.first(&Prefix::default(), &mut SeededEntropy::new(3));
    first.text.expose().to_owned()
}

fn redeem(holding: &Holding<'_>, more: &str) -> Result<authorization_code::Redeemed, Refused> {
    let body = format!("code={}{more}", code());
    let form = Form::parse(body.as_bytes()).unwrap();
    let request = authorization_code::Request::parse(&form, &Prefix::default())?;
    let mut entropy = SeededEntropy::new(7);
    let nonce = Some("n-1");
    authorization_code::decide(&request, holding, nonce, &POLICY, now(), &mut entropy)
}

fn refresh(holding: &Holding<'_>, more: &str) -> Result<super::person::UnsignedTokens, Refused> {
    let body = format!("refresh_token={}{more}", refresh_token());
    let form = Form::parse(body.as_bytes()).unwrap();
    let request = refresh_token::Request::parse(&form, &Prefix::default())?;
    refresh_token::decide(&request, holding, now(), &mut SeededEntropy::new(7))
}

fn payload(issue: &super::person::UnsignedTokens) -> Value {
    serde_json::from_slice(&issue.access_token).unwrap()
}

fn id_token(issue: &super::person::UnsignedTokens) -> Value {
    let json = issue.id_token(Algorithm::RS256, "at").unwrap().unwrap();
    serde_json::from_slice(&json).unwrap()
}

fn code_of<T: std::fmt::Debug>(refused: Result<T, Refused>) -> ErrorCode {
    refused.unwrap_err().error().code
}

#[test]
fn a_code_gives_an_access_token_of_the_person() {
    let (world, grant) = (world(), grant("openid email orders.read", ""));
    let redeemed = redeem(&holding(&world, &grant), "").unwrap();
    let issue = &redeemed.tokens;
    assert_eq!(
        payload(issue),
        json!({
            "iss": ISSUER, "sub": ALICE, "aud": API, "client_id": "blue.app", "client_uid": "OAuthClient-blue-app",
            "iat": 1_769_904_000, "nbf": 1_769_904_000, "exp": 1_769_907_600, "jti": issue.token_id,
            "scope": "openid email orders.read", "principal_kind": "person", "grant_id": "GGGGGGGGGGGGGGGG",
            "sid": "SSSSSSSSSSSSSSSS", "auth_time": 900, "acr": "mfa", "amr": ["pwd", "otp"],
            "email": "alice@example.com", "email_verified": true,
        })
    );
    let claims = AccessTokenClaims::from_json(&issue.access_token).unwrap();
    assert_eq!(claims.client_system_user, None);
    assert_eq!(
        PersonClaims::from_json(&issue.access_token)
            .unwrap()
            .grant_id,
        grant.id
    );
    assert_eq!(issue.expires_in, 3600);
    assert_eq!(redeemed.family_ends_at, None);
    assert_eq!(redeemed.grant_ends_at, claims.exp);
}

#[test]
fn the_id_token_is_bound_to_the_nonce_and_the_access_token_and_leaves_profile_to_userinfo() {
    let (world, grant) = (world(), grant("openid profile email groups", ""));
    let mut holding = holding(&world, &grant);
    let token = id_token(&redeem(&holding, "").unwrap().tokens);
    assert_eq!(
        token,
        json!({
            "iss": ISSUER, "sub": ALICE, "aud": "blue.app", "iat": 1_769_904_000, "exp": 1_769_904_300,
            "auth_time": 900, "nonce": "n-1", "acr": "mfa", "amr": ["pwd", "otp"], "sid": "SSSSSSSSSSSSSSSS",
            "at_hash": "sda5G2fCr6XjIpiNlGJjjQ", "groups": ["staff", "buyers"],
        })
    );
    holding.client.id_token_claims = IdTokenContent::Full;
    let token = id_token(&redeem(&holding, "").unwrap().tokens);
    assert_eq!(token["email"], "alice@example.com");
    assert_eq!(token["preferred_username"], "alice");
}

#[test]
fn the_id_token_has_the_claims_that_the_request_names_within_the_allowed_scopes() {
    let (world, grant) = (world(), grant("openid", ""));
    let claims = ClaimsRequest::parse(
        r#"{"id_token": {"email": {"essential": true}, "name": null, "department": null}}"#,
    )
    .unwrap();
    let also = [PersonScope::Standard(StandardScope::Email)];
    let mut holding = holding(&world, &grant);
    holding.claims = &claims;
    assert_eq!(
        id_token(&redeem(&holding, "").unwrap().tokens).get("email"),
        None
    );
    holding.also_allowed = &also;
    let issue = redeem(&holding, "").unwrap().tokens;
    let token = id_token(&issue);
    assert_eq!(token["email"], "alice@example.com");
    assert_eq!((token.get("name"), token.get("department")), (None, None));
    // The scope of the access token does not widen.
    assert_eq!(issue.scope, "openid");
    assert_eq!(payload(&issue).get("email"), None);
}

#[test]
fn without_openid_there_is_no_id_token() {
    let (world, grant) = (world(), grant("orders.read", ""));
    let issue = redeem(&holding(&world, &grant), "").unwrap().tokens;
    assert_eq!(issue.id_token, None);
    assert_eq!(issue.id_token(Algorithm::RS256, "at").unwrap(), None);
}

#[test]
fn offline_access_gives_a_family_to_a_client_that_may_refresh() {
    let (world, grant) = (world(), grant("openid offline_access", ""));
    let mut holding = holding(&world, &grant);
    let redeemed = redeem(&holding, "").unwrap();
    assert_eq!(redeemed.tokens.scope, "openid offline_access");
    let end = now() + SignedDuration::from_hours(2160);
    assert_eq!(redeemed.family_ends_at, Some(end));
    assert!(redeemed.grant_ends_at > end + SignedDuration::from_mins(59));

    holding.client.may_refresh = false;
    let redeemed = redeem(&holding, "").unwrap();
    assert_eq!(redeemed.tokens.scope, "openid");
    assert_eq!(redeemed.family_ends_at, None);
}

#[test]
fn the_answer_lists_the_tokens_that_were_issued() {
    let (world, grant) = (world(), grant("openid", ""));
    let issue = redeem(&holding(&world, &grant), "").unwrap().tokens;
    assert_eq!(
        issue.render("at", Some("id"), Some("rt")),
        r#"{"access_token":"at","token_type":"Bearer","expires_in":3600,"scope":"openid","refresh_token":"rt","id_token":"id"}"#
    );
    assert_eq!(
        issue.render("at", None, None),
        r#"{"access_token":"at","token_type":"Bearer","expires_in":3600,"scope":"openid"}"#
    );
}

/// Every check stands at each use: neither a code nor a refresh gives anything then.
#[rstest]
#[case::disabled(|it: &mut Holding<'_>, _: &mut Grant| it.person = Err(Barred::Disabled))]
#[case::not_allowed(|it: &mut Holding<'_>, _: &mut Grant| it.person = Err(Barred::ClientNotAllowed))]
#[case::weak_sign_in(|it: &mut Holding<'_>, _: &mut Grant| it.person = Err(Barred::SignInInsufficient))]
#[case::revoked(|it: &mut Holding<'_>, _: &mut Grant| {
    it.person = Ok(Person { revoke_issued_before: Some(now()), ..alice() });
})]
#[case::no_scope_left(|it: &mut Holding<'_>, _: &mut Grant| it.scopes.clear())]
#[case::another_client(|_: &mut Holding<'_>, grant: &mut Grant| grant.client = "blue.shop".to_owned())]
#[case::a_recreated_client(|_: &mut Holding<'_>, grant: &mut Grant| grant.client_uid = "older".to_owned())]
fn a_person_client_or_grant_that_may_not_act_gets_nothing(
    #[case] change: fn(&mut Holding<'_>, &mut Grant),
) {
    let world = world();
    let good = grant("openid offline_access orders.read", "");
    assert!(redeem(&holding(&world, &good), "").is_ok());
    assert!(refresh(&holding(&world, &good), "").is_ok());
    let mut grant = good.clone();
    let mut holding = holding(&world, &good);
    change(&mut holding, &mut grant);
    let holding = Holding {
        grant: &grant,
        ..holding
    };
    assert_eq!(redeem(&holding, "").unwrap_err().error(), REFUSED);
    assert_eq!(refresh(&holding, "").unwrap_err().error(), REFUSED);
}

#[test]
fn a_client_uses_only_the_grants_of_its_registration() {
    let (world, grant) = (world(), grant("openid offline_access", ""));
    let mut holding = holding(&world, &grant);
    holding.client.may_use_codes = false;
    assert_eq!(code_of(redeem(&holding, "")), ErrorCode::UnauthorizedClient);
    holding.client.may_refresh = false;
    assert_eq!(
        code_of(refresh(&holding, "")),
        ErrorCode::UnauthorizedClient
    );
}

#[test]
fn a_refresh_keeps_the_sign_in_and_has_no_nonce() {
    let (world, grant) = (world(), grant("openid offline_access", ""));
    let token = id_token(&refresh(&holding(&world, &grant), "").unwrap());
    assert_eq!(token["auth_time"], 900);
    assert_eq!(token["sid"], "SSSSSSSSSSSSSSSS");
    assert_eq!(token.get("nonce"), None);
}

#[test]
fn a_refresh_narrows_the_scope_and_never_widens_it() {
    let (world, grant) = (
        world(),
        grant("openid offline_access orders.read orders.write", ""),
    );
    let mut holding = holding(&world, &grant);
    let issue = refresh(&holding, "&scope=orders.read").unwrap();
    assert_eq!(issue.scope, "orders.read");
    assert_eq!(issue.id_token, None);
    for (body, error) in [
        ("&scope=email", ErrorCode::InvalidScope),
        ("&scope=account", ErrorCode::InvalidScope),
        ("&scope=orders.read++openid", ErrorCode::InvalidScope),
    ] {
        assert_eq!(code_of(refresh(&holding, body)), error, "{body}");
    }
    // A scope that was withdrawn since.
    holding.scopes = held(&world, "openid offline_access orders.read");
    assert_eq!(
        code_of(refresh(&holding, "&scope=orders.write")),
        ErrorCode::InvalidScope
    );
    assert_eq!(
        refresh(&holding, "").unwrap().scope,
        "openid offline_access orders.read"
    );
}

#[test]
fn without_offline_access_there_is_no_refresh() {
    let (world, grant) = (world(), grant("openid offline_access", ""));
    let mut holding = holding(&world, &grant);
    holding.scopes = held(&world, "openid");
    assert_eq!(refresh(&holding, "").unwrap_err().error(), REFUSED);
}

#[rstest]
#[case::none_named("openid orders.read", &[], "openid orders.read", &[API])]
#[case::only_standard_scopes("openid email", &[], "openid email", &[ISSUER])]
#[case::of_the_api("openid orders.read", &[API], "orders.read", &[API])]
#[case::of_the_issuer("openid email orders.read", &[ISSUER], "openid email", &[ISSUER])]
#[case::of_the_issuer_with_its_scope("openid account orders.read", &[ISSUER], "openid account", &[ISSUER])]
#[case::of_both_of_one_owner("openid orders.read", &[API, ISSUER], "openid orders.read", &[API, ISSUER])]
fn a_token_has_the_scopes_and_audiences_of_its_resources(
    #[case] scopes: &str,
    #[case] resources: &[&str],
    #[case] kept: &str,
    #[case] audiences: &[&str],
) {
    let world = world();
    let mut scopes = held(&world, scopes);
    let identity = client(&world).accepted.identity;
    let given = target(identity, &mut scopes, resources).unwrap();
    assert_eq!(given.iter().map(|it| &**it).collect::<Vec<_>>(), audiences);
    assert_eq!(join(&scopes), kept);
}

#[rstest]
#[case::two_owners("openid orders.read green:items", &[])]
#[case::two_owners_named("openid orders.read green:items", &[API, GREEN])]
#[case::issuer_and_another_owner("openid green:items", &[ISSUER, GREEN])]
#[case::unknown("openid orders.read", &["https://other.example.com"])]
#[case::without_a_scope("openid orders.read", &[GREEN])]
#[case::the_issuer_without_a_scope("orders.read", &[ISSUER])]
#[case::malformed("openid orders.read", &["https://api.example.com#x"])]
fn another_resource_is_an_invalid_target(#[case] scopes: &str, #[case] resources: &[&str]) {
    let world = world();
    let mut scopes = held(&world, scopes);
    let identity = client(&world).accepted.identity;
    let refused = target(identity, &mut scopes, resources).unwrap_err();
    assert_eq!(refused.code, ErrorCode::InvalidTarget);
}

#[test]
fn a_token_request_names_a_subset_of_the_resources_of_the_grant() {
    let world = world();
    let grant = grant("openid orders.read account", &format!("{API} {ISSUER}"));
    let holding = holding(&world, &grant);
    let all = redeem(&holding, "").unwrap().tokens;
    assert_eq!(payload(&all)["aud"], json!([API, ISSUER]));
    let one = redeem(&holding, &format!("&resource={API}"))
        .unwrap()
        .tokens;
    assert_eq!(payload(&one)["aud"], json!(API));
    assert_eq!(one.scope, "orders.read");
    // The ID token stays: the resources are about the access token.
    assert!(one.id_token.is_some());
    let other = redeem(&holding, &format!("&resource={GREEN}"));
    assert_eq!(code_of(other), ErrorCode::InvalidTarget);
}

#[test]
fn a_token_that_no_endpoint_would_read_is_not_issued() {
    let (world, grant) = (world(), grant("openid groups", ""));
    let mut holding = holding(&world, &grant);
    let groups: Vec<String> = (0..128).map(|n| format!("{n:0>100}")).collect();
    holding.person = Ok(Person {
        groups: groups.iter().map(String::as_str).collect(),
        ..alice()
    });
    assert_eq!(code_of(redeem(&holding, "")), ErrorCode::InvalidScope);
}

#[test]
fn the_id_token_of_a_hybrid_answer_is_bound_to_the_code() {
    let (world, grant) = (world(), grant("openid", ""));
    let mut holding = holding(&world, &grant);
    let code = "Qcb0Orv1zh30vL1MPRsbm-diHiMwcLyZvn1arpZv-Jxf_11jnpEX3Tgfvk";
    let issue = |holding: &Holding<'_>| {
        front_channel_id_token(holding, "n-1", code, Algorithm::RS256, now())
    };
    let json = issue(&holding).unwrap().to_json().unwrap();
    let token: Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(token["c_hash"], "LDktKdoQak3Pk0cnXxCltA");
    assert_eq!(token["nonce"], "n-1");
    assert_eq!(token.get("at_hash"), None);
    holding.person = Err(Barred::Disabled);
    assert_eq!(issue(&holding), Err(Barred::Disabled));
}

fn parsed(body: &str) -> Result<authorization_code::Request, OAuthError> {
    let form = Form::parse(body.as_bytes()).unwrap();
    authorization_code::Request::parse(&form, &Prefix::default())
}

#[test]
fn the_use_of_a_code_has_what_the_code_is_bound_to() {
    let code = code();
    let uri = "https%3A%2F%2Fapp%2Fcb";
    let request = parsed(&format!(
        "code={code}&redirect_uri={uri}&code_verifier={VERIFIER}"
    ));
    let used = request.unwrap().of_client(SHOP, now());
    assert_eq!(used.hash, TokenHash::of(&code));
    assert_eq!(used.redirect_uri, "https://app/cb");
    assert_eq!(used.challenge.as_deref(), Some(CHALLENGE));
    assert_eq!((used.client, used.arrived_at), (SHOP, now()));
    let bare = parsed(&format!("code={code}"))
        .unwrap()
        .of_client(SHOP, now());
    assert_eq!((&*bare.redirect_uri, bare.challenge), ("", None));
}

#[rstest]
#[case::no_code("code_verifier=x", ErrorCode::InvalidRequest)]
#[case::not_a_code("code=x", ErrorCode::InvalidGrant)]
#[case::a_short_verifier("code=x&code_verifier=x", ErrorCode::InvalidRequest)]
fn a_malformed_request_for_a_code_is_refused(#[case] body: &str, #[case] error: ErrorCode) {
    assert_eq!(parsed(body).unwrap_err().code, error);
}

#[test]
fn no_other_secret_is_a_code_or_a_refresh_token() {
    let (prefix, other) = (Prefix::default(), "other".parse().unwrap());
    for kind in Kind::ALL {
        for from in [&prefix, &other] {
            let minted = reference::mint(from, kind, &mut SeededEntropy::new(3));
            let text = minted.token.expose();
            let is_ours = from == &prefix;
            let is_code = parsed(&format!("code={text}")).is_ok();
            assert_eq!(
                is_code,
                is_ours && kind == Kind::AuthorizationCode,
                "{text}"
            );
            let body = format!("refresh_token={text}");
            let form = Form::parse(body.as_bytes()).unwrap();
            let is_refresh = refresh_token::Request::parse(&form, &prefix).is_ok();
            assert_eq!(is_refresh, is_ours && kind == Kind::RefreshToken, "{text}");
        }
    }
}

#[test]
fn public_unbound_tokens_rotate_and_others_stay() {
    let settings = RefreshSettings {
        always_rotates: false,
        confidential: Duration::from_hours(720),
        public: Duration::from_hours(24),
        reuse_grace: Duration::from_secs(60),
        max_age: Duration::from_hours(2160),
    };
    let always = RefreshSettings {
        always_rotates: true,
        ..settings
    };
    assert_eq!(refresh_token::policy(&settings, true, false), POLICY);
    for (is_public, is_bound) in [(true, true), (false, false), (false, true)] {
        let policy = refresh_token::policy(&settings, is_public, is_bound);
        assert_eq!(policy.rotation, Rotation::Stable);
        let idle = if is_public { 24 } else { 720 };
        assert_eq!(policy.idle, Duration::from_hours(idle));
        assert_eq!(
            refresh_token::policy(&always, is_public, is_bound).rotation,
            Rotation::Rotate
        );
    }
}

#[rstest]
#[case::web(&["https://app.example.com/cb"], EndsWith::Session)]
#[case::native(&["http://127.0.0.1/cb", "com.example.app:/cb"], EndsWith::Grant)]
#[case::both(&["http://127.0.0.1/cb", "https://app.example.com/cb"], EndsWith::Session)]
#[case::none_as_for_device_codes(&[], EndsWith::Grant)]
fn the_tokens_of_an_application_on_the_device_outlive_the_session(
    #[case] uris: &[&str],
    #[case] ends: EndsWith,
) {
    let uris = || uris.iter().copied();
    assert_eq!(refresh_token::ends_with(None, uris()), ends);
    for (chosen, ends) in [
        (RefreshTokenEnd::Session, EndsWith::Session),
        (RefreshTokenEnd::Grant, EndsWith::Grant),
    ] {
        assert_eq!(refresh_token::ends_with(Some(chosen), uris()), ends);
    }
}

const VALUES: [&str; 9] = [
    "openid",
    "profile",
    "email",
    "groups",
    "offline_access",
    "orders.read",
    "orders.write",
    "green:items",
    "account",
];

fn some<T: Clone + std::fmt::Debug + 'static>(of: Vec<T>) -> impl Strategy<Value = Vec<T>> {
    let most = of.len();
    prop::sample::subsequence(of, 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Whatever a request names, its tokens have only scopes that were granted, are still held and were requested, at
    /// audiences of these scopes.
    #[test]
    fn no_request_widens_a_grant(
        granted in some(VALUES.to_vec()), withdrawn in some(VALUES.to_vec()),
        requested in proptest::option::of(some([&VALUES[..], &["other"]].concat())),
        named in some(vec![API, GREEN, ISSUER]), resources in some(vec![API, GREEN, ISSUER, "https://other.example.com"]),
    ) {
        let world = world();
        let grant = grant(&granted.join(" "), &named.join(" "));
        let mut holding = holding(&world, &grant);
        holding.scopes.retain(|scope| !withdrawn.contains(&scope.value()));
        let mut body = String::new();
        if let Some(requested) = &requested {
            body.extend(["&scope=", &requested.join("+")]);
        }
        for resource in &resources {
            body.extend(["&resource=", resource]);
        }
        let of_code = redeem(&holding, &body).map(|redeemed| redeemed.tokens);
        // The request for a code names no scope.
        for (issued, requested) in [(of_code, None), (refresh(&holding, &body), requested)] {
            let Ok(tokens) = issued else { continue };
            let claims = AccessTokenClaims::from_json(&tokens.access_token).unwrap();
            prop_assert_eq!(claims.scope.to_string(), &*tokens.scope);
            prop_assert!(!tokens.scope.is_empty());
            for scope in claims.scope.as_slice() {
                let scope = &scope.as_str();
                prop_assert!(granted.contains(scope) && !withdrawn.contains(scope));
                // A parameter without a value counts as omitted.
                prop_assert!(requested.as_ref().is_none_or(|it| it.is_empty() || it.contains(scope)));
            }
            for audience in claims.aud.iter() {
                prop_assert!([API, GREEN, ISSUER].contains(&audience));
                prop_assert!(named.is_empty() || named.contains(&audience));
                prop_assert!(resources.is_empty() || resources.contains(&audience));
            }
            let has_openid = granted.contains(&"openid") && !withdrawn.contains(&"openid");
            let asks = requested.as_ref().is_none_or(|it| it.is_empty() || it.contains(&"openid"));
            prop_assert_eq!(tokens.id_token.is_some(), has_openid && asks);
        }
    }
}

/// The demands of the client count at each use of the grant, not only when the code was issued.
#[test]
fn a_client_that_demands_a_stronger_or_newer_sign_in_gets_no_tokens_of_an_older_grant() {
    let own = "  grantTypes: [ClientCredentials]\n  scopes: [orders.read";
    assert!(MORE.contains(own));
    let world = |demand: &str| {
        let interactive = format!(
            "  type: Public\n  redirectUris: [https://app.example.com/cb]\n  {demand}\n{}",
            own.replace("ClientCredentials", "AuthorizationCode, RefreshToken")
        );
        let more = MORE
            .replace(own, &interactive)
            .replace("  systemUser: {name: robot}\n", "");
        World::new(&format!("{QUICKSTART}---\n{more}"))
    };
    let grant = Grant {
        authenticated_at: now() - SignedDuration::from_mins(90),
        ..grant("openid offline_access", "")
    };
    for (demand, is_good) in [
        ("maxAuthAge: 2h", true),
        ("maxAuthAge: 1h", false),
        ("minimumAcr: Mfa", false),
    ] {
        let world = world(demand);
        let holding = holding(&world, &grant);
        let barred = Refused::Barred(Barred::SignInInsufficient);
        let wanted = if is_good { None } else { Some(barred) };
        assert_eq!(redeem(&holding, "").err(), wanted, "{demand}");
        assert_eq!(refresh(&holding, "").err(), wanted, "{demand}");
    }
}
