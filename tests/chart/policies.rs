//! What the admission policies refuse, with which message, and what they allow.

use serde_json::{Value, json};

use crate::attacks::{plain, set_at, written};
use crate::harness::Cluster;
use crate::tools::{Answer, Kube, eventually};
use crate::world::{ADMINISTRATOR, HOME, OPERATOR, installed, manifest_of_token, settled};

/// A user that the policies exempt.
const EXEMPT: &str = "admin --as-group system:masters";

#[track_caller]
fn refused(answer: Answer, policy: &str, says: &str) {
    let error = answer.expect_err("the write must be refused");
    assert!(
        error.contains(&format!("'symbolon-{policy}'")),
        "another policy refused it: {error}"
    );
    assert!(error.contains(says), "{error}");
}

fn namespace(kube: Kube<'_>, purpose: &str) -> String {
    let name = format!("policy-{purpose}");
    kube.must(&format!("create namespace {name}"));
    name
}

fn identity(namespace: &str, name: &str) -> String {
    format!(
        "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec: {{issuer: 'https://{name}.example.com'}}\n"
    )
}

fn credential(name: &str, identity: &str, high: u32) -> String {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "Credential",
        "metadata": {"name": name, "namespace": HOME},
        "spec": {
            "identity": {"name": identity}, "high": high, "tokens": [],
            "owner": {"kind": "OAuthClient", "namespace": "shop", "name": "backend", "uid": name},
        },
    })
    .to_string()
}

#[test]
fn only_the_operator_writes_a_status() {
    let kube = installed();
    kube.apply(&identity(HOME, "status"));
    let write = |user: &str| {
        let identity = kube.must(&format!("get identity -n {HOME} status -o json"));
        let address =
            format!("/apis/symbolon.dev/v1alpha1/namespaces/{HOME}/identities/status/status");
        kube.with(
            &format!("replace --raw {address} -f - --as {user}"),
            &identity,
        )
    };
    refused(
        write(ADMINISTRATOR),
        "status",
        "admissionPolicies.exempt.users",
    );
    write(OPERATOR).unwrap();
    write(EXEMPT).unwrap();
}

#[test]
fn only_the_operator_writes_a_credential_and_rbac_decides_who_deletes_it() {
    let kube = installed();
    let first = credential("credential-first", "main", 1);
    refused(
        kube.apply_as(ADMINISTRATOR, &first),
        "credentials",
        "admissionPolicies.exempt.users",
    );
    let create = format!("create -f - --as {OPERATOR}");
    kube.with(&create, &first).unwrap();
    let later = json!({"spec": {"high": 2}});
    let change = format!(
        "patch -n {HOME} credential credential-first --type=merge -p {later} --as {ADMINISTRATOR}"
    );
    refused(
        kube.ask(&change),
        "credentials",
        "only system:serviceaccount",
    );
    // The policy leaves metadata to RBAC: the garbage collector and the storage migrator write it.
    kube.must(&format!(
        "annotate -n {HOME} credential credential-first seen=yes --as {ADMINISTRATOR}"
    ));
    kube.must(&format!(
        "delete -n {HOME} credential credential-first --as {ADMINISTRATOR}"
    ));
    // A backup tool restores what it saved.
    kube.apply_as(EXEMPT, &first).unwrap();
}

#[test]
fn only_the_servers_of_an_identity_report_last_use() {
    let kube = installed();
    for (number, identity) in ["uses", "others"].into_iter().enumerate() {
        let credential = credential(&format!("credential-used-{number}"), identity, 1);
        kube.with(&format!("create -f - --as {OPERATOR}"), &credential)
            .unwrap();
    }
    kube.must(&format!("create role reporter -n {HOME} --verb=get,patch --resource=credentials.symbolon.dev,credentials.symbolon.dev/status"));
    kube.must(&format!(
        "create rolebinding reporter -n {HOME} --role=reporter --serviceaccount={HOME}:uses-identity"
    ));
    let report = |number: u32| {
        kube.ask(&format!("patch -n {HOME} credential credential-used-{number} --subresource=status --type=merge -p {{\"status\":{{}}}} --as system:serviceaccount:{HOME}:uses-identity"))
    };
    eventually("the server may report for its own Identity", || {
        report(0).ok()
    });
    refused(
        report(1),
        "credentials",
        &format!("system:serviceaccount:{HOME}:others-identity"),
    );
}

