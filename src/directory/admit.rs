//! Admission of single objects: the rules that need nothing but the object.
//!
//! The API server enforces most of them by schema and CEL. This module enforces them again for three reasons: files
//! have no API server, a definition may be older than the binary, and the reconciler never trusts that admission ran.
//! `tests/fixtures/refused` holds an object for each CEL rule, and both sides must refuse it.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::desired::bounded;
use super::duration::format_duration;
use super::intern;
use super::issuer::canonical;
use super::normal::{is_normal_audience, is_normal_issuer, is_normal_value};
use super::record::{
    ClientRecord, CredentialRecord, EntryRecord, GatewayRecord, IdentityRecord, NameGrants,
    NamespaceRule, Object, OwnerRecord, ScopeRecord, SecretRecord, ServiceTokenRecord, Used,
};
use super::revoked::is_token_revoked;
use super::seal::is_sealed;
use super::secret_metadata::{AllowedMetadata, is_reserved};
use super::settings::Settings;
use super::{
    Cidr, Lifetime, ObjectKey, Problem, Reason, inherited, parse_duration, schema, template, volume,
};
use crate::resources::{
    ANNOTATION_ROTATE, ANNOTATION_ROTATE_KEYS, AUDIENCE_WORDS, Access, Autoscaling, ClientSecret,
    Credential, CredentialEntry, DurationString, Gateway, GrantType, ISSUER_WORDS, Identity,
    IdentityRef, IdentitySpec, Kind, Mode, Namespaces, Network, OAuthClient, OAuthClientSpec,
    OwnerKind, Permission, RESERVED_ANNOTATIONS, RESERVED_LABELS, RequestPolicy, Rotation,
    RotationPolicy, SELECTOR_KEYS, SELECTOR_VALUES, Scope, ScopeSpec, SecretMetadata,
    ServiceAccessToken, ServiceAccessTokenSpec, Signing, Template, VALUE_WORDS,
};
use crate::tokens::{MacKey, Prefix};

/// Scope values that every Identity has without a Scope.
pub const BUILT_IN_SCOPES: [&str; 6] = [
    "openid",
    "profile",
    "email",
    "address",
    "phone",
    "offline_access",
];

/// Largest number of uses that are kept: a Credential has no more tokens.
const MAX_USES: usize = 8;

/// Reads the metadata of an object; `None` if it has no name, uid or creation time.
fn object<T>(raw: &Value, state: Result<T, Vec<Problem>>) -> Option<Object<T>> {
    let metadata = raw.get("metadata")?;
    let text = |field: &str| metadata.get(field).and_then(Value::as_str);
    Some(Object {
        key: intern::key(text("namespace").unwrap_or_default(), text("name")?),
        uid: intern::text(text("uid")?),
        created: text("creationTimestamp")?.parse().ok()?,
        generation: metadata
            .get("generation")
            .and_then(Value::as_i64)
            .unwrap_or_default(),
        state,
    })
}

/// Decodes an object after the schema has accepted it.
fn decode<T: DeserializeOwned>(kind: Kind, raw: &Value) -> Result<T, Vec<Problem>> {
    let problems = schema::validate(kind, raw);
    if !problems.is_empty() {
        return Err(problems);
    }
    T::deserialize(raw)
        .map_err(|error| vec![Problem::error(Reason::Invalid, "", error.to_string())])
}

/// Admits an Identity.
pub fn identity(raw: &Value, settings: &Settings) -> Option<Object<IdentityRecord>> {
    object(
        raw,
        decode::<Identity>(Kind::Identity, raw)
            .and_then(|identity| identity_record(&identity, settings)),
    )
}

/// Admits a Scope.
pub fn scope(raw: &Value, settings: &Settings) -> Option<Object<ScopeRecord>> {
    object(
        raw,
        decode::<Scope>(Kind::Scope, raw).and_then(|scope| scope_record(&scope, settings)),
    )
}

/// Admits an OAuthClient.
pub fn client(raw: &Value, settings: &Settings) -> Option<Object<ClientRecord>> {
    object(
        raw,
        decode::<OAuthClient>(Kind::OAuthClient, raw)
            .and_then(|client| client_record(&client, settings)),
    )
}

