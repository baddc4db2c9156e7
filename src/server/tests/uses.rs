//! Which requests count as a use of a token or client secret, and that no request waits for a report.

use super::*;
use crate::server::Uses;
use crate::server::uses::{RecordError, UseRecorder, UseReport, UseReports};
use crate::tokens::TokenId;

const GATEWAY: &str = "/id/connect/checktoken/api";

/// Returns the quickstart's server and the queue of its reports.
fn observed() -> (Fixture, UseReports) {
    let mut fixture = Fixture::new();
    let config = Config::new(ObjectKey::new("platform", "main"));
    let (uses, reports) = Uses::new(config.metrics.clone());
    fixture.app = App::with_uses(config, fixture.revoker.clone(), uses).unwrap();
    fixture
        .app
        .publisher()
        .set_keys(fixtures::key_set(), now())
        .unwrap();
    fixture.app.status().lists_complete();
    fixture.publish();
    (fixture, reports)
}

async fn check(fixture: &Fixture, path: &str, token: &str) -> u16 {
    let request = Request::get(path).header("authorization", format!("Bearer {token}"));
    let reply = fixture.send(request.body(Body::empty()).unwrap()).await;
    reply.status.as_u16()
}

fn id(secret: &str) -> TokenId {
    crate::tokens::reference::parse(secret).unwrap().id
}

fn reported(reports: &mut UseReports) -> Vec<TokenId> {
    reports
        .take()
        .iter()
        .map(|report| report.token_id)
        .collect()
}

#[tokio::test]
async fn a_token_that_passes_a_gateway_is_reported_once() {
    let (mut fixture, mut reports) = observed();
    let token = fixture.nightly();
    for _ in 0..3 {
        assert_eq!(check(&fixture, GATEWAY, &token).await, 200);
    }
    let told = reports.take();
    let [report] = told.as_slice() else {
        panic!("one report: {told:?}")
    };
    assert_eq!(report.token_id, id(&token));
    assert_eq!(*report.credential.namespace, *"platform");
    assert_eq!(report.seen.epoch, 1);
}

#[tokio::test]
async fn a_refused_request_is_not_a_use() {
    let (mut fixture, mut reports) = observed();
    let token = fixture.nightly();
    assert_eq!(
        check(&fixture, "/id/connect/checktoken/nowhere", &token).await,
        403
    );
    let wrong = format!("{}x", &token[..token.len() - 1]);
    assert_eq!(check(&fixture, GATEWAY, &wrong).await, 401);
    fixture.secret("blue", "shop");
    let reply = fixture.token(&basic("blue.shop", &token), "").await;
    assert_eq!(reply.status, StatusCode::UNAUTHORIZED);
    assert_eq!(reported(&mut reports), []);
}

#[tokio::test]
async fn a_client_secret_is_used_when_its_client_authenticates() {
    let (mut fixture, mut reports) = observed();
    let secret = fixture.secret("blue", "shop");
    let shop = basic("blue.shop", secret.expose());
    let reply = fixture.token(&shop, "").await;
    assert_eq!(reply.status, StatusCode::OK, "{reply}");
    assert_eq!(reported(&mut reports), [id(secret.expose())]);
}

/// An API introspects a token because a caller used it there. A client that introspects its own token does not use it.
#[tokio::test]
async fn introspection_is_a_use_unless_the_tokens_own_client_asks() {
    let (mut fixture, mut reports) = observed();
    let token = fixture.nightly();
    let shop = fixture.shop();
    assert_eq!(fixture.introspect(&shop, &token).await["active"], true);
    let told = reported(&mut reports);
    assert_eq!(told.len(), 1, "the client's own secret");
    assert_ne!(told[0], id(&token));
    let api = fixture.client("platform", "api");
    assert_eq!(fixture.introspect(&api, &token).await["active"], true);
    let told = reported(&mut reports);
    assert!(told.len() == 2 && told.contains(&id(&token)), "{told:?}");
}

#[tokio::test]
async fn a_jwt_has_no_use_to_report() {
    let (mut fixture, mut reports) = observed();
    let shop = fixture.shop();
    let jwt = fixture.access_token(&shop, "").await;
    reports.take();
    assert_eq!(check(&fixture, GATEWAY, &jwt).await, 200);
    assert_eq!(reported(&mut reports), []);
}

/// The queue is closed, so no report can wait.
#[tokio::test]
async fn no_request_waits_for_a_report() {
    let (mut fixture, reports) = observed();
    let token = fixture.nightly();
    drop(reports);
    for _ in 0..3 {
        assert_eq!(check(&fixture, GATEWAY, &token).await, 200);
    }
    let scrape = fixture.app.scrape(now()).await;
    let text = fixture.app.metrics().encode(&scrape).unwrap();
    let line = r#"symbolon_use_reports_dropped_total{cause="full"} 1"#;
    assert!(text.contains(line), "{text}");
}

/// Fails at the first report and accepts all later ones.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<TokenId>>>);

impl UseRecorder for Recorder {
    fn record<'a>(&'a self, report: &'a UseReport) -> BoxFuture<'a, Result<(), RecordError>> {
        let mut told = self.0.lock().unwrap();
        told.push(report.token_id);
        let result = match told.len() {
            1 => Err(RecordError("down".to_owned())),
            _ => Ok(()),
        };
        futures::future::ready(result).boxed()
    }
}

#[tokio::test]
async fn a_failed_report_is_not_repeated_and_later_ones_are_sent() {
    let (mut fixture, reports) = observed();
    let (token, other) = (fixture.nightly(), fixture.secret("blue", "shop"));
    let recorder = Recorder::default();
    let running = tokio::spawn(reports.run(recorder.clone()));
    let told = async |count| {
        let waiting = async {
            while recorder.0.lock().unwrap().len() < count {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        let waited = tokio::time::timeout(super::tcp::PATIENCE, waiting).await;
        waited.expect("the use is reported");
    };
    check(&fixture, GATEWAY, &token).await;
    told(1).await;
    fixture.token(&basic("blue.shop", other.expose()), "").await;
    told(2).await;
    // Time in which the failed report could be repeated.
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    let told = recorder.0.lock().unwrap().clone();
    assert_eq!(told, [id(&token), id(other.expose())]);
    running.abort();
}
