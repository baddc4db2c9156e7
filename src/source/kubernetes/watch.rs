//! One watch: the first list, the changes after it, and recovery from faults.
//!
//! Written by hand, because the watcher of `kube` decodes types and holds each page as a whole. Here one bad object
//! never hides another, and no response is held as a whole (see `json_stream`).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use kube::runtime::utils::Backoff as _;
use kube::runtime::watcher::DefaultBackoff;
use tokio::sync::watch as channel;
use tokio::time::{Instant, timeout};
use tracing::{debug, info, warn};

use super::answer::{ANSWER, ObjectResponse, Part, WatchLine};
use super::error::WatchError;
use super::known::Known;
use super::obstacle::WatchObstacle;
use super::raw::Raw;
use super::watched_kind::{WatchedKind, object_key};
use super::{Health, Refusals, Sink, WatchChange};
use crate::directory::Settings;
use crate::json_stream::{Framing, PageSize};
use crate::kube_call::Client;
use crate::tokens::{Entropy as _, MacKey, SystemEntropy};

/// The API server ends a watch after this time. The next one continues at the same version.
const WATCH_SECONDS: u32 = 290;
/// A watch that ends sooner is a fault. Without a pause it would be restarted in a tight loop.
const BRIEF: Duration = Duration::from_secs(1);
/// The interval of warnings about the same obstacle.
const REPEAT: Duration = Duration::from_mins(5);
/// The annotation of the bookmark that ends a streaming list.
const INITIAL_END: &str = "k8s.io/initial-events-end";

/// Returns the name of a watch in logs and messages.
pub(super) fn name(watched_kind: WatchedKind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{} in {namespace}", watched_kind.plural()),
        None => watched_kind.plural().to_owned(),
    }
}

pub(super) struct Watch<S> {
    pub(super) client: Client,
    pub(super) watched_kind: WatchedKind,
    pub(super) namespace: Option<String>,
    pub(super) settings: Arc<Settings>,
    pub(super) mac: channel::Receiver<Option<Arc<MacKey>>>,
    pub(super) sink: Arc<S>,
    pub(super) health: Arc<Health>,
    pub(super) done: Arc<channel::Sender<usize>>,
    pub(super) silence: Duration,
    pub(super) refusals: Refusals,
}

/// The state of a watch.
#[derive(Default)]
struct Place {
    /// The version to continue from; `None`: list again.
    version: Option<String>,
    /// The objects that were reported.
    known: Known,
    /// During a list: its objects so far.
    listing: Option<Known>,
    /// Whether the API server has no streaming lists.
    in_pages: bool,
    /// The time since which the API server has denied access.
    refused_since: Option<Instant>,
    /// Whether the namespace counts as empty, until it can be listed.
    given_up: bool,
    /// The time of the last warning about an obstacle.
    warned: Option<Instant>,
}

/// Why [`Watch::follow`] ended.
enum End {
    /// A regular end: continue at once.
    Closed,
    /// The mac key changed: verify the seals of Credentials again.
    OtherKey,
}

impl<S: Sink> Watch<S> {
    /// Runs the watch. Never returns.
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

    /// Reacts to a fault. Returns the maximum time until the next try, if there is one.
    fn recover(&self, place: &mut Place, error: &WatchError) -> Option<Duration> {
        let name = &self.health.name;
        let code = error.code();
        let obstacle = WatchObstacle::of(self.watched_kind, error);
        let is_new = self.health.lacks(obstacle.as_ref());
        if self.is_refusal(code) {
            return self.refused(place);
        }
        if let Some(obstacle) = obstacle {
            self.tell(place, &obstacle, is_new);
            return None;
        }
        match code {
            // The version is too old to continue from: list again.
            Some(410) => {
                debug!(watch = name, "version expired, listing again");
                place.version = None;
            }
            Some(400 | 422) if !place.in_pages && place.version.is_none() => {
                info!(
                    watch = name,
                    "streaming lists not supported, listing in pages"
                );
                place.in_pages = true;
            }
            _ => warn!(watch = name, %error, "watch interrupted"),
        }
        // Silence without even bookmarks may mean that our version is in the future, after a restore of etcd.
        if matches!(error, WatchError::Silent) {
            place.version = None;
        }
        None
    }