/// Admits a ServiceAccessToken.
pub fn service_token(raw: &Value, settings: &Settings) -> Option<Object<ServiceTokenRecord>> {
    let decoded = decode::<ServiceAccessToken>(Kind::ServiceAccessToken, raw);
    object(
        raw,
        decoded.and_then(|token| service_token_record(&token, settings)),
    )
}

/// Returns what is wrong with one raw object by the rules that need nothing but the object.
pub fn problems(kind: Kind, raw: &Value, settings: &Settings) -> Vec<Problem> {
    match kind {
        Kind::Identity => decode::<Identity>(kind, raw)
            .and_then(|it| identity_record(&it, settings))
            .err(),
        Kind::Scope => decode::<Scope>(kind, raw)
            .and_then(|it| scope_record(&it, settings))
            .err(),
        Kind::OAuthClient => decode::<OAuthClient>(kind, raw)
            .and_then(|it| client_record(&it, settings))
            .err(),
        Kind::ServiceAccessToken => decode::<ServiceAccessToken>(kind, raw)
            .and_then(|it| service_token_record(&it, settings))
            .err(),
        Kind::Credential => decode::<Credential>(kind, raw).err(),
    }
    .unwrap_or_default()
}

/// Admits a Credential without the entries whose seal is wrong or that were revoked by their ids. `None` if its name
/// is not its owner's uid.
pub fn credential(credential: &Credential, key: Option<&MacKey>) -> Option<CredentialRecord> {
    let metadata = &credential.metadata;
    let (namespace, name) = (metadata.namespace.as_deref()?, metadata.name.as_deref()?);
    let owner = &credential.spec.owner;
    if name != owner.uid {
        return None;
    }
    let entries = credential.spec.tokens.iter();
    let is_revoked = |entry: &&CredentialEntry| is_token_revoked(credential, &entry.token_id);
    let revoked = entries.clone().filter(is_revoked);
    Some(CredentialRecord {
        key: intern::key(namespace, name),
        uid: metadata.uid.as_deref().map(Into::into),
        identity: intern::key(namespace, &credential.spec.identity.name),
        owner: OwnerRecord {
            kind: owner.kind,
            key: intern::key(&owner.namespace, &owner.name),
            uid: intern::text(&owner.uid),
        },
        entries: key
            .map(|key| {
                entries
                    .filter(|entry| !is_revoked(entry))
                    .filter(|entry| is_sealed(key, credential, entry))
                    .filter_map(entry_record)
                    .collect()
            })
            .unwrap_or_default(),
        revoked: revoked
            .filter_map(|entry| entry.token_id.parse().ok())
            .collect(),
        generation: metadata
            .generation
            .and_then(|generation| generation.try_into().ok())
            .unwrap_or_default(),
        uses: uses(credential),
    })
}

/// Returns the uses of the tokens that are still recorded.
fn uses(credential: &Credential) -> Box<[Used]> {
    let is_recorded = |epoch| credential.spec.tokens.iter().any(|it| it.epoch == epoch);
    let uses = credential.status.iter().flat_map(|status| &status.uses);
    uses.filter(|it| is_recorded(it.epoch))
        .map(|it| Used {
            epoch: it.epoch,
            last: it.last_used.0.as_second(),
        })
        .take(MAX_USES)
        .collect()
}

fn entry_record(entry: &CredentialEntry) -> Option<EntryRecord> {
    Some(EntryRecord {
        epoch: entry.epoch,
        token_id: entry.token_id.parse().ok()?,
        hash: entry.hash.parse().ok()?,
        client_name: intern::text(&entry.client.name),
        client_uid: intern::text(&entry.client.uid),
        principal: intern::text(&entry.principal),
        scopes: intern::texts(&entry.scopes),
        issued_at: entry.issued_at.0,
        expires_at: entry.expires_at.map(|moment| moment.0),
        not_after: entry.not_after.map(|moment| moment.0),
        cause: entry.cause,
    })
}

/// Collects everything that is wrong with one object.
#[derive(Default)]
struct Faults(Vec<Problem>);

