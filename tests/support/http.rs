//! The requests of clients and APIs, over real sockets.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

/// The credentials of a client, as in its Secret.
#[derive(Clone)]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) secret: String,
    pub(crate) issuer: String,
    pub(crate) token_url: String,
}

impl Client {
    /// Reads them from a client's Secret.
    pub(crate) fn of(secret: &BTreeMap<String, String>) -> Self {
        let value = |key: &str| secret[key].clone();
        Self {
            id: value("client-id"),
            secret: value("client-secret"),
            issuer: value("issuer"),
            token_url: value("token-url"),
        }
    }

    /// Requests a token and returns the status and the body.
    pub(crate) fn ask(&self, form: &[(&str, &str)]) -> (u16, Value) {
        let mut form = form.to_vec();
        form.push(("grant_type", "client_credentials"));
        post(&self.token_url, self, &form)
    }

    /// Revokes a token (RFC 7009) and returns the status.
    pub(crate) fn revoke(&self, token: &str) -> u16 {
        let url = format!("{}/connect/revocation", self.issuer);
        post(&url, self, &[("token", token)]).0
    }

    /// Requests an access token.
    pub(crate) fn token(&self) -> String {
        let (status, body) = self.ask(&[]);
        assert_eq!(status, 200, "{body}");
        body["access_token"].as_str().unwrap().to_owned()
    }
}

/// The introspection response that `caller` gets for a token.
pub(crate) fn introspect(caller: &Client, token: &str) -> Value {
    let url = format!("{}/connect/introspect", caller.issuer);
    let (status, body) = post(&url, caller, &[("token", token)]);
    assert_eq!(status, 200, "{body}");
    body
}

fn post(url: &str, client: &Client, form: &[(&str, &str)]) -> (u16, Value) {
    block_on(async {
        let request = sender().post(url).form(form);
        let reply = request
            .basic_auth(&client.id, Some(&client.secret))
            .send()
            .await;
        let reply = reply.unwrap_or_else(|error| panic!("{url}: {error}"));
        (
            reply.status().as_u16(),
            reply.json().await.unwrap_or_default(),
        )
    })
}

/// Sends a GET and returns the status and the body; `None` without a response.
pub(crate) fn get(url: &str, headers: &[(&str, &str)]) -> Option<(u16, String)> {
    block_on(async {
        let mut request = sender().get(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let reply = request.send().await.ok()?;
        Some((
            reply.status().as_u16(),
            reply.text().await.unwrap_or_default(),
        ))
    })
}

/// Sends a JSON document and returns the status and the body.
pub(crate) fn post_json(url: &str, document: &Value) -> (u16, Value) {
    block_on(async {
        let reply = sender().post(url).json(document).send().await;
        let reply = reply.unwrap_or_else(|error| panic!("{url}: {error}"));
        (
            reply.status().as_u16(),
            reply.json().await.unwrap_or_default(),
        )
    })
}

fn sender() -> reqwest::Client {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    let make = || {
        // A connection must not outlive its request, nor the runtime that opened it.
        let client = reqwest::Client::builder().no_proxy();
        client.pool_max_idle_per_host(0).build().unwrap()
    };
    CLIENT.get_or_init(make).clone()
}

pub(super) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(future)
}
