//! Whether a ServiceAccessToken may be issued now.

use std::sync::Arc;

use jiff::Timestamp;

use super::namespace::quota;
use super::scope::built_in;
use super::served::{AcceptedClient, Served};
use crate::directory::tables::Directory;
use crate::directory::tables::record::{IdentityRecord, Object, ServiceTokenRecord};
use crate::directory::values::duration::format_duration;
use crate::directory::{Lifetime, Problem, Reason};
use crate::resources::ReferenceTokens;

/// Place where a ServiceAccessToken names its client.
const CLIENT_REF: &str = "/spec/clientRef/name";

impl Directory {
    /// Returns everything that keeps a ServiceAccessToken from being issued now. If the object itself is invalid,
    /// only that.
    pub fn service_token_problems(
        &self,
        object: &Object<ServiceTokenRecord>,
        now: Timestamp,
    ) -> Vec<Problem> {
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return problems.clone(),
        };
        match self.client_of_token(record) {
            Ok(client) => self.refusals_of_token(object, record, &client, now),
            Err(problem) => vec![problem],
        }
    }

    /// Returns the client that a ServiceAccessToken names, if the client is accepted.
    pub(in crate::directory) fn client_of_token<'a>(
        &'a self,
        record: &ServiceTokenRecord,
    ) -> Result<AcceptedClient<'a>, Problem> {
        let Some(client) = self.client(&record.client) else {
            return Err(Problem::error(
                Reason::ClientNotFound,
                CLIENT_REF,
                format!(
                    "OAuthClient {} does not exist: create it, or name another one in spec.clientRef",
                    record.client
                ),
            ));
        };
        self.accepted_client(client).map_err(|problems| {
            let why = problems
                .first()
                .map(|problem| problem.reason.as_str())
                .unwrap_or_default();
            Problem::error(
                Reason::Pending,
                CLIENT_REF,
                format!(
                    "OAuthClient {} is not accepted ({why}): see its conditions",
                    record.client
                ),
            )
        })
    }

    /// Returns what else keeps a ServiceAccessToken of an accepted client from being issued now.
    pub(in crate::directory) fn refusals_of_token(
        &self,
        object: &Object<ServiceTokenRecord>,
        record: &ServiceTokenRecord,
        client: &AcceptedClient<'_>,
        now: Timestamp,
    ) -> Vec<Problem> {
        let mut problems = client_refusals(client, CLIENT_REF);
        problems.extend(self.scopes_of_token(client, record));
        problems.extend(lifetime_problem(client.identity, record, now));
        if !self.is_within_quota(object, client.identity.record) {
            problems.push(quota(
                &client.identity.object.key,
                &object.key.namespace,
                "ServiceAccessTokens",
                client.identity.record.max_service_tokens,
                "serviceTokens",
            ));
        }
        problems
    }

    fn scopes_of_token(
        &self,
        client: &AcceptedClient<'_>,
        token: &ServiceTokenRecord,
    ) -> Vec<Problem> {
        let judge = |(index, value): (usize, &Arc<str>)| {
            let (reason, message) = if client.client.record.scopes.contains(value) {
                self.judge_scope(client.identity, &client.client.object.key.namespace, value)
                    .err()?
            } else if let Some(message) = built_in(value) {
                (Reason::ScopeNotFound, message)
            } else {
                (
                    Reason::ScopeNotGranted,
                    format!(
                        "OAuthClient {} does not have scope {value:?}: add it to the client's spec.scopes, or remove it here",
                        client.client.object.key
                    ),
                )
            };
            Some(Problem::error(
                reason,
                format!("/spec/scopes/{index}"),
                message,
            ))
        };
        token.scopes.iter().enumerate().filter_map(judge).collect()
    }
}

fn client_refusals(accepted: &AcceptedClient<'_>, path: &str) -> Vec<Problem> {
    let (key, record) = (&accepted.client.object.key, accepted.client.record);
    let mut problems = Vec::new();
    if record.disabled {
        problems.push(Problem::error(
            Reason::Pending,
            path,
            format!("OAuthClient {key} is disabled: set its spec.disabled to false"),
        ));
    }
    if record.system_user.is_none() {
        problems.push(Problem::error(
            Reason::SystemUserMissing,
            path,
            format!("OAuthClient {key} has no system user to act as: set its spec.systemUser.name"),
        ));
    }
    if record.reference_tokens == ReferenceTokens::None {
        problems.push(Problem::error(
            Reason::ReferenceTokensDisabled,
            path,
            format!("OAuthClient {key} does not allow reference tokens: set its spec.referenceTokens to AdministratorsOnly"),
        ));
    }
    problems
}

fn lifetime_problem(
    identity: Served<'_, IdentityRecord>,
    token: &ServiceTokenRecord,
    now: Timestamp,
) -> Option<Problem> {
    let (key, record) = (&identity.object.key, identity.record);
    let most = record.max_service_token_lifetime;
    let exceeded = |path: &str, what: &str| {
        Some(Problem::error(
            Reason::LimitExceeded,
            path,
            format!(
                "{what}: Identity {key} allows at most {}: reduce it, or ask its administrators to raise spec.limits.maxServiceTokenLifetime",
                format_duration(most)
            ),
        ))
    };
    match token.lifetime? {
        Lifetime::For(lifetime) if lifetime > most => {
            exceeded("/spec/lifetime", "lifetime is too long")
        }
        Lifetime::Until(end) if end <= now => Some(Problem::error(
            Reason::Expired,
            "/spec/expiresAt",
            "expiresAt is in the past: set a later time, or delete the ServiceAccessToken",
        )),
        Lifetime::Until(end) if end.duration_since(now) > most => {
            exceeded("/spec/expiresAt", "expiresAt is too far in the future")
        }
        Lifetime::Never if !record.never_expiring_tokens => Some(Problem::error(
            Reason::LimitExceeded,
            "/spec/neverExpires",
            format!(
                "Identity {key} does not allow tokens that never expire: set a lifetime, or ask its administrators to set spec.limits.neverExpiringTokens to Allow"
            ),
        )),
        _ => None,
    }
}
