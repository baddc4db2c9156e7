//! `symbolon check` and `symbolon explain` as users run them: the built binary, its output and its exit status.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "what goes wrong here fails a test, helpers included"
)]

mod terminal;

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/check");

/// Runs `symbolon check` in this folder.
fn check(arguments: &[&str], input: &str) -> Output {
    run("check", arguments, input)
}

fn run(command: &str, arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_symbolon"))
        .arg(command)
        .args(arguments)
        .current_dir(HERE)
        .env("NO_COLOR", "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // The process may exit before it has read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn status(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn last_line(output: &Output) -> &str {
    text(output).lines().last().unwrap()
}

const FAULTY: [&str; 3] = ["faulty", "--applied", "platform"];

#[test]
fn every_fault_is_shown_with_its_lines() {
    let output = check(&FAULTY, "");
    insta::assert_snapshot!(text(&output));
    assert_eq!(status(&output), 1);
}

#[test]
fn every_fault_is_told_as_json() {
    let output = check(&[&FAULTY[..], &["-o", "json"]].concat(), "");
    insta::assert_snapshot!(text(&output));
    assert_eq!(status(&output), 1);
}

#[test]
fn every_fault_is_told_as_sarif() {
    let output = check(&[&FAULTY[..], &["--format", "sarif"]].concat(), "");
    insta::assert_snapshot!(text(&output).replace(env!("CARGO_PKG_VERSION"), "VERSION"));
    assert_eq!(status(&output), 1);
}

/// Checks what SARIF 2.1.0 requires of the parts that we write.
#[test]
fn the_sarif_is_sound() {
    let output = check(&[&FAULTY[..], &["--format", "sarif"]].concat(), "");
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(log["version"], "2.1.0");
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(rules[rule]["id"], result["ruleId"]);
        assert!(["error", "warning", "note"].contains(&result["level"].as_str().unwrap()));
        assert!(!result["message"]["text"].as_str().unwrap().is_empty());
        let place = &result["locations"][0]["physicalLocation"];
        assert!(
            Path::new(HERE)
                .join(place["artifactLocation"]["uri"].as_str().unwrap())
                .is_file()
        );
        let number = |name: &str| place["region"][name].as_u64().unwrap();
        assert!(number("startLine") >= 1 && number("startColumn") >= 1);
        assert!(
            (number("endLine"), number("endColumn"))
                >= (number("startLine"), number("startColumn"))
        );
    }
}

/// A note repeats another mistake, so in all three forms it has a cause that is an error.
#[test]
fn a_note_points_to_its_cause() {
    const MANIFEST: &str = "apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec: {issuer: id.example.com}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: read, namespace: platform}
spec: {identityRef: {name: main}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: till, namespace: platform}
spec: {identityRef: {name: main}, grantTypes: [ClientCredentials], scopes: [read]}
";
    let output = check(&["-", "-o", "json"], MANIFEST);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        report["summary"],
        serde_json::json!({"objects": 3, "files": 1, "errors": 1, "warnings": 0, "notes": 2})
    );
    let problems = report["problems"].as_array().unwrap();
    let (errors, notes): (Vec<_>, Vec<_>) =
        problems.iter().partition(|it| it["severity"] == "error");
    assert_eq!((errors.len(), notes.len()), (1, 2));
    assert!(errors[0].get("cause").is_none());
    for note in notes {
        assert_eq!(note["severity"], "note");
        let cause = serde_json::json!({"file": "<stdin>", "line": 4, "column": 16});
        assert_eq!(note["cause"], cause);
        let says = "this follows from the fault of Identity platform/main at <stdin>:4:16";
        assert!(
            note["message"].as_str().unwrap().starts_with(says),
            "{note}"
        );
    }
    let output = check(&["-", "-o", "sarif"], MANIFEST);
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = log["runs"][0]["results"].as_array().unwrap();
    let notes = results.iter().filter(|result| result["level"] == "note");
    let related = notes.map(|note| &note["relatedLocations"][0]);
    let regions: Vec<_> = related
        .map(|it| &it["physicalLocation"]["region"])
        .collect();
    assert_eq!(regions.len(), 2);
    assert!(regions.iter().all(|region| region["startLine"] == 4));
    let output = check(&["-"], MANIFEST);
    assert_eq!(status(&output), 1);
    assert_eq!(
        text(&output).matches("☞ <stdin>:").count(),
        2,
        "{}",
        text(&output)
    );
    assert!(last_line(&output).ends_with("1 error, 0 warnings, 2 notes"));
}

