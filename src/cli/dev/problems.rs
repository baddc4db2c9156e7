//! Logs problems of the manifests when they change, each of them once.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::directory::problem::suggest::one_line;
use crate::directory::{Directory, ObjectKey, Problem};
use crate::resources::Kind;
use crate::source::live::Update;

/// The maximum number of problems that are logged at a time.
const MAX_TOLD: usize = 200;

/// The problems that have been logged.
#[derive(Default)]
pub(super) struct Told(BTreeSet<String>);

impl Told {
    /// Logs new problems, and when all problems are solved.
    pub(super) fn tell(&mut self, update: &Update, directory: &Directory, now: Timestamp) {
        let faults = update.faults.iter().map(ToString::to_string);
        let found: BTreeSet<String> = faults.chain(judged(directory, now)).collect();
        let mut new = found.difference(&self.0);
        for problem in new.by_ref().take(MAX_TOLD) {
            tracing::warn!("{}", one_line(problem));
        }
        let more = new.count();
        if more > 0 {
            tracing::warn!("and {more} more problems: run symbolon check to list them");
        }
        if found.is_empty() && !self.0.is_empty() {
            tracing::info!("all problems of the manifests are solved");
        }
        if !update.events.is_empty() {
            tracing::info!(
                changes = update.events.len(),
                problems = found.len(),
                "manifests served"
            );
        }
        self.0 = found;
    }
}

/// A failure that is retried. It is logged the first time and when its message changes, not at each retry.
#[derive(Default)]
pub(super) struct Failing(Option<String>);

impl Failing {
    /// Returns whether this failure differs from the previous one.
    pub(super) fn is_new(&mut self, error: &str) -> bool {
        let before = self.0.replace(error.to_owned());
        before.as_deref() != Some(error)
    }
}

/// Returns the problems that only show among all objects together.
fn judged(directory: &Directory, now: Timestamp) -> Vec<String> {
    let mut lines = Vec::new();
    let mut add = |kind: Kind, key: &ObjectKey, problems: Vec<Problem>| {
        lines.extend(
            problems
                .into_iter()
                .map(|problem| format!("{kind} {key}: {}: {}", problem.reason, problem.message)),
        );
    };
    // An Identity without a fault in its file may have one here, because dev mode replaces its issuer.
    for object in directory.identities() {
        add(
            Kind::Identity,
            &object.key,
            directory.identity_problems(object),
        );
    }
    for object in directory.scopes().filter(|object| object.state.is_ok()) {
        add(Kind::Scope, &object.key, directory.scope_problems(object));
    }
    for object in directory.clients().filter(|object| object.state.is_ok()) {
        let problems = match directory.accepted_client(object) {
            Ok(client) => directory.not_granted(&client),
            Err(problems) => problems,
        };
        add(Kind::OAuthClient, &object.key, problems);
    }
    for object in directory
        .service_tokens()
        .filter(|object| object.record().is_some_and(|record| !record.revoked))
    {
        add(
            Kind::ServiceAccessToken,
            &object.key,
            directory.service_token_problems(object, now),
        );
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeated_failure_is_logged_once() {
        let mut failing = Failing::default();
        let told = ["a", "a", "a", "b", "b", "a"].map(|error| failing.is_new(error));
        assert_eq!(told, [true, false, false, true, false, true]);
    }
}
