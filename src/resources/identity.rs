//! `Identity`: one issuer, its limits and what its gateways require.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    AccessTokenType, DurationString, Moment, Namespaces, SigningAlgorithm, durations, is_default,
    matches,
};
use super::deployment::{Autoscaling, Mode, Network, PodOptions};
use super::inherited::InheritedMetadata;
use super::login::{Login, RefreshTokenOptions};
use super::normal::{ISSUER_URL, ISSUER_URL_WORDS, ISSUER_WORDS, issuer, secure_issuer};
use super::storage::Storage;
use super::template::SecretMetadata;
use super::theme::Theme;
use super::user::CLAIM_FORM;

/// One token issuer (RFC 8414): which namespaces may use it, what their objects may ask for, and how it runs.
/// Administrators create Identities.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev", version = "v1alpha1", kind = "Identity", plural = "identities", namespaced,
    shortname = "idn", category = "symbolon", status = "IdentityStatus", derive = "PartialEq",
    scale(spec_replicas_path = ".spec.replicas", status_replicas_path = ".status.replicas", label_selector_path = ".status.selector"),
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 52").optional_old_self(true).message("the name of an Identity must have at most 52 characters, since the names of its Secrets extend it"),
    printcolumn(name = "Issuer", type_ = "string", json_path = ".spec.issuer"),
    printcolumn(name = "Storage", type_ = "string", json_path = ".spec.storage.type"),
    printcolumn(name = "Replicas", type_ = "integer", json_path = ".status.readyReplicas"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.issuer == oldSelf.issuer").message("issuer is immutable: every issued token names it").field_path(".issuer"))]
#[x_kube(validation = Rule::new(secure_issuer()).message("issuer must be an https URL; http is allowed only for loopback addresses and *.svc hosts").field_path(".issuer"))]
#[x_kube(validation = Rule::new("!(has(self.replicas) && has(self.autoscaling))").message("set replicas or autoscaling, not both").field_path(".replicas"))]
#[x_kube(validation = Rule::new("self.mode != 'Embedded' || !(has(self.replicas) || has(self.autoscaling) || has(self.pod) || (has(self.network) && (has(self.network.tls) || has(self.network.ingress) || has(self.network.httpRoute))))").message("with mode: Embedded the operator's own pods serve the Identity: replicas, autoscaling, pod, network.tls, network.ingress and network.httpRoute need mode: Deployment").field_path(".mode"))]
#[x_kube(validation = Rule::new("self.mode != 'Embedded' || self.storage.type == 'None'").message("storage needs mode: Deployment, since the operator's own pods have no store").field_path(".storage.type"))]
#[x_kube(validation = Rule::new("self.storage.type != 'SQLite' || (!has(self.autoscaling) && (!has(self.replicas) || self.replicas <= 1))").message("storage.type: SQLite allows one pod, which writes the file: set replicas to 0 or 1 and remove autoscaling").field_path(".storage.type"))]
#[x_kube(validation = Rule::new("!has(oldSelf.revokeIssuedBefore) || oldSelf.revokeIssuedBefore >= timestamp('9999-12-30T22:00:00Z') || (has(self.revokeIssuedBefore) && self.revokeIssuedBefore >= oldSelf.revokeIssuedBefore)").message("revokeIssuedBefore can only move forward: it cannot be removed or set to an earlier time").field_path(".revokeIssuedBefore"))]
pub struct IdentitySpec {
    /// URL of the issuer, the `iss` claim of every token. `https`, or `http` for loopback addresses and `*.svc`
    /// hosts; without a query, fragment or trailing slash. Immutable. Example: `https://id.example.com/main`.
    #[schemars(length(min = 1, max = 512))]
    #[x_kube(validation = Rule::new(matches(ISSUER_URL)).message(ISSUER_URL_WORDS), validation = Rule::new(issuer()).message(ISSUER_WORDS))]
    pub issuer: String,
    /// Who serves the Identity. `Deployment`: pods that the operator runs for it. `Embedded`: the operator's own
    /// pods, if the installation names the Identity as its embedded one. Default: `Deployment`.
    #[serde(default)]
    pub mode: Mode,
    /// Which namespaces may use this Identity, and which names they are granted besides their own. Default: its own
    /// namespace only.
    #[serde(default, skip_serializing_if = "is_default")]
    pub access: Access,
    /// Limits on what tenants may ask for. They are checked at every use, so a lower limit also applies to existing
    /// tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: Limits,
    /// Lifetimes and format of the tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: TokenOptions,
    /// How access tokens are signed, and when signing keys rotate.
    #[serde(default, skip_serializing_if = "is_default")]
    pub signing: Signing,
    /// What each gateway requires of a token, checked at `/connect/checktoken/<name>`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    pub gateways: Vec<Gateway>,
    /// What the servers do while they cannot reach the Kubernetes API.
    #[serde(default, skip_serializing_if = "is_default")]
    pub staleness: Staleness,
    /// Revokes every token and client secret that was issued before this time (RFC 3339). It can only move forward. A
    /// time in the future acts as the current time, and nothing is issued until then. Default: none. Example:
    /// `2027-01-31T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_issued_before: Option<Moment>,
    /// Labels and annotations of every object that the operator creates for this Identity: key Secrets, Credentials,
    /// pods and all objects around them. The Secrets of clients and tokens have templates of their own. Default: none.
    #[serde(default, skip_serializing_if = "is_default")]
    pub inherited_metadata: InheritedMetadata,
    /// Where data about people is stored. Machine clients and service tokens need no storage. Default: nothing is
    /// stored.
    #[serde(default)]
    pub storage: Storage,
    /// How people sign in.
    #[serde(default, skip_serializing_if = "is_default")]
    pub login: Login,
    /// Name, logo and colours of the pages that people see.
    #[serde(default, skip_serializing_if = "is_default")]
    pub theme: Theme,
    /// How clients reach the pods, and which proxies are trusted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub network: Network,
    /// Number of pods, 0 to 100. Cannot be combined with `autoscaling`. Default: 2, or 1 with `storage.type: SQLite`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 100))]
    pub replicas: Option<i64>,
    /// Scales the number of pods by their CPU use. Cannot be combined with `replicas`. Default: no autoscaling.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaling: Option<Autoscaling>,
    /// Options of the pods: image, metadata, scheduling and resources.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodOptions>,
}

/// Which namespaces may use an Identity. By default only its own may.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Access {
    /// Namespaces whose OAuthClients and ServiceAccessTokens are served. Default: `from: Same`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub clients: Namespaces,
    /// Namespaces whose OAuthClients may sign in people. Default: `from: Same`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub interactive_clients: Namespaces,
    /// Namespaces whose OAuthClients may skip consent. Default: `from: Same`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub skip_consent: Namespaces,
    /// Namespaces whose Scopes are served. Default: `from: Same`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub scopes: Namespaces,
    /// Names that namespaces are granted although the names do not begin with the namespace. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["namespace".into()]))]
    pub names: Vec<NamesGrant>,
}

