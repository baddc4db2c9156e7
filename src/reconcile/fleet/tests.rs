//! Tests of what is built for an Identity, what is done about live objects, and what the status says.

mod database;
mod egress;

use rstest::rstest;
use serde_json::{Value, json};

use super::build::{Allowed, Apis, Scale, Wanted, WantedObjects, build};
use super::compare::{ObjectAction, action};
use super::mounted::{missing_certificate, unusable_authorities};
use super::obstacles::{BindingObstacle, Obstacles, is_elsewhere, obstacle, tell};
use super::rollout::{RolloutPhase, read};
use super::seen::SeenObjects;
use super::upgrade::{UpgradeCause, cause, noted, rescaled, under_way};
use super::volume::{claims_another, growth};
use super::{Child, Installation, Monitors, global_name_of};
use crate::directory::{ObjectKey, Reason};
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{Identity, ManagedKind};

const UID: &str = "5e8f4f3e-0000-4000-8000-000000000001";

fn identity(spec: &str) -> Identity {
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    let mut object = json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "Identity",
        "metadata": {"name": "main", "namespace": "platform", "uid": UID},
        "spec": {"issuer": "https://id.example.com/main"},
    });
    let fields = spec.as_object().cloned().unwrap_or_default();
    object["spec"].as_object_mut().unwrap().extend(fields);
    serde_json::from_value(object).unwrap()
}

fn installation() -> Installation {
    Installation {
        image: "registry.example.com/symbolon:1.2.3".to_owned(),
        server_cluster_role: "symbolon-server".to_owned(),
        ..Installation::default()
    }
}

fn plan(spec: &str) -> WantedObjects {
    build(&identity(spec), &installation(), Apis::default()).unwrap()
}

fn body(plan: &WantedObjects, kind: ManagedKind) -> &Value {
    &wanted(plan, kind).body
}

fn wanted(plan: &WantedObjects, kind: ManagedKind) -> &Wanted {
    let mut objects = plan.objects.iter();
    objects.find(|it| it.child.kind == kind).unwrap()
}

// --- built --------------------------------------------------------------------------------------

fn snapshot(name: &str, spec: &str, of: &Installation, apis: Apis) {
    let built = build(&identity(spec), of, apis).unwrap();
    let bodies: Vec<_> = built.objects.into_iter().map(|it| it.body).collect();
    insta::assert_yaml_snapshot!(name, bodies);
}

#[rstest]
#[case::image(
    "pod: {image: 'example.com/other:1'}",
    "/spec/pod/image",
    "--allow-pod-image"
)]
#[case::keys(
    "network: {tls: {secretRef: {name: main-signing}}}",
    "/spec/network/tls/secretRef/name",
    "own keys"
)]
#[case::mac(
    "network: {tls: {secretRef: {name: main-mac}}}",
    "/spec/network/tls/secretRef/name",
    "own keys"
)]
#[case::url(
    "storage: {type: PostgreSQL, postgresql: {urlSecretRef: {name: main-mac, key: mac.key}}}",
    "/spec/storage/postgresql/urlSecretRef/name",
    "own keys"
)]
#[case::ca(
    "storage: {type: PostgreSQL, postgresql: {urlSecretRef: {name: a, key: b}, caSecretRef: {name: main-signing, key: b}}}",
    "/spec/storage/postgresql/caSecretRef/name",
    "own keys"
)]
#[case::egress(
    "{storage: {type: SQLite}, network: {egress: {caSecretRef: {name: main-mac, key: mac.key}}}}",
    "/spec/network/egress/caSecretRef/name",
    "own keys"
)]
fn no_image_or_mount_gives_access_to_keys(
    #[case] spec: &str,
    #[case] field: &str,
    #[case] says: &str,
) {
    let problem = build(&identity(spec), &installation(), Apis::default()).unwrap_err();
    assert_eq!((problem.reason, &*problem.path), (Reason::Invalid, field));
    assert!(problem.message.contains(says), "{}", problem.message);
}

/// Allows only what a list names.
fn restrictive() -> Installation {
    let allowed = r#"{"hosts": ["*.example.org"], "gateways": ["gates/*"], "ingressClassNames": ["nginx"],
        "ingressAnnotations": ["a/*"], "serviceTypes": ["ClusterIP"], "serviceAnnotations": ["a/*"], "podLabels": ["team"],
        "inheritedLabels": ["team"], "inheritedAnnotations": ["a/*"],
        "podAnnotations": ["a/*"], "priorityClassNames": ["urgent"], "nodeSelector": ["disk"], "tolerations": ["dedicated"],
        "affinity": ["podAntiAffinity"], "resources": ["cpu"], "storageClassNames": ["fast"]}"#;
    Installation {
        allowed: Allowed::parse(allowed).unwrap(),
        ..installation()
    }
}

#[rstest]
#[case::service_type("network: {service: {type: LoadBalancer}}", "serviceTypes")]
#[case::service_annotation("network: {service: {annotations: {b/c: d}}}", "serviceAnnotations")]
#[case::inherited_label("inheritedMetadata: {labels: {team: a, app: b}}", "inheritedLabels")]
#[case::inherited_annotation("inheritedMetadata: {annotations: {b/c: d}}", "inheritedAnnotations")]
#[case::label("pod: {labels: {app: payments}}", "podLabels")]
#[case::annotation("pod: {annotations: {b/c: d}}", "podAnnotations")]
#[case::priority("pod: {priorityClassName: system-node-critical}", "priorityClassNames")]
#[case::node("pod: {nodeSelector: {kubernetes.io/hostname: a}}", "nodeSelector")]
#[case::taint(
    "pod: {tolerations: [{key: node-role.kubernetes.io/control-plane}]}",
    "tolerations"
)]
#[case::any_taint("pod: {tolerations: [{operator: Exists}]}", "tolerations")]
#[case::affinity("pod: {affinity: {nodeAffinity: {}}}", "affinity")]
#[case::resource("pod: {resources: {limits: {example.com/gpu: 1}}}", "resources")]
#[case::class(
    "storage: {type: SQLite, sqlite: {storageClassName: slow}}",
    "storageClassNames"
)]
fn a_refused_option_names_the_chart_value(#[case] spec: &str, #[case] value: &str) {
    build(&identity(spec), &installation(), Apis::default()).unwrap();
    let problem = build(&identity(spec), &restrictive(), Apis::default()).unwrap_err();
    assert_eq!(problem.reason, Reason::Invalid);
    let value = format!("identities.allowed.{value}");
    assert!(problem.message.ends_with(&value), "{}", problem.message);
}

