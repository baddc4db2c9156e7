//! The outbox: notices for clients that a session has ended.
//!
//! A notice is written by the transaction that ends its session, so that it is neither lost nor told too early. A replica
//! takes notices for some time, tells them outside of any transaction, and deletes those that were taken. If it ends
//! before, another replica takes them after this time.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Store, StoreError, Tx};
use crate::people::account::AccountId;
use crate::people::notice::{
    Audience, MOST_OF_CLIENT, MOST_OF_NAMESPACE, Noted, Notice, Participant, given_up_at,
};
use crate::tokens::{SystemEntropy, TokenId};

/// A client with a notice that is due.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Due {
    /// The ID of the client.
    pub client: String,
    /// Its namespace when the session ended.
    pub namespace: String,
    /// How long the oldest one has been due.
    pub since: Timestamp,
}

fn read(row: &Row) -> Result<Notice, StoreError> {
    Ok(Notice {
        id: row.id(0)?,
        client: Participant {
            id: row.text(1)?,
            uid: row.text(2)?,
        },
        account: row.account(3)?,
        session: row.id(4)?,
        tries: row.number(5)?,
    })
}

impl Tx {
    /// Writes the notice of a session that ends in this transaction, if its client is told at all.
    pub(super) async fn write_notice(
        &mut self,
        audience: &dyn Audience,
        (account, session): (AccountId, TokenId),
        client: &Participant,
        now: Timestamp,
    ) -> Result<Noted, StoreError> {
        let Some(namespace) = audience.namespace_of(client) else {
            return Ok(Noted::default());
        };
        let values: [Value; 10] = [
            TokenId::random(&mut SystemEntropy).into(),
            (&client.id).into(),
            (&client.uid).into(),
            (&*namespace).into(),
            account.into(),
            session.into(),
            now.into(),
            given_up_at(now).into(),
            i64::from(MOST_OF_CLIENT).into(),
            i64::from(MOST_OF_NAMESPACE).into(),
        ];
        let is_written = self.row(Statement::OUTBOX_ADD, values).await?.is_some();
        Ok(Noted {
            waiting: is_written.into(),
            dropped: (!is_written).into(),
        })
    }
}

impl Store {
    /// Returns the clients that have notices to be told now, the longest due first.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn due_notices(&self, now: Timestamp) -> Result<Vec<Due>, StoreError> {
        let work = self.read(move |tx| {
            Box::pin(async move { tx.rows(Statement::OUTBOX_DUE, [now.into()]).await })
        });
        let rows = work.await?;
        let due = rows.iter().map(|row| {
            Ok(Due {
                client: row.text(0)?,
                namespace: row.text(1)?,
                since: row.time(2)?,
            })
        });
        due.collect()
    }

    /// Takes at most `most` notices of a client that are due. Until `until`, no other caller gets them.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn take_notices(
        &self,
        client: &str,
        most: u32,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Vec<Notice>, StoreError> {
        let values = [
            client.into(),
            now.into(),
            until.into(),
            i64::from(most).into(),
        ];
        let rows = self.execute(Statement::OUTBOX_TAKE, values).await?;
        rows.iter().map(read).collect()
    }

    /// Gives a notice back that was taken until `until`: it is due at `at`, and was tried so many times. Does nothing if
    /// another caller has taken it since.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn put_notice_back(
        &self,
        id: TokenId,
        until: Timestamp,
        at: Timestamp,
        tries: u32,
    ) -> Result<(), StoreError> {
        let values = [id.into(), until.into(), at.into(), i64::from(tries).into()];
        let done = self.execute(Statement::OUTBOX_PUT_BACK, values);
        done.await.map(drop)
    }

    /// Deletes a notice that needs no further try.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn end_notice(&self, id: TokenId) -> Result<(), StoreError> {
        self.execute(Statement::OUTBOX_END, [id.into()])
            .await
            .map(drop)
    }
}
