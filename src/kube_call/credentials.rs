//! Whether the tokens of a kubeconfig can be sent. kube panics on a token that a header cannot contain, or fails at
//! every request.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;

use http::header::HeaderValue;
use kube::config::AuthInfo;
use secrecy::ExposeSecret as _;

use super::fault::KubeFault;
use super::path::shown;

/// The fields of an `auth-provider` that contain a token.
const PROVIDED: [&str; 2] = ["id-token", "access-token"];

/// Refuses a user of a kubeconfig whose token cannot be sent.
///
/// # Errors
/// [`KubeFault`] that names the field, never its value.
pub(super) fn check(user: &AuthInfo) -> Result<(), KubeFault> {
    if let Some(token) = &user.token {
        sendable(token.expose_secret(), || {
            "users[].user.token in the kubeconfig".to_owned()
        })?;
    }
    for name in PROVIDED {
        let provider = user.auth_provider.as_ref();
        if let Some(token) = provider.and_then(|provider| provider.config.get(name)) {
            sendable(token, || {
                format!("users[].user.auth-provider.config.{name} in the kubeconfig")
            })?;
        }
    }
    // kube reads the file again every minute. A file that cannot be read is reported when the client is built.
    if user.token.is_none()
        && let Some(path) = &user.token_file
        && let Ok(token) = std::fs::read_to_string(path)
    {
        sendable(&token, || {
            format!("the tokenFile {} of the kubeconfig", shown(Path::new(path)))
        })?;
    }
    Ok(())
}

/// Turns kube's panic on a token that an exec plugin returned without an expiry into an error. No check can be made
/// before, since kube runs the plugin and sends its token in one step. `telemetry` does not log this panic.
///
/// # Errors
/// [`KubeFault`] of `build`, or for such a token.
pub(super) fn caught<T>(build: impl FnOnce() -> Result<T, KubeFault>) -> Result<T, KubeFault> {
    catch_unwind(AssertUnwindSafe(build)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>();
        if text.is_some_and(|text| text.contains("InvalidHeaderValue")) {
            Err(KubeFault::stated(
                "the token of the kubeconfig's exec plugin contains a line break or another character that a header cannot contain: run the plugin by hand to see its output",
            ))
        } else {
            resume_unwind(panic)
        }
    })
}

fn sendable(token: &str, field: impl FnOnce() -> String) -> Result<(), KubeFault> {
    if HeaderValue::from_str(token).is_ok() {
        return Ok(());
    }
    Err(KubeFault::stated(format!(
        "{} contains a line break or another character that a header cannot contain: write the token alone, without a line break at its end",
        field()
    )))
}
