//! Low limits of open files: dev mode still serves while other connections use all of them.

use std::net::TcpStream;
use std::process::Command;

use super::support::{Dev, eventually};
use super::{API, PLATFORM, Served, quickstart};

/// Serves the quickstart from a process with these limits of open files.
fn served_with_files(soft: u32, hard: u32) -> Served {
    let folder = quickstart();
    folder.write("3-api.yaml", API);
    let mut command = Command::new("sh");
    let limited = format!(r#"ulimit -Sn {soft} && ulimit -Hn {hard} && exec "$0" "$@""#);
    command
        .args(["-c", &limited, env!("CARGO_BIN_EXE_symbolon"), "dev"])
        .arg(folder.path());
    let dev = Dev::start_command(command);
    Served { folder, dev }
}

fn address(url: &str) -> &str {
    let rest = url.strip_prefix("http://").unwrap();
    rest.split('/').next().unwrap()
}

fn hold(dev: &Dev, count: usize) -> Vec<TcpStream> {
    let address = address(&dev.issuer);
    let connections = (0..count).map(|_| TcpStream::connect(address));
    connections.collect::<Result<_, _>>().unwrap()
}

#[test]
fn connections_stay_below_the_hard_limit_of_open_files_and_block_no_port() {
    let served = served_with_files(64, 256);
    let token = served.token();
    let held = hold(&served.dev, 400);
    assert_eq!(served.dev.get_health("/livez").unwrap().0, 200);
    assert_eq!(served.check(&token), 200);
    drop(held);
}

#[test]
fn dev_mode_recovers_when_no_file_could_be_opened() {
    let served = served_with_files(48, 48);
    let token = served.token();
    let (from, to) = ("scopes: [orders.read]\n---", "scopes: [orders.write]\n---");
    // The listener closes old connections for new ones. New connections keep all files in use.
    let mut held = hold(&served.dev, 100);
    served.folder.replace(PLATFORM, from, to);
    eventually("it logs that files cannot be opened", || {
        held.extend(hold(&served.dev, 10));
        let output = served.dev.output();
        output.contains("Too many open files").then_some(())
    });
    drop(held);
    eventually("the change is served", || {
        (served.check(&token) == 403).then_some(())
    });
}