impl Faults {
    fn invalid(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem::error(Reason::Invalid, path, message));
    }

    fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.invalid(path, message);
        }
    }

    fn duration(&mut self, path: &str, text: &DurationString) -> SignedDuration {
        parse_duration(&text.0).unwrap_or_else(|| {
            self.invalid(
                path,
                format!(
                    "{:?} is not a duration: write whole numbers with h, m, s or ms, such as 720h",
                    text.0
                ),
            );
            SignedDuration::ZERO
        })
    }

    fn optional_duration(
        &mut self,
        path: &str,
        text: Option<&DurationString>,
    ) -> Option<SignedDuration> {
        text.map(|text| self.duration(path, text))
    }

    fn namespaces(&mut self, path: &str, spec: &Namespaces) -> NamespaceRule {
        use crate::resources::NamespacesFrom::{List, Selector};
        self.require(
            (spec.from == Selector) == spec.selector.is_some(),
            &format!("{path}/selector"),
            "selector is required with from: Selector and forbidden otherwise",
        );
        self.require(
            (spec.from == List) == spec.names.is_some(),
            &format!("{path}/names"),
            "names is required with from: List and forbidden otherwise",
        );
        if let Some(selector) = &spec.selector {
            self.selector(&format!("{path}/selector"), selector);
        }
        NamespaceRule::admit(spec).unwrap_or_else(|message| {
            self.invalid(&format!("{path}/selector"), message);
            NamespaceRule {
                from: crate::resources::NamespacesFrom::None,
                names: Vec::new(),
                selector: None,
            }
        })
    }

    /// Refuses what the API server refuses in its own selectors: `NotIn` without values would match every namespace.
    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        let mut exact = selector.match_labels.iter().flatten();
        self.require(
            exact.all(|(key, _)| template::is_name(key)),
            &format!("{path}/matchLabels"),
            SELECTOR_KEYS,
        );
        let expressions = selector.match_expressions.iter().flatten();
        for (index, expression) in expressions.enumerate() {
            let needs_values = matches!(&*expression.operator, "In" | "NotIn");
            let has_values = expression.values.iter().flatten().next().is_some();
            self.require(
                needs_values == has_values,
                &format!("{path}/matchExpressions/{index}/values"),
                SELECTOR_VALUES,
            );
        }
    }

    fn proxies(&mut self, path: &str, texts: &[String]) -> Vec<Cidr> {
        let ranges: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
        ranges.unwrap_or_else(|_| {
            self.invalid(
                path,
                "trustedProxies must be CIDRs, such as 10.0.0.0/8 or fd00::/8",
            );
            Vec::new()
        })
    }

    fn rotation(&mut self, path: &str, rotation: Option<&Rotation>) {
        let Some(rotation) = rotation else { return };
        let overlap = self.optional_duration(&format!("{path}/overlap"), rotation.overlap.as_ref());
        let renew_before = self.optional_duration(
            &format!("{path}/renewBefore"),
            rotation.renew_before.as_ref(),
        );
        let (rotation_path, path) = (path, format!("{path}/overlap"));
        self.require(
            overlap.is_none_or(|overlap| overlap <= SignedDuration::from_hours(2160)),
            &path,
            "overlap must be at most 2160h",
        );
        let quiet_period = self.optional_duration(
            &format!("{rotation_path}/quietPeriod"),
            rotation.quiet_period.as_ref(),
        );
        let range = SignedDuration::from_mins(1)..=SignedDuration::from_hours(2160);
        self.require(
            quiet_period.is_none_or(|quiet_period| range.contains(&quiet_period)),
            &format!("{rotation_path}/quietPeriod"),
            "quietPeriod must be between 1m and 2160h",
        );
        if let (Some(overlap), Some(renew_before)) = (overlap, renew_before) {
            self.require(
                overlap <= renew_before,
                &path,
                "overlap must be at most renewBefore: the previous token is not accepted after its own expiry",
            );
        }
    }

    /// Requires a lifetime of `10m` to `87600h` and a renewal before its end.
    fn lifetime(
        &mut self,
        path: &str,
        lifetime: Option<SignedDuration>,
        rotation: Option<&Rotation>,
    ) {
        let Some(lifetime) = lifetime else { return };
        let range = SignedDuration::from_mins(10)..=SignedDuration::from_hours(87_600);
        self.require(
            range.contains(&lifetime),
            &format!("{path}/lifetime"),
            "lifetime must be between 10m and 87600h",
        );
        let renew_before = rotation
            .and_then(|rotation| rotation.renew_before.as_ref())
            .and_then(|text| parse_duration(&text.0));
        self.require(
            renew_before.is_none_or(|renew_before| renew_before < lifetime),
            &format!("{path}/rotation/renewBefore"),
            "renewBefore must be shorter than lifetime",
        );
    }

    fn template(
        &mut self,
        path: &str,
        kind: OwnerKind,
        template: Option<&Template>,
        alias: Option<&str>,
    ) {
        let Some(template) = template else { return };
        for (field, message) in template::faults(kind, template, alias) {
            self.invalid(&format!("{path}/template/{field}"), message);
        }
    }

    /// Checks how an Identity runs and how clients reach it.
    fn deployment(
        &mut self,
        mode: Mode,
        network: &Network,
        (replicas, autoscaling): (Option<&i64>, Option<&Autoscaling>),
        has_pod: bool,
    ) {
        self.require(
            replicas.is_none() || autoscaling.is_none(),
            "/spec/replicas",
            "set replicas or autoscaling, not both",
        );
        let is_routed =
            network.tls.is_some() || network.ingress.is_some() || network.http_route.is_some();
        self.require(
            mode != Mode::Embedded
                || !(replicas.is_some() || autoscaling.is_some() || has_pod || is_routed),
            "/spec/mode",
            "with mode: Embedded the operator's own pods serve the Identity: replicas, autoscaling, pod, network.tls, network.ingress and network.httpRoute need mode: Deployment",
        );
        self.require(
            autoscaling.is_none_or(|autoscaling| autoscaling.min <= autoscaling.max),
            "/spec/autoscaling/min",
            "autoscaling.min must be at most autoscaling.max",
        );
        self.require(
            network.ingress.is_none() || network.http_route.is_none(),
            "/spec/network/httpRoute",
            "set ingress or httpRoute, not both",
        );
    }

    fn issuer(&mut self, issuer: &str) {
        let path = "/spec/issuer";
        let message = "issuer must be an https URL; http is allowed only for loopback addresses and *.svc hosts";
        self.require(is_secure_issuer(issuer), path, message);
        self.require(is_normal_issuer(issuer), path, ISSUER_WORDS);
    }

    fn audiences(&mut self, path: &str, audiences: &[String]) {
        let are_normal = audiences
            .iter()
            .all(|audience| is_normal_audience(audience));
        self.require(are_normal, path, AUDIENCE_WORDS);
    }

    /// Checks the default name of a Secret: the owner's name and a suffix.
    fn default_secret(&mut self, has_name: bool, default: &str, field: &str) {
        let message = format!(
            "the default name of its Secret would be longer than 253 characters: set {field}"
        );
        self.require(has_name || default.len() <= 253, "/metadata/name", &message);
    }

    fn finish<T>(self, record: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() {
            Ok(record)
        } else {
            Err(self.0)
        }
    }
}

