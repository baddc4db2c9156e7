//! Tokens that a server revoked by id in `credentials/status`. Each gets its end in the spec, where older releases and
//! restores without a status find it. Pure.
//!
//! Nothing else in the Credential changes: neither the other tokens nor the announcement of a Secret that is being
//! recreated.

use jiff::Timestamp;

use super::case::Case;
use super::step::Step;
use super::{entries, memory};
use crate::directory::{is_entry_live, is_sealed, is_token_revoked};
use crate::resources::{Cause, Credential, CredentialEntry, Moment};
use crate::tokens::{MacKey, TokenHash};

/// Returns the Credential in which every revoked token has ended, and the ids of the tokens that this call ends; `None`
/// if all have ended already.
pub fn with_revoked_ended(
    credential: &Credential,
    key: &MacKey,
    now: Timestamp,
) -> Option<(Credential, Vec<String>)> {
    // Nothing accepts an entry with a wrong seal, and this function must not give it a right one.
    let is_meant = |entry: &&CredentialEntry| {
        is_token_revoked(credential, &entry.token_id)
            && is_entry_live(entry, now)
            && is_sealed(key, credential, entry)
    };
    let meant: Vec<CredentialEntry> = credential
        .spec
        .tokens
        .iter()
        .filter(is_meant)
        .cloned()
        .collect();
    if meant.is_empty() {
        return None;
    }
    let mut ended = credential.clone();
    memory::remember_revoked(&mut ended.spec.memory, &meant);
    let ids: Vec<String> = meant.into_iter().map(|entry| entry.token_id).collect();
    for place in 0..ended.spec.tokens.len() {
        if ids.contains(&ended.spec.tokens[place].token_id) {
            ended.spec.tokens[place].not_after = Some(Moment(entries::whole_second(now)));
            entries::seal_one(&mut ended, place, key);
        }
    }
    Some((ended, ids))
}

impl Case<'_> {
    /// Returns the step that ends revoked tokens. It comes before every other rule.
    pub(super) fn end_revoked(&self) -> Option<Step> {
        let credential = self.view.credential.as_ref()?;
        let (ended, ids) = with_revoked_ended(credential, self.mac, self.now)?;
        Some(Step::EndRevoked(Box::new(ended), ids))
    }

    /// Whether an imported secret with this hash was revoked by its id.
    pub(super) fn was_revoked(&self, hash: &TokenHash) -> bool {
        let credential = self.view.credential.as_ref();
        let is_revoked = |entry: &CredentialEntry| {
            credential.is_some_and(|it| is_token_revoked(it, &entry.token_id))
        };
        let mut recorded = self.recorded().iter();
        memory::was_revoked(self.memory(), hash)
            || recorded.any(|entry| {
                entry.cause == Cause::Imported
                    && entries::has_hash(entry, hash)
                    && is_revoked(entry)
            })
    }
}
