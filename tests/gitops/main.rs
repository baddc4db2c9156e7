//! The GitOps examples, and how Flux and Argo CD read our conditions, without a cluster. The tests with a real API
//! server and a real operator are in tests/cluster.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod verdict;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::Deserialize as _;
use serde_json::{Value, json};
use symbolon::directory::{Class, Reason};
use symbolon::resources::Kind;

use verdict::{HEALTH_CHECKS, argo_verdicts, run, verdicts};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const KINDS: [Kind; 4] = [
    Kind::Identity,
    Kind::Scope,
    Kind::OAuthClient,
    Kind::ServiceAccessToken,
];

/// An object with the conditions that the operator writes for a reason.
fn object(kind: Kind, reason: Reason) -> Value {
    let class = reason.class();
    let condition = |name: &str, is_true: bool| {
        json!({
            "type": name, "status": if is_true { "True" } else { "False" }, "reason": reason.as_str(),
            "message": "what to write", "observedGeneration": 2, "lastTransitionTime": "2026-11-23T12:00:00Z",
        })
    };
    json!({
        "apiVersion": "symbolon.dev/v1alpha1",
        "kind": kind.as_str(),
        "metadata": {"name": "it", "namespace": "shop", "generation": 2},
        "status": {
            "observedGeneration": 2,
            "conditions": [
                condition("Ready", matches!(class, Class::Good | Class::Replacing)),
                condition("Reconciling", matches!(class, Class::Working | Class::Replacing)),
                condition("Stalled", class == Class::NeedsEdit),
            ],
        },
    })
}

#[test]
fn both_tools_read_every_reason_according_to_its_class() {
    let expected = |class: Class| match class {
        Class::Good => "Current/Healthy",
        Class::NeedsEdit => "Failed/Degraded",
        // A waiting object recovers when the missing object appears, so a tool must keep waiting.
        Class::Waiting | Class::Working => "InProgress/Progressing",
        // The present token works: Argo CD goes on, and kstatus sees that the operator is at work.
        Class::Replacing => "InProgress/Healthy",
    };
    let all = || {
        let kinds = KINDS.into_iter();
        kinds.flat_map(|kind| Reason::ALL.map(|reason| (kind, reason)))
    };
    let objects: Vec<Value> = all().map(|(kind, reason)| object(kind, reason)).collect();
    for ((kind, reason), verdict) in all().zip(verdicts(&objects)) {
        let right = expected(reason.class());
        assert_eq!(verdict, right, "{kind} {}", reason.as_str());
    }
}

#[test]
fn an_object_is_not_healthy_before_the_operator_has_seen_its_last_change() {
    let good = object(Kind::Scope, Reason::Ready);
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut object = good.clone();
        change(&mut object);
        object
    };
    let cases = [
        ("good", good.clone(), "Current/Healthy"),
        (
            "edited since the last pass",
            changed(&|it| it["metadata"]["generation"] = json!(3)),
            "InProgress/Progressing",
        ),
        (
            "being deleted",
            changed(&|it| it["metadata"]["deletionTimestamp"] = json!("2026-11-23T12:00:00Z")),
            "Terminating/Progressing",
        ),
    ];
    let verdicts = verdicts(cases.iter().map(|(_, object, _)| object));
    for ((what, _, right), verdict) in cases.iter().zip(verdicts) {
        assert_eq!(verdict, *right, "{what}");
    }
}

#[test]
fn a_new_object_of_every_kind_is_in_progress() {
    for kind in KINDS {
        let mut fresh = object(kind, Reason::Ready);
        fresh["status"] = default_status(kind.plural());
        fresh["metadata"]["generation"] = json!(1);
        assert_eq!(verdicts([&fresh]), ["InProgress/Progressing"], "{kind}");
    }
}

/// The status that the API server gives a new object.
fn default_status(plural: &str) -> Value {
    let definition = &documents(&Path::new(ROOT).join(format!("crds/{plural}.yaml")))[0];
    let schema = &definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"];
    let default = schema["properties"]["status"]["default"].clone();
    assert!(default.is_object(), "{plural}: {default}");
    default
}

#[test]
fn every_kind_that_users_apply_has_the_same_health_check() {
    let config = &documents(&Path::new(ROOT).join(HEALTH_CHECKS))[0];
    let mut checks = config["data"].as_object().unwrap().clone();
    let of_applications = "resource.customizations.health.argoproj.io_Application";
    assert!(checks.remove(of_applications).is_some());
    let expected = KINDS.map(|kind| format!("resource.customizations.health.symbolon.dev_{kind}"));
    let expected: BTreeSet<&str> = expected.iter().map(String::as_str).collect();
    let keys: BTreeSet<&str> = checks.keys().map(String::as_str).collect();
    assert_eq!(keys, expected);
    let scripts: BTreeSet<&str> = checks.values().map(|it| it.as_str().unwrap()).collect();
    assert_eq!(scripts.len(), 1);
}

