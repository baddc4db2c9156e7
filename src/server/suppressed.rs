//! Whose refusals were left out of the audit log, and how many: a few rows, whatever the number of callers. Pure.
//!
//! The rows are those of Misra and Gries: a caller with more than a seventeenth of all has one for certain, and its count
//! is a lower bound; what no row counts is told as that of others, so that the sum is exact.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

/// Callers that are told apart.
const MOST: usize = 16;
/// Between tellings.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// Whose refusal it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The address, or of IPv6 the /64.
    pub network: Option<IpAddr>,
    /// The client, if it has authenticated.
    pub client_id: Option<Box<str>>,
}

impl Who {
    /// The address as it is told: `203.0.113.7`, `2001:db8::/64`.
    pub fn peer(&self) -> Option<String> {
        self.network.map(|network| match network {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(network) => format!("{network}/64"),
        })
    }
}

/// One caller, and how many of its refusals were left out since then at least.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `None`: those of others.
    pub who: Option<Who>,
    pub count: u64,
    pub since: Timestamp,
}

/// What was left out since the last telling.
#[derive(Debug, Default)]
pub(super) struct Suppressed {
    /// When the first was, by the clock and since the start of the server.
    begun: Option<(Timestamp, Duration)>,
    total: u64,
    rows: Vec<Row>,
}

impl Suppressed {
    /// Counts one; `elapsed` counts from the start of the server.
    pub fn note(
        &mut self,
        network: Option<IpAddr>,
        client_id: Option<&str>,
        now: Timestamp,
        elapsed: Duration,
    ) {
        self.begun.get_or_insert((now, elapsed));
        self.total += 1;
        let is_it = |row: &&mut Row| {
            let who = row.who.as_ref();
            who.is_some_and(|who| who.network == network && who.client_id.as_deref() == client_id)
        };
        if let Some(row) = self.rows.iter_mut().find(is_it) {
            row.count += 1;
        } else if self.rows.len() < MOST {
            let client_id = client_id.map(Into::into);
            self.rows.push(Row {
                who: Some(Who { network, client_id }),
                count: 1,
                since: now,
            });
        } else {
            self.rows.retain_mut(|row| {
                row.count -= 1;
                row.count > 0
            });
        }
    }

    /// Whether it is time to tell.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        self.begun
            .is_some_and(|(_, begun)| elapsed.saturating_sub(begun) >= EVERY)
    }

    /// What is to be told, the most first and those of others last; and begins again.
    pub fn take(&mut self) -> Vec<Row> {
        let Self {
            begun,
            total,
            mut rows,
        } = std::mem::take(self);
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        let counted: u64 = rows.iter().map(|row| row.count).sum();
        if let Some((since, _)) = begun.filter(|_| total > counted) {
            rows.push(Row {
                who: None,
                count: total - counted,
                since,
            });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(n: u32) -> IpAddr {
        IpAddr::from(n.to_be_bytes())
    }

    fn at(seconds: u64) -> (Timestamp, Duration) {
        let elapsed = Duration::from_secs(seconds);
        (Timestamp::UNIX_EPOCH + elapsed, elapsed)
    }

    #[test]
    fn each_caller_is_told_with_its_count_and_since_when() {
        let mut suppressed = Suppressed::default();
        for (second, peer, client) in [
            (1, 7, None),
            (2, 7, None),
            (3, 8, Some("a.b")),
            (4, 7, None),
        ] {
            let (now, elapsed) = at(second);
            suppressed.note(Some(address(peer)), client, now, elapsed);
        }
        assert!(!suppressed.is_due(at(10).1));
        assert!(suppressed.is_due(at(11).1));
        let row = |peer, client_id: Option<&str>, count, second| Row {
            who: Some(Who {
                network: Some(address(peer)),
                client_id: client_id.map(Into::into),
            }),
            count,
            since: at(second).0,
        };
        assert_eq!(
            suppressed.take(),
            [row(7, None, 3, 1), row(8, Some("a.b"), 1, 3)]
        );
        assert!(suppressed.take().is_empty() && !suppressed.is_due(at(99).1));
    }

    #[test]
    fn rows_are_few_whoever_comes_the_heaviest_have_theirs_and_nothing_is_uncounted() {
        let mut suppressed = Suppressed::default();
        let (now, elapsed) = at(1);
        for n in 0..100_000 {
            let peer = if n % 10 == 0 { 7 } else { n + 1000 };
            suppressed.note(Some(address(peer)), None, now, elapsed);
        }
        let rows = suppressed.take();
        assert!(rows.len() <= MOST + 1);
        assert_eq!(rows.iter().map(|row| row.count).sum::<u64>(), 100_000);
        assert_eq!(rows[0].who.as_ref().unwrap().network, Some(address(7)));
        assert!(rows[0].count <= 10_000, "a lower bound");
        assert_eq!(rows.last().unwrap().who, None);
    }

    #[test]
    fn a_network_is_told_as_one() {
        let who = |network: &str| Who {
            network: Some(network.parse().unwrap()),
            client_id: None,
        };
        assert_eq!(who("203.0.113.7").peer().unwrap(), "203.0.113.7");
        assert_eq!(who("2001:db8::").peer().unwrap(), "2001:db8::/64");
    }
}
