//! An authorization request (RFC 6749 section 4.1.1, OpenID Connect Core section 3.1.2.1), checked against the client's
//! registration.
//!
//! Until the client and its redirect URI are known, a fault is shown on a page of the server and never redirected (RFC
//! 6749 section 4.1.2.1). From then on every fault goes to the client.

use serde::{Deserialize, Serialize};

use super::answer::{ResponseMode, ReturnTo};
use super::claims::ClaimsRequest;
use crate::directory::StandardScope;
use crate::oauth::pkce::{Challenge, NotAChallenge};
use crate::oauth::{ErrorCode, Form, OAuthError, redirect_uri};
use crate::resources;
use crate::tokens::jwt;

/// The largest number of values in a parameter that is a list. Further ones are ignored.
const MAX_LISTED: usize = 16;
/// The longest value of a parameter, in bytes. The store keeps those of a pushed request, which anyone can send in the
/// name of a public client.
const MAX_TEXT: usize = 2048;
/// The longest `scope`, in bytes.
const MAX_SCOPE: usize = 8192;
/// The largest number of resources.
const MAX_RESOURCES: usize = 16;

/// The longest form in which the store keeps a request, in bytes. It is much longer than the parameters if they contain
/// characters that JSON escapes.
pub const MAX_STORED: usize = 16 << 10;

/// What an authorization response contains (OAuth 2.0 Multiple Response Type Encoding Practices).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ResponseType {
    /// `code`.
    Code,
    /// `code id_token`.
    CodeIdToken,
}

impl ResponseType {
    /// Every type, as listed in discovery.
    pub const ALL: [Self; 2] = [Self::Code, Self::CodeIdToken];

    /// Returns the value of `response_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Code => "code",
            Self::CodeIdToken => "code id_token",
        }
    }

    /// Returns the mode of the answer if the request names none.
    pub const fn default_mode(self) -> ResponseMode {
        match self {
            Self::Code => ResponseMode::Query,
            Self::CodeIdToken => ResponseMode::Fragment,
        }
    }

    /// Reads a value of `response_type`, whose words may be in any order.
    fn parse(text: &str) -> Option<Self> {
        let mut words: Vec<&str> = text.split(' ').collect();
        words.sort_unstable();
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str().split(' ').eq(words.iter().copied()))
    }
}

impl From<resources::ResponseType> for ResponseType {
    fn from(registered: resources::ResponseType) -> Self {
        match registered {
            resources::ResponseType::Code => Self::Code,
            resources::ResponseType::CodeIDToken => Self::CodeIdToken,
        }
    }
}

/// The part of a client's registration that decides about its requests.
#[derive(Clone, Copy, Debug)]
pub struct Registration<'a> {
    /// The registered redirect URIs.
    pub redirect_uris: &'a [&'a str],
    /// The response types that the client may use.
    pub response_types: &'a [ResponseType],
    /// Whether a request needs a `code_challenge`. Always true for a public client.
    pub needs_pkce: bool,
    /// Whether a request must be pushed (RFC 9126).
    pub needs_par: bool,
}

/// The pages that a client asks for with `prompt` (OpenID Connect Core section 3.1.2.1). Unknown values are ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "a set of the specification's four values"
)]
pub struct Prompts {
    /// Show no page.
    pub none: bool,
    /// Ask for the credentials again.
    pub login: bool,
    /// Ask for consent again.
    pub consent: bool,
    /// Let the person choose an account.
    pub select_account: bool,
}

