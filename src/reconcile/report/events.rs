//! Kubernetes events about what was done, for people to read. Best effort: the API server keeps them for an hour, no
//! pass waits for them, and surplus events are dropped.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Reporter};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use strum::{IntoStaticStr, VariantArray};
use tokio::sync::mpsc;
use tracing::debug;

use super::status::ReadyObstacle;
use crate::directory::ObjectKey;
use crate::kube_call::Client;
use crate::reconcile::issue::{Emptying, IssueEvent, Retirement};
use crate::resources::{API_VERSION, Kind, Moment};

/// The maximum number of events that wait to be written. More are dropped.
const MAX_WAITING: usize = 256;
/// The maximum length of a note in bytes, somewhat below the API server's limit.
const LONGEST_NOTE: usize = 1000;
/// The time limit of one write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The reporting controller.
const CONTROLLER: &str = "symbolon";

/// The reason of an event: what the operator did, or why it does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[allow(missing_docs, reason = "docs/conditions.md explains the names")]
pub enum EventReason {
    Issued,
    Rotated,
    SecretRecreated,
    Retired,
    Revoked,
    Adopted,
    Conflict,
    Refused,
    Waiting,
    MintLimitReached,
    SweepPaused,
    KeyPublished,
    KeyActivated,
    KeyRetired,
    RollingOut,
}

impl EventReason {
    /// Returns the name in Events and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

/// An event about an object.
pub struct Notice {
    reason: EventReason,
    event: Event,
    regarding: ObjectReference,
}

impl Notice {
    /// Creates a notice about a live object.
    pub fn new(live: &Value, reason: EventReason, is_warning: bool, mut note: String) -> Self {
        note.truncate(note.floor_char_boundary(LONGEST_NOTE));
        let field = |name: &str| live["metadata"][name].as_str().map(str::to_owned);
        Self {
            reason,
            event: Event {
                type_: if is_warning {
                    EventType::Warning
                } else {
                    EventType::Normal
                },
                reason: reason.as_str().to_owned(),
                note: Some(note),
                action: reason.as_str().to_owned(),
                secondary: None,
            },
            regarding: ObjectReference {
                api_version: Some(API_VERSION.to_owned()),
                kind: live["kind"].as_str().map(str::to_owned),
                namespace: field("namespace"),
                name: field("name"),
                uid: field("uid"),
                ..ObjectReference::default()
            },
        }
    }

    /// Creates a notice about an object that needs an edit (`Refused`) or waits for another object (`Waiting`); `None`
    /// if another notice reports that. The action keeps notices for different reasons apart.
    pub(in crate::reconcile) fn not_ready(
        kind: Kind,
        live: &Value,
        obstacle: &ReadyObstacle,
    ) -> Option<Self> {
        let ReadyObstacle {
            is_stalled,
            reason,
            message,
        } = obstacle;
        let is_told = match &**reason {
            "SecretConflict" | "MintLimitReached" => kind != Kind::Identity,
            "ValueConflict" => kind == Kind::Identity,
            _ => false,
        };
        if is_told {
            return None;
        }
        let event = if *is_stalled {
            EventReason::Refused
        } else {
            EventReason::Waiting
        };
        Some(Self::new(live, event, *is_stalled, message.clone()).by(reason))
    }

    /// Sets the action. Notices with the same reason and action about one object are merged, and the first note stays.
    #[must_use]
    pub(in crate::reconcile) fn by(mut self, action: &str) -> Self {
        action.clone_into(&mut self.event.action);
        self
    }

    /// Adds the part of a Secret that the notice is about. Notices with the same reason about one object are merged,
    /// and the first note stays, unless they are about different parts.
    #[must_use]
    pub(in crate::reconcile) fn of_secret(mut self, secret: &ObjectKey, part: &str) -> Self {
        self.event.secondary = Some(ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(secret.namespace.to_string()),
            name: Some(secret.name.to_string()),
            field_path: Some(part.to_owned()),
            ..ObjectReference::default()
        });
        self
    }

