//! Runs the real driver and the real plan, and returns their next request.
//!
//! The search works on small states. This module turns such a state into real objects (sealed entries, a raw Secret, an
//! owner), runs the real `issue` over them until it makes a request that has no reply yet, and turns that request back
//! into its small form. The requests depend only on the replies, so each distinct situation runs once and its result is
//! kept.

use std::collections::{HashMap, VecDeque};
use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Mutex;
use std::task::{Context, Poll, Waker};

use jiff::{SignedDuration, Timestamp};
use kube::api::ObjectMeta;
use serde_json::{Value, json};
use symbolon::directory::{
    Desired, IssuedClient, Lifetime, ObjectKey, Problem, Reason, RotationRequests, RotationRules,
    SecretKind, Standing, is_sealed, is_token_revoked, sealed,
};
use symbolon::reconcile::cluster::Cluster;
use symbolon::reconcile::cluster::api::{ApiError, Precondition};
use symbolon::reconcile::cluster::secret::SecretObject;
use symbolon::reconcile::issue::{
    MintBudget, PassOutcome, Rules, SecretIssuer, Settled, Target, decode_requests,
    encode_requests, issue,
};
use symbolon::resources::{
    Cause, Credential, CredentialClient, CredentialEntry, CredentialMemory, CredentialOwner,
    CredentialSpec, LocalRef, Moment, OnSecretDeleted, OwnerKind, SecretVersion, TokenUse,
};
use symbolon::tokens::{Kind, MacKey, Minted, Prefix, SeededEntropy, TokenHash, mac, reference};

/// State of an entry: without `notAfter`.
pub const LIVE: u8 = 1;
/// State of an entry: `notAfter` is in the future.
pub const CLOSING: u8 = 2;
/// State of an entry: `notAfter` is past.
pub const DEAD: u8 = 3;
/// State of an entry: `expiresAt` is past.
pub const EXPIRED: u8 = 4;

/// State of a Secret apart from its token: nothing is wrong.
pub const SOUND: u8 = 0;
/// A user changed another key of its data.
pub const EDITED: u8 = 1;
/// It has another type.
pub const RETYPED: u8 = 2;
/// Its owner reference was removed.
pub const STRIPPED: u8 = 3;

/// Content of a Secret: nothing. An entry of the Credential is its index plus one.
pub const NOTHING: u8 = 0;
/// Content of a Secret: a token that the Credential does not know.
pub const UNKNOWN: u8 = 100;
/// Content of a Secret: text that is not a token.
pub const GARBAGE: u8 = 101;

/// The Credential has no `base`.
pub const BASE_NONE: u8 = 0;
/// `base` is the Secret's version that the pass has read.
pub const BASE_READ: u8 = 1;
/// `base` is another version of the same Secret.
pub const BASE_OTHER: u8 = 2;
/// `base` is a version of another Secret.
pub const BASE_ELSEWHERE: u8 = 3;

/// No use was reported.
pub const UNUSED: u8 = 0;
/// A use was reported, and none within the quiet period.
pub const QUIET: u8 = 1;
/// A use was reported within the quiet period.
pub const BUSY: u8 = 2;

/// An entry: its epoch, state, nonce and use, and whether a server revoked it by its id.
pub type Entry = (u8, u8, u8, u8, bool);

/// What one pass has read, reduced to what matters.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Seen {
    /// Entries, `high`, `base`, and whether the Secret is being recreated.
    pub credential: Option<(Vec<Entry>, u8, u8, bool)>,
    pub secret: Option<SecretSeen>,
    pub owner: Option<OwnerSeen>,
    /// Whether the newest entry was made just now.
    pub fresh: bool,
    /// Whether the namespace has no mints left, and another owner's claim on the Secret's name comes first.
    pub refused: bool,
    /// The number of this pass's writes that have succeeded.
    pub successes: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct SecretSeen {
    /// Whether it belongs to the owner.
    pub is_ours: bool,
    /// Whether it is still the placeholder that the operator created.
    pub is_placeholder: bool,
    pub holds: u8,
    pub flaw: u8,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct OwnerSeen {
    pub revoked: bool,
    pub nonce: u8,
    pub status_epoch: u8,
    pub status_nonce: u8,
}

/// The next request of the driver.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asked {
    GetCredential,
    GetSecret,
    GetOwner,
    /// No request: the pass is done. The status should show this epoch and nonce, if any.
    Idle(Option<(u8, u8)>),
    /// No request: the pass waits for another operator's write.
    Wait,
    /// The pass reads all objects again, after a write that only looks like one of a recreation.
    StartOver,
    Placeholder,
    DeleteSecret,
    Fence,
    Repair,
    /// The kept entries as old index and new state, and the epoch and nonce of a new entry.
    WriteCredential {
        kept: Vec<(u8, u8)>,
        push: Option<(u8, u8)>,
        /// Whether the Secret is to be recreated.
        replacing: bool,
    },
}

