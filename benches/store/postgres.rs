//! The PostgreSQL of the tests, as a process.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, ChildStdin, Command, Stdio};

const SCRIPT: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/src/store/contract/postgres.sh"
);

/// A PostgreSQL server. One that was started ends with this value, when its standard input closes.
pub struct Postgres {
    pub url: String,
    script: Option<(ChildStdin, Child)>,
}

impl Postgres {
    /// Takes the server that `SYMBOLON_TEST_POSTGRES` names, or starts the one of the tests, which does not wait for the
    /// disk.
    pub fn start() -> Self {
        if let Ok(url) = std::env::var("SYMBOLON_TEST_POSTGRES") {
            return Self { url, script: None };
        }
        let mut child = Command::new(SCRIPT)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the script of the tests");
        let input = child.stdin.take().expect("its input");
        let output = child.stdout.take().expect("its output");
        let mut url = String::new();
        let read = BufReader::new(output).read_line(&mut url);
        read.expect("a line with the URL");
        let url = url.trim().to_owned();
        assert!(
            url.starts_with("postgres:"),
            "PostgreSQL did not start (Debian: postgresql)"
        );
        Self {
            url,
            script: Some((input, child)),
        }
    }

    /// Returns the ID of the process whose descendants are the server; `None` for the server of another machine.
    pub fn root(&self) -> Option<u32> {
        self.script.as_ref().map(|(_, child)| child.id())
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some((input, mut child)) = self.script.take() {
            drop(input);
            // It removes its files first.
            let _ = child.wait();
        }
    }
}
