//! `ServiceAccessToken`: a long-lived opaque token of a client's system user, written into a Secret.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use serde::{Deserialize, Serialize};

use super::common::{
    Binding, Day, DurationString, LastRotation, LocalRef, Moment, PreviousToken, Rotation,
    TokenSecret, is_default,
};

/// A reference token that acts as the system user of its client, never as whoever created it.
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
#[x_kube(validation = Rule::new("!(has(oldSelf.revoked) && oldSelf.revoked) || (has(self.revoked) && self.revoked)").message("a revoked token stays revoked: delete the ServiceAccessToken and create it anew").field_path(".revoked"))]
#[x_kube(validation = Rule::new("(has(self.lifetime) ? 1 : 0) + (has(self.expiresAt) ? 1 : 0) + (has(self.neverExpires) && self.neverExpires ? 1 : 0) <= 1").message("at most one of lifetime, expiresAt and neverExpires"))]
#[x_kube(validation = Rule::new("!has(self.lifetime) || duration(self.lifetime) >= duration('10m') && duration(self.lifetime) <= duration('87600h')").message("lifetime is 10m to 87600h").field_path(".lifetime"))]
#[x_kube(validation = Rule::new("!has(self.expiresAt) || (has(self.rotation) && has(self.rotation.policy) && self.rotation.policy == 'Manual')").message("expiresAt needs rotation.policy: Manual, since a fixed end cannot be renewed").field_path(".rotation"))]
#[x_kube(validation = Rule::new("!(has(self.neverExpires) && self.neverExpires) || !has(self.rotation) || !has(self.rotation.renewBefore)").message("neverExpires has no renewBefore: there is no end to be before").field_path(".rotation.renewBefore"))]
#[x_kube(validation = Rule::new("!has(self.lifetime) || !has(self.rotation) || !has(self.rotation.renewBefore) || duration(self.rotation.renewBefore) < duration(self.lifetime)").message("renewBefore is shorter than lifetime").field_path(".rotation.renewBefore"))]
pub struct ServiceAccessTokenSpec {
    /// The OAuthClient in this namespace whose system user it acts as.
    pub client_ref: LocalRef,
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub description: Option<String>,
    /// The scope values that it has, each one of the client's.
    #[schemars(
        length(min = 1, max = 64),
        inner(
            length(min = 1, max = 128),
            regex(pattern = r"^[\x21\x23-\x5B\x5D-\x7E]+$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub scopes: Vec<String>,
    /// How long each token is good, 10m to 87600h. Absent, with neither `expiresAt` nor `neverExpires`:
    /// the Identity's `tokens.serviceTokenLifetime`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifetime: Option<DurationString>,
    /// The one moment at which it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// No end, where the Identity's `limits.neverExpiringTokens` allows it.
    #[serde(default)]
    pub never_expires: bool,
    /// The Secret to write, with the keys `token` and `issuer`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub secret: TokenSecret,
    /// When it is replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation: Option<Rotation>,
    /// Kills every token of it, at once and for good.
    #[serde(default)]
    pub revoked: bool,
}

/// What the operator did for a ServiceAccessToken. Never a token.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceAccessTokenStatus {
    /// The generation of the spec that this status tells of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The `client_id` of its client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The issuer that knows it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// The Secret that holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_name: Option<String>,
    /// The same, as servicebinding.io names it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub binding: Option<Binding>,
    /// The public id of the newest token: what logs and introspection (`jti`) say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_id: Option<String>,
    /// Counts the tokens made for it; never goes back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
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
    /// Who created this object, as the installation's admission policy stamped it; `unverified` where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub created_by: Option<String>,
    /// The last rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_rotation: Option<LastRotation>,
    /// The nonce of the last rotation that was asked for and done.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rotation_nonce: Option<String>,
    /// The token before, while it is still accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<PreviousToken>,
    /// See the list of conditions in the documentation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}
