//! The standing of each object among all others: its Identity, whether it is accepted, and what it is granted.
//! Conditions, diagnostics and HTTP replies use the same answers.

pub(super) mod desired;
pub mod token_size;

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::names::built_in::BUILT_IN_SCOPES;
use super::names::{self, NameOwner};
use super::tables::Directory;
use super::tables::record::{
    ClientRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord,
};
use super::values::duration::format_duration;
use super::{Lifetime, ObjectKey, Problem, Reason};
use crate::resources::ReferenceTokens;
use crate::tokens::jwt::AccessTokenType;

/// A valid object with its record at hand.
#[derive(Debug)]
pub struct Served<'a, T> {
    /// The object.
    pub object: &'a Object<T>,
    /// Its record.
    pub record: &'a T,
}

// Not derived: a derive would require `T: Copy`.
impl<T> Clone for Served<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Served<'_, T> {}

impl<'a, T> Served<'a, T> {
    fn of(object: &'a Object<T>) -> Option<Self> {
        Some(Self {
            object,
            record: object.record()?,
        })
    }
}

/// An accepted client of an Identity. It may be disabled; its grants are a separate question.
#[derive(Clone, Copy, Debug)]
pub struct AcceptedClient<'a> {
    /// The client's Identity.
    pub identity: Served<'a, IdentityRecord>,
    /// The client.
    pub client: Served<'a, ClientRecord>,
}

impl AcceptedClient<'_> {
    /// Returns the lifetime of the client's access tokens: the client's, else the Identity's, at most the Identity's
    /// limit.
    pub fn access_token_lifetime(&self) -> SignedDuration {
        let identity = self.identity.record;
        let asked = self.client.record.access_token_lifetime;
        asked
            .unwrap_or(identity.access_token_lifetime)
            .min(identity.max_access_token_lifetime)
    }

    /// Returns the `typ` of the client's access tokens.
    pub fn access_token_type(&self) -> AccessTokenType {
        let asked = self.client.record.access_token_type;
        asked.unwrap_or(self.identity.record.access_token_type)
    }
}

/// A scope that a client is granted.
#[derive(Clone, Copy, Debug)]
pub struct GrantedScope<'a> {
    /// The Scope.
    pub scope: Served<'a, ScopeRecord>,
}

impl GrantedScope<'_> {
    /// Returns the scope value.
    pub fn value(&self) -> &Arc<str> {
        &self.scope.record.value
    }
}

