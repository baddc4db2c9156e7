//! Which labels and annotations the template of a Secret may set: a short list, and what the Identity's
//! administrators add to it, as far as the installation allows.
//!
//! A user who may create a ServiceAccessToken is not always allowed to write Secrets, but replicators, Argo CD,
//! Jenkins and many others act on a Secret's labels and annotations. A list of what they act on is never complete, so
//! this list says what is allowed. Not here: labels and annotations that a Secret already has, which are kept.

use std::sync::Arc;

use serde::Deserialize;

use crate::directory::values::listed::Names;
use crate::resources::{DEFAULT_METADATA, FREE_NAMES, RESERVED_DOMAINS, SecretMetadata};

/// Labels or annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MetadataField {
    Labels,
    Annotations,
}

impl MetadataField {
    /// Returns the name of the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    pub(in crate::directory) const fn one(self) -> &'static str {
        match self {
            Self::Labels => "label",
            Self::Annotations => "annotation",
        }
    }

    /// Returns the chart value with the keys that the installation allows.
    pub(in crate::directory) const fn value(self) -> &'static str {
        match self {
            Self::Labels => "secrets.allowedLabels",
            Self::Annotations => "secrets.allowedAnnotations",
        }
    }
}

/// What templates in an installation may set, whatever their Identity allows. The chart's admission policy refuses
/// every write of a Secret with another key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Hash)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct InstallationMetadata {
    allowed_labels: Names,
    allowed_annotations: Names,
}

impl InstallationMetadata {
    /// Reads the lists from JSON, in the form of the chart value `secrets`. A missing list allows every key.
    ///
    /// # Errors
    /// The text is not such an object.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }

    /// Returns the lists of an installation.
    pub const fn new(allowed_labels: Names, allowed_annotations: Names) -> Self {
        Self {
            allowed_labels,
            allowed_annotations,
        }
    }

    pub(in crate::directory) const fn list(&self, field: MetadataField) -> &Names {
        match field {
            MetadataField::Labels => &self.allowed_labels,
            MetadataField::Annotations => &self.allowed_annotations,
        }
    }
}

/// What the templates of an Identity's clients may set: [`DEFAULT_METADATA`] and what the Identity adds, as far as
/// the installation allows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct AllowedMetadata {
    labels: Box<[Box<str>]>,
    annotations: Box<[Box<str>]>,
    installation: Arc<InstallationMetadata>,
}

impl AllowedMetadata {
    /// Reads an Identity's `limits.secretMetadata` for an installation that allows every key.
    pub fn of(spec: &SecretMetadata) -> Self {
        let keys = |keys: &[String]| keys.iter().map(|key| key.as_str().into()).collect();
        Self {
            labels: keys(&spec.labels),
            annotations: keys(&spec.annotations),
            installation: Arc::default(),
        }
    }

    /// Returns the same for an installation that allows only some keys.
    #[must_use]
    pub fn within(self, installation: Arc<InstallationMetadata>) -> Self {
        Self {
            installation,
            ..self
        }
    }

    const fn added(&self, field: MetadataField) -> &[Box<str>] {
        match field {
            MetadataField::Labels => &self.labels,
            MetadataField::Annotations => &self.annotations,
        }
    }

    /// Returns whether a template may set a key: the Identity and the installation must both allow it.
    pub fn allows(&self, field: MetadataField, key: &str) -> bool {
        self.identity_allows(field, key) && self.installation_allows(field, key)
    }

    pub(in crate::directory) fn installation_allows(
        &self,
        field: MetadataField,
        key: &str,
    ) -> bool {
        self.installation.list(field).has(key)
    }

    pub(in crate::directory) fn identity_allows(&self, field: MetadataField, key: &str) -> bool {
        let added = || {
            let mut added = self.added(field).iter();
            added.any(|allowed| covers(allowed, key))
        };
        DEFAULT_METADATA.contains(&key) || (!is_reserved(key) && added())
    }

