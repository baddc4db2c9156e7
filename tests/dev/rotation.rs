//! Rotation of tokens, client secrets and keys.

use std::fs;

use super::state::kids;
use super::support::{Client, eventually};
use super::{PLATFORM, SHOP, Served};

#[test]
fn a_changed_annotation_issues_a_new_token_and_the_old_one_stays_valid() {
    let served = Served::start();
    let old = served.token();
    let named = "  name: nightly-report\n  namespace: shop\n";
    let annotated = format!("{named}  annotations: {{symbolon.dev/rotate: 'now'}}\n");
    served.folder.replace(SHOP, named, &annotated);
    let new = served.token_after(&old);
    assert_both_are_accepted(&served, &old, &new);
    assert_no_other_token_is_issued(&served, &new);
}

#[test]
fn a_changed_trigger_issues_a_new_token_and_the_old_one_stays_valid() {
    let served = Served::start();
    let old = served.token();
    let trigger = "lifetime: 720h\n  rotation: {trigger: '2026-11'}";
    served.folder.replace(SHOP, "lifetime: 720h", trigger);
    let new = served.token_after(&old);
    assert_both_are_accepted(&served, &old, &new);
    assert_no_other_token_is_issued(&served, &new);
}

/// A change of another field must not request another token.
fn assert_no_other_token_is_issued(served: &Served, token: &str) {
    let described = "The nightly report reads orders";
    served
        .folder
        .replace(SHOP, described, "Reads orders at night");
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(served.token(), token);
}

#[test]
fn a_client_secret_is_rotated_on_request() {
    let served = Served::start();
    let old = served.backend();
    let client = "  name: backend\n  namespace: shop\n";
    served.folder.replace(
        SHOP,
        client,
        &format!("{client}  annotations: {{symbolon.dev/rotate: 'now'}}\n"),
    );
    served
        .folder
        .value_after("shop", "backend-client", "client-secret", &old.secret);
    eventually("both are accepted", || {
        (served.backend().ask(&[]).0 == 200).then_some(())
    });
    assert_eq!(old.ask(&[]).0, 200, "within the overlap");
}

#[test]
fn a_deleted_secret_is_recreated_and_the_lost_token_stays_valid() {
    let served = Served::start();
    let old = served.token();
    fs::remove_file(served.folder.secret_file("shop", "nightly-report-token")).unwrap();
    let new = served.token_after(&old);
    assert_both_are_accepted(&served, &old, &new);
}

#[test]
fn the_tokens_of_a_deleted_credential_end_at_once() {
    let served = Served::start();
    let client = served.backend();
    assert_eq!(client.ask(&[]).0, 200);
    let secret = served.folder.secret_file("shop", "backend-client");
    let state = secret.ancestors().nth(3).unwrap();
    let credentials = state.join("credentials").join("platform");
    // A report of use that was under way may write its file again, as a server's would in a cluster: delete again.
    let refused_after = |client: &Client, delete: &dyn Fn()| {
        eventually("the client secret is refused", || {
            delete();
            let at_once = (0..20).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                client.ask(&[]).0 == 401
            });
            at_once.then_some(())
        });
        eventually("another client secret is accepted", || {
            let client = served.backend();
            (client.ask(&[]).0 == 200).then_some(client)
        })
    };
    let client = refused_after(&client, &|| {
        for file in fs::read_dir(&credentials).into_iter().flatten() {
            let _ = fs::remove_file(file.unwrap().path());
        }
    });
    // Whole folders are deleted or moved away, too, and again after they were recreated.
    let client = refused_after(&client, &|| {
        let _ = fs::remove_dir_all(state.join("credentials"));
    });
    refused_after(&client, &|| {
        let _ = fs::remove_dir_all(state.join("elsewhere"));
        let _ = fs::rename(&credentials, state.join("elsewhere"));
    });
}

#[test]
fn a_deleted_secret_revokes_its_token_where_the_spec_says_so() {
    let served = Served::start();
    let old = served.token();
    served.folder.replace(
        SHOP,
        "lifetime: 720h",
        "lifetime: 720h\n  rotation: {onSecretDeleted: Revoke}",
    );
    // The change has been read once the client of a later file is served.
    served.folder.write(
        "4-later.yaml",
        &super::API.replace("name: api", "name: later"),
    );
    served
        .folder
        .secret("platform", "later-client", "client-secret");
    fs::remove_file(served.folder.secret_file("shop", "nightly-report-token")).unwrap();
    let new = served.token_after(&old);
    eventually("the new token is accepted", || {
        (served.check(&new) == 200).then_some(())
    });
    assert_eq!(served.check(&old), 401);
    assert!(!served.is_active(&old));
}

#[test]
fn a_secret_edited_by_hand_is_repaired() {
    let served = Served::start();
    let old = served.token();
    let file = served.folder.secret_file("shop", "nightly-report-token");
    let text = fs::read_to_string(&file).unwrap();
    let line = text
        .lines()
        .find(|line| line.trim_start().starts_with("token:"))
        .unwrap();
    fs::write(&file, text.replace(line, "  token: bm90IGEgdG9rZW4=")).unwrap();
    let new = eventually("the Secret has a token again", || {
        let data = served.folder.secret_now("shop", "nightly-report-token")?;
        data.get("token")
            .filter(|token| token.starts_with("symsat_"))
            .cloned()
    });
    eventually("the new token is accepted", || {
        (served.check(&new) == 200).then_some(())
    });
    assert_eq!(
        served.check(&old),
        200,
        "pods that still use the old token keep their access"
    );
}

fn assert_both_are_accepted(served: &Served, old: &str, new: &str) {
    eventually("the new token is accepted", || {
        (served.check(new) == 200).then_some(())
    });
    assert_eq!(served.check(old), 200, "within the overlap");
    assert!(served.is_active(old) && served.is_active(new));
}

#[test]
fn signing_keys_rotate_as_in_a_cluster() {
    let served = Served::start();
    let issue = || served.backend().ask(&[]).1["access_token"].clone();
    let old = issue().as_str().unwrap().to_owned();
    assert!(served.is_active(&old));
    let first = kids(&served.dev);

    let added = "  signing: {algorithms: [EdDSA, RS256]}\n  gateways:\n";
    served.folder.replace(PLATFORM, "  gateways:\n", added);
    let both = eventually("a key for the new algorithm is added", || {
        Some(kids(&served.dev)).filter(|kids| kids.len() == 2)
    });
    assert!(both.contains(&first[0]), "the old key stays");
    assert!(served.is_active(&old));

    let named = "kind: Identity\nmetadata:\n";
    let annotated = format!("{named}  annotations: {{symbolon.dev/rotate-keys: 'now'}}\n");
    served.folder.replace(PLATFORM, named, &annotated);
    eventually("all keys are replaced", || {
        let kids = kids(&served.dev);
        kids.iter().all(|kid| !both.contains(kid)).then_some(())
    });
    assert!(
        !served.is_active(&old),
        "the old token was signed with a removed key"
    );
    let new = issue().as_str().unwrap().to_owned();
    assert!(served.is_active(&new));
}
