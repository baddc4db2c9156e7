//! The account of the pods, with the least rights that they need.
//!
//! They read tenants' objects, and Users and Credentials in the namespace of their own Identity. They write only into the
//! status of these Credentials: that a token was used or revoked. They have no right to Secrets, because keys are mounted.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::super::{Child, Installation, global_name_of, name_of};
use super::About;
use crate::directory::ObjectKey;
use crate::resources::{GROUP, ManagedKind};

const RBAC: &str = "rbac.authorization.k8s.io";

pub(super) fn objects(about: &About<'_>) -> Vec<(Child, Value)> {
    let name = name_of(&about.key);
    let mut objects = vec![
        // Only the pod template mounts the token.
        about.own(
            ManagedKind::ServiceAccount,
            json!({"automountServiceAccountToken": false}),
        ),
        about.own(
            ManagedKind::Role,
            json!({"rules": [
                {"apiGroups": [GROUP], "resources": ["users", "credentials"], "verbs": ["get", "list", "watch"]},
                {"apiGroups": [GROUP], "resources": ["credentials/status"], "verbs": ["get", "patch"]},
            ]}),
        ),
        about.own(
            ManagedKind::RoleBinding,
            binding(about, json!({"apiGroup": RBAC, "kind": "Role", "name": name})),
        ),
    ];
    let role =
        json!({"apiGroup": RBAC, "kind": "ClusterRole", "name": about.of.server_cluster_role});
    for child in readers(&about.key, about.of) {
        let body = about.object(&child, &BTreeMap::new(), binding(about, role.clone()));
        objects.push((child, body));
    }
    objects
}

/// Returns the bindings for the right to read tenants' objects: one for all namespaces, or one in each of the
/// installation's.
pub(super) fn readers(identity: &ObjectKey, of: &Installation) -> Vec<Child> {
    let name = global_name_of(identity);
    if of.namespaces.is_empty() {
        return vec![Child {
            kind: ManagedKind::ClusterRoleBinding,
            namespace: None,
            name,
        }];
    }
    let own = identity.namespace.to_string();
    let namespaces: BTreeSet<&String> = of.namespaces.iter().chain([&own]).collect();
    let child = |namespace: &String| Child {
        kind: ManagedKind::RoleBinding,
        namespace: Some(namespace.clone()),
        name: name.clone(),
    };
    namespaces.into_iter().map(child).collect()
}

fn binding(about: &About<'_>, role: Value) -> Value {
    json!({
        "roleRef": role,
        "subjects": [{"kind": "ServiceAccount", "name": name_of(&about.key), "namespace": *about.key.namespace}],
    })
}
