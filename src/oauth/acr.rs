//! Authentication context classes (`acr`, OpenID Connect Core section 2): how strongly a person has signed in.
//!
//! Each class includes the weaker ones: a person who used a passkey also meets `mfa`.

use crate::resources::MinimumAcr;

/// A class, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Acr {
    /// A password alone.
    Pwd,
    /// Two factors.
    Mfa,
    /// Phishing-resistant: a passkey with user verification (OpenID Connect Extended Authentication Profile ACR Values).
    Phr,
}

impl Acr {
    /// Every class, from the weakest to the strongest.
    pub const ALL: [Self; 3] = [Self::Pwd, Self::Mfa, Self::Phr];

    /// Returns the value that tokens carry unless the client asked by URI.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pwd => "pwd",
            Self::Mfa => "mfa",
            Self::Phr => "phr",
        }
    }

    /// Returns the absolute URI of the class.
    pub const fn uri(self) -> &'static str {
        match self {
            Self::Pwd => "https://symbolon.dev/acr/pwd",
            Self::Mfa => "https://symbolon.dev/acr/mfa",
            Self::Phr => "https://symbolon.dev/acr/phr",
        }
    }

    /// Reads a value of `acr`: a name or a URI.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|class| [class.as_str(), class.uri()].contains(&text))
    }

    /// Returns the class of a sign-in by these methods: values of `amr` (RFC 8176), separated by spaces.
    pub fn of_methods(methods: &str) -> Self {
        let has = |wanted: &[&str]| methods.split(' ').any(|method| wanted.contains(&method));
        // The server takes a key only together with user verification.
        if has(&["hwk", "swk"]) {
            Self::Phr
        } else if has(&["mfa"]) {
            Self::Mfa
        } else {
            Self::Pwd
        }
    }
}

impl From<MinimumAcr> for Acr {
    fn from(minimum: MinimumAcr) -> Self {
        match minimum {
            MinimumAcr::Pwd => Self::Pwd,
            MinimumAcr::Mfa => Self::Mfa,
            MinimumAcr::Phr => Self::Phr,
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn a_class_reads_back_from_its_name_and_its_uri() {
        for class in Acr::ALL {
            assert_eq!(Acr::parse(class.as_str()), Some(class));
            assert_eq!(Acr::parse(class.uri()), Some(class));
        }
        for unknown in ["", "PWD", "0", "urn:mace:incommon:iap:silver"] {
            assert_eq!(Acr::parse(unknown), None, "{unknown}");
        }
    }

    #[rstest]
    #[case::password("pwd", Acr::Pwd)]
    #[case::nothing("", Acr::Pwd)]
    #[case::a_code_in_addition("pwd otp mfa", Acr::Mfa)]
    #[case::a_code_alone("otp", Acr::Pwd)]
    #[case::passkey("swk user", Acr::Phr)]
    #[case::passkey_after_a_password("pwd hwk user mfa", Acr::Phr)]
    #[case::part_of_a_word("mfax", Acr::Pwd)]
    fn the_methods_decide_the_class(#[case] methods: &str, #[case] class: Acr) {
        assert_eq!(Acr::of_methods(methods), class);
    }
}