/// Existing objects stay, and the other objects are used.
#[rstest]
#[case::host("network: {ingress: {}}", "host id.example.com", "hosts")]
#[case::routed(
    "network: {httpRoute: {parentRefs: [{name: a, namespace: gates}]}}",
    "host id.example.com",
    "hosts"
)]
#[case::gateway(
    "issuer: 'https://id.example.org'\nnetwork: {httpRoute: {parentRefs: [{name: a}]}}",
    "Gateway platform/a",
    "gateways"
)]
#[case::class(
    "issuer: 'https://id.example.org'\nnetwork: {ingress: {className: other}}",
    "IngressClass other",
    "ingressClassNames"
)]
#[case::annotation(
    "issuer: 'https://id.example.org'\nnetwork: {ingress: {annotations: {b/c: d}}}",
    "annotation b/c",
    "ingressAnnotations"
)]
#[case::no_host(
    "issuer: 'https://192.0.2.1'\nnetwork: {ingress: {}}",
    "every host",
    "hosts: [\"*\"]"
)]
fn a_route_that_is_not_allowed_is_left_out(
    #[case] spec: &str,
    #[case] what: &str,
    #[case] value: &str,
) {
    let apis = Apis {
        http_route: true,
        ..Apis::default()
    };
    let is_way_in =
        |it: &Wanted| matches!(it.child.kind, ManagedKind::Ingress | ManagedKind::HttpRoute);
    let anything = build(&identity(spec), &installation(), apis).unwrap();
    assert!(anything.left_out.is_none() && anything.objects.iter().any(is_way_in));
    let plan = build(&identity(spec), &restrictive(), apis).unwrap();
    assert!(!plan.objects.iter().any(is_way_in));
    let Some(problem) = plan.left_out else {
        panic!("expected a problem");
    };
    assert!(problem.message.contains(what), "{}", problem.message);
    let value = format!("identities.allowed.{value}");
    assert!(problem.message.ends_with(&value), "{}", problem.message);
}

#[test]
fn a_plain_identity_gets_the_default_objects() {
    snapshot("plain", "{}", &installation(), Apis::default());
}

#[test]
fn every_object_inherits_and_what_is_its_own_wins() {
    let spec = "
inheritedMetadata:
  labels: {team: identity, app.kubernetes.io/component: other}
  annotations: {env: test, contact: a}
pod: {labels: {team: pods}, annotations: {contact: b}}
network: {service: {annotations: {contact: c}}, ingress: {annotations: {contact: d}}}
storage: {type: SQLite}
";
    for object in plan(spec).objects {
        let metadata = &object.body["metadata"];
        let (labels, annotations) = (&metadata["labels"], &metadata["annotations"]);
        assert_eq!(labels["team"], "identity", "{}", object.child);
        assert_eq!(labels["app.kubernetes.io/component"], "identity");
        assert_eq!(annotations["env"], "test", "{}", object.child);
        let contact = match object.child.kind {
            ManagedKind::Service => "c",
            ManagedKind::Ingress => "d",
            _ => "a",
        };
        assert_eq!(annotations["contact"], contact, "{}", object.child);
        if object.child.kind.is_workload() {
            let pods = &object.body["spec"]["template"]["metadata"];
            assert_eq!(
                [&pods["labels"]["team"], &pods["annotations"]["contact"]],
                ["pods", "b"]
            );
            assert_eq!(pods["annotations"]["env"], "test");
            let claim = &object.body["spec"]["volumeClaimTemplates"][0]["metadata"];
            assert_eq!(claim["labels"]["team"], "identity");
            assert_eq!(claim["annotations"]["contact"], "a");
        }
    }
}

/// The API server refuses a change of a claim template.
#[test]
fn a_claim_template_keeps_its_metadata_and_the_claim_changes_by_itself() {
    let with = |team: &str| {
        plan(&format!(
            "{{storage: {{type: SQLite}}, inheritedMetadata: {{labels: {{team: {team}}}}}}}"
        ))
    };
    let mut live = body(&with("a"), ManagedKind::StatefulSet).clone();
    live["metadata"]["uid"] = json!("u");
    let key = ObjectKey::new("platform", "main");
    let changed = with("b");
    let wanted = wanted(&changed, ManagedKind::StatefulSet);
    let ObjectAction::Apply(applied) = action(wanted, changed.scale, Some(&live), &key, UID) else {
        panic!("the new labels must be applied");
    };
    assert_eq!(applied["metadata"]["labels"]["team"], "b");
    let template = "/spec/volumeClaimTemplates";
    assert_eq!(applied.pointer(template), live.pointer(template));
    let again = action(wanted, changed.scale, Some(&applied), &key, UID);
    assert_eq!(again, ObjectAction::Keep);
}

/// Ingress controllers may copy the values of annotations into their configuration.
#[test]
fn an_inherited_annotation_of_an_ingress_cannot_end_a_statement() {
    let spec = "{network: {ingress: {}}, inheritedMetadata: {annotations: {contact: \"a\\nb\"}}}";
    let built = plan(spec);
    let problem = built.left_out.unwrap();
    assert_eq!(problem.path, "/spec/inheritedMetadata/annotations");
    assert!(
        built
            .objects
            .iter()
            .all(|it| it.child.kind != ManagedKind::Ingress)
    );
}

