//! Whose turn it is when the installation changes all Identities' pods at once. Pure.
//!
//! A new image of the operator reaches one Identity, and the next when that one is ready: what does not start stops at
//! the first. What an Identity itself asks for waits for nobody.

use serde_json::{Value, json};

use super::compare::annotation;
use super::name_of;
use super::rollout::is_rolling;
use crate::directory::ObjectKey;
use crate::resources::{
    ANNOTATION_OF_IDENTITY, ANNOTATION_POD_OPTIONS, ANNOTATION_POD_TEMPLATE, ANNOTATION_REPLICAS,
    ANNOTATION_ROLLOUT, API_VERSION,
};

/// The annotation's value on a Deployment that was last rolled out by the installation.
pub(super) const UPGRADE: &str = "upgrade";
/// The same, by its Identity.
pub(super) const SPEC: &str = "spec";
/// On one that was scaled while its newer pods waited: it waits on, although its pods are on their way.
const SCALE: &str = "scale";

/// Why pods are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// They are not.
    Nothing,
    /// There were none, the Identity asks for others, or those that there are do not all work.
    Spec,
    /// The installation alone asks for others.
    Upgrade,
}

/// Why applying `wanted` over `live` replaces pods.
pub(super) fn cause(wanted: &Value, live: Option<&Value>) -> Cause {
    let Some(live) = live else {
        return Cause::Spec;
    };
    let is_same = |key: &str| annotation(wanted, key) == annotation(live, key);
    if is_same(ANNOTATION_POD_TEMPLATE) {
        Cause::Nothing
    } else if is_same(ANNOTATION_POD_OPTIONS) && (!is_rolling(live) || is_scaled(live)) {
        Cause::Upgrade
    } else {
        // One that is not well anyway may be healed by it, and must not keep the others waiting.
        Cause::Spec
    }
}

/// What is noted on a workload about why its pods were last replaced.
pub(super) fn noted(cause: Cause, live: Option<&Value>) -> &str {
    match cause {
        // One that is not well must not keep the others waiting.
        Cause::Upgrade if live.is_some_and(is_rolling) => SPEC,
        Cause::Upgrade => UPGRADE,
        Cause::Spec => SPEC,
        Cause::Nothing => live
            .and_then(|live| annotation(live, ANNOTATION_ROLLOUT))
            .unwrap_or(SPEC),
    }
}

fn is_scaled(live: &Value) -> bool {
    annotation(live, ANNOTATION_ROLLOUT) == Some(SCALE)
}

/// The patch by which a workload gets as many pods as its Identity says, while newer ones wait for their turn; `None`
/// where it has them.
pub(super) fn rescaled(wanted: &Value, live: &Value) -> Option<Value> {
    let replicas = wanted["spec"]["replicas"].as_i64()?;
    if live["spec"]["replicas"] == replicas {
        return None;
    }
    let annotations = json!({
        ANNOTATION_REPLICAS: annotation(wanted, ANNOTATION_REPLICAS),
        ANNOTATION_ROLLOUT: SCALE,
    });
    Some(json!({
        "metadata": {
            "resourceVersion": live["metadata"]["resourceVersion"],
            "annotations": annotations,
        },
        "spec": {"replicas": replicas},
    }))
}

/// The Identities that are being upgraded, other than `own`, each with its uid; as the workloads say that were made of
/// them. Whether there is such an Identity is to be asked: anybody can write a Deployment that says so.
pub(super) fn under_way<'v>(
    workloads: &'v [Value],
    own: &ObjectKey,
) -> impl Iterator<Item = (ObjectKey, &'v str)> {
    workloads.iter().filter_map(|workload| {
        if annotation(workload, ANNOTATION_ROLLOUT) != Some(UPGRADE) || !is_rolling(workload) {
            return None;
        }
        let (namespace, name) = annotation(workload, ANNOTATION_OF_IDENTITY)?.split_once('/')?;
        let identity = ObjectKey::new(namespace, name);
        let metadata = &workload["metadata"];
        let is_named = metadata["namespace"] == namespace && metadata["name"] == name_of(&identity);
        let owners = metadata["ownerReferences"].as_array()?;
        let owner = owners.iter().find(|owner| {
            owner["apiVersion"] == API_VERSION
                && owner["kind"] == "Identity"
                && owner["controller"] == true
        })?;
        let uid = owner["uid"].as_str()?;
        (identity != *own && is_named).then_some((identity, uid))
    })
}
