//! Attacks with a stolen token of the operator: the policies refuse every write that the operator does not make itself,
//! to new objects and to existing ones.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::{Value, json};

use crate::confined::{OPERATOR, PLATFORM, confined};
use crate::tools::{Kube, eventually, read, render, run};

/// Changes to an object, and a part of the message that must refuse them.
#[derive(Deserialize, Clone, Debug)]
#[serde(deny_unknown_fields)]
pub(crate) struct Attack {
    set: BTreeMap<String, Value>,
    says: String,
    #[serde(default)]
    create: bool,
    only: Option<String>,
}

pub(crate) fn attacks() -> BTreeMap<String, Vec<Attack>> {
    serde_yaml::from_str(include_str!("manifests/attacks.yaml")).unwrap()
}

/// Each attack with the kind of its object. An attack on pods is made on both kinds that have a pod template.
fn attacks_by_kind() -> Vec<(String, Attack)> {
    let of_kind = |(kind, attacks): (String, Vec<Attack>)| {
        let kinds = match &*kind {
            "pods" => vec!["Deployment".to_owned(), "StatefulSet".to_owned()],
            _ => vec![kind],
        };
        let pairs = kinds.into_iter().flat_map(move |kind| {
            let attacks = attacks.clone().into_iter();
            let of = kind.clone();
            let fits = move |it: &Attack| it.only.as_ref().is_none_or(|only| *only == of);
            attacks.filter(fits).map(move |it| (kind.clone(), it))
        });
        pairs.collect::<Vec<_>>()
    };
    attacks().into_iter().flat_map(of_kind).collect()
}

/// The objects that the operator builds, from a snapshot of its own tests.
fn snapshot(name: &str) -> Value {
    let path =
        format!("src/reconcile/fleet/snapshots/symbolon__reconcile__fleet__tests__{name}.snap");
    let text = read(&path);
    let (_, body) = text.split_once("\n---\n").unwrap();
    serde_yaml::from_str(body).unwrap()
}

/// The object of a kind in a snapshot.
fn find(name: &str, kind: &str) -> Value {
    let objects = snapshot(name).as_array().unwrap().clone();
    let mut objects = objects.into_iter();
    objects.find(|it| it["kind"] == kind).unwrap()
}

/// An object of an Identity without options, without an owner.
pub(crate) fn plain(kind: &str) -> Value {
    let mut object = find("plain", kind);
    let metadata = object["metadata"].as_object_mut().unwrap();
    metadata.remove("ownerReferences");
    object
}

/// An object as the operator writes it for the Identity main, without an owner, because the owner does not exist here.
pub(crate) fn written(kind: &str) -> Value {
    let managed = json!({"symbolon.dev/managed": "true"});
    let mut object = match kind {
        "StatefulSet" => snapshot("kept"),
        "ClusterRoleBinding" => find("plain", kind),
        "Ingress" => {
            let mut ingress = find("every_option", "HTTPRoute");
            ingress["apiVersion"] = "networking.k8s.io/v1".into();
            ingress["kind"] = kind.into();
            ingress["spec"] = snapshot("ingress");
            ingress
        }
        "Secret" => json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque", "data": {"token": ""},
            "metadata": {
                "name": "nightly-token", "namespace": "shop",
                "labels": {"symbolon.dev/managed": "true", "team": "shop"},
                "annotations": {"symbolon.dev/owner": "ServiceAccessToken/nightly"},
                "ownerReferences": [],
            },
        }),
        "Credential" => json!({
            "apiVersion": "symbolon.dev/v1alpha1", "kind": kind,
            "metadata": {"name": "uid-of-backend", "namespace": PLATFORM},
            "spec": {
                "identity": {"name": "main"}, "high": 1, "tokens": [],
                "owner": {"kind": "OAuthClient", "namespace": "shop", "name": "backend", "uid": "uid-of-backend"},
            },
        }),
        "Event" => json!({
            "apiVersion": "events.k8s.io/v1", "kind": kind,
            "metadata": {"name": "main.1", "namespace": PLATFORM},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "action": "Issued", "reason": "Issued", "note": "",
            "reportingController": "symbolon", "reportingInstance": "symbolon-0",
            "regarding": {
                "apiVersion": "symbolon.dev/v1alpha1", "kind": "Identity", "namespace": PLATFORM, "name": "main", "uid": "u",
            },
        }),
        "Lease" => json!({
            "apiVersion": "coordination.k8s.io/v1", "kind": kind,
            "metadata": {
                "name": "symbolon", "namespace": PLATFORM,
                "labels": {"app.kubernetes.io/name": "symbolon", "app.kubernetes.io/component": "operator"},
            },
            "spec": {"holderIdentity": "symbolon-0", "leaseDurationSeconds": 15},
        }),
        "PersistentVolumeClaim" => json!({
            "apiVersion": "v1", "kind": kind,
            "metadata": {"name": "data-main-identity-0", "namespace": PLATFORM, "labels": managed, "annotations": {}},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        }),
        _ => find("every_option", kind),
    };
    if kind != "Secret" {
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.remove("ownerReferences");
    }
    object
}

