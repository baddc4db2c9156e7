//! The commands of docs/installation.md, as they are written there.

use std::fmt::Write as _;
use std::process::Command;

use crate::harness::Cluster;
use crate::tools::{Kube, helm, read, repository, run};

/// The shell blocks between the page's marks, one after the other, each told apart in what they print.
fn blocks(page: &str) -> String {
    let (_, rest) = page.split_once("<!-- installation:begin").unwrap();
    let (part, _) = rest.split_once("<!-- installation:end -->").unwrap();
    let mut script = String::from("set -euo pipefail\n");
    for block in part.split("```sh\n").skip(1) {
        let (commands, _) = block.split_once("```").unwrap();
        write!(script, "{commands}\necho '=== end of block'\n").unwrap();
    }
    script
}

#[test]
fn the_commands_of_the_installation_page_work_as_they_are_written() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    let kubectl = kube.0.kubectl();
    let folder = |command: &Command| {
        let program = std::path::Path::new(command.get_program());
        program.parent().unwrap().display().to_string()
    };
    let path = [
        folder(&helm()),
        folder(&kubectl),
        std::env::var("PATH").unwrap(),
    ];
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &blocks(&read("docs/installation.md"))])
        .env("PATH", path.join(":"))
        .env("KUBECONFIG", kube.0.kubeconfig_path())
        .current_dir(repository(""));
    let printed = run(shell, "").unwrap();
    assert_eq!(printed.matches("=== end of block").count(), 5, "{printed}");
    let left = kube.must("get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy -l app.kubernetes.io/name=symbolon -o name");
    assert_eq!(left, "");
}
