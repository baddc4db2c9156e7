//! Fuzz targets: finding the caller of a request, and whole requests as they arrive on a connection.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics when a rule does not hold"
)]

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};

use axum::body::Body;
use axum::http::Request;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{App, Config, Recorded, RevokeError, Revoker, forwarded, now};
use crate::directory::testing::{QUICKSTART, World};
use crate::directory::{Cidr, ObjectKey};
use crate::fuzzing::cut;
use crate::keys::fixtures;
use crate::resources::OwnerKind;
use crate::tokens::TokenId;

/// Checks that the caller is the rightmost address of all lists together that is in no trusted range, and never one to
/// the left of an entry that cannot be parsed. Lines of the input: the peer, the ranges separated by blanks, then one
/// list each.
pub fn forwarded_for(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut text = || std::str::from_utf8(lines.next().unwrap_or_default()).unwrap_or_default();
    let (peer, ranges) = (text(), text());
    let Ok(peer) = peer.parse::<IpAddr>() else {
        return;
    };
    let trusted: Vec<Cidr> = ranges
        .split(' ')
        .filter_map(|range| range.parse().ok())
        .collect();
    let lists: Vec<&[u8]> = lines.collect();
    let caller = forwarded::caller(peer, &trusted, lists.iter().copied());
    assert_eq!(caller, naive_caller(peer, &trusted, &lists));
    // Entries of the caller, to the left of those of proxies, change nothing.
    if !trusted.iter().any(|range| range.contains(caller)) {
        let mut more: Vec<&[u8]> = vec![b"10.0.0.1, junk, 203.0.113.77"];
        more.extend(&lists);
        assert_eq!(forwarded::caller(peer, &trusted, more.into_iter()), caller);
    }
}

fn naive_caller(peer: IpAddr, trusted: &[Cidr], lists: &[&[u8]]) -> IpAddr {
    let all = lists.join(&b',');
    let mut hops: Vec<&[u8]> = if lists.is_empty() {
        vec![]
    } else {
        all.split(|byte| *byte == b',').collect()
    };
    let mut caller = peer;
    while trusted.iter().any(|range| is_in(*range, caller)) {
        let Some(next) = hops.pop().and_then(naive_address) else {
            break;
        };
        caller = next;
    }
    caller
}

/// Returns whether an address is in a range, comparing bit by bit.
fn is_in(range: Cidr, address: IpAddr) -> bool {
    let text = range.to_string();
    let (start, length) = text.split_once('/').unwrap();
    let length: usize = length.parse().unwrap();
    let bits = |address: IpAddr| -> Vec<bool> {
        let octets = match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        };
        let bit = |at: usize| octets[at / 8] >> (7 - at % 8) & 1 == 1;
        (0..octets.len() * 8).map(bit).collect()
    };
    let (start, address) = (bits(start.parse().unwrap()), bits(address.to_canonical()));
    start.len() == address.len() && start[..length] == address[..length]
}

fn naive_address(hop: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(hop).ok()?.trim();
    let inside = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'));
    let address = if let Some(inside) = inside {
        inside.parse().ok()?
    } else if let Ok(address) = text.parse::<SocketAddr>() {
        address.ip()
    } else {
        text.parse().ok()?
    };
    Some(match address {
        IpAddr::V6(address) => address.to_ipv4_mapped().map_or(address.into(), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    })
}

struct Nowhere;

impl Revoker for Nowhere {
    fn revoke<'a>(
        &'a self,
        _: &'a ObjectKey,
        _: Option<&'a str>,
        _: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        futures::future::ready(Ok(Recorded::Stored)).boxed()
    }
}

struct Served {
    app: App,
    runtime: tokio::runtime::Runtime,
    secrets: [String; 2],
}

thread_local! {
    static SERVED: Served = Served::new();
}

