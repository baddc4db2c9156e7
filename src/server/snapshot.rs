//! The snapshot that requests are judged by: one consistent view of everything, swapped as a whole.
//!
//! Writers change their own copy of the tables, which shares structure with the published one, and publish once a
//! batch. Answers that are the same for every caller (documents, challenges) are created then, not at a request.

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use aws_lc_rs::digest;
use axum::http::HeaderValue;
use bytes::Bytes;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::Notify;

use super::early_revocations::{EarlyRevocation, EarlyRevocations, NotRemembered, Seen};
use super::gateway::{self, ServedGateway};
use super::metrics::KeyPhaseLabel;
use super::people::registry::Registry;
use super::people::site::PeopleSite;
use crate::directory::tables::record::{IdentityRecord, UserRecord};
use crate::directory::{Change, Cidr, Directory, ObjectKey, Row, Settings};
use crate::keys::{Algorithm, KeyRing, KeySet};
use crate::lock::lock;
use crate::oauth::acr::Acr;
use crate::oauth::{discovery, endpoint};
use crate::pages::Language;
use crate::resources::{Kind, WhenExceeded};
use crate::tokens::Hex;

/// Everything that a request may read.
#[derive(Debug)]
pub struct Snapshot {
    directory: Directory,
    identity: ObjectKey,
    ring: Arc<KeyRing>,
    site: Option<Arc<Site>>,
    had_keys: bool,
}

impl Snapshot {
    /// Returns the tables.
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns the Identity that this server serves.
    pub const fn identity(&self) -> &ObjectKey {
        &self.identity
    }

    /// Returns the signing keys.
    pub fn ring(&self) -> &KeyRing {
        &self.ring
    }

    /// Returns what follows from the Identity alone; `None` while the Identity is not served.
    pub fn site(&self) -> Option<&Site> {
        self.site.as_deref()
    }

    /// Returns the same, to be kept during a request that waits for the store.
    pub(super) fn shared_site(&self) -> Option<Arc<Site>> {
        self.site.clone()
    }

    /// Returns what resources say about people.
    pub const fn registry(&self) -> Registry<'_> {
        Registry::new(&self.directory, &self.identity)
    }

    /// Returns whether some key has been able to sign since the server started. The server stays ready when later no
    /// key can sign, because the last one is distrusted or retired and the next is not there yet: leaving the Service
    /// would end introspection too.
    pub(super) fn had_keys(&self) -> bool {
        self.had_keys
    }
}

/// The answers of an issuer that are the same for every caller, created once per change.
#[derive(Debug)]
pub struct Site {
    /// The issuer.
    pub issuer: Arc<str>,
    /// Its path, without a closing slash; empty at the root.
    pub(super) path: String,
    pub(super) openid: ServedDocument,
    pub(super) authorization_server: ServedDocument,
    pub(super) jwks: ServedDocument,
    /// The `WWW-Authenticate` value for a client that failed to authenticate.
    pub(super) basic_challenge: HeaderValue,
    /// The gateways, by name.
    pub(super) gateways: BTreeMap<Arc<str>, ServedGateway>,
    /// The `WWW-Authenticate` value for a gateway that does not exist.
    pub(super) no_gateway: HeaderValue,
    pub(super) is_https: bool,
    /// What follows for people; `None` if no people sign in.
    pub(super) people: Option<Arc<PeopleSite>>,
    pub(super) trusted_proxies: Vec<Cidr>,
    /// How long a connection may be quiet between requests; `None` for the server's default.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) max_staleness: SignedDuration,
    pub(super) when_stale: WhenExceeded,
    /// The algorithm for clients that do not choose one; `None` if no key can sign.
    pub(super) default_algorithm: Option<Algorithm>,
    algorithms: Vec<Algorithm>,
    ring: Arc<KeyRing>,
}

/// Bytes and their entity tag.
#[derive(Debug)]
pub(super) struct ServedDocument {
    pub bytes: Bytes,
    pub etag: HeaderValue,
}

/// A site that cannot be created. The schema of Identities prevents that.
#[derive(Debug, thiserror::Error)]
#[error("the issuer cannot be served")]
struct BadSite;

