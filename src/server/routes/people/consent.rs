//! The consent page and its form.

use axum::response::Response;
use serde_json::Value;

use super::authorize::go_on;
use super::flow;
use super::guest::{self, FLOW, Guest, PROOF, Stop};
use super::proceed::{Agreement, Looked, Next, look};
use super::sign_in::denied;
use crate::directory::{Person, PersonScope, StandardScope};
use crate::oauth::authorize::Flow;
use crate::oauth::{Endpoint, Form, Refusal};
use crate::pages::{
    self, Client, ClientUri, Consent, Field, Kind, Label, Learned, LocalPath, Scope, ScopeText,
    Way, field,
};
use crate::server::request::Call;
use crate::tokens::Released;

/// The form's name in its proof.
const FORM: &str = "consent";

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

async fn shown(guest: &mut Guest) -> Result<Response, Stop> {
    let text = guest.parameter(FLOW).unwrap_or_default();
    let flow = flow::open(guest, &text)?;
    match look(guest, &flow).await? {
        Looked::Next(Next::Consent(asked)) => page(guest, flow, &asked),
        Looked::Next(Next::Respond(response)) => Ok(response),
        Looked::Next(Next::SignIn(_)) => go_on(guest, &flow, false).await,
        // After the back button: the person has decided.
        Looked::Ready(person) => {
            let path = guest.path(Endpoint::Authorize, &[(FLOW, &text)]);
            let way = LocalPath::new(&path).map(|path| Way::Local(path, Label::Continue));
            Ok(guest.notice(Kind::SignedInAlready { person: &person }, way))
        }
    }
}

fn page(guest: &mut Guest, flow: Flow, asked: &Agreement) -> Result<Response, Stop> {
    let flow = Flow {
        shown: Some(asked.shown()),
        ..flow
    };
    let sealed = flow::seal(guest, &flow)?;
    let proof = guest.proof(FORM);
    let here = guest.path(Endpoint::Consent, &[(FLOW, &sealed)]);
    let action = guest.path(Endpoint::Consent, &[]);
    let other = guest.path(Endpoint::SignIn, &[(FLOW, &sealed), ("other", "1")]);
    guest.is_at(here);
    let snapshot = std::sync::Arc::clone(&guest.snapshot);
    let registry = snapshot.registry();
    let Some(registered) = registry.client(&flow.client) else {
        return Err(guest.stop(Kind::UnknownClient, None));
    };
    let accepted = &registered.client.accepted;
    let client = &registered.client;
    let person = registry.person(&asked.owner, &asked.subject, Some(client), guest.now);
    let Ok(person) = person else {
        let client = registered.name();
        return Err(guest.stop(Kind::NotAllowed { client }, None));
    };
    let scopes: Vec<PersonScope<'_>> = asked
        .scopes
        .iter()
        .filter_map(|value| registry.scope(client, Some(&person), value))
        .collect();
    let described: Vec<Scope<'_>> = scopes
        .iter()
        .map(|scope| Scope {
            value: scope.value(),
            text: match scope {
                PersonScope::Standard(StandardScope::OpenId) => ScopeText::OpenId,
                PersonScope::Standard(StandardScope::Profile) => ScopeText::Profile,
                PersonScope::Standard(StandardScope::Email) => ScopeText::Email,
                PersonScope::Standard(StandardScope::Groups) => ScopeText::Groups,
                PersonScope::Standard(StandardScope::OfflineAccess) => ScopeText::OfflineAccess,
                PersonScope::Api(api) => ScopeText::Declared {
                    name: api.granted.scope.record.display_name.as_deref(),
                    description: api.granted.scope.record.description.as_deref(),
                },
            },
        })
        .collect();
    let released = person.released_by(&scopes);
    let learns = learned(&person, &released);
    let hidden = [
        Field {
            name: FLOW,
            value: &sealed,
        },
        Field {
            name: PROOF,
            value: &proof,
        },
    ];
    let uri = ClientUri::new(&asked.request.return_to.redirect_uri);
    let (Some(action), Some(redirect_uri)) = (LocalPath::new(&action), uri) else {
        return Err(guest.stop(Kind::UnknownRedirectUri, None));
    };
    let page = Consent {
        form: pages::Form {
            action,
            hidden: &hidden,
        },
        client: Client {
            id: registered.id(),
            name: accepted.client.record.display_name.as_deref(),
            owner: &accepted.client.object.key.namespace,
        },
        person: person.username,
        not_you: LocalPath::new(&other),
        scopes: &described,
        learns: &learns,
        redirect_uri,
    };
    Ok(guest.render(|context| page.render(context)))
}

/// Returns what the client will learn, each fact once: everything that is released.
fn learned<'p>(person: &'p Person<'p>, released: &'p Released) -> Vec<Learned<'p>> {
    let text = |name: &str| released.get(name).and_then(Value::as_str);
    let has = |name: &str| released.get(name).is_some();
    let mut learned = Vec::new();
    learned.extend(text("preferred_username").map(Learned::Username));
    learned.extend(text("name").map(Learned::Name));
    learned.extend(text("email").map(Learned::Email));
    if has("groups") {
        learned.push(Learned::Groups(&person.groups));
    }
    for (name, value) in released.iter() {
        match (name, value) {
            ("preferred_username" | "name" | "email" | "groups", _) => {}
            // An address is shown without it, and tells more.
            ("email_verified", _) if has("email") => {}
            (_, Value::String(text)) => learned.push(Learned::Attribute(name, text)),
            (_, Value::Bool(true)) => learned.push(Learned::Attribute(name, "true")),
            (_, _) => learned.push(Learned::Attribute(name, "false")),
        }
    }
    learned
}

async fn submitted(guest: &mut Guest) -> Result<Response, Stop> {
    let body = guest.body().await?;
    let form = Form::parse(&body)?;
    let text = form.get(FLOW).unwrap_or_default();
    let again = guest.path(Endpoint::Authorize, &[(FLOW, text)]);
    guest.check(&form, FORM, Some(&again))?;
    let flow = flow::open(guest, text)?;
    if form.get(field::DECISION) != Some(field::ACCEPT) {
        return denied(guest, &flow).await;
    }
    go_on(guest, &flow, true).await
}
