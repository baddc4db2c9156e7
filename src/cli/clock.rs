//! The clock of the commands: everything below gets the time as a parameter.

use jiff::Timestamp;

/// Now.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge reads the clock and passes it on"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}
