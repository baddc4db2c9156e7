//! The pods of Identities and all that belongs to them: a Deployment or StatefulSet, its Service, rights, budget, routes.
//!
//! [`build`] says what there should be; [`compare`] what to do about each object that there is; [`rollout`] how far
//! the pods are; [`upgrade`] whose turn it is when the installation's image changes; [`refusals`] where else its servers
//! may not read. Those are pure. [`Fleet`] gathers
//! live objects and applies, one request a step. Absent: Secrets (the pods mount them and follow them by
//! themselves), and dev mode, which runs no pods.

pub mod build;
mod compare;
mod keeper;
mod objects;
mod pass;
mod quantity;
mod refusals;
mod rollout;
mod seen;
#[cfg(test)]
mod tests;
mod upgrade;
mod volume;

pub use self::keeper::{Fleet, FleetError};
pub use self::objects::Objects;
pub use self::pass::Passed;
pub use self::refusals::Refusal;
pub use self::rollout::{Phase, Rollout};

use std::collections::BTreeMap;

use crate::directory::ObjectKey;
use crate::resources::ManagedKind;

/// What the installation says of all Identities' pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The image of Identities that name none.
    pub image: String,
    /// Repositories of images that Identities may name besides that of `image`; with a closing slash all below it, `*`
    /// for any.
    pub allowed_images: Vec<String>,
    /// What else they may ask for.
    pub allowed: build::Allowed,
    /// Secrets that images are pulled with; in each Identity's namespace.
    pub image_pull_secrets: Vec<String>,
    /// Where users' objects are watched; empty: everywhere.
    pub namespaces: Vec<String>,
    /// Where Identities are accepted; empty: everywhere that is watched.
    pub identity_namespaces: Vec<String>,
    /// The Identity of objects that name none.
    pub default_identity: Option<ObjectKey>,
    /// The `ClusterRole` with the server's rights to read users' objects.
    pub server_cluster_role: String,
    /// Variables of the pods, such as where traces go; no secrets.
    pub environment: Vec<(String, String)>,
    /// What has the metrics of Identities' pods collected.
    pub monitors: Monitors,
}

/// What an installation says of Identities' `ServiceMonitor`s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitors {
    /// None are made.
    pub off: bool,
    /// What the Prometheus selects them by.
    pub labels: BTreeMap<String, String>,
    /// Between scrapes; `None`: as the Prometheus does it.
    pub interval: Option<String>,
}

/// One object that is made of an Identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Child {
    /// Its kind.
    pub kind: ManagedKind,
    /// Its namespace; `None` for kinds without.
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl std::fmt::Display for Child {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(out, "{} {namespace}/{}", self.kind, self.name),
            None => write!(out, "{} {}", self.kind, self.name),
        }
    }
}

/// The name of everything that is made of an Identity in its namespace.
pub fn name_of(identity: &ObjectKey) -> String {
    format!("{}-identity", identity.name)
}

/// The name of what is made of an Identity elsewhere.
pub fn global_name_of(identity: &ObjectKey) -> String {
    format!("symbolon:{}:{}", identity.namespace, identity.name)
}
