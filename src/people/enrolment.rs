//! Enrolment links: how a person sets the first password, and how a person who is locked out comes back.
//!
//! ```text
//! enr1.<uid of the User>.<issued, seconds>.<expires, seconds>.<base64url of the HMAC>
//! ```
//!
//! The operator issues a link, and the server takes it once. The HMAC also covers the value of the annotation that asked
//! for the link, so a link works only while the User has this annotation. A page that shows the link changes nothing:
//! mail scanners open links too. Not here: the annotation and the record that a link was used.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;

use super::later;
use crate::tokens::{MacKey, SecretString, fields};

/// The longest time for which a link works.
pub const MAX_LIFETIME: Duration = Duration::from_hours(72);
/// The longest link, without the address of the page, in bytes.
pub const MAX_LENGTH: usize = 160;

const VERSION: &str = "enr1";
/// Separates these keys from any other use of the same key.
const PURPOSE: &str = "symbolon.dev/enrolment";
/// Separates these hashes from any other.
const WITHDRAWAL: &str = "symbolon.dev/enrolment-withdrawn";
/// The longest uid of a User, in bytes.
const MAX_UID: usize = 64;
/// Times have at most this many digits, so that they fit into a [`Timestamp`].
const MAX_DIGITS: usize = 11;

/// The person that a link is for.
#[derive(Clone, Copy, Debug)]
pub struct Enrolled<'a> {
    /// The namespace of the Identity.
    pub namespace: &'a str,
    /// The name of the Identity.
    pub identity: &'a str,
    /// The uid of the User, so that a recreated User gets a link of its own.
    pub uid: &'a str,
    /// The value of the User's annotation.
    pub nonce: &'a str,
}

/// What holds now for the User that a link names.
#[derive(Clone, Copy, Debug)]
pub struct EnrolmentState<'a> {
    /// The namespace of the Identity.
    pub namespace: &'a str,
    /// The name of the Identity.
    pub identity: &'a str,
    /// The value of the User's annotation, if it has one and the operator has recorded a link for it.
    pub nonce: Option<&'a str>,
    /// When the only link that works was issued; `None` if nothing says so.
    pub issued_at: Option<Timestamp>,
    /// When the account, or everything that the person was issued, was last revoked, if ever.
    pub valid_after: Option<Timestamp>,
}

/// A link that a browser presented. Nothing in it is verified.
#[derive(Clone, Copy, Debug)]
pub struct Unverified<'a> {
    text: &'a str,
    /// What the HMAC covers of the text.
    signed: &'a str,
    uid: &'a str,
    issued_at: Timestamp,
    expires_at: Timestamp,
    tag: [u8; 32],
}

/// A genuine link that works now, unless it was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verified {
    /// [`Unverified::hash`].
    pub hash: [u8; 32],
    /// When it was issued.
    pub issued_at: Timestamp,
    /// When it expires.
    pub expires_at: Timestamp,
}

/// Why a link does not work. The page says the same for all of them, and names no person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum Refused {
    /// It was changed, or was issued for another User, Identity or value of the annotation, or under another key.
    #[error("the link is not genuine, or its annotation has changed")]
    Foreign,
    /// The User has no enrolment annotation, or its value was withdrawn.
    #[error("the annotation was removed")]
    Withdrawn,
    /// Its time is over.
    #[error("the link has expired")]
    Expired,
    /// It was issued before the last revocation, or the operator has recorded another link.
    #[error("the person was revoked, or got another link, after the link was issued")]
    Superseded,
}

/// The error for a uid or a time that a link cannot carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no link can be issued for this uid and time")]
pub struct CannotIssue;

/// Returns the hash by which the store knows that a value of a User's annotation was withdrawn.
pub fn withdrawal(uid: &str, nonce: &str) -> [u8; 32] {
    sha256(&fields::encode([WITHDRAWAL, uid, nonce]))
}

/// Returns the time until which a withdrawal at `now` must be remembered: no link that exists now works longer. The clocks
/// of the operator and of this server may differ by an hour.
pub fn withdrawn_until(now: Timestamp) -> Timestamp {
    later(now, MAX_LIFETIME + Duration::from_hours(1))
}

