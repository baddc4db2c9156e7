//! What every command that prints and exits writes to a terminal, a closed pipe and a full disk.

use std::fs::{self, File, OpenOptions};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{run, status, text};

/// Clears the screen, sets the title, reverses text, hides characters and ends the line.
const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\r\u{202e}\u{2066}\u{200b}\u{200f}\u{61c}\u{2028}\u{e0041}\u{1d173}\u{1bca0}y";

/// Returns whether a terminal must never get this character. Our own line ends are allowed.
fn is_obeyed(character: char) -> bool {
    matches!(character, '\0'..='\u{8}' | '\u{b}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}'
        | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
        | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns what was printed to both streams.
fn told(output: &Output) -> String {
    [&output.stdout, &output.stderr]
        .map(|bytes| String::from_utf8(bytes.clone()).unwrap())
        .concat()
}

/// Quotes a text for YAML; everything except ASCII becomes an escape.
fn quoted(text: &str) -> String {
    let escaped = |c: char| match c {
        ' '..='~' if !"\"\\".contains(c) => c.to_string(),
        c => format!("\\U{:08x}", u32::from(c)),
    };
    format!("\"{}\"", text.chars().map(escaped).collect::<String>())
}

/// Creates manifests with hostile text in names, values, keys and comments, in files with hostile names.
fn hostile_folder() -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    let name = |kind: &str| format!("{kind}-{HOSTILE}.yaml");
    let escaped = quoted(HOSTILE);
    let object = |kind: &str, metadata: &str, spec: &str| {
        format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n---\n"
        )
    };
    let json = serde_json::to_string(HOSTILE).unwrap();
    let raw = HOSTILE.replace(
        ['\r', '\u{2028}', '\u{1b}', '\u{7}', '\u{7f}', '\u{9b}'],
        "",
    );
    let all = [
        object(
            "Identity",
            "{name: main, namespace: platform}",
            &format!("{{issuer: {escaped}}}"),
        ),
        object(
            "Scope",
            &format!("{{name: {escaped}, namespace: {escaped}}}"),
            "{value: a}",
        ),
        object(
            "Scope",
            "{name: a, namespace: shop}",
            &format!("{{value: {escaped}, description: {escaped}}}"),
        ),
        object(
            "OAuthClient",
            "{name: till, namespace: shop}",
            &format!(
                "{{displayName: {escaped}, clientId: {escaped}, identityRef: {{name: {escaped}}}}}"
            ),
        ),
        object("OAuthClient", "{name: till, namespace: shop}", "{}"),
        object(
            "ServiceAccessToken",
            "{name: t, namespace: shop}",
            &format!("{{clientRef: {{name: {escaped}}}, scopes: [{escaped}], {escaped}: 1}}"),
        ),
        object(&escaped, "{name: a}", "{}"),
        format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {escaped}, labels: {{a: {escaped}}}}}\n---\n"
        ),
        format!(
            "apiVersion: symbolon.dev/v1alpha1 # {raw}\nkind: Scope\nmetadata: {{name: {raw}}}\nspec: {{value: [{raw}}}\n---\n"
        ),
    ];
    fs::write(root.path().join(name("all")), all.concat()).unwrap();
    fs::write(root.path().join(name("again")), &all[3]).unwrap();
    fs::write(
        root.path().join(name("bytes")),
        b"apiVersion: symbolon.dev/v1alpha1\n\x1b[2J \xff\x9b",
    )
    .unwrap();
    fs::write(
        root.path().join(name("raw")),
        format!("kind: {HOSTILE}\napiVersion: symbolon.dev/v1alpha1\n"),
    )
    .unwrap();
    skipped_patches(root.path(), &[&format!("d-{HOSTILE}")]);
    fs::write(
        root.path().join(format!("j-{HOSTILE}.json")),
        format!(
            "{{\"apiVersion\": \"symbolon.dev/v1alpha1\", \"kind\": {json}, {json}: 1, {json}: 2}}"
        ),
    )
    .unwrap();
    root
}

