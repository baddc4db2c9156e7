//! How much the server takes on before it says no.

use std::time::Duration;

const CONNECTIONS: usize = 4096;
const HEALTH_CONNECTIONS: usize = 256;
/// Files that are needed beside connections: the Kubernetes API, what is read and written, listeners.
const OTHER_FILES: usize = 128;

/// Bounds on connections, requests and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections. One more ends the idlest of the address that has most; where all are in use, it is told 503.
    pub connections: usize,
    /// Open connections of one address, unless it is a trusted proxy; one more ends its idlest. An address is a /64 of
    /// IPv6, here and below.
    pub connections_per_peer: usize,
    /// Open connections to health and metrics, which have a port of their own.
    pub health_connections: usize,
    /// TLS handshakes under way; one more ends the oldest of the address that has most.
    pub handshakes: usize,
    /// TLS handshakes of one address, unless it is a trusted proxy.
    pub handshakes_per_peer: usize,
    /// Requests of one HTTP/2 connection at once; the peer is told, and opens further connections if it needs to.
    pub streams: u32,
    /// Bytes that peers make the server hold: answers that they do not take, full buffers of their sockets, and what
    /// tables of header fields of HTTP/2 may pin. Beyond it connections of the peer that holds most are ended.
    pub held_bytes: usize,
    /// Requests being answered; one more is told 503.
    pub requests: usize,
    /// Requests of one caller being answered: the address of the socket, or behind trusted proxies the forwarded one.
    pub requests_per_peer: usize,
    /// Requests whose bodies are still on their way. They have no place among `requests`, so that slow senders do not
    /// keep others from being answered. One more ends the stalest of a caller that has more; else it is told 503.
    pub slow_bodies: usize,
    /// Such requests of one caller.
    pub slow_bodies_per_peer: usize,
    /// The longest URI, in bytes.
    pub uri: usize,
    /// The longest body, in bytes, however it is sent.
    pub body: usize,
    /// What a connection has for its first request's head, for each head from its first byte on, and its peer to take
    /// an answer.
    pub head_deadline: Duration,
    /// What a request has for its body.
    pub body_deadline: Duration,
    /// How long a connection may be quiet between requests.
    pub idle: Duration,
    /// How long a revocation may take before the caller is told to come back.
    pub revocation: Duration,
    /// How long the server goes on taking connections after it was asked to stop and says that it is not ready: the
    /// time until whoever balances load has noticed.
    pub lame_duck: Duration,
    /// How long open connections have to finish after that.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: CONNECTIONS,
            connections_per_peer: CONNECTIONS / 2,
            health_connections: HEALTH_CONNECTIONS,
            handshakes: 1024,
            handshakes_per_peer: 256,
            streams: 32,
            held_bytes: 128 << 20,
            requests: 2048,
            requests_per_peer: 512,
            slow_bodies: 512,
            slow_bodies_per_peer: 64,
            uri: 8 << 10,
            body: 64 << 10,
            head_deadline: Duration::from_secs(10),
            body_deadline: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            revocation: Duration::from_secs(5),
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(25),
        }
    }
}

impl Limits {
    /// The defaults for a process that may have `files` files open: connections are files.
    #[must_use]
    pub fn within(files: usize) -> Self {
        let health = (files / 16).clamp(16, HEALTH_CONNECTIONS);
        let connections = files
            .saturating_sub(OTHER_FILES + health)
            .clamp(16, CONNECTIONS);
        Self {
            connections,
            connections_per_peer: connections / 2,
            health_connections: health,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connections_leave_files_for_health_and_everything_else() {
        assert_eq!(Limits::within(1 << 20), Limits::default());
        assert_eq!(Limits::within(usize::MAX), Limits::default());
        for files in [256, 1024, 4096] {
            let limits = Limits::within(files);
            let rest = files - limits.connections - limits.health_connections;
            assert_eq!(rest, OTHER_FILES, "{files}");
            assert!(limits.health_connections >= 16 && limits.connections >= 100);
            assert_eq!(limits.connections_per_peer, limits.connections / 2);
        }
        assert!(Limits::within(0).connections > 0);
    }
}
