//! `--listen` replaces the issuer's origin: dev mode answers where it listens, whatever the manifest says.

use serde_json::Value;

/// The issuer of an Identity's manifest, at another origin; `None` where it has none that makes sense.
pub(super) fn moved(issuer: &str, origin: &str) -> Option<String> {
    let (_, rest) = issuer.split_once("://")?;
    let path = rest.find('/').map_or("", |start| &rest[start..]);
    Some(format!("{origin}{path}"))
}

/// Puts the origin into an Identity's manifest.
pub(super) fn put(identity: &mut Value, origin: &str) {
    if let Some(issuer) = identity.pointer_mut("/spec/issuer")
        && let Some(moved) = issuer.as_str().and_then(|issuer| moved(issuer, origin))
    {
        *issuer = moved.into();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_stays_and_the_origin_goes() {
        for (issuer, expected) in [
            (
                "https://id.example.com/id",
                Some("http://127.0.0.1:8080/id"),
            ),
            ("https://id.example.com", Some("http://127.0.0.1:8080")),
            (
                "http://127.0.0.1:8080/a/b",
                Some("http://127.0.0.1:8080/a/b"),
            ),
            ("nonsense", None),
        ] {
            assert_eq!(
                moved(issuer, "http://127.0.0.1:8080").as_deref(),
                expected,
                "{issuer}"
            );
        }
    }
}
