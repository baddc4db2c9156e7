//! The public documents: OpenID Connect Discovery 1.0 section 4, RFC 8414 section 3, and the JWK Set (RFC 7517).

use axum::response::Response;

use crate::oauth::Refusal;
use crate::server::reply;
use crate::server::request::Call;
use crate::server::snapshot::{ServedDocument, Site};

/// Returns a document of the site. Public documents are served even if the snapshot is too old for other answers.
pub fn handle(call: &Call, choose: fn(&Site) -> &ServedDocument) -> Result<Response, Refusal> {
    let snapshot = call.app.publisher().current();
    let site = snapshot.site().ok_or(Refusal::Unavailable)?;
    Ok(reply::document(choose(site), &call.head.headers))
}
