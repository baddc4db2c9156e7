//! Logs problems of the manifests when they change, each of them once.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use crate::directory::problem::suggest::one_line;
use crate::directory::{Directory, ObjectKey, Problem};
use crate::resources::Kind;
use crate::source::live::Update;

/// The maximum number of problems that are logged at a time.
const MAX_TOLD: usize = 200;

/// A problem of an object, without its place: an edit above the object moves it, and it is still the same problem.
type Known = (Kind, ObjectKey, String);

/// The problems that have been logged, each with the logged line.
#[derive(Default)]
pub(super) struct Told {
    faults: BTreeSet<String>,
    judged: BTreeMap<Known, String>,
}

/// Returns the place of a problem in a file.
pub(super) type LocateProblem<'a> = &'a dyn Fn(Kind, &ObjectKey, &Problem) -> Option<String>;

impl Told {
    /// Logs new problems, and when all problems are solved.
    pub(super) fn tell(
        &mut self,
        update: &Update,
        directory: &Directory,
        places: LocateProblem<'_>,
        now: Timestamp,
    ) {
        let faults = update.faults.iter().map(ToString::to_string);
        let found = Self {
            faults: faults.collect(),
            judged: judged(directory, places, now),
        };
        let new_judged = found
            .judged
            .iter()
            .filter(|(known, _)| !self.judged.contains_key(*known));
        let mut new = found
            .faults
            .difference(&self.faults)
            .chain(new_judged.map(|(_, line)| line));
        for problem in new.by_ref().take(MAX_TOLD) {
            tracing::warn!("{}", one_line(problem));
        }
        let more = new.count();
        if more > 0 {
            tracing::warn!("and {more} more problems: run symbolon check to list them");
        }
        if found.count() == 0 && self.count() > 0 {
            tracing::info!("all problems of the manifests are solved");
        }
        if !update.events.is_empty() {
            tracing::info!(
                changes = update.events.len(),
                problems = found.count(),
                "manifests served"
            );
        }
        *self = found;
    }

    fn count(&self) -> usize {
        self.faults.len() + self.judged.len()
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

/// Returns the problems that only show among all objects together, and their lines.
fn judged(
    directory: &Directory,
    places: LocateProblem<'_>,
    now: Timestamp,
) -> BTreeMap<Known, String> {
    let mut lines = BTreeMap::new();
    let mut add = |kind: Kind, key: &ObjectKey, problems: Vec<Problem>| {
        lines.extend(problems.into_iter().map(|problem| {
            let place = places(kind, key, &problem).map(|place| place + ": ");
            let place = place.unwrap_or_default();
            let Problem {
                reason, message, ..
            } = problem;
            let line = format!("{place}{kind} {key}: {reason}: {message}");
            ((kind, key.clone(), message), line)
        }));
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
