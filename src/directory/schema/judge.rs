//! Walks an object along its schema.

use std::collections::HashSet;

use serde_json::{Map, Number, Value};

use super::super::{Problem, Reason};
use super::compile::{ListRules, Node, NumberRules, ObjectRules, Shape, TextRules, Unique};
use super::{later, words};
use crate::directory::problem::suggest::{nearest, shown};
use crate::resources::MOMENT_WORDS;

/// Problems that are collected at most; more would not help.
const MAX_PROBLEMS: usize = 100;

/// A place in the object. It is built on the stack and formatted only for a problem.
pub(super) struct At<'a> {
    parent: Option<&'a At<'a>>,
    step: Segment<'a>,
}

#[derive(Clone, Copy)]
enum Segment<'a> {
    Root,
    Key(&'a str),
    Index(usize),
}

impl<'a> At<'a> {
    pub(super) const ROOT: At<'static> = At {
        parent: None,
        step: Segment::Root,
    };

    pub(super) fn key(&'a self, name: &'a str) -> At<'a> {
        At {
            parent: Some(self),
            step: Segment::Key(name),
        }
    }

    fn index(&'a self, index: usize) -> At<'a> {
        At {
            parent: Some(self),
            step: Segment::Index(index),
        }
    }

    /// Returns the place as a JSON Pointer, RFC 6901.
    pub(super) fn pointer(&self) -> String {
        let mut pointer = self.parent.map(At::pointer).unwrap_or_default();
        match self.step {
            Segment::Root => {}
            Segment::Key(name) => {
                pointer.push('/');
                pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
            }
            Segment::Index(index) => {
                pointer.push('/');
                pointer.push_str(&index.to_string());
            }
        }
        pointer
    }

    /// Returns the name of the innermost field, for a message. It is shortened and escaped, since users choose the
    /// names in maps.
    fn name(&self) -> String {
        shown(self.written_name())
    }

    fn written_name(&self) -> &str {
        match (self.step, self.parent) {
            (Segment::Key(name), _) => name,
            (_, Some(parent)) => parent.written_name(),
            _ => "the object",
        }
    }
}

pub(super) struct Judge<'s> {
    spec: &'s Node,
    pub(super) problems: Vec<Problem>,
}

