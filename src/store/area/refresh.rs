//! Families of refresh tokens.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use super::grant::{COLUMNS, standing};
use crate::people::grant::GrantStanding;
use crate::people::refresh::{self, Family, Presented, RefreshVerdict, Rules, Token};
use crate::tokens::TokenId;

/// How many times one refresh is judged. It is judged again if a parallel refresh was first and the family has
/// advanced.
const TRIES: u32 = 8;

/// What a refresh gives.
#[derive(Clone, Debug)]
pub enum Refreshed<T, E> {
    /// The client gets what the caller decided.
    Granted {
        /// What the caller decided.
        decided: T,
        /// The refresh token for the reply; `None` if the client keeps its own.
        token: Option<Token>,
    },
    /// The token is valid, and the caller decided to give nothing. Nothing has changed.
    Denied(E),
    /// The token was refused.
    Refused {
        /// Why.
        reason: RefreshRefusal,
        /// Whether this request ended the family and its grant.
        ended: bool,
    },
}

/// Why a refresh token was refused. All of them are `invalid_grant` to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefreshRefusal {
    /// No family has this ID.
    Unknown,
    /// The token is not genuine.
    Guessed,
    /// It was replaced too long ago.
    Reuse,
    /// It is newer than its row: an older state of the database was restored.
    Ahead,
    /// It was replaced by a token of a key that this server has not got yet.
    UnknownKey,
    /// The family or its grant has ended.
    Ended,
    /// It has expired.
    Expired,
    /// It was given to another client, or to one of the same ID that was deleted since.
    Foreign,
}

fn read(row: &Row) -> Result<(Family, GrantStanding), StoreError> {
    let standing = standing(row)?;
    let family = Family {
        id: row.id(COLUMNS)?,
        grant: standing.grant.id,
        hash: row.hash(COLUMNS + 1)?,
        generation: row.number(COLUMNS + 2)?,
        key: row.number(COLUMNS + 3)?,
        created_at: row.time(COLUMNS + 4)?,
        used_at: row.time(COLUMNS + 5)?,
        rotated_at: row.time(COLUMNS + 6)?,
        ended_at: row.time_or_null(COLUMNS + 7)?,
    };
    Ok((family, standing))
}

impl Tx {
    /// Records a new family, which is deleted after its absolute end.
    pub async fn add_family(
        &mut self,
        family: &Family,
        delete_after: Timestamp,
    ) -> Result<(), StoreError> {
        let values: [Value; 7] = [
            family.id.into(),
            family.grant.into(),
            family.hash.into(),
            i64::from(family.generation).into(),
            i64::from(family.key).into(),
            family.created_at.into(),
            delete_after.into(),
        ];
        self.run(Statement::REFRESH_ADD, values).await
    }

    async fn family(&mut self, id: TokenId) -> Result<Option<(Family, GrantStanding)>, StoreError> {
        let row = self.row(Statement::REFRESH_READ, [id.into()]).await?;
        row.as_ref().map(read).transpose()
    }

    /// Replaces the row of a family. Returns `false` if it has advanced or ended since `before` was read.
    async fn replace_family(
        &mut self,
        before: &Family,
        after: &Family,
    ) -> Result<bool, StoreError> {
        let values: [Value; 7] = [
            before.id.into(),
            before.hash.into(),
            after.hash.into(),
            i64::from(after.generation).into(),
            i64::from(after.key).into(),
            after.rotated_at.into(),
            after.used_at.into(),
        ];
        Ok(self.row(Statement::REFRESH_ROTATE, values).await?.is_some())
    }
}

