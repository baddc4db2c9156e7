//! Answers whose size is a product of bounded lists have their own bound.

use std::fmt::Write as _;

use jiff::Timestamp;

use super::access_token::PresentedToken;
use super::grants::client_credentials::{UnsignedToken, decide};
use super::introspection::introspect;
use super::{ErrorCode, Form, OAuthError, enforcement, resource, scope};
use crate::directory::tables::record::GatewayRecord;
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{AcceptedClient, ObjectKey};
use crate::resources::{Kind, OwnerKind};
use crate::tokens::jwt::{self, TokenType, UnverifiedJwt};
use crate::tokens::{Algorithm, SeededEntropy, reference};

/// The scope that the tests' gateways require: the last of a token's scopes.
const GATE: &str = "https://api.example.com/gate";

fn now() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

fn scope_of(number: usize, length: usize) -> String {
    let start = format!("s{number:03}");
    format!("{start}{}", "x".repeat(length - start.len()))
}

fn audience(scope: usize, number: usize) -> String {
    let start = format!("https://api.example.com/{scope}/{number}/");
    format!("{start}{}", "y".repeat(512 - start.len()))
}

/// A client `blue.wide` with 128 scopes of `length` bytes and `audiences` audiences of 512 bytes each, a token with 64
/// of these scopes, and an API that is one of the audiences.
fn world(length: usize, audiences: usize) -> World {
    let mut yaml = QUICKSTART.replace(
        "scopes: [orders.read]}]",
        &format!(
            "scopes: [orders.read]}}, {{name: gate, audience: {GATE}, scopes: [{}]}}]",
            scope_of(63, length)
        ),
    );
    for number in 0..128 {
        let mut all: Vec<String> = (0..audiences).map(|it| audience(number, it)).collect();
        all.push(GATE.to_owned());
        write!(
            yaml,
            "---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: s{number}, namespace: platform}}\n\
             spec: {{identityRef: {{name: main}}, value: {}, audiences: {all:?}, allowedNamespaces: {{from: All}}}}\n",
            scope_of(number, length)
        )
        .unwrap();
    }
    let scopes: Vec<String> = (0..128).map(|number| scope_of(number, length)).collect();
    write!(
        yaml,
        "---\napiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: wide, namespace: blue}}\n\
         spec: {{identityRef: {{name: main, namespace: platform}}, grantTypes: [ClientCredentials], scopes: {scopes:?}, \
         systemUser: {{name: wide}}, referenceTokens: AdministratorsOnly}}\n\
         ---\napiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {{name: wide, namespace: blue}}\n\
         spec: {{clientRef: {{name: wide}}, scopes: {:?}}}\n\
         ---\napiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: api, namespace: platform}}\n\
         spec: {{identityRef: {{name: main}}, grantTypes: [], resourceServer: {{audiences: [{:?}, {GATE:?}]}}}}\n",
        &scopes[..64],
        audience(63, audiences.saturating_sub(1)),
    )
    .unwrap();
    World::new(&yaml)
}

fn client<'a>(world: &'a World, client_id: &str) -> AcceptedClient<'a> {
    world
        .directory
        .active_client(&identity(), client_id)
        .unwrap()
}

fn issue(world: &World, body: &str) -> Result<UnsignedToken, OAuthError> {
    let form = Form::parse(body.as_bytes()).unwrap();
    decide(
        &world.directory,
        &client(world, "blue.wide"),
        &form,
        now(),
        &mut SeededEntropy::new(7),
    )
}

/// Signs the token with the longest possible signature.
fn written(issue: &UnsignedToken) -> String {
    let header = jwt::encode_header(
        Algorithm::EdDSA,
        TokenType::AtJwt,
        &"k".repeat(jwt::KID_LENGTH),
    );
    let payload = issue.claims.to_json().unwrap();
    let mut token = jwt::signing_input(&header, &payload, jwt::MAX_SIGNATURE_LENGTH);
    jwt::append_signature(&mut token, &[0; jwt::MAX_SIGNATURE_LENGTH]);
    token
}

