//! Installs what tests need besides Rust: packages of lockfiles into the build tree, and Debian's packages by scripts.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const FOR_NODE: &str = "tests with Node.js need Node.js 20 or newer with npm \
                                   (on Debian: apt-get install nodejs npm)";

/// Creates `target/<group>/<name>` with `make`, again only when one of `made_of` changes.
pub(crate) fn install(
    group: &str,
    name: &str,
    made_of: &[&str],
    make: impl FnOnce(&Path),
) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let group_folder = target.join(group);
    fs::create_dir_all(&group_folder).unwrap();
    // Another test program may be installing it. That program holds the lock until it is done or has ended.
    let lock = File::create(group_folder.join(format!("{name}.lock"))).unwrap();
    lock.lock().unwrap();
    let folder = group_folder.join(name);
    let stamp = group_folder.join(format!("{name}.stamp"));
    let made_of = made_of.join("\n---\n");
    if fs::read_to_string(&stamp).is_ok_and(|text| text == made_of) {
        return folder;
    }
    eprintln!(
        "{group}: installing the {name} packages into {}",
        folder.display()
    );
    let _ = fs::remove_file(&stamp);
    let _ = fs::remove_dir_all(&folder);
    make(&folder);
    fs::write(&stamp, made_of).unwrap();
    folder
}

/// Returns the folder `target/<group>/node` with the `node_modules` of the lockfile in `sources`, and with these scripts.
/// Node.js searches for packages from the folder of the script.
pub(crate) fn npm(group: &str, sources: &Path, scripts: &[&str]) -> PathBuf {
    let version = version_of("node", FOR_NODE);
    let files = [&["package.json", "package-lock.json", ".npmrc"], scripts].concat();
    let texts: Vec<String> = files
        .iter()
        .map(|file| fs::read_to_string(sources.join(file)).unwrap())
        .collect();
    let mut stamp = vec![version.as_str()];
    stamp.extend(texts.iter().map(String::as_str));
    install(group, "node", &stamp, |folder| {
        write_all(folder, &files, &texts);
        run(
            Command::new("npm")
                .args(["ci", "--silent", "--ignore-scripts"])
                .current_dir(folder),
            FOR_NODE,
        );
    })
}

/// Creates a folder with these files.
pub(crate) fn write_all(folder: &Path, files: &[&str], texts: &[String]) {
    fs::create_dir_all(folder).unwrap();
    for (file, text) in files.iter().zip(texts) {
        fs::write(folder.join(file), text).unwrap();
    }
}

/// Runs a script that installs something, and returns what it prints.
pub(crate) fn printed_by(script: &Path) -> String {
    let output = Command::new(script).stderr(Stdio::inherit()).output();
    let output = output.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{}: its output is above",
        script.display()
    );
    String::from_utf8(output.stdout).unwrap()
}

pub(crate) fn version_of(program: &str, needed_for: &str) -> String {
    let output = Command::new(program).arg("--version").output();
    let output = output.unwrap_or_else(|error| not_started(program, &error, needed_for));
    format!("{program} {}", String::from_utf8_lossy(&output.stdout))
}

pub(crate) fn run(command: &mut Command, on_failure: &str) {
    // Its output goes to standard error, because standard output belongs to the test runner.
    let ran = command.stdin(Stdio::null()).stdout(io::stderr()).status();
    let program = command.get_program().to_string_lossy().into_owned();
    let status = ran.unwrap_or_else(|error| not_started(&program, &error, on_failure));
    assert!(status.success(), "{command:?}: {status}; {on_failure}");
}

pub(crate) fn not_started(program: &str, error: &io::Error, needed_for: &str) -> ! {
    panic!("{program} cannot be started ({error}): {needed_for}")
}
