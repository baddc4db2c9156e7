//! What a commit takes away and what it cannot, with the chart's policies in force: the examples, deleted as the tools
//! delete, in the order of docs/gitops.md.

use serde::Deserialize as _;
use serde_json::Value;

use crate::harness::Cluster;
use crate::tools::{Answer, Kube, eventually, read};
use crate::world::settled;

/// As examples/gitops has it: where the operator is, and the Identity.
const HOME: &str = "platform";
const IDENTITY: &str = "identity main -n platform";
/// As Argo CD applies; Flux does the same under another name.
const MANAGER: &str = "argocd-controller";

#[derive(Clone, Copy, Debug)]
enum Tool {
    ArgoCd,
    Flux,
}

use Tool::{ArgoCd, Flux};

impl Tool {
    /// Whether it leaves an object alone that is in no commit any more. Both look at the object as it is live.
    fn spares(self, live: &Value) -> bool {
        let annotation = |name: &str| live["metadata"]["annotations"][name].as_str();
        match self {
            ArgoCd => annotation("argocd.argoproj.io/sync-options")
                .is_some_and(|options| options.split(',').any(|it| it.trim() == "Prune=false")),
            Flux => annotation("kustomize.toolkit.fluxcd.io/prune") == Some("disabled"),
        }
    }

    /// Prunes an object, in a dry run; `None` if it leaves it alone.
    fn would_prune(self, kube: Kube<'_>, what: &str) -> Option<Answer> {
        let live = kube.get(what).unwrap();
        (!self.spares(&live)).then(|| kube.ask(&format!("delete --dry-run=server {what}")))
    }
}

fn commit(kube: Kube<'_>, manifest: &str) {
    let apply = format!("apply --server-side --force-conflicts --field-manager {MANAGER} -f -");
    kube.with(&apply, manifest).unwrap();
}

/// The part of the page that says how to uninstall.
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

/// The example's Identity with these annotations instead of its own.
fn identity(annotations: Value) -> String {
    let file = read("examples/gitops/platform/identity.yaml");
    let mut identity: Value = serde_yaml::from_str(&file).unwrap();
    identity["metadata"]["annotations"] = annotations;
    identity.to_string()
}

/// As Flux does it: with the account of flux-tenants/shop.yaml, which may write the team's objects and no Identity.
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
        // RBAC learns of a binding within a moment.
        eventually("the account may write the team's objects", || {
            kube.apply_as(deploy, &manifest).ok()
        });
    }
    let identity = identity(Value::Null).replace("platform", "shop");
    let refused = kube.apply_as(deploy, &identity).unwrap_err();
    assert!(refused.contains("forbidden"), "{refused}");
}

#[test]
fn the_examples_are_uninstalled_as_the_page_says_and_not_by_a_lost_file() {
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

    // A commit that loses the files.
    for guarded in [IDENTITY, "namespace platform", "namespace shop"] {
        for tool in [ArgoCd, Flux] {
            let pruned = tool.would_prune(kube, guarded);
            assert!(pruned.is_none(), "{tool:?} {guarded}: {pruned:?}");
        }
    }
    // One that takes the tools' guards away does not yet delete.
    commit(kube, &identity(Value::Null));
    for tool in [ArgoCd, Flux] {
        let refused = tool.would_prune(kube, IDENTITY).unwrap().unwrap_err();
        assert!(
            refused.contains("'symbolon-identity-deletion'"),
            "{refused}"
        );
    }
    commit(kube, &read("examples/gitops/platform/identity.yaml"));

    // The teams' folders.
    for theirs in ["serviceaccesstoken nightly-report", "oauthclient backend"] {
        kube.must(&format!("delete -n shop {theirs} --timeout=60s"));
    }
    // The Identity, as the page has its annotations: they replace the example's.
    let page = page();
    let [change] = &blocks(&page, "yaml")[..] else {
        panic!("one manifest");
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
            .unwrap_or_else(|| panic!("{tool:?} leaves it alone"))
            .unwrap();
    }
    for theirs in [
        IDENTITY,
        "scope orders.read -n platform",
        "scope orders.write -n platform",
    ] {
        kube.must(&format!("delete {theirs} --timeout=60s"));
    }
    // The release, the Namespaces, the definitions; what would apply them again is in tests/gitops.
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
