//! A withdrawal of access takes effect at the next request.

use std::fs;

use serde_json::Value;

use super::support::{eventually, introspect};
use super::{PLATFORM, SHOP, Served};

/// A replacement of text in a file.
struct Edit {
    file: &'static str,
    from: &'static str,
    to: &'static str,
}

const fn edit(file: &'static str, from: &'static str, to: &'static str) -> Edit {
    Edit { file, from, to }
}

/// Edits that each withdraw the access of the quickstart's token. Undoing one restores the access.
const WITHDRAWN: &[(&str, Edit)] = &[
    (
        "the client is disabled",
        edit(SHOP, "  displayName: Shop backend\n", "  disabled: true\n"),
    ),
    (
        "the Identity allows the client no reference tokens",
        edit(
            SHOP,
            "referenceTokens: AdministratorsOnly",
            "referenceTokens: None",
        ),
    ),
    (
        "the client lost the scope",
        edit(
            SHOP,
            "scopes: [orders.read, orders.write]",
            "scopes: [orders.write]",
        ),
    ),
    (
        "the token lost the scope",
        edit(
            SHOP,
            "  scopes: [orders.read]\n  lifetime",
            "  scopes: [orders.write]\n  lifetime",
        ),
    ),
    (
        "the scope is granted to another namespace",
        edit(
            PLATFORM,
            "names: [shop]\n---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata:\n  name: orders.write",
            "names: [other]\n---\napiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata:\n  name: orders.write",
        ),
    ),
    (
        "the scope is disabled",
        edit(
            PLATFORM,
            "  displayName: Read orders\n",
            "  disabled: true\n",
        ),
    ),
    (
        "the Identity does not admit the namespace",
        edit(
            PLATFORM,
            "    clients:\n      from: List\n      names: [shop]\n",
            "    clients:\n      from: List\n      names: [other]\n",
        ),
    ),
];

#[test]
fn withdrawn_access_ends_at_once_and_returns_when_the_edit_is_undone() {
    let served = Served::start();
    let (api, token) = (served.api(), served.token());
    assert_eq!(served.introspect(&token)["sub"], "shop:backend");
    for (what, Edit { file, from, to }) in WITHDRAWN {
        served.folder.replace(file, from, to);
        eventually(&format!("refused: {what}"), || {
            (served.check(&token) != 200).then_some(())
        });
        assert_eq!(
            introspect(&api, &token),
            serde_json::json!({ "active": false }),
            "{what}"
        );
        served.folder.replace(file, to, from);
        eventually(&format!("accepted again after undoing: {what}"), || {
            (served.check(&token) == 200).then_some(())
        });
    }
}

#[test]
fn disabling_a_client_ends_its_tokens_and_refuses_new_ones() {
    let served = Served::start();
    let (api, backend) = (served.api(), served.backend());
    let issued = backend.token();
    assert_eq!(introspect(&api, &issued)["active"], true);
    served
        .folder
        .replace(SHOP, "  displayName: Shop backend\n", "  disabled: true\n");
    eventually("the client is refused", || {
        let (status, body) = backend.ask(&[]);
        (status == 401 && body["error"] == "invalid_client").then_some(())
    });
    assert_eq!(
        introspect(&api, &issued),
        serde_json::json!({ "active": false })
    );
}

#[test]
fn revoked_cannot_be_undone() {
    let served = Served::start();
    let (api, token) = (served.api(), served.token());
    served.folder.replace(
        SHOP,
        "  lifetime: 720h\n",
        "  lifetime: 720h\n  revoked: true\n",
    );
    eventually("the token is refused", || {
        (served.check(&token) == 401).then_some(())
    });
    assert_eq!(
        introspect(&api, &token),
        serde_json::json!({ "active": false })
    );

    // To remove `revoked` is an error: the last good version, with `revoked`, stays in use.
    served.folder.replace(
        SHOP,
        "  lifetime: 720h\n  revoked: true\n",
        "  lifetime: 720h\n",
    );
    served.dev.line_with(&["2-shop.yaml:", "revoked"]);
    assert_eq!(served.check(&token), 401);
}

#[test]
fn a_token_that_its_client_revokes_is_replaced() {
    let served = Served::start();
    let (backend, token) = (served.backend(), served.token());
    assert_eq!(backend.revoke(&token), 200);
    assert_eq!(served.check(&token), 401);
    let new = served.token_after(&token);
    eventually("the new token is accepted", || {
        (served.check(&new) == 200).then_some(())
    });
    assert_eq!(served.check(&token), 401);
}

/// The Credentials in the state folder.
fn credentials(served: &Served) -> Vec<Value> {
    let folder = served.folder.file(".symbolon/credentials/platform");
    let files = fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let texts = files.filter_map(|file| fs::read_to_string(file.path()).ok());
    texts
        .filter_map(|text| serde_yaml::from_str(&text).ok())
        .collect()
}

#[expect(clippy::disallowed_methods, reason = "a test against a real clock")]
fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// "Rotate, then revoke the old one" causes no outage, and after a restart without the status the token stays revoked.
#[test]
fn revoking_the_previous_token_does_not_affect_the_current_one() {
    let served = Served::start();
    let previous = served.token();
    let trigger = "lifetime: 720h\n  rotation: {trigger: '1'}";
    served.folder.replace(SHOP, "lifetime: 720h", trigger);
    let current = served.token_after(&previous);
    eventually("both are accepted", || {
        [&previous, &current]
            .iter()
            .all(|token| served.check(token) == 200)
            .then_some(())
    });
    assert_eq!(served.backend().revoke(&previous), 200);
    assert_eq!(served.check(&previous), 401);
    assert_eq!(served.check(&current), 200);
    // A later report of last use must not undo the revocation.
    assert!(served.is_active(&current));

    let id = previous["symsat_".len()..][..16].to_owned();
    eventually("the revoked token's end is recorded in the spec", || {
        let all = credentials(&served);
        let of_token = |it: &&Value| it["status"]["revoked"] == serde_json::json!([id]);
        let tokens = all.iter().find(of_token)?["spec"]["tokens"].as_array()?;
        let mut ended = tokens.iter().filter(|token| token["tokenId"] == *id);
        let end: jiff::Timestamp = ended.next()?["notAfter"].as_str()?.parse().ok()?;
        (end <= now()).then_some(())
    });
    assert_eq!(served.token(), current, "the Secret is unchanged");

    let Served { folder, dev } = served;
    dev.terminate();
    let state = folder.file(".symbolon/credentials/platform");
    for file in fs::read_dir(state).unwrap() {
        let path = file.unwrap().path();
        let mut credential: Value =
            serde_yaml::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        credential.as_object_mut().unwrap().remove("status");
        fs::write(&path, serde_yaml::to_string(&credential).unwrap()).unwrap();
    }
    let dev = super::Dev::start(&folder);
    let served = Served { folder, dev };
    assert_eq!(served.check(&previous), 401);
    assert_eq!(served.check(&current), 200);
}
