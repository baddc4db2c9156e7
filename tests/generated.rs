//! Every generated file in the repository is up to date, and the documentation is consistent with itself.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use symbolon::directory::{Class, Reason};
use symbolon::resources::{Kind, crd, to_yaml};

#[test]
fn crds_equals_the_generated_definitions() {
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
fn the_charts_definitions_equal_those_in_crds() {
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

/// Asserts that a page of the documentation equals the output of the program.
#[track_caller]
#[expect(clippy::unwrap_used, reason = "what goes wrong here fails a test")]
fn assert_page_is_output_of(page: &str, arguments: &[&str]) {
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
fn the_resource_reference_is_up_to_date() {
    assert_page_is_output_of("docs/resources.md", &["crds", "--format", "markdown"]);
}

#[test]
fn the_metrics_reference_is_up_to_date() {
    assert_page_is_output_of("docs/metrics.md", &["metrics"]);
}

#[test]
fn the_command_reference_is_up_to_date() {
    assert_page_is_output_of("docs/cli.md", &["manual"]);
}

/// Each option that a command of the documentation uses is in the reference of that command.
#[test]
fn every_option_that_the_documentation_uses_is_in_the_reference() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let reference = fs::read_to_string(root.join("docs/cli.md")).unwrap();
    let sections: BTreeMap<&str, &str> = reference
        .split("\n## ")
        .skip(1)
        .filter_map(|section| section.split_once('\n'))
        .collect();
    let (mut used, mut missing) = (0, Vec::new());
    // The changelog names options that are gone.
    let pages = pages().into_iter();
    for page in pages.filter(|page| !page.ends_with("CHANGELOG.md")) {
        let text = fs::read_to_string(&page).unwrap();
        for line in text.lines() {
            for (at, _) in line.match_indices("symbolon ") {
                let command = &line[at..];
                // In `a | b # c; --d` the command ends before the pipe, and the comment may name its options.
                let command = command.split(['|', '`']).next().unwrap_or_default();
                let Some(name) = sections.keys().rev().find(|name| {
                    let rest = command.strip_prefix(**name);
                    rest.is_some_and(|rest| rest.starts_with([' ', '\n']))
                }) else {
                    continue;
                };
                let options = command.split_whitespace().filter(|it| it.starts_with('-'));
                for option in options.filter(|it| !it.trim_matches('-').is_empty()) {
                    let option = option.split(['=', ',', ')']).next().unwrap_or_default();
                    used += 1;
                    let forms = [format!("`{option}`"), format!("`{option} ")];
                    let rows = sections[name].lines().filter(|row| row.starts_with("| `"));
                    let mut cells = rows.filter_map(|row| row.split(" | ").next());
                    if !cells.any(|cell| forms.iter().any(|form| cell.contains(form))) {
                        missing.push(format!("{}: {name} {option}", page.display()));
                    }
                }
            }
        }
    }
    assert!(used > 20, "{used}");
    assert_eq!(missing, [""; 0]);
}

/// The pages of the documentation: those at the root, in `docs` and its folders, and in the chart.
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

/// Markdown renders a table that directly follows a line of text as a part of that paragraph.
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
    assert!(tables > 30, "only {tables} tables found");
}

/// The lines of a page outside code blocks.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut is_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        is_code ^= is_fence;
        !is_code && !is_fence
    })
}

/// The anchors of a page's headings, as GitHub derives them.
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

/// The targets of a page's links, without those to web addresses.
fn links(text: &str) -> Vec<String> {
    let text: Vec<&str> = prose(text).collect();
    let text = text.join("\n");
    let targets = text.split("](").skip(1);
    let targets = targets.filter_map(|rest| rest.split_once(')').map(|(target, _)| target));
    let is_local = |target: &&str| !target.starts_with("http");
    targets.filter(is_local).map(str::to_owned).collect()
}

#[test]
fn every_link_of_the_documentation_resolves() {
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
    assert!(count > 150, "only {count} links found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn docs_operations_readme_lists_every_page() {
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

#[test]
fn every_test_that_the_page_about_conformance_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/conformance.md")).unwrap();
    let mut functions = BTreeSet::new();
    let mut folders = vec![root.join("src"), root.join("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|it| it == "rs") {
                let text = fs::read_to_string(path).unwrap();
                let names = text.split("fn ").skip(1);
                functions.extend(
                    names.filter_map(|rest| rest.split_once('(').map(|it| it.0.to_owned())),
                );
            }
        }
    }
    let mut rows = 0;
    for row in page.lines().filter(|line| line.starts_with("| `oidcc-")) {
        let tests = row.rsplit('|').nth(1).unwrap();
        let named: Vec<&str> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "no test: {row}");
        for test in named {
            assert!(functions.contains(test), "the test {test} does not exist");
        }
        rows += 1;
    }
    assert!(rows > 30, "only {rows} rows found");
}