fn identity_record(
    identity: &Identity,
    settings: &Settings,
) -> Result<IdentityRecord, Vec<Problem>> {
    let mut faults = Faults::default();
    let IdentitySpec {
        issuer,
        access,
        limits,
        tokens,
        signing,
        gateways,
        staleness,
        revoke_issued_before,
        inherited_metadata,
        mode,
        storage,
        network,
        replicas,
        autoscaling,
        pod,
    } = &identity.spec;
    let name = identity.metadata.name.as_deref().unwrap_or_default();
    faults.require(
        name.len() <= 52,
        "/metadata/name",
        "the name of an Identity must have at most 52 characters, since the names of its Secrets extend it",
    );
    faults.issuer(issuer);
    let scale = (replicas.as_ref(), autoscaling.as_ref());
    faults.deployment(*mode, network, scale, pod.is_some());
    for (path, message) in volume::faults(storage, *mode, *replicas, autoscaling.is_some()) {
        faults.require(false, path, message);
    }
    let (minute, ten_minutes) = (SignedDuration::from_mins(1), SignedDuration::from_mins(10));
    let mut lifetime = |path: &str, text: &DurationString, least: SignedDuration| {
        let value = faults.duration(path, text);
        let name = path.rsplit('/').next().unwrap_or_default();
        let message = format!("{name} must be at least {}", format_duration(least));
        faults.require(value >= least, path, &message);
        value
    };
    let max_access_token_lifetime = lifetime(
        "/spec/limits/maxAccessTokenLifetime",
        &limits.max_access_token_lifetime,
        minute,
    );
    let max_service_token_lifetime = lifetime(
        "/spec/limits/maxServiceTokenLifetime",
        &limits.max_service_token_lifetime,
        ten_minutes,
    );
    let access_token_lifetime = lifetime(
        "/spec/tokens/accessTokenLifetime",
        &tokens.access_token_lifetime,
        minute,
    );
    let service_token_lifetime = lifetime(
        "/spec/tokens/serviceTokenLifetime",
        &tokens.service_token_lifetime,
        ten_minutes,
    );
    let max_staleness = lifetime("/spec/staleness/maxAge", &staleness.max_age, minute);
    let (rotate_keys_every, publish_keys_ahead) = signing_times(&mut faults, signing);
    let reference_prefix = tokens.reference_prefix.parse().unwrap_or_else(|_| {
        faults.invalid(
            "/spec/tokens/referencePrefix",
            "referencePrefix must be 1 to 16 lower-case letters and digits",
        );
        Prefix::default()
    });
    let (inherited, wrong) = inherited::judged(inherited_metadata, settings);
    for (path, message) in wrong {
        faults.invalid(path, message);
    }
    let record = IdentityRecord {
        issuer: issuer.as_str().into(),
        site: canonical(issuer).into(),
        clients: faults.namespaces("/spec/access/clients", &access.clients),
        scopes: faults.namespaces("/spec/access/scopes", &access.scopes),
        names: name_grants(access),
        max_access_token_lifetime,
        max_service_token_lifetime,
        never_expiring_tokens: limits.never_expiring_tokens == Permission::Allow,
        secret_metadata: secret_metadata(&mut faults, &limits.secret_metadata, settings),
        inherited,
        max_clients: usize::try_from(limits.per_namespace.clients).unwrap_or_default(),
        max_service_tokens: usize::try_from(limits.per_namespace.service_tokens)
            .unwrap_or_default(),
        mints_per_hour: limits.per_namespace.mints_per_hour,
        access_token_lifetime,
        service_token_lifetime,
        reference_prefix,
        scope_claim: tokens.scope_claim,
        audience: tokens.audience,
        algorithms: signing.algorithms.clone(),
        rotate_keys_every,
        publish_keys_ahead,
        distrusted_keys: signing.distrusted.clone(),
        rotate_keys: annotation(&identity.metadata, ANNOTATION_ROTATE_KEYS),
        gateways: gateways.iter().map(gateway_record).collect(),
        trusted_proxies: faults.proxies("/spec/network/trustedProxies", &network.trusted_proxies),
        max_staleness,
        when_stale: staleness.when_exceeded,
        revoke_issued_before: revoke_issued_before.map(|moment| moment.0),
    };
    faults.finish(record)
}

