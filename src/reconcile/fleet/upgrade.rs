//! The order of upgrades when the installation changes all Identities' pods at once. Pure.
//!
//! A new image of the operator reaches one Identity, and the next one when that is ready. If a version does not start,
//! the upgrade stops at the first Identity. Changes by an Identity's own spec do not wait.

use serde_json::{Value, json};

use super::compare::annotation;
use super::name_of;
use super::rollout::is_rolling;
use crate::directory::ObjectKey;
use crate::resources::{
    ANNOTATION_OF_IDENTITY, ANNOTATION_POD_OPTIONS, ANNOTATION_POD_TEMPLATE, ANNOTATION_REPLICAS,
    ANNOTATION_ROLLOUT, API_VERSION,
};

/// The value of the rollout annotation after the installation caused the last rollout.
pub(super) const UPGRADE: &str = "upgrade";
/// The value after the Identity's spec caused it.
pub(super) const SPEC: &str = "spec";
/// The value after a change of `replicas` during which newer pods waited. The upgrade still waits, although pods start.
const SCALE: &str = "scale";

/// Why pods are to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpgradeCause {
    /// They are not to be replaced.
    Nothing,
    /// There were none, the spec of the Identity changed, or not all existing ones work.
    Spec,
    /// Only the installation changed.
    Upgrade,
}

/// Returns why applying `wanted` over `live` replaces pods.
pub(super) fn cause(wanted: &Value, live: Option<&Value>) -> UpgradeCause {
    let Some(live) = live else {
        return UpgradeCause::Spec;
    };
    let is_same = |key: &str| annotation(wanted, key) == annotation(live, key);
    if is_same(ANNOTATION_POD_TEMPLATE) {
        UpgradeCause::Nothing
    } else if is_same(ANNOTATION_POD_OPTIONS) && (!is_rolling(live) || is_scaled(live)) {
        UpgradeCause::Upgrade
    } else {
        // New pods may repair a workload that is not ready, and it must not block other upgrades.
        UpgradeCause::Spec
    }
}

/// Returns the value of the rollout annotation for a workload.
pub(super) fn noted(cause: UpgradeCause, live: Option<&Value>) -> &str {
    match cause {
        // A workload that is not ready must not block other upgrades.
        UpgradeCause::Upgrade if live.is_some_and(is_rolling) => SPEC,
        UpgradeCause::Upgrade => UPGRADE,
        UpgradeCause::Spec => SPEC,
        UpgradeCause::Nothing => live
            .and_then(|live| annotation(live, ANNOTATION_ROLLOUT))
            .unwrap_or(SPEC),
    }
}

fn is_scaled(live: &Value) -> bool {
    annotation(live, ANNOTATION_ROLLOUT) == Some(SCALE)
}

/// Returns the patch that scales a workload to the Identity's replicas while newer pods wait for their turn; `None` if
/// it has them already.
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

/// Returns the Identities that are being upgraded, other than `own`, each with its uid, according to their workloads.
/// The caller must check that each Identity exists, because anyone can write a Deployment that claims this.
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
