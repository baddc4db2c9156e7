//! Rebinds Credentials to owners that a restore has recreated.
//!
//! A backup tool recreates objects with other uids. A token is bound to the uids of its owner and client, so recreated
//! objects do not revive old tokens. After a restore they should, and only an administrator can tell the two cases
//! apart: `symbolon restore rebind` acts on that decision. It still requires:
//!
//! - The entry carries the seal of this Identity's mac key, which came back with the restore.
//! - The owner's Secret holds one of the entries' tokens, and its annotation names the owner. If an object was
//!   recreated to get rid of a token, its Secret holds another token, or none.
//! - The client is the one that the entry was issued to: unchanged, or itself attested by its own Secret.
//! - The entry has not ended, is not revoked, and acts as the same principal. Ends stay as they were. An end that any
//!   Credential of the Identity records counts ([`endings`]).
//! - No earlier run has moved the tokens to a Credential that was deleted since ([`moves`]).
//!
//! [`plan_all`] is pure. Not here: the report to people.

mod carry_out;
mod endings;
mod gather;
mod moves;
mod next;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use carry_out::{Unfinished, carry_out, evidence};
pub use gather::{Company, Gather, Gathered};
pub use plan::{Evidence, NotRebound, Rebinding, RestoreVerdict, Sibling, owner_secret};

use self::endings::Endings;
use self::moves::Whereabouts;
use self::plan::{Attested, Candidate, Rules, plan};
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::issue::with_revoked_ended;
use crate::resources::{Credential, CredentialEntry, CredentialOwner, OwnerKind};
use crate::tokens::MacKey;

/// A Credential and the decision about it.
#[derive(Clone, Debug)]
pub struct Item {
    /// The Credential as it was read.
    pub credential: Credential,
    /// What to do about it.
    pub verdict: RestoreVerdict,
    /// Whether it must stay because other Credentials, which still wait, need it to tell their client.
    pub is_witness: bool,
}

/// Plans for all Credentials of an Identity together, service tokens first: they need their client's Credential, which
/// is deleted last. `evidence` is in the order of the Credentials.
pub fn plan_all(
    directory: &Directory,
    identity: &ObjectKey,
    credentials: Vec<Credential>,
    evidence: &[Option<Evidence>],
    key: &MacKey,
    now: Timestamp,
) -> Vec<Item> {
    // A token that was revoked by its id has ended, whether the operator recorded that or not.
    let credentials: Vec<Credential> = credentials
        .into_iter()
        .map(
            |credential| match with_revoked_ended(&credential, key, now) {
                Some((ended, _)) => ended,
                None => credential,
            },
        )
        .collect();
    let of_owner = by_owner(&credentials);
    let candidates: Vec<Candidate<'_>> = credentials
        .iter()
        .zip(evidence)
        .map(|(credential, evidence)| {
            let owner = &credential.spec.owner;
            let present = plan::present_uid(directory, owner);
            let present = present.as_deref();
            let all = of_owner
                .get(&owner_name(owner))
                .into_iter()
                .flatten()
                .copied();
            let is_successor = |other: &&Credential| {
                !moves::is_deleting(other) && other.metadata.name.as_deref() == present
            };
            Candidate {
                credential,
                evidence: evidence.as_ref(),
                successor: all
                    .clone()
                    .find(is_successor)
                    .filter(|_| present != Some(&owner.uid)),
                whereabouts: moves::whereabouts(credential, all.clone(), present),
                heir: moves::heir(credential, all),
            }
        })
        .collect();
    let mut attested = Attested::default();
    for candidate in &candidates {
        attested.hear(*candidate, key);
    }
    // Deleting a Credential revokes its tokens, wherever else they are recorded.
    let endings = Endings::of(
        candidates.iter().map(|it| {
            let is_left = moves::destination(it.credential).is_none();
            let is_lost = it.whereabouts == Whereabouts::Lost;
            let is_dead = is_lost || is_left && moves::is_deleting(it.credential);
            (it.credential, is_dead)
        }),
        key,
    );
    let rules = Rules {
        directory,
        identity,
        attested: &attested,
        endings: &endings,
        key,
        now,
    };
    let mut verdicts: Vec<RestoreVerdict> = candidates
        .iter()
        .map(|candidate| plan(*candidate, rules))
        .collect();
    choose_one_of_each_owner(&credentials, &mut verdicts);
    name_siblings(&credentials, &mut verdicts);
    let mut items: Vec<Item> = credentials
        .into_iter()
        .zip(verdicts)
        .map(|(credential, verdict)| Item {
            credential,
            verdict,
            is_witness: false,
        })
        .collect();
    items.sort_by(|a, b| order(a).cmp(&order(b)));
    name_witnesses(&mut items);
    items
}

