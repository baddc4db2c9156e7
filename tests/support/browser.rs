//! A browser without scripts: it keeps cookies, follows redirects, and sends the forms of pages.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method};
use http_body_util::{BodyExt as _, Full};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use reqwest::Url;
use rustls::pki_types::CertificateDer;
use scraper::{Html, Selector};
use tokio::runtime::Runtime;

/// The most redirects and pages on the way to one place.
const MAX_STEPS: usize = 16;

/// A person with a password.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) username: String,
    pub(crate) password: String,
}

/// A browser, in which at most one person is signed in.
pub(crate) struct Browser {
    /// Values by host and name. As in every browser, all ports of a host share them.
    cookies: BTreeMap<(String, String), String>,
    /// The origins that it visits. It does not follow a redirect or a form to another one.
    own: Vec<String>,
    runtime: Runtime,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
}

/// A page, as the browser shows it.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    pub(crate) url: Url,
    pub(crate) status: u16,
    pub(crate) body: String,
    /// The first form.
    pub(crate) form: Option<Form>,
}

/// A form, with the values that it has when the page is shown.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    pub(crate) action: Url,
    pub(crate) fields: Vec<(String, String)>,
}

/// A request to an origin that the browser does not visit.
#[derive(Clone, Debug)]
pub(crate) struct Left {
    pub(crate) url: Url,
    /// The fields of a form that it would send; `None` for a redirect.
    pub(crate) form: Option<Vec<(String, String)>>,
}

/// Where a way ended.
#[derive(Clone, Debug)]
pub(crate) enum End {
    /// At a page.
    Page(Page),
    /// Outside.
    Left(Left),
}

/// What [`Browser::go`] saw.
#[derive(Clone, Debug)]
pub(crate) struct Way {
    /// The last part of the path to which the form of each shown page went.
    pub(crate) forms: Vec<String>,
    /// The username that was filled in on the first sign-in page.
    pub(crate) filled_in: Option<String>,
    pub(crate) end: End,
}

impl Browser {
    /// Creates a browser that visits the origins of these URLs, without cookies.
    pub(crate) fn new(own: &[&str]) -> Self {
        Self::trusting(own, None)
    }

