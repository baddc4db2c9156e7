//! Whether an OAuthClient is accepted.

use super::namespace::{audience_problems, not_held, quota};
use super::served::{AcceptedClient, Served};
use crate::directory::names;
use crate::directory::tables::Directory;
use crate::directory::tables::record::{ClientRecord, Object};
use crate::directory::{ObjectKey, Problem, Reason};

impl Directory {
    /// Returns everything that keeps an OAuthClient from being served. Scopes that are not granted are reported
    /// separately.
    pub fn client_problems(&self, object: &Object<ClientRecord>) -> Vec<Problem> {
        match self.client_standing(object) {
            Ok((_, problems)) | Err(problems) => problems,
        }
    }

    /// Returns an OAuthClient if it is accepted, disabled or not.
    pub fn accepted_client<'a>(
        &'a self,
        object: &'a Object<ClientRecord>,
    ) -> Result<AcceptedClient<'a>, Vec<Problem>> {
        match self.client_standing(object)? {
            (accepted, problems) if problems.is_empty() => Ok(accepted),
            (_, problems) => Err(problems),
        }
    }

    fn client_standing<'a>(
        &'a self,
        object: &'a Object<ClientRecord>,
    ) -> Result<(AcceptedClient<'a>, Vec<Problem>), Vec<Problem>> {
        let record = object.state.as_ref().map_err(Clone::clone)?;
        let identity = self.identity_of(record.identity.as_ref())?;
        let namespace = &*object.key.namespace;
        let (key, client_id) = (&identity.object.key, &*record.client_id);
        let mut problems = Vec::new();
        if !self.is_allowed(&identity.record.clients, &key.namespace, namespace) {
            problems.push(Problem::error(
                Reason::NamespaceNotAllowed,
                "",
                format!("Identity {key} does not allow clients of namespace {namespace}: ask its administrators to add the namespace to spec.access.clients"),
            ));
        } else if !names::may_use_client_id(identity.object, identity.record, namespace, client_id)
        {
            problems.push(Problem::error(
                Reason::NameNotOwned,
                "/spec/clientId",
                format!("namespace {namespace} does not own the client id {client_id:?}: write \"{namespace}.…\", or ask the administrators of Identity {key} to grant it in spec.access.names"),
            ));
        } else {
            let owner = self.owner_of_client_id(identity.object, identity.record, client_id);
            problems.extend(not_held(
                &owner,
                &object.key,
                "/spec/clientId",
                "client id",
                client_id,
            ));
        }
        if !self.client_is_within_quota(object, identity.record.max_clients) {
            problems.push(quota(
                key,
                namespace,
                "OAuthClients",
                identity.record.max_clients,
                "clients",
            ));
        }
        problems.extend(audience_problems(
            identity,
            namespace,
            "/spec/resourceServer/audiences",
            &record.audiences,
        ));
        if let Some(algorithm) = record
            .algorithm
            .filter(|algorithm| !identity.record.algorithms.contains(algorithm))
        {
            let offered = &identity.record.algorithms;
            problems.push(Problem::error(
                Reason::Invalid,
                "/spec/tokens/algorithm",
                format!(
                    "Identity {key} does not sign with {algorithm:?}: choose one of {offered:?}"
                ),
            ));
        }
        Ok((
            AcceptedClient {
                identity,
                client: Served { object, record },
            },
            problems,
        ))
    }

    /// Returns the client with a client id if it is accepted and not disabled.
    pub fn active_client<'a>(
        &'a self,
        identity: &ObjectKey,
        client_id: &str,
    ) -> Option<AcceptedClient<'a>> {
        let identity = self.served_identity(identity).ok()?;
        let object = self.client_by_id(identity.object, identity.record, client_id)?;
        self.accepted_client(object)
            .ok()
            .filter(|accepted| !accepted.client.record.disabled)
    }
}
