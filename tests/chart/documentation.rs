//! The commands of docs/installation.md, as they are written there.

use std::fmt::Write as _;

use crate::harness::Cluster;
use crate::tools::{Kube, read};

/// The shell blocks between the page's marks, one after the other, each told apart in what they print.
fn blocks(page: &str) -> String {
    let (_, rest) = page.split_once("<!-- installation:begin").unwrap();
    let (part, _) = rest.split_once("<!-- installation:end -->").unwrap();
    let mut script = String::new();
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
    let printed = kube.shell(&blocks(&read("docs/installation.md")));
    assert_eq!(printed.matches("=== end of block").count(), 5, "{printed}");
    let left = kube.must("get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy -l app.kubernetes.io/name=symbolon -o name");
    assert_eq!(left, "");
}
