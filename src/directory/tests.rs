//! The rules of the directory. Each test is named after its rule.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use rstest::rstest;

use super::template::secret_metadata::{InstallationMetadata, MetadataField};
use super::testing::{QUICKSTART, World};
use super::values::issuer::canonical;
use super::*;
use crate::resources::{Kind, OwnerKind};
use crate::tokens::{SecretString, reference};

fn now() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

fn client(namespace: &str, name: &str, spec: &str) -> String {
    object(
        "OAuthClient",
        namespace,
        name,
        &format!(
            "{{identityRef: {{name: main, namespace: platform}}, grantTypes: [ClientCredentials], {spec}}}"
        ),
    )
}

fn scope(namespace: &str, name: &str, spec: &str) -> String {
    object(
        "Scope",
        namespace,
        name,
        &format!("{{identityRef: {{name: main, namespace: platform}}, {spec}}}"),
    )
}

fn object(kind: &str, namespace: &str, name: &str, spec: &str) -> String {
    format!(
        "---\napiVersion: symbolon.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {spec}\n"
    )
}

fn client_reasons(world: &World, namespace: &str, name: &str) -> Vec<&'static str> {
    let object = world
        .directory
        .client(&ObjectKey::new(namespace, name))
        .unwrap();
    world
        .directory
        .client_problems(object)
        .iter()
        .map(|problem| problem.reason.as_str())
        .collect()
}

fn scope_reasons(world: &World, namespace: &str, name: &str) -> Vec<&'static str> {
    let object = world
        .directory
        .scope(&ObjectKey::new(namespace, name))
        .unwrap();
    world
        .directory
        .scope_problems(object)
        .iter()
        .map(|problem| problem.reason.as_str())
        .collect()
}

/// Returns the server's answer about the quickstart's token.
fn outcome(world: &World, token: &SecretString, now: Timestamp) -> Result<Vec<String>, Invalid> {
    let presented = reference::parse(token.expose()).unwrap();
    let active = world
        .directory
        .service_token_presented(&identity(), &presented, now)?;
    Ok(active
        .scopes
        .iter()
        .map(|scope| scope.value().to_string())
        .collect())
}

fn with_token() -> (World, SecretString) {
    let mut world = World::new(QUICKSTART);
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    assert_eq!(
        outcome(&world, &token, now()),
        Ok(vec!["orders.read".to_owned()])
    );
    (world, token)
}

#[rstest]
#[case::own_prefix("blue", "clientId: blue.x", &[])]
#[case::default_name("blue", "", &[])]
#[case::prefix_of_another("blue", "clientId: red.x", &["NameNotOwned"])]
#[case::no_prefix("blue", "clientId: x", &["NameNotOwned"])]
#[case::longer_namespace("blue", "clientId: bluegreen.x", &["NameNotOwned"])]
#[case::administrators("platform", "clientId: anything", &[])]
#[case::given("blue", "clientId: legacy", &[])]
#[case::given_to_another("red", "clientId: legacy", &["NameNotOwned"])]
fn a_client_id_belongs_to_the_namespace_that_it_names(
    #[case] namespace: &str,
    #[case] spec: &str,
    #[case] reasons: &[&str],
) {
    let grant = QUICKSTART.replace(
        "scopes: {from: All}}",
        "scopes: {from: All}, names: [{namespace: blue, clientIds: [legacy]}]}",
    );
    let mut world = World::new(&grant);
    world.apply(&client(namespace, "it", spec));
    assert_eq!(client_reasons(&world, namespace, "it"), reasons);
}

#[rstest]
#[case::colon("blue", "value: 'blue:x'", &[])]
#[case::dot("blue", "value: blue.x", &[])]
#[case::slash("blue", "value: blue/x", &[])]
#[case::default_name("blue", "", &[])]
#[case::prefix_of_another("blue", "value: 'red:x'", &["NameNotOwned"])]
#[case::no_prefix("blue", "value: x", &["NameNotOwned"])]
#[case::given_by_prefix("blue", "value: legacy-x", &[])]
#[case::administrators("platform", "value: anything", &[])]
#[case::own_audience("blue", "audiences: ['https://id.example.com/id/blue/api']", &[])]
#[case::audience_of_another("blue", "audiences: ['https://id.example.com/id/red']", &["NameNotOwned"])]
#[case::audience_that_only_starts_alike("blue", "audiences: ['https://id.example.com/id/bluegreen']", &["NameNotOwned"])]
#[case::the_issuer_itself("blue", "audiences: ['https://id.example.com/id']", &["NameNotOwned"])]
fn a_scope_value_and_an_audience_belong_to_the_namespace_that_they_name(
    #[case] namespace: &str,
    #[case] spec: &str,
    #[case] reasons: &[&str],
) {
    let grant = QUICKSTART.replace(
        "scopes: {from: All}}",
        "scopes: {from: All}, names: [{namespace: blue, scopes: [legacy-*]}]}",
    );
    let mut world = World::new(&grant);
    world.apply(&scope(namespace, "it", spec));
    assert_eq!(scope_reasons(&world, namespace, "it"), reasons);
}

#[test]
fn being_first_never_helps_against_the_owner_of_a_name() {
    let mut world = World::new(&QUICKSTART.replace(
        "scopes: {from: All}}",
        "scopes: {from: All}, names: [{namespace: red, clientIds: [blue.api]}]}",
    ));
    world.apply(&client("red", "thief", "clientId: blue.api"));
    assert_eq!(
        client_reasons(&world, "red", "thief"),
        [""; 0],
        "no one else claims it"
    );
    world.apply(&client("blue", "api", ""));
    assert_eq!(client_reasons(&world, "red", "thief"), ["ValueConflict"]);
    assert_eq!(client_reasons(&world, "blue", "api"), [""; 0]);
    world.apply(&client("platform", "admin", "clientId: blue.api"));
    assert_eq!(
        client_reasons(&world, "blue", "api"),
        ["ValueConflict"],
        "administrators come first"
    );
}