/// A stolen token of a server can revoke tokens, but cannot undo a revocation.
#[test]
fn a_server_cannot_undo_a_revocation_of_a_recorded_token() {
    let kube = installed();
    let (one, two) = ("AAAAAAAAAAAAAAAA", "BBBBBBBBBBBBBBBB");
    let token = |epoch: u32, id: &str| {
        json!({
            "epoch": epoch, "tokenId": id, "hash": "0".repeat(64), "mac": "0".repeat(64), "principal": "p", "scopes": [],
            "client": {"name": "c", "uid": "c"}, "issuedAt": "2026-01-01T00:00:00Z", "cause": "Initial",
        })
    };
    let mut whole: serde_json::Value =
        serde_json::from_str(&credential("credential-revoked", "revoking", 2)).unwrap();
    whole["spec"]["tokens"] = json!([token(1, one), token(2, two)]);
    let create = format!("create -f - --as {OPERATOR}");
    kube.with(&create, &whole.to_string()).unwrap();
    kube.must(&format!("create role revoker -n {HOME} --verb=get,patch --resource=credentials.symbolon.dev,credentials.symbolon.dev/status"));
    kube.must(&format!(
        "create rolebinding revoker -n {HOME} --role=revoker --serviceaccount={HOME}:revoking-identity"
    ));
    let write = |revoked: serde_json::Value| {
        let patch = json!({"status": {"revoked": revoked}});
        kube.ask(&format!("patch -n {HOME} credential credential-revoked --subresource=status --type=merge -p {patch} --as system:serviceaccount:{HOME}:revoking-identity"))
    };
    eventually("the server may write the status", || {
        write(json!([one])).ok()
    });
    for less in [json!([]), json!([two]), json!(null)] {
        refused(write(less), "credentials", "must keep the ids");
    }
    let unknown = json!([one, "CCCCCCCCCCCCCCCC"]);
    refused(write(unknown), "credentials", "may name only tokens");
    write(json!([one, two])).unwrap();
    let again = json!({"status": {"uses": []}});
    kube.must(&format!("patch -n {HOME} credential credential-revoked --subresource=status --type=merge -p {again} --as system:serviceaccount:{HOME}:revoking-identity"));
    // The id of a token that is no longer recorded may be removed.
    let live = kube.must(&format!(
        "get credential -n {HOME} credential-revoked -o json"
    ));
    let mut fewer: serde_json::Value = serde_json::from_str(&live).unwrap();
    fewer["spec"]["tokens"] = json!([token(2, two)]);
    let replace = format!("replace -f - --as {OPERATOR}");
    kube.with(&replace, &fewer.to_string()).unwrap();
    write(json!([two])).unwrap();
}

/// RBAC gives a server rights in a whole namespace, which may hold another Identity.
#[test]
fn servers_delete_no_credential_of_another_identity() {
    let kube = installed();
    for name in ["lost", "kept"] {
        let credential = credential(&format!("credential-{name}"), name, 1);
        kube.with(&format!("create -f - --as {OPERATOR}"), &credential)
            .unwrap();
    }
    kube.must(&format!(
        "create role deleter -n {HOME} --verb=get,delete --resource=credentials.symbolon.dev"
    ));
    kube.must(&format!(
        "create rolebinding deleter -n {HOME} --role=deleter --serviceaccount={HOME}:lost-identity"
    ));
    let delete = |name: &str| {
        kube.ask(&format!("delete credential -n {HOME} credential-{name} --as system:serviceaccount:{HOME}:lost-identity"))
    };
    eventually(
        "the server may delete a Credential of its own Identity",
        || delete("lost").ok(),
    );
    refused(
        delete("kept"),
        "credentials",
        &format!("system:serviceaccount:{HOME}:kept-identity"),
    );
}

fn user(namespace: &str, name: &str, annotations: &Value, spec: &Value) -> String {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "User",
        "metadata": {"name": name, "namespace": namespace, "annotations": annotations}, "spec": spec,
    })
    .to_string()
}

/// Makes a namespace in which erin keeps the list of people and carol administers.
fn staffed(kube: Kube<'_>, name: &str) -> String {
    let home = namespace(kube, name);
    for (user, role) in [("erin", "user-edit"), ("carol", "identity-admin")] {
        kube.must(&format!(
            "create rolebinding {user} -n {home} --clusterrole symbolon-{role} --user {user}"
        ));
        eventually("the role is bound", || {
            let may = format!("auth can-i create users.symbolon.dev -n {home} --as {user}");
            kube.ask(&may).ok()
        });
    }
    home
}

