//! Requests to addresses that a resource names: https, no redirects, bounded in time and size. Services of the cluster are
//! reached over http too, in networks that the Identity has opened.
//!
//! The address that is checked is the one that is connected to, so that a name cannot change its mind in between. Only
//! public addresses are reached: a client must not make the server talk to what only the server can reach. An Identity can
//! open further networks. If the issuer itself is on loopback, as in dev mode, this machine's own addresses are reached too,
//! also over http. The addresses at which clouds serve the credentials of machines never are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::Uri;
use http::header::{CONTENT_TYPE, HOST};
use http_body_util::Full;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::directory::Cidr;

/// The time for a whole request.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Why a request was not answered. The address is not shown.
#[derive(Debug, thiserror::Error)]
pub enum OutgoingError {
    /// The URI cannot be used.
    #[error("the URI is not an https URI with a host")]
    Uri,
    /// The host has no public address.
    #[error("the host has no address that may be reached")]
    Address,
    /// The answer did not arrive in time.
    #[error("the answer did not arrive in time")]
    Late,
    /// The connection failed.
    #[error("the connection failed: {0}")]
    Connection(#[from] std::io::Error),
    /// The peer does not speak HTTP.
    #[error("the exchange failed: {0}")]
    Http(#[from] hyper::Error),
    /// Neither the system nor the Identity names a CA.
    #[error("there are no root certificates")]
    Roots,
}

/// Which certificates are trusted: those of the system's CAs, and of the Identity's.
#[derive(Debug, Default)]
pub struct Trust {
    also: Option<RootCertStore>,
    /// Made at the first call, since many servers make none.
    config: OnceLock<Option<Arc<ClientConfig>>>,
}

impl Trust {
    /// Trusts these CAs besides the system's.
    pub const fn new(also: Option<RootCertStore>) -> Self {
        Self {
            also,
            config: OnceLock::new(),
        }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, OutgoingError> {
        let config = self.config.get_or_init(|| {
            let mut roots = RootCertStore::empty();
            // What cannot be read is left out, as other programs on the system do.
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots.extend(self.also.iter().flat_map(|also| also.roots.iter().cloned()));
            if roots.is_empty() {
                return None;
            }
            let config = ClientConfig::builder().with_root_certificates(roots);
            Some(Arc::new(config.with_no_client_auth()))
        });
        config.clone().ok_or(OutgoingError::Roots)
    }
}

/// What may be reached besides public addresses.
#[derive(Clone, Debug, Default)]
pub struct Opened {
    /// Whether this machine's own addresses are, also over http.
    pub is_dev: bool,
    /// Networks of the cluster or the organisation.
    pub networks: Vec<Cidr>,
    /// Which certificates are trusted.
    pub trust: Arc<Trust>,
}

impl Opened {
    /// Without TLS, only what the Identity has opened is reached: a public network could read and change the request.
    fn may_reach(&self, address: IpAddr, is_tls: bool) -> bool {
        let address = address.to_canonical();
        (is_tls && is_public(address) && is_ordinary(address))
            || (self.is_dev && address.is_loopback())
            || (is_ordinary(address) && self.networks.iter().any(|it| it.contains(address)))
    }
}

/// Returns whether a host has the form of a Service's name: `<name>.<namespace>.svc`, and maybe a domain. A client can also
/// own such a domain, so only the networks that the Identity has opened bound the address.
fn is_service(host: &str) -> bool {
    host.split('.').nth(2) == Some("svc")
}

/// Posts a form, and returns the status of the answer, whose body is not read.
///
/// # Errors
/// Why there is no answer.
pub async fn post_form(uri: &str, body: String, opened: &Opened) -> Result<u16, OutgoingError> {
    let exchange = exchange(uri, body, opened);
    let answered = tokio::time::timeout(TIMEOUT, exchange).await;
    answered.map_err(|_| OutgoingError::Late)?
}

async fn exchange(uri: &str, body: String, opened: &Opened) -> Result<u16, OutgoingError> {
    let uri: Uri = uri.parse().map_err(|_| OutgoingError::Uri)?;
    let (host, is_tls) = match (uri.host(), uri.scheme_str()) {
        (Some(host), Some("https")) => (host, true),
        (Some(host), Some("http")) if opened.is_dev || is_service(host) => (host, false),
        _ => return Err(OutgoingError::Uri),
    };
    let name = host
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned();
    let port = uri.port_u16().unwrap_or(if is_tls { 443 } else { 80 });
    let addresses = addresses((&name, port), is_tls, opened).await?;
    let stream = TcpStream::connect(&addresses[..]).await?;
    if !is_tls {
        return send(stream, &uri, body).await;
    }
    let name = ServerName::try_from(name).map_err(|_| OutgoingError::Uri)?;
    let config = opened.trust.config()?;
    let stream = TlsConnector::from(config).connect(name, stream).await?;
    send(stream, &uri, body).await
}

/// Returns the addresses of the host that may be reached, at least one.
async fn addresses(
    host: (&str, u16),
    is_tls: bool,
    opened: &Opened,
) -> Result<Vec<SocketAddr>, OutgoingError> {
    let found = tokio::net::lookup_host(host).await?;
    let may_reach = |address: &SocketAddr| opened.may_reach(address.ip(), is_tls);
    let found: Vec<_> = found.filter(may_reach).collect();
    if found.is_empty() {
        return Err(OutgoingError::Address);
    }
    Ok(found)
}

/// Where clouds serve the credentials of machines, besides the link-local address that most use: Alibaba Cloud, Azure
/// (its wire server), Oracle Cloud, and AWS over IPv6.
const CREDENTIALS_OF_MACHINES: [IpAddr; 4] = [
    IpAddr::V4(Ipv4Addr::new(100, 100, 100, 200)),
    IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 0, 192)),
    IpAddr::V6(Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254)),
];