impl Store {
    /// Returns a family with its grant.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn family(&self, id: TokenId) -> Result<Option<(Family, GrantStanding)>, StoreError> {
        self.read(move |tx| Box::pin(tx.family(id))).await
    }

    /// Refreshes: judges the presented token and carries out the verdict. Parallel requests with one token all get the
    /// same child. A genuine older generation ends the family and its grant, unless another client presents it.
    ///
    /// `decide` gets the grant with its session and account, and says what the caller needs of it, or refuses: then
    /// nothing changes. It is called outside of any transaction, only if the token is valid, and again each time that
    /// the row was changed in the meantime. The last decision counts, so it must have no effects and be quick.
    ///
    /// # Errors
    /// A fault of the database. If the reply to the commit was lost, the same request gets the same child.
    pub async fn refresh<T, E>(
        &self,
        presented: &Presented,
        rules: Rules<'_>,
        now: Timestamp,
        mut decide: impl FnMut(&GrantStanding) -> Result<T, E> + Send,
    ) -> Result<Refreshed<T, E>, StoreError>
    where
        T: Send,
        E: Send,
    {
        let turn = || std::future::ready(());
        let decide = |(), standing: &GrantStanding| decide(standing);
        self.refresh_in_turn(presented, rules, now, turn, decide)
            .await
    }

    /// Does what [`Store::refresh`] says, and waits for a turn before each decision, which gets what the turn is. So a
    /// caller whose decision takes long can wait for its turn without waiting for the database in it.
    ///
    /// # Errors
    /// A fault of the database. If the reply to the commit was lost, the same request gets the same child.
    pub async fn refresh_in_turn<S, F, T, E>(
        &self,
        presented: &Presented,
        rules: Rules<'_>,
        now: Timestamp,
        mut turn: impl FnMut() -> F + Send,
        mut decide: impl FnMut(S, &GrantStanding) -> Result<T, E> + Send,
    ) -> Result<Refreshed<T, E>, StoreError>
    where
        S: Send,
        F: Future<Output = S> + Send,
        T: Send,
        E: Send,
    {
        for _ in 0..TRIES {
            let Some((family, standing)) = self.family(presented.id()).await? else {
                return Ok(refused(RefreshRefusal::Unknown));
            };
            let verdict = refresh::judge(&family, &standing.grant, presented, rules, now);
            let good = match good(verdict) {
                Ok(good) => good,
                Err(reason) => {
                    let ended = reason == RefreshRefusal::Reuse
                        && self.end_reused(family.id, family.grant, now).await?;
                    return Ok(Refreshed::Refused { reason, ended });
                }
            };
            if standing.judge(rules.client, now).is_err() {
                return Ok(refused(RefreshRefusal::Ended));
            }
            let turn = turn().await;
            let decided = match decide(turn, &standing) {
                Ok(decided) => decided,
                Err(denied) => return Ok(Refreshed::Denied(denied)),
            };
            let token = match good {
                Good::Repeat(token) => Some(token),
                Good::Keep { touch } => {
                    if touch {
                        self.touch_family(family.id, now).await?;
                    }
                    None
                }
                Good::Rotate(child) => {
                    let after = refresh::rotated(&family, &child, now);
                    let replaced = self
                        .write_single(move |tx| {
                            Box::pin(async move { tx.replace_family(&family, &after).await })
                        })
                        .await?;
                    if !replaced {
                        continue;
                    }
                    Some(child)
                }
            };
            return Ok(Refreshed::Granted { decided, token });
        }
        Err(StoreError::Contended(TRIES))
    }

    async fn touch_family(&self, id: TokenId, now: Timestamp) -> Result<(), StoreError> {
        let values = [id.into(), now.into()];
        let touched = self.execute(Statement::REFRESH_TOUCH, values);
        touched.await.map(drop)
    }

    /// Ends a family and its grant. Returns whether the grant was not revoked before.
    async fn end_reused(
        &self,
        id: TokenId,
        grant: TokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let values = [id.into(), now.into()];
                tx.run(Statement::REFRESH_END, values).await?;
                Ok(Outcome::Save(tx.end_grant(grant, now).await?))
            })
        })
        .await
    }
}

/// What a valid token means for its family.
enum Good {
    Rotate(Token),
    Keep { touch: bool },
    Repeat(Token),
}

fn good(verdict: RefreshVerdict) -> Result<Good, RefreshRefusal> {
    Err(match verdict {
        RefreshVerdict::Rotate(child) => return Ok(Good::Rotate(child)),
        RefreshVerdict::Keep { touch } => return Ok(Good::Keep { touch }),
        RefreshVerdict::Repeat(token) => return Ok(Good::Repeat(token)),
        RefreshVerdict::Reuse => RefreshRefusal::Reuse,
        RefreshVerdict::Ahead => RefreshRefusal::Ahead,
        RefreshVerdict::UnknownKey => RefreshRefusal::UnknownKey,
        RefreshVerdict::Ended => RefreshRefusal::Ended,
        RefreshVerdict::Expired => RefreshRefusal::Expired,
        RefreshVerdict::Guessed => RefreshRefusal::Guessed,
        RefreshVerdict::Foreign => RefreshRefusal::Foreign,
    })
}

const fn refused<T, E>(reason: RefreshRefusal) -> Refreshed<T, E> {
    Refreshed::Refused {
        reason,
        ended: false,
    }
}
