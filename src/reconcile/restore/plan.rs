//! The decision about one Credential after a restore. Pure.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use crate::directory::{
    Directory, ObjectKey, entry_ends, is_entry_live, is_sealed, is_token_revoked,
};
use crate::reconcile::cluster::secret::{Ownership, SecretObject};
use crate::reconcile::issue::{seal_all, seal_one, with_revoked_ended};
use crate::resources::{
    Credential, CredentialEntry, CredentialOwner, LABEL_CLIENT, Moment, OwnerKind,
};
use crate::tokens::{MacKey, TokenHash, imported};

/// A Credential of the Identity with its evidence.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    /// The Credential, restored or never deleted.
    pub(super) credential: &'a Credential,
    /// What the owner's Secret shows.
    pub(super) evidence: Option<&'a Evidence>,
    /// The Credential that the owner already has under its present uid.
    pub(super) successor: Option<&'a Credential>,
}

/// The hashes of everything in an owner's Secret, if it was created for the owner.
#[derive(Clone, Debug)]
pub struct Evidence(Result<Vec<TokenHash>, NotRebound>);

impl Evidence {
    /// Reads the Secret that [`owner_secret`] names.
    pub fn of(
        directory: &Directory,
        credential: &Credential,
        secret: Option<&SecretObject>,
    ) -> Self {
        let told = present(directory, &credential.spec.owner).and_then(|present| {
            if let Some(key) = &present.existing_key {
                return Ok(imported_to(secret, &present.owner, key)?
                    .into_iter()
                    .collect());
            }
            let secret = made_for(secret, &present.owner)?;
            let texts = secret.data_keys().filter_map(|name| secret.text(name));
            Ok(texts.map(|text| TokenHash::of(text.expose())).collect())
        });
        Self(told)
    }

    /// The evidence of a Secret that is too large to be read.
    pub const fn too_large() -> Self {
        Self(Err(NotRebound::SecretTooLarge))
    }
}

/// What to do about a Credential.
#[derive(Clone, Debug, PartialEq)]
pub enum RestoreVerdict {
    /// Nothing: its owner and its client have the recorded uids.
    Current,
    /// Replace it with another one.
    Rebind(Box<Rebinding>),
    /// Delete it: another one has already replaced it.
    Done {
        /// The Credential that replaced it.
        successor: ObjectKey,
        /// The number of tokens that the successor accepts although they were revoked or ended here.
        revoked: usize,
    },
    /// Keep it as it is. Its tokens stay dead.
    Refused(NotRebound),
}

/// A Credential under the owner's present uid.
#[derive(Clone, Debug, PartialEq)]
pub struct Rebinding {
    /// The Credential to create.
    pub credential: Credential,
    /// The number of entries that are left out: ended, revoked, or sealed by another key.
    pub dropped: usize,
}

/// Why the tokens of a Credential stay dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotRebound {
    /// No object of this kind and name exists.
    #[error("its owner does not exist: restore it, or leave the Credential to the sweep")]
    OwnerMissing,
    /// The owner is invalid, or its client is.
    #[error(
        "its owner or its client is invalid: run `symbolon check`, correct the object and run this command again"
    )]
    OwnerInvalid,
    /// `revoked: true`.
    #[error("its owner is revoked for good")]
    OwnerRevoked,
    /// The owner names another Identity now.
    #[error("its owner belongs to another Identity now")]
    OtherIdentity,
    /// The owner's client does not exist.
    #[error("the client of its owner does not exist: restore it and run this command again")]
    ClientMissing,
    /// The owner is the recorded one, but its client is not.
    #[error(
        "the client was recreated, the token was not: a token ends with its client, and the operator issues another"
    )]
    ClientReplaced,
    /// Nothing proves that the present client is the one in the entries.
    #[error(
        "nothing proves that its client is the one that it was issued to: restore the client's Credential and Secret first"
    )]
    ClientUnknown,
    /// The Secret does not exist.
    #[error("its Secret does not exist: there is no token to keep alive")]
    SecretMissing,
    /// The Secret cannot be read.
    #[error(
        "its Secret is too large to be read: remove data, labels or annotations from it and run this command again"
    )]
    SecretTooLarge,
    /// The Secret was created for another object.
    #[error("the annotation of its Secret does not name this owner")]
    SecretForeign,
    /// The imported Secret is not labelled for the client.
    #[error("the imported Secret lacks the label symbolon.dev/client with the client's name")]
    SecretUnlabelled,
    /// The Secret refers to the previous owner.
    #[error(
        "its Secret still refers to the previous owner and will be garbage-collected: restore it without owner references"
    )]
    SecretStale,
    /// No entry matches the token in the Secret.
    #[error("its Secret holds none of its tokens: they were replaced or revoked in the meantime")]
    NotHeld,
    /// No entry carries the seal of the Identity's key.
    #[error("no entry carries the seal of the Identity's mac key: was the key's Secret restored?")]
    NotSealed,
    /// The token in the Secret has ended or was revoked.
    #[error("the token in its Secret has ended or was revoked")]
    Ended,
    /// The token in the Secret acts as another principal than the client does now.
    #[error("it acts as another principal than its client does now")]
    PrincipalChanged,
    /// The operator has issued a token for the owner since the restore.
    #[error("the operator has issued another token since the restore: was it running?")]
    IssuedAnew,
}

