//! A server program that runs a recipe, and ends when its value is dropped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::support::{eventually, get};

/// How long a program may take to end.
const PATIENCE: Duration = Duration::from_mins(5);

pub(crate) struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    /// Starts a program that logs into a file of `folder`.
    pub(crate) fn start(command: Command, folder: &Path) -> Self {
        let mut command = mortal(&command);
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
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until `ask` returns a value. Fails if the program ends first.
    pub(crate) fn wait<T>(&mut self, what: &str, mut ask: impl FnMut(&str) -> Option<T>) -> T {
        eventually(what, || {
            let ended = self.child.try_wait().unwrap();
            let log = self.log();
            assert!(ended.is_none(), "{what}: it ended ({ended:?}):\n{log}");
            ask(&log)
        })
    }

    /// Waits until it answers requests.
    pub(crate) fn wait_for(&mut self, url: &str) {
        self.wait(&format!("{url} answers"), |_| get(url, &[]).map(|_| ()));
    }
}

/// The same command, as a process that ends when this process ends, however it ends.
fn mortal(command: &Command) -> Command {
    let mut mortal = Command::new("setpriv");
    mortal
        .args(["--pdeathsig", "TERM", "--"])
        .arg(command.get_program())
        .args(command.get_args());
    for (name, value) in command.get_envs() {
        mortal.env(name, value.unwrap());
    }
    if let Some(folder) = command.get_current_dir() {
        mortal.current_dir(folder);
    }
    mortal
}

impl Drop for Program {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // Not SIGKILL: Apache must end its own processes.
            let pid = self.child.id().to_string();
            let _ = Command::new("kill").args(["-TERM", &pid]).status();
        }
        let began = Instant::now();
        while began.elapsed() < PATIENCE && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the program printed:\n{}---", self.log());
        }
    }
}

/// The subject as which an API accepts a token, if the API answers with it; `None` if it answers 401 or 403.
pub(crate) fn subject(url: &str, token: &str) -> Option<String> {
    let authorization = format!("Bearer {token}");
    let (status, body) = get(url, &[("authorization", &authorization)]).unwrap();
    match status {
        200 => Some(body.trim().to_owned()),
        401 | 403 => None,
        status => panic!("{url}: {status} {body}"),
    }
}
