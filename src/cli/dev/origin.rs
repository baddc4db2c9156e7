//! Replaces the origin of the issuer by the address of `--listen`: dev mode answers there, whatever the manifest says.

use serde_json::Value;

/// Returns the issuer at another origin; `None` if it is not a URL.
pub(super) fn moved(issuer: &str, origin: &str) -> Option<String> {
    let (_, rest) = issuer.split_once("://")?;
    let path = rest.find('/').map_or("", |start| &rest[start..]);
    Some(format!("{origin}{path}"))
}

/// Replaces the origin of the issuer in an Identity's manifest.
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
    fn only_the_origin_is_replaced() {
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
