//! The pass over a User: the Secret with its enrolment link, then its status.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::owner::keys_refused;
use super::{Controller, ReconcileError, Reconciled, now, refused};
use crate::directory::tables::record::{Object, UserRecord};
use crate::directory::{Directory, ObjectKey, Problem, Reason};
use crate::lock::lock;
use crate::people::later;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::enrolment::{self, Done, Found, LinkState, Wanted};
use crate::reconcile::key_secrets::FoundMac;
use crate::reconcile::report::events::{EventReason, Notice};
use crate::reconcile::report::status;
use crate::resources::{EnrollmentStatus, Kind};
use crate::telemetry::audit::{self, Linked};
use crate::tokens::MacKey;

/// The time of a link, or of its withdrawal, is recorded in the first round. The Secret is written or deleted in the second.
const ROUNDS: usize = 2;
/// The field with labels and annotations of the Secret.
const METADATA: &str = "spec.inheritedMetadata of the Identity";
/// How long to wait for the deletion of an earlier Secret.
const LOOK_AGAIN: Duration = Duration::from_mins(1);
/// What failed, if the Secret could not be read or written.
const SECRET: &str = "cannot read or write the enrolment Secret";

/// The key that makes a User's link.
enum Key {
    With(Arc<MacKey>),
    /// The link waits for an edit of something else.
    Unusable(Problem),
    /// The Identity's own pass creates the key, and queues this User.
    Missing,
}

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Reconciles a User: its enrolment Secret, then its status.
    pub(super) async fn user(&self, key: &ObjectKey) -> Result<Reconciled, ReconcileError> {
        for _ in 0..ROUNDS {
            let Some((live, directory)) = self.gather(Kind::User, key).await? else {
                return Ok(Reconciled::Gone);
            };
            let Some(object) = directory.user(key) else {
                return Ok(Reconciled::Gone);
            };
            let memory = enrolment::remembered(&live);
            let ended_at = enrolment::ended_at(&live);
            let wanted = enrolment::wanted(&directory, object, now());
            let wanted = wanted.and_then(|wanted| wanted.after(ended_at, now()));
            let pass = UserPass {
                live: &live,
                directory: &directory,
                object,
            };
            let mac;
            let wanted = match &wanted {
                None => None,
                Some(wanted) => match self.key_of(wanted).await? {
                    Key::Missing => return Ok(Reconciled::Soon),
                    Key::Unusable(problem) => {
                        let state = LinkState::Blocked(problem);
                        return self.report_user(pass, memory.as_ref(), &state).await;
                    }
                    Key::With(key) => {
                        mac = key;
                        Some((wanted, &*mac))
                    }
                },
            };
            let ensured =
                enrolment::ensure(&self.cluster, object, wanted, memory.as_ref(), now()).await;
            let (state, done, refusal) = match ensured {
                Ok(Found::Unrecorded(link)) => {
                    let state = match link.withdrawn_at {
                        Some(_) => LinkState::None,
                        None => LinkState::Issuing,
                    };
                    match self.report_user(pass, Some(&link), &state).await? {
                        Reconciled::Settled(_) => continue,
                        ended => return Ok(ended),
                    }
                }
                Ok(Found::Settled {
                    state,
                    done,
                    refused,
                }) => (state, done, refused),
                // Another client wrote first.
                Err(ApiError::Conflict | ApiError::AlreadyExists | ApiError::NotFound) => {
                    return Ok(Reconciled::Soon);
                }
                Err(error) => match refused(&error, "enrolment Secret", METADATA) {
                    Some(problem) => (LinkState::Blocked(problem), Vec::new(), Some(error)),
                    None => return Err(ReconcileError::Api(SECRET, error)),
                },
            };
            self.tell_of_link(pass, memory.as_ref(), &done);
            let reported = self.report_user(pass, memory.as_ref(), &state).await?;
            return match refusal {
                Some(error) => Err(ReconcileError::Api(SECRET, error)),
                None => Ok(reported),
            };
        }
        Ok(Reconciled::Soon)
    }

    async fn key_of(&self, wanted: &Wanted) -> Result<Key, ReconcileError> {
        let identity = &wanted.identity;
        let found = self.mac(identity).await;
        let has_none = matches!(&found, Ok(FoundMac::Missing) | Err(_));
        if has_none && lock(&self.macs).is_refused(identity) {
            return Ok(Key::Unusable(keys_refused(identity)));
        }
        Ok(match found? {
            FoundMac::Key(mac) => Key::With(mac),
            FoundMac::Unusable(problem) => {
                let message = format!("Identity {identity} is not ready: {}", problem.message);
                Key::Unusable(Problem::error(Reason::IdentityNotReady, "", message))
            }
            FoundMac::Missing => Key::Missing,
        })
    }

    /// Publishes an event and writes an audit event for what was done. None contains the link.
    fn tell_of_link(&self, pass: UserPass<'_>, link: Option<&EnrollmentStatus>, done: &[Done]) {
        let key = &pass.object.key;
        let secret = enrolment::secret_of(key);
        let subject = pass.object.record().map(|record| &*record.subject);
        for done in done {
            let event = match done {
                Done::Written => "enrollment_link_issued",
                Done::Deleted => "enrollment_link_deleted",
            };
            let linked = Linked {
                event,
                namespace: &key.namespace,
                name: &key.name,
                subject,
            };
            audit::linked(&linked, link.map(enrolment::end));
            let (reason, note) = match done {
                Done::Written => (
                    EventReason::Issued,
                    format!(
                        "The Secret {} holds an enrolment link until status.enrollment.expiresAt.",
                        secret.name
                    ),
                ),
                Done::Deleted => (
                    EventReason::Retired,
                    format!(
                        "The Secret {} was deleted: its enrolment link is over.",
                        secret.name
                    ),
                ),
            };
            let notice = Notice::new(pass.live, reason, false, note);
            self.notices
                .publish(notice.of_secret(&secret, enrolment::URL));
        }
    }

    async fn report_user(
        &self,
        pass: UserPass<'_>,
        link: Option<&EnrollmentStatus>,
        state: &LinkState,
    ) -> Result<Reconciled, ReconcileError> {
        let UserPass {
            live,
            directory,
            object,
        } = pass;
        let now = now();
        let wanted = status::user(live, directory, object, link, state, now);
        let ended_at = enrolment::ended_at(live).map(enrolment::in_whole_seconds);
        let revoked = enrolment::valid_after(directory, object).max(ended_at);
        let until = next(object, (link, revoked), state, now);
        self.report(Kind::User, live, &wanted, until).await
    }
}

