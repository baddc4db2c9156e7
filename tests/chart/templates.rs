//! What the chart renders from values, and that the API server accepts it.

use serde::Deserialize as _;
use serde_json::{Value, json};

use crate::harness::Cluster;
use crate::tools::{Kube, helm, read, render, run};
use crate::world::{HOME, installed};

/// APIs of the newest API servers, which `helm template` does not know by default.
const MUTATING: &str = "admissionregistration.k8s.io/v1/MutatingAdmissionPolicy";
const MONITOR: &str = "monitoring.coreos.com/v1/ServiceMonitor";

fn objects(rendered: &str) -> Vec<Value> {
    serde_yaml::Deserializer::from_str(rendered)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| !object.is_null())
        .collect()
}

fn deployment(values: &str) -> Value {
    let rendered = render(values, &["--show-only", "templates/deployment.yaml"]).unwrap();
    objects(&rendered).remove(0)
}

#[test]
fn helm_lint_passes() {
    let mut lint = helm();
    lint.args(["lint", "--strict", "--quiet", "charts/symbolon"]);
    run(lint, "").unwrap();
}

#[test]
fn the_crds_are_rendered_unchanged_and_kept_on_uninstall() {
    let installed = objects(&render("", &["--show-only", "templates/crds.yaml"]).unwrap());
    for definition in crate::harness::crds() {
        let name = definition.metadata.name.clone().unwrap();
        let rendered = installed
            .iter()
            .find(|object| object["metadata"]["name"] == *name)
            .unwrap();
        assert_eq!(
            rendered["spec"],
            serde_json::to_value(definition.spec).unwrap()
        );
        assert_eq!(
            rendered["metadata"]["annotations"]["helm.sh/resource-policy"],
            "keep"
        );
    }
}

#[test]
fn unknown_and_invalid_values_are_refused() {
    for (values, says) in [
        ("replicas: 3", "replicas"),
        ("image: {registery: example.com}", "registery"),
        ("image: {registry: example.com/}", "registry"),
        ("fullnameOverride: My_App", "fullnameOverride"),
        ("nameOverride: 'a b'", "nameOverride"),
        (
            "commonLabels: {app.kubernetes.io/name: idp}",
            "commonLabels: app.kubernetes.io/name is the chart's own",
        ),
        (
            "podLabels: {app.kubernetes.io/instance: idp}",
            "podLabels: app.kubernetes.io/instance is the chart's own",
        ),
        (
            "serviceMonitor: {labels: {app.kubernetes.io/component: idp}}",
            "serviceMonitor.labels: app.kubernetes.io/component is the chart's own",
        ),
        (
            "prometheusRule: {labels: {app.kubernetes.io/managed-by: me}}",
            "prometheusRule.labels: app.kubernetes.io/managed-by is the chart's own",
        ),
        (
            "grafanaDashboard: {labels: {helm.sh/chart: idp}}",
            "grafanaDashboard.labels: helm.sh/chart is the chart's own",
        ),
        (
            "embeddedIdentity: elsewhere/main",
            "add elsewhere to identityNamespaces",
        ),
        (
            "defaultIdentity: elsewhere/main\nidentityNamespaces: [here]",
            "(now here)",
        ),
        (
            "prometheusRule: {disabledAlerts: [SymbolonTypo]}",
            "there is no alert SymbolonTypo",
        ),
        ("replicaCount: many", "replicaCount"),
        ("replicaCount: -1", "replicaCount"),
        ("image: {digest: latest}", "digest"),
        ("watchNamespaces: shop", "watchNamespaces"),
        ("watchNamespaces: [Shop]", "watchNamespaces"),
        ("defaultIdentity: main", "defaultIdentity"),
        ("embeddedIdentity: a/b/c", "embeddedIdentity"),
        ("logFormat: xml", "logFormat"),
        ("serviceMonitor: {enabled: maybe}", "serviceMonitor"),
        (
            "admissionPolicies: {exempt: {users: [\"o'hara\"]}}",
            "users",
        ),
        ("extraEnv: [{value: x}]", "extraEnv"),
        ("prometheusRule: {enabled: maybe}", "prometheusRule"),
        ("prometheusRule: {disabledAlerts: [All]}", "disabledAlerts"),
        ("grafanaDashboard: {folder: Identity}", "folder"),
        (
            "serviceAccount: {create: false}",
            "serviceAccount.name is needed",
        ),
        (
            "serviceAccount: {name: main-identity}",
            "the account of the Identity main",
        ),
        (
            "fullnameOverride: main-identity",
            "the account of the Identity main",
        ),
        ("identityPods: {allowedImages: mirror/}", "allowedImages"),
        (
            "identities: {allowed: {hosts: ['https://id.example.com']}}",
            "hosts",
        ),
        (
            "identities: {allowed: {hosts: ['*id.example.com']}}",
            "hosts",
        ),
        (
            "identities: {allowed: {serviceTypes: [ExternalName]}}",
            "serviceTypes",
        ),
        ("identities: {allowed: {podLabels: [\"a'b\"]}}", "podLabels"),
        ("identities: {allowed: {podLabels: ['a*b']}}", "podLabels"),
        ("identities: {allowed: {host: []}}", "host"),
        (
            "secrets: {allowedLabels: argocd.argoproj.io/secret-type}",
            "allowedLabels",
        ),
        (
            "admissionPolicies: {webhooks: {containers: [{name: proxy}]}}",
            "image",
        ),
        (
            "admissionPolicies: {webhooks: {podFields: ['a b']}}",
            "podFields",
        ),
    ] {
        let error = render(values, &[]).expect_err(values);
        assert!(error.contains(says), "{values}: {error}");
    }
    // A parent chart may set any global value.
    render("global: {whatever: 1}", &[]).unwrap();
}

