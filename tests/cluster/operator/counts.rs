//! The counts of clients and tokens in the status of an Identity or a Scope: they become correct with few writes.

use std::fmt::Debug;
use std::time::{Duration, Instant};

use kube::Api;
use kube::api::{DeleteParams, ListParams};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use symbolon::resources::{Identity, Kind, OAuthClient, Scope, ServiceAccessToken};

use super::process::{Operator, rights};
use super::world::World;
use crate::harness::{Cluster, Mark, eventually, eventually_within};

const WRITES: [&str; 5] = ["create", "update", "patch", "delete", "deletecollection"];
/// The number of clients and of tokens that the test adds.
const MANY: usize = 200;
/// The shortest time between two counts of the operator.
const COUNT: Duration = Duration::from_secs(10);
/// Long enough for two counts, also on a busy machine.
const TWO_COUNTS: Duration = Duration::from_secs(240);

/// An Identity with limits that are high enough for all clients and tokens.
const ROOMY: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  access: {clients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
  gateways: [{name: api, audience: https://PLATFORM.example.com/id, scopes: [orders.read]}]
  limits: {perNamespace: {clients: 1000, serviceTokens: 1000, mintsPerHour: 10000}}
";

fn many() -> String {
    let one = |number: usize| {
        format!(
            "---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {{name: client-{number}, namespace: TEAM}}
spec:
  identityRef: {{name: main, namespace: PLATFORM}}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {{name: robot-{number}}}
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {{name: token-{number}, namespace: TEAM}}
spec:
  clientRef: {{name: backend}}
  scopes: [orders.read]
"
        )
    };
    (0..MANY).map(one).collect()
}

/// The counts of clients and tokens in the status of the Identity, of orders.read and of orders.write.
async fn status_counts(world: &World<'_>) -> [Value; 3] {
    let numbers = |status: Value| json!([status["clients"], status["tokens"]]);
    let identity = world.platform.api::<Identity>().get("main").await.unwrap();
    let scope = async |name| {
        world
            .platform
            .api::<Scope>()
            .get(name)
            .await
            .unwrap()
            .status
    };
    [
        numbers(json!(identity.status)),
        numbers(json!(scope("orders.read").await)),
        numbers(json!(scope("orders.write").await)),
    ]
}

/// Waits until the status of the Identity and of both scopes has these counts of clients and tokens.
pub(super) async fn wait_for_counts(world: &World<'_>, what: &str, expected: [[usize; 2]; 3]) {
    let expected = expected.map(|numbers| json!(numbers));
    eventually_within(TWO_COUNTS, what, async || {
        (status_counts(world).await == expected).then_some(())
    })
    .await;
}

async fn all_ready(operator: &Operator, count: usize) {
    for kind in ["OAuthClient", "ServiceAccessToken"] {
        let name = format!("symbolon_operator_objects{{kind=\"{kind}\",reason=\"Ready\"}} ");
        eventually_within(TWO_COUNTS, &format!("{name}{count}"), async || {
            #[expect(clippy::cast_precision_loss, reason = "some hundreds")]
            let expected = count as f64;
            (operator.metric(&name).await == Some(expected)).then_some(())
        })
        .await;
    }
}

/// The operator's writes since a mark, except those to its Lease.
async fn writes(cluster: &Cluster, world: &World<'_>, mark: Mark) -> Vec<String> {
    cluster.audited().await;
    let user = format!("system:serviceaccount:{}:operator", world.team.name());
    let ours = cluster
        .requests(mark)
        .into_iter()
        .filter(|it| it.user == user && it.resource != "leases" && WRITES.contains(&&*it.verb));
    ours.map(|it| format!("{} {} {}", it.verb, it.resource, it.name))
        .collect()
}

/// Deletes all objects. The API server ends a request after a minute, and then has deleted some of them.
async fn delete_all<K>(objects: &Api<K>)
where
    K: Clone + DeserializeOwned + Debug,
{
    let (now, every) = (DeleteParams::default(), ListParams::default());
    eventually("all objects are deleted", async || {
        objects.delete_collection(&now, &every).await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_become_correct_with_few_writes_and_a_restart_makes_none() {
    let cluster = Cluster::own();
    let world = World::new(cluster).await;
    world.apply(ROOMY).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    all_ready(&operator, 1).await;
    wait_for_counts(
        &world,
        "one client and one token are counted",
        [[1, 1], [1, 1], [1, 0]],
    )
    .await;

    let (mark, start) = (cluster.mark(), Instant::now());
    world.apply(&many()).await;
    let all = MANY + 1;
    wait_for_counts(
        &world,
        "all clients and tokens are counted",
        [[all, all], [all, all], [1, 0]],
    )
    .await;
    all_ready(&operator, all).await;
    let counts = start.elapsed().as_secs() / COUNT.as_secs();
    let most = 2 + usize::try_from(counts).unwrap();
    let written = writes(cluster, &world, mark).await;
    let of = |line: &str| written.iter().filter(|it| *it == line).count();
    for status in [
        "update scopes/status orders.read",
        "update identities/status main",
    ] {
        let count = of(status);
        assert!(
            (1..=most).contains(&count),
            "{count} times instead of at most {most}: {status}"
        );
    }
    assert_eq!(of("update scopes/status orders.write"), 0);

    drop(operator);
    cluster.audited().await;
    let mark = cluster.mark();
    let operator = Operator::start(&world, account.kubeconfig_path());
    all_ready(&operator, all).await;
    // Long enough for a count and the writes that follow from it.
    tokio::time::sleep(Duration::from_secs(12)).await;
    let written = writes(cluster, &world, mark).await;
    assert!(written.is_empty(), "a restart wrote: {written:#?}");

    drop(operator);
    world.delete(Kind::ServiceAccessToken, "nightly").await;
    world.delete(Kind::OAuthClient, "client-0").await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    let fewer = all - 1;
    let what = "objects deleted while no operator ran are no longer counted";
    wait_for_counts(&world, what, [[fewer, fewer], [fewer, fewer], [1, 0]]).await;

    delete_all(&world.team.api::<ServiceAccessToken>()).await;
    delete_all(&world.team.api::<OAuthClient>()).await;
    wait_for_counts(&world, "no client and no token is counted", [[0, 0]; 3]).await;
    drop(operator);
}
