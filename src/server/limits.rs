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
    /// TLS handshakes under way; one more ends another of the address that has most: one of which nothing came, else the
    /// one that has been silent for longest.
    pub handshakes: usize,
    /// TLS handshakes of one address, unless it is a trusted proxy.
    pub handshakes_per_peer: usize,
    /// Requests of one HTTP/2 connection at once; the peer is told, and opens further connections if it needs to. Clients
    /// open 100 before they are told (RFC 9113 section 6.5.2).
    pub streams: u32,
    /// Of them those that are answered at once, and where the peer makes the server hold much, those whose answers it has
    /// not taken. The others wait, and take no place among `requests` and `slow_bodies` meanwhile.
    pub turns: usize,
    /// Bytes that peers make the server hold: answers that they do not take, requests that wait for their turn, full
    /// buffers of their sockets, and what tables of header fields of HTTP/2 may pin. Beyond it connections of the peer that holds most are ended.
    pub held_bytes: usize,
    /// Requests being answered; one more is told 503.
    pub requests: usize,
    /// Requests of one caller being answered: the address of the socket, or behind trusted proxies the forwarded one.
    pub requests_per_peer: usize,
    /// Requests whose bodies are still on their way. They have no place among `requests`, so that slow senders do not
    /// keep others from being answered. One more ends the stalest of a caller that has more; else it is told 503.
    pub slow_bodies: usize,
    /// Such requests of one caller, once three quarters of `slow_bodies` are taken.
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
            streams: 100,
            turns: 32,
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
    /// The defaults for a process that may have `files` files open: connections are files. What is under way on them is
    /// bounded to a part of them, so that it cannot keep all in use.
    #[must_use]
    pub fn within(files: usize) -> Self {
        let health = (files / 16).clamp(16, HEALTH_CONNECTIONS);
        let connections = files
            .saturating_sub(OTHER_FILES + health)
            .clamp(16, CONNECTIONS);
        let defaults = Self::default();
        let handshakes = defaults.handshakes.min(connections / 4);
        let slow_bodies = defaults.slow_bodies.min(connections / 4);
        Self {
            connections,
            connections_per_peer: connections / 2,
            health_connections: health,
            handshakes,
            handshakes_per_peer: (handshakes / 4).max(1),
            slow_bodies,
            slow_bodies_per_peer: (slow_bodies / 8).max(1),
            ..defaults
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
            assert!(limits.slow_bodies <= limits.connections / 4);
            assert!(limits.handshakes <= limits.connections / 4);
        }
        let least = Limits::within(0);
        assert!(least.connections > 0 && least.slow_bodies > 0 && least.handshakes > 0);
    }
}
