//! Authorization codes (RFC 6749 section 4.1.2): each is redeemed once, and a later use ends its grant.

use std::time::Duration;

use jiff::Timestamp;

use super::grant::{Client, Grant};
use super::later;
use crate::tokens::{TokenHash, TokenId};

/// How long the reply to the first use can take. A request that arrived within this time after the use is taken for
/// one that was sent before the reply, such as a double submit: it is refused and ends nothing.
pub const REPLY_TIME: Duration = Duration::from_secs(1);
/// How long a code is kept after its expiry, to recognise a later use.
pub const KEPT_FOR: Duration = Duration::from_mins(10);

/// A code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Code {
    /// Its ID.
    pub id: TokenId,
    /// The hash of the code.
    pub hash: TokenHash,
    /// The grant that it gives, which also names its client.
    pub grant: TokenId,
    /// The redirect URI of the request, empty if it named none.
    pub redirect_uri: String,
    /// The S256 challenge (RFC 7636).
    pub challenge: Option<String>,
    /// The `nonce` for the ID token.
    pub nonce: Option<String>,
    /// When it expires.
    pub expires_at: Timestamp,
    /// When it was redeemed.
    pub used_at: Option<Timestamp>,
}

/// A request to redeem a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use<'a> {
    /// The code's ID.
    pub id: TokenId,
    /// The hash of the presented code.
    pub hash: TokenHash,
    /// The authenticated client.
    pub client: Client<'a>,
    /// The redirect URI of the request, empty if it names none.
    pub redirect_uri: String,
    /// The S256 challenge of the presented verifier.
    pub challenge: Option<String>,
    /// When the request arrived.
    pub arrived_at: Timestamp,
}

/// What a request means for a code. Every verdict except [`CodeVerdict::Redeem`] is `invalid_grant` to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeVerdict {
    /// The code is good for tokens.
    Redeem,
    /// It was just redeemed, and this request was sent before the reply. Nothing ends.
    AlreadyUsed,
    /// It was redeemed before: its grant ends.
    Reuse,
    /// It has expired unused.
    Expired,
    /// The secret part is wrong: the caller knows only the public ID. Nothing ends.
    Guessed,
    /// The code is genuine but bound to another client, redirect URI or challenge, or the client was recreated
    /// since. Nothing ends: an
    /// attacker who stole a code without its verifier can neither redeem the code nor end its grant.
    Misbound,
}

/// Judges a request for a code and the grant that it gives. The expiry of an unused code is judged at `now`.
pub fn judge(code: &Code, grant: &Grant, request: &Use<'_>, now: Timestamp) -> CodeVerdict {
    if code.hash != request.hash {
        return CodeVerdict::Guessed;
    }
    let is_bound = code.grant == grant.id
        && grant.is_of(request.client)
        && code.redirect_uri == request.redirect_uri
        && code.challenge == request.challenge;
    if !is_bound {
        return CodeVerdict::Misbound;
    }
    match code.used_at {
        None if now >= code.expires_at => CodeVerdict::Expired,
        None => CodeVerdict::Redeem,
        Some(used) if request.arrived_at <= later(used, REPLY_TIME) => CodeVerdict::AlreadyUsed,
        Some(_) => CodeVerdict::Reuse,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{self, SHOP, at};
    use super::*;

    fn grant() -> Grant {
        Grant {
            id: code().grant,
            ..testing::grant()
        }
    }

    fn judge(code: &Code, request: &Use<'_>, now: Timestamp) -> CodeVerdict {
        super::judge(code, &grant(), request, now)
    }

    fn code() -> Code {
        Code {
            id: "AAAAAAAAAAAAAAAA".parse().unwrap(),
            hash: TokenHash::of("code"),
            grant: "BBBBBBBBBBBBBBBB".parse().unwrap(),
            redirect_uri: "https://shop/cb".to_owned(),
            challenge: Some("challenge".to_owned()),
            nonce: None,
            expires_at: at(60),
            used_at: None,
        }
    }

    fn request(arrived: i64) -> Use<'static> {
        Use {
            id: code().id,
            hash: code().hash,
            client: SHOP,
            redirect_uri: code().redirect_uri,
            challenge: code().challenge,
            arrived_at: at(arrived),
        }
    }

    #[test]
    fn a_code_is_good_once_and_until_its_expiry() {
        assert_eq!(judge(&code(), &request(59), at(59)), CodeVerdict::Redeem);
        assert_eq!(judge(&code(), &request(59), at(60)), CodeVerdict::Expired);
    }

    #[test]
    fn a_later_use_ends_the_grant_and_a_double_submit_does_not() {
        let used = Code {
            used_at: Some(at(10)),
            ..code()
        };
        assert_eq!(judge(&used, &request(9), at(30)), CodeVerdict::AlreadyUsed);
        assert_eq!(judge(&used, &request(11), at(11)), CodeVerdict::AlreadyUsed);
        assert_eq!(judge(&used, &request(12), at(12)), CodeVerdict::Reuse);
        assert_eq!(judge(&used, &request(300), at(300)), CodeVerdict::Reuse);
    }

    #[test]
    fn a_code_is_bound_to_client_redirect_uri_and_challenge() {
        let mut others = [(); 5].map(|()| request(12));
        others[0].client.id = "other";
        others[1].redirect_uri = "https://other/cb".to_owned();
        others[2].challenge = Some("other".to_owned());
        others[3].challenge = None;
        // The client was deleted and created again.
        others[4].client.uid = "2";
        let used = Code {
            used_at: Some(at(10)),
            ..code()
        };
        for other in others {
            assert_eq!(
                judge(&code(), &other, at(12)),
                CodeVerdict::Misbound,
                "{other:?}"
            );
            assert_eq!(
                judge(&used, &other, at(12)),
                CodeVerdict::Misbound,
                "{other:?}"
            );
        }
        // The reverse: a verifier for a code without a challenge.
        let plain = Code {
            challenge: None,
            ..code()
        };
        assert_eq!(judge(&plain, &request(12), at(12)), CodeVerdict::Misbound);
        let foreign = Grant {
            id: "DDDDDDDDDDDDDDDD".parse().unwrap(),
            ..grant()
        };
        let verdict = super::judge(&code(), &foreign, &request(12), at(12));
        assert_eq!(verdict, CodeVerdict::Misbound);
    }

    #[test]
    fn a_guessed_code_ends_nothing() {
        let used = Code {
            used_at: Some(at(10)),
            ..code()
        };
        let guess = Use {
            hash: TokenHash::of("guess"),
            ..request(50)
        };
        assert_eq!(judge(&used, &guess, at(50)), CodeVerdict::Guessed);
    }
}
