//! What the records of issued Secrets have in common.

use std::sync::Arc;

use kube::core::ObjectMeta;

use crate::directory::judge::desired::bounded;
use crate::directory::settings::Settings;
use crate::resources::ANNOTATION_ROTATE;

/// Returns a value only in a process that issues: tenants write such values, and they may be large.
pub(super) fn for_issuing<T>(settings: &Settings, value: impl FnOnce() -> Option<T>) -> Option<T> {
    if settings.serves_only { None } else { value() }
}

/// Returns the rotation request in the annotation, shortened because the directory keeps one for every object.
pub(super) fn rotation_request(metadata: &ObjectMeta) -> Option<Arc<str>> {
    annotation(metadata, ANNOTATION_ROTATE).map(|request| bounded(&request).into())
}

/// Returns the value of an annotation.
pub(super) fn annotation(metadata: &ObjectMeta, name: &str) -> Option<Arc<str>> {
    let value = metadata.annotations.as_ref()?.get(name)?;
    Some(value.as_str().into())
}