/// Names that one namespace is granted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct NamesGrant {
    /// Namespace that may use the names.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: String,
    /// Client ids that the namespace may use. Example: `[legacy-shop]`.
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
    /// Scope values that the namespace may use. A value that ends in `*` grants every value that begins with the
    /// rest. Example: `[orders.*]`.
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
    /// Audiences that the namespace may use. Example: `[https://api.example.com]`.
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

/// Limits on what tenants may ask for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.maxAccessTokenLifetime"], "duration(self.maxAccessTokenLifetime) >= duration('1m')")).message("maxAccessTokenLifetime must be at least 1m").field_path(".maxAccessTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.maxServiceTokenLifetime"], "duration(self.maxServiceTokenLifetime) >= duration('10m')")).message("maxServiceTokenLifetime must be at least 10m").field_path(".maxServiceTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.maxPersonalTokenLifetime"], "duration(self.maxPersonalTokenLifetime) >= duration('10m')")).message("maxPersonalTokenLifetime must be at least 10m").field_path(".maxPersonalTokenLifetime"))]
pub struct Limits {
    /// Longest lifetime of an access token, at least `1m`. Default: `24h`.
    #[serde(default = "hours_24")]
    pub max_access_token_lifetime: DurationString,
    /// Longest lifetime of a token of a ServiceAccessToken, at least `10m`. Default: `8784h` (366 days).
    #[serde(default = "hours_8784")]
    pub max_service_token_lifetime: DurationString,
    /// Whether ServiceAccessTokens may set `neverExpires`: `Allow` or `Deny`. Default: `Deny`.
    #[serde(default)]
    pub never_expiring_tokens: Permission,
    /// Longest lifetime of a personal access token, at least `10m`. A shorter one also ends existing tokens. Default:
    /// `8784h` (366 days).
    #[serde(default = "hours_8784")]
    pub max_personal_token_lifetime: DurationString,
    /// Whether personal access tokens may never expire: `Allow` or `Deny`. `Deny` also refuses existing ones. Default:
    /// `Deny`.
    #[serde(default)]
    pub never_expiring_personal_tokens: Permission,
    /// Label and annotation keys that templates of Secrets may set, besides those that every template may set.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret_metadata: SecretMetadata,
    /// Limits of each namespace, the Identity's own included.
    #[serde(default, skip_serializing_if = "is_default")]
    pub per_namespace: PerNamespace,
    /// Number of Users that are served; the oldest are served. Default: 2000.
    #[serde(default = "users_2000")]
    #[schemars(range(min = 0, max = 100_000))]
    pub users: i64,
    /// Claims about people that Scopes outside the Identity's namespace may release. Default: none. Example:
    /// `[department]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = CLAIM_FORM)
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub releasable_claims: Vec<String>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_access_token_lifetime: hours_24(),
            max_service_token_lifetime: hours_8784(),
            never_expiring_tokens: Permission::default(),
            max_personal_token_lifetime: hours_8784(),
            never_expiring_personal_tokens: Permission::default(),
            secret_metadata: SecretMetadata::default(),
            per_namespace: PerNamespace::default(),
            users: users_2000(),
            releasable_claims: Vec::new(),
        }
    }
}

