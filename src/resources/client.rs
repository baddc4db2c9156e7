//! `OAuthClient`: an application that obtains tokens, RFC 6749 section 2.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{
    AccessTokenType, Binding, Day, DurationString, IdentityRef, KeyRef, LastRotation, LocalRef,
    Moment, PreviousToken, Rotation, SigningAlgorithm, durations, is_default,
};
use super::interactive::{
    ClientAccess, ClientRefreshTokens, ClientType, ConsentPolicy, Demand, IdTokenContent, Logout,
    MinimumAcr, ResponseType,
};
use super::normal::{AUDIENCE_WORDS, audiences};
use super::template::{OWN_CLIENT_KEYS, Template, client_template};
use super::uri::{Origin, RedirectUri};
use super::user::UserType;

/// Message of the rule on the credentials of a public client.
pub const PUBLIC_HAS_NO_SECRET: &str =
    "a public client has no secret: remove authentication, or set type: Confidential";
/// Message of the rule on the grants of a public client.
pub const PUBLIC_IS_NO_MACHINE: &str = "ClientCredentials needs a secret, which a public client does not have: remove it, or set type: Confidential";
/// Message of the rule on APIs that are public clients.
pub const PUBLIC_IS_NO_API: &str = "resourceServer needs a secret for introspection, which a public client does not have: remove it, or set type: Confidential";
/// Message of the rule on PKCE.
pub const PUBLIC_NEEDS_PKCE: &str =
    "a public client must use PKCE: remove pkce, or set type: Confidential";
/// Message of the rule on redirect URIs.
pub const REDIRECT_URIS_WITH_CODES: &str = "redirectUris is required with AuthorizationCode in grantTypes, and forbidden without: there people return with a code";
/// Message of the rule on the grant of refresh tokens.
pub const REFRESH_NEEDS_CODES: &str =
    "RefreshToken needs AuthorizationCode in grantTypes: only the tokens of people are refreshed";
/// Message of the rule on fields about people.
pub const PEOPLE_NEED_CODES: &str = "responseTypes, postLogoutRedirectUris, allowedOrigins, backchannelLogout, frontchannelLogout, users, access, minimumAcr and maxAuthAge are about people, who need AuthorizationCode in grantTypes";
/// Message of the rule on the options of refresh tokens.
pub const END_NEEDS_REFRESH: &str = "refreshTokens needs RefreshToken in grantTypes";
/// The maximum size of all texts of an OAuthClient that only people need, in bytes. The operator and every server keep
/// them for each client, also for those beyond the quota: the quota may rise.
pub const MOST_BYTES_ABOUT_PEOPLE: usize = 16 << 10;
/// Message of the rule on the size of these texts.
pub const TOO_MUCH_ABOUT_PEOPLE: &str = "redirectUris, postLogoutRedirectUris, allowedOrigins, backchannelLogout, frontchannelLogout and access must have at most 16384 bytes in total: remove some of their items, or shorten them";
/// Message of the rule on the page of the front-channel logout.
pub const FRONTCHANNEL_IS_OWN: &str =
    "the URI must have the scheme, host and port of a redirect URI of the client";
/// The rule with the message [`FRONTCHANNEL_IS_OWN`].
const FRONTCHANNEL_RULE: &str = "!has(self.frontchannelLogout) || !has(self.redirectUris) || self.redirectUris.exists(uri, uri.find('^[^:]*://[^/?]*') == self.frontchannelLogout.uri.find('^[^:]*://[^/?]*'))";
/// The rule with the message [`PEOPLE_NEED_CODES`].
const PEOPLE_RULE: &str = "'AuthorizationCode' in self.grantTypes || !(has(self.responseTypes) || has(self.postLogoutRedirectUris) || has(self.allowedOrigins) || has(self.backchannelLogout) || has(self.frontchannelLogout) || has(self.users) || has(self.access) || has(self.minimumAcr) || has(self.maxAuthAge))";

