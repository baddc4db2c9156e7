//! Starts `up.sh`, the supervisor of one temporary cluster, and sends it commands over its pipes. The cluster runs as
//! long as the pipe is open. The kernel closes the pipe when this process ends, however it ends.

use std::{
    fmt,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::{Mutex, OnceLock},
};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster");

/// A part of a temporary cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Etcd,
    Apiserver,
    Controllers,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Etcd => "etcd",
            Self::Apiserver => "apiserver",
            Self::Controllers => "controllers",
        })
    }
}

pub(super) struct Supervisor {
    child: Child,
    /// `None` while the value is dropped.
    pipes: Mutex<Option<Pipes>>,
    folder: PathBuf,
    kubeconfig: PathBuf,
}

struct Pipes {
    commands: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Pipes {
    fn answer(&mut self) -> String {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .expect("the supervisor's answers can be read");
        line.trim_end().to_owned()
    }
}

impl Supervisor {
    /// Starts a cluster and waits until it is ready. The script writes errors to standard error. `feature_gates` is the
    /// value of the API server's option `--feature-gates`.
    pub(super) fn start(feature_gates: &str) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("symbolon-cluster.")
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        let mut child = Command::new(format!("{SCRIPTS}/up.sh"))
            .args([programs(), &folder])
            .env("SYMBOLON_FEATURE_GATES", feature_gates)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A separate process group: Ctrl-C in a terminal ends this process first, which ends the cluster in order.
            .process_group(0)
            .spawn()
            .expect("tests/cluster/up.sh can be started (it needs /bin/bash)");
        let commands = child.stdin.take().expect("piped above");
        let answers = BufReader::new(child.stdout.take().expect("piped above"));
        let mut pipes = Pipes { commands, answers };
        let kubeconfig = pipes
            .answer()
            .strip_prefix("kubeconfig ")
            .map(PathBuf::from);
        let kubeconfig = kubeconfig.expect(
            "the test cluster did not start: see the lines above that begin with 'test cluster:'",
        );
        assert_eq!(pipes.answer(), "ready");
        Self {
            child,
            pipes: Mutex::new(Some(pipes)),
            folder,
            kubeconfig,
        }
    }

    pub(super) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder with the programs that it runs.
    #[expect(
        clippy::unused_self,
        reason = "callers need not know that every supervisor runs the same programs"
    )]
    pub(super) fn programs(&self) -> &Path {
        programs()
    }

    pub(super) fn command(&self, verb: &str, program: Program) {
        let mut pipes = self.pipes.lock().expect("no command has failed before");
        let pipes = pipes
            .as_mut()
            .expect("the pipes are there until the value is dropped");
        writeln!(pipes.commands, "{verb} {program}").expect("the supervisor takes commands");
        assert_eq!(pipes.answer(), "ok", "{verb} {program}");
    }

    /// The process ids of the supervisor and of the programs that it runs.
    pub(super) fn pids(&self) -> Vec<u32> {
        let pid = |program: Program| {
            let text = std::fs::read_to_string(self.folder.join(format!("{program}.pid")))
                .expect("a running program has a pid file");
            text.trim().parse().expect("a pid is a number")
        };
        let programs = [Program::Etcd, Program::Apiserver, Program::Controllers].map(pid);
        std::iter::once(self.child.id()).chain(programs).collect()
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.pipes.lock().map(|mut pipes| pipes.take()));
        let _ = self.child.wait();
        // The folder still exists only if the supervisor was killed.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

/// The folder with etcd, kube-apiserver and kube-controller-manager. They are found or built once per process.
fn programs() -> &'static Path {
    static PROGRAMS: OnceLock<PathBuf> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        let built = Command::new(format!("{SCRIPTS}/build.sh"))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output();
        let built = built.expect("tests/cluster/build.sh can be started (it needs /bin/bash)");
        assert!(
            built.status.success(),
            "Kubernetes cannot be started: see the line above that begins with 'test cluster:'"
        );
        PathBuf::from(
            String::from_utf8(built.stdout)
                .expect("the path is UTF-8")
                .trim_end(),
        )
    })
}
