//! Install, upgrade, uninstall, install again: users' tokens stay valid through all of it.
//!
//! There is no earlier release yet. The previous version is this chart with a lower version number, another printer
//! column in one CRD, and without the policies.

use std::path::Path;

use crate::harness::Cluster;
use crate::running::{Process, apply_world, check, operator, server, server_account, token};
use crate::tools::{Kube, eventually, helm, repository, run};
use crate::world::settled;

const HOME: &str = "symbolon-system";

/// Packages the previous version and returns the path of the archive.
fn version_before(folder: &Path) -> String {
    let chart = folder.join("symbolon");
    let mut copy = std::process::Command::new("cp");
    copy.arg("-r")
        .arg(repository("charts/symbolon"))
        .arg(&chart);
    run(copy, "").unwrap();
    let file = chart.join("files/crds/identities.yaml");
    let definition = std::fs::read_to_string(&file).unwrap();
    let older = definition.replacen("name: Issuer\n", "name: Issuer-Before\n", 1);
    assert_ne!(definition, older);
    std::fs::write(&file, older).unwrap();
    for policy in ["status", "deletion", "operator", "creators"] {
        std::fs::remove_file(chart.join(format!("templates/policy-{policy}.yaml"))).unwrap();
    }
    let mut package = helm();
    package
        .args(["package", "--version", "0.0.9", "--app-version", "0.0.9"])
        .arg("--destination")
        .args([folder, &chart]);
    run(package, "").unwrap();
    let archive = folder.join("symbolon-0.0.9.tgz");
    archive.display().to_string()
}

fn version_of(kube: Kube<'_>, what: &str) -> String {
    kube.must(&format!(
        "get {what} -o jsonpath={{.metadata.uid}}/{{.metadata.resourceVersion}}"
    ))
}

fn assert_accepted(server: &Process, token: &str) {
    assert_eq!(check(server, token), "200");
}

#[test]
fn tokens_stay_valid_through_upgrade_uninstallation_and_reinstallation() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    let folder = tempfile::tempdir().unwrap();
    kube.must(&format!("create namespace {HOME}"));
    kube.must("create namespace team");
    let before = version_before(folder.path());
    kube.helm(&format!("install symbolon {before} -n {HOME}"))
        .unwrap();
    let columns = |kube: Kube<'_>| {
        kube.must("get crd identities.symbolon.dev -o jsonpath={.spec.versions[0].additionalPrinterColumns[0].name}")
    };
    assert_eq!(columns(kube), "Issuer-Before");
    kube.must(
        "wait --for=condition=Established --timeout=180s crd -l app.kubernetes.io/name=symbolon",
    );
    apply_world(kube, HOME, "team");
    let first = operator(kube, "symbolon", HOME, folder.path());
    let reader = format!("clusterrolebinding symbolon:{HOME}:main");
    server_account(kube, HOME, "main", &reader);
    let token = token(kube, "team");
    let serving = server(kube, HOME, "main", &[], folder.path());
    assert_accepted(&serving, &token);

    // An upgrade writes only the CRD that has changed. An upgrade without a changed CRD writes none.
    let versions = || {
        ["scopes", "credentials"].map(|kind| version_of(kube, &format!("crd {kind}.symbolon.dev")))
    };
    let unchanged = versions();
    kube.helm(&format!("upgrade symbolon charts/symbolon -n {HOME}"))
        .unwrap();
    assert_eq!(columns(kube), "Issuer");
    assert_eq!(versions(), unchanged);
    let identities = version_of(kube, "crd identities.symbolon.dev");
    kube.helm(&format!(
        "upgrade symbolon charts/symbolon -n {HOME} --set replicaCount=3"
    ))
    .unwrap();
    assert_eq!(version_of(kube, "crd identities.symbolon.dev"), identities);
    settled(kube);
    assert_accepted(&serving, &token);

    // Uninstalling deletes the operator and keeps the rest. A server that starts now still has its rights.
    first.end();
    serving.end();
    kube.helm(&format!("uninstall symbolon -n {HOME}")).unwrap();
    assert!(
        kube.get(&format!("deployment symbolon -n {HOME}"))
            .is_none()
    );
    assert!(
        kube.get("validatingadmissionpolicy symbolon-status")
            .is_none()
    );
    for kept in [
        "crd identities.symbolon.dev".to_owned(),
        "clusterrole symbolon-server".to_owned(),
        format!("identity main -n {HOME}"),
        "sat nightly -n team".to_owned(),
        "secret nightly-token -n team".to_owned(),
    ] {
        assert!(kube.get(&kept).is_some(), "{kept}");
    }
    let serving = server(kube, HOME, "main", &[], folder.path());
    assert_accepted(&serving, &token);

    // A new installation takes over the kept objects and changes no token.
    kube.helm(&format!("install symbolon charts/symbolon -n {HOME}"))
        .unwrap();
    eventually("the operator has its rights again", || {
        kube.ask(&format!(
            "auth can-i list secrets -A --as system:serviceaccount:{HOME}:symbolon"
        ))
        .ok()
    });
    let second = operator(kube, "symbolon", HOME, folder.path());
    eventually("the operator is ready", || {
        (second.answer("listen", "/readyz", "") == "200").then_some(())
    });
    kube.must("annotate sat -n team nightly seen=again");
    assert_eq!(crate::running::token(kube, "team"), token);
    assert_accepted(&serving, &token);
}

#[test]
fn crds_applied_by_hand_can_be_adopted_and_deleted_with_the_release() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    let crds = repository("crds");
    kube.must(&format!("apply --server-side -f {}", crds.display()));
    let install = format!("install symbolon charts/symbolon -n {HOME} --create-namespace");
    let error = kube.helm(&install).unwrap_err();
    assert!(error.contains("invalid ownership metadata"), "{error}");
    kube.helm(&format!("{install} --take-ownership")).unwrap();
    kube.must("create namespace team");
    apply_world(kube, HOME, "team");
    kube.helm(&format!(
        "upgrade symbolon charts/symbolon -n {HOME} --set crds.keep=false"
    ))
    .unwrap();
    kube.helm(&format!(
        "uninstall symbolon -n {HOME} --wait --timeout 60s"
    ))
    .unwrap();
    let left = kube.must("get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,mutatingadmissionpolicy,flowschema -l app.kubernetes.io/name=symbolon -o name");
    assert_eq!(left, "");
}
