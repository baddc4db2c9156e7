//! Admission of single objects: the rules that need nothing but the object.
//!
//! The API server enforces most of them by schema and CEL. This module enforces them again for three reasons: files
//! have no API server, a definition may be older than the binary, and the reconciler never trusts that admission ran.
//! `tests/fixtures/refused` holds an object for each CEL rule, and both sides must refuse it.
//!
//! `transition` has the rules for a new version of an object, and `change` makes a row of an object that was judged.
//!
//! Each kind has its own file. `faults` collects what is wrong with an object, and has the rules that several kinds
//! share; `secret` does the same for the Secrets that are issued.

mod change;
mod credential;
mod faults;
mod identity;
mod inherited;
mod interactive;
mod login;
mod oauth_client;
#[cfg(test)]
mod people_tests;
mod raw;
mod scope;
mod secret;
mod service_access_token;
mod theme;
pub mod transition;
mod user;
pub mod volume;

use serde_json::Value;

use super::Problem;
use super::settings::Settings;
use super::tables::record::{
    ClientRecord, IdentityRecord, Object, ScopeRecord, ServiceTokenRecord, UserRecord,
};
use crate::resources::{Credential, Kind};
pub use credential::credential;
use raw::{decode, object};

/// Admits an Identity.
pub fn identity(raw: &Value, settings: &Settings) -> Option<Object<IdentityRecord>> {
    object(raw, identity::record(raw, settings))
}

/// Admits a Scope.
pub fn scope(raw: &Value, settings: &Settings) -> Option<Object<ScopeRecord>> {
    object(raw, scope::record(raw, settings))
}

/// Admits an OAuthClient.
pub fn client(raw: &Value, settings: &Settings) -> Option<Object<ClientRecord>> {
    object(raw, oauth_client::record(raw, settings))
}

/// Admits a ServiceAccessToken.
pub fn service_token(raw: &Value, settings: &Settings) -> Option<Object<ServiceTokenRecord>> {
    object(raw, service_access_token::record(raw, settings))
}

/// Admits a User.
pub fn user(raw: &Value, settings: &Settings) -> Option<Object<UserRecord>> {
    object(raw, user::record(raw, settings))
}

/// Returns what is wrong with one raw object by the rules that need nothing but the object.
pub fn problems(kind: Kind, raw: &Value, settings: &Settings) -> Vec<Problem> {
    match kind {
        Kind::Identity => identity::record(raw, settings).err(),
        Kind::Scope => scope::record(raw, settings).err(),
        Kind::OAuthClient => oauth_client::record(raw, settings).err(),
        Kind::ServiceAccessToken => service_access_token::record(raw, settings).err(),
        Kind::User => user::record(raw, settings).err(),
        Kind::Credential => decode::<Credential>(kind, raw).err(),
    }
    .unwrap_or_default()
}
