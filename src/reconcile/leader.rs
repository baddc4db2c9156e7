//! Leader election: only the holder of a Lease writes.
//!
//! The holder stops by its own clock well before another process may begin. It counts from when it *sent* the request
//! that renewed the lease; the others count from when they *saw* the renewal. Each process measures durations with its
//! own clock only, so clocks may differ.
//!
//! Written by hand, because every write must be fenced by the time at which the lease certainly ends (see [`Fence`]),
//! and libraries only tell whether they hold the lease. Not here: what a leader does.
//!
//! <https://kubernetes.io/docs/concepts/architecture/leases/>

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{GetParams, ObjectMeta, PostParams};
use kube::core::Request;
use tokio::time::{Instant, sleep};
use tracing::{debug, info, warn};

use super::cluster::api::ApiError;
use super::cluster::fence::Fence;
use super::cluster::rest::Rest;
use crate::directory::ObjectKey;
use crate::kube_call::Client;
use crate::tokens::{Entropy, SystemEntropy};

/// The labels of every Lease of an operator, by which it is found under any name.
pub const LEASE_LABELS: [(&str, &str); 2] = [
    ("app.kubernetes.io/name", "symbolon"),
    ("app.kubernetes.io/component", "operator"),
];

/// The durations of an election. Each is shorter than the previous one.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Without renewal, others take over after this time.
    pub lease: Duration,
    /// Without renewal, the holder stops after this time.
    pub renew_within: Duration,
    /// The time between renewals, and between reads of another holder's lease.
    pub every: Duration,
    /// The time limit of one request.
    pub request: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(15),
            renew_within: Duration::from_secs(10),
            every: Duration::from_secs(2),
            request: Duration::from_secs(3),
        }
    }
}

/// A candidate for the lease.
pub struct Election {
    rest: Rest,
    lease: ObjectKey,
    identity: String,
    times: Times,
    fence: Fence,
    seen: Option<Seen>,
}

/// The lease of another holder, and since when it has been unchanged.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    version: String,
    since: Instant,
}

/// The result of an attempt to get or keep the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    /// This candidate holds it.
    Held,
    /// Another candidate holds it.
    Taken,
    /// Another client wrote it in between, perhaps only an annotation. The next attempt tells.
    Crossed,
}

/// What to do about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    Create,
    /// This candidate holds it already, or no one does.
    Take,
    Wait,
}

impl Election {
    /// Creates a candidate with a unique name. The fence is open while it leads.
    pub fn new(
        client: Client,
        lease: ObjectKey,
        identity: String,
        times: Times,
        fence: Fence,
    ) -> Self {
        let rest = Rest {
            client,
            timeout: times.request,
        };
        Self {
            rest,
            lease,
            identity,
            times,
            fence,
            seen: None,
        }
    }

    /// Waits until this candidate leads.
    pub async fn acquire(&mut self) {
        loop {
            match self.attempt().await {
                Ok(Attempt::Held) => {
                    info!(lease = %self.lease, identity = self.identity, "became the leader");
                    return;
                }
                Ok(Attempt::Taken | Attempt::Crossed) => {}
                Err(error) => {
                    debug!(lease = %self.lease, %error, "could not get the lease, will retry")
                }
            }
            sleep(jittered(self.times.every, &mut SystemEntropy)).await;
        }
    }

    /// Renews the lease until it is lost, then closes the fence.
    pub async fn hold(&mut self) {
        let mut renewed = Instant::now();
        while renewed.elapsed() < self.times.renew_within {
            sleep(jittered(self.times.every, &mut SystemEntropy)).await;
            let asked = Instant::now();
            match self.attempt().await {
                Ok(Attempt::Held) => renewed = asked,
                Ok(Attempt::Taken) => break,
                Ok(Attempt::Crossed) => {
                    debug!(lease = %self.lease, "another client changed the lease")
                }
                Err(error) => warn!(lease = %self.lease, %error, "could not renew the lease"),
            }
        }
        self.fence.close();
        warn!(lease = %self.lease, "lost the lease, no longer the leader");
    }

