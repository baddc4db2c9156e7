//! Fuzz targets: raw objects against a naive reading of their definitions, and the small texts in resources.
#![allow(
    missing_docs,
    clippy::missing_panics_doc,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a target panics where a rule does not hold"
)]

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jiff::SignedDuration;
use regex::Regex;
use serde::de::DeserializeOwned;
use serde::{Deserialize as _, Serialize};
use serde_json::{Value, json};

use super::admit::{self, transition, volume};
use super::problem::suggest::{Shown, nearest, shown};
use super::values::duration::format_duration;
use super::values::issuer::canonical;
use super::{Change, Cidr, Directory, Problem, Settings, parse_duration, schema, template};
use crate::fuzzing::Input;
use crate::resources::{
    CLIENT_TEXT, Credential, Identity, Kind, OAuthClient, OwnerKind, Scope, ServiceAccessToken,
    TOKEN_TEXT, User, crd, pattern_of,
};
use crate::tokens::SecretString;

/// Valid objects that together set every field of every kind.
static OBJECTS: LazyLock<Vec<(Kind, Value)>> = LazyLock::new(|| {
    let fixtures = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let read = |kind: Kind| {
        let file = format!("full/{}.yaml", kind.plural());
        let texts = [fixtures.join(&file), fixtures.join("people").join(&file)];
        // Each kind has one of the two at least.
        let texts = texts.map(|path| std::fs::read_to_string(path).unwrap_or_default());
        let text = texts.join("\n---\n");
        let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap())
            .filter(Value::is_object)
            .collect();
        documents.into_iter().map(move |object| (kind, object))
    };
    Kind::ALL.into_iter().flat_map(read).collect()
});

/// The schemas of specs as JSON, as they are installed.
static SPECS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let spec = |kind| {
        let definition = serde_json::to_value(crd(kind)).unwrap();
        definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clone()
    };
    Kind::ALL.map(spec).into()
});

/// Every keyword of our schemas: one that is not in this list would not be checked.
const WORDS: [&str; 22] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxLength",
    "maxProperties",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "type",
    "x-kubernetes-int-or-string",
    "x-kubernetes-list-map-keys",
    "x-kubernetes-list-type",
    "x-kubernetes-preserve-unknown-fields",
    "x-kubernetes-validations",
];

fn matches(pattern: &str, text: &str) -> bool {
    static PATTERNS: Mutex<Option<HashMap<String, Regex>>> = Mutex::new(None);
    let mut patterns = PATTERNS.lock().unwrap();
    let patterns = patterns.get_or_insert_default();
    let regex = patterns
        .entry(pattern.to_owned())
        .or_insert_with(|| Regex::new(pattern).unwrap());
    regex.is_match(text)
}

/// Returns whether a value conforms to a schema, keyword by keyword. Like the walker, it fills in no defaults.
fn conforms(schema: &Value, value: &Value) -> bool {
    let words = schema.as_object().unwrap();
    for word in words.keys() {
        assert!(WORDS.contains(&word.as_str()), "`{word}` is not checked");
    }
    if schema["x-kubernetes-preserve-unknown-fields"] == true {
        return schema["type"] != "object" || value.is_object();
    }
    let is_type = match (schema["type"].as_str(), value) {
        _ if schema["x-kubernetes-int-or-string"] == true => value.is_i64() || value.is_string(),
        (Some("boolean"), value) => value.is_boolean(),
        (Some("integer"), value) => value.is_i64(),
        (Some("number"), value) => value.is_number(),
        (Some("string"), value) => value.is_string(),
        (Some("array"), value) => value.is_array(),
        (Some("object"), value) => value.is_object(),
        (other, _) => panic!("type {other:?}"),
    };
    is_type
        && words
            .iter()
            .all(|(word, rule)| obeys(schema, word, rule, value))
}