fn asking_for(scopes: usize, length: usize) -> String {
    let scopes: Vec<String> = (0..scopes).map(|number| scope_of(number, length)).collect();
    format!("scope={}", scopes.join("+"))
}

#[test]
fn a_token_too_long_for_our_own_endpoints_is_never_issued() {
    let world = world(20, 7);
    let all = issue(&world, "").unwrap_err();
    assert_eq!(all.code, ErrorCode::InvalidScope);
    assert!(
        all.description
            .contains("ask for fewer scopes or name a resource")
    );
    // Each smaller request works, up to the longest token allowed.
    issue(&world, &format!("resource={GATE}")).unwrap();
    issue(&world, &format!("resource={}", audience(5, 3))).unwrap();
    let fits = (1..128).take_while(|many| issue(&world, &asking_for(*many, 20)).is_ok());
    let most = fits.last().unwrap();
    let largest = written(&issue(&world, &asking_for(most, 20)).unwrap());
    assert!(UnverifiedJwt::parse(&largest).is_ok(), "{}", largest.len());
    let added = 4 * 7 * 515 / 3;
    assert!(
        largest.len() + added + 500 > jwt::MAX_LENGTH,
        "{most}: {}",
        largest.len()
    );
}

/// Few audiences, but scopes that alone exceed the length of a token.
#[test]
fn scopes_alone_can_make_a_token_too_long() {
    let world = world(128, 0);
    assert_eq!(issue(&world, "").unwrap_err().code, ErrorCode::InvalidScope);
    let fits = (1..128).take_while(|many| issue(&world, &asking_for(*many, 128)).is_ok());
    let most = fits.last().unwrap();
    let largest = written(&issue(&world, &asking_for(most, 128)).unwrap());
    assert!(UnverifiedJwt::parse(&largest).is_ok());
    assert!(
        largest.len() + 600 > jwt::MAX_LENGTH,
        "{most}: {}",
        largest.len()
    );
}

/// A client `blue.exact` whose scopes have these values and audiences.
fn exact_world(scopes: &[(String, Vec<String>)]) -> World {
    let mut yaml = QUICKSTART.to_owned();
    for (number, (value, audiences)) in scopes.iter().enumerate() {
        write!(
            yaml,
            "---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: e{number}, namespace: platform}}\n\
             spec: {{identityRef: {{name: main}}, value: {value}, audiences: {audiences:?}, allowedNamespaces: {{from: All}}}}\n",
        )
        .unwrap();
    }
    let values: Vec<_> = scopes.iter().map(|(value, _)| value).collect();
    write!(
        yaml,
        "---\napiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: exact, namespace: blue}}\n\
         spec: {{identityRef: {{name: main, namespace: platform}}, grantTypes: [ClientCredentials], scopes: {values:?}}}\n",
    )
    .unwrap();
    World::new(&yaml)
}

/// The product of scopes and audiences would be far longer than any token.
#[test]
fn audiences_are_collected_up_to_the_length_of_a_token() {
    // With two quotes and a comma each, 16 of them have exactly this length.
    let audience = |number: usize| {
        let start = format!("https://api.example.com/{number:02}/");
        format!("{start}{}", "y".repeat(509 - start.len()))
    };
    for (last, collected) in [(16, Ok(16)), (17, Err(scope::TOO_LONG))] {
        let of = |numbers: std::ops::Range<usize>| numbers.map(audience).collect::<Vec<_>>();
        let mut scopes = vec![("a".to_owned(), of(0..8)), ("b".to_owned(), of(8..16))];
        scopes.extend((last > 16).then(|| ("c".to_owned(), of(16..last))));
        let world = exact_world(&scopes);
        let client = client(&world, "blue.exact");
        let mut scopes = scope::select(&world.directory, &client, None).unwrap();
        let audiences = resource::target(client.identity, &mut scopes, std::iter::empty());
        assert_eq!(audiences.map(|audiences| audiences.len()), collected);
    }
}