impl Directory {
    /// Returns an Identity if it is served.
    pub fn served_identity(
        &self,
        key: &ObjectKey,
    ) -> Result<Served<'_, IdentityRecord>, Vec<Problem>> {
        let not_found = || {
            vec![Problem::error(
                Reason::IdentityNotFound,
                "/spec/identityRef",
                format!(
                    "Identity {key} does not exist: create it, or name another one in spec.identityRef"
                ),
            )]
        };
        let object = self.identity(key).ok_or_else(not_found)?;
        let problems = self.identity_problems(object);
        match Served::of(object) {
            Some(served) if problems.is_empty() => Ok(served),
            _ => Err(vec![Problem::error(
                Reason::IdentityNotReady,
                "/spec/identityRef",
                format!(
                    "Identity {key} is not served: ask its administrators to check its conditions"
                ),
            )]),
        }
    }

    /// Returns what is wrong with an Identity.
    pub fn identity_problems(&self, object: &Object<IdentityRecord>) -> Vec<Problem> {
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return problems.clone(),
        };
        if !self.accepts(object) {
            return vec![self.elsewhere(object)];
        }
        // A scan is enough: there are few Identities, since administrators create them.
        let owner = self.identities().find(|other| {
            other.key != object.key
                && self.accepts(other)
                && other.record().is_some_and(|it| it.site == record.site)
                && self.issuer_rank(other) < self.issuer_rank(object)
        });
        let conflict = |other: &Arc<Object<IdentityRecord>>| {
            Problem::error(
                Reason::IssuerConflict,
                "/spec/issuer",
                format!(
                    "Identity {} already has this issuer: delete one of the two, or create this one with another issuer",
                    other.key
                ),
            )
        };
        owner.map(conflict).into_iter().collect()
    }

    /// Ranks Identities that claim one issuer, the owner first: the installation's default Identity, then namespaces
    /// in the order of the installation's list. Age decides only between equals, since a recreated Identity is the
    /// youngest.
    fn issuer_rank<'a>(
        &self,
        object: &'a Object<IdentityRecord>,
    ) -> (bool, usize, Timestamp, &'a ObjectKey) {
        let settings = self.settings();
        let is_default = settings.default_identity.as_ref() == Some(&object.key);
        let mut listed = settings.identity_namespaces.iter();
        let place = listed.position(|name| *name == *object.key.namespace);
        let place = place.unwrap_or(usize::MAX);
        (!is_default, place, object.created, &object.key)
    }

    fn accepts(&self, object: &Object<IdentityRecord>) -> bool {
        self.settings().accepts_identities_of(&object.key.namespace)
    }

    fn elsewhere(&self, object: &Object<IdentityRecord>) -> Problem {
        Problem::error(
            Reason::NamespaceNotAllowed,
            "/metadata/namespace",
            format!(
                "the installation accepts Identities in {} and not in {}: create this one there, or ask the operator's administrators to add --identity-namespace {}",
                self.settings().identity_namespaces.join(", "),
                object.key.namespace,
                object.key.namespace
            ),
        )
    }

    fn identity_of(
        &self,
        reference: Option<&ObjectKey>,
    ) -> Result<Served<'_, IdentityRecord>, Vec<Problem>> {
        let missing = || {
            vec![Problem::error(
                Reason::IdentityNotFound,
                "/spec",
                "the object names no Identity and the installation has no default one: set spec.identityRef.name (and namespace)",
            )]
        };
        self.served_identity(reference.ok_or_else(missing)?)
    }

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
            let (reason, message) = self.judge_scope(client.identity, namespace, value).err()?;
            Some(Problem::error(
                reason,
                format!("/spec/scopes/{index}"),
                message,
            ))
        };
        scopes.filter_map(judge).collect()
    }

    /// Grants a scope value to clients of a namespace, or says why not.
    fn judge_scope<'a>(
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
    pub(super) fn client_of_token<'a>(
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
    pub(super) fn refusals_of_token(
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

/// Returns the message for a scope value that no Scope can have.
fn built_in(value: &str) -> Option<String> {
    BUILT_IN_SCOPES.contains(&value).then(|| {
        format!(
            "scope {value:?} is built in and is about people, who cannot sign in yet: remove it; a later release will have it"
        )
    })
}

/// Place where a ServiceAccessToken names its client.
const CLIENT_REF: &str = "/spec/clientRef/name";

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

fn quota(identity: &ObjectKey, namespace: &str, kinds: &str, limit: usize, field: &str) -> Problem {
    Problem::error(
        Reason::LimitExceeded,
        "",
        format!(
            "namespace {namespace} has more {kinds} than Identity {identity} serves ({limit}): delete some, or ask its administrators to raise spec.limits.perNamespace.{field}"
        ),
    )
}

fn not_held<T>(
    owner: &NameOwner<'_, T>,
    key: &ObjectKey,
    path: &str,
    what: &str,
    name: &str,
) -> Option<Problem> {
    let message = match owner {
        NameOwner::Object(owner) if owner.key == *key => return None,
        NameOwner::Object(owner) => {
            format!("{what} {name:?} belongs to {}: choose another", owner.key)
        }
        NameOwner::Contested(namespaces) => {
            format!(
                "{what} {name:?} is granted to several namespaces, and more than one uses it ({}): ask the Identity's administrators to grant it to one",
                namespaces.join(", ")
            )
        }
        NameOwner::Unclaimed => format!("this object does not own the {what} {name:?}"),
    };
    Some(Problem::error(Reason::ValueConflict, path, message))
}

fn audience_problems(
    identity: Served<'_, IdentityRecord>,
    namespace: &str,
    path: &str,
    audiences: &[Arc<str>],
) -> Vec<Problem> {
    let owned = |audience: &str| {
        names::may_use_audience(identity.object, identity.record, namespace, audience)
    };
    let refuse = |(index, audience): (usize, &Arc<str>)| {
        let message = format!(
            "namespace {namespace} does not own the audience {audience:?}: write \"{}/{namespace}\" or below it, or ask the administrators of Identity {} to grant it in spec.access.names",
            identity.record.issuer, identity.object.key
        );
        Problem::error(Reason::NameNotOwned, format!("{path}/{index}"), message)
    };
    audiences
        .iter()
        .enumerate()
        .filter(|(_, audience)| !owned(audience))
        .map(refuse)
        .collect()
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