fn obeys(schema: &Value, word: &str, rule: &Value, value: &Value) -> bool {
    let bound = || usize::try_from(rule.as_u64().unwrap()).unwrap();
    match (word, value) {
        ("enum", value) => rule.as_array().unwrap().contains(value),
        ("minimum", Value::Number(number)) => number.as_f64().unwrap() >= rule.as_f64().unwrap(),
        ("maximum", Value::Number(number)) => number.as_f64().unwrap() <= rule.as_f64().unwrap(),
        ("minLength", Value::String(text)) => text.chars().count() >= bound(),
        ("maxLength", Value::String(text)) => text.chars().count() <= bound(),
        ("pattern", Value::String(text)) => matches(rule.as_str().unwrap(), text),
        ("x-kubernetes-validations", Value::String(text)) => {
            let rules = rule.as_array().unwrap().iter();
            let mut patterns = rules.filter_map(|rule| pattern_of(rule["rule"].as_str()?));
            patterns.all(|pattern| matches(pattern, text))
        }
        ("format", Value::String(text)) if rule == "date-time" => is_moment(text),
        ("minItems", Value::Array(items)) => items.len() >= bound(),
        ("maxItems", Value::Array(items)) => items.len() <= bound(),
        ("items", Value::Array(items)) => items.iter().all(|item| conforms(rule, item)),
        ("x-kubernetes-list-type", Value::Array(items)) => match rule.as_str().unwrap() {
            "set" => no_twins(items.iter().map(Some)),
            "map" => {
                let keys = schema["x-kubernetes-list-map-keys"].as_array().unwrap();
                let key = |item: &Value| {
                    let key: Option<Vec<Value>> = keys
                        .iter()
                        .map(|key| item.get(key.as_str()?).cloned())
                        .collect();
                    key
                };
                no_twins(items.iter().map(key))
            }
            _ => true,
        },
        ("maxProperties", Value::Object(fields)) => fields.len() <= bound(),
        ("required", Value::Object(fields)) => {
            let names = rule.as_array().unwrap();
            names
                .iter()
                .all(|name| fields.contains_key(name.as_str().unwrap()))
        }
        ("type", Value::Object(fields)) => fields.iter().all(|(name, field)| {
            let property = schema["properties"].get(name);
            let others = &schema["additionalProperties"];
            match property {
                Some(property) => conforms(property, field),
                None if others.is_object() => conforms(others, field),
                None => *others == true,
            }
        }),
        _ => true,
    }
}

fn no_twins<T: PartialEq>(items: impl Iterator<Item = Option<T>>) -> bool {
    let items: Vec<_> = items.flatten().collect();
    (0..items.len()).all(|at| !items[..at].contains(&items[at]))
}

fn is_moment(text: &str) -> bool {
    let form = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})\z";
    matches(form, text) && text.parse::<jiff::Timestamp>().is_ok()
}

/// Checks that an object is accepted exactly if its definition, read keyword by keyword, accepts it. An accepted
/// object decodes and reads back as written; a problem has a place and a short, printable message. The input chooses
/// one of the objects in `tests/fixtures/full` and edits it.
pub fn object(data: &[u8]) {
    let mut input = Input(data);
    let (kind, object) = &OBJECTS[input.below(OBJECTS.len())];
    let (kind, mut object) = (*kind, object.clone());
    let before = object.clone();
    for _ in 0..4 {
        if input.is_empty() {
            break;
        }
        edit(&mut object["spec"], &mut input, 0);
    }
    judged(kind, &object);
    // A definition also says what must not change.
    for problem in transition::problems(kind, &before, &object) {
        told(&problem, &before);
    }
    metadata(&mut object, &mut input);
    accepted(kind, &object);
}

fn judged(kind: Kind, object: &Value) {
    let problems = schema::validate(kind, object);
    let conforms = conforms(&SPECS[kind as usize], &object["spec"]);
    assert_eq!(
        problems.is_empty(),
        conforms,
        "{kind} {}: {problems:?}",
        object["spec"]
    );
    assert!(problems.len() <= 100);
    for problem in &problems {
        told(problem, object);
    }
    if conforms {
        match kind {
            Kind::Identity => reads_back::<Identity>(kind, object),
            Kind::Scope => reads_back::<Scope>(kind, object),
            Kind::OAuthClient => reads_back::<OAuthClient>(kind, object),
            Kind::ServiceAccessToken => reads_back::<ServiceAccessToken>(kind, object),
            Kind::User => reads_back::<User>(kind, object),
            Kind::Credential => reads_back::<Credential>(kind, object),
        }
    }
}

/// Checks that an accepted object decodes, and that what is written from it is accepted and decodes to the same.
fn reads_back<T: DeserializeOwned + Serialize>(kind: Kind, object: &Value) {
    let decoded = T::deserialize(object).unwrap_or_else(|error| panic!("{error}: {object}"));
    let written = serde_json::to_value(&decoded).unwrap();
    assert_eq!(schema::validate(kind, &written), [], "{written}");
    let again = serde_json::to_value(T::deserialize(&written).unwrap()).unwrap();
    assert_eq!(again, written);
}

