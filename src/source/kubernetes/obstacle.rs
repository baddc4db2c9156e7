//! Why the API server does not return objects, for causes that an administrator can remove: what is missing, and the
//! command that supplies it. Pure.

use std::fmt;

use super::WatchedKind;
use super::error::WatchError;
use crate::directory::ObjectKey;
use crate::directory::problem::suggest::one_line;
use crate::kube_call::Refusal;
use crate::resources::{API_VERSION, Kind};

/// The maximum length of the API server's words, in characters.
const LONGEST: usize = 400;

/// What is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum WatchObstacle {
    /// The definition of this kind is not installed.
    NoDefinition(Kind),
    /// The API server does not accept the credentials.
    NotAuthenticated,
    /// A right is missing. Contains the API server's words, which name user, verb and kind.
    Denied(String),
    /// The object does not exist.
    NoIdentity(ObjectKey),
}

impl WatchObstacle {
    /// Returns what a failed list or watch of a kind lacks.
    pub(super) fn of(watched_kind: WatchedKind, error: &WatchError) -> Option<Self> {
        let WatchError::Kube(fault) = error else {
            return None;
        };
        let refusal = fault.refusal()?;
        match (refusal.code, watched_kind) {
            (404, WatchedKind::Kind(kind)) => Some(Self::NoDefinition(kind)),
            (401, _) => Some(Self::NotAuthenticated),
            (403, _) => Some(Self::Denied(words(refusal))),
            _ => None,
        }
    }

    /// Returns what a failed read of an Identity lacks.
    pub(super) fn of_identity(key: &ObjectKey, error: &WatchError) -> Option<Self> {
        if let WatchError::Kube(fault) = error
            && let Some(refusal) = fault.refusal()
            && refusal.code == 404
            // Without the definition, the answer of the API server is not a `Status` with details.
            && refusal.kind == Kind::Identity.plural()
        {
            return Some(Self::NoIdentity(key.clone()));
        }
        Self::of(WatchedKind::Kind(Kind::Identity), error)
    }
}

/// Returns the API server's words, shortened and in one line.
fn words(refusal: &Refusal) -> String {
    let words = if refusal.message.is_empty() {
        "the API server gives no reason"
    } else {
        &*refusal.message
    };
    let short: String = words.chars().take(LONGEST).collect();
    one_line(&short).into_owned()
}

impl fmt::Display for WatchObstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDefinition(kind) => write!(f, "{}", Missing(&[*kind])),
            Self::NotAuthenticated => f.write_str(
                "the API server does not accept the credentials (Unauthorized): renew those of the kubeconfig, or restart the pod",
            ),
            Self::Denied(words) => write!(
                f,
                "access denied: {words}: give that user the rights of the chart (\"helm upgrade --install symbolon charts/symbolon --namespace symbolon-system\" or \"kubectl apply --server-side -k deploy/kustomize/base\"); \"kubectl auth can-i --list\" with --as shows the rights of a user"
            ),
            Self::NoIdentity(key) => write!(
                f,
                "there is no Identity {key}: apply it, or name another one with --identity (\"kubectl get identities --all-namespaces\" lists them)"
            ),
        }
    }
}

/// Definitions that are not installed.
struct Missing<'k>(&'k [Kind]);

impl fmt::Display for Missing<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (group, _) = API_VERSION.split_once('/').unwrap_or((API_VERSION, ""));
        let names = self
            .0
            .iter()
            .map(|kind| format!("{}.{group}", kind.plural()));
        let names = names.collect::<Vec<_>>().join(", ");
        write!(
            f,
            "the CustomResourceDefinition of {names} is not installed: run \"symbolon crds | kubectl apply --server-side -f -\""
        )
    }
}

/// Returns all obstacles as short texts: the missing definitions together, and one denial for all.
pub(super) fn summary(mut obstacles: Vec<WatchObstacle>) -> Vec<String> {
    obstacles.sort();
    obstacles.dedup();
    let mut kinds = Vec::new();
    let mut denials = Vec::new();
    let mut told = Vec::new();
    for obstacle in obstacles {
        match obstacle {
            WatchObstacle::NoDefinition(kind) => kinds.push(kind),
            WatchObstacle::Denied(_) => denials.push(obstacle.to_string()),
            other => told.push(other.to_string()),
        }
    }
    if !kinds.is_empty() {
        told.insert(0, Missing(&kinds).to_string());
    }
    let more = denials.len().saturating_sub(1);
    if let Some(denial) = denials.into_iter().next() {
        let more = if more > 0 {
            format!(" (and {more} more)")
        } else {
            String::new()
        };
        told.push(format!("{denial}{more}"));
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_definitions_are_told_together_and_denials_once() {
        let told = summary(vec![
            WatchObstacle::Denied("User \"a\" cannot list secrets".to_owned()),
            WatchObstacle::NoDefinition(Kind::Scope),
            WatchObstacle::NoDefinition(Kind::Identity),
            WatchObstacle::NoDefinition(Kind::Scope),
            WatchObstacle::Denied("User \"a\" cannot list namespaces".to_owned()),
        ]);
        let [definitions, denial] = &told[..] else {
            panic!("{told:?}");
        };
        assert!(
            definitions.contains("identities.symbolon.dev, scopes.symbolon.dev"),
            "{definitions}"
        );
        assert!(
            definitions.contains("symbolon crds | kubectl apply"),
            "{definitions}"
        );
        assert!(denial.contains("cannot list namespaces"), "{denial}");
        assert!(denial.ends_with("(and 1 more)"), "{denial}");
    }

    #[test]
    fn the_api_servers_words_are_short_and_in_one_line() {
        let refusal = Refusal {
            message: format!("a\nb\u{1b}[31m{}", "x".repeat(9000)),
            ..Refusal::default()
        };
        let words = words(&refusal);
        assert!(
            words.len() < 2 * LONGEST && !words.contains(['\n', '\u{1b}']),
            "{words}"
        );
        assert!(!super::words(&Refusal::default()).is_empty());
    }
}
