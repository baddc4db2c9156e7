//! What a pass reads, and the result that it reports.

use jiff::Timestamp;
use serde_json::Value;

use crate::directory::schema::is_dns_subdomain;
use crate::directory::{ObjectKey, Problem, Standing};
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{Cause, Credential, CredentialOwner, Day, PreviousToken};

/// The owner of a token and the places of its objects, known before anything is read.
#[derive(Clone, Debug, PartialEq)]
pub struct Target {
    /// The owner.
    pub owner: CredentialOwner,
    /// The Identity. The Credential is in its namespace.
    pub identity: ObjectKey,
    /// The name of the Secret, which is in the owner's namespace.
    pub secret_name: String,
}

impl Target {
    /// Returns the owner's namespace and name.
    pub fn owner_key(&self) -> ObjectKey {
        ObjectKey::new(&self.owner.namespace, &self.owner.name)
    }

    /// Returns the Secret's namespace and name.
    pub fn secret_key(&self) -> ObjectKey {
        ObjectKey::new(&self.owner.namespace, &self.secret_name)
    }

    /// Returns the Credential's namespace and name.
    pub fn credential_key(&self) -> ObjectKey {
        ObjectKey::new(&self.identity.namespace, &self.owner.uid)
    }
}

/// The live objects, read in the order of the fields, and what the directory says about the owner.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// The Credential.
    pub credential: Option<Credential>,
    /// The Secret.
    pub secret: Option<SecretObject>,
    /// The owner.
    pub owner: Option<OwnerView>,
    /// What the directory says about the owner's token.
    pub standing: Standing,
    /// The Secret that the owner had under another name.
    pub former: Option<SecretObject>,
}

/// The fields of an owner that issuing reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnerView {
    /// Its uid.
    pub uid: String,
    /// Whether it is being deleted.
    pub deleting: bool,
    /// `status.epoch`; 0 if it has none.
    pub epoch: i64,
    /// `status.rotationNonce`.
    pub rotation_nonce: Option<String>,
    /// `status.secretName`, if it is a valid name.
    pub secret_name: Option<String>,
}

impl OwnerView {
    /// The highest epoch that a status may state. A user who may write a status could otherwise exhaust the counter.
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

/// What an owner's status should say about the token in its Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    /// Its public id.
    pub token_id: String,
    /// Its epoch.
    pub epoch: i64,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Option<Timestamp>,
    /// When it will be renewed.
    pub renews_at: Option<Timestamp>,
    /// Why it was issued.
    pub cause: Cause,
    /// The rotation requests that are done: `status.rotationNonce`.
    pub nonce: Option<String>,
    /// The last day on which it is known to have been used.
    pub last_used: Option<Day>,
    /// The previous token, while it is accepted.
    pub previous: Option<Box<PreviousToken>>,
}

/// The result of a pass when nothing more can be done now.
#[derive(Clone, Debug, PartialEq)]
pub enum Settled {
    /// The owner is absent, has another uid, or is being deleted.
    Gone,
    /// The owner is revoked and has no tokens left.
    Revoked,
    /// The owner needs no secret, or the directory does not know it yet.
    NotWanted,
    /// No token may be issued now.
    Withheld(Vec<Problem>),
    /// The owner names another Secret or Identity than the [`Target`]: come back with a new target.
    Moved,
    /// Something else must happen first.
    Waiting {
        /// When to come back at the latest.
        until: Timestamp,
        /// About the token that is in the Secret meanwhile.
        facts: Option<Facts>,
    },
    /// A problem keeps the operator from going on.
    Refused {
        /// What is wrong, and what to do about it.
        problem: Problem,
        /// When to come back; `None`: when something changes.
        until: Option<Timestamp>,
        /// About the token that is in the Secret meanwhile.
        facts: Option<Facts>,
    },
    /// Everything is as it should be.
    Done {
        /// About the token in the Secret.
        facts: Facts,
        /// When to come back; `None`: when something changes.
        requeue_at: Option<Timestamp>,
    },
}

impl Settled {
    /// Returns when to come back, if that time is known.
    pub const fn requeue_at(&self) -> Option<Timestamp> {
        match self {
            Self::Waiting { until, .. } => Some(*until),
            Self::Refused { until, .. } => *until,
            Self::Done { requeue_at, .. } => *requeue_at,
            Self::Gone | Self::Revoked | Self::NotWanted | Self::Withheld(_) | Self::Moved => None,
        }
    }

    /// Returns what the status should say about the token in the Secret.
    pub const fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Done { facts, .. } => Some(facts),
            Self::Waiting { facts, .. } | Self::Refused { facts, .. } => facts.as_ref(),
            Self::Gone | Self::Revoked | Self::NotWanted | Self::Withheld(_) | Self::Moved => None,
        }
    }
}
