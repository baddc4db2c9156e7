//! Tests of the enrolment Secret, on a folder in place of a cluster.

use jiff::SignedDuration;
use rstest::rstest;
use tempfile::TempDir;

use super::*;
use crate::directory::testing::{PEOPLE, QUICKSTART, World};
use crate::people::enrolment::{EnrolmentState, Unverified};
use crate::reconcile::files::Files;
use crate::resources::{ANNOTATION_OWNER, LABEL_MANAGED};
use crate::state_file::Chosen;

const UID: &str = "User-platform-alice";
const PAGE: &str = "https://id.example.com/id";

fn alice() -> ObjectKey {
    ObjectKey::new("platform", "alice")
}

/// Returns alice with an annotation, or without one if the nonce is empty.
fn manifest(nonce: &str, fields: &str) -> String {
    let annotations = match nonce {
        "" => String::new(),
        nonce => format!(", annotations: {{symbolon.dev/enroll: {nonce}}}"),
    };
    format!(
        "
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {{name: alice, namespace: platform{annotations}}}
spec: {{identityRef: {{name: main}}{fields}}}
"
    )
}

struct State {
    _folder: TempDir,
    files: Files,
    world: World,
    mac: MacKey,
    memory: Option<EnrollmentStatus>,
    now: Timestamp,
}

impl State {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(&folder.path().join("state"), Chosen::ByUser).unwrap();
        let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
        world.apply(&manifest("first", ""));
        Self {
            _folder: folder,
            files,
            world,
            mac: MacKey::from_bytes(&[7; 32]).unwrap(),
            memory: None,
            now: "2026-02-01T00:00:00.7Z".parse().unwrap(),
        }
    }

    fn wait(&mut self, hours: i64) {
        self.now += SignedDuration::from_hours(hours);
    }

    async fn ensure(&self) -> Found {
        let directory = &self.world.directory;
        let user = directory.user(&alice()).unwrap();
        let wanted = wanted(directory, user, self.now);
        let wanted = wanted.as_ref().map(|wanted| (wanted, &self.mac));
        let memory = self.memory.as_ref();
        let ensured = ensure(&self.files, user, wanted, memory, self.now).await;
        ensured.unwrap()
    }

    /// Runs a pass as the controller does.
    async fn pass(&mut self) -> (LinkState, Vec<Done>) {
        loop {
            match self.ensure().await {
                Found::Unrecorded(link) => self.memory = Some(link),
                Found::Settled {
                    state,
                    done,
                    refused,
                } => {
                    assert_eq!(refused, None);
                    return (state, done);
                }
            }
        }
    }

    async fn secret(&self) -> Option<SecretObject> {
        self.files.secret(&secret_of(&alice())).await.unwrap()
    }

    async fn url(&self) -> String {
        let secret = self.secret().await.unwrap();
        secret.text(URL).unwrap().expose().to_owned()
    }

    async fn edit(&self, change: impl FnOnce(&mut SecretObject)) -> SecretObject {
        let mut secret = self.secret().await.unwrap();
        change(&mut secret);
        self.files.replace_secret(&secret).await.unwrap()
    }

    /// Returns whether the server accepts the link in the Secret now, and until when.
    async fn accepted_until(&self, nonce: &str) -> Option<Timestamp> {
        let url = self.url().await;
        let (page, link) = url.split_once("?link=").unwrap();
        assert!(page.starts_with(PAGE), "{page}");
        let state = EnrolmentState {
            namespace: "platform",
            identity: "main",
            nonce: Some(nonce),
            issued_at: self.memory.as_ref().map(|link| link.issued_at.0),
            valid_after: None,
        };
        let link = Unverified::parse(link).unwrap();
        assert_eq!(link.uid(), UID);
        let verified = link.verify([&self.mac], state, self.now).ok()?;
        Some(verified.expires_at)
    }
}

