//! The rules of sign-in, one test each.

use super::browser::{form_of, left, way};
use super::main_path::payload;
use super::*;
use crate::oauth::authorize::Flow;
use crate::tokens::SystemEntropy;

/// A town in which alice has a password.
async fn town() -> Town {
    let town = Town::new().await;
    town.enrol().await;
    town
}

#[tokio::test]
async fn an_unknown_client_or_redirect_uri_shows_a_page_and_never_redirects() {
    let town = Town::new().await;
    let mut browser = town.browser();
    for path in [
        authorize("").replace(APP, "blue.other"),
        authorize("").replace("callback", "evil"),
        "/id/connect/authorize".to_owned(),
        "/id/connect/authorize?client_id=a&client_id=b".to_owned(),
        "/id/connect/authorize?client_id=%3Cscript%3E".to_owned(),
    ] {
        let page = browser.once(&path).await;
        assert!(page.status.is_client_error(), "{path}: {page}");
        assert_eq!(page.header("location"), "(none)");
        assert!(page.header("content-type").starts_with("text/html"));
        assert!(!page.body.contains("<script>"), "{page}");
    }
}

/// RFC 9700 section 4.11.2: a link to the server does not lead on to a client's site by itself.
#[tokio::test]
async fn another_fault_goes_to_the_client_by_a_button_or_at_once_after_a_sign_in() {
    let town = town().await;
    let mut stranger = town.browser();
    let mut known = town.browser();
    known.authorize("").await;
    let check = |left: &super::browser::Left, error: &str| {
        assert!(left.uri.starts_with(REDIRECT), "{left:?}");
        assert_eq!(left.parameter("error").as_deref(), Some(error));
        assert_eq!(left.parameter("state").as_deref(), Some("s1"));
        assert_eq!(left.parameter("iss").as_deref(), Some(ISSUER));
    };
    let no_pkce = authorize("").replace("code_challenge=", "x=");
    let other_scope = authorize("").replace("scope=openid", "scope=orders.write");
    let of_token = authorize("").replace("response_type=code", "response_type=token");
    for (path, error) in [
        (authorize("&response_mode=odd"), "invalid_request"),
        (authorize("&request=x"), "request_not_supported"),
        (
            authorize("&resource=https://nowhere.example.com"),
            "invalid_target",
        ),
        (no_pkce, "invalid_request"),
        (other_scope, "invalid_scope"),
        (of_token, "unsupported_response_type"),
    ] {
        let page = stranger.once(&path).await;
        assert_eq!(page.status, StatusCode::BAD_REQUEST, "{path}: {page}");
        assert_eq!(page.header("location"), "(none)");
        check(&super::browser::Left { uri: way(&page) }, error);
        check(&left(&known.once(&path).await), error);
        let silent = stranger.once(&format!("{path}&prompt=none")).await;
        check(&left(&silent), error);
    }
    let silent = stranger.once(&authorize("&prompt=none")).await;
    check(&left(&silent), "login_required");
}

/// Nobody can tell whether it was genuine, and clients keep ID tokens for long.
#[tokio::test]
async fn a_hint_whose_key_has_retired_is_ignored_and_a_forged_one_refused() {
    let town = town().await;
    let mut browser = town.browser();
    let done = browser.authorize("").await;
    let tokens = town.redeem(&done.parameter("code").unwrap()).await.json();
    let genuine = tokens["id_token"].as_str().unwrap();
    let (head, rest) = genuine.split_once('.').unwrap();
    let (claims, _) = rest.split_once('.').unwrap();
    let engine = base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let mut header: serde_json::Value =
        serde_json::from_slice(&engine.decode(head).unwrap()).unwrap();
    header["kid"] = "retired".into();
    let other = engine.encode(header.to_string());
    let signature = engine.encode([7; 64]);
    for (hint, is_good) in [
        (genuine.to_owned(), true),
        (format!("{other}.{claims}.{signature}"), true),
        (format!("{head}.{claims}.{signature}"), false),
    ] {
        let path = authorize(&format!("&prompt=none&id_token_hint={hint}"));
        let left = left(&browser.once(&path).await);
        assert_eq!(left.parameter("code").is_some(), is_good, "{left:?}");
    }
}

