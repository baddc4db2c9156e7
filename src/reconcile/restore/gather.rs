//! The reads of a rebinding: whether an operator is running, the objects of the Identity, and its Credentials.
//!
//! These are the only lists outside of watches, because a restore happens once.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{GetParams, ListParams};
use kube::core::Request;
use serde_json::Value;

use crate::directory::{Change, Directory, ObjectKey, Settings};
use crate::json_stream::Keep;
use crate::kube_call::Client;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::rest::Rest;
use crate::reconcile::leader::{self, LEASE_LABELS, Times};
use crate::resources::{API_VERSION, Credential, Kind};

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Reads what a plan needs.
#[derive(Clone)]
pub struct Gather {
    rest: Rest,
}

/// The existing objects of an Identity.
#[derive(Debug)]
pub struct Gathered {
    /// The Identity, clients and tokens.
    pub directory: Directory,
    /// The Identity's Credentials, for owners in the given namespaces.
    pub credentials: Vec<Credential>,
    /// Names of Credentials that cannot be decoded, for example because another release wrote them.
    pub unreadable: Vec<String>,
}

/// Whether an operator seems to be running.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Company {
    /// No Lease is renewed.
    NoOperator,
    /// The named Lease does not exist.
    NoSuchLease,
    /// This Lease is renewed.
    Operator(ObjectKey),
}

impl Gather {
    /// Creates a `Gather` that reads from this API server.
    pub const fn new(client: Client) -> Self {
        let rest = Rest {
            client,
            timeout: TIMEOUT,
        };
        Self { rest }
    }

    /// Returns whether an operator seems to be running. Finds Leases by their labels in all namespaces, unless one is named.
    /// A Lease that looks expired is watched for a while, because clocks may differ.
    ///
    /// # Errors
    /// Returns errors of the API server.
    pub async fn operator_at_work(
        &self,
        lease: Option<&ObjectKey>,
        now: Timestamp,
    ) -> Result<Company, ApiError> {
        let Some(held) = self.held_leases(lease).await? else {
            return Ok(Company::NoSuchLease);
        };
        if let Some(fresh) = held.iter().find(|held| held.is_fresh(now)) {
            return Ok(Company::Operator(fresh.key.clone()));
        }
        if held.is_empty() {
            return Ok(Company::NoOperator);
        }
        let times = Times::default();
        tokio::time::sleep(times.every * 2 + times.request).await;
        let later = self.held_leases(lease).await?.into_iter().flatten();
        let is_known = |later: &HeldLease| held.iter().any(|held| held.version == later.version);
        let mut renewed = later.filter(|later| !is_known(later));
        Ok(renewed.next().map_or(Company::NoOperator, |renewed| {
            Company::Operator(renewed.key)
        }))
    }

    /// Returns the Leases that name a holder; `None` if the named Lease does not exist.
    async fn held_leases(
        &self,
        lease: Option<&ObjectKey>,
    ) -> Result<Option<Vec<HeldLease>>, ApiError> {
        match lease {
            Some(key) => {
                let lease = leader::find_lease(&self.rest, key).await?;
                Ok(lease.map(|lease| HeldLease::of(&lease).into_iter().collect()))
            }
            None => {
                let ours = LEASE_LABELS.map(|(name, value)| format!("{name}={value}"));
                let ours = ListParams::default().labels(&ours.join(","));
                let mut found = Vec::new();
                // Tenants can create Leases with these labels. Only the needed fields are kept, and a Lease that cannot be
                // decoded is skipped.
                let mut take = |lease, _| {
                    let lease = serde_json::from_value(lease).ok();
                    found.extend(lease.as_ref().and_then(HeldLease::of));
                };
                let folder = "/apis/coordination.k8s.io/v1/leases";
                self.rest.list(folder, &ours, Keep::LIVE, &mut take).await?;
                Ok(Some(found))
            }
        }
    }