/// Kind, namespace and name of an owner.
type OwnerName<'a> = (OwnerKind, &'a str, &'a str);

fn owner_name(owner: &CredentialOwner) -> OwnerName<'_> {
    (owner.kind, &owner.namespace, &owner.name)
}

fn by_owner(credentials: &[Credential]) -> BTreeMap<OwnerName<'_>, Vec<&Credential>> {
    let mut all: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for credential in credentials {
        let owner = owner_name(&credential.spec.owner);
        all.entry(owner).or_default().push(credential);
    }
    all
}

/// Lets one Credential of each owner be rebound: the one whose move was begun, otherwise the one with the highest epoch.
/// The next run deletes the others, if the new Credential has their tokens.
fn choose_one_of_each_owner(credentials: &[Credential], verdicts: &mut [RestoreVerdict]) {
    let mut best: BTreeMap<OwnerName<'_>, usize> = BTreeMap::new();
    let rank = |place: usize| {
        let credential: &Credential = &credentials[place];
        let has_begun = moves::destination(credential).is_some();
        (has_begun, credential.spec.high, &credential.spec.owner.uid)
    };
    for (place, credential) in credentials.iter().enumerate() {
        if matches!(verdicts[place], RestoreVerdict::Rebind(_)) {
            let first = best
                .entry(owner_name(&credential.spec.owner))
                .or_insert(place);
            let (better, other) = if rank(place) > rank(*first) {
                (place, *first)
            } else {
                (*first, place)
            };
            *first = better;
            if other != better {
                verdicts[other] = RestoreVerdict::Moved { to: None };
            }
        }
    }
}

/// Names the other Credentials that record tokens of a rebinding. A server may revoke the tokens there until it knows the
/// new Credential. Those of service tokens are deleted afterwards; a client's may be needed to prove the client.
fn name_siblings(credentials: &[Credential], verdicts: &mut [RestoreVerdict]) {
    let of_owner = by_owner(credentials);
    let is_moved: BTreeSet<&str> = credentials
        .iter()
        .zip(verdicts.iter())
        .filter(|(_, verdict)| matches!(verdict, RestoreVerdict::Moved { .. }))
        .filter_map(|(credential, _)| credential.metadata.name.as_deref())
        .collect();
    for (credential, verdict) in credentials.iter().zip(verdicts) {
        let RestoreVerdict::Rebind(rebinding) = verdict else {
            continue;
        };
        let owner = &credential.spec.owner;
        let tokens = &rebinding.credential.spec.tokens;
        let is_shared = |entry: &CredentialEntry| {
            let mut ours = tokens.iter();
            ours.any(|our| our.token_id == entry.token_id || our.hash == entry.hash)
        };
        let others = of_owner.get(&owner_name(owner)).into_iter().flatten();
        let others = others.filter(|other| {
            let name = &other.metadata.name;
            *name != credential.metadata.name && *name != rebinding.credential.metadata.name
        });
        rebinding.siblings = others
            .filter(|other| other.spec.tokens.iter().any(is_shared))
            .map(|other| Sibling {
                credential: (*other).clone(),
                goes: owner.kind == OwnerKind::ServiceAccessToken
                    && other
                        .metadata
                        .name
                        .as_deref()
                        .is_some_and(|name| is_moved.contains(name)),
            })
            .collect();
    }
}

fn order(item: &Item) -> (bool, &str, &str, &str) {
    let owner = &item.credential.spec.owner;
    let is_client = owner.kind == OwnerKind::OAuthClient;
    (is_client, &owner.namespace, &owner.name, &owner.uid)
}

/// Marks the Credentials that tokens will need in a later run.
fn name_witnesses(items: &mut [Item]) {
    let waiting = items.iter().filter(|item| {
        matches!(item.verdict, RestoreVerdict::Refused(_))
            && item.credential.spec.owner.kind == OwnerKind::ServiceAccessToken
    });
    let needed: BTreeSet<String> = waiting
        .flat_map(|item| &item.credential.spec.tokens)
        .map(|entry| entry.client.uid.clone())
        .collect();
    for item in items {
        item.is_witness = needed.contains(&item.credential.spec.owner.uid);
    }
}
