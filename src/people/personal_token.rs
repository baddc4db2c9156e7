//! Personal access tokens: reference tokens that a person creates, and that act as the person within what the person
//! chose.
//!
//! The 256 bits of such a token are
//!
//! ```text
//! body: 24 random bytes   tag: 8 bytes
//! ```
//!
//! Only the hash in the row makes a token valid. The tag, an HMAC of ID and body, makes nothing valid: it distinguishes a
//! token that this server or one before it created from a guess, so that guesses cost no look-up. A token outlives the
//! keys of the tag, since they are replaced with the mac key, so a token without a known tag may still be genuine.

use std::time::Duration;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::account::{Account, AccountId};
use super::agent::Agent;
use super::grant::{Client, Ended};
use super::later;
use crate::tokens::claims::Audience;
use crate::tokens::reference::{self, Kind, Minted, Prefix};
use crate::tokens::{Entropy, KeyMaterial, TokenHash, TokenId};

/// The largest number of tokens that the store keeps of one person, revoked and expired ones included: those go when
/// another one needs their place.
pub const MOST_OF_PERSON: u32 = 100;
/// How long the row of a token is kept after its end, so that its person can see that it has ended.
pub const KEPT_FOR: Duration = Duration::from_hours(7 * 24);
/// A use is recorded only if the last recorded one is older.
pub const USED_EVERY: Duration = Duration::from_mins(1);

const BODY: std::ops::Range<usize> = 0..24;
const TAG: std::ops::Range<usize> = 24..32;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalToken {
    /// Its public ID.
    pub id: TokenId,
    /// The hash of the whole token.
    pub hash: TokenHash,
    /// The person.
    pub account: AccountId,
    /// The account's epoch in which it was created.
    pub epoch: i64,
    /// The client's ID.
    pub client: String,
    /// The uid of the client's resource, so that a recreated client inherits nothing.
    pub client_uid: String,
    /// The name that the person gave it.
    pub name: String,
    /// The scopes that the person chose, separated by spaces.
    pub scopes: String,
    /// The audiences that it is for.
    pub audience: Audience,
    /// The claims about the person that its scopes released when it was created: it never releases others.
    pub claims: Vec<String>,
    /// When the person had proved who they are, in the session in which they created it.
    pub authenticated_at: Timestamp,
    /// How the person had proved it: the values of `amr` (RFC 8176), separated by spaces.
    pub methods: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it expires; `None` if it never does.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub ended_at: Option<Timestamp>,
    /// Its last recorded use.
    pub used: Option<LastUse>,
}

/// A use of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// When.
    pub at: Timestamp,
    /// The network of the program that presented it, such as `192.0.2.0/24`; `None` if an API asked about it.
    pub network: Option<String>,
    /// The kind of that program.
    pub agent: Option<Agent>,
}

impl PersonalToken {
    /// Returns when the row of a token that expires then may go.
    pub fn delete_after(expires_at: Option<Timestamp>) -> Option<Timestamp> {
        expires_at.map(|end| later(end, KEPT_FOR))
    }

    /// Returns whether a use now must be recorded.
    pub fn needs_note(&self, now: Timestamp) -> bool {
        let last = self.used.as_ref();
        last.is_none_or(|last| now >= later(last.at, USED_EVERY))
    }
}

/// A token with its account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonalTokenStanding {
    /// The token.
    pub token: PersonalToken,
    /// The account.
    pub account: Account,
}

impl PersonalTokenStanding {
    /// Judges the token for `client`. When it expires also depends on the Identity.
    ///
    /// # Errors
    /// Why it has ended, or does not serve this client.
    pub fn judge(&self, client: Client<'_>) -> Result<&PersonalToken, Ended> {
        let token = &self.token;
        if token.client != client.id || token.client_uid != client.uid {
            return Err(Ended::Client);
        }
        if token.ended_at.is_some() {
            return Err(Ended::Revoked);
        }
        if !self.account.allows(token.epoch) {
            return Err(Ended::Account);
        }
        Ok(token)
    }
}

/// The keys of the tags: the newest, and the one before it while it is live.
pub struct PersonalTokenKeys {
    newest: hmac::Key,
    previous: Option<hmac::Key>,
}

fn derived(material: &KeyMaterial) -> hmac::Key {
    let key = material.derive("symbolon.dev/personal-token", "tag");
    hmac::Key::new(hmac::HMAC_SHA256, &*key)
}

fn tag(key: &hmac::Key, id: TokenId, body: &[u8]) -> [u8; 8] {
    let mut input = Zeroizing::new(Vec::with_capacity(16 + BODY.end));
    input.extend(id.as_str().as_bytes());
    input.extend(body);
    let mut tag = [0; 8];
    tag.copy_from_slice(&hmac::sign(key, &input).as_ref()[..8]);
    tag
}

