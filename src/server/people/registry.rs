//! What resources say about people, in the form that the server asks for it. Everything is judged against the directory
//! at each use.
//!
//! Not here: what happened, which is in the store.

use jiff::Timestamp;

use crate::directory::tables::record::InteractiveRecord;
use crate::directory::{
    AcceptedUser, Barred, Directory, ObjectKey, Person, PersonClient, PersonScope,
};
use crate::oauth::authorize::ResponseType;
use crate::oauth::authorize::next::ClientPolicy;
use crate::oauth::authorize::request::Registration;
use crate::oauth::sign_in;
use crate::resources::RefreshTokenEnd;

/// Asks the directory about the people of an Identity.
#[derive(Clone, Copy, Debug)]
pub struct Registry<'d> {
    directory: &'d Directory,
    identity: &'d ObjectKey,
}

/// A client that may sign people in, as it is registered now.
#[derive(Clone, Debug)]
pub struct Registered<'a> {
    /// The client.
    pub client: PersonClient<'a>,
    /// Its redirect URIs.
    pub redirect_uris: Vec<&'a str>,
    /// The URIs to which it may send a browser after sign-out.
    pub post_logout_redirect_uris: Vec<&'a str>,
    /// The response types that it may use.
    pub response_types: Vec<ResponseType>,
    record: &'a InteractiveRecord,
}

impl<'a> Registered<'a> {
    fn of(client: PersonClient<'a>) -> Option<Self> {
        let record = client.accepted.client.record.interactive.as_deref()?;
        let texts = |texts: &'a [Box<str>]| texts.iter().map(AsRef::as_ref).collect();
        let types = record.response_types.iter();
        client.may_use_codes.then(|| Self {
            redirect_uris: texts(&record.redirect_uris),
            post_logout_redirect_uris: texts(&record.post_logout_redirect_uris),
            response_types: types.map(|kind| ResponseType::from(*kind)).collect(),
            client,
            record,
        })
    }

    /// Returns what decides about its authorization requests.
    pub fn registration(&self) -> Registration<'_> {
        Registration {
            redirect_uris: &self.redirect_uris,
            response_types: &self.response_types,
            needs_pkce: self.record.needs_pkce,
            needs_par: self.record.needs_par,
        }
    }

    /// Returns what decides about the pages of its requests.
    pub fn policy(&self) -> ClientPolicy {
        ClientPolicy {
            consent: self.client.consent,
            minimum_acr: self.record.minimum_acr.map(Into::into),
            max_auth_age: sign_in::max_auth_age(self.record),
            may_refresh: self.client.may_refresh,
        }
    }

    /// Returns what else ends its grants, if it says so.
    pub const fn ends_with(&self) -> Option<RefreshTokenEnd> {
        self.record.refresh_tokens_end
    }

    /// Returns whether its web pages have this origin.
    pub fn lists_origin(&self, origin: &str) -> bool {
        let mut listed = self.record.allowed_origins.iter();
        listed.any(|listed| **listed == *origin)
    }

    /// Returns where it is told that a session has ended.
    pub fn back_channel(&self) -> Option<&'a str> {
        let logout = self.record.backchannel_logout.as_ref();
        logout.map(|logout| &*logout.uri)
    }

    /// Returns what a frame loads when a session has ended.
    pub fn front_channel(&self) -> Option<&'a str> {
        let logout = self.record.frontchannel_logout.as_ref();
        logout.map(|logout| &*logout.uri)
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

impl<'d> Registry<'d> {
    /// Asks about the people of this Identity.
    pub const fn new(directory: &'d Directory, identity: &'d ObjectKey) -> Self {
        Self {
            directory,
            identity,
        }
    }

    /// Returns the client with this ID, unless it is disabled or may not sign people in.
    pub fn client(self, client_id: &str) -> Option<Registered<'d>> {
        let accepted = self.directory.active_client(self.identity, client_id)?;
        Registered::of(self.directory.person_client(accepted))
    }

    /// Returns whether a client of the Identity lists the origin of a web page.
    pub fn lists_origin(self, origin: &str) -> bool {
        self.directory.is_listed_origin(self.identity, origin)
    }

    /// Returns the person who signs in with this name, a username or an address.
    pub fn named(self, name: &str) -> Option<AcceptedUser<'d>> {
        self.directory.user_by_name(self.identity, name)
    }

    /// Returns the person that an account belongs to: the User with this uid.
    pub fn owning(self, owner: &str) -> Option<AcceptedUser<'d>> {
        self.directory.user_by_uid(self.identity, owner)
    }

    /// Returns the person of an account, if the person may act now: at all, and with this client if one is named.
    ///
    /// # Errors
    /// Why not.
    pub fn person(
        self,
        owner: &str,
        subject: &str,
        client: Option<&PersonClient<'_>>,
        now: Timestamp,
    ) -> Result<Person<'d>, Barred> {
        let person = self.owning(owner).ok_or(Barred::Unknown)?.person(now)?;
        if person.subject != subject {
            return Err(Barred::Unknown);
        }
        match client {
            Some(client) if !person.may_use(client) => Err(Barred::ClientNotAllowed),
            _ => Ok(person),
        }
    }

    /// Returns a scope that a client has now, and that the person may have, if one is named.
    pub fn scope(
        self,
        client: &PersonClient<'d>,
        person: Option<&Person<'_>>,
        value: &str,
    ) -> Option<PersonScope<'d>> {
        match person {
            Some(person) => self.directory.person_scope(client, person, value),
            None => self.directory.client_scope(client, value),
        }
    }

    /// Returns the values of the scopes that a client gets without asking: those of APIs that need not be named.
    pub fn default_scopes(self, client: &PersonClient<'_>) -> Vec<String> {
        let granted = self.directory.granted_scopes(&client.accepted);
        granted
            .filter(|scope| !scope.scope.record.on_request)
            .map(|scope| scope.value().to_string())
            .collect()
    }
}
