//! Names of claims and groups. The patterns are those of the definitions, so that the API server and our own admission
//! agree.

use super::pattern::Pattern;
use crate::resources::CLAIM_FORM;

static CLAIM: Pattern = Pattern::new(CLAIM_FORM);

/// Returns whether a text can be the name of a claim or attribute.
pub(in crate::directory) fn is_claim(name: &str) -> bool {
    CLAIM.matches(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_has_a_plain_name() {
        for name in [
            "department",
            "_x",
            "https://example.com/claims/tier",
            "a.b-c",
        ] {
            assert!(is_claim(name), "{name}");
        }
        for name in ["", "1st", "a b", "a\n", "größe"] {
            assert!(!is_claim(name), "{name:?}");
        }
    }
}
