//! An embedded Identity: every pod of the operator serves it, not only the leader.

use std::time::Duration;

use reqwest::StatusCode;

use super::process::Operator;
use super::world::World;
use crate::harness::{Cluster, Program, eventually};
use crate::quickstart::free_port;

struct Serving {
    operator: Operator,
    address: String,
}

impl Serving {
    fn start(world: &World<'_>, kubeconfig: &std::path::Path) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let identity = world.identity().to_string();
        let more = [
            "--embedded-identity",
            &identity,
            "--identity-namespace",
            world.platform.name(),
            "--listen",
            &address,
        ];
        Self {
            operator: Operator::start_with(world, kubeconfig, &more),
            address,
        }
    }

    async fn accepts(&self, token: &str) -> bool {
        let url = format!("http://{}/id/connect/checktoken/api", self.address);
        let answer = reqwest::Client::new()
            .get(url)
            .bearer_auth(token)
            .send()
            .await;
        answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
    }

    async fn soon(&self, what: &str, token: &str) {
        eventually(what, async || self.accepts(token).await.then_some(())).await;
    }
}

async fn embed(world: &World<'_>) {
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  mode: Embedded
  access: {clients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
  gateways: [{name: api, audience: https://PLATFORM.example.com/id, scopes: [orders.read]}]
",
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leader_and_standby_serve_an_embedded_identity() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    embed(&world).await;
    let first = Serving::start(&world, cluster.kubeconfig_path());
    eventually("the first operator leads", async || {
        first.operator.leads().await.then_some(())
    })
    .await;
    // A ready Identity must be served.
    world.identity_is("main", "Ready").await;
    let document = format!(
        "http://{}/id/.well-known/openid-configuration",
        first.address
    );
    let answer = reqwest::get(document).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    let second = Serving::start(&world, cluster.kubeconfig_path());
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    first.soon("the leader accepts the token", &token).await;
    second
        .soon("the standby accepts the token too", &token)
        .await;
    assert!(!second.operator.leads().await);
    assert!(first.operator.is_ready().await && second.operator.is_ready().await);
    drop(first);
    assert!(
        second.accepts(&token).await,
        "a standby serves without a leader"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_identity_is_served_while_the_api_server_is_down() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    embed(&world).await;
    let serving = Serving::start(&world, cluster.kubeconfig_path());
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    serving.soon("the token is accepted", &token).await;
    cluster.stop(Program::Apiserver);
    eventually("the Lease is lost", async || {
        assert!(
            serving.accepts(&token).await,
            "it keeps serving during the outage"
        );
        (!serving.operator.leads().await).then_some(())
    })
    .await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(serving.accepts(&token).await);
    assert!(serving.operator.is_ready().await);
    cluster.start(Program::Apiserver);
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    let later = world.text("later-token").await.unwrap();
    serving
        .soon("a token issued after the outage is accepted", &later)
        .await;
}
