//! Requests with a secret in every place where a caller may put one by mistake or on purpose.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::http::block_on;
use super::{Client, Dev};

/// Paths below the issuer.
const PATHS: [&str; 8] = [
    "/connect/token",
    "/connect/introspect",
    "/connect/revocation",
    "/connect/checktoken/api",
    "/.well-known/openid-configuration",
    "/.well-known/openid-configuration/jwks",
    "/healthz",
    "/elsewhere",
];
/// Headers whose whole value is the secret.
const HEADERS: [&str; 27] = [
    "Accept",
    "Accept-Language",
    "Api-Key",
    "Authorization",
    "Baggage",
    "B3",
    "Content-Type",
    "Cookie",
    "DPoP",
    "Expect",
    "Forwarded",
    "From",
    "Host",
    "If-None-Match",
    "Origin",
    "Referer",
    "TE",
    "Traceparent",
    "Tracestate",
    "Upgrade",
    "User-Agent",
    "Via",
    "X-Api-Key",
    "X-Auth-Subject",
    "X-Forwarded-Host",
    "X-Real-Ip",
    "X-Request-Id",
];
/// Headers that HTTP/2 requests cannot have.
const OF_HTTP_1: [&str; 3] = ["Host", "TE", "Upgrade"];
/// Form fields that the endpoints know.
const FIELDS: [&str; 16] = [
    "assertion",
    "audience",
    "client_assertion",
    "client_assertion_type",
    "client_id",
    "client_secret",
    "code",
    "grant_type",
    "password",
    "redirect_uri",
    "refresh_token",
    "resource",
    "scope",
    "token",
    "token_type_hint",
    "username",
];

/// A sampled trace context, so that every request is exported to the collector.
const TRACE: &str = "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n";

/// The number of characters in each piece of a secret that tests search for.
const PIECE: usize = 20;
/// The number of public characters at the beginning of a reference token: the kind and the token id.
const PUBLIC: usize = "symsat_".len() + 16;
/// The lengths of the pieces that a caller sends as a request id: the lengths of real ids, and others close to them.
const PIECES_SENT: [usize; 8] = [20, 26, 31, 32, 33, 36, 40, 63];

/// All pieces of some secrets, in each form in which a program may write them.
pub(crate) struct Canaries(HashSet<[u8; PIECE]>);

impl Canaries {
    pub(crate) fn of(secrets: &[&str]) -> Self {
        let mut pieces = HashSet::new();
        for secret in secrets {
            let is_reference = secret.starts_with("sym");
            let secret = &secret[if is_reference { PUBLIC } else { 0 }..];
            // Base64 depends on the position within the encoded text: one shape for each of the three alignments.
            let encoded = (0..3).map(|shift| STANDARD.encode(&secret[shift..]));
            for mut shape in encoded.chain([secret.to_owned()]) {
                // The server writes header names in lower case.
                shape.make_ascii_lowercase();
                pieces.extend(shape.as_bytes().array_windows().copied());
            }
        }
        Self(pieces)
    }

    /// The first line of a text that contains a piece of a secret.
    pub(crate) fn line_of<'t>(&self, text: &'t str) -> Option<&'t str> {
        text.lines().find(|line| {
            let line = line.to_ascii_lowercase();
            let mut pieces = line.as_bytes().array_windows::<PIECE>();
            pieces.any(|piece| self.0.contains(piece))
        })
    }
}

/// Sends each secret in each place and returns the number of requests. Each request claims another client address, so
/// the Identity must trust loopback as a proxy.
pub(crate) fn send_everywhere(dev: &Dev, client: &Client, secrets: &[&str]) -> u32 {
    let mut count = 0;
    let mut address = || {
        count += 1;
        let [_, b, c, d] = u32::to_be_bytes(count);
        format!("10.{b}.{c}.{d}")
    };
    for request in secrets
        .iter()
        .flat_map(|secret| requests(dev, client, secret))
    {
        let more = format!("X-Forwarded-For: {}\r\nConnection: close\r\n", address());
        send(dev, &request.replace("{more}", &more));
    }
    let http2 = reqwest::Client::builder()
        .http2_prior_knowledge()
        .no_proxy()
        // A connection must not outlive the runtime that opened it.
        .pool_max_idle_per_host(0)
        .build()
        .unwrap();
    for (secret, name) in secrets
        .iter()
        .flat_map(|secret| HEADERS.map(|name| (secret, name)))
        .filter(|(_, name)| !OF_HTTP_1.contains(name))
    {
        let url = dev.url(&format!("/connect/checktoken/{secret}?token={secret}"));
        let request = http2.get(url).header(name, *secret);
        let answer = block_on(request.header("x-forwarded-for", address()).send());
        assert_eq!(answer.unwrap().version(), reqwest::Version::HTTP_2);
    }
    count
}

