//! Whether a Scope is accepted, who is granted its value, and its audiences.

use std::sync::Arc;

use super::namespace::{audience_problems, not_held};
use super::served::{AcceptedClient, GrantedScope, Served};
use crate::directory::judge::person_scope::StandardScope;
use crate::directory::names::built_in::is_built_in;
use crate::directory::names::{self, NameOwner};
use crate::directory::tables::Directory;
use crate::directory::tables::record::{IdentityRecord, Object, ScopeRecord};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::resources::GrantType;

impl Directory {
    /// Returns everything that is wrong with a Scope.
    pub fn scope_problems(&self, object: &Object<ScopeRecord>) -> Vec<Problem> {
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return problems.clone(),
        };
        let identity = match self.identity_of(record.identity.as_ref()) {
            Ok(identity) => identity,
            Err(problems) => return problems,
        };
        let namespace = &*object.key.namespace;
        let (key, value) = (&identity.object.key, &*record.value);
        let mut problems = Vec::new();
        if !self.is_allowed(&identity.record.scopes, &key.namespace, namespace) {
            problems.push(Problem::error(
                Reason::NamespaceNotAllowed,
                "",
                format!("Identity {key} does not allow Scopes of namespace {namespace}: ask its administrators to add the namespace to spec.access.scopes"),
            ));
        } else if !names::may_use_scope(identity.object, identity.record, namespace, value) {
            problems.push(Problem::error(
                Reason::NameNotOwned,
                "/spec/value",
                format!("namespace {namespace} does not own the scope value {value:?}: write \"{namespace}:…\", or ask the administrators of Identity {key} to grant it in spec.access.names"),
            ));
        } else {
            let owner = self.owner_of_scope(identity.object, identity.record, value);
            problems.extend(not_held(
                &owner,
                &object.key,
                "/spec/value",
                "scope value",
                value,
            ));
        }
        problems.extend(audience_problems(
            identity,
            namespace,
            "/spec/audiences",
            &record.audiences,
        ));
        problems
    }

    /// Returns a scope if the client asks for it and it is granted.
    pub fn granted_scope<'a>(
        &'a self,
        client: &AcceptedClient<'a>,
        value: &str,
    ) -> Option<GrantedScope<'a>> {
        let asked = client
            .client
            .record
            .scopes
            .iter()
            .any(|scope| **scope == *value);
        asked
            .then(|| {
                self.judge_scope(client.identity, &client.client.object.key.namespace, value)
                    .ok()
            })
            .flatten()
    }

    /// Returns all scopes that a client is granted.
    pub fn granted_scopes<'a>(
        &'a self,
        client: &AcceptedClient<'a>,
    ) -> impl Iterator<Item = GrantedScope<'a>> {
        let (identity, namespace) = (client.identity, &client.client.object.key.namespace);
        client
            .client
            .record
            .scopes
            .iter()
            .filter_map(move |value| self.judge_scope(identity, namespace, value).ok())
    }

    /// Returns the scopes that a client asks for and is not granted, each with the reason and who to ask.
    pub fn not_granted(&self, client: &AcceptedClient<'_>) -> Vec<Problem> {
        let namespace = &client.client.object.key.namespace;
        let scopes = client.client.record.scopes.iter().enumerate();
        let judge = |(index, value): (usize, &Arc<str>)| {
            let (reason, message) = match standard_scope_of(client, value) {
                Some(verdict) => verdict.err()?,
                None => self.judge_scope(client.identity, namespace, value).err()?,
            };
            Some(Problem::error(
                reason,
                format!("/spec/scopes/{index}"),
                message,
            ))
        };
        scopes.filter_map(judge).collect()
    }

    /// Grants a scope value to clients of a namespace, or says why not.
    pub(super) fn judge_scope<'a>(
        &'a self,
        identity: Served<'a, IdentityRecord>,
        namespace: &str,
        value: &str,
    ) -> Result<GrantedScope<'a>, (Reason, String)> {
        let key = &identity.object.key;
        let Some(scope) = self
            .scope_by_value(identity.object, identity.record, value)
            .and_then(|object| Served::of(object))
        else {
            let contested = matches!(
                self.owner_of_scope(identity.object, identity.record, value),
                NameOwner::Contested(_)
            );
            let message = if let Some(message) = built_in(value) {
                message
            } else if let Some(scope) = self.faulty_scope(key, value) {
                format!(
                    "Scope {scope} has a fault: ask the team of namespace {} to check its conditions",
                    scope.namespace
                )
            } else if contested {
                format!(
                    "several namespaces claim scope {value:?}: ask the administrators of Identity {key} to grant it to one of them in spec.access.names"
                )
            } else {
                format!(
                    "scope {value:?} does not exist in Identity {key}: create a Scope for it, or correct the value"
                )
            };
            return Err((Reason::ScopeNotFound, message));
        };
        let (object, record) = (scope.object, scope.record);
        if !audience_problems(identity, &object.key.namespace, "", &record.audiences).is_empty() {
            return Err((
                Reason::ScopeNotFound,
                format!(
                    "Scope {} is not accepted: ask the team of namespace {} to check its conditions",
                    object.key, object.key.namespace
                ),
            ));
        }
        if record.disabled {
            return Err((
                Reason::ScopeNotGranted,
                format!(
                    "Scope {} is disabled: ask the team of namespace {} to enable it",
                    object.key, object.key.namespace
                ),
            ));
        }
        if !self.is_allowed(&record.allowed, &object.key.namespace, namespace) {
            return Err((
                Reason::ScopeNotGranted,
                format!(
                    "Scope {} does not allow namespace {namespace}: ask the team of namespace {} to add it to spec.allowedNamespaces",
                    object.key, object.key.namespace
                ),
            ));
        }
        Ok(GrantedScope { scope })
    }

    /// Returns the Scope with a fault whose name gives it `value` by default. The `spec.value` of a Scope with a fault
    /// is not kept, so it cannot be compared.
    fn faulty_scope(&self, identity: &ObjectKey, value: &str) -> Option<ObjectKey> {
        let beside = Some(ObjectKey::new(&identity.namespace, value));
        let elsewhere = value.split_once(':');
        let elsewhere = elsewhere.map(|(namespace, name)| ObjectKey::new(namespace, name));
        let is_faulty = |key: &ObjectKey| self.scope(key).is_some_and(|it| it.state.is_err());
        beside.into_iter().chain(elsewhere).find(is_faulty)
    }
}

