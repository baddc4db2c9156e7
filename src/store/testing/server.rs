//! PostgreSQL as a process, which tests can end and start again. Tests of the built program include this file.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdout, Command, Stdio};

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