impl<'s> Judge<'s> {
    pub(super) fn new(spec: &'s Node) -> Self {
        Self {
            spec,
            problems: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, problem: Problem) {
        if self.problems.len() < MAX_PROBLEMS {
            self.problems.push(problem);
        }
    }

    pub(super) fn invalid(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(Problem::error(Reason::Invalid, at.pointer(), message));
    }

    pub(super) fn unsupported(&mut self, at: &At<'_>, message: impl Into<String>) {
        self.push(Problem::error(
            Reason::UnsupportedValue,
            at.pointer(),
            message,
        ));
    }

    pub(super) fn value(&mut self, node: &Node, value: &Value, at: &At<'_>) {
        if self.problems.len() >= MAX_PROBLEMS {
            return;
        }
        match (&node.shape, value) {
            (Shape::Any, _) | (Shape::Boolean, Value::Bool(_)) => {}
            (Shape::Number(rules), Value::Number(number)) => self.number(rules, number, at),
            (Shape::Text(rules) | Shape::WholeOrText(rules), Value::String(text)) => {
                self.text(rules, text, at);
            }
            (Shape::WholeOrText(_), Value::Number(number)) if number.is_i64() => {}
            (Shape::Object(rules), Value::Object(fields)) => self.object(rules, fields, at),
            (Shape::List(rules), Value::Array(items)) => self.list(rules, items, at),
            (shape, other) => self.invalid(at, wrong_type(shape, other, &at.name())),
        }
    }

    fn number(&mut self, rules: &NumberRules, number: &Number, at: &At<'_>) {
        let value = number.as_f64().unwrap_or(f64::NAN);
        if rules.integer && number.as_i64().is_none() {
            let rounded = if value.is_finite() && value.abs() < 1e15 {
                format!(": write {value:.0}")
            } else {
                String::new()
            };
            self.invalid(at, format!("{number} is not a 64-bit integer{rounded}"));
        } else if rules.minimum.is_some_and(|minimum| value < minimum)
            || rules.maximum.is_some_and(|maximum| value > maximum)
        {
            let bounds = match (rules.minimum, rules.maximum) {
                (Some(minimum), Some(maximum)) => format!("{minimum} to {maximum}"),
                (Some(minimum), None) => format!("at least {minimum}"),
                (_, maximum) => format!("at most {}", maximum.unwrap_or_default()),
            };
            self.invalid(at, format!("{} must be {bounds}, not {number}", at.name()));
        }
    }

    fn text(&mut self, rules: &TextRules, text: &str, at: &At<'_>) {
        if !rules.allowed.is_empty() {
            if !rules.allowed.iter().any(|allowed| **allowed == *text) {
                self.unsupported(at, unknown_choice(rules, text, &at.name()));
            }
            return;
        }
        // The length in bytes bounds that in characters from above, so that most texts need no count.
        let long = text.len() > rules.longest && text.chars().count() > rules.longest;
        if long {
            self.invalid(
                at,
                format!(
                    "{} must have at most {} characters",
                    at.name(),
                    rules.longest
                ),
            );
        } else if text.len() < rules.shortest
            || rules.shortest > 1 && text.chars().count() < rules.shortest
        {
            let least = if rules.shortest == 1 {
                "must not be empty".to_owned()
            } else {
                format!("must have at least {} characters", rules.shortest)
            };
            self.invalid(at, format!("{} {least}", at.name()));
        } else if let Some(pattern) = rules
            .pattern
            .as_ref()
            .filter(|pattern| !pattern.matches(text))
        {
            self.invalid(
                at,
                split_reference(at, text).unwrap_or_else(|| words::refused(pattern, text)),
            );
        } else if rules.moment && !words::is_moment(text) {
            self.invalid(at, words::not_a_moment(text));
        }
    }

    fn object(&mut self, rules: &ObjectRules, fields: &Map<String, Value>, at: &At<'_>) {
        if fields.len() > rules.most {
            let (name, count, most) = (at.name(), fields.len(), rules.most);
            self.invalid(
                at,
                format!("{name} must have at most {most} fields, not {count}"),
            );
            return;
        }
        let slips = slips(rules, fields);
        for (name, value) in fields {
            let here = at.key(name);
            match (rules.property(name), &rules.others) {
                // Its own fields stand beside it, with the wrong indentation, and are reported there.
                (Some(_), _) if value.is_null() && slips.explain(Slip::Below(name)) => {}
                (Some(node), _) => self.value(node, value, &here),
                (None, Some(others)) => self.value(others, value, &here),
                (None, None) => self.unknown_field(slips.get(name), &here),
            }
        }
        for name in missing(rules, fields).filter(|name| !slips.explain(Slip::Means(name))) {
            let about = rules
                .property(name)
                .map(|node| &*node.about)
                .filter(|about| !about.is_empty());
            let about = about.map(|about| format!(" ({about})")).unwrap_or_default();
            self.invalid(&at.key(name), format!("{name} is missing{about}"));
        }
    }

    fn unknown_field(&mut self, slip: Option<Slip<'_>>, at: &At<'_>) {
        let name = at.written_name();
        let hint = match (words::odd_space(name), slip, self.home_of(name)) {
            (Some(hint), ..) => hint,
            (None, Some(Slip::Means(known)), _) => format!("did you mean `{known}`?"),
            (None, Some(Slip::Below(parent)), _) => {
                format!("it belongs to `{parent}`: indent it by two spaces more")
            }
            (None, Some(Slip::Within(parent, field)), _) => {
                format!("did you mean `{parent}: {{{field}: …}}`?")
            }
            (None, None, Some(home)) => format!("it belongs at `{home}`"),
            (None, None, None) if later::is_field(name) => {
                "it is not available yet, a later release will have it: remove it".to_owned()
            }
            (None, None, None) => {
                "remove it, or use a release of Symbolon that knows it".to_owned()
            }
        };
        self.unsupported(at, format!("unknown field `{}`: {hint}", shown(name)));
    }

    /// Returns the path of the field of this name in the kind, if there is exactly one.
    pub(super) fn home_of(&self, name: &str) -> Option<String> {
        let mut homes = Vec::new();
        find(self.spec, name, "spec", &mut homes);
        if homes.len() == 1 { homes.pop() } else { None }
    }

    fn list(&mut self, rules: &ListRules, items: &[Value], at: &At<'_>) {
        if items.len() > rules.most {
            self.invalid(
                at,
                format!(
                    "{0} must have at most {2} items, not {1}",
                    at.name(),
                    items.len(),
                    rules.most
                ),
            );
            return;
        }
        if items.len() < rules.fewest {
            self.invalid(
                at,
                format!(
                    "{} must have at least {} item{}",
                    at.name(),
                    rules.fewest,
                    if rules.fewest == 1 { "" } else { "s" }
                ),
            );
        }
        for (index, item) in items.iter().enumerate() {
            self.value(&rules.items, item, &at.index(index));
        }
        match &rules.unique {
            Unique::No => {}
            Unique::Values => self.no_twins(items, at, |item| Some(item.to_string())),
            Unique::Keys(keys) => self.no_twins(items, at, |item| {
                let values: Option<Vec<_>> = keys
                    .iter()
                    .map(|key| item.get(&**key).map(Value::to_string))
                    .collect();
                values.map(|values| values.join(", "))
            }),
        }
    }

    fn no_twins(
        &mut self,
        items: &[Value],
        at: &At<'_>,
        identity: impl Fn(&Value) -> Option<String>,
    ) {
        if items.len() < 2 {
            return;
        }
        let mut seen = HashSet::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let Some(identity) = identity(item) else {
                continue;
            };
            let message = format!(
                "{} occurs twice in {}: remove one",
                shown(&identity),
                at.name()
            );
            if !seen.insert(identity) {
                self.invalid(&at.index(index), message);
            }
        }
    }
}

