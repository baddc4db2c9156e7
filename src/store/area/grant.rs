//! Grants.

use jiff::Timestamp;

use super::super::row::{Row, Value, unexpected};
use super::super::statement::Statement;
use super::super::{Store, StoreError, Tx};
use super::account::account;
use crate::people::grant::{EndsWith, Grant, GrantStanding, MOST_OF_CLIENT, MOST_UNREDEEMED};
use crate::tokens::TokenId;

/// The kind of a grant whose code waits to be redeemed, in [`Statement::GRANTS_SURPLUS`].
const UNREDEEMED: i64 = 3;
/// The number of columns that [`standing`] reads.
pub(super) const COLUMNS: usize = 21;

/// Reads a grant, with the facts that decide whether it has ended, from the first columns.
pub(super) fn standing(row: &Row) -> Result<GrantStanding, StoreError> {
    let account = account(row)?;
    let grant = Grant {
        id: row.id(6)?,
        account: account.id,
        epoch: row.int(7)?,
        session: row.id(8)?,
        ends_with: match row.int(9)? {
            0 => EndsWith::Session,
            1 => EndsWith::Grant,
            other => {
                return Err(unexpected(
                    9,
                    format!("{other} does not say what ends a grant"),
                ));
            }
        },
        client: row.text(10)?,
        client_uid: row.text(11)?,
        scopes: row.text(12)?,
        resources: row.text(13)?,
        authenticated_at: row.time(14)?,
        acr: row.text(15)?,
        methods: row.text(16)?,
        claims: row.text_or_null(17)?,
        created_at: row.time(18)?,
        expires_at: row.time(19)?,
        ended_at: row.time_or_null(20)?,
    };
    Ok(GrantStanding {
        grant,
        account,
        session_ended_at: row.time_or_null(5)?,
    })
}

/// Returns the values of a new grant's row.
pub(super) fn values(grant: &Grant) -> [Value; 15] {
    [
        grant.id.into(),
        grant.account.into(),
        grant.session.into(),
        match grant.ends_with {
            EndsWith::Session => 0_i64.into(),
            EndsWith::Grant => 1_i64.into(),
        },
        (&grant.client).into(),
        (&grant.client_uid).into(),
        (&grant.scopes).into(),
        (&grant.resources).into(),
        grant.created_at.into(),
        grant.expires_at.into(),
        grant.epoch.into(),
        grant.authenticated_at.into(),
        (&grant.acr).into(),
        (&grant.methods).into(),
        (&grant.claims).into(),
    ]
}

impl Tx {
    /// Records a grant, and that its client takes part in the session. Returns `false`, and records nothing, if the
    /// session has ended or the account was revoked.
    pub async fn add_grant(&mut self, grant: &Grant) -> Result<bool, StoreError> {
        let added = self.row(Statement::GRANT_ADD, values(grant)).await?;
        if added.is_none() {
            return Ok(false);
        }
        let values = [
            grant.session.into(),
            (&grant.client).into(),
            (&grant.client_uid).into(),
        ];
        self.run(Statement::PARTICIPANT_ADD, values).await?;
        Ok(true)
    }

    /// Revokes a grant, with everything that was issued from it. Returns whether it was not revoked before.
    pub async fn end_grant(&mut self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        let values = [id.into(), now.into()];
        Ok(self.row(Statement::GRANT_END, values).await?.is_some())
    }

    /// Deletes the grants of a person and client beyond [`MOST_UNREDEEMED`] and [`MOST_OF_CLIENT`], with everything that was
    /// issued from them, so that nothing of it is valid any more. Never deletes `newest`, whose code was issued at `now`.
    /// Returns the deleted ones.
    pub(super) async fn delete_surplus(
        &mut self,
        newest: &Grant,
        now: Timestamp,
    ) -> Result<Vec<TokenId>, StoreError> {
        let values: [Value; 7] = [
            newest.account.into(),
            (&newest.client).into(),
            newest.id.into(),
            i64::from(MOST_UNREDEEMED - 1).into(),
            i64::from(MOST_OF_CLIENT).into(),
            now.into(),
            (&newest.client_uid).into(),
        ];
        let mut deleted = Vec::new();
        for row in self.rows(Statement::GRANTS_SURPLUS, values).await? {
            let (id, is_unredeemed) = (row.id(0)?, row.int(1)? == UNREDEEMED);
            if is_unredeemed {
                let code = self.row(Statement::GRANT_UNUSED_CODE_DELETE, [id.into()]);
                if code.await?.is_none() {
                    continue;
                }
            }
            for statement in [
                Statement::GRANT_CODES_DELETE,
                Statement::GRANT_REFRESHES_DELETE,
                Statement::GRANT_DELETE,
            ] {
                self.run(statement, [id.into()]).await?;
            }
            deleted.push(id);
        }
        Ok(deleted)
    }
}

impl Store {
    /// Returns a grant with the facts that decide whether it has ended.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn grant(&self, id: TokenId) -> Result<Option<GrantStanding>, StoreError> {
        let row = self.find(Statement::GRANT_READ, [id.into()]).await?;
        row.as_ref().map(standing).transpose()
    }

    /// Revokes a grant, with everything that was issued from it. Returns whether it was not revoked before.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn end_grant(&self, id: TokenId, now: Timestamp) -> Result<bool, StoreError> {
        self.write_single(move |tx| Box::pin(tx.end_grant(id, now)))
            .await
    }
}
