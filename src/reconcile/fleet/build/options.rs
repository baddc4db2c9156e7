//! What an Identity may ask for, in addition to its image, according to the installation's lists. The chart's admission
//! policy for the operator's writes has the same lists (`identities.allowed`). The check here tells an Identity why its
//! request is refused. Pure.

use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::Installation;
use super::IssuerUrl;
use crate::directory::values::listed::Names;
use crate::directory::{Problem, Reason};
use crate::resources::{
    HttpRouteOptions, IdentitySpec, IngressOptions, InheritedMetadata, PodOptions, ServiceOptions,
    ServiceType,
};

/// Allows every taint.
const ANY: &str = "*";

/// The names that Identities may ask for. A list that is not given allows anything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Allowed {
    /// Hosts of Ingresses and `HTTPRoute`s; `*.example.com` allows every name below example.com.
    pub hosts: Names,
    /// Gateways, as `namespace/name`.
    pub gateways: Names,
    /// `IngressClass`es.
    pub ingress_class_names: Names,
    /// Annotations of Ingresses.
    pub ingress_annotations: Names,
    /// Types of Services.
    pub service_types: Names,
    /// Annotations of Services.
    pub service_annotations: Names,
    /// Labels of every object (`spec.inheritedMetadata.labels`).
    pub inherited_labels: Names,
    /// Annotations of every object (`spec.inheritedMetadata.annotations`).
    pub inherited_annotations: Names,
    /// Labels of pods.
    pub pod_labels: Names,
    /// Annotations of pods.
    pub pod_annotations: Names,
    /// `PriorityClass`es.
    pub priority_class_names: Names,
    /// Labels of nodes.
    pub node_selector: Names,
    /// Keys of taints.
    pub tolerations: Names,
    /// Kinds of affinity.
    pub affinity: Names,
    /// Kinds of resources.
    pub resources: Names,
    /// `StorageClass`es.
    pub storage_class_names: Names,
}

impl Allowed {
    /// Parses the lists from JSON, as the chart writes them.
    ///
    /// # Errors
    /// Returns an error for anything else.
    pub fn parse(text: &str) -> Result<Self, String> {
        serde_json::from_str(text).map_err(|error| error.to_string())
    }
}

/// Checks pods, volumes and the Service. Nothing is run if this fails.
pub(super) fn check(spec: &IdentitySpec, of: &Installation) -> Result<(), Problem> {
    let allowed = &of.allowed;
    check_inherited(&spec.inherited_metadata, allowed)?;
    check_service(&spec.network.service, allowed)?;
    if let Some(pod) = &spec.pod {
        check_pod(pod, allowed)?;
    }
    let class = spec.storage.sqlite.as_ref();
    let class = class.and_then(|sqlite| sqlite.storage_class_name.as_deref());
    all(
        class,
        &allowed.storage_class_names,
        "StorageClass",
        "storageClassNames",
        "/spec/storage/sqlite/storageClassName",
    )
}

fn check_inherited(inherited: &InheritedMetadata, allowed: &Allowed) -> Result<(), Problem> {
    all(
        inherited.labels.keys(),
        &allowed.inherited_labels,
        "label",
        "inheritedLabels",
        "/spec/inheritedMetadata/labels",
    )?;
    all(
        inherited.annotations.keys(),
        &allowed.inherited_annotations,
        "annotation",
        "inheritedAnnotations",
        "/spec/inheritedMetadata/annotations",
    )
}

fn check_service(service: &ServiceOptions, allowed: &Allowed) -> Result<(), Problem> {
    let kind = match service.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    all(
        [kind],
        &allowed.service_types,
        "type of Service",
        "serviceTypes",
        "/spec/network/service/type",
    )?;
    all(
        service.annotations.keys(),
        &allowed.service_annotations,
        "annotation",
        "serviceAnnotations",
        "/spec/network/service/annotations",
    )
}

