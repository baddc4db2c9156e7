//! The kinds.

/// The kinds, in the order in which they are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "names of kinds")]
pub enum Kind {
    Identity,
    Scope,
    OAuthClient,
    ServiceAccessToken,
    User,
    Credential,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 6] = [
        Self::Identity,
        Self::Scope,
        Self::OAuthClient,
        Self::ServiceAccessToken,
        Self::User,
        Self::Credential,
    ];

    /// Returns the name in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Identity => "Identity",
            Self::Scope => "Scope",
            Self::OAuthClient => "OAuthClient",
            Self::ServiceAccessToken => "ServiceAccessToken",
            Self::User => "User",
            Self::Credential => "Credential",
        }
    }

    /// Returns the kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the plural in URLs and file names.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::Identity => "identities",
            Self::Scope => "scopes",
            Self::OAuthClient => "oauthclients",
            Self::ServiceAccessToken => "serviceaccesstokens",
            Self::User => "users",
            Self::Credential => "credentials",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(self.as_str())
    }
}