/// Without this health check, an app of apps takes a child for healthy as soon as it exists, and no wave waits.
#[test]
fn a_wave_waits_until_its_applications_are_fully_applied_and_healthy() {
    let cases = [
        ("just created", json!(null), "Progressing"),
        (
            "not yet compared",
            json!({"health": {"status": "Healthy"}}),
            "Progressing",
        ),
        (
            "a kind does not exist yet, and missing objects do not count",
            json!({"health": {"status": "Healthy"}, "sync": {"status": "OutOfSync"}, "operationState": {"phase": "Failed"}}),
            "Progressing",
        ),
        (
            "being applied",
            json!({"health": {"status": "Progressing"}, "sync": {"status": "OutOfSync"}, "operationState": {"phase": "Running"}}),
            "Progressing",
        ),
        (
            "good",
            json!({"health": {"status": "Healthy"}, "sync": {"status": "Synced"}, "operationState": {"phase": "Succeeded"}}),
            "Healthy",
        ),
        (
            "everything already existed",
            json!({"health": {"status": "Healthy"}, "sync": {"status": "Synced"}}),
            "Healthy",
        ),
        (
            "an object that no tool prunes was removed from the repository",
            json!({"health": {"status": "Healthy"}, "sync": {"status": "OutOfSync"}, "operationState": {"phase": "Succeeded"}}),
            "Healthy",
        ),
        (
            "an object needs an edit",
            json!({"health": {"status": "Degraded", "message": "why"}, "sync": {"status": "Synced"}}),
            "Degraded",
        ),
    ];
    let application = |status: &Value| {
        json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Application",
            "metadata": {"name": "symbolon", "namespace": "argocd"}, "status": status,
        })
    };
    let objects = cases.each_ref().map(|(_, status, _)| application(status));
    for ((what, _, right), verdict) in cases.iter().zip(argo_verdicts(&objects)) {
        assert_eq!(verdict, *right, "{what}");
    }
}

#[test]
fn the_root_application_applies_the_others_in_order_and_deletes_nothing_with_itself() {
    let root = &documents(&Path::new(ROOT).join("examples/gitops/argocd/root.yaml"))[0];
    let source = &root["spec"]["source"];
    assert_eq!(source["path"], "argocd");
    let left_out = source["directory"]["exclude"].as_str().unwrap();
    assert_eq!(left_out, "{argocd-cm.yaml,root.yaml}");
    let all = folder("argocd");
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let of_kind =
        |kind: &str| -> Vec<&Value> { all.iter().filter(|it| it["kind"] == *kind).collect() };
    let projects: Vec<String> = of_kind("AppProject").into_iter().map(name).collect();
    let mut waves = Vec::new();
    for application in of_kind("Application") {
        let finalizers = &application["metadata"]["finalizers"];
        assert!(finalizers.is_null(), "{application:#}");
        let project = application["spec"]["project"].as_str().unwrap();
        let is_root = name(application) == "root";
        assert!(is_root && project == "default" || projects.iter().any(|it| it == project));
        if is_root {
            continue;
        }
        let wave = &application["metadata"]["annotations"]["argocd.argoproj.io/sync-wave"];
        let wave: i32 = wave.as_str().unwrap().parse().unwrap();
        waves.push((wave, name(application)));
        // An Application that is applied too early is retried.
        let tries = &application["spec"]["syncPolicy"]["retry"]["limit"];
        assert!(tries.is_number(), "{application:#}");
    }
    waves.sort();
    let order: Vec<&str> = waves.iter().map(|(_, name)| &**name).collect();
    assert_eq!(order, ["symbolon", "symbolon-platform", "shop"]);
}

#[test]
fn the_example_repositories_pass_symbolon_check() {
    let check = |arguments: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .arg("check")
            .arg("--strict")
            .args(arguments)
            .current_dir(Path::new(ROOT).join("examples/gitops"))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{arguments:?}: {text}");
        assert!(!text.contains("checked 0"), "{text}");
    };
    check(&["platform"]);
    check(&["tenants/shop", "--applied", "platform"]);
}

