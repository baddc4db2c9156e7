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
            "control",
            "people",
            "directory",
            "tokens",
            "json_stream",
            "kube_call",
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
            "kube_call",
            "resources",
            "telemetry",
            "lock",
            "shares",
        ],
    ),
    (
        "reconcile",
        &[
            "keys",
            "oauth",
            "store",
            "directory",
            "people",
            "tokens",
            "json_stream",
            "kube_call",
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
            "kube_call",
            "resources",
            "telemetry",
            "state_file",
            "lock",
        ],
    ),
    ("keys", &["tokens", "resources", "telemetry"]),
    (
        "oauth",
        &["directory", "people", "tokens", "resources", "characters"],
    ),
    ("store", &["people", "tokens", "state_file", "shares"]),
    ("pages", &["characters"]),
    ("people", &["tokens"]),
    ("directory", &["tokens", "resources", "characters"]),
    ("tokens", &[]),
    ("json_stream", &[]),
    ("kube_call", &[]),
    ("resources", &[]),
    ("telemetry", &["characters", "lock"]),
    ("state_file", &["characters"]),
    ("control", &[]),
    ("characters", &[]),
    ("lock", &[]),
    ("shares", &[]),
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

/// The parts of kube that modules other than `kube_call` may name. They return no error whose text may be secret.
const SAFE_KUBE: &[&str] = &[
    "CustomResource",
    "CustomResourceExt",
    "KubeSchema",
    "Resource",
    "api::DeleteParams",
    "api::GetParams",
    "api::ListParams",
    "api::ObjectMeta",
    "api::Patch",
    "api::PatchParams",
    "api::PostParams",
    "api::Preconditions",
    "core::ObjectMeta",
    "core::Request",
    "core::params::GetParams",
    "core::params::ListParams",
    "core::params::Patch",
    "core::params::PatchParams",
    "core::params::WatchParams",
    "core::request::Error",
    "runtime::events::Event",
    "runtime::events::EventType",
    "runtime::events::Reporter",
    "runtime::utils::Backoff",
    "runtime::watcher::DefaultBackoff",
];

/// Functions of the types of kube that `kube_call` passes on.
const RAW_CALLS: &[&str] = &["Config::in", "Config::from_", "ClientBuilder::"];

/// The parts of kube that a code names, with those in braces one by one. Names end at what follows a type, such as
/// `::default()`.
fn kube_parts(code: &str) -> Vec<String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut parts = Vec::new();
    for (at, _) in code.match_indices("kube") {
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| is_name(c) && c != ':') {
            continue;
        }
        let rest = &code[at..];
        let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
        let path = &rest[..end];
        let Some(part) = path.strip_prefix("kube::") else {
            // Another crate of kube has the same types.
            let other = ["kube_client::", "kube_core::", "kube_runtime::"];
            if other.iter().any(|other| path.starts_with(other)) {
                parts.push(path.to_owned());
            }
            continue;
        };
        match rest[end..].strip_prefix('{') {
            Some(names) => {
                let names = names.split('}').next().unwrap_or_default().split(',');
                let names = names.map(|name| name.split(" as ").next().unwrap_or_default().trim());
                let names = names.filter(|name| !name.is_empty());
                parts.extend(names.map(|name| format!("{part}{name}")));
            }
            None => parts.push(part.to_owned()),
        }
    }
    parts
}

/// Whether a part of kube is in the list, or a function of a listed type.
fn is_safe(part: &str) -> bool {
    SAFE_KUBE.iter().any(|safe| {
        let rest = part.strip_prefix(safe);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    })
}

/// The texts of kube's errors may contain a token, a client secret or a private key.
#[test]
fn only_kube_call_handles_errors_of_kube() {
    let mut breaches = Vec::new();
    for (module, _) in MAY_IMPORT {
        for file in sources(module).iter().filter(|_| *module != "kube_call") {
            let lines: Vec<String> = code(file).into_iter().map(|(_, line)| line).collect();
            let text = lines.join("\n");
            let parts = kube_parts(&text).into_iter().filter(|part| !is_safe(part));
            let calls = RAW_CALLS.iter().map(|&call| call.to_owned());
            let calls = calls.filter(|call| *module == "cli" && text.contains(call.as_str()));
            let found = parts.chain(calls);
            breaches.extend(found.map(|found| format!("{}: {found}", file.display())));
        }
    }
    assert_eq!(
        breaches, [""; 0],
        "kube's client and its errors are for src/kube_call alone: use its Client and KubeFault"
    );
}

#[test]
fn the_scan_of_kube_finds_each_form_of_a_name() {
    let text = "use kube::{Client, Config};\nuse kube::api::{Api,\n    ListParams};\nfn f(e: kube::Error) {}\n\
                use crate::kube_call::Client;\nuse super::revoke_kube::KubeRevoker;\nkube_client::Error";
    let parts = kube_parts(text);
    let breaches: Vec<&str> = parts
        .iter()
        .map(String::as_str)
        .filter(|part| !is_safe(part))
        .collect();
    assert_eq!(
        breaches,
        [
            "Client",
            "Config",
            "api::Api",
            "Error",
            "kube_client::Error"
        ]
    );
    assert!(is_safe("api::GetParams::default"));
    assert!(!is_safe("core::Status") && !is_safe("client::Body"));
}
