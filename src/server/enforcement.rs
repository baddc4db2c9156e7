//! The judgement of a token at a gateway, and what follows from it: metrics, the audit log, last use.
//!
//! Not here: the rules (`oauth::enforcement`), the join of a person's token with the store, and the request of a gateway
//! and the answer to it (`routes::check_token`).

use jiff::Timestamp;

use super::metrics::Checked;
use super::request::{Call, ServingSnapshot};
use super::token::ParsedToken;
use crate::directory::tables::record::GatewayRecord;
use crate::oauth::Refusal;
use crate::oauth::bearer::Unusable;
use crate::oauth::enforcement::{Denial, Passed, check};

/// A token at a gateway, not yet judged.
pub(super) struct Enforced<'a> {
    call: &'a Call,
    serving: &'a ServingSnapshot,
    gateway: &'a GatewayRecord,
    /// The token.
    pub token: ParsedToken<'a>,
}

/// Reads the token that a caller sent through a gateway; `None` is a gateway that the Identity does not have.
///
/// # Errors
/// [`Refusal::Unavailable`] if the server cannot judge the token.
pub(super) fn read<'a>(
    call: &'a Call,
    serving: &'a ServingSnapshot,
    gateway: Option<&'a GatewayRecord>,
    sent: Result<&'a str, Unusable>,
) -> Result<Result<Enforced<'a>, Denial>, Refusal> {
    let deny = |denial: Denial| {
        call.app.metrics().checked(Checked::Denied(denial));
        Ok(Err(denial))
    };
    let Some(gateway) = gateway else {
        return deny(Denial::UnknownGateway);
    };
    let token = match sent {
        Ok(text) => serving.token(text)?.map_err(Denial::Inactive),
        Err(unusable) => Err(Denial::Unusable(unusable)),
    };
    match token {
        Ok(token) => Ok(Ok(Enforced {
            call,
            serving,
            gateway,
            token,
        })),
        Err(denial) => deny(denial),
    }
}

impl<'a> Enforced<'a> {
    /// Returns what the gateway requires.
    pub fn gateway(&self) -> &'a GatewayRecord {
        self.gateway
    }

    /// Judges the token by the directory alone. Returns what `tell` makes of a token that may pass.
    ///
    /// # Errors
    /// [`Denial`].
    pub fn judge<T>(
        &self,
        now: Timestamp,
        tell: impl FnOnce(&Passed<'_>, &GatewayRecord) -> T,
    ) -> Result<T, Denial> {
        let snapshot = self.serving.snapshot();
        let (directory, identity) = (snapshot.directory(), snapshot.identity());
        let presented = self.token.presented();
        let checked = check(directory, identity, self.gateway, &presented, now);
        self.settle(checked, now, tell)
    }

    /// Carries out a judgement.
    ///
    /// # Errors
    /// Its [`Denial`].
    pub fn settle<T>(
        &self,
        checked: Result<Passed<'_>, Denial>,
        now: Timestamp,
        tell: impl FnOnce(&Passed<'_>, &GatewayRecord) -> T,
    ) -> Result<T, Denial> {
        let (call, snapshot) = (self.call, self.serving.snapshot());
        match checked {
            Ok(passed) => {
                if let Some(issued) = passed.token.issued {
                    call.app.uses().note(snapshot.directory(), issued, now);
                }
                call.app.metrics().checked(Checked::Passed);
                Ok(tell(&passed, self.gateway))
            }
            Err(denial) => {
                call.app.metrics().checked(Checked::Denied(denial));
                let (id, is_issued) = (self.token.id(), denial.is_of_issued());
                call.audit_denial(snapshot, id, is_issued, denial.as_str());
                Err(denial)
            }
        }
    }
}
