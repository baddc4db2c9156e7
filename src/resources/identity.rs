//! `Identity`: one issuer, its ceilings and what its gateways require.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{DurationString, Moment, Namespaces, SigningAlgorithm, is_default};
use super::deployment::{Autoscaling, Mode, Network, PodOptions};
use super::normal::{ISSUER_WORDS, issuer};
use super::storage::Storage;
use super::template::SecretMetadata;

/// One issuer, RFC 8414. Administrators' kind: what tenants may ask for is bounded here.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev", version = "v1alpha1", kind = "Identity", plural = "identities", namespaced,
    shortname = "idn", category = "symbolon", status = "IdentityStatus", derive = "PartialEq",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 52").optional_old_self(true).message("the name of an Identity has at most 52 characters: its Secrets' names add to it"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuer"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".spec.storage.type"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.issuer == oldSelf.issuer").message("issuer is immutable: every token out there names it").field_path(".issuer"))]
#[x_kube(validation = Rule::new("self.issuer.startsWith('https://') || self.issuer.matches('^http://(localhost|127\\\\.0\\\\.0\\\\.1|\\\\[::1\\\\]|[a-z0-9-]+\\\\.[a-z0-9-]+\\\\.svc|[a-z0-9-]+\\\\.[a-z0-9-]+\\\\.svc\\\\.[a-z0-9.-]+)(:[0-9]+)?(/.*)?$')").message("issuer is https; http only for loopback and *.svc").field_path(".issuer"))]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("replicas or autoscaling, not both").field_path(".replicas"))]
#[x_kube(validation = Rule::new("self.mode != 'Embedded' || !(has(self.replicas) || has(self.autoscaling) || has(self.pod) || (has(self.network) && (has(self.network.tls) || has(self.network.ingress) || has(self.network.httpRoute))))").message("mode: Embedded is served by the operator's own pods: replicas, autoscaling, pod, network.tls, ingress and httpRoute go with mode: Deployment").field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode != 'Embedded' || self.storage.type == 'None'").message("mode: Embedded has no volume: storage.type SQLite goes with mode: Deployment").field_path(".storage.type"))]
#[x_kube(validation = Rule::new("self.storage.type != 'SQLite' || (!has(self.autoscaling) && (!has(self.replicas) || self.replicas <= 1))").message("storage.type SQLite is one file, written by one pod: replicas is 0 or 1, and there is no autoscaling").field_path(".storage.type"))]
#[x_kube(validation = Rule::new("!has(oldSelf.revokeIssuedBefore) || oldSelf.revokeIssuedBefore >= timestamp('9999-12-30T22:00:00Z') || (has(self.revokeIssuedBefore) && self.revokeIssuedBefore >= oldSelf.revokeIssuedBefore)").message("revokeIssuedBefore only moves forward").field_path(".revokeIssuedBefore"))]
pub struct IdentitySpec {
    /// The issuer: a URL without query, fragment or closing slash; https, or http for loopback and `*.svc`.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~-]+)*$")
    )]
    #[x_kube(validation = Rule::new(issuer()).message(ISSUER_WORDS))]
    pub issuer: String,
    /// `Deployment`: the operator runs pods for it. `Embedded`: the operator's own pods serve it, where the
    /// installation names it.
    #[serde(default)]
    pub mode: Mode,
    /// Which namespaces may use this Identity, and which names they are given.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// Ceilings, enforced at every use: tightening hits what exists.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// What tokens look like.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: TokenOptions,
    /// How tokens are signed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signing: Signing,
    /// The requirements behind `/connect/checktoken/<name>`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gateways: Vec<Gateway>,
    /// What happens while the Kubernetes API is away.
    #[serde(default, skip_serializing_if = "is_default")]
    pub staleness: Staleness,
    /// Nothing issued before this moment is accepted. It only moves forward; a moment ahead acts as now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_issued_before: Option<Moment>,
    /// What is kept for people, and where. Machine clients and service tokens need none of it.
    #[serde(default)]
    pub storage: Storage,
    /// How it is reached.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// How many pods. Absent: 2, or as many as `autoscaling` says; 1 with `storage.type: SQLite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i64>,
    /// As many pods as load asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// What the pods are like.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOptions>,
}

