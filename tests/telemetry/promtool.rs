//! Runs promtool, Prometheus' own validator of rules and metrics.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;

const RULES: &str = "charts/symbolon/files/alerts.yaml";
const NEEDED: &str = "the tests of alerts need promtool, a part of Prometheus: put it on PATH, or set \
                      SYMBOLON_PROMTOOL to its path";

/// The rules of the chart.
pub(crate) fn rules_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(RULES)
}

/// The path of promtool: from PATH, or downloaded into the cache. It is looked up once per run.
fn program() -> &'static Path {
    static PROGRAM: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci/promtool");
        let told = Command::new(script).stderr(Stdio::inherit()).output();
        let told = told.unwrap_or_else(|error| panic!("{NEEDED}: {error}"));
        assert!(told.status.success(), "{NEEDED}");
        PathBuf::from(String::from_utf8(told.stdout).unwrap().trim_end())
    });
    &PROGRAM
}

fn run(arguments: &[&str], input: &str) -> Output {
    let child = Command::new(program())
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = child.unwrap_or_else(|error| panic!("{NEEDED}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // promtool may end before it has read all of its input.
    drop(writer.join().unwrap());
    output
}

fn expect_success(arguments: &[&str], input: &str) {
    let output = run(arguments, input);
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "promtool {arguments:?}:\n{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// Asserts that the rules are well-formed.
pub(crate) fn check_rules() {
    expect_success(&["check", "rules", rules_file().to_str().unwrap()], "");
}

/// Asserts that an exposition is well-formed and that its names follow the conventions of Prometheus.
pub(crate) fn check_metrics(text: &str) {
    // promtool reads the older format, in which a counter's TYPE line has the name of its samples.
    let older = |line: &str| {
        let counter = line.strip_suffix(" counter");
        match counter.filter(|it| it.starts_with("# TYPE ")) {
            Some(head) => format!("{head}_total counter\n"),
            None => format!("{line}\n"),
        }
    };
    let lines = text
        .lines()
        .filter(|line| *line != "# EOF" && !line.starts_with("# HELP "));
    let older: String = lines.map(older).collect::<Vec<_>>().concat();
    let output = run(&["check", "metrics"], &older);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let faults = told.lines().filter(|line| !line.ends_with("no help text"));
    let faults: Vec<&str> = faults.collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

/// Runs unit tests of rules, in the format of `promtool test rules`.
pub(crate) fn test_rules(tests: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tests.yaml");
    std::fs::write(&file, tests).unwrap();
    expect_success(&["test", "rules", file.to_str().unwrap()], "");
}