/// Returns whether an address may be that of another machine that serves something. The pod's own addresses, link-local
/// ones, those of many machines, and those at which clouds serve credentials are not.
fn is_ordinary(address: IpAddr) -> bool {
    let is_near = match address {
        IpAddr::V4(address) => address.is_link_local() || address.is_broadcast(),
        IpAddr::V6(address) => {
            address.is_unicast_link_local()
                // Local NAT64 (RFC 8215): where the IPv4 address is depends on the network.
                || matches!(address.segments(), [0x64, 0xff9b, 1, ..])
                || embedded_v4(address).is_some_and(|inner| !is_ordinary(inner.into()))
        }
    };
    let serves_credentials = CREDENTIALS_OF_MACHINES.contains(&address);
    !(is_near
        || serves_credentials
        || address.is_loopback()
        || address.is_unspecified()
        || address.is_multicast())
}

async fn send(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    uri: &Uri,
    body: String,
) -> Result<u16, OutgoingError> {
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await?;
    let connection = tokio::spawn(connection);
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let request = http::Request::post(path)
        .header(HOST, authority)
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(body)))
        .map_err(|_| OutgoingError::Uri)?;
    let answer = sender.send_request(request).await;
    // What follows the head of the answer is not read.
    connection.abort();
    Ok(answer?.status().as_u16())
}

/// Returns whether an address is one of the public network (the registries of special-purpose addresses, RFC 6890).
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !is_special
}

