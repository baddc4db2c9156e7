//! oauth2-proxy, a Go program: people reach an application that has no sign-in of its own.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;

use serde_json::Value;

use super::Town;
use crate::install;
use crate::recipes::program::Program;
use crate::support::{Browser, End, Page, free_port, recipe};

const SITE: &str = "https://orders.example.com";

#[test]
fn oauth2_proxy_signs_a_person_in_for_an_application_until_the_sign_out() {
    let program = install::oauth2_proxy();
    let address = format!("127.0.0.1:{}", free_port());
    let site = format!("http://{address}");
    let town = Town::with(|folder| folder.write("proxy.yaml", &client(&site)));
    let client = town.client("shop", "proxy");
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    let command = recipe("oauth2-proxy-people")
        .replace(SITE, &site)
        .replace("http://orders/", &format!("http://{}/", application()));
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("bash");
    shell
        .args([
            "-euc",
            &command.replace("\noauth2-proxy ", "\nexec oauth2-proxy "),
        ])
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env("OAUTH2_PROXY_HTTP_ADDRESS", &address)
        // The site of this test is http on loopback.
        .env("OAUTH2_PROXY_COOKIE_SECURE", "false")
        .env("OAUTH2_PROXY_SKIP_PROVIDER_BUTTON", "true")
        .env("ISSUER", &town.dev.issuer)
        .env("ISSUER_HOST", town.dev.address())
        .env("CLIENT_ID", text("id"))
        .env("CLIENT_SECRET", text("secret"));
    let mut running = Program::start(shell, town.folder.path());
    running.wait_for(&format!("{site}/ping"));

    let mut browser = Browser::new(&[&town.dev.issuer, &site]);
    let way = browser.go(&format!("{site}/orders"), Some(&town.alice));
    assert_eq!(way.forms, ["signin", "consent"]);
    let seen = application_saw(way.end.page());
    assert_eq!(seen["path"], "/orders");
    assert_eq!(seen["x-forwarded-email"], "alice@example.com");
    assert_eq!(seen["x-forwarded-preferred-username"], "alice");
    assert_eq!(seen["x-forwarded-groups"], "buyers,staff");
    let subject = seen["x-forwarded-user"].as_str().unwrap();
    assert!(uuid::Uuid::parse_str(subject).is_ok(), "{subject}");

    // Another visit needs no page, and a visitor without the cookie gets no further than the sign-in page.
    assert_eq!(
        application_saw(browser.open(&site).page())["x-forwarded-user"],
        subject
    );
    let mut stranger = Browser::new(&[&town.dev.issuer, &site]);
    let page = stranger.open(&site).page();
    assert!(page.url.as_str().starts_with(&town.dev.issuer), "{page:?}");

    let end = recipe("oauth2-proxy-sign-out");
    let end = end.trim().replace("ISSUER", &town.dev.issuer);
    let back = format!("{site}/ping");
    let end = end.replace(&format!("{SITE}/"), &back);
    let leave = format!("{site}/oauth2/sign_out");
    let leave = reqwest::Url::parse_with_params(&leave, [("rd", &end)]).unwrap();
    let done = browser.open(leave.as_str()).page();
    assert_eq!(done.url.as_str(), back, "{done:?}");
    let End::Page(page) = browser.open(&format!("{site}/orders")) else {
        panic!("the browser left")
    };
    assert!(page.body.contains("type=\"password\""), "{page:?}");
}

/// The client of the recipe.
fn client(site: &str) -> String {
    let fields = recipe("oauth2-proxy-client");
    let fields = fields.strip_prefix("spec:\n").unwrap();
    let fields = fields.replace(&format!("{SITE}/]"), &format!("\"{site}/ping\"]"));
    let fields = fields.replace(
        &format!("{SITE}/oauth2/callback"),
        &format!("\"{site}/oauth2/callback\""),
    );
    format!(
        "apiVersion: symbolon.dev/v1alpha1\n\
         kind: OAuthClient\n\
         metadata: {{name: proxy, namespace: shop}}\n\
         spec:\n  \
         identityRef: {{name: main, namespace: platform}}\n{fields}"
    )
}

/// An application that answers with what it received: the path and the headers.
fn application() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    address
}

/// Answers one request. Ends silently if the peer goes away.
fn answer(mut stream: TcpStream) -> Option<()> {
    let mut seen = serde_json::Map::new();
    for line in BufReader::new(stream.try_clone().ok()?).lines() {
        let line = line.ok()?;
        if line.is_empty() {
            break;
        }
        match line.split_once(": ") {
            Some((name, value)) => seen.insert(name.to_ascii_lowercase(), value.into()),
            None => seen.insert("path".to_owned(), line.split(' ').nth(1)?.into()),
        };
    }
    let body = Value::Object(seen).to_string();
    let length = body.len();
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(format!("{head}{body}").as_bytes()).ok()
}

fn application_saw(page: Page) -> Value {
    serde_json::from_str(&page.body).unwrap_or_else(|_| panic!("{page:?}"))
}
