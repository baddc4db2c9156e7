//! `Credential`, internal: the hashes of what was issued to one owner, kept in the Identity's namespace.

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::common::{LocalRef, Moment, is_default};
use super::kind::Kind;

/// Internal. The tokens that were issued to one owner: hashes, never a token. This object alone decides what is
/// accepted; it is named by the owner's uid and changed by compare-and-swap.
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
#[x_kube(validation = Rule::new("self.high >= oldSelf.high").message("high must not decrease").field_path(".high"))]
pub struct CredentialSpec {
    /// Identity in this namespace that accepts the tokens. Immutable.
    pub identity: LocalRef,
    /// Object that the tokens were issued to. Immutable.
    pub owner: CredentialOwner,
    /// Highest epoch that was ever given to a token. It never decreases.
    #[schemars(range(min = 0))]
    pub high: i64,
    /// Version of the Secret that the write of the newest token requires. That write may still land while the Secret
    /// has this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<SecretVersion>,
    /// Accepted tokens, from oldest to newest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub tokens: Vec<CredentialEntry>,
    /// What must be remembered after the tokens are removed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub memory: CredentialMemory,
}

/// What must be remembered of an owner's tokens after they are removed. Nothing in it makes a token accepted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialMemory {
    /// Times at which tokens were issued within the hour before the newest one, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub minted_at: Vec<Moment>,
    /// Imported secrets that are no longer in `tokens`, oldest first. Each keeps the time at which it was first seen.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    #[serde(rename = "brought")]
    pub imported: Vec<ImportedSecret>,
    /// Uid of the Secret that the operator deletes to recreate it with another type. Its deletion is then not a
    /// user's request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub replacing: Option<String>,
    /// Name of the Secret that the newest token was issued for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub secret_name: Option<String>,
    /// The `nonce` of the newest token that was removed, while there is no other token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nonce: Option<String>,
    /// Move of the tokens to another uid of the owner by `symbolon restore rebind`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebound: Option<Rebound>,
}

/// Moves of tokens between Credentials of one owner, which a restore recreated. It makes no token accepted, and only
/// `symbolon restore rebind` reads and writes it.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Rebound {
    /// Uid of the Credential to which these tokens move. If that one was deleted, they are never moved again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64))]
    pub to: Option<String>,
    /// Uids of the previous owners from whose Credentials the tokens came, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub from: Vec<String>,
    /// Last step of an unfinished move to this Credential. Absent if no move is unfinished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<ReboundStep>,
    /// Highest epoch of the tokens that came from the previous owner.
    #[serde(default, skip_serializing_if = "is_default")]
    #[schemars(range(min = 0))]
    pub high: i64,
}

/// The last step of an unfinished move of tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum ReboundStep {
    /// The Credential exists and records no token yet.
    Prepared,
    /// The Credential records the tokens. It is not yet certain that the previous Credential still existed then.
    Filled,
}

/// A client secret that was imported once.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ImportedSecret {
    /// SHA-256 of the secret, in hex.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
    /// Time at which the secret was first seen.
    pub since: Moment,
    /// Whether the secret was revoked by its id. If so, it is not recorded again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub revoked: bool,
}

/// What the servers report about the tokens. Only servers write it. A token check reads only `revoked`, which can
/// only take access away.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
pub struct CredentialStatus {
    /// Uses of each token that was used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["epoch".into()]))]
    pub uses: Vec<TokenUse>,
    /// Public ids of recorded tokens that were revoked one by one (RFC 7009). Servers refuse a token as soon as its
    /// id is in this list. The operator then gives the token an end in the spec.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), inner(regex(pattern = r"^[0-9A-Za-z]{16}$")))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub revoked: Vec<String>,
}

/// When a token was used.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TokenUse {
    /// Number of the token.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// Time of the first use that was reported.
    pub first_used: Moment,
    /// Time of the last use that was reported. The last use itself is at most a day later, and minutes later during
    /// an overlap.
    pub last_used: Moment,
}

/// The object that a Credential belongs to.
#[derive(
    Serialize, Deserialize, Clone, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Hash,
)]
pub struct CredentialOwner {
    /// Kind of the owner.
    pub kind: OwnerKind,
    /// Namespace of the owner.
    #[schemars(length(min = 1, max = 63))]
    pub namespace: String,
    /// Name of the owner.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Uid of the owner.
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
    /// Returns the kind with this name in manifests, if it is one of these.
    pub fn from_name(name: &str) -> Option<Self> {
        let all = [Self::OAuthClient, Self::ServiceAccessToken];
        all.into_iter().find(|kind| kind.as_str() == name)
    }

    /// Returns the same kind among all kinds.
    pub const fn kind(self) -> Kind {
        match self {
            Self::OAuthClient => Kind::OAuthClient,
            Self::ServiceAccessToken => Kind::ServiceAccessToken,
        }
    }

    /// Returns the name in manifests.
    pub const fn as_str(self) -> &'static str {
        self.kind().as_str()
    }
}

/// One version of one Secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretVersion {
    /// Uid of the Secret.
    #[schemars(length(min = 1, max = 64))]
    pub secret_uid: String,
    /// The `resourceVersion` of the Secret, an opaque string.
    #[schemars(length(min = 1, max = 64))]
    pub secret_version: String,
}

/// One issued token or client secret.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct CredentialEntry {
    /// Number of the token. Each new token of the owner gets a higher one.
    #[schemars(range(min = 1))]
    pub epoch: i64,
    /// Public id of the token, 16 base62 characters.
    #[schemars(length(min = 16, max = 16))]
    pub token_id: String,
    /// SHA-256 of the whole token, in hex.
    #[schemars(length(min = 64, max = 64))]
    pub hash: String,
    /// Client that the token was issued to.
    pub client: CredentialClient,
    /// Principal that the token acts as.
    #[schemars(length(min = 1, max = 320))]
    pub principal: String,
    /// Scope values that the token was issued with.
    #[schemars(length(max = 128), inner(length(max = 128)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub scopes: Vec<String>,
    /// Time at which the token was issued.
    pub issued_at: Moment,
    /// Time at which the token expires. Absent if it does not expire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// Earlier end that the token was given when it was replaced or revoked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Values of the annotation and the trigger that requested the token, so that one request makes one rotation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 512))]
    pub nonce: Option<String>,
    /// Why the token was issued.
    pub cause: Cause,
    /// HMAC-SHA-256 over this entry, its owner and its Identity, in hex. An entry that someone else wrote is ignored.
    #[schemars(length(min = 64, max = 64))]
    pub mac: String,
}

/// The client of a [`CredentialEntry`].
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct CredentialClient {
    /// Name of the OAuthClient, in the owner's namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// Uid of the OAuthClient.
    #[schemars(length(min = 1, max = 64))]
    pub uid: String,
}

/// Why a token was issued.
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
    /// Returns the name in manifests.
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