/// The report has no error for a fault in a file of `--applied`, so what follows from it stays an error.
#[test]
fn what_follows_from_a_fault_of_the_context_is_an_error_that_points_to_it() {
    let folder = tempfile::tempdir().unwrap();
    let context = folder.path().join("identity.yaml");
    let broken = "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {name: main, namespace: shop}\nspec: [\n";
    std::fs::write(&context, broken).unwrap();
    let client = "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: till, namespace: shop}\nspec: {identityRef: {name: main}, grantTypes: [ClientCredentials]}\n";
    let arguments = ["-", "-o", "json", "--applied", context.to_str().unwrap()];
    let output = check(&arguments, client);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let errors = report["problems"].as_array().unwrap().iter();
    let errors: Vec<_> = errors.filter(|it| it["severity"] == "error").collect();
    assert_eq!((errors.len(), status(&output)), (1, 1), "{report}");
    assert_eq!(errors[0]["cause"]["line"], 4);
    assert_eq!(errors[0]["reason"], "IdentityNotFound");
}

/// A patch is a part of an object: alone it lacks fields, and beside the object it is a duplicate.
#[test]
fn patches_of_a_kustomization_are_skipped_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let head = "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {name: main, namespace: platform}\n";
    write("base/kustomization.yaml", "resources: [identity.yaml]\n");
    write(
        "base/identity.yaml",
        &format!("{head}spec: {{issuer: 'https://id.example.com'}}\n"),
    );
    write(
        "staging/kustomization.yaml",
        "resources: [../base]\npatches: [{path: patches/replicas.yaml}]\n",
    );
    let patch = write(
        "staging/patches/replicas.yaml",
        &format!("{head}spec: {{replicas: 3}}\n"),
    );
    let whole = folder.path().display().to_string();
    for path in [&whole, &format!("{whole}/staging"), &patch] {
        let output = check(&[path], "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(status(&output), 0, "{}", text(&output));
        let run = format!("run `kustomize build {whole}/staging | symbolon check -`");
        assert!(told.contains(&patch) && told.contains(&run), "{told}");
    }
}

/// A folder of objects in which a stranger adds a kustomization.
fn with_a_kustomization(at: &str, kustomization: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
    };
    let platform = Path::new(HERE).join("platform/identity.yaml");
    write("platform.yaml", &std::fs::read_to_string(platform).unwrap());
    write(
        "evil.yaml",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: evil, namespace: shop}\nspec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials], scopes: [orders.delete]}\n",
    );
    write(at, kustomization);
    folder
}

/// A stranger's kustomization must not decide which manifests are checked.
#[test]
fn a_kustomization_hides_no_object_that_can_be_applied_alone() {
    for (at, named) in [
        ("docs/example/kustomization.yaml", "../../evil.yaml"),
        ("docs/Kustomization", "example/../../evil.yaml"),
        ("kustomization.yaml", "evil.yaml"),
        ("kustomization.yml", "./x/../evil.yaml"),
    ] {
        for form in [
            "patches: [{path: PATH}]\n",
            "patchesStrategicMerge: [PATH]\n",
        ] {
            let folder = with_a_kustomization(at, &form.replace("PATH", named));
            let folder = folder.path().to_str().unwrap();
            for arguments in [vec![folder], vec![folder, "--strict"]] {
                let output = check(&arguments, "");
                assert_eq!(status(&output), 1, "{at} {named}: {}", text(&output));
                assert!(text(&output).contains("orders.delete"), "{}", text(&output));
            }
        }
    }
}

