//! Clients that issue, verify, introspect and check tokens through the Service without pause, and record failures.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jsonwebtoken::{DecodingKey, Validation, jwk::JwkSet};
use reqwest::{Client, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio::task::JoinSet;

use crate::platform::{HOST, ISSUER, secret};

/// How a client uses connections.
#[derive(Clone, Copy, Debug)]
enum Connections {
    /// A new connection for each request, so that each is routed separately.
    Fresh,
    /// A connection that stays open, as gateways use them.
    Kept,
}

/// The credentials of the clients.
#[derive(Clone)]
pub(crate) struct Credentials {
    pub(crate) client_id: String,
    pub(crate) client_secret: String,
    pub(crate) service_token: String,
}

impl Credentials {
    /// Reads the credentials that the operator issued to the team.
    pub(crate) fn issued() -> Self {
        Self {
            client_id: secret("shop", "backend-client", "client-id"),
            client_secret: secret("shop", "backend-client", "client-secret"),
            service_token: secret("shop", "steady-token", "token"),
        }
    }
}

/// Running clients.
pub(crate) struct Traffic {
    tally: Arc<Tally>,
    workers: JoinSet<()>,
    began: Instant,
}

#[derive(Default)]
struct Tally {
    stop: AtomicBool,
    answered: AtomicU64,
    failures: Mutex<Vec<String>>,
}

/// The results of the requests.
pub(crate) struct Outcome {
    pub(crate) answered: u64,
    pub(crate) failures: Vec<String>,
}

impl Traffic {
    /// Starts clients of both kinds, which connect to `address` instead of the issuer's host.
    pub(crate) fn start(address: SocketAddr, credentials: &Credentials) -> Self {
        let tally = Arc::new(Tally::default());
        let mut workers = JoinSet::new();
        for connections in [Connections::Fresh, Connections::Kept].repeat(2) {
            let client = client(address, connections);
            workers.spawn(work(
                Arc::clone(&tally),
                client,
                connections,
                credentials.clone(),
            ));
        }
        Self {
            tally,
            workers,
            began: Instant::now(),
        }
    }

    /// The number of successful requests so far.
    pub(crate) fn answered(&self) -> u64 {
        self.tally.answered.load(Ordering::Relaxed)
    }

    /// Waits for some successful requests.
    pub(crate) async fn flowing(&self) {
        let before = self.answered();
        for _ in 0..100 {
            if self.answered() > before + 50 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("too few requests succeed");
    }

    /// Stops the clients, and asserts that no request failed.
    pub(crate) async fn stop_without_failure(self) {
        let outcome = self.stop().await;
        assert!(outcome.answered > 300, "{}", outcome.answered);
        assert!(
            outcome.failures.is_empty(),
            "{} failed: {:#?}",
            outcome.failures.len(),
            outcome.failures
        );
    }

    /// Stops the clients and returns the results.
    pub(crate) async fn stop(mut self) -> Outcome {
        self.tally.stop.store(true, Ordering::Relaxed);
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        eprintln!(
            "node: {} requests answered in {:.1} s",
            self.answered(),
            self.began.elapsed().as_secs_f64()
        );
        Outcome {
            answered: self.answered(),
            failures: std::mem::take(&mut self.tally.failures.lock().unwrap()),
        }
    }
}

fn client(address: SocketAddr, connections: Connections) -> Client {
    let idle = match connections {
        Connections::Fresh => 0,
        Connections::Kept => 1,
    };
    Client::builder()
        .resolve(HOST, address)
        .pool_max_idle_per_host(idle)
        .timeout(Duration::from_secs(5))
        .build()
        .unwrap()
}

async fn work(
    tally: Arc<Tally>,
    client: Client,
    connections: Connections,
    credentials: Credentials,
) {
    let mut verifier = Verifier::default();
    while !tally.stop.load(Ordering::Relaxed) {
        match round(&client, &credentials, &mut verifier).await {
            Ok(requests) => drop(tally.answered.fetch_add(requests, Ordering::Relaxed)),
            Err(failure) => {
                let mut failures = tally.failures.lock().unwrap();
                failures.push(format!("{connections:?}: {failure}"));
            }
        }
        // A low rate leaves the machine free for the rollout.
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// An API that caches the JWK Set until a token has an unknown kid.
#[derive(Default)]
struct Verifier {
    keys: Option<JwkSet>,
    /// The first token of the run, which must stay valid until the end.
    first: Option<String>,
}

impl Verifier {
    async fn verify(&mut self, client: &Client, token: &str) -> Result<(), String> {
        let header = jsonwebtoken::decode_header(token).map_err(|error| error.to_string())?;
        let kid = header.kid.ok_or("a token without kid")?;
        let is_known = |keys: &JwkSet| keys.find(&kid).is_some();
        if !self.keys.as_ref().is_some_and(is_known) {
            let ask = client.get(format!("{ISSUER}/.well-known/openid-configuration/jwks"));
            let keys = answer(ask, StatusCode::OK).await?;
            self.keys = Some(serde_json::from_value(keys).map_err(|error| error.to_string())?);
        }
        let key = self.keys.as_ref().and_then(|keys| keys.find(&kid));
        let key = key.ok_or_else(|| format!("the key {kid} is not published"))?;
        let key = DecodingKey::from_jwk(key).map_err(|error| error.to_string())?;
        let mut validation = Validation::new(header.alg);
        validation.validate_aud = false;
        let verified = jsonwebtoken::decode::<Value>(token, &key, &validation);
        verified
            .map(drop)
            .map_err(|error| format!("a token of {kid} does not verify: {error}"))
    }
}

/// Issues a token, verifies and introspects it and the first one, and checks the service token. Returns the number of
/// requests.
async fn round(
    client: &Client,
    credentials: &Credentials,
    verifier: &mut Verifier,
) -> Result<u64, String> {
    let authenticated = |path: &str, form: &[(&str, &str)]| {
        client
            .post(format!("{ISSUER}{path}"))
            .basic_auth(&credentials.client_id, Some(&credentials.client_secret))
            .form(form)
    };
    let grant = [("grant_type", "client_credentials")];
    let issued = answer(authenticated("/connect/token", &grant), StatusCode::OK).await?;
    let token = issued["access_token"].as_str().ok_or("no token")?;
    let first = verifier.first.get_or_insert_with(|| token.to_owned());
    for token in [&first.clone(), token] {
        verifier.verify(client, token).await?;
        let form = [("token", token)];
        let told = answer(authenticated("/connect/introspect", &form), StatusCode::OK).await?;
        if told["active"] != true {
            return Err(format!("a token is not active: {told}"));
        }
    }
    let check = client
        .get(format!("{ISSUER}/connect/checktoken/orders"))
        .bearer_auth(&credentials.service_token);
    answer(check, StatusCode::OK).await?;
    Ok(4)
}

async fn answer(request: RequestBuilder, expected: StatusCode) -> Result<Value, String> {
    let response = request.send().await.map_err(|error| format!("{error:?}"))?;
    let (status, url) = (response.status(), response.url().path().to_owned());
    let body = response
        .bytes()
        .await
        .map_err(|error| format!("{url}: {error:?}"))?;
    if status != expected {
        return Err(format!(
            "{url}: {status} {}",
            String::from_utf8_lossy(&body)
        ));
    }
    Ok(serde_json::from_slice(&body).unwrap_or_default())
}
