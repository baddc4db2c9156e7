//! Builds statuses from what the directory judges and what issuing found. Pure.
//!
//! A new status starts from the live one: fields and conditions of others stay. If nothing changed, it equals the live
//! one, times included, so nothing is written. Validity of a token reads none of these statuses.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md>

#[cfg(test)]
mod tests;

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::directory::tables::record::{
    ClientRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord,
};
use crate::directory::{
    Class, Counts, Directory, Named, ObjectKey, Problem, Reason, Settings, Severity,
};
use crate::oauth::Endpoint;
use crate::reconcile::fleet::{Passed, Phase};
use crate::reconcile::issue::{Facts, Settled};
use crate::resources::{ANNOTATION_CREATED_BY, Cause, KeyStatus};

/// The maximum number of problems in one condition.
const MAX_TOLD: usize = 5;
/// The value of `createdBy` if no admission policy guards the annotation.
pub(super) const UNVERIFIED: &str = "unverified";
/// The maximum number of bytes of a name that is shown as a creator.
const LONGEST_CREATOR: usize = 512;
/// The maximum number of characters in a condition's message.
const LONGEST_MESSAGE: usize = 1024;

/// The result of issuing for an owner's Secret.
#[derive(Clone, Debug, PartialEq)]
pub enum Issuance {
    /// A pass came to its end.
    Settled(Settled),
    /// A pass could not continue.
    Blocked(Problem),
}

impl Issuance {
    fn facts(&self) -> Option<&Facts> {
        match self {
            Self::Settled(settled) => settled.facts(),
            Self::Blocked(_) => None,
        }
    }

    /// Returns the problems that keep the Secret from its wanted state.
    fn problems(&self) -> Vec<Problem> {
        match self {
            Self::Settled(Settled::Withheld(problems)) => problems.clone(),
            Self::Settled(Settled::Refused { problem, .. }) | Self::Blocked(problem) => {
                vec![problem.clone()]
            }
            Self::Settled(Settled::Waiting { facts, .. }) => {
                let reason = match facts {
                    Some(_) => Reason::Rotating,
                    None => Reason::Issuing,
                };
                let words = "a write to the Secret may still be in flight: the operator waits until it has certainly ended";
                vec![Problem::error(reason, "", words)]
            }
            Self::Settled(_) => Vec::new(),
        }
    }
}

