//! What follows from an Identity with people alone, created once per change.

use std::time::Duration;

use crate::directory::tables::record::{
    IdentityRecord, RefreshSettings, SessionSettings, ThemeRecord,
};
use crate::oauth::endpoint;
use crate::pages::{Theme, ThemeFields};
use crate::people::session::SessionLimits;
use crate::resources::StorageType;
use crate::server::browser::Cookies;
use crate::tokens::Prefix;

/// What the pages and endpoints of people need of the Identity.
#[derive(Debug)]
pub struct PeopleSite {
    /// How the pages look.
    pub theme: Theme,
    /// The cookies.
    pub cookies: Cookies,
    /// The scheme, host and port of the issuer.
    pub origin: String,
    /// The host of the issuer.
    pub host: String,
    /// How long sessions last.
    pub sessions: SessionLimits,
    /// How refresh tokens last.
    pub refresh: RefreshSettings,
    /// How long a code lasts.
    pub code: Duration,
    /// The start of codes, refresh tokens and cookies.
    pub prefix: Prefix,
    /// What it was created from.
    source: Source,
}

#[derive(Clone, Debug, PartialEq)]
struct Source {
    sessions: SessionSettings,
    refresh: RefreshSettings,
    code: jiff::SignedDuration,
    prefix: Prefix,
    theme: ThemeRecord,
}

impl Source {
    /// Returns what an Identity says; `None` if it stores nothing or has no way to sign in, so that it has no people.
    fn of(identity: &IdentityRecord) -> Option<Self> {
        let has_people = identity.storage != StorageType::None && identity.has_passwords;
        has_people.then(|| Self {
            sessions: identity.sessions,
            refresh: identity.refresh,
            code: identity.authorization_code_lifetime,
            prefix: identity.reference_prefix,
            theme: (*identity.theme).clone(),
        })
    }
}

impl PeopleSite {
    /// How long a browser has to present a pushed request.
    pub const PUSHED: Duration = Duration::from_secs(90);
    /// The largest number of pushed requests that the store keeps of one client. Each has at most
    /// [`MAX_STORED`](crate::oauth::authorize::request::MAX_STORED) bytes.
    pub const MAX_PUSHED: u32 = 1000;
    /// The largest number that it keeps of all clients of one namespace: 32 MiB for those that prove who they are, and as
    /// much for public clients, in whose name anyone can push.
    pub const MAX_PUSHED_OF_NAMESPACE: u32 = 2000;

    /// Creates the site of an Identity; `None` if it has no people.
    pub fn new(identity: &IdentityRecord) -> Option<Self> {
        let source = Source::of(identity)?;
        let (origin, _) = endpoint::split(&identity.issuer);
        let (_, authority) = origin.split_once("://")?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let theme = &source.theme;
        let fields = ThemeFields {
            name: theme.name.as_deref().unwrap_or(host),
            logo: theme.logo.as_deref(),
            accent: theme.accent.as_deref(),
            accent_dark: theme.accent_dark.as_deref(),
        };
        // The schema of Identities allows no other theme.
        let plain = || {
            Theme::new(ThemeFields {
                name: host,
                ..ThemeFields::default()
            })
        };
        Some(Self {
            theme: Theme::new(fields).or_else(|_| plain()).ok()?,
            cookies: Cookies::new(&identity.issuer),
            origin: origin.to_owned(),
            host: host.to_owned(),
            sessions: SessionLimits {
                idle: source.sessions.idle,
                absolute: source.sessions.absolute,
                remembered: source.sessions.remembered,
            },
            refresh: source.refresh,
            code: source.code.try_into().unwrap_or_default(),
            prefix: source.prefix,
            source,
        })
    }

    /// Returns whether [`PeopleSite::new`] would create the same again for this Identity, whose issuer is the same.
    pub fn is_same(known: Option<&Self>, identity: &IdentityRecord) -> bool {
        known.map(|known| &known.source) == Source::of(identity).as_ref()
    }
}
