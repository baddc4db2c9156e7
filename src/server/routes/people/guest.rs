//! A browser at a page: what it brings, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, LOCATION, REFERRER_POLICY, SET_COOKIE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use jiff::Timestamp;

use super::store::{carry_out, unavailable};
use crate::oauth::authorize::{Answer, ReturnTo};
use crate::oauth::{Endpoint, Form, OAuthError, Refusal};
use crate::pages::{
    AnswerForm, ClientUri, Context, Field, Kind, Label, Language, LocalPath, Notice, Page, Way,
    WayBack,
};
use crate::people::account::Account;
use crate::people::known_browser::KNOWN_FOR;
use crate::people::session::Session;
use crate::server::browser::form::{Shown, is_of_another_site};
use crate::server::browser::language::{self, Wishes};
use crate::server::browser::{Cookie, cookie};
use crate::server::origin::request_id;
use crate::server::people::People;
use crate::server::people::metrics::AuthorizationOutcome;
use crate::server::people::site::PeopleSite;
use crate::server::reply;
use crate::server::request::{Call, LastingOrigin};
use crate::server::snapshot::{Site, Snapshot};
use crate::store::StoreError;
use crate::telemetry::audit::{self, Event};
use crate::tokens::{SecretString, SystemEntropy, TokenHash, TokenId, reference};

/// The field with the proof of a form.
pub const PROOF: &str = "proof";
/// The field and the parameter with the sealed flow.
pub const FLOW: &str = "flow";
/// The parameter with the language that a person chose.
const LANGUAGE: &str = "lang";
/// How long the choice of a language is kept.
const LANGUAGE_FOR: Duration = Duration::from_hours(365 * 24);
/// When to try again while people cannot be served.
const RETRY: u64 = 5;

/// A request of a browser.
pub struct Guest {
    pub call: Call,
    pub snapshot: Arc<Snapshot>,
    pub site: Arc<Site>,
    pub own: Arc<PeopleSite>,
    pub people: Arc<People>,
    pub now: Timestamp,
    /// The session that the cookie names. Nothing is verified.
    pub session: Option<(TokenId, TokenHash)>,
    language: Language,
    is_language_chosen: bool,
    browser: Option<SecretString>,
    cookies: Vec<String>,
    /// The path of this page with its flow, for links to it in other languages.
    here: Option<String>,
}

/// What is written about a request that is refused.
fn authorization_refused() -> Event<'static> {
    Event {
        event: "authorization_refused",
        ..Event::default()
    }
}

