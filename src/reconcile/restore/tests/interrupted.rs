//! Rebinding while others write: what happens between any two of its requests.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use super::*;
use crate::directory::{is_entry_live, is_token_revoked};
use crate::lock::lock;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};

/// What another client does to the token that is being rebound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    Nothing,
    /// A server whose watch is late records a revocation in the old Credential. If that is gone, the server remembers the
    /// revocation, and records it in the new one.
    Revokes,
    /// An administrator deletes a Credential, which revokes its tokens: the old one if it exists.
    Deletes,
}

/// An API server with Credentials and the Secrets of a case.
struct Scripted<'a> {
    case: &'a Case,
    /// Owners whose Secret is too large.
    too_large: Vec<OwnerKind>,
    state: Mutex<Stored>,
}

struct Stored {
    credentials: BTreeMap<ObjectKey, Credential>,
    version: u64,
    /// The requests so far.
    requests: usize,
    meanwhile: Meanwhile,
    /// Before which request that happens.
    before: usize,
    /// The request that is carried out, but whose answer is lost.
    lost: Option<usize>,
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new("platform", name)
}

impl Stored {
    fn put(&mut self, mut credential: Credential) -> Credential {
        self.version += 1;
        credential.metadata.resource_version = Some(self.version.to_string());
        let key = ObjectKey::of(&credential.metadata);
        self.credentials.insert(key, credential.clone());
        credential
    }

    fn interfere(&mut self) {
        let names = [key("token-1"), key("token-2")];
        let found = names.iter().find(|key| self.credentials.contains_key(*key));
        let Some(found) = found else {
            return;
        };
        match self.meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::Revokes => {
                let mut credential = self.credentials[found].clone();
                credential.status.get_or_insert_default().revoked = vec!["A".repeat(16)];
                self.put(credential);
            }
            Meanwhile::Deletes => drop(self.credentials.remove(found)),
        }
    }

    /// Does what happens before this request. Returns whether the answer is lost.
    fn arrives(&mut self) -> bool {
        if self.requests == self.before {
            self.interfere();
        }
        self.requests += 1;
        self.lost == Some(self.requests - 1)
    }
}

fn answered<T>(is_lost: bool, answer: Result<T, ApiError>) -> Result<T, ApiError> {
    if is_lost {
        return Err(ApiError::Unknown("lost".to_owned()));
    }
    answer
}

impl<'a> Scripted<'a> {
    fn new(case: &'a Case, meanwhile: Meanwhile, before: usize, lost: Option<usize>) -> Self {
        let mut stored = Stored {
            credentials: BTreeMap::new(),
            version: 0,
            requests: 0,
            meanwhile,
            before,
            lost,
        };
        for credential in [&case.client, &case.token] {
            let mut credential = credential.clone();
            let name = credential.metadata.name.clone().unwrap();
            credential.metadata.uid = Some(format!("uid-of-{name}"));
            stored.put(credential);
        }
        Self {
            case,
            too_large: Vec::new(),
            state: Mutex::new(stored),
        }
    }

    fn stored(&self) -> MutexGuard<'_, Stored> {
        lock(&self.state)
    }

    /// Does what must happen before a request that was never sent.
    fn interfere_at_last(&self) {
        let mut stored = self.stored();
        if stored.requests <= stored.before {
            stored.interfere();
        }
    }

    fn credentials(&self) -> Vec<Credential> {
        self.stored().credentials.values().cloned().collect()
    }

    /// Runs the command. Returns whether everything was done.
    async fn run(&self) -> bool {
        let items = self.case.items_of(self.credentials());
        let failures = carry_out(self, &items, &self.case.key, at(NOW), &|| {}).await;
        failures.is_empty()
    }

    /// Whether a server accepts the token, by the Credential of the present owner.
    fn accepts(&self) -> bool {
        let stored = self.stored();
        let Some(credential) = stored.credentials.get(&key("token-2")) else {
            return false;
        };
        credential.spec.tokens.iter().any(|entry| {
            entry.hash == TokenHash::of("t1").to_string()
                && is_sealed(&self.case.key, credential, entry)
                && !is_token_revoked(credential, &entry.token_id)
                && is_entry_live(entry, at(NOW))
        })
    }
}

