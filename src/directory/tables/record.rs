//! What is kept of each object: the part of a valid spec that rules read, in little memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

pub use super::person_record::{
    AccessRecord, InteractiveRecord, LogoutRecord, RecordedLink, RefreshSettings, SessionSettings,
    ThemeRecord, UserRecord,
};
use crate::directory::template::secret_metadata::AllowedMetadata;
use crate::directory::{Cidr, ObjectKey, Problem};
use crate::resources::{
    AudienceMode, Cause, GrantType, InheritedMetadata, NamespacesFrom, OnSecretDeleted, OwnerKind,
    ReferenceTokens, Retire, RotationPolicy, ScopeClaim, SigningAlgorithm, StorageType,
    WhenExceeded,
};
use crate::tokens::jwt::TokenType;
use crate::tokens::{Prefix, TokenHash, TokenId};

/// An object as it was last seen.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Object<T> {
    /// Namespace and name.
    pub key: ObjectKey,
    /// Uid of the object.
    pub uid: Arc<str>,
    /// Creation time of the object.
    pub created: Timestamp,
    /// `metadata.generation`.
    pub generation: i64,
    /// The record, or why the object cannot be served as written.
    pub state: Result<T, Vec<Problem>>,
}

impl<T> Object<T> {
    /// Returns the record if the object is valid.
    pub fn record(&self) -> Option<&T> {
        self.state.as_ref().ok()
    }
}

/// How long personal access tokens may last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PersonalTokenLimits {
    /// The longest lifetime.
    pub max_lifetime: SignedDuration,
    /// Whether they may never expire.
    pub may_never_expire: bool,
}

/// A valid [`crate::resources::Identity`].
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct IdentityRecord {
    /// The issuer.
    pub issuer: Arc<str>,
    /// The issuer in the form that all its spellings share, for comparison.
    pub site: Arc<str>,
    /// Namespaces whose clients are served.
    pub clients: NamespaceRule,
    /// Namespaces whose scopes are served.
    pub scopes: NamespaceRule,
    /// Names that are granted beyond prefixes.
    pub names: NameGrants,
    /// Longest lifetime of an access token.
    pub max_access_token_lifetime: SignedDuration,
    /// Longest lifetime of a service token.
    pub max_service_token_lifetime: SignedDuration,
    /// Whether a service token may never expire.
    pub never_expiring_tokens: bool,
    /// How long personal access tokens may last.
    pub personal_tokens: PersonalTokenLimits,
    /// Labels and annotations that templates of Secrets may set.
    pub secret_metadata: Arc<AllowedMetadata>,
    /// Labels and annotations of the Identity's objects; none in a process that issues nothing.
    pub inherited: Arc<InheritedMetadata>,
    /// Quota of OAuthClients for one namespace.
    pub max_clients: usize,
    /// Quota of ServiceAccessTokens for one namespace.
    pub max_service_tokens: usize,
    /// Number of secrets that may be issued for one namespace within an hour.
    pub mints_per_hour: i64,
    /// Lifetime of an access token whose client sets none.
    pub access_token_lifetime: SignedDuration,
    /// Lifetime of a service token that sets none.
    pub service_token_lifetime: SignedDuration,
    /// Prefix of reference tokens.
    pub reference_prefix: Prefix,
    /// The `typ` of access tokens whose client sets none.
    pub access_token_type: TokenType,
    /// Form of the `scope` claim.
    pub scope_claim: ScopeClaim,
    /// Whether tokens may span audiences of several owners.
    pub audience: AudienceMode,
    /// Signature algorithms, the default first.
    pub algorithms: Vec<SigningAlgorithm>,
    /// How long a signing key signs.
    pub rotate_keys_every: SignedDuration,
    /// How long a signing key is published before it signs.
    pub publish_keys_ahead: SignedDuration,
    /// Ids of signing keys that are no longer trusted.
    pub distrusted_keys: Vec<String>,
    /// Value of the annotation that replaces all signing keys.
    pub rotate_keys: Option<Arc<str>>,
    /// Requirements of gateways, by name.
    pub gateways: BTreeMap<Arc<str>, GatewayRecord>,
    /// Proxies whose report of the caller's address is trusted.
    pub trusted_proxies: Vec<Cidr>,
    /// Networks in which clients may be called, besides public addresses.
    pub callable_networks: Vec<Cidr>,
    /// How long a connection may be quiet between requests; `None` for the server's default.
    pub idle_timeout: Option<SignedDuration>,
    /// Largest age of the oldest watch.
    pub max_staleness: SignedDuration,
    /// What the server does beyond that age.
    pub when_stale: WhenExceeded,
    /// Tokens and secrets issued before this time are refused.
    pub revoke_issued_before: Option<Timestamp>,
    /// Where data about people is stored.
    pub storage: StorageType,
    /// Whether that is a database whose certificate is not verified.
    pub has_unproven_database: bool,
    /// Whether people sign in with a password.
    pub has_passwords: bool,
    /// How long people stay signed in.
    pub sessions: SessionSettings,
    /// Namespaces whose clients may sign in people.
    pub interactive_clients: NamespaceRule,
    /// Namespaces whose clients may skip consent.
    pub skip_consent: NamespaceRule,
    /// Quota of Users.
    pub max_users: usize,
    /// Claims that Scopes outside the Identity's namespace may release.
    pub releasable_claims: Box<[Arc<str>]>,
    /// Lifetime of an ID token whose client sets none.
    pub id_token_lifetime: SignedDuration,
    /// Lifetime of an authorization code.
    pub authorization_code_lifetime: SignedDuration,
    /// How refresh tokens last and rotate.
    pub refresh: RefreshSettings,
    /// How the pages look.
    pub theme: Box<ThemeRecord>,
}

