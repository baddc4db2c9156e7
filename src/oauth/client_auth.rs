//! Client authentication at the token, introspection, revocation and PAR endpoints (RFC 6749 section 2.3.1): either
//! `client_secret_basic` or `client_secret_post`, never in a URL. A public client, which has no credentials, only names
//! itself, at the endpoints that take its own codes and tokens (RFC 6749 sections 2.1 and 3.2.1).
//!
//! The secret is hashed before any look-up. It is found by its own ID, or by its hash if it is imported, so neither the
//! answer nor its timing tells whether a client exists.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use zeroize::{Zeroize as _, Zeroizing};

use super::authorization::credentials;
use super::form::decode;
use super::{ErrorCode, Form, OAuthError};
use crate::directory::{AcceptedClient, AuthenticatedClient, Directory, Invalid, ObjectKey};
use crate::tokens::reference::{self, Kind};
use crate::tokens::{SecretString, imported};

/// The longest `Basic` credentials that are decoded, in bytes of base64.
const MAX_BASIC: usize = 2048;
/// The longest client ID kept of a failed authentication, in bytes; no client has a longer one.
const MAX_KEPT: usize = 512;

/// How a client authenticates: the values of `token_endpoint_auth_methods_supported`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// In the header `Authorization`.
    ClientSecretBasic,
    /// In the body.
    ClientSecretPost,
    /// Not at all: a public client.
    None,
}

impl Method {
    /// Every method, as listed in discovery.
    pub const ALL: [Self; 3] = [Self::ClientSecretBasic, Self::ClientSecretPost, Self::None];

    /// Returns the registered name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClientSecretBasic => "client_secret_basic",
            Self::ClientSecretPost => "client_secret_post",
            Self::None => "none",
        }
    }
}

/// Why client authentication failed: for logs and metrics, never for the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureReason {
    /// The request has no credentials.
    NoCredentials,
    /// The request has several credentials, or they contradict each other.
    SeveralMethods,
    /// A scheme other than `Basic`, or an assertion.
    UnsupportedMethod,
    /// Credentials that can never be valid.
    Malformed,
    /// The directory refused the credentials.
    Invalid(Invalid),
}

impl FailureReason {
    /// Returns the name used in logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoCredentials => "no_credentials",
            Self::SeveralMethods => "several_methods",
            Self::UnsupportedMethod => "unsupported_method",
            Self::Malformed => "malformed",
            Self::Invalid(why) => why.as_str(),
        }
    }
}

/// A failed authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The error to answer with.
    pub error: OAuthError,
    /// The reason.
    pub reason: FailureReason,
    /// The client ID that was sent.
    pub claimed: Option<Claimed>,
}

/// A client ID that was sent without proof. It can be any text, even a secret sent in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// The text, truncated to the length of the longest client ID.
    pub sent: SecretString,
    /// Whether a client has this ID.
    pub is_client: bool,
}

/// The client of a request to an endpoint that takes public clients too.
#[derive(Clone, Debug)]
pub enum Caller<'d> {
    /// It proved who it is, by this method.
    Confidential(Box<AuthenticatedClient<'d>>, Method),
    /// It has nothing to prove it with. Anyone can send its requests.
    Public(AcceptedClient<'d>),
}

impl<'d> Caller<'d> {
    /// Returns the client.
    pub const fn client(&self) -> &AcceptedClient<'d> {
        match self {
            Self::Confidential(proved, _) => &proved.client,
            Self::Public(client) => client,
        }
    }

    /// Returns how it authenticated.
    pub const fn method(&self) -> Method {
        match self {
            Self::Confidential(_, method) => *method,
            Self::Public(_) => Method::None,
        }
    }
}

/// Identifies the client of a request to an endpoint that [takes public
/// clients](super::endpoint::Endpoint::takes_public_clients): a public client by its `client_id` in the form alone, any
/// other one as [`authenticate`] does. `is_public` says whether a client is public. A confidential client without
/// credentials gets the same answer as an unknown one.
///
/// # Errors
/// As [`authenticate`].
pub fn identify<'d, 'h>(
    directory: &'d Directory,
    identity: &ObjectKey,
    authorization: impl Iterator<Item = &'h [u8]>,
    form: &Form<'_>,
    now: Timestamp,
    is_public: impl FnOnce(&AcceptedClient<'d>) -> bool,
) -> Result<Caller<'d>, Failure> {
    let mut authorization = authorization.peekable();
    let has_credentials = authorization.peek().is_some()
        || form.get("client_secret").is_some()
        || form.get("client_assertion").is_some();
    let named = form.get("client_id").filter(|_| !has_credentials);
    let public = named
        .and_then(|client_id| directory.active_client(identity, client_id))
        .filter(is_public);
    if let Some(client) = public {
        return Ok(Caller::Public(client));
    }
    let (proved, method) = authenticate(directory, identity, authorization, form, now)?;
    Ok(Caller::Confidential(Box::new(proved), method))
}

