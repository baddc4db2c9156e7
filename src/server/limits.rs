//! The bounds of the server: how much it accepts before it refuses.

use std::time::Duration;

const CONNECTIONS: usize = 4096;
const HEALTH_CONNECTIONS: usize = 256;
/// File descriptors for anything but incoming connections: the Kubernetes API, files, listeners.
const OTHER_FILES: usize = 128;

/// Bounds on connections, requests and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Open connections. One more ends the connection that has been idle for longest, of the address that has most. If
    /// all are in use, the new one gets 503. Here and below, if an IPv4 /24 or an IPv6 /48 has more than an eighth, the
    /// one that has most loses first.
    pub connections: usize,
    /// Open connections of one address, unless it is a trusted proxy. One more ends the one of that address that has
    /// been idle for longest. Here and below, an IPv6 /64 counts as one address.
    pub connections_per_peer: usize,
    /// Open connections to the health port.
    pub health_connections: usize,
    /// TLS handshakes under way. One more ends a handshake of the address that has most: one whose peer has sent
    /// nothing, or else the one that has been silent for longest.
    pub handshakes: usize,
    /// TLS handshakes of one address, unless it is a trusted proxy.
    pub handshakes_per_peer: usize,
    /// Concurrent requests of one HTTP/2 connection. The server announces this, and a client opens further connections
    /// if it needs more. Before the announcement arrives, clients open up to 100 (RFC 9113 section 6.5.2).
    pub streams: u32,
    /// Requests of one HTTP/2 connection that are answered at the same time. If the connection makes the server hold
    /// much memory, requests whose answers the peer has not taken count too. The others wait, and do not count in
    /// `requests` and `slow_bodies` meanwhile.
    pub turns: usize,
    /// Bytes that peers make the server hold: answers that they do not take, requests that wait for their turn, full
    /// socket buffers, and memory that HTTP/2's tables of header fields may pin. Beyond this, the server ends
    /// connections of the peer that holds most.
    pub held_bytes: usize,
    /// Requests under way, from when their heads have come. One more gets 503.
    pub requests: usize,
    /// Requests of one caller that are under way. The caller is the address of the socket, or behind trusted proxies the
    /// forwarded address. Once half of `requests` are taken, a caller gets only a 32nd of `requests`, and an IPv4 /24 or
    /// an IPv6 /48 an eighth.
    pub requests_per_peer: usize,
    /// Requests whose bodies are still arriving. They do not count in `requests`, so that slow senders do not block
    /// others. One more ends the oldest of a caller that has more; otherwise it gets 503.
    pub slow_bodies: usize,
    /// Such requests of one caller. Applies once three quarters of `slow_bodies` are taken. One more ends the oldest of
    /// the caller's address that has most, if it is over a second old or has at least two more.
    pub slow_bodies_per_peer: usize,
    /// The longest URI, in bytes.
    pub uri: usize,
    /// The longest body, in bytes, with any transfer coding.
    pub body: usize,
    /// The time for the head of the first request, from when the connection opens, and for each later head, from its
    /// first byte. Also the time for the peer to take an answer.
    pub head_deadline: Duration,
    /// The time for a request's body.
    pub body_deadline: Duration,
    /// How long a connection may be quiet between requests, unless the Identity says otherwise.
    pub idle: Duration,
    /// Revocations under way, each of which waits for the Kubernetes API. One more gets 503.
    pub revocations: usize,
    /// Revocations under way of the clients of one namespace.
    pub revocations_per_namespace: usize,
    /// Revocations under way of one client.
    pub revocations_per_client: usize,
    /// How long a revocation may take before the server tells the caller to retry.
    pub revocation: Duration,
    /// How long the server still accepts connections after a request to stop, while it reports that it is not ready:
    /// the time that load balancers need to notice.
    pub lame_duck: Duration,
    /// How long open connections have to finish after that.
    pub drain: Duration,
}

impl Default for ServerLimits {
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
            revocations: 64,
            revocations_per_namespace: 16,
            revocations_per_client: 8,
            revocation: Duration::from_secs(5),
            lame_duck: Duration::ZERO,
            drain: Duration::from_secs(25),
        }
    }
}

impl ServerLimits {
    /// Returns the defaults for a process that may open `files` file descriptors, one for each connection. Handshakes
    /// and slow bodies get only a part of the connections, so that they cannot keep all of them in use.
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
        assert_eq!(ServerLimits::within(1 << 20), ServerLimits::default());
        assert_eq!(ServerLimits::within(usize::MAX), ServerLimits::default());
        for files in [256, 1024, 4096] {
            let limits = ServerLimits::within(files);
            let rest = files - limits.connections - limits.health_connections;
            assert_eq!(rest, OTHER_FILES, "{files}");
            assert!(limits.health_connections >= 16 && limits.connections >= 100);
            assert_eq!(limits.connections_per_peer, limits.connections / 2);
            assert!(limits.slow_bodies <= limits.connections / 4);
            assert!(limits.handshakes <= limits.connections / 4);
        }
        let least = ServerLimits::within(0);
        assert!(least.connections > 0 && least.slow_bodies > 0 && least.handshakes > 0);
    }
}
