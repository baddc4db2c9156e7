//! What an owner of issued secrets should have, as the whole directory judges it now.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::duration::parse_duration;
use super::judge::AcceptedClient;
use super::record::{Object, SecretRecord, ServiceTokenRecord};
use super::secret_metadata::AllowedMetadata;
use super::tables::Directory;
use super::{ObjectKey, Problem, Reason};
use crate::resources::{
    CredentialOwner, DurationString, OnSecretDeleted, OwnerKind, Retire, Rotation, RotationPolicy,
    Template,
};
use crate::tokens::TokenHash;

/// What should become of an owner's secrets.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Standing {
    /// It should have one, as described. What exists and still fits is kept.
    Wanted(Box<Desired>),
    /// Its owner said `revoked: true`: every entry goes, none comes.
    Revoked,
    /// No secret of it is accepted now, for these reasons, and none may be made. What exists is left to the server's
    /// join: a client that comes back finds its secrets alive.
    Withheld(Vec<Problem>),
    /// The owner asks for no secret.
    #[default]
    NotWanted,
}

/// One secret that should exist.
#[derive(Clone, Debug, PartialEq)]
pub struct Desired {
    /// Whose it is: kind, namespace, name and uid.
    pub owner: CredentialOwner,
    /// The Identity that will accept it.
    pub identity: ObjectKey,
    /// Its issuer.
    pub issuer: String,
    /// The client that it is recorded for.
    pub client: IssuedClient,
    /// Whom it acts as: the client id, or `<namespace>:<system user>`.
    pub principal: String,
    /// What it is given, sorted: all that the owner asks for, each granted.
    pub scopes: Vec<String>,
    /// What sort of secret it is.
    pub kind: SecretKind,
    /// What the secret's text starts with.
    pub prefix: String,
    /// Name of the Kubernetes Secret.
    pub secret_name: String,
    /// A second key for the token.
    pub key_alias: Option<String>,
    /// What else the Secret says.
    pub template: Option<Arc<Template>>,
    /// Labels and annotations that the template may set.
    pub metadata: Arc<AllowedMetadata>,
    /// The key under which somebody else brings the secret; `None`: the operator makes one.
    pub existing_key: Option<String>,
    /// An older object wants a Secret of the same name: none is created.
    pub rival: Option<Problem>,
    /// What keeps a secret from being made now. One that was made may be accepted all the same, so that it is still
    /// taken away where that is asked for.
    pub withheld: Vec<Problem>,
    /// When it ends.
    pub lifetime: Lifetime,
    /// When it is replaced.
    pub rotation: RotationRules,
    /// How many secrets its namespace may be given in an hour.
    pub mints_per_hour: i64,
    /// Nothing issued before this is good any more.
    pub revoke_issued_before: Option<Timestamp>,
}

/// The client that a secret is recorded for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedClient {
    /// Name of the OAuthClient.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its `client_id`.
    pub client_id: String,
}

/// Sorts of issued secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    /// `client-id`, `client-secret`, `issuer`, `token-url`.
    ClientSecret,
    /// `token`, `issuer`.
    ServiceToken,
}

/// When a secret ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lifetime {
    /// So long after it was made.
    For(SignedDuration),
    /// At a moment.
    Until(Timestamp),
    /// Never.
    Never,
}

/// When a secret is replaced, with every default filled in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRules {
    /// How long before its end it is renewed; `None`: only on request.
    pub renew_before: Option<SignedDuration>,
    /// How long the one before goes on being accepted.
    pub overlap: SignedDuration,
    /// With `retire: WhenAdopted`: for how long the one before must have been in no use, once the new one is.
    pub adoption: Option<SignedDuration>,
    /// What the deletion of the Secret says.
    pub on_secret_deleted: OnSecretDeleted,
    /// What was asked for.
    pub requests: RotationRequests,
}

/// Rotation on request. Each new value of either asks for one; taking a value away asks for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationRequests {
    /// The value of the annotation `symbolon.dev/rotate`.
    pub annotation: Option<String>,
    /// `rotation.trigger`.
    pub trigger: Option<String>,
}

