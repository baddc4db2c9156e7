//! No secret and no token is anywhere but in its Secret.

use std::fs;
use std::path::{Path, PathBuf};

use super::support::eventually;
use super::{SHOP, Served};

#[test]
fn secrets_and_tokens_are_in_no_output_metric_or_state_but_their_secrets() {
    let served = Served::start();
    let (backend, api, token) = (served.backend(), served.api(), served.token());
    let issued = backend.token();

    // Everything that might say too much: success, refusals, a fault in a file, a rotation, a revocation.
    assert_eq!(served.check(&token), 204);
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

    let metrics = eventually("metrics", || served.dev.get_health("/metrics")).1;
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
        // Nor the part that is secret, without the kind and the public id before it.
        for part in [canary.as_str(), &canary[canary.len() - 40..]] {
            assert!(!output.contains(part), "it is in the output:\n{output}");
            assert!(!metrics.contains(part), "it is in the metrics:\n{metrics}");
            for file in files_below(&state, &state.join("secrets")) {
                let text = String::from_utf8_lossy(&fs::read(&file).unwrap()).into_owned();
                assert!(!text.contains(part), "it is in {}", file.display());
            }
        }
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
