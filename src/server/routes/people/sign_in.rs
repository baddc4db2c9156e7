//! The sign-in page and its form.

use std::sync::Arc;
use std::time::Duration;

use axum::response::Response;

use super::authorize::go_on;
use super::flow;
use super::guest::{self, FLOW, Guest, PROOF, Stop};
use super::proceed::{Looked, Next, SignIn, look};
use crate::directory::Barred;
use crate::oauth::authorize::Flow;
use crate::oauth::authorize::next::{DENIED, Reason, SignedIn};
use crate::oauth::{Endpoint, Form, Refusal};
use crate::pages::{self, Field, Kind, Label, LocalPath, Person, Problem, Way, field};
use crate::people::password::Password;
use crate::server::people::metrics::SignInOutcome;
use crate::server::people::sign_in::{
    BUSY, Candidate, Failed, Proved, SignedIn as Done, Tried, Wrong, canonical,
};
use crate::server::request::Call;
use crate::store::StoreError;
use crate::telemetry::Unverified;
use crate::telemetry::audit::Event;

/// The form's name in its proof.
const FORM: &str = "sign-in";
/// The parameter that offers a sign-in as another person.
const OTHER: &str = "other";
/// The longest name that is looked up, in bytes.
const MAX_NAME: usize = 512;

pub async fn handle(call: Call) -> Result<Response, Refusal> {
    guest::serve(call, answer).await
}

async fn answer(guest: &mut Guest) -> Result<Response, Stop> {
    if guest.is_post() {
        submitted(guest).await
    } else {
        shown(guest).await
    }
}

/// Shows the page, unless the store is known to fail: no one is asked for a password that cannot be checked.
async fn shown(guest: &mut Guest) -> Result<Response, Stop> {
    if guest.call.app.status().store_fails() {
        return Err(Refusal::Unavailable.into());
    }
    let wants_other = guest.parameter(OTHER).is_some();
    let Some(text) = guest.parameter(FLOW) else {
        return alone(guest, wants_other).await;
    };
    let flow = flow::open(guest, &text)?;
    match asked(guest, &text, &flow, wants_other).await? {
        Shown::Page(asked) => Ok(page(guest, &text, &asked, wants_other, None, ("", false))),
        Shown::Answer(response) => Ok(response),
    }
}

/// Shows the page without a client: the person signs in to the Identity alone.
async fn alone(guest: &mut Guest, wants_other: bool) -> Result<Response, Stop> {
    if !wants_other && let Some(username) = present(guest).await? {
        let path = guest.path(Endpoint::EndSession, &[]);
        let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::SignOut));
        let person = &*username;
        return Ok(guest.notice(Kind::SignedIn { person }, way));
    }
    Ok(page(
        guest,
        "",
        &SignIn::of_no_client(),
        wants_other,
        None,
        ("", false),
    ))
}

impl SignIn {
    /// What the page shows if no client asks.
    fn of_no_client() -> Self {
        Self {
            reason: Reason::NoSession,
            again: None,
            hint: None,
            client: String::new(),
        }
    }
}

enum Shown {
    Page(SignIn),
    Answer(Response),
}

/// Judges the flow. If no one must sign in any more, after the back button or in another tab, the person is told.
async fn asked(
    guest: &mut Guest,
    text: &str,
    flow: &Flow,
    wants_other: bool,
) -> Result<Shown, Stop> {
    if wants_other {
        return Ok(Shown::Page(SignIn {
            client: name_of(guest, flow),
            ..SignIn::of_no_client()
        }));
    }
    Ok(match look(guest, flow).await? {
        Looked::Ready(username) => Shown::Answer(signed_in_already(guest, &username, Some(text))),
        Looked::Next(Next::SignIn(asked)) if asked.reason == Reason::NotAllowed => {
            let other = guest.path(Endpoint::SignIn, &[(FLOW, text), (OTHER, "1")]);
            let way = LocalPath::new(&other).map(|path| Way::Local(path, Label::AnotherAccount));
            let client = &*asked.client;
            Shown::Answer(guest.notice(Kind::NotAllowed { client }, way))
        }
        Looked::Next(Next::SignIn(asked)) => Shown::Page(asked),
        Looked::Next(Next::Respond(response)) => Shown::Answer(response),
        Looked::Next(Next::Consent(_)) => Shown::Answer(go_on(guest, flow, false).await?),
    })
}

fn name_of(guest: &Guest, flow: &Flow) -> String {
    let client = guest.snapshot.registry().client(&flow.client);
    client.map_or_else(|| flow.client.clone(), |client| client.name().to_owned())
}

/// Returns the username of the person of the browser's session, if it is valid and the person may act.
pub async fn present(guest: &Guest) -> Result<Option<String>, Stop> {
    let Some((session, account)) = guest.use_session().await? else {
        return Ok(None);
    };
    let now = guest.now;
    let registry = guest.snapshot.registry();
    let subject = account.id.0.to_string();
    let person = registry.person(&account.owner, &subject, None, now);
    let person = person
        .ok()
        .filter(|person| !person.is_revoked(session.authenticated_at, now));
    Ok(person.map(|person| person.username.to_owned()))
}

