//! HTTP/2 connections that a trusted proxy shares between callers: what one caller does must not end the connection.

use std::task::Poll;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::strangers::h2;
use super::tcp::{PATIENCE, Running, connect_from, quick, start};
use super::*;
use crate::server::ServerLimits;
use crate::server::connection::Watched;
use crate::server::port::Port;

const DISCOVERY: &str = "/id/.well-known/openid-configuration";

/// Starts a server that trusts proxies at this machine's first address.
async fn behind_proxy() -> (Fixture, Running) {
    let network = "  network: {trustedProxies: [127.0.0.1/32]}\n  gateways:";
    let yaml = QUICKSTART.replace("  gateways:", network);
    let fixture = Fixture::of(&yaml, |config| {
        quick(&mut config.limits);
        config.limits.head_deadline = PATIENCE;
        config.limits.body_deadline = PATIENCE;
        config.limits.idle = PATIENCE;
        config.limits.turns = 2;
    });
    let running = start(&fixture).await;
    (fixture, running)
}

/// Opens a connection as the proxy.
async fn connect(running: &Running) -> TcpStream {
    let stream = TcpStream::connect(running.address).await.unwrap();
    h2::open(stream, 1 << 20).await
}

/// Sends another caller's request. Panics if the connection ended or the answer is not 200.
async fn is_served(stream: &mut TcpStream, id: u32, why: &str) {
    let sent = stream.write_all(&h2::get(id, DISCOVERY)).await;
    sent.unwrap_or_else(|error| panic!("{why}: {error}"));
    let answered = async {
        loop {
            let head = h2::next(stream, h2::HEADERS).await;
            let head = head.unwrap_or_else(|| panic!("{why}: the connection ended"));
            if head[0] == 0x88 {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(PATIENCE, answered).await;
    waited.unwrap_or_else(|_| panic!("{why}: no answer"));
}

/// A request whose path is not a URI, as some proxies pass it on.
#[tokio::test]
async fn requests_that_are_refused_alone_do_not_end_the_connection_of_a_proxy() {
    let (_fixture, running) = behind_proxy().await;
    let mut stream = connect(&running).await;
    let mut id = 1;
    for _ in 0..1000 {
        stream.write_all(&h2::get(id, "/id/<")).await.unwrap();
        let refused = h2::next(&mut stream, h2::RESET).await;
        assert!(refused.is_some(), "after {} requests", id / 2);
        id += 2;
    }
    is_served(&mut stream, id, "broken paths").await;
}

/// The frames arrive after the answer, when nothing reads the body any more.
#[tokio::test]
async fn late_parts_of_bodies_do_not_end_the_connection_of_a_proxy() {
    let (_fixture, running) = behind_proxy().await;
    let mut stream = connect(&running).await;
    let mut id = 1;
    for _ in 0..20 {
        stream
            .write_all(&h2::post(id, "/id/nowhere"))
            .await
            .unwrap();
        assert!(h2::next(&mut stream, h2::HEADERS).await.is_some());
        let late = h2::frame(h2::DATA, 0, id, b"a").repeat(50);
        stream.write_all(&late).await.unwrap();
        id += 2;
    }
    is_served(&mut stream, id, "late frames").await;
}

/// Bodies whose parts arrive one byte at a time, of requests that have a turn and of others.
#[tokio::test]
async fn bodies_in_small_parts_do_not_end_the_connection_of_a_proxy() {
    let (_fixture, running) = behind_proxy().await;
    let mut stream = connect(&running).await;
    let mut id = 1;
    for _ in 0..4 {
        stream.write_all(&h2::post(id, TOKEN)).await.unwrap();
        let part = h2::frame(h2::DATA, 0, id, b"a").repeat(1000);
        stream.write_all(&part).await.unwrap();
        id += 2;
    }
    is_served(&mut stream, id, "slow bodies").await;
}

/// A peer that takes no refusals cannot make the server queue any number of them.
#[tokio::test]
async fn a_peer_that_takes_no_answers_is_no_longer_read_until_it_does() {
    let port = Arc::new(Port::new(ServerLimits::default()));
    let (place, _) = port.enter([10, 0, 0, 1].into(), true).unwrap();
    let (mut peer, stream) = tokio::io::duplex(1 << 20);
    let mut watched = Watched::new(stream, Arc::clone(&place.activity));
    let mut answers = Box::pin(async {
        let bytes = vec![0; 2 << 20];
        watched.write_all(&bytes).await.unwrap();
    });
    assert!(futures::poll!(answers.as_mut()).is_pending());
    drop(answers);
    peer.write_all(&vec![0; 1 << 20]).await.unwrap();
    let mut bytes = vec![0; 1 << 20];
    let mut taken = 0;
    loop {
        // Otherwise tokio makes the task wait before the server does.
        tokio::task::yield_now().await;
        place.activity.go_on();
        match futures::poll!(std::pin::pin!(watched.read(&mut bytes))) {
            Poll::Ready(read) => taken += read.unwrap(),
            Poll::Pending => break,
        }
    }
    assert!((200 << 10..300 << 10).contains(&taken), "{taken} bytes");
    peer.read_exact(&mut bytes).await.unwrap();
    watched.write_all(&[0]).await.unwrap();
    place.activity.go_on();
    assert!(watched.read(&mut bytes).await.unwrap() > 0);
}

/// A request line of indexed fields (RFC 7541 appendix A) and further fields, as one frame.
fn request(id: u32, block: &[u8]) -> Vec<u8> {
    h2::frame(h2::HEADERS, h2::END_STREAM | h2::END_HEADERS, id, block)
}

/// Returns whether a connection still answers after these steps of a caller. After each step but the last one, the
/// caller waits for an answer.
async fn survives(mut stream: TcpStream, steps: Vec<Vec<u8>>, next: u32) -> bool {
    let last = steps.len() - 1;
    for (number, step) in steps.into_iter().enumerate() {
        if stream.write_all(&step).await.is_err() {
            return false;
        }
        if number < last && h2::next(&mut stream, h2::HEADERS).await.is_none() {
            return false;
        }
    }
    if stream.write_all(&h2::get(next, DISCOVERY)).await.is_err() {
        return false;
    }
    let answered = async {
        while let Some(head) = h2::next(&mut stream, h2::HEADERS).await {
            if head[0] == 0x88 {
                return true;
            }
        }
        false
    };
    let answered = tokio::time::timeout(PATIENCE, answered).await;
    answered.expect("an answer or the end")
}

/// The table of docs/operations/limits.md.
#[tokio::test]
async fn what_ends_a_connection_is_what_the_documentation_lists() {
    const LINE: &[u8] = &[0x82, 0x86, 0x84];
    let with = |fields: &[u8]| vec![request(1, &[LINE, fields].concat())];
    let parts = |part: &[u8], count| h2::frame(h2::DATA, 0, 1, part).repeat(count);
    let refused = (0..300).flat_map(|number| h2::get(2 * number + 1, "/id/<"));
    // Each with whether the connection of a proxy stays, and any other connection.
    let faults = [
        ("nothing", with(&[]), 3, (true, true)),
        (
            "a control character",
            with(b"\0\x01a\x03b\x01b"),
            3,
            (false, false),
        ),
        (
            "a name in upper case",
            with(b"\0\x01A\x01b"),
            3,
            (false, false),
        ),
        (
            "a space in the method",
            vec![request(1, b"\x02\x03A B\x86\x84")],
            3,
            (false, false),
        ),
        (
            "a byte that is not UTF-8",
            vec![request(1, b"\x82\x86\x04\x02/\xff")],
            3,
            (false, false),
        ),
        (
            "empty parts",
            vec![[h2::post(1, TOKEN), parts(b"", 101)].concat()],
            3,
            (false, false),
        ),
        (
            "late parts",
            vec![h2::post(1, "/id/nowhere"), parts(b"a", 300)],
            3,
            (true, false),
        ),
        (
            "refused requests",
            vec![refused.collect()],
            601,
            (true, false),
        ),
    ];
    let (_fixture, running) = behind_proxy().await;
    for (fault, steps, next, stays) in faults {
        let other = h2::open(connect_from(2, running.address).await, 1 << 20).await;
        let proxy = connect(&running).await;
        let seen = (
            survives(proxy, steps.clone(), next).await,
            survives(other, steps, next).await,
        );
        assert_eq!(seen, stays, "{fault}");
    }
}
