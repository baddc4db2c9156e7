//! How much the server takes on before it says no.

use std::time::Duration;

/// Bounds on connections, requests and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections; one more is told 503 and closed.
    pub connections: usize,
    /// Open connections of one address. A proxy is one address: well below `connections`, far above what one needs.
    pub connections_per_peer: usize,
    /// Requests being answered; one more is told 503.
    pub requests: usize,
    /// Requests whose bodies are still on their way; one more is told 503. They have no place among `requests`, so
    /// that slow senders keep nobody from being answered.
    pub slow_bodies: usize,
    /// The longest URI, in bytes.
    pub uri: usize,
    /// The longest body, in bytes, however it is sent.
    pub body: usize,
    /// What a connection has for its first request's head, and for each head from its first byte on.
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
            connections: 4096,
            connections_per_peer: 2048,
            requests: 2048,
            slow_bodies: 1024,
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
