//! `Credential`, internal: the verifiers of what was issued to one owner, kept in the Identity's namespace.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LocalRef, Moment, is_default};
use super::crds::Kind;

/// The only point of decision about an owner's tokens, changed by compare-and-swap; named by the owner's uid.
/// It holds hashes, never a token.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev",
    version = "v1alpha1",
    kind = "Credential",
    namespaced,
    shortname = "cred",
    category = "symbolon-internal",
    status = "CredentialStatus",
    derive = "PartialEq",
    printcolumn(name = "Owner-Kind", type_ = "string", json_path = ".spec.owner.kind"),
    printcolumn(
        name = "Owner-Namespace",
        type_ = "string",
        json_path = ".spec.owner.namespace"
    ),
    printcolumn(name = "Owner", type_ = "string", json_path = ".spec.owner.name"),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.identity == oldSelf.identity").message("identity is immutable").field_path(".identity"))]
#[x_kube(validation = Rule::new("self.owner == oldSelf.owner").message("owner is immutable").field_path(".owner"))]
#[x_kube(validation = Rule::new("self.high >= oldSelf.high").message("high never goes back").field_path(".high"))]
pub struct CredentialSpec {
    /// The Identity in this namespace.
    pub identity: LocalRef,
    /// Whose tokens these are.
    pub owner: CredentialOwner,
    /// The highest epoch ever given.
    #[schemars(range(min = 0))]
    pub high: i64,
    /// The Secret's version that the write of the newest token is conditioned on: while the Secret has
    /// it, that write may still land.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SecretVersion>,
    /// What is accepted, oldest to newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tokens: Vec<CredentialEntry>,
    /// What outlives the tokens.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: CredentialMemory,
}

/// What must be known of an owner's tokens when they are gone. Nothing of it makes a token accepted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialMemory {
    /// When tokens were made within the hour before the newest of them, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub minted_at: Vec<Moment>,
    /// Secrets that were brought once and are among `tokens` no more, oldest first: each keeps the moment at which
    /// it was first seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub brought: Vec<BroughtSecret>,
    /// Uid of the Secret that the operator deletes to make it anew with another type: that it is gone says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub replacing: Option<String>,
    /// Name of the Secret that the newest token was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// The `nonce` of the newest token that was taken away, while there is no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nonce: Option<String>,
}

/// A client secret that somebody brought once.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BroughtSecret {
    /// SHA-256 of it, in hex.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
    /// When it was first seen.
    pub since: Moment,
    /// Whether it was revoked by its id: it is not recorded again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revoked: bool,
}

/// What the servers say of the tokens: written by them alone. A check of a token reads `revoked`, which only takes
/// access away, and nothing else.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
pub struct CredentialStatus {
    /// The uses of each token that was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["epoch".into()]))]
    pub uses: Vec<TokenUse>,
    /// Public ids of recorded tokens that were revoked one by one (RFC 7009). They are refused from the moment that an id
    /// stands here. The operator then gives each its end in the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(regex(pattern = r"^[0-9A-Za-z]{16}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub revoked: Vec<String>,
}

/// When one of the tokens was used.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// The token's number.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// The first use that was seen.
    pub first_used: Moment,
    /// The last use that was reported: at most a day before the last one, and minutes during an overlap.
    pub last_used: Moment,
}

/// The object that a Credential is for.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema)]
pub struct CredentialOwner {
    /// Its kind.
    pub kind: OwnerKind,
    /// Its namespace.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// The kinds that own Credentials.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, JsonSchema,
)]
#[allow(missing_docs, reason = "names of kinds")]
pub enum OwnerKind {
    OAuthClient,
    ServiceAccessToken,
}

impl OwnerKind {
    /// The kind of a name as manifests write it, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::OAuthClient, Self::ServiceAccessToken];
        all.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The same among all kinds.
    pub const fn kind(self) -> Kind {
        match self {
            Self::OAuthClient => Kind::OAuthClient,
            Self::ServiceAccessToken => Kind::ServiceAccessToken,
        }
    }

    /// The name as manifests write it.
    pub const fn as_str(self) -> &'static str {
        self.kind().as_str()
    }
}

/// One version of one Secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// The Secret's uid.
    #[schemars(length(min = 1, max = 64))]
    pub secret_uid: String,
    /// The Secret's `resourceVersion`, an opaque string.
    #[schemars(length(min = 1, max = 64))]
    pub secret_version: String,
}

/// One issued token or client secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialEntry {
    /// Counts the owner's tokens.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// The token's public id: 16 base62 characters.
    #[schemars(length(min = 16, max = 16))]
    pub token_id: String,
    /// SHA-256 of the whole token, in hex.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
    /// The client that it was issued to.
    pub client: CredentialClient,
    /// Whom it acts as.
    #[schemars(length(min = 1, max = 320))]
    pub principal: String,
    /// What it was given.
    #[schemars(length(max = 128), inner(length(max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub scopes: Vec<String>,
    /// When it was made.
    pub issued_at: Moment,
    /// When it ends; absent: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// An earlier end, given when it was replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// What asked for it: annotation and trigger, so that one request makes one rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nonce: Option<String>,
    /// Why it was made.
    pub cause: Cause,
    /// HMAC-SHA-256 over this entry, its owner and Identity, in hex: an entry that someone else wrote is ignored.
    #[schemars(length(min = 64, max = 64))]
    pub mac: String,
}

/// The client of a [`CredentialEntry`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct CredentialClient {
    /// Name of the OAuthClient, in the owner's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Its uid.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Why a token was made.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Cause {
    Initial,
    Scheduled,
    Requested,
    SecretDeleted,
    SecretChanged,
    ScopesChanged,
    Expired,
    Imported,
}

impl Cause {
    /// The name as the resource writes it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Initial => "Initial",
            Self::Scheduled => "Scheduled",
            Self::Requested => "Requested",
            Self::SecretDeleted => "SecretDeleted",
            Self::SecretChanged => "SecretChanged",
            Self::ScopesChanged => "ScopesChanged",
            Self::Expired => "Expired",
            Self::Imported => "Imported",
        }
    }
}
