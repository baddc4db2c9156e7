//! Rebinding while others write: what happens between any two of its requests.

use super::scripted::{Event, Scripted, Which};
use super::*;

/// More requests than two runs send.
const REQUESTS: usize = 40;

#[tokio::test]
async fn without_interference_a_token_is_moved_and_a_lost_answer_needs_one_more_run() {
    let case = Case::restored();
    for lost in (0..REQUESTS).map(Some).chain([None]) {
        let cluster = Scripted::new(&case, lost.map(|lost| (lost, Event::LosesAnswer)));
        let is_done = cluster.run().await;
        let sent = cluster.requests();
        assert_eq!(is_done, lost.is_none_or(|lost| lost >= sent), "{lost:?}");
        assert!(sent < REQUESTS / 2, "{sent} requests");
        assert!(is_done || cluster.run().await, "{lost:?}");
        assert!(cluster.accepts(), "{lost:?}");
        let left = cluster.credentials();
        let left: Vec<_> = left.iter().map(|it| &*it.spec.owner.uid).collect();
        assert_eq!(left, ["client-2", "token-2"], "{lost:?}");
    }
}

#[tokio::test]
async fn a_token_that_is_revoked_between_any_two_requests_is_never_accepted_afterwards() {
    let case = Case::restored();
    for before in 0..REQUESTS {
        for lost in (0..REQUESTS).map(Some).chain([None]) {
            let lost = lost.map(|lost| (lost, Event::LosesAnswer));
            let revoked = (before, Event::Revokes(Which::Oldest));
            let cluster = Scripted::new(&case, lost.into_iter().chain([revoked]));
            let mut runs = 1;
            while !cluster.run().await {
                runs += 1;
                assert!(runs < 4, "before {before}, lost {lost:?}");
            }
            cluster.do_the_rest();
            assert!(!cluster.accepts(), "before {before}, lost {lost:?}");
            // The words of the next run are true: nothing is left to do.
            let items = case.items_of(cluster.credentials());
            let left = items.iter().find(|item| {
                let verdict = &item.verdict;
                item.credential.spec.owner.kind == OwnerKind::ServiceAccessToken
                    && !matches!(
                        verdict,
                        RestoreVerdict::Current | RestoreVerdict::Refused(_)
                    )
            });
            assert!(left.is_none(), "before {before}, lost {lost:?}: {left:?}");
        }
    }
}

#[tokio::test]
async fn a_credential_that_is_deleted_between_any_two_requests_takes_its_tokens_with_it() {
    let case = Case::restored();
    for before in 0..REQUESTS {
        let cluster = Scripted::new(&case, [(before, Event::Deletes(Which::Oldest))]);
        while !cluster.run().await {}
        cluster.do_the_rest();
        assert!(!cluster.accepts(), "before {before}");
        assert!(cluster.run().await && !cluster.accepts(), "before {before}");
    }
}

/// A tenant writes the Secret.
#[tokio::test]
async fn a_secret_that_is_too_large_speaks_against_its_owner_only() {
    let case = Case::restored();
    let mut cluster = Scripted::new(&case, []);
    cluster.too_large = vec![OwnerKind::ServiceAccessToken];
    let credentials = cluster.credentials();
    let directory = &case.world.directory;
    let told = evidence(&cluster, directory, &credentials, &|| {}).await;
    let identity = ObjectKey::new("platform", "main");
    let items = plan_all(
        directory,
        &identity,
        credentials,
        &told.unwrap(),
        &case.key,
        at(NOW),
    );
    let refused = RestoreVerdict::Refused(NotRebound::SecretTooLarge);
    assert_eq!(items[0].verdict, refused);
    assert_eq!(items[0].credential.spec.owner.name, "nightly");
    assert!(matches!(items[1].verdict, RestoreVerdict::Rebind(_)));
}
