//! The operator's requests to the API server: no lists while issuing, and no writes after a restart.

use std::time::Duration;

use symbolon::resources::Kind;

use super::counts;
use super::process::{Operator, rights};
use super::world::World;
use crate::harness::{Cluster, eventually};

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];

fn user(world: &World<'_>) -> String {
    format!("system:serviceaccount:{}:operator", world.team.name())
}

#[tokio::test(flavor = "multi_thread")]
async fn issuing_lists_nothing_and_a_restart_writes_nothing() {
    let cluster = Cluster::own();
    let world = World::new(cluster).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;

    // The audit log is written a little after the responses.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mark = cluster.mark();
    world.apply_token("another", "").await;
    world.token_ready("another").await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let requests = cluster.requests(mark);
    let ours: Vec<_> = requests
        .iter()
        .filter(|it| it.user == user(&world) && it.resource != "leases")
        .collect();
    assert!(
        !ours.iter().any(|it| it.verb == "list"),
        "the operator listed objects while issuing: {ours:#?}"
    );
    let writes: Vec<_> = ours
        .iter()
        .filter(|it| WRITES.contains(&&*it.verb) && it.resource != "events")
        .map(|it| format!("{} {}", it.verb, it.resource))
        .collect();
    let expected = [
        "create secrets",
        "create credentials",
        "update secrets",
        "update serviceaccesstokens/status",
    ];
    assert_eq!(writes, expected);
    let gets = ours.iter().filter(|it| it.verb == "get").count();
    assert!(gets <= 9, "{gets} reads for one token: {ours:#?}");

    // The next operator would write counts that this one has not written yet.
    counts::wait_for_counts(&world, "two tokens", [[1, 2], [1, 2], [1, 0]]).await;
    drop(operator);
    let mark = cluster.mark();
    let operator = Operator::start(&world, account.kubeconfig_path());
    eventually("the next operator has reconciled everything", async || {
        let done = operator
            .metric("symbolon_operator_passes_total{kind=\"ServiceAccessToken\",outcome=\"ok\"}")
            .await?;
        (done >= 2.0).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    let requests = cluster.requests(mark);
    let ours = requests
        .iter()
        .filter(|it| it.user == user(&world) && it.resource != "leases");
    let writes: Vec<_> = ours.filter(|it| WRITES.contains(&&*it.verb)).collect();
    assert!(writes.is_empty(), "a restart wrote: {writes:#?}");
}
