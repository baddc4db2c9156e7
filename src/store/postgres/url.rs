//! The URL of a database in the form that libpq knows, with its `sslmode`.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use super::super::error::{StoreError, chain};

/// How long the driver tries to connect to one host, unless the URL says so.
const CONNECT: Duration = Duration::from_secs(3);

/// The parameters that the driver reads.
const KNOWN: [&str; 17] = [
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
    "connect_timeout",
    "tcp_user_timeout",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "target_session_attrs",
    "load_balance_hosts",
    "sslnegotiation",
];

/// What is wrong with a URL. It repeats nothing of the URL, which contains a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UrlFault {
    /// It has another scheme.
    #[error("the database URL does not begin with postgres:// or postgresql://")]
    Scheme,
    /// It names no host.
    #[error("the database URL names no host: write postgres://user:password@host/database")]
    Host,
    /// The `sslmode` is unknown.
    #[error(
        "sslmode in the database URL is not one of disable, prefer, require, verify-ca, verify-full"
    )]
    Mode,
    /// A certificate is to be verified and no CA is named.
    #[error(
        "sslmode=verify-ca and verify-full need sslrootcert, the path of a file with the certificates of the database's CA"
    )]
    Root,
    /// A CA is named that is never used.
    #[error(
        "sslmode=disable does not use sslrootcert, sslcert, sslkey or a CA file: remove them or choose verify-full"
    )]
    Unused,
    /// The connection could be made without the CA that the settings name.
    #[error(
        "sslmode=prefer would also connect without TLS, so that the CA file proves nothing: remove sslmode, which is then verify-full"
    )]
    Prefer,
    /// The CA is named twice.
    #[error(
        "sslrootcert in the database URL names a second CA file beside the one of the settings: remove it"
    )]
    TwoRoots,
    /// The roots of the system are named.
    #[error(
        "sslrootcert=system is not supported: name a file with the certificates of the database's CA"
    )]
    System,
    /// A client certificate without its key, or the reverse.
    #[error("sslcert and sslkey in the database URL are given together or not at all")]
    ClientCertificate,
    /// A parameter appears twice.
    #[error("the parameter {0} appears more than once in the database URL")]
    Repeated(&'static str),
    /// A parameter that nothing reads. Its name may be a part of the password, if a question mark in that was not
    /// encoded.
    #[error(
        "parameter {0} of the database URL is unknown: known are sslmode, sslrootcert, sslcert, sslkey, {known}; encode a question mark in the password as %3F",
        known = KNOWN.join(", ")
    )]
    Unknown(usize),
    /// The driver refuses the URL.
    #[error("the database URL is malformed: {0}")]
    Malformed(String),
}

/// What a server must prove to be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Nothing.
    Nothing,
    /// A certificate of one of the CAs in this file.
    Certificate(PathBuf),
    /// A certificate of one of the CAs in this file for the host's name.
    Host(PathBuf),
}

/// The files of a certificate and its key.
type Pair = (PathBuf, PathBuf);

/// A parsed URL.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// What the driver connects to.
    pub(super) config: Config,
    /// What the server proves.
    pub(super) proof: Proof,
    /// The files with our certificate and its key.
    pub(super) client: Option<Pair>,
}

/// The parameters that the driver does not know.
#[derive(Default)]
struct Tls {
    mode: Option<String>,
    root: Option<String>,
    cert: Option<String>,
    key: Option<String>,
}

impl Tls {
    /// Takes the parameter. Returns `false` if it is one of the driver's.
    fn take(&mut self, name: &str, value: &str) -> Result<bool, UrlFault> {
        let (name, place) = match name {
            "sslmode" => ("sslmode", &mut self.mode),
            "sslrootcert" => ("sslrootcert", &mut self.root),
            "sslcert" => ("sslcert", &mut self.cert),
            "sslkey" => ("sslkey", &mut self.key),
            _ => return Ok(false),
        };
        match place.replace(value.to_owned()) {
            None => Ok(true),
            Some(_) => Err(UrlFault::Repeated(name)),
        }
    }

