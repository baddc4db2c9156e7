//! What an owner of issued secrets should have, as the whole directory judges it now.

use jiff::{SignedDuration, Timestamp};

use super::{ObjectKey, Problem};
use crate::resources::{CredentialOwner, OnSecretDeleted};

/// What should become of an owner's secrets.
#[derive(Clone, Debug, PartialEq)]
pub enum Standing {
    /// It should have one, as described. What exists and still fits is kept.
    Wanted(Box<Desired>),
    /// Its owner said `revoked: true`: every entry goes, none comes.
    Revoked,
    /// No new secret may be made now, for these reasons. What exists is left to the server's join,
    /// which refuses it where it must: a scope that comes back finds its token alive.
    Withheld(Vec<Problem>),
    /// The owner asks for no secret.
    NotWanted,
}

/// One secret that should exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Whose it is: kind, namespace, name and uid.
    pub owner: CredentialOwner,
    /// The Identity that will accept it.
    pub identity: ObjectKey,
    /// Its issuer.
    pub issuer: String,
    /// The client that it is recorded for.
    pub client: IssuedClient,
    /// Whom it acts as: the client id, or `<namespace>:<system user>`.
    pub principal: String,
    /// What it is given, sorted: all that the owner asks for, each granted.
    pub scopes: Vec<String>,
    /// What sort of secret it is.
    pub kind: SecretKind,
    /// What the secret's text starts with.
    pub prefix: String,
    /// Name of the Kubernetes Secret.
    pub secret_name: String,
    /// A second key for the token.
    pub key_alias: Option<String>,
    /// When it ends.
    pub lifetime: Lifetime,
    /// When it is replaced.
    pub rotation: RotationRules,
    /// How many secrets its namespace may be given in an hour.
    pub mints_per_hour: i64,
    /// Nothing issued before this is good any more.
    pub revoke_issued_before: Option<Timestamp>,
}

/// The client that a secret is recorded for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedClient {
    /// Name of the OAuthClient.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its `client_id`.
    pub client_id: String,
}

/// Sorts of issued secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `client-id`, `client-secret`, `issuer`, `token-url`.
    ClientSecret,
    /// `token`, `issuer`.
    ServiceToken,
}

/// When a secret ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So long after it was made.
    For(SignedDuration),
    /// At a moment.
    Until(Timestamp),
    /// Never.
    Never,
}

/// When a secret is replaced, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRules {
    /// How long before its end it is renewed; `None`: only on request.
    pub renew_before: Option<SignedDuration>,
    /// How long the one before goes on being accepted.
    pub overlap: SignedDuration,
    /// What the deletion of the Secret says.
    pub on_secret_deleted: OnSecretDeleted,
    /// What was asked for.
    pub requests: RotationRequests,
}

/// Rotation on request. Each new value of either asks for one; taking a value away asks for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationRequests {
    /// The value of the annotation `symbolon.dev/rotate`.
    pub annotation: Option<String>,
    /// `rotation.trigger`.
    pub trigger: Option<String>,
}
