//! `User`: a person who is declared by an administrator. People who sign in through a provider need none.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::common::{IdentityRef, Moment, matches};
use super::uri::Group;

/// Pattern of a username.
pub const USERNAME_FORM: &str = "^[A-Za-z0-9]([A-Za-z0-9._@+-]*[A-Za-z0-9])?$";
/// Message of the rule on usernames.
pub const USERNAME_WORDS: &str = "a username must have letters, digits, '.', '_', '@', '+' and '-', and begin and end with a letter or a digit";
/// Pattern of an e-mail address. More than this only its mail server knows.
pub const EMAIL_FORM: &str = r"^[^\x00-\x20\x7F@<>,;]+@[^\x00-\x20\x7F@<>,;]+$";
/// Message of the rule on e-mail addresses.
pub const EMAIL_WORDS: &str = "write one e-mail address, such as alice@example.com";
/// Pattern of a pinned subject.
pub const SUBJECT_FORM: &str = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";
/// Message of the rule on subjects.
pub const SUBJECT_WORDS: &str =
    "subject must be a UUID in lower case, such as 0198c0de-0000-8000-8000-000000000001";
/// Pattern of the name of an attribute or claim.
pub const CLAIM_FORM: &str = "^[A-Za-z_][A-Za-z0-9_.:/-]*$";
/// Message of the rule on attributes.
pub const ATTRIBUTE_WORDS: &str = "the name of an attribute must have at most 128 letters, digits, '_', '.', ':', '/' and '-', and begin with a letter or '_'";
/// Message of the rule on the time in which a User is valid.
pub const VALIDITY_WORDS: &str = "notBefore must be before notAfter";
/// The maximum size of the groups and attributes of a User, in bytes. The operator and every server keep them for each
/// User, also for those beyond the quota: the quota may rise.
pub const MOST_BYTES_OF_USER: usize = 16 << 10;
/// Message of the rule on this size.
pub const TOO_MUCH_OF_USER: &str = "groups and attributes must have at most 16384 bytes in total: remove some of their items, or shorten them";

/// A person who may sign in, declared by an administrator in the namespace of the Identity. The annotation
/// `symbolon.dev/enroll` asks for a link with which the person sets a password.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "symbolon.dev",
    version = "v1alpha1",
    kind = "User",
    plural = "users",
    namespaced,
    shortname = "usr",
    category = "symbolon",
    status = "UserStatus",
    derive = "PartialEq",
    validation = Rule::new("oldSelf.hasValue() || self.metadata.name.size() <= 242").optional_old_self(true).message("the name of a User must have at most 242 characters, since the name of its enrolment Secret extends it"),
    validation = Rule::new("oldSelf.hasValue() || has(self.spec.username) || self.metadata.name.size() <= 128").optional_old_self(true).message("the default username would be longer than 128 characters: set spec.username"),
    printcolumn(name = "Username", type_ = "string", json_path = ".status.username"),
    printcolumn(name = "Identity", type_ = "string", json_path = ".status.identity"),
    printcolumn(name = "Role", type_ = "string", json_path = ".spec.role"),
    printcolumn(
        name = "Ready",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].status"
    ),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type=='Ready')].reason"
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.identityRef) == has(oldSelf.identityRef) && (!has(self.identityRef) || self.identityRef == oldSelf.identityRef)").message("identityRef is immutable: delete the User and recreate it").field_path(".identityRef"))]
#[x_kube(validation = Rule::new("has(self.subject) == has(oldSelf.subject) && (!has(self.subject) || self.subject == oldSelf.subject)").message("subject is immutable: applications know the person by it").field_path(".subject"))]
#[x_kube(validation = Rule::new("!has(self.notBefore) || !has(self.notAfter) || self.notBefore < self.notAfter").message(VALIDITY_WORDS).field_path(".notBefore"))]
#[x_kube(validation = Rule::new("!has(oldSelf.revokeIssuedBefore) || oldSelf.revokeIssuedBefore >= timestamp('9999-12-30T22:00:00Z') || (has(self.revokeIssuedBefore) && self.revokeIssuedBefore >= oldSelf.revokeIssuedBefore)").message("revokeIssuedBefore can only move forward: it cannot be removed or set to an earlier time").field_path(".revokeIssuedBefore"))]
#[x_kube(validation = Rule::new(size_of_user()).message(TOO_MUCH_OF_USER).field_path(".attributes"))]
pub struct UserSpec {
    /// Identity at which the person signs in, in the namespace of this object. Immutable. Default: the installation's
    /// default Identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity_ref: Option<IdentityRef>,
    /// Name with which the person signs in, in upper or lower case. Default: the name of this object. Example:
    /// `alice`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    #[x_kube(validation = Rule::new(matches(USERNAME_FORM)).message(USERNAME_WORDS))]
    pub username: Option<String>,
    /// E-mail address. The person can also sign in with it, if no other User has it. Default: none. Example:
    /// `alice@example.com`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 3, max = 254))]
    #[x_kube(validation = Rule::new(matches(EMAIL_FORM)).message(EMAIL_WORDS))]
    pub email: Option<String>,
    /// Full name, for people. Default: none. Example: `Alice Adams`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128))]
    pub display_name: Option<String>,
    /// Groups of the person. OAuthClients and Scopes can be open to groups. All groups and attributes have at most 16384
    /// bytes in total. Default: none. Example: `[buyers]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub groups: Vec<Group>,
    /// Further facts about the person, by name. A Scope releases those in its `claims`. Default: none. Example:
    /// `{department: sales}`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "attributes")]
    pub attributes: BTreeMap<String, String>,
    /// Whether the person belongs to the organisation. `Internal`: an employee or member. `External`: a guest, who may
    /// use only OAuthClients whose `users` has `External`. Default: `Internal`.
    #[serde(default, rename = "type")]
    pub type_: UserType,
    /// What the person may do at the Identity itself: `User` or `Administrator`. Default: `User`.
    #[serde(default)]
    pub role: Role,
    /// Disables the person: every session, token and link ends at once. Default: `false`.
    #[serde(default)]
    pub disabled: bool,
    /// Time from which the person may sign in (RFC 3339). Default: none. Example: `2027-01-31T08:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Moment>,
    /// Time from which the person may no longer do anything (RFC 3339). Default: none. Example:
    /// `2027-12-31T18:00:00Z`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// The person's `sub` claim, a UUID: set it to keep the one of another server, or of a User that was deleted.
    /// Immutable. Default: derived from the uid of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 36, max = 36))]
    #[x_kube(validation = Rule::new(matches(SUBJECT_FORM)).message(SUBJECT_WORDS))]
    pub subject: Option<String>,
    /// Ends every session and token of the person from before this time (RFC 3339). It can only move forward. A time
    /// in the future acts as the current time. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoke_issued_before: Option<Moment>,
}

