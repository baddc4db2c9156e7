//! The state that dev mode writes, and what survives a restart.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::{collections::BTreeMap, fs};

use serde_json::Value;

use super::support::{Client, Dev, Ports, eventually, introspect};
use super::{GATEWAY, Served, quickstart};

#[test]
fn secrets_are_manifests_with_the_keys_that_a_workload_mounts() {
    let served = Served::start();
    let client = served
        .folder
        .secret("shop", "backend-client", "client-secret");
    let keys: Vec<_> = client.keys().map(String::as_str).collect();
    assert_eq!(keys, ["client-id", "client-secret", "issuer", "token-url"]);
    assert_eq!(client["client-id"], "shop.backend");
    assert_eq!(client["issuer"], served.dev.issuer);
    assert_eq!(client["token-url"], served.dev.url("/connect/token"));
    assert!(client["client-secret"].starts_with("symsec_"));

    let token = served
        .folder
        .secret("shop", "nightly-report-token", "token");
    let keys: Vec<_> = token.keys().map(String::as_str).collect();
    assert_eq!(keys, ["issuer", "token"]);
    assert!(token["token"].starts_with("symsat_"));

    let text =
        fs::read_to_string(served.folder.secret_file("shop", "nightly-report-token")).unwrap();
    let secret: Value = serde_yaml::from_str(&text).unwrap();
    assert_eq!(secret["apiVersion"], "v1");
    assert_eq!(secret["kind"], "Secret");
    assert_eq!(secret["metadata"]["name"], "nightly-report-token");
    assert_eq!(secret["metadata"]["namespace"], "shop");
    assert_eq!(secret["type"], "Opaque");
}

#[test]
fn its_state_is_private_to_the_user_and_ignored_by_git() {
    let served = Served::start();
    served.backend();
    served.api();
    served.token();
    let state = served.folder.file(".symbolon");
    let ignored = fs::read_to_string(state.join(".gitignore")).unwrap();
    assert_eq!(ignored.lines().last(), Some("*"));
    for (path, mode) in modes_below(&state) {
        let expected = if path.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{} has {mode:o}", path.display());
    }
}

#[test]
fn the_status_shows_the_day_of_last_use() {
    let served = Served::start();
    let token = served
        .folder
        .secret("shop", "nightly-report-token", "token");
    let status = served
        .folder
        .file(".symbolon/status/ServiceAccessToken/shop/nightly-report.yaml");
    let last_used = || {
        let known = fs::read_to_string(&status).ok()?;
        let known: Value = serde_yaml::from_str(&known).ok()?;
        known["status"]["lastUsed"].as_str().map(str::to_owned)
    };
    assert_eq!(last_used(), None, "the token has not been used yet");
    assert_eq!(served.dev.check(GATEWAY, &token["token"]), 200);
    let day = eventually("the status shows the day of last use", last_used);
    assert_eq!(day.len(), "2026-01-01".len());
}

#[test]
fn it_creates_nothing_outside_its_state_folder() {
    let served = Served::start();
    served.token();
    let mut names: Vec<_> = fs::read_dir(served.folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(
        names,
        [".symbolon", "1-platform.yaml", "2-shop.yaml", "3-api.yaml"]
    );
}

#[test]
fn a_restart_keeps_secrets_tokens_and_keys() {
    let folder = quickstart();
    let ports = Ports::free();
    let dev = Dev::start_on(&folder, ports);
    let client = folder.secret("shop", "backend-client", "client-secret");
    let token = folder.secret("shop", "nightly-report-token", "token");
    let issued = Client::of(&client).token();
    let kids = kids(&dev);
    assert_eq!(dev.check(GATEWAY, &token["token"]), 200);
    dev.terminate();

    let dev = Dev::start_on(&folder, ports);
    let same = |dev: &Dev| {
        assert_eq!(self::kids(dev), kids);
        assert_eq!(
            folder.secret("shop", "backend-client", "client-secret"),
            client
        );
        assert_eq!(
            folder.secret("shop", "nightly-report-token", "token"),
            token
        );
        assert_eq!(dev.check(GATEWAY, &token["token"]), 200);
        assert_eq!(introspect(&Client::of(&client), &issued)["active"], true);
    };
    same(&dev);
    dev.kill();
    same(&Dev::start_on(&folder, ports));
}

#[test]
fn a_new_address_updates_the_issuer_in_secrets_and_keeps_the_tokens() {
    let folder = quickstart();
    Dev::start(&folder).terminate();
    let before = folder.secret("shop", "backend-client", "client-secret");
    let token = folder.secret("shop", "nightly-report-token", "token");
    let dev = Dev::start(&folder);
    let after = folder.secret("shop", "backend-client", "client-secret");
    assert_eq!(after["issuer"], dev.issuer);
    assert_eq!(after["token-url"], dev.url("/connect/token"));
    assert_eq!(after["client-secret"], before["client-secret"]);
    Client::of(&after).token();
    let moved = folder.secret("shop", "nightly-report-token", "token");
    assert_eq!(moved["issuer"], dev.issuer);
    assert_eq!(moved["token"], token["token"]);
    assert_eq!(dev.check(GATEWAY, &token["token"]), 200);
}

#[test]
fn a_new_mac_key_invalidates_and_reissues_every_secret_and_token() {
    let served = Served::start();
    let (secret, token) = (served.backend().secret, served.token());
    fs::remove_file(served.folder.file(".symbolon/keys/platform/main-mac.yaml")).unwrap();
    let folder = &served.folder;
    let new = served.token_after(&token);
    folder.value_after("shop", "backend-client", "client-secret", &secret);
    eventually("the new token is accepted", || {
        (served.check(&new) == 200).then_some(())
    });
    assert_eq!(served.check(&token), 401);
    eventually("the new secret is accepted", || {
        (served.backend().ask(&[]).0 == 200).then_some(())
    });
}

#[test]
fn a_crash_at_any_moment_of_the_first_start_leaves_nothing_broken() {
    let folder = quickstart();
    let ports = Ports::free();
    for pause in [0, 5, 10, 20, 40, 80, 160, 320] {
        let dev = Dev::spawn(folder.path(), ports);
        std::thread::sleep(std::time::Duration::from_millis(pause));
        dev.kill();
    }
    let dev = Dev::start_on(&folder, ports);
    let client = Client::of(&folder.secret("shop", "backend-client", "client-secret"));
    client.token();
    let token = folder.secret("shop", "nightly-report-token", "token");
    eventually("the token is accepted", || {
        (dev.check(GATEWAY, &token["token"]) == 200).then_some(())
    });
}

pub(super) fn kids(dev: &Dev) -> Vec<String> {
    let (status, body) = dev.get("/.well-known/openid-configuration/jwks", &[]);
    assert_eq!(status, 200);
    let keys: Value = serde_json::from_str(&body).unwrap();
    let keys = keys["keys"].as_array().unwrap();
    assert!(!keys.is_empty());
    keys.iter()
        .map(|key| key["kid"].as_str().unwrap().to_owned())
        .collect()
}

/// The permissions of a path and of everything below it.
fn modes_below(path: &Path) -> BTreeMap<PathBuf, u32> {
    let metadata = fs::symlink_metadata(path).unwrap();
    let mut modes = BTreeMap::from([(path.to_owned(), metadata.permissions().mode() & 0o7777)]);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            modes.extend(modes_below(&entry.unwrap().path()));
        }
    }
    modes
}