/// Whether something is allowed.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Permission {
    Allow,
    #[default]
    Deny,
}

/// Limits of each namespace that uses an Identity, the Identity's own included.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PerNamespace {
    /// Number of OAuthClients of one namespace that this Identity serves; the oldest are served. Default: 200.
    #[serde(default = "clients_200")]
    #[schemars(range(min = 0, max = 100_000))]
    pub clients: i64,
    /// Number of ServiceAccessTokens of one namespace, of all Identities together, that are served; the oldest are
    /// served. Default: 1000.
    #[serde(default = "tokens_1000")]
    #[schemars(range(min = 0, max = 1_000_000))]
    pub service_tokens: i64,
    /// Number of client secrets and tokens that the operator issues for one namespace within an hour. Default: 600.
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

/// Lifetimes and format of an Identity's tokens.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.accessTokenLifetime"], "duration(self.accessTokenLifetime) >= duration('1m')")).message("accessTokenLifetime must be at least 1m").field_path(".accessTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.serviceTokenLifetime"], "duration(self.serviceTokenLifetime) >= duration('10m')")).message("serviceTokenLifetime must be at least 10m").field_path(".serviceTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.idTokenLifetime"], "duration(self.idTokenLifetime) >= duration('1m') && duration(self.idTokenLifetime) <= duration('24h')")).message("idTokenLifetime must be between 1m and 24h").field_path(".idTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.authorizationCodeLifetime"], "duration(self.authorizationCodeLifetime) >= duration('10s') && duration(self.authorizationCodeLifetime) <= duration('10m')")).message("authorizationCodeLifetime must be between 10s and 10m").field_path(".authorizationCodeLifetime"))]
pub struct TokenOptions {
    /// Lifetime of access tokens, unless the client sets another one; at least `1m`. Default: `1h`.
    #[serde(default = "hours_1")]
    pub access_token_lifetime: DurationString,
    /// Value of `typ` in the header of access tokens, unless the client sets another one. `AtJWT`: `at+jwt` (RFC 9068
    /// section 2.1). `JWT`: for APIs that refuse `at+jwt`, such as those on Spring Security. Default: `AtJWT`.
    #[serde(default)]
    pub access_token_type: AccessTokenType,
    /// Lifetime of the tokens of a ServiceAccessToken that sets none; at least `10m`. Default: `2160h` (90 days).
    #[serde(default = "hours_2160")]
    pub service_token_lifetime: DurationString,
    /// Prefix of reference tokens and client secrets, by which secret scanners find them: 1 to 16 lower-case letters
    /// and digits. Default: `sym`.
    #[serde(default = "prefix_sym")]
    #[schemars(length(min = 1, max = 16), regex(pattern = r"^[a-z0-9]+$"))]
    pub reference_prefix: String,
    /// Form of the `scope` claim: `String` (RFC 9068 section 2.2.3) or `Array`. Default: `String`.
    #[serde(default)]
    pub scope_claim: ScopeClaim,
    /// Audiences that one token may have. `Single`: audiences that one namespace owns (RFC 9068 section 3). `Many`:
    /// audiences of several namespaces. Default: `Single`.
    #[serde(default)]
    pub audience: AudienceMode,
    /// Lifetime of ID tokens, unless the client sets another one: `1m` to `24h`. Default: `5m`.
    #[serde(default = "minutes_5")]
    pub id_token_lifetime: DurationString,
    /// Lifetime of authorization codes, `10s` to `10m`. Default: `60s`.
    #[serde(default = "seconds_60")]
    pub authorization_code_lifetime: DurationString,
    /// How refresh tokens last, and when they are replaced.
    #[serde(default, skip_serializing_if = "is_default")]
    pub refresh_token: RefreshTokenOptions,
}

