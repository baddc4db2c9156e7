//! The server's metadata: OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2.
//!
//! The lists come from the types that the endpoints use, so the documents name exactly what works. Scopes are not
//! listed: one team's scopes are private to it.

use serde::Serialize;

use super::client_auth::Method;
use super::grants::Grant;
use crate::tokens::Algorithm;

/// Paths below the issuer.
pub mod paths {
    /// OpenID Connect Discovery.
    pub const OPENID_CONFIGURATION: &str = "/.well-known/openid-configuration";
    /// The JWK Set (RFC 7517).
    pub const JWKS: &str = "/.well-known/openid-configuration/jwks";
    /// The token endpoint (RFC 6749 section 3.2).
    pub const TOKEN: &str = "/connect/token";
    /// Token introspection (RFC 7662).
    pub const INTROSPECTION: &str = "/connect/introspect";
    /// Token revocation (RFC 7009).
    pub const REVOCATION: &str = "/connect/revocation";
    /// The token check for gateways; the gateway's name follows.
    pub const CHECK_TOKEN: &str = "/connect/checktoken";
    /// The health check of load balancers.
    pub const HEALTH: &str = "/healthz";
    /// Authorization server metadata (RFC 8414 section 3): a path at the root; the issuer's path follows.
    pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";
}

/// The two metadata documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `/.well-known/openid-configuration`.
    pub openid: Vec<u8>,
    /// `/.well-known/oauth-authorization-server`.
    pub authorization_server: Vec<u8>,
}

#[derive(Serialize)]
struct Metadata<'a> {
    issuer: &'a str,
    jwks_uri: String,
    token_endpoint: String,
    token_endpoint_auth_methods_supported: [&'static str; 2],
    introspection_endpoint: String,
    introspection_endpoint_auth_methods_supported: [&'static str; 2],
    revocation_endpoint: String,
    revocation_endpoint_auth_methods_supported: [&'static str; 2],
    grant_types_supported: [&'static str; 1],
    /// Both specifications require the member; there is no authorization endpoint yet.
    response_types_supported: [&'static str; 0],
}

/// The metadata that OpenID Connect Discovery 1.0 additionally requires.
#[derive(Serialize)]
struct OpenId<'a> {
    #[serde(flatten)]
    metadata: &'a Metadata<'a>,
    subject_types_supported: [&'static str; 1],
    id_token_signing_alg_values_supported: Vec<&'static str>,
}

/// Renders the documents of an issuer that signs with `algorithms`.
///
/// # Errors
/// None in practice: every member serializes.
pub fn documents(
    issuer: &str,
    algorithms: impl Iterator<Item = Algorithm>,
) -> Result<Documents, serde_json::Error> {
    let at = |path: &str| format!("{issuer}{path}");
    let methods = Method::ALL.map(Method::as_str);
    let metadata = Metadata {
        issuer,
        jwks_uri: at(paths::JWKS),
        token_endpoint: at(paths::TOKEN),
        token_endpoint_auth_methods_supported: methods,
        introspection_endpoint: at(paths::INTROSPECTION),
        introspection_endpoint_auth_methods_supported: methods,
        revocation_endpoint: at(paths::REVOCATION),
        revocation_endpoint_auth_methods_supported: methods,
        grant_types_supported: Grant::ALL.map(Grant::as_str),
        response_types_supported: [],
    };
    Ok(Documents {
        openid: serde_json::to_vec(&OpenId {
            metadata: &metadata,
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms.map(Algorithm::as_str).collect(),
        })?,
        authorization_server: serde_json::to_vec(&metadata)?,
    })
}
