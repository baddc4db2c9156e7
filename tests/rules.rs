//! Our own validation judges manifests as the API server does: these tests and `tests/cluster/crds.rs` use the same
//! fixtures.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod fixtures;

use std::{collections::BTreeSet, fs, path::Path};

use fixtures::{
    Refusal, full, name, pointer, refusals, root_schema, schema_faults, spec_schema, unset_fields,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray,
};
use proptest::prelude::*;
use proptest::string::string_regex;
use serde::Deserialize as _;
use serde_json::{Value, json};
use symbolon::directory::admit::{self, transition};
use symbolon::directory::{Problem, Settings, Severity};
use symbolon::pages::{ClientUri, Theme, ThemeFields};
use symbolon::resources::{Kind, LOGO_FORM, REDIRECT_URI_FORM, crd};

fn crds() -> Vec<CustomResourceDefinition> {
    Kind::ALL.map(crd).into()
}

fn kind(object: &Value) -> Kind {
    Kind::from_name(object["kind"].as_str().unwrap()).unwrap()
}

/// The errors of one object, judged alone.
fn errors(object: &Value) -> Vec<Problem> {
    let mut object = object.clone();
    object["metadata"]["namespace"] = json!("team");
    let mut problems = admit::problems(kind(&object), &object, &Settings::default());
    problems.retain(|problem| problem.severity == Severity::Error);
    problems
}

fn for_update(before: &Value, after: &Value) -> Vec<Problem> {
    transition::problems(kind(after), before, after)
}

fn described(problems: &[Problem]) -> Vec<(&str, &str)> {
    problems
        .iter()
        .map(|problem| (problem.path.as_str(), problem.message.as_str()))
        .collect()
}

/// Reports the failures of all cases at once.
fn assert_none(wrong: &[String]) {
    assert!(
        wrong.is_empty(),
        "{} wrong\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn an_object_that_breaks_a_rule_is_refused_with_the_message_of_the_rule() {
    let refusals = refusals();
    assert!(!refusals.is_empty());
    let judged = |refusal: &Refusal| {
        let why = judge(refusal).err()?;
        Some(format!("{}: {why}", refusal.file))
    };
    assert_none(&refusals.iter().filter_map(judged).collect::<Vec<_>>());
}

fn judge(refusal: &Refusal) -> Result<(), String> {
    for (n, object) in refusal.accepted.iter().enumerate() {
        let before = refusal.accepted[..n]
            .iter()
            .rfind(|other| name(other) == name(object));
        let mut problems = errors(object);
        problems.extend(
            before
                .into_iter()
                .flat_map(|before| for_update(before, object)),
        );
        if !problems.is_empty() {
            return Err(format!(
                "{} should be accepted: {:?}",
                name(object),
                described(&problems)
            ));
        }
    }
    let (alone, update) = match refusal.before() {
        Some(before) => (
            errors(&refusal.refused),
            for_update(before, &refusal.refused),
        ),
        None => (Vec::new(), errors(&refusal.refused)),
    };
    // For a rule of the whole object, the API server reports no field.
    let at = if refusal.at.is_empty() {
        "/metadata/name".to_owned()
    } else {
        pointer(&refusal.at)
    };
    // Our own check knows the value, and may add what to write instead of it.
    let says = |message: &str| {
        let more = message.strip_prefix(refusal.says.as_str());
        more.is_some_and(|more| more.is_empty() || more.starts_with(", not `"))
    };
    if let ([], [(path, message)]) = (&alone[..], &described(&update)[..])
        && *path == at
        && says(message)
    {
        return Ok(());
    }
    Err(format!(
        "expected {at}: {}, not {:?} {:?}",
        refusal.says,
        described(&alone),
        described(&update)
    ))
}

#[test]
fn every_field_is_accepted() {
    for kind in Kind::ALL {
        for object in full(kind.plural()) {
            assert_eq!(errors(&object), [], "{kind} {}", name(&object));
        }
    }
}

#[test]
fn a_field_that_breaks_the_schema_is_refused_by_its_path() {
    let mut wrong = Vec::new();
    for kind in Kind::ALL {
        let definition = crd(kind);
        for fault in schema_faults(spec_schema(&definition), &full(kind.plural())) {
            let problems = errors(&fault.object);
            if !problems
                .iter()
                .any(|problem| problem.path == pointer(&fault.at))
            {
                wrong.push(format!(
                    "{kind} {} {:?}: {:?}",
                    fault.at,
                    fault.keyword,
                    described(&problems)
                ));
            }
        }
    }
    assert_none(&wrong);
}

/// Readers copy these manifests.
#[test]
fn every_manifest_of_the_documentation_is_accepted() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = ["", "docs", "docs/operations", "docs/runbooks"];
    let mut wrong = Vec::new();
    let mut count = 0;
    for folder in folders {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let page = entry.unwrap().path();
            if page.extension().is_none_or(|it| it != "md") {
                continue;
            }
            for object in manifests(&fs::read_to_string(&page).unwrap()) {
                count += 1;
                let problems = errors(&object);
                if !problems.is_empty() {
                    let found = described(&problems);
                    wrong.push(format!("{}: {found:?}", page.display()));
                }
            }
        }
    }
    assert!(count >= 8, "{count}");
    assert_none(&wrong);
}

