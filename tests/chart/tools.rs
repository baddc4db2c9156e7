//! Runs `helm`, `kubectl` and other programs.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::Cluster;

/// How long [`eventually`] waits. It is long because the machine may be busy; a test that passes never waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// The result of a program: its standard output, or on failure its standard error.
pub(crate) type Answer = Result<String, String>;

/// A path in the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

pub(crate) fn read(path: &str) -> String {
    std::fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The `helm` that the tests build once, without a cluster.
pub(crate) fn helm() -> Command {
    static HELM: OnceLock<PathBuf> = OnceLock::new();
    let program = HELM.get_or_init(|| {
        let built = Command::new(repository("tests/cluster/build.sh"))
            .arg("helm")
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .expect("tests/cluster/build.sh can be started (it needs /bin/bash)");
        assert!(
            built.status.success(),
            "no helm: see the line above that begins with 'test cluster:'"
        );
        Path::new(String::from_utf8(built.stdout).unwrap().trim_end()).join("helm")
    });
    let mut command = Command::new(program);
    command.env_remove("KUBECONFIG").current_dir(repository(""));
    command
}

/// Runs `helm template` with these values.
pub(crate) fn render(values: &str, arguments: &[&str]) -> Answer {
    let mut command = helm();
    command
        .args(["template", "symbolon", "charts/symbolon"])
        .args(["--namespace", "symbolon-system", "--values", "-"])
        .args(arguments);
    run(command, values)
}

/// Runs a program until it ends.
pub(crate) fn run(mut command: Command, input: &str) -> Answer {
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = spawned.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The program may write output before it has read all of its input, and need not read all of it.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() {
        Ok(text(output.stdout))
    } else {
        Err(text(output.stderr))
    }
}

/// Repeats `ask` until it returns a value, and fails the test after [`PATIENCE`].
pub(crate) fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(
            began.elapsed() < PATIENCE,
            "not within {} s: {what}",
            PATIENCE.as_secs()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// `kubectl` and `helm` on one cluster.
#[derive(Clone, Copy)]
pub(crate) struct Kube<'a>(pub(crate) &'a Cluster);

impl Kube<'_> {
    /// Runs `kubectl` with arguments that are separated by blanks.
    pub(crate) fn ask(self, arguments: &str) -> Answer {
        self.with(arguments, "")
    }

    /// Like [`Self::ask`], with text on standard input.
    pub(crate) fn with(self, arguments: &str, input: &str) -> Answer {
        let mut command = self.0.kubectl();
        command.args(arguments.split_whitespace());
        run(command, input)
    }

    /// Like [`Self::ask`], and asserts success.
    pub(crate) fn must(self, arguments: &str) -> String {
        self.ask(arguments)
            .unwrap_or_else(|error| panic!("kubectl {arguments}: {error}"))
    }

    /// Applies manifests.
    pub(crate) fn apply(self, manifests: &str) {
        self.with("apply --server-side -f -", manifests)
            .unwrap_or_else(|error| panic!("{error}\n{manifests}"));
    }

    /// Applies manifests as another user.
    pub(crate) fn apply_as(self, user: &str, manifests: &str) -> Answer {
        self.with(
            &format!("apply --server-side --force-conflicts -f - --as {user}"),
            manifests,
        )
    }

    /// An object; `None` if it does not exist.
    pub(crate) fn get(self, what: &str) -> Option<Value> {
        let text = self.must(&format!("get --ignore-not-found -o json {what}"));
        (!text.is_empty()).then(|| serde_json::from_str(&text).unwrap())
    }

    pub(crate) fn helm(self, arguments: &str) -> Answer {
        self.helm_with(arguments, "")
    }

    /// Like [`Self::helm`], with text on standard input.
    pub(crate) fn helm_with(self, arguments: &str, input: &str) -> Answer {
        let mut command = helm();
        command
            .env("KUBECONFIG", self.0.kubeconfig_path())
            .args(arguments.split_whitespace());
        run(command, input)
    }

    /// Runs a page's commands in the root of the repository, with `helm` and `kubectl` on PATH, and asserts success.
    pub(crate) fn shell(self, script: &str) -> String {
        let folder = |command: &Command| {
            let program = Path::new(command.get_program());
            program.parent().unwrap().display().to_string()
        };
        let path = [
            folder(&helm()),
            folder(&self.0.kubectl()),
            std::env::var("PATH").unwrap(),
        ];
        let mut shell = Command::new("bash");
        shell
            .args(["-euo", "pipefail", "-c", script])
            .env("PATH", path.join(":"))
            .env("KUBECONFIG", self.0.kubeconfig_path())
            .current_dir(repository(""));
        run(shell, "").unwrap_or_else(|error| panic!("{script}: {error}"))
    }

    /// Writes a kubeconfig with a token of a service account into a folder.
    pub(crate) fn kubeconfig_of(self, namespace: &str, account: &str, folder: &Path) -> PathBuf {
        let token = self.must(&format!(
            "create token {account} -n {namespace} --duration 6h"
        ));
        let mut config: Value =
            serde_json::from_str(&self.must("config view --raw -o json")).unwrap();
        config["users"][0]["user"] = serde_json::json!({"token": token.trim()});
        config["contexts"][0]["context"]["namespace"] = namespace.into();
        let path = folder.join(format!("{namespace}-{account}.kubeconfig"));
        std::fs::write(&path, config.to_string()).unwrap();
        path
    }
}
