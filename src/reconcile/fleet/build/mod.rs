//! Builds the objects of an Identity from its spec and the installation's settings. Pure.

mod allowed;
pub(super) mod database;
pub(super) mod egress;
mod network;
mod options;
mod rights;
mod workload;

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest as hash};
use serde_json::{Map, Value, json};

use super::{Child, Installation, name_of};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::{
    ANNOTATION_APPLIED, ANNOTATION_OF_IDENTITY, API_VERSION, Identity, IdentitySpec,
    LABEL_IDENTITY, LABEL_MANAGED, ManagedKind,
};
use crate::tokens::Hex;

pub use self::allowed::allowed_repository;
pub use self::options::Allowed;
pub(super) use self::workload::PROGRESS_DEADLINE_SECONDS;
pub use self::workload::{DRAIN_SECONDS, PRE_STOP_SECONDS, Scale, TERMINATION_GRACE_SECONDS};

/// The port that serves requests.
pub(super) const HTTP_PORT: u16 = 8080;
/// The port for health and metrics.
pub(super) const HEALTH_PORT: u16 = 8081;

/// The optional kinds that a cluster may have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apis {
    /// The Gateway API.
    pub http_route: bool,
    /// The `ServiceMonitor` of the Prometheus operator.
    pub service_monitor: bool,
}

/// A wanted object.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Its kind, namespace and name.
    pub child: Child,
    /// The fields that the operator sets; for a Deployment without replicas, see [`Scale`].
    pub body: Value,
}

/// All wanted objects of an Identity.
#[derive(Clone, Debug, PartialEq)]
pub struct WantedObjects {
    /// In the order in which they are created.
    pub objects: Vec<Wanted>,
    /// Who sets the number of pods.
    pub scale: Scale,
    /// What was asked for but cannot be created, and why. The other objects are used without it.
    pub left_out: Option<Problem>,
}

/// Builds the objects of a valid Identity with the mode `Deployment`.
///
/// # Errors
/// Returns what keeps the Identity from being run.
pub fn build(identity: &Identity, of: &Installation, apis: Apis) -> Result<WantedObjects, Problem> {
    let about = About::new(identity, of)?;
    allowed::check(about.spec, of)?;
    options::check(about.spec, of)?;
    let scale = Scale::of(about.spec);
    let mut objects = rights::objects(&about);
    objects.extend(network::policy_and_service(&about));
    objects.extend(workload::objects(&about, scale));
    let mut left_out = None;
    let ways_in = [network::ingress(&about), network::route(&about, apis)];
    for way_in in ways_in {
        match way_in {
            Ok(way_in) => objects.extend(way_in),
            Err(problem) => left_out = Some(problem),
        }
    }
    objects.extend(network::monitor(&about, apis));
    let objects = objects
        .into_iter()
        .map(|(child, body)| Wanted {
            body: with_digest(body),
            child,
        })
        .collect();
    Ok(WantedObjects {
        objects,
        scale,
        left_out,
    })
}

/// Returns the Service of an Identity's pods, if it is the Identity's issuer.
pub(super) fn service_of_issuer(key: &ObjectKey, identity: &Identity) -> Option<Child> {
    let issuer = IssuerUrl::parse(&identity.spec.issuer);
    network::is_service(key, &issuer).then(|| Child {
        kind: ManagedKind::Service,
        namespace: Some(key.namespace.to_string()),
        name: name_of(key),
    })
}

/// Returns every object that this installation may have created for an Identity, wanted or not.
pub fn possible(identity: &ObjectKey, of: &Installation) -> Vec<Child> {
    let own = |kind| Child {
        kind,
        namespace: Some(identity.namespace.to_string()),
        name: name_of(identity),
    };
    let mut children: Vec<Child> = ManagedKind::ALL
        .into_iter()
        .filter(|kind| *kind != ManagedKind::ClusterRoleBinding)
        .map(own)
        .collect();
    children.extend(rights::readers(identity, of));
    children
}

/// The Identity to build for, and what all objects need of it.
pub(super) struct About<'a> {
    pub(super) key: ObjectKey,
    pub(super) uid: &'a str,
    pub(super) spec: &'a IdentitySpec,
    pub(super) of: &'a Installation,
    pub(super) issuer: IssuerUrl,
}

impl<'a> About<'a> {
    fn new(identity: &'a Identity, of: &'a Installation) -> Result<Self, Problem> {
        let metadata = &identity.metadata;
        let key = ObjectKey::of(metadata);
        if !is_service_name(&key.name) {
            return Err(Problem::error(
                Reason::Invalid,
                "/metadata/name",
                "the Identity's name cannot be used for a Service: choose a name of lower-case letters, digits and '-' that begins with a letter",
            ));
        }
        Ok(Self {
            key,
            uid: metadata.uid.as_deref().unwrap_or_default(),
            issuer: IssuerUrl::parse(&identity.spec.issuer),
            spec: &identity.spec,
            of,
        })
    }

