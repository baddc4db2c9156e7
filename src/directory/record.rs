//! What is kept of each object: the part of a valid spec that rules read, in little memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::secret_metadata::AllowedMetadata;
use super::{Cidr, ObjectKey, Problem};
use crate::resources::{
    AudienceMode, Cause, NamespacesFrom, OwnerKind, ReferenceTokens, ScopeClaim, SigningAlgorithm,
    WhenExceeded,
};
use crate::tokens::{Prefix, TokenHash, TokenId};

/// One object as it was last seen.
#[derive(Clone, Debug, PartialEq)]
pub struct Object<T> {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Arc<str>,
    /// When it was created.
    pub created: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// What it says, or why it cannot be served as it stands.
    pub state: Result<T, Vec<Problem>>,
}

impl<T> Object<T> {
    /// What it says, if it is valid.
    pub fn record(&self) -> Option<&T> {
        self.state.as_ref().ok()
    }
}

/// A valid [`crate::resources::Identity`].
#[derive(Clone, Debug, PartialEq)]
pub struct IdentityRecord {
    /// The issuer.
    pub issuer: Arc<str>,
    /// The same in the form that all its spellings share, for comparison.
    pub site: Arc<str>,
    /// Namespaces whose clients are served.
    pub clients: NamespaceRule,
    /// Namespaces whose scopes are served.
    pub scopes: NamespaceRule,
    /// Names given beyond prefixes.
    pub names: NameGrants,
    /// The longest life of an access token.
    pub max_access_token_lifetime: SignedDuration,
    /// The longest life of a service token.
    pub max_service_token_lifetime: SignedDuration,
    /// Whether a service token may have no end.
    pub never_expiring_tokens: bool,
    /// Labels and annotations that templates of Secrets may set.
    pub secret_metadata: Arc<AllowedMetadata>,
    /// OAuthClients of one namespace.
    pub max_clients: usize,
    /// ServiceAccessTokens of one namespace.
    pub max_service_tokens: usize,
    /// Secrets made for one namespace in an hour.
    pub mints_per_hour: i64,
    /// The life of an access token whose client says nothing.
    pub access_token_lifetime: SignedDuration,
    /// The life of a service token that says nothing.
    pub service_token_lifetime: SignedDuration,
    /// What reference tokens start with.
    pub reference_prefix: Prefix,
    /// Form of the `scope` claim.
    pub scope_claim: ScopeClaim,
    /// Whether tokens may span audiences of several owners.
    pub audience: AudienceMode,
    /// The first is the default.
    pub algorithms: Vec<SigningAlgorithm>,
    /// How long one signing key signs.
    pub rotate_keys_every: SignedDuration,
    /// How long a signing key is published before.
    pub publish_keys_ahead: SignedDuration,
    /// Names of signing keys that are as if they had never been.
    pub distrusted_keys: Vec<String>,
    /// The annotation whose every new value does away with all signing keys.
    pub rotate_keys: Option<Arc<str>>,
    /// Requirements of gateways, by name.
    pub gateways: BTreeMap<Arc<str>, GatewayRecord>,
    /// Proxies whose word on the caller's address is believed.
    pub trusted_proxies: Vec<Cidr>,
    /// How old the oldest watch may be.
    pub max_staleness: SignedDuration,
    /// What happens beyond it.
    pub when_stale: WhenExceeded,
    /// Nothing issued before is accepted.
    pub revoke_issued_before: Option<Timestamp>,
}

impl IdentityRecord {
    /// The moment of `revokeIssuedBefore` while it is ahead: it acts as now, and nothing is made until then.
    pub fn revoked_ahead(&self, now: Timestamp) -> Option<Timestamp> {
        self.revoke_issued_before.filter(|moment| now < *moment)
    }
}

/// What a gateway requires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayRecord {
    /// An audience that the token must have.
    pub audience: Arc<str>,
    /// Scopes that it must have, all of them.
    pub scopes: Vec<Arc<str>>,
}

/// `access.names`, turned round: who was given a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NameGrants {
    /// Client id to namespaces.
    pub client_ids: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Scope value to namespaces.
    pub scopes: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// What scope values start with, and the namespace.
    pub scope_prefixes: Vec<(Arc<str>, Arc<str>)>,
    /// Audience to namespaces.
    pub audiences: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// Which namespaces something is open to. The own namespace of the object that says it always is,
/// except with `None`: who writes there could open it anyway.
#[derive(Clone, Debug, PartialEq)]
pub struct NamespaceRule {
    /// How they are chosen.
    pub from: NamespacesFrom,
    /// With `List`.
    pub names: Vec<Arc<str>>,
    /// With `Selector`.
    pub selector: Option<Selector>,
}

/// A label selector, ready to be matched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Selector {
    /// All must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// The label has one of these values.
    In(Arc<str>, Vec<Arc<str>>),
    /// The label is absent or has none of these values.
    NotIn(Arc<str>, Vec<Arc<str>>),
    /// The label is there.
    Exists(Arc<str>),
    /// The label is not there.
    DoesNotExist(Arc<str>),
}

