//! The CAs that the servers of an Identity trust when they call clients, besides those of their image. Pure.
//!
//! The pods mount the Secret with their certificates as a file, and follow its changes.

use serde_json::{Value, json};

use crate::resources::{IdentitySpec, KeyRef, StorageType};

/// The name of the volume.
const VOLUME: &str = "egress";
/// The mount path.
const EGRESS_DIR: &str = "/var/run/symbolon/egress";
/// The file with the certificates.
const CA: &str = "ca.crt";

/// Returns the Secret with the certificates. The servers call clients only to tell them of people.
pub(in super::super) fn wanted(spec: &IdentitySpec) -> Option<&KeyRef> {
    let authorities = spec.network.egress.ca_secret_ref.as_ref();
    authorities.filter(|_| spec.storage.type_ != StorageType::None)
}

/// Returns the server's argument.
pub(super) fn argument(spec: &IdentitySpec) -> Option<String> {
    wanted(spec)?;
    Some(format!("--egress-ca-file={EGRESS_DIR}/{CA}"))
}

/// Returns where the container mounts the volume.
pub(super) fn mount(spec: &IdentitySpec) -> Option<Value> {
    wanted(spec)?;
    Some(json!({"name": VOLUME, "mountPath": EGRESS_DIR, "readOnly": true}))
}

/// Returns the volume. A Secret that is missing must not keep pods from starting: without it only some clients cannot be
/// called.
pub(super) fn volume(spec: &IdentitySpec) -> Option<Value> {
    let of = wanted(spec)?;
    let items = json!([{"key": of.key, "path": CA}]);
    let sources = json!([{"secret": {"name": of.name, "items": items, "optional": true}}]);
    Some(json!({"name": VOLUME, "projected": {"defaultMode": 0o440, "sources": sources}}))
}
