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
    let folder = tempfile::tempdir().unwrap();
    let kustomize = repository("deploy/kustomize");
    // kubectl accepts only relative paths.
    let up = "../".repeat(folder.path().components().count() - 1);
    let path = |name: &str| format!("{up}{}/{name}", &kustomize.display().to_string()[1..]);
    let overlay = format!(
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [{}]\ncomponents: [{}]\n",
        path("base"),
        path("created-by")
    );
    std::fs::write(folder.path().join("kustomization.yaml"), overlay).unwrap();
    for folder in [kustomize.join("base"), folder.path().to_owned()] {
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
