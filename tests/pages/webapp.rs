//! `examples/webapp` and the quickstart as a newcomer uses them: the built program, the application as its README starts
//! it, and a person at Chromium who uses only the keyboard.
//!
//! Every page that the person sees has no violation of a rule of axe and shows no token. Screenshots are in
//! `target/pages/screenshots/webapp`, in a folder for each test.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::browser::{ask, target};
use crate::support::install::{FOR_NODE, npm, printed_by};
use crate::support::{Dev, Folder, Ports, eventually, free_port};

/// A password that the rules for passwords allow.
const PASSWORD: &str = "seven green herons";

/// The application, with `npm start`. Dropping it ends it with all processes that it started.
struct App {
    child: Child,
    url: String,
    output: tempfile::NamedTempFile,
}

impl App {
    fn start(issuer: &str) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/webapp");
        let installed = npm("webapp", &sources, &["server.mjs", "oidc.mjs", "pages.mjs"]);
        let port = free_port();
        let output = tempfile::NamedTempFile::new().unwrap();
        let write = || Stdio::from(File::options().append(true).open(output.path()).unwrap());
        let child = Command::new("npm")
            .arg("start")
            .current_dir(installed)
            .env("ISSUER", issuer)
            .env("PORT", port.to_string())
            .stdin(Stdio::null())
            .stdout(write())
            .stderr(write())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("npm: {error}: {FOR_NODE}"));
        let mut app = Self {
            child,
            url: format!("http://127.0.0.1:{port}/"),
            output,
        };
        eventually("the application listens", || {
            let ended = app.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}: {}", app.output());
            app.output().contains("Open http://").then_some(())
        });
        app
    }

    fn output(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap()
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let group = format!("-{}", self.child.id());
        let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- the application printed:\n{}---", self.output());
        }
    }
}

/// The quickstart and the application.
struct Town {
    folder: Folder,
    dev: Dev,
    app: App,
}

impl Town {
    fn start() -> Self {
        let folder = Folder::copy_of("examples/quickstart");
        let dev = Dev::start(&folder);
        Self::of(folder, dev)
    }

    fn of(folder: Folder, dev: Dev) -> Self {
        let app = App::start(&dev.issuer);
        Self { folder, dev, app }
    }

    /// Alice's link, as it is printed.
    fn link(&self) -> String {
        let line = self.dev.line_with(&["/enroll?link="]);
        line.trim().to_owned()
    }

    /// Lets alice act, and returns what she sees.
    fn act(&self, act: &str) -> Value {
        self.act_with(act, &json!({}))
    }

    fn act_with(&self, act: &str, options: &Value) -> Value {
        judged(&task(act, &self.app, &self.link(), options))
    }
}

/// Lets the browser do a task, and returns what it has seen.
fn judged(task: &Value) -> Value {
    let seen = ask(task);
    assert_eq!(seen["faults"], json!([]), "{seen}");
    seen
}

fn task(act: &str, app: &App, link: &str, options: &Value) -> Value {
    // The test runner gives each thread the name of its test.
    let thread = std::thread::current();
    json!({
        "act": act,
        "app": app.url,
        "link": link,
        "password": PASSWORD,
        "options": options,
        "screenshots": target().join("screenshots/webapp").join(thread.name().unwrap()),
    })
}

