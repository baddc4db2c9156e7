//! The URLs that the status of an Identity announces, so that people can copy them.

use serde_json::{Value, json};

use crate::directory::tables::record::IdentityRecord;
use crate::oauth::Endpoint;
use crate::reconcile::fleet::{FleetOutcome, RolloutPhase};
use crate::resources::{Endpoints, StorageType};

/// Whether an Identity is served as its spec says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ServedState {
    /// Some pods serve it, and all of them as the spec says. The operator does not know the servers that users run
    /// themselves: it takes them to do the same.
    Served,
    /// It should have no pods.
    NotServed,
    /// The pods are about to, or cannot be judged: what was announced before stays.
    Unknown,
}

impl ServedState {
    pub(super) fn of(has_keys: bool, pods: Option<&FleetOutcome>) -> Self {
        let rollout = pods.map(|pods| (&pods.rollout, &pods.problem));
        match rollout {
            _ if !has_keys => Self::Unknown,
            Some((Some(rollout), _)) => match rollout.phase {
                RolloutPhase::Complete if rollout.ready > 0 => Self::Served,
                RolloutPhase::Complete => Self::NotServed,
                RolloutPhase::Under(_) | RolloutPhase::Failed(_) => Self::Unknown,
            },
            Some((None, None)) => Self::Served,
            Some((None, Some(_))) | None => Self::Unknown,
        }
    }
}

/// Returns the URLs of an accepted Identity.
pub(super) fn of(record: &IdentityRecord) -> Value {
    let url = |endpoint: Endpoint| endpoint.url(&record.issuer);
    let has_people = record.storage != StorageType::None && record.has_passwords;
    let of_people = |endpoint| has_people.then(|| url(endpoint));
    json!(Endpoints {
        issuer: Some(record.issuer.to_string()),
        discovery: url(Endpoint::OpenIdConfiguration),
        jwks: Some(url(Endpoint::Jwks)),
        token: url(Endpoint::Token),
        introspection: url(Endpoint::Introspection),
        revocation: Some(url(Endpoint::Revocation)),
        authorization: of_people(Endpoint::Authorize),
        pushed_authorization_request: of_people(Endpoint::PushedRequest),
        userinfo: of_people(Endpoint::UserInfo),
        end_session: of_people(Endpoint::EndSession),
    })
}
