//! `Scope`: a permission that clients may have, published by the team that owns it.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{IdentityRef, Namespaces, is_default};
use super::normal::{AUDIENCE_WORDS, VALUE_WORDS, audiences, value};
use super::uri::Group;
use super::user::CLAIM_FORM;

/// The maximum size of the groups of a Scope, in bytes. The operator and every server keep them for each Scope. Groups of
/// one-byte characters never reach it.
pub const MOST_BYTES_OF_GROUPS: usize = 8 << 10;
/// Message of the rule on the size of the groups.
pub const TOO_LONG_GROUPS: &str =
    "groups must have at most 8192 bytes in total: remove some of them, or shorten them";

/// A scope value of an Identity (RFC 6749 section 3.3), with the audiences that understand it and the namespaces
/// whose clients may have it.
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
    validation = Rule::new("oldSelf.hasValue() || has(self.spec.value) || !(self.metadata.name in ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])").optional_old_self(true).message("the default scope value would be a built-in one: set spec.value"),
    validation = Rule::new("oldSelf.hasValue() || has(self.spec.value) || self.metadata.name != 'groups'").optional_old_self(true).message("the default scope value would be a built-in one: set spec.value"),
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
#[x_kube(validation = Rule::new("has(self.identityRef) == has(oldSelf.identityRef) && (!has(self.identityRef) || self.identityRef == oldSelf.identityRef)").message("identityRef is immutable: delete the Scope and recreate it").field_path(".identityRef"))]
#[x_kube(validation = Rule::new("has(self.value) == has(oldSelf.value) && (!has(self.value) || self.value == oldSelf.value)").message("value is immutable: create another Scope, move the clients to it and delete this one").field_path(".value"))]
#[x_kube(validation = Rule::new("!has(self.value) || !(self.value in ['openid', 'profile', 'email', 'address', 'phone', 'offline_access'])").message("this scope value is built in, and every Identity has it: choose another").field_path(".value"))]
#[x_kube(validation = Rule::new("!has(self.value) || self.value != 'groups'").message("this scope value is built in, and every Identity has it: choose another").field_path(".value"))]
pub struct ScopeSpec {
    /// Identity that serves the Scope. Immutable. Default: the installation's default Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<IdentityRef>,
    /// The scope value that clients ask for. Outside the Identity's namespace it must begin with `<namespace>:`,
    /// `<namespace>.` or `<namespace>/`, unless the Identity's `access.names` grants another one. Immutable. Default:
    /// the name of this object in the Identity's own namespace, elsewhere `<namespace>:<name>`. Example:
    /// `orders.read`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 128),
        regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
    )]
    #[x_kube(validation = Rule::new(value()).message(VALUE_WORDS))]
    pub value: Option<String>,
    /// Name of the scope for people. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// What the scope allows, for people who choose scopes. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Audiences (`aud`) of the scope: the APIs that understand it. Default: the issuer for a Scope in the Identity's
    /// own namespace, elsewhere `<issuer>/<namespace>`. Example: `[https://api.example.com]`.
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
    /// Client ids that may introspect tokens of this scope (RFC 7662) without being an audience of it. Default: none.
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
    /// When a token gets the scope. `Default`: also when its request names no scope. `OnRequest`: only when its
    /// request names this scope. Default: `Default`.
    #[serde(default)]
    pub request_policy: RequestPolicy,
    /// Removes the scope from every token at once. Default: `false`.
    #[serde(default)]
    pub disabled: bool,
    /// Namespaces whose clients may have this scope. Default: `from: Same`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub allowed_namespaces: Namespaces,
    /// Which people a client may get the scope for. Default: all who may use the client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub people: Option<ScopePeople>,
    /// Claims about the person that tokens with the scope have: names of `attributes` of Users, or `name`,
    /// `preferred_username`, `email`, `email_verified` and `groups`. Outside the Identity's namespace its
    /// `limits.releasableClaims` must list them. Default: none. Example: `[department]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 128),
            regex(pattern = CLAIM_FORM)
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub claims: Vec<String>,
}

/// Which people a client may get a scope for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
pub struct ScopePeople {
    /// Groups of which the person must be in one. With `[]`, the scope is for machines alone. All groups have at most
    /// 8192 bytes in total. Example: `[buyers]`.
    #[schemars(length(max = 64))]
    #[x_kube(validation = Rule::new(size_of_groups()).message(TOO_LONG_GROUPS), merge_strategy = ListMerge::Set)]
    pub groups: Vec<Group>,
}

/// Returns the rule with the message [`TOO_LONG_GROUPS`]. The `size()` of a text counts characters, and a group may have
/// characters of several bytes.
fn size_of_groups() -> String {
    format!("self.map(text, bytes(text).size()).sum() <= {MOST_BYTES_OF_GROUPS}")
}

/// Whether a token gets a scope that its request does not name.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at ScopeSpec::request_policy")]
pub enum RequestPolicy {
    #[default]
    Default,
    OnRequest,
}

/// What the operator observed of a Scope.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ScopeStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The scope value in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
    /// Identity of the Scope, as `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// Number of valid OAuthClients that name this scope value, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<i64>,
    /// Number of valid ServiceAccessTokens that name this scope value, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// Conditions, such as `Ready`. The documentation lists every type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