/// The objects of our kinds in the YAML blocks of a page.
fn manifests(page: &str) -> Vec<Value> {
    let blocks = page.split("\n```yaml\n").skip(1);
    let blocks = blocks.map(|rest| rest.split_once("\n```").unwrap().0);
    blocks
        .flat_map(serde_yaml::Deserializer::from_str)
        .map(|document| Value::deserialize(document).unwrap())
        .filter(|object| object["apiVersion"] == "symbolon.dev/v1alpha1")
        .collect()
}

// --- every rule and every field is tested ------------------------------------------------------

#[test]
fn every_rule_has_a_refused_fixture() {
    let tested: BTreeSet<_> = refusals()
        .into_iter()
        .map(|refusal| (refusal.plural, refusal.at, refusal.says))
        .collect();
    let rules: BTreeSet<_> = crds().iter().flat_map(rules).collect();
    assert!(!rules.is_empty());
    let untested: Vec<_> = rules.difference(&tested).collect();
    let unknown: Vec<_> = tested.difference(&rules).collect();
    assert!(
        untested.is_empty(),
        "no file in tests/fixtures/refused for {untested:#?}"
    );
    assert!(
        unknown.is_empty(),
        "files in tests/fixtures/refused for rules that are in no definition: {unknown:#?}"
    );
}

/// The plural, field and message of every rule in `x-kubernetes-validations`.
fn rules(crd: &CustomResourceDefinition) -> Vec<(String, String, String)> {
    let mut found = Vec::new();
    collect_rules(root_schema(crd), "", &mut |at, message| {
        found.push((crd.spec.names.plural.clone(), at, message));
    });
    found
}

fn collect_rules(schema: &JSONSchemaProps, at: &str, each: &mut impl FnMut(String, String)) {
    for rule in schema.x_kubernetes_validations.iter().flatten() {
        let message = rule
            .message
            .clone()
            .unwrap_or_else(|| panic!("{at}: a rule without a message: {}", rule.rule));
        each(
            format!("{at}{}", rule.field_path.as_deref().unwrap_or(""))
                .trim_start_matches('.')
                .to_owned(),
            message,
        );
    }
    for (name, property) in schema.properties.iter().flatten() {
        collect_rules(property, &format!("{at}.{name}"), each);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect_rules(items, &format!("{at}[0]"), each);
    }
}

/// `kubectl explain` shows the descriptions.
#[test]
fn every_kind_and_every_field_has_a_description_of_its_own() {
    let mut wrong = Vec::new();
    for crd in crds() {
        let kind = crd.spec.names.kind.as_str();
        let about = root_schema(&crd).description.clone().unwrap_or_default();
        if about.contains("Auto-generated") || about.split(' ').count() < 6 {
            wrong.push(format!("{kind}: {about:?}"));
        }
        collect_descriptions(root_schema(&crd), kind, &mut wrong);
    }
    assert_none(&wrong);
}

