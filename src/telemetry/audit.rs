//! Audit events: each issue, refusal and revocation as one structured event with who, what, client, token id and
//! reason. They are log events of the target `audit`, so that they can be kept apart and kept longer.
//!
//! No function here takes a token or a secret. What callers sent and nothing verified comes in as [`Unverified`], which
//! shows its length and a hash; a field that shows a caller's text says here on what condition.

use std::fmt::{self, Display, Write as _};
use std::net::IpAddr;

use super::Unverified;

/// The target of audit events.
pub const TARGET: &str = "audit";

/// The longest name of a user that is written, in characters: those of service accounts are longer than most, and must
/// be whole.
const LONGEST_USER: usize = 512;

/// Where a request came from.
#[derive(Clone, Copy, Debug, Default)]
pub struct Origin<'a> {
    /// The other end of the connection; behind a trusted proxy, the address that it forwards.
    pub peer: Option<IpAddr>,
    /// The caller's `X-Request-Id`, if it has the form of one.
    pub request_id: Option<RequestId<'a>>,
    /// The trace that the caller is in (W3C Trace Context), if any: 32 hexadecimal digits.
    pub trace_id: Option<&'a str>,
}

/// What a caller sent as the id of its request.
#[derive(Clone, Copy, Debug)]
pub enum RequestId<'a> {
    /// It has a form in which proxies make them, and is not a secret that the server knows: shown as it is.
    Id(&'a str),
    /// It could be anything.
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

/// Writes an event of the server: the fields of the origin are the same for all.
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

/// A token that was issued.
#[derive(Clone, Copy, Debug)]
pub struct Issued<'a> {
    /// Its `jti`.
    pub token_id: &'a str,
    /// The client.
    pub client_id: &'a str,
    /// Whom the token acts as.
    pub subject: &'a str,
    /// `grant_type`.
    pub grant: &'static str,
    /// How the client authenticated.
    pub method: &'static str,
    /// What it allows.
    pub scope: &'a str,
    /// When it ends, in seconds from now.
    pub expires_in: i64,
}

/// A token was issued.
pub fn issued(origin: &Origin<'_>, token: &Issued<'_>) {
    event_of_request!(
        info,
        origin,
        event = "token_issued",
        token_id = token.token_id,
        client_id = token.client_id,
        subject = token.subject,
        grant = token.grant,
        method = token.method,
        scope = token.scope,
        expires_in = token.expires_in,
    );
}

/// A token was revoked.
#[derive(Clone, Copy, Debug)]
pub struct Revoked<'a> {
    /// Its public id.
    pub token_id: &'a str,
    /// The client that asked.
    pub client_id: &'a str,
    /// The object that the token was issued for, `<namespace>/<name>`.
    pub owner: &'a str,
}

/// A token was revoked, and that is durable.
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

/// The client that a caller says it is, without proof.
#[derive(Clone, Copy, Debug)]
pub struct Claimed<'a> {
    /// What it sent.
    pub sent: Unverified<'a>,
    /// Whether that is the `client_id` of an existing client: only then is it shown.
    pub is_client: bool,
}

/// Something that was asked for and refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What was asked for: the endpoint.
    pub action: &'static str,
    /// Why, by a closed list.
    pub reason: &'static str,
    /// The client, if it has authenticated.
    pub client_id: Option<&'a str>,
    /// Who it says it is, if not.
    pub claimed: Option<Claimed<'a>>,
    /// The public id of the token that was presented: 16 base62 characters of a reference token whose checksum is right,
    /// or the `jti` of a JWT whose signature is.
    pub token_id: Option<&'a str>,
}

/// A request was refused.
pub fn refused(origin: &Origin<'_>, refusal: &Refused<'_>) {
    let claimed = refusal.claimed;
    let named = claimed.filter(|it| it.is_client).map(|it| it.sent.text());
    // A name that exists costs as much time as one that does not.
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

/// Refusals that were not written one by one, since there were too many.
#[derive(Clone, Copy, Debug)]
pub struct Suppressed<'a> {
    /// Whose they were: an address, an IPv6 network, `others`; none where the server has no address.
    pub peer: Option<&'a str>,
    /// The client, if it had authenticated.
    pub client_id: Option<&'a str>,
    /// How many there were at least.
    pub count: u64,
}

/// Refusals were left out since then.
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

/// What the operator did to a secret or token of an OAuthClient or a ServiceAccessToken.
#[derive(Clone, Copy, Debug)]
pub struct Turned<'a> {
    /// What it did, as `credential_issued`.
    pub event: &'static str,
    /// The object's kind.
    pub kind: &'a str,
    /// The object's namespace.
    pub namespace: &'a str,
    /// The object's name.
    pub name: &'a str,
    /// The client, if it is known.
    pub client_id: Option<&'a str>,
    /// The public id of the secret or token.
    pub token_id: &'a str,
    /// Why, by a closed list.
    pub cause: &'a str,
    /// Who created the object, as its status says.
    pub created_by: &'a str,
}

/// A secret or token of an object came, or is to go.
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

/// The name of a user, cut, with nothing in it that could end a line or deceive an eye wherever it is shown later.
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
    fn the_name_of_a_user_cannot_end_a_line_or_deceive_an_eye() {
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