/// Everyone can push in the name of a public client (RFC 9126 section 2.3).
#[tokio::test]
async fn one_address_pushes_only_so_many_requests_for_a_public_client() {
    let town = Town::new().await;
    let request = authorize("");
    let (_, query) = request.split_once('?').unwrap();
    let mut pushed = 0;
    let refused = loop {
        let reply = town.fixture.post("/id/connect/par", "", query).await;
        if reply.status != StatusCode::CREATED {
            break reply;
        }
        pushed += 1;
        assert!(pushed < 500, "no limit");
    };
    assert!(pushed >= 60, "{pushed}");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
    assert_eq!(refused.error().1, "temporarily_unavailable");
    assert_ne!(refused.header("retry-after"), "(none)");
}

/// A confidential client may push more than a stranger, and not without an end.
#[tokio::test]
async fn what_is_pushed_is_bounded_in_size_and_for_a_client_with_a_secret_in_number() {
    let mut town = Town::new().await;
    town.fixture.apply(super::confidential::WEB);
    let web = town.fixture.client("blue", "web");
    let request = authorize("").replace(APP, "blue.web");
    let (_, query) = request.split_once('?').unwrap();
    let (_, without_state) = query.split_once("&state=s1").unwrap();
    let scope = query.split_once("&state=s1").unwrap().0;
    let escaped = "%01".repeat(2048);
    let long = format!("{scope}&state={escaped}&login_hint={escaped}{without_state}");
    let refused = town.fixture.post("/id/connect/par", &web, &long).await;
    assert_eq!(refused.error(), (400, "invalid_request".to_owned()));
    assert!(refused.body.contains("16 KiB"), "{refused}");
    let mut pushed = 0;
    let refused = loop {
        let reply = town.fixture.post("/id/connect/par", &web, query).await;
        if reply.status != StatusCode::CREATED {
            break reply;
        }
        pushed += 1;
        assert!(pushed < 100_000, "no limit");
    };
    assert!(pushed >= 999, "{pushed}");
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
}

#[tokio::test]
async fn nothing_is_written_before_a_sign_in() {
    let town = Town::new().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    assert_eq!(page.status, StatusCode::OK);
    let attempts = crate::people::attempt::of_name("alice");
    assert_eq!(town.people.store.attempts(attempts).await.unwrap(), None);
    assert!(browser.has("browser"));
    assert!(!browser.has("session"));
}

#[tokio::test]
async fn a_wrong_password_and_an_unknown_name_look_alike() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let fields = [("username", "alice"), ("password", "not the password")];
    let wrong = browser.submit(&page, &fields).await;
    let fields = [("username", "nobody"), ("password", "not the password")];
    let unknown = browser.submit(&page, &fields).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong}");
    assert_eq!(
        wrong.body.replace("alice", "nobody"),
        unknown.body,
        "the pages differ"
    );
}

#[tokio::test]
async fn too_many_attempts_are_refused_for_known_and_unknown_names() {
    let town = town().await;
    for name in ["alice", "nobody"] {
        let mut browser = town.browser();
        let page = browser.get(&authorize("")).await;
        let fields = [("username", name), ("password", "not the password")];
        for _ in 0..10 {
            let reply = browser.submit(&page, &fields).await;
            assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply}");
        }
        let reply = browser.submit(&page, &fields).await;
        assert_eq!(
            reply.status,
            StatusCode::TOO_MANY_REQUESTS,
            "{name} {reply}"
        );
        assert!(reply.header("retry-after").parse::<u64>().unwrap() > 60);
    }
}

