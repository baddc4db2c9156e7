//! Known browsers: the proof, in a cookie, that a person has signed in with this browser before.
//!
//! An attacker can use up the guesses of any account from anywhere. A browser that proves an earlier sign-in has guesses
//! of its own, so its person can still sign in. The proof saves no password and no page: it only chooses the gate (see
//! [`attempt`](super::attempt)).
//!
//! ```text
//! entry:   base64url( key id: 1 byte   account: 16   browser: 16   issued: 8   HMAC: 16 )
//! cookie:  entries, the newest first, separated by dots
//! ```

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::account::Account;
use super::later;
use crate::tokens::{Entropy, KeyMaterial};

/// How long a browser is known after a sign-in.
pub const KNOWN_FOR: Duration = Duration::from_hours(180 * 24);
/// The largest number of people that one browser is known for. One more forgets the oldest.
pub const MAX_PEOPLE: usize = 5;

const SALT: &str = "symbolon.dev/known-browser";
const TAG_LENGTH: usize = 16;
const SIGNED_LENGTH: usize = 1 + 16 + 16 + 8;
const ENTRY_LENGTH: usize = SIGNED_LENGTH + TAG_LENGTH;

/// The random ID of a known browser, of one person.
pub type BrowserId = [u8; 16];

/// The keys of the proofs: the newest makes them, and the previous one is still accepted during a rotation.
pub struct KnownBrowserKeys {
    newest: Key,
    previous: Option<Key>,
}

struct Key {
    id: u8,
    hmac: hmac::Key,
}

/// A genuine entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Entry {
    account: [u8; 16],
    browser: BrowserId,
    issued_at: Timestamp,
}

impl Key {
    fn new(material: &KeyMaterial, issuer: &str) -> Self {
        let bytes = material.derive(SALT, issuer);
        Self {
            id: material.id,
            hmac: hmac::Key::new(hmac::HMAC_SHA256, &*bytes),
        }
    }
}

impl KnownBrowserKeys {
    /// Derives the keys of an issuer.
    pub fn new(newest: &KeyMaterial, previous: Option<&KeyMaterial>, issuer: &str) -> Self {
        Self {
            newest: Key::new(newest, issuer),
            previous: previous.map(|previous| Key::new(previous, issuer)),
        }
    }

    /// Returns the cookie after a sign-in of this account: a new entry, and the genuine ones of other people in the
    /// cookie so far.
    pub fn remember(
        &self,
        cookie: Option<&str>,
        account: &Account,
        now: Timestamp,
        entropy: &mut dyn Entropy,
    ) -> String {
        let mut entry = [0; ENTRY_LENGTH];
        entry[0] = self.newest.id;
        entry[1..17].copy_from_slice(account.id.0.as_bytes());
        entropy.fill(&mut entry[17..33]);
        entry[33..SIGNED_LENGTH].copy_from_slice(&now.as_second().to_be_bytes());
        let tag = hmac::sign(&self.newest.hmac, &entry[..SIGNED_LENGTH]);
        entry[SIGNED_LENGTH..].copy_from_slice(&tag.as_ref()[..TAG_LENGTH]);
        let others = texts(cookie).filter(|text| {
            let known = self.entry(text);
            known.is_some_and(|known| known.account != *account.id.0.as_bytes())
        });
        let mut cookie = URL_SAFE_NO_PAD.encode(entry);
        for other in others.take(MAX_PEOPLE - 1) {
            cookie.push('.');
            cookie.push_str(other);
        }
        cookie
    }

    /// Returns the ID of the browser if the cookie proves a sign-in of this account, after its last revocation.
    pub fn find(
        &self,
        cookie: Option<&str>,
        account: &Account,
        now: Timestamp,
    ) -> Option<BrowserId> {
        let mut entries = texts(cookie).filter_map(|text| self.entry(text));
        let entry = entries.find(|entry| entry.account == *account.id.0.as_bytes())?;
        // An entry names whole seconds: one of the second in which the account was revoked is as good as a newer one, since
        // it only chooses the gate.
        let is_valid = entry.issued_at.as_second() >= account.valid_after.as_second()
            && now < later(entry.issued_at, KNOWN_FOR);
        is_valid.then_some(entry.browser)
    }

    /// Reads an entry; `None` if it is not genuine.
    fn entry(&self, text: &str) -> Option<Entry> {
        let bytes: [u8; ENTRY_LENGTH] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (signed, tag) = bytes.split_at(SIGNED_LENGTH);
        let mut keys = [Some(&self.newest), self.previous.as_ref()]
            .into_iter()
            .flatten();
        let key = keys.find(|key| key.id == bytes[0])?;
        let wanted = hmac::sign(&key.hmac, signed);
        let wanted = &wanted.as_ref()[..TAG_LENGTH];
        aws_lc_rs::constant_time::verify_slices_are_equal(wanted, tag).ok()?;
        let issued = i64::from_be_bytes(signed[33..].try_into().ok()?);
        Some(Entry {
            account: signed[1..17].try_into().ok()?,
            browser: signed[17..33].try_into().ok()?,
            issued_at: Timestamp::from_second(issued).ok()?,
        })
    }
}

