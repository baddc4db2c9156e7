//! What a commit can delete and what it cannot, with the chart's policies in force. The examples are deleted as the
//! tools delete, in the order of docs/gitops.md.

use serde::Deserialize as _;
use serde_json::Value;

use crate::harness::Cluster;
use crate::tools::{Answer, Kube, eventually, read};
use crate::world::settled;

/// The namespace of the operator and of the Identity in examples/gitops.
const HOME: &str = "platform";
const IDENTITY: &str = "identity main -n platform";
/// The field manager of Argo CD. Flux applies in the same way under another name.
const MANAGER: &str = "argocd-controller";

#[derive(Clone, Copy, Debug)]
enum Tool {
    ArgoCd,
    Flux,
}

use Tool::{ArgoCd, Flux};

impl Tool {
    /// Whether the tool keeps an object that was removed from the repository. Both tools read the annotations of the
    /// live object.
    fn spares(self, live: &Value) -> bool {
        let annotation = |name: &str| live["metadata"]["annotations"][name].as_str();
        match self {
            ArgoCd => annotation("argocd.argoproj.io/sync-options")
                .is_some_and(|options| options.split(',').any(|it| it.trim() == "Prune=false")),
            Flux => annotation("kustomize.toolkit.fluxcd.io/prune") == Some("disabled"),
        }
    }

    /// Prunes an object in a dry run; `None` if the tool keeps it.
    fn would_prune(self, kube: Kube<'_>, what: &str) -> Option<Answer> {
        let live = kube.get(what).unwrap();
        (!self.spares(&live)).then(|| kube.ask(&format!("delete --dry-run=server {what}")))
    }
}

fn commit(kube: Kube<'_>, manifest: &str) {
    let apply = format!("apply --server-side --force-conflicts --field-manager {MANAGER} -f -");
    kube.with(&apply, manifest).unwrap();
}

/// The uninstall section of the page.
fn page() -> String {
    let page = read("docs/gitops.md");
    let (_, rest) = page.split_once("<!-- uninstall:begin").unwrap();
    rest.split_once("<!-- uninstall:end -->")
        .unwrap()
        .0
        .to_owned()
}

fn blocks(page: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let parts = page.split(&fence).skip(1);
    parts
        .map(|part| part.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// The example's Identity with other annotations.
fn identity(annotations: Value) -> String {
    let file = read("examples/gitops/platform/identity.yaml");
    let mut identity: Value = serde_yaml::from_str(&file).unwrap();
    identity["metadata"]["annotations"] = annotations;
    identity.to_string()
}

/// Flux applies with the account of flux-tenants/shop.yaml, which may write the team's objects and no Identity.
fn a_team_deploys_with_its_own_account(kube: Kube<'_>) {
    let file = read("examples/gitops/flux-tenants/shop.yaml");
    for document in serde_yaml::Deserializer::from_str(&file) {
        let object = Value::deserialize(document).unwrap();
        if ["ServiceAccount", "RoleBinding"].contains(&object["kind"].as_str().unwrap()) {
            commit(kube, &object.to_string());
        }
    }
    let deploy = "system:serviceaccount:shop:deploy";
    for object in ["client", "token"] {
        let manifest = read(&format!("examples/gitops/tenants/shop/{object}.yaml"));
        // A binding takes effect after a moment.
        eventually("the account may write the team's objects", || {
            kube.apply_as(deploy, &manifest).ok()
        });
    }
    let identity = identity(Value::Null).replace("platform", "shop");
    let refused = kube.apply_as(deploy, &identity).unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
}

#[test]
fn the_examples_are_deleted_by_the_documented_steps_and_not_by_a_lost_file() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    kube.helm(&format!(
        "install symbolon charts/symbolon -n {HOME} --create-namespace"
    ))
    .unwrap();
    settled(kube);
    for file in ["namespaces", "identity", "scopes"] {
        commit(
            kube,
            &read(&format!("examples/gitops/platform/{file}.yaml")),
        );
    }
    a_team_deploys_with_its_own_account(kube);

    // A commit that removes the files.
    for guarded in [IDENTITY, "namespace platform", "namespace shop"] {
        for tool in [ArgoCd, Flux] {
            let pruned = tool.would_prune(kube, guarded);
            assert!(pruned.is_none(), "{tool:?} {guarded}: {pruned:?}");
        }
    }
    // A commit that removes the tools' guards does not delete yet.
    commit(kube, &identity(Value::Null));
    for tool in [ArgoCd, Flux] {
        let refused = tool.would_prune(kube, IDENTITY).unwrap().unwrap_err();
        assert!(
            refused.contains("'symbolon-identity-deletion'"),
            "{refused}"
        );
    }
    commit(kube, &read("examples/gitops/platform/identity.yaml"));

    // Step 1: the teams' folders.
    for theirs in ["serviceaccesstoken nightly-report", "oauthclient backend"] {
        kube.must(&format!("delete -n shop {theirs} --timeout=180s"));
    }
    // Step 2: the Identity, with the annotations of the page instead of the example's.
    let page = page();
    let [change] = &blocks(&page, "yaml")[..] else {
        panic!("expected one manifest");
    };
    let change: Value = serde_yaml::from_str(change).unwrap();
    let named = (
        &change["metadata"]["name"],
        &change["metadata"]["namespace"],
    );
    assert_eq!(named, (&"main".into(), &HOME.into()));
    commit(kube, &identity(change["metadata"]["annotations"].clone()));
    for tool in [ArgoCd, Flux] {
        let pruned = tool.would_prune(kube, IDENTITY);
        pruned
            .unwrap_or_else(|| panic!("{tool:?} does not prune it"))
            .unwrap();
    }
    for theirs in [
        IDENTITY,
        "scope orders.read -n platform",
        "scope orders.write -n platform",
    ] {
        kube.must(&format!("delete {theirs} --timeout=180s"));
    }
    // Step 3: the release, the Namespaces and the CRDs. tests/gitops checks that nothing applies them again.
    kube.helm(&format!(
        "uninstall symbolon -n {HOME} --wait --timeout 60s"
    ))
    .unwrap();
    kube.must("get crd identities.symbolon.dev");
    let commands = blocks(&page, "sh");
    assert_eq!(commands.len(), 2, "{commands:?}");
    for block in commands {
        kube.shell(&block);
    }
    let left = kube.must("get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,flowschema -l app.kubernetes.io/name=symbolon -o name");
    assert_eq!(left, "");
    for gone in ["namespace platform", "namespace shop"] {
        assert!(kube.get(gone).is_none(), "{gone}");
    }
}
