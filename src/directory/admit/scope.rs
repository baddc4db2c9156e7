//! Admission of a Scope.

use serde_json::Value;

use super::faults::Faults;
use super::interactive::groups;
use super::raw::{decode, identity_of};
use crate::directory::Problem;
use crate::directory::names::built_in::is_built_in;
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::ScopeRecord;
use crate::directory::values::normal::is_normal_value;
use crate::resources::{
    Kind, MOST_BYTES_OF_GROUPS, RequestPolicy, Scope, ScopeSpec, TOO_LONG_GROUPS, VALUE_WORDS,
};
use crate::tokens::person_claims::is_protocol_claim;

/// Admits a Scope.
pub(super) fn record(raw: &Value, settings: &Settings) -> Result<ScopeRecord, Vec<Problem>> {
    let scope: Scope = decode(Kind::Scope, raw)?;
    let mut faults = Faults::default();
    let ScopeSpec {
        identity_ref,
        value,
        display_name,
        description,
        audiences,
        resource_servers,
        request_policy,
        disabled,
        allowed_namespaces,
        people,
        claims,
    } = &scope.spec;
    let namespace = scope.metadata.namespace.as_deref().unwrap_or_default();
    let name = scope.metadata.name.as_deref().unwrap_or_default();
    faults.require(
        !value.as_deref().is_some_and(is_built_in),
        "/spec/value",
        "this scope value is built in, and every Identity has it: choose another",
    );
    faults.require(
        value.is_some() || !is_built_in(name),
        "/metadata/name",
        "the default scope value would be a built-in one: set spec.value",
    );
    faults.require(
        value.as_deref().is_none_or(is_normal_value),
        "/spec/value",
        VALUE_WORDS,
    );
    faults.audiences("/spec/audiences", audiences);
    for (index, claim) in claims.iter().enumerate() {
        faults.require(
            !is_protocol_claim(claim),
            &format!("/spec/claims/{index}"),
            "this claim has a meaning in the protocol, and no scope can release it: remove it",
        );
    }
    let bytes_of_groups = people.iter().flat_map(|people| &people.groups);
    let bytes_of_groups: usize = bytes_of_groups.map(|group| group.0.len()).sum();
    faults.require(
        bytes_of_groups <= MOST_BYTES_OF_GROUPS,
        "/spec/people/groups",
        TOO_LONG_GROUPS,
    );
    let default_length = namespace.len() + 1 + name.len();
    faults.require(
        value.is_some() || default_length <= 128,
        "/metadata/name",
        "the default scope value would be longer than 128 characters: set spec.value",
    );
    let identity = identity_of(identity_ref.as_ref(), namespace, settings);
    let administrators = identity
        .as_ref()
        .is_some_and(|identity| *identity.namespace == *namespace);
    let default = || {
        if administrators {
            name.to_owned()
        } else {
            format!("{namespace}:{name}")
        }
    };
    let record = ScopeRecord {
        identity,
        value: intern::text(&value.clone().unwrap_or_else(default)),
        display_name: display_name.as_deref().map(Into::into),
        description: description.as_deref().map(Into::into),
        audiences: intern::texts(audiences),
        resource_servers: intern::texts(resource_servers),
        on_request: *request_policy == RequestPolicy::OnRequest,
        disabled: *disabled,
        allowed: faults.namespaces("/spec/allowedNamespaces", allowed_namespaces),
        groups: people.as_ref().map(|people| groups(Some(&people.groups))),
        claims: intern::texts(claims).into(),
    };
    faults.finish(record)
}