impl Default for TokenOptions {
    fn default() -> Self {
        Self {
            access_token_lifetime: hours_1(),
            access_token_type: AccessTokenType::default(),
            service_token_lifetime: hours_2160(),
            reference_prefix: prefix_sym(),
            scope_claim: ScopeClaim::default(),
            audience: AudienceMode::default(),
            id_token_lifetime: minutes_5(),
            authorization_code_lifetime: seconds_60(),
            refresh_token: RefreshTokenOptions::default(),
        }
    }
}

/// The form of the `scope` claim.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at TokenOptions::scope_claim")]
pub enum ScopeClaim {
    #[default]
    String,
    Array,
}

/// Whether a token may span audiences of several owners.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at TokenOptions::audience")]
pub enum AudienceMode {
    #[default]
    Single,
    Many,
}

/// How access tokens are signed, and when signing keys rotate.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.rotateEvery"], "duration(self.rotateEvery) >= duration('1h')")).message("rotateEvery must be at least 1h").field_path(".rotateEvery"))]
#[x_kube(validation = Rule::new(durations(&["self.publishAhead"], "duration(self.publishAhead) >= duration('10m')")).message("publishAhead must be at least 10m: caches of the JWK Set and mounted Secrets update late").field_path(".publishAhead"))]
#[x_kube(validation = Rule::new(durations(&["self.publishAhead", "self.rotateEvery"], "duration(self.publishAhead) < duration(self.rotateEvery)")).message("publishAhead must be shorter than rotateEvery").field_path(".publishAhead"))]
pub struct Signing {
    /// Signature algorithms, the default first. Clients choose one of them. A new default signs once its key has been
    /// published for `publishAhead`; until then the previous default signs. Default: `[RS256]`.
    #[serde(default = "rs256")]
    #[schemars(length(min = 1, max = 4))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub algorithms: Vec<SigningAlgorithm>,
    /// How long a key signs before the next one replaces it; at least `1h`. Default: `2160h` (90 days).
    #[serde(default = "hours_2160")]
    pub rotate_every: DurationString,
    /// How long a key is published in the JWK Set before it signs; at least `10m` and shorter than `rotateEvery`.
    /// Default: `24h`.
    #[serde(default = "hours_24")]
    pub publish_ahead: DurationString,
    /// Ids (`kid`) of signing keys that are no longer trusted. They leave the JWK Set at once, and tokens that they
    /// signed are refused. Default: none.
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
    /// Name of the gateway, the last segment of `/connect/checktoken/<name>`.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Audience that the token must have. Example: `https://api.example.com`.
    #[schemars(
        length(min = 1, max = 512),
        regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
    )]
    pub audience: String,
    /// Scope values that the token must have, all of them. Default: none. Example: `[orders.read]`.
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

