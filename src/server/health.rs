//! Health and metrics, on a port of their own: `/livez`, `/readyz`, `/metrics`.

use axum::Router;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use super::App;
use crate::resources::STORE_FAILS;
use crate::telemetry::MEDIA_TYPE;

/// Returns the routes of the health port.
pub(super) fn router(app: App) -> Router {
    Router::new()
        // An answer proves that the process lives. A fault that passes by itself must not restart it.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .layer(from_fn_with_state(app.clone(), named))
        .with_state(app)
}

/// Refuses requests that name another host: a web page that rebinds its DNS name to this machine sends its own name.
async fn named(State(app): State<App>, request: Request, next: Next) -> Response {
    if app.is_meant_for_health(&request) {
        next.run(request).await
    } else {
        StatusCode::MISDIRECTED_REQUEST.into_response()
    }
}

async fn ready(State(app): State<App>) -> Response {
    match app.readiness(super::now()) {
        Ok(()) if app.status().store_fails() => format!("{STORE_FAILS}\n").into_response(),
        Ok(()) => "ok\n".into_response(),
        Err(why) => {
            let lacking = app.status().lacking(why);
            let lacking = lacking.map_or_else(String::new, |it| format!(": {it}"));
            (StatusCode::SERVICE_UNAVAILABLE, format!("{why}{lacking}\n")).into_response()
        }
    }
}

async fn metrics(State(app): State<App>) -> Response {
    match app.exposition(super::now()).await {
        Ok(text) => ([(CONTENT_TYPE, MEDIA_TYPE)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}
