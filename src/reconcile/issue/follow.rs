//! A client secret that somebody else brings: it is followed, never written.
//!
//! The Secret's label says that its owner lets this client use it; without that nothing of it is read. A new
//! value is recorded, and the one before goes on being accepted for a while, since pods still run with it. There
//! is no Secret to write, so that one compare-and-swap of the Credential is all: a lost reply, a crash or a
//! second operator leave the value recorded, or to be recorded by the next pass.
//!
//! | the Secret | what is recorded of it |
//! |---|---|
//! | has another value | is accepted for an hour more |
//! | is gone, has lost the key, or holds what is too weak | is accepted for a day more: a backend may be away |
//! | has lost the label | is refused at once: somebody took the permission back |

use jiff::{SignedDuration, Timestamp};

use super::plan::{Case, Emptying, LOOK_AGAIN, Retirement, Step};
use super::requests::encode_requests;
use super::view::Settled;
use super::{entries, memory};
use crate::directory::{Problem, Reason};
use crate::resources::{Cause, Credential, CredentialEntry, LABEL_CLIENT, Moment};
use crate::tokens::{Entropy, Minted, SecretString, TokenHash, TokenId, brought};

/// How long a value is accepted whose Secret is gone.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// A secret that was brought, about to be recorded.
#[derive(Debug)]
pub struct Import {
    /// To be created or replaced.
    pub credential: Credential,
    /// Whether there is none yet.
    pub is_first: bool,
    /// The entry's number.
    pub epoch: i64,
    /// The entry's public id, which says nothing of the secret.
    pub token_id: TokenId,
    /// How many its namespace may be given in an hour.
    pub mints_per_hour: i64,
}

/// Why there is no secret to follow.
enum Absence {
    /// It may come back.
    Gone(Problem),
    /// Its owner does not let this client use it.
    Withdrawn(Problem),
}

