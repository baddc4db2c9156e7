//! The keys of what browsers and clients hold for the server, all derived from the Identity's mac key.
//!
//! Each use has a key of its own. What a key has protected carries the ID of its material, and outlives a replacement of
//! the mac key: the previous one is given too as long as it is live.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::hmac;
use uuid::Uuid;

use crate::people::account::AccountId;
use crate::people::known_browser::KnownBrowserKeys;
use crate::people::personal_token::PersonalTokenKeys;
use crate::people::refresh::RefreshKeys;
use crate::server::browser::FormKeys;
use crate::tokens::MacKey;
use crate::tokens::sealed_value::ValueKeys;

/// Derives the key of subjects.
const SUBJECT: &str = "symbolon.dev/subject";

/// The keys.
pub struct PeopleKeys {
    /// Of flows.
    pub flows: ValueKeys,
    /// Of the proofs of forms.
    pub forms: FormKeys,
    /// Of refresh tokens.
    pub refresh: RefreshKeys,
    /// Of known browsers.
    pub browsers: KnownBrowserKeys,
    /// Of the tags of personal access tokens.
    pub personal_tokens: PersonalTokenKeys,
    /// Of enrolment links: the live mac keys, the newest first.
    pub enrolment: Vec<Arc<MacKey>>,
    subject: hmac::Key,
}

impl PeopleKeys {
    /// Derives the keys of an issuer from its mac key, and from the previous one while it is live.
    pub fn new(newest: Arc<MacKey>, previous: Option<Arc<MacKey>>, issuer: &str) -> Self {
        let material = newest.material();
        let before = previous.as_ref().map(|mac| mac.material());
        let before = before.as_ref();
        Self {
            flows: ValueKeys::new(&material, before),
            forms: FormKeys::new(&material, before),
            refresh: RefreshKeys::new(&material, before),
            browsers: KnownBrowserKeys::new(&material, before, issuer),
            personal_tokens: PersonalTokenKeys::new(&material, before),
            subject: newest.derive(SUBJECT),
            enrolment: std::iter::once(newest).chain(previous).collect(),
        }
    }

    /// Returns the ID for the account of `owner`, if it has none yet. Under one mac key the same owner always gets the
    /// same one, so that a lost row leads to no other subject.
    pub fn account_of(&self, owner: &str) -> AccountId {
        let tag = hmac::sign(&self.subject, owner.as_bytes());
        let mut bytes = [0; 16];
        bytes.copy_from_slice(&tag.as_ref()[..16]);
        AccountId(uuid::Builder::from_custom_bytes(bytes).into_uuid())
    }

    /// Returns the ID for the account of a person whose resource pins the subject, which counts if it is a UUID.
    pub fn account_for(&self, owner: &str, pinned: Option<&str>) -> AccountId {
        let pinned = pinned.and_then(|text| Uuid::try_parse(text).ok());
        pinned.map_or_else(|| self.account_of(owner), AccountId)
    }
}