/// Why a page has no content of its own.
pub enum Stop {
    /// The request is refused.
    Refused(Refusal),
    /// The store failed.
    Store(StoreError),
    /// This answer is sent instead.
    Answer(Box<Response>),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<OAuthError> for Stop {
    fn from(error: OAuthError) -> Self {
        Self::Refused(error.into())
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// Receives a browser, and sends the answer.
///
/// # Errors
/// The Identity is not served now.
pub async fn serve(
    call: Call,
    answer: impl AsyncFnOnce(&mut Guest) -> Result<Response, Stop>,
) -> Result<Response, Refusal> {
    let mut guest = match Guest::enter(call) {
        Ok(guest) => guest,
        Err(answer) => return *answer,
    };
    let answer = answer(&mut guest).await;
    Ok(guest.finish(answer))
}

impl Guest {
    /// Receives a browser.
    ///
    /// # Errors
    /// The answer, if the Identity has no people or they cannot be served now.
    pub fn enter(call: Call) -> Result<Self, Box<Result<Response, Refusal>>> {
        let now = crate::server::now();
        let snapshot = call.app.publisher().current();
        let snapshot = arc_swap::Guard::into_inner(snapshot);
        let site = snapshot
            .shared_site()
            .ok_or_else(|| Box::new(Err(Refusal::Unavailable)))?;
        let Some(own) = site.people.clone() else {
            return Err(Box::new(Ok(reply::not_found())));
        };
        let is_served = call.app.status().serves(&snapshot, now).is_ok();
        let people = call.app.people();
        let people = people.filter(|people| is_served && people.is_served());
        let Some(people) = people else {
            let kind = Kind::StoreUnavailable { retry_after: RETRY };
            return Err(Box::new(Ok(notice(&call.head.headers, &own, kind))));
        };
        let headers = &call.head.headers;
        let read = |cookie| own.cookies.read(headers, cookie);
        let browser = read(Cookie::Browser).filter(|value| cookie::is_browser(value));
        let session = read(Cookie::Session).and_then(|text| session_of(text, &own));
        let mut guest = Self {
            language: spoken(&call.head.headers, &own, &[]),
            is_language_chosen: false,
            browser: browser.map(|value| SecretString::from(value.to_owned())),
            cookies: Vec::new(),
            here: None,
            session,
            snapshot,
            people: Arc::new(people.for_caller(call.peer)),
            now,
            site,
            own,
            call,
        };
        guest.choose_language();
        Ok(guest)
    }

    /// Takes the language that the person chose by a link.
    fn choose_language(&mut self) {
        let chosen = self.parameter(LANGUAGE);
        if let Some(language) = chosen.as_deref().and_then(Language::of_tag) {
            (self.language, self.is_language_chosen) = (language, true);
            self.set(Cookie::Language, language.tag(), Some(LANGUAGE_FOR));
        }
    }

    /// Chooses the language again, with what the client asks for.
    pub fn speak(&mut self, ui_locales: &[String]) {
        if !self.is_language_chosen && !ui_locales.is_empty() {
            self.language = spoken(&self.call.head.headers, &self.own, ui_locales);
        }
    }

    /// Returns a parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let query = self.call.head.uri.query().unwrap_or_default();
        let form = Form::parse(query.as_bytes()).ok()?;
        form.get(name).map(str::to_owned)
    }

    /// Reads the body of the form.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn body(&mut self) -> Result<Bytes, Stop> {
        let body = self.call.form_body().await?;
        self.renew()?;
        Ok(body)
    }

    /// Takes the time and what is served again, after something that took long: the answer counts then, not when the
    /// first byte came, and a person may have been disabled meanwhile.
    ///
    /// # Errors
    /// People cannot be served any more.
    pub fn renew(&mut self) -> Result<(), Stop> {
        let now = crate::server::now();
        let app = &self.call.app;
        let snapshot = arc_swap::Guard::into_inner(app.publisher().current());
        let is_served = app.status().serves(&snapshot, now).is_ok();
        let people = app.people().filter(|people| people.is_served());
        let site = snapshot.shared_site().filter(|_| is_served);
        let own = site.as_ref().and_then(|site| site.people.clone());
        let (Some(people), Some(site), Some(own)) = (people, site, own) else {
            return Err(Refusal::Unavailable.into());
        };
        self.now = now;
        (self.snapshot, self.site, self.own) = (snapshot, site, own);
        self.people = Arc::new(people.for_caller(self.call.peer));
        Ok(())
    }

    /// Returns whether a form was posted.
    pub fn is_post(&self) -> bool {
        self.call.head.method == axum::http::Method::POST
    }

    /// Returns the secret of the browser's cookie, if it sent one.
    pub fn known_browser(&self) -> Option<&str> {
        self.browser.as_ref().map(SecretString::expose)
    }

    /// Returns the secret of the browser's cookie, which is set if there is none.
    pub fn browser(&mut self) -> String {
        if let Some(browser) = &self.browser {
            return browser.expose().to_owned();
        }
        let browser = cookie::new_browser(&mut SystemEntropy);
        let text = browser.expose().to_owned();
        self.set(Cookie::Browser, &text, None);
        self.browser = Some(browser);
        text
    }

    /// Returns the cookie of known browsers.
    pub fn known(&self) -> Option<&str> {
        self.own
            .cookies
            .read(&self.call.head.headers, Cookie::Known)
    }

    fn set(&mut self, cookie: Cookie, value: &str, lasts: Option<Duration>) {
        // Every value of the server has the form of a cookie's.
        if let Ok(header) = self.own.cookies.set(cookie, value, lasts) {
            self.cookies.push(header);
        }
    }

    /// Gives the browser the cookies of a person who has signed in.
    pub fn signed_in(&mut self, session: &SecretString, known: &str, is_remembered: bool) {
        let lasts = is_remembered.then_some(self.own.sessions.remembered);
        self.set(Cookie::Session, session.expose(), lasts);
        self.set(Cookie::Known, known, Some(KNOWN_FOR));
    }

    /// Remembers that this browser proved to be a person's.
    pub fn remember(&mut self, account: &Account) {
        let browsers = &self.people.keys.browsers;
        // The account may have been revoked after this request began, by the request itself.
        let now = self.now.max(account.valid_after);
        let known = browsers.remember(self.known(), account, now, &mut SystemEntropy);
        self.set(Cookie::Known, &known, Some(KNOWN_FOR));
    }

    /// Returns whether people can stay signed in for longer.
    pub fn offers_remember(&self) -> bool {
        self.own.sessions.remembered > self.own.sessions.absolute
    }

    /// Takes the session's cookie away.
    pub fn signed_out(&mut self) {
        self.session = None;
        let removed = self.own.cookies.remove(Cookie::Session);
        self.cookies.push(removed);
    }

    /// Returns the proof for a form of this browser, which gets a cookie if it has none.
    pub fn proof(&mut self, form: &'static str) -> String {
        let browser = self.browser();
        self.people.keys.forms.proof(Shown {
            form,
            browser: &browser,
            session: self.session.map(|(id, _)| id),
        })
    }

    /// Checks that a form is the server's own, from this browser.
    ///
    /// # Errors
    /// The page that says what is wrong, with a way back to `again`.
    pub fn check(
        &self,
        form: &Form<'_>,
        name: &'static str,
        again: Option<&str>,
    ) -> Result<(), Stop> {
        let refuse = |kind| {
            let way =
                again.and_then(|path| Some(Way::Local(LocalPath::new(path)?, Label::TryAgain)));
            Err(self.stop(kind, way))
        };
        if is_of_another_site(&self.call.head.headers, &self.own.origin) {
            return refuse(Kind::FormRefused);
        }
        let Some(browser) = self.known_browser() else {
            return refuse(Kind::NoCookies);
        };
        let shown = Shown {
            form: name,
            browser,
            session: self.session.map(|(id, _)| id),
        };
        let proof = form.get(PROOF).unwrap_or_default();
        if self.people.keys.forms.is_proof(shown, proof) {
            return Ok(());
        }
        refuse(Kind::FormRefused)
    }

    /// Returns the path of an endpoint, with these parameters.
    pub fn path(&self, endpoint: Endpoint, parameters: &[(&str, &str)]) -> String {
        let mut path = endpoint.path(&self.site.path);
        for (index, (name, value)) in parameters.iter().enumerate() {
            path.push(if index == 0 { '?' } else { '&' });
            path.push_str(name);
            path.push('=');
            // Sealed values, links and fixed words: nothing needs escaping.
            path.push_str(value);
        }
        path
    }

    /// Says that this page can be shown again at a path, so that it offers other languages.
    pub fn is_at(&mut self, path: String) {
        self.here = Some(path);
    }

    /// Renders something with the context of this request.
    pub fn render(&self, render: impl FnOnce(&Context<'_>) -> Page) -> Response {
        let others: Vec<(Language, String)> = match &self.here {
            None => Vec::new(),
            Some(here) => Language::ALL
                .into_iter()
                .filter(|language| *language != self.language)
                .map(|language| {
                    let joint = if here.contains('?') { '&' } else { '?' };
                    (
                        language,
                        format!("{here}{joint}{LANGUAGE}={}", language.tag()),
                    )
                })
                .collect(),
        };
        let others: Vec<(Language, LocalPath<'_>)> = others
            .iter()
            .filter_map(|(language, path)| Some((*language, LocalPath::new(path)?)))
            .collect();
        respond(render(&Context {
            language: self.language,
            theme: &self.own.theme,
            other_languages: &others,
        }))
    }

    /// Returns the page that says what happened, and leads on.
    pub fn notice(&self, kind: Kind<'_>, way: Option<Way<'_>>) -> Response {
        let id = request_id(&self.call.head.headers).and_then(|id| id.to_str().ok());
        self.render(|context| {
            Notice {
                kind,
                way,
                request_id: id,
            }
            .render(context)
        })
    }

    /// Returns the same page as a reason to stop.
    pub fn stop(&self, kind: Kind<'_>, way: Option<Way<'_>>) -> Stop {
        Stop::Answer(Box::new(self.notice(kind, way)))
    }

    /// Answers the client with an error. It is counted, and written unless the address has had too many.
    pub fn refuse(&self, to: &ReturnTo, error: OAuthError) -> Response {
        self.refuse_with(&authorization_refused(), to, error)
    }

    /// Answers the client with an error that does not depend on the person. Before a sign-in, the person gets
    /// a page with a button to the client instead, unless the client wants no page (`is_silent`): an attacker can
    /// register a client, and otherwise every link to this server could lead on to a site of theirs (RFC 9700 section
    /// 4.11.2).
    pub fn refuse_early(
        &self,
        to: &ReturnTo,
        client: &str,
        is_silent: bool,
        error: OAuthError,
    ) -> Response {
        if is_silent || self.session.is_some() {
            return self.refuse(to, error);
        }
        self.write_refused(&authorization_refused(), error);
        // A link has no form. Without the button the person goes back alone.
        let uri = match to.refuse(&self.site.issuer, error) {
            Answer::Redirect(uri) => Some(uri),
            Answer::Form { .. } => None,
        };
        let uri = uri.as_deref().and_then(ClientUri::new);
        let way = uri.map(|uri| Way::Client(WayBack { uri, client }));
        let reason = error.description;
        self.notice(Kind::InvalidRequest { reason }, way)
    }

    /// Answers the client with an error, and writes it as this event.
    pub fn refuse_with(&self, event: &Event<'_>, to: &ReturnTo, error: OAuthError) -> Response {
        let outcome = AuthorizationOutcome::Refused(error.code.as_str());
        let metrics = self.call.app.metrics();
        metrics.people().authorized(outcome);
        self.write_refused(event, error);
        self.answer(&to.refuse(&self.site.issuer, error))
    }

    fn write_refused(&self, event: &Event<'_>, error: OAuthError) {
        let code = error.code.as_str();
        if self.call.app.noise().sign_in(self.call.peer, code) {
            self.record(&Event {
                reason: Some(code),
                ..*event
            });
        }
    }

    /// Sends an answer to the client.
    pub fn answer(&self, answer: &Answer) -> Response {
        match answer {
            Answer::Redirect(uri) => redirect(uri),
            Answer::Form { uri, fields } => {
                let fields: Vec<Field<'_>> = fields
                    .iter()
                    .map(|(name, value)| Field { name, value })
                    .collect();
                match ClientUri::new(uri) {
                    Some(uri) => self.render(|context| {
                        AnswerForm {
                            uri,
                            fields: &fields,
                        }
                        .render(context)
                    }),
                    None => self.notice(Kind::UnknownRedirectUri, None),
                }
            }
        }
    }

    /// Writes an audit event.
    pub fn record(&self, event: &Event<'_>) {
        audit::of_person(&self.call.origin(&self.snapshot), event);
    }

    /// Returns the origin of the request for events that are written in a task of their own.
    pub fn lasting_origin(&self) -> LastingOrigin {
        self.call.lasting_origin(Arc::clone(&self.snapshot))
    }

    /// Waits for something outside this server's own work, such as the store or a hash, and gives the request's turn to
    /// another one meanwhile.
    pub async fn wait_for<T>(&self, outside: impl Future<Output = T>) -> T {
        let turn = self.call.give_turn_back();
        let done = outside.await;
        turn.take_again().await;
        done
    }

    /// Waits for work that is carried out although the browser leaves.
    ///
    /// # Errors
    /// As [`carry_out`].
    pub async fn carry_out<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, Refusal> {
        self.wait_for(carry_out(self.call.admitted(), work)).await
    }

    /// Returns the session of the browser and its account, if the session is valid.
    ///
    /// # Errors
    /// A fault of the store.
    pub async fn use_session(&self) -> Result<Option<(Session, Account)>, StoreError> {
        let Some((id, hash)) = self.session else {
            return Ok(None);
        };
        let (limits, store) = (self.own.sessions, &self.people.store);
        let used = store.use_session(id, hash, limits, self.now);
        self.wait_for(used).await
    }

    /// Ends the request: adds the cookies, and turns a reason to stop into a page.
    pub fn finish(self, answer: Result<Response, Stop>) -> Response {
        let mut response = match answer {
            Ok(response) => response,
            Err(Stop::Answer(response)) => *response,
            Err(Stop::Refused(refusal)) => self.notice(kind_of(refusal), None),
            Err(Stop::Store(error)) => self.notice(kind_of(unavailable(&self.call, &error)), None),
        };
        for cookie in &self.cookies {
            if let Ok(mut value) = HeaderValue::from_str(cookie) {
                value.set_sensitive(true);
                response.headers_mut().append(SET_COOKIE, value);
            }
        }
        response
    }
}

/// Reads the cookie of a session.
fn session_of(text: &str, own: &PeopleSite) -> Option<(TokenId, TokenHash)> {
    let parsed = reference::parse(text).ok()?;
    let is_ours = parsed.kind == reference::Kind::Session && parsed.prefix == own.prefix.as_str();
    is_ours.then_some((parsed.id, parsed.hash))
}

fn spoken(headers: &HeaderMap, own: &PeopleSite, ui_locales: &[String]) -> Language {
    let accepted = headers.get(ACCEPT_LANGUAGE);
    let tags = Language::ALL.map(Language::tag);
    let wishes = Wishes {
        ui_locales,
        cookie: own.cookies.read(headers, Cookie::Language),
        accept_language: accepted.and_then(|value| value.to_str().ok()),
    };
    language::choose(&tags, wishes)
        .and_then(Language::of_tag)
        .unwrap_or_default()
}

/// Returns the page of a refusal at an endpoint that shows pages; `None` if the Identity has no people.
pub fn refused(headers: &HeaderMap, refusal: Refusal, site: Option<&Site>) -> Option<Response> {
    let own = site?.people.as_ref()?;
    Some(notice(headers, own, kind_of(refusal)))
}

fn notice(headers: &HeaderMap, own: &PeopleSite, kind: Kind<'_>) -> Response {
    let context = Context {
        language: spoken(headers, own, &[]),
        theme: &own.theme,
        other_languages: &[],
    };
    let id = request_id(headers).and_then(|id| id.to_str().ok());
    respond(
        Notice {
            kind,
            way: None,
            request_id: id,
        }
        .render(&context),
    )
}

fn kind_of(refusal: Refusal) -> Kind<'static> {
    match refusal {
        Refusal::TooLarge | Refusal::UriTooLong => Kind::TooLarge,
        Refusal::MethodNotAllowed(allow) => Kind::MethodNotAllowed { allow },
        Refusal::Unavailable => Kind::StoreUnavailable { retry_after: RETRY },
        Refusal::Overloaded => Kind::Busy { retry_after: 1 },
        Refusal::TooManyFailures(wait) | Refusal::TooManyRequests(wait) => Kind::TooMany {
            retry_after: wait.as_secs().max(1),
        },
        Refusal::Protocol(_) | Refusal::TooSlow | Refusal::BrokenBody | Refusal::Misdirected => {
            Kind::InvalidRequest {
                reason: refusal.error().description,
            }
        }
    }
}

/// Sends a page.
fn respond(page: Page) -> Response {
    let mut response = Response::new(Body::from(page.body));
    *response.status_mut() =
        StatusCode::from_u16(page.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in page.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            response
                .headers_mut()
                .insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Sends the browser elsewhere, with a GET (RFC 9700 section 4.12).
pub fn redirect(uri: &str) -> Response {
    let Ok(location) = HeaderValue::from_str(uri) else {
        // No URI that a client may register, and no path of the server, has such characters.
        return reply::empty(StatusCode::INTERNAL_SERVER_ERROR);
    };
    let mut response = reply::empty(StatusCode::SEE_OTHER);
    let headers = response.headers_mut();
    headers.insert(LOCATION, location);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