#[test]
fn a_name_granted_to_two_namespaces_that_both_use_it_has_no_owner() {
    let names = "names: [{namespace: red, clientIds: [x]}, {namespace: blue, clientIds: [x]}]";
    let mut world = World::new(&QUICKSTART.replace(
        "scopes: {from: All}}",
        &format!("scopes: {{from: All}}, {names}}}"),
    ));
    world.apply(&client("red", "r", "clientId: x"));
    assert_eq!(client_reasons(&world, "red", "r"), [""; 0]);
    world.apply(&client("blue", "b", "clientId: x"));
    assert_eq!(client_reasons(&world, "red", "r"), ["ValueConflict"]);
    assert_eq!(client_reasons(&world, "blue", "b"), ["ValueConflict"]);
    assert!(world.directory.active_client(&identity(), "x").is_none());
}

#[test]
fn within_a_namespace_the_oldest_holds_the_name() {
    let mut world = World::new(QUICKSTART);
    world.apply(&client("blue", "z-older", "clientId: blue.x"));
    world.apply(&client("blue", "a-newer", "clientId: blue.x"));
    assert_eq!(client_reasons(&world, "blue", "z-older"), [""; 0]);
    assert_eq!(client_reasons(&world, "blue", "a-newer"), ["ValueConflict"]);
    world.delete(Kind::OAuthClient, "blue", "z-older");
    assert_eq!(client_reasons(&world, "blue", "a-newer"), [""; 0]);
}

#[test]
fn an_identity_is_closed_by_default() {
    let mut world = World::new(&QUICKSTART.replace(
        "access: {clients: {from: All}, scopes: {from: All}}",
        "access: {}",
    ));
    assert_eq!(
        client_reasons(&world, "blue", "shop"),
        ["NamespaceNotAllowed"]
    );
    world.apply(&client("platform", "own", ""));
    assert_eq!(client_reasons(&world, "platform", "own"), [""; 0]);
    world.apply(&scope("blue", "it", ""));
    assert_eq!(scope_reasons(&world, "blue", "it"), ["NamespaceNotAllowed"]);
}

#[test]
fn a_scope_is_closed_by_default_and_opens_by_label() {
    let mut world = World::new(QUICKSTART);
    let granted = |world: &World| {
        let object = world
            .directory
            .client(&ObjectKey::new("red", "c"))
            .unwrap()
            .clone();
        let accepted = world.directory.accepted_client(&object).unwrap();
        world
            .directory
            .granted_scopes(&accepted)
            .map(|scope| scope.value().to_string())
            .collect::<Vec<_>>()
    };
    world.apply(&scope("blue", "s", ""));
    world.apply(&client("red", "c", "scopes: ['blue:s']"));
    assert_eq!(granted(&world), [""; 0]);
    world.apply(&scope(
        "blue",
        "s",
        "allowedNamespaces: {from: Selector, selector: {matchLabels: {team: red}}}",
    ));
    assert_eq!(granted(&world), [""; 0]);
    world.apply("{apiVersion: v1, kind: Namespace, metadata: {name: red, labels: {team: red}}}");
    assert_eq!(granted(&world), ["blue:s"]);
}

#[test]
fn the_younger_of_two_identities_with_one_issuer_is_not_served() {
    let mut world = World::new(QUICKSTART);
    world.apply(&object(
        "Identity",
        "platform",
        "copy",
        "{issuer: 'https://id.example.com/id'}",
    ));
    assert!(world.directory.served_identity(&identity()).is_ok());
    assert!(
        world
            .directory
            .served_identity(&ObjectKey::new("platform", "copy"))
            .is_err()
    );
}

#[test]
fn beyond_its_quota_a_namespace_keeps_its_oldest() {
    let mut world = World::new(&QUICKSTART.replace(
        "  gateways",
        "  limits: {perNamespace: {clients: 2}}\n  gateways",
    ));
    world.apply(&client("blue", "b2", ""));
    world.apply(&client("blue", "a3", ""));
    assert_eq!(client_reasons(&world, "blue", "b2"), [""; 0]);
    assert_eq!(client_reasons(&world, "blue", "a3"), ["LimitExceeded"]);
    world.delete(Kind::OAuthClient, "blue", "shop");
    assert_eq!(client_reasons(&world, "blue", "a3"), [""; 0]);
}

/// Each change refuses the token at once, for its own reason.
#[rstest]
#[case::client_disabled(QUICKSTART.replace("systemUser", "disabled: true\n  systemUser"), Err(Invalid::ClientDisabled))]
#[case::revoked(QUICKSTART.replace("scopes: [orders.read]\n", "scopes: [orders.read]\n  revoked: true\n").replace("scopes: [orders.read]\n  revoked: true\n  allowed", "scopes: [orders.read]\n  allowed"), Err(Invalid::OwnerRevoked))]
#[case::reference_tokens_off(QUICKSTART.replace("AdministratorsOnly", "None"), Err(Invalid::ReferenceTokensDisabled))]
#[case::other_system_user(QUICKSTART.replace("robot", "other"), Err(Invalid::PrincipalChanged))]
#[case::scope_taken_from_the_client(QUICKSTART.replace("[orders.read, orders.write]", "[orders.write]"), Err(Invalid::NoScopeLeft))]
#[case::scope_disabled(QUICKSTART.replace("metadata: {name: orders.read, namespace: platform}\nspec:", "metadata: {name: orders.read, namespace: platform}\nspec:\n  disabled: true"), Err(Invalid::NoScopeLeft))]
#[case::scope_closed(QUICKSTART.replace("allowedNamespaces: {from: All}", "allowedNamespaces: {from: Same}"), Err(Invalid::NoScopeLeft))]
#[case::namespace_shut_out(QUICKSTART.replace("clients: {from: All}", "clients: {from: Same}"), Err(Invalid::ClientRefused))]
#[case::shorter_ceiling(QUICKSTART.replace("  gateways", "  limits: {maxServiceTokenLifetime: 10m}\n  gateways"), Err(Invalid::Expired))]
#[case::revoke_issued_before(QUICKSTART.replace("  gateways", "  revokeIssuedBefore: 2026-02-01T00:30:00Z\n  gateways"), Err(Invalid::IssuedBeforeRevocation))]
#[case::over_the_quota(QUICKSTART.replace("  gateways", "  limits: {perNamespace: {serviceTokens: 0}}\n  gateways"), Err(Invalid::LimitExceeded))]
#[case::end_that_came_nearer(QUICKSTART.replace("clientRef: {name: shop}", "clientRef: {name: shop}\n  expiresAt: 2026-02-01T00:30:00Z\n  rotation: {policy: Manual}"), Err(Invalid::Expired))]
#[case::nothing(QUICKSTART.to_owned(), Ok(vec!["orders.read".to_owned()]))]
fn every_withdrawal_is_immediate(
    #[case] changed: String,
    #[case] expected: Result<Vec<String>, Invalid>,
) {
    let (mut world, token) = with_token();
    world.apply(&changed);
    assert_eq!(
        outcome(&world, &token, now() + SignedDuration::from_hours(1)),
        expected
    );
}

