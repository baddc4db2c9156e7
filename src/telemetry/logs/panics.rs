//! Panics as lines of the log: one line each, in its form, with where it happened.
//!
//! The message of a panic is written only if it is a fixed text. One that was put together may quote what a caller
//! sent, as that of a slice of a string does.

use std::panic::{self, PanicHookInfo};
use std::thread;

/// The target of these lines.
pub(super) const TARGET: &str = "panic";

/// Reports the panics of this process from now on.
pub(super) fn report() {
    panic::set_hook(Box::new(tell));
}

fn tell(panic: &PanicHookInfo<'_>) {
    let cause = panic.payload().downcast_ref::<&'static str>();
    let location = panic.location().map(ToString::to_string);
    let current = thread::current();
    tracing::error!(
        target: TARGET,
        location,
        cause = cause.copied(),
        thread = current.name(),
        "a panic: this is a fault of the program, please report it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Log;

    #[test]
    fn the_line_of_a_panic_says_where_and_quotes_nothing_that_a_caller_sent() {
        let log = Log::default();
        let guard = log.start();
        let before = panic::take_hook();
        let ours = thread::current().id();
        panic::set_hook(Box::new(move |info| {
            // Tests of other threads may panic meanwhile.
            if thread::current().id() == ours {
                tell(info);
            }
        }));
        let sent = "é-s3cret";
        let quoting = panic::catch_unwind(|| sent[1..].len());
        let fixed = panic::catch_unwind(|| panic!("a fixed text"));
        panic::set_hook(before);
        drop(guard);
        assert!(quoting.is_err() && fixed.is_err());
        let text = log.text();
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("s3cret"), "{text}");
        assert_eq!(
            text.matches("panics.rs").count() + text.matches("str/").count(),
            2,
            "{text}"
        );
        assert!(text.contains("\"cause\":\"a fixed text\""), "{text}");
    }
}
