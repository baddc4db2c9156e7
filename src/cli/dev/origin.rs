//! Replaces the issuer of a manifest, or its origin, with the URL at which dev mode answers.

use serde_json::{Value, json};

use crate::directory::{Settings, admit};
use crate::resources::{API_VERSION, Kind};

/// Where dev mode answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PublicUrl {
    /// The origin of `--listen`. The path of the issuer stays.
    Origin(String),
    /// The issuer of `--issuer`.
    Issuer(String),
}

impl PublicUrl {
    /// Returns the issuer that is served; `None` if the written one is not a URL.
    pub(super) fn issuer(&self, written: &str) -> Option<String> {
        let (_, rest) = written.split_once("://")?;
        let path = rest.find('/').map_or("", |start| &rest[start..]);
        Some(match self {
            Self::Origin(origin) => format!("{origin}{path}"),
            Self::Issuer(issuer) => issuer.clone(),
        })
    }

    /// Returns the start of the sentence that says which option replaces the written issuer.
    pub(super) const fn option(&self) -> &'static str {
        match self {
            Self::Origin(_) => "--listen replaces the origin of",
            Self::Issuer(_) => "--issuer replaces",
        }
    }

    /// Replaces the issuer in an Identity's manifest.
    pub(super) fn put(&self, identity: &mut Value) {
        if let Some(written) = identity.pointer_mut("/spec/issuer")
            && let Some(issuer) = written.as_str().and_then(|written| self.issuer(written))
        {
            *written = issuer.into();
        }
    }

    /// Returns the values of the `Host` header that a proxy at the issuer may send.
    pub(super) fn hosts(&self) -> Vec<String> {
        let Self::Issuer(issuer) = self else {
            return Vec::new();
        };
        let url: http::Uri = issuer.parse().unwrap_or_default();
        let authority = url.authority().map(http::uri::Authority::as_str);
        let names = authority.into_iter().chain(url.host());
        names.map(str::to_owned).collect()
    }
}

/// Parses `--issuer` by the rules for `spec.issuer` of an Identity. Errors do not repeat it, since it may contain a
/// password.
pub(super) fn issuer(text: &str) -> Result<String, String> {
    let identity = json!({
        "apiVersion": API_VERSION, "kind": Kind::Identity.as_str(),
        "metadata": {"namespace": "default", "name": "main"},
        "spec": {"issuer": text},
    });
    let problems = admit::problems(Kind::Identity, &identity, &Settings::default());
    if problems.is_empty() {
        return Ok(text.to_owned());
    }
    let messages = problems.into_iter().map(|problem| {
        let rule = problem.message.split(", not `").next();
        rule.unwrap_or_default().to_owned()
    });
    Err(messages.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_replaces_only_the_origin_and_the_option_replaces_the_whole_issuer() {
        let listen = PublicUrl::Origin("http://localhost:8080".to_owned());
        let option = PublicUrl::Issuer("https://id.example.test/main".to_owned());
        for (written, origin, whole) in [
            (
                "https://id.example.com/id",
                Some("http://localhost:8080/id"),
                Some("https://id.example.test/main"),
            ),
            (
                "https://id.example.com",
                Some("http://localhost:8080"),
                Some("https://id.example.test/main"),
            ),
            (
                "http://127.0.0.1:8080/a/b",
                Some("http://localhost:8080/a/b"),
                Some("https://id.example.test/main"),
            ),
            ("nonsense", None, None),
        ] {
            assert_eq!(listen.issuer(written).as_deref(), origin, "{written}");
            assert_eq!(option.issuer(written).as_deref(), whole, "{written}");
        }
    }

    #[test]
    fn the_option_has_the_rules_of_the_field() {
        for url in [
            "https://id.example.test",
            "https://id.example.test:8443/main",
            "http://localhost:8080/id",
        ] {
            assert_eq!(issuer(url).as_deref(), Ok(url));
        }
        for (url, why) in [
            ("http://192.0.2.1:8080/id", "https"),
            ("http://id.example.test/id", "https"),
            ("https://id.example.test/", "slash"),
            ("https://id.example.test/a?b", ""),
            ("id.example.test", "https"),
            ("", ""),
        ] {
            let error = issuer(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn a_proxy_at_the_issuer_may_send_its_host_with_or_without_the_port() {
        let hosts = |issuer: &str| PublicUrl::Issuer(issuer.to_owned()).hosts();
        assert_eq!(hosts("https://id.example.test/a"), ["id.example.test"; 2]);
        assert_eq!(
            hosts("https://id.example.test:8443"),
            ["id.example.test:8443", "id.example.test"]
        );
        assert_eq!(hosts("http://[::1]:8080/id"), ["[::1]:8080", "[::1]"]);
        assert!(
            PublicUrl::Origin("http://localhost".to_owned())
                .hosts()
                .is_empty()
        );
    }
}
