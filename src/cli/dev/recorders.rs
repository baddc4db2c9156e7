//! Records in dev mode's Credentials what the server tells about tokens: their last use, and which are revoked.

use futures::future::BoxFuture;

use crate::directory::ObjectKey;
use crate::directory::issued::usage;
use crate::reconcile::files::Files;
use crate::resources::{Credential, CredentialStatus};
use crate::server::{RecordError, Recorded, RevokeError, Revoker, UseRecorder, UseReport};
use crate::tokens::TokenId;

/// Records last use in dev mode's Credentials.
pub(super) struct FileUses(pub(super) Files);

impl UseRecorder for FileUses {
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>> {
        Box::pin(async move {
            let uses = |known: &Credential| {
                let uses = usage::merged(known, report.token_id.as_str(), &report.seen)?;
                let status = known.status.clone().unwrap_or_default();
                Some(CredentialStatus { uses, ..status })
            };
            self.0
                .report_use(&report.credential, report.uid.as_deref(), uses)
                .map_err(|error| RecordError(error.to_string()))
        })
    }
}

/// Revokes tokens in dev mode's Credentials.
pub(super) struct FileRevoker(pub(super) Files);

impl Revoker for FileRevoker {
    fn revoke<'a>(
        &'a self,
        credential: &'a ObjectKey,
        uid: Option<&'a str>,
        token_id: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        Box::pin(async move {
            match self.0.revoke(credential, uid, token_id) {
                Ok(true) => Ok(Recorded::Stored),
                Ok(false) => Ok(Recorded::Gone),
                Err(error) => Err(RevokeError(error.to_string())),
            }
        })
    }
}