    /// Warns of an obstacle when it appears, and every [`REPEAT`] while it stays. Before the first list is complete,
    /// [`super::NotListed`] reports the obstacles of all watches together.
    fn tell(&self, place: &mut Place, obstacle: &WatchObstacle, is_new: bool) {
        let is_due = place.warned.is_none_or(|at| at.elapsed() >= REPEAT);
        if self.health.listed.load(Ordering::Acquire) && (is_new || is_due) {
            place.warned = Some(Instant::now());
            warn!(
                watch = self.health.name,
                error = %obstacle,
                "watch interrupted, will retry: the objects read before stay in use"
            );
        }
    }

    /// Returns whether access to this single namespace is denied. For a watch of all namespaces, and for essential
    /// ones, a denial is a fault like any other.
    fn is_refusal(&self, code: Option<u16>) -> bool {
        let Some(namespace) = &self.namespace else {
            return false;
        };
        match self.watched_kind {
            // A namespace that does not exist grants no rights either. Without its labels no selector matches it.
            WatchedKind::Namespaces => matches!(code, Some(403 | 404)),
            _ => code == Some(403) && !self.refusals.essential.contains(namespace),
        }
    }

    /// Counts the namespace as empty if it was refused for long enough. Otherwise returns the remaining time.
    fn refused(&self, place: &mut Place) -> Option<Duration> {
        let name = &self.health.name;
        let is_listed = self.health.listed.load(Ordering::Acquire);
        self.health.refused.store(true, Ordering::Release);
        if place.given_up {
            // It was listed in the meantime, but may not be watched.
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
            debug!(watch = name, ?left, "access denied, waiting");
            return Some(left);
        }
        warn!(
            watch = name,
            "access denied, the namespace counts as empty until it can be listed: bind the installation's role in it, or remove it from the configured namespaces"
        );
        self.give_up(place);
        None
    }

    /// Reports all known objects of the namespace as deleted.
    fn give_up(&self, place: &mut Place) {
        place.given_up = true;
        place.version = None;
        place.unite();
        place.listing = Some(Known::default());
        self.finish_list(place);
    }

    /// Ends a refusal: the API server allows the watch. Nothing else ends it, since another fault in between does not
    /// show that access is allowed.
    fn allowed(&self, place: &mut Place) {
        self.health.heard_now();
        if self.health.lacks(None) && place.warned.take().is_some() {
            info!(watch = self.health.name, "watch works again");
        }
        if std::mem::take(&mut place.given_up) {
            info!(watch = self.health.name, "access allowed again, listing");
        }
        place.refused_since = None;
        self.health.refused.store(false, Ordering::Release);
    }

    /// Lists if there is no version to continue from, then follows the changes.
    async fn follow(&mut self, place: &mut Place) -> Result<End, WatchError> {
        place.unite();
        let key = self.mac.borrow_and_update().clone();
        if place.version.is_none() && place.in_pages {
            if place.given_up {
                // A list without a watch is not enough to serve from, so try the watch first.
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
                batch = timeout(self.silence, events.next::<WatchLine>()) => match batch {
                    Ok(Ok(Some(batch))) => self.digest(place, batch, key.as_deref())?,
                    Ok(Err(error)) => return Err(error),
                    Ok(Ok(None)) if place.listing.is_some() || begun.elapsed() < BRIEF => {
                        return Err(WatchError::Brief);
                    }
                    Ok(Ok(None)) => return Ok(End::Closed),
                    Err(_) => return Err(WatchError::Silent),
                },
                () = other_key(&mut self.mac, self.watched_kind) => return Ok(End::OtherKey),
            }
        }
    }