/// Who may use an Identity. Closed by default.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
pub struct Access {
    /// Namespaces whose OAuthClients and ServiceAccessTokens are served.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clients: Namespaces,
    /// Namespaces whose Scopes are served.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scopes: Namespaces,
    /// Names that a namespace may use beyond those that carry its prefix.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    pub names: Vec<NamesGrant>,
}

/// Names given to a namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamesGrant {
    /// The namespace.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// Client ids.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 255),
            regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub client_ids: Vec<String>,
    /// Scope values; one that ends in `*` gives all that start so.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// Audiences.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 512),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub audiences: Vec<String>,
}

/// Ceilings on what tenants ask for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.maxAccessTokenLifetime) >= duration('1m')").message("maxAccessTokenLifetime is at least 1m").field_path(".maxAccessTokenLifetime"))]
#[x_kube(validation = Rule::new("duration(self.maxServiceTokenLifetime) >= duration('10m')").message("maxServiceTokenLifetime is at least 10m").field_path(".maxServiceTokenLifetime"))]
pub struct Limits {
    /// The longest life of an access token.
    #[serde(default = "hours_24")]
    pub max_access_token_lifetime: DurationString,
    /// The longest life of a service access token.
    #[serde(default = "hours_8784")]
    pub max_service_token_lifetime: DurationString,
    /// Whether a ServiceAccessToken may have no end.
    #[serde(default)]
    pub never_expiring_tokens: Permission,
    /// What templates of Secrets may set beyond the keys that every template may set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret_metadata: SecretMetadata,
    /// How much one namespace may have.
    #[serde(default, skip_serializing_if = "is_default")]
    pub per_namespace: PerNamespace,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_access_token_lifetime: hours_24(),
            max_service_token_lifetime: hours_8784(),
            never_expiring_tokens: Permission::default(),
            secret_metadata: SecretMetadata::default(),
            per_namespace: PerNamespace::default(),
        }
    }
}

/// Allowed or not.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Permission {
    Allow,
    #[default]
    Deny,
}

/// How much one namespace may have of an Identity; the Identity's own namespace included.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerNamespace {
    /// OAuthClients of this Identity; the oldest are served.
    #[serde(default = "clients_200")]
    #[schemars(range(min = 0, max = 100_000))]
    pub clients: i64,
    /// ServiceAccessTokens, of whichever Identity; the oldest are served.
    #[serde(default = "tokens_1000")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub service_tokens: i64,
    /// Secrets and tokens made in an hour.
    #[serde(default = "mints_600")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub mints_per_hour: i64,
}

impl Default for PerNamespace {
    fn default() -> Self {
        Self {
            clients: clients_200(),
            service_tokens: tokens_1000(),
            mints_per_hour: mints_600(),
        }
    }
}

/// What an Identity's tokens look like.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.accessTokenLifetime) >= duration('1m')").message("accessTokenLifetime is at least 1m").field_path(".accessTokenLifetime"))]
#[x_kube(validation = Rule::new("duration(self.serviceTokenLifetime) >= duration('10m')").message("serviceTokenLifetime is at least 10m").field_path(".serviceTokenLifetime"))]
pub struct TokenOptions {
    /// How long access tokens are good.
    #[serde(default = "hours_1")]
    pub access_token_lifetime: DurationString,
    /// How long a service access token is good that does not say.
    #[serde(default = "hours_2160")]
    pub service_token_lifetime: DurationString,
    /// What reference tokens and client secrets start with, so that scanners find them.
    #[serde(default = "prefix_sym")]
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[a-z0-9]+$"))]
    pub reference_prefix: String,
    /// The `scope` claim: a `String` (RFC 9068 section 2.2.3) or an `Array`.
    #[serde(default)]
    pub scope_claim: ScopeClaim,
    /// `Single`: the scopes of one token have audiences of one owner, RFC 9068 section 3. `Many`: any.
    #[serde(default)]
    pub audience: AudienceMode,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            access_token_lifetime: hours_1(),
            service_token_lifetime: hours_2160(),
            reference_prefix: prefix_sym(),
            scope_claim: ScopeClaim::default(),
            audience: AudienceMode::default(),
        }
    }
}

/// The form of the `scope` claim.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at TokenOptions::scope_claim")]
pub enum ScopeClaim {
    #[default]
    String,
    Array,
}

/// Whether a token may span audiences of several owners.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at TokenOptions::audience")]
pub enum AudienceMode {
    #[default]
    Single,
    Many,
}

