//! A request on its way through the server, and the checks that all endpoints share.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, OnceLock, Weak};

use arc_swap::Guard;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HOST};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::Body as _;
use jiff::Timestamp;

use super::activity::Held;
use super::admission::Admitted;
use super::metrics::Shed;
use super::origin::origin;
use super::places;
use super::snapshot::{Site, Snapshot};
use super::state::State;
use super::token::{ParsedToken, is_jwt};
use super::turns::{self, Taken};
use crate::directory::{AcceptedClient, AuthenticatedClient};
use crate::lock::lock;
use crate::oauth::access_token::Inactive;
use crate::oauth::client_auth::{self, Caller, Method};
use crate::oauth::form::{check_query, is_form};
use crate::oauth::{Endpoint, Form, OAuthError, Refusal};
use crate::telemetry::Unverified;
use crate::telemetry::audit::{self, Event, Origin};

/// The data that the server adds to a request before it routes it.
#[derive(Clone)]
pub(super) struct Arrival {
    pub app: State,
    pub admitted: Arc<Admitted>,
    pub peer: Option<IpAddr>,
    /// The caller whose share of the server the request takes.
    pub caller: Option<places::Caller>,
    /// Whether a trusted proxy sent the request.
    pub is_of_proxy: bool,
}

/// A request at its endpoint.
pub(super) struct Call {
    pub app: State,
    pub endpoint: Endpoint,
    pub peer: Option<IpAddr>,
    /// Weak: work that goes on if the caller leaves holds it only if nothing else counts this work.
    admitted: Weak<Admitted>,
    caller: Option<places::Caller>,
    /// Over HTTP/2.
    turn: Option<Arc<Taken>>,
    pub head: Parts,
    /// In a lock only so that tasks can share the rest of the request.
    body: Mutex<Body>,
    /// Where the client of the request is noted, if a web page may have sent it.
    client: Option<RequestClient>,
}

/// The client that a request turns out to be of: only pages of its origins may read the answer, a refusal too.
pub(super) type RequestClient = Arc<OnceLock<Box<str>>>;

/// The turn of a request that waits for something outside this server.
#[must_use = "the request needs a turn for its answer"]
pub(super) struct GivenBack(Option<Arc<Taken>>);

impl GivenBack {
    /// Waits for another turn.
    pub async fn take_again(self) {
        if let Some(turn) = self.0 {
            turn.take_again(0).await;
        }
    }
}

/// The origin of a request, for the audit events of a task that may outlast it.
pub(super) struct LastingOrigin {
    peer: Option<IpAddr>,
    headers: HeaderMap,
    snapshot: Arc<Snapshot>,
}

impl LastingOrigin {
    /// Returns the origin of a request from this address with these headers.
    pub const fn new(peer: Option<IpAddr>, headers: HeaderMap, snapshot: Arc<Snapshot>) -> Self {
        Self {
            peer,
            headers,
            snapshot,
        }
    }

    /// Returns the address.
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Writes an audit event of a person.
    pub fn record(&self, event: &Event<'_>) {
        let (directory, identity) = (self.snapshot.directory(), self.snapshot.identity());
        let origin = origin(self.peer, &self.headers, directory, identity);
        audit::of_person(&origin, event);
    }
}

/// A snapshot that the server may answer from.
pub(super) struct ServingSnapshot(Guard<Arc<Snapshot>>);

impl ServingSnapshot {
    /// Returns the snapshot.
    pub fn snapshot(&self) -> &Snapshot {
        &self.0
    }

    /// Returns the snapshot for a task that may outlast the request.
    pub fn shared(&self) -> Arc<Snapshot> {
        Arc::clone(&self.0)
    }

    /// Returns the snapshot in a form that a request may hold while it waits for the store.
    #[must_use]
    pub fn held(self) -> Self {
        Self(Guard::from_inner(Guard::into_inner(self.0)))
    }

    /// Returns the site of the snapshot.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] while the Identity is not served.
    pub fn site(&self) -> Result<&Site, Refusal> {
        self.0.site().ok_or(Refusal::Unavailable)
    }

    /// Parses a token that a caller presents.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] for a JWT before any key was loaded: it cannot be judged.
    pub fn token<'t>(&self, token: &'t str) -> Result<Result<ParsedToken<'t>, Inactive>, Refusal> {
        match ParsedToken::parse(token, self.0.ring()) {
            Err(_) if is_jwt(token) && !self.0.had_keys() => Err(Refusal::Unavailable),
            parsed => Ok(parsed),
        }
    }
}

