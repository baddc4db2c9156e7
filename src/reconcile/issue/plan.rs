//! The plan: decides from three live objects on the one step to take now. Pure.

use jiff::Timestamp;

use super::case::{CHECK_AGAIN, CHECK_SOON, Case};
use super::entries;
use super::requests::{asks_for_rotation, decode_requests, encode_requests, record_requests};
use super::rules::{MAX_BY_ROTATION, Rules};
use super::secret_data::{filled, held_hash, noun, token_key, token_kind};
use super::step::{Create, Emptying, Push, Recreate, Retirement, Step};
use super::templated;
use super::view::{Settled, Target, View};
use crate::directory::problem::suggest::shown;
use crate::directory::{
    Lifetime, Problem, Reason, SecretKind, Standing, entry_ends, is_entry_live,
};
use crate::reconcile::cluster::api::Precondition;
use crate::reconcile::cluster::secret::{Ownership, SecretObject};
use crate::resources::{ANNOTATION_ROTATE, Cause, CredentialEntry, Moment, OnSecretDeleted};
use crate::tokens::{Entropy, TokenHash, TokenId, reference};

/// Decides on the next step.
pub fn plan(
    view: &View,
    target: &Target,
    rules: &Rules<'_>,
    now: Timestamp,
    entropy: &mut dyn Entropy,
) -> Step {
    let Some(owner) = view
        .owner
        .as_ref()
        .filter(|owner| owner.uid == target.owner.uid && !owner.deleting)
    else {
        return Step::Settle(Settled::Gone);
    };
    match &view.standing {
        Standing::Revoked => empty_tokens(view).unwrap_or(Step::Settle(Settled::Revoked)),
        Standing::NotWanted => Step::Settle(Settled::NotWanted),
        Standing::Withheld(problems) => Step::Settle(Settled::Withheld(problems.clone())),
        Standing::Wanted(desired)
            if desired.identity != target.identity || desired.secret_name != target.secret_name =>
        {
            Step::Settle(Settled::Moved)
        }
        Standing::Wanted(desired) => {
            let Some(mac) = rules.mac else {
                // The target was built for a revoked owner, which needs no key; the owner has changed since.
                return Step::Settle(Settled::Moved);
            };
            let live = match &view.credential {
                Some(credential) => entries::live_entries(credential, desired, mac, now),
                None => Vec::new(),
            };
            let case = Case {
                view,
                owner,
                desired,
                rules,
                mac,
                now,
                live,
            };
            match case.decide(entropy) {
                Step::Settle(settled) => case.relabel(settled),
                step => step,
            }
        }
    }
}

/// Rule 1. `base` stays, because a write may still be in flight.
fn empty_tokens(view: &View) -> Option<Step> {
    let mut credential = view
        .credential
        .clone()
        .filter(|credential| !credential.spec.tokens.is_empty())?;
    credential.spec.tokens.clear();
    // No Secret is recreated any more.
    credential.spec.memory.replacing = None;
    Some(Step::EmptyTokens(Box::new(credential), Emptying::Revoked))
}

