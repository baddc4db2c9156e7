//! Imported client secrets: the operator records them and never writes their Secrets.
//!
//! The label on the Secret is its owner's consent that this client uses it. Without the label the operator reads
//! nothing of it. The operator records each new value and accepts the previous one for a while, because running pods
//! still use it. As there is no Secret to write, one compare-and-swap of the Credential is enough: after a lost reply,
//! a crash or with a second operator, either the value is recorded or the next pass records it.
//!
//! | the Secret | the recorded value |
//! |---|---|
//! | has another value | is accepted for one more hour |
//! | is gone, lacks the key, or holds a weak value | is accepted for one more day, because a secret backend may be unavailable |
//! | lost the label | is refused at once: the Secret's owner withdrew the consent |

use jiff::{SignedDuration, Timestamp};

use super::case::{CHECK_AGAIN, Case};
use super::requests::encode_requests;
use super::step::{Emptying, Import, Retirement, Step};
use super::view::Settled;
use super::{entries, memory};
use crate::directory::{Problem, Reason};
use crate::resources::{Cause, CredentialEntry, LABEL_CLIENT, Moment};
use crate::tokens::{Entropy, Minted, SecretString, TokenHash, TokenId, imported};

/// How long a value is accepted after its Secret is gone.
const GRACE: SignedDuration = SignedDuration::from_hours(24);

/// Why there is no secret to record.
enum Absence {
    /// It may come back.
    Gone(Problem),
    /// The Secret's owner does not let this client use it.
    Withdrawn(Problem),
}

impl Case<'_> {
    /// Returns the step for an imported secret under `key`.
    pub(super) fn import_or_keep(&self, key: &str, entropy: &mut dyn Entropy) -> Step {
        match self.imported(key) {
            Ok(secret) => self.import_value(secret, entropy),
            Err(Absence::Gone(problem)) => self.lapse(problem),
            // `revoke_withdrawn` has already removed the recorded value.
            Err(Absence::Withdrawn(problem)) => Step::Settle(self.refused_without_facts(problem)),
        }
    }

    /// Revokes the imported value as soon as the Secret's owner does not let this client use it. No check that could
    /// refuse another value comes before.
    pub(super) fn revoke_withdrawn(&self, key: &str) -> Option<Step> {
        let is_imported = |entry: &CredentialEntry| entry.cause == Cause::Imported;
        if !self.recorded().iter().any(is_imported)
            || !matches!(self.imported(key), Err(Absence::Withdrawn(_)))
        {
            return None;
        }
        let mut tokens = self.live.clone();
        tokens.retain(|entry| !is_imported(entry));
        let credential = Box::new(self.with_tokens(tokens));
        Some(Step::EmptyTokens(credential, Emptying::Revoked))
    }

    fn imported(&self, key: &str) -> Result<SecretString, Absence> {
        let (name, client) = (&self.desired.secret_name, &self.desired.owner.name);
        let missing = |what: String| Problem::error(Reason::SecretNotFound, PATH, what);
        let secret = self.view.secret.as_ref();
        let Some(secret) = secret.filter(|secret| !secret.is_deleting()) else {
            return Err(Absence::Gone(missing(format!(
                "the Secret {name} does not exist: create it with the label {LABEL_CLIENT}: {client} and the client secret under the key {key}"
            ))));
        };
        if secret.label(LABEL_CLIENT) != Some(client) {
            return Err(Absence::Withdrawn(missing(format!(
                "the Secret {name} lacks the label {LABEL_CLIENT}: {client}: its owner must set it to let this OAuthClient use the Secret"
            ))));
        }
        if secret.is_managed() {
            let message = format!(
                "the operator writes the Secret {name} for another object: remove spec.authentication.secret.existingRef to get a new Secret, or name a Secret that the operator does not write"
            );
            return Err(Absence::Withdrawn(Problem::error(
                Reason::SecretConflict,
                PATH,
                message,
            )));
        }
        let text = secret.text(key).ok_or_else(|| {
            Absence::Gone(missing(format!(
                "the Secret {name} has no text under the key {key}: put the client secret there"
            )))
        })?;
        match imported::read(text.expose()) {
            Ok(value) => Ok(SecretString::from(value.to_owned())),
            Err(why) => Err(Absence::Gone(Problem::error(
                Reason::WeakSecret,
                PATH,
                format!("the value under the key {key} of the Secret {name} {why}"),
            ))),
        }
    }

    fn import_value(&self, secret: SecretString, entropy: &mut dyn Entropy) -> Step {
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
        if let Some(refusal) = self.refuse_mint(None) {
            return Step::Settle(refusal);
        }
        match self.make_room(self.live.len()) {
            Some(step) => step,
            None => self.import(secret, hash, entropy),
        }
    }

    /// Refuses a value that was revoked by its id or recorded before `revokeIssuedBefore`: recording it again does not
    /// bring it back. A value with an unknown history is refused if it may be as old as its Secret and that is older
    /// than `revokeIssuedBefore`.
    fn refuse_revoked(&self, hash: &TokenHash) -> Option<Problem> {
        let name = &self.desired.secret_name;
        if self.was_revoked(hash) {
            let message = format!(
                "the value in the Secret {name} was revoked and is no longer accepted: put another secret there"
            );
            return Some(Problem::error(Reason::Expired, PATH, message));
        }
        let moment = self.desired.revoke_issued_before?;
        let message = if let Some(since) = self.first_seen(hash) {
            (since < moment).then(|| format!(
                "the value in the Secret {name} was in use at {since}, before spec.revokeIssuedBefore of the Identity: put another secret there"
            ))?
        } else {
            let created = self.view.secret.as_ref()?.created()?;
            (created < moment && self.remembers_nothing()).then(|| format!(
                "the Secret {name} was created at {created}, before spec.revokeIssuedBefore of the Identity, and its value may be as old: delete it and recreate it with another secret"
            ))?
        };
        Some(Problem::error(Reason::Expired, PATH, message))
    }

    /// Whether no imported secret is known, because the client is new or someone deleted its Credential. If one is
    /// known, a value with another hash is certainly new.
    fn remembers_nothing(&self) -> bool {
        let mut recorded = self.recorded().iter();
        self.memory().imported.is_empty() && !recorded.any(|entry| entry.cause == Cause::Imported)
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
        let (high, cause) = (self.high().saturating_add(1), Cause::Imported);
        let mut entry = entries::new_entry(&minted, self.desired, high, cause, nonce, self.now);
        // Importing a secret again does not make it younger.
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

    /// Gives imported values an end. What the operator issued stays until a secret is imported.
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
            until: Some(self.after(CHECK_AGAIN)),
            facts: None,
        }
    }
}