/// The real code under one policy.
pub struct Real {
    policy: OnSecretDeleted,
    /// Whether the previous token ends early once it is quiet and the newest is in use.
    adoption: bool,
    mac: MacKey,
    tokens: Vec<Minted>,
    memo: HashMap<Seen, Asked>,
    pub runs: usize,
}

const QUIET_PERIOD: SignedDuration = SignedDuration::from_hours(1);

const UID: &str = "11111111-1111-4111-8111-111111111111";
const OTHER_UID: &str = "22222222-2222-4222-8222-222222222222";

fn now() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn identity() -> ObjectKey {
    ObjectKey::new("platform", "id")
}

fn target() -> Target {
    Target {
        owner: CredentialOwner {
            kind: OwnerKind::ServiceAccessToken,
            namespace: "team".into(),
            name: "ci".into(),
            uid: UID.into(),
        },
        identity: identity(),
        secret_name: "ci-token".into(),
    }
}

fn nonce_requests(nonce: u8) -> RotationRequests {
    RotationRequests {
        annotation: (nonce > 0).then(|| nonce.to_string()),
        trigger: None,
    }
}

fn nonce_text(nonce: u8) -> Option<String> {
    encode_requests(&nonce_requests(nonce))
}

fn nonce_number(text: Option<&str>) -> u8 {
    decode_requests(text)
        .annotation
        .map_or(0, |text| text.parse().unwrap())
}

impl Real {
    pub fn new(policy: OnSecretDeleted, adoption: bool) -> Self {
        let mint = |seed| {
            reference::mint(
                &Prefix::default(),
                Kind::ServiceAccessToken,
                &mut SeededEntropy::new(seed),
            )
        };
        Self {
            policy,
            adoption,
            mac: MacKey::from_bytes(&[7; 32]).unwrap(),
            tokens: (0..=u64::from(UNKNOWN)).map(mint).collect(),
            memo: HashMap::new(),
            runs: 0,
        }
    }

    /// The order of the reads of a pass, as the driver makes them.
    pub fn reads(&mut self) -> [Asked; 3] {
        let seen = Seen {
            credential: None,
            secret: None,
            owner: None,
            fresh: false,
            refused: false,
            successes: 0,
        };
        let replies = self.replies(&seen);
        [0, 1, 2].map(|count| {
            let replies = replies.iter().take(count).map(Reply::again).collect();
            match self.run(&seen, replies) {
                Stopped::Asked(Request::GetCredential) => Asked::GetCredential,
                Stopped::Asked(Request::GetSecret) => Asked::GetSecret,
                Stopped::Asked(Request::GetOwner) => Asked::GetOwner,
                other => panic!("a pass begins with three reads, not {other:?}"),
            }
        })
    }

    /// The next request of the driver after it has read `seen`.
    pub fn next(&mut self, seen: &Seen) -> Asked {
        if let Some(asked) = self.memo.get(seen) {
            return asked.clone();
        }
        let asked = self.ask(seen);
        self.memo.insert(seen.clone(), asked.clone());
        asked
    }

    fn ask(&mut self, seen: &Seen) -> Asked {
        let mut replies = self.replies(seen);
        replies.extend((0..seen.successes).map(|_| Reply::Success));
        match self.run(seen, replies) {
            Stopped::Asked(request) => self.small(seen, request),
            Stopped::Settled(outcome) => settled(&outcome),
        }
    }

    /// The real objects of a situation, in the order of the reads.
    fn replies(&self, seen: &Seen) -> Vec<Reply> {
        vec![
            Reply::Credential(seen.credential.as_ref().map(|_| self.credential(seen))),
            Reply::Secret(seen.secret.map(|_| self.secret(seen))),
            Reply::Owner(seen.owner.map(owner_object)),
        ]
    }

