//! An API server in memory, and what others do to the token `t1` between any two requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::directory::{is_entry_live, is_token_revoked};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use futures::FutureExt as _;

/// One of several Credentials of the owner, by the time of their creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    Oldest,
    Newest,
}

/// What happens before a request, which may be the list with which a run starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A server records the revocation of the token in one of the Credentials that record it. If none does, the server
    /// remembers the revocation, and records it in each that appears.
    Revokes(Which),
    /// An administrator deletes a Credential, which revokes its tokens.
    Deletes(Which),
    /// The operator, between two runs, removes revoked tokens from the Credential of the present owner.
    Cleans,
    /// The backup is restored again: what does not exist is recreated.
    Restores,
    /// The same, after the owner was deleted. So the owner gets another uid.
    RestoresOwner,
    /// The command is killed.
    Kills,
    /// The answer to the request is lost.
    LosesAnswer,
    /// Another run of the command starts, and finishes.
    Overtakes,
}

/// An API server with the Credentials and the Secrets of a case.
pub(super) struct Scripted<'a> {
    case: &'a Case,
    /// The objects by the number of the owner's recreations.
    worlds: Vec<&'a World>,
    /// Owners whose Secret is too large.
    pub(super) too_large: Vec<OwnerKind>,
    /// Whether the definition of Credential lacks the marks.
    pub(super) drops_marks: bool,
    state: Mutex<Stored>,
}

#[expect(clippy::struct_excessive_bools, reason = "independent facts")]
struct Stored {
    credentials: BTreeMap<ObjectKey, Credential>,
    version: u64,
    /// The requests so far.
    requests: usize,
    /// What happens before which request.
    events: Vec<(usize, Event)>,
    /// The number of the owner's recreations.
    world: usize,
    is_running: bool,
    /// Whether the running command was killed, so that no request arrives any more.
    is_killed: bool,
    /// Whether a server remembers the revocation.
    is_remembered: bool,
    /// Whether the token must not be accepted any more.
    is_dead: bool,
    /// Whether a restored Credential stands that no run has dealt with.
    is_unseen: bool,
    /// The version at which it was restored.
    restored_at: u64,
    /// Whether an event changed nothing.
    was_idle: bool,
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("platform", name)
}

fn names() -> impl DoubleEndedIterator<Item = ObjectKey> {
    (1..=9).map(|number| key(&format!("token-{number}")))
}

fn hash() -> String {
    TokenHash::of("t1").to_string()
}

fn id() -> String {
    "A".repeat(16)
}

impl Stored {
    fn put(&mut self, mut credential: Credential) -> Credential {
        self.version += 1;
        credential.metadata.resource_version = Some(self.version.to_string());
        let records = credential.spec.tokens.iter();
        if self.is_remembered && records.clone().any(|entry| entry.hash == hash()) {
            credential.status.get_or_insert_default().revoked = vec![id()];
        }
        let key = ObjectKey::of(&credential.metadata);
        self.credentials.insert(key, credential.clone());
        credential
    }

    fn create(&mut self, credential: &Credential) -> Credential {
        let mut credential = credential.clone();
        credential.metadata.uid = Some(format!("uid-{}", self.version));
        // The API server takes no status from a create.
        credential.status = None;
        self.put(credential)
    }

    fn find(&self, which: Which, is_meant: impl Fn(&Credential) -> bool) -> Option<ObjectKey> {
        let mut found = names().filter(|key| self.credentials.get(key).is_some_and(&is_meant));
        match which {
            Which::Oldest => found.next(),
            Which::Newest => found.next_back(),
        }
    }

    /// Whether a Credential with the token may be deleted because another one has taken the token. The operator's sweep
    /// does so too.
    fn is_copy(&self, old: &Credential) -> bool {
        let mut others = self.credentials.values();
        others.any(|other| moves::has_taken_from(other, old))
    }

    fn revoke(&mut self, which: Which) {
        let records = |it: &Credential| it.spec.tokens.iter().any(|entry| entry.hash == hash());
        self.was_idle |= self.is_dead;
        self.is_dead = true;
        match self.find(which, records) {
            None => {
                self.is_remembered = true;
            }
            Some(found) => {
                let mut credential = self.credentials[&found].clone();
                credential.status.get_or_insert_default().revoked = vec![id()];
                self.put(credential);
            }
        }
    }

    fn delete(&mut self, which: Which, is_live: impl Fn(&Credential) -> bool) {
        let found = self.find(which, |_| true);
        let deleted = found.and_then(|found| self.credentials.remove(&found));
        self.was_idle |= deleted.is_none();
        let Some(deleted) = deleted else {
            return;
        };
        if !self.is_copy(&deleted) {
            self.is_dead |= is_live(&deleted);
        } else if is_token_revoked(&deleted, &id()) && !self.is_told() {
            // An unfinished run had not carried over the revocation.
            self.is_dead = false;
        }
    }