/// Issues a link that works for `lifetime`, or for [`MAX_LIFETIME`] if that is shorter.
///
/// # Errors
/// [`CannotIssue`].
pub fn issue(
    key: &MacKey,
    person: Enrolled<'_>,
    lifetime: Duration,
    now: Timestamp,
) -> Result<SecretString, CannotIssue> {
    let expires_at = later(now, lifetime.min(MAX_LIFETIME));
    let (issued, expires) = (now.as_second(), expires_at.as_second());
    let signed = format!("{VERSION}.{}.{issued}.{expires}", person.uid);
    let tag = URL_SAFE_NO_PAD.encode(hmac::sign(&key.derive(PURPOSE), &covered(person, &signed)));
    let text = format!("{signed}.{tag}");
    // A link that the server could not read must not be handed out.
    match Unverified::parse(&text) {
        Some(_) => Ok(SecretString::from(text)),
        None => Err(CannotIssue),
    }
}

impl<'a> Unverified<'a> {
    /// Parses a link without the address of the page; `None` if it has another form.
    pub fn parse(text: &'a str) -> Option<Self> {
        if text.len() > MAX_LENGTH {
            return None;
        }
        let (signed, tag) = text.rsplit_once('.')?;
        let mut parts = signed.split('.');
        let mut part = || parts.next();
        let (version, uid, issued, expires) = (part()?, part()?, part()?, part()?);
        let is_uid = (1..=MAX_UID).contains(&uid.len())
            && uid
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if part().is_some() || version != VERSION || !is_uid {
            return None;
        }
        Some(Self {
            text,
            signed,
            uid,
            issued_at: time(issued)?,
            expires_at: time(expires)?,
            tag: URL_SAFE_NO_PAD.decode(tag).ok()?.try_into().ok()?,
        })
    }

    /// Returns the uid of the User that the link names, for the look-up of the annotation.
    pub const fn uid(&self) -> &'a str {
        self.uid
    }

    /// Returns the hash by which the store knows that the link was used.
    pub fn hash(&self) -> [u8; 32] {
        sha256(self.text.as_bytes())
    }

    /// Verifies the link with the Identity's live keys.
    ///
    /// # Errors
    /// Why it does not work.
    pub fn verify<'k>(
        &self,
        keys: impl IntoIterator<Item = &'k MacKey>,
        standing: EnrolmentState<'_>,
        now: Timestamp,
    ) -> Result<Verified, Refused> {
        let nonce = standing.nonce.filter(|nonce| !nonce.is_empty());
        let person = Enrolled {
            namespace: standing.namespace,
            identity: standing.identity,
            uid: self.uid,
            nonce: nonce.ok_or(Refused::Withdrawn)?,
        };
        let covered = covered(person, self.signed);
        let is_genuine = |key: &MacKey| hmac::verify(&key.derive(PURPOSE), &covered, &self.tag);
        if !keys.into_iter().any(|key| is_genuine(key).is_ok()) {
            return Err(Refused::Foreign);
        }
        // A shorter limit of a later version also ends links that were issued before.
        let end = self.expires_at.min(later(self.issued_at, MAX_LIFETIME));
        if now >= end {
            return Err(Refused::Expired);
        }
        let is_other = standing.issued_at.is_some_and(|at| self.issued_at != at);
        let is_revoked = |after| self.issued_at < after;
        if is_other || standing.valid_after.is_some_and(is_revoked) {
            return Err(Refused::Superseded);
        }
        Ok(Verified {
            hash: self.hash(),
            issued_at: self.issued_at,
            expires_at: end,
        })
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest(&SHA256, bytes).as_ref());
    hash
}

/// Reads a time in its only spelling.
fn time(text: &str) -> Option<Timestamp> {
    let is_number = text.len() <= MAX_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || (text.starts_with('0') && text != "0") {
        return None;
    }
    Timestamp::from_second(text.parse().ok()?).ok()
}

