//! Runs docs/runbooks/identity-pruned.md.

use super::Runbook;
use crate::harness::{Cluster, eventually};

const READY: &str = "kubectl get -n shop oauthclient backend -o jsonpath='{.status.conditions[?(@.type==\"Ready\")].reason}'";
const KEYS: &str =
    "kubectl get -n platform secret main-signing main-mac -o jsonpath='{.items[*].data}'";

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_identity_accepts_its_old_tokens() {
    let cluster = Cluster::private();
    let mut runbook = Runbook::open(&cluster, "runbooks/identity-pruned").await;
    let _operator = runbook.operator();
    let before = runbook.held().await;
    let server = runbook.server().await;
    server.soon_accepts(&before).await;
    let keys = runbook.shell(KEYS);

    runbook.shell("kubectl delete -n platform identity main");
    eventually("the client reports IdentityNotFound", async || {
        (runbook.shell(READY) == "IdentityNotFound").then_some(())
    })
    .await;
    server.soon_refuses(&before).await;
    let words = runbook.next();
    assert!(
        words.contains("main-mac") && words.contains("OAuthClient"),
        "{words}"
    );
    runbook.next();
    runbook.next();
    server.soon_accepts(&before).await;
    assert_eq!(runbook.held().await, before, "no token has changed");
    assert_eq!(runbook.shell(KEYS), keys, "no key has changed");
    runbook.end();
}
