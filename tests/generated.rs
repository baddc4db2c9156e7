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

/// A page of the documentation that the program prints.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]
fn is_what_the_program_prints(page: &str, arguments: &[&str]) {
    let program = env!("CARGO_BIN_EXE_symbolon");
    let output = std::process::Command::new(program)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let committed = fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed.as_bytes() == output.stdout,
        "{page} is out of date: run `just generate`"
    );
}

#[test]
fn the_reference_in_docs_is_that_of_the_types() {
    is_what_the_program_prints("docs/resources.md", &["crds", "--format", "markdown"]);
}

#[test]
fn the_reference_of_metrics_is_that_of_the_programs() {
    is_what_the_program_prints("docs/metrics.md", &["metrics"]);
}

#[test]
fn the_reference_of_commands_is_what_the_program_takes() {
    is_what_the_program_prints("docs/cli.md", &["manual"]);
}

/// What follows a line of text is a part of its paragraph.
#[test]
fn a_blank_line_precedes_every_table_of_the_documentation() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let pages = fs::read_dir(&docs).unwrap();
    let runbooks = fs::read_dir(docs.join("runbooks")).unwrap();
    let mut tables = 0;
    for page in pages.chain(runbooks).map(|entry| entry.unwrap().path()) {
        if page.extension().is_none_or(|it| it != "md") {
            continue;
        }
        let text = fs::read_to_string(&page).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            if line.starts_with("|---") {
                tables += 1;
                let before = at.checked_sub(2).map_or("no line", |it| lines[it]);
                assert_eq!(before, "", "{}:{at}", page.display());
            }
        }
    }
    assert!(tables > 30, "there are many");
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
