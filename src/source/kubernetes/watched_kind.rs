//! The kinds of watched objects: their URL, and the changes that their objects mean.

use std::sync::Arc;

use kube::core::Request;
use kube::core::params::{GetParams, ListParams, WatchParams};
use serde_json::Value;

use super::raw::Raw;
use super::{SecretSeen, WatchChange};
use crate::directory::issued::usage::credential_of;
use crate::directory::schema::{is_dns_label, is_dns_subdomain};
use crate::directory::{Change, Labels, ObjectKey, Settings};
use crate::json_stream::Keep;
use crate::resources::{
    ANNOTATION_OF_IDENTITY, API_VERSION, Kind, LABEL_CLIENT, LABEL_MANAGED, ManagedKind,
    ManagedSeen, OwnerKind,
};
use crate::tokens::MacKey;

/// A kind of objects that can be watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WatchedKind {
    /// The objects of one of our kinds.
    Kind(Kind),
    /// Namespaces, for their labels.
    Namespaces,
    /// Secrets with the label of the operator: only their metadata.
    ManagedSecrets,
    /// Imported Secrets, by the label that names their client: only their metadata.
    ImportedSecrets,
    /// Objects of one kind that the operator created for Identities: only their metadata.
    Managed(ManagedKind),
}

impl WatchedKind {
    /// Returns the plural that URLs use.
    pub(super) const fn plural(self) -> &'static str {
        match self {
            Self::Kind(kind) => kind.plural(),
            Self::Namespaces => "namespaces",
            Self::ManagedSecrets | Self::ImportedSecrets => "secrets",
            Self::Managed(kind) => kind.plural(),
        }
    }

    fn request(self, namespace: Option<&str>) -> Request {
        let plural = self.plural();
        Request::new(match (self, namespace) {
            (Self::Namespaces, _) => "/api/v1/namespaces".to_owned(),
            (Self::ManagedSecrets | Self::ImportedSecrets, None) => "/api/v1/secrets".to_owned(),
            (Self::ManagedSecrets | Self::ImportedSecrets, Some(namespace)) => {
                format!("/api/v1/namespaces/{namespace}/secrets")
            }
            (Self::Managed(kind), namespace) => kind.path(namespace),
            (Self::Kind(_), None) => format!("/apis/{API_VERSION}/{plural}"),
            (Self::Kind(_), Some(namespace)) => {
                format!("/apis/{API_VERSION}/namespaces/{namespace}/{plural}")
            }
        })
    }

    fn label_selector(self) -> Option<String> {
        match self {
            Self::Kind(_) | Self::Namespaces => None,
            Self::Managed(_) => Some(ManagedKind::label_selector()),
            Self::ManagedSecrets => Some(format!("{LABEL_MANAGED}=true")),
            Self::ImportedSecrets => Some(LABEL_CLIENT.to_owned()),
        }
    }

    /// Returns which parts of its objects are kept.
    pub(super) const fn keep(self) -> Keep {
        match self {
            Self::Kind(_) => Keep::SPEC,
            Self::Namespaces => Keep::LABELS,
            Self::ManagedSecrets | Self::ImportedSecrets | Self::Managed(_) => Keep::METADATA,
        }
    }

    /// Returns a request that replaces the list if there is only one object: a Namespace that is watched alone.
    pub(super) fn alone(
        self,
        namespace: Option<&str>,
    ) -> Option<Result<http::Request<Vec<u8>>, kube::core::request::Error>> {
        let name = namespace.filter(|_| self == Self::Namespaces)?;
        Some(self.request(None).get_metadata(name, &GetParams::default()))
    }

    /// Returns the request for one object.
    pub(super) fn one(
        self,
        key: &ObjectKey,
    ) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
        let at = self.request(Some(&key.namespace));
        at.get(&key.name, &GetParams::default())
    }

    /// Returns the request for a page of a list.
    pub(super) fn list(
        self,
        namespace: Option<&str>,
        page: u32,
        from: Option<String>,
    ) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
        let params = ListParams {
            label_selector: self.label_selector(),
            limit: Some(page),
            continue_token: from,
            ..ListParams::default()
        };
        match self {
            Self::Kind(_) => self.request(namespace).list(&params),
            _ => self.request(namespace).list_metadata(&params),
        }
    }

    /// Returns the request for a watch from `version` on. Without one, the watch begins with all objects of the newest
    /// state.
    pub(super) fn watch(
        self,
        namespace: Option<&str>,
        seconds: u32,
        version: Option<&str>,
    ) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
        let params = WatchParams {
            label_selector: self.label_selector(),
            field_selector: None,
            timeout: Some(seconds),
            bookmarks: true,
            send_initial_events: version.is_none(),
        };
        // An empty version requests the newest state. "0" would accept any old state.
        let version = version.unwrap_or_default();
        match self {
            // With this older URL a Role in the namespace suffices. A field selector would make it a request for all
            // namespaces.
            Self::Namespaces if let Some(name) = namespace => {
                Request::new(format!("/api/v1/watch/namespaces/{name}"))
                    .watch_metadata(&params, version)
            }
            Self::Kind(_) => self.request(namespace).watch(&params, version),
            _ => self.request(namespace).watch_metadata(&params, version),
        }
    }

    /// Returns the change of a created or changed object; `None` if it has no usable metadata.
    pub(super) fn applied(
        self,
        raw: Raw,
        settings: &Settings,
        key: Option<&MacKey>,
    ) -> Option<WatchChange> {
        let change = match self {
            Self::Namespaces => Change::Namespace(raw.metadata("name").into(), labels(&raw.0)),
            Self::ManagedSecrets => return Some(WatchChange::Secret(secret(&raw, false))),
            Self::ImportedSecrets => return Some(WatchChange::Secret(imported(&raw, false))),
            Self::Managed(kind) => return Some(WatchChange::Managed(managed(kind, &raw))),
            Self::Kind(Kind::Credential) => {
                let version = raw.metadata("resourceVersion").into();
                let is_deleting = raw.0["metadata"]["deletionTimestamp"].is_string();
                let place = object_key(&raw);
                let change = if is_deleting {
                    Change::Delete(Kind::Credential, place)
                } else {
                    let credential = credential_of(raw.0).ok()?;
                    Change::credential(&credential, key)?
                };
                return Some(WatchChange::Object { change, version });
            }
            Self::Kind(kind) => Change::object(kind, &raw.0, settings)?,
        };
        let version = raw.metadata("resourceVersion").into();
        Some(WatchChange::Object { change, version })
    }

    /// Returns the change of a deleted object.
    pub(super) fn deleted(self, raw: &Raw) -> WatchChange {
        match self {
            Self::ManagedSecrets => WatchChange::Secret(secret(raw, true)),
            Self::ImportedSecrets => WatchChange::Secret(imported(raw, true)),
            Self::Managed(kind) => WatchChange::Managed(ManagedSeen {
                version: None,
                ..managed(kind, raw)
            }),
            _ => self.gone(&object_key(raw)),
        }
    }

    /// Returns the change of an object that a new list no longer contains.
    pub(super) fn gone(self, key: &ObjectKey) -> WatchChange {
        let change = match self {
            Self::Namespaces => Change::NamespaceGone(key.name.clone()),
            Self::Kind(kind) => Change::Delete(kind, key.clone()),
            Self::Managed(kind) => {
                return WatchChange::Managed(ManagedSeen {
                    kind,
                    namespace: Some(&*key.namespace)
                        .filter(|namespace| !namespace.is_empty())
                        .map(Into::into),
                    name: (&*key.name).into(),
                    version: None,
                    identity: None,
                });
            }
            Self::ManagedSecrets | Self::ImportedSecrets => {
                return WatchChange::Secret(SecretSeen {
                    key: key.clone(),
                    version: Box::default(),
                    controller: None,
                    gone: true,
                });
            }
        };
        WatchChange::Object {
            change,
            version: Box::default(),
        }
    }
}

