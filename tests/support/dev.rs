//! Starts and stops `symbolon dev`, and reads its output and its ports.

use std::io::{BufRead as _, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ports::free_port;
use super::{Folder, eventually, http};

/// A running `symbolon dev`. Dropping it kills it.
pub(crate) struct Dev {
    child: Child,
    pub(crate) issuer: String,
    health: String,
    stdout: Output,
    stderr: Output,
}

/// The ports that it listens on. A test may restart it on the same ones.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    pub(crate) main: u16,
    pub(crate) health: u16,
}

impl Ports {
    pub(crate) fn free() -> Self {
        Self {
            main: free_port(),
            health: free_port(),
        }
    }
}

impl Dev {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(folder: &Folder) -> Self {
        Self::start_on(folder, Ports::free())
    }

    /// Like [`Self::start`], on the given ports.
    pub(crate) fn start_on(folder: &Folder, ports: Ports) -> Self {
        let dev = Self::spawn(folder.path(), ports);
        dev.wait_until_ready()
    }

    /// Starts it without waiting until it is ready.
    pub(crate) fn spawn(folder: &Path, ports: Ports) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.arg("dev").arg(folder);
        Self::spawn_command(command, ports)
    }

    /// Starts a command line that lacks the ports and waits until it is ready.
    pub(crate) fn start_command(command: Command) -> Self {
        Self::spawn_command(command, Ports::free()).wait_until_ready()
    }

    /// Starts a command line that lacks the ports, on an address in the form of the option.
    pub(crate) fn start_listening(command: Command, listen: &str, ports: Ports) -> Self {
        Self::spawn_listening(command, listen, ports).wait_until_ready()
    }

    /// Like [`Self::start_listening`], without waiting until it is ready.
    pub(crate) fn spawn_listening(mut command: Command, listen: &str, ports: Ports) -> Self {
        command.args(["--listen", listen]);
        Self::spawn_health(command, ports)
    }

    /// Starts a command line that lacks only the health port, and waits until it is ready.
    pub(crate) fn start_ready(command: Command, ports: Ports) -> Self {
        Self::spawn_health(command, ports).wait_until_ready()
    }

    fn spawn_command(mut command: Command, ports: Ports) -> Self {
        command.args(["--listen", &format!("127.0.0.1:{}", ports.main)]);
        Self::spawn_health(command, ports)
    }

    fn spawn_health(mut command: Command, ports: Ports) -> Self {
        let mut child = command
            .args(["--health-listen", &format!("127.0.0.1:{}", ports.health)])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the built program starts");
        let stdout = Output::of(child.stdout.take().unwrap());
        let stderr = Output::of(child.stderr.take().unwrap());
        Self {
            child,
            issuer: format!("http://127.0.0.1:{}/id", ports.main),
            health: format!("http://127.0.0.1:{}", ports.health),
            stdout,
            stderr,
        }
    }

    /// Starts it where it cannot serve, waits until it fails, and returns its output.
    pub(crate) fn fails(folder: &Path, ports: Ports) -> String {
        let mut dev = Self::spawn(folder, ports);
        let status = eventually("symbolon dev fails", || dev.child.try_wait().unwrap());
        dev.stdout.join();
        dev.stderr.join();
        assert!(!status.success(), "{}", dev.output());
        dev.output()
    }

    fn wait_until_ready(mut self) -> Self {
        let began = Instant::now();
        loop {
            if self
                .get_health("/readyz")
                .is_some_and(|(status, _)| status == 200)
            {
                return self;
            }
            let ended = self.child.try_wait().unwrap();
            assert!(
                ended.is_none() && began.elapsed() < super::PATIENCE,
                "symbolon dev is not ready (ended: {ended:?}):\n{}",
                self.output()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// The host and port that it serves on.
    pub(crate) fn address(&self) -> &str {
        let rest = self.issuer.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap()
    }

    /// A URL below the issuer.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Sends a GET below the issuer and returns the status and the body.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        http::get(&self.url(path), headers)
            .unwrap_or_else(|| panic!("no response:\n{}", self.output()))
    }

    /// Sends a GET to any URL and returns the status and the body.
    pub(crate) fn get_url(&self, url: &str, headers: &[(&str, &str)]) -> (u16, String) {
        let response = http::get(url, headers);
        response.unwrap_or_else(|| panic!("no response from {url}:\n{}", self.output()))
    }

    /// Sends a GET to the health port; `None` without a response.
    pub(crate) fn get_health(&self, path: &str) -> Option<(u16, String)> {
        self.get_health_with(path, &[])
    }

    /// Like [`Self::get_health`], with headers.
    pub(crate) fn get_health_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, String)> {
        http::get(&format!("{}{path}", self.health), headers)
    }

    /// The status that a gateway gets for a bearer token: 200, 401 or 403.
    pub(crate) fn check(&self, gateway: &str, token: &str) -> u16 {
        let authorization = format!("Bearer {token}");
        let path = format!("/connect/checktoken/{gateway}");
        self.get(&path, &[("authorization", &authorization)]).0
    }

    /// Its standard output so far.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// Its standard output and standard error so far.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// Waits for a line of its output that contains all of `parts`.
    pub(crate) fn line_with(&self, parts: &[&str]) -> String {
        eventually(&format!("prints a line with {parts:?}"), || {
            let output = self.output();
            let line = output
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned)
        })
    }

    /// Sends it SIGTERM, as a service manager does, waits until it ends, and returns its output too.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success(), "the program has already ended");
        let status = eventually("symbolon dev ends", || self.child.try_wait().unwrap());
        self.stdout.join();
        self.stderr.join();
        (status, self.output())
    }

    /// Kills it, as a crash does.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- symbolon dev printed:\n{}---", self.output());
        }
    }
}

/// The text that a pipe has delivered so far.
struct Output {
    text: Arc<Mutex<String>>,
    reader: Option<JoinHandle<()>>,
}

impl Output {
    fn of(pipe: impl Read + Send + 'static) -> Self {
        let text = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&text);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                let mut text = sink.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
            }
        });
        Self {
            text,
            reader: Some(reader),
        }
    }

    fn text(&self) -> String {
        self.text.lock().unwrap().clone()
    }

    fn join(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}
