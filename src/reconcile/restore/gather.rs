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
use crate::reconcile::leader::{LEASE_LABELS, Times};
use crate::resources::{API_VERSION, Credential, Kind};

/// The time limit of one request.
const TIMEOUT: Duration = Duration::from_secs(30);
const LEASES: &str = "/apis/coordination.k8s.io/v1";

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

impl Gather {
    /// Creates a `Gather` that reads from this API server.
    pub const fn new(client: Client) -> Self {
        let rest = Rest {
            client,
            timeout: TIMEOUT,
        };
        Self { rest }
    }

    /// Returns who seems to be running as the operator. Finds Leases by their labels in all namespaces, unless one is
    /// named. A Lease that looks expired is watched for a while, because clocks may differ.
    ///
    /// # Errors
    /// Returns errors of the API server.
    pub async fn operator_at_work(
        &self,
        lease: Option<&ObjectKey>,
        now: Timestamp,
    ) -> Result<Option<String>, ApiError> {
        let held: Vec<Lease> = self.leases(lease).await?;
        let held: Vec<Lease> = held.into_iter().filter(is_held).collect();
        if let Some(fresh) = held.iter().find(|lease| is_fresh(lease, now)) {
            return Ok(Some(words(fresh)));
        }
        if held.is_empty() {
            return Ok(None);
        }
        let times = Times::default();
        tokio::time::sleep(times.every * 2 + times.request).await;
        let later = self.leases(lease).await?;
        let renewed = later.iter().filter(|lease| is_held(lease)).find(|later| {
            let version = &later.metadata.resource_version;
            !held
                .iter()
                .any(|lease| lease.metadata.resource_version == *version)
        });
        Ok(renewed.map(words))
    }

    async fn leases(&self, lease: Option<&ObjectKey>) -> Result<Vec<Lease>, ApiError> {
        let found = match lease {
            Some(key) => {
                let folder = format!("{LEASES}/namespaces/{}/leases", key.namespace);
                let request = Request::new(folder).get(&key.name, &GetParams::default());
                self.rest.find(request).await?.into_iter().collect()
            }
            None => {
                let ours = LEASE_LABELS.map(|(name, value)| format!("{name}={value}"));
                let ours = ListParams::default().labels(&ours.join(","));
                let mut found = Vec::new();
                let mut take = |lease, _| found.push(lease);
                let folder = format!("{LEASES}/leases");
                self.rest
                    .list(&folder, &ours, Keep::LIVE, &mut take)
                    .await?;
                found
            }
        };
        let decode = |value| serde_json::from_value(value);
        let leases: Result<Vec<Lease>, _> = found.into_iter().map(decode).collect();
        leases.map_err(|_| ApiError::Unavailable("a Lease cannot be decoded".to_owned()))
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

fn is_held(lease: &Lease) -> bool {
    holder(lease).is_some_and(|holder| !holder.is_empty())
}

fn holder(lease: &Lease) -> Option<&str> {
    lease.spec.as_ref()?.holder_identity.as_deref()
}

/// Whether it was renewed within its duration, by this clock.
fn is_fresh(lease: &Lease, now: Timestamp) -> bool {
    let Some(spec) = &lease.spec else {
        return false;
    };
    let seconds = spec.lease_duration_seconds.unwrap_or(0).max(1);
    let lasts = SignedDuration::from_secs(seconds.into());
    spec.renew_time
        .as_ref()
        .is_some_and(|renewed| now.duration_since(renewed.0).abs() < lasts)
}

fn words(lease: &Lease) -> String {
    let metadata = &lease.metadata;
    format!(
        "{} holds the Lease {}/{}",
        holder(lease).unwrap_or_default(),
        metadata.namespace.as_deref().unwrap_or_default(),
        metadata.name.as_deref().unwrap_or_default(),
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::coordination::v1::LeaseSpec;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;

    use super::*;

    #[test]
    fn a_lease_is_fresh_within_its_duration_and_held_if_it_names_a_holder() {
        let now: Timestamp = "2026-03-01T00:01:00Z".parse().unwrap();
        let lease = |holder: &str, renewed: &str| Lease {
            spec: Some(LeaseSpec {
                holder_identity: Some(holder.to_owned()),
                lease_duration_seconds: Some(15),
                renew_time: Some(MicroTime(renewed.parse().unwrap())),
                ..LeaseSpec::default()
            }),
            ..Lease::default()
        };
        for (renewed, fresh) in [
            ("2026-03-01T00:00:50Z", true),
            ("2026-03-01T00:00:45Z", false),
            // A clock that runs slightly ahead.
            ("2026-03-01T00:01:05Z", true),
            ("2026-02-01T00:00:00Z", false),
        ] {
            assert_eq!(is_fresh(&lease("a", renewed), now), fresh, "{renewed}");
        }
        assert!(is_held(&lease("a", "2026-03-01T00:00:50Z")));
        assert!(!is_held(&lease("", "2026-03-01T00:00:50Z")), "released");
        assert!(!is_held(&Lease::default()));
    }
}
