//! `Scope`: something that a client may be allowed to do, published by the team that owns it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{IdentityRef, Namespaces, is_default};
use super::normal::{AUDIENCE_WORDS, VALUE_WORDS, audiences, value};

/// A scope value of an Identity, RFC 6749 section 3.3, with the audiences that understand it and the
/// namespaces whose clients may have it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev",
    version = "v1alpha1",
    kind = "Scope",
    namespaced,
    shortname = "scp",
    category = "symbolon",
    status = "ScopeStatus",
    derive = "PartialEq",
    selectable = ".spec.value",
    validation = Rule::new("oldSelf.hasValue() || has(self.spec.value) || !(self.metadata.name in ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])").optional_old_self(true).message("the default value would be a built-in one: set spec.value"),
    printcolumn(name = "Value", type_ = "string", json_path = ".status.value"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity"),
    printcolumn(name = "Clients", type_ = "integer", json_path = ".status.clients"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.identityRef) == has(oldSelf.identityRef) && (!has(self.identityRef) || self.identityRef == oldSelf.identityRef)").message("identityRef is immutable: delete the Scope and create it anew").field_path(".identityRef"))]
#[x_kube(validation = Rule::new("has(self.value) == has(oldSelf.value) && (!has(self.value) || self.value == oldSelf.value)").message("value is immutable: create another Scope, move the clients, delete this one").field_path(".value"))]
#[x_kube(validation = Rule::new("!has(self.value) || !(self.value in ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])").message("this value is built in: every Identity has it").field_path(".value"))]
pub struct ScopeSpec {
    /// The Identity that serves it. Absent: the installation's default Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<IdentityRef>,
    /// The scope value as clients ask for it. Default: the name of this object in the Identity's own
    /// namespace, else `<namespace>:<name>`. Outside the Identity's namespace it starts with
    /// `<namespace>:`, `<namespace>.` or `<namespace>/`, unless the Identity gives more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
    )]
    #[x_kube(validation = Rule::new(value()).message(VALUE_WORDS))]
    pub value: Option<String>,
    /// What people are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// What it allows, for people who choose scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// The APIs (`aud`) that understand this scope. Absent: the issuer for a Scope in the Identity's
    /// own namespace, else `<issuer>/<namespace>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 8),
        inner(
            length(min = 1, max = 512),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(validation = Rule::new(audiences()).message(AUDIENCE_WORDS), merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
    /// Client ids that may introspect tokens of this scope, RFC 7662, without being its audience.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(
            length(min = 1, max = 255),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub resource_servers: Vec<String>,
    /// `Default`: part of a token whose request names no scope. `OnRequest`: only when named.
    #[serde(default)]
    pub request_policy: RequestPolicy,
    /// Takes the scope out of every token, at once.
    #[serde(default)]
    pub disabled: bool,
    /// The namespaces whose clients may have this scope.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed_namespaces: Namespaces,
}

/// Whether a scope is given without being named.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at ScopeSpec::request_policy")]
pub enum RequestPolicy {
    #[default]
    Default,
    OnRequest,
}

/// What the operator saw of a Scope.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeStatus {
    /// The generation of the spec that this status tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The value in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// `<namespace>/<name>` of its Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Valid OAuthClients that name it, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<i64>,
    /// Valid ServiceAccessTokens that name it, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// See the list of conditions in the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