/// Each costs the server a hash, whether the password is right or not.
#[tokio::test]
async fn one_person_signs_in_only_so_often_in_a_short_time() {
    let town = town().await;
    let keys = PeopleKeys::new(mac(), None, ISSUER);
    let store = town.people.store.clone();
    let mut people = People::new(store, keys, Passwords::default());
    people.attempts.sign_ins.burst = 2;
    people.attempts.sign_ins.interval = Duration::from_hours(1);
    town.fixture.app.set_people(Some(Arc::new(people)));
    for _ in 0..2 {
        let mut browser = town.browser();
        let page = browser.get(&authorize("")).await;
        let fields = [("username", "alice"), ("password", "not the password")];
        let wrong = browser.submit(&page, &fields).await;
        assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong}");
        let done = browser.sign_in(&page).await;
        assert_eq!(done.status, StatusCode::OK, "{done}");
    }
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let refused = browser.sign_in(&page).await;
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS, "{refused}");
    assert!(refused.header("retry-after").parse::<u64>().unwrap() > 60);
}

#[tokio::test]
async fn a_form_needs_its_proof_and_the_browser_that_got_it() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let (action, hidden) = form_of(&page);
    let flow = &hidden.iter().find(|(name, _)| name == "flow").unwrap().1;
    let body = format!("flow={flow}&username=alice&password={}", encoded(PASSWORD));
    let reply = browser.post_once(&action, &body).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{reply}");
    assert!(way(&reply).starts_with("/id/signin?flow="));

    let mut other = town.browser();
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let reply = other.submit_once(&page, &fields).await;
    assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{reply}");
    assert!(!other.has("session"));

    browser.headers = vec![("sec-fetch-site", "cross-site".to_owned())];
    let reply = browser.submit_once(&page, &fields).await;
    assert_eq!(reply.status, StatusCode::FORBIDDEN, "{reply}");
}

#[tokio::test]
async fn a_flow_of_another_browser_leads_to_a_page_with_a_button() {
    let town = town().await;
    let mut attacker = town.browser();
    let reply = attacker.once(&authorize("")).await;
    let path = reply.header("location").to_owned();
    let mut victim = town.browser();
    let page = victim.once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    assert_eq!(way(&page), "/id/signin");
    victim.get(&authorize("")).await;
    let page = victim.once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    assert_eq!(way(&page), "/id/signin");
}

#[tokio::test]
async fn a_form_that_is_sent_twice_and_the_back_button_lead_on() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let consent = browser.sign_in(&page).await;
    let fields = [("username", "alice"), ("password", PASSWORD)];
    let again = browser.submit_once(&page, &fields).await;
    assert_eq!(again.status, StatusCode::OK, "{again}");
    assert!(again.body.contains("alice"), "{again}");
    let on = browser.get(&way(&again)).await;
    assert!(on.body.contains("Allow"), "{on}");
    let done = browser.submit(&consent, &[]).await;
    assert!(left(&done).parameter("code").is_some());
    let (_, hidden) = form_of(&page);
    let flow = &hidden.iter().find(|(name, _)| name == "flow").unwrap().1;
    let back = browser.once(&format!("/id/signin?flow={flow}")).await;
    assert_eq!(back.status, StatusCode::OK, "{back}");
    let on = browser.get(&way(&back)).await;
    assert!(left(&on).parameter("code").is_some(), "{on}");
}

#[tokio::test]
async fn the_person_can_refuse_on_both_pages() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let refused = browser.submit(&page, &[("decision", "refuse")]).await;
    let error = left(&refused).parameter("error");
    assert_eq!(error.as_deref(), Some("access_denied"));
    let consent = browser.sign_in(&page).await;
    let refused = browser.submit(&consent, &[("decision", "refuse")]).await;
    let error = left(&refused).parameter("error");
    assert_eq!(error.as_deref(), Some("access_denied"));
}

