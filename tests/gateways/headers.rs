//! No header of a caller reaches the API as if the gateway had set it.

use super::backend::CASE;
use super::caller::{Ask, over_http_2};
use super::proxy::{Proxy, Running};
use super::world::{IDENTITY, READER, World, await_all, expect_identity, folded};

/// The characters besides `-`, `_` and `.` that a header's name may have and that lighttpd reads as `_` (RFC 9110
/// section 5.6.2).
const ODD: &str = "!#$%&'*+^`|~";

/// Other spellings of a header: each of its hyphens replaced by any of `joints`.
fn spellings(name: &str, joints: &str) -> Vec<String> {
    let mut words = name.split('-');
    let first = vec![words.next().unwrap().to_owned()];
    let all = words.fold(first, |begun, word| {
        let longer = |it: &String| -> Vec<String> {
            joints
                .chars()
                .map(|joint| format!("{it}{joint}{word}"))
                .collect()
        };
        begun.iter().flat_map(longer).collect()
    });
    all.into_iter().filter(|it| it != name).collect()
}

fn evil(names: impl IntoIterator<Item = String>) -> Vec<String> {
    names
        .into_iter()
        .map(|name| format!("{name}: evil"))
        .collect()
}

/// Hostile heads, each with its name.
pub(crate) fn hostile() -> Vec<(&'static str, Vec<String>)> {
    let own = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
    let of_all = |make: &dyn Fn(&str) -> Vec<String>| evil(IDENTITY.iter().flat_map(|it| make(it)));
    vec![
        ("the four headers", of_all(&|name| vec![name.to_owned()])),
        (
            "in upper case",
            of_all(&|name| vec![name.to_ascii_uppercase()]),
        ),
        (
            "twice",
            of_all(&|name| vec![name.to_owned(), name.to_ascii_uppercase()]),
        ),
        (
            "empty",
            own(&[
                "X-Auth-Subject:",
                "X-Auth-Kind:",
                "X-Auth-Client-Id:",
                "X-Auth-Scope:",
            ]),
        ),
        ("with _ or .", of_all(&|name| spellings(name, "-_."))),
        (
            "in upper case with _",
            of_all(&|name| vec![name.replace('-', "_").to_ascii_uppercase()]),
        ),
        (
            "one named in Connection",
            own(&["Connection: X-Auth-Subject"]),
        ),
        (
            "all named in Connection",
            own(&[
                "X-Auth-Scope: evil",
                "Connection: close, x-auth-subject,x-auth-kind",
                "Connection: X-AUTH-CLIENT-ID, X-Auth-Scope",
            ]),
        ),
        (
            "in a folded line",
            own(&["X-Note: a", " X-Auth-Subject: evil"]),
        ),
        (
            "after a bare line feed",
            own(&["X-Note: a\nX-Auth-Subject: evil"]),
        ),
        (
            "after a bare carriage return",
            own(&["X-Note: a\rX-Auth-Subject: evil"]),
        ),
        (
            "with a space before the colon",
            own(&["X-Auth-Subject : evil"]),
        ),
        ("with a NUL", own(&["X-Auth-Subject\0: evil"])),
        (
            "Envoy's own",
            own(&["X-Envoy-Auth-Headers-To-Remove: x-auth-subject,x-auth-scope"]),
        ),
    ]
}

#[test]
fn no_identity_header_that_a_caller_made_reaches_the_api() {
    let world = World::shared();
    let token = world.token("reader");
    for (name, lines) in hostile() {
        for gateway in &world.gateways {
            let ask = world.ask().lines(lines.clone()).bearer(&token);
            let seen = world.send(gateway, &ask);
            let what = format!("{:?}, {name}", gateway.proxy);
            assert!(
                [200, 400].contains(&seen.answer.status),
                "{what}: {:?}",
                seen.answer
            );
            assert_eq!(
                seen.received.len(),
                usize::from(seen.answer.status == 200),
                "{what}"
            );
            for received in &seen.received {
                expect_identity(received, READER, &what);
            }
        }
    }
}

/// Caddy passes these names on, as docs/gateways.md says. Only lighttpd reads them as the real ones.
#[test]
fn names_that_only_lighttpd_folds_reach_the_api_through_caddy_alone() {
    let world = World::shared();
    let token = world.token("reader");
    for joint in ODD.chars() {
        let joint = joint.to_string();
        let lines = evil(IDENTITY.iter().flat_map(|name| spellings(name, &joint)));
        for gateway in &world.gateways {
            let seen = world.send(gateway, &world.ask().lines(lines.clone()).bearer(&token));
            let what = format!("{:?}, {joint}", gateway.proxy);
            if gateway.proxy != Proxy::Caddy {
                assert_eq!(seen.received.len(), 1, "{what}");
                expect_identity(&seen.received[0], READER, &what);
                continue;
            }
            let received = &seen.received[0];
            let made = received.fields.iter().filter(|(name, value)| {
                value == "evil" && !IDENTITY.contains(&&*name.to_ascii_lowercase())
            });
            assert!(
                made.count() > 0,
                "{what}: docs/gateways.md says that Caddy passes these"
            );
        }
    }
}

