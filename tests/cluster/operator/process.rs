//! The operator as a process: its rights, leader election, and outages of the API server.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    time::Duration,
};

use k8s_openapi::api::{coordination::v1::Lease, rbac::v1::PolicyRule};
use symbolon::resources::Kind;

use super::world::World;
use crate::harness::{Cluster, PATIENCE, Program, eventually, rule};

/// How many lines of a process's log a failed test shows.
const LAST_LINES: usize = 60;

/// The least rights of the operator.
pub(super) fn rights() -> Vec<PolicyRule> {
    vec![
        rule(
            &["get", "list", "watch"],
            "symbolon.dev",
            &[
                "identities",
                "scopes",
                "oauthclients",
                "serviceaccesstokens",
                "users",
            ],
        ),
        rule(
            &["update"],
            "symbolon.dev",
            &[
                "identities/status",
                "scopes/status",
                "oauthclients/status",
                "serviceaccesstokens/status",
                "users/status",
            ],
        ),
        rule(
            &["get", "list", "watch", "create", "update", "delete"],
            "symbolon.dev",
            &["credentials"],
        ),
        rule(
            &["get", "list", "watch", "create", "update", "delete"],
            "",
            &["secrets"],
        ),
        rule(&["list", "watch"], "", &["namespaces"]),
        rule(
            &["get", "create", "update"],
            "coordination.k8s.io",
            &["leases"],
        ),
        rule(&["create", "patch"], "events.k8s.io", &["events"]),
    ]
}

/// The additional rights of an operator that runs Identities' pods.
pub(super) fn fleet_rights() -> Vec<PolicyRule> {
    let all = ["get", "list", "watch", "create", "patch", "delete"];
    vec![
        rule(&all, "apps", &["deployments", "statefulsets"]),
        rule(&["get", "patch"], "", &["persistentvolumeclaims"]),
        rule(&all, "", &["services", "serviceaccounts"]),
        rule(
            &all,
            "rbac.authorization.k8s.io",
            &["roles", "rolebindings"],
        ),
        rule(&all, "policy", &["poddisruptionbudgets"]),
        rule(&all, "autoscaling", &["horizontalpodautoscalers"]),
        rule(&all, "networking.k8s.io", &["networkpolicies", "ingresses"]),
        rule(&["list"], "", &["pods"]),
        // The rights that it grants to servers: Kubernetes lets no one grant more than they have.
        rule(&["get", "patch"], "symbolon.dev", &["credentials/status"]),
        rule(&["get"], "", &["namespaces"]),
    ]
}

/// A running `symbolon`. Dropping it kills it.
pub(crate) struct Process {
    child: Child,
    /// The log line with the addresses that it listens on.
    told: serde_json::Value,
    /// The log lines after that one.
    lines: mpsc::Receiver<String>,
}

impl Process {
    /// Starts one and waits until it logs where it listens.
    pub(crate) fn start(arguments: &[&str], kubeconfig: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .args(arguments)
            .args(["--log", "info,symbolon=debug", "--log-format", "json"])
            .env("KUBECONFIG", kubeconfig)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let (sender, receiver) = mpsc::channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // Read until the end, because a full pipe would block the process.
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if std::env::var_os("SYMBOLON_TEST_LOG").is_some() {
                    eprintln!("{line}");
                }
                drop(sender.send(line));
            }
        });
        let told = loop {
            let line = receiver
                .recv_timeout(PATIENCE)
                .expect("the process logs where it listens");
            let told: serde_json::Value = serde_json::from_str(&line).unwrap_or_default();
            if told["listen"].is_string() {
                break told;
            }
        };
        Self {
            child,
            told,
            lines: receiver,
        }
    }

    /// The URL of the address `listen` or `health`.
    pub(crate) fn address(&self, which: &str) -> String {
        format!("http://{}", self.told[which].as_str().unwrap())
    }
}

impl Process {
    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status();
        assert!(sent.unwrap().success());
    }

    /// The log lines since the last call.
    pub(super) fn lines(&self) -> Vec<String> {
        self.lines.try_iter().collect()
    }
}

impl Process {
    /// Waits until it ends by itself.
    pub(crate) fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    /// Sends it SIGTERM, as Kubernetes does, and waits until it ends.
    pub(crate) fn end(mut self) {
        self.signal("-TERM");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let lines: Vec<_> = self.lines.iter().collect();
            let last = &lines[lines.len().saturating_sub(LAST_LINES)..];
            eprintln!("the last lines of its log:\n{}", last.join("\n"));
        }
    }
}

