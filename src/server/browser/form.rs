//! The proof that a form comes from a page that the server gave to this browser, against forged requests (CSRF).
//!
//! The proof is an HMAC over the form's name, the browser's cookie and the session. It is the same each time a form is
//! shown, so the back button and several tabs work. The server never compresses a page, so the proof cannot be guessed
//! from the length of an answer.

use aws_lc_rs::hmac;
use axum::http::header::ORIGIN;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::tokens::{KeyMaterial, TokenId, fields};

const SALT: &str = "symbolon.dev/form";

/// The keys of the proofs: the newest makes them, and the previous one is still accepted during a rotation.
pub struct FormKeys {
    newest: hmac::Key,
    previous: Option<hmac::Key>,
}

/// A form that the server showed.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a> {
    /// The form, such as `sign-in`. The proof of one form is not good for another.
    pub form: &'static str,
    /// The secret of the browser's cookie.
    pub browser: &'a str,
    /// The session of the person who saw it. A form that was shown before a sign-in or sign-out is not good after it.
    pub session: Option<TokenId>,
}

impl FormKeys {
    /// Derives the keys.
    pub fn new(newest: &KeyMaterial, previous: Option<&KeyMaterial>) -> Self {
        let key = |material: &KeyMaterial| {
            hmac::Key::new(hmac::HMAC_SHA256, &*material.derive(SALT, "proof"))
        };
        Self {
            newest: key(newest),
            previous: previous.map(key),
        }
    }

    /// Returns the proof for a hidden field of the form.
    pub fn proof(&self, shown: Shown<'_>) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.newest, &encoded(shown)))
    }

    /// Whether `proof` belongs to this form. Constant time.
    #[must_use]
    pub fn is_proof(&self, shown: Shown<'_>, proof: &str) -> bool {
        let Ok(tag) = URL_SAFE_NO_PAD.decode(proof) else {
            return false;
        };
        let text = encoded(shown);
        [Some(&self.newest), self.previous.as_ref()]
            .into_iter()
            .flatten()
            .any(|key| hmac::verify(key, &text, &tag).is_ok())
    }
}

/// The bytes that a proof covers.
fn encoded(shown: Shown<'_>) -> Vec<u8> {
    let Shown {
        form,
        browser,
        session,
    } = shown;
    let session = session.as_ref().map_or("", TokenId::as_str);
    fields::encode([form, browser, session])
}

/// Whether a browser says that another site sent this form. `origin` is the scheme, host and port of the issuer. A
/// second defence beside the proof: old browsers say nothing, and a page without referrer sends the origin `null`.
pub fn is_of_another_site(headers: &HeaderMap, origin: &str) -> bool {
    let text = |name: &str| headers.get(name).map(HeaderValue::as_bytes);
    match text("sec-fetch-site") {
        Some(site) => !matches!(site, b"same-origin" | b"none"),
        None => {
            text(ORIGIN.as_str()).is_some_and(|sent| sent != b"null" && sent != origin.as_bytes())
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const SHOWN: Shown<'_> = Shown {
        form: "sign-in",
        browser: "b1",
        session: None,
    };

    #[test]
    fn a_proof_is_good_for_its_form_browser_and_session_alone() {
        let keys = FormKeys::new(&KeyMaterial::sample(1), None);
        let session = "AAAAAAAAAAAAAAAA".parse().ok();
        let signed_in = Shown { session, ..SHOWN };
        for shown in [SHOWN, signed_in] {
            let proof = keys.proof(shown);
            assert!(keys.is_proof(shown, &proof));
            for other in [
                Shown {
                    form: "sign-out",
                    ..shown
                },
                Shown {
                    browser: "b2",
                    ..shown
                },
                Shown {
                    form: "sign-inb",
                    browser: "1",
                    ..shown
                },
                Shown {
                    session: "BBBBBBBBBBBBBBBB".parse().ok(),
                    ..shown
                },
            ] {
                assert!(!keys.is_proof(other, &proof), "{other:?}");
            }
            for at in 0..proof.len() {
                let mut changed = proof.clone().into_bytes();
                changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
                let changed = String::from_utf8(changed).unwrap();
                assert!(!keys.is_proof(shown, &changed), "{at}");
                assert!(!keys.is_proof(shown, &proof[..at]), "{at}");
            }
            assert!(!keys.is_proof(shown, &format!("{proof}A")));
        }
        assert!(
            !keys.is_proof(SHOWN, &keys.proof(signed_in)),
            "shown before"
        );
    }

    #[test]
    fn two_keys_are_accepted_during_a_rotation() {
        let old = FormKeys::new(&KeyMaterial::sample(1), None);
        let both = FormKeys::new(&KeyMaterial::sample(2), Some(&KeyMaterial::sample(1)));
        assert!(both.is_proof(SHOWN, &old.proof(SHOWN)));
        assert!(!old.is_proof(SHOWN, &both.proof(SHOWN)));
    }

    #[rstest]
    #[case::own(&[("sec-fetch-site", "same-origin"), ("origin", "null")], false)]
    #[case::typed(&[("sec-fetch-site", "none")], false)]
    #[case::other_site(&[("sec-fetch-site", "cross-site"), ("origin", "https://id.example.com")], true)]
    #[case::other_host(&[("sec-fetch-site", "same-site")], true)]
    #[case::unknown_word(&[("sec-fetch-site", "x")], true)]
    #[case::old_browser(&[("origin", "https://id.example.com")], false)]
    #[case::old_browser_without_referrer(&[("origin", "null")], false)]
    #[case::old_browser_elsewhere(&[("origin", "https://evil.example.com")], true)]
    #[case::other_port(&[("origin", "https://id.example.com:8443")], true)]
    #[case::silent(&[], false)]
    fn the_browser_says_who_sent_a_form(
        #[case] sent: &[(&'static str, &str)],
        #[case] is_other: bool,
    ) {
        let headers: HeaderMap = sent
            .iter()
            .map(|(name, value)| {
                (
                    axum::http::HeaderName::from_static(name),
                    value.parse().unwrap(),
                )
            })
            .collect();
        assert_eq!(
            is_of_another_site(&headers, "https://id.example.com"),
            is_other
        );
    }
}
