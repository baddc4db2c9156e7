//! The status of a User.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::builder::StatusBuilder;
use super::identity_name;
use crate::directory::tables::record::{Object, UserRecord};
use crate::directory::{Directory, Problem, Reason};
use crate::reconcile::enrolment::{self, LinkState};
use crate::resources::{ANNOTATION_ENROLL, EnrollmentStatus, Moment};

/// Returns the live object with the wanted status of a User. `link` is the last enrolment link, which the operator must
/// remember, and `state` is how far it is.
pub fn user(
    live: &Value,
    directory: &Directory,
    object: &Object<UserRecord>,
    link: Option<&EnrollmentStatus>,
    state: &LinkState,
    now: Timestamp,
) -> Value {
    let mut status = StatusBuilder::of(live, now);
    let mut problems = directory.user_problems(object);
    if let Some(record) = object.record() {
        status.set("username", json!(*record.username));
        status.set("identity", identity_name(record.identity.as_ref()));
        status.set("subject", json!(*record.subject));
        if has_newly_ended(live, object, record, now) {
            status.set("endedAt", json!(Moment(now)));
        }
    }
    status.set("enrollment", link.map_or(Value::Null, |link| json!(link)));
    status.verdict("Accepted", &problems);
    linked(&mut status, state);
    if let LinkState::Blocked(problem) = state {
        problems.push(problem.clone());
    }
    let good = object.record().and_then(|record| good(record, state, now));
    let good = good.as_ref();
    status.ready(&problems, good.map(|(reason, words)| (*reason, &**words)));
    status.finish()
}

/// Returns whether the person's time has ended since the live status was written. Of a spec that changed this is not known:
/// the person may have been enabled in the meantime, and a later time revokes nothing more while the person can do nothing.
fn has_newly_ended(
    live: &Value,
    object: &Object<UserRecord>,
    record: &UserRecord,
    now: Timestamp,
) -> bool {
    let status = &live["status"];
    let known = enrolment::ended_at(live);
    let is_judged = status["observedGeneration"].as_i64() == Some(object.generation);
    let passed = record.not_after.filter(|end| *end <= now);
    let is_known = known.is_some_and(|known| passed.is_none_or(|end| end <= known));
    record.has_ended(now) && !(is_judged && is_known)
}

/// Sets `Issued`, which only a User with a link has.
fn linked(status: &mut StatusBuilder<'_>, state: &LinkState) {
    match state {
        LinkState::None => status.without("Issued"),
        LinkState::Held => status.verdict("Issued", &[]),
        LinkState::Issuing => {
            let words = "the operator is about to write the enrolment link";
            let problem = Problem::error(Reason::Issuing, "", words);
            status.verdict("Issued", &[problem]);
        }
        LinkState::Expired => {
            let problem = Problem::error(Reason::Expired, "", expired());
            status.verdict("Issued", &[problem]);
        }
        LinkState::Revoked => {
            let problem = Problem::error(Reason::Expired, "", revoked());
            status.verdict("Issued", &[problem]);
        }
        LinkState::Withdrawn => {
            let problem = Problem::error(Reason::Expired, "", withdrawn());
            status.verdict("Issued", &[problem]);
        }
        LinkState::Blocked(problem) => status.verdict("Issued", std::slice::from_ref(problem)),
    }
}

/// Returns what to say about a User without problems.
fn good(record: &UserRecord, state: &LinkState, now: Timestamp) -> Option<(Reason, String)> {
    if record.disabled {
        let words = "The User is disabled: the person can do nothing.";
        return Some((Reason::Disabled, words.to_owned()));
    }
    let ended = record.not_after.filter(|end| *end <= now);
    let early = record.not_before.filter(|begin| *begin > now);
    let words = match (ended, early) {
        (Some(end), _) => {
            format!("spec.notAfter has passed: the person can do nothing since {end}.")
        }
        (None, Some(begin)) => {
            format!("spec.notBefore is in the future: the person can do nothing until {begin}.")
        }
        (None, None) if *state == LinkState::Expired => expired(),
        (None, None) if *state == LinkState::Revoked => revoked(),
        (None, None) if *state == LinkState::Withdrawn => withdrawn(),
        (None, None) => return None,
    };
    Some((Reason::Ready, words))
}

fn revoked() -> String {
    format!(
        "spec.revokeIssuedBefore of the User or of its Identity, or a time in which the User was disabled or had expired, has ended the enrolment link: write another value into the annotation {ANNOTATION_ENROLL} to get a new one."
    )
}

fn withdrawn() -> String {
    format!(
        "The enrolment link for this value of the annotation {ANNOTATION_ENROLL} was withdrawn: write another value, that the User did not have before, to get a new one."
    )
}

fn expired() -> String {
    format!(
        "The enrolment link has expired: write another value into the annotation {ANNOTATION_ENROLL} to get a new one."
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::ObjectKey;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};

    /// No edit happens when time passes.
    #[test]
    fn an_end_of_validity_is_noted_when_it_passes_and_once() {
        let alice = "
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: platform}
spec: {identityRef: {name: main}, notAfter: \"2026-06-01T12:00:00Z\"}
";
        let world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}---\n{alice}"));
        let key = ObjectKey::new("platform", "alice");
        let object = world.directory.user(&key).unwrap();
        let seen = |live: &Value, now: &str| {
            let (directory, now) = (&world.directory, now.parse().unwrap());
            user(live, directory, object, None, &LinkState::None, now)
        };
        let early = json!({"status": {"endedAt": "2026-05-01T00:00:00Z"}});
        let before = seen(&early, "2026-06-01T11:59:59Z");
        assert_eq!(before["status"]["endedAt"], "2026-05-01T00:00:00Z");
        let after = seen(&before, "2026-06-01T12:00:01Z");
        assert_eq!(after["status"]["endedAt"], "2026-06-01T12:00:01Z");
        assert_eq!(seen(&after, "2026-06-01T13:00:00Z"), after);
    }
}
