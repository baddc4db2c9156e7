//! What is kept about people: Users, and the parts of Identities and OAuthClients that only people need.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::directory::ObjectKey;
use crate::resources::{
    ConsentPolicy, IdTokenContent, MinimumAcr, RefreshTokenEnd, ResponseType, Role, UserType,
};

/// A valid [`crate::resources::User`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UserRecord {
    /// Identity of the User; `None` if neither the User nor the installation names one.
    pub identity: Option<ObjectKey>,
    /// The `sub` of the person's tokens: the pinned one, or the one derived from the uid.
    pub subject: Arc<str>,
    /// The username as written.
    pub username: Arc<str>,
    /// The address as written.
    pub email: Option<Arc<str>>,
    /// Name for people.
    pub display_name: Option<Arc<str>>,
    /// The groups.
    pub groups: Box<[Arc<str>]>,
    /// Further facts, by name.
    pub attributes: Box<[(Arc<str>, Arc<str>)]>,
    /// Whether the person belongs to the organisation.
    pub kind: UserType,
    /// What the person may do at the Identity itself.
    pub role: Role,
    /// Whether the person may do nothing.
    pub disabled: bool,
    /// When the person's time begins.
    pub not_before: Option<Timestamp>,
    /// When the person's time ends.
    pub not_after: Option<Timestamp>,
    /// Sessions, grants and tokens from before this time are refused.
    pub revoke_issued_before: Option<Timestamp>,
    /// Value of the annotation that asks for an enrolment link; the hash of a long one.
    pub enroll: Option<Arc<str>>,
    /// Which link for this value the operator has recorded in the status.
    pub link: RecordedLink,
    /// When the operator last saw that the person's time ended, as the status says. Sessions, grants and tokens from before
    /// this time are refused.
    pub ended_at: Option<Timestamp>,
}

/// What the status of a User says of the enrolment link for the present value of the annotation. It can only revoke: a
/// link needs a genuine MAC and the annotation too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordedLink {
    /// This process reads no status: it issues links, or is a server without a cluster.
    Unread,
    /// There is none, or it was withdrawn: no link works.
    None,
    /// Only the link that was issued at this time works.
    IssuedAt(Timestamp),
}

impl UserRecord {
    /// Returns the value of the annotation for which a link may work.
    pub fn nonce(&self) -> Option<&str> {
        let nonce = self.enroll.as_deref();
        nonce.filter(|_| self.link != RecordedLink::None)
    }

    /// Returns the time at which a link that works was issued, if it is known.
    pub const fn link_issued_at(&self) -> Option<Timestamp> {
        match self.link {
            RecordedLink::IssuedAt(moment) => Some(moment),
            RecordedLink::Unread | RecordedLink::None => None,
        }
    }

    /// Returns whether the person may do nothing any more: disabled, or past `notAfter`. One whose time has not begun is
    /// not meant.
    pub fn has_ended(&self, now: Timestamp) -> bool {
        self.disabled || self.not_after.is_some_and(|end| end <= now)
    }
}

/// How long people stay signed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SessionSettings {
    /// How long a session lasts without use.
    pub idle: Duration,
    /// How long a session lasts in total.
    pub absolute: Duration,
    /// How long a session lasts in total, used or not, if the person chose to stay signed in.
    pub remembered: Duration,
}

/// How refresh tokens last and rotate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RefreshSettings {
    /// Whether every refresh replaces the token, also for clients that could keep it.
    pub always_rotates: bool,
    /// How long a confidential client's token lasts without use.
    pub confidential: Duration,
    /// How long a public client's token lasts without use.
    pub public: Duration,
    /// How long a replaced token gives the same child.
    pub reuse_grace: Duration,
    /// How long a family lasts in total.
    pub max_age: Duration,
}

/// How the pages of an Identity look. [`crate::directory::admit`] accepts exactly what the pages accept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ThemeRecord {
    /// Name of the organisation or service; `None` for the host of the issuer.
    pub name: Option<Arc<str>>,
    /// URL of the logo.
    pub logo: Option<Arc<str>>,
    /// Colour on a light page.
    pub accent: Option<Arc<str>>,
    /// Colour on a dark page.
    pub accent_dark: Option<Arc<str>>,
}

/// What a client with the grant of authorization codes says about people.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InteractiveRecord {
    /// What an authorization response may contain.
    pub response_types: Box<[ResponseType]>,
    /// The redirect URIs. No other record shares them.
    pub redirect_uris: Box<[Box<str>]>,
    /// The URIs to which people may return after they signed out.
    pub post_logout_redirect_uris: Box<[Box<str>]>,
    /// The origins of the client's pages.
    pub allowed_origins: Box<[Arc<str>]>,
    /// Where the servers tell the client that a session has ended.
    pub backchannel_logout: Option<LogoutRecord>,
    /// What the sign-out page loads in a frame.
    pub frontchannel_logout: Option<LogoutRecord>,
    /// What ends the client's refresh tokens; `None` if the client does not choose.
    pub refresh_tokens_end: Option<RefreshTokenEnd>,
    /// Whether a request needs a `code_challenge`.
    pub needs_pkce: bool,
    /// Whether a request must be pushed.
    pub needs_par: bool,
    /// When people are asked for consent, as the client wants it. The Identity may not let it skip consent.
    pub consent: ConsentPolicy,
    /// The types of people that may use the client.
    pub users: Box<[UserType]>,
    /// Which people may use the client; `None` for all of these types.
    pub access: Option<AccessRecord>,
    /// The weakest sign-in that the client takes.
    pub minimum_acr: Option<MinimumAcr>,
    /// The longest time since the sign-in that the client takes.
    pub max_auth_age: Option<SignedDuration>,
    /// Lifetime of the client's ID tokens; `None` for the Identity's.
    pub id_token_lifetime: Option<SignedDuration>,
    /// What the client's ID tokens say about the person.
    pub id_token_claims: IdTokenContent,
}

/// Where a client is told that a session has ended.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LogoutRecord {
    /// The URI.
    pub uri: Arc<str>,
    /// Whether the client needs the session's id.
    pub session_required: bool,
}

/// Which people may use a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AccessRecord {
    /// Groups whose members may use it.
    pub groups: Box<[Arc<str>]>,
    /// Names of Users that may use it.
    pub users: Box<[Arc<str>]>,
}