#[test]
fn fluxs_own_types_accept_its_manifests() {
    let files = [yaml_files("flux"), yaml_files("flux-tenants")].concat();
    let arguments: Vec<&str> = files.iter().map(String::as_str).collect();
    let kinds = run(&[&["flux"], &arguments[..]].concat(), "");
    let kinds: BTreeSet<&str> = kinds.lines().collect();
    let all = [
        "GitRepository",
        "HelmRelease",
        "Kustomization",
        "OCIRepository",
        "RoleBinding",
        "ServiceAccount",
    ];
    assert_eq!(kinds, BTreeSet::from(all));
}

/// Flux applies nothing with a service account that does not exist or has no rights. tests/chart tests the rights.
#[test]
fn every_service_account_that_flux_uses_exists_and_is_bound() {
    let objects = [folder("flux"), folder("flux-tenants")].concat();
    let of_kind =
        |kind: &str| -> Vec<&Value> { objects.iter().filter(|it| it["kind"] == *kind).collect() };
    let mut named = 0;
    for applies in objects
        .iter()
        .filter(|it| it["spec"]["serviceAccountName"].is_string())
    {
        let account = json!({
            "kind": "ServiceAccount",
            "name": applies["spec"]["serviceAccountName"], "namespace": applies["metadata"]["namespace"],
        });
        let is_made = of_kind("ServiceAccount").into_iter().any(|it| {
            let metadata = &it["metadata"];
            metadata["name"] == account["name"] && metadata["namespace"] == account["namespace"]
        });
        assert!(is_made, "{account}");
        let is_bound = of_kind("RoleBinding").into_iter().any(|it| {
            let is_theirs = it["metadata"]["namespace"] == applies["spec"]["targetNamespace"];
            is_theirs && it["subjects"].as_array().unwrap().contains(&account)
        });
        assert!(is_bound, "{account}");
        named += 1;
    }
    assert_eq!(named, 1);
}

/// Flux stops at the first object whose namespace is missing. A Kustomization may apply objects into its own namespace,
/// into one that it creates itself, and into one that a Kustomization in its `dependsOn` creates. The Kustomization
/// that applies `flux` is in `flux-system`.
#[test]
fn every_namespace_exists_before_flux_applies_objects_into_it() {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut seen = BTreeSet::new();
    let mut to_see = vec![(
        "flux".to_owned(),
        BTreeSet::from(["flux-system".to_owned()]),
    )];
    while let Some((name, mut there)) = to_see.pop() {
        // Flux descends into folders by itself, so it would apply a nested folder together with this one.
        let path = Path::new(ROOT).join("examples/gitops").join(&name);
        let entries = fs::read_dir(path).unwrap().map(|entry| entry.unwrap());
        let below: Vec<_> = entries.filter(|it| it.path().is_dir()).collect();
        assert!(below.is_empty(), "{name}: {below:?}");
        let objects = folder(&name);
        there.extend(namespaces_made(&name));
        for object in &objects {
            let namespace = &object["metadata"]["namespace"];
            let is_there = namespace.is_null() || there.contains(&text(namespace));
            assert!(
                is_there,
                "{name}: the namespace {namespace} does not exist yet for {object:#}"
            );
        }
        let of_flux = |it: &&Value| text(&it["apiVersion"]).starts_with("kustomize.toolkit");
        let applied = |it: &Value| text(&it["spec"]["path"]).replacen("./", "", 1);
        for kustomization in objects.iter().filter(of_flux) {
            let mut known = BTreeSet::from([text(&kustomization["metadata"]["namespace"])]);
            let waited_for = kustomization["spec"]["dependsOn"].as_array();
            for before in waited_for.into_iter().flatten() {
                let is_named = |it: &&Value| it["metadata"]["name"] == before["name"];
                let before = objects.iter().filter(of_flux).find(is_named).unwrap();
                known.extend(namespaces_made(&applied(before)));
            }
            to_see.push((applied(kustomization), known));
        }
        seen.insert(name);
    }
    let all = ["flux", "flux-tenants", "platform", "tenants/shop"];
    assert_eq!(seen, BTreeSet::from(all.map(str::to_owned)));
}

fn namespaces_made(name: &str) -> Vec<String> {
    let objects = folder(name).into_iter();
    let namespaces = objects.filter(|it| it["kind"] == "Namespace");
    let names = namespaces.map(|it| it["metadata"]["name"].as_str().unwrap().to_owned());
    names.collect()
}

