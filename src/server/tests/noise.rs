//! The audit log has a bounded number of lines a second, reports the rest as sums, and right credentials always pass.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::server::serve;
use crate::telemetry::testing::Log;
use crate::tokens::SeededEntropy;
use crate::tokens::reference::{Kind, Prefix, mint};

const JUNK: &str = "grant_type=client_credentials";

async fn from(fixture: &Fixture, peer: IpAddr, request: Request<Body>) -> Reply {
    Reply::of(fixture.app.answer(Some(peer), request).await).await
}

/// Returns the number of refusals that were written, and of those reported as left out.
fn lines(log: &Log) -> (usize, u64) {
    let (mut written, mut left_out) = (0, 0);
    for line in log.audit() {
        match line["event"].as_str().unwrap() {
            "refused" => written += 1,
            "refusals_suppressed" => left_out += line["count"].as_u64().unwrap(),
            _ => {}
        }
    }
    (written, left_out)
}

/// Returns the most lines of one address since that time: 240 at once, then four a second.
fn of_an_address(since: Instant) -> usize {
    241 + usize::try_from(since.elapsed().as_millis() / 250).unwrap()
}

#[tokio::test]
async fn random_names_from_one_address_write_bounded_lines_and_a_good_client_passes() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let (log, began) = (Log::default(), Instant::now());
    let guard = log.start();
    let peer = IpAddr::from([203, 0, 113, 7]);
    let mut told_to_wait = 0;
    for n in 0..3000_u32 {
        let wrong = basic(&format!("name{n}"), "x");
        let reply = from(&fixture, peer, form(TOKEN, &wrong, JUNK)).await;
        if reply.status == StatusCode::TOO_MANY_REQUESTS {
            told_to_wait += 1;
            assert!(reply.header("retry-after").parse::<u64>().is_ok());
        }
        if n % 100 == 99 {
            let good = from(&fixture, peer, form(TOKEN, &shop, JUNK)).await;
            assert_eq!(
                good.status,
                StatusCode::OK,
                "after {n} failures of its address"
            );
        }
    }
    let most = of_an_address(began);
    fixture.app.noise().tell();
    drop(guard);
    let (written, left_out) = lines(&log);
    assert!(written <= most, "{written} lines");
    assert_eq!(left_out, told_to_wait);
    assert_eq!(written as u64 + left_out, 3000);
    let sum = log
        .audit()
        .into_iter()
        .find(|line| line["event"] == "refusals_suppressed");
    let sum = sum.unwrap();
    assert_eq!(sum["peer"], "203.0.113.7");
    assert!(
        sum["since"]
            .as_str()
            .unwrap()
            .parse::<jiff::Timestamp>()
            .is_ok(),
        "{sum}"
    );
}

#[tokio::test]
async fn lines_of_one_ipv6_network_and_of_many_networks_together_are_bounded() {
    let fixture = Fixture::new();
    let (log, began) = (Log::default(), Instant::now());
    let guard = log.start();
    let address = |network: u16, host: u16| {
        IpAddr::from(Ipv6Addr::new(0x2001, 0xdb8, 0, network, 0, 0, 0, host))
    };
    for n in 0..1000 {
        let wrong = basic(&format!("name{n}"), "x");
        from(&fixture, address(0, n), form(TOKEN, &wrong, JUNK)).await;
    }
    let most = of_an_address(began);
    let (written, _) = lines(&log);
    assert!(written <= most, "{written} lines of one network");

    let began = Instant::now();
    for network in 1..4000 {
        from(&fixture, address(network, 1), form(TOKEN, "", JUNK)).await;
    }
    let most = 2001 + usize::try_from(began.elapsed().as_millis() / 10).unwrap();
    fixture.app.noise().tell();
    drop(guard);
    let (all, left_out) = lines(&log);
    assert!(
        all - written <= most,
        "{} lines of many networks",
        all - written
    );
    assert_eq!(all as u64 + left_out, 1000 + 3999);
    let sums = log
        .audit()
        .into_iter()
        .filter(|line| line["event"] == "refusals_suppressed");
    let sums: Vec<_> = sums.collect();
    assert!(sums.len() <= 17, "{} sums", sums.len());
    assert_eq!(
        sums[0]["peer"], "2001:db8::/64",
        "the network with the most comes first"
    );
}

#[tokio::test]
async fn lines_about_junk_are_bounded_and_do_not_hide_issued_tokens() {
    let mut fixture = Fixture::new();
    let (shop, api, nightly) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    let at_gateway = |token: &str| {
        let request = Request::get("/id/connect/checktoken/api");
        let request = request.header("authorization", format!("Bearer {token}"));
        request.body(Body::empty()).unwrap()
    };
    let (log, began) = (Log::default(), Instant::now());
    let guard = log.start();
    let peer = IpAddr::from([203, 0, 113, 7]);
    let mut entropy = SeededEntropy::new(9);
    for _ in 0..500 {
        let token = mint(&Prefix::default(), Kind::ServiceAccessToken, &mut entropy).token;
        let token = token.expose().to_owned();
        from(&fixture, peer, at_gateway(&token)).await;
        for request in [
            form(INTROSPECT, &api, &format!("token={token}")),
            form(REVOKE, &shop, &format!("token={token}")),
            form(TOKEN, &shop, "grant_type=junk"),
            form(TOKEN, "Basic junk", JUNK),
            form(TOKEN, "", "a=1&a=1"),
            form("/id/nowhere", "", "junk"),
        ] {
            from(&fixture, peer, request).await;
        }
    }
    let most = 4 * (61 + usize::try_from(began.elapsed().as_secs()).unwrap());
    fixture.app.noise().tell();
    let (written, left_out) = lines(&log);
    assert!(written <= most, "{written} lines");
    assert_eq!(written as u64 + left_out, 4 * 500);

    fixture.apply(&QUICKSTART.replace(
        "clientRef: {name: shop}",
        "clientRef: {name: shop}\n  revoked: true",
    ));
    from(&fixture, peer, at_gateway(&nightly)).await;
    drop(guard);
    let last = log.audit().pop().unwrap();
    assert_eq!(last["reason"], "owner_revoked");
    assert_eq!(last["token_id"], nightly["symsat_".len()..][..16]);
}

#[tokio::test]
async fn the_shutdown_reports_the_refusals_that_were_left_out() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.drain = std::time::Duration::ZERO;
    });
    let log = Log::default();
    let guard = log.start();
    for _ in 0..100 {
        fixture.token(&basic("nobody", "x"), "").await;
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let shutdown = CancellationToken::new();
    shutdown.cancel();
    serve(listener, None, fixture.app.clone(), shutdown).await;
    drop(guard);
    let (written, left_out) = lines(&log);
    assert_eq!(written as u64 + left_out, 100);
    assert!(left_out > 0);
}
