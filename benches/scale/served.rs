//! A server of very many: its memory, how soon it is ready, and what a look-up takes.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use symbolon::tokens::{MacKey, SecretString};

use crate::harness::Cluster;
use crate::program::{self, Connection, Program};
use crate::world::World;
use crate::{memory, seed};

const GATEWAY: &str = "/id/connect/checktoken/api";
/// Look-ups of one measurement.
const LOOK_UPS: usize = 20_000;

pub async fn measure(cluster: &Cluster, world: &World<'_>, size: usize) {
    println!("\n# served");
    let probe = SecretString::from(world.token_in_secret("probe").await);
    let (server, took) = start(cluster, world).await;
    report("few", &server, took, &[probe]).await;
    drop(server);
    if size == 0 {
        return;
    }
    eprintln!("writing {size} clients, {size} tokens and their Credentials into etcd …");
    let secrets = world.platform.api::<Secret>();
    let data = secrets.get("main-mac").await.unwrap().data.unwrap();
    let key = MacKey::from_bytes(&data["mac.key"].0).unwrap();
    let tokens = seed::seed(cluster, world.platform.name(), &key, size).await;
    let (server, took) = start(cluster, world).await;
    let what = format!("{size} clients and tokens, {} Credentials", 2 * size);
    report(&what, &server, took, &tokens).await;
}

async fn start(cluster: &Cluster, world: &World<'_>) -> (Program, Duration) {
    let began = Instant::now();
    let server = program::server(cluster, world).await;
    (server, began.elapsed())
}

async fn report(what: &str, server: &Program, took: Duration, tokens: &[SecretString]) {
    let mut connection = Connection::open(server.at).await.unwrap();
    let mut times = Vec::with_capacity(LOOK_UPS);
    for number in 0..LOOK_UPS {
        // Far from each other, so that nothing is at hand.
        let token = &tokens[(number * 7919) % tokens.len()];
        let began = Instant::now();
        let status = connection.get(GATEWAY, token.expose()).await.unwrap();
        times.push(began.elapsed());
        assert_eq!(status, 204);
    }
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)].as_micros();
    println!(
        "{what}: ready after {:.1} s; memory {:.0} MiB, {:.0} at its peak; checktoken {} µs, p99 {} µs",
        took.as_secs_f64(),
        memory(server.pid(), "VmRSS"),
        memory(server.pid(), "VmHWM"),
        at(50),
        at(99),
    );
}