/// How tokens are signed, and how their keys follow each other.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.rotateEvery) >= duration('1h')").message("rotateEvery is at least 1h").field_path(".rotateEvery"))]
#[x_kube(validation = Rule::new("duration(self.publishAhead) >= duration('10m')").message("publishAhead is at least 10m: caches of the JWK Set and mounted Secrets take their time").field_path(".publishAhead"))]
#[x_kube(validation = Rule::new("duration(self.publishAhead) < duration(self.rotateEvery)").message("publishAhead is shorter than rotateEvery").field_path(".publishAhead"))]
pub struct Signing {
    /// The first is the default; clients choose among them. An algorithm that is added signs by default when its key
    /// has been published for `publishAhead`; the one that it replaces signs until then.
    #[serde(default = "rs256")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub algorithms: Vec<SigningAlgorithm>,
    /// How long one key signs.
    #[serde(default = "hours_2160")]
    pub rotate_every: DurationString,
    /// How long a key is published before it signs.
    #[serde(default = "hours_24")]
    pub publish_ahead: DurationString,
    /// Keys that are out of the JWK Set at once and verify nothing: their `kid`s.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 16),
        inner(length(min = 43, max = 64), regex(pattern = r"^[A-Za-z0-9_-]+$"))
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub distrusted: Vec<String>,
}

impl Default for Signing {
    fn default() -> Self {
        Self {
            algorithms: rs256(),
            rotate_every: hours_2160(),
            publish_ahead: hours_24(),
            distrusted: Vec::new(),
        }
    }
}

/// What one gateway requires of a token.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
pub struct Gateway {
    /// The last part of `/connect/checktoken/<name>`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The audience that a token must have.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
    )]
    pub audience: String,
    /// The scopes that it must have, all of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
}

/// How long the server answers from what it last saw.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("duration(self.maxAge) >= duration('1m')").message("maxAge is at least 1m").field_path(".maxAge"))]
pub struct Staleness {
    /// The oldest that a watch may be.
    #[serde(default = "hours_24")]
    pub max_age: DurationString,
    /// `Refuse`: 503 beyond it. `KeepServing`: go on.
    #[serde(default)]
    pub when_exceeded: WhenExceeded,
}

impl Default for Staleness {
    fn default() -> Self {
        Self {
            max_age: hours_24(),
            when_exceeded: WhenExceeded::default(),
        }
    }
}

/// What the server does beyond `staleness.maxAge`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Staleness::when_exceeded")]
pub enum WhenExceeded {
    #[default]
    Refuse,
    KeepServing,
}

/// What the operator saw and did of an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// The generation of the spec that this status tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Where things are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Its pods, old ones included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Those of them that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i64>,
    /// The labels of its pods, as autoscalers read them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// What all its pods run: the tag of the image, or its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Valid OAuthClients that name it, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<i64>,
    /// Valid ServiceAccessTokens that name it through their client, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// The signing keys: public ids, never a key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kid".into()]))]
    pub keys: Vec<KeyStatus>,
    /// See the list of conditions in the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// The URLs of an issuer that people look for.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// `OpenID` Connect Discovery.
    pub discovery: String,
    /// The token endpoint.
    pub token: String,
    /// RFC 7662.
    pub introspection: String,
}

/// One signing key.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// `kid` in the JWKS.
    pub kid: String,
    /// What it signs with.
    pub algorithm: SigningAlgorithm,
    /// Where it is between its publication and its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<KeyPhase>,
    /// From when it signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Moment>,
    /// When it is gone from the JWKS: every token that it signed is over then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
}

/// What a signing key does. Each of them verifies and is in the JWKS.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum KeyPhase {
    /// It will sign.
    Published,
    /// It signs.
    Active,
    /// It signed.
    Retiring,
}

fn hours_1() -> DurationString {
    "1h".into()
}
fn hours_24() -> DurationString {
    "24h".into()
}
fn hours_2160() -> DurationString {
    "2160h".into()
}
fn hours_8784() -> DurationString {
    "8784h".into()
}
fn prefix_sym() -> String {
    "sym".to_owned()
}
fn rs256() -> Vec<SigningAlgorithm> {
    vec![SigningAlgorithm::RS256]
}
const fn clients_200() -> i64 {
    200
}
const fn tokens_1000() -> i64 {
    1000
}
const fn mints_600() -> i64 {
    600
}