fn told(problem: &Problem, object: &Value) {
    let message = &problem.message;
    assert!(message.len() <= 4096, "{message}");
    assert!(!message.is_empty());
    assert!(
        !message.chars().any(|c| Shown(c).is_escaped()),
        "{message:?}"
    );
    // A place that does not exist is where a field is missing; its parent exists.
    let parent = problem
        .path
        .rsplit_once('/')
        .map_or("", |(parent, _)| parent);
    let is_near = |path: &str| path.is_empty() || object.pointer(path).is_some();
    let grandparent = parent.rsplit_once('/').map_or("", |(parent, _)| parent);
    assert!(
        is_near(&problem.path) || is_near(parent) || is_near(grandparent),
        "{}",
        problem.path
    );
}

/// Applies all rules for single objects, and puts the object into a directory.
fn accepted(kind: Kind, object: &Value) {
    let settings = Settings::default();
    for problem in admit::problems(kind, object, &settings) {
        told(&problem, object);
    }
    for problem in &schema::ignored(object) {
        told(problem, object);
    }
    let Some(change) = Change::object(kind, object, &settings) else {
        return;
    };
    let mut directory = Directory::new(settings);
    directory.apply(change.clone());
    assert!(!directory.is_news(&change));
}

fn metadata(object: &mut Value, input: &mut Input<'_>) {
    object["metadata"]["uid"] = json!("uid");
    object["metadata"]["creationTimestamp"] = json!("2026-01-01T00:00:00Z");
    if !input.is_empty() {
        let (place, text) = (input.below(4), input.text());
        let place = ["name", "namespace", "labels", "annotations"][place];
        object["metadata"][place] = match (place, input.below(3)) {
            ("labels" | "annotations", 0 | 1) => json!({ &*text: input.text() }),
            _ => json!(text),
        };
    }
}

/// Changes one value at any depth.
fn edit(value: &mut Value, input: &mut Input<'_>, depth: usize) {
    let choice = input.byte();
    let is_deeper = choice >= 64 && depth < 12;
    match value {
        Value::Object(fields) if is_deeper && !fields.is_empty() => {
            let place = usize::from(choice) % fields.len();
            if let Some(field) = fields.values_mut().nth(place) {
                return edit(field, input, depth + 1);
            }
        }
        Value::Array(items) if is_deeper && !items.is_empty() => {
            let place = usize::from(choice) % items.len();
            return edit(&mut items[place], input, depth + 1);
        }
        _ => {}
    }
    let name = || -> String { NAMES[usize::from(choice) % NAMES.len()].to_owned() };
    match (choice % 8, value) {
        (0, Value::Object(fields)) => {
            let name = fields
                .keys()
                .nth(input.below(64) % fields.len().max(1))
                .cloned();
            name.and_then(|name| fields.remove(&name));
        }
        (1, Value::Object(fields)) => drop(fields.insert(name(), other(input))),
        (2, Value::Object(fields)) => drop(fields.insert(input.text().into_owned(), other(input))),
        (0, Value::Array(items)) => drop(items.pop()),
        (1, Value::Array(items)) => items.push(other(input)),
        (2 | 3, Value::Array(items)) if items.len() < 300 => {
            // Too many equal items, or too many different ones.
            let Some(last) = items.last().cloned() else {
                return;
            };
            let count = input.below(300);
            items.extend(std::iter::repeat_n(last, count.max(1)));
            if choice % 8 == 3 {
                items.iter_mut().enumerate().for_each(|(at, item)| {
                    if let Value::String(text) = item {
                        *text = format!("{text}{at}");
                    }
                });
            }
        }
        (3 | 4, Value::String(text)) => {
            let at = text.floor_char_boundary(input.below(256));
            text.insert_str(at, &input.text());
        }
        (5, Value::String(text)) if text.len() < 512 => {
            *text = text.repeat(1 + input.below(64));
        }
        (_, value) => *value = other(input),
    }
}

const NAMES: [&str; 12] = [
    "issuer",
    "scopes",
    "name",
    "namespace",
    "key",
    "template",
    "selector",
    "names",
    "from",
    "min",
    "sqlite",
    "identityRef",
];

fn other(input: &mut Input<'_>) -> Value {
    match input.below(14) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(input.byte()),
        4 => json!(1.5),
        5 => json!(u64::MAX),
        6 => json!([]),
        7 => json!({}),
        8 => json!("2027-01-31T12:00:00Z"),
        9 => json!("90m"),
        10 => json!("a".repeat(input.below(1 << 10))),
        11 => json!("\u{202e}\u{1b}[31m"),
        _ => json!(input.text()),
    }
}

