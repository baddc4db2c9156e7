//! Public keys as JWK and JWK Set (RFC 7517), named by their thumbprint (RFC 7638).
//!
//! The type has no private members, so none can be published.

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::Algorithm;

/// A public signature key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Jwk {
    #[serde(flatten)]
    public: Public,
    #[serde(rename = "use")]
    usage: Usage,
    alg: Algorithm,
    kid: String,
}

/// The members of RFC 7518 section 6 and RFC 8037 section 2, each encoded as base64url.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kty")]
enum Public {
    #[serde(rename = "RSA")]
    Rsa { n: String, e: String },
    #[serde(rename = "EC")]
    Ec {
        crv: &'static str,
        x: String,
        y: String,
    },
    #[serde(rename = "OKP")]
    Okp { crv: &'static str, x: String },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
enum Usage {
    #[serde(rename = "sig")]
    Signature,
}

impl Jwk {
    /// An RSA key. Modulus and exponent are big-endian without leading zeros.
    pub(super) fn rsa(alg: Algorithm, modulus: &[u8], exponent: &[u8]) -> Self {
        Self::of(
            alg,
            Public::Rsa {
                n: encode(modulus),
                e: encode(exponent),
            },
        )
    }

    /// A point on P-256.
    pub(super) fn p256(alg: Algorithm, x: &[u8], y: &[u8]) -> Self {
        Self::of(
            alg,
            Public::Ec {
                crv: "P-256",
                x: encode(x),
                y: encode(y),
            },
        )
    }

    /// An Ed25519 key.
    pub(super) fn ed25519(alg: Algorithm, x: &[u8]) -> Self {
        Self::of(
            alg,
            Public::Okp {
                crv: "Ed25519",
                x: encode(x),
            },
        )
    }

    fn of(alg: Algorithm, public: Public) -> Self {
        Self {
            kid: public.thumbprint(),
            public,
            usage: Usage::Signature,
            alg,
        }
    }

    /// Returns the key ID.
    pub fn kid(&self) -> &str {
        &self.kid
    }
}

impl Public {
    /// Computes the thumbprint (RFC 7638 section 3): SHA-256 over the required members, ordered by name, without
    /// spaces.
    fn thumbprint(&self) -> String {
        let canonical = match self {
            Self::Rsa { n, e } => format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#),
            Self::Ec { crv, x, y } => {
                format!(r#"{{"crv":"{crv}","kty":"EC","x":"{x}","y":"{y}"}}"#)
            }
            Self::Okp { crv, x } => format!(r#"{{"crv":"{crv}","kty":"OKP","x":"{x}"}}"#),
        };
        encode(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref())
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Renders the JWK Set of `keys`, in their order (RFC 7517 section 5).
///
/// # Errors
/// None in practice: every member serializes.
pub fn render<'a>(keys: impl IntoIterator<Item = &'a Jwk>) -> Result<Vec<u8>, serde_json::Error> {
    #[derive(Serialize)]
    struct Set<'a> {
        keys: Vec<&'a Jwk>,
    }
    serde_json::to_vec(&Set {
        keys: keys.into_iter().collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::keys::fixtures;

    #[test]
    fn the_thumbprint_is_that_of_rfc_7638_section_3_1() {
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let key = Public::Rsa {
            n: n.into(),
            e: "AQAB".into(),
        };
        assert_eq!(
            key.thumbprint(),
            "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
        );
    }

    #[test]
    fn the_thumbprint_is_that_of_rfc_8037_appendix_a_3() {
        let key = Public::Okp {
            crv: "Ed25519",
            x: "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo".into(),
        };
        assert_eq!(
            key.thumbprint(),
            "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
        );
    }

    #[test]
    fn jwks_are_never_private() {
        for algorithm in Algorithm::ALL {
            let jwks: Value =
                serde_json::from_slice(&render([fixtures::key(algorithm).jwk()]).unwrap()).unwrap();
            let members: Vec<&str> = jwks["keys"][0]
                .as_object()
                .unwrap()
                .keys()
                .map(String::as_str)
                .collect();
            let public = match algorithm {
                Algorithm::RS256 | Algorithm::PS256 => vec!["alg", "e", "kid", "kty", "n", "use"],
                Algorithm::ES256 => vec!["alg", "crv", "kid", "kty", "use", "x", "y"],
                Algorithm::EdDSA => vec!["alg", "crv", "kid", "kty", "use", "x"],
            };
            assert_eq!(members, public, "only these: no d, p, q, dp, dq, qi, k");
            assert_eq!(
                (&jwks["keys"][0]["use"], &jwks["keys"][0]["alg"]),
                (&json!("sig"), &json!(algorithm.as_str()))
            );
        }
    }

    #[test]
    fn a_set_keeps_the_order_and_may_be_empty() {
        assert_eq!(render([]).unwrap(), br#"{"keys":[]}"#);
        let keys = [
            fixtures::key(Algorithm::ES256),
            fixtures::key(Algorithm::EdDSA),
        ];
        let jwks: Value =
            serde_json::from_slice(&render(keys.iter().map(|key| key.jwk())).unwrap()).unwrap();
        assert_eq!(
            [&jwks["keys"][0]["kid"], &jwks["keys"][1]["kid"]],
            [keys[0].kid(), keys[1].kid()]
        );
    }
}
