//! Writes in several forms: if the API server refuses labels or annotations, a leaner form follows. No label holds up a
//! revocation or a rotation.
//!
//! Not here: which forms there are (`inherited`, and the templates of Secrets).

use super::Cluster;
use super::api::ApiError;
use super::secret::SecretObject;

/// Writes the first form that the API server does not refuse. Returns the reply, and the first refusal if there was one.
///
/// # Errors
/// The first refusal if all forms are refused; any other error at once.
pub(in crate::reconcile) async fn write_first<F, T, W>(
    forms: impl IntoIterator<Item = F>,
    write: impl Fn(F) -> W,
) -> Result<(T, Option<ApiError>), ApiError>
where
    W: Future<Output = Result<T, ApiError>>,
{
    let mut refused = None;
    for form in forms {
        match write(form).await {
            // A refused write certainly did not take effect, so the next one may follow.
            Err(error) if error.is_refusal() => drop(refused.get_or_insert(error)),
            written => return Ok((written?, refused)),
        }
    }
    Err(refused.unwrap_or(ApiError::Conflict))
}

/// Creates or replaces a Secret: [`write_first`].
pub(in crate::reconcile) async fn write_secret<C: Cluster>(
    cluster: &C,
    forms: impl IntoIterator<Item = SecretObject>,
    is_new: bool,
) -> Result<(SecretObject, Option<ApiError>), ApiError> {
    let write = |secret: SecretObject| async move {
        if is_new {
            cluster.create_secret(&secret).await
        } else {
            cluster.replace_secret(&secret).await
        }
    };
    write_first(forms, write).await
}
