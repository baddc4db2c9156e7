//! Serves people from an open store: keeps the keys, and does what must be done for people in the background.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::back_channel::{BackChannel, Listeners};
use super::passwords::Passwords;
use super::people::People;
use super::people::keys::PeopleKeys;
use super::people::metrics::LogoutOutcome;
use super::people::outbox::{Delivery, Outbox};
use super::snapshot::{EndedByChange, MOST_WITHDRAWN, Snapshot};
use super::state::State;
use crate::people::enrolment::withdrawal;
use crate::store::{Cleaned, Store, StoreError};

/// How often it is looked for people who may not act any more.
const LOOK: Duration = Duration::from_secs(1);

/// Serves people from a store that is bound to the issuer. Machine clients do not depend on it. Never returns.
pub async fn serve_people(state: State, store: Store, issuer: String) {
    let outbox = Outbox::default();
    let store = store.telling(Arc::new(Listeners::new(&state, outbox.clone())));
    let delivery = Delivery {
        store: store.clone(),
        outbox,
        messenger: Arc::new(BackChannel(state.clone())),
        now: super::now,
    };
    tokio::join!(
        follow_keys(&state, &store, &issuer),
        follow_clock(&state),
        clean(&state, &store),
        delivery.run(),
        end_barred(&state),
        record_uses(&state),
    );
}

/// Serves people with the mac key, and with each one that replaces it. The previous one stays live for what it made.
async fn follow_keys(state: &State, store: &Store, issuer: &str) {
    let passwords = Passwords::default();
    let mut macs = state.macs();
    let mut previous = None;
    loop {
        let mac = macs.borrow_and_update().clone();
        if let Some(mac) = mac {
            let before = previous.replace(Arc::clone(&mac));
            let keys = PeopleKeys::new(mac, before, issuer);
            let people = People::new(store.clone(), keys, passwords.clone());
            if let Err(error) = people.check_clock(super::now).await {
                tracing::warn!(%error, "cannot read the clock of the database, will retry");
            }
            state.set_people(Some(Arc::new(people)));
        }
        if macs.changed().await.is_err() {
            // The state lives as long as the server.
            return;
        }
    }
}

async fn follow_clock(state: &State) {
    loop {
        tokio::time::sleep(People::CLOCK_EVERY).await;
        if let Some(people) = state.people()
            && let Err(error) = people.check_clock(super::now).await
        {
            tracing::debug!(%error, "cannot read the clock of the database, will retry");
        }
    }
}

/// Deletes expired rows.
async fn clean(state: &State, store: &Store) {
    let tell = |cleaned: Result<Cleaned, StoreError>| match cleaned {
        Ok(Cleaned { notices: 0, .. }) => {}
        Ok(Cleaned { notices, .. }) => {
            let outcome = LogoutOutcome::GivenUp;
            state.metrics().people().logout_notices(outcome, notices);
            tracing::warn!(
                notices,
                "clients were not told that sessions have ended: they did not answer for an hour"
            );
        }
        Err(error) => {
            state.metrics().store_failed(error.fault());
            tracing::warn!(%error, "cannot delete expired rows, will retry: they are refused in any case");
        }
    };
    store.keep_clean(super::now, tell).await;
}

/// Records the last uses of personal access tokens.
async fn record_uses(state: &State) {
    loop {
        tokio::time::sleep(LOOK).await;
        if let Some(people) = state.people()
            && let Err(error) = people.personal_tokens.record(&people.store).await
        {
            state.metrics().store_failed(error.fault());
            tracing::debug!(%error, "cannot record the last uses of personal access tokens, will record later ones");
        }
    }
}

