//! Personal access tokens.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use super::account::account;
use crate::people::account::AccountId;
use crate::people::agent::Agent;
use crate::people::later;
use crate::people::personal_token::{
    KEPT_FOR, LastUse, MOST_OF_PERSON, PersonalToken, PersonalTokenStanding, USED_EVERY,
};
use crate::tokens::TokenId;
use crate::tokens::claims::Audience;

/// How the creation of a token ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// The token is recorded.
    Recorded,
    /// The person has too many tokens.
    TooMany,
    /// The account was revoked in the meantime.
    Revoked,
}

/// Reads a token and its account.
fn standing(row: &Row) -> Result<PersonalTokenStanding, StoreError> {
    let account = account(row)?;
    let words = |text: String| -> Vec<String> {
        let words = text.split(' ').filter(|word| !word.is_empty());
        words.map(str::to_owned).collect()
    };
    let mut audiences = words(row.text(12)?);
    let used = row.time_or_null(19)?.map(|at| {
        Ok::<_, StoreError>(LastUse {
            at,
            network: row.text_or_null(20)?,
            agent: row.text_or_null(21)?.as_deref().map(Agent::parse),
        })
    });
    let token = PersonalToken {
        id: row.id(5)?,
        hash: row.hash(6)?,
        account: account.id,
        epoch: row.int(7)?,
        client: row.text(8)?,
        client_uid: row.text(9)?,
        name: row.text(10)?,
        scopes: row.text(11)?,
        audience: match audiences.len() {
            1 => Audience::Single(audiences.remove(0)),
            _ => Audience::Many(audiences),
        },
        claims: words(row.text(13)?),
        authenticated_at: row.time(14)?,
        methods: row.text(15)?,
        created_at: row.time(16)?,
        expires_at: row.time_or_null(17)?,
        ended_at: row.time_or_null(18)?,
        used: used.transpose()?,
    };
    Ok(PersonalTokenStanding { token, account })
}

impl Tx {
    async fn add_personal_token(
        &mut self,
        token: &PersonalToken,
        now: Timestamp,
    ) -> Result<Added, StoreError> {
        let audiences: Vec<&str> = token.audience.iter().collect();
        let values: [Value; 16] = [
            token.id.into(),
            token.hash.into(),
            token.account.into(),
            token.epoch.into(),
            (&token.client).into(),
            (&token.client_uid).into(),
            (&token.name).into(),
            (&token.scopes).into(),
            (&audiences.join(" ")).into(),
            (&token.claims.join(" ")).into(),
            token.authenticated_at.into(),
            (&token.methods).into(),
            token.created_at.into(),
            token.expires_at.into(),
            PersonalToken::delete_after(token.expires_at).into(),
            i64::from(MOST_OF_PERSON).into(),
        ];
        if self
            .row(Statement::PAT_ADD, values.clone())
            .await?
            .is_some()
        {
            return Ok(Added::Recorded);
        }
        let account = self.account(token.account).await?;
        if !account.is_some_and(|account| account.allows(token.epoch)) {
            return Ok(Added::Revoked);
        }
        let dead: [Value; 3] = [token.account.into(), now.into(), token.epoch.into()];
        self.run(Statement::PAT_MAKE_ROOM, dead).await?;
        let added = self.row(Statement::PAT_ADD, values).await?;
        Ok(added.map_or(Added::TooMany, |_| Added::Recorded))
    }
}

impl Store {
    /// Records a token. If its person has no room left, the oldest token that has ended goes; none that is valid does.
    /// Tokens that are created at the same time on several replicas may exceed the number.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn add_personal_token(
        &self,
        token: PersonalToken,
        now: Timestamp,
    ) -> Result<Added, StoreError> {
        self.write(move |tx| {
            Box::pin(async move {
                let added = tx.add_personal_token(&token, now).await?;
                Ok(match added {
                    Added::Recorded => Outcome::Save(added),
                    Added::TooMany | Added::Revoked => Outcome::Cancel(added),
                })
            })
        })
        .await
    }

    /// Returns a token with the facts that decide whether it has ended.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn personal_token(
        &self,
        id: TokenId,
    ) -> Result<Option<PersonalTokenStanding>, StoreError> {
        let row = self.find(Statement::PAT_READ, [id.into()]).await?;
        row.as_ref().map(standing).transpose()
    }

    /// Returns a person's tokens, the newest first, also those that ended lately.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn personal_tokens(
        &self,
        account: AccountId,
    ) -> Result<Vec<PersonalTokenStanding>, StoreError> {
        self.read(move |tx| {
            Box::pin(async move {
                let rows = tx.rows(Statement::PATS_OF, [account.into()]).await?;
                rows.iter().map(standing).collect()
            })
        })
        .await
    }

    /// Revokes a token of a person. Returns whether it was not revoked before.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn end_personal_token(
        &self,
        account: AccountId,
        id: TokenId,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let values: [Value; 4] = [
            id.into(),
            account.into(),
            now.into(),
            later(now, KEPT_FOR).into(),
        ];
        let ended = self.execute(Statement::PAT_END, values).await?;
        Ok(!ended.is_empty())
    }

    /// Revokes every token of a person. Returns the IDs of those that were not revoked before.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn end_personal_tokens(
        &self,
        account: AccountId,
        now: Timestamp,
    ) -> Result<Vec<TokenId>, StoreError> {
        let values: [Value; 3] = [account.into(), now.into(), later(now, KEPT_FOR).into()];
        let ended = self.execute(Statement::PATS_END_OF, values).await?;
        ended.iter().map(|row| row.id(0)).collect()
    }

    /// Records a use of a token, unless a use of the last minute is recorded.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn note_personal_token(&self, id: TokenId, used: LastUse) -> Result<(), StoreError> {
        let before = used.at.saturating_sub(USED_EVERY);
        let values: [Value; 5] = [
            id.into(),
            used.at.into(),
            (&used.network).into(),
            (&used.agent.map(|agent| agent.as_str().to_owned())).into(),
            before.unwrap_or(used.at).into(),
        ];
        self.execute(Statement::PAT_USED, values).await.map(drop)
    }
}
