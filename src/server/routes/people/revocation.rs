//! Revocation of people's tokens (RFC 7009). The answer is 200 only after the revocation is durable.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use jiff::Timestamp;

use super::join::{TokenOfPerson, personal_standing, standing};
use super::personal_token::{EndedBy, record_end};
use super::{carry_out, people, unavailable};
use crate::directory::AcceptedClient;
use crate::oauth::Refusal;
use crate::oauth::grants::refresh_token::policy as refresh_policy;
use crate::oauth::person_revocation::{Decision, access_token, personal_token, refresh_token};
use crate::people::grant;
use crate::people::refresh::{Presented, Rules, judge};
use crate::server::metrics::RevocationOutcome;
use crate::server::people::People;
use crate::server::reply;
use crate::server::request::{Call, ServingSnapshot};
use crate::store::StoreError;
use crate::telemetry::audit::Event;

/// Revokes a person's token.
///
/// # Errors
/// The store cannot be asked, or did not record the revocation.
pub async fn revoke(
    call: &Call,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    token: &TokenOfPerson<'_>,
    now: Timestamp,
) -> Result<Response, Refusal> {
    let own = serving.site()?.people.as_deref();
    let own = own.ok_or(Refusal::Unavailable)?;
    let people = people(call).inspect_err(|_| failed(call))?;
    let decided = match token {
        TokenOfPerson::Personal(presented) => {
            let standing = personal_standing(call, &people, presented).await;
            let standing = standing.inspect_err(|_| failed(call))?;
            Ok(standing.map_or(Decision::Nothing, |standing| {
                personal_token(caller, &presented.parts, &standing)
            }))
        }
        TokenOfPerson::Refresh(presented) => {
            // The other look-ups do this themselves.
            let _given = call.give_turn_back();
            of_refresh(&people, serving, caller, presented, own, now).await
        }
        TokenOfPerson::Access(token, claims) => {
            let standing = standing(call, &people, claims).await;
            standing.map(|standing| {
                standing.map_or(Decision::Nothing, |standing| {
                    access_token(caller, token, claims, &standing)
                })
            })
        }
    };
    let turn = call.give_turn_back();
    let ended = match decided {
        Ok(Decision::Nothing) => {
            call.app.metrics().revoked(RevocationOutcome::Nothing);
            Ok(Ok(()))
        }
        Ok(decision) => end(call, people, serving, caller, decision, now).await,
        Err(error) => Ok(Err(error)),
    };
    turn.take_again().await;
    ended.inspect_err(|_| failed(call))?.map_err(|error| {
        failed(call);
        unavailable(call, &error)
    })?;
    Ok(reply::empty(StatusCode::OK))
}

/// Ends a grant or a personal access token, and counts and writes it, also if the caller leaves.
async fn end(
    call: &Call,
    people: Arc<People>,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    decision: Decision,
    now: Timestamp,
) -> Result<Result<(), StoreError>, Refusal> {
    let (app, origin) = (call.app.clone(), call.lasting_origin(serving.shared()));
    let client_id = Arc::clone(&caller.client.record.client_id);
    carry_out(call.admitted(), async move {
        match decision {
            Decision::EndGrant(grant) => {
                people.store.end_grant(grant, now).await?;
                origin.record(&Event {
                    event: "grant_revoked",
                    client_id: Some(&client_id),
                    grant: Some(grant.as_str()),
                    ..Event::default()
                });
            }
            Decision::EndPersonalToken(account, id) => {
                let store = &people.store;
                if !store.end_personal_token(account, id, now).await? {
                    return Ok(());
                }
                let by = EndedBy::Client;
                record_end(&app, &origin, (account, id), by, Some(&client_id));
            }
            Decision::Nothing => {}
        }
        app.metrics().revoked(RevocationOutcome::Revoked);
        Ok(())
    })
    .await
}

fn failed(call: &Call) {
    call.app.metrics().revoked(RevocationOutcome::Unavailable);
}

async fn of_refresh(
    people: &People,
    serving: &ServingSnapshot,
    caller: &AcceptedClient<'_>,
    presented: &Presented,
    own: &crate::server::people::site::PeopleSite,
    now: Timestamp,
) -> Result<Decision, StoreError> {
    let Some((family, standing)) = people.store.family(presented.id()).await? else {
        return Ok(Decision::Nothing);
    };
    let snapshot = serving.snapshot();
    let (client_id, uid) = (&*caller.client.record.client_id, &*caller.client.object.uid);
    let registered = snapshot.registry().client(client_id);
    let is_public = registered.is_some_and(|registered| registered.client.is_public);
    let policy = refresh_policy(&own.refresh, is_public, false);
    let rules = Rules {
        keys: &people.keys.refresh,
        prefix: &own.prefix,
        policy: &policy,
        client: grant::Client { id: client_id, uid },
    };
    let verdict = judge(&family, &standing.grant, presented, rules, now);
    Ok(refresh_token(caller, &family, &verdict, &standing))
}
