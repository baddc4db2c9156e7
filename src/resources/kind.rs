//! The kinds, announced or not.

use super::extent::{Extent, PEOPLE};

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

/// The number of announced kinds.
const ANNOUNCED: usize = Kind::WHOLE.len() - (!PEOPLE) as usize;

impl Kind {
    /// All kinds, announced or not.
    pub const WHOLE: [Self; 6] = [
        Self::Identity,
        Self::Scope,
        Self::OAuthClient,
        Self::ServiceAccessToken,
        Self::User,
        Self::Credential,
    ];

    /// All announced kinds.
    pub const ALL: [Self; ANNOUNCED] = {
        let mut all = [Self::Credential; ANNOUNCED];
        let (mut from, mut to) = (0, 0);
        while from < Self::WHOLE.len() {
            if PEOPLE || !matches!(Self::WHOLE[from], Self::User) {
                all[to] = Self::WHOLE[from];
                to += 1;
            }
            from += 1;
        }
        all
    };

    /// Returns the kinds that exist in an extent.
    pub const fn within(extent: Extent) -> &'static [Self] {
        match extent {
            Extent::Announced => &Self::ALL,
            Extent::Whole => &Self::WHOLE,
        }
    }

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

    /// Returns the announced kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::named(name, Extent::Announced)
    }

    /// Returns the kind with this name in an extent.
    pub fn named(name: &str, extent: Extent) -> Option<Self> {
        let mut kinds = Self::within(extent).iter();
        kinds.find(|kind| kind.as_str() == name).copied()
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
