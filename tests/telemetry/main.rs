//! Metrics, alerts, dashboard and runbooks agree: the programs export every metric that the others name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod alerts;
mod names;
mod promtool;
#[path = "../support/mod.rs"]
#[allow(dead_code, unused_imports, reason = "other test programs use the rest")]
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use symbolon::directory::{Class, Reason};
use symbolon::reconcile::report::metrics::{OperatorMetrics, OperatorScrape};
use symbolon::server::metrics::{Metrics, Scrape};

use alerts::{ALERTS, rules};
use names::{described, families, in_text, is_known};
use support::{Dev, Folder};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const DASHBOARD: &str = "charts/symbolon/files/dashboard.json";
const RUNBOOKS: &str = "https://github.com/symbolon/symbolon/blob/main/docs/runbooks/";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every expression of the dashboard, and every query of its variables.
fn dashboard_expressions() -> Vec<String> {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().into_iter().flatten());
    let expressions = targets.map(|target| &target["expr"]);
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables.iter().map(|variable| &variable["definition"]);
    let all = expressions.chain(queries).filter_map(Value::as_str);
    all.map(str::to_owned).collect()
}

#[test]
fn alerts_dashboard_and_documentation_name_only_exported_metrics() {
    let mut texts = dashboard_expressions();
    assert!(texts.len() > 40, "the dashboard has too few expressions");
    texts.extend(rules().iter().map(|rule| rule.expr.clone()));
    for folder in ["docs", "docs/operations", "docs/runbooks"] {
        for entry in fs::read_dir(Path::new(ROOT).join(folder)).unwrap() {
            let page = entry.unwrap().path();
            if page.is_file() {
                texts.push(fs::read_to_string(page).unwrap());
            }
        }
    }
    for text in &texts {
        for name in in_text(text) {
            assert!(is_known(&name), "no program exports {name}: {text}");
        }
    }
}

#[test]
fn every_label_in_an_expression_belongs_to_the_metric_or_the_target() {
    let expressions = rules().into_iter().map(|rule| rule.expr);
    for expression in expressions.chain(dashboard_expressions()) {
        for (metric, label) in names::selected(&expression) {
            let described = described();
            let found = described.iter().find(|it| names::is_of(&metric, &it.name));
            let labels = found.unwrap_or_else(|| panic!("{metric}")).labels;
            let of_target = ["namespace", "job", "pod", "instance", "le"];
            assert!(
                labels.contains(&&*label) || of_target.contains(&&*label),
                "{metric} has no label {label}: {expression}"
            );
        }
    }
}

/// A standby's values for its queue and for objects do not count.
#[test]
fn expressions_read_leader_metrics_only_from_the_leader() {
    const OF_LEADERS: [&str; 4] = [
        "symbolon_operator_queue_",
        "symbolon_operator_objects",
        "symbolon_operator_identity_",
        "symbolon_operator_key_rotation_",
    ];
    let expressions = rules().into_iter().map(|rule| rule.expr);
    for expression in expressions.chain(dashboard_expressions()) {
        if OF_LEADERS.iter().any(|it| expression.contains(it)) {
            let joins = expression.contains("and on (instance) symbolon_operator_leading == 1");
            assert!(joins, "{expression}");
        }
    }
}

/// A counter that first appears with its first event has not increased in that scrape, so an alert would miss the
/// event.
#[test]
fn counters_that_alerts_select_by_value_exist_before_their_first_event() {
    let server = Metrics::default().encode(&Scrape::default()).unwrap();
    let operator = OperatorMetrics::default();
    let operator = operator.encode(&OperatorScrape::default()).unwrap();
    let initial = server + &operator;
    let mut asked = 0;
    for rule in rules() {
        for (metric, matcher) in names::matchers(&rule.expr) {
            let (label, value) = matcher;
            if metric.ends_with("_total") && !value.contains('|') {
                asked += 1;
                let pair = format!("{label}=\"{value}\"");
                let found = initial
                    .lines()
                    .any(|line| line.starts_with(&metric) && line.contains(&pair));
                assert!(found, "{}: {metric} with {pair}", rule.alert);
            }
        }
    }
    assert!(
        asked >= 4,
        "the alerts about events and errors select counters by value"
    );
}

/// A scrape of a running server has exactly the described metrics and labels.
#[test]
fn a_running_server_exports_exactly_the_described_metrics() {
    let folder = Folder::copy_of("examples/quickstart");
    let dev = Dev::start(&folder);
    let token = folder.secret("shop", "nightly-report-token", "token")["token"].clone();
    assert_eq!(dev.check("api", &token), 200);
    let client = support::Client::of(&folder.secret("shop", "backend-client", "client-secret"));
    client.token();
    assert_eq!(client.ask(&[("scope", "nobody.has.it")]).0, 400);
    let mut stranger = client.clone();
    stranger.id = "shop.nobody".to_owned();
    assert_eq!(stranger.ask(&[]).0, 401);
    support::introspect(&client, &token);
    // Tokens are counted at most once a minute, so this scrape counts the token before it is revoked.
    dev.get_health("/metrics").unwrap();
    assert_eq!(client.revoke(&token), 200);
    let (_, text) = dev.get_health("/metrics").unwrap();
    let exported = families(&text);
    let metrics = Metrics::default();
    for metric in metrics.described() {
        let labels = exported.get(&metric.name);
        let labels = labels.unwrap_or_else(|| panic!("{} is not exported:\n{text}", metric.name));
        let described: BTreeSet<&str> = metric.labels.iter().copied().collect();
        let labels: BTreeSet<&str> = labels.iter().map(String::as_str).collect();
        assert_eq!(labels, described, "{}", metric.name);
    }
    assert_eq!(exported.len(), metrics.described().len(), "{text}");
    promtool::check_metrics(&text);
}