/// Helm must not interpret the braces in the files. The only change: the alert about a missing operator selects the
/// namespace of the release, since an operator of another installation would hide the missing one.
/// Helm removes a value that is null, and its own error would name a template instead of the value.
#[test]
fn a_group_of_values_that_is_null_is_rendered_or_refused_by_its_name() {
    let schema: Value = serde_json::from_str(&read("charts/symbolon/values.schema.json")).unwrap();
    let groups = schema["properties"].as_object().unwrap().iter();
    let groups = groups.filter(|(_, group)| group["properties"].is_object());
    let refused: Vec<_> = groups
        .filter_map(|(name, _)| Some((name, render(&format!("{name}: null"), &[]).err()?)))
        .collect();
    for (name, error) in &refused {
        let says = format!("missing property '{name}'");
        assert!(error.contains(&says), "{name}: {error}");
    }
    assert!(refused.len() > 5, "{refused:?}");
}

/// A parent chart switches its dependency with `condition: symbolon.enabled`, and Helm passes the value on.
#[test]
fn the_condition_of_a_parent_chart_is_accepted() {
    for enabled in ["true", "false"] {
        render(&format!("enabled: {enabled}"), &[]).unwrap();
    }
    let refused = render("enabled: maybe", &[]).unwrap_err();
    assert!(refused.contains("enabled"), "{refused}");
}

