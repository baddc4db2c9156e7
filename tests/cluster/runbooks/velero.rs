//! Runs docs/runbooks/restore-velero.md, and what else may happen during a restore.

use std::process::Command;

use serde_json::Value;

use super::{PROGRAM, Runbook};
use crate::harness::{Cluster, eventually};

/// A Deployment in place of an installation. No pod runs here: the test runs the operator itself.
const DEPLOYMENT: &str = "
kubectl create namespace symbolon-system
kubectl create deployment -n symbolon-system symbolon --image=symbolon --replicas=2
";

/// Deletes both namespaces with everything in them.
const DISASTER: &str = "kubectl delete namespace platform shop --wait";

fn rebind(cluster: &Cluster, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(PROGRAM);
    command
        .args(["restore", "rebind", "--identity", "platform/main"])
        .args(more)
        .env("KUBECONFIG", cluster.kubeconfig_path());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_stay_valid_after_a_restore_with_velero() {
    let cluster = Cluster::private();
    let mut runbook = Runbook::open(&cluster, "runbooks/restore-velero").await;
    runbook.shell(DEPLOYMENT);
    let operator = runbook.operator();
    let before = runbook.held().await;
    let server = runbook.server().await;
    server.soon_accepts(&before).await;
    // The token is deleted and recreated before the backup while no operator runs to clean up. So the backup has two
    // Credentials, and only the second may be rebound.
    operator.end();
    let deleted = before.token.clone();
    runbook.shell("kubectl delete -n shop serviceaccesstoken nightly-report && kubectl apply -f examples/quickstart/2-shop.yaml");
    let operator = runbook.operator();
    let before = eventually("the Secret has another token", async || {
        let held = runbook.held().await;
        (held.token != deleted).then_some(held)
    })
    .await;
    server.soon_accepts(&before).await;
    // The backup.
    runbook.next();
    let (done, words) = rebind(&cluster, &[]);
    assert!(!done && words.contains("an operator is running"), "{words}");
    // Stop the operator.
    runbook.next();
    let replicas = runbook
        .shell("kubectl get -n symbolon-system deployment/symbolon -o jsonpath={.spec.replicas}");
    assert_eq!(replicas, "0");
    operator.end();
    runbook.shell(DISASTER);
    server.soon_refuses(&before).await;
    // The restore.
    runbook.next();
    assert_eq!(runbook.held().await, before);
    assert!(
        !server.accepts(&before).await,
        "restored objects are refused until they are rebound"
    );
    // The dry run of the rebinding.
    let (done, planned) = rebind(&cluster, &["--dry-run", "-o", "json"]);
    assert!(done, "{planned}");
    let planned: Value = serde_json::from_str(&planned).unwrap();
    assert_eq!(planned["summary"]["rebind"], 2, "{planned:#}");
    assert_eq!(
        planned["summary"]["dead"], 1,
        "the Credential of the deleted token: {planned:#}"
    );
    let words = runbook.next();
    assert!(words.contains("dry run: nothing was written"), "{words}");
    assert!(!server.accepts(&before).await);
    // The rebinding.
    let words = runbook.next();
    assert!(words.contains("2 rebound"), "{words}");
    server.soon_accepts(&before).await;
    assert!(!server.token_is_accepted(&deleted).await);
    let (done, words) = rebind(&cluster, &[]);
    assert!(
        done && words.contains("0 rebound") && words.contains("2 need no change"),
        "{words}"
    );
    // Start the operator again.
    let operator = runbook.operator();
    runbook.next();
    let adopted = "kubectl get -n shop secret nightly-report-token -o jsonpath={.metadata.ownerReferences[0].uid}";
    let uid = "kubectl get -n shop serviceaccesstoken nightly-report -o jsonpath={.metadata.uid}";
    eventually("the Secret has its owner again", async || {
        (runbook.shell(adopted) == runbook.shell(uid)).then_some(())
    })
    .await;
    assert_eq!(runbook.held().await, before, "no token has changed");
    assert!(server.accepts(&before).await);
    let epoch = "kubectl get -n shop serviceaccesstoken nightly-report -o jsonpath={.status.epoch}";
    assert_eq!(runbook.shell(epoch), "1");
    // The next rotation continues from there.
    runbook
        .shell("kubectl annotate -n shop serviceaccesstoken/nightly-report symbolon.dev/rotate=1");
    let after = eventually("the Secret has another token", async || {
        let held = runbook.held().await;
        (held.token != before.token).then_some(held)
    })
    .await;
    server.soon_accepts(&after).await;
    assert!(
        server.accepts(&before).await,
        "the previous token is valid during its overlap"
    );
    operator.end();
    runbook.end();
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_issued_during_the_restore_stay_valid() {
    let cluster = Cluster::private();
    let runbook = Runbook::open(&cluster, "runbooks/restore-velero").await;
    let operator = runbook.operator();
    let before = runbook.held().await;
    runbook.shell("velero backup create identity --include-namespaces platform,shop --wait");
    runbook.shell(DISASTER);
    runbook.shell("velero restore create --from-backup identity --wait");
    let after = eventually("the operator issues new tokens and secrets", async || {
        let held = runbook.held().await;
        (held.token != before.token && held.secret != before.secret).then_some(held)
    })
    .await;
    operator.end();
    let (done, words) = rebind(&cluster, &["--force"]);
    assert!(done && words.contains("0 rebound"), "{words}");
    let server = runbook.server().await;
    server.soon_accepts(&after).await;
    assert!(!server.accepts(&before).await);
}
