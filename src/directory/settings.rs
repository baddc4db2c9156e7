//! The settings of the installation, as far as rules read them.

use std::sync::Arc;

use super::ObjectKey;
use super::template::secret_metadata::InstallationMetadata;

/// Settings of the installation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whether an admission policy writes and guards the annotation with the user that created a ServiceAccessToken.
    pub stamped_creators: bool,
    /// Identity of objects that name none.
    pub default_identity: Option<ObjectKey>,
    /// Namespaces in which Identities are accepted; earlier ones win a conflict about an issuer. Empty: all.
    pub identity_namespaces: Vec<String>,
    /// Whether this process issues nothing. It then keeps nothing that only issuing reads.
    pub serves_only: bool,
    /// Labels and annotations that templates may set, whatever their Identity allows.
    pub secret_metadata: Arc<InstallationMetadata>,
    /// Labels and annotations that objects may inherit, whatever their Identity asks for.
    pub inherited_metadata: Arc<InstallationMetadata>,
}

impl Settings {
    /// Returns whether Identities in this namespace are accepted.
    pub fn accepts_identities_of(&self, namespace: &str) -> bool {
        let accepted = &self.identity_namespaces;
        accepted.is_empty() || accepted.iter().any(|name| name == namespace)
    }
}
