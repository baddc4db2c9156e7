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

/// The number of passes over objects.
async fn passes(operator: &Operator) -> usize {
    let text = operator.metrics().await;
    let lines = text.lines();
    let counts = lines.filter_map(|it| it.strip_prefix("symbolon_operator_passes_total{"));
    counts
        .map(|it| it.rsplit(' ').next().unwrap().parse::<usize>().unwrap())
        .sum()
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

    cluster.audited().await;
    let (mark, passes) = (cluster.mark(), passes(&operator).await);
    world.apply_token("another", "").await;
    world.token_ready("another").await;
    // Time in which the operator could write more.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.audited().await;
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
        // Counts, which have their own test.
        .filter(|it| !["identities/status", "scopes/status"].contains(&&*it.resource))
        .map(|it| format!("{} {}", it.verb, it.resource))
        .collect();
    let expected = [
        "create secrets",
        "create credentials",
        "update secrets",
        "update serviceaccesstokens/status",
    ];
    assert_eq!(writes, expected);
    // A pass reads three objects, and once more after it has created the Secret. An event about its own write causes
    // another pass if it arrives before the response.
    let gets = ours.iter().filter(|it| it.verb == "get").count();
    let passes = self::passes(&operator).await - passes;
    let most = 3 * (passes + 1);
    assert!(gets <= most, "{gets} reads in {passes} passes: {ours:#?}");
    assert!(passes <= 6, "{passes} passes for one token: {ours:#?}");

    // The next operator would write counts that this one has not written yet.
    counts::wait_for_counts(&world, "two tokens", [[1, 2], [1, 2], [1, 0]]).await;
    drop(operator);
    cluster.audited().await;
    let mark = cluster.mark();
    let operator = Operator::start(&world, account.kubeconfig_path());
    eventually("the next operator has reconciled everything", async || {
        let done = operator
            .metric("symbolon_operator_passes_total{kind=\"ServiceAccessToken\",outcome=\"ok\"}")
            .await?;
        (done >= 2.0).then_some(())
    })
    .await;
    // Time in which the operator could write.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let requests = cluster.requests(mark);
    let ours = requests
        .iter()
        .filter(|it| it.user == user(&world) && it.resource != "leases");
    let writes: Vec<_> = ours.filter(|it| WRITES.contains(&&*it.verb)).collect();
    assert!(writes.is_empty(), "a restart wrote: {writes:#?}");
}
