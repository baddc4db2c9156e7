//! How many files the process may have open: connections are files, and are bounded by them.

use crate::server::Limits;

/// Raises the soft limit of open files to the hard one, and bounds the server by what there is.
pub(super) fn limits() -> Limits {
    raised().map_or_else(Limits::default, Limits::within)
}

/// The limit after raising it; `None`: there is none, or the system does not say.
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
        tracing::warn!(%error, current, "the limit of open files cannot be raised: fewer connections are served");
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
    fn the_soft_limit_of_open_files_is_raised_to_the_hard_one() {
        let limits = limits();
        let limit = getrlimit(Resource::Nofile);
        assert_eq!(limit.current, limit.maximum);
        let files = limit
            .current
            .map_or(usize::MAX, |it| usize::try_from(it).unwrap());
        assert_eq!(limits, Limits::within(files));
    }
}
