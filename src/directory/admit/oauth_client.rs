//! Admission of an OAuthClient.

use std::sync::Arc;

use jiff::SignedDuration;
use kube::core::ObjectMeta;
use serde_json::Value;

use super::faults::Faults;
use super::interactive;
use super::raw::{decode, identity_of};
use super::secret::{for_issuing, rotation_request};
use crate::directory::Problem;
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::{ClientRecord, RotationRecord, SecretRecord};
use crate::resources::{ClientSecret, ClientType, Kind, OAuthClient, OAuthClientSpec, OwnerKind};

/// Admits an OAuthClient.
#[expect(
    clippy::too_many_lines,
    reason = "each field is named, so that none is forgotten"
)]
pub(super) fn record(raw: &Value, settings: &Settings) -> Result<ClientRecord, Vec<Problem>> {
    let client: OAuthClient = decode(Kind::OAuthClient, raw)?;
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
        type_,
        // `interactive` reads these.
        response_types: _,
        redirect_uris: _,
        post_logout_redirect_uris: _,
        allowed_origins: _,
        backchannel_logout: _,
        frontchannel_logout: _,
        refresh_tokens: _,
        pkce: _,
        par: _,
        consent: _,
        users: _,
        access: _,
        minimum_acr: _,
        max_auth_age: _,
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
    let rotation = faults.rotation(&format!("{path}/rotation"), secret.rotation.as_ref());
    faults.lifetime(path, secret_lifetime, rotation.as_deref());
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
    let interactive = interactive::record(&mut faults, &client.spec);
    let record = ClientRecord {
        identity: identity_of(identity_ref.as_ref(), namespace, settings),
        client_id: intern::text(&client_id),
        display_name: display_name.as_deref().map(Into::into),
        disabled: *disabled,
        grants: grant_types.as_slice().into(),
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
        access_token_type: tokens.access_token_type.map(Into::into),
        secret: client_secret(secret, rotation, &client.metadata, settings),
        secret_lifetime,
        is_public: *type_ == ClientType::Public,
        interactive,
    };
    faults.finish(record)
}

fn client_secret(
    secret: ClientSecret,
    rotation: Option<Box<RotationRecord>>,
    metadata: &ObjectMeta,
    settings: &Settings,
) -> SecretRecord {
    let owner = metadata.name.as_deref().unwrap_or_default();
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
        rotation,
        rotate: for_issuing(settings, || rotation_request(metadata)),
    }
}

/// Returns whether a client id looks like a UUID. UUIDs identify people.
fn is_uuid_like(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts
            .iter()
            .all(|part| part.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