    fn run(&mut self, seen: &Seen, replies: Vec<Reply>) -> Stopped {
        self.runs += 1;
        let script = Script {
            replies: Mutex::new(replies.into()),
            asked: Mutex::new(None),
        };
        let standing = self.standing(seen);
        let mut rules = Rules::new(&self.mac);
        rules.mints_per_owner = 1000;
        let issuer = SecretIssuer {
            cluster: &script,
            rules,
            budget: &MintBudget::default(),
            now: &now,
            judge: &|_| standing.clone(),
        };
        let target = target();
        let mut entropy = SeededEntropy::new(1000);
        let future = pin!(issue(&issuer, &target, &mut entropy));
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(outcome) => Stopped::Settled(outcome),
            Poll::Pending => Stopped::Asked(
                script
                    .asked
                    .lock()
                    .unwrap()
                    .take()
                    .expect("it waits for the reply to a request"),
            ),
        }
    }

    fn standing(&self, seen: &Seen) -> Standing {
        let owner = seen.owner.unwrap_or(OwnerSeen {
            revoked: false,
            nonce: 0,
            status_epoch: 0,
            status_nonce: 0,
        });
        if owner.revoked {
            return Standing::Revoked;
        }
        Standing::Wanted(Box::new(Desired {
            owner: target().owner,
            identity: identity(),
            issuer: "https://id.example.com".into(),
            client: IssuedClient {
                name: "app".into(),
                uid: "c".into(),
                client_id: "team.app".into(),
            },
            principal: "team:app".into(),
            scopes: vec!["read".into()],
            kind: SecretKind::ServiceToken,
            prefix: Prefix::default(),
            secret_name: "ci-token".into(),
            key_alias: None,
            template: None,
            metadata: std::sync::Arc::default(),
            inherited: std::sync::Arc::default(),
            existing_key: None,
            rival: seen
                .refused
                .then(|| Problem::error(Reason::SecretConflict, "/spec", "a rival")),
            withheld: Vec::new(),
            lifetime: Lifetime::For(SignedDuration::from_hours(24 * 60)),
            rotation: RotationRules {
                adoption: self.adoption.then_some(QUIET_PERIOD),
                renew_before: Some(SignedDuration::from_hours(24)),
                overlap: SignedDuration::from_hours(6),
                on_secret_deleted: self.policy,
                requests: nonce_requests(owner.nonce),
            },
            mints_per_hour: if seen.refused { 0 } else { 1_000_000 },
            revoke_issued_before: None,
        }))
    }

    fn credential(&self, seen: &Seen) -> Credential {
        let (entries, high, base, replacing) = seen.credential.as_ref().unwrap();
        let mut credential = Credential {
            metadata: ObjectMeta {
                namespace: Some("platform".into()),
                name: Some(UID.into()),
                uid: Some("credential".into()),
                resource_version: Some("7".into()),
                ..ObjectMeta::default()
            },
            spec: CredentialSpec {
                identity: LocalRef { name: "id".into() },
                owner: target().owner,
                high: i64::from(*high),
                base: base_version(*base),
                tokens: Vec::new(),
                memory: CredentialMemory {
                    replacing: replacing.then(|| "another".to_owned()),
                    ..CredentialMemory::default()
                },
            },
            status: None,
        };
        for (place, entry) in entries.iter().enumerate() {
            let is_fresh = seen.fresh && place + 1 == entries.len();
            let status = credential.status.get_or_insert_default();
            status.uses.extend(use_of(*entry));
            if entry.4 {
                status.revoked.push(self.tokens[place].id.to_string());
            }
            let entry = Self::entry(*entry, &self.tokens[place], is_fresh);
            credential.spec.tokens.push(entry);
        }
        for place in 0..entries.len() {
            let entry = &credential.spec.tokens[place];
            let hash: TokenHash = entry.hash.parse().unwrap();
            let seal = mac::seal(&self.mac, &sealed(&credential, entry, &hash).unwrap());
            credential.spec.tokens[place].mac = seal.to_string();
        }
        credential
    }

    fn entry((epoch, state, nonce, ..): Entry, token: &Minted, is_fresh: bool) -> CredentialEntry {
        let in_hours = |hours| Moment(now() + SignedDuration::from_hours(hours));
        CredentialEntry {
            epoch: i64::from(epoch),
            token_id: token.id.to_string(),
            hash: token.hash.to_string(),
            client: CredentialClient {
                name: "app".into(),
                uid: "c".into(),
            },
            principal: "team:app".into(),
            scopes: vec!["read".into()],
            issued_at: in_hours(if is_fresh { 0 } else { -24 }),
            expires_at: Some(in_hours(if state == EXPIRED { -1 } else { 24 * 30 })),
            not_after: match state {
                CLOSING => Some(in_hours(3)),
                DEAD => Some(in_hours(-1)),
                _ => None,
            },
            nonce: nonce_text(nonce),
            cause: Cause::Initial,
            mac: String::new(),
        }
    }

    fn secret(&self, seen: &Seen) -> SecretObject {
        let SecretSeen {
            is_ours,
            is_placeholder,
            holds,
            flaw,
        } = seen.secret.unwrap();
        let mut owner = target().owner;
        if !is_ours {
            owner.uid = OTHER_UID.into();
        }
        let mut secret = SecretObject::placeholder(&target().secret_key(), &owner, "Opaque");
        match holds {
            NOTHING => {}
            GARBAGE => secret.set_text("token", "correct horse battery staple"),
            place => {
                let place = if place == UNKNOWN { UNKNOWN } else { place - 1 };
                secret.set_text("token", self.tokens[usize::from(place)].token.expose());
            }
        }
        if !is_placeholder {
            secret.unmark();
        }
        if holds != NOTHING {
            secret.set_text(
                "issuer",
                if flaw == EDITED {
                    "https://evil.example.com"
                } else {
                    "https://id.example.com"
                },
            );
        }
        let mut manifest = secret.expose().clone();
        if flaw == RETYPED {
            manifest.insert("type".into(), "kubernetes.io/basic-auth".into());
        }
        if flaw == STRIPPED {
            manifest["metadata"]
                .as_object_mut()
                .unwrap()
                .remove("ownerReferences");
        }
        stored(manifest, "secret", "read")
    }

    /// Turns a request of the driver into its small form, and checks what the search relies on.
    fn small(&mut self, seen: &Seen, request: Request) -> Asked {
        match request {
            Request::CreateSecret(placeholder) => {
                assert!(
                    !placeholder.has_text("token"),
                    "a create cannot be fenced, so it must not carry a token"
                );
                Asked::Placeholder
            }
            Request::DeleteSecret(only) => {
                assert!(
                    !seen.refused,
                    "a Secret that will get no token must not be deleted"
                );
                assert_eq!(
                    (only.uid.as_str(), only.resource_version.as_str()),
                    ("secret", "read")
                );
                Asked::DeleteSecret
            }
            Request::ReplaceSecret(secret) => {
                let read = self.secret(seen);
                assert_eq!(
                    secret.version(),
                    read.version(),
                    "the write is conditioned on the version that was read"
                );
                assert!(
                    secret.expose() != read.expose(),
                    "a write without a change would not make a new version"
                );
                assert_eq!(
                    secret.text("token"),
                    read.text("token"),
                    "only a push may change the token"
                );
                let is_fence = secret.expose().get("data") == read.expose().get("data")
                    && secret.expose()["metadata"]["ownerReferences"]
                        == read.expose()["metadata"]["ownerReferences"];
                if is_fence {
                    Asked::Fence
                } else {
                    Asked::Repair
                }
            }
            Request::CreateCredential(credential) => {
                assert!(seen.credential.is_none());
                self.small_credential(seen, &credential)
            }
            Request::ReplaceCredential(credential) => {
                assert_eq!(
                    credential.metadata.resource_version.as_deref(),
                    seen.credential.as_ref().map(|_| "7"),
                    "compare-and-swap"
                );
                assert!(seen.credential.is_some() || seen.successes > 0);
                self.small_credential(seen, &credential)
            }
            // A revocation or a retirement during a recreation keeps the announcement.
            Request::GetCredential if seen.successes > 0 => Asked::StartOver,
            other => panic!("not a request of the protocol: {other:?} after {seen:?}"),
        }
    }

    fn small_credential(&mut self, seen: &Seen, credential: &Credential) -> Asked {
        let (old, high, base, _) = seen.credential.clone().unwrap_or_default();
        let mut kept = Vec::new();
        let mut push = None;
        assert!(
            credential.spec.tokens.iter().all(|entry| {
                !is_token_revoked(credential, &entry.token_id) || state_of(entry) >= DEAD
            }),
            "any write of the Credential gives revoked tokens their end"
        );
        for entry in &credential.spec.tokens {
            assert!(
                is_sealed(&self.mac, credential, entry),
                "every entry is sealed"
            );
            assert!(push.is_none(), "the new entry is the last");
            match (0..old.len()).find(|place| self.tokens[*place].hash.to_string() == entry.hash) {
                Some(place) => kept.push((u8::try_from(place).unwrap(), state_of(entry))),
                None => {
                    push = Some((
                        u8::try_from(entry.epoch).unwrap(),
                        nonce_number(entry.nonce.as_deref()),
                    ));
                }
            }
        }
        assert!(kept.is_sorted());
        let spec = &credential.spec;
        match push {
            Some((epoch, _)) => {
                assert_eq!(spec.high, i64::from(epoch));
                let created = seen.successes > 0;
                assert_eq!(
                    spec.base,
                    Some(if created {
                        created_version()
                    } else {
                        base_version(BASE_READ).unwrap()
                    })
                );
                self.check_reveal(seen, credential);
            }
            None => assert_eq!(
                (spec.high, spec.base.clone()),
                (i64::from(high), base_version(base))
            ),
        }
        let replacing = spec.memory.replacing.is_some();
        assert!(
            push.is_none() || !replacing,
            "a new token ends the announced replacement"
        );
        Asked::WriteCredential {
            kept,
            push,
            replacing,
        }
    }

    /// Checks that the driver writes the token into the Secret after the record, on condition of `base`, and only if
    /// the record succeeded.
    fn check_reveal(&mut self, seen: &Seen, credential: &Credential) {
        let mut before = self.replies(seen);
        before.extend((0..seen.successes).map(|_| Reply::Success));
        let mut replies: Vec<Reply> = before.iter().map(Reply::again).collect();
        replies.push(Reply::Success);
        let Stopped::Asked(Request::ReplaceSecret(secret)) = self.run(seen, replies) else {
            panic!("a push must end with a write of the Secret");
        };
        assert_eq!(Some(secret.version()), credential.spec.base);
        let hash = TokenHash::of(secret.text("token").unwrap().expose());
        assert_eq!(
            credential.spec.tokens.last().unwrap().hash,
            hash.to_string()
        );
        let failures = [
            ApiError::Conflict,
            ApiError::AlreadyExists,
            ApiError::NotFound,
            ApiError::Forbidden("no".into()),
            ApiError::Invalid("no".into()),
            ApiError::Unknown("no".into()),
            ApiError::Unavailable("no".into()),
        ];
        for error in failures {
            let mut replies: Vec<Reply> = before.iter().map(Reply::again).collect();
            replies.push(Reply::Failure(error.clone()));
            let stopped = self.run(seen, replies);
            let is_over = matches!(
                stopped,
                Stopped::Asked(Request::GetCredential)
                    | Stopped::Settled(PassOutcome { result: Err(_), .. })
            );
            assert!(
                is_over,
                "record before reveal: the driver went on after {error}: {stopped:?}"
            );
        }
    }
}

