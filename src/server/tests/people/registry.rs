//! People and their clients for tests.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::directory::tables::record::IdentityRecord;
use crate::directory::{AcceptedClient, Directory, ObjectKey};
use crate::oauth::acr::Acr;
use crate::oauth::authorize::ResponseType;
use crate::oauth::authorize::next::{ClientPolicy, ConsentPolicy};
use crate::oauth::grants::person::{Client, IdTokenContent};
use crate::oauth::grants::refresh_token::Settings;
use crate::oauth::person::{ApiScope, Barred, Person, PersonScope, StandardScope};
use crate::server::people::registry::{Known, Registered, Registry, Rules};
use crate::tokens::Algorithm;

/// A client.
#[derive(Clone, Debug)]
pub struct FakeClient {
    pub id: String,
    pub is_public: bool,
    pub redirect_uris: Vec<String>,
    pub post_logout: Vec<String>,
    pub origins: Vec<String>,
    pub consent: ConsentPolicy,
    pub needs_par: bool,
    pub max_auth_age: Option<Duration>,
    pub minimum_acr: Option<Acr>,
    pub front_channel: Option<String>,
    pub back_channel: Option<String>,
    pub userinfo: Option<Algorithm>,
    pub users: Option<Vec<String>>,
}

impl FakeClient {
    pub fn public(id: &str) -> Self {
        Self {
            id: id.to_owned(),
            is_public: true,
            redirect_uris: vec!["https://app.example.com/callback".to_owned()],
            post_logout: vec!["https://app.example.com/bye".to_owned()],
            origins: vec!["https://app.example.com".to_owned()],
            consent: ConsentPolicy::Remember,
            needs_par: false,
            max_auth_age: None,
            minimum_acr: None,
            front_channel: None,
            back_channel: None,
            userinfo: None,
            users: None,
        }
    }
}

/// A person.
#[derive(Clone, Debug)]
pub struct FakeUser {
    pub uid: String,
    pub username: String,
    pub email: String,
    pub enrolment: Option<String>,
    pub disabled: bool,
    pub revoked: Option<Timestamp>,
}

/// The fake.
#[derive(Clone, Debug, Default)]
pub struct Fake {
    pub clients: Vec<FakeClient>,
    pub users: Vec<FakeUser>,
}

impl Fake {
    fn user(&self, owner: &str) -> Option<&FakeUser> {
        self.users.iter().find(|user| user.uid == owner)
    }

    fn known<'a>(user: &'a FakeUser) -> Known<'a> {
        Known {
            owner: &user.uid,
            username: &user.username,
            emails: vec![&user.email],
            subject: None,
            enrolment: user.enrolment.as_deref(),
            password_hash: None,
        }
    }
}

impl Registry for Fake {
    fn rules(&self, _: &IdentityRecord) -> Option<Rules> {
        Some(Rules {
            session_idle: Duration::from_hours(2),
            session_absolute: Duration::from_hours(24),
            refresh: Settings {
                always_rotates: false,
                confidential: Duration::from_hours(720),
                public: Duration::from_hours(24),
                reuse_grace: Duration::from_mins(1),
                max_age: Duration::from_hours(2160),
            },
            name: "Example".to_owned(),
            logo: None,
            accent: None,
            accent_dark: None,
        })
    }

    fn client<'a>(
        &'a self,
        directory: &'a Directory,
        identity: &ObjectKey,
        client_id: &str,
    ) -> Option<Registered<'a>> {
        let fake = self.clients.iter().find(|client| client.id == client_id)?;
        let accepted = directory.active_client(identity, client_id)?;
        Some(Registered {
            client: Client {
                accepted,
                is_public: fake.is_public,
                may_use_codes: true,
                may_refresh: true,
                id_token_lifetime: SignedDuration::from_mins(10),
                id_token_claims: IdTokenContent::Standard,
            },
            redirect_uris: fake.redirect_uris.iter().map(String::as_str).collect(),
            post_logout_redirect_uris: fake.post_logout.iter().map(String::as_str).collect(),
            response_types: ResponseType::ALL.to_vec(),
            needs_pkce: true,
            needs_par: fake.needs_par,
            policy: ClientPolicy {
                consent: fake.consent,
                minimum_acr: fake.minimum_acr,
                max_auth_age: fake.max_auth_age,
                may_refresh: true,
            },
            ends_with: None,
            allowed_origins: fake.origins.iter().map(String::as_str).collect(),
            back_channel: fake.back_channel.as_deref(),
            front_channel: fake.front_channel.as_deref(),
            userinfo_algorithm: fake.userinfo,
        })
    }

    fn lists_origin(&self, _: &Directory, _: &ObjectKey, origin: &str) -> bool {
        self.clients
            .iter()
            .any(|client| client.origins.iter().any(|listed| listed == origin))
    }

    fn named<'a>(&'a self, _: &'a Directory, _: &ObjectKey, name: &str) -> Option<Known<'a>> {
        let mut users = self.users.iter();
        let user = users.find(|user| user.username == name || user.email == name)?;
        Some(Self::known(user))
    }

    fn owning<'a>(&'a self, _: &'a Directory, _: &ObjectKey, owner: &str) -> Option<Known<'a>> {
        self.user(owner).map(Self::known)
    }

    fn person<'a>(
        &'a self,
        _: &'a Directory,
        _: &ObjectKey,
        owner: &str,
        subject: &'a str,
        client: Option<&Client<'_>>,
        _: Timestamp,
    ) -> Result<Person<'a>, Barred> {
        let user = self.user(owner).ok_or(Barred::Unknown)?;
        if user.disabled {
            return Err(Barred::Disabled);
        }
        if let Some(client) = client {
            let id = &*client.accepted.client.record.client_id;
            let fake = self.clients.iter().find(|client| client.id == id);
            let users = fake.and_then(|fake| fake.users.as_ref());
            if users.is_some_and(|users| !users.contains(&user.username)) {
                return Err(Barred::ClientNotAllowed);
            }
        }
        Ok(Person {
            subject,
            username: &user.username,
            display_name: Some("Alice Adams"),
            email: Some(&user.email),
            email_verified: true,
            groups: vec!["staff"],
            attributes: vec![("department", "sales")],
            revoke_issued_before: user.revoked,
        })
    }

    fn scope<'a>(
        &'a self,
        directory: &'a Directory,
        client: &AcceptedClient<'a>,
        _: Option<&str>,
        value: &str,
    ) -> Option<PersonScope<'a>> {
        if let Some(standard) = StandardScope::parse(value) {
            return Some(PersonScope::Standard(standard));
        }
        let granted = directory.granted_scope(client, value)?;
        Some(PersonScope::Api(ApiScope {
            granted,
            claims: &[],
        }))
    }

    fn default_scopes(&self, directory: &Directory, client: &AcceptedClient<'_>) -> Vec<String> {
        let granted = directory.granted_scopes(client);
        granted.map(|scope| scope.value().to_string()).collect()
    }

    fn described<'a>(&'a self, _: &PersonScope<'a>) -> (Option<&'a str>, Option<&'a str>) {
        (None, None)
    }
}
