//! The alerts of the chart, and the series with which each one fires and resolves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::Deserialize;

use super::promtool::rules_file;

/// An alerting rule.
#[derive(Deserialize)]
pub(crate) struct Rule {
    pub(crate) alert: String,
    pub(crate) expr: String,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// Every rule of the chart's file.
pub(crate) fn rules() -> Vec<Rule> {
    let text = std::fs::read_to_string(rules_file()).unwrap();
    let groups: Groups = serde_yaml::from_str(&text).unwrap();
    groups.groups.into_iter().flat_map(|it| it.rules).collect()
}

/// A test of one alert: series with a sample per minute, in promtool's notation, and when the alert fires.
pub(crate) struct Alert {
    pub(crate) name: &'static str,
    series: &'static [(&'static str, &'static str)],
    /// Minutes from the start at which the alert does not fire yet, fires, and has resolved.
    calm: u32,
    fires: u32,
    resolved: u32,
}

const fn alert(
    name: &'static str,
    [calm, fires, resolved]: [u32; 3],
    series: &'static [(&'static str, &'static str)],
) -> Alert {
    Alert {
        name,
        series,
        calm,
        fires,
        resolved,
    }
}

const LEADING: &str = r#"symbolon_operator_leading{namespace="one",job="symbolon",instance="a"}"#;
const STANDBY: &str = r#"symbolon_operator_leading{namespace="one",job="symbolon",instance="b"}"#;
/// The leader of another installation, which serves other namespaces.
const ELSEWHERE: &str = r#"symbolon_operator_leading{namespace="two",job="symbolon",instance="c"}"#;

pub(crate) const ALERTS: &[Alert] = &[
    alert(
        "SymbolonOperatorDown",
        [5, 15, 40],
        &[(LEADING, "_x30 1x30")],
    ),
    alert(
        "SymbolonOperatorNoLeader",
        [4, 8, 40],
        &[
            (LEADING, "0x30 1x30"),
            (STANDBY, "0x60"),
            (ELSEWHERE, "1x60"),
        ],
    ),
    alert(
        "SymbolonOperatorTwoLeaders",
        [4, 8, 40],
        &[
            (LEADING, "1x60"),
            (STANDBY, "1x30 0x30"),
            (ELSEWHERE, "1x60"),
        ],
    ),
    alert(
        "SymbolonReconcileErrors",
        [10, 30, 80],
        &[
            (
                r#"symbolon_operator_passes_total{kind="Scope",outcome="error"}"#,
                "0+60x40 2400x60",
            ),
            (
                r#"symbolon_operator_passes_total{kind="Scope",outcome="ok"}"#,
                "0+60x100",
            ),
        ],
    ),
    alert(
        "SymbolonQueueStuck",
        [5, 15, 40],
        &[
            (LEADING, "1x60"),
            (
                r#"symbolon_operator_queue_oldest_seconds{instance="a"}"#,
                "300x30 0x30",
            ),
        ],
    ),
    alert(
        "SymbolonOperatorWatchStale",
        [3, 10, 40],
        &[(
            r#"symbolon_operator_watch_age_seconds{instance="a"}"#,
            "700x30 5x30",
        )],
    ),
    alert(
        "SymbolonObjectsStalled",
        [20, 40, 80],
        &[
            (LEADING, "1x100"),
            (
                r#"symbolon_operator_objects{instance="a",kind="OAuthClient",reason="SecretConflict"}"#,
                "2x60 _x40",
            ),
        ],
    ),
    alert(
        "SymbolonMintLimitReached",
        [9, 30, 120],
        &[(
            r#"symbolon_operator_events_total{reason="MintLimitReached"}"#,
            "0x10 1x110",
        )],
    ),
    alert(
        "SymbolonSweepPaused",
        [9, 12, 120],
        &[(
            r#"symbolon_operator_events_total{reason="SweepPaused"}"#,
            "0x10 1x110",
        )],
    ),
    alert(
        "SymbolonKubernetesApiErrors",
        [10, 30, 80],
        &[
            (
                r#"symbolon_operator_kube_requests_total{method="PUT",outcome="refused"}"#,
                "0+60x40 2400x60",
            ),
            (
                r#"symbolon_operator_kube_requests_total{method="GET",outcome="ok"}"#,
                "0+600x100",
            ),
        ],
    ),
    alert(
        "SymbolonNamespacesRefused",
        [10, 20, 50],
        &[
            (
                r#"symbolon_operator_refused_namespaces{instance="a"}"#,
                "2x40 0x30",
            ),
            (
                r#"symbolon_operator_refused_namespaces{instance="b"}"#,
                "0x70",
            ),
        ],
    ),
    // No server has a series: its pods end before the first scrape.
    alert(
        "SymbolonIdentityDown",
        [4, 10, 40],
        &[
            (LEADING, "1x60"),
            (
                r#"symbolon_operator_identity_ready_pods{instance="a",identity="platform/main"}"#,
                "0x30 2x30",
            ),
            (
                r#"symbolon_operator_identity_wanted_pods{instance="a",identity="platform/main"}"#,
                "2x60",
            ),
        ],
    ),
    alert(
        "SymbolonKeyRotationOverdue",
        [80, 100, 130],
        &[
            (LEADING, "1x140"),
            (
                r#"symbolon_operator_key_rotation_seconds{instance="a",identity="platform/main"}"#,
                "0-60x120 7776000-60x20",
            ),
        ],
    ),
    alert(
        "SymbolonServerNotReady",
        [5, 15, 40],
        &[(
            r#"symbolon_ready{namespace="platform",job="main",pod="a"}"#,
            "0x30 1x30",
        )],
    ),
    alert(
        "SymbolonNoServerReady",
        [1, 5, 40],
        &[
            (
                r#"symbolon_ready{namespace="platform",job="main",pod="a"}"#,
                "0x60",
            ),
            (
                r#"symbolon_ready{namespace="platform",job="main",pod="b"}"#,
                "0x30 1x30",
            ),
        ],
    ),
    alert(
        "SymbolonServerNamespacesRefused",
        [4, 10, 50],
        &[
            (
                r#"symbolon_refused_namespaces{namespace="platform",job="main",pod="a"}"#,
                "1x40 0x30",
            ),
            (
                r#"symbolon_refused_namespaces{namespace="platform",job="main",pod="b"}"#,
                "0x70",
            ),
        ],
    ),
    alert(
        "SymbolonSnapshotStale",
        [3, 10, 40],
        &[(r#"symbolon_snapshot_age_seconds{pod="a"}"#, "4000x30 5x30")],
    ),
    alert(
        "SymbolonServerErrors",
        [8, 20, 60],
        &[
            (
                r#"symbolon_requests_total{namespace="platform",job="main",endpoint="token",status="5xx"}"#,
                "0+60x40 2400x40",
            ),
            (
                r#"symbolon_requests_total{namespace="platform",job="main",endpoint="token",status="2xx"}"#,
                "0+600x80",
            ),
        ],
    ),
    alert(
        "SymbolonServerSlow",
        [10, 25, 60],
        &[
            (
                r#"symbolon_request_duration_seconds_bucket{namespace="platform",job="main",endpoint="token",le="0.25"}"#,
                "0+60x80",
            ),
            (
                r#"symbolon_request_duration_seconds_bucket{namespace="platform",job="main",endpoint="token",le="1"}"#,
                "0+120x40 4860+60x40",
            ),
            (
                r#"symbolon_request_duration_seconds_bucket{namespace="platform",job="main",endpoint="token",le="+Inf"}"#,
                "0+120x40 4860+60x40",
            ),
        ],
    ),
    alert(
        "SymbolonSheddingLoad",
        [8, 20, 60],
        &[(
            r#"symbolon_shed_total{namespace="platform",job="main",cause="requests"}"#,
            "0+60x40 2400x40",
        )],
    ),
    alert(
        "SymbolonStoreNotWritable",
        [3, 10, 40],
        &[
            (r#"symbolon_store_writable{pod="a"}"#, "0x30 1x30"),
            (r#"symbolon_store_size_bytes{pod="a"}"#, "4096x60"),
            (r#"symbolon_store_writable{pod="b"}"#, "0x60"),
            (r#"symbolon_store_size_bytes{pod="b"}"#, "0x60"),
            (r#"symbolon_store_errors_total{pod="b",cause="io"}"#, "0x60"),
        ],
    ),
    // A database has no size that a server knows.
    alert(
        "SymbolonStoreNotWritable",
        [4, 12, 45],
        &[
            (r#"symbolon_store_writable{pod="a"}"#, "0x30 1x30"),
            (r#"symbolon_store_size_bytes{pod="a"}"#, "0x60"),
            (
                r#"symbolon_store_errors_total{pod="a",cause="io"}"#,
                "0+12x30 360x30",
            ),
        ],
    ),
    alert(
        "SymbolonClientAuthFailures",
        [10, 30, 80],
        &[(
            r#"symbolon_client_auth_failures_total{namespace="platform",job="main",reason="unknown_token"}"#,
            "0+120x40 4800x60",
        )],
    ),
    alert(
        "SymbolonTokensNotRenewed",
        [50, 70, 120],
        &[(
            r#"symbolon_tokens{namespace="platform",job="main",kind="ServiceAccessToken",state="expiring"}"#,
            "1x100 0x40",
        )],
    ),
    alert(
        "SymbolonTokensExpired",
        [10, 20, 60],
        &[(
            r#"symbolon_tokens{namespace="platform",job="main",kind="ServiceAccessToken",state="expired"}"#,
            "1x40 0x40",
        )],
    ),
    alert(
        "SymbolonSigningKeysMissing",
        [3, 10, 60],
        &[(
            r#"symbolon_signing_keys{pod="a",phase="active"}"#,
            "0x40 1x40",
        )],
    ),
];

/// Series of healthy operators and servers: a scrape per minute for four hours.
const HEALTHY: &[(&str, &str)] = &[
    (LEADING, "1x240"),
    (STANDBY, "0x240"),
    (ELSEWHERE, "1x240"),
    (
        r#"symbolon_operator_queue_oldest_seconds{instance="a"}"#,
        "1x240",
    ),
    // A standby's queue does not count.
    (
        r#"symbolon_operator_queue_oldest_seconds{instance="b"}"#,
        "9000x240",
    ),
    (
        r#"symbolon_operator_watch_age_seconds{instance="a"}"#,
        "30x240",
    ),
    (
        r#"symbolon_operator_refused_namespaces{instance="a"}"#,
        "0x240",
    ),
    (
        r#"symbolon_operator_identity_ready_pods{instance="a",identity="platform/main"}"#,
        "1x240",
    ),
    (
        r#"symbolon_operator_identity_wanted_pods{instance="a",identity="platform/main"}"#,
        "2x240",
    ),
    // This Identity wants no pods.
    (
        r#"symbolon_operator_identity_ready_pods{instance="a",identity="platform/asleep"}"#,
        "0x240",
    ),
    (
        r#"symbolon_operator_identity_wanted_pods{instance="a",identity="platform/asleep"}"#,
        "0x240",
    ),
    // A former leader's last values do not count.
    (
        r#"symbolon_operator_identity_ready_pods{instance="b",identity="platform/main"}"#,
        "0x240",
    ),
    (
        r#"symbolon_operator_identity_wanted_pods{instance="b",identity="platform/main"}"#,
        "2x240",
    ),
    // The rotation comes a little after it is due.
    (
        r#"symbolon_operator_key_rotation_seconds{instance="a",identity="platform/main"}"#,
        "6000-60x110 7776000-60x130",
    ),
    // A former leader's last values do not count.
    (
        r#"symbolon_operator_key_rotation_seconds{instance="b",identity="platform/main"}"#,
        "-9000-60x240",
    ),
    (
        r#"symbolon_operator_passes_total{kind="Scope",outcome="error"}"#,
        "0+1x240",
    ),
    (
        r#"symbolon_operator_passes_total{kind="Scope",outcome="ok"}"#,
        "0+60x240",
    ),
    (
        r#"symbolon_operator_objects{instance="a",kind="Scope",reason="Ready"}"#,
        "50x240",
    ),
    (
        r#"symbolon_operator_objects{instance="a",kind="Scope",reason="ScopeNotGranted"}"#,
        "1x240",
    ),
    (
        r#"symbolon_operator_events_total{reason="Issued"}"#,
        "0+5x240",
    ),
    (
        r#"symbolon_operator_kube_requests_total{method="GET",outcome="ok"}"#,
        "0+600x240",
    ),
    (
        r#"symbolon_operator_kube_requests_total{method="PUT",outcome="conflict"}"#,
        "0+60x240",
    ),
    (
        r#"symbolon_ready{namespace="platform",job="main",pod="a"}"#,
        "1x240",
    ),
    (
        r#"symbolon_refused_namespaces{namespace="platform",job="main",pod="a"}"#,
        "0x240",
    ),
    (r#"symbolon_snapshot_age_seconds{pod="a"}"#, "30x240"),
    (
        r#"symbolon_requests_total{namespace="platform",job="main",endpoint="token",status="2xx"}"#,
        "0+600x240",
    ),
    (
        r#"symbolon_requests_total{namespace="platform",job="main",endpoint="token",status="4xx"}"#,
        "0+60x240",
    ),
    (
        r#"symbolon_shed_total{namespace="platform",job="main",cause="requests"}"#,
        "0x240",
    ),
    (
        r#"symbolon_tokens{namespace="platform",job="main",kind="ServiceAccessToken",state="live"}"#,
        "50x240",
    ),
    (
        r#"symbolon_tokens{namespace="platform",job="main",kind="ServiceAccessToken",state="expiring"}"#,
        "0x240",
    ),
    (r#"symbolon_signing_keys{pod="a",phase="active"}"#, "1x240"),
    (
        r#"symbolon_signing_key_active_seconds{pod="a"}"#,
        // rotateEvery may be a year.
        "20000000+60x240",
    ),
];

/// The tests of all alerts, for `promtool test rules`.
pub(crate) fn unit_tests() -> String {
    let mut text = head();
    for alert in ALERTS {
        test(&mut text, alert.series);
        let expected = [
            (alert.calm, false),
            (alert.fires, true),
            (alert.resolved, false),
        ];
        for (minute, fires) in expected {
            let expression = format!(
                r#"count(ALERTS{{alertname="{}",alertstate="firing"}})"#,
                alert.name
            );
            ask(&mut text, &expression, minute, fires);
        }
    }
    text
}

/// A test that no alert fires at any hour of the healthy series.
pub(crate) fn healthy() -> String {
    let mut text = head();
    test(&mut text, HEALTHY);
    for hour in 1..=4 {
        ask(
            &mut text,
            r#"count(ALERTS{alertstate="firing"})"#,
            hour * 60 - 1,
            false,
        );
    }
    text
}

fn head() -> String {
    format!(
        "rule_files: ['{}']\nevaluation_interval: 1m\ntests:\n",
        rules_file().display()
    )
}

fn test(text: &mut String, series: &[(&str, &str)]) {
    writeln!(text, "- interval: 1m\n  input_series:").unwrap();
    for (series, values) in series {
        writeln!(text, "  - series: '{series}'\n    values: '{values}'").unwrap();
    }
    writeln!(text, "  promql_expr_test:").unwrap();
}

fn ask(text: &mut String, expression: &str, minute: u32, is_one: bool) {
    let samples = if is_one {
        "[{labels: '{}', value: 1}]"
    } else {
        "[]"
    };
    writeln!(
        text,
        "  - expr: '{expression}'\n    eval_time: {minute}m\n    exp_samples: {samples}"
    )
    .unwrap();
}
