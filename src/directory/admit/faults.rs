//! What is wrong with one object, and the rules that several kinds share.

use jiff::SignedDuration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::directory::judge::desired::bounded;
use crate::directory::tables::record::{NamespaceRule, RotationRecord};
use crate::directory::values::normal::is_normal_audience;
use crate::directory::{Problem, Reason, parse_duration, template};
use crate::resources::{
    AUDIENCE_WORDS, DurationString, Namespaces, NamespacesFrom, OwnerKind, Rotation, SELECTOR_KEYS,
    SELECTOR_VALUES, Template,
};

/// Collects everything that is wrong with one object.
#[derive(Default)]
pub(super) struct Faults(Vec<Problem>);

impl Faults {
    pub(super) fn invalid(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Problem::error(Reason::Invalid, path, message));
    }

    pub(super) fn require(&mut self, holds: bool, path: &str, message: &str) {
        if !holds {
            self.invalid(path, message);
        }
    }

    pub(super) fn duration(&mut self, path: &str, text: &DurationString) -> SignedDuration {
        parse_duration(&text.0).unwrap_or_else(|| {
            self.invalid(
                path,
                format!(
                    "{:?} is not a duration: write whole numbers with h, m, s or ms, such as 720h",
                    text.0
                ),
            );
            SignedDuration::ZERO
        })
    }

    pub(super) fn optional_duration(
        &mut self,
        path: &str,
        text: Option<&DurationString>,
    ) -> Option<SignedDuration> {
        text.map(|text| self.duration(path, text))
    }

    pub(super) fn namespaces(&mut self, path: &str, spec: &Namespaces) -> NamespaceRule {
        use NamespacesFrom::{List, Selector};
        self.require(
            (spec.from == Selector) == spec.selector.is_some(),
            &format!("{path}/selector"),
            "selector is required with from: Selector and forbidden otherwise",
        );
        self.require(
            (spec.from == List) == spec.names.is_some(),
            &format!("{path}/names"),
            "names is required with from: List and forbidden otherwise",
        );
        if let Some(selector) = &spec.selector {
            self.selector(&format!("{path}/selector"), selector);
        }
        NamespaceRule::admit(spec).unwrap_or_else(|message| {
            self.invalid(&format!("{path}/selector"), message);
            NamespaceRule {
                from: NamespacesFrom::None,
                names: Vec::new(),
                selector: None,
            }
        })
    }

    /// Refuses what the API server refuses in the selectors of its own kinds: `NotIn` without values would match every
    /// namespace.
    fn selector(&mut self, path: &str, selector: &LabelSelector) {
        let mut exact = selector.match_labels.iter().flatten();
        self.require(
            exact.all(|(key, _)| template::is_name(key)),
            &format!("{path}/matchLabels"),
            SELECTOR_KEYS,
        );
        let expressions = selector.match_expressions.iter().flatten();
        for (index, expression) in expressions.enumerate() {
            let needs_values = matches!(&*expression.operator, "In" | "NotIn");
            let has_values = expression.values.iter().flatten().next().is_some();
            self.require(
                needs_values == has_values,
                &format!("{path}/matchExpressions/{index}/values"),
                SELECTOR_VALUES,
            );
        }
    }

    pub(super) fn rotation(
        &mut self,
        path: &str,
        rotation: Option<&Rotation>,
    ) -> Option<Box<RotationRecord>> {
        let rotation = rotation?;
        let overlap = self.optional_duration(&format!("{path}/overlap"), rotation.overlap.as_ref());
        let renew_before = self.optional_duration(
            &format!("{path}/renewBefore"),
            rotation.renew_before.as_ref(),
        );
        let (rotation_path, path) = (path, format!("{path}/overlap"));
        self.require(
            overlap.is_none_or(|overlap| overlap <= SignedDuration::from_hours(2160)),
            &path,
            "overlap must be at most 2160h",
        );
        let quiet_period = self.optional_duration(
            &format!("{rotation_path}/quietPeriod"),
            rotation.quiet_period.as_ref(),
        );
        let range = SignedDuration::from_mins(1)..=SignedDuration::from_hours(2160);
        self.require(
            quiet_period.is_none_or(|quiet_period| range.contains(&quiet_period)),
            &format!("{rotation_path}/quietPeriod"),
            "quietPeriod must be between 1m and 2160h",
        );
        if let (Some(overlap), Some(renew_before)) = (overlap, renew_before) {
            self.require(
                overlap <= renew_before,
                &path,
                "overlap must be at most renewBefore: the previous token is not accepted after its own expiry",
            );
        }
        Some(Box::new(RotationRecord {
            policy: rotation.policy,
            renew_before,
            overlap,
            retire: rotation.retire,
            quiet_period,
            on_secret_deleted: rotation.on_secret_deleted,
            trigger: rotation
                .trigger
                .as_deref()
                .map(|request| bounded(request).into()),
        }))
    }

    /// Requires a lifetime of `10m` to `87600h` and a renewal before its end.
    pub(super) fn lifetime(
        &mut self,
        path: &str,
        lifetime: Option<SignedDuration>,
        rotation: Option<&RotationRecord>,
    ) {
        let Some(lifetime) = lifetime else { return };
        let range = SignedDuration::from_mins(10)..=SignedDuration::from_hours(87_600);
        self.require(
            range.contains(&lifetime),
            &format!("{path}/lifetime"),
            "lifetime must be between 10m and 87600h",
        );
        let renew_before = rotation.and_then(|rotation| rotation.renew_before);
        self.require(
            renew_before.is_none_or(|renew_before| renew_before < lifetime),
            &format!("{path}/rotation/renewBefore"),
            "renewBefore must be shorter than lifetime",
        );
    }

    pub(super) fn template(
        &mut self,
        path: &str,
        kind: OwnerKind,
        template: Option<&Template>,
        alias: Option<&str>,
    ) {
        let Some(template) = template else { return };
        for (field, message) in template::faults(kind, template, alias) {
            self.invalid(&format!("{path}/template/{field}"), message);
        }
    }

    pub(super) fn audiences(&mut self, path: &str, audiences: &[String]) {
        let are_normal = audiences
            .iter()
            .all(|audience| is_normal_audience(audience));
        self.require(are_normal, path, AUDIENCE_WORDS);
    }

    /// Checks the default name of a Secret: the owner's name and a suffix.
    pub(super) fn default_secret(&mut self, has_name: bool, default: &str, field: &str) {
        let message = format!(
            "the default name of its Secret would be longer than 253 characters: set {field}"
        );
        self.require(has_name || default.len() <= 253, "/metadata/name", &message);
    }

    pub(super) fn finish<T>(self, record: T) -> Result<T, Vec<Problem>> {
        if self.0.is_empty() {
            Ok(record)
        } else {
            Err(self.0)
        }
    }
}
