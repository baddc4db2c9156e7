//! Last use: when a use is worth a report, what a report adds to what is known, and when a replaced token was in
//! no use for long enough.
//!
//! A use costs nothing but a comparison while its last report is fresh. Absent: who reports, who writes, and any
//! say in whether a token is good: that never depends on a report.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::desired::quiet_period;
use super::record::{CredentialRecord, EntryRecord, Used};
use super::{Directory, OwnerRecord, ends};
use crate::resources::{Credential, CredentialStatus, Moment, OwnerKind, TokenUse};

/// Between two reports of a token that stays in use.
const USUALLY: SignedDuration = SignedDuration::from_hours(24);
/// The same while the owner has more than one token that is good.
const IN_OVERLAP: SignedDuration = SignedDuration::from_mins(10);
/// Nothing younger is reported again, however short the quiet period is.
const SOONEST: SignedDuration = SignedDuration::from_secs(10);
/// So many reports fit into a quiet period.
const IN_QUIET_PERIOD: i32 = 6;
/// Replicas and tokens differ by this share of the time between two reports, so that they report one after another.
const SPREAD: i32 = 8;
/// A use that is known from further ahead than this says nothing: a clock was wrong.
const CLOCKS: SignedDuration = SignedDuration::from_mins(5);

/// A use that is to be reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UseSeen {
    /// The token's number.
    pub epoch: i64,
    /// When.
    pub at: Timestamp,
    /// How far apart reports of it are now.
    pub every: SignedDuration,
}

impl CredentialRecord {
    /// The last use of a token that was reported.
    pub fn last_used(&self, epoch: i64) -> Option<Timestamp> {
        let used = self.uses.iter().find(|used| used.epoch == epoch)?;
        Timestamp::from_second(used.last).ok()
    }
}

impl Directory {
    /// Whether a use of a token now is to be reported. `share` is where in the spread the caller stands; it
    /// should differ by replica and token.
    pub fn use_to_report(
        &self,
        credential: &CredentialRecord,
        entry: &EntryRecord,
        share: u8,
        now: Timestamp,
    ) -> Option<UseSeen> {
        let age = credential
            .last_used(entry.epoch)
            .map(|last| now.duration_since(last));
        if age.is_some_and(|age| -CLOCKS < age && age < SOONEST / 2) {
            return None;
        }
        let every = if overlaps(credential, now) {
            in_overlap(self.quiet_period_of(&credential.owner))
        } else {
            USUALLY
        };
        let is_fresh = |age: SignedDuration| -CLOCKS < age && age < spread(every, share);
        (!age.is_some_and(is_fresh)).then_some(UseSeen {
            epoch: entry.epoch,
            at: now,
            every,
        })
    }

    fn quiet_period_of(&self, owner: &OwnerRecord) -> Option<SignedDuration> {
        let secret = match owner.kind {
            OwnerKind::OAuthClient => self.client(&owner.key)?.record().map(|it| &it.secret),
            OwnerKind::ServiceAccessToken => self
                .service_token(&owner.key)?
                .record()
                .map(|it| &it.secret),
        };
        secret?.rotation.as_deref().map(quiet_period)
    }
}

/// Whether more than one token of an owner is good.
fn overlaps(credential: &CredentialRecord, now: Timestamp) -> bool {
    let entries = credential.entries.iter();
    credential.entries.len() > 1
        && entries
            .filter(|entry| ends(entry).is_none_or(|end| now < end))
            .nth(1)
            .is_some()
}

/// How far apart reports are during an overlap.
fn in_overlap(quiet_period: Option<SignedDuration>) -> SignedDuration {
    quiet_period.map_or(IN_OVERLAP, |quiet| {
        (quiet / IN_QUIET_PERIOD).clamp(SOONEST, IN_OVERLAP)
    })
}

/// The time between two reports, for one who stands at `share` of the spread.
fn spread(every: SignedDuration, share: u8) -> SignedDuration {
    every - every / SPREAD / 256 * i32::from(share)
}

/// When a token whose last use is this was surely in no use for a quiet period, reports being as sparse as they are.
pub fn quiet_from(last_use: Timestamp, quiet_period: SignedDuration) -> Timestamp {
    let wait = quiet_period.saturating_add(in_overlap(Some(quiet_period)));
    last_use.checked_add(wait).unwrap_or(Timestamp::MAX)
}

/// What is known of a Credential's tokens once a use is added; `None` where another has reported about the same
/// since, or the token is not recorded any more.
pub fn merged(credential: &Credential, token_id: &str, seen: &UseSeen) -> Option<Vec<TokenUse>> {
    let tokens = &credential.spec.tokens;
    let is_recorded = |epoch: i64| tokens.iter().any(|entry| entry.epoch == epoch);
    tokens
        .iter()
        .find(|entry| entry.epoch == seen.epoch && entry.token_id == token_id)?;
    let known = credential.status.iter().flat_map(|status| &status.uses);
    let mut uses: Vec<TokenUse> = known.filter(|it| is_recorded(it.epoch)).cloned().collect();
    let at = Moment(Timestamp::from_second(seen.at.as_second()).unwrap_or(seen.at));
    match uses.iter_mut().find(|it| it.epoch == seen.epoch) {
        None => uses.push(TokenUse {
            epoch: seen.epoch,
            first_used: at,
            last_used: at,
        }),
        Some(known) => {
            let age = at.0.duration_since(known.last_used.0);
            if -CLOCKS < age && age < spread(seen.every, u8::MAX) {
                return None;
            }
            known.last_used = at;
        }
    }
    uses.sort_by_key(|it| it.epoch);
    Some(uses)
}

/// Whether the status of the owner has to tell of a change in what is known: a first use, or another day.
/// `Some(true)`: a first use.
pub fn to_be_told(before: &[Used], after: &[Used]) -> Option<bool> {
    let day = |used: &Used| used.last.div_euclid(24 * 60 * 60);
    let known = |epoch| before.iter().find(|used| used.epoch == epoch);
    let told = after.iter().filter_map(|used| match known(used.epoch) {
        None => Some(true),
        Some(known) => (day(known) != day(used)).then_some(false),
    });
    told.max()
}

/// A Credential from its raw object. A status of another release hides nothing.
///
/// # Errors
/// It is none, or of another release.
pub fn credential_of(mut raw: Value) -> serde_json::Result<Credential> {
    let status = raw.as_object_mut().and_then(|raw| raw.remove("status"));
    let mut credential: Credential = serde_json::from_value(raw)?;
    credential.status =
        status.and_then(|status| serde_json::from_value::<CredentialStatus>(status).ok());
    Ok(credential)
}
