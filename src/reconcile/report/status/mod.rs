//! Builds statuses from what the directory judges and what issuing found. Pure.
//!
//! This file says what the status of each kind contains, and `user` that of a User; `endpoints` says which URLs an
//! Identity announces, and `builder` how fields and conditions are written. Of these statuses, servers read only what ends
//! something: `endedAt` and `enrollment` of a User.

mod builder;
mod endpoints;
mod issuance;
mod obstacle;
#[cfg(test)]
mod tests;
mod user;

use jiff::Timestamp;
use serde_json::{Value, json};

use self::builder::{StatusBuilder, joined, worst};
use self::endpoints::ServedState;
pub use self::issuance::Issuance;
pub(super) use self::obstacle::condition;
pub use self::obstacle::{ReadyObstacle, new_obstacle};
pub use self::user::user;

use crate::directory::tables::record::{
    ClientRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord,
};
use crate::directory::{Counts, Directory, ObjectKey, Problem, Reason, ReferenceCounts, Settings};
use crate::reconcile::fleet::FleetOutcome;
use crate::resources::{ANNOTATION_CREATED_BY, KeyStatus};

/// The value of `createdBy` if no admission policy guards the annotation.
pub(super) const UNVERIFIED: &str = "unverified";
/// The maximum number of bytes of a name that is shown as a creator.
const LONGEST_CREATOR: usize = 512;

/// Returns the live object with the wanted status of a Scope.
pub fn scope(
    live: &Value,
    directory: &Directory,
    object: &Object<ScopeRecord>,
    counts: Option<&Counts>,
    now: Timestamp,
) -> Value {
    let mut status = StatusBuilder::of(live, now);
    let problems = directory.scope_problems(object);
    if let Some(record) = object.record() {
        status.set("value", json!(*record.value));
        status.set("identity", identity_name(record.identity.as_ref()));
    }
    status.verdict("Accepted", &problems);
    let is_disabled = object.record().is_some_and(|record| record.disabled);
    status.ready(
        &problems,
        is_disabled.then_some((
            Reason::Disabled,
            "The Scope is disabled: no token contains it.",
        )),
    );
    let wanted = status.finish();
    let record = object.record();
    match (
        counts,
        record.and_then(|it| Some((it.identity.as_ref()?, &it.value))),
    ) {
        (Some(counts), Some((identity, value))) => {
            counted(wanted, counts.of_scope(identity, value))
        }
        _ => wanted,
    }
}

/// Returns the object with the number of clients and tokens that name it in its status.
pub fn counted(mut wanted: Value, named: ReferenceCounts) -> Value {
    wanted["status"]["clients"] = json!(named.clients);
    wanted["status"]["tokens"] = json!(named.tokens);
    wanted
}

/// Returns the object with a note in the message of `Ready`, about a write that was refused although the object is as
/// `Ready` says.
pub fn noted(mut wanted: Value, note: &str) -> Value {
    let conditions = wanted["status"]["conditions"].as_array_mut();
    let mut conditions = conditions.into_iter().flatten();
    if let Some(ready) = conditions.find(|condition| condition["type"] == "Ready") {
        let said = ready["message"].as_str().unwrap_or_default();
        let all: Vec<&str> = [said, note]
            .into_iter()
            .filter(|it| !it.is_empty())
            .collect();
        ready["message"] = joined(&all).into();
    }
    wanted
}

/// Whether a new status shows another message of `Ready` than the live one.
pub fn is_message_new(live: &Value, wanted: &Value) -> bool {
    let message = |object| Some(&condition(object, "Ready")?["message"]);
    message(live) != message(wanted)
}

/// What a pass found in an Identity's key Secrets.
#[derive(Clone, Copy, Debug)]
pub struct KeysFound<'a> {
    /// The signing keys, or the reason why there are none; `None`: the pass did not check.
    pub keys: Option<Result<&'a [KeyStatus], &'a Problem>>,
    /// A refused write of a Secret, while the keys are as they are.
    pub refused: Option<&'a Problem>,
}

/// Returns the live object with the wanted status of an Identity. `pods` is what runs it; `None` means that the pass
/// did not check.
pub fn identity(
    live: &Value,
    directory: &Directory,
    object: &Object<IdentityRecord>,
    found: KeysFound<'_>,
    pods: Option<&FleetOutcome>,
    now: Timestamp,
) -> Value {
    let mut status = StatusBuilder::of(live, now);
    let mut problems = directory.identity_problems(object);
    let accepted = object.record().filter(|_| problems.is_empty());
    let has_keys = matches!(found.keys, Some(Ok(_)));
    match (accepted, ServedState::of(has_keys, pods)) {
        (None, _) | (_, ServedState::NotServed) => status.set("endpoints", Value::Null),
        (Some(record), ServedState::Served) => status.set("endpoints", endpoints::of(record)),
        (Some(_), ServedState::Unknown) => {}
    }
    status.verdict("Accepted", &problems);
    match found.keys {
        Some(Ok(keys)) => status.set("keys", json!(keys)),
        Some(Err(problem)) => problems.push(problem.clone()),
        None => {}
    }
    problems.extend(found.refused.cloned());
    if let Some(pods) = pods {
        status.pods(pods, &mut problems);
    }
    let record = object.record();
    let ahead = record.and_then(|record| record.revoked_ahead(now));
    let words = ahead.map(|moment| {
        format!("spec.revokeIssuedBefore is in the future: until {moment}, no token is issued and no existing token is accepted.")
    });
    status.ready(
        &problems,
        words.as_deref().map(|words| (Reason::Ready, words)),
    );
    let rollout = pods.and_then(|pods| pods.rollout.as_ref());
    let upgrade = rollout.and_then(|rollout| rollout.upgrade.as_ref());
    if let Some(upgrade) = upgrade.filter(|_| worst(&problems).is_none()) {
        // The Identity is served as before, but the installation's upgrade is not complete.
        status.condition("Reconciling", "True", Reason::RollingOut.as_str(), upgrade);
    }
    status.finish()
}

