//! Periodic counts for the statuses of Identities and Scopes. Counting everything at an interval means that thousands
//! of new clients cause one or two status writes, and no change causes none.

use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use crate::directory::{Counts, Directory, ReferenceCounts};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::reports::Reports;
use crate::reconcile::work::Work;
use crate::resources::Kind;

/// The time between two counts, and so between two status writes that they cause.
const EVERY: Duration = Duration::from_secs(10);

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Counts until cancelled.
    pub(super) async fn beat(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if self.agenda.leads() {
                self.count();
            }
        }
    }

    /// Returns the latest counts; `None` before the first.
    pub(super) fn counts(&self) -> Option<Arc<Counts>> {
        lock(&self.counts).clone()
    }

    /// Counts, and queues the objects whose numbers changed.
    pub(super) fn count(&self) {
        let directory = self.directory();
        let now = Arc::new(Counts::take(&directory));
        let before = lock(&self.counts).replace(now.clone());
        for work in concerned(&directory, before.as_deref(), &now) {
            self.agenda.queue.add_slow(work);
        }
    }

    /// Counts as if for the first time, because another leader may have written statuses since the last count.
    pub(super) fn count_afresh(&self) {
        lock(&self.counts).take();
        self.count();
    }
}

/// Returns the objects whose numbers changed. On the first count these are all objects: the numbers may have changed
/// while no operator counted, and only the status shows whether they did.
fn concerned(directory: &Directory, before: Option<&Counts>, now: &Counts) -> Vec<Work> {
    if before == Some(now) {
        return Vec::new();
    }
    let is_other =
        |of: &dyn Fn(&Counts) -> ReferenceCounts| before.is_none_or(|it| of(it) != of(now));
    let identities = directory
        .identities()
        .filter(|object| is_other(&|counts| counts.of_identity(&object.key)))
        .map(|object| Work::Object(Kind::Identity, object.key.clone()));
    let scopes = directory.scopes().filter(|object| {
        let record = object.record();
        let named = record.and_then(|it| Some((it.identity.as_ref()?, &it.value)));
        named.is_some_and(|(identity, value)| is_other(&|counts| counts.of_scope(identity, value)))
    });
    let scopes = scopes.map(|object| Work::Object(Kind::Scope, object.key.clone()));
    identities.chain(scopes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Change, ObjectKey};

    fn names(directory: &Directory, before: Option<&Counts>) -> Vec<String> {
        let now = Counts::take(directory);
        let works = concerned(directory, before, &now).into_iter();
        let mut names: Vec<String> = works
            .filter_map(|work| match work {
                Work::Object(_, key) => Some(key.name.to_string()),
                _ => None,
            })
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_first_count_concerns_all_and_each_later_one_those_with_other_numbers() {
        let mut world = World::new(QUICKSTART);
        let all = ["main", "orders.read", "orders.write"];
        assert_eq!(names(&world.directory, None), all);
        let before = Counts::take(&world.directory);
        assert!(names(&world.directory, Some(&before)).is_empty());
        // The token names only orders.read.
        let nightly = ObjectKey::new("blue", "nightly");
        let gone = Change::Delete(Kind::ServiceAccessToken, nightly);
        world.directory.apply(gone);
        let concerned = names(&world.directory, Some(&before));
        assert_eq!(concerned, ["main", "orders.read"]);
    }
}
