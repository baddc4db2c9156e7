//! docs/runbooks/restore-velero.md with the policies and the rights of the chart: which accounts may restore, and which
//! account rebinds the Credentials. tests/cluster tests what the commands do to tokens.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::harness::Cluster;
use crate::running::{apply_world, check, operator, server, server_account, token};
use crate::tools::{Kube, repository, run};
use crate::world::{ADMINISTRATOR, HOME, OPERATOR, in_force};

/// Two accounts of backup tools with all rights of RBAC. The chart's values exempt only the first.
const EXEMPT: &str = "velero";
const STRANGER: &str = "stranger";

/// Runs the stand-in for velero as an account. Its backups are in the folder.
fn velero(kube: Kube<'_>, account: &str, folder: &Path, arguments: &str) {
    let kubectl = kube.0.kubectl();
    let kubectl = Path::new(kubectl.get_program()).parent().unwrap();
    let path = std::env::var("PATH").unwrap();
    let mut velero = Command::new(repository("tests/cluster/runbooks/velero"));
    velero
        .args(arguments.split(' '))
        .env("PATH", format!("{}:{path}", kubectl.display()))
        .env("KUBECONFIG", kube.kubeconfig_of("velero", account, folder))
        .current_dir(folder);
    run(velero, "").unwrap();
}

/// Runs `symbolon restore rebind` and returns whether it succeeded, and its output.
fn rebind(kube: Kube<'_>, user: &str, more: &[&str]) -> (bool, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command
        .args([
            "restore",
            "rebind",
            "--identity",
            "platform/main",
            "--as",
            user,
        ])
        .args(more)
        .env("KUBECONFIG", kube.0.kubeconfig_path());
    let output = command.output().unwrap();
    let printed = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(printed).unwrap())
}

/// Restores a backup object by object as an account, and returns the kinds that the policies refuse. The others exist
/// afterwards.
fn refused_to(kube: Kube<'_>, account: &str, backup: &Path) -> BTreeSet<String> {
    let saved: Value = serde_json::from_slice(&std::fs::read(backup).unwrap()).unwrap();
    let user = format!("system:serviceaccount:velero:{account}");
    let mut refused = BTreeSet::new();
    for object in saved.as_array().unwrap() {
        let create = format!("create -f - --as {user}");
        if let Err(error) = kube.with(&create, &object.to_string()) {
            assert!(error.contains("ValidatingAdmissionPolicy"), "{error}");
            refused.insert(object["kind"].as_str().unwrap().to_owned());
        }
    }
    refused
}

/// Asserts that tokens stay valid from the installation through a restore. `values` are the options of the
/// installation,
/// `watched` its namespaces.
fn assert_tokens_stay_valid(values: &str, policies: &str, reader: &str, watched: &[&str]) {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    let folder = tempfile::tempdir().unwrap();
    for namespace in [HOME, "platform", "shop", "velero"] {
        kube.must(&format!("create namespace {namespace}"));
    }
    for account in [EXEMPT, STRANGER] {
        kube.must(&format!("create serviceaccount {account} -n velero"));
        kube.must(&format!("create clusterrolebinding {account} --clusterrole cluster-admin --serviceaccount velero:{account}"));
    }
    kube.must(&format!("create clusterrolebinding {ADMINISTRATOR} --clusterrole cluster-admin --user {ADMINISTRATOR}"));
    kube.helm(&format!(
        "install symbolon charts/symbolon -n {HOME} {values} --set identityNamespaces={{platform}} \
         --set admissionPolicies.exempt.users={{system:serviceaccount:velero:{EXEMPT}}}"
    ))
    .unwrap();
    in_force(kube, policies, "shop");
    let first = operator(kube, "symbolon", HOME, folder.path());
    apply_world(kube, "platform", "shop");
    let before = token(kube, "shop");
    first.end();

    velero(
        kube,
        EXEMPT,
        folder.path(),
        "backup create identity --include-namespaces platform,shop --wait",
    );
    kube.must("delete namespace platform shop --timeout=180s");
    let backup = folder.path().join("identity.backup.json");
    let refused = refused_to(kube, STRANGER, &backup);
    let named = ["Credential", "ServiceAccessToken"].map(str::to_owned);
    assert_eq!(refused, BTreeSet::from(named));
    // The restore keeps existing objects and creates the rest.
    velero(
        kube,
        EXEMPT,
        folder.path(),
        "restore create --from-backup identity --wait",
    );

    // A backup may lack the operator's rights in those namespaces.
    let rights = "role,rolebinding -n platform -l app.kubernetes.io/component=operator";
    let deleted = kube.must(&format!("delete {rights}"));
    assert!(deleted.contains("symbolon-identities"), "{deleted}");
    kube.helm(&format!(
        "upgrade symbolon charts/symbolon -n {HOME} --reuse-values"
    ))
    .unwrap();

    let named = format!("--namespace={}", watched.join(","));
    let named = if watched.is_empty() {
        vec![]
    } else {
        vec![&*named]
    };
    let (done, words) = rebind(kube, ADMINISTRATOR, &named);
    assert!(
        !done && words.contains(&format!("{policies}-credentials")),
        "{words}"
    );
    if !watched.is_empty() {
        let (done, words) = rebind(kube, OPERATOR, &[]);
        assert!(!done && words.contains("with --namespace"), "{words}");
    }
    let (done, words) = rebind(kube, OPERATOR, &named);
    assert!(done && words.contains("2 rebound"), "{words}");

    let _operator = operator(kube, "symbolon", HOME, folder.path());
    server_account(kube, "platform", "main", reader);
    assert_eq!(token(kube, "shop"), before, "no token has changed");
    let server = server(kube, "platform", "main", watched, folder.path());
    assert_eq!(check(&server, &before), "200");
}

#[test]
fn an_exempt_account_restores_and_the_operators_account_rebinds() {
    let reader = "clusterrolebinding symbolon:platform:main";
    assert_tokens_stay_valid("", "symbolon", reader, &[]);
}

#[test]
fn an_operator_of_some_namespaces_rebinds_only_there() {
    assert_tokens_stay_valid(
        "--set watchNamespaces={shop}",
        &format!("{HOME}-symbolon"),
        "rolebinding symbolon:platform:main -n shop",
        &["platform", "shop"],
    );
}