/// Returns how long a key signs, and how long it is published before that.
fn signing_times(faults: &mut Faults, signing: &Signing) -> (SignedDuration, SignedDuration) {
    let (every, ahead) = ("/spec/signing/rotateEvery", "/spec/signing/publishAhead");
    let rotate_every = faults.duration(every, &signing.rotate_every);
    let publish_ahead = faults.duration(ahead, &signing.publish_ahead);
    faults.require(
        rotate_every >= SignedDuration::from_hours(1),
        every,
        "rotateEvery must be at least 1h",
    );
    faults.require(
        publish_ahead >= SignedDuration::from_mins(10),
        ahead,
        "publishAhead must be at least 10m: caches of the JWK Set and mounted Secrets update late",
    );
    faults.require(
        publish_ahead < rotate_every,
        ahead,
        "publishAhead must be shorter than rotateEvery",
    );
    (rotate_every, publish_ahead)
}

/// Returns what an Identity allows templates of Secrets to set.
fn secret_metadata(
    faults: &mut Faults,
    spec: &SecretMetadata,
    settings: &Settings,
) -> Arc<AllowedMetadata> {
    let rules = [
        (&spec.labels, "labels", RESERVED_LABELS),
        (&spec.annotations, "annotations", RESERVED_ANNOTATIONS),
    ];
    for (keys, field, message) in rules {
        faults.require(
            !keys.iter().any(|key| is_reserved(key)),
            &format!("/spec/limits/secretMetadata/{field}"),
            message,
        );
    }
    Arc::new(AllowedMetadata::of(spec).within(settings.secret_metadata.clone()))
}