/// A user who keeps the list of people gets neither a way to act as one of them nor an administrator.
#[test]
fn links_subjects_and_administrators_need_the_verb_administer() {
    let kube = installed();
    let home = staffed(kube, "users");
    let (none, link) = (json!({}), json!({"symbolon.dev/enroll": "one"}));
    let subject = json!({"subject": "0198c0de-0000-8000-8000-000000000001"});
    let administrator = json!({"role": "Administrator"});
    let create =
        |user: &str, manifest: &str| kube.with(&format!("create -f - --as {user}"), manifest);
    let replace =
        |user: &str, manifest: &str| kube.with(&format!("replace -f - --as {user}"), manifest);

    for (annotations, spec, says) in [
        (&link, &json!({}), "set the annotation symbolon.dev/enroll"),
        (&none, &subject, "set spec.subject"),
        (
            &none,
            &administrator,
            "create, change or delete an Administrator",
        ),
    ] {
        refused(
            create("erin", &self::user(&home, "new", annotations, spec)),
            "users",
            says,
        );
    }
    let alice = |annotations: &Value, spec: Value| self::user(&home, "alice", annotations, &spec);
    create("erin", &alice(&none, json!({"groups": ["buyers"]}))).unwrap();
    refused(
        replace("erin", &alice(&link, json!({}))),
        "users",
        "symbolon-identity-admin",
    );
    refused(
        replace("erin", &alice(&none, administrator)),
        "users",
        "an Administrator",
    );
    // What an administrator has set stays set when others edit something else, and others may withdraw a link.
    replace("carol", &alice(&link, json!({}))).unwrap();
    replace("erin", &alice(&link, json!({"groups": ["sellers"]}))).unwrap();
    let other = json!({"symbolon.dev/enroll": "two"});
    refused(
        replace("erin", &alice(&other, json!({}))),
        "users",
        "set the annotation",
    );
    replace("erin", &alice(&none, json!({"disabled": true}))).unwrap();
    for field in ["username", "email"] {
        let name = json!({(field): "bob@example.com"});
        refused(
            replace("erin", &alice(&none, name.clone())),
            "users",
            &format!("change spec.{field}"),
        );
        replace("carol", &alice(&none, name)).unwrap();
        refused(
            replace("erin", &alice(&none, json!({}))),
            "users",
            &format!("change spec.{field}"),
        );
        replace("carol", &alice(&none, json!({}))).unwrap();
    }
}

#[test]
fn an_administrator_is_changed_and_deleted_only_with_the_verb_administer() {
    let kube = installed();
    let home = staffed(kube, "administrators");
    let write = |verb: &str, user: &str, spec: &Value| {
        let manifest = self::user(&home, "alice", &json!({}), spec);
        kube.with(&format!("{verb} -f - --as {user}"), &manifest)
    };
    write("create", "carol", &json!({"role": "Administrator"})).unwrap();
    for spec in [
        json!({}),
        json!({"role": "Administrator", "email": "e@example.com"}),
    ] {
        refused(write("replace", "erin", &spec), "users", "an Administrator");
    }
    let link = json!({"symbolon.dev/enroll": "one"});
    let mark = |user: &str, metadata: &Value| {
        let patch = json!({"metadata": metadata});
        kube.ask(&format!(
            "patch user.symbolon.dev -n {home} alice --type=merge -p {patch} --as {user}"
        ))
    };
    mark("carol", &json!({"annotations": link})).unwrap();
    let owner = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "name": "gone", "uid": "0198c0de-0000-8000-8000-000000000002",
    });
    for metadata in [
        json!({"ownerReferences": [owner]}),
        json!({"finalizers": ["example.com/kept"]}),
        json!({"labels": {"argocd.argoproj.io/instance": "other"}}),
        json!({"annotations": {"symbolon.dev/enroll": null}}),
        json!({"annotations": {"example.com/note": "1"}}),
    ] {
        refused(mark("erin", &metadata), "users", "an Administrator");
    }
    let labels = json!({"labels": {"team": "a"}});
    mark("carol", &labels).unwrap();
    // Without a change there is nothing to refuse.
    mark("erin", &labels).unwrap();
    let delete = |user: &str| {
        kube.ask(&format!(
            "delete user.symbolon.dev -n {home} alice --cascade=foreground --timeout=60s --as {user}"
        ))
    };
    refused(delete("erin"), "users", "an Administrator");
    // The garbage collector takes its finalizer away.
    delete("carol").unwrap();
}

#[test]
fn an_identity_is_deleted_only_with_the_annotation() {
    let kube = installed();
    let home = namespace(kube, "identity");
    kube.apply(&identity(&home, "main"));
    for user in [ADMINISTRATOR, EXEMPT] {
        refused(
            kube.ask(&format!("delete identity -n {home} main --as {user}")),
            "identity-deletion",
            &format!("kubectl annotate -n {home} identity main symbolon.dev/allow-deletion=true"),
        );
    }
    // Follow the message.
    kube.must(&format!(
        "annotate -n {home} identity main symbolon.dev/allow-deletion=true"
    ));
    kube.must(&format!(
        "delete identity -n {home} main --as {ADMINISTRATOR}"
    ));
}

/// A `deletecollection` request names no object, but the policy checks each one.
#[test]
fn identities_are_deleted_together_only_if_each_has_the_annotation() {
    let kube = installed();
    let home = namespace(kube, "together");
    for name in ["first", "second"] {
        kube.apply(&identity(&home, name));
    }
    let all = format!(
        "delete --raw /apis/symbolon.dev/v1alpha1/namespaces/{home}/identities --as {ADMINISTRATOR}"
    );
    let allow = |name: &str| {
        kube.must(&format!(
            "annotate -n {home} identity {name} symbolon.dev/allow-deletion=true"
        ))
    };
    let left = || kube.must(&format!("get identities -n {home} -o name"));
    let refuses = |name: &str| {
        let says = format!("kubectl annotate -n {home} identity {name}");
        refused(kube.ask(&all), "identity-deletion", &says);
    };
    refuses("first");
    assert_eq!(left().lines().count(), 2, "{}", left());
    allow("first");
    refuses("second");
    assert!(left().contains("/second"), "{}", left());
    allow("second");
    kube.must(&all);
    assert_eq!(left(), "");
}