/// `Auto` renews this share of the lifetime before the end.
const RENEWAL_SHARE: i32 = 3;
/// The longest overlap that nobody asked for.
const DEFAULT_OVERLAP: SignedDuration = SignedDuration::from_hours(24);
/// `quietPeriod` where it is left out, at least.
pub(super) const DEFAULT_QUIET_PERIOD: SignedDuration = SignedDuration::from_hours(1);
/// How much later than an access token's end its client may come for another.
const FETCHED_LATE: SignedDuration = SignedDuration::from_mins(10);
/// The same for a secret that somebody else brings: pods have read the new one, or were started anew, by then.
const BROUGHT_OVERLAP: SignedDuration = SignedDuration::from_hours(1);
/// Requests longer than this are kept as their digest's worth: the schema bounds `trigger`, nothing bounds annotations.
const LONGEST_REQUEST: usize = 64;

impl Directory {
    /// What should become of a ServiceAccessToken's secrets.
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
                let problems = self.refusals_of_token(object, record, &client, now);
                let rival = self.secret_conflict(object);
                wanted_service_token(object, record, &client, rival, problems, now)
            }
            Err(problem) => Standing::Withheld(vec![problem]),
        }
    }

    /// What should become of an OAuthClient's secrets.
    pub fn client_secret_standing(&self, key: &ObjectKey, now: Timestamp) -> Standing {
        let Some(object) = self.client(key) else {
            return Standing::NotWanted;
        };
        let client = match self.accepted_client(object) {
            Ok(client) => client,
            Err(problems) => return Standing::Withheld(problems),
        };
        let record = client.client.record;
        let disabled = record.disabled.then(|| {
            let message = "disabled: no secret is made and none is accepted";
            Problem::error(Reason::Disabled, "/spec/disabled", message)
        });
        let lifetime = record
            .secret_lifetime
            .map_or(Lifetime::Never, Lifetime::For);
        let principal = record.client_id.as_ref().to_owned();
        let owner = owner(OwnerKind::OAuthClient, object);
        wanted(
            owner,
            &client,
            SecretKind::ClientSecret,
            principal,
            Vec::new(),
            &record.secret,
            lifetime,
            RotationPolicy::Manual,
            self.secret_conflict(object),
            disabled.into_iter().collect(),
            now,
        )
    }
}

fn wanted_service_token(
    object: &Object<ServiceTokenRecord>,
    record: &ServiceTokenRecord,
    client: &AcceptedClient<'_>,
    rival: Option<Problem>,
    withheld: Vec<Problem>,
    now: Timestamp,
) -> Standing {
    let identity = client.identity.record;
    let default = identity
        .service_token_lifetime
        .min(identity.max_service_token_lifetime);
    let lifetime = record.lifetime.unwrap_or(Lifetime::For(default));
    let mut scopes: Vec<String> = record
        .scopes
        .iter()
        .map(|scope| scope.as_ref().to_owned())
        .collect();
    scopes.sort();
    let principal = client
        .client
        .record
        .system_user
        .as_deref()
        .unwrap_or_default()
        .to_owned();
    let owner = owner(OwnerKind::ServiceAccessToken, object);
    wanted(
        owner,
        client,
        SecretKind::ServiceToken,
        principal,
        scopes,
        &record.secret,
        lifetime,
        RotationPolicy::Auto,
        rival,
        withheld,
        now,
    )
}

fn owner<T>(kind: OwnerKind, object: &Object<T>) -> CredentialOwner {
    CredentialOwner {
        kind,
        namespace: object.key.namespace.as_ref().to_owned(),
        name: object.key.name.as_ref().to_owned(),
        uid: object.uid.as_ref().to_owned(),
    }
}