impl Call {
    pub fn new(arrival: Arrival, endpoint: Endpoint, request: Request) -> Self {
        let (mut head, body) = request.into_parts();
        Self {
            turn: head.extensions.remove(),
            app: arrival.app,
            peer: arrival.peer,
            admitted: Arc::downgrade(&arrival.admitted),
            caller: arrival.caller,
            endpoint,
            head,
            body: Mutex::new(body),
            client: None,
        }
    }

    /// Returns the request with a place for its client.
    #[must_use]
    pub fn noting(self, client: Option<RequestClient>) -> Self {
        Self { client, ..self }
    }

    /// Notes the client that the request is of.
    pub fn is_of(&self, client_id: &str) {
        if let Some(client) = &self.client {
            // The first one counts.
            let _ = client.set(client_id.into());
        }
    }

    /// Returns the current snapshot.
    ///
    /// # Errors
    /// [`Refusal::Unavailable`] before the first lists are complete, and when the snapshot is too old.
    pub fn serving(&self, now: Timestamp) -> Result<ServingSnapshot, Refusal> {
        let snapshot = self.app.publisher().current();
        match self.app.status().serves(&snapshot, now) {
            Ok(()) => Ok(ServingSnapshot(snapshot)),
            Err(_) => Err(Refusal::Unavailable),
        }
    }

    /// Reads the body of a form, bounded in size and time.
    ///
    /// # Errors
    /// [`Refusal`]: among others, `invalid_request` for another media type and for credentials in the URL.
    pub async fn form_body(&mut self) -> Result<Bytes, Refusal> {
        check_query(self.head.uri.query())?;
        let media_type = self.head.headers.get(CONTENT_TYPE);
        if !is_form(media_type.and_then(|value| value.to_str().ok())) {
            return Err(OAuthError::invalid_request(
                "send the parameters as application/x-www-form-urlencoded",
            )
            .into());
        }
        let limits = self.app.limits();
        let announced = self.head.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        if announced.is_some_and(|length| length > limits.body as u64) {
            return Err(Refusal::TooLarge);
        }
        let (most, deadline) = (limits.body, limits.body_deadline);
        let body = std::mem::take(&mut *lock(&self.body));
        let mut reading = std::pin::pin!(collect(body, most));
        // Most bodies arrive together with their heads.
        if let Some(collected) = reading.as_mut().now_or_never() {
            return collected;
        }
        let shed = |cause| {
            self.app.metrics().shed(cause);
            Refusal::Unavailable
        };
        let waiting = self
            .app
            .admission()
            .wait_for_body(self.caller)
            .map_err(shed)?;
        if let Some(turn) = &self.turn {
            turn.give_back();
        }
        let collected = tokio::select! {
            biased;
            collected = reading => collected,
            () = waiting.ended() => Err(shed(Shed::Bodies)),
            () = tokio::time::sleep(deadline) => Err(Refusal::TooSlow),
        }?;
        if let Some(turn) = &self.turn {
            // The place among the slow bodies bounds the bodies that wait, and counts in no other limit.
            tokio::select! {
                biased;
                () = turn.take_again(collected.len()) => {}
                () = waiting.ended() => return Err(shed(Shed::Bodies)),
            }
        }
        Ok(collected)
    }

    /// Gives the request's turn to another one, because the request waits for something outside this server.
    pub fn give_turn_back(&self) -> GivenBack {
        if let Some(turn) = &self.turn {
            turn.give_back();
        }
        GivenBack(self.turn.clone())
    }

    /// Returns what counts the request among its caller's. Work that goes on if the caller leaves holds it, so that a
    /// caller cannot exceed its share by leaving.
    pub fn admitted(&self) -> Option<Arc<Admitted>> {
        self.admitted.upgrade()
    }

    /// Charges the head and `body` bytes to the connection, for work that keeps them if the caller leaves.
    pub fn hold(&self, body: usize) -> Option<Held> {
        let head = turns::length(&self.head.method, &self.head.uri, &self.head.headers);
        let turn = self.turn.as_ref();
        turn.map(|turn| turn.hold(head + body))
    }