/// Labels of Namespaces decide who gets access.
#[test]
fn a_kustomization_hides_no_namespace() {
    let root = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(root.path().join(name), text).unwrap();
    let platform = std::fs::read_to_string("examples/quickstart/1-platform.yaml").unwrap();
    let selector = "selector: {matchLabels: {team: trusted}}";
    let platform = platform
        .replace("from: List", "from: Selector")
        .replace("names: [shop]", selector);
    assert!(platform.contains(selector), "{platform}");
    write("1-platform.yaml", &platform);
    write(
        "client.yaml",
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: backend, namespace: shop}\nspec: {identityRef: {name: main, namespace: platform}, grantTypes: [ClientCredentials], scopes: [orders.read]}\n",
    );
    let namespace =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: trusted}}\n";
    write("ns.yaml", namespace);
    write("kustomization.yaml", "patches: [{path: ns.yaml}]\n");
    let folder = root.path().to_str().unwrap();
    let strict = check(&[folder, "--strict"], "");
    assert_eq!(status(&strict), 0, "{}", text(&strict));
    let report = check(&[folder, "-o", "json"], "");
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    assert_eq!(report["skipped"], Value::Null, "{report}");
    // Another file defines it too, so which of the two counts is not known.
    write("other.yaml", namespace);
    let strict = check(&[folder, "--strict"], "");
    assert_eq!(status(&strict), 1, "{}", text(&strict));
    assert!(
        text(&strict).contains("Namespace shop is complete, but not checked"),
        "{}",
        text(&strict)
    );
}

/// Kustomize takes `github.com/a/b` for a remote repository, even if the folder exists.
#[test]
fn a_suggested_folder_is_never_a_remote_repository() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("github.com/evil/repo");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(
        folder.join("kustomization.yaml"),
        "patches: [{path: p.yaml}]\n",
    )
    .unwrap();
    let part = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\n";
    std::fs::write(folder.join("p.yaml"), part).unwrap();
    for named in [
        "github.com/evil/repo",
        "./github.com/evil/repo",
        "github.com/evil/repo/p.yaml",
        "./github.com/evil/repo/p.yaml",
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .args(["check", named])
            .current_dir(root.path())
            .output()
            .unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        let wanted = "run `kustomize build ./github.com/evil/repo | symbolon check -`";
        assert!(errors.contains(wanted), "{named}: {errors}");
    }
}

/// Without the kustomization it is not known which of the two counts.
#[test]
fn a_complete_patch_of_another_object_is_a_warning_and_fails_a_strict_check() {
    let folder = with_a_kustomization(
        "over/kustomization.yaml",
        "resources: [..]\npatches: [{path: scope.yaml}]\n",
    );
    let scope = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a, namespace: platform}\nspec: {identityRef: {name: main}, audiences: ['https://a.example.com'], displayName: A}\n";
    std::fs::write(folder.path().join("scope.yaml"), scope).unwrap();
    std::fs::write(folder.path().join("over/scope.yaml"), scope).unwrap();
    std::fs::remove_file(folder.path().join("evil.yaml")).unwrap();
    let folder = folder.path().to_str().unwrap();
    let output = check(&[folder, "-o", "json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(status(&output), 0, "{report}");
    let warnings = report["problems"].as_array().unwrap();
    let warning = warnings
        .iter()
        .find(|it| it["severity"] == "warning")
        .unwrap();
    assert_eq!(
        (&warning["line"], warnings.len()),
        (&3.into(), 1),
        "{report}"
    );
    let says = warning["message"].as_str().unwrap();
    let run = format!("run `kustomize build {folder}/over | symbolon check -`");
    assert!(
        says.starts_with("Scope platform/a is complete, but not checked"),
        "{says}"
    );
    assert!(says.ends_with(&run), "{says}");
    assert_eq!(status(&check(&[folder, "--strict"], "")), 1);
}

/// Reports for machines name what was not checked.
#[test]
fn skipped_patches_are_in_every_format() {
    let folder = with_a_kustomization("kustomization.yaml", "patches: [{path: evil.yaml}]\n");
    let evil = folder.path().join("evil.yaml");
    std::fs::write(
        &evil,
        "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: evil, namespace: shop}\n",
    )
    .unwrap();
    let root = folder.path().to_str().unwrap();
    let output = check(&[root, "--strict", "-o", "json"], "");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        status(&output),
        0,
        "a part of an object is no fault: {report}"
    );
    assert_eq!(report["summary"]["skipped"], 1);
    let skipped = &report["skipped"][0];
    assert_eq!(skipped["file"], evil.to_str().unwrap());
    assert_eq!(skipped["kustomization"], root);
    let output = check(&[root, "-o", "sarif"], "");
    let log: Value = serde_json::from_slice(&output.stdout).unwrap();
    let run = &log["runs"][0];
    let result = &run["results"][0];
    assert_eq!(
        (&result["ruleId"], &result["level"]),
        (&"SkippedPatch".into(), &"note".into())
    );
    let rule = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
    assert_eq!(run["tool"]["driver"]["rules"][rule]["id"], "SkippedPatch");
    let at = &result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert!(at.as_str().unwrap().ends_with("/evil.yaml"), "{at}");
    let output = check(&[root], "");
    assert!(
        last_line(&output).ends_with("; skipped 1 patch"),
        "{}",
        text(&output)
    );
}

