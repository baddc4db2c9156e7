//! Runs the blocks of docs/getting-started.md as they are written there.
//!
//! It installs and uninstalls under fixed names, so `run.sh` runs it alone, before the other tests.

use std::{fs, path::Path, process::Command, time::Instant};

use crate::kubectl::{kubectl, run};

#[test]
#[ignore = "needs a cluster without an installation: run.sh runs it first and alone"]
fn the_blocks_of_getting_started_work() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The blocks write a file into the current folder.
    let folder = tempfile::tempdir().unwrap();
    for part in ["charts", "examples"] {
        std::os::unix::fs::symlink(repository.join(part), folder.path().join(part)).unwrap();
    }
    let page = fs::read_to_string(repository.join("docs/getting-started.md")).unwrap();
    let began = Instant::now();
    for block in blocks(&page) {
        // Stop at the first command that fails, as a user does.
        let printed = run(
            Command::new("bash")
                .args(["-ec", block])
                .current_dir(folder.path()),
            "",
        );
        eprint!("{block}{printed}");
        eprintln!("node: after {:.1} s", began.elapsed().as_secs_f64());
    }
    eprintln!(
        "node: getting started took {:.1} s",
        began.elapsed().as_secs_f64()
    );
    assert_nothing_remains();
    assert!(!folder.path().join("before").exists());
}

/// The shell blocks between the page's marks.
fn blocks(page: &str) -> Vec<&str> {
    let (_, rest) = page.split_once("<!-- getting-started:begin -->").unwrap();
    let (part, _) = rest.split_once("<!-- getting-started:end -->").unwrap();
    let starts = part.split("```sh\n").skip(1);
    let blocks: Vec<&str> = starts
        .map(|block| block.split_once("```").unwrap().0)
        .collect();
    assert!(blocks.len() > 5, "{blocks:?}");
    blocks
}

/// Asserts that no namespace, no CRD, and no other cluster-wide object of the chart or the operator is left.
fn assert_nothing_remains() {
    let kinds = "namespaces,crd,clusterroles,clusterrolebindings,validatingadmissionpolicies,validatingadmissionpolicybindings,\
                 flowschemas,prioritylevelconfigurations";
    let everything = kubectl(&format!("get {kinds} -o name"));
    let ours = ["symbolon", "/shop"];
    let left: Vec<&str> = everything
        .lines()
        .filter(|name| ours.iter().any(|word| name.contains(word)))
        .collect();
    assert_eq!(left, Vec::<&str>::new());
}
