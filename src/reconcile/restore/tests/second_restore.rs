//! What other Credentials of the Identity record about a token: those that an earlier run created, and those of others.

use super::scripted::{Event, Scripted};
use super::*;

/// Returns the Credential that an earlier run created for a uid that the owner no longer has.
fn earlier(case: &Case, uid: &str) -> Credential {
    let mut credential = case.token.clone();
    credential.metadata.name = Some(uid.to_owned());
    credential.metadata.uid = Some(format!("uid-of-{uid}"));
    credential.spec.owner.uid = uid.to_owned();
    reseal(&mut credential, &case.key);
    credential
}

fn reseal(credential: &mut Credential, key: &MacKey) {
    for place in 0..credential.spec.tokens.len() {
        seal_one(credential, place, key);
    }
}

/// A case in which the restored Credential has the highest epoch, so that it is the one to be rebound.
fn restored() -> Case {
    let mut case = Case::restored();
    case.token.spec.high = 9;
    case
}

#[test]
fn an_end_that_any_credential_of_the_owner_records_counts() {
    let mut case = restored();
    let mut other = earlier(&case, "token-0");
    case.more = vec![other.clone()];
    assert_eq!(case.bound("token-1").credential.spec.tokens.len(), 1);
    assert_eq!(case.verdict("token-0"), RestoreVerdict::Moved { to: None });

    other.spec.tokens[0].not_after = Some(Moment(at(ISSUED)));
    case.more = vec![other.clone()];
    assert_eq!(
        case.bound("token-1").credential.spec.tokens.len(),
        1,
        "an end without a seal"
    );
    reseal(&mut other, &case.key);
    case.more = vec![other.clone()];
    case.refused("token-1", NotRebound::Ended);

    let soon = Moment(at("2026-03-01T01:00:00Z"));
    other.spec.tokens[0].not_after = Some(soon);
    reseal(&mut other, &case.key);
    case.more = vec![other];
    let bound = case.bound("token-1").credential;
    assert_eq!(bound.spec.tokens[0].not_after, Some(soon));
    assert!(is_sealed(&case.key, &bound, &bound.spec.tokens[0]));
}

/// Servers write the status, and it can only take access away.
#[test]
fn a_revocation_by_id_in_any_credential_counts() {
    let mut case = restored();
    let mut other = earlier(&case, "token-0");
    other.status.get_or_insert_default().revoked = vec!["A".repeat(16)];
    case.more = vec![other.clone()];
    case.refused("token-1", NotRebound::Ended);
    // Even if that Credential no longer records the token.
    other.spec.tokens.clear();
    case.more = vec![other];
    case.refused("token-1", NotRebound::Ended);
}

/// Several clients may have imported the same secret.
#[test]
fn another_owners_entry_with_the_same_hash_ends_nothing() {
    let mut case = restored();
    let mut other = earlier(&case, "other-1");
    other.spec.owner.name = "other".to_owned();
    other.spec.tokens[0].token_id = "B".repeat(16);
    other.spec.tokens[0].not_after = Some(Moment(at(ISSUED)));
    reseal(&mut other, &case.key);
    case.more = vec![other];
    assert_eq!(case.bound("token-1").credential.spec.tokens.len(), 1);
}

#[test]
fn a_credential_whose_tokens_another_one_has_taken_is_not_rebound() {
    let mut case = restored();
    let mut taker = earlier(&case, "token-0");
    let prepared = moves::prepared(&taker, &case.token);
    taker = moves::finished(&moves::filled(&prepared, &taker));
    taker.spec.tokens.clear();
    let uid = taker.metadata.uid.clone();
    case.more = vec![taker];
    assert_eq!(case.verdict("token-1"), RestoreVerdict::Moved { to: uid });
    case.refused("token-0", NotRebound::NotHeld);
    // A deleted one has revoked them.
    case.token = moves::marked(&case.token, "uid-of-token-0");
    case.more.clear();
    case.refused("token-1", NotRebound::SuccessorDeleted);
}

/// Without the marks, a later run could not tell what was deleted.
#[tokio::test]
async fn a_definition_that_drops_the_marks_stops_the_command_before_a_token_moves() {
    let case = Case::restored();
    let mut cluster = Scripted::new(&case, []);
    cluster.drops_marks = true;
    assert!(!cluster.run().await && !cluster.accepts());
    assert_eq!(cluster.credentials().len(), 2);
    cluster.drops_marks = false;
    assert!(cluster.run().await && cluster.accepts());
}

/// The successor was deleted between two runs, while the old Credential still stood.
#[tokio::test]
async fn a_second_run_tells_that_the_successor_was_deleted() {
    let case = Case::restored();
    let full = Scripted::new(&case, []);
    assert!(full.run().await);
    let last = full.requests() - 1;
    let mut told = 0;
    for killed in 0..=last {
        let cluster = Scripted::new(&case, [(killed, Event::Kills)]);
        if cluster.run().await {
            continue;
        }
        let mut left = cluster.credentials();
        let marked = left
            .iter()
            .any(|it| it.spec.owner.uid == "token-1" && moves::destination(it).is_some());
        left.retain(|it| it.spec.owner.uid != "token-2");
        let items = case.items_of(left);
        let verdict = items
            .iter()
            .find(|item| item.credential.spec.owner.uid == "token-1");
        let Some(item) = verdict else {
            continue;
        };
        let is_refused = item.verdict == RestoreVerdict::Refused(NotRebound::SuccessorDeleted);
        assert_eq!(is_refused, marked, "killed at {killed}: {:?}", item.verdict);
        told += usize::from(is_refused);
    }
    assert!(told >= 3, "{told}");
}
