//! The limits and settings that apply to every owner.

use jiff::{SignedDuration, Timestamp};

use crate::tokens::MacKey;

/// A rotation waits while this many tokens of an owner are accepted. The other places are for replacing a lost Secret.
pub(super) const MAX_BY_ROTATION: usize = 4;
/// The rules that apply to every owner.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The key that seals entries. Without one, nothing is issued, but revoked owners are still emptied.
    pub mac: Option<&'a MacKey>,
    /// The maximum time that a request is in flight, except by a fault.
    pub request_timeout: SignedDuration,
    /// How many tokens one owner may get within an hour.
    pub mints_per_owner: usize,
    /// Since when reports of use are complete. Silence before this time does not prove that a token is unused.
    pub watching_since: Timestamp,
}

impl<'a> Rules<'a> {
    /// Returns the rules as shipped.
    pub const fn new(mac: &'a MacKey) -> Self {
        Self {
            mac: Some(mac),
            ..Self::without_key()
        }
    }

    /// Returns the same rules for when there is no key.
    pub const fn without_key() -> Self {
        Self {
            mac: None,
            request_timeout: SignedDuration::from_secs(10),
            mints_per_owner: 10,
            watching_since: Timestamp::MIN,
        }
    }
}
