//! What to do with a key Secret whose Identity is gone. Pure.
//!
//! The Secret stays long enough for a mistake to be noticed: an Identity that was pruned and applied again keeps its
//! keys and everything that they sealed. The Secret itself records when that time began, because leaders change.

use jiff::{SignedDuration, Timestamp};

use super::IDENTITY_MISSING;
use crate::directory::ObjectKey;
use crate::reconcile::cluster::secret::SecretObject;
use crate::reconcile::key_secrets::{ANNOTATION_GONE, ANNOTATION_IDENTITY};

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Keep it: it was not created for this Identity.
    Leave,
    /// Record that the waiting time begins.
    Mark,
    /// Wait until this time.
    Wait(Timestamp),
    /// Delete it: the waiting time is over.
    Delete,
}

/// Plans for a Secret that is named like a key Secret of `identity`, which does not exist.
pub fn plan(secret: &SecretObject, identity: &ObjectKey, now: Timestamp) -> Step {
    let is_of_identity = secret.annotation(ANNOTATION_IDENTITY) == Some(&*identity.name);
    if !secret.is_managed() || !is_of_identity || secret.is_deleting() || secret.has_owner() {
        return Step::Leave;
    }
    let since: Option<Timestamp> = secret
        .annotation(ANNOTATION_GONE)
        .and_then(|text| text.parse().ok());
    match since.and_then(|since| since.checked_add(IDENTITY_MISSING).ok()) {
        Some(end) if end <= now => Step::Delete,
        // A time far in the future would keep the Secret for ever.
        Some(end)
            if end.duration_since(now) <= IDENTITY_MISSING + SignedDuration::from_hours(1) =>
        {
            Step::Wait(end)
        }
        _ => Step::Mark,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn secret(edit: impl FnOnce(&mut Value)) -> SecretObject {
        let mut manifest = json!({"metadata": {
            "labels": {"symbolon.dev/managed": "true"},
            "annotations": {"symbolon.dev/identity": "main"},
        }});
        edit(&mut manifest);
        SecretObject::new(manifest.as_object().unwrap().clone())
    }

    fn step(edit: impl FnOnce(&mut Value)) -> Step {
        let now = "2026-02-04T00:00:00Z".parse().unwrap();
        plan(&secret(edit), &ObjectKey::new("platform", "main"), now)
    }

    fn marked(since: &str) -> Step {
        step(|it| it["metadata"]["annotations"]["symbolon.dev/identity-gone-since"] = json!(since))
    }

    #[test]
    fn a_key_secret_is_deleted_three_days_after_its_identity() {
        assert_eq!(step(|_| {}), Step::Mark);
        let end = "2026-02-04T00:00:01Z".parse().unwrap();
        assert_eq!(marked("2026-02-01T00:00:01Z"), Step::Wait(end));
        assert_eq!(marked("2026-02-01T00:00:00Z"), Step::Delete);
        assert_eq!(marked("2025-01-01T00:00:00Z"), Step::Delete);
    }

    #[test]
    fn an_invalid_mark_is_replaced() {
        assert_eq!(marked("yesterday"), Step::Mark);
        assert_eq!(marked("2027-01-01T00:00:00Z"), Step::Mark);
    }

    #[test]
    fn secrets_of_others_stay() {
        assert_eq!(step(|it| it["metadata"]["labels"] = json!({})), Step::Leave);
        assert_eq!(
            step(|it| it["metadata"]["annotations"] = json!({})),
            Step::Leave,
            "this is the Secret of a token"
        );
        let other = json!({"symbolon.dev/identity": "other"});
        assert_eq!(
            step(|it| it["metadata"]["annotations"] = other),
            Step::Leave
        );
        let owner = json!([{"uid": "x"}]);
        assert_eq!(
            step(|it| it["metadata"]["ownerReferences"] = owner),
            Step::Leave
        );
    }
}