#[test]
fn a_scope_that_comes_back_finds_its_token_alive() {
    let (mut world, token) = with_token();
    world.delete(Kind::Scope, "platform", "orders.read");
    assert_eq!(outcome(&world, &token, now()), Err(Invalid::NoScopeLeft));
    world.apply(QUICKSTART);
    assert_eq!(
        outcome(&world, &token, now()),
        Ok(vec!["orders.read".to_owned()])
    );
}

#[rstest]
#[case(Kind::ServiceAccessToken, "nightly", Invalid::OwnerGone)]
#[case(Kind::OAuthClient, "shop", Invalid::ClientGone)]
fn a_recreated_object_has_none_of_the_old_tokens(
    #[case] kind: Kind,
    #[case] name: &str,
    #[case] refusal: Invalid,
) {
    let (mut world, token) = with_token();
    world.delete(kind, "blue", name);
    assert_eq!(outcome(&world, &token, now()), Err(refusal));
    world.apply(&QUICKSTART.replace(
        &format!("{{name: {name}, namespace: blue}}"),
        &format!("{{name: {name}, namespace: blue, uid: another}}"),
    ));
    assert_eq!(outcome(&world, &token, now()), Err(refusal));
}

#[test]
fn adding_a_scope_to_a_token_does_not_extend_issued_tokens() {
    let (mut world, token) = with_token();
    world.apply(&QUICKSTART.replace(
        "  scopes: [orders.read]\n",
        "  scopes: [orders.read, orders.write]\n",
    ));
    assert_eq!(
        outcome(&world, &token, now()),
        Ok(vec!["orders.read".to_owned()])
    );
}

#[test]
fn a_token_ends_at_the_earlier_of_its_ends() {
    let mut world = World::new(QUICKSTART);
    let soon = now() + SignedDuration::from_mins(5);
    let token = world.issue_with(
        OwnerKind::ServiceAccessToken,
        "blue",
        "nightly",
        now(),
        |entry| {
            entry.not_after = Some(crate::resources::Moment(soon));
        },
    );
    assert!(outcome(&world, &token, soon - SignedDuration::from_secs(1)).is_ok());
    assert_eq!(outcome(&world, &token, soon), Err(Invalid::Expired));
}

#[test]
fn a_new_expiry_can_only_shorten_issued_tokens() {
    let until = |end: &str| {
        let spec = format!(
            "clientRef: {{name: shop}}\n  expiresAt: {end}\n  rotation: {{policy: Manual}}"
        );
        QUICKSTART.replace("clientRef: {name: shop}", &spec)
    };
    let mut world = World::new(&until("2026-03-01T00:00:00Z"));
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let presented = reference::parse(token.expose()).unwrap();
    for (moved, end) in [
        ("2026-02-10T00:00:00Z", "2026-02-10T00:00:00Z"),
        ("2026-04-01T00:00:00Z", "2026-03-01T00:00:00Z"),
    ] {
        world.apply(&until(moved));
        let directory = &world.directory;
        let active = directory.service_token_presented(&identity(), &presented, now());
        assert_eq!(active.unwrap().expires_at, Some(end.parse().unwrap()));
        let end = end.parse().unwrap();
        assert_eq!(outcome(&world, &token, end), Err(Invalid::Expired));
    }
}

#[test]
fn beyond_its_quota_a_namespaces_oldest_tokens_are_accepted() {
    let limited = |most: usize| {
        let limits = format!("  limits: {{perNamespace: {{serviceTokens: {most}}}}}\n  gateways");
        let documents = QUICKSTART.replace("  gateways", &limits);
        documents.split("---").next().unwrap().to_owned()
    };
    let token = |name: &str, spec: &str| {
        let spec = format!("{{clientRef: {{name: shop}}, {spec}}}");
        object("ServiceAccessToken", "blue", name, &spec)
    };
    let names = ["nightly", "e", "d", "c", "b", "a"];
    let mut world = World::new(QUICKSTART);
    for name in &names[1..] {
        world.apply(&token(name, "scopes: [orders.read]"));
    }
    let tokens = names.map(|name| world.issue(OwnerKind::ServiceAccessToken, "blue", name, now()));
    let accepted = |world: &World| {
        let accepted = tokens.iter().map(|token| outcome(world, token, now()));
        accepted
            .map(|outcome| match outcome {
                Err(Invalid::LimitExceeded) => '-',
                Ok(_) => '+',
                Err(other) => panic!("{other:?}"),
            })
            .collect::<String>()
    };
    for (most, expected) in [
        (6, "++++++"),
        (5, "+++++-"),
        (4, "++++--"),
        (2, "++----"),
        (0, "------"),
    ] {
        world.apply(&limited(most));
        assert_eq!(accepted(&world), expected, "{most}");
    }
    world.apply(&limited(5));
    world.apply(&object(
        "ServiceAccessToken",
        "red",
        "a",
        "{clientRef: {name: shop}, scopes: [x]}",
    ));
    assert_eq!(accepted(&world), "+++++-", "each namespace has its own");
    world.apply(&token(
        "e, creationTimestamp: '2026-01-01T00:00:00Z'",
        "scopes: [orders.read], lifetime: 24h, neverExpires: true",
    ));
    let last = outcome(&world, &tokens[5], now());
    assert!(last.is_ok(), "an invalid one does not count: {last:?}");
}