/// The clients whose previous uids are proved.
#[derive(Clone, Debug, Default)]
pub(super) struct Attested(BTreeSet<(ObjectKey, String)>);

impl Attested {
    /// Records what a client's own Credential and Secret prove together.
    pub(super) fn hear(&mut self, candidate: Candidate<'_>, key: &MacKey) {
        let owner = &candidate.credential.spec.owner;
        if owner.kind == OwnerKind::OAuthClient && held_entry(candidate, key).is_ok() {
            self.0.insert((owner_key(owner), owner.uid.clone()));
        }
    }

    fn has(&self, client: &ObjectKey, uid: &str) -> bool {
        self.0.contains(&(client.clone(), uid.to_owned()))
    }
}

/// Returns the Secret that proves the owner of a Credential; `None` if the owner is missing, invalid or the recorded
/// one, so that there is nothing to prove.
pub fn owner_secret(directory: &Directory, credential: &Credential) -> Option<ObjectKey> {
    let owner = &credential.spec.owner;
    let key = owner_key(owner);
    let (uid, name) = match owner.kind {
        OwnerKind::OAuthClient => {
            let object = directory.client(&key)?;
            (&object.uid, &object.record()?.secret.name)
        }
        OwnerKind::ServiceAccessToken => {
            let object = directory.service_token(&key)?;
            (&object.uid, &object.record()?.secret.name)
        }
    };
    (**uid != *owner.uid).then(|| ObjectKey::new(&owner.namespace, name))
}

/// Decides about a Credential whose owner may have been recreated.
pub(super) fn plan(
    directory: &Directory,
    identity: &ObjectKey,
    candidate: Candidate<'_>,
    attested: &Attested,
    key: &MacKey,
    now: Timestamp,
) -> RestoreVerdict {
    match decide(directory, identity, candidate, attested, key, now) {
        Ok(verdict) => verdict,
        Err(refusal) => RestoreVerdict::Refused(refusal),
    }
}

fn decide(
    directory: &Directory,
    identity: &ObjectKey,
    candidate: Candidate<'_>,
    attested: &Attested,
    key: &MacKey,
    now: Timestamp,
) -> Result<RestoreVerdict, NotRebound> {
    let old = candidate.credential;
    let present = present(directory, &old.spec.owner)?;
    if present.identity.as_ref() != Some(identity) {
        return Err(NotRebound::OtherIdentity);
    }
    if present.owner.uid == old.spec.owner.uid {
        return unless_client_replaced(old, &present);
    }
    // What a previous run created may still accept what was revoked here meanwhile, whatever the Secret holds now.
    if let Some(successor) = candidate.successor
        && let Some(carried) = carried(old, successor, key, now)
        && carried.revoked > 0
    {
        return Ok(RestoreVerdict::Done {
            successor: ObjectKey::of(&successor.metadata),
            revoked: carried.revoked,
        });
    }
    let held = held_entry(candidate, key)?;
    if held.principal != present.principal || held.client.name != present.client_name {
        return Err(NotRebound::PrincipalChanged);
    }
    if !is_client(&present, &old.spec.owner, held, attested) {
        return Err(NotRebound::ClientUnknown);
    }
    let revoked_before = directory
        .identity(identity)
        .and_then(|object| object.record()?.revoke_issued_before);
    let is_alive = |entry: &CredentialEntry| {
        is_entry_live(entry, now) && revoked_before.is_none_or(|moment| entry.issued_at.0 >= moment)
    };
    if !is_alive(held) {
        return Err(NotRebound::Ended);
    }
    // An entry of another client or principal was dead before the backup was made.
    let comes_along = |entry: &&CredentialEntry| {
        is_alive(entry)
            && is_sealed(key, old, entry)
            && entry.client == held.client
            && entry.principal == held.principal
    };
    let entries: Vec<_> = old.spec.tokens.iter().filter(comes_along).collect();
    match candidate.successor {
        None => Ok(RestoreVerdict::Rebind(Box::new(bound(
            old, &present, &entries, key,
        )))),
        Some(successor) if has_all(successor, &entries, key) => Ok(RestoreVerdict::Done {
            successor: ObjectKey::of(&successor.metadata),
            revoked: 0,
        }),
        Some(_) => Err(NotRebound::IssuedAnew),
    }
}

