//! The enrolment Secret of a User: `<user>-enrollment`, with the link by which the person sets a password.
//!
//! The annotation `symbolon.dev/enroll` asks for it. The time of the link is in the status before any Secret has the
//! link, and the link follows from this time and the Identity's mac key. So each value of the annotation leads to one
//! link, whatever happens to the Secret or the operator, and none after that one has expired. A value that goes is
//! withdrawn for ever: the status says so before the Secret is deleted, and names earlier values too, so that a value that
//! comes back, as under GitOps, gets no link and revives none. The Secret is deleted when the link expires or nothing asks
//! for it any more. Not here: whether the link was used, which only the store knows.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use zeroize::Zeroizing;

use super::cluster::Cluster;
use super::cluster::api::{ApiError, Precondition};
use super::cluster::forms::write_secret;
use super::cluster::inherited::{self, Keeps};
use super::cluster::secret::{Ownership, SecretObject, SecretOwner};
use crate::directory::tables::record::{Object, UserRecord};
use crate::directory::{Directory, ObjectKey, Problem, Reason, revoked_before};
use crate::oauth::Endpoint;
use crate::people::enrolment::{Enrolled, MAX_LIFETIME, issue};
use crate::people::later;
use crate::resources::{
    EarlierEnrollment, EnrollmentStatus, InheritedMetadata, Kind, MOST_EARLIER_LINKS, Moment,
    Template,
};
use crate::tokens::{MacKey, TokenHash};

/// The data key with the address that the person opens.
pub const URL: &str = "url";
const SUFFIX: &str = "-enrollment";
/// Steps of one pass: a Secret that cannot be changed is deleted and created.
const MAX_STEPS: usize = 3;

/// Returns the name of a User's enrolment Secret.
pub fn secret_of(user: &ObjectKey) -> ObjectKey {
    ObjectKey::new(&user.namespace, &format!("{}{SUFFIX}", user.name))
}

/// Returns the User whose enrolment Secret would have this name.
pub(super) fn user_of(secret: &ObjectKey) -> Option<ObjectKey> {
    let name = secret.name.strip_suffix(SUFFIX)?;
    Some(ObjectKey::new(&secret.namespace, name))
}

/// Returns the last link of a live User, as its status says.
pub fn remembered(live: &Value) -> Option<EnrollmentStatus> {
    serde_json::from_value(live["status"]["enrollment"].clone()).ok()
}

/// Returns when the time of a live User last ended, as its status says.
pub fn ended_at(live: &Value) -> Option<Timestamp> {
    let moment: Option<Moment> = serde_json::from_value(live["status"]["endedAt"].clone()).ok();
    moment.map(|moment| moment.0)
}

/// Returns when a link expires. The server computes this too: `expiresAt` in the status is only for people.
pub fn end(link: &EnrollmentStatus) -> Timestamp {
    later(link.issued_at.0, MAX_LIFETIME)
}

/// A link that a User should have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Wanted {
    /// The User's Identity, whose mac key makes the link.
    pub identity: ObjectKey,
    /// The address of the page, without the link.
    page: String,
    nonce: Arc<str>,
    /// A link from before this time does not work.
    valid_after: Option<Timestamp>,
    inherited: Arc<InheritedMetadata>,
}

/// Returns the time from which on links of a User work, if there is one. It is in whole seconds, as the times of links
/// are.
pub fn valid_after(directory: &Directory, user: &Object<UserRecord>) -> Option<Timestamp> {
    let record = user.record()?;
    let identity = directory.served_identity(record.identity.as_ref()?).ok()?;
    revoked_before(identity.record, record).map(in_whole_seconds)
}

/// Returns the first whole second that is not before a moment.
pub fn in_whole_seconds(moment: Timestamp) -> Timestamp {
    let second = Timestamp::from_second(moment.as_second()).unwrap_or(moment);
    if second == moment {
        moment
    } else {
        later(second, Duration::from_secs(1))
    }
}

