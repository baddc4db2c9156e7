//! Answers to web pages of other origins (CORS): which pages may read an answer. The rules are in `oauth::cors`.

use std::sync::Arc;

use axum::http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;

use super::reply;
use super::request::RequestClient;
use super::snapshot::Snapshot;
use super::state::State;
use crate::oauth::cors::{
    ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS, MAX_AGE, Preflight, Sharing, answer,
    preflight as judge,
};

/// Answers a preflight: it passes if any client lists the origin.
pub(super) fn preflight(app: &State, headers: &HeaderMap) -> Response {
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let asked = Preflight {
        origin: text(ORIGIN),
        method: text(ACCESS_CONTROL_REQUEST_METHOD),
        headers: text(ACCESS_CONTROL_REQUEST_HEADERS),
    };
    let snapshot = app.publisher().current();
    let is_listed = |origin: &str| snapshot.registry().lists_origin(origin);
    let mut response = reply::empty(StatusCode::NO_CONTENT);
    let headers = response.headers_mut();
    headers.insert(VARY, HeaderValue::from_static("Origin"));
    let allowed = judge(Sharing::Registered, asked, is_listed);
    if let Some(origin) = allowed.and_then(|origin| HeaderValue::from_str(origin).ok()) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(ALLOWED_METHODS),
        );
        headers.insert(
            ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static(ALLOWED_HEADERS),
        );
        headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from(MAX_AGE));
    }
    response
}

/// A web page that sent a request, if one did.
pub(super) struct Reader(Option<(HeaderValue, RequestClient)>);

impl Reader {
    /// Returns the page that sent a request to an endpoint whose answers pages of registered origins may read.
    pub fn of(sharing: Sharing, app: &State, headers: &HeaderMap) -> Self {
        if sharing != Sharing::Registered {
            return Self(None);
        }
        let Some(origin) = headers.get(ORIGIN) else {
            return Self(None);
        };
        let snapshot = app.publisher().current();
        let has_people = snapshot.site().is_some_and(|site| site.people.is_some());
        // A copy: a shared value would keep the whole read buffer alive.
        let origin = HeaderValue::from_bytes(origin.as_bytes()).ok();
        let origin = origin.filter(|_| has_people);
        Self(origin.map(|origin| (origin, Arc::default())))
    }

    /// Returns where the client of the request must be noted.
    pub fn client(&self) -> Option<RequestClient> {
        let (_, client) = self.0.as_ref()?;
        Some(Arc::clone(client))
    }

    /// Lets the page read the answer if the client of the request lists its origin.
    pub fn allow(&self, snapshot: &Snapshot, headers: &mut HeaderMap) {
        let Some((origin, client)) = &self.0 else {
            return;
        };
        headers.insert(VARY, HeaderValue::from_static("Origin"));
        let is_listed = |origin: &str| {
            let registered = client
                .get()
                .and_then(|client| snapshot.registry().client(client));
            registered.is_some_and(|client| client.lists_origin(origin))
        };
        let allowed = answer(Sharing::Registered, origin.to_str().ok(), is_listed);
        if allowed.is_some() {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(
                ACCESS_CONTROL_EXPOSE_HEADERS,
                HeaderValue::from_static(EXPOSED_HEADERS),
            );
        }
    }
}
