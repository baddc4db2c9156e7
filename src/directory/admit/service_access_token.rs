//! Admission of a ServiceAccessToken.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::faults::Faults;
use super::raw::decode;
use super::secret::{for_issuing, rotation_request};
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::{SecretRecord, ServiceTokenRecord};
use crate::directory::{Lifetime, Problem};
use crate::resources::{
    Kind, OwnerKind, RotationPolicy, ServiceAccessToken, ServiceAccessTokenSpec,
};

/// Admits a ServiceAccessToken.
pub(super) fn record(raw: &Value, settings: &Settings) -> Result<ServiceTokenRecord, Vec<Problem>> {
    let token: ServiceAccessToken = decode(Kind::ServiceAccessToken, raw)?;
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
    let ends = usize::from(lifetime.is_some())
        + usize::from(expires_at.is_some())
        + usize::from(*never_expires);
    faults.require(
        ends <= 1,
        "/spec",
        "set at most one of lifetime, expiresAt and neverExpires",
    );
    let duration = faults.optional_duration("/spec/lifetime", lifetime.as_ref());
    let rotation = faults.rotation("/spec/rotation", rotation.as_ref());
    faults.lifetime("/spec", duration, rotation.as_deref());
    let manual = rotation.as_ref().and_then(|it| it.policy) == Some(RotationPolicy::Manual);
    let renew_before = rotation.as_ref().and_then(|it| it.renew_before);
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
            rotation,
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
