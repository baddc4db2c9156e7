//! Converts the `accessTokenType` of resources to the type of `tokens::jwt`.

use crate::resources::AccessTokenType as Named;
use crate::tokens::jwt::TokenType;

impl From<Named> for TokenType {
    fn from(named: Named) -> Self {
        match named {
            Named::AtJwt => Self::AtJwt,
            Named::Jwt => Self::Jwt,
        }
    }
}
