//! Which rule grants or refuses something, step by step, in the order in which the rules are asked.
//!
//! The verdicts are those of [`Directory`]'s own judgement; only the words for what holds are made here.

use jiff::Timestamp;
use serde::Serialize;

use super::duration::format_duration;
use super::record::{ClientRecord, NamespaceRule, Object, ScopeRecord, ServiceTokenRecord};
use super::secret_metadata::{AllowedMetadata, MetadataField};
use super::{AcceptedClient, Directory, Lifetime, ObjectKey, Problem, Reason};
use crate::resources::{NamespacesFrom, ReferenceTokens, Template};

/// One rule and what it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// The rule's name, for programs.
    pub rule: &'static str,
    /// What it says.
    pub verdict: Verdict,
    /// Why, and for a refusal what to write instead or whom to ask.
    pub message: String,
}

/// What a rule says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It lets this pass.
    Holds,
    /// It refuses.
    Refuses,
}

/// Rules collected with their problems: what is left of `problems` holds nothing any more.
struct Steps {
    steps: Vec<Step>,
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
        self.steps.push(Step {
            rule,
            verdict: Verdict::Holds,
            message: message.into(),
        });
    }

    fn refuses(&mut self, rule: &'static str, message: impl Into<String>) {
        self.steps.push(Step {
            rule,
            verdict: Verdict::Refuses,
            message: message.into(),
        });
    }

    /// A rule that holds unless a problem with one of these reasons, at or below a place, says no.
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

    /// What the template of a Secret may set. A key that is not allowed is left out and refuses nothing.
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

    /// What no rule above has asked for refuses too.
    fn finish(mut self) -> Vec<Step> {
        for problem in std::mem::take(&mut self.problems) {
            self.refuses("other", problem.message);
        }
        self.steps
    }
}

fn absent(kind: &str, key: &ObjectKey) -> Vec<Step> {
    let message = format!("there is no {kind} {key} in what was given");
    vec![Step {
        rule: "exists",
        verdict: Verdict::Refuses,
        message,
    }]
}

fn malformed(problems: &[Problem]) -> Vec<Step> {
    let step = |problem: &Problem| Step {
        rule: "well-formed",
        verdict: Verdict::Refuses,
        message: format!("{}: {}", problem.path, problem.message),
    };
    problems.iter().map(step).collect()
}

const NO_IDENTITY: [Reason; 2] = [Reason::IdentityNotFound, Reason::IdentityNotReady];

impl Directory {
    /// Why an OAuthClient is served or not, and each of its scopes, or one, is granted or not.
    pub fn explain_client(&self, key: &ObjectKey, scope: Option<&str>) -> Vec<Step> {
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
                    "no other OAuthClient holds this client id".into()
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
    }

    fn explain_scopes(&self, steps: &mut Steps, client: &AcceptedClient<'_>, only: Option<&str>) {
        let asked = &client.client.record.scopes;
        if let Some(scope) = only.filter(|scope| !asked.iter().any(|value| **value == **scope)) {
            steps.refuses(
                "scope",
                format!("{scope:?} is not among its spec.scopes: add it there"),
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
                (problem, _) => {
                    let why = problem
                        .map(|problem| problem.message.clone())
                        .unwrap_or_default();
                    steps.refuses("scope", format!("{value:?} is not granted: {why}"));
                }
            }
        }
    }

    /// Why a Scope is served or not, and whether clients of a namespace may have it.
    pub fn explain_scope(&self, key: &ObjectKey, namespace: Option<&str>) -> Vec<Step> {
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
                steps.refuses(rule, format!("its spec.allowedNamespaces is {} and does not open it to namespace {namespace}", described(&record.allowed)));
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
                    "no other Scope holds this value".into()
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

    /// Why a ServiceAccessToken can be issued now or not.
    pub fn explain_service_token(&self, key: &ObjectKey, now: Timestamp) -> Vec<Step> {
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
                "spec.revoked is true, which cannot be taken back: delete it and create it anew",
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
                format!("{scope:?} is the client's and granted to its namespace")
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
                        "it ends within the limits of Identity {} ({most})",
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

/// Why a rule that lets a namespace pass does.
fn open_to(field: &str, owner: &ObjectKey, rule: &NamespaceRule, namespace: &str) -> String {
    if *owner.namespace == *namespace {
        return format!("namespace {namespace} is that of {owner} itself");
    }
    format!(
        "{field} of {owner} is {} and opens it to namespace {namespace}",
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

/// Why a namespace may use a name, the prefix of its names being its own and one of these marks.
fn owned_by(namespace: &str, identity: &ObjectKey, name: &str, marks: &[char]) -> String {
    let prefixed = name
        .strip_prefix(namespace)
        .is_some_and(|rest| rest.starts_with(marks));
    if *identity.namespace == *namespace {
        format!("namespace {namespace} is the Identity's own and may use any name")
    } else if prefixed {
        format!("{name:?} carries the prefix of namespace {namespace}")
    } else {
        format!("spec.access.names of Identity {identity} gives {name:?} to namespace {namespace}")
    }
}
