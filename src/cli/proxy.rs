//! The proxy that leads to the API server, chosen as kubectl chooses it: by `proxy-url` of the kubeconfig, else by the
//! environment. All but [`Proxy::client`] is pure.
//!
//! kube's own support is not used: it compares `NO_PROXY` with the address of the proxy instead of the API server, and
//! it refuses a whole kubeconfig for one entry of `NO_PROXY` that it cannot parse.
//!
//! Not here: forwarding of requests to an `http` API server without a tunnel.

use std::net::IpAddr;

use anyhow::Context as _;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::Uri;
use http::header::HeaderValue;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use percent_encoding::percent_decode_str;

use crate::directory::Cidr;
use crate::kube_call::{Builder, Config, stack, with_tls};

/// The proxy variables of the environment.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables {
    http: String,
    https: String,
    none_for: String,
}

impl Variables {
    /// Reads them from an environment. The name in capitals has precedence.
    pub(super) fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let first = |name: &str| {
            let values = [name.to_ascii_uppercase(), name.to_owned()].map(|name| variable(&name));
            let mut values = values.into_iter().flatten();
            values.find(|value| !value.is_empty()).unwrap_or_default()
        };
        Self {
            http: first("http_proxy"),
            https: first("https_proxy"),
            none_for: first("no_proxy"),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Https,
    Socks5,
}

/// A proxy. Its `Debug` text has no password.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    scheme: Scheme,
    /// Scheme, host and port, as a connector needs them.
    address: Uri,
    /// User and password, decoded.
    login: Option<(String, String)>,
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {}", self.scheme, self.address)
    }
}

impl Proxy {
    /// Returns the proxy for requests to `server`; `None` for direct connections. `configured` is `proxy-url` of the
    /// kubeconfig, to which `NO_PROXY` does not apply.
    ///
    /// # Errors
    /// Fails if the proxy's URL cannot be used.
    pub(super) fn choose(
        configured: Option<&str>,
        server: &Uri,
        variables: &Variables,
    ) -> anyhow::Result<Option<Self>> {
        if let Some(url) = configured {
            return Self::parse(url)
                .map(Some)
                .context("proxy-url in the kubeconfig");
        }
        let (url, name) = match server.scheme_str() {
            Some("http") => (&variables.http, "HTTP_PROXY"),
            _ => (&variables.https, "HTTPS_PROXY"),
        };
        if url.is_empty() || is_direct(server, &variables.none_for) {
            return Ok(None);
        }
        let url = if url.contains("://") {
            url.clone()
        } else {
            format!("http://{url}")
        };
        Self::parse(&url).map(Some).context(name)
    }

    /// Parses a URL. Errors do not repeat it, since it may contain a password.
    fn parse(url: &str) -> anyhow::Result<Self> {
        let unusable = "not the URL of a proxy: write http://HOST:PORT, https://HOST:PORT or socks5://HOST:PORT";
        let uri: Uri = url.trim().parse().context(unusable)?;
        let (scheme, shown, port) = match uri.scheme_str() {
            Some("http") => (Scheme::Http, "http", 80),
            Some("https") => (Scheme::Https, "https", 443),
            Some("socks5" | "socks5h") => (Scheme::Socks5, "http", 1080),
            _ => anyhow::bail!(unusable),
        };
        let host = uri
            .host()
            .filter(|host| !host.is_empty())
            .context(unusable)?;
        let port = uri.port_u16().unwrap_or(port);
        let address = format!("{shown}://{host}:{port}")
            .parse()
            .context(unusable)?;
        let login = uri.authority().and_then(|it| it.as_str().rsplit_once('@'));
        let login = login.map(|(login, _)| {
            let (user, password) = login.split_once(':').unwrap_or((login, ""));
            let plain = |text| percent_decode_str(text).decode_utf8_lossy().into_owned();
            (plain(user), plain(password))
        });
        Ok(Self {
            scheme,
            address,
            login,
        })
    }