/// Judges a standard scope of a client with the grant of authorization codes; `None` for anything else.
fn standard_scope_of(
    client: &AcceptedClient<'_>,
    value: &str,
) -> Option<Result<(), (Reason, String)>> {
    let record = client.client.record;
    let scope = StandardScope::parse(value).filter(|_| record.interactive.is_some())?;
    let is_useless =
        scope == StandardScope::OfflineAccess && !record.may_use(GrantType::RefreshToken);
    Some(if is_useless {
        let message = "scope \"offline_access\" asks for refresh tokens: add RefreshToken to grantTypes, or remove the scope";
        Err((Reason::ScopeNotGranted, message.to_owned()))
    } else {
        Ok(())
    })
}

/// Returns the audiences of a scope: its own, or the default of its namespace.
pub fn audiences_of(
    identity: Served<'_, IdentityRecord>,
    scope: Served<'_, ScopeRecord>,
) -> Vec<Arc<str>> {
    if !scope.record.audiences.is_empty() {
        return scope.record.audiences.clone();
    }
    let namespace = &scope.object.key.namespace;
    if *namespace == identity.object.key.namespace {
        vec![identity.record.issuer.clone()]
    } else {
        vec![format!("{}/{namespace}", identity.record.issuer).into()]
    }
}

/// Returns whether a scope has this audience: like [`audiences_of`], without an allocation.
pub fn is_audience_of(
    identity: Served<'_, IdentityRecord>,
    scope: Served<'_, ScopeRecord>,
    audience: &str,
) -> bool {
    if !scope.record.audiences.is_empty() {
        return scope.record.audiences.iter().any(|it| **it == *audience);
    }
    let (issuer, namespace) = (&*identity.record.issuer, &scope.object.key.namespace);
    if *namespace == identity.object.key.namespace {
        return audience == issuer;
    }
    let below = audience
        .strip_prefix(issuer)
        .and_then(|rest| rest.strip_prefix('/'));
    below == Some(&**namespace)
}

/// Returns the message for a scope value that no Scope can have, where it is not granted.
pub(super) fn built_in(value: &str) -> Option<String> {
    if !is_built_in(value) {
        return None;
    }
    Some(if StandardScope::parse(value).is_some() {
        format!(
            "scope {value:?} is about people: only clients with AuthorizationCode in grantTypes can have it"
        )
    } else {
        format!("scope {value:?} is reserved, and no client can have it: remove it")
    })
}
