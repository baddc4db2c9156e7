//! Rules for all endpoints: readiness, staleness, overload, headers, audit, metrics.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::StatusCode;
use tower::Service as _;

use super::*;
use crate::server::{NotReady, health};
use crate::telemetry::testing::Log;

pub(super) async fn health(fixture: &Fixture, path: &str) -> Reply {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let answer = health::router(fixture.app.clone()).call(request).await;
    Reply::of(answer.unwrap()).await
}

#[tokio::test]
async fn no_request_is_answered_before_the_first_lists_are_complete() {
    let config = Config::new(ObjectKey::new("platform", "main"));
    let app = App::new(config, FakeRevoker::default()).unwrap();
    let fixture = Fixture {
        app,
        world: World::new(QUICKSTART),
        revoker: FakeRevoker::default(),
    };
    assert_eq!(fixture.app.readiness(now()), Err(NotReady::ListsIncomplete));
    assert_eq!(
        fixture.token("", "").await.error(),
        (503, "temporarily_unavailable".into())
    );
    fixture.app.status().lists_complete();
    assert_eq!(fixture.app.readiness(now()), Err(NotReady::IdentityMissing));
    assert_eq!(
        fixture.token("", "").await.error(),
        (503, "temporarily_unavailable".into())
    );
    fixture.publish();
    assert_eq!(fixture.app.readiness(now()), Err(NotReady::KeysMissing));
    fixture
        .app
        .publisher()
        .set_keys(fixtures::key_set(), now())
        .unwrap();
    assert_eq!(fixture.app.readiness(now()), Ok(()));
    assert_eq!(
        fixture.token("", "").await.error(),
        (401, "invalid_client".into())
    );
}

