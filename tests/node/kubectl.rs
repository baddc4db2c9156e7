//! Runs `kubectl` as a user does.

use std::{
    io::Write as _,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// How long [`eventually`] waits. It is long because the machine may be busy; a test that passes never waits so long.
const PATIENCE: Duration = Duration::from_mins(2);

/// Runs `kubectl` with arguments that are separated by blanks, and returns its output.
pub(crate) fn kubectl(words: &str) -> String {
    run(Command::new("kubectl").args(words.split_whitespace()), "")
}

/// Like [`kubectl`], with `-o json`; null without output.
pub(crate) fn json(words: &str) -> Value {
    let printed = kubectl(&format!("{words} -o json"));
    // With --ignore-not-found it prints nothing.
    if printed.is_empty() {
        return Value::Null;
    }
    serde_json::from_str(&printed).expect("kubectl prints JSON")
}

/// Applies manifests.
pub(crate) fn apply(manifests: &str) {
    try_apply(manifests).unwrap_or_else(|error| panic!("{error}: {manifests}"));
}

/// Applies manifests and returns kubectl's error.
pub(crate) fn try_apply(manifests: &str) -> Result<(), String> {
    let output = output(
        Command::new("kubectl").args(["apply", "--server-side", "-f", "-"]),
        manifests,
    );
    if output.status.success() {
        Ok(())
    } else {
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }
}

/// Applies manifests that the API server must refuse, and returns the error.
pub(crate) fn refused(manifests: &str) -> String {
    let output = output(
        Command::new("kubectl").args(["apply", "-f", "-"]),
        manifests,
    );
    assert!(!output.status.success(), "accepted: {manifests}");
    String::from_utf8(output.stderr).unwrap()
}

/// Merges a patch in JSON.
pub(crate) fn patch(words: &str, patch: &str) {
    run(
        Command::new("kubectl")
            .arg("patch")
            .args(words.split_whitespace())
            .args(["--type", "merge", "--patch", patch])
            // An unknown field would only cause a warning.
            .arg("--warnings-as-errors"),
        "",
    );
}

/// Runs a shell script in a pod. Returns whether it succeeded, and its output.
pub(crate) fn shell(namespace: &str, pod: &str, script: &str) -> (bool, String) {
    let output = output(
        Command::new("kubectl")
            .args(["exec", "-n", namespace, pod, "--", "busybox", "sh", "-c"])
            .arg(script),
        "",
    );
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Runs a command and returns its output. Fails the test if the command fails.
pub(crate) fn run(command: &mut Command, input: &str) -> String {
    let output = output(command, input);
    assert!(
        output.status.success(),
        "{command:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).expect("the output is UTF-8")
}

fn output(command: &mut Command, input: &str) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| {
            panic!("{command:?}: {error}; use tests/node/run.sh to run these tests")
        });
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(input.as_bytes()).unwrap();
    drop(pipe);
    child.wait_with_output().unwrap()
}

/// Repeats `ask` until it returns a value, and fails the test with the last error after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let began = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(last) => assert!(
                began.elapsed() < PATIENCE,
                "not within {} s: {what}; last error: {last}",
                PATIENCE.as_secs()
            ),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
