//! The kustomize base equals the rendered chart, and the API server accepts it.

use crate::tools::{helm, read, repository, run};
use crate::world::installed;

#[test]
fn the_base_equals_the_rendered_chart() {
    let folder = tempfile::tempdir().unwrap();
    let program = helm().get_program().to_owned();
    let mut generate = std::process::Command::new(repository("deploy/kustomize/generate"));
    generate.arg(folder.path()).env("HELM", program);
    run(generate, "").unwrap();
    for file in ["base/symbolon.yaml", "created-by/policy.yaml"] {
        let generated = std::fs::read_to_string(folder.path().join(file)).unwrap();
        assert!(
            generated == read(&format!("deploy/kustomize/{file}")),
            "deploy/kustomize/{file} is out of date: run `just generate`"
        );
        // The rule about reserved label domains in Secret templates names `helm.sh` without a slash.
        for word in ["helm.sh/", "Helm"] {
            assert!(!generated.contains(word), "{file}: {word}");
        }
    }
}

#[test]
fn the_api_server_accepts_the_base_and_the_component() {
    let kube = installed();
    let folder = overlay(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../base]\ncomponents: [../created-by]\n",
    );
    for folder in [
        repository("deploy/kustomize/base"),
        folder.path().to_owned(),
    ] {
        let folder = folder.display();
        let taken = kube.must(&format!(
            "apply --server-side --force-conflicts --dry-run=server -k {folder}"
        ));
        assert!(taken.contains("deployment.apps/symbolon"), "{taken}");
    }
    let built = kube.must(&format!("kustomize {}", folder.path().display()));
    let stamped = "name: SYMBOLON_STAMPED_CREATORS\n          value: \"true\"";
    assert!(built.contains(stamped), "{built}");
}

/// An image of another registry reaches the operator, the pods of Identities and the policy that guards them.
#[test]
fn the_documented_kustomization_replaces_every_image() {
    let page = read("docs/installation.md");
    let (_, rest) = page.split_once("<!-- kustomization:begin").unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    let (kustomization, _) = rest.split_once("```").unwrap();
    let folder = overlay(kustomization);
    let built = installed().must(&format!("kustomize {}", folder.path().display()));
    let base = read("deploy/kustomize/base/symbolon.yaml");
    let shipped = base.matches("symbolon/symbolon:").count();
    assert!(shipped >= 3, "the base names its image {shipped} times");
    let replaced = built.matches("registry.example.com/symbolon:").count();
    assert_eq!(replaced, shipped, "{built}");
    assert!(!built.contains("symbolon/symbolon:"), "{built}");
}

/// A folder with a kustomization that is written as if it stood in a folder beside `deploy/kustomize/base`.
fn overlay(kustomization: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let kustomize = repository("deploy/kustomize").display().to_string();
    // kubectl accepts only relative paths.
    let up = "../".repeat(folder.path().components().count() - 1);
    let kustomization = kustomization.replace("[../", &format!("[{up}{}/", &kustomize[1..]));
    std::fs::write(folder.path().join("kustomization.yaml"), kustomization).unwrap();
    folder
}
