//! Which people may act, what they may use, and what clients get of them, from manifests as administrators write them.

use jiff::Timestamp;
use rstest::rstest;
use serde_json::json;

use super::person::{Barred, Person};
use super::person_client::PersonClient;
use super::person_scope::{StandardScope, still_held};
use crate::directory::testing::{PEOPLE, QUICKSTART, World};
use crate::directory::{ObjectKey, Problem, Reason, Standing};
use crate::resources::{ConsentPolicy, Kind, UserType};

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

/// The quickstart with people. Later documents of one name win.
fn world(edit: &[(&str, &str)]) -> World {
    let mut text = format!("{QUICKSTART}---\n{PEOPLE}");
    for (from, to) in edit {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    World::new(&text)
}

fn client<'a>(world: &'a World, id: &str) -> PersonClient<'a> {
    let accepted = world.directory.active_client(&identity(), id).unwrap();
    world.directory.person_client(accepted)
}

fn person<'a>(world: &'a World, name: &str) -> Result<Person<'a>, Barred> {
    let user = world.directory.user_by_name(&identity(), name);
    user.ok_or(Barred::Unknown)?.person(now())
}

fn problems(world: &World, kind: Kind, namespace: &str, name: &str) -> Vec<(Reason, String)> {
    let key = ObjectKey::new(namespace, name);
    let problems = world.directory.diagnose(kind, &key, now()).into_iter();
    problems
        .map(|Problem { reason, path, .. }| (reason, path))
        .collect()
}

#[test]
fn the_manifests_of_people_have_no_fault() {
    let world = world(&[]);
    for (kind, namespace, name) in [
        (Kind::Identity, "platform", "main"),
        (Kind::OAuthClient, "platform", "demo-app"),
        (Kind::OAuthClient, "blue", "web"),
        (Kind::User, "platform", "alice"),
        (Kind::User, "platform", "bob"),
    ] {
        assert_eq!(problems(&world, kind, namespace, name), [], "{kind} {name}");
    }
}

/// The Identity's revocation is for everything that was issued, so the later one of both counts.
#[rstest]
#[case::of_nobody(None, None, None)]
#[case::of_the_identity(Some("2026-02-01T00:00:00Z"), None, Some("2026-02-01T00:00:00Z"))]
#[case::of_the_user(None, Some("2026-02-01T00:00:00Z"), Some("2026-02-01T00:00:00Z"))]
#[case::a_later_one_of_the_identity(
    Some("2026-03-01T00:00:00Z"),
    Some("2026-02-01T00:00:00Z"),
    Some("2026-03-01T00:00:00Z")
)]
#[case::a_later_one_of_the_user(
    Some("2026-02-01T00:00:00Z"),
    Some("2026-03-01T00:00:00Z"),
    Some("2026-03-01T00:00:00Z")
)]
fn what_a_person_got_before_a_revocation_is_refused(
    #[case] of_identity: Option<&str>,
    #[case] of_user: Option<&str>,
    #[case] expected: Option<&str>,
) {
    let line = |before: Option<&str>| {
        let field = before.map(|it| format!("\n  revokeIssuedBefore: {it}"));
        field.unwrap_or_default()
    };
    let (identity, user) = ("  storage: {type: SQLite}", "  username: Alice");
    let world = world(&[
        (identity, &format!("{identity}{}", line(of_identity))),
        (user, &format!("{user}{}", line(of_user))),
    ]);
    let expected = expected.map(|it| it.parse().unwrap());
    assert_eq!(
        person(&world, "alice").unwrap().revoke_issued_before,
        expected
    );
}

#[rstest]
#[case::username("alice", true)]
#[case::in_another_case("ALICE", true)]
#[case::address("Alice@Example.com", true)]
#[case::default_username("bob", true)]
#[case::unknown("carol", false)]
#[case::display_name("Alice Adams", false)]
#[case::nothing("", false)]
fn a_person_signs_in_with_a_username_or_an_address(#[case] name: &str, #[case] is_known: bool) {
    let world = world(&[]);
    assert_eq!(person(&world, name).is_ok(), is_known);
}

#[test]
fn an_address_that_two_users_have_names_no_one() {
    let world = world(&[("bob@example.com", "ALICE@example.com")]);
    assert_eq!(
        person(&world, "alice@example.com").unwrap_err(),
        Barred::Unknown
    );
    assert!(person(&world, "alice").is_ok());
    assert_eq!(
        problems(&world, Kind::User, "platform", "bob"),
        [(Reason::ValueConflict, "/spec/email".to_owned())]
    );
}