/// A client of an Identity (RFC 6749 section 2): how it authenticates, and what it may ask for.
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
#[x_kube(validation = Rule::new("has(self.identityRef) == has(oldSelf.identityRef) && (!has(self.identityRef) || self.identityRef == oldSelf.identityRef)").message("identityRef is immutable: delete the OAuthClient and recreate it").field_path(".identityRef"))]
#[x_kube(validation = Rule::new("has(self.clientId) == has(oldSelf.clientId) && (!has(self.clientId) || self.clientId == oldSelf.clientId)").message("clientId is immutable: create another OAuthClient and delete this one").field_path(".clientId"))]
#[x_kube(validation = Rule::new("!has(self.clientId) || !self.clientId.matches('^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$')").message("clientId must not look like a UUID: UUIDs identify people").field_path(".clientId"))]
#[x_kube(validation = Rule::new("self.type == oldSelf.type").message("type is immutable: create another OAuthClient and delete this one").field_path(".type"))]
#[x_kube(validation = Rule::new("self.type != 'Public' || !has(self.authentication) || !has(self.authentication.secret)").message(PUBLIC_HAS_NO_SECRET).field_path(".authentication"))]
#[x_kube(validation = Rule::new("self.type != 'Public' || !('ClientCredentials' in self.grantTypes)").message(PUBLIC_IS_NO_MACHINE).field_path(".grantTypes"))]
#[x_kube(validation = Rule::new("self.type != 'Public' || !has(self.resourceServer)").message(PUBLIC_IS_NO_API).field_path(".resourceServer"))]
#[x_kube(validation = Rule::new("self.type != 'Public' || self.pkce == 'Required'").message(PUBLIC_NEEDS_PKCE).field_path(".pkce"))]
#[x_kube(validation = Rule::new("('AuthorizationCode' in self.grantTypes) == has(self.redirectUris)").message(REDIRECT_URIS_WITH_CODES).field_path(".redirectUris"))]
#[x_kube(validation = Rule::new("!('RefreshToken' in self.grantTypes) || 'AuthorizationCode' in self.grantTypes").message(REFRESH_NEEDS_CODES).field_path(".grantTypes"))]
#[x_kube(validation = Rule::new(PEOPLE_RULE).message(PEOPLE_NEED_CODES).field_path(".grantTypes"))]
#[x_kube(validation = Rule::new("!has(self.refreshTokens) || 'RefreshToken' in self.grantTypes").message(END_NEEDS_REFRESH).field_path(".refreshTokens"))]
#[x_kube(validation = Rule::new(durations(&["self.maxAuthAge"], "duration(self.maxAuthAge) >= duration('1m')")).message("maxAuthAge must be at least 1m").field_path(".maxAuthAge"))]
#[x_kube(validation = Rule::new(FRONTCHANNEL_RULE).message(FRONTCHANNEL_IS_OWN).field_path(".frontchannelLogout.uri"))]
#[x_kube(validation = Rule::new(size_about_people()).message(TOO_MUCH_ABOUT_PEOPLE).field_path(".redirectUris"))]
pub struct OAuthClientSpec {
    /// Identity that serves the client. Immutable. Default: the installation's default Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<IdentityRef>,
    /// The `client_id`. Outside the Identity's namespace it must begin with `<namespace>.`, unless the Identity's
    /// `access.names` grants another one. Immutable. Default: `<namespace>.<name>`. Example: `shop.web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 255),
        regex(pattern = r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    )]
    pub client_id: Option<String>,
    /// Name of the client for people. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub display_name: Option<String>,
    /// Disables the client: it is refused at once, and so is every token of it. Default: `false`.
    #[serde(default)]
    pub disabled: bool,
    /// OAuth grants that the client may use. An API that only introspects tokens needs none: set `[]`. Example:
    /// `[ClientCredentials]`.
    #[schemars(length(max = 6))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub grant_types: Vec<GrantType>,
    /// Scope values that the client may ask for. Each is granted if its Scope allows this namespace. Default: none.
    /// Example: `[orders.read]`.
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
    /// Makes the client an API, which may introspect tokens for its audiences (RFC 7662). Default: the client is not
    /// an API.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource_server: Option<ResourceServer>,
    /// How the client authenticates. Default: with a client secret that the operator issues.
    #[serde(default, skip_serializing_if = "is_default")]
    pub authentication: Authentication,
    /// Service identity that the client's ServiceAccessTokens act as: the principal `<namespace>:<name>`. A client
    /// without one cannot have ServiceAccessTokens. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_user: Option<LocalRef>,
    /// Who may create reference tokens of this client. `None`: no one. `AdministratorsOnly`: users that may create
    /// ServiceAccessTokens, and for themselves people whose User has `role: Administrator`. `AuthenticatedUsers`: for
    /// themselves, also other people who may use the client. Default: `None`.
    #[serde(default)]
    pub reference_tokens: ReferenceTokens,
    /// Signature algorithm and lifetime of the client's access tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub tokens: ClientTokens,
    /// Whether the client can keep a secret (RFC 6749 section 2.1). `Confidential`: a program on a server. `Public`:
    /// one on the device of a person, such as a page, a mobile or a command-line application. Immutable. Default:
    /// `Confidential`.
    #[serde(default, rename = "type")]
    pub type_: ClientType,
    /// What an authorization response may contain. `Code`: a code. `CodeIDToken`: also an ID token. Default:
    /// `[Code]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub response_types: Option<Vec<ResponseType>>,
    /// URIs to which people return with a code: exactly these, except that a loopback URI (`http://127.0.0.1`,
    /// `http://[::1]`, `http://localhost`) allows every port. Required with `AuthorizationCode` in `grantTypes`, and
    /// forbidden otherwise. All URIs and origins of the client and its `access` have at most 16384 bytes in total.
    /// Example: `[https://shop.example.com/callback]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub redirect_uris: Option<Vec<RedirectUri>>,
    /// URIs to which people may return after they signed out, compared as those in `redirectUris`. Default: none.
    /// Example: `[https://shop.example.com/]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub post_logout_redirect_uris: Option<Vec<RedirectUri>>,
    /// Origins of web pages that may call the token, userinfo, revocation and PAR endpoints as this client (CORS).
    /// Default: none. Example: `[https://shop.example.com]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub allowed_origins: Option<Vec<Origin>>,
    /// Where the servers tell the client that a session has ended (OpenID Connect Back-Channel Logout). Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backchannel_logout: Option<Logout>,
    /// What the sign-out page loads in a frame (OpenID Connect Front-Channel Logout), on the host of a redirect URI.
    /// Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub frontchannel_logout: Option<Logout>,
    /// Options of the client's refresh tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_tokens: Option<ClientRefreshTokens>,
    /// Whether the client must use PKCE (RFC 7636): `Required`, or `Optional` for a confidential client that cannot.
    /// Default: `Required`.
    #[serde(default = "Demand::required")]
    pub pkce: Demand,
    /// Whether the client must push its authorization requests (RFC 9126): `Required` or `Optional`. Default:
    /// `Optional`.
    #[serde(default = "Demand::optional")]
    pub par: Demand,
    /// When people are asked for consent. `Remember`: once for each scope. `Always`: each time. `Skip`: never, if the
    /// Identity's `access.skipConsent` allows it. Default: `Remember`.
    #[serde(default)]
    pub consent: ConsentPolicy,
    /// Types of the people that may use the client. Default: `[Internal]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 2))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Option<Vec<UserType>>,
    /// Which people may use the client. Default: all of the types in `users`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<ClientAccess>,
    /// How strongly people must have signed in: `Pwd` (a password), `Mfa` (two factors) or `Phr` (a passkey). Default:
    /// in any way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minimum_acr: Option<MinimumAcr>,
    /// How long ago people may have signed in, at least `1m`. Default: no limit but that of the session. Example:
    /// `8h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_auth_age: Option<DurationString>,
}