fn gateway_record(gateway: &Gateway) -> (Arc<str>, GatewayRecord) {
    let record = GatewayRecord {
        audience: gateway.audience.as_str().into(),
        scopes: intern::texts(&gateway.scopes),
    };
    (gateway.name.as_str().into(), record)
}

/// RFC 8414 section 2 requires https; http is allowed for loopback addresses and Services inside the cluster.
fn is_secure_issuer(issuer: &str) -> bool {
    if issuer.starts_with("https://") {
        return true;
    }
    let Some(rest) = issuer.strip_prefix("http://") else {
        return false;
    };
    let authority = rest.split('/').next().unwrap_or_default();
    let host = match authority.rsplit_once(':') {
        Some((host, port))
            if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            host
        }
        _ => authority,
    };
    let service = |host: &str| {
        let mut labels = host.split('.');
        let is_label = |label: Option<&str>| {
            label.is_some_and(|it| {
                !it.is_empty()
                    && it
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
            })
        };
        is_label(labels.next()) && is_label(labels.next()) && labels.next() == Some("svc")
    };
    matches!(host, "localhost" | "127.0.0.1" | "[::1]") || service(host)
}

fn name_grants(access: &Access) -> NameGrants {
    let mut grants = NameGrants::default();
    let add = |map: &mut BTreeMap<Arc<str>, Vec<Arc<str>>>, name: &str, namespace: &Arc<str>| {
        map.entry(name.into()).or_default().push(namespace.clone());
    };
    for grant in &access.names {
        let namespace: Arc<str> = grant.namespace.as_str().into();
        grant
            .client_ids
            .iter()
            .for_each(|id| add(&mut grants.client_ids, id, &namespace));
        grant
            .audiences
            .iter()
            .for_each(|audience| add(&mut grants.audiences, audience, &namespace));
        for scope in &grant.scopes {
            match scope.strip_suffix('*') {
                Some(prefix) => grants
                    .scope_prefixes
                    .push((prefix.into(), namespace.clone())),
                None => add(&mut grants.scopes, scope, &namespace),
            }
        }
    }
    grants
}

fn resolve(
    reference: Option<&IdentityRef>,
    namespace: &str,
    settings: &Settings,
) -> Option<ObjectKey> {
    match reference {
        Some(reference) => Some(intern::key(
            reference.namespace.as_deref().unwrap_or(namespace),
            &reference.name,
        )),
        None => settings.default_identity.clone(),
    }
}

fn scope_record(scope: &Scope, settings: &Settings) -> Result<ScopeRecord, Vec<Problem>> {
    let mut faults = Faults::default();
    let ScopeSpec {
        identity_ref,
        value,
        display_name,
        description: _,
        audiences,
        resource_servers,
        request_policy,
        disabled,
        allowed_namespaces,
    } = &scope.spec;
    let namespace = scope.metadata.namespace.as_deref().unwrap_or_default();
    let name = scope.metadata.name.as_deref().unwrap_or_default();
    let built_in = |value: &str| BUILT_IN_SCOPES.contains(&value);
    faults.require(
        !value.as_deref().is_some_and(built_in),
        "/spec/value",
        "this scope value is built in, and every Identity has it: choose another",
    );
    faults.require(
        value.is_some() || !built_in(name),
        "/metadata/name",
        "the default scope value would be a built-in one: set spec.value",
    );
    faults.require(
        value.as_deref().is_none_or(is_normal_value),
        "/spec/value",
        VALUE_WORDS,
    );
    faults.audiences("/spec/audiences", audiences);
    let default_length = namespace.len() + 1 + name.len();
    faults.require(
        value.is_some() || default_length <= 128,
        "/metadata/name",
        "the default scope value would be longer than 128 characters: set spec.value",
    );
    let identity = resolve(identity_ref.as_ref(), namespace, settings);
    let administrators = identity
        .as_ref()
        .is_some_and(|identity| *identity.namespace == *namespace);
    let default = || {
        if administrators {
            name.to_owned()
        } else {
            format!("{namespace}:{name}")
        }
    };
    let record = ScopeRecord {
        identity,
        value: intern::text(&value.clone().unwrap_or_else(default)),
        display_name: display_name.as_deref().map(Into::into),
        audiences: intern::texts(audiences),
        resource_servers: intern::texts(resource_servers),
        on_request: *request_policy == RequestPolicy::OnRequest,
        disabled: *disabled,
        allowed: faults.namespaces("/spec/allowedNamespaces", allowed_namespaces),
    };
    faults.finish(record)
}

