//! The number of tokens by state, which metrics show. Concurrent scrapes share one count.

use jiff::{SignedDuration, Timestamp};

use super::snapshot::Publisher;
use crate::directory::counts::census::Census;

/// The least time between two counts of all tokens: a count visits every owner.
const CENSUS_EVERY: SignedDuration = SignedDuration::from_mins(1);

/// The latest count of all tokens.
#[derive(Debug, Default)]
pub(super) struct LatestCensus(tokio::sync::Mutex<Option<(Timestamp, Census)>>);

impl LatestCensus {
    /// Returns the number of tokens by state, counted at most a minute ago.
    pub async fn at(&self, publisher: &Publisher, now: Timestamp) -> Census {
        // Concurrent scrapes wait here for the same count.
        let mut latest = self.0.lock().await;
        if let Some((taken, census)) = *latest
            && now.duration_since(taken) < CENSUS_EVERY
        {
            return census;
        }
        let snapshot = publisher.current().clone();
        let (directory, identity) = (snapshot.directory().clone(), snapshot.identity().clone());
        let counting = move || Census::take(&directory, &identity, now);
        let census = tokio::task::spawn_blocking(counting).await;
        let census = census.unwrap_or_default();
        *latest = Some((now, census));
        census
    }
}
