//! Which Credentials may be deleted because their owner or Identity is gone. Pure.
//!
//! The server does not accept them in any case, because it checks the owner's uid. Deleting them is only tidiness and
//! may be slow. A deleted definition or a lost right looks like many orphans at once, so at most a small share is
//! deleted per hour. One namespace gets at most half of that, so that a tenant who keeps creating and deleting tokens
//! does not delay the others. Each Credential is deleted only after a live read of its owner.
//!
//! The share does not apply to what a namespace has beyond its limits of clients and tokens, at least the default ones: no
//! mistake deletes more owners at once than may exist. The newest are kept.
//!
//! The share also applies to owners whose deletion was watched while their definition was served: deleting a definition or a
//! namespace by mistake first deletes the objects in it one by one, in just this way, and the Credentials that remain are
//! what `symbolon restore rebind` needs after a restore.

pub(super) mod keys;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::directory::tables::record::CredentialRecord;
use crate::directory::{Directory, ObjectKey};

/// The time between sweeps.
pub const SWEEP_EVERY: SignedDuration = SignedDuration::from_hours(1);
/// How long an owner must be missing until a sweep acts. Owners whose deletion was watched are checked at once.
const OWNER_MISSING: SignedDuration = SignedDuration::from_hours(1);
/// How long an Identity must be missing: one that was pruned by mistake comes back.
pub(super) const IDENTITY_MISSING: SignedDuration = SignedDuration::from_hours(72);
/// How long it matters that an Identity existed: older marks of its key Secrets lack a confirmation by then.
pub(super) const SEEN_FOR: SignedDuration =
    SignedDuration::from_hours(2 * keys::LONGEST_GAP.as_hours());
/// One in this many may be deleted per hour.
const SHARE: usize = 20;
/// The minimum that may be deleted per hour.
const LEAST: usize = 20;
/// The default limits of a namespace: clients and tokens.
pub const LEAST_KEPT: usize = 1200;

/// What the leader remembers of orphans.
#[derive(Debug, Default)]
pub struct Sweep {
    missing: BTreeMap<ObjectKey, Timestamp>,
    window: Option<Window>,
}

/// The deletions within an hour.
#[derive(Debug)]
struct Window {
    until: Timestamp,
    gone: usize,
    /// Deletions by the owners' namespaces.
    of: BTreeMap<String, usize>,
}

/// Why a Credential seems to be an orphan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// The owner is gone, or another object has its name.
    Owner,
    /// The Identity is gone.
    Identity,
}

/// Returns why a Credential seems to be an orphan, according to the directory.
pub fn missing(directory: &Directory, credential: &CredentialRecord) -> Option<Missing> {
    if !directory.has_owner(&credential.owner) {
        Some(Missing::Owner)
    } else if directory.identity(&credential.identity).is_none() {
        Some(Missing::Identity)
    } else {
        None
    }
}

/// Returns whether a Credential without an owner is one of more than the Identity allows its namespace to have at once, not
/// counting the newest. `least` of a namespace are never surplus: the limits may have been lowered.
pub fn is_surplus(directory: &Directory, credential: &CredentialRecord, least: usize) -> bool {
    let identity = directory.identity(&credential.identity);
    let Some(limits) = identity.and_then(|identity| identity.record()) else {
        return false;
    };
    let age = |it: &CredentialRecord| (it.created, it.key.clone());
    let is_newer = |other: &&Arc<CredentialRecord>| {
        other.owner.key.namespace == credential.owner.key.namespace
            && other.identity == credential.identity
            && age(other) > age(credential)
            && !directory.has_owner(&other.owner)
    };
    let allowed = limits.max_clients.saturating_add(limits.max_service_tokens);
    let most = allowed.max(least);
    directory.credentials().filter(is_newer).take(most).count() == most
}

impl Sweep {
    /// Returns the Credentials that have been orphans for long enough.
    pub fn due(&mut self, directory: &Directory, now: Timestamp) -> Vec<ObjectKey> {
        let mut found = BTreeMap::new();
        let mut due = Vec::new();
        for credential in directory.credentials() {
            let Some(missing) = missing(directory, credential) else {
                continue;
            };
            let since = self.missing.get(&credential.key).copied().unwrap_or(now);
            let patience = match missing {
                Missing::Owner => OWNER_MISSING,
                Missing::Identity => IDENTITY_MISSING,
            };
            if now.duration_since(since) >= patience {
                due.push(credential.key.clone());
            }
            found.insert(credential.key.clone(), since);
        }
        self.missing = found;
        due
    }

    /// Whether a Credential has been an orphan for as long as its Identity may be missing.
    pub fn has_waited_for_identity(&self, credential: &ObjectKey, now: Timestamp) -> bool {
        let since = self.missing.get(credential);
        since.is_some_and(|since| now.duration_since(*since) >= IDENTITY_MISSING)
    }

