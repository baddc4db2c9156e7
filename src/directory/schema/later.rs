//! Fields and values that other servers have, or that a later release will have. The message says so, since "did you
//! mean" would suggest a wrong value.

use crate::directory::problem::suggest::fold;

/// Values that a field will have in a later release.
struct Later {
    field: &'static str,
    /// A value that the field has now. It tells the field from others with the same name.
    now: &'static str,
    /// The values, each with the name that OAuth or people give it.
    values: &'static [(&'static str, &'static str)],
}

const LATER: [Later; 1] = [Later {
    field: "grantTypes",
    now: "ClientCredentials",
    values: &[
        ("DeviceCode", "urn:ietf:params:oauth:grant-type:device_code"),
        (
            "TokenExchange",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ),
        ("JWTBearer", "urn:ietf:params:oauth:grant-type:jwt-bearer"),
    ],
}];

/// Grants that RFC 9700 section 2 forbids or advises against.
const UNSAFE_GRANTS: [&str; 2] = ["implicit", "password"];

/// Fields of a later release, about providers of sign-in, other credentials, and clients without a secret.
const FIELDS: [&str; 6] = [
    "identityProviders",
    "passkeys",
    "passwordHashSecretRef",
    "privateKeyJwt",
    "senderConstraint",
    "serviceAccounts",
];

/// Returns why a value of a field is not available, if it belongs to a later release or is an unsafe grant. `choices`
/// are the values that the field has now.
pub(super) fn value(field: &str, choices: &[&str], text: &str) -> Option<String> {
    let same = |name: &str| fold(name) == fold(text);
    if field == "grantTypes" && UNSAFE_GRANTS.iter().any(|name| same(name)) {
        return Some("is not supported, since RFC 9700 advises against it".to_owned());
    }
    let later = LATER
        .iter()
        .find(|later| later.field == field && choices.contains(&later.now))?;
    let mut values = later
        .values
        .iter()
        .filter(|(name, _)| !choices.contains(name));
    let is_later = values.any(|(name, registered)| same(name) || same(registered));
    is_later.then(|| "is not available yet, a later release will have it".to_owned())
}

/// Returns whether a field belongs to a later release.
pub(super) fn is_field(name: &str) -> bool {
    FIELDS.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_belongs_to_the_field_that_will_have_it() {
        let later = "is not available yet, a later release will have it";
        let now = ["ClientCredentials"];
        let registered = "urn:ietf:params:oauth:grant-type:device_code";
        for written in ["DeviceCode", "device_code", registered] {
            let told = value("grantTypes", &now, written);
            assert_eq!(told.as_deref(), Some(later), "{written}");
        }
        assert_eq!(value("grantTypes", &["Other"], "DeviceCode"), None);
        assert_eq!(value("type", &now, "DeviceCode"), None);
    }
}
