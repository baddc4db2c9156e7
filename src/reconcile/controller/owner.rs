//! The pass over an OAuthClient or a ServiceAccessToken: its Secret, then its status.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::Value;

use super::{
    Controller, ReconcileError, Reconciled, access_denied, api, is_deleting, key_of, now,
    secret_refused, webhook_down,
};
use crate::directory::{Directory, ObjectKey, Problem, Reason, Standing};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::issue::{
    IssueError, IssueEvent, PassOutcome, Rules, SecretIssuer, Settled, Target, issue,
};
use crate::reconcile::key_secrets::FoundMac;
use crate::reconcile::report::events::{EventReason, Notice};
use crate::reconcile::report::status::{self, Issuance};
use crate::reconcile::report::trail;
use crate::resources::{CredentialOwner, OwnerKind};
use crate::tokens::{MacKey, SystemEntropy};

/// The key that seals the owner's records, or why it is not available.
enum Sealing {
    With(Arc<MacKey>),
    /// The owner is revoked: its tokens are removed without a key.
    NotNeeded,
    /// The Identity's Secret has no usable key.
    Unusable(Problem),
    /// The Identity has no key yet.
    Missing,
}

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Reconciles a client or token: its Secret, then its status.
    pub(super) async fn owner(
        &self,
        kind: OwnerKind,
        key: &ObjectKey,
    ) -> Result<Reconciled, ReconcileError> {
        let directory = self.directory();
        // Objects that the directory does not know are reconciled when the watch brings them.
        if directory.owner_uid(kind, key).is_none() {
            return Ok(Reconciled::Gone);
        }
        let standing = standing(&directory, kind, key, now());
        let Some(target) = target(&directory, kind, key, &standing) else {
            return self
                .report_owner(kind, key, Issuance::Settled(unissued(standing)), None)
                .await;
        };
        let fallback = fallback(&standing);
        let sealing = self.sealing(&standing, &target).await;
        let is_sealing = matches!(&sealing, Ok(Sealing::With(_) | Sealing::NotNeeded));
        if let Some(settled) = fallback.as_ref().filter(|_| !is_sealing) {
            let issuance = Issuance::Settled(settled.clone());
            let reconciled = self.report_owner(kind, key, issuance, None).await?;
            // The Identity's own pass queues the owners that were not reconciled.
            return match sealing? {
                Sealing::Missing => Ok(Reconciled::Soon),
                _ => Ok(reconciled),
            };
        }
        let has_none = matches!(&sealing, Ok(Sealing::Missing) | Err(_));
        if has_none && lock(&self.macs).is_refused(&target.identity) {
            let issuance = Issuance::Blocked(keys_refused(&target.identity));
            let reconciled = self.report_owner(kind, key, issuance, None).await?;
            // The Identity's own pass queues this owner when it has created the key.
            return sealing.map(|_| reconciled);
        }
        let mac = match sealing? {
            Sealing::With(mac) => Some(mac),
            Sealing::NotNeeded => None,
            Sealing::Unusable(problem) => {
                let message = format!(
                    "Identity {} is not ready: {}",
                    target.identity, problem.message
                );
                let problem = Problem::error(Reason::IdentityNotReady, "", message);
                return self
                    .report_owner(kind, key, Issuance::Blocked(problem), None)
                    .await;
            }
            // The Identity's own pass creates the key and queues this owner.
            Sealing::Missing => return Ok(Reconciled::Soon),
        };
        let live = Mutex::new(None);
        let outcome = self.issue(kind, &target, mac.as_deref(), &live).await;
        let live: Option<Value> = live.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(live) = &live {
            self.tell_of_issuing(kind, live, &outcome.events, &target.secret_name);
        }
        let refused = outcome.refused;
        let issuance = match outcome.result {
            Ok(Settled::Gone) => return Ok(Reconciled::Gone),
            Ok(Settled::Moved) => return Ok(Reconciled::Soon),
            Ok(settled) => Issuance::Settled(settled),
            Err(error) => return self.blocked(kind, key, live, error, fallback).await,
        };
        let reported = match live {
            Some(live) => {
                let note = refused
                    .as_ref()
                    .and_then(|it| refusal(kind, it))
                    .map(|it| it.message);
                self.report_live(kind, &live, issuance, note).await?
            }
            None => Reconciled::Gone,
        };
        refused.map_or(Ok(reported), |error| Err(error.into()))
    }

    /// Returns the key that seals. A revoked owner is emptied without one, because its Identity may be gone or may
    /// never have existed. Its status says nothing about the Identity's Secret, because anyone can name an Identity.
    async fn sealing(
        &self,
        standing: &Standing,
        target: &Target,
    ) -> Result<Sealing, ReconcileError> {
        if *standing == Standing::Revoked {
            return Ok(Sealing::NotNeeded);
        }
        Ok(match self.mac(&target.identity).await? {
            FoundMac::Key(mac) => Sealing::With(mac),
            FoundMac::Unusable(problem) => Sealing::Unusable(problem),
            FoundMac::Missing => Sealing::Missing,
        })
    }

    /// Publishes an event for each thing that was done, and logs an audit event for each secret or token.
    fn tell_of_issuing(&self, kind: OwnerKind, live: &Value, events: &[IssueEvent], secret: &str) {
        if events.is_empty() {
            return;
        }
        let directory = self.directory_with(kind.kind(), live);
        for event in events {
            self.notices.publish(Notice::issued(live, event, secret));
            trail::audit(&directory, kind, live, event);
        }
    }

    async fn issue(
        &self,
        kind: OwnerKind,
        target: &Target,
        mac: Option<&MacKey>,
        live: &Mutex<Option<Value>>,
    ) -> PassOutcome {
        let judge = |object: &Value| {
            *lock(live) = Some(object.clone());
            let directory = self.directory_with(kind.kind(), object);
            standing(&directory, kind, &target.owner_key(), now())
        };
        let issuer = SecretIssuer {
            cluster: &self.cluster,
            rules: Rules {
                request_timeout: self.tuning.request_timeout,
                watching_since: self.agenda.led_since().unwrap_or_else(now),
                mac,
                ..Rules::without_key()
            },
            budget: &self.budget,
            now: &now,
            judge: &judge,
        };
        issue(&issuer, target, &mut SystemEntropy).await
    }

    /// Reports what someone must do about a failed pass, if anything. The pass is retried in any case.
    async fn blocked(
        &self,
        kind: OwnerKind,
        key: &ObjectKey,
        live: Option<Value>,
        error: IssueError,
        fallback: Option<Settled>,
    ) -> Result<Reconciled, ReconcileError> {
        let Some(problem) = refusal(kind, &error) else {
            return Err(error.into());
        };
        // What cannot be read is not told here: anyone can name an Identity.
        let is_write = matches!(error, IssueError::Apply(..));
        let (issuance, note) = match fallback {
            Some(settled) => (
                Issuance::Settled(settled),
                is_write.then_some(problem.message),
            ),
            None => (Issuance::Blocked(problem), None),
        };
        match live {
            Some(live) => self.report_live(kind, &live, issuance, note).await?,
            // The owner is read after its Secret, so it may not have been read.
            None => self.report_owner(kind, key, issuance, note).await?,
        };
        Err(error.into())
    }

    async fn report_owner(
        &self,
        kind: OwnerKind,
        key: &ObjectKey,
        issuance: Issuance,
        note: Option<String>,
    ) -> Result<Reconciled, ReconcileError> {
        let live = self
            .cluster
            .object(kind.kind(), key)
            .await
            .map_err(api("reading the object"))?;
        match live.filter(|live| !is_deleting(live)) {
            Some(live) => self.report_live(kind, &live, issuance, note).await,
            None => Ok(Reconciled::Gone),
        }
    }

    /// Reports what issuing found. `note` is about a refused write that changes nothing else in the status.
    async fn report_live(
        &self,
        kind: OwnerKind,
        live: &Value,
        issuance: Issuance,
        note: Option<String>,
    ) -> Result<Reconciled, ReconcileError> {
        let (directory, now) = (self.directory_with(kind.kind(), live), now());
        let key = key_of(live);
        let wanted = match kind {
            OwnerKind::OAuthClient => directory
                .client(&key)
                .map(|object| status::client(live, &directory, object, &issuance, now)),
            OwnerKind::ServiceAccessToken => directory
                .service_token(&key)
                .map(|object| status::service_token(live, &directory, object, &issuance, now)),
        };
        let Some(mut wanted) = wanted else {
            return Ok(Reconciled::Gone);
        };
        if let Some(note) = note {
            wanted = status::noted(wanted, &note);
            if status::is_message_new(live, &wanted) {
                let notice = Notice::new(live, EventReason::Refused, true, note);
                self.notices.publish(notice.by("Write"));
            }
        }
        let until = match &issuance {
            Issuance::Settled(settled) => settled.requeue_at(),
            Issuance::Blocked(_) => None,
        };
        self.report(kind.kind(), live, &wanted, until).await
    }
}

