//! The output on the terminal.

use std::process::{Command, Output};

use serde_json::Value;

use super::support::{Client, Dev, Folder, Ports, eventually, introspect};
use super::{Served, quickstart};

#[test]
fn it_names_the_issuer_and_the_clients() {
    let served = Served::start();
    served.dev.line_with(&[&served.dev.issuer]);
    served.dev.line_with(&["shop.backend"]);
    served.dev.line_with(&["platform.api"]);
    served.dev.line_with(&["shop/nightly-report"]);
}

#[test]
fn its_curl_lines_work_when_pasted_into_a_shell() {
    let served = Served::start();
    let (backend, token) = (served.backend(), served.token());
    assert_eq!(served.check(&token), 200);

    let line = curl_line(&served.dev, "/connect/token");
    let reply = paste(&line);
    let body: Value = serde_json::from_slice(&reply.stdout)
        .unwrap_or_else(|error| panic!("{line}: {error} {reply:?}"));
    let access_token = body["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("{line}: {body}"));
    assert_eq!(
        introspect(&backend, access_token)["client_id"],
        "shop.backend"
    );

    let line = curl_line(&served.dev, "/connect/checktoken/api");
    let reply = paste(&line);
    assert!(
        String::from_utf8_lossy(&reply.stdout).contains("200"),
        "{line}: {reply:?}"
    );
}

#[test]
fn its_curl_lines_work_from_any_directory_after_a_relative_path() {
    let folder = quickstart();
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    let name = folder.path().file_name().unwrap();
    command.arg("dev").arg(name);
    command.current_dir(folder.path().parent().unwrap());
    let dev = Dev::start_command(command);
    let reply = paste(&curl_line(&dev, "/connect/token"));
    assert!(String::from_utf8_lossy(&reply.stdout).contains("access_token"));
}

#[test]
fn port_0_picks_a_free_port_that_the_issuer_names() {
    let folder = quickstart();
    let ports = Ports { main: 0, health: 0 };
    let dev = Dev::spawn(folder.path(), ports);
    let line = dev.line_with(&["  issuer "]);
    let issuer = line.split_whitespace().nth(1).unwrap();
    assert!(!issuer.contains(":0/"), "{line}");
    let client = folder.secret("shop", "backend-client", "client-secret");
    assert_eq!(client["issuer"], issuer);
    Client::of(&client).token();
}

/// The first `curl` command for this path that it prints.
fn curl_line(dev: &Dev, path: &str) -> String {
    let line = dev.line_with(&["curl ", &dev.url(path)]);
    line[line.find("curl ").unwrap()..].to_owned()
}

/// Runs a line in a shell, as a user who pastes it does, from another directory.
fn paste(line: &str) -> Output {
    let shell = Command::new("sh")
        .args(["-c", line])
        .current_dir("/")
        .output()
        .unwrap();
    assert_ne!(
        shell.status.code(),
        Some(127),
        "the test needs curl (on Debian: apt-get install curl): {shell:?}"
    );
    assert!(shell.status.success(), "{line}: {shell:?}");
    shell
}

#[test]
fn it_fails_with_the_reason_where_it_cannot_serve() {
    let empty = Folder::empty();
    let missing = empty.path().join("missing");
    let outcome = Dev::fails(&missing, Ports::free());
    assert!(outcome.contains(missing.to_str().unwrap()), "{outcome}");

    let folder = quickstart();
    let ports = Ports::free();
    let taken = std::net::TcpListener::bind(("127.0.0.1", ports.main)).unwrap();
    let outcome = Dev::fails(folder.path(), ports);
    assert!(
        outcome.contains(&taken.local_addr().unwrap().to_string()),
        "{outcome}"
    );
}

#[test]
fn sigterm_ends_it_with_status_0() {
    let served = Served::start();
    served.backend().token();
    let (status, output) = served.dev.terminate();
    assert_eq!(status.code(), Some(0), "{output}");
}

#[test]
fn a_second_process_on_the_same_folder_is_refused() {
    let served = Served::start();
    let token = served.token();
    let outcome = Dev::fails(served.folder.path(), Ports::free());
    assert!(
        outcome.contains(".symbolon"),
        "it names the state folder that is in use: {outcome}"
    );
    assert_eq!(served.check(&token), 200);
}

#[test]
fn a_request_for_a_foreign_host_is_refused() {
    let served = Served::start();
    let (status, _) = served.dev.get(
        "/.well-known/openid-configuration",
        &[("host", "evil.example.com")],
    );
    assert_eq!(status, 421);
}

#[test]
fn a_request_for_a_foreign_host_reads_no_metrics_or_health() {
    let served = Served::start();
    for path in ["/metrics", "/readyz", "/livez"] {
        let answer = served
            .dev
            .get_health_with(path, &[("host", "evil.example.com")]);
        assert_eq!(answer.unwrap().0, 421, "{path}");
    }
    assert_eq!(served.dev.get_health("/metrics").unwrap().0, 200);
}

#[test]
fn health_and_metrics_have_a_separate_port() {
    let served = Served::start();
    served.backend().token();
    assert_eq!(served.dev.get_health("/livez").unwrap().0, 200);
    assert_eq!(served.dev.get_health("/readyz").unwrap().0, 200);
    let metrics = eventually("the token request is counted", || {
        let (status, text) = served.dev.get_health("/metrics")?;
        assert_eq!(status, 200);
        text.contains("client_credentials").then_some(text)
    });
    assert!(metrics.contains("symbolon_"), "{metrics}");
    assert_eq!(served.dev.get("/metrics", &[]).0, 404);
}

#[test]
fn audit_events_are_written_at_every_log_level_unless_switched_off() {
    for (options, is_written) in [
        (&["--log", "error"][..], true),
        (&["--log", "off"], true),
        (&["--log", "debug", "--audit", "false"], false),
    ] {
        let folder = quickstart();
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.arg("dev").arg(folder.path()).args(options);
        let dev = Dev::start_command(command);
        Client::of(&folder.secret("shop", "backend-client", "client-secret")).token();
        let (_, output) = dev.terminate();
        assert_eq!(
            output.contains(" audit: event=token_issued "),
            is_written,
            "{options:?}:\n{output}"
        );
    }
}

#[test]
fn an_unknown_log_level_is_a_usage_error() {
    let folder = quickstart();
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.arg("dev").arg(folder.path());
    let outcome = command.args(["--log", "warning"]).output().unwrap();
    assert_eq!(outcome.status.code(), Some(2), "{outcome:?}");
    let said = String::from_utf8_lossy(&outcome.stderr).into_owned();
    assert!(said.contains("did you mean warn?"), "{said}");
}
