//! Compiles our generated schemas into a compact form that is fast to walk.

use std::collections::HashMap;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use regex::Regex;

use crate::resources::{Kind, crd, pattern_of};

/// What one place of an object may hold.
pub(super) struct Node {
    pub(super) shape: Shape,
    /// First sentence of the description.
    pub(super) about: Box<str>,
}

pub(super) enum Shape {
    /// Anything: another program checks it.
    Any,
    Boolean,
    Number(NumberRules),
    /// `x-kubernetes-int-or-string`: an integer or a string.
    WholeOrText(TextRules),
    Text(TextRules),
    Object(ObjectRules),
    List(ListRules),
}

pub(super) struct NumberRules {
    pub(super) integer: bool,
    pub(super) minimum: Option<f64>,
    pub(super) maximum: Option<f64>,
}

pub(super) struct TextRules {
    /// In characters, as the API server counts.
    pub(super) shortest: usize,
    pub(super) longest: usize,
    pub(super) pattern: Option<Pattern>,
    /// `format: date-time`.
    pub(super) moment: bool,
    /// The allowed values; empty for any.
    pub(super) allowed: Vec<Box<str>>,
}

pub(super) struct Pattern {
    pub(super) source: Box<str>,
    /// The message of the API server, if a CEL rule states the pattern.
    pub(super) words: Option<Box<str>>,
    /// `None` for a pattern that does not compile: it refuses everything. A test checks that all compile.
    regex: Option<Regex>,
}

impl Pattern {
    pub(super) fn matches(&self, text: &str) -> bool {
        self.regex
            .as_ref()
            .is_some_and(|regex| regex.is_match(text))
    }
}

pub(super) struct ObjectRules {
    /// Sorted by name.
    pub(super) properties: Vec<(Box<str>, Node)>,
    pub(super) required: Vec<Box<str>>,
    /// `maxProperties`.
    pub(super) most: usize,
    /// What other fields may hold; `None` if there may be no others.
    pub(super) others: Option<Box<Node>>,
}

impl ObjectRules {
    pub(super) fn property(&self, name: &str) -> Option<&Node> {
        let place = self
            .properties
            .binary_search_by(|(known, _)| (**known).cmp(name))
            .ok()?;
        Some(&self.properties[place].1)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.properties.iter().map(|(name, _)| &**name)
    }
}

pub(super) struct ListRules {
    pub(super) fewest: usize,
    pub(super) most: usize,
    pub(super) items: Box<Node>,
    pub(super) unique: Unique,
}

/// `x-kubernetes-list-type`.
pub(super) enum Unique {
    /// `atomic`
    No,
    /// `set`
    Values,
    /// `map`, by these keys
    Keys(Vec<Box<str>>),
}

/// Returns the schema of a kind's `spec`.
pub(super) fn spec_of(kind: Kind) -> Node {
    let definition = crd(kind);
    let spec = definition
        .spec
        .versions
        .into_iter()
        .find_map(|version| {
            version
                .schema?
                .open_api_v3_schema?
                .properties?
                .remove("spec")
        })
        .unwrap_or_default();
    Compiler::default().node(&spec)
}

/// Compiles schemas. Equal patterns share one compiled form.
#[derive(Default)]
struct Compiler {
    patterns: HashMap<String, Option<Regex>>,
}

impl Compiler {
    fn node(&mut self, schema: &JSONSchemaProps) -> Node {
        let shape = match schema.type_.as_deref() {
            Some("object") if is_free(schema) => Shape::Object(ObjectRules {
                properties: Vec::new(),
                required: Vec::new(),
                others: Some(Box::new(Node {
                    shape: Shape::Any,
                    about: "".into(),
                })),
                most: usize::MAX,
            }),
            _ if is_free(schema) => Shape::Any,
            _ if schema.x_kubernetes_int_or_string == Some(true) => {
                Shape::WholeOrText(self.text(schema))
            }
            Some("boolean") => Shape::Boolean,
            Some(number @ ("integer" | "number")) => Shape::Number(NumberRules {
                integer: number == "integer",
                minimum: schema.minimum,
                maximum: schema.maximum,
            }),
            Some("string") => Shape::Text(self.text(schema)),
            Some("array") => Shape::List(self.list(schema)),
            _ => Shape::Object(self.object(schema)),
        };
        let about = schema.description.as_deref().unwrap_or_default();
        Node {
            shape,
            about: first_sentence(about).into(),
        }
    }

