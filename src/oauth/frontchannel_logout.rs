//! Front-channel logout (OpenID Connect Front-Channel Logout 1.0): a page of the server loads a URI of each client in a
//! frame, and the client ends its own session there.

use super::redirect_uri::with_query;
use crate::tokens::TokenId;

/// Returns the URI to load for a client (section 3). It always names the issuer and the session, so that a client can
/// tell which session ended, and that another site does not only pretend it.
pub fn uri(registered: &str, issuer: &str, session: TokenId) -> String {
    with_query(registered, [("iss", issuer), ("sid", session.as_str())])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_uri_of_a_client_gets_issuer_and_session() {
        let session = "SSSSSSSSSSSSSSSS".parse().unwrap();
        assert_eq!(
            uri("https://rp.example.org/logout?a=1", "https://h/id", session),
            "https://rp.example.org/logout?a=1&iss=https%3A%2F%2Fh%2Fid&sid=SSSSSSSSSSSSSSSS"
        );
    }
}
