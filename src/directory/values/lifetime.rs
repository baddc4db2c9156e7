//! When a secret or token expires.

use jiff::{SignedDuration, Timestamp};

/// When a secret expires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lifetime {
    /// This long after it was issued.
    For(SignedDuration),
    /// At a fixed time.
    Until(Timestamp),
    /// Never.
    Never,
}
