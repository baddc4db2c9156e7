//! The plan: decides from three live objects on the one step to take now. Pure.

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;

use super::entries::{self, MAX_ENTRIES};
use super::import::Import;
use super::memory;
use super::requests::{asks_for_rotation, decode_requests, encode_requests, record_requests};
use super::secret_data::{filled, held_hash, noun, token_key, token_kind};
use super::templated;
use super::view::{Facts, OwnerView, Settled, Target, View};
use crate::directory::{
    Desired, Lifetime, ObjectKey, Problem, Reason, RotationRequests, SecretKind, Standing, usage,
};
use crate::reconcile::api::Precondition;
use crate::reconcile::secret::{Ownership, SecretObject};
use crate::resources::{
    ANNOTATION_ROTATE, Cause, Credential, CredentialEntry, CredentialMemory, CredentialSpec, Day,
    LocalRef, Moment, OnSecretDeleted, PreviousToken, Template, TokenUse,
};
use crate::tokens::{Entropy, MacKey, Prefix, TokenHash, TokenId, reference};

/// A rotation waits while this many tokens of an owner are accepted. The other places are for replacing a lost Secret.
pub(super) const MAX_BY_ROTATION: usize = 4;
/// When to check again what someone must edit, if no watch reports the edit.
pub(super) const CHECK_AGAIN: SignedDuration = SignedDuration::from_mins(5);
/// When to check again what is about to end without an edit.
const CHECK_SOON: SignedDuration = SignedDuration::from_secs(5);

/// The rules that apply to every owner.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    /// The key that seals entries. Without one, nothing is issued, but revoked owners are still emptied.
    pub mac: Option<&'a MacKey>,
    /// The maximum time that a request is in flight, except by a fault.
    pub request_timeout: SignedDuration,
    /// How many tokens one owner may get within an hour.
    pub mints_per_owner: usize,
    /// Since when reports of use are complete. Silence before this time does not prove that a token is unused.
    pub watching_since: Timestamp,
}

impl<'a> Rules<'a> {
    /// Returns the rules as shipped.
    pub const fn new(mac: &'a MacKey) -> Self {
        Self {
            mac: Some(mac),
            ..Self::without_key()
        }
    }

    /// Returns the same rules for when there is no key.
    pub const fn without_key() -> Self {
        Self {
            mac: None,
            request_timeout: SignedDuration::from_secs(10),
            mints_per_owner: 10,
            watching_since: Timestamp::MIN,
        }
    }
}

/// The one step to take now.
#[derive(Debug)]
pub enum Step {
    /// Create a Secret without a token. After success, go on with the created Secret as if it had been read.
    CreatePlaceholder(SecretObject),
    /// Delete the Secret and create a placeholder in its place, because its type cannot be changed.
    Recreate(Box<Recreate>),
    /// Replace the Secret with itself, to give it another version.
    Fence(SecretObject),
    /// Replace the Secret: the token stays, and everything else becomes as it should be. The flag says whether the
    /// operator adopts the Secret.
    Repair(SecretObject, bool),
    /// Replace the Credential: the named older entries have an end now.
    Retire(Box<Credential>, Vec<String>, Retirement),
    /// Replace the Credential: the named tokens were revoked by their ids and end now.
    EndRevoked(Box<Credential>, Vec<String>),
    /// Replace the Credential with one that lacks the revoked tokens.
    EmptyTokens(Box<Credential>, Emptying),
    /// Delete exactly this Credential, because it names another owner or Identity.
    Discard(Precondition),
    /// Record an imported secret.
    Import(Box<Import>),
    /// Record a new token, then reveal it.
    Push(Box<Push>),
    /// Delete exactly this Secret of the owner, because another one holds the token now.
    DeleteFormer(ObjectKey, Precondition),
    /// Do nothing.
    Settle(Settled),
}

/// Why an older token gets an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retirement {
    /// It was replaced: the overlap begins.
    Replaced,
    /// The newer token is in use and this one is not: it ends now.
    Quiet,
    /// The imported Secret is gone, or no longer holds a usable value.
    Lapsed,
    /// The owner's `expiresAt` moved to an earlier time.
    Sooner,
    /// As many tokens as a Credential holds are accepted: this one ends now, so that the next one can be recorded.
    Crowded,
}

/// Why tokens are revoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emptying {
    /// All, because the owner is revoked or the imported Secret lost the label that allows its use.
    Revoked,
    /// Those revoked by their ids (RFC 7009).
    ById,
    /// All, because the Secret was deleted and `onSecretDeleted` is `Revoke`.
    Leaked,
}

