//! What a status says about an object that is not ready, read back for events and metrics.

use serde_json::Value;

/// Returns a condition of an object.
pub(in crate::reconcile::report) fn condition<'v>(
    object: &'v Value,
    kind: &str,
) -> Option<&'v Value> {
    let conditions = object["status"]["conditions"].as_array()?;
    conditions.iter().find(|it| it["type"] == kind)
}

/// Why an object is not ready, and will not become ready by the operator alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyObstacle {
    /// Whether someone must edit the object. Otherwise it waits for a change of another object.
    pub is_stalled: bool,
    /// The reason of the condition `Ready`.
    pub reason: String,
    /// The message of the condition `Ready`.
    pub message: String,
}

/// Returns the obstacle if an object is newly stalled or waiting, or for another reason than before.
pub fn new_obstacle(before: &Value, after: &Value) -> Option<ReadyObstacle> {
    let now = obstacle(after)?;
    let is_new =
        |before: ReadyObstacle| before.reason != now.reason || before.is_stalled != now.is_stalled;
    obstacle(before).is_none_or(is_new).then_some(now)
}

fn obstacle(object: &Value) -> Option<ReadyObstacle> {
    let condition = |kind: &str| condition(object, kind);
    let is = |kind: &str, status: &str| condition(kind).is_some_and(|it| it["status"] == status);
    if !is("Ready", "False") || is("Reconciling", "True") {
        return None;
    }
    let text = |field: &str| condition("Ready")?[field].as_str().map(str::to_owned);
    Some(ReadyObstacle {
        is_stalled: is("Stalled", "True"),
        reason: text("reason")?,
        message: text("message")?,
    })
}
