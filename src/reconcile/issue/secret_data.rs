//! The keys of an owner's Secret and their contents.

use super::templated;
use crate::directory::template::Values;
use crate::directory::{Desired, SecretKind};
use crate::oauth::Endpoint;
use crate::reconcile::cluster::secret::SecretObject;
use crate::tokens::{Kind, SecretString, TokenHash, reference};

/// Returns the key that holds the token.
pub(super) const fn token_key(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::ClientSecret => "client-secret",
        SecretKind::ServiceToken => "token",
    }
}

/// Returns the word for the value in messages.
pub(super) const fn noun(kind: SecretKind) -> &'static str {
    match kind {
        SecretKind::ClientSecret => "client secret",
        SecretKind::ServiceToken => "token",
    }
}

/// Returns the kind of reference token to issue.
pub(super) const fn token_kind(kind: SecretKind) -> Kind {
    match kind {
        SecretKind::ClientSecret => Kind::ClientSecret,
        SecretKind::ServiceToken => Kind::ServiceAccessToken,
    }
}

/// Returns the hash of the token in a Secret; `None` if the key is missing or does not hold a token.
pub(super) fn held_hash(secret: &SecretObject, kind: SecretKind) -> Option<TokenHash> {
    let text = secret.text(token_key(kind))?;
    reference::parse(text.expose())
        .ok()
        .map(|presented| presented.hash)
}

/// Returns the Secret as it should be with `token` in it. Data of others stays.
pub(super) fn filled(
    secret: &SecretObject,
    desired: &Desired,
    token: &SecretString,
) -> SecretObject {
    let mut secret = secret.clone();
    let main = token_key(desired.kind);
    let alias = desired.key_alias.as_deref();
    // A former alias key would keep a token that the operator never replaces.
    if let Some(old) = secret.text(main) {
        secret.forget_text(&old, &[main, alias.unwrap_or(main)]);
    }
    // Write the alias first, so that it cannot overwrite a key with a meaning of its own.
    for key in alias.into_iter().chain([main]) {
        secret.set_text(key, token.expose());
    }
    let token_url = Endpoint::Token.url(&desired.issuer);
    secret.set_text("issuer", &desired.issuer);
    if desired.kind == SecretKind::ClientSecret {
        secret.set_text("client-id", &desired.client.client_id);
        secret.set_text("token-url", &token_url);
    }
    let values = Values {
        issued: token,
        client_id: &desired.client.client_id,
        issuer: &desired.issuer,
        token_url: &token_url,
    };
    templated::fill(&mut secret, desired, &values);
    secret.claim(&desired.owner);
    secret
}