/// A request in which everything is well-formed and allowed for the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// Where the answer goes.
    pub return_to: ReturnTo,
    /// Whether the request named the redirect URI, which the token request must then repeat (RFC 6749 section 4.1.3).
    pub named_redirect_uri: bool,
    /// What the answer contains.
    pub response_type: ResponseType,
    /// The requested scope values.
    pub scopes: Vec<String>,
    /// The requested resources (RFC 8707).
    pub resources: Vec<String>,
    /// The challenge that the token request must meet.
    pub challenge: Option<Challenge>,
    /// The value that the ID token repeats.
    pub nonce: Option<String>,
    /// The pages that the client asks for.
    pub prompts: Prompts,
    /// The largest number of seconds since the person signed in.
    pub max_age: Option<u64>,
    /// The person that the client expects: a username or an address.
    pub login_hint: Option<String>,
    /// An ID token of the person that the client expects.
    pub id_token_hint: Option<String>,
    /// The languages of the pages, the preferred first (BCP 47).
    pub ui_locales: Vec<String>,
    /// Values of `acr`, the preferred first.
    pub acr_values: Vec<String>,
    /// Single claims that the client asks for.
    pub claims: ClaimsRequest,
}

impl AuthorizationRequest {
    /// Whether this is an OpenID Connect request.
    pub fn is_openid(&self) -> bool {
        self.scopes.iter().any(|scope| scope == OPENID)
    }

    /// Returns the form in which the store keeps a pushed request.
    ///
    /// # Errors
    /// `invalid_request` if it is too long.
    pub fn to_stored(&self) -> Result<String, OAuthError> {
        let text = serde_json::to_string(self)
            .map_err(|_| OAuthError::new(ErrorCode::ServerError, "the request cannot be kept"))?;
        if text.len() > MAX_STORED {
            return Err(OAuthError::invalid_request(
                "the parameters are too long: together they may have 16 KiB, and escaped characters count as escaped",
            ));
        }
        Ok(text)
    }
}

/// The scope value that makes a request an OpenID Connect request.
pub const OPENID: &str = StandardScope::OpenId.as_str();

/// How a request is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// On a page of the server: it is not certain that the redirect URI is the client's.
    Page(OAuthError),
    /// By an answer to the client.
    Client(ReturnTo, OAuthError),
}

/// Checks a request of a known client. `is_pushed` says that the client pushed it to the PAR endpoint.
///
/// # Errors
/// The first fault.
pub fn check(
    form: &Form<'_>,
    client: &Registration<'_>,
    is_pushed: bool,
) -> Result<AuthorizationRequest, Refused> {
    let redirect_uri = redirect_uri_of(form, client).map_err(Refused::Page)?;
    let response_type = form.get("response_type").map(ResponseType::parse);
    let known_type = response_type.flatten();
    let default_mode = known_type.map_or_else(
        || mode_of_unknown(form.get("response_type")),
        ResponseType::default_mode,
    );
    let mode = mode_of(form, known_type, default_mode);
    let return_to = ReturnTo {
        redirect_uri,
        mode: mode.unwrap_or(default_mode),
        state: form.get("state").map(str::to_owned),
    };
    let checked = || {
        let response_type = match response_type {
            None => return Err(OAuthError::invalid_request("response_type is missing")),
            Some(Some(kind)) if client.response_types.contains(&kind) => kind,
            Some(Some(_)) => {
                return Err(OAuthError::new(
                    ErrorCode::UnauthorizedClient,
                    "this client may not use this response_type",
                ));
            }
            Some(None) => {
                return Err(OAuthError::new(
                    ErrorCode::UnsupportedResponseType,
                    "use the response_type code, or code id_token",
                ));
            }
        };
        mode?;
        bounded(form)?;
        unsupported(form)?;
        if client.needs_par && !is_pushed {
            return Err(OAuthError::invalid_request(
                "this client must push its requests to the PAR endpoint",
            ));
        }
        fields(form, client, response_type, return_to.clone())
    };
    checked().map_err(|error| Refused::Client(return_to, error))
}