    /// Reads the Identity, the clients and tokens of these namespaces (empty: all), and their Credentials.
    ///
    /// # Errors
    /// Returns errors of the API server, and [`ApiError::NotFound`] if the Identity does not exist.
    pub async fn objects(
        &self,
        identity: &ObjectKey,
        namespaces: &[String],
        settings: &Settings,
    ) -> Result<Gathered, ApiError> {
        let mut directory = Directory::new(settings.clone());
        let request = Request::new(folder(Kind::Identity, &identity.namespace))
            .get(&identity.name, &GetParams::default());
        let raw = self.rest.find_for(request, Keep::SPEC).await?;
        let raw = raw.ok_or(ApiError::NotFound)?;
        take(&mut directory, Kind::Identity, &raw);
        for kind in [Kind::OAuthClient, Kind::ServiceAccessToken] {
            for folder in folders(kind, namespaces) {
                // An object that is too large to read is not served either.
                let mut one = |raw, is_cut: bool| {
                    if !is_cut {
                        take(&mut directory, kind, &raw);
                    }
                };
                let all = ListParams::default();
                self.rest.list(&folder, &all, Keep::SPEC, &mut one).await?;
            }
        }
        let mut gathered = Gathered {
            directory,
            credentials: Vec::new(),
            unreadable: Vec::new(),
        };
        let credentials = folder(Kind::Credential, &identity.namespace);
        let mut keep = |raw: Value, is_cut: bool| gathered.keep(raw, is_cut, identity, namespaces);
        let all = ListParams::default();
        self.rest
            .list(&credentials, &all, Keep::REWRITTEN, &mut keep)
            .await?;
        Ok(gathered)
    }
}

impl Gathered {
    fn keep(&mut self, raw: Value, is_cut: bool, identity: &ObjectKey, namespaces: &[String]) {
        let name = raw["metadata"]["name"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        let credential = serde_json::from_value::<Credential>(raw);
        let Some(credential) = credential.ok().filter(|_| !is_cut) else {
            return self.unreadable.push(name);
        };
        let spec = &credential.spec;
        let is_asked = namespaces.is_empty() || namespaces.contains(&spec.owner.namespace);
        if *spec.identity.name == *identity.name && is_asked {
            self.credentials.push(credential);
        }
    }
}

fn take(directory: &mut Directory, kind: Kind, raw: &Value) {
    if let Some(change) = Change::object(kind, raw, directory.settings()) {
        directory.apply(change);
    }
}

fn folder(kind: Kind, namespace: &str) -> String {
    let plural = kind.plural();
    format!("/apis/{API_VERSION}/namespaces/{namespace}/{plural}")
}

fn folders(kind: Kind, namespaces: &[String]) -> Vec<String> {
    if namespaces.is_empty() {
        vec![format!("/apis/{API_VERSION}/{}", kind.plural())]
    } else {
        let one = |namespace: &String| folder(kind, namespace);
        namespaces.iter().map(one).collect()
    }
}

/// A Lease that names a holder.
struct HeldLease {
    key: ObjectKey,
    version: Option<String>,
    renewed: Option<Timestamp>,
    /// For how long it is held after a renewal.
    lasts: SignedDuration,
}

impl HeldLease {
    /// Reads a Lease; returns `None` if it names no holder. It counts for no longer than one of an operator.
    fn of(lease: &Lease) -> Option<Self> {
        let spec = lease.spec.as_ref()?;
        leader::holder(lease)?;
        let seconds = spec.lease_duration_seconds.unwrap_or(0).max(1);
        let longest = i64::try_from(Times::default().lease.as_secs()).unwrap_or(i64::MAX);
        Some(Self {
            key: ObjectKey::of(&lease.metadata),
            version: lease.metadata.resource_version.clone(),
            renewed: spec.renew_time.as_ref().map(|renewed| renewed.0),
            lasts: SignedDuration::from_secs(i64::from(seconds).min(longest)),
        })
    }

