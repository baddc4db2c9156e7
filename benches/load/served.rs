//! Symbolon as a child process: the real server with a population of any size, with logs, metrics and audit as shipped.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, future};
use jiff::Timestamp;
use symbolon::directory::ObjectKey;
use symbolon::keys::{KeyRecord, KeySet, generate};
use symbolon::server::{App, Config, Recorded, RevokeError, Revoker, run};
use symbolon::telemetry::logs::{self, Audit, LogFilter, LogForm};
use symbolon::tokens::{Algorithm, TokenId};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::cases::{Known, Secret};
use crate::population::{IssuedSecret, Population};

/// Serves `size` clients with a token each until the process is killed. Writes the accepted credentials to the file
/// `known`.
pub async fn serve(at: SocketAddr, size: usize, known: &Path) -> anyhow::Result<()> {
    let _logs = logs::init(LogForm::Json, &LogFilter::USUAL, Audit::On)?;
    let population = Population::new(&format!("http://{at}/id"), size, now());
    fs::write(known, serde_json::to_vec(&known_of(&population))?)?;
    let app = App::new(Config::new(population.identity.clone()), NoRevoker)?;
    let keys = Algorithm::ALL.map(|algorithm| {
        generate(algorithm).map(|key| KeyRecord::active_at_once(Arc::new(key), now()))
    });
    let keys = keys.into_iter().collect::<Result<Vec<_>, _>>()?;
    app.publisher()
        .set_keys(KeySet::from_records(keys)?, now())?;
    app.publisher()
        .update(|directory| *directory = population.directory);
    app.status().lists_complete();
    drop((population.clients, population.tokens));
    let health = TcpListener::bind((at.ip(), 0)).await?;
    let listener = TcpListener::bind(at).await?;
    run(listener, None, health, app, CancellationToken::new()).await?;
    Ok(())
}

fn known_of(population: &Population) -> Known {
    let secret = |issued: &IssuedSecret| Secret {
        client_id: issued.client_id.clone(),
        secret: issued.secret.expose().to_owned(),
    };
    Known {
        api: secret(&population.api),
        signers: population.signers.iter().map(secret).collect(),
        tokens: population
            .tokens
            .iter()
            .map(|token| token.expose().to_owned())
            .collect(),
    }
}

/// A revoker that is never called: the load revokes nothing.
pub struct NoRevoker;

impl Revoker for NoRevoker {
    fn revoke<'a>(
        &'a self,
        _: &'a ObjectKey,
        _: Option<&'a str>,
        _: &'a TokenId,
    ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
        future::ready(Err(RevokeError("not here".to_owned()))).boxed()
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}