/// Both tools recreate an object that they have applied as soon as it is deleted.
#[test]
fn the_uninstall_steps_remove_everything_that_would_recreate_the_namespaces() {
    let page = fs::read_to_string(Path::new(ROOT).join("docs/gitops.md")).unwrap();
    let (_, steps) = page.split_once("<!-- uninstall:begin").unwrap();
    let (before, _) = steps.split_once("kubectl delete namespace").unwrap();
    let words: Vec<&str> = before.split_whitespace().collect();
    let before = words.join(" ");
    let mut named = 0;
    for object in ["argocd", "flux", "flux-tenants"].map(folder).concat() {
        let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
        let (kind, name) = (kind.as_str().unwrap(), name.as_str().unwrap());
        // The root Application applies the others, so it is no longer needed once they are out of the folder.
        if ["Application", "Kustomization", "HelmRelease"].contains(&kind) && name != "root" {
            let out = format!("{kind} `{name}`");
            assert!(before.contains(&out), "no step removes {out}");
            named += 1;
        }
    }
    assert_eq!(named, 7);
}

/// A path in an Application or a Kustomization must exist in the example repository.
#[test]
fn every_folder_that_argo_cd_and_flux_apply_exists() {
    let mut folders = Vec::new();
    for file in ["argocd", "flux", "flux-tenants"].map(yaml_files).concat() {
        for document in documents(&Path::new(ROOT).join(&file)) {
            let paths = [
                &document["spec"]["source"]["path"],
                &document["spec"]["path"],
            ];
            folders.extend(paths.into_iter().filter_map(Value::as_str).map(|path| {
                let path = path.trim_start_matches("./").to_owned();
                assert!(
                    Path::new(ROOT).join("examples/gitops").join(&path).is_dir(),
                    "{file}: {path}"
                );
                path
            }));
        }
    }
    folders.sort();
    assert_eq!(
        folders,
        [
            "argocd",
            "flux-tenants",
            "platform",
            "platform",
            "tenants/shop",
            "tenants/shop"
        ]
    );
}

/// An Application may apply only what its project allows.
#[test]
fn a_tenants_project_allows_only_the_kinds_and_the_namespace_of_its_folder() {
    let documents = documents(&Path::new(ROOT).join("examples/gitops/argocd/tenants.yaml"));
    let [project, application] = &documents[..] else {
        panic!("expected a project and an application");
    };
    assert_eq!(application["spec"]["project"], project["metadata"]["name"]);
    let destinations = project["spec"]["destinations"].as_array().unwrap();
    assert_eq!(
        destinations[..],
        [application["spec"]["destination"].clone()]
    );
    assert_eq!(project["spec"]["clusterResourceWhitelist"], json!([]));
    let allowed = project["spec"]["namespaceResourceWhitelist"]
        .as_array()
        .unwrap();
    for object in folder("tenants/shop") {
        let kind = json!({"group": "symbolon.dev", "kind": object["kind"]});
        assert!(allowed.contains(&kind), "{kind}");
        let namespace = &application["spec"]["destination"]["namespace"];
        assert_eq!(&object["metadata"]["namespace"], namespace);
    }
}

/// A commit must not delete these by accident: a Namespace takes its Identity and everything else in it along.
#[test]
fn neither_tool_prunes_the_identity_or_a_namespace() {
    let mut guarded = BTreeSet::new();
    for object in folder("platform") {
        let kind = object["kind"].as_str().unwrap().to_owned();
        if !["Identity", "Namespace"].contains(&kind.as_str()) {
            continue;
        }
        let annotations = &object["metadata"]["annotations"];
        let flux = &annotations["kustomize.toolkit.fluxcd.io/prune"];
        assert_eq!(flux, "disabled", "{object:#}");
        let argo = &annotations["argocd.argoproj.io/sync-options"];
        assert_eq!(argo, "Prune=false,Delete=false", "{object:#}");
        guarded.insert(kind);
    }
    assert_eq!(guarded.len(), 2, "{guarded:?}");
}

fn folder(name: &str) -> Vec<Value> {
    let files = yaml_files(name);
    let files = files.iter().map(|file| Path::new(ROOT).join(file));
    files.flat_map(|file| documents(&file)).collect()
}

/// The manifests in a folder of the examples, relative to the root of the repository.
fn yaml_files(folder: &str) -> Vec<String> {
    let folder = format!("examples/gitops/{folder}");
    let entries = fs::read_dir(Path::new(ROOT).join(&folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut files: Vec<String> = names
        // A folder may hold files that are not manifests.
        .filter(|name| Path::new(name).extension().is_some_and(|it| it == "yaml"))
        .map(|name| format!("{folder}/{name}"))
        .collect();
    files.sort();
    files
}

fn documents(file: &Path) -> Vec<Value> {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let documents = serde_yaml::Deserializer::from_str(&text);
    documents
        .map(|document| Value::deserialize(document).unwrap())
        .collect()
}
