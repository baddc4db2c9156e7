//! The beat of what the status of Identities and Scopes counts: all of it once in a while, so that very many clients
//! that come at once make a write or two of a status, and nothing where nothing changed.

use std::sync::Arc;
use std::time::Duration;

use super::{Controller, lock};
use crate::directory::Counts;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::report::Reports;
use crate::reconcile::work::Work;
use crate::resources::Kind;

/// Between two counts, and so between two writes of one status for them.
const EVERY: Duration = Duration::from_secs(10);

impl<C: Cluster + Reports + 'static> Controller<C> {
    /// Counts for ever.
    pub(super) async fn beat(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if self.is_active() {
                self.count();
            }
        }
    }

    /// The numbers that status tells; `None` before anything was counted.
    pub(super) fn counts(&self) -> Option<Arc<Counts>> {
        lock(&self.counts).clone()
    }

    /// Counts anew, and queues whose numbers are others than before.
    pub(super) fn count(&self) {
        let directory = self.directory();
        let now = Arc::new(Counts::take(&directory));
        let Some(before) = lock(&self.counts).replace(now.clone()) else {
            return;
        };
        if before == now {
            return;
        }
        for object in directory.identities() {
            if before.of_identity(&object.key) != now.of_identity(&object.key) {
                let work = Work::Object(Kind::Identity, object.key.clone());
                self.queue.add_slow(work);
            }
        }
        for object in directory.scopes() {
            let Some(record) = object.record() else {
                continue;
            };
            let Some(identity) = &record.identity else {
                continue;
            };
            if before.of_scope(identity, &record.value) != now.of_scope(identity, &record.value) {
                self.queue
                    .add_slow(Work::Object(Kind::Scope, object.key.clone()));
            }
        }
    }
}
