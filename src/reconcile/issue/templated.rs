//! What a template puts into a Secret, and takes out again.
//!
//! An annotation remembers which names came from the template, as `kubectl apply` does: what others put
//! beside them is never touched, and what the template no longer names does not stay behind. Absent: the
//! operator's own keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::directory::Desired;
use crate::directory::template::{Values, is_free, is_free_label, is_own, render};
use crate::reconcile::secret::SecretObject;
use crate::resources::{ANNOTATION_TEMPLATE, Template};

/// Names that came from the template.
#[derive(Serialize, Deserialize, Default, Debug, PartialEq, Eq)]
#[serde(default)]
struct Named {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    data: Vec<String>,
}

impl Named {
    fn by(template: &Template) -> Self {
        let names = |map: &BTreeMap<String, String>| map.keys().cloned().collect();
        Self {
            labels: names(&template.labels),
            annotations: names(&template.annotations),
            data: names(&template.data),
        }
    }

    /// What the Secret remembers. Others can write there too: it may not name what no template can.
    fn remembered(secret: &SecretObject, desired: &Desired) -> Self {
        let text = secret.annotation(ANNOTATION_TEMPLATE);
        let mut named: Self = text
            .and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default();
        let (kind, alias) = (desired.owner.kind, desired.key_alias.as_deref());
        named.labels.retain(|name| is_free_label(name));
        named.annotations.retain(|name| is_free(name));
        named.data.retain(|key| !is_own(kind, alias, key));
        named
    }

    fn written(&self) -> Option<String> {
        let is_empty = *self == Self::default();
        (!is_empty)
            .then(|| serde_json::to_string(self).ok())
            .flatten()
    }
}

/// Makes a Secret say what the template of its owner says.
pub(super) fn fill(secret: &mut SecretObject, desired: &Desired, values: &Values<'_>) {
    let before = Named::remembered(secret, desired);
    let template = desired.template.as_deref();
    let now = template.map(Named::by).unwrap_or_default();
    for name in before.labels.iter().filter(|it| !now.labels.contains(it)) {
        secret.set_label(name, None);
    }
    for name in (before.annotations.iter()).filter(|it| !now.annotations.contains(it)) {
        secret.set_annotation(name, None);
    }
    for key in before.data.iter().filter(|it| !now.data.contains(it)) {
        secret.remove_key(key);
    }
    if let Some(template) = template {
        for (name, value) in &template.labels {
            secret.set_label(name, Some(value));
        }
        for (name, value) in &template.annotations {
            secret.set_annotation(name, Some(value));
        }
        for (key, text) in &template.data {
            secret.set_text(key, render(desired.owner.kind, text, values).expose());
        }
    }
    if secret.annotation(ANNOTATION_TEMPLATE).is_some() || now != Named::default() {
        secret.set_annotation(ANNOTATION_TEMPLATE, now.written().as_deref());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::secret_data::filled;
    use super::super::tests::{desired, owner, target};
    use super::*;
    use crate::tokens::SecretString;

    fn templated(template: Value) -> Desired {
        Desired {
            template: Some(Arc::new(serde_json::from_value(template).unwrap())),
            ..desired()
        }
    }

    fn with(secret: &SecretObject, desired: &Desired, token: &str) -> SecretObject {
        filled(secret, desired, &SecretString::from(token.to_owned()))
    }

    fn empty() -> SecretObject {
        SecretObject::placeholder(&target().secret_key(), &owner(), Template::OPAQUE)
    }

    fn texts(secret: &SecretObject, keys: &[&str]) -> Vec<Option<String>> {
        let text = |key: &&str| secret.text(key).map(|text| text.expose().to_owned());
        keys.iter().map(text).collect()
    }

    #[test]
    fn a_template_is_filled_in_beside_the_operators_own_keys() {
        let wanted = templated(json!({
            "labels": {"team": "shop"}, "annotations": {"reloader.stakater.com/match": "true"},
            "data": {".netrc": "login $(client-id) password $(token)", "url": "$(token-url)"},
        }));
        let secret = with(&empty(), &wanted, "t1");
        assert_eq!(secret.label("team"), Some("shop"));
        assert_eq!(
            secret.annotation("reloader.stakater.com/match"),
            Some("true")
        );
        assert_eq!(
            texts(&secret, &["token", ".netrc", "url"]),
            [
                "t1",
                "login team.app password t1",
                "https://id.example.com/connect/token"
            ]
            .map(|text| Some(text.to_owned()))
        );
        assert_eq!(
            with(&secret, &wanted, "t1"),
            secret,
            "the second time nothing changes"
        );
        let rotated = with(&secret, &wanted, "t2");
        assert_eq!(
            texts(&rotated, &[".netrc"]),
            [Some("login team.app password t2".to_owned())]
        );
    }

    #[test]
    fn what_the_template_no_longer_names_goes_and_what_others_set_stays() {
        let first = templated(json!({
            "labels": {"a": "1", "b": "1"}, "annotations": {"c": "1"}, "data": {"d": "1", "e": "1"},
        }));
        let mut secret = with(&empty(), &first, "t");
        secret.set_label("theirs", Some("x"));
        secret.set_annotation("theirs", Some("x"));
        secret.set_text("theirs", "x");
        let second = templated(json!({ "labels": {"b": "2"}, "data": {"e": "2"} }));
        let secret = with(&secret, &second, "t");
        assert_eq!(
            ["a", "b", "theirs"].map(|name| secret.label(name)),
            [None, Some("2"), Some("x")]
        );
        assert_eq!(
            ["c", "theirs"].map(|name| secret.annotation(name)),
            [None, Some("x")]
        );
        assert_eq!(
            texts(&secret, &["d", "e", "theirs"]),
            [None, Some("2".to_owned()), Some("x".to_owned())]
        );
        let bare = with(&secret, &desired(), "t");
        assert_eq!(bare.annotation(ANNOTATION_TEMPLATE), None);
        assert_eq!(
            texts(&bare, &["e", "token", "theirs"]),
            [None, Some("t".to_owned()), Some("x".to_owned())]
        );
        assert_eq!(bare.label("theirs"), Some("x"));
    }

    /// Whoever may write the Secret may write what it remembers.
    #[test]
    fn what_is_remembered_takes_nothing_that_no_template_could_have_put_there() {
        let lie = json!({
            "labels": ["symbolon.dev/managed", "app.kubernetes.io/managed-by"],
            "annotations": ["symbolon.dev/owner", "kubectl.kubernetes.io/last-applied-configuration"],
            "data": ["token", "issuer"],
        });
        let mut secret = with(&empty(), &desired(), "t");
        secret.set_label("app.kubernetes.io/managed-by", Some("Flux"));
        let before = secret.clone();
        for text in [lie.to_string().as_str(), "no JSON", "[1]"] {
            secret.set_annotation(ANNOTATION_TEMPLATE, Some(text));
            assert_eq!(with(&secret, &desired(), "t"), before, "{text}");
        }
    }

    #[test]
    fn a_placeholder_holds_nothing_and_has_the_type() {
        let secret =
            SecretObject::placeholder(&target().secret_key(), &owner(), "servicebinding.io/oauth2");
        assert!(secret.has_type("servicebinding.io/oauth2") && !secret.has_type(Template::OPAQUE));
        assert!(!secret.expose().contains_key("data"));
    }
}
