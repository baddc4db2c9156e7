//! The template of a Secret: what stands in it beside the operator's own keys.
//!
//! The words of each rule are constants, since admission without an API server says the same.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::{JsonSchema as _, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The keys of labels and annotations that every template may set. They inform people; the one that a controller
/// acts on has Reloader restart the pods that use the Secret.
pub const DEFAULT_METADATA: [&str; 6] = [
    "app",
    "app.kubernetes.io/component",
    "app.kubernetes.io/part-of",
    "env",
    "reloader.stakater.com/match",
    "team",
];
/// The domains of Kubernetes and of Symbolon, with all below them: no template sets a key in them, and no Identity
/// can allow it.
pub const RESERVED_DOMAINS: [&str; 4] = ["k8s.io", "kubernetes.io", "symbolon.dev", "x-k8s.io"];
/// The keys in those domains that templates may set all the same.
pub const FREE_NAMES: [&str; 2] = ["app.kubernetes.io/component", "app.kubernetes.io/part-of"];

/// What the rule on names of labels says.
pub const LABEL_NAMES: &str = "a label's name is at most 63 letters, digits, '-', '_' and '.', after a domain in lower case and '/' where it has one";
/// What the rule on names of annotations says.
pub const ANNOTATION_NAMES: &str = "an annotation's name is at most 63 letters, digits, '-', '_' and '.', after a domain in lower case and '/' where it has one";
/// What the rule on labels in reserved domains says.
pub const RESERVED_LABELS: &str = "labels of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io are not for templates, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other labels";
/// What the rule on annotations in reserved domains says.
pub const RESERVED_ANNOTATIONS: &str = "annotations of k8s.io, kubernetes.io, symbolon.dev and x-k8s.io are not for templates, except app.kubernetes.io/component and app.kubernetes.io/part-of: use other annotations";
/// What the rule on keys of data says.
pub const DATA_KEYS: &str =
    "a key of data is at most 251 letters, digits, '-', '_' and '.', and does not begin with '..'";
/// What the rule on the operator's own keys says, for a ServiceAccessToken.
pub const OWN_TOKEN_KEYS: &str =
    "token, issuer and the key that secret.key names are written anyway: choose other keys";
/// The same for an OAuthClient.
pub const OWN_CLIENT_KEYS: &str =
    "client-id, client-secret, issuer and token-url are written anyway: choose other keys";

/// What the operator writes into a Secret beside its own keys. It takes away again what is no longer named
/// here, and leaves alone what others put there.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new(names("labels")).message(LABEL_NAMES).field_path(".labels"))]
#[x_kube(validation = Rule::new(free("labels")).message(RESERVED_LABELS).field_path(".labels"))]
#[x_kube(validation = Rule::new(names("annotations")).message(ANNOTATION_NAMES).field_path(".annotations"))]
#[x_kube(validation = Rule::new(free("annotations")).message(RESERVED_ANNOTATIONS).field_path(".annotations"))]
#[x_kube(validation = Rule::new("!has(self.data) || self.data.all(key, key.matches('^[.]?[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,250}$'))").message(DATA_KEYS).field_path(".data"))]
pub struct Template {
    /// `Opaque`, or `servicebinding.io/<type>`. A change makes the Secret anew, with another token in it.
    #[serde(rename = "type", default = "opaque")]
    #[schemars(
        length(min = 1, max = 80),
        regex(
            pattern = r"^(Opaque|servicebinding\.io/[A-Za-z0-9]([-A-Za-z0-9_.]{0,60}[A-Za-z0-9])?)$"
        )
    )]
    pub secret_type: String,
    /// Labels of the Secret. The Identity decides which: `app`, `app.kubernetes.io/component`,
    /// `app.kubernetes.io/part-of`, `env`, `reloader.stakater.com/match`, `team`, and what its
    /// `limits.secretMetadata.labels` adds. Others are not written.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "labels")]
    pub labels: BTreeMap<String, String>,
    /// Annotations of the Secret: the same keys, and what the Identity's `limits.secretMetadata.annotations` adds.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "annotations")]
    pub annotations: BTreeMap<String, String>,
    /// Further keys of the Secret's data. Their texts may have the placeholders `$(issuer)`, `$(token-url)`,
    /// `$(client-id)` and, for a ServiceAccessToken, `$(token)`, for an OAuthClient `$(client-secret)`;
    /// `$(token|base64)` is the same in base64; `$$(` stands for `$(`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "data")]
    pub data: BTreeMap<String, String>,
}

/// What an item of [`SecretMetadata`] matches.
pub const METADATA_KEY: &str = r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/\*|([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)$";

/// Labels and annotations that templates of Secrets may set, beside those that every template may set (`app`,
/// `app.kubernetes.io/component`, `app.kubernetes.io/part-of`, `env`, `reloader.stakater.com/match`, `team`).
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, KubeSchema)]
#[x_kube(validation = Rule::new(free("labels")).message(RESERVED_LABELS).field_path(".labels"))]
#[x_kube(validation = Rule::new(free("annotations")).message(RESERVED_ANNOTATIONS).field_path(".annotations"))]
pub struct SecretMetadata {
    /// Keys of labels: a key such as `example.com/team`, or `example.com/*` for every key of that domain.
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
    /// Keys of annotations, in the same form.
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
    /// The type of a Secret whose template names none.
    pub const OPAQUE: &'static str = "Opaque";
}

fn opaque() -> String {
    Template::OPAQUE.to_owned()
}

/// A qualified name, as keys of labels and annotations are.
pub const QUALIFIED_NAME: &str = "^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$";

/// The rule that each name of a map is a qualified name.
pub(super) fn names(field: &str) -> String {
    format!("!has(self.{field}) || self.{field}.all(key, key.matches('{QUALIFIED_NAME}'))")
}

/// The rule that no key of a map or list is in a reserved domain.
fn free(field: &str) -> String {
    let domains = RESERVED_DOMAINS.join("|").replace('.', "[.]");
    let free = FREE_NAMES.join("', '");
    format!(
        "!has(self.{field}) || self.{field}.all(key, key in ['{free}'] || !key.matches('^([-a-z0-9]+[.])*({domains})/'))"
    )
}

fn labels(_: &mut SchemaGenerator) -> Schema {
    texts(json!({
        "type": "string", "maxLength": 63,
        "pattern": r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
    }))
}

fn annotations(_: &mut SchemaGenerator) -> Schema {
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

/// The texts that may stand in the data of a ServiceAccessToken's template. A single dollar before a bracket
/// begins a placeholder; one of a run of dollars does not.
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

/// A template whose data holds texts of one pattern.
fn template(generator: &mut SchemaGenerator, pattern: &str) -> Schema {
    let mut schema = Template::json_schema(generator);
    if let Some(values) = schema.pointer_mut("/properties/data/additionalProperties") {
        values["pattern"] = pattern.into();
    }
    schema
}
