//! A browser: keeps cookies, follows redirects of the server, and sends forms as a page shows them.

use std::collections::BTreeMap;

use super::*;
use crate::server::ServerLimits;
use crate::server::activity::Activity;
use crate::server::load::Load;
use crate::server::turns::Taken;

pub struct Browser<'t> {
    town: &'t Town,
    pub cookies: BTreeMap<String, String>,
    /// Headers of each request.
    pub headers: Vec<(&'static str, String)>,
}

/// Where the browser left the server.
#[derive(Debug)]
pub struct Left {
    pub uri: String,
}

impl Left {
    /// Returns a parameter of the query or fragment.
    pub fn parameter(&self, name: &str) -> Option<String> {
        let (_, query) = self.uri.split_once(['?', '#'])?;
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let (_, value) = pairs.find(|(key, _)| key == name)?;
        Some(value.into_owned())
    }
}

/// Sends a request over HTTP/2. Whenever it waits for the store or a hash, its turn must be free for another request of
/// the connection, which through a proxy may be of another browser.
async fn answered_without_a_turn_while_waiting(town: &Town, mut request: Request<Body>) -> Reply {
    let limits = ServerLimits {
        turns: 1,
        ..ServerLimits::default()
    };
    let activity = Arc::new(Activity::new(Arc::new(Load::new(&limits))));
    let turn = activity.try_turn().unwrap();
    let place = format!("{} {}", request.method(), request.uri().path());
    let taken = Taken::new(Arc::clone(&activity), turn);
    request.extensions_mut().insert(Arc::new(taken));
    let mut answer = std::pin::pin!(town.fixture.send(request));
    let polled = std::future::poll_fn(|context| {
        let polled = answer.as_mut().poll(context);
        if polled.is_pending() {
            assert!(activity.try_turn().is_some(), "{place} keeps its turn");
        }
        polled
    });
    polled.await
}

impl<'t> Browser<'t> {
    pub fn new(town: &'t Town) -> Self {
        Self {
            town,
            cookies: BTreeMap::new(),
            headers: Vec::new(),
        }
    }

    fn request(&self, method: &str, path: &str) -> axum::http::request::Builder {
        let mut request = Request::builder().method(method).uri(path);
        if !self.cookies.is_empty() {
            let pairs = self
                .cookies
                .iter()
                .map(|(name, value)| format!("{name}={value}"));
            request = request.header("cookie", pairs.collect::<Vec<_>>().join("; "));
        }
        for (name, value) in &self.headers {
            request = request.header(*name, value);
        }
        request
    }

