//! Which namespaces a rule includes.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::record::{NamespaceRule, Requirement, Selector};
use crate::resources::{Namespaces, NamespacesFrom};

/// Labels of a namespace.
pub type Labels = BTreeMap<Arc<str>, Arc<str>>;

impl NamespaceRule {
    /// Reads the rule of a spec. The error names an unknown operator of a selector.
    pub(in crate::directory) fn admit(spec: &Namespaces) -> Result<Self, String> {
        Ok(Self {
            from: spec.from,
            names: spec
                .names
                .iter()
                .flatten()
                .map(|name| name.as_str().into())
                .collect(),
            selector: spec.selector.as_ref().map(Selector::admit).transpose()?,
        })
    }

    /// Returns whether an object in `own` is open to `namespace`, which has these labels.
    pub fn allows(&self, own: &str, namespace: &str, labels: Option<&Labels>) -> bool {
        match self.from {
            NamespacesFrom::None => false,
            _ if own == namespace => true,
            NamespacesFrom::Same => false,
            NamespacesFrom::All => true,
            NamespacesFrom::List => self.names.iter().any(|name| **name == *namespace),
            NamespacesFrom::Selector => match (&self.selector, labels) {
                (Some(selector), Some(labels)) => selector.matches(labels),
                // The labels of an unknown namespace cannot match.
                _ => false,
            },
        }
    }
}

impl Selector {
    fn admit(spec: &LabelSelector) -> Result<Self, String> {
        let exact = spec.match_labels.iter().flatten();
        let mut requirements: Vec<Requirement> = exact
            .map(|(key, value)| Requirement::In(key.as_str().into(), vec![value.as_str().into()]))
            .collect();
        for expression in spec.match_expressions.iter().flatten() {
            let key: Arc<str> = expression.key.as_str().into();
            let values = expression
                .values
                .iter()
                .flatten()
                .map(|value| value.as_str().into())
                .collect();
            requirements.push(match expression.operator.as_str() {
                "In" => Requirement::In(key, values),
                "NotIn" => Requirement::NotIn(key, values),
                "Exists" => Requirement::Exists(key),
                "DoesNotExist" => Requirement::DoesNotExist(key),
                other => {
                    return Err(format!(
                        "operator {other:?} must be In, NotIn, Exists or DoesNotExist"
                    ));
                }
            });
        }
        Ok(Self { requirements })
    }

    fn matches(&self, labels: &Labels) -> bool {
        self.requirements
            .iter()
            .all(|requirement| match requirement {
                Requirement::In(key, values) => {
                    labels.get(key).is_some_and(|value| values.contains(value))
                }
                Requirement::NotIn(key, values) => {
                    labels.get(key).is_none_or(|value| !values.contains(value))
                }
                Requirement::Exists(key) => labels.contains_key(key),
                Requirement::DoesNotExist(key) => !labels.contains_key(key),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(yaml: &str) -> NamespaceRule {
        NamespaceRule::admit(&serde_yaml::from_str(yaml).unwrap()).unwrap()
    }

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        pairs
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into()))
            .collect()
    }

    #[test]
    fn a_rule_is_closed_unless_it_opens() {
        let blue = labels(&[("team", "blue")]);
        for (yaml, own, other) in [
            ("{}", true, false),
            ("from: Same", true, false),
            ("from: All", true, true),
            ("{from: List, names: [blue]}", true, true),
            ("{from: List, names: [red]}", true, false),
            ("from: None", false, false),
            (
                "{from: Selector, selector: {matchLabels: {team: blue}}}",
                true,
                true,
            ),
            (
                "{from: Selector, selector: {matchLabels: {team: red}}}",
                true,
                false,
            ),
            (
                "{from: Selector, selector: {matchExpressions: [{key: team, operator: NotIn, values: [red]}]}}",
                true,
                true,
            ),
            (
                "{from: Selector, selector: {matchExpressions: [{key: team, operator: DoesNotExist}]}}",
                true,
                false,
            ),
            (
                "{from: Selector, selector: {matchExpressions: [{key: team, operator: Exists}]}}",
                true,
                true,
            ),
            ("{from: Selector, selector: {}}", true, true),
        ] {
            assert_eq!(rule(yaml).allows("home", "home", None), own, "own: {yaml}");
            assert_eq!(
                rule(yaml).allows("home", "blue", Some(&blue)),
                other,
                "other: {yaml}"
            );
        }
    }

    #[test]
    fn a_selector_matches_no_namespace_whose_labels_are_unknown() {
        assert!(!rule("{from: Selector, selector: {}}").allows("home", "blue", None));
    }

    #[test]
    fn an_unknown_operator_is_refused_and_named() {
        let spec = serde_yaml::from_str(
            "{from: Selector, selector: {matchExpressions: [{key: a, operator: Near}]}}",
        )
        .unwrap();
        assert!(NamespaceRule::admit(&spec).unwrap_err().contains("Near"));
    }
}