    /// Releases the lease, so that another candidate need not wait until it expires. Best effort.
    pub async fn release(&mut self) {
        self.fence.close();
        let Ok(Some(mut lease)) = self.read().await else {
            return;
        };
        if holder(&lease) != Some(&self.identity) {
            return;
        }
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
        }
        if let Err(error) = self.write(&lease, false).await {
            debug!(lease = %self.lease, %error, "could not release the lease, it will expire");
        }
    }

    /// Reads the lease, and takes or renews it if that is allowed.
    async fn attempt(&mut self) -> Result<Attempt, ApiError> {
        let asked = Instant::now();
        let lease = self.read().await?;
        let step = decide(
            lease.as_ref(),
            &mut self.seen,
            &self.identity,
            self.times.lease,
            asked,
        );
        if step == Move::Wait {
            return Ok(Attempt::Taken);
        }
        let sent = Instant::now();
        let wanted = self.renewed(lease.unwrap_or_default(), now());
        match self.write(&wanted, step == Move::Create).await {
            Ok(()) => {}
            Err(ApiError::Conflict | ApiError::AlreadyExists | ApiError::NotFound) => {
                return Ok(Attempt::Crossed);
            }
            Err(error) => return Err(error),
        }
        self.fence.open_until(sent + self.times.renew_within);
        Ok(Attempt::Held)
    }

    fn renewed(&self, mut lease: Lease, now: Timestamp) -> Lease {
        lease.metadata = ObjectMeta {
            namespace: Some(self.lease.namespace.to_string()),
            name: Some(self.lease.name.to_string()),
            ..lease.metadata
        };
        let labels = LEASE_LABELS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let kept = lease.metadata.labels.get_or_insert_default();
        kept.extend(labels);
        let before = lease.spec.take().unwrap_or_default();
        let is_ours = before.holder_identity.as_deref() == Some(&self.identity);
        let transitions = before.lease_transitions.unwrap_or(0);
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(self.times.lease.as_secs()).ok(),
            acquire_time: before
                .acquire_time
                .filter(|_| is_ours)
                .or(Some(MicroTime(now))),
            renew_time: Some(MicroTime(now)),
            lease_transitions: Some(transitions.saturating_add(i32::from(!is_ours))),
            ..before
        });
        lease
    }

    async fn read(&self) -> Result<Option<Lease>, ApiError> {
        find_lease(&self.rest, &self.lease).await
    }

    async fn write(&self, lease: &Lease, is_first: bool) -> Result<(), ApiError> {
        let body =
            serde_json::to_vec(lease).map_err(|error| ApiError::Invalid(error.to_string()))?;
        let request = if is_first {
            leases(&self.lease.namespace).create(&PostParams::default(), body)
        } else {
            leases(&self.lease.namespace).replace(&self.lease.name, &PostParams::default(), body)
        };
        self.rest.send(request).await.map(drop)
    }
}

fn leases(namespace: &str) -> Request {
    Request::new(format!(
        "/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases"
    ))
}

/// Reads a Lease; `None` if it does not exist.
pub(super) async fn find_lease(rest: &Rest, lease: &ObjectKey) -> Result<Option<Lease>, ApiError> {
    let request = leases(&lease.namespace).get(&lease.name, &GetParams::default());
    let found = rest.find(request).await?;
    let lease = found.map(serde_json::from_value).transpose();
    lease.map_err(|_| ApiError::Unavailable("the Lease cannot be decoded".to_owned()))
}

/// Decides by the version: it tells a renewal regardless of the holder's clock.
fn decide(
    lease: Option<&Lease>,
    seen: &mut Option<Seen>,
    me: &str,
    ours: Duration,
    now: Instant,
) -> Move {
    let Some(lease) = lease else {
        return Move::Create;
    };
    if holder(lease).is_none_or(|holder| holder == me) {
        return Move::Take;
    }
    let version = lease.metadata.resource_version.clone().unwrap_or_default();
    let since = match seen {
        Some(seen) if seen.version == version => seen.since,
        _ => {
            *seen = Some(Seen {
                version,
                since: now,
            });
            now
        }
    };
    let theirs = lease
        .spec
        .as_ref()
        .and_then(|spec| spec.lease_duration_seconds);
    let theirs = theirs
        .and_then(|seconds| u64::try_from(seconds).ok())
        .map(Duration::from_secs);
    if now.saturating_duration_since(since) >= theirs.unwrap_or(ours) {
        Move::Take
    } else {
        Move::Wait
    }
}

pub(super) fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref()?;
    (!holder.is_empty()).then_some(holder)
}

/// Returns 80 % to 120 % of a time, so that candidates do not send requests in step.
fn jittered(time: Duration, entropy: &mut dyn Entropy) -> Duration {
    let mut byte = [0];
    entropy.fill(&mut byte);
    time.mul_f64(0.8 + 0.4 * f64::from(byte[0]) / 255.0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the lease's times are for people to read"
)]
fn now() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OURS: Duration = Duration::from_secs(15);

    fn lease(holder: &str, version: &str) -> Lease {
        Lease {
            metadata: ObjectMeta {
                resource_version: Some(version.to_owned()),
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                ..LeaseSpec::default()
            }),
        }
    }

    fn look(seen: &mut Option<Seen>, lease: Option<&Lease>, at: Instant) -> Move {
        decide(lease, seen, "me", OURS, at)
    }

    #[test]
    fn a_free_or_own_lease_is_taken() {
        let now = Instant::now();
        assert_eq!(look(&mut None, None, now), Move::Create);
        assert_eq!(look(&mut None, Some(&lease("", "1")), now), Move::Take);
        assert_eq!(look(&mut None, Some(&lease("me", "1")), now), Move::Take);
    }

    #[test]
    fn anothers_lease_is_taken_only_after_it_was_unchanged_for_its_duration() {
        let (start, mut seen) = (Instant::now(), None);
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        assert_eq!(look(&mut seen, Some(&lease("you", "1")), at(0)), Move::Wait);
        assert_eq!(
            look(&mut seen, Some(&lease("you", "1")), at(14)),
            Move::Wait
        );
        assert_eq!(
            look(&mut seen, Some(&lease("you", "2")), at(16)),
            Move::Wait,
            "renewed meanwhile"
        );
        assert_eq!(
            look(&mut seen, Some(&lease("you", "2")), at(30)),
            Move::Wait
        );
        assert_eq!(
            look(&mut seen, Some(&lease("you", "2")), at(31)),
            Move::Take
        );
    }

    #[test]
    fn the_holder_stops_before_another_begins() {
        let Times {
            lease,
            renew_within,
            every,
            request,
        } = Times::default();
        assert!(every + request < renew_within && renew_within + request < lease);
    }
}
