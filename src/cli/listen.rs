//! The addresses to listen on, in the forms that people write them. Pure, except for [`bind`].

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::Context as _;
use tokio::net::TcpListener;

/// The host name of the loopback address. Browsers allow passkeys there, but not on an IP address.
const LOCALHOST: &str = "localhost";

/// An address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listen {
    pub(super) address: SocketAddr,
    /// Whether it was written as `localhost`.
    is_named: bool,
}

/// Parses `IP:PORT`, `[IPV6]:PORT`, `localhost:PORT`, or `:PORT` for all IPv4 addresses.
pub(super) fn listen(text: &str) -> Result<Listen, String> {
    let of = |ip: Ipv4Addr, port: &str, is_named| {
        let port = port
            .parse()
            .map_err(|_| format!("{port:?} is not a port"))?;
        let address = SocketAddr::new(IpAddr::V4(ip), port);
        Ok(Listen { address, is_named })
    };
    match text.rsplit_once(':') {
        Some(("", port)) => of(Ipv4Addr::UNSPECIFIED, port, false),
        Some((host, port)) if host.eq_ignore_ascii_case(LOCALHOST) => {
            of(Ipv4Addr::LOCALHOST, port, true)
        }
        _ => {
            let address = text.parse().map_err(|_| {
                "write an IP address and a port (127.0.0.1:8080, [::1]:8080), localhost:8080, or :8080 for all addresses"
            })?;
            let is_named = false;
            Ok(Listen { address, is_named })
        }
    }
}

/// Parses the same forms and returns only the address.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    listen(text).map(|listen| listen.address)
}

/// Listens on an address. An error names the option that gives it.
pub(super) async fn bind(address: SocketAddr, option: &str) -> anyhow::Result<TcpListener> {
    let bound = TcpListener::bind(address).await;
    bound.with_context(|| format!("cannot listen on {address}: give another address with {option}"))
}

impl Listen {
    /// Returns the origin by which programs on this machine reach the listener. `bound` is its address with the port in
    /// use. `None` for an address of the network, where only TLS in front of the listener gives a usable origin.
    pub(super) fn origin(self, bound: SocketAddr) -> Option<String> {
        let ip = bound.ip().to_canonical();
        let host = if self.is_named || ip.is_unspecified() {
            LOCALHOST.to_owned()
        } else if ip.is_ipv6() {
            format!("[{ip}]")
        } else {
            ip.to_string()
        };
        // Of the loopback addresses, an http issuer may have only these.
        let is_local = ip.is_unspecified()
            || ip == IpAddr::V4(Ipv4Addr::LOCALHOST)
            || ip == IpAddr::V6(Ipv6Addr::LOCALHOST);
        is_local.then(|| match bound.port() {
            // An origin leaves out the default port.
            80 => format!("http://{host}"),
            port => format!("http://{host}:{port}"),
        })
    }

    /// Returns the same address with another port.
    pub(super) fn at(self, port: u16) -> Self {
        Self {
            address: SocketAddr::new(self.address.ip(), port),
            ..self
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_an_ip_and_a_port_or_localhost_or_only_a_port() {
        for (text, address, origin) in [
            (
                "127.0.0.1:8080",
                "127.0.0.1:8080",
                Some("http://127.0.0.1:8080"),
            ),
            ("[::1]:8080", "[::1]:8080", Some("http://[::1]:8080")),
            (
                "localhost:8080",
                "127.0.0.1:8080",
                Some("http://localhost:8080"),
            ),
            ("LOCALHOST:80", "127.0.0.1:80", Some("http://localhost")),
            (":8080", "0.0.0.0:8080", Some("http://localhost:8080")),
            (
                "0.0.0.0:8080",
                "0.0.0.0:8080",
                Some("http://localhost:8080"),
            ),
            ("[::]:8080", "[::]:8080", Some("http://localhost:8080")),
            ("192.0.2.1:8080", "192.0.2.1:8080", None),
            ("127.0.0.2:8080", "127.0.0.2:8080", None),
        ] {
            let listen = listen(text).unwrap();
            assert_eq!(listen.address.to_string(), address, "{text}");
            assert_eq!(listen.origin(listen.address).as_deref(), origin, "{text}");
        }
        for text in [
            "",
            "8080",
            ":",
            ":x",
            "localhost",
            "localhost:",
            "localhost:65536",
            "example.com:80",
            "::1:80:x",
        ] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_origin_has_the_port_that_the_system_chose() {
        let any = listen("localhost:0").unwrap();
        let bound = "127.0.0.1:41234".parse().unwrap();
        assert_eq!(any.origin(bound).as_deref(), Some("http://localhost:41234"));
    }
}