impl Cluster for Scripted<'_> {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        let mut stored = self.stored();
        let is_lost = stored.arrives();
        answered(is_lost, Ok(stored.credentials.get(key).cloned()))
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
        let mut stored = self.stored();
        let is_lost = stored.arrives();
        let key = ObjectKey::of(&credential.metadata);
        if stored.credentials.contains_key(&key) {
            return answered(is_lost, Err(ApiError::AlreadyExists));
        }
        let mut credential = credential.clone();
        credential.metadata.uid = Some(format!("uid-{}", stored.version));
        // The API server takes no status from a create.
        credential.status = None;
        answered(is_lost, Ok(stored.put(credential)))
    }

    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        let mut stored = self.stored();
        let is_lost = stored.arrives();
        let known = stored.credentials.get(&ObjectKey::of(&credential.metadata));
        let answer = match known.cloned() {
            None => Err(ApiError::NotFound),
            Some(known) if known.metadata != credential.metadata => Err(ApiError::Conflict),
            Some(known) => {
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
        let mut stored = self.stored();
        let is_lost = stored.arrives();
        let known = stored.credentials.get(key).map(|it| it.metadata.clone());
        let answer = match known {
            None => Err(ApiError::NotFound),
            Some(known)
                if known.uid.as_deref() != Some(&*only.uid)
                    || known.resource_version.as_deref() != Some(&*only.resource_version) =>
            {
                Err(ApiError::Conflict)
            }
            Some(_) => {
                stored.credentials.remove(key);
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

/// More requests than two runs send.
const REQUESTS: usize = 20;

#[tokio::test]
async fn without_interference_a_token_is_moved_and_a_lost_answer_needs_one_more_run() {
    let case = Case::restored();
    for lost in (0..REQUESTS).map(Some).chain([None]) {
        let cluster = Scripted::new(&case, Meanwhile::Nothing, 0, lost);
        let is_done = cluster.run().await;
        let sent = cluster.stored().requests;
        assert_eq!(is_done, lost.is_none_or(|lost| lost >= sent), "{lost:?}");
        assert!(sent < REQUESTS / 2, "{sent} requests");
        assert!(is_done || cluster.run().await, "{lost:?}");
        assert!(cluster.accepts(), "{lost:?}");
        let left = cluster.credentials();
        let left: Vec<_> = left.iter().map(|it| &*it.spec.owner.uid).collect();
        assert_eq!(left, ["client-2", "token-2"], "{lost:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_between_any_two_requests_is_never_accepted_afterwards() {
    let case = Case::restored();
    for before in 0..REQUESTS {
        for lost in (0..REQUESTS).map(Some).chain([None]) {
            let cluster = Scripted::new(&case, Meanwhile::Revokes, before, lost);
            let mut runs = 1;
            while !cluster.run().await {
                runs += 1;
                assert!(runs < 4, "before {before}, lost {lost:?}");
            }
            cluster.interfere_at_last();
            assert!(!cluster.accepts(), "before {before}, lost {lost:?}");
            // The words of the next run are true: nothing is left to do.
            let items = case.items_of(cluster.credentials());
            let left = items.iter().find(|item| {
                let verdict = &item.verdict;
                item.credential.spec.owner.kind == OwnerKind::ServiceAccessToken
                    && !matches!(
                        verdict,
                        RestoreVerdict::Current | RestoreVerdict::Refused(_)
                    )
            });
            assert!(left.is_none(), "before {before}, lost {lost:?}: {left:?}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_deleted_between_any_two_requests_takes_its_tokens_with_it() {
    let case = Case::restored();
    for before in 0..REQUESTS {
        let cluster = Scripted::new(&case, Meanwhile::Deletes, before, None);
        while !cluster.run().await {}
        cluster.interfere_at_last();
        assert!(!cluster.accepts(), "before {before}");
        assert!(cluster.run().await && !cluster.accepts(), "before {before}");
    }
}

/// A tenant writes the Secret.
#[tokio::test]
async fn a_secret_that_is_too_large_speaks_against_its_owner_only() {
    let case = Case::restored();
    let mut cluster = Scripted::new(&case, Meanwhile::Nothing, 0, None);
    cluster.too_large = vec![OwnerKind::ServiceAccessToken];
    let credentials = cluster.credentials();
    let directory = &case.world.directory;
    let told = evidence(&cluster, directory, &credentials, &|| {}).await;
    let identity = ObjectKey::new("platform", "main");
    let items = plan_all(
        directory,
        &identity,
        credentials,
        &told.unwrap(),
        &case.key,
        at(NOW),
    );
    let refused = RestoreVerdict::Refused(NotRebound::SecretTooLarge);
    assert_eq!(items[0].verdict, refused);
    assert_eq!(items[0].credential.spec.owner.name, "nightly");
    assert!(matches!(items[1].verdict, RestoreVerdict::Rebind(_)));
}
