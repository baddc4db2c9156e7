//! The end session endpoint (OpenID Connect RP-Initiated Logout 1.0): asks the person, ends the session, tells its
//! clients, and leads back.

use std::sync::Arc;

use axum::response::Response;

use super::guest::{self, Guest, PROOF, Stop, redirect};
use super::proceed::hint_of;
use super::sign_in::present;
use crate::oauth::end_session::{Case, Decision, Fault, Next, Request, decide};
use crate::oauth::redirect_uri::with_query;
use crate::oauth::{Endpoint, Form, Refusal, frontchannel_logout};
use crate::pages::{
    self, ClientUri, ConfirmSignOut, Field, Kind, LocalPath, SignedOut, WayBack, field,
};
use crate::people::notice::Participant;
use crate::server::people::metrics::SignOutOutcome;
use crate::server::request::Call;
use crate::store::StoreError;
use crate::telemetry::audit::Event;
use crate::tokens::TokenId;

/// The form's name in its proof.
const FORM: &str = "end-session";

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    guest::serve(call, answer).await
}

/// What the person said on the page that asks.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    SignOut,
    Stay,
}

async fn answer(guest: &mut Guest) -> Result<Response, Stop> {
    if !guest.is_post() {
        let query = guest.call.head.uri.query().unwrap_or_default().to_owned();
        let form = Form::parse(query.as_bytes())?;
        let request = Request::of(&form)?;
        return go_on(guest, &request, Said::Nothing).await;
    }
    let body = guest.body().await?;
    let form = Form::parse(&body)?;
    let request = Request::of(&form)?;
    if form.get(PROOF).is_none() {
        // A form of another site brings no cookies: they come with the next request.
        let path = with_parameters(guest, &request);
        let limit = guest.call.app.limits().uri;
        if path.len() > limit {
            return Err(Refusal::TooLarge.into());
        }
        return Ok(redirect(&path));
    }
    let again = with_parameters(guest, &request);
    guest.check(&form, FORM, Some(&again))?;
    let said = if form.get(field::DECISION) == Some(field::ACCEPT) {
        Said::SignOut
    } else {
        Said::Stay
    };
    go_on(guest, &request, said).await
}

/// The parameters of a request.
fn parameters(request: &Request) -> Vec<(&'static str, &str)> {
    [
        ("id_token_hint", &request.id_token_hint),
        ("client_id", &request.client_id),
        (
            "post_logout_redirect_uri",
            &request.post_logout_redirect_uri,
        ),
        ("state", &request.state),
        ("ui_locales", &request.ui_locales),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value.as_deref()?)))
    .collect()
}

/// Returns the path of this endpoint with the parameters of a request.
fn with_parameters(guest: &Guest, request: &Request) -> String {
    let path = guest.path(Endpoint::EndSession, &[]);
    let parameters = parameters(request);
    if parameters.is_empty() {
        return path;
    }
    with_query(&path, parameters)
}

/// The session of the browser.
struct Present {
    id: TokenId,
    subject: String,
}

async fn go_on(guest: &mut Guest, request: &Request, said: Said) -> Result<Response, Stop> {
    let locales = request.ui_locales.as_deref().unwrap_or_default();
    let locales: Vec<String> = locales.split(' ').map(str::to_owned).collect();
    guest.speak(&locales);
    let snapshot = Arc::clone(&guest.snapshot);
    let issuer = guest.site.issuer.clone();
    let hint = request.id_token_hint.as_deref();
    let hint = hint.and_then(|text| hint_of(&snapshot, &issuer, text));
    let named = request.client(hint.as_ref());
    let client = named.and_then(|id| snapshot.registry().client(id));
    let session = session(guest).await?;
    let case = Case {
        hint: hint.as_ref(),
        registered: client
            .as_ref()
            .map(|client| client.post_logout_redirect_uris.as_slice()),
        session: session
            .as_ref()
            .map(|session| (session.id, &*session.subject)),
    };
    let name = client.as_ref().map(|client| client.name().to_owned());
    match (decide(request, &case), session) {
        (Decision::Refuse(fault), _) => Err(refuse(guest, fault)),
        (Decision::Ask(_) | Decision::End(_), Some(_)) if said == Said::Stay => stays(guest).await,
        (Decision::Ask(_), Some(_)) if said == Said::Nothing => {
            ask(guest, request, name.as_deref()).await
        }
        (Decision::Ask(next) | Decision::End(next), Some(session)) => {
            end(guest, session, &next, name.as_deref()).await
        }
        (Decision::Ask(next) | Decision::End(next) | Decision::Nothing(next), _) => {
            guest
                .call
                .app
                .metrics()
                .people()
                .signed_out(SignOutOutcome::Nothing);
            Ok(gone(guest, &next, name.as_deref(), &[]))
        }
    }
}

