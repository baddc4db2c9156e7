//! What is wrong with a Secret that the pods mount, since the pods themselves do not show it. Pure.

use crate::directory::{Problem, Reason};
use crate::keys;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::KeyRef;

/// Returns the problem of a missing certificate. Pods that mount it wait without an error in their status.
pub(super) fn missing_certificate(name: &str, found: Option<&SecretObject>) -> Option<Problem> {
    let why = match found {
        None => "does not exist".to_owned(),
        Some(secret) => {
            let missing = ["tls.crt", "tls.key"]
                .into_iter()
                .find(|key| !secret.has_text(key))?;
            format!("has no {missing}")
        }
    };
    let message = format!(
        "the Secret {name} of spec.network.tls.secretRef {why}, and no new pod starts without this certificate: create it with the type kubernetes.io/tls, as cert-manager does, or correct spec.network.tls.secretRef"
    );
    let path = "/spec/network/tls/secretRef/name";
    Some(Problem::error(Reason::SecretNotFound, path, message))
}

/// Returns the problem of CAs that cannot be read. Pods run without them, and trust only the CAs of their image.
pub(super) fn unusable_authorities(of: &KeyRef, found: Option<&SecretObject>) -> Option<Problem> {
    const FIELD: &str = "spec.network.egress.caSecretRef";
    const EFFECT: &str = "so clients with certificates of these CAs are not told of sign-outs";
    let KeyRef { name, key } = of;
    let (reason, message) = match found.map(|secret| secret.bytes(key)) {
        Some(Some(pem)) => {
            let error = keys::authorities(&pem).err()?;
            let message = format!(
                "the key {key} of the Secret {name} of {FIELD} cannot be used, {EFFECT}: {error}; write the certificates of the CAs in PEM"
            );
            (Reason::Invalid, message)
        }
        lacking => {
            let why = match lacking {
                None => "does not exist".to_owned(),
                Some(_) => format!("has no {key}"),
            };
            let message = format!(
                "the Secret {name} of {FIELD} {why}, {EFFECT}: create it, or correct {FIELD}"
            );
            (Reason::SecretNotFound, message)
        }
    };
    let path = "/spec/network/egress/caSecretRef";
    Some(Problem::error(reason, path, message))
}