/// A Secret that is recreated with another type.
#[derive(Debug)]
pub struct Recreate {
    /// To be created or replaced first. It tells later passes, also after a crash, that no user deleted the Secret. It
    /// is needed even without tokens, because there may be one by then.
    pub announced: Credential,
    /// Whether the Credential does not exist yet.
    pub is_first: bool,
    /// The Secret to delete second, in exactly this state.
    pub only: Precondition,
    /// The Secret to create third.
    pub placeholder: SecretObject,
    /// How many tokens the namespace may get within an hour. One must be left before anything is done.
    pub mints_per_hour: i64,
    /// About the token that is in the Secret until then.
    pub meanwhile: Option<Facts>,
}

/// A new token on its way into a Secret.
#[derive(Debug)]
pub struct Push {
    /// To be created or replaced first.
    pub credential: Credential,
    /// Whether the Credential does not exist yet.
    pub is_first: bool,
    /// To be replaced second, and only after the first write succeeds explicitly.
    pub secret: SecretObject,
    /// The Secret as it was read.
    pub read: SecretObject,
    /// Whether the Secret had no owner before.
    pub adopts: bool,
    /// Why the token is issued.
    pub cause: Cause,
    /// The new token's epoch.
    pub epoch: i64,
    /// The new token's public id.
    pub token_id: TokenId,
    /// How many tokens the namespace may get within an hour.
    pub mints_per_hour: i64,
    /// About the token that is in the Secret until then.
    pub meanwhile: Option<Facts>,
}

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
            Case {
                view,
                owner,
                desired,
                rules,
                mac,
                now,
                live,
            }
            .decide(entropy)
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

/// An owner that should have a token, and the objects that exist.
pub(super) struct Case<'a> {
    pub(super) view: &'a View,
    owner: &'a OwnerView,
    pub(super) desired: &'a Desired,
    pub(super) rules: &'a Rules<'a>,
    pub(super) mac: &'a MacKey,
    pub(super) now: Timestamp,
    /// Entries that are accepted, from oldest to newest.
    pub(super) live: Vec<CredentialEntry>,
}

