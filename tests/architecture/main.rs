//! Imports point down only, as ARCHITECTURE.md shows, no files import each other in a circle, and the pure modules stay
//! pure. Text avoids archaic words.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod circles;
mod words;

use std::fs;
use std::path::{Path, PathBuf};

/// Each module and the modules of this crate that it may import.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    (
        "cli",
        &[
            "server",
            "reconcile",
            "source",
            "keys",
            "oauth",
            "store",
            "directory",
            "tokens",
            "json_stream",
            "resources",
            "telemetry",
            "state_file",
            "characters",
            "lock",
        ],
    ),
    (
        "server",
        &[
            "keys",
            "oauth",
            "store",
            "pages",
            "directory",
            "people",
            "tokens",
            "resources",
            "telemetry",
            "lock",
        ],
    ),
    (
        "reconcile",
        &[
            "keys",
            "oauth",
            "directory",
            "tokens",
            "json_stream",
            "resources",
            "telemetry",
            "state_file",
            "lock",
        ],
    ),
    (
        "source",
        &[
            "keys",
            "directory",
            "tokens",
            "json_stream",
            "resources",
            "telemetry",
            "state_file",
            "lock",
        ],
    ),
    ("keys", &["tokens", "resources", "telemetry"]),
    ("oauth", &["directory", "people", "tokens", "resources"]),
    ("store", &["people", "tokens"]),
    ("pages", &["characters"]),
    ("people", &["tokens"]),
    ("directory", &["tokens", "resources", "characters"]),
    ("tokens", &[]),
    ("json_stream", &[]),
    ("resources", &[]),
    ("telemetry", &["characters", "lock"]),
    ("state_file", &["characters"]),
    ("characters", &[]),
    ("lock", &[]),
];

/// Crates that do IO. The pure modules name none of them. `resources` is not pure, because it uses kube's derives.
const IMPURE: &[&str] = &[
    "tokio",
    "axum",
    "hyper",
    "hyper_util",
    "kube",
    "notify",
    "reqwest",
    "sqlx",
    "tokio_postgres",
    "deadpool_postgres",
];
const PURE: &[&str] = &[
    "oauth",
    "pages",
    "people",
    "directory",
    "tokens",
    "keys",
    "characters",
];
/// Parts of kube that only hold metadata: no client, no IO.
const HARMLESS: &[&str] = &["kube::core", "kube::api::ObjectMeta", "kube::Resource"];

fn sources(module: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    let mut open = vec![root.join(module)];
    found.extend(Some(root.join(format!("{module}.rs"))).filter(|file| file.exists()));
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

/// The lines of code with their numbers, without comments and string literals, which may mention any module.
fn code(file: &Path) -> Vec<(usize, String)> {
    let text = fs::read_to_string(file).unwrap();
    let lines = text.lines().enumerate();
    lines
        .map(|(index, line)| {
            (
                index + 1,
                without_literals(line.split("//").next().unwrap_or_default()),
            )
        })
        .filter(|(_, line)| !line.trim().is_empty())
        .collect()
}

fn without_literals(line: &str) -> String {
    line.split('"').step_by(2).collect()
}

/// The modules of this crate that a line of code names.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let after = |marker: &'static str| {
        line.match_indices(marker)
            .map(move |(at, _)| &line[at + marker.len()..])
    };
    after("crate::").chain(after("symbolon::")).map(|rest| {
        let end = rest
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        &rest[..end]
    })
}

#[test]
fn imports_point_down_only() {
    let mut breaches = Vec::new();
    for (module, allowed) in MAY_IMPORT {
        for file in sources(module) {
            for (number, line) in code(&file) {
                for other in
                    named(&line).filter(|other| other != module && !allowed.contains(other))
                {
                    if MAY_IMPORT.iter().any(|(known, _)| *known == other) {
                        breaches.push(format!(
                            "{}:{number}: {module} imports {other}",
                            file.display()
                        ));
                    }
                }
            }
        }
    }
    assert_eq!(breaches, [""; 0], "imports must point down");
}

#[test]
fn the_scan_covers_every_module() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let declared = lib
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    for module in declared {
        assert!(
            MAY_IMPORT.iter().any(|(known, _)| *known == module),
            "{module} has no place in the layers"
        );
        assert!(!sources(module).is_empty(), "{module} has no sources");
    }
}

#[test]
fn the_scan_finds_a_breach() {
    assert_eq!(
        named("use crate::server::Thing;").collect::<Vec<_>>(),
        ["server"]
    );
    assert_eq!(
        named("let x = crate::keys::generate(a, crate::oauth::b);").collect::<Vec<_>>(),
        ["keys", "oauth"]
    );
}

#[test]
fn the_core_is_pure() {
    let mut breaches = Vec::new();
    for module in PURE {
        for file in sources(module) {
            for (number, line) in code(&file) {
                let line = HARMLESS
                    .iter()
                    .fold(line, |line, harmless| line.replace(harmless, ""));
                for name in IMPURE
                    .iter()
                    .filter(|name| line.contains(&format!("{name}::")))
                {
                    breaches.push(format!(
                        "{}:{number}: {module} names {name}",
                        file.display()
                    ));
                }
            }
        }
    }
    assert_eq!(breaches, [""; 0], "pure modules do no IO");
}