#[test]
fn the_alerts_and_the_dashboard_are_rendered_unchanged() {
    let values = "prometheusRule: {enabled: true, labels: {release: prometheus}, disabledAlerts: [SymbolonSheddingLoad]}\n\
                  grafanaDashboard: {enabled: true, namespace: monitoring, annotations: {grafana_folder: Identity}}";
    let part = |name: &str| objects(&render(values, &["--show-only", name]).unwrap()).remove(0);
    let rule = part("templates/prometheusrule.yaml");
    assert_eq!(rule["metadata"]["labels"]["release"], "prometheus");
    let mut written: Value =
        serde_yaml::from_str(&read("charts/symbolon/files/alerts.yaml")).unwrap();
    for group in written["groups"].as_array_mut().unwrap() {
        let rules = group["rules"].as_array_mut().unwrap();
        rules.retain(|rule| rule["alert"] != "SymbolonSheddingLoad");
    }
    let down = &mut written["groups"][0]["rules"][0];
    assert_eq!(down["expr"], "absent(symbolon_operator_leading)");
    down["expr"] = json!(r#"absent(symbolon_operator_leading{namespace="symbolon-system"})"#);
    assert_eq!(rule["spec"], written);

    let map = part("templates/grafana-dashboard.yaml");
    assert_eq!(map["metadata"]["namespace"], "monitoring");
    assert_eq!(map["metadata"]["labels"]["grafana_dashboard"], "1");
    assert_eq!(map["metadata"]["annotations"]["grafana_folder"], "Identity");
    let dashboard: Value =
        serde_json::from_str(map["data"]["symbolon.json"].as_str().unwrap()).unwrap();
    let written: Value =
        serde_json::from_str(&read("charts/symbolon/files/dashboard.json")).unwrap();
    assert_eq!(dashboard, written);
}

/// The operator leaves out labels and annotations of a template that its admission policy refuses.
#[test]
fn the_operator_gets_the_labels_and_annotations_that_its_policy_accepts() {
    let told = |values: &str| -> Value {
        let container = &deployment(values)["spec"]["template"]["spec"]["containers"][0];
        let mut variables = container["env"].as_array().unwrap().iter();
        let variable = variables.find(|it| it["name"] == "SYMBOLON_ALLOWED_SECRET_METADATA");
        serde_json::from_str(variable.unwrap()["value"].as_str().unwrap()).unwrap()
    };
    let defaults: Value = serde_yaml::from_str(&read("charts/symbolon/values.yaml")).unwrap();
    assert_eq!(told(""), defaults["secrets"]);
    let few = "secrets: {allowedLabels: [team, example.com/*], allowedAnnotations: ['*']}";
    let expected = json!({"allowedLabels": ["team", "example.com/*"], "allowedAnnotations": ["*"]});
    assert_eq!(told(few), expected);
    // The operator writes Secrets even if it runs no pods of Identities.
    assert_eq!(
        told(&format!("{few}\nidentityPods: {{enabled: false}}")),
        expected
    );
    // Without a list the operator would allow any label, while the policy would accept none.
    for none in ["allowedLabels: []", "allowedLabels: null"] {
        let told = told(&format!("secrets: {{{none}}}"));
        assert_eq!(told["allowedLabels"], json!([]), "{none}");
    }
}

/// A parent chart removes a default with null. The operator takes a missing list for one that allows everything.
#[test]
fn a_list_that_is_null_allows_nothing_and_breaks_no_policy() {
    let defaults: Value = serde_yaml::from_str(&read("charts/symbolon/values.yaml")).unwrap();
    let lists = |of: &Value| -> Vec<String> { of.as_object().unwrap().keys().cloned().collect() };
    let told = |values: &str| -> Value {
        let container = &deployment(values)["spec"]["template"]["spec"]["containers"][0];
        let mut variables = container["env"].as_array().unwrap().iter();
        let variable = variables.find(|it| it["name"] == "SYMBOLON_ALLOWED_OPTIONS");
        serde_json::from_str(variable.unwrap()["value"].as_str().unwrap()).unwrap()
    };
    let allowed = &defaults["identities"]["allowed"];
    assert_eq!(told(""), *allowed);
    let with = |of: &Value, value: Value| {
        let pairs = lists(of).into_iter().map(|list| (list, value.clone()));
        Value::Object(pairs.collect())
    };
    let webhooks = &defaults["admissionPolicies"]["webhooks"];
    let values = |value: Value| {
        json!({
            "identities": {"allowed": with(allowed, value.clone())},
            "admissionPolicies": {"webhooks": with(webhooks, value.clone())},
            "secrets": {"allowedLabels": value, "allowedAnnotations": value},
        })
    };
    let (null, empty) = (
        values(Value::Null).to_string(),
        values(json!([])).to_string(),
    );
    let nothing = with(allowed, json!([]));
    for none in [&*null, "identities: null", "identities: {allowed: null}"] {
        assert_eq!(told(none), nothing, "{none}");
    }
    assert_eq!(render(&null, &[]).unwrap(), render(&empty, &[]).unwrap());
    let kube = installed();
    kube.with(
        "apply --dry-run=server -f -",
        &render(
            &null,
            &[
                "--show-only",
                "templates/policy-operator-pods.yaml",
                "--show-only",
                "templates/policy-operator-network.yaml",
                "--show-only",
                "templates/policy-operator.yaml",
            ],
        )
        .unwrap(),
    )
    .unwrap();
}

/// Strict parsers refuse a label that is set twice, and others lose one of the two.
#[test]
fn no_label_is_set_twice_and_selectors_keep_theirs() {
    let values = "commonLabels: {team: id, cost: center}\npodLabels: {team: other}\npodAnnotations: {kubectl.kubernetes.io/default-container: mine}\n\
                  grafanaDashboard: {enabled: true, labels: {team: other}}\nserviceMonitor: {enabled: true, labels: {team: other}}\n\
                  prometheusRule: {enabled: true, labels: {team: other}}";
    let mut with_their_own = 0;
    // serde_yaml refuses a repeated key.
    for object in objects(&render(values, &[]).unwrap()) {
        let labels = &object["metadata"]["labels"];
        let team = match object["kind"].as_str().unwrap() {
            "CustomResourceDefinition" => continue,
            "ConfigMap" | "ServiceMonitor" | "PrometheusRule" => {
                with_their_own += 1;
                "other"
            }
            _ => "id",
        };
        let set = [
            &labels["cost"],
            &labels["team"],
            &labels["app.kubernetes.io/name"],
        ];
        assert_eq!(set, ["center", team, "symbolon"], "{object}");
    }
    assert_eq!(with_their_own, 3);
    let template = &deployment(values)["spec"]["template"]["metadata"];
    assert_eq!(template["labels"]["team"], "other");
    assert_eq!(
        template["annotations"]["kubectl.kubernetes.io/default-container"],
        "mine"
    );
}

/// Artifact Hub shows these annotations to users.
#[test]
fn the_annotations_for_artifact_hub_match_the_chart() {
    let chart: Value = serde_yaml::from_str(&read("charts/symbolon/Chart.yaml")).unwrap();
    let part = |name: &str| -> Vec<Value> {
        let text = chart["annotations"][format!("artifacthub.io/{name}")].as_str();
        serde_yaml::from_str(text.unwrap_or_else(|| panic!("no {name}"))).unwrap()
    };
    let mut told: Vec<(String, String)> = part("crds")
        .iter()
        .map(|crd| {
            let text = |field: &str| crd[field].as_str().unwrap().to_owned();
            (text("name"), text("kind"))
        })
        .collect();
    told.sort();
    let mut there: Vec<(String, String)> = crate::harness::crds()
        .into_iter()
        .map(|crd| (crd.metadata.name.unwrap(), crd.spec.names.kind))
        .collect();
    there.sort();
    assert_eq!(told, there);
    let image = deployment("")["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    assert_eq!(part("images")[0]["image"], image);

    let kube = installed();
    // Another test may have created it.
    let _ = kube.ask("create namespace shop");
    for mut example in part("crdsExamples") {
        // Other tests create an Identity main.
        example["metadata"]["name"] = "hub".into();
        kube.with("create --dry-run=server -f -", &example.to_string())
            .unwrap();
    }
}

#[test]
fn every_value_is_in_the_readme() {
    fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (name, value) in fields {
                    let dot = if path.is_empty() { "" } else { "." };
                    leaves(value, format!("{path}{dot}{name}"), found);
                }
            }
            _ => found.push(path),
        }
    }
    let values: Value = serde_yaml::from_str(&read("charts/symbolon/values.yaml")).unwrap();
    let readme = read("charts/symbolon/README.md");
    let mut found = Vec::new();
    leaves(&values, String::new(), &mut found);
    // Each of these blocks of a pod has a single row.
    let whole = [
        "podSecurityContext",
        "securityContext",
        "resources",
        "strategy",
    ];
    for leaf in found {
        let root = leaf.split('.').next().unwrap();
        let row = if whole.contains(&root) { root } else { &leaf };
        assert!(
            readme.contains(&format!("| `{row}` |")),
            "charts/symbolon/README.md lacks a row that begins with | `{row}` |"
        );
    }
}

