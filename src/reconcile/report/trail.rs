//! The audit log of issuing: a line for each secret or token that is issued, retired or revoked, with the object that
//! asked for it and who created that object. A line contains the public id of a token, never the token.
//!
//! A line is written after the API server has confirmed the change. If the operator is killed in between, the line is
//! missing; the Credential and `status.createdBy` contain the same. Not here: the tokens of deleted objects, and who
//! deleted them. The API server's own audit log has that.

use serde_json::Value;

use super::status;
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::issue::{Emptying, IssueEvent, Retirement};
use crate::resources::{Cause, OwnerKind};
use crate::telemetry::audit::{self, Turned};

/// Logs what an event did to the secrets and tokens of a live object.
pub(in crate::reconcile) fn audit(
    directory: &Directory,
    kind: OwnerKind,
    live: &Value,
    event: &IssueEvent,
) {
    let field = |name: &str| live["metadata"][name].as_str().unwrap_or_default();
    let (namespace, name) = (field("namespace"), field("name"));
    let client_id = client_id(directory, kind, &ObjectKey::new(namespace, name));
    // No admission policy guards the annotation on an OAuthClient.
    let created_by = match kind {
        OwnerKind::ServiceAccessToken => status::creator(live, directory.settings()),
        OwnerKind::OAuthClient => status::UNVERIFIED,
    };
    for (event, token_id, cause) in turns(event) {
        audit::turned(&Turned {
            event,
            kind: kind.kind().as_str(),
            namespace,
            name,
            client_id: client_id.as_deref(),
            token_id,
            cause,
            created_by,
        });
    }
}

fn client_id(directory: &Directory, kind: OwnerKind, owner: &ObjectKey) -> Option<String> {
    let client = match kind {
        OwnerKind::OAuthClient => owner,
        OwnerKind::ServiceAccessToken => &directory.service_token(owner)?.record()?.client,
    };
    Some(directory.client(client)?.record()?.client_id.to_string())
}