#[tokio::test]
async fn an_annotation_gets_a_link_that_the_server_accepts() {
    let mut state = State::new();
    assert_eq!(
        state.pass().await,
        (LinkState::Held, vec![Done::Written]),
        "the link is there after one pass"
    );
    let link = state.memory.clone().unwrap();
    assert_eq!(link.nonce, "first");
    let end = link.expires_at.0;
    assert_eq!(end, link.issued_at.0 + SignedDuration::from_hours(72));
    assert_eq!(state.accepted_until("first").await, Some(end));
    assert_eq!(state.accepted_until("second").await, None);

    let secret = state.secret().await.unwrap();
    let user = state.world.directory.user(&alice()).unwrap();
    assert!(secret.is_made_for(owner(user)) && !secret.is_placeholder());
    assert_eq!(secret.annotation(ANNOTATION_OWNER), Some("User/alice"));
    assert_eq!(secret.label(LABEL_MANAGED), Some("true"));
    let reference = &secret.expose()["metadata"]["ownerReferences"][0];
    assert_eq!(reference["uid"], UID);
    assert_eq!(reference["blockOwnerDeletion"], false);
    assert_eq!(user_of(&secret.key()), Some(alice()));

    state.wait(1);
    assert_eq!(state.pass().await, (LinkState::Held, vec![]));
    assert_eq!(state.secret().await, Some(secret), "nothing is written");
}

/// After a crash the same link follows from the record, and no second one works beside it.
#[tokio::test]
async fn the_time_of_a_link_is_recorded_before_a_secret_has_it() {
    let state = State::new();
    let Found::Unrecorded(link) = state.ensure().await else {
        panic!("it was not recorded")
    };
    assert_eq!(link.issued_at.0.subsec_nanosecond(), 0);
    assert_eq!(state.secret().await, None);
}

#[tokio::test]
async fn a_deleted_or_changed_secret_gets_the_same_link_again() {
    let mut state = State::new();
    state.pass().await;
    let url = state.url().await;
    state.wait(1);
    let only = state.secret().await.unwrap().precondition();
    let key = secret_of(&alice());
    state.files.delete_secret(&key, &only).await.unwrap();
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_eq!(state.url().await, url);
    let note = |secret: &mut SecretObject| {
        secret.set_annotation("note", Some("1"));
        secret.set_text(URL, "https://evil.example.com");
    };
    state.edit(note).await;
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_eq!(state.url().await, url);
    let secret = state.secret().await.unwrap();
    assert_eq!(secret.annotation("note"), Some("1"), "others' marks stay");
}

#[tokio::test]
async fn a_link_ends_after_72_hours_and_the_same_nonce_gets_no_other() {
    let mut state = State::new();
    state.pass().await;
    let first = state.url().await;
    state.wait(73);
    let ended = (LinkState::Expired, vec![Done::Deleted]);
    assert_eq!(state.pass().await, ended);
    assert_eq!(state.secret().await, None);
    state.wait(73);
    assert_eq!(state.pass().await, (LinkState::Expired, vec![]));
    assert_eq!(state.secret().await, None);

    state.world.apply(&manifest("second", ""));
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_ne!(state.url().await, first);
    assert!(state.accepted_until("second").await.is_some());
}

/// Anyone who found the link before could otherwise still set the password.
#[rstest]
#[case::of_the_user(true)]
#[case::of_the_identity(false)]
#[tokio::test]
async fn revoke_issued_before_ends_the_link(#[case] is_of_user: bool) {
    let mut state = State::new();
    let revoke = |state: &mut State, nonce: &str, moment: &str| {
        let (of_user, of_identity) = if is_of_user {
            (format!(", revokeIssuedBefore: \"{moment}\""), String::new())
        } else {
            (
                String::new(),
                format!("spec:\n  revokeIssuedBefore: \"{moment}\""),
            )
        };
        state.world.apply(&manifest(nonce, &of_user));
        if !is_of_user {
            let identity = PEOPLE.split("---").next().unwrap();
            state.world.apply(&identity.replace("spec:", &of_identity));
        }
    };
    state.pass().await;
    let first = state.url().await;
    revoke(&mut state, "first", "2026-02-01T00:00:00Z");
    let kept = (LinkState::Held, vec![]);
    assert_eq!(state.pass().await, kept, "it was issued at this second");
    // No link would work before this time.
    let moment = "2026-02-01T00:30:00.5Z";
    revoke(&mut state, "first", moment);
    let ended = (LinkState::None, vec![Done::Deleted]);
    assert_eq!(state.pass().await, ended);
    state.wait(1);
    assert_eq!(state.pass().await, (LinkState::Revoked, vec![]));
    assert_eq!(state.secret().await, None);
    revoke(&mut state, "second", moment);
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_ne!(state.url().await, first);
}

#[tokio::test]
async fn another_nonce_replaces_the_link_at_once() {
    let mut state = State::new();
    state.pass().await;
    state.world.apply(&manifest("second", ""));
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_eq!(state.accepted_until("first").await, None);
    assert!(state.accepted_until("second").await.is_some());
}

