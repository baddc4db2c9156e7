//! Introspection of people's tokens (RFC 7662).

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::join::{
    PresentedPersonal, TokenOfPerson, active, active_personal, held, personal_standing, standing,
};
use super::{people, unavailable};
use crate::directory::AcceptedClient;
use crate::oauth::access_token::Inactive;
use crate::oauth::grants::refresh_token::policy as refresh_policy;
use crate::oauth::introspection::is_own;
use crate::oauth::person_introspection::{Refresh, introspect, introspect_refresh};
use crate::oauth::person_token::PersonToken;
use crate::oauth::{ErrorCode, OAuthError, Refusal};
use crate::people::grant;
use crate::people::refresh::{Presented, Rules, judge};
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};

/// Decides what the caller learns about a person's token.
///
/// # Errors
/// The store cannot be asked, or the answer cannot be written. Inside: why the token is not active for the caller.
pub async fn answer(
    call: &Call,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    token: &TokenOfPerson<'_>,
    now: Timestamp,
) -> Result<Result<Response, Inactive>, Refusal> {
    let (token, claims) = match token {
        TokenOfPerson::Refresh(presented) => {
            return of_refresh(call, serving, caller, presented, now).await;
        }
        TokenOfPerson::Personal(presented) => {
            return of_personal(call, serving, caller, presented, now).await;
        }
        TokenOfPerson::Access(token, claims) => (*token, claims),
    };
    let people = people(call)?;
    let standing = standing(call, &people, claims).await;
    let standing = standing.map_err(|error| unavailable(call, &error))?;
    let presented = PersonToken {
        token,
        person: claims,
    };
    let found = match active(serving.snapshot(), presented, standing.as_ref(), now) {
        Ok(found) => found,
        Err(inactive) => return Ok(Err(inactive)),
    };
    match introspect(caller, &found) {
        Ok(told) => {
            let json = told.to_json().map_err(|_| unwritable())?;
            Ok(Ok(reply::json(StatusCode::OK, json)))
        }
        Err(inactive) => Ok(Err(inactive)),
    }
}

const fn unwritable() -> OAuthError {
    OAuthError::new(ErrorCode::ServerError, "the answer could not be serialized")
}

async fn of_personal(
    call: &Call,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    presented: &PresentedPersonal<'_>,
    now: Timestamp,
) -> Result<Result<Response, Inactive>, Refusal> {
    let people = people(call)?;
    let standing = personal_standing(call, &people, presented).await?;
    let found = match active_personal(serving.snapshot(), presented, standing.as_ref(), now) {
        Ok(found) => found,
        Err(inactive) => return Ok(Err(inactive)),
    };
    let told = match introspect(caller, &found) {
        Ok(told) => told,
        Err(inactive) => return Ok(Err(inactive)),
    };
    // A client that introspects its own token does not count as a user of it.
    if let Some(standing) = &standing
        && !is_own(caller, &found.token)
    {
        people.personal_tokens.note(&standing.token, None, now);
    }
    let json = told.to_json().map_err(|_| unwritable())?;
    Ok(Ok(reply::json(StatusCode::OK, json)))
}

async fn of_refresh(
    call: &Call,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    presented: &Presented,
    now: Timestamp,
) -> Result<Result<Response, Inactive>, Refusal> {
    let (snapshot, site) = (serving.snapshot(), serving.site()?);
    let own = site.people.as_deref().ok_or(Refusal::Unavailable)?;
    let people = people(call)?;
    let turn = call.give_turn_back();
    let found = people.store.family(presented.id()).await;
    turn.take_again().await;
    let found = found.map_err(|error| unavailable(call, &error))?;
    let wrong = Ok(Err(Inactive::WrongAudience));
    let Some((family, standing)) = found else {
        return wrong;
    };
    let client_id = &caller.client.record.client_id;
    let registered = snapshot.registry().client(client_id);
    let Some(registered) = registered else {
        return wrong;
    };
    let policy = refresh_policy(&own.refresh, registered.client.is_public, false);
    let rules = Rules {
        keys: &people.keys.refresh,
        prefix: &own.prefix,
        policy: &policy,
        client: grant::Client {
            id: registered.id(),
            uid: registered.uid(),
        },
    };
    let verdict = judge(&family, &standing.grant, presented, rules, now);
    let (person, scopes) = held(
        snapshot,
        &registered,
        &standing.account,
        &standing.grant,
        &standing.grant.scopes,
        now,
    );
    let refresh = Refresh {
        caller: registered.client,
        family: &family,
        verdict: &verdict,
        policy,
        standing: &standing,
        person,
        scopes,
    };
    Ok(match introspect_refresh(&refresh, now) {
        Ok(told) => {
            let json = told.to_json().map_err(|_| unwritable())?;
            Ok(reply::json(StatusCode::OK, json))
        }
        Err(inactive) => Err(inactive),
    })
}
