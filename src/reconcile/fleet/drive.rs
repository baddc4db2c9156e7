//! The order of a pass over an Identity: which object comes first, and which error stops the rest.

use std::time::Duration;

use jiff::Timestamp;

use super::Child;
use super::build::{build, service_of_issuer};
use super::compare::{Owner, owner};
use super::keeper::{APIS_FOR, Fleet, FleetError};
use super::obstacles::{is_elsewhere, obstacle, tell};
use super::pass::{FleetOutcome, IN_THE_WAY, Pass, UNWATCHED};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::lock::lock;
use crate::resources::{Identity, ManagedKind};

/// A fault that is shorter than this is not reported, because the next pass may succeed.
const HICCUP: Duration = Duration::from_secs(10);

impl Fleet {
    /// Brings an Identity's objects to what its spec says.
    pub async fn run(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<FleetOutcome, FleetError> {
        let mut passed = self.attempt(identity, now).await?;
        let since = self.failing_since(&ObjectKey::of(&identity.metadata), passed.failed.is_some());
        if let Some(error) = &passed.failed {
            let lasts = || (since >= HICCUP).then(|| error.lasting());
            passed.problem = passed.problem.or_else(|| error.problem()).or_else(lasts);
        }
        Ok(passed)
    }

    async fn attempt(
        &self,
        identity: &Identity,
        now: Timestamp,
    ) -> Result<FleetOutcome, FleetError> {
        let apis = self.apis().await?;
        let plan = match build(identity, &self.of, apis) {
            Ok(plan) => plan,
            Err(problem) => return Ok(FleetOutcome::blocked(problem)),
        };
        let mut pass = Pass::new(self, identity, &plan, now);
        if !apis.service_monitor && !self.of.monitors.off {
            pass.passed.repeat_within(UNWATCHED);
        }
        for wanted in &plan.objects {
            let kind = wanted.child.kind;
            if let Err(error) = pass.attend(wanted).await {
                let is_elsewhere = is_elsewhere(&wanted.child, &pass.key);
                let in_the_way = obstacle(&error.1).filter(|_| is_elsewhere);
                if let Some(obstacle) = in_the_way {
                    pass.leave_out(&wanted.child, obstacle);
                } else {
                    pass.failed(error);
                    if !is_elsewhere && comes_before_pods(kind) {
                        return Ok(pass.finish().await);
                    }
                }
            }
            // No pod may run with an account of someone else, and that account must not get rights.
            if pass.passed.problem.is_some() && gives_rights(kind) {
                if kind == ManagedKind::ServiceAccount
                    && let Err(error) = pass.unbind().await
                {
                    pass.failed(error);
                }
                return Ok(pass.finish().await);
            }
        }
        if let Some(problem) = &plan.left_out {
            // No watch reports when a missing kind is installed.
            pass.passed.repeat_within(APIS_FOR);
            pass.passed.problem.get_or_insert_with(|| problem.clone());
        }
        self.tell_of_obstacles(&mut pass);
        if let Err(error) = pass.clear().await {
            pass.failed(error);
        }
        Ok(pass.finish().await)
    }

    /// Deletes all objects of an Identity that its own pods no longer serve. Refuses that if its issuer is the Service
    /// of its own pods and no one else has created a Service with that name, because then nothing would answer at the
    /// issuer.
    pub async fn clear(&self, identity: &Identity) -> Result<FleetOutcome, FleetError> {
        let uid = identity.metadata.uid.as_deref().unwrap_or_default();
        let key = ObjectKey::of(&identity.metadata);
        if let Some(service) = service_of_issuer(&key, identity) {
            let live = self.objects.get(&service).await;
            let live = live.map_err(|error| FleetError(service.to_string(), error))?;
            let role = &self.of.server_cluster_role;
            if live.is_none_or(|live| owner(&live, &key, uid, role) != Owner::Other) {
                return Ok(FleetOutcome {
                    problem: Some(needed(&service)),
                    // No watch reports objects of others.
                    again: Some(IN_THE_WAY),
                    ..FleetOutcome::default()
                });
            }
        }
        self.remove_all(self.candidates(&key), &key, uid).await?;
        self.forget(&key);
        Ok(FleetOutcome::default())
    }

    fn tell_of_obstacles(&self, pass: &mut Pass<'_>) {
        let now = std::mem::take(&mut pass.refused);
        let told = tell(&now, &pass.key);
        let mut refused = lock(&self.refused);
        let before = if now.is_empty() {
            refused.remove(&pass.key)
        } else {
            refused.insert(pass.key.clone(), now.clone())
        };
        if before != Some(now) {
            pass.passed.newly_refused = told;
        }
    }
}

/// Whether objects of this kind determine the rights of pods.
const fn gives_rights(kind: ManagedKind) -> bool {
    matches!(
        kind,
        ManagedKind::ServiceAccount
            | ManagedKind::Role
            | ManagedKind::RoleBinding
            | ManagedKind::ClusterRoleBinding
    )
}

/// Whether objects of this kind must exist before pods are created or changed, because they give rights or make pods
/// safe to run.
fn comes_before_pods(kind: ManagedKind) -> bool {
    kind < ManagedKind::Deployment
}

/// Returns the problem that the issuer is a Service that would be deleted with the Identity's pods.
fn needed(service: &Child) -> Problem {
    let message = format!(
        "the issuer is the {service} of the Identity's own pods, and spec.mode: Embedded has no such pods: set spec.mode: Deployment again, or replace that Service with one of your own with the same name that selects the operator's pods"
    );
    Problem::error(Reason::Pending, "/spec/mode", message)
}
