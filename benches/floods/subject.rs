//! The program under attack: a separate process, measured from outside and killed by its id.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_symbolon");

/// The time between the head of a request and its body.
const BODY_DELAY: Duration = Duration::from_millis(20);

/// A process that is killed when this value is dropped.
pub struct Subject {
    child: Child,
    /// The address on which it serves.
    pub at: SocketAddr,
    /// Its health port.
    pub health: SocketAddr,
    log: PathBuf,
}

impl Subject {
    /// Starts `symbolon dev` on a folder, with its output in `log`. `soft_files` lowers the soft limit of open files,
    /// as some container runtimes do.
    pub fn dev(
        at: SocketAddr,
        health: SocketAddr,
        manifests: &Path,
        soft_files: Option<u64>,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let out = fs::File::create(log)?;
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]);
        if let Some(soft) = soft_files {
            command.args(["prlimit", &format!("--nofile={soft}:"), "--"]);
        }
        command
            .args([PROGRAM, "dev"])
            .arg(manifests)
            .args(["--health-listen", &health.to_string()])
            .args(["--listen", &at.to_string()]);
        let child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .context("setpriv and prlimit (Debian: util-linux)")?;
        Ok(Self {
            child,
            at,
            health,
            log: log.to_owned(),
        })
    }

    /// Waits until it is ready.
    pub async fn wait_ready(&mut self, most: Duration) -> anyhow::Result<()> {
        let waiting = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    bail!("symbolon ended: {status}; see {}", self.log.display());
                }
                if get(self.health, "/readyz", Duration::from_secs(5))
                    .await
                    .ok()
                    == Some(200)
                {
                    return Ok(());
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(most, waiting)
            .await
            .context("symbolon did not become ready in time")?
    }

    /// Memory in use, in MiB.
    pub fn memory(&self) -> anyhow::Result<f64> {
        self.status("VmRSS:")
    }

    /// The peak of its memory, in MiB.
    pub fn peak(&self) -> anyhow::Result<f64> {
        self.status("VmHWM:")
    }

    fn status(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        // A process that has ended has no memory.
        let Some(line) = line else { return Ok(0.0) };
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }

    /// The number of lines that it has logged.
    pub fn log_lines(&self) -> anyhow::Result<usize> {
        let log = fs::read(&self.log)?;
        Ok(log.split(|byte| *byte == b'\n').count())
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Raises the soft limit of open files to the hard limit, because both ends of each connection are on this machine.
pub fn raise_file_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If it cannot be raised, the floods that need it report that they cannot connect.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// A loopback address that was free when it was chosen.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// Requests `/livez` on a new connection.
pub async fn livez(health: SocketAddr, most: Duration) -> anyhow::Result<()> {
    match get(health, "/livez", most).await? {
        200 => Ok(()),
        status => bail!("/livez answered {status}"),
    }
}

/// Returns the status of a GET on a new connection.
pub async fn get(at: SocketAddr, path: &str, most: Duration) -> anyhow::Result<u16> {
    let head = format!("GET {path} HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n");
    ask(at, head.as_bytes(), most).await
}

/// Returns the status of the response to one request on a new connection, after reading the response to its end. The
/// body follows the head after a moment, as over a network.
pub async fn ask(at: SocketAddr, request: &[u8], most: Duration) -> anyhow::Result<u16> {
    let head_end = request.windows(4).position(|end| end == b"\r\n\r\n");
    let (head, body) = request.split_at(head_end.context("a head")? + 4);
    let asking = async {
        let mut stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        stream.write_all(head).await?;
        if !body.is_empty() {
            tokio::time::sleep(BODY_DELAY).await;
            stream.write_all(body).await?;
        }
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await?;
        let status = answer.get(9..12).context("no status line")?;
        Ok(std::str::from_utf8(status)?.parse()?)
    };
    tokio::time::timeout(most, asking)
        .await
        .context("no response in time")?
}
