//! A status under construction: how its fields and conditions are written.
//!
//! A new status starts from the live one: fields and conditions of others stay. If nothing changed, it equals the live
//! one, times included, so nothing is written.
//!
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md>

use std::fmt::Write as _;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::issuance::Issuance;
use crate::directory::{Class, Problem, Reason, Severity};
use crate::reconcile::fleet::{FleetOutcome, RolloutPhase};
use crate::reconcile::issue::{Facts, Settled};
use crate::resources::Cause;

/// The maximum number of problems in one condition.
const MAX_TOLD: usize = 5;
/// The maximum number of characters in a condition's message.
pub(super) const LONGEST_MESSAGE: usize = 1024;

/// A status under construction.
pub(super) struct StatusBuilder<'a> {
    live: &'a Value,
    generation: i64,
    now: Timestamp,
    fields: Map<String, Value>,
    conditions: Vec<Value>,
}

impl<'a> StatusBuilder<'a> {
    pub(super) fn of(live: &'a Value, now: Timestamp) -> Self {
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
    pub(super) fn set(&mut self, field: &str, value: Value) {
        if value.is_null() {
            self.fields.remove(field);
        } else {
            self.fields.insert(field.to_owned(), value);
        }
    }

    /// Sets what a Deployment reports, and adds what keeps it from being complete. If the Deployment could not be read,
    /// the known values stay.
    pub(super) fn pods(&mut self, pods: &FleetOutcome, problems: &mut Vec<Problem>) {
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
            RolloutPhase::Complete => None,
            RolloutPhase::Under(words) => Some(Problem::error(Reason::RollingOut, "", words)),
            RolloutPhase::Failed(words) => {
                Some(Problem::error(Reason::ProgressDeadlineExceeded, "", words))
            }
        }));
    }

    /// Names a Secret once it holds the token. Until then the status names none, or the previous one, which is how a
    /// later pass finds and deletes it.
    pub(super) fn secret(&mut self, name: &str, issuance: &Issuance) {
        let is_done = matches!(issuance, Issuance::Settled(Settled::Done { .. }));
        if !is_done {
            return;
        }
        self.set("secretName", json!(name));
        self.set("binding", json!({"name": name}));
    }

    /// Sets a condition: `True` without problems, otherwise `False` with the reason of the worst one.
    pub(super) fn verdict(&mut self, kind: &str, problems: &[Problem]) {
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
    pub(super) fn issued(&mut self, issuance: &Issuance) {
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

    /// Removes a condition that does not concern the object any more.
    pub(super) fn without(&mut self, kind: &str) {
        self.conditions
            .retain(|condition| condition["type"] != kind);
    }

    /// Sets `Ready`, and the two conditions that kstatus reads, from the worst problem, or from a good reason of its
    /// own.
    pub(super) fn ready(&mut self, problems: &[Problem], good: Option<(Reason, &str)>) {
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
    pub(super) fn condition(&mut self, kind: &str, status: &str, reason: &str, message: &str) {
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

    pub(super) fn finish(mut self) -> Value {
        self.set("observedGeneration", json!(self.generation));
        let conditions = std::mem::take(&mut self.conditions);
        self.set("conditions", Value::Array(conditions));
        let mut object = self.live.clone();
        object["status"] = Value::Object(self.fields);
        object
    }
}

/// Returns the worst problem: those that need an edit come before those that heal, these before those under way,
/// and the replacement of what works comes last.
pub(super) fn worst(problems: &[Problem]) -> Option<&Problem> {
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
pub(super) fn told(worst: &Problem, problems: &[Problem]) -> String {
    let others = problems
        .iter()
        .filter(|problem| *problem != worst && problem.severity == Severity::Error);
    let all: Vec<&str> = std::iter::once(worst)
        .chain(others)
        .map(|problem| &*problem.message)
        .collect();
    joined(&all)
}

/// Joins the first messages, within [`LONGEST_MESSAGE`].
pub(super) fn joined(all: &[&str]) -> String {
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
