//! Explains which rule grants or refuses something, step by step, in the order in which the rules are evaluated.
//!
//! The verdicts are those of [`Directory`]; only the texts for rules that hold are written here.

mod diagnose;
mod people;
mod unwritten;

use jiff::Timestamp;
use serde::Serialize;

use super::tables::record::{
    ClientRecord, IdentityRecord, NamespaceRule, Object, ScopeRecord, ServiceTokenRecord,
};
use super::template::secret_metadata::{AllowedMetadata, MetadataField};
use super::values::duration::format_duration;
use super::{
    AcceptedClient, Directory, Lifetime, ObjectKey, Problem, Reason, Served, StandardScope,
};
use crate::resources::{GrantType, NamespacesFrom, ReferenceTokens, Template};
use crate::tokens::jwt::TokenType;

/// One rule and its verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleVerdict {
    /// Name of the rule, for programs.
    pub rule: &'static str,
    /// The verdict.
    pub verdict: Verdict,
    /// Why, and for a refusal also what to write instead or who to ask.
    pub message: String,
}

/// The verdict of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The rule is satisfied.
    Holds,
    /// The rule refuses.
    Refuses,
}

/// Steps so far, and the problems that no step has used yet.
struct Steps {
    steps: Vec<RuleVerdict>,
    problems: Vec<Problem>,
}

impl Steps {
    const fn new(problems: Vec<Problem>) -> Self {
        Self {
            steps: Vec::new(),
            problems,
        }
    }

    fn holds(&mut self, rule: &'static str, message: impl Into<String>) {
        self.steps.push(RuleVerdict {
            rule,
            verdict: Verdict::Holds,
            message: message.into(),
        });
    }

    fn refuses(&mut self, rule: &'static str, message: impl Into<String>) {
        self.steps.push(RuleVerdict {
            rule,
            verdict: Verdict::Refuses,
            message: message.into(),
        });
    }

    /// Adds a rule that holds unless a problem at or below `path` has one of these reasons.
    fn ask(
        &mut self,
        rule: &'static str,
        reasons: &[Reason],
        path: &str,
        holds: impl FnOnce() -> String,
    ) -> bool {
        let inside = |place: &str| {
            place
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || path.is_empty() || rest.starts_with('/'))
        };
        let about =
            |problem: &mut Problem| reasons.contains(&problem.reason) && inside(&problem.path);
        let refusals: Vec<Problem> = self.problems.extract_if(.., about).collect();
        for problem in &refusals {
            self.refuses(rule, problem.message.clone());
        }
        if refusals.is_empty() {
            self.holds(rule, holds());
        }
        refusals.is_empty()
    }

    /// Explains what the template of a Secret may set. A key that is not allowed is left out and refuses nothing.
    fn secret_metadata(
        &mut self,
        identity: &ObjectKey,
        allowed: &AllowedMetadata,
        template: Option<&Template>,
    ) {
        let Some(template) = template else { return };
        let fields = [
            (MetadataField::Labels, !template.labels.is_empty()),
            (MetadataField::Annotations, !template.annotations.is_empty()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_set)| *is_set) {
            let message = format!(
                "Identity {identity} allows templates to set the {}: {}",
                field.as_str(),
                allowed.described(field)
            );
            self.holds("secret-metadata", message);
        }
    }

    fn enabled(&mut self, disabled: bool) {
        if disabled {
            self.refuses("enabled", "spec.disabled is true: set it to false");
        } else {
            self.holds("enabled", "it is not disabled");
        }
    }

    /// Adds the remaining problems, which also refuse.
    fn finish(mut self) -> Vec<RuleVerdict> {
        for problem in std::mem::take(&mut self.problems) {
            self.refuses("other", problem.message);
        }
        self.steps
    }
}

fn absent(kind: &str, key: &ObjectKey) -> Vec<RuleVerdict> {
    let message = format!("the manifests contain no {kind} {key}");
    vec![RuleVerdict {
        rule: "exists",
        verdict: Verdict::Refuses,
        message,
    }]
}

fn malformed(problems: &[Problem]) -> Vec<RuleVerdict> {
    let step = |problem: &Problem| RuleVerdict {
        rule: "well-formed",
        verdict: Verdict::Refuses,
        message: format!("{}: {}", problem.path, problem.message),
    };
    problems.iter().map(step).collect()
}

