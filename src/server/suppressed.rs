//! Counts the refusals that were left out of the audit log, by caller. The number of rows is small, however many
//! callers there are. Pure.
//!
//! The algorithm is that of Misra and Gries: a caller with more than a seventeenth of all refusals certainly has a row,
//! and its count is a lower bound. Refusals that no row counts are reported as those of others, so that the sum is
//! exact.

use std::net::IpAddr;
use std::time::Duration;

use jiff::Timestamp;

/// The most callers that have rows of their own.
const MOST: usize = 16;
/// The time between two reports.
pub(super) const EVERY: Duration = Duration::from_secs(10);

/// The caller that a refusal belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Who {
    /// The IPv4 address or the IPv6 /64.
    pub network: Option<IpAddr>,
    /// The client, if the caller has authenticated.
    pub client_id: Option<Box<str>>,
}

impl Who {
    /// Returns the address as it is reported: `203.0.113.7`, `2001:db8::/64`.
    pub fn peer(&self) -> Option<String> {
        self.network.map(|network| match network {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(network) => format!("{network}/64"),
        })
    }
}

/// A caller, and the least number of its refusals that were left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct SuppressedCaller {
    /// The caller; `None` stands for all others.
    pub who: Option<Who>,
    pub count: u64,
    pub since: Timestamp,
}

/// The refusals that were left out since the last report.
#[derive(Debug, Default)]
pub(super) struct Suppressed {
    /// The time of the first one: by the clock, and since the start of the server.
    begun: Option<(Timestamp, Duration)>,
    total: u64,
    rows: Vec<SuppressedCaller>,
}

impl Suppressed {
    /// Counts a refusal. `elapsed` is the time since the start of the server.
    pub fn note(
        &mut self,
        network: Option<IpAddr>,
        client_id: Option<&str>,
        now: Timestamp,
        elapsed: Duration,
    ) {
        self.begun.get_or_insert((now, elapsed));
        self.total += 1;
        let is_it = |row: &&mut SuppressedCaller| {
            let who = row.who.as_ref();
            who.is_some_and(|who| who.network == network && who.client_id.as_deref() == client_id)
        };
        if let Some(row) = self.rows.iter_mut().find(is_it) {
            row.count += 1;
        } else if self.rows.len() < MOST {
            let client_id = client_id.map(Into::into);
            self.rows.push(SuppressedCaller {
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

    /// Returns whether a report is due.
    pub fn is_due(&self, elapsed: Duration) -> bool {
        self.begun
            .is_some_and(|(_, begun)| elapsed.saturating_sub(begun) >= EVERY)
    }

    /// Returns the rows, the largest first and those of others last, and starts over.
    pub fn take(&mut self) -> Vec<SuppressedCaller> {
        let Self {
            begun,
            total,
            mut rows,
        } = std::mem::take(self);
        rows.sort_by_key(|row| std::cmp::Reverse(row.count));
        let counted: u64 = rows.iter().map(|row| row.count).sum();
        if let Some((since, _)) = begun.filter(|_| total > counted) {
            rows.push(SuppressedCaller {
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
    fn each_caller_is_reported_with_its_count_and_its_first_time() {
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
        let row = |peer, client_id: Option<&str>, count, second| SuppressedCaller {
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
    fn rows_are_few_the_heaviest_callers_have_rows_and_every_refusal_is_counted() {
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
    fn an_ipv6_caller_is_reported_as_its_network() {
        let who = |network: &str| Who {
            network: Some(network.parse().unwrap()),
            client_id: None,
        };
        assert_eq!(who("203.0.113.7").peer().unwrap(), "203.0.113.7");
        assert_eq!(who("2001:db8::").peer().unwrap(), "2001:db8::/64");
    }
}
