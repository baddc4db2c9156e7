//! A caller cannot bypass the check or reach another gateway by its path, its method or other headers.

use super::world::{READER, World, expect_identity};

/// Targets that parsers disagree about. `HOST` stands for the caller's host.
pub(crate) const TARGETS: [&str; 26] = [
    "/",
    "//",
    "//orders//1",
    "/./orders",
    "/orders/../admin",
    "/orders/..",
    "/../../id/connect/checktoken/public",
    "/..;/public",
    "/orders/..;/..;/x",
    "/orders%2f1",
    "/orders%2F..%2Fadmin",
    "/%2e%2e/%2e%2e/public",
    "/..%2fpublic",
    "/..%5cpublic",
    "/orders/\\..\\x",
    "/orders/%00",
    "/orders/%0d%0aX-Auth-Subject:%20evil",
    "/orders;x=1/2",
    "/orders?a=/../public",
    "/orders?",
    "/orders#fragment",
    "/_symbolon",
    "*",
    "http://HOST/orders/1",
    "http://HOST/../public",
    "public",
];

/// A target that is longer than other endpoints of Symbolon accept.
pub(crate) fn long() -> String {
    format!("/orders/{}", "x".repeat(12_000))
}

const METHODS: [&str; 11] = [
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND",
    "get",
];

#[test]
fn without_a_token_nothing_reaches_the_api() {
    let world = World::shared();
    let lister = world.token("lister");
    let long = long();
    let targets = TARGETS.into_iter().chain([long.as_str()]);
    for target in targets {
        for lines in [
            vec![],
            vec!["Authorization: Bearer nonsense".to_owned()],
            vec!["Authorization: Basic eDp5".to_owned()],
            vec![format!("Authorization: Bearer {lister}")],
        ] {
            for gateway in &world.gateways {
                world.refused(gateway, &world.ask().target(target).lines(lines.clone()));
            }
        }
    }
}

#[test]
fn without_a_token_no_method_reaches_the_api() {
    let world = World::shared();
    for method in METHODS {
        for lines in [
            vec![],
            vec!["Expect: 100-continue", "Content-Length: 0"],
            vec![
                "Connection: Upgrade",
                "Upgrade: websocket",
                "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            ],
            vec![
                "X-HTTP-Method-Override: OPTIONS",
                "Origin: https://page.example",
                "Access-Control-Request-Method: GET",
            ],
        ] {
            for gateway in &world.gateways {
                world.refused(gateway, &world.ask().method(method).lines(lines.clone()));
            }
        }
    }
}

/// The gateway `public` accepts the token that these callers have; the gateway of the API does not.
#[test]
fn no_caller_chooses_another_gateway() {
    let world = World::shared();
    let lister = world.token("lister");
    assert_eq!(world.dev.check("public", &lister), 200);
    let public = "/id/connect/checktoken/public";
    for gateway in &world.gateways {
        for name in [
            "X-Original-Url",
            "X-Original-Uri",
            "X-Rewrite-Url",
            "X-Forwarded-Uri",
            "X-Forwarded-Prefix",
            "X-Envoy-Original-Path",
            "X-Forwarded-Method",
        ] {
            let ask = world
                .ask()
                .bearer(&lister)
                .lines([format!("{name}: {public}")]);
            let seen = world.send(gateway, &ask);
            assert_eq!(seen.answer.status, 403, "{:?} {name}", gateway.proxy);
            assert!(seen.received.is_empty(), "{:?} {name}", gateway.proxy);
        }
    }
}

#[test]
fn with_a_token_an_odd_path_still_names_the_right_caller() {
    let world = World::shared();
    let token = world.token("reader");
    let long = long();
    for target in TARGETS.into_iter().chain([long.as_str()]) {
        for gateway in &world.gateways {
            let seen = world.send(gateway, &world.ask().target(target).bearer(&token));
            let what = format!("{:?} {target}", gateway.proxy);
            for received in &seen.received {
                expect_identity(received, READER, &what);
            }
            assert_eq!(
                seen.received.len(),
                usize::from(seen.answer.status == 200),
                "{what}"
            );
        }
    }
}
