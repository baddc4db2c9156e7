//! The store of people, as endpoints for programs use it.

use std::future::Future;
use std::sync::Arc;

use tracing::Instrument as _;

use crate::oauth::Refusal;
use crate::server::admission::Admitted;
use crate::server::people::People;
use crate::server::request::Call;
use crate::store::StoreError;

/// Returns what people need, for the caller of a request.
///
/// # Errors
/// [`Refusal::Unavailable`] while people cannot be served.
pub fn people(call: &Call) -> Result<Arc<People>, Refusal> {
    let people = call.app.people().filter(|people| people.is_served());
    let people = people.ok_or(Refusal::Unavailable)?;
    Ok(Arc::new(people.for_caller(call.peer)))
}

/// Counts and logs a fault of the store. The caller is told to try again.
pub fn unavailable(call: &Call, error: &StoreError) -> Refusal {
    call.app.metrics().store_failed(error.fault());
    if call.app.noise().refusal(call.peer, "") {
        tracing::warn!(%error, "the store of people failed, the caller is told to try again");
    }
    Refusal::Unavailable
}

/// Carries out work in a task of its own: a caller that leaves cannot prevent what follows from a commit, such as its
/// audit event and what clients are told. Until the work ends, the request counts in the share of its caller.
///
/// # Errors
/// [`Refusal::Unavailable`] if the task ended early.
pub async fn carry_out<T: Send + 'static>(
    admitted: Option<Arc<Admitted>>,
    work: impl Future<Output = T> + Send + 'static,
) -> Result<T, Refusal> {
    let counted = async move {
        let done = work.await;
        drop(admitted);
        done
    };
    let task = tokio::spawn(counted.in_current_span());
    task.await.map_err(|_| Refusal::Unavailable)
}
