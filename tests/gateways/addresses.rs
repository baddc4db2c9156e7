//! Symbolon learns the address of a caller from the proxy, never from the caller.

use std::net::Ipv4Addr;

use super::proxy::Proxy;
use super::support::eventually;
use super::world::World;

/// Where the caller is. Only the proxies are in `trustedProxies`.
const CALLER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 9);

/// The addresses that the audit log names in refusals of a token, oldest first.
fn audited(world: &World, token: &str) -> Vec<String> {
    let output = world.dev.output();
    let refusals = output.lines().filter(|it| it.contains("event=refused"));
    let of_token = refusals.filter(|it| it.contains(&format!("token_id={token}")));
    of_token
        .map(|line| {
            let peer = line.split("peer=").nth(1).unwrap_or_default();
            let peer = peer.split_whitespace().next();
            peer.unwrap_or_default().to_owned()
        })
        .collect()
}

/// The proxy is trusted, so the server believes it. A proxy that passes on what the caller claims lets a stranger
/// choose the address that is audited, and whose failures and shares count.
#[test]
fn no_caller_chooses_the_address_that_a_proxy_tells() {
    let world = World::shared();
    // It is valid, but passes no gateway: every request is audited.
    let token = world.token("audited");
    let id = &token.split('_').nth(1).unwrap()[..16];
    for claim in [
        &[][..],
        &["X-Forwarded-For: 198.51.100.77"],
        &["x-forwarded-for: 198.51.100.77, 198.51.100.78"],
        &[
            "X-Forwarded-For: 198.51.100.77",
            "X-Forwarded-For: 127.0.0.1",
        ],
        &[
            "X-Forwarded-For: 198.51.100.77",
            "Connection: X-Forwarded-For",
        ],
        &["Forwarded: for=198.51.100.77", "X-Real-IP: 198.51.100.77"],
    ] {
        for gateway in &world.gateways {
            let before = audited(&world, id).len();
            let ask = world
                .ask()
                .from(CALLER)
                .bearer(&token)
                .lines(claim.to_vec());
            let status = world.refused(gateway, &ask);
            // Envoy refuses a request that asks it to remove the header.
            if gateway.proxy == Proxy::Envoy && claim.contains(&"Connection: X-Forwarded-For") {
                assert_eq!(status, 400);
                continue;
            }
            assert_eq!(status, 403, "{:?} {claim:?}", gateway.proxy);
            let peer = eventually("the refusal is audited", || {
                audited(&world, id).get(before).cloned()
            });
            assert_eq!(peer, CALLER.to_string(), "{:?} {claim:?}", gateway.proxy);
        }
    }
}
