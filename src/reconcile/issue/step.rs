//! What a pass can do next. A [`Step`] is decided by [`plan`](super::plan()) and taken by [`pass`](super::pass).

use super::view::{Facts, Settled};
use crate::directory::ObjectKey;
use crate::reconcile::cluster::api::Precondition;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{Cause, Credential};
use crate::tokens::TokenId;

/// The one step to take now.
#[derive(Debug)]
pub enum Step {
    /// Create a Secret without a token. After success, go on with the created Secret as if it had been read.
    CreatePlaceholder(Box<Create>),
    /// Delete the Secret and create a placeholder in its place, because its type cannot be changed.
    Recreate(Box<Recreate>),
    /// Replace the Secret with itself, to give it another version.
    Fence(SecretObject),
    /// Replace the Secret: the token stays, and everything else becomes as it should be. The flag says whether the
    /// operator adopts the Secret.
    Repair(SecretObject, bool),
    /// Replace the Credential: the named older entries have an end now.
    Retire(Box<Credential>, Vec<String>, Retirement),
    /// Replace the Credential: the named tokens were revoked by their ids and end now.
    EndRevoked(Box<Credential>, Vec<String>),
    /// Replace the Credential with one that lacks the revoked tokens.
    EmptyTokens(Box<Credential>, Emptying),
    /// Replace the Credential with one that has the labels and annotations that it inherits from its Identity.
    Relabel(Box<Credential>, Box<Settled>),
    /// Delete exactly this Credential, because it names another owner or Identity.
    Discard(Precondition),
    /// Record an imported secret.
    Import(Box<Import>),
    /// Record a new token, then reveal it.
    Push(Box<Push>),
    /// Delete exactly this Secret of the owner, because another one holds the token now.
    DeleteFormer(ObjectKey, Precondition),
    /// Do nothing.
    Settle(Settled),
}

/// A Secret to create without a token.
#[derive(Debug)]
pub struct Create {
    /// The Secret.
    pub placeholder: SecretObject,
    /// How many tokens the namespace may get within an hour. One must be left before anything is done.
    pub mints_per_hour: i64,
    /// Facts about the token that another Secret of the owner holds until then.
    pub meanwhile: Option<Facts>,
}

/// Why an older token gets an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It was replaced: the overlap begins.
    Replaced,
    /// The newer token is in use and this one is not: it ends now.
    Quiet,
    /// The imported Secret is gone, or no longer holds a usable value.
    Lapsed,
    /// The owner's `expiresAt` moved to an earlier time.
    Sooner,
    /// As many tokens as a Credential holds are accepted: this one ends now, so that the next one can be recorded.
    Crowded,
}

/// Why tokens are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptying {
    /// All, because the owner is revoked or the imported Secret lost the label that allows its use.
    Revoked,
    /// Those revoked by their ids (RFC 7009).
    ById,
    /// All, because the Secret was deleted and `onSecretDeleted` is `Revoke`.
    Leaked,
}

/// A Secret that is recreated with another type.
#[derive(Debug)]
pub struct Recreate {
    /// To be created or replaced first. It tells later passes, also after a crash, that no user deleted the Secret. It
    /// is needed even without tokens, because there may be one by then.
    pub announced: Credential,
    /// Whether the Credential does not exist yet.
    pub is_first: bool,
    /// The Secret to delete second, in exactly this state.
    pub only: Precondition,
    /// The Secret to create third.
    pub placeholder: SecretObject,
    /// How many tokens the namespace may get within an hour. One must be left before anything is done.
    pub mints_per_hour: i64,
    /// Facts about the token that the Secret holds until this step has written the new one.
    pub meanwhile: Option<Facts>,
}

/// A new token on its way into a Secret.
#[derive(Debug)]
pub struct Push {
    /// To be created or replaced first.
    pub credential: Credential,
    /// Whether the Credential does not exist yet.
    pub is_first: bool,
    /// To be replaced second, and only after the first write succeeds explicitly.
    pub secret: SecretObject,
    /// The Secret as it was read.
    pub read: SecretObject,
    /// Whether the Secret had no owner before.
    pub adopts: bool,
    /// Why the token is issued.
    pub cause: Cause,
    /// The new token's epoch.
    pub epoch: i64,
    /// The new token's public id.
    pub token_id: TokenId,
    /// How many tokens the namespace may get within an hour.
    pub mints_per_hour: i64,
    /// About the token that is in the Secret until then.
    pub meanwhile: Option<Facts>,
}

/// An imported secret that is about to be recorded.
#[derive(Debug)]
pub struct Import {
    /// To be created or replaced.
    pub credential: Credential,
    /// Whether the Credential does not exist yet.
    pub is_first: bool,
    /// The entry's epoch.
    pub epoch: i64,
    /// The entry's public id. It reveals nothing about the secret.
    pub token_id: TokenId,
    /// How many tokens the namespace may get within an hour.
    pub mints_per_hour: i64,
}
