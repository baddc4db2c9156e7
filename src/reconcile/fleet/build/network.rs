//! The network objects: how the pods are reached, and by which clients.

use serde_json::{Value, json};

use super::super::{Child, name_of};
use super::options::{check_ingress, check_route};
use super::{About, Apis, HEALTH_PORT, HTTP_PORT, IssuerUrl};
use crate::directory::{ObjectKey, Problem, Reason};
use crate::oauth::Endpoint;
use crate::resources::{ManagedKind, ServiceType};

pub(super) fn policy_and_service(about: &About<'_>) -> [(Child, Value); 2] {
    [policy(about), service(about)]
}

/// Any client that can route to a pod may reach its API; only the cluster may reach its health and metrics.
fn policy(about: &About<'_>) -> (Child, Value) {
    let spec = json!({
        "podSelector": {"matchLabels": about.selector()},
        "policyTypes": ["Ingress"],
        "ingress": [
            {"ports": [{"port": HTTP_PORT, "protocol": "TCP"}]},
            {"ports": [{"port": HEALTH_PORT, "protocol": "TCP"}], "from": [{"namespaceSelector": {}}]},
        ],
    });
    about.own(ManagedKind::NetworkPolicy, json!({"spec": spec}))
}

fn service(about: &About<'_>) -> (Child, Value) {
    let options = &about.spec.network.service;
    let type_ = match options.type_ {
        ServiceType::ClusterIP => "ClusterIP",
        ServiceType::NodePort => "NodePort",
        ServiceType::LoadBalancer => "LoadBalancer",
    };
    let spec = json!({
        "type": type_,
        "selector": about.selector(),
        "ports": [{"name": port_name(about), "port": port(about), "targetPort": "http", "protocol": "TCP"}],
    });
    about.annotated(
        ManagedKind::Service,
        &options.annotations,
        json!({"spec": spec}),
    )
}

fn port_name(about: &About<'_>) -> &'static str {
    if about.spec.network.tls.is_some() {
        "https"
    } else {
        "http"
    }
}

/// Returns the Service's port. If the issuer is the Service itself, its URL tells the port.
fn port(about: &About<'_>) -> u16 {
    let usual = if about.spec.network.tls.is_some() {
        443
    } else {
        80
    };
    let is_service = is_service(&about.key, &about.issuer);
    about.issuer.port.filter(|_| is_service).unwrap_or(usual)
}

/// Whether an issuer is the Service of its own pods.
pub(super) fn is_service(identity: &ObjectKey, issuer: &IssuerUrl) -> bool {
    let service = format!("{}.{}.svc", name_of(identity), identity.namespace);
    let rest = issuer.host.strip_prefix(&service);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// Returns the Ingress for requests from outside the cluster.
pub(super) fn ingress(about: &About<'_>) -> Result<Option<(Child, Value)>, Problem> {
    let Some(options) = &about.spec.network.ingress else {
        return Ok(None);
    };
    check_ingress(
        options,
        &about.spec.inherited_metadata,
        &about.issuer,
        &about.of.allowed,
    )?;
    let mut spec = json!({"rules": [ingress_rule(about)]});
    if let Some(class) = &options.class_name {
        spec["ingressClassName"] = json!(class);
    }
    if let Some(secret) = &options.tls_secret_name {
        let hosts: Vec<_> = about.issuer.host_name().into_iter().collect();
        spec["tls"] = json!([{"hosts": hosts, "secretName": secret}]);
    }
    let body = json!({"spec": spec});
    let ingress = about.annotated(ManagedKind::Ingress, &options.annotations, body);
    Ok(Some(ingress))
}

/// Returns the `HTTPRoute`, if the cluster has the Gateway API.
pub(super) fn route(about: &About<'_>, apis: Apis) -> Result<Option<(Child, Value)>, Problem> {
    let Some(options) = &about.spec.network.http_route else {
        return Ok(None);
    };
    let allowed = &about.of.allowed;
    check_route(options, &about.key.namespace, &about.issuer, allowed)?;
    if !apis.http_route {
        return Err(Problem::error(
            Reason::Pending,
            "/spec/network/httpRoute",
            "this cluster does not have the kind HTTPRoute: install the Gateway API (gateway.networking.k8s.io/v1), or use spec.network.ingress",
        ));
    }
    let mut spec = json!({
        "parentRefs": options.parent_refs,
        "rules": [{
            "matches": prefixes(about).map(|path| json!({"path": {"type": "PathPrefix", "value": path}})).collect::<Vec<_>>(),
            "backendRefs": [{"name": name_of(&about.key), "port": port(about)}],
        }],
    });
    if let Some(host) = about.issuer.host_name() {
        spec["hostnames"] = json!([host]);
    }
    Ok(Some(
        about.own(ManagedKind::HttpRoute, json!({"spec": spec})),
    ))
}

/// Returns the `ServiceMonitor`, if the cluster has that kind and the installation wants it.
pub(super) fn monitor(about: &About<'_>, apis: Apis) -> Option<(Child, Value)> {
    let options = &about.of.monitors;
    if !apis.service_monitor || options.off {
        return None;
    }
    let mut endpoint = json!({"targetPort": "health", "path": "/metrics"});
    if let Some(interval) = &options.interval {
        endpoint["interval"] = json!(interval);
    }
    let spec = json!({
        "selector": {"matchLabels": about.selector()},
        "endpoints": [endpoint],
    });
    let (child, mut body) = about.own(ManagedKind::ServiceMonitor, json!({"spec": spec}));
    for (label, value) in &options.labels {
        let labels = &mut body["metadata"]["labels"];
        // The operator's labels win.
        if labels.get(label).is_none() {
            labels[label] = json!(value);
        }
    }
    Some((child, body))
}

fn ingress_rule(about: &About<'_>) -> Value {
    let backend =
        json!({"service": {"name": name_of(&about.key), "port": {"name": port_name(about)}}});
    let paths: Vec<_> = prefixes(about)
        .map(|path| json!({"path": path, "pathType": "Prefix", "backend": backend}))
        .collect();
    match about.issuer.host_name() {
        Some(host) => json!({"host": host, "http": {"paths": paths}}),
        None => json!({"http": {"paths": paths}}),
    }
}

/// Returns the paths to route: everything below the issuer, and the metadata document that RFC 8414, section 3, places
/// at the root.
fn prefixes(about: &About<'_>) -> impl Iterator<Item = String> {
    let path = &about.issuer.path;
    if path.is_empty() {
        vec!["/".to_owned()].into_iter()
    } else {
        vec![path.clone(), Endpoint::AuthorizationServer.path(path)].into_iter()
    }
}
