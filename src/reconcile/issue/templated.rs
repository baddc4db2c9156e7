//! Fills a template into a Secret, and removes what the template no longer names.
//!
//! As `kubectl apply` does, an annotation remembers the names that came from the template. So the operator never
//! touches a label, an annotation or a key that others set. Not here: the operator's own keys.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::directory::Desired;
use crate::directory::template::secret_metadata::{MetadataField, is_reserved};
use crate::directory::template::{Values, is_own, render};
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{ANNOTATION_TEMPLATE, Template};

/// The names that came from the template.
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
    /// Returns the names of a template that are on the Secret once it is filled: those that may be set now, and those
    /// that were set while they were allowed.
    fn by(template: &Template, desired: &Desired, before: &Self, secret: &SecretObject) -> Self {
        let is_set = |field, key: &String| match field {
            MetadataField::Labels => before.labels.contains(key) && secret.label(key).is_some(),
            MetadataField::Annotations => {
                before.annotations.contains(key) && secret.annotation(key).is_some()
            }
        };
        let names = |field, map: &BTreeMap<String, String>| {
            let keys = map.keys();
            keys.filter(|key| desired.metadata.allows(field, key) || is_set(field, key))
                .cloned()
                .collect()
        };
        Self {
            labels: names(MetadataField::Labels, &template.labels),
            annotations: names(MetadataField::Annotations, &template.annotations),
            data: template.data.keys().cloned().collect(),
        }
    }

    /// Returns the names in the Secret's annotation; `None` if it cannot be decoded. Others can write it too, so labels
    /// and annotations that no template can set are left out.
    fn parsed(secret: &SecretObject) -> Option<Self> {
        let mut named: Self = serde_json::from_str(secret.annotation(ANNOTATION_TEMPLATE)?).ok()?;
        named.labels.retain(|name| !is_reserved(name));
        named.annotations.retain(|name| !is_reserved(name));
        Some(named)
    }

    /// Returns the names that the Secret remembers, without keys that no template can set.
    fn remembered(secret: &SecretObject, desired: &Desired) -> Self {
        let mut named = Self::parsed(secret).unwrap_or_default();
        let (kind, alias) = (desired.owner.kind, desired.key_alias.as_deref());
        named.data.retain(|key| !is_own(kind, alias, key));
        named
    }

    /// Returns the names of both.
    fn and(mut self, more: Self) -> Self {
        let add = |names: &mut Vec<String>, more: Vec<String>| {
            let new: Vec<String> = more.into_iter().filter(|it| !names.contains(it)).collect();
            names.extend(new);
            names.sort_unstable();
        };
        add(&mut self.labels, more.labels);
        add(&mut self.annotations, more.annotations);
        add(&mut self.data, more.data);
        self
    }

    fn written(&self) -> Option<String> {
        let is_empty = *self == Self::default();
        (!is_empty)
            .then(|| serde_json::to_string(self).ok())
            .flatten()
    }
}

/// Fills the owner's template into a Secret. Never writes a label or annotation that the Identity or the installation
/// does not allow. One that was set while it was allowed stays as it is.
pub(super) fn fill(secret: &mut SecretObject, desired: &Desired, values: &Values<'_>) {
    let before = Named::remembered(secret, desired);
    let template = desired.template.as_deref();
    let now = template
        .map(|template| Named::by(template, desired, &before, secret))
        .unwrap_or_default();
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
        set_metadata(secret, template, desired);
        for (key, text) in &template.data {
            secret.set_text(key, render(desired.owner.kind, text, values).expose());
        }
    }
    if secret.annotation(ANNOTATION_TEMPLATE).is_some() || now != Named::default() {
        secret.set_annotation(ANNOTATION_TEMPLATE, now.written().as_deref());
    }
}

/// Fills the labels and annotations of the owner's template into a Secret, and removes nothing. An admission policy may
/// require them in every write, also in one that only creates or fences the Secret.
pub(super) fn fill_metadata(secret: &mut SecretObject, desired: &Desired) {
    let Some(template) = desired.template.as_deref() else {
        return;
    };
    let before = Named::remembered(secret, desired);
    let named = before.and(Named {
        data: Vec::new(),
        ..Named::by(template, desired, &Named::default(), secret)
    });
    set_metadata(secret, template, desired);
    if named != Named::default() {
        secret.set_annotation(ANNOTATION_TEMPLATE, named.written().as_deref());
    }
}

/// Returns the Secret without the labels and annotations of its owner's template, for when the API server refuses them;
/// `None` if it has none. No label may hold up a rotation.
pub(super) fn without_marks(secret: &SecretObject) -> Option<SecretObject> {
    let named = Named::parsed(secret)?;
    let mut lean = secret.clone();
    for name in &named.labels {
        lean.set_label(name, None);
    }
    for name in &named.annotations {
        lean.set_annotation(name, None);
    }
    if lean == *secret {
        return None;
    }
    let kept = Named {
        data: named.data,
        ..Named::default()
    };
    lean.set_annotation(ANNOTATION_TEMPLATE, kept.written().as_deref());
    Some(lean)
}