impl ServedDocument {
    fn new(bytes: impl Into<Bytes>) -> Result<Self, BadSite> {
        let bytes = bytes.into();
        let hash = digest::digest(&digest::SHA256, &bytes);
        let etag = format!("\"{}\"", Hex(&hash.as_ref()[..12]));
        Ok(Self {
            etag: HeaderValue::from_str(&etag).map_err(|_| BadSite)?,
            bytes,
        })
    }
}

impl Site {
    /// Returns whether an address is that of a trusted proxy.
    pub(super) fn trusts(&self, address: IpAddr) -> bool {
        let mut trusted = self.trusted_proxies.iter();
        trusted.any(|range| range.contains(address))
    }

    fn new(identity: &IdentityRecord, ring: &Arc<KeyRing>) -> Result<Self, BadSite> {
        let issuer = &identity.issuer;
        let (_, path) = endpoint::split(issuer);
        let algorithms = algorithms(identity);
        let default_algorithm = ring.default_algorithm(&algorithms);
        let signs = |it: &Algorithm| algorithms.contains(it) || default_algorithm == Some(*it);
        let can_sign = ring.algorithms().filter(signs);
        let people = PeopleSite::new(identity).map(Arc::new);
        let ui_locales = Language::ALL.map(Language::tag);
        let acr_values = [Acr::Pwd.as_str(), Acr::Pwd.uri()];
        let told = people.is_some().then_some(discovery::People {
            ui_locales: &ui_locales,
            acr_values: &acr_values,
            signs_userinfo: true,
        });
        let documents = discovery::documents(issuer, can_sign, told).map_err(|_| BadSite)?;
        let challenge = format!(r#"Basic realm="{issuer}", charset="UTF-8""#);
        let gateways = identity.gateways.iter().map(|(name, gateway)| {
            let gateway = ServedGateway::new(issuer, gateway).map_err(|_| BadSite)?;
            Ok((Arc::clone(name), gateway))
        });
        Ok(Self {
            path: path.to_owned(),
            openid: ServedDocument::new(documents.openid)?,
            authorization_server: ServedDocument::new(documents.authorization_server)?,
            jwks: ServedDocument::new(ring.jwks())?,
            basic_challenge: HeaderValue::from_str(&challenge).map_err(|_| BadSite)?,
            gateways: gateways.collect::<Result<_, _>>()?,
            no_gateway: gateway::challenge_of_unknown(issuer).map_err(|_| BadSite)?,
            trusted_proxies: identity.trusted_proxies.clone(),
            is_https: issuer.starts_with("https://"),
            idle_timeout: idle_timeout(identity),
            max_staleness: identity.max_staleness,
            when_stale: identity.when_stale,
            issuer: Arc::clone(issuer),
            people,
            default_algorithm,
            algorithms,
            ring: Arc::clone(ring),
        })
    }

    fn has_gateways_of(&self, identity: &IdentityRecord) -> bool {
        let known = self.gateways.iter().map(|(name, it)| (name, &it.record));
        known.eq(&identity.gateways)
    }

    /// Returns whether [`Site::new`] would create the same site again.
    fn is_of(&self, identity: &IdentityRecord, ring: &Arc<KeyRing>) -> bool {
        Arc::ptr_eq(&self.ring, ring)
            && PeopleSite::is_same(self.people.as_deref(), identity)
            && self.issuer == identity.issuer
            && self.max_staleness == identity.max_staleness
            && self.when_stale == identity.when_stale
            && self.trusted_proxies == identity.trusted_proxies
            && self.idle_timeout == idle_timeout(identity)
            && self.algorithms == algorithms(identity)
            && self.has_gateways_of(identity)
    }
}

fn idle_timeout(identity: &IdentityRecord) -> Option<Duration> {
    // The directory has checked that it is positive.
    identity.idle_timeout?.try_into().ok()
}

fn algorithms(identity: &IdentityRecord) -> Vec<Algorithm> {
    identity
        .algorithms
        .iter()
        .copied()
        .map(Algorithm::from)
        .collect()
}

/// Publishes changes of the writers as snapshots for the requests.
#[derive(Debug)]
pub struct Publisher {
    draft: Mutex<Draft>,
    current: ArcSwap<Snapshot>,
    /// Notified when a change brought a token that was revoked before.
    early_seen: Notify,
    /// Notified when a write of such a revocation ended.
    early_ended: Notify,
}

/// What changes of Users have ended for ever, although the snapshot may not show it.
#[derive(Debug, Default)]
pub(super) struct EndedByChange {
    /// The uids of Users that were disabled, or past their `notAfter`, and are so no longer.
    pub people: HashSet<Arc<str>>,
    /// Values of the annotation that asks for an enrolment link, each with the uid of the User that had it.
    pub links: HashSet<(Arc<str>, Arc<str>)>,
}

/// The most values of annotations that wait to be recorded. The operator records them too.
pub(super) const MOST_WITHDRAWN: usize = 1 << 14;

#[derive(Debug)]
struct Draft {
    directory: Directory,
    identity: ObjectKey,
    keys: KeySet,
    ring: Arc<KeyRing>,
    /// The IDs of the keys in `keys` that `ring` leaves out.
    distrusted: Vec<String>,
    /// The time for which `ring` was built.
    turned_at: Timestamp,
    site: Option<Arc<Site>>,
    /// Whether some key has been able to sign since the server started.
    had_keys: bool,
    /// Revocations of tokens that no Credential in `directory` records.
    early: EarlyRevocations,
    /// Whether a task records early revocations.
    is_recording: bool,
    /// Whether the tables differ from the published ones, also after a change that panicked.
    is_unpublished: bool,
    /// What changes of Users have ended since [`Publisher::take_ended`].
    ended: EndedByChange,
}

impl Publisher {
    /// Creates a publisher of an empty directory.
    ///
    /// # Errors
    /// None in practice: it serializes an empty JWK Set.
    pub fn new(
        identity: ObjectKey,
        settings: Settings,
        now: Timestamp,
    ) -> Result<Self, serde_json::Error> {
        let keys = KeySet::default();
        let draft = Draft {
            directory: Directory::new(settings),
            identity,
            ring: Arc::new(KeyRing::new(&keys, now)?),
            keys,
            distrusted: Vec::new(),
            turned_at: now,
            site: None,
            had_keys: false,
            early: EarlyRevocations::default(),
            is_recording: false,
            is_unpublished: false,
            ended: EndedByChange::default(),
        };
        Ok(Self {
            current: ArcSwap::from_pointee(draft.snapshot()),
            draft: Mutex::new(draft),
            early_seen: Notify::new(),
            early_ended: Notify::new(),
        })
    }