/// Returns the namespace and name of an object. The namespace is empty for Namespaces.
pub(super) fn object_key(raw: &Raw) -> ObjectKey {
    ObjectKey::new(raw.metadata("namespace"), raw.metadata("name"))
}

fn labels(namespace: &Value) -> Labels {
    let labels = namespace["metadata"]["labels"].as_object();
    labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((Arc::from(key.as_str()), Arc::from(value.as_str()?))))
        .collect()
}

/// Reads an object of an Identity. A tenant may write label, annotation and name. So the annotation counts only if it
/// can be an Identity's name and if the operator uses such object names.
fn managed(kind: ManagedKind, raw: &Raw) -> ManagedSeen {
    let text = |value: &Value| value.as_str().map(Into::into);
    let metadata = &raw.0["metadata"];
    let name = raw.metadata("name");
    let identity = metadata["annotations"][ANNOTATION_OF_IDENTITY].as_str();
    let identity = identity.filter(|identity| {
        let parts = identity.split_once('/');
        let is_possible = parts
            .is_some_and(|(namespace, name)| is_dns_label(namespace) && is_dns_subdomain(name));
        is_possible && ManagedKind::is_name(name)
    });
    ManagedSeen {
        kind,
        namespace: text(&metadata["namespace"]),
        name: name.into(),
        version: text(&metadata["resourceVersion"]),
        identity: identity.map(Into::into),
    }
}

/// Reads a Secret. A tenant may write its label and its owner references, so a controller counts only if it can be an
/// owner of Secrets.
fn secret(raw: &Raw, gone: bool) -> SecretSeen {
    let references = raw.0["metadata"]["ownerReferences"].as_array();
    let mut references = references.into_iter().flatten();
    let ours = references.find(|reference| {
        reference["apiVersion"] == API_VERSION && reference["controller"] == true
    });
    let controller = ours.and_then(|reference| {
        let kind = OwnerKind::from_name(reference["kind"].as_str()?)?;
        Some((kind, owner_name(&reference["name"])?))
    });
    SecretSeen {
        key: object_key(raw),
        version: raw.metadata("resourceVersion").into(),
        controller,
        gone,
    }
}

/// Reads an imported Secret. It has no controller of ours: it belongs to the client that its label names.
fn imported(raw: &Raw, gone: bool) -> SecretSeen {
    let client = owner_name(&raw.0["metadata"]["labels"][LABEL_CLIENT]);
    SecretSeen {
        controller: client.map(|name| (OwnerKind::OAuthClient, name)),
        ..secret(raw, gone)
    }
}

fn owner_name(value: &Value) -> Option<Box<str>> {
    value
        .as_str()
        .filter(|name| is_dns_subdomain(name))
        .map(Into::into)
}