/// A patch that cannot be read may be anything.
#[test]
fn a_patch_with_a_fault_of_its_text_is_reported() {
    let folder = with_a_kustomization("kustomization.yaml", "patches: [{path: evil.yaml}]\n");
    let broken = "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: evil\n";
    std::fs::write(folder.path().join("evil.yaml"), broken).unwrap();
    let output = check(&[folder.path().to_str().unwrap()], "");
    assert_eq!(status(&output), 1, "{}", text(&output));
}

#[test]
fn valid_objects_are_counted() {
    let output = check(&["platform"], "");
    assert_eq!(
        (text(&output), status(&output)),
        ("checked 4 objects in 1 file: 0 errors, 0 warnings\n", 0)
    );
}

#[test]
fn the_context_is_not_judged() {
    let manifest = std::fs::read_to_string(Path::new(HERE).join("platform/identity.yaml")).unwrap();
    let output = check(&["-", "--applied", "faulty"], &manifest);
    assert_eq!(
        last_line(&output).split(": ").next(),
        Some("checked 4 objects in 1 file")
    );
    let output = check(
        &["--format=json", "-", "--applied", "faulty/3-tokens.json"],
        &manifest,
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["problems"], serde_json::json!([]));
}

#[test]
fn standard_input_is_read() {
    let output = check(
        &["-"],
        "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: {valeu: b}\n",
    );
    assert!(text(&output).contains("[<stdin>:4:8]"), "{}", text(&output));
    assert!(text(&output).contains("unknown field `valeu`: did you mean `value`?"));
    assert_eq!(status(&output), 1);
}

#[test]
fn empty_standard_input_is_an_error_since_the_command_before_the_pipe_may_have_failed() {
    for input in ["", " \n\n"] {
        let output = check(&["-"], input);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.contains("standard input is empty"), "{told}");
        assert_eq!(status(&output), 2);
    }
}

#[test]
fn objects_of_other_kinds_pass() {
    let output = check(
        &["-"],
        "apiVersion: v1\nkind: ConfigMap\n---\napiVersion: example.dev/v1\nkind: Scope\nspec: 5\n",
    );
    assert_eq!(
        (last_line(&output), status(&output)),
        ("checked 0 objects in 1 file: 0 errors, 0 warnings", 0)
    );
}

