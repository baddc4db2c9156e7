//! Admission of what an OAuthClient says about people.

use std::sync::Arc;

use jiff::SignedDuration;

use super::faults::Faults;
use super::login;
use crate::directory::tables::intern;
use crate::directory::tables::record::{AccessRecord, InteractiveRecord, LogoutRecord};
use crate::resources::{
    ClientType, Demand, END_NEEDS_REFRESH, FRONTCHANNEL_IS_OWN, GrantType, Group, Logout,
    MOST_BYTES_ABOUT_PEOPLE, OAuthClientSpec, PEOPLE_NEED_CODES, PUBLIC_HAS_NO_SECRET,
    PUBLIC_IS_NO_API, PUBLIC_IS_NO_MACHINE, PUBLIC_NEEDS_PKCE, REDIRECT_URIS_WITH_CODES,
    REFRESH_NEEDS_CODES, ResponseType, TOO_MUCH_ABOUT_PEOPLE, UserType,
};

/// Admits the part of a client that is about people; `None` without the grant of authorization codes.
pub(super) fn record(
    faults: &mut Faults,
    spec: &OAuthClientSpec,
) -> Option<Box<InteractiveRecord>> {
    public(faults, spec);
    grants(faults, spec);
    faults.require(
        bytes_about_people(spec) <= MOST_BYTES_ABOUT_PEOPLE,
        "/spec/redirectUris",
        TOO_MUCH_ABOUT_PEOPLE,
    );
    let max_auth_age = faults.optional_duration("/spec/maxAuthAge", spec.max_auth_age.as_ref());
    faults.require(
        max_auth_age.is_none_or(|age| age >= SignedDuration::from_mins(1)),
        "/spec/maxAuthAge",
        "maxAuthAge must be at least 1m",
    );
    let id_token_lifetime = spec.tokens.id_token_lifetime.as_ref();
    let id_token_lifetime =
        id_token_lifetime.map(|lifetime| login::id_token_lifetime(faults, lifetime));
    if let Some(access) = &spec.access {
        faults.require(
            access.groups.is_some() || access.users.is_some(),
            "/spec/access",
            "set groups, users or both; to open the client to all people, remove access",
        );
    }
    if !spec.grant_types.contains(&GrantType::AuthorizationCode) {
        return None;
    }
    let redirect_uris = own(spec.redirect_uris.as_deref(), |uri| &uri.0);
    frontchannel(faults, spec.frontchannel_logout.as_ref(), &redirect_uris);
    let types = spec.response_types.as_deref();
    let users = spec.users.as_deref().unwrap_or(&[UserType::Internal]);
    let refresh_tokens = spec.refresh_tokens.as_ref();
    Some(Box::new(InteractiveRecord {
        response_types: types.unwrap_or(&[ResponseType::Code]).into(),
        redirect_uris,
        post_logout_redirect_uris: own(spec.post_logout_redirect_uris.as_deref(), |uri| &uri.0),
        allowed_origins: own(spec.allowed_origins.as_deref(), |origin| &origin.0),
        backchannel_logout: spec.backchannel_logout.as_ref().map(logout),
        frontchannel_logout: spec.frontchannel_logout.as_ref().map(logout),
        refresh_tokens_end: refresh_tokens.and_then(|options| options.ends_with),
        needs_pkce: spec.pkce == Demand::Required,
        needs_par: spec.par == Demand::Required,
        consent: spec.consent,
        users: users.into(),
        access: spec.access.as_ref().map(|access| AccessRecord {
            groups: groups(access.groups.as_deref()),
            users: texts(access.users.as_deref(), |name| name),
        }),
        minimum_acr: spec.minimum_acr,
        max_auth_age,
        id_token_lifetime,
        id_token_claims: spec.tokens.id_token_claims,
    }))
}

/// Returns the size of all texts of a client that only people need.
fn bytes_about_people(spec: &OAuthClientSpec) -> usize {
    let uris = [&spec.redirect_uris, &spec.post_logout_redirect_uris];
    let uris = uris.into_iter().flatten().flatten().map(|uri| &uri.0);
    let origins = spec
        .allowed_origins
        .iter()
        .flatten()
        .map(|origin| &origin.0);
    let logouts = [&spec.backchannel_logout, &spec.frontchannel_logout];
    let logouts = logouts.into_iter().flatten().map(|logout| &logout.uri.0);
    let access = spec.access.iter();
    let groups = access.clone().flat_map(|access| &access.groups).flatten();
    let users = access.flat_map(|access| &access.users).flatten();
    let all = uris.chain(origins).chain(logouts);
    let all = all.chain(groups.map(|group| &group.0)).chain(users);
    all.map(String::len).sum()
}

