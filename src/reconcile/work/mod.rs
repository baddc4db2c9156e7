//! The units of the operator's work, reconciled one at a time.

pub(super) mod fanout;
pub mod queue;

use std::fmt;
use std::sync::Arc;

use crate::directory::ObjectKey;
use crate::resources::Kind;
use queue::Whose;

/// One unit of work.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Work {
    /// An object of a user's kind.
    Object(Kind, ObjectKey),
    /// A Credential whose owner seems to be gone, with the namespace of the owner.
    Orphan(ObjectKey, Arc<str>),
    /// A key Secret whose Identity seems to be gone.
    KeySecret(ObjectKey),
    /// All Credentials, to find orphans that no watch reported.
    Sweep,
}

/// The kind of a unit of work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkKind {
    /// An object of this kind.
    Object(Kind),
    /// A Credential whose owner seems to be gone.
    Orphan,
    /// A key Secret whose Identity seems to be gone.
    KeySecret,
    /// All Credentials.
    Sweep,
}

impl WorkKind {
    /// Every kind of work that the operator queues.
    pub const ALL: [Self; 8] = [
        Self::Object(Kind::Identity),
        Self::Object(Kind::Scope),
        Self::Object(Kind::OAuthClient),
        Self::Object(Kind::ServiceAccessToken),
        Self::Object(Kind::User),
        Self::Orphan,
        Self::KeySecret,
        Self::Sweep,
    ];

    /// Returns the name in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Object(kind) => kind.as_str(),
            Self::Orphan => "Orphan",
            Self::KeySecret => "KeySecret",
            Self::Sweep => "Sweep",
        }
    }
}

impl Work {
    /// Returns its kind.
    pub const fn kind(&self) -> WorkKind {
        match self {
            Self::Object(kind, _) => WorkKind::Object(*kind),
            Self::Orphan(..) => WorkKind::Orphan,
            Self::KeySecret(_) => WorkKind::KeySecret,
            Self::Sweep => WorkKind::Sweep,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(_, key) | Self::Orphan(key, _) | Self::KeySecret(key) => {
                write!(out, "{} {key}", self.kind().as_str())
            }
            Self::Sweep => out.write_str(self.kind().as_str()),
        }
    }
}

impl Whose for Work {
    fn whose(&self) -> Arc<str> {
        match self {
            Self::Object(_, ObjectKey { namespace, .. })
            | Self::Orphan(_, namespace)
            | Self::KeySecret(ObjectKey { namespace, .. }) => namespace.clone(),
            Self::Sweep => Arc::default(),
        }
    }
}