impl Served {
    fn new() -> Self {
        let mut world = World::new(QUICKSTART);

        let secrets = [
            (OwnerKind::OAuthClient, "shop"),
            (OwnerKind::ServiceAccessToken, "nightly"),
        ]
        .map(|(kind, name)| world.issue(kind, "blue", name, now()).expose().to_owned());
        let app = App::new(Config::new(ObjectKey::new("platform", "main")), Nowhere).unwrap();
        app.publisher()
            .set_keys(fixtures::key_set(), now())
            .unwrap();
        app.status().lists_complete();
        let directory = world.directory.clone();
        app.publisher().update(|published| *published = directory);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        Self {
            app,
            runtime,
            secrets,
        }
    }

    /// Sends these bytes on one connection and returns everything that it answers.
    fn answer(&self, sent: &[u8]) -> Vec<u8> {
        self.runtime.block_on(async {
            let (server, mut client) = tokio::io::duplex(1 << 20);
            let app = self.app.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let app = app.clone();
                async move { Ok::<_, Infallible>(app.answer(None, request.map(Body::new)).await) }
            });
            let serving = hyper::server::conn::http1::Builder::new()
                .max_headers(64)
                .max_buf_size(32 << 10)
                .serve_connection(TokioIo::new(server), service);
            let mut answered = Vec::new();
            let asking = async {
                client.write_all(sent).await.unwrap();
                client.shutdown().await.unwrap();
                client.read_to_end(&mut answered).await.unwrap();
            };
            // Whether the connection ended with an error does not matter here.
            let (_, ()) = futures::join!(serving, asking);
            answered
        })
    }
}

/// Checks that every request on a connection gets an answer with a known status, of bounded size and without a secret.
pub fn request(data: &[u8]) {
    SERVED.with(|served| {
        let answered = served.answer(data);
        let text = String::from_utf8_lossy(&answered);
        for secret in &served.secrets {
            assert!(!text.contains(secret), "an answer holds a secret");
        }
        let mut rest = &answered[..];
        let mut count = 0;
        while !rest.is_empty() {
            rest = after_answer(rest, data);
            count += 1;
        }
        // The shortest request has 16 bytes: a method, a target, a version and two line ends.
        assert!(count <= data.len() / 16 + 1, "{count} answers");
    });
}

/// Checks the first answer and returns what follows it.
fn after_answer<'a>(answered: &'a [u8], sent: &[u8]) -> &'a [u8] {
    let (head, body) = cut(answered, b"\r\n\r\n");
    let head = std::str::from_utf8(head).unwrap();
    let mut lines = head.split("\r\n");
    let line = lines.next().unwrap();
    let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
    let known = [
        100, 200, 204, 304, 400, 401, 403, 404, 405, 408, 413, 414, 421, 429, 431, 503,
    ];
    assert!(known.contains(&status), "{line}");
    let value = |name: &str| {
        let line = head.split("\r\n").find(|line| {
            line.split(':')
                .next()
                .is_some_and(|it| it.eq_ignore_ascii_case(name))
        });
        line.and_then(|line| line.split_once(':'))
            .map(|(_, value)| value.trim())
    };
    // Refusals by hyper itself lack the header fields of this server.
    if value("x-content-type-options").is_some() {
        assert!(value("cache-control").is_some(), "{head}");
    }
    assert!(head.len() < 4096, "{head}");
    let is_head = sent.windows(5).any(|window| window == b"HEAD ");
    let length = value("content-length").map_or(0, |length| length.parse().unwrap());
    assert!(length < 16 << 10, "{head}");
    // The answer to a HEAD has no body, and the input does not tell which request an answer belongs to.
    if is_head && body.len() < length {
        return &[];
    }
    if is_head {
        return body
            .get(length..)
            .filter(|rest| rest.starts_with(b"HTTP/1."))
            .unwrap_or(&[]);
    }
    &body[length..]
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_lists_of_proxies_give_the_caller_that_a_naive_parser_finds() {
        replay("forwarded_for", super::forwarded_for);
    }

    #[test]
    fn kept_connections_get_bounded_answers_without_a_secret() {
        replay("request", super::request);
    }
}