fn check_pod(pod: &PodOptions, allowed: &Allowed) -> Result<(), Problem> {
    all(
        pod.labels.keys().filter(|label| !is_own(label)),
        &allowed.pod_labels,
        "label",
        "podLabels",
        "/spec/pod/labels",
    )?;
    all(
        pod.annotations.keys(),
        &allowed.pod_annotations,
        "annotation",
        "podAnnotations",
        "/spec/pod/annotations",
    )?;
    all(
        pod.priority_class_name.as_deref(),
        &allowed.priority_class_names,
        "PriorityClass",
        "priorityClassNames",
        "/spec/pod/priorityClassName",
    )?;
    all(
        pod.node_selector.keys(),
        &allowed.node_selector,
        "label of nodes",
        "nodeSelector",
        "/spec/pod/nodeSelector",
    )?;
    let taints = pod.tolerations.iter();
    // A toleration without a key tolerates every taint.
    let taints = taints.map(|it| it.key.as_deref().filter(|key| !key.is_empty()));
    all(
        taints.map(|key| key.unwrap_or(ANY)),
        &allowed.tolerations,
        "toleration of the taint",
        "tolerations",
        "/spec/pod/tolerations",
    )?;
    let affinity = pod.affinity.iter().flat_map(|it| it.0.keys());
    all(
        affinity,
        &allowed.affinity,
        "affinity",
        "affinity",
        "/spec/pod/affinity",
    )?;
    let nodes = pod.affinity.iter();
    all(
        nodes.flat_map(|it| labels_of_nodes(&it.0)),
        &allowed.node_selector,
        "label of nodes",
        "nodeSelector",
        "/spec/pod/affinity/nodeAffinity",
    )?;
    let resources = pod.resources.iter();
    let resources = resources.flat_map(|it| it.requests.keys().chain(it.limits.keys()));
    all(
        resources,
        &allowed.resources,
        "resource",
        "resources",
        "/spec/pod/resources",
    )
}

/// Returns the items of a list; none for any other value.
fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

/// Returns the labels and fields by which an affinity selects nodes.
fn labels_of_nodes(affinity: &Map<String, Value>) -> Vec<&str> {
    let Some(nodes) = affinity.get("nodeAffinity") else {
        return Vec::new();
    };
    let required = &nodes["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"];
    let preferred = &nodes["preferredDuringSchedulingIgnoredDuringExecution"];
    let preferred = list(preferred).iter().map(|it| &it["preference"]);
    let terms = list(required).iter().chain(preferred);
    let rules = terms.flat_map(|term| ["matchExpressions", "matchFields"].map(|of| &term[of]));
    rules
        .flat_map(list)
        .filter_map(|rule| rule["key"].as_str())
        .collect()
}

/// Whether the operator sets the label itself, regardless of the spec.
fn is_own(label: &str) -> bool {
    [
        "app.kubernetes.io/name",
        "app.kubernetes.io/component",
        "app.kubernetes.io/instance",
        "app.kubernetes.io/managed-by",
        crate::resources::LABEL_MANAGED,
        crate::resources::LABEL_IDENTITY,
    ]
    .contains(&label)
}

/// Checks an Ingress. The other objects are used without it if this fails.
pub(super) fn check_ingress(
    ingress: &IngressOptions,
    inherited: &InheritedMetadata,
    issuer: &IssuerUrl,
    allowed: &Allowed,
) -> Result<(), Problem> {
    check_host(issuer, allowed, "/spec/network/ingress")?;
    all(
        ingress.class_name.as_deref(),
        &allowed.ingress_class_names,
        "IngressClass",
        "ingressClassNames",
        "/spec/network/ingress/className",
    )?;
    all(
        ingress.annotations.keys(),
        &allowed.ingress_annotations,
        "annotation",
        "ingressAnnotations",
        "/spec/network/ingress/annotations",
    )?;
    let path = "/spec/network/ingress/annotations";
    let own = ingress.annotations.iter().map(|it| (path, it));
    let path = "/spec/inheritedMetadata/annotations";
    let mut annotations = own.chain(inherited.annotations.iter().map(|it| (path, it)));
    match annotations.find(|(_, (key, value))| !is_plain(key, value)) {
        None => Ok(()),
        Some((path, (key, _))) => Err(Problem::error(
            Reason::Invalid,
            path,
            format!(
                "the value of the annotation {key} could end a line or a statement in the ingress controller's configuration: remove line breaks, and for nginx use ASCII without ';', '{{', '}}', '#', quotes and backslashes"
            ),
        )),
    }
}

/// Whether the value of an Ingress's annotation cannot end a statement. Controllers have copied values into their
/// configuration unescaped. The chart's policy has the same rule.
fn is_plain(key: &str, value: &str) -> bool {
    let ends = |c| matches!(c, '\n' | '\r');
    let is_of_nginx =
        |c| matches!(c, ';' | '{' | '}' | '#' | '"' | '\'' | '\\') || !matches!(c, ' '..='~');
    let ends_nginx = |c| key.starts_with("nginx.") && is_of_nginx(c);
    !value.contains(|c| ends(c) || ends_nginx(c))
}

