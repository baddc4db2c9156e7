//! The built program as a child process.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Cluster, eventually_within};
use crate::world::World;

/// The time-out of the start. It is long, because a server with very many objects needs time, which is measured.
const PATIENCE: Duration = Duration::from_mins(10);

/// A child process that is killed when this value is dropped.
pub struct Program {
    child: Child,
    /// The address on which it serves.
    pub at: SocketAddr,
}

impl Program {
    /// Its process id.
    pub fn pid(&self) -> u32 {
        // setpriv executes the program, so the id is the same.
        self.child.id()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts the operator for the platform and the team, without the crowd.
pub async fn operator(cluster: &Cluster, world: &World<'_>) -> Program {
    let namespaces = format!("{},{}", world.platform.name(), world.team.name());
    let args = [
        "operator",
        "--leader-election",
        "false",
        "--namespace",
        &namespaces,
    ];
    start(cluster, &args, None).await
}

/// Runs an operator until it has created the Identity's keys and issued the team's token `probe`.
pub async fn issue_probe(cluster: &Cluster, world: &World<'_>) {
    let _operator = operator(cluster, world).await;
    world.token_in_secret("probe").await;
}

/// Starts the operator for every namespace.
pub async fn operator_of_all(cluster: &Cluster) -> Program {
    start(cluster, &["operator", "--leader-election", "false"], None).await
}

/// Starts a server for every namespace.
pub async fn server(cluster: &Cluster, world: &World<'_>) -> Program {
    let identity = format!("{}/main", world.platform.name());
    start(cluster, &["serve", "--identity", &identity], Some(free())).await
}

async fn start(cluster: &Cluster, args: &[&str], listen: Option<SocketAddr>) -> Program {
    let health = free();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--", env!("CARGO_BIN_EXE_symbolon")])
        .args(args)
        .args(["--health-listen", &health.to_string()])
        .env("KUBECONFIG", cluster.kubeconfig_path())
        .env("SYMBOLON_LOG", "warn")
        .env("SYMBOLON_AUDIT", "false")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(listen) = listen {
        command.args(["--listen", &listen.to_string()]);
    }
    let child = command.spawn().expect("setpriv (Debian: util-linux)");
    let program = Program {
        child,
        at: listen.unwrap_or(health),
    };
    let is_ready = async || {
        let mut connection = Connection::open(health).await.ok()?;
        (connection.get("/readyz", "").await.ok()? == 200).then_some(())
    };
    eventually_within(PATIENCE, "symbolon is ready", is_ready).await;
    program
}

fn free() -> SocketAddr {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap()
}

/// A connection that sends one request again and again, with little overhead.
pub struct Connection(TcpStream);

impl Connection {
    pub async fn open(at: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect(at).await?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    /// Returns the status of a response whose body is small or empty.
    pub async fn get(&mut self, path: &str, token: &str) -> std::io::Result<u16> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        self.0.write_all(request.as_bytes()).await?;
        let mut buffer = [0; 4096];
        let mut length = 0;
        while !buffer[..length].windows(4).any(|end| end == b"\r\n\r\n") {
            match self.0.read(&mut buffer[length..]).await? {
                0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
                read => length += read,
            }
        }
        let status = buffer
            .get(9..12)
            .and_then(|status| std::str::from_utf8(status).ok());
        status
            .and_then(|status| status.parse().ok())
            .ok_or_else(|| std::io::ErrorKind::InvalidData.into())
    }
}
