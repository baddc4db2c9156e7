//! Sessions.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use super::account::account;
use super::attempt::refunds;
use super::consent::{self, Consent};
use super::pushed::pushed_at;
use crate::people::account::{Account, AccountId};
use crate::people::attempt::Subject;
use crate::people::guessing::Gate;
use crate::people::pushed::{self, Pushed};
use crate::people::session::{self, MAX_SESSIONS, Session, SessionLimits, SessionVerdict};
use crate::tokens::{TokenHash, TokenId};

/// How many sessions one person may have besides a new one.
const OTHERS: i64 = MAX_SESSIONS as i64 - 1;

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
        is_remembered: row.int(14)? != 0,
    };
    Ok((session, account))
}

/// What a browser brings to an authorization request.
#[derive(Clone, Debug)]
pub struct Brought {
    /// The session's ID and the hash of its cookie.
    pub session: Option<(TokenId, TokenHash)>,
    /// The ID of the client that the request names.
    pub client: String,
    /// The ID of the pushed request and the hash of its reference.
    pub pushed: Option<(TokenId, TokenHash)>,
}

/// What of it is valid.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The session with its account.
    pub session: Option<(Session, Account)>,
    /// The person's consent for the client, whatever the uid of its resource.
    pub consent: Option<Consent>,
    /// The pushed request of the client.
    pub pushed: Option<Pushed>,
}

fn found(row: &Row, client: &str) -> Result<Found, StoreError> {
    let is_there = |column| row.text_or_null(column).map(|value| value.is_some());
    let session = is_there(5)?.then(|| read(row)).transpose()?;
    let consent = is_there(15)?.then(|| consent::read(row, 15, client));
    let pushed = is_there(18)?.then(|| pushed_at(row, 18)).transpose()?;
    Ok(Found {
        session,
        consent: consent.transpose()?,
        pushed,
    })
}

/// Returns the values of a new session's row.
fn values(session: &Session) -> [Value; 9] {
    [
        session.id.into(),
        session.hash.into(),
        session.account.into(),
        session.created_at.into(),
        session.authenticated_at.into(),
        (&session.methods).into(),
        session.expires_at.into(),
        session.epoch.into(),
        i64::from(session.is_remembered).into(),
    ]
}

impl Tx {
    /// Records a session, and ends the oldest ones of the person if there are too many. Returns those; `None`, and
    /// records nothing, if the account was revoked since its epoch was read: what the person proved no longer counts.
    pub async fn add_session(
        &mut self,
        session: &Session,
    ) -> Result<Option<Vec<TokenId>>, StoreError> {
        let added = self.row(Statement::SESSION_ADD, values(session)).await?;
        if added.is_none() {
            return Ok(None);
        }
        let mut ended = Vec::new();
        let now = session.created_at;
        let values = [
            session.account.into(),
            now.into(),
            OTHERS.into(),
            session.id.into(),
        ];
        for surplus in self.rows(Statement::SESSION_SURPLUS, values).await? {
            let id = surplus.id(0)?;
            let values = [id.into(), now.into()];
            self.run(Statement::GRANTS_END_OF_SESSION, values).await?;
            ended.push(id);
        }
        Ok(Some(ended))
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

    /// Returns the clients that had a grant in a session, each with the uid of its resource.
    async fn participants(&mut self, id: TokenId) -> Result<Vec<(String, String)>, StoreError> {
        let rows = self.rows(Statement::SESSION_CLIENTS, [id.into()]).await?;
        let clients = rows.iter().map(|row| Ok((row.text(0)?, row.text(1)?)));
        clients.collect()
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
    /// Records a session, see [`Tx::add_session`], and takes back the attempts that were reserved for the sign-in.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn begin_session(
        &self,
        session: Session,
        reserved: Vec<(Subject, Gate)>,
    ) -> Result<Option<Vec<TokenId>>, StoreError> {
        if self.is_postgres() {
            let (subjects, steps) = refunds(reserved);
            let mut values = Vec::from(values(&session));
            values.extend([OTHERS.into(), subjects, steps]);
            let rows = self.execute(Statement::SESSION_BEGIN, values).await?;
            let ids: Result<Vec<TokenId>, _> = rows.iter().map(|row| row.id(0)).collect();
            let (begun, ended): (Vec<_>, Vec<_>) =
                ids?.into_iter().partition(|id| *id == session.id);
            return Ok((!begun.is_empty()).then_some(ended));
        }
        self.write(move |tx| {
            Box::pin(async move {
                let Some(ended) = tx.add_session(&session).await? else {
                    return Ok(Outcome::Cancel(None));
                };
                tx.refund(reserved).await?;
                Ok(Outcome::Save(Some(ended)))
            })
        })
        .await
    }

    /// Begins a session of the same ID again, after another sign-in of its person: its cookie, times and methods are those
    /// of `session`. Returns `false`, and changes nothing, if the session has ended or its account was revoked.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn renew_session(&self, session: Session) -> Result<bool, StoreError> {
        let values: [Value; 8] = [
            session.id.into(),
            session.hash.into(),
            session.authenticated_at.into(),
            (&session.methods).into(),
            session.expires_at.into(),
            session.account.into(),
            session.epoch.into(),
            i64::from(session.is_remembered).into(),
        ];
        let renewed = self.execute(Statement::SESSION_RENEW, values).await?;
        Ok(!renewed.is_empty())
    }