    /// Returns the published snapshot.
    pub fn current(&self) -> Guard<Arc<Snapshot>> {
        self.current.load()
    }

    /// Applies a batch of changes, in order, and publishes once if any is news. Most of what watches report are changes of
    /// a status, which need no publication.
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) {
        let mut draft = self.draft();
        let now = super::now();
        for change in changes {
            // Those before it in the batch count: an object may be created and deleted in one batch.
            if draft.directory.is_news(&change) {
                draft.is_unpublished = true;
                draft.note_ended(&change, now);
                draft.directory.apply(change);
            }
        }
        if draft.is_unpublished {
            self.publish(&mut draft);
        }
    }

    /// Returns what changes of Users have ended since the last call, however short each state was.
    pub(super) fn take_ended(&self) -> EndedByChange {
        std::mem::take(&mut self.draft().ended)
    }

    /// Changes the tables and publishes once.
    pub fn update(&self, change: impl FnOnce(&mut Directory)) {
        let mut draft = self.draft();
        draft.is_unpublished = true;
        change(&mut draft.directory);
        self.publish(&mut draft);
    }

    /// Returns whether the token of a revocation is known to be revoked, so that there is nothing to remember.
    ///
    /// # Errors
    /// [`NotRemembered::Unwritten`] if only this server refuses the token yet.
    pub(super) fn is_revoked(&self, revocation: &EarlyRevocation) -> Result<bool, NotRemembered> {
        let draft = self.draft();
        draft.early.has(revocation)?;
        Ok(revocation.is_done(&draft.directory, &draft.identity))
    }