impl Case<'_> {
    fn decide(&self, entropy: &mut dyn Entropy) -> Step {
        if let Some(refusal) = self.refuse_ending_credential() {
            return Step::Settle(refusal);
        }
        if let Some(only) = self.foreign_credential() {
            return Step::Discard(only);
        }
        if let Some(step) = self.end_revoked() {
            return step;
        }
        let taken = match &self.desired.existing_key {
            Some(key) => self.revoke_withdrawn(key),
            None => self.revoke_leaked(),
        };
        if let Some(step) = taken.or_else(|| self.end_sooner()) {
            return step;
        }
        if let Some(problem) = self.desired.withheld.first() {
            let ahead = self.desired.revoke_issued_before;
            return Step::Settle(match ahead.filter(|moment| self.now < *moment) {
                // Only time ends this problem: the token may be issued from `moment` on.
                Some(moment) => self.refuse(problem.clone(), Some(moment)),
                None => Settled::Withheld(self.desired.withheld.clone()),
            });
        }
        if let Some(key) = &self.desired.existing_key {
            return self.import_or_keep(key, entropy);
        }
        let Some(secret) = &self.view.secret else {
            return self.placeholder();
        };
        if secret.is_deleting() {
            return Step::Settle(self.wait_until(self.after(CHECK_SOON)));
        }
        if let Some(refusal) = self.refuse_ownership(secret) {
            return Step::Settle(refusal);
        }
        if self.is_awaited(secret) {
            return self.fence_or_wait(secret, entropy);
        }
        if !secret.has_type(self.secret_type()) {
            return self.recreate(secret);
        }
        match self.held(secret) {
            Some(held) if held + 1 == self.live.len() => {
                self.keep(secret, &self.live[held], entropy)
            }
            _ => match self.refuse_expired(secret) {
                Some(refusal) => Step::Settle(refusal),
                None => self.push(secret, self.cause_of_loss(secret), entropy),
            },
        }
    }

    /// Refuses if the Secret holds an expired token that is renewed only on request.
    fn refuse_expired(&self, secret: &SecretObject) -> Option<Settled> {
        let is_manual = self.desired.rotation.renew_before.is_none();
        if !is_manual || !matches!(self.desired.lifetime, Lifetime::For(_)) {
            return None;
        }
        let hash = held_hash(secret, self.desired.kind)?;
        let held = self.recorded().iter().find(|entry| {
            let credential = self.view.credential.as_ref();
            entries::has_hash(entry, &hash)
                && credential.is_some_and(|it| entries::is_sound(entry, it, self.desired, self.mac))
        })?;
        let end = held
            .expires_at
            .map(|end| end.0)
            .filter(|end| *end <= self.now)?;
        let is_newest = self.live.iter().all(|entry| entry.epoch < held.epoch);
        let done = decode_requests(held.nonce.as_deref());
        if !is_newest || asks_for_rotation(&self.desired.rotation.requests, &done) {
            return None;
        }
        let (place, rotation) = match self.desired.kind {
            SecretKind::ServiceToken => ("/spec/lifetime", "spec.rotation"),
            SecretKind::ClientSecret => (
                "/spec/authentication/secret/lifetime",
                "spec.authentication.secret.rotation",
            ),
        };
        let message = format!(
            "the {} in the Secret {} expired at {end}, and {rotation}.policy is Manual: to rotate it, set the annotation {ANNOTATION_ROTATE} or {rotation}.trigger to a new value, or set {rotation}.policy to Auto",
            noun(self.desired.kind),
            self.desired.secret_name
        );
        Some(self.refuse(Problem::error(Reason::Expired, place, message), None))
    }

    /// Refuses while the Credential is being deleted and finalizers keep it: no server accepts its tokens, nothing that
    /// is recorded in it counts, and another one cannot have its name. Once it is gone, the operator issues as after
    /// any deletion.
    fn refuse_ending_credential(&self) -> Option<Settled> {
        let metadata = &self.view.credential.as_ref()?.metadata;
        metadata.deletion_timestamp.as_ref()?;
        let name = metadata.name.as_deref().unwrap_or_default();
        let finalizers = metadata.finalizers.as_deref().unwrap_or_default();
        let message = format!(
            "no {} of this object is accepted, because its Credential {}/{name} was deleted and still has the finalizers [{}]: let their controllers finish or remove them, then the operator issues another one",
            noun(self.desired.kind),
            self.desired.identity.namespace,
            shown(&finalizers.join(", "))
        );
        Some(Settled::Refused {
            problem: Problem::error(Reason::Pending, "", message),
            until: Some(self.after(CHECK_SOON)),
            facts: None,
        })
    }

    /// Returns the Credential under the owner's uid if it names another owner or Identity. Both are immutable.
    fn foreign_credential(&self) -> Option<Precondition> {
        let credential = self.view.credential.as_ref()?;
        let is_ours = credential.spec.owner == self.desired.owner
            && *credential.spec.identity.name == *self.desired.identity.name;
        (!is_ours).then(|| Precondition::of(&credential.metadata))
    }

    /// Rule 2a: revoke before issuing. If `onSecretDeleted` is `Revoke`, this comes before every check that could
    /// refuse a new token.
    fn revoke_leaked(&self) -> Option<Step> {
        let is_leak = self.desired.rotation.on_secret_deleted == OnSecretDeleted::Revoke
            && self.view.former.is_none()
            && self.memory().replacing.is_none();
        // A token that its client or Identity keeps from being accepted now may be accepted again later.
        let is_left = |entry: &&CredentialEntry| is_entry_live(entry, self.now);
        // An imported secret was never in a Secret of the operator.
        let newest = self.recorded().iter().rfind(is_left)?;
        if !is_leak || newest.cause == Cause::Imported || !self.is_secret_gone() {
            return None;
        }
        let credential = self.with_tokens(Vec::new());
        Some(Step::EmptyTokens(Box::new(credential), Emptying::Leaked))
    }

    /// Rule 2b: records an earlier `expiresAt`, so that a later value does not bring back a token that had ended.
    fn end_sooner(&self) -> Option<Step> {
        let Lifetime::Until(moment) = self.desired.lifetime else {
            return None;
        };
        // The announcement that a Secret is being recreated stays until the new Secret holds the token.
        if self.memory().replacing.is_some() {
            return None;
        }
        let end = Moment(entries::whole_second(moment));
        let mut kept = self.live.clone();
        let mut ended = Vec::new();
        for entry in kept
            .iter_mut()
            .filter(|entry| entry_ends(entry).is_none_or(|own| end.0 < own))
        {
            entry.expires_at = Some(end);
            ended.push(entry.token_id.clone());
        }
        (!ended.is_empty()).then(|| self.shortened(kept, ended, Retirement::Sooner))
    }

    /// Whether the Secret that the tokens were issued for is deleted or emptied.
    fn is_secret_gone(&self) -> bool {
        let Some(secret) = &self.view.secret else {
            return true;
        };
        let base = self.view.credential.as_ref();
        let base = base.and_then(|credential| credential.spec.base.as_ref());
        let is_same = base.is_some_and(|base| base.secret_uid == secret.version().secret_uid);
        match secret.ownership(&self.desired.owner) {
            // Another Secret took its place; this is not the same one with other labels.
            Ownership::Foreign => base.is_some() && !is_same,
            // Garbage collection is about to delete it.
            Ownership::Predecessor => false,
            Ownership::Ours | Ownership::Adoptable if secret.is_deleting() => true,
            // Its newest token may still be in flight, or was issued for this placeholder and never arrived.
            Ownership::Ours | Ownership::Adoptable => {
                self.never_revealed(secret)
                    && !self.is_awaited(secret)
                    && !(is_same && secret.is_placeholder())
            }
        }
    }

    /// Rule 2.
    fn placeholder(&self) -> Step {
        if let Some(rival) = &self.desired.rival {
            return Step::Settle(self.refuse(rival.clone(), Some(self.after(CHECK_AGAIN))));
        }
        match self.refuse_mint(None) {
            Some(refusal) => Step::Settle(refusal),
            None => Step::CreatePlaceholder(Box::new(Create {
                placeholder: self.new_secret(),
                mints_per_hour: self.desired.mints_per_hour,
                meanwhile: self.facts_of_held(),
            })),
        }
    }

    fn recreate(&self, secret: &SecretObject) -> Step {
        if let Some(refusal) = self.refuse_mint(None) {
            return Step::Settle(refusal);
        }
        let mut announced = self.with_tokens(self.live.clone());
        announced.spec.memory.replacing = Some(secret.version().secret_uid);
        Step::Recreate(Box::new(Recreate {
            announced,
            is_first: self.view.credential.is_none(),
            only: secret.precondition(),
            placeholder: self.new_secret(),
            mints_per_hour: self.desired.mints_per_hour,
            meanwhile: self.facts_of_held(),
        }))
    }

    /// Rule 3.
    fn refuse_ownership(&self, secret: &SecretObject) -> Option<Settled> {
        let name = &self.desired.secret_name;
        let (message, wait) = match secret.ownership(&self.desired.owner) {
            Ownership::Ours | Ownership::Adoptable => return None,
            Ownership::Predecessor => (
                format!(
                    "the Secret {name} belongs to a deleted object of the same name: wait until Kubernetes has garbage-collected it"
                ),
                CHECK_SOON,
            ),
            Ownership::Foreign => (
                format!(
                    "the Secret {name} already exists and was not created for this object: choose another name in the spec, or delete the Secret if it is not needed"
                ),
                CHECK_AGAIN,
            ),
        };
        Some(self.refuse(
            Problem::error(Reason::SecretConflict, "/spec", message),
            Some(self.after(wait)),
        ))
    }

    /// Rule 4. Waiting only spares the other writer a conflict; safety comes from the fence.
    fn fence_or_wait(&self, secret: &SecretObject, entropy: &mut dyn Entropy) -> Step {
        let patience = self.rules.request_timeout * 2;
        // A time further ahead is from another machine's wrong clock, and says nothing.
        let possible = |issued: &Timestamp| *issued <= self.after(patience);
        let issued = self.recorded().iter().map(|entry| entry.issued_at.0);
        let newest = issued.filter(possible).max();
        let until = newest.and_then(|issued| issued.checked_add(patience).ok());
        if let Some(until) = until.filter(|until| self.now < *until) {
            return Step::Settle(self.wait_until(until));
        }
        let mut fenced = secret.clone();
        // A policy that requires a label of the template refuses every write without it, and so this one too.
        templated::fill_metadata(&mut fenced, self.desired);
        fenced.fence(TokenId::random(entropy).as_str());
        Step::Fence(fenced)
    }

    /// Rule 5: the Secret holds the newest token.
    fn keep(
        &self,
        secret: &SecretObject,
        newest: &CredentialEntry,
        entropy: &mut dyn Entropy,
    ) -> Step {
        let older = &self.live[..self.live.len() - 1];
        // A Secret that was to be recreated and has its wanted type again stays. Without this write, a user's deletion
        // of it would not count as one.
        let is_spared = self.memory().replacing.is_some();
        if is_spared || older.iter().any(|entry| entry.not_after.is_none()) {
            return self.retire();
        }
        if let Some(step) = self.retire_quiet(newest) {
            return step;
        }
        let due = self.rotation_due(newest);
        // The older entries have their ends, but need not have reached them.
        if let Some(cause) = due
            && self.live.len() < MAX_BY_ROTATION
        {
            return self.push(secret, cause, entropy);
        }
        if let Some(step) = self.repair(secret) {
            return step;
        }
        match self.finish(newest) {
            Step::Settle(_) if self.is_lacking(newest, due) => {
                Step::Settle(self.wait_for_an_end(newest))
            }
            step => step,
        }
    }

    /// Whether the newest token is not what the owner asks for. A token that is only due for renewal is accepted until
    /// its end.
    fn is_lacking(&self, newest: &CredentialEntry, due: Option<Cause>) -> bool {
        due.is_some_and(|cause| {
            cause != Cause::Scheduled || entries::is_outlived(newest, self.desired, self.now)
        })
    }

    /// Waits: another token is due, but too many are still accepted.
    fn wait_for_an_end(&self, newest: &CredentialEntry) -> Settled {
        let end = self.live.iter().filter_map(entry_ends).min();
        let end = end.unwrap_or_else(|| self.after(CHECK_AGAIN));
        let message = format!(
            "a rotation is due and waits until {end} at the latest: {MAX_BY_ROTATION} {}s of this object are still accepted, and the first of them ends then",
            noun(self.desired.kind)
        );
        // A token that is no longer used may end sooner.
        let until = self.next_event(newest).map_or(end, |next| next.min(end));
        // A token that is older than the Identity allows now is no longer accepted.
        let reason = if entries::is_outlived(newest, self.desired, self.now) {
            Reason::Issuing
        } else {
            Reason::Rotating
        };
        self.refuse(Problem::error(reason, "", message), Some(until))
    }

    /// Rule 5c: retires older tokens that are no longer used while the newest one is. Sets their end to now.
    fn retire_quiet(&self, newest: &CredentialEntry) -> Option<Step> {
        let mut kept = self.live.clone();
        let mut retired = Vec::new();
        let older = kept.len() - 1;
        for entry in &mut kept[..older] {
            if self
                .quiet_from(entry, newest)
                .is_some_and(|quiet| quiet <= self.now)
            {
                entry.not_after = Some(Moment(entries::whole_second(self.now)));
                retired.push(entry.token_id.clone());
            }
        }
        (!retired.is_empty()).then(|| self.shortened(kept, retired, Retirement::Quiet))
    }

    /// Rule 5b. Removing a scope needs no new token, because the join refuses the scope.
    fn rotation_due(&self, newest: &CredentialEntry) -> Option<Cause> {
        // A request counts as done only if its token reached the Secret.
        let done = decode_requests(newest.nonce.as_deref());
        let lacks = |scope: &String| !newest.scopes.contains(scope);
        let due = entries::renews_at(newest, self.desired).is_some_and(|due| due <= self.now);
        if asks_for_rotation(&self.desired.rotation.requests, &done) {
            Some(Cause::Requested)
        } else if self.desired.scopes.iter().any(lacks) {
            Some(Cause::ScopesChanged)
        } else {
            let is_due = due
                || entries::is_outlived(newest, self.desired, self.now)
                || entries::ends_too_soon(newest, self.desired);
            is_due.then_some(Cause::Scheduled)
        }
    }

    /// Repairs the operator's own fields in the Secret. Like a write by any controller, this write is conditioned on
    /// the version that was read; at worst another pass's push must start over.
    fn repair(&self, secret: &SecretObject) -> Option<Step> {
        let token = secret.text(token_key(self.desired.kind))?;
        let wanted = filled(secret, self.desired, &token);
        if wanted == *secret {
            return None;
        }
        if secret.is_immutable() {
            return Some(Step::Settle(self.refuse_immutable()));
        }
        Some(Step::Repair(
            wanted,
            secret.ownership(&self.desired.owner) == Ownership::Adoptable,
        ))
    }

    /// Rule 6.
    fn push(&self, secret: &SecretObject, cause: Cause, entropy: &mut dyn Entropy) -> Step {
        if let Some(refusal) = self.refuse_mint(Some(secret)) {
            return Step::Settle(refusal);
        }
        let mut tokens = self.kept(Some(secret));
        if let Some(step) = self.make_room(tokens.len()) {
            return step;
        }
        let minted = reference::mint(&self.desired.prefix, token_kind(self.desired.kind), entropy);
        self.shorten_all_but_last(&mut tokens);
        let nonce = encode_requests(&record_requests(
            &self.desired.rotation.requests,
            &self.done_requests(),
        ));
        let high = self.high().saturating_add(1);
        let entry = entries::new_entry(&minted, self.desired, high, cause, nonce, self.now);
        tokens.push(entry);
        let mut credential = self.with_mint(tokens, high);
        credential.spec.base = Some(secret.version());
        credential.spec.memory.secret_name = Some(self.desired.secret_name.clone());
        let mut revealed = filled(secret, self.desired, &minted.token);
        revealed.unmark();
        Step::Push(Box::new(Push {
            epoch: credential.spec.high,
            credential,
            is_first: self.view.credential.is_none(),
            secret: revealed,
            read: secret.clone(),
            adopts: secret.ownership(&self.desired.owner) == Ownership::Adoptable,
            cause,
            token_id: minted.id,
            mints_per_hour: self.desired.mints_per_hour,
            meanwhile: self.facts_of_held(),
        }))
    }

    /// Returns why a Secret that does not hold the newest token needs another one.
    fn cause_of_loss(&self, secret: &SecretObject) -> Cause {
        let recorded = self.recorded();
        if let Some(newest) = self
            .live
            .last()
            .filter(|newest| newest.epoch > self.owner.epoch)
        {
            // The status never reported this epoch, so most likely its token was never written: repeat the same
            // attempt.
            return newest.cause;
        }
        if self.high() == 0 {
            return Cause::Initial;
        }
        if self.never_revealed(secret) {
            // The owner had the Secret under another name: nothing was deleted.
            return match self.view.former {
                Some(_) => Cause::SecretChanged,
                None => Cause::SecretDeleted,
            };
        }
        let hash = held_hash(secret, self.desired.kind);
        let holds = |entry: &CredentialEntry| {
            hash.is_some_and(|hash: TokenHash| entries::has_hash(entry, &hash))
        };
        let is_live = self.live.iter().any(holds);
        if !is_live && (recorded.is_empty() || recorded.iter().any(holds)) {
            Cause::Expired
        } else {
            Cause::SecretChanged
        }
    }
}