const PATH: &str = "/spec/authentication/secret/existingRef";

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::super::plan::plan;
    use super::super::rules::Rules;
    use super::super::tests::{desired, owner, target};
    use super::super::view::{OwnerView, View};
    use super::*;
    use crate::directory::{Desired, Lifetime, SecretKind, Standing, entry_ends};
    use crate::reconcile::cluster::secret::SecretObject;
    use crate::resources::{Credential, CredentialOwner, LABEL_MANAGED, OwnerKind};
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
                    Step::Retire(credential, _, Retirement::Crowded) => ("make room", *credential),
                    Step::EmptyTokens(credential, Emptying::Revoked) => ("empty", *credential),
                    Step::EndRevoked(credential, _) => ("end revoked", *credential),
                    Step::Relabel(credential, _) => ("relabel", *credential),
                    Step::Settle(_) => return names,
                    other => panic!("{other:?}"),
                };
                names.push(name);
                self.credential = Some(credential);
            }
            panic!("the pass never settles: {names:?}");
        }

        fn refused(&self) -> Problem {
            match self.plan() {
                Step::Settle(Settled::Refused { problem, .. }) => problem,
                other => panic!("expected a refusal: {other:?}"),
            }
        }

        /// Returns the accepted secrets by their first letters, with the hours that they have left.
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
                entry_ends(entry).map(|end| end.duration_since(self.now).as_hours())
            };
            entries
                .iter()
                .map(|entry| (letter(entry), left(entry)))
                .collect()
        }
    }

    #[test]
    fn an_imported_secret_is_recorded_and_no_secret_is_written() {
        let mut world = World::with(&format!("{A}\n"));
        assert_eq!(world.accepted(), [('q', None)]);
        let entry = &world.credential.as_ref().unwrap().spec.tokens[0];
        assert_eq!((entry.epoch, entry.cause), (1, Cause::Imported));
        assert!(!A.contains(&*entry.token_id));
        assert_eq!(world.run(), [""; 0]);
    }

    #[test]
    fn a_new_value_is_recorded_and_the_previous_one_lives_an_hour() {
        let mut world = World::with(A);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('q', Some(1)), ('Z', None)]);
        world.bring(A);
        assert_eq!(world.run(), ["import"], "the previous value may come back");
        assert_eq!(world.accepted(), [('Z', Some(1)), ('q', None)]);
        world.now += HOUR;
        world.bring(B);
        world.run();
        assert_eq!(world.accepted(), [('q', Some(1)), ('Z', None)]);
    }

    #[test]
    fn a_deleted_imported_secret_is_accepted_for_a_day_and_may_come_back() {
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
    fn a_removed_label_revokes_the_secret_at_once() {
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
    fn missing_imported_secrets_are_reported() {
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
    fn an_issued_secret_is_accepted_until_one_is_imported() {
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
    fn revoke_issued_before_applies_to_a_secret_that_is_found_again() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        assert_eq!(world.refused().reason, Reason::Expired);
        world.bring(B);
        assert_eq!(world.run(), ["import"]);
        assert_eq!(world.accepted(), [('Z', None)]);
    }

    /// By another value in between, by deleting the Secret, by removing its label.
    #[test]
    fn a_secret_from_before_revoke_issued_before_cannot_be_recorded_again() {
        type Way = (&'static str, fn(&mut World));
        let ways: [Way; 4] = [
            ("found again", |_| ()),
            ("another in between", |world| {
                world.bring(B);
                world.run();
            }),
            ("deleted and recreated", |world| {
                world.secret = None;
                world.run();
                world.now += HOUR * 48;
            }),
            ("the label removed and set", |world| {
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
            assert_eq!(world.run(), ["import"], "{name}: another value is recorded");
        }
    }

    /// The imported secrets are forgotten, so the Secret's own age decides.
    #[test]
    fn revoke_issued_before_applies_after_the_credential_was_deleted() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        world.credential = None;
        let problem = world.refused();
        assert_eq!(problem.reason, Reason::Expired);
        assert!(problem.message.contains("recreate it"), "{problem:?}");
        world.created = world.now;
        world.bring(B);
        assert_eq!(world.run(), ["import"], "the Secret is young enough");
        world.created -= HOUR;
        world.bring(&A.to_uppercase());
        assert_eq!(
            world.run(),
            ["import"],
            "one value is known, so another value is new"
        );
    }

    /// By another value in between, by deleting the Secret, by removing its label, by losing the status.
    #[test]
    fn a_secret_revoked_by_its_id_is_not_recorded_again() {
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
            assert_eq!(
                world.run(),
                ["import"],
                "{number}: another value is recorded"
            );
        }
    }

    #[test]
    fn a_removed_label_revokes_the_secret_while_the_client_is_disabled() {
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
    fn importing_a_secret_again_does_not_make_it_younger() {
        let mut world = World::with(A);
        let first = world.now;
        for _ in 0..3 {
            world.now += HOUR * 2;
            world.bring(B);
            assert_eq!(world.run(), ["import"]);
            world.now += HOUR * 2;
            world.bring(A);
            assert_eq!(world.run(), ["import"], "a rotation may be undone");
            assert_eq!(world.accepted(), [('Z', Some(1)), ('q', None)]);
            let spec = &world.credential.as_ref().unwrap().spec;
            assert_eq!(spec.tokens[1].issued_at.0, first);
        }
    }

    #[test]
    fn a_refused_new_value_leaves_the_previous_one_for_a_day() {
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
    fn imported_secrets_are_bounded_and_revoked_ones_kept_longest() {
        let mut world = World::with(A);
        world.now += HOUR;
        world.desired.revoke_issued_before = Some(world.now);
        for number in 0..100 {
            world.now += HOUR;
            world.bring(&format!("{number:02}{A}"));
            assert_eq!(world.run(), ["import"]);
        }
        let memory = &world.credential.as_ref().unwrap().spec.memory;
        assert_eq!(memory.imported.len(), 32);
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