/// The dashboard needs no plugin and works with any Prometheus data source.
#[test]
fn the_dashboard_is_self_contained() {
    let dashboard: Value = serde_json::from_str(&read(DASHBOARD)).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(
            ids.insert(panel["id"].as_u64().unwrap()),
            "two panels have the same id"
        );
        let kind = panel["type"].as_str().unwrap();
        assert!(["row", "timeseries", "stat"].contains(&kind), "{kind}");
        if kind != "row" {
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel:#}");
        }
    }
    let rows = panels.iter().filter(|panel| panel["type"] == "row");
    let rows: Vec<_> = rows.map(|row| row["title"].as_str().unwrap()).collect();
    assert_eq!(rows, ["Tokens and objects", "Server", "Operator"]);
}

#[test]
fn every_alert_has_a_severity_a_text_and_a_runbook_and_every_runbook_an_alert() {
    let mut pages: BTreeSet<PathBuf> = fs::read_dir(Path::new(ROOT).join("docs/runbooks"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        // The other runbooks are about tasks, not about alerts.
        .filter(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("Symbolon"))
        })
        .collect();
    let index = read("docs/runbooks/README.md");
    for rule in rules() {
        let name = &rule.alert;
        let severity = rule.labels["severity"].as_str();
        assert!(["critical", "warning"].contains(&severity), "{name}");
        for words in ["summary", "description"] {
            assert!(rule.annotations[words].len() > 20, "{name}: {words}");
        }
        assert_eq!(
            rule.annotations["runbook_url"],
            format!("{RUNBOOKS}{name}.md")
        );
        let page = Path::new(ROOT).join(format!("docs/runbooks/{name}.md"));
        assert!(pages.remove(&page), "{name} has no page");
        let text = fs::read_to_string(&page).unwrap();
        for part in [
            &format!("# {name}\n\nSeverity: {severity}\n"),
            "\n## Meaning\n",
            "\n## Impact\n",
            "\n## Diagnosis\n",
            "\n## What to do\n",
        ] {
            assert!(text.contains(part), "{name}: {part}");
        }
        let row = format!("| [{name}]({name}.md) | {severity} |");
        assert!(index.contains(&row), "docs/runbooks/README.md: {row}");
    }
    assert!(pages.is_empty(), "runbooks without an alert: {pages:?}");
}

/// A reader of a runbook searches the logs for the quoted words.
#[test]
fn every_message_that_a_runbook_quotes_is_in_the_source() {
    let source = source(&Path::new(ROOT).join("src"));
    // A long string literal continues on the next line after a backslash.
    let source = words(&source.replace("\\\n", ""));
    let mut count = 0;
    for entry in fs::read_dir(Path::new(ROOT).join("docs/runbooks")).unwrap() {
        let page = entry.unwrap().path();
        let text = fs::read_to_string(&page).unwrap();
        // Every second part is between backticks. Commands contain other characters, or begin with kubectl.
        for quoted in text.split('`').skip(1).step_by(2).map(words) {
            let is_words = quoted
                .chars()
                .all(|c| c.is_ascii_alphabetic() || " ,".contains(c));
            if is_words && quoted.matches(' ').count() >= 3 && !quoted.starts_with("kubectl") {
                count += 1;
                assert!(source.contains(&quoted), "{}: {quoted}", page.display());
            }
        }
    }
    assert!(count >= 6, "{count}");
}

/// The text with single spaces between words.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The concatenated Rust files below a folder.
fn source(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let texts = paths.map(|path| match path.extension() {
        _ if path.is_dir() => source(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(&path).unwrap(),
        _ => String::new(),
    });
    texts.collect()
}

/// An object that needs an edit raises the alert for every such reason.
#[test]
fn every_reason_that_needs_an_edit_raises_symbolon_objects_stalled() {
    let rules = rules();
    let rule = rules.iter().find(|it| it.alert == "SymbolonObjectsStalled");
    let expression = &rule.unwrap().expr;
    let asked = expression.split('"').nth(1).unwrap();
    let asked: BTreeSet<&str> = asked.split('|').collect();
    for reason in Reason::ALL {
        let needs_edit = reason.class() == Class::NeedsEdit;
        assert_eq!(asked.contains(reason.as_str()), needs_edit, "{reason}");
    }
    let in_dashboard = dashboard_expressions();
    let same = in_dashboard
        .iter()
        .any(|it| it.contains(&format!("\"{}\"", expression.split('"').nth(1).unwrap())));
    assert!(same, "the dashboard counts the same reasons as the alert");
}

#[test]
fn promtool_accepts_the_rules() {
    promtool::check_rules();
}

#[test]
fn every_alert_fires_and_resolves() {
    let tested: BTreeSet<&str> = ALERTS.iter().map(|alert| alert.name).collect();
    let rules = rules();
    let all: BTreeSet<&str> = rules.iter().map(|rule| &*rule.alert).collect();
    assert_eq!(tested, all);
    promtool::test_rules(&alerts::unit_tests());
}

#[test]
fn a_healthy_installation_raises_no_alert() {
    promtool::test_rules(&alerts::healthy());
}

#[test]
fn an_operators_metrics_have_its_own_prefix() {
    let (server, operator) = (Metrics::default(), OperatorMetrics::default());
    let of_operator = |name: &str| name.starts_with("symbolon_operator_");
    assert!(operator.described().iter().all(|it| of_operator(&it.name)));
    assert!(!server.described().iter().any(|it| of_operator(&it.name)));
}