#[test]
fn every_option_is_applied() {
    let of = Installation {
        allowed_images: vec!["registry.example.com/other".to_owned()],
        image_pull_secrets: vec!["installation".to_owned()],
        namespaces: vec!["shop".to_owned(), "stock".to_owned()],
        identity_namespaces: vec!["platform".to_owned()],
        default_identity: Some(ObjectKey::new("platform", "main")),
        monitors: Monitors {
            labels: [("release", "prometheus"), ("symbolon.dev/managed", "taken")]
                .map(|(label, value)| (label.to_owned(), value.to_owned()))
                .into(),
            interval: Some("15s".to_owned()),
            off: false,
        },
        environment: vec![(
            "OTEL_EXPORTER_OTLP_ENDPOINT".to_owned(),
            "http://otel:4317".to_owned(),
        )],
        ..installation()
    };
    let all = Apis {
        http_route: true,
        service_monitor: true,
    };
    let spec = "
inheritedMetadata: {labels: {env: test, team: identity}, annotations: {team: identity}}
network:
  tls: {secretRef: {name: serving}}
  service: {type: LoadBalancer, annotations: {example.com/internal: 'true'}}
  httpRoute: {parentRefs: [{name: gate, namespace: gates, sectionName: https}]}
autoscaling: {min: 3, max: 9, targetCPUUtilization: 60}
pod:
  image: registry.example.com/other@sha256:0123456789abcdef
  imagePullSecrets: [{name: own}]
  labels: {team: platform, app.kubernetes.io/name: taken}
  annotations: {example.com/scrape: 'false'}
  nodeSelector: {disk: fast}
  priorityClassName: urgent
  resources: {requests: {cpu: 1, memory: 128Mi}}
  tolerations: [{key: dedicated, operator: Exists}]
  affinity: {nodeAffinity: {}}
  topologySpreadConstraints: [{maxSkew: 2, topologyKey: rack, whenUnsatisfiable: DoNotSchedule}]
";
    snapshot("every_option", spec, &of, all);
}

#[test]
fn an_ingress_leads_to_the_issuer_and_to_the_document_at_the_root() {
    let plan =
        plan("network: {ingress: {className: nginx, annotations: {a: b}, tlsSecretName: cert}}");
    insta::assert_yaml_snapshot!("ingress", body(&plan, ManagedKind::Ingress)["spec"]);
}

#[rstest]
#[case::unset("{}", Scale::Unset, true, false)]
#[case::one("replicas: 1", Scale::Fixed(1), false, false)]
#[case::none("replicas: 0", Scale::Fixed(0), false, false)]
#[case::many("replicas: 5", Scale::Fixed(5), true, false)]
#[case::auto("autoscaling: {min: 2, max: 5}", Scale::Auto(2), true, true)]
#[case::auto_from_one("autoscaling: {min: 1, max: 5}", Scale::Auto(1), true, true)]
#[case::auto_of_one("autoscaling: {min: 1, max: 1}", Scale::Auto(1), false, true)]
fn a_budget_is_for_several_pods_and_an_autoscaler_on_request(
    #[case] spec: &str,
    #[case] scale: Scale,
    #[case] has_budget: bool,
    #[case] has_autoscaler: bool,
) {
    let plan = plan(spec);
    let has = |kind| plan.objects.iter().any(|it| it.child.kind == kind);
    assert_eq!(plan.scale, scale);
    assert_eq!(has(ManagedKind::PodDisruptionBudget), has_budget);
    assert_eq!(has(ManagedKind::HorizontalPodAutoscaler), has_autoscaler);
}

#[rstest]
#[case::memory("{limits: {memory: 1Gi}}", json!({"requests": {"cpu": "50m"}, "limits": {"memory": "1Gi"}}))]
#[case::request("{requests: {cpu: 2}}", json!({"requests": {"cpu": 2}}))]
#[case::limit("{limits: {cpu: 2}}", json!({"limits": {"cpu": 2}}))]
fn an_autoscaled_pod_has_a_cpu_request(#[case] asked: &str, #[case] expected: Value) {
    let resources = |more: &str| {
        let plan = plan(&format!("{{pod: {{resources: {asked}}}{more}}}"));
        let pod = &body(&plan, ManagedKind::Deployment)["spec"]["template"]["spec"];
        pod["containers"][0]["resources"].clone()
    };
    assert_eq!(resources(", autoscaling: {max: 3}"), expected);
    let asked: Value = serde_yaml::from_str(asked).unwrap();
    assert_eq!(resources(""), asked, "as the spec says");
}

#[rstest]
#[case("https://id.example.com/main", "{}", 80)]
#[case("https://id.example.com:8443/main", "{}", 80)]
#[case(
    "https://id.example.com",
    "network: {tls: {secretRef: {name: a}}}",
    443
)]
#[case("http://main-identity.platform.svc:8080/id", "{}", 8080)]
#[case("http://main-identity.platform.svc.cluster.local:8080", "{}", 8080)]
#[case("http://main-identity.platform.svc", "{}", 80)]
#[case("http://main-identity.platform.svcs.example.com:81", "{}", 80)]
fn the_service_has_the_issuers_port(#[case] issuer: &str, #[case] spec: &str, #[case] port: u16) {
    let mut identity = identity(spec);
    identity.spec.issuer = issuer.to_owned();
    let plan = build(&identity, &installation(), Apis::default()).unwrap();
    assert_eq!(
        body(&plan, ManagedKind::Service)["spec"]["ports"][0]["port"],
        port
    );
}

#[test]
fn an_identity_that_cannot_be_run_reports_why() {
    let mut dotted = identity("{}");
    dotted.metadata.name = Some("main.prod".to_owned());
    let problem = build(&dotted, &installation(), Apis::default()).unwrap_err();
    assert_eq!(
        (problem.reason, &*problem.path),
        (Reason::Invalid, "/metadata/name")
    );
}

#[test]
fn a_route_that_cannot_be_made_keeps_nothing_else_from_being_run() {
    let routed = plan("network: {httpRoute: {parentRefs: [{name: gate}]}}");
    let problem = routed.left_out.unwrap();
    assert_eq!(
        (problem.reason, &*problem.path),
        (Reason::Pending, "/spec/network/httpRoute"),
        "the cluster may get the Gateway API"
    );
    assert_eq!(routed.objects, plan("{}").objects);
}

#[test]
fn an_installation_may_want_no_monitors() {
    let apis = Apis {
        service_monitor: true,
        ..Apis::default()
    };
    let has = |off: bool| {
        let monitors = Monitors {
            off,
            ..Monitors::default()
        };
        let of = Installation {
            monitors,
            ..installation()
        };
        let plan = build(&identity("{}"), &of, apis).unwrap();
        let kinds = plan.objects.iter().map(|it| it.child.kind);
        kinds
            .filter(|it| *it == ManagedKind::ServiceMonitor)
            .count()
    };
    assert_eq!([has(false), has(true)], [1, 0]);
}