    /// Returns the labels of all objects.
    pub(super) fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.selector();
        labels.extend([
            (
                "app.kubernetes.io/managed-by".to_owned(),
                "symbolon".to_owned(),
            ),
            (LABEL_MANAGED.to_owned(), "true".to_owned()),
            (LABEL_IDENTITY.to_owned(), self.key.name.to_string()),
        ]);
        labels
    }

    /// Returns the labels of all objects, those that they inherit included.
    pub(super) fn inherited_labels(&self) -> BTreeMap<String, String> {
        let mut labels = self.spec.inherited_metadata.labels.clone();
        // The operator's labels win, because it finds its objects by them.
        labels.extend(self.labels());
        labels
    }

    /// Returns the labels that select the pods. They never change.
    pub(super) fn selector(&self) -> BTreeMap<String, String> {
        selector(&self.key)
    }

    /// Returns an object in the Identity's namespace.
    pub(super) fn own(&self, kind: ManagedKind, body: Value) -> (Child, Value) {
        self.annotated(kind, &BTreeMap::new(), body)
    }

    /// Returns the same with annotations from the Identity's spec.
    pub(super) fn annotated(
        &self,
        kind: ManagedKind,
        annotations: &BTreeMap<String, String>,
        body: Value,
    ) -> (Child, Value) {
        let child = Child {
            kind,
            namespace: Some(self.key.namespace.to_string()),
            name: name_of(&self.key),
        };
        let body = self.object(&child, annotations, body);
        (child, body)
    }

    /// Returns an object. `body` has everything except kind and metadata.
    pub(super) fn object(
        &self,
        child: &Child,
        annotations: &BTreeMap<String, String>,
        body: Value,
    ) -> Value {
        let own = annotations.clone();
        let mut annotations = self.spec.inherited_metadata.annotations.clone();
        annotations.extend(own);
        annotations.insert(ANNOTATION_OF_IDENTITY.to_owned(), self.key.to_string());
        let labels = self.inherited_labels();
        let mut metadata =
            json!({"name": child.name, "labels": labels, "annotations": annotations});
        if let Some(namespace) = &child.namespace {
            metadata["namespace"] = json!(namespace);
            // An owner must be in the same namespace.
            if **namespace == *self.key.namespace {
                metadata["ownerReferences"] = json!([{
                    "apiVersion": API_VERSION, "kind": "Identity", "name": *self.key.name, "uid": self.uid,
                    "controller": true, "blockOwnerDeletion": false,
                }]);
            }
        }
        let mut object = Map::from_iter([
            ("apiVersion".to_owned(), json!(child.kind.api_version())),
            ("kind".to_owned(), json!(child.kind.as_str())),
            ("metadata".to_owned(), metadata),
        ]);
        if let Value::Object(fields) = body {
            object.extend(fields);
        }
        Value::Object(object)
    }
}

/// Returns the labels that select an Identity's pods.
pub(super) fn selector(identity: &ObjectKey) -> BTreeMap<String, String> {
    [
        ("app.kubernetes.io/name", "symbolon"),
        ("app.kubernetes.io/component", "identity"),
        ("app.kubernetes.io/instance", &*identity.name),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

/// The parts of an issuer's URL.
pub(super) struct IssuerUrl {
    /// In lower case, without a port.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Without a closing slash: empty for the root.
    pub(super) path: String,
}

impl IssuerUrl {
    /// Parses a URL that the Identity's own rules accept.
    fn parse(url: &str) -> Self {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        let (authority, path) = match rest.find('/') {
            Some(slash) => rest.split_at(slash),
            None => (rest, ""),
        };
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()),
            _ => (authority, None),
        };
        Self {
            host: host.to_ascii_lowercase(),
            port,
            path: path.to_owned(),
        }
    }

    /// Returns the host if routes can be created for it: not an IP address, and not a name without dots.
    pub(super) fn host_name(&self) -> Option<&str> {
        let is_name = self.host.parse::<std::net::Ipv4Addr>().is_err()
            && !self.host.starts_with('[')
            && self.host.contains('.');
        is_name.then_some(&*self.host)
    }
}

/// Whether the name is a DNS label of RFC 1035, as Services need.
fn is_service_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Adds the annotation with a digest of the operator's fields.
fn with_digest(mut body: Value) -> Value {
    let digest = digest(&body);
    body["metadata"]["annotations"][ANNOTATION_APPLIED] = json!(digest);
    body
}

/// Returns a short hash of a value that is the same in every release.
pub(super) fn digest(value: &Value) -> String {
    let hash = hash(&SHA256, value.to_string().as_bytes());
    Hex(&hash.as_ref()[..8]).to_string()
}
