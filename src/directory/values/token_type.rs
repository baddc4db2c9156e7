//! Converts the `accessTokenType` of resources to the type of `tokens::jwt`.

use crate::resources::AccessTokenType as Named;
use crate::tokens::jwt::AccessTokenType;

impl From<Named> for AccessTokenType {
    fn from(named: Named) -> Self {
        match named {
            Named::AtJwt => Self::AtJwt,
            Named::Jwt => Self::Jwt,
        }
    }
}
