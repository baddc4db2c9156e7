//! An owner that should have a token: what is recorded for it, what its Secret holds, and the answers and Credentials
//! that all rules build from that. Pure. Not here: the rules themselves, in [`plan`](super::plan()) and `import`.

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use super::requests::{decode_requests, encode_requests};
use super::rules::Rules;
use super::secret_data::{held_hash, token_key};
use super::step::{Retirement, Step};
use super::view::{Facts, OwnerView, Settled, View};
use super::{entries, memory, templated};
use crate::directory::issued::usage;
use crate::directory::{Desired, ObjectKey, Problem, RotationRequests, entry_ends};
use crate::reconcile::cluster::inherited;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{
    Credential, CredentialEntry, CredentialMemory, CredentialSpec, Day, LocalRef, PreviousToken,
    Template, TokenUse,
};
use crate::tokens::MacKey;

/// When to check again what someone must edit, if no watch reports the edit.
pub(super) const CHECK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// When to check again what is about to end without an edit.
pub(super) const CHECK_SOON: SignedDuration = SignedDuration::from_secs(5);

/// An owner that should have a token, and the objects that exist.
pub(super) struct Case<'a> {
    pub(super) view: &'a View,
    pub(super) owner: &'a OwnerView,
    pub(super) desired: &'a Desired,
    pub(super) rules: &'a Rules<'a>,
    pub(super) mac: &'a MacKey,
    pub(super) now: Timestamp,
    /// Entries that are accepted, from oldest to newest.
    pub(super) live: Vec<CredentialEntry>,
}

