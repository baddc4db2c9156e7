//! The problems of an object whose namespace does not own a name or an audience, or is beyond its quota.

use std::sync::Arc;

use super::served::Served;
use crate::directory::names::{self, NameOwner};
use crate::directory::tables::record::IdentityRecord;
use crate::directory::{ObjectKey, Problem, Reason};

/// Returns the problem of an object that does not own its name; `None` if it does. `what` is the kind of the name.
pub(super) fn not_held<T>(
    owner: &NameOwner<'_, T>,
    key: &ObjectKey,
    path: &str,
    what: &str,
    name: &str,
) -> Option<Problem> {
    let message = match owner {
        NameOwner::Object(owner) if owner.key == *key => return None,
        NameOwner::Object(owner) => {
            format!("{what} {name:?} belongs to {}: choose another", owner.key)
        }
        NameOwner::Contested(namespaces) => {
            format!(
                "{what} {name:?} is granted to several namespaces, and more than one uses it ({}): ask the Identity's administrators to grant it to one",
                namespaces.join(", ")
            )
        }
        NameOwner::Unclaimed => format!("this object does not own the {what} {name:?}"),
    };
    Some(Problem::error(Reason::ValueConflict, path, message))
}

/// Returns a problem for each audience that the namespace does not own. `path` is that of the list.
pub(super) fn audience_problems(
    identity: Served<'_, IdentityRecord>,
    namespace: &str,
    path: &str,
    audiences: &[Arc<str>],
) -> Vec<Problem> {
    let owned = |audience: &str| {
        names::may_use_audience(identity.object, identity.record, namespace, audience)
    };
    let refuse = |(index, audience): (usize, &Arc<str>)| {
        let message = format!(
            "namespace {namespace} does not own the audience {audience:?}: write \"{}/{namespace}\" or below it, or ask the administrators of Identity {} to grant it in spec.access.names",
            identity.record.issuer, identity.object.key
        );
        Problem::error(Reason::NameNotOwned, format!("{path}/{index}"), message)
    };
    audiences
        .iter()
        .enumerate()
        .filter(|(_, audience)| !owned(audience))
        .map(refuse)
        .collect()
}

/// Returns the problem of an object beyond the `limit` of its namespace. `field` is below `spec.limits.perNamespace`.
pub(super) fn quota(
    identity: &ObjectKey,
    namespace: &str,
    kinds: &str,
    limit: usize,
    field: &str,
) -> Problem {
    Problem::error(
        Reason::LimitExceeded,
        "",
        format!(
            "namespace {namespace} has more {kinds} than Identity {identity} serves ({limit}): delete some, or ask its administrators to raise spec.limits.perNamespace.{field}"
        ),
    )
}
