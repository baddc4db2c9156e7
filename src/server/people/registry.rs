//! What resources say about people, in the form that the server asks for it: which people there are, which client may do
//! what, and what of a scope a client and a person have together. Everything is judged against the directory at each use.
//!
//! Not here: what happened, which is in the store.

use std::time::Duration;

use jiff::Timestamp;

use crate::directory::tables::record::IdentityRecord;
use crate::directory::{AcceptedClient, Directory, ObjectKey};
use crate::oauth::authorize::ResponseType;
use crate::oauth::authorize::next::ClientPolicy;
use crate::oauth::authorize::request::Registration;
use crate::oauth::grants::person::Client;
use crate::oauth::grants::refresh_token;
use crate::oauth::person::{Barred, Person, PersonScope};
use crate::people::grant::EndsWith;
use crate::tokens::Algorithm;

/// What an Identity says about its people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a session lasts without use.
    pub session_idle: Duration,
    /// How long a session lasts.
    pub session_absolute: Duration,
    /// How refresh tokens last and rotate.
    pub refresh: refresh_token::Settings,
    /// The name on the pages.
    pub name: String,
    /// The logo on the pages.
    pub logo: Option<String>,
    /// The colour of buttons and links on light pages.
    pub accent: Option<String>,
    /// Their colour on dark pages.
    pub accent_dark: Option<String>,
}

/// A client that may sign people in, as it is registered now.
#[derive(Clone, Debug)]
pub struct Registered<'a> {
    /// The client.
    pub client: Client<'a>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<&'a str>,
    /// The URIs to which it may send a browser after sign-out.
    pub post_logout_redirect_uris: Vec<&'a str>,
    /// The response types that it may use.
    pub response_types: Vec<ResponseType>,
    /// Whether its requests need a `code_challenge`.
    pub needs_pkce: bool,
    /// Whether its requests must be pushed.
    pub needs_par: bool,
    /// What decides about pages.
    pub policy: ClientPolicy,
    /// What else ends its grants, if it says so.
    pub ends_with: Option<EndsWith>,
    /// The origins of its web pages.
    pub allowed_origins: Vec<&'a str>,
    /// Where it is told that a session has ended.
    pub back_channel: Option<&'a str>,
    /// What a frame loads when a session has ended.
    pub front_channel: Option<&'a str>,
    /// The algorithm of its userinfo answers; `None` for plain JSON.
    pub userinfo_algorithm: Option<Algorithm>,
}

impl<'a> Registered<'a> {
    /// Returns what decides about its authorization requests.
    pub fn registration(&self) -> Registration<'_> {
        Registration {
            redirect_uris: &self.redirect_uris,
            response_types: &self.response_types,
            needs_pkce: self.needs_pkce,
            needs_par: self.needs_par,
        }
    }

    /// Returns the client's ID.
    pub fn id(&self) -> &'a str {
        &self.client.accepted.client.record.client_id
    }

    /// Returns the uid of its resource.
    pub fn uid(&self) -> &'a str {
        &self.client.accepted.client.object.uid
    }

    /// Returns the name that people see: the display name, else the ID.
    pub fn name(&self) -> &'a str {
        let record = self.client.accepted.client.record;
        record.display_name.as_deref().unwrap_or(&record.client_id)
    }
}

/// A person whom a resource declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known<'a> {
    /// What the person's account belongs to: the uid of the resource.
    pub owner: &'a str,
    /// The name that the person signs in with.
    pub username: &'a str,
    /// The person's addresses, which a password must not contain.
    pub emails: Vec<&'a str>,
    /// The subject that the resource pins.
    pub subject: Option<&'a str>,
    /// The value of the enrolment annotation.
    pub enrolment: Option<&'a str>,
    /// A hash of a password that the resource brings along.
    pub password_hash: Option<&'a str>,
}

/// Asks the directory about people.
pub trait Registry: Send + Sync + std::fmt::Debug {
    /// Returns what an Identity says about people; `None` if no people sign in there.
    fn rules(&self, identity: &IdentityRecord) -> Option<Rules>;

    /// Returns the client with this ID, unless it is disabled or may not sign people in.
    fn client<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &ObjectKey,
        client_id: &str,
    ) -> Option<Registered<'a>>;

    /// Returns the clients of an Identity that list the origin of a web page.
    fn lists_origin(&self, directory: &Directory, identity: &ObjectKey, origin: &str) -> bool;

    /// Returns the person who signs in with this name, a username or an address in its canonical form.
    fn named<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &ObjectKey,
        name: &str,
    ) -> Option<Known<'a>>;

    /// Returns the person whom an account belongs to.
    fn owning<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &ObjectKey,
        owner: &str,
    ) -> Option<Known<'a>>;

    /// Returns the person of an account, if the person may act now: at all, and with this client if one is named.
    ///
    /// # Errors
    /// Why not.
    fn person<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &ObjectKey,
        owner: &str,
        subject: &'a str,
        client: Option<&Client<'_>>,
        now: Timestamp,
    ) -> Result<Person<'a>, Barred>;

    /// Returns a scope that a client has now, and that the person may have, if one is named.
    fn scope<'a>(
        &'a self,
        directory: &'a Directory,
        client: &AcceptedClient<'a>,
        owner: Option<&str>,
        value: &str,
    ) -> Option<PersonScope<'a>>;

    /// Returns the values of the scopes that a client gets without asking.
    fn default_scopes(&self, directory: &Directory, client: &AcceptedClient<'_>) -> Vec<String>;

    /// Returns what a scope is called and what it means, for the consent page.
    fn described<'a>(&'a self, scope: &PersonScope<'a>) -> (Option<&'a str>, Option<&'a str>);
}

/// The registry of what is published: no resource declares people.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeople;

impl Registry for NoPeople {
    fn rules(&self, _: &IdentityRecord) -> Option<Rules> {
        None
    }

    fn client<'a>(&'a self, _: &'a Directory, _: &ObjectKey, _: &str) -> Option<Registered<'a>> {
        None
    }

    fn lists_origin(&self, _: &Directory, _: &ObjectKey, _: &str) -> bool {
        false
    }

    fn named<'a>(&'a self, _: &'a Directory, _: &ObjectKey, _: &str) -> Option<Known<'a>> {
        None
    }

    fn owning<'a>(&'a self, _: &'a Directory, _: &ObjectKey, _: &str) -> Option<Known<'a>> {
        None
    }

    fn person<'a>(
        &'a self,
        _: &'a Directory,
        _: &ObjectKey,
        _: &str,
        _: &'a str,
        _: Option<&Client<'_>>,
        _: Timestamp,
    ) -> Result<Person<'a>, Barred> {
        Err(Barred::Unknown)
    }

    fn scope<'a>(
        &'a self,
        _: &'a Directory,
        _: &AcceptedClient<'a>,
        _: Option<&str>,
        _: &str,
    ) -> Option<PersonScope<'a>> {
        None
    }

    fn default_scopes(&self, _: &Directory, _: &AcceptedClient<'_>) -> Vec<String> {
        Vec::new()
    }

    fn described<'a>(&'a self, _: &PersonScope<'a>) -> (Option<&'a str>, Option<&'a str>) {
        (None, None)
    }
}
