//! The clock of the commands. The modules below get the time as a parameter.

use jiff::Timestamp;

/// Returns the current time.
#[expect(
    clippy::disallowed_methods,
    reason = "the commands read the clock and pass the time on"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