    async fn send(&mut self, request: Request<Body>) -> Reply {
        let reply = answered_without_a_turn_while_waiting(self.town, request).await;
        for cookie in reply.headers.get_all("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            if rest.contains("Max-Age=0") {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        reply
    }

    /// Sends one GET.
    pub async fn once(&mut self, path: &str) -> Reply {
        let request = self.request("GET", path).body(Body::empty()).unwrap();
        self.send(request).await
    }

    /// Sends one POST of a form.
    pub async fn post_once(&mut self, path: &str, body: &str) -> Reply {
        let request = self.post(path).body(Body::from(body.to_owned()));
        self.send(request.unwrap()).await
    }

    fn post(&self, path: &str) -> axum::http::request::Builder {
        let request = self.request("POST", path);
        request.header("content-type", "application/x-www-form-urlencoded")
    }

    /// Opens a page, and follows the redirects of the server to its own pages.
    pub async fn get(&mut self, path: &str) -> Reply {
        let reply = self.once(path).await;
        self.follow(reply).await
    }

    pub async fn follow(&mut self, mut reply: Reply) -> Reply {
        for _ in 0..8 {
            if reply.status != StatusCode::SEE_OTHER || !reply.header("location").starts_with('/') {
                return reply;
            }
            let path = reply.header("location").to_owned();
            reply = self.once(&path).await;
        }
        panic!("redirects in a circle: {reply}")
    }

    /// Sends the form of a page, with its hidden fields and these.
    pub async fn submit(&mut self, page: &Reply, fields: &[(&str, &str)]) -> Reply {
        let reply = self.submit_once(page, fields).await;
        self.follow(reply).await
    }

    pub async fn submit_once(&mut self, page: &Reply, fields: &[(&str, &str)]) -> Reply {
        let (action, body) = filled(page, fields);
        self.post_once(&action, &body).await
    }

    /// Sends the form of a page, whose body arrives after something else has happened.
    pub async fn submit_after(
        &mut self,
        page: &Reply,
        fields: &[(&str, &str)],
        before: impl Future<Output = ()> + Send + 'static,
    ) -> Reply {
        let (action, body) = filled(page, fields);
        let body = futures::stream::once(async move {
            before.await;
            Ok::<_, std::convert::Infallible>(body)
        });
        let request = self.post(&action).body(Body::from_stream(body)).unwrap();
        self.send(request).await
    }

    /// Signs alice in on a sign-in page.
    pub async fn sign_in(&mut self, page: &Reply) -> Reply {
        let fields = [("username", "alice"), ("password", PASSWORD)];
        self.submit(page, &fields).await
    }

    /// Goes from an authorization request to the client, over every page.
    pub async fn authorize(&mut self, more: &str) -> Left {
        let page = self.get(&authorize(more)).await;
        self.reach_client(page).await
    }

    pub async fn reach_client(&mut self, mut reply: Reply) -> Left {
        for _ in 0..4 {
            if reply.status == StatusCode::SEE_OTHER {
                return left(&reply);
            }
            assert_eq!(reply.status, StatusCode::OK, "{reply}");
            reply = if reply.body.contains("type=\"password\"") {
                self.sign_in(&reply).await
            } else {
                self.submit(&reply, &[]).await
            };
        }
        panic!("no way to the client: {reply}")
    }

    /// The name of a cookie that is set.
    pub fn has(&self, cookie: &str) -> bool {
        let mark = format!("symbolon-{cookie}-");
        self.cookies.keys().any(|name| name.contains(&mark))
    }
}

/// Returns where the form of a page goes, and its body with these fields.
fn filled(page: &Reply, fields: &[(&str, &str)]) -> (String, String) {
    let (action, hidden) = form_of(page);
    let mut body = form_urlencoded::Serializer::new(String::new());
    body.extend_pairs(&hidden);
    body.extend_pairs(fields);
    if !fields.iter().any(|(name, _)| *name == "decision") {
        body.append_pair("decision", "accept");
    }
    (action, body.finish())
}

/// Where a redirect leads.
pub fn left(reply: &Reply) -> Left {
    assert_eq!(reply.status, StatusCode::SEE_OTHER, "{reply}");
    Left {
        uri: reply.header("location").to_owned(),
    }
}

/// Returns the action and the hidden fields of the form of a page.
pub fn form_of(page: &Reply) -> (String, Vec<(String, String)>) {
    let after = |text: &str, mark: &str| text.split_once(mark).unwrap().1.to_owned();
    assert!(page.body.contains("<form "), "{page}");
    let form = after(&page.body, "<form ");
    let attribute = |tag: &str, name: &str| {
        let rest = after(tag, &format!(" {name}=\""));
        unescaped(rest.split('"').next().unwrap())
    };
    let tag = form.split('>').next().unwrap();
    let action = attribute(&format!(" {tag}"), "action");
    let hidden = form.match_indices("<input type=\"hidden\"").map(|(at, _)| {
        let tag = form[at..].split('>').next().unwrap();
        (attribute(tag, "name"), attribute(tag, "value"))
    });
    (action, hidden.collect())
}

/// Returns where the button of a notice leads.
pub fn way(page: &Reply) -> String {
    let (_, rest) = page
        .body
        .split_once("<a class=\"button\" href=\"")
        .unwrap_or_else(|| panic!("no button: {page}"));
    unescaped(rest.split('"').next().unwrap())
}

fn unescaped(text: &str) -> String {
    text.replace("&#38;", "&")
        .replace("&amp;", "&")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#60;", "<")
        .replace("&#62;", ">")
}