/// What an unknown field was meant to be.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Slip<'a> {
    /// Another spelling of this field.
    Means(&'a str),
    /// A field of this one, whose indentation is wrong.
    Below(&'a str),
    /// The second field, which belongs to the first: `secretName` for `secret.name`.
    Within(&'a str, &'a str),
}

/// The unknown fields of an object by name, with what they were meant to be.
struct Slips<'a>(Vec<(&'a str, Slip<'a>)>);

impl<'a> Slips<'a> {
    fn get(&self, name: &str) -> Option<Slip<'a>> {
        let mut known = self.0.iter().filter(|(unknown, _)| *unknown == name);
        known.next().map(|(_, slip)| *slip)
    }

    fn explain(&self, slip: Slip<'_>) -> bool {
        self.0.iter().any(|(_, known)| *known == slip)
    }
}

fn slips<'a>(rules: &'a ObjectRules, fields: &'a Map<String, Value>) -> Slips<'a> {
    let unknown = || fields.keys().filter(|name| rules.property(name).is_none());
    // Most objects have no unknown field, and this runs for each of them.
    if rules.others.is_some() || unknown().next().is_none() {
        return Slips(Vec::new());
    }
    let only_missing = {
        let mut missing = missing(rules, fields);
        let first = missing.next();
        first.filter(|_| missing.next().is_none() && unknown().nth(1).is_none())
    };
    let slip = |name: &'a String| {
        let free = rules.names().filter(|known| !fields.contains_key(*known));
        let mut empty = fields.iter().filter(|(_, value)| value.is_null());
        let parent = empty.find(|(parent, _)| {
            let node = rules.property(parent);
            node.is_some_and(|node| matches!(&node.shape, Shape::Object(below) if below.property(name).is_some()))
        });
        let means = nearest(name, free).map(Slip::Means);
        let below = parent.map(|(parent, _)| Slip::Below(parent));
        let within = rules.properties.iter().find_map(|(parent, node)| {
            let rest = name.strip_prefix(&**parent)?;
            let Shape::Object(below) = &node.shape else {
                return None;
            };
            let mut fields = below.names();
            let field = fields.find(|field| field.eq_ignore_ascii_case(rest))?;
            Some(Slip::Within(parent, field))
        });
        let only_missing = only_missing.map(Slip::Means);
        let slip = means.or(below).or(within).or(only_missing)?;
        Some((name.as_str(), slip))
    };
    Slips(unknown().take(MAX_PROBLEMS).filter_map(slip).collect())
}

fn missing<'a>(
    rules: &'a ObjectRules,
    fields: &'a Map<String, Value>,
) -> impl Iterator<Item = &'a str> {
    let required = rules.required.iter().map(|name| &**name);
    required.filter(|name| !fields.contains_key(*name))
}

/// Returns the message for a reference that is written as `namespace/name`.
fn split_reference(at: &At<'_>, text: &str) -> Option<String> {
    let is_reference = at.written_name() == "name"
        && at
            .parent
            .is_some_and(|parent| parent.written_name() == "identityRef");
    let (namespace, name) = text.split_once('/').filter(|_| is_reference)?;
    Some(format!(
        "`{}` is not a name: write name: {} and namespace: {}",
        shown(text),
        words::yaml(name),
        words::yaml(namespace)
    ))
}

fn find(node: &Node, name: &str, path: &str, homes: &mut Vec<String>) {
    match &node.shape {
        Shape::Object(rules) => {
            for (known, property) in &rules.properties {
                let path = format!("{path}.{known}");
                find(property, name, &path, homes);
                if **known == *name {
                    homes.push(path);
                }
            }
        }
        Shape::List(rules) => find(&rules.items, name, &format!("{path}[]"), homes),
        _ => {}
    }
}

fn unknown_choice(rules: &TextRules, text: &str, name: &str) -> String {
    let choices: Vec<&str> = rules.allowed.iter().map(|allowed| &**allowed).collect();
    if let Some(why) = later::value(name, &choices, text) {
        let write = match &choices[..] {
            [only] => (*only).to_owned(),
            several => format!("one of {}", several.join(", ")),
        };
        return format!("`{}` {why}: write {write}", shown(text));
    }
    let written = format!("`{}` is not a value of {name}", shown(text));
    match (nearest(text, choices.iter().copied()), &choices[..]) {
        (_, [only]) => format!("{written}: write {only}"),
        (Some(meant), _) => format!(
            "{written}: did you mean `{meant}`? It is one of {}",
            choices.join(", ")
        ),
        (None, _) => format!("{written}: write one of {}", choices.join(", ")),
    }
}