#[test]
fn each_identity_has_a_quota_of_its_own_for_a_namespaces_clients() {
    let mut world = World::new(&QUICKSTART.replace(
        "  gateways",
        "  limits: {perNamespace: {clients: 2}}\n  gateways",
    ));
    world.apply(&object(
        "OAuthClient",
        "blue",
        "elsewhere",
        "{identityRef: {name: other, namespace: platform}, grantTypes: [ClientCredentials]}",
    ));
    world.apply(&client("blue", "invalid", "clientId: 'no such id'"));
    world.apply(&client("blue", "second", ""));
    assert_eq!(client_reasons(&world, "blue", "second"), [""; 0]);
}

/// A recorded secret can still be revoked on request.
#[test]
fn a_disabled_clients_secret_is_withheld_and_can_still_be_revoked() {
    let world = World::new(&QUICKSTART.replace("systemUser", "disabled: true\n  systemUser"));
    let key = ObjectKey::new("blue", "shop");
    let Standing::Wanted(desired) = world.directory.client_secret_standing(&key, now()) else {
        panic!()
    };
    let reasons: Vec<_> = desired.withheld.iter().map(|it| it.reason).collect();
    assert_eq!(reasons, [Reason::Disabled]);
}

#[test]
fn a_client_secret_is_quiet_only_after_its_access_tokens_have_expired() {
    let quiet = |spec: &str, rotation: &str| {
        let mut world = World::new(QUICKSTART);
        let secret = format!("authentication: {{secret: {{rotation: {{{rotation}}}}}}}");
        world.apply(&client("blue", "c", &format!("{spec}{secret}")));
        let key = ObjectKey::new("blue", "c");
        match world.directory.client_secret_standing(&key, now()) {
            Standing::Wanted(desired) => desired.rotation.adoption,
            other => panic!("{other:?}"),
        }
    };
    let minutes = |minutes| Some(SignedDuration::from_mins(minutes));
    let two_hours = "tokens: {accessTokenLifetime: 2h}, ";
    assert_eq!(quiet(two_hours, ""), None);
    assert_eq!(quiet(two_hours, "retire: WhenAdopted"), minutes(130));
    assert_eq!(
        quiet("tokens: {accessTokenLifetime: 5m}, ", "retire: WhenAdopted"),
        minutes(60)
    );
    assert_eq!(
        quiet(two_hours, "retire: WhenAdopted, quietPeriod: 30m"),
        minutes(30)
    );
}

#[test]
fn a_never_expiring_token_needs_the_identitys_permission_at_every_use() {
    let open = QUICKSTART
        .replace(
            "  gateways",
            "  limits: {neverExpiringTokens: Allow}\n  gateways",
        )
        .replace(
            "clientRef: {name: shop}",
            "clientRef: {name: shop}\n  neverExpires: true",
        );
    let mut world = World::new(&open);
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    assert!(outcome(&world, &token, "2100-01-01T00:00:00Z".parse().unwrap()).is_ok());
    world.apply(&open.replace("Allow", "Deny"));
    assert_eq!(outcome(&world, &token, now()), Err(Invalid::LimitExceeded));
}

#[test]
fn a_credential_without_a_right_seal_is_ignored() {
    let mut world = World::new(QUICKSTART);
    world.mac_key = crate::tokens::MacKey::from_bytes(&[8; 32]).unwrap();
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    assert!(
        outcome(&world, &token, now()).is_ok(),
        "the same key seals and verifies"
    );
    let key = ObjectKey::new("platform", "ServiceAccessToken-blue-nightly");
    let record = world.directory.credential(&key).unwrap();
    assert_eq!(record.entries.len(), 1);
    world.delete(
        Kind::Credential,
        "platform",
        "ServiceAccessToken-blue-nightly",
    );
    assert_eq!(outcome(&world, &token, now()), Err(Invalid::UnknownToken));
}

#[test]
fn a_client_secret_is_not_a_token_and_a_token_is_not_a_client_secret() {
    let mut world = World::new(QUICKSTART);
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    assert_eq!(outcome(&world, &secret, now()), Err(Invalid::UnknownToken));
    let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
    let presented = reference::parse(token.expose()).unwrap();
    assert!(
        world
            .directory
            .client_authenticated(&identity(), "blue.shop", &presented, now())
            .is_err()
    );
    let presented = reference::parse(secret.expose()).unwrap();
    assert!(
        world
            .directory
            .client_authenticated(&identity(), "blue.shop", &presented, now())
            .is_ok()
    );
    assert!(
        world
            .directory
            .client_authenticated(&identity(), "blue.other", &presented, now())
            .is_err()
    );
}

#[test]
fn a_client_secret_is_its_own_clients_alone() {
    let mut world = World::new(QUICKSTART);
    world.apply(&client("blue", "other", "scopes: []"));
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    let presented = reference::parse(secret.expose()).unwrap();
    let refusal = |client_id: &str| {
        world
            .directory
            .client_authenticated(&identity(), client_id, &presented, now())
            .err()
    };
    assert_eq!(refusal("blue.shop"), None);
    // Known or not, the answer and the path to it are the same.
    for other in ["blue.other", "blue.nobody", ""] {
        assert_eq!(refusal(other), Some(Invalid::WrongSecret), "{other}");
    }
}

