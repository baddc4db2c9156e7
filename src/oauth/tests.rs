//! Decisions of the protocol core, with given time and randomness.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;

use super::access_token::{Inactive, PresentedToken, judge};
use super::bearer::Unusable;
use super::check_token::{challenge, challenge_of_unknown};
use super::client_auth::{FailureReason, Method, authenticate};
use super::enforcement::Denial;
use super::grants::SupportedGrant;
use super::grants::client_credentials::{UnsignedToken, decide};
use super::introspection::introspect;
use super::revocation::{self, Decision};
use super::{ErrorCode, Form, OAuthError, enforcement, resource, scope};
use crate::directory::tables::record::GatewayRecord;
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{AcceptedClient, Change, Invalid, ObjectKey, Row, ends};
use crate::resources::OwnerKind;
use crate::tokens::{AccessTokenClaims, SecretString, SeededEntropy, TokenHash, reference};

/// Adds a scope of another team, and a client that has both scopes.
const TWO_TEAMS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: items, namespace: green}
spec: {identityRef: {name: main, namespace: platform}, allowedNamespaces: {from: All}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: wide, namespace: blue}
spec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials], scopes: [orders.read, green:items]}
";

const API: &str = "https://api.example.com";
const GREEN: &str = "https://id.example.com/id/green";

fn now() -> Timestamp {
    "2026-02-01T00:00:00.75Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

fn world() -> World {
    World::new(&format!("{QUICKSTART}---\n{TWO_TEAMS}"))
}

fn client<'a>(world: &'a World, client_id: &str) -> AcceptedClient<'a> {
    world
        .directory
        .active_client(&identity(), client_id)
        .unwrap()
}

fn issue(world: &World, client_id: &str, body: &str) -> Result<UnsignedToken, OAuthError> {
    let form = Form::parse(body.as_bytes()).unwrap();
    let client = client(world, client_id);
    decide(
        &world.directory,
        &client,
        &form,
        now(),
        &mut SeededEntropy::new(7),
    )
}

#[test]
fn a_token_depends_only_on_directory_time_and_randomness() {
    let issue = issue(&world(), "blue.shop", "scope=orders.write+orders.read").unwrap();
    insta::assert_yaml_snapshot!("issued_claims", &issue.claims);
    assert_eq!(
        (issue.expires_in, issue.scope.as_str()),
        (3600, "orders.write orders.read")
    );
}

#[rstest]
#[case::all_of_two_teams("", Err(ErrorCode::InvalidTarget))]
#[case::one_team("scope=orders.read", Ok((&[API][..], "orders.read")))]
#[case::all_of_one_resource("resource=https://api.example.com", Ok((&[API][..], "orders.read")))]
#[case::another_resource("resource=https://id.example.com/id/green", Ok((&[GREEN][..], "green:items")))]
#[case::only_its_scopes_stay("scope=orders.read+green:items&resource=https://api.example.com", Ok((&[API][..], "orders.read")))]
#[case::the_same_twice("resource=https://api.example.com&resource=https://api.example.com", Ok((&[API][..], "orders.read")))]
#[case::two_owners(
    "resource=https://api.example.com&resource=https://id.example.com/id/green",
    Err(ErrorCode::InvalidTarget)
)]
#[case::no_scope_of_it(
    "scope=orders.read&resource=https://id.example.com/id/green",
    Err(ErrorCode::InvalidTarget)
)]
#[case::unknown("resource=https://nobody", Err(ErrorCode::InvalidTarget))]
#[case::below("resource=https://api.example.com/", Err(ErrorCode::InvalidTarget))]
#[case::blank("resource=a+b", Err(ErrorCode::InvalidTarget))]
#[case::dots(
    "resource=https://id.example.com/id/blue/../green",
    Err(ErrorCode::InvalidTarget)
)]
#[case::fragment("resource=https://api.example.com%23a", Err(ErrorCode::InvalidTarget))]
#[case::encoded_dots(
    "resource=https://id.example.com/id/blue/%252e%252e/green",
    Err(ErrorCode::InvalidTarget)
)]
#[case::other_case("resource=https://API.example.com", Err(ErrorCode::InvalidTarget))]
#[case::default_port("resource=https://api.example.com:443", Err(ErrorCode::InvalidTarget))]
fn one_token_is_for_one_resource(
    #[case] body: &str,
    #[case] outcome: Result<(&[&str], &str), ErrorCode>,
) {
    let world = world();
    let form = Form::parse(body.as_bytes()).unwrap();
    let client = client(&world, "blue.wide");
    let mut scopes = scope::select(&world.directory, &client, form.get("scope")).unwrap();
    let audiences = resource::target(client.identity, &mut scopes, form.get_all("resource"));
    let expected = outcome.map(|(audiences, scopes)| (audiences.join(" "), scopes.to_owned()));
    let actual = audiences.map(|audiences| (audiences.join(" "), scope::join(&scopes)));
    assert_eq!(actual.map_err(|error| error.code), expected);
}