/// Returns the IPv4 address to which NAT64 (RFC 6052) or 6to4 (RFC 3056) leads.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
            let bits = u32::from(high) << 16 | u32::from(low);
            Some(Ipv4Addr::from_bits(bits))
        }
        _ => None,
    }
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    if let Some(inner) = embedded_v4(address) {
        return is_public_v4(inner);
    }
    match address.segments() {
        // Others of the IETF's assignments, among them Teredo; documentation.
        [0x2001, second, ..] if second < 0x200 || second == 0xdb8 => false,
        // Global unicast (RFC 4291 section 2.5.4).
        [first, ..] => first & 0xe000 == 0x2000 && first != 0x3fff,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_public_addresses_are_reached() {
        for public in [
            "1.1.1.1",
            "203.0.114.1",
            "2606:4700::1111",
            "64:ff9b::101:101",
        ] {
            assert!(is_public(public.parse().unwrap()), "{public}");
        }
        for special in [
            "127.0.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "255.255.255.255",
            "224.0.0.1",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "fe80::1",
            "fd00::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:a00:1::",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
        ] {
            assert!(!is_public(special.parse().unwrap()), "{special}");
        }
    }

    #[test]
    fn an_identity_opens_networks_but_never_the_machine_itself() {
        let open = |networks: &[&str]| Opened {
            networks: networks.iter().map(|it| it.parse().unwrap()).collect(),
            ..Opened::default()
        };
        let opened = open(&["10.0.0.0/8", "fd00::/8", "0.0.0.0/32"]);
        let all = open(&["0.0.0.0/0", "::/0"]);
        for (address, by_some, by_all) in [
            ("10.1.2.3", true, true),
            ("::ffff:10.1.2.3", true, true),
            ("fd00::1", true, true),
            ("1.1.1.1", true, true),
            ("192.168.1.1", false, true),
            ("127.0.0.1", false, false),
            ("::1", false, false),
            ("::ffff:127.0.0.1", false, false),
            ("0.0.0.0", false, false),
            ("169.254.169.254", false, false),
            ("fe80::1", false, false),
            ("fd00:ec2::254", false, false),
            ("64:ff9b::a9fe:a9fe", false, false),
            ("64:ff9b:1::a9fe:a9fe", false, false),
            ("100.100.100.200", false, false),
            ("168.63.129.16", false, false),
            ("192.0.0.192", false, false),
            ("64:ff9b::a83f:8110", false, false),
            ("100.64.0.1", false, true),
            ("224.0.0.1", false, false),
            ("ff02::1", false, false),
            ("255.255.255.255", false, false),
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert_eq!(opened.may_reach(address, true), by_some, "{address}");
            assert_eq!(all.may_reach(address, true), by_all, "{address}");
            let in_the_clear = by_some && !is_public(address);
            assert_eq!(opened.may_reach(address, false), in_the_clear, "{address}");
        }
    }

    #[tokio::test]
    async fn a_form_is_posted_and_a_redirect_is_not_followed() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut received = vec![0; 4096];
            let mut length = 0;
            while !received[..length].ends_with(b"a=1") {
                length += stream.read(&mut received[length..]).await.unwrap();
            }
            let answer =
                b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
            stream.write_all(answer).await.unwrap();
            String::from_utf8(received[..length].to_vec()).unwrap()
        });
        let uri = format!("http://127.0.0.1:{port}/logout?x=1");
        let opened = Opened {
            is_dev: true,
            ..Opened::default()
        };
        let status = post_form(&uri, "a=1".to_owned(), &opened).await.unwrap();
        assert_eq!(status, 302);
        let received = peer.await.unwrap();
        assert!(
            received.starts_with("POST /logout?x=1 HTTP/1.1\r\n"),
            "{received}"
        );
        assert!(
            received.contains(&format!("host: 127.0.0.1:{port}\r\n")),
            "{received}"
        );
    }

    #[tokio::test]
    async fn a_client_with_a_certificate_of_an_own_authority_is_told_only_if_that_is_trusted() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let (pem, key) = (made.cert.pem(), made.signing_key.serialize_pem());
        let acceptor = crate::server::Tls::new(pem.as_bytes(), key.as_bytes());
        let acceptor = acceptor.unwrap().acceptor();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let peer = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut received = vec![0; 4096];
                let mut length = 0;
                while !received[..length].ends_with(b"a=1") {
                    length += stream.read(&mut received[length..]).await.unwrap();
                }
                let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
                stream.write_all(answer).await.unwrap();
            }
        });
        let authorities = |pem: &str| crate::keys::authorities(pem.as_bytes()).unwrap();
        let call = async |host: &str, also| {
            let opened = Opened {
                is_dev: true,
                trust: Arc::new(Trust::new(also)),
                ..Opened::default()
            };
            let uri = format!("https://{host}:{port}/logout");
            post_form(&uri, "a=1".to_owned(), &opened).await.ok()
        };
        let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let other = other.cert.pem();
        assert_eq!(call("localhost", None).await, None);
        assert_eq!(call("localhost", Some(authorities(&other))).await, None);
        assert_eq!(call("localhost", Some(authorities(&pem))).await, Some(200));
        assert_eq!(
            call("127.0.0.1", Some(authorities(&pem))).await,
            None,
            "another name"
        );
        peer.abort();
    }

    #[tokio::test]
    async fn a_uri_that_leads_elsewhere_is_refused() {
        for uri in [
            "http://example.com/",
            "ftp://example.com/",
            "example.com",
            "https://127.0.0.1/",
            "https://[::1]/",
            "https://localhost/",
        ] {
            let refused = post_form(uri, String::new(), &Opened::default()).await;
            assert!(
                matches!(refused, Err(OutgoingError::Uri | OutgoingError::Address)),
                "{uri}: {refused:?}"
            );
        }
    }
}
