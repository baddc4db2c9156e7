//! What there should be for an Identity: whole objects, from its spec and the installation alone. Pure.

mod allowed;
mod network;
mod options;
mod rights;
mod workload;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest as hash};
use serde_json::{Map, Value, json};

use super::{Child, Installation, name_of};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::{
    ANNOTATION_APPLIED, ANNOTATION_OF_IDENTITY, API_VERSION, Identity, IdentitySpec,
    LABEL_IDENTITY, LABEL_MANAGED, ManagedKind,
};

pub use self::allowed::allowed_repository;
pub use self::options::Allowed;
pub(super) use self::workload::PROGRESS_DEADLINE_SECONDS;
pub use self::workload::{DRAIN_SECONDS, PRE_STOP_SECONDS, Scale, TERMINATION_GRACE_SECONDS};

/// Where the pods answer.
pub(super) const HTTP_PORT: u16 = 8080;
/// Where the pods tell of themselves.
pub(super) const HEALTH_PORT: u16 = 8081;

/// Kinds that only some clusters know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Apis {
    /// The Gateway API.
    pub http_route: bool,
    /// The Prometheus operator's.
    pub service_monitor: bool,
}

/// An object as it should be.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Which.
    pub child: Child,
    /// All of it that is ours to say; a Deployment without its replicas, see [`Scale`].
    pub body: Value,
}

/// Everything that an Identity should have.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// In the order in which they are to be made.
    pub objects: Vec<Wanted>,
    /// Who says how many pods there are.
    pub scale: Scale,
    /// What was asked for and cannot be made, and why: the rest is run without it.
    pub left_out: Option<Problem>,
}

/// Says what there should be for a valid Identity of mode `Deployment`.
///
/// # Errors
/// What keeps it from being run.
pub fn build(identity: &Identity, of: &Installation, apis: Apis) -> Result<Plan, Problem> {
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
    Ok(Plan {
        objects,
        scale,
        left_out,
    })
}

/// The Service of an Identity's pods, if that is its issuer.
pub(super) fn service_of_issuer(key: &ObjectKey, identity: &Identity) -> Option<Child> {
    let issuer = Issuer::parse(&identity.spec.issuer);
    network::is_service(key, &issuer).then(|| Child {
        kind: ManagedKind::Service,
        namespace: Some(key.namespace.to_string()),
        name: name_of(key),
    })
}

/// Every object that an Identity may have had of this installation, wanted or not.
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

/// The Identity that is built for, with what everything needs of it.
pub(super) struct About<'a> {
    pub(super) key: ObjectKey,
    pub(super) uid: &'a str,
    pub(super) spec: &'a IdentitySpec,
    pub(super) of: &'a Installation,
    pub(super) issuer: Issuer,
}

impl<'a> About<'a> {
    fn new(identity: &'a Identity, of: &'a Installation) -> Result<Self, Problem> {
        let metadata = &identity.metadata;
        let key = ObjectKey::of(metadata);
        if !is_service_name(&key.name) {
            return Err(Problem::error(
                Reason::Invalid,
                "/metadata/name",
                "a Service cannot be named after this Identity: give it a name of lower-case letters, digits and '-' that begins with a letter",
            ));
        }
        Ok(Self {
            key,
            uid: metadata.uid.as_deref().unwrap_or_default(),
            issuer: Issuer::parse(&identity.spec.issuer),
            spec: &identity.spec,
            of,
        })
    }

    /// The labels of everything that is made of it.
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

    /// The labels by which its pods are found: they never change.
    pub(super) fn selector(&self) -> BTreeMap<String, String> {
        selector(&self.key)
    }

    /// A child in its own namespace, with the metadata of all.
    pub(super) fn own(&self, kind: ManagedKind, body: Value) -> (Child, Value) {
        self.annotated(kind, &BTreeMap::new(), body)
    }

    /// The same, with annotations that the Identity asks for.
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

    /// An object of which `body` has everything but kind and metadata.
    pub(super) fn object(
        &self,
        child: &Child,
        annotations: &BTreeMap<String, String>,
        body: Value,
    ) -> Value {
        let mut annotations = annotations.clone();
        annotations.insert(ANNOTATION_OF_IDENTITY.to_owned(), self.key.to_string());
        let mut metadata =
            json!({"name": child.name, "labels": self.labels(), "annotations": annotations});
        if let Some(namespace) = &child.namespace {
            metadata["namespace"] = json!(namespace);
            // Owners are of the same namespace.
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

/// The labels by which an Identity's pods are found.
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
pub(super) struct Issuer {
    /// In lower case, without a port.
    pub(super) host: String,
    pub(super) port: Option<u16>,
    /// Without a closing slash: empty for the root.
    pub(super) path: String,
}

impl Issuer {
    /// Of a URL that the Identity's own rules accept.
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

    /// The host, where routes can be made for it: no address, and not this machine.
    pub(super) fn host_name(&self) -> Option<&str> {
        let is_name = self.host.parse::<std::net::Ipv4Addr>().is_err()
            && !self.host.starts_with('[')
            && self.host.contains('.');
        is_name.then_some(&*self.host)
    }
}

/// RFC 1035, as Services are named.
fn is_service_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// Notes on an object what of it is ours, in short.
fn with_digest(mut body: Value) -> Value {
    let digest = digest(&body);
    body["metadata"]["annotations"][ANNOTATION_APPLIED] = json!(digest);
    body
}

/// A short form of a value that is the same in every release.
pub(super) fn digest(value: &Value) -> String {
    let hash = hash(&SHA256, value.to_string().as_bytes());
    let mut text = String::with_capacity(16);
    for byte in &hash.as_ref()[..8] {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}