impl Case<'_> {
    /// The step for a secret that is brought under `key`.
    pub(super) fn follow(&self, key: &str, entropy: &mut dyn Entropy) -> Step {
        match self.brought(key) {
            Ok(secret) => self.follow_value(secret, entropy),
            Err(Absence::Gone(problem)) => self.lapse(problem),
            // What was recorded of it is taken back before.
            Err(Absence::Withdrawn(problem)) => Step::Settle(self.refused_without_facts(problem)),
        }
    }

    /// What was brought goes as soon as its owner does not let this client use it, whatever keeps another from
    /// being recorded.
    pub(super) fn take_back(&self, key: &str) -> Option<Step> {
        let is_brought = |entry: &CredentialEntry| entry.cause == Cause::Imported;
        if !self.recorded().iter().any(is_brought)
            || !matches!(self.brought(key), Err(Absence::Withdrawn(_)))
        {
            return None;
        }
        let mut tokens = self.live.clone();
        tokens.retain(|entry| !is_brought(entry));
        let credential = Box::new(self.with_tokens(tokens));
        Some(Step::EmptyTokens(credential, Emptying::Revoked))
    }

    fn brought(&self, key: &str) -> Result<SecretString, Absence> {
        let (name, client) = (&self.desired.secret_name, &self.desired.owner.name);
        let missing = |what: String| Problem::error(Reason::SecretNotFound, PATH, what);
        let secret = self.view.secret.as_ref();
        let Some(secret) = secret.filter(|secret| !secret.is_deleting()) else {
            return Err(Absence::Gone(missing(format!(
                "there is no Secret {name}: whoever brings it gives it the label {LABEL_CLIENT}: {client} and puts the client secret under the key {key}"
            ))));
        };
        if secret.label(LABEL_CLIENT) != Some(client) {
            return Err(Absence::Withdrawn(missing(format!(
                "the Secret {name} has no label {LABEL_CLIENT}: {client}, by which whoever owns it lets this OAuthClient use it"
            ))));
        }
        if secret.is_managed() {
            let message = format!(
                "the Secret {name} is written by the operator for another object: take out existingRef to have one of its own, or name a Secret that somebody else writes"
            );
            return Err(Absence::Withdrawn(Problem::error(
                Reason::SecretConflict,
                PATH,
                message,
            )));
        }
        let text = secret.text(key).ok_or_else(|| {
            Absence::Gone(missing(format!(
                "the Secret {name} has no text under the key {key}"
            )))
        })?;
        match brought::read(text.expose()) {
            Ok(value) => Ok(SecretString::from(value.to_owned())),
            Err(why) => Err(Absence::Gone(Problem::error(
                Reason::WeakSecret,
                PATH,
                format!("what the Secret {name} holds under the key {key} {why}"),
            ))),
        }
    }

    fn follow_value(&self, secret: SecretString, entropy: &mut dyn Entropy) -> Step {
        let hash = TokenHash::of(secret.expose());
        let is_it = |entry: &&CredentialEntry| {
            entry.cause == Cause::Imported
                && entry.not_after.is_none()
                && entries::has_hash(entry, &hash)
        };
        if let Some(newest) = self.live.last().filter(is_it) {
            let older = &self.live[..self.live.len() - 1];
            return if older.iter().any(|entry| entry.not_after.is_none()) {
                self.retire()
            } else {
                self.finish(newest)
            };
        }
        if let Some(problem) = self.refuse_revoked(&hash) {
            return self.lapse(problem);
        }
        match self.refuse_mint(None) {
            Some(refusal) => Step::Settle(refusal),
            None => self.import(secret, hash, entropy),
        }
    }

    /// A value that was revoked by its id, or recorded before `revokeIssuedBefore`, does not come back by being recorded
    /// again; nor does one of which nothing is known any more, as long as it may be as old as its Secret.
    fn refuse_revoked(&self, hash: &TokenHash) -> Option<Problem> {
        let name = &self.desired.secret_name;
        if self.was_revoked(hash) {
            let message = format!(
                "what the Secret {name} holds was revoked, so that it is not accepted any more: put another secret there"
            );
            return Some(Problem::error(Reason::Expired, PATH, message));
        }
        let moment = self.desired.revoke_issued_before?;
        let message = if let Some(since) = self.first_seen(hash) {
            (since < moment).then(|| format!(
                "what the Secret {name} holds was in use at {since}, before the Identity's revokeIssuedBefore: put another secret there"
            ))?
        } else {
            let created = self.view.secret.as_ref()?.created()?;
            (created < moment && self.remembers_nothing()).then(|| format!(
                "the Secret {name} was created at {created}, before the Identity's revokeIssuedBefore, and what it holds may be as old: delete it and create it anew with another secret"
            ))?
        };
        Some(Problem::error(Reason::Expired, PATH, message))
    }

    /// Whether no secret is known to have been brought: the Credential is new, since the client is, or somebody deleted
    /// it. Where one is known, another is another.
    fn remembers_nothing(&self) -> bool {
        let mut recorded = self.recorded().iter();
        self.memory().brought.is_empty() && !recorded.any(|entry| entry.cause == Cause::Imported)
    }

    fn first_seen(&self, hash: &TokenHash) -> Option<Timestamp> {
        memory::first_seen(self.memory(), self.recorded(), hash)
    }

    fn import(&self, token: SecretString, hash: TokenHash, entropy: &mut dyn Entropy) -> Step {
        let minted = Minted {
            token,
            id: TokenId::random(entropy),
            hash,
        };
        let is_same = |entry: &CredentialEntry| {
            entry.cause == Cause::Imported && entries::has_hash(entry, &hash)
        };
        let mut tokens = self.live.clone();
        tokens.retain(|entry| !is_same(entry));
        for entry in &mut tokens {
            entries::shorten(entry, self.desired.rotation.overlap, self.now);
        }
        let nonce = encode_requests(&self.done_requests());
        let (high, cause) = (self.high() + 1, Cause::Imported);
        let mut entry = entries::new_entry(&minted, self.desired, high, cause, nonce, self.now);
        // A secret does not become younger by being brought again.
        entry.issued_at = self.first_seen(&hash).map_or(entry.issued_at, Moment);
        tokens.push(entry);
        let credential = self.with_mint(tokens, high);
        Step::Import(Box::new(Import {
            epoch: credential.spec.high,
            credential,
            is_first: self.view.credential.is_none(),
            token_id: minted.id,
            mints_per_hour: self.desired.mints_per_hour,
        }))
    }

    /// What was brought before gets an end; what the operator made stays until something is brought.
    fn lapse(&self, problem: Problem) -> Step {
        let is_endless =
            |entry: &CredentialEntry| entry.cause == Cause::Imported && entry.not_after.is_none();
        if !self.live.iter().any(is_endless) {
            return Step::Settle(self.refused_without_facts(problem));
        }
        let mut tokens = self.live.clone();
        let mut lapsed = Vec::new();
        for entry in tokens.iter_mut().filter(|entry| is_endless(entry)) {
            entries::shorten(entry, GRACE, self.now);
            lapsed.push(entry.token_id.clone());
        }
        Step::Retire(
            Box::new(self.with_tokens(tokens)),
            lapsed,
            Retirement::Lapsed,
        )
    }

    fn refused_without_facts(&self, problem: Problem) -> Settled {
        Settled::Refused {
            problem,
            until: Some(self.after(LOOK_AGAIN)),
            facts: None,
        }
    }
}