#[test]
fn a_request_names_at_most_eight_resources() {
    let body: Vec<_> = (0..9).map(|n| format!("resource=r{n}")).collect();
    let error = issue(&world(), "blue.wide", &body.join("&")).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidTarget);
}

#[test]
fn a_failed_authentication_has_a_reason_for_the_log() {
    let mut world = world();
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let (secret, token) = (secret.expose(), token.expose());
    let basic = |text: String| format!("Basic {}", STANDARD.encode(text));
    let right = basic(format!("blue.shop:{secret}"));
    let post = |id: &str, secret: &str| format!("client_id={id}&client_secret={secret}");
    let refused = FailureReason::Invalid(Invalid::WrongSecret);
    for (header, body, reason) in [
        (Some(right.clone()), String::new(), None),
        (None, post("blue.shop", secret), None),
        (
            Some(right.clone()),
            post("blue.shop", secret),
            Some(FailureReason::SeveralMethods),
        ),
        (
            Some(right.clone()),
            "client_id=other".into(),
            Some(FailureReason::SeveralMethods),
        ),
        (None, String::new(), Some(FailureReason::NoCredentials)),
        (
            None,
            "client_id=blue.shop".into(),
            Some(FailureReason::NoCredentials),
        ),
        (
            None,
            format!("client_secret={secret}"),
            Some(FailureReason::Malformed),
        ),
        (
            Some("Bearer x".into()),
            String::new(),
            Some(FailureReason::UnsupportedMethod),
        ),
        (
            None,
            "client_assertion=x".into(),
            Some(FailureReason::UnsupportedMethod),
        ),
        (
            Some("Basic".into()),
            String::new(),
            Some(FailureReason::Malformed),
        ),
        (
            Some(format!("Basic {}", "A".repeat(4096))),
            String::new(),
            Some(FailureReason::Malformed),
        ),
        (
            Some(basic("no colon".into())),
            String::new(),
            Some(FailureReason::Malformed),
        ),
        (
            Some(basic("blue.shop:%zz".into())),
            String::new(),
            Some(FailureReason::Malformed),
        ),
        (
            Some(basic(format!("blue.shop:{token}"))),
            String::new(),
            Some(FailureReason::Malformed),
        ),
        (
            Some(basic(format!("blue.wide:{secret}"))),
            String::new(),
            Some(refused),
        ),
        (
            Some(basic(format!("nobody:{secret}"))),
            String::new(),
            Some(refused),
        ),
    ] {
        let form = Form::parse(body.as_bytes()).unwrap();
        let header = header.iter().map(String::as_bytes);
        let outcome = authenticate(&world.directory, &identity(), header, &form, now());
        assert_eq!(
            outcome.err().map(|failure| failure.reason),
            reason,
            "{body}"
        );
    }
}