#[test]
fn a_namespace_is_deleted_with_its_identity_and_everything_in_it() {
    let kube = installed();
    let home = namespace(kube, "whole");
    kube.apply(&identity(&home, "main"));
    kube.apply(&manifest_of_token(&home, ""));
    kube.apply(&credential("credential-whole", "main", 1).replace(HOME, &home));
    kube.must(&format!("delete namespace {home} --timeout=180s"));
    assert!(kube.get(&format!("namespace {home}")).is_none());
}

#[test]
fn a_crd_is_deleted_only_with_the_annotation() {
    let kube = installed();
    refused(
        kube.ask("delete crd identities.symbolon.dev"),
        "definition-deletion",
        "kubectl annotate crd identities.symbolon.dev symbolon.dev/allow-deletion=true",
    );
    let stranger = r"{apiVersion: apiextensions.k8s.io/v1, kind: CustomResourceDefinition, metadata: {name: things.example.com},
        spec: {group: example.com, scope: Namespaced, names: {kind: Thing, plural: things},
        versions: [{name: v1, served: true, storage: true, schema: {openAPIV3Schema: {type: object}}}]}}";
    kube.apply(stranger);
    kube.must("delete crd things.example.com");
}

#[test]
fn the_operator_writes_only_its_own_secrets() {
    let kube = installed();
    let home = namespace(kube, "secrets");
    let create = |name: &str, metadata: &str| {
        let secret = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {home}, {metadata}}}, data: {{}}}}"
        );
        (
            secret.clone(),
            kube.with(&format!("create -f - --as {OPERATOR}"), &secret),
        )
    };
    let managed = r#"labels: {symbolon.dev/managed: "true"}"#;
    let says = "symbolon.dev/managed";
    let (foreign, answer) = create("foreign", "");
    refused(answer, "operator", says);
    create("ours", managed).1.unwrap();
    kube.apply(&foreign);

    let replace = |name: &str, metadata: &str| {
        let secret = format!(
            "{{apiVersion: v1, kind: Secret, metadata: {{name: {name}, namespace: {home}, {metadata}}}, stringData: {{changed: 'yes'}}}}"
        );
        kube.with(&format!("replace -f - --as {OPERATOR}"), &secret)
    };
    replace("ours", managed).unwrap();
    refused(replace("ours", ""), "operator", says);
    refused(replace("foreign", ""), "operator", says);
    refused(replace("foreign", managed), "operator", says);
    let delete = |name: &str| kube.ask(&format!("delete secret -n {home} {name} --as {OPERATOR}"));
    refused(delete("foreign"), "operator", says);
    delete("ours").unwrap();

    // After a restore without labels, or after a user removed the label, the operator may add it again.
    kube.apply(&format!("{{apiVersion: symbolon.dev/v1alpha1, kind: OAuthClient, metadata: {{name: backend, namespace: {home}}}, spec: {{grantTypes: [ClientCredentials]}}}}"));
    let uid = kube.must(&format!(
        "get oauthclient backend -n {home} -o jsonpath={{.metadata.uid}}"
    ));
    for metadata in [
        "annotations: {symbolon.dev/owner: OAuthClient/backend}".to_owned(),
        format!(
            "ownerReferences: [{{apiVersion: symbolon.dev/v1alpha1, kind: OAuthClient, name: backend, uid: {uid}}}]"
        ),
    ] {
        kube.apply(&format!("{{apiVersion: v1, kind: Secret, metadata: {{name: restored, namespace: {home}, {metadata}}}}}"));
        refused(delete("restored"), "operator", says);
        replace("restored", managed).unwrap();
        kube.must(&format!("delete secret -n {home} restored"));
    }
}

/// Kubernetes writes a token of the named account into such a Secret, and the operator can read Secrets.
#[test]
fn the_operator_cannot_use_a_secret_to_get_another_accounts_token() {
    let kube = installed();
    let home = namespace(kube, "types");
    let create = |kind: &str, annotations: &str| {
        let secret = format!(
            "{{apiVersion: v1, kind: Secret, type: {kind}, metadata: {{name: typed, namespace: {home}, labels: {{symbolon.dev/managed: 'true'}},
            annotations: {{{annotations}}}}}, data: {{}}}}"
        );
        let create = format!("create --dry-run=server -f - --as {OPERATOR}");
        kube.with(&create, &secret)
    };
    for kind in ["Opaque", "servicebinding.io/oauth2"] {
        create(kind, "").unwrap();
    }
    for kind in ["bootstrap.kubernetes.io/token", "example.com/obeyed"] {
        refused(create(kind, ""), "operator-secrets", kind);
    }
    // Two policies refuse this one: for its type, and for its annotation.
    let account = "kubernetes.io/service-account.name: default";
    let token = create("kubernetes.io/service-account-token", account);
    let error = token.expect_err("the write must be refused");
    assert!(error.contains("'symbolon-operator"), "{error}");
    assert!(error.contains("kubernetes.io/service-account"), "{error}");
    let annotated = create("Opaque", account);
    refused(annotated, "operator", "kubernetes.io/service-account.name");
}

