//! `symbolon dev` as a user has it: the built program on a directory of YAML, on ports of its own.

mod canaries;
mod dev;
mod folder;
mod http;
mod ports;

pub(crate) use self::canaries::{Canaries, send_everywhere};
pub(crate) use self::dev::{Dev, Ports};
pub(crate) use self::folder::Folder;
pub(crate) use self::http::{Client, introspect};

use std::time::{Duration, Instant};

/// How long [`eventually`] waits: long, since the machine may be busy; a test that passes does not wait for it.
const PATIENCE: Duration = Duration::from_secs(30);

/// Asks again and again until there is an answer, and fails the test when there is none for half a minute.
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "not within {} s: {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}
