//! Pushed authorization requests (RFC 9126): each is used up when its code is issued, not when the page is shown, since
//! people reload pages.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

use super::later;
use crate::tokens::{TokenHash, TokenId, fields};

/// How long a request remains usable after a browser first presented it.
pub const SHOWN_FOR: Duration = Duration::from_mins(10);

/// A pushed request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Its ID.
    pub id: TokenId,
    /// The hash of the reference that the client received.
    pub hash: TokenHash,
    /// The client that pushed it.
    pub client: String,
    /// Its parameters, in the form that the caller chose.
    pub request: String,
    /// A browser must present it before this time.
    pub expires_at: Timestamp,
    /// When a browser first presented it.
    pub presented_at: Option<Timestamp>,
    /// When a code was issued for it.
    pub used_at: Option<Timestamp>,
}

/// Returns a hash of the site whose caller pushes a request, by its address if it is known: sites share the room that anyone
/// can fill.
pub fn site(address: Option<IpAddr>) -> [u8; 32] {
    let address = address.map(|address| address.to_string());
    fields::sha256(["symbolon.dev/pushed", &address.unwrap_or_default()])
}

/// What a presented reference means for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PushedVerdict {
    /// It is valid and was not presented before.
    First,
    /// It is valid and was presented before.
    Again,
    /// A code was issued for it.
    Used,
    /// It is too old.
    Expired,
    /// The reference is wrong, or of another client.
    Guessed,
}

/// Judges the reference whose hash is `presented`, named by `client`.
pub fn judge(
    pushed: &Pushed,
    presented: &TokenHash,
    client: &str,
    now: Timestamp,
) -> PushedVerdict {
    if pushed.hash != *presented || pushed.client != client {
        return PushedVerdict::Guessed;
    }
    if pushed.used_at.is_some() {
        return PushedVerdict::Used;
    }
    match pushed.presented_at {
        None if now >= pushed.expires_at => PushedVerdict::Expired,
        None => PushedVerdict::First,
        Some(first) if now >= later(first, SHOWN_FOR) => PushedVerdict::Expired,
        Some(_) => PushedVerdict::Again,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_counts_until_the_first_presentation_and_a_reload_works() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let hash = TokenHash::of("reference");
        let mut pushed = Pushed {
            id: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            hash,
            client: "shop".to_owned(),
            request: String::new(),
            expires_at: at(60),
            presented_at: None,
            used_at: None,
        };
        assert_eq!(judge(&pushed, &hash, "shop", at(59)), PushedVerdict::First);
        assert_eq!(
            judge(&pushed, &hash, "shop", at(60)),
            PushedVerdict::Expired
        );
        assert_eq!(
            judge(&pushed, &hash, "other", at(1)),
            PushedVerdict::Guessed
        );
        let wrong = TokenHash::of("guess");
        assert_eq!(
            judge(&pushed, &wrong, "shop", at(1)),
            PushedVerdict::Guessed
        );
        pushed.presented_at = Some(at(59));
        assert_eq!(judge(&pushed, &hash, "shop", at(600)), PushedVerdict::Again);
        assert_eq!(
            judge(&pushed, &hash, "shop", at(659)),
            PushedVerdict::Expired
        );
        pushed.used_at = Some(at(61));
        assert_eq!(judge(&pushed, &hash, "shop", at(62)), PushedVerdict::Used);
    }
}