    /// Creates a notice about what issuing did.
    pub(in crate::reconcile) fn issued(live: &Value, event: &IssueEvent, secret: &str) -> Self {
        let what = if live["kind"] == Kind::OAuthClient.as_str() {
            "client secret"
        } else {
            "token"
        };
        let (reason, is_warning, note) = match event {
            IssueEvent::Issued { token_id, epoch } => (
                EventReason::Issued,
                false,
                format!("The Secret {secret} holds {what} {token_id} (epoch {epoch})."),
            ),
            IssueEvent::Rotated {
                token_id,
                epoch,
                cause,
            } => (
                EventReason::Rotated,
                false,
                format!(
                    "The Secret {secret} holds the new {what} {token_id} (epoch {epoch}, {}).",
                    cause.as_str()
                ),
            ),
            IssueEvent::SecretRecreated { token_id, epoch } => (
                EventReason::SecretRecreated,
                false,
                format!(
                    "The Secret {secret} was deleted. The new one holds {what} {token_id} (epoch {epoch})."
                ),
            ),
            IssueEvent::Retired {
                token_id,
                not_after,
                why,
            } => (
                EventReason::Retired,
                false,
                retired(what, token_id, not_after.as_ref(), *why),
            ),
            IssueEvent::Revoked {
                why: Emptying::Revoked,
                token_ids,
            } => (EventReason::Revoked, false, revoked(what, token_ids)),
            IssueEvent::Revoked {
                why: Emptying::ById,
                token_ids,
            } => {
                let ended = revoked(what, token_ids);
                let note = format!("{ended} Other {what}s of this object stay accepted.");
                (EventReason::Revoked, false, note)
            }
            IssueEvent::Revoked {
                why: Emptying::Leaked,
                token_ids,
            } => {
                let ended = revoked(what, token_ids);
                let note = format!(
                    "The Secret {secret} was deleted and onSecretDeleted is Revoke. {ended}"
                );
                (EventReason::Revoked, false, note)
            }
            IssueEvent::Adopted { secret } => (
                EventReason::Adopted,
                false,
                format!(
                    "The operator took over the Secret {secret}: it had no owner, and its annotation names this object."
                ),
            ),
            IssueEvent::Conflict { message } => (EventReason::Conflict, true, message.clone()),
            IssueEvent::MintLimitReached { message } => {
                (EventReason::MintLimitReached, true, message.clone())
            }
        };
        Self::new(live, reason, is_warning, note)
    }
}

/// The sink for notices.
#[derive(Clone)]
pub struct Notices {
    sender: Option<mpsc::Sender<Notice>>,
    observer: Observer,
}

/// Receives the reason of each notice.
type Observer = Arc<dyn Fn(EventReason) + Send + Sync>;

impl Notices {
    /// Creates a sink that writes notices in a task of its own, which merges repeated ones.
    pub fn written(client: impl Into<Client>, instance: String) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Notice>(MAX_WAITING);
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(instance),
        };
        let client: Client = client.into();
        let recorder = client.recorder(reporter);
        tokio::spawn(async move {
            while let Some(Notice {
                event, regarding, ..
            }) = receiver.recv().await
            {
                let written =
                    tokio::time::timeout(TIMEOUT, recorder.publish(&event, &regarding)).await;
                if !matches!(written, Ok(Ok(()))) {
                    debug!(reason = event.reason, "could not write an event");
                }
            }
        });
        Self {
            sender: Some(sender),
            observer: Arc::new(|_| {}),
        }
    }

    /// Creates a sink that drops all notices.
    pub fn ignored() -> Self {
        Self {
            sender: None,
            observer: Arc::new(|_| {}),
        }
    }

    /// Reports each notice to `observer`, whether it is written or not.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(EventReason) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Publishes a notice.
    pub(in crate::reconcile) fn publish(&self, notice: Notice) {
        (self.observer)(notice.reason);
        if let Some(sender) = &self.sender {
            drop(sender.try_send(notice));
        }
    }
}

fn retired(what: &str, token_id: &str, end: Option<&Moment>, why: Retirement) -> String {
    let end = until(end);
    let plural = format!("{what}s");
    let what = capitalized(what);
    match why {
        Retirement::Replaced => {
            format!("{what} {token_id} was replaced and is accepted{end}.")
        }
        Retirement::Quiet => format!(
            "{what} {token_id} is no longer accepted: the newer one is in use, and this one was unused for the quiet period."
        ),
        Retirement::Lapsed => format!(
            "{what} {token_id} is accepted{end}: the imported Secret no longer holds a usable value."
        ),
        Retirement::Crowded => format!(
            "{what} {token_id} is no longer accepted: the Credential has no room for more {plural} of this object, and this one was unused for longest."
        ),
        Retirement::Sooner => {
            format!("{what} {token_id} is accepted{end}: expiresAt moved to an earlier time.")
        }
    }
}

fn revoked(what: &str, token_ids: &[String]) -> String {
    let (plural, are) = match token_ids {
        [_] => ("", "was revoked and is"),
        _ => ("s", "were revoked and are"),
    };
    let (what, ids) = (capitalized(what), token_ids.join(", "));
    format!("{what}{plural} {ids} {are} no longer accepted.")
}

fn capitalized(word: &str) -> String {
    let mut word = word.to_owned();
    if let Some(first) = word.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    word
}

fn until(end: Option<&Moment>) -> String {
    end.map(|end| format!(" until {}", end.0))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The API server refuses an event with a longer note.
    #[test]
    fn a_note_is_never_longer_than_the_api_server_accepts() {
        let live = json!({"kind": "OAuthClient", "metadata": {"name": "a"}});
        let long = "ä".repeat(4000);
        let event = IssueEvent::Conflict {
            message: long.clone(),
        };
        let obstacle = ReadyObstacle {
            is_stalled: true,
            reason: "Invalid".to_owned(),
            message: long.clone(),
        };
        for notice in [
            Notice::new(&live, EventReason::Conflict, true, long.clone()),
            Notice::issued(&live, &event, "secret"),
            Notice::not_ready(Kind::OAuthClient, &live, &obstacle).unwrap(),
        ] {
            let note = notice.event.note.unwrap();
            assert!(
                note.len() <= LONGEST_NOTE && note.len() > LONGEST_NOTE - 4,
                "{}",
                note.len()
            );
        }
    }
}
