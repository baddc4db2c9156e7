//! The metrics of a running operator.

use std::collections::BTreeSet;

use symbolon::reconcile::report::metrics::OperatorMetrics;
use symbolon::resources::Kind;

use super::fleet::Kubelet;
use super::process::{Operator, fleet_rights, rights};
use super::world::World;
use crate::harness::{Cluster, eventually, rule};

#[tokio::test(flavor = "multi_thread")]
async fn a_running_operator_exports_exactly_the_described_metrics() {
    let world = World::new(Cluster::shared()).await;
    // The operator binds a role that is not installed here, so it needs `bind`.
    let bind = rule(
        &["bind"],
        "rbac.authorization.k8s.io",
        &["clusterroles", "roles"],
    );
    let all = rights().into_iter().chain(fleet_rights()).chain([bind]);
    let account = world.team.cluster_account("operator", all.collect()).await;
    let image = [
        "--image",
        "registry.example.com/symbolon:1.0",
        "--identity-namespace",
        world.platform.name(),
    ];
    let operator = Operator::start_with(&world, account.kubeconfig_path(), &image);
    world.token_ready("nightly").await;
    let lonely = "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\n\
                  metadata: {name: lonely, namespace: TEAM}\n\
                  spec: {clientRef: {name: nobody}, scopes: [orders.read]}\n";
    world.apply(lonely).await;
    world
        .ready(
            Kind::ServiceAccessToken,
            "lonely",
            "False",
            "ClientNotFound",
        )
        .await;
    let counted = [
        (r#"objects{kind="ServiceAccessToken",reason="Ready"}"#, 1.0),
        (
            r#"objects{kind="ServiceAccessToken",reason="ClientNotFound"}"#,
            1.0,
        ),
        (r#"objects{kind="Scope",reason="Ready"}"#, 2.0),
        (r#"objects{kind="Scope",reason="Unseen"}"#, 0.0),
        (r#"events_total{reason="Issued"}"#, 2.0),
        ("leading", 1.0),
        ("queue_oldest_seconds", 0.0),
    ];
    for (name, expected) in counted {
        let name = format!("symbolon_operator_{name} ");
        eventually(&format!("{name}{expected}"), async || {
            let value = operator.metric(&name).await;
            (value == Some(expected)).then_some(())
        })
        .await;
    }

    let of_pods = |which| {
        let identity = world.identity();
        format!("symbolon_operator_identity_{which}_pods{{identity=\"{identity}\"}} ")
    };
    eventually("two pods are wanted and none is ready", async || {
        let ready = operator.metric(&of_pods("ready")).await;
        let wanted = operator.metric(&of_pods("wanted")).await;
        (ready == Some(0.0) && wanted == Some(2.0)).then_some(())
    })
    .await;
    let _kubelet = Kubelet::start(&world);
    eventually("both pods are ready", async || {
        (operator.metric(&of_pods("ready")).await == Some(2.0)).then_some(())
    })
    .await;

    let text = operator.metrics().await;
    let exported = names::families(&text);
    let metrics = OperatorMetrics::default();
    for metric in metrics.described() {
        let labels = exported.get(&metric.name);
        let labels = labels.unwrap_or_else(|| panic!("{} is not exported:\n{text}", metric.name));
        let described: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let labels: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(labels, described, "{}", metric.name);
    }
    assert_eq!(exported.len(), metrics.described().len(), "{text}");
    let puts = r#"kube_requests_total{method="PUT",outcome="ok"}"#;
    let puts = operator.metric(&format!("symbolon_operator_{puts} ")).await;
    assert!(puts > Some(0.0), "requests to the API server are counted");

    world.delete(Kind::ServiceAccessToken, "lonely").await;
    eventually("a deleted object is no longer counted", async || {
        let text = operator.metrics().await;
        (!text.contains("ClientNotFound")).then_some(())
    })
    .await;
}

#[path = "../../telemetry/names.rs"]
#[allow(dead_code, reason = "the tests of alerts use the rest")]
mod names;
