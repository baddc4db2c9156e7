//! What the account page does with the personal access tokens of a person who is signed in there.
//!
//! Each change runs in a task of its own: a caller that leaves cannot prevent the audit event of a change that is
//! durable.
#![cfg_attr(
    not(test),
    expect(
        dead_code,
        reason = "the account page, which does not exist yet, calls this"
    )
)]

use std::sync::Arc;

use jiff::Timestamp;

use super::carry_out;
use crate::directory::Barred;
use crate::oauth::Refusal;
use crate::oauth::personal_token::{Maker, Refused, Wish, draft};
use crate::people::account::{Account, AccountId};
use crate::people::personal_token::{PersonalToken, PersonalTokenStanding};
use crate::people::session::Session;
use crate::server::admission::Admitted;
use crate::server::people::People;
use crate::server::people::metrics::PersonalTokenOutcome;
use crate::server::request::LastingOrigin;
use crate::server::snapshot::Snapshot;
use crate::server::state::State;
use crate::store::StoreError;
use crate::store::area::personal_token::Added;
use crate::telemetry::audit::Event;
use crate::tokens::{SecretString, SystemEntropy, TokenId};

/// The request on whose behalf something is done.
pub struct Desk {
    /// The server.
    pub app: State,
    /// The people.
    pub people: Arc<People>,
    /// What the request is judged on.
    pub snapshot: Arc<Snapshot>,
    /// Where the request came from.
    pub origin: LastingOrigin,
    /// What counts the request among its caller's.
    pub admitted: Option<Arc<Admitted>>,
}

/// A token that was created.
#[derive(Debug)]
pub struct Created {
    /// The token itself, which is shown once and stored nowhere.
    pub secret: SecretString,
    /// What is stored of it.
    pub token: PersonalToken,
}

/// Why no token was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCreated {
    /// The person may not have it.
    Refused(Refused),
    /// The person has too many tokens.
    TooMany,
    /// The account was revoked in the meantime.
    Revoked,
}

impl NotCreated {
    /// Returns the name used in the audit log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(why) => why.as_str(),
            Self::TooMany => "too_many_tokens",
            Self::Revoked => "account_revoked",
        }
    }
}

/// Who ends the tokens of a person, as the audit log names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndedBy {
    /// The person.
    Owner,
    /// An administrator.
    Administrator,
    /// Its client (RFC 7009).
    Client,
}

impl EndedBy {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Administrator => "administrator",
            Self::Client => "client",
        }
    }
}

impl Desk {
    /// Creates a token for the person of a valid session. Whether the sign-in is fresh enough for that, the page
    /// decides.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if people cannot be served now; a fault of the store is inside. Inside of that: why no
    /// token was created.
    pub async fn create(
        self,
        (session, account): (&Session, &Account),
        client_id: &str,
        wish: &Wish<'_>,
        now: Timestamp,
    ) -> Result<Result<Result<Created, NotCreated>, StoreError>, Refusal> {
        let drafted = {
            let registry = self.snapshot.registry();
            let registered = registry.client(client_id);
            let client = registered.as_ref().map(|registered| registered.client);
            let subject = account.id.0.to_string();
            let person = match &client {
                Some(client) => registry.person(&account.owner, &subject, Some(client), now),
                None => Err(Barred::ClientNotAllowed),
            };
            let named = person.as_ref().ok().cloned();
            let lookup = |value: &str| registry.scope(client.as_ref()?, named.as_ref(), value);
            let maker = Maker {
                client,
                person,
                authenticated_at: session.authenticated_at,
                methods: &session.methods,
            };
            let uid = registered.as_ref().map(|it| it.uid().to_owned());
            draft(wish, &maker, lookup, now).map(|draft| (draft, uid.unwrap_or_default()))
        };
        let (draft, client_uid) = match drafted {
            Ok(drafted) => drafted,
            Err(why) => {
                let why = NotCreated::Refused(why);
                self.refused(account.id, client_id, why);
                return Ok(Ok(Err(why)));
            }
        };
        let site = self.snapshot.site().and_then(|site| site.people.as_deref());
        let prefix = site.ok_or(Refusal::Unavailable)?.prefix;
        let minted = self
            .people
            .keys
            .personal_tokens
            .mint(&prefix, &mut SystemEntropy);
        let token = PersonalToken {
            id: minted.id,
            hash: minted.hash,
            account: account.id,
            epoch: session.epoch,
            client: client_id.to_owned(),
            client_uid,
            name: draft.name,
            scopes: draft.scopes,
            audience: draft.audience,
            claims: draft.claims,
            authenticated_at: session.authenticated_at,
            methods: session.methods.clone(),
            created_at: now,
            expires_at: draft.expires_at,
            ended_at: None,
            used: None,
        };
        let secret = minted.token;
        carry_out(self.admitted.clone(), async move {
            let added = self.people.store.add_personal_token(token.clone(), now);
            let refusal = match added.await? {
                Added::Recorded => None,
                Added::TooMany => Some(NotCreated::TooMany),
                Added::Revoked => Some(NotCreated::Revoked),
            };
            if let Some(why) = refusal {
                self.refused(token.account, &token.client, why);
                return Ok(Err(why));
            }
            let outcome = PersonalTokenOutcome::Created;
            self.app.metrics().people().personal_token(outcome);
            self.origin.record(&Event {
                event: "personal_token_created",
                client_id: Some(&token.client),
                subject: Some(&token.account.0.to_string()),
                token_id: Some(token.id.as_str()),
                scope: Some(&token.scopes),
                ..Event::default()
            });
            Ok(Ok(Created { secret, token }))
        })
        .await
    }

