//! Namespaces beside an Identity's own in which its servers cannot be given their right to read. They belong to others:
//! whatever is in the way there is no reason not to serve the rest. Pure.

use std::collections::BTreeMap;

use super::{Child, global_name_of};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::ApiError;
use crate::resources::ManagedKind;

/// What is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Obstacle {
    /// The API server refuses the binding.
    Refused,
    /// Somebody else's binding has the name.
    Foreign,
    /// The binding is being deleted, and something holds it.
    Ending,
    /// There is no such namespace.
    Absent,
}

/// The namespaces, each with what is in the way.
pub(super) type Refusals = BTreeMap<String, Obstacle>;

/// What people are told of namespaces with one obstacle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Keeps this event apart from those about other obstacles.
    pub action: &'static str,
    /// The namespaces, what is in the way, and what to do.
    pub note: String,
}

/// Whether an object is the right to read in somebody else's namespace.
pub(super) fn is_elsewhere(child: &Child, identity: &ObjectKey) -> bool {
    let namespace = child.namespace.as_deref();
    child.kind == ManagedKind::RoleBinding
        && namespace.is_some_and(|namespace| namespace != &*identity.namespace)
}

/// What an error means for a binding elsewhere; `None` for one that says nothing about the namespace.
pub(super) const fn obstacle(error: &ApiError) -> Option<Obstacle> {
    match error {
        ApiError::Forbidden(_) | ApiError::Invalid(_) => Some(Obstacle::Refused),
        ApiError::NotFound => Some(Obstacle::Absent),
        _ => None,
    }
}

/// Says of all namespaces what is in the way, in one sentence for each obstacle.
pub(super) fn tell(refusals: &Refusals, identity: &ObjectKey) -> Vec<Refusal> {
    let binding = global_name_of(identity);
    let mut by_obstacle: BTreeMap<Obstacle, Vec<&str>> = BTreeMap::new();
    for (namespace, obstacle) in refusals {
        by_obstacle.entry(*obstacle).or_default().push(namespace);
    }
    let told = by_obstacle.into_iter().map(|(obstacle, namespaces)| {
        let (action, why) = match obstacle {
            Obstacle::Refused => (
                "Refused",
                "the API server refuses to bind the servers' role there. Give the operator its rights there, or take the namespace off the installation's list".to_owned(),
            ),
            Obstacle::Foreign => (
                "Conflict",
                format!("a RoleBinding {binding} that was not made for this Identity is in the way there: delete or rename it"),
            ),
            Obstacle::Ending => (
                "Deleting",
                format!("the RoleBinding {binding} is being deleted there, and its finalizers keep another from being made: have them taken away"),
            ),
            Obstacle::Absent => (
                "NotFound",
                "there is no such namespace. Create it, or take it off the installation's list".to_owned(),
            ),
        };
        let note = format!("nothing of {} is served: {why}", namespaces.join(", "));
        Refusal { action, note }
    });
    told.collect()
}
