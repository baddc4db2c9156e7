//! A trace collector: it receives OTLP over HTTP and keeps the exports, both decoded and as raw bytes.

use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

/// All exports that the collector received.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    bytes: Vec<u8>,
    services: Vec<String>,
    spans: Vec<Span>,
}

impl Collector {
    /// Starts to listen, and returns the endpoint too.
    pub(crate) fn start() -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let received = collector.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let received = received.clone();
                std::thread::spawn(move || received.serve(&stream));
            }
        });
        (collector, endpoint)
    }

    fn serve(&self, stream: &TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream);
        loop {
            let (path, length) = head(&mut reader)?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            assert_eq!(path, "/v1/traces");
            self.take(&body);
            let mut out = stream;
            out.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n")
                .ok()?;
        }
    }

    fn take(&self, body: &[u8]) {
        let request = ExportTraceServiceRequest::decode(body).expect("the body is an OTLP export");
        let mut received = self.0.lock().unwrap();
        received.bytes.extend(body);
        for resource in request.resource_spans {
            let attributes = resource.resource.unwrap().attributes;
            received.services.extend(text(&attributes, "service.name"));
            let spans = resource.scope_spans.into_iter().flat_map(|it| it.spans);
            received.spans.extend(spans);
        }
    }

    /// The raw bytes of all exports.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().bytes.clone()
    }

    /// The names of the services that exported.
    pub(crate) fn services(&self) -> Vec<String> {
        self.0.lock().unwrap().services.clone()
    }

    /// The spans with this name.
    pub(crate) fn spans(&self, name: &str) -> Vec<Span> {
        let spans = &self.0.lock().unwrap().spans;
        spans.iter().filter(|it| it.name == name).cloned().collect()
    }
}

/// Reads the head of a request and returns the path and the length of the body.
fn head(reader: &mut BufReader<&TcpStream>) -> Option<(String, usize)> {
    let mut line = String::new();
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim().to_ascii_lowercase();
        if line.is_empty() {
            return Some((path, length));
        }
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
}

/// The value of an attribute as text.
pub(crate) fn text(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|it| it.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        any_value::Value::StringValue(text) => Some(text.clone()),
        any_value::Value::IntValue(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Bytes in hexadecimal, as in headers.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
