//! The pods of Identities and everything that belongs to them: a Deployment or StatefulSet, its Service, rights, budget
//! and routes.
//!
//! [`build`] returns the objects that should exist, [`compare`] decides what to do about each existing object, and
//! [`rollout`] reads how far the pods are. When the installation's image changes, [`upgrade`] decides which Identity is
//! next. [`obstacles`] are the namespaces that its servers may not read. These are pure. [`Fleet`] gathers live objects
//! and applies, one request per action; [`store_health`] asks the pods whether they can use their database, and
//! [`mounted`] judges other Secrets that they mount. Not here: writes of Secrets (the pods mount them and follow their
//! changes), connections to a database, and dev mode, which runs no pods.

pub mod build;
mod compare;
mod drive;
mod keeper;
mod mounted;
mod objects;
mod obstacles;
mod pass;
mod quantity;
mod rollout;
mod seen;
mod store_health;
#[cfg(test)]
mod tests;
mod upgrade;
mod volume;

pub use self::keeper::{Fleet, FleetError};
pub use self::objects::Objects;
pub use self::obstacles::ObstacleEvent;
pub use self::pass::FleetOutcome;
pub use self::rollout::{Rollout, RolloutPhase};

use std::collections::BTreeMap;

use crate::directory::ObjectKey;
use crate::resources::ManagedKind;

/// The installation's settings for the pods of all Identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Installation {
    /// The image of Identities that name none.
    pub image: String,
    /// Image repositories that Identities may name, in addition to that of `image`. A closing slash allows all
    /// repositories below; `*` allows any.
    pub allowed_images: Vec<String>,
    /// What else Identities may ask for.
    pub allowed: build::Allowed,
    /// Secrets for pulling images, in each Identity's namespace.
    pub image_pull_secrets: Vec<String>,
    /// The namespaces in which users' objects are watched; empty: all.
    pub namespaces: Vec<String>,
    /// The namespaces in which Identities are accepted; empty: all that are watched.
    pub identity_namespaces: Vec<String>,
    /// The Identity of objects that name none.
    pub default_identity: Option<ObjectKey>,
    /// The `ClusterRole` with the server's rights to read users' objects.
    pub server_cluster_role: String,
    /// Environment variables of the pods, for example where traces go; no secrets.
    pub environment: Vec<(String, String)>,
    /// How the metrics of Identities' pods are collected.
    pub monitors: Monitors,
}

/// The installation's settings for Identities' `ServiceMonitor`s.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Monitors {
    /// Whether the operator creates none.
    pub off: bool,
    /// The labels by which Prometheus selects them.
    pub labels: BTreeMap<String, String>,
    /// The time between scrapes; `None`: the default of Prometheus.
    pub interval: Option<String>,
}

/// An object that the operator creates for an Identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Child {
    /// Its kind.
    pub kind: ManagedKind,
    /// Its namespace; `None` for kinds without one.
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

/// Returns the name of every object of an Identity in its namespace.
pub fn name_of(identity: &ObjectKey) -> String {
    format!("{}-identity", identity.name)
}

/// Returns the name of an Identity's objects outside its namespace.
pub fn global_name_of(identity: &ObjectKey) -> String {
    format!("symbolon:{}:{}", identity.namespace, identity.name)
}
