//! A server program that runs a recipe. It ends with the value.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::support::{eventually, get};

pub(super) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program that logs into a file of `folder`.
    pub(super) fn start(mut command: Command, folder: &Path) -> Self {
        let log = folder.join("program.log");
        let output = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        Self { child, log }
    }

    /// What it has logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `ask` returns a value. Fails if the program ends.
    pub(super) fn wait<T>(&mut self, what: &str, mut ask: impl FnMut(&str) -> Option<T>) -> T {
        eventually(what, || {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none(), "{what}: it ended ({ended:?}):\n{log}");
            ask(&log)
        })
    }

    /// Waits until it answers requests.
    pub(super) fn wait_for(&mut self, url: &str) {
        self.wait(&format!("{url} answers"), |_| get(url, &[]).map(|_| ()));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program printed:\n{}---", self.log());
        }
    }
}

/// As which subject an API that answers with it accepts a token; `None` if it answers 401 or 403.
pub(super) fn subject(url: &str, token: &str) -> Option<String> {
    let authorization = format!("Bearer {token}");
    let (status, body) = get(url, &[("authorization", &authorization)]).unwrap();
    match status {
        200 => Some(body.trim().to_owned()),
        401 | 403 => None,
        status => panic!("{url}: {status} {body}"),
    }
}
