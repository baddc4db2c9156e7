//! The routes: every path below the path of the issuer, and what all requests have in common.

use std::future::Future;
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
use super::state::State;
use super::{reply, routes};
use crate::oauth::discovery::paths;
use crate::telemetry::{Endpoint, traces};

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
    use routes::{check_token, discovery, health, introspect, jwks, revocation, token};
    let at = |below: &str| format!("{path}{below}");
    // The well-known part stands at the root, and the issuer's path follows it (RFC 8414 section 3.1).
    let metadata = format!("{}{path}", paths::AUTHORIZATION_SERVER);
    // A gateway's name, then any path that the proxy appends. Without a name the gateway is unknown.
    let unnamed = at(paths::CHECK_TOKEN);
    let gateways = [
        format!("{unnamed}/{{*gateway}}"),
        format!("{unnamed}/"),
        unnamed,
    ];
    let check = || on(Endpoint::CheckToken, Methods::Any, check_token::handle);

    let routes = Router::new()
        .route(
            &at(paths::OPENID_CONFIGURATION),
            read(Endpoint::Discovery, discovery::openid),
        )
        .route(
            &metadata,
            read(Endpoint::Discovery, discovery::authorization_server),
        )
        .route(&at(paths::JWKS), read(Endpoint::Jwks, jwks::handle))
        .route(
            &at(paths::HEALTH),
            on(Endpoint::Health, Methods::Probe, health::handle),
        )
        .route(&at(paths::TOKEN), post(Endpoint::Token, token::handle))
        .route(
            &at(paths::INTROSPECTION),
            post(Endpoint::Introspection, introspect::handle),
        )
        .route(
            &at(paths::REVOCATION),
            post(Endpoint::Revocation, revocation::handle),
        )
        .fallback_service(on(Endpoint::Other, Methods::Any, |_| async {
            reply::not_found()
        }));
    gateways
        .iter()
        .fold(routes, |routes, path| routes.route(path, check()))
}

/// The methods that a path accepts.
#[derive(Clone, Copy)]
enum Methods {
    /// Reading, also by web pages of any origin.
    Read,
    /// Reading, not by web pages.
    Probe,
    /// Posting a form.
    Post,
    /// Any method: a proxy may forward the method of the request that it asks about.
    Any,
}

impl Methods {
    const READ: &str = "GET, HEAD, OPTIONS";
    const PROBE: &str = "GET, HEAD";
    const POST: &str = "POST";

    /// Returns the answer to a method that the path does not accept.
    fn refuse(self, method: &Method) -> Option<Response> {
        match (self, method) {
            (Self::Any, _)
            | (Self::Read | Self::Probe, &Method::GET | &Method::HEAD)
            | (Self::Post, &Method::POST) => None,
            (Self::Read, &Method::OPTIONS) => Some(reply::preflight(Self::READ)),
            (Self::Read, _) => Some(reply::method_not_allowed(Self::READ)),
            (Self::Probe, _) => Some(reply::method_not_allowed(Self::PROBE)),
            (Self::Post, _) => Some(reply::method_not_allowed(Self::POST)),
        }
    }
}

fn read<H, F>(endpoint: Endpoint, handler: H) -> MethodRouter
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    on(endpoint, Methods::Read, handler)
}

fn post<H, F>(endpoint: Endpoint, handler: H) -> MethodRouter
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    on(endpoint, Methods::Post, handler)
}

/// Creates a route. The checks, headers, metrics and traces of every request are in this function alone.
fn on<H, F>(endpoint: Endpoint, methods: Methods, handler: H) -> MethodRouter
where
    H: Fn(Call) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
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
            // A copy: HTTP/2's table keeps the header fields of answers, and a shared value would keep the whole read
            // buffer alive.
            let id = request_id(request.headers()).map(HeaderValue::as_bytes);
            let id = id.and_then(|id| HeaderValue::from_bytes(id).ok());
            let span = traces::request(endpoint.as_str(), request.method(), || {
                let snapshot = app.publisher().current();
                traceparent(request.headers(), snapshot.directory(), snapshot.identity())
            });
            let mut response = match methods.refuse(request.method()) {
                Some(refusal) => refusal,
                // At checktoken the length does not matter: proxies append the caller's path, which is ignored.
                None if endpoint != Endpoint::CheckToken && is_too_long(&app, &request) => {
                    reply::uri_too_long()
                }
                None => {
                    let answer = handler(Call::new(arrival, endpoint, request));
                    answer.instrument(span.clone()).await
                }
            };
            let headers = response.headers_mut();
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            if app
                .publisher()
                .current()
                .site()
                .is_some_and(|site| site.is_https)
            {
                headers.insert(
                    STRICT_TRANSPORT_SECURITY,
                    HeaderValue::from_static("max-age=31536000"),
                );
            }
            if let Some(id) = id {
                headers.insert("x-request-id", id);
            }
            let status = response.status().as_u16();
            traces::answered(&span, status);
            app.metrics().answered(endpoint, status, started.elapsed());
            response
        }
    })
}

fn is_too_long(app: &State, request: &Request) -> bool {
    let uri = request.uri();
    uri.path().len() + uri.query().map_or(0, str::len) > app.limits().uri
}
