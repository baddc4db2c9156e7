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
/// `apiVersion` as manifests write it.
pub const API_VERSION: &str = "symbolon.dev/v1alpha1";

/// Label on every Secret that the operator writes; its value is `"true"`.
pub const LABEL_MANAGED: &str = "symbolon.dev/managed";
/// Annotation on such a Secret: `<Kind>/<name>` of its owner.
pub const ANNOTATION_OWNER: &str = "symbolon.dev/owner";
/// Annotation whose every new value asks for one rotation.
pub const ANNOTATION_ROTATE: &str = "symbolon.dev/rotate";
/// Annotation on an Identity whose every new value does away with all its signing keys at once.
pub const ANNOTATION_ROTATE_KEYS: &str = "symbolon.dev/rotate-keys";
/// Annotation on a Secret that was made anew and never held a token; what others write into it does not change that.
pub const ANNOTATION_PLACEHOLDER: &str = "symbolon.dev/placeholder";
/// Annotation on such a Secret: which labels, annotations and keys of its data came from the template, so
/// that what the template no longer names is taken away, and nothing else.
pub const ANNOTATION_TEMPLATE: &str = "symbolon.dev/template";
/// Label on a Secret that somebody else writes: the name of the one OAuthClient that may use it.
pub const LABEL_CLIENT: &str = "symbolon.dev/client";
/// Annotation that a fence writes on a Secret, so that a late write meant for the version before cannot land.
pub const ANNOTATION_FENCE: &str = "symbolon.dev/fence";
/// Annotation that says who created a ServiceAccessToken, where an admission policy writes and guards it.
pub const ANNOTATION_CREATED_BY: &str = "symbolon.dev/created-by";

/// A length of time as Go's `time.ParseDuration` and CEL's `duration()` read it: `90s`, `1h30m`, `720h`.
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
            "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}$",
        })
    }
}

impl From<&str> for DurationString {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// The part of RFC 3339 section 5.6 that all readers read alike.
pub const MOMENT_FORM: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-5][0-9](\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$";
/// What the rule on moments says.
pub const MOMENT_WORDS: &str =
    "a moment is a text such as 2027-01-31T12:00:00Z, and before 9999-12-30T22:00:00Z";
/// The first moment that this program cannot count with, whatever its offset; people write 9999-12-31 for "never".
pub const END_OF_TIME: &str = "9999-12-30T22:00:00Z";

/// A moment, RFC 3339.
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

/// A day in UTC, `2026-11-23`.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub struct Day(pub jiff::civil::Date);

impl Day {
    /// The day of a moment.
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

/// Names an Identity, in any namespace: the only reference of a tenant's object that has a namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct IdentityRef {
    /// Name of the Identity.
    #[schemars(
        length(min = 1, max = 52),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// Namespace of the Identity. Absent: the namespace of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub namespace: Option<String>,
}

/// Names an object in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct LocalRef {
    /// Name of the object.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
}