/// The operator may run only the workloads that it builds for Identities, with no access to nodes or other accounts.
#[test]
fn the_operator_runs_only_pods_of_servers() {
    let kube = installed();
    for kind in ["Deployment", "StatefulSet"] {
        let create = |changes: &[(&str, Value)]| {
            let mut workload = workload(kind, "main-identity");
            for (pointer, value) in changes {
                set_at(&mut workload, pointer, value);
            }
            let create = format!("create --dry-run=server -f - --as {OPERATOR}");
            kube.with(&create, &workload.to_string())
        };
        create(&[]).unwrap();
        let pod = "/spec/template/spec";
        let volume = format!("{pod}/volumes/-");
        let container = format!("{pod}/containers/0/securityContext");
        let account = format!("{pod}/serviceAccountName");
        let csi = json!({"name": "any", "csi": {"driver": "example.com"}});
        let first = json!([{"name": "first", "image": "example.com/x", "securityContext": {"privileged": true}}]);
        let nfs = json!({"name": "share", "nfs": {"server": "a", "path": "/"}});
        let root = json!({"name": "root", "hostPath": {"path": "/"}});
        for (changes, says) in [
            (
                vec![(&*account, json!("default"))],
                "only under the accounts",
            ),
            (vec![(&*account, json!(null))], "only under the accounts"),
            (
                vec![(&*format!("{pod}/hostPID"), json!(true))],
                "of their node",
            ),
            (
                vec![(&*format!("{pod}/hostNetwork"), json!(true))],
                "of their node",
            ),
            (vec![(&*volume, root)], "of their node"),
            (vec![(&*volume, nfs)], "of their node"),
            (
                vec![(&*volume, csi)],
                "may not add a volume of a CSI driver",
            ),
            (
                vec![
                    (
                        &*format!("{container}/allowPrivilegeEscalation"),
                        json!(true),
                    ),
                    (&*format!("{container}/privileged"), json!(true)),
                ],
                "privileged",
            ),
            (
                vec![(
                    &*format!("{container}/capabilities/add"),
                    json!(["NET_BIND_SERVICE", "SYS_ADMIN"]),
                )],
                "privileged",
            ),
            (
                vec![(&*format!("{pod}/initContainers"), first)],
                "privileged",
            ),
        ] {
            refused(create(&changes), "operator-pods", says);
        }
    }
}

/// A workload of an Identity in the namespace of the release, as the operator writes it.
fn workload(kind: &str, name: &str) -> Value {
    let mut workload = written(kind);
    if kind == "Deployment" {
        workload = plain(kind);
    }
    let text = workload.to_string().replace("platform", HOME);
    let text = text.replace(
        "registry.example.com/symbolon:1.2.3",
        "symbolon/symbolon:0.1.0",
    );
    let text = text.replace("main", name.trim_end_matches("-identity"));
    serde_json::from_str(&text).unwrap()
}