/// Checks the `HTTPRoute` of an Identity in `namespace`. The other objects are used without it if this fails.
pub(super) fn check_route(
    route: &HttpRouteOptions,
    namespace: &str,
    issuer: &IssuerUrl,
    allowed: &Allowed,
) -> Result<(), Problem> {
    check_host(issuer, allowed, "/spec/network/httpRoute")?;
    let gateways = route.parent_refs.iter().map(|gateway| {
        let namespace = gateway.namespace.as_deref().unwrap_or(namespace);
        format!("{namespace}/{}", gateway.name)
    });
    all(
        gateways,
        &allowed.gateways,
        "Gateway",
        "gateways",
        "/spec/network/httpRoute/parentRefs",
    )
}

fn check_host(issuer: &IssuerUrl, allowed: &Allowed, path: &'static str) -> Result<(), Problem> {
    match issuer.host_name() {
        Some(host) if allowed.hosts.has_host(host) => Ok(()),
        None if allowed.hosts.has_any() => Ok(()),
        Some(host) => Err(refusal("host", host, "hosts", path)),
        // A route without a host matches every host.
        None => Err(Problem::error(
            Reason::Invalid,
            path,
            "the issuer has no host name, so the route would match every host, which this installation does not allow: remove the route, or ask the administrators of the installation to allow it with the chart value identities.allowed.hosts: [\"*\"]",
        )),
    }
}

/// Refuses the first name that is not on the list.
fn all(
    names: impl IntoIterator<Item = impl AsRef<str>>,
    list: &Names,
    what: &str,
    value: &str,
    path: &'static str,
) -> Result<(), Problem> {
    let mut names = names.into_iter();
    match names.find(|name| !list.has(name.as_ref())) {
        None => Ok(()),
        Some(name) => Err(refusal(what, name.as_ref(), value, path)),
    }
}

fn refusal(what: &str, name: impl fmt::Display, value: &str, path: &'static str) -> Problem {
    let message = format!(
        "this installation does not allow the {what} {name}: remove it, or ask the administrators of the installation to allow it with the chart value identities.allowed.{value}"
    );
    Problem::error(Reason::Invalid, path, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_value_of_an_annotation_ends_no_statement_of_a_controllers_configuration() {
        let nginx = "nginx.ingress.kubernetes.io/proxy-body-size";
        for (key, value, is_good) in [
            (nginx, "1m", true),
            (nginx, "1m;\n} location /x { return 200; ", false),
            (nginx, "1m;", false),
            (nginx, "1m }", false),
            (nginx, "1m # the rest of the line", false),
            (nginx, "'1m", false),
            (nginx, "1m\\", false),
            (nginx, "1m\u{2028}", false),
            (
                "alb.ingress.kubernetes.io/listen-ports",
                r#"[{"HTTPS":443}]"#,
                true,
            ),
            ("cert-manager.io/issuer", "a\nb", false),
            ("cert-manager.io/issuer", "a\rb", false),
        ] {
            assert_eq!(is_plain(key, value), is_good, "{key} {value:?}");
        }
    }

    /// Like a node selector, an affinity binds a pod to nodes.
    #[test]
    fn an_affinity_may_name_only_node_labels_that_a_selector_may() {
        let pod = |affinity: Value| PodOptions {
            affinity: serde_json::from_value(affinity).unwrap(),
            ..PodOptions::default()
        };
        let terms = |of: &str, key: &str| json!([{of: [{"key": key, "operator": "Exists"}]}]);
        let required = |terms: Value| {
            pod(
                json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}}),
            )
        };
        let preferred = |term: &Value| {
            pod(
                json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "preference": term}]}}),
            )
        };
        let few = Allowed::parse(r#"{"nodeSelector": ["disk"]}"#).unwrap();
        for (of, key, is_allowed) in [
            ("matchExpressions", "disk", true),
            (
                "matchExpressions",
                "node-role.kubernetes.io/control-plane",
                false,
            ),
            ("matchFields", "metadata.name", false),
        ] {
            let terms = terms(of, key);
            for pod in [preferred(&terms[0]), required(terms)] {
                assert_eq!(check_pod(&pod, &few).is_ok(), is_allowed, "{key}");
                assert!(check_pod(&pod, &Allowed::default()).is_ok(), "{key}");
            }
        }
        let nothing = pod(json!({"nodeAffinity": 5, "podAntiAffinity": {}}));
        assert!(check_pod(&nothing, &few).is_ok());
    }

    #[test]
    fn a_list_that_is_not_given_allows_anything_and_a_typo_is_refused() {
        let allowed = Allowed::parse(r#"{"hosts": [], "podLabels": ["team"]}"#).unwrap();
        assert!(!allowed.hosts.has_host("a") && !allowed.pod_labels.has("app"));
        assert!(allowed.gateways.has("a/b"));
        let error = Allowed::parse(r#"{"host": []}"#).unwrap_err();
        assert!(error.contains("unknown field `host`"), "{error}");
    }
}