/// Ends the sessions and grants of people who may not act any more, and voids their enrolment links, so that nothing of
/// them comes back when they may again. Until then the directory refuses them.
async fn end_barred(state: &State) {
    // With what was known of each User then: one that is accepted later is judged again.
    let mut ended: HashMap<Arc<str>, Option<Arc<str>>> = HashMap::new();
    // Those that were disabled for less than a look, and those that were deleted.
    let mut missed: HashSet<Arc<str>> = HashSet::new();
    let mut withdrawn = HashSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(people) = state.people() else {
            continue;
        };
        let now = super::now();
        // A server that does not know every client yet would write no notices for those that it does not know.
        if !state.serves(now) {
            continue;
        }
        let EndedByChange {
            people: over,
            links,
        } = state.publisher().take_ended();
        // While the store fails, no more of them wait than one look notes.
        let room = MOST_WITHDRAWN.saturating_sub(withdrawn.len());
        withdrawn.extend(links.into_iter().take(room));
        let over = over.into_iter();
        missed.extend(over.filter(|uid| !ended.contains_key(uid)));
        let snapshot = state.publisher().current().clone();
        let mut barred = barred(&snapshot, now);
        ended.retain(|uid, _| barred.contains_key(uid));
        for uid in &missed {
            let subject = || subject_of(&snapshot, uid);
            barred.entry(Arc::clone(uid)).or_insert_with(subject);
        }
        for (uid, subject) in barred {
            if ended.get(&uid) == Some(&subject) {
                continue;
            }
            match revoke(&people, &uid, subject.as_deref(), now).await {
                Ok(()) if missed.remove(&uid) => {}
                Ok(()) => drop(ended.insert(uid, subject)),
                Err(error) => {
                    state.metrics().store_failed(error.fault());
                    tracing::warn!(%error, "cannot end the sessions of a person who may not act any more, will retry: they are refused in any case");
                    break;
                }
            }
        }
        withdraw(state, &people, &mut withdrawn, now).await;
    }
}

/// Records the values of annotations that were withdrawn, so that no link for them works when they come back.
async fn withdraw(
    state: &State,
    people: &People,
    withdrawn: &mut HashSet<(Arc<str>, Arc<str>)>,
    now: jiff::Timestamp,
) {
    let waiting: Vec<_> = withdrawn.iter().cloned().collect();
    for link in waiting {
        let value = withdrawal(&link.0, &link.1);
        if let Err(error) = people.store.withdraw_enrolment(value, now).await {
            state.metrics().store_failed(error.fault());
            tracing::warn!(%error, "cannot record that an enrolment link was withdrawn, will retry: it is refused while its annotation is gone");
            return;
        }
        withdrawn.remove(&link);
    }
}

/// Returns the uids of the Users that are disabled or have expired, each with the subject if the User is accepted.
fn barred(snapshot: &Snapshot, now: jiff::Timestamp) -> HashMap<Arc<str>, Option<Arc<str>>> {
    let (directory, identity) = (snapshot.directory(), snapshot.identity());
    let users = directory.users_of(identity);
    users
        .filter(|user| user.record().is_some_and(|record| record.has_ended(now)))
        .map(|user| (Arc::clone(&user.uid), subject_of(snapshot, &user.uid)))
        .collect()
}

/// Returns the subject of a User with this uid, if the User is accepted.
fn subject_of(snapshot: &Snapshot, uid: &str) -> Option<Arc<str>> {
    let accepted = snapshot.registry().owning(uid)?;
    Some(Arc::clone(&accepted.user.record.subject))
}

/// Revokes the account of a User. One without an account, which may have an enrolment link, gets one: its time of
/// revocation voids the link. A User that is not accepted has no working link, and must not take over an account.
async fn revoke(
    people: &People,
    uid: &str,
    subject: Option<&str>,
    now: jiff::Timestamp,
) -> Result<(), StoreError> {
    let account = match (people.store.credentials(uid).await?, subject) {
        (Some((account, _)), _) => account,
        (None, Some(subject)) => {
            let id = people.keys.account_for(uid, Some(subject));
            let owner = uid.to_owned();
            people.store.ensure_account(id, owner, now).await?
        }
        (None, None) => return Ok(()),
    };
    people.revoke(account.id, now).await
}
