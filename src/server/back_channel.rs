//! The back channel (OpenID Connect Back-Channel Logout 1.0): which clients are told of the end of a session, and how.
//!
//! Everything is judged when a notice is told: where, whether the client still exists and is enabled, and with which key
//! the token is signed. The store holds no token.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::metrics::Metrics;
use super::people::metrics::LogoutOutcome;
use super::people::outbox::{Messenger, Outbox, Told};
use super::people::outgoing::{Opened, post_form};
use super::snapshot::Publisher;
use super::state::State;
use crate::oauth::logout_token::{self, Ended, LogoutTokenClaims};
use crate::oauth::redirect_uri;
use crate::people::notice::{Audience, Noted, Notice, Participant};
use crate::store::StoreError;

/// The clients that name where they are told.
pub(super) struct Listeners {
    // Not the state: it holds the store, which holds this.
    publisher: Arc<Publisher>,
    metrics: Arc<Metrics>,
    outbox: Outbox,
}

impl Listeners {
    pub fn new(state: &State, outbox: Outbox) -> Self {
        Self {
            publisher: Arc::clone(state.publisher()),
            metrics: state.shared_metrics(),
            outbox,
        }
    }
}

impl Audience for Listeners {
    fn namespace_of(&self, participant: &Participant) -> Option<Arc<str>> {
        let snapshot = self.publisher.current();
        let client = snapshot.registry().client(&participant.id)?;
        client
            .back_channel()
            .filter(|_| client.uid() == participant.uid)?;
        Some(Arc::clone(
            &client.client.accepted.client.object.key.namespace,
        ))
    }

    fn ended(&self, noted: Noted) {
        if noted.waiting > 0 {
            self.outbox.wake();
        }
        if noted.dropped > 0 {
            let dropped = noted.dropped;
            let outcome = LogoutOutcome::Dropped;
            self.metrics.people().logout_notices(outcome, dropped);
            tracing::warn!(
                dropped,
                "clients are not told that sessions have ended: too many notices of their client or namespace wait"
            );
        }
    }
}

/// Tells clients.
pub(super) struct BackChannel(pub State);

impl Messenger for BackChannel {
    fn tell<'a>(&'a self, notice: &'a Notice) -> BoxFuture<'a, Told> {
        Box::pin(async move {
            let (uri, body, opened) = match self.message(notice) {
                Ok(message) => message,
                Err(told) => return told,
            };
            let client = &*notice.client.id;
            match post_form(&uri, body, &opened).await {
                Ok(200 | 204) => Told::Done,
                // Section 2.8: the client did not accept the token.
                Ok(400) => Told::Refused,
                Ok(status) => {
                    tracing::debug!(status, client, "a logout notice failed");
                    Told::Failed
                }
                Err(error) => {
                    tracing::debug!(%error, client, "a logout notice failed");
                    Told::Failed
                }
            }
        })
    }

    /// A server that does not know every client yet would find that they need not be told.
    fn is_ready(&self) -> bool {
        self.0.serves(super::now())
    }

    fn count(&self, outcome: LogoutOutcome) {
        self.0.metrics().people().logout_notices(outcome, 1);
    }

    fn failed(&self, error: &StoreError) {
        self.0.metrics().store_failed(error.fault());
        tracing::debug!(%error, "the store of logout notices failed, will retry");
    }
}

impl BackChannel {
    /// Returns where to send what.
    ///
    /// # Errors
    /// [`Told::Unneeded`] if the client was deleted or disabled, or names no place; [`Told::Failed`] if this server cannot
    /// sign now.
    pub fn message(&self, notice: &Notice) -> Result<(String, String, Opened), Told> {
        let snapshot = self.0.publisher().current();
        let site = snapshot.site().ok_or(Told::Failed)?;
        let client = snapshot.registry().client(&notice.client.id);
        let client = client.filter(|client| client.uid() == notice.client.uid);
        let client = client.ok_or(Told::Unneeded)?;
        let uri = client.back_channel().ok_or(Told::Unneeded)?;
        let claims = LogoutTokenClaims::new(
            &site.issuer,
            &notice.subject(),
            client.id(),
            Ended::Session(notice.session),
            super::now(),
            notice.id,
        );
        let accepted = client.client.accepted;
        let own = accepted.client.record.algorithm;
        let algorithm = own.map(Into::into).or(site.default_algorithm);
        let algorithm = algorithm.ok_or(Told::Failed)?;
        let json = claims.to_json().map_err(|_| Told::Failed)?;
        let token = snapshot.ring().sign(algorithm, logout_token::TYPE, &json);
        let token = token.map_err(|_| Told::Failed)?;
        let opened = Opened {
            // An http issuer on a *.svc host is no dev mode: its pods have other listeners on loopback.
            is_dev: redirect_uri::is_loopback(&site.issuer),
            networks: accepted.identity.record.callable_networks.clone(),
            trust: self.0.callees(),
        };
        Ok((uri.to_owned(), format!("logout_token={token}"), opened))
    }
}