    /// Remembers the revocation of a token that no Credential records. From now on, no snapshot accepts the token.
    /// `heard` is the time up to which the watches were heard. Returns whether the caller must start a task that records
    /// early revocations.
    ///
    /// # Errors
    /// [`NotRemembered`] if a Credential records the token now, or if there are too many revocations.
    pub(super) fn remember(
        &self,
        revocation: EarlyRevocation,
        heard: Timestamp,
        now: Timestamp,
    ) -> Result<bool, NotRemembered> {
        let draft = &mut *self.draft();
        draft.early.forget(heard);
        if revocation.is_recorded(&draft.directory, &draft.identity) {
            return Err(NotRemembered::Known);
        }
        if draft.early.has(&revocation)? {
            return Ok(false);
        }
        draft.early.remember(revocation, now)?;
        Ok(!std::mem::replace(&mut draft.is_recording, true))
    }

    /// Begins to record the early revocation that has its turn, if a change has brought its token.
    pub(super) fn begin_early(&self, now: Timestamp) -> Option<(EarlyRevocation, Seen)> {
        self.draft().early.begin(now)
    }

    /// Notes that an early revocation needs no further write to this Credential.
    pub(super) fn early_recorded(&self, revocation: &EarlyRevocation, seen: &Seen) {
        self.draft().early.recorded(revocation, seen);
        self.early_ended.notify_one();
    }

    /// Notes that an early revocation could not be recorded in this Credential.
    pub(super) fn early_failed(&self, revocation: &EarlyRevocation, seen: &Seen, now: Timestamp) {
        self.draft().early.failed(revocation, seen, now);
        self.early_ended.notify_one();
    }

    /// Makes all early revocations due that could not be recorded.
    pub(super) fn hurry_early(&self) {
        self.draft().early.hurry();
        self.early_seen.notify_one();
    }

    /// Waits until each write of an early revocation has succeeded, or has failed since [`Publisher::hurry_early`].
    pub(super) async fn early_written(&self) {
        while self.draft().early.is_writing() {
            self.early_ended.notified().await;
        }
    }

    /// Returns the number of early revocations that are not recorded in any Credential.
    pub(super) fn early_unrecorded(&self, heard: Timestamp) -> usize {
        let mut draft = self.draft();
        draft.early.forget(heard);
        draft.early.unrecorded()
    }

    /// Forgets the early revocations whose time is over. Returns whether none is left: then the task that records them
    /// must end.
    pub(super) fn no_early_left(&self, heard: Timestamp) -> bool {
        let draft = &mut *self.draft();
        draft.early.forget(heard);
        draft.is_recording = !draft.early.is_empty();
        !draft.is_recording
    }

    /// Waits until a change brings a token that was revoked before.
    pub(super) async fn early_arrival(&self) {
        self.early_seen.notified().await;
    }

    /// Replaces the signing keys.
    ///
    /// # Errors
    /// None in practice: it serializes the JWK Set.
    pub fn set_keys(&self, keys: KeySet, now: Timestamp) -> Result<(), serde_json::Error> {
        let mut draft = self.draft();
        draft.keys = keys;
        draft.turned_at = now;
        draft.turn()?;
        self.publish(&mut draft);
        Ok(())
    }

    /// Moves the keys to the phases that their times give for `now`, if a phase has changed.
    ///
    /// # Errors
    /// As [`Publisher::set_keys`].
    pub fn turn_keys(&self, now: Timestamp) -> Result<(), serde_json::Error> {
        let mut draft = self.draft();
        draft.turned_at = now;
        let next = draft.ring.next_change();
        if next.is_some_and(|change| change <= now) {
            draft.turn()?;
            self.publish(&mut draft);
        }
        Ok(())
    }

    /// Returns the number of signing keys in each phase, and for how long the youngest active key has been active.
    pub(super) fn key_phases(
        &self,
        now: Timestamp,
    ) -> (Vec<(KeyPhaseLabel, usize)>, SignedDuration) {
        let keys = {
            let draft = self.draft();
            draft.keys.without(&draft.distrusted, now)
        };
        let active: Vec<_> = Algorithm::ALL
            .into_iter()
            .filter_map(|algorithm| keys.active(algorithm, now))
            .collect();
        let published = keys.published(now).count();
        let ahead = keys.published(now).filter(|key| key.active_from > now);
        let waiting = ahead
            .filter(|key| !active.iter().any(|it| it.key.kid() == key.key.kid()))
            .count();
        let retiring = published - waiting - active.len();
        let youngest = active.iter().map(|key| key.active_from).max();
        let age = youngest.map(|since| now.duration_since(since).max(SignedDuration::ZERO));
        let phases = vec![
            (KeyPhaseLabel::Waiting, waiting),
            (KeyPhaseLabel::Active, active.len()),
            (KeyPhaseLabel::Retiring, retiring),
        ];
        (phases, age.unwrap_or_default())
    }