/// Returns what the directory says about the owner's token.
fn standing(directory: &Directory, kind: OwnerKind, key: &ObjectKey, now: Timestamp) -> Standing {
    match kind {
        OwnerKind::OAuthClient => directory.client_secret_standing(key, now),
        OwnerKind::ServiceAccessToken => directory.service_token_standing(key, now),
    }
}

/// Returns where the owner's objects are, if there is anything to issue or to revoke.
fn target(
    directory: &Directory,
    kind: OwnerKind,
    key: &ObjectKey,
    standing: &Standing,
) -> Option<Target> {
    match standing {
        Standing::Wanted(desired) => Some(Target {
            owner: desired.owner.clone(),
            identity: desired.identity.clone(),
            secret_name: desired.secret_name.clone(),
        }),
        Standing::Revoked => {
            let object = directory.service_token(key)?;
            let record = object.record()?;
            let named = directory
                .client(&record.client)
                .and_then(|client| client.record()?.identity.as_ref());
            // If the Identity is gone, only the recorded tokens are left to be emptied.
            let standing = named.filter(|it| directory.identity(it).is_some()).cloned();
            let identity = standing.or_else(|| recorded_identity(directory, named, &object.uid))?;
            Some(Target {
                owner: CredentialOwner {
                    kind,
                    namespace: key.namespace.to_string(),
                    name: key.name.to_string(),
                    uid: object.uid.to_string(),
                },
                identity,
                secret_name: record.secret.name.to_string(),
            })
        }
        Standing::Withheld(_) | Standing::NotWanted => None,
    }
}