/// The use of an entry that servers reported. A token that is in use now has been in use for long, and was last
/// reported one interval ago.
fn use_of((epoch, _, _, used, _): Entry) -> Option<TokenUse> {
    let ago = |hours| Moment(now() - QUIET_PERIOD * hours);
    let last = match used {
        UNUSED => return None,
        QUIET => ago(3),
        _ => Moment(now() - QUIET_PERIOD / 6),
    };
    Some(TokenUse {
        epoch: i64::from(epoch),
        first_used: ago(4),
        last_used: last,
    })
}

fn settled(outcome: &PassOutcome) -> Asked {
    match outcome.result.as_ref().expect("nothing failed") {
        Settled::Done { facts, .. } => Asked::Idle(Some((
            u8::try_from(facts.epoch).unwrap(),
            nonce_number(facts.nonce.as_deref()),
        ))),
        Settled::Waiting { .. } => Asked::Wait,
        _ => Asked::Idle(None),
    }
}

fn state_of(entry: &CredentialEntry) -> u8 {
    if entry.expires_at.is_some_and(|end| end.0 <= now()) {
        return EXPIRED;
    }
    match entry.not_after {
        Some(moment) if moment.0 <= now() => DEAD,
        Some(_) => CLOSING,
        None => LIVE,
    }
}

