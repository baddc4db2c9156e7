//! Runs the README's quickstart for a cluster as it is written there: all blocks in one shell.
//!
//! It has its own cluster, because the example's namespaces have fixed names. The test replaces the ports in the README
//! and in the example by free ones. It does not run `cargo build`, because the program is already built.

use std::{
    fmt::Write as _,
    fs,
    io::Read as _,
    net::TcpListener,
    os::unix::{fs::symlink, process::CommandExt as _},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::harness::Cluster;

/// Longer than all blocks together need; each waits for up to a minute.
const PATIENCE: Duration = Duration::from_mins(10);

/// The line between the outputs of two blocks.
const END_OF_BLOCK: &str = "=== end of block";

/// Stops at the end the background processes that the blocks leave.
const PRELUDE: &str = "set -euo pipefail\ntrap 'kill $(jobs -p) 2>/dev/null || true; wait' EXIT\n";

/// Before the last block: saves the token while its Secret has it.
const BEFORE_REVOKING: &str = "token=$(secret nightly-report-token token)\n";

/// After the last block: waits until the token is refused, as the README promises.
const AFTER_REVOKING: &str = r#"
for _ in $(seq 200); do
  code=$(curl -s -o /dev/null -w '%{http_code}' -H "Authorization: Bearer $token" http://localhost:8080/id/connect/checktoken/api)
  [ "$code" = 200 ] || break
  sleep 0.05
done
echo "$code"
"#;

#[tokio::test(flavor = "multi_thread")]
async fn the_quickstart_of_the_readme_works() {
    let cluster = Cluster::private();
    let folder = tempfile::tempdir().unwrap();
    let ports = ["8080", "8081", "8082"].map(|port| (port, free_port()));
    let with_ports = |text: String| {
        let replaced = |text: String, (port, free): &(&str, u16)| {
            text.replace(&format!("localhost:{port}"), &format!("localhost:{free}"))
        };
        ports.iter().fold(text, replaced)
    };
    lay_out(folder.path(), &cluster, &with_ports);
    let script = with_ports(script(&repository_file("README.md")));
    let output = run(&script, folder.path(), &cluster);

    let printed: Vec<&str> = output.split(END_OF_BLOCK).collect();
    let [_, _, used, revoked, removed] = printed[..] else {
        panic!("expected five blocks: {output}");
    };
    assert!(used.contains("/id/enroll?link="), "{output}");
    // The response ends without a line break, so the status follows it directly.
    let start = used.find("{\"access_token\"");
    let start = start.unwrap_or_else(|| panic!("no access token: {output}"));
    let mut values = serde_json::Deserializer::from_str(&used[start..]).into_iter::<Value>();
    let reply = values.next().unwrap().unwrap();
    assert_eq!(reply["scope"], "orders.read", "{output}");
    let after = &used[start + values.byte_offset()..];
    assert_eq!(
        after.trim(),
        "200",
        "the gateway accepts the token: {output}"
    );
    assert_eq!(revoked.lines().last(), Some("401"), "{output}");
    for gone in [
        "\"shop\" deleted",
        "\"backend\" deleted",
        "\"credentials.symbolon.dev\" deleted",
    ] {
        assert!(removed.contains(gone), "{gone}: {output}");
    }
}

/// The shell blocks between the README's marks of this name.
fn blocks<'t>(readme: &'t str, name: &str) -> Vec<&'t str> {
    let (_, rest) = readme.split_once(&format!("<!-- {name}:begin")).unwrap();
    let (part, _) = rest.split_once(&format!("<!-- {name}:end -->")).unwrap();
    part.split("```sh\n")
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0)
        .collect()
}

/// The README's blocks as one script.
fn script(readme: &str) -> String {
    let blocks = blocks(readme, "quickstart");
    let mut script = PRELUDE.to_owned();
    for (index, block) in blocks.iter().enumerate() {
        if index + 1 == blocks.len() {
            script += BEFORE_REVOKING;
        }
        script += block;
        if index + 1 == blocks.len() {
            script += AFTER_REVOKING;
        } else {
            writeln!(script, "echo '{END_OF_BLOCK}'").unwrap();
        }
    }
    writeln!(script, "echo '{END_OF_BLOCK}'").unwrap();
    script + &self::blocks(readme, "quickstart-removal").concat()
}

/// Creates the files of a fresh clone after `cargo build --release` that the blocks use.
fn lay_out(folder: &Path, cluster: &Cluster, with_ports: &dyn Fn(String) -> String) {
    let examples = folder.join("examples/quickstart");
    let release = folder.join("target/release");
    let bin = folder.join("bin");
    for folder in [&examples, &release, &bin] {
        fs::create_dir_all(folder).unwrap();
    }
    for file in ["1-platform.yaml", "2-shop.yaml"] {
        let text = repository_file(&format!("examples/quickstart/{file}"));
        fs::write(examples.join(file), with_ports(text)).unwrap();
    }
    symlink(env!("CARGO_BIN_EXE_symbolon"), release.join("symbolon")).unwrap();
    symlink("/bin/true", bin.join("cargo")).unwrap();
    let kubectl = cluster.kubectl();
    let kubectl = Path::new(kubectl.get_program());
    if kubectl.is_absolute() {
        symlink(kubectl, bin.join("kubectl")).unwrap();
    }
}

fn repository_file(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Runs the script and returns its standard output.
fn run(script: &str, folder: &Path, cluster: &Cluster) -> String {
    let path = std::env::var("PATH").unwrap();
    let mut command = Command::new("bash");
    command
        .args(["-c", script])
        .current_dir(folder)
        // The server logs to the same output as the client, so log only errors.
        .env("SYMBOLON_LOG", "error")
        .env("SYMBOLON_AUDIT", "false")
        .env("PATH", format!("{}:{path}", folder.join("bin").display()));
    for (name, value) in cluster.kubectl().get_envs() {
        command.env(name, value.unwrap());
    }
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // A process group with all children, so that none outlives the test.
        .process_group(0)
        .spawn();
    let mut shell = Shell(child.expect("bash runs the quickstart"));
    let mut pipe = shell.0.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut output = String::new();
        pipe.read_to_string(&mut output).map(|_| output)
    });
    let began = Instant::now();
    let status = loop {
        if let Some(status) = shell.0.try_wait().unwrap() {
            break status;
        }
        assert!(began.elapsed() < PATIENCE, "the quickstart hangs");
        std::thread::sleep(Duration::from_millis(20));
    };
    drop(shell);
    let output = reader.join().unwrap().unwrap();
    assert!(status.success(), "{status}:\n{output}");
    output
}

struct Shell(Child);

impl Drop for Shell {
    fn drop(&mut self) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .stderr(Stdio::null())
            .status();
        let _ = self.0.wait();
    }
}

/// A free port of 127.0.0.1, below the range that Linux uses for outgoing connections.
pub(crate) fn free_port() -> u16 {
    let random = || u16::from_be_bytes(*uuid::Uuid::new_v4().as_bytes().first_chunk().unwrap());
    std::iter::repeat_with(|| 18_000 + random() % 12_000)
        .find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok())
        .unwrap()
}