/// Returns where the answer goes.
fn redirect_uri_of(form: &Form<'_>, client: &Registration<'_>) -> Result<String, OAuthError> {
    let registered = client.redirect_uris.iter().copied();
    match (form.get("redirect_uri"), client.redirect_uris) {
        (Some(uri), _) if redirect_uri::is_registered(registered, uri) => Ok(uri.to_owned()),
        (Some(_), _) => Err(OAuthError::invalid_request(
            "the redirect_uri is not registered for this client",
        )),
        // OpenID Connect Core section 3.1.2.1 requires the parameter. RFC 6749 requires it only if several are
        // registered.
        (None, [only]) if !scopes_of(form).any(|scope| scope == OPENID) => Ok((*only).to_owned()),
        (None, _) => Err(OAuthError::invalid_request("redirect_uri is missing")),
    }
}

/// Returns the mode of the answer to a type that is not supported: a client that asks for a token in the answer looks
/// for errors in the fragment, too (OAuth 2.0 Multiple Response Type Encoding Practices section 5).
fn mode_of_unknown(response_type: Option<&str>) -> ResponseMode {
    let is_token = words(response_type).any(|word| ["token", "id_token"].contains(&word));
    if is_token {
        ResponseMode::Fragment
    } else {
        ResponseMode::Query
    }
}

/// Returns the mode that the request names, or the default of its type.
fn mode_of(
    form: &Form<'_>,
    kind: Option<ResponseType>,
    default: ResponseMode,
) -> Result<ResponseMode, OAuthError> {
    let Some(named) = form.get("response_mode") else {
        return Ok(default);
    };
    let known = ResponseMode::ALL
        .into_iter()
        .find(|mode| mode.as_str() == named);
    match known {
        // A query ends in logs and in the Referer header (Multiple Response Types section 5).
        Some(ResponseMode::Query) if kind == Some(ResponseType::CodeIdToken) => {
            Err(OAuthError::invalid_request(
                "an ID token is not sent in a query: use fragment or form_post",
            ))
        }
        Some(mode) => Ok(mode),
        None => Err(OAuthError::invalid_request(
            "use the response_mode query, fragment or form_post",
        )),
    }
}

/// Refuses parameters that are longer than any sensible one.
fn bounded(form: &Form<'_>) -> Result<(), OAuthError> {
    const TEXTS: [(&str, &str); 6] = [
        ("state", "state is too long"),
        ("nonce", "nonce is too long"),
        ("login_hint", "login_hint is too long"),
        ("ui_locales", "ui_locales is too long"),
        ("acr_values", "acr_values is too long"),
        ("redirect_uri", "redirect_uri is too long"),
    ];
    let is_longer = |name, most| form.get(name).is_some_and(|text| text.len() > most);
    for (name, error) in TEXTS {
        if is_longer(name, MAX_TEXT) {
            return Err(OAuthError::invalid_request(error));
        }
    }
    if is_longer("id_token_hint", jwt::MAX_LENGTH) {
        return Err(OAuthError::invalid_request("id_token_hint is too long"));
    }
    if is_longer("scope", MAX_SCOPE) {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "scope is too long",
        ));
    }
    let mut resources = form.get_all("resource");
    if resources.any(|resource| resource.len() > MAX_TEXT)
        || form.get_all("resource").count() > MAX_RESOURCES
    {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "the resources are too many or too long",
        ));
    }
    Ok(())
}

/// Refuses the parameters that discovery declares unsupported.
fn unsupported(form: &Form<'_>) -> Result<(), OAuthError> {
    for (name, code, description) in [
        (
            "request",
            ErrorCode::RequestNotSupported,
            "send the parameters themselves, or push them to the PAR endpoint",
        ),
        (
            "request_uri",
            ErrorCode::RequestUriNotSupported,
            "only a request_uri of the PAR endpoint is supported",
        ),
        (
            "registration",
            ErrorCode::RegistrationNotSupported,
            "clients are registered beforehand",
        ),
    ] {
        if form.get(name).is_some() {
            return Err(OAuthError::new(code, description));
        }
    }
    Ok(())
}

