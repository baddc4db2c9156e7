//! Where dev mode listens, and by which issuer it is reached: on a laptop, in a container, behind a proxy.

use std::process::Command;

use serde_json::Value;

use super::support::{Client, Dev, Folder, Ports};
use super::{GATEWAY, quickstart};

/// The issuer in the discovery document at `url`, asked for with a Host.
fn issuer_at(dev: &Dev, url: &str, host: &str) -> String {
    let path = format!("{url}/.well-known/openid-configuration");
    let (status, body) = dev.get_url(&path, &[("host", host)]);
    assert_eq!(status, 200, "{path} {body}");
    let document: Value = serde_json::from_str(&body).unwrap();
    document["issuer"].as_str().unwrap().to_owned()
}

fn start(folder: &Folder, ports: Ports, listen: &str, more: &[&str]) -> Dev {
    let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    command.arg("dev").arg(folder.path()).args(more);
    let listen = format!("{listen}:{}", ports.main);
    Dev::start_listening(command, &listen, ports)
}

#[test]
fn localhost_and_all_addresses_have_an_issuer_at_localhost() {
    for listen in ["localhost", "", "0.0.0.0", "[::]"] {
        let (folder, ports) = (quickstart(), Ports::free());
        let dev = start(&folder, ports, listen, &[]);
        let issuer = format!("http://localhost:{}/id", ports.main);
        let host = format!("localhost:{}", ports.main);
        let here = format!("http://127.0.0.1:{}/id", ports.main);
        assert_eq!(issuer_at(&dev, &here, &host), issuer, "{listen}");
        dev.line_with(&["issuer", &issuer]);
        let client = folder.secret("shop", "backend-client", "client-secret");
        assert_eq!(client["issuer"], issuer, "{listen}");
        Client::of(&client).token();
    }
}

#[test]
fn the_default_address_is_localhost_and_the_examples_name_it() {
    let help = Command::new(env!("CARGO_BIN_EXE_symbolon"))
        .args(["dev", "--help"])
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.contains("[default: localhost:8080]"), "{help}");
    for example in ["quickstart", "secrets"] {
        let folder = Folder::copy_of(&format!("examples/{example}"));
        let issuer = "issuer: http://localhost:8080/id";
        assert!(folder.read("1-platform.yaml").contains(issuer), "{example}");
    }
}

#[test]
fn the_option_replaces_the_whole_issuer() {
    let (folder, ports) = (quickstart(), Ports::free());
    let issuer = "https://id.example.test:8443/main";
    let dev = start(&folder, ports, "localhost", &["--issuer", issuer]);
    let here = format!("http://127.0.0.1:{}/main", ports.main);
    // A proxy passes on the caller's Host, or its own name for this server.
    let local = format!("localhost:{}", ports.main);
    for host in ["id.example.test:8443", "id.example.test", &local] {
        assert_eq!(issuer_at(&dev, &here, host), issuer, "{host}");
    }
    let path = format!("{here}/.well-known/openid-configuration");
    assert_eq!(dev.get_url(&path, &[("host", "evil.example")]).0, 421);
    dev.line_with(&["--issuer replaces http://localhost:8080/id"]);
    let client = folder.secret("shop", "backend-client", "client-secret");
    assert_eq!(client["token-url"], format!("{issuer}/connect/token"));
}

#[test]
fn an_address_or_issuer_that_clients_could_not_use_is_refused_with_the_way_out() {
    let folder = quickstart();
    for (arguments, says) in [
        (&["--listen", "192.0.2.1:8080"][..], "--issuer"),
        (&["--listen", "8080"], ":8080 for all addresses"),
        (&["--listen", "example.com:8080"], "localhost:8080"),
        (
            &["--issuer", "http://192.0.2.1/id"],
            "issuer must be an https URL",
        ),
        (&["--issuer", "https://id.example.test/"], "--issuer"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_symbolon"))
            .arg("dev")
            .arg(folder.path())
            .args(arguments)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && told.contains(says),
            "{arguments:?}: {told}"
        );
    }
}

/// A reader of the terminal must not need the files in the state folder.
#[test]
fn the_reason_is_printed_if_nothing_is_served() {
    let other = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: zz, namespace: platform}
spec: {issuer: 'http://localhost:8080/id'}
";
    for (file, identity, says) in [
        (
            "",
            "platform/nope",
            "there is no Identity platform/nope; the valid ones are platform/main",
        ),
        // The same issuer as the default Identity.
        (other, "platform/zz", "IssuerConflict"),
    ] {
        let (folder, ports) = (quickstart(), Ports::free());
        folder.write("3-more.yaml", file);
        let mut command = Command::new(env!("CARGO_BIN_EXE_symbolon"));
        command.arg("dev").arg(folder.path());
        // The default Identity has the issuer.
        command.args(["--default-identity", "platform/main"]);
        command.args([
            "--identity",
            identity,
            "--issuer",
            "http://localhost:8080/id",
        ]);
        let dev = Dev::spawn_listening(command, &format!("localhost:{}", ports.main), ports);
        dev.line_with(&["Nothing is served yet"]);
        dev.line_with(&[says]);
    }
}

/// Envoy and Caddy send the Host of the request that they ask about.
#[test]
fn a_gateway_may_ask_for_any_host() {
    let (folder, ports) = (quickstart(), Ports::free());
    let dev = start(&folder, ports, "localhost", &[]);
    let token = folder.secret("shop", "nightly-report-token", "token")["token"].clone();
    let authorization = format!("Bearer {token}");
    let local = format!("localhost:{}", ports.main);
    let asked = |path: &str, host: &str| {
        let url = format!("http://127.0.0.1:{}/id{path}", ports.main);
        dev.get_url(&url, &[("host", host), ("authorization", &authorization)])
            .0
    };
    let check = format!("/connect/checktoken/{GATEWAY}/orders/1");
    let status = asked(&check, "shop.example.com");
    assert_eq!(status, asked(&check, &local));
    assert!((200..300).contains(&status), "{status}");
    assert_eq!(
        asked("/.well-known/openid-configuration", "shop.example.com"),
        421
    );
}