    /// Judges what the parameters ask for. A CA that the settings name is always verified, by default with the host's
    /// name: no one names it to connect without.
    fn judge(&self, ca: Option<&Path>) -> Result<(SslMode, Proof, Option<Pair>), UrlFault> {
        if self.root.as_deref() == Some("system") {
            return Err(UrlFault::System);
        }
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((cert.into(), key.into())),
            (None, None) => None,
            _ => return Err(UrlFault::ClientCertificate),
        };
        if ca.is_some() && self.root.is_some() {
            return Err(UrlFault::TwoRoots);
        }
        if ca.is_some() && self.mode.as_deref() == Some("prefer") {
            return Err(UrlFault::Prefer);
        }
        let usual = if ca.is_some() {
            "verify-full"
        } else {
            "prefer"
        };
        let root = self.root.as_ref().map(PathBuf::from);
        let root = root.or_else(|| ca.map(Path::to_owned));
        let (mode, proof) = match (self.mode.as_deref().unwrap_or(usual), root) {
            ("disable", None) if client.is_none() => (SslMode::Disable, Proof::Nothing),
            ("disable", _) => return Err(UrlFault::Unused),
            ("prefer", None) => (SslMode::Prefer, Proof::Nothing),
            ("require", None) => (SslMode::Require, Proof::Nothing),
            // As in libpq: a named CA is always verified.
            ("prefer", Some(root)) => (SslMode::Prefer, Proof::Certificate(root)),
            ("require" | "verify-ca", Some(root)) => (SslMode::Require, Proof::Certificate(root)),
            ("verify-full", Some(root)) => (SslMode::Require, Proof::Host(root)),
            ("verify-ca" | "verify-full", None) => return Err(UrlFault::Root),
            _ => return Err(UrlFault::Mode),
        };
        Ok((mode, proof, client))
    }
}

impl From<UrlFault> for StoreError {
    fn from(fault: UrlFault) -> Self {
        Self::Url(fault.to_string())
    }
}

/// Checks the URL of a database, without connecting. `has_ca` says whether the settings name a file with its CA.
///
/// # Errors
/// What is wrong with it. The error repeats nothing of it.
pub fn check_url(url: &str, has_ca: bool) -> Result<(), StoreError> {
    let ca = has_ca.then(|| Path::new("ca.crt"));
    Target::parse(url, ca)?;
    Ok(())
}

impl FromStr for Target {
    type Err = UrlFault;

    fn from_str(text: &str) -> Result<Self, UrlFault> {
        Self::parse(text, None)
    }
}