/// Explains which object decides on the `typ` of access tokens, if one asks for another type or the client names one.
fn explain_token_type(
    steps: &mut Steps,
    identity: Served<'_, IdentityRecord>,
    client: &ClientRecord,
) {
    let inherited = identity.record.access_token_type;
    let (typ, decider) = match client.access_token_type {
        Some(typ) => (typ, "its spec.tokens.accessTokenType".to_owned()),
        None if inherited == TokenType::default() => return,
        None => {
            let owner = &identity.object.key;
            (
                inherited,
                format!("spec.tokens.accessTokenType of Identity {owner}"),
            )
        }
    };
    let typ = typ.as_str();
    steps.holds(
        "token-type",
        format!("its access tokens have typ {typ:?}, by {decider}"),
    );
}

const NO_IDENTITY: [Reason; 2] = [Reason::IdentityNotFound, Reason::IdentityNotReady];

impl Directory {
    /// Explains why an OAuthClient is served or not, and why each of its scopes, or one of them, is granted or not.
    pub fn explain_client(&self, key: &ObjectKey, scope: Option<&str>) -> Vec<RuleVerdict> {
        let Some(object) = self.client(key) else {
            return absent("OAuthClient", key);
        };
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return malformed(problems),
        };
        let mut steps = Steps::new(self.client_problems(object));
        steps.holds(
            "well-formed",
            format!("its client id is {:?}", record.client_id),
        );
        if !Self::explain_identity(&mut steps, record.identity.as_ref()) {
            return steps.finish();
        }
        self.explain_client_rules(&mut steps, object, record);
        steps.enabled(record.disabled);
        if let Ok(accepted) = self.accepted_client(object) {
            self.explain_interactive(&mut steps, &accepted);
            self.explain_scopes(&mut steps, &accepted, scope);
        }
        steps.finish()
    }

    fn explain_identity(steps: &mut Steps, key: Option<&ObjectKey>) -> bool {
        steps.ask("identity", &NO_IDENTITY, "", || {
            let key = key.map(ToString::to_string).unwrap_or_default();
            format!("its Identity is {key}, which is served")
        })
    }

    fn explain_client_rules(
        &self,
        steps: &mut Steps,
        object: &Object<ClientRecord>,
        record: &ClientRecord,
    ) {
        let Some(identity) = record
            .identity
            .as_ref()
            .and_then(|key| self.served_identity(key).ok())
        else {
            return;
        };
        let (owner, namespace) = (&identity.object.key, &*object.key.namespace);
        let allowed = steps.ask(
            "namespace-allowed",
            &[Reason::NamespaceNotAllowed],
            "",
            || {
                open_to(
                    "spec.access.clients",
                    owner,
                    &identity.record.clients,
                    namespace,
                )
            },
        );
        if allowed {
            let may_use = steps.ask(
                "name-owned",
                &[Reason::NameNotOwned],
                "/spec/clientId",
                || owned_by(namespace, owner, &record.client_id, &['.']),
            );
            if may_use {
                steps.ask("name-held", &[Reason::ValueConflict], "", || {
                    "no other OAuthClient owns this client id".into()
                });
            }
        }
        steps.ask("quota", &[Reason::LimitExceeded], "", || {
            format!(
                "it is among the {} oldest OAuthClients of its namespace",
                identity.record.max_clients
            )
        });
        if !record.audiences.is_empty() {
            steps.ask(
                "audiences-owned",
                &[Reason::NameNotOwned],
                "/spec/resourceServer",
                || format!("namespace {namespace} owns its audiences"),
            );
        }
        let template = record.secret.template.as_deref();
        steps.secret_metadata(owner, &identity.record.secret_metadata, template);
        if let Some(algorithm) = record.algorithm {
            steps.ask(
                "algorithm",
                &[Reason::Invalid],
                "/spec/tokens/algorithm",
                || format!("Identity {owner} signs with {algorithm:?}"),
            );
        }
        if record.may_use(GrantType::ClientCredentials) {
            explain_token_type(steps, identity, record);
        }
    }

    fn explain_scopes(&self, steps: &mut Steps, client: &AcceptedClient<'_>, only: Option<&str>) {
        let asked = &client.client.record.scopes;
        if let Some(scope) = only.filter(|scope| !asked.iter().any(|value| **value == **scope)) {
            steps.refuses(
                "scope",
                format!("{scope:?} is not in its spec.scopes: add it there"),
            );
        }
        let refused = self.not_granted(client);
        for (index, value) in asked
            .iter()
            .enumerate()
            .filter(|(_, value)| only.is_none_or(|only| *only == ***value))
        {
            let place = format!("/spec/scopes/{index}");
            match (
                refused.iter().find(|problem| problem.path == place),
                self.granted_scope(client, value),
            ) {
                (None, Some(granted)) => {
                    let (scope, namespace) = (granted.scope, &*client.client.object.key.namespace);
                    let open = open_to(
                        "spec.allowedNamespaces",
                        &scope.object.key,
                        &scope.record.allowed,
                        namespace,
                    );
                    steps.holds("scope", format!("{value:?} is granted: {open}"));
                }
                (None, None) if StandardScope::parse(value).is_some() => {
                    steps.holds("scope", format!("{value:?} is granted for people"));
                }
                (problem, _) => {
                    let why = problem
                        .map(|problem| problem.message.clone())
                        .unwrap_or_default();
                    steps.refuses("scope", format!("{value:?} is not granted: {why}"));
                }
            }
        }
    }

    /// Explains why a Scope is served or not, and whether clients of a namespace may have it.
    pub fn explain_scope(&self, key: &ObjectKey, namespace: Option<&str>) -> Vec<RuleVerdict> {
        let Some(object) = self.scope(key) else {
            return absent("Scope", key);
        };
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return malformed(problems),
        };
        let mut steps = Steps::new(self.scope_problems(object));
        steps.holds("well-formed", format!("its value is {:?}", record.value));
        if !Self::explain_identity(&mut steps, record.identity.as_ref()) {
            return steps.finish();
        }
        self.explain_scope_rules(&mut steps, object, record);
        steps.enabled(record.disabled);
        if let Some(namespace) = namespace {
            let allowed = self.is_allowed(&record.allowed, &key.namespace, namespace);
            let rule = "open-to";
            if allowed {
                steps.holds(
                    rule,
                    open_to("spec.allowedNamespaces", key, &record.allowed, namespace),
                );
            } else {
                steps.refuses(rule, format!("its spec.allowedNamespaces is {} and does not include namespace {namespace}", described(&record.allowed)));
            }
        }
        steps.finish()
    }

    fn explain_scope_rules(
        &self,
        steps: &mut Steps,
        object: &Object<ScopeRecord>,
        record: &ScopeRecord,
    ) {
        let Some(identity) = record
            .identity
            .as_ref()
            .and_then(|key| self.served_identity(key).ok())
        else {
            return;
        };
        let (owner, namespace) = (&identity.object.key, &*object.key.namespace);
        let allowed = steps.ask(
            "namespace-allowed",
            &[Reason::NamespaceNotAllowed],
            "",
            || {
                open_to(
                    "spec.access.scopes",
                    owner,
                    &identity.record.scopes,
                    namespace,
                )
            },
        );
        if allowed {
            let may_use = steps.ask("name-owned", &[Reason::NameNotOwned], "/spec/value", || {
                owned_by(namespace, owner, &record.value, &[':', '.', '/'])
            });
            if may_use {
                steps.ask("name-held", &[Reason::ValueConflict], "", || {
                    "no other Scope owns this value".into()
                });
            }
        }
        if !record.audiences.is_empty() {
            steps.ask(
                "audiences-owned",
                &[Reason::NameNotOwned],
                "/spec/audiences",
                || format!("namespace {namespace} owns its audiences"),
            );
        }
    }

    /// Explains why a ServiceAccessToken can be issued now or not.
    pub fn explain_service_token(&self, key: &ObjectKey, now: Timestamp) -> Vec<RuleVerdict> {
        let Some(object) = self.service_token(key) else {
            return absent("ServiceAccessToken", key);
        };
        let record = match &object.state {
            Ok(record) => record,
            Err(problems) => return malformed(problems),
        };
        let mut steps = Steps::new(self.service_token_problems(object, now));
        let client = &record.client;
        let found = steps.ask("client", &[Reason::ClientNotFound], "", || {
            format!("its client is OAuthClient {client}")
        });
        let accepted = found
            && steps.ask("client-served", &[Reason::Pending], "", || {
                format!("OAuthClient {client} is served")
            });
        if let Some(client) = self
            .client(client)
            .filter(|_| accepted)
            .and_then(|client| self.accepted_client(client).ok())
        {
            Self::explain_token_rules(&mut steps, &client, record);
        }
        if record.revoked {
            steps.refuses(
                "revoked",
                "spec.revoked is true, which cannot be undone: delete the ServiceAccessToken and recreate it",
            );
        }
        steps.finish()
    }

    fn explain_token_rules(
        steps: &mut Steps,
        client: &AcceptedClient<'_>,
        record: &ServiceTokenRecord,
    ) {
        let (key, identity) = (&client.client.object.key, client.identity);
        let template = record.secret.template.as_deref();
        let allowed = &identity.record.secret_metadata;
        steps.secret_metadata(&identity.object.key, allowed, template);
        steps.ask("system-user", &[Reason::SystemUserMissing], "", || {
            let user = client
                .client
                .record
                .system_user
                .as_deref()
                .unwrap_or_default();
            format!("it acts as {user}, the system user of OAuthClient {key}")
        });
        steps.ask(
            "reference-tokens",
            &[Reason::ReferenceTokensDisabled],
            "",
            || {
                let who = match client.client.record.reference_tokens {
                    ReferenceTokens::None => "None",
                    ReferenceTokens::AuthenticatedUsers => "AuthenticatedUsers",
                    ReferenceTokens::AdministratorsOnly => "AdministratorsOnly",
                };
                format!("spec.referenceTokens of OAuthClient {key} is {who}")
            },
        );
        for (index, scope) in record.scopes.iter().enumerate() {
            let reasons = [Reason::ScopeNotFound, Reason::ScopeNotGranted];
            steps.ask("scope", &reasons, &format!("/spec/scopes/{index}"), || {
                format!("the client has {scope:?}, and the Scope allows its namespace")
            });
        }
        let asked = match record.lifetime {
            Some(Lifetime::For(_)) => Some("/spec/lifetime"),
            Some(Lifetime::Until(_)) => Some("/spec/expiresAt"),
            Some(Lifetime::Never) => Some("/spec/neverExpires"),
            None => None,
        };
        if let Some(path) = asked {
            steps.ask(
                "lifetime",
                &[Reason::LimitExceeded, Reason::Expired],
                path,
                || {
                    let most = format_duration(identity.record.max_service_token_lifetime);
                    format!(
                        "it expires within the limit of Identity {} ({most})",
                        identity.object.key
                    )
                },
            );
        }
        steps.ask("quota", &[Reason::LimitExceeded], "", || {
            format!(
                "it is among the {} oldest ServiceAccessTokens of its namespace",
                identity.record.max_service_tokens
            )
        });
    }
}

/// Returns why a namespace is allowed by a rule.
fn open_to(field: &str, owner: &ObjectKey, rule: &NamespaceRule, namespace: &str) -> String {
    if *owner.namespace == *namespace {
        return format!("namespace {namespace} is the one of {owner} itself");
    }
    format!(
        "{field} of {owner} is {} and includes namespace {namespace}",
        described(rule)
    )
}

fn described(rule: &NamespaceRule) -> &'static str {
    match rule.from {
        NamespacesFrom::Same => "from: Same",
        NamespacesFrom::All => "from: All",
        NamespacesFrom::Selector => "from: Selector",
        NamespacesFrom::List => "from: List",
        NamespacesFrom::None => "from: None",
    }
}

/// Returns why a namespace may use a name. A name has the namespace's prefix if one of `marks` follows it.
fn owned_by(namespace: &str, identity: &ObjectKey, name: &str, marks: &[char]) -> String {
    let prefixed = name
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(marks));
    if *identity.namespace == *namespace {
        format!("namespace {namespace} is the Identity's own, which may use any name")
    } else if prefixed {
        format!("{name:?} has the prefix of namespace {namespace}")
    } else {
        format!("spec.access.names of Identity {identity} grants {name:?} to namespace {namespace}")
    }
}
