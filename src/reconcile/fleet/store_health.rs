//! Whether the pods of an Identity can use its database. Only they connect to it, so they are asked: the answer to a
//! readiness probe says it. A pod that does not answer says nothing; its rollout tells why.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::build::HEALTH_PORT;
use crate::directory::{ObjectKey, Problem, Reason};
use crate::reconcile::cluster::secret::SecretObject;
use crate::resources::{KeyRef, PostgresStorage, STORE_FAILS};
use crate::store;

/// The time for one pod's answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// The longest answer that is read, in bytes.
const MOST: usize = 1024;

/// Returns how many of these pods answer that they cannot use their store, and how many answer at all.
pub(super) async fn failing(pods: &[Value]) -> (usize, usize) {
    let asked = addresses(pods).map(|pod| ask(SocketAddr::new(pod, HEALTH_PORT)));
    let answers: Vec<bool> = join_all(asked).await.into_iter().flatten().collect();
    let failing = answers.iter().filter(|fails| **fails).count();
    (failing, answers.len())
}

/// Returns the addresses of the pods that run.
fn addresses(pods: &[Value]) -> impl Iterator<Item = IpAddr> {
    let running = pods.iter().filter(|pod| {
        pod["status"]["phase"] == "Running" && !pod["metadata"]["deletionTimestamp"].is_string()
    });
    running.filter_map(|pod| pod["status"]["podIP"].as_str()?.parse().ok())
}

/// Asks a server whether it lacks its store; `None` if it does not answer.
pub(super) async fn ask(address: SocketAddr) -> Option<bool> {
    let answer = tokio::time::timeout(TIMEOUT, get(address)).await.ok()??;
    Some(answer.starts_with(STORE_FAILS.as_bytes()))
}

async fn get(address: SocketAddr) -> Option<Bytes> {
    let stream = TcpStream::connect(address).await.ok()?;
    let handshake = hyper::client::conn::http1::handshake(TokioIo::new(stream));
    let (mut sender, connection) = handshake.await.ok()?;
    let connection = tokio::spawn(connection);
    let request = http::Request::get("/readyz")
        .header(http::header::HOST, address.to_string())
        .body(Empty::<Bytes>::new());
    let read = async {
        let answer = sender.send_request(request.ok()?).await.ok()?;
        let body = Limited::new(answer.into_body(), MOST).collect().await;
        Some(body.ok()?.to_bytes())
    };
    let read = read.await;
    connection.abort();
    read
}

/// A Secret that the pods mount for the database: the reference, its field, and the live object.
pub(super) struct Mounted<'a> {
    pub(super) of: &'a KeyRef,
    pub(super) field: &'static str,
    pub(super) found: Option<SecretObject>,
}

/// Returns the references to the Secrets of a database, each with its field.
pub(super) fn references(database: &PostgresStorage) -> Vec<(&KeyRef, &'static str)> {
    let url = Some((&database.url_secret_ref, "urlSecretRef"));
    let ca = database.ca_secret_ref.as_ref();
    url.into_iter()
        .chain(ca.map(|ca| (ca, "caSecretRef")))
        .collect()
}

/// Returns why pods cannot use the database, as far as the mounted Secrets tell. No message repeats what is in them.
pub(super) fn problem(
    identity: &ObjectKey,
    (failing, answering): (usize, usize),
    mounted: &[Mounted<'_>],
) -> Problem {
    let path = |field: &str| format!("/spec/storage/postgresql/{field}");
    let lacks = mounted.iter().find_map(|Mounted { of, field, found }| {
        let why = match found {
            None => "does not exist".to_owned(),
            Some(secret) if !secret.has_text(&of.key) => format!("has no {}", of.key),
            Some(_) => return None,
        };
        let message = format!(
            "the Secret {} of spec.storage.postgresql.{field} {why}, so people cannot sign in; machine clients are served: create it, or correct the reference",
            of.name
        );
        Some(Problem::error(
            Reason::SecretNotFound,
            path(field),
            message,
        ))
    });
    if let Some(lacks) = lacks {
        return lacks;
    }
    let malformed = mounted.iter().find_map(|Mounted { of, field, found }| {
        if *field != "urlSecretRef" {
            return None;
        }
        let has_ca = mounted.len() > 1;
        let url = found.as_ref()?.text(&of.key)?;
        let fault = store::check_url(url.expose(), has_ca).err()?;
        let message = format!(
            "people cannot sign in, since the key {} of the Secret {} is not the URL of a database: {fault}; machine clients are served",
            of.key, of.name
        );
        Some(Problem::error(
            Reason::DatabaseUnavailable,
            path(field),
            message,
        ))
    });
    malformed.unwrap_or_else(|| {
        let message = format!(
            "{failing} of {answering} pods cannot use the database, so people cannot sign in there; machine clients are served: see why with kubectl logs -n {} -l app.kubernetes.io/component=identity,app.kubernetes.io/instance={}; a changed URL reaches the pods within two minutes",
            identity.namespace, identity.name
        );
        Problem::error(Reason::DatabaseUnavailable, "/spec/storage/postgresql", message)
    })
}
