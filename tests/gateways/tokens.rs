//! Which tokens pass a gateway, and what the API learns about the caller.

use super::proxy::Proxy;
use super::support::eventually;
use super::world::{READER, WIDE, World, expect_identity};

#[test]
fn a_token_passes_every_proxy_and_the_api_learns_whose_it_is() {
    let world = World::shared();
    let (token, jwt) = (world.token("reader"), world.client().token());
    let client = [
        "shop.backend",
        "client",
        "shop.backend",
        "orders.read orders.list",
    ];
    for (line, expected) in [
        (format!("Authorization: Bearer {token}"), READER),
        (format!("authorization: bearer {token}"), READER),
        (format!("X-Api-Key: {token}"), READER),
        (format!("api-key: {token}"), READER),
        (format!("Authorization: Bearer {jwt}"), client),
    ] {
        for door in &world.doors {
            let seen = world.send(door, &world.ask().lines([&line]));
            let what = format!("{:?} {line}", door.proxy);
            assert_eq!(seen.answer.status, 200, "{what}");
            assert_eq!(seen.received.len(), 1, "{what}");
            expect_identity(&seen.received[0], expected, &what);
        }
    }
}

#[test]
fn the_callers_token_stays_at_the_proxy() {
    let world = World::shared();
    let token = world.token("reader");
    for line in [
        "Authorization: Bearer",
        "X-Api-Key:",
        "Api-Key:",
        "x-API-key:",
    ] {
        for door in &world.doors {
            let seen = world.send(door, &world.ask().lines([format!("{line} {token}")]));
            assert_eq!(seen.answer.status, 200, "{:?} {line}", door.proxy);
            let received = format!("{:?}", seen.received);
            assert!(!received.contains(&token), "{:?}: {received}", door.proxy);
        }
    }
}

#[test]
fn a_revoked_token_is_refused_at_the_next_request() {
    let world = World::shared();
    let token = world.token("doomed");
    for door in &world.doors {
        let seen = world.send(door, &world.ask().bearer(&token));
        assert_eq!(seen.answer.status, 200, "{:?}", door.proxy);
    }
    world.folder.replace(
        "shop.yaml",
        "metadata: {name: doomed, namespace: shop}\nspec: {",
        "metadata: {name: doomed, namespace: shop}\nspec: {revoked: true, ",
    );
    eventually("the server refuses the token", || {
        (world.dev.check("orders", &token) == 401).then_some(())
    });
    for door in &world.doors {
        let status = world.refused(door, &world.ask().bearer(&token));
        assert_eq!(status, 401, "{:?}", door.proxy);
    }
}

#[test]
fn a_token_without_the_scopes_passes_no_proxy() {
    let world = World::shared();
    let token = world.token("lister");
    assert_eq!(world.dev.check("public", &token), 200);
    for door in &world.doors {
        let status = world.refused(door, &world.ask().bearer(&token));
        assert_eq!(status, 403, "{:?}", door.proxy);
    }
}

/// A client can request the right token without reading documentation (RFC 6750 section 3).
#[test]
fn a_refused_caller_learns_which_scopes_it_needs() {
    let world = World::shared();
    let lister = world.token("lister");
    for door in &world.doors {
        let seen = world.send(door, &world.ask());
        let challenge = seen.answer.value("www-authenticate").to_owned();
        assert!(
            challenge.starts_with("Bearer realm="),
            "{:?} {challenge:?}",
            door.proxy
        );
        assert!(
            challenge.ends_with(r#"scope="orders.read""#),
            "{:?} {challenge}",
            door.proxy
        );
        let seen = world.send(door, &world.ask().bearer(&lister));
        let challenge = seen.answer.value("www-authenticate");
        let is_told = challenge.ends_with(r#"error="insufficient_scope", scope="orders.read""#);
        assert_eq!(
            is_told,
            door.proxy != Proxy::Nginx,
            "{:?} {challenge}",
            door.proxy
        );
    }
}

#[test]
fn a_token_with_as_many_scopes_as_possible_passes_every_proxy() {
    let world = World::shared();
    let token = world.token("wide");
    let (count, length) = WIDE;
    for door in &world.doors {
        let seen = world.send(door, &world.ask().bearer(&token));
        assert_eq!(seen.answer.status, 200, "{:?}", door.proxy);
        let scope = seen.received[0].values("x-auth-scope").concat();
        assert!(
            scope.len() > (count - 1) * length,
            "{:?} {scope}",
            door.proxy
        );
        assert!(
            scope.starts_with("orders.read wide.0"),
            "{:?} {scope}",
            door.proxy
        );
    }
}
