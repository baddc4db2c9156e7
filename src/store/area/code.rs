//! Authorization codes.

use std::time::Duration;

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use super::consent::Agreement;
use super::grant::{self, COLUMNS, standing};
use crate::people::code::{self, Code, CodeVerdict, KEPT_FOR, Use};
use crate::people::grant::{Grant, GrantStanding, MOST_UNREDEEMED};
use crate::people::later;
use crate::people::refresh::Family;
use crate::tokens::TokenId;

/// How long a session is kept beyond the grants that it must outlast: at most one of a day's grants writes to it.
const SESSION_KEPT_FOR: Duration = Duration::from_hours(24);

/// What redeeming a code gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Redeemed<T, E> {
    /// The code was valid and is used now: the client gets what the caller decided.
    Granted(T),
    /// The code is valid, and the caller decided to give nothing. It stays unused.
    Denied(E),
    /// The code was refused. Nothing has changed, except the grant if `ended` is true.
    Refused {
        /// Why.
        reason: CodeRefusal,
        /// Whether this request ended the grant.
        ended: bool,
    },
}

/// Why a code was refused. All of them are `invalid_grant` to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeRefusal {
    /// No code has this ID.
    Unknown,
    /// The rule for codes refuses it.
    Code(CodeVerdict),
    /// Its grant has ended.
    Ended,
}

fn read(row: &Row) -> Result<(Code, GrantStanding), StoreError> {
    let standing = standing(row)?;
    let code = Code {
        id: row.id(COLUMNS)?,
        hash: row.hash(COLUMNS + 1)?,
        grant: standing.grant.id,
        redirect_uri: row.text(COLUMNS + 2)?,
        challenge: row.text_or_null(COLUMNS + 3)?,
        nonce: row.text_or_null(COLUMNS + 4)?,
        expires_at: row.time(COLUMNS + 5)?,
        used_at: row.time_or_null(COLUMNS + 6)?,
    };
    Ok((code, standing))
}

impl Tx {
    /// Records a code.
    pub async fn add_code(&mut self, code: &Code) -> Result<(), StoreError> {
        let values: [Value; 8] = [
            code.id.into(),
            code.hash.into(),
            code.grant.into(),
            (&code.redirect_uri).into(),
            (&code.challenge).into(),
            (&code.nonce).into(),
            code.expires_at.into(),
            later(code.expires_at, KEPT_FOR).into(),
        ];
        self.run(Statement::CODE_ADD, values).await
    }