/// Only the parts of the spec that are about pods replace pods.
#[rstest]
#[case("replicas: 5", false)]
#[case("autoscaling: {max: 5}", false)]
#[case("limits: {maxAccessTokenLifetime: 2h}", false)]
#[case("signing: {algorithms: [ES256]}", false)]
#[case(
    "network: {service: {type: NodePort}, ingress: {}, trustedProxies: [10.0.0.0/8]}",
    false
)]
#[case("network: {tls: {secretRef: {name: a}}}", true)]
#[case("pod: {labels: {a: b}}", true)]
#[case("pod: {resources: {limits: {memory: 1Gi}}}", true)]
fn only_what_is_about_pods_replaces_them(#[case] spec: &str, #[case] replaces: bool) {
    let (before, after) = (plan("{}"), plan(spec));
    let deployment = |plan| body(plan, ManagedKind::Deployment)["spec"]["template"].clone();
    assert_eq!(deployment(&before) != deployment(&after), replaces);
}

// --- compared -----------------------------------------------------------------------------------

/// Returns what the API server stores: with defaults, versions and what others add.
fn stored(wanted: &Value) -> Value {
    let mut live = wanted.clone();
    let metadata = live["metadata"].as_object_mut().unwrap();
    metadata.insert("resourceVersion".into(), json!("7"));
    metadata.insert("uid".into(), json!("child"));
    live["status"] = json!({});
    live
}

fn action_on(plan: &WantedObjects, kind: ManagedKind, live: &Value) -> ObjectAction {
    let key = ObjectKey::new("platform", "main");
    action(wanted(plan, kind), plan.scale, Some(live), &key, UID)
}

#[test]
fn an_unchanged_object_is_kept() {
    let plan = plan("replicas: 3");
    let key = ObjectKey::new("platform", "main");
    for wanted in &plan.objects {
        let absent = action(wanted, plan.scale, None, &key, UID);
        let ObjectAction::Apply(body) = absent else {
            panic!("{absent:?}")
        };
        let action = action(wanted, plan.scale, Some(&stored(&body)), &key, UID);
        assert_eq!(action, ObjectAction::Keep, "{}", wanted.child);
    }
}

#[rstest]
#[case::foreign_annotation("/metadata/annotations/other.example.com~1a", json!("b"), true)]
#[case::foreign_label("/metadata/labels/team", json!("a"), true)]
#[case::sidecar("/spec/template/spec/containers/1", json!({"name": "proxy"}), true)]
#[case::default("/spec/template/spec/restartPolicy", json!("Always"), true)]
#[case::image("/spec/template/spec/containers/0/image", json!("evil"), false)]
#[case::args("/spec/template/spec/containers/0/args/0", json!("dev"), false)]
#[case::replicas("/spec/replicas", json!(9), false)]
#[case::label("/metadata/labels/symbolon.dev~1managed", json!("false"), false)]
#[case::privilege("/spec/template/spec/containers/0/securityContext/readOnlyRootFilesystem", json!(false), false)]
fn only_what_is_ours_is_drift(#[case] at: &str, #[case] value: Value, #[case] is_kept: bool) {
    let plan = plan("replicas: 3");
    let mut live = stored(body(&plan, ManagedKind::Deployment));
    set(&mut live, at, value);
    let action = action_on(&plan, ManagedKind::Deployment, &live);
    assert_eq!(action == ObjectAction::Keep, is_kept, "{action:?}");
    assert!(is_kept || matches!(action, ObjectAction::Repair(_)));
}

/// An addition by someone else changes the meaning of these fields.
#[rstest]
#[case::selector(ManagedKind::Service, "/spec/selector/x", json!("y"), false)]
#[case::node_port(ManagedKind::Service, "/spec/ports/0/nodePort", json!(30000), true)]
#[case::cluster_ip(ManagedKind::Service, "/spec/clusterIP", json!("10.0.0.1"), true)]
#[case::peer(ManagedKind::NetworkPolicy, "/spec/ingress/0/from", json!([{"podSelector": {"matchLabels": {"a": "b"}}}]), false)]
#[case::end_port(ManagedKind::NetworkPolicy, "/spec/ingress/0/ports/0/endPort", json!(9000), false)]
#[case::guarded_pods(ManagedKind::NetworkPolicy, "/spec/podSelector/matchLabels/x", json!("y"), false)]
#[case::budgeted_pods(ManagedKind::PodDisruptionBudget, "/spec/selector/matchLabels/x", json!("y"), false)]
#[case::more_rules(ManagedKind::Role, "/rules/9", json!({"apiGroups": [""], "resources": ["secrets"], "verbs": ["*"]}), false)]
#[case::fewer_objects(ManagedKind::Role, "/rules/0/resourceNames", json!(["none"]), false)]
#[case::more_subjects(ManagedKind::RoleBinding, "/subjects/9", json!({"kind": "User", "name": "eve"}), false)]
#[case::other_annotation(ManagedKind::RoleBinding, "/metadata/annotations/a", json!("b"), true)]
#[case::nodes(ManagedKind::Deployment, "/spec/template/spec/nodeSelector/x", json!("y"), false)]
#[case::paused(ManagedKind::Deployment, "/spec/paused", json!(true), false)]
fn additions_to_fields_that_have_meaning_as_a_whole_are_repaired(
    #[case] kind: ManagedKind,
    #[case] at: &str,
    #[case] value: Value,
    #[case] is_kept: bool,
) {
    let plan = plan("pod: {nodeSelector: {disk: fast}}");
    let mut live = stored(body(&plan, kind));
    live["spec"]["replicas"] = json!(2);
    assert_eq!(action_on(&plan, kind, &live), ObjectAction::Keep);
    set(&mut live, at, value);
    let action = action_on(&plan, kind, &live);
    assert_eq!(action == ObjectAction::Keep, is_kept, "{action:?}");
    let is_unpaused =
        matches!(&action, ObjectAction::Repair(body) if body["spec"]["paused"] == json!(false));
    assert_eq!(is_unpaused, at == "/spec/paused");
}

