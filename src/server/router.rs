//! The routes: a handler for each entry in the table of endpoints, and what all requests have in common.

use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwapOption;
use axum::Router;
use axum::extract::Request;
use axum::http::header::{STRICT_TRANSPORT_SECURITY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::response::Response;
use axum::routing::{MethodRouter, any};
use tracing::Instrument as _;

use super::origin::{request_id, traceparent};
use super::request::{Arrival, Call};
use super::routes::people;
use super::snapshot::{ServedDocument, Site};
use super::state::State;
use super::{cross_origin as pages, reply, routes};
use crate::oauth::Refusal;
use crate::oauth::cors::Sharing;
use crate::oauth::endpoint::{Endpoint, EndpointPath, Methods};
use crate::telemetry::traces;

/// The routes of the issuer that is served. They are built once, and again only when its path changes.
#[derive(Default)]
pub(super) struct Routes(ArcSwapOption<(String, Router)>);

impl Routes {
    /// Returns the routes of an issuer with this path.
    pub fn of(&self, path: &str) -> Router {
        if let Some((known, router)) = self.0.load().as_deref()
            && known == path
        {
            return router.clone();
        }
        let router = router(path);
        self.0
            .store(Some(Arc::new((path.to_owned(), router.clone()))));
        router
    }
}

fn router(path: &str) -> Router {
    // Without people, those endpoints answer as if they did not exist.
    Endpoint::ALL
        .iter()
        .copied()
        .fold(Router::new(), |routes, endpoint| {
            let handler = handler(endpoint);
            let own = endpoint.path(path);
            match endpoint.place() {
                EndpointPath::BelowIssuer(_) | EndpointPath::BeforeIssuer(_) => {
                    routes.route(&own, handler)
                }
                EndpointPath::Subtree(_) => [format!("{own}/{{*rest}}"), format!("{own}/"), own]
                    .iter()
                    .fold(routes, |routes, path| routes.route(path, handler.clone())),
                EndpointPath::Elsewhere => routes.fallback_service(handler),
            }
        })
}

/// Returns the handler of an endpoint.
fn handler(endpoint: Endpoint) -> MethodRouter {
    use routes::people::{authorize, consent, end_session, enrolment, par, sign_in, userinfo};
    use routes::{check_token, health, introspect, revocation, token};
    match endpoint {
        Endpoint::OpenIdConfiguration => document(endpoint, |site| &site.openid),
        Endpoint::AuthorizationServer => document(endpoint, |site| &site.authorization_server),
        Endpoint::Jwks => document(endpoint, |site| &site.jwks),
        Endpoint::Token => on(endpoint, token::handle),
        Endpoint::Introspection => on(endpoint, introspect::handle),
        Endpoint::Revocation => on(endpoint, revocation::handle),
        Endpoint::CheckToken => on(endpoint, check_token::handle),
        Endpoint::Health => on(endpoint, health::handle),
        Endpoint::Authorize => on(endpoint, authorize::handle),
        Endpoint::SignIn => on(endpoint, sign_in::handle),
        Endpoint::Consent => on(endpoint, consent::handle),
        Endpoint::Enrolment => on(endpoint, enrolment::handle),
        Endpoint::EndSession => on(endpoint, end_session::handle),
        Endpoint::PushedRequest => on(endpoint, par::handle),
        Endpoint::UserInfo => on(endpoint, userinfo::handle),
        Endpoint::Other => on(endpoint, |_| async { Ok(reply::not_found()) }),
    }
}

fn document(endpoint: Endpoint, choose: fn(&Site) -> &ServedDocument) -> MethodRouter {
    on(endpoint, move |call| {
        ready(routes::document::handle(&call, choose))
    })
}

/// Returns which pages of others may read the answers of an endpoint. Public documents say so themselves.
const fn sharing(endpoint: Endpoint) -> Sharing {
    match endpoint {
        Endpoint::Token | Endpoint::Revocation | Endpoint::PushedRequest | Endpoint::UserInfo => {
            Sharing::Registered
        }
        _ => Sharing::None,
    }
}

/// Returns whether the Identity has people.
fn has_people(app: &State) -> bool {
    let snapshot = app.publisher().current();
    snapshot.site().is_some_and(|site| site.people.is_some())
}

/// Checks what every endpoint checks. Returns the answer if the request needs no handler.
fn check(app: &State, endpoint: Endpoint, request: &Request) -> Result<Option<Response>, Refusal> {
    if endpoint.is_of_people() && !has_people(app) {
        return Ok(Some(reply::not_found()));
    }
    let allowed = endpoint.methods().allowed();
    match (endpoint.methods(), request.method()) {
        (Methods::Any, _)
        | (Methods::Read | Methods::Probe, &Method::GET | &Method::HEAD)
        | (Methods::Post, &Method::POST)
        | (Methods::Page | Methods::ReadOrPost, &Method::GET | &Method::POST) => {}
        (Methods::Read, &Method::OPTIONS) => return Ok(Some(reply::preflight(allowed))),
        (Methods::Post | Methods::ReadOrPost, &Method::OPTIONS)
            if sharing(endpoint) == Sharing::Registered && has_people(app) =>
        {
            return Ok(Some(pages::preflight(app, request.headers())));
        }
        _ => return Err(Refusal::MethodNotAllowed(allowed)),
    }
    let uri = request.uri();
    let length = uri.path().len() + uri.query().map_or(0, str::len);
    // In a subtree the length does not matter: proxies append the caller's path, which is ignored.
    if !matches!(endpoint.place(), EndpointPath::Subtree(_)) && length > app.limits().uri {
        return Err(Refusal::UriTooLong);
    }
    Ok(None)
}

/// Creates a route. The checks, headers, metrics and traces of every request are in this function alone.
fn on<H, F>(endpoint: Endpoint, handler: H) -> MethodRouter
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Result<Response, Refusal>> + Send + 'static,
{
    any(move |mut request: Request| {
        let arrival = request.extensions_mut().remove::<Arrival>();
        let handler = handler.clone();
        async move {
            let Some(arrival) = arrival else {
                // Only a request that bypasses `App::answer` gets here.
                return reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
            };
            let started = Instant::now();
            let app = arrival.app.clone();
            let reader = pages::Reader::of(sharing(endpoint), &app, request.headers());
            // A copy: HTTP/2's table keeps the header fields of answers, and a shared value would keep the whole read
            // buffer alive.
            // Caches store documents: one caller's ID must not reach another.
            let is_document = endpoint.methods() == Methods::Read;
            let id = request_id(request.headers()).filter(|_| !is_document);
            let id = id.map(HeaderValue::as_bytes);
            let id = id.and_then(|id| HeaderValue::from_bytes(id).ok());
            // Whether a trace is recorded is decided by its first span: not by a stranger.
            let is_of_proxy = arrival.is_of_proxy;
            let span = traces::request(endpoint.name(), request.method(), || {
                if !is_of_proxy {
                    return None;
                }
                let snapshot = app.publisher().current();
                traceparent(request.headers(), snapshot.directory(), snapshot.identity())
            });
            let answer = match check(&app, endpoint, &request) {
                Ok(None) => {
                    let call = Call::new(arrival, endpoint, request);
                    let answer = handler(call.noting(reader.client()));
                    answer.instrument(span.clone()).await
                }
                Ok(Some(answer)) => Ok(answer),
                Err(refusal) if endpoint.methods() == Methods::Page => {
                    let snapshot = app.publisher().current();
                    let page = people::refused(request.headers(), refusal, snapshot.site());
                    Ok(page.unwrap_or_else(reply::not_found))
                }
                Err(refusal) => Err(refusal),
            };
            let snapshot = app.publisher().current();
            let site = snapshot.site();
            let mut response = answer.unwrap_or_else(|refusal| reply::refused(refusal, site));
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if site.is_some_and(|site| site.is_https) {
                headers.insert(
                    STRICT_TRANSPORT_SECURITY,
                    HeaderValue::from_static("max-age=31536000"),
                );
            }
            if let Some(id) = id {
                headers.insert("x-request-id", id);
            }
            reader.allow(&snapshot, headers);
            let status = response.status().as_u16();
            traces::answered(&span, status);
            app.metrics().answered(endpoint, status, started.elapsed());
            response
        }
    })
}
