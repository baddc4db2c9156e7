//! Hostile content that a repository, or another program on the machine, may put into the folders.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::state::kids;
use super::support::{Client, Dev, Ports, eventually};
use super::{GATEWAY, SHOP, Served, quickstart};

fn files_below(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    let below = |path: PathBuf| {
        if path.is_dir() {
            files_below(&path)
        } else {
            vec![path]
        }
    };
    entries.into_iter().flat_map(below).collect()
}

fn make_fifo(path: &Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// The author of a repository may ship `DIR/.symbolon` with keys that the author knows.
#[test]
fn state_that_comes_with_a_repository_is_refused() {
    let theirs = Served::start();
    theirs.token();
    let folder = quickstart();
    let state = folder.file(".symbolon");
    let mut copied = Command::new("cp");
    copied
        .arg("-a")
        .args([&theirs.folder.file(".symbolon"), &state]);
    assert!(copied.status().unwrap().success());
    let said = Dev::fails(folder.path(), Ports::free());
    assert!(said.contains("not made here by symbolon dev"), "{said}");
    assert!(said.contains(state.to_str().unwrap()), "{said}");
    // A user who copied the state on purpose runs the command in the message.
    let command = said.split_once("run: ").unwrap().1.lines().next().unwrap();
    let done = Command::new("sh").args(["-c", command]).status().unwrap();
    assert!(done.success(), "{command}");
    let dev = Dev::start(&folder);
    assert_eq!(kids(&dev), kids(&theirs.dev));
    drop(dev);
    fs::remove_dir_all(&state).unwrap();
    symlink(theirs.folder.file(".symbolon"), &state).unwrap();
    let said = Dev::fails(folder.path(), Ports::free());
    assert!(said.contains("is a symbolic link"), "{said}");
}

/// Git silently overwrites an ignored file when a commit contains it.
#[test]
fn keys_that_a_repository_replaced_are_refused_at_the_start_and_while_it_runs() {
    let theirs = Served::start();
    let (folder, ports) = (quickstart(), Ports::free());
    let dev = Dev::start_on(&folder, ports);
    let token = folder.secret("shop", "nightly-report-token", "token");
    let ours = kids(&dev);
    let at = |name: &str| format!(".symbolon/keys/platform/{name}.yaml");
    let names = ["main-mac", "main-signing"];
    let good = names.map(|name| folder.read(&at(name)));
    // Replace it in one step: dev mode recreates a key that is absent even for a moment.
    let replace = |name: &str| {
        let aside = folder.file("aside");
        fs::copy(theirs.folder.file(&at(name)), &aside).unwrap();
        fs::rename(&aside, folder.file(&at(name))).unwrap();
    };
    let refused = |name: &str| format!("{name}.yaml is not as symbolon dev wrote it");
    for (name, good) in names.iter().zip(&good) {
        replace(name);
        dev.line_with(&[&refused(name), "the previous keys stay in use"]);
        assert_eq!(kids(&dev), ours);
        assert_eq!(dev.check(GATEWAY, &token["token"]), 200);
        fs::write(folder.file(&at(name)), good).unwrap();
    }
    dev.terminate();
    for (name, good) in names.iter().zip(&good) {
        replace(name);
        let said = Dev::fails(folder.path(), ports);
        assert!(said.contains(&refused(name)), "{said}");
        fs::write(folder.file(&at(name)), good).unwrap();
    }
    let dev = Dev::start_on(&folder, ports);
    assert_eq!(kids(&dev), ours, "restored keys are accepted");
    dev.terminate();
    replace("main-signing");
    fs::remove_file(folder.file(&at("main-signing"))).unwrap();
    let dev = Dev::start_on(&folder, ports);
    let new = kids(&dev);
    assert!(![ours, kids(&theirs.dev)].contains(&new), "{new:?}");
    assert_eq!(dev.check(GATEWAY, &token["token"]), 200);
}

/// Symbolic links in place of folders of the state, such as `.symbolon/status/Scope`.
#[test]
fn nothing_outside_the_state_folder_is_created_written_or_deleted() {
    let folder = quickstart();
    Dev::start(&folder).terminate();
    let outside = tempfile::tempdir().unwrap();
    let linked = |folder_of: &str| {
        let place = folder.file(&format!(".symbolon/{folder_of}"));
        let target = outside.path().join(folder_of.replace('/', "-"));
        fs::rename(&place, &target).unwrap();
        symlink(&target, &place).unwrap();
        target
    };
    let mut targets = Vec::new();
    for folder_of in ["status/Scope", "status/OAuthClient", "secrets/shop"] {
        targets.push(linked(folder_of));
    }
    let theirs: Vec<PathBuf> = targets.iter().flat_map(|it| files_below(it)).collect();
    assert!(theirs.len() > 3, "{theirs:?}");
    for file in &theirs {
        fs::write(file, "theirs").unwrap();
    }
    let dev = Dev::start(&folder);
    folder.replace(SHOP, "lifetime: 720h", "lifetime: 700h");
    dev.line_with(&["is a symbolic link"]);
    let (status, output) = dev.terminate();
    assert!(status.success(), "{output}");
    for file in &theirs {
        let text = fs::read_to_string(file).unwrap();
        assert_eq!(text, "theirs", "{}", file.display());
    }
    let now: Vec<PathBuf> = targets.iter().flat_map(|it| files_below(it)).collect();
    assert_eq!(now, theirs);
}

#[test]
fn fifos_and_devices_in_the_folders_neither_hang_nor_end_it() {
    let folder = quickstart();
    Dev::start(&folder).terminate();
    for put in ["fifo", "/dev/zero", "/proc/self/mem"] {
        let at = |name: &str| {
            // Replace it in one step: dev mode recreates a Secret that is absent even for a moment.
            let (path, beside) = (folder.file(name), folder.file(&format!("{name}.new")));
            if put == "fifo" {
                make_fifo(&beside);
            } else {
                symlink(put, &beside).unwrap();
            }
            fs::rename(&beside, &path).unwrap();
        };
        at("a.yaml");
        at(".symbolon/secrets/shop/other.yaml");
        at(".symbolon/credentials/platform/other.yaml");
        at(".symbolon/status/Scope/platform/orders.read.yaml");
        at(".symbolon/keys/platform/other.yaml");
        let dev = Dev::start(&folder);
        let token = folder.secret("shop", "nightly-report-token", "token");
        eventually("the token is accepted", || {
            (dev.check(GATEWAY, &token["token"]) == 200).then_some(())
        });
        // Also when one appears while it runs.
        at(".symbolon/secrets/shop/backend-client.yaml");
        folder.replace(SHOP, "Shop backend", "Other Shop backend");
        dev.line_with(&["backend-client.yaml: ", "remove it"]);
        fs::remove_file(folder.file(".symbolon/secrets/shop/backend-client.yaml")).unwrap();
        let client = Client::of(&folder.secret("shop", "backend-client", "client-secret"));
        eventually("the new secret is accepted", || {
            (client.ask(&[]).0 == 200).then_some(())
        });
        assert!(dev.terminate().0.success());
    }
    for name in [".lock", "uids.json"] {
        let path = folder.file(&format!(".symbolon/{name}"));
        fs::remove_file(&path).unwrap();
        make_fifo(&path);
        let said = Dev::fails(folder.path(), Ports::free());
        assert!(said.contains("not a regular file"), "{name}: {said}");
        fs::remove_file(&path).unwrap();
    }
}

/// The YAML library would need hours to read it.
#[test]
fn yaml_that_is_slow_to_parse_neither_hangs_nor_ends_it() {
    let folder = quickstart();
    Dev::start(&folder).terminate();
    let bomb = format!("a: {}", "{a: ".repeat(300_000));
    let put = |name: &str| {
        let (path, beside) = (folder.file(name), folder.file(&format!("{name}.new")));
        fs::write(&beside, &bomb).unwrap();
        fs::rename(&beside, &path).unwrap();
    };
    put(".symbolon/secrets/shop/other.yaml");
    put(".symbolon/credentials/platform/other.yaml");
    put(".symbolon/status/Scope/platform/orders.read.yaml");
    put(".symbolon/keys/platform/other.yaml");
    let dev = Dev::start(&folder);
    let token = folder.secret("shop", "nightly-report-token", "token");
    eventually("the token is accepted", || {
        (dev.check(GATEWAY, &token["token"]) == 200).then_some(())
    });
    // Also when one appears while it runs.
    let secret = ".symbolon/secrets/shop/backend-client.yaml";
    put(secret);
    folder.replace(SHOP, "Shop backend", "Other Shop backend");
    dev.line_with(&["backend-client.yaml: ", "could take gigabytes", "remove it"]);
    fs::remove_file(folder.file(secret)).unwrap();
    let client = Client::of(&folder.secret("shop", "backend-client", "client-secret"));
    eventually("the new secret is accepted", || {
        (client.ask(&[]).0 == 200).then_some(())
    });
    assert!(dev.terminate().0.success());
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let folder = quickstart();
    let dev = Dev::start(&folder);
    let deep = "d/".repeat(70);
    fs::create_dir_all(folder.file(&deep)).unwrap();
    dev.line_with(&["/d/d: folders are nested deeper", "will retry"]);
    fs::remove_dir_all(folder.file("d")).unwrap();
    folder.write(SHOP, "apiVersion: symbolon.dev/v1alpha1\nkind: [");
    dev.line_with(&["2-shop.yaml:2:", "is not closed"]);
    assert!(dev.terminate().0.success());
}

#[test]
fn control_characters_in_names_never_reach_the_terminal() {
    const HOSTILE: &str = "x\u{1b}[2J\u{1b}]0;t\u{7}\u{9b}31m\u{7f}\r\u{202e}\u{2066}\u{200b}\u{200f}\u{1d173}\u{1bca0}y";
    let folder = quickstart();
    let hex = |c: char| format!("\\U{:08x}", u32::from(c));
    let escaped = format!("\"{}\"", HOSTILE.chars().map(hex).collect::<String>());
    let object = |kind: &str, metadata: &str, spec: &str| {
        format!(
            "---\napiVersion: symbolon.dev/v1alpha1\nkind: {kind}\nmetadata: {metadata}\nspec: {spec}\n"
        )
    };
    let shown = object(
        "OAuthClient",
        "{name: shown, namespace: shop}",
        &format!(
            "{{identityRef: {{name: main, namespace: platform}}, grantTypes: [ClientCredentials], displayName: {escaped}}}"
        ),
    );
    let refused = object(
        "Scope",
        &format!("{{name: {escaped}, namespace: {escaped}}}"),
        "{value: a}",
    );
    let fault = object("Scope", "{name: a}", &format!("{{{escaped}: 1}}"));
    folder.write(
        &format!("{HOSTILE}.yaml"),
        &format!("{shown}{refused}{fault}"),
    );
    folder.write(
        &format!("{HOSTILE}2.yaml"),
        &format!("{shown}---\nkind: {escaped}\napiVersion: symbolon.dev/v1alpha1\n"),
    );
    let dev = Dev::start(&folder);
    dev.line_with(&["y.yaml:"]);
    dev.line_with(&["y2.yaml:"]);
    folder.write(&format!("{HOSTILE}3.yaml"), &fault);
    dev.line_with(&["y3.yaml"]);
    let (_, output) = dev.terminate();
    let obeyed = |c: &char| {
        *c != '\n'
            && (c.is_control()
                || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
                    | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'))
    };
    let found: Vec<char> = output.chars().filter(obeyed).collect();
    assert!(found.is_empty(), "{found:?} in {}", output.escape_debug());
}

/// `/dev/full`, and a pipe that its reader has closed.
#[test]
fn it_keeps_serving_when_its_output_cannot_be_written() {
    let out = tempfile::tempdir().unwrap();
    let closed = out.path().join("closed");
    make_fifo(&closed);
    for out in [Path::new("/dev/full"), &closed] {
        let folder = quickstart();
        if out == closed {
            let closed = closed.clone();
            std::thread::spawn(move || drop(fs::File::open(closed)));
        }
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" \"$@\" >\"$OUT\""]);
        command.args([env!("CARGO_BIN_EXE_symbolon"), "dev"]);
        command.arg(folder.path()).env("OUT", out);
        let dev = Dev::start_command(command);
        Client::of(&folder.secret("shop", "backend-client", "client-secret")).token();
        let (status, output) = dev.terminate();
        assert_eq!((status.code(), &*output), (Some(0), ""));
    }
}
