//! The tables of what is served (Identities, Scopes, OAuthClients, ServiceAccessTokens and Credentials) and every
//! rule about them.
//!
//! Pure: no clock, no randomness, no IO, no Kubernetes client. A change to one object is cheap, and results do
//! not depend on the order of events, because each query computes its joins. The operator, the server and
//! `symbolon check` all ask this module, so that they cannot disagree.

pub mod admit;
mod ages;
mod algorithm;
mod built_in;
pub mod census;
mod change;
mod cidr;
mod claims;
mod counts;
mod desired;
mod diagnose;
mod duration;
mod end;
mod explain;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod imported;
pub mod inherited;
mod intern;
mod issuer;
mod judge;
mod lifetime;
pub mod listed;
pub mod names;
mod namespaces;
mod normal;
mod problem;
pub mod record;
mod revoked;
pub mod schema;
mod seal;
pub mod secret_metadata;
mod secret_names;
mod secret_owners;
mod settings;
pub mod suggest;
mod table;
mod tables;
pub mod template;
#[cfg(any(test, fuzzing))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
pub mod token_size;
mod token_type;
pub mod transition;
mod unwritten;
pub mod usage;
mod verify;
pub mod volume;

use suggest::one_line;

pub use cidr::{Cidr, NoCidr};
pub use counts::{Counts, Named};
pub use desired::{Desired, IssuedClient, RotationRequests, RotationRules, SecretKind, Standing};
pub use duration::parse_duration;
pub use end::{ends, entry_ends};
pub use explain::{Step, Verdict};
pub use judge::{AcceptedClient, GrantedScope, Served, audiences_of, is_audience_of};
pub use lifetime::Lifetime;
pub use namespaces::Labels;
pub use normal::is_normal_audience;
pub use problem::{Class, Problem, Reason, Severity};
pub use record::{CredentialRecord, Object, OwnerRecord};
pub use revoked::{Revocation, is_token_revoked, revocation};
pub use seal::{is_sealed, sealed};
pub use settings::Settings;
pub use tables::{Change, Directory, Row, Sizes};
pub use verify::{ActiveToken, AuthenticatedClient, Refusal, is_revoked};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: std::sync::Arc<str>,
    /// Name of the object.
    pub name: std::sync::Arc<str>,
}

impl ObjectKey {
    /// Returns the key of `namespace/name`.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// Returns the key of an object with this metadata; parts that are missing are empty.
    pub fn of(metadata: &kube::core::ObjectMeta) -> Self {
        Self::new(
            metadata.namespace.as_deref().unwrap_or_default(),
            metadata.name.as_deref().unwrap_or_default(),
        )
    }

    /// Returns whether one of our objects or a Secret can have this key. Check this before a text that others wrote
    /// becomes part of a URL path.
    pub fn is_possible(&self) -> bool {
        schema::is_dns_label(&self.namespace) && schema::is_dns_subdomain(&self.name)
    }
}

impl Ord for ObjectKey {
    /// Compares by namespace, then by name. Tables share one copy of each namespace name, so that its text is rarely
    /// read.
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        let by_namespace = if std::sync::Arc::ptr_eq(&self.namespace, &other.namespace) {
            std::cmp::Ordering::Equal
        } else {
            self.namespace.cmp(&other.namespace)
        };
        by_namespace.then_with(|| self.name.cmp(&other.name))
    }
}

impl PartialOrd for ObjectKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Files can hold names that no API server accepts: characters that would control a terminal are escaped.
impl std::fmt::Display for ObjectKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (namespace, name) = (one_line(&self.namespace), one_line(&self.name));
        write!(out, "{namespace}/{name}")
    }
}
