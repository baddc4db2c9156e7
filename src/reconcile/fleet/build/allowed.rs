//! The images and Secrets that an Identity may use in its pods. The pods have the Identity's account and its signing
//! keys: a tenant's own image could read these, so the installation lists the images that may run. Pure.

use super::super::Installation;
use super::{database, egress};
use crate::directory::{Problem, Reason};
use crate::resources::IdentitySpec;

/// Allows any image.
const ANY: &str = "*";

/// Checks what an Identity's spec asks for.
pub(super) fn check(spec: &IdentitySpec, of: &Installation) -> Result<(), Problem> {
    let image = spec.pod.as_ref().and_then(|pod| pod.image.as_deref());
    if let Some(image) = image.filter(|it| !may_run(it, of)) {
        return Err(Problem::error(
            Reason::Invalid,
            "/spec/pod/image",
            format!(
                "this installation does not allow the image {image}: remove spec.pod.image, use an image of {}, or ask the administrators of the installation to allow the repository with --allow-pod-image (chart value identityPods.allowedImages)",
                repository(&of.image)
            ),
        ));
    }
    let mut mounted = mounted(spec);
    match mounted.find(|(name, ..)| name.ends_with("-signing") || name.ends_with("-mac")) {
        None => Ok(()),
        Some((name, path, what)) => Err(Problem::error(
            Reason::Invalid,
            path,
            format!(
                "the name {name} is reserved for an Identity's own keys: give the Secret {what} another name"
            ),
        )),
    }
}

/// Returns the Secrets that the spec asks to mount: the name, the field and what it is for.
fn mounted(spec: &IdentitySpec) -> impl Iterator<Item = (&str, &'static str, &'static str)> {
    let tls = spec.network.tls.iter().map(|tls| {
        let path = "/spec/network/tls/secretRef/name";
        let what = "of the certificate, with the type kubernetes.io/tls,";
        (&*tls.secret_ref.name, path, what)
    });
    let database = database::wanted(spec);
    let url = database.map(|database| {
        let path = "/spec/storage/postgresql/urlSecretRef/name";
        (
            &*database.url_secret_ref.name,
            path,
            "of the database's URL",
        )
    });
    let ca = database.and_then(|database| database.ca_secret_ref.as_ref());
    let ca = ca.map(|ca| {
        let path = "/spec/storage/postgresql/caSecretRef/name";
        (&*ca.name, path, "of the database's CA")
    });
    let callees = egress::wanted(spec).map(|ca| {
        let path = "/spec/network/egress/caSecretRef/name";
        (&*ca.name, path, "of the CAs of clients")
    });
    tls.chain(url).chain(ca).chain(callees)
}

/// Parses what an installation allows: a repository, one with a closing slash for all below it, or `*`.
///
/// # Errors
/// Returns an error for a tag or a digest, because no repository would match it.
pub fn allowed_repository(text: &str) -> Result<String, String> {
    let name = repository(text);
    if name.is_empty() {
        return Err("give a repository, for example registry.example.com/team/symbolon".to_owned());
    }
    if name != text {
        return Err(format!(
            "only a whole repository can be allowed, without a tag or digest: write {name}"
        ));
    }
    Ok(text.to_owned())
}

/// Whether an image is from the installation's own repository, or from one that it allows.
fn may_run(image: &str, of: &Installation) -> bool {
    let asked = repository(image);
    let is_allowed = |allowed: &String| {
        allowed == ANY
            || asked == allowed
            || (allowed.ends_with('/') && asked.starts_with(&**allowed))
    };
    asked == repository(&of.image) || of.allowed_images.iter().any(is_allowed)
}

/// Returns an image's name without tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // Otherwise it is the port of the registry.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_repositories_can_be_allowed() {
        for good in ["*", "mirror/", "registry:5000/a", "registry:5000/", "a"] {
            assert_eq!(allowed_repository(good).as_deref(), Ok(good));
        }
        for (bad, better) in [
            ("registry:5000/a:1", "write registry:5000/a"),
            ("mirror/a@sha256:00", "write mirror/a"),
            ("", "give a repository"),
        ] {
            let refusal = allowed_repository(bad).unwrap_err();
            assert!(refusal.contains(better), "{refusal}");
        }
    }

    #[test]
    fn an_image_runs_if_it_is_of_the_own_repository_or_an_allowed_one() {
        let installation = |allowed: &[&str]| Installation {
            image: "registry.example.com:5000/id/symbolon:1.0@sha256:00".to_owned(),
            allowed_images: allowed.iter().map(|&it| it.to_owned()).collect(),
            ..Installation::default()
        };
        for (image, allowed, runs) in [
            ("registry.example.com:5000/id/symbolon", &[][..], true),
            ("registry.example.com:5000/id/symbolon:2.0", &[], true),
            ("registry.example.com:5000/id/symbolon@sha256:11", &[], true),
            ("registry.example.com:5000/id/symbolon-evil:1", &[], false),
            ("registry.example.com:5000/id/symbolon/evil:1", &[], false),
            ("registry.example.com/id/symbolon:1", &[], false),
            ("evil/symbolon:1", &[], false),
            ("mirror/a:1", &["mirror/a"], true),
            ("mirror/ab:1", &["mirror/a"], false),
            ("mirror/a/b:1", &["mirror/a"], false),
            ("mirror/a/b:1", &["mirror/"], true),
            ("mirror.evil/a:1", &["mirror/"], false),
            ("evil/symbolon:1", &["*"], true),
        ] {
            assert_eq!(
                may_run(image, &installation(allowed)),
                runs,
                "{image} {allowed:?}"
            );
        }
    }
}
