//! What is generated is what is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

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

/// The pages of the documentation: those in `docs` and its folders, at the root, and of the chart.
#[expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]
fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "",
        "docs",
        "docs/operations",
        "docs/runbooks",
        "charts/symbolon",
    ];
    let entries = folders.map(|folder| fs::read_dir(root.join(folder)).unwrap());
    let paths = entries.into_iter().flatten().map(|it| it.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|it| it == "md"))
        .collect()
}

/// What follows a line of text is a part of its paragraph.
#[test]
fn a_blank_line_precedes_every_table_of_the_documentation() {
    let mut tables = 0;
    for page in pages() {
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

/// The lines of a page that are no code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The names by which links lead to the headings of a page, as code hosts make them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut repeated = BTreeMap::new();
    let headings = prose(text).filter(|line| line.starts_with('#'));
    let words = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    words
        .map(|words| {
            let kept = words.replace(|c: char| !c.is_alphanumeric() && !" -_".contains(c), "");
            let anchor = kept.replace(' ', "-");
            let count = repeated.entry(anchor.clone()).or_insert(0);
            *count += 1;
            match *count {
                1 => anchor,
                more => format!("{anchor}-{}", more - 1),
            }
        })
        .collect()
}

/// Where the links of a page lead, other than into the web.
fn links(text: &str) -> Vec<String> {
    let text: Vec<&str> = prose(text).collect();
    let text = text.join("\n");
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let is_local = |target: &&str| !target.starts_with("http");
    targets.filter(is_local).map(str::to_owned).collect()
}

#[test]
fn every_link_of_the_documentation_leads_to_a_file_and_a_heading_that_exist() {
    let mut wrong = Vec::new();
    let mut count = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            count += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => page.clone(),
                file => page.parent().unwrap().join(file),
            };
            let leads = match (target.exists(), anchor) {
                (exists, "") => exists,
                (false, _) => false,
                (true, anchor) => anchors(&fs::read_to_string(&target).unwrap()).contains(anchor),
            };
            if !leads {
                wrong.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(count > 150, "there are many: {count}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_page_of_the_operations_is_in_their_list() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations");
    let list = fs::read_to_string(folder.join("README.md")).unwrap();
    let listed: BTreeSet<String> = links(&list).into_iter().collect();
    for entry in fs::read_dir(&folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(
            name == "README.md" || listed.contains(&name),
            "docs/operations/README.md lacks {name}"
        );
    }
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
            Class::Replacing => "replacing",
            Class::Good => "good",
        };
        let row = format!("| `{reason}` | {class} |");
        assert!(
            text.contains(&row),
            "docs/conditions.md lacks a row that starts with {row}"
        );
    }
}
