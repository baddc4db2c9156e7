//! All rights of each service account: `kubectl auth can-i --list` as that account, compared with `snapshots/`, so that
//! a review shows every right that is added or removed. The module `running` takes the snapshots of an Identity's
//! servers.

use std::collections::BTreeSet;

use crate::tools::Kube;
use crate::world::{ADMINISTRATOR, HOME, installed};

/// The rights of an account, one line each: the resource, its names, and the verbs.
fn rights(kube: Kube<'_>, account: &str, namespace: &str) -> BTreeSet<String> {
    let listed = kube.must(&format!(
        "auth can-i --list --no-headers -n {namespace} --as {account}"
    ));
    // Four columns, the middle ones lists in brackets: resources, URLs, names, verbs.
    let line = |line: &str| {
        let columns: Vec<&str> = line.split('[').map(str::trim).collect();
        let [resource, urls, names, verbs] = columns[..] else {
            panic!("expected four columns: {line}");
        };
        let inside = |column: &str| column.trim_end_matches(']').to_owned();
        let mut verbs: Vec<String> = inside(verbs).split(' ').map(str::to_owned).collect();
        verbs.sort();
        let what = if resource.is_empty() {
            inside(urls)
        } else {
            resource.to_owned()
        };
        let names = inside(names);
        let of = if names.is_empty() {
            names
        } else {
            format!(" ({names})")
        };
        format!("{what}{of}: {}", verbs.join(" "))
    };
    listed.lines().map(line).collect()
}

/// The rights of an account beyond those of every account.
pub(crate) fn own_rights(kube: Kube<'_>, account: &str, namespace: &str) -> String {
    let common = rights(kube, "system:serviceaccount:nowhere:nobody", "nowhere");
    let own: Vec<String> = rights(kube, account, namespace)
        .difference(&common)
        .cloned()
        .collect();
    own.join("\n")
}

#[track_caller]
pub(crate) fn assert_sound(rights: &str) {
    for never in ["*", "escalate", "bind", "impersonate", "deletecollection"] {
        for line in rights.lines() {
            let words = line.split([' ', ':', ',']);
            assert!(!words.into_iter().any(|word| word == never), "{line}");
        }
    }
}

#[test]
fn the_rights_of_an_operator_of_the_whole_cluster() {
    let kube = installed();
    let account = format!("system:serviceaccount:{HOME}:symbolon");
    for (place, namespace) in [("at_home", HOME), ("elsewhere", "default")] {
        let rights = own_rights(kube, &account, namespace);
        assert_sound(&rights);
        insta::assert_snapshot!(format!("operator_of_the_cluster_{place}"), rights);
    }
}

#[test]
fn an_operator_of_some_namespaces_has_no_right_in_any_other() {
    let kube = installed();
    for namespace in ["rights-home", "rights-team"] {
        kube.must(&format!("create namespace {namespace}"));
    }
    kube.helm("install rights charts/symbolon -n rights-home --set crds.enabled=false --set admissionPolicies.protectDeletion=false --set watchNamespaces={rights-team}")
        .unwrap();
    let account = "system:serviceaccount:rights-home:rights-symbolon";
    for (place, namespace) in [
        ("at_home", "rights-home"),
        ("where_it_works", "rights-team"),
    ] {
        let rights = own_rights(kube, account, namespace);
        assert_sound(&rights);
        insta::assert_snapshot!(format!("operator_of_some_namespaces_{place}"), rights);
    }
    assert_eq!(own_rights(kube, account, "default"), "");
}

/// By the specification of servicebinding.io, the controller's role aggregates all roles with its label.
#[test]
fn a_controller_of_service_bindings_reads_clients_and_tokens_and_nothing_else() {
    let kube = installed();
    kube.apply(
        "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: bindings}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {servicebinding.io/controller: 'true'}}]}
rules: []
",
    );
    let account = "system:serviceaccount:bindings:controller";
    kube.must("create clusterrolebinding bindings --clusterrole bindings --serviceaccount bindings:controller");
    crate::tools::eventually("the role is aggregated", || {
        let may = "auth can-i list oauthclients.symbolon.dev -A --as";
        kube.ask(&format!("{may} {account}")).ok()
    });
    let rights = own_rights(kube, account, "default");
    assert_sound(&rights);
    insta::assert_snapshot!("controller_of_service_bindings", rights);
}

#[test]
fn the_rights_of_administrators_of_identities() {
    let kube = installed();
    kube.must("create namespace rights-identities");
    kube.must("create rolebinding admin -n rights-identities --clusterrole symbolon-identity-admin --user carol");
    let rights = crate::tools::eventually("carol has her rights", || {
        let rights = own_rights(kube, "carol", "rights-identities");
        (!rights.is_empty()).then_some(rights)
    });
    insta::assert_snapshot!("administrators_of_identities", rights);
}

#[test]
fn the_built_in_roles_let_users_see_and_edit_their_own_objects() {
    let kube = installed();
    kube.must("create namespace rights-people");
    let can = |role: &str, verb: &str, resource: &str| {
        kube.ask(&format!(
            "auth can-i {verb} {resource}.symbolon.dev -n rights-people --as {role}"
        ))
        .is_ok()
    };
    for role in ["view", "edit", "admin"] {
        kube.must(&format!(
            "create rolebinding {role} -n rights-people --clusterrole {role} --user {role}"
        ));
        crate::tools::eventually("the roles are aggregated", || {
            can(role, "get", "scopes").then_some(())
        });
    }
    let tenants = ["scopes", "oauthclients", "serviceaccesstokens"];
    for (role, verb, resources, allowed) in [
        ("view", "list", &tenants[..], true),
        ("view", "list", &["identities"], true),
        ("view", "get", &["credentials", "users"], false),
        ("view", "create", &tenants, false),
        ("edit", "create", &tenants, true),
        ("edit", "delete", &tenants, true),
        ("edit", "create", &["identities"], false),
        ("edit", "get", &["credentials", "users"], false),
        ("edit", "create", &["users"], false),
        ("admin", "create", &tenants, true),
        ("admin", "update", &["identities"], false),
        ("admin", "get", &["credentials", "users"], false),
        (
            ADMINISTRATOR,
            "create",
            &["identities", "credentials"],
            true,
        ),
    ] {
        for resource in resources {
            assert_eq!(
                can(role, verb, resource),
                allowed,
                "{role} {verb} {resource}"
            );
        }
    }
}
