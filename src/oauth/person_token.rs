//! Judges whether a person's access token is valid now. The token is joined with its grant, session and account, with
//! the person, and with the directory, at every use, so that every withdrawal takes effect at once.
//!
//! Two steps, since the grant is in the store: [`claims`] says which grant to read, and [`judge`] decides with it.

use std::borrow::Cow;

use jiff::Timestamp;

use super::access_token::{Active, Inactive, client_of};
use super::sign_in;
use crate::directory::{
    AcceptedClient, Barred, Directory, GrantedScope, Invalid, ObjectKey, Person, PersonScope,
    StandardScope, is_revoked,
};
use crate::people::grant::{Client, GrantStanding};
use crate::tokens::claims::PrincipalKind;
use crate::tokens::{AccessTokenClaims, PersonClaims, TokenId};

/// A person's access token whose signature is verified.
#[derive(Clone, Copy, Debug)]
pub struct PersonToken<'a> {
    /// The claims that every access token has.
    pub token: &'a AccessTokenClaims,
    /// The claims of a person's token.
    pub person: &'a PersonClaims,
}

/// Returns the claims of a person's token from the whole payload of a verified token; `None` for a client's token.
///
/// # Errors
/// [`Inactive::Malformed`] for a person's token without them: this server never signs one.
pub fn claims(token: &AccessTokenClaims, payload: &[u8]) -> Result<Option<PersonClaims>, Inactive> {
    if token.principal_kind != PrincipalKind::Person {
        return Ok(None);
    }
    let claims = PersonClaims::from_json(payload).map_err(|_| Inactive::Malformed)?;
    Ok(Some(claims))
}

/// What a token is joined with.
#[derive(Clone, Debug)]
pub struct Joined<'a> {
    /// The grant of the token's [`PersonClaims::grant_id`], with its session and account; `None` if there is none.
    pub standing: Option<&'a GrantStanding>,
    /// Whether the client may still act for people.
    pub client_may_act: bool,
    /// The person, if the person may use the client now.
    pub person: Result<Person<'a>, Barred>,
    /// The scopes of the token that the client and the person still have (see [`crate::directory::judge::person_scope::still_held`]).
    pub scopes: Vec<PersonScope<'a>>,
}

/// A person's token that is valid now.
#[derive(Clone, Debug)]
pub struct ActivePerson<'a> {
    /// What it has in common with other tokens. Its scopes are those of APIs alone, so there may be none.
    pub token: Active<'a>,
    /// Every scope that it still has; never empty.
    pub scopes: Vec<PersonScope<'a>>,
    /// The person.
    pub person: Person<'a>,
    /// The sign-in in which the person allowed it.
    pub proof: Proof<'a>,
}

/// How a person had proved who they are when they allowed a token.
#[derive(Clone, Debug)]
pub struct Proof<'a> {
    /// The session (`sid`); `None` for a personal access token, which belongs to none.
    pub session: Option<TokenId>,
    /// When (`auth_time`).
    pub at: Timestamp,
    /// How strongly: the value of `acr`.
    pub acr: Option<&'a str>,
    /// The values of `amr` (RFC 8176).
    pub methods: Cow<'a, [String]>,
}

impl ActivePerson<'_> {
    /// Returns whether the token has a standard scope.
    pub fn has(&self, scope: StandardScope) -> bool {
        self.scopes.iter().any(|held| held.is(scope))
    }
}

/// Judges a token at an Identity.
///
/// # Errors
/// [`Inactive`].
pub fn judge<'a>(
    directory: &'a Directory,
    identity: &ObjectKey,
    presented: PersonToken<'a>,
    joined: Joined<'a>,
    now: Timestamp,
) -> Result<ActivePerson<'a>, Inactive> {
    let PersonToken { token, person: own } = presented;
    if token.principal_kind != PrincipalKind::Person {
        return Err(Inactive::WrongKind);
    }
    let (client, expires_at) = client_of(directory, identity, token, now)?;
    if !joined.client_may_act {
        return Err(Inactive::Invalid(Invalid::ClientRefused));
    }
    let standing = joined
        .standing
        .ok_or(Inactive::Invalid(Invalid::UnknownToken))?;
    let own_client = Client {
        id: &token.client_id,
        uid: &token.client_uid,
    };
    let grant = standing.judge(own_client, now).map_err(Inactive::Ended)?;
    let is_of_grant = grant.id == own.grant_id
        && grant.session == own.sid
        && grant.account.0.to_string() == token.sub;
    if !is_of_grant {
        return Err(Inactive::Malformed);
    }
    // Older than the token, which `access_token_client` has checked.
    if is_revoked(client.identity.record, grant.created_at, now) {
        return Err(Inactive::Invalid(Invalid::IssuedBeforeRevocation));
    }
    let person = joined.person.map_err(Inactive::Barred)?;
    if *person.subject != *token.sub {
        return Err(Inactive::Malformed);
    }
    if person.is_revoked(token.iat, now) || person.is_revoked(grant.created_at, now) {
        return Err(Inactive::Barred(Barred::IssuedBeforeRevocation));
    }
    sign_in::check(client.client.record, grant, now).map_err(Inactive::Barred)?;
    // The scopes of the token, never more, whatever the caller looked up.
    let mut scopes = joined.scopes;
    scopes.retain(|scope| token.scope.as_slice().iter().any(|it| it == scope.value()));
    if scopes.is_empty() {
        return Err(Inactive::Invalid(Invalid::NoScopeLeft));
    }
    Ok(ActivePerson {
        token: active(client, &scopes, token, expires_at),
        scopes,
        person,
        proof: Proof {
            session: Some(own.sid),
            at: own.auth_time,
            acr: own.acr.as_deref(),
            methods: Cow::Borrowed(&own.amr),
        },
    })
}

fn active<'a>(
    client: AcceptedClient<'a>,
    scopes: &[PersonScope<'a>],
    token: &'a AccessTokenClaims,
    expires_at: Timestamp,
) -> Active<'a> {
    let granted = scopes.iter().filter_map(PersonScope::api);
    let granted: Vec<GrantedScope<'a>> = granted.map(|api| api.granted).collect();
    Active {
        client,
        scopes: granted,
        audience: Some(&token.aud),
        subject: &token.sub,
        kind: PrincipalKind::Person,
        id: &token.jti,
        issued_at: token.iat,
        expires_at: Some(expires_at),
        issued: None,
    }
}