const PATH: &str = "/spec/authentication/secret/existingRef";

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::plan::{Rules, plan};
    use super::super::tests::{desired, owner, target};
    use super::super::view::{OwnerView, View};
    use super::*;
    use crate::directory::{Desired, Lifetime, SecretKind, Standing};
    use crate::reconcile::secret::SecretObject;
    use crate::resources::{CredentialOwner, LABEL_MANAGED, OwnerKind};
    use crate::tokens::{MacKey, SeededEntropy};

    const A: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
    const B: &str = "Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";
    const HOUR: SignedDuration = SignedDuration::from_hours(1);

    struct World {
        now: Timestamp,
        mac: MacKey,
        desired: Desired,
        credential: Option<Credential>,
        secret: Option<SecretObject>,
        created: Timestamp,
    }

    impl World {
        fn new() -> Self {
            let owner = CredentialOwner {
                kind: OwnerKind::OAuthClient,
                ..owner()
            };
            let mut desired = Desired {
                owner,
                kind: SecretKind::ClientSecret,
                lifetime: Lifetime::Never,
                existing_key: Some("password".into()),
                ..desired()
            };
            desired.rotation.renew_before = None;
            desired.rotation.overlap = HOUR;
            Self {
                now: "2026-01-01T00:00:00Z".parse().unwrap(),
                mac: MacKey::from_bytes(&[1; 32]).unwrap(),
                desired,
                credential: None,
                secret: None,
                created: "2026-01-01T00:00:00Z".parse().unwrap(),
            }
        }

        fn with(value: &str) -> Self {
            let mut world = Self::new();
            world.bring(value);
            assert_eq!(world.run(), ["import"]);
            world
        }

        fn bring(&mut self, value: &str) {
            self.put(json!({ LABEL_CLIENT: "ci" }), "password", value);
        }

        fn put(&mut self, labels: serde_json::Value, key: &str, value: &str) {
            let manifest = json!({
                "metadata": {"namespace": "team", "name": "ci-token", "uid": "s", "resourceVersion": "1", "labels": labels, "creationTimestamp": self.created},
            });
            let serde_json::Value::Object(manifest) = manifest else {
                unreachable!()
            };
            let mut secret = SecretObject::new(manifest);
            secret.set_text(key, value);
            self.secret = Some(secret);
        }

        fn plan(&self) -> Step {
            let view = View {
                credential: self.credential.clone(),
                secret: self.secret.clone(),
                owner: Some(OwnerView {
                    uid: "owner".into(),
                    ..OwnerView::default()
                }),
                standing: Standing::Wanted(Box::new(self.desired.clone())),
                ..View::default()
            };
            let mut target = target();
            target.owner = self.desired.owner.clone();
            let rules = Rules::new(&self.mac);
            plan(&view, &target, &rules, self.now, &mut SeededEntropy::new(1))
        }

        fn run(&mut self) -> Vec<&'static str> {
            let mut names = Vec::new();
            for _ in 0..5 {
                let (name, credential) = match self.plan() {
                    Step::Import(import) => ("import", import.credential),
                    Step::Retire(credential, _, Retirement::Lapsed) => ("retire", *credential),
                    Step::EmptyTokens(credential, Emptying::Revoked) => ("empty", *credential),
                    Step::EndRevoked(credential, _) => ("end revoked", *credential),
                    Step::Settle(_) => return names,
                    other => panic!("{other:?}"),
                };
                names.push(name);
                self.credential = Some(credential);
            }
            panic!("no end: {names:?}");
        }

        fn refused(&self) -> Problem {
            match self.plan() {
                Step::Settle(Settled::Refused { problem, .. }) => problem,
                other => panic!("not refused: {other:?}"),
            }
        }

        /// Accepted secrets by their first letter, with the hours that they have left.
        fn accepted(&self) -> Vec<(char, Option<i64>)> {
            let entries = &self.credential.as_ref().unwrap().spec.tokens;
            let letter = |entry: &CredentialEntry| {
                let known = [A, B].into_iter();
                let mut matching =
                    known.filter(|value| entries::has_hash(entry, &TokenHash::of(value)));
                matching
                    .next()
                    .map_or('?', |value| value.chars().next().unwrap())
            };
            let left = |entry: &CredentialEntry| {
                entries::end(entry).map(|end| end.duration_since(self.now).as_hours())
            };
            entries
                .iter()
                .map(|entry| (letter(entry), left(entry)))
                .collect()
        }
    }

    #[test]
    fn a_secret_that_is_brought_is_recorded_and_no_secret_is_written() {
        let mut world = World::with(&format!("{A}\n"));
        assert_eq!(world.accepted(), [('q', None)]);
        let entry = &world.credential.as_ref().unwrap().spec.tokens[0];
        assert_eq!((entry.epoch, entry.cause), (1, Cause::Imported));
        assert!(!A.contains(&*entry.token_id));
        assert_eq!(world.run(), [""; 0]);
    }

    #[test]
    fn a_new_value_is_followed_and_the_one_before_lives_an_hour() {
        let mut world = World::with(A);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('q', Some(1)), ('Z', None)]);
        world.bring(A);
        assert_eq!(world.run(), ["import"], "it may go back");
        assert_eq!(world.accepted(), [('Z', Some(1)), ('q', None)]);
        world.now += HOUR;
        world.bring(B);
        world.run();
        assert_eq!(world.accepted(), [('q', Some(1)), ('Z', None)]);
    }

    #[test]
    fn a_secret_that_goes_is_accepted_for_a_day_and_comes_back_as_it_was() {
        for value in [None, Some(""), Some("changeme"), Some(&*"x".repeat(40))] {
            let mut world = World::with(A);
            match value {
                None => world.secret = None,
                Some(value) => world.bring(value),
            }
            assert_eq!(world.run(), ["retire"], "{value:?}");
            assert_eq!(world.accepted(), [('q', Some(24))]);
            world.bring(A);
            assert_eq!(world.run(), ["import"]);
            assert_eq!(world.accepted(), [('q', None)]);
        }
    }

    #[test]
    fn a_label_taken_away_ends_it_at_once() {
        for labels in [json!({}), json!({ LABEL_CLIENT: "other" })] {
            let mut world = World::with(A);
            world.put(labels, "password", A);
            assert_eq!(world.run(), ["empty"]);
            assert_eq!(world.accepted(), []);
            world.bring(A);
            assert_eq!(world.run(), ["import"]);
        }
    }

    #[test]
    fn what_is_missing_is_said() {
        let mut world = World::new();
        let says = |world: &World, reason: Reason, words: &[&str]| {
            let problem = world.refused();
            assert_eq!(problem.reason, reason, "{problem:?}");
            for word in words {
                assert!(problem.message.contains(word), "{word}: {problem:?}");
            }
        };
        let label = "symbolon.dev/client: ci";
        says(
            &world,
            Reason::SecretNotFound,
            &["ci-token", label, "password"],
        );
        world.put(json!({}), "password", A);
        says(&world, Reason::SecretNotFound, &["ci-token", label]);
        world.put(json!({ LABEL_CLIENT: "ci" }), "other", A);
        says(&world, Reason::SecretNotFound, &["the key password"]);
        world.bring("short");
        says(&world, Reason::WeakSecret, &["32 characters"]);
        let labels = json!({ LABEL_CLIENT: "ci", LABEL_MANAGED: "true" });
        world.put(labels, "password", A);
        says(&world, Reason::SecretConflict, &["another object"]);
        assert!(!format!("{:?}", world.plan()).contains("short"));
    }

    #[test]
    fn what_the_operator_made_is_accepted_until_something_is_brought() {
        let mut world = World::with(A);
        let entry = &mut world.credential.as_mut().unwrap().spec.tokens[0];
        entry.cause = Cause::Initial;
        entries::seal_all(world.credential.as_mut().unwrap(), &world.mac);
        for secret in [None, world.secret.clone()] {
            world.secret = secret;
            if let Some(secret) = &mut world.secret {
                secret.set_label(LABEL_CLIENT, None);
            }
            assert_eq!(world.run(), [""; 0]);
            assert_eq!(world.accepted(), [('q', None)]);
        }
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('q', Some(1)), ('Z', None)]);
    }

    #[test]
    fn what_was_revoked_for_all_does_not_come_back_by_being_found_again() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        assert_eq!(world.refused().reason, Reason::Expired);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('Z', None)]);
    }

    /// By another value in between, by the Secret's deletion, by its label.
    #[test]
    fn what_was_revoked_for_all_does_not_come_back_by_any_way_round() {
        type Way = (&'static str, fn(&mut World));
        let ways: [Way; 4] = [
            ("found again", |_| ()),
            ("another in between", |world| {
                world.bring(B);
                world.run();
            }),
            ("deleted and made again", |world| {
                world.secret = None;
                world.run();
                world.now += HOUR * 48;
            }),
            ("the label off and on", |world| {
                world.put(json!({}), "password", A);
                world.run();
            }),
        ];
        for (name, way, before) in ways
            .iter()
            .flat_map(|(name, way)| [(*name, way, true), (*name, way, false)])
        {
            let mut world = World::with(A);
            world.now += HOUR;
            let moment = world.now;
            if before {
                way(&mut world);
            }
            world.desired.revoke_issued_before = Some(moment);
            if !before {
                world.run();
                way(&mut world);
            }
            world.bring(A);
            assert!(!world.run().contains(&"import"), "{name}");
            let problem = world.refused();
            assert_eq!(problem.reason, Reason::Expired, "{name}");
            assert!(problem.message.contains("put another secret there"));
            world.bring(&B.to_uppercase());
            assert_eq!(world.run(), ["import"], "{name}: another one is taken");
        }
    }

    /// Nobody knows any more what was brought: the Secret's own age has to do.
    #[test]
    fn what_was_revoked_for_all_does_not_come_back_where_the_credential_is_forgotten() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        world.credential = None;
        let problem = world.refused();
        assert_eq!(problem.reason, Reason::Expired);
        assert!(problem.message.contains("create it anew"), "{problem:?}");
        world.created = world.now;
        world.bring(B);
        assert_eq!(world.run(), ["import"], "a Secret that is young enough");
        world.created -= HOUR;
        world.bring(&A.to_uppercase());
        assert_eq!(
            world.run(),
            ["import"],
            "where one is known, another is another"
        );
    }

    /// By another value in between, by the Secret's deletion, by its label, by the loss of the status.
    #[test]
    fn what_was_revoked_by_its_id_is_not_recorded_again() {
        let ways: [fn(&mut World); 5] = [
            |_| (),
            |world| world.credential.as_mut().unwrap().status = None,
            |world| {
                world.bring(B);
                world.run();
            },
            |world| {
                world.secret = None;
                world.now += HOUR * 48;
                world.run();
            },
            |world| {
                world.put(json!({}), "password", A);
                world.run();
            },
        ];
        for (number, way) in ways.iter().enumerate() {
            let mut world = World::with(A);
            let credential = world.credential.as_mut().unwrap();
            let id = credential.spec.tokens[0].token_id.clone();
            credential.status.get_or_insert_default().revoked.push(id);
            assert_eq!(world.run(), ["end revoked"], "{number}");
            way(&mut world);
            world.bring(A);
            assert!(!world.run().contains(&"import"), "{number}");
            let problem = world.refused();
            assert_eq!(problem.reason, Reason::Expired, "{number}");
            assert!(problem.message.contains("was revoked"), "{problem:?}");
            // All entries of these tests have the same id.
            world.credential.as_mut().unwrap().status = None;
            world.bring(&B.to_uppercase());
            assert_eq!(world.run(), ["import"], "{number}: another one is taken");
        }
    }

    #[test]
    fn a_label_taken_away_ends_it_while_the_client_is_disabled() {
        let disabled = Problem::error(Reason::Disabled, "/spec/disabled", "disabled");
        let mut world = World::with(A);
        world.desired.withheld = vec![disabled];
        world.put(json!({}), "password", B);
        assert_eq!(world.run(), ["empty"]);
        assert_eq!(world.accepted(), []);
        world.bring(B);
        assert_eq!(world.run(), [""; 0], "nothing is recorded meanwhile");
        world.desired.withheld.clear();
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('Z', None)]);
    }

    #[test]
    fn a_secret_does_not_become_younger_by_being_brought_again() {
        let mut world = World::with(A);
        let first = world.now;
        for _ in 0..3 {
            world.now += HOUR * 2;
            world.bring(B);
            assert_eq!(world.run(), ["import"]);
            world.now += HOUR * 2;
            world.bring(A);
            assert_eq!(world.run(), ["import"], "a rotation may be taken back");
            assert_eq!(world.accepted(), [('Z', Some(1)), ('q', None)]);
            let spec = &world.credential.as_ref().unwrap().spec;
            assert_eq!(spec.tokens[1].issued_at.0, first);
        }
    }

    #[test]
    fn what_replaces_a_secret_and_is_refused_lets_it_go_on_for_a_day() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        world.bring(A);
        assert_eq!(world.run(), ["retire"]);
        assert_eq!(world.accepted(), [('Z', Some(24))]);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('Z', None)]);
    }

    #[test]
    fn as_many_as_fit_are_remembered_and_the_revoked_ones_longest() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        for number in 0..100 {
            world.now += HOUR;
            world.bring(&format!("{number:02}{A}"));
            assert_eq!(world.run(), ["import"]);
        }
        let memory = &world.credential.as_ref().unwrap().spec.memory;
        assert_eq!(memory.brought.len(), 32);
        world.bring(A);
        assert_eq!(world.run(), ["retire"]);
        assert_eq!(world.refused().reason, Reason::Expired);
    }

    #[test]
    fn ten_values_an_hour_and_no_more() {
        let mut world = World::with(A);
        for number in 0..20 {
            world.bring(&format!("{number:02}{A}"));
            world.run();
        }
        assert_eq!(world.refused().reason, Reason::MintLimitReached);
        assert!(world.credential.as_ref().unwrap().spec.tokens.len() <= 8);
    }
}