/// Returns what happened to which token, and why.
fn turns(event: &IssueEvent) -> Vec<(&'static str, &str, &'static str)> {
    const ISSUED: &str = "credential_issued";
    const ROTATED: &str = "credential_rotated";
    match event {
        IssueEvent::Issued { token_id, .. } => vec![(ISSUED, token_id, Cause::Initial.as_str())],
        IssueEvent::Rotated {
            token_id, cause, ..
        } => vec![(ROTATED, token_id, cause.as_str())],
        IssueEvent::SecretRecreated { token_id, .. } => {
            vec![(ROTATED, token_id, Cause::SecretDeleted.as_str())]
        }
        IssueEvent::Retired { token_id, why, .. } => {
            let cause = match why {
                Retirement::Replaced => "Replaced",
                Retirement::Quiet => "Quiet",
                Retirement::Lapsed => "Lapsed",
                Retirement::Sooner => "Sooner",
                Retirement::Crowded => "Crowded",
            };
            vec![("credential_retired", token_id, cause)]
        }
        IssueEvent::Revoked { token_ids, why } => {
            let cause = match why {
                Emptying::Revoked | Emptying::ById => "Revoked",
                Emptying::Leaked => "SecretDeleted",
            };
            let ids = token_ids.iter();
            ids.map(|id| ("credential_revoked", id.as_str(), cause))
                .collect()
        }
        IssueEvent::Adopted { .. }
        | IssueEvent::Conflict { .. }
        | IssueEvent::MintLimitReached { .. } => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::directory::Settings;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::{ANNOTATION_CREATED_BY, Kind};
    use crate::telemetry::testing::Log;

    /// Returns the lines that events about an object leave, in the form of the operator's log.
    fn lines(directory: &Directory, kind: OwnerKind, live: &Value, events: &[IssueEvent]) -> Value {
        let log = Log::default();
        let guard = log.start();
        for event in events {
            audit(directory, kind, live, event);
        }
        drop(guard);
        let lines = log.audit().into_iter().map(|mut line| {
            let fields = line.as_object_mut().unwrap();
            fields.remove("timestamp");
            fields.remove("target");
            assert_eq!(fields.remove("level"), Some(json!("INFO")));
            line
        });
        lines.collect()
    }

    fn live(kind: Kind, name: &str, creator: &str) -> Value {
        json!({
            "kind": kind.as_str(),
            "metadata": {
                "namespace": "blue", "name": name,
                "annotations": {ANNOTATION_CREATED_BY: creator},
            },
        })
    }

    /// Returns the quickstart's directory, with or without an admission policy that guards the annotation.
    fn directory(stamped_creators: bool) -> Directory {
        let mut directory = Directory::new(Settings {
            stamped_creators,
            ..Settings::default()
        });
        for change in World::new(QUICKSTART).changes(QUICKSTART) {
            directory.apply(change);
        }
        directory
    }

    #[test]
    fn each_change_of_a_token_is_a_line_that_names_the_creator() {
        let id = |name: &str| name.to_owned();
        let events = [
            IssueEvent::Issued {
                token_id: id("one"),
                epoch: 1,
            },
            IssueEvent::Rotated {
                token_id: id("two"),
                epoch: 2,
                cause: Cause::Requested,
            },
            IssueEvent::Retired {
                token_id: id("one"),
                not_after: None,
                why: Retirement::Replaced,
            },
            IssueEvent::SecretRecreated {
                token_id: id("three"),
                epoch: 3,
            },
            IssueEvent::Conflict {
                message: "another object's".to_owned(),
            },
            IssueEvent::Revoked {
                token_ids: vec![id("two"), id("three")],
                why: Emptying::Revoked,
            },
        ];
        let nightly = live(Kind::ServiceAccessToken, "nightly", "jane@example.com");
        let lines = lines(
            &directory(true),
            OwnerKind::ServiceAccessToken,
            &nightly,
            &events,
        );
        let line = |event: &str, token: &str, cause: &str| {
            json!({
                "event": event, "kind": "ServiceAccessToken", "namespace": "blue", "name": "nightly",
                "client_id": "blue.shop", "token_id": token, "cause": cause,
                "created_by": "jane@example.com",
            })
        };
        let expected = json!([
            line("credential_issued", "one", "Initial"),
            line("credential_rotated", "two", "Requested"),
            line("credential_retired", "one", "Replaced"),
            line("credential_rotated", "three", "SecretDeleted"),
            line("credential_revoked", "two", "Revoked"),
            line("credential_revoked", "three", "Revoked"),
        ]);
        assert_eq!(lines, expected);
    }

    #[test]
    fn an_unguarded_creator_name_is_not_logged() {
        let issued = [IssueEvent::Issued {
            token_id: "one".to_owned(),
            epoch: 1,
        }];
        let service_account = format!("system:serviceaccount:blue:{}", "x".repeat(250));
        let cases = [
            (OwnerKind::ServiceAccessToken, true, "jane", "jane"),
            (OwnerKind::ServiceAccessToken, false, "jane", "unverified"),
            (OwnerKind::ServiceAccessToken, true, "", "unverified"),
            (OwnerKind::OAuthClient, true, "jane", "unverified"),
            (OwnerKind::ServiceAccessToken, true, "a\nb", "a\\u{a}b"),
            (
                OwnerKind::ServiceAccessToken,
                true,
                &service_account,
                &service_account,
            ),
        ];
        for (kind, stamped, annotation, told) in cases {
            let name = match kind {
                OwnerKind::ServiceAccessToken => "nightly",
                OwnerKind::OAuthClient => "shop",
            };
            let live = live(kind.kind(), name, annotation);
            let lines = lines(&directory(stamped), kind, &live, &issued);
            assert_eq!(lines[0]["created_by"], told, "{kind:?} {annotation}");
            assert_eq!(lines[0]["client_id"], "blue.shop");
        }
    }
}
