//! A caller that sends exactly the bytes that a test wants, which no HTTP library does.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};

use super::backend::CASE;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    pub(crate) method: String,
    pub(crate) target: String,
    host: String,
    /// The address that it comes from.
    source: Ipv4Addr,
    /// Lines of the head, without line ends.
    lines: Vec<String>,
    body: String,
    /// The value of [`CASE`], different for every request.
    pub(crate) case: String,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    /// 0 if the connection was closed without one.
    pub(crate) status: u16,
    head: String,
}

impl Answer {
    /// The value of a header; empty if it is absent.
    pub(crate) fn value(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let line = lines.find(|(it, _)| it.eq_ignore_ascii_case(name));
        line.map_or("", |(_, value)| value.trim())
    }
}

impl Ask {
    /// A GET of a usual path.
    pub(crate) fn new(host: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self {
            method: "GET".into(),
            target: "/orders/1".into(),
            host: host.to_owned(),
            source: Ipv4Addr::LOCALHOST,
            lines: Vec::new(),
            body: String::new(),
            case: format!("case-{}", NEXT.fetch_add(1, Ordering::Relaxed)),
        }
    }

    pub(crate) fn method(mut self, method: &str) -> Self {
        method.clone_into(&mut self.method);
        self
    }

    pub(crate) fn target(mut self, target: &str) -> Self {
        self.target = target.replace("HOST", &self.host);
        self
    }

    /// Adds lines to the head, as they are.
    pub(crate) fn lines<T: Into<String>>(mut self, lines: impl IntoIterator<Item = T>) -> Self {
        self.lines.extend(lines.into_iter().map(Into::into));
        self
    }

    /// Sends it from another address of this machine.
    pub(crate) fn from(mut self, source: Ipv4Addr) -> Self {
        self.source = source;
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.lines([format!("Authorization: Bearer {token}")])
    }

    /// Sends a body in one chunk, and trailer fields after it.
    pub(crate) fn trailers(mut self, trailers: &[&str]) -> Self {
        self.body = "2\r\nhi\r\n0\r\n".into();
        for trailer in trailers {
            self.body.push_str(trailer);
            self.body.push_str("\r\n");
        }
        self.body.push_str("\r\n");
        self.method("POST")
            .lines(["Transfer-Encoding: chunked", "TE: trailers"])
    }

    /// Sends it to a port of this machine.
    pub(crate) fn send(&self, port: u16) -> Answer {
        let mut head = format!(
            "{} {} HTTP/1.1\r\nHost: {}\r\n",
            self.method, self.target, self.host
        );
        let own = [format!("{CASE}: {}", self.case), "Connection: close".into()];
        for line in own.iter().chain(&self.lines) {
            head.push_str(line);
            head.push_str("\r\n");
        }
        let bytes = format!("{head}\r\n{}", self.body);
        let bytes: Vec<u8> = bytes.chars().map(|it| u8::try_from(it).unwrap()).collect();
        let mut stream = connect(self.source, port);
        let patience = Some(Duration::from_secs(60));
        stream.set_read_timeout(patience).unwrap();
        // A proxy may answer and close before it has read everything.
        let _ = stream.write_all(&bytes);
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        let is_late = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
        assert!(
            !read.is_err_and(|error| is_late(&error)),
            "no answer to {self:?}"
        );
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = |head: &str| head.split(' ').nth(1).and_then(|it| it.parse().ok());
        // Interim answers come before the final one.
        let mut heads = answer.split("\r\n\r\n");
        let head = heads.find(|head| status(head) != Some(100));
        let head = head.unwrap_or_default();
        let status = status(head);
        Answer {
            status: status.unwrap_or_default(),
            head: head.to_owned(),
        }
    }
}

/// Connects from an address of this machine, which `std` cannot choose.
fn connect(from: Ipv4Addr, port: u16) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let connected = socket.connect((Ipv4Addr::LOCALHOST, port).into()).await;
        let stream = connected.unwrap().into_std().unwrap();
        stream.set_nonblocking(false).unwrap();
        stream
    })
}

/// Sends a GET over HTTP/2 to a port of this machine and returns the status. `host` is its authority.
pub(crate) fn over_http_2(port: u16, host: &str, fields: &[(String, String)]) -> u16 {
    let mut request = http::Request::get(format!("http://{host}/orders/1"));
    for (name, value) in fields {
        request = request.header(name, value);
    }
    let request = request.body(String::new()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let stream = tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await;
        let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream.unwrap()));
        let (mut sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        let answer = sender.send_request(request).await.unwrap();
        answer.status().as_u16()
    })
}