    /// Returns all values of `Authorization`.
    pub fn authorization(&self) -> impl Iterator<Item = &[u8]> {
        values(&self.head.headers, AUTHORIZATION.as_str())
    }

    /// Authenticates the client of a form request.
    ///
    /// # Errors
    /// [`Refusal`]. The failure is counted, and written to the audit log unless there were too many.
    pub fn authenticate<'s>(
        &self,
        serving: &'s ServingSnapshot,
        form: &Form<'_>,
        now: Timestamp,
    ) -> Result<(AcceptedClient<'s>, Method), Refusal> {
        let snapshot = serving.snapshot();
        let (directory, identity) = (snapshot.directory(), snapshot.identity());
        let authenticated =
            client_auth::authenticate(directory, identity, self.authorization(), form, now);
        match authenticated {
            Ok((proved, method)) => {
                self.proved(snapshot, &proved, now);
                Ok((proved.client, method))
            }
            Err(failure) => Err(self.failed(snapshot, &failure)),
        }
    }

    /// Identifies the client of a form request to an endpoint that takes public clients, if the Identity has any.
    ///
    /// # Errors
    /// As [`Call::authenticate`].
    pub fn identify<'s>(
        &self,
        serving: &'s ServingSnapshot,
        form: &Form<'_>,
        now: Timestamp,
    ) -> Result<(AcceptedClient<'s>, Method), Refusal> {
        if serving.site()?.people.is_none() {
            return self.authenticate(serving, form, now);
        }
        let snapshot = serving.snapshot();
        let (directory, identity) = (snapshot.directory(), snapshot.identity());
        let is_public = |client: &AcceptedClient<'_>| {
            let client_id = &client.client.record.client_id;
            let registered = snapshot.registry().client(client_id);
            registered.is_some_and(|registered| registered.client.is_public)
        };
        let authorization = self.authorization();
        let caller =
            client_auth::identify(directory, identity, authorization, form, now, is_public);
        match caller {
            Ok(caller) => {
                if let Caller::Confidential(proved, _) = &caller {
                    self.proved(snapshot, proved, now);
                }
                self.is_of(&caller.client().client.record.client_id);
                Ok((*caller.client(), caller.method()))
            }
            Err(failure) => Err(self.failed(snapshot, &failure)),
        }
    }

    /// Notes that a client has proved who it is.
    fn proved(&self, snapshot: &Snapshot, proved: &AuthenticatedClient<'_>, now: Timestamp) {
        let issued = (proved.credential, proved.entry);
        self.app.uses().note(snapshot.directory(), issued, now);
        self.is_of(&proved.client.client.record.client_id);
    }

    /// Counts a failed authentication, and writes it to the audit log unless there were too many.
    fn failed(&self, snapshot: &Snapshot, failure: &client_auth::Failure) -> Refusal {
        self.app.metrics().auth_failed(failure.reason);
        let claimed = failure.claimed.as_ref();
        if let Some(claimed) = claimed.filter(|claimed| claimed.is_client) {
            self.is_of(claimed.sent.expose());
        }
        let name = claimed.map_or("", |claimed| claimed.sent.expose());
        match self.app.noise().failure(self.peer, name) {
            Err(wait) => return Refusal::TooManyFailures(wait),
            Ok(false) => {}
            Ok(true) => {
                let claimed = claimed.map(|claimed| audit::Claimed {
                    sent: Unverified::new(name),
                    is_client: claimed.is_client,
                });
                let refusal = audit::Refused {
                    action: self.endpoint.name(),
                    reason: failure.reason.as_str(),
                    client_id: None,
                    claimed,
                    token_id: None,
                };
                audit::refused(&self.origin(snapshot), &refusal);
            }
        }
        failure.error.into()
    }

    /// Writes the refusal of an authenticated client's request to the audit log, unless the client has had too many.
    pub fn audit_refusal(
        &self,
        snapshot: &Snapshot,
        client_id: &str,
        token_id: Option<&str>,
        reason: &'static str,
    ) {
        if self.app.noise().refusal(self.peer, client_id) {
            self.audit(snapshot, Some(client_id), token_id, reason);
        }
    }

    /// Writes the denial of a token to the audit log, unless this caller has had too many. `is_issued` says whether the
    /// token was issued; otherwise a stranger may have invented its ID.
    pub fn audit_denial(
        &self,
        snapshot: &Snapshot,
        token_id: &str,
        is_issued: bool,
        reason: &'static str,
    ) {
        let issued = Some(token_id).filter(|_| is_issued);
        if self.app.noise().denial(self.peer, issued) {
            self.audit(snapshot, None, Some(token_id), reason);
        }
    }

    fn audit(
        &self,
        snapshot: &Snapshot,
        client_id: Option<&str>,
        token_id: Option<&str>,
        reason: &'static str,
    ) {
        let refusal = audit::Refused {
            action: self.endpoint.name(),
            reason,
            client_id,
            claimed: None,
            token_id,
        };
        audit::refused(&self.origin(snapshot), &refusal);
    }

    /// Returns the origin of the request for the audit log.
    pub fn origin(&self, snapshot: &Snapshot) -> Origin<'_> {
        let (directory, identity) = (snapshot.directory(), snapshot.identity());
        origin(self.peer, &self.head.headers, directory, identity)
    }

    /// Returns the origin of the request for events that are written in a task of their own.
    pub fn lasting_origin(&self, snapshot: Arc<Snapshot>) -> LastingOrigin {
        LastingOrigin::new(self.peer, self.head.headers.clone(), snapshot)
    }
}

