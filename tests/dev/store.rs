//! `symbolon store` as an administrator runs it, beside a running server.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::Value;

use super::quickstart;
use super::support::{Browser, Dev, End, Folder, Person, Ports, eventually};

const PASSWORD: &str = "correct horse battery staple 7";

fn symbolon(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command
        .arg("store")
        .args(arguments)
        .env_remove("SYMBOLON_STORE");
    command.stdin(Stdio::null()).output().unwrap()
}

/// Runs the command, which must succeed, and returns its standard output.
fn done(arguments: &[&str]) -> Vec<u8> {
    let output = symbolon(arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {words}");
    output.stdout
}

/// Runs the command, which must fail with this status, and returns the message.
fn fails(code: i32, arguments: &[&str]) -> String {
    let output = symbolon(arguments);
    let words = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{arguments:?}: {words}");
    words
}

/// Dev mode with alice, who has a password.
struct Town {
    folder: Folder,
    ports: Ports,
    dev: Dev,
    alice: Person,
}

impl Town {
    fn new() -> Self {
        let (folder, ports) = (quickstart(), Ports::free());
        let dev = Dev::start_on(&folder, ports);
        let alice = Person {
            username: "alice".to_owned(),
            password: PASSWORD.to_owned(),
        };
        let file = folder.file(".symbolon/enrollment/alice.url");
        let link = eventually("dev mode writes alice's link", || {
            fs::read_to_string(&file).ok()
        });
        let mut browser = Browser::new(&[&dev.issuer]);
        let page = browser.open(link.trim()).page();
        let form = page.form.clone().unwrap_or_else(|| panic!("{page:?}"));
        let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
        assert_eq!(browser.submit(&form, &fields).page().status, 200);
        Self {
            folder,
            ports,
            dev,
            alice,
        }
    }

    fn state(&self) -> String {
        self.folder.file(".symbolon").display().to_string()
    }

    fn store(&self) -> PathBuf {
        let folder = self.folder.file(".symbolon/people");
        let paths = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path());
        let mut stores = paths.filter(|path| path.extension().is_some_and(|it| it == "db"));
        stores.next().unwrap()
    }
}

/// Whether a person signs in to the quickstart's application.
fn signs_in(issuer: &str, person: &Person) -> bool {
    let mut browser = Browser::new(&[issuer]);
    let request = [
        ("client_id", "shop.demo-app"),
        ("response_type", "code"),
        ("redirect_uri", "http://127.0.0.1:3000/callback"),
        ("scope", "openid"),
        (
            "code_challenge",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        ),
        ("code_challenge_method", "S256"),
    ];
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(request);
    let url = format!("{issuer}/connect/authorize?{}", query.finish());
    match browser.go(&url, Some(person)).end {
        End::Left(left) => left.url.query_pairs().any(|(name, _)| name == "code"),
        End::Page(page) => panic!("{page:?}"),
    }
}

