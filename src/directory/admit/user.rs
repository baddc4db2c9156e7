//! Admission of a User.

use serde_json::Value;

use super::faults::Faults;
use super::interactive::groups;
use super::raw::{decode, identity_of};
use super::secret::annotation;
use crate::directory::Problem;
use crate::directory::judge::desired::bounded;
use crate::directory::judge::person::OWN_CLAIMS;
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::UserRecord;
use crate::directory::values::names::is_claim;
use crate::resources::{ANNOTATION_ENROLL, ATTRIBUTE_WORDS, Kind, User, UserSpec, VALIDITY_WORDS};
use crate::tokens::person_claims::is_protocol_claim;
use crate::tokens::subject::subject_of_uid;

/// The longest attribute name, in characters.
const LONGEST_NAME: usize = 128;

/// Admits a User.
pub(super) fn record(raw: &Value, settings: &Settings) -> Result<UserRecord, Vec<Problem>> {
    let user: User = decode(Kind::User, raw)?;
    let mut faults = Faults::default();
    let UserSpec {
        identity_ref,
        username,
        email,
        display_name,
        groups: listed,
        attributes,
        type_,
        role,
        disabled,
        not_before,
        not_after,
        subject,
        revoke_issued_before,
    } = &user.spec;
    let namespace = user.metadata.namespace.as_deref().unwrap_or_default();
    let name = user.metadata.name.as_deref().unwrap_or_default();
    faults.require(
        name.len() <= 242,
        "/metadata/name",
        "the name of a User must have at most 242 characters, since the name of its enrolment Secret extends it",
    );
    faults.require(
        username.is_some() || name.len() <= 128,
        "/metadata/name",
        "the default username would be longer than 128 characters: set spec.username",
    );
    let is_name = |name: &String| name.len() <= LONGEST_NAME && is_claim(name);
    faults.require(
        attributes.keys().all(is_name),
        "/spec/attributes",
        ATTRIBUTE_WORDS,
    );
    for name in attributes.keys().filter(|name| is_taken(name)) {
        faults.invalid(
            &format!("/spec/attributes/{}", name.replace('~', "~0").replace('/', "~1")),
            format!("{name:?} is a claim of the protocol or of the User's own fields, which no attribute can replace: choose another name"),
        );
    }
    if let (Some(from), Some(until)) = (not_before, not_after) {
        faults.require(from.0 < until.0, "/spec/notBefore", VALIDITY_WORDS);
    }
    let derived = || subject_of_uid(user.metadata.uid.as_deref().unwrap_or_default());
    let shared = |text: &Option<String>| text.as_deref().map(Into::into);
    let facts = attributes.iter();
    let record = UserRecord {
        identity: identity_of(identity_ref.as_ref(), namespace, settings),
        subject: subject.clone().unwrap_or_else(derived).into(),
        username: username.as_deref().unwrap_or(name).into(),
        email: shared(email),
        display_name: shared(display_name),
        groups: groups(Some(listed)),
        attributes: facts
            .map(|(name, value)| (intern::text(name), value.as_str().into()))
            .collect(),
        kind: *type_,
        role: *role,
        disabled: *disabled,
        not_before: not_before.map(|moment| moment.0),
        not_after: not_after.map(|moment| moment.0),
        revoke_issued_before: revoke_issued_before.map(|moment| moment.0),
        enroll: annotation(&user.metadata, ANNOTATION_ENROLL).map(|nonce| bounded(&nonce).into()),
    };
    faults.finish(record)
}

/// Returns whether an attribute of this name could never be released.
fn is_taken(name: &str) -> bool {
    is_protocol_claim(name) || OWN_CLAIMS.contains(&name)
}
