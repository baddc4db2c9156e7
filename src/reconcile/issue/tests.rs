//! Tests of the rules of issuing, over a cluster of three objects in memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use rstest::rstest;
use serde_json::{Value, json};

use super::plan::plan;
use super::rules::{MAX_BY_ROTATION, Rules};
use super::step::{Emptying, Push, Recreate, Retirement, Step};
use super::view::{Facts, OwnerView, Settled, Target, View};
use crate::directory::{
    Desired, IssuedClient, Lifetime, ObjectKey, Problem, Reason, RotationRequests, RotationRules,
    SecretKind, Standing, is_sealed,
};
use crate::reconcile::cluster::api::Precondition;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{
    ANNOTATION_OWNER, Cause, Credential, CredentialMemory, CredentialOwner, CredentialStatus, Day,
    LABEL_MANAGED, Moment, OnSecretDeleted, OwnerKind, TokenUse,
};
use crate::tokens::{MacKey, Prefix, SeededEntropy, TokenHash};

const DAY: SignedDuration = SignedDuration::from_hours(24);
const HOUR: SignedDuration = SignedDuration::from_hours(1);
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// One owner, its objects and the clock.
struct World {
    now: Timestamp,
    mac: MacKey,
    entropy: SeededEntropy,
    desired: Desired,
    standing: Option<Standing>,
    owner: Option<OwnerView>,
    credential: Option<Credential>,
    secret: Option<SecretObject>,
    former: Option<SecretObject>,
    target_name: String,
    versions: u32,
    watching_since: Timestamp,
}

impl World {
    fn new() -> Self {
        Self {
            now: "2026-01-01T00:00:00Z".parse().unwrap(),
            mac: MacKey::from_bytes(&[1; 32]).unwrap(),
            entropy: SeededEntropy::new(1),
            desired: desired(),
            standing: None,
            owner: Some(OwnerView {
                uid: "owner".into(),
                ..OwnerView::default()
            }),
            credential: None,
            secret: None,
            former: None,
            target_name: target().secret_name,
            versions: 0,
            watching_since: Timestamp::MIN,
        }
    }

    /// Returns a world whose first token is in its Secret and in its status.
    fn issued() -> Self {
        let mut world = Self::new();
        assert_eq!(world.run(), ["placeholder", "push Initial"]);
        world
    }

    /// Returns a world that was rotated once, with the first token in its overlap.
    fn rotated() -> Self {
        let mut world = Self::issued();
        world.now += DAY;
        world.ask("1");
        assert_eq!(world.run(), ["push Requested", "retire"]);
        world
    }

    fn ask(&mut self, value: &str) {
        self.desired.rotation.requests.annotation = Some(value.to_owned());
    }

    fn plan(&mut self) -> Step {
        let standing = self
            .standing
            .clone()
            .unwrap_or_else(|| Standing::Wanted(Box::new(self.desired.clone())));
        let view = View {
            credential: self.credential.clone(),
            secret: self.secret.clone(),
            owner: self.owner.clone(),
            standing,
            former: self.former.clone(),
        };
        let mut target = target();
        target.secret_name.clone_from(&self.target_name);
        plan(
            &view,
            &target,
            &Rules {
                watching_since: self.watching_since,
                ..Rules::new(&self.mac)
            },
            self.now,
            &mut self.entropy,
        )
    }

    fn settled(&mut self) -> Settled {
        match self.plan() {
            Step::Settle(settled) => settled,
            other => panic!("expected a settled pass: {other:?}"),
        }
    }