impl IdentityRecord {
    /// Returns the time of `revokeIssuedBefore` while it is in the future: it then acts as now, and nothing is
    /// issued.
    pub fn revoked_ahead(&self, now: Timestamp) -> Option<Timestamp> {
        self.revoke_issued_before.filter(|moment| now < *moment)
    }
}

/// What a gateway requires.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayRecord {
    /// Audience that the token must have.
    pub audience: Arc<str>,
    /// Scope values that the token must have, all of them.
    pub scopes: Vec<Arc<str>>,
}

/// `access.names` by name: which namespaces each name is granted to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NameGrants {
    /// Client ids and their namespaces.
    pub client_ids: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Scope values and their namespaces.
    pub scopes: BTreeMap<Arc<str>, Vec<Arc<str>>>,
    /// Prefixes of scope values, each with its namespace.
    pub scope_prefixes: Vec<(Arc<str>, Arc<str>)>,
    /// Audiences and their namespaces.
    pub audiences: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// Which namespaces something is open to. The namespace of the object itself is always included, except with `None`:
/// its users could add it anyway.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct NamespaceRule {
    /// How they are chosen.
    pub from: NamespacesFrom,
    /// Names of the namespaces, with `List`.
    pub names: Vec<Arc<str>>,
    /// Selector of the namespaces, with `Selector`.
    pub selector: Option<Selector>,
}

/// A label selector that is ready to match.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub struct Selector {
    /// Requirements, all of which must hold.
    pub requirements: Vec<Requirement>,
}

/// One requirement on a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Requirement {
    /// The label has one of these values.
    In(Arc<str>, Vec<Arc<str>>),
    /// The label is absent or has none of these values.
    NotIn(Arc<str>, Vec<Arc<str>>),
    /// The label is present.
    Exists(Arc<str>),
    /// The label is absent.
    DoesNotExist(Arc<str>),
}

/// A valid [`crate::resources::Scope`].
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ScopeRecord {
    /// Identity of the Scope; `None` if neither the Scope nor the installation names one.
    pub identity: Option<ObjectKey>,
    /// The scope value in effect.
    pub value: Arc<str>,
    /// Name for people.
    pub display_name: Option<Arc<str>>,
    /// What it allows, for the people who are asked for consent.
    pub description: Option<Arc<str>>,
    /// `spec.audiences`; empty for the default.
    pub audiences: Vec<Arc<str>>,
    /// Client ids that may introspect tokens of the scope.
    pub resource_servers: Vec<Arc<str>>,
    /// Whether a token gets the scope only if its request names it.
    pub on_request: bool,
    /// Whether the scope is removed from every token.
    pub disabled: bool,
    /// Namespaces whose clients may have the scope.
    pub allowed: NamespaceRule,
    /// Groups of which a person must be in one to get the scope; `None` for all people.
    pub groups: Option<Box<[Arc<str>]>>,
    /// Claims about the person that the scope releases.
    pub claims: Box<[Arc<str>]>,
}

/// A valid [`crate::resources::OAuthClient`].
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct ClientRecord {
    /// Identity of the client; `None` if neither the client nor the installation names one.
    pub identity: Option<ObjectKey>,
    /// The `client_id`.
    pub client_id: Arc<str>,
    /// Name for people.
    pub display_name: Option<Arc<str>>,
    /// Whether the client is refused everywhere.
    pub disabled: bool,
    /// The grants that the client may use.
    pub grants: Box<[GrantType]>,
    /// Scope values that the client may ask for, in the order of the spec.
    pub scopes: Vec<Arc<str>>,
    /// Audiences of the API that the client represents.
    pub audiences: Vec<Arc<str>>,
    /// Principal of the client's system user, `<namespace>:<name>`.
    pub system_user: Option<Arc<str>>,
    /// Who may create reference tokens of the client.
    pub reference_tokens: ReferenceTokens,
    /// Signature algorithm; `None` for the Identity's default.
    pub algorithm: Option<SigningAlgorithm>,
    /// Lifetime of the client's access tokens; `None` for the Identity's.
    pub access_token_lifetime: Option<SignedDuration>,
    /// The `typ` of the client's access tokens; `None` for the Identity's.
    pub access_token_type: Option<TokenType>,
    /// The Secret with the client secret.
    pub secret: SecretRecord,
    /// Lifetime of a client secret; `None` if it does not expire.
    pub secret_lifetime: Option<SignedDuration>,
    /// Whether the client has no credentials (RFC 6749 section 2.1).
    pub is_public: bool,
    /// What the client says about people; `None` without the grant of authorization codes.
    pub interactive: Option<Box<InteractiveRecord>>,
}

