//! The HTTP server: parses requests and returns the decisions of `oauth`.
//!
//! The server parses a request, judges it against one [`Snapshot`] of everything that is served, and answers. It waits
//! only for the request's own body and, for a revocation, for the write. `router` lists the routes; each has a file in
//! `routes`. TLS ends here or in front of the server. Not here: rules (they are in `oauth` and `directory`), and the
//! sources of objects, keys and certificates (they call [`Publisher::update`], [`Publisher::set_keys`] and
//! [`Tls::replace`]).

mod activity;
mod admission;
mod answer;
mod app;
mod back_channel;
pub mod browser;
mod charges;
mod connection;
mod credential_status;
mod cross_origin;
mod early_revocations;
mod enforcement;
mod first_settings;
mod forwarded;
mod frame;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gateway;
mod header_table;
mod health;
mod latest_census;
mod limits;
mod listener;
mod load;
mod memory;
pub mod metrics;
mod networks;
mod noise;
mod one_message;
mod origin;
pub mod passwords;
pub mod people;
mod places;
mod port;
mod record_early;
mod reply;
mod request;
mod revocations;
pub mod revoke_kube;
mod revoker;
mod router;
mod routes;
mod serve_people;
mod signing;
mod snapshot;
mod state;
mod status;
mod stream_ends;
mod suppressed;
#[cfg(test)]
mod tests;
mod throttle;
mod tls;
mod token;
mod turns;
mod uses;
pub mod uses_kube;

pub use app::App;
pub use limits::ServerLimits;
pub use listener::{run, run_embedded, serve, serve_health};
pub use metrics::Metrics;
pub use revoker::{Recorded, RevokeError, Revoker};
pub use serve_people::serve_people;
pub use snapshot::{Publisher, Site, Snapshot};
pub use state::{Config, State};
pub use status::{NotReady, Status};
pub use tls::{Tls, TlsError};
pub use uses::{RecordError, UseRecorder, UseReport, UseReports, Uses};

/// Reads the clock. Everything below the server gets the time as a parameter.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge reads the clock once a request and passes it on"
)]
pub(crate) fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}
