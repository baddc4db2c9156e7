//! What follows from an Identity with people alone, created once per change.

use std::time::Duration;

use super::registry::Rules;
use crate::oauth::endpoint;
use crate::oauth::grants::refresh_token::Settings;
use crate::pages::{Theme, ThemeFields};
use crate::people::session;
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
    pub sessions: session::SessionLimits,
    /// How refresh tokens last.
    pub refresh: Settings,
    /// The start of codes, refresh tokens and cookies.
    pub prefix: Prefix,
    /// What it was created from.
    pub rules: Rules,
}

impl PeopleSite {
    /// How long a code lasts: the time that a browser needs to go to the client (RFC 6749 section 4.1.2 allows ten
    /// minutes).
    pub const CODE: Duration = Duration::from_mins(1);
    /// How long a browser has to present a pushed request.
    pub const PUSHED: Duration = Duration::from_secs(90);
    /// The largest number of pushed requests that one client has open.
    pub const MAX_PUSHED: u32 = 1000;

    /// Creates the site. A theme that cannot be shown is replaced by a plain one: the schema of Identities prevents that.
    pub fn new(issuer: &str, prefix: Prefix, rules: Rules) -> Option<Self> {
        let (origin, _) = endpoint::split(issuer);
        let (_, authority) = origin.split_once("://")?;
        let host = match authority.rsplit_once(':') {
            Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
            _ => authority,
        };
        let fields = ThemeFields {
            name: &rules.name,
            logo: rules.logo.as_deref(),
            accent: rules.accent.as_deref(),
            accent_dark: rules.accent_dark.as_deref(),
        };
        let plain = || {
            Theme::new(ThemeFields {
                name: host,
                ..ThemeFields::default()
            })
        };
        Some(Self {
            theme: Theme::new(fields).or_else(|_| plain()).ok()?,
            cookies: Cookies::new(issuer),
            origin: origin.to_owned(),
            host: host.to_owned(),
            sessions: session::SessionLimits {
                idle: rules.session_idle,
                absolute: rules.session_absolute,
            },
            refresh: rules.refresh,
            prefix,
            rules,
        })
    }
}