/// Authenticates the client of a request. `authorization` yields all values of that header.
///
/// # Errors
/// [`Failure`]: `invalid_request` for two methods at once, otherwise `invalid_client`.
pub fn authenticate<'d, 'h>(
    directory: &'d Directory,
    identity: &ObjectKey,
    authorization: impl Iterator<Item = &'h [u8]>,
    form: &Form<'_>,
    now: Timestamp,
) -> Result<(AuthenticatedClient<'d>, Method), Failure> {
    let failed = Failing {
        directory,
        identity,
    };
    let mut authorization = authorization;
    let header = authorization.next();
    let in_body = form.get("client_secret");
    if authorization.next().is_some()
        || (header.is_some() && in_body.is_some())
        || (form.get("client_assertion").is_some() && (header.is_some() || in_body.is_some()))
    {
        return Err(failed.several(form.get("client_id")));
    }
    let check = |client_id: &str, secret: &str| {
        verify(directory, identity, client_id, secret, now)
            .map_err(|reason| failed.refused(reason, Some(client_id)))
    };
    match (header, in_body, form.get("client_id")) {
        (Some(header), _, in_form) => {
            let basic = Basic::parse(header).map_err(|reason| failed.refused(reason, in_form))?;
            let malformed = || failed.refused(FailureReason::Malformed, in_form);
            let (client_id, secret) = basic.split().ok_or_else(malformed)?;
            // If the caller swapped the two, the first is the secret.
            let (client_id, secret) = (Wiped(client_id), Wiped(secret));
            if in_form.is_some_and(|other| *other != *client_id.0) {
                return Err(failed.several(in_form));
            }
            Ok((check(&client_id.0, &secret.0)?, Method::ClientSecretBasic))
        }
        (None, Some(secret), Some(client_id)) => {
            Ok((check(client_id, secret)?, Method::ClientSecretPost))
        }
        (None, Some(_), None) => Err(failed.refused(FailureReason::Malformed, None)),
        (None, None, client_id) if form.get("client_assertion").is_some() => {
            Err(failed.refused(FailureReason::UnsupportedMethod, client_id))
        }
        (None, None, client_id) => Err(failed.refused(FailureReason::NoCredentials, client_id)),
    }
}

fn verify<'d>(
    directory: &'d Directory,
    identity: &ObjectKey,
    client_id: &str,
    secret: &str,
    now: Timestamp,
) -> Result<AuthenticatedClient<'d>, FailureReason> {
    let found = match reference::parse(secret) {
        Ok(presented) if presented.kind != Kind::ClientSecret => {
            return Err(FailureReason::Malformed);
        }
        Ok(presented) => directory
            .client_authenticated(identity, client_id, &presented, now)
            // A token that another installation issued may be imported here as a client secret.
            .or_else(|refusal| {
                directory
                    .client_with_imported_secret(identity, client_id, &presented.hash, now)
                    .map_err(|_| refusal)
            }),
        Err(_) => {
            let hash = imported::presented(secret).ok_or(FailureReason::Malformed)?;
            directory.client_with_imported_secret(identity, client_id, &hash, now)
        }
    };
    found.map_err(FailureReason::Invalid)
}

/// Builds failures; it can look up client IDs.
#[derive(Clone, Copy)]
struct Failing<'a> {
    directory: &'a Directory,
    identity: &'a ObjectKey,
}

impl Failing<'_> {
    fn several(self, client_id: Option<&str>) -> Failure {
        Failure {
            error: OAuthError::invalid_request(
                "use one way to authenticate: the Authorization header or the body",
            ),
            reason: FailureReason::SeveralMethods,
            claimed: client_id.map(|client_id| self.claimed(client_id)),
        }
    }

    fn refused(self, reason: FailureReason, client_id: Option<&str>) -> Failure {
        Failure {
            error: OAuthError::new(ErrorCode::InvalidClient, "client authentication failed"),
            reason,
            claimed: client_id.map(|client_id| self.claimed(client_id)),
        }
    }

    fn claimed(self, client_id: &str) -> Claimed {
        let end = client_id.floor_char_boundary(MAX_KEPT);
        Claimed {
            sent: SecretString::from(client_id.get(..end).unwrap_or_default().to_owned()),
            is_client: self.directory.is_client_id(self.identity, client_id),
        }
    }
}

