//! Refresh tokens: one row for each family, updated in place, and children that are derived, not random.
//!
//! A refresh token is a reference token whose 256 bits are
//!
//! ```text
//! key: 1 byte   generation: 3 bytes   body: 16 bytes   tag: 12 bytes
//! ```
//!
//! The body of the first generation is random. The body of a child is an HMAC of its parent's *whole text* under a key
//! that is not in the database. So every repetition of a refresh gives the same child, and a stolen database reveals
//! none. The tag is an HMAC of ID, generation and body under a second key: it distinguishes a genuine older generation,
//! which ends the family, from a guessed one, which ends nothing. So no old hash is kept. Only the hash in the row
//! makes a token valid; the tag alone never does.

use std::time::Duration;

use aws_lc_rs::hmac;
use jiff::Timestamp;
use zeroize::Zeroizing;

use super::grant::{Client, Grant};
use super::later;
pub use crate::tokens::KeyMaterial;
use crate::tokens::reference::{self, Kind, Minted, Prefix};
use crate::tokens::{Entropy, SecretString, TokenHash, TokenId};

/// The last generation of a family. The next refresh needs a new sign-in.
pub const LAST_GENERATION: u32 = 0x00FF_FFFF;
/// The last use of a token that does not rotate is recorded at most this often within the idle limit.
const TOUCHES: u32 = 32;
const BODY: std::ops::Range<usize> = 4..20;
const TAG: std::ops::Range<usize> = 20..32;

/// One key for children and tags.
struct Key {
    id: u8,
    child: hmac::Key,
    tag: hmac::Key,
}

/// The keys that refresh tokens are derived with: the newest, and the one before it while families still use it.
pub struct RefreshKeys {
    newest: Key,
    previous: Option<Key>,
}

/// Derives the key for one purpose.
fn derived(material: &KeyMaterial, purpose: &str) -> hmac::Key {
    let key = material.derive("symbolon.dev/refresh", purpose);
    hmac::Key::new(hmac::HMAC_SHA256, &*key)
}

impl Key {
    fn new(material: &KeyMaterial) -> Self {
        Self {
            id: material.id,
            child: derived(material, "child"),
            tag: derived(material, "tag"),
        }
    }

    fn tag(&self, id: TokenId, numbered: &[u8]) -> hmac::Tag {
        let mut input = Vec::with_capacity(16 + numbered.len());
        input.extend(id.as_str().as_bytes());
        input.extend(numbered);
        hmac::sign(&self.tag, &input)
    }

    fn token(&self, prefix: &Prefix, id: TokenId, generation: u32, body: &[u8]) -> Token {
        let mut secret = Zeroizing::new([0; 32]);
        secret[..4].copy_from_slice(&generation.to_be_bytes());
        secret[0] = self.id;
        secret[BODY].copy_from_slice(&body[..16]);
        let tag = self.tag(id, &secret[..TAG.start]);
        secret[TAG].copy_from_slice(&tag.as_ref()[..12]);
        let Minted { token, hash, .. } =
            reference::with_secret(prefix, Kind::RefreshToken, id, &secret);
        Token {
            text: token,
            id,
            hash,
            generation,
            key: self.id,
        }
    }

    fn child(&self, prefix: &Prefix, parent: &Presented) -> Token {
        let body = hmac::sign(&self.child, parent.text.expose().as_bytes());
        self.token(prefix, parent.id, parent.generation + 1, body.as_ref())
    }
}

impl RefreshKeys {
    /// Derives the keys.
    pub fn new(newest: &KeyMaterial, previous: Option<&KeyMaterial>) -> Self {
        Self {
            newest: Key::new(newest),
            previous: previous.map(Key::new),
        }
    }

    /// Issues the first token of a new family.
    pub fn first(&self, prefix: &Prefix, entropy: &mut dyn Entropy) -> Token {
        let id = TokenId::random(entropy);
        let mut body = Zeroizing::new([0; 16]);
        entropy.fill(&mut *body);
        self.newest.token(prefix, id, 0, &*body)
    }

