//! What a Credential remembers of tokens that are gone: how many were issued within the hour, which secrets were
//! imported, which Secret the operator itself deletes, and which requests are done. Pure.
//!
//! Not here: entries. Only an entry makes a token accepted.

use jiff::{SignedDuration, Timestamp};

use super::entries;
use crate::resources::{Cause, CredentialEntry, CredentialMemory, ImportedSecret, Moment};
use crate::tokens::TokenHash;

pub(super) const HOUR: SignedDuration = SignedDuration::from_hours(1);
/// The maximum number of issue times in a Credential, and therefore the most per hour that can be counted.
const MAX_MINTS: usize = 16;
/// The maximum number of imported secrets that are remembered.
const MAX_IMPORTED: usize = 32;

/// Returns when tokens were issued within the hour before `now`, in order. The times come from the memory, or from the
/// entries if the Credential is from an older release and remembers nothing.
///
/// Times an hour or more ahead come from a wrong clock and do not count, so they delay nothing.
pub(super) fn mints_of_the_hour(
    memory: &CredentialMemory,
    recorded: &[CredentialEntry],
    now: Timestamp,
) -> Vec<Timestamp> {
    let counts = |made: &Timestamp| made.duration_since(now).abs() < HOUR;
    let remembered = memory.minted_at.iter().map(|made| made.0).filter(counts);
    let entries = recorded.iter().map(|entry| entry.issued_at.0);
    let (mut remembered, mut entries): (Vec<_>, Vec<_>) =
        (remembered.collect(), entries.filter(counts).collect());
    remembered.sort_unstable();
    entries.sort_unstable();
    if entries.len() > remembered.len() {
        entries
    } else {
        remembered
    }
}

/// Records that a token is issued at `now`, and forgets times that no longer count.
pub(super) fn note_mint(memory: &mut CredentialMemory, mut before: Vec<Timestamp>, now: Timestamp) {
    before.push(entries::whole_second(now));
    let spare = before.len().saturating_sub(MAX_MINTS);
    memory.minted_at = before.into_iter().skip(spare).map(Moment).collect();
}

/// Returns when a secret with this hash was first imported or issued, as far as is known.
pub(super) fn first_seen(
    memory: &CredentialMemory,
    recorded: &[CredentialEntry],
    hash: &TokenHash,
) -> Option<Timestamp> {
    let same = |text: &str| text.parse::<TokenHash>().is_ok_and(|own| own == *hash);
    let recorded = recorded.iter().filter(|entry| same(&entry.hash));
    let remembered = memory.imported.iter().filter(|secret| same(&secret.hash));
    recorded
        .map(|entry| entry.issued_at.0)
        .chain(remembered.map(|secret| secret.since.0))
        .min()
}

/// Remembers the imported ones of these entries as revoked, so that the same value is not recorded again.
pub(super) fn remember_revoked(memory: &mut CredentialMemory, revoked: &[CredentialEntry]) {
    let imported = revoked
        .iter()
        .filter(|entry| entry.cause == Cause::Imported);
    for entry in imported {
        let mut known = memory.imported.iter_mut();
        match known.find(|secret| secret.hash == entry.hash) {
            Some(secret) => secret.revoked = true,
            None => memory.imported.push(ImportedSecret {
                hash: entry.hash.clone(),
                since: entry.issued_at,
                revoked: true,
            }),
        }
    }
    forget_surplus(&mut memory.imported, |secret| secret.revoked);
}

/// Whether an imported secret with this hash was revoked by its id.
pub(super) fn was_revoked(memory: &CredentialMemory, hash: &TokenHash) -> bool {
    let mut imported = memory.imported.iter();
    imported.any(|secret| {
        secret.revoked
            && secret
                .hash
                .parse::<TokenHash>()
                .is_ok_and(|own| own == *hash)
    })
}

/// Remembers the imported entries of `recorded` that are not `kept`. If there are too many, forgets the oldest first,
/// and those that were revoked or that `revoked_before` refuses last.
pub(super) fn remember_imported(
    memory: &mut CredentialMemory,
    recorded: &[CredentialEntry],
    kept: &[CredentialEntry],
    revoked_before: Option<Timestamp>,
) {
    let is_kept = |hash: &str| kept.iter().any(|entry| entry.hash == hash);
    let known = std::mem::take(&mut memory.imported);
    let dropped = recorded
        .iter()
        .filter(|entry| entry.cause == Cause::Imported);
    let dropped = dropped.map(|entry| ImportedSecret {
        hash: entry.hash.clone(),
        since: entry.issued_at,
        revoked: false,
    });
    let mut imported: Vec<ImportedSecret> = Vec::new();
    for secret in known.into_iter().chain(dropped) {
        if is_kept(&secret.hash) && !secret.revoked {
            continue;
        }
        match imported.iter_mut().find(|other| other.hash == secret.hash) {
            Some(other) => {
                other.since = Moment(other.since.0.min(secret.since.0));
                other.revoked |= secret.revoked;
            }
            None => imported.push(secret),
        }
    }
    forget_surplus(&mut imported, |secret| {
        secret.revoked || revoked_before.is_some_and(|moment| secret.since.0 < moment)
    });
    memory.imported = imported;
}