#[test]
fn an_access_token_ends_with_the_client_that_got_it() {
    let mut world = World::new(QUICKSTART);
    let uid = "OAuthClient-blue-shop";
    let refusal = |world: &World| {
        let issued = "2026-01-02T00:00:00Z".parse().unwrap();
        world
            .directory
            .access_token_client(&identity(), "blue.shop", uid, issued, now())
            .err()
    };
    assert_eq!(refusal(&world), None);
    world.delete(Kind::OAuthClient, "blue", "shop");
    assert_eq!(refusal(&world), Some(Invalid::ClientRefused));
    // Even if the client is recreated in the second in which the token was issued.
    world.apply(&QUICKSTART.replace(
        "{name: shop, namespace: blue}",
        "{name: shop, namespace: blue, uid: another, creationTimestamp: '2026-01-02T00:00:00Z'}",
    ));
    assert_eq!(refusal(&world), Some(Invalid::ClientGone));
}

#[rstest]
#[case::missing_client(QUICKSTART.replace("clientRef: {name: shop}", "clientRef: {name: shopp}"), "ClientNotFound")]
#[case::no_system_user(QUICKSTART.replace("  systemUser: {name: robot}\n", ""), "SystemUserMissing")]
#[case::reference_tokens_off(QUICKSTART.replace("AdministratorsOnly", "None"), "ReferenceTokensDisabled")]
#[case::scope_that_the_client_lacks(QUICKSTART.replace("[orders.read, orders.write]", "[orders.write]"), "ScopeNotGranted")]
#[case::too_long(QUICKSTART.replace("clientRef: {name: shop}", "clientRef: {name: shop}\n  lifetime: 80000h"), "LimitExceeded")]
#[case::no_end(QUICKSTART.replace("clientRef: {name: shop}", "clientRef: {name: shop}\n  neverExpires: true"), "LimitExceeded")]
#[case::identity_with_an_invalid_prefix(QUICKSTART.replace("  gateways:", "  tokens: {referencePrefix: 'NO'}\n  gateways:"), "Pending")]
#[case::past(QUICKSTART.replace("clientRef: {name: shop}", "clientRef: {name: shop}\n  expiresAt: 2026-01-15T00:00:00Z\n  rotation: {policy: Manual}"), "Expired")]
fn a_token_that_cannot_be_issued_says_why(#[case] yaml: String, #[case] reason: &str) {
    let world = World::new(&yaml);
    let key = ObjectKey::new("blue", "nightly");
    let problems = match world.directory.service_token_standing(&key, now()) {
        // What was issued earlier may still be accepted, and must still be revoked on request.
        Standing::Wanted(desired) => desired.withheld,
        Standing::Withheld(problems) => problems,
        other => panic!("not withheld: {other:?}"),
    };
    assert_eq!(problems[0].reason.as_str(), reason, "{problems:?}");
    let object = world.directory.service_token(&key).unwrap();
    let told = world.directory.service_token_problems(object, now());
    assert_eq!(told, problems);
}

/// `now()` is 2026-02-01T00:00:00Z.
#[rstest]
#[case::as_long_as_is_allowed("lifetime: 100h", &[])]
#[case::longer("lifetime: 101h", &[("LimitExceeded", "/spec/lifetime")])]
#[case::as_far_as_is_allowed("expiresAt: 2026-02-05T04:00:00Z", &[])]
#[case::farther("expiresAt: 2026-02-05T04:00:01Z", &[("LimitExceeded", "/spec/expiresAt")])]
#[case::a_second_ahead("expiresAt: 2026-02-01T00:00:01Z", &[])]
#[case::now("expiresAt: 2026-02-01T00:00:00Z", &[("Expired", "/spec/expiresAt")])]
#[case::no_end_where_that_is_allowed("neverExpires: true", &[])]
fn a_token_lives_within_the_identitys_limits(#[case] end: &str, #[case] expected: &[(&str, &str)]) {
    let limits = "limits: {maxServiceTokenLifetime: 100h, neverExpiringTokens: Allow}";
    let tokens = "tokens: {serviceTokenLifetime: 90h}";
    let yaml = QUICKSTART
        .replace("  access:", &format!("  {limits}\n  {tokens}\n  access:"))
        .replace(
            "clientRef: {name: shop}",
            &format!("clientRef: {{name: shop}}\n  rotation: {{policy: Manual}}\n  {end}"),
        );
    let world = World::new(&yaml);
    let token = world
        .directory
        .service_token(&ObjectKey::new("blue", "nightly"));
    let problems = world
        .directory
        .service_token_problems(token.unwrap(), now());
    let told: Vec<_> = problems
        .iter()
        .map(|problem| (problem.reason.as_str(), &*problem.path))
        .collect();
    assert_eq!(told, expected, "{problems:?}");
}

#[test]
fn each_scope_that_a_client_asks_for_and_is_not_granted_is_reported() {
    let world = World::new(&format!(
        "{QUICKSTART}{}{}{}",
        scope("green", "closed", "value: 'green:closed'"),
        scope(
            "green",
            "open",
            "value: 'green:open', allowedNamespaces: {from: All}"
        ),
        client(
            "blue",
            "asks",
            "scopes: [orders.read, nothing, 'green:closed', 'green:open']"
        ),
    ));
    let client = world
        .directory
        .active_client(&identity(), "blue.asks")
        .unwrap();
    let told: Vec<_> = world
        .directory
        .not_granted(&client)
        .into_iter()
        .map(|problem| (problem.path, problem.reason.as_str()))
        .collect();
    assert_eq!(
        told,
        [
            ("/spec/scopes/1".to_owned(), "ScopeNotFound"),
            ("/spec/scopes/2".to_owned(), "ScopeNotGranted")
        ]
    );
    let granted: Vec<_> = world
        .directory
        .granted_scopes(&client)
        .map(|scope| scope.value().to_string())
        .collect();
    assert_eq!(granted, ["orders.read", "green:open"]);
}

