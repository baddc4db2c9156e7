//! What happened to an Identity's signing keys, derived from its previous and its new status. Pure.
//!
//! The status survives a restart and a change of the leader, so each change is reported once.

use std::collections::BTreeMap;

use serde_json::Value;

use super::events::EventReason;

/// A change of one key.
#[derive(Debug, PartialEq, Eq)]
pub struct News {
    /// The id of the key.
    pub kid: String,
    /// The reason of the event.
    pub reason: EventReason,
    /// The note of the event.
    pub text: String,
}

/// Returns the changes between two values of `status.keys`.
pub fn news(before: &Value, after: &Value) -> Vec<News> {
    let (before, after) = (phases(before), phases(after));
    let appeared = after.iter().filter_map(|(kid, key)| {
        let known = before.get(kid).map(|known| known.phase);
        (known != Some(key.phase)).then(|| told(kid, key, known))?
    });
    let gone = before.iter().filter(|(kid, _)| !after.contains_key(*kid));
    let gone = gone.map(|(kid, key)| {
        let text = format!("The {} key {kid} was removed from the JWKS.", key.algorithm);
        about(kid, EventReason::KeyRetired, text)
    });
    appeared.chain(gone).collect()
}

struct Key<'a> {
    algorithm: &'a str,
    phase: &'a str,
    active_from: &'a str,
}

fn phases(keys: &Value) -> BTreeMap<&str, Key<'_>> {
    let keys = keys.as_array().into_iter().flatten();
    keys.filter_map(|key| {
        let field = |name: &str| key[name].as_str();
        Some((
            field("kid")?,
            Key {
                algorithm: field("algorithm").unwrap_or_default(),
                phase: field("phase").unwrap_or_default(),
                active_from: field("activeFrom").unwrap_or_default(),
            },
        ))
    })
    .collect()
}

fn told(kid: &str, key: &Key<'_>, known: Option<&str>) -> Option<News> {
    let Key {
        algorithm,
        active_from,
        ..
    } = key;
    match key.phase {
        "Published" => {
            let text = format!(
                "The {algorithm} key {kid} is published in the JWKS and signs from {active_from}."
            );
            Some(about(kid, EventReason::KeyPublished, text))
        }
        // The status of an earlier release had no phases.
        "Active" if known != Some("") => {
            let text = format!("The {algorithm} key {kid} signs from now on.");
            Some(about(kid, EventReason::KeyActivated, text))
        }
        _ => None,
    }
}

fn about(kid: &str, reason: EventReason, text: String) -> News {
    News {
        kid: kid.to_owned(),
        reason,
        text,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn keys(keys: &[(&str, &str)]) -> Value {
        let key = |(kid, phase): &(&str, &str)| json!({"kid": kid, "algorithm": "ES256", "phase": phase, "activeFrom": "2026-02-01T00:00:00Z"});
        keys.iter().map(key).collect()
    }

    fn reasons(before: &Value, after: &Value) -> Vec<(&'static str, bool)> {
        let news = news(before, after).into_iter();
        news.map(|it| (it.reason.as_str(), it.text.contains("ES256 key b ")))
            .collect()
    }

    #[test]
    fn each_change_of_a_key_is_reported_once() {
        let a = ("a", "Active");
        let turns = [
            (vec![], vec![a], vec![("KeyActivated", false)]),
            (vec![a], vec![a], vec![]),
            (
                vec![a],
                vec![a, ("b", "Published")],
                vec![("KeyPublished", true)],
            ),
            (
                vec![a, ("b", "Published")],
                vec![("a", "Retiring"), ("b", "Active")],
                vec![("KeyActivated", true)],
            ),
            (
                vec![("a", "Retiring"), ("b", "Active")],
                vec![("b", "Active")],
                vec![("KeyRetired", false)],
            ),
        ];
        for (before, after, expected) in turns {
            assert_eq!(
                reasons(&keys(&before), &keys(&after)),
                expected,
                "{after:?}"
            );
        }
        assert_eq!(
            reasons(&Value::Null, &keys(&[("b", "Active")])),
            [("KeyActivated", true)]
        );
    }

    #[test]
    fn a_status_without_phases_is_no_news() {
        let old = json!([{"kid": "a", "algorithm": "ES256"}]);
        assert_eq!(reasons(&old, &keys(&[("a", "Active")])), []);
    }
}
