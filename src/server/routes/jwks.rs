//! The JWK Set (RFC 7517).

use axum::response::Response;

use super::discovery::of_site;
use crate::server::request::Call;

pub async fn handle(call: Call) -> Response {
    of_site(&call, |site| &site.jwks)
}