fn a_newcomer(options: &Value) {
    let town = Town::start();
    let seen = town.act_with("newcomer", options);
    let (id, access) = (&seen["idToken"], &seen["accessToken"]);
    assert_eq!(id["iss"], town.dev.issuer);
    assert_eq!(id["aud"], "shop.demo-app");
    assert_eq!(id["name"], "Alice Adams");
    assert_eq!(id["preferred_username"], "alice");
    assert_eq!(id["email"], "alice@example.com");
    assert_eq!(id["groups"], r#"["buyers"]"#);
    assert_eq!(access["aud"], "https://api.example.com");
    assert_eq!(access["sub"], id["sub"]);
    let scope = access["scope"].as_str().unwrap();
    assert!(scope.split(' ').any(|it| it == "orders.read"), "{scope}");
    let refreshed = &seen["refreshed"];
    assert_ne!(refreshed["jti"], access["jti"]);
    assert_eq!(refreshed["sub"], access["sub"]);
    let bye = seen["signedOutAt"].as_str().unwrap();
    assert_eq!(bye, format!("{}signed-out", town.app.url));
    for output in [town.app.output(), town.dev.output()] {
        let has = |secret: &str| output.contains(secret);
        assert!(!has("eyJ") && !has(PASSWORD) && !has("code="), "{output}");
    }
}

#[test]
fn a_newcomer_signs_in_refreshes_signs_out_and_signs_in_again() {
    a_newcomer(&json!({}));
}

#[test]
fn a_newcomer_needs_no_javascript() {
    a_newcomer(&json!({ "javaScriptEnabled": false }));
}

#[test]
fn a_newcomer_may_have_a_small_screen_in_dark_mode() {
    a_newcomer(&json!({ "viewport": { "width": 320, "height": 640 }, "colorScheme": "dark" }));
}

#[test]
fn the_link_of_a_person_is_printed_and_in_a_private_file_until_it_is_used() {
    let (folder, ports) = (Folder::copy_of("examples/quickstart"), Ports::free());
    let dev = Dev::start_on(&folder, ports);
    let town = Town::of(folder, dev);
    let file = town.folder.file(".symbolon/enrollment/alice.url");
    assert_eq!(fs::read_to_string(&file).unwrap().trim(), town.link());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    town.act("linkTwice");
    eventually("the file is gone", || (!file.exists()).then_some(()));
    let Town { folder, dev, .. } = town;
    dev.kill();
    let again = Dev::start_on(&folder, ports);
    again.line_with(&["has a password"]);
    assert!(!file.exists());
    // Another value of the annotation makes another link, while dev mode runs.
    folder.replace(
        "1-platform.yaml",
        "symbolon.dev/enroll: \"1\"",
        "symbolon.dev/enroll: \"2\"",
    );
    again.line_with(&["wrote an enrollment link", "username=alice"]);
    assert!(file.exists());
}

#[test]
fn a_mistake_is_said_and_the_next_try_works() {
    Town::start().act("mistakes");
}

#[test]
fn the_back_button_leads_to_a_page_that_leads_on() {
    Town::start().act("goesBack");
}

#[test]
fn a_form_that_is_sent_twice_is_said_and_leads_on() {
    Town::start().act("sendsTwice");
}

#[test]
fn two_tabs_sign_in_side_by_side_and_sign_out_together() {
    let seen = Town::start().act("twoTabs");
    assert_eq!(seen["afterSignOut"], "Welcome");
}

#[test]
fn a_person_signs_in_and_out_without_an_application() {
    Town::start().act("withoutApplication");
}

#[test]
fn blocked_cookies_are_named_and_there_is_a_way_on() {
    Town::start().act("withoutCookies");
}

#[test]
fn a_sign_in_that_the_application_forgot_begins_again_by_a_button() {
    Town::start().act("forgotten");
}

/// Lets alice act while libfaketime lets time pass for dev mode.
fn act_in_time(act: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pages/faketime.sh");
    let clock = tempfile::NamedTempFile::new().unwrap();
    fs::write(&clock, "+0").unwrap();
    let folder = Folder::copy_of("examples/quickstart");
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.arg("dev").arg(folder.path());
    command
        .env("LD_PRELOAD", printed_by(&script).trim())
        .env("FAKETIME_TIMESTAMP_FILE", clock.path())
        .env("FAKETIME_NO_CACHE", "1")
        .env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let dev = Dev::start_command(command);
    let town = Town::of(folder, dev);
    let mut task = task(act, &town.app, &town.link(), &json!({}));
    task["clock"] = clock.path().to_str().into();
    judged(&task);
}

#[test]
fn a_page_that_was_open_for_too_long_says_so_and_leads_on() {
    act_in_time("tooLate");
}

#[test]
fn a_link_that_was_opened_too_late_says_so_and_leads_on() {
    act_in_time("tooLateToEnrol");
}

#[test]
fn the_sign_in_page_weighs_at_most_50_kib_with_all_that_it_loads() {
    let seen = Town::start().act("weighs");
    let bytes = seen["bytes"].as_u64().unwrap();
    println!("the sign-in page has {bytes} bytes");
    assert!(bytes > 0 && bytes <= crate::MAX_BYTES as u64, "{seen}");
}

#[test]
fn without_its_issuer_the_application_says_so() {
    let app = App::start(&format!("http://127.0.0.1:{}/id", free_port()));
    judged(&task("withoutIssuer", &app, "", &json!({})));
}