/// Rendered manifests may hold values that no repository holds, and the output goes into build logs.
#[test]
fn no_line_of_a_secret_is_shown() {
    const VALUE: &str = "Zt5mW0qC8xK2vN7rJ4bL";
    for manifest in [
        format!("kind: Secret\nstringData:\n  a: {VALUE}\n  a: {VALUE}\n"),
        format!(
            "kind: Secret\nmetadata: {{labels: {{symbolon.dev/client: till}}}}\nstringData:\n  a: {VALUE}: b\n"
        ),
        format!("stringData: {{a: {VALUE}\nkind: 'Secret'\n"),
        format!("kind: Secret\nstringData:\n  a: {VALUE}\n\tb: c\n"),
        format!("kind: Secret\nstringData:\n  a: {VALUE}\n--- b\n"),
        format!("kind: Secret\nstringData:\n  a: {VALUE}\0\n"),
        format!("{{\"kind\": \"Secret\", \"stringData\": {{\"a\": \"{VALUE}\",,}}}}"),
        format!("kind: Secret\nstringData:\n  a: !{VALUE}\n"),
        format!("apiVersion: v1\nkind: >-\n  Secret\nstringData:\n  a: {VALUE}: b\n"),
        format!("apiVersion: v1\nkind: secret\nstringData:\n  a: {VALUE}: b\n"),
        format!("kind: Secret\nstringData:\n  a: !!int {VALUE}\n"),
        format!(
            "kind: Secret\nstringData:\n  a: |\n-----BEGIN PRIVATE KEY-----\n{VALUE}\n-----END PRIVATE KEY-----\n"
        ),
        format!(
            "kind: Scope\napiVersion: symbolon.dev/v1alpha1\nmetadata: {{name: a}}\nspec: {{valeu: b}}\n---\n{{\"stringData\": {{\"a\": \"{VALUE}\"}}, \"kind\": \"Secret\", \"apiVersion\": \"v1\"}}\n"
        ),
        format!(
            "kind: List\napiVersion: v1\nitems:\n- {{kind: Secret, apiVersion: v1, stringData: {{a: {VALUE}}}}}\n- {{kind: Scope, apiVersion: symbolon.dev/v1alpha1, metadata: {{name: a}}, spec: {{valeu: b}}}}\n"
        ),
    ] {
        for form in ["text", "json", "sarif"] {
            let output = check(&["-", "-o", form], &manifest);
            assert!(!text(&output).contains(VALUE), "{}", text(&output));
            assert!(
                text(&output).contains("stdin"),
                "the output names the place: {}",
                text(&output)
            );
        }
    }
}

/// In a Secret a key may be a secret text, because a wrong indentation turns a value into a key.
#[test]
fn a_key_that_is_written_twice_is_named_unless_the_file_may_hold_a_secret() {
    const KEY: &str = "Zt5mW0qC8xK2vN7rJ4bL";
    let ours = format!("apiVersion: symbolon.dev/v1alpha1\nkind: Scope\n{KEY}: a\n{KEY}: b\n");
    for (manifest, is_named) in [
        (ours.clone(), true),
        (
            format!("kind: Secret\nstringData:\n  {KEY}: a\n  {KEY}: b\n"),
            false,
        ),
        (
            format!("{{\"kind\": \"Secret\", \"{KEY}\": 1, \"{KEY}\": 2}}"),
            false,
        ),
        (
            format!("kind: Secret\na: &x {{{KEY}: 1}}\nb: {{{KEY}: 2, <<: *x}}\n"),
            false,
        ),
        (format!("{ours}---\nkind: Secret\ndata: {{a: b}}\n"), false),
    ] {
        for form in ["text", "json", "sarif"] {
            let output = check(&["-", "-o", form], &manifest);
            assert_eq!(
                text(&output).contains(KEY),
                is_named,
                "{manifest}{}",
                text(&output)
            );
            let fault = ["written twice", "move '<<' above"];
            assert!(fault.iter().any(|words| text(&output).contains(words)));
        }
    }
}

#[test]
fn warnings_fail_only_where_that_is_asked() {
    let weak = "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {name: a}\nspec: {issuer: 'https://id', limits: {neverExpiringTokens: Allow}}\n";
    let output = check(&["-"], weak);
    assert_eq!(
        (last_line(&output), status(&output)),
        ("checked 1 object in 1 file: 0 errors, 1 warning", 0)
    );
    assert_eq!(status(&check(&["-", "--strict"], weak)), 1);
}

#[test]
fn the_default_identity_is_the_installations() {
    let client = "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: a, namespace: platform}\nspec: {grantTypes: [ClientCredentials]}\n";
    let arguments = ["-", "--applied", "platform"];
    assert_eq!(status(&check(&arguments, client)), 1);
    let output = check(
        &[&arguments[..], &["--default-identity", "platform/main"]].concat(),
        client,
    );
    assert_eq!(status(&output), 0, "{}", text(&output));
}