#[tokio::test]
async fn when_stale_requests_are_refused_or_answered_as_the_identity_says() {
    let old = now() - jiff::SignedDuration::from_hours(25);
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    fixture.app.status().heard_at(old);
    let reply = fixture.token(&shop, "").await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(reply.header("retry-after"), "5");
    assert_eq!(fixture.app.readiness(now()), Err(NotReady::Stale));
    let keys = fixture
        .get("/id/.well-known/openid-configuration/jwks")
        .await;
    assert_eq!(keys.status, StatusCode::OK, "public keys stay served");
    fixture.app.status().heard_at(now());
    assert_eq!(fixture.token(&shop, "").await.status, StatusCode::OK);
    fixture.app.status().heard_at(old);
    let keep = "  staleness: {whenExceeded: KeepServing}\n  gateways:";
    fixture.apply(&QUICKSTART.replace("  gateways:", keep));
    assert_eq!(fixture.token(&shop, "").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_health_port_says_why_the_server_is_not_ready() {
    let fixture = Fixture::new();
    assert_eq!(health(&fixture, "/livez").await.body, "ok\n");
    assert_eq!(health(&fixture, "/readyz").await.body, "ok\n");
    let long_ago = now() - jiff::SignedDuration::from_hours(25);
    fixture.app.status().heard_at(long_ago);
    let reply = health(&fixture, "/readyz").await;
    assert_eq!(reply.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(reply.body.contains("staleness.maxAge"), "{}", reply.body);
    assert_eq!(
        health(&fixture, "/livez").await.status,
        StatusCode::OK,
        "the server still lives"
    );
}

/// Load balancers outside the cluster do not reach the health port.
#[tokio::test]
async fn the_port_of_requests_says_whether_the_server_is_ready_and_not_why_not() {
    let fixture = Fixture::new();
    let ready = fixture.get("/id/healthz").await;
    assert_eq!((ready.status.as_u16(), &*ready.body), (200, ""));
    assert_eq!(ready.header("cache-control"), "no-store");
    assert_eq!(ready.header("access-control-allow-origin"), "(none)");
    let with = |method: &str| {
        let request = Request::builder().method(method).uri("/id/healthz");
        request.body(Body::empty()).unwrap()
    };
    assert_eq!(fixture.send(with("HEAD")).await.status, StatusCode::OK);
    for method in ["POST", "OPTIONS", "DELETE"] {
        let reply = fixture.send(with(method)).await;
        assert_eq!(reply.status, StatusCode::METHOD_NOT_ALLOWED, "{method}");
        assert_eq!(reply.header("allow"), "GET, HEAD");
    }
    for path in ["/healthz", "/id/healthz/", "/id/readyz", "/id/metrics"] {
        assert_eq!(
            fixture.get(path).await.status,
            StatusCode::NOT_FOUND,
            "{path}"
        );
    }
    let unready = async |why: &str| {
        let reply = fixture.get("/id/healthz").await;
        assert_eq!((reply.status.as_u16(), &*reply.body), (503, ""), "{why}");
        assert_eq!(reply.header("retry-after"), "5", "{why}");
    };
    let long_ago = now() - jiff::SignedDuration::from_hours(25);
    fixture.app.status().heard_at(long_ago);
    unready("stale").await;
    fixture.app.status().heard_at(now());
    assert_eq!(fixture.get("/id/healthz").await.status, StatusCode::OK);
    fixture.app.status().drain();
    unready("draining").await;
}

#[tokio::test]
async fn metrics_count_requests_and_their_labels_are_a_closed_set() {
    let mut fixture = Fixture::new();
    let (shop, api, token) = (
        fixture.shop(),
        fixture.client("platform", "api"),
        fixture.nightly(),
    );
    fixture.token(&shop, "").await;
    fixture.introspect(&api, &token).await;
    fixture.introspect(&api, "nope").await;
    for n in 0..50 {
        fixture.get(&format!("/id/{n}")).await;
        fixture.token(&basic(&format!("client{n}"), "x"), "").await;
    }
    let text = health(&fixture, "/metrics").await.body;
    for line in [
        r#"symbolon_tokens_issued_total{grant="client_credentials",algorithm="RS256"} 1"#,
        r#"symbolon_introspections_total{outcome="active"} 1"#,
        r#"symbolon_introspections_total{outcome="malformed"} 1"#,
        r#"symbolon_client_auth_failures_total{reason="malformed"} 50"#,
        r#"symbolon_requests_total{endpoint="other",status="4xx"} 50"#,
        r#"symbolon_directory_objects{kind="OAuthClient"} 5"#,
        "symbolon_ready 1",
    ] {
        assert!(text.contains(line), "{line} in\n{text}");
    }
    assert!(!text.contains("client7"));
}

#[tokio::test]
async fn requests_beyond_the_limit_get_503_and_retry_after() {
    let mut fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.requests = 1;
        config.limits.revocation = Duration::from_mins(1);
    });
    let (shop, token) = (fixture.shop(), fixture.nightly());
    fixture.revoker.0.lock().unwrap().0 = Outage::Hangs;
    let slow = form(REVOKE, &shop, &format!("token={token}"));
    let app = fixture.app.clone();
    let waiting = tokio::spawn(async move { app.answer(None, slow).await });
    tokio::task::yield_now().await;
    let reply = fixture.token(&shop, "").await;
    assert_eq!(reply.error(), (503, "temporarily_unavailable".into()));
    assert_eq!(reply.header("retry-after"), "1");
    waiting.abort();
    let _ = waiting.await;
    assert_eq!(
        fixture.token(&shop, "").await.status,
        StatusCode::OK,
        "the place is free again"
    );
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_408() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.body_deadline = Duration::from_millis(20);
    });
    let mut slow = form(TOKEN, "", "");
    *slow.body_mut() = Body::from_stream(futures::stream::pending::<
        Result<bytes::Bytes, std::io::Error>,
    >());
    assert_eq!(fixture.send(slow).await.status, StatusCode::REQUEST_TIMEOUT);
}

#[tokio::test]
async fn a_server_with_allowed_hosts_refuses_other_hosts() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.allowed_hosts = Some(vec!["127.0.0.1:8080".into(), "localhost:8080".into()]);
    });
    let path = "/id/.well-known/openid-configuration";
    for (host, status) in [
        (Some("localhost:8080"), 200),
        (Some("LOCALHOST:8080"), 200),
        (Some("127.0.0.1:8080"), 200),
        (Some("evil.example:8080"), 421),
        (Some("localhost:8081"), 421),
        (None, 421),
    ] {
        let mut request = Request::get(path);
        if let Some(host) = host {
            request = request.header("host", host);
        }
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{host:?}");
    }
}

