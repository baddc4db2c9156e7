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

impl Work {
    /// Returns its name in metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Object(kind, _) => kind.as_str(),
            Self::Orphan(..) => "Orphan",
            Self::KeySecret(_) => "KeySecret",
            Self::Sweep => "Sweep",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object(_, key) | Self::Orphan(key, _) | Self::KeySecret(key) => {
                write!(out, "{} {key}", self.label())
            }
            Self::Sweep => out.write_str(self.label()),
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
