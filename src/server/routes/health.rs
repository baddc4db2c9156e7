//! `/healthz`: for load balancers, which reach only the port of the requests.
//!
//! The status says whether the server should get requests. The body does not say why not, because the path is as public
//! as the issuer; `/readyz` on the health port does.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;

use crate::server::reply;
use crate::server::request::Call;

pub async fn handle(call: Call) -> Response {
    if call.app.readiness(crate::server::now()).is_ok() {
        return reply::empty(StatusCode::OK);
    }
    let mut response = reply::empty(StatusCode::SERVICE_UNAVAILABLE);
    let wait = HeaderValue::from(reply::RETRY_SECONDS);
    response.headers_mut().insert(RETRY_AFTER, wait);
    response
}
