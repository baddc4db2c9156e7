//! What to do with a key Secret whose Identity is gone. Pure.
//!
//! The Secret stays long enough for a mistake to be noticed: an Identity that was pruned and applied again keeps its
//! keys and everything that they sealed. The Secret itself records when that time began, because leaders change.

use jiff::{SignedDuration, Timestamp};

use super::IDENTITY_MISSING;
use crate::directory::ObjectKey;
use crate::reconcile::cluster::secret::SecretObject;
use crate::reconcile::key_secrets::{ANNOTATION_GONE, ANNOTATION_IDENTITY, ANNOTATION_STILL_GONE};

/// How often the mark is confirmed while the Identity stays gone.
const CONFIRM_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// The longest time between two confirmations. After a longer one, the Identity may have come back in between while the
/// mark could not be removed, so the waiting time begins again.
pub(super) const LONGEST_GAP: SignedDuration = SignedDuration::from_hours(3);
/// By how much another leader's clock may be ahead.
const CLOCK_SKEW: SignedDuration = SignedDuration::from_hours(1);

/// What to do about a key Secret whose Identity does not exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SweepAction {
    /// Keep it: it was not created for this Identity.
    Leave,
    /// Record that the waiting time began at this time, and that the Identity is still gone.
    Mark(Timestamp),
    /// Wait until this time.
    Wait(Timestamp),
    /// Delete it: the waiting time is over.
    Delete,
}

/// Plans for a Secret that is named like a key Secret of `identity`, which does not exist. `seen` is when this process
/// last knew that the Identity exists.
///
/// A mark counts only if it is younger than that, and was confirmed all the time since: a mark that could not be
/// removed when the Identity came back must not shorten the next waiting time.
pub fn plan(
    secret: &SecretObject,
    identity: &ObjectKey,
    seen: Option<Timestamp>,
    now: Timestamp,
) -> SweepAction {
    let is_of_identity = secret.annotation(ANNOTATION_IDENTITY) == Some(&*identity.name);
    if !secret.is_managed() || !is_of_identity || secret.is_deleting() || secret.has_owner() {
        return SweepAction::Leave;
    }
    let time = |mark| -> Option<Timestamp> { secret.annotation(mark)?.parse().ok() };
    let (Some(since), Some(confirmed)) = (time(ANNOTATION_GONE), time(ANNOTATION_STILL_GONE))
    else {
        return SweepAction::Mark(now);
    };
    let age = now.duration_since(confirmed);
    // A time far in the future would keep the Secret for ever, or hide a gap.
    let is_unbroken = since <= confirmed && -CLOCK_SKEW <= age && age <= LONGEST_GAP;
    let ends = ends(since, confirmed);
    match ends {
        _ if !is_unbroken || seen.is_some_and(|seen| since < seen) => SweepAction::Mark(now),
        [Ok(end), _] if end <= now => SweepAction::Delete,
        [_, Ok(confirm)] if confirm <= now => SweepAction::Mark(since),
        [Ok(end), Ok(confirm)] => SweepAction::Wait(end.min(confirm)),
        _ => SweepAction::Mark(now),
    }
}

/// Returns when to check again after a mark was written. This is never at once, because a webhook may remove every mark.
pub fn after_mark(since: Timestamp, now: Timestamp) -> Option<Timestamp> {
    ends(since, now).into_iter().flatten().min()
}