fn forget_surplus(
    imported: &mut Vec<ImportedSecret>,
    is_refused: impl Fn(&ImportedSecret) -> bool,
) {
    while imported.len() > MAX_IMPORTED {
        let spare = imported.iter().position(|secret| !is_refused(secret));
        imported.remove(spare.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::desired;
    use super::*;
    use crate::reconcile::issue::rules::Rules;
    use crate::tokens::{MacKey, Minted, SecretString, SeededEntropy, TokenId};

    const MINUTE: SignedDuration = SignedDuration::from_mins(1);

    fn start() -> Timestamp {
        "2026-01-01T00:00:00Z".parse().unwrap()
    }

    /// Returns the entry of an imported secret.
    fn imported(secret: &str, at: Timestamp) -> CredentialEntry {
        let minted = Minted {
            token: SecretString::from(secret.to_owned()),
            id: TokenId::random(&mut SeededEntropy::new(1)),
            hash: TokenHash::of(secret),
        };
        entries::new_entry(&minted, &desired(), 1, Cause::Imported, None, at)
    }

    fn remembered(secret: &str, since: Timestamp, revoked: bool) -> ImportedSecret {
        ImportedSecret {
            hash: TokenHash::of(secret).to_string(),
            since: Moment(since),
            revoked,
        }
    }

    fn remembering(imported: Vec<ImportedSecret>) -> CredentialMemory {
        CredentialMemory {
            imported,
            ..CredentialMemory::default()
        }
    }

    #[test]
    fn as_many_mints_are_remembered_as_are_allowed_in_an_hour() {
        let mac = MacKey::from_bytes(&[1; 32]).unwrap();
        assert!(Rules::new(&mac).mints_per_owner <= MAX_MINTS);
        let mut memory = CredentialMemory::default();
        for minute in 0..100 {
            let now = start() + SignedDuration::from_mins(minute);
            let before = mints_of_the_hour(&memory, &[], now);
            note_mint(&mut memory, before, now);
        }
        assert_eq!(memory.minted_at.len(), MAX_MINTS);
        let end = start() + SignedDuration::from_mins(99) + HOUR;
        assert_eq!(mints_of_the_hour(&memory, &[], end), []);
    }

    /// An entry of a secret that was imported again has the time at which it was first seen.
    #[test]
    fn the_memory_counts_unless_the_entries_show_more() {
        let (early, late) = (start(), start() + MINUTE * 30);
        let memory = CredentialMemory {
            minted_at: vec![Moment(late)],
            ..CredentialMemory::default()
        };
        let mints = |entries: &[CredentialEntry]| mints_of_the_hour(&memory, entries, late);
        assert_eq!(mints(&[]), [late]);
        assert_eq!(mints(&[imported("a", early)]), [late]);
        let two = [imported("b", late), imported("a", early)];
        assert_eq!(mints(&two), [early, late]);
    }

    #[test]
    fn a_revoked_secret_is_remembered_once_and_no_other_counts_as_revoked() {
        let mut memory = remembering(vec![
            remembered("a", start(), false),
            remembered("b", start(), false),
        ]);
        let later = start() + HOUR;
        remember_revoked(&mut memory, &[imported("b", later), imported("c", later)]);
        assert_eq!(
            memory.imported,
            [
                remembered("a", start(), false),
                remembered("b", start(), true),
                remembered("c", later, true),
            ]
        );
        for (secret, revoked) in [("a", false), ("b", true), ("c", true), ("d", false)] {
            let hash = TokenHash::of(secret);
            assert_eq!(was_revoked(&memory, &hash), revoked, "{secret}");
        }
    }

    #[test]
    fn a_secret_that_is_dropped_again_keeps_its_age_and_its_revocation() {
        let (early, late) = (start(), start() + HOUR);
        for (known, dropped) in [(early, late), (late, early)] {
            for revoked in [true, false] {
                let mut memory = remembering(vec![remembered("a", known, revoked)]);
                remember_imported(&mut memory, &[imported("a", dropped)], &[], None);
                assert_eq!(memory.imported, [remembered("a", early, revoked)]);
            }
        }
    }

    #[test]
    fn a_kept_secret_is_remembered_only_if_it_was_revoked() {
        let entry = imported("a", start());
        for revoked in [true, false] {
            let mut memory = remembering(vec![remembered("a", start(), revoked)]);
            let recorded = std::slice::from_ref(&entry);
            remember_imported(&mut memory, recorded, recorded, None);
            assert_eq!(memory.imported.len(), usize::from(revoked));
        }
    }

    #[test]
    fn of_too_many_imported_secrets_the_oldest_that_may_be_accepted_is_forgotten() {
        let moment = start() + HOUR;
        for (first, since, revoked, before, stays) in [
            ("may be accepted", start(), false, None, false),
            ("was revoked", start(), true, None, true),
            (
                "is refused by its age",
                moment - MINUTE,
                false,
                Some(moment),
                true,
            ),
            (
                "was first seen at the moment",
                moment,
                false,
                Some(moment),
                false,
            ),
        ] {
            let others = (1..=MAX_IMPORTED)
                .map(|number| remembered(&number.to_string(), moment + HOUR, false));
            let first_one = remembered("first", since, revoked);
            let all = std::iter::once(first_one.clone()).chain(others).collect();
            let mut memory = remembering(all);
            remember_imported(&mut memory, &[], &[], before);
            assert_eq!(memory.imported.len(), MAX_IMPORTED, "{first}");
            assert_eq!(memory.imported.contains(&first_one), stays, "{first}");
        }
    }
}