#[test]
fn the_audiences_of_a_scope_are_its_own_or_its_namespaces() {
    let issuer = "https://id.example.com/id";
    let world = World::new(&format!(
        "{QUICKSTART}{}{}",
        scope("platform", "plain", "value: plain"),
        scope("green", "items", "value: 'green:items'"),
    ));
    let directory = &world.directory;
    let served = directory.served_identity(&identity()).unwrap();
    let client = directory.active_client(&identity(), "blue.shop").unwrap();
    let own = directory.granted_scope(&client, "orders.read").unwrap();
    let of = |namespace: &str, name: &str| {
        let object = directory.scope(&ObjectKey::new(namespace, name)).unwrap();
        Served {
            object,
            record: object.record().unwrap(),
        }
    };
    let below = format!("{issuer}/green");
    for (scope, expected) in [
        (own.scope, "https://api.example.com"),
        (of("platform", "plain"), issuer),
        (of("green", "items"), &below),
    ] {
        let audiences = audiences_of(served, scope);
        assert_eq!(audiences.len(), 1);
        assert_eq!(&*audiences[0], expected);
        for audience in [
            "https://api.example.com",
            "https://api.example.com/",
            issuer,
            &below,
            &format!("{issuer}/gree"),
            &format!("{issuer}/greener"),
            &format!("{issuer}green"),
            "green",
            "",
        ] {
            assert_eq!(
                is_audience_of(served, scope, audience),
                audience == expected,
                "{audience:?} of {:?}",
                scope.object.key
            );
        }
    }
}

#[rstest]
#[case::the_identitys("", 10)]
#[case::its_own("tokens: {accessTokenLifetime: 15m}", 15)]
#[case::no_more_than_the_ceiling("tokens: {accessTokenLifetime: 30m}", 20)]
fn an_access_token_lives_as_its_client_says_below_the_identitys_ceiling(
    #[case] spec: &str,
    #[case] minutes: i64,
) {
    let limits = "limits: {maxAccessTokenLifetime: 20m}\n  tokens: {accessTokenLifetime: 10m}";
    let yaml = QUICKSTART.replace("  access:", &format!("  {limits}\n  access:"));
    let world = World::new(&format!("{yaml}{}", client("blue", "short", spec)));
    let client = world.directory.active_client(&identity(), "blue.short");
    assert_eq!(
        client.unwrap().access_token_lifetime(),
        SignedDuration::from_mins(minutes)
    );
}

#[rstest]
#[case::the_default("", "", None)]
#[case::the_identitys(
    "JWT",
    "",
    Some(
        "its access tokens have typ \"JWT\", by spec.tokens.accessTokenType of Identity platform/main"
    )
)]
#[case::its_own(
    "JWT",
    "AtJWT",
    Some("its access tokens have typ \"at+jwt\", by its spec.tokens.accessTokenType")
)]
fn explain_tells_which_object_decides_on_the_type_of_access_tokens(
    #[case] of_identity: &str,
    #[case] of_client: &str,
    #[case] expected: Option<&str>,
) {
    let tokens = |typ: &str| match typ {
        "" => String::new(),
        typ => format!("tokens: {{accessTokenType: {typ}}}"),
    };
    let yaml = QUICKSTART.replace(
        "  access:",
        &format!("  {}\n  access:", tokens(of_identity)),
    );
    let client = client("blue", "typed", &tokens(of_client));
    let world = World::new(&format!("{yaml}{client}"));
    let key = ObjectKey::new("blue", "typed");
    let steps = world.directory.explain_client(&key, None);
    let told = steps.iter().find(|step| step.rule == "token-type");
    assert_eq!(
        told.map(|step| step.message.as_str()),
        expected,
        "{steps:?}"
    );
}

#[test]
fn each_refusal_has_a_name_of_its_own_in_logs() {
    let all = [
        (Invalid::UnknownToken, "unknown_token"),
        (Invalid::WrongSecret, "wrong_secret"),
        (Invalid::Expired, "expired"),
        (Invalid::OwnerGone, "owner_gone"),
        (Invalid::OwnerRevoked, "owner_revoked"),
        (Invalid::ClientGone, "client_gone"),
        (Invalid::ClientRefused, "client_refused"),
        (Invalid::ClientDisabled, "client_disabled"),
        (Invalid::IssuedBeforeRevocation, "issued_before_revocation"),
        (Invalid::PrincipalChanged, "principal_changed"),
        (
            Invalid::ReferenceTokensDisabled,
            "reference_tokens_disabled",
        ),
        (Invalid::LimitExceeded, "limit_exceeded"),
        (Invalid::NoScopeLeft, "no_scope_left"),
    ];
    for (refusal, name) in all {
        assert_eq!(refusal.as_str(), name);
    }
}

#[test]
fn a_desired_token_has_every_default_filled_in() {
    let world = World::new(QUICKSTART);
    let Standing::Wanted(desired) = world
        .directory
        .service_token_standing(&ObjectKey::new("blue", "nightly"), now())
    else {
        panic!()
    };
    assert_eq!(desired.principal, "blue:robot");
    assert_eq!(desired.secret_name, "nightly-token");
    assert_eq!(
        desired.lifetime,
        Lifetime::For(SignedDuration::from_hours(2160))
    );
    assert_eq!(
        desired.rotation.renew_before,
        Some(SignedDuration::from_hours(720))
    );
    assert_eq!(desired.rotation.overlap, SignedDuration::from_hours(24));
    let Standing::Wanted(desired) = world
        .directory
        .client_secret_standing(&ObjectKey::new("blue", "shop"), now())
    else {
        panic!()
    };
    assert_eq!(
        (desired.principal.as_str(), desired.secret_name.as_str()),
        ("blue.shop", "shop-client")
    );
    assert_eq!(
        (desired.lifetime, desired.rotation.renew_before),
        (Lifetime::Never, None)
    );
}

