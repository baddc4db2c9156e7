//! Enrolment: a person sets the first password through a link that works once.

use jiff::Timestamp;

use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError};
use crate::people::account::{Account, AccountId};
use crate::people::attempt::of_account;
use crate::people::enrolment;

/// An enrolment link whose MAC was verified, and what it is used for.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// A hash of the link.
    pub link: [u8; 32],
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
    /// What the account belongs to.
    pub owner: String,
    /// The ID for the account, if it does not exist yet.
    pub account: AccountId,
    /// The hash of the new password, a PHC string.
    pub password: String,
}

/// What ended a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkEnd {
    /// It was used.
    Used,
    /// The value of the annotation for which it was made was withdrawn.
    Withdrawn,
}

impl Store {
    /// Uses a link: creates the account if it does not exist, or takes over that of an owner who is gone; sets the password,
    /// and ends every session and grant of the account, whose clients are told. The failures of others at the account's
    /// gate are forgotten: the link is how its person comes back. Returns `None`, and changes nothing, if the link has
    /// expired, was used before, or was issued before the last revocation of the account.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn enrol(
        &self,
        enrolment: Enrolment,
        now: Timestamp,
    ) -> Result<Option<Account>, StoreError> {
        if now >= enrolment.expires_at {
            return Ok(None);
        }
        let audience = self.audience();
        let enrolled = self.write(move |tx| {
            Box::pin(async move {
                let Enrolment { owner, link, .. } = &enrolment;
                let (account, is_taken) = tx.own_account(enrolment.account, owner, now).await?;
                let values = [
                    link.into(),
                    account.id.into(),
                    now.into(),
                    enrolment.expires_at.into(),
                ];
                // The insert waits for another use of the same link, so only one is first.
                let first = tx.row(Statement::ENROLMENT_USE, values).await?.is_some();
                if !first {
                    return Ok(Outcome::Cancel(None));
                }
                // The link is not older than its User: what the account was before says nothing about it.
                let issued = enrolment.issued_at;
                if !is_taken && !tx.revoke_account_unless(account.id, now, issued).await? {
                    return Ok(Outcome::Cancel(None));
                }
                let noted = tx.end_sessions_of(&*audience, account.id, now).await?;
                let password = &enrolment.password;
                tx.record_password(account.id, password, now).await?;
                let attempts = of_account(account.id);
                tx.row(Statement::ATTEMPT_CLEAR, [(&attempts).into()])
                    .await?;
                let account = tx.account(account.id).await?;
                Ok(Outcome::Save(account.map(|account| (account, noted))))
            })
        });
        let Some((account, noted)) = enrolled.await? else {
            return Ok(None);
        };
        self.audience().ended(noted);
        Ok(Some(account))
    }

    /// Returns what ended a link, if anything did. `withdrawal` is [`enrolment::withdrawal`] of its User and value.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn enrolment_end(
        &self,
        link: [u8; 32],
        withdrawal: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<LinkEnd>, StoreError> {
        let values = [(&link).into(), (&withdrawal).into(), now.into()];
        let found = self.find(Statement::ENROLMENT_READ, values).await?;
        let cause = found.map(|row| row.int(0)).transpose()?;
        Ok(cause.map(|cause| match cause {
            0 => LinkEnd::Used,
            _ => LinkEnd::Withdrawn,
        }))
    }

    /// Records that a value of a User's annotation was withdrawn: no link that was made for it until now works again.
    /// `withdrawal` is [`enrolment::withdrawal`].
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn withdraw_enrolment(
        &self,
        withdrawal: [u8; 32],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let values = [(&withdrawal).into(), enrolment::withdrawn_until(now).into()];
        self.execute(Statement::ENROLMENT_WITHDRAW, values).await?;
        Ok(())
    }
}