    fn refused(&mut self) -> Problem {
        match self.settled() {
            Settled::Refused { problem, .. } => problem,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn push(&mut self) -> Push {
        match self.plan() {
            Step::Push(push) => *push,
            other => panic!("expected a push: {other:?}"),
        }
    }

    /// Takes steps until nothing is left to do, and returns their names.
    fn run(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        for _ in 0..10 {
            let step = self.plan();
            if let Step::Settle(settled) = step {
                self.report(&settled);
                return names;
            }
            names.push(self.take(step));
        }
        panic!("the pass never settles: {names:?}");
    }

    fn report(&mut self, settled: &Settled) {
        if let (Settled::Done { facts, .. }, Some(owner)) = (settled, &mut self.owner) {
            (owner.epoch, owner.rotation_nonce) = (facts.epoch, facts.nonce.clone());
        }
    }

    fn take(&mut self, step: Step) -> String {
        match step {
            Step::CreatePlaceholder(create) => self.store("placeholder", Some(create.placeholder)),
            Step::Recreate(recreate) => {
                self.announce(&recreate);
                self.store("recreate", Some(recreate.placeholder))
            }
            Step::Fence(secret) => self.store("fence", Some(secret)),
            Step::Repair(secret, adopts) => {
                self.store(if adopts { "adopt" } else { "repair" }, Some(secret))
            }
            Step::Retire(credential, _, Retirement::Replaced) => self.record("retire", *credential),
            Step::Retire(credential, _, Retirement::Quiet) => {
                self.record("retire quiet", *credential)
            }
            Step::Retire(credential, _, Retirement::Lapsed) => self.record("lapse", *credential),
            Step::Retire(credential, _, Retirement::Sooner) => self.record("end", *credential),
            Step::Retire(credential, _, Retirement::Crowded) => {
                self.record("make room", *credential)
            }
            Step::EmptyTokens(credential, Emptying::Revoked) => self.record("empty", *credential),
            Step::EmptyTokens(credential, Emptying::Leaked) => {
                self.record("revoke all", *credential)
            }
            Step::EmptyTokens(_, Emptying::ById) => {
                unreachable!("no plan empties tokens by their ids")
            }
            Step::EndRevoked(credential, _) => self.record("end revoked", *credential),
            Step::Relabel(credential, _) => self.record("relabel", *credential),
            Step::Discard(_) => {
                self.credential = None;
                "discard".to_owned()
            }
            Step::Push(push) => {
                self.record("", push.credential);
                self.store(&format!("push {}", push.cause.as_str()), Some(push.secret))
            }
            Step::DeleteFormer(key, only) => {
                let former = self.former.take().unwrap();
                assert_eq!((key, only), (former.key(), former.precondition()));
                "delete former".to_owned()
            }
            Step::Import(_) => unreachable!("these tests import nothing"),
            Step::Settle(_) => unreachable!("handled by the caller"),
        }
    }

    /// Makes the first of the three writes that recreate a Secret.
    fn announce(&mut self, recreate: &Recreate) {
        assert_eq!(recreate.is_first, self.credential.is_none());
        self.record("", recreate.announced.clone());
    }

    fn recreate(&mut self) -> Recreate {
        match self.plan() {
            Step::Recreate(recreate) => *recreate,
            other => panic!("expected to recreate the Secret: {other:?}"),
        }
    }

    fn record(&mut self, name: &str, mut credential: Credential) -> String {
        self.versions += 1;
        credential.metadata.resource_version = Some(self.versions.to_string());
        credential.metadata.uid = Some("credential".to_owned());
        self.credential = Some(credential);
        name.to_owned()
    }

    fn store(&mut self, name: &str, secret: Option<SecretObject>) -> String {
        self.versions += 1;
        let version = self.versions.to_string();
        self.secret = secret.map(|secret| {
            let mut manifest = secret.expose().clone();
            manifest["metadata"]["resourceVersion"] = version.clone().into();
            manifest["metadata"]
                .as_object_mut()
                .unwrap()
                .entry("uid")
                .or_insert(version.into());
            SecretObject::new(manifest)
        });
        name.to_owned()
    }

    /// Renames the Secret, as a user does.
    fn rename(&mut self, name: &str) {
        self.former = self.secret.take();
        self.desired.secret_name = name.into();
        self.target_name = name.into();
    }

    /// Edits the Secret, as a user does.
    fn edit(&mut self, change: impl FnOnce(&mut Value)) {
        let mut manifest = Value::Object(self.secret.as_ref().unwrap().expose().clone());
        change(&mut manifest);
        let Value::Object(manifest) = manifest else {
            unreachable!()
        };
        self.store("", Some(SecretObject::new(manifest)));
    }

    fn text(&self, key: &str) -> Option<String> {
        self.secret
            .as_ref()
            .unwrap()
            .text(key)
            .map(|text| text.expose().to_owned())
    }

    fn entries(&self) -> &[crate::resources::CredentialEntry] {
        self.credential
            .as_ref()
            .map_or(&[], |credential| &credential.spec.tokens)
    }

    fn epochs(&self) -> Vec<i64> {
        self.entries().iter().map(|entry| entry.epoch).collect()
    }

    fn facts(&mut self) -> Facts {
        self.settled().facts().cloned().unwrap()
    }
}

pub(in crate::reconcile) fn owner() -> CredentialOwner {
    CredentialOwner {
        kind: OwnerKind::ServiceAccessToken,
        namespace: "team".into(),
        name: "ci".into(),
        uid: "owner".into(),
    }
}

pub(in crate::reconcile) fn target() -> Target {
    Target {
        owner: owner(),
        identity: ObjectKey::new("platform", "id"),
        secret_name: "ci-token".into(),
    }
}

pub(in crate::reconcile) fn desired() -> Desired {
    Desired {
        owner: owner(),
        identity: ObjectKey::new("platform", "id"),
        issuer: "https://id.example.com".into(),
        client: IssuedClient {
            name: "app".into(),
            uid: "client".into(),
            client_id: "team.app".into(),
        },
        principal: "team:app".into(),
        scopes: vec!["read".into()],
        kind: SecretKind::ServiceToken,
        prefix: Prefix::default(),
        secret_name: "ci-token".into(),
        key_alias: None,
        template: None,
        metadata: std::sync::Arc::default(),
        existing_key: None,
        rival: None,
        withheld: Vec::new(),
        lifetime: Lifetime::For(DAY * 90),
        rotation: RotationRules {
            adoption: None,
            renew_before: Some(DAY * 30),
            overlap: DAY,
            on_secret_deleted: OnSecretDeleted::Overlap,
            requests: RotationRequests::default(),
        },
        inherited: std::sync::Arc::default(),
        mints_per_hour: 600,
        revoke_issued_before: None,
    }
}

#[test]
fn a_first_token_is_recorded_sealed_and_then_revealed() {
    let mut world = World::new();
    let placeholder = world.plan();
    world.take(placeholder);
    assert_eq!(
        world.text("token"),
        None,
        "a create cannot be fenced, so it reveals nothing"
    );
    let push = world.push();
    let secret = world.secret.as_ref().unwrap();
    assert!(push.is_first);
    assert_eq!(
        push.credential.spec.base,
        Some(secret.version()),
        "the write is conditioned on what was read"
    );
    assert_eq!(push.secret.version(), secret.version());
    let metadata = &push.credential.metadata;
    assert_eq!(
        (metadata.namespace.as_deref(), metadata.name.as_deref()),
        (Some("platform"), Some("owner")),
        "it has the uid of its owner as its name"
    );
    let entry = &push.credential.spec.tokens[0];
    assert!(is_sealed(&world.mac, &push.credential, entry));
    let token = push.secret.text("token").unwrap();
    assert_eq!(entry.hash, TokenHash::of(token.expose()).to_string());
    assert!(token.expose().starts_with("symsat_"));
    assert_eq!(
        (entry.epoch, entry.cause, push.credential.spec.high),
        (1, Cause::Initial, 1)
    );
    assert_eq!(entry.expires_at, Some(Moment(world.now + DAY * 90)));
}

#[test]
fn in_a_steady_state_nothing_is_written() {
    let mut world = World::issued();
    assert_eq!(world.run(), Vec::<String>::new());
    let Settled::Done { facts, requeue_at } = world.settled() else {
        panic!()
    };
    assert_eq!(requeue_at, Some(world.now + DAY * 60), "at its renewal");
    assert_eq!(facts.renews_at, requeue_at);
    assert_eq!((facts.epoch, facts.previous), (1, None));
}

#[rstest]
#[case::absent(None)]
#[case::another(Some(OwnerView { uid: "another".into(), deleting: false, ..OwnerView::default() }))]
#[case::deleting(Some(OwnerView { uid: "owner".into(), deleting: true, ..OwnerView::default() }))]
fn an_owner_that_is_gone_gets_nothing(#[case] owner: Option<OwnerView>) {
    let mut world = World::new();
    world.owner = owner;
    assert_eq!(world.settled(), Settled::Gone);
}

/// Servers accept no token of such a Credential, so a status that says `Ready` would hide an outage.
#[test]
fn a_credential_that_a_finalizer_keeps_is_told_and_replaced_once_it_is_gone() {
    let mut world = World::issued();
    let kept = world.credential.as_mut().unwrap();
    let ended =
        json!({"deletionTimestamp": "2027-01-15T08:00:00Z", "finalizers": ["example.com/backup"]});
    let ended: kube::api::ObjectMeta = serde_json::from_value(ended).unwrap();
    kept.metadata.deletion_timestamp = ended.deletion_timestamp;
    kept.metadata.finalizers = ended.finalizers;
    world.desired.inherited = std::sync::Arc::new(crate::resources::InheritedMetadata {
        labels: [("team".to_owned(), "a".to_owned())].into(),
        ..Default::default()
    });
    let settled = world.settled();
    let Settled::Refused {
        problem,
        until,
        facts,
    } = &settled
    else {
        panic!("{settled:?}")
    };
    assert_eq!(problem.reason, Reason::Pending);
    assert!(problem.message.contains("example.com/backup"));
    assert!(until.is_some(), "no watch reports the end");
    assert_eq!(*facts, None, "the status says that no token is issued");
    world.report(&settled);
    world.credential = None;
    assert_eq!(world.run(), ["push Expired"]);
}

#[test]
fn a_credential_inherits_from_its_identity_from_the_first_write_on() {
    let mut world = World::new();
    let inherit = |world: &mut World, team: Option<&str>| {
        let team = team.map(|team| ("team".to_owned(), team.to_owned()));
        world.desired.inherited = std::sync::Arc::new(crate::resources::InheritedMetadata {
            labels: team.into_iter().collect(),
            ..Default::default()
        });
    };
    let team = |world: &World| {
        let credential = world.credential.as_ref().unwrap();
        let labels = credential.metadata.labels.clone().unwrap_or_default();
        labels.get("team").cloned()
    };
    inherit(&mut world, Some("a"));
    assert_eq!(
        world.run(),
        ["placeholder", "push Initial"],
        "no other write"
    );
    assert_eq!(team(&world).as_deref(), Some("a"));
    let tokens = world.credential.as_ref().unwrap().spec.tokens.clone();
    inherit(&mut world, Some("b"));
    assert_eq!(world.run(), ["relabel"]);
    assert_eq!(team(&world).as_deref(), Some("b"));
    inherit(&mut world, None);
    assert_eq!(world.run(), ["relabel"]);
    assert_eq!(team(&world), None);
    assert_eq!(world.credential.as_ref().unwrap().spec.tokens, tokens);
    assert!(world.run().is_empty());
}

#[test]
fn a_revoked_owner_loses_its_tokens_and_never_gets_a_credential() {
    let mut world = World::issued();
    let base = world.credential.as_ref().unwrap().spec.base.clone();
    world.credential.as_mut().unwrap().spec.memory.replacing = Some("another".into());
    world.standing = Some(Standing::Revoked);
    assert_eq!(world.run(), ["empty"]);
    let memory = &world.credential.as_ref().unwrap().spec.memory;
    assert_eq!(memory.replacing, None, "no Secret is recreated any more");
    let spec = &world.credential.as_ref().unwrap().spec;
    assert_eq!(
        (spec.tokens.len(), spec.high, &spec.base),
        (0, 1, &base),
        "high and base stay"
    );
    assert_eq!(world.settled(), Settled::Revoked);
    let mut fresh = World::new();
    fresh.standing = Some(Standing::Revoked);
    assert_eq!(fresh.settled(), Settled::Revoked);
}

/// The Identity may be gone, or may never have existed: nothing is sealed.
#[test]
fn without_a_key_revoked_owners_are_emptied_and_nothing_else_is_done() {
    let mut world = World::issued();
    let plan = |world: &mut World, standing: Standing| {
        let view = View {
            credential: world.credential.clone(),
            owner: world.owner.clone(),
            standing,
            ..View::default()
        };
        let rules = Rules::without_key();
        plan(&view, &target(), &rules, world.now, &mut world.entropy)
    };
    let wanted = Standing::Wanted(Box::new(world.desired.clone()));
    let step = plan(&mut world, wanted);
    assert!(matches!(step, Step::Settle(Settled::Moved)), "{step:?}");
    let step = plan(&mut world, Standing::Revoked);
    assert_eq!(world.take(step), "empty");
    let step = plan(&mut world, Standing::Revoked);
    assert!(matches!(step, Step::Settle(Settled::Revoked)), "{step:?}");
}

#[test]
fn a_withheld_or_unknown_owner_changes_nothing() {
    let problem = Problem::error(Reason::ScopeNotGranted, "/spec/scopes/0", "no");
    for (standing, settled) in [
        (
            Standing::Withheld(vec![problem.clone()]),
            Settled::Withheld(vec![problem]),
        ),
        (Standing::NotWanted, Settled::NotWanted),
    ] {
        let mut world = World::issued();
        world.standing = Some(standing);
        assert_eq!(world.settled(), settled);
    }
}

#[test]
fn an_outdated_target_is_reported() {
    let changes: [fn(&mut Desired); 2] = [
        |desired| desired.secret_name = "another".into(),
        |desired| desired.identity = ObjectKey::new("platform", "another"),
    ];
    for change in changes {
        let mut world = World::issued();
        change(&mut world.desired);
        assert_eq!(world.settled(), Settled::Moved);
    }
}

#[rstest]
#[case::no_owner(json!({ "name": "ci-token" }), false)]
#[case::other_controller(json!({ "ownerReferences": [{ "kind": "Other", "name": "x", "uid": "x", "controller": true }] }), false)]
#[case::predecessor(json!({ "ownerReferences": [{ "kind": "ServiceAccessToken", "name": "ci", "uid": "x", "controller": true }] }), false)]
#[case::other_annotation(json!({ "annotations": { ANNOTATION_OWNER: "ServiceAccessToken/other" } }), false)]
#[case::controller_beats_annotation(json!({ "annotations": { ANNOTATION_OWNER: "ServiceAccessToken/ci" }, "ownerReferences": [{ "kind": "Other", "name": "x", "uid": "x", "controller": true }] }), false)]
#[case::ours(json!({ "ownerReferences": [{ "kind": "ServiceAccessToken", "name": "ci", "uid": "owner", "controller": true }] }), true)]
#[case::restored(json!({ "annotations": { ANNOTATION_OWNER: "ServiceAccessToken/ci" } }), true)]
fn a_secret_of_another_owner_is_never_written(#[case] metadata: Value, #[case] is_ours: bool) {
    let mut world = World::new();
    world.store(
        "",
        Some(SecretObject::placeholder(
            &target().secret_key(),
            &owner(),
            "Opaque",
        )),
    );
    world.edit(|secret| secret["metadata"] = metadata);
    if is_ours {
        world.push();
    } else {
        assert_eq!(world.refused().reason, Reason::SecretConflict);
        assert!(
            matches!(world.settled(), Settled::Refused { until: Some(_), .. }),
            "no watch reports its deletion"
        );
    }
}

#[test]
fn a_restored_secret_without_references_is_adopted_with_the_next_write() {
    let mut world = World::issued();
    world.edit(|secret| {
        drop(
            secret["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("ownerReferences"),
        );
    });
    assert_eq!(world.run(), ["adopt"]);
    let reference = &world.secret.as_ref().unwrap().expose()["metadata"]["ownerReferences"][0];
    let expected = json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "ServiceAccessToken", "name": "ci", "uid": "owner",
        "controller": true, "blockOwnerDeletion": false,
    });
    assert_eq!(*reference, expected);
}

#[test]
fn a_write_that_may_still_land_is_waited_for_and_then_fenced() {
    let mut world = World::new();
    let placeholder = world.plan();
    world.take(placeholder);
    let push = world.push();
    world.record("", push.credential);
    let Settled::Waiting { until, .. } = world.settled() else {
        panic!("waits for twice the timeout")
    };
    assert_eq!(until, world.now + SignedDuration::from_secs(20));
    world.now = until;
    let before = world.secret.clone().unwrap();
    let Step::Fence(fenced) = world.plan() else {
        panic!("fences")
    };
    assert_eq!(
        fenced.version(),
        before.version(),
        "on condition of the version read"
    );
    assert_ne!(
        fenced, before,
        "a write that changes nothing would create no version"
    );
    assert_eq!(fenced.text("token"), None);
    world.store("", Some(fenced));
    assert_eq!(
        world.run(),
        ["push Initial", "retire"],
        "the same attempt is repeated, and the lost token gets an end"
    );
    assert_eq!(world.epochs(), [1, 2]);
}

/// A policy that requires a label refuses every write without it. The owner adds the label to the template, and the
/// fence is the first write after that.
#[test]
fn a_fence_carries_the_labels_and_annotations_of_the_template() {
    let mut world = World::issued();
    world.now += DAY;
    world.ask("1");
    let push = world.push();
    world.record("", push.credential);
    world.now += SignedDuration::from_secs(20);
    let template = json!({
        "labels": {"team": "shop", "other": "x"}, "annotations": {"env": "test"}, "data": {"url": "$(token-url)"},
    });
    world.desired.template = Some(std::sync::Arc::new(
        serde_json::from_value(template).unwrap(),
    ));
    let Step::Fence(fenced) = world.plan() else {
        panic!("fences")
    };
    assert_eq!(fenced.label("team"), Some("shop"));
    assert_eq!(fenced.annotation("env"), Some("test"));
    assert_eq!(
        fenced.label("other"),
        None,
        "the Identity does not allow it"
    );
    assert!(!fenced.has_text("url"), "a fence leaves the data");
    let held = world.secret.as_ref().unwrap().text("token").unwrap();
    assert_eq!(fenced.text("token").unwrap().expose(), held.expose());
    world.store("", Some(fenced));
    assert_eq!(world.run(), ["push Requested", "retire"]);
    // What the fence wrote is removed like everything else that came from the template.
    world.desired.template = None;
    assert_eq!(world.run(), ["repair"]);
    let secret = world.secret.as_ref().unwrap();
    assert_eq!(
        (secret.label("team"), secret.annotation("env")),
        (None, None)
    );
}

#[test]
fn another_machines_fast_clock_delays_no_pass_for_long() {
    for (ahead, waits) in [(0, true), (20, true), (21, false), (86_400, false)] {
        let mut world = World::new();
        let placeholder = world.plan();
        world.take(placeholder);
        let push = world.push();
        world.record("", push.credential);
        world.now -= SignedDuration::from_secs(ahead);
        let start = world.now;
        let mut is_fenced = false;
        while !is_fenced {
            match world.plan() {
                Step::Fence(_) => is_fenced = true,
                Step::Settle(Settled::Waiting { until, .. }) => world.now = until,
                _ => panic!("waits or fences"),
            }
        }
        let waited = world.now.duration_since(start);
        assert_eq!(!waited.is_zero(), waits, "{ahead}");
        assert!(waited <= SignedDuration::from_secs(40), "{ahead}: {waited}");
    }
}

#[test]
fn a_fence_is_needed_even_when_no_entry_is_left() {
    let mut world = World::new();
    let placeholder = world.plan();
    world.take(placeholder);
    let push = world.push();
    world.record("", push.credential);
    world.credential.as_mut().unwrap().spec.tokens.clear();
    assert!(matches!(world.plan(), Step::Fence(_)));
}

#[test]
fn older_tokens_are_given_an_end_once_the_newest_is_in_the_secret() {
    let mut world = World::rotated();
    assert_eq!(world.epochs(), [1, 2]);
    assert_eq!(world.entries()[0].not_after, Some(Moment(world.now + DAY)));
    assert_eq!(world.entries()[1].not_after, None);
    let credential = world.credential.clone().unwrap();
    assert!(
        credential
            .spec
            .tokens
            .iter()
            .all(|entry| is_sealed(&world.mac, &credential, entry))
    );
    let facts = world.facts();
    assert_eq!(
        facts.previous.unwrap().not_after,
        Some(Moment(world.now + DAY))
    );
    let Settled::Done { requeue_at, .. } = world.settled() else {
        panic!()
    };
    assert_eq!(
        requeue_at,
        Some(world.now + DAY),
        "at the end of the overlap"
    );
    assert_eq!(world.settled().requeue_at(), requeue_at);
}

#[test]
fn an_end_never_lies_after_the_tokens_own() {
    let mut world = World::issued();
    world.desired.rotation.overlap = DAY * 90;
    world.now += DAY * 40;
    world.ask("1");
    world.run();
    assert_eq!(world.entries()[0].not_after, world.entries()[0].expires_at);
}

#[test]
fn a_rotation_does_not_wait_for_the_overlap_of_the_one_before() {
    type Due = (&'static str, fn(&mut World), &'static str);
    let due: [Due; 3] = [
        ("requested", |world| world.ask("2"), "push Requested"),
        (
            "one more scope",
            |world| world.desired.scopes.push("write".into()),
            "push ScopesChanged",
        ),
        (
            "a lifetime as short as the overlap",
            |world| {
                world.desired.lifetime = Lifetime::For(DAY);
                world.desired.rotation.renew_before = Some(DAY / 3);
                world.now += HOUR * 17;
            },
            "push Scheduled",
        ),
    ];
    for (name, change, push) in due {
        let mut world = World::rotated();
        let end = world.entries()[0].not_after;
        world.now += HOUR;
        change(&mut world);
        assert_eq!(world.run(), [push, "retire"], "{name}");
        assert_eq!(world.epochs(), [1, 2, 3], "{name}");
        let ends: Vec<_> = world.entries().iter().map(|it| it.not_after).collect();
        let overlap = Some(Moment(world.now + DAY));
        assert_eq!(ends, [end, overlap, None], "{name}: each keeps its own end");
        let previous = world.facts().previous.unwrap();
        assert_eq!(
            previous.not_after, overlap,
            "{name}: the status shows the latest"
        );
    }
    let mut world = World::rotated();
    world.now += DAY;
    world.ask("2");
    world.run();
    assert_eq!(
        world.epochs(),
        [2, 3],
        "the next write drops the ended token"
    );
}

#[test]
fn consecutive_rotations_keep_four_tokens_and_the_next_one_waits() {
    let mut world = World::rotated();
    for request in ["2", "3"] {
        world.now += HOUR * 2;
        world.ask(request);
        assert_eq!(world.run(), ["push Requested", "retire"]);
    }
    assert_eq!(world.epochs(), [1, 2, 3, 4]);
    world.now += HOUR;
    world.ask("4");
    world.edit(|secret| {
        secret["data"].as_object_mut().unwrap().remove("issuer");
    });
    assert_eq!(world.run(), ["repair"], "everything else goes on");
    let end = world.entries()[0].not_after.unwrap().0;
    let Settled::Refused {
        problem,
        until,
        facts,
    } = world.settled()
    else {
        panic!()
    };
    assert_eq!(
        (problem.reason, until, facts.unwrap().epoch),
        (Reason::Rotating, Some(end), 4)
    );
    assert!(problem.message.contains(&end.to_string()), "{problem:?}");
    world.now = end;
    assert_eq!(world.run(), ["push Requested", "retire"]);
    assert_eq!(world.epochs(), [2, 3, 4, 5]);
    // A lost Secret gets another token, no matter how often it was rotated before.
    world.secret = None;
    assert_eq!(world.run(), ["placeholder", "push SecretDeleted", "retire"]);
}

/// No spec lets renewals alone keep an owner waiting: its status would flap between ready and not ready.
#[test]
fn renewals_leave_room_for_other_rotations_and_always_come_in_time() {
    const MINUTE: SignedDuration = SignedDuration::from_mins(1);
    for (name, lifetime, before, overlap, apart) in [
        (
            "the minimum lifetime",
            MINUTE * 10,
            MINUTE * 9,
            MINUTE * 9,
            MINUTE * 6,
        ),
        (
            "a short lifetime",
            MINUTE * 15,
            MINUTE * 12,
            MINUTE * 12,
            MINUTE * 7,
        ),
        (
            "an hour",
            MINUTE * 60,
            MINUTE * 50,
            MINUTE * 50,
            MINUTE * 25,
        ),
        (
            "an hour, no overlap",
            MINUTE * 60,
            MINUTE * 59,
            SECOND,
            MINUTE * 7,
        ),
        ("a day", DAY, HOUR * 20, HOUR * 20, HOUR * 10),
        (
            "weekly, one day of overlap",
            DAY * 90,
            DAY * 83,
            DAY,
            DAY * 7,
        ),
        (
            "weekly, overlap until the end",
            DAY * 90,
            DAY * 83,
            DAY * 83,
            DAY * 41,
        ),
        ("the defaults", DAY * 90, DAY * 30, DAY, DAY * 60),
    ] {
        let mut world = World::new();
        world.desired.lifetime = Lifetime::For(lifetime);
        world.desired.rotation.renew_before = Some(before);
        world.desired.rotation.overlap = overlap;
        world.run();
        let mut renewals = 0;
        let end = world.now + lifetime * 8;
        let mut last = world.now;
        while world.now < end {
            let Settled::Done { facts, requeue_at } = world.settled() else {
                panic!("{name}: kept waiting after {renewals} renewals")
            };
            assert!(facts.expires_at.unwrap() > world.now, "{name}");
            world.now = requeue_at.unwrap();
            if world.run().contains(&"push Scheduled".to_owned()) {
                renewals += 1;
                assert!(world.now.duration_since(last) >= apart, "{name}");
                last = world.now;
            }
            assert!(world.entries().len() < MAX_BY_ROTATION, "{name}");
        }
        assert!(renewals >= 8, "{name}: {renewals}");
        world.ask("now");
        assert_eq!(world.run(), ["push Requested", "retire"], "{name}");
    }
}

#[test]
fn a_renewal_that_must_wait_for_an_end_leaves_the_owner_ready() {
    let mut world = World::rotated();
    for request in ["2", "3"] {
        world.now += HOUR;
        world.ask(request);
        world.run();
    }
    world.desired.lifetime = Lifetime::For(HOUR * 20);
    world.desired.rotation.renew_before = Some(HOUR * 10);
    let end = world.entries()[0].not_after.unwrap().0;
    for wait in [HOUR * 10, HOUR] {
        world.now += wait;
        assert_eq!(world.run(), Vec::<String>::new());
        let Settled::Done { facts, requeue_at } = world.settled() else {
            panic!("the newest token is accepted")
        };
        assert!(facts.renews_at.unwrap() <= world.now);
        let requeue_at = requeue_at.unwrap();
        assert!(world.now < requeue_at && requeue_at <= end);
    }
}

/// Returns a world with `expiresAt` in ten days.
fn until_a_moment() -> World {
    let mut world = World::new();
    world.desired.lifetime = Lifetime::Until(world.now + DAY * 10);
    world.desired.rotation.renew_before = None;
    assert_eq!(world.run(), ["placeholder", "push Initial"]);
    world.now += DAY;
    world
}

#[test]
fn an_earlier_end_is_recorded_and_issues_no_token() {
    let mut world = until_a_moment();
    let sooner = world.now + DAY * 2;
    world.desired.lifetime = Lifetime::Until(sooner);
    assert_eq!(world.run(), ["end"]);
    assert_eq!(world.entries()[0].expires_at, Some(Moment(sooner)));
    let credential = world.credential.clone().unwrap();
    assert!(is_sealed(
        &world.mac,
        &credential,
        &credential.spec.tokens[0]
    ));
    assert_eq!(world.facts().expires_at, Some(sooner));
    assert_eq!(world.run(), Vec::<String>::new());
}

#[test]
fn a_later_end_issues_a_token_and_the_previous_one_keeps_its_end() {
    let mut world = until_a_moment();
    let (old, later) = (world.entries()[0].expires_at, world.now + DAY * 30);
    world.desired.lifetime = Lifetime::Until(later);
    assert_eq!(world.run(), ["push Scheduled", "retire"]);
    assert_eq!(world.entries()[0].expires_at, old);
    assert_eq!(world.entries()[0].not_after, Some(Moment(world.now + DAY)));
    assert_eq!(world.entries()[1].expires_at, Some(Moment(later)));
    assert_eq!(world.run(), Vec::<String>::new());
    world.desired.lifetime = Lifetime::Never;
    assert_eq!(
        world.run(),
        ["push Scheduled", "retire"],
        "no end is the latest end"
    );
    assert_eq!(world.run(), Vec::<String>::new());
}

#[test]
fn a_token_that_an_earlier_end_ended_stays_ended() {
    let mut world = until_a_moment();
    let problem = Problem::error(Reason::Expired, "/spec/expiresAt", "past");
    let before = world.desired.clone();
    world.desired.lifetime = Lifetime::Until(world.now - DAY);
    world.desired.withheld = vec![problem];
    assert_eq!(world.run(), ["end"], "although no token may be issued");
    world.desired = before;
    assert_eq!(world.run(), ["push Expired"]);
    assert_eq!(world.epochs(), [2]);
}

#[test]
fn a_manual_tokens_shorter_lifetime_is_waited_for() {
    let mut world = World::issued();
    let issued = world.now;
    world.now += DAY;
    world.desired.lifetime = Lifetime::For(DAY * 7);
    world.desired.rotation.renew_before = None;
    let Settled::Done { requeue_at, .. } = world.settled() else {
        panic!()
    };
    assert_eq!(requeue_at, Some(issued + DAY * 7));
}

#[test]
fn a_deletion_revokes_even_while_the_client_is_disabled() {
    let mut world = revoking();
    let disabled = Problem::error(Reason::Disabled, "/spec/disabled", "disabled");
    world.desired.withheld = vec![disabled.clone()];
    assert_eq!(world.settled(), Settled::Withheld(vec![disabled]));
    world.secret = None;
    assert_eq!(world.run(), ["revoke all"]);
    world.desired.withheld.clear();
    assert_eq!(world.run(), ["placeholder", "push SecretDeleted"]);
    assert_eq!(world.epochs(), [2]);
}

#[test]
fn a_rotation_is_due() {
    for (name, change, later, cause) in [
        (
            "not_yet",
            (|_| ()) as fn(&mut Desired),
            DAY * 60 - SECOND,
            None,
        ),
        ("renewal", |_| (), DAY * 60, Some("Scheduled")),
        (
            "manual",
            |desired| desired.rotation.renew_before = None,
            DAY * 80,
            None,
        ),
        (
            "annotation",
            |desired| desired.rotation.requests.annotation = Some("x".into()),
            DAY,
            Some("Requested"),
        ),
        (
            "trigger",
            |desired| desired.rotation.requests.trigger = Some("x".into()),
            DAY,
            Some("Requested"),
        ),
        (
            "scope_added",
            |desired| desired.scopes.push("write".into()),
            DAY,
            Some("ScopesChanged"),
        ),
        ("scope_removed", |desired| desired.scopes.clear(), DAY, None),
        (
            "shorter_lifetime",
            |desired| {
                desired.lifetime = Lifetime::For(DAY * 31);
            },
            DAY * 21,
            Some("Scheduled"),
        ),
        (
            "shorter_lifetime_manual",
            |desired| {
                desired.lifetime = Lifetime::For(DAY * 7);
                desired.rotation.renew_before = None;
            },
            DAY * 8,
            Some("Scheduled"),
        ),
        (
            "longer_lifetime",
            |desired| {
                desired.lifetime = Lifetime::For(DAY * 365);
            },
            DAY,
            None,
        ),
    ] {
        let mut world = World::issued();
        change(&mut world.desired);
        world.now += later;
        let expected: Vec<String> = cause
            .map(|cause| vec![format!("push {cause}"), "retire".into()])
            .unwrap_or_default();
        assert_eq!(world.run(), expected, "{name}");
        assert_eq!(
            world.run(),
            Vec::<String>::new(),
            "{name}: one reason causes one rotation"
        );
    }
}

#[test]
fn a_token_without_an_end_is_replaced_once_an_end_is_required() {
    let mut world = World::new();
    world.desired.lifetime = Lifetime::Never;
    world.desired.rotation.renew_before = None;
    world.run();
    assert_eq!(world.facts().expires_at, None);
    world.now += DAY;
    world.desired.lifetime = Lifetime::For(DAY * 30);
    assert_eq!(world.run(), ["push Scheduled", "retire"]);
    assert_eq!(world.run(), Vec::<String>::new());
}

#[test]
fn a_removed_request_asks_for_nothing_and_is_remembered() {
    let mut world = World::rotated();
    world.now += DAY * 2;
    world.desired.rotation.requests.annotation = None;
    assert_eq!(world.run(), Vec::<String>::new());
    world.ask("1");
    assert_eq!(
        world.run(),
        Vec::<String>::new(),
        "the same value again is not a new request"
    );
    world.credential = None;
    world.desired.rotation.requests.annotation = None;
    assert_eq!(world.run(), ["push Expired"]);
    world.ask("1");
    assert_eq!(
        world.run(),
        Vec::<String>::new(),
        "the status remembers it after the Credential was deleted"
    );
}

#[test]
fn a_request_whose_token_died_before_it_was_seen_is_not_done() {
    let mut world = World::issued();
    world.now += DAY;
    world.ask("1");
    let push = world.push();
    world.record("", push.credential);
    world.credential.as_mut().unwrap().spec.tokens[1].mac = "0".repeat(64);
    world.now += DAY;
    assert_eq!(world.run(), ["fence", "push Requested", "retire"]);
    assert_eq!(world.epochs(), [1, 3]);
}

#[test]
fn a_deleted_secret_is_recreated_and_the_lost_token_lives_for_the_overlap() {
    let mut world = World::issued();
    world.secret = None;
    assert_eq!(world.run(), ["placeholder", "push SecretDeleted", "retire"]);
    assert_eq!(world.epochs(), [1, 2]);
}

/// Returns a world with a token in its Secret and `onSecretDeleted: Revoke`.
fn revoking() -> World {
    let mut world = World::issued();
    world.desired.rotation.on_secret_deleted = OnSecretDeleted::Revoke;
    world
}

/// Only time ends this problem, so the operator comes back by itself.
#[test]
fn a_withheld_token_is_issued_from_revoke_issued_before_on() {
    let mut world = World::issued();
    let ahead = Problem::error(Reason::Expired, "/spec/revokeIssuedBefore", "ahead");
    world.desired.withheld = vec![ahead.clone()];
    let moment = world.now + HOUR;
    world.desired.revoke_issued_before = Some(moment);
    let Settled::Refused { problem, until, .. } = world.settled() else {
        panic!("expected to wait")
    };
    assert_eq!((problem, until), (ahead.clone(), Some(moment)));
    world.now = moment;
    assert_eq!(world.settled(), Settled::Withheld(vec![ahead]));
}

#[test]
fn where_deletion_revokes_a_token_that_has_ended_is_not_lost() {
    for (left, steps) in [
        (
            SECOND,
            &["revoke all", "placeholder", "push SecretDeleted"][..],
        ),
        (SignedDuration::ZERO, &["placeholder", "push SecretDeleted"]),
    ] {
        let mut world = revoking();
        world.now = world.entries()[0].expires_at.unwrap().0 - left;
        world.secret = None;
        assert_eq!(world.run(), steps, "{left:#}");
    }
}

#[test]
fn where_deletion_revokes_no_token_survives_it() {
    let mut world = revoking();
    world.secret = None;
    assert_eq!(
        world.run(),
        ["revoke all", "placeholder", "push SecretDeleted"]
    );
    assert_eq!(world.epochs(), [2]);
    assert!(!world.secret.as_ref().unwrap().is_placeholder());
}

type Refusal<'a> = (&'static str, &'a dyn Fn(&mut World));

#[test]
fn where_deletion_revokes_it_does_so_before_anything_can_refuse_another_token() {
    let past = |world: &World| Lifetime::Until(world.now);
    let rival = Problem::error(Reason::SecretConflict, "/spec", "the older one's");
    let refusals: [Refusal<'_>; 3] = [
        ("a rival", &|world| {
            world.desired.rival = Some(rival.clone())
        }),
        ("a lifetime that has ended", &|world| {
            world.desired.lifetime = past(world);
        }),
        ("the limit per hour", &|world| {
            let memory = &mut world.credential.as_mut().unwrap().spec.memory;
            memory.minted_at = vec![Moment(world.now); 10];
        }),
    ];
    for (name, refuse) in refusals {
        let mut world = revoking();
        let before = world.credential.clone().unwrap().spec;
        refuse(&mut world);
        world.secret = None;
        assert_eq!(world.run(), ["revoke all"], "{name}");
        let spec = &world.credential.as_ref().unwrap().spec;
        assert_eq!(world.entries(), [], "{name}");
        assert_eq!((spec.high, &spec.base), (before.high, &before.base));
        assert!(world.settled().facts().is_none(), "{name}");
    }
}

/// For example, a token over a limit is still accepted.
#[test]
fn where_deletion_revokes_it_does_so_even_if_no_token_may_be_issued_now() {
    let too_long = Problem::error(Reason::LimitExceeded, "/spec/lifetime", "too long");
    let withheld = |world: &mut World| {
        world.desired.withheld = vec![too_long.clone()];
        // The client no longer has a system user.
        world.desired.principal = String::new();
    };
    let mut world = revoking();
    withheld(&mut world);
    assert_eq!(
        world.run(),
        [""; 0],
        "the token stays while its Secret exists"
    );
    world.secret = None;
    assert_eq!(world.run(), ["revoke all"]);
    assert_eq!(world.entries(), []);
    let Settled::Withheld(problems) = world.settled() else {
        panic!("expected the reason why there is no other token")
    };
    assert_eq!(problems, std::slice::from_ref(&too_long));
    let mut overlapping = World::new();
    overlapping.run();
    let before = overlapping.entries().to_vec();
    withheld(&mut overlapping);
    overlapping.secret = None;
    assert_eq!(overlapping.run(), [""; 0]);
    assert_eq!(overlapping.entries(), before);
}

#[test]
fn where_deletion_revokes_another_secret_of_that_name_is_a_deletion_too() {
    let foreign = json!({ "name": "ci-token", "uid": "another", "resourceVersion": "9" });
    let mut world = revoking();
    let relabelled = |metadata: &Value| {
        let mut metadata = metadata.clone();
        metadata["annotations"] = Value::Null;
        metadata["ownerReferences"] = Value::Null;
        metadata
    };
    world.edit(|secret| secret["metadata"] = relabelled(&secret["metadata"]));
    assert_eq!(world.run(), [""; 0], "the same Secret with other labels");
    world.edit(|secret| secret["metadata"] = foreign);
    assert_eq!(world.run(), ["revoke all"]);
    assert_eq!(world.refused().reason, Reason::SecretConflict);
}

#[test]
fn where_deletion_revokes_it_does_so_while_finalizers_hold_the_secret() {
    let mut world = revoking();
    world.edit(|secret| secret["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
    assert_eq!(world.run(), ["revoke all"]);
    assert!(matches!(world.settled(), Settled::Waiting { .. }));
}

/// An operator with an outdated view created it after the Secret with the token was deleted.
#[test]
fn where_deletion_revokes_another_placeholder_proves_the_deletion() {
    for content in [None, Some("eA==")] {
        let mut world = revoking();
        world.secret = None;
        let late = SecretObject::placeholder(&target().secret_key(), &owner(), "Opaque");
        world.store("", Some(late));
        if let Some(content) = content {
            world.edit(|secret| secret["data"] = json!({ "token": content }));
        }
        assert_eq!(world.run(), ["revoke all", "push SecretDeleted"]);
        assert_eq!(world.epochs(), [2]);
    }
}

#[test]
fn where_deletion_revokes_a_token_that_was_never_written_is_not_a_deletion() {
    let mut world = World::new();
    world.desired.rotation.on_secret_deleted = OnSecretDeleted::Revoke;
    let placeholder = world.plan();
    world.take(placeholder);
    let push = world.push();
    world.record("", push.credential);
    assert!(matches!(world.settled(), Settled::Waiting { .. }));
    world.now += HOUR;
    assert_eq!(world.run(), ["fence", "push Initial", "retire"]);
}

#[test]
fn a_request_stays_done_after_its_token_was_revoked() {
    let mut world = World::issued();
    world.now += DAY;
    world.ask("1");
    assert_eq!(world.run(), ["push Requested", "retire"]);
    world.desired.rotation.on_secret_deleted = OnSecretDeleted::Revoke;
    // The status was not written in time.
    world.owner.as_mut().unwrap().rotation_nonce = None;
    world.desired.rotation.requests.annotation = None;
    world.secret = None;
    assert_eq!(
        world.run(),
        ["revoke all", "placeholder", "push SecretDeleted"]
    );
    world.ask("1");
    assert_eq!(
        world.run(),
        [""; 0],
        "the same value again is not a new request"
    );
}

/// After a crash at any step, the recreated Secret does not count as leaked. A user's later deletion does.
#[test]
fn a_crash_while_the_secret_is_recreated_revokes_nothing() {
    let retyped = || {
        let mut world = revoking();
        world.now += HOUR;
        world.edit(|secret| secret["type"] = "kubernetes.io/basic-auth".into());
        let recreate = world.recreate();
        world.announce(&recreate);
        (world, recreate.placeholder)
    };
    let (mut announced, _) = retyped();
    assert_eq!(
        announced.run(),
        ["recreate", "push SecretDeleted", "retire"]
    );
    let (mut deleted, _) = retyped();
    deleted.secret = None;
    assert_eq!(
        deleted.run(),
        ["placeholder", "push SecretDeleted", "retire"]
    );
    let (mut created, placeholder) = retyped();
    created.store("", Some(placeholder));
    assert_eq!(created.run(), ["push SecretDeleted", "retire"]);
    let (mut recorded, placeholder) = retyped();
    recorded.store("", Some(placeholder));
    let push = recorded.push();
    recorded.record("", push.credential);
    recorded.now += HOUR;
    assert_eq!(recorded.run(), ["fence", "push SecretDeleted", "retire"]);
    for mut world in [announced, deleted, created, recorded] {
        assert_eq!(world.epochs()[0], 1, "the old token is still accepted");
        world.secret = None;
        assert_eq!(world.run()[0], "revoke all", "a user's deletion");
    }
}

#[test]
fn after_a_reverted_type_the_next_deletion_counts_as_the_users() {
    let mut world = revoking();
    let sound = world.secret.clone();
    world.edit(|secret| secret["type"] = "kubernetes.io/basic-auth".into());
    let recreate = world.recreate();
    world.announce(&recreate);
    world.secret = sound;
    assert_eq!(world.run(), ["retire"], "nothing is to be recreated");
    let memory = &world.credential.as_ref().unwrap().spec.memory;
    assert_eq!(memory.replacing, None);
    assert_eq!(world.entries()[0].not_after, None);
    world.secret = None;
    assert_eq!(world.run()[0], "revoke all");
}

#[test]
fn a_secret_is_not_recreated_if_no_token_can_be_issued() {
    let mut world = World::issued();
    world.edit(|secret| secret["type"] = "kubernetes.io/basic-auth".into());
    world.desired.lifetime = Lifetime::Until(world.now);
    assert_eq!(world.run(), ["end"]);
    assert_eq!(world.refused().reason, Reason::Expired);
    assert_eq!(world.run(), [""; 0]);
}

#[rstest]
#[case::junk("eA==")]
#[case::empty("")]
fn a_foreign_token_is_overwritten(#[case] content: &str) {
    let mut world = World::issued();
    world.edit(|secret| secret["data"]["token"] = content.into());
    let cause = if content.is_empty() {
        "push SecretDeleted"
    } else {
        "push SecretChanged"
    };
    assert_eq!(world.run(), [cause, "retire"]);
    assert_eq!(world.epochs(), [1, 2]);
}

#[test]
fn an_old_copy_of_the_secret_is_replaced() {
    let mut world = World::issued();
    let copy = world.secret.clone();
    world.now += DAY;
    world.ask("1");
    world.run();
    let version = world.secret.as_ref().unwrap().version();
    world.store("", copy);
    assert_ne!(world.secret.as_ref().unwrap().version(), version);
    assert_eq!(world.run(), ["push SecretChanged", "retire"]);
    assert_eq!(world.epochs(), [1, 2, 3]);
}

#[test]
fn entries_newer_than_the_secrets_token_are_dropped() {
    let mut world = World::issued();
    world.now += DAY;
    world.ask("1");
    let push = world.push();
    world.record("", push.credential);
    world.edit(|secret| secret["metadata"]["labels"]["touched"] = "by another".into());
    assert_eq!(
        world.run(),
        ["push Requested", "retire"],
        "the attempt is repeated for the same reason"
    );
    assert_eq!(world.epochs(), [1, 3], "2 was never in the Secret");
}

#[test]
fn an_expired_token_is_replaced() {
    let mut world = World::issued();
    world.now += DAY * 90;
    assert_eq!(world.run(), ["push Expired"]);
    assert_eq!(world.epochs(), [2]);
}

/// With `policy: Manual`, a token ends after its lifetime because its owner chose so.
#[test]
fn a_manual_token_reports_its_expiry() {
    for kind in [SecretKind::ServiceToken, SecretKind::ClientSecret] {
        let mut world = World::new();
        world.desired.kind = kind;
        world.desired.rotation.renew_before = None;
        assert_eq!(world.run(), ["placeholder", "push Initial"]);
        world.now += DAY * 90 - SECOND;
        assert_eq!(world.run(), Vec::<String>::new());
        world.now += SECOND;
        let problem = world.refused();
        assert_eq!(problem.reason, Reason::Expired);
        assert!(
            problem.message.contains("symbolon.dev/rotate"),
            "says how to rotate: {}",
            problem.message
        );
        let before = world.secret.clone();
        world.ask("1");
        assert_eq!(world.run(), ["push Expired"]);
        assert!(world.secret != before, "it is renewed on request");
        assert!(matches!(world.settled(), Settled::Done { .. }));
    }
}

/// The request was for exactly this token, so it does not ask for another one.
#[test]
fn a_manual_token_that_a_request_issued_reports_its_expiry_too() {
    let mut world = World::rotated();
    world.desired.rotation.renew_before = None;
    world.now += DAY * 100;
    assert_eq!(world.refused().reason, Reason::Expired);
    assert_eq!(world.run(), [""; 0]);
}

#[test]
fn a_manual_token_reports_its_expiry_although_an_older_one_is_still_accepted() {
    let mut world = World::issued();
    world.desired.rotation.renew_before = None;
    world.desired.rotation.overlap = DAY * 60;
    world.desired.lifetime = Lifetime::For(DAY * 7);
    world.ask("1");
    assert_eq!(world.run(), ["push Requested", "retire"]);
    world.now += DAY * 7;
    assert_eq!(world.good_by_the_spec(), [1]);
    assert_eq!(world.refused().reason, Reason::Expired);
    assert_eq!(world.run(), [""; 0]);
}

#[test]
fn a_deleted_secret_asks_for_another_token_whatever_the_policy() {
    let mut world = World::issued();
    world.desired.rotation.renew_before = None;
    world.now += DAY * 90;
    assert_eq!(world.refused().reason, Reason::Expired);
    world.secret = None;
    assert_eq!(world.run(), ["placeholder", "push SecretDeleted"]);
}

/// Returns a world that was rotated now, with `retire: WhenAdopted` and a quiet period of an hour.
fn adopting() -> World {
    let mut world = World::issued();
    world.now += DAY;
    world.desired.rotation.adoption = Some(HOUR);
    world.ask("1");
    assert_eq!(world.run(), ["push Requested", "retire"]);
    world
}

impl World {
    /// Reports uses as servers do: epoch, and the minutes from now to the first and to the last use.
    fn used(&mut self, uses: &[(i64, i64, i64)]) {
        let at = |minutes: i64| Moment(self.now + SignedDuration::from_mins(minutes));
        let uses = uses.iter().map(|(epoch, first, last)| TokenUse {
            epoch: *epoch,
            first_used: at(*first),
            last_used: at(*last),
        });
        let uses = uses.collect();
        self.credential.as_mut().unwrap().status = Some(CredentialStatus {
            uses,
            ..CredentialStatus::default()
        });
    }

    fn requeue_in_minutes(&mut self) -> i64 {
        match self.settled() {
            Settled::Done {
                requeue_at: Some(at),
                ..
            } => at.duration_since(self.now).as_mins(),
            other => panic!("expected a time to come back: {other:?}"),
        }
    }
}

/// The previous token ends once the new one is in use and the previous one is not. Servers report both at least every
/// ten minutes. A report of the new token shows that reports arrive, so that silence about the previous one means that
/// it is not used. The operator trusts this after five more minutes without a report of the previous token.
#[test]
fn a_token_in_use_retires_only_an_unused_one() {
    let deadline = 24 * 60;
    for (name, uses, after, expected) in [
        ("no reports", &[][..], deadline, None),
        (
            "only the old token is in use",
            &[(1, -600, -590)],
            deadline,
            None,
        ),
        (
            "adopted, the old token never used",
            &[(2, 0, 60)],
            70,
            Some(70),
        ),
        (
            "adopted, the old token unused before",
            &[(1, -600, -300), (2, 0, 64)],
            70,
            Some(70),
        ),
        (
            "adopted, the old token used since",
            &[(1, -600, 30), (2, 0, 95)],
            100,
            Some(100),
        ),
        (
            "the proving report came late",
            &[(1, -600, 30), (2, 0, 300)],
            305,
            Some(305),
        ),
        (
            "no report since the silence began",
            &[(1, -600, -300), (2, 0, 0)],
            deadline,
            None,
        ),
        (
            "no report after the quiet period",
            &[(1, -600, 30), (2, 0, 89)],
            deadline,
            None,
        ),
        (
            "the new token's use far in the future",
            &[(1, -600, -300), (2, 0, 90_000)],
            deadline,
            None,
        ),
        (
            "the old token is used until the deadline",
            &[(1, -600, 23 * 60), (2, 0, 0)],
            deadline,
            None,
        ),
        (
            "the old token's use far in the future",
            &[(1, -600, 90_000), (2, 0, 0)],
            deadline,
            None,
        ),
        ("a use of another epoch", &[(7, 0, 0)], deadline, None),
    ] {
        let mut world = adopting();
        world.used(uses);
        assert_eq!(world.requeue_in_minutes(), after, "{name}");
        let end = world.entries()[0].not_after;
        if let Some(minutes) = expected {
            world.now += SignedDuration::from_mins(minutes) - SECOND;
            assert_eq!(world.run(), Vec::<String>::new(), "{name}: not yet");
            world.now += SECOND;
            assert_eq!(world.run(), ["retire quiet"], "{name}");
            assert_eq!(
                world.entries()[0].not_after,
                Some(Moment(world.now)),
                "{name}"
            );
            assert!(
                world.entries()[0].not_after < end,
                "an end only moves to an earlier time"
            );
            assert!(world.facts().previous.is_none());
        } else {
            world.now += DAY - SECOND;
            assert_eq!(world.run(), Vec::<String>::new(), "{name}");
            assert_eq!(world.entries()[0].not_after, end, "{name}");
        }
    }
}

#[test]
fn a_short_quiet_period_is_reported_more_often() {
    let mut world = adopting();
    world.desired.rotation.adoption = Some(SignedDuration::from_mins(1));
    world.used(&[(2, 0, 1)]);
    world.now += SignedDuration::from_secs(69);
    assert_eq!(world.run(), Vec::<String>::new());
    world.now += SECOND;
    assert_eq!(world.run(), ["retire quiet"]);
}

/// Reports of a token in steady use continue while the operator waits, and never delay it.
#[test]
fn a_token_in_steady_use_retires_the_other_in_an_interval_and_a_half() {
    for first in 0..10 {
        for every in [9, 10] {
            let mut world = adopting();
            let (begin, mut retired) = (world.now, None);
            for minute in 0..=90 {
                world.now = begin;
                let reports = (minute - first).max(0) / every;
                let last = if minute < first {
                    0
                } else {
                    first + reports * every
                };
                world.used(&[(2, 0, last)]);
                world.now = begin + SignedDuration::from_mins(minute);
                if !world.run().is_empty() {
                    retired = Some(minute);
                    break;
                }
            }
            let minute = retired.unwrap_or_else(|| panic!("{first} {every}: never"));
            assert!((70..=75).contains(&minute), "{first} {every}: {minute}");
        }
    }
}

#[test]
fn adoption_retires_nothing_unless_requested() {
    let mut world = adopting();
    world.desired.rotation.adoption = None;
    world.used(&[(2, 0, 0)]);
    assert_eq!(world.requeue_in_minutes(), 24 * 60);
    world.now += DAY - SECOND;
    assert_eq!(world.run(), Vec::<String>::new());
}

/// While the API server was unavailable no server could report, so silence proves nothing.
#[test]
fn silence_while_reports_were_incomplete_does_not_retire_a_token() {
    let mut world = adopting();
    world.used(&[(2, 0, 99)]);
    world.watching_since = world.now + SignedDuration::from_mins(40);
    assert_eq!(world.requeue_in_minutes(), 24 * 60, "a minute too early");
    world.used(&[(2, 0, 100)]);
    world.now += SignedDuration::from_mins(109);
    assert_eq!(world.run(), Vec::<String>::new());
    world.now += SignedDuration::from_mins(1);
    assert_eq!(world.run(), ["retire quiet"]);
}

#[test]
fn the_next_rotation_does_not_wait_once_adoption_ended_the_overlap() {
    let mut world = adopting();
    world.used(&[(2, 0, 60)]);
    world.ask("2");
    world.now += SignedDuration::from_mins(70);
    assert_eq!(world.run(), ["retire quiet", "push Requested", "retire"]);
    assert_eq!(world.epochs(), [2, 3]);
}

/// A reconcile while a rotation waits schedules the next one no later than the time at which an older token counts as
/// unused.
#[test]
fn a_rotation_that_waits_for_room_goes_on_when_an_older_token_falls_quiet() {
    let mut world = adopting();
    for request in ["2", "3"] {
        world.ask(request);
        world.run();
    }
    assert_eq!(world.epochs(), [1, 2, 3, 4]);
    world.used(&[(4, 0, 60)]);
    world.ask("4");
    world.now += SignedDuration::from_mins(62);
    assert_eq!(world.run(), Vec::<String>::new());
    let Settled::Refused { until, .. } = world.settled() else {
        panic!()
    };
    assert_eq!(
        until.unwrap().duration_since(world.now),
        SignedDuration::from_mins(8)
    );
    world.now = until.unwrap();
    assert_eq!(world.run(), ["retire quiet", "push Requested", "retire"]);
}

#[test]
fn uses_are_reported_by_day() {
    let mut world = adopting();
    world.used(&[(1, -600, 5), (2, 1, 6)]);
    let facts = world.facts();
    assert_eq!(
        facts.last_used,
        Some("2026-01-02".parse().map(Day).unwrap())
    );
    assert_eq!(facts.previous.unwrap().last_used, facts.last_used);
    world.used(&[(1, -600, 20)]);
    assert_eq!(
        world.facts().last_used,
        None,
        "the new token was not used yet"
    );
}

#[test]
fn a_token_that_is_refused_for_good_is_replaced() {
    for (name, change) in [
        (
            "client_recreated",
            (|desired| desired.client.uid = "new".into()) as fn(&mut Desired),
        ),
        ("client_renamed", |desired| {
            desired.client.name = "new".into();
        }),
        ("principal_changed", |desired| {
            desired.principal = "team:other".into();
        }),
        ("revoked_before", |desired| {
            desired.revoke_issued_before = Some("2026-01-01T12:00:00Z".parse().unwrap());
        }),
    ] {
        let mut world = World::issued();
        world.now += DAY;
        change(&mut world.desired);
        assert_eq!(world.run(), ["push Expired"]);
        assert_eq!(world.epochs(), [2], "{name}: and pruned");
    }
}

#[test]
fn an_entry_without_the_right_seal_counts_as_missing() {
    let mut world = World::issued();
    world.now += DAY;
    world.credential.as_mut().unwrap().spec.tokens[0]
        .scopes
        .push("admin".into());
    assert_eq!(world.run(), ["push Expired"]);
    assert_eq!(world.epochs(), [2]);
}

#[test]
fn no_token_is_issued_that_would_be_refused_at_once() {
    let mut world = World::new();
    world.now += SignedDuration::from_millis(500);
    world.desired.revoke_issued_before = Some(world.now);
    let Settled::Waiting { until, .. } = world.settled() else {
        panic!("expected to wait for the next second")
    };
    world.now = until;
    assert_eq!(world.run(), ["placeholder", "push Initial"]);
}

#[test]
fn an_expiry_in_the_past_issues_nothing() {
    let mut world = World::new();
    world.desired.lifetime = Lifetime::Until(world.now);
    assert_eq!(world.refused().reason, Reason::Expired);
}

#[test]
fn epochs_continue_from_the_status_after_the_credential_was_deleted() {
    let mut world = World::rotated();
    world.credential = None;
    assert_eq!(world.run(), ["push Expired"]);
    assert_eq!(world.epochs(), [3]);
}

#[test]
fn a_status_cannot_exhaust_the_epoch() {
    for (epoch, believed) in [
        (json!(7), 7),
        (json!(i64::MAX), 0),
        (json!(-1), 0),
        (json!("7"), 0),
        (json!(null), 0),
    ] {
        let view =
            OwnerView::of(&json!({ "metadata": { "uid": "u" }, "status": { "epoch": epoch } }));
        assert_eq!(view.epoch, believed, "{epoch}");
    }
}

#[test]
fn a_credential_of_another_owner_is_deleted_in_exactly_that_state() {
    let mut world = World::issued();
    world.credential.as_mut().unwrap().spec.identity.name = "another".into();
    let version = world
        .credential
        .as_ref()
        .unwrap()
        .metadata
        .resource_version
        .clone()
        .unwrap();
    let Step::Discard(only) = world.plan() else {
        panic!("discards")
    };
    assert_eq!(
        only,
        Precondition {
            uid: "credential".into(),
            resource_version: version
        }
    );
    assert_eq!(world.run(), ["discard", "push Expired"]);
}

#[test]
fn the_operators_fields_are_repaired_and_those_of_others_stay() {
    for (what, change) in [
        (
            "issuer",
            (|secret| secret["data"]["issuer"] = "eA==".into()) as fn(&mut Value),
        ),
        ("missing issuer", |secret| {
            drop(secret["data"].as_object_mut().unwrap().remove("issuer"));
        }),
        ("label", |secret| {
            secret["metadata"]["labels"] = json!({ "app": "theirs" });
        }),
        ("annotation", |secret| {
            secret["metadata"]["annotations"] = json!({ "note": "theirs" });
        }),
    ] {
        let mut world = World::issued();
        world.edit(|secret| {
            secret["metadata"]["labels"]["app"] = "theirs".into();
            secret["metadata"]["annotations"]["note"] = "theirs".into();
            secret["metadata"]["finalizers"] = json!(["theirs"]);
            secret["metadata"]["ownerReferences"]
                .as_array_mut()
                .unwrap()
                .insert(0, json!({ "uid": "theirs" }));
            secret["data"]["theirs"] = "eA==".into();
            secret["newerField"] = 1.into();
        });
        assert_eq!(
            world.run(),
            Vec::<String>::new(),
            "none of it is the operator's"
        );
        let token = world.text("token");
        world.edit(change);
        assert_eq!(world.run(), ["repair"], "{what}");
        assert_eq!(
            (world.text("issuer").unwrap(), world.text("token")),
            ("https://id.example.com".to_owned(), token)
        );
        let secret = Value::Object(world.secret.as_ref().unwrap().expose().clone());
        assert_eq!(secret["metadata"]["labels"][LABEL_MANAGED], "true");
        assert_eq!(secret["metadata"]["finalizers"][0], "theirs");
        assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], "theirs");
        assert_eq!(
            (&secret["data"]["theirs"], &secret["newerField"]),
            (&json!("eA=="), &json!(1))
        );
    }
}

#[test]
fn an_alias_holds_the_token_too_and_a_former_one_does_not() {
    let mut world = World::issued();
    world.desired.key_alias = Some("API_TOKEN".into());
    assert_eq!(world.run(), ["repair"]);
    assert_eq!(world.text("API_TOKEN"), world.text("token"));
    world.desired.key_alias = Some("OTHER".into());
    assert_eq!(world.run(), ["repair"]);
    assert_eq!(
        (world.text("API_TOKEN"), world.text("OTHER")),
        (None, world.text("token"))
    );
    world.now += DAY;
    world.ask("1");
    world.desired.key_alias = None;
    world.run();
    assert_eq!(world.text("OTHER"), None);
}

#[test]
fn an_edited_template_repairs_the_secret_and_makes_no_token() {
    let mut world = World::issued();
    let token = world.text("token").unwrap();
    let template = |text: &str| {
        let template = json!({ "data": { "env": text } });
        Some(std::sync::Arc::new(
            serde_json::from_value(template).unwrap(),
        ))
    };
    world.desired.template = template("A=$(token)");
    assert_eq!(world.run(), ["repair"]);
    assert_eq!(world.text("env"), Some(format!("A={token}")));
    world.desired.template = template("B=$(token|base64)");
    assert_eq!(world.run(), ["repair"]);
    assert_eq!(
        world.text("env"),
        Some(format!("B={}", STANDARD.encode(&token)))
    );
    world.desired.template = None;
    assert_eq!(world.run(), ["repair"]);
    assert_eq!(
        (world.text("env"), world.text("token")),
        (None, Some(token))
    );
}

#[test]
fn another_type_recreates_the_secret_and_revokes_no_token() {
    for on_secret_deleted in [OnSecretDeleted::Overlap, OnSecretDeleted::Revoke] {
        let mut world = World::issued();
        world.desired.rotation.on_secret_deleted = on_secret_deleted;
        let template = json!({ "type": "servicebinding.io/oauth2", "data": { "env": "$(token)" } });
        world.desired.template = Some(std::sync::Arc::new(
            serde_json::from_value(template).unwrap(),
        ));
        let Recreate {
            only, placeholder, ..
        } = world.recreate();
        assert_eq!(only, world.secret.as_ref().unwrap().precondition());
        assert!(placeholder.has_type("servicebinding.io/oauth2"));
        assert!(!placeholder.has_text("token") && !placeholder.has_text("env"));
        assert_eq!(world.run(), ["recreate", "push SecretDeleted", "retire"]);
        assert_eq!(world.epochs(), [1, 2]);
    }
}

#[test]
fn renaming_moves_the_token_and_then_deletes_the_previous_secret() {
    for on_secret_deleted in [OnSecretDeleted::Overlap, OnSecretDeleted::Revoke] {
        let mut world = World::issued();
        world.desired.rotation.on_secret_deleted = on_secret_deleted;
        world.rename("renamed");
        let moved = [
            "placeholder",
            "push SecretChanged",
            "retire",
            "delete former",
        ];
        assert_eq!(world.run(), moved);
        assert_eq!(world.epochs(), [1, 2], "the old token is still accepted");
        assert_eq!(world.run(), [""; 0]);
    }
}

#[test]
fn only_a_secret_created_for_exactly_this_owner_is_deleted() {
    let edits: [fn(&mut Value); 3] = [
        |secret| secret["metadata"]["ownerReferences"][0]["uid"] = "another".into(),
        |secret| secret["metadata"]["ownerReferences"] = json!([]),
        |secret| secret["metadata"]["annotations"][ANNOTATION_OWNER] = "OAuthClient/ci".into(),
    ];
    for edit in edits {
        let mut world = World::issued();
        world.edit(edit);
        world.rename("renamed");
        assert_eq!(world.run(), ["placeholder", "push SecretChanged", "retire"]);
    }
}

#[test]
fn the_older_of_two_owners_gets_the_secret() {
    let mut world = World::new();
    let rival = Problem::error(
        Reason::SecretConflict,
        "/spec/secret/name",
        "the older one's",
    );
    world.desired.rival = Some(rival.clone());
    assert_eq!(world.refused(), rival);
    let mut world = World::issued();
    world.desired.rival = Some(rival);
    assert_eq!(world.run(), [""; 0], "the present owner keeps the Secret");
}

#[test]
fn a_client_secret_has_four_keys() {
    let mut world = World::new();
    world.desired.kind = SecretKind::ClientSecret;
    world.desired.lifetime = Lifetime::Never;
    world.desired.rotation.renew_before = None;
    world.desired.scopes.clear();
    world.run();
    assert!(world.text("client-secret").unwrap().starts_with("symsec_"));
    for (key, text) in [
        ("client-id", "team.app"),
        ("issuer", "https://id.example.com"),
        ("token-url", "https://id.example.com/connect/token"),
    ] {
        assert_eq!(world.text(key).as_deref(), Some(text), "{key}");
    }
    assert_eq!(world.text("token"), None);
    let Settled::Done { requeue_at, .. } = world.settled() else {
        panic!()
    };
    assert_eq!(requeue_at, None, "nothing happens by time alone");
}

#[test]
fn a_secret_of_another_type_is_deleted_in_exactly_that_state_and_recreated() {
    let mut world = World::issued();
    world.edit(|secret| secret["type"] = "kubernetes.io/basic-auth".into());
    let Recreate {
        only, placeholder, ..
    } = world.recreate();
    assert_eq!(only, world.secret.as_ref().unwrap().precondition());
    assert!(placeholder.is_placeholder() && placeholder.text("token").is_none());
    assert_eq!(world.run(), ["recreate", "push SecretDeleted", "retire"]);
    assert_eq!(world.epochs(), [1, 2]);
}

#[test]
fn an_immutable_secret_is_kept_and_reported_when_it_must_change() {
    let mut world = World::issued();
    world.edit(|secret| secret["immutable"] = true.into());
    assert_eq!(world.run(), Vec::<String>::new(), "its token is accepted");
    world.now += DAY;
    world.ask("1");
    let high = world.credential.as_ref().unwrap().spec.high;
    assert_eq!(world.refused().reason, Reason::SecretImmutable);
    assert_eq!(
        world.credential.as_ref().unwrap().spec.high,
        high,
        "nothing is recorded that cannot be revealed"
    );
    assert!(
        world.settled().facts().is_some(),
        "the status still describes the token"
    );
}

#[test]
fn a_secret_that_is_being_deleted_is_waited_for() {
    let mut world = World::issued();
    world.edit(|secret| secret["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into());
    assert!(matches!(world.settled(), Settled::Waiting { .. }));
}

#[test]
fn ten_tokens_an_hour_and_no_more() {
    let mut world = World::issued();
    for epoch in 2..=10 {
        let push = {
            world.edit(|secret| secret["metadata"]["labels"]["touched"] = epoch.into());
            world.ask(&epoch.to_string());
            world.push()
        };
        assert_eq!(push.epoch, epoch);
        world.record("", push.credential);
    }
    world.edit(|secret| secret["metadata"]["labels"]["touched"] = "again".into());
    assert_eq!(world.epochs(), [1, 10], "dropped entries count too");
    let problem = world.refused();
    assert_eq!(problem.reason, Reason::MintLimitReached);
    assert!(
        problem.message.contains("2026-01-01T01:00:00Z"),
        "says when it ends: {}",
        problem.message
    );
    let Settled::Refused { until, .. } = world.settled() else {
        panic!()
    };
    world.now = until.unwrap();
    assert_eq!(world.run(), ["push Requested", "retire"]);
}

/// A user deletes the Secret every minute for hours.
#[test]
fn ten_tokens_in_any_hour_whatever_a_deletion_says() {
    for on_secret_deleted in [OnSecretDeleted::Overlap, OnSecretDeleted::Revoke] {
        for overlap in [SignedDuration::ZERO, DAY] {
            let mut world = World::new();
            world.desired.rotation.on_secret_deleted = on_secret_deleted;
            world.desired.rotation.overlap = overlap;
            let mut made = Vec::new();
            for _ in 0..200 {
                let high = |world: &World| world.credential.as_ref().map_or(0, |it| it.spec.high);
                let before = high(&world);
                world.run();
                made.extend((before..high(&world)).map(|_| world.now));
                world.secret = None;
                world.now += SignedDuration::from_mins(1);
            }
            let in_an_hour = |start: &Timestamp| {
                let hour = *start..*start + HOUR;
                made.iter().filter(|at| hour.contains(at)).count()
            };
            let most = made.iter().map(in_an_hour).max();
            assert!(most <= Some(10), "{on_secret_deleted:?}: {most:?}");
            let is_going_on = made.last().is_some_and(|last| world.now - HOUR * 2 < *last);
            assert!(is_going_on || overlap == DAY, "{on_secret_deleted:?}");
        }
    }
}

#[test]
fn a_wrong_clock_delays_a_token_by_two_hours_at_most() {
    let minted = |world: &mut World, at: Timestamp| {
        let memory = &mut world.credential.as_mut().unwrap().spec.memory;
        memory.minted_at = vec![Moment(at); 10];
        world.ask("1");
        world.plan()
    };
    for (ahead, counts) in [(HOUR - SECOND, true), (HOUR, false), (DAY * 365, false)] {
        let mut world = World::issued();
        let at = world.now + ahead;
        let step = minted(&mut world, at);
        assert_eq!(matches!(step, Step::Settle(_)), counts, "{ahead:#}");
    }
}

#[test]
fn mints_of_an_older_release_are_counted_by_entries() {
    let mut world = World::issued();
    world.ask("1");
    assert_eq!(world.run(), ["push Requested", "retire"]);
    let spec = &mut world.credential.as_mut().unwrap().spec;
    spec.memory = CredentialMemory::default();
    spec.high = 5000;
    world.secret = None;
    assert_eq!(world.run(), ["placeholder", "push SecretDeleted", "retire"]);
    let memory = &world.credential.as_ref().unwrap().spec.memory;
    assert_eq!(memory.minted_at.len(), 3);
}

#[test]
fn a_recreated_credential_counts_mints_from_its_creation() {
    let mut world = World::issued();
    world.owner.as_mut().unwrap().epoch = 5000;
    world.credential = None;
    assert_eq!(world.run(), ["push Expired"]);
    assert_eq!(world.epochs(), [5001]);
}

#[test]
fn at_most_eight_entries_and_two_of_them_without_an_end() {
    let mut world = World::issued();
    for _ in 2..=8 {
        world.now += SignedDuration::from_hours(1);
        world.secret = None;
        let placeholder = world.plan();
        world.take(placeholder);
        let push = world.push();
        world.record("", push.credential);
        assert!(
            world
                .entries()
                .iter()
                .filter(|entry| entry.not_after.is_none())
                .count()
                <= 2
        );
    }
    assert_eq!(world.epochs().len(), 8);
}

/// Twelve deletions in a row: the Secret is recreated each time until the limit of an hour.
#[test]
fn a_deleted_secret_is_recreated_by_ending_the_token_that_was_unused_for_longest() {
    let mut world = World::issued();
    let delete = |world: &mut World| {
        world.now += SignedDuration::from_secs(30);
        world.secret = None;
        world.run()
    };
    for _ in 2..=8 {
        assert_eq!(
            delete(&mut world),
            ["placeholder", "push SecretDeleted", "retire"]
        );
    }
    assert_eq!(world.epochs(), [1, 2, 3, 4, 5, 6, 7, 8]);
    // All but the second and the fourth were seen by a server, the third before all others.
    let uses = [
        (3, -9, -8),
        (1, -9, -7),
        (5, -9, -1),
        (6, -9, -1),
        (7, -9, -1),
        (8, -9, -1),
    ];
    world.used(&uses);
    let makes_room = ["placeholder", "make room", "push SecretDeleted", "retire"];
    assert_eq!(delete(&mut world), makes_room);
    assert_eq!(
        world.epochs(),
        [1, 3, 4, 5, 6, 7, 8, 9],
        "never used, the oldest of them"
    );
    assert_eq!(delete(&mut world), makes_room);
    assert_eq!(world.epochs(), [1, 3, 5, 6, 7, 8, 9, 10], "never used");
    world.now += SignedDuration::from_mins(59);
    let earlier = uses.map(|(epoch, first, last)| (epoch, first - 60, last - 60));
    let uses: Vec<_> = earlier.into_iter().chain([(9, -2, -1)]).collect();
    world.used(&uses);
    assert_eq!(delete(&mut world), makes_room);
    assert_eq!(
        world.epochs(),
        [1, 5, 6, 7, 8, 9, 10, 11],
        "used before all others"
    );
}

#[test]
fn nothing_that_is_printed_shows_a_token() {
    let mut world = World::new();
    let placeholder = world.plan();
    world.take(placeholder);
    let push = world.push();
    let token = push.secret.text("token").unwrap();
    let printed = format!("{push:?} {:?} {:#?}", push.secret, push.credential);
    let secret_part = &token.expose()[23..];
    assert!(!printed.contains(secret_part));
    let encoded = STANDARD.encode(token.expose());
    assert!(!printed.contains(&encoded));
}

impl World {
    /// Revokes the token of this epoch by its id, as a server does.
    fn revoke(&mut self, epoch: i64) {
        let credential = self.credential.as_mut().unwrap();
        let mut tokens = credential.spec.tokens.iter();
        let entry = tokens.find(|entry| entry.epoch == epoch).unwrap();
        let id = entry.token_id.clone();
        credential.status.get_or_insert_default().revoked.push(id);
    }

    /// Returns the epochs of the tokens that are accepted without reading the status, as older releases and restores
    /// see them.
    fn good_by_the_spec(&self) -> Vec<i64> {
        let entries = self.entries().iter();
        let good = entries.filter(|entry| {
            let ends = [entry.expires_at, entry.not_after].into_iter().flatten();
            ends.map(|end| end.0).all(|end| self.now < end)
        });
        good.map(|entry| entry.epoch).collect()
    }
}

#[test]
fn a_revoked_previous_token_ends_in_the_spec_and_the_current_one_stays() {
    let mut world = World::rotated();
    let secret = world.text("token");
    world.revoke(1);
    let Step::EndRevoked(_, ids) = world.plan() else {
        panic!("expected the revoked token's end to be recorded first");
    };
    assert_eq!(ids, [world.entries()[0].token_id.clone()]);
    assert_eq!(world.run(), ["end revoked"]);
    assert_eq!(
        (world.epochs(), world.good_by_the_spec()),
        (vec![1, 2], vec![2])
    );
    assert_eq!(world.text("token"), secret);
    assert_eq!(world.facts().previous, None);
    let credential = world.credential.clone().unwrap();
    let mut entries = credential.spec.tokens.iter();
    assert!(entries.all(|entry| is_sealed(&world.mac, &credential, entry)));
    // A restore without a status, or an older release.
    world.credential.as_mut().unwrap().status = None;
    assert_eq!(world.run(), [""; 0]);
    assert_eq!(world.good_by_the_spec(), [2]);
}

#[test]
fn after_the_current_token_is_revoked_the_secret_heals_and_the_previous_one_stays() {
    let mut world = World::rotated();
    let secret = world.text("token");
    world.revoke(2);
    assert_eq!(world.run(), ["end revoked", "push Expired"]);
    assert_ne!(world.text("token"), secret);
    assert_eq!(world.epochs(), [1, 3]);
    assert_eq!(world.facts().epoch, 3);
    assert_eq!(world.owner.as_ref().unwrap().epoch, 3);
    // The request that the revoked token was issued for stays done.
    world.ask("1");
    assert_eq!(world.run(), [""; 0]);
}

#[test]
fn a_revoked_token_ends_where_none_can_be_made_and_counts_as_made() {
    let mut world = World::issued();
    for epoch in 1..10 {
        world.revoke(epoch);
        assert_eq!(world.run(), ["end revoked", "push Expired"]);
    }
    world.revoke(10);
    assert_eq!(world.run(), ["end revoked"]);
    assert_eq!(world.refused().reason, Reason::MintLimitReached);
    assert_eq!(world.good_by_the_spec(), [0; 0]);
    world.now += HOUR;
    assert_eq!(world.run(), ["push Expired"]);

    let mut world = World::issued();
    let disabled = Problem::error(Reason::Disabled, "/spec/disabled", "disabled");
    world.desired.withheld = vec![disabled];
    world.revoke(1);
    assert_eq!(world.run(), ["end revoked"]);
    assert_eq!(world.good_by_the_spec(), [0; 0]);
}

#[test]
fn a_revocation_without_effect_changes_nothing() {
    let mut world = World::rotated();
    world.now += DAY;
    world.revoke(1);
    let status = world.credential.as_mut().unwrap().status.as_mut();
    status.unwrap().revoked.push("anotherTokensId0".to_owned());
    assert_eq!(
        world.run(),
        [""; 0],
        "one had ended, the other is not recorded"
    );
    // An entry with a wrong seal is not accepted, and never gets a right one.
    let mut world = World::rotated();
    world.credential.as_mut().unwrap().spec.tokens[0].mac = "0".repeat(64);
    world.revoke(1);
    assert_eq!(world.run(), [""; 0]);
}

#[test]
fn a_secret_that_is_announced_stays_announced_when_a_token_is_revoked() {
    let mut world = World::rotated();
    world.edit(|secret| secret["type"] = "kubernetes.io/basic-auth".into());
    let announced = world.recreate();
    world.announce(&announced);
    world.revoke(1);
    let step = world.plan();
    assert_eq!(world.take(step), "end revoked");
    let memory = &world.credential.as_ref().unwrap().spec.memory;
    assert!(memory.replacing.is_some());
    assert_eq!(world.good_by_the_spec(), [2]);
}
