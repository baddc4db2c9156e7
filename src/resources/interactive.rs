//! What an OAuthClient says about people: the parts of [`OAuthClientSpec`](super::OAuthClientSpec) that need the grant
//! of authorization codes.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::uri::{Group, LogoutUri};

/// Whether a client can keep a secret, RFC 6749 section 2.1.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at OAuthClientSpec::type_")]
pub enum ClientType {
    #[default]
    Confidential,
    Public,
}

/// What an authorization response contains (OAuth 2.0 Multiple Response Type Encoding Practices).
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Hash,
)]
#[allow(missing_docs, reason = "described at OAuthClientSpec::response_types")]
pub enum ResponseType {
    Code,
    CodeIDToken,
}

/// Whether a client must use a protection.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Demand {
    Required,
    Optional,
}

impl Demand {
    pub(super) const fn required() -> Self {
        Self::Required
    }
    pub(super) const fn optional() -> Self {
        Self::Optional
    }
}

/// When a person is asked for consent.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
pub enum ConsentPolicy {
    /// Unless the person has allowed all requested scopes before.
    #[default]
    Remember,
    /// For each request.
    Always,
    /// Only if the request says `prompt=consent`.
    Skip,
}

/// Where a client is told that a session has ended.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema, Hash)]
#[serde(rename_all = "camelCase")]
pub struct Logout {
    /// URI of the client. Example: `https://app.example.com/logout`.
    pub uri: LogoutUri,
    /// Whether the client needs the session's id (`sid`) in the message. Default: `false`.
    #[serde(default)]
    pub session_required: bool,
}

/// Options of a client's refresh tokens.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClientRefreshTokens {
    /// What ends the refresh tokens. `Session`: the sign-out of the person in the browser. `Grant`: only the end of
    /// the grant itself, a change of the password, or the person's end. Default: `Grant` for a client whose redirect
    /// URIs are all loopback ones or have private schemes, else `Session`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_with: Option<RefreshTokenEnd>,
}

/// What ends a client's refresh tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at ClientRefreshTokens::ends_with")]
pub enum RefreshTokenEnd {
    Session,
    Grant,
}

/// Which people may use a client.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("has(self.groups) || has(self.users)").message("set groups, users or both; to open the client to all people, remove access"))]
pub struct ClientAccess {
    /// Groups whose members may use the client. Default: none. Example: `[buyers]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Option<Vec<Group>>,
    /// Names of Users that may use the client, besides the members of `groups`. Default: none. Example: `[alice]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 64),
        inner(
            length(min = 1, max = 253),
            regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub users: Option<Vec<String>>,
}

/// How strongly a person must have signed in (`acr`, OpenID Connect Core section 2). Each class includes the weaker
/// ones.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at OAuthClientSpec::minimum_acr")]
pub enum MinimumAcr {
    Pwd,
    Mfa,
    Phr,
}

/// Which claims of the granted scopes an ID token has, besides those that the parameter `claims` names.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
pub enum IdTokenContent {
    /// Those of every scope except `profile` and `email`, whose claims the userinfo endpoint releases (OpenID Connect
    /// Core section 5.4).
    #[default]
    Standard,
    /// Those of every scope: for clients that never call the userinfo endpoint, such as kube-apiserver.
    Full,
}