    /// Like [`Self::new`]. The browser trusts the certificate.
    pub(crate) fn trusting(own: &[&str], certificate: Option<&CertificateDer<'static>>) -> Self {
        let origin = |url: &&str| Url::parse(url).unwrap().origin().ascii_serialization();
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificate.cloned());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(config)
            .https_or_http()
            .enable_http1()
            .build();
        let runtime = tokio::runtime::Builder::new_current_thread();
        Self {
            cookies: BTreeMap::new(),
            own: own.iter().map(origin).collect(),
            runtime: { runtime }.enable_all().build().unwrap(),
            client: Client::builder(TokioExecutor::new())
                // A server may close a connection that waits.
                .pool_max_idle_per_host(0)
                .build(connector),
        }
    }

    /// Opens a URL, and follows redirects.
    pub(crate) fn open(&mut self, url: &str) -> End {
        self.send(Method::GET, Url::parse(url).unwrap(), None)
    }

    /// Sends a form with further fields, and follows redirects.
    pub(crate) fn submit(&mut self, form: &Form, more: &[(&str, &str)]) -> End {
        let mut fields = form.fields.clone();
        for (name, value) in more {
            fields.retain(|(known, _)| known != name);
            fields.push(((*name).to_owned(), (*value).to_owned()));
        }
        self.send(Method::POST, form.action.clone(), Some(fields))
    }

    /// Opens a URL, signs the person in where a page asks for a password, and accepts everything else, until it leaves
    /// or sees a page without a form. Without a person, it stops at the first page.
    pub(crate) fn go(&mut self, url: &str, person: Option<&Person>) -> Way {
        let end = self.open(url);
        self.go_on(end, person)
    }

    /// Continues as [`Self::go`].
    pub(crate) fn go_on(&mut self, mut end: End, person: Option<&Person>) -> Way {
        let (mut forms, mut filled_in) = (Vec::new(), None);
        for _ in 0..MAX_STEPS {
            let End::Page(page) = &end else { break };
            let Some(form) = page.form.clone().filter(|_| page.status == 200) else {
                break;
            };
            let asks_password = page.body.contains("type=\"password\"");
            let last = form.action.path().rsplit('/').next();
            forms.push(last.unwrap_or_default().to_owned());
            if asks_password && filled_in.is_none() {
                let field = form.fields.iter().find(|(name, _)| name == "username");
                filled_in = field.map(|(_, value)| value.clone());
            }
            if !self.visits(&form.action) {
                // The button that takes an answer to a client.
                end = self.submit(&form, &[]);
                continue;
            }
            let Some(person) = person else { break };
            let mut fields = vec![("decision", "accept")];
            if asks_password {
                fields.push(("username", &person.username));
                fields.push(("password", &person.password));
            }
            end = self.submit(&form, &fields);
        }
        Way {
            forms,
            filled_in,
            end,
        }
    }

    fn visits(&self, url: &Url) -> bool {
        self.own.contains(&url.origin().ascii_serialization())
    }

    fn send(
        &mut self,
        mut method: Method,
        mut url: Url,
        mut form: Option<Vec<(String, String)>>,
    ) -> End {
        for _ in 0..MAX_STEPS {
            if !self.visits(&url) {
                return End::Left(Left { url, form });
            }
            let (status, headers, body) = self.exchange(&method, &url, form.as_deref());
            for cookie in headers.get_all(SET_COOKIE) {
                self.keep(&url, cookie.to_str().unwrap());
            }
            let location = headers
                .get(LOCATION)
                .filter(|_| (300..400).contains(&status));
            let Some(location) = location else {
                let is_page = headers
                    .get(CONTENT_TYPE)
                    .is_some_and(|value| value.to_str().unwrap().starts_with("text/html"));
                let form = is_page.then(|| form_of(&url, &body)).flatten();
                return End::Page(Page {
                    url,
                    status,
                    body,
                    form,
                });
            };
            assert!(
                status != 307 && status != 308,
                "a redirect that repeats the form: {url}"
            );
            url = url.join(location.to_str().unwrap()).unwrap();
            (method, form) = (Method::GET, None);
        }
        panic!("redirects in a circle: {url}")
    }

    fn exchange(
        &self,
        method: &Method,
        url: &Url,
        form: Option<&[(String, String)]>,
    ) -> (u16, HeaderMap, String) {
        let mut request = http::Request::builder()
            .method(method.clone())
            .uri(url.as_str())
            .header(COOKIE, self.cookies_of(url));
        let mut body = form_urlencoded::Serializer::new(String::new());
        if let Some(form) = form {
            body.extend_pairs(form);
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let request = request.body(Full::from(body.finish())).unwrap();
        self.runtime.block_on(async {
            let reply = self.client.request(request).await;
            let reply = reply.unwrap_or_else(|error| panic!("{url}: {error}"));
            let (head, body) = reply.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            let body = String::from_utf8(body.into()).unwrap();
            (head.status.as_u16(), head.headers, body)
        })
    }

    fn cookies_of(&self, url: &Url) -> String {
        let own = self.cookies.iter();
        let own = own.filter(|((host, _), _)| Some(&**host) == url.host_str());
        let pairs = own.map(|((_, name), value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    fn keep(&mut self, url: &Url, cookie: &str) {
        let (name, rest) = cookie.split_once('=').unwrap();
        let value = rest.split(';').next().unwrap();
        let key = (url.host_str().unwrap().to_owned(), name.to_owned());
        let is_gone =
            rest.contains("Max-Age=0") || rest.contains("01 Jan 1970") || value.is_empty();
        if is_gone {
            self.cookies.remove(&key);
        } else {
            self.cookies.insert(key, value.to_owned());
        }
    }
}

impl End {
    /// The page.
    pub(crate) fn page(self) -> Page {
        match self {
            Self::Page(page) => page,
            Self::Left(left) => panic!("the browser left: {left:?}"),
        }
    }
}

fn form_of(url: &Url, body: &str) -> Option<Form> {
    let select = |selector| Selector::parse(selector).unwrap();
    let (html, forms) = (Html::parse_document(body), select("form[method=post]"));
    let form = html.select(&forms).next()?;
    let action = form.attr("action").unwrap_or_default();
    let inputs = select("input[name]");
    let fields = form.select(&inputs);
    let fields = fields.filter(|field| field.attr("type") != Some("checkbox"));
    Some(Form {
        action: url.join(action).unwrap(),
        fields: fields
            .map(|field| {
                let value = |name| field.attr(name).unwrap_or_default().to_owned();
                (value("name"), value("value"))
            })
            .collect(),
    })
}
