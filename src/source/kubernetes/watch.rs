//! One watch: the first list, what comes after, and starting over.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::Client;
use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::DefaultBackoff;
use tokio::sync::watch as channel;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::answer::{ANSWER, Answer, Line, Part};
use super::known::Known;
use super::raw::Raw;
use super::subject::{Subject, object_key};
use super::{Health, Refusals, Seen, Sink};
use crate::directory::Settings;
use crate::json_stream::{Framing, PageSize};
use crate::tokens::{Entropy as _, MacKey, SystemEntropy};

/// The API server ends a watch after this time; we begin it anew from where it was.
const WATCH_SECONDS: u32 = 290;
/// A watch that ends sooner is a fault: to begin it anew at once would be a loop.
const BRIEF: Duration = Duration::from_secs(1);
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
pub(super) enum WatchError {
    #[error(transparent)]
    Kube(#[from] kube::Error),
    #[error(transparent)]
    Request(#[from] kube::core::request::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("the API server sent a list that is not JSON, or broke off in the middle of it")]
    Malformed,
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
        let mut events = self.open(place.version.as_deref()).await?;
        self.allowed(place);
        if place.version.is_none() {
            place.listing = Some(Known::default());
        }
        let begun = Instant::now();
        loop {
            tokio::select! {
                batch = timeout(self.silence, events.next::<Line>()) => match batch {
                    Ok(Ok(Some(batch))) => self.digest(place, batch, key.as_deref())?,
                    Ok(Err(error)) => return Err(error),
                    Ok(Ok(None)) if place.listing.is_some() || begun.elapsed() < BRIEF => {
                        return Err(WatchError::Brief);
                    }
                    Ok(Ok(None)) => return Ok(End::Closed),
                    Err(_) => return Err(WatchError::Silent),
                },
                () = other_key(&mut self.mac, self.subject) => return Ok(End::OtherKey),
            }
        }
    }

    /// Begins a watch at a version; without one, with all that is there.
    async fn open(&self, version: Option<&str>) -> Result<Answer, WatchError> {
        let request = self
            .subject
            .watch(self.namespace.as_deref(), WATCH_SECONDS, version)?;
        self.ask(request, Framing::Events).await
    }

    async fn ask(
        &self,
        request: http::Request<Vec<u8>>,
        framing: Framing,
    ) -> Result<Answer, WatchError> {
        Answer::open(&self.client, request, framing, self.subject.keep()).await
    }

    async fn list(&self, place: &mut Place, key: Option<&MacKey>) -> Result<String, WatchError> {
        place.listing = Some(Known::default());
        if let Some(request) = self.subject.alone(self.namespace.as_deref()) {
            let answer = self.ask(request?, Framing::Object).await?;
            let (_, version) = self.take_all(place, answer, key).await?;
            if version.is_empty() {
                return Err(WatchError::NoVersion);
            }
            self.finish_list(place);
            return Ok(version);
        }
        let (mut next, mut size) = (None, PageSize::default());
        loop {
            let request = self
                .subject
                .list(self.namespace.as_deref(), size.limit(), next)?;
            let answer = self.ask(request, Framing::List).await?;
            let (page, _) = self.take_all(place, answer, key).await?;
            size = size.after(page.objects, page.bytes);
            if page.list.next.is_empty() {
                if page.list.resource_version.is_empty() {
                    return Err(WatchError::NoVersion);
                }
                self.finish_list(place);
                return Ok(page.list.resource_version);
            }
            next = Some(page.list.next);
        }
    }

    /// Hands on the objects of a list while they come in; at its end, what it says of itself, and the version of the
    /// last object.
    async fn take_all(
        &self,
        place: &mut Place,
        mut answer: Answer,
        key: Option<&MacKey>,
    ) -> Result<(Answer, String), WatchError> {
        let mut version = String::new();
        loop {
            let batch = timeout(ANSWER, answer.next::<Raw>()).await;
            let Some(batch) = batch.map_err(|_| WatchError::Timeout)?? else {
                return Ok((answer, version));
            };
            self.health.heard_now();
            let mut seen = Vec::with_capacity(batch.len());
            for part in batch {
                if let Part::Whole(raw) | Part::Cut(raw, _) = &part {
                    if let Some(listing) = &mut place.listing {
                        listing.add(&object_key(raw));
                    }
                    raw.metadata("resourceVersion").clone_into(&mut version);
                }
                seen.extend(match part {
                    Part::Whole(raw) => self.applied(raw, key),
                    Part::Cut(raw, bytes) => Some(self.unreadable(&raw, bytes)),
                    Part::Bad => self.bad(),
                });
            }
            self.hand_on(seen);
        }
    }

    /// Hands on what a batch means. What came before a fault in it counts.
    fn digest(
        &self,
        place: &mut Place,
        batch: Vec<Part<Line>>,
        key: Option<&MacKey>,
    ) -> Result<(), WatchError> {
        self.health.heard_now();
        let mut seen = Vec::with_capacity(batch.len());
        let mut fault = None;
        for part in batch {
            let (line, cut) = match part {
                Part::Whole(line) => (line, None),
                Part::Cut(line, bytes) => (line, Some(bytes)),
                Part::Bad => {
                    seen.extend(self.bad());
                    continue;
                }
            };
            fault = line.end();
            if fault.is_some() {
                break;
            }
            let Some(raw) = line.object else {
                seen.extend(self.bad());
                continue;
            };
            match line.kind.as_str() {
                "ADDED" | "MODIFIED" => {
                    place.saw(&raw, true);
                    seen.extend(match cut {
                        None => self.applied(raw, key),
                        Some(bytes) => Some(self.unreadable(&raw, bytes)),
                    });
                }
                "DELETED" => {
                    place.saw(&raw, false);
                    seen.push(self.subject.deleted(&raw));
                }
                "BOOKMARK" => {
                    if raw.0["metadata"]["annotations"][INITIAL_END].is_string() {
                        self.hand_on(std::mem::take(&mut seen));
                        self.finish_list(place);
                    }
                    // In the middle of a list there is no place to go on from.
                    if place.listing.is_none() {
                        place.version = Some(raw.metadata("resourceVersion").to_owned());
                    }
                }
                _ => seen.extend(self.bad()),
            }
        }
        self.hand_on(seen);
        fault.map_or(Ok(()), Err)
    }

    /// Never ours to judge: any JSON object decodes.
    fn bad(&self) -> Option<Seen> {
        warn!(
            watch = self.health.name,
            "skipped an object that is not a JSON object"
        );
        None
    }

    /// An object that is too large is not served, and stops no other. It could have been a good one before.
    fn unreadable(&self, raw: &Raw, bytes: usize) -> Seen {
        let object = object_key(raw);
        warn!(
            watch = self.health.name, %object, bytes,
            "ignored an object that is too large to be read: remove labels, annotations or parts of its spec"
        );
        self.subject.gone(&object)
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