/// The tenant of the namespace may remove the operator's labels and annotations, and set another controller.
#[rstest]
#[case::stripped(json!({}), json!([]), true)]
#[case::taken(json!({}), json!([{"kind": "Shop", "name": "main", "uid": "x", "controller": true}]), true)]
#[case::other_role(json!({"roleRef": {"kind": "ClusterRole", "name": "view"}}), json!([]), false)]
#[case::other_subject(json!({"subjects": [{"kind": "User", "name": "eve"}]}), json!([]), false)]
fn a_binding_that_gives_the_right_is_ours(
    #[case] more: Value,
    #[case] owners: Value,
    #[case] is_ours: bool,
) {
    let plan = plan("{}");
    let mut live = stored(body(&plan, ManagedKind::ClusterRoleBinding));
    live["metadata"]["labels"] = json!({});
    // A tenant who repeats this must not cause a write each time.
    live["metadata"]["annotations"] = json!({});
    live["metadata"]["ownerReferences"] = owners;
    let fields = more.as_object().unwrap().clone();
    live.as_object_mut().unwrap().extend(fields);
    let action = action_on(&plan, ManagedKind::ClusterRoleBinding, &live);
    assert_eq!(
        matches!(action, ObjectAction::Repair(_)),
        is_ours,
        "{action:?}"
    );
    assert_eq!(matches!(action, ObjectAction::Conflict(_)), !is_ours);
}

#[test]
fn an_obstacle_in_another_namespace_is_reported_and_stops_nothing() {
    let key = ObjectKey::new("platform", "main");
    let binding = |namespace: &str| Child {
        kind: ManagedKind::RoleBinding,
        namespace: Some(namespace.to_owned()),
        name: global_name_of(&key),
    };
    assert!(is_elsewhere(&binding("shop"), &key) && !is_elsewhere(&binding("platform"), &key));
    let forbidden = ApiError::Forbidden(String::new());
    assert_eq!(obstacle(&forbidden), Some(BindingObstacle::Refused));
    assert_eq!(obstacle(&ApiError::NotFound), Some(BindingObstacle::Absent));
    assert_eq!(obstacle(&ApiError::Unknown(String::new())), None);
    let obstacles = Obstacles::from([
        ("a".to_owned(), BindingObstacle::Refused),
        ("b".to_owned(), BindingObstacle::Foreign),
        ("c".to_owned(), BindingObstacle::Refused),
    ]);
    let told = tell(&obstacles, &key);
    let notes: Vec<&str> = told.iter().map(|it| &*it.note).collect();
    assert!(notes[0].starts_with("Nothing in a, c is served: the API server refuses"));
    assert!(
        notes[1].starts_with("Nothing in b is served: a RoleBinding symbolon:platform:main"),
        "{}",
        notes[1]
    );
    assert_ne!(
        told[0].action, told[1].action,
        "neither event hides the other"
    );
}

/// Sets a value at a JSON Pointer, and creates its place.
fn set(object: &mut Value, at: &str, value: Value) {
    let (parent, last) = at.rsplit_once('/').unwrap();
    let last = last.replace("~1", "/");
    match object.pointer_mut(parent).unwrap() {
        Value::Array(items) => {
            let index: usize = last.parse().unwrap();
            if index < items.len() {
                items[index] = value;
            } else {
                items.push(value);
            }
        }
        parent => parent[last] = value,
    }
}

#[test]
fn the_owner_of_an_object_decides_what_may_be_done() {
    let plan = plan("{}");
    let ours = stored(body(&plan, ManagedKind::Service));
    let with = |at: &str, value: Value| {
        let mut live = ours.clone();
        set(&mut live, at, value);
        action_on(&plan, ManagedKind::Service, &live)
    };
    assert!(
        matches!(
            with("/metadata/ownerReferences", json!([])),
            ObjectAction::Repair(_)
        ),
        "a restored object without its owner reference is adopted"
    );
    let former = with("/metadata/ownerReferences/0/uid", json!("before"));
    assert_eq!(
        former,
        ObjectAction::Wait,
        "it belongs to an earlier Identity of this name"
    );
    let other = json!([{"kind": "Shop", "name": "main", "uid": "x", "controller": true}]);
    assert!(matches!(
        with("/metadata/ownerReferences", other),
        ObjectAction::Conflict(_)
    ));
    let deleting = with("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"));
    assert_eq!(deleting, ObjectAction::Wait);
    let foreign = json!({"metadata": {"name": "main-identity", "namespace": "platform"}});
    let ObjectAction::Conflict(problem) = action_on(&plan, ManagedKind::Service, &foreign) else {
        panic!("expected a name conflict");
    };
    assert_eq!(problem.reason, Reason::ValueConflict);
    assert!(
        problem.message.contains("Service platform/main-identity"),
        "{}",
        problem.message
    );
}

#[test]
fn a_binding_to_another_role_is_recreated() {
    let plan = plan("{}");
    let mut live = stored(body(&plan, ManagedKind::ClusterRoleBinding));
    live["roleRef"]["name"] = json!("before");
    assert_eq!(
        action_on(&plan, ManagedKind::ClusterRoleBinding, &live),
        ObjectAction::Replace
    );
}

/// Cases: the spec, who set the replicas before, the live replicas, whether others scaled since, and the replicas that
/// are applied.
#[rstest]
#[case::fixed("replicas: 3", "spec", 3, false, Some(3))]
#[case::fixed_over_others("replicas: 3", "spec", 7, true, Some(3))]
#[case::unset("{}", "default", 2, false, Some(2))]
#[case::unset_scaled_by_hand("{}", "default", 5, true, None)]
#[case::unset_now("{}", "spec", 5, false, Some(2))]
#[case::unset_after_autoscaling("{}", "autoscaling", 5, true, Some(2))]
#[case::auto_before_it_spoke("autoscaling: {max: 9}", "autoscaling", 2, false, Some(2))]
#[case::auto("autoscaling: {max: 9}", "autoscaling", 6, true, None)]
#[case::auto_now("autoscaling: {max: 9}", "spec", 5, false, Some(5))]
fn replicas_are_set_by_one_side_only(
    #[case] spec: &str,
    #[case] before: &str,
    #[case] live: i64,
    #[case] is_others: bool,
    #[case] applied: Option<i64>,
) {
    let plan = plan(spec);
    let mut deployment = stored(body(&plan, ManagedKind::Deployment));
    deployment["metadata"]["annotations"]["symbolon.dev/replicas"] = json!(before);
    deployment["metadata"]["annotations"]["symbolon.dev/applied"] = json!("before");
    deployment["spec"]["replicas"] = json!(live);
    if is_others {
        deployment["metadata"]["managedFields"] = json!([
            {"manager": "symbolon", "fieldsV1": {"f:spec": {}}},
            {"manager": "kube-controller-manager", "subresource": "scale", "fieldsV1": {"f:spec": {"f:replicas": {}}}},
        ]);
    }
    let ObjectAction::Apply(body) = action_on(&plan, ManagedKind::Deployment, &deployment) else {
        panic!("expected an apply");
    };
    assert_eq!(body["spec"]["replicas"].as_i64(), applied);
}

