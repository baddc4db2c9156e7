//! Mistakes about people, and what the check says of each. The manifests have kinds and fields that are not announced
//! yet.

use jiff::Timestamp;
use serde_json::Value;

use super::super::manifests::World;
use super::{findings, json};
use crate::directory::testing::{PEOPLE, QUICKSTART};
use crate::directory::{ObjectKey, RuleVerdict};
use crate::directory::{Settings, Verdict};
use crate::source::manifest::Manifest;

/// What is replaced in the manifests of the quickstart with people, and by what.
const MISTAKES: [(&str, &str); 24] = [
    ("storage: {type: SQLite}", "replicas: 1"),
    (
        "[https://web.example.com/callback]",
        "[http://web.example.com/callback]",
    ),
    (
        "[https://web.example.com/callback]",
        "['https://*.example.com/callback']",
    ),
    ("[http://127.0.0.1/callback]", "['myapp:/callback']"),
    ("[https://web.example.com]", "[https://Web.example.com/]"),
    ("type: Public", "type: Public\n  pkce: Optional"),
    (
        "type: Public",
        "type: Public\n  authentication: {secret: {}}",
    ),
    (
        "[AuthorizationCode, RefreshToken]",
        "[AuthorizationCode, RefreshToken, ClientCredentials]",
    ),
    (
        "[AuthorizationCode, RefreshToken]",
        "[authorization_code, refresh_token]",
    ),
    ("[AuthorizationCode, RefreshToken]", "[RefreshToken]"),
    ("offline_access, orders.read]", "orders.read]"),
    ("  redirectUris: [http://127.0.0.1/callback]\n", ""),
    ("users: [bob]", "users: [bbo]"),
    (
        "access: {groups: [buyers], users: [bob]}",
        "access: {groups: []}",
    ),
    (
        "access: {groups: [buyers], users: [bob]}",
        "users: [internal]",
    ),
    (", interactiveClients: {from: All}", ""),
    ("login: {password: Enabled}", "login: {password: enabled}"),
    (
        "login: {password: Enabled}",
        "theme: {colours: {accent: '#abc'}}",
    ),
    ("username: Alice", "username: Alice Adams"),
    ("username: Alice", "username: bob"),
    (
        "email: alice@example.com",
        "email: Alice <alice@example.com>",
    ),
    ("email: bob@example.com", "email: alice@example.com"),
    ("attributes: {department: sales}", "attributes: {email: x}"),
    (
        "attributes: {department: sales}",
        "notAfter: 2026-01-01T00:00:00Z",
    ),
];

fn now() -> Timestamp {
    "2026-06-01T00:00:00Z".parse().unwrap()
}

/// Returns the manifests without the Identity of the quickstart, which that of the people replaces.
fn good() -> String {
    let (_, rest) = QUICKSTART.split_once("---\n").unwrap();
    format!("{PEOPLE}---\n{rest}")
}

fn world(manifest: &str) -> (World, [Manifest; 1]) {
    let judged = [Manifest::read("<stdin>", manifest.as_bytes())];
    (World::new(Settings::default(), &[], &judged, now()), judged)
}

/// Returns the findings, without the notes that follow from them.
fn findings(manifest: &str) -> Vec<String> {
    let (world, judged) = world(manifest);
    let report = json::render(&findings::judge(&world, &[], &judged, now()));
    let problems = report["problems"].as_array().unwrap().iter();
    let counted = problems.filter(|it| it["severity"] != "note");
    let text =
        |problem: &Value, field: &str| problem[field].as_str().unwrap_or_default().to_owned();
    counted
        .map(|it| {
            let help = match text(it, "help") {
                help if help.is_empty() => help,
                help => format!(" / {help}"),
            };
            let (severity, reason) = (text(it, "severity"), text(it, "reason"));
            let (path, message) = (text(it, "path"), text(it, "message"));
            format!("  {severity} {reason} {path}: {message}{help}\n")
        })
        .collect()
}

#[test]
fn a_mistake_about_people_is_told_with_what_to_write() {
    assert_eq!(findings(&good()), [""; 0]);
    let told = MISTAKES.map(|(written, instead)| {
        assert!(good().contains(written), "{written}");
        let found = findings(&good().replacen(written, instead, 1));
        assert!(!found.is_empty(), "{written} -> {instead}");
        format!("{written:?} -> {instead:?}\n{}", found.concat())
    });
    insta::assert_snapshot!(told.concat());
}

#[test]
fn each_rule_about_people_is_explained() {
    let told = |manifest: &str, what: &str, steps: &dyn Fn(&World) -> Vec<RuleVerdict>| {
        let (world, _) = world(manifest);
        let steps = steps(&world).into_iter().map(|step| {
            let mark = if step.verdict == Verdict::Holds {
                "+"
            } else {
                "-"
            };
            format!("  {mark} {}: {}\n", step.rule, step.message)
        });
        format!("{what}\n{}", steps.collect::<String>())
    };
    let client = |namespace: &'static str, name: &'static str| {
        move |world: &World| {
            let key = ObjectKey::new(namespace, name);
            world.directory.explain_client(&key, None)
        }
    };
    let user = |name: &'static str, at: Option<(&'static str, &'static str)>| {
        move |world: &World| {
            let client = at.map(|(namespace, name)| ObjectKey::new(namespace, name));
            let key = ObjectKey::new("platform", name);
            world.directory.explain_user(&key, client.as_ref(), now())
        }
    };
    let (web, demo) = (Some(("blue", "web")), Some(("platform", "demo-app")));
    let good = good();
    let without_store = good.replace("storage: {type: SQLite}", "replicas: 1");
    let disabled = good.replace("username: Alice", "username: Alice\n  disabled: true");
    let late = good.replace(
        "username: Alice",
        "username: Alice\n  notAfter: 2026-01-01T00:00:00Z",
    );
    let external = good.replace("username: Alice", "username: Alice\n  type: External");
    let told = [
        told(&good, "a public client", &client("platform", "demo-app")),
        told(&good, "a client of a team", &client("blue", "web")),
        told(&without_store, "without a store", &client("blue", "web")),
        told(&good, "a User", &user("alice", None)),
        told(&good, "at a client of a team", &user("alice", web)),
        told(&good, "by name", &user("bob", web)),
        told(&good, "at a public client", &user("bob", demo)),
        told(&good, "at a machine", &user("bob", Some(("blue", "shop")))),
        told(&good, "at no client", &user("bob", Some(("blue", "none")))),
        told(
            &without_store,
            "a User without a store",
            &user("alice", web),
        ),
        told(&disabled, "a disabled User", &user("alice", web)),
        told(&late, "a User whose time is over", &user("alice", web)),
        told(&external, "an external User", &user("alice", web)),
        told(&good, "no User", &user("eve", None)),
    ];
    insta::assert_snapshot!(told.concat());
}
