//! While the server cannot judge a token, no request passes.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use super::backend::Backend;
use super::caller::Ask;
use super::proxy::{Proxy, Running};
use super::support::free_port;
use super::world::gateways;

/// Sends a request with a token through each proxy, and asserts that it does not pass.
fn expect_nothing_passes(
    gateways: &[Running],
    backend: &Backend,
    mut expect: impl FnMut(&Running, u16),
) {
    for gateway in gateways {
        let ask = Ask::new("orders.example.com").bearer("some.token.here");
        let answer = ask.lines(["X-Auth-Subject: evil"]).send(gateway.port);
        expect(gateway, answer.status);
    }
    assert_eq!(backend.count(), 0, "something reached the API");
}

#[test]
fn while_no_server_listens_nothing_reaches_the_api() {
    let backend = Backend::start();
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let gateways = gateways(nowhere, &backend);
    expect_nothing_passes(&gateways, &backend, |gateway, status| {
        let expected = match gateway.proxy {
            Proxy::Nginx | Proxy::Traefik => 500,
            Proxy::Caddy => 502,
            Proxy::Envoy | Proxy::Haproxy => 503,
        };
        assert_eq!(status, expected, "{:?}", gateway.proxy);
    });
}

/// The server answers 503 while its objects are stale or not read yet.
#[test]
fn while_the_server_can_say_nothing_nothing_reaches_the_api() {
    let backend = Backend::start();
    let silent = answering("503 Service Unavailable\r\nRetry-After: 5");
    let gateways = gateways(silent, &backend);
    expect_nothing_passes(&gateways, &backend, |gateway, status| {
        let expected = if gateway.proxy == Proxy::Nginx {
            500
        } else {
            503
        };
        assert_eq!(status, expected, "{:?}", gateway.proxy);
    });
}

/// A server at a wrong address must not open the API.
#[test]
fn an_answer_that_is_not_symbolons_names_no_caller_to_the_api() {
    let backend = Backend::start();
    let other = answering("200 OK");
    for gateway in gateways(other, &backend) {
        let ask = Ask::new("orders.example.com").lines(["X-Auth-Subject: evil"]);
        let status = ask.send(gateway.port).status;
        // The API refuses a request that names no subject.
        assert_eq!(status, 403, "{:?}", gateway.proxy);
    }
}

/// Starts a server that answers every request in one way and closes the connection.
fn answering(status: &'static str) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 8192]);
                let _ = write!(
                    stream,
                    "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                );
            });
        }
    });
    address
}
