//! Audit events: one structured event for each issue, refusal and revocation, with caller, action, client, token ID and
//! reason. They are log events with the target `audit`, so that they can be stored apart and for longer.
//!
//! No function here takes a token or a secret. Unverified text of a caller is an [`Unverified`], which shows only its
//! length and a hash. The docs of a field that shows a caller's text state the condition for that.

use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;

use super::Unverified;

/// The target of audit events.
pub const TARGET: &str = "audit";

/// The longest user name that is written, in characters: names of service accounts are longer than most, and must not
/// be cut.
const LONGEST_USER: usize = 512;

/// The longest list of granted scopes that is written, in bytes. A token may have thousands of bytes of scopes, and a
/// client may request thousands of tokens a second.
const LONGEST_SCOPE: usize = 256;

/// The origin of a request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The address of the peer; behind a trusted proxy, the address that the proxy forwards.
    pub peer: Option<IpAddr>,
    /// The caller's `X-Request-Id`, if it has the form of a request ID.
    pub request_id: Option<RequestId<'a>>,
    /// The caller's trace ID (W3C Trace Context), if any: 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
}

/// The request ID that a caller sent.
#[derive(Clone, Copy, Debug)]
pub enum RequestId<'a> {
    /// Has a form that proxies use and is not a secret known to the server: shown as it is.
    Id(&'a str),
    /// Any other text.
    Unverified(Unverified<'a>),
}

impl<'a> Origin<'a> {
    const fn id(&self) -> Option<&'a str> {
        match self.request_id {
            Some(RequestId::Id(id)) => Some(id),
            _ => None,
        }
    }

    const fn unverified_id(&self) -> Option<Unverified<'a>> {
        match self.request_id {
            Some(RequestId::Unverified(text)) => Some(text),
            _ => None,
        }
    }
}

/// Writes an event of the server, with the same origin fields for all.
macro_rules! event_of_request {
    ($level:ident, $origin:expr, $($fields:tt)*) => {{
        let origin: &Origin<'_> = $origin;
        tracing::$level!(
            target: TARGET,
            $($fields)*
            peer = origin.peer.map(display),
            request_id = origin.id(),
            request_id_hash = origin.unverified_id().and_then(Unverified::hash),
            request_id_length = origin.unverified_id().map(Unverified::length),
            trace_id = origin.trace_id,
        );
    }};
}

/// An issued token.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'a> {
    /// The token's `jti`.
    pub token_id: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// The subject that the token acts as.
    pub subject: &'a str,
    /// The `grant_type`.
    pub grant: &'static str,
    /// How the client authenticated.
    pub method: &'static str,
    /// The granted scopes.
    pub scope: &'a str,
    /// The lifetime in seconds.
    pub expires_in: i64,
}

/// Returns the first scopes of a list, and the number of the others, if there are any.
fn first_scopes(list: &str) -> (&str, Option<usize>) {
    if list.len() <= LONGEST_SCOPE {
        return (list, None);
    }
    let ends = list.match_indices(' ').map(|(end, _)| end);
    let end = ends.take_while(|end| *end <= LONGEST_SCOPE).last();
    let (first, others) = list.split_at(end.unwrap_or_default());
    (first, Some(others.split_whitespace().count()))
}

/// Records that a token was issued.
pub fn issued(origin: &Origin<'_>, token: &Issued<'_>) {
    let (scope, others) = first_scopes(token.scope);
    event_of_request!(
        info,
        origin,
        event = "token_issued",
        token_id = token.token_id,
        client_id = token.client_id,
        subject = token.subject,
        grant = token.grant,
        method = token.method,
        scope,
        scopes_left_out = others,
        expires_in = token.expires_in,
    );
}

/// A revoked token.
#[derive(Clone, Copy, Debug)]
pub struct Revoked<'a> {
    /// The token's public ID.
    pub token_id: &'a str,
    /// The client that revoked it.
    pub client_id: &'a str,
    /// The object that the token was issued for, `<namespace>/<name>`.
    pub owner: &'a str,
}

/// Records that a token was revoked and that the revocation is durable.
pub fn revoked(origin: &Origin<'_>, token: &Revoked<'_>) {
    event_of_request!(
        info,
        origin,
        event = "token_revoked",
        token_id = token.token_id,
        client_id = token.client_id,
        owner = token.owner,
    );
}

/// The client ID that a caller sent without proof.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// The text that was sent.
    pub sent: Unverified<'a>,
    /// Whether a client has this `client_id`: only then the text is shown.
    pub is_client: bool,
}

/// A refused request.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// The endpoint.
    pub action: &'static str,
    /// The reason, from a closed list.
    pub reason: &'static str,
    /// The client, if it was authenticated.
    pub client_id: Option<&'a str>,
    /// The client ID that was sent, if the client was not authenticated.
    pub claimed: Option<Claimed<'a>>,
    /// The public ID of the presented token: the 16 base62 characters of a reference token with a valid checksum, or
    /// the `jti` of a JWT with a valid signature.
    pub token_id: Option<&'a str>,
}

/// Records that a request was refused.
pub fn refused(origin: &Origin<'_>, refusal: &Refused<'_>) {
    let claimed = refusal.claimed;
    let named = claimed.filter(|it| it.is_client).map(|it| it.sent.text());
    // Always compute the hash: an existing name must take as much time as an unknown one.
    let hash = claimed.and_then(|it| it.sent.hash());
    event_of_request!(
        warn,
        origin,
        event = "refused",
        action = refusal.action,
        reason = refusal.reason,
        client_id = refusal.client_id,
        unverified_client_id = named,
        unverified_client_id_hash = hash.filter(|_| named.is_none()),
        unverified_client_id_length = claimed
            .filter(|it| !it.is_client)
            .map(|it| it.sent.length()),
        token_id = refusal.token_id,
    );
}