impl fmt::Debug for PeopleKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeopleKeys([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;

    use super::*;
    use crate::people::account::Account;
    use crate::people::enrolment::{self, Enrolled, EnrolmentState, Unverified};
    use crate::server::browser::form::Shown;
    use crate::tokens::reference::Prefix;
    use crate::tokens::sealed_value::Place;
    use crate::tokens::{Hex, SeededEntropy};

    const ISSUER: &str = "https://id.example.com";
    const PLACE: Place<'_> = Place {
        kind: "authorize",
        issuer: ISSUER,
        browser: "b1",
    };
    const SHOWN: Shown<'_> = Shown {
        form: "sign-in",
        browser: "b1",
        session: None,
    };
    const ALICE: Enrolled<'_> = Enrolled {
        namespace: "platform",
        identity: "main",
        uid: "0d9cbb2c-6ad3-4ab3-9a4d-3f1a9e1c2b77",
        nonce: "first",
    };

    fn now() -> Timestamp {
        Timestamp::from_second(1_800_000_000).unwrap()
    }

    fn mac(byte: u8) -> Arc<MacKey> {
        Arc::new(MacKey::from_bytes(&[byte; 32]).unwrap())
    }

    fn account() -> Account {
        Account {
            id: AccountId(Uuid::from_u128(1)),
            owner: "user:1".to_owned(),
            created_at: now(),
            valid_after: now(),
            epoch: 0,
        }
    }

    /// What the keys make, each with given time and randomness: a flow, a proof, a refresh token, a known browser, an
    /// enrolment link.
    fn made(keys: &PeopleKeys) -> [String; 5] {
        let entropy = &mut SeededEntropy::new(1);
        let flow = keys
            .flows
            .seal(PLACE, b"flow", Timestamp::MAX, now(), entropy);
        let token = keys.refresh.first(&Prefix::default(), entropy);
        let link = enrolment::issue(&keys.enrolment[0], ALICE, Duration::MAX, now());
        [
            flow.unwrap(),
            keys.forms.proof(SHOWN),
            token.text.expose().to_owned(),
            keys.browsers.remember(None, &account(), now(), entropy),
            link.unwrap().expose().to_owned(),
        ]
    }

    /// Another derivation would sign everyone out. The values come from a second implementation.
    #[test]
    fn the_derivation_of_each_key_is_fixed() {
        let material = mac(7).material();
        let keys = PeopleKeys::new(mac(7), None, ISSUER);
        let id = material.id.to_string();
        let bytes = Hex(&*material.bytes).to_string();
        let subject = keys.account_of("user:1").0.to_string();
        let [flow, proof, token, browser, link] = made(&keys);
        let found = [id, bytes, subject, flow, proof, token, browser, link];
        assert_eq!(
            found,
            [
                "243",
                "65174c1c0ab6ba724f903e1a1c14cba0aaf30a3153657c4b30259b2edafd04e5",
                "bf1dbc2b-0a10-8fdf-96b7-a63b35b74b1f",
                "8wAAAABrSdRY-paZnvstCQtis6DjClzDMsoeb3zugEgDFJjQl2MMH9c",
                "Y57wSzJgC_q2CY5QTmLTKw68JNaUorsxddL3UmVsHWQ",
                "symref_vRmPOFgekKXWaYngvcbywFRMnguwvzNJCZjdOvo24XmEY58RBwwFMvoKXeh3Uxq87",
                "8wAAAAAAAAAAAAAAAAAAAAG_6i1TFeEXH9jtCJJMfM3fAAAAAGtJ0gCnZpqZe-No-NEEZV7azVpn",
                "enr1.0d9cbb2c-6ad3-4ab3-9a4d-3f1a9e1c2b77.1800000000.1800259200.RfqRknaoyxeNDAZi2FMAVdhtx6rRsFu44TAPfB1OuNQ",
            ]
        );
    }

    #[test]
    fn what_the_previous_mac_key_made_is_good_during_a_rotation() {
        let [flow, proof, _, browser, link] = made(&PeopleKeys::new(mac(7), None, ISSUER));
        let works = |keys: &PeopleKeys| {
            let state = EnrolmentState {
                namespace: ALICE.namespace,
                identity: ALICE.identity,
                nonce: Some(ALICE.nonce),
                issued_at: None,
                valid_after: None,
            };
            let macs = keys.enrolment.iter().map(|mac| &**mac);
            let link = Unverified::parse(&link).unwrap().verify(macs, state, now());
            [
                keys.flows.open(PLACE, &flow, now()).is_ok(),
                keys.forms.is_proof(SHOWN, &proof),
                keys.browsers
                    .find(Some(&browser), &account(), now())
                    .is_some(),
                link.is_ok(),
            ]
        };
        let both = PeopleKeys::new(mac(8), Some(mac(7)), ISSUER);
        assert_eq!(works(&both), [true; 4]);
        let after = PeopleKeys::new(mac(8), None, ISSUER);
        assert_eq!(works(&after), [false; 4]);
    }

    #[test]
    fn an_account_has_a_subject_of_its_own_or_the_pinned_one() {
        let keys = PeopleKeys::new(mac(7), None, ISSUER);
        let own = keys.account_of("user:1");
        assert_eq!(own.0.get_version_num(), 8);
        assert_ne!(own, keys.account_of("user:2"));
        assert_eq!(keys.account_for("user:1", None), own);
        assert_eq!(keys.account_for("user:1", Some("alice")), own);
        let pinned = "0d9cbb2c-6ad3-4ab3-9a4d-3f1a9e1c2b77";
        let account = keys.account_for("user:1", Some(pinned));
        assert_eq!(account.0.to_string(), pinned);
    }

    #[test]
    fn the_keys_print_nothing() {
        let keys = PeopleKeys::new(mac(7), None, ISSUER);
        assert_eq!(format!("{keys:?}"), "PeopleKeys([redacted])");
    }
}
