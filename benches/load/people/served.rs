//! Symbolon with people as a child process: the real server and a store of either engine.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use symbolon::keys::{KeyRecord, KeySet, generate};
use symbolon::server::{App, Config, run, serve_people};
use symbolon::telemetry::logs::{self, Audit, LogFilter, LogForm};
use symbolon::tokens::{Algorithm, MacKey};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::world::{PEOPLE, Place, seed};
use crate::cases::Secret;
use crate::population::{self, People};
use crate::served::{NoRevoker, now};

/// What the load needs to know.
#[derive(Debug, Serialize, Deserialize)]
pub struct Known {
    /// The usernames.
    pub usernames: Vec<String>,
    /// The `Cookie` header of each person's session.
    pub cookies: Vec<String>,
    /// The confidential application.
    pub confidential: Secret,
}

/// Serves people until the process is killed. Writes what the load needs to the file `known`.
pub async fn serve(at: SocketAddr, place: &Place, known: &Path) -> anyhow::Result<()> {
    let _logs = logs::init(LogForm::Json, &LogFilter::USUAL, Audit::On)?;
    let issuer = format!("http://{at}/id");
    let people = People::new(&issuer, PEOPLE, now());
    let store = place.open().await?;
    let persons = seed(&store, &issuer, &people, now()).await?;
    let app = App::new(Config::new(people.identity.clone()), NoRevoker)?;
    let key = Arc::new(generate(Algorithm::RS256)?);
    let keys = KeySet::from_records(vec![KeyRecord::active_at_once(key, now())])?;
    app.publisher().set_keys(keys, now())?;
    app.publisher()
        .update(|directory| *directory = people.directory);
    app.status().lists_complete();
    app.set_mac(Arc::new(MacKey::from_bytes(&population::KEY)?));
    tokio::spawn(serve_people((*app).clone(), store, issuer));
    while app.people().is_none() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let secret = &people.confidential;
    let written = Known {
        usernames: persons.iter().map(|it| it.username.clone()).collect(),
        cookies: persons.into_iter().map(|it| it.cookie).collect(),
        confidential: Secret {
            client_id: secret.client_id.clone(),
            secret: secret.secret.expose().to_owned(),
        },
    };
    fs::write(known, serde_json::to_vec(&written)?)?;
    let health = TcpListener::bind((at.ip(), 0)).await?;
    let listener = TcpListener::bind(at).await?;
    run(listener, None, health, app, CancellationToken::new()).await?;
    Ok(())
}
