//! The server's metadata: OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2.
//!
//! The lists come from the table of endpoints and from the types that they use, so the documents name exactly what
//! works. Scopes are not listed: one team's scopes are private to it.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use super::client_auth::Method;
use super::endpoint::{Endpoint, Listed};
use super::grants::SupportedGrant;
use crate::tokens::Algorithm;

/// The two metadata documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `/.well-known/openid-configuration`.
    pub openid: Vec<u8>,
    /// `/.well-known/oauth-authorization-server`.
    pub authorization_server: Vec<u8>,
}

/// The metadata that both documents have.
struct Metadata<'a> {
    issuer: &'a str,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("issuer", self.issuer)?;
        for endpoint in Endpoint::ALL {
            let (Listed::Url(member) | Listed::WithAuthMethods(member)) = endpoint.listed() else {
                continue;
            };
            members.serialize_entry(member, &endpoint.url(self.issuer))?;
            if let Listed::WithAuthMethods(_) = endpoint.listed() {
                let member = format!("{member}_auth_methods_supported");
                members.serialize_entry(&member, &Method::ALL.map(Method::as_str))?;
            }
        }
        members.serialize_entry(
            "grant_types_supported",
            &SupportedGrant::ALL.map(SupportedGrant::as_str),
        )?;
        // Both specifications require the member; there is no authorization endpoint yet.
        members.serialize_entry("response_types_supported", &[""; 0])?;
        members.end()
    }
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
    let metadata = Metadata { issuer };
    Ok(Documents {
        openid: serde_json::to_vec(&OpenId {
            metadata: &metadata,
            subject_types_supported: ["public"],
            id_token_signing_alg_values_supported: algorithms.map(Algorithm::as_str).collect(),
        })?,
        authorization_server: serde_json::to_vec(&metadata)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entity tag follows from the bytes, so that the order of members counts too.
    #[test]
    fn the_documents_list_every_listed_endpoint_in_the_order_of_the_table() {
        let of_both = concat!(
            r#"{"issuer":"https://h/id","#,
            r#""jwks_uri":"https://h/id/.well-known/openid-configuration/jwks","#,
            r#""token_endpoint":"https://h/id/connect/token","#,
            r#""token_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],"#,
            r#""introspection_endpoint":"https://h/id/connect/introspect","#,
            r#""introspection_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],"#,
            r#""revocation_endpoint":"https://h/id/connect/revocation","#,
            r#""revocation_endpoint_auth_methods_supported":["client_secret_basic","client_secret_post"],"#,
            r#""grant_types_supported":["client_credentials"],"#,
            r#""response_types_supported":[]"#,
        );
        let of_openid = r#","subject_types_supported":["public"],"id_token_signing_alg_values_supported":["RS256"]}"#;
        let documents = documents("https://h/id", [Algorithm::RS256].into_iter()).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(text(documents.authorization_server), format!("{of_both}}}"));
        assert_eq!(text(documents.openid), format!("{of_both}{of_openid}"));
    }
}