/// The policy accepts additions of others that the Restricted pod security standard allows.
#[test]
fn additions_that_restricted_pods_may_have_stop_no_rollout() {
    let kube = installed();
    for kind in ["Deployment", "StatefulSet"] {
        let name = "restricted-identity";
        let mut workload = workload(kind, name);
        for volume in [
            json!({"name": "a", "emptyDir": {}}),
            json!({"name": "b", "secret": {"secretName": "tls"}}),
            json!({"name": "c", "projected": {"sources": []}}),
            json!({"name": "d", "image": {"reference": "example.com/x"}}),
            json!({"name": "e", "ephemeral": {"volumeClaimTemplate": {"spec": {
                "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}}}),
        ] {
            set_at(&mut workload, "/spec/template/spec/volumes/-", &volume);
        }
        let capabilities = "/spec/template/spec/containers/0/securityContext/capabilities/add";
        set_at(&mut workload, capabilities, &json!(["NET_BIND_SERVICE"]));
        kube.apply(&workload.to_string());
        let changed = json!({"spec": {"template": {"metadata": {"labels": {"team": "a"}}}}});
        kube.must(&format!(
            "patch {kind} -n {HOME} {name} --type=merge -p {changed} --as {OPERATOR}"
        ));
        kube.must(&format!("delete {kind} -n {HOME} {name}"));
    }
}

/// The policy ignores an administrator's changes to a pod template while the operator writes only other fields.
#[test]
fn an_existing_privileged_pod_template_does_not_block_other_changes() {
    let kube = installed();
    let workload = format!(
        "{{apiVersion: apps/v1, kind: Deployment, metadata: {{name: debugged-identity, namespace: {HOME}, labels: {{symbolon.dev/managed: 'true'}}}},
        spec: {{replicas: 0, selector: {{matchLabels: {{app: x}}}}, template: {{metadata: {{labels: {{app: x}}}},
        spec: {{hostNetwork: true, containers: [{{name: symbolon, image: example.com/x}}]}}}}}}}}"
    );
    kube.apply(&workload);
    let patch = |patched: &str| {
        kube.ask(&format!(
            "patch deployment -n {HOME} debugged-identity --type=merge -p {patched} --as {OPERATOR}"
        ))
    };
    patch(r#"{"metadata":{"annotations":{"symbolon.dev/seen":"yes"}}}"#).unwrap();
    let other = r#"{"spec":{"template":{"metadata":{"labels":{"team":"a"}}}}}"#;
    refused(patch(other), "operator-pods", "only under the accounts");
    kube.must(&format!(
        "delete deployment -n {HOME} debugged-identity --as {OPERATOR}"
    ));
}

/// The attributes of a CSI volume decide what its driver does, so the operator must not choose them.
#[test]
fn the_operator_keeps_a_csi_volume_and_adds_none() {
    let kube = installed();
    let csi = |name: &str, driver: &str, host: &str| {
        json!({"name": name, "csi": {
            "driver": driver, "readOnly": true,
            "volumeAttributes": {"csi.cert-manager.io/dns-names": host}}})
    };
    let certificate = csi("tls", "csi.cert-manager.io", "a.example.com");
    let keys = workload("Deployment", "csi-with")["spec"]["template"]["spec"]["volumes"][0].clone();
    let none = json!([keys]);
    let one = json!([keys, certificate]);
    for (name, volumes) in [("csi-with", &one), ("csi-without", &none)] {
        let mut deployment = workload("Deployment", &format!("{name}-identity"));
        deployment["metadata"]["name"] = name.into();
        // Both mount the keys of csi-with, because the policy accepts volumes that exist already.
        deployment["spec"]["template"]["spec"]["volumes"] = volumes.clone();
        kube.apply(&deployment.to_string());
    }
    let roll_out = |name: &str, volumes: &serde_json::Value| {
        let changed = json!({"metadata": {"labels": {"team": "a"}}, "spec": {"volumes": volumes}});
        let patch = json!({"spec": {"template": changed}});
        kube.ask(&format!(
            "patch deployment -n {HOME} {name} --dry-run=server --type=merge -p {patch} --as {OPERATOR}"
        ))
    };
    for volumes in [&one, &none] {
        roll_out("csi-with", volumes).unwrap();
    }
    let two = json!([keys, {"name": "a", "emptyDir": {}}, certificate]);
    refused(roll_out("csi-with", &two), "operator-pods", "volumes: a");
    let says = "may not add a volume of a CSI driver";
    for changed in [
        json!([keys, csi("tls", "csi.cert-manager.io", "b.example.com")]),
        json!([keys, csi("tls", "other.example.com", "a.example.com")]),
        json!([
            keys,
            certificate,
            csi("more", "csi.cert-manager.io", "a.example.com")
        ]),
    ] {
        refused(roll_out("csi-with", &changed), "operator-pods", says);
    }
    refused(roll_out("csi-without", &one), "operator-pods", says);
    for name in ["csi-with", "csi-without"] {
        kube.must(&format!("delete deployment -n {HOME} {name}"));
    }
}

#[test]
fn the_operator_grants_rights_only_to_servers() {
    let kube = installed();
    let binding = |name: &str, role: &str, subject: &str| {
        let manifest = format!(
            "{{apiVersion: rbac.authorization.k8s.io/v1, kind: ClusterRoleBinding, metadata: {{name: '{name}', labels: {{symbolon.dev/managed: 'true'}}}},
            roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: {role}}},
            subjects: [{{kind: ServiceAccount, name: {subject}, namespace: {HOME}}}]}}"
        );
        kube.with(
            &format!("create --dry-run=server -f - --as {OPERATOR}"),
            &manifest,
        )
    };
    binding("symbolon:a:main", "symbolon-server", "main-identity").unwrap();
    refused(
        binding("symbolon:a:main", "symbolon-operator", "main-identity"),
        "operator-rights",
        "may bind only",
    );
    refused(
        binding("symbolon:a:main", "symbolon-server", "default"),
        "operator-rights",
        "only to the servers",
    );
    refused(
        kube.ask(&format!(
            "delete clusterrolebinding cluster-admin --as {OPERATOR}"
        )),
        "operator",
        "symbolon.dev/managed",
    );
    let role = format!(
        "{{apiVersion: rbac.authorization.k8s.io/v1, kind: Role, metadata: {{name: x-identity, namespace: {HOME}, labels: {{symbolon.dev/managed: 'true'}}}},
        rules: [{{apiGroups: [''], resources: [secrets], verbs: [get]}}]}}"
    );
    refused(
        kube.with(&format!("create -f - --as {OPERATOR}"), &role),
        "operator-rights",
        "only on Symbolon's kinds",
    );
}