    async fn code(&mut self, id: TokenId) -> Result<Option<(Code, GrantStanding)>, StoreError> {
        let row = self.row(Statement::CODE_READ, [id.into()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Marks a code as used. Returns `false` if another request did so first.
    async fn mark_code(&mut self, code: &Code, now: Timestamp) -> Result<bool, StoreError> {
        let values = [code.id.into(), code.hash.into(), now.into()];
        Ok(self.row(Statement::CODE_USE, values).await?.is_some())
    }
}

/// A grant that an authorization request gives, and its code.
#[derive(Clone, Debug)]
pub struct Authorized {
    /// The grant, which begins now.
    pub grant: Grant,
    /// Its code.
    pub code: Code,
    /// The pushed request that the code uses up.
    pub pushed: Option<TokenId>,
    /// What it needs of the person's consent.
    pub agreement: Agreement,
}

/// Returns the values of [`Statement::CODE_ISSUE`].
fn issue_values(authorized: &Authorized, now: Timestamp) -> Vec<Value> {
    let Authorized {
        grant,
        code,
        pushed,
        agreement,
    } = authorized;
    let (needs, scopes) = match agreement {
        Agreement::Unneeded => (0_i64, ""),
        Agreement::Recorded(scopes) => (1, scopes.as_str()),
        Agreement::Given(scopes) => (2, scopes.as_str()),
    };
    let mut values = Vec::from(grant::values(grant));
    values.extend([
        code.id.into(),
        code.hash.into(),
        (&code.redirect_uri).into(),
        (&code.challenge).into(),
        (&code.nonce).into(),
        code.expires_at.into(),
        later(code.expires_at, KEPT_FOR).into(),
        (*pushed).into(),
        needs.into(),
        scopes.into(),
        now.into(),
        i64::from(MOST_UNREDEEMED).into(),
    ]);
    values
}

/// What a redeemed code creates besides the access token.
#[derive(Clone, Debug)]
pub struct Issue {
    /// When everything that is issued has expired.
    pub expires_at: Timestamp,
    /// The family of refresh tokens and when it is deleted, if the client gets one.
    pub family: Option<(Family, Timestamp)>,
}

/// Returns the values of [`Statement::CODE_TAKE`].
fn take_values(code: &Code, issue: &Issue, now: Timestamp) -> Vec<Value> {
    let family = issue.family.as_ref();
    let number = |of: fn(&Family) -> i64| family.map(|(family, _)| of(family)).into();
    vec![
        code.id.into(),
        code.hash.into(),
        now.into(),
        code.grant.into(),
        issue.expires_at.into(),
        family.map(|(family, _)| family.id).into(),
        family.map(|(family, _)| family.hash).into(),
        number(|family| family.generation.into()),
        number(|family| family.key.into()),
        family.map(|(family, _)| family.created_at).into(),
        family.map(|(_, delete_after)| *delete_after).into(),
        later(issue.expires_at, SESSION_KEPT_FOR).into(),
    ]
}

impl Store {
    /// Records a grant, its code and a consent that is given now, and uses up a pushed request. Returns `None`, and
    /// records nothing, if the session has ended, the account was revoked, the consent was withdrawn or changed, or the
    /// pushed request was used: what the caller decided no longer holds. Otherwise returns the grants that have ended
    /// because the person has too many with the client.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn issue_code(
        &self,
        authorized: Authorized,
        now: Timestamp,
    ) -> Result<Option<Vec<TokenId>>, StoreError> {
        if self.is_postgres() {
            let values = issue_values(&authorized, now);
            let issued = self.execute(Statement::CODE_ISSUE, values).await?;
            let Some(row) = issued.first() else {
                return Ok(None);
            };
            // Those that were there before. Almost always there are few, and one round trip is enough.
            if row.int(0)? < i64::from(MOST_UNREDEEMED) {
                return Ok(Some(Vec::new()));
            }
            let work = self.write(move |tx| {
                Box::pin(async move {
                    let surplus = tx.delete_surplus(&authorized.grant, now).await?;
                    Ok(Outcome::Save(Some(surplus)))
                })
            });
            return work.await;
        }
        self.write(move |tx| {
            Box::pin(async move {
                let Authorized {
                    grant,
                    code,
                    pushed,
                    agreement,
                } = &authorized;
                if let Some(pushed) = *pushed
                    && !tx.use_pushed(pushed, &grant.client, now).await?
                {
                    return Ok(Outcome::Cancel(None));
                }
                if !tx.add_grant(grant).await? || !tx.agree(agreement, grant, now).await? {
                    return Ok(Outcome::Cancel(None));
                }
                tx.add_code(code).await?;
                let surplus = tx.delete_surplus(grant, now).await?;
                Ok(Outcome::Save(Some(surplus)))
            })
        })
        .await
    }

    /// Redeems a code: of all requests, one is granted. A later use ends the grant.
    ///
    /// `decide` gets the valid code with its grant, session and account. It says what the code creates and what the
    /// caller needs of it, or refuses: then nothing changes. It is called at most once, outside of any transaction, and
    /// not at all if the code is refused. What it decides counts only if the code is still unused afterwards, so it
    /// must have no effects and be quick. A code whose grant ends at the same time may be marked as used although it
    /// gave nothing.
    ///
    /// # Errors
    /// A fault of the database: then nothing was redeemed, unless the reply to the commit was lost.
    pub async fn redeem_code<T, E>(
        &self,
        request: Use<'_>,
        now: Timestamp,
        decide: impl FnOnce(&GrantStanding, &Code) -> Result<(Issue, T), E> + Send,
    ) -> Result<Redeemed<T, E>, StoreError>
    where
        T: Send,
        E: Send,
    {
        let decide = |(), standing: &GrantStanding, code: &Code| decide(standing, code);
        let turn = std::future::ready(());
        self.redeem_code_in_turn(request, now, turn, decide).await
    }

    /// Does what [`Store::redeem_code`] says, and waits for `turn` before it decides. `decide` gets what the turn is. So
    /// a caller whose decision takes long can wait for its turn without waiting for the database in it.
    ///
    /// # Errors
    /// A fault of the database: then nothing was redeemed, unless the reply to the commit was lost.
    pub async fn redeem_code_in_turn<S, T, E>(
        &self,
        request: Use<'_>,
        now: Timestamp,
        turn: impl Future<Output = S> + Send,
        decide: impl FnOnce(S, &GrantStanding, &Code) -> Result<(Issue, T), E> + Send,
    ) -> Result<Redeemed<T, E>, StoreError>
    where
        S: Send,
        T: Send,
        E: Send,
    {
        let mut decide = Some((turn, decide));
        // The second pass is for a request that lost a race: now the code is used, or its grant has ended.
        loop {
            let id = request.id;
            let found = self.read(move |tx| Box::pin(tx.code(id))).await?;
            let Some((code, standing)) = found else {
                return Ok(refused(CodeRefusal::Unknown, false));
            };
            match code::judge(&code, &standing.grant, &request, now) {
                CodeVerdict::Redeem => {}
                CodeVerdict::Reuse => {
                    let ended = self.end_grant(code.grant, now).await?;
                    return Ok(refused(CodeRefusal::Code(CodeVerdict::Reuse), ended));
                }
                verdict => return Ok(refused(CodeRefusal::Code(verdict), false)),
            }
            let judged = standing.judge(request.client, now);
            let (Ok(_), Some((turn, decide))) = (judged, decide.take()) else {
                return Ok(refused(CodeRefusal::Ended, false));
            };
            let turn = turn.await;
            let (issue, decided) = match decide(turn, &standing, &code) {
                Ok(decided) => decided,
                Err(denied) => return Ok(Redeemed::Denied(denied)),
            };
            let session = standing.grant.session;
            if self.take_code(code, session, issue, now).await? {
                return Ok(Redeemed::Granted(decided));
            }
        }
    }

    async fn take_code(
        &self,
        code: Code,
        session: TokenId,
        issue: Issue,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        if self.is_postgres() {
            let values = take_values(&code, &issue, now);
            let taken = self.execute(Statement::CODE_TAKE, values).await?;
            return Ok(!taken.is_empty());
        }
        self.write(move |tx| {
            Box::pin(async move {
                if !tx.mark_code(&code, now).await? {
                    return Ok(Outcome::Cancel(false));
                }
                let values = [code.grant.into(), issue.expires_at.into()];
                let extended = tx.row(Statement::GRANT_EXTEND, values).await?;
                if extended.is_none() {
                    return Ok(Outcome::Cancel(false));
                }
                if let Some((family, delete_after)) = &issue.family {
                    tx.add_family(family, *delete_after).await?;
                    let until = issue.expires_at;
                    let values = [
                        session.into(),
                        until.into(),
                        later(until, SESSION_KEPT_FOR).into(),
                    ];
                    tx.run(Statement::SESSION_KEEP, values).await?;
                }
                Ok(Outcome::Save(true))
            })
        })
        .await
    }
}

const fn refused<T, E>(reason: CodeRefusal, ended: bool) -> Redeemed<T, E> {
    Redeemed::Refused { reason, ended }
}
