//! Revocations of tokens that no known Credential records. Pure.
//!
//! A client may revoke a token before the server has seen it: the watch may be late, or `symbolon restore rebind` may be
//! moving the token to another Credential. The server then remembers the token, and refuses it in the change that brings
//! it. The check is made when a change of Credentials is published, never at a request.
//!
//! The table is in memory only, so a restart loses it. It is bounded, because each client can invent tokens, and its places
//! are shared: see [`may_take`]. No place is ever taken from a revocation that was answered with 200.
//!
//! Revocations of tokens that have arrived are written to their Credentials, a few at a time. Namespaces take turns.

use std::collections::HashMap;
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
/// A namespace or a client that has fewer than this gets a place while any is free.
const FEW: usize = 4;
/// The most writes under way of the clients of one namespace.
const WRITES_OF_NAMESPACE: usize = 4;
/// The pause after which a revocation that could not be written is tried again.
const RETRY: SignedDuration = SignedDuration::from_secs(5);

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
    /// The token has arrived and is refused, but its revocation is not recorded yet.
    Unwritten,
    /// Too many are remembered: in total, of the namespace, or of the client.
    Full,
}

/// The early revocations that a server remembers.
#[derive(Debug, Default)]
pub(super) struct EarlyRevocations {
    rows: Vec<Row>,
    /// The number of writes that have begun.
    turns: u64,
}

#[derive(Debug)]
struct Row {
    revocation: EarlyRevocation,
    /// When the client first revoked the token. A repeated revocation does not keep the row for longer.
    since: Timestamp,
    /// The Credentials in which the revocation must be recorded.
    writes: Vec<Write>,
    /// The turn in which a write of this row last began; 0: none has.
    turn: u64,
}

/// A Credential in which a revocation must be recorded.
#[derive(Debug)]
struct Write {
    seen: Seen,
    due: Due,
}

/// When a write begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Now,
    /// At this time, because it has failed.
    At(Timestamp),
    UnderWay,
}

