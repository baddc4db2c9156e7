//! Admission of a User.

use serde_json::Value;

use super::faults::Faults;
use super::interactive::groups;
use super::raw::{decode, identity_of};
use super::secret::annotation;
use crate::directory::judge::desired::bounded;
use crate::directory::judge::person::OWN_CLAIMS;
use crate::directory::settings::Settings;
use crate::directory::tables::intern;
use crate::directory::tables::record::{RecordedLink, UserRecord};
use crate::directory::values::names::is_claim;
use crate::directory::{ObjectKey, Problem};
use crate::resources::{
    ANNOTATION_ENROLL, ATTRIBUTE_WORDS, Kind, MOST_BYTES_OF_USER, TOO_MUCH_OF_USER, User, UserSpec,
    UserStatus, VALIDITY_WORDS,
};
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
    faults.require(
        size(&user.spec) <= MOST_BYTES_OF_USER,
        "/spec/attributes",
        TOO_MUCH_OF_USER,
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
    let identity = identity_of(identity_ref.as_ref(), namespace, settings);
    let is_home = |identity: &ObjectKey| *identity.namespace == *namespace;
    let may_be_accepted = identity.as_ref().is_some_and(is_home);
    let derived = || subject_of_uid(user.metadata.uid.as_deref().unwrap_or_default());
    let shared = |text: &Option<String>| text.as_deref().map(Into::into);
    let facts = attributes.iter();
    let mut record = UserRecord {
        identity,
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
        link: RecordedLink::Unread,
        ended_at: None,
    };
    if settings.serves_only {
        let ended_at = user.status.as_ref().and_then(|status| status.ended_at);
        record.ended_at = ended_at.map(|moment| moment.0);
        record.link = recorded(user.status.as_ref(), record.enroll.as_deref());
    }
    // A User of any other namespace than its Identity's is never accepted (see `judge::user`), so that nothing reads what it
    // says: its author must not fill the memory of the operator and of servers.
    if !may_be_accepted {
        record.groups = Box::default();
        record.attributes = Box::default();
    }
    faults.finish(record)
}

/// Returns which link the status names for the present value of the annotation.
fn recorded(status: Option<&UserStatus>, nonce: Option<&str>) -> RecordedLink {
    let link = status.and_then(|status| status.enrollment.as_ref());
    let link = link.filter(|link| nonce == Some(&*link.nonce) && link.withdrawn_at.is_none());
    link.map_or(RecordedLink::None, |link| {
        RecordedLink::IssuedAt(link.issued_at.0)
    })
}

/// Returns the size of all groups and attributes.
fn size(spec: &UserSpec) -> usize {
    let groups = spec.groups.iter().map(|group| group.0.len());
    let attributes = spec.attributes.iter();
    let attributes = attributes.map(|(name, value)| name.len() + value.len());
    groups.chain(attributes).sum()
}

/// Returns whether an attribute of this name could never be released.
fn is_taken(name: &str) -> bool {
    is_protocol_claim(name) || OWN_CLAIMS.contains(&name)
}