const GATEWAYS: &str = "/id/connect/checktoken";

/// Envoy and Caddy send the Host of the request that they ask about.
#[tokio::test]
async fn a_gateway_may_ask_for_any_host_where_others_may_not() {
    let mut fixture = Fixture::of(QUICKSTART, |config| {
        config.allowed_hosts = Some(vec!["localhost:8080".into()]);
    });
    let (token, shop) = (fixture.nightly(), fixture.shop());
    let accepted = {
        let own = Request::get(format!("{GATEWAYS}/api")).header("host", "localhost:8080");
        let own = own.header("authorization", format!("Bearer {token}"));
        fixture.send(own.body(Body::empty()).unwrap()).await.status
    };
    assert!(accepted.is_success(), "{accepted}");
    for path in [
        GATEWAYS.to_owned(),
        format!("{GATEWAYS}/api"),
        format!("{GATEWAYS}/api/a/../b?c"),
    ] {
        let status = async |host: &str| {
            let request = Request::get(&path).header("host", host);
            let request = request.header("authorization", format!("Bearer {token}"));
            let request = request.body(Body::empty()).unwrap();
            fixture.send(request).await.status
        };
        assert_eq!(
            status("shop.example.com").await,
            status("localhost:8080").await,
            "{path}"
        );
    }
    for path in [
        "/id/.well-known/openid-configuration",
        "/id/connect/jwks",
        "/id/connect/checktokens",
        "/id/connect",
        "/other/connect/checktoken/api",
        "/id/x/../connect/checktoken/api",
        "/",
    ] {
        let request = Request::get(path).header("host", "evil.example");
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
    for path in [TOKEN, REVOKE] {
        let mut request = form(path, &shop, "grant_type=client_credentials");
        request
            .headers_mut()
            .insert("host", "evil.example".parse().unwrap());
        let reply = fixture.send(request).await;
        assert_eq!(reply.status, StatusCode::MISDIRECTED_REQUEST, "{path}");
    }
}

#[tokio::test]
async fn a_request_that_names_two_hosts_is_400() {
    let fixture = Fixture::new();
    let path = "/id/.well-known/openid-configuration";
    let absolute = |authority: &str| format!("http://{authority}{path}");
    for (target, hosts, status) in [
        (path.to_owned(), &["a.example"][..], 200),
        (path.to_owned(), &["my_service.ns:8080"], 200),
        (path.to_owned(), &["[::1]:8080"], 200),
        (path.to_owned(), &[""], 200),
        (path.to_owned(), &["a.example", "b.example"], 400),
        (path.to_owned(), &["a.example", "a.example"], 400),
        (path.to_owned(), &["a.example, b.example"], 400),
        (path.to_owned(), &["a.example/b"], 400),
        (path.to_owned(), &["a@b.example"], 400),
        (path.to_owned(), &["a.example b"], 400),
        (absolute("a.example"), &[], 200),
        (absolute("a.example"), &["A.example"], 200),
        (absolute("a.example:443"), &["a.example"], 200),
        (absolute("a.example"), &["b.example"], 400),
        (absolute("a.example:8080"), &["a.example"], 400),
    ] {
        let mut request = Request::get(&target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status.as_u16(), status, "{target} {hosts:?}");
    }
}

#[tokio::test]
async fn a_caller_behind_a_trusted_proxy_has_its_own_share_of_requests() {
    let yaml = QUICKSTART.replace(
        "  gateways:",
        "  network: {trustedProxies: [127.0.0.1/32]}\n  gateways:",
    );
    let mut fixture = Fixture::of(&yaml, |config| {
        config.limits.requests_per_peer = 1;
        config.limits.revocation = Duration::from_mins(1);
    });
    let (shop, token) = (fixture.shop(), fixture.nightly());
    fixture.revoker.0.lock().unwrap().0 = Outage::Hangs;
    let from = |mut request: Request<Body>, caller: Option<&str>| {
        if let Some(caller) = caller {
            let headers = request.headers_mut();
            headers.insert("x-forwarded-for", caller.parse().unwrap());
        }
        request
    };
    let hang = |caller: Option<&str>| {
        let slow = from(form(REVOKE, &shop, &format!("token={token}")), caller);
        let app = fixture.app.clone();
        tokio::spawn(async move { app.answer(Some([127, 0, 0, 1].into()), slow).await })
    };
    let waiting = [hang(Some("203.0.113.1")), hang(None), hang(None)];
    tokio::task::yield_now().await;
    for (caller, status) in [
        (Some("203.0.113.1"), 503),
        (Some("203.0.113.2"), 200),
        // The proxy names no caller, so there is no limit.
        (None, 200),
    ] {
        let request = form(TOKEN, &shop, "grant_type=client_credentials");
        let reply = fixture.send(from(request, caller)).await;
        assert_eq!(reply.status.as_u16(), status, "{caller:?}");
    }
    waiting.iter().for_each(tokio::task::JoinHandle::abort);
}

/// Over HTTP/2 each request is a task, and a client can start hundreds of them before the first has a processor.
#[tokio::test]
async fn requests_count_from_when_they_came_and_not_from_when_a_processor_takes_them_up() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.limits.requests = 3;
        config.limits.requests_per_peer = 2;
    });
    let come = |last| {
        let peer = [10, 0, last, 1].into();
        fixture.app.answer(Some(peer), form(TOKEN, "", ""))
    };
    let waiting = [come(1), come(1)];
    assert_eq!(Reply::of(come(1).await).await.status, 503, "of one address");
    let third = come(2);
    assert_eq!(Reply::of(come(3).await).await.status, 503, "of all");
    for answer in waiting {
        assert_eq!(Reply::of(answer.await).await.status, 401);
    }
    assert_eq!(Reply::of(third.await).await.status, 401);
    assert_eq!(Reply::of(come(1).await).await.status, 401);
    let text = fixture.app.exposition(crate::server::now()).await.unwrap();
    for cause in ["requests", "requests_per_peer"] {
        let line = format!(r#"symbolon_shed_total{{cause="{cause}"}} 1"#);
        assert!(text.contains(&line), "{line} in\n{text}");
    }
}

