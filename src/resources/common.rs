//! Types that several kinds share.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::KubeSchema;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::template::{OWN_TOKEN_KEYS, QUALIFIED_NAME, Template, names, token_template};

/// The API group of every kind.
pub const GROUP: &str = "symbolon.dev";
/// The served version of every kind.
pub const VERSION: &str = "v1alpha1";
/// The `apiVersion` of every manifest.
pub const API_VERSION: &str = "symbolon.dev/v1alpha1";

/// The name under which the API server records our writes in `metadata.managedFields`.
pub const FIELD_MANAGER: &str = "symbolon";

/// Label on every Secret that the operator writes. Its value is `"true"`.
pub const LABEL_MANAGED: &str = "symbolon.dev/managed";
/// Annotation on such a Secret with its owner, as `<Kind>/<name>`.
pub const ANNOTATION_OWNER: &str = "symbolon.dev/owner";
/// Annotation that requests a rotation. Each new value requests one.
pub const ANNOTATION_ROTATE: &str = "symbolon.dev/rotate";
/// Annotation on an Identity that replaces all its signing keys at once, once for each new value.
pub const ANNOTATION_ROTATE_KEYS: &str = "symbolon.dev/rotate-keys";
/// Annotation on a Secret that the operator created without a token. Data that others write into the Secret does not
/// make it a token.
pub const ANNOTATION_PLACEHOLDER: &str = "symbolon.dev/placeholder";
/// Annotation on such a Secret that lists the labels, annotations and data keys that came from the template. The
/// operator removes those that the template no longer names, and nothing else.
pub const ANNOTATION_TEMPLATE: &str = "symbolon.dev/template";
/// Label on the Secret of an imported client secret: the name of the one OAuthClient that may use it.
pub const LABEL_CLIENT: &str = "symbolon.dev/client";
/// Annotation that the operator changes on a Secret as a fence: a late write for the previous version can no longer
/// land.
pub const ANNOTATION_FENCE: &str = "symbolon.dev/fence";
/// Annotation on a User that asks for an enrolment link. Each new value asks for a new one.
pub const ANNOTATION_ENROLL: &str = "symbolon.dev/enroll";
/// Annotation with the user that created a ServiceAccessToken, where an admission policy writes and guards it.
pub const ANNOTATION_CREATED_BY: &str = "symbolon.dev/created-by";

/// Pattern of a duration. The API server shows [`DURATION_WORDS`] for a text that does not match.
pub const DURATION_FORM: &str = "^([0-9]{1,5}(h|m|s|ms)){1,4}$";
/// Message of the rule on durations.
pub const DURATION_WORDS: &str = "a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s";

/// Returns the CEL rule that a condition holds, unless one of the fields that it reads is absent or not a duration.
/// Another rule refuses a text that is not a duration, for which `duration()` would fail with a second error.
pub(super) fn durations(fields: &[&str], condition: &str) -> String {
    let unless = |field: &&str| format!("!has({field}) || !{field}.matches('{DURATION_FORM}') || ");
    fields.iter().map(unless).collect::<String>() + condition
}

/// A duration as Go's `time.ParseDuration` and CEL's `duration()` read it: `90s`, `1h30m`, `720h`.
///
/// Units `h`, `m`, `s`, `ms`; whole numbers of at most five digits; at most four parts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(transparent)]
pub struct DurationString(pub String);

impl JsonSchema for DurationString {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": 32,
            "x-kubernetes-validations": [{ "rule": matches(DURATION_FORM), "message": DURATION_WORDS }],
        })
    }
}

/// Returns the CEL rule that a string matches a pattern. Unlike `pattern` in a schema, a rule can have a message of our
/// own. [`pattern_of`] reads the pattern back for our own check.
pub(super) fn matches(pattern: &str) -> String {
    format!("self.matches(r'{pattern}')")
}

/// Returns the pattern of a rule of [`matches`].
pub fn pattern_of(rule: &str) -> Option<&str> {
    rule.strip_prefix("self.matches(r'")?
        .strip_suffix("')")
        .filter(|pattern| !pattern.contains('\''))
}

impl From<&str> for DurationString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Pattern of the part of RFC 3339 section 5.6 that every reader reads alike.
pub const MOMENT_FORM: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// Message of the rule on times.
pub const MOMENT_WORDS: &str = "a time must be an RFC 3339 string such as 2027-01-31T12:00:00Z, and before 9999-12-30T22:00:00Z";
/// The first time that this program cannot calculate with, in any UTC offset. People write 9999-12-31 for "never".
pub const END_OF_TIME: &str = "9999-12-30T22:00:00Z";