/// Checks durations, address ranges, issuers, sizes, placeholders and suggestions against their grammars, and that
/// each reads back what it writes.
pub fn texts(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    duration(text);
    if let Ok(range) = text.parse::<Cidr>() {
        let again: Cidr = range.to_string().parse().unwrap();
        assert_eq!(again, range);
        let (address, length) = text.split_once('/').unwrap();
        assert_eq!(
            range.to_string(),
            format!("{}/{length}", address.parse::<std::net::IpAddr>().unwrap())
        );
        assert!(range.contains(address.parse().unwrap()));
    }
    let issuer = r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~-]+)*$";
    if matches(issuer, text) {
        let once = canonical(text);
        let upper = text.find("://").map_or(text.len(), |at| {
            text[at + 3..]
                .find('/')
                .map_or(text.len(), |slash| at + 3 + slash)
        });
        let loud = format!("{}{}", text[..upper].to_ascii_uppercase(), &text[upper..]);
        assert_eq!(canonical(&loud), once);
    }
    if let Some(size) = volume::mebibytes(text) {
        assert!(matches(r"\A\+?[0-9]+(Mi|Gi|Ti)\z", text));
        assert_eq!(volume::mebibytes(&format!("{size}Mi")), Some(size));
    }
    assert_eq!(
        schema::is_dns_label(text),
        matches(r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\z", text)
    );
    let subdomain = r"\A[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\z";
    assert_eq!(
        schema::is_dns_subdomain(text),
        text.len() <= 253 && matches(subdomain, text)
    );
    placeholders(text);
    let shown = shown(text);
    assert!(!shown.chars().any(|c| Shown(c).is_escaped()));
    assert!(shown.chars().count() <= 65 * 10);
    let known = ["clientId", "scopes", "grantTypes"];
    assert!(nearest(text, known).is_none_or(|name| known.contains(&name)));
    assert_eq!(nearest("scopes", known), Some("scopes"));
}

static PARTS: LazyLock<Regex> = LazyLock::new(|| Regex::new("([0-9]+)(h|ms|m|s)").unwrap());

fn duration(text: &str) {
    let Some(duration) = parse_duration(text) else {
        assert!(!matches(r"\A([0-9]{1,5}(h|m|s|ms)){1,4}\z", text), "{text}");
        return;
    };
    assert!(matches(r"\A([0-9]{1,5}(h|m|s|ms)){1,4}\z", text), "{text}");
    assert!(duration >= SignedDuration::ZERO);
    let millis: i64 = PARTS
        .captures_iter(text)
        .map(|part| {
            let number: i64 = part[1].parse().unwrap();
            number
                * match &part[2] {
                    "h" => 3_600_000,
                    "m" => 60_000,
                    "s" => 1000,
                    _ => 1,
                }
        })
        .sum();
    assert_eq!(duration.as_millis(), i128::from(millis), "{text}");
    let whole = SignedDuration::from_secs(duration.as_secs());
    let written = format_duration(duration);
    // Messages show hours of more than five digits, but nothing parses them.
    if duration.as_hours() < 100_000 {
        assert_eq!(parse_duration(&written), Some(whole), "{written}");
    }
}

/// Checks that a text is refused exactly if the pattern of the definition refuses it, and that a text without a
/// placeholder stays unchanged.
fn placeholders(text: &str) {
    let issued = SecretString::from("s3cret".to_owned());
    let values = template::Values {
        issued: &issued,
        client_id: "shop.web",
        issuer: "https://id.example.com",
        token_url: "https://id.example.com/connect/token",
    };
    for (kind, pattern) in [
        (OwnerKind::OAuthClient, CLIENT_TEXT),
        (OwnerKind::ServiceAccessToken, TOKEN_TEXT),
    ] {
        let fault = template::text_fault(kind, text);
        assert_eq!(
            fault.is_none(),
            matches(pattern, text),
            "{text:?}: {fault:?}"
        );
        let rendered = template::render(kind, text, &values);
        if !text.contains("$(") {
            assert_eq!(rendered.expose(), text);
        }
        // The shortest placeholder has nine characters; the longest value is 48 characters of base64.
        assert!(rendered.expose().len() <= 8 * text.len());
    }
}

#[cfg(test)]
mod tests {
    use crate::fuzzing::replay;

    #[test]
    fn kept_edits_of_objects_are_judged_as_their_definitions_judge_them() {
        replay("object", super::object);
    }

    #[test]
    fn kept_texts_of_resources_are_read_as_their_grammars_read_them() {
        replay("texts", super::texts);
    }
}
