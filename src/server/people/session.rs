//! The end of sessions, and who is told.

use std::sync::Arc;

use jiff::Timestamp;

use super::People;
use super::outbox::{Notice, Participant};
use crate::people::account::AccountId;
use crate::store::StoreError;
use crate::tokens::TokenId;

impl People {
    /// Ends a session and tells every client of it through the back channel. Returns the clients, and nothing if it had
    /// ended before.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_session(
        &self,
        id: TokenId,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Vec<Participant>, StoreError> {
        let Some(clients) = self.store.sign_out(id, now).await? else {
            return Ok(Vec::new());
        };
        Ok(self.tell(id, account, clients))
    }

    /// Tells every client of a session that has ended.
    pub(super) async fn tell_of(&self, id: TokenId, account: AccountId) {
        match self.store.participants(id).await {
            Ok(clients) => drop(self.tell(id, account, clients)),
            Err(error) => {
                tracing::warn!(%error, "the clients of a session that has ended are not told: the store failed");
            }
        }
    }

    fn tell(
        &self,
        id: TokenId,
        account: AccountId,
        clients: Vec<(String, String)>,
    ) -> Vec<Participant> {
        let subject: Arc<str> = account.0.to_string().into();
        let participants: Vec<Participant> = clients
            .into_iter()
            .map(|(id, uid)| Participant { id, uid })
            .collect();
        for client in &participants {
            self.outbox.send(Notice {
                client: client.clone(),
                subject: Arc::clone(&subject),
                session: id,
            });
        }
        participants
    }

    /// Ends every session of an account, and tells their clients.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn end_sessions(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        let sessions = self
            .store
            .read(move |tx| Box::pin(tx.sessions_of(account)))
            .await?;
        for session in sessions {
            self.end_session(session.id, account, now).await?;
        }
        Ok(())
    }

    /// Ends every session and grant of an account, because its person may not act any more. Nothing of it comes back
    /// when the person may act again.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn revoke(&self, account: AccountId, now: Timestamp) -> Result<(), StoreError> {
        self.store.sign_out_everywhere(account, now).await?;
        self.end_sessions(account, now).await
    }
}