    /// Returns a client whose connections lead through the proxy.
    pub(super) fn client(&self, config: Config) -> anyhow::Result<Builder> {
        let mut direct = HttpConnector::new();
        direct.enforce_http(false);
        match self.scheme {
            Scheme::Http => Ok(stack(self.tunnel(direct)?, config)?),
            Scheme::Https => {
                let direct = with_tls(&config, direct)?;
                Ok(stack(self.tunnel(direct)?, config)?)
            }
            Scheme::Socks5 => {
                let mut tunnel = SocksV5::new(self.address.clone(), direct);
                if let Some((user, password)) = self.login.clone() {
                    tunnel = tunnel.with_auth(user, password);
                }
                Ok(stack(tunnel, config)?)
            }
        }
    }

    /// Returns a connector that opens tunnels with CONNECT (RFC 9110 section 9.3.6).
    fn tunnel<C>(&self, connector: C) -> anyhow::Result<Tunnel<C>> {
        let mut tunnel = Tunnel::new(self.address.clone(), connector);
        if let Some((user, password)) = &self.login {
            let login = format!("Basic {}", STANDARD.encode(format!("{user}:{password}")));
            let mut login = HeaderValue::from_str(&login).context("the proxy's password")?;
            login.set_sensitive(true);
            tunnel = tunnel.with_auth(login);
        }
        Ok(tunnel)
    }
}

/// Returns whether requests to `server` bypass the proxies of the environment, as Go's `net/http` decides it.
fn is_direct(server: &Uri, none_for: &str) -> bool {
    let host = server.host().unwrap_or_default().to_ascii_lowercase();
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let address = host.parse::<IpAddr>().ok();
    if host == "localhost" || address.is_some_and(|address| address.to_canonical().is_loopback()) {
        return true;
    }
    let is_plain = server.scheme_str() == Some("http");
    let port = server.port_u16().unwrap_or(if is_plain { 80 } else { 443 });
    let mut entries = none_for
        .split(',')
        .map(|entry| entry.trim().to_ascii_lowercase());
    entries.any(|entry| is_named(&entry, host, address, port))
}

/// Returns whether an entry of `NO_PROXY` names a server.
fn is_named(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(range) = entry.parse::<Cidr>() {
        return address.is_some_and(|address| range.contains(address));
    }
    let (name, of_port) = match entry.rsplit_once(':') {
        // The colons of an IPv6 address do not separate a port.
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => (name, Some(port)),
        _ => (entry, None),
    };
    if of_port.is_some_and(|of_port| of_port.parse() != Ok(port)) {
        return false;
    }
    let name = name.trim_start_matches('[').trim_end_matches(']');
    if let Ok(named) = name.parse::<IpAddr>() {
        return address.is_some_and(|address| address.to_canonical() == named.to_canonical());
    }
    let name = name
        .strip_prefix('*')
        .filter(|rest| rest.starts_with('.'))
        .unwrap_or(name);
    match name.strip_prefix('.') {
        Some(domain) => !domain.is_empty() && is_below(host, domain),
        None => !name.is_empty() && (host == name || is_below(host, name)),
    }
}