fn base_version(base: u8) -> Option<SecretVersion> {
    match base {
        BASE_NONE => None,
        BASE_READ => Some(SecretVersion {
            secret_uid: "secret".into(),
            secret_version: "read".into(),
        }),
        _ => Some(SecretVersion {
            secret_uid: if base == BASE_OTHER { "secret" } else { "gone" }.into(),
            secret_version: "other".into(),
        }),
    }
}

fn created_version() -> SecretVersion {
    SecretVersion {
        secret_uid: "created".into(),
        secret_version: "1".into(),
    }
}

fn stored(mut manifest: serde_json::Map<String, Value>, uid: &str, version: &str) -> SecretObject {
    manifest["metadata"]["uid"] = uid.into();
    manifest["metadata"]["resourceVersion"] = version.into();
    SecretObject::new(manifest)
}

fn owner_object(owner: OwnerSeen) -> Value {
    json!({
        "metadata": { "uid": UID },
        "status": { "epoch": owner.status_epoch, "rotationNonce": nonce_text(owner.status_nonce) },
    })
}

/// Where the driver stopped.
#[derive(Debug)]
enum Stopped {
    Asked(Request),
    Settled(PassOutcome),
}

#[derive(Debug)]
enum Request {
    GetCredential,
    GetSecret,
    GetOwner,
    CreateCredential(Credential),
    ReplaceCredential(Credential),
    CreateSecret(SecretObject),
    ReplaceSecret(SecretObject),
    DeleteSecret(Precondition),
    DeleteCredential,
}