/// Returns the first entries of a cookie.
fn texts(cookie: Option<&str>) -> impl Iterator<Item = &str> {
    let entries = cookie.into_iter().flat_map(|cookie| cookie.split('.'));
    entries.take(MAX_PEOPLE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::people::account::AccountId;
    use crate::tokens::SeededEntropy;

    fn keys() -> KnownBrowserKeys {
        KnownBrowserKeys::new(&KeyMaterial::sample(1), None, "https://id.example.com")
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn account(number: u128) -> Account {
        Account {
            id: AccountId(Uuid::from_u128(number)),
            owner: "user:1".to_owned(),
            created_at: at(0),
            valid_after: at(50),
            epoch: 0,
        }
    }

    fn remembered(cookie: Option<&str>, number: u128, seed: u64) -> String {
        keys().remember(
            cookie,
            &account(number),
            at(100),
            &mut SeededEntropy::new(seed),
        )
    }

    #[test]
    fn a_browser_is_known_for_the_people_who_signed_in_with_it() {
        let mut cookie = None;
        for person in 0..7 {
            cookie = Some(remembered(cookie.as_deref(), person, 1));
        }
        let known: Vec<u128> = (0..9)
            .filter(|person| {
                keys()
                    .find(cookie.as_deref(), &account(*person), at(101))
                    .is_some()
            })
            .collect();
        assert_eq!(known, [2, 3, 4, 5, 6]);
        // A further sign-in of the same person forgets no one.
        let again = remembered(cookie.as_deref(), 3, 2);
        assert_eq!(again.len(), cookie.clone().unwrap().len());
        let id = |cookie: &str| keys().find(Some(cookie), &account(3), at(101)).unwrap();
        assert_ne!(id(&again), id(&cookie.unwrap()));
        assert!(again.len() < 500, "{}", again.len());
    }

    #[test]
    fn a_revocation_and_time_make_a_browser_unknown() {
        let cookie = remembered(None, 1, 1);
        let seen = |account: &Account, now| keys().find(Some(&cookie), account, now).is_some();
        let end = later(at(100), KNOWN_FOR);
        assert!(seen(&account(1), later(at(99), KNOWN_FOR)));
        assert!(!seen(&account(1), end));
        let mut revoked = account(1);
        revoked.valid_after = at(100);
        assert!(seen(&revoked, at(101)));
        // A sign-in right after a new password was set, in the same second.
        revoked.valid_after = later(at(100), Duration::from_millis(300));
        assert!(seen(&revoked, at(101)));
        revoked.valid_after = at(101);
        assert!(!seen(&revoked, at(101)));
    }

    #[test]
    fn an_entry_is_good_for_its_account_issuer_and_key_alone() {
        let cookie = remembered(None, 1, 1);
        let seen =
            |keys: &KnownBrowserKeys, cookie: &str| keys.find(Some(cookie), &account(1), at(101));
        assert!(seen(&keys(), &cookie).is_some());
        let issuer = "https://id.example.com";
        let both = KnownBrowserKeys::new(
            &KeyMaterial::sample(2),
            Some(&KeyMaterial::sample(1)),
            issuer,
        );
        assert!(seen(&both, &cookie).is_some());
        for other in [
            KnownBrowserKeys::new(&KeyMaterial::sample(1), None, "https://other.example.com"),
            KnownBrowserKeys::new(&KeyMaterial::sample(2), None, issuer),
            KnownBrowserKeys::new(
                &KeyMaterial {
                    id: 1,
                    ..KeyMaterial::sample(3)
                },
                None,
                issuer,
            ),
        ] {
            assert!(seen(&other, &cookie).is_none());
        }
        assert!(keys().find(None, &account(1), at(101)).is_none());
        let bytes = URL_SAFE_NO_PAD.decode(&cookie).unwrap();
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(
                seen(&keys(), &URL_SAFE_NO_PAD.encode(&changed)).is_none(),
                "{at}"
            );
            assert!(
                seen(&keys(), &URL_SAFE_NO_PAD.encode(&bytes[..at])).is_none(),
                "{at}"
            );
        }
    }

    #[test]
    fn entries_that_are_not_genuine_are_not_kept() {
        let forged = "A".repeat(76);
        let cookie = remembered(
            Some(&format!("{forged}.x..{}", remembered(None, 2, 1))),
            1,
            2,
        );
        assert_eq!(cookie.split('.').count(), 2);
        assert!(keys().find(Some(&cookie), &account(2), at(101)).is_some());
        let many = vec![&*forged; 1000].join(".");
        assert_eq!(remembered(Some(&many), 1, 1).split('.').count(), 1);
    }

    proptest! {
        #[test]
        fn no_other_text_is_a_known_browser(text in any::<String>(), bytes in proptest::collection::vec(any::<u8>(), 57)) {
            let bytes = URL_SAFE_NO_PAD.encode(bytes);
            for cookie in [text, bytes] {
                prop_assert_eq!(keys().find(Some(&cookie), &account(1), at(101)), None);
            }
        }
    }
}