#[test]
fn the_creator_of_a_token_is_recorded_and_cannot_be_changed() {
    let kube = installed();
    let home = namespace(kube, "creators");
    let annotation = "{.metadata.annotations.symbolon\\.dev/created-by}";
    let creator = || {
        kube.must(&format!(
            "get sat -n {home} nightly -o jsonpath={annotation}"
        ))
    };
    let forged = manifest_of_token(&home, "symbolon.dev/created-by: eve");
    let create = format!("create -f - --as {ADMINISTRATOR}");
    refused(
        kube.with(&create, &forged),
        "creators",
        &format!("leave it out, or write {ADMINISTRATOR}"),
    );
    kube.with(&create, &manifest_of_token(&home, "")).unwrap();
    assert_eq!(creator(), ADMINISTRATOR);

    kube.must("create clusterrolebinding eve --clusterrole cluster-admin --user eve");
    eventually("eve has her rights", || {
        kube.ask("get sat -A --as eve").ok()
    });
    refused(
        kube.ask(&format!(
            "annotate sat -n {home} nightly symbolon.dev/created-by=eve --overwrite --as eve"
        )),
        "creators",
        &format!("write {ADMINISTRATOR}"),
    );
    // A replacement without the annotation keeps the creator.
    kube.with(
        "replace -f - --as eve",
        &manifest_of_token(&home, "team: red"),
    )
    .unwrap();
    assert_eq!(creator(), ADMINISTRATOR);
    // An object without any annotation gets the creator too.
    kube.must(&format!("delete sat -n {home} nightly"));
    let bare = manifest_of_token(&home, "").replace("  annotations: {}\n", "");
    assert!(!bare.contains("annotations"));
    kube.with(&create, &bare).unwrap();
    assert_eq!(creator(), ADMINISTRATOR);
    // A restore keeps the creator of the backup.
    kube.must(&format!("delete sat -n {home} nightly"));
    kube.with(&format!("create -f - --as {EXEMPT}"), &forged)
        .unwrap();
    assert_eq!(creator(), "eve");
}

#[test]
fn the_garbage_collector_deletes_objects_whose_owner_is_gone() {
    let kube = installed();
    kube.must(&format!("create configmap owner -n {HOME}"));
    let owner = kube.get(&format!("configmap owner -n {HOME}")).unwrap();
    let reference = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    let mut owned: serde_json::Value =
        serde_json::from_str(&credential("credential-owned", "main", 1)).unwrap();
    owned["metadata"]["ownerReferences"] = reference.clone();
    kube.apply(&owned.to_string());
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "owned", "namespace": HOME, "ownerReferences": reference},
    });
    kube.apply(&secret.to_string());
    kube.must(&format!(
        "delete configmap owner -n {HOME} --cascade=foreground --timeout=180s"
    ));
    for gone in ["credential credential-owned", "secret owned"] {
        assert!(kube.get(&format!("{gone} -n {HOME}")).is_none(), "{gone}");
    }
}

/// Creates a namespace where RBAC gives the operator more than the chart does, so that only the policy can refuse.
fn recorded(kube: Kube<'_>, purpose: &str) -> String {
    let home = namespace(kube, purpose);
    kube.must(&format!("create role recorder -n {home} --verb=get,create,update,patch,delete --resource=credentials.symbolon.dev,events.events.k8s.io"));
    kube.must(&format!(
        "create rolebinding recorder -n {home} --role=recorder --serviceaccount={HOME}:symbolon"
    ));
    let may = format!("auth can-i patch events.events.k8s.io -n {home} --as {OPERATOR}");
    eventually("the operator has the rights", || kube.ask(&may).ok());
    home
}