fn wrong_type(shape: &Shape, value: &Value, name: &str) -> String {
    let written = shown(&value.to_string());
    match (shape, value) {
        (_, Value::Null) => format!("{name} has no value: write one, or remove the field"),
        (Shape::Text(rules), Value::Array(_)) if rules.moment => MOMENT_WORDS.to_owned(),
        (Shape::Text(rules), Value::Number(number)) if is_duration(rules) => {
            let better =
                words::bare_number(&number.to_string()).map(|better| format!(", such as {better}"));
            format!(
                "{name} must be a duration: write the number with its unit{}",
                better.unwrap_or_default()
            )
        }
        (Shape::WholeOrText(_), Value::Number(_)) => {
            format!("{name} must be an integer or a string: put {written} in quotes")
        }
        (Shape::WholeOrText(_), other) => {
            format!(
                "{name} must be an integer or a string, not {}",
                type_of(other)
            )
        }
        (Shape::Text(_), Value::Number(_) | Value::Bool(_)) => {
            format!("{name} must be a string: put the value in quotes")
        }
        (Shape::Text(_), other) => format!("{name} must be a string, not {}", type_of(other)),
        (Shape::Boolean, Value::String(text)) if matches!(text.as_str(), "true" | "false") => {
            format!("{name} must be true or false: write {text} without quotes")
        }
        (Shape::Boolean, other) => format!("{name} must be true or false, not {}", type_of(other)),
        (Shape::Number(_), Value::String(text)) if text.parse::<i64>().is_ok() => {
            format!(
                "{name} must be a number: write {} without quotes",
                shown(text)
            )
        }
        (Shape::Number(_), other) => format!("{name} must be a number, not {}", type_of(other)),
        (Shape::List(_), Value::Array(_)) | (Shape::Any, _) => String::new(),
        (Shape::List(_), Value::Object(_)) => {
            format!("{name} must be a list: begin each item with '- '")
        }
        (Shape::List(_), Value::String(text)) if text.starts_with('-') => {
            format!("{name} must be a list: write a space after each '-'")
        }
        (Shape::List(_), Value::String(text)) => {
            let items = text.split([' ', ',']).filter(|item| !item.is_empty());
            let items: Vec<String> = items.take(8).map(words::yaml).collect();
            format!("{name} must be a list: write [{}]", items.join(", "))
        }
        (Shape::List(_), _) => format!("{name} must be a list: write [{written}]"),
        (Shape::Object(rules), other) if let Some(better) = object_instead(rules, other) => {
            format!("{name} must be an object: write {{{better}}}")
        }
        (Shape::Object(rules), other) => {
            let names: Vec<&str> = rules.names().collect();
            let names = if names.is_empty() {
                String::new()
            } else {
                format!(" with the fields {}", names.join(", "))
            };
            format!("{name} must be an object{names}, not {}", type_of(other))
        }
    }
}

/// Returns the fields of the object that a string or a list stands for.
fn object_instead(rules: &ObjectRules, value: &Value) -> Option<String> {
    let is_text = |name: &str| {
        let node = rules.property(name);
        node.is_some_and(|node| matches!(node.shape, Shape::Text(_)))
    };
    let allows = |name: &str, text: &str| {
        let node = rules.property(name);
        node.is_some_and(|node| matches!(&node.shape, Shape::Text(rules) if rules.allowed.iter().any(|it| **it == *text)))
    };
    match value {
        Value::Array(items) if allows("from", "List") => {
            let names: Option<Vec<_>> = items.iter().take(8).map(Value::as_str).collect();
            let names: Vec<String> = names?.into_iter().map(words::yaml).collect();
            Some(format!("from: List, names: [{}]", names.join(", ")))
        }
        Value::String(text) => {
            let written = words::yaml(text);
            if let Some(choice) = ["from", "type"].into_iter().find(|it| allows(it, text)) {
                return Some(format!("{choice}: {written}"));
            }
            let reference = text.split_once('/');
            if let Some((namespace, name)) = reference.filter(|_| is_text("namespace")) {
                let (name, namespace) = (words::yaml(name), words::yaml(namespace));
                return Some(format!("name: {name}, namespace: {namespace}"));
            }
            let only = match &rules.required[..] {
                [] => "name",
                [only] => only,
                _ => return None,
            };
            is_text(only).then(|| format!("{only}: {written}"))
        }
        _ => None,
    }
}

fn is_duration(rules: &TextRules) -> bool {
    rules
        .pattern
        .as_ref()
        .is_some_and(|pattern| pattern.matches("1h") && !pattern.matches("1"))
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
