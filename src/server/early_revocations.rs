//! Revocations of tokens that no known Credential records. Pure.
//!
//! A client may revoke a token before the server has seen it: the watch may be late, or `symbolon restore rebind` may be
//! moving the token to another Credential. The server then remembers the token, and refuses it in the change that brings
//! it. The check is made when a change of Credentials is published, never at a request.
//!
//! The table is in memory only, so a restart loses it. It is bounded in total, for the clients of one namespace, and for
//! one client, because each client can invent tokens.

use std::net::IpAddr;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::directory::{Directory, ObjectKey};
use crate::oauth::revocation::is_issued_to;
use crate::telemetry::audit::{Origin, RequestId};
use crate::tokens::{TokenHash, TokenId};

/// How far beyond a revocation the watches must be heard until it is forgotten. A watch that stalls is listed again after
/// at most 100 s; the rest is for a slow list. While a watch is silent, nothing is forgotten.
const KEEP: SignedDuration = SignedDuration::from_mins(10);
/// The most revocations that are remembered. One takes about 300 bytes.
const MOST: usize = 4096;
/// The most of the clients of one namespace.
const MOST_OF_NAMESPACE: usize = 512;
/// The most of one client.
const MOST_OF_CLIENT: usize = 256;

/// The revocation of a token that no known Credential records.
#[derive(Clone, Debug)]
pub(super) struct EarlyRevocation {
    pub token_id: TokenId,
    pub hash: TokenHash,
    /// The client that revoked the token.
    pub client: ObjectKey,
    pub client_id: Arc<str>,
    pub sender: Sender,
}

/// The origin of a request, kept for the audit log.
#[derive(Clone, Debug, Default)]
pub(super) struct Sender {
    pub peer: Option<IpAddr>,
    request_id: Option<Box<str>>,
    trace_id: Option<Box<str>>,
}

/// A Credential that records a token that was revoked before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub credential: ObjectKey,
    pub uid: Option<Arc<str>>,
    pub owner: ObjectKey,
}

/// Why a revocation is not remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotRemembered {
    /// The watches are silent for longer than bookmarks allow: the token may have existed for a long time.
    Silent,
    /// A Credential records the token now: a repeated request finds it.
    Known,
    /// Too many are remembered: in total, of the namespace, or of the client.
    Full,
}

/// The early revocations that a server remembers.
#[derive(Debug, Default)]
pub(super) struct EarlyRevocations(Vec<Row>);

#[derive(Debug)]
struct Row {
    revocation: EarlyRevocation,
    since: Timestamp,
    /// The Credentials in which the revocation must be recorded.
    seen: Vec<Seen>,
}

impl Sender {
    /// Copies an origin. A request ID without the form of one is left out.
    pub fn of(origin: &Origin<'_>) -> Self {
        let request_id = match origin.request_id {
            Some(RequestId::Id(id)) => Some(id.into()),
            _ => None,
        };
        Self {
            peer: origin.peer,
            request_id,
            trace_id: origin.trace_id.map(Into::into),
        }
    }

    /// Returns the origin.
    pub fn origin(&self) -> Origin<'_> {
        Origin {
            peer: self.peer,
            request_id: self.request_id.as_deref().map(RequestId::Id),
            trace_id: self.trace_id.as_deref(),
        }
    }
}

impl EarlyRevocation {
    /// Returns whether a Credential records the token, with this hash and for this client.
    pub fn is_recorded(&self, directory: &Directory, identity: &ObjectKey) -> bool {
        self.recorded_in(directory, identity).next().is_some()
    }

    fn recorded_in<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &'a ObjectKey,
    ) -> impl Iterator<Item = Seen> + 'a {
        let found = directory.issued_entries(identity, &self.token_id);
        found
            .filter(|(credential, entry)| {
                entry.hash == self.hash && is_issued_to(&self.client, credential, entry)
            })
            .map(|(credential, _)| Seen {
                credential: credential.key.clone(),
                uid: credential.uid.clone(),
                owner: credential.owner.key.clone(),
            })
    }

    fn is_same(&self, other: &Self) -> bool {
        self.token_id == other.token_id && self.hash == other.hash && self.client == other.client
    }
}

impl EarlyRevocations {
    /// Returns whether nothing is remembered.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Remembers a revocation.
    ///
    /// # Errors
    /// [`NotRemembered::Full`].
    pub fn remember(
        &mut self,
        revocation: EarlyRevocation,
        now: Timestamp,
    ) -> Result<(), NotRemembered> {
        let mut rows = self.0.iter_mut();
        if let Some(row) = rows.find(|row| row.revocation.is_same(&revocation)) {
            row.since = now;
            return Ok(());
        }
        let client = &revocation.client;
        let clients = || self.0.iter().map(|row| &row.revocation.client);
        let of_namespace = clients().filter(|other| other.namespace == client.namespace);
        let of_client = clients().filter(|other| *other == client);
        if self.0.len() >= MOST
            || of_namespace.count() >= MOST_OF_NAMESPACE
            || of_client.count() >= MOST_OF_CLIENT
        {
            return Err(NotRemembered::Full);
        }
        self.0.push(Row {
            revocation,
            since: now,
            seen: Vec::new(),
        });
        Ok(())
    }

    /// Refuses the tokens in `directory`. Returns whether it found any, to be recorded in their Credentials.
    pub fn refuse(&mut self, directory: &mut Directory, identity: &ObjectKey) -> bool {
        let mut is_any = false;
        for row in &mut self.0 {
            // A Credential that is gone or was recreated needs no write.
            row.seen.retain(|seen| {
                let known = directory.credential(&seen.credential);
                known.is_some_and(|known| known.uid == seen.uid)
            });
            let found: Vec<Seen> = row.revocation.recorded_in(directory, identity).collect();
            for seen in found {
                directory.revoke(&seen.credential, &row.revocation.token_id);
                is_any = true;
                if !row.seen.contains(&seen) {
                    row.seen.push(seen);
                }
            }
        }
        is_any
    }

