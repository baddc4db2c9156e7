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
//! - The entry has not ended, is not revoked, and acts as the same principal. Ends stay as they were.
//!
//! [`plan_all`] is pure. Not here: the report to people.

mod carry_out;
mod gather;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

pub use carry_out::{Unfinished, carry_out, evidence};
pub use gather::{Company, Gather, Gathered};
pub use plan::{Evidence, NotRebound, Rebinding, RestoreVerdict, owner_secret};

use self::plan::{Attested, Candidate, plan};
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::issue::with_revoked_ended;
use crate::resources::{Credential, OwnerKind};
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
    let by_name: BTreeMap<&str, &Credential> = credentials
        .iter()
        .filter_map(|credential| Some((credential.metadata.name.as_deref()?, credential)))
        .collect();
    let candidates: Vec<Candidate<'_>> = credentials
        .iter()
        .zip(evidence)
        .map(|(credential, evidence)| Candidate {
            credential,
            evidence: evidence.as_ref(),
            successor: plan::present_uid(directory, &credential.spec.owner)
                .filter(|uid| **uid != *credential.spec.owner.uid)
                .and_then(|uid| by_name.get(&*uid).copied()),
        })
        .collect();
    let mut attested = Attested::default();
    for candidate in &candidates {
        attested.hear(*candidate, key);
    }
    let verdicts: Vec<RestoreVerdict> = candidates
        .iter()
        .map(|candidate| plan(directory, identity, *candidate, &attested, key, now))
        .collect();
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
