//! The authorization endpoint (RFC 6749 section 3.1, OpenID Connect Core section 3.1.2).
//!
//! A GET begins a request or goes on with a flow. A POST begins a request too, and goes on as a GET: a form of another
//! site brings no cookies. Nothing is written before a sign-in.

use axum::response::Response;

use super::flow;
use super::guest::{self, FLOW, Guest, Stop};
use super::proceed::{Next, proceed};
use crate::oauth::authorize::Flow;
use crate::oauth::authorize::flow::Requested;
use crate::oauth::authorize::request::{Refused, check, prompts_none};
use crate::oauth::{Endpoint, Form, OAuthError, Refusal};
use crate::pages::Kind;
use crate::server::people::metrics::AuthorizationOutcome;
use crate::server::request::Call;
use crate::tokens::reference;

/// The start of a `request_uri` of the PAR endpoint (RFC 9126 section 2.2).
pub const REQUEST_URI: &str = "urn:ietf:params:oauth:request_uri:";

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    guest::serve(call, counted).await
}

async fn counted(guest: &mut Guest) -> Result<Response, Stop> {
    let answer = answer(guest).await;
    let page = match &answer {
        Ok(page) => Some(page),
        Err(Stop::Answer(page)) => Some(&**page),
        Err(_) => None,
    };
    if page.is_some_and(|page| page.status().is_client_error()) {
        let metrics = guest.call.app.metrics();
        metrics.people().authorized(AuthorizationOutcome::Page);
    }
    answer
}

async fn answer(guest: &mut Guest) -> Result<Response, Stop> {
    if guest.is_post() {
        let body = guest.body().await?;
        let flow = begin(guest, &body)?;
        // The cookies of the browser come with the next request.
        let sealed = match flow::seal_unbound(guest, &flow) {
            Ok(sealed) => sealed,
            Err(error) => return Ok(refuse(guest, &flow, error)),
        };
        return Ok(guest::redirect(
            &guest.path(Endpoint::Authorize, &[(FLOW, &sealed)]),
        ));
    }
    let flow = match guest.parameter(FLOW) {
        Some(text) => flow::open(guest, &text)?,
        None => {
            let query = guest.call.head.uri.query().unwrap_or_default().to_owned();
            begin(guest, query.as_bytes())?
        }
    };
    go_on(guest, &flow, false).await
}

/// Begins a flow with the parameters of a request.
fn begin(guest: &Guest, parameters: &[u8]) -> Result<Flow, Stop> {
    let invalid = |error: OAuthError| {
        let reason = error.description;
        guest.stop(Kind::InvalidRequest { reason }, None)
    };
    let form = Form::parse(parameters).map_err(invalid)?;
    let client_id = form
        .require("client_id", "client_id is missing")
        .map_err(invalid)?;
    let Some(registered) = guest.snapshot.registry().client(client_id) else {
        return Err(guest.stop(Kind::UnknownClient, None));
    };
    let requested = match form.get("request_uri").and_then(|uri| pushed(guest, uri)) {
        Some(requested) => requested,
        None => match check(&form, &registered.registration(), false) {
            Ok(request) => Requested::Here(Box::new(request)),
            Err(Refused::Page(_)) if form.get("redirect_uri").is_some() => {
                return Err(guest.stop(Kind::UnknownRedirectUri, None));
            }
            Err(Refused::Page(error)) => return Err(invalid(error)),
            Err(Refused::Client(return_to, error)) => {
                let is_silent = prompts_none(&form);
                let answer = guest.refuse_early(&return_to, registered.name(), is_silent, error);
                return Err(Stop::Answer(Box::new(answer)));
            }
        },
    };
    let (id, uid) = (registered.id().to_owned(), registered.uid().to_owned());
    Ok(Flow::begin(id, uid, requested, guest.now))
}

/// Reads the reference of a pushed request.
fn pushed(guest: &Guest, uri: &str) -> Option<Requested> {
    let parsed = reference::parse(uri.strip_prefix(REQUEST_URI)?).ok()?;
    let is_ours =
        parsed.kind == reference::Kind::PushedRequest && parsed.prefix == guest.own.prefix.as_str();
    is_ours.then_some(Requested::Pushed {
        id: parsed.id,
        hash: parsed.hash,
    })
}

/// Answers the client that its request does not fit into a URL. The parameters of a pushed one always do.
fn refuse(guest: &Guest, flow: &Flow, error: OAuthError) -> Response {
    match &flow.request {
        Requested::Here(request) => super::proceed::refuse(guest, &flow.client, request, error),
        Requested::Pushed { .. } => guest.notice(
            Kind::InvalidRequest {
                reason: error.description,
            },
            None,
        ),
    }
}

/// Goes on with a flow: answers the client, or leads the browser to the page that is next.
///
/// # Errors
/// The page that says why the request cannot go on.
pub async fn go_on(guest: &mut Guest, flow: &Flow, accepted: bool) -> Result<Response, Stop> {
    let (endpoint, flow) = match proceed(guest, flow, accepted).await? {
        Next::Respond(response) => return Ok(response),
        Next::SignIn(_) => (Endpoint::SignIn, flow.clone()),
        Next::Consent(asked) => {
            let shown = Some(asked.shown());
            let flow = flow.clone();
            (Endpoint::Consent, Flow { shown, ..flow })
        }
    };
    match flow::seal(guest, &flow) {
        Ok(sealed) => Ok(guest::redirect(&guest.path(endpoint, &[(FLOW, &sealed)]))),
        Err(error) => Ok(refuse(guest, &flow, error)),
    }
}
