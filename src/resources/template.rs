//! The template of a Secret: what the Secret contains besides the operator's own keys.
//!
//! The message of each rule is a constant, since our own admission gives the same message.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Label and annotation keys that every template may set. They inform people. Only one has an effect: with it
/// Reloader restarts the pods that use the Secret.
pub const DEFAULT_METADATA: [&str; 6] = [
    "app",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "env",
    "reloader.stakater.com/match",
    "team",
];
/// The domains of Kubernetes and of Symbolon. No template may set a key in them or below them, and no Identity can
/// allow it.
pub const RESERVED_DOMAINS: [&str; 4] = ["k8s.io", "kubernetes.io", "symbolon.dev", "x-k8s.io"];
/// Keys in those domains that templates may set nevertheless.
pub const FREE_NAMES: [&str; 2] = ["app.kubernetes.io/component", "app.kubernetes.io/part-of"];

/// Message of the rule on label keys.
pub const LABEL_NAMES: &str = "a label key must have at most 63 letters, digits, '-', '_' and '.', with an optional lower-case domain and '/' before them";
/// Message of the rule on annotation keys.
pub const ANNOTATION_NAMES: &str = "an annotation key must have at most 63 letters, digits, '-', '_' and '.', with an optional lower-case domain and '/' before them";
/// Message of the rule on labels in reserved domains.
pub const RESERVED_LABELS: &str = "templates must not set labels of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other labels";
/// Message of the rule on annotations in reserved domains.
pub const RESERVED_ANNOTATIONS: &str = "templates must not set annotations of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other annotations";
/// Message of the rule on data keys.
pub const DATA_KEYS: &str = "a key of data must have at most 251 letters, digits, '-', '_' and '.', and must not begin with '..'";
/// Message of the rule on the operator's own data keys, for a ServiceAccessToken.
pub const OWN_TOKEN_KEYS: &str = "the operator writes the keys token, issuer and the one in secret.key itself: choose other keys";
/// The same for an OAuthClient.
pub const OWN_CLIENT_KEYS: &str = "the operator writes the keys client-id, client-secret, issuer and token-url itself: choose other keys";

/// What the operator writes into a Secret besides its own keys. It removes what the template no longer names, and
/// leaves alone what others wrote.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema, Hash)]
#[x_kube(validation = Rule::new(names("labels")).message(LABEL_NAMES).field_path(".labels"))]
#[x_kube(validation = Rule::new(free("labels")).message(RESERVED_LABELS).field_path(".labels"))]
#[x_kube(validation = Rule::new(names("annotations")).message(ANNOTATION_NAMES).field_path(".annotations"))]
#[x_kube(validation = Rule::new(free("annotations")).message(RESERVED_ANNOTATIONS).field_path(".annotations"))]
#[x_kube(validation = Rule::new("!has(self.data) || self.data.all(key, key.matches('^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,250}$'))").message(DATA_KEYS).field_path(".data"))]
pub struct Template {
    /// Type of the Secret: `Opaque`, or `servicebinding.io/<type>`. A change recreates the Secret with another token.
    /// Default: `Opaque`.
    #[serde(rename = "type", default = "opaque")]
    #[schemars(
        length(min = 1, max = 80),
        regex(
            pattern = r"^(Opaque|servicebinding\.io/[A-Za-z0-9]([-A-Za-z0-9_.]{0,60}[A-Za-z0-9])?)$"
        )
    )]
    pub secret_type: String,
    /// Labels of the Secret. Allowed keys: `app`, `app.kubernetes.io/component`, `app.kubernetes.io/part-of`, `env`,
    /// `reloader.stakater.com/match`, `team`, and those in the Identity's `limits.secretMetadata.labels`. The
    /// operator leaves out other keys. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret. Allowed keys: the same as for labels, and those in the Identity's
    /// `limits.secretMetadata.annotations`. The operator leaves out other keys. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// More keys of the Secret's data. Values may contain the placeholders `$(issuer)`, `$(token-url)`,
    /// `$(client-id)`, and `$(token)` for a ServiceAccessToken or `$(client-secret)` for an OAuthClient.
    /// `$(token|base64)` is the same in base64; `$$(` stands for a literal `$(`. Default: none.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "data")]
    pub data: BTreeMap<String, String>,
}