#[test]
fn the_client_status_and_check_warn_before_a_request_is_refused() {
    let warned = |world: &World, name: &str| {
        let key = ObjectKey::new("blue", name);
        let problems = world.directory.diagnose(Kind::OAuthClient, &key, now());
        let problems = problems.into_iter();
        problems
            .filter(|problem| problem.path == "/spec/scopes")
            .map(|problem| problem.message)
            .collect::<Vec<_>>()
    };
    let wide = world(20, 7);
    let told = warned(&wide, "wide");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].starts_with("an access token with all scopes of this client has ")
            && told[0].ends_with(" bytes, more than the limit of 8192: request fewer scopes, or name a resource in each request"),
        "{told:?}"
    );
    assert!(
        warned(&wide, "shop").is_empty(),
        "a usual client is not warned"
    );
    // The warning and the endpoint apply the same rule.
    for length in [4, 16, 17, 18, 19, 20, 24, 40] {
        let world = world(length, 0);
        let refused = issue(&world, "").is_err();
        assert_eq!(
            warned(&world, "wide").len(),
            usize::from(refused),
            "{length}"
        );
    }
}

/// A reference token contains no scopes and audiences: they come from the directory at each use.
#[test]
fn the_answer_about_a_reference_token_is_bounded() {
    let mut world = world(128, 7);
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "wide", now());
    let presented = PresentedToken::Reference(reference::parse(token.expose()).unwrap());
    // 8 KiB of audiences are 16 of 512 bytes. Every scope has the short audience of the gateway too, and the API's own
    // two need no room.
    for (caller, listed) in [("blue.wide", 15 + 1), ("platform.api", 16 + 2)] {
        let caller = client(&world, caller);
        let answer = introspect(&world.directory, &caller, &presented, now()).unwrap();
        let json = answer.to_json().unwrap();
        assert!(json.len() <= 32 << 10, "{} bytes", json.len());
        let told: serde_json::Value = serde_json::from_slice(&json).unwrap();
        let audiences = told["aud"].as_array().unwrap();
        assert_eq!(
            audiences.len(),
            listed,
            "others are listed while there is room"
        );
        // A client that asks about its own token does not use it.
        let is_third = &*caller.client.record.client_id != "blue.wide";
        assert_eq!(answer.used().is_some(), is_third);
        for own in &caller.client.record.audiences {
            assert!(
                audiences.iter().any(|told| *told == **own),
                "an API finds itself"
            );
        }
    }
    let gateway = gateway(&world);
    let passed = enforcement::check(&world.directory, &identity(), gateway, &presented, now());
    let told = passed.unwrap().told(gateway);
    assert!(told.len() <= 8 << 10, "{} bytes", told.len());
    let told: Vec<&str> = told.split(' ').collect();
    assert_eq!(told.len(), 63, "one is left out");
    assert!(
        told.contains(&&*scope_of(63, 128)),
        "the gateway's required scope is included"
    );
    assert!(
        told.iter().all(|scope| scope.len() == 128),
        "none is truncated"
    );
}

fn gateway(world: &World) -> &GatewayRecord {
    let identity = world.directory.served_identity(&identity()).unwrap();
    &identity.record.gateways["gate"]
}

#[test]
fn answers_about_usual_tokens_are_complete_and_in_order() {
    let mut world = world(20, 0);
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "wide", now());
    let presented = PresentedToken::Reference(reference::parse(token.expose()).unwrap());
    let gateway = gateway(&world);
    let passed = enforcement::check(&world.directory, &identity(), gateway, &presented, now());
    let all: Vec<String> = (0..64).map(|number| scope_of(number, 20)).collect();
    assert_eq!(passed.unwrap().told(gateway), all.join(" "));
}
