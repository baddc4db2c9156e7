//! The labels and annotations that the objects of an Identity inherit from it, as far as the installation allows. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::directory::settings::Settings;
use crate::directory::template::metadata_faults;
use crate::directory::template::secret_metadata::MetadataField;
use crate::resources::{
    InheritedMetadata, RESERVED_INHERITED_ANNOTATIONS, RESERVED_INHERITED_LABELS,
};

/// Returns the part of an Identity's `spec.inheritedMetadata` that the installation allows, and the path and the
/// message of each rule that the spec breaks.
pub(super) fn judged(
    spec: &InheritedMetadata,
    settings: &Settings,
) -> (Arc<InheritedMetadata>, Vec<(String, &'static str)>) {
    let reserved = [RESERVED_INHERITED_LABELS, RESERVED_INHERITED_ANNOTATIONS];
    let wrong = metadata_faults(&spec.labels, &spec.annotations, reserved);
    let path = |field| format!("/spec/inheritedMetadata/{field}");
    let wrong = wrong
        .map(|(field, message)| (path(field), message))
        .collect();
    if settings.serves_only {
        return (Arc::default(), wrong);
    }
    let only = |field, given: &BTreeMap<String, String>| {
        let allowed = settings.inherited_metadata.list(field);
        let given = given.iter().filter(|(key, _)| allowed.has(key));
        given
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    };
    let inherited = InheritedMetadata {
        labels: only(MetadataField::Labels, &spec.labels),
        annotations: only(MetadataField::Annotations, &spec.annotations),
    };
    (Arc::new(inherited), wrong)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::template::secret_metadata::InstallationMetadata;

    fn spec(json: serde_json::Value) -> InheritedMetadata {
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn objects_inherit_only_what_the_installation_allows() {
        let spec = spec(serde_json::json!({
            "labels": {"team": "a", "cost": "b"}, "annotations": {"x.example.com/y": "c"},
        }));
        let lists = r#"{"allowedLabels": ["team"], "allowedAnnotations": ["x.example.com/*"]}"#;
        let settings = Settings {
            inherited_metadata: Arc::new(InstallationMetadata::parse(lists).unwrap()),
            ..Settings::default()
        };
        let (inherited, wrong) = judged(&spec, &settings);
        assert!(wrong.is_empty());
        assert_eq!(
            inherited.labels,
            BTreeMap::from([("team".into(), "a".into())])
        );
        assert_eq!(inherited.annotations.len(), 1);
        let (all, _) = judged(&spec, &Settings::default());
        assert_eq!(all.labels.len(), 2, "without lists every key is allowed");
        let serving = Settings {
            serves_only: true,
            ..Settings::default()
        };
        assert_eq!(*judged(&spec, &serving).0, InheritedMetadata::default());
    }

    #[test]
    fn keys_of_kubernetes_and_symbolon_and_keys_that_are_no_names_are_refused() {
        for key in [
            "symbolon.dev/managed",
            "app.kubernetes.io/name",
            "x.k8s.io/a",
            "a b",
            "",
        ] {
            for field in ["labels", "annotations"] {
                let spec = spec(serde_json::json!({field: {key: "v"}}));
                let (_, wrong) = judged(&spec, &Settings::default());
                assert_eq!(wrong.len(), 1, "{key:?}");
                assert_eq!(wrong[0].0, format!("/spec/inheritedMetadata/{field}"));
            }
        }
        let spec = spec(serde_json::json!({"labels": {"app.kubernetes.io/part-of": "v"}}));
        assert!(judged(&spec, &Settings::default()).1.is_empty());
    }
}