fn now() -> jiff::Timestamp {
    "2026-01-01T12:00:00Z".parse().unwrap()
}

// --- status -------------------------------------------------------------------------------------

fn deployment(status: Value) -> Value {
    json!({
        "metadata": {"generation": 3},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"a": "b"}},
            "template": {"spec": {"containers": [{"image": "registry.example.com:5000/symbolon:1.2.3"}]}},
        },
        "status": status,
    })
}

#[rstest]
#[case::not_seen_yet(json!({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2}), "0 of 2 replicas are ready")]
#[case::first(json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1, "availableReplicas": 1}), "1 of 2 replicas are ready")]
#[case::rolling(json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2}), "1 of 2 replicas are ready")]
#[case::old_are_ending(json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 3, "availableReplicas": 3}), "2 of 2 replicas are ready, 1 of the previous revision are ending")]
#[case::quota(json!({"observedGeneration": 3, "conditions": [{"type": "ReplicaFailure", "status": "True", "message": "exceeded quota"}]}), "0 of 2 replicas are ready: exceeded quota")]
fn a_rollout_counts_new_pods(#[case] status: Value, #[case] says: &str) {
    let rollout = read(&deployment(status), &[], now());
    assert_eq!(rollout.phase, RolloutPhase::Under(says.to_owned()));
    assert_eq!(rollout.version, None);
}

#[test]
fn a_complete_rollout_reports_the_version() {
    let status = json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2});
    let rollout = read(&deployment(status), &[], now());
    assert_eq!(rollout.phase, RolloutPhase::Complete);
    assert_eq!(rollout.version.as_deref(), Some("1.2.3"));
    assert_eq!((rollout.replicas, rollout.ready), (2, 2));
    assert_eq!(rollout.selector, "a=b");
}

