//! Where a page may lead: a path of this server, or a URI of a client.

use std::fmt;

/// The length of the longest URI of a client, in bytes.
const MAX_LENGTH: usize = 2048;
/// Schemes that run or read something here instead of opening an application. `blob` and `filesystem` name contents of
/// this origin.
const REFUSED: [&str; 10] = [
    "javascript",
    "data",
    "vbscript",
    "file",
    "blob",
    "filesystem",
    "about",
    "view-source",
    "ws",
    "wss",
];
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];

/// An absolute path on this server, with its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalPath<'a>(&'a str);

impl<'a> LocalPath<'a> {
    /// Accepts a path that no browser reads as another host: printable ASCII, one slash at the start, no back slash.
    pub fn new(path: &'a str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !matches!(byte, b'\\');
        let starts_well = path.starts_with('/') && !path.starts_with("//");
        (starts_well && path.bytes().all(is_plain)).then_some(Self(path))
    }
}

impl fmt::Display for LocalPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

/// A URI that a client registered, to which a page may send the person or a form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientUri<'a> {
    uri: &'a str,
    place: Place<'a>,
}

/// Where a URI leads, as a person is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place<'a> {
    /// A host on the network, with its port if the URI names one.
    Host(&'a str),
    /// An application on the person's own device.
    Device,
}

impl<'a> ClientUri<'a> {
    /// Accepts an `https` or `http` URI with a host and without user information, or a URI with a private scheme. It
    /// never accepts a scheme that runs a script here.
    pub fn new(uri: &'a str) -> Option<Self> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\\\"<>^`{|}".contains(&byte);
        if uri.len() > MAX_LENGTH || !uri.bytes().all(is_plain) {
            return None;
        }
        let (scheme, rest) = uri.split_once(':')?;
        let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
        if !is_scheme || REFUSED.iter().any(|it| scheme.eq_ignore_ascii_case(it)) {
            return None;
        }
        let is_web = ["https", "http"]
            .iter()
            .any(|it| scheme.eq_ignore_ascii_case(it));
        let place = if is_web { host(rest)? } else { Place::Device };
        Some(Self { uri, place })
    }

    /// Returns where the URI leads.
    pub const fn place(&self) -> Place<'a> {
        self.place
    }

    /// Returns the origin of a web address as a source in a Content-Security-Policy; `None` for a private scheme.
    pub(super) fn origin(&self) -> Option<String> {
        let (scheme, rest) = self.uri.split_once("://")?;
        let scheme = scheme.to_ascii_lowercase();
        (scheme == "https" || scheme == "http").then(|| format!("{scheme}://{}", authority(rest)))
    }
}

impl fmt::Display for ClientUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.uri)
    }
}

/// The host and port of what follows `://`.
fn authority(rest: &str) -> &str {
    rest.split(['/', '?', '#']).next().unwrap_or_default()
}

/// Reads the host of what follows the scheme and its colon.
fn host(rest: &str) -> Option<Place<'_>> {
    let host_and_port = authority(rest.strip_prefix("//")?);
    let end = if host_and_port.starts_with('[') {
        host_and_port.find(']')? + 1
    } else {
        host_and_port.find(':').unwrap_or(host_and_port.len())
    };
    let (name, port) = host_and_port.split_at(end);
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    let is_address = |byte: u8| byte.is_ascii_hexdigit() || b":.[]".contains(&byte);
    let is_host = match name.strip_prefix('[') {
        Some(_) => name.bytes().all(is_address),
        None => !name.is_empty() && name.bytes().all(is_name),
    };
    let is_port = match port.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    let is_loopback = LOOPBACK.contains(&&*name.to_ascii_lowercase());
    (is_host && is_port).then_some(if is_loopback {
        Place::Device
    } else {
        Place::Host(host_and_port)
    })
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::web("https://app.example.com/cb?x=1", Place::Host("app.example.com"))]
    #[case::port("https://app.example.com:8443", Place::Host("app.example.com:8443"))]
    #[case::address("https://192.0.2.1/cb", Place::Host("192.0.2.1"))]
    #[case::ipv6("https://[2001:db8::1]:8443/cb", Place::Host("[2001:db8::1]:8443"))]
    #[case::loopback("http://127.0.0.1:49152/cb", Place::Device)]
    #[case::loopback_by_ipv6("http://[::1]/cb", Place::Device)]
    #[case::private_scheme("com.example.app:/cb", Place::Device)]
    #[case::short_private_scheme("cursor://auth/cb", Place::Device)]
    fn a_place_is_named(#[case] uri: &str, #[case] place: Place<'_>) {
        assert_eq!(ClientUri::new(uri).unwrap().place(), place);
    }

    #[rstest]
    #[case::script("javascript:alert(1)")]
    #[case::script_in_capitals("JavaScript:alert(1)")]
    #[case::data("data:text/html,x")]
    #[case::visual_basic("vbscript:x")]
    #[case::file("file:///etc/passwd")]
    #[case::blob("blob:https://a.example/x")]
    #[case::file_system("filesystem:https://a.example/x")]
    #[case::about("about:blank")]
    #[case::source("view-source:https://a.example/")]
    #[case::web_socket("ws://a.example/")]
    #[case::secure_web_socket("wss://a.example/")]
    #[case::user_information("https://app.example.com@evil.example/cb")]
    #[case::back_slash("https://app.example.com\\@evil.example/cb")]
    #[case::no_host("https:///cb")]
    #[case::no_slashes("https:app.example.com")]
    #[case::no_scheme("//app.example.com/cb")]
    #[case::relative("/cb")]
    #[case::bad_port("https://app.example.com:x/cb")]
    #[case::white_space("https://app.example.com/a b")]
    #[case::tab_in_the_scheme("java\tscript:alert(1)")]
    #[case::line_end("https://app.example.com/\n")]
    #[case::another_script("https://exаmple.com/")]
    #[case::escaped_host("https://a%2eexample/")]
    #[case::semicolon_in_the_host("https://a.example;script-src/")]
    #[case::empty("")]
    fn an_address_that_could_mislead_is_refused(#[case] uri: &str) {
        assert_eq!(ClientUri::new(uri), None);
    }

    #[rstest]
    #[case("/id/connect/authorize?flow=x", true)]
    #[case("/", true)]
    #[case("//evil.example/", false)]
    #[case("/\\evil.example/", false)]
    #[case("/a\nb", false)]
    #[case("https://evil.example/", false)]
    #[case("javascript:alert(1)", false)]
    #[case("", false)]
    fn a_local_path_stays_on_this_server(#[case] path: &str, #[case] is_local: bool) {
        assert_eq!(LocalPath::new(path).is_some(), is_local, "{path}");
    }
}
