//! How a call to the Kubernetes API can fail, and the condition of a deletion.

use kube::api::ObjectMeta;

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// Not done: the object has another uid or version than the given one.
    #[error("the object was changed by another client")]
    Conflict,
    /// Not created: the object exists.
    #[error("the object already exists")]
    AlreadyExists,
    /// Not done: the object does not exist.
    #[error("the object does not exist")]
    NotFound,
    /// Not done: a right is missing, a quota is exhausted, or an admission rule refuses it.
    #[error("forbidden: {0}")]
    Forbidden(String),
    /// Not done: the API server considers the object invalid.
    #[error("refused as invalid: {0}")]
    Invalid(String),
    /// Not done: an admission webhook that the API server must ask does not answer. It asks before it stores anything.
    #[error("an admission webhook does not answer: {0}")]
    WebhookDown(String),
    /// The outcome is unknown: no usable answer came in time.
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// Not done: the API server is overloaded or unavailable.
    #[error("unavailable: {0}")]
    Unavailable(String),
}

impl ApiError {
    /// Whether the API server, a quota or a policy refused a write because of its content or the writer's rights. Such
    /// a write certainly did not take effect.
    pub const fn is_refusal(&self) -> bool {
        matches!(self, Self::Forbidden(_) | Self::Invalid(_))
    }

    /// Whether a write certainly did not take effect, because it was refused or a webhook could not be asked.
    pub const fn is_blocked(&self) -> bool {
        self.is_refusal() || matches!(self, Self::WebhookDown(_))
    }
}

/// The object, in exactly the state, that a deletion is meant for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Precondition {
    /// Its uid.
    pub uid: String,
    /// Its `resourceVersion`.
    pub resource_version: String,
}

impl Precondition {
    /// Returns the condition for exactly the state that was read.
    pub fn of(metadata: &ObjectMeta) -> Self {
        Self {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
        }
    }
}
