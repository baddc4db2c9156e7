//! Fuzz targets: forms, credentials, grant requests and ID token hints, each compared with a second, naive parser.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::collections::HashSet;
use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;

use super::bearer::{self, Unusable};
use super::client_auth::authenticate;
use super::form::{Form, check_query};
use super::grants::client_credentials::decide;
use super::id_token::Hint;
use super::{ErrorCode, OAuthError};
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{Directory, ObjectKey};
use crate::fuzzing::cut;
use crate::resources::OwnerKind;
use crate::tokens::{AccessTokenClaims, PersonClaims, SeededEntropy};

const CLIENT_ID: &str = "blue.shop";

/// The quickstart and its client's secret: the same in every process.
static SERVED: LazyLock<(Directory, String)> = LazyLock::new(|| {
    let mut world = World::new(QUICKSTART);
    let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
    (world.directory, secret.expose().to_owned())
});

fn now() -> Timestamp {
    "2026-02-01T00:00:00Z".parse().unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "main")
}

/// Decodes a form's name or value by position; `None` for a broken escape.
fn naive_decode(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut at = 0;
    while at < text.len() {
        if text[at] == b'%' {
            let digits = text.get(at + 1..at + 3)?;
            if !digits.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            let digits = std::str::from_utf8(digits).unwrap();
            out.push(u8::from_str_radix(digits, 16).unwrap());
            at += 3;
        } else {
            out.push(if text[at] == b'+' { b' ' } else { text[at] });
            at += 1;
        }
    }
    Some(out)
}

fn naive_text(text: &[u8]) -> Option<String> {
    let text = String::from_utf8(naive_decode(text)?).ok()?;
    (!text.contains('\0')).then_some(text)
}

/// Whether every name and value of a form is well formed and no parameter is repeated that may not be.
fn is_clean(body: &[u8]) -> bool {
    let pieces: Vec<_> = body
        .split(|byte| *byte == b'&')
        .filter(|piece| !piece.is_empty())
        .collect();
    let mut names = HashSet::new();
    pieces.len() <= 64
        && pieces.iter().all(|piece| {
            let (name, value) = cut(piece, b"=");
            naive_text(value).is_some()
                && naive_text(name).is_some_and(|name| name == "resource" || names.insert(name))
        })
}

/// A form parses as the `form_urlencoded` crate parses it, or is refused for a reason that a naive parser sees too. An
/// accepted form is no longer than its input, and reads back after it is written again.
pub fn form(body: &[u8]) {
    let parsed = Form::parse(body);
    assert_eq!(parsed.is_ok(), is_clean(body), "{body:?}");
    if let Ok(form) = parsed {
        let ours: Vec<_> = form.pairs().collect();
        let theirs: Vec<_> = form_urlencoded::parse(body)
            .filter(|(_, value)| !value.is_empty())
            .collect();
        let theirs: Vec<_> = theirs
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        assert_eq!(ours, theirs);
        let length: usize = ours
            .iter()
            .map(|(name, value)| name.len() + value.len())
            .sum();
        assert!(length <= body.len());
        let written = form_urlencoded::Serializer::new(String::new())
            .extend_pairs(&ours)
            .finish();
        let again = Form::parse(written.as_bytes()).unwrap();
        assert_eq!(again.pairs().collect::<Vec<_>>(), ours);
    }
    if let Ok(query) = std::str::from_utf8(body) {
        let forbidden = form_urlencoded::parse(body)
            .any(|(name, _)| super::form::NEVER_IN_A_QUERY.contains(&&*name));
        assert_eq!(check_query(Some(query)).is_err(), forbidden, "{query:?}");
    }
}

/// A head of lines, `a:` before a value of `Authorization` and `k:` before an API key; then an empty line and a form.
struct Presented<'a> {
    authorization: Vec<&'a [u8]>,
    keys: Vec<&'a [u8]>,
    body: &'a [u8],
}

impl<'a> Presented<'a> {
    fn of(data: &'a [u8]) -> Self {
        let (head, body) = cut(data, b"\n\n");
        let lines: Vec<_> = head.split(|byte| *byte == b'\n').collect();
        let of = |mark: &[u8]| {
            let values = lines.iter().filter_map(|line| line.strip_prefix(mark));
            values.collect()
        };
        Self {
            authorization: of(b"a:"),
            keys: of(b"k:"),
            body,
        }
    }
}

fn naive_basic(header: &[u8]) -> Option<(String, String)> {
    let (scheme, rest) = cut(header, b" ");
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let decoded = STANDARD.decode(rest.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|byte| *byte == b':')?;
    Some((
        naive_text(&decoded[..colon])?,
        naive_text(&decoded[colon + 1..])?,
    ))
}

