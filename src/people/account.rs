//! Accounts: one for each person who has signed in or enrolled.

use jiff::Timestamp;
use uuid::Uuid;

/// The ID of an account, which is the subject (`sub`) of the person's tokens. It never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountId(pub Uuid);

/// An account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its ID.
    pub id: AccountId,
    /// What the account belongs to, such as the uid of a `User`. No two accounts have the same.
    pub owner: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last revoked: by a password change, a disablement, or "sign out everywhere". Enrolment links
    /// that were issued before this time do not work.
    pub valid_after: Timestamp,
    /// Raised by each revocation. A time is not enough: the clocks of replicas differ, and a session that is recorded
    /// during the revocation must have ended too.
    pub epoch: i64,
}

impl Account {
    /// Returns whether a session or grant of this epoch began after the last revocation.
    pub const fn allows(&self, epoch: i64) -> bool {
        epoch == self.epoch
    }
}