/// Returns the page that says that the person is signed in, and goes on with the flow.
fn signed_in_already(guest: &Guest, person: &str, flow: Option<&str>) -> Response {
    let path = flow.map(|flow| guest.path(Endpoint::Authorize, &[(FLOW, flow)]));
    let way = path
        .as_deref()
        .and_then(LocalPath::new)
        .map(|path| Way::Local(path, Label::Continue));
    guest.notice(Kind::SignedInAlready { person }, way)
}

/// Renders the page.
fn page(
    guest: &mut Guest,
    flow: &str,
    asked: &SignIn,
    wants_other: bool,
    problem: Option<Problem>,
    (typed, remember): (&str, bool),
) -> Response {
    let proof = guest.proof(FORM);
    let action = guest.path(Endpoint::SignIn, &[]);
    let parameters: &[(&str, &str)] = if flow.is_empty() {
        &[]
    } else {
        &[(FLOW, flow)]
    };
    let here = guest.path(Endpoint::SignIn, parameters);
    let joint = if flow.is_empty() { '?' } else { '&' };
    let other = format!("{here}{joint}{OTHER}=1");
    guest.is_at(if wants_other {
        other.clone()
    } else {
        here.clone()
    });
    let hidden = [
        Field {
            name: FLOW,
            value: flow,
        },
        Field {
            name: PROOF,
            value: &proof,
        },
    ];
    let (Some(action), Some(other)) = (LocalPath::new(&action), LocalPath::new(&other)) else {
        return guest.notice(Kind::Internal, None);
    };
    let person = match (&asked.again, wants_other) {
        (Some(username), false) => Person::Again {
            username,
            not_you: other,
        },
        _ if !typed.is_empty() => Person::Any(typed),
        _ => Person::Any(asked.hint.as_deref().unwrap_or_default()),
    };
    let page = pages::SignIn {
        form: pages::Form {
            action,
            hidden: &hidden,
        },
        client: Some(&*asked.client).filter(|client| !client.is_empty()),
        person,
        remember: guest.offers_remember().then_some(remember),
        can_refuse: !flow.is_empty(),
        problem,
    };
    guest.render(|context| page.render(context))
}

/// Takes the form.
async fn submitted(guest: &mut Guest) -> Result<Response, Stop> {
    let body = guest.body().await?;
    let form = Form::parse(&body)?;
    let text = form.get(FLOW).unwrap_or_default();
    let parameters: &[(&str, &str)] = if text.is_empty() {
        &[]
    } else {
        &[(FLOW, text)]
    };
    let again = guest.path(Endpoint::SignIn, parameters);
    if let Err(refused) = guest.check(&form, FORM, Some(&again)) {
        // After the back button, or if the form was sent twice, the person is signed in.
        if guest.known_browser().is_some()
            && let Some(username) = present(guest).await?
        {
            let flow = Some(text).filter(|text| !text.is_empty());
            return Ok(signed_in_already(guest, &username, flow));
        }
        return Err(refused);
    }
    let flow = match text {
        "" => None,
        text => Some(flow::open(guest, text)?),
    };
    if form.get(field::DECISION) == Some(field::REFUSE) {
        return gone_back(guest, flow.as_ref()).await;
    }
    let asked = match &flow {
        None => SignIn::of_no_client(),
        Some(flow) => SignIn {
            client: name_of(guest, flow),
            ..SignIn::of_no_client()
        },
    };
    let (typed, password) = (
        form.get(field::USERNAME).unwrap_or_default(),
        form.get(field::PASSWORD).unwrap_or_default(),
    );
    let remember = guest.offers_remember() && form.get(field::REMEMBER).is_some();
    let problem = match (typed, password) {
        ("", _) => Some(Problem::NoUsername),
        (_, "") => Some(Problem::NoPassword),
        _ => None,
    };
    if let Some(problem) = problem {
        return Ok(page(
            guest,
            text,
            &asked,
            false,
            Some(problem),
            (typed, remember),
        ));
    }
    let name = canonical(&typed[..typed.floor_char_boundary(MAX_NAME)]);
    let client = flow.as_ref().map(|flow| &*flow.client);
    let attempted = attempt(guest, client, &name, password, remember).await?;
    let problem = match attempted {
        Ok(done) => return signed_in(guest, flow, &done, remember),
        Err(Failed::Wrong(why)) => {
            failed(guest, &name, why.as_str(), why != Wrong::Name);
            counted(guest, SignInOutcome::Wrong(why));
            Problem::Wrong
        }
        Err(Failed::TooMany { wait }) => {
            failed(guest, &name, "too_many_attempts", false);
            counted(guest, SignInOutcome::TooMany);
            Problem::TooMany {
                retry_after: seconds(wait),
            }
        }
        Err(Failed::Busy) => {
            counted(guest, SignInOutcome::Busy);
            Problem::Busy {
                retry_after: seconds(BUSY),
            }
        }
    };
    Ok(page(
        guest,
        text,
        &asked,
        false,
        Some(problem),
        (typed, remember),
    ))
}