/// Checks what a client that can keep no secret may ask for.
fn public(faults: &mut Faults, spec: &OAuthClientSpec) {
    if spec.type_ != ClientType::Public {
        return;
    }
    let is_machine = spec.grant_types.contains(&GrantType::ClientCredentials);
    for (holds, path, message) in [
        (
            spec.authentication.secret.is_none(),
            "/spec/authentication",
            PUBLIC_HAS_NO_SECRET,
        ),
        (!is_machine, "/spec/grantTypes", PUBLIC_IS_NO_MACHINE),
        (
            spec.resource_server.is_none(),
            "/spec/resourceServer",
            PUBLIC_IS_NO_API,
        ),
        (
            spec.pkce == Demand::Required,
            "/spec/pkce",
            PUBLIC_NEEDS_PKCE,
        ),
    ] {
        faults.require(holds, path, message);
    }
}

/// Checks that the grants and the fields about people belong together.
fn grants(faults: &mut Faults, spec: &OAuthClientSpec) {
    let has = |grant| spec.grant_types.contains(&grant);
    let (codes, refreshes) = (
        has(GrantType::AuthorizationCode),
        has(GrantType::RefreshToken),
    );
    let is_about_people = spec.response_types.is_some()
        || spec.post_logout_redirect_uris.is_some()
        || spec.allowed_origins.is_some()
        || spec.backchannel_logout.is_some()
        || spec.frontchannel_logout.is_some()
        || spec.users.is_some()
        || spec.access.is_some()
        || spec.minimum_acr.is_some()
        || spec.max_auth_age.is_some();
    for (holds, path, message) in [
        (
            codes == spec.redirect_uris.is_some(),
            "/spec/redirectUris",
            REDIRECT_URIS_WITH_CODES,
        ),
        (codes || !refreshes, "/spec/grantTypes", REFRESH_NEEDS_CODES),
        (
            codes || !is_about_people,
            "/spec/grantTypes",
            PEOPLE_NEED_CODES,
        ),
        (
            refreshes || spec.refresh_tokens.is_none(),
            "/spec/refreshTokens",
            END_NEEDS_REFRESH,
        ),
    ] {
        faults.require(holds, path, message);
    }
}

/// Checks that the page in the frame is the client's: OpenID Connect Front-Channel Logout section 2.
fn frontchannel(faults: &mut Faults, logout: Option<&Logout>, redirect_uris: &[Box<str>]) {
    let Some(logout) = logout else { return };
    let own = origin(&logout.uri.0);
    faults.require(
        redirect_uris.iter().any(|uri| origin(uri) == own),
        "/spec/frontchannelLogout/uri",
        FRONTCHANNEL_IS_OWN,
    );
}

/// Returns the scheme, host and port of a URI.
fn origin(uri: &str) -> &str {
    let Some(start) = uri.find("://").map(|at| at + 3) else {
        return uri;
    };
    let end = uri[start..].find(['/', '?']);
    &uri[..end.map_or(uri.len(), |end| start + end)]
}

fn logout(logout: &Logout) -> LogoutRecord {
    LogoutRecord {
        uri: logout.uri.0.as_str().into(),
        session_required: logout.session_required,
    }
}

/// Returns shared copies of groups.
pub(super) fn groups(groups: Option<&[Group]>) -> Box<[Arc<str>]> {
    texts(groups, |group| &group.0)
}

/// Returns copies of texts that no other object has. They are not shared.
fn own<T, U: for<'t> From<&'t str>>(items: Option<&[T]>, text: impl Fn(&T) -> &str) -> Box<[U]> {
    let items = items.into_iter().flatten();
    items.map(|item| text(item).into()).collect()
}

/// Returns shared copies of texts.
fn texts<T>(items: Option<&[T]>, text: impl Fn(&T) -> &str) -> Box<[Arc<str>]> {
    let items = items.into_iter().flatten();
    items.map(|item| intern::text(text(item))).collect()
}
