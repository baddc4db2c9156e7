//! What a person allows a client: scopes, and the claims about the person that these release.
//!
//! A Scope can be changed to release more claims. The person did not allow those, so the names of the claims are kept
//! with the consent and with each grant: what was not shown needs a new consent.

/// The first character of a claim in the kept text. No scope value has it (RFC 6749 section 3.3).
const CLAIM: char = '"';

/// What a person allows a client.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed<'a> {
    /// The scope values.
    pub scopes: Vec<&'a str>,
    /// The names of the claims.
    pub claims: Vec<&'a str>,
}

impl<'a> Allowed<'a> {
    /// Reads the text of a kept consent.
    pub fn from_stored(text: &'a str) -> Self {
        let mut allowed = Self::default();
        for word in text.split(' ').filter(|word| !word.is_empty()) {
            match word.strip_prefix(CLAIM) {
                Some(claim) => allowed.claims.push(claim),
                None => allowed.scopes.push(word),
            }
        }
        allowed
    }

    /// Returns the text in which a consent is kept: the scopes and then the claims, which begin with a quotation mark,
    /// separated by spaces.
    pub fn to_stored(&self) -> String {
        words(&self.scopes, &self.claims).join(" ")
    }

    /// Returns whether these scopes and claims need no further consent.
    pub fn covers(&self, scopes: &[&str], claims: &[&str]) -> bool {
        scopes.iter().all(|scope| self.scopes.contains(scope))
            && claims.iter().all(|claim| self.claims.contains(claim))
    }
}

/// Returns one word for each scope and each claim, none of which is a word of the other kind.
pub(super) fn words(scopes: &[&str], claims: &[&str]) -> Vec<String> {
    let scopes = scopes.iter().map(|scope| (*scope).to_owned());
    let claims = claims.iter().map(|claim| format!("{CLAIM}{claim}"));
    scopes.chain(claims).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_consent_reads_back_and_covers_only_what_it_names() {
        let allowed = Allowed {
            scopes: vec!["openid", "email"],
            claims: vec!["email", "department"],
        };
        let text = allowed.to_stored();
        assert_eq!(text, "openid email \"email \"department");
        let read = Allowed::from_stored(&text);
        assert_eq!(read, allowed);
        assert!(read.covers(&["email"], &["email"]));
        assert!(!read.covers(&["department"], &[]));
        assert!(!read.covers(&["email"], &["openid"]));
        assert_eq!(Allowed::from_stored(""), Allowed::default());
    }
}