/// A form may be open for minutes, and an administrator withdraws a redirect URI because it leads to an attacker.
#[tokio::test]
async fn who_refuses_is_not_sent_to_a_redirect_uri_that_was_withdrawn_meanwhile() {
    let refuse = &[("decision", "refuse")];
    for is_deleted in [false, true] {
        let mut town = town().await;
        let mut browser = town.browser();
        let sign_in = browser.get(&authorize("")).await;
        let cookies = browser.cookies.clone();
        let consent = browser.sign_in(&sign_in).await;
        let signed_in = browser.cookies.clone();
        if is_deleted {
            town.fixture.world.delete(Kind::OAuthClient, "blue", "app");
            town.fixture.publish();
        } else {
            town.change("app.example.com/callback", "app.example.com/other");
        }
        for (page, cookies) in [(&sign_in, cookies), (&consent, signed_in)] {
            let mut browser = town.browser();
            browser.cookies = cookies;
            let page = browser.submit_once(page, refuse).await;
            assert!(page.status.is_client_error(), "{page}");
            assert_eq!(page.header("location"), "(none)");
        }
    }
}

#[tokio::test]
async fn prompts_and_max_age_lead_to_the_pages_that_they_ask_for() {
    let town = town().await;
    let mut browser = town.browser();
    browser.authorize("").await;
    let silent = browser.once(&authorize("&prompt=none")).await;
    assert!(left(&silent).parameter("code").is_some(), "{silent}");
    for more in ["&prompt=login", "&max_age=0", "&prompt=select_account"] {
        let page = browser.get(&authorize(more)).await;
        assert!(page.body.contains("type=\"password\""), "{more} {page}");
        let done = browser.sign_in(&page).await;
        assert!(left(&done).parameter("code").is_some(), "{more} {done}");
    }
    let page = browser.get(&authorize("&prompt=consent")).await;
    assert!(page.body.contains("Allow"), "{page}");
    let more = "&prompt=consent%20none";
    let reply = browser.once(&authorize(more)).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("invalid_request"));
}

#[tokio::test]
async fn a_sign_in_again_keeps_the_session_and_replaces_its_cookie() {
    let town = town().await;
    let mut browser = town.browser();
    let first = browser.authorize("").await;
    let before = browser.cookies.clone();
    let second = browser.authorize("&prompt=login").await;
    let sid = |reply: Reply| payload(reply.json()["id_token"].as_str().unwrap())["sid"].clone();
    let one = sid(town.redeem(&first.parameter("code").unwrap()).await);
    let two = sid(town.redeem(&second.parameter("code").unwrap()).await);
    assert_eq!(one, two);
    assert_ne!(before, browser.cookies);
    // The stolen cookie of before is worth nothing.
    let mut thief = town.browser();
    thief.cookies = before;
    let reply = thief.once(&authorize("&prompt=none")).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
}

#[tokio::test]
async fn an_answer_is_a_fragment_or_a_form_if_the_client_asks() {
    let town = town().await;
    let mut browser = town.browser();
    browser.authorize("").await;
    let more = "&response_mode=form_post";
    let page = browser.once(&authorize(more)).await;
    let (action, fields) = form_of(&page);
    assert_eq!(action, REDIRECT);
    assert!(fields.iter().any(|(name, _)| name == "code"), "{fields:?}");
    let policy = page.header("content-security-policy").to_owned();
    assert!(!policy.contains("form-action"), "{policy}");
    let hybrid = authorize("").replace("response_type=code", "response_type=code%20id_token");
    let reply = browser.once(&hybrid).await;
    let left = left(&reply);
    assert!(left.uri.starts_with(&format!("{REDIRECT}#")), "{left:?}");
    let claims = payload(&left.parameter("id_token").unwrap());
    assert!(claims["c_hash"].is_string(), "{claims}");
    assert_eq!(claims["nonce"], "n1");
}

