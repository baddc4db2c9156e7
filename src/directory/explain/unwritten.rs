//! The labels and annotations of a template that the operator does not write, as warnings of its client or token.

use crate::directory::tables::record::{Object, ServiceTokenRecord};
use crate::directory::template::secret_metadata::{AllowedMetadata, MetadataField};
use crate::directory::{AcceptedClient, Directory, ObjectKey, Problem, Reason};
use crate::resources::Template;

impl Directory {
    /// Returns a warning for each label and annotation that the template of a client's Secret names and the operator
    /// does not write.
    pub fn unwritten_of_client(client: &AcceptedClient<'_>) -> Vec<Problem> {
        let template = client.client.record.secret.template.as_deref();
        unwritten_by(client, "/spec/authentication/secret/template", template)
    }

    /// Returns the same for a ServiceAccessToken; nothing while its client is not accepted.
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

/// Returns a warning for each label and annotation of a template that the operator does not write. `path` is a JSON
/// Pointer to the template.
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
            let (mut reasons, mut remedies) = (Vec::new(), Vec::new());
            if !allowed.identity_allows(field, key) {
                reasons.push(format!("Identity {identity} does not allow templates to set it"));
                remedies.push(format!("the administrators of the Identity to add it to spec.limits.secretMetadata.{name}"));
            }
            if !allowed.installation_allows(field, key) {
                let value = field.value();
                reasons.push(format!("the installation's chart value {value} does not list it"));
                remedies.push(format!("the administrators of the installation to add it to the chart value {value}"));
            }
            let message = format!(
                "the {one} {key:?} in {} is not written: {}, and a Secret that has it keeps it; remove it, or ask {}",
                place.trim_start_matches('/').replace('/', "."),
                reasons.join(", "),
                remedies.join(", and ")
            );
            let key = key.replace('~', "~0").replace('/', "~1");
            Problem::warning(Reason::LimitExceeded, format!("{place}/{key}"), message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::directory::template::secret_metadata::InstallationMetadata;
    use crate::resources::SecretMetadata;

    #[test]
    fn an_unwritten_key_is_reported_with_its_place_and_who_to_ask() {
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

    #[test]
    fn a_key_that_the_installation_does_not_allow_is_reported_with_the_chart_value() {
        let mut template = Template::default();
        for key in ["team", "owner", "x"] {
            template.labels.insert(key.into(), "a".into());
            template.annotations.insert(key.into(), "a".into());
        }
        let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect();
        let identity = SecretMetadata {
            labels: keys(&["owner"]),
            annotations: keys(&["owner", "x"]),
        };
        let lists = Arc::new(
            InstallationMetadata::parse(
                r#"{"allowedLabels": ["team"], "allowedAnnotations": ["*"]}"#,
            )
            .unwrap(),
        );
        let told: Vec<_> = unwritten(
            &ObjectKey::new("platform", "main"),
            &AllowedMetadata::of(&identity).within(lists),
            "/spec/secret/template",
            &template,
        );
        let told: Vec<_> = told.iter().map(|it| (&*it.path, &*it.message)).collect();
        assert_eq!(
            told,
            [
                (
                    "/spec/secret/template/labels/owner",
                    "the label \"owner\" in spec.secret.template.labels is not written: the installation's chart value secrets.allowedLabels does not list it, and a Secret that has it keeps it; remove it, or ask the administrators of the installation to add it to the chart value secrets.allowedLabels"
                ),
                (
                    "/spec/secret/template/labels/x",
                    "the label \"x\" in spec.secret.template.labels is not written: Identity platform/main does not allow templates to set it, the installation's chart value secrets.allowedLabels does not list it, and a Secret that has it keeps it; remove it, or ask the administrators of the Identity to add it to spec.limits.secretMetadata.labels, and the administrators of the installation to add it to the chart value secrets.allowedLabels"
                ),
            ]
        );
    }
}
