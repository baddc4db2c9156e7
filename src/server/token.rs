//! The text of a presented token, parsed and verified with the keys. Whether the token is valid now is judged by
//! `oauth`.

use crate::keys::{KeyRing, VerifiedToken};
use crate::oauth::access_token::{Inactive, PresentedToken};
use crate::tokens::reference;

/// Every JWT contains dots, and no reference token does.
pub(super) fn is_jwt(token: &str) -> bool {
    token.contains('.')
}

/// A parsed token. The signature of a JWT is verified.
#[derive(Debug)]
pub(super) enum ParsedToken<'a> {
    Reference(reference::Presented<'a>),
    Jwt(Box<VerifiedToken>),
}

impl<'a> ParsedToken<'a> {
    /// Parses untrusted text.
    ///
    /// # Errors
    /// [`Inactive::Malformed`].
    pub fn parse(token: &'a str, ring: &KeyRing) -> Result<Self, Inactive> {
        if is_jwt(token) {
            let verified = ring.verify(token).map_err(|_| Inactive::Malformed)?;
            Ok(Self::Jwt(Box::new(verified)))
        } else {
            reference::parse(token)
                .map(Self::Reference)
                .map_err(|_| Inactive::Malformed)
        }
    }

    /// Returns the token in the form that `oauth` takes.
    pub fn presented(&self) -> PresentedToken<'_> {
        match self {
            Self::Reference(token) => PresentedToken::Reference(*token),
            Self::Jwt(token) => PresentedToken::Jwt(&token.claims),
        }
    }

    /// Returns the public ID of the token.
    pub fn id(&self) -> &str {
        match self {
            Self::Reference(token) => token.id.as_str(),
            Self::Jwt(token) => &token.claims.jti,
        }
    }
}
