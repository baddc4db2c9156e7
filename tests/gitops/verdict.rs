//! The verdicts of Flux and Argo CD on objects, by the tools' own rules: kstatus itself, and the Lua health checks of
//! the examples in the interpreter that Argo CD uses.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
/// The health checks that users install.
pub(crate) const HEALTH_CHECKS: &str = "examples/gitops/argocd/argocd-cm.yaml";

/// Flux's and Argo CD's verdict on each object, such as `InProgress/Progressing`.
pub(crate) fn verdicts<'o>(objects: impl IntoIterator<Item = &'o Value>) -> Vec<String> {
    let lines = lines(objects);
    let flux = judged(&["kstatus"], &lines);
    let argo = judged(&["argocd", HEALTH_CHECKS], &lines);
    assert_eq!(flux.len(), argo.len());
    let pairs = flux.into_iter().zip(argo);
    pairs.map(|(flux, argo)| format!("{flux}/{argo}")).collect()
}

/// Argo CD's verdict alone, for its own kinds.
#[allow(dead_code, reason = "tests/cluster does not use it")]
pub(crate) fn argo_verdicts<'o>(objects: impl IntoIterator<Item = &'o Value>) -> Vec<String> {
    judged(&["argocd", HEALTH_CHECKS], &lines(objects))
}

fn lines<'o>(objects: impl IntoIterator<Item = &'o Value>) -> String {
    let lines = objects.into_iter().map(Value::to_string);
    lines.collect::<Vec<_>>().join("\n")
}

/// The first field of each line that the program prints.
fn judged(arguments: &[&str], input: &str) -> Vec<String> {
    let output = run(arguments, input);
    let words = output.lines().map(|line| line.split('\t').next().unwrap());
    words.map(str::to_owned).collect()
}

/// Runs the program in the root of the repository, and asserts that it succeeds.
pub(crate) fn run(arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(program())
        .args(arguments)
        .current_dir(ROOT)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    // The program may end before it has read all of its input.
    drop(writer.join().unwrap());
    assert!(
        output.status.success(),
        "verdict {arguments:?} failed, see the lines above"
    );
    String::from_utf8(output.stdout).unwrap()
}

fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let built = Command::new(Path::new(ROOT).join("tests/gitops/build.sh"))
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "tests/gitops/build.sh failed, see the lines above"
        );
        PathBuf::from(String::from_utf8(built.stdout).unwrap().trim())
    })
}