/// Sets the labels and annotations of a template that the Identity and the installation allow.
fn set_metadata(secret: &mut SecretObject, template: &Template, desired: &Desired) {
    let is_allowed = |field, name: &str| desired.metadata.allows(field, name);
    for (name, value) in &template.labels {
        if is_allowed(MetadataField::Labels, name) {
            secret.set_label(name, Some(value));
        }
    }
    for (name, value) in &template.annotations {
        if is_allowed(MetadataField::Annotations, name) {
            secret.set_annotation(name, Some(value));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::super::secret_data::filled;
    use super::super::tests::{desired, owner, target};
    use super::*;
    use crate::directory::template::secret_metadata::{AllowedMetadata, InstallationMetadata};
    use crate::tokens::SecretString;

    fn templated(template: Value) -> Desired {
        allowing(&["a", "b"], &["c"], template)
    }

    /// The Identity allows these labels and annotations in addition to the defaults.
    fn allowing(labels: &[&str], annotations: &[&str], template: Value) -> Desired {
        let allowed = json!({ "labels": labels, "annotations": annotations });
        let allowed = serde_json::from_value(allowed).unwrap();
        Desired {
            template: Some(Arc::new(serde_json::from_value(template).unwrap())),
            metadata: Arc::new(AllowedMetadata::of(&allowed)),
            ..desired()
        }
    }

    /// The Identity allows [`JENKINS`] and [`REPLICATE`], the installation only what these lists contain.
    fn installed(lists: &Value, template: Value) -> Desired {
        let identity = allowing(&[JENKINS], &[REPLICATE], template);
        let installation = InstallationMetadata::parse(&lists.to_string()).unwrap();
        let metadata = (*identity.metadata).clone().within(Arc::new(installation));
        Desired {
            metadata: Arc::new(metadata),
            ..identity
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
    fn a_new_secret_has_the_metadata_of_the_template_before_it_holds_a_token() {
        let wanted = templated(json!({
            "labels": {"team": "shop", "other": "x"}, "annotations": {"c": "1"}, "data": {"url": "$(token-url)"},
        }));
        let mut secret = empty();
        fill_metadata(&mut secret, &wanted);
        assert_eq!(secret.label("team"), Some("shop"));
        assert_eq!(
            secret.label("other"),
            None,
            "the Identity does not allow it"
        );
        assert_eq!(secret.annotation("c"), Some("1"));
        // The list of data names keys that the Secret has, and it has none yet.
        assert_eq!(
            secret.annotation(ANNOTATION_TEMPLATE),
            Some(r#"{"labels":["team"],"annotations":["c"]}"#)
        );
        assert_eq!(texts(&secret, &["url", "token"]), [None, None]);
        assert!(secret.is_placeholder());
        // Filled later, it is as if it had been filled at once; what the template no longer names is removed.
        assert_eq!(with(&secret, &wanted, "t"), with(&empty(), &wanted, "t"));
        let fewer = with(
            &secret,
            &templated(json!({"labels": {"team": "shop"}})),
            "t",
        );
        assert_eq!(fewer.annotation("c"), None);
    }

    #[test]
    fn names_removed_from_the_template_are_removed_and_those_of_others_stay() {
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

    const REPLICATE: &str = "replicator.v1.mittwald.de/replicate-to";
    const JENKINS: &str = "jenkins.io/credentials-type";

    fn obeyed(value: &str) -> Value {
        json!({
            "labels": {"team": "shop", JENKINS: value}, "annotations": {REPLICATE: value}, "data": {"url": "$(issuer)"},
        })
    }

    #[test]
    fn a_key_that_is_not_allowed_is_left_out_and_the_rest_of_the_template_works() {
        let secret = with(&empty(), &allowing(&[], &[], obeyed("x")), "t");
        assert_eq!(
            (secret.label(JENKINS), secret.annotation(REPLICATE)),
            (None, None)
        );
        assert_eq!(secret.label("team"), Some("shop"));
        assert_eq!(
            texts(&secret, &["token", "url"]).iter().flatten().count(),
            2
        );
        let remembered = secret.annotation(ANNOTATION_TEMPLATE).unwrap();
        assert_eq!(remembered, r#"{"labels":["team"],"data":["url"]}"#);
    }

    #[test]
    fn keys_appear_when_allowed_and_stay_unchanged_when_no_longer_allowed() {
        let allowed = |value| allowing(&[JENKINS], &["replicator.v1.mittwald.de/*"], obeyed(value));
        let refused = |value| allowing(&[], &[], obeyed(value));
        let secret = with(&empty(), &refused("x"), "t1");
        let secret = with(&secret, &allowed("x"), "t1");
        let marks = |secret: &SecretObject| {
            [secret.label(JENKINS), secret.annotation(REPLICATE)].map(|it| it.map(str::to_owned))
        };
        let x = [Some("x".to_owned()), Some("x".to_owned())];
        assert_eq!(marks(&secret), x);
        let tightened = with(&secret, &refused("x"), "t2");
        assert_eq!(marks(&tightened), x, "rotation goes on");
        assert_eq!(texts(&tightened, &["token"]), [Some("t2".to_owned())]);
        let edited = with(&tightened, &refused("elsewhere"), "t2");
        assert_eq!(marks(&edited), x, "another value is not written");
        assert_eq!(
            marks(&with(&empty(), &refused("x"), "t3")),
            [None, None],
            "a new Secret"
        );
        let removed = with(
            &edited,
            &allowing(&[], &[], json!({"labels": {"team": "shop"}})),
            "t2",
        );
        assert_eq!(
            marks(&removed),
            [None, None],
            "the template no longer names them"
        );
        let mut taken = edited.clone();
        taken.set_label(JENKINS, None);
        taken.set_annotation(REPLICATE, None);
        let taken = with(&taken, &refused("x"), "t2");
        assert_eq!(
            marks(&taken),
            [None, None],
            "what someone removed does not come back"
        );
    }

    /// The admission policy of the chart would refuse the whole write, and nothing would be issued.
    #[test]
    fn a_key_that_the_installation_does_not_allow_is_left_out_and_the_rest_of_the_template_works() {
        let lists = json!({"allowedLabels": ["team"], "allowedAnnotations": []});
        let secret = with(&empty(), &installed(&lists, obeyed("x")), "t");
        assert_eq!(
            (secret.label(JENKINS), secret.annotation(REPLICATE)),
            (None, None)
        );
        assert_eq!(secret.label("team"), Some("shop"));
        assert_eq!(
            texts(&secret, &["token", "url"]).iter().flatten().count(),
            2
        );
        let remembered = secret.annotation(ANNOTATION_TEMPLATE).unwrap();
        assert_eq!(remembered, r#"{"labels":["team"],"data":["url"]}"#);
    }

    /// The admission policy accepts what the Secret already has, as long as the value stays the same.
    #[test]
    fn keys_stay_unchanged_when_the_installation_no_longer_allows_them() {
        let wide = json!({});
        let narrow = json!({"allowedLabels": ["team"], "allowedAnnotations": ["team"]});
        let marks = |secret: &SecretObject| {
            [secret.label(JENKINS), secret.annotation(REPLICATE)].map(|it| it.map(str::to_owned))
        };
        let x = [Some("x".to_owned()), Some("x".to_owned())];
        let secret = with(&empty(), &installed(&wide, obeyed("x")), "t1");
        assert_eq!(marks(&secret), x);
        let narrowed = with(&secret, &installed(&narrow, obeyed("elsewhere")), "t2");
        assert_eq!(marks(&narrowed), x, "another value is not written");
        assert_eq!(
            texts(&narrowed, &["token"]),
            [Some("t2".to_owned())],
            "rotation goes on"
        );
        let widened = with(&narrowed, &installed(&wide, obeyed("y")), "t2");
        assert_eq!(
            marks(&widened),
            [Some("y".to_owned()), Some("y".to_owned())]
        );
    }

    #[test]
    fn a_template_does_not_take_over_labels_and_annotations_that_it_may_not_set() {
        let mut secret = with(&empty(), &desired(), "t");
        secret.set_label(JENKINS, Some("theirs"));
        secret.set_annotation(REPLICATE, Some("theirs"));
        let marks = |secret: &SecretObject| {
            [secret.label(JENKINS), secret.annotation(REPLICATE)].map(|it| it.map(str::to_owned))
        };
        let theirs = marks(&secret);
        let wanted = allowing(&[], &[], obeyed("x"));
        let filled = with(&secret, &wanted, "t");
        assert_eq!(marks(&filled), theirs);
        let bare = with(&filled, &desired(), "t");
        assert_eq!(marks(&bare), theirs);
    }

    #[test]
    fn placeholders_in_keys_and_in_labels_and_annotations_are_plain_text() {
        let wanted = allowing(
            &[],
            &["$(token)"],
            json!({"annotations": {"team": "$(token)"}, "data": {"a": "$(token)"}}),
        );
        let secret = with(&empty(), &wanted, "t");
        assert_eq!(secret.annotation("team"), Some("$(token)"));
    }

    /// A user who may write the Secret may also write what it remembers.
    #[test]
    fn a_forged_annotation_removes_nothing_that_no_template_can_set() {
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
