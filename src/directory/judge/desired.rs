//! What the owner of an issued secret should have, as the whole directory judges it now.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::served::AcceptedClient;
use crate::directory::tables::Directory;
use crate::directory::tables::record::{IdentityRecord, Object, SecretRecord};
use crate::directory::template::secret_metadata::AllowedMetadata;
use crate::directory::{Lifetime, ObjectKey, Problem, Reason};
use crate::resources::{
    CredentialOwner, InheritedMetadata, OnSecretDeleted, OwnerKind, Retire, RotationPolicy,
    Template,
};
use crate::tokens::{Prefix, TokenHash};

/// What should happen to an owner's secrets.
#[derive(Clone, Debug, Default, PartialEq, Hash)]
pub enum Standing {
    /// The owner should have a secret, as described. An existing one that still fits is kept.
    Wanted(Box<Desired>),
    /// The owner says `revoked: true`: every entry is removed and none is issued.
    Revoked,
    /// No secret of the owner is accepted now, for these reasons, and none may be issued. Existing entries stay,
    /// since the server's join refuses them: when the client is accepted again, its secrets are valid again.
    Withheld(Vec<Problem>),
    /// The owner asks for no secret.
    #[default]
    NotWanted,
}

/// One secret that should exist.
#[derive(Clone, Debug, PartialEq, Hash)]
pub struct Desired {
    /// The owner: kind, namespace, name and uid.
    pub owner: CredentialOwner,
    /// The Identity that accepts the secret.
    pub identity: ObjectKey,
    /// Issuer of the Identity.
    pub issuer: String,
    /// The client that the secret is recorded for.
    pub client: IssuedClient,
    /// The principal that the secret acts as: the client id, or `<namespace>:<system user>`.
    pub principal: String,
    /// Scope values of the secret, sorted: all that the owner asks for, each granted.
    pub scopes: Vec<String>,
    /// Kind of the secret.
    pub kind: SecretKind,
    /// Prefix of the secret's text.
    pub prefix: Prefix,
    /// Name of the Kubernetes Secret.
    pub secret_name: String,
    /// Second key of the Secret that also holds the token.
    pub key_alias: Option<String>,
    /// What else the Secret contains.
    pub template: Option<Arc<Template>>,
    /// Labels and annotations that the template may set.
    pub metadata: Arc<AllowedMetadata>,
    /// Labels and annotations of the Credential.
    pub inherited: Arc<InheritedMetadata>,
    /// Key of an imported secret; `None`: the operator issues the secret.
    pub existing_key: Option<String>,
    /// The conflict with an older object that names the same Secret. While there is one, no Secret is created.
    pub rival: Option<Problem>,
    /// What keeps a secret from being issued now. Existing secrets may still be accepted, so revocation still applies
    /// to them.
    pub withheld: Vec<Problem>,
    /// When the secret expires.
    pub lifetime: Lifetime,
    /// When the secret is replaced.
    pub rotation: RotationRules,
    /// Number of secrets that may be issued for the namespace within an hour.
    pub mints_per_hour: i64,
    /// Secrets issued before this time are no longer accepted.
    pub revoke_issued_before: Option<Timestamp>,
}

/// The client that a secret is recorded for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IssuedClient {
    /// Name of the OAuthClient.
    pub name: String,
    /// Uid of the OAuthClient.
    pub uid: String,
    /// The `client_id` of the OAuthClient.
    pub client_id: String,
}

/// Kinds of issued secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SecretKind {
    /// A Secret with `client-id`, `client-secret`, `issuer` and `token-url`.
    ClientSecret,
    /// A Secret with `token` and `issuer`.
    ServiceToken,
}

/// When a secret is replaced, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RotationRules {
    /// How long before its expiry it is renewed; `None`: only on request.
    pub renew_before: Option<SignedDuration>,
    /// How long the previous secret stays accepted.
    pub overlap: SignedDuration,
    /// With `retire: WhenAdopted`: how long the previous secret must have been unused once the new one is in use.
    pub adoption: Option<SignedDuration>,
    /// What the deletion of the Secret means.
    pub on_secret_deleted: OnSecretDeleted,
    /// Requests for a rotation.
    pub requests: RotationRequests,
}