#[test]
fn the_older_user_keeps_a_username_and_a_subject() {
    let subject = "0198c0de-0000-8000-8000-000000000001";
    let more = |name: &str, spec: &str| {
        format!(
            "---\napiVersion: symbolon.dev/v1alpha1\nkind: User\nmetadata: {{name: {name}, namespace: platform}}\nspec: {{identityRef: {{name: main}}, {spec}}}\n"
        )
    };
    let mut world = world(&[]);
    world.apply(&more("eve", "username: aLiCe"));
    world.apply(&more("one", &format!("subject: {subject}")));
    world.apply(&more("two", &format!("subject: {subject}")));
    for (name, path) in [("eve", "/spec/username"), ("two", "/spec/subject")] {
        assert_eq!(
            problems(&world, Kind::User, "platform", name),
            [(Reason::ValueConflict, path.to_owned())]
        );
    }
    assert_eq!(person(&world, "alice").unwrap().user, Some("alice"));
    let found = world.directory.user_by_subject(&identity(), subject);
    assert_eq!(&*found.unwrap().user.object.key.name, "one");
    // The name is free once its owner is gone.
    world.delete(Kind::User, "platform", "alice");
    assert_eq!(person(&world, "alice").unwrap().user, Some("eve"));
    world.delete(Kind::User, "platform", "one");
    let found = world.directory.user_by_subject(&identity(), subject);
    assert_eq!(&*found.unwrap().user.object.key.name, "two");
}

#[test]
fn a_subject_is_derived_from_the_uid_unless_it_is_pinned() {
    let world = world(&[]);
    let by_uid = world
        .directory
        .user_by_uid(&identity(), "User-platform-alice")
        .unwrap();
    let subject = &by_uid.user.record.subject;
    assert_eq!(
        **subject,
        *crate::tokens::subject::subject_of_uid("User-platform-alice")
    );
    let person = world.directory.person(&identity(), subject, now());
    assert_eq!(person.unwrap().user, Some("alice"));
    let elsewhere = ObjectKey::new("platform", "other");
    let unknown = world.directory.person(&elsewhere, subject, now());
    assert_eq!(unknown.unwrap_err(), Barred::Unknown);
}

#[rstest]
#[case::disabled("disabled: true", Some(Barred::Disabled))]
#[case::too_early("notBefore: 2026-06-01T00:00:01Z", Some(Barred::OutsideValidity))]
#[case::just_begun("notBefore: 2026-06-01T00:00:00Z", None)]
#[case::just_ended("notAfter: 2026-06-01T00:00:00Z", Some(Barred::OutsideValidity))]
#[case::still("notAfter: 2026-06-01T00:00:01Z", None)]
fn a_user_acts_within_its_time_unless_disabled(
    #[case] field: &str,
    #[case] barred: Option<Barred>,
) {
    let world = world(&[(
        "  username: Alice\n",
        &format!("  username: Alice\n  {field}\n"),
    )]);
    assert_eq!(person(&world, "alice").err(), barred);
}

#[test]
fn users_beyond_the_limit_the_younger_ones_are_not_served() {
    let world = world(&[("  login:", "  limits: {users: 1}\n  login:")]);
    assert!(person(&world, "alice").is_ok());
    assert_eq!(person(&world, "bob").unwrap_err(), Barred::Unknown);
    let problems = problems(&world, Kind::User, "platform", "bob");
    assert_eq!(problems, [(Reason::LimitExceeded, String::new())]);
}

#[test]
fn users_are_beside_their_identity() {
    let world = world(&[(
        "name: bob, namespace: platform}\nspec: {identityRef: {name: main}",
        "name: bob, namespace: blue}\nspec: {identityRef: {name: main, namespace: platform}",
    )]);
    assert_eq!(person(&world, "bob").unwrap_err(), Barred::Unknown);
    let problems = problems(&world, Kind::User, "blue", "bob");
    assert_eq!(
        problems,
        [(
            Reason::NamespaceNotAllowed,
            "/metadata/namespace".to_owned()
        )]
    );
}