/// Returns when the Secret may be deleted, and when its mark must be confirmed.
fn ends(since: Timestamp, confirmed: Timestamp) -> [Result<Timestamp, jiff::Error>; 2] {
    [
        since.checked_add(IDENTITY_MISSING),
        confirmed.checked_add(CONFIRM_EVERY),
    ]
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

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn seen(seen: Option<&str>, edit: impl FnOnce(&mut Value)) -> SweepAction {
        let (identity, now) = (ObjectKey::new("platform", "main"), at(NOW));
        plan(&secret(edit), &identity, seen.map(at), now)
    }

    fn step(edit: impl FnOnce(&mut Value)) -> SweepAction {
        seen(None, edit)
    }

    const NOW: &str = "2026-02-04T00:00:00Z";

    fn marks(since: &str, confirmed: &str) -> impl FnOnce(&mut Value) {
        move |it| {
            it["metadata"]["annotations"]["symbolon.dev/identity-gone-since"] = json!(since);
            it["metadata"]["annotations"]["symbolon.dev/identity-gone-checked"] = json!(confirmed);
        }
    }

    fn marked(since: &str, confirmed: &str) -> SweepAction {
        step(marks(since, confirmed))
    }

    #[test]
    fn a_key_secret_is_deleted_three_days_after_its_identity() {
        let now = at(NOW);
        assert_eq!(step(|_| {}), SweepAction::Mark(now));
        let (minute_ago, hour_ago) = ("2026-02-03T23:59:00Z", "2026-02-03T23:00:00Z");
        let begin = "2026-02-01T00:00:01Z";
        assert_eq!(
            marked(begin, minute_ago),
            SweepAction::Wait(at("2026-02-04T00:00:01Z"))
        );
        let later = "2026-02-03T00:00:00Z";
        assert_eq!(
            marked(later, minute_ago),
            SweepAction::Wait(at("2026-02-04T00:59:00Z"))
        );
        assert_eq!(
            marked(later, hour_ago),
            SweepAction::Mark(at(later)),
            "confirmed"
        );
        assert_eq!(
            marked("2026-02-01T00:00:00Z", hour_ago),
            SweepAction::Delete
        );
        assert_eq!(
            marked("2025-01-01T00:00:00Z", minute_ago),
            SweepAction::Delete
        );
    }

    #[test]
    fn an_invalid_mark_is_replaced() {
        let now = SweepAction::Mark(at(NOW));
        assert_eq!(marked("yesterday", NOW), now);
        assert_eq!(marked("2027-01-01T00:00:00Z", NOW), now);
        assert_eq!(marked("2026-01-01T00:00:00Z", "2027-01-01T00:00:00Z"), now);
        let half = |it: &mut Value| {
            it["metadata"]["annotations"]["symbolon.dev/identity-gone-since"] =
                json!("2026-01-01T00:00:00Z");
        };
        assert_eq!(step(half), now, "a mark that no operator confirmed");
    }

    /// A policy may refuse to remove the mark when the Identity comes back. At its next deletion the keys stay as long
    /// as after the first one, also if another operator leads by then.
    #[test]
    fn a_mark_that_was_left_behind_counts_no_more() {
        let (old, hour_ago) = ("2026-01-01T00:00:00Z", "2026-02-03T23:30:00Z");
        for seen_at in [hour_ago, NOW] {
            let left = seen(Some(seen_at), marks(old, hour_ago));
            assert_eq!(left, SweepAction::Mark(at(NOW)), "{seen_at}");
        }
        let gap = "2026-02-03T20:59:59Z";
        assert_eq!(marked(old, gap), SweepAction::Mark(at(NOW)));
        // The Identity was there before the mark.
        let before = seen(Some("2025-12-31T23:59:59Z"), marks(old, hour_ago));
        assert_eq!(before, SweepAction::Delete);
    }

    #[test]
    fn secrets_of_others_stay() {
        assert_eq!(
            step(|it| it["metadata"]["labels"] = json!({})),
            SweepAction::Leave
        );
        assert_eq!(
            step(|it| it["metadata"]["annotations"] = json!({})),
            SweepAction::Leave,
            "this is the Secret of a token"
        );
        let other = json!({"symbolon.dev/identity": "other"});
        assert_eq!(
            step(|it| it["metadata"]["annotations"] = other),
            SweepAction::Leave
        );
        let owner = json!([{"uid": "x"}]);
        assert_eq!(
            step(|it| it["metadata"]["ownerReferences"] = owner),
            SweepAction::Leave
        );
    }
}
