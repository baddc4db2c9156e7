//! An honest client and a kubelet, which send requests on new connections during the whole flood.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::platform::Platform;
use crate::subject::{ask, livez};

/// The time between two requests.
const PACE: Duration = Duration::from_millis(100);
/// The maximum time of a response. A later one counts as a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends requests until it is stopped.
pub struct Witness {
    ended: CancellationToken,
    livez: JoinHandle<Answered>,
    client: JoinHandle<Answered>,
}

/// The responses of one witness.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answered {
    pub asked: usize,
    pub failed: usize,
    pub slowest: Duration,
}

/// The responses of both witnesses.
#[derive(Clone, Copy, Debug)]
pub struct Both {
    pub livez: Answered,
    pub client: Answered,
}

impl Witness {
    pub fn start(platform: &Platform) -> Self {
        let ended = CancellationToken::new();
        let (at, health) = (platform.subject.at, platform.subject.health);
        let request = platform.token_request();
        let livez = tokio::spawn(repeat(ended.clone(), move || livez(health, PATIENCE)));
        let client = tokio::spawn(repeat(ended.clone(), move || token(at, request.clone())));
        Self {
            ended,
            livez,
            client,
        }
    }

    pub async fn end(self) -> Both {
        self.ended.cancel();
        Both {
            livez: self.livez.await.unwrap_or_default(),
            client: self.client.await.unwrap_or_default(),
        }
    }
}

async fn token(at: SocketAddr, request: String) -> anyhow::Result<()> {
    match ask(at, request.as_bytes(), PATIENCE).await? {
        200 => Ok(()),
        status => anyhow::bail!("the token endpoint answered {status}"),
    }
}

async fn repeat<F>(ended: CancellationToken, ask: impl Fn() -> F) -> Answered
where
    F: Future<Output = anyhow::Result<()>>,
{
    let mut answered = Answered::default();
    while !ended.is_cancelled() {
        let began = Instant::now();
        answered.asked += 1;
        if let Err(error) = ask().await {
            answered.failed += 1;
            if answered.failed == 1 {
                eprintln!("  first failure of a witness: {error:#}");
            }
        }
        answered.slowest = answered.slowest.max(began.elapsed());
        tokio::time::sleep(PACE).await;
    }
    answered
}