/// Returns the live object with the wanted status of a Scope.
pub fn scope(
    live: &Value,
    directory: &Directory,
    object: &Object<ScopeRecord>,
    counts: Option<&Counts>,
    now: Timestamp,
) -> Value {
    let mut status = Status::of(live, now);
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
pub fn counted(mut wanted: Value, named: Named) -> Value {
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

/// Returns a condition of an object.
pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == kind)
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
    pods: Option<&Passed>,
    now: Timestamp,
) -> Value {
    let mut status = Status::of(live, now);
    let mut problems = directory.identity_problems(object);
    if let Some(record) = object.record() {
        let issuer = &record.issuer;
        let endpoints = json!({
            "discovery": Endpoint::OpenIdConfiguration.url(issuer),
            "token": Endpoint::Token.url(issuer),
            "introspection": Endpoint::Introspection.url(issuer),
        });
        status.set("endpoints", endpoints);
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
    let mut status = Status::of(live, now);
    let accepted = directory.accepted_client(object);
    let not_granted = match &accepted {
        Ok(client) => directory.not_granted(client),
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
    let mut status = Status::of(live, now);
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
fn revoked(mut status: Status<'_>, issuance: &Issuance) -> Value {
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

/// A status under construction.
struct Status<'a> {
    live: &'a Value,
    generation: i64,
    now: Timestamp,
    fields: Map<String, Value>,
    conditions: Vec<Value>,
}

impl<'a> Status<'a> {
    fn of(live: &'a Value, now: Timestamp) -> Self {
        let mut fields = live["status"].as_object().cloned().unwrap_or_default();
        let conditions = match fields.remove("conditions") {
            Some(Value::Array(conditions)) => conditions,
            _ => Vec::new(),
        };
        let generation = live["metadata"]["generation"].as_i64().unwrap_or(0);
        Self {
            live,
            generation,
            now,
            fields,
            conditions,
        }
    }

    /// Sets a field; null removes it.
    fn set(&mut self, field: &str, value: Value) {
        if value.is_null() {
            self.fields.remove(field);
        } else {
            self.fields.insert(field.to_owned(), value);
        }
    }

    /// Sets what a Deployment reports, and adds what keeps it from being complete. If the Deployment could not be read,
    /// the known values stay.
    fn pods(&mut self, pods: &Passed, problems: &mut Vec<Problem>) {
        problems.extend(pods.problem.clone());
        let rollout = pods.rollout.as_ref();
        if rollout.is_none() && pods.problem.is_some() {
            return;
        }
        let fields = [
            ("replicas", rollout.map(|it| json!(it.replicas))),
            ("readyReplicas", rollout.map(|it| json!(it.ready))),
            ("selector", rollout.map(|it| json!(it.selector))),
            ("version", rollout.map(|it| json!(it.version))),
        ];
        for (field, value) in fields {
            self.set(field, value.unwrap_or_default());
        }
        problems.extend(rollout.and_then(|rollout| match &rollout.phase {
            Phase::Complete => None,
            Phase::Under(words) => Some(Problem::error(Reason::RollingOut, "", words)),
            Phase::Failed(words) => {
                Some(Problem::error(Reason::ProgressDeadlineExceeded, "", words))
            }
        }));
    }

    /// Names a Secret once it holds the token. Until then the status names none, or the previous one, which is how a
    /// later pass finds and deletes it.
    fn secret(&mut self, name: &str, issuance: &Issuance) {
        let is_done = matches!(issuance, Issuance::Settled(Settled::Done { .. }));
        if !is_done {
            return;
        }
        self.set("secretName", json!(name));
        self.set("binding", json!({"name": name}));
    }

    /// Sets a condition: `True` without problems, otherwise `False` with the reason of the worst one.
    fn verdict(&mut self, kind: &str, problems: &[Problem]) {
        match worst(problems) {
            None => self.condition(kind, "True", kind, ""),
            Some(problem) => self.condition(
                kind,
                "False",
                problem.reason.as_str(),
                &told(problem, problems),
            ),
        }
    }

    /// Sets `Issued` and what the Secret holds. If nothing new is known, the known values stay.
    fn issued(&mut self, issuance: &Issuance) {
        if let Some(facts) = issuance.facts() {
            self.facts(facts);
            return self.condition("Issued", "True", "Issued", "");
        }
        // The pass saw the Secret, and it holds no token that is accepted.
        let is_seen_missing = matches!(issuance, Issuance::Settled(Settled::Refused { .. }));
        let problems = issuance.problems();
        let Some(problem) = worst(&problems) else {
            return;
        };
        let is_issued =
            |condition: &Value| condition["type"] == "Issued" && condition["status"] == "True";
        if is_seen_missing || !self.conditions.iter().any(is_issued) {
            self.condition(
                "Issued",
                "False",
                problem.reason.as_str(),
                &told(problem, &problems),
            );
        }
    }

    fn facts(&mut self, facts: &Facts) {
        let moment = |moment: Option<Timestamp>| moment.map_or(Value::Null, |moment| json!(moment));
        self.set("epoch", json!(facts.epoch));
        self.set(
            "rotationNonce",
            facts
                .nonce
                .as_ref()
                .map_or(Value::Null, |nonce| json!(nonce)),
        );
        if facts.cause != Cause::Initial {
            self.set(
                "lastRotation",
                json!({"time": facts.issued_at, "cause": facts.cause.as_str()}),
            );
        }
        self.set("lastUsed", json!(facts.last_used));
        self.set("tokenId", json!(facts.token_id));
        self.set("issuedAt", json!(facts.issued_at));
        self.set("expiresAt", moment(facts.expires_at));
        self.set("renewsAt", moment(facts.renews_at));
        self.set(
            "previous",
            facts
                .previous
                .as_ref()
                .map_or(Value::Null, |previous| json!(previous)),
        );
    }

    /// Sets `Ready`, and the two conditions that kstatus reads, from the worst problem, or from a good reason of its
    /// own.
    fn ready(&mut self, problems: &[Problem], good: Option<(Reason, &str)>) {
        let (reason, message) = match (worst(problems), good) {
            (Some(problem), _) => (problem.reason, told(problem, problems)),
            (None, Some((reason, message))) => (reason, message.to_owned()),
            (None, None) => (Reason::Ready, String::new()),
        };
        let class = reason.class();
        let truth = |is_true: bool| if is_true { "True" } else { "False" };
        let reason = reason.as_str();
        let is_ready = matches!(class, Class::Good | Class::Replacing);
        let is_reconciling = matches!(class, Class::Working | Class::Replacing);
        self.condition("Ready", truth(is_ready), reason, &message);
        self.condition("Reconciling", truth(is_reconciling), reason, "");
        self.condition("Stalled", truth(class == Class::NeedsEdit), reason, "");
    }

    /// Sets a condition. Keeps `lastTransitionTime` while its status is the same.
    fn condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
        let place = self
            .conditions
            .iter()
            .position(|condition| condition["type"] == kind);
        let before = place.map(|place| &self.conditions[place]);
        let since = match before.filter(|condition| condition["status"] == status) {
            Some(condition) => condition["lastTransitionTime"].clone(),
            // Times in conditions have no fractions of a second.
            None => json!(self.now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()),
        };
        let condition = json!({
            "type": kind, "status": status, "reason": reason, "message": message,
            "observedGeneration": self.generation, "lastTransitionTime": since,
        });
        match place {
            Some(place) => self.conditions[place] = condition,
            None => self.conditions.push(condition),
        }
    }

    fn finish(mut self) -> Value {
        self.set("observedGeneration", json!(self.generation));
        let conditions = std::mem::take(&mut self.conditions);
        self.set("conditions", Value::Array(conditions));
        let mut object = self.live.clone();
        object["status"] = Value::Object(self.fields);
        object
    }
}

/// Why an object is not ready, and will not become ready by the operator alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Obstacle {
    /// Whether someone must edit the object. Otherwise it waits for a change of another object.
    pub is_stalled: bool,
    /// The reason of the condition `Ready`.
    pub reason: String,
    /// The message of the condition `Ready`.
    pub message: String,
}

/// Returns the obstacle if an object is newly stalled or waiting, or for another reason than before.
pub fn new_obstacle(before: &Value, after: &Value) -> Option<Obstacle> {
    let now = obstacle(after)?;
    let is_new =
        |before: Obstacle| before.reason != now.reason || before.is_stalled != now.is_stalled;
    obstacle(before).is_none_or(is_new).then_some(now)
}

fn obstacle(object: &Value) -> Option<Obstacle> {
    let condition = |kind: &str| condition(object, kind);
    let is = |kind: &str, status: &str| condition(kind).is_some_and(|it| it["status"] == status);
    if !is("Ready", "False") || is("Reconciling", "True") {
        return None;
    }
    let text = |field: &str| condition("Ready")?[field].as_str().map(str::to_owned);
    Some(Obstacle {
        is_stalled: is("Stalled", "True"),
        reason: text("reason")?,
        message: text("message")?,
    })
}

/// Returns the worst problem: those that need an edit come before those that heal, these before those under way,
/// and the replacement of what works comes last.
fn worst(problems: &[Problem]) -> Option<&Problem> {
    let rank = |problem: &&Problem| match problem.reason.class() {
        Class::NeedsEdit => 0,
        Class::Waiting => 1,
        Class::Working => 2,
        Class::Replacing => 3,
        Class::Good => 4,
    };
    let errors = problems
        .iter()
        .filter(|problem| problem.severity == Severity::Error);
    errors.min_by_key(rank)
}

/// Joins the messages, the worst problem's first.
fn told(worst: &Problem, problems: &[Problem]) -> String {
    let others = problems
        .iter()
        .filter(|problem| *problem != worst && problem.severity == Severity::Error);
    let all: Vec<&str> = std::iter::once(worst)
        .chain(others)
        .map(|problem| &*problem.message)
        .collect();
    joined(&all)
}

fn joined(all: &[&str]) -> String {
    let mut text = all[..all.len().min(MAX_TOLD)].join("; ");
    if all.len() > MAX_TOLD {
        // Writing to a String cannot fail.
        let _ = write!(text, "; and {} more", all.len() - MAX_TOLD);
    }
    if let Some((end, _)) = text.char_indices().nth(LONGEST_MESSAGE) {
        text.truncate(end);
        text.push('…');
    }
    text
}