#[test]
fn a_stuck_rollout_reports_a_pods_error() {
    let status = json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2,
        "conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]});
    let says = |pods: &[Value]| match read(&deployment(status.clone()), pods, now()).phase {
        RolloutPhase::Failed(says) => says,
        other => panic!("{other:?}"),
    };
    let stuck = "the rollout made no progress: 1 of 2 replicas are ready";
    assert_eq!(says(&[]), stuck);
    let good = json!({"metadata": {"name": "a"}, "status": {"containerStatuses": [{"state": {"running": {}}}]}});
    let pull = json!({"metadata": {"name": "b"}, "status": {"containerStatuses": [
        {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}}]}});
    assert_eq!(
        says(&[good.clone(), pull]),
        format!("{stuck}: pod b: ImagePullBackOff: not found")
    );
    let nowhere = json!({"metadata": {"name": "c"}, "status": {"conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}});
    assert_eq!(
        says(&[good, nowhere]),
        format!("{stuck}: pod c: Unschedulable: 0/3 nodes")
    );
}

/// No one should wait for the deadline of five minutes to learn of a typing error in an image.
#[test]
fn a_pod_that_cannot_start_tells_why_long_before_the_rollout_fails() {
    let status = json!({"observedGeneration": 3, "replicas": 3, "updatedReplicas": 1, "readyReplicas": 2, "availableReplicas": 2});
    let pulling = |created: &str| {
        json!({"metadata": {"name": "b", "creationTimestamp": created}, "status": {"containerStatuses": [
        {"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}})
    };
    let phase = |pod: Value| read(&deployment(status.clone()), &[pod], now()).phase;
    let counts = "1 of 2 replicas are ready";
    assert_eq!(
        phase(pulling("2026-01-01T11:59:55Z")),
        RolloutPhase::Under(counts.to_owned()),
        "a pod that has just begun may still start"
    );
    assert_eq!(
        phase(pulling("2026-01-01T11:59:45Z")),
        RolloutPhase::Under(format!("{counts}: pod b: ErrImagePull: not found"))
    );
}

#[rstest]
#[case("symbolon", "latest")]
#[case("registry.example.com:5000/symbolon", "latest")]
#[case("registry.example.com:5000/a/symbolon:v1", "v1")]
#[case("symbolon:1@sha256:0123456789abcdef", "1")]
#[case("symbolon@sha256:0123456789abcdef", "sha256:0123456789ab")]
fn the_version_is_the_tag_or_the_digest(#[case] image: &str, #[case] version: &str) {
    let mut deployment = deployment(json!({"observedGeneration": 3}));
    deployment["spec"]["replicas"] = json!(0);
    deployment["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image);
    assert_eq!(
        read(&deployment, &[], now()).version.as_deref(),
        Some(version)
    );
}

// --- upgrades -----------------------------------------------------------------------------------

#[test]
fn the_installation_waits_for_its_turn_and_an_identity_does_not() {
    let before = plan("{}");
    let mut live = stored(body(&before, ManagedKind::Deployment));
    live["status"] = json!({"updatedReplicas": 1, "availableReplicas": 1});
    let newer = Installation {
        image: "registry.example.com/symbolon:2".to_owned(),
        ..installation()
    };
    let deployment = |spec: &str, of: &Installation| {
        let plan = build(&identity(spec), of, Apis::default()).unwrap();
        body(&plan, ManagedKind::Deployment).clone()
    };
    let why = |wanted: &Value| cause(wanted, Some(&live));
    assert_eq!(
        why(&deployment("{}", &installation())),
        UpgradeCause::Nothing
    );
    assert_eq!(
        why(&deployment("replicas: 9", &installation())),
        UpgradeCause::Nothing
    );
    assert_eq!(why(&deployment("{}", &newer)), UpgradeCause::Upgrade);
    assert_eq!(
        why(&deployment("pod: {labels: {a: b}}", &newer)),
        UpgradeCause::Spec
    );
    assert_eq!(cause(&deployment("{}", &newer), None), UpgradeCause::Spec);
    live["status"]["availableReplicas"] = json!(0);
    let broken = cause(&deployment("{}", &newer), Some(&live));
    assert_eq!(
        broken,
        UpgradeCause::Spec,
        "new pods may repair it, and it blocks no other"
    );
}

/// Scaling does not wait for the upgrade, and does not bring newer pods.
#[test]
fn a_scaled_workload_still_waits_for_its_upgrade() {
    let newer = Installation {
        image: "registry.example.com/symbolon:2".to_owned(),
        ..installation()
    };
    let mut live = stored(body(&plan("replicas: 2"), ManagedKind::Deployment));
    live["status"] = json!({"updatedReplicas": 2, "availableReplicas": 2});
    let wanted = |spec: &str| {
        let plan = build(&identity(spec), &newer, Apis::default()).unwrap();
        body(&plan, ManagedKind::Deployment).clone()
    };
    assert_eq!(rescaled(&wanted("replicas: 2"), &live), None);
    assert_eq!(
        rescaled(&wanted("{}"), &live),
        None,
        "no one sets the replicas"
    );
    let ten = wanted("replicas: 10");
    let patch = rescaled(&ten, &live).unwrap();
    assert_eq!(
        patch["spec"],
        json!({"replicas": 10}),
        "only the replicas change"
    );
    assert_eq!(patch["metadata"]["resourceVersion"], "7");
    assert_eq!(noted(UpgradeCause::Upgrade, Some(&live)), "upgrade");
    live["spec"]["replicas"] = json!(10);
    let annotations = patch["metadata"]["annotations"].as_object().unwrap();
    let before = live["metadata"]["annotations"].as_object_mut().unwrap();
    before.extend(annotations.clone());
    assert_eq!(cause(&ten, Some(&live)), UpgradeCause::Upgrade);
    let why = noted(UpgradeCause::Upgrade, Some(&live));
    assert_eq!(why, "spec", "eight starting pods block no other upgrade");
}

#[test]
fn one_identity_is_upgraded_at_a_time() {
    let of = |name: &str, why: &str, ready: i64| {
        let mut it = deployment(
            json!({"observedGeneration": 3, "replicas": 2, "updatedReplicas": 2,
            "readyReplicas": ready, "availableReplicas": ready}),
        );
        it["metadata"]["namespace"] = json!("a");
        it["metadata"]["name"] = json!(format!("{name}-identity"));
        it["metadata"]["annotations"] =
            json!({"symbolon.dev/identity-of": format!("a/{name}"), "symbolon.dev/rollout": why});
        it["metadata"]["ownerReferences"] = json!([{
            "apiVersion": "symbolon.dev/v1alpha1", "kind": "Identity", "name": name, "uid": "x",
            "controller": true}]);
        it
    };
    let turn = |all: &[Value], own: &str| {
        let own = ObjectKey::new("a", own);
        let mut found = under_way(all, &own).map(|(identity, uid)| format!("{identity} {uid}"));
        found.next()
    };
    let done = of("done", "upgrade", 2);
    let own_affair = of("own", "spec", 0);
    let rolling = of("rolling", "upgrade", 1);
    assert_eq!(turn(&[done.clone(), own_affair.clone()], "b"), None);
    let all = [done, own_affair, rolling.clone()];
    assert_eq!(turn(&all, "b").as_deref(), Some("a/rolling x"));
    assert_eq!(turn(&all, "rolling"), None, "its own upgrade goes on");
    // Anyone can write a workload that only claims this.
    for (at, value) in [
        ("/metadata/ownerReferences", json!([])),
        ("/metadata/ownerReferences/0/controller", json!(false)),
        ("/metadata/name", json!("other")),
        ("/metadata/namespace", json!("shop")),
    ] {
        let mut foreign = rolling.clone();
        set(&mut foreign, at, value);
        assert_eq!(turn(&[foreign], "b"), None, "{at}");
    }
}

// --- kept ---------------------------------------------------------------------------------------

#[test]
fn an_identity_that_keeps_something_has_one_pod_and_a_volume() {
    let plan = plan(
        "{storage: {type: SQLite, sqlite: {size: 5Gi, storageClassName: fast}}, inheritedMetadata: {labels: {team: identity}, annotations: {team: identity}}}",
    );
    let has = |kind| plan.objects.iter().any(|it| it.child.kind == kind);
    assert!(!has(ManagedKind::Deployment) && !has(ManagedKind::PodDisruptionBudget));
    insta::assert_yaml_snapshot!("kept", body(&plan, ManagedKind::StatefulSet));
}

#[rstest]
#[case("storage: {type: SQLite}", 1)]
#[case("{storage: {type: SQLite}, replicas: 0}", 0)]
#[case("{storage: {type: SQLite}, replicas: 1}", 1)]
fn a_second_pod_would_have_another_volume(#[case] spec: &str, #[case] replicas: i64) {
    let plan = plan(spec);
    assert_eq!(plan.scale, Scale::Fixed(replicas));
    assert_eq!(
        body(&plan, ManagedKind::StatefulSet)["spec"]["replicas"],
        replicas
    );
}

/// Both kinds of pods look the same to the Service and run the same program, except for what the store needs.
#[test]
fn both_kinds_of_pods_are_built_alike() {
    let (plain, kept) = (plan("{}"), plan("storage: {type: SQLite}"));
    let template = |plan, kind| body(plan, kind)["spec"]["template"].clone();
    let mut kept = template(&kept, ManagedKind::StatefulSet);
    let mut plain = template(&plain, ManagedKind::Deployment);
    let container = &mut kept["spec"]["containers"][0];
    let take = |list: &mut Value| list.as_array_mut().unwrap().pop().unwrap();
    let store = take(&mut container["args"]);
    assert_eq!(store, "--store=sqlite:/var/lib/symbolon/symbolon.db");
    let mount = take(&mut container["volumeMounts"]);
    assert_eq!(mount["mountPath"], "/var/lib/symbolon");
    let container = container.as_object_mut().unwrap();
    container.remove("terminationMessagePolicy").unwrap();
    kept["spec"]["securityContext"]
        .as_object_mut()
        .unwrap()
        .remove("fsGroupChangePolicy")
        .unwrap();
    let spread = plain["spec"].as_object_mut().unwrap();
    spread.remove("topologySpreadConstraints").unwrap();
    assert_eq!(kept, plain);
}

#[test]
fn a_stateful_set_is_recreated_only_for_a_larger_volume() {
    let of = |size: &str| {
        plan(&format!(
            "storage: {{type: SQLite, sqlite: {{size: {size}}}}}"
        ))
    };
    let live = |plan: &WantedObjects| {
        let mut live = stored(body(plan, ManagedKind::StatefulSet));
        let claim = &mut live["spec"]["volumeClaimTemplates"][0];
        claim["spec"]["volumeMode"] = json!("Filesystem");
        claim["spec"]["storageClassName"] = json!("default");
        claim["status"] = json!({"phase": "Pending"});
        live
    };
    let small = live(&of("1Gi"));
    assert_eq!(
        action_on(&of("1Gi"), ManagedKind::StatefulSet, &small),
        ObjectAction::Keep
    );
    assert_eq!(
        action_on(&of("2Gi"), ManagedKind::StatefulSet, &small),
        ObjectAction::Release
    );
}

#[rstest]
#[case("1Gi", "1024Mi", true)]
#[case("2Gi", "1024Mi", false)]
#[case("1500M", "1500M", true)]
#[case("1500M", "2Gi", false)]
fn a_size_is_the_same_however_it_is_written(
    #[case] live: &str,
    #[case] wanted: &str,
    #[case] same: bool,
) {
    let set = |size: &str| {
        let claim = json!({"spec": {"resources": {"requests": {"storage": size}}}});
        json!({"spec": {"volumeClaimTemplates": [claim]}})
    };
    assert_eq!(!claims_another(&set(live), &set(wanted)), same);
}

#[rstest]
#[case("1Gi", "2Gi", true)]
#[case("1Gi", "1024Mi", false)]
#[case("3Gi", "2Gi", false)]
#[case("1500M", "2Gi", false)]
fn a_claim_only_grows(#[case] live: &str, #[case] wanted: &str, #[case] grows: bool) {
    let claim = json!({"metadata": {"resourceVersion": "7"}, "spec": {"resources": {"requests": {"storage": live}}}});
    let patch = growth(&claim, wanted);
    assert_eq!(patch.is_some(), grows, "{patch:?}");
    let on_condition = patch.is_none_or(|patch| patch["metadata"]["resourceVersion"] == "7");
    assert!(on_condition);
}

#[rstest]
#[case(None, Some("does not exist"))]
#[case(Some(json!({"data": {"tls.crt": "eA=="}})), Some("has no tls.key"))]
#[case(Some(json!({"data": {"tls.crt": "", "tls.key": "eA=="}})), Some("has no tls.crt"))]
#[case(Some(json!({})), Some("has no tls.crt"))]
#[case(Some(json!({"data": {"tls.crt": "eA==", "tls.key": "eA=="}})), None)]
fn a_missing_part_of_the_certificate_is_named(
    #[case] found: Option<Value>,
    #[case] lacks: Option<&str>,
) {
    let found = found.map(|secret| SecretObject::new(secret.as_object().unwrap().clone()));
    let problem = missing_certificate("web-tls", found.as_ref());
    let told = problem.as_ref().map(|problem| &*problem.message);
    assert_eq!(told.is_some(), lacks.is_some());
    assert!(told.is_none_or(|told| told.contains(lacks.unwrap()) && told.contains("web-tls")));
}

fn set_with(status: Value) -> Value {
    let mut set = deployment(status);
    set["kind"] = json!("StatefulSet");
    set["spec"]["replicas"] = json!(1);
    set
}

fn set_pod(since: &str, status: Value) -> Value {
    json!({"metadata": {
        "name": "main-identity-0", "creationTimestamp": since,
        "ownerReferences": [{"kind": "StatefulSet"}]}, "status": status})
}

#[test]
fn a_stateful_set_whose_pod_is_not_ready_in_time_has_failed_and_reports_the_last_line() {
    let set = set_with(json!({"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1}));
    let young = set_pod("2026-01-01T11:58:00Z", json!({}));
    assert_eq!(
        read(&set, &[young], now()).phase,
        RolloutPhase::Under("0 of 1 replicas are ready".to_owned())
    );
    let crashing = json!({"containerStatuses": [{
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 5m0s"}},
        "lastState": {"terminated": {"reason": "Error", "message": "{\"a\": 1}\nsymbolon: the store is damaged\n"}},
    }]});
    let old = set_pod("2026-01-01T11:54:00Z", crashing);
    assert_eq!(
        read(&set, &[old], now()).phase,
        RolloutPhase::Failed(
            "the rollout made no progress: 0 of 1 replicas are ready: pod main-identity-0: symbolon: the store is damaged"
                .to_owned()
        )
    );
    let done = set_with(
        json!({"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1,
        "readyReplicas": 1, "availableReplicas": 1}),
    );
    assert_eq!(read(&done, &[], now()).phase, RolloutPhase::Complete);
}

// --- seen ---------------------------------------------------------------------------------------

#[test]
fn a_watch_event_about_a_checked_version_is_not_news() {
    let child = Child {
        kind: ManagedKind::Service,
        namespace: Some("platform".to_owned()),
        name: "main-identity".to_owned(),
    };
    let main = || Some(ObjectKey::new("platform", "main"));
    let mut seen = SeenObjects::default();
    assert_eq!(seen.saw(&child, Some("1"), main()), main());
    assert!(!seen.is_good(&child, "x"));
    seen.found_good(&child, "2", "x");
    assert!(
        !seen.is_good(&child, "x"),
        "the watch has not reported it yet"
    );
    assert_eq!(seen.saw(&child, Some("2"), main()), None);
    assert!(seen.is_good(&child, "x") && !seen.is_good(&child, "y"));
    assert_eq!(seen.saw(&child, Some("3"), main()), main());
    assert!(!seen.is_good(&child, "x"));
    seen.found_good(&child, "3", "x");
    assert_eq!(seen.saw(&child, None, None), main(), "it is deleted");
    assert!(!seen.may_be_there(&child));
}
