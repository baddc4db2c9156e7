//! The cases: one request of each kind that machines send often, each with its aim.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use reqwest::Method;
use reqwest::header::{CONNECTION, CONTENT_LENGTH, DATE, TRANSFER_ENCODING};
use serde::{Deserialize, Serialize};

use crate::bare::{Answer, Piece, Route};

/// The placeholder of the token in a path, a header or a body.
const TOKEN: &str = "{token}";

/// The credentials that a server accepts.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    /// The client that is allowed to introspect.
    pub api: Secret,
    /// A client for each algorithm.
    pub signers: Vec<Secret>,
    /// Service access tokens.
    pub tokens: Vec<String>,
}

/// The client id and secret of a client.
#[derive(Debug, Serialize, Deserialize)]
pub struct Secret {
    pub client_id: String,
    pub secret: String,
}

/// The size of the server's directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Size {
    Quickstart,
    Large,
}

/// One request and the aim for it.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    pub size: Size,
    /// The maximum ratio to the bare limit.
    pub aim: f64,
    pub request: Request,
    /// Tokens that replace the placeholder in turn.
    pub tokens: Vec<String>,
}

/// A request that the load sends.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Request {
    fn new(method: &'static str, path: &str) -> Self {
        Self {
            method,
            path: path.to_owned(),
            headers: BTreeMap::new(),
            body: String::new(),
        }
    }

    fn header(mut self, name: &str, value: String) -> Self {
        self.headers.insert(name.to_owned(), value);
        self
    }

    fn form(self, secret: &Secret, body: &str) -> Self {
        let basic = STANDARD.encode(format!("{}:{}", secret.client_id, secret.secret));
        let mut request = self
            .header("Authorization", format!("Basic {basic}"))
            .header(
                "Content-Type",
                "application/x-www-form-urlencoded".to_owned(),
            );
        body.clone_into(&mut request.body);
        request
    }

    /// Returns the request with a token in place of the placeholder.
    pub fn with_token(&self, token: &str) -> Self {
        let mut request = self.clone();
        request.body = request.body.replace(TOKEN, token);
        for value in request.headers.values_mut() {
            *value = value.replace(TOKEN, token);
        }
        request
    }
}

/// Returns all cases of a server with a directory of this size.
pub fn cases(size: Size, known: &Known) -> Vec<Case> {
    let (judged, suffix) = match size {
        Size::Quickstart => (1.5, ""),
        Size::Large => (2.5, ", 100,000 tokens"),
    };
    let case = |name: &str, aim, request, tokens: &[String]| Case {
        name: format!("{name}{suffix}"),
        size,
        aim,
        request,
        tokens: tokens.to_vec(),
    };
    let mut cases = Vec::new();
    if size == Size::Quickstart {
        for (secret, (name, aim)) in known.signers.iter().zip(SIGNERS) {
            let request = Request::new("POST", "/id/connect/token");
            let request = request.form(secret, "grant_type=client_credentials");
            cases.push(case(name, aim, request, &[]));
        }
        let document = "/id/.well-known/openid-configuration";
        cases.push(case("discovery", 1.2, Request::new("GET", document), &[]));
        let document = "/id/.well-known/openid-configuration/jwks";
        cases.push(case("JWKS", 1.2, Request::new("GET", document), &[]));
    }
    let request = Request::new("POST", "/id/connect/introspect");
    let request = request.form(&known.api, &format!("token={TOKEN}"));
    cases.push(case("introspection", judged, request, &known.tokens));
    let request = Request::new("GET", "/id/connect/checktoken/api");
    let request = request.header("Authorization", format!("Bearer {TOKEN}"));
    cases.push(case("checktoken", judged, request, &known.tokens));
    cases
}

/// The algorithms, in the order of [`Known::signers`].
const SIGNERS: [(&str, f64); 4] = [
    ("token RS256", 1.1),
    ("token PS256", 1.1),
    ("token ES256", 1.6),
    ("token EdDSA", 1.6),
];

/// Sends the request to Symbolon once, checks the response, and returns the response that the bare server must give.
pub async fn probe(case: &Case, at: SocketAddr) -> anyhow::Result<Route> {
    let request = case
        .request
        .with_token(case.tokens.first().map_or("", String::as_str));
    let mut asked = reqwest::Client::builder()
        .no_proxy()
        .build()?
        .request(
            Method::try_from(request.method)?,
            format!("http://{at}{}", request.path),
        )
        .body(request.body.clone());
    for (name, value) in &request.headers {
        asked = asked.header(name, value);
    }
    let answered = asked.send().await?;
    let status = answered.status();
    let headers = answered.headers().iter();
    let headers = headers.map(|(name, value)| Ok((name.to_string(), value.to_str()?.to_owned())));
    let headers: Vec<_> = headers.collect::<anyhow::Result<_>>()?;
    let body = answered.text().await?;
    ensure!(status.is_success(), "{}: {status} {body}", case.name);
    ensure!(!body.contains(r#""active":false"#), "{}: {body}", case.name);
    route(&case.request.path, status.as_u16(), headers, body)
}

/// Returns what the bare server must answer to give the same bytes: it signs each JWT of the body itself.
pub fn route(
    path: &str,
    status: u16,
    headers: impl IntoIterator<Item = (String, String)>,
    body: String,
) -> anyhow::Result<Route> {
    let made = [&DATE, &CONTENT_LENGTH, &TRANSFER_ENCODING, &CONNECTION];
    let is_kept = |(name, _): &(String, String)| !made.iter().any(|it| it.as_str() == name);
    Ok(Route {
        path: path.to_owned(),
        status,
        headers: headers.into_iter().filter(is_kept).collect(),
        answer: pieces(&body)?,
    })
}

/// The start of the JSON of a JWT's header, in base64.
const JWT: &str = "eyJ";

/// Splits a body at its JWTs.
fn pieces(body: &str) -> anyhow::Result<Answer> {
    let is_of_jwt = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let (mut pieces, mut rest) = (Vec::new(), body);
    while let Some(at) = rest.find(JWT) {
        let (before, token) = rest.split_at(at);
        let end = token.find(|c| !is_of_jwt(c)).unwrap_or(token.len());
        let (token, after) = token.split_at(end);
        pieces.push(Piece::Text(before.to_owned()));
        pieces.push(jwt(token)?);
        rest = after;
    }
    if !rest.is_empty() {
        pieces.push(Piece::Text(rest.to_owned()));
    }
    Ok(pieces)
}

fn jwt(token: &str) -> anyhow::Result<Piece> {
    #[derive(Deserialize)]
    struct Header {
        alg: String,
    }
    let mut parts = token.split('.');
    let (header, payload) = (
        parts.next().context("header")?,
        parts.next().context("payload")?,
    );
    let Header { alg } = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(header)?)?;
    Ok(Piece::Jwt {
        algorithm: alg,
        header: header.to_owned(),
        payload: URL_SAFE_NO_PAD.decode(payload)?,
    })
}