/// Creates a folder for each name, with a kustomization that names two files as patches: a part of an object, and a
/// complete one that another file defines.
fn skipped_patches(root: &Path, names: &[&str]) {
    const SCOPE: &str = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: patched, namespace: shop}\nspec: {audiences: ['https://a.example.com']}\n";
    fs::write(root.join("0-patched.yaml"), SCOPE).unwrap();
    for name in names {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        let (part, whole) = (format!("part-{name}.yaml"), format!("whole-{name}.yaml"));
        let paths = [&part, &whole].map(|path| format!("{{path: {}}}", quoted(path)));
        let kustomization = format!("patches: [{}]\n", paths.join(", "));
        fs::write(folder.join("kustomization.yaml"), kustomization).unwrap();
        fs::write(folder.join(&part), "kind: Scope\n").unwrap();
        fs::write(folder.join(&whole), SCOPE).unwrap();
    }
}

/// Returns the commands between backticks that name a kustomization.
fn suggested(told: &str) -> Vec<String> {
    let parts = told.split('`').skip(1).step_by(2);
    let commands = parts.filter(|part| part.starts_with("kustomize build"));
    commands.map(str::to_owned).collect()
}

/// A stranger chooses the names of folders and files; users paste the commands that we suggest, and CI runners execute
/// lines that begin with `::`.
#[test]
fn no_command_that_is_suggested_runs_what_a_name_says() {
    const NAMES: [&str; 14] = [
        "$HOME * ? [a] {a,b} !! \\ \"",
        "''$(touch ran)''",
        "~root",
        "a|touch ran>x",
        "é 漢=\\",
        "base$(touch ran)",
        "b;touch ran;#",
        "it's; touch ran #'",
        "a`touch ran`",
        "a\n::error::x",
        "a\r::error::x\u{1b}[2J",
        "-x",
        "a && touch ran",
        "plain",
    ];
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("manifests");
    fs::create_dir(&folder).unwrap();
    skipped_patches(&folder, &NAMES);
    // In place of kustomize, a program that prints the arguments.
    let programs = root.path().join("programs");
    fs::create_dir(&programs).unwrap();
    for (name, script) in [("kustomize", "printf '%s\\n' \"$@\""), ("symbolon", "cat")] {
        use std::os::unix::fs::PermissionsExt as _;
        let program = programs.join(name);
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let path = std::env::var("PATH").unwrap();
    let path = format!("{}:{path}", programs.display());
    let shown = folder.to_str().unwrap();
    for arguments in [
        vec!["check", shown],
        vec!["check", shown, "-o", "json"],
        vec!["check", shown, "-o", "sarif"],
        vec!["explain", "scope", "shop/patched", "--dir", shown],
    ] {
        let output = run(arguments[0], &arguments[1..], "");
        let told = told(&output);
        let is_line = |line: &&str| line.trim_start().starts_with("::");
        assert_eq!(told.lines().find(is_line), None, "{arguments:?}:\n{told}");
        let found: Vec<char> = told.chars().filter(|it| is_obeyed(*it)).collect();
        assert!(found.is_empty(), "{arguments:?}: {found:?}");
        let errors = String::from_utf8(output.stderr).unwrap();
        let mut built = Vec::new();
        for command in suggested(&errors) {
            let mut shell = Command::new("sh");
            shell.args(["-c", &command]).current_dir(root.path());
            let ran = shell.env("PATH", &path).output().unwrap();
            built.push(String::from_utf8(ran.stdout).unwrap());
            assert!(!root.path().join("ran").exists(), "{command}");
        }
        for name in NAMES
            .iter()
            .filter(|name| !name.contains(['`', '\n', '\r']))
        {
            let expected = format!("build\n{shown}/{name}\n");
            assert!(built.contains(&expected), "{name}: {built:?}");
        }
        assert!(
            errors.contains("run `kustomize build` in its folder"),
            "{errors}"
        );
    }
}

#[test]
fn no_name_value_file_name_or_excerpt_controls_a_terminal() {
    let root = hostile_folder();
    let folder = root.path().to_str().unwrap();
    let missing = format!("{folder}/{HOSTILE}");
    let object = format!("shop/{HOSTILE}");
    for (command, arguments) in [
        ("check", vec![folder]),
        ("check", vec![folder, "--applied", folder]),
        ("check", vec![folder, "-o", "json"]),
        ("check", vec![folder, "-o", "sarif"]),
        ("check", vec![&missing]),
        ("check", vec![folder, "--default-identity", &missing]),
        ("check", vec![folder, HOSTILE]),
        ("check", vec![folder, "--output", HOSTILE]),
        ("explain", vec!["client", "shop/till", "--dir", folder]),
        (
            "explain",
            vec!["client", "shop/till", "--scope", HOSTILE, "--dir", folder],
        ),
        (
            "explain",
            vec![
                "client",
                "shop/till",
                "--scope",
                HOSTILE,
                "--dir",
                folder,
                "-o",
                "json",
            ],
        ),
        ("explain", vec!["client", &object, "--dir", folder]),
        (
            "explain",
            vec!["client", &object, "--dir", folder, "-o", "json"],
        ),
        (
            "explain",
            vec!["scope", "shop/a", "--namespace", HOSTILE, "--dir", folder],
        ),
        ("explain", vec!["token", "shop/t", "--dir", folder]),
        ("explain", vec!["token", "shop/t", "--dir", &missing]),
        ("crds", vec!["--output", &missing]),
        ("crds", vec![HOSTILE]),
        ("metrics", vec![HOSTILE]),
        ("restore", vec!["rebind", "--identity", HOSTILE]),
        (
            "restore",
            vec!["rebind", "--identity", "a/b", "--context", HOSTILE],
        ),
        ("dev", vec![&missing, "--listen", "127.0.0.1:0"]),
        (
            "dev",
            vec![
                folder,
                "--listen",
                "127.0.0.1:0",
                "--identity",
                &missing,
                "--state",
                "/dev/null/x",
            ],
        ),
        ("serve", vec![HOSTILE]),
        ("operator", vec![HOSTILE]),
        (HOSTILE, vec![]),
    ] {
        let output = run(command, &arguments, "");
        let told = told(&output);
        assert!(!told.is_empty(), "{command} {arguments:?}");
        let found: Vec<char> = told.chars().filter(|it| is_obeyed(*it)).collect();
        assert!(
            found.is_empty(),
            "{command:?} {arguments:?}: {found:?}\n{}",
            told.escape_debug()
        );
        assert!([1, 2].contains(&status(&output)), "{command} {arguments:?}");
    }
}

/// CI runners execute lines that begin with `::`, and readers take every line for our own.
#[test]
fn no_name_in_an_argument_adds_a_line() {
    const NAME: &str = "a\n::error::x";
    let root = tempfile::tempdir().unwrap();
    let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
    let (file, folder) = (at(&format!("{NAME}.yaml")), at(NAME));
    let (missing, empty) = (at(&format!("missing{NAME}")), at(&format!("empty{NAME}")));
    let faulty =
        "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: {valeu: a}\n";
    fs::write(&file, format!("{faulty}---\n{faulty}")).unwrap();
    fs::create_dir(&empty).unwrap();
    skipped_patches(root.path(), &[NAME]);
    fs::write(root.path().join(NAME).join("a.yaml"), faulty).unwrap();
    let listen = ["--listen", "127.0.0.1:0"];
    for (command, arguments) in [
        ("check", vec![&*file]),
        ("check", vec![&file, "-o", "json"]),
        ("check", vec![&file, "-o", "sarif"]),
        ("check", vec![&folder]),
        ("check", vec![&missing]),
        ("check", vec![&empty]),
        ("check", vec![&file, "--applied", &missing]),
        ("check", vec![&file, "--output", NAME]),
        ("check", vec![&file, "--default-identity", NAME]),
        ("check", vec![&format!("--{NAME}")]),
        ("check", vec![&format!("--strict={NAME}")]),
        ("explain", vec!["scope", "default/a", "--dir", &file]),
        ("explain", vec!["scope", NAME, "--dir", &file]),
        (
            "explain",
            vec!["scope", &format!("default/{NAME}"), "--dir", &file],
        ),
        (
            "explain",
            vec![
                "scope",
                &format!("default/{NAME}"),
                "--dir",
                &file,
                "-o",
                "json",
            ],
        ),
        (
            "explain",
            vec!["client", "default/a", "--scope", NAME, "--dir", &file],
        ),
        (
            "explain",
            vec!["scope", "default/a", "--namespace", NAME, "--dir", &file],
        ),
        ("explain", vec![NAME]),
        ("explain", vec!["scope", "default/a", "--dir", &missing]),
        ("crds", vec!["--output", &missing]),
        ("crds", vec!["--format", NAME]),
        ("crds", vec![NAME]),
        ("dev", [&[&*missing], &listen[..]].concat()),
        ("dev", [&[&*folder], &listen[..]].concat()),
        (
            "dev",
            [&["platform", "--state", &folder], &listen[..]].concat(),
        ),
        (
            "dev",
            [&["platform", "--identity", NAME], &listen[..]].concat(),
        ),
        ("dev", vec!["platform", "--listen", NAME]),
        ("dev", vec!["platform", "--log", NAME]),
        ("serve", vec!["--identity", NAME]),
        ("operator", vec!["--concurrency", NAME]),
        ("operator", vec!["--allowed-options", NAME]),
        ("operator", vec!["--service-monitor-label", NAME]),
        (
            "restore",
            vec!["rebind", "--identity", "a/b", "--context", NAME],
        ),
        (NAME, vec![]),
    ] {
        let output = run(command, &arguments, "");
        let told = told(&output);
        assert!(!told.is_empty(), "{command} {arguments:?}");
        let obeyed = told
            .lines()
            .find(|line| line.trim_start().starts_with("::"));
        assert_eq!(obeyed, None, "{command:?} {arguments:?}:\n{told}");
        assert!(
            [1, 2].contains(&status(&output)),
            "{command} {arguments:?}: {told}"
        );
    }
}

#[test]
fn json_and_sarif_with_hostile_names_are_valid_and_keep_the_names() {
    let root = hostile_folder();
    let folder = root.path().to_str().unwrap();
    let output = run("check", &[folder, "-o", "json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problems = report["problems"].as_array().unwrap();
    let files: Vec<&str> = problems
        .iter()
        .filter_map(|it| it["file"].as_str())
        .collect();
    assert!(
        files
            .iter()
            .any(|file| file.ends_with(&format!("all-{HOSTILE}.yaml")))
    );
    assert!(problems.iter().any(|it| it["name"] == HOSTILE));
    let output = run("check", &[folder, "-o", "sarif"], "");
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(!log["runs"][0]["results"].as_array().unwrap().is_empty());
}

/// Returns each command line that prints and exits, with its exit status if it can print.
fn that_print() -> Vec<(Vec<&'static str>, i32)> {
    let mut all: Vec<(Vec<&str>, i32)> = vec![
        (vec!["--help"], 0),
        (vec!["--version"], 0),
        (vec!["help", "check"], 0),
        (vec!["crds"], 0),
        (vec!["crds", "--format", "markdown"], 0),
        (vec!["manual"], 0),
        (vec!["metrics"], 0),
        (vec!["check", "platform"], 0),
        (vec!["check", "faulty"], 1),
        (vec!["check", "faulty", "-o", "json"], 1),
        (vec!["check", "faulty", "-o", "sarif"], 1),
        (
            vec![
                "explain",
                "scope",
                "platform/orders.read",
                "--dir",
                "platform",
            ],
            0,
        ),
        (
            vec![
                "explain",
                "client",
                "shop/nobody",
                "--dir",
                "platform",
                "-o",
                "json",
            ],
            1,
        ),
    ];
    for command in [
        "check", "crds", "dev", "explain", "manual", "metrics", "operator", "restore", "serve",
    ] {
        all.push((vec![command, "--help"], 0));
        all.push((vec![command, "--version"], 0));
    }
    all
}

fn with_streams(arguments: &[&str], stdout: Stdio, stderr: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_symbolon"))
        .args(arguments)
        .current_dir(super::HERE)
        .stdin(Stdio::null())
        .stdout(stdout)
        .stderr(stderr)
        .output()
        .unwrap()
}

/// Returns a pipe whose reader has closed it.
fn closed() -> Stdio {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap()
        .into()
}

#[test]
fn a_closed_pipe_causes_no_message_and_no_other_exit_status() {
    for (arguments, expected) in that_print() {
        let output = with_streams(&arguments, closed(), Stdio::piped());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            (output.status.code(), &*told),
            (Some(expected), ""),
            "{arguments:?}"
        );
        // The same if errors cannot be printed either.
        let output = with_streams(&arguments, closed(), closed());
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_an_error_of_its_own() {
    for (arguments, _) in that_print() {
        let output = with_streams(&arguments, full(), Stdio::piped());
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {told}");
        assert!(
            told.starts_with("symbolon: cannot write to the standard output: "),
            "{arguments:?}: {told}"
        );
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn errors_that_cannot_be_printed_still_set_the_exit_status() {
    for arguments in [
        &["check", "missing"][..],
        &["check"],
        &["nonsense"],
        &["explain", "scope", "a/b", "--dir", "missing"],
    ] {
        for stream in [closed, full] {
            let output = with_streams(arguments, Stdio::null(), stream());
            assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        }
    }
}

#[test]
fn a_line_of_any_width_causes_no_panic() {
    let scope = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: ";
    for wide in [
        format!("{scope}{{{}valeu: b}}\n", " ".repeat(70_000)),
        format!("{scope}{{value: \"{}\", valeu: b}}\n", "é".repeat(70_000)),
        format!("{scope}{{value: \"{}\", value: b}}\n", "x".repeat(900_000)),
        format!("{scope}{{{}}}", "\t".repeat(70_000)),
        format!("{scope}{{a: [\"{}\", }}", "\u{202e}".repeat(70_000)),
        format!("kind: {}\n", "[".repeat(70_000)),
        format!("apiVersion: symbolon.dev/{}", "v".repeat(70_000)),
    ] {
        for form in ["text", "json", "sarif"] {
            let output = run("check", &["-", "-o", form], &wide);
            let told = String::from_utf8_lossy(&output.stderr);
            assert!([0, 1].contains(&status(&output)), "{}: {told}", &wide[..80]);
            assert_eq!(told, "");
            assert!(
                output.stdout.len() < 20_000,
                "{} bytes",
                output.stdout.len()
            );
        }
    }
}

/// The output is never much longer than the input, whatever the input contains.
#[test]
fn the_output_is_in_proportion_to_the_input() {
    let name = "n".repeat(30_000);
    let lists = |key: &str| format!("{key}: [{}]", "b, ".repeat(30_000));
    for (what, input) in [
        (
            "kinds",
            "apiVersion: symbolon.dev/v1alpha1\nkind: X\n---\n".repeat(5_000),
        ),
        (
            "twice",
            format!(
                "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nspec: {{{}}}",
                "a: 1, ".repeat(30_000)
            ),
        ),
        (
            "long name",
            format!(
                "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: {name}}}\nspec: {{{}}}",
                (0..15_000)
                    .map(|n| format!("a{n}: 1, "))
                    .collect::<Vec<_>>()
                    .concat()
            ),
        ),
        (
            "scopes",
            format!(
                "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {{name: {name}}}\nspec: {{{}}}",
                lists("scopes")
            ),
        ),
        (
            "one line",
            format!(
                "{{apiVersion: v1, kind: List, items: [{}]}}",
                "{apiVersion: symbolon.dev/v1alpha1, kind: X}, ".repeat(5_000)
            ),
        ),
    ] {
        for form in ["text", "json", "sarif"] {
            let output = run("check", &["-", "-o", form], &input);
            let (read, told) = (input.len(), output.stdout.len());
            assert!(
                told < 200_000 + 8 * read,
                "{what} as {form}: {told} bytes of {read}"
            );
            assert!(output.status.code().is_some_and(|code| code < 2), "{what}");
            if form != "text" {
                serde_json::from_slice::<Value>(&output.stdout).unwrap();
            }
        }
        let output = run("explain", &["scope", "default/a", "--dir", "-"], &input);
        assert!(told(&output).len() < 200_000, "{what}");
    }
}

/// Each of many short files has a long path, and each of its problems repeats the path.
#[test]
fn the_output_for_many_short_files_is_in_proportion_too() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = root.path().to_owned();
    for _ in 0..10 {
        folder.push("n".repeat(250));
    }
    fs::create_dir_all(&folder).unwrap();
    let text = format!("#symbolon.dev\n{}", "[\n---\n".repeat(200));
    for n in 0..20 {
        fs::write(folder.join(format!("{n}.yaml")), &text).unwrap();
    }
    for form in ["text", "json", "sarif"] {
        let output = run("check", &[root.path().to_str().unwrap(), "-o", form], "");
        let length = output.stdout.len();
        assert_eq!(status(&output), 1);
        assert!(
            length < 2_000_000 + 8 * 20 * text.len(),
            "{form}: {length} bytes"
        );
    }
    let output = run("check", &[root.path().to_str().unwrap(), "-o", "json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let listed = report["problems"].as_array().unwrap().len() as u64;
    let number = |what: &str| report["summary"][what].as_u64().unwrap();
    let found = number("errors") + number("warnings");
    let untold = report["summary"]["untold"].as_u64().unwrap();
    assert!(listed > 0 && untold > 0);
    assert_eq!(listed + untold, found, "the others are counted");
    let output = run(
        "dev",
        &[root.path().to_str().unwrap(), "--listen", "127.0.0.1:0"],
        "",
    );
    let said = told(&output);
    assert!(
        said.contains("more: run symbolon check to list them"),
        "{said}"
    );
    assert!(said.len() < 100_000, "{}", said.len());
}

#[test]
fn other_file_types_are_refused_at_once_and_a_pipe_of_the_shell_is_read() {
    let root = tempfile::tempdir().unwrap();
    let fifo = root.path().join("fifo.yaml");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    std::os::unix::fs::symlink("/dev/zero", root.path().join("zero.yaml")).unwrap();
    for path in [
        &fifo,
        &root.path().join("zero.yaml"),
        Path::new("/dev/zero"),
    ] {
        let output = run("check", &[path.to_str().unwrap()], "");
        let told = told(&output);
        assert_eq!(status(&output), 2, "{told}");
        assert!(
            told.contains("neither a regular file nor a directory"),
            "{told}"
        );
    }
    fs::copy(
        format!("{}/platform/identity.yaml", super::HERE),
        root.path().join("a.yaml"),
    )
    .unwrap();
    let output = run("check", &[root.path().to_str().unwrap()], "");
    assert!(text(&output).contains("in 1 file:"), "{}", told(&output));
    for path in ["/dev/stdin", "/dev/fd/0", "/proc/self/fd/0"] {
        let manifest = fs::read_to_string(root.path().join("a.yaml")).unwrap();
        let output = run("check", &[path], &manifest);
        assert_eq!(status(&output), 0, "{}", told(&output));
    }
}

/// The report quotes lines of the files. In a directory others choose where links lead; a path argument is the user's
/// own choice.
#[test]
fn links_out_of_a_directory_are_left_out_and_a_path_that_is_named_is_read() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: {password: hunter2}\n";
    fs::write(elsewhere.path().join("secret.yaml"), secret).unwrap();
    fs::create_dir(root.path().join("deep")).unwrap();
    let target = elsewhere.path().join("secret.yaml");
    std::os::unix::fs::symlink(&target, root.path().join("deep/link.yaml")).unwrap();
    std::os::unix::fs::symlink(elsewhere.path(), root.path().join("deep/folder")).unwrap();
    fs::copy(
        format!("{}/platform/identity.yaml", super::HERE),
        root.path().join("a.yaml"),
    )
    .unwrap();
    let named = |path: &str| root.path().join(path).to_str().unwrap().to_owned();
    for form in ["text", "json", "sarif"] {
        for directory in ["", "deep"] {
            let output = run("check", &[&named(directory), "-o", form], "");
            assert!(!told(&output).contains("hunter2"), "{}", told(&output));
        }
    }
    for path in ["deep/link.yaml", "deep/folder/secret.yaml", "deep/folder"] {
        let output = run("check", &[&named(path)], "");
        assert!(told(&output).contains("hunter2"), "{}", told(&output));
        assert_eq!(status(&output), 1);
    }
}

/// The author of a directory may change it while it is read.
#[test]
fn a_file_that_becomes_a_link_while_the_directory_is_read_shows_nothing_of_its_target() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = elsewhere.path().join("secret.yaml");
    fs::write(
        &secret,
        "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: {password: hunter2}\n",
    )
    .unwrap();
    for n in 0..200 {
        fs::write(root.path().join(format!("a{n}.yaml")), "a: 1").unwrap();
    }
    let (path, aside) = (root.path().join("z.yaml"), root.path().join("z"));
    fs::write(&path, "a: 1").unwrap();
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let relaxed = std::sync::atomic::Ordering::Relaxed;
            while !done.load(relaxed) {
                std::os::unix::fs::symlink(&secret, &aside).unwrap();
                fs::rename(&aside, &path).unwrap();
                fs::write(&aside, "a: 1").unwrap();
                fs::rename(&aside, &path).unwrap();
            }
        });
        for _ in 0..10 {
            let output = run("check", &[root.path().to_str().unwrap()], "");
            assert!(!told(&output).contains("hunter2"), "{}", told(&output));
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn definitions_are_not_written_through_a_link() {
    let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let theirs = elsewhere.path().join("theirs");
    fs::write(&theirs, "theirs").unwrap();
    std::os::unix::fs::symlink(&theirs, root.path().join("scopes.yaml")).unwrap();
    let output = run("crds", &["--output", root.path().to_str().unwrap()], "");
    assert_eq!(status(&output), 0, "{}", told(&output));
    assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
    let written = fs::symlink_metadata(root.path().join("scopes.yaml")).unwrap();
    assert!(written.is_file());
    drop(File::open(root.path().join("scopes.yaml")).unwrap());
}