/// Values, texts that the manifests must contain, and texts that they must not.
const CASES: &[(&str, &[&str], &[&str])] = &[
    (
        "",
        &[
            "kind: PodDisruptionBudget",
            "replicas: 2",
            "image: \"symbolon/symbolon:0.1.0\"",
        ],
        &[
            "MutatingAdmissionPolicy",
            "ServiceMonitor",
            "SYMBOLON_NAMESPACES",
            "containerPort: 8080",
        ],
    ),
    (
        "image: {repository: registry.example.com/symbolon, digest: 'sha256:0000000000000000000000000000000000000000000000000000000000000000'}",
        &["registry.example.com/symbolon@sha256:00"],
        &["symbolon:0.1.0"],
    ),
    (
        "fullnameOverride: identity",
        &[
            "name: identity-server",
            "value: \"identity-server\"",
            "system:serviceaccount:symbolon-system:identity\"",
        ],
        &["name: symbolon-"],
    ),
    ("nameOverride: other", &["name: symbolon-other\n"], &[]),
    (
        // The policy also protects CRDs that another tool applies.
        "crds: {enabled: false}",
        &["resources: [customresourcedefinitions]"],
        &["CustomResourceDefinition\n"],
    ),
    (
        "crds: {keep: false}",
        &["symbolon.dev/allow-deletion: \"true\""],
        &["helm.sh/resource-policy"],
    ),
    (
        "rbac: {create: false}",
        &[],
        &["kind: ClusterRole", "kind: Role"],
    ),
    (
        "rbac: {aggregate: false}",
        &["name: symbolon-edit"],
        &["aggregate-to"],
    ),
    (
        "rbac: {serviceBinding: false}",
        &["name: symbolon-edit"],
        &["servicebinding.io/controller"],
    ),
    (
        "serviceAccount: {create: false, name: default}",
        &[
            "serviceAccountName: default",
            "system:serviceaccount:symbolon-system:default",
        ],
        &["kind: ServiceAccount\nmetadata"],
    ),
    (
        "watchNamespaces: [values-a, values-b]\nidentityNamespaces: [values-a]",
        &[
            "value: \"values-a,values-b\"",
            "namespace: values-b",
            "name: symbolon-system-symbolon-server",
        ],
        &["kind: ClusterRoleBinding", "clusterrolebindings, ["],
    ),
    (
        "identityNamespaces: [values-a, values-b]",
        &[
            "namespace: values-a",
            "value: \"values-a,values-b\"",
            "name: system:serviceaccounts:values-b",
        ],
        &["SYMBOLON_NAMESPACES"],
    ),
    (
        "embeddedIdentity: symbolon-system/main\ndefaultIdentity: symbolon-system/main\nservice: {type: LoadBalancer, port: 443, annotations: {a: b}}",
        &[
            "containerPort: 8080",
            "type: LoadBalancer",
            "port: 443",
            "SYMBOLON_EMBEDDED_IDENTITY",
            "preStop",
            "SYMBOLON_DEFAULT_IDENTITY",
        ],
        &[],
    ),
    ("identityPods: {enabled: false}", &[], &["SYMBOLON_IMAGE"]),
    (
        "identityPods: {image: 'example.com/s:1', allowedImages: [mirror/, example.com/t]}\nimagePullSecrets: [{name: one}, {name: two}]",
        &[
            "value: \"example.com/s:1\"",
            "value: \"one,two\"",
            "value: \"mirror/,example.com/t\"",
            "- name: two",
        ],
        &[],
    ),
    (
        "networkPolicy: {metricsFrom: [{namespaceSelector: {}}], serverFrom: [{podSelector: {}}], egress: [{ports: [{port: 443}]}]}\nembeddedIdentity: values-a/b\nidentityNamespaces: [values-a]",
        &[
            "policyTypes: [Ingress, Egress]",
            "port: http",
            "namespaceSelector",
        ],
        &[],
    ),
    (
        "networkPolicy: {enabled: false}\npodDisruptionBudget: {enabled: false}\nflowSchemas: {enabled: false}\nadmissionPolicies: {enabled: false}",
        &[],
        &[
            "kind: NetworkPolicy",
            "PodDisruptionBudget\n",
            "FlowSchema",
            "AdmissionPolicy",
            "PriorityLevel",
        ],
    ),
    (
        "podDisruptionBudget: {minAvailable: 50%}",
        &["minAvailable: 50%"],
        &["maxUnavailable: 1"],
    ),
    (
        "admissionPolicies: {stampCreators: true, exempt: {users: ['system:serviceaccount:velero:velero'], groups: []}}",
        &[
            "kind: MutatingAdmissionPolicy",
            "SYMBOLON_STAMPED_CREATORS\n              value: \"true\"",
            "[\"system:serviceaccount:velero:velero\"]",
        ],
        &["system:masters"],
    ),
    (
        "admissionPolicies: {protectStatus: false, protectDeletion: false, confineOperator: false, protectCreators: false, protectUsers: false, stampCreators: true}",
        &[],
        &[
            "AdmissionPolicy",
            "SYMBOLON_STAMPED_CREATORS\n              value: \"true\"",
        ],
    ),
    (
        "serviceMonitor: {enabled: true, namespace: values-a, labels: {release: p}, annotations: {a: b}, scrapeTimeout: 5s, relabelings: [{action: drop}], metricRelabelings: [{action: keep}]}",
        &[
            "kind: ServiceMonitor",
            "namespace: values-a",
            "release: p",
            "scrapeTimeout: 5s",
        ],
        &[],
    ),
    (
        "crds: {enabled: false}\ncommonLabels: {cost: center}\npodLabels: {team: id}\npodAnnotations: {note: x}\npriorityClassName: system-cluster-critical\nnodeSelector: {disk: ssd}\ntolerations: [{operator: Exists}]\naffinity: {nodeAffinity: {}}\ntopologySpreadConstraints: []\nimage: {registry: mirror.example.com}\nruntimeClassName: gvisor\ndnsConfig: {options: [{name: ndots, value: '2'}]}\nstrategy: {type: Recreate}\nrevisionHistoryLimit: 1\ndeploymentAnnotations: {reloader: 'on'}\nmetricsService: {annotations: {scrape: 'yes'}}\ngrafanaDashboard: {enabled: true, labels: null}\nadmissionPolicies: {exempt: {users: null}}",
        &[
            "image: \"mirror.example.com/symbolon/symbolon:0.1.0\"",
            "runtimeClassName: gvisor",
            "name: ndots",
            "type: Recreate",
            "revisionHistoryLimit: 1",
            "reloader: \"on\"",
            "scrape: \"yes\"",
            "username in []",
            "cost: center",
            "team: id",
            "note: x",
            "disk: ssd",
            "priorityClassName: system-cluster-critical",
        ],
        &["topologySpreadConstraints:"],
    ),
    (
        // A parent chart removes defaults so.
        "crds: {enabled: false}\ncommonLabels: null\npodLabels: null\npodAnnotations: null\nstrategy: null\nserviceMonitor: {enabled: true, labels: null}\nprometheusRule: null",
        &["default-container: operator", "kind: ServiceMonitor"],
        &[": null", "- null", "strategy:", "PrometheusRule"],
    ),
    (
        "extraArgs: ['--concurrency', '48']\nextraEnv: [{name: HTTPS_PROXY, value: 'http://proxy'}]\nextraVolumes: [{name: v, emptyDir: {}}]\nextraVolumeMounts: [{name: v, mountPath: /v}]\notlpEndpoint: 'http://otel:4317'\nlogLevel: debug\nlogFormat: text",
        &[
            "- --concurrency",
            "HTTPS_PROXY",
            "mountPath: /v",
            "http://otel:4317",
            "value: \"text\"",
        ],
        &[],
    ),
    (
        "{identities: {allowed: {hosts: ['*'], tolerations: ['*'], podLabels: ['*'], priorityClassNames: [], ingressAnnotations: [a/*], gateways: [a/b], affinity: []}},
        identityPods: {allowedImages: ['*', mirror/]}, secrets: {allowedLabels: ['*'], allowedAnnotations: []},
        admissionPolicies: {webhooks: {labels: ['*'], annotations: [a/*], podFields: [dnsConfig], containerFields: [command], serviceFields: [loadBalancerClass],
        containers: [{name: proxy, image: example.com/proxy}], volumes: [proxy]}}}",
        &["\"hosts\\\":[\\\"*\\\"]", "\"command\"", "\"dnsConfig\"", "\"loadBalancerClass\"", "example.com/proxy"],
        &[],
    ),
    (
        "extraObjects: [{apiVersion: v1, kind: ConfigMap, metadata: {name: one, namespace: '{{ .Release.Namespace }}'}}, \"apiVersion: v1\\nkind: ConfigMap\\nmetadata: {name: two, namespace: values-a}\"]",
        &["namespace: 'symbolon-system'", "name: two"],
        &[],
    ),
];

#[test]
fn the_api_server_accepts_the_manifests_of_all_values() {
    // A cluster without the release, because existing objects would be merged with the applied ones.
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    for namespace in [HOME, "values-a", "values-b"] {
        kube.must(&format!("create namespace {namespace}"));
    }
    // The fields of the Prometheus operator's CRD that the chart writes.
    kube.apply(include_str!("manifests/servicemonitors.yaml"));
    kube.must(
        "wait --for=condition=Established --timeout=180s crd servicemonitors.monitoring.coreos.com",
    );
    for (values, holds, lacks) in CASES {
        let rendered = render(values, &[]).unwrap_or_else(|error| panic!("{values}: {error}"));
        for part in *holds {
            assert!(rendered.contains(part), "{values}: lacks {part}");
        }
        for part in *lacks {
            assert!(!rendered.contains(part), "{values}: has {part}");
        }
        let taken = kube.with("apply --server-side --dry-run=server -f -", &rendered);
        taken.unwrap_or_else(|error| panic!("{values}: {error}"));
    }
}

#[test]
fn optional_apis_are_rendered_only_where_they_exist_or_are_enabled() {
    for (api, kind, values, expected) in [
        (MUTATING, "MutatingAdmissionPolicy", "", true),
        (
            "admissionregistration.k8s.io/v1beta1/MutatingAdmissionPolicy",
            "admissionregistration.k8s.io/v1beta1\nkind: MutatingAdmissionPolicy",
            "",
            true,
        ),
        ("v1", "MutatingAdmissionPolicy", "", false),
        (
            MUTATING,
            "MutatingAdmissionPolicy",
            "admissionPolicies: {stampCreators: false}",
            false,
        ),
        (MONITOR, "ServiceMonitor", "", true),
        ("v1", "ServiceMonitor", "", false),
        (
            MONITOR,
            "ServiceMonitor",
            "serviceMonitor: {enabled: false}",
            false,
        ),
        (
            "v1",
            "ServiceMonitor",
            "serviceMonitor: {enabled: true}",
            true,
        ),
    ] {
        let rendered = render(values, &["--api-versions", api]).unwrap();
        let found = rendered.contains(&format!("kind: {}", kind.rsplit(' ').next().unwrap()))
            && rendered.contains(kind);
        assert_eq!(found, expected, "{api} {values}");
        if kind.contains("Mutating") {
            let stamped = format!("SYMBOLON_STAMPED_CREATORS\n              value: \"{expected}\"");
            assert!(rendered.contains(&stamped), "{api} {values}");
        }
    }
}

/// The operator creates the monitors of Identities with the settings of the chart's own one, which also scrapes
/// an embedded Identity.
#[test]
fn all_service_monitors_have_the_same_labels_and_intervals() {
    let env = |values: &str| {
        let deployment = deployment(values);
        let container = &deployment["spec"]["template"]["spec"]["containers"][0];
        let all = container["env"].as_array().unwrap().clone();
        let monitors = all.into_iter().filter_map(|it| {
            let name = it["name"]
                .as_str()?
                .strip_prefix("SYMBOLON_SERVICE_MONITOR")?;
            Some(format!("{name}={}", it["value"].as_str()?))
        });
        monitors.collect::<Vec<_>>()
    };
    assert_eq!(env(""), ["_INTERVAL=30s"]);
    assert_eq!(
        env("serviceMonitor: {interval: 10s, labels: {release: prometheus, team: a}}"),
        ["_LABELS=release=prometheus,team=a", "_INTERVAL=10s"]
    );
    assert_eq!(env("serviceMonitor: {enabled: false}"), ["S=false"]);
    let paths = |values: &str| {
        let values = format!("serviceMonitor: {{enabled: true, scrapeTimeout: 5s}}\n{values}");
        let rendered = render(&values, &["--show-only", "templates/servicemonitor.yaml"]).unwrap();
        let monitor = objects(&rendered).remove(0);
        let endpoints = monitor["spec"]["endpoints"].as_array().unwrap().clone();
        let paths = endpoints.into_iter().map(|it| {
            assert_eq!(it["scrapeTimeout"], "5s");
            it["path"].as_str().unwrap().to_owned()
        });
        paths.collect::<Vec<_>>()
    };
    assert_eq!(paths(""), ["/metrics"]);
    assert_eq!(
        paths("embeddedIdentity: symbolon-system/main"),
        ["/metrics", "/metrics/identity"]
    );
}

#[test]
fn the_grace_period_of_a_pod_covers_the_end_of_its_server() {
    for (values, seconds) in [
        ("", 30),
        ("embeddedIdentity: symbolon-system/main", 35),
        (
            "{embeddedIdentity: symbolon-system/main, terminationGracePeriodSeconds: 60}",
            60,
        ),
    ] {
        let grace =
            &deployment(values)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"];
        assert_eq!(grace, seconds, "{values}");
    }
}

#[test]
fn the_pods_meet_the_restricted_pod_security_standard() {
    let kube = installed();
    kube.must("create namespace restricted");
    kube.must("label namespace restricted pod-security.kubernetes.io/enforce=restricted");
    kube.must("create serviceaccount symbolon -n restricted");
    for values in [
        "",
        "embeddedIdentity: restricted/main\nidentityNamespaces: [restricted]",
    ] {
        let template = deployment(values)["spec"]["template"].clone();
        let container = &template["spec"]["containers"][0];
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let pod = serde_json::json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "operator", "namespace": "restricted"},
            "spec": template["spec"],
        });
        kube.with("create --dry-run=server -f -", &pod.to_string())
            .unwrap();
    }
}

#[test]
fn the_program_knows_every_variable_that_the_chart_sets() {
    let values = "watchNamespaces: [a]\nidentityNamespaces: [a]\ndefaultIdentity: a/b\nembeddedIdentity: a/b\nimagePullSecrets: [{name: a}]\notlpEndpoint: 'http://a'\nserviceMonitor: {labels: {a: b}}";
    let deployment = deployment(values);
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    let help = std::process::Command::new(env!("CARGO_BIN_EXE_symbolon"))
        .args(["operator", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    for variable in container["env"].as_array().unwrap() {
        let name = variable["name"].as_str().unwrap();
        if name.starts_with("SYMBOLON_") {
            assert!(help.contains(&format!("[env: {name}")), "{name}: {help}");
        }
    }
}

#[test]
fn the_release_notes_say_what_to_do_next() {
    let kube = installed();
    for (values, says) in [
        ("{}", "rollout status deployment/notes-symbolon"),
        ("{identityNamespaces: [platform]}", "namespace: platform"),
        (
            "{embeddedIdentity: a/b, identityNamespaces: [a]}",
            "The operator's pods serve the Identity a/b",
        ),
        (
            "{crds: {keep: false, enabled: false}}",
            "WARNING: crds.keep is false",
        ),
        (
            "{admissionPolicies: {enabled: false}}",
            "WARNING: admissionPolicies.enabled",
        ),
    ] {
        let notes = kube
            .helm_with(
                &format!("install notes charts/symbolon -n {HOME} --dry-run=client --set crds.enabled=false --values -"),
                values,
            )
            .unwrap();
        assert!(notes.contains(says), "{values}: {notes}");
    }
}
