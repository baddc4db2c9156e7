//! What an object refers to, read from the manifest, because an object with a fault has no record.

use serde_json::Value;

use super::super::manifests::World;
use crate::directory::{ObjectKey, Problem};
use crate::resources::Kind;
use crate::source::manifest::ManifestObject;

/// Returns the Identity that an object names, or the default one.
pub(super) fn identity_of(world: &World, object: &ManifestObject) -> Option<ObjectKey> {
    let reference = &object.value["spec"]["identityRef"];
    let Some(name) = reference["name"].as_str() else {
        return world.directory.settings().default_identity.clone();
    };
    let namespace = reference["namespace"].as_str();
    Some(ObjectKey::new(
        namespace.unwrap_or(&object.key.namespace),
        name,
    ))
}

/// Returns the OAuthClient that a ServiceAccessToken names.
pub(super) fn client_of(object: &ManifestObject) -> Option<ObjectKey> {
    let name = object.value["spec"]["clientRef"]["name"].as_str()?;
    (object.kind == Kind::ServiceAccessToken).then(|| ObjectKey::new(&object.key.namespace, name))
}

/// Returns the string that a problem is about.
pub(super) fn value_at<'o>(object: &'o ManifestObject, problem: &Problem) -> Option<&'o str> {
    object.value.pointer(&problem.path)?.as_str()
}

/// Returns the scope values that the gateways of an Identity require.
pub(super) fn gateway_scopes(object: &ManifestObject) -> impl Iterator<Item = &str> {
    let gateways = object.value["spec"]["gateways"].as_array();
    let scopes = gateways
        .into_iter()
        .flatten()
        .filter_map(|gateway| gateway["scopes"].as_array());
    scopes.flatten().filter_map(Value::as_str)
}

/// Returns the values that a Scope with a fault may be meant to have: its `spec.value`, and the default from its name.
pub(super) fn scope_values(world: &World, object: &ManifestObject) -> impl Iterator<Item = String> {
    let ObjectKey { namespace, name } = &object.key;
    let is_beside = identity_of(world, object).is_some_and(|it| it.namespace == *namespace);
    let written = object.value["spec"]["value"].as_str().map(str::to_owned);
    let default = if is_beside {
        name.to_string()
    } else {
        format!("{namespace}:{name}")
    };
    written.into_iter().chain([default])
}
