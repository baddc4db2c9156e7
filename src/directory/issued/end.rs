//! When a recorded token ends: at its expiry, or at an earlier end that it was given.

use jiff::Timestamp;

use crate::directory::tables::record::EntryRecord;
use crate::resources::CredentialEntry;

/// Returns the time from which a decoded entry is no longer accepted; `None`: never.
pub fn ends(entry: &EntryRecord) -> Option<Timestamp> {
    earlier(entry.expires_at, entry.not_after)
}

/// Returns the time from which an entry of a Credential is no longer accepted; `None`: never.
pub fn entry_ends(entry: &CredentialEntry) -> Option<Timestamp> {
    let time = |moment: Option<crate::resources::Moment>| moment.map(|moment| moment.0);
    earlier(time(entry.expires_at), time(entry.not_after))
}

/// Returns whether an entry of a Credential has not ended yet.
pub fn is_entry_live(entry: &CredentialEntry, now: Timestamp) -> bool {
    entry_ends(entry).is_none_or(|end| now < end)
}

fn earlier(expires_at: Option<Timestamp>, not_after: Option<Timestamp>) -> Option<Timestamp> {
    [expires_at, not_after].into_iter().flatten().min()
}