/// Requests for a rotation. Each new value of either requests one; removing a value requests none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct RotationRequests {
    /// Value of the annotation `symbolon.dev/rotate`.
    pub annotation: Option<String>,
    /// Value of `rotation.trigger`.
    pub trigger: Option<String>,
}

/// `Auto` renews when one part in this many of the lifetime is left.
const RENEWAL_SHARE: i32 = 3;
/// The longest default overlap.
const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// The shortest default `quietPeriod`.
pub(in crate::directory) const DEFAULT_QUIET_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// How long after an access token's expiry its client may request the next one.
const FETCHED_LATE: SignedDuration = SignedDuration::from_mins(10);
/// The default overlap of an imported secret: by then pods have read the new one or were restarted.
const IMPORTED_OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Bytes up to which a request is kept as written; a longer one is kept as its hash. The schema bounds `trigger`, but
/// nothing bounds annotations.
const LONGEST_REQUEST: usize = 64;

impl Directory {
    /// Returns what should happen to the tokens of a ServiceAccessToken.
    pub fn service_token_standing(&self, key: &ObjectKey, now: Timestamp) -> Standing {
        let Some(object) = self.service_token(key) else {
            return Standing::NotWanted;
        };
        let record = match &object.state {
            Ok(record) if record.revoked => return Standing::Revoked,
            Ok(record) => record,
            Err(problems) => return Standing::Withheld(problems.clone()),
        };
        match self.client_of_token(record) {
            Ok(client) => {
                let served = client.client.record;
                let mut scopes: Vec<String> =
                    record.scopes.iter().map(ToString::to_string).collect();
                scopes.sort();
                Owned {
                    kind: SecretKind::ServiceToken,
                    owner: owner(OwnerKind::ServiceAccessToken, object),
                    principal: served.system_user.as_deref().unwrap_or_default().to_owned(),
                    scopes,
                    secret: &record.secret,
                    lifetime: record
                        .lifetime
                        .unwrap_or_else(|| default_lifetime(client.identity.record)),
                    policy: RotationPolicy::Auto,
                    rival: self.secret_conflict(object),
                    withheld: self.refusals_of_token(object, record, &client, now),
                }
                .wanted(&client, now)
            }
            Err(problem) => Standing::Withheld(vec![problem]),
        }
    }

    /// Returns what should happen to the secrets of an OAuthClient.
    pub fn client_secret_standing(&self, key: &ObjectKey, now: Timestamp) -> Standing {
        let Some(object) = self.client(key) else {
            return Standing::NotWanted;
        };
        let client = match self.accepted_client(object) {
            Ok(client) => client,
            Err(problems) => return Standing::Withheld(problems),
        };
        let record = client.client.record;
        if record.is_public {
            return Standing::NotWanted;
        }
        let disabled = record.disabled.then(|| {
            let message = "the client is disabled: no secret is issued and none is accepted";
            Problem::error(Reason::Disabled, "/spec/disabled", message)
        });
        Owned {
            kind: SecretKind::ClientSecret,
            owner: owner(OwnerKind::OAuthClient, object),
            principal: record.client_id.as_ref().to_owned(),
            scopes: Vec::new(),
            secret: &record.secret,
            lifetime: record
                .secret_lifetime
                .map_or(Lifetime::Never, Lifetime::For),
            policy: RotationPolicy::Manual,
            rival: self.secret_conflict(object),
            withheld: disabled.into_iter().collect(),
        }
        .wanted(&client, now)
    }
}

/// Returns how long a token without a lifetime of its own lasts.
fn default_lifetime(identity: &IdentityRecord) -> Lifetime {
    let default = identity.service_token_lifetime;
    Lifetime::For(default.min(identity.max_service_token_lifetime))
}

fn owner<T>(kind: OwnerKind, object: &Object<T>) -> CredentialOwner {
    CredentialOwner {
        kind,
        namespace: object.key.namespace.as_ref().to_owned(),
        name: object.key.name.as_ref().to_owned(),
        uid: object.uid.as_ref().to_owned(),
    }
}

/// What an owner of either kind says about its secret. The rest comes from its client and its Identity.
struct Owned<'a> {
    kind: SecretKind,
    owner: CredentialOwner,
    principal: String,
    scopes: Vec<String>,
    secret: &'a SecretRecord,
    lifetime: Lifetime,
    /// The rotation policy if the owner sets none.
    policy: RotationPolicy,
    rival: Option<Problem>,
    withheld: Vec<Problem>,
}