    /// Removes revoked tokens, as the operator does with its next write.
    fn clean(&mut self, present: &ObjectKey) {
        let found = self.credentials.get(present).cloned();
        let is_meant = |it: &Credential| is_token_revoked(it, &id());
        match found.filter(|it| is_meant(it) && !self.is_running) {
            None => self.was_idle = true,
            Some(mut credential) => {
                credential
                    .spec
                    .tokens
                    .retain(|entry| entry.token_id != id());
                credential.spec.high += 1;
                credential.status = None;
                self.put(credential);
            }
        }
    }

    /// Recreates the Credential of the backup.
    fn restore(&mut self, backup: &Credential) {
        if !self.credentials.contains_key(&key("token-1")) {
            self.is_unseen = true;
            self.create(backup);
            self.restored_at = self.version;
        }
    }

    /// A backup does not know what was revoked after it. If no other Credential tells it either, the token lives again.
    fn forget(&mut self, backup: &Credential) {
        let mut all = self.credentials.values();
        let has_heir = all.any(|it| moves::has_taken_from(it, backup));
        if self.is_unseen && !has_heir && !self.is_told() {
            self.is_dead = false;
        }
    }

    /// Whether a Credential or a server tells that the token was revoked by its id.
    fn is_told(&self) -> bool {
        let mut all = self.credentials.values();
        self.is_remembered || all.any(|it| is_token_revoked(it, &id()))
    }
}

fn answered<T>(is_lost: bool, answer: Result<T, ApiError>) -> Result<T, ApiError> {
    if is_lost {
        return Err(ApiError::Unknown("lost".to_owned()));
    }
    answer
}

impl<'a> Scripted<'a> {
    pub(super) fn new(case: &'a Case, events: impl IntoIterator<Item = (usize, Event)>) -> Self {
        Self::with(case, vec![&case.world], [&case.client, &case.token], events)
    }

    /// Returns an API server with these Credentials.
    pub(super) fn with<'b>(
        case: &'a Case,
        worlds: Vec<&'a World>,
        credentials: impl IntoIterator<Item = &'b Credential>,
        events: impl IntoIterator<Item = (usize, Event)>,
    ) -> Self {
        let mut stored = Stored {
            credentials: BTreeMap::new(),
            version: 0,
            requests: 0,
            events: events.into_iter().collect(),
            world: 0,
            is_running: false,
            is_killed: false,
            is_remembered: false,
            is_dead: false,
            is_unseen: false,
            restored_at: 0,
            was_idle: false,
        };
        for credential in credentials {
            stored.create(credential);
        }
        Self {
            case,
            worlds,
            too_large: Vec::new(),
            drops_marks: false,
            state: Mutex::new(stored),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        lock(&self.state)
    }

    /// Returns the number of requests so far.
    pub(super) fn requests(&self) -> usize {
        self.stored().requests
    }

    /// Returns whether an event changed nothing, so that a shorter script does the same.
    pub(super) fn was_idle(&self) -> bool {
        self.stored().was_idle
    }

    /// Returns whether the token must not be accepted any more.
    pub(super) fn is_dead(&self) -> bool {
        self.stored().is_dead
    }

    /// Returns whether a restored Credential stands that no run has dealt with.
    pub(super) fn is_unseen(&self) -> bool {
        self.stored().is_unseen
    }

    /// Returns whether events are left.
    pub(super) fn has_more(&self) -> bool {
        !self.stored().events.is_empty()
    }

    fn present(&self) -> ObjectKey {
        let owner = ObjectKey::new("blue", "nightly");
        let directory = &self.worlds[self.stored().world].directory;
        key(directory
            .owner_uid(OwnerKind::ServiceAccessToken, &owner)
            .unwrap())
    }

    /// Does what happens before this request. Returns whether its answer is lost, or that it never arrives.
    fn arrives(&self) -> Result<bool, ApiError> {
        let mut is_lost = false;
        let request = self.requests();
        loop {
            let mut stored = self.stored();
            let found = stored
                .events
                .iter()
                .position(|(before, _)| *before <= request);
            let Some(found) = found.filter(|_| !stored.is_killed) else {
                break;
            };
            let (_, event) = stored.events.remove(found);
            drop(stored);
            is_lost |= event == Event::LosesAnswer;
            self.happens(event);
        }
        let mut stored = self.stored();
        if stored.is_killed {
            return Err(ApiError::Unavailable("killed".to_owned()));
        }
        stored.requests += 1;
        Ok(is_lost)
    }

    fn happens(&self, event: Event) {
        let present = self.present();
        let mut stored = self.stored();
        match event {
            Event::Revokes(which) => stored.revoke(which),
            Event::Deletes(which) => stored.delete(which, |it| self.is_recorded(it)),
            Event::Cleans => stored.clean(&present),
            Event::Restores => {
                stored.was_idle |= stored.credentials.contains_key(&key("token-1"));
                stored.restore(&self.case.token);
            }
            Event::RestoresOwner => {
                stored.was_idle |= stored.world + 1 == self.worlds.len();
                stored.world = (stored.world + 1).min(self.worlds.len() - 1);
                stored.restore(&self.case.token);
            }
            Event::Kills => {
                stored.was_idle |= !stored.is_running;
                stored.is_killed = stored.is_running;
            }
            Event::LosesAnswer => stored.was_idle |= !stored.is_running,
            Event::Overtakes => {
                stored.was_idle |= !stored.is_running;
                // Its requests do not count.
                let rest = (stored.requests, std::mem::take(&mut stored.events));
                drop(stored);
                self.run().now_or_never().unwrap();
                let mut stored = self.stored();
                (stored.requests, stored.events) = rest;
                stored.is_running = true;
                return;
            }
        }
        stored.forget(&self.case.token);
    }

    /// Does what must happen before a request that was never sent.
    pub(super) fn do_the_rest(&self) {
        let rest = std::mem::take(&mut self.stored().events);
        for (_, event) in rest {
            self.happens(event);
        }
    }

    pub(super) fn credentials(&self) -> Vec<Credential> {
        self.stored().credentials.values().cloned().collect()
    }

    /// Runs the command. Returns whether everything was done.
    pub(super) async fn run(&self) -> bool {
        // The list.
        let is_lost = self.arrives().unwrap_or(true);
        if is_lost {
            return false;
        }
        let directory = &self.worlds[self.stored().world].directory;
        let items = self.case.items_in(directory, self.credentials());
        let started = {
            let mut stored = self.stored();
            stored.is_running = true;
            stored.version
        };
        let failures = carry_out(self, &items, &self.case.key, at(NOW), &|| {}).await;
        let mut stored = self.stored();
        stored.is_running = false;
        let was_killed = std::mem::take(&mut stored.is_killed);
        let is_done = failures.is_empty() && !was_killed;
        // A Credential that was restored meanwhile waits for the next run.
        stored.is_unseen &= !is_done || stored.restored_at > started;
        is_done
    }

    /// Whether a Credential records the living token.
    fn is_recorded(&self, credential: &Credential) -> bool {
        credential.spec.tokens.iter().any(|entry| {
            entry.hash == hash()
                && is_sealed(&self.case.key, credential, entry)
                && !is_token_revoked(credential, &entry.token_id)
                && is_entry_live(entry, at(NOW))
        })
    }

    /// Whether a server accepts the token, by the Credential of the present owner.
    pub(super) fn accepts(&self) -> bool {
        let present = self.present();
        let found = self.stored().credentials.get(&present).cloned();
        found.is_some_and(|credential| self.is_recorded(&credential))
    }
}

