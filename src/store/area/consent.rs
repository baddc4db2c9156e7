//! Consents: which scopes a person allows a client without being asked again.

use jiff::Timestamp;

use super::super::statement::Statement;
use super::super::{Outcome, Store, StoreError};
use crate::people::account::AccountId;

/// A consent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// The client's ID.
    pub client: String,
    /// The uid of the client's resource. A recreated client asks again.
    pub client_uid: String,
    /// The scopes, separated by spaces.
    pub scopes: String,
    /// When it was given.
    pub given_at: Timestamp,
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
        self.read(move |tx| {
            Box::pin(async move {
                let values = [account.into(), (&client).into()];
                let row = tx.row(Statement::CONSENT_READ, values).await?;
                let Some(row) = row else { return Ok(None) };
                Ok(Some(Consent {
                    client,
                    client_uid: row.text(0)?,
                    scopes: row.text(1)?,
                    given_at: row.time(2)?,
                }))
            })
        })
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
            Box::pin(async move {
                let values = [
                    account.into(),
                    (&consent.client).into(),
                    (&consent.client_uid).into(),
                    (&consent.scopes).into(),
                    consent.given_at.into(),
                ];
                tx.run(Statement::CONSENT_GIVE, values).await
            })
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
