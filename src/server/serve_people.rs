//! Serves people from an open store: keeps the keys, and does what must be done for people in the background.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use super::passwords::Passwords;
use super::people::People;
use super::people::keys::PeopleKeys;
use super::people::metrics::LogoutOutcome;
use super::people::outbox::{Messenger, NamespaceOf, Notice, Outbox, Told};
use super::people::outgoing::{Opened, post_form};
use super::snapshot::Snapshot;
use super::state::State;
use crate::oauth::logout_token::{self, Ended, LogoutTokenClaims};
use crate::oauth::redirect_uri;
use crate::store::{Store, StoreError};
use crate::tokens::SystemEntropy;

/// How often it is looked for people who may not act any more.
const LOOK: Duration = Duration::from_secs(1);

/// Serves people from a store that is bound to the issuer. Machine clients do not depend on it. Never returns.
pub async fn serve_people(state: State, store: Store, issuer: String) {
    let (outbox, waiting) = Outbox::new(namespace_of(&state));
    let messenger = Arc::new(BackChannel(state.clone()));
    tokio::join!(
        follow_keys(&state, &store, &issuer, &outbox),
        follow_clock(&state),
        clean(&state, &store),
        waiting.deliver(messenger),
        end_barred(&state),
        record_uses(&state),
    );
}

/// Returns whose share of the outbox a client's notices take.
fn namespace_of(state: &State) -> Arc<NamespaceOf> {
    // Not the state: it holds the outbox.
    let publisher = Arc::clone(state.publisher());
    Arc::new(move |client| {
        let snapshot = publisher.current();
        let registered = snapshot.registry().client(&client.id)?;
        let key = &registered.client.accepted.client.object.key;
        Some(Arc::clone(&key.namespace))
    })
}

/// Serves people with the mac key, and with each one that replaces it. The previous one stays live for what it made.
async fn follow_keys(state: &State, store: &Store, issuer: &str, outbox: &Outbox) {
    let passwords = Passwords::default();
    let mut macs = state.macs();
    let mut previous = None;
    loop {
        let mac = macs.borrow_and_update().clone();
        if let Some(mac) = mac {
            let before = previous.replace(Arc::clone(&mac));
            let keys = PeopleKeys::new(mac, before, issuer);
            let people = People::new(store.clone(), keys, passwords.clone(), outbox.clone());
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
    let tell = |cleaned: Result<_, StoreError>| {
        if let Err(error) = cleaned {
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
    // Those that were disabled for less than a look.
    let mut missed: HashSet<Arc<str>> = HashSet::new();
    loop {
        tokio::time::sleep(LOOK).await;
        let Some(people) = state.people() else {
            continue;
        };
        let now = super::now();
        let enabled = state.publisher().take_enabled().into_iter();
        missed.extend(enabled.filter(|uid| !ended.contains_key(uid)));
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

/// Tells clients through the back channel.
struct BackChannel(State);

impl Messenger for BackChannel {
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
        Box::pin(async move {
            let Some((uri, body, opened)) = self.message(notice) else {
                return Told::Done;
            };
            let told = match post_form(&uri, body, &opened).await {
                Ok(200 | 204) => Told::Done,
                // Back-Channel Logout section 2.8: the client did not accept the token.
                Ok(400) => Told::Refused,
                Ok(status) => {
                    tracing::debug!(status, client = notice.client.id, "a logout notice failed");
                    Told::Failed
                }
                Err(error) => {
                    tracing::debug!(%error, client = notice.client.id, "a logout notice failed");
                    Told::Failed
                }
            };
            self.0.metrics().people().told(match told {
                Told::Done => LogoutOutcome::Told,
                Told::Refused => LogoutOutcome::Refused,
                Told::Failed => LogoutOutcome::Failed,
            });
            told
        })
    }
}

impl BackChannel {
    /// Returns where to send what; `None` if the client need not be told: it was deleted, or names no place.
    fn message(&self, notice: &Notice) -> Option<(String, String, Opened)> {
        let snapshot = self.0.publisher().current();
        let site = snapshot.site()?;
        let client = snapshot.registry().client(&notice.client.id)?;
        let uri = client
            .back_channel()
            .filter(|_| client.uid() == notice.client.uid)?;
        let claims = LogoutTokenClaims::new(
            &site.issuer,
            &notice.subject,
            client.id(),
            Ended::Session(notice.session),
            super::now(),
            &mut SystemEntropy,
        );
        let accepted = client.client.accepted;
        let own = accepted.client.record.algorithm;
        let algorithm = own.map(Into::into).or(site.default_algorithm)?;
        let json = claims.to_json().ok()?;
        let ring = snapshot.ring();
        let token = ring.sign(algorithm, logout_token::TYPE, &json).ok()?;
        let opened = Opened {
            // An http issuer on a *.svc host is no dev mode: its pods have other listeners on loopback.
            is_dev: redirect_uri::is_loopback(&site.issuer),
            networks: accepted.identity.record.callable_networks.clone(),
        };
        Some((uri.to_owned(), format!("logout_token={token}"), opened))
    }
}