    /// Lists every allowed key, for people.
    pub(in crate::directory) fn described(&self, field: MetadataField) -> String {
        let added = self.added(field).iter().map(|key| &**key);
        let keys: Vec<&str> = DEFAULT_METADATA.into_iter().chain(added).collect();
        let keys = keys.join(", ");
        let list = self.installation.list(field);
        if list.has_any() {
            return keys;
        }
        let value = field.value();
        match list.entries() {
            [] => format!("{keys}; but the installation's chart value {value} lists no key"),
            entries => format!(
                "{keys}; the installation's chart value {value} lists: {}",
                entries.join(", ")
            ),
        }
    }
}

/// Returns whether `allowed`, a key or `<domain>/*`, covers a key. A domain does not cover domains below it.
fn covers(allowed: &str, key: &str) -> bool {
    match allowed.strip_suffix("/*") {
        Some(domain) => key.split_once('/').is_some_and(|(of, _)| of == domain),
        None => allowed == key,
    }
}

/// Returns whether a key is in a domain of Kubernetes or Symbolon, which templates never may set.
pub fn is_reserved(key: &str) -> bool {
    let Some((domain, _)) = key.split_once('/') else {
        return false;
    };
    let domain = domain.to_ascii_lowercase();
    let is_within = |reserved: &&str| {
        domain
            .strip_suffix(reserved)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    !FREE_NAMES.contains(&key) && RESERVED_DOMAINS.iter().any(is_within)
}

#[cfg(test)]
mod tests {
    use super::*;

    use MetadataField::{Annotations, Labels};

    fn allowing(labels: &[&str], annotations: &[&str]) -> AllowedMetadata {
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        AllowedMetadata::of(&SecretMetadata {
            labels: keys(labels),
            annotations: keys(annotations),
        })
    }

    #[test]
    fn every_template_may_set_a_few_keys_that_no_controller_obeys() {
        let none = AllowedMetadata::default();
        for key in DEFAULT_METADATA {
            assert!(
                none.allows(Labels, key) && none.allows(Annotations, key),
                "{key}"
            );
        }
    }

    /// Keys by which others find, copy, prune or obey a Secret, and keys that only resemble allowed ones.
    #[test]
    fn nothing_else_may_be_set_unless_the_administrators_say_so() {
        let none = AllowedMetadata::default();
        for key in [
            "argocd.argoproj.io/secret-type",
            "replicator.v1.mittwald.de/replicate-to",
            "reflector.v1.k8s.emberstack.com/reflection-auto-enabled",
            "jenkins.io/credentials-type",
            "strimzi.io/cluster",
            "cnpg.io/reload",
            "cnpg.io/cluster",
            "istio/multiCluster",
            "grafana_dashboard",
            "owner",
            "velero.io/exclude-from-backup",
            "sealedsecrets.bitnami.com/managed",
            "reloader.stakater.com/search",
            "app.kubernetes.io/instance",
            "app.kubernetes.io/managed-by",
            "kubernetes.io/service-account.name",
            "kubectl.kubernetes.io/last-applied-configuration",
            "symbolon.dev/managed",
            "App",
            "TEAM",
            "apps",
            "ap",
            "app/",
            "/app",
            "x/app",
            "app.kubernetes.io/part-of/x",
            "APP.kubernetes.io/part-of",
            "app.kubernetes.io/Part-Of",
            "app\u{200b}",
            "\u{430}pp",
            "$(token)",
            "app ",
            "*",
            "",
        ] {
            assert!(
                !none.allows(Labels, key) && !none.allows(Annotations, key),
                "{key:?}"
            );
        }
    }

    #[test]
    fn administrators_add_keys_and_whole_domains_for_labels_and_annotations_apart() {
        let allowed = allowing(
            &["owner", "jenkins.io/credentials-type"],
            &["replicator.v1.mittwald.de/*"],
        );
        assert!(allowed.allows(Labels, "owner") && !allowed.allows(Annotations, "owner"));
        assert!(allowed.allows(Labels, "jenkins.io/credentials-type"));
        assert!(!allowed.allows(Labels, "jenkins.io/credentials-description"));
        assert!(allowed.allows(Annotations, "replicator.v1.mittwald.de/replicate-to"));
        for other in [
            "v1.mittwald.de/x",
            "x.replicator.v1.mittwald.de/x",
            "replicator.v1.mittwald.de",
            "replicator.v1.mittwald.dex/x",
        ] {
            assert!(!allowed.allows(Annotations, other), "{other}");
        }
    }

    /// An Identity may have been stored before its definition refused such keys.
    #[test]
    fn keys_of_kubernetes_and_symbolon_cannot_be_allowed() {
        let keys = [
            "symbolon.dev/*",
            "symbolon.dev/managed",
            "x.symbolon.dev/*",
            "kubernetes.io/*",
            "kubectl.kubernetes.io/*",
            "app.kubernetes.io/*",
            "k8s.io/x",
            "cluster.x-k8s.io/cluster-name",
            "*",
        ];
        let allowed = allowing(&keys, &keys);
        for key in [
            "symbolon.dev/managed",
            "symbolon.dev/owner",
            "x.symbolon.dev/a",
            "kubernetes.io/service-account.name",
            "kubectl.kubernetes.io/last-applied-configuration",
            "app.kubernetes.io/managed-by",
            "k8s.io/x",
            "cluster.x-k8s.io/cluster-name",
            "owner",
        ] {
            assert!(
                !allowed.allows(Labels, key) && !allowed.allows(Annotations, key),
                "{key}"
            );
        }
        assert!(allowed.allows(Labels, "app.kubernetes.io/part-of"));
        assert!(!is_reserved("notkubernetes.io/x") && !is_reserved("team"));
    }

    fn installation(json: &str) -> Arc<InstallationMetadata> {
        Arc::new(InstallationMetadata::parse(json).unwrap())
    }

    #[test]
    fn a_key_is_allowed_only_where_both_the_identity_and_the_installation_allow_it() {
        let identity = || allowing(&["a.example.com/*", "owner"], &["a.example.com/*", "owner"]);
        for (lists, label, annotation) in [
            // Without a list the installation allows every key.
            ("{}", true, true),
            (
                r#"{"allowedLabels": ["*"], "allowedAnnotations": []}"#,
                true,
                false,
            ),
            (r#"{"allowedLabels": ["team"]}"#, false, true),
            (
                r#"{"allowedLabels": ["a.example.com/x"], "allowedAnnotations": ["b.example.com/*"]}"#,
                true,
                false,
            ),
            (
                r#"{"allowedLabels": ["a.example.com/*"], "allowedAnnotations": ["a.*"]}"#,
                true,
                true,
            ),
            (
                r#"{"allowedLabels": ["a.example.com/y*"], "allowedAnnotations": ["A.example.com/x"]}"#,
                false,
                false,
            ),
        ] {
            let allowed = identity().within(installation(lists));
            let told = [Labels, Annotations].map(|field| allowed.allows(field, "a.example.com/x"));
            assert_eq!(told, [label, annotation], "{lists}");
        }
        let all = identity().within(installation(r#"{"allowedLabels": ["*"]}"#));
        assert!(
            !all.allows(Labels, "b.example.com/x"),
            "the Identity does not allow it"
        );
    }

    /// The chart's admission policy refuses the other keys too.
    #[test]
    fn an_installation_may_allow_fewer_keys_than_every_template_has() {
        let allowed =
            AllowedMetadata::default().within(installation(r#"{"allowedLabels": ["app"]}"#));
        assert!(allowed.allows(Labels, "app") && !allowed.allows(Labels, "team"));
        assert!(allowed.allows(Annotations, "team"));
    }

    #[test]
    fn a_list_of_the_installation_with_a_typo_is_refused() {
        let error = InstallationMetadata::parse(r#"{"labels": []}"#).unwrap_err();
        assert!(error.contains("unknown field `labels`"), "{error}");
    }

    #[test]
    fn what_is_allowed_is_described_with_the_lists_of_the_installation() {
        let described = |lists| {
            allowing(&["owner"], &[])
                .within(installation(lists))
                .described(Labels)
        };
        let all = "app, app.kubernetes.io/component, app.kubernetes.io/part-of, env, reloader.stakater.com/match, team, owner";
        assert_eq!(described("{}"), all);
        assert_eq!(
            described(r#"{"allowedLabels": ["app", "x/*"]}"#),
            format!("{all}; the installation's chart value secrets.allowedLabels lists: app, x/*")
        );
        assert_eq!(
            described(r#"{"allowedLabels": []}"#),
            format!("{all}; but the installation's chart value secrets.allowedLabels lists no key")
        );
    }
}
