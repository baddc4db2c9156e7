//! A line now and then on standard error, where work takes long.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::super::terminal;

const EVERY: Duration = Duration::from_secs(2);

/// How far a count has come.
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

    /// One more is done.
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
