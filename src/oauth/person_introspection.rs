//! Introspection of people's tokens (RFC 7662): of access tokens, for the callers that `introspection` names, and of
//! refresh tokens, for the client that they were issued to.
//!
//! An API sees the scopes of its own audience and the claims that these release; the token's own client sees all.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::access_token::Inactive;
use super::introspection::{Audiences, Introspection, audience, is_own, shown_to};
use super::person_token::ActivePerson;
use super::sign_in;
use crate::directory::judge::person_scope;
use crate::directory::{
    AcceptedClient, Barred, Invalid, Person, PersonClient, PersonScope, StandardScope, is_revoked,
};
use crate::people::grant::{self, GrantStanding};
use crate::people::later;
use crate::people::refresh::{Family, Policy, RefreshVerdict};
use crate::tokens::{Released, TokenId};

/// The answer for an active access token of a person.
#[derive(Debug, Serialize)]
pub struct PersonIntrospection<'a> {
    #[serde(flatten)]
    token: Introspection<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<TokenId>,
    auth_time: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    acr: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    amr: &'a [String],
    #[serde(flatten)]
    released: Released,
}

/// Decides what `caller`, an authenticated client, learns about a person's valid access token.
///
/// # Errors
/// [`Inactive::WrongAudience`]; the answer is then [`super::introspection::INACTIVE`].
pub fn introspect<'a>(
    caller: &AcceptedClient<'_>,
    active: &'a ActivePerson<'a>,
) -> Result<PersonIntrospection<'a>, Inactive> {
    let token = &active.token;
    let own = is_own(caller, token);
    let apis = shown_to(caller, token);
    let is_shown = |scope: &&PersonScope<'_>| match scope.api() {
        None => own,
        Some(api) => apis.iter().any(|it| it.value() == api.granted.value()),
    };
    let shown: Vec<PersonScope<'_>> = active.scopes.iter().filter(is_shown).copied().collect();
    if shown.is_empty() {
        return Err(Inactive::WrongAudience);
    }
    let audiences = match token.audience {
        Some(claim) if own => Audiences(claim.iter().map(Arc::from).collect()),
        _ => audience(caller, token, &apis),
    };
    Ok(PersonIntrospection {
        token: Introspection::of(token, audiences, person_scope::join(&shown)),
        sid: active.proof.session,
        auth_time: active.proof.at.as_second(),
        acr: active.proof.acr,
        amr: &active.proof.methods,
        released: active.person.released_by(&shown),
    })
}

impl PersonIntrospection<'_> {
    /// Serializes the answer as JSON.
    ///
    /// # Errors
    /// None in practice: every member serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(768);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}

/// The answer for an active refresh token. It has no `token_type`: that names how an access token is used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefreshIntrospection {
    active: bool,
    iss: String,
    sub: String,
    client_id: String,
    scope: String,
    iat: i64,
    exp: i64,
    sid: TokenId,
}

/// A refresh token that `caller` presents, with what it is joined with.
#[derive(Clone, Debug)]
pub struct Refresh<'a> {
    /// The authenticated caller.
    pub caller: PersonClient<'a>,
    /// The family, and what the token means for it. Asking changes nothing.
    pub family: &'a Family,
    /// What `people::refresh` says of the token.
    pub verdict: &'a RefreshVerdict,
    /// The policy that the verdict follows.
    pub policy: Policy,
    /// The grant of the family.
    pub standing: &'a GrantStanding,
    /// The person, if the person may use the client now.
    pub person: Result<Person<'a>, Barred>,
    /// The scopes of the grant that the client and the person still have.
    pub scopes: Vec<PersonScope<'a>>,
}

/// Decides what the caller learns about a refresh token: something only if it could refresh with it now.
///
/// # Errors
/// [`Inactive`]; the answer is then [`super::introspection::INACTIVE`].
pub fn introspect_refresh(
    refresh: &Refresh<'_>,
    now: Timestamp,
) -> Result<RefreshIntrospection, Inactive> {
    let Refresh {
        family,
        standing,
        policy,
        ..
    } = refresh;
    let client = &refresh.caller.accepted;
    let invalid = |why| Err(Inactive::Invalid(why));
    match refresh.verdict {
        RefreshVerdict::Rotate(_) | RefreshVerdict::Keep { .. } | RefreshVerdict::Repeat(_) => {}
        RefreshVerdict::Guessed => return invalid(Invalid::WrongSecret),
        RefreshVerdict::Foreign => return Err(Inactive::WrongAudience),
        RefreshVerdict::Expired => return invalid(Invalid::Expired),
        RefreshVerdict::Reuse
        | RefreshVerdict::Ahead
        | RefreshVerdict::UnknownKey
        | RefreshVerdict::Ended => return invalid(Invalid::UnknownToken),
    }
    if standing.grant.id != family.grant || !is_own_grant(client, standing) {
        return Err(Inactive::WrongAudience);
    }
    let grant = standing
        .judge(of_grant(client), now)
        .map_err(Inactive::Ended)?;
    if !refresh.caller.may_refresh {
        return invalid(Invalid::ClientRefused);
    }
    let person = refresh.person.as_ref();
    let person = person.map_err(|barred| Inactive::Barred(*barred))?;
    let is_too_old = is_revoked(client.identity.record, grant.created_at, now);
    if is_too_old || person.is_revoked(grant.created_at, now) {
        return Err(Inactive::Barred(Barred::IssuedBeforeRevocation));
    }
    sign_in::check(client.client.record, grant, now).map_err(Inactive::Barred)?;
    let scopes = &refresh.scopes;
    if !scopes.iter().any(|it| it.is(StandardScope::OfflineAccess)) {
        return invalid(Invalid::NoScopeLeft);
    }
    let idle = later(family.used_at, policy.idle);
    let end = idle.min(later(family.created_at, policy.max_age));
    Ok(RefreshIntrospection {
        active: true,
        iss: client.identity.record.issuer.as_ref().to_owned(),
        sub: person.subject.to_owned(),
        client_id: client.client.record.client_id.as_ref().to_owned(),
        scope: person_scope::join(scopes),
        iat: family.rotated_at.as_second(),
        exp: end.min(grant.expires_at).as_second(),
        sid: grant.session,
    })
}

/// Whether a grant is the caller's. A recreated client has another uid.
pub(super) fn is_own_grant(caller: &AcceptedClient<'_>, standing: &GrantStanding) -> bool {
    standing.grant.is_of(of_grant(caller))
}

/// Returns a client as grants name it.
fn of_grant<'a>(client: &AcceptedClient<'a>) -> grant::Client<'a> {
    grant::Client {
        id: &client.client.record.client_id,
        uid: &client.client.object.uid,
    }
}

impl RefreshIntrospection {
    /// Serializes the answer as JSON.
    ///
    /// # Errors
    /// None in practice: every member serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}
