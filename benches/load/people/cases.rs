//! What people and their applications send: each request is sent once or needs what an earlier one gave.

use anyhow::{Context as _, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use super::served::Known;
use super::world::PASSWORD;
use crate::wire::Reply;

const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const FORM: &str = "application/x-www-form-urlencoded";
/// Names the case to the bare server. Symbolon ignores it.
pub const CASE: &str = "x-case";

/// A case, in the order in which they run: each uses what those before it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Case {
    Authorize,
    Code,
    Rotating,
    Stable,
    UserInfo,
    Page,
    Password,
}

impl Case {
    pub const ALL: [Self; 7] = [
        Self::Authorize,
        Self::Code,
        Self::Rotating,
        Self::Stable,
        Self::UserInfo,
        Self::Page,
        Self::Password,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Authorize => "authorize under a session",
            Self::Code => "code to tokens",
            Self::Rotating => "refresh, rotating",
            Self::Stable => "refresh, stable",
            Self::UserInfo => "userinfo",
            Self::Page => "sign-in page",
            Self::Password => "password sign-in",
        }
    }

    /// Returns how many requests are sent where others need `requests`: cheap ones are more, for as much CPU time.
    pub const fn count(self, requests: usize) -> usize {
        match self {
            Self::UserInfo | Self::Page => requests * 4,
            Self::Password => requests / 20,
            _ => requests,
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|case| case.name() == name)
    }
}

/// An application.
#[derive(Clone, Copy, Debug)]
pub enum Application {
    Public,
    Confidential,
}