/// The networks of one site could otherwise hold all requests, each within its own share.
#[tokio::test]
async fn once_half_of_the_requests_are_taken_one_site_gets_no_more() {
    let fixture = Fixture::of(QUICKSTART, |config| config.limits.requests = 64);
    let come = |peer: [u16; 8]| {
        let peer = IpAddr::from(peer);
        fixture.app.answer(Some(peer), form(TOKEN, "", ""))
    };
    let flood = |number| come([0x2001, 0xdb8, 1, number, 0, 0, 0, 1]);
    let waiting: Vec<_> = (0..200).map(flood).collect();
    for site in 2..34 {
        let reply = Reply::of(come([0x2001, 0xdb8, site, 1, 0, 0, 0, 1]).await).await;
        assert_eq!(reply.status, 401, "{site}");
    }
    let flooded = futures::future::join_all(waiting).await;
    let admitted = flooded.iter().filter(|answer| answer.status() == 401);
    assert_eq!(admitted.count(), 32);
}

#[tokio::test]
async fn a_document_that_caches_keep_repeats_no_request_id() {
    let fixture = Fixture::new();
    for path in [
        "/id/.well-known/openid-configuration",
        "/id/.well-known/openid-configuration/jwks",
        "/.well-known/oauth-authorization-server/id",
    ] {
        let request = Request::get(path).header("x-request-id", "a-strangers");
        let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(reply.status, StatusCode::OK);
        assert_eq!(reply.header("x-request-id"), "(none)", "{path}");
    }
}