/// Wipes a secret if decoding had to copy it.
struct Wiped<'a>(Cow<'a, str>);

impl Drop for Wiped<'_> {
    fn drop(&mut self) {
        if let Cow::Owned(copy) = &mut self.0 {
            copy.zeroize();
        }
    }
}

/// The decoded value of `Authorization: Basic`.
struct Basic(Zeroizing<Vec<u8>>);

impl Basic {
    fn parse(header: &[u8]) -> Result<Self, FailureReason> {
        let encoded = credentials(header, "Basic").ok_or(FailureReason::UnsupportedMethod)?;
        if encoded.len() > MAX_BASIC {
            return Err(FailureReason::Malformed);
        }
        let decoded = STANDARD
            .decode(encoded)
            .map_err(|_| FailureReason::Malformed)?;
        Ok(Self(Zeroizing::new(decoded)))
    }

    /// Splits ID and secret, each encoded like a form value (RFC 6749 section 2.3.1).
    fn split(&self) -> Option<(Cow<'_, str>, Cow<'_, str>)> {
        let cut = self.0.iter().position(|byte| *byte == b':')?;
        let (id, secret) = (&self.0[..cut], &self.0[cut + 1..]);
        Some((decode(id).ok()?, decode(secret).ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{QUICKSTART, World};
    use crate::resources::OwnerKind;

    fn identified(
        world: &World,
        is_public: bool,
        header: Option<&str>,
        body: &str,
    ) -> Result<Method, (FailureReason, OAuthError)> {
        let form = Form::parse(body.as_bytes()).unwrap();
        let caller = identify(
            &world.directory,
            &ObjectKey::new("platform", "main"),
            header.map(str::as_bytes).into_iter(),
            &form,
            "2026-02-01T00:00:00Z".parse().unwrap(),
            |client| is_public && &*client.client.record.client_id == "blue.shop",
        );
        caller
            .map(|caller| caller.method())
            .map_err(|failure| (failure.reason, failure.error))
    }

    #[test]
    fn a_public_client_names_itself_in_the_form_and_sends_nothing_else() {
        let world = World::new(QUICKSTART);
        let named = "client_id=blue.shop";
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(identified(&world, true, None, named), Ok(Method::None));
        // A parameter without a value counts as omitted (RFC 6749 section 3.2).
        let empty = format!("{named}&client_secret=");
        assert_eq!(identified(&world, true, None, &empty), Ok(Method::None));
        for (header, more) in [
            (Some(basic("blue.shop:")), ""),
            (Some(basic("blue.shop:x")), ""),
            (Some("Bearer x".to_owned()), ""),
            (Some(String::new()), ""),
            (None, "&client_secret=x"),
            (None, "&client_assertion=x"),
        ] {
            let body = format!("{named}{more}");
            let outcome = identified(&world, true, header.as_deref(), &body);
            assert!(outcome.is_err(), "{header:?} {body}: {outcome:?}");
        }
        let unnamed = identified(&world, true, Some(&basic("blue.shop:")), "");
        assert!(unnamed.is_err(), "{unnamed:?}");
        assert!(identified(&world, true, None, "").is_err());
    }

    #[test]
    fn a_confidential_client_never_passes_without_credentials() {
        let mut world = World::new(QUICKSTART);
        let issued = "2026-01-31T00:00:00Z".parse().unwrap();
        let secret = world.issue(OwnerKind::OAuthClient, "blue", "shop", issued);
        let known = identified(&world, false, None, "client_id=blue.shop");
        let (reason, error) = known.unwrap_err();
        assert_eq!(reason, FailureReason::NoCredentials);
        // The answer does not tell whether the client exists, also beside a public one.
        for is_public in [false, true] {
            let unknown = identified(&world, is_public, None, "client_id=blue.nobody");
            assert_eq!(unknown, Err((reason, error)));
        }
        let body = format!("client_id=blue.shop&client_secret={}", secret.expose());
        let proved = identified(&world, false, None, &body);
        assert_eq!(proved, Ok(Method::ClientSecretPost));
    }
}