impl Application {
    const fn id(self) -> &'static str {
        match self {
            Self::Public => "apps.public",
            Self::Confidential => "apps.confidential",
        }
    }

    fn redirect_uri(self) -> String {
        let host = self.id().trim_start_matches("apps.");
        encoded(&format!("https://{host}.example.com/callback"))
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

/// The sign-in page that one browser sees, with its form.
#[derive(Clone, Debug, Default)]
struct Page {
    path: String,
    cookie: String,
    action: String,
    hidden: String,
}

/// What the load holds of one server.
#[derive(Debug)]
pub struct Held {
    known: Known,
    /// Counts requests, so that they go to each person in turn.
    at: usize,
    codes: Vec<String>,
    rotating: Vec<String>,
    stable: Vec<String>,
    access: Vec<String>,
    page: Page,
}

impl Held {
    pub fn new(known: Known) -> Self {
        Self {
            known,
            at: 0,
            codes: Vec::new(),
            rotating: Vec::new(),
            stable: Vec::new(),
            access: Vec::new(),
            page: Page::default(),
        }
    }

    /// Returns this many requests of a case, without the head's start line and host: `(method, path, headers, body)`.
    pub fn requests(&mut self, case: Case, count: usize) -> anyhow::Result<Vec<Request>> {
        if case == Case::Code {
            ensure!(self.codes.len() >= count, "too few codes");
        }
        (0..count).map(|_| self.request(case)).collect()
    }

    fn next(&mut self) -> usize {
        self.at += 1;
        self.at
    }

    fn request(&mut self, case: Case) -> anyhow::Result<Request> {
        let at = self.next();
        Ok(match case {
            Case::Authorize => self.authorize(Application::Public),
            Case::Code => {
                let code = self.codes.pop().context("a code")?;
                self.redeem(Application::Public, &code)
            }
            Case::Rotating => {
                let token = self.rotating.pop().context("a refresh token")?;
                let form = format!(
                    "grant_type=refresh_token&client_id={}&refresh_token={token}",
                    Application::Public.id()
                );
                Request::new(case, "POST", "/id/connect/token").form(form)
            }
            Case::Stable => {
                let token = of(&self.stable, at)?;
                let form = format!("grant_type=refresh_token&refresh_token={token}");
                let request = Request::new(case, "POST", "/id/connect/token").form(form);
                request.header("authorization", self.basic())
            }
            Case::UserInfo => {
                let token = format!("Bearer {}", of(&self.access, at)?);
                let request = Request::new(case, "GET", "/id/connect/userinfo");
                request.header("authorization", token)
            }
            Case::Page => {
                let request = Request::new(case, "GET", &self.page.path);
                request.header("cookie", self.page.cookie.clone())
            }
            Case::Password => {
                let username = of(&self.known.usernames, at)?;
                let password = encoded(PASSWORD);
                let form = format!(
                    "{}&username={username}&password={password}&decision=accept",
                    self.page.hidden
                );
                let request = Request::new(case, "POST", &self.page.action).form(form);
                request.header("cookie", self.page.cookie.clone())
            }
        })
    }

    fn basic(&self) -> String {
        let secret = &self.known.confidential;
        let pair = format!("{}:{}", secret.client_id, secret.secret);
        format!("Basic {}", STANDARD.encode(pair))
    }

    /// Returns an authorization request under the session of the next person.
    pub fn authorize(&mut self, application: Application) -> Request {
        let at = self.next();
        let cookies = &self.known.cookies;
        let cookie = cookies[at % cookies.len()].clone();
        Self::anonymous(application).header("cookie", cookie)
    }

    /// Returns an authorization request of a new browser.
    pub fn anonymous(application: Application) -> Request {
        let path = format!(
            "/id/connect/authorize?client_id={}&response_type=code&redirect_uri={}&scope=openid%20profile%20email%20offline_access&state=s1&nonce=n1&code_challenge={CHALLENGE}&code_challenge_method=S256",
            application.id(),
            application.redirect_uri()
        );
        Request::new(Case::Authorize, "GET", &path)
    }

    /// Returns the request that redeems a code.
    pub fn redeem(&self, application: Application, code: &str) -> Request {
        let uri = application.redirect_uri();
        let mut form = format!(
            "grant_type=authorization_code&code={code}&redirect_uri={uri}&code_verifier={VERIFIER}"
        );
        let request = Request::new(Case::Code, "POST", "/id/connect/token");
        match application {
            Application::Public => {
                form.push_str("&client_id=");
                form.push_str(application.id());
                request.form(form)
            }
            Application::Confidential => request.form(form).header("authorization", self.basic()),
        }
    }

    /// Keeps what the answers of a case give.
    pub fn keep(&mut self, case: Case, replies: &[Reply]) -> anyhow::Result<()> {
        for reply in replies {
            let is_good = match case {
                Case::Authorize | Case::Password => reply.status == 303,
                _ => reply.status == 200,
            };
            ensure!(is_good, "{}: {reply:?}", case.name());
            match case {
                Case::Authorize => self.codes.push(code(reply)?),
                Case::Code => {
                    self.rotating.push(field(reply, "refresh_token")?);
                    self.access.push(field(reply, "access_token")?);
                }
                Case::Rotating => self.rotating.push(field(reply, "refresh_token")?),
                // A sign-in that fails shows the page again, without a session.
                Case::Password => {
                    ensure!(reply.head.contains("symbolon-session-"), "{reply:?}");
                }
                Case::Stable | Case::UserInfo | Case::Page => {}
            }
        }
        Ok(())
    }

    /// Keeps the refresh token of the confidential application.
    pub fn keep_stable(&mut self, reply: &Reply) -> anyhow::Result<()> {
        self.stable.push(field(reply, "refresh_token")?);
        Ok(())
    }

    /// Keeps the way to the sign-in page.
    pub fn keep_way(&mut self, redirect: &Reply) -> anyhow::Result<()> {
        self.page = Page {
            path: redirect
                .header("location")
                .context("a redirect")?
                .to_owned(),
            cookie: cookie(redirect)?,
            ..Page::default()
        };
        Ok(())
    }

    /// Takes the page that another server showed.
    pub fn copy_page(&mut self, from: &Self) {
        self.page.clone_from(&from.page);
    }

    /// Keeps the form of the sign-in page.
    pub fn keep_form(&mut self, page: &Reply) -> anyhow::Result<()> {
        let html = scraper::Html::parse_document(&page.body);
        let select = |text: &str| scraper::Selector::parse(text).ok().context("a selector");
        let form = html.select(&select("form[method=post]")?).next();
        let form = form.with_context(|| format!("a form: {page:?}"))?;
        form.attr("action")
            .unwrap_or_default()
            .clone_into(&mut self.page.action);
        let mut hidden = form_urlencoded::Serializer::new(String::new());
        for input in form.select(&select("input[type=hidden]")?) {
            let value = |name| input.attr(name).unwrap_or_default();
            hidden.append_pair(value("name"), value("value"));
        }
        self.page.hidden = hidden.finish();
        Ok(())
    }
}

fn of(all: &[String], at: usize) -> anyhow::Result<&str> {
    ensure!(!all.is_empty(), "an earlier case was left out");
    Ok(&all[at % all.len()])
}

/// Returns the code of an answer, or of the bare answer that is as long.
pub fn code(reply: &Reply) -> anyhow::Result<String> {
    let (_, rest) = reply
        .header("location")
        .and_then(|uri| uri.split_once("code="))
        .with_context(|| format!("no code: {reply:?}"))?;
    Ok(rest.split('&').next().unwrap_or_default().to_owned())
}

fn field(reply: &Reply, name: &str) -> anyhow::Result<String> {
    let json: serde_json::Value = serde_json::from_str(&reply.body)?;
    let value = json[name].as_str();
    Ok(value
        .with_context(|| format!("no {name}: {reply:?}"))?
        .to_owned())
}

/// Returns the cookies that an answer sets, as a `Cookie` header.
fn cookie(reply: &Reply) -> anyhow::Result<String> {
    let set = reply
        .headers("set-cookie")
        .filter_map(|it| it.split(';').next());
    let set: Vec<&str> = set.collect();
    ensure!(!set.is_empty(), "no cookie: {reply:?}");
    Ok(set.join("; "))
}

/// A request, without its host.
#[derive(Clone, Debug)]
pub struct Request {
    case: Case,
    method: &'static str,
    path: String,
    headers: String,
    body: String,
}

impl Request {
    fn new(case: Case, method: &'static str, path: &str) -> Self {
        Self {
            case,
            method,
            path: path.to_owned(),
            headers: String::new(),
            body: String::new(),
        }
    }

    fn header(mut self, name: &str, value: impl AsRef<str>) -> Self {
        let value = value.as_ref();
        self.headers.extend([name, ": ", value, "\r\n"]);
        self
    }

    fn form(mut self, body: String) -> Self {
        self.body = body;
        self.header("content-type", FORM)
    }

    /// Returns the bytes of the request to a host.
    pub fn bytes(&self, host: &str) -> Vec<u8> {
        let Self {
            case,
            method,
            path,
            headers,
            body,
        } = self;
        let (length, case) = (body.len(), case.name());
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {host}\r\n{CASE}: {case}\r\n{headers}content-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}