/// Returns the rule with the message [`TOO_MUCH_OF_USER`]. The `size()` of a text counts characters, and a character may
/// have several bytes.
fn size_of_user() -> String {
    let groups = "(has(self.groups) ? self.groups.map(text, bytes(text).size()).sum() : 0)";
    let attributes = "(has(self.attributes) ? self.attributes.map(name, bytes(name).size() + bytes(self.attributes[name]).size()).sum() : 0)";
    format!("{groups} + {attributes} <= {MOST_BYTES_OF_USER}")
}

/// Returns the schema of attributes.
fn attributes(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 32,
        "additionalProperties": { "type": "string", "maxLength": 1024 },
        "x-kubernetes-validations": [{
            "rule": format!("self.all(name, name.size() <= 128 && name.matches(r'{CLAIM_FORM}'))"),
            "message": ATTRIBUTE_WORDS,
        }],
    })
}

/// Whether a person belongs to the organisation.
#[derive(
    Serialize,
    Deserialize,
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    JsonSchema,
    Hash,
)]
#[allow(missing_docs, reason = "described at UserSpec::type_")]
pub enum UserType {
    #[default]
    Internal,
    External,
}

/// What a person may do at an Identity itself.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at UserSpec::role")]
pub enum Role {
    #[default]
    User,
    Administrator,
}

/// What the operator observed of a User.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct UserStatus {
    /// Generation of the spec that this status describes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The username in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
    /// Identity of the User, as `<namespace>/<name>`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// The `sub` claim in effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The last enrolment link. The Secret `<name of the User>-enrollment` holds it until it expires or is withdrawn. The
    /// servers accept no other link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enrollment: Option<EnrollmentStatus>,
    /// When the operator last saw that the User became disabled, or passed `notAfter`. The servers refuse every session,
    /// token and link from before this time, also those that did not see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Moment>,
    /// Conditions, such as `Ready`. The documentation lists every type and reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// When an enrolment link was made, and for which value of the annotation. With it the operator makes no second link for
/// the same value, also if another value was there in the meantime, or none.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EnrollmentStatus {
    /// The value of the annotation, or the hash of a long one.
    #[schemars(length(max = 128))]
    pub nonce: String,
    /// When the link was made.
    pub issued_at: Moment,
    /// When the link expires.
    pub expires_at: Moment,
    /// When the operator saw that the annotation was gone or had another value: the link does not work any more, even if
    /// the value comes back. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withdrawn_at: Option<Moment>,
    /// The values for which earlier links were made, newest first. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = MOST_EARLIER_LINKS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub earlier: Vec<EarlierEnrollment>,
}

/// The most earlier links that the status of a User remembers.
pub const MOST_EARLIER_LINKS: usize = 32;

/// A value of the annotation for which a link was made before the last one.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct EarlierEnrollment {
    /// The SHA-256 hash of the value, in hexadecimal digits.
    #[schemars(length(max = 64))]
    pub hash: String,
    /// When the link was made.
    pub issued_at: Moment,
}
