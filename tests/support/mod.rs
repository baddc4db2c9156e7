//! Runs `symbolon dev` as a user does: the built program on a directory of YAML, on free ports.

mod browser;
mod canaries;
mod claims;
mod dev;
mod folder;
mod http;
pub(crate) mod install;
mod page;
mod ports;

pub(crate) use self::browser::{Browser, End, Left, Page, Person, Way};
pub(crate) use self::canaries::{Canaries, send_everywhere};
pub(crate) use self::claims::changed;
pub(crate) use self::dev::{Dev, Ports};
pub(crate) use self::folder::{Folder, data_of};
pub(crate) use self::http::{Client, get, introspect, post_json};
pub(crate) use self::page::{RECIPES, page, recipe};
pub(crate) use self::ports::free_port;

use std::time::{Duration, Instant};

/// How long [`eventually`] waits. It is long because the machine may be busy; a test that passes never waits so long.
const PATIENCE: Duration = Duration::from_mins(10);

/// Repeats `ask` until it returns a value, and fails the test after [`PATIENCE`].
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
