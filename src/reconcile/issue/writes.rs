//! The forms in which a pass writes Credentials and Secrets, for an API server that refuses labels or annotations
//! ([`forms`](crate::reconcile::cluster::forms)).

use kube::api::ObjectMeta;

use super::templated;
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::forms::write_secret;
use crate::reconcile::cluster::inherited::Keeps;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::Credential;

/// Returns the metadata with which to write a Credential, from the wanted one to one without any label of others.
pub(super) fn forms(credential: &Credential, stored: Option<&ObjectMeta>) -> Vec<ObjectMeta> {
    let wanted = &credential.metadata;
    let stored = stored.map_or_else(
        || wanted.clone(),
        |stored| ObjectMeta {
            labels: stored.labels.clone(),
            annotations: stored.annotations.clone(),
            ..wanted.clone()
        },
    );
    let lean = Keeps::ALL.map(|keeps| keeps.of_metadata(&stored));
    let mut forms = vec![wanted.clone(), stored];
    forms.extend(lean);
    forms.dedup();
    forms
}

/// Creates or replaces a Secret. If the API server refuses it with the labels and annotations of its owner's template,
/// writes it without them: a rotation does not wait for them. The repair that follows reports the refusal.
pub(super) async fn put<C: Cluster>(
    cluster: &C,
    secret: &SecretObject,
    is_new: bool,
) -> Result<SecretObject, ApiError> {
    let lean = templated::without_marks(secret);
    let forms = std::iter::once(secret.clone()).chain(lean);
    let (stored, _) = write_secret(cluster, forms, is_new).await?;
    Ok(stored)
}