/// Returns what someone must do about an object that the API server does not let the operator read or write; `None` for
/// an error that may go away by itself.
fn refusal(kind: OwnerKind, error: &IssueError) -> Option<Problem> {
    let (object, verb, cause) = match error {
        IssueError::Gather(object, cause) => (*object, "read", cause),
        IssueError::Apply(object, cause) => (*object, "write", cause),
        IssueError::Contended => return None,
    };
    let words = match cause {
        ApiError::Forbidden(words) | ApiError::Invalid(words) => words,
        ApiError::WebhookDown(words) => {
            return Some(webhook_down(&format!("{object} of this object"), words));
        }
        _ => return None,
    };
    let is_forbidden = matches!(cause, ApiError::Forbidden(_));
    Some(match (object, verb) {
        ("Secret", _) if is_forbidden => access_denied(words, template_of(kind)),
        ("Secret", "read") => Problem::error(
            Reason::SecretAccessDenied,
            "",
            format!("the operator cannot read the Secret: {words}"),
        ),
        ("Secret", _) => Problem::error(
            Reason::Invalid,
            "/spec",
            secret_refused(words, template_of(kind)),
        ),
        // Only administrators can change this: the object waits for them.
        _ => Problem::error(
            Reason::Pending,
            "",
            format!(
                "the API server does not let the operator {verb} the {object} of this object: {words}; ask the administrators of the Identity to change the policy, or the Identity's spec.inheritedMetadata"
            ),
        ),
    })
}

