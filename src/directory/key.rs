//! The key of an object: its namespace and its name.

use std::sync::Arc;

use super::problem::suggest::one_line;
use super::schema;

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// Namespace of the object.
    pub namespace: Arc<str>,
    /// Name of the object.
    pub name: Arc<str>,
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
        let by_namespace = if Arc::ptr_eq(&self.namespace, &other.namespace) {
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
