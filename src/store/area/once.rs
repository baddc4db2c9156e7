//! Values that are accepted once across replicas and restarts, such as the `jti` of a client assertion.

use jiff::Timestamp;

use super::super::statement::Statement;
use super::super::{Store, StoreError};

impl Store {
    /// Accepts a value, given as a hash of its kind, issuer and text. Returns `false` if it was accepted before and
    /// has not expired since.
    ///
    /// # Errors
    /// A fault of the database.
    pub async fn accept_once(
        &self,
        value: [u8; 32],
        expires_at: Timestamp,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let values = [(&value).into(), expires_at.into(), now.into()];
        let accepted = self.execute(Statement::ONCE_ADD, values).await?;
        Ok(!accepted.is_empty())
    }
}
