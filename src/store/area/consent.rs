//! Consents: which scopes and claims a person allows a client without being asked again.

use jiff::Timestamp;

use super::super::row::Row;
use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError, Tx};
use crate::people::account::AccountId;
use crate::people::grant::Grant;

/// A consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The client's ID.
    pub client: String,
    /// The uid of the client's resource. A recreated client asks again.
    pub client_uid: String,
    /// The scopes and the claims that they release, in the form that the caller chose.
    pub scopes: String,
    /// When it was given.
    pub given_at: Timestamp,
}

/// What a new grant needs of the person's consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Nothing: the client needs no consent.
    Unneeded,
    /// The person gave it before, with exactly this text, and did not withdraw or change it since.
    Recorded(String),
    /// The person gives it now, with this text.
    Given(String),
}

/// Reads the consent for `client` from three columns.
pub(super) fn read(row: &Row, first: usize, client: &str) -> Result<Consent, StoreError> {
    Ok(Consent {
        client: client.to_owned(),
        client_uid: row.text(first)?,
        scopes: row.text(first + 1)?,
        given_at: row.time(first + 2)?,
    })
}

impl Tx {
    /// Carries out the agreement for a grant. Returns `false` if the consent was withdrawn or changed.
    pub(super) async fn agree(
        &mut self,
        agreement: &Agreement,
        grant: &Grant,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let (account, client) = (grant.account, &grant.client);
        match agreement {
            Agreement::Unneeded => Ok(true),
            Agreement::Recorded(scopes) => {
                let found = self.consent(account, client).await?;
                Ok(found
                    .is_some_and(|it| it.client_uid == grant.client_uid && it.scopes == *scopes))
            }
            Agreement::Given(scopes) => {
                let consent = Consent {
                    client: client.clone(),
                    client_uid: grant.client_uid.clone(),
                    scopes: scopes.clone(),
                    given_at: now,
                };
                self.give_consent(account, &consent).await?;
                Ok(true)
            }
        }
    }

    async fn consent(
        &mut self,
        account: AccountId,
        client: &str,
    ) -> Result<Option<Consent>, StoreError> {
        let values = [account.into(), client.into()];
        let row = self.row(Statement::CONSENT_READ, values).await?;
        row.map(|row| read(&row, 0, client)).transpose()
    }

    async fn give_consent(
        &mut self,
        account: AccountId,
        consent: &Consent,
    ) -> Result<(), StoreError> {
        let values = [
            account.into(),
            (&consent.client).into(),
            (&consent.client_uid).into(),
            (&consent.scopes).into(),
            consent.given_at.into(),
        ];
        self.run(Statement::CONSENT_GIVE, values).await
    }
}

impl Store {
    /// Returns a person's consent for a client, whatever the uid of its resource.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn consent(
        &self,
        account: AccountId,
        client: &str,
    ) -> Result<Option<Consent>, StoreError> {
        let client = client.to_owned();
        self.read(move |tx| Box::pin(async move { tx.consent(account, &client).await }))
            .await
    }

    /// Records a consent. It replaces an existing one.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn give_consent(
        &self,
        account: AccountId,
        consent: Consent,
    ) -> Result<(), StoreError> {
        self.write_single(move |tx| {
            Box::pin(async move { tx.give_consent(account, &consent).await })
        })
        .await
    }

    /// Withdraws a consent and ends every grant of the person to that client.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn withdraw_consent(
        &self,
        account: AccountId,
        client: &str,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let client = client.to_owned();
        self.write(move |tx| {
            Box::pin(async move {
                let values = [account.into(), (&client).into()];
                tx.run(Statement::CONSENT_WITHDRAW, values).await?;
                let values = [account.into(), (&client).into(), now.into()];
                tx.run(Statement::GRANTS_END_OF_CLIENT, values).await?;
                Ok(Outcome::Save(()))
            })
        })
        .await
    }
}
