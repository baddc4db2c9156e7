//! What a pass sees, and what it has to say in the end.

use jiff::Timestamp;
use serde_json::Value;

use crate::directory::schema::is_dns_subdomain;
use crate::directory::{ObjectKey, Problem, Standing};
use crate::reconcile::secret::SecretObject;
use crate::resources::{Cause, Credential, CredentialOwner, Day, PreviousToken};

/// Whose token a pass is about, and where its objects are: known before anything is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The owner.
    pub owner: CredentialOwner,
    /// The Identity; its namespace has the Credential.
    pub identity: ObjectKey,
    /// Name of the Secret, in the owner's namespace.
    pub secret_name: String,
}

impl Target {
    /// The owner's namespace and name.
    pub fn owner_key(&self) -> ObjectKey {
        ObjectKey::new(&self.owner.namespace, &self.owner.name)
    }

    /// The Secret's namespace and name.
    pub fn secret_key(&self) -> ObjectKey {
        ObjectKey::new(&self.owner.namespace, &self.secret_name)
    }

    /// The Credential's namespace and name.
    pub fn credential_key(&self) -> ObjectKey {
        ObjectKey::new(&self.identity.namespace, &self.owner.uid)
    }
}

/// The live objects, read in the order of the fields, and what the directory makes of the last.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The Credential.
    pub credential: Option<Credential>,
    /// The Secret.
    pub secret: Option<SecretObject>,
    /// The owner.
    pub owner: Option<OwnerView>,
    /// What should become of the owner's secrets.
    pub standing: Standing,
    /// The Secret that the owner's status names, where the owner wants another one now.
    pub former: Option<SecretObject>,
}

/// What issuing reads of an owner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerView {
    /// Its uid.
    pub uid: String,
    /// Whether its deletion has begun.
    pub deleting: bool,
    /// `status.epoch`; 0 where there is none.
    pub epoch: i64,
    /// `status.rotationNonce`.
    pub rotation_nonce: Option<String>,
    /// `status.secretName`, if it could be one.
    pub secret_name: Option<String>,
}

impl OwnerView {
    /// A status may be written by whoever was given that right: an epoch beyond this is not believed,
    /// so that the counter cannot be brought to its end.
    const MAX_EPOCH: i64 = 1 << 52;

    /// Reads a live object.
    pub fn of(object: &Value) -> Self {
        let (metadata, status) = (&object["metadata"], &object["status"]);
        Self {
            uid: metadata["uid"].as_str().unwrap_or_default().to_owned(),
            deleting: metadata["deletionTimestamp"].is_string(),
            epoch: status["epoch"]
                .as_i64()
                .filter(|epoch| (0..=Self::MAX_EPOCH).contains(epoch))
                .unwrap_or(0),
            rotation_nonce: status["rotationNonce"].as_str().map(str::to_owned),
            secret_name: status["secretName"]
                .as_str()
                .filter(|name| is_dns_subdomain(name))
                .map(str::to_owned),
        }
    }
}

/// What an owner's status should tell of the token in its Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its public id.
    pub token_id: String,
    /// Its number.
    pub epoch: i64,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it will be renewed.
    pub renews_at: Option<Timestamp>,
    /// Why it was made.
    pub cause: Cause,
    /// The rotation requests that are done: `status.rotationNonce`.
    pub nonce: Option<String>,
    /// The last day of which its use is known.
    pub last_used: Option<Day>,
    /// The token before, while it is accepted.
    pub previous: Option<Box<PreviousToken>>,
}

/// How a pass ended when nothing more can be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// The owner is absent, another one or being deleted.
    Gone,
    /// The owner is revoked and has no tokens any more.
    Revoked,
    /// The owner asks for no secret, or the directory does not know it yet.
    NotWanted,
    /// No secret may be made now.
    Withheld(Vec<Problem>),
    /// The owner's Secret or Identity is not the one of the [`Target`]: come back with another one.
    Moved,
    /// Something else must happen first.
    Waiting {
        /// When to come back at the latest.
        until: Timestamp,
        /// Of the token that is in the Secret meanwhile.
        facts: Option<Facts>,
    },
    /// It cannot go on.
    Refused {
        /// Why, and what to do about it.
        problem: Problem,
        /// When to come back; `None`: when something changes.
        until: Option<Timestamp>,
        /// Of the token that is in the Secret meanwhile.
        facts: Option<Facts>,
    },
    /// All is as it should be.
    Done {
        /// Of the token in the Secret.
        facts: Facts,
        /// When to come back; `None`: when something changes.
        requeue_at: Option<Timestamp>,
    },
}

impl Settled {
    /// When to come back, if at a known time.
    pub const fn requeue_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Refused { until, .. } => *until,
            Self::Done { requeue_at, .. } => *requeue_at,
            Self::Gone | Self::Revoked | Self::NotWanted | Self::Withheld(_) | Self::Moved => None,
        }
    }

    /// What the status should tell of the token in the Secret.
    pub const fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Done { facts, .. } => Some(facts),
            Self::Waiting { facts, .. } | Self::Refused { facts, .. } => facts.as_ref(),
            Self::Gone | Self::Revoked | Self::NotWanted | Self::Withheld(_) | Self::Moved => None,
        }
    }
}
