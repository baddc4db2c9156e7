//! The kustomize base equals the rendered chart, and the API server accepts it. A name prefix renames references.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray,
};
use serde::Deserialize as _;
use serde_json::Value;
use symbolon::resources::{Kind, crd};

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

/// The component by which a name prefix renames references, as `references.yaml` lists them: the kind that is named,
/// the kind that names it, and the path of the field.
fn references() -> Vec<(String, String, String)> {
    let text = read("deploy/kustomize/names/references.yaml");
    let config: Value = serde_yaml::from_str(&text).unwrap();
    let mut references = Vec::new();
    for named in config["nameReference"].as_array().unwrap() {
        for field in named["fieldSpecs"].as_array().unwrap() {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            references.push((
                text(&named["kind"]),
                text(&field["kind"]),
                text(&field["path"]),
            ));
        }
    }
    references
}

#[test]
fn every_field_that_names_another_object_is_a_reference_of_the_component() {
    let known = references();
    let mut found = 0;
    for kind in Kind::ALL.into_iter().filter(|it| *it != Kind::Credential) {
        let definition = crd(kind);
        let root = definition.spec.versions[0].schema.as_ref().unwrap();
        let root = root.open_api_v3_schema.as_ref().unwrap();
        let mut fields = Vec::new();
        naming_fields(
            &root.properties.as_ref().unwrap()["spec"],
            "spec",
            &mut fields,
        );
        for field in fields {
            found += 1;
            let is_known = known
                .iter()
                .any(|(_, of, path)| of == kind.as_str() && *path == field);
            assert!(
                is_known,
                "deploy/kustomize/names/references.yaml lacks {kind} {field}"
            );
        }
    }
    assert!(found >= 11, "{found}");
}

/// Adds the paths of the fields that hold a name of another object.
fn naming_fields(schema: &JSONSchemaProps, at: &str, found: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{at}/{name}");
        let below = match &property.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => items,
            _ => property,
        };
        let is_reference =
            name.ends_with("Ref") || name.ends_with("Refs") || name.ends_with("Secrets");
        if is_reference {
            found.push(format!("{path}/name"));
        } else if name.ends_with("ClassName") || name == "className" || name.ends_with("SecretName")
        {
            found.push(path);
        } else {
            naming_fields(below, &path, found);
        }
    }
}

/// One namespace with every kind of reference.
const SHOP: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: shop}
spec:
  issuer: https://id.example.com
  storage: {type: SQLite, sqlite: {storageClassName: fast}}
  login: {password: Enabled}
  network: {tls: {secretRef: {name: cert}}, ingress: {className: web, tlsSecretName: cert}}
  pod: {imagePullSecrets: [{name: pull}], priorityClassName: high}
---
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: other, namespace: shop}
spec:
  issuer: https://other.example.com
  network: {httpRoute: {parentRefs: [{name: gate}]}, egress: {caSecretRef: {name: internal, key: ca}}}
  storage:
    type: PostgreSQL
    postgresql: {urlSecretRef: {name: database, key: url}, caSecretRef: {name: database, key: ca}}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: read, namespace: shop}
spec: {identityRef: {name: main}, value: read}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: till, namespace: shop}
spec:
  identityRef: {name: main}
  grantTypes: [ClientCredentials, AuthorizationCode]
  redirectUris: [https://till.example.com/callback]
  access: {users: [alice]}
  scopes: [read]
  systemUser: {name: till}
  referenceTokens: AdministratorsOnly
  authentication: {secret: {existingRef: {name: own, key: secret}}}
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: shop}
spec: {clientRef: {name: till}, scopes: [read]}
---
{apiVersion: symbolon.dev/v1alpha1, kind: User, metadata: {name: alice, namespace: shop}, spec: {identityRef: {name: main}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: database, namespace: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: internal, namespace: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: own, namespace: shop, labels: {symbolon.dev/client: till}}}
---
{apiVersion: v1, kind: Secret, metadata: {name: cert, namespace: shop}}
---
{apiVersion: v1, kind: Secret, metadata: {name: pull, namespace: shop}}
---
{apiVersion: scheduling.k8s.io/v1, kind: PriorityClass, metadata: {name: high}}
---
{apiVersion: networking.k8s.io/v1, kind: IngressClass, metadata: {name: web}}
---
{apiVersion: storage.k8s.io/v1, kind: StorageClass, metadata: {name: fast}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: gate, namespace: shop}}
";

#[test]
fn the_documented_name_prefix_renames_every_reference() {
    let page = read("docs/gitops.md");
    let (_, rest) = page.split_once("<!-- names:begin").unwrap();
    let (_, rest) = rest.split_once("```yaml\n").unwrap();
    let (kustomization, _) = rest.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("shop/kustomization.yaml", "resources: [all.yaml]\n");
    write("shop/all.yaml", SHOP);
    for file in ["kustomization.yaml", "references.yaml"] {
        let text = read(&format!("deploy/kustomize/names/{file}"));
        write(&format!("names/{file}"), &text);
    }
    write("staging/kustomization.yaml", kustomization);
    let staging = folder.path().join("staging");
    let built = installed().must(&format!("kustomize {}", staging.display()));
    let objects: Vec<Value> = serde_yaml::Deserializer::from_str(&built)
        .map(|document| Value::deserialize(document).unwrap())
        .collect();
    let mut renamed = 0;
    for (_, kind, path) in references() {
        let names = objects
            .iter()
            .filter(|object| object["kind"] == *kind)
            .flat_map(|object| names_at(object, &path));
        for name in names {
            renamed += 1;
            assert!(name.starts_with("staging-"), "{kind} {path}: {name}");
        }
    }
    assert_eq!(renamed, references().len(), "each field is set: {built}");
    let mut check = std::process::Command::new(env!("CARGO_BIN_EXE_symbolon"));
    check.args(["check", "-", "-o", "json"]);
    let report: Value = serde_json::from_str(&run(check, &built).unwrap()).unwrap();
    assert_eq!(report["summary"]["errors"], 0, "{report}");
}

/// The strings at a path of kustomize, in which `\/` is a slash of a name.
fn names_at(object: &Value, path: &str) -> Vec<String> {
    let path = path.replace("\\/", "\0");
    let mut found = vec![object];
    for step in path.split('/') {
        let step = step.replace('\0', "/");
        found = found
            .into_iter()
            .filter_map(|value| value.get(&step))
            .flat_map(|value| match value {
                Value::Array(items) => items.iter().collect(),
                other => vec![other],
            })
            .collect();
    }
    let names = found.into_iter().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}
