//! Whose turn it is when the installation changes all Identities' pods at once. Pure.
//!
//! A new image of the operator reaches one Identity, and the next when that one is ready: what does not start stops at
//! the first. What an Identity itself asks for waits for nobody.

use serde_json::Value;

use super::compare::annotation;
use super::rollout::is_rolling;
use crate::resources::{
    ANNOTATION_OF_IDENTITY, ANNOTATION_POD_OPTIONS, ANNOTATION_POD_TEMPLATE, ANNOTATION_ROLLOUT,
};

/// The annotation's value on a Deployment that was last rolled out by the installation.
pub(super) const UPGRADE: &str = "upgrade";
/// The same, by its Identity.
pub(super) const SPEC: &str = "spec";

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
    } else if is_same(ANNOTATION_POD_OPTIONS) && !is_rolling(live) {
        Cause::Upgrade
    } else {
        // One that is not well anyway may be healed by it, and must not keep the others waiting.
        Cause::Spec
    }
}

/// The Identity that is being upgraded, other than `own`.
pub(super) fn under_way<'v>(deployments: &'v [Value], own: &str) -> Option<&'v str> {
    let other = deployments.iter().find(|deployment| {
        annotation(deployment, ANNOTATION_OF_IDENTITY) != Some(own)
            && annotation(deployment, ANNOTATION_ROLLOUT) == Some(UPGRADE)
            && is_rolling(deployment)
    })?;
    annotation(other, ANNOTATION_OF_IDENTITY)
}