impl Wanted {
    /// Returns the link that a User should have whose time last ended at `ended_at`: the servers accept none from before it.
    /// `None` if a link would not work yet.
    pub fn after(self, ended_at: Option<Timestamp>, now: Timestamp) -> Option<Self> {
        let valid_after = self.valid_after.max(ended_at.map(in_whole_seconds));
        let is_early = valid_after.is_some_and(|moment| now < moment);
        (!is_early).then_some(Self {
            valid_after,
            ..self
        })
    }
}

/// Returns the link that a User should have now. One who could not sign in with a password, or whose link would not
/// work yet, gets none.
pub fn wanted(directory: &Directory, user: &Object<UserRecord>, now: Timestamp) -> Option<Wanted> {
    let record = user.record()?;
    let nonce = record.enroll.as_ref().filter(|nonce| !nonce.is_empty())?;
    if record.has_ended(now) || !directory.user_problems(user).is_empty() {
        return None;
    }
    let identity = directory.served_identity(record.identity.as_ref()?).ok()?;
    let wanted = identity.record.has_passwords.then(|| Wanted {
        valid_after: valid_after(directory, user),
        identity: identity.object.key.clone(),
        page: Endpoint::Enrolment.url(&identity.record.issuer),
        nonce: nonce.clone(),
        inherited: identity.record.inherited.clone(),
    });
    wanted?.after(None, now)
}

/// What a pass knows of a User's link.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    /// The User.
    pub user: &'a Object<UserRecord>,
    /// The link that it should have, and the key that makes it.
    pub wanted: Option<(&'a Wanted, &'a MacKey)>,
    /// The last link, as the status says.
    pub memory: Option<&'a EnrollmentStatus>,
    /// The live Secret.
    pub secret: Option<&'a SecretObject>,
}

/// What a pass does next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// Record a new link in the status, or that the last one was withdrawn.
    Record(EnrollmentStatus),
    /// Write the Secret in the first of these forms that the API server does not refuse.
    Write {
        /// Whether the Secret does not exist yet.
        is_new: bool,
        /// The forms, leaner and leaner.
        forms: Vec<SecretObject>,
    },
    /// Delete the Secret.
    Delete(Precondition),
    /// Nothing.
    Settled(LinkState),
}

/// How far a User's link is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// There is none, and nothing asks for one that could be used.
    None,
    /// The Secret will hold it soon.
    Issuing,
    /// The Secret holds it.
    Held,
    /// It has expired, and the annotation still asks for it.
    Expired,
    /// `revokeIssuedBefore`, or an end of the person's time, has ended it, and the annotation still asks for it.
    Revoked,
    /// The annotation asks again for one that was withdrawn.
    Withdrawn,
    /// The Secret cannot hold it.
    Blocked(Problem),
}

/// Returns the first step that applies.
pub fn plan(view: View<'_>, now: Timestamp) -> Step {
    let View {
        user,
        wanted,
        memory,
        secret,
    } = view;
    let is_again = wanted.is_some_and(|(wanted, _)| was_withdrawn(memory, &wanted.nonce));
    let (wanted, mac) = match wanted {
        Some(wanted) if !is_again => wanted,
        _ => {
            let state = if is_again {
                LinkState::Withdrawn
            } else {
                LinkState::None
            };
            let withdrawn = memory.and_then(|memory| withdrawn(user, memory, now));
            return withdrawn.map_or_else(|| without(user, secret, state), Step::Record);
        }
    };
    // A time in the future would make the link last longer.
    let known = memory.filter(|it| *it.nonce == *wanted.nonce && it.issued_at.0 <= now);
    let Some(known) = known else {
        return Step::Record(begun(&wanted.nonce, memory, now));
    };
    if now >= end(known) {
        return without(user, secret, LinkState::Expired);
    }
    if wanted
        .valid_after
        .is_some_and(|after| known.issued_at.0 < after)
    {
        return without(user, secret, LinkState::Revoked);
    }
    let Some(url) = url(user, wanted, mac, known.issued_at.0) else {
        let message = "no enrolment link can be made for the uid of this object";
        return blocked(Reason::Invalid, message.to_owned());
    };
    with(user, &wanted.inherited, &url, secret)
}

