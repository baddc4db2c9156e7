//! The endpoints of the server, one entry each. The routes, the metadata documents and the labels of metrics are built
//! from this table: a new endpoint is an entry here, and a handler in `server::router`.

use strum::VariantArray;

/// An endpoint of the server, in the order in which metadata lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, VariantArray)]
pub enum Endpoint {
    /// OpenID Connect Discovery 1.0 section 4.
    OpenIdConfiguration,
    /// Authorization server metadata (RFC 8414 section 3).
    AuthorizationServer,
    /// The JWK Set (RFC 7517).
    Jwks,
    /// The token endpoint (RFC 6749 section 3.2).
    Token,
    /// Token introspection (RFC 7662).
    Introspection,
    /// Token revocation (RFC 7009).
    Revocation,
    /// The token check for gateways.
    CheckToken,
    /// The authorization endpoint (RFC 6749 section 3.1).
    Authorize,
    /// Pushed authorization requests (RFC 9126).
    PushedRequest,
    /// The userinfo endpoint (OpenID Connect Core section 5.3).
    UserInfo,
    /// The end session endpoint (OpenID Connect RP-Initiated Logout 1.0).
    EndSession,
    /// The page on which people sign in.
    SignIn,
    /// The page on which people allow what a client asks for.
    Consent,
    /// The page on which people set a password, opened by an enrolment link.
    Enrolment,
    /// The health check of load balancers.
    Health,
    /// Every path that has no endpoint.
    Other,
}

/// The paths of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointPath {
    /// One path below the issuer.
    BelowIssuer(&'static str),
    /// One path at the root, which the issuer's path follows (RFC 8414 section 3.1).
    BeforeIssuer(&'static str),
    /// A path below the issuer, and every path below that one, whatever its length.
    Subtree(&'static str),
    /// The paths of no other endpoint.
    Elsewhere,
}

/// The methods that an endpoint accepts, and who may use them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// Reading, also by web pages of any origin.
    Read,
    /// Reading, not by web pages.
    Probe,
    /// Posting a form.
    Post,
    /// Reading a page and posting its form, by browsers.
    Page,
    /// Reading or posting, by clients.
    ReadOrPost,
    /// Any method: a proxy may forward the method of the request that it asks about.
    Any,
}

impl Methods {
    /// Returns the value of `Allow` (RFC 9110 section 10.2.1); empty for [`Methods::Any`].
    pub const fn allowed(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD, OPTIONS",
            Self::Probe => "GET, HEAD",
            Self::Post => "POST",
            Self::Page | Self::ReadOrPost => "GET, POST",
            Self::Any => "",
        }
    }
}