impl ClientRecord {
    /// Returns whether the client may use a grant.
    pub fn may_use(&self, grant: GrantType) -> bool {
        self.grants.contains(&grant)
    }
}

/// A valid [`crate::resources::ServiceAccessToken`].
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceTokenRecord {
    /// Client of the token, in the same namespace.
    pub client: ObjectKey,
    /// Scope values that the token asks for, in the order of the spec.
    pub scopes: Vec<Arc<str>>,
    /// When the tokens expire; `None` for the Identity's `serviceTokenLifetime`.
    pub lifetime: Option<crate::directory::Lifetime>,
    /// The Secret that the operator writes.
    pub secret: SecretRecord,
    /// Whether every token of the object is revoked for good.
    pub revoked: bool,
}

/// The Secret of an owner, and when its content is replaced.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct SecretRecord {
    /// Name of the Secret.
    pub name: Arc<str>,
    /// Second key that also holds the token.
    pub alias: Option<Arc<str>>,
    /// What else the Secret contains.
    pub template: Option<Arc<crate::resources::Template>>,
    /// Key of an imported secret; `None`: the operator writes the Secret.
    pub existing_key: Option<Arc<str>>,
    /// `rotation`; `None` if the owner sets none.
    pub rotation: Option<Box<RotationRecord>>,
    /// Value of the annotation `symbolon.dev/rotate`.
    pub rotate: Option<Arc<str>>,
}

impl SecretRecord {
    /// Returns `rotation`, or the record of an owner that sets none.
    pub fn rotation(&self) -> &RotationRecord {
        static UNSET: RotationRecord = RotationRecord {
            policy: None,
            renew_before: None,
            overlap: None,
            retire: Retire::AtDeadline,
            quiet_period: None,
            on_secret_deleted: OnSecretDeleted::Overlap,
            trigger: None,
        };
        self.rotation.as_deref().unwrap_or(&UNSET)
    }
}

/// A valid [`crate::resources::Rotation`]. `None` for a field that the owner leaves out: some defaults depend on the
/// client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RotationRecord {
    /// Who starts a rotation.
    pub policy: Option<RotationPolicy>,
    /// How long before its expiry a secret is renewed.
    pub renew_before: Option<SignedDuration>,
    /// How long the previous secret stays accepted.
    pub overlap: Option<SignedDuration>,
    /// When the previous secret stops being accepted.
    pub retire: Retire,
    /// With [`Retire::WhenAdopted`], how long the previous secret must have been unused.
    pub quiet_period: Option<SignedDuration>,
    /// What the deletion of the Secret means.
    pub on_secret_deleted: OnSecretDeleted,
    /// Request for a rotation; the hash of a long one.
    pub trigger: Option<Arc<str>>,
}

/// A Credential with its entries decoded and their seals checked.
#[derive(Clone, Debug, PartialEq)]
pub struct CredentialRecord {
    /// Namespace and name of the Credential.
    pub key: ObjectKey,
    /// Uid of the Credential, if it exists already: deletions are conditioned on it.
    pub uid: Option<Arc<str>>,
    /// `metadata.creationTimestamp`, in seconds since 1970; 0 if it does not exist yet.
    pub created: i64,
    /// The Identity.
    pub identity: ObjectKey,
    /// Owner of the tokens.
    pub owner: OwnerRecord,
    /// Entries from oldest to newest, without those whose seal is wrong or that were revoked by their ids.
    pub entries: Box<[EntryRecord]>,
    /// Ids of recorded tokens that were revoked one by one.
    pub revoked: Box<[TokenId]>,
    /// `metadata.generation`: tells a change of the tokens from a report of their use.
    pub generation: u32,
    /// Known uses of the tokens.
    pub uses: Box<[Used]>,
}

/// A token that was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Used {
    /// Number of the token.
    pub epoch: i64,
    /// Last use that was reported, in seconds since 1970.
    pub last: i64,
}

/// The owner of a Credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerRecord {
    /// Kind of the owner.
    pub kind: OwnerKind,
    /// Namespace and name of the owner.
    pub key: ObjectKey,
    /// Uid of the owner.
    pub uid: Arc<str>,
}

/// One issued token or client secret.
#[derive(Clone, Debug, PartialEq)]
pub struct EntryRecord {
    /// Number of the token among its owner's.
    pub epoch: i64,
    /// Public id of the token.
    pub token_id: TokenId,
    /// SHA-256 of the whole text.
    pub hash: TokenHash,
    /// Name of the client, in the owner's namespace.
    pub client_name: Arc<str>,
    /// Uid of the client.
    pub client_uid: Arc<str>,
    /// Principal that the token acts as.
    pub principal: Arc<str>,
    /// Scope values that the token was issued with.
    pub scopes: Vec<Arc<str>>,
    /// When the token was issued.
    pub issued_at: Timestamp,
    /// When the token expires.
    pub expires_at: Option<Timestamp>,
    /// Earlier end that the token was given.
    pub not_after: Option<Timestamp>,
    /// Why the token was issued.
    pub cause: Cause,
}
