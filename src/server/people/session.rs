//! The end of sessions. The store writes what their clients are told.

use jiff::Timestamp;

use super::People;
use crate::people::account::AccountId;
use crate::people::notice::Participant;
use crate::store::StoreError;
use crate::tokens::TokenId;

impl People {
    /// Ends a session. Returns the clients that had a grant in it, and nothing if it had ended before.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_session(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Vec<Participant>, StoreError> {
        let participants = self.store.sign_out(id, now).await?;
        Ok(participants.unwrap_or_default())
    }

    /// Ends every session and grant of an account, because its person may not act any more. Nothing of it comes back
    /// when the person may act again.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn revoke(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        self.store.sign_out_everywhere(account, now).await
    }
}
