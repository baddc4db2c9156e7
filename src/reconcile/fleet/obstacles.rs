//! Namespaces, other than the Identity's own, in which its servers cannot get their right to read. These belong to
//! other tenants, and no obstacle there may stop the rest from being served. Pure.

use std::collections::BTreeMap;

use super::{Child, global_name_of};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::api::ApiError;
use crate::resources::ManagedKind;

/// Why the servers cannot get their right.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum BindingObstacle {
    /// The API server refuses the binding.
    Refused,
    /// A `RoleBinding` of someone else has the name.
    Foreign,
    /// The binding is being deleted, and finalizers block that.
    Ending,
    /// The namespace does not exist.
    Absent,
}

/// The namespaces, each with its obstacle.
pub(super) type Obstacles = BTreeMap<String, BindingObstacle>;

/// An event that lists all namespaces with the same obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObstacleEvent {
    /// The event's action, which keeps it apart from events about other obstacles.
    pub action: &'static str,
    /// The namespaces, the obstacle, and what to do.
    pub note: String,
}

/// Whether an object is the right to read in another namespace.
pub(super) fn is_elsewhere(child: &Child, identity: &ObjectKey) -> bool {
    let namespace = child.namespace.as_deref();
    child.kind == ManagedKind::RoleBinding
        && namespace.is_some_and(|namespace| namespace != &*identity.namespace)
}

/// Returns what an error means for a binding in another namespace; `None` if it says nothing about the namespace.
pub(super) const fn obstacle(error: &ApiError) -> Option<BindingObstacle> {
    match error {
        ApiError::Forbidden(_) | ApiError::Invalid(_) => Some(BindingObstacle::Refused),
        ApiError::NotFound => Some(BindingObstacle::Absent),
        _ => None,
    }
}

/// Returns one event per obstacle.
pub(super) fn tell(obstacles: &Obstacles, identity: &ObjectKey) -> Vec<ObstacleEvent> {
    let binding = global_name_of(identity);
    let mut by_obstacle: BTreeMap<BindingObstacle, Vec<&str>> = BTreeMap::new();
    for (namespace, obstacle) in obstacles {
        by_obstacle.entry(*obstacle).or_default().push(namespace);
    }
    let told = by_obstacle.into_iter().map(|(obstacle, namespaces)| {
        let (action, why) = match obstacle {
            BindingObstacle::Refused => (
                "Refused",
                "the API server refuses to bind the servers' role there. Give the operator its rights there, or remove the namespaces from the installation's list".to_owned(),
            ),
            BindingObstacle::Foreign => (
                "Conflict",
                format!("a RoleBinding {binding} exists there that was not created for this Identity. Delete or rename it"),
            ),
            BindingObstacle::Ending => (
                "Deleting",
                format!("the RoleBinding {binding} is being deleted there, and its finalizers block a new one. Remove them"),
            ),
            BindingObstacle::Absent => (
                "NotFound",
                "the namespace does not exist. Create it, or remove it from the installation's list".to_owned(),
            ),
        };
        let note = format!("Nothing in {} is served: {why}.", namespaces.join(", "));
        ObstacleEvent { action, note }
    });
    told.collect()
}