impl Cluster for Scripted<'_> {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        let is_lost = self.arrives()?;
        answered(is_lost, Ok(self.stored().credentials.get(key).cloned()))
    }

    async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        let kind = match &*key.name {
            "nightly-token" => OwnerKind::ServiceAccessToken,
            _ => OwnerKind::OAuthClient,
        };
        if self.too_large.contains(&kind) {
            return Err(ApiError::Invalid("the object is too large".to_owned()));
        }
        Ok(self.case.secret_of(kind))
    }

    async fn owner(&self, _: OwnerKind, _: &ObjectKey) -> Result<Option<Value>, ApiError> {
        unreachable!("a rebinding reads no owners one by one")
    }

    async fn create_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let is_lost = self.arrives()?;
        let mut stored = self.stored();
        let key = ObjectKey::of(&credential.metadata);
        if stored.credentials.contains_key(&key) {
            return answered(is_lost, Err(ApiError::AlreadyExists));
        }
        let mut credential = credential.clone();
        if self.drops_marks {
            credential.spec.memory.rebound = None;
        }
        answered(is_lost, Ok(stored.create(&credential)))
    }

    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let is_lost = self.arrives()?;
        let mut stored = self.stored();
        let known = stored.credentials.get(&ObjectKey::of(&credential.metadata));
        let answer = match known.cloned() {
            None => Err(ApiError::NotFound),
            Some(known) if known.metadata != credential.metadata => Err(ApiError::Conflict),
            Some(known) => {
                assert!(known.spec.high <= credential.spec.high);
                assert_eq!(known.spec.owner, credential.spec.owner);
                let mut next = credential.clone();
                next.status = known.status;
                Ok(stored.put(next))
            }
        };
        answered(is_lost, answer)
    }

    async fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> Result<(), ApiError> {
        let is_lost = self.arrives()?;
        let mut stored = self.stored();
        let known = stored.credentials.get(key).map(|it| it.metadata.clone());
        let answer = match known {
            None => Err(ApiError::NotFound),
            Some(known) if Precondition::of(&known) != *only => Err(ApiError::Conflict),
            Some(_) => {
                stored.credentials.remove(key);
                stored.forget(&self.case.token);
                Ok(())
            }
        };
        answered(is_lost, answer)
    }

    async fn create_secret(&self, _: &SecretObject) -> Result<SecretObject, ApiError> {
        unreachable!("a rebinding writes no Secret")
    }

    async fn replace_secret(&self, _: &SecretObject) -> Result<SecretObject, ApiError> {
        unreachable!("a rebinding writes no Secret")
    }

    async fn delete_secret(&self, _: &ObjectKey, _: &Precondition) -> Result<(), ApiError> {
        unreachable!("a rebinding writes no Secret")
    }
}