/// Something that a person did, or that was done with what a person allowed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Event<'a> {
    /// What happened, such as `signed_in`.
    pub event: &'static str,
    /// The reason, from a closed list.
    pub reason: Option<&'static str>,
    /// The client, if one is concerned.
    pub client_id: Option<&'a str>,
    /// The person.
    pub subject: Option<&'a str>,
    /// The ID of the session.
    pub session: Option<&'a str>,
    /// The ID of the grant.
    pub grant: Option<&'a str>,
    /// The public ID of the token.
    pub token_id: Option<&'a str>,
    /// The scopes.
    pub scope: Option<&'a str>,
    /// The name that was typed, and whether it belongs to a person. It may be a password in the wrong field, so it is
    /// never shown.
    pub claimed: Option<(Unverified<'a>, bool)>,
}

/// Records an event of a person.
pub fn of_person(origin: &Origin<'_>, it: &Event<'_>) {
    event_of_request!(
        info,
        origin,
        event = it.event,
        reason = it.reason,
        client_id = it.client_id,
        subject = it.subject,
        session_id = it.session,
        grant_id = it.grant,
        token_id = it.token_id,
        scope = it.scope,
        unverified_name_hash = it.claimed.and_then(|(name, _)| name.hash()),
        unverified_name_length = it.claimed.map(|(name, _)| name.length()),
        is_person = it.claimed.map(|(_, is_person)| is_person),
    );
}

/// Refusals that were not written one by one, since there were too many.
#[derive(Clone, Copy, Debug)]
pub struct Suppressed<'a> {
    /// The peers: an address, an IPv6 network, or `others`; `None` if the server has no address.
    pub peer: Option<&'a str>,
    /// The client, if it was authenticated.
    pub client_id: Option<&'a str>,
    /// The number of refusals, at least.
    pub count: u64,
}

/// Records that refusals were not written since `since`.
pub fn suppressed(suppressed: &Suppressed<'_>, since: impl Display) {
    tracing::warn!(
        target: TARGET,
        event = "refusals_suppressed",
        peer = suppressed.peer,
        client_id = suppressed.client_id,
        count = suppressed.count,
        since = %since,
    );
}

/// What the operator did to a token or client secret of an OAuthClient or a ServiceAccessToken.
#[derive(Clone, Copy, Debug)]
pub struct Turned<'a> {
    /// The event, such as `credential_issued`.
    pub event: &'static str,
    /// The object's kind.
    pub kind: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The client, if it is known.
    pub client_id: Option<&'a str>,
    /// The public ID of the token or client secret.
    pub token_id: &'a str,
    /// The reason, from a closed list.
    pub cause: &'a str,
    /// The user who created the object, as recorded in its status.
    pub created_by: &'a str,
}

/// Records that an object's token or client secret was issued, or is to end.
pub fn turned(turned: &Turned<'_>) {
    tracing::info!(
        target: TARGET,
        event = turned.event,
        kind = turned.kind,
        namespace = turned.namespace,
        name = turned.name,
        client_id = turned.client_id,
        token_id = turned.token_id,
        cause = turned.cause,
        created_by = %Escaped(turned.created_by),
    );
}

/// What the operator did to the enrolment link of a User.
#[derive(Clone, Copy, Debug)]
pub struct Linked<'a> {
    /// The event, such as `enrollment_link_issued`.
    pub event: &'static str,
    /// The User's namespace.
    pub namespace: &'a str,
    /// The User's name.
    pub name: &'a str,
    /// The subject of the person, if the User is valid.
    pub subject: Option<&'a str>,
}

/// Records that the Secret of a User got an enrolment link, or was deleted with it.
pub fn linked(linked: &Linked<'_>, expires_at: Option<impl Display>) {
    tracing::info!(
        target: TARGET,
        event = linked.event,
        kind = "User",
        namespace = linked.namespace,
        name = linked.name,
        subject = linked.subject,
        expires_at = expires_at.map(display),
    );
}

/// A user name, cut and escaped: it cannot end a line or mislead a reader wherever it is shown.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(LONGEST_USER) {
            match character {
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => f.write_char(character)?,
                other => write!(f, "\\u{{{:x}}}", u32::from(other))?,
            }
        }
        if self.0.chars().nth(LONGEST_USER).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_of_scopes_is_cut_between_two_scopes() {
        assert_eq!(first_scopes("a b"), ("a b", None));
        assert_eq!(first_scopes(""), ("", None));
        let list = "a123456789 ".repeat(100);
        let (first, others) = first_scopes(list.trim_end());
        assert_eq!(first, "a123456789 ".repeat(23).trim_end());
        assert_eq!(others, Some(77));
        let long = "a".repeat(300);
        assert_eq!(first_scopes(&long), ("", Some(1)));
    }

    #[test]
    fn a_user_name_cannot_end_a_line_or_mislead_a_reader() {
        for (sent, written) in [
            ("blue.shop", "blue.shop"),
            ("a\nb\r\0", "a\\u{a}b\\u{d}\\u{0}"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\\n", "\\\\n"),
            ("é", "\\u{e9}"),
        ] {
            assert_eq!(Escaped(sent).to_string(), written);
        }
        let long = "x".repeat(1000);
        assert_eq!(Escaped(&long).to_string().chars().count(), LONGEST_USER + 1);
    }
}
