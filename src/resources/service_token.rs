//! `ServiceAccessToken`: a long-lived opaque token of a client's system user, written into a Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::common::{
    Binding, Day, DurationString, LastRotation, LocalRef, Moment, PreviousToken, Rotation,
    TokenSecret, durations, is_default,
};

/// A reference token in a Secret. It acts as the system user of its client, never as the user that created it.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev",
    version = "v1alpha1",
    kind = "ServiceAccessToken",
    namespaced,
    shortname = "sat",
    category = "symbolon",
    status = "ServiceAccessTokenStatus",
    derive = "PartialEq",
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 247 || (has(self.spec.secret) && has(self.spec.secret.name))").optional_old_self(true).message("the default name of its Secret would be longer than 253 characters: set spec.secret.name"),
    printcolumn(name = "Client", type_ = "string", json_path = ".spec.clientRef.name"),
    printcolumn(name = "Secret", type_ = "string", json_path = ".status.secretName"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".status.expiresAt"),
    printcolumn(
        name = "Last-Used",
        type_ = "string",
        json_path = ".status.lastUsed",
        priority = 1
    ),
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
#[x_kube(validation = Rule::new("self.clientRef == oldSelf.clientRef").message("clientRef is immutable: create another ServiceAccessToken and delete this one").field_path(".clientRef"))]
#[x_kube(validation = Rule::new("!(has(oldSelf.revoked) && oldSelf.revoked) || (has(self.revoked) && self.revoked)").message("a revoked token stays revoked: delete the ServiceAccessToken and recreate it").field_path(".revoked"))]
#[x_kube(validation = Rule::new("(has(self.lifetime) ? 1 : 0) + (has(self.expiresAt) ? 1 : 0) + (has(self.neverExpires) && self.neverExpires ? 1 : 0) <= 1").message("set at most one of lifetime, expiresAt and neverExpires"))]
#[x_kube(validation = Rule::new(durations(&["self.lifetime"], "duration(self.lifetime) >= duration('10m') && duration(self.lifetime) <= duration('87600h')")).message("lifetime must be between 10m and 87600h").field_path(".lifetime"))]
#[x_kube(validation = Rule::new("!has(self.expiresAt) || (has(self.rotation) && has(self.rotation.policy) && self.rotation.policy == 'Manual')").message("expiresAt needs rotation.policy: Manual, since a token with a fixed expiry cannot be renewed").field_path(".rotation"))]
#[x_kube(validation = Rule::new("!(has(self.neverExpires) && self.neverExpires) || !has(self.rotation) || !has(self.rotation.renewBefore)").message("renewBefore cannot be combined with neverExpires: a token that never expires is never renewed").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.rotation) || ".to_owned() + &durations(&["self.lifetime", "self.rotation.renewBefore"], "duration(self.rotation.renewBefore) < duration(self.lifetime)")).message("renewBefore must be shorter than lifetime").field_path(".rotation.renewBefore"))]
pub struct ServiceAccessTokenSpec {
    /// OAuthClient in this namespace whose system user the token acts as. Immutable.
    pub client_ref: LocalRef,
    /// What the token is for. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// Scope values of the token, each one of the client's `scopes`. Example: `[orders.read]`.
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// Lifetime of each token, `10m` to `87600h`. Set at most one of `lifetime`, `expiresAt` and `neverExpires`.
    /// Default: the Identity's `tokens.serviceTokenLifetime`. Example: `720h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<DurationString>,
    /// Fixed time at which the token expires (RFC 3339). Needs `rotation.policy: Manual`. Default: none. Example:
    /// `2027-01-31T12:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// The token never expires. The Identity's `limits.neverExpiringTokens` must allow it. Default: `false`.
    #[serde(default)]
    pub never_expires: bool,
    /// Secret that the operator writes, with the keys `token` and `issuer`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret: TokenSecret,
    /// When the token is replaced, and how long the previous one stays accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Revokes every token of this object, at once and for good: `true` cannot be unset. Default: `false`.
    #[serde(default)]
    pub revoked: bool,
}

/// What the operator observed of a ServiceAccessToken. It never holds a token.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccessTokenStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The `client_id` of the token's client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Issuer that accepts the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Name of the Secret with the token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The same Secret, in the form of servicebinding.io.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// Public id of the newest token, as in logs and in the `jti` of introspection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Number of the newest token. Each new one gets a higher number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// Time at which the newest token was issued.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issued_at: Option<Moment>,
    /// Time at which the newest token expires. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// Time at which the operator renews the token. Absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renews_at: Option<Moment>,
    /// Last day (UTC) on which the newest token is known to have been used. Absent if no use is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Day>,
    /// User that created this object, as the installation's admission policy recorded it; `unverified` without such a
    /// policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub created_by: Option<String>,
    /// The last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<LastRotation>,
    /// The value that requested the last rotation on request, once it is done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_nonce: Option<String>,
    /// The previous token, while it is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousToken>,
    /// Conditions, such as `Ready`. The documentation lists every type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