    fn by_id(&self, id: u8) -> Option<&Key> {
        let previous = self.previous.as_ref();
        Some(&self.newest)
            .into_iter()
            .chain(previous)
            .find(|key| key.id == id)
    }

    /// Whether we issued this token, at any time.
    fn is_genuine(&self, presented: &Presented) -> bool {
        let Some(key) = self.by_id(presented.secret[0]) else {
            return false;
        };
        let tag = key.tag(presented.id, &presented.secret[..TAG.start]);
        subtle::ConstantTimeEq::ct_eq(&tag.as_ref()[..12], &presented.secret[TAG]).into()
    }
}

/// A refresh token that we issue.
#[derive(Clone, Debug)]
pub struct Token {
    /// The token, only for the client.
    pub text: SecretString,
    /// The family's ID.
    pub id: TokenId,
    /// The hash for the row.
    pub hash: TokenHash,
    /// Its generation: 0 for the first token of the family.
    pub generation: u32,
    /// The ID of the key that derived it.
    pub key: u8,
}

/// A well-formed refresh token from a request. Only the family's row decides what it means.
#[derive(Clone)]
pub struct Presented {
    text: SecretString,
    id: TokenId,
    hash: TokenHash,
    generation: u32,
    secret: Zeroizing<[u8; 32]>,
}

impl Presented {
    /// Parses an untrusted text; `None` if it is not a refresh token of this installation.
    pub fn parse(text: &str, prefix: &Prefix) -> Option<Self> {
        let parsed = reference::parse(text).ok()?;
        if parsed.kind != Kind::RefreshToken || parsed.prefix != prefix.as_str() {
            return None;
        }
        let secret = reference::secret_of(text)?;
        Some(Self {
            id: parsed.id,
            hash: parsed.hash,
            generation: u32::from_be_bytes([0, secret[1], secret[2], secret[3]]),
            text: SecretString::from(text.to_owned()),
            secret,
        })
    }

    /// Returns the ID of the family that the token claims.
    pub const fn id(&self) -> TokenId {
        self.id
    }
}

/// The row of a family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Family {
    /// Its ID, which every generation contains.
    pub id: TokenId,
    /// The grant that it belongs to.
    pub grant: TokenId,
    /// The hash of the current token.
    pub hash: TokenHash,
    /// The current generation.
    pub generation: u32,
    /// The ID of the key that derived the current token.
    pub key: u8,
    /// When the family began.
    pub created_at: Timestamp,
    /// A recent use.
    pub used_at: Timestamp,
    /// When the current token replaced its parent.
    pub rotated_at: Timestamp,
    /// When the family was ended.
    pub ended_at: Option<Timestamp>,
}

/// Whether a use replaces the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Each use does: for public clients without sender-constrained tokens.
    Rotate,
    /// No use does: for confidential clients and sender-constrained tokens (FAPI 2.0).
    Stable,
}

/// How long a family lasts and what a use does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Whether a use replaces the token.
    pub rotation: Rotation,
    /// How long the direct parent of the current token still gives the same child.
    pub grace: Duration,
    /// How long the family lasts without use.
    pub idle: Duration,
    /// How long the family lasts in total.
    pub max_age: Duration,
}

/// What a presented token means for a family. Everything from [`RefreshVerdict::Reuse`] on is `invalid_grant` to the client.
#[derive(Clone, Debug)]
pub enum RefreshVerdict {
    /// It is current and is replaced by this child.
    Rotate(Token),
    /// It is current and stays.
    Keep {
        /// Whether this use must be recorded.
        touch: bool,
    },
    /// It is the direct parent, within the grace: the client lost the reply. This is the current token again.
    Repeat(Token),
    /// It is genuine and was replaced too long ago: someone has a copy. The family and its grant end.
    Reuse,
    /// It is genuine and newer than the row: an older state of the database was restored. Nothing ends.
    Ahead,
    /// It is genuine and was replaced by a token of a key that this server has not got yet, so that it cannot tell a
    /// repetition from a reuse. Nothing ends.
    UnknownKey,
    /// The family has ended.
    Ended,
    /// The family was not used for too long, has reached its absolute end, or has reached [`LAST_GENERATION`].
    Expired,
    /// The secret part is wrong: the caller knows only the public ID. Nothing ends.
    Guessed,
    /// It is genuine, but was given to another client, or to one of the same ID that was deleted since. Nothing ends:
    /// a client cannot end the grants of another one.
    Foreign,
}