#[test]
fn identities_are_accepted_where_the_installation_says() {
    const IDENTITY: &str = "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {name: main, namespace: platform}\nspec: {issuer: https://id.example.com}\n";
    for (accepted, expected) in [
        (&[][..], 0),
        (&["--identity-namespace", "elsewhere"], 1),
        (&["--identity-namespace", "elsewhere,platform"], 0),
        (&["--identity-namespace", "*"], 0),
    ] {
        let output = check(&[accepted, &["-"]].concat(), IDENTITY);
        assert_eq!(status(&output), expected, "{accepted:?}: {}", text(&output));
        let client = "apiVersion: symbolon.dev/v1alpha1\nkind: OAuthClient\nmetadata: {name: a, namespace: platform}\nspec: {identityRef: {name: main}, grantTypes: [ClientCredentials]}\n";
        let question = ["client", "platform/a", "--dir", "-"];
        let both = format!("{IDENTITY}---\n{client}");
        let output = run("explain", &[&question[..], accepted].concat(), &both);
        assert_eq!(status(&output), expected, "{accepted:?}: {}", text(&output));
    }
}

#[test]
fn characters_that_reorder_a_line_are_escaped() {
    let manifest = "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: a}\nspec: {value: \"ab\u{202e}c\"}\n";
    let output = check(&["-"], manifest);
    assert!(text(&output).contains("\\u{202e}"));
    assert!(!text(&output).contains('\u{202e}'));
}

#[test]
fn usage_errors_differ_from_wrong_manifests() {
    for (arguments, words) in [
        (&["missing.yaml"][..], "cannot read missing.yaml"),
        (
            &["snapshots"][..],
            "found no *.yaml, *.yml or *.json file in snapshots",
        ),
        (
            &["platform", "--applied", "missing"][..],
            "cannot read missing",
        ),
        (
            &["platform", "--default-identity", "main"][..],
            "write NAMESPACE/NAME",
        ),
        (
            &["platform", "--context", "faulty"][..],
            "this option was renamed: write --applied PATH",
        ),
        (&["platform", "--format", "xml"][..], "possible values"),
        (&[][..], "required"),
    ] {
        let output = check(arguments, "");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!((status(&output), text(&output)), (2, ""), "{arguments:?}");
        assert!(told.contains(words), "{arguments:?}: {told}");
    }
}

#[test]
fn the_examples_are_without_a_warning() {
    for example in ["quickstart", "secrets"] {
        let output = check(&[&format!("../../examples/{example}"), "--strict"], "");
        assert_eq!(status(&output), 0, "{example}: {}", text(&output));
    }
}

#[test]
fn each_rule_is_explained() {
    let where_ = ["--dir", "faulty", "--dir", "platform"];
    let mut told = String::new();
    for question in [
        &["client", "shop/till"][..],
        &["client", "shop/till", "--scope", "orders.read"],
        &["client", "shop/till", "--scope", "orders.delete"],
        &["client", "shop/thief"],
        &["client", "cellar/stranger"],
        &["client", "shop/nowhere"],
        &["client", "shop/shape"],
        &["client", "shop/nobody"],
        &["scope", "platform/orders.write", "--namespace", "shop"],
        &["scope", "platform/orders.write", "--namespace", "warehouse"],
        &["token", "shop/long"],
        &["token", "shop/orphan"],
    ] {
        let output = run("explain", &[question, &where_[..]].concat(), "");
        let refused = text(&output).contains('✗');
        assert_eq!(status(&output), i32::from(refused), "{question:?}");
        told += &[
            "$ symbolon explain ",
            &question.join(" "),
            "\n",
            text(&output),
            "\n",
        ]
        .concat();
    }
    insta::assert_snapshot!(told);
}

#[test]
fn an_explanation_of_a_template_says_what_it_may_set_and_what_is_left_out() {
    let question = [
        "token",
        "shop/obeyed",
        "--dir",
        "faulty",
        "--dir",
        "platform",
    ];
    let output = run("explain", &question, "");
    let told = text(&output);
    for expected in [
        "✓ secret-metadata: Identity platform/main allows templates to set the labels: app, app.kubernetes.io/component, app.kubernetes.io/part-of, env, reloader.stakater.com/match, team\n",
        "· the label \"argocd.argoproj.io/secret-type\" in spec.secret.template.labels is not written",
        "· the annotation \"replicator.v1.mittwald.de/replicate-to\"",
    ] {
        assert!(told.contains(expected), "{expected}\nin\n{told}");
    }
    assert_eq!(
        status(&output),
        0,
        "what is left out refuses nothing: {told}"
    );
    let output = run("explain", &[&question[..], &["-o", "json"]].concat(), "");
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["warnings"].as_array().unwrap().len(), 2);
}

