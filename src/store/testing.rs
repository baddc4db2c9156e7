//! A real PostgreSQL for tests, also those of other modules.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::ConnectionLimits;

/// A server of its own. It ends with this value, when its standard input closes.
pub(crate) struct PostgresServer {
    /// The URL of its database.
    pub(crate) url: String,
    child: Child,
    output: BufReader<ChildStdout>,
}

impl PostgresServer {
    /// Starts a server; the arguments are those of the script.
    pub(crate) fn start(arguments: &[&OsStr]) -> Self {
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/src/store/contract/postgres.sh"
        );
        let mut child = Command::new(script)
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {script}: {error}"));
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut server = Self {
            url: String::new(),
            child,
            output,
        };
        server.url = server.line();
        assert!(
            server.url.starts_with("postgres:"),
            "PostgreSQL did not start, see the lines of {script} above: install it (Debian: postgresql), or set SYMBOLON_TEST_POSTGRES to the URL of a database"
        );
        server
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        line.trim().to_owned()
    }

    fn command(&mut self, command: &str, done: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{command}").unwrap();
        assert_eq!(self.line(), done);
    }

    /// Ends it as a crash does. What was committed stays.
    pub(crate) fn kill(&mut self) {
        self.command("kill", "killed");
    }

    /// Starts it again after [`Self::kill`].
    pub(crate) fn restart(&mut self) {
        self.command("start", "started");
    }
}

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
        // The machine may be busy.
        acquire: Duration::from_secs(60),
        ..ConnectionLimits::default()
    }
}

/// Returns the name of a schema that no other test uses.
pub(crate) fn new_schema_name() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let next = NEXT.fetch_add(1, Ordering::SeqCst);
    format!("test_{}_{next}", std::process::id())
}