/// Returns the uid that the owner of a Credential has now.
pub(super) fn present_uid(directory: &Directory, owner: &CredentialOwner) -> Option<Arc<str>> {
    directory.owner_uid(owner.kind, &owner_key(owner)).cloned()
}

/// An owner as it is now.
struct Present {
    owner: CredentialOwner,
    identity: Option<ObjectKey>,
    client: ObjectKey,
    client_name: String,
    client_uid: String,
    principal: String,
    /// The key of the imported Secret, if the owner imports its secret.
    existing_key: Option<Arc<str>>,
}

fn present(directory: &Directory, recorded: &CredentialOwner) -> Result<Present, NotRebound> {
    let key = owner_key(recorded);
    let (uid, client_key) = match recorded.kind {
        OwnerKind::OAuthClient => {
            let object = directory.client(&key).ok_or(NotRebound::OwnerMissing)?;
            (&object.uid, key)
        }
        OwnerKind::ServiceAccessToken => {
            let object = directory
                .service_token(&key)
                .ok_or(NotRebound::OwnerMissing)?;
            let record = object.record().ok_or(NotRebound::OwnerInvalid)?;
            if record.revoked {
                return Err(NotRebound::OwnerRevoked);
            }
            (&object.uid, record.client.clone())
        }
    };
    let client = directory
        .client(&client_key)
        .ok_or(NotRebound::ClientMissing)?;
    let record = client.record().ok_or(NotRebound::OwnerInvalid)?;
    let (principal, existing_key) = match recorded.kind {
        OwnerKind::OAuthClient => (Some(&record.client_id), record.secret.existing_key.clone()),
        OwnerKind::ServiceAccessToken => (record.system_user.as_ref(), None),
    };
    Ok(Present {
        owner: CredentialOwner {
            uid: uid.to_string(),
            ..recorded.clone()
        },
        identity: record.identity.clone(),
        client_name: client_key.name.to_string(),
        client: client_key,
        client_uid: client.uid.to_string(),
        principal: principal.map(ToString::to_string).unwrap_or_default(),
        existing_key,
    })
}

/// Deleting a client is a way to end its tokens. If the owner survived, the two were not restored together.
fn unless_client_replaced(
    old: &Credential,
    present: &Present,
) -> Result<RestoreVerdict, NotRebound> {
    match old.spec.tokens.last() {
        Some(newest) if newest.client.uid != present.client_uid => Err(NotRebound::ClientReplaced),
        _ => Ok(RestoreVerdict::Current),
    }
}

/// Returns the Secret if it was created for this owner and will stay.
fn made_for<'a>(
    secret: Option<&'a SecretObject>,
    owner: &CredentialOwner,
) -> Result<&'a SecretObject, NotRebound> {
    let secret = secret
        .filter(|secret| !secret.is_deleting())
        .ok_or(NotRebound::SecretMissing)?;
    match secret.ownership(owner) {
        Ownership::Ours | Ownership::Adoptable => Ok(secret),
        Ownership::Predecessor => Err(NotRebound::SecretStale),
        Ownership::Foreign => Err(NotRebound::SecretForeign),
    }
}

/// Returns the hash of the imported secret under `key`, read as the operator does; `None` if the value is not a secret.
fn imported_to(
    secret: Option<&SecretObject>,
    owner: &CredentialOwner,
    key: &str,
) -> Result<Option<TokenHash>, NotRebound> {
    let secret = secret
        .filter(|secret| !secret.is_deleting())
        .ok_or(NotRebound::SecretMissing)?;
    if secret.label(LABEL_CLIENT) != Some(&owner.name) || secret.is_managed() {
        return Err(NotRebound::SecretUnlabelled);
    }
    let text = secret.text(key);
    let value = text
        .as_ref()
        .and_then(|text| imported::read(text.expose()).ok());
    Ok(value.map(TokenHash::of))
}