/// Adds the fields whose description is missing, repeats their name, or says nothing about them.
fn collect_descriptions(schema: &JSONSchemaProps, at: &str, wrong: &mut Vec<String>) {
    for (name, property) in schema.properties.iter().flatten() {
        let path = format!("{at}.{name}");
        let about = property.description.as_deref().unwrap_or_default();
        let words = |text: &str| {
            let letters = text.chars().filter(|c| c.is_alphanumeric());
            letters.collect::<String>().to_lowercase()
        };
        let is_said = about.split(' ').count() >= 3
            && words(about) != words(name)
            && about != "Name of the object."
            && about.ends_with(['.', ')']);
        if !is_said {
            wrong.push(format!("{path}: {about:?}"));
        }
        collect_descriptions(property, &path, wrong);
    }
    if let Some(JSONSchemaPropsOrArray::Schema(items)) = &schema.items {
        collect_descriptions(items, &format!("{at}[]"), wrong);
    }
}

// --- pages -------------------------------------------------------------------------------------

/// Returns an Identity with this theme.
fn themed(theme: &Value) -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": "Identity", "metadata": {"name": "main"},
        "spec": {"issuer": "https://id.example.com", "theme": theme},
    })
}

fn is_admitted(theme: &Value) -> bool {
    errors(&themed(theme)).is_empty()
}

fn is_shown(name: &str, logo: Option<&str>, accent: Option<&str>) -> bool {
    let fields = ThemeFields {
        name,
        logo,
        accent,
        accent_dark: accent,
    };
    Theme::new(fields).is_ok()
}

/// Strings of a pattern that is one group between anchors.
fn matching(form: &str) -> impl Strategy<Value = String> + use<> {
    let inner = form.strip_prefix('^').unwrap().strip_suffix('$').unwrap();
    string_regex(inner).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_pages_show_every_logo_that_is_admitted(logo in matching(LOGO_FORM)) {
        let is_admitted = is_admitted(&json!({"logo": logo}));
        prop_assert_eq!(is_admitted, is_shown("a", Some(&logo), None), "{}", logo);
    }

    #[test]
    fn the_pages_show_every_name_that_is_admitted(name in any::<String>()) {
        if is_admitted(&json!({"name": name})) {
            prop_assert!(is_shown(&name, None, None), "{:?}", name);
        }
    }

    #[test]
    fn the_pages_lead_to_every_uri_that_is_admitted(uri in matching(REDIRECT_URI_FORM)) {
        prop_assert!(ClientUri::new(&uri).is_some(), "{}", uri);
    }
}

#[test]
fn the_pages_and_admission_agree_about_odd_themes() {
    for logo in [
        "https://cdn.example.com:8443/a/logo.svg?v=1",
        "data:image/png;base64,iVBORw0KGgo=",
        "http://cdn.example.com/logo.svg",
        "https://localhost/logo.svg",
        "https://localhost.example.com/logo.svg",
        "https://cdn.example.com;script-src *",
        "data:text/html;base64,PGI+",
        "data:image/svg+xml,<svg/>",
        "data:image/png;base64,a\"b",
        "data:image/png;base64,",
        "com.example:/logo",
        "",
    ] {
        let is_admitted = is_admitted(&json!({"logo": logo}));
        assert_eq!(is_admitted, is_shown("a", Some(logo), None), "{logo}");
    }
    for accent in [
        "#1d4ed8",
        "#1D4ED8",
        "#fff",
        "1d4ed8",
        "#fff}*{color:red",
        "",
    ] {
        let is_admitted =
            is_admitted(&json!({"colours": {"accent": accent, "accentDark": accent}}));
        assert_eq!(is_admitted, is_shown("a", None, Some(accent)), "{accent}");
    }
    let long = |bytes: usize| format!("data:image/png;base64,{}", "AAAA".repeat(bytes / 4));
    for (length, is_good) in [(10_216, true), (10_220, false)] {
        let logo = long(length);
        assert_eq!(
            is_admitted(&json!({"logo": logo})),
            is_good,
            "{}",
            logo.len()
        );
        assert_eq!(is_shown("a", Some(&logo), None), is_good, "{}", logo.len());
    }
}

#[test]
fn the_full_objects_set_every_field() {
    for kind in Kind::ALL {
        assert_eq!(
            unset_fields(spec_schema(&crd(kind)), &full(kind.plural())),
            [""; 0],
            "tests/fixtures/full/{}.yaml",
            kind.plural()
        );
    }
}