/// Which namespaces something is open to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, KubeSchema)]
#[x_kube(validation = Rule::new("(self.from == 'Selector') == has(self.selector)").message("selector goes with from: Selector, and only with it").field_path(".selector"))]
#[x_kube(validation = Rule::new("(self.from == 'List') == has(self.names)").message("names goes with from: List, and only with it").field_path(".names"))]
pub struct Namespaces {
    /// `Same`: the namespace of this object. `All`: every namespace. `Selector`: those whose labels
    /// match. `List`: those named. `None`: no namespace. The namespace of this object is always among
    /// them, but with `None`.
    #[serde(default)]
    pub from: NamespacesFrom,
    /// Labels of the namespaces; with `from: Selector`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "namespace_selector")]
    pub selector: Option<LabelSelector>,
    /// Names of the namespaces; with `from: List`.
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

/// What the rule on keys of `matchLabels` says.
pub const SELECTOR_KEYS: &str = "a key of matchLabels is at most 63 letters, digits, '-', '_' and '.', after a domain in lower case and '/' where it has one";
/// What the rule on `matchExpressions` says.
pub const SELECTOR_VALUES: &str =
    "the operators In and NotIn need values, Exists and DoesNotExist have none";

/// A label selector, bounded, and as strict as the API server is about its own.
fn namespace_selector(_: &mut SchemaGenerator) -> Schema {
    let label = json!({ "type": "string", "maxLength": 63, "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$" });
    json_schema!({
        "type": "object",
        "properties": {
            "matchLabels": {
                "description": "Labels with their values, all of which a namespace must have.",
                "type": "object", "maxProperties": 32, "additionalProperties": label,
            },
            "matchExpressions": {
                "description": "Requirements, all of which the labels of a namespace must meet.",
                "type": "array", "maxItems": 32, "x-kubernetes-list-type": "atomic",
                "items": {
                    "type": "object",
                    "required": ["key", "operator"],
                    "properties": {
                        "key": {
                            "description": "The label.", "type": "string", "minLength": 1, "maxLength": 317, "pattern": QUALIFIED_NAME,
                        },
                        "operator": {
                            "description": "`In`, `NotIn`: the label has, or does not have, one of the values. `Exists`, `DoesNotExist`: the namespace has, or does not have, the label.",
                            "type": "string", "enum": ["In", "NotIn", "Exists", "DoesNotExist"],
                        },
                        "values": {
                            "description": "Values of the label, with `In` and `NotIn`.",
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
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Namespaces::from")]
pub enum NamespacesFrom {
    #[default]
    Same,
    All,
    Selector,
    List,
    None,
}

/// An algorithm of JWS, RFC 7518 section 3.1 and RFC 8037 section 3.1.
#[derive(
    Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, JsonSchema,
)]
#[allow(missing_docs, reason = "registered names")]
pub enum SigningAlgorithm {
    RS256,
    PS256,
    ES256,
    EdDSA,
}

/// Where the operator writes what it issues.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new("!has(self.template) || !has(self.template.data) || !self.template.data.exists(key, key in ['token', 'issuer'] || (has(self.key) && key == self.key))").message(OWN_TOKEN_KEYS).field_path(".template.data"))]
#[x_kube(validation = Rule::new("!has(self.key) || self.key != 'issuer'").message("the key issuer is taken: choose another").field_path(".key"))]
pub struct TokenSecret {
    /// Name of the Secret. Default: `<name of this object>-token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// A second key that holds the token too, beside `token`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: Option<String>,
    /// What else the Secret says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "token_template")]
    pub template: Option<Template>,
}

/// Names a key of a Secret in the same namespace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct KeyRef {
    /// Name of the Secret.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: String,
    /// The key of its data.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$")
    )]
    pub key: String,
}

/// When a secret is replaced, and what becomes of the one before.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.overlap) || duration(self.overlap) <= duration('2160h')").message("overlap is at most 2160h").field_path(".overlap"))]
#[x_kube(validation = Rule::new("!has(self.overlap) || !has(self.renewBefore) || duration(self.overlap) <= duration(self.renewBefore)").message("overlap is at most renewBefore: the old token must not outlive its own end").field_path(".overlap"))]
#[x_kube(validation = Rule::new("!has(self.quietPeriod) || duration(self.quietPeriod) >= duration('1m') && duration(self.quietPeriod) <= duration('2160h')").message("quietPeriod is 1m to 2160h").field_path(".quietPeriod"))]
pub struct Rotation {
    /// `Auto`: renewed `renewBefore` its end. `Manual`: only on request. Unset: `Auto` for a
    /// ServiceAccessToken, `Manual` for a client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<RotationPolicy>,
    /// How long before its end a token is renewed. Unset: a third of its lifetime. Half of the overlap, and some
    /// 7 minutes, lie between two renewals at least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renew_before: Option<DurationString>,
    /// How long the old token goes on being accepted beside the new one. Unset: the smaller of 24h and `renewBefore`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub overlap: Option<DurationString>,
    /// When the old token goes. `AtDeadline`: when the overlap ends. `WhenAdopted`: sooner, once the new one
    /// was seen in use and the old one was in no use for `quietPeriod`.
    #[serde(default)]
    pub retire: Retire,
    /// With `WhenAdopted`: how long the old token must have been in no use, 1m to 2160h. Unset: 1h, or for a client
    /// secret ten minutes more than the client's access tokens live, where that is longer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet_period: Option<DurationString>,
    /// What the deletion of the Secret says. `Overlap`: nothing, the lost token is replaced and lives on
    /// until the overlap ends. `Revoke`: "it leaked", every token dies at once.
    #[serde(default)]
    pub on_secret_deleted: OnSecretDeleted,
    /// Every new value asks for one rotation: the way for those who write to Git and not to the cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub trigger: Option<String>,
}

/// Who starts a rotation.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Rotation::policy")]
pub enum RotationPolicy {
    Auto,
    Manual,
}

/// When a replaced token goes.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Rotation::retire")]
pub enum Retire {
    #[default]
    AtDeadline,
    WhenAdopted,
}

/// What the deletion of a Secret says.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[allow(missing_docs, reason = "described at Rotation::on_secret_deleted")]
pub enum OnSecretDeleted {
    #[default]
    Overlap,
    Revoke,
}

/// The last rotation that was asked for and done.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct LastRotation {
    /// When.
    pub time: Moment,
    /// Why: the cause of the newest Credential entry.
    pub cause: String,
}

/// A token or client secret that was replaced and is still accepted.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreviousToken {
    /// Its public id.
    pub token_id: String,
    /// When it stops being accepted, at the latest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_after: Option<Moment>,
    /// The last day of which its use is known. Absent: no use of it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used: Option<Day>,
}

/// The Secret that holds what was issued, as servicebinding.io's provisioned service names it.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq, JsonSchema)]
pub struct Binding {
    /// Name of the Secret.
    pub name: String,
}

pub(super) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