/// Git still has the value, and a GitOps tool writes it back.
#[rstest]
#[case::of_the_annotation("")]
#[case::of_the_value("second")]
#[tokio::test]
async fn a_withdrawn_value_that_comes_back_gets_no_link(#[case] meanwhile: &str) {
    let mut state = State::new();
    state.pass().await;
    state.world.apply(&manifest(meanwhile, ""));
    state.pass().await;
    for hours in [0, 1, 100] {
        state.wait(hours);
        state.world.apply(&manifest("first", ""));
        assert_eq!(state.pass().await.0, LinkState::Withdrawn);
        assert_eq!(state.secret().await, None);
        state.world.apply(&manifest("", ""));
        assert_eq!(state.pass().await.0, LinkState::None);
    }
    state.world.apply(&manifest("third", ""));
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    state.world.apply(&manifest("first", ""));
    assert_eq!(state.pass().await.0, LinkState::Withdrawn);
}

/// The servers follow the record: the value may come back before the Secret can be deleted.
#[tokio::test]
async fn a_withdrawal_is_recorded_before_the_secret_is_deleted() {
    let mut state = State::new();
    state.pass().await;
    state.world.apply(&manifest("", ""));
    let Found::Unrecorded(link) = state.ensure().await else {
        panic!("it was not recorded")
    };
    assert_eq!(link.withdrawn_at, Some(Moment(state.now)));
    assert!(state.secret().await.is_some());
    state.memory = Some(link.clone());
    assert_eq!(state.pass().await, (LinkState::None, vec![Done::Deleted]));
    assert_eq!(state.memory, Some(link), "once");
}

/// The controller notes each end of a User's time, after which the link is dead: here it could not.
#[tokio::test]
async fn a_link_comes_back_until_the_value_changes_if_no_end_of_time_was_noted() {
    let mut state = State::new();
    state.pass().await;
    let first = state.url().await;
    state.world.apply(&manifest("first", ", disabled: true"));
    state.pass().await;
    state.world.apply(&manifest("first", ""));
    state.pass().await;
    assert_eq!(state.url().await, first);
    state.world.apply(&manifest("second", ", disabled: true"));
    state.pass().await;
    state.world.apply(&manifest("first", ""));
    assert_eq!(state.pass().await.0, LinkState::Withdrawn);
}

#[tokio::test]
async fn the_status_remembers_so_many_values_and_forgets_the_oldest() {
    let mut state = State::new();
    for number in 0..MOST_EARLIER_LINKS + 3 {
        state.world.apply(&manifest(&format!("n{number}"), ""));
        state.pass().await;
    }
    let link = state.memory.as_ref().unwrap();
    assert_eq!(link.earlier.len(), MOST_EARLIER_LINKS);
    let hash = |number: usize| TokenHash::of(&format!("n{number}")).to_string();
    assert_eq!(link.earlier[0].hash, hash(MOST_EARLIER_LINKS + 1));
    assert_eq!(link.earlier.last().unwrap().hash, hash(2));
}

#[tokio::test]
async fn the_secret_goes_when_nothing_asks_for_it_or_the_person_may_not_use_it() {
    let storage = PEOPLE.replace("storage: {type: SQLite}", "storage: {type: None}");
    let no_password = PEOPLE.replace("{password: Enabled}", "{password: Disabled}");
    let identity_alone = |people: &str| people.split("---").next().unwrap().to_owned();
    for edit in [
        manifest("", ""),
        manifest("first", ", disabled: true"),
        manifest("first", ", notAfter: \"2026-01-31T00:00:00Z\""),
        manifest("first", ", username: bob"),
        identity_alone(&storage),
        identity_alone(&no_password),
    ] {
        let mut state = State::new();
        state.pass().await;
        state.world.apply(&edit);
        let ended = (LinkState::None, vec![Done::Deleted]);
        assert_eq!(state.pass().await, ended, "{edit}");
        assert_eq!(state.secret().await, None, "{edit}");
    }
}

/// Without a link that is wanted or remembered, a pass over a User costs no read of a Secret.
#[tokio::test]
async fn a_user_without_an_annotation_leaves_a_secret_of_this_name_alone() {
    let mut state = State::new();
    state.pass().await;
    state.memory = None;
    state.world.apply(&manifest("", ""));
    assert_eq!(state.pass().await, (LinkState::None, vec![]));
    assert!(state.secret().await.is_some());
}

