//! The status of a User.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::builder::StatusBuilder;
use super::identity_name;
use crate::directory::tables::record::{Object, UserRecord};
use crate::directory::{Directory, Problem, Reason};
use crate::reconcile::enrolment::LinkState;
use crate::resources::{ANNOTATION_ENROLL, EnrollmentStatus};

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
        (None, None) => return None,
    };
    Some((Reason::Ready, words))
}

fn revoked() -> String {
    format!(
        "spec.revokeIssuedBefore, of the User or of its Identity, has ended the enrolment link: write another value into the annotation {ANNOTATION_ENROLL} to get a new one."
    )
}

fn expired() -> String {
    format!(
        "The enrolment link has expired: write another value into the annotation {ANNOTATION_ENROLL} to get a new one."
    )
}