/// An older User of another namespace is never accepted, so it takes nothing from those that are.
#[test]
fn a_user_of_another_namespace_occupies_no_name_no_address_and_no_place() {
    let subject = "0198c0de-0000-8000-8000-000000000001";
    let foreign = format!(
        "apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {{name: alice, namespace: blue}}
spec:
  identityRef: {{name: main, namespace: platform}}
  username: alice
  email: alice@example.com
  subject: {subject}
"
    );
    let own = PEOPLE.replace(
        "  username: Alice\n",
        &format!("  username: Alice\n  subject: {subject}\n"),
    );
    let own = own.replace("  login:", "  limits: {users: 2}\n  login:");
    let world = World::new(&format!("{foreign}---\n{QUICKSTART}---\n{own}"));
    for name in ["alice", "alice@example.com", "bob"] {
        assert!(person(&world, name).is_ok(), "{name}");
    }
    for name in ["alice", "bob"] {
        assert_eq!(problems(&world, Kind::User, "platform", name), [], "{name}");
    }
    let found = world.directory.user_by_subject(&identity(), subject);
    assert_eq!(&*found.unwrap().user.object.key.namespace, "platform");
}

#[test]
fn without_a_store_no_one_signs_in_and_machines_go_on() {
    let world = world(&[("  storage: {type: SQLite}\n", "")]);
    assert_eq!(person(&world, "alice").unwrap_err(), Barred::Unknown);
    let required = |path: &str| vec![(Reason::StorageRequired, path.to_owned())];
    assert_eq!(
        problems(&world, Kind::User, "platform", "alice"),
        required("")
    );
    assert_eq!(
        problems(&world, Kind::OAuthClient, "blue", "web"),
        required("/spec/grantTypes")
    );
    let web = client(&world, "blue.web");
    assert!(!web.may_use_codes);
    let machine = world.directory.granted_scope(&web.accepted, "orders.read");
    assert!(machine.is_some());
    let standing = world
        .directory
        .client_secret_standing(&ObjectKey::new("blue", "web"), now());
    assert!(matches!(standing, Standing::Wanted(_)));
}

#[test]
fn the_identity_decides_whose_clients_sign_in_people_and_skip_consent() {
    let closed = world(&[(", interactiveClients: {from: All}", "")]);
    assert!(client(&closed, "demo-app").may_use_codes);
    assert!(!client(&closed, "blue.web").may_use_codes);
    assert_eq!(
        problems(&closed, Kind::OAuthClient, "blue", "web"),
        [(Reason::NamespaceNotAllowed, "/spec/grantTypes".to_owned())]
    );

    let skip = [("allowedOrigins:", "consent: Skip\n  allowedOrigins:")];
    let consent = |world: &World| client(world, "blue.web").consent;
    let asked = world(&skip);
    assert_eq!(consent(&asked), ConsentPolicy::Remember);
    assert_eq!(
        problems(&asked, Kind::OAuthClient, "blue", "web"),
        [(Reason::LimitExceeded, "/spec/consent".to_owned())]
    );
    let open = (
        "interactiveClients:",
        "skipConsent: {from: All}, interactiveClients:",
    );
    assert_eq!(consent(&world(&[skip[0], open])), ConsentPolicy::Skip);
}

#[test]
fn a_public_client_has_no_secret() {
    let world = world(&[]);
    let demo = client(&world, "demo-app");
    assert!(demo.is_public && demo.may_use_codes && demo.may_refresh);
    let key = ObjectKey::new("platform", "demo-app");
    assert_eq!(
        world.directory.client_secret_standing(&key, now()),
        Standing::NotWanted
    );
    let secret = ObjectKey::new("platform", "demo-app-client");
    assert_eq!(world.directory.wanting_secret(&secret), []);
    let web = client(&world, "blue.web");
    assert!(!web.is_public && !web.may_refresh);
}

#[rstest]
#[case::by_a_group("alice", "", true)]
#[case::by_name("bob", "", true)]
#[case::neither("bob", "users: [carol]", false)]
#[case::external("alice", "external", false)]
fn a_client_is_open_to_types_groups_and_names(
    #[case] name: &str,
    #[case] edit: &str,
    #[case] may_use: bool,
) {
    let edits: &[(&str, &str)] = match edit {
        "" => &[],
        "external" => &[(
            "  username: Alice\n",
            "  username: Alice\n  type: External\n",
        )],
        users => &[("users: [bob]", users)],
    };
    let world = world(edits);
    let subject = person(&world, name).unwrap().subject;
    let at = world
        .directory
        .person_at(&client(&world, "blue.web"), subject, now());
    assert_eq!(
        at.map(|_| ()),
        if may_use {
            Ok(())
        } else {
            Err(Barred::ClientNotAllowed)
        }
    );
    // A client without `access` is open to all of its types.
    let demo = client(&world, "demo-app");
    let person = person(&world, name).unwrap();
    assert_eq!(person.may_use(&demo), person.kind == UserType::Internal);
}