#[tokio::test]
async fn a_health_port_with_allowed_hosts_refuses_other_hosts() {
    let fixture = Fixture::of(QUICKSTART, |config| {
        config.allowed_health_hosts = Some(vec!["127.0.0.1:8081".into()]);
    });
    for path in ["/metrics", "/readyz", "/livez", "/nothing"] {
        for (host, is_refused) in [
            ("127.0.0.1:8081", false),
            ("evil.example:8081", true),
            ("127.0.0.1:8080", true),
        ] {
            let request = Request::get(path).header("host", host);
            let request = request.body(Body::empty()).unwrap();
            let answer = health::router(fixture.app.clone()).call(request).await;
            let status = answer.unwrap().status();
            assert_eq!(
                status == StatusCode::MISDIRECTED_REQUEST,
                is_refused,
                "{path} {host}"
            );
        }
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = health::router(fixture.app.clone()).call(request).await;
        assert_eq!(answer.unwrap().status(), StatusCode::MISDIRECTED_REQUEST);
    }
}

#[tokio::test]
async fn a_uri_beyond_the_limit_is_414() {
    let fixture = Fixture::new();
    let reply = fixture.get(&format!("/id/{}", "x".repeat(9000))).await;
    assert_eq!(reply.status, StatusCode::URI_TOO_LONG);
}

#[tokio::test]
async fn every_answer_has_nosniff_and_hsts_and_repeats_a_valid_request_id() {
    let fixture = Fixture::new();
    for (id, echoed) in [
        ("abc-1.2_3", "abc-1.2_3"),
        ("a b", "(none)"),
        ("a\"", "(none)"),
        ("", "(none)"),
    ] {
        let mut request = form(TOKEN, "", "");
        request
            .headers_mut()
            .insert("x-request-id", id.parse().unwrap());
        let reply = fixture.send(request).await;
        assert_eq!(reply.header("x-request-id"), echoed);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(
            reply.header("strict-transport-security"),
            "max-age=31536000"
        );
    }
    let plain = Fixture::of(
        &QUICKSTART.replace("https://id.example.com/id", "http://localhost/id"),
        |_| {},
    );
    let reply = plain.get("/id/.well-known/openid-configuration").await;
    assert_eq!(
        (reply.status, reply.header("strict-transport-security")),
        (StatusCode::OK, "(none)")
    );
}