/// Pattern of an item of [`SecretMetadata`].
pub const METADATA_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/\*|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$";

/// Label and annotation keys that templates of Secrets may set, besides those that every template may set (`app`,
/// `app.kubernetes.io/component`, `app.kubernetes.io/part-of`, `env`, `reloader.stakater.com/match`, `team`).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new(free("labels")).message(RESERVED_LABELS).field_path(".labels"))]
#[x_kube(validation = Rule::new(free("annotations")).message(RESERVED_ANNOTATIONS).field_path(".annotations"))]
pub struct SecretMetadata {
    /// Label keys: a key such as `example.com/team`, or `example.com/*` for every key of that domain. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 317),
            regex(pattern = METADATA_KEY)
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub labels: Vec<String>,
    /// Annotation keys, in the same form as `labels`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(
        length(max = 32),
        inner(
            length(min = 1, max = 317),
            regex(pattern = METADATA_KEY)
        )
    )]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub annotations: Vec<String>,
}

impl Template {
    /// Type of a Secret whose template sets none.
    pub const OPAQUE: &'static str = "Opaque";
}

fn opaque() -> String {
    Template::OPAQUE.to_owned()
}

/// Pattern of a qualified name, the form of label and annotation keys.
pub const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// Returns the rule that each key of a map is a qualified name.
pub(super) fn names(field: &str) -> String {
    format!("!has(self.{field}) || self.{field}.all(key, key.matches('{QUALIFIED_NAME}'))")
}

/// Returns the rule that no key of a map or list is in a reserved domain.
pub(super) fn free(field: &str) -> String {
    let domains = RESERVED_DOMAINS.join("|").replace('.', "[.]");
    let free = FREE_NAMES.join("', '");
    format!(
        "!has(self.{field}) || self.{field}.all(key, key in ['{free}'] || !key.matches('^([-a-z0-9]+[.])*({domains})/'))"
    )
}

pub(super) fn labels(_: &mut SchemaGenerator) -> Schema {
    texts(json!({
        "type": "string", "maxLength": 63,
        "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    }))
}

pub(super) fn annotations(_: &mut SchemaGenerator) -> Schema {
    texts(json!({ "type": "string", "maxLength": 4096 }))
}

fn data(_: &mut SchemaGenerator) -> Schema {
    texts(json!({ "type": "string", "maxLength": 4096 }))
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the macro makes the value part of the schema"
)]
fn texts(values: Value) -> Schema {
    json_schema!({ "type": "object", "maxProperties": 16, "additionalProperties": values })
}

/// Pattern of the values in the data of a ServiceAccessToken's template. A single dollar before a bracket begins a
/// placeholder; one of several dollars does not.
pub const TOKEN_TEXT: &str =
    r"^([^$]|\$+[^$(]|\$\$+\(|\$\((token|client-id|issuer|token-url)(\|base64)?\))*\$*$";
/// The same for an OAuthClient.
pub const CLIENT_TEXT: &str =
    r"^([^$]|\$+[^$(]|\$\$+\(|\$\((client-secret|client-id|issuer|token-url)(\|base64)?\))*\$*$";

pub(super) fn token_template(generator: &mut SchemaGenerator) -> Schema {
    template(generator, TOKEN_TEXT)
}

pub(super) fn client_template(generator: &mut SchemaGenerator) -> Schema {
    template(generator, CLIENT_TEXT)
}

/// Returns the schema of a template whose data values match one pattern.
fn template(generator: &mut SchemaGenerator, pattern: &str) -> Schema {
    let mut schema = Template::json_schema(generator);
    if let Some(values) = schema.pointer_mut("/properties/data/additionalProperties") {
        values["pattern"] = pattern.into();
    }
    schema
}