    fn refused(&self, account: AccountId, client_id: &str, why: NotCreated) {
        let outcome = PersonalTokenOutcome::Refused;
        self.app.metrics().people().personal_token(outcome);
        let subject = account.0.to_string();
        if !self.app.noise().denial(self.origin.peer(), Some(&subject)) {
            return;
        }
        // The text of a client that does not exist is the caller's own.
        let registry = self.snapshot.registry();
        let client_id = registry.client(client_id).map(|client| client.id());
        self.origin.record(&Event {
            event: "personal_token_refused",
            reason: Some(why.as_str()),
            client_id,
            subject: Some(&subject),
            ..Event::default()
        });
    }

    /// Returns the tokens of a person, the newest first, also those that ended lately.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn list(&self, account: AccountId) -> Result<Vec<PersonalTokenStanding>, StoreError> {
        self.people.store.personal_tokens(account).await
    }

    /// Revokes a token of a person. Returns whether it was not revoked before. No replica accepts it any more.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if people cannot be served now; a fault of the store is inside.
    pub async fn revoke(
        self,
        account: AccountId,
        id: TokenId,
        by: EndedBy,
        now: Timestamp,
    ) -> Result<Result<bool, StoreError>, Refusal> {
        carry_out(self.admitted.clone(), async move {
            let store = &self.people.store;
            let is_ended = store.end_personal_token(account, id, now).await?;
            if is_ended {
                self.ended(account, id, by);
            }
            Ok(is_ended)
        })
        .await
    }

    /// Revokes every token of a person. Returns their number. No replica accepts any of them any more.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] if people cannot be served now; a fault of the store is inside.
    pub async fn revoke_all(
        self,
        account: AccountId,
        by: EndedBy,
        now: Timestamp,
    ) -> Result<Result<usize, StoreError>, Refusal> {
        carry_out(self.admitted.clone(), async move {
            let ended = self.people.store.end_personal_tokens(account, now).await?;
            for id in &ended {
                self.ended(account, *id, by);
            }
            Ok(ended.len())
        })
        .await
    }

    fn ended(&self, account: AccountId, id: TokenId, by: EndedBy) {
        record_end(&self.app, &self.origin, (account, id), by, None);
    }
}

/// Counts and records that a token of a person was revoked, for the request of which client if a client did it.
pub fn record_end(
    app: &State,
    origin: &LastingOrigin,
    (account, id): (AccountId, TokenId),
    by: EndedBy,
    client_id: Option<&str>,
) {
    let outcome = PersonalTokenOutcome::Revoked;
    app.metrics().people().personal_token(outcome);
    origin.record(&Event {
        event: "personal_token_revoked",
        reason: Some(by.as_str()),
        client_id,
        subject: Some(&account.0.to_string()),
        token_id: Some(id.as_str()),
        ..Event::default()
    });
}
