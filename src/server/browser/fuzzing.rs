//! Fuzz target: every text that a browser sends back, apart from the fields of forms.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    reason = "a target panics when a rule does not hold"
)]

use std::sync::LazyLock;

use axum::http::header::COOKIE;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use regex::Regex;
use uuid::Uuid;

use super::cookie::{Cookie, Cookies, MAX_VALUE};
use super::language::{Wishes, choose};
use crate::people::account::{Account, AccountId};
use crate::people::enrolment::{self, Unverified};
use crate::people::known_browser::{KnownBrowserKeys, MAX_PEOPLE};
use crate::people::password::Phc;
use crate::tokens::sealed_value::{Place, ValueKeys};
use crate::tokens::{KeyMaterial, SeededEntropy};

const ISSUER: &str = "https://id.example.com";

static LINK: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"\Aenr1\.[A-Za-z0-9-]{1,64}\.(0|[1-9][0-9]{0,10})\.(0|[1-9][0-9]{0,10})\.[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]\z")
        .unwrap()
});

/// Every parser accepts exactly what a naive one does, and what it accepts is bounded and reads back.
pub fn browser(data: &[u8]) {
    cookies(data);
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let material = KeyMaterial::sample(1);
    let now = Timestamp::from_second(1_800_000_000).unwrap();
    sealed_value(text, &material, now);
    known_browser(text, &material, now);
    // An issuer's link has at most 137 characters.
    let is_link = LINK.is_match(text);
    assert_eq!(Unverified::parse(text).is_some(), is_link, "{text:?}");
    assert!(!is_link || text.len() <= enrolment::MAX_LENGTH);
    let _ = Phc::parse(text);
    let supported = ["en", "de", "pt-BR"];
    let locales: Vec<String> = text.split(' ').map(str::to_owned).collect();
    let wishes = Wishes {
        ui_locales: &locales,
        cookie: Some(text),
        accept_language: Some(text),
    };
    assert!(supported.contains(&choose(&supported, wishes).unwrap()));
}

fn sealed_value(text: &str, material: &KeyMaterial, now: Timestamp) {
    let keys = ValueKeys::new(material, None);
    let place = Place {
        kind: "authorize",
        issuer: ISSUER,
        browser: "b",
    };
    if keys.open(place, text, now).is_ok() {
        // One spelling of each value.
        let bytes = URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!(URL_SAFE_NO_PAD.encode(bytes), text);
    }
    let mut entropy = SeededEntropy::new(1);
    if let Ok(sealed) = keys.seal(
        place,
        text.as_bytes(),
        now + std::time::Duration::from_secs(9),
        now,
        &mut entropy,
    ) {
        let opened = keys.open(place, &sealed, now).unwrap();
        assert_eq!(*opened, text.as_bytes());
    }
}

fn known_browser(text: &str, material: &KeyMaterial, now: Timestamp) {
    let keys = KnownBrowserKeys::new(material, None, ISSUER);
    let account = Account {
        id: AccountId(Uuid::from_u128(1)),
        owner: "user:1".to_owned(),
        created_at: now,
        valid_after: now,
        epoch: 0,
    };
    let cookie = keys.remember(Some(text), &account, now, &mut SeededEntropy::new(1));
    assert!(cookie.split('.').count() <= MAX_PEOPLE);
    assert!(keys.find(Some(&cookie), &account, now).is_some());
    let set = Cookies::new(ISSUER).set(Cookie::Known, &cookie, None);
    assert!(set.is_ok(), "{cookie}");
}

/// Reads the input as a header: the cookie is found exactly if one pair has its name and a good value.
fn cookies(data: &[u8]) {
    let cookies = Cookies::new(ISSUER);
    let name = cookies.name(Cookie::Session);
    // `S` stands for the name, which no fuzzer finds.
    let sent: Vec<u8> = data
        .iter()
        .flat_map(|byte| match byte {
            b'S' => name.clone().into_bytes(),
            other => vec![*other],
        })
        .collect();
    let Ok(value) = HeaderValue::from_bytes(&sent) else {
        return;
    };
    let headers: HeaderMap = [(COOKIE, value)].into_iter().collect();
    let read = cookies.read(&headers, Cookie::Session);
    let text: String = sent.iter().copied().map(char::from).collect();
    let named = |pair: &str| {
        let (found, value) = pair.split_once('=')?;
        let found = found.trim_start_matches([' ', '\t']);
        (found == name).then(|| value.to_owned())
    };
    let values: Vec<String> = text.split(';').filter_map(named).collect();
    let is_good = |value: &str| {
        (1..=MAX_VALUE).contains(&value.len())
            && value
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._~-".contains(c))
    };
    match &values[..] {
        [value] if is_good(value) && sent.len() <= 16 << 10 => assert_eq!(read, Some(&**value)),
        _ => assert_eq!(read, None),
    }
    if let Some(value) = read {
        let set = cookies.set(Cookie::Session, value, None).unwrap();
        assert!(set.starts_with(&format!("{name}={value}; ")), "{set}");
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_texts_of_browsers_are_read_as_naive_parsers_read_them() {
        replay("browser", super::browser);
    }
}
