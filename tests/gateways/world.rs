//! Symbolon, the API, and every proxy between them. Tests that run at the same time share one world.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use super::backend::{Backend, Received};
use super::caller::{Answer, Ask};
use super::proxy::{Proxy, Running};
use super::support::{Client, Dev, Folder, eventually};

/// The headers that name the caller.
pub(crate) const IDENTITY: [&str; 4] = [
    "x-auth-subject",
    "x-auth-kind",
    "x-auth-client-id",
    "x-auth-scope",
];
/// The values of [`IDENTITY`] for the token `reader`.
pub(crate) const READER: [&str; 4] = ["shop:backend", "system", "shop.backend", "orders.read"];
/// The number of scopes of the token `wide`, and the length of each.
pub(crate) const WIDE: (usize, usize) = (64, 120);

/// Everything that runs.
pub(crate) struct World {
    pub(crate) dev: Dev,
    pub(crate) folder: Folder,
    pub(crate) backend: Backend,
    pub(crate) gateways: Vec<Running>,
}

/// What a caller and the API saw.
pub(crate) struct Seen {
    pub(crate) answer: Answer,
    pub(crate) received: Vec<Received>,
}

impl World {
    /// The world that tests share. It ends when no test uses it.
    pub(crate) fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<World>> = Mutex::new(Weak::new());
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(world) = shared.upgrade() {
            return world;
        }
        let world = Arc::new(Self::start());
        *shared = Arc::downgrade(&world);
        world
    }

    fn start() -> Self {
        let folder = Folder::copy_of("tests/gateways/manifests");
        folder.write("wide.yaml", &wide());
        if let Some(own) = own_address() {
            let trusted = format!("trustedProxies: [{own}/32, ");
            folder.replace("platform.yaml", "trustedProxies: [", &trusted);
        }
        let dev = Dev::start(&folder);
        let backend = Backend::start();
        let gateways = gateways(dev.address().parse().unwrap(), &backend);
        Self {
            dev,
            folder,
            backend,
            gateways,
        }
    }

    /// A request with the server's own host, since proxies pass on the caller's.
    pub(crate) fn ask(&self) -> Ask {
        Ask::new(self.dev.address())
    }

    /// A service access token of the manifests.
    pub(crate) fn token(&self, name: &str) -> String {
        let secret = self
            .folder
            .secret("shop", &format!("{name}-token"), "token");
        secret["token"].clone()
    }

    /// The client that may request access tokens.
    pub(crate) fn client(&self) -> Client {
        Client::of(
            &self
                .folder
                .secret("shop", "backend-client", "client-secret"),
        )
    }

    /// Sends a request through a proxy.
    pub(crate) fn send(&self, gateway: &Running, ask: &Ask) -> Seen {
        let answer = ask.send(gateway.port);
        Seen {
            answer,
            received: self.backend.of(&ask.case),
        }
    }

    /// Sends a request that must not reach the API, and returns the status of the refusal.
    pub(crate) fn refused(&self, gateway: &Running, ask: &Ask) -> u16 {
        let seen = self.send(gateway, ask);
        let what = format!("{:?} {ask:?}", gateway.proxy);
        assert!(seen.received.is_empty(), "{what}: {:?}", seen.received);
        assert!(seen.answer.status >= 400, "{what}: {:?}", seen.answer);
        seen.answer.status
    }
}

/// The address that this machine has in its network, if any. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind(("0.0.0.0", 0)).ok()?;
    socket.connect(("192.0.2.1", 9)).ok()?;
    let own = socket.local_addr().ok()?.ip();
    (!own.is_loopback()).then_some(own)
}

/// Starts every proxy, and waits until each of them accepts connections.
pub(crate) fn gateways(symbolon: SocketAddr, backend: &Backend) -> Vec<Running> {
    let start = |proxy| Running::start(proxy, symbolon, backend.address);
    let mut gateways: Vec<Running> = Proxy::ALL.map(start).into();
    await_all(&mut gateways, symbolon);
    gateways
}

/// Waits until proxies accept connections and ask `symbolon`.
pub(crate) fn await_all(gateways: &mut [Running], symbolon: SocketAddr) {
    for gateway in gateways.iter_mut() {
        eventually(&format!("{:?} listens", gateway.proxy), || {
            gateway.expect_alive();
            TcpStream::connect(("127.0.0.1", gateway.port)).ok()
        });
    }
    for gateway in gateways.iter() {
        // Traefik answers 404 before it has read its routes.
        eventually(&format!("{:?} asks", gateway.proxy), || {
            let status = Ask::new(&symbolon.to_string()).send(gateway.port).status;
            (status != 404 && status != 0).then_some(())
        });
    }
}

/// Asserts that the API received exactly what the token says, in the right spelling, and nothing else that a program
/// may read as one of [`IDENTITY`].
pub(crate) fn expect_identity(received: &Received, expected: [&str; 4], what: &str) {
    let mut told: Vec<(String, String)> = received
        .fields
        .iter()
        .filter(|(name, _)| IDENTITY.contains(&&*folded(name)))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.clone()))
        .collect();
    told.sort();
    let mut expected: Vec<(String, String)> = IDENTITY
        .iter()
        .zip(expected)
        .map(|(name, value)| ((*name).to_owned(), value.to_owned()))
        .collect();
    expected.sort();
    assert_eq!(told, expected, "{what}: {received:#?}");
}

/// A header's name as the least careful program reads it: lighttpd turns every character except letters and digits into
/// an underscore.
pub(crate) fn folded(name: &str) -> String {
    let fold = |it: char| if it.is_ascii_alphanumeric() { it } else { '-' };
    name.to_ascii_lowercase().chars().map(fold).collect()
}

/// A client with as many scopes as a token can have, and its token.
fn wide() -> String {
    let (count, length) = WIDE;
    let scopes: Vec<String> = (0..count)
        .map(|number| format!("wide.{number:0width$}", width = length - "wide.".len()))
        .collect();
    let mut yaml = String::new();
    for (number, scope) in scopes.iter().enumerate() {
        writeln!(
            yaml,
            "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: wide-{number}, namespace: platform}}\n\
             spec: {{identityRef: {{name: main}}, value: {scope}, audiences: [https://orders.example.com], allowedNamespaces: {{from: All}}}}\n---"
        )
        .unwrap();
    }
    let own = scopes[1..].join(", ");
    write!(
        yaml,
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: wide, namespace: shop}}\n\
         spec: {{identityRef: {{name: main, namespace: platform}}, grantTypes: [], scopes: [orders.read, {own}], systemUser: {{name: wide}}, referenceTokens: AdministratorsOnly}}\n---\n\
         apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {{name: wide, namespace: shop}}\n\
         spec: {{clientRef: {{name: wide}}, scopes: [orders.read, {own}], lifetime: 720h}}\n"
    )
    .unwrap();
    yaml
}