impl PersonalTokenKeys {
    /// Derives the keys.
    pub fn new(newest: &KeyMaterial, previous: Option<&KeyMaterial>) -> Self {
        Self {
            newest: derived(newest),
            previous: previous.map(derived),
        }
    }

    /// Creates a token.
    pub fn mint(&self, prefix: &Prefix, entropy: &mut dyn Entropy) -> Minted {
        let id = TokenId::random(entropy);
        let mut secret = Zeroizing::new([0; 32]);
        entropy.fill(&mut secret[BODY]);
        let tag = tag(&self.newest, id, &secret[BODY]);
        secret[TAG].copy_from_slice(&tag);
        reference::with_secret(prefix, Kind::PersonalAccessToken, id, &secret)
    }

    /// Returns whether one of the keys made this token. `text` is what `id` was parsed from.
    pub fn knows(&self, id: TokenId, text: &str) -> bool {
        let Some(secret) = reference::secret_of(text) else {
            return false;
        };
        let keys = [Some(&self.newest), self.previous.as_ref()];
        keys.into_iter().flatten().any(|key| {
            let expected = tag(key, id, &secret[BODY]);
            expected.ct_eq(&secret[TAG]).into()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{SHOP, at, personal_token};
    use super::*;
    use crate::tokens::SeededEntropy;

    fn standing() -> PersonalTokenStanding {
        PersonalTokenStanding {
            token: personal_token(),
            account: Account {
                id: personal_token().account,
                owner: "user:1".to_owned(),
                created_at: at(0),
                valid_after: at(50),
                epoch: 3,
            },
        }
    }

    #[test]
    fn a_token_ends_by_itself_and_with_its_account() {
        assert!(standing().judge(SHOP).is_ok());
        let mut revoked = standing();
        revoked.token.ended_at = Some(at(150));
        assert_eq!(revoked.judge(SHOP), Err(Ended::Revoked));
        let mut everywhere = standing();
        everywhere.account.epoch = 4;
        assert_eq!(everywhere.judge(SHOP), Err(Ended::Account));
    }

    #[test]
    fn a_token_serves_no_other_client_and_no_recreated_one() {
        for (id, uid) in [("shop", "2"), ("other", "1"), ("", "")] {
            assert_eq!(standing().judge(Client { id, uid }), Err(Ended::Client));
        }
    }

    #[test]
    fn a_use_is_recorded_at_most_once_a_minute() {
        let mut token = personal_token();
        assert!(token.needs_note(at(100)));
        let last = |second| LastUse {
            at: at(second),
            network: None,
            agent: None,
        };
        token.used = Some(last(100));
        assert!(!token.needs_note(at(159)));
        assert!(token.needs_note(at(160)));
        // Another replica's clock is ahead.
        token.used = Some(last(200));
        assert!(!token.needs_note(at(160)));
    }

    #[test]
    fn a_token_is_told_from_a_guess_by_the_newest_key_and_the_one_before_it() {
        let (first, second, third) = (
            KeyMaterial::sample(1),
            KeyMaterial::sample(2),
            KeyMaterial::sample(3),
        );
        let entropy = &mut SeededEntropy::new(1);
        let made = PersonalTokenKeys::new(&first, None).mint(&Prefix::default(), entropy);
        let text = made.token.expose();
        let parsed = reference::parse(text).unwrap();
        assert_eq!(parsed.kind, Kind::PersonalAccessToken);
        assert_eq!((parsed.id, parsed.hash), (made.id, made.hash));
        assert!(text.starts_with("sympat_"), "scanners find it");
        let knows = |newest, previous, text: &str| {
            let id = reference::parse(text).unwrap().id;
            PersonalTokenKeys::new(newest, previous).knows(id, text)
        };
        assert!(knows(&first, None, text));
        assert!(knows(&second, Some(&first), text));
        assert!(!knows(&third, Some(&second), text));
        let guess = reference::mint(&Prefix::default(), Kind::PersonalAccessToken, entropy);
        assert!(!knows(&first, None, guess.token.expose()));
        // The tag is of this ID.
        let secret = reference::secret_of(text).unwrap();
        let moved = reference::with_secret(
            &Prefix::default(),
            Kind::PersonalAccessToken,
            guess.id,
            &secret,
        );
        assert!(!knows(&first, None, moved.token.expose()));
    }

    /// Another derivation would let every token count as a guess. The value was checked by a second implementation.
    #[test]
    fn the_derivation_of_the_tag_is_fixed() {
        let entropy = &mut SeededEntropy::new(1);
        let keys = PersonalTokenKeys::new(&KeyMaterial::sample(7), None);
        let made = keys.mint(&Prefix::default(), entropy);
        assert_eq!(
            made.token.expose(),
            "sympat_QTYj9BatafvRmPOFe8e03QLw4EKBoeoF5F2TwIUfcv0eqVFWDRvN9nXBHh44Qq1bd"
        );
    }
}