/// A running `symbolon operator`.
pub(super) struct Operator(Process);

impl Operator {
    /// Starts an operator for the world's namespaces, with a Lease in the team's.
    pub(super) fn start(world: &World<'_>, kubeconfig: &Path) -> Self {
        Self::start_with(world, kubeconfig, &[])
    }

    /// Like [`Self::start`], with more arguments.
    pub(super) fn start_with(world: &World<'_>, kubeconfig: &Path, more: &[&str]) -> Self {
        Self::start_in(world, &world.namespaces().join(","), kubeconfig, more)
    }

    /// Starts an operator for other namespaces, with a Lease in the team's.
    pub(super) fn start_in(
        world: &World<'_>,
        namespaces: &str,
        kubeconfig: &Path,
        more: &[&str],
    ) -> Self {
        let lease = format!("{}/operator", world.team.name());
        let mut arguments = vec![
            "operator",
            "--health-listen",
            "127.0.0.1:0",
            "--namespace",
            namespaces,
            "--lease",
            &lease,
        ];
        if !more.contains(&"--request-timeout") {
            arguments.extend(["--request-timeout", "2"]);
        }
        arguments.extend(more);
        Self(Process::start(&arguments, kubeconfig))
    }

    /// Its metrics; empty without a response.
    pub(super) async fn metrics(&self) -> String {
        let address = format!("{}/metrics", self.0.address("listen"));
        match reqwest::get(address).await {
            Ok(answer) => answer.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    pub(super) async fn metric(&self, name: &str) -> Option<f64> {
        let text = self.metrics().await;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse().ok()
    }

    /// Whether its readiness probe succeeds.
    pub(super) async fn is_ready(&self) -> bool {
        let answer = reqwest::get(format!("{}/readyz", self.0.address("listen"))).await;
        answer.is_ok_and(|answer| answer.status().is_success())
    }

    pub(super) async fn leads(&self) -> bool {
        self.metric("symbolon_operator_leading").await == Some(1.0)
    }

    /// Makes it hang until [`Self::resume`].
    pub(super) fn pause(&self) {
        self.0.signal("-STOP");
    }

    pub(super) fn resume(&self) {
        self.0.signal("-CONT");
    }

    /// Waits until it ends, and returns whether it succeeded.
    pub(super) async fn wait(&mut self) -> bool {
        let ended = eventually("the operator ends", async || {
            self.0.child.try_wait().unwrap()
        });
        ended.await.success()
    }

    /// Sends it SIGTERM, as Kubernetes does, and waits until it ends.
    pub(super) async fn end(&mut self) {
        self.0.signal("-TERM");
        assert!(self.wait().await, "a graceful end must succeed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_least_rights_suffice_and_events_report_what_was_done() {
    let world = World::new(Cluster::shared()).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let operator = Operator::start(&world, account.kubeconfig_path());
    world.token_ready("nightly").await;
    world.assert_sound("nightly").await;
    let events = world.team.api::<k8s_openapi::api::events::v1::Event>();
    let note = eventually("an event reports the new token", async || {
        let events = events
            .list(&kube::api::ListParams::default())
            .await
            .unwrap();
        let issued = events
            .items
            .into_iter()
            .filter(|event| event.reason.as_deref() == Some("Issued"));
        issued
            .filter(|event| event.regarding.as_ref().unwrap().name.as_deref() == Some("nightly"))
            .find_map(|event| event.note)
    })
    .await;
    let token = world.text("nightly-token").await.unwrap();
    let secret_part = &token[token.len() - 40..];
    assert!(
        note.contains("nightly-token") && !note.contains(secret_part),
        "{note}"
    );
    let lines = operator.0.lines();
    assert!(
        !lines.is_empty() && lines.iter().all(|line| !line.contains(secret_part)),
        "a token is in the log"
    );
}

/// `kubectl describe` shows why an object is not served, once for each reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_reports_why_an_object_of_any_kind_is_refused() {
    let world = World::new(Cluster::shared()).await;
    let account = world.team.cluster_account("operator", rights()).await;
    let _operator = Operator::start(&world, account.kubeconfig_path());
    world.token_ready("nightly").await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: second, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: taken, namespace: PLATFORM}
spec:
  identityRef: {name: main}
  value: orders.read
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: foreign, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  clientId: another.client
  grantTypes: [ClientCredentials]
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: long, namespace: TEAM}
spec:
  clientRef: {name: backend}
  scopes: [orders.read]
  lifetime: 80000h
",
        )
        .await;
    for (namespace, name, reason) in [
        (&world.platform, "second", "IssuerConflict"),
        (&world.platform, "taken", "ValueConflict"),
        (&world.team, "foreign", "NameNotOwned"),
        (&world.team, "long", "LimitExceeded"),
    ] {
        let events = namespace.api::<k8s_openapi::api::events::v1::Event>();
        eventually(
            &format!("one event reports the refusal of {name}"),
            async || {
                let events = events
                    .list(&kube::api::ListParams::default())
                    .await
                    .unwrap();
                let about = events.items.into_iter().filter(|event| {
                    event.reason.as_deref() == Some("Refused")
                        && event.action.as_deref() == Some(reason)
                        && event.regarding.as_ref().unwrap().name.as_deref() == Some(name)
                });
                let notes: Vec<_> = about.map(|event| event.note.unwrap()).collect();
                (notes.len() == 1 && !notes[0].is_empty()).then_some(())
            },
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_suspended_past_its_lease_ends_and_breaks_no_token() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let mut paused = Operator::start(&world, cluster.kubeconfig_path());
    world.token_ready("nightly").await;
    let other = Operator::start(&world, cluster.kubeconfig_path());
    // Stop it while it issues many tokens.
    for number in 0..20 {
        world.apply_token(&format!("many-{number}"), "").await;
    }
    paused.0.signal("-STOP");
    eventually("the other operator leads", async || {
        other.leads().await.then_some(())
    })
    .await;
    paused.0.signal("-CONT");
    let status = eventually("the first operator ends", async || {
        paused.0.child.try_wait().unwrap()
    })
    .await;
    assert!(
        !status.success(),
        "it must fail, so that Kubernetes restarts it"
    );
    for number in 0..20 {
        world.token_ready(&format!("many-{number}")).await;
        world.assert_sound(&format!("many-{number}")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_operator_leads_at_once_after_a_graceful_end_and_in_time_after_a_kill() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let mut first = Operator::start(&world, cluster.kubeconfig_path());
    eventually("the first operator leads", async || {
        first.leads().await.then_some(())
    })
    .await;
    let second = Operator::start(&world, cluster.kubeconfig_path());
    world.token_ready("nightly").await;
    assert!(!second.leads().await, "two operators lead");

    let leases = world.team.api::<Lease>();
    let holder = async || {
        let spec = leases.get("operator").await.unwrap().spec.unwrap();
        spec.holder_identity
    };
    let before = holder().await;
    first.end().await;
    assert_ne!(
        holder().await,
        before,
        "the first operator did not release the Lease"
    );
    eventually("the second operator leads", async || {
        second.leads().await.then_some(())
    })
    .await;

    let third = Operator::start(&world, cluster.kubeconfig_path());
    drop(second);
    eventually("the third operator leads", async || {
        third.leads().await.then_some(())
    })
    .await;
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    world.assert_sound("later").await;
    let lease = world.team.api::<Lease>().get("operator").await.unwrap();
    assert_eq!(lease.spec.unwrap().lease_transitions, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_survives_a_restart_of_the_api_server() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    // On a busy machine the restart may take longer than a Lease lasts. The other test has a Lease.
    let more = ["--leader-election", "false"];
    let operator = Operator::start_with(&world, cluster.kubeconfig_path(), &more);
    world.token_ready("nightly").await;
    cluster.kill(Program::Apiserver);
    cluster.start(Program::Apiserver);
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    world
        .ready(Kind::ServiceAccessToken, "nightly", "True", "Ready")
        .await;
    world.assert_sound("later").await;
    assert!(operator.leads().await, "the same process still runs");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_keeps_its_lease_while_the_api_server_hangs_for_a_moment() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let operator = Operator::start(&world, cluster.kubeconfig_path());
    world.token_ready("nightly").await;
    let leases = world.team.api::<Lease>();
    let held = async || leases.get("operator").await.unwrap().spec.unwrap();
    let before = held().await;
    cluster.pause(Program::Apiserver);
    // Long enough for a renewal to fail, and much shorter than the Lease.
    tokio::time::sleep(Duration::from_secs(4)).await;
    cluster.resume(Program::Apiserver);
    let after = eventually("the Lease is renewed again", async || {
        let lease = held().await;
        (lease.renew_time > before.renew_time).then_some(lease)
    })
    .await;
    assert_eq!(after.lease_transitions, before.lease_transitions);
    assert!(operator.leads().await, "the same process still leads");
    world.apply_token("later", "").await;
    world.token_ready("later").await;
}