#[test]
fn a_backup_taken_while_people_sign_in_restores_to_a_store_whose_people_can_sign_in() {
    let town = Town::new();
    let state = town.state();
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let copy = |name: &str| town.folder.file(name).display().to_string();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert!(signs_in(&town.dev.issuer, &town.alice));
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        for turn in 0..3 {
            let before = count.load(Ordering::SeqCst);
            eventually("people sign in", || {
                (count.load(Ordering::SeqCst) > before).then_some(())
            });
            let to = copy(&format!("copy{turn}.db"));
            let words = done(&["backup", "--state", &state, "--to", &to]);
            let words = String::from_utf8(words).unwrap();
            assert!(words.contains("complete and undamaged"), "{words}");
            let mode = fs::metadata(&to).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            fs::write(
                copy(&format!("piped{turn}.db")),
                done(&["backup", "--state", &state]),
            )
            .unwrap();
        }
        let live = done(&["verify", "--state", &state, "-o", "json"]);
        let live: Value = serde_json::from_slice(&live).unwrap();
        assert_eq!(live["sound"], true);
        assert_eq!(live["issuer"], *town.dev.issuer);
        stop.store(true, Ordering::SeqCst);
    });
    let store = town.store();
    let (_, log) = town.dev.terminate();
    assert!(log.contains("copying the store for a backup"), "{log}");
    for name in ["copy2.db", "piped2.db"] {
        let report = done(&["verify", &copy(name), "-o", "json"]);
        let text = String::from_utf8(report).unwrap();
        assert!(!text.contains("argon2"), "{text}");
        let report: Value = serde_json::from_str(&text).unwrap();
        let rows = |table: &str| {
            let tables = report["tables"].as_array().unwrap();
            let table = tables.iter().find(|it| it["name"] == table).unwrap();
            table["rows"].as_u64().unwrap()
        };
        assert_eq!((rows("account"), rows("password")), (1, 1), "{text}");
        assert!(rows("session") >= 3, "{text}");
        // The steps of the runbook.
        for end in ["", "-wal", "-shm"] {
            let _ = fs::remove_file(format!("{}{end}", store.display()));
        }
        fs::copy(copy(name), &store).unwrap();
        let dev = Dev::start_on(&town.folder, town.ports);
        assert!(signs_in(&dev.issuer, &town.alice), "{name}");
        dev.terminate();
    }
}

#[test]
fn the_file_is_read_only_while_no_server_holds_it() {
    let town = Town::new();
    let (state, store) = (town.state(), town.store());
    let named = format!("sqlite:{}", store.display());
    let to = |name: &str| town.folder.file(name).display().to_string();
    let socket = PathBuf::from(format!("{}.control/server.sock", store.display()));
    let mode = fs::symlink_metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    done(&["backup", "--store", &named, "--to", &to("1.db")]);
    // The server runs, but its socket cannot be reached.
    fs::remove_file(&socket).unwrap();
    let words = fails(1, &["backup", "--store", &named, "--to", &to("2.db")]);
    assert!(words.contains("another process holds"), "{words}");
    assert!(fails(1, &["verify", store.to_str().unwrap()]).contains("another process holds"));
    town.dev.kill();
    // A crash leaves a lock that no one holds, and a log.
    done(&["verify", "--state", &state]);
    done(&["backup", "--state", &state, "--to", &to("2.db")]);
    let words = fails(1, &["backup", "--state", &state, "--to", &to("2.db")]);
    assert!(words.contains("not overwritten"), "{words}");
    let names = fs::read_dir(town.folder.path()).unwrap();
    let left = names.filter(|it| {
        let name = it.as_ref().unwrap().file_name();
        name.to_string_lossy().ends_with(".partial")
    });
    assert_eq!(left.count(), 0);
    let full = fails(1, &["backup", "--state", &state, "--to", "/dev/full"]);
    assert!(full.contains("not a regular file"), "{full}");
}

#[test]
fn a_message_says_what_to_do() {
    let folder = Folder::empty();
    let absent = folder.file("absent.db").display().to_string();
    let words = fails(1, &["verify", &absent]);
    assert!(
        words.contains("no store at") && words.contains("check the path"),
        "{words}"
    );
    let words = fails(
        1,
        &[
            "backup",
            "--state",
            folder.path().to_str().unwrap(),
            "--to",
            &absent,
        ],
    );
    assert!(words.contains("state folder"), "{words}");
    assert!(fails(2, &["verify"]).contains("--store sqlite:PATH"));
    let text = folder.file("text").display().to_string();
    fs::write(
        &text,
        "no store, but long enough to be taken for one\n".repeat(99),
    )
    .unwrap();
    let output = symbolon(&["verify", &text, "-o", "json"]);
    assert_eq!(output.status.code(), Some(1));
    let told: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(told["sound"], false);
    // A server with PostgreSQL has the URL in a file.
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command
        .args(["store", "backup", "--to", &absent])
        .env_remove("SYMBOLON_STORE");
    let output = command
        .env("SYMBOLON_STORE_URL_FILE", "/x")
        .output()
        .unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(
        words.contains("pg_dump") && output.status.code() == Some(1),
        "{words}"
    );
}
