//! What people were given does not come back, and does not outlive a revocation.

use super::sign_out::{bar_and_admit, serve};
use super::*;

/// Revokes everything from before a number of seconds ago.
type Revoke<'r> = dyn Fn(&mut Town, i64) + 'r;

#[tokio::test]
async fn an_enrolment_link_from_before_a_revocation_of_everything_does_not_work() {
    let moment = |seconds| now() + jiff::SignedDuration::from_secs(seconds);
    let of_user = |town: &mut Town, seconds| {
        let groups = "  groups: [staff]";
        let revoke = format!("{groups}\n  revokeIssuedBefore: {}", moment(seconds));
        town.change(groups, &revoke);
    };
    let of_identity = |town: &mut Town, seconds| {
        let issuer = "  issuer: https://id.example.com/id";
        let revoke = format!("{issuer}\n  revokeIssuedBefore: {}", moment(seconds));
        town.change(issuer, &revoke);
    };
    let revocations: [&Revoke<'_>; 2] = [&of_user, &of_identity];
    for revoke in revocations {
        let mut town = Town::new().await;
        let link = Town::link();
        revoke(&mut town, -3600);
        let page = town.browser().get(&link).await;
        assert_eq!(page.status, StatusCode::OK, "issued afterwards: {page}");
        // A time in the future acts as now, and links name whole seconds.
        revoke(&mut town, 3600);
        let refused = town.browser().get(&link).await;
        assert!(refused.status.is_client_error(), "{refused}");
        assert!(!refused.body.contains("type=\"password\""), "{refused}");
    }
}

/// An extended `notAfter` would otherwise bring back the sessions of a person who had left.
#[tokio::test]
async fn sessions_and_grants_of_a_person_whose_time_has_ended_do_not_come_back() {
    let mut town = Town::new().await;
    town.enrol().await;
    let (cookies, refresh) = {
        let mut browser = town.browser();
        let code = browser.authorize("").await.parameter("code").unwrap();
        let tokens = town.redeem(&code).await.json();
        let refresh = tokens["refresh_token"].as_str().unwrap().to_owned();
        (std::mem::take(&mut browser.cookies), refresh)
    };
    let serving = serve(&town).await;
    bar_and_admit(&mut town, "notAfter: 2026-01-01T00:00:00Z").await;
    assert_eq!(town.refresh(&refresh).await.error().1, "invalid_grant");
    let mut browser = town.browser();
    browser.cookies = cookies;
    let page = browser.get(&authorize("")).await;
    assert!(page.body.contains("type=\"password\""), "{page}");
    serving.abort();
}
