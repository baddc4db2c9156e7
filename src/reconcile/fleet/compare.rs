//! What to do about one object: as it is wanted, beside as it stands. Pure.
//!
//! Only what we say is compared: a field, label, container or port of somebody else's stays. Not so in what makes sense
//! only as a whole, as a selector or a right: there another's addition changes what ours means. That what we said before
//! and say no more goes away is the API server's doing, by the field manager.

use serde_json::{Value, json};

use super::build::{Scale, Wanted};
use super::volume::claims_another;
use super::{Child, global_name_of, name_of, quantity};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::{
    ANNOTATION_APPLIED, ANNOTATION_OF_IDENTITY, ANNOTATION_REPLICAS, LABEL_IDENTITY, LABEL_MANAGED,
    ManagedKind,
};

/// Who writes them.
pub(super) const FIELD_MANAGER: &str = "symbolon";

/// What is to be done about a wanted object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// It is as it should be.
    Keep,
    /// Somebody has changed what is ours: apply what was applied before.
    Repair(Value),
    /// Apply this.
    Apply(Value),
    /// What differs cannot be changed: delete it first.
    Replace,
    /// The same of a StatefulSet, whose pod goes on without it meanwhile.
    Release,
    /// One of an Identity of this name that was deleted: it is being collected.
    Wait,
    /// Somebody else's.
    Conflict(Problem),
}

/// Whose an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// The Identity's, or made for it and stripped of its owner, as by a restore.
    Ours,
    /// An Identity's that had this name before.
    Former,
    /// Not ours to touch.
    Other,
}

/// Says what is to be done.
pub(super) fn step(
    wanted: &Wanted,
    scale: Scale,
    live: Option<&Value>,
    identity: &ObjectKey,
    uid: &str,
) -> Step {
    let body = || complete(wanted, scale, live);
    let Some(live) = live else {
        return Step::Apply(body());
    };
    let role = wanted.body["roleRef"]["name"].as_str().unwrap_or_default();
    match owner(live, identity, uid, role) {
        Owner::Former => return Step::Wait,
        Owner::Other => return Step::Conflict(conflict(&wanted.child)),
        Owner::Ours if live["metadata"]["deletionTimestamp"].is_string() => return Step::Wait,
        Owner::Ours => {}
    }
    let is_binding = matches!(
        wanted.child.kind,
        ManagedKind::RoleBinding | ManagedKind::ClusterRoleBinding
    );
    if is_binding && live["roleRef"] != wanted.body["roleRef"] {
        return Step::Replace;
    }
    if wanted.child.kind == ManagedKind::StatefulSet && claims_another(live, &wanted.body) {
        return Step::Release;
    }
    let body = body();
    match annotation(live, ANNOTATION_APPLIED) {
        // Somebody takes our marks away: that is no news of ours, and may go on for ever.
        None => Step::Repair(body),
        applied if applied != annotation(&body, ANNOTATION_APPLIED) => Step::Apply(body),
        _ if covers(live, &body, wanted.child.kind) => Step::Keep,
        _ => Step::Repair(body),
    }
}

/// Whose a live object is. `role` is what the servers' right to read is called.
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

/// Whether a binding is what it should be, whatever its marks say: whoever owns its namespace may have changed those.
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
            "{child} exists and was not made for this Identity: delete or rename it, or give the Identity another name"
        ),
    )
}

pub(super) fn annotation<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    object["metadata"]["annotations"][key].as_str()
}

/// A Deployment with the replicas that are ours to say.
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
    body
}

/// Whether somebody keeps a Deployment from rolling out anything, as `kubectl rollout pause` does. What is false is not
/// stored, so that it is said only where it is needed.
fn is_paused(live: &Value) -> bool {
    live["spec"]["paused"] == true
}

/// `None`: somebody else says how many, and goes on saying it.
fn replicas(scale: Scale, live: Option<&Value>) -> Option<i64> {
    let Some(live) = live else {
        return Some(scale.first());
    };
    let before = annotation(live, ANNOTATION_REPLICAS);
    let is_others = others_scale(live);
    match scale {
        Scale::Fixed(replicas) => Some(replicas),
        // Until the autoscaler has spoken it stays as it is: a field that nobody says would fall to 1.
        Scale::Auto(_) if !is_others || before != Some(scale.as_str()) => {
            live["spec"]["replicas"].as_i64()
        }
        Scale::Unset if !is_others || before != Some(scale.as_str()) => Some(scale.first()),
        Scale::Auto(_) | Scale::Unset => None,
    }
}

/// Whether somebody else has set the replicas, as an autoscaler or `kubectl scale` does.
fn others_scale(live: &Value) -> bool {
    let entries = live["metadata"]["managedFields"].as_array();
    entries.into_iter().flatten().any(|entry| {
        entry["manager"] != FIELD_MANAGER && entry["fieldsV1"]["f:spec"]["f:replicas"].is_object()
    })
}

/// Whether everything that is wanted stands in what is there.
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
                // An empty value may be left out by whoever stores it.
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

/// What means something else as soon as somebody adds to it. The API server stores each as it was written.
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

/// Lists in which others may have items of their own.
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

/// Of a container, or of a claim.
fn is_of_amounts(field: &str) -> bool {
    matches!(field, "requests" | "limits")
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty)
        || value.as_array().is_some_and(Vec::is_empty)
}
