//! Compares one wanted object with the live one and decides what to do. Pure.
//!
//! Only the operator's own fields are compared: fields, labels, containers or ports of others stay. The exceptions are
//! fields that have a meaning only as a whole, such as a selector or a right: an addition by others changes what they
//! mean. The API server removes fields that the operator applied before and no longer applies, by the field manager.

use serde_json::{Value, json};

use super::build::{Scale, Wanted};
use super::volume::{claims_another, keep_template_metadata};
use super::{Child, global_name_of, name_of, quantity};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::{
    ANNOTATION_APPLIED, ANNOTATION_OF_IDENTITY, ANNOTATION_REPLICAS, FIELD_MANAGER, LABEL_IDENTITY,
    LABEL_MANAGED, ManagedKind,
};

/// What to do about a wanted object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ObjectAction {
    /// It is as it should be.
    Keep,
    /// Someone else changed the operator's fields: apply the same again.
    Repair(Value),
    /// Apply this.
    Apply(Value),
    /// The difference is in an immutable field: delete the object first.
    Replace,
    /// The same for a StatefulSet, whose pod stays meanwhile.
    Release,
    /// The object belongs to a deleted Identity of this name, or is being deleted: wait.
    Wait,
    /// The object belongs to someone else.
    Conflict(Problem),
}

/// Who an object belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The Identity. It may lack its owner reference, as after a restore.
    Ours,
    /// An earlier Identity of this name.
    Former,
    /// Someone else: the operator must not change it.
    Other,
}

/// Decides what to do about an object.
pub(super) fn action(
    wanted: &Wanted,
    scale: Scale,
    live: Option<&Value>,
    identity: &ObjectKey,
    uid: &str,
) -> ObjectAction {
    let body = || complete(wanted, scale, live);
    let Some(live) = live else {
        return ObjectAction::Apply(body());
    };
    let role = wanted.body["roleRef"]["name"].as_str().unwrap_or_default();
    match owner(live, identity, uid, role) {
        Owner::Former => return ObjectAction::Wait,
        Owner::Other => return ObjectAction::Conflict(conflict(&wanted.child)),
        Owner::Ours if live["metadata"]["deletionTimestamp"].is_string() => {
            return ObjectAction::Wait;
        }
        Owner::Ours => {}
    }
    let is_binding = matches!(
        wanted.child.kind,
        ManagedKind::RoleBinding | ManagedKind::ClusterRoleBinding
    );
    if is_binding && live["roleRef"] != wanted.body["roleRef"] {
        return ObjectAction::Replace;
    }
    if wanted.child.kind == ManagedKind::StatefulSet && claims_another(live, &wanted.body) {
        return ObjectAction::Release;
    }
    let body = body();
    match annotation(live, ANNOTATION_APPLIED) {
        // Someone removed the operator's annotation. That may repeat without end, so it counts as a repair.
        None => ObjectAction::Repair(body),
        applied if applied != annotation(&body, ANNOTATION_APPLIED) => ObjectAction::Apply(body),
        _ if covers(live, &body, wanted.child.kind) => ObjectAction::Keep,
        _ => ObjectAction::Repair(body),
    }
}

/// Returns who a live object belongs to. `role` is the name of the servers' `ClusterRole`.
pub(super) fn owner(live: &Value, identity: &ObjectKey, uid: &str, role: &str) -> Owner {
    if is_right_to_read(live, identity, role) {
        return Owner::Ours;
    }
    let metadata = &live["metadata"];
    let references = metadata["ownerReferences"].as_array();
    let controller = references
        .into_iter()
        .flatten()
        .find(|reference| reference["controller"] == true);
    if let Some(controller) = controller {
        let is_identity = controller["kind"] == "Identity" && controller["name"] == *identity.name;
        return match controller["uid"] == uid {
            true => Owner::Ours,
            false if is_identity => Owner::Former,
            false => Owner::Other,
        };
    }
    let labels = &metadata["labels"];
    let is_made_for_it = labels[LABEL_MANAGED] == "true"
        && labels[LABEL_IDENTITY] == *identity.name
        && annotation(live, ANNOTATION_OF_IDENTITY) == Some(&identity.to_string());
    if is_made_for_it {
        Owner::Ours
    } else {
        Owner::Other
    }
}

/// Whether a binding gives the wanted right, regardless of its labels and annotations: the tenant of its namespace may
/// have changed those.
fn is_right_to_read(live: &Value, identity: &ObjectKey, role: &str) -> bool {
    let subject = json!({
        "kind": "ServiceAccount", "name": name_of(identity), "namespace": *identity.namespace,
    });
    live["metadata"]["name"] == global_name_of(identity)
        && live["roleRef"]["kind"] == "ClusterRole"
        && live["roleRef"]["name"] == role
        && live["subjects"] == json!([subject])
}

fn conflict(child: &Child) -> Problem {
    Problem::error(
        Reason::ValueConflict,
        "/metadata/name",
        format!(
            "{child} already exists and was not created for this Identity: delete or rename it, or give the Identity another name"
        ),
    )
}

