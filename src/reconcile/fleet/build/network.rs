//! How the pods are reached, and by whom.

use serde_json::{Value, json};

use super::super::{Child, name_of};
use super::{About, Apis, HEALTH_PORT, HTTP_PORT};
use crate::directory::{Problem, Reason};
use crate::oauth::discovery::paths;
use crate::resources::{ManagedKind, ServiceType};

pub(super) fn policy_and_service(about: &About<'_>) -> [(Child, Value); 2] {
    [policy(about), service(about)]
}

/// Whoever can route to a pod may ask it; of its health and metrics only the cluster hears.
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

/// An issuer that is the Service itself says at which port it is.
fn port(about: &About<'_>) -> u16 {
    let usual = if about.spec.network.tls.is_some() {
        443
    } else {
        80
    };
    let service = format!("{}.{}.svc", name_of(&about.key), about.key.namespace);
    let host = &about.issuer.host;
    let is_service = host
        .strip_prefix(&service)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    about.issuer.port.filter(|_| is_service).unwrap_or(usual)
}

/// What brings requests from outside, and what has metrics collected.
pub(super) fn routes(about: &About<'_>, apis: Apis) -> Result<Vec<(Child, Value)>, Problem> {
    let network = &about.spec.network;
    let mut objects = Vec::new();
    if let Some(options) = &network.ingress {
        let mut spec = json!({"rules": [ingress_rule(about)]});
        if let Some(class) = &options.class_name {
            spec["ingressClassName"] = json!(class);
        }
        if let Some(secret) = &options.tls_secret_name {
            let hosts: Vec<_> = about.issuer.host_name().into_iter().collect();
            spec["tls"] = json!([{"hosts": hosts, "secretName": secret}]);
        }
        let body = json!({"spec": spec});
        objects.push(about.annotated(ManagedKind::Ingress, &options.annotations, body));
    }
    if let Some(options) = &network.http_route {
        if !apis.http_route {
            return Err(Problem::error(
                Reason::Pending,
                "/spec/network/httpRoute",
                "this cluster has no HTTPRoute yet: install the Gateway API (gateway.networking.k8s.io/v1), or use network.ingress",
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
        objects.push(about.own(ManagedKind::HttpRoute, json!({"spec": spec})));
    }
    if apis.service_monitor {
        let spec = json!({
            "selector": {"matchLabels": about.selector()},
            "endpoints": [{"targetPort": "health", "path": "/metrics"}],
        });
        objects.push(about.own(ManagedKind::ServiceMonitor, json!({"spec": spec})));
    }
    Ok(objects)
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

/// Everything below the issuer, and the one document that RFC 8414 section 3 has at the root.
fn prefixes(about: &About<'_>) -> impl Iterator<Item = String> {
    let path = &about.issuer.path;
    if path.is_empty() {
        vec!["/".to_owned()].into_iter()
    } else {
        vec![
            path.clone(),
            format!("{}{path}", paths::AUTHORIZATION_SERVER),
        ]
        .into_iter()
    }
}