/// Refuses a request that names two hosts, because a proxy and this server could choose different ones. It has several
/// `Host` headers or one that is not a host and port (RFC 9112 section 3.2), or one that differs from `:authority` or
/// from the host of the request target (RFC 9113 section 8.3.1).
///
/// # Errors
/// `invalid_request`.
pub(super) fn check_host(request: &Request) -> Result<(), Refusal> {
    let mut hosts = request.headers().get_all(HOST).iter();
    let Some(host) = hosts.next().map(HeaderValue::as_bytes) else {
        return Ok(());
    };
    let refused = |why| Err(OAuthError::invalid_request(why).into());
    if hosts.next().is_some() {
        return refused("send one Host header");
    }
    if !host.iter().all(|byte| is_of_host(*byte)) {
        return refused("the Host header is not a host and port");
    }
    let authority = request.uri().authority().map(|it| it.as_str().as_bytes());
    match authority {
        Some(authority) if !is_same_host(authority, host) => {
            refused("the Host header differs from the request's authority")
        }
        _ => Ok(()),
    }
}

/// Returns whether a byte may stand in `uri-host [ ":" port ]` (RFC 3986 section 3.2.2). Excludes the comma, which
/// joins two headers.
const fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'-' | b'.'
                | b'_'
                | b'~'
                | b'%'
                | b'!'
                | b'$'
                | b'&'
                | b'\''
                | b'('
                | b')'
                | b'*'
                | b'+'
                | b';'
                | b'='
                | b':'
                | b'['
                | b']'
        )
}

/// Returns whether two authorities are equal, with or without a default port.
fn is_same_host(one: &[u8], other: &[u8]) -> bool {
    fn bare(authority: &[u8]) -> &[u8] {
        let http = authority.strip_suffix(b":80");
        let https = || authority.strip_suffix(b":443");
        http.or_else(https).unwrap_or(authority)
    }
    bare(one).eq_ignore_ascii_case(bare(other))
}

/// Returns all values of a header, as they were sent.
pub(super) fn values<'h>(headers: &'h HeaderMap, name: &str) -> impl Iterator<Item = &'h [u8]> {
    headers.get_all(name).iter().map(HeaderValue::as_bytes)
}

async fn collect(mut body: Body, most: usize) -> Result<Bytes, Refusal> {
    let mut first = Bytes::new();
    let mut all = Vec::new();
    while !body.is_end_stream() {
        let Some(frame) = body.frame().await else {
            break;
        };
        let Ok(data) = frame.map_err(|_| Refusal::BrokenBody)?.into_data() else {
            continue;
        };
        let length = first.len() + all.len() + data.len();
        if length > most {
            return Err(Refusal::TooLarge);
        }
        // Most bodies are a single frame, which needs no copy.
        if first.is_empty() && all.is_empty() {
            first = data;
            continue;
        }
        if all.capacity() < length {
            // Doubles the capacity, up to the longest body allowed.
            all.reserve_exact((2 * length).min(most) - all.len());
        }
        all.extend_from_slice(&std::mem::take(&mut first));
        all.extend_from_slice(&data);
    }
    Ok(if all.is_empty() { first } else { all.into() })
}