/// A point in time, RFC 3339.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Moment(pub jiff::Timestamp);

impl JsonSchema for Moment {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DateTime".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time", "maxLength": 64, "pattern": MOMENT_FORM })
    }
}

/// A day in UTC, such as `2026-11-23`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Day(pub jiff::civil::Date);

impl Day {
    /// Returns the day of a point in time.
    pub fn of(moment: jiff::Timestamp) -> Self {
        Self(jiff::tz::Offset::UTC.to_datetime(moment).date())
    }
}

impl JsonSchema for Day {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Day".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date", "maxLength": 16 })
    }
}

/// A reference to an Identity in any namespace. No other reference in a tenant's object can name a namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct IdentityRef {
    /// Name of the Identity.
    #[schemars(
        length(min = 1, max = 52),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Namespace of the Identity. Default: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
}

/// A reference to an object in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// The namespaces that something is open to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector is required with from: Selector and forbidden otherwise").field_path(".selector"))]
#[x_kube(validation = Rule::new("(self.from == 'List') == has(self.names)").message("names is required with from: List and forbidden otherwise").field_path(".names"))]
pub struct Namespaces {
    /// How the namespaces are chosen. `Same`: the namespace of this object. `All`: every namespace. `Selector`:
    /// namespaces whose labels match `selector`. `List`: the namespaces in `names`. `None`: no namespace. The
    /// namespace of this object is always included, except with `None`. Default: `Same`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Selects namespaces by their labels. Required with `from: Selector`, forbidden otherwise. An empty selector
    /// matches every namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "namespace_selector")]
    pub selector: Option<LabelSelector>,
    /// Names of the namespaces. Required with `from: List`, forbidden otherwise. Example: `[shop, warehouse]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(max = 256),
        inner(
            length(min = 1, max = 63),
            regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub names: Option<Vec<String>>,
}

/// Message of the rule on the keys of `matchLabels`.
pub const SELECTOR_KEYS: &str = "a key of matchLabels must have at most 63 letters, digits, '-', '_' and '.', with an optional lower-case domain and '/' before them";
/// Message of the rule on `matchExpressions`.
pub const SELECTOR_VALUES: &str =
    "the operators In and NotIn need values; Exists and DoesNotExist must have none";

/// Returns the schema of a label selector, with bounds and as strict as the API server is about its own selectors.
fn namespace_selector(_: &mut SchemaGenerator) -> Schema {
    let label = json!({ "type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$" });
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels that a namespace must have, all of them with these values. Example: `{team: shop}`.",
                "type": "object", "maxProperties": 32, "additionalProperties": label,
            },
            "matchExpressions": {
                "description": "Requirements that the labels of a namespace must meet, all of them.",
                "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "Key of the label.", "type": "string", "minLength": 1, "maxLength": 317, "pattern": QUALIFIED_NAME,
                        },
                        "operator": {
                            "description": "How the label is compared. `In`: it has one of `values`. `NotIn`: it has none of `values`, or is absent. `Exists`: the namespace has the label. `DoesNotExist`: the namespace does not have the label.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values to compare with. Required with `In` and `NotIn`, forbidden otherwise.",
                            "type": "array", "maxItems": 64, "x-kubernetes-list-type": "atomic", "items": label,
                        },
                    },
                    "x-kubernetes-validations": [{
                        "rule": "(self.operator in ['In', 'NotIn']) == (has(self.values) && self.values.size() > 0)",
                        "message": SELECTOR_VALUES, "fieldPath": ".values",
                    }],
                },
            },
        },
        "x-kubernetes-validations": [{ "rule": names("matchLabels"), "message": SELECTOR_KEYS, "fieldPath": ".matchLabels" }],
    })
}

/// How [`Namespaces`] are chosen.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Namespaces::from")]
pub enum NamespacesFrom {
    #[default]
    Same,
    All,
    Selector,
    List,
    None,
}

/// A JWS signature algorithm, RFC 7518 section 3.1 and RFC 8037 section 3.1.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema, Hash,
)]
#[allow(missing_docs, reason = "registered names")]
pub enum SigningAlgorithm {
    RS256,
    PS256,
    ES256,
    EdDSA,
}

/// The `typ` in the header of access tokens.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at TokenOptions::access_token_type")]
pub enum AccessTokenType {
    #[default]
    #[serde(rename = "AtJWT")]
    AtJwt,
    #[serde(rename = "JWT")]
    Jwt,
}

