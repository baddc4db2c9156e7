//! What an Identity may ask of its pods. They act as its account and have its signing keys mounted: an image of
//! one's own could read those, so that an installation says which may run. Pure.

use super::super::Installation;
use crate::directory::{Problem, Reason};
use crate::resources::IdentitySpec;

/// Any image.
const ANY: &str = "*";

/// Judges what an Identity's spec asks for.
pub(super) fn check(spec: &IdentitySpec, of: &Installation) -> Result<(), Problem> {
    let image = spec.pod.as_ref().and_then(|pod| pod.image.as_deref());
    if let Some(image) = image.filter(|it| !may_run(it, of)) {
        return Err(Problem::error(
            Reason::Invalid,
            "/spec/pod/image",
            format!(
                "this installation does not run the image {image}: leave pod.image out, take one of {}, or have the repository allowed with --allow-pod-image (the chart: identityPods.allowedImages)",
                repository(&of.image)
            ),
        ));
    }
    let tls = spec.network.tls.as_ref();
    let is_keys = |name: &str| name.ends_with("-signing") || name.ends_with("-mac");
    if let Some(tls) = tls.filter(|tls| is_keys(&tls.secret_ref.name)) {
        return Err(Problem::error(
            Reason::Invalid,
            "/spec/network/tls/secretRef/name",
            format!(
                "{} is a name of an Identity's own keys: give the certificate's Secret, of the type kubernetes.io/tls, another name",
                tls.secret_ref.name
            ),
        ));
    }
    Ok(())
}

/// Whether an image is of the installation's own repository, or of one that it allows.
fn may_run(image: &str, of: &Installation) -> bool {
    let asked = repository(image);
    let is_allowed = |allowed: &String| {
        allowed == ANY
            || asked == allowed
            || (allowed.ends_with('/') && asked.starts_with(&**allowed))
    };
    asked == repository(&of.image) || of.allowed_images.iter().any(is_allowed)
}

/// An image without its tag and digest.
fn repository(image: &str) -> &str {
    let name = image.split_once('@').map_or(image, |(name, _)| name);
    match name.rsplit_once(':') {
        // Else it is the port of the registry.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