/// Returns the rule with the message [`TOO_MUCH_ABOUT_PEOPLE`]. The `size()` of a text counts characters, and a group
/// may have characters of several bytes.
fn size_about_people() -> String {
    let list = |exists: &str, field: &str| {
        format!("({exists} ? {field}.map(text, bytes(text).size()).sum() : 0)")
    };
    let of_client = |field: &str| list(&format!("has(self.{field})"), &format!("self.{field}"));
    let of_access = |field: &str| {
        let exists = format!("has(self.access) && has(self.access.{field})");
        list(&exists, &format!("self.access.{field}"))
    };
    let logout = |field: &str| format!("(has(self.{field}) ? bytes(self.{field}.uri).size() : 0)");
    let sizes = [
        of_client("redirectUris"),
        of_client("postLogoutRedirectUris"),
        of_client("allowedOrigins"),
        logout("backchannelLogout"),
        logout("frontchannelLogout"),
        of_access("groups"),
        of_access("users"),
    ];
    format!("{} <= {MOST_BYTES_ABOUT_PEOPLE}", sizes.join(" + "))
}

/// An OAuth grant, RFC 6749.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Hash,
)]
pub enum GrantType {
    /// The client credentials grant, RFC 6749 section 4.4.
    ClientCredentials,
    /// The grant of authorization codes, RFC 6749 section 4.1.
    AuthorizationCode,
    /// The grant of refresh tokens, RFC 6749 section 6.
    RefreshToken,
}

/// The API that a client represents.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
pub struct ResourceServer {
    /// Audiences of the API. Each must be `<issuer>/<namespace>` or below it, unless the Identity's `access.names`
    /// grants another one. Example: `[https://id.example.com/main/shop]`.
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
    /// The client secret, sent by `client_secret_basic` or `client_secret_post`. The operator writes it into a Secret
    /// with the keys `client-id`, `client-secret`, `issuer` and `token-url`, unless `existingRef` imports one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<ClientSecret>,
}

