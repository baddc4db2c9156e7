//! Pushed authorization requests (RFC 9126).

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::Response;

use super::authorize::REQUEST_URI;
use super::proceed::granted;
use super::{people, unavailable};
use crate::oauth::authorize::request::{Refused, check};
use crate::oauth::{ErrorCode, Form, OAuthError, Refusal};
use crate::people::later;
use crate::people::pushed::{self, Pushed};
use crate::server::networks;
use crate::server::people::site::PeopleSite;
use crate::server::reply;
use crate::server::request::Call;
use crate::store::area::pushed::Room;
use crate::tokens::{Kind, SystemEntropy, reference};

pub async fn handle(mut call: Call) -> Result<Response, Refusal> {
    let has_people = call.serving(crate::server::now())?.site()?.people.is_some();
    if !has_people {
        return Ok(reply::not_found());
    }
    let body = call.form_body().await?;
    // What holds now, not when the first byte came.
    let now = crate::server::now();
    let serving = call.serving(now)?.held();
    let Some(own) = serving.site()?.people.as_deref() else {
        return Ok(reply::not_found());
    };
    let people = people(&call)?;
    let form = Form::parse(&body)?;
    let (client, _) = call.identify(&serving, &form, now)?;
    let snapshot = serving.snapshot();
    let client_id = &client.client.record.client_id;
    let refused = |error: OAuthError| {
        call.app.metrics().refused(error.code);
        call.audit_refusal(snapshot, client_id, None, error.code.as_str());
        Refusal::from(error)
    };
    let registered = snapshot.registry().client(client_id);
    let registered = registered.ok_or_else(|| {
        refused(OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "this client may not sign people in",
        ))
    })?;
    // RFC 9126 section 2.3.
    let too_many = |wait| {
        let refusal = Refusal::TooManyRequests(wait);
        call.app.metrics().refused(refusal.error().code);
        call.audit_refusal(snapshot, client_id, None, "too_many_pushed_requests");
        refusal
    };
    let request = match check(&form, &registered.registration(), true) {
        Ok(request) => request,
        Err(Refused::Page(error) | Refused::Client(_, error)) => return Err(refused(error)),
    };
    // The authorization endpoint would refuse these for every person.
    granted(snapshot, &registered, &request, None).map_err(refused)?;
    let noise = call.app.noise();
    let is_public = registered.client.is_public;
    let counted = if is_public {
        // Everyone can push in the name of a public client: no address and no site may use up what the client has.
        noise.pushed(call.peer, client_id)
    } else {
        noise.pushed_by(client_id)
    };
    counted.map_err(too_many)?;
    let text = request.to_stored().map_err(refused)?;
    let minted = reference::mint(&own.prefix, Kind::PushedRequest, &mut SystemEntropy);
    let request = Pushed {
        id: minted.id,
        hash: minted.hash,
        client: client_id.as_ref().to_owned(),
        request: text,
        expires_at: later(now, PeopleSite::PUSHED),
        presented_at: None,
        used_at: None,
    };
    let room = Room {
        namespace: client.client.object.key.namespace.to_string(),
        site: is_public.then(|| pushed::site(call.peer.map(networks::site))),
        of_client: PeopleSite::MAX_PUSHED,
        of_namespace: PeopleSite::MAX_PUSHED_OF_NAMESPACE,
    };
    let turn = call.give_turn_back();
    let stored = people.store.push_request(request, &room).await;
    turn.take_again().await;
    match stored {
        Ok(true) => {}
        // Others take the places faster than the oldest requests go.
        Ok(false) => return Err(too_many(Duration::from_secs(1))),
        Err(error) => return Err(unavailable(&call, &error)),
    }
    let (reference, expires_in) = (minted.token.expose(), PeopleSite::PUSHED.as_secs());
    // Nothing needs escaping: a reference has letters, digits and an underscore.
    let body = format!(r#"{{"request_uri":"{REQUEST_URI}{reference}","expires_in":{expires_in}}}"#);
    Ok(reply::json(StatusCode::CREATED, body))
}