/// An object with the changes of an attack, and the expected part of the message.
pub(crate) fn attacked(object: &Value, attack: &Attack) -> (Value, String) {
    let mut object = object.clone();
    for (pointer, value) in &attack.set {
        set_at(&mut object, pointer, value);
    }
    (object, attack.says.clone())
}

/// Sets a value at a JSON pointer, and creates missing parents. Null removes the value, `-` appends to a list.
pub(crate) fn set_at(object: &mut Value, pointer: &str, value: &Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    let mut place = object;
    for part in parent.split('/').skip(1) {
        let part = part.replace("~1", "/");
        place = match place {
            Value::Array(items) => &mut items[part.parse::<usize>().unwrap()],
            other => &mut other[part],
        };
    }
    let last = last.replace("~1", "/");
    match place {
        Value::Array(items) if last == "-" => items.push(value.clone()),
        Value::Array(items) => items[last.parse::<usize>().unwrap()] = value.clone(),
        other if value.is_null() => drop(other.as_object_mut().unwrap().remove(&last)),
        other => other[last] = value.clone(),
    }
}

/// Makes the writes with the operator's token, and returns the error of each case.
///
/// kubectl reads an object before it replaces it. A controller, such as the one of Deployments, may write it in
/// between. Such a write conflict says nothing about the policy, so the write is repeated.
fn answers(kube: Kube<'_>, verb: &str, cases: &[(Value, String)]) -> Vec<String> {
    let command = format!("{verb} --validate=ignore --dry-run=server -f - --as {OPERATOR}");
    let ask = |objects: &[String]| -> Vec<String> {
        let mut kubectl = kube.0.kubectl();
        kubectl.args(command.split_whitespace());
        let answer = run(kubectl, &objects.join("\n---\n"));
        let errors = answer.expect_err("every write must be refused");
        let errors = errors.lines().filter(|line| line.contains("rror "));
        errors.map(str::to_owned).collect()
    };
    let objects: Vec<String> = cases.iter().map(|(it, _)| it.to_string()).collect();
    let mut answers = ask(&objects);
    assert_eq!(answers.len(), cases.len(), "each write must have an error");
    for (object, answer) in objects.iter().zip(&mut answers) {
        eventually("the write meets no write conflict", || {
            if answer.contains("(Conflict)") {
                *answer = ask(std::slice::from_ref(object)).concat();
            }
            (!answer.contains("(Conflict)")).then_some(())
        });
    }
    answers
}