fn send(dev: &Dev, request: &str) {
    let mut stream = TcpStream::connect(dev.address()).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    // The server may also close or reset the connection early.
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
}

fn requests(dev: &Dev, client: &Client, secret: &str) -> Vec<String> {
    let host = format!("Host: {}\r\n", dev.address());
    let good = basic(&client.id, &client.secret);
    let mut all = Vec::new();
    for path in PATHS {
        let path = format!("/id{path}");
        let is_form = path.starts_with("/id/connect/") && !path.contains("checktoken");
        let mut with = |target: &str, headers: &str, body: &str| {
            let (method, body) = if is_form { ("POST", body) } else { ("GET", "") };
            let length = body.len();
            all.push(format!(
                "{method} {target} HTTP/1.1\r\n{host}{headers}{{more}}Content-Length: {length}\r\n\r\n{body}"
            ));
        };
        let form = "Content-Type: application/x-www-form-urlencoded\r\n";
        for target in [
            format!("{path}?access_token={secret}"),
            format!("{path}?{secret}"),
            format!("{path}/{secret}"),
            format!("{path}/../{secret}?a"),
        ] {
            with(&target, form, "grant_type=client_credentials");
        }
        for name in HEADERS {
            let header = format!("{form}{TRACE}{name}: {secret}\r\n");
            let authorized = format!("{good}{header}");
            let body = "grant_type=client_credentials&token=x";
            with(&path, &header, body);
            with(&path, &authorized, body);
        }
        for header in [
            basic(secret, &client.id),
            basic(&client.id, &format!("{secret}x")),
            basic(secret, secret),
            basic(secret, ""),
            basic("", secret),
            format!("Authorization: Basic {}\r\n", STANDARD.encode(secret)),
            format!("Authorization: Basic {secret}\r\n"),
            format!("Authorization: Bearer {secret}x\r\n"),
            format!("Authorization: Bearer {secret} {secret}\r\n"),
            format!("Authorization: Digest username=\"{secret}\"\r\n"),
            format!(
                "{good}X-Request-Id: {}\r\n",
                &secret[..secret.len().min(64)]
            ),
            format!("{TRACE}Tracestate: symbolon={secret}\r\n"),
            format!("Traceparent: 00-{secret}-00f067aa0ba902b7-01\r\n"),
            format!("{secret}: {secret}\r\n"),
        ] {
            with(
                &path,
                &format!("{form}{header}"),
                "grant_type=client_credentials",
            );
        }
        for piece in pieces_for_ids(secret) {
            for header in [
                format!("X-Request-Id: {piece}\r\n"),
                format!("Traceparent: 00-{piece}-00f067aa0ba902b7-01\r\n"),
            ] {
                let header = format!("{form}{good}{header}");
                with(&path, &header, "grant_type=client_credentials");
            }
        }
        for field in FIELDS.into_iter().chain([secret]) {
            let body = format!("{field}={secret}");
            let usual = "grant_type=client_credentials&token=x&";
            with(&path, form, &body);
            with(&path, &format!("{form}{good}"), &format!("{usual}{body}"));
        }
        with(
            &path,
            form,
            &format!("client_id={secret}&client_secret={}", client.id),
        );
        let json = format!("{{\"client_secret\": \"{secret}\"}}");
        with(
            &path,
            &format!("{good}Content-Type: application/json\r\n"),
            &json,
        );
        with(&path, form, secret);
    }
    for broken in [
        format!("{secret}\r\n\r\n"),
        format!("GET /{secret} HTTP/9.9\r\n\r\n"),
        format!("GET /id/{secret}\u{1} HTTP/1.1\r\n{host}\r\n"),
        format!("{secret} / HTTP/1.1\r\n{host}{{more}}\r\n"),
        format!("GET / HTTP/1.1\r\n{host}no colon {secret}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Content-Length: {secret}\r\n\r\n"),
        format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding: {secret}\r\n\r\n"),
        format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{secret}"),
    ] {
        all.push(broken);
    }
    all
}

/// Beginnings and ends of a secret, except those that look like a trace id: 32 hexadecimal digits.
fn pieces_for_ids(secret: &str) -> impl Iterator<Item = &str> {
    let fits = PIECES_SENT
        .into_iter()
        .filter(move |length| *length < secret.len());
    let both = fits.flat_map(move |length| [&secret[..length], &secret[secret.len() - length..]]);
    both.filter(|piece| piece.len() != 32 || !piece.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn basic(id: &str, secret: &str) -> String {
    let credentials = STANDARD.encode(format!("{id}:{secret}"));
    format!("Authorization: Basic {credentials}\r\n")
}