    /// Counts the deletion of one of `all` Credentials, whose owner was in this namespace. Returns `false` if too many
    /// were deleted within this hour.
    pub fn may_delete(&mut self, namespace: &str, all: usize, now: Timestamp) -> bool {
        let current = self.window.take().filter(|window| now < window.until);
        let window = self.window.insert(current.unwrap_or_else(|| Window {
            until: now.checked_add(SWEEP_EVERY).unwrap_or(Timestamp::MAX),
            gone: 0,
            of: BTreeMap::new(),
        }));
        let most = LEAST.max(all / SHARE);
        let of_one = window.of.get(namespace).copied().unwrap_or(0);
        let may = window.gone < most && of_one < most / 2;
        if may {
            window.gone += 1;
            window.of.insert(namespace.to_owned(), of_one + 1);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::directory::{Change, Row};
    use crate::resources::Kind;
    use crate::resources::OwnerKind;

    fn world() -> (World, Timestamp) {
        let mut world = World::new(QUICKSTART);
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now);
        world.issue(OwnerKind::OAuthClient, "blue", "shop", now);
        (world, now)
    }

    fn hours(count: i64) -> SignedDuration {
        SignedDuration::from_hours(count)
    }

    #[test]
    fn an_orphan_is_due_after_an_hour() {
        let (mut world, now) = world();
        let mut sweep = Sweep::default();
        assert!(sweep.due(&world.directory, now).is_empty());
        world.delete(Kind::ServiceAccessToken, "blue", "nightly");
        assert!(
            sweep.due(&world.directory, now + hours(5)).is_empty(),
            "found for the first time"
        );
        let due = sweep.due(&world.directory, now + hours(6));
        let names: Vec<_> = due.iter().map(ToString::to_string).collect();
        assert_eq!(names, ["platform/ServiceAccessToken-blue-nightly"]);
    }

    #[test]
    fn an_orphan_that_came_back_waits_again() {
        let (mut world, now) = world();
        let (mut sweep, whole) = (Sweep::default(), world.directory.clone());
        world.delete(Kind::OAuthClient, "blue", "shop");
        sweep.due(&world.directory, now);
        sweep.due(&whole, now + hours(1));
        assert!(sweep.due(&world.directory, now + hours(2)).is_empty());
    }

    #[test]
    fn an_identity_may_be_away_for_three_days() {
        let (mut world, now) = world();
        let mut sweep = Sweep::default();
        world.delete(Kind::Identity, "platform", "main");
        sweep.due(&world.directory, now);
        assert!(sweep.due(&world.directory, now + hours(71)).is_empty());
        let due = sweep.due(&world.directory, now + hours(72));
        assert_eq!(due.len(), 2);
        assert!(sweep.has_waited_for_identity(&due[0], now + hours(72)));
        assert!(!sweep.has_waited_for_identity(&due[0], now + hours(71)));
    }

    #[test]
    fn at_most_a_twentieth_is_deleted_in_an_hour() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        for (all, expected) in [(0, 20), (100, 20), (1000, 50)] {
            let mut sweep = Sweep::default();
            let namespaces = ["blue", "red", "green"].into_iter().cycle();
            let gone = namespaces
                .take(all + 100)
                .filter(|namespace| sweep.may_delete(namespace, all, now))
                .count();
            assert_eq!(gone, expected, "of {all}");
            let next_hour = now + hours(1);
            assert!(sweep.may_delete("blue", all, next_hour), "the next hour");
        }
    }

    #[test]
    fn of_one_namespace_no_more_orphans_are_kept_than_it_may_have_owners() {
        let limited = QUICKSTART.replace(
            "  access:",
            "  limits: {perNamespace: {clients: 1, serviceTokens: 2}}\n  access:",
        );
        let mut world = World::new(&limited);
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now);
        let key = ObjectKey::new("platform", "ServiceAccessToken-blue-nightly");
        let live = (**world.directory.credential(&key).unwrap()).clone();
        let orphans: Vec<CredentialRecord> = [
            (1, "blue"),
            (2, "blue"),
            (2, "red"),
            (3, "blue"),
            (4, "blue"),
            (5, "red"),
        ]
        .into_iter()
        .enumerate()
        .map(|(number, (created, namespace))| {
            let mut orphan = live.clone();
            orphan.key = ObjectKey::new("platform", &format!("gone-{number}"));
            orphan.owner.key = ObjectKey::new(namespace, "gone");
            orphan.owner.uid = format!("gone-{number}").into();
            orphan.created = created;
            let change = Change::Upsert(Row::Credential(Box::new(orphan.clone())));
            world.directory.apply(change);
            orphan
        })
        .collect();
        let surplus: Vec<usize> = (0..orphans.len())
            .filter(|at| is_surplus(&world.directory, &orphans[*at], 0))
            .collect();
        assert_eq!(surplus, [0], "three of blue are newer than this one alone");
        assert!(!is_surplus(&world.directory, &orphans[0], 4));
        world.delete(Kind::Identity, "platform", "main");
        assert!(
            !is_surplus(&world.directory, &orphans[0], 0),
            "no limits are known"
        );
    }

    #[test]
    fn one_namespace_does_not_use_up_the_limit_of_others() {
        let now: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
        for (all, expected) in [(0, 10), (100, 10), (1000, 25)] {
            let mut sweep = Sweep::default();
            let gone = (0..all + 100).filter(|_| sweep.may_delete("blue", all, now));
            assert_eq!(gone.count(), expected, "of {all}");
            assert!(sweep.may_delete("red", all, now), "of {all}");
        }
    }
}
