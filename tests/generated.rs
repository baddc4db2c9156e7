//! What is generated is what is committed.

use std::fs;
use std::path::Path;

use symbolon::directory::{Class, Reason};
use symbolon::resources::{Kind, crd, to_yaml};

#[test]
fn the_definitions_in_crds_are_those_of_the_types() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("crds");
    for kind in Kind::ALL {
        let file = folder.join(format!("{}.yaml", kind.plural()));
        let committed = fs::read_to_string(&file).unwrap_or_default();
        let generated = to_yaml(&crd(kind)).unwrap();
        assert!(
            committed == generated,
            "{} is out of date: run `just generate`",
            file.display()
        );
    }
    let files = fs::read_dir(&folder).unwrap().count();
    assert_eq!(
        files,
        Kind::ALL.len(),
        "crds/ holds one file for each kind and nothing else"
    );
}

#[test]
fn the_definitions_in_the_chart_are_those_in_crds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let chart = root.join("charts/symbolon/files/crds");
    for kind in Kind::ALL {
        let file = format!("{}.yaml", kind.plural());
        let read = |folder: &Path| fs::read(folder.join(&file)).unwrap_or_default();
        assert!(
            read(&chart) == read(&root.join("crds")),
            "{} is out of date: run `just generate`",
            chart.join(&file).display()
        );
    }
    assert_eq!(fs::read_dir(&chart).unwrap().count(), Kind::ALL.len());
}

#[test]
fn the_reference_in_docs_is_that_of_the_types() {
    let program = env!("CARGO_BIN_EXE_symbolon");
    let output = std::process::Command::new(program)
        .args(["crds", "--format", "markdown"])
        .output()
        .unwrap();
    assert!(output.status.success());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/resources.md");
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed.as_bytes() == output.stdout,
        "{} is out of date: run `just generate`",
        file.display()
    );
}

#[test]
fn the_reference_of_metrics_is_that_of_the_programs() {
    let program = env!("CARGO_BIN_EXE_symbolon");
    let output = std::process::Command::new(program)
        .arg("metrics")
        .output()
        .unwrap();
    assert!(output.status.success());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed.as_bytes() == output.stdout,
        "{} is out of date: run `just generate`",
        file.display()
    );
}

#[test]
fn the_documentation_lists_every_reason_with_its_class() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/conditions.md");
    let text = fs::read_to_string(file).unwrap();
    for reason in Reason::ALL {
        let class = match reason.class() {
            Class::Waiting => "waiting",
            Class::NeedsEdit => "needs an edit",
            Class::Working => "working",
            Class::Good => "good",
        };
        let row = format!("| `{reason}` | {class} |");
        assert!(
            text.contains(&row),
            "docs/conditions.md lacks a row that starts with {row}"
        );
    }
}