/// The bytes that the HMAC covers.
fn covered(person: Enrolled<'_>, signed: &str) -> Vec<u8> {
    let Enrolled {
        namespace,
        identity,
        uid: _, // In `signed`.
        nonce,
    } = person;
    fields::encode([namespace, identity, nonce, signed])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    const UID: &str = "0d9cbb2c-6ad3-4ab3-9a4d-3f1a9e1c2b77";
    const ALICE: Enrolled<'_> = Enrolled {
        namespace: "platform",
        identity: "main",
        uid: UID,
        nonce: "first",
    };
    const STANDING: EnrolmentState<'_> = EnrolmentState {
        namespace: "platform",
        identity: "main",
        nonce: Some("first"),
        issued_at: None,
        valid_after: None,
    };
    const DAY: Duration = Duration::from_hours(24);

    fn key(byte: u8) -> MacKey {
        MacKey::from_bytes(&[byte; 32]).unwrap()
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn link() -> SecretString {
        issue(&key(1), ALICE, DAY, at(0)).unwrap()
    }

    fn verified(text: &str, nonce: Option<&str>, now: i64) -> Result<Verified, Refused> {
        let keys = [key(1)];
        let link = Unverified::parse(text).ok_or(Refused::Foreign)?;
        let standing = EnrolmentState { nonce, ..STANDING };
        link.verify(&keys, standing, at(now))
    }

    #[test]
    fn a_link_works_while_its_annotation_stands_and_until_it_expires() {
        let link = link();
        let text = link.expose();
        assert_eq!(Unverified::parse(text).unwrap().uid(), UID);
        let works = verified(text, Some("first"), 86_399).unwrap();
        assert_eq!((works.issued_at, works.expires_at), (at(0), at(86_400)));
        assert_eq!(verified(text, Some("first"), 86_400), Err(Refused::Expired));
        assert_eq!(verified(text, Some("second"), 1), Err(Refused::Foreign));
        assert_eq!(verified(text, None, 1), Err(Refused::Withdrawn));
        assert_eq!(verified(text, Some(""), 1), Err(Refused::Withdrawn));
    }

    #[test]
    fn no_link_works_for_more_than_three_days() {
        let link = issue(&key(1), ALICE, Duration::MAX, at(0)).unwrap();
        assert!(verified(link.expose(), Some("first"), 72 * 3600 - 1).is_ok());
        assert_eq!(
            verified(link.expose(), Some("first"), 72 * 3600),
            Err(Refused::Expired)
        );
        // Even if it was issued by a version that allowed more.
        let signed = format!(
            "enr1.{UID}.{}.{}",
            at(0).as_second(),
            at(99_999_999).as_second()
        );
        let tag = hmac::sign(&key(1).derive(PURPOSE), &covered(ALICE, &signed));
        let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag));
        let works = verified(&text, Some("first"), 1).unwrap();
        assert_eq!(works.expires_at, at(72 * 3600));
        assert_eq!(
            verified(&text, Some("first"), 72 * 3600),
            Err(Refused::Expired)
        );
    }

    #[test]
    fn a_link_from_before_a_revocation_does_not_work() {
        let link = link();
        let link = Unverified::parse(link.expose()).unwrap();
        let seen = |valid_after| {
            let standing = EnrolmentState {
                valid_after,
                ..STANDING
            };
            link.verify(&[key(1)], standing, at(60))
        };
        assert!(seen(None).is_ok());
        assert!(seen(Some(at(0))).is_ok());
        assert_eq!(seen(Some(at(1))), Err(Refused::Superseded));
    }

    /// After a restore without statuses, the operator makes another link for the same value.
    #[test]
    fn only_the_link_that_is_recorded_works() {
        let link = link();
        let link = Unverified::parse(link.expose()).unwrap();
        let seen = |issued_at| {
            let standing = EnrolmentState {
                issued_at,
                ..STANDING
            };
            link.verify(&[key(1)], standing, at(60)).map(|_| ())
        };
        assert_eq!(seen(Some(at(0))), Ok(()));
        assert_eq!(seen(Some(at(1))), Err(Refused::Superseded));
        assert_eq!(seen(Some(at(-1))), Err(Refused::Superseded));
    }

    #[test]
    fn a_withdrawal_is_of_one_value_of_one_user_and_outlasts_every_link() {
        let all = [("a", "bc"), ("ab", "c"), ("a", "b"), ("", "abc")];
        let hashes: std::collections::BTreeSet<_> = all
            .iter()
            .map(|(uid, nonce)| withdrawal(uid, nonce))
            .collect();
        assert_eq!(hashes.len(), all.len());
        let link = issue(&key(1), ALICE, Duration::MAX, at(0)).unwrap();
        let works = verified(link.expose(), Some("first"), 0).unwrap();
        assert!(withdrawn_until(at(0)) > works.expires_at);
    }

    #[test]
    fn a_link_belongs_to_one_user_of_one_identity() {
        let link = link();
        let parsed = Unverified::parse(link.expose()).unwrap();
        let seen = |keys: &[MacKey], namespace, identity| {
            let standing = EnrolmentState {
                namespace,
                identity,
                ..STANDING
            };
            parsed.verify(keys, standing, at(1)).map(|_| ())
        };
        assert_eq!(seen(&[key(1)], "platform", "main"), Ok(()));
        assert_eq!(
            seen(&[key(2), key(1)], "platform", "main"),
            Ok(()),
            "a rotation"
        );
        let foreign = Err(Refused::Foreign);
        assert_eq!(seen(&[key(2)], "platform", "main"), foreign);
        assert_eq!(seen(&[], "platform", "main"), foreign);
        assert_eq!(seen(&[key(1)], "team", "main"), foreign);
        assert_eq!(seen(&[key(1)], "platform", "other"), foreign);
        assert_eq!(seen(&[key(1)], "platformm", "ain"), foreign);
        let other = link.expose().replace("0d9cbb2c", "1d9cbb2c");
        assert_eq!(verified(&other, Some("first"), 1), Err(Refused::Foreign));
    }

    #[test]
    fn every_changed_character_and_every_cut_is_refused() {
        let link = link();
        let text = link.expose();
        for at in 0..text.len() {
            for other in *b"0A.-_=" {
                let mut changed = text.as_bytes().to_vec();
                if changed[at] == other {
                    continue;
                }
                changed[at] = other;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(
                    verified(&changed, Some("first"), 1),
                    Err(Refused::Foreign),
                    "{changed}"
                );
            }
            assert_eq!(
                verified(&text[..at], Some("first"), 1),
                Err(Refused::Foreign)
            );
            assert_eq!(
                verified(&text[at + 1..], Some("first"), 1),
                Err(Refused::Foreign)
            );
        }
        assert_eq!(
            verified(&format!("{text}A"), Some("first"), 1),
            Err(Refused::Foreign)
        );
    }

    #[rstest]
    #[case::empty("")]
    #[case::dot("a.b")]
    #[case::space("a b")]
    #[case::too_long(&"a".repeat(MAX_UID + 1))]
    fn a_uid_that_a_link_cannot_carry_gets_none(#[case] uid: &str) {
        let person = Enrolled { uid, ..ALICE };
        assert_eq!(issue(&key(1), person, DAY, at(0)).unwrap_err(), CannotIssue);
        let before = Timestamp::from_second(-5).unwrap();
        assert!(issue(&key(1), ALICE, DAY, before).is_err());
    }

    #[test]
    fn the_longest_link_fits_and_two_links_differ() {
        let uid = "a".repeat(MAX_UID);
        let person = Enrolled { uid: &uid, ..ALICE };
        let longest = issue(
            &key(1),
            person,
            DAY,
            Timestamp::from_second(99_999_000_000).unwrap(),
        );
        assert!(longest.unwrap().expose().len() <= MAX_LENGTH);
        let (first, second) = (link(), issue(&key(1), ALICE, DAY, at(1)).unwrap());
        let hash = |link: &SecretString| verified(link.expose(), Some("first"), 1).unwrap().hash;
        assert_ne!(hash(&first), hash(&second));
    }

    proptest! {
        #[test]
        fn any_link_reads_back(
            uid in "[A-Za-z0-9-]{1,64}", nonce in ".{1,40}", namespace in ".{0,20}", identity in ".{0,20}",
            second in 0..99_000_000_000_i64, lifetime in 1..72 * 3600_u64,
        ) {
            let now = Timestamp::from_second(second).unwrap();
            let person = Enrolled { namespace: &namespace, identity: &identity, uid: &uid, nonce: &nonce };
            let link = issue(&key(1), person, Duration::from_secs(lifetime), now).unwrap();
            let parsed = Unverified::parse(link.expose()).unwrap();
            prop_assert_eq!(parsed.uid(), &uid);
            let standing = EnrolmentState { namespace: &namespace, identity: &identity, nonce: Some(&nonce), issued_at: None, valid_after: None };
            let seen = parsed.verify(&[key(1)], standing, now);
            prop_assert!(seen.is_ok(), "{:?}", seen);
        }

        #[test]
        fn any_other_text_is_refused(text in ".{0,200}", tail in r"[a-z0-9.-]{0,120}") {
            prop_assert_eq!(verified(&text, Some("first"), 1), Err(Refused::Foreign));
            let text = format!("enr1.{tail}");
            prop_assert_eq!(verified(&text, Some("first"), 1), Err(Refused::Foreign));
        }
    }
}
