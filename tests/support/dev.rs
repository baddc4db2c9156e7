//! The running program: its output, its ports, its end.

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

/// Where it listens: a restart may want the same.
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

    /// The same, on these ports.
    pub(crate) fn start_on(folder: &Folder, ports: Ports) -> Self {
        let dev = Self::spawn(folder.path(), ports);
        dev.wait_until_ready()
    }

    /// Starts it; it may not be ready yet.
    pub(crate) fn spawn(folder: &Path, ports: Ports) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.arg("dev").arg(folder);
        Self::spawn_command(command, ports)
    }

    /// The same, of a command line that lacks the ports, and waits until it is ready.
    pub(crate) fn start_command(command: Command) -> Self {
        Self::spawn_command(command, Ports::free()).wait_until_ready()
    }

    fn spawn_command(mut command: Command, ports: Ports) -> Self {
        let mut child = command
            .args(["--listen", &format!("127.0.0.1:{}", ports.main)])
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

    /// Starts it where it cannot serve; what it printed before it failed.
    pub(crate) fn fails(folder: &Path, ports: Ports) -> String {
        let mut dev = Self::spawn(folder, ports);
        let status = eventually("symbolon dev gives up", || dev.child.try_wait().unwrap());
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

    /// Where it serves.
    pub(crate) fn address(&self) -> &str {
        let rest = self.issuer.strip_prefix("http://").unwrap();
        rest.split('/').next().unwrap()
    }

    /// An address below the issuer.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// The status and the body of a GET below the issuer.
    pub(crate) fn get(&self, path: &str, headers: &[(&str, &str)]) -> (u16, String) {
        http::get(&self.url(path), headers)
            .unwrap_or_else(|| panic!("no answer:\n{}", self.output()))
    }

    /// The same on the health port; none if nobody answers.
    pub(crate) fn get_health(&self, path: &str) -> Option<(u16, String)> {
        self.get_health_with(path, &[])
    }

    /// The same with headers.
    pub(crate) fn get_health_with(
        &self,
        path: &str,
        headers: &[(&str, &str)],
    ) -> Option<(u16, String)> {
        http::get(&format!("{}{path}", self.health), headers)
    }

    /// What a gateway is told of a bearer: 204, 401 or 403.
    pub(crate) fn check(&self, gateway: &str, token: &str) -> u16 {
        let authorization = format!("Bearer {token}");
        let path = format!("/connect/checktoken/{gateway}");
        self.get(&path, &[("authorization", &authorization)]).0
    }

    /// What it has printed on standard output.
    pub(crate) fn stdout(&self) -> String {
        self.stdout.text()
    }

    /// All that it has printed.
    pub(crate) fn output(&self) -> String {
        format!("{}{}", self.stdout.text(), self.stderr.text())
    }

    /// A line of its output that holds all of these, as soon as there is one.
    pub(crate) fn line_with(&self, parts: &[&str]) -> String {
        eventually(&format!("a line with {parts:?} is printed"), || {
            let output = self.output();
            let line = output
                .lines()
                .find(|line| parts.iter().all(|part| line.contains(part)));
            line.map(str::to_owned)
        })
    }

    /// Asks it to end, as a service manager does, and waits until it has. What it printed comes along.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(sent.unwrap().success(), "the program had ended before");
        let status = eventually("symbolon dev ends", || self.child.try_wait().unwrap());
        self.stdout.join();
        self.stderr.join();
        (status, self.output())
    }

    /// Takes its life, as a crash does.
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

/// What a pipe has brought so far.
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
