//! Limits the revocations under way.
//!
//! Each revocation sends a request to the Kubernetes API and waits for it. If the API does not answer, revocations pile
//! up until their deadline. So their number is limited in total, for the clients of one namespace, and for one client:
//! a client that floods this endpoint leaves places to its namespace, and a namespace leaves places to the others.

use std::sync::{Arc, Mutex, MutexGuard};

use super::ServerLimits;
use crate::directory::ObjectKey;
use crate::lock::lock;

/// The revocations under way.
#[derive(Debug)]
pub(super) struct Revocations {
    most: usize,
    most_of_namespace: usize,
    most_of_client: usize,
    /// The clients of the revocations under way, one entry for each revocation.
    clients: Mutex<Vec<ObjectKey>>,
}

/// A revocation under way. It stops counting when this is dropped.
#[derive(Debug)]
pub(super) struct UnderWay {
    revocations: Arc<Revocations>,
    client: ObjectKey,
}

impl Revocations {
    pub fn new(limits: &ServerLimits) -> Self {
        Self {
            most: limits.revocations,
            most_of_namespace: limits.revocations_per_namespace,
            most_of_client: limits.revocations_per_client,
            clients: Mutex::default(),
        }
    }

    /// Counts a revocation that a client requests. Returns `None` if too many are under way: in total, of its
    /// namespace, or of the client.
    pub fn begin(self: &Arc<Self>, client: &ObjectKey) -> Option<UnderWay> {
        let mut clients = self.clients();
        let is_neighbour = |other: &&ObjectKey| other.namespace == client.namespace;
        let of_namespace = clients.iter().filter(is_neighbour).count();
        let of_client = clients.iter().filter(|other| *other == client).count();
        let is_within = clients.len() < self.most
            && of_namespace < self.most_of_namespace
            && of_client < self.most_of_client;
        is_within.then(|| {
            clients.push(client.clone());
            UnderWay {
                revocations: Arc::clone(self),
                client: client.clone(),
            }
        })
    }

    fn end(&self, client: &ObjectKey) {
        let mut clients = self.clients();
        if let Some(place) = clients.iter().position(|other| other == client) {
            clients.swap_remove(place);
        }
    }

    fn clients(&self) -> MutexGuard<'_, Vec<ObjectKey>> {
        lock(&self.clients)
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.revocations.end(&self.client);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revocations() -> Arc<Revocations> {
        Arc::new(Revocations::new(&ServerLimits {
            revocations: 5,
            revocations_per_namespace: 3,
            revocations_per_client: 2,
            ..ServerLimits::default()
        }))
    }

    fn client(namespace: &str, name: &str) -> ObjectKey {
        ObjectKey::new(namespace, name)
    }

    #[test]
    fn no_client_takes_the_places_of_others_and_no_namespace_those_of_other_namespaces() {
        let revocations = revocations();
        let begin = |namespace: &str, name: &str| revocations.begin(&client(namespace, name));
        let mut held: Vec<_> = (0..9).filter_map(|_| begin("blue", "a")).collect();
        assert_eq!(held.len(), 2, "the share of a client");
        held.extend((0..9).filter_map(|_| begin("blue", "b")));
        assert_eq!(held.len(), 3, "the share of a namespace");
        held.extend((0..9).filter_map(|_| begin("red", "a")));
        assert_eq!(held.len(), 5, "another namespace has places");
        assert!(begin("green", "a").is_none(), "all are taken");
    }

    #[test]
    fn a_revocation_that_ended_frees_its_place_and_leaves_nothing_behind() {
        let revocations = revocations();
        let client = client("blue", "a");
        let held = [revocations.begin(&client), revocations.begin(&client)];
        assert!(held.iter().all(Option::is_some));
        assert!(revocations.begin(&client).is_none());
        drop(held);
        assert!(revocations.begin(&client).is_some());
        assert!(revocations.clients().is_empty());
    }
}
