//! Whom the pods act as, and the least that they may do.
//!
//! They read users' objects and their own Identity's Credentials, and write into the status of those alone: when a token
//! was used, and that it was revoked. They have no right to Secrets: keys are mounted.

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
        // The pods ask for a token themselves.
        about.own(
            ManagedKind::ServiceAccount,
            json!({"automountServiceAccountToken": false}),
        ),
        about.own(
            ManagedKind::Role,
            json!({"rules": [
                {"apiGroups": [GROUP], "resources": ["credentials"], "verbs": ["get", "list", "watch"]},
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

/// What binds the right to read users' objects: everywhere, or in each namespace of the installation.
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