fn client_record(client: &OAuthClient, settings: &Settings) -> Result<ClientRecord, Vec<Problem>> {
    let mut faults = Faults::default();
    let OAuthClientSpec {
        identity_ref,
        client_id,
        display_name,
        disabled,
        grant_types,
        scopes,
        resource_server,
        authentication,
        system_user,
        reference_tokens,
        tokens,
    } = &client.spec;
    let namespace = client.metadata.namespace.as_deref().unwrap_or_default();
    let name = client.metadata.name.as_deref().unwrap_or_default();
    let secret = authentication.secret.clone().unwrap_or_default();
    let path = "/spec/authentication/secret";
    let secret_lifetime =
        faults.optional_duration(&format!("{path}/lifetime"), secret.lifetime.as_ref());
    let access_token_lifetime = faults.optional_duration(
        "/spec/tokens/accessTokenLifetime",
        tokens.access_token_lifetime.as_ref(),
    );
    let renew_before = secret
        .rotation
        .as_ref()
        .and_then(|rotation| rotation.renew_before.as_ref());
    faults.rotation(&format!("{path}/rotation"), secret.rotation.as_ref());
    faults.lifetime(path, secret_lifetime, secret.rotation.as_ref());
    faults.require(
        secret_lifetime.is_some() || renew_before.is_none(),
        &format!("{path}/rotation/renewBefore"),
        "renewBefore needs a lifetime: a secret that never expires is never renewed",
    );
    faults.template(path, OwnerKind::OAuthClient, secret.template.as_ref(), None);
    faults.require(
        secret.existing_ref.is_none()
            || secret.name.is_none()
                && secret.template.is_none()
                && secret.lifetime.is_none()
                && secret.rotation.is_none(),
        &format!("{path}/existingRef"),
        "existingRef cannot be combined with name, template, lifetime or rotation: the operator does not write that Secret",
    );
    faults.require(
        access_token_lifetime.is_none_or(|lifetime| lifetime >= SignedDuration::from_mins(1)),
        "/spec/tokens/accessTokenLifetime",
        "accessTokenLifetime must be at least 1m",
    );
    faults.require(
        !client_id.as_deref().is_some_and(is_uuid_like),
        "/spec/clientId",
        "clientId must not look like a UUID: UUIDs identify people",
    );
    faults.default_secret(
        secret.name.is_some() || secret.existing_ref.is_some(),
        &format!("{name}-client"),
        "spec.authentication.secret.name",
    );
    if let Some(server) = resource_server {
        faults.audiences("/spec/resourceServer/audiences", &server.audiences);
    }
    let client_id = client_id
        .clone()
        .unwrap_or_else(|| format!("{namespace}.{name}"));
    faults.require(
        client_id.len() <= 255,
        "/metadata/name",
        "the default client id would be longer than 255 characters: set spec.clientId",
    );
    let record = ClientRecord {
        identity: resolve(identity_ref.as_ref(), namespace, settings),
        client_id: intern::text(&client_id),
        display_name: display_name.as_deref().map(Into::into),
        disabled: *disabled,
        client_credentials: grant_types.contains(&GrantType::ClientCredentials),
        scopes: intern::texts(scopes),
        audiences: resource_server
            .as_ref()
            .map(|server| intern::texts(&server.audiences))
            .unwrap_or_default(),
        system_user: system_user
            .as_ref()
            .map(|user| intern::text(&format!("{namespace}:{}", user.name))),
        reference_tokens: *reference_tokens,
        algorithm: tokens.algorithm,
        access_token_lifetime,
        secret: client_secret(secret, &client.metadata, name, settings),
        secret_lifetime,
    };
    faults.finish(record)
}

fn client_secret(
    secret: ClientSecret,
    metadata: &kube::core::ObjectMeta,
    owner: &str,
    settings: &Settings,
) -> SecretRecord {
    let (name, existing_key) = match secret.existing_ref {
        Some(existing) => (existing.name, Some(existing.key.into())),
        None => (
            secret.name.unwrap_or_else(|| format!("{owner}-client")),
            None,
        ),
    };
    SecretRecord {
        name: name.into(),
        alias: None,
        template: for_issuing(settings, || secret.template.map(Arc::new)),
        existing_key,
        rotation: secret.rotation.map(Arc::new),
        rotate: for_issuing(settings, || rotation_request(metadata)),
    }
}

