//! A real PostgreSQL for tests, also those of other modules.

mod server;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

pub(crate) use self::server::PostgresServer;
use super::ConnectionLimits;

/// Starts PostgreSQL once for all tests, unless `SYMBOLON_TEST_POSTGRES` names one. It ends with this process.
pub(crate) fn postgres_url() -> &'static str {
    static SERVER: OnceLock<(String, Mutex<Option<PostgresServer>>)> = OnceLock::new();
    let (url, _) = SERVER.get_or_init(|| {
        if let Ok(url) = std::env::var("SYMBOLON_TEST_POSTGRES") {
            return (url, Mutex::new(None));
        }
        let server = PostgresServer::start(&[]);
        (server.url.clone(), Mutex::new(Some(server)))
    });
    url
}

/// Returns limits with this number of connections.
pub(crate) fn few(connections: usize) -> ConnectionLimits {
    ConnectionLimits {
        connections,
        // The machine may be busy. Tests of a limit set it.
        acquire: Duration::from_mins(1),
        statement: Duration::from_mins(2),
        idle: Duration::from_mins(2),
        transaction: Duration::from_mins(5),
    }
}

/// Returns the name of a schema that no other test uses.
pub(crate) fn new_schema_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("test_{}_{next}", std::process::id())
}
