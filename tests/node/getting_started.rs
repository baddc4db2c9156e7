//! docs/getting-started.md as it is written there: its blocks in one shell, one after the other.
//!
//! It installs and uninstalls under fixed names, so it has the cluster to itself: `run.sh` runs it before the others.

use std::{fs, path::Path, process::Command, time::Instant};

use crate::kubectl::{kubectl, run};

#[test]
#[ignore = "on a cluster where nothing is installed: run.sh runs it first, by itself"]
fn the_blocks_of_getting_started_work_as_they_are_written() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    // The blocks write a file beside them.
    let folder = tempfile::tempdir().unwrap();
    for part in ["charts", "examples"] {
        std::os::unix::fs::symlink(repository.join(part), folder.path().join(part)).unwrap();
    }
    let page = fs::read_to_string(repository.join("docs/getting-started.md")).unwrap();
    let began = Instant::now();
    for block in blocks(&page) {
        // As at a prompt, where nobody goes on after a command that failed.
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
    assert_nothing_is_left();
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

/// Neither namespaces nor definitions, and nothing else that the chart or the operator makes outside of them.
fn assert_nothing_is_left() {
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
