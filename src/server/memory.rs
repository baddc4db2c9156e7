//! Ends connections when the process is short of memory. It acts on what the kernel counts, not on what connections are
//! charged for.
//!
//! A container that needs more memory than its limit is killed, with every connection in it. The accounts in
//! [`activity`](super::activity) cover each known way in which a peer makes the server hold memory. This module covers
//! the unknown ones.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The time between two readings.
pub(super) const PERIOD: Duration = Duration::from_millis(200);
/// Below this part of the limit, numerator and denominator, memory is never short.
const SHORT: (u64, u64) = (3, 4);
/// One part in this many of the limit: connections end each time the use has grown by that much. Memory that does not
/// grow, such as that of the tables, ends no connection.
const STEP: u64 = 64;
/// The counters in `memory.stat` of memory that the kernel cannot reclaim: of the process, its sockets, and the kernel
/// for both.
const HELD: [&str; 5] = [
    "anon",
    "sock",
    "kernel_stack",
    "pagetables",
    "slab_unreclaimable",
];

/// Tells when connections must end because memory grows towards the limit.
pub(super) struct Backstop {
    limit: u64,
    /// The lowest use since connections last ended because of memory, but at least [`SHORT`] of the limit.
    mark: u64,
    read: Box<dyn FnMut() -> Option<u64> + Send>,
}

/// The memory of the process when it became short, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shortage {
    pub used: u64,
    pub limit: u64,
}

impl Backstop {
    /// Watches this process. Returns `None` if the process has no memory limit in a cgroup of version 2.
    pub(super) fn of_process() -> Option<Self> {
        let own = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let folder = folder(Path::new("/sys/fs/cgroup"), &own)?;
        let limit = std::fs::read_to_string(folder.join("memory.max")).ok()?;
        let limit = limit.trim().parse().ok()?;
        let stat = folder.join("memory.stat");
        let read = move || Some(held(&std::fs::read_to_string(&stat).ok()?));
        Some(Self::new(limit, read))
    }

    /// Watches what `read` returns, in bytes.
    pub(super) fn new(limit: u64, read: impl FnMut() -> Option<u64> + Send + 'static) -> Self {
        Self {
            limit,
            mark: limit / SHORT.1 * SHORT.0,
            read: Box::new(read),
        }
    }

    /// Reads the memory. Returns a shortage each time the memory has grown by a further part of the limit.
    pub(super) fn check(&mut self) -> Option<Shortage> {
        let used = (self.read)()?;
        let least = self.limit / SHORT.1 * SHORT.0;
        if used >= self.mark + self.limit / STEP {
            self.mark = used;
            return Some(Shortage {
                used,
                limit: self.limit,
            });
        }
        self.mark = self.mark.min(used).max(least);
        None
    }
}

/// Returns the folder of the process's cgroup, from the content of `/proc/self/cgroup` (cgroups(7)).
fn folder(root: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(root.join(path))
}

/// Returns the bytes in `memory.stat` that cannot be reclaimed.
fn held(stat: &str) -> u64 {
    let counters = stat.lines().filter_map(|line| line.split_once(' '));
    let ours = counters.filter(|(name, _)| HELD.contains(name));
    ours.filter_map(|(_, bytes)| bytes.trim().parse::<u64>().ok())
        .fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    const MIB: u64 = 1 << 20;

    /// Returns which of these readings are a shortage, with a limit of 512 MiB.
    fn shortages(readings: &[u64]) -> Vec<u64> {
        let mut rest: VecDeque<u64> = readings.iter().copied().collect();
        let mut backstop = Backstop::new(512 * MIB, move || Some(rest.pop_front()? * MIB));
        let checks = readings.iter().map(|_| backstop.check());
        checks.flatten().map(|it| it.used / MIB).collect()
    }

    #[test]
    fn memory_below_three_quarters_of_the_limit_is_not_short() {
        assert_eq!(shortages(&[100, 300, 383, 391]), [0; 0]);
        assert_eq!(shortages(&[100, 392]), [392]);
    }

    #[test]
    fn connections_end_again_only_when_memory_grows_further() {
        assert_eq!(shortages(&[400, 400, 407, 407, 400]), [400]);
        assert_eq!(shortages(&[400, 408, 415, 416, 500]), [400, 408, 416, 500]);
    }

    #[test]
    fn memory_that_shrank_may_be_short_again() {
        assert_eq!(shortages(&[500, 390, 397, 398]), [500, 398]);
        assert_eq!(shortages(&[500, 100, 390, 392]), [500, 392]);
    }

    #[test]
    fn a_failed_reading_is_no_shortage() {
        let mut backstop = Backstop::new(MIB, || None);
        assert_eq!(backstop.check(), None);
    }

    #[test]
    fn the_limit_of_the_own_cgroup_counts() {
        let root = Path::new("/sys/fs/cgroup");
        let at = |own| folder(root, own);
        assert_eq!(at("0::/\n"), Some(root.into()));
        assert_eq!(at("0::/a/b\n"), Some(root.join("a/b")));
        assert_eq!(at("12:memory:/a\n1:name=systemd:/a\n"), None);
    }

    #[test]
    fn memory_that_the_kernel_can_reclaim_does_not_count() {
        let stat = "anon 100\nfile 5000\nkernel_stack 10\nsock 7\nslab_reclaimable 900\nslab 950\nslab_unreclaimable 3\n";
        assert_eq!(held(stat), 120);
        assert_eq!(held(""), 0);
    }
}
