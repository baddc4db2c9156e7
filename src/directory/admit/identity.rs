//! Admission of an Identity.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::SignedDuration;
use serde_json::Value;

use super::faults::Faults;
use super::raw::decode;
use super::secret::annotation;
use crate::directory::admit::{inherited, login, theme, volume};
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::{
    GatewayRecord, IdentityRecord, NameGrants, PersonalTokenLimits,
};
use crate::directory::template::secret_metadata::{AllowedMetadata, is_reserved};
use crate::directory::values::duration::format_duration;
use crate::directory::values::issuer::canonical;
use crate::directory::values::normal::is_normal_issuer;
use crate::directory::{Cidr, Problem};
use crate::resources::{
    ANNOTATION_ROTATE_KEYS, Access, Autoscaling, Availability, DurationString, Gateway,
    ISSUER_WORDS, Identity, IdentitySpec, Kind, Mode, Network, Permission, RESERVED_ANNOTATIONS,
    RESERVED_LABELS, SecretMetadata, Signing,
};
use crate::tokens::Prefix;

/// Admits an Identity.
#[expect(
    clippy::too_many_lines,
    reason = "the record has a line for each field"
)]
pub(super) fn record(raw: &Value, settings: &Settings) -> Result<IdentityRecord, Vec<Problem>> {
    let identity: Identity = decode(Kind::Identity, raw)?;
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
        login,
        theme,
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
    self::issuer(&mut faults, issuer);
    let scale = (replicas.as_ref(), autoscaling.as_ref());
    deployment(&mut faults, *mode, network, scale, pod.is_some());
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
    let max_personal_token_lifetime = lifetime(
        "/spec/limits/maxPersonalTokenLifetime",
        &limits.max_personal_token_lifetime,
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
        faults.invalid(&path, message);
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
        personal_tokens: PersonalTokenLimits {
            max_lifetime: max_personal_token_lifetime,
            may_never_expire: limits.never_expiring_personal_tokens == Permission::Allow,
        },
        secret_metadata: secret_metadata(&mut faults, &limits.secret_metadata, settings),
        inherited,
        max_clients: usize::try_from(limits.per_namespace.clients).unwrap_or_default(),
        max_service_tokens: usize::try_from(limits.per_namespace.service_tokens)
            .unwrap_or_default(),
        mints_per_hour: limits.per_namespace.mints_per_hour,
        access_token_lifetime,
        service_token_lifetime,
        reference_prefix,
        access_token_type: tokens.access_token_type.into(),
        scope_claim: tokens.scope_claim,
        audience: tokens.audience,
        algorithms: signing.algorithms.clone(),
        rotate_keys_every,
        publish_keys_ahead,
        distrusted_keys: signing.distrusted.clone(),
        rotate_keys: annotation(&identity.metadata, ANNOTATION_ROTATE_KEYS),
        gateways: gateways.iter().map(gateway_record).collect(),
        trusted_proxies: ranges(
            &mut faults,
            "/spec/network/trustedProxies",
            &network.trusted_proxies,
        ),
        callable_networks: ranges(
            &mut faults,
            "/spec/network/egress/allowedNetworks",
            &network.egress.allowed_networks,
        ),
        idle_timeout: idle_timeout(&mut faults, network),
        max_staleness,
        when_stale: staleness.when_exceeded,
        revoke_issued_before: revoke_issued_before.map(|moment| moment.0),
        storage: storage.type_,
        has_unproven_database: volume::is_unproven(storage),
        has_passwords: login.password == Availability::Enabled,
        sessions: login::sessions(&mut faults, &login.sessions),
        interactive_clients: faults.namespaces(
            "/spec/access/interactiveClients",
            &access.interactive_clients,
        ),
        skip_consent: faults.namespaces("/spec/access/skipConsent", &access.skip_consent),
        max_users: usize::try_from(limits.users).unwrap_or_default(),
        releasable_claims: intern::texts(&limits.releasable_claims).into(),
        id_token_lifetime: login::id_token_lifetime(&mut faults, &tokens.id_token_lifetime),
        authorization_code_lifetime: login::code_lifetime(
            &mut faults,
            &tokens.authorization_code_lifetime,
        ),
        refresh: login::refresh(&mut faults, &tokens.refresh_token),
        theme: Box::new(theme::record(&mut faults, theme)),
    };
    faults.finish(record)
}

/// Reads the address ranges of the field at a path.
fn ranges(faults: &mut Faults, path: &str, texts: &[String]) -> Vec<Cidr> {
    let ranges: Result<_, _> = texts.iter().map(|text| text.parse()).collect();
    ranges.unwrap_or_else(|_| {
        let (_, field) = path.rsplit_once('/').unwrap_or_default();
        let words = format!("{field} must be CIDRs, such as 10.0.0.0/8 or fd00::/8");
        faults.invalid(path, &words);
        Vec::new()
    })
}

/// Checks how an Identity runs and how clients reach it.
fn deployment(
    faults: &mut Faults,
    mode: Mode,
    network: &Network,
    (replicas, autoscaling): (Option<&i64>, Option<&Autoscaling>),
    has_pod: bool,
) {
    faults.require(
        replicas.is_none() || autoscaling.is_none(),
        "/spec/replicas",
        "set replicas or autoscaling, not both",
    );
    let is_routed =
        network.tls.is_some() || network.ingress.is_some() || network.http_route.is_some();
    faults.require(
        mode != Mode::Embedded
            || !(replicas.is_some() || autoscaling.is_some() || has_pod || is_routed),
        "/spec/mode",
        "with mode: Embedded the operator's own pods serve the Identity: replicas, autoscaling, pod, network.tls, network.ingress and network.httpRoute need mode: Deployment",
    );
    faults.require(
        autoscaling.is_none_or(|autoscaling| autoscaling.min <= autoscaling.max),
        "/spec/autoscaling/min",
        "autoscaling.min must be at most autoscaling.max",
    );
    faults.require(
        network.ingress.is_none() || network.http_route.is_none(),
        "/spec/network/httpRoute",
        "set ingress or httpRoute, not both",
    );
}

fn issuer(faults: &mut Faults, issuer: &str) {
    let path = "/spec/issuer";
    let message =
        "issuer must be an https URL; http is allowed only for loopback addresses and *.svc hosts";
    faults.require(is_secure_issuer(issuer), path, message);
    faults.require(is_normal_issuer(issuer), path, ISSUER_WORDS);
}

/// Returns how long a connection may be quiet between requests.
fn idle_timeout(faults: &mut Faults, network: &Network) -> Option<SignedDuration> {
    let path = "/spec/network/idleTimeout";
    let idle = faults.optional_duration(path, network.idle_timeout.as_ref())?;
    let bounds = SignedDuration::from_secs(5)..=SignedDuration::from_hours(2);
    faults.require(
        bounds.contains(&idle),
        path,
        "idleTimeout must be between 5s and 2h",
    );
    Some(idle)
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

/// Returns whether an issuer has https, as RFC 8414 section 2 requires, or http for loopback addresses and Services
/// inside the cluster.
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
