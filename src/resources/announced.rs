//! The fields and values that are not announced yet, and their removal from the schemas.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};

use super::extent::Extent;
use super::kind::Kind;

/// The fields about people, as paths in the spec of a kind.
const FIELDS: [(Kind, &[&str]); 3] = [
    (
        Kind::Identity,
        &[
            "login",
            "theme",
            "access.interactiveClients",
            "access.skipConsent",
            "limits.users",
            "limits.releasableClaims",
            "tokens.idTokenLifetime",
            "tokens.authorizationCodeLifetime",
            "tokens.refreshToken",
        ],
    ),
    (Kind::Scope, &["people", "claims"]),
    (
        Kind::OAuthClient,
        &[
            "type",
            "responseTypes",
            "redirectUris",
            "postLogoutRedirectUris",
            "allowedOrigins",
            "backchannelLogout",
            "frontchannelLogout",
            "refreshTokens",
            "pkce",
            "par",
            "consent",
            "users",
            "access",
            "minimumAcr",
            "maxAuthAge",
            "tokens.idTokenLifetime",
            "tokens.idTokenClaims",
        ],
    ),
];

/// The values about people, each with the field that has it or is compared with it.
const VALUES: [(Kind, &str, &str); 3] = [
    (Kind::OAuthClient, "grantTypes", "AuthorizationCode"),
    (Kind::OAuthClient, "grantTypes", "RefreshToken"),
    (Kind::Scope, "value", "groups"),
];

/// Removes from the schema of a kind whatever does not exist in an extent: fields, values, and the rules that read
/// them.
pub(super) fn restrict(kind: Kind, root: &mut JSONSchemaProps, extent: Extent) {
    if extent.has_people() {
        return;
    }
    for (_, fields) in FIELDS.iter().filter(|(of, _)| *of == kind) {
        for field in *fields {
            let path: Vec<&str> = std::iter::once("spec").chain(field.split('.')).collect();
            remove_field(root, &path);
        }
    }
    for (_, field, value) in VALUES.iter().filter(|(of, ..)| *of == kind) {
        remove_value(root, &["spec", field], value);
    }
}

/// Removes a field below a schema, and the rules on the way that read it.
fn remove_field(schema: &mut JSONSchemaProps, path: &[&str]) {
    let read = format!("self.{}", path.join("."));
    retain_rules(schema, |rule| !reads(rule, &read));
    let Some((first, rest)) = path.split_first() else {
        return;
    };
    let Some(properties) = &mut schema.properties else {
        return;
    };
    if !rest.is_empty() {
        if let Some(next) = properties.get_mut(*first) {
            remove_field(next, rest);
        }
        return;
    }
    properties.remove(*first);
    if let Some(required) = &mut schema.required {
        required.retain(|name| name != first);
    }
}

/// Removes a value of the field at a path, and the rules on the way that compare with it.
fn remove_value(schema: &mut JSONSchemaProps, path: &[&str], value: &str) {
    let literal = format!("'{value}'");
    retain_rules(schema, |rule| !rule.contains(&literal));
    let Some((first, rest)) = path.split_first() else {
        let choices = match &mut schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => &mut items.enum_,
            _ => &mut schema.enum_,
        };
        if let Some(choices) = choices {
            choices.retain(|choice| choice.0 != value);
        }
        return;
    };
    let next = schema.properties.as_mut();
    if let Some(next) = next.and_then(|properties| properties.get_mut(*first)) {
        remove_value(next, rest, value);
    }
}

fn retain_rules(schema: &mut JSONSchemaProps, keep: impl Fn(&str) -> bool) {
    if let Some(rules) = &mut schema.x_kubernetes_validations {
        rules.retain(|rule| keep(&rule.rule));
        if rules.is_empty() {
            schema.x_kubernetes_validations = None;
        }
    }
}

/// Returns whether a rule reads this field: its path stands in the rule and does not go on.
fn reads(rule: &str, path: &str) -> bool {
    let ends = |after: &str| {
        let next = after.bytes().next();
        !next.is_some_and(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    rule.match_indices(path)
        .any(|(at, _)| ends(&rule[at + path.len()..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resources::crd_within;
    use crate::resources::extent::PEOPLE;

    fn text(kind: Kind, extent: Extent) -> String {
        serde_json::to_string(&crd_within(kind, extent)).unwrap()
    }

    #[test]
    fn what_is_not_announced_is_neither_a_field_nor_a_value_nor_in_a_rule() {
        for (kind, fields) in FIELDS {
            let (announced, whole) = (text(kind, Extent::Announced), text(kind, Extent::Whole));
            for field in fields {
                let name = field.rsplit('.').next().unwrap();
                let property = format!("\"{name}\":{{");
                assert!(whole.contains(&property), "{kind} has {field}");
                let last_of_its_name = whole.matches(&property).count() == 1;
                if !PEOPLE && last_of_its_name {
                    assert!(!announced.contains(&property), "{kind} shows {field}");
                }
            }
        }
        for (kind, _, value) in VALUES.iter().filter(|_| !PEOPLE) {
            assert!(!text(*kind, Extent::Announced).contains(&format!("'{value}'")));
            assert!(text(*kind, Extent::Whole).contains(&format!("'{value}'")));
        }
    }

    #[test]
    fn a_rule_reads_a_field_and_not_a_longer_one() {
        assert!(reads("has(self.type) && self.type == 'a'", "self.type"));
        assert!(reads("self.type", "self.type"));
        assert!(!reads("self.types.exists(it, it == 'a')", "self.type"));
        assert!(!reads("type(self) == string", "self.type"));
    }
}
