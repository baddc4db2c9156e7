//! How far an Identity's pods are, according to its Deployment or StatefulSet. Pure. It checks what `kubectl rollout
//! status` checks.

use super::build::PROGRESS_DEADLINE_SECONDS;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// A pod that is not ready after this time has failed.
const DEADLINE: SignedDuration = SignedDuration::from_secs(PROGRESS_DEADLINE_SECONDS.cast_signed());

/// After this time, a pod that is not ready is reported with its error. Before that, it is most likely just starting.
const GRACE: SignedDuration = SignedDuration::from_secs(10);

/// The maximum number of characters repeated from a program's last line.
const LONGEST_LINE: usize = 400;

/// The pods of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout {
    /// All pods, including those of an older revision.
    pub replicas: i64,
    /// The ready pods.
    pub ready: i64,
    /// The wanted number of pods.
    pub wanted: i64,
    /// The labels of the pods, as a selector.
    pub selector: String,
    /// The version that all pods run; `None` while they differ.
    pub version: Option<String>,
    /// How far it is.
    pub phase: RolloutPhase,
    /// Why the installation's newer pods wait, if they do.
    pub upgrade: Option<String>,
}

/// The state of a rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RolloutPhase {
    /// All pods are of the newest revision and ready.
    Complete,
    /// In progress, with a description.
    Under(String),
    /// It made no progress in time or cannot start, with the reason.
    Failed(String),
}

/// Reads a live workload. `pods` are its pods, if they were read; they tell why it failed.
pub(super) fn read(deployment: &Value, pods: &[Value], now: Timestamp) -> Rollout {
    let status = &deployment["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let phase = phase(deployment, pods, now);
    let labels = deployment["spec"]["selector"]["matchLabels"].as_object();
    let pairs = labels
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()));
    let image = deployment["spec"]["template"]["spec"]["containers"][0]["image"].as_str();
    Rollout {
        replicas: count("replicas"),
        ready: count("readyReplicas"),
        wanted: wanted(deployment),
        selector: pairs.collect::<Vec<_>>().join(","),
        version: image
            .filter(|_| phase == RolloutPhase::Complete)
            .map(version_of),
        phase,
        upgrade: None,
    }
}

/// Whether a live workload makes no progress, so that its pods should be read for the reason. A StatefulSet does not
/// report that itself: it is stuck if its pod has not been ready for a Deployment's deadline.
pub(super) fn is_stuck(workload: &Value, pods: &[Value], now: Timestamp) -> bool {
    if workload["kind"] == "StatefulSet" {
        return pods
            .iter()
            .filter(|pod| pod["metadata"]["ownerReferences"][0]["kind"] == "StatefulSet")
            .any(|pod| unready_for(pod, now).is_some_and(|since| since >= DEADLINE));
    }
    condition(workload, "Progressing")
        .is_some_and(|condition| condition["reason"] == "ProgressDeadlineExceeded")
}

/// Returns for how long a pod has not been ready; `None` if it is ready or being deleted.
fn unready_for(pod: &Value, now: Timestamp) -> Option<SignedDuration> {
    if pod["metadata"]["deletionTimestamp"].is_string() {
        return None;
    }
    let ready = condition(pod, "Ready");
    if ready.is_some_and(|ready| ready["status"] == "True") {
        return None;
    }
    let moment = |value: &Value| value.as_str()?.parse::<Timestamp>().ok();
    let since = ready.and_then(|ready| moment(&ready["lastTransitionTime"]));
    let since = since.or_else(|| moment(&pod["metadata"]["creationTimestamp"]))?;
    Some(now.duration_since(since))
}

/// Whether a live workload is moving from one revision to another.
pub(super) fn is_rolling(deployment: &Value) -> bool {
    // Being stuck makes no difference, so neither does the time.
    phase(deployment, &[], Timestamp::MIN) != RolloutPhase::Complete
}

pub(super) fn wanted(deployment: &Value) -> i64 {
    deployment["spec"]["replicas"].as_i64().unwrap_or(1)
}