/// What judging a presented token needs besides its row.
#[derive(Clone, Copy)]
pub struct Rules<'a> {
    /// The keys of refresh tokens.
    pub keys: &'a RefreshKeys,
    /// The installation's prefix.
    pub prefix: &'a Prefix,
    /// The client's lifetimes.
    pub policy: &'a Policy,
    /// The authenticated client.
    pub client: Client<'a>,
}

/// Judges a presented token by the row of its family and the grant that the family belongs to.
pub fn judge(
    family: &Family,
    grant: &Grant,
    presented: &Presented,
    rules: Rules<'_>,
    now: Timestamp,
) -> RefreshVerdict {
    let Rules {
        keys,
        prefix,
        policy,
        client,
    } = rules;
    let is_current = presented.hash == family.hash;
    if presented.id != family.id || !is_current && !keys.is_genuine(presented) {
        return RefreshVerdict::Guessed;
    }
    if family.grant != grant.id || !grant.is_of(client) {
        return RefreshVerdict::Foreign;
    }
    if family.ended_at.is_some() {
        return RefreshVerdict::Ended;
    }
    if now >= later(family.created_at, policy.max_age) || now >= later(family.used_at, policy.idle)
    {
        return RefreshVerdict::Expired;
    }
    if is_current {
        return match policy.rotation {
            Rotation::Stable => RefreshVerdict::Keep {
                touch: now >= later(family.used_at, policy.idle / TOUCHES),
            },
            Rotation::Rotate if family.generation >= LAST_GENERATION => RefreshVerdict::Expired,
            Rotation::Rotate => RefreshVerdict::Rotate(keys.newest.child(prefix, presented)),
        };
    }
    if presented.generation > family.generation {
        return RefreshVerdict::Ahead;
    }
    // The row names the key: replicas may not agree yet on which is newest.
    let Some(key) = keys.by_id(family.key) else {
        return RefreshVerdict::UnknownKey;
    };
    if presented.generation.checked_add(1) != Some(family.generation) {
        return RefreshVerdict::Reuse;
    }
    let child = Some(key.child(prefix, presented)).filter(|child| child.hash == family.hash);
    match child {
        Some(child) if now < later(family.rotated_at, policy.grace) => {
            RefreshVerdict::Repeat(child)
        }
        _ => RefreshVerdict::Reuse,
    }
}

/// Returns the row of a new family.
pub fn begin(token: &Token, grant: TokenId, now: Timestamp) -> Family {
    Family {
        id: token.id,
        grant,
        hash: token.hash,
        generation: token.generation,
        key: token.key,
        created_at: now,
        used_at: now,
        rotated_at: now,
        ended_at: None,
    }
}

