//! The operator on a cluster where the values allow some options of Identities: its policies accept everything that it
//! really writes, also after changes by webhooks, autoscalers and administrators.

use std::sync::OnceLock;

use serde_json::{Value, json};

use crate::attacks::{attacked, attacks, written};
use crate::harness::Cluster;
use crate::running::{Process, operator};
use crate::tools::{Kube, eventually};
use crate::world::{ADMINISTRATOR, settled};

/// The namespace of the release and its Identities, as in the snapshots of the operator's own tests.
pub(crate) const PLATFORM: &str = "platform";
/// The user name of the operator's service account.
pub(crate) const OPERATOR: &str = "system:serviceaccount:platform:symbolon";
/// Applies as the operator does.
const APPLY: &str = "apply --server-side --force-conflicts --field-manager=symbolon -f -";

const VALUES: &str = "
identities:
  allowed:
    hosts: [id.example.com]
    gateways: [gates/*]
    ingressClassNames: [nginx]
    serviceAnnotations: [example.com/internal]
    podAnnotations: [example.com/*]
    priorityClassNames: [urgent]
    nodeSelector: [disk]
    tolerations: [dedicated]
    storageClassNames: [fast]
identityPods:
  image: registry.example.com/symbolon:1.2.3
  allowedImages: [registry.example.com/other]
serviceMonitor: {labels: {release: prometheus}}
otlpEndpoint: http://otel:4317
admissionPolicies:
  webhooks:
    labels: [webhook.example.com/*]
    annotations: [webhook.example.com/*]
    containers: [{name: injected, image: registry.example.com/injected}]
";

/// The cluster with the release.
pub(crate) fn confined() -> Kube<'static> {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    let cluster = CLUSTER.get_or_init(|| {
        let cluster = Cluster::private();
        let kube = Kube(&cluster);
        for namespace in [PLATFORM, "shop", "gates"] {
            kube.must(&format!("create namespace {namespace}"));
        }
        kube.apply(include_str!("manifests/kinds.yaml"));
        kube.must("wait --for=condition=Established --timeout=180s crd --all");
        kube.must("create priorityclass urgent --value=1000");
        let install = format!("install symbolon charts/symbolon -n {PLATFORM} --values -");
        kube.helm_with(&install, VALUES).unwrap();
        settled(kube);
        // RBAC allows everything, so that only the policies can refuse.
        kube.apply(&format!(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {{name: writes}}
rules: [{{apiGroups: ['*'], resources: ['*'], verbs: [create, update, patch, escalate, bind]}}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {{name: writes}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: writes}}
subjects: [{{kind: User, name: '{OPERATOR}'}}]
"
        ));
        // The API server loads the policies one by one.
        for (kind, attacks) in attacks() {
            let kind = if kind == "pods" { "Deployment" } else { &kind };
            let (object, says) = attacked(&written(kind), &attacks[0]);
            eventually("the policies of the operator's writes are in force", || {
                let create = format!("create --dry-run=server -f - --as {OPERATOR}");
                let error = kube.with(&create, &object.to_string()).err()?;
                error.contains(&says).then_some(())
            });
        }
        cluster
    });
    Kube(cluster)
}

/// An Identity with every option that goes together.
const FULL: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: full, namespace: platform}
spec:
  issuer: https://id.example.com/full
  storage:
    type: PostgreSQL
    postgresql:
      urlSecretRef: {name: database, key: uri}
      caSecretRef: {name: database-ca, key: ca.crt}
      schema: full
      maxConnections: 10
  network:
    tls: {secretRef: {name: serving}}
    egress: {caSecretRef: {name: internal-ca, key: ca.crt}}
    service: {type: LoadBalancer, annotations: {example.com/internal: 'true'}}
    httpRoute: {parentRefs: [{name: gate, namespace: gates, sectionName: https}]}
  autoscaling: {min: 3, max: 9, targetCPUUtilization: 60}
  pod:
    image: registry.example.com/other@sha256:0123456789abcdef
    imagePullSecrets: [{name: own}]
    labels: {team: platform}
    annotations: {example.com/scrape: 'false'}
    nodeSelector: {disk: fast}
    priorityClassName: urgent
    resources: {requests: {cpu: 1, memory: 128Mi}, limits: {ephemeral-storage: 1Gi}}
    tolerations: [{key: dedicated, operator: Exists}]
    affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: Exists}]}]}}, podAntiAffinity: {preferredDuringSchedulingIgnoredDuringExecution: [{weight: 1, podAffinityTerm: {topologyKey: rack, labelSelector: {}}}]}}
    topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
";

/// An Identity with a store and an Ingress.
const KEPT: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: kept, namespace: platform}
spec:
  issuer: https://id.example.com/kept
  storage: {type: SQLite, sqlite: {size: 1Gi, storageClassName: fast}}
  network: {ingress: {className: nginx, annotations: {cert-manager.io/cluster-issuer: a}, tlsSecretName: cert}}
";

const PLAIN: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: NAME, namespace: platform}
spec: {issuer: 'https://NAME.example.com'}
";

/// Runs the operator of the release until the value is dropped. One of several leads.
fn running(kube: Kube<'_>) -> (Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let process = operator(kube, "symbolon", PLATFORM, folder.path());
    (process, folder)
}

/// The operator's requests that were refused since `mark`.
fn refused(kube: Kube<'_>, mark: crate::harness::Mark) -> Vec<String> {
    let requests = kube.0.requests(mark).into_iter();
    // Another test expects those.
    let requests = requests.filter(|it| !it.name.starts_with("spied"));
    let refused = requests.filter(|it| it.user == OPERATOR && matches!(it.code, 403 | 422));
    refused.map(|it| format!("{it:?}")).collect()
}

/// A live object, and the digest of what the operator applied to it.
fn applied(kube: Kube<'_>, what: &str) -> Option<(Value, String)> {
    let live = kube.get(&format!("{what} -n {PLATFORM}"))?;
    let digest = live["metadata"]["annotations"]["symbolon.dev/applied"].as_str()?;
    let digest = digest.to_owned();
    Some((live, digest))
}

#[test]
#[expect(
    clippy::too_many_lines,
    reason = "one sequence: created, changed by others, changed again"
)]
fn every_option_of_an_identity_can_be_written_and_changed() {
    let kube = confined();
    let mark = kube.0.mark();
    let (_operator, _folder) = running(kube);
    kube.apply(
        "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: fast}
provisioner: kubernetes.io/no-provisioner
allowVolumeExpansion: true
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: kept}
spec: {capacity: {storage: 10Gi}, accessModes: [ReadWriteOnce], storageClassName: fast, hostPath: {path: /nowhere}, claimRef: {namespace: platform, name: data-kept-identity-0}}
",
    );
    kube.apply(FULL);
    kube.apply(KEPT);
    let all = [
        "serviceaccount full-identity",
        "role full-identity",
        "rolebinding full-identity",
        "networkpolicy full-identity",
        "service full-identity",
        "deployment full-identity",
        "poddisruptionbudget full-identity",
        "horizontalpodautoscaler full-identity",
        "httproute full-identity",
        "servicemonitor full-identity",
        "statefulset kept-identity",
        "ingress kept-identity",
        "service kept-identity",
    ];
    let first: Vec<String> = all
        .iter()
        .map(|what| eventually(what, || applied(kube, what)).1)
        .collect();
    for identity in ["full", "kept"] {
        let binding = format!("clusterrolebinding symbolon:{PLATFORM}:{identity}");
        eventually(&binding, || kube.get(&binding));
    }
    // A bound claim has the name of its volume.
    let claim = format!("persistentvolumeclaim data-kept-identity-0 -n {PLATFORM}");
    eventually("the claim is bound", || {
        (kube.get(&claim)?["spec"]["volumeName"] == "kept").then_some(())
    });

    // Others change the objects: administrators add fields, an autoscaler sets the replicas.
    let theirs = |what: &str, patch: Value, how: &str| {
        kube.must(&format!(
            "patch {what} -n {PLATFORM} --type={how} --as {ADMINISTRATOR} -p {patch}"
        ));
    };
    let more = json!([
        {"op": "add", "path": "/spec/template/spec/containers/-", "value": {"name": "audit", "image": "example.com/audit"}},
        {"op": "add", "path": "/spec/template/spec/containers/0/env/-", "value": {"name": "MORE", "value": "1"}},
        {"op": "add", "path": "/spec/template/spec/containers/0/securityContext/capabilities/add", "value": ["NET_BIND_SERVICE"]},
        {"op": "add", "path": "/spec/template/spec/volumes/-", "value": {"name": "scratch", "emptyDir": {}}},
        {"op": "add", "path": "/spec/template/spec/runtimeClassName", "value": "sandboxed"},
        {"op": "add", "path": "/spec/template/spec/securityContext/supplementalGroups", "value": [1000]},
        {"op": "add", "path": "/spec/template/metadata/annotations/kubectl.kubernetes.io~1restartedAt", "value": "now"},
        {"op": "add", "path": "/metadata/labels/cost-center", "value": "7"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["example.com/hold"]},
    ]);
    theirs("deployment/full-identity", more, "json");
    let scale = json!({"spec": {"replicas": 5}});
    kube.must(&format!(
        "patch deployment full-identity -n {PLATFORM} --subresource=scale --type=merge -p {scale}"
    ));
    let ranges = json!({"spec": {"loadBalancerSourceRanges": ["192.0.2.0/24"], "externalTrafficPolicy": "Local"}});
    theirs("service/full-identity", ranges, "merge");
    let behaviour = json!({"spec": {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}});
    theirs("horizontalpodautoscaler/full-identity", behaviour, "merge");
    let role = json!({"metadata": {"annotations": {"eks.amazonaws.com/role-arn": "arn"}}, "secrets": [{"name": "a"}]});
    theirs("serviceaccount/full-identity", role, "merge");

    // The Identities change.
    let changed = FULL
        .replace("disk: fast", "disk: slow")
        .replace("max: 9", "max: 8")
        .replace(
            "example.com/internal: 'true'",
            "example.com/internal: 'false'",
        )
        .replace("sectionName: https", "sectionName: other")
        .replace("    priorityClassName: urgent\n", "")
        .replace("      caSecretRef: {name: database-ca, key: ca.crt}\n", "")
        .replace("    tls: {secretRef: {name: serving}}\n", "")
        .replace(
            "    egress: {caSecretRef: {name: internal-ca, key: ca.crt}}\n",
            "",
        );
    kube.apply(&changed);
    let changed = KEPT.replace("size: 1Gi", "size: 2Gi").replace(
        "{cert-manager.io/cluster-issuer: a}",
        "{cert-manager.io/cluster-issuer: b}",
    );
    kube.apply(&changed);
    for (what, before) in all.iter().zip(&first) {
        let stays = [
            "serviceaccount",
            "role",
            "networkpolicy",
            "poddisruption",
            "servicemonitor",
        ];
        if stays.iter().any(|kind| what.starts_with(kind)) || *what == "service kept-identity" {
            continue;
        }
        eventually(&format!("{what} is changed"), || {
            applied(kube, what).filter(|(_, digest)| digest != before)
        });
    }
    eventually("the claim requests the larger size", || {
        let live = kube.get(&claim)?;
        (live["spec"]["resources"]["requests"]["storage"] == "2Gi").then_some(())
    });
    let pod = |path: &str| {
        let live = kube
            .get(&format!("deployment full-identity -n {PLATFORM}"))
            .unwrap();
        live.pointer(path).cloned().unwrap_or_default()
    };
    assert_eq!(pod("/spec/replicas"), 5);
    assert_eq!(pod("/spec/template/spec/containers/1/name"), "audit");
    assert_eq!(pod("/spec/template/spec/runtimeClassName"), "sandboxed");
    assert_eq!(pod("/spec/template/spec/nodeSelector/disk"), "slow");
    assert_eq!(pod("/spec/template/spec/priorityClassName"), Value::Null);
    assert_eq!(pod("/metadata/labels/cost-center"), "7");
    let refused = refused(kube, mark);
    assert!(refused.is_empty(), "{refused:#?}");
}

/// Admission policies cannot tell a webhook's additions from the operator's own fields.
#[test]
fn additions_of_a_webhook_are_accepted_if_the_values_list_them_and_reported_if_not() {
    let kube = confined();
    let (_operator, _folder) = running(kube);
    let policy = |name: &str, container: &str| {
        let patch = format!(
            "[JSONPatch{{op: 'add', path: '/spec/template/spec/containers/-', value: Object.spec.template.spec.containers{{name: '{container}', image: 'registry.example.com/injected:1'}}}},
            JSONPatch{{op: 'add', path: '/metadata/labels/webhook.example.com~1seen', value: 'yes'}},
            JSONPatch{{op: 'add', path: '/metadata/annotations/webhook.example.com~1seen', value: 'yes'}},
            JSONPatch{{op: 'add', path: '/spec/template/metadata/labels/webhook.example.com~1seen', value: 'yes'}}]"
        );
        let policy = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicy",
            "metadata": {"name": name},
            "spec": {
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}]},
                "matchConditions": [
                    {"name": "that-one", "expression": format!("object.metadata.name == '{name}-identity'")},
                    {"name": "once", "expression": format!("!object.spec.template.spec.containers.exists(it, it.name == '{container}')")}],
                "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": patch}}],
            },
        });
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingAdmissionPolicyBinding",
            "metadata": {"name": name}, "spec": {"policyName": name},
        });
        kube.apply(&format!("{policy}\n---\n{binding}"));
        let mut probe = written("Deployment");
        probe["metadata"]["name"] = format!("{name}-identity").into();
        eventually("the mutating policy is in force", || {
            let made = kube
                .with("create --dry-run=server -o json -f -", &probe.to_string())
                .ok()?;
            made.contains(&format!("\"{container}\"")).then_some(())
        });
    };
    policy("injected", "injected");
    policy("spied", "spy");
    for name in ["injected", "spied"] {
        kube.apply(&PLAIN.replace("NAME", name));
    }
    let live = eventually(
        "the Deployment is created with the webhook's additions",
        || kube.get(&format!("deployment injected-identity -n {PLATFORM}")),
    );
    assert_eq!(
        live["spec"]["template"]["spec"]["containers"][1]["name"],
        "injected"
    );
    assert_eq!(
        live["metadata"]["labels"]["webhook.example.com/seen"],
        "yes"
    );
    let told = eventually(
        "the conditions of the other Identity name the container",
        || {
            let identity = kube.get(&format!("identity spied -n {PLATFORM}"))?;
            let conditions = identity["status"]["conditions"].to_string();
            conditions.contains("containers: spy").then_some(conditions)
        },
    );
    assert!(
        told.contains("admissionPolicies.webhooks.containers"),
        "{told}"
    );
    assert!(
        kube.get(&format!("deployment spied-identity -n {PLATFORM}"))
            .is_none()
    );
    // The operator can still change the object.
    let changed = PLAIN
        .replace("NAME", "injected")
        .replace("spec: {", "spec: {pod: {labels: {team: a}}, ");
    kube.apply(&changed);
    eventually("the Deployment is changed", || {
        let live = kube.get(&format!("deployment injected-identity -n {PLATFORM}"))?;
        (live["spec"]["template"]["metadata"]["labels"]["team"] == "a").then_some(())
    });
}

/// An earlier release or an administrator may have put labels on a Secret that the operator may not write.
#[test]
fn existing_labels_of_a_secret_may_stay_or_be_removed() {
    let kube = confined();
    let mut secret = written("Secret");
    secret["metadata"]["name"] = "legacy".into();
    secret["metadata"]["labels"]["strimzi.io/kind"] = "KafkaUser".into();
    secret["metadata"]["annotations"]["example.com/old"] = "1".into();
    kube.apply(&secret.to_string());
    let write = |secret: &Value| {
        let replace = format!("replace -f - --as {OPERATOR}");
        kube.with(&replace, &secret.to_string())
    };
    secret["data"]["token"] = "YQ==".into();
    write(&secret).unwrap();
    let mut other = secret.clone();
    other["metadata"]["labels"]["strimzi.io/kind"] = "Other".into();
    assert!(write(&other).unwrap_err().contains("strimzi.io/kind"));
    let labels = secret["metadata"]["labels"].as_object_mut().unwrap();
    labels.remove("strimzi.io/kind");
    write(&secret).unwrap();
}

/// With the label, the policy would refuse the whole write, including the token.
#[test]
fn a_label_that_the_values_do_not_allow_is_left_out_and_the_token_is_issued() {
    let kube = confined();
    let mark = kube.0.mark();
    let (_operator, _folder) = running(kube);
    kube.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: labelling, namespace: platform}
spec:
  issuer: https://labelling.example.com
  access: {clients: {from: All}}
  limits: {secretMetadata: {labels: [example.com/x], annotations: [example.com/x]}}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: labels.read, namespace: platform}
spec: {identityRef: {name: labelling}, allowedNamespaces: {from: All}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: labelled, namespace: shop}
spec:
  identityRef: {name: labelling, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [labels.read]
  systemUser: {name: labelled}
  referenceTokens: AdministratorsOnly
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: labelled, namespace: shop}
spec:
  clientRef: {name: labelled}
  scopes: [labels.read]
  secret: {template: {labels: {team: shop, example.com/x: a}, annotations: {example.com/x: a}, data: {url: $(issuer)}}}
",
    );
    let message = eventually(
        "the token is ready and its message names what is not written",
        || {
            let token = kube.get("serviceaccesstoken labelled -n shop")?;
            let conditions = token["status"]["conditions"].as_array()?;
            let ready = conditions.iter().find(|it| it["type"] == "Ready")?;
            (ready["status"] == "True").then(|| ready["message"].as_str().unwrap().to_owned())
        },
    );
    for value in ["secrets.allowedLabels", "secrets.allowedAnnotations"] {
        let expected = format!(
            "\"example.com/x\" in spec.secret.template.LISTS is not written: the installation's chart value {value} does not list it"
        );
        let lists = value.trim_start_matches("secrets.allowed").to_lowercase();
        let expected = expected.replace("LISTS", &lists);
        assert!(message.contains(&expected), "{message}");
    }
    let secret = kube.get("secret labelled-token -n shop").unwrap();
    assert_eq!(secret["metadata"]["labels"]["team"], "shop");
    for field in ["labels", "annotations"] {
        assert_eq!(secret["metadata"][field]["example.com/x"], Value::Null);
    }
    for key in ["token", "url"] {
        assert!(secret["data"][key].is_string(), "{key}");
    }
    let refused = kube.0.requests(mark).into_iter().filter(|it| {
        it.user == OPERATOR && it.name.starts_with("labelled") && matches!(it.code, 403 | 422)
    });
    let refused: Vec<_> = refused.map(|it| format!("{it:?}")).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

/// The policies accept the operator's repeated server-side apply of the same objects.
#[test]
fn the_operator_may_apply_its_objects_repeatedly() {
    let kube = confined();
    let kinds = [
        "ServiceAccount",
        "Role",
        "RoleBinding",
        "NetworkPolicy",
        "Service",
        "Deployment",
        "StatefulSet",
        "PodDisruptionBudget",
        "HorizontalPodAutoscaler",
        "Ingress",
        "HTTPRoute",
        "ServiceMonitor",
    ];
    let mut objects: Vec<Value> = kinds.iter().map(|kind| written(kind)).collect();
    for object in &mut objects {
        let text = object.to_string().replace("main", "again");
        *object = serde_json::from_str(&text).unwrap();
        object["metadata"]["annotations"]["symbolon.dev/identity-of"] = "platform/again".into();
    }
    let apply = format!("{APPLY} --as {OPERATOR}");
    for mark in ["1", "2"] {
        for object in &mut objects {
            object["metadata"]["annotations"]["symbolon.dev/applied"] = mark.into();
        }
        let stream: Vec<String> = objects.iter().map(Value::to_string).collect();
        kube.with(&apply, &stream.join("\n---\n")).unwrap();
    }
}