/// Credentials, Events and the Lease have no label of ours, so the policy recognises the operator's by their content.
#[test]
fn the_operator_changes_no_metadata_of_credentials_events_and_leases() {
    let kube = installed();
    let home = recorded(kube, "records");
    for (kind, what, own) in [
        (
            "Credential",
            "credential uid-of-backend",
            json!({"/spec/high": 2}),
        ),
        (
            "Event",
            "events.events.k8s.io main.1",
            json!({"/series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}),
        ),
        (
            "Lease",
            "lease symbolon",
            json!({"/spec/holderIdentity": "another"}),
        ),
    ] {
        let home = if kind == "Lease" { HOME } else { &home };
        let object = written(kind).to_string().replace("platform", home);
        eventually("the operator may create it", || {
            // The operator of another test may have created the Lease.
            let created = kube.with(&format!("create -f - --as {OPERATOR}"), &object);
            created
                .err()
                .is_none_or(|it| it.contains("AlreadyExists"))
                .then_some(())
        });
        let live = || kube.get(&format!("{what} -n {home}")).unwrap();
        let write = |changes: &Value| {
            // Repeat the write after a write conflict.
            eventually("the write meets no write conflict", || {
                let mut object = live();
                for (pointer, value) in changes.as_object().unwrap() {
                    set_at(&mut object, pointer, value);
                }
                let replace = format!("replace --dry-run=server -f - --as {OPERATOR}");
                let answer = kube.with(&replace, &object.to_string());
                let is_crossed = answer.as_ref().is_err_and(|it| it.contains("(Conflict)"));
                (!is_crossed).then_some(answer)
            })
        };
        let policy = if kind == "Lease" {
            "operator-lease"
        } else {
            "operator-records"
        };
        let owner = json!([{"apiVersion": "symbolon.dev/v1alpha1", "kind": "Identity", "name": "a", "uid": "b"}]);
        let mut attacks = vec![
            (
                "/metadata/finalizers",
                json!(["example.com/hold"]),
                "metadata.finalizers",
            ),
            (
                "/metadata/annotations/example.com~1a",
                json!("b"),
                "metadata.annotations",
            ),
            (
                "/metadata/labels/argocd.argoproj.io~1secret-type",
                json!("cluster"),
                "metadata.labels",
            ),
        ];
        if kind == "Lease" {
            // The other candidates would wait that long.
            let most = json!(100_000);
            attacks.push((
                "/spec/leaseDurationSeconds",
                most,
                "spec.leaseDurationSeconds",
            ));
        } else {
            // The API server itself lets a writer set owners only on objects that the writer may delete.
            attacks.push((
                "/metadata/ownerReferences",
                owner,
                "metadata.ownerReferences",
            ));
        }
        let refuse_all = || {
            for (pointer, value, says) in &attacks {
                refused(write(&json!({*pointer: value})), policy, says);
            }
        };
        refuse_all();
        // The operator must keep the metadata of an administrator.
        let theirs = json!({"metadata": {"labels": {"cost": "7"}, "annotations": {"example.com/cost": "7"}, "finalizers": ["example.com/theirs"]}});
        kube.must(&format!("patch {what} -n {home} --type=merge -p {theirs}"));
        write(&own).unwrap();
        refuse_all();
        for field in ["finalizers", "annotations"] {
            let gone = json!({format!("/metadata/{field}"): null});
            refused(write(&gone), policy, &format!("metadata.{field}"));
        }
        let free = json!({"metadata": {"labels": {"cost": null}, "annotations": null, "finalizers": null}});
        kube.must(&format!("patch {what} -n {home} --type=merge -p {free}"));
    }
}

#[test]
fn the_operator_changes_no_event_of_another_component() {
    let kube = installed();
    let home = recorded(kube, "events");
    let mut event = written("Event");
    set_at(
        &mut event,
        "/metadata",
        &json!({"name": "main.2", "namespace": home}),
    );
    set_at(&mut event, "/regarding/namespace", &json!(home));
    set_at(&mut event, "/reportingController", &json!("kubelet"));
    kube.apply(&event.to_string());
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}});
    let patched = kube.ask(&format!(
        "patch events.events.k8s.io main.2 -n {home} --type=merge -p {series} --as {OPERATOR}"
    ));
    refused(
        patched,
        "operator-records",
        "may not change an Event of another component",
    );
}

/// The operator recognises its bindings by their name when it restores a label, but no other RBAC object.
#[test]
fn the_operator_does_not_take_over_a_role_that_is_named_like_its_bindings() {
    let kube = installed();
    kube.must(&format!(
        "create role symbolon:theirs -n {HOME} --verb=get --resource=scopes.symbolon.dev"
    ));
    let label = json!({"metadata": {"labels": {"symbolon.dev/managed": "true"}}});
    let patch = format!("patch role symbolon:theirs -n {HOME} --type=merge -p {label}");
    let answer = kube.ask(&format!("{patch} --as {OPERATOR}"));
    refused(answer, "operator", "symbolon.dev/managed");
}

/// RBAC gives the operator the status of Credentials only so that it can grant that right to servers.
#[test]
fn the_operator_writes_the_status_of_a_credential_only_as_the_server_of_the_embedded_identity() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    kube.must(&format!("create namespace {HOME}"));
    let install =
        format!("install symbolon charts/symbolon -n {HOME} --set embeddedIdentity={HOME}/inside");
    kube.helm(&install).unwrap();
    settled(kube);
    for name in ["inside", "outside"] {
        let credential = credential(&format!("credential-{name}"), name, 1);
        kube.with(&format!("create -f - --as {OPERATOR}"), &credential)
            .unwrap();
    }
    let report = |name: &str, status: Value| {
        let status = json!({"status": status});
        kube.ask(&format!("patch credential credential-{name} -n {HOME} --subresource=status --type=merge -p {status} --as {OPERATOR}"))
    };
    let servers = format!("system:serviceaccount:{HOME}:outside-identity");
    eventually("the policy is in force", || {
        report("outside", json!({})).is_err().then_some(())
    });
    refused(report("outside", json!({})), "credentials", &servers);
    report("inside", json!({})).unwrap();
    refused(
        report("inside", json!({"revoked": ["AAAAAAAAAAAAAAAA"]})),
        "credentials",
        "may name only tokens",
    );
}
