//! One watch: the first list, what comes after, and starting over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::{Stream, StreamExt as _};
use kube::Client;
use kube::core::WatchEvent;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::DefaultBackoff;
use serde::Deserialize;
use tokio::sync::watch as channel;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::known::Known;
use super::raw::Raw;
use super::subject::{Subject, object_key};
use super::{Health, Refusals, Seen, Sink};
use crate::directory::Settings;
use crate::tokens::{Entropy as _, MacKey, SystemEntropy};

/// The API server ends a watch after this time; we begin it anew from where it was.
const WATCH_SECONDS: u32 = 290;
/// For the answer to a list's page or to the begin of a watch.
const ANSWER: Duration = Duration::from_mins(1);
/// A watch that ends sooner is a fault: to begin it anew at once would be a loop.
const BRIEF: Duration = Duration::from_secs(1);
/// Objects of a list's page.
const PAGE: u32 = 500;
/// Events handed on at once.
const BATCH: usize = 512;
/// On the bookmark that ends the first events.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// What people are told that a watch is of.
pub(super) fn name(subject: Subject, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{} in {namespace}", subject.plural()),
        None => subject.plural().to_owned(),
    }
}

pub(super) struct Watch<S> {
    pub(super) client: Client,
    pub(super) subject: Subject,
    pub(super) namespace: Option<String>,
    pub(super) settings: Arc<Settings>,
    pub(super) mac: channel::Receiver<Option<Arc<MacKey>>>,
    pub(super) sink: Arc<S>,
    pub(super) health: Arc<Health>,
    pub(super) done: Arc<channel::Sender<usize>>,
    pub(super) silence: Duration,
    pub(super) refusals: Refusals,
}

/// Where a watch stands.
#[derive(Default)]
struct Place {
    /// To go on from; `None`: with a new list.
    version: Option<String>,
    /// What is there, as far as it was told.
    known: Known,
    /// During a list: what it has had so far.
    listing: Option<Known>,
    /// The API server has no streaming lists.
    in_pages: bool,
    /// Since when the API server has said nothing but that it refuses this.
    refused_since: Option<Instant>,
    /// It counts as empty, until it can be listed.
    given_up: bool,
}

/// Why following ended.
enum End {
    /// In order: go on at once.
    Closed,
    /// The seals of Credentials must be checked anew.
    OtherKey,
}

#[derive(Debug, thiserror::Error)]
enum WatchError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Request(#[from] kube::core::request::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the watch fell silent")]
    Silent,
    #[error("the watch ended as soon as it began")]
    Brief,
    #[error("the API server sent neither a version nor a further page")]
    NoVersion,
    #[error("the API server ended the watch: {reason} ({code})")]
    Ended { code: u16, reason: String },
}

impl WatchError {
    fn code(&self) -> Option<u16> {
        match self {
            Self::Kube(kube::Error::Api(status)) => Some(status.code),
            Self::Ended { code, .. } => Some(*code),
            _ => None,
        }
    }
}

/// A page. Not kube's own type: that would stop at an object that does not decode.
#[derive(Deserialize)]
struct Page {
    metadata: PageMetadata,
    items: Vec<Raw>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(default)]
    resource_version: String,
    #[serde(default, rename = "continue")]
    next: String,
}

impl<S: Sink> Watch<S> {
    /// Goes on for ever.
    pub(super) async fn run(mut self, start_within: Duration) {
        tokio::time::sleep(random_part(start_within)).await;
        let mut place = Place::default();
        let mut backoff = DefaultBackoff::default();
        loop {
            match self.follow(&mut place).await {
                Ok(End::Closed) => {}
                Ok(End::OtherKey) => place.version = None,
                Err(error) => {
                    let patience = self.recover(&mut place, &error);
                    let wait = backoff.next().unwrap_or(ANSWER);
                    tokio::time::sleep(patience.map_or(wait, |left| wait.min(left))).await;
                    continue;
                }
            }
            backoff.reset();
        }
    }

    /// Takes what went wrong; how long it may be until this is looked at again, if it must be soon.
    fn recover(&self, place: &mut Place, error: &WatchError) -> Option<Duration> {
        let name = &self.health.name;
        let code = error.code();
        if self.is_refusal(code) {
            return self.refused(place);
        }
        match code {
            // The version is too old to go on from: a new list.
            Some(410) => {
                debug!(watch = name, "the API server has forgotten our place");
                place.version = None;
            }
            Some(400 | 422) if !place.in_pages && place.version.is_none() => {
                info!(watch = name, "no streaming lists here: listing in pages");
                place.in_pages = true;
            }
            _ => warn!(watch = name, error = describe(error), "watch interrupted"),
        }
        // Not even bookmarks: a restore of etcd may have taken our place away into the future.
        if matches!(error, WatchError::Silent) {
            place.version = None;
        }
        None
    }