enum Reply {
    Credential(Option<Credential>),
    Secret(Option<SecretObject>),
    Owner(Option<Value>),
    Success,
    Failure(ApiError),
}

impl Reply {
    fn again(&self) -> Self {
        match self {
            Self::Credential(it) => Self::Credential(it.clone()),
            Self::Secret(it) => Self::Secret(it.clone()),
            Self::Owner(it) => Self::Owner(it.clone()),
            Self::Success => Self::Success,
            Self::Failure(it) => Self::Failure(it.clone()),
        }
    }
}

/// Replies from a list. Once the list is empty, it records the request and never replies.
struct Script {
    replies: Mutex<VecDeque<Reply>>,
    asked: Mutex<Option<Request>>,
}

impl Script {
    async fn reply(&self, request: impl FnOnce() -> Request) -> Reply {
        let reply = self.replies.lock().unwrap().pop_front();
        if let Some(reply) = reply {
            reply
        } else {
            *self.asked.lock().unwrap() = Some(request());
            pending().await
        }
    }

    async fn write<T>(
        &self,
        request: impl FnOnce() -> Request,
        result: impl FnOnce() -> T,
    ) -> Result<T, ApiError> {
        match self.reply(request).await {
            Reply::Success => Ok(result()),
            Reply::Failure(error) => Err(error),
            _ => panic!("a write is answered by success or failure"),
        }
    }
}

impl Cluster for Script {
    async fn credential(&self, _: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        match self.reply(|| Request::GetCredential).await {
            Reply::Credential(it) => Ok(it),
            _ => panic!("the replies are in another order"),
        }
    }

    async fn secret(&self, _: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        match self.reply(|| Request::GetSecret).await {
            Reply::Secret(it) => Ok(it),
            _ => panic!("the replies are in another order"),
        }
    }

    async fn owner(&self, _: OwnerKind, _: &ObjectKey) -> Result<Option<Value>, ApiError> {
        match self.reply(|| Request::GetOwner).await {
            Reply::Owner(it) => Ok(it),
            _ => panic!("the replies are in another order"),
        }
    }

    async fn create_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        self.write(
            || Request::CreateCredential(credential.clone()),
            || credential.clone(),
        )
        .await
    }

    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        self.write(
            || Request::ReplaceCredential(credential.clone()),
            || credential.clone(),
        )
        .await
    }

    async fn delete_credential(&self, _: &ObjectKey, _: &Precondition) -> Result<(), ApiError> {
        self.write(|| Request::DeleteCredential, || ()).await
    }

    async fn create_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        self.write(
            || Request::CreateSecret(secret.clone()),
            || stored(secret.expose().clone(), "created", "1"),
        )
        .await
    }

    async fn replace_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        self.write(|| Request::ReplaceSecret(secret.clone()), || secret.clone())
            .await
    }

    async fn delete_secret(&self, _: &ObjectKey, only: &Precondition) -> Result<(), ApiError> {
        self.write(|| Request::DeleteSecret(only.clone()), || ())
            .await
    }
}