#[test]
fn the_lists_of_the_installation_are_judged_where_they_are_given() {
    let lists = r#"{"allowedLabels": ["app"], "allowedAnnotations": ["*"]}"#;
    let given = ["--allowed-secret-metadata", lists];
    let by_chart = "the installation's chart value secrets.allowedLabels does not list it";
    let explain = [
        "token",
        "shop/obeyed",
        "--dir",
        "faulty",
        "--dir",
        "platform",
    ];
    let check = ["faulty", "--applied", "platform", "-o", "json"];
    for (command, arguments) in [("explain", &explain[..]), ("check", &check)] {
        let without = run(command, arguments, "");
        assert!(!text(&without).contains("secrets.allowed"), "{command}");
        let with = run(command, &[arguments, &given].concat(), "");
        assert!(text(&with).contains(by_chart), "{}", text(&with));
        assert!(!text(&with).contains("secrets.allowedAnnotations"));
    }
    let output = run("explain", &[&explain[..], &given].concat(), "");
    let expected = "team; the installation's chart value secrets.allowedLabels lists: app\n";
    assert!(text(&output).contains(expected), "{}", text(&output));
    let typo = ["--allowed-secret-metadata", r#"{"labels": []}"#];
    let output = run("check", &[&check[..], &typo].concat(), "");
    assert_eq!(status(&output), 2);
}

/// The token is as `kubectl get -o yaml` prints it.
#[test]
fn the_status_of_a_token_is_explained_too() {
    let token = "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: shop, resourceVersion: \"7\"}
spec: {clientRef: {name: till}, scopes: [orders.read], rotation: {retire: WhenAdopted}}
status:
  tokenId: abcdefghijklmnop
  issuedAt: 2026-01-01T00:00:00Z
  expiresAt: 2026-04-01T00:00:00Z
  renewsAt: 2026-03-01T00:00:00Z
  lastUsed: 2026-01-02
  createdBy: ann@example.com
  previous: {tokenId: ponmlkjihgfedcba, notAfter: 2026-01-02T00:00:00Z}
";
    let output = run(
        "explain",
        &["token", "shop/nightly", "--dir", "-", "--dir", "platform"],
        token,
    );
    let told = text(&output);
    for expected in [
        "· token abcdefghijklmnop, issued 2026-01-01T00:00:00Z, expires 2026-04-01T00:00:00Z, next rotation 2026-03-01T00:00:00Z: last used on 2026-01-02",
        "· previous token ponmlkjihgfedcba, expires 2026-01-02T00:00:00Z, or earlier once the newest token is used and this one is unused for 1h: no use recorded",
        "· created by ann@example.com",
    ] {
        assert!(told.contains(expected), "{expected}\nin\n{told}");
    }
}

#[test]
fn explanations_are_told_as_json() {
    let output = run(
        "explain",
        &[
            "scope",
            "platform/orders.read",
            "--dir",
            "platform",
            "-o",
            "json",
        ],
        "",
    );
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (&told["kind"], &told["allowed"], status(&output)),
        (&"Scope".into(), &true.into(), 0)
    );
    assert!(
        told["steps"]
            .as_array()
            .unwrap()
            .iter()
            .all(|step| step["verdict"] == "holds")
    );
    assert_eq!(
        status(&run(
            "explain",
            &["scope", "orders.read", "--dir", "platform"],
            ""
        )),
        2
    );
    assert_eq!(
        status(&run("explain", &["scope", "a/b", "--dir", "missing"], "")),
        2
    );
}

#[test]
fn a_flood_of_problems_is_counted_and_not_drawn() {
    let flood = "apiVersion: symbolon.dev/v1alpha1\nkind: X\n---\n".repeat(300);
    let output = check(&["-"], &flood);
    assert_eq!(status(&output), 1);
    assert_eq!(text(&output).matches("is not a kind of").count(), 200);
    assert!(text(&output).contains("and 100 more"));
    assert!(
        last_line(&output).contains("300 errors"),
        "{}",
        last_line(&output)
    );
}
