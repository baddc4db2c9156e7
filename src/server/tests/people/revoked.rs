//! What people were given does not come back, and does not outlive a revocation.

use super::*;

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
    let revocations: [&dyn Fn(&mut Town, i64); 2] = [&of_user, &of_identity];
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