/// Each way alone is right. To accept one of them would leave open which one counts.
#[test]
fn credentials_that_are_sent_in_two_ways_are_refused() {
    let mut world = world();
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    let secret = secret.expose();
    let basic = format!("Basic {}", STANDARD.encode(format!("blue.shop:{secret}")));
    let post = format!("client_id=blue.shop&client_secret={secret}");
    let assertion = "client_assertion=x";
    for (headers, body) in [
        (&[&basic, &basic][..], String::new()),
        (&[&basic][..], post.clone()),
        (&[&basic][..], assertion.to_owned()),
        (&[][..], format!("{post}&{assertion}")),
    ] {
        let form = Form::parse(body.as_bytes()).unwrap();
        let headers = headers.iter().map(|header| header.as_bytes());
        let failure = authenticate(&world.directory, &identity(), headers, &form, now());
        let failure = failure.err().unwrap();
        assert_eq!(failure.reason, FailureReason::SeveralMethods, "{body}");
        assert_eq!(failure.error.code, ErrorCode::InvalidRequest, "{body}");
    }
}

/// The audit log shows what a caller sent only if it is the id of a client.
#[test]
fn a_failure_tells_whether_the_caller_named_a_client_that_exists() {
    let world = world();
    for (name, is_client) in [
        ("blue.shop", true),
        ("blue.nothing", false),
        ("shop", false),
    ] {
        let header = format!("Basic {}", STANDARD.encode(format!("{name}:wrong")));
        let form = Form::parse(b"").unwrap();
        let header = std::iter::once(header.as_bytes());
        let failure = authenticate(&world.directory, &identity(), header, &form, now());
        let claimed = failure.err().unwrap().claimed.unwrap();
        assert_eq!(claimed.is_client, is_client, "{name}");
    }
}

fn claims(world: &World) -> AccessTokenClaims {
    issue(world, "blue.shop", "").unwrap().claims
}

fn outcome(world: &World, claims: &AccessTokenClaims, now: Timestamp) -> Option<Inactive> {
    judge(
        &world.directory,
        &identity(),
        &PresentedToken::Jwt(claims),
        now,
    )
    .err()
}

#[rstest]
#[case::at_once(0, None)]
#[case::until_just_before_its_end(3599, None)]
#[case::not_at_its_end(3600, Some(Inactive::Invalid(Invalid::Expired)))]
#[case::from_a_clock_that_is_a_little_ahead(-60, None)]
#[case::not_from_one_that_is_far_ahead(-61, Some(Inactive::NotYetValid))]
fn an_access_token_is_valid_between_its_times(
    #[case] seconds: i64,
    #[case] inactive: Option<Inactive>,
) {
    let world = world();
    let claims = claims(&world);
    let at = claims.iat + SignedDuration::from_secs(seconds);
    assert_eq!(outcome(&world, &claims, at), inactive);
}

#[test]
fn an_access_token_of_another_issuer_or_principal_is_refused() {
    let world = world();
    let changed = |change: fn(&mut AccessTokenClaims)| {
        let mut claims = claims(&world);
        change(&mut claims);
        outcome(&world, &claims, now())
    };
    assert_eq!(changed(|_| {}), None);
    assert_eq!(changed(|it| it.iss.push('x')), Some(Inactive::WrongIssuer));
    assert_eq!(
        changed(|it| it.client_uid.push('x')),
        Some(Inactive::Invalid(Invalid::ClientGone))
    );
    assert_eq!(
        changed(|it| it.client_system_user = None),
        Some(Inactive::Invalid(Invalid::PrincipalChanged))
    );
}

#[test]
fn a_client_secret_is_not_an_access_token() {
    let mut world = world();
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    let presented = PresentedToken::Reference(reference::parse(secret.expose()).unwrap());
    let inactive = judge(&world.directory, &identity(), &presented, now()).err();
    assert_eq!(inactive, Some(Inactive::WrongKind));
}

