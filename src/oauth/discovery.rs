//! The server's metadata: OpenID Connect Discovery 1.0 section 3 and RFC 8414 section 2; for people also RFC 9126
//! section 5, RFC 9207 section 3 and OpenID Connect RP-Initiated, Back-Channel and Front-Channel Logout 1.0. RFC 8707
//! registers no member.
//!
//! The lists come from the table of endpoints and from the types that they use, so the documents name exactly what
//! works. Scopes are not listed, except the standard ones: one team's scopes are private to it.

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

use super::authorize::{ResponseMode, ResponseType};
use super::client_auth::Method;
use super::endpoint::{Endpoint, Listed};
use super::grants::SupportedGrant;
use crate::directory::StandardScope;
use crate::tokens::Algorithm;

/// The two metadata documents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `/.well-known/openid-configuration`.
    pub openid: Vec<u8>,
    /// `/.well-known/oauth-authorization-server`.
    pub authorization_server: Vec<u8>,
}

/// What an Identity with people adds to its documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct People<'a> {
    /// The languages of the pages (BCP 47).
    pub ui_locales: &'a [&'a str],
    /// The values of `acr`.
    pub acr_values: &'a [&'a str],
    /// Whether clients can have signed userinfo answers.
    pub signs_userinfo: bool,
}

/// The values of `prompt` (OpenID Connect Core section 3.1.2.1).
const PROMPTS: [&str; 4] = ["none", "login", "consent", "select_account"];
/// The claims that tokens and the userinfo endpoint have, besides those of the standard scopes.
const CLAIMS: [&str; 9] = [
    "iss",
    "sub",
    "aud",
    "exp",
    "iat",
    "auth_time",
    "acr",
    "amr",
    "sid",
];

/// The metadata that both documents have.
struct Metadata<'a> {
    issuer: &'a str,
    people: Option<People<'a>>,
}

impl Metadata<'_> {
    /// Returns the methods by which clients authenticate at an endpoint.
    fn methods(&self, endpoint: Endpoint) -> Vec<&'static str> {
        let takes_public = self.people.is_some() && endpoint.takes_public_clients();
        let methods = Method::ALL.into_iter();
        let methods = methods.filter(|method| takes_public || *method != Method::None);
        methods.map(Method::as_str).collect()
    }

    /// Writes the URLs of the endpoints that `member` selects.
    fn add_urls<M: SerializeMap>(
        &self,
        members: &mut M,
        member: fn(Listed) -> Option<&'static str>,
    ) -> Result<(), M::Error> {
        for endpoint in Endpoint::served(self.people.is_some()) {
            let Some(member) = member(endpoint.listed()) else {
                continue;
            };
            members.serialize_entry(member, &endpoint.url(self.issuer))?;
            if let Listed::WithAuthMethods(_) = endpoint.listed() {
                let member = format!("{member}_auth_methods_supported");
                members.serialize_entry(&member, &self.methods(endpoint))?;
            }
        }
        Ok(())
    }

    fn grants(&self) -> Vec<&'static str> {
        let grants = SupportedGrant::served(self.people.is_some());
        grants.map(SupportedGrant::as_str).collect()
    }

    /// Returns the response types. Both specifications require the member.
    fn response_types(&self) -> &'static [&'static str] {
        const TYPES: [&str; 2] = [
            ResponseType::Code.as_str(),
            ResponseType::CodeIdToken.as_str(),
        ];
        if self.people.is_some() { &TYPES } else { &[] }
    }
}

/// Writes what an Identity with people adds to both documents.
fn add_people<M: SerializeMap>(members: &mut M, people: &People<'_>) -> Result<(), M::Error> {
    let modes = ResponseMode::ALL.map(ResponseMode::as_str);
    members.serialize_entry("response_modes_supported", &modes)?;
    let scopes = StandardScope::ALL.map(StandardScope::as_str);
    members.serialize_entry("scopes_supported", &scopes)?;
    members.serialize_entry("code_challenge_methods_supported", &["S256"])?;
    members.serialize_entry("authorization_response_iss_parameter_supported", &true)?;
    // Single clients can demand it of themselves.
    members.serialize_entry("require_pushed_authorization_requests", &false)?;
    members.serialize_entry("ui_locales_supported", people.ui_locales)
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        members.serialize_entry("issuer", self.issuer)?;
        self.add_urls(&mut members, |listed| match listed {
            Listed::Url(member) | Listed::WithAuthMethods(member) => Some(member),
            Listed::OpenId(_) | Listed::No => None,
        })?;
        members.serialize_entry("grant_types_supported", &self.grants())?;
        members.serialize_entry("response_types_supported", self.response_types())?;
        if let Some(people) = &self.people {
            add_people(&mut members, people)?;
        }
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
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    people: Option<OpenIdPeople<'a>>,
}

/// What an Identity with people adds to the document of OpenID Connect Discovery 1.0.
struct OpenIdPeople<'a> {
    metadata: &'a Metadata<'a>,
    people: People<'a>,
    algorithms: Vec<&'static str>,
}