    /// Returns whether it was renewed within its duration, by this clock. A time in the future proves nothing: if a clock
    /// is ahead, the next renewal shows that an operator is running.
    fn is_fresh(&self, now: Timestamp) -> bool {
        self.renewed.is_some_and(|renewed| {
            let age = now.duration_since(renewed);
            SignedDuration::ZERO <= age && age < self.lasts
        })
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::{Arc, Mutex};

    use crate::kube_call::Body;
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
    use serde_json::json;

    use super::*;
    use crate::lock::lock;

    fn lease(holder: &str, renewed: &str, seconds: i32) -> Lease {
        Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(seconds),
                renew_time: Some(MicroTime(renewed.parse().unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        }
    }

    /// A tenant can label a Lease of its own like one of an operator.
    #[test]
    fn a_lease_is_fresh_for_as_long_as_one_of_an_operator_and_held_if_it_names_a_holder() {
        let now: Timestamp = "2026-03-01T00:01:00Z".parse().unwrap();
        for (renewed, seconds, fresh) in [
            ("2026-03-01T00:00:50Z", 15, true),
            ("2026-03-01T00:00:50Z", 5, false),
            ("2026-03-01T00:00:45Z", 15, false),
            ("2026-03-01T00:00:45Z", i32::MAX, false),
            ("2026-03-01T00:00:59Z", i32::MIN, false),
            ("2026-03-01T00:01:05Z", 15, false),
            ("9999-03-01T00:01:05Z", i32::MAX, false),
            ("2026-02-01T00:00:00Z", 15, false),
        ] {
            let held = HeldLease::of(&lease("a", renewed, seconds)).unwrap();
            assert_eq!(held.is_fresh(now), fresh, "{renewed} {seconds}");
        }
        let released = lease("", "2026-03-01T00:00:50Z", 15);
        assert!(HeldLease::of(&released).is_none());
        assert!(HeldLease::of(&Lease::default()).is_none());
    }

    /// Returns the answer of `operator_at_work` if the API server lists these Leases, first and later.
    async fn at_work(first: Value, later: Value, now: Timestamp) -> Company {
        let answers = Arc::new(Mutex::new(vec![later, first]));
        let service = tower::service_fn(move |_: http::Request<Body>| {
            let answer = lock(&answers).pop().unwrap();
            let answer = json!({"metadata": {}, "items": answer}).to_string();
            async { Ok::<_, Infallible>(http::Response::new(Body::from(answer.into_bytes()))) }
        });
        let gather = Gather::new(Client::new(service, "default"));
        gather.operator_at_work(None, now).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_of_a_tenant_counts_only_while_it_is_renewed() {
        let now: Timestamp = "2026-03-01T00:01:00Z".parse().unwrap();
        let lease = |version: &str, renewed: &str| {
            json!({
                "metadata": {"namespace": "evil", "name": "mine", "resourceVersion": version},
                "spec": {
                    "holderIdentity": "A".repeat(900_000), "leaseDurationSeconds": i32::MAX, "renewTime": renewed,
                },
            })
        };
        let (old, future) = ("2026-03-01T00:00:00.000000Z", "2026-04-01T00:00:00.000000Z");
        // Too large, so that it arrives in part only, or of another form.
        let odd = json!({"metadata": {"name": 1}, "spec": []});
        let evil = Company::Operator(ObjectKey::new("evil", "mine"));
        for renewed in [old, future] {
            let stale = json!([odd.clone(), lease("1", renewed)]);
            let found = at_work(stale.clone(), stale.clone(), now).await;
            assert_eq!(found, Company::NoOperator, "{renewed}");
            let renewed = json!([lease("2", future)]);
            assert_eq!(at_work(stale, renewed, now).await, evil);
        }
        let fresh = json!([lease("1", "2026-03-01T00:00:55.000000Z")]);
        assert_eq!(at_work(fresh, json!([]), now).await, evil);
    }
}
