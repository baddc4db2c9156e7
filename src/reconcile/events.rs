//! What was done, for people to read: Kubernetes Events. Best effort: they are kept for an hour, never
//! waited for, and left out where there are too many.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::Client;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tracing::debug;

use super::issue::{Emptying, IssueEvent, Retirement};
use crate::directory::ObjectKey;
use crate::resources::{API_VERSION, Kind, Moment};

/// Waiting to be written; more are left out.
const MOST_WAITING: usize = 256;
/// Bytes of a note that the API server takes, and some left.
const LONGEST_NOTE: usize = 1000;
/// For one write.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Who writes them.
const CONTROLLER: &str = "symbolon";

/// Something that happened to an object.
pub struct Notice {
    reason: &'static str,
    event: Event,
    regarding: ObjectReference,
}

impl Notice {
    /// A notice about a live object.
    pub fn new(live: &Value, reason: &'static str, is_warning: bool, mut note: String) -> Self {
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
                reason: reason.to_owned(),
                note: Some(note),
                action: reason.to_owned(),
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

    /// An object that needs an edit; nothing where another notice tells of that. Notices for different reasons are kept
    /// apart by their action.
    pub(super) fn refused(kind: Kind, live: &Value, reason: &str, words: &str) -> Option<Self> {
        let is_told = match reason {
            "SecretConflict" | "MintLimitReached" => kind != Kind::Identity,
            "ValueConflict" => kind == Kind::Identity,
            _ => false,
        };
        if is_told {
            return None;
        }
        Some(Self::new(live, "Refused", true, words.to_owned()).by(reason))
    }

    /// Keeps it apart from notices of one reason about one object: those are merged, and the first text stays.
    #[must_use]
    pub(super) fn by(mut self, action: &str) -> Self {
        action.clone_into(&mut self.event.action);
        self
    }

    /// Tells which part of a Secret beside it is meant. Notices of one reason about one object are merged, and the first
    /// text stays, unless they are about different parts.
    #[must_use]
    pub(super) fn of_secret(mut self, secret: &ObjectKey, part: &str) -> Self {
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

    /// What issuing did to an owner.
    pub(super) fn issued(live: &Value, event: &IssueEvent, secret: &str) -> Self {
        let (reason, is_warning, note) = match event {
            IssueEvent::Issued { token_id, epoch } => (
                "Issued",
                false,
                format!("token {token_id} (epoch {epoch}) is in the Secret {secret}"),
            ),
            IssueEvent::Rotated {
                token_id,
                epoch,
                cause,
            } => (
                "Rotated",
                false,
                format!(
                    "token {token_id} (epoch {epoch}, {}) is in the Secret {secret}",
                    cause.as_str()
                ),
            ),
            IssueEvent::SecretRecreated { token_id, epoch } => (
                "SecretRecreated",
                false,
                format!(
                    "the Secret {secret} was deleted: it holds token {token_id} (epoch {epoch}) now"
                ),
            ),
            IssueEvent::Retired {
                token_id,
                not_after,
                why,
            } => (
                "Retired",
                false,
                retired(token_id, not_after.as_ref(), *why),
            ),
            IssueEvent::Revoked {
                why: Emptying::Revoked,
                ..
            } => (
                "Revoked",
                false,
                "no token of it is accepted any more".to_owned(),
            ),
            IssueEvent::Revoked {
                why: Emptying::ById,
                token_ids,
            } => ("Revoked", false, revoked(token_ids)),
            IssueEvent::Revoked {
                why: Emptying::Leaked,
                ..
            } => (
                "Revoked",
                false,
                format!(
                    "the Secret {secret} was deleted, and onSecretDeleted is Revoke: no token that was in it is accepted any more"
                ),
            ),
            IssueEvent::Adopted { secret } => (
                "Adopted",
                false,
                format!(
                    "the Secret {secret} had no owner and says that it was made for this object"
                ),
            ),
            IssueEvent::Conflict { message } => ("Conflict", true, message.clone()),
            IssueEvent::MintLimitReached { message } => ("MintLimitReached", true, message.clone()),
        };
        Self::new(live, reason, is_warning, note)
    }
}

/// Where notices are handed in.
#[derive(Clone)]
pub struct Notices {
    sender: Option<mpsc::Sender<Notice>>,
    observer: Observer,
}

/// Is told the reason of each notice.
type Observer = Arc<dyn Fn(&'static str) + Send + Sync>;

impl Notices {
    /// Written by a task of its own, which merges repeated ones.
    pub fn written(client: Client, instance: String) -> Self {
        let (sender, mut receiver) = mpsc::channel::<Notice>(MOST_WAITING);
        let reporter = Reporter {
            controller: CONTROLLER.to_owned(),
            instance: Some(instance),
        };
        let recorder = Recorder::new(client, reporter);
        tokio::spawn(async move {
            while let Some(Notice {
                event, regarding, ..
            }) = receiver.recv().await
            {
                let written =
                    tokio::time::timeout(TIMEOUT, recorder.publish(&event, &regarding)).await;
                if !matches!(written, Ok(Ok(()))) {
                    debug!(reason = event.reason, "an event could not be written");
                }
            }
        });
        Self {
            sender: Some(sender),
            observer: Arc::new(|_| {}),
        }
    }

    /// Read by nobody.
    pub fn ignored() -> Self {
        Self {
            sender: None,
            observer: Arc::new(|_| {}),
        }
    }

    /// Has each one reported, written or not.
    #[must_use]
    pub fn observed(mut self, observer: impl Fn(&'static str) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Hands one in.
    pub(super) fn publish(&self, notice: Notice) {
        (self.observer)(notice.reason);
        if let Some(sender) = &self.sender {
            drop(sender.try_send(notice));
        }
    }
}

fn retired(token_id: &str, end: Option<&Moment>, why: Retirement) -> String {
    let end = until(end);
    match why {
        Retirement::Replaced => {
            format!("token {token_id} is accepted{end} and replaced by a newer one")
        }
        Retirement::Quiet => format!(
            "token {token_id} is accepted no more: the newer one is in use, and it was in no use for the quiet period"
        ),
        Retirement::Lapsed => {
            format!("secret {token_id} is accepted{end}: what brought it is gone")
        }
        Retirement::Sooner => {
            format!("token {token_id} is accepted{end}: its expiresAt is sooner now")
        }
    }
}

fn revoked(token_ids: &[String]) -> String {
    let (tokens, are) = match token_ids {
        [_] => ("token", "was revoked and is"),
        _ => ("tokens", "were revoked and are"),
    };
    let ids = token_ids.join(", ");
    format!("{tokens} {ids} {are} not accepted any more; other tokens of this object stay")
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
    fn a_note_is_never_longer_than_the_api_server_takes() {
        let live = json!({"kind": "OAuthClient", "metadata": {"name": "a"}});
        let long = "ä".repeat(4000);
        let event = IssueEvent::Conflict {
            message: long.clone(),
        };
        for notice in [
            Notice::new(&live, "Conflict", true, long.clone()),
            Notice::issued(&live, &event, "secret"),
            Notice::refused(Kind::OAuthClient, &live, "Invalid", &long).unwrap(),
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