/// Returns whether a link was made for a value that was withdrawn later.
fn was_withdrawn(memory: Option<&EnrollmentStatus>, nonce: &str) -> bool {
    memory.is_some_and(|memory| {
        let hash = hash(nonce);
        (memory.nonce == nonce && memory.withdrawn_at.is_some())
            || (memory.nonce != nonce && memory.earlier.iter().any(|link| link.hash == hash))
    })
}

fn hash(nonce: &str) -> String {
    TokenHash::of(nonce).to_string()
}

/// Returns the last link with the time of its withdrawal, if this is not recorded yet. Of a User who is invalid it is not
/// known what the annotation says.
fn withdrawn(
    user: &Object<UserRecord>,
    memory: &EnrollmentStatus,
    now: Timestamp,
) -> Option<EnrollmentStatus> {
    let record = user.record()?;
    let is_gone = record.enroll.as_deref() != Some(&*memory.nonce);
    (is_gone && memory.withdrawn_at.is_none()).then(|| EnrollmentStatus {
        withdrawn_at: Some(Moment(now)),
        ..memory.clone()
    })
}

/// Returns a link that begins now, in whole seconds as the link says it.
fn begun(nonce: &str, memory: Option<&EnrollmentStatus>, now: Timestamp) -> EnrollmentStatus {
    let last = memory.filter(|memory| memory.nonce != nonce);
    let last = last.map(|memory| EarlierEnrollment {
        hash: hash(&memory.nonce),
        issued_at: memory.issued_at,
    });
    let earlier = memory.into_iter().flat_map(|memory| memory.earlier.clone());
    let issued_at = Timestamp::from_second(now.as_second()).unwrap_or(now);
    EnrollmentStatus {
        nonce: nonce.to_owned(),
        issued_at: Moment(issued_at),
        expires_at: Moment(later(issued_at, MAX_LIFETIME)),
        withdrawn_at: None,
        earlier: last
            .into_iter()
            .chain(earlier)
            .take(MOST_EARLIER_LINKS)
            .collect(),
    }
}

fn url(
    user: &Object<UserRecord>,
    wanted: &Wanted,
    mac: &MacKey,
    issued_at: Timestamp,
) -> Option<Zeroizing<String>> {
    let person = Enrolled {
        namespace: &wanted.identity.namespace,
        identity: &wanted.identity.name,
        uid: &user.uid,
        nonce: &wanted.nonce,
    };
    let link = issue(mac, person, MAX_LIFETIME, issued_at).ok()?;
    let url = format!("{}?link={}", wanted.page, link.expose());
    Some(Zeroizing::new(url))
}

fn owner(user: &Object<UserRecord>) -> SecretOwner<'_> {
    SecretOwner {
        kind: Kind::User,
        name: &user.key.name,
        uid: &user.uid,
    }
}

fn is_ours(user: &Object<UserRecord>, secret: &SecretObject) -> bool {
    let ownership = secret.ownership(owner(user));
    matches!(ownership, Ownership::Ours | Ownership::Adoptable)
}

/// Returns the step of a User without a link.
fn without(user: &Object<UserRecord>, secret: Option<&SecretObject>, state: LinkState) -> Step {
    let left = secret.filter(|secret| is_ours(user, secret) && !secret.is_deleting());
    left.map_or(Step::Settled(state), |secret| {
        Step::Delete(secret.precondition())
    })
}