/// Keeps a value only if this process issues: tenants write such values, and they may be large.
fn for_issuing<T>(settings: &Settings, value: impl FnOnce() -> Option<T>) -> Option<T> {
    if settings.serves_only { None } else { value() }
}

/// Returns the rotation request in the annotation, shortened since every object's is kept.
fn rotation_request(metadata: &kube::core::ObjectMeta) -> Option<Arc<str>> {
    annotation(metadata, ANNOTATION_ROTATE).map(|request| bounded(&request).into())
}

/// UUIDs identify people: no client id may look like one.
fn is_uuid_like(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn annotation(metadata: &kube::core::ObjectMeta, name: &str) -> Option<Arc<str>> {
    let value = metadata.annotations.as_ref()?.get(name)?;
    Some(value.as_str().into())
}

fn service_token_record(
    token: &ServiceAccessToken,
    settings: &Settings,
) -> Result<ServiceTokenRecord, Vec<Problem>> {
    let mut faults = Faults::default();
    let ServiceAccessTokenSpec {
        client_ref,
        description: _,
        scopes,
        lifetime,
        expires_at,
        never_expires,
        secret,
        rotation,
        revoked,
    } = &token.spec;
    let namespace = token.metadata.namespace.as_deref().unwrap_or_default();
    let name = token.metadata.name.as_deref().unwrap_or_default();
    let rotation_or_default = rotation.as_ref();
    let renew_before = rotation_or_default.and_then(|rotation| rotation.renew_before.as_ref());
    let ends = usize::from(lifetime.is_some())
        + usize::from(expires_at.is_some())
        + usize::from(*never_expires);
    faults.require(
        ends <= 1,
        "/spec",
        "set at most one of lifetime, expiresAt and neverExpires",
    );
    let duration = faults.optional_duration("/spec/lifetime", lifetime.as_ref());
    faults.rotation("/spec/rotation", rotation_or_default);
    faults.lifetime("/spec", duration, rotation_or_default);
    let manual =
        rotation_or_default.and_then(|rotation| rotation.policy) == Some(RotationPolicy::Manual);
    faults.require(
        expires_at.is_none() || manual,
        "/spec/rotation",
        "expiresAt needs rotation.policy: Manual, since a token with a fixed expiry cannot be renewed",
    );
    faults.require(
        !never_expires || renew_before.is_none(),
        "/spec/rotation/renewBefore",
        "renewBefore cannot be combined with neverExpires: a token that never expires is never renewed",
    );
    let record = ServiceTokenRecord {
        client: intern::key(namespace, &client_ref.name),
        scopes: intern::texts(scopes),
        lifetime: token_lifetime(duration, expires_at.map(|moment| moment.0), *never_expires),
        secret: SecretRecord {
            name: secret
                .name
                .clone()
                .unwrap_or_else(|| format!("{name}-token"))
                .into(),
            alias: secret
                .key
                .as_deref()
                .filter(|key| *key != "token")
                .map(Into::into),
            template: for_issuing(settings, || secret.template.clone().map(Arc::new)),
            existing_key: None,
            rotation: rotation.clone().map(Arc::new),
            rotate: for_issuing(settings, || rotation_request(&token.metadata)),
        },
        revoked: *revoked,
    };
    faults.default_secret(
        secret.name.is_some(),
        &format!("{name}-token"),
        "spec.secret.name",
    );
    faults.require(
        record.secret.alias.as_deref() != Some("issuer"),
        "/spec/secret/key",
        "the operator writes the key issuer itself: choose another key",
    );
    faults.template(
        "/spec/secret",
        OwnerKind::ServiceAccessToken,
        secret.template.as_ref(),
        secret.key.as_deref(),
    );
    faults.finish(record)
}

fn token_lifetime(
    lifetime: Option<SignedDuration>,
    expires_at: Option<Timestamp>,
    never: bool,
) -> Option<Lifetime> {
    match (lifetime, expires_at) {
        (Some(lifetime), _) => Some(Lifetime::For(lifetime)),
        (None, Some(moment)) => Some(Lifetime::Until(moment)),
        (None, None) => never.then_some(Lifetime::Never),
    }
}
