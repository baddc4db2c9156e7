//! Files for their owner alone, written whole or not at all, and reached without following a link.
//!
//! Dev mode keeps its state in them: what an API server and etcd keep elsewhere. A repository or an archive may bring a
//! folder of that name along, so that everything below it is reached through a [`Dir`], and [`open_state`] says whether
//! the folder may be used at all. It may bring files into a folder of ours, too: what must be believed has a [`Seal`].
//! Absent: what is in the files.

mod dir;
mod place;
mod regular;
mod seal;

pub use self::dir::{Content, Dir, Entry, Mode};
pub use self::place::{Chosen, Refusal, open_state};
pub use self::regular::read_regular;
pub use self::seal::Seal;

/// What tests put in the place of files. They start no programs: a child inherits locks until it runs another program,
/// and tests that run beside would find them held.
#[cfg(test)]
pub(crate) mod testing {
    use std::path::Path;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    /// Makes a FIFO.
    pub(crate) fn fifo(path: &Path) {
        mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
}
