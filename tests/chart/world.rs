//! A cluster with the chart installed with its defaults, shared by all tests that do not change the release.

use std::sync::OnceLock;

use crate::harness::{Cluster, Program};
use crate::tools::{Kube, eventually};

/// The namespace of the release.
pub(crate) const HOME: &str = "symbolon-system";
/// The user name of the operator's service account.
pub(crate) const OPERATOR: &str = "system:serviceaccount:symbolon-system:symbolon";
/// A user with all rights of RBAC, and that no admission policy exempts.
pub(crate) const ADMINISTRATOR: &str = "bob";

/// The cluster with the release.
pub(crate) fn installed() -> Kube<'static> {
    static INSTALLED: OnceLock<Kube<'static>> = OnceLock::new();
    *INSTALLED.get_or_init(|| {
        let kube = Kube(Cluster::own());
        kube.must(&format!("create namespace {HOME}"));
        let notes = kube
            .helm(&format!("install symbolon charts/symbolon -n {HOME}"))
            .unwrap();
        assert!(
            notes.contains("rollout status deployment/symbolon"),
            "the notes must say what to do next: {notes}"
        );
        settled(kube);
        kube
    })
}

/// Waits until the definitions are served, the garbage collector knows them, and the policies are in force.
pub(crate) fn settled(kube: Kube<'_>) {
    kube.must(
        "wait --for=condition=Established --timeout=180s crd -l app.kubernetes.io/name=symbolon",
    );
    // The garbage collector looks for new kinds only every 30 s, so restart it.
    kube.0.kill(Program::Controllers);
    kube.0.start(Program::Controllers);
    kube.must(&format!(
        "create clusterrolebinding {ADMINISTRATOR} --clusterrole cluster-admin --user {ADMINISTRATOR}"
    ));
    kube.must("create namespace probe");
    in_force(kube, "symbolon", "probe");
    kube.must("delete namespace probe --wait=false");
}

/// Waits until the policies of the release `name` are in force in a namespace.
pub(crate) fn in_force(kube: Kube<'_>, name: &str, namespace: &str) {
    let policy = format!("'{name}-creators'");
    // For some seconds the MutatingAdmissionPolicy does not know the kind yet.
    eventually("the policies are in force", || {
        let create = |annotation: &str, how: &str| {
            let create = format!("create --dry-run=server -f - --as {ADMINISTRATOR} {how}");
            kube.with(&create, &manifest_of_token(namespace, annotation))
        };
        let forged = create("symbolon.dev/created-by: nobody", "");
        let stamped = create("", "-o yaml");
        let is_refused = forged.is_err_and(|error| error.contains(&policy));
        let is_stamped = stamped.is_ok_and(|object| object.contains("symbolon.dev/created-by"));
        (is_refused && is_stamped).then_some(())
    });
}

/// A ServiceAccessToken in a namespace, with an annotation.
pub(crate) fn manifest_of_token(namespace: &str, annotation: &str) -> String {
    format!(
        "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata:\n  name: nightly\n  namespace: {namespace}\n  annotations: {{{annotation}}}\nspec: {{clientRef: {{name: backend}}, scopes: [orders.read]}}\n"
    )
}