/// Asserts that the intended rule refuses each write with the operator's token.
#[track_caller]
fn assert_all_refused(kube: Kube<'_>, verb: &str, cases: &[(Value, String)]) {
    let mut wrong = Vec::new();
    for ((object, says), error) in cases.iter().zip(answers(kube, verb, cases)) {
        if !error.contains("'symbolon-operator") || !error.contains(&**says) {
            wrong.push(format!(
                "{verb} {}: wants {says:?}, got {error}",
                object["kind"]
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_policies_refuse_attacks_on_new_objects() {
    let kube = confined();
    let all = attacks_by_kind();
    let cases = all
        .iter()
        .map(|(kind, attack)| attacked(&written(kind), attack));
    assert_all_refused(kube, "create", &cases.collect::<Vec<_>>());
}

#[test]
fn the_policies_refuse_attacks_on_existing_objects() {
    let kube = confined();
    let mut live: BTreeMap<String, Value> = BTreeMap::new();
    let all = attacks_by_kind().into_iter();
    let all: Vec<_> = all.filter(|(_, attack)| !attack.create).collect();
    for (kind, _) in &all {
        if live.contains_key(kind) {
            continue;
        }
        let mut object = written(kind);
        // Another name, because another test creates the objects of the Identity main.
        rename(&mut object);
        let mut create = kube.0.kubectl();
        create.args(["create", "-f", "-", "-o", "json"]);
        let created = run(create, &object.to_string()).unwrap();
        let mut created: Value = serde_json::from_str(&created).unwrap();
        let metadata = created["metadata"].as_object_mut().unwrap();
        for field in ["resourceVersion", "managedFields", "uid"] {
            metadata.remove(field);
        }
        live.insert(kind.clone(), created);
    }
    let cases = all.iter().map(|(kind, attack)| {
        let mut object = live[kind].clone();
        let metadata = object["metadata"].as_object_mut().unwrap();
        metadata.entry("ownerReferences").or_insert(json!([]));
        attacked(&object, attack)
    });
    assert_all_refused(kube, "replace", &cases.collect::<Vec<_>>());
}

/// Turns an object of the Identity `main` into one of the Identity `there`.
fn rename(object: &mut Value) {
    let text = object.to_string();
    let text = text
        .replace("main-", "there-")
        .replace("\"main\"", "\"there\"")
        .replace("platform/main", "platform/there")
        .replace(":main", ":there");
    *object = serde_json::from_str(&text).unwrap();
}

#[test]
fn by_default_no_host_is_allowed() {
    let kube = crate::world::installed();
    let operator = crate::world::OPERATOR;
    let mut object = written("Ingress");
    object["metadata"]["namespace"] = crate::world::HOME.into();
    let create = format!("create --dry-run=server -f - --as {operator}");
    let error = kube.with(&create, &object.to_string()).unwrap_err();
    assert!(error.contains("'symbolon-operator-network'"), "{error}");
    assert!(error.contains("identities.allowed.hosts"), "{error}");
}

/// The API server checks the types of the expressions against the kinds that they match.
#[test]
fn the_policies_have_no_type_warnings() {
    let kube = confined();
    let policies: Value =
        serde_json::from_str(&kube.must("get validatingadmissionpolicy -o json")).unwrap();
    let mut found = 0;
    for policy in policies["items"].as_array().unwrap() {
        let name = policy["metadata"]["name"].as_str().unwrap();
        if !name.starts_with("symbolon-operator") {
            continue;
        }
        found += 1;
        let warnings = eventually("the types are checked", || {
            let live = kube.get(&format!("validatingadmissionpolicy {name}"))?;
            let status = &live["status"];
            let is_checked = status["observedGeneration"] == live["metadata"]["generation"];
            is_checked.then(|| status["typeChecking"]["expressionWarnings"].clone())
        });
        assert!(warnings.is_null(), "{name}: {warnings:#}");
    }
    assert_eq!(found, 8);
}

/// Writes that RBAC allows the operator and no policy checks, and why.
const UNDER_NO_POLICY: [(&str, &str); 6] = [
    ("DELETE", "symbolon.dev/credentials"),
    // A write to a status changes nothing else of an object, and the CRD's schema restricts its content.
    ("UPDATE", "symbolon.dev/identities/status"),
    ("UPDATE", "symbolon.dev/scopes/status"),
    ("UPDATE", "symbolon.dev/oauthclients/status"),
    ("UPDATE", "symbolon.dev/serviceaccesstokens/status"),
    ("UPDATE", "symbolon.dev/users/status"),
];

/// The writes that a rule allows or matches, as `(operation, group/resource)`.
fn writes<'a>(rule: &'a Value, verbs: &'a str) -> impl Iterator<Item = (String, String)> + 'a {
    let texts = |of: &'a Value| {
        let list = of.as_array().unwrap().iter();
        list.map(|it| it.as_str().unwrap())
    };
    let whats = texts(&rule["apiGroups"]).flat_map(move |group| {
        texts(&rule["resources"]).map(move |resource| format!("{group}/{resource}"))
    });
    whats.flat_map(move |what| {
        let operations = texts(&rule[verbs]).flat_map(|verb| match verb {
            "create" => vec!["CREATE"],
            "update" | "patch" => vec!["UPDATE"],
            "delete" => vec!["DELETE"],
            "get" | "list" | "watch" => vec![],
            operation => vec![operation],
        });
        operations.map(move |operation| (operation.to_owned(), what.clone()))
    })
}

/// A stolen token could use a right that exists in RBAC alone without any limit.
#[test]
fn a_policy_checks_every_write_that_rbac_allows_the_operator() {
    for values in ["", "watchNamespaces: [shop]"] {
        let rendered = render(values, &[]).unwrap();
        let documents = serde_yaml::Deserializer::from_str(&rendered);
        let objects: Vec<Value> = documents
            .map(|it| Value::deserialize(it).unwrap())
            .collect();
        let of = |kinds: &[&str]| {
            let of = |it: &&Value| kinds.iter().any(|kind| it["kind"] == *kind);
            objects.iter().filter(of).collect::<Vec<_>>()
        };
        // The roles that are bound to the operator.
        let bindings = of(&["ClusterRoleBinding", "RoleBinding"]).into_iter();
        let bindings = bindings.filter(|it| it["subjects"][0]["name"] == "symbolon");
        let bound: Vec<&Value> = bindings.map(|it| &it["roleRef"]["name"]).collect();
        let roles = of(&["ClusterRole", "Role"]).into_iter();
        let roles = roles.filter(|it| bound.contains(&&it["metadata"]["name"]));
        let rules = roles.flat_map(|it| it["rules"].as_array().unwrap());
        let rights: BTreeSet<_> = rules.flat_map(|it| writes(it, "verbs")).collect();
        let judged = |name: &'static str| {
            let policies = of(&["ValidatingAdmissionPolicy"]).into_iter();
            let policies = policies.filter(move |it| {
                let policy = it["metadata"]["name"].as_str().unwrap();
                policy.contains(name)
            });
            let rules = policies.flat_map(|it| {
                let rules = &it["spec"]["matchConstraints"]["resourceRules"];
                rules.as_array().unwrap()
            });
            rules.flat_map(|it| writes(it, "operations"))
        };
        // This policy checks only the operator's writes to the status.
        let statuses = judged("symbolon-credentials").filter(|(_, what)| what.ends_with("/status"));
        let judged: BTreeSet<_> = judged("symbolon-operator").chain(statuses).collect();
        let free: BTreeSet<_> = rights.difference(&judged).cloned().collect();
        let expected = UNDER_NO_POLICY.map(|(how, what)| (how.to_owned(), what.to_owned()));
        assert!(rights.len() > 40, "{rights:?}");
        assert_eq!(free, BTreeSet::from(expected), "{values}");
    }
}
