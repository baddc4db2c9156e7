//! `/healthz`: for load balancers, which reach only the port of the requests.
//!
//! The status says whether the server should get requests. The body does not say why not, because the path is as public
//! as the issuer; `/readyz` on the health port does.

use axum::http::StatusCode;
use axum::response::Response;

use crate::oauth::Refusal;
use crate::server::reply;
use crate::server::request::Call;

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    Ok(match call.app.readiness(crate::server::now()) {
        Ok(()) => reply::empty(StatusCode::OK),
        Err(_) => reply::refused_without_body(Refusal::Unavailable),
    })
}