#[test]
fn the_order_of_events_does_not_matter() {
    let documents: Vec<&str> = QUICKSTART.split("---").collect();
    let stamped: Vec<String> = documents
        .iter()
        .enumerate()
        .map(|(index, document)| {
            document.replace(
                "metadata: {",
                &format!("metadata: {{creationTimestamp: '2026-01-01T00:00:0{index}Z', "),
            )
        })
        .collect();
    let forwards = World::new(&stamped.join("---"));
    let backwards = World::new(
        &stamped
            .iter()
            .rev()
            .cloned()
            .collect::<Vec<_>>()
            .join("---"),
    );
    let key = ObjectKey::new("blue", "nightly");
    assert_eq!(
        forwards.directory.service_token_standing(&key, now()),
        backwards.directory.service_token_standing(&key, now())
    );
}

#[test]
fn of_two_records_of_one_token_the_one_whose_owner_exists_wins() {
    // A restore brings back a record that was rebound before. Its name may sort before or after.
    for uid in ["0", "~"] {
        let mut world = World::new(QUICKSTART);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let mut kept = None;
        let keep = |entry: &mut crate::resources::CredentialEntry| kept = Some(entry.clone());
        let token = world.issue_with(OwnerKind::ServiceAccessToken, "blue", "nightly", now, keep);
        let owner = crate::resources::CredentialOwner {
            kind: OwnerKind::ServiceAccessToken,
            namespace: "blue".into(),
            name: "nightly".into(),
            uid: uid.into(),
        };
        let identity = ObjectKey::new("platform", "main");
        world.record(&identity, &owner, kept.unwrap());
        let presented = crate::tokens::reference::parse(token.expose()).unwrap();
        let found = world
            .directory
            .service_token_presented(&identity, &presented, now);
        assert!(found.is_ok(), "{uid}: {:?}", found.err());
    }
}

fn issuing(namespace: &str, name: &str, issuer: &str) -> String {
    object(
        "Identity",
        namespace,
        name,
        &format!("{{issuer: '{issuer}'}}"),
    )
}

/// Returns the served Identities as `namespace/name`.
fn served(world: &World) -> Vec<String> {
    let all = world.directory.identities();
    all.filter(|object| world.directory.identity_problems(object).is_empty())
        .map(|object| object.key.to_string())
        .collect()
}

#[test]
fn an_issuer_is_not_won_by_being_older_after_the_owner_is_recreated() {
    let issuer = "https://id.example.com";
    let settings = |default: Option<&str>, listed: &[&str]| Settings {
        default_identity: default.map(|namespace| ObjectKey::new(namespace, "main")),
        identity_namespaces: listed.iter().map(|&name| name.to_owned()).collect(),
        ..Settings::default()
    };
    for (settings, winner) in [
        // The installation ranks no Identity.
        (settings(None, &[]), "blue/mine"),
        (settings(Some("platform"), &[]), "platform/main"),
        (settings(None, &["platform", "blue"]), "platform/main"),
        (settings(None, &["blue", "platform"]), "blue/mine"),
        (
            settings(Some("platform"), &["blue", "platform"]),
            "platform/main",
        ),
    ] {
        let mut world = World::new("");
        world.directory = world.directory.with_settings(settings.clone());
        world.apply(&issuing("platform", "main", issuer));
        world.apply(&issuing("blue", "mine", issuer));
        world.delete(Kind::Identity, "platform", "main");
        assert_eq!(served(&world), ["blue/mine"]);
        world.apply(&issuing("platform", "main", issuer));
        assert_eq!(served(&world), [winner], "{settings:?}");
    }
}

#[test]
fn an_identity_outside_the_listed_namespaces_is_refused_and_takes_no_issuer() {
    let settings = Settings {
        identity_namespaces: vec!["platform".to_owned(), "other".to_owned()],
        ..Settings::default()
    };
    let mut world = World::new("");
    world.directory = world.directory.with_settings(settings);
    let issuer = "https://id.example.com";
    world.apply(&issuing("blue", "mine", issuer));
    world.apply(&issuing("platform", "main", issuer));
    assert_eq!(served(&world), ["platform/main"]);
    let refused = ObjectKey::new("blue", "mine");
    let object = world.directory.identity(&refused).unwrap();
    let problems = world.directory.identity_problems(object);
    let [problem] = &problems[..] else {
        panic!("{problems:?}")
    };
    assert_eq!(
        (problem.reason, &*problem.path),
        (Reason::NamespaceNotAllowed, "/metadata/namespace")
    );
    assert!(problem.message.contains("platform, other and not in blue"));
    assert!(world.directory.served_identity(&refused).is_err());
}

#[test]
fn between_equals_the_older_identity_has_the_issuer() {
    let mut world = World::new(&issuing("platform", "z", "https://id.example.com"));
    world.apply(&issuing("platform", "a", "https://id.example.com"));
    assert_eq!(served(&world), ["platform/z"]);
}

/// `<issuer>/blue/../red` begins like blue's, and a reader that normalises URLs takes it for red's.
#[test]
fn dots_do_not_reach_another_namespaces_audience() {
    for audience in [
        "blue/../red",
        "blue/%2e%2e/red",
        "blue//../red",
        "blue/..;/red",
    ] {
        let scope = format!(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {{name: read, namespace: blue}}
spec:
  identityRef: {{name: main, namespace: platform}}
  audiences: ['https://id.example.com/id/{audience}']
"
        );
        let mut world = World::new(QUICKSTART);
        world.apply(&scope);
        let object = world
            .directory
            .scope(&ObjectKey::new("blue", "read"))
            .unwrap();
        let problems = world.directory.scope_problems(object);
        let told: Vec<_> = problems.iter().map(|it| (it.reason, &*it.path)).collect();
        assert_eq!(told, [(Reason::Invalid, "/spec/audiences")], "{audience}");
    }
}

#[test]
fn what_an_identity_allows_templates_to_set_reaches_its_owners_secrets() {
    let mut world = World::new(QUICKSTART);
    let allows = |world: &World, label: &str| {
        let standing = world
            .directory
            .service_token_standing(&ObjectKey::new("blue", "nightly"), now());
        let Standing::Wanted(desired) = standing else {
            panic!("{standing:?}")
        };
        desired.metadata.allows(MetadataField::Labels, label)
    };
    assert!(allows(&world, "team") && !allows(&world, "owner"));
    let identity = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  limits: {secretMetadata: {labels: [owner]}}
";
    world.apply(identity);
    assert!(allows(&world, "team") && allows(&world, "owner"));
}