#[tokio::test]
async fn a_pushed_request_is_used_up_by_its_code() {
    let town = town().await;
    let mut browser = town.browser();
    browser.authorize("").await;
    let query = authorize("");
    let (_, query) = query.split_once('?').unwrap();
    let pushed = town.fixture.post("/id/connect/par", "", query).await;
    assert_eq!(pushed.status, StatusCode::CREATED, "{pushed}");
    let uri = pushed.json()["request_uri"].as_str().unwrap().to_owned();
    let path = format!(
        "/id/connect/authorize?client_id={APP}&request_uri={}",
        encoded(&uri)
    );
    let reply = browser.once(&path).await;
    assert!(left(&reply).parameter("code").is_some(), "{reply}");
    let page = browser.once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
}

#[tokio::test]
async fn a_post_goes_on_as_a_get_with_the_cookies_of_the_browser() {
    let town = town().await;
    let mut browser = town.browser();
    browser.authorize("").await;
    let path = authorize("");
    let (_, query) = path.split_once('?').unwrap();
    let mut without = town.browser();
    let reply = without.post_once("/id/connect/authorize", query).await;
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply}");
    assert!(without.cookies.is_empty());
    let next = reply.header("location").to_owned();
    let done = browser.once(&next).await;
    assert!(left(&done).parameter("code").is_some(), "{done}");
}

