//! What all Credentials of an Identity record about the end of a token. Pure.
//!
//! After a restore several Credentials may record the same token. The earliest end in any of them is right, because a
//! record of an end can only take access away.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::moves;
use crate::directory::{entry_ends, is_entry_live, is_sealed, is_token_revoked};
use crate::reconcile::issue::{seal_one, with_revoked_ended};
use crate::resources::{Credential, CredentialEntry, CredentialOwner, Moment};
use crate::tokens::MacKey;

/// The recorded ends of tokens.
#[derive(Clone, Debug)]
pub(super) struct Endings<'a> {
    /// The Credentials that record a token, by its id and by its hash.
    recording: BTreeMap<&'a str, Vec<Recorded<'a>>>,
    /// The ids of the tokens that were revoked by their id. Only servers write them, and they need no seal.
    revoked: BTreeSet<&'a str>,
}

#[derive(Clone, Copy, Debug)]
struct Recorded<'a> {
    /// Place of the Credential among all.
    place: usize,
    owner: &'a CredentialOwner,
    /// When the entry ends; [`Timestamp::MAX`]: never.
    end: Timestamp,
}

impl<'a> Endings<'a> {
    /// Reads Credentials, each with whether all of its tokens were revoked. Entries without the seal count for nothing.
    pub(super) fn of(
        credentials: impl IntoIterator<Item = (&'a Credential, bool)>,
        key: &MacKey,
    ) -> Self {
        let mut endings = Self {
            recording: BTreeMap::new(),
            revoked: BTreeSet::new(),
        };
        for (place, (credential, is_dead)) in credentials.into_iter().enumerate() {
            let status = credential.status.iter();
            let revoked = status.flat_map(|status| &status.revoked);
            endings.revoked.extend(revoked.map(String::as_str));
            let entries = credential.spec.tokens.iter();
            for entry in entries.filter(|entry| is_sealed(key, credential, entry)) {
                let end = entry_ends(entry).unwrap_or(Timestamp::MAX);
                let recorded = Recorded {
                    place,
                    owner: &credential.spec.owner,
                    end: if is_dead { Timestamp::MIN } else { end },
                };
                for name in [&entry.token_id, &entry.hash] {
                    let all = endings.recording.entry(name).or_default();
                    all.push(recorded);
                }
            }
        }
        endings
    }

    /// Returns the earliest end of a token of an owner that is recorded anywhere; `None`: it does not end.
    ///
    /// The same hash counts only for the same owner, because several clients may have imported the same secret. A secret
    /// that was issued and is now imported has two entries in one Credential, which accepts it until the later end.
    pub(super) fn end(
        &self,
        owner: &CredentialOwner,
        entry: &CredentialEntry,
    ) -> Option<Timestamp> {
        if self.revoked.contains(&*entry.token_id) {
            return Some(Timestamp::MIN);
        }
        let found = |name: &str| self.recording.get(name).into_iter().flatten();
        let by_hash = found(&entry.hash).filter(|it| moves::is_same_owner(it.owner, owner));
        let mut latest: BTreeMap<usize, Timestamp> = BTreeMap::new();
        for recorded in found(&entry.token_id).chain(by_hash) {
            let end = latest.entry(recorded.place).or_insert(recorded.end);
            *end = recorded.end.max(*end);
        }
        latest
            .into_values()
            .min()
            .filter(|end| *end < Timestamp::MAX)
    }
}

/// Gives an entry the earlier end that is recorded elsewhere. Returns whether it changed.
pub(super) fn shorten(
    entry: &mut CredentialEntry,
    end: impl Fn(&CredentialEntry) -> Option<Timestamp>,
) -> bool {
    let own = entry_ends(entry);
    let earlier = end(entry).filter(|end| own.is_none_or(|own| *end < own));
    if let Some(end) = earlier {
        entry.not_after = Some(Moment(end));
    }
    earlier.is_some()
}

/// A successor with what happened to the previous Credential in the meantime.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// The successor to write.
    pub(super) credential: Credential,
    /// The number of tokens that it no longer has.
    pub(super) revoked: usize,
}

/// Carries over to a successor what has been revoked or ended in the previous Credentials since they were read. `None` if
/// there is nothing to carry over.
///
/// A revoked token is left out, as in the plan: an end would depend on the clock of the machine on which the command
/// runs, and only servers may write `status.revoked`.
pub(super) fn carried(
    previous: &[&Credential],
    successor: &Credential,
    key: &MacKey,
    now: Timestamp,
) -> Option<Carried> {
    let previous = previous.iter().map(|credential| (*credential, false));
    let endings = Endings::of(previous, key);
    let owner = &successor.spec.owner;
    let end = |entry: &CredentialEntry| endings.end(owner, entry);
    let accepted = successor.spec.tokens.iter().filter(|entry| {
        is_entry_live(entry, now)
            && is_sealed(key, successor, entry)
            && !is_token_revoked(successor, &entry.token_id)
    });
    let revoked: Vec<String> = accepted
        .filter(|entry| end(entry).is_some_and(|end| end <= now))
        .map(|entry| entry.token_id.clone())
        .collect();
    let mut credential = successor.clone();
    if !revoked.is_empty() {
        // So that imported secrets are remembered as revoked.
        let status = credential.status.get_or_insert_default();
        status.revoked.extend(revoked.iter().cloned());
        if let Some((ended, _)) = with_revoked_ended(&credential, key, now) {
            credential = ended;
        }
        credential.status.clone_from(&successor.status);
        let tokens = &mut credential.spec.tokens;
        tokens.retain(|entry| !revoked.contains(&entry.token_id));
    }
    let later = |entry: &CredentialEntry| end(entry).filter(|end| now < *end);
    let mut is_shortened = false;
    for place in 0..credential.spec.tokens.len() {
        let is_ours = is_sealed(key, &credential, &credential.spec.tokens[place]);
        if is_ours && shorten(&mut credential.spec.tokens[place], later) {
            seal_one(&mut credential, place, key);
            is_shortened = true;
        }
    }
    (is_shortened || !revoked.is_empty()).then_some(Carried {
        credential,
        revoked: revoked.len(),
    })
}