/// A client authenticates only with its ID and secret, in one way, and no answer contains a secret.
pub fn credentials(data: &[u8]) {
    let (directory, secret) = &*SERVED;
    let Presented {
        authorization,
        keys,
        body,
    } = Presented::of(data);
    if let Ok(form) = Form::parse(body) {
        let (in_body, in_form) = (form.get("client_secret"), form.get("client_id"));
        let sent = match (&authorization[..], in_body) {
            ([header], None) => {
                naive_basic(header).filter(|(id, _)| in_form.is_none_or(|other| other == id))
            }
            ([], Some(secret)) => in_form.map(|id| (id.to_owned(), secret.to_owned())),
            _ => None,
        };
        let is_right = form.get("client_assertion").is_none()
            && sent.is_some_and(|(id, sent)| id == CLIENT_ID && sent == *secret);
        let headers = authorization.iter().copied();
        match authenticate(directory, &identity(), headers, &form, now()) {
            Ok((client, _)) => {
                assert!(is_right);
                assert_eq!(&*client.client.client.record.client_id, CLIENT_ID);
            }
            Err(failure) => {
                assert!(!is_right, "{:?}", failure.reason);
                refused(failure.error, secret);
            }
        }
    }
    let token = bearer::extract(authorization.iter().copied(), keys.iter().copied());
    assert_eq!(token, naive_token(&authorization, &keys));
}

fn refused(error: OAuthError, secret: &str) {
    let code = error.code;
    assert!(
        matches!(code, ErrorCode::InvalidRequest | ErrorCode::InvalidClient),
        "{code:?}"
    );
    let answer = error.to_json();
    assert!(answer.len() < 512 && !answer.contains(secret));
}

fn naive_token<'a>(authorization: &[&'a [u8]], keys: &[&'a [u8]]) -> Result<&'a str, Unusable> {
    let token = match (authorization, keys) {
        ([], []) => return Err(Unusable::Missing),
        ([], [key]) => key,
        ([header], []) => {
            let (scheme, rest) = cut(header, b" ");
            if !scheme.eq_ignore_ascii_case(b"bearer") {
                return Err(Unusable::Missing);
            }
            rest
        }
        _ => return Err(Unusable::SeveralWays),
    };
    let token = std::str::from_utf8(token.trim_ascii()).map_err(|_| Unusable::Malformed)?;
    let allowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/=";
    if token.is_empty() || !token.chars().all(|c| allowed.contains(c)) {
        return Err(Unusable::Malformed);
    }
    Ok(token)
}

/// A grant gives only requested scopes of the client, at the audience of those scopes, and claims that read back as
/// they are written.
pub fn grant(body: &[u8]) {
    let (directory, _) = &*SERVED;
    let Ok(form) = Form::parse(body) else { return };
    let client = directory.active_client(&identity(), CLIENT_ID).unwrap();
    let mut entropy = SeededEntropy::new(1);
    let outcome = decide(directory, &client, &form, now(), &mut entropy);
    let own = ["orders.read", "orders.write"];
    let asked: Option<Vec<&str>> = form.get("scope").map(|scope| scope.split(' ').collect());
    let is_own = asked
        .as_ref()
        .is_none_or(|asked| asked.len() <= 128 && asked.iter().all(|scope| own.contains(scope)));
    let is_there = form
        .get_all("resource")
        .all(|resource| resource == "https://api.example.com");
    assert_eq!(outcome.is_ok(), is_own && is_there, "{outcome:?}");
    let issue = match outcome {
        Ok(issue) => issue,
        Err(error) => {
            assert!(matches!(
                error.code,
                ErrorCode::InvalidScope | ErrorCode::InvalidTarget
            ));
            return;
        }
    };
    let wanted: HashSet<&str> = asked.unwrap_or(own.to_vec()).into_iter().collect();
    let given: HashSet<&str> = issue.scope.split(' ').collect();
    assert_eq!(given, wanted);
    assert_eq!(issue.claims.scope.to_string(), issue.scope);
    assert_eq!(
        issue.claims.aud.iter().collect::<Vec<_>>(),
        ["https://api.example.com"]
    );
    let json = issue.claims.to_json().unwrap();
    assert!(json.len() < 1024);
    assert_eq!(AccessTokenClaims::from_json(&json).unwrap(), issue.claims);
}

/// A payload is a hint only if it has the claims of an ID token, none of another kind's, and this issuer; it is never an
/// access token too.
pub fn hint(data: &[u8]) {
    const ISSUER: &str = "https://id.example.com/id";
    let Ok(hint) = Hint::from_json(data, ISSUER) else {
        return;
    };
    assert!(AccessTokenClaims::from_json(data).is_err());
    assert!(PersonClaims::from_json(data).is_err());
    // A skipped claim may hold a number that no JSON value can.
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(data) else {
        return;
    };
    assert_eq!(value["iss"], ISSUER);
    assert_eq!(value["sub"], *hint.subject);
    assert!(!hint.subject.is_empty());
    assert_eq!(value["aud"], *hint.client_id);
    let session = hint.session.map(String::from);
    assert_eq!(value["sid"].as_str().map(str::to_owned), session);
    for name in ["exp", "iat", "auth_time"] {
        assert!(value[name].is_i64(), "{name}");
    }
    for name in [
        "client_id",
        "client_uid",
        "principal_kind",
        "scope",
        "events",
        "jti",
    ] {
        assert!(value.get(name).is_none(), "{name}");
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_forms_parse_as_in_form_urlencoded() {
        replay("form", super::form);
    }

    #[test]
    fn kept_credentials_authenticate_only_if_they_are_right() {
        replay("credentials", super::credentials);
    }

    #[test]
    fn kept_hints_are_id_tokens_alone() {
        replay("hint", super::hint);
    }

    #[test]
    fn kept_requests_get_only_requested_and_granted_scopes() {
        replay("grant", super::grant);
    }
}