impl Target {
    /// Parses a URL. `ca` is the file with the database's CA, if the settings name it and not the URL.
    pub(super) fn parse(text: &str, ca: Option<&Path>) -> Result<Self, UrlFault> {
        let text = text.trim();
        if !text.starts_with("postgres://") && !text.starts_with("postgresql://") {
            return Err(UrlFault::Scheme);
        }
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        let mut tls = Tls::default();
        let mut others = form_urlencoded::Serializer::new(String::new());
        // libpq does not read a plus sign as a space.
        let query = query.replace('+', "%2B");
        for (index, (name, value)) in form_urlencoded::parse(query.as_bytes()).enumerate() {
            if tls.take(&name, &value)? {
                continue;
            }
            if !KNOWN.contains(&&*name) {
                return Err(UrlFault::Unknown(index + 1));
            }
            others.append_pair(&name, &value);
        }
        let (mode, proof, client) = tls.judge(ca)?;
        // The driver does not read a plus sign as a space either.
        let others = others.finish().replace('+', "%20");
        let parsed = Config::from_str(&format!("{place}?{others}"));
        let mut config = parsed.map_err(|error| UrlFault::Malformed(chain(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(UrlFault::Host);
        }
        let is_local = config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)));
        // As in libpq: there is no TLS in a Unix socket.
        let is_local = is_local && !config.get_hosts().is_empty();
        config.ssl_mode(if is_local { SslMode::Disable } else { mode });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        if config.get_application_name().is_none() {
            config.application_name("symbolon");
        }
        Ok(Self {
            config,
            proof,
            client,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(query: &str) -> Result<Target, UrlFault> {
        format!("postgres://u:p@db.example.com/d{query}").parse()
    }

    #[test]
    fn the_modes_are_those_of_libpq() {
        let ca = || PathBuf::from("/ca.crt");
        for (query, mode, proof) in [
            ("", SslMode::Prefer, Proof::Nothing),
            ("?sslmode=disable", SslMode::Disable, Proof::Nothing),
            ("?sslmode=prefer", SslMode::Prefer, Proof::Nothing),
            ("?sslmode=require", SslMode::Require, Proof::Nothing),
            (
                "?sslrootcert=/ca.crt",
                SslMode::Prefer,
                Proof::Certificate(ca()),
            ),
            (
                "?sslmode=require&sslrootcert=/ca.crt",
                SslMode::Require,
                Proof::Certificate(ca()),
            ),
            (
                "?sslmode=verify-ca&sslrootcert=%2Fca.crt",
                SslMode::Require,
                Proof::Certificate(ca()),
            ),
            (
                "?sslrootcert=/ca.crt&sslmode=verify-full",
                SslMode::Require,
                Proof::Host(ca()),
            ),
        ] {
            let target = parse(query).unwrap();
            assert_eq!(
                (target.config.get_ssl_mode(), target.proof),
                (mode, proof),
                "{query}"
            );
        }
    }

    #[test]
    fn what_would_be_weaker_than_it_reads_is_refused() {
        for (query, fault) in [
            ("?sslmode=allow", UrlFault::Mode),
            ("?sslmode=VERIFY-FULL", UrlFault::Mode),
            ("?sslmode=", UrlFault::Mode),
            ("?sslmode=verify-ca", UrlFault::Root),
            ("?sslmode=verify-full", UrlFault::Root),
            ("?sslmode=disable&sslrootcert=/ca.crt", UrlFault::Unused),
            ("?sslmode=verify-full&sslrootcert=system", UrlFault::System),
            (
                "?sslmode=verify-full&sslrootcert=/ca.crt&sslmode=disable",
                UrlFault::Repeated("sslmode"),
            ),
            (
                "?sslmode=require&sslcert=/a.crt",
                UrlFault::ClientCertificate,
            ),
        ] {
            assert_eq!(parse(query).err(), Some(fault), "{query}");
        }
        // A parameter that the driver does not know is not ignored.
        for query in [
            "?sslcrl=/a.crl",
            "?ssl-mode=verify-full",
            "?requirepeer=x",
            "?channel_binding=require",
        ] {
            assert_eq!(parse(query).err(), Some(UrlFault::Unknown(1)), "{query}");
        }
    }

    #[test]
    fn a_ca_of_the_settings_is_always_verified() {
        let ca = || PathBuf::from("/ca.crt");
        for (query, expected) in [
            ("", Ok(Proof::Host(ca()))),
            ("?sslmode=verify-full", Ok(Proof::Host(ca()))),
            ("?sslmode=verify-ca", Ok(Proof::Certificate(ca()))),
            ("?sslmode=require", Ok(Proof::Certificate(ca()))),
            ("?sslmode=prefer", Err(UrlFault::Prefer)),
            ("?sslmode=disable", Err(UrlFault::Unused)),
            ("?sslrootcert=/ca.crt", Err(UrlFault::TwoRoots)),
        ] {
            let url = format!("postgres://u:p@db.example.com/d{query}");
            let target = Target::parse(&url, Some(&ca()));
            if let Ok(target) = &target {
                assert_eq!(target.config.get_ssl_mode(), SslMode::Require, "{query}");
            }
            assert_eq!(target.map(|it| it.proof), expected, "{query}");
        }
    }

    #[test]
    fn the_rest_of_the_url_reaches_the_driver() {
        let target = parse(
            "?target_session_attrs=read-write&options=-c%20work_mem=1MB&application_name=a%2Bb",
        )
        .unwrap();
        assert_eq!(target.config.get_options(), Some("-c work_mem=1MB"));
        assert_eq!(target.config.get_application_name(), Some("a+b"));
        assert_eq!(target.config.get_password(), Some(&b"p"[..]));
        let several: Target = "postgresql://u@a:1,b:2/d\n".parse().unwrap();
        assert_eq!(several.config.get_hosts().len(), 2);
        let socket: Target = "postgres://u@%2Frun%2Fpg/d?sslmode=require"
            .parse()
            .unwrap();
        assert_eq!(socket.config.get_ssl_mode(), SslMode::Disable);
    }

    #[test]
    fn a_fault_repeats_nothing_of_the_url() {
        for url in [
            "hunter2",
            "postgres://u:hunter2@h/d?sslmode=hunter2",
            "postgres://u:hunter2@h:port/d",
            "postgres:///hunter2",
            "postgres://u:hunter2@h/d?port=hunter2",
            "postgres://u:x?hunter2@h/d",
        ] {
            let fault = url.parse::<Target>().unwrap_err().to_string();
            assert!(!fault.contains("hunter2"), "{fault}");
        }
    }
}
