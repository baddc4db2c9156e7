//! Token introspection, RFC 7662. Three callers may ask about a token: the API that it is for, a client that the
//! scope's owner lists in `resourceServers`, and the client that it was issued to. Any other caller learns only that
//! the token is not active. Each caller sees only the scopes of its own audience.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Serialize, Serializer};

use super::access_token::{self, Active, Inactive, PresentedToken};
use super::scope;
use crate::directory::tables::record::EntryRecord;
use crate::directory::{AcceptedClient, CredentialRecord, Directory, GrantedScope, audiences_of};
use crate::tokens::claims::PrincipalKind;

/// The most bytes of audiences in an answer, beside the caller's own. A reference token has the audiences of all its
/// scopes, and their total is not bounded.
const MAX_AUDIENCES: usize = 8 * 1024;

/// The answer for an inactive token (RFC 7662 section 2.2).
pub const INACTIVE: &str = r#"{"active":false}"#;

/// The answer for an active token. A person's token has more members, see `person_introspection`.
#[derive(Debug, Serialize)]
pub struct Introspection<'a> {
    active: bool,
    iss: &'a str,
    sub: &'a str,
    aud: Audiences,
    client_id: &'a str,
    scope: String,
    token_type: &'static str,
    iat: i64,
    nbf: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    jti: &'a str,
    principal_kind: PrincipalKind,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_system_user: Option<&'a str>,
    #[serde(skip)]
    used: Option<(&'a CredentialRecord, &'a EntryRecord)>,
}

/// One audience as a string, several as a list (RFC 7519 section 4.1.3).
#[derive(Debug)]
pub(super) struct Audiences(pub(super) Vec<Arc<str>>);

impl Serialize for Audiences {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [one] => serializer.serialize_str(one),
            many => serializer.collect_seq(many.iter().map(AsRef::<str>::as_ref)),
        }
    }
}

/// Decides what `caller`, an authenticated client, learns about a token.
///
/// # Errors
/// [`Inactive`]; the answer is then [`INACTIVE`].
pub fn introspect<'a>(
    directory: &'a Directory,
    caller: &AcceptedClient<'a>,
    presented: &'a PresentedToken<'a>,
    now: Timestamp,
) -> Result<Introspection<'a>, Inactive> {
    let identity = &caller.identity.object.key;
    let active = access_token::judge(directory, identity, presented, now)?;
    let shown = shown_to(caller, &active);
    if shown.is_empty() {
        return Err(Inactive::WrongAudience);
    }
    let audience = audience(caller, &active, &shown);
    let mut answer = Introspection::of(&active, audience, scope::join(&shown));
    // A client that introspects its own token does not count as a user of it.
    answer.used = active.issued.filter(|_| !is_own(caller, &active));
    Ok(answer)
}

/// Whether the token was issued to the caller.
pub fn is_own(caller: &AcceptedClient<'_>, active: &Active<'_>) -> bool {
    caller.client.object.uid == active.client.client.object.uid
}

/// Returns the scopes of APIs that the caller may see.
pub(super) fn shown_to<'a>(
    caller: &AcceptedClient<'_>,
    active: &Active<'a>,
) -> Vec<GrantedScope<'a>> {
    let own = is_own(caller, active);
    let record = caller.client.record;
    let is_shown = |scope: &&GrantedScope<'_>| {
        own || record
            .audiences
            .iter()
            .any(|audience| active.is_for(scope, audience))
            || scope
                .scope
                .record
                .resource_servers
                .contains(&record.client_id)
    };
    active.scopes.iter().filter(is_shown).copied().collect()
}

impl<'a> Introspection<'a> {
    /// Returns the record of a reference token that a third party presented to the caller.
    pub const fn used(&self) -> Option<(&'a CredentialRecord, &'a EntryRecord)> {
        self.used
    }

    pub(super) fn of(active: &Active<'a>, aud: Audiences, scope: String) -> Self {
        let client = active.client.client.record;
        Self {
            active: true,
            iss: &active.identity().record.issuer,
            sub: active.subject,
            aud,
            client_id: &client.client_id,
            scope,
            token_type: "Bearer",
            iat: active.issued_at.as_second(),
            nbf: active.issued_at.as_second(),
            exp: active.expires_at.map(Timestamp::as_second),
            jti: active.id,
            principal_kind: active.kind,
            client_system_user: client
                .system_user
                .as_deref()
                .filter(|_| active.kind != PrincipalKind::Person),
            used: None,
        }
    }

    /// Serializes the answer as JSON.
    ///
    /// # Errors
    /// None in practice: every member serializes.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        let mut json = Vec::with_capacity(512);
        serde_json::to_writer(&mut json, self)?;
        Ok(json)
    }
}

/// Collects the audiences that the token has through the shown scopes: always the caller's own, and others while there
/// is room. An API that looks for its own audience finds it.
pub(super) fn audience(
    caller: &AcceptedClient<'_>,
    active: &Active<'_>,
    shown: &[GrantedScope<'_>],
) -> Audiences {
    let own = &caller.client.record.audiences;
    let mut room = MAX_AUDIENCES;
    let mut audiences: Vec<Arc<str>> = Vec::new();
    for scope in shown {
        for audience in audiences_of(active.identity(), scope.scope) {
            let needs = if own.contains(&audience) {
                0
            } else {
                audience.len()
            };
            if needs > room || audiences.contains(&audience) || !active.is_for(scope, &audience) {
                continue;
            }
            room -= needs;
            audiences.push(audience);
        }
    }
    Audiences(audiences)
}
