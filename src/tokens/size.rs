//! The length of an access token, computed before any of it is made.
//!
//! Each list of names in a token is bounded; their product is not. A token that is too long for every endpoint must not
//! be issued. Making it only to measure it would cost too much, so its length is added up from the parts.

use super::jwt;

/// An access token without any text that users choose: the longest times, the longest kind, an ID.
const EMPTY: &str = concat!(
    r#"{"iss":"","sub":"","aud":[],"client_id":"","client_uid":"","#,
    r#""iat":-377705023201,"nbf":-377705023201,"exp":-377705023201,"#,
    r#""jti":"AAAAAAAAAAAAAAAA","scope":[],"principal_kind":"client","client_system_user":""}"#
);
/// Two quotes and a comma.
const LISTED: usize = 3;

/// The claims of an access token without its audiences and scopes.
#[derive(Clone, Copy, Debug)]
pub struct Outline<'a> {
    /// `iss`.
    pub issuer: &'a str,
    /// `sub`.
    pub subject: &'a str,
    /// `client_id`.
    pub client_id: &'a str,
    /// `client_uid`.
    pub client_uid: &'a str,
    /// `client_system_user`.
    pub system_user: Option<&'a str>,
}

impl Outline<'_> {
    /// Returns the most bytes that a token with these audiences and scopes can have, whichever key signs it.
    pub fn token_length<'s>(
        &self,
        audiences: impl Iterator<Item = &'s str>,
        scopes: impl Iterator<Item = &'s str>,
    ) -> usize {
        let names = [self.issuer, self.subject, self.client_id, self.client_uid];
        let fixed = names.into_iter().chain(self.system_user).map(json_length);
        let listed = audiences.chain(scopes).map(listed_length);
        jwt::longest(EMPTY.len() + fixed.chain(listed).sum::<usize>())
    }
}

/// Returns the most bytes that a name in a list adds to a token's payload.
pub fn listed_length(name: &str) -> usize {
    json_length(name) + LISTED
}

/// Returns the length of a text in a JSON string (RFC 8259 section 7), in bytes and without its quotes.
fn json_length(text: &str) -> usize {
    let length = |byte: u8| match byte {
        b'"' | b'\\' => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(length).sum()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::tokens::claims::{Audience, NoOtherKind, PrincipalKind, Scopes};
    use crate::tokens::{AccessTokenClaims, Algorithm};

    proptest! {
        #[test]
        fn a_token_is_never_longer_than_computed(
            texts in proptest::collection::vec("\\PC{1,20}|[\"\\\\\u{1}\n]{1,4}", 4), system_user in proptest::option::of("[a-z:\"]{1,20}"),
            audiences in proptest::collection::vec("[!-~]{1,40}", 1..6), scopes in proptest::collection::vec("[!-~&&[^\"\\\\]]{1,30}", 0..9),
            exp in prop_oneof![Just(Timestamp::MIN), Just(Timestamp::MAX), Just(Timestamp::UNIX_EPOCH)],
            is_list in any::<bool>(), algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
            typ in prop::sample::select(jwt::TokenType::OF_ACCESS_TOKENS.to_vec()),
        ) {
            let outline = Outline {
                issuer: &texts[0], subject: &texts[1], client_id: &texts[2], client_uid: &texts[3],
                system_user: system_user.as_deref(),
            };
            let said = outline.token_length(audiences.iter().map(String::as_str), scopes.iter().map(String::as_str));
            let many = scopes.len();
            let claims = AccessTokenClaims {
                iss: texts[0].clone(), sub: texts[1].clone(), client_id: texts[2].clone(), client_uid: texts[3].clone(),
                aud: match &audiences[..] {
                    [one] => Audience::Single(one.clone()),
                    _ => Audience::Many(audiences),
                },
                iat: exp, nbf: exp, exp, jti: "A".repeat(16),
                scope: if is_list { Scopes::List(scopes) } else { Scopes::Text(scopes) },
                principal_kind: PrincipalKind::Client,
                client_system_user: system_user.clone(),
                no_other_kind: NoOtherKind,
            };
            let header = jwt::encode_header(algorithm, typ, &"k".repeat(jwt::KID_LENGTH));
            let mut token = jwt::signing_input(&header, &claims.to_json().unwrap(), jwt::MAX_SIGNATURE_LENGTH);
            jwt::append_signature(&mut token, &[0; jwt::MAX_SIGNATURE_LENGTH]);
            prop_assert!(token.len() <= said, "{} bytes, and {said} were said", token.len());
            // Nor does the bound refuse much that would fit: it only adds optional claims, digits and commas.
            prop_assert!(said <= token.len() + 150 + 4 * many, "{} bytes, and {said} were said", token.len());
        }
    }

    #[test]
    fn the_length_in_json_is_what_serde_json_writes_or_more() {
        for text in [
            "",
            "a",
            "\"",
            "\\",
            "\n",
            "\u{1}",
            "\u{7f}",
            "é",
            "𝄞",
            "a\"b\\c\td",
        ] {
            let written = serde_json::to_string(text).unwrap().len() - 2;
            assert!(json_length(text) >= written, "{text:?}");
        }
    }
}