/// Returns the newest entry whose token the Secret holds, under any key.
fn held_entry<'a>(
    candidate: Candidate<'a>,
    key: &MacKey,
) -> Result<&'a CredentialEntry, NotRebound> {
    let credential = candidate.credential;
    let evidence = candidate.evidence.map(|evidence| &evidence.0);
    let hashes = evidence.map_or(Err(NotRebound::SecretMissing), |told| {
        told.as_ref().map_err(|why| *why)
    })?;
    let sealed = |entry: &&CredentialEntry| is_sealed(key, credential, entry);
    let is_held = |entry: &&CredentialEntry| {
        let hash = entry.hash.parse::<TokenHash>();
        hash.is_ok_and(|hash| hashes.contains(&hash))
    };
    let tokens = &credential.spec.tokens;
    if !tokens.is_empty() && !tokens.iter().any(|entry| sealed(&entry)) {
        return Err(NotRebound::NotSealed);
    }
    let held = tokens.iter().filter(sealed).rfind(is_held);
    held.ok_or(NotRebound::NotHeld)
}

/// Whether the present client is the one that an entry was issued to.
fn is_client(
    present: &Present,
    recorded: &CredentialOwner,
    held: &CredentialEntry,
    attested: &Attested,
) -> bool {
    match recorded.kind {
        // The client is the owner itself, which its Secret has proved.
        OwnerKind::OAuthClient => held.client.uid == recorded.uid,
        OwnerKind::ServiceAccessToken => {
            held.client.uid == present.client_uid || attested.has(&present.client, &held.client.uid)
        }
    }
}

/// Returns the Credential under the present uids of owner and client, otherwise unchanged.
fn bound(
    old: &Credential,
    present: &Present,
    entries: &[&CredentialEntry],
    key: &MacKey,
) -> Rebinding {
    let mut spec = old.spec.clone();
    spec.owner = present.owner.clone();
    spec.tokens = entries.iter().copied().cloned().collect();
    for entry in &mut spec.tokens {
        entry.client.uid.clone_from(&present.client_uid);
    }
    let dropped = old.spec.tokens.len() - spec.tokens.len();
    let mut credential = Credential::new(&present.owner.uid, spec);
    credential
        .metadata
        .namespace
        .clone_from(&old.metadata.namespace);
    seal_all(&mut credential, key);
    Rebinding {
        credential,
        dropped,
    }
}

/// A successor with what happened to the previous Credential in the meantime.
#[derive(Clone, Debug)]
pub(super) struct Carried {
    /// The successor to write.
    pub(super) credential: Credential,
    /// The number of tokens that it no longer has.
    pub(super) revoked: usize,
}

/// Carries over to a successor what has been revoked or ended in the previous Credential since it was read. `None` if
/// there is nothing to carry over.
///
/// A revoked token is left out, as in [`bound`]: an end would depend on the clock of the machine on which the command
/// runs, and only servers may write `status.revoked`.
pub(super) fn carried(
    old: &Credential,
    successor: &Credential,
    key: &MacKey,
    now: Timestamp,
) -> Option<Carried> {
    let ended = with_revoked_ended(old, key, now);
    let old = ended.as_ref().map_or(old, |(ended, _)| ended);
    // A client secret that was issued and is now imported has two entries. It is accepted until the later end.
    let known = |entry: &CredentialEntry| {
        let tokens = old.spec.tokens.iter();
        tokens
            .filter(|known| known.hash == entry.hash && is_sealed(key, old, known))
            .max_by_key(|known| entry_ends(known).unwrap_or(Timestamp::MAX))
    };
    let accepted = successor.spec.tokens.iter().filter(|entry| {
        is_entry_live(entry, now)
            && is_sealed(key, successor, entry)
            && !is_token_revoked(successor, &entry.token_id)
    });
    let revoked: Vec<String> = accepted
        .filter(|entry| known(entry).is_some_and(|known| !is_entry_live(known, now)))
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
    let mut is_shortened = false;
    for place in 0..credential.spec.tokens.len() {
        let entry = &credential.spec.tokens[place];
        let end = known(entry).and_then(|known| known.not_after);
        let is_earlier = |end: &Moment| entry_ends(entry).is_none_or(|own| end.0 < own);
        if let Some(end) = end.filter(is_earlier)
            && is_sealed(key, &credential, entry)
        {
            credential.spec.tokens[place].not_after = Some(end);
            seal_one(&mut credential, place, key);
            is_shortened = true;
        }
    }
    (is_shortened || !revoked.is_empty()).then_some(Carried {
        credential,
        revoked: revoked.len(),
    })
}

/// Whether a Credential accepts all of these entries, perhaps with earlier ends.
fn has_all(successor: &Credential, entries: &[&CredentialEntry], key: &MacKey) -> bool {
    entries.iter().all(|entry| {
        let mut theirs = successor.spec.tokens.iter();
        theirs.any(|their| their.hash == entry.hash && is_sealed(key, successor, their))
    })
}

fn owner_key(owner: &CredentialOwner) -> ObjectKey {
    ObjectKey::new(&owner.namespace, &owner.name)
}
