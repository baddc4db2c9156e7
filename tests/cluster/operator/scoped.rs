//! An installation for some namespaces: a namespace that withdraws its rights does not affect the others.

use k8s_openapi::api::rbac::v1::{PolicyRule, Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use serde_json::json;
use symbolon::resources::Kind;

use super::process::{Operator, rights};
use super::serving::{self, Server};
use super::world::World;
use crate::harness::{Cluster, Program, TestNamespace, eventually};

/// Grants rights in a namespace to an account of the platform, as the namespace's administrator does.
async fn grant_rights(
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

async fn withdraw_rights(namespace: &TestNamespace<'_>, name: &str) {
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
async fn a_namespace_that_withdraws_its_rights_does_not_stop_the_others() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let lost = cluster.namespace("lost").await;
    let roles = [("operator", rights()), ("server", serving::rights())];
    let account = world.platform.account("operator", rights()).await;
    let server_account = world.platform.account("server", serving::rights()).await;
    for (name, rules) in roles.clone() {
        grant_rights(&world, &world.team, name, rules).await;
    }

    // At the start neither has rights in the third namespace.
    let platform = world.platform.name().to_owned();
    let all = [world.namespaces().join(","), lost.name().to_owned()].join(",");
    let more = ["--identity-namespace", &platform];
    let operator = Operator::start_in(&world, &all, account.kubeconfig_path(), &more);
    world.token_ready("nightly").await;
    let more = ["--namespace", lost.name()];
    let server = Server::start(&world, server_account.kubeconfig_path(), &more).await;
    let token = world.text("nightly-token").await.unwrap();
    assert!(server.accepts(&token).await);
    refused(
        "the third namespace is counted as refused",
        1.0,
        &server,
        &operator,
    )
    .await;
    assert!(operator.is_ready().await);

    for (name, rules) in roles {
        grant_rights(&world, &lost, name, rules).await;
    }
    refused(
        "the namespace is no longer refused",
        0.0,
        &server,
        &operator,
    )
    .await;

    // Kubernetes checks the rights only when a watch starts, so restart the API server.
    for name in ["operator", "server"] {
        withdraw_rights(&lost, name).await;
    }
    cluster.kill(Program::Apiserver);
    cluster.start(Program::Apiserver);
    refused("the namespace is refused again", 1.0, &server, &operator).await;
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    let later = world.text("later-token").await.unwrap();
    server
        .soon("a token issued afterwards is accepted", &later, true)
        .await;
    assert!(server.accepts(&token).await);
    world.delete(Kind::ServiceAccessToken, "nightly").await;
    server
        .soon("a token deleted afterwards is refused", &token, false)
        .await;
}
