//! `OAuthClient`: an application that obtains tokens, RFC 6749 section 2.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    Binding, Day, DurationString, IdentityRef, KeyRef, LastRotation, LocalRef, Moment,
    PreviousToken, Rotation, SigningAlgorithm, is_default,
};
use super::normal::{AUDIENCE_WORDS, audiences};
use super::template::{OWN_CLIENT_KEYS, Template, client_template};

/// A client of an Identity: who it is, how it authenticates, what it may ask for.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev",
    version = "v1alpha1",
    kind = "OAuthClient",
    plural = "oauthclients",
    namespaced,
    shortname = "oac",
    category = "symbolon",
    status = "OAuthClientStatus",
    derive = "PartialEq",
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 246 || (has(self.spec.authentication) && has(self.spec.authentication.secret) && (has(self.spec.authentication.secret.name) || has(self.spec.authentication.secret.existingRef)))").optional_old_self(true).message("the default name of its Secret would be longer than 253 characters: set spec.authentication.secret.name"),
    printcolumn(name = "Client-ID", type_ = "string", json_path = ".status.clientId"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
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
#[x_kube(validation = Rule::new("has(self.identityRef) == has(oldSelf.identityRef) && (!has(self.identityRef) || self.identityRef == oldSelf.identityRef)").message("identityRef is immutable: delete the OAuthClient and create it anew").field_path(".identityRef"))]
#[x_kube(validation = Rule::new("has(self.clientId) == has(oldSelf.clientId) && (!has(self.clientId) || self.clientId == oldSelf.clientId)").message("clientId is immutable: create another OAuthClient and delete this one").field_path(".clientId"))]
#[x_kube(validation = Rule::new("!has(self.clientId) || !self.clientId.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')").message("clientId must not look like a UUID: those name people").field_path(".clientId"))]
pub struct OAuthClientSpec {
    /// The Identity that serves it. Absent: the installation's default Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<IdentityRef>,
    /// The `client_id`. Default: `<namespace>.<name>`. Outside the Identity's namespace it starts with
    /// `<namespace>.`, unless the Identity gives more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    pub client_id: Option<String>,
    /// What people are shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// Refuses the client and every token of it, at once.
    #[serde(default)]
    pub disabled: bool,
    /// The grants that it may use. Empty for an API that only introspects.
    #[schemars(length(max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub grant_types: Vec<GrantType>,
    /// The scope values that it may have, each if its Scope allows this namespace.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 128),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// This client *is* an API: it may introspect tokens made out to its audiences, RFC 7662.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<ResourceServer>,
    /// How it proves who it is. Absent: by a secret that the operator makes.
    #[serde(default, skip_serializing_if = "is_default")]
    pub authentication: Authentication,
    /// The service identity that its ServiceAccessTokens act as: the principal `<namespace>:<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_user: Option<LocalRef>,
    /// Who may make long-lived reference tokens of this client. `None`: nobody.
    /// `AdministratorsOnly`: whoever may create ServiceAccessTokens. `AuthenticatedUsers`: people for themselves too.
    #[serde(default)]
    pub reference_tokens: ReferenceTokens,
    /// What its tokens look like.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: ClientTokens,
}

/// A grant of RFC 6749.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema,
)]
pub enum GrantType {
    /// RFC 6749 section 4.4.
    ClientCredentials,
}

/// The API that a client is.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
pub struct ResourceServer {
    /// Its audiences: each the issuer's `<issuer>/<namespace>` or below, unless the Identity gives more.
    #[schemars(
        length(min = 1, max = 8),
        inner(
            length(min = 1, max = 512),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(validation = Rule::new(audiences()).message(AUDIENCE_WORDS), merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
}

/// How a client authenticates, RFC 6749 section 2.3.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
pub struct Authentication {
    /// By `client_secret_basic` or `client_secret_post`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ClientSecret>,
}

/// A client secret: one that is brought, or one that the operator makes and writes into a Secret with the keys `client-id`,
/// `client-secret`, `issuer` and `token-url`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.lifetime) || duration(self.lifetime) >= duration('10m') && duration(self.lifetime) <= duration('87600h')").message("lifetime is 10m to 87600h").field_path(".lifetime"))]
#[x_kube(validation = Rule::new("has(self.lifetime) || !has(self.rotation) || !has(self.rotation.renewBefore)").message("renewBefore needs a lifetime: a secret without an end is never renewed").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.lifetime) || !has(self.rotation) || !has(self.rotation.renewBefore) || duration(self.rotation.renewBefore) < duration(self.lifetime)").message("renewBefore is shorter than lifetime").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.existingRef) || !(has(self.name) || has(self.template) || has(self.lifetime) || has(self.rotation))").message("existingRef goes without name, template, lifetime and rotation: somebody else writes that Secret").field_path(".existingRef"))]
#[x_kube(validation = Rule::new("!has(self.template) || !has(self.template.data) || !self.template.data.exists(key, key in ['client-id', 'client-secret', 'issuer', 'token-url'])").message(OWN_CLIENT_KEYS).field_path(".template.data"))]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// A secret that somebody else brings, such as External Secrets or SOPS: the operator makes none, and follows
    /// this one. That Secret carries the label `symbolon.dev/client: <name of this object>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_ref: Option<KeyRef>,
    /// Name of the Secret. Default: `<name of this object>-client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// What else the Secret says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "client_template")]
    pub template: Option<Template>,
    /// How long a secret is good. Absent: until it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<DurationString>,
    /// When it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Who may make reference tokens of a client.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(
    missing_docs,
    reason = "described at OAuthClientSpec::reference_tokens"
)]
pub enum ReferenceTokens {
    #[default]
    None,
    AuthenticatedUsers,
    AdministratorsOnly,
}

/// What a client's tokens look like.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.accessTokenLifetime) || duration(self.accessTokenLifetime) >= duration('1m')").message("accessTokenLifetime is at least 1m").field_path(".accessTokenLifetime"))]
pub struct ClientTokens {
    /// One of the Identity's `signing.algorithms`. Absent: its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// How long its access tokens are good; at most the Identity's `limits.maxAccessTokenLifetime`.
    /// Absent: the Identity's `tokens.accessTokenLifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<DurationString>,
}

/// What the operator saw and did of an OAuthClient.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientStatus {
    /// The generation of the spec that this status tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The `client_id` in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// `<namespace>/<name>` of its Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The issuer, as `iss` will say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The Secret that holds its secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The same, as servicebinding.io names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Counts the secrets made for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// The public id of the newest secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// When the newest was made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Moment>,
    /// When it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// When it will be renewed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<Moment>,
    /// The last day of which a use of the newest is known. Absent: no use of it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Day>,
    /// The secret before, while it is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousToken>,
    /// The last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<LastRotation>,
    /// The nonce of the last rotation that was asked for and done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_nonce: Option<String>,
    /// Scope values that the spec names and nobody grants.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub not_granted: Vec<String>,
    /// See the list of conditions in the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