#[test]
fn a_person_gets_the_scopes_that_the_client_lists_and_the_person_may_have() {
    let groups = "audiences: [https://api.example.com]\n  people: {groups: [buyers]}";
    let world = world(&[(
        "audiences: [https://api.example.com]\n",
        &format!("{groups}\n"),
    )]);
    let held = |name: &str, id: &str| {
        let (client, person) = (client(&world, id), person(&world, name).unwrap());
        let all = "openid profile email groups offline_access orders.read orders.write unknown";
        let held = still_held(all, |value| {
            world.directory.person_scope(&client, &person, value)
        });
        let held = held.iter().map(|scope| scope.value().to_owned());
        held.collect::<Vec<_>>().join(" ")
    };
    let standard = "openid profile email groups offline_access";
    assert_eq!(held("alice", "demo-app"), format!("{standard} orders.read"));
    assert_eq!(held("bob", "demo-app"), standard);
    assert_eq!(
        held("alice", "blue.web"),
        "openid email orders.read orders.write"
    );
    // A client of machines gets nothing for people.
    assert_eq!(held("alice", "blue.shop"), "");
}

#[test]
fn offline_access_needs_the_grant_of_refresh_tokens() {
    let world = world(&[(
        "[openid, email, orders.read",
        "[openid, offline_access, orders.read",
    )]);
    let web = client(&world, "blue.web");
    let scope = |value: &str| world.directory.client_scope(&web, value);
    assert!(scope("openid").is_some_and(|it| it.is(StandardScope::OpenId)));
    assert!(scope("offline_access").is_none());
    assert_eq!(
        problems(&world, Kind::OAuthClient, "blue", "web"),
        [(Reason::ScopeNotGranted, "/spec/scopes/1".to_owned())]
    );
}

#[test]
fn scopes_about_people_are_for_clients_that_sign_them_in() {
    let world = world(&[(
        "scopes: [orders.read, orders.write]\n  systemUser",
        "scopes: [openid, phone]\n  systemUser",
    )]);
    assert_eq!(
        problems(&world, Kind::OAuthClient, "blue", "shop"),
        [
            (Reason::ScopeNotFound, "/spec/scopes/0".to_owned()),
            (Reason::ScopeNotFound, "/spec/scopes/1".to_owned()),
        ]
    );
}

/// A Scope of the administrators releases what it lists. One of a tenant releases only what the Identity lists, too.
#[rstest]
#[case::own("platform", "", json!({"department": "sales", "email": "alice@example.com"}))]
#[case::not_listed("blue", "", json!({}))]
#[case::listed("blue", "limits: {releasableClaims: [department]}", json!({"department": "sales"}))]
fn a_scope_releases_claims_within_the_ceiling(
    #[case] namespace: &str,
    #[case] limits: &str,
    #[case] released: serde_json::Value,
) {
    let scope = format!(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {{name: crm, namespace: {namespace}}}
spec:
  identityRef: {{name: main, namespace: platform}}
  allowedNamespaces: {{from: All}}
  value: blue.crm
  claims: [department, email, missing]
"
    );
    let mut world = world(&[
        (
            "[openid, email, orders.read",
            "[openid, email, blue.crm, orders.read",
        ),
        ("  login:", &format!("  {limits}\n  login:")),
    ]);
    world.apply(&scope);
    let (client, person) = (client(&world, "blue.web"), person(&world, "alice").unwrap());
    let scope = world.directory.person_scope(&client, &person, "blue.crm");
    let shown = person.released_by(&[scope.unwrap()]);
    assert_eq!(serde_json::to_value(&shown).unwrap(), released);
}

#[test]
fn a_preflight_asks_whether_some_client_lists_an_origin() {
    let mut world = world(&[]);
    let is_listed = |world: &World| {
        world
            .directory
            .is_listed_origin(&identity(), "https://web.example.com")
    };
    assert!(is_listed(&world));
    let other = world
        .directory
        .is_listed_origin(&identity(), "https://other.example.com");
    assert!(!other);
    world.delete(Kind::OAuthClient, "blue", "web");
    assert!(!is_listed(&world));
}