    fn text(&mut self, schema: &JSONSchemaProps) -> TextRules {
        TextRules {
            shortest: count(schema.min_length).unwrap_or(0),
            longest: count(schema.max_length).unwrap_or(usize::MAX),
            pattern: self.pattern_of(schema),
            moment: schema.format.as_deref() == Some("date-time"),
            allowed: schema
                .enum_
                .iter()
                .flatten()
                .filter_map(|value| value.0.as_str())
                .map(Into::into)
                .collect(),
        }
    }

    /// Returns the pattern of a string: that of the keyword `pattern`, or of the first CEL rule that only matches a
    /// pattern.
    fn pattern_of(&mut self, schema: &JSONSchemaProps) -> Option<Pattern> {
        if let Some(source) = &schema.pattern {
            return Some(self.pattern(source, None));
        }
        let mut rules = schema.x_kubernetes_validations.iter().flatten();
        rules.find_map(|rule| Some(self.pattern(pattern_of(&rule.rule)?, rule.message.as_deref())))
    }

    fn pattern(&mut self, source: &str, words: Option<&str>) -> Pattern {
        let regex = self
            .patterns
            .entry(source.to_owned())
            .or_insert_with(|| Regex::new(source).ok());
        Pattern {
            source: source.into(),
            words: words.map(Into::into),
            regex: regex.clone(),
        }
    }

    fn list(&mut self, schema: &JSONSchemaProps) -> ListRules {
        let keys = || {
            schema
                .x_kubernetes_list_map_keys
                .iter()
                .flatten()
                .map(|key| key.as_str().into())
                .collect()
        };
        let items = match &schema.items {
            Some(JSONSchemaPropsOrArray::Schema(items)) => self.node(items),
            _ => Node {
                shape: Shape::Any,
                about: "".into(),
            },
        };
        ListRules {
            fewest: count(schema.min_items).unwrap_or(0),
            most: count(schema.max_items).unwrap_or(usize::MAX),
            items: Box::new(items),
            unique: match schema.x_kubernetes_list_type.as_deref() {
                Some("set") => Unique::Values,
                Some("map") => Unique::Keys(keys()),
                _ => Unique::No,
            },
        }
    }

    fn object(&mut self, schema: &JSONSchemaProps) -> ObjectRules {
        let others = match &schema.additional_properties {
            Some(JSONSchemaPropsOrBool::Schema(values)) => Some(Box::new(self.node(values))),
            Some(JSONSchemaPropsOrBool::Bool(true)) => Some(Box::new(Node {
                shape: Shape::Any,
                about: "".into(),
            })),
            _ => None,
        };
        // A BTreeMap iterates in the order that `property` searches by.
        let properties = schema.properties.iter().flatten();
        ObjectRules {
            properties: properties
                .map(|(name, property)| (name.as_str().into(), self.node(property)))
                .collect(),
            required: schema
                .required
                .iter()
                .flatten()
                .map(|name| name.as_str().into())
                .collect(),
            most: count(schema.max_properties).unwrap_or(usize::MAX),
            others,
        }
    }
}

/// `x-kubernetes-preserve-unknown-fields`.
fn is_free(schema: &JSONSchemaProps) -> bool {
    schema.x_kubernetes_preserve_unknown_fields == Some(true)
}

fn count(bound: Option<i64>) -> Option<usize> {
    bound.and_then(|bound| usize::try_from(bound).ok())
}

fn first_sentence(text: &str) -> String {
    let paragraph = text
        .split("\n\n")
        .next()
        .unwrap_or_default()
        .replace('\n', " ");
    paragraph
        .split_inclusive(". ")
        .next()
        .unwrap_or_default()
        .trim()
        .trim_end_matches('.')
        .to_owned()
}
