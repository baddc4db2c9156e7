//! The origins that clients list in `allowedOrigins`, so that a preflight, which names no client, costs one look-up.

use std::sync::Arc;

use imbl::OrdMap;

use super::record::{ClientRecord, Object};
use crate::directory::ObjectKey;

/// How many valid clients of an Identity list an origin. A copy is cheap.
#[derive(Clone, Debug, Default)]
pub(super) struct Origins(OrdMap<(ObjectKey, Arc<str>), usize>);

impl Origins {
    pub(super) fn insert(&mut self, client: &Object<ClientRecord>) {
        for place in listed(client) {
            *self.0.entry(place).or_default() += 1;
        }
    }

    pub(super) fn remove(&mut self, client: &Object<ClientRecord>) {
        for place in listed(client) {
            match self.0.get_mut(&place) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.0.remove(&place)),
            }
        }
    }

    pub(super) fn contains(&self, identity: &ObjectKey, origin: &str) -> bool {
        self.0.contains_key(&(identity.clone(), origin.into()))
    }
}

fn listed(client: &Object<ClientRecord>) -> impl Iterator<Item = (ObjectKey, Arc<str>)> {
    let record = client.record();
    let of = record.and_then(|record| Some((record.identity.as_ref()?, record)));
    of.into_iter().flat_map(|(identity, record)| {
        let origins = record.interactive.iter().flat_map(|it| &it.allowed_origins);
        origins.map(|origin| (identity.clone(), origin.clone()))
    })
}