/// The Secret that the operator writes a token into.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.template) || !has(self.template.data) || !self.template.data.exists(key, key in ['token', 'issuer'] || (has(self.key) && key == self.key))").message(OWN_TOKEN_KEYS).field_path(".template.data"))]
#[x_kube(validation = Rule::new("!has(self.key) || self.key != 'issuer'").message("the operator writes the key issuer itself: choose another key").field_path(".key"))]
pub struct TokenSecret {
    /// Name of the Secret. Default: `<name of this object>-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// Another key of the Secret's data that also holds the token, besides `token`. Default: none. Example:
    /// `password`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: Option<String>,
    /// What else the Secret contains: its type, labels, annotations and more keys.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "token_template")]
    pub template: Option<Template>,
}

/// A reference to a key of a Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct KeyRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Key in the data of the Secret. Example: `client-secret`.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: String,
}

/// When a token or client secret is replaced, and how long the previous one stays accepted.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(durations(&["self.overlap"], "duration(self.overlap) <= duration('2160h')")).message("overlap must be at most 2160h").field_path(".overlap"))]
#[x_kube(validation = Rule::new(durations(&["self.overlap", "self.renewBefore"], "duration(self.overlap) <= duration(self.renewBefore)")).message("overlap must be at most renewBefore: the previous token is not accepted after its own expiry").field_path(".overlap"))]
#[x_kube(validation = Rule::new(durations(&["self.quietPeriod"], "duration(self.quietPeriod) >= duration('1m') && duration(self.quietPeriod) <= duration('2160h')")).message("quietPeriod must be between 1m and 2160h").field_path(".quietPeriod"))]
pub struct Rotation {
    /// Who starts a rotation. `Auto`: the operator renews the token `renewBefore` its expiry. `Manual`: the operator
    /// rotates only on request. Default: `Auto` for a ServiceAccessToken, `Manual` for a client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RotationPolicy>,
    /// How long before its expiry a token is renewed; must be shorter than its lifetime. Two renewals are at least
    /// half of the overlap and 7 minutes apart. Default: a third of the lifetime. Example: `240h`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<DurationString>,
    /// How long the previous token stays accepted beside the new one; at most `2160h` and at most `renewBefore`.
    /// Default: `24h`, or `renewBefore` if that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<DurationString>,
    /// When the previous token stops being accepted. `AtDeadline`: when the overlap ends. `WhenAdopted`: earlier,
    /// once the new token has been used and the previous one has been unused for `quietPeriod`. Default:
    /// `AtDeadline`.
    #[serde(default)]
    pub retire: Retire,
    /// With `retire: WhenAdopted`, how long the previous token must have been unused; `1m` to `2160h`. Default: `1h`,
    /// or for a client secret 10 minutes more than the lifetime of the client's access tokens if that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_period: Option<DurationString>,
    /// What happens to the tokens when someone deletes the Secret. `Overlap`: a new token replaces the lost one,
    /// which stays accepted until the overlap ends. `Revoke`: the token has leaked, so every token of the object is
    /// revoked at once. Default: `Overlap`.
    #[serde(default)]
    pub on_secret_deleted: OnSecretDeleted,
    /// Requests a rotation: each new value requests one. In the cluster the annotation `symbolon.dev/rotate` does the
    /// same; use this field where manifests come from Git. Default: none. Example: `2026-11-23`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub trigger: Option<String>,
}

/// Who starts a rotation.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Rotation::policy")]
pub enum RotationPolicy {
    Auto,
    Manual,
}

/// When the previous token stops being accepted.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Rotation::retire")]
pub enum Retire {
    #[default]
    AtDeadline,
    WhenAdopted,
}

/// What the deletion of a Secret means.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema, Hash)]
#[allow(missing_docs, reason = "described at Rotation::on_secret_deleted")]
pub enum OnSecretDeleted {
    #[default]
    Overlap,
    Revoke,
}

/// The last rotation.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRotation {
    /// Time of the rotation.
    pub time: Moment,
    /// Why the newest token was issued: `Initial`, `Scheduled`, `Requested`, `SecretDeleted`, `SecretChanged`,
    /// `ScopesChanged`, `Expired` or `Imported`.
    pub cause: String,
}

/// A token or client secret that was replaced and is still accepted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousToken {
    /// Public id of the token.
    pub token_id: String,
    /// Time at which the token stops being accepted at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// Last day (UTC) on which the token is known to have been used. Absent if no use is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Day>,
}

/// The Secret that holds what was issued, in the form of a provisioned service of servicebinding.io.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct Binding {
    /// Name of the Secret.
    pub name: String,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