/// What the writes of the clients of one namespace have had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Had {
    under_way: usize,
    /// The turn in which one last began.
    turn: u64,
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

    /// Returns whether the token is known to be revoked. Only a token whose owner is gone may still move to another
    /// Credential.
    pub fn is_done(&self, directory: &Directory, identity: &ObjectKey) -> bool {
        directory.has_revoked(identity, &self.client.namespace, &self.token_id)
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

/// Returns whether a group of clients that has `held` of the `taken` places may take another one. There are `most` places.
/// Three quarters are for all, and a group gets at most as many of them as it leaves free. The last quarter is for groups
/// that have [`FEW`]. So a few groups that invent tokens cannot keep the others out.
const fn may_take(held: usize, taken: usize, most: usize) -> bool {
    let left = (most / 4 * 3).saturating_sub(taken);
    taken < most && (held < FEW || held < left)
}

impl EarlyRevocations {
    /// Returns whether nothing is remembered.
    pub const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Returns whether a revocation is remembered.
    ///
    /// # Errors
    /// [`NotRemembered::Unwritten`].
    pub fn has(&self, revocation: &EarlyRevocation) -> Result<bool, NotRemembered> {
        let mut rows = self.rows.iter();
        match rows.find(|row| row.revocation.is_same(revocation)) {
            Some(row) if row.writes.is_empty() => Ok(true),
            Some(_) => Err(NotRemembered::Unwritten),
            None => Ok(false),
        }
    }

    /// Remembers a revocation that is not remembered yet.
    ///
    /// # Errors
    /// [`NotRemembered::Full`].
    pub fn remember(
        &mut self,
        revocation: EarlyRevocation,
        now: Timestamp,
    ) -> Result<(), NotRemembered> {
        let client = &revocation.client;
        let clients = || self.rows.iter().map(|row| &row.revocation.client);
        let of_namespace = clients().filter(|other| other.namespace == client.namespace);
        let of_namespace = of_namespace.count();
        let of_client = clients().filter(|other| *other == client).count();
        if !may_take(of_namespace, self.rows.len(), MOST)
            || !may_take(of_client, of_namespace, MOST_OF_NAMESPACE)
        {
            return Err(NotRemembered::Full);
        }
        self.rows.push(Row {
            revocation,
            since: now,
            writes: Vec::new(),
            turn: 0,
        });
        Ok(())
    }

    /// Refuses the tokens in `directory`. Returns whether it found any, to be recorded in their Credentials.
    pub fn refuse(&mut self, directory: &mut Directory, identity: &ObjectKey) -> bool {
        let mut is_any = false;
        for row in &mut self.rows {
            // A Credential that is gone or was recreated needs no write.
            row.writes.retain(|write| {
                let known = directory.credential(&write.seen.credential);
                known.is_some_and(|known| known.uid == write.seen.uid)
            });
            let found: Vec<Seen> = row.revocation.recorded_in(directory, identity).collect();
            for seen in found {
                directory.revoke(&seen.credential, &row.revocation.token_id);
                is_any = true;
                if !row.writes.iter().any(|write| write.seen == seen) {
                    let due = Due::Now;
                    row.writes.push(Write { seen, due });
                }
            }
        }
        is_any
    }

    /// Begins the next write that is due, of the namespace that has the fewest under way. Among these the one whose last
    /// write began first has its turn.
    pub fn begin(&mut self, now: Timestamp) -> Option<(EarlyRevocation, Seen)> {
        let mut had: HashMap<&str, Had> = HashMap::new();
        for row in &self.rows {
            let of = had.entry(&row.revocation.client.namespace).or_default();
            let under_way = row.writes.iter().filter(|it| it.due == Due::UnderWay);
            of.under_way += under_way.count();
            of.turn = of.turn.max(row.turn);
        }
        let had = |row: &Row| had.get(&*row.revocation.client.namespace).copied();
        let rows = self.rows.iter().enumerate();
        let (_, _, chosen) = rows
            .filter(|(_, row)| row.writes.iter().any(|write| write.is_due(now)))
            .filter_map(|(place, row)| Some((had(row)?, row.turn, place)))
            .filter(|(had, ..)| had.under_way < WRITES_OF_NAMESPACE)
            .min()?;
        self.turns += 1;
        let row = self.rows.get_mut(chosen)?;
        row.turn = self.turns;
        let write = row.writes.iter_mut().find(|write| write.is_due(now))?;
        write.due = Due::UnderWay;
        Some((row.revocation.clone(), write.seen.clone()))
    }

    /// Notes that a revocation is recorded in a Credential. It stays: the token may still move to another Credential.
    pub fn recorded(&mut self, revocation: &EarlyRevocation, seen: &Seen) {
        if let Some(row) = self.row(revocation) {
            row.writes.retain(|write| write.seen != *seen);
        }
    }

    /// Notes that a revocation could not be recorded in a Credential.
    pub fn failed(&mut self, revocation: &EarlyRevocation, seen: &Seen, now: Timestamp) {
        let row = self.row(revocation);
        let mut writes = row.into_iter().flat_map(|row| &mut row.writes);
        if let Some(write) = writes.find(|write| write.seen == *seen) {
            write.due = Due::At(now.saturating_add(RETRY).unwrap_or(now));
        }
    }

    /// Makes all writes due that have failed.
    pub fn hurry(&mut self) {
        for write in self.rows.iter_mut().flat_map(|row| &mut row.writes) {
            if matches!(write.due, Due::At(_)) {
                write.due = Due::Now;
            }
        }
    }

    /// Returns whether a write is under way, or is due and has not failed since [`EarlyRevocations::hurry`].
    pub fn is_writing(&self) -> bool {
        let mut writes = self.rows.iter().flat_map(|row| &row.writes);
        writes.any(|write| !matches!(write.due, Due::At(_)))
    }

    /// Returns the number of revocations whose tokens have not arrived or that could not be written: they are lost with
    /// the process.
    pub fn unrecorded(&self) -> usize {
        let rows = self.rows.iter();
        rows.filter(|row| row.turn == 0 || !row.writes.is_empty())
            .count()
    }

    /// Forgets the revocations that are older than [`KEEP`] at the time up to which the watches were heard. Those that
    /// must still be recorded stay.
    pub fn forget(&mut self, heard: Timestamp) {
        self.rows
            .retain(|row| !row.writes.is_empty() || heard.duration_since(row.since) < KEEP);
    }

    fn row(&mut self, revocation: &EarlyRevocation) -> Option<&mut Row> {
        let mut rows = self.rows.iter_mut();
        rows.find(|row| row.revocation.is_same(revocation))
    }
}

impl Write {
    fn is_due(&self, now: Timestamp) -> bool {
        match self.due {
            Due::Now => true,
            Due::At(at) => at <= now,
            Due::UnderWay => false,
        }
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
        let (written, seen) = table.begin(now()).unwrap();
        assert!(written.is_same(&revocation));
        assert_eq!(seen.owner, ObjectKey::new("blue", "nightly"));
        assert!(table.begin(now()).is_none(), "it is under way");
        table.recorded(&revocation, &seen);
        assert!(!table.is_writing() && table.begin(now()).is_none());
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
        assert!(table.begin(now()).is_none());
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
    fn a_repeated_revocation_keeps_its_place_no_longer_than_the_first() {
        let mut table = EarlyRevocations::default();
        let first = invented("blue", "shop", 1);
        assert_eq!(table.has(&first), Ok(false));
        table.remember(first.clone(), now()).unwrap();
        table.forget(now() + KEEP - SignedDuration::from_secs(1));
        assert_eq!(table.has(&first), Ok(true), "it needs no other place");
        table.forget(now() + KEEP);
        assert_eq!(table.has(&first), Ok(false));
    }

    /// Remembers invented tokens of a client until there is no place, and returns their number.
    fn fill(table: &mut EarlyRevocations, namespace: &str, client: &str) -> usize {
        let first = u64::try_from(table.rows.len()).unwrap() << 16;
        let made = (first..).map(|number| invented(namespace, client, number));
        made.take_while(|revocation| table.remember(revocation.clone(), now()).is_ok())
            .count()
    }

    #[test]
    fn no_client_takes_the_places_of_the_other_clients_of_its_namespace() {
        let mut table = EarlyRevocations::default();
        let alone = fill(&mut table, "blue", "a");
        assert!(alone >= 128, "{alone}");
        for other in 0..16 {
            let got = fill(&mut table, "blue", &format!("other-{other}"));
            assert!(got >= FEW, "{other}: {got}");
        }
        for client in 0..100 {
            fill(&mut table, "blue", &client.to_string());
        }
        assert_eq!(table.rows.len(), MOST_OF_NAMESPACE);
        assert!(fill(&mut table, "red", "a") >= 128);
    }

    #[test]
    fn clients_of_two_hundred_namespaces_that_invent_tokens_leave_places_to_others() {
        let mut table = EarlyRevocations::default();
        for number in 0..200 {
            let namespace = format!("hostile-{number}");
            for client in 0..8 {
                fill(&mut table, &namespace, &client.to_string());
            }
        }
        assert!(table.rows.len() > MOST / 4 * 3);
        assert_eq!(fill(&mut table, "green", "a"), FEW);
        for number in 0..100 {
            fill(&mut table, &format!("{number}"), "a");
        }
        assert_eq!(table.rows.len(), MOST, "the table is bounded");
    }

    /// Remembers invented tokens that have all arrived.
    fn arrived(clients: &[(&str, usize)]) -> EarlyRevocations {
        let mut table = EarlyRevocations::default();
        for (namespace, count) in clients {
            for number in 0..*count {
                let revocation = invented(namespace, "shop", u64::try_from(number).unwrap());
                table.remember(revocation, now()).unwrap();
            }
        }
        for row in &mut table.rows {
            let seen = Seen {
                credential: ObjectKey::new("platform", "c"),
                uid: None,
                owner: row.revocation.client.clone(),
            };
            let due = Due::Now;
            row.writes.push(Write { seen, due });
        }
        table
    }

    fn begun(table: &mut EarlyRevocations, now: Timestamp) -> Vec<String> {
        let begun = std::iter::from_fn(|| table.begin(now));
        begun
            .map(|(revocation, _)| revocation.client.namespace.to_string())
            .collect()
    }

    #[test]
    fn namespaces_take_turns_and_none_takes_all_writes() {
        let mut table = arrived(&[("blue", 100), ("red", 2), ("green", 1)]);
        let begun = begun(&mut table, now());
        assert_eq!(
            begun,
            ["blue", "red", "green", "blue", "red", "blue", "blue"]
        );
    }

    #[test]
    fn a_namespace_with_many_writes_does_not_come_first_again() {
        let mut table = arrived(&[("blue", 100), ("red", 100), ("green", 100)]);
        let mut next = || {
            let (revocation, seen) = table.begin(now()).unwrap();
            table.recorded(&revocation, &seen);
            revocation.client.namespace.to_string()
        };
        let order: Vec<_> = (0..6).map(|_| next()).collect();
        assert_eq!(order, ["blue", "red", "green", "blue", "red", "green"]);
    }

    #[test]
    fn a_write_that_failed_waits_and_the_end_of_the_server_makes_it_due() {
        let mut table = arrived(&[("blue", 1)]);
        let (revocation, seen) = table.begin(now()).unwrap();
        assert!(table.is_writing());
        table.failed(&revocation, &seen, now());
        assert!(table.begin(now()).is_none() && !table.is_writing());
        assert_eq!(table.has(&revocation), Err(NotRemembered::Unwritten));
        assert_eq!(table.unrecorded(), 1);
        table.hurry();
        assert!(table.is_writing() && table.begin(now()).is_some());
        table.failed(&revocation, &seen, now());
        assert!(table.begin(now() + RETRY).is_some());
        table.recorded(&revocation, &seen);
        assert_eq!(table.unrecorded(), 0);
    }
}
