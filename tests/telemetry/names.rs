//! The names of metrics in expressions, in texts, and in what the programs export.

use std::collections::{BTreeMap, BTreeSet};

use symbolon::reconcile::report::metrics::OperatorMetrics;
use symbolon::server::Metrics;
use symbolon::telemetry::{Described, Type};

/// The metrics that the server and the operator export.
pub(crate) fn described() -> Vec<Described> {
    let (server, operator) = (Metrics::default(), OperatorMetrics::default());
    [server.described(), operator.described()].concat()
}

/// Whether a sample's name belongs to this metric.
pub(crate) fn is_of(sample: &str, metric: &str) -> bool {
    let suffix = sample.strip_prefix(metric);
    suffix.is_some_and(|it| ["", "_bucket", "_sum", "_count"].contains(&it))
}

/// Whether the server or the operator exports samples with this name.
pub(crate) fn is_known(sample: &str) -> bool {
    described().iter().any(|it| match it.kind {
        Type::Histogram => is_of(sample, &it.name),
        Type::Counter | Type::Gauge => it.name == sample,
    })
}

/// Every word of a text that begins with the prefix of our metrics.
pub(crate) fn in_text(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.split(|c| !is_name(c))
        .filter(|word| word.starts_with("symbolon_"))
        .map(str::to_owned)
        .collect()
}

/// The metrics in an expression, each with a label that selects its samples.
pub(crate) fn selected(expression: &str) -> Vec<(String, String)> {
    let matchers = matchers(expression).into_iter();
    matchers
        .map(|(metric, (label, _))| (metric, label))
        .collect()
}

/// Like [`selected`], with the values of the labels.
pub(crate) fn matchers(expression: &str) -> Vec<(String, (String, String))> {
    let mut found = Vec::new();
    for (start, _) in expression.match_indices('{') {
        let before = &expression[..start];
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let name = before.rsplit(|c| !is_name(c)).next().unwrap();
        if !name.starts_with("symbolon_") {
            continue;
        }
        let inside = expression[start + 1..].split('}').next().unwrap();
        // No selector of ours has a comma in a value.
        for matcher in inside.split(',') {
            let label = matcher.split(['=', '!']).next().unwrap().trim();
            let value = matcher.split('"').nth(1).unwrap_or_default();
            found.push((name.to_owned(), (label.to_owned(), value.to_owned())));
        }
    }
    found
}

/// The metrics of an exposition with the labels of their samples.
pub(crate) fn families(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let (mut name, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            let (of, is) = head.split_once(' ').unwrap();
            of.clone_into(&mut name);
            is.clone_into(&mut kind);
        }
        if line.starts_with('#') {
            continue;
        }
        let sample = line.split(['{', ' ']).next().unwrap();
        let family = if kind == "counter" {
            format!("{name}_total")
        } else {
            name.clone()
        };
        assert!(is_of(sample, &family), "{line}");
        let labels = families.entry(family).or_default();
        if let Some((_, rest)) = line.split_once('{') {
            let inside = rest.rsplit_once('}').unwrap().0;
            let names = inside.split("\",").filter_map(|it| it.split('=').next());
            labels.extend(names.filter(|it| *it != "le").map(str::to_owned));
        }
    }
    families
}
