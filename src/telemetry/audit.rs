//! Audit events: each issue, refusal and revocation as one structured event with who, what, client, token id and
//! reason. They are log events of the target `audit`, so that they can be kept apart and kept longer.
//!
//! No function here takes a token or a secret. What callers sent and nobody verified comes in as [`Unverified`] and is
//! written with everything escaped that could end a line or deceive an eye.

use std::fmt::{self, Write as _};
use std::net::IpAddr;

use tracing::field::{DisplayValue, display};

/// The target of audit events.
pub const TARGET: &str = "audit";

/// The longest text of a caller that is written, in characters.
const LONGEST: usize = 128;
/// The longest name of a user that is written: those of service accounts are longer than most, and must be whole.
const LONGEST_USER: usize = 512;

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The other end of the connection: a proxy, where there is one.
    pub peer: Option<IpAddr>,
    /// The caller's `X-Request-Id`, if it is a sane one.
    pub request_id: Option<String>,
    /// The trace that the caller is in (W3C Trace Context), if any.
    pub trace_id: Option<String>,
}

/// A text that somebody sent.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a>(pub &'a str);

impl fmt::Display for Unverified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0, LONGEST).fmt(f)
    }
}

/// A text with at most so many characters, and nothing in it that could end a line or deceive an eye.
struct Escaped<'a>(&'a str, usize);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars().take(self.1) {
            match character {
                '\\' => f.write_str("\\\\")?,
                ' '..='~' => f.write_char(character)?,
                other => write!(f, "\\u{{{:x}}}", u32::from(other))?,
            }
        }
        if self.0.chars().nth(self.1).is_some() {
            f.write_str("…")?;
        }
        Ok(())
    }
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
pub fn issued(origin: &Origin, token: &Issued<'_>) {
    tracing::info!(
        target: TARGET,
        event = "token_issued",
        token_id = token.token_id,
        client_id = token.client_id,
        subject = token.subject,
        grant = token.grant,
        method = token.method,
        scope = token.scope,
        expires_in = token.expires_in,
        peer = origin.peer.map(display),
        request_id = text(origin.request_id.as_ref()),
        trace_id = text(origin.trace_id.as_ref()),
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
pub fn revoked(origin: &Origin, token: &Revoked<'_>) {
    tracing::info!(
        target: TARGET,
        event = "token_revoked",
        token_id = token.token_id,
        client_id = token.client_id,
        owner = token.owner,
        peer = origin.peer.map(display),
        request_id = text(origin.request_id.as_ref()),
        trace_id = text(origin.trace_id.as_ref()),
    );
}

/// Something that was asked for and refused.
#[derive(Clone, Copy, Debug)]
pub struct Refused<'a> {
    /// What was asked for: the endpoint.
    pub action: &'static str,
    /// Why, by a closed list.
    pub reason: &'a str,
    /// The client, if it has authenticated.
    pub client_id: Option<&'a str>,
    /// Who it says it is, if not.
    pub unverified_client_id: Option<&'a str>,
    /// The public id of the token that was presented, if it has one.
    pub token_id: Option<&'a str>,
}

/// A request was refused.
pub fn refused(origin: &Origin, refusal: &Refused<'_>) {
    tracing::warn!(
        target: TARGET,
        event = "refused",
        action = refusal.action,
        reason = refusal.reason,
        client_id = refusal.client_id,
        unverified_client_id = refusal.unverified_client_id.map(Unverified).map(display),
        token_id = refusal.token_id.map(Unverified).map(display),
        peer = origin.peer.map(display),
        request_id = text(origin.request_id.as_ref()),
        trace_id = text(origin.trace_id.as_ref()),
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
        created_by = %Escaped(turned.created_by, LONGEST_USER),
    );
}

fn text(value: Option<&String>) -> Option<DisplayValue<Unverified<'_>>> {
    value.map(|value| display(Unverified(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sent_cannot_end_a_line_or_deceive_an_eye() {
        for (sent, written) in [
            ("blue.shop", "blue.shop"),
            ("a\nb\r\0", "a\\u{a}b\\u{d}\\u{0}"),
            ("\u{1b}[31m", "\\u{1b}[31m"),
            ("\u{202e}evil", "\\u{202e}evil"),
            ("\\n", "\\\\n"),
            ("é", "\\u{e9}"),
        ] {
            assert_eq!(Unverified(sent).to_string(), written);
        }
        let long = "x".repeat(1000);
        assert_eq!(Unverified(&long).to_string().chars().count(), LONGEST + 1);
    }
}
