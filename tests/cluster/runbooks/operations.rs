//! Runs the commands of docs/operations and of docs/conditions.md.

use super::Runbook;
use crate::harness::{Cluster, eventually};

const SIGNING_KEYS: &str = "kubectl get -n platform secret main-signing -o jsonpath='{.data}'";

#[tokio::test(flavor = "multi_thread")]
async fn the_commands_of_the_operations_pages_work() {
    let cluster = Cluster::private();
    let mut page = Runbook::open(&cluster, "conditions").await;
    // The platform's manifests, in a separate folder from the team's.
    page.shell("mkdir platform && cp examples/quickstart/1-platform.yaml platform/");
    let _operator = page.operator();
    let first = page.held().await;
    let server = page.server().await;
    server.soon_accepts(&first).await;
    let ready = page.next();
    assert!(ready.contains("condition met"), "{ready}");

    page.turn_to("operations/troubleshoot");
    let described = page.next();
    assert!(described.contains("Conditions:"), "{described}");
    let explained = page.next();
    assert!(explained.contains("nightly-report"), "{explained}");

    page.turn_to("operations/rotate-tokens");
    page.next();
    let second = page.held().await;
    assert_ne!(second.token, first.token, "the Secret has another token");
    server.soon_accepts(&second).await;
    assert!(
        server.token_is_accepted(&first.token).await,
        "the previous token is valid during the overlap"
    );
    let credential = page.next();
    assert!(credential.contains("kind: Credential"), "{credential}");
    page.next();

    page.turn_to("operations/rotate-signing-keys");
    let keys = page.shell(SIGNING_KEYS);
    page.next();
    eventually("the signing keys have changed", async || {
        (page.shell(SIGNING_KEYS) != keys).then_some(())
    })
    .await;

    page.turn_to("operations/revoke");
    page.next();
    eventually("both tokens are refused", async || {
        let first = server.token_is_accepted(&first.token).await;
        let second = server.token_is_accepted(&second.token).await;
        (!first && !second).then_some(())
    })
    .await;
    page.end();
}
