//! Both discovery documents: `OpenID` Connect Discovery 1.0 section 4 and RFC 8414 section 3.

use axum::response::Response;

use crate::server::reply::{self, Refusal};
use crate::server::request::Call;
use crate::server::snapshot::{Document, Site};

pub async fn openid(call: Call) -> Response {
    of_site(&call, |site| &site.openid)
}

pub async fn authorization_server(call: Call) -> Response {
    of_site(&call, |site| &site.authorization_server)
}

/// Returns a document of the site. Public documents are served even if the snapshot is too old for other answers.
pub fn of_site(call: &Call, choose: impl Fn(&Site) -> &Document) -> Response {
    match call.app.publisher().current().site() {
        Some(site) => reply::document(choose(site), &call.head.headers),
        None => Refusal::Unavailable.response(),
    }
}