/// Returns the live object with the wanted status of an OAuthClient.
pub fn client(
    live: &Value,
    directory: &Directory,
    object: &Object<ClientRecord>,
    issuance: &Issuance,
    now: Timestamp,
) -> Value {
    let mut status = StatusBuilder::of(live, now);
    let accepted = directory.accepted_client(object);
    let not_granted = match &accepted {
        Ok(client) => [
            directory.not_granted(client),
            directory.interactive_problems(client),
        ]
        .concat(),
        Err(_) => Vec::new(),
    };
    if let Some(record) = object.record() {
        status.set("clientId", json!(*record.client_id));
        status.set("identity", identity_name(record.identity.as_ref()));
        status.secret(&record.secret.name, issuance);
        let scopes = not_granted
            .iter()
            .filter_map(|problem| scope_of(&record.scopes, problem));
        let scopes: Vec<_> = scopes.collect();
        status.set(
            "notGranted",
            if scopes.is_empty() {
                Value::Null
            } else {
                json!(scopes)
            },
        );
    }
    let mut warnings = Vec::new();
    if let Ok(client) = &accepted {
        status.set("issuer", json!(*client.identity.record.issuer));
        warnings.extend(Directory::unwritten_of_client(client));
        warnings.extend(directory.oversized_token(client));
        warnings.extend(directory.consent_is_asked(client));
    }
    let advice = advice(&warnings);
    let mut problems = accepted.err().unwrap_or_default();
    status.verdict("Accepted", &problems);
    if problems.is_empty() {
        status.verdict("Granted", &not_granted);
    }
    status.issued(issuance);
    // A disabled client is ready without its grants, so that an emergency change does not wait for them.
    if !object.record().is_some_and(|record| record.disabled) {
        problems.extend(not_granted);
    }
    problems.extend(issuance.problems());
    status.ready(
        &problems,
        advice.as_deref().map(|words| (Reason::Ready, words)),
    );
    status.finish()
}

/// Returns the live object with the wanted status of a ServiceAccessToken.
pub fn service_token(
    live: &Value,
    directory: &Directory,
    object: &Object<ServiceTokenRecord>,
    issuance: &Issuance,
    now: Timestamp,
) -> Value {
    let mut status = StatusBuilder::of(live, now);
    status.set("createdBy", json!(creator(live, directory.settings())));
    let mut client = None;
    if let Some(record) = object.record() {
        status.secret(&record.secret.name, issuance);
        client = directory.client(&record.client);
    }
    if let Some(client) = client.and_then(|client| directory.accepted_client(client).ok()) {
        status.set("clientId", json!(*client.client.record.client_id));
        status.set("issuer", json!(*client.identity.record.issuer));
    }
    if object.record().is_some_and(|record| record.revoked) {
        return revoked(status, issuance);
    }
    let mut problems = directory.service_token_problems(object, now);
    let (granted, accepted): (Vec<_>, Vec<_>) = problems.iter().cloned().partition(is_about_grants);
    status.verdict("Accepted", &accepted);
    if accepted.is_empty() {
        status.verdict("Granted", &granted);
    }
    status.issued(issuance);
    for problem in issuance.problems() {
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    let advice = advice(&directory.unwritten_of_token(object));
    status.ready(
        &problems,
        advice.as_deref().map(|words| (Reason::Ready, words)),
    );
    status.finish()
}

/// Returns warnings about an object that is ready.
fn advice(warnings: &[Problem]) -> Option<String> {
    let messages: Vec<&str> = warnings.iter().map(|problem| &*problem.message).collect();
    (!messages.is_empty()).then(|| joined(&messages))
}

/// Builds the status of a revoked token. `epoch` and `rotationNonce` stay, because they outlive the Credential.
fn revoked(mut status: StatusBuilder<'_>, issuance: &Issuance) -> Value {
    for field in ["tokenId", "issuedAt", "expiresAt", "renewsAt", "previous"] {
        status.set(field, Value::Null);
    }
    let problems = issuance.problems();
    status.verdict("Accepted", &[]);
    status.condition(
        "Issued",
        "False",
        Reason::Revoked.as_str(),
        "The object is revoked: none of its tokens is accepted.",
    );
    let text = "The object is revoked for good: delete and recreate it to get a new token.";
    status.ready(&problems, Some((Reason::Revoked, text)));
    status.finish()
}

/// Returns who created an object. Only an annotation that an admission policy guards is trusted.
pub(super) fn creator<'a>(live: &'a Value, settings: &Settings) -> &'a str {
    let stamped = live["metadata"]["annotations"][ANNOTATION_CREATED_BY].as_str();
    stamped
        .filter(|name| settings.stamped_creators && (1..=LONGEST_CREATOR).contains(&name.len()))
        .unwrap_or(UNVERIFIED)
}

fn is_about_grants(problem: &Problem) -> bool {
    matches!(
        problem.reason,
        Reason::ScopeNotFound | Reason::ScopeNotGranted
    )
}

fn identity_name(identity: Option<&ObjectKey>) -> Value {
    identity.map_or(Value::Null, |identity| json!(identity.to_string()))
}

/// Returns the scope value that a problem with `/spec/scopes/<index>` is about.
fn scope_of<'a>(scopes: &'a [std::sync::Arc<str>], problem: &Problem) -> Option<&'a str> {
    let index: usize = problem.path.strip_prefix("/spec/scopes/")?.parse().ok()?;
    scopes.get(index).map(|scope| &**scope)
}