#[tokio::test]
async fn every_issue_refusal_and_revocation_is_one_audit_event_with_its_caller_and_reason() {
    let mut fixture = Fixture::new();
    let (shop, token) = (fixture.shop(), fixture.nightly());
    let log = Log::default();
    let guard = log.start();
    let mut request = form(TOKEN, &shop, "grant_type=client_credentials");
    request.headers_mut().insert(
        "x-request-id",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV".parse().unwrap(),
    );
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    request
        .headers_mut()
        .insert("traceparent", trace.parse().unwrap());
    let jwt = fixture.send(request).await.json()["access_token"]
        .as_str()
        .unwrap()
        .to_owned();
    fixture.token(&shop, "&scope=nope").await;
    fixture.token(&basic("evil\nclient", "x"), "").await;
    fixture.post(REVOKE, &shop, &format!("token={token}")).await;
    drop(guard);
    let events = log.audit();
    let field =
        |index: usize, name: &str| events[index][name].as_str().unwrap_or("(none)").to_owned();
    assert_eq!(events.len(), 4, "{events:#?}");
    assert_eq!(field(0, "event"), "token_issued");
    assert_eq!(
        field(0, "token_id"),
        fixture.claims(&jwt)["jti"].as_str().unwrap()
    );
    assert_eq!(field(0, "client_id"), "blue.shop");
    assert_eq!(field(0, "request_id"), "01ARZ3NDEKTSV4RRFFQ69G5FAV");
    assert_eq!(field(0, "trace_id"), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(field(0, "peer"), "127.0.0.1");
    assert_eq!(
        (field(1, "event"), field(1, "client_id"), field(1, "reason")),
        ("refused".into(), "blue.shop".into(), "invalid_scope".into())
    );
    assert_eq!(
        (
            field(2, "action"),
            field(2, "unverified_client_id"),
            field(2, "unverified_client_id_hash").len(),
            field(2, "reason")
        ),
        ("token".into(), "(none)".into(), 16, "malformed".into())
    );
    assert_eq!(
        (field(3, "event"), field(3, "owner")),
        ("token_revoked".into(), "blue/nightly".into())
    );
}

#[tokio::test]
async fn no_log_metric_or_error_contains_a_secret() {
    let mut fixture = Fixture::new();
    let secret = fixture.secret("blue", "shop");
    let canary = secret.expose().to_owned();
    let token = fixture.nightly();
    let log = Log::default();
    let guard = log.start();
    let shop = basic("blue.shop", &canary);
    let mut answers = String::new();
    for reply in [
        fixture.token(&shop, "&scope=nope").await,
        fixture.token(&basic("blue.other", &canary), "").await,
        fixture
            .token("", &format!("&client_id={canary}&client_secret={canary}"))
            .await,
        fixture
            .post(&format!("{TOKEN}?client_secret={canary}"), "", "")
            .await,
        fixture
            .post(INTROSPECT, &shop, &format!("token={token}x"))
            .await,
        fixture.post(REVOKE, &shop, &format!("token={token}")).await,
        health(&fixture, "/metrics").await,
    ] {
        answers.push_str(&reply.to_string());
    }
    drop(guard);
    let logged = log.text();
    assert!(!logged.is_empty());
    for text in [&answers, &logged] {
        assert!(!text.contains(&canary) && !text.contains(&token));
    }
}

#[tokio::test]
async fn a_flood_of_refusals_does_not_fill_the_audit_log() {
    let mut fixture = Fixture::new();
    let shop = fixture.shop();
    let log = Log::default();
    let guard = log.start();
    for _ in 0..300 {
        fixture.token(&shop, "&scope=nope").await;
        fixture.token(&basic("nobody", "x"), "").await;
    }
    drop(guard);
    assert!(log.audit().len() < 200, "{}", log.audit().len());
    let text = health(&fixture, "/metrics").await.body;
    assert!(text.contains("symbolon_audit_suppressed_total"), "{text}");
}

#[tokio::test]
async fn behind_a_trusted_proxy_failures_count_for_each_caller() {
    let yaml = format!("{QUICKSTART}---\n{MORE}");
    let trusting = yaml.replace(
        "  gateways:",
        "  network: {trustedProxies: [127.0.0.0/8]}\n  gateways:",
    );
    let wrong = basic("blue.shop", "x");
    let fail = async |fixture: &Fixture, list: &str| {
        let mut request = form(TOKEN, &wrong, "grant_type=client_credentials");
        let headers = request.headers_mut();
        headers.insert("x-forwarded-for", list.parse().unwrap());
        fixture.send(request).await.status
    };
    let exhausted = async |fixture: &Fixture| {
        for _ in 0..200 {
            if fail(fixture, "9.9.9.9, 203.0.113.1").await == StatusCode::TOO_MANY_REQUESTS {
                return;
            }
        }
        panic!("no answer is 429");
    };
    let fixture = Fixture::of(&trusting, |_| {});
    exhausted(&fixture).await;
    let another = fail(&fixture, "203.0.113.2").await;
    assert_eq!(another, StatusCode::UNAUTHORIZED);
    let disguised = fail(&fixture, "203.0.113.2, 203.0.113.1").await;
    assert_eq!(disguised, StatusCode::TOO_MANY_REQUESTS);

    let fixture = Fixture::of(&yaml, |_| {});
    exhausted(&fixture).await;
    let liar = fail(&fixture, "203.0.113.2").await;
    assert_eq!(liar, StatusCode::TOO_MANY_REQUESTS, "no proxy is trusted");
}

#[tokio::test]
async fn keys_retire_at_their_time() {
    use crate::keys::Algorithm;
    use fixtures::{key, record};
    let fixture = Fixture::new();
    let (before, end) = (now(), now() + jiff::SignedDuration::from_hours(1));
    let retired = record(key(Algorithm::RS256), 0, Some(end.as_second()));
    let keys = KeySet::from_records([retired]).unwrap();
    fixture.app.publisher().set_keys(keys, before).unwrap();
    assert_eq!(fixture.app.readiness(before), Ok(()));
    fixture.app.publisher().turn_keys(end).unwrap();
    assert_eq!(
        fixture
            .app
            .publisher()
            .current()
            .ring()
            .algorithms()
            .count(),
        0
    );
}
