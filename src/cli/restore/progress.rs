//! Progress lines on standard error for long work.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::terminal;

/// The pause between two lines.
const EVERY: Duration = Duration::from_secs(2);

/// A counter that prints its progress.
pub(super) struct Progress {
    what: &'static str,
    all: usize,
    state: Mutex<(usize, Instant)>,
}

impl Progress {
    pub(super) fn of(what: &'static str, all: usize) -> Self {
        Self {
            what,
            all,
            state: Mutex::new((0, Instant::now())),
        }
    }

    /// Counts one more and prints a line if the last one is old enough.
    pub(super) fn step(&self) {
        let Ok(mut state) = self.state.lock() else {
            return;
        };
        let (done, told) = &mut *state;
        *done += 1;
        if told.elapsed() >= EVERY {
            *told = Instant::now();
            terminal::note(&format!("{}: {done} of {}", self.what, self.all));
        }
    }
}