/// A valid [`crate::resources::Scope`].
#[derive(Clone, Debug, PartialEq)]
pub struct ScopeRecord {
    /// Its Identity; `None`: neither it nor the installation names one.
    pub identity: Option<ObjectKey>,
    /// The scope value in force.
    pub value: Arc<str>,
    /// What people are shown.
    pub display_name: Option<Arc<str>>,
    /// `spec.audiences`; empty: the default.
    pub audiences: Vec<Arc<str>>,
    /// Client ids that may introspect it.
    pub resource_servers: Vec<Arc<str>>,
    /// Only when named.
    pub on_request: bool,
    /// In no token.
    pub disabled: bool,
    /// Whose clients may have it.
    pub allowed: NamespaceRule,
}

/// A valid [`crate::resources::OAuthClient`].
#[derive(Clone, Debug, PartialEq)]
pub struct ClientRecord {
    /// Its Identity; `None`: neither it nor the installation names one.
    pub identity: Option<ObjectKey>,
    /// The `client_id`.
    pub client_id: Arc<str>,
    /// What people are shown.
    pub display_name: Option<Arc<str>>,
    /// Refused everywhere.
    pub disabled: bool,
    /// RFC 6749 section 4.4.
    pub client_credentials: bool,
    /// What it may ask for, in the spec's order.
    pub scopes: Vec<Arc<str>>,
    /// The audiences that it is.
    pub audiences: Vec<Arc<str>>,
    /// The principal of its system user, `<namespace>:<name>`.
    pub system_user: Option<Arc<str>>,
    /// Who may make reference tokens of it.
    pub reference_tokens: ReferenceTokens,
    /// What it signs with; `None`: the Identity's first.
    pub algorithm: Option<SigningAlgorithm>,
    /// The life of its access tokens; `None`: the Identity's.
    pub access_token_lifetime: Option<SignedDuration>,
    /// The Secret that holds its secret.
    pub secret: SecretRecord,
    /// How long a secret is good; `None`: until rotated.
    pub secret_lifetime: Option<SignedDuration>,
}

/// A valid [`crate::resources::ServiceAccessToken`].
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceTokenRecord {
    /// Its client, in the same namespace.
    pub client: ObjectKey,
    /// What it asks for, in the spec's order.
    pub scopes: Vec<Arc<str>>,
    /// When its tokens end; `None`: after the Identity's `serviceTokenLifetime`.
    pub lifetime: Option<super::Lifetime>,
    /// The Secret that the operator writes.
    pub secret: SecretRecord,
    /// Dead for good.
    pub revoked: bool,
}

/// The Secret of an owner and when what is in it is replaced.
#[derive(Clone, Debug, PartialEq)]
pub struct SecretRecord {
    /// Name of the Secret.
    pub name: Arc<str>,
    /// A second key.
    pub alias: Option<Arc<str>>,
    /// What else it says.
    pub template: Option<Arc<crate::resources::Template>>,
    /// The key under which somebody else brings the secret; `None`: the operator writes the Secret.
    pub existing_key: Option<Arc<str>>,
    /// `rotation`, as written.
    pub rotation: Option<Arc<crate::resources::Rotation>>,
    /// The annotation `symbolon.dev/rotate`.
    pub rotate: Option<Arc<str>>,
}

/// A Credential with its entries decoded and their seals checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialRecord {
    /// Its own namespace and name.
    pub key: ObjectKey,
    /// Its own uid, where it has one already: what a deletion is conditioned on.
    pub uid: Option<Arc<str>>,
    /// The Identity.
    pub identity: ObjectKey,
    /// Whose tokens these are.
    pub owner: OwnerRecord,
    /// Oldest to newest; an entry without a right seal is left out, and so is one that was revoked by its id.
    pub entries: Box<[EntryRecord]>,
    /// Ids of recorded tokens that were revoked one by one.
    pub revoked: Box<[TokenId]>,
    /// Tells a change of what was issued from a report of its use: `metadata.generation`.
    pub generation: u32,
    /// What is known of the tokens' uses.
    pub uses: Box<[Used]>,
}

/// A token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// The token's number.
    pub epoch: i64,
    /// The last use that was reported, in seconds since 1970.
    pub last: i64,
}

/// The owner of a Credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// Its kind.
    pub kind: OwnerKind,
    /// Namespace and name.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Arc<str>,
}

/// One issued token or secret.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryRecord {
    /// Counts the owner's tokens.
    pub epoch: i64,
    /// Its public id.
    pub token_id: TokenId,
    /// SHA-256 of the whole text.
    pub hash: TokenHash,
    /// Name of its client, in the owner's namespace.
    pub client_name: Arc<str>,
    /// The client's uid.
    pub client_uid: Arc<str>,
    /// Whom it acts as.
    pub principal: Arc<str>,
    /// What it was given.
    pub scopes: Vec<Arc<str>>,
    /// When it was made.
    pub issued_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// An earlier end.
    pub not_after: Option<Timestamp>,
    /// Why it was made.
    pub cause: Cause,
}
