//! The limit of open files. Each connection is an open file, so this limit bounds the connections.

use crate::server::ServerLimits;

/// Raises the soft limit of open files to the hard limit and returns the server's limits that fit into it.
pub(super) fn limits() -> ServerLimits {
    raised().map_or_else(ServerLimits::default, ServerLimits::within)
}

/// Returns the limit after raising it; `None` if there is no limit or the system does not report one.
#[cfg(unix)]
fn raised() -> Option<usize> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        let current = limit.current;
        tracing::warn!(%error, current, "cannot raise the limit of open files, serving fewer connections");
    }
    let limit = getrlimit(Resource::Nofile).current?;
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

#[cfg(not(unix))]
fn raised() -> Option<usize> {
    None
}

#[cfg(all(test, unix))]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::*;

    #[test]
    fn the_soft_limit_of_open_files_is_raised_to_the_hard_limit() {
        let limits = limits();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        let files = limit
            .current
            .map_or(usize::MAX, |it| usize::try_from(it).unwrap());
        assert_eq!(limits, ServerLimits::within(files));
    }
}