fn fields(
    form: &Form<'_>,
    client: &Registration<'_>,
    response_type: ResponseType,
    return_to: ReturnTo,
) -> Result<AuthorizationRequest, OAuthError> {
    let owned = |name| form.get(name).map(str::to_owned);
    let nonce = owned("nonce");
    if response_type == ResponseType::CodeIdToken && nonce.is_none() {
        return Err(OAuthError::invalid_request("nonce is missing"));
    }
    let request = AuthorizationRequest {
        return_to,
        named_redirect_uri: form.get("redirect_uri").is_some(),
        response_type,
        scopes: scopes_of(form).map(str::to_owned).collect(),
        resources: form.get_all("resource").map(str::to_owned).collect(),
        challenge: challenge_of(form, client)?,
        nonce,
        prompts: prompts_of(form)?,
        max_age: max_age_of(form)?,
        login_hint: owned("login_hint"),
        id_token_hint: owned("id_token_hint"),
        ui_locales: listed(form, "ui_locales"),
        acr_values: listed(form, "acr_values"),
        claims: form
            .get("claims")
            .map_or(Ok(ClaimsRequest::default()), ClaimsRequest::parse)?,
    };
    if response_type == ResponseType::CodeIdToken && !request.is_openid() {
        return Err(OAuthError::new(
            ErrorCode::InvalidScope,
            "an ID token needs the scope openid",
        ));
    }
    Ok(request)
}

fn challenge_of(
    form: &Form<'_>,
    client: &Registration<'_>,
) -> Result<Option<Challenge>, OAuthError> {
    let Some(text) = form.get("code_challenge") else {
        return match form.get("code_challenge_method") {
            Some(_) => Err(OAuthError::invalid_request("code_challenge is missing")),
            None if client.needs_pkce => Err(OAuthError::invalid_request(
                "code_challenge is missing: this client must use PKCE",
            )),
            None => Ok(None),
        };
    };
    // Without a method, the challenge is the plain verifier (RFC 7636 section 4.3).
    if form.get("code_challenge_method") != Some("S256") {
        return Err(OAuthError::invalid_request(
            "use the code_challenge_method S256",
        ));
    }
    Challenge::parse(text)
        .map(Some)
        .map_err(|_| OAuthError::invalid_request(NotAChallenge::TEXT))
}

fn prompts_of(form: &Form<'_>) -> Result<Prompts, OAuthError> {
    let mut prompts = Prompts::default();
    let mut number = 0;
    for prompt in words(form.get("prompt")) {
        number += 1;
        match prompt {
            "none" => prompts.none = true,
            "login" => prompts.login = true,
            "consent" => prompts.consent = true,
            "select_account" => prompts.select_account = true,
            _ => {}
        }
    }
    if prompts.none && number > 1 {
        return Err(OAuthError::invalid_request(
            "prompt=none excludes every other prompt",
        ));
    }
    Ok(prompts)
}

/// Whether a request, valid or not, wants no page (OpenID Connect Core section 3.1.2.1).
pub fn prompts_none(form: &Form<'_>) -> bool {
    words(form.get("prompt")).any(|prompt| prompt == "none")
}

fn max_age_of(form: &Form<'_>) -> Result<Option<u64>, OAuthError> {
    let Some(text) = form.get("max_age") else {
        return Ok(None);
    };
    // The parser of integers also accepts a sign.
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|_| is_number);
    number.map(Some).ok_or(OAuthError::invalid_request(
        "max_age is not a number of seconds",
    ))
}

fn scopes_of<'f>(form: &'f Form<'_>) -> impl Iterator<Item = &'f str> {
    words(form.get("scope"))
}

/// Returns the first values of a list that only expresses preferences.
fn listed(form: &Form<'_>, name: &str) -> Vec<String> {
    words(form.get(name))
        .take(MAX_LISTED)
        .map(str::to_owned)
        .collect()
}

fn words(text: Option<&str>) -> impl Iterator<Item = &str> {
    let words = text.into_iter().flat_map(|text| text.split(' '));
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests;