    /// Returns what must be recorded.
    pub fn seen(&self) -> Vec<(EarlyRevocation, Seen)> {
        let rows = self.0.iter();
        rows.flat_map(|row| {
            let seen = row.seen.iter();
            seen.map(|seen| (row.revocation.clone(), seen.clone()))
        })
        .collect()
    }

    /// Notes that a revocation is recorded in a Credential. It stays: the token may still move to another Credential.
    pub fn recorded(&mut self, revocation: &EarlyRevocation, seen: &Seen) {
        for row in &mut self.0 {
            if row.revocation.is_same(revocation) {
                row.seen.retain(|other| other != seen);
            }
        }
    }

    /// Forgets the revocations that are older than [`KEEP`] at the time up to which the watches were heard. Those that
    /// must still be recorded stay.
    pub fn forget(&mut self, heard: Timestamp) {
        self.0
            .retain(|row| !row.seen.is_empty() || heard.duration_since(row.since) < KEEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::OwnerKind;
    use crate::tokens::{SeededEntropy, reference};

    fn now() -> Timestamp {
        "2026-02-01T00:00:00Z".parse().unwrap()
    }

    fn identity() -> ObjectKey {
        ObjectKey::new("platform", "main")
    }

    fn early(client: &str, token: &str) -> EarlyRevocation {
        let presented = reference::parse(token).unwrap();
        EarlyRevocation {
            token_id: presented.id,
            hash: presented.hash,
            client: ObjectKey::new("blue", client),
            client_id: format!("blue.{client}").into(),
            sender: Sender::default(),
        }
    }

    /// Returns an invented token of a client.
    fn invented(namespace: &str, client: &str, number: u64) -> EarlyRevocation {
        let mut entropy = SeededEntropy::new(number);
        EarlyRevocation {
            token_id: TokenId::random(&mut entropy),
            hash: TokenHash::of(&number.to_string()),
            client: ObjectKey::new(namespace, client),
            client_id: client.into(),
            sender: Sender::default(),
        }
    }

    #[test]
    fn a_token_that_arrives_after_its_revocation_is_refused_and_recorded_once() {
        let mut world = World::new(QUICKSTART);
        let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
        let presented = reference::parse(token.expose()).unwrap();
        let accepts = |directory: &Directory| {
            let checked = directory.service_token_presented(&identity(), &presented, now());
            checked.is_ok()
        };
        let mut table = EarlyRevocations::default();
        let revocation = early("shop", token.expose());
        table.remember(revocation.clone(), now()).unwrap();
        let mut directory = world.directory.clone();
        assert!(accepts(&directory));
        assert!(table.refuse(&mut directory, &identity()));
        assert!(!accepts(&directory) && !table.refuse(&mut directory, &identity()));
        let seen = table.seen();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].1.owner, ObjectKey::new("blue", "nightly"));
        table.recorded(&revocation, &seen[0].1);
        assert!(table.seen().is_empty());
        // Another Credential brings it again.
        let mut directory = world.directory.clone();
        assert!(table.refuse(&mut directory, &identity()) && !accepts(&directory));
    }

    #[test]
    fn another_clients_token_and_a_token_with_another_hash_stay_accepted() {
        let mut world = World::new(QUICKSTART);
        let token = world.issue(OwnerKind::ServiceAccessToken, "blue", "nightly", now());
        let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", now());
        let mut table = EarlyRevocations::default();
        let forged = EarlyRevocation {
            hash: TokenHash::of("another"),
            ..early("shop", token.expose())
        };
        for other in [
            early("other", token.expose()),
            forged,
            early("shop", secret.expose()),
        ] {
            table.remember(other, now()).unwrap();
        }
        assert!(!table.refuse(&mut world.directory, &identity()));
        assert!(table.seen().is_empty());
    }

    #[test]
    fn a_revocation_is_forgotten_only_after_the_watches_were_heard_long_enough() {
        let mut table = EarlyRevocations::default();
        table.remember(invented("blue", "shop", 1), now()).unwrap();
        table.forget(now() - SignedDuration::from_hours(1));
        table.forget(now() + KEEP - SignedDuration::from_secs(1));
        assert!(!table.is_empty());
        table.forget(now() + KEEP);
        assert!(table.is_empty());
    }

    #[test]
    fn no_client_and_no_namespace_takes_the_places_of_others() {
        let mut table = EarlyRevocations::default();
        let mut numbers = 0..;
        let mut fill = |table: &mut EarlyRevocations, namespace: &str, client: &str| {
            let next = numbers.by_ref().take(MOST_OF_CLIENT + 1);
            let made = next.map(|number| invented(namespace, client, number));
            made.filter(|revocation| table.remember(revocation.clone(), now()).is_ok())
                .count()
        };
        assert_eq!(fill(&mut table, "blue", "a"), MOST_OF_CLIENT);
        assert_eq!(
            table.remember(invented("blue", "a", 0), now()),
            Ok(()),
            "a repeated revocation needs no place"
        );
        assert_eq!(
            fill(&mut table, "blue", "b"),
            MOST_OF_NAMESPACE - MOST_OF_CLIENT
        );
        assert_eq!(fill(&mut table, "blue", "c"), 0);
        assert_eq!(fill(&mut table, "red", "a"), MOST_OF_CLIENT);
        for number in 0..MOST / MOST_OF_CLIENT {
            fill(&mut table, &format!("other-{number}"), "a");
        }
        assert_eq!(table.0.len(), MOST);
        assert_eq!(fill(&mut table, "green", "a"), 0);
    }
}