    /// Starts a watch at `version`; without one, it begins with all objects.
    async fn open(&self, version: Option<&str>) -> Result<ObjectResponse, WatchError> {
        let request = self
            .watched_kind
            .watch(self.namespace.as_deref(), WATCH_SECONDS, version)?;
        self.ask(request, Framing::Events).await
    }

    async fn ask(
        &self,
        request: http::Request<Vec<u8>>,
        framing: Framing,
    ) -> Result<ObjectResponse, WatchError> {
        ObjectResponse::open(&self.client, request, framing, self.watched_kind.keep()).await
    }

    async fn list(&self, place: &mut Place, key: Option<&MacKey>) -> Result<String, WatchError> {
        place.listing = Some(Known::default());
        if let Some(request) = self.watched_kind.alone(self.namespace.as_deref()) {
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
                .watched_kind
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

    /// Passes on the objects of a list while they arrive. Returns the list's metadata and the version of the last
    /// object.
    async fn take_all(
        &self,
        place: &mut Place,
        mut answer: ObjectResponse,
        key: Option<&MacKey>,
    ) -> Result<(ObjectResponse, String), WatchError> {
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

    /// Passes on the changes of a batch, up to a fault in it.
    fn digest(
        &self,
        place: &mut Place,
        batch: Vec<Part<WatchLine>>,
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
                    seen.push(self.watched_kind.deleted(&raw));
                }
                "BOOKMARK" => {
                    if raw.0["metadata"]["annotations"][INITIAL_END].is_string() {
                        self.hand_on(std::mem::take(&mut seen));
                        self.finish_list(place);
                    }
                    // In the middle of a list there is no version to continue from.
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

    /// Skips a part that is not a JSON object. Any JSON object decodes, and the directory judges it.
    fn bad(&self) -> Option<WatchChange> {
        warn!(
            watch = self.health.name,
            "skipped data that is not a JSON object"
        );
        None
    }

    /// Reports an object that is too large as deleted, since it may have been served before. It affects no other
    /// object.
    fn unreadable(&self, raw: &Raw, bytes: usize) -> WatchChange {
        let object = object_key(raw);
        warn!(
            watch = self.health.name, %object, bytes,
            "ignored an object that is too large: shorten its labels, annotations or spec"
        );
        self.watched_kind.gone(&object)
    }

    fn applied(&self, raw: Raw, key: Option<&MacKey>) -> Option<WatchChange> {
        let object = object_key(&raw);
        let seen = self.watched_kind.applied(raw, &self.settings, key);
        if seen.is_none() {
            // It may have been served before.
            warn!(watch = self.health.name, %object, "ignored an object without usable metadata");
            return Some(self.watched_kind.gone(&object));
        }
        seen
    }

    fn hand_on(&self, seen: Vec<WatchChange>) {
        if !seen.is_empty() {
            self.sink.take(seen);
        }
    }

    /// Ends a list: known objects that it does not contain are deleted.
    fn finish_list(&self, place: &mut Place) {
        let listing = place.listing.take().unwrap_or_default();
        let gone = place.known.without(&listing);
        self.hand_on(gone.iter().map(|key| self.watched_kind.gone(key)).collect());
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
    /// Adds the objects of an unfinished list to the known ones.
    fn unite(&mut self) {
        if let Some(listing) = self.listing.take() {
            self.known.append(&listing);
            // Lists that never end would let it grow without bound.
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

/// Resolves when the mac key changes, which concerns only Credentials.
async fn other_key(mac: &mut channel::Receiver<Option<Arc<MacKey>>>, watched_kind: WatchedKind) {
    let concerned = watched_kind == WatchedKind::Kind(crate::resources::Kind::Credential);
    if !concerned || mac.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn random_part(of: Duration) -> Duration {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    of.mul_f64(f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX))
}
