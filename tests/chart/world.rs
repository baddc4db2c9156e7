//! A cluster on which the chart is installed with its defaults, for all tests that do not change that.

use std::sync::OnceLock;

use crate::harness::{Cluster, Program};
use crate::tools::{Kube, eventually};

/// Where the release is.
pub(crate) const HOME: &str = "symbolon-system";
/// The operator of the release, as the API server knows it.
pub(crate) const OPERATOR: &str = "system:serviceaccount:symbolon-system:symbolon";
/// May do everything that RBAC grants, and is exempt from nothing.
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
            "what to do next: {notes}"
        );
        settled(kube);
        kube
    })
}

/// Waits until the definitions are served, the garbage collector knows them, and the policies are in force.
pub(crate) fn settled(kube: Kube<'_>) {
    kube.must(
        "wait --for=condition=Established --timeout=60s crd -l app.kubernetes.io/name=symbolon",
    );
    // It looks for new kinds every 30 s only; at its start it knows these.
    kube.0.kill(Program::Controllers);
    kube.0.start(Program::Controllers);
    kube.must(&format!(
        "create clusterrolebinding {ADMINISTRATOR} --clusterrole cluster-admin --user {ADMINISTRATOR}"
    ));
    kube.must("create namespace probe");
    in_force(kube, "symbolon", "probe");
    kube.must("delete namespace probe --wait=false");
}

/// Waits until the policies of that name are in force in a namespace.
pub(crate) fn in_force(kube: Kube<'_>, name: &str, namespace: &str) {
    let policy = format!("'{name}-creators'");
    // For some seconds, what stamps does not know the kind yet.
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

/// A ServiceAccessToken of that namespace with an annotation.
pub(crate) fn manifest_of_token(namespace: &str, annotation: &str) -> String {
    format!(
        "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata:\n  name: nightly\n  namespace: {namespace}\n  annotations: {{{annotation}}}\nspec: {{clientRef: {{name: backend}}, scopes: [orders.read]}}\n"
    )
}
