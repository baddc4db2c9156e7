//! The API behind the proxies: it records every request as it arrives.

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// The header by which a caller recognises its request in the records.
pub(crate) const CASE: &str = "x-case";

/// A request as the API received it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Received {
    /// The request line.
    pub(crate) line: String,
    /// Names and values, in order.
    pub(crate) fields: Vec<(String, String)>,
    /// The trailer fields.
    pub(crate) trailers: Vec<(String, String)>,
}

impl Received {
    /// The request target.
    pub(crate) fn target(&self) -> &str {
        self.line.split(' ').nth(1).unwrap_or_default()
    }

    /// The values of a header.
    pub(crate) fn values(&self, name: &str) -> Vec<&str> {
        let named = self
            .fields
            .iter()
            .filter(|it| it.0.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }
}

/// The API.
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Backend {
    /// Starts it. Its threads end with the process.
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let records = Arc::clone(&received);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let records = Arc::clone(&records);
                std::thread::spawn(move || answer(stream, &records));
            }
        });
        Self { address, received }
    }

    /// The requests with this value of [`CASE`].
    pub(crate) fn of(&self, case: &str) -> Vec<Received> {
        let received = self.received.lock().unwrap();
        let mine = received.iter().filter(|it| it.values(CASE) == [case]);
        mine.cloned().collect()
    }

    /// The number of all requests.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().len()
    }
}

/// Reads one request, records it and closes the connection. An API behind a gateway refuses a request that names no
/// subject.
fn answer(mut stream: TcpStream, records: &Mutex<Vec<Received>>) {
    let Some(received) = read(&mut BufReader::new(&stream)) else {
        return;
    };
    let is_named = received
        .values("x-auth-subject")
        .iter()
        .any(|it| !it.is_empty());
    records.lock().unwrap().push(received);
    let status = if is_named { "200 OK" } else { "403 Forbidden" };
    let _ = write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
}

fn read(stream: &mut impl BufRead) -> Option<Received> {
    let mut received = Received {
        line: line(stream)?,
        ..Received::default()
    };
    if received.line.is_empty() {
        return None;
    }
    received.fields = fields(stream)?;
    if received.values("transfer-encoding").is_empty() {
        let length = received.values("content-length").first().copied();
        let length = length.map_or(0, |length| length.parse().unwrap());
        std::io::copy(&mut stream.take(length), &mut std::io::sink()).ok()?;
    } else {
        loop {
            let size = u64::from_str_radix(&line(stream)?, 16).ok()?;
            if size == 0 {
                break;
            }
            std::io::copy(&mut stream.take(size + 2), &mut std::io::sink()).ok()?;
        }
        received.trailers = fields(stream)?;
    }
    Some(received)
}

fn fields(stream: &mut impl BufRead) -> Option<Vec<(String, String)>> {
    let mut fields = Vec::new();
    loop {
        let line = line(stream)?;
        if line.is_empty() {
            return Some(fields);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        fields.push((name.to_owned(), value.trim().to_owned()));
    }
}

/// Reads a line, with every byte as one character.
fn line(stream: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    stream.read_until(b'\n', &mut bytes).ok()?;
    let text: String = bytes.into_iter().map(char::from).collect();
    Some(text.trim_end_matches(['\r', '\n']).to_owned())
}