#[tokio::test]
async fn a_code_is_good_once_and_a_later_use_ends_what_it_gave() {
    let town = town().await;
    let mut browser = town.browser();
    let code = browser.authorize("").await.parameter("code").unwrap();
    let wrong = town
        .fixture
        .post(
            TOKEN,
            "",
            &format!(
                "grant_type=authorization_code&client_id={APP}&code={code}&redirect_uri={}&code_verifier={}",
                encoded(REDIRECT),
                "a".repeat(43)
            ),
        )
        .await;
    assert_eq!(wrong.error().1, "invalid_grant");
    let tokens = town.redeem(&code).await.json();
    let access = tokens["access_token"].as_str().unwrap();
    assert_eq!(town.redeem(&code).await.error().1, "invalid_grant");
    // A request that was sent before the reply ends nothing.
    assert_eq!(town.userinfo(access).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_person_who_is_disabled_has_nothing_any_more() {
    let mut town = town().await;
    let mut browser = town.browser();
    let code = browser.authorize("").await.parameter("code").unwrap();
    let cookies = browser.cookies.clone();
    let tokens = town.redeem(&code).await.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    town.change("username: alice", "username: alice\n  disabled: true");
    let mut browser = town.browser();
    browser.cookies = cookies;
    let reply = browser.once(&authorize("&prompt=none")).await;
    let error = left(&reply).parameter("error");
    assert_eq!(error.as_deref(), Some("login_required"));
    let denied = town.userinfo(&text("access_token")).await;
    assert_eq!(denied.status, StatusCode::UNAUTHORIZED);
    let denied = town.refresh(&text("refresh_token")).await;
    assert_eq!(denied.error().1, "invalid_grant");
    let page = browser.get(&authorize("")).await;
    let wrong = browser.sign_in(&page).await;
    assert_eq!(wrong.status, StatusCode::BAD_REQUEST, "{wrong}");
}

#[tokio::test]
async fn an_enrolment_link_works_once_and_opening_it_changes_nothing() {
    let town = Town::new().await;
    let link = Town::link_of(crate::server::now() - jiff::SignedDuration::from_mins(10));
    let mut browser = town.browser();
    for _ in 0..2 {
        let page = browser.get(&link).await;
        assert_eq!(page.status, StatusCode::OK, "{page}");
    }
    let page = browser.get(&link).await;
    for (password, repeated) in [
        ("", ""),
        ("short", "short"),
        (PASSWORD, "another one"),
        ("aliceaaaaaaaaaaaaaaa", "aliceaaaaaaaaaaaaaaa"),
    ] {
        let fields = [("password", password), ("repeated", repeated)];
        let reply = browser.submit(&page, &fields).await;
        assert_eq!(reply.status, StatusCode::BAD_REQUEST, "{password}: {reply}");
    }
    let fields = [("password", PASSWORD), ("repeated", PASSWORD)];
    let done = browser.submit(&page, &fields).await;
    assert_eq!(done.status, StatusCode::OK, "{done}");
    // The password has revoked whatever was before it, the link too, but the person is told what happened.
    for used in [
        browser.submit(&page, &fields).await,
        browser.get(&link).await,
    ] {
        assert_eq!(used.status, StatusCode::GONE, "{used}");
        assert!(used.body.contains("This link was used"), "{used}");
    }
    let forged = browser.get("/id/enroll?link=enr1.x.1.2.AAAA").await;
    assert_eq!(forged.status, StatusCode::NOT_FOUND, "{forged}");
}

/// A link works until it is used, and each password that may be chosen costs a hash.
#[tokio::test]
async fn one_person_tries_only_so_many_passwords_with_an_enrolment_link() {
    let town = Town::new().await;
    let mut browser = town.browser();
    let page = browser.get(&Town::link()).await;
    let name = "aliceaaaaaaaaaaaaaaa";
    let fields = [("password", name), ("repeated", name)];
    let mut tried = 0;
    let refused = loop {
        let reply = browser.submit(&page, &fields).await;
        if reply.status != StatusCode::BAD_REQUEST {
            break reply;
        }
        tried += 1;
        assert!(tried < 1000, "no limit");
    };
    assert!(tried >= 20, "{tried}");
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE, "{refused}");
    assert_ne!(refused.header("retry-after"), "(none)");
}

#[tokio::test]
async fn revocation_and_introspection_know_the_tokens_of_people() {
    let mut town = town().await;
    let api = town.fixture.client("platform", "api");
    let code = {
        let mut browser = town.browser();
        let more = "&scope=";
        let path = authorize("").replace("&scope=", "&x=");
        let page = browser
            .get(&format!(
                "{path}{more}openid%20offline_access%20orders.read"
            ))
            .await;
        browser.reach_client(page).await.parameter("code").unwrap()
    };
    let tokens = town.redeem(&code).await.json();
    let text = |name: &str| tokens[name].as_str().unwrap().to_owned();
    let (access, refresh) = (text("access_token"), text("refresh_token"));
    let told = town.fixture.introspect(&api, &access).await;
    assert_eq!(told["active"], true, "{told}");
    assert_eq!(told["scope"], "orders.read");
    let told = town.fixture.introspect(&api, &refresh).await;
    assert_eq!(told, serde_json::json!({"active": false}));
    let request = Request::get("/id/connect/checktoken/api")
        .header("authorization", format!("Bearer {access}"))
        .body(Body::empty());
    let checked = town.fixture.send(request.unwrap()).await;
    assert_eq!(checked.status, StatusCode::OK, "{checked}");
    assert_eq!(checked.header("x-auth-kind"), "person");

    let body = format!("client_id={APP}&token={refresh}");
    let revoked = town.fixture.post(REVOKE, "", &body).await;
    assert_eq!(revoked.status, StatusCode::OK, "{revoked}");
    let told = town.fixture.introspect(&api, &access).await;
    assert_eq!(told, serde_json::json!({"active": false}));
    assert_eq!(town.refresh(&refresh).await.error().1, "invalid_grant");
}

#[tokio::test]
async fn a_sign_out_without_a_hint_asks_and_the_answer_counts() {
    let town = town().await;
    let mut browser = town.browser();
    browser.authorize("").await;
    let page = browser.get("/id/connect/endsession").await;
    assert!(page.body.contains("alice"), "{page}");
    let stays = browser.submit(&page, &[("decision", "refuse")]).await;
    assert_eq!(stays.status, StatusCode::OK, "{stays}");
    assert!(browser.has("session"));
    let gone = browser.submit(&page, &[]).await;
    assert_eq!(gone.status, StatusCode::OK, "{gone}");
    assert!(!browser.has("session"));
    let other = "/id/connect/endsession?client_id=blue.app&post_logout_redirect_uri=https://evil";
    let page = browser.get(other).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
}

#[tokio::test]
async fn only_pages_of_the_clients_origins_read_answers() {
    let town = Town::new().await;
    let send = async |method: &str, origin: &str, body: &str| {
        let request = Request::builder()
            .method(method)
            .uri(TOKEN)
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .header("content-type", "application/x-www-form-urlencoded")
            .body(Body::from(body.to_owned()));
        town.fixture.send(request.unwrap()).await
    };
    let allowed = "access-control-allow-origin";
    let app = "https://app.example.com";
    assert_eq!(send("OPTIONS", app, "").await.header(allowed), app);
    let other = "https://evil.example.com";
    assert_eq!(send("OPTIONS", other, "").await.header(allowed), "(none)");
    let body = format!("grant_type=refresh_token&client_id={APP}&refresh_token=x");
    let refused = send("POST", app, &body).await;
    assert_eq!(refused.error().1, "invalid_grant");
    assert_eq!(refused.header(allowed), app);
    let refused = send("POST", other, &body).await;
    assert_eq!(refused.header(allowed), "(none)");
}

#[tokio::test]
async fn without_the_store_people_get_503_and_machines_go_on() {
    let mut town = town().await;
    town.people.store.close().await.unwrap();
    let shop = town.fixture.shop();
    assert_eq!(town.fixture.token(&shop, "").await.status, StatusCode::OK);
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{page}");
    assert_eq!(page.header("retry-after"), "5");
    let refused = town.redeem("x").await;
    assert_eq!(refused.error().1, "invalid_grant", "{refused}");
    town.fixture.app.set_people(None);
    let page = town.browser().get(&authorize("")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{page}");
}

#[tokio::test]
async fn pages_have_the_headers_that_protect_them_and_speak_the_persons_language() {
    let town = Town::new().await;
    let mut browser = town.browser();
    browser.headers = vec![("accept-language", "de".to_owned())];
    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("lang=\"de\""), "{page}");
    for (name, value) in [
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("strict-transport-security", "max-age=31536000"),
    ] {
        assert_eq!(page.header(name), value);
    }
    let policy = page.header("content-security-policy").to_owned();
    assert!(policy.contains("frame-ancestors 'none'"), "{policy}");
    let page = browser.get(&authorize("&ui_locales=fr%20en")).await;
    assert!(page.body.contains("lang=\"fr\""), "{page}");
    let put = Request::put("/id/signin").body(Body::empty()).unwrap();
    let refused = town.fixture.send(put).await;
    assert_eq!(refused.status, StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(refused.header("allow"), "GET, POST");
    assert!(refused.header("content-type").starts_with("text/html"));
}

#[tokio::test]
async fn an_expired_flow_can_begin_again_by_a_button() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    let (_, hidden) = form_of(&page);
    let text = &hidden.iter().find(|(name, _)| name == "flow").unwrap().1;
    let secret = {
        let mut cookies = browser.cookies.iter();
        let (_, value) = cookies.find(|(name, _)| name.contains("browser")).unwrap();
        value.clone()
    };
    let keys = &town.people.keys.flows;
    let flow = Flow::open(keys, ISSUER, &secret, text, now()).unwrap();
    let before = now() - jiff::SignedDuration::from_mins(11);
    let old = Flow {
        begun_at: before,
        ..flow
    };
    let sealed = old.seal(keys, ISSUER, &secret, before, &mut SystemEntropy);
    let path = format!("/id/signin?flow={}", sealed.unwrap());
    let page = browser.once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    let again = browser.get(&way(&page)).await;
    assert!(again.body.contains("type=\"password\""), "{again}");
}

#[tokio::test]
async fn without_cookies_the_person_is_told_so() {
    let town = town().await;
    let reply = town.browser().once(&authorize("")).await;
    let path = reply.header("location").to_owned();
    let page = town.browser().once(&path).await;
    assert_eq!(page.status, StatusCode::BAD_REQUEST, "{page}");
    assert!(page.body.contains("cookies"), "{page}");
    way(&page);
}

#[tokio::test]
async fn two_tabs_work_side_by_side() {
    let town = town().await;
    let mut browser = town.browser();
    let one = browser.get(&authorize("&state=one")).await;
    assert_eq!(one.status, StatusCode::BAD_REQUEST, "state is repeated");
    let one = browser
        .get(&authorize("").replace("state=s1", "state=one"))
        .await;
    let two = browser
        .get(&authorize("").replace("state=s1", "state=two"))
        .await;
    let consent = browser.sign_in(&two).await;
    let done = browser.submit(&consent, &[]).await;
    assert_eq!(left(&done).parameter("state").as_deref(), Some("two"));
    // The first tab's form was shown before the sign-in.
    let already = browser.sign_in(&one).await;
    assert_eq!(already.status, StatusCode::OK, "{already}");
    let done = browser.get(&way(&already)).await;
    assert_eq!(left(&done).parameter("state").as_deref(), Some("one"));
}

#[tokio::test]
async fn a_person_who_wants_to_stay_signed_in_keeps_the_cookie() {
    let town = town().await;
    let mut browser = town.browser();
    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("name=\"remember\""), "{page}");
    let fields = [
        ("username", "alice"),
        ("password", PASSWORD),
        ("remember", "yes"),
    ];
    let reply = browser.submit_once(&page, &fields).await;
    let mut cookies = reply.headers.get_all("set-cookie").iter();
    let session = cookies.find(|cookie| cookie.to_str().unwrap().contains("-session-"));
    let session = session.unwrap().to_str().unwrap();
    assert!(session.ends_with("; Max-Age=2592000"), "{session}");
    let found = town.people.store.credentials(ALICE).await.unwrap().unwrap();
    let account = found.0.id;
    let sessions = town
        .people
        .store
        .read(move |tx| Box::pin(tx.sessions_of(account)));
    let sessions = sessions.await.unwrap();
    assert!(sessions[0].is_remembered);
}