/// A client secret. The operator issues it into a Secret, or imports it with `existingRef`.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new(durations(&["self.lifetime"], "duration(self.lifetime) >= duration('10m') && duration(self.lifetime) <= duration('87600h')")).message("lifetime must be between 10m and 87600h").field_path(".lifetime"))]
#[x_kube(validation = Rule::new("has(self.lifetime) || !has(self.rotation) || !has(self.rotation.renewBefore)").message("renewBefore needs a lifetime: a secret that never expires is never renewed").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.rotation) || ".to_owned() + &durations(&["self.lifetime", "self.rotation.renewBefore"], "duration(self.rotation.renewBefore) < duration(self.lifetime)")).message("renewBefore must be shorter than lifetime").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.existingRef) || !(has(self.name) || has(self.template) || has(self.lifetime) || has(self.rotation))").message("existingRef cannot be combined with name, template, lifetime or rotation: the operator does not write that Secret").field_path(".existingRef"))]
#[x_kube(validation = Rule::new("!has(self.template) || !has(self.template.data) || !self.template.data.exists(key, key in ['client-id', 'client-secret', 'issuer', 'token-url'])").message(OWN_CLIENT_KEYS).field_path(".template.data"))]
#[serde(rename_all = "camelCase")]
pub struct ClientSecret {
    /// Imports a client secret from a Secret that another tool writes, such as External Secrets or SOPS. The operator
    /// then issues none and never writes that Secret, which must carry the label `symbolon.dev/client: <name of this
    /// object>`. Cannot be combined with the other fields. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub existing_ref: Option<KeyRef>,
    /// Name of the Secret. Default: `<name of this object>-client`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// What else the Secret contains: its type, labels, annotations and more keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "client_template")]
    pub template: Option<Template>,
    /// Lifetime of a client secret, `10m` to `87600h`. Default: a client secret does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<DurationString>,
    /// When the client secret is replaced, and how long the previous one stays accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
}

/// Who may create reference tokens of a client.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
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

/// Signature algorithm, lifetime and type of a client's access tokens.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.accessTokenLifetime"], "duration(self.accessTokenLifetime) >= duration('1m')")).message("accessTokenLifetime must be at least 1m").field_path(".accessTokenLifetime"))]
#[x_kube(validation = Rule::new(durations(&["self.idTokenLifetime"], "duration(self.idTokenLifetime) >= duration('1m') && duration(self.idTokenLifetime) <= duration('24h')")).message("idTokenLifetime must be between 1m and 24h").field_path(".idTokenLifetime"))]
pub struct ClientTokens {
    /// Signature algorithm, one of the Identity's `signing.algorithms`. Default: the first of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub algorithm: Option<SigningAlgorithm>,
    /// Lifetime of the client's access tokens, at least `1m`. The Identity's `limits.maxAccessTokenLifetime` caps it.
    /// Default: the Identity's `tokens.accessTokenLifetime`. Example: `15m`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_lifetime: Option<DurationString>,
    /// Value of `typ` in the header of the client's access tokens: `AtJWT` or `JWT`. Default: the Identity's
    /// `tokens.accessTokenType`. Example: `JWT`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access_token_type: Option<AccessTokenType>,
    /// Lifetime of the client's ID tokens, `1m` to `24h`. Default: the Identity's `tokens.idTokenLifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_token_lifetime: Option<DurationString>,
    /// Which claims about the person an ID token has. `Standard`: those of `profile` and `email` only from the
    /// userinfo endpoint. `Full`: those of every scope, for programs that read only the ID token, such as
    /// kube-apiserver. Default: `Standard`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub id_token_claims: IdTokenContent,
}

/// What the operator observed of an OAuthClient.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct OAuthClientStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The `client_id` in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Identity of the client, as `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The issuer, as in the `iss` claim.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Name of the Secret with the client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The same Secret, in the form of servicebinding.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Number of the newest client secret. Each new one gets a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Public id of the newest client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Time at which the newest client secret was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Moment>,
    /// Time at which the newest client secret expires. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// Time at which the operator renews the client secret. Absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<Moment>,
    /// Last day (UTC) on which the newest client secret is known to have been used. Absent if no use is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Day>,
    /// The previous client secret, while it is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousToken>,
    /// The last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<LastRotation>,
    /// The value that requested the last rotation on request, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_nonce: Option<String>,
    /// Scope values in the spec that are not granted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub not_granted: Vec<String>,
    /// Conditions, such as `Ready`. The documentation lists every type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