#[expect(
    clippy::too_many_arguments,
    reason = "the one place where both kinds of owner become the same thing"
)]
fn wanted(
    owner: CredentialOwner,
    client: &AcceptedClient<'_>,
    kind: SecretKind,
    principal: String,
    scopes: Vec<String>,
    secret: &SecretRecord,
    lifetime: Lifetime,
    policy: RotationPolicy,
    rival: Option<Problem>,
    mut withheld: Vec<Problem>,
    now: Timestamp,
) -> Standing {
    let identity = client.identity;
    if identity.record.revoked_ahead(now).is_some() {
        let message = format!(
            "Identity {} revokes what is issued until a moment ahead (spec.revokeIssuedBefore): nothing is made until then",
            identity.object.key
        );
        withheld.push(Problem::error(Reason::IdentityNotReady, "", message));
    }
    let object = client.client.object;
    let unset_quiet_period = match kind {
        SecretKind::ServiceToken => DEFAULT_QUIET_PERIOD,
        SecretKind::ClientSecret => quiet_period_of_secrets(client),
    };
    Standing::Wanted(Box::new(Desired {
        owner,
        identity: identity.object.key.clone(),
        issuer: identity.record.issuer.as_ref().to_owned(),
        client: IssuedClient {
            name: object.key.name.as_ref().to_owned(),
            uid: object.uid.as_ref().to_owned(),
            client_id: client.client.record.client_id.as_ref().to_owned(),
        },
        principal,
        scopes,
        kind,
        prefix: identity.record.reference_prefix.as_str().to_owned(),
        secret_name: secret.name.as_ref().to_owned(),
        key_alias: secret.alias.as_deref().map(str::to_owned),
        template: secret.template.clone(),
        metadata: identity.record.secret_metadata.clone(),
        existing_key: secret.existing_key.as_deref().map(str::to_owned),
        rival,
        withheld,
        lifetime,
        rotation: rotation_rules(secret, lifetime, policy, unset_quiet_period),
        mints_per_hour: identity.record.mints_per_hour,
        revoke_issued_before: identity.record.revoke_issued_before,
    }))
}

fn given(text: Option<&DurationString>) -> Option<SignedDuration> {
    text.and_then(|text| parse_duration(&text.0))
}

/// How long before the end of its lifetime a token is renewed; `None`: it is not.
pub(super) fn renew_before(
    secret: &SecretRecord,
    lifetime: Lifetime,
    default: RotationPolicy,
) -> Option<SignedDuration> {
    let written = secret.rotation.as_deref();
    let policy = written.and_then(|rotation| rotation.policy);
    match lifetime {
        Lifetime::For(lifetime) if policy.unwrap_or(default) == RotationPolicy::Auto => Some(
            given(written.and_then(|it| it.renew_before.as_ref()))
                .unwrap_or(lifetime / RENEWAL_SHARE),
        ),
        _ => None,
    }
}

/// Fills in what `rotation` leaves out.
fn rotation_rules(
    secret: &SecretRecord,
    lifetime: Lifetime,
    default: RotationPolicy,
    unset_quiet_period: SignedDuration,
) -> RotationRules {
    let written = secret.rotation.as_deref();
    let renew_before = renew_before(secret, lifetime, default);
    let default_overlap = if secret.existing_key.is_some() {
        BROUGHT_OVERLAP
    } else {
        renew_before.map_or(DEFAULT_OVERLAP, |before| before.min(DEFAULT_OVERLAP))
    };
    RotationRules {
        renew_before,
        overlap: given(written.and_then(|it| it.overlap.as_ref())).unwrap_or(default_overlap),
        adoption: written
            .filter(|rotation| rotation.retire == Retire::WhenAdopted)
            .map(|rotation| quiet_period(rotation).unwrap_or(unset_quiet_period)),
        on_secret_deleted: written
            .map(|rotation| rotation.on_secret_deleted)
            .unwrap_or_default(),
        requests: RotationRequests {
            annotation: secret.rotate.as_deref().map(str::to_owned),
            trigger: written
                .and_then(|rotation| rotation.trigger.as_deref())
                .map(bounded),
        },
    }
}

/// For how long the old token must have been in no use, if that is written.
pub(super) fn quiet_period(rotation: &Rotation) -> Option<SignedDuration> {
    let written = rotation.quiet_period.as_ref();
    written.and_then(|text| parse_duration(&text.0))
}

/// The same for a client's secrets where it is left out. A client shows its secret only when it needs another access
/// token: who has a good one is silent and not gone.
pub(super) fn quiet_period_of_secrets(client: &AcceptedClient<'_>) -> SignedDuration {
    (client.access_token_lifetime() + FETCHED_LATE).max(DEFAULT_QUIET_PERIOD)
}

/// A request that fits into a Credential: long ones are told apart by their hash.
pub(super) fn bounded(request: &str) -> String {
    if request.len() <= LONGEST_REQUEST {
        request.to_owned()
    } else {
        TokenHash::of(request).to_string()
    }
}