fn phase(deployment: &Value, pods: &[Value], now: Timestamp) -> RolloutPhase {
    let status = &deployment["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let wanted = wanted(deployment);
    let generation = deployment["metadata"]["generation"].as_i64().unwrap_or(0);
    if count("observedGeneration") < generation {
        return RolloutPhase::Under(format!("0 of {wanted} replicas are ready"));
    }
    let (updated, ready) = (count("updatedReplicas"), count("readyReplicas"));
    let new_ready = ready.min(updated);
    let is_short = updated < wanted || count("availableReplicas") < wanted;
    let is_set = deployment["kind"] == "StatefulSet";
    if (is_short || !is_set) && is_stuck(deployment, pods, now) {
        let why = pods.iter().find_map(trouble);
        let why = why.or_else(|| refused(deployment));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        return RolloutPhase::Failed(format!(
            "the rollout made no progress: {new_ready} of {wanted} replicas are ready{why}"
        ));
    }
    if is_short {
        let is_late = |pod: &&Value| unready_for(pod, now).is_some_and(|since| since >= GRACE);
        let why = refused(deployment).or_else(|| pods.iter().filter(is_late).find_map(trouble));
        let why = why.map(|why| format!(": {why}")).unwrap_or_default();
        return RolloutPhase::Under(format!("{new_ready} of {wanted} replicas are ready{why}"));
    }
    let old = count("replicas") - updated;
    if old > 0 {
        return RolloutPhase::Under(format!(
            "{wanted} of {wanted} replicas are ready, {old} of the previous revision are ending"
        ));
    }
    RolloutPhase::Complete
}

/// Returns why pods could not be created, for example because of a quota or an admission rule.
fn refused(deployment: &Value) -> Option<String> {
    let failure = condition(deployment, "ReplicaFailure")?;
    (failure["status"] == "True").then(|| failure["message"].as_str().map(str::to_owned))?
}

/// Returns the error of a pod.
fn trouble(pod: &Value) -> Option<String> {
    let name = pod["metadata"]["name"].as_str().unwrap_or_default();
    let words = |state: &Value| {
        let reason = state["reason"].as_str()?;
        let message = state["message"].as_str();
        Some(message.map_or_else(
            || format!("pod {name}: {reason}"),
            |message| format!("pod {name}: {reason}: {message}"),
        ))
    };
    let containers = pod["status"]["containerStatuses"].as_array();
    let waiting = containers.into_iter().flatten().find_map(|container| {
        let state = &container["state"];
        let last = &container["lastState"]["terminated"];
        let end = last["message"].as_str().and_then(last_line);
        let said = end.map(|end| format!("pod {name}: {end}"));
        let waiting = words(&state["waiting"]);
        said.filter(|_| waiting.is_some())
            .or(waiting)
            .filter(|_| state["waiting"]["reason"] != "ContainerCreating")
            .or_else(|| words(&state["terminated"]))
            .or_else(|| words(last))
    });
    let conditions = pod["status"]["conditions"].as_array();
    let unscheduled = || {
        let mut conditions = conditions.into_iter().flatten();
        let found = conditions.find(|condition| {
            condition["type"] == "PodScheduled" && condition["status"] == "False"
        });
        words(found?)
    };
    waiting.or_else(unscheduled)
}

/// Returns the last line that a program wrote before it ended, as its container keeps it.
fn last_line(message: &str) -> Option<String> {
    let line = message.trim_end().lines().next_back()?;
    Some(line.chars().take(LONGEST_LINE).collect())
}

fn condition<'v>(deployment: &'v Value, kind: &str) -> Option<&'v Value> {
    let conditions = deployment["status"]["conditions"].as_array()?;
    conditions
        .iter()
        .find(|condition| condition["type"] == kind)
}

/// Returns the tag of an image, or the beginning of its digest.
fn version_of(image: &str) -> String {
    let (name, digest) = match image.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (image, None),
    };
    let last = name.rsplit('/').next().unwrap_or_default();
    match (last.split_once(':'), digest) {
        (Some((_, tag)), _) => tag.to_owned(),
        (None, Some(digest)) => digest.chars().take(19).collect(),
        (None, None) => "latest".to_owned(),
    }
}
