//! The judgement of a token at a gateway, and what follows from it: metrics, the audit log, last use.
//!
//! Not here: the rules (`oauth::enforcement`), and the request of a gateway and the answer to it
//! (`routes::check_token`).

use jiff::Timestamp;

use super::metrics::Checked;
use super::request::{Call, ServingSnapshot};
use crate::directory::tables::record::GatewayRecord;
use crate::oauth::Refusal;
use crate::oauth::bearer::Unusable;
use crate::oauth::enforcement::{Denial, Passed, check};

/// Judges the token that a caller sent through a gateway; `None` is a gateway that the Identity does not have. Returns
/// what `tell` makes of a token that may pass.
///
/// # Errors
/// [`Refusal::Unavailable`] if the server cannot judge the token.
pub(super) fn enforce<T>(
    call: &Call,
    serving: &ServingSnapshot,
    gateway: Option<&GatewayRecord>,
    sent: Result<&str, Unusable>,
    now: Timestamp,
    tell: impl FnOnce(&Passed<'_>, &GatewayRecord) -> T,
) -> Result<Result<T, Denial>, Refusal> {
    let snapshot = serving.snapshot();
    let deny = |token_id: Option<&str>, denial: Denial| {
        call.app.metrics().checked(Checked::Denied(denial));
        if let Some(token_id) = token_id {
            call.audit_denial(snapshot, token_id, denial.is_of_issued(), denial.as_str());
        }
        Ok(Err(denial))
    };
    let Some(gateway) = gateway else {
        return deny(None, Denial::UnknownGateway);
    };
    let token = match sent {
        Ok(text) => serving.token(text)?.map_err(Denial::Inactive),
        Err(unusable) => Err(Denial::Unusable(unusable)),
    };
    let token = match token {
        Ok(token) => token,
        Err(denial) => return deny(None, denial),
    };
    let (directory, identity) = (snapshot.directory(), snapshot.identity());
    match check(directory, identity, gateway, &token.presented(), now) {
        Ok(passed) => {
            if let Some(issued) = passed.token.issued {
                call.app.uses().note(directory, issued, now);
            }
            call.app.metrics().checked(Checked::Passed);
            Ok(Ok(tell(&passed, gateway)))
        }
        Err(denial) => deny(Some(token.id()), denial),
    }
}