fn is_below(host: &str, domain: &str) -> bool {
    let sub = host.strip_suffix(domain);
    sub.is_some_and(|sub| sub.ends_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Variables {
        Variables::read(|name| {
            let mut pairs = pairs.iter();
            pairs
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned())
        })
    }

    fn chosen(configured: Option<&str>, server: &str, pairs: &[(&str, &str)]) -> Option<String> {
        let server = server.parse().unwrap();
        let proxy = Proxy::choose(configured, &server, &variables(pairs)).unwrap();
        proxy.map(|proxy| format!("{proxy:?}"))
    }

    #[test]
    fn the_kubeconfig_has_precedence_over_the_environment_and_no_proxy_is_not_for_it() {
        let both = [("HTTPS_PROXY", "http://env:3128"), ("NO_PROXY", "*")];
        let server = "https://api.example.com:6443";
        assert_eq!(
            chosen(Some("socks5://kubeconfig"), server, &both).as_deref(),
            Some("Socks5 http://kubeconfig:1080/")
        );
        assert_eq!(chosen(None, server, &both), None);
    }

    #[test]
    fn capitals_have_precedence_and_an_empty_variable_counts_as_unset() {
        let server = "https://api.example.com";
        for (pairs, wanted) in [
            (&[][..], None),
            (&[("HTTPS_PROXY", "")], None),
            (
                &[("https_proxy", "http://low:1")],
                Some("Http http://low:1/"),
            ),
            (
                &[("HTTPS_PROXY", ""), ("https_proxy", "http://low:1")],
                Some("Http http://low:1/"),
            ),
            (
                &[
                    ("https_proxy", "http://low:1"),
                    ("HTTPS_PROXY", "http://up:2"),
                ],
                Some("Http http://up:2/"),
            ),
            // Only for API servers without TLS.
            (&[("HTTP_PROXY", "http://up:2")], None),
            (&[("ALL_PROXY", "http://up:2")], None),
            (
                &[("HTTPS_PROXY", "proxy.corp:3128")],
                Some("Http http://proxy.corp:3128/"),
            ),
            (
                &[("HTTPS_PROXY", "https://proxy.corp")],
                Some("Https https://proxy.corp:443/"),
            ),
            (
                &[("HTTPS_PROXY", "socks5h://127.0.0.1")],
                Some("Socks5 http://127.0.0.1:1080/"),
            ),
        ] {
            assert_eq!(chosen(None, server, pairs).as_deref(), wanted, "{pairs:?}");
        }
        assert_eq!(
            chosen(
                None,
                "http://api.example.com",
                &[("http_proxy", "http://low:1")]
            )
            .as_deref(),
            Some("Http http://low:1/")
        );
    }

    #[test]
    fn no_proxy_names_hosts_domains_addresses_ranges_and_ports() {
        for (list, server, is_direct) in [
            ("api.example.com", "https://api.example.com:6443", true),
            ("example.com", "https://api.example.com", true),
            ("example.com", "https://example.com", true),
            ("example.com", "https://myexample.com", false),
            (".example.com", "https://api.example.com", true),
            (".example.com", "https://example.com", false),
            ("*.example.com", "https://api.example.com", true),
            ("EXAMPLE.com", "https://API.example.com", true),
            ("example.com:6443", "https://api.example.com:6443", true),
            ("example.com:443", "https://api.example.com", true),
            ("example.com:443", "https://api.example.com:6443", false),
            ("10.0.0.0/8", "https://10.96.0.1", true),
            ("10.0.0.0/8", "https://11.96.0.1", false),
            ("10.96.0.1", "https://10.96.0.1:6443", true),
            ("10.96.0.1:443", "https://10.96.0.1:6443", false),
            ("fd00::/8", "https://[fd00::1]:6443", true),
            ("fd00::1", "https://[fd00::1]:6443", true),
            ("[fd00::1]:6443", "https://[fd00::1]:6443", true),
            ("*", "https://api.example.com", true),
            (
                " , other.example.com , ,.svc,",
                "https://kubernetes.default.svc",
                true,
            ),
            (",,", "https://api.example.com", false),
            ("not a host, /x, :1, [", "https://api.example.com", false),
            ("", "https://localhost:6443", true),
            ("", "https://127.0.0.5:6443", true),
            ("", "https://[::1]:6443", true),
            ("", "https://api.example.com", false),
        ] {
            let pairs = [("HTTPS_PROXY", "http://proxy:3128"), ("no_proxy", list)];
            assert_eq!(
                chosen(None, server, &pairs).is_none(),
                is_direct,
                "{list} {server}"
            );
        }
    }

    #[test]
    fn an_error_names_the_source_and_not_the_password() {
        let server = "https://api.example.com".parse().unwrap();
        for url in [
            "ftp://user:hunter2@proxy",
            "http://user:hunter2@",
            "http://us er:hunter2@x",
        ] {
            for (configured, pairs, source) in [
                (Some(url), &[][..], "proxy-url"),
                (None, &[("https_proxy", url)], "HTTPS_PROXY"),
            ] {
                let error = Proxy::choose(configured, &server, &variables(pairs)).unwrap_err();
                let text = format!("{error:#} {error:?}");
                assert!(text.contains(source), "{text}");
                assert!(!text.contains("hunter2"), "{text}");
            }
        }
        let proxy = Proxy::parse("http://us%40er:hunt%3Aer2@proxy").unwrap();
        assert_eq!(
            proxy.login,
            Some(("us@er".to_owned(), "hunt:er2".to_owned()))
        );
        assert!(!format!("{proxy:?}").contains("hunt"));
    }
}