#[test]
fn an_identity_cannot_allow_what_the_installation_does_not() {
    let lists = r#"{"allowedLabels": ["example.com/*"], "allowedAnnotations": ["team"]}"#;
    let mut world = World::new("");
    world.directory = world.directory.with_settings(Settings {
        secret_metadata: Arc::new(InstallationMetadata::parse(lists).unwrap()),
        ..Settings::default()
    });
    world.apply(QUICKSTART);
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  limits: {secretMetadata: {labels: [owner, example.com/x], annotations: [example.com/x]}}
",
    );
    let standing = world
        .directory
        .service_token_standing(&ObjectKey::new("blue", "nightly"), now());
    let Standing::Wanted(desired) = standing else {
        panic!("{standing:?}")
    };
    for (field, key, is_allowed) in [
        (MetadataField::Labels, "example.com/x", true),
        (MetadataField::Labels, "example.com/y", false),
        (MetadataField::Labels, "owner", false),
        (MetadataField::Labels, "team", false),
        (MetadataField::Annotations, "team", true),
        (MetadataField::Annotations, "example.com/x", false),
    ] {
        assert_eq!(desired.metadata.allows(field, key), is_allowed, "{key}");
    }
}

#[test]
fn an_issuer_is_the_same_however_its_host_is_written() {
    for (a, b, is_same) in [
        ("https://id.example.com", "https://ID.example.COM", true),
        ("https://id.example.com", "https://id.example.com:443", true),
        ("https://id.example.com", "https://id.example.com.", true),
        (
            "https://id.example.com/a",
            "https://id.Example.com:443/a",
            true,
        ),
        ("http://id.x.svc", "http://id.x.svc:80", true),
        ("http://[::1]", "http://[::1]:80", true),
        ("https://id.example.com", "https://id.example.com/a", false),
        (
            "https://id.example.com/a",
            "https://id.example.com/A",
            false,
        ),
        ("https://id.example.com", "https://id.example.com:80", false),
        (
            "https://id.example.com",
            "https://id.example.com:8443",
            false,
        ),
        ("http://id.x.svc", "https://id.x.svc", false),
        ("http://id.x.svc:443", "http://id.x.svc", false),
        ("http://[::1]", "http://[::1]:8080", false),
        ("http://[::1]", "http://[::2]", false),
    ] {
        assert_eq!(canonical(a) == canonical(b), is_same, "{a} {b}");
    }
    let mut world = World::new(&issuing("platform", "main", "https://id.example.com"));
    world.apply(&issuing("blue", "mine", "https://ID.example.com:443"));
    assert_eq!(served(&world), ["platform/main"]);
}

/// An object in etcd may have about 1.5 MB, and it is kept before any quota is checked.
#[test]
fn what_a_tenant_writes_costs_bounded_memory() {
    let object = |data: &serde_json::Value| {
        let rotate = "x".repeat(200 << 10);
        serde_json::json!({
            "metadata": {
                "namespace": "blue", "name": "nightly", "uid": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": {"symbolon.dev/rotate": rotate},
            },
            "spec": {"clientRef": {"name": "shop"}, "scopes": ["a"], "secret": {"template": {"data": data}}},
        })
    };
    let size = |raw: &serde_json::Value, settings: &Settings| {
        let object = admit::service_token(raw, settings).unwrap();
        (object.record().is_some(), format!("{object:?}").len())
    };
    let (operator, server) = (
        Settings::default(),
        Settings {
            serves_only: true,
            ..Settings::default()
        },
    );
    let large: serde_json::Map<_, _> = (0..16)
        .map(|number| (format!("k{number}"), "\u{1f600}".repeat(4096).into()))
        .collect();
    let large = object(&large.into());
    let problems = admit::problems(Kind::ServiceAccessToken, &large, &operator);
    let messages: Vec<_> = problems.iter().map(|it| &*it.message).collect();
    let words = "labels, annotations and data must have at most 32 KiB together: put long texts into a ConfigMap";
    assert_eq!(messages, [words]);
    let (is_good, bytes) = size(&large, &operator);
    assert!(!is_good && bytes < 2000, "{bytes}");
    let small = object(&serde_json::json!({"k": "x".repeat(4000)}));
    let (is_good, bytes) = size(&small, &operator);
    assert!(is_good && bytes < 6000, "{bytes}");
    let (is_good, bytes) = size(&small, &server);
    assert!(is_good && bytes < 1000, "{bytes}");
}

#[test]
fn what_was_issued_at_the_moment_of_revoke_issued_before_or_later_is_accepted() {
    let text = QUICKSTART.replace(
        "  gateways",
        "  revokeIssuedBefore: 2026-02-01T00:30:00Z\n  gateways",
    );
    let world = World::new(&text);
    let identity = world
        .directory
        .identity(&ObjectKey::new("platform", "main"));
    let record = identity.unwrap().record().unwrap();
    let time = |text: &str| text.parse::<Timestamp>().unwrap();
    for (issued, now, revoked) in [
        ("2026-02-01T00:29:59Z", "2026-02-01T01:00:00Z", true),
        ("2026-02-01T00:30:00Z", "2026-02-01T01:00:00Z", false),
        ("2026-02-01T00:30:01Z", "2026-02-01T01:00:00Z", false),
        // Before that moment, it acts as the present time.
        ("2026-02-01T00:09:59Z", "2026-02-01T00:10:00Z", true),
        ("2026-02-01T00:10:00Z", "2026-02-01T00:10:00Z", false),
    ] {
        let told = is_revoked(record, time(issued), time(now));
        assert_eq!(told, revoked, "issued {issued}, judged {now}");
    }
}