    /// Whether it is this one namespace that we may not see. Of all of them, and of those without which nothing makes
    /// sense, a refusal is a fault like any other.
    fn is_refusal(&self, code: Option<u16>) -> bool {
        let Some(namespace) = &self.namespace else {
            return false;
        };
        match self.subject {
            // A namespace that is not there grants no rights either; without its labels no selector matches it.
            Subject::Namespaces => matches!(code, Some(403 | 404)),
            _ => code == Some(403) && !self.refusals.essential.contains(namespace),
        }
    }

    /// Counts a namespace as empty that has been refused for long enough; else how long that takes still.
    fn refused(&self, place: &mut Place) -> Option<Duration> {
        let name = &self.health.name;
        let is_listed = self.health.listed.load(Ordering::Acquire);
        self.health.refused.store(true, Ordering::Release);
        if place.given_up {
            // It was listed since, and may not be followed after all.
            if place.version.is_some() {
                self.give_up(place);
            }
            return None;
        }
        let since = *place.refused_since.get_or_insert_with(Instant::now);
        let patience = if is_listed {
            self.refusals.withdrawn
        } else {
            self.refusals.unlisted
        };
        let left = patience.saturating_sub(since.elapsed());
        if !left.is_zero() {
            debug!(
                watch = name,
                ?left,
                "refused: waiting for the right to see it"
            );
            return Some(left);
        }
        warn!(
            watch = name,
            "the API server refuses it: counted as empty until we may list it, and the rest is served. Bind the installation's role there, or take the namespace off the list"
        );
        self.give_up(place);
        None
    }

    /// Nothing is there, as far as we may see.
    fn give_up(&self, place: &mut Place) {
        place.given_up = true;
        place.version = None;
        place.unite();
        place.listing = Some(Known::default());
        self.finish_list(place);
    }

    /// The API server shows it: patience begins anew. Nothing less ends a refusal; a fault in between says nothing.
    fn allowed(&self, place: &mut Place) {
        self.health.heard_now();
        if std::mem::take(&mut place.given_up) {
            info!(watch = self.health.name, "allowed again: listing it");
        }
        place.refused_since = None;
        self.health.refused.store(false, Ordering::Release);
    }

    /// Lists where there is nothing to go on from, then follows.
    async fn follow(&mut self, place: &mut Place) -> Result<End, WatchError> {
        place.unite();
        let key = self.mac.borrow_and_update().clone();
        if place.version.is_none() && place.in_pages {
            if place.given_up {
                // To be shown a list and no changes after it is nothing to serve from.
                drop(self.open(Some("0")).await?);
            }
            place.version = Some(self.list(place, key.as_deref()).await?);
        }
        let events = self.open(place.version.as_deref()).await?;
        self.allowed(place);
        if place.version.is_none() {
            place.listing = Some(Known::default());
        }
        let begun = Instant::now();
        let mut batches = std::pin::pin!(events.ready_chunks(BATCH));
        loop {
            tokio::select! {
                batch = timeout(self.silence, batches.next()) => match batch {
                    Ok(Some(batch)) => self.digest(place, batch, key.as_deref())?,
                    Ok(None) if place.listing.is_some() || begun.elapsed() < BRIEF => {
                        return Err(WatchError::Brief);
                    }
                    Ok(None) => return Ok(End::Closed),
                    Err(_) => return Err(WatchError::Silent),
                },
                () = other_key(&mut self.mac, self.subject) => return Ok(End::OtherKey),
            }
        }
    }

    /// Begins a watch at a version; without one, with all that is there.
    async fn open(
        &self,
        version: Option<&str>,
    ) -> Result<impl Stream<Item = kube::Result<WatchEvent<Raw>>> + use<S>, WatchError> {
        let request = self
            .subject
            .watch(self.namespace.as_deref(), WATCH_SECONDS, version)?;
        let opened = timeout(ANSWER, self.client.request_events::<Raw>(request)).await;
        Ok(opened.map_err(|_| WatchError::Timeout)??)
    }

    async fn list(&self, place: &mut Place, key: Option<&MacKey>) -> Result<String, WatchError> {
        if let Some(request) = self.subject.alone(self.namespace.as_deref()) {
            return self.look(place, request?, key).await;
        }
        let mut next = None;
        let listing = place.listing.insert(Known::default());
        loop {
            let request = self.subject.list(self.namespace.as_deref(), PAGE, next)?;
            let answer = timeout(ANSWER, self.client.request::<Page>(request)).await;
            let page = answer.map_err(|_| WatchError::Timeout)??;
            self.health.heard_now();
            for raw in &page.items {
                listing.add(&object_key(raw));
            }
            let items = page.items.into_iter();
            let seen: Vec<Seen> = items.filter_map(|raw| self.applied(raw, key)).collect();
            self.hand_on(seen);
            if page.metadata.next.is_empty() {
                if page.metadata.resource_version.is_empty() {
                    return Err(WatchError::NoVersion);
                }
                self.finish_list(place);
                return Ok(page.metadata.resource_version);
            }
            next = Some(page.metadata.next);
        }
    }

