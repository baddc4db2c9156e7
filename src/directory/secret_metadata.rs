//! Which labels and annotations the template of a Secret may set: a short list, and what the Identity's administrators
//! add to it.
//!
//! A user who may create a ServiceAccessToken need not be allowed to write Secrets, and replicators, Argo CD, Jenkins
//! and many others act on the labels and annotations of a Secret. A list of what they act on is never complete, so this
//! one says what is allowed. Absent: what is on a Secret already, which is kept.

use super::record::{Object, ServiceTokenRecord};
use super::{AcceptedClient, Directory, ObjectKey, Problem, Reason};
use crate::resources::{DEFAULT_METADATA, FREE_NAMES, RESERVED_DOMAINS, SecretMetadata, Template};

/// Labels or annotations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum MetadataField {
    Labels,
    Annotations,
}

impl MetadataField {
    /// The name of the field.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Annotations => "annotations",
        }
    }

    const fn one(self) -> &'static str {
        match self {
            Self::Labels => "label",
            Self::Annotations => "annotation",
        }
    }
}

/// What the templates of an Identity's clients may set beyond [`DEFAULT_METADATA`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedMetadata {
    labels: Box<[Box<str>]>,
    annotations: Box<[Box<str>]>,
}

impl AllowedMetadata {
    /// What an Identity's `limits.secretMetadata` says.
    pub fn of(spec: &SecretMetadata) -> Self {
        let keys = |keys: &[String]| keys.iter().map(|key| key.as_str().into()).collect();
        Self {
            labels: keys(&spec.labels),
            annotations: keys(&spec.annotations),
        }
    }

    const fn added(&self, field: MetadataField) -> &[Box<str>] {
        match field {
            MetadataField::Labels => &self.labels,
            MetadataField::Annotations => &self.annotations,
        }
    }

    /// Whether a template may set a key.
    pub fn allows(&self, field: MetadataField, key: &str) -> bool {
        let added = || {
            let mut added = self.added(field).iter();
            added.any(|allowed| covers(allowed, key))
        };
        DEFAULT_METADATA.contains(&key) || (!is_reserved(key) && added())
    }

    /// Every key that is allowed, for people.
    pub(super) fn described(&self, field: MetadataField) -> String {
        let added = self.added(field).iter().map(|key| &**key);
        let keys: Vec<&str> = DEFAULT_METADATA.into_iter().chain(added).collect();
        keys.join(", ")
    }
}

/// Whether `allowed`, a key or `<domain>/*`, covers a key. A domain does not cover those below it.
fn covers(allowed: &str, key: &str) -> bool {
    match allowed.strip_suffix("/*") {
        Some(domain) => key.split_once('/').is_some_and(|(of, _)| of == domain),
        None => allowed == key,
    }
}

/// Whether a key is in a domain of Kubernetes or Symbolon, and so never for templates.
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

impl Directory {
    /// The labels and annotations that the template of a client's Secret names and that are not written, as warnings.
    pub fn unwritten_of_client(client: &AcceptedClient<'_>) -> Vec<Problem> {
        let template = client.client.record.secret.template.as_deref();
        unwritten_by(client, "/spec/authentication/secret/template", template)
    }

    /// The same of a ServiceAccessToken; nothing while its client is not accepted.
    pub fn unwritten_of_token(&self, token: &Object<ServiceTokenRecord>) -> Vec<Problem> {
        let client = token.record().and_then(|record| {
            let client = self.client_of_token(record).ok()?;
            Some((client, record.secret.template.as_deref()))
        });
        client
            .map(|(client, template)| unwritten_by(&client, "/spec/secret/template", template))
            .unwrap_or_default()
    }
}

fn unwritten_by(
    client: &AcceptedClient<'_>,
    path: &str,
    template: Option<&Template>,
) -> Vec<Problem> {
    let identity = client.identity;
    let allowed = &identity.record.secret_metadata;
    let found = template.map(|template| unwritten(&identity.object.key, allowed, path, template));
    found.unwrap_or_default()
}

/// The labels and annotations of a template that are not written, as warnings. `path` is a JSON Pointer to the template.
fn unwritten(
    identity: &ObjectKey,
    allowed: &AllowedMetadata,
    path: &str,
    template: &Template,
) -> Vec<Problem> {
    let fields = [
        (MetadataField::Labels, &template.labels),
        (MetadataField::Annotations, &template.annotations),
    ];
    let keys = fields
        .into_iter()
        .flat_map(|(field, keys)| keys.keys().map(move |key| (field, key)));
    let refused = keys.filter(|(field, key)| !allowed.allows(*field, key));
    refused
        .map(|(field, key)| {
            let (name, one) = (field.as_str(), field.one());
            let place = format!("{path}/{name}");
            let message = format!(
                "the {one} {key:?} in {} is not written: Identity {identity} does not allow templates to set it, and a Secret that has it keeps it; remove it, or ask the administrators of the Identity to add it to spec.limits.secretMetadata.{name}",
                place.trim_start_matches('/').replace('/', ".")
            );
            let key = key.replace('~', "~0").replace('/', "~1");
            Problem::warning(Reason::LimitExceeded, format!("{place}/{key}"), message)
        })
        .collect()
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

    /// Keys by which others find, copy, prune or obey a Secret, and keys that only look like allowed ones.
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

    /// An Identity that was stored before its definition refused them.
    #[test]
    fn what_is_kubernetes_own_or_ours_cannot_be_added() {
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

    #[test]
    fn what_is_not_written_is_told_with_its_place_and_whom_to_ask() {
        let mut template = Template::default();
        template.labels.insert("team".into(), "shop".into());
        template.labels.insert("jenkins.io/x".into(), "y".into());
        let problems = unwritten(
            &ObjectKey::new("platform", "main"),
            &AllowedMetadata::default(),
            "/spec/secret/template",
            &template,
        );
        let [problem] = &problems[..] else {
            panic!("{problems:?}")
        };
        assert_eq!(problem.path, "/spec/secret/template/labels/jenkins.io~1x");
        assert_eq!(
            problem.message,
            "the label \"jenkins.io/x\" in spec.secret.template.labels is not written: Identity platform/main does not allow templates to set it, and a Secret that has it keeps it; remove it, or ask the administrators of the Identity to add it to spec.limits.secretMetadata.labels"
        );
    }
}