impl Serialize for OpenIdPeople<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut members = serializer.serialize_map(None)?;
        self.metadata
            .add_urls(&mut members, |listed| match listed {
                Listed::OpenId(member) => Some(member),
                Listed::Url(_) | Listed::WithAuthMethods(_) | Listed::No => None,
            })?;
        if self.people.signs_userinfo {
            members.serialize_entry("userinfo_signing_alg_values_supported", &self.algorithms)?;
        }
        members.serialize_entry("acr_values_supported", self.people.acr_values)?;
        members.serialize_entry("claim_types_supported", &["normal"])?;
        let of_scopes = StandardScope::ALL.into_iter();
        let of_scopes = of_scopes.flat_map(|scope| scope.claims().iter().copied());
        let claims: Vec<&str> = CLAIMS.into_iter().chain(of_scopes).collect();
        members.serialize_entry("claims_supported", &claims)?;
        members.serialize_entry("prompt_values_supported", &PROMPTS)?;
        for (member, is_supported) in [
            ("claims_parameter_supported", true),
            ("request_parameter_supported", false),
            // Absent means true.
            ("request_uri_parameter_supported", false),
            ("backchannel_logout_supported", true),
            ("backchannel_logout_session_supported", true),
            ("frontchannel_logout_supported", true),
            ("frontchannel_logout_session_supported", true),
        ] {
            members.serialize_entry(member, &is_supported)?;
        }
        members.end()
    }
}

/// Renders the documents of an issuer that signs with `algorithms`; `people` says what it adds if it has people.
///
/// # Errors
/// None in practice: every member serializes.
pub fn documents(
    issuer: &str,
    algorithms: impl Iterator<Item = Algorithm>,
    people: Option<People<'_>>,
) -> Result<Documents, serde_json::Error> {
    let metadata = Metadata { issuer, people };
    let algorithms: Vec<&'static str> = algorithms.map(Algorithm::as_str).collect();
    Ok(Documents {
        openid: serde_json::to_vec(&OpenId {
            metadata: &metadata,
            subject_types_supported: ["public"],
            people: people.map(|people| OpenIdPeople {
                metadata: &metadata,
                people,
                algorithms: algorithms.clone(),
            }),
            id_token_signing_alg_values_supported: algorithms,
        })?,
        authorization_server: serde_json::to_vec(&metadata)?,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::*;

    const PEOPLE: People<'static> = People {
        ui_locales: &["en", "de", "fr"],
        acr_values: &["pwd"],
        signs_userinfo: true,
    };

    fn with(people: Option<People<'_>>) -> [Value; 2] {
        let algorithms = [Algorithm::RS256, Algorithm::ES256].into_iter();
        let documents = documents("https://h/id", algorithms, people).unwrap();
        let read = |bytes: Vec<u8>| serde_json::from_slice(&bytes).unwrap();
        [read(documents.openid), read(documents.authorization_server)]
    }

    #[test]
    fn people_add_their_members_and_change_three_lists() {
        let ([machine, _], [openid, server]) = (with(None), with(Some(PEOPLE)));
        let changed = [
            "grant_types_supported",
            "response_types_supported",
            "token_endpoint_auth_methods_supported",
            "revocation_endpoint_auth_methods_supported",
        ];
        for (name, value) in machine.as_object().unwrap() {
            assert_eq!(openid[name] != *value, changed.contains(&&**name), "{name}");
        }
        assert_eq!(
            openid["grant_types_supported"],
            json!(["client_credentials", "authorization_code", "refresh_token"])
        );
        assert_eq!(
            openid["response_types_supported"],
            json!(["code", "code id_token"])
        );
        assert_eq!(
            openid["revocation_endpoint_auth_methods_supported"],
            json!(["client_secret_basic", "client_secret_post", "none"])
        );
        for (name, value) in server.as_object().unwrap() {
            assert_eq!(openid[name], *value, "{name}");
        }
        assert_eq!(
            server["authorization_endpoint"],
            "https://h/id/connect/authorize"
        );
        assert_eq!(
            server["pushed_authorization_request_endpoint"],
            "https://h/id/connect/par"
        );
        assert_eq!(
            server["authorization_response_iss_parameter_supported"],
            true
        );
        assert_eq!(openid["userinfo_endpoint"], "https://h/id/connect/userinfo");
        assert_eq!(
            openid["end_session_endpoint"],
            "https://h/id/connect/endsession"
        );
        assert_eq!(openid["request_uri_parameter_supported"], false);
        assert_eq!(
            openid["userinfo_signing_alg_values_supported"],
            json!(["RS256", "ES256"])
        );
        assert_eq!(openid["ui_locales_supported"], json!(["en", "de", "fr"]));
    }

    /// What OpenID Connect Discovery 1.0 section 3 and the logout specifications require of a provider with people.
    #[test]
    fn the_document_has_every_required_member_once() {
        let [openid, _] = with(Some(PEOPLE));
        for required in [
            "issuer",
            "authorization_endpoint",
            "token_endpoint",
            "jwks_uri",
            "response_types_supported",
            "subject_types_supported",
            "id_token_signing_alg_values_supported",
            "userinfo_endpoint",
            "scopes_supported",
            "claims_supported",
            "end_session_endpoint",
            "backchannel_logout_supported",
            "frontchannel_logout_supported",
        ] {
            assert!(openid.get(required).is_some(), "{required}");
        }
        for (name, list) in openid.as_object().unwrap() {
            let Some(list) = list.as_array() else {
                continue;
            };
            let distinct: BTreeSet<&str> = list.iter().map(|it| it.as_str().unwrap()).collect();
            assert_eq!(distinct.len(), list.len(), "{name}");
        }
        let quiet = People {
            signs_userinfo: false,
            ..PEOPLE
        };
        let [openid, _] = with(Some(quiet));
        assert_eq!(openid.get("userinfo_signing_alg_values_supported"), None);
    }

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
        let documents = documents("https://h/id", [Algorithm::RS256].into_iter(), None).unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        assert_eq!(text(documents.authorization_server), format!("{of_both}}}"));
        assert_eq!(text(documents.openid), format!("{of_both}{of_openid}"));
    }
}
