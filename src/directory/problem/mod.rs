//! What can be wrong with an object. Each message says what to write instead or who to ask.

pub mod suggest;

/// The reason of a condition: the closed list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(
    missing_docs,
    reason = "the names are the documentation's; the classes are described at Class"
)]
pub enum Reason {
    Pending,
    IdentityNotFound,
    IdentityNotReady,
    ClientNotFound,
    ScopeNotFound,
    NamespaceNotAllowed,
    ScopeNotGranted,
    ReferenceTokensDisabled,
    SystemUserMissing,
    SecretNotFound,
    RateLimited,
    Invalid,
    UnsupportedValue,
    NameNotOwned,
    ValueConflict,
    IssuerConflict,
    SecretConflict,
    SecretImmutable,
    WeakSecret,
    LimitExceeded,
    Expired,
    MintLimitReached,
    SecretAccessDenied,
    /// Of warnings only: the object is served, but another choice is safer.
    WeakChoice,
    ProgressDeadlineExceeded,
    Issuing,
    Rotating,
    RollingOut,
    Ready,
    Disabled,
    Revoked,
    DatabaseUnavailable,
    /// People need a store, and the Identity has none.
    StorageRequired,
}

/// What a [`Reason`] asks of people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// `Ready=False`, not stalled: resolves itself when another object changes.
    Waiting,
    /// `Ready=False`, `Stalled=True`: someone must edit an object.
    NeedsEdit,
    /// `Ready=False`, `Reconciling=True`: in progress.
    Working,
    /// `Ready=True`, `Reconciling=True`: what there is works, and its successor is in progress.
    Replacing,
    /// `Ready=True`.
    Good,
}

impl Reason {
    /// All reasons of conditions. [`Self::WeakChoice`] occurs in warnings only.
    pub const ALL: [Self; 32] = [
        Self::Pending,
        Self::IdentityNotFound,
        Self::IdentityNotReady,
        Self::ClientNotFound,
        Self::ScopeNotFound,
        Self::NamespaceNotAllowed,
        Self::ScopeNotGranted,
        Self::ReferenceTokensDisabled,
        Self::SystemUserMissing,
        Self::SecretNotFound,
        Self::StorageRequired,
        Self::RateLimited,
        Self::Invalid,
        Self::UnsupportedValue,
        Self::NameNotOwned,
        Self::ValueConflict,
        Self::IssuerConflict,
        Self::SecretConflict,
        Self::SecretImmutable,
        Self::WeakSecret,
        Self::LimitExceeded,
        Self::Expired,
        Self::MintLimitReached,
        Self::SecretAccessDenied,
        Self::ProgressDeadlineExceeded,
        Self::Issuing,
        Self::Rotating,
        Self::RollingOut,
        Self::DatabaseUnavailable,
        Self::Ready,
        Self::Disabled,
        Self::Revoked,
    ];

    /// Returns the name in conditions.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::IdentityNotFound => "IdentityNotFound",
            Self::IdentityNotReady => "IdentityNotReady",
            Self::ClientNotFound => "ClientNotFound",
            Self::ScopeNotFound => "ScopeNotFound",
            Self::NamespaceNotAllowed => "NamespaceNotAllowed",
            Self::ScopeNotGranted => "ScopeNotGranted",
            Self::ReferenceTokensDisabled => "ReferenceTokensDisabled",
            Self::SystemUserMissing => "SystemUserMissing",
            Self::SecretNotFound => "SecretNotFound",
            Self::RateLimited => "RateLimited",
            Self::Invalid => "Invalid",
            Self::UnsupportedValue => "UnsupportedValue",
            Self::NameNotOwned => "NameNotOwned",
            Self::ValueConflict => "ValueConflict",
            Self::IssuerConflict => "IssuerConflict",
            Self::SecretConflict => "SecretConflict",
            Self::SecretImmutable => "SecretImmutable",
            Self::WeakSecret => "WeakSecret",
            Self::LimitExceeded => "LimitExceeded",
            Self::Expired => "Expired",
            Self::MintLimitReached => "MintLimitReached",
            Self::SecretAccessDenied => "SecretAccessDenied",
            Self::WeakChoice => "WeakChoice",
            Self::Issuing => "Issuing",
            Self::Rotating => "Rotating",
            Self::RollingOut => "RollingOut",
            Self::DatabaseUnavailable => "DatabaseUnavailable",
            Self::ProgressDeadlineExceeded => "ProgressDeadlineExceeded",
            Self::StorageRequired => "StorageRequired",
            Self::Ready => "Ready",
            Self::Disabled => "Disabled",
            Self::Revoked => "Revoked",
        }
    }

    /// Returns what the reason asks of people.
    pub const fn class(self) -> Class {
        match self {
            Self::Pending
            | Self::IdentityNotFound
            | Self::IdentityNotReady
            | Self::ClientNotFound
            | Self::ScopeNotFound
            | Self::NamespaceNotAllowed
            | Self::ScopeNotGranted
            | Self::ReferenceTokensDisabled
            | Self::SystemUserMissing
            | Self::SecretNotFound
            | Self::StorageRequired
            | Self::RateLimited => Class::Waiting,
            Self::Invalid
            | Self::UnsupportedValue
            | Self::NameNotOwned
            | Self::ValueConflict
            | Self::IssuerConflict
            | Self::SecretConflict
            | Self::SecretImmutable
            | Self::WeakSecret
            | Self::LimitExceeded
            | Self::Expired
            | Self::MintLimitReached
            | Self::SecretAccessDenied
            | Self::ProgressDeadlineExceeded
            | Self::WeakChoice => Class::NeedsEdit,
            Self::Issuing | Self::RollingOut | Self::DatabaseUnavailable => Class::Working,
            Self::Rotating => Class::Replacing,
            Self::Ready | Self::Disabled | Self::Revoked => Class::Good,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}

/// How serious a [`Problem`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// The object is not served as written.
    Error,
    /// The object is served, but another choice is safer.
    Warning,
}

/// One thing that is wrong, its place, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Problem {
    /// How serious it is.
    pub severity: Severity,
    /// Reason of the object's condition.
    pub reason: Reason,
    /// Place in the object: a JSON Pointer (RFC 6901) such as `/spec/scopes/0`, empty for the whole object.
    pub path: String,
    /// What is wrong, and what to write instead or who to ask.
    pub message: String,
}

impl Problem {
    /// Creates an error at a JSON Pointer.
    pub fn error(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            reason,
            path: path.into(),
            message: message.into(),
        }
    }

    /// Creates a warning at a JSON Pointer.
    pub fn warning(reason: Reason, path: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            reason,
            path: path.into(),
            message: message.into(),
        }
    }
}