/// Returns the field with the template of the owner's Secret.
const fn template_of(kind: OwnerKind) -> &'static str {
    match kind {
        OwnerKind::OAuthClient => "spec.authentication.secret.template",
        OwnerKind::ServiceAccessToken => "spec.secret.template",
    }
}

/// The problem of an owner whose Identity has no key yet. The reason is in the Identity's conditions only, because
/// anyone can name an Identity.
pub(super) fn keys_refused(identity: &ObjectKey) -> Problem {
    let message = format!(
        "Identity {identity} has no keys, because the API server refuses its Secrets: see the conditions of the Identity, or ask its administrators"
    );
    Problem::error(Reason::IdentityNotReady, "", message)
}

/// Returns what to report if the operator can access neither the Secret nor the Credential and need not issue anything
/// anyway. The reason why the owner is not served is known without them.
fn fallback(standing: &Standing) -> Option<Settled> {
    match standing {
        Standing::Wanted(desired) if !desired.withheld.is_empty() => {
            Some(Settled::Withheld(desired.withheld.clone()))
        }
        Standing::Revoked => Some(Settled::Revoked),
        Standing::Wanted(_) | Standing::Withheld(_) | Standing::NotWanted => None,
    }
}

/// Returns the Identity that the owner's Credential names. The Credential is in the Identity's namespace; all
/// Credentials are searched only if that namespace is no longer known.
fn recorded_identity(
    directory: &Directory,
    named: Option<&ObjectKey>,
    owner_uid: &str,
) -> Option<ObjectKey> {
    let beside = |identity: &ObjectKey| {
        let key = ObjectKey::new(&identity.namespace, owner_uid);
        directory.credential(&key).map(|it| it.identity.clone())
    };
    named.and_then(beside).or_else(|| {
        let mut credentials = directory.credentials();
        let own = credentials.find(|credential| *credential.owner.uid == *owner_uid);
        own.map(|it| it.identity.clone())
    })
}

/// Returns how the pass ends if nothing is issued.
fn unissued(standing: Standing) -> Settled {
    match standing {
        Standing::Withheld(problems) => Settled::Withheld(problems),
        Standing::Revoked => Settled::Revoked,
        Standing::Wanted(_) | Standing::NotWanted => Settled::NotWanted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A refused object that no condition names is an outage that no one sees.
    #[test]
    fn every_refused_read_and_write_is_told_with_the_words_of_the_policy() {
        let words = || "no such team".to_owned();
        for object in ["Credential", "Secret", "owner"] {
            for cause in [
                ApiError::Forbidden(words()),
                ApiError::Invalid(words()),
                ApiError::WebhookDown(words()),
            ] {
                for error in [
                    IssueError::Gather(object, cause.clone()),
                    IssueError::Apply(object, cause.clone()),
                ] {
                    let problem = refusal(OwnerKind::OAuthClient, &error)
                        .unwrap_or_else(|| panic!("{error:?}"));
                    assert!(problem.message.contains("no such team"), "{problem:?}");
                    assert!(problem.message.contains(object), "{problem:?}");
                }
            }
            let passing = IssueError::Apply(object, ApiError::Unavailable(words()));
            assert_eq!(refusal(OwnerKind::OAuthClient, &passing), None);
        }
        assert_eq!(
            refusal(OwnerKind::OAuthClient, &IssueError::Contended),
            None
        );
    }
}
