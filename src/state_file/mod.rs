//! Files that only their owner can read, written as a whole or not at all, and reached without following links.
//!
//! Dev mode keeps its state in them; a cluster keeps it in the API server and etcd. A repository or an archive may
//! contain a folder of that name. So everything below it is reached through a [`Dir`], and [`open_state`] decides
//! whether the folder may be used at all. A repository may also bring files into a folder of ours: files that must be
//! trusted have a [`Seal`]. Not here: the contents of the files.

mod dir;
mod place;
mod regular;
mod seal;

pub use self::dir::{Content, Dir, DirEntry, EntryKind, FileMode};
pub use self::place::{Chosen, Unsuitable, open_state};
pub use self::regular::read_regular;
pub use self::seal::Seal;

/// Special files for tests. Tests start no programs for this: a child inherits locks until it executes, and tests that
/// run in parallel would find them held.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    /// Creates a FIFO.
    pub(crate) fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
}