    async fn look(
        &self,
        place: &mut Place,
        request: http::Request<Vec<u8>>,
        key: Option<&MacKey>,
    ) -> Result<String, WatchError> {
        let answer = timeout(ANSWER, self.client.request::<Raw>(request)).await;
        let raw = answer.map_err(|_| WatchError::Timeout)??;
        self.health.heard_now();
        let version = raw.metadata("resourceVersion").to_owned();
        place.listing = Some(Known::one(&object_key(&raw)));
        self.hand_on(self.applied(raw, key).into_iter().collect());
        self.finish_list(place);
        Ok(version)
    }

    /// Hands on what a batch means. What came before a fault in it counts.
    fn digest(
        &self,
        place: &mut Place,
        batch: Vec<kube::Result<WatchEvent<Raw>>>,
        key: Option<&MacKey>,
    ) -> Result<(), WatchError> {
        self.health.heard_now();
        let mut seen = Vec::with_capacity(batch.len());
        let mut fault = None;
        for event in batch {
            match event {
                Ok(WatchEvent::Added(raw) | WatchEvent::Modified(raw)) => {
                    place.saw(&raw, true);
                    seen.extend(self.applied(raw, key));
                }
                Ok(WatchEvent::Deleted(raw)) => {
                    place.saw(&raw, false);
                    seen.push(self.subject.deleted(&raw));
                }
                Ok(WatchEvent::Bookmark(mark)) => {
                    if mark.metadata.annotations.contains_key(INITIAL_END) {
                        self.hand_on(std::mem::take(&mut seen));
                        self.finish_list(place);
                    }
                    // In the middle of a list there is no place to go on from.
                    if place.listing.is_none() {
                        place.version = Some(mark.metadata.resource_version);
                    }
                }
                Ok(WatchEvent::Error(status)) => {
                    let reason = status.reason.clone();
                    fault = Some(WatchError::Ended {
                        code: status.code,
                        reason,
                    });
                    break;
                }
                // Never ours to judge: any JSON object decodes.
                Err(kube::Error::SerdeError(_)) => {
                    warn!(
                        watch = self.health.name,
                        "skipped an event that is no JSON object"
                    );
                }
                Err(error) => {
                    fault = Some(error.into());
                    break;
                }
            }
        }
        self.hand_on(seen);
        fault.map_or(Ok(()), Err)
    }

    fn applied(&self, raw: Raw, key: Option<&MacKey>) -> Option<Seen> {
        let object = object_key(&raw);
        let seen = self.subject.applied(raw, &self.settings, key);
        if seen.is_none() {
            // It could have been a good one before.
            warn!(watch = self.health.name, %object, "an object without usable metadata is ignored");
            return Some(self.subject.gone(&object));
        }
        seen
    }

    fn hand_on(&self, seen: Vec<Seen>) {
        if !seen.is_empty() {
            self.sink.take(seen);
        }
    }

    /// What a fresh list does not have any more is gone.
    fn finish_list(&self, place: &mut Place) {
        let listing = place.listing.take().unwrap_or_default();
        let gone = place.known.without(&listing);
        self.hand_on(gone.iter().map(|key| self.subject.gone(key)).collect());
        place.known = listing;
        place.known.settle();
        self.list_is_complete();
    }

    fn list_is_complete(&self) {
        if !self.health.listed.swap(true, Ordering::AcqRel) {
            self.done.send_modify(|done| *done += 1);
        }
    }
}

impl Place {
    /// What was listed and not finished is there all the same.
    fn unite(&mut self) {
        if let Some(listing) = self.listing.take() {
            self.known.append(&listing);
            // One that never ends would make it grow for ever.
            self.known.tidy();
        }
    }

    fn saw(&mut self, raw: &Raw, is_there: bool) {
        let key = object_key(raw);
        if let Some(listing) = &mut self.listing {
            listing.add(&key);
            return;
        }
        self.version = Some(raw.metadata("resourceVersion").to_owned());
        if is_there {
            self.known.add(&key);
        } else {
            self.known.remove(&key);
        }
        self.known.tidy();
    }
}

/// Resolves when the key of seals is another one, which matters to Credentials alone.
async fn other_key(mac: &mut channel::Receiver<Option<Arc<MacKey>>>, subject: Subject) {
    let concerned = subject == Subject::Kind(crate::resources::Kind::Credential);
    if !concerned || mac.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// The API server's own words, cut short; those of the client as they are.
fn describe(error: &WatchError) -> String {
    match error {
        WatchError::Kube(kube::Error::Api(status)) => {
            format!("{} ({})", status.reason, status.code)
        }
        other => other.to_string(),
    }
}

fn random_part(of: Duration) -> Duration {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    of.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