/// A token for one resource must not work at another that has the same scope.
#[test]
fn a_token_is_for_the_audiences_of_its_scope_that_its_claims_name() {
    const OTHER: &str = "https://other.example.com";
    let mut world = world();
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: platform}
spec:
  identityRef: {name: main}
  audiences: [https://api.example.com, https://other.example.com]
  allowedNamespaces: {from: All}
",
    );
    let audiences = |body: &str| {
        let claims = issue(&world, "blue.shop", body).unwrap().claims;
        let presented = PresentedToken::Jwt(&claims);
        let active = judge(&world.directory, &identity(), &presented, now()).unwrap();
        let scope = &active.scopes[0];
        [API, OTHER, GREEN].map(|audience| active.is_for(scope, audience))
    };
    let one = format!("scope=orders.read&resource={OTHER}");
    assert_eq!(audiences(&one), [false, true, false]);
    let other = format!("scope=orders.read&resource={API}");
    assert_eq!(audiences(&other), [true, false, false]);
    assert_eq!(audiences("scope=orders.read"), [true, true, false]);
}

/// Decoding costs time and memory.
#[test]
fn a_basic_header_that_is_too_long_is_not_decoded() {
    let world = world();
    let longest = 2048 / 4 * 3 - ":secret".len();
    for (length, is_decoded) in [(longest, true), (longest + 1, false), (20_000, false)] {
        let header = STANDARD.encode(format!("{}:secret", "a".repeat(length)));
        let header = format!("Basic {header}");
        let form = Form::parse(b"").unwrap();
        let header = std::iter::once(header.as_bytes());
        let failure = authenticate(&world.directory, &identity(), header, &form, now());
        let claimed = failure.err().unwrap().claimed;
        assert_eq!(claimed.is_some(), is_decoded, "{length}");
    }
}

/// Each is refused for its form, before the directory is asked.
#[test]
fn the_form_of_a_resource_is_checked_before_it_is_looked_up() {
    let world = world();
    let client = client(&world, "blue.shop");
    for resource in [
        "https://api.example.com#a".to_owned(),
        "https://api.example.com/ü".to_owned(),
        "https://api.example.com/a b".to_owned(),
        "https://api.example.com/../a".to_owned(),
        format!("https://api.example.com/{}", "a".repeat(500)),
    ] {
        let mut scopes = scope::select(&world.directory, &client, None).unwrap();
        let resources = std::iter::once(&*resource);
        let refused = resource::target(client.identity, &mut scopes, resources).unwrap_err();
        assert_eq!(refused.description, "a resource is malformed", "{resource}");
    }
}

#[test]
fn grants_have_their_registered_names() {
    let names = SupportedGrant::ALL.map(SupportedGrant::as_str);
    assert_eq!(
        names,
        ["client_credentials", "authorization_code", "refresh_token"]
    );
}

#[rstest]
#[case::supported("grant_type=client_credentials", Ok(SupportedGrant::ClientCredentials))]
#[case::another("grant_type=password", Err(ErrorCode::UnsupportedGrantType))]
#[case::another_case("grant_type=Client_Credentials", Err(ErrorCode::UnsupportedGrantType))]
#[case::empty("grant_type=", Err(ErrorCode::InvalidRequest))]
#[case::none("scope=a", Err(ErrorCode::InvalidRequest))]
fn a_token_request_names_a_supported_grant(
    #[case] body: &str,
    #[case] grant: Result<SupportedGrant, ErrorCode>,
) {
    let form = Form::parse(body.as_bytes()).unwrap();
    let requested = SupportedGrant::requested(&form, false).map_err(|error| error.code);
    assert_eq!(requested, grant);
}

#[test]
fn only_an_identity_with_people_has_the_grants_of_people() {
    for grant in SupportedGrant::ALL {
        let body = format!("grant_type={}", grant.as_str());
        let form = Form::parse(body.as_bytes()).unwrap();
        assert_eq!(SupportedGrant::requested(&form, true), Ok(grant));
        let without = SupportedGrant::requested(&form, false);
        let is_of_machines = grant == SupportedGrant::ClientCredentials;
        assert_eq!(without.is_ok(), is_of_machines, "{grant:?}");
    }
}

