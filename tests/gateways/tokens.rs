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
        for gateway in &world.gateways {
            let seen = world.send(gateway, &world.ask().lines([&line]));
            let what = format!("{:?} {line}", gateway.proxy);
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
        for gateway in &world.gateways {
            let seen = world.send(gateway, &world.ask().lines([format!("{line} {token}")]));
            assert_eq!(seen.answer.status, 200, "{:?} {line}", gateway.proxy);
            let received = format!("{:?}", seen.received);
            assert!(
                !received.contains(&token),
                "{:?}: {received}",
                gateway.proxy
            );
        }
    }
}

#[test]
fn a_revoked_token_is_refused_at_the_next_request() {
    let world = World::shared();
    let token = world.token("doomed");
    for gateway in &world.gateways {
        let seen = world.send(gateway, &world.ask().bearer(&token));
        assert_eq!(seen.answer.status, 200, "{:?}", gateway.proxy);
    }
    world.folder.replace(
        "shop.yaml",
        "metadata: {name: doomed, namespace: shop}\nspec: {",
        "metadata: {name: doomed, namespace: shop}\nspec: {revoked: true, ",
    );
    eventually("the server refuses the token", || {
        (world.dev.check("orders", &token) == 401).then_some(())
    });
    for gateway in &world.gateways {
        let status = world.refused(gateway, &world.ask().bearer(&token));
        assert_eq!(status, 401, "{:?}", gateway.proxy);
    }
}

#[test]
fn a_token_without_the_scopes_passes_no_proxy() {
    let world = World::shared();
    let token = world.token("lister");
    assert_eq!(world.dev.check("public", &token), 200);
    for gateway in &world.gateways {
        let status = world.refused(gateway, &world.ask().bearer(&token));
        assert_eq!(status, 403, "{:?}", gateway.proxy);
    }
}

/// A client can request the right token without reading documentation (RFC 6750 section 3).
#[test]
fn a_refused_caller_learns_which_scopes_it_needs() {
    let world = World::shared();
    let lister = world.token("lister");
    for gateway in &world.gateways {
        let seen = world.send(gateway, &world.ask());
        let challenge = seen.answer.value("www-authenticate").to_owned();
        assert!(
            challenge.starts_with("Bearer realm="),
            "{:?} {challenge:?}",
            gateway.proxy
        );
        assert!(
            challenge.ends_with(r#"scope="orders.read""#),
            "{:?} {challenge}",
            gateway.proxy
        );
        let seen = world.send(gateway, &world.ask().bearer(&lister));
        let challenge = seen.answer.value("www-authenticate");
        let is_told = challenge.ends_with(r#"error="insufficient_scope", scope="orders.read""#);
        assert_eq!(
            is_told,
            gateway.proxy != Proxy::Nginx,
            "{:?} {challenge}",
            gateway.proxy
        );
    }
}

#[test]
fn a_token_with_as_many_scopes_as_possible_passes_every_proxy() {
    let world = World::shared();
    let token = world.token("wide");
    let (count, length) = WIDE;
    for gateway in &world.gateways {
        let seen = world.send(gateway, &world.ask().bearer(&token));
        assert_eq!(seen.answer.status, 200, "{:?}", gateway.proxy);
        let scope = seen.received[0].values("x-auth-scope").concat();
        assert!(
            scope.len() > (count - 1) * length,
            "{:?} {scope}",
            gateway.proxy
        );
        assert!(
            scope.starts_with("orders.read wide.0"),
            "{:?} {scope}",
            gateway.proxy
        );
    }
}