impl Case<'_> {
    fn decide(&self, entropy: &mut dyn Entropy) -> Step {
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

    /// Returns the Credential under the owner's uid if it names another owner or Identity. Both are immutable.
    fn foreign_credential(&self) -> Option<Precondition> {
        let credential = self.view.credential.as_ref()?;
        let is_ours = credential.spec.owner == self.desired.owner
            && *credential.spec.identity.name == *self.desired.identity.name;
        (!is_ours).then(|| Precondition {
            uid: credential.metadata.uid.clone().unwrap_or_default(),
            resource_version: credential
                .metadata
                .resource_version
                .clone()
                .unwrap_or_default(),
        })
    }

    /// Rule 2a: revoke before issuing. If `onSecretDeleted` is `Revoke`, this comes before every check that could
    /// refuse a new token.
    fn revoke_leaked(&self) -> Option<Step> {
        let is_leak = self.desired.rotation.on_secret_deleted == OnSecretDeleted::Revoke
            && self.view.former.is_none()
            && self.memory().replacing.is_none();
        // A token that its client or Identity keeps from being accepted now may be accepted again later.
        let is_left =
            |entry: &&CredentialEntry| entries::end(entry).is_none_or(|end| self.now < end);
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
        // The announcement that a Secret is being recreated stays until the token is in it.
        if self.memory().replacing.is_some() {
            return None;
        }
        let end = Moment(entries::whole_second(moment));
        let mut kept = self.live.clone();
        let mut ended = Vec::new();
        for entry in kept
            .iter_mut()
            .filter(|entry| entries::end(entry).is_none_or(|own| end.0 < own))
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
            None => Step::CreatePlaceholder(self.new_secret()),
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

    fn new_secret(&self) -> SecretObject {
        let key = ObjectKey::new(&self.desired.owner.namespace, &self.desired.secret_name);
        let mut secret = SecretObject::placeholder(&key, &self.desired.owner, self.secret_type());
        templated::fill_metadata(&mut secret, self.desired);
        secret
    }

    fn secret_type(&self) -> &str {
        let template = self.desired.template.as_deref();
        template.map_or(Template::OPAQUE, |template| &template.secret_type)
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

    /// Rule 4: whether the write of the newest token may still reach the Secret in its present version.
    fn is_awaited(&self, secret: &SecretObject) -> bool {
        self.view
            .credential
            .as_ref()
            .and_then(|credential| credential.spec.base.as_ref())
            == Some(&secret.version())
    }

    /// Rule 4. Waiting only spares the other writer a conflict; safety comes from the fence.
    fn fence_or_wait(&self, secret: &SecretObject, entropy: &mut dyn Entropy) -> Step {
        let newest = self.recorded().iter().map(|entry| entry.issued_at.0).max();
        let patience =
            newest.and_then(|issued| issued.checked_add(self.rules.request_timeout * 2).ok());
        if let Some(until) = patience.filter(|until| self.now < *until) {
            // Another machine's fast clock must not make this wait endless.
            return Step::Settle(
                self.wait_until(until.min(self.after(self.rules.request_timeout * 2))),
            );
        }
        let mut fenced = secret.clone();
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
        let end = self.live.iter().filter_map(entries::end).min();
        let end = end.unwrap_or_else(|| self.after(CHECK_AGAIN));
        let message = format!(
            "a rotation is due and waits until {end} at the latest: {MAX_BY_ROTATION} {}s of this object are still accepted, and the first of them ends then",
            noun(self.desired.kind)
        );
        // A token that is no longer used may end sooner.
        let until = self.next_event(newest).map_or(end, |next| next.min(end));
        // A token that is older than the Identity allows now is no longer accepted.
        let reason = match entries::is_outlived(newest, self.desired, self.now) {
            true => Reason::Issuing,
            false => Reason::Rotating,
        };
        self.refuse(Problem::error(reason, "", message), Some(until))
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

    /// Returns from when on an older token counts as unused and is retired, as far as is known now.
    fn quiet_from(&self, entry: &CredentialEntry, newest: &CredentialEntry) -> Option<Timestamp> {
        let quiet_period = self.desired.rotation.adoption?;
        let adoption = self.use_of(newest)?;
        let last_use = self.use_of(entry).map(|used| used.last_used.0);
        let silent_since = last_use
            .unwrap_or(Timestamp::MIN)
            .max(adoption.first_used.0)
            .max(self.rules.watching_since);
        usage::quiet_from(silent_since, adoption.last_used.0, quiet_period)
            .filter(|quiet| entries::end(entry).is_none_or(|end| *quiet < end))
    }

    /// Returns the use of an entry as servers reported it.
    fn use_of(&self, entry: &CredentialEntry) -> Option<&TokenUse> {
        let status = self.view.credential.as_ref()?.status.as_ref()?;
        status.uses.iter().find(|used| used.epoch == entry.epoch)
    }

    fn day_of_use(&self, entry: &CredentialEntry) -> Option<Day> {
        self.use_of(entry).map(|used| Day::of(used.last_used.0))
    }

    fn shortened(
        &self,
        entries: Vec<CredentialEntry>,
        retired: Vec<String>,
        why: Retirement,
    ) -> Step {
        Step::Retire(Box::new(self.with_tokens(entries)), retired, why)
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
        let Ok(prefix) = self.desired.prefix.parse::<Prefix>() else {
            return Step::Settle(self.refuse_prefix());
        };
        let mut tokens = self.kept(Some(secret));
        if let Some(step) = self.make_room(tokens.len()) {
            return step;
        }
        let minted = reference::mint(&prefix, token_kind(self.desired.kind), entropy);
        self.shorten_all_but_last(&mut tokens);
        let nonce = encode_requests(&record_requests(
            &self.desired.rotation.requests,
            &self.done_requests(),
        ));
        let high = self.high() + 1;
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

    /// Returns the entries that a push keeps. If the Secret's token is live and has no early end, these are the entries
    /// up to it, because no one has seen the later ones. Otherwise these are all entries.
    fn kept(&self, secret: Option<&SecretObject>) -> Vec<CredentialEntry> {
        match secret.and_then(|secret| self.held(secret)) {
            Some(held) => self.live[..=held].to_vec(),
            None => self.live.clone(),
        }
    }

    /// Whether the Secret stands in place of a deleted one. Data that someone else writes into a placeholder must not
    /// undo the effect of the deletion.
    fn never_revealed(&self, secret: &SecretObject) -> bool {
        secret.is_placeholder() || !secret.has_text(token_key(self.desired.kind))
    }

    /// Shortens all entries but the last one without an end. With the new token, at most two have none.
    fn shorten_all_but_last(&self, kept: &mut [CredentialEntry]) {
        let last = kept.iter().rposition(|entry| entry.not_after.is_none());
        for entry in &mut kept[..last.unwrap_or(0)] {
            entries::shorten(entry, self.desired.rotation.overlap, self.now);
        }
    }

    /// Returns the index of the Secret's token among the live entries, if it has no early end.
    fn held(&self, secret: &SecretObject) -> Option<usize> {
        let hash = held_hash(secret, self.desired.kind)?;
        self.live
            .iter()
            .position(|entry| entries::has_hash(entry, &hash) && entry.not_after.is_none())
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

    /// Returns the reason why no token may be issued now.
    pub(super) fn refuse_mint(&self, secret: Option<&SecretObject>) -> Option<Settled> {
        if secret.is_some_and(SecretObject::is_immutable) {
            return Some(self.refuse_immutable());
        }
        if self.desired.prefix.parse::<Prefix>().is_err() {
            return Some(self.refuse_prefix());
        }
        if entries::expiry(self.desired.lifetime, self.now).is_some_and(|end| end <= self.now) {
            let message = "spec.expiresAt is in the past: set a later time";
            return Some(self.refuse(
                Problem::error(Reason::Expired, "/spec/expiresAt", message),
                None,
            ));
        }
        // The join refuses a token whose time of issue is before `revoke_issued_before`, and times of issue have no
        // fractions of a second.
        if let Some(moment) = self
            .desired
            .revoke_issued_before
            .filter(|moment| entries::whole_second(self.now) < *moment)
        {
            return Some(self.wait_until(moment.max(self.after(SignedDuration::from_secs(1)))));
        }
        self.refuse_too_many()
    }

    fn refuse_too_many(&self) -> Option<Settled> {
        let most = self.rules.mints_per_owner;
        let mints = self.mints_of_the_hour();
        let surplus = mints.len().checked_sub(most)?;
        let until = mints.get(surplus)?.checked_add(memory::HOUR).ok()?;
        let until = until.max(self.after(CHECK_SOON));
        let kind = match self.desired.kind {
            SecretKind::ServiceToken => "ServiceAccessToken",
            SecretKind::ClientSecret => "OAuthClient",
        };
        let message = format!(
            "{most} {}s were issued within an hour, so the next one is issued at {} at the earliest: find out what keeps requesting rotations, or deleting or changing the Secret {}. To get a {} sooner, create another {kind}",
            noun(self.desired.kind),
            entries::whole_second(until),
            self.desired.secret_name,
            noun(self.desired.kind)
        );
        Some(self.refuse(
            Problem::error(Reason::MintLimitReached, "", message),
            Some(until),
        ))
    }

    /// Makes room in the Credential for one more entry, if there is none: ends a token that no server ever saw, else the
    /// one that was not used for longest. Of equals the oldest ends. The newest stays.
    ///
    /// So a Secret that is deleted again and again is always recreated, up to the limit of an hour.
    pub(super) fn make_room(&self, kept: usize) -> Option<Step> {
        if kept < MAX_ENTRIES {
            return None;
        }
        let mut entries = self.live.clone();
        let last_use = |entry: &CredentialEntry| self.use_of(entry).map(|used| used.last_used.0);
        let (_, older) = entries.split_last_mut()?;
        let ended = older.iter_mut().min_by_key(|entry| last_use(entry))?;
        ended.not_after = Some(Moment(entries::whole_second(self.now)));
        let ended = vec![ended.token_id.clone()];
        Some(self.shortened(entries, ended, Retirement::Crowded))
    }

    fn mints_of_the_hour(&self) -> Vec<Timestamp> {
        memory::mints_of_the_hour(self.memory(), self.recorded(), self.now)
    }

    fn refuse_immutable(&self) -> Settled {
        let message = format!(
            "the Secret {} is immutable, so the operator cannot write a new value into it: delete it, or recreate it without immutable: true",
            self.desired.secret_name
        );
        self.refuse(
            Problem::error(Reason::SecretImmutable, "/spec", message),
            Some(self.after(CHECK_AGAIN)),
        )
    }

    fn refuse_prefix(&self) -> Settled {
        let message = format!(
            "spec.tokens.referencePrefix {:?} of the Identity must have 1 to 16 characters of a-z and 0-9: ask the Identity's administrator to change it",
            self.desired.prefix
        );
        self.refuse(Problem::error(Reason::Invalid, "", message), None)
    }

    fn refuse(&self, problem: Problem, until: Option<Timestamp>) -> Settled {
        Settled::Refused {
            problem,
            until,
            facts: self.facts_of_held(),
        }
    }

    fn wait_until(&self, until: Timestamp) -> Settled {
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
        let ends = self.live.iter().filter_map(entries::end);
        let older = self.live.iter().filter(|entry| entry.epoch != newest.epoch);
        let quiet = older.filter_map(|entry| self.quiet_from(entry, newest));
        let renewal = entries::renews_at(newest, self.desired);
        let outlived = entries::end_by_lifetime(newest, self.desired);
        let due = renewal.into_iter().chain(outlived);
        ends.chain(quiet)
            .chain(due.filter(|due| *due > self.now))
            .min()
    }

    fn facts_of_held(&self) -> Option<Facts> {
        self.held(self.view.secret.as_ref()?)
            .map(|held| self.facts(&self.live[held]))
    }

    pub(super) fn facts(&self, newest: &CredentialEntry) -> Facts {
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

    /// Returns the Credential as read, or a new one.
    pub(super) fn credential(&self) -> Credential {
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
