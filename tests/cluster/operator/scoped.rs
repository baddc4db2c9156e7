//! An installation for some namespaces, one of which takes its rights away: the others go on.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use symbolon::resources::Kind;

use super::process::{Operator, rights};
use super::serving::{self, Server};
use super::world::World;
use crate::harness::{Cluster, Program, TestNamespace, eventually};

/// Lets an account of the platform do this in a namespace, as its administrator would.
async fn let_in(
    world: &World<'_>,
    namespace: &TestNamespace<'_>,
    name: &str,
    rules: Vec<PolicyRule>,
) {
    let role = json!({"metadata": {"name": name}, "rules": rules});
    let role: Role = serde_json::from_value(role).unwrap();
    let roles = namespace.api::<Role>();
    if roles.get_opt(name).await.unwrap().is_none() {
        roles.create(&PostParams::default(), &role).await.unwrap();
    }
    let binding = json!({
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": world.platform.name()}],
    });
    let binding: RoleBinding = serde_json::from_value(binding).unwrap();
    let bindings = namespace.api::<RoleBinding>();
    bindings
        .create(&PostParams::default(), &binding)
        .await
        .unwrap();
}

async fn shut_out(namespace: &TestNamespace<'_>, name: &str) {
    let bindings = namespace.api::<RoleBinding>();
    bindings
        .delete(name, &DeleteParams::default())
        .await
        .unwrap();
}

async fn refused(what: &str, count: f64, server: &Server, operator: &Operator) {
    eventually(what, async || {
        let operator = operator.metric("symbolon_operator_refused_namespaces");
        let server = server.metric("symbolon_refused_namespaces");
        (server.await == Some(count) && operator.await == Some(count)).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_that_takes_its_rights_away_stops_nobody_else() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let lost = cluster.namespace("lost").await;
    let roles = [("operator", rights()), ("server", serving::rights())];
    let account = world.platform.account("operator", rights()).await;
    let server_account = world.platform.account("server", serving::rights()).await;
    for (name, rules) in roles.clone() {
        let_in(&world, &world.team, name, rules).await;
    }

    // At the start nobody may see the third.
    let platform = world.platform.name().to_owned();
    let all = [world.namespaces().join(","), lost.name().to_owned()].join(",");
    let more = ["--identity-namespace", &platform];
    let operator = Operator::start_in(&world, &all, account.kubeconfig_path(), &more);
    world.token_ready("nightly").await;
    let more = ["--namespace", lost.name()];
    let server = Server::start(&world, server_account.kubeconfig_path(), &more).await;
    let token = world.text("nightly-token").await.unwrap();
    assert!(server.accepts(&token).await);
    refused("the third is told of", 1.0, &server, &operator).await;
    assert!(operator.is_ready().await);

    for (name, rules) in roles {
        let_in(&world, &lost, name, rules).await;
    }
    refused("it comes back by itself", 0.0, &server, &operator).await;

    // A watch that stands is not asked for its rights again: only the next one is.
    for name in ["operator", "server"] {
        shut_out(&lost, name).await;
    }
    cluster.kill(Program::Apiserver);
    cluster.start(Program::Apiserver);
    refused("it is gone again", 1.0, &server, &operator).await;
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    let later = world.text("later-token").await.unwrap();
    server
        .soon("what is issued now is served", &later, true)
        .await;
    assert!(server.accepts(&token).await);
    world.delete(Kind::ServiceAccessToken, "nightly").await;
    server.soon("what is withdrawn is not", &token, false).await;
}