    fn draft(&self) -> MutexGuard<'_, Draft> {
        // A change that panicked may have left the tables half changed. The next change or list publishes and repairs them.
        lock(&self.draft)
    }

    fn publish(&self, draft: &mut Draft) {
        if let Err(error) = draft.settle_trust() {
            tracing::error!(%error, "could not apply spec.signing.distrusted, the keys stay as they were");
        }
        draft.settle_site();
        if !draft.early.is_empty()
            && !draft
                .directory
                .has_tokens_of(self.current.load().directory())
            && draft.early.refuse(&mut draft.directory, &draft.identity)
        {
            self.early_seen.notify_one();
        }
        self.current.store(Arc::new(draft.snapshot()));
        draft.is_unpublished = false;
    }
}

impl Draft {
    /// Notes what ends with this change of a User: a time in which the person could do nothing, an enrolment link, or the
    /// User.
    fn note_ended(&mut self, change: &Change, now: Timestamp) {
        let (key, after) = match change {
            Change::Upsert(Row::User(after)) => (&after.key, Some(after)),
            Change::Delete(Kind::User, key) => (key, None),
            _ => return,
        };
        let Some(before) = self.directory.user(key) else {
            return;
        };
        let Some(after) = after.filter(|after| after.uid == before.uid) else {
            // Without people, no one takes them.
            if self.site.as_ref().is_some_and(|site| site.people.is_some()) {
                self.ended.people.insert(Arc::clone(&before.uid));
            }
            return;
        };
        let (before, after_record) = (before.record(), after.record());
        let has_ended =
            |record: Option<&UserRecord>| record.is_some_and(|record| record.has_ended(now));
        if has_ended(before) && !has_ended(after_record) {
            self.ended.people.insert(Arc::clone(&after.uid));
        }
        // Of a User who is invalid it is not known what the annotation says.
        if let (Some(before), Some(record)) = (before, after_record)
            && let Some(nonce) = before.enroll.as_ref().filter(|_| before.nonce().is_some())
            && before.enroll != record.enroll
            && self.ended.links.len() < MOST_WITHDRAWN
        {
            let link = (Arc::clone(&after.uid), Arc::clone(nonce));
            self.ended.links.insert(link);
        }
    }

    /// Rebuilds the ring for the time `turned_at`, without the distrusted keys.
    fn turn(&mut self) -> Result<(), serde_json::Error> {
        let trusted = self.keys.without(&self.distrusted, self.turned_at);
        self.ring = Arc::new(KeyRing::new(&trusted, self.turned_at)?);
        Ok(())
    }

    /// Leaves out the keys that the Identity distrusts. While the Identity is invalid, the last valid list applies.
    fn settle_trust(&mut self) -> Result<(), serde_json::Error> {
        let identity = self.directory.identity(&self.identity);
        let Some(record) = identity.and_then(|identity| identity.record()) else {
            return Ok(());
        };
        if record.distrusted_keys == self.distrusted {
            return Ok(());
        }
        self.distrusted.clone_from(&record.distrusted_keys);
        self.turn()
    }

    fn settle_site(&mut self) {
        let served = self.directory.served_identity(&self.identity).ok();
        self.site = served.and_then(|served| match &self.site {
            Some(site) if site.is_of(served.record, &self.ring) => Some(Arc::clone(site)),
            _ => Site::new(served.record, &self.ring).ok().map(Arc::new),
        });
        let site = self.site.as_ref();
        self.had_keys |= site.is_some_and(|site| site.default_algorithm.is_some());
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot {
            directory: self.directory.clone(),
            identity: self.identity.clone(),
            ring: Arc::clone(&self.ring),
            site: self.site.clone(),
            had_keys: self.had_keys,
        }
    }
}