#[test]
fn methods_of_authentication_have_their_registered_names() {
    let names = Method::ALL.map(Method::as_str);
    assert_eq!(names, ["client_secret_basic", "client_secret_post", "none"]);
}

#[test]
fn each_reason_of_a_failed_authentication_has_its_name() {
    for (reason, name) in [
        (FailureReason::NoCredentials, "no_credentials"),
        (FailureReason::SeveralMethods, "several_methods"),
        (FailureReason::UnsupportedMethod, "unsupported_method"),
        (FailureReason::Malformed, "malformed"),
        (
            FailureReason::Invalid(Invalid::WrongSecret),
            Invalid::WrongSecret.as_str(),
        ),
    ] {
        assert_eq!(reason.as_str(), name);
    }
}

/// Proxies pass on 401 and 403 only.
#[test]
fn each_denial_of_a_gateway_has_its_status_code_and_name() {
    use ErrorCode::{InsufficientScope, InvalidRequest, InvalidToken};
    for (denial, status, code, name) in [
        (Denial::Unusable(Unusable::Missing), 401, None, "no_token"),
        (
            Denial::Unusable(Unusable::SeveralWays),
            401,
            Some(InvalidRequest),
            "several_ways",
        ),
        (
            Denial::Unusable(Unusable::Malformed),
            401,
            Some(InvalidRequest),
            "malformed",
        ),
        (
            Denial::Inactive(Inactive::WrongAudience),
            401,
            Some(InvalidToken),
            "wrong_audience",
        ),
        (
            Denial::InsufficientScope,
            403,
            Some(InsufficientScope),
            "insufficient_scope",
        ),
        (Denial::UnknownGateway, 403, None, "unknown_gateway"),
    ] {
        assert_eq!(
            (denial.status(), denial.code(), denial.as_str()),
            (status, code, name)
        );
    }
}

#[rstest]
#[case::the_only_one("scope=orders.read", API, &["orders.read"], Ok("orders.read"))]
#[case::the_last("scope=orders.read+orders.write", API, &["orders.write"], Ok("orders.read orders.write"))]
#[case::all("", API, &["orders.read", "orders.write"], Ok("orders.read orders.write"))]
#[case::none("scope=orders.read", API, &[], Ok("orders.read"))]
#[case::another("scope=orders.read", API, &["orders.write"], Err(Denial::InsufficientScope))]
#[case::one_of_two("scope=orders.read", API, &["orders.read", "orders.write"], Err(Denial::InsufficientScope))]
#[case::another_audience("scope=orders.read", GREEN, &["orders.read"], Err(Denial::Inactive(Inactive::WrongAudience)))]
#[case::another_audience_without_scopes("", GREEN, &[], Err(Denial::Inactive(Inactive::WrongAudience)))]
fn a_gateway_requires_all_its_scopes_at_its_audience(
    #[case] body: &str,
    #[case] audience: &str,
    #[case] required: &[&str],
    #[case] outcome: Result<&str, Denial>,
) {
    let world = world();
    let claims = issue(&world, "blue.shop", body).unwrap().claims;
    let gateway = GatewayRecord {
        audience: audience.into(),
        scopes: required.iter().map(|scope| (*scope).into()).collect(),
    };
    let presented = PresentedToken::Jwt(&claims);
    let passed = enforcement::check(&world.directory, &identity(), &gateway, &presented, now());
    let told = passed.map(|passed| passed.told(&gateway));
    assert_eq!(told, outcome.map(str::to_owned));
}