fn counted(guest: &Guest, outcome: SignInOutcome) {
    guest.call.app.metrics().people().signed_in(outcome);
}

fn seconds(wait: Duration) -> u64 {
    wait.as_secs().max(1)
}

/// Writes a failed attempt to the audit log, unless the address has had too many.
fn failed(guest: &Guest, name: &str, reason: &'static str, is_person: bool) {
    if guest.call.app.noise().sign_in(guest.call.peer, name) {
        guest.record(&Event {
            event: "sign_in_failed",
            reason: Some(reason),
            claimed: Some((Unverified::new(name), is_person)),
            ..Event::default()
        });
    }
}

async fn attempt(
    guest: &Guest,
    client: Option<&str>,
    name: &str,
    password: &str,
    is_remembered: bool,
) -> Result<Result<Done, Failed>, Stop> {
    let known = guest.snapshot.registry().named(name);
    let candidate = known.map(|known| Candidate {
        owner: known.user.object.uid.to_string(),
        subject: known.user.record.subject.to_string(),
    });
    let app = &guest.call.app;
    let barred = |candidate: &Candidate| {
        let snapshot = app.publisher().current();
        let known = snapshot.registry().owning(&candidate.owner);
        let person = known.ok_or(Barred::Unknown);
        person
            .and_then(|known| known.person(crate::server::now()))
            .err()
    };
    let tried = Tried {
        name,
        candidate,
        password: Password::new(password).ok(),
        address: guest.call.peer,
        known: guest.known(),
        present: guest.session,
        is_remembered,
        limits: guest.own.sessions,
        prefix: guest.own.prefix,
    };
    let proved = guest.people.prove(tried, guest.now, barred);
    match guest.wait_for(proved).await? {
        Ok(proved) => begin(guest, client, proved).await,
        Err(failed) => Ok(Err(failed)),
    }
}

/// Begins the session, and writes what has happened, also if the browser leaves.
async fn begin(
    guest: &Guest,
    client: Option<&str>,
    proved: Proved,
) -> Result<Result<Done, Failed>, Stop> {
    let (people, app) = (Arc::clone(&guest.people), guest.call.app.clone());
    let (origin, now) = (guest.lasting_origin(), guest.now);
    let client = client.map(str::to_owned);
    let begun = guest.carry_out(async move {
        let begun = people.begin(proved, now).await?;
        if let Ok(done) = &begun {
            let subject = done.account.id.0.to_string();
            origin.record(&Event {
                event: "signed_in",
                client_id: client.as_deref(),
                subject: Some(&subject),
                session: Some(done.session.as_str()),
                ..Event::default()
            });
            for ended in &done.ended {
                let subject = ended.account.0.to_string();
                origin.record(&Event {
                    event: "session_ended",
                    reason: Some(ended.reason),
                    subject: Some(&subject),
                    session: Some(ended.session.as_str()),
                    ..Event::default()
                });
            }
            app.metrics().people().signed_in(SignInOutcome::SignedIn);
        }
        Ok::<_, StoreError>(begun)
    });
    Ok(begun.await??)
}

/// Gives the browser its session, and goes on.
fn signed_in(
    guest: &mut Guest,
    flow: Option<Flow>,
    done: &Done,
    remember: bool,
) -> Result<Response, Stop> {
    guest.signed_in(&done.cookie, &done.known, remember);
    let path = match flow {
        None => guest.path(Endpoint::SignIn, &[]),
        Some(flow) => {
            let flow = Flow {
                signed_in: Some(SignedIn {
                    session: done.session,
                    at: guest.now,
                }),
                ..flow
            };
            let sealed = flow::seal(guest, &flow)?;
            guest.path(Endpoint::Authorize, &[(FLOW, &sealed)])
        }
    };
    Ok(guest::redirect(&path))
}

/// Sends the person back to the client without a sign-in.
async fn gone_back(guest: &mut Guest, flow: Option<&Flow>) -> Result<Response, Stop> {
    let Some(flow) = flow else {
        let path = guest.path(Endpoint::SignIn, &[]);
        return Ok(guest::redirect(&path));
    };
    denied(guest, flow).await
}

/// Tells the client that the person refused, if its redirect URI is still registered.
pub async fn denied(guest: &mut Guest, flow: &Flow) -> Result<Response, Stop> {
    let request = super::proceed::request(guest, flow).await?;
    let event = Event {
        event: "authorization_denied",
        client_id: Some(&flow.client),
        ..Event::default()
    };
    match request {
        Some(request) => Ok(guest.refuse_with(&event, &request.return_to, DENIED)),
        None => Ok(guest.notice(Kind::FlowExpired, None)),
    }
}
