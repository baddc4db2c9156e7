//! The report of a rebinding, for people and for programs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::directory::ObjectKey;
use crate::directory::problem::suggest::one_line;
use crate::reconcile::restore::{Item, NotRebound, RestoreVerdict, Unfinished};

pub(super) struct Report<'a> {
    pub(super) identity: &'a ObjectKey,
    pub(super) dry_run: bool,
    pub(super) items: &'a [Item],
    pub(super) unreadable: &'a [String],
    pub(super) failures: &'a BTreeMap<usize, Unfinished>,
}

/// The number of Credentials by verdict.
#[derive(Default)]
struct Summary {
    rebound: usize,
    done: usize,
    current: usize,
    refused: usize,
}

impl Report<'_> {
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        for (index, item) in self.items.iter().enumerate() {
            let owner = &item.credential.spec.owner;
            let (kind, namespace, name) = (owner.kind.as_str(), &owner.namespace, &owner.name);
            if let Some((verb, words)) = self.words(index, item) {
                let line = format!("{verb:7} {kind} {namespace}/{name}: {words}");
                let _ = writeln!(out, "{}", one_line(&line));
            }
        }
        for name in self.unreadable {
            let name = one_line(name);
            let _ = writeln!(
                out,
                "dead    Credential {name}: it is too large or was written by another release of Symbolon"
            );
        }
        let Summary {
            rebound,
            done,
            current,
            refused,
        } = self.summary();
        let dead = refused + self.unreadable.len();
        let failed = self.failures.len();
        let _ = writeln!(
            out,
            "{}: {rebound} {}, {done} rebound before, {current} need no change, {dead} stay dead, {failed} failed",
            self.identity,
            if self.dry_run {
                "to rebind (dry run: nothing was written)"
            } else {
                "rebound"
            },
        );
        out
    }

    /// Returns a verb and the reason; nothing for a Credential that needs no change.
    fn words(&self, index: usize, item: &Item) -> Option<(&'static str, String)> {
        if let Some(error) = self.failures.get(&index) {
            return Some(("failed", error.to_string()));
        }
        match &item.verdict {
            RestoreVerdict::Current => None,
            RestoreVerdict::Done { revoked: 0, .. } => Some(("done", "rebound before".to_owned())),
            RestoreVerdict::Done { revoked, .. } => Some((
                "done",
                format!(
                    "rebound before; tokens revoked since then, {}: {revoked}",
                    if self.dry_run {
                        "still to be removed"
                    } else {
                        "now removed"
                    },
                ),
            )),
            RestoreVerdict::Moved { .. } => Some((
                "done",
                "another Credential of this owner has its tokens".to_owned(),
            )),
            RestoreVerdict::Withdraw => Some(("dead", NotRebound::SourceDeleted.to_string())),
            RestoreVerdict::Refused(why) => Some(("dead", why.to_string())),
            RestoreVerdict::Rebind(rebinding) => {
                let tokens = rebinding.credential.spec.tokens.len();
                let uid = &rebinding.credential.spec.owner.uid;
                let dropped = match rebinding.dropped {
                    0 => String::new(),
                    dropped => format!(", {dropped} dropped"),
                };
                Some(("rebind", format!("{tokens} to uid {uid}{dropped}")))
            }
        }
    }

    pub(super) fn json(&self) -> Value {
        let items = self.items.iter().enumerate();
        let items: Vec<Value> = items.map(|(index, item)| self.item(index, item)).collect();
        let Summary {
            rebound,
            done,
            current,
            refused,
        } = self.summary();
        json!({
            "identity": self.identity.to_string(),
            "dryRun": self.dry_run,
            "items": items,
            "unreadable": self.unreadable,
            "summary": {
                "rebind": rebound, "done": done, "current": current, "dead": refused,
                "failed": self.failures.len(),
            },
        })
    }

    fn item(&self, index: usize, item: &Item) -> Value {
        let owner = &item.credential.spec.owner;
        let (action, tokens, uid) = match &item.verdict {
            RestoreVerdict::Current => ("current", None, None),
            RestoreVerdict::Done { .. } | RestoreVerdict::Moved { .. } => ("done", None, None),
            RestoreVerdict::Refused(_) | RestoreVerdict::Withdraw => ("dead", None, None),
            RestoreVerdict::Rebind(rebinding) => {
                let spec = &rebinding.credential.spec;
                let ids: Vec<&str> = spec.tokens.iter().map(|it| &*it.token_id).collect();
                ("rebind", Some(ids), Some(&spec.owner.uid))
            }
        };
        let reason = match &item.verdict {
            RestoreVerdict::Refused(why) => Some(why),
            RestoreVerdict::Withdraw => Some(&NotRebound::SourceDeleted),
            _ => None,
        };
        json!({
            "kind": owner.kind.as_str(), "namespace": owner.namespace, "name": owner.name,
            "oldUid": owner.uid, "newUid": uid, "action": action, "tokenIds": tokens,
            "reason": reason.map(|why| format!("{why:?}")), "message": reason.map(ToString::to_string),
            "error": self.failures.get(&index).map(ToString::to_string),
        })
    }

    fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for (index, item) in self.items.iter().enumerate() {
            if self.failures.contains_key(&index) {
                continue;
            }
            match item.verdict {
                RestoreVerdict::Current => summary.current += 1,
                RestoreVerdict::Done { .. } | RestoreVerdict::Moved { .. } => summary.done += 1,
                RestoreVerdict::Refused(_) | RestoreVerdict::Withdraw => summary.refused += 1,
                RestoreVerdict::Rebind(_) => summary.rebound += 1,
            }
        }
        summary
    }
}