/// An API that compares `aud` with its own name expects a string where there is one audience.
#[test]
fn introspection_lists_an_audience_of_several_scopes_once() {
    let mut world = world();
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: api, namespace: platform}
spec: {identityRef: {name: main}, grantTypes: [], resourceServer: {audiences: [https://api.example.com]}}
",
    );
    let claims = claims(&world);
    let presented = PresentedToken::Jwt(&claims);
    for (caller, is_shown) in [
        ("platform.api", true),
        ("blue.shop", true),
        ("blue.wide", false),
    ] {
        let caller = client(&world, caller);
        let answer = introspect(&world.directory, &caller, &presented, now());
        let answer = answer.map(|answer| {
            let json = answer.to_json().unwrap();
            let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
            (told["aud"].clone(), told["scope"].clone())
        });
        let all = (API.into(), "orders.read orders.write".into());
        assert_eq!(
            answer.map_err(Some),
            is_shown.then_some(all).ok_or(Some(Inactive::WrongAudience))
        );
    }
}

#[test]
fn each_reason_of_an_inactive_token_has_a_name_of_its_own() {
    let all = [
        Inactive::Malformed,
        Inactive::WrongKind,
        Inactive::WrongIssuer,
        Inactive::NotYetValid,
        Inactive::Invalid(Invalid::Expired),
        Inactive::WrongAudience,
    ];
    let names: BTreeSet<_> = all.iter().map(|it| it.as_str()).collect();
    assert_eq!(names.len(), all.len(), "{names:?}");
    assert!(names.iter().all(|name| !name.is_empty()));
}

/// The ID of a token that was never issued may be any text of a stranger.
#[test]
fn a_denial_tells_whether_its_token_was_issued() {
    for (denial, is_issued) in [
        (Denial::Unusable(Unusable::Missing), false),
        (Denial::UnknownGateway, false),
        (Denial::Inactive(Inactive::Malformed), false),
        (
            Denial::Inactive(Inactive::Invalid(Invalid::UnknownToken)),
            false,
        ),
        (
            Denial::Inactive(Inactive::Invalid(Invalid::WrongSecret)),
            false,
        ),
        (Denial::Inactive(Inactive::Invalid(Invalid::Expired)), true),
        (Denial::Inactive(Inactive::WrongAudience), true),
        (Denial::InsufficientScope, true),
    ] {
        assert_eq!(denial.is_of_issued(), is_issued, "{denial:?}");
        assert!(Denial::CODES.contains(&denial.code()), "{denial:?}");
    }
}

#[test]
fn every_challenge_of_a_gateway_names_its_scopes() {
    let gateway = |scopes: &[&str]| GatewayRecord {
        audience: API.into(),
        scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
    };
    let two = gateway(&["orders.read", "orders.write"]);
    for (code, error) in [
        (None, ""),
        (
            Some(ErrorCode::InvalidRequest),
            r#", error="invalid_request""#,
        ),
        (Some(ErrorCode::InvalidToken), r#", error="invalid_token""#),
        (
            Some(ErrorCode::InsufficientScope),
            r#", error="insufficient_scope""#,
        ),
    ] {
        let scope = r#", scope="orders.read orders.write""#;
        assert_eq!(
            challenge("https://h/id", &two, code),
            format!(r#"Bearer realm="https://h/id"{error}{scope}"#)
        );
        assert_eq!(
            challenge("https://h/id", &gateway(&[]), code),
            format!(r#"Bearer realm="https://h/id"{error}"#)
        );
    }
    assert_eq!(
        challenge_of_unknown("https://h/id"),
        r#"Bearer realm="https://h/id""#
    );
}

#[test]
fn each_error_has_its_registered_code_and_status() {
    for (code, name, status) in [
        (ErrorCode::InvalidRequest, "invalid_request", 400),
        (ErrorCode::InvalidClient, "invalid_client", 401),
        (ErrorCode::UnauthorizedClient, "unauthorized_client", 400),
        (
            ErrorCode::UnsupportedGrantType,
            "unsupported_grant_type",
            400,
        ),
        (ErrorCode::InvalidScope, "invalid_scope", 400),
        (ErrorCode::InvalidTarget, "invalid_target", 400),
        (
            ErrorCode::UnsupportedTokenType,
            "unsupported_token_type",
            400,
        ),
        (ErrorCode::InvalidToken, "invalid_token", 401),
        (ErrorCode::InsufficientScope, "insufficient_scope", 403),
        (
            ErrorCode::TemporarilyUnavailable,
            "temporarily_unavailable",
            503,
        ),
        (ErrorCode::ServerError, "server_error", 500),
        (ErrorCode::InvalidGrant, "invalid_grant", 400),
        (ErrorCode::AccessDenied, "access_denied", 400),
        (
            ErrorCode::UnsupportedResponseType,
            "unsupported_response_type",
            400,
        ),
        (ErrorCode::LoginRequired, "login_required", 400),
        (ErrorCode::ConsentRequired, "consent_required", 400),
        (ErrorCode::RequestNotSupported, "request_not_supported", 400),
        (
            ErrorCode::RequestUriNotSupported,
            "request_uri_not_supported",
            400,
        ),
        (
            ErrorCode::RegistrationNotSupported,
            "registration_not_supported",
            400,
        ),
        (
            ErrorCode::UnmetAuthenticationRequirements,
            "unmet_authentication_requirements",
            400,
        ),
    ] {
        assert_eq!((code.as_str(), code.status()), (name, status));
    }
}

#[test]
fn an_error_is_the_json_of_rfc_6749() {
    let error = OAuthError::new(ErrorCode::InvalidScope, "ask for fewer scopes");
    assert_eq!(
        error.to_json(),
        r#"{"error":"invalid_scope","error_description":"ask for fewer scopes"}"#
    );
}

#[test]
fn a_client_revokes_its_own_service_tokens_and_nothing_else() {
    let mut world = world();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    let revokes = |caller: &str, token: &SecretString, now: Timestamp| {
        let presented = reference::parse(token.expose()).unwrap();
        let caller = client(&world, caller);
        let decision = revocation::reference_token(&world.directory, &caller, &presented, now);
        matches!(decision, Decision::Revoke { .. })
    };
    assert!(revokes("blue.shop", &token, now()));
    assert!(!revokes("blue.wide", &token, now()), "another client's");
    assert!(!revokes("blue.shop", &secret, now()), "a client secret");
    let later = now() + SignedDuration::from_hours(24 * 400);
    assert!(!revokes("blue.shop", &token, later), "it has ended");
}

#[test]
fn a_token_from_before_a_change_of_the_prefix_is_revoked() {
    let mut world = world();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  tokens: {referencePrefix: acme}
",
    );
    let presented = reference::parse(token.expose()).unwrap();
    let identity = ObjectKey::new("platform", "main");
    let accepted = world
        .directory
        .service_token_presented(&identity, &presented, now());
    assert!(accepted.is_ok());
    let caller = client(&world, "blue.shop");
    assert_eq!(
        caller.identity.record.reference_prefix.as_str(),
        "acme",
        "the change took effect"
    );
    let decision = revocation::reference_token(&world.directory, &caller, &presented, now());
    assert!(matches!(decision, Decision::Revoke { .. }));
}

/// The clock of this server may be fast.
#[test]
fn a_token_that_has_only_just_ended_is_revoked() {
    let mut world = world();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let presented = reference::parse(token.expose()).unwrap();
    let identity = ObjectKey::new("platform", "main");
    let found = world.directory.issued_entry(&identity, &presented.id);
    let end = ends(found.unwrap().1).unwrap();
    let caller = client(&world, "blue.shop");
    for (minutes, is_revoked) in [(-1, true), (1, true), (59, true), (60, false)] {
        let now = end + SignedDuration::from_mins(minutes);
        let decision = revocation::reference_token(&world.directory, &caller, &presented, now);
        assert_eq!(
            matches!(decision, Decision::Revoke { .. }),
            is_revoked,
            "{minutes}"
        );
    }
}

/// The ID of a token is no secret: servers log it.
#[test]
fn the_id_of_a_token_is_not_enough_to_revoke_it() {
    let mut world = world();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let mut presented = reference::parse(token.expose()).unwrap();
    presented.hash = TokenHash::of("another");
    let caller = client(&world, "blue.shop");
    let decision = revocation::reference_token(&world.directory, &caller, &presented, now());
    assert!(matches!(decision, Decision::Nothing));
}

/// The server may not have seen it yet, and the Identity's prefix may have changed since it was issued.
#[test]
fn a_service_token_that_no_credential_records_is_unknown() {
    let world = world();
    let caller = client(&world, "blue.shop");
    let decide = |prefix: &str, kind| {
        let prefix = prefix.parse().unwrap();
        let minted = reference::mint(&prefix, kind, &mut SeededEntropy::new(9));
        let presented = reference::parse(minted.token.expose()).unwrap();
        let decision = revocation::reference_token(&world.directory, &caller, &presented, now());
        matches!(decision, Decision::Unknown)
    };
    assert!(decide("sym", reference::Kind::ServiceAccessToken));
    assert!(decide("other", reference::Kind::ServiceAccessToken));
    assert!(!decide("sym", reference::Kind::ClientSecret));
}

/// After a restore, `symbolon restore rebind` could bind the token to the recreated client.
#[test]
fn a_recreated_client_may_revoke_the_tokens_of_its_predecessor() {
    let mut world = world();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let shop = world.directory.client(&ObjectKey::new("blue", "shop"));
    let mut recreated = (**shop.unwrap()).clone();
    recreated.uid = "recreated".into();
    let change = Change::Upsert(Row::Client(Box::new(recreated)));
    world.directory.apply(change);
    let presented = reference::parse(token.expose()).unwrap();
    let caller = client(&world, "blue.shop");
    let decision = revocation::reference_token(&world.directory, &caller, &presented, now());
    assert!(matches!(decision, Decision::Revoke { .. }));
}

/// A client secret may be a service token that another installation issued.
#[test]
fn a_client_secret_that_looks_like_a_service_token_is_not_revoked() {
    let mut world = world();
    let minted = reference::mint(
        &"sym".parse().unwrap(),
        reference::Kind::ServiceAccessToken,
        &mut SeededEntropy::new(9),
    );
    world.issue_with(OwnerKind::OAuthClient, "blue", "shop", now(), |entry| {
        entry.token_id = minted.id.to_string();
        entry.hash = minted.hash.to_string();
    });
    let presented = reference::parse(minted.token.expose()).unwrap();
    let caller = client(&world, "blue.shop");
    let decision = revocation::reference_token(&world.directory, &caller, &presented, now());
    assert!(matches!(decision, Decision::Nothing));
}

#[test]
fn only_the_owner_of_a_valid_access_token_learns_that_it_cannot_be_revoked() {
    let world = world();
    let claims = claims(&world);
    let (own, other) = (client(&world, "blue.shop"), client(&world, "blue.wide"));
    let later = now() + SignedDuration::from_hours(2);
    assert!(revocation::access_token(&own, &claims, now()).is_err());
    assert!(revocation::access_token(&own, &claims, later).is_ok());
    assert!(revocation::access_token(&other, &claims, now()).is_ok());
}

#[test]
fn a_scope_with_other_characters_is_malformed() {
    let world = world();
    let client = client(&world, "blue.shop");
    for (value, says) in [
        ("a\"b", "scope is malformed"),
        ("a\\b", "scope is malformed"),
        (" a", "scope is malformed"),
        ("other", "a scope is not granted to this client"),
    ] {
        let refused = scope::select(&world.directory, &client, Some(value)).unwrap_err();
        assert_eq!(refused.description, says, "{value}");
    }
}