/// What the servers do while they cannot reach the Kubernetes API.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.maxAge"], "duration(self.maxAge) >= duration('1m')")).message("maxAge must be at least 1m").field_path(".maxAge"))]
pub struct Staleness {
    /// How long a server goes without news from the Kubernetes API before `whenExceeded` applies; at least `1m`.
    /// Default: `24h`.
    #[serde(default = "hours_24")]
    pub max_age: DurationString,
    /// What a server does after `maxAge`. `Refuse`: it answers 503. `KeepServing`: it answers from the data that it
    /// has, and may accept what was revoked since. Default: `Refuse`.
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

/// What a server does after `staleness.maxAge`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Staleness::when_exceeded")]
pub enum WhenExceeded {
    #[default]
    Refuse,
    KeepServing,
}

/// What the operator observed of an Identity.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct IdentityStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// URLs of the issuer; absent until its pods serve them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Endpoints>,
    /// Number of pods, including those of an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replicas: Option<i64>,
    /// Number of pods that are ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_replicas: Option<i64>,
    /// Label selector of the pods, for autoscalers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub selector: Option<String>,
    /// Version that all pods run: the tag of the image, or its digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Number of valid OAuthClients that name this Identity, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clients: Option<i64>,
    /// Number of valid ServiceAccessTokens whose client names this Identity, as counted a few seconds ago.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<i64>,
    /// The signing keys: public ids, never the keys themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["kid".into()]))]
    pub keys: Vec<KeyStatus>,
    /// Conditions, such as `Ready`. The documentation lists every type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// URLs of an issuer. Those that only people need are absent if no people can sign in.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Endpoints {
    /// The issuer, the `iss` claim of every token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// URL of the discovery document (`OpenID` Connect Discovery).
    pub discovery: String,
    /// URL of the JWK Set (RFC 7517).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwks: Option<String>,
    /// URL of the token endpoint (RFC 6749).
    pub token: String,
    /// URL of the introspection endpoint (RFC 7662).
    pub introspection: String,
    /// URL of the revocation endpoint (RFC 7009).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revocation: Option<String>,
    /// URL of the authorization endpoint (RFC 6749).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorization: Option<String>,
    /// URL of the endpoint for pushed authorization requests (RFC 9126).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed_authorization_request: Option<String>,
    /// URL of the userinfo endpoint (`OpenID` Connect Core).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userinfo: Option<String>,
    /// URL at which people sign out (`OpenID` Connect RP-Initiated Logout).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_session: Option<String>,
}

/// One signing key.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// Id of the key, `kid` in the JWK Set.
    pub kid: String,
    /// Algorithm that the key signs with.
    pub algorithm: SigningAlgorithm,
    /// Phase of the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<KeyPhase>,
    /// Time from which the key signs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_from: Option<Moment>,
    /// Time at which the key leaves the JWK Set. Every token that it signed has expired by then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
}

/// Phase of the key. `Published`: it does not sign yet. `Active`: it signs. `Retiring`: it no longer signs. In each
/// phase it is in the JWK Set and verifies tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum KeyPhase {
    /// The key does not sign yet.
    Published,
    /// The key signs.
    Active,
    /// The key no longer signs.
    Retiring,
}

fn seconds_60() -> DurationString {
    "60s".into()
}
fn minutes_5() -> DurationString {
    "5m".into()
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
const fn users_2000() -> i64 {
    2000
}
const fn mints_600() -> i64 {
    600
}
