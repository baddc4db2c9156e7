//! A client as the grants of people see it: what its registration says, within the ceilings of its Identity.

use jiff::SignedDuration;

use super::served::AcceptedClient;
use crate::directory::tables::Directory;
use crate::directory::{Problem, Reason};
use crate::resources::{ConsentPolicy, GrantType, IdTokenContent, StorageType};

/// A client, as the grants of people see it.
#[derive(Clone, Copy, Debug)]
pub struct PersonClient<'a> {
    /// The client, authenticated as its registration demands.
    pub accepted: AcceptedClient<'a>,
    /// Whether it is public: it has no credentials (RFC 6749 section 2.1).
    pub is_public: bool,
    /// Whether it may use authorization codes.
    pub may_use_codes: bool,
    /// Whether it may use refresh tokens.
    pub may_refresh: bool,
    /// When people are asked for consent.
    pub consent: ConsentPolicy,
    /// How long its ID tokens are valid.
    pub id_token_lifetime: SignedDuration,
    /// What its ID tokens say about the person.
    pub id_token_claims: IdTokenContent,
}

impl Directory {
    /// Returns what a client may do for people now.
    pub fn person_client<'a>(&self, accepted: AcceptedClient<'a>) -> PersonClient<'a> {
        let (identity, record) = (accepted.identity.record, accepted.client.record);
        let interactive = record.interactive.as_deref();
        let may_use_codes =
            interactive.is_some() && self.interactive_problems(&accepted).is_empty();
        let lifetime = interactive.and_then(|it| it.id_token_lifetime);
        let consent = interactive.map_or(ConsentPolicy::Remember, |it| it.consent);
        PersonClient {
            is_public: record.is_public,
            may_use_codes,
            may_refresh: may_use_codes && record.may_use(GrantType::RefreshToken),
            consent: match consent {
                ConsentPolicy::Skip if !self.may_skip_consent(&accepted) => ConsentPolicy::Remember,
                consent => consent,
            },
            id_token_lifetime: lifetime.unwrap_or(identity.id_token_lifetime),
            id_token_claims: interactive.map_or_else(Default::default, |it| it.id_token_claims),
            accepted,
        }
    }

    /// Returns what keeps an accepted client with the grant of authorization codes from signing in people. Its other
    /// grants do not depend on it.
    pub fn interactive_problems(&self, client: &AcceptedClient<'_>) -> Vec<Problem> {
        if client.client.record.interactive.is_none() {
            return Vec::new();
        }
        let (key, identity) = (&client.identity.object.key, client.identity.record);
        let (own, namespace) = namespaces(client);
        let mut problems = Vec::new();
        if !self.is_allowed(&identity.interactive_clients, own, namespace) {
            problems.push(Problem::error(
                Reason::NamespaceNotAllowed,
                "/spec/grantTypes",
                format!("Identity {key} does not allow clients of namespace {namespace} to sign in people: ask its administrators to add the namespace to spec.access.interactiveClients"),
            ));
        }
        if identity.storage == StorageType::None {
            problems.push(Problem::error(
                Reason::StorageRequired,
                "/spec/grantTypes",
                format!("Identity {key} stores nothing, so that no one can sign in: ask its administrators to set spec.storage.type to SQLite or PostgreSQL"),
            ));
        }
        problems
    }

    fn may_skip_consent(&self, client: &AcceptedClient<'_>) -> bool {
        let (own, namespace) = namespaces(client);
        self.is_allowed(&client.identity.record.skip_consent, own, namespace)
    }

    /// Returns a warning if the Identity does not let a client skip consent.
    pub fn consent_is_asked(&self, client: &AcceptedClient<'_>) -> Option<Problem> {
        let wanted = client.client.record.interactive.as_ref()?.consent;
        let is_asked = wanted == ConsentPolicy::Skip && !self.may_skip_consent(client);
        is_asked.then(|| {
            let (_, namespace) = namespaces(client);
            let identity = client.identity;
            let message = format!("Identity {} does not allow clients of namespace {namespace} to skip consent, so that people are asked once for each scope: remove this field, or ask its administrators to add the namespace to spec.access.skipConsent", identity.object.key);
            Problem::warning(Reason::LimitExceeded, "/spec/consent", message)
        })
    }
}

/// Returns the namespaces of the Identity and of the client.
fn namespaces<'a>(client: &AcceptedClient<'a>) -> (&'a str, &'a str) {
    let own = &client.identity.object.key.namespace;
    (own, &client.client.object.key.namespace)
}