/// nginx and Caddy speak HTTP/2 only with TLS, or if it is switched on.
#[test]
fn over_http_2_no_identity_header_that_a_caller_made_reaches_the_api_either() {
    let world = World::shared();
    let token = world.token("reader");
    let names: Vec<String> = IDENTITY
        .iter()
        .flat_map(|name| spellings(name, "-_."))
        .chain(IDENTITY.map(str::to_owned))
        .collect();
    let proxies = [Proxy::Traefik, Proxy::Envoy, Proxy::Haproxy];
    for gateway in world
        .gateways
        .iter()
        .filter(|it| proxies.contains(&it.proxy))
    {
        let case = world.ask().case;
        let mut fields = vec![(CASE.to_owned(), case.clone())];
        fields.push(("authorization".into(), format!("Bearer {token}")));
        fields.extend(names.iter().map(|name| (name.clone(), "evil".into())));
        let host = world.dev.address();
        let status = over_http_2(gateway.port, host, &fields);
        assert_eq!(status, 200, "{:?}", gateway.proxy);
        let received = world.backend.of(&case);
        assert_eq!(received.len(), 1, "{:?}", gateway.proxy);
        expect_identity(&received[0], READER, &format!("{:?}", gateway.proxy));
        let status = over_http_2(gateway.port, host, &fields[2..]);
        assert_eq!(status, 401, "{:?}", gateway.proxy);
    }
}

/// Symbolon's answer tells Envoy which headers to remove.
#[test]
fn an_envoy_without_its_own_filters_passes_no_spelling_that_programs_fold_and_no_key() {
    let world = World::shared();
    let token = world.token("reader");
    let symbolon = world.dev.address().parse().unwrap();
    let without = ["callers-identity", "callers-token"];
    let envoy = Running::start_with(Proxy::Envoy, symbolon, world.backend.address, &without);
    let mut gateways = [envoy];
    await_all(&mut gateways, symbolon);
    let key = format!("X-Api-Key: {token}");
    let lines = evil(IDENTITY.iter().flat_map(|name| spellings(name, "-_.")));
    let seen = world.send(&gateways[0], &world.ask().lines(lines).lines([key]));
    assert_eq!((seen.answer.status, seen.received.len()), (200, 1));
    expect_identity(&seen.received[0], READER, "Envoy");
    assert!(!format!("{:?}", seen.received).contains(&token));
}

#[test]
fn naming_the_token_in_connection_lets_no_request_pass_as_another_caller() {
    let world = World::shared();
    let token = world.token("reader");
    for name in ["Authorization", "authorization, X-Api-Key", "Cookie, Host"] {
        for gateway in &world.gateways {
            let ask = world.ask().lines([format!("Connection: {name}")]);
            let seen = world.send(gateway, &ask.bearer(&token));
            let (what, status) = (format!("{:?}, {name}", gateway.proxy), seen.answer.status);
            assert!([200, 400, 401].contains(&status), "{what}: {status}");
            assert_eq!(seen.received.len(), usize::from(status == 200), "{what}");
            for received in &seen.received {
                expect_identity(received, READER, &what);
            }
        }
    }
}

#[test]
fn several_tokens_pass_no_proxy() {
    let world = World::shared();
    let token = world.token("reader");
    let bearer = format!("Authorization: Bearer {token}");
    for lines in [
        vec![bearer.clone(), bearer.clone()],
        vec![bearer.clone(), format!("X-Api-Key: {token}")],
        vec![format!("X-Api-Key: {token}"), format!("Api-Key: {token}")],
        vec![format!("X-Api-Key: {token}"), format!("X-Api-Key: {token}")],
        vec![bearer.clone(), "Authorization: Basic eDp5".into()],
    ] {
        for gateway in &world.gateways {
            let status = world.refused(gateway, &world.ask().lines(lines.clone()));
            assert!([400, 401].contains(&status), "{:?} {status}", gateway.proxy);
        }
    }
}

/// An API must not read trailer fields as headers, as docs/gateways.md says.
#[test]
fn trailer_fields_never_become_headers_and_pass_haproxy_alone() {
    let world = World::shared();
    let token = world.token("reader");
    let ask = |announced: bool| -> Ask {
        let ask = world
            .ask()
            .bearer(&token)
            .trailers(&["X-Auth-Subject: evil"]);
        ask.lines(announced.then_some("Trailer: X-Auth-Subject"))
    };
    for announced in [false, true] {
        for gateway in &world.gateways {
            let seen = world.send(gateway, &ask(announced));
            let what = format!("{:?} {announced}", gateway.proxy);
            assert_eq!(
                (seen.answer.status, seen.received.len()),
                (200, 1),
                "{what}"
            );
            let received = &seen.received[0];
            expect_identity(received, READER, &what);
            let passed = received
                .trailers
                .iter()
                .any(|it| folded(&it.0) == "x-auth-subject");
            assert_eq!(
                passed,
                gateway.proxy == Proxy::Haproxy,
                "{what}: {received:?}"
            );
        }
    }
}