pub(super) fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object["metadata"]["annotations"][key].as_str()
}

/// Returns the body to apply; of a Deployment, with replicas if the operator sets them.
fn complete(wanted: &Wanted, scale: Scale, live: Option<&Value>) -> Value {
    let mut body = wanted.body.clone();
    if wanted.child.kind == ManagedKind::Deployment {
        if let Some(replicas) = replicas(scale, live) {
            body["spec"]["replicas"] = json!(replicas);
        }
        if live.is_some_and(is_paused) {
            body["spec"]["paused"] = json!(false);
        }
    }
    if let Some(live) = live.filter(|_| wanted.child.kind == ManagedKind::StatefulSet) {
        keep_template_metadata(&mut body, live);
    }
    body
}

/// Whether someone paused the rollout of a Deployment, as `kubectl rollout pause` does. The API server does not store
/// `false`, so the field is applied only where it is needed.
fn is_paused(live: &Value) -> bool {
    live["spec"]["paused"] == true
}

/// Returns the replicas to apply; `None` if someone else sets them and continues to.
fn replicas(scale: Scale, live: Option<&Value>) -> Option<i64> {
    let Some(live) = live else {
        return Some(scale.first());
    };
    let before = annotation(live, ANNOTATION_REPLICAS);
    let is_others = others_scale(live);
    match scale {
        Scale::Fixed(replicas) => Some(replicas),
        // Until the autoscaler sets the replicas, the operator keeps them: a field that no one applies would fall to 1.
        Scale::Auto(_) if !is_others || before != Some(scale.as_str()) => {
            live["spec"]["replicas"].as_i64()
        }
        Scale::Unset if !is_others || before != Some(scale.as_str()) => Some(scale.first()),
        Scale::Auto(_) | Scale::Unset => None,
    }
}

/// Whether someone else set the replicas, as an autoscaler or `kubectl scale` does.
fn others_scale(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().any(|entry| {
        entry["manager"] != FIELD_MANAGER && entry["fieldsV1"]["f:spec"]["f:replicas"].is_object()
    })
}

/// Whether the live object contains everything that is wanted.
fn covers(live: &Value, wanted: &Value, kind: ManagedKind) -> bool {
    let is_held = kind == ManagedKind::Deployment && is_paused(live);
    !is_held && within(live, wanted, "", kind, false)
}

fn within(live: &Value, wanted: &Value, field: &str, kind: ManagedKind, is_whole: bool) -> bool {
    let is_whole = is_whole || makes_sense_whole(field, kind);
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) if is_of_amounts(field) => {
            let is_there = |name, amount| {
                let live: Option<&Value> = live.get(name);
                live.is_some_and(|live| quantity::is_same(live, amount))
            };
            wanted.iter().all(|(name, amount)| is_there(name, amount))
        }
        (Value::Object(live), Value::Object(wanted)) => {
            let is_added =
                |(name, value): (&String, &Value)| !wanted.contains_key(name) && !is_empty(value);
            let is_there = |(name, value): (&String, &Value)| {
                let live = live.get(name).unwrap_or(&Value::Null);
                // The API server may omit an empty value.
                (live.is_null() && is_empty(value)) || within(live, value, name, kind, is_whole)
            };
            wanted.iter().all(is_there) && !(is_whole && live.iter().any(is_added))
        }
        (Value::Array(live), Value::Array(wanted)) if is_shared(field, kind) => wanted
            .iter()
            .all(|item| live.iter().any(|live| within(live, item, "", kind, false))),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, item)| within(live, item, "", kind, is_whole))
        }
        _ => live == wanted,
    }
}

/// Whether additions by others change the meaning of the field. The API server stores each as it was written.
fn makes_sense_whole(field: &str, kind: ManagedKind) -> bool {
    match field {
        "selector" => matches!(
            kind,
            ManagedKind::Service | ManagedKind::PodDisruptionBudget
        ),
        "podSelector" | "ingress" => kind == ManagedKind::NetworkPolicy,
        "rules" => matches!(kind, ManagedKind::Role | ManagedKind::Ingress),
        "subjects" | "roleRef" => matches!(
            kind,
            ManagedKind::RoleBinding | ManagedKind::ClusterRoleBinding
        ),
        "nodeSelector" => kind.is_workload(),
        _ => false,
    }
}

/// Whether others may add items to the list.
fn is_shared(field: &str, kind: ManagedKind) -> bool {
    match field {
        "ownerReferences" => true,
        "containers" | "volumes" | "env" | "volumeMounts" | "imagePullSecrets" => {
            kind.is_workload()
        }
        "ports" => kind.is_workload() || kind == ManagedKind::Service,
        _ => false,
    }
}

/// Whether the field holds the quantities of a container or of a claim.
fn is_of_amounts(field: &str) -> bool {
    matches!(field, "requests" | "limits")
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}
