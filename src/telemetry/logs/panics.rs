//! Logs panics: one line each, in the log's form, with the place of the panic.
//!
//! The message of a panic is logged only if it is a fixed text. A formatted message may quote what a caller sent, as
//! the message of a failed string slice does.

use std::panic::{self, PanicHookInfo};
use std::thread;

/// The target of these lines.
pub(super) const TARGET: &str = "panic";

/// Logs all panics of this process from now on.
pub(super) fn report() {
    panic::set_hook(Box::new(tell));
}

/// The file of tower-http whose panic `kube_call` turns into an error: a token that no header can contain.
const CAUGHT: &str = "src/auth/add_authorization.rs";

fn tell(panic: &PanicHookInfo<'_>) {
    if panic
        .location()
        .is_some_and(|at| at.file().ends_with(CAUGHT))
    {
        return;
    }
    let cause = panic.payload().downcast_ref::<&'static str>();
    let location = panic.location().map(ToString::to_string);
    let current = thread::current();
    tracing::error!(
        target: TARGET,
        location,
        cause = cause.copied(),
        thread = current.name(),
        "panic: this is a bug in the program, please report it"
    );
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::testing::Log;

    #[test]
    fn a_panic_line_names_its_place_and_quotes_no_caller_text() {
        let log = Log::default();
        let guard = log.start();
        let before = panic::take_hook();
        let ours = thread::current().id();
        panic::set_hook(Box::new(move |info| {
            // Tests in other threads may panic too.
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