/// How metadata lists an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// Not at all.
    No,
    /// As the URL in this member.
    Url(&'static str),
    /// As the URL in this member, only in the document of OpenID Connect.
    OpenId(&'static str),
    /// As the URL in this member, beside `<member>_auth_methods_supported`: its clients authenticate.
    WithAuthMethods(&'static str),
}

/// The entry of an endpoint.
struct Entry {
    name: &'static str,
    place: EndpointPath,
    methods: Methods,
    listed: Listed,
}

impl Endpoint {
    /// Every endpoint.
    pub const ALL: &[Self] = Self::VARIANTS;

    #[rustfmt::skip]
    const fn entry(self) -> Entry {
        use Listed::{No, OpenId, Url, WithAuthMethods};
        use Methods::{Any, Page, Post, Probe, Read, ReadOrPost};
        use EndpointPath::{BeforeIssuer, BelowIssuer, Elsewhere, Subtree};
        let (name, place, methods, listed) = match self {
            Self::OpenIdConfiguration => ("discovery", BelowIssuer("/.well-known/openid-configuration"), Read, No),
            Self::AuthorizationServer => ("discovery", BeforeIssuer("/.well-known/oauth-authorization-server"), Read, No),
            Self::Jwks => ("jwks", BelowIssuer("/.well-known/openid-configuration/jwks"), Read, Url("jwks_uri")),
            Self::Token => ("token", BelowIssuer("/connect/token"), Post, WithAuthMethods("token_endpoint")),
            Self::Introspection => ("introspection", BelowIssuer("/connect/introspect"), Post, WithAuthMethods("introspection_endpoint")),
            Self::Revocation => ("revocation", BelowIssuer("/connect/revocation"), Post, WithAuthMethods("revocation_endpoint")),
            // The gateway's name follows, then any path that the proxy appends.
            Self::CheckToken => ("checktoken", Subtree("/connect/checktoken"), Any, No),
            Self::Authorize => ("authorize", BelowIssuer("/connect/authorize"), Page, Url("authorization_endpoint")),
            Self::PushedRequest => ("par", BelowIssuer("/connect/par"), Post, Url("pushed_authorization_request_endpoint")),
            Self::UserInfo => ("userinfo", BelowIssuer("/connect/userinfo"), ReadOrPost, OpenId("userinfo_endpoint")),
            Self::EndSession => ("endsession", BelowIssuer("/connect/endsession"), Page, OpenId("end_session_endpoint")),
            Self::SignIn => ("signin", BelowIssuer("/signin"), Page, No),
            Self::Consent => ("consent", BelowIssuer("/consent"), Page, No),
            Self::Enrolment => ("enrollment", BelowIssuer("/enroll"), Page, No),
            Self::Health => ("health", BelowIssuer("/healthz"), Probe, No),
            Self::Other => ("other", Elsewhere, Any, No),
        };
        Entry { name, place, methods, listed }
    }

    /// Returns the name in metrics, traces and audit events. Both metadata documents have the same.
    pub const fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns whether only Identities with people have this endpoint.
    pub const fn is_of_people(self) -> bool {
        matches!(
            self,
            Self::Authorize
                | Self::PushedRequest
                | Self::UserInfo
                | Self::EndSession
                | Self::SignIn
                | Self::Consent
                | Self::Enrolment
        )
    }

    /// Returns the endpoints of an Identity.
    pub fn served(has_people: bool) -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(move |endpoint| has_people || !endpoint.is_of_people())
    }

    /// Returns whether a public client, which has no credentials, may use the endpoint (RFC 6749 section 2.1): those
    /// that take its own codes and tokens. Introspection would tell any caller about the tokens of others.
    pub const fn takes_public_clients(self) -> bool {
        matches!(self, Self::Token | Self::Revocation | Self::PushedRequest)
    }

    /// Returns the paths.
    pub const fn place(self) -> EndpointPath {
        self.entry().place
    }

    /// Returns the methods.
    pub const fn methods(self) -> Methods {
        self.entry().methods
    }

    /// Returns how metadata lists the endpoint.
    pub const fn listed(self) -> Listed {
        self.entry().listed
    }

    /// Returns the path at an issuer with this path, which has no closing slash. [`Endpoint::Other`] has none.
    pub fn path(self, issuer_path: &str) -> String {
        match self.place() {
            EndpointPath::BelowIssuer(path) | EndpointPath::Subtree(path) => {
                format!("{issuer_path}{path}")
            }
            EndpointPath::BeforeIssuer(path) => format!("{path}{issuer_path}"),
            EndpointPath::Elsewhere => String::new(),
        }
    }

    /// Returns the URL at an issuer.
    pub fn url(self, issuer: &str) -> String {
        let (origin, path) = split(issuer);
        format!("{origin}{}", self.path(path))
    }

    /// Returns what follows the endpoint in a path: empty, or a path that starts with a slash. `None` if the path does
    /// not lead to this endpoint.
    pub fn rest_of<'p>(self, issuer_path: &str, path: &'p str) -> Option<&'p str> {
        let (EndpointPath::BelowIssuer(own) | EndpointPath::Subtree(own)) = self.place() else {
            return None;
        };
        let rest = path.strip_prefix(issuer_path)?.strip_prefix(own)?;
        let is_below = matches!(self.place(), EndpointPath::Subtree(_)) && rest.starts_with('/');
        (rest.is_empty() || is_below).then_some(rest)
    }
}

/// Splits an issuer into its origin and its path, which is empty at the root.
pub fn split(issuer: &str) -> (&str, &str) {
    let host = issuer.find("://").map_or(0, |at| at + 3);
    let path = issuer[host..]
        .find('/')
        .map_or(issuer.len(), |at| host + at);
    issuer.split_at(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_of_the_issuer_is_before_or_after_the_path_of_an_endpoint() {
        for (issuer, token, metadata) in [
            (
                "https://h",
                "https://h/connect/token",
                "https://h/.well-known/oauth-authorization-server",
            ),
            (
                "https://h:8/a/b",
                "https://h:8/a/b/connect/token",
                "https://h:8/.well-known/oauth-authorization-server/a/b",
            ),
        ] {
            assert_eq!(Endpoint::Token.url(issuer), token);
            assert_eq!(Endpoint::AuthorizationServer.url(issuer), metadata);
        }
    }

    #[test]
    fn only_paths_below_a_subtree_lead_to_its_endpoint() {
        let rest = |endpoint: Endpoint, path| endpoint.rest_of("/id", path);
        let check = Endpoint::CheckToken;
        assert_eq!(rest(check, "/id/connect/checktoken"), Some(""));
        assert_eq!(rest(check, "/id/connect/checktoken/api/x"), Some("/api/x"));
        assert_eq!(rest(check, "/id/connect/checktokens"), None);
        assert_eq!(rest(check, "/connect/checktoken"), None);
        assert_eq!(rest(Endpoint::Token, "/id/connect/token"), Some(""));
        assert_eq!(rest(Endpoint::Token, "/id/connect/token/"), None);
    }

    /// Counters of endpoints are found by position.
    #[test]
    fn every_endpoint_stands_at_its_position() {
        for (position, endpoint) in Endpoint::ALL.iter().enumerate() {
            assert_eq!(*endpoint as usize, position);
        }
    }
}