impl Owned<'_> {
    fn wanted(mut self, client: &AcceptedClient<'_>, now: Timestamp) -> Standing {
        let (identity, object) = (client.identity, client.client.object);
        if identity.record.revoked_ahead(now).is_some() {
            let message = format!(
                "spec.revokeIssuedBefore of Identity {} is in the future: no secret is issued until then",
                identity.object.key
            );
            let problem = Problem::error(Reason::IdentityNotReady, "", message);
            self.withheld.push(problem);
        }
        let rotation = self.rotation_rules(client);
        Standing::Wanted(Box::new(Desired {
            owner: self.owner,
            identity: identity.object.key.clone(),
            issuer: identity.record.issuer.as_ref().to_owned(),
            client: IssuedClient {
                name: object.key.name.as_ref().to_owned(),
                uid: object.uid.as_ref().to_owned(),
                client_id: client.client.record.client_id.as_ref().to_owned(),
            },
            principal: self.principal,
            scopes: self.scopes,
            kind: self.kind,
            prefix: identity.record.reference_prefix,
            secret_name: self.secret.name.as_ref().to_owned(),
            key_alias: self.secret.alias.as_deref().map(str::to_owned),
            template: self.secret.template.clone(),
            metadata: identity.record.secret_metadata.clone(),
            inherited: identity.record.inherited.clone(),
            existing_key: self.secret.existing_key.as_deref().map(str::to_owned),
            rival: self.rival,
            withheld: self.withheld,
            lifetime: self.lifetime,
            rotation,
            mints_per_hour: identity.record.mints_per_hour,
            revoke_issued_before: identity.record.revoke_issued_before,
        }))
    }

    /// Returns the rotation rules with the defaults for what `rotation` leaves out.
    fn rotation_rules(&self, client: &AcceptedClient<'_>) -> RotationRules {
        let rotation = self.secret.rotation();
        let renew_before = renew_before(self.secret, self.lifetime, self.policy);
        let default_overlap = if self.secret.existing_key.is_some() {
            IMPORTED_OVERLAP
        } else {
            renew_before.map_or(DEFAULT_OVERLAP, |before| before.min(DEFAULT_OVERLAP))
        };
        let adoption = (rotation.retire == Retire::WhenAdopted).then(|| {
            rotation.quiet_period.unwrap_or_else(|| match self.kind {
                SecretKind::ServiceToken => DEFAULT_QUIET_PERIOD,
                SecretKind::ClientSecret => quiet_period_of_secrets(client),
            })
        });
        RotationRules {
            renew_before,
            overlap: rotation.overlap.unwrap_or(default_overlap),
            adoption,
            on_secret_deleted: rotation.on_secret_deleted,
            requests: RotationRequests {
                annotation: self.secret.rotate.as_deref().map(str::to_owned),
                trigger: rotation.trigger.as_deref().map(str::to_owned),
            },
        }
    }
}

/// Returns how long before the end of its lifetime a token is renewed; `None`: it is not.
pub(in crate::directory) fn renew_before(
    secret: &SecretRecord,
    lifetime: Lifetime,
    default: RotationPolicy,
) -> Option<SignedDuration> {
    let rotation = secret.rotation();
    match lifetime {
        Lifetime::For(lifetime) if rotation.policy.unwrap_or(default) == RotationPolicy::Auto => {
            Some(rotation.renew_before.unwrap_or(lifetime / RENEWAL_SHARE))
        }
        _ => None,
    }
}

/// Returns the default quiet period for a client's secrets. A client uses its secret only to get another access token,
/// so a client with a valid access token may be silent although it still uses the secret.
pub(in crate::directory) fn quiet_period_of_secrets(client: &AcceptedClient<'_>) -> SignedDuration {
    (client.access_token_lifetime() + FETCHED_LATE).max(DEFAULT_QUIET_PERIOD)
}

/// Returns a request that fits into a Credential: the hash of a long one.
pub(in crate::directory) fn bounded(request: &str) -> String {
    if request.len() <= LONGEST_REQUEST {
        request.to_owned()
    } else {
        TokenHash::of(request).to_string()
    }
}