impl Case<'_> {
    pub(super) fn new_secret(&self) -> SecretObject {
        let key = ObjectKey::new(&self.desired.owner.namespace, &self.desired.secret_name);
        let mut secret = SecretObject::placeholder(&key, &self.desired.owner, self.secret_type());
        templated::fill_metadata(&mut secret, self.desired);
        secret
    }

    pub(super) fn secret_type(&self) -> &str {
        let template = self.desired.template.as_deref();
        template.map_or(Template::OPAQUE, |template| &template.secret_type)
    }

    /// Rule 4: whether the write of the newest token may still reach the Secret in its present version.
    pub(super) fn is_awaited(&self, secret: &SecretObject) -> bool {
        self.view
            .credential
            .as_ref()
            .and_then(|credential| credential.spec.base.as_ref())
            == Some(&secret.version())
    }

    /// Finishes the pass: deletes the Secret that the owner had under another name, then settles.
    pub(super) fn finish(&self, newest: &CredentialEntry) -> Step {
        let ours = |former: &&SecretObject| {
            former.is_made_for(&self.desired.owner) && !former.is_deleting()
        };
        match self.view.former.as_ref().filter(ours) {
            Some(former) => Step::DeleteFormer(former.key(), former.precondition()),
            None => Step::Settle(Settled::Done {
                facts: self.facts(newest),
                requeue_at: self.next_event(newest),
            }),
        }
    }

    /// Rule 5a: gives the replaced tokens an end.
    pub(super) fn retire(&self) -> Step {
        let mut kept = self.live.clone();
        let newest = kept.len() - 1;
        let mut retired = Vec::new();
        for entry in kept[..newest]
            .iter_mut()
            .filter(|entry| entry.not_after.is_none())
        {
            entries::shorten(entry, self.desired.rotation.overlap, self.now);
            retired.push(entry.token_id.clone());
        }
        self.shortened(kept, retired, Retirement::Replaced)
    }

    /// Returns from when on an older token counts as unused and is retired, as far as is known now.
    pub(super) fn quiet_from(
        &self,
        entry: &CredentialEntry,
        newest: &CredentialEntry,
    ) -> Option<Timestamp> {
        let quiet_period = self.desired.rotation.adoption?;
        let adoption = self.use_of(newest)?;
        let last_use = self.use_of(entry).map(|used| used.last_used.0);
        let silent_since = last_use
            .unwrap_or(Timestamp::MIN)
            .max(adoption.first_used.0)
            .max(self.rules.watching_since);
        usage::quiet_from(silent_since, adoption.last_used.0, quiet_period)
            .filter(|quiet| entry_ends(entry).is_none_or(|end| *quiet < end))
    }

    /// Returns the use of an entry as servers reported it.
    pub(super) fn use_of(&self, entry: &CredentialEntry) -> Option<&TokenUse> {
        let status = self.view.credential.as_ref()?.status.as_ref()?;
        status.uses.iter().find(|used| used.epoch == entry.epoch)
    }

    fn day_of_use(&self, entry: &CredentialEntry) -> Option<Day> {
        self.use_of(entry).map(|used| Day::of(used.last_used.0))
    }

    pub(super) fn shortened(
        &self,
        entries: Vec<CredentialEntry>,
        retired: Vec<String>,
        why: Retirement,
    ) -> Step {
        Step::Retire(Box::new(self.with_tokens(entries)), retired, why)
    }

    /// Returns the entries that a push keeps. If the Secret's token is live and has no early end, these are the entries
    /// up to it, because no one has seen the later ones. Otherwise these are all entries.
    pub(super) fn kept(&self, secret: Option<&SecretObject>) -> Vec<CredentialEntry> {
        match secret.and_then(|secret| self.held(secret)) {
            Some(held) => self.live[..=held].to_vec(),
            None => self.live.clone(),
        }
    }

    /// Whether the Secret stands in place of a deleted one. Data that someone else writes into a placeholder must not
    /// undo the effect of the deletion.
    pub(super) fn never_revealed(&self, secret: &SecretObject) -> bool {
        secret.is_placeholder() || !secret.has_text(token_key(self.desired.kind))
    }

    /// Shortens all entries but the last one without an end. With the new token, at most two have none.
    pub(super) fn shorten_all_but_last(&self, kept: &mut [CredentialEntry]) {
        let last = kept.iter().rposition(|entry| entry.not_after.is_none());
        for entry in &mut kept[..last.unwrap_or(0)] {
            entries::shorten(entry, self.desired.rotation.overlap, self.now);
        }
    }

    /// Returns the index of the Secret's token among the live entries, if it has no early end.
    pub(super) fn held(&self, secret: &SecretObject) -> Option<usize> {
        let hash = held_hash(secret, self.desired.kind)?;
        self.live
            .iter()
            .position(|entry| entries::has_hash(entry, &hash) && entry.not_after.is_none())
    }

    pub(super) fn refuse(&self, problem: Problem, until: Option<Timestamp>) -> Settled {
        Settled::Refused {
            problem,
            until,
            facts: self.facts_of_held(),
        }
    }

    pub(super) fn wait_until(&self, until: Timestamp) -> Settled {
        Settled::Waiting {
            until,
            facts: self.facts_of_held(),
        }
    }

    pub(super) fn after(&self, wait: SignedDuration) -> Timestamp {
        self.now.checked_add(wait).unwrap_or(Timestamp::MAX)
    }

    /// Returns when the plan changes by time alone.
    pub(super) fn next_event(&self, newest: &CredentialEntry) -> Option<Timestamp> {
        let ends = self.live.iter().filter_map(entry_ends);
        let older = self.live.iter().filter(|entry| entry.epoch != newest.epoch);
        let quiet = older.filter_map(|entry| self.quiet_from(entry, newest));
        let renewal = entries::renews_at(newest, self.desired);
        let outlived = entries::end_by_lifetime(newest, self.desired);
        let due = renewal.into_iter().chain(outlived);
        ends.chain(quiet)
            .chain(due.filter(|due| *due > self.now))
            .min()
    }

    pub(super) fn facts_of_held(&self) -> Option<Facts> {
        self.held(self.view.secret.as_ref()?)
            .map(|held| self.facts(&self.live[held]))
    }

    fn facts(&self, newest: &CredentialEntry) -> Facts {
        let previous = self.live.iter().rfind(|entry| entry.epoch < newest.epoch);
        Facts {
            token_id: newest.token_id.clone(),
            epoch: newest.epoch,
            issued_at: newest.issued_at.0,
            expires_at: newest.expires_at.map(|moment| moment.0),
            renews_at: entries::renews_at(newest, self.desired),
            cause: newest.cause,
            nonce: newest.nonce.clone(),
            last_used: self.day_of_use(newest),
            previous: previous.map(|entry| {
                Box::new(PreviousToken {
                    token_id: entry.token_id.clone(),
                    not_after: entry.not_after,
                    last_used: self.day_of_use(entry),
                })
            }),
        }
    }

    /// Returns all entries, accepted or not.
    pub(super) fn recorded(&self) -> &[CredentialEntry] {
        self.view
            .credential
            .as_ref()
            .map_or(&[], |credential| &credential.spec.tokens)
    }

    /// Returns what the Credential remembers of tokens that are gone.
    pub(super) fn memory(&self) -> &CredentialMemory {
        const NONE: &CredentialMemory = &CredentialMemory {
            minted_at: Vec::new(),
            imported: Vec::new(),
            replacing: None,
            secret_name: None,
            nonce: None,
            rebound: None,
        };
        let credential = self.view.credential.as_ref();
        credential.map_or(NONE, |credential| &credential.spec.memory)
    }

    /// Returns the rotation requests that are done. If there are no entries, they come from the memory.
    pub(super) fn done_requests(&self) -> RotationRequests {
        let remembered = || {
            let remembered_nonce = self.memory().nonce.as_deref();
            decode_requests(remembered_nonce.or(self.owner.rotation_nonce.as_deref()))
        };
        self.recorded().last().map_or_else(remembered, |newest| {
            decode_requests(newest.nonce.as_deref())
        })
    }

    /// Returns the Credential with these entries, sealed, and with the memory of those that are gone.
    pub(super) fn with_tokens(&self, tokens: Vec<CredentialEntry>) -> Credential {
        let mut credential = self.credential();
        let memory = &mut credential.spec.memory;
        let revoked_before = self.desired.revoke_issued_before;
        memory::remember_imported(memory, self.recorded(), &tokens, revoked_before);
        memory.replacing = None;
        memory.nonce = Some(&tokens)
            .filter(|tokens| tokens.is_empty())
            .and_then(|_| encode_requests(&self.done_requests()));
        credential.spec.tokens = tokens;
        entries::seal_all(&mut credential, self.mac);
        credential
    }

    /// Returns the same if the last entry is a new one.
    pub(super) fn with_mint(&self, tokens: Vec<CredentialEntry>, high: i64) -> Credential {
        let mut credential = self.with_tokens(tokens);
        credential.spec.high = high;
        memory::note_mint(
            &mut credential.spec.memory,
            self.mints_of_the_hour(),
            self.now,
        );
        credential
    }

    /// Returns the highest epoch ever given: the Credential's or the status's, which outlives it.
    pub(super) fn high(&self) -> i64 {
        let recorded = self.recorded().iter().map(|entry| entry.epoch);
        let high = self
            .view
            .credential
            .as_ref()
            .map_or(0, |credential| credential.spec.high);
        recorded.max().unwrap_or(0).max(high).max(self.owner.epoch)
    }

    /// Returns the step that sets what the Credential inherits, or settles if nothing is left to set.
    pub(super) fn relabel(&self, settled: Settled) -> Step {
        let present = self.view.credential.as_ref();
        let Some(present) = present.filter(|it| it.metadata.deletion_timestamp.is_none()) else {
            return Step::Settle(settled);
        };
        let mut metadata = present.metadata.clone();
        if !inherited::fill_metadata(&mut metadata, &self.desired.inherited) {
            return Step::Settle(settled);
        }
        let credential = Credential {
            metadata,
            ..present.clone()
        };
        Step::Relabel(Box::new(credential), Box::new(settled))
    }

    /// Returns the Credential as read, or a new one, with the labels and annotations that it inherits.
    fn credential(&self) -> Credential {
        let mut credential = self.present_credential();
        inherited::fill_metadata(&mut credential.metadata, &self.desired.inherited);
        credential
    }

    fn present_credential(&self) -> Credential {
        self.view.credential.clone().unwrap_or_else(|| Credential {
            metadata: ObjectMeta {
                namespace: Some(self.desired.identity.namespace.to_string()),
                name: Some(self.desired.owner.uid.clone()),
                ..ObjectMeta::default()
            },
            spec: CredentialSpec {
                identity: LocalRef {
                    name: self.desired.identity.name.to_string(),
                },
                owner: self.desired.owner.clone(),
                high: 0,
                base: None,
                tokens: Vec::new(),
                memory: CredentialMemory::default(),
            },
            status: None,
        })
    }
}