/// The User that a pass is about.
#[derive(Clone, Copy)]
struct UserPass<'a> {
    live: &'a Value,
    directory: &'a Directory,
    object: &'a Object<UserRecord>,
}

/// Returns when time alone changes something: the end of the link, the time from which on links work, and the limits of
/// the User's validity. A Secret that is being deleted is looked at again, in case the event about it is lost.
fn next(
    object: &Object<UserRecord>,
    (link, valid_after): (Option<&EnrollmentStatus>, Option<Timestamp>),
    state: &LinkState,
    now: Timestamp,
) -> Option<Timestamp> {
    let expiry = link.filter(|_| *state == LinkState::Held);
    let record = object.record();
    let limits = record.map(|record| [record.not_before, record.not_after]);
    let limits = limits.into_iter().flatten().flatten();
    let retry = (*state == LinkState::Issuing).then(|| later(now, LOOK_AGAIN));
    let link = expiry.map(enrolment::end);
    let moments = limits.chain(link).chain(valid_after).chain(retry);
    moments.filter(|moment| *moment > now).min()
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use http_body_util::BodyExt as _;
    use serde_json::json;
    use tempfile::TempDir;
    use tokio::sync::mpsc;

    use super::*;
    use crate::directory::Settings;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};
    use crate::kube_call::{Body, Client};
    use crate::reconcile::cluster::secret::SecretObject;
    use crate::reconcile::controller::{Next, Tuning};
    use crate::reconcile::files::Files;
    use crate::reconcile::key_secrets;
    use crate::reconcile::report::events::Notices;
    use crate::reconcile::work::Work;
    use crate::state_file::Chosen;
    use crate::telemetry::testing::Log;

    fn alice() -> ObjectKey {
        ObjectKey::new("platform", "alice")
    }

    fn identity() -> ObjectKey {
        ObjectKey::new("platform", "main")
    }

    /// An operator on a folder in place of a cluster, and the bodies of the Events that it writes.
    struct Operator {
        _folder: TempDir,
        files: Files,
        controller: Controller<Files>,
        world: Mutex<World>,
        events: mpsc::UnboundedReceiver<String>,
    }

    impl Operator {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let files = Files::open(&folder.path().join("state"), Chosen::ByUser).unwrap();
            let (sender, events) = mpsc::unbounded_channel();
            let service = tower::service_fn(move |request: http::Request<Body>| {
                let sender = sender.clone();
                async move {
                    let body = request.into_body().collect().await.unwrap();
                    let text = String::from_utf8(body.to_bytes().to_vec()).unwrap();
                    let _ = sender.send(text.clone());
                    Ok::<_, std::convert::Infallible>(http::Response::new(Body::from(
                        text.into_bytes(),
                    )))
                }
            });
            let settings = Settings::default();
            let notices = Notices::written(Client::new(service, "default"), "test".to_owned());
            let own = files.own_writes().clone();
            let controller =
                Controller::new(files.clone(), own, settings, Tuning::default(), notices);
            controller.lead();
            let operator = Self {
                _folder: folder,
                files,
                controller,
                world: Mutex::new(World::new("")),
                events,
            };
            operator.apply(QUICKSTART);
            operator.apply(PEOPLE);
            operator
        }

        /// Applies objects, as their watches would bring them.
        fn apply(&self, yaml: &str) {
            let mut world = self.world.lock().unwrap();
            let changes = world.changes(yaml);
            for change in &changes {
                world.directory.apply(change.clone());
            }
            let changes = changes.into_iter().map(|it| (it, "1".into()));
            self.controller.changed(changes.collect());
        }

        async fn create_mac(&self) {
            let key = key_secrets::mac_secret(&identity());
            let manifest = json!({
                "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
                "metadata": {"namespace": &*key.namespace, "name": &*key.name},
            });
            let mut secret = SecretObject::new(manifest.as_object().unwrap().clone());
            secret.set_text(key_secrets::MAC, &"7".repeat(32));
            self.files.create_secret(&secret).await.unwrap();
        }

        /// Writes alice with a value of the annotation, and fields of the spec.
        fn put_alice(&self, nonce: Option<&str>, fields: &Value) {
            self.put_alice_of(1, nonce, fields);
        }

        /// Does the same in another generation, with the status that alice has.
        fn put_alice_of(&self, generation: i64, nonce: Option<&str>, fields: &Value) {
            let annotations = nonce.map(|nonce| json!({"symbolon.dev/enroll": nonce}));
            let mut spec = json!({"identityRef": {"name": "main"}});
            let extra = fields.as_object().cloned().unwrap_or_default();
            spec.as_object_mut().unwrap().extend(extra);
            let manifest = json!({
                "apiVersion": "symbolon.dev/v1alpha1", "kind": "User",
                "metadata": {
                    "namespace": "platform", "name": "alice", "uid": "u-1", "generation": generation,
                    "creationTimestamp": "2026-06-01T00:00:00Z", "annotations": annotations,
                },
                "spec": spec,
            });
            self.files.put_object(Kind::User, alice(), manifest.clone());
            self.apply(&serde_yaml::to_string(&manifest).unwrap());
        }

        async fn pass(&self) -> Result<Reconciled, ReconcileError> {
            self.controller.user(&alice()).await
        }

        async fn status(&self) -> Value {
            let live = self.files.object(Kind::User, &alice()).await.unwrap();
            live.unwrap()["status"].clone()
        }

        async fn told(&self) -> Vec<String> {
            let status = self.status().await;
            let conditions = status["conditions"].as_array().unwrap().clone();
            let text = |it: &Value, field: &str| it[field].as_str().unwrap().to_owned();
            let told = conditions.iter().map(|it| {
                let (kind, truth, reason) =
                    (text(it, "type"), text(it, "status"), text(it, "reason"));
                format!("{kind}={truth}/{reason}")
            });
            told.collect()
        }

        async fn secret(&self) -> Option<SecretObject> {
            let key = enrolment::secret_of(&alice());
            self.files.secret(&key).await.unwrap()
        }

        /// Returns the next event of this reason.
        async fn event(&mut self, reason: &str) -> String {
            let reason = format!("\"reason\":\"{reason}\"");
            let next = async {
                loop {
                    let event = self.events.recv().await.unwrap();
                    if event.contains(&reason) {
                        return event;
                    }
                }
            };
            tokio::time::timeout(Duration::from_mins(1), next)
                .await
                .unwrap()
        }
    }

    #[tokio::test]
    async fn a_user_with_an_annotation_is_ready_with_a_link_that_no_status_event_or_log_has() {
        let log = Log::default();
        let guard = log.start();
        let mut operator = Operator::new();
        operator.create_mac().await;
        operator.put_alice(Some("first"), &json!({"username": "Alice"}));
        assert!(matches!(
            operator.pass().await,
            Ok(Reconciled::Settled(Some(_)))
        ));
        assert_eq!(
            operator.told().await,
            [
                "Accepted=True/Accepted",
                "Issued=True/Issued",
                "Ready=True/Ready",
                "Reconciling=False/Ready",
                "Stalled=False/Ready"
            ]
        );
        let status = operator.status().await;
        assert_eq!(status["username"], "Alice");
        assert_eq!(status["identity"], "platform/main");
        assert_eq!(
            status["subject"],
            crate::tokens::subject::subject_of_uid("u-1")
        );
        assert_eq!(status["enrollment"]["nonce"], "first");
        let secret = operator.secret().await.unwrap();
        let url = secret.text(enrolment::URL).unwrap();
        let (_, tag) = url.expose().rsplit_once('.').unwrap();
        let issued = operator.event("Issued").await;
        operator.put_alice(None, &json!({}));
        assert!(matches!(
            operator.pass().await,
            Ok(Reconciled::Settled(None))
        ));
        let retired = operator.event("Retired").await;
        drop(guard);
        let audit = log.audit();
        let events: Vec<_> = audit.iter().map(|line| &line["event"]).collect();
        assert_eq!(
            events,
            ["enrollment_link_issued", "enrollment_link_deleted"]
        );
        for line in &audit {
            assert_eq!(line["name"], "alice");
            assert_eq!(line["subject"], status["subject"]);
            assert!(line["expires_at"].is_string(), "{line}");
        }
        for text in [issued, retired, log.text(), status.to_string()] {
            assert!(!text.contains(tag), "{text}");
        }
        assert_eq!(operator.secret().await, None);
        let status = operator.status().await;
        assert_eq!(status["enrollment"]["nonce"], "first");
        assert!(
            status["enrollment"]["withdrawnAt"].is_string(),
            "servers accept it no longer: {status}"
        );
        assert!(
            !operator
                .told()
                .await
                .iter()
                .any(|it| it.starts_with("Issued"))
        );
    }

    #[tokio::test]
    async fn a_withdrawn_value_that_comes_back_is_told_and_gets_no_link() {
        let operator = Operator::new();
        operator.create_mac().await;
        for nonce in [Some("first"), None, Some("first")] {
            operator.put_alice(nonce, &json!({}));
            operator.pass().await.unwrap();
        }
        assert_eq!(operator.secret().await, None);
        let told = operator.told().await;
        assert!(
            told.contains(&"Issued=False/Expired".to_owned()),
            "{told:?}"
        );
        let status = operator.status().await.to_string();
        assert!(status.contains("write another value"), "{status}");
    }

    /// The servers accept no link from before the person was disabled.
    #[tokio::test]
    async fn a_person_who_is_enabled_again_does_not_get_the_same_link_back() {
        let operator = Operator::new();
        operator.create_mac().await;
        let mut generation = 0;
        for fields in [json!({}), json!({"disabled": true}), json!({})] {
            generation += 1;
            operator.put_alice_of(generation, Some("first"), &fields);
            operator.pass().await.unwrap();
            assert_eq!(operator.secret().await.is_some(), generation == 1);
        }
    }

    /// A server that was not watching then follows this time.
    #[tokio::test]
    async fn each_end_of_a_persons_time_is_in_the_status() {
        let operator = Operator::new();
        let mut generation = 0;
        let mut ended = async |fields: Value| {
            generation += 1;
            operator.put_alice_of(generation, None, &fields);
            operator.pass().await.unwrap();
            let moment = operator.status().await["endedAt"].clone();
            let before = operator.files.object(Kind::User, &alice()).await.unwrap();
            operator.pass().await.unwrap();
            let after = operator.files.object(Kind::User, &alice()).await.unwrap();
            assert_eq!(before, after, "a second pass writes nothing");
            moment
        };
        assert_eq!(ended(json!({})).await, Value::Null);
        let first = ended(json!({"disabled": true})).await;
        assert!(first.is_string());
        assert_eq!(ended(json!({})).await, first);
        let second = ended(json!({"disabled": true})).await;
        assert_ne!(second, first);
        let past = json!({"notAfter": "2026-01-01T00:00:00Z"});
        let third = ended(past).await;
        assert!(third.is_string() && third != second);
    }

    #[tokio::test]
    async fn a_second_pass_writes_nothing() {
        let operator = Operator::new();
        operator.create_mac().await;
        operator.put_alice(Some("first"), &json!({}));
        operator.pass().await.unwrap();
        let all = || async {
            let live = operator.files.object(Kind::User, &alice()).await.unwrap();
            (live, operator.secret().await)
        };
        let before = all().await;
        operator.pass().await.unwrap();
        assert_eq!(all().await, before);
    }

    #[tokio::test]
    async fn a_user_waits_for_the_key_of_its_identity() {
        let operator = Operator::new();
        operator.put_alice(Some("first"), &json!({}));
        assert!(matches!(operator.pass().await, Ok(Reconciled::Soon)));
        assert_eq!(operator.secret().await, None);
        operator.create_mac().await;
        operator.pass().await.unwrap();
        assert!(operator.secret().await.is_some());
    }

    #[tokio::test]
    async fn a_disabled_user_is_ready_and_one_with_a_taken_name_is_not() {
        let operator = Operator::new();
        operator.put_alice(None, &json!({"disabled": true}));
        operator.pass().await.unwrap();
        assert!(
            operator
                .told()
                .await
                .contains(&"Ready=True/Disabled".to_owned())
        );
        operator.put_alice(None, &json!({"username": "bob"}));
        operator.pass().await.unwrap();
        let told = operator.told().await;
        assert!(
            told.contains(&"Ready=False/ValueConflict".to_owned()),
            "{told:?}"
        );
        assert!(
            told.contains(&"Stalled=True/ValueConflict".to_owned()),
            "{told:?}"
        );
    }

    #[tokio::test]
    async fn an_end_of_validity_is_the_time_of_the_next_pass() {
        let operator = Operator::new();
        operator.put_alice(None, &json!({"notAfter": "2999-01-01T00:00:00Z"}));
        let end = "2999-01-01T00:00:00Z".parse().unwrap();
        assert!(matches!(
            operator.pass().await,
            Ok(Reconciled::Settled(Some(until))) if until == end
        ));
    }

    #[tokio::test]
    async fn an_identity_without_storage_is_told_at_its_users() {
        let operator = Operator::new();
        operator.apply(QUICKSTART);
        operator.put_alice(Some("first"), &json!({}));
        operator.pass().await.unwrap();
        let told = operator.told().await;
        assert!(
            told.contains(&"Ready=False/StorageRequired".to_owned()),
            "{told:?}"
        );
        assert_eq!(operator.secret().await, None);
    }

    #[tokio::test]
    async fn a_deleted_enrolment_secret_queues_its_user() {
        let operator = Operator::new();
        operator.put_alice(Some("first"), &json!({}));
        while operator.controller.depth().ready > 0 {
            let (work, _) = operator.controller.agenda.queue.next().await;
            operator.controller.agenda.queue.done(&work, Next::Idle);
        }
        let key = enrolment::secret_of(&alice());
        operator.controller.secret_changed(&key, "", None);
        let (work, _) = operator.controller.agenda.queue.next().await;
        assert_eq!(work, Work::Object(Kind::User, alice()));
    }
}
