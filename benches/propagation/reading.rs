//! Measures the time from the API server's reply to a write until the server answers accordingly, and until a bare
//! watch receives the change.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::{StreamExt as _, TryStreamExt as _};
use kube::ResourceExt as _;
use kube::api::{ListParams, Patch, PatchParams, WatchEvent, WatchParams};
use serde_json::json;
use symbolon::resources::Kind;
use tokio::task::JoinHandle;

use crate::program::{Connection, Program};
use crate::world::{World, crowd_name, crowd_namespace};

/// The time between two measured writes.
const PAUSE: Duration = Duration::from_millis(40);
const GATEWAY: &str = "/id/connect/checktoken/api";

/// The measured times in milliseconds, sorted.
pub struct Delays {
    server: Vec<f64>,
    watch: Vec<f64>,
    /// The number of other writes per second, as measured.
    pub others: f64,
}

impl Delays {
    pub fn print(&self, state: &str) {
        println!(
            "{state:<60}{:>12.1}{:>7.1}{:>12.1}{:>7.1}",
            percentile(&self.server, 50),
            percentile(&self.server, 99),
            percentile(&self.watch, 50),
            percentile(&self.watch, 99),
        );
    }
}

fn percentile(sorted: &[f64], percent: usize) -> f64 {
    let at = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
    sorted.get(at).copied().unwrap_or(f64::NAN)
}

/// Disables and enables a client again and again, beside one other write every `noise`.
pub async fn measure(
    world: &World<'_>,
    server: &Program,
    writes: usize,
    noise: Option<Duration>,
) -> Delays {
    let token = world.token_in_secret("probe").await;
    let clients = world.api(Kind::OAuthClient, world.team.name());
    let watch = Watch::start(world).await;
    let noise = noise.map(|period| Noise::start(world, period));
    let started = Instant::now();
    let mut connection = Connection::open(server.at).await.unwrap();
    let (mut delays, mut replies) = (Vec::new(), Vec::new());
    for number in 0..writes {
        let disabled = number % 2 == 0;
        let patch = Patch::Merge(json!({"spec": {"disabled": disabled}}));
        let written = clients
            .patch("backend", &PatchParams::default(), &patch)
            .await
            .unwrap();
        let replied = Instant::now();
        replies.push((written.resource_version().unwrap_or_default(), replied));
        let wanted = if disabled { 401 } else { 200 };
        while connection.get(GATEWAY, &token).await.unwrap() != wanted {
            assert!(
                replied.elapsed() < Duration::from_secs(30),
                "the server does not answer according to a write"
            );
        }
        delays.push(replied.elapsed().as_secs_f64() * 1000.0);
        tokio::time::sleep(PAUSE).await;
    }
    let others = noise.map_or(0, |noise| noise.written.load(Ordering::Relaxed));
    delays.sort_by(f64::total_cmp);
    Delays {
        server: delays,
        watch: watch.delays(&replies),
        others: f64::from(others) / started.elapsed().as_secs_f64(),
    }
}

/// A watch of the team's clients that only decodes.
struct Watch {
    seen: Arc<Mutex<HashMap<String, Instant>>>,
    task: JoinHandle<()>,
}

impl Watch {
    async fn start(world: &World<'_>) -> Self {
        let clients = world.api(Kind::OAuthClient, world.team.name());
        let list = clients.list(&ListParams::default()).await.unwrap();
        let version = list.metadata.resource_version.unwrap_or_default();
        let seen: Arc<Mutex<HashMap<String, Instant>>> = Arc::default();
        let task = tokio::spawn({
            let seen = Arc::clone(&seen);
            async move {
                let events = clients
                    .watch(&WatchParams::default(), &version)
                    .await
                    .unwrap();
                let mut events = events.boxed();
                while let Ok(Some(event)) = events.try_next().await {
                    if let WatchEvent::Modified(object) = event {
                        let version = object.resource_version().unwrap_or_default();
                        seen.lock().unwrap().insert(version, Instant::now());
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// The time of an event that arrived before the reply counts as 0.
    fn delays(self, replies: &[(String, Instant)]) -> Vec<f64> {
        self.task.abort();
        let seen = self.seen.lock().unwrap();
        let delay = |(version, replied): &(String, Instant)| {
            let delay = seen.get(version)?.saturating_duration_since(*replied);
            Some(delay.as_secs_f64() * 1000.0)
        };
        let mut delays: Vec<f64> = replies.iter().filter_map(delay).collect();
        delays.sort_by(f64::total_cmp);
        delays
    }
}

/// Writes to the crowd at a steady rate, until dropped.
struct Noise {
    task: JoinHandle<()>,
    written: Arc<AtomicU32>,
}

impl Noise {
    fn start(world: &World<'_>, period: Duration) -> Self {
        let written: Arc<AtomicU32> = Arc::default();
        let apis: Vec<_> = (0..world.crowd)
            .map(|number| {
                (
                    world.api(Kind::OAuthClient, &crowd_namespace(number)),
                    crowd_name(number),
                )
            })
            .collect();
        let task = tokio::spawn({
            let written = Arc::clone(&written);
            async move {
                let mut ticks = tokio::time::interval(period);
                for (turn, (api, name)) in apis.iter().cycle().enumerate() {
                    ticks.tick().await;
                    let (api, name, written) = (api.clone(), name.clone(), Arc::clone(&written));
                    tokio::spawn(async move {
                        let patch =
                            Patch::Merge(json!({"spec": {"displayName": format!("Turn {turn}")}}));
                        if api
                            .patch(&name, &PatchParams::default(), &patch)
                            .await
                            .is_ok()
                        {
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                    });
                }
            }
        });
        Self { task, written }
    }
}

impl Drop for Noise {
    fn drop(&mut self) {
        self.task.abort();
    }
}
