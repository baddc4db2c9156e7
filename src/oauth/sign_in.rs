//! How a person signed in, as tokens tell it.

use jiff::Timestamp;

use crate::people::grant::Grant;
use crate::tokens::TokenId;

/// How a person signed in.
#[derive(Clone, Copy, Debug)]
pub struct SignIn<'a> {
    /// The session (`sid`).
    pub session: TokenId,
    /// When.
    pub at: Timestamp,
    /// How strongly: the value of `acr`.
    pub acr: Option<&'a str>,
    /// The values of `amr` (RFC 8176), separated by spaces.
    pub methods: &'a str,
}

impl<'a> From<&'a Grant> for SignIn<'a> {
    fn from(grant: &'a Grant) -> Self {
        Self {
            session: grant.session,
            at: grant.authenticated_at,
            acr: Some(&grant.acr),
            methods: &grant.methods,
        }
    }
}