#[tokio::test]
async fn while_the_clocks_disagree_people_get_503() {
    let town = town().await;
    town.people.clocks_disagree();
    let page = town.browser().get(&authorize("")).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE, "{page}");
    assert_eq!(page.header("retry-after"), "5");
    let refused = town.refresh("x").await;
    assert_eq!(refused.error().1, "temporarily_unavailable");
}

#[tokio::test]
async fn hostile_input_reaches_no_page_unescaped() {
    let town = town().await;
    let mut browser = town.browser();
    let script = "%3Cscript%3Ealert(1)%3C/script%3E";
    let page = browser
        .get(&authorize(&format!("&login_hint={script}")))
        .await;
    assert_eq!(page.status, StatusCode::OK);
    assert!(!page.body.contains("<script>alert"), "{page}");
    let fields = [("username", "<script>alert(1)</script>"), ("password", "x")];
    let page = browser.submit(&page, &fields).await;
    assert!(!page.body.contains("<script>alert"), "{page}");
    for path in ["signin", "consent", "enroll", "connect/endsession"] {
        for name in ["flow", "link", "lang", "client_id", "state", "ui_locales"] {
            let page = browser.get(&format!("/id/{path}?{name}={script}")).await;
            assert!(
                !page.body.contains("<script>alert"),
                "{path} {name}: {page}"
            );
        }
    }
}

#[tokio::test]
async fn a_token_names_the_resource_that_the_request_names() {
    let town = town().await;
    let mut browser = town.browser();
    let path = authorize("&resource=https%3A%2F%2Fapi.example.com");
    let path = path.replace("scope=openid", "scope=openid%20orders.read");
    let page = browser.get(&path).await;
    let left = browser.reach_client(page).await;
    let tokens = town.redeem(&left.parameter("code").unwrap()).await.json();
    let claims = payload(tokens["access_token"].as_str().unwrap());
    assert_eq!(claims["aud"], "https://api.example.com");
    assert_eq!(claims["scope"], "orders.read");
    assert_eq!(claims["principal_kind"], "person");
}
