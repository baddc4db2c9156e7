//! Accounts and passwords.

use jiff::Timestamp;

use super::super::row::{Row, Value};
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use crate::people::account::{Account, AccountId};
use crate::people::notice::{Audience, Noted};

/// Reads an account from the first five columns.
pub(super) fn account(row: &Row) -> Result<Account, StoreError> {
    Ok(Account {
        id: row.account(0)?,
        owner: row.text(1)?,
        created_at: row.time(2)?,
        valid_after: row.time(3)?,
        epoch: row.int(4)?,
    })
}

impl Tx {
    /// Returns an account.
    pub async fn account(&mut self, id: AccountId) -> Result<Option<Account>, StoreError> {
        let row = self.row(Statement::ACCOUNT_READ, [id.into()]).await?;
        row.as_ref().map(account).transpose()
    }

    /// Returns the account that belongs to `owner`.
    pub async fn account_of(&mut self, owner: &str) -> Result<Option<Account>, StoreError> {
        let row = self
            .row(Statement::ACCOUNT_BY_OWNER, [owner.into()])
            .await?;
        row.as_ref().map(account).transpose()
    }

    /// Creates the account of `owner` with this ID, or returns the existing one, whose ID may differ. An account of
    /// this ID that belonged to another owner becomes the account of `owner`, see [`Tx::own_account`].
    pub async fn ensure_account(
        &mut self,
        id: AccountId,
        owner: &str,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        let (account, _) = self.own_account(id, owner, now).await?;
        Ok(account)
    }

    /// Does what [`Tx::ensure_account`] says, and returns whether the account belonged to another owner. Then its
    /// sessions and grants have ended, and it has no password: only the ID, which resources pin, is still the same.
    pub(super) async fn own_account(
        &mut self,
        id: AccountId,
        owner: &str,
        now: Timestamp,
    ) -> Result<(Account, bool), StoreError> {
        let values = [id.into(), owner.into(), now.into()];
        self.run(Statement::ACCOUNT_ADD, values).await?;
        if let Some(account) = self.account_of(owner).await? {
            return Ok((account, false));
        }
        let values = [id.into(), owner.into(), now.into()];
        let is_taken = self.row(Statement::ACCOUNT_TAKE, values).await?.is_some();
        if is_taken {
            self.run(Statement::PASSWORD_DELETE, [id.into()]).await?;
        }
        let account = self.account_of(owner).await?;
        let missing = StoreError::Misused("an account is gone");
        Ok((account.ok_or(missing)?, is_taken))
    }

    /// Returns the hash of the account's password, a PHC string.
    pub async fn password(&mut self, id: AccountId) -> Result<Option<String>, StoreError> {
        let row = self.row(Statement::PASSWORD_READ, [id.into()]).await?;
        row.map(|row| row.text(0)).transpose()
    }

    /// Sets the password and ends nothing.
    pub(super) async fn record_password(
        &mut self,
        id: AccountId,
        hash: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [id.into(), hash.into(), now.into()];
        self.run(Statement::PASSWORD_SET, values).await
    }

    /// Raises the epoch of the account, unless it was revoked at or after `since`. Returns whether it did.
    pub(super) async fn revoke_account_unless(
        &mut self,
        id: AccountId,
        now: Timestamp,
        since: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = [id.into(), now.into(), since.into()];
        let revoked = self.row(Statement::ACCOUNT_REVOKE_UNLESS, values).await?;
        Ok(revoked.is_some())
    }

    /// Ends every session and grant of the account, also those that another transaction is about to record.
    pub(in crate::store) async fn revoke_account(
        &mut self,
        audience: &dyn Audience,
        id: AccountId,
        now: Timestamp,
    ) -> Result<Noted, StoreError> {
        let values = [id.into(), now.into()];
        self.run(Statement::ACCOUNT_REVOKE, values).await?;
        self.end_sessions_of(audience, id, now).await
    }
}

impl Store {
    /// Returns the account of `owner` with its password's hash.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn credentials(
        &self,
        owner: &str,
    ) -> Result<Option<(Account, Option<String>)>, StoreError> {
        let found = self.find(Statement::CREDENTIALS_READ, [owner.into()]);
        let Some(row) = found.await? else {
            return Ok(None);
        };
        Ok(Some((account(&row)?, row.text_or_null(5)?)))
    }

    /// Changes a password, given its hash, and ends every session and grant of the account.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn change_password(
        &self,
        id: AccountId,
        hash: String,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let audience = self.audience();
        let changed = self.write(move |tx| {
            Box::pin(async move {
                tx.record_password(id, &hash, now).await?;
                Ok(Outcome::Save(tx.revoke_account(&*audience, id, now).await?))
            })
        });
        self.audience().ended(changed.await?);
        Ok(())
    }

    /// Replaces the hash `old` by another one of the same password, and ends nothing. Returns `false`, and changes
    /// nothing, if the account has another hash by now or was revoked since it was read.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn renew_password(
        &self,
        account: &Account,
        old: &str,
        hash: &str,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let values: [Value; 5] = [
            account.id.into(),
            hash.into(),
            now.into(),
            old.into(),
            account.epoch.into(),
        ];
        let renewed = self.execute(Statement::PASSWORD_RENEW, values).await?;
        Ok(!renewed.is_empty())
    }

    /// Creates the account of `owner` if there is none, see [`Tx::ensure_account`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn ensure_account(
        &self,
        id: AccountId,
        owner: String,
        now: Timestamp,
    ) -> Result<Account, StoreError> {
        self.write(move |tx| {
            Box::pin(async move { Ok(Outcome::Save(tx.ensure_account(id, &owner, now).await?)) })
        })
        .await
    }

    /// Ends every session and grant of an account. The clients of its sessions are told.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn sign_out_everywhere(
        &self,
        id: AccountId,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let audience = self.audience();
        let ended = self.write(move |tx| {
            Box::pin(
                async move { Ok(Outcome::Save(tx.revoke_account(&*audience, id, now).await?)) },
            )
        });
        self.audience().ended(ended.await?);
        Ok(())
    }
}