async fn session(guest: &Guest) -> Result<Option<Present>, Stop> {
    let found = guest.use_session().await?;
    Ok(found.map(|(session, account)| Present {
        id: session.id,
        subject: account.id.0.to_string(),
    }))
}

fn refuse(guest: &Guest, fault: Fault) -> Stop {
    let reason = match fault {
        Fault::UnknownClient => return guest.stop(Kind::UnknownClient, None),
        Fault::OtherClient => "the id_token_hint was issued to another client",
        Fault::UnknownUri => "the post_logout_redirect_uri is not registered for this client",
    };
    guest.stop(Kind::InvalidRequest { reason }, None)
}

async fn ask(guest: &mut Guest, request: &Request, client: Option<&str>) -> Result<Response, Stop> {
    let person = present(guest).await?.unwrap_or_default();
    let proof = guest.proof(FORM);
    guest.is_at(with_parameters(guest, request));
    let mut hidden = vec![Field {
        name: PROOF,
        value: &proof,
    }];
    hidden.extend(
        parameters(request)
            .into_iter()
            .map(|(name, value)| Field { name, value }),
    );
    let action = guest.path(Endpoint::EndSession, &[]);
    let Some(action) = LocalPath::new(&action) else {
        return Err(guest.stop(Kind::Internal, None));
    };
    let page = ConfirmSignOut {
        form: pages::Form {
            action,
            hidden: &hidden,
        },
        person: &person,
        client,
    };
    guest
        .call
        .app
        .metrics()
        .people()
        .signed_out(SignOutOutcome::Asked);
    Ok(guest.render(|context| page.render(context)))
}

async fn stays(guest: &mut Guest) -> Result<Response, Stop> {
    let person = present(guest).await?.unwrap_or_default();
    guest
        .call
        .app
        .metrics()
        .people()
        .signed_out(SignOutOutcome::Refused);
    Ok(guest.notice(Kind::StaysSignedIn { person: &person }, None))
}

/// Ends the session.
async fn end(
    guest: &mut Guest,
    session: Present,
    next: &Next,
    client: Option<&str>,
) -> Result<Response, Stop> {
    let now = crate::server::now();
    let (people, app) = (Arc::clone(&guest.people), guest.call.app.clone());
    let origin = guest.lasting_origin();
    let Present { id, subject } = session;
    let ended = guest.carry_out(async move {
        let participants = people.end_session(id, now).await?;
        origin.record(&Event {
            event: "signed_out",
            subject: Some(&subject),
            session: Some(id.as_str()),
            ..Event::default()
        });
        let signed_out = SignOutOutcome::SignedOut;
        app.metrics().people().signed_out(signed_out);
        Ok::<_, StoreError>(participants)
    });
    let participants = ended.await??;
    let frames = frames(guest, id, &participants);
    guest.signed_out();
    Ok(gone(guest, next, client, &frames))
}

/// Returns what the page loads for the clients of the session.
fn frames(guest: &Guest, session: TokenId, participants: &[Participant]) -> Vec<String> {
    let (registry, issuer) = (guest.snapshot.registry(), &guest.site.issuer);
    participants
        .iter()
        .filter_map(|participant| {
            let client = registry.client(&participant.id)?;
            let uri = client.front_channel()?;
            (client.uid() == participant.uid)
                .then(|| frontchannel_logout::uri(uri, issuer, session))
        })
        .collect()
}

/// Leads back to the client, over the page that loads the frames if there are any; else shows that the person is signed
/// out.
fn gone(guest: &Guest, next: &Next, client: Option<&str>, frames: &[String]) -> Response {
    let back = match next {
        Next::Redirect(uri) if frames.is_empty() => return redirect(uri),
        Next::Redirect(uri) => ClientUri::new(uri).map(|uri| WayBack {
            uri,
            client: client.unwrap_or_default(),
        }),
        Next::Page => None,
    };
    let frames: Vec<ClientUri<'_>> = frames
        .iter()
        .filter_map(|uri| ClientUri::new(uri))
        .collect();
    let page = SignedOut {
        frames: &frames,
        back,
    };
    guest.render(|context| page.render(context))
}
