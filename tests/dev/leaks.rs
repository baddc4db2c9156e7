//! A secret or token appears only in its Secret: in no output, metric or other state.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{Canaries, Client, Dev, eventually, send_everywhere};
use super::{PLATFORM, SHOP, Served, quickstart};

#[test]
fn secrets_and_tokens_appear_only_in_their_secrets() {
    let served = Served::start();
    let (backend, api, token) = (served.backend(), served.api(), served.token());
    let issued = backend.token();

    // Every action that could leak one: success, refusals, an error in a file, a rotation, a revocation.
    assert_eq!(served.check(&token), 200);
    served.check(&format!("{token}x"));
    served.introspect(&token);
    served.introspect(&issued);
    served.dev.get(
        "/connect/checktoken/api",
        &[
            ("x-api-key", &token),
            ("authorization", &format!("Bearer {token}")),
        ],
    );
    served.dev.get(
        &format!("/connect/checktoken/api?access_token={token}"),
        &[],
    );
    let mut stranger = backend.clone();
    stranger.id = "shop.nobody".to_owned();
    assert_eq!(stranger.ask(&[]).0, 401);
    let good = served.folder.read(SHOP);
    served
        .folder
        .write(SHOP, &format!("{good}  unknown: {token}\n"));
    served.dev.line_with(&["2-shop.yaml:"]);
    served.folder.write(
        SHOP,
        &good.replace(
            "lifetime: 720h",
            "lifetime: 720h\n  rotation: {trigger: again}",
        ),
    );
    let second = served.token_after(&token);
    assert_eq!(backend.revoke(&second), 200);
    let third = served.token_after(&second);

    let metrics = eventually("the metrics are served", || {
        served.dev.get_health("/metrics")
    })
    .1;
    let state = served.folder.file(".symbolon");
    let (status, output) = served.dev.terminate();
    assert!(status.success());
    for canary in [
        &backend.secret,
        &api.secret,
        &token,
        &second,
        &third,
        &issued,
    ] {
        // The whole text, and its secret part without the kind and the token id.
        for part in [canary.as_str(), &canary[canary.len() - 40..]] {
            assert!(
                !output.contains(part),
                "a secret is in the output:\n{output}"
            );
            assert!(
                !metrics.contains(part),
                "a secret is in the metrics:\n{metrics}"
            );
            for file in files_below(&state, &state.join("secrets")) {
                let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
                assert!(!text.contains(part), "a secret is in {}", file.display());
            }
        }
    }
}

/// An imported secret that looks like an id.
const IMPORTED: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f0a05e";
/// A secret that belongs to no client here.
const FOREIGN: &str = "hunter2-Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";

#[test]
fn no_secret_is_logged_wherever_in_a_request_a_caller_puts_it() {
    for form in ["text", "json"] {
        let folder = quickstart();
        folder.replace(
            PLATFORM,
            "  access:\n",
            "  network: {trustedProxies: [127.0.0.0/8]}\n  access:\n",
        );
        let system_user = "  systemUser: {name: backend}\n";
        let reference = "  authentication: {secret: {existingRef: {name: vault, key: password}}}\n";
        folder.replace(SHOP, system_user, &format!("{system_user}{reference}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.arg("dev").arg(folder.path());
        command.args(["--log", "trace", "--log-format", form]);
        let dev = Dev::start_command(command);
        let vault = folder.secret_file("shop", "vault");
        fs::create_dir_all(vault.parent().unwrap()).unwrap();
        fs::write(&vault, format!(
            "apiVersion: v1\nkind: Secret\nmetadata:\n  labels: {{symbolon.dev/client: backend}}\nstringData:\n  password: {IMPORTED}\n"
        ))
        .unwrap();
        let client = Client {
            id: "shop.backend".to_owned(),
            secret: IMPORTED.to_owned(),
            issuer: dev.issuer.clone(),
            token_url: dev.url("/connect/token"),
        };
        let issued = eventually("the imported secret is accepted", || {
            let (status, body) = client.ask(&[]);
            (status == 200).then(|| body["access_token"].as_str().unwrap().to_owned())
        });
        let token = folder.secret("shop", "nightly-report-token", "token")["token"].clone();
        let secrets = [IMPORTED, FOREIGN, &token, &issued];
        let count = send_everywhere(&dev, &client, &secrets);
        assert!(count > 3000, "{count}");
        let metrics = eventually("the metrics are served", || dev.get_health("/metrics")).1;
        let (status, output) = dev.terminate();
        assert!(status.success());
        assert!(
            metrics.contains("symbolon_audit_suppressed_total 0"),
            "some audit lines were suppressed, so the test would miss them:\n{metrics}"
        );
        for field in ["unverified_client_id_hash", "request_id_hash"] {
            assert!(output.contains(field), "{field} as {form}");
        }
        let canaries = Canaries::of(&secrets);
        assert_eq!(canaries.line_of(&output), None, "in the output as {form}");
        assert_eq!(canaries.line_of(&metrics), None, "in the metrics");
    }
}

fn files_below(path: &Path, but: &Path) -> Vec<PathBuf> {
    if path == but {
        return Vec::new();
    }
    if !path.is_dir() {
        return vec![path.to_owned()];
    }
    let entries = fs::read_dir(path).unwrap();
    entries
        .flat_map(|entry| files_below(&entry.unwrap().path(), but))
        .collect()
}
