//! What the log, the hints and the endpoint of claims tell.

use super::*;
use crate::server::tests::edge::health;
use crate::server::tests::people::browser::left;
use crate::server::tests::people::main_path::payload;
use crate::telemetry::testing::Log;

#[tokio::test]
async fn each_step_of_a_person_is_one_audit_event_and_no_log_contains_a_secret() {
    let town = Town::new().await;
    let log = Log::default();
    let guard = log.start();
    let link = Town::link();
    town.enrol().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let wrong = [("username", "alice"), ("password", "not the right one")];
    browser.submit(&page, &wrong).await;
    let code = browser.authorize("").await.parameter("code").unwrap();
    let tokens = town.redeem(&code).await.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, refresh, id_token) = (
        text("access_token"),
        text("refresh_token"),
        text("id_token"),
    );
    let userinfo = town.userinfo(&access).await;
    assert_eq!(userinfo.status, StatusCode::OK, "{userinfo}");
    town.redeem(&code).await;
    let silent = browser.once(&authorize("&prompt=none&max_age=0")).await;
    left(&silent);
    let end = format!("/id/connect/endsession?id_token_hint={id_token}");
    browser.get(&end).await;
    drop(guard);

    let events = log.audit();
    let names: Vec<_> = events
        .iter()
        .filter_map(|it| it["event"].as_str())
        .collect();
    let expected = [
        "password_set",
        "sign_in_failed",
        "signed_in",
        "consent_given",
        "code_issued",
        "token_issued",
        "refused",
        "authorization_refused",
        "signed_out",
    ];
    assert_eq!(names, expected, "{events:#?}");
    let subject = payload(&id_token)["sub"].clone();
    for index in [0, 2, 3, 4, 8] {
        assert_eq!(events[index]["subject"], subject, "{events:#?}");
    }
    assert_eq!(events[1]["is_person"], true);
    assert_eq!(events[1]["reason"], "wrong_password");
    assert_eq!(events[6]["reason"], "code_just_used");
    assert_eq!(events[7]["reason"], "login_required");

    let logged = log.text();
    let mut secrets = vec![
        PASSWORD,
        "not the right one",
        &*code,
        &*access,
        &*refresh,
        &*id_token,
    ];
    secrets.extend(link.split("link=").nth(1));
    secrets.extend(browser.cookies.values().map(String::as_str));
    for secret in secrets {
        assert!(!logged.contains(secret), "{secret}");
    }
    let metrics = health(&town.fixture, "/metrics").await;
    assert!(!metrics.body.contains("alice"), "{metrics}");
}

#[tokio::test]
async fn hints_fill_the_form_and_choose_the_person_but_sign_no_one_in() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("&login_hint=alice")).await;
    assert!(page.body.contains("value=\"alice\""), "{page}");
    assert!(page.body.contains("type=\"password\""), "{page}");
    let code = browser.authorize("").await.parameter("code").unwrap();
    let tokens = town.redeem(&code).await.json();
    let hint = tokens["id_token"].as_str().unwrap();

    let silent = authorize(&format!("&prompt=none&id_token_hint={hint}"));
    let reply = browser.once(&silent).await;
    assert!(left(&reply).parameter("code").is_some(), "{reply}");
    // A browser without the session gets nothing by the hint.
    let reply = town.browser().once(&silent).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
    let (rest, _) = hint.rsplit_once('.').unwrap();
    let forged = authorize(&format!("&prompt=none&id_token_hint={rest}.AAAA"));
    let reply = browser.once(&forged).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn claims_are_told_by_get_and_post_as_json_or_signed() {
    let town = Town::new().await;
    town.enrol().await;
    let mut browser = town.browser();
    let code = browser.authorize("").await.parameter("code").unwrap();
    let tokens = town.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    let path = "/id/connect/userinfo";
    let json = town.userinfo(access).await.json();

    let posted = town
        .fixture
        .post(path, "", &format!("access_token={access}"))
        .await;
    assert_eq!(posted.status, StatusCode::OK, "{posted}");
    assert_eq!(posted.json(), json);

    let request = Request::get(path)
        .header("authorization", format!("Bearer {access}"))
        .header("accept", "application/jwt")
        .body(Body::empty());
    let signed = town.fixture.send(request.unwrap()).await;
    assert_eq!(signed.header("content-type"), "application/jwt", "{signed}");
    let claims = payload(&signed.body);
    assert_eq!(claims["iss"], ISSUER);
    assert_eq!(claims["aud"], APP);
    assert_eq!(claims["sub"], json["sub"]);

    let in_query = Request::get(format!("{path}?access_token={access}")).body(Body::empty());
    let refused = town.fixture.send(in_query.unwrap()).await;
    assert_ne!(refused.status, StatusCode::OK, "{refused}");
    let bare = town.userinfo("x.y.z").await;
    assert_eq!(bare.status, StatusCode::UNAUTHORIZED, "{bare}");
    assert!(
        bare.header("www-authenticate").contains("invalid_token"),
        "{bare}"
    );
}