#[tokio::test]
async fn a_secret_of_another_object_is_not_touched() {
    let mut state = State::new();
    state.pass().await;
    let foreign = SecretOwner {
        kind: Kind::OAuthClient,
        name: "shop",
        uid: "other",
    };
    let other = |secret: &mut SecretObject| {
        *secret = SecretObject::new({
            let mut manifest = secret.expose().clone();
            manifest["metadata"]["ownerReferences"] = serde_json::json!([]);
            manifest
        });
        secret.claim(foreign);
        secret.set_text(URL, "theirs");
    };
    state.edit(other).await;
    let (found, done) = state.pass().await;
    assert!(
        matches!(&found, LinkState::Blocked(problem) if problem.reason == Reason::SecretConflict),
        "{found:?}"
    );
    assert_eq!(done, []);
    state.wait(100);
    assert_eq!(state.pass().await, (LinkState::Expired, vec![]));
    assert_eq!(state.url().await, "theirs");
}

#[tokio::test]
async fn a_secret_that_lost_its_owner_is_taken_over_and_one_of_an_earlier_user_is_not() {
    let mut state = State::new();
    state.pass().await;
    let references = |references: serde_json::Value| {
        move |secret: &mut SecretObject| {
            let mut manifest = secret.expose().clone();
            manifest["metadata"]["ownerReferences"] = references;
            *secret = SecretObject::new(manifest);
        }
    };
    state.edit(references(serde_json::json!([]))).await;
    assert_eq!(state.pass().await, (LinkState::Held, vec![]));
    let user = state.world.directory.user(&alice()).unwrap().clone();
    assert!(state.secret().await.unwrap().is_made_for(owner(&user)));

    let earlier = serde_json::json!([{
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "User", "name": "alice", "uid": "earlier",
        "controller": true,
    }]);
    let before = state.edit(references(earlier)).await;
    assert_eq!(state.pass().await, (LinkState::Issuing, vec![]));
    assert_eq!(state.secret().await, Some(before));
}

#[tokio::test]
async fn a_secret_that_cannot_be_changed_is_replaced() {
    let mut state = State::new();
    state.pass().await;
    let url = state.url().await;
    let freeze = |secret: &mut SecretObject| {
        secret.set_text(URL, "old");
        let mut manifest = secret.expose().clone();
        manifest.insert("immutable".to_owned(), true.into());
        *secret = SecretObject::new(manifest);
    };
    state.edit(freeze).await;
    let replaced = (LinkState::Held, vec![Done::Deleted, Done::Written]);
    assert_eq!(state.pass().await, replaced);
    assert_eq!(state.url().await, url);
}

/// The right to write a status must not be enough to make a link last longer.
#[tokio::test]
async fn a_recorded_time_in_the_future_does_not_count() {
    let mut state = State::new();
    state.pass().await;
    let link = state.memory.as_mut().unwrap();
    link.issued_at = Moment(state.now + SignedDuration::from_hours(1));
    link.expires_at = Moment(state.now + SignedDuration::from_hours(1000));
    state.pass().await;
    let end = state.accepted_until("first").await.unwrap();
    assert!(end <= state.now + SignedDuration::from_hours(72));
}

/// A replaced mac key makes another link of the same time, which a use of the other one ends too.
#[tokio::test]
async fn a_new_mac_key_gives_a_link_of_the_same_time() {
    let mut state = State::new();
    state.pass().await;
    let (before, end) = (state.url().await, state.accepted_until("first").await);
    state.wait(1);
    state.mac = MacKey::from_bytes(&[8; 32]).unwrap();
    assert_eq!(state.pass().await, (LinkState::Held, vec![Done::Written]));
    assert_ne!(state.url().await, before);
    assert_eq!(state.accepted_until("first").await, end);
}

#[tokio::test]
async fn no_step_prints_the_link() {
    let mut state = State::new();
    state.pass().await;
    let url = state.url().await;
    let link = url.split_once("?link=").unwrap().1;
    let tag = link.rsplit_once('.').unwrap().1;
    let user = state.world.directory.user(&alice()).unwrap();
    let wanted = wanted(&state.world.directory, user, state.now).unwrap();
    let view = View {
        user,
        wanted: Some((&wanted, &state.mac)),
        memory: state.memory.as_ref(),
        secret: None,
    };
    let printed = format!("{view:?} {:?}", plan(view, state.now));
    assert!(
        printed.contains("[redacted]") && !printed.contains(tag),
        "{printed}"
    );
}
