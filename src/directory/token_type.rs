//! One name for the type of an access token in the resources, another in the formats: here they meet.

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
