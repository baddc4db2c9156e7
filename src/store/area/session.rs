//! Sessions.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use super::account::account;
use crate::people::account::{Account, AccountId};
use crate::people::session::{self, Limits, MAX_SESSIONS, Session, Verdict};
use crate::tokens::{TokenHash, TokenId};

fn read(row: &Row) -> Result<(Session, Account), StoreError> {
    let account = account(row)?;
    let session = Session {
        id: row.id(5)?,
        hash: row.hash(6)?,
        account: account.id,
        epoch: row.int(7)?,
        created_at: row.time(8)?,
        used_at: row.time(9)?,
        authenticated_at: row.time(10)?,
        methods: row.text(11)?,
        expires_at: row.time(12)?,
        ended_at: row.time_or_null(13)?,
    };
    Ok((session, account))
}

impl Tx {
    /// Records a session, and ends the oldest ones of the person if there are too many. Returns `false`, and records
    /// nothing, if the account was revoked since its epoch was read: what the person proved no longer counts.
    pub async fn add_session(&mut self, session: &Session) -> Result<bool, StoreError> {
        let values: [Value; 8] = [
            session.id.into(),
            session.hash.into(),
            session.account.into(),
            session.created_at.into(),
            session.authenticated_at.into(),
            (&session.methods).into(),
            session.expires_at.into(),
            session.epoch.into(),
        ];
        let added = self.row(Statement::SESSION_ADD, values).await?;
        if added.is_none() {
            return Ok(false);
        }
        let now = session.created_at;
        let most = i64::from(MAX_SESSIONS);
        let values = [session.account.into(), now.into(), most.into()];
        for surplus in self.rows(Statement::SESSION_SURPLUS, values).await? {
            let values = [surplus.id(0)?.into(), now.into()];
            self.run(Statement::GRANTS_END_OF_SESSION, values).await?;
        }
        Ok(true)
    }

    /// Returns a session with its account.
    pub async fn session(&mut self, id: TokenId) -> Result<Option<(Session, Account)>, StoreError> {
        let row = self.row(Statement::SESSION_READ, [id.into()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Returns the sessions of a person that were not revoked, from the oldest to the newest.
    pub async fn sessions_of(&mut self, account: AccountId) -> Result<Vec<Session>, StoreError> {
        let rows = self.rows(Statement::SESSIONS_OF, [account.into()]).await?;
        rows.iter()
            .map(|row| read(row).map(|(session, _)| session))
            .collect()
    }

    /// Revokes a session and the grants that end with it. Returns whether it was not revoked before.
    pub async fn end_session(&mut self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        let values = [id.into(), now.into()];
        let ended = self.row(Statement::SESSION_END, values).await?.is_some();
        let values = [id.into(), now.into()];
        self.run(Statement::GRANTS_END_OF_SESSION, values).await?;
        Ok(ended)
    }
}

impl Store {
    /// Records a session, see [`Tx::add_session`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn begin_session(&self, session: Session) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let added = tx.add_session(&session).await?;
                Ok(Outcome::Save(added))
            })
        })
        .await
    }

    /// Judges a session cookie, and records some of its uses. Returns the session if the cookie is valid.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn use_session(
        &self,
        id: TokenId,
        cookie: TokenHash,
        limits: Limits,
        now: Timestamp,
    ) -> Result<Option<(Session, Account)>, StoreError> {
        let found = self.read(move |tx| Box::pin(tx.session(id))).await?;
        let Some((session, account)) = found else {
            return Ok(None);
        };
        match session::judge(&session, &account, &cookie, limits, now) {
            Verdict::Valid { touch: false } => Ok(Some((session, account))),
            Verdict::Valid { touch: true } => {
                self.write_single(move |tx| {
                    Box::pin(async move {
                        let values = [id.into(), now.into()];
                        tx.run(Statement::SESSION_TOUCH, values).await
                    })
                })
                .await?;
                Ok(Some((session, account)))
            }
            Verdict::Guessed | Verdict::Ended | Verdict::Lapsed => Ok(None),
        }
    }

    /// Revokes a session and the grants that end with it. Returns whether it was not revoked before.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn end_session(&self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move { Ok(Outcome::Save(tx.end_session(id, now).await?)) })
        })
        .await
    }
}
