//! The number of objects by reason of `Ready`, as last written or confirmed. For metrics.
//!
//! An object that this process has not reconciled yet counts as unseen. Not here: names. An object is known by a hash,
//! and is forgotten when it is deleted.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use serde_json::Value;

use crate::directory::{ObjectKey, Reason, Sizes};
use crate::resources::Kind;

/// Counts of objects by kind and reason.
#[derive(Debug, Default)]
pub(in crate::reconcile) struct Tally {
    seen: HashMap<u64, (Kind, Reason)>,
    counts: BTreeMap<(Kind, Reason), usize>,
}

impl Tally {
    /// Counts the object with its present status.
    pub(in crate::reconcile) fn note(&mut self, kind: Kind, object: &Value) {
        let field = |name: &str| object["metadata"][name].as_str().unwrap_or_default();
        let id = fingerprint(kind, field("namespace"), field("name"));
        let Some(reason) = ready_reason(object) else {
            return;
        };
        let before = self.seen.insert(id, (kind, reason));
        if before != Some((kind, reason)) {
            *self.counts.entry((kind, reason)).or_default() += 1;
            self.subtract(before);
        }
    }

    /// Forgets a deleted object.
    pub(in crate::reconcile) fn forget(&mut self, kind: Kind, key: &ObjectKey) {
        let before = self
            .seen
            .remove(&fingerprint(kind, &key.namespace, &key.name));
        self.subtract(before);
    }

    fn subtract(&mut self, before: Option<(Kind, Reason)>) {
        let Some(before) = before else {
            return;
        };
        match self.counts.get_mut(&before) {
            Some(count) if *count > 1 => *count -= 1,
            _ => drop(self.counts.remove(&before)),
        }
    }

    /// Returns kind, reason and number. `sizes` are the numbers of all objects. Objects that were not reconciled yet
    /// have no reason.
    pub(in crate::reconcile) fn counts(&self, sizes: &Sizes) -> Vec<(Kind, Option<Reason>, usize)> {
        let all = [
            (Kind::Identity, sizes.identities),
            (Kind::Scope, sizes.scopes),
            (Kind::OAuthClient, sizes.clients),
            (Kind::ServiceAccessToken, sizes.service_tokens),
        ];
        // Users are not announced yet, and none are counted before there is one.
        let users = (sizes.users > 0).then_some((Kind::User, sizes.users));
        let all = all.into_iter().chain(users);
        let told = self.counts.iter();
        let told = told.map(|((kind, reason), count)| (*kind, Some(*reason), *count));
        let unseen = all.map(|(kind, all)| {
            let seen = self.counts.iter().filter(|((it, _), _)| *it == kind);
            let seen: usize = seen.map(|(_, count)| count).sum();
            (kind, None, all.saturating_sub(seen))
        });
        told.chain(unseen).collect()
    }
}

fn ready_reason(object: &Value) -> Option<Reason> {
    let reason = super::status::condition(object, "Ready")?["reason"].as_str()?;
    Reason::ALL.into_iter().find(|it| it.as_str() == reason)
}

fn fingerprint(kind: Kind, namespace: &str, name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    (kind, namespace, name).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn scope(name: &str, reason: Reason) -> Value {
        json!({
            "metadata": {"namespace": "shop", "name": name},
            "status": {"conditions": [{"type": "Ready", "reason": reason.as_str()}]},
        })
    }

    #[test]
    fn an_object_counts_once_for_what_it_is_now() {
        let mut tally = Tally::default();
        tally.note(Kind::Scope, &scope("a", Reason::Invalid));
        tally.note(Kind::Scope, &scope("b", Reason::Ready));
        tally.note(Kind::Scope, &scope("a", Reason::Ready));
        tally.note(Kind::Scope, &scope("a", Reason::Ready));
        let sizes = Sizes {
            scopes: 3,
            ..Sizes::default()
        };
        let of_scopes = |tally: &Tally| {
            let mut counts = tally.counts(&sizes);
            counts.retain(|(kind, _, count)| *kind == Kind::Scope && *count > 0);
            counts
        };
        assert_eq!(
            of_scopes(&tally),
            [
                (Kind::Scope, Some(Reason::Ready), 2),
                (Kind::Scope, None, 1)
            ]
        );
        tally.forget(Kind::Scope, &ObjectKey::new("shop", "a"));
        tally.forget(Kind::Scope, &ObjectKey::new("shop", "nobody"));
        assert_eq!(
            of_scopes(&tally),
            [
                (Kind::Scope, Some(Reason::Ready), 1),
                (Kind::Scope, None, 2)
            ]
        );
    }
}
