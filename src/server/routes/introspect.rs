//! Token introspection (RFC 7662).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::people::{self, TokenOfPerson};
use crate::oauth::access_token::Inactive;
use crate::oauth::introspection::{INACTIVE, introspect};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::server::metrics::Introspected;
use crate::server::reply;
use crate::server::request::Call;

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let body = call.form_body().await?;
    answer(&call, &body, crate::server::now()).await
}

async fn answer(call: &Call, body: &[u8], now: Timestamp) -> Result<Response, Refusal> {
    let form = Form::parse(body)?;
    let serving = call.serving(now)?;
    let has_people = serving.site()?.people.is_some();
    // Only a person's token makes the request wait for the store.
    let serving = if has_people { serving.held() } else { serving };
    let (caller, _) = call.authenticate(&serving, &form, now)?;
    // The token's form tells its kind, so `token_type_hint` is ignored (RFC 7662 section 2.1).
    let text = form.require("token", "token is missing")?;
    let snapshot = serving.snapshot();
    let inactive = |reason: Inactive, id: Option<&str>| {
        call.app
            .metrics()
            .introspected(Introspected::Inactive(reason));
        if let Inactive::Invalid(_) | Inactive::TokenEnded(_) | Inactive::WrongAudience = reason {
            let client_id = &caller.client.record.client_id;
            call.audit_refusal(snapshot, client_id, id, reason.as_str());
        }
        reply::json(StatusCode::OK, INACTIVE)
    };
    let token = match serving.token(text)? {
        Ok(token) => token,
        Err(reason) => return Ok(inactive(reason, None)),
    };
    if let Some(of_person) = TokenOfPerson::recognise(&token, text, &serving) {
        let told = people::introspection::answer(call, &serving, &caller, &of_person, now);
        return Ok(match told.await? {
            Ok(response) => {
                call.app.metrics().introspected(Introspected::Active);
                response
            }
            Err(reason) => inactive(reason, Some(token.id())),
        });
    }
    let presented = token.presented();
    match introspect(snapshot.directory(), &caller, &presented, now) {
        Ok(active) => {
            call.app.metrics().introspected(Introspected::Active);
            if let Some(issued) = active.used() {
                call.app.uses().note(snapshot.directory(), issued, now);
            }
            let json = active.to_json().map_err(|_| {
                OAuthError::new(ErrorCode::ServerError, "the answer could not be serialized")
            })?;
            Ok(reply::json(StatusCode::OK, json))
        }
        Err(reason) => Ok(inactive(reason, Some(token.id()))),
    }
}