/// Returns the row after its token was replaced by `child`.
pub fn rotated(family: &Family, child: &Token, now: Timestamp) -> Family {
    Family {
        hash: child.hash,
        generation: child.generation,
        key: child.key,
        used_at: now.max(family.used_at),
        rotated_at: now,
        ..family.clone()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::{SHOP, at, grant};
    use super::*;
    use crate::tokens::SeededEntropy;

    const POLICY: Policy = Policy {
        rotation: Rotation::Rotate,
        grace: Duration::from_secs(60),
        idle: Duration::from_secs(3200),
        max_age: Duration::from_secs(10_000),
    };

    fn keys() -> RefreshKeys {
        RefreshKeys::new(&KeyMaterial::sample(1), None)
    }

    fn parse(token: &Token) -> Presented {
        Presented::parse(token.text.expose(), &Prefix::default()).unwrap()
    }

    fn seen_with(
        keys: &RefreshKeys,
        family: &Family,
        token: &Presented,
        now: i64,
    ) -> RefreshVerdict {
        let rules = Rules {
            keys,
            prefix: &Prefix::default(),
            policy: &POLICY,
            client: SHOP,
        };
        judge(family, &grant(), token, rules, at(now))
    }

    fn seen(family: &Family, token: &Presented, policy: &Policy, now: i64) -> RefreshVerdict {
        let rules = Rules {
            keys: &keys(),
            prefix: &Prefix::default(),
            policy,
            client: SHOP,
        };
        judge(family, &grant(), token, rules, at(now))
    }

    fn new_family() -> (Family, Token) {
        let first = keys().first(&Prefix::default(), &mut SeededEntropy::new(1));
        (begin(&first, grant().id, at(0)), first)
    }

    /// Uses the current token and returns the family and the token after it.
    fn next(family: &Family, current: &Token, now: i64) -> (Family, Token) {
        match seen(family, &parse(current), &POLICY, now) {
            RefreshVerdict::Rotate(child) => (rotated(family, &child, at(now)), child),
            other => panic!("{other:?}"),
        }
    }

    /// Random bytes under a valid checksum: what an attacker can make who knows the family's ID.
    fn guess(id: TokenId, seed: u64, key: u8, generation: u32) -> Presented {
        let mut secret = [0; 32];
        SeededEntropy::new(seed).fill(&mut secret);
        secret[..4].copy_from_slice(&generation.to_be_bytes());
        secret[0] = key;
        let made = reference::with_secret(&Prefix::default(), Kind::RefreshToken, id, &secret);
        Presented::parse(made.token.expose(), &Prefix::default()).unwrap()
    }

    #[test]
    fn every_repetition_within_the_grace_gives_the_same_child() {
        let (family, first) = new_family();
        let (family, child) = next(&family, &first, 10);
        for now in [10, 11, 69] {
            match seen(&family, &parse(&first), &POLICY, now) {
                RefreshVerdict::Repeat(again) => assert_eq!(again.text, child.text),
                other => panic!("{other:?}"),
            }
        }
        let late = seen(&family, &parse(&first), &POLICY, 70);
        assert!(matches!(late, RefreshVerdict::Reuse), "{late:?}");
    }

    #[test]
    fn the_grace_covers_the_direct_parent_only() {
        let (family, first) = new_family();
        let (family, child) = next(&family, &first, 10);
        let (family, _) = next(&family, &child, 11);
        let verdict = seen(&family, &parse(&first), &POLICY, 11);
        assert!(matches!(verdict, RefreshVerdict::Reuse), "{verdict:?}");
        let verdict = seen(&family, &parse(&child), &POLICY, 11);
        assert!(matches!(verdict, RefreshVerdict::Repeat(_)), "{verdict:?}");
    }

    /// The current token, its parent within and after the grace, and the first generation.
    #[test]
    fn another_client_and_a_recreated_one_get_nothing_and_end_nothing() {
        let (family, first) = new_family();
        let (family, second) = next(&family, &first, 10);
        let (family, third) = next(&family, &second, 11);
        let others = [("other", "1"), ("shop", "2")].map(|(id, uid)| (Client { id, uid }, grant()));
        let of_another_grant = Grant {
            id: "HHHHHHHHHHHHHHHH".parse().unwrap(),
            ..grant()
        };
        for (client, grant) in others.into_iter().chain([(SHOP, of_another_grant)]) {
            for (token, now) in [(&third, 12), (&second, 12), (&second, 500), (&first, 12)] {
                let rules = Rules {
                    keys: &keys(),
                    prefix: &Prefix::default(),
                    policy: &POLICY,
                    client,
                };
                let verdict = judge(&family, &grant, &parse(token), rules, at(now));
                assert!(matches!(verdict, RefreshVerdict::Foreign), "{verdict:?}");
            }
        }
    }

    #[test]
    fn a_token_newer_than_its_row_shows_that_the_database_went_back() {
        let (family, first) = new_family();
        let (_, child) = next(&family, &first, 10);
        let verdict = seen(&family, &parse(&child), &POLICY, 11);
        assert!(matches!(verdict, RefreshVerdict::Ahead), "{verdict:?}");
    }

    #[test]
    fn a_stable_token_stays_and_records_few_uses() {
        let (family, first) = new_family();
        let stable = Policy {
            rotation: Rotation::Stable,
            ..POLICY
        };
        for (now, recorded) in [(1, false), (99, false), (100, true), (3199, true)] {
            match seen(&family, &parse(&first), &stable, now) {
                RefreshVerdict::Keep { touch } => assert_eq!(touch, recorded, "{now}"),
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn a_family_ends_without_use_and_in_all() {
        let (mut family, first) = new_family();
        let verdict = seen(&family, &parse(&first), &POLICY, 3200);
        assert!(matches!(verdict, RefreshVerdict::Expired), "{verdict:?}");
        family.used_at = at(9999);
        let verdict = seen(&family, &parse(&first), &POLICY, 10_000);
        assert!(matches!(verdict, RefreshVerdict::Expired), "{verdict:?}");
        family.ended_at = Some(at(1));
        let verdict = seen(&family, &parse(&first), &POLICY, 2);
        assert!(matches!(verdict, RefreshVerdict::Ended), "{verdict:?}");
    }

    #[test]
    fn a_server_that_lacks_the_key_of_the_row_refuses_an_older_token_and_ends_nothing() {
        let (family, first) = new_family();
        let newer = RefreshKeys::new(&KeyMaterial::sample(2), Some(&KeyMaterial::sample(1)));
        let child = match seen_with(&newer, &family, &parse(&first), 10) {
            RefreshVerdict::Rotate(child) => child,
            other => panic!("{other:?}"),
        };
        let family = rotated(&family, &child, at(10));
        for now in [10, 500] {
            let verdict = seen_with(&keys(), &family, &parse(&first), now);
            assert!(matches!(verdict, RefreshVerdict::UnknownKey), "{verdict:?}");
        }
        let verdict = seen_with(&newer, &family, &parse(&first), 10);
        assert!(matches!(verdict, RefreshVerdict::Repeat(_)), "{verdict:?}");
        let verdict = seen_with(&newer, &family, &parse(&first), 500);
        assert!(matches!(verdict, RefreshVerdict::Reuse), "{verdict:?}");
    }

    #[test]
    fn a_family_survives_the_rotation_of_its_key() {
        let (family, first) = new_family();
        let both = RefreshKeys::new(&KeyMaterial::sample(2), Some(&KeyMaterial::sample(1)));
        let RefreshVerdict::Rotate(child) = seen_with(&both, &family, &parse(&first), 10) else {
            panic!("the current token is good under any keys");
        };
        assert_eq!(child.key, 2);
        // A replica that has the new key, but does not use it yet, repeats the same child.
        let behind = RefreshKeys::new(&KeyMaterial::sample(1), Some(&KeyMaterial::sample(2)));
        let family = rotated(&family, &child, at(10));
        match seen_with(&behind, &family, &parse(&first), 11) {
            RefreshVerdict::Repeat(again) => assert_eq!(again.text, child.text),
            other => panic!("{other:?}"),
        }
        // Without the old key, its older tokens cannot be recognised. The current one is valid by its hash.
        let only = RefreshKeys::new(&KeyMaterial::sample(3), None);
        let verdict = seen_with(&only, &family, &parse(&first), 11);
        assert!(matches!(verdict, RefreshVerdict::Guessed), "{verdict:?}");
        let verdict = seen_with(&only, &family, &parse(&child), 11);
        assert!(matches!(verdict, RefreshVerdict::Rotate(_)), "{verdict:?}");
    }

    #[test]
    fn the_database_alone_gives_no_child() {
        // The row holds the hash; the child depends on the parent's text.
        let (family, first) = new_family();
        let (after, child) = next(&family, &first, 10);
        let forged = guess(family.id, 5, 1, 0);
        assert_ne!(
            keys().newest.child(&Prefix::default(), &forged).hash,
            child.hash
        );
        let other_key = RefreshKeys::new(&KeyMaterial::sample(9), None);
        let derived = other_key.newest.child(&Prefix::default(), &parse(&first));
        assert_ne!(derived.hash, after.hash);
    }

    #[test]
    fn other_kinds_and_prefixes_are_not_refresh_tokens() {
        let prefix = Prefix::default();
        let code = reference::mint(&prefix, Kind::AuthorizationCode, &mut SeededEntropy::new(1));
        assert!(Presented::parse(code.token.expose(), &prefix).is_none());
        let (_, first) = new_family();
        assert!(Presented::parse(first.text.expose(), &"other".parse().unwrap()).is_none());
        assert!(Presented::parse("", &prefix).is_none());
    }

    /// One step of the model test.
    #[derive(Clone, Debug)]
    enum Step {
        /// Presents the token of this generation, counted back from the newest.
        Present(usize),
        Guess(u64, u8, u32),
        Wait(i64),
        Revoke,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            6 => (0..4_usize).prop_map(Step::Present),
            2 => (any::<u64>(), 0..3_u8, 0..6_u32).prop_map(|(seed, key, generation)| Step::Guess(seed, key, generation)),
            3 => prop_oneof![0..40_i64, 50..70_i64, 3190..3210_i64].prop_map(Step::Wait),
            1 => Just(Step::Revoke),
        ];
        proptest::collection::vec(step, 1..40)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// The model keeps every token that was ever issued and when, which the row does not.
        #[test]
        fn a_row_decides_like_a_list_of_all_tokens(steps in steps()) {
            let (mut family, first) = new_family();
            let mut issued = vec![first];
            let (mut now, mut used, mut replaced, mut is_alive) = (0, 0, 0, true);
            for step in steps {
                let back = match step {
                    Step::Wait(seconds) => { now += seconds; continue }
                    Step::Revoke => { family.ended_at = Some(at(now)); is_alive = false; continue }
                    Step::Guess(seed, key, generation) => {
                        let verdict = seen(&family, &guess(family.id, seed, key, generation), &POLICY, now);
                        prop_assert!(matches!(verdict, RefreshVerdict::Guessed), "{verdict:?}");
                        continue;
                    }
                    Step::Present(back) => back.min(issued.len() - 1),
                };
                let newest = issued.len() - 1;
                let verdict = seen(&family, &parse(&issued[newest - back]), &POLICY, now);
                let is_expired = now >= 10_000 || now >= used + 3200;
                match (is_alive, is_expired, back) {
                    (false, ..) => prop_assert!(matches!(verdict, RefreshVerdict::Ended), "{verdict:?}"),
                    (_, true, _) => prop_assert!(matches!(verdict, RefreshVerdict::Expired), "{verdict:?}"),
                    (.., 0) => {
                        let RefreshVerdict::Rotate(child) = verdict else {
                            return Err(TestCaseError::fail(format!("{verdict:?}")));
                        };
                        family = rotated(&family, &child, at(now));
                        issued.push(child);
                        (used, replaced) = (now, now);
                    }
                    (.., 1) if now < replaced + 60 => {
                        let RefreshVerdict::Repeat(again) = verdict else {
                            return Err(TestCaseError::fail(format!("{verdict:?}")));
                        };
                        prop_assert_eq!(&again.text, &issued[newest].text);
                    }
                    _ => {
                        prop_assert!(matches!(verdict, RefreshVerdict::Reuse), "{verdict:?}");
                        family.ended_at = Some(at(now));
                        is_alive = false;
                    }
                }
            }
        }
    }
}