    /// Revokes a session and the grants that end with it. Returns the clients that had a grant in it, each with the uid
    /// of its resource; `None` if it was revoked before.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn sign_out(
        &self,
        id: TokenId,
        now: Timestamp,
    ) -> Result<Option<Vec<(String, String)>>, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                if !tx.end_session(id, now).await? {
                    return Ok(Outcome::Cancel(None));
                }
                Ok(Outcome::Save(Some(tx.participants(id).await?)))
            })
        })
        .await
    }

    /// Returns the clients that had a grant in a session, each with the uid of its resource.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn participants(&self, id: TokenId) -> Result<Vec<(String, String)>, StoreError> {
        self.read(move |tx| Box::pin(tx.participants(id))).await
    }

    /// Reads what a browser brings to an authorization request, and records some uses of the session and the first
    /// presentation of the pushed request. What is not valid is absent.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn authorization(
        &self,
        brought: Brought,
        limits: SessionLimits,
        now: Timestamp,
    ) -> Result<Found, StoreError> {
        let Brought {
            session,
            client,
            pushed,
        } = brought;
        let values = [
            session.map(|(id, _)| id).into(),
            (&client).into(),
            pushed.map(|(id, _)| id).into(),
        ];
        let row = self.find(Statement::AUTHORIZE_READ, values).await?;
        let found = row.map(|row| found(&row, &client)).transpose()?;
        let mut found = found.unwrap_or_default();
        if let (Some((_, cookie)), Some((row, account))) = (session, &found.session) {
            let verdict = session::judge(row, account, &cookie, limits, now);
            let is_valid = self.carry_out(row.id, verdict, now).await?;
            if !is_valid {
                (found.session, found.consent) = (None, None);
            }
        }
        if let (Some((_, reference)), Some(row)) = (pushed, &found.pushed) {
            let verdict = pushed::judge(row, &reference, &client, now);
            if !self.present(row.id, verdict, now).await? {
                found.pushed = None;
            }
        }
        Ok(found)
    }

    /// Judges a session cookie, and records some of its uses. Returns the session if the cookie is valid.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn use_session(
        &self,
        id: TokenId,
        cookie: TokenHash,
        limits: SessionLimits,
        now: Timestamp,
    ) -> Result<Option<(Session, Account)>, StoreError> {
        let found = self.read(move |tx| Box::pin(tx.session(id))).await?;
        let Some((session, account)) = found else {
            return Ok(None);
        };
        let verdict = session::judge(&session, &account, &cookie, limits, now);
        let is_valid = self.carry_out(id, verdict, now).await?;
        Ok(is_valid.then_some((session, account)))
    }

    /// Records a use, if the verdict says so. Returns whether the session is valid.
    async fn carry_out(
        &self,
        id: TokenId,
        verdict: SessionVerdict,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        match verdict {
            SessionVerdict::Valid { touch: false } => Ok(true),
            SessionVerdict::Valid { touch: true } => {
                let values = [id.into(), now.into()];
                self.execute(Statement::SESSION_TOUCH, values).await?;
                Ok(true)
            }
            SessionVerdict::Guessed | SessionVerdict::Ended | SessionVerdict::Lapsed => Ok(false),
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