/// Returns the step of a User with a link.
fn with(
    user: &Object<UserRecord>,
    inherited: &InheritedMetadata,
    url: &str,
    secret: Option<&SecretObject>,
) -> Step {
    let change = |mut secret: SecretObject| {
        secret.claim(owner(user));
        secret.set_text(URL, url);
        secret.unmark();
        secret
    };
    let filled = |secret: SecretObject| inherited::filled(&secret, inherited).unwrap_or(secret);
    let Some(secret) = secret else {
        let key = secret_of(&user.key);
        let bare = change(SecretObject::placeholder(
            &key,
            owner(user),
            Template::OPAQUE,
        ));
        let mut forms = vec![filled(bare.clone()), bare];
        forms.dedup();
        return Step::Write {
            is_new: true,
            forms,
        };
    };
    if secret.ownership(owner(user)) == Ownership::Foreign {
        let message = format!(
            "the Secret {} belongs to another object: delete or rename it, so that the operator can write the enrolment link",
            secret.key()
        );
        return blocked(Reason::SecretConflict, message);
    }
    // A Secret of an earlier User of this name is about to be deleted.
    if secret.is_deleting() || !is_ours(user, secret) {
        return Step::Settled(LinkState::Issuing);
    }
    let wanted = filled(change(secret.clone()));
    if wanted == *secret {
        return Step::Settled(LinkState::Held);
    }
    if secret.is_immutable() || !secret.has_type(Template::OPAQUE) {
        return Step::Delete(secret.precondition());
    }
    let lean = Keeps::ALL.map(|keeps| change(keeps.of_secret(secret)));
    let mut forms: Vec<_> = std::iter::once(wanted).chain(lean).collect();
    forms.dedup();
    Step::Write {
        is_new: false,
        forms,
    }
}

fn blocked(reason: Reason, message: String) -> Step {
    Step::Settled(LinkState::Blocked(Problem::error(reason, "", message)))
}

/// What a pass found and did.
#[derive(Debug)]
pub enum Found {
    /// The caller must first record this link, or its withdrawal, then start over.
    Unrecorded(EnrollmentStatus),
    /// Everything is done that can be done now.
    Settled {
        /// How far the link is.
        state: LinkState,
        /// What was done to the Secret.
        done: Vec<Done>,
        /// Why the Secret could not be written as it should be, if it was written.
        refused: Option<ApiError>,
    },
}

/// What was done to a Secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Done {
    /// It got a link.
    Written,
    /// It was deleted, because its link is over.
    Deleted,
}

/// Brings the Secret of a User to what the link should be. Without a link that is wanted or remembered, no Secret is
/// read.
///
/// # Errors
/// Errors of the API server.
pub async fn ensure<C: Cluster>(
    cluster: &C,
    user: &Object<UserRecord>,
    wanted: Option<(&Wanted, &MacKey)>,
    memory: Option<&EnrollmentStatus>,
    now: Timestamp,
) -> Result<Found, ApiError> {
    let key = secret_of(&user.key);
    let (mut done, mut refused) = (Vec::new(), None);
    let settled = |state, done, refused| Found::Settled {
        state,
        done,
        refused,
    };
    if wanted.is_none() && memory.is_none() {
        return Ok(settled(LinkState::None, done, refused));
    }
    let mut secret = cluster.secret(&key).await?;
    for _ in 0..MAX_STEPS {
        let view = View {
            user,
            wanted,
            memory,
            secret: secret.as_ref(),
        };
        match plan(view, now) {
            Step::Record(link) => return Ok(Found::Unrecorded(link)),
            Step::Settled(state) => return Ok(settled(state, done, refused)),
            Step::Delete(only) => {
                cluster.delete_secret(&key, &only).await?;
                done.push(Done::Deleted);
                // A finalizer may keep it.
                secret = cluster.secret(&key).await?;
            }
            Step::Write { is_new, forms } => {
                let (stored, first) = write_secret(cluster, forms, is_new).await?;
                let had_it = secret.is_some_and(|it| it.text(URL) == stored.text(URL));
                if !had_it {
                    done.push(Done::Written);
                }
                refused = refused.or(first);
                if refused.is_some() {
                    // The link is there, without some labels or annotations.
                    return Ok(settled(LinkState::Held, done, refused));
                }
                secret = Some(stored);
            }
        }
    }
    Ok(settled(LinkState::Issuing, done, refused))
}

#[cfg(test)]
mod tests;
