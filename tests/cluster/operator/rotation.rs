//! Rotation that proves itself: servers report last use, the operator retires what is in use no more.

use std::time::{Duration, Instant};

use kube::api::{Patch, PatchParams};
use reqwest::StatusCode;
use serde_json::{Value, json};
use symbolon::resources::{Credential, Kind};

use super::serving::{Server, client_secret, rights};
use super::world::{Running, World, now, rotate};
use crate::harness::{Cluster, Program, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;

/// The Credential of an object of the team.
async fn credential(world: &World<'_>, kind: Kind, name: &str) -> Value {
    let uid = world.get(kind, name).await["metadata"]["uid"].clone();
    let credentials = world.platform.api::<Credential>();
    let found = credentials.get(uid.as_str().unwrap()).await.unwrap();
    serde_json::to_value(found).unwrap()
}

/// What is known of the use of one of its tokens.
async fn use_of(world: &World<'_>, kind: Kind, name: &str, epoch: i64) -> Option<Value> {
    let credential = credential(world, kind, name).await;
    let uses = credential["status"]["uses"].as_array()?;
    uses.iter().find(|used| used["epoch"] == epoch).cloned()
}

fn today() -> String {
    now().strftime("%Y-%m-%d").to_string()
}

async fn issued(world: &World<'_>) {
    world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn several_servers_report_a_use_once_and_then_nothing_is_written() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let account = world.team.cluster_account("server", rights()).await;
    let servers = [
        Server::start(&world, account.kubeconfig_path(), &[]).await,
        Server::start(&world, account.kubeconfig_path(), &[]).await,
        Server::start(&world, account.kubeconfig_path(), &[]).await,
    ];
    let token = world.text("nightly-token").await.unwrap();
    let (id, secret) = client_secret(&world).await;
    let status = world.get(TOKEN, "nightly").await["status"].clone();
    assert_eq!(status["lastUsed"], Value::Null, "not used yet");
    assert_eq!(
        status["createdBy"], "unverified",
        "nobody guards the annotation here"
    );

    let began = cluster.mark();
    let all_use = async || {
        for server in &servers {
            assert!(server.accepts(&token).await);
            assert!(server.access_token(&id, &secret).await.is_ok());
        }
    };
    all_use().await;
    for (kind, name) in [(TOKEN, "nightly"), (Kind::OAuthClient, "backend")] {
        let used = eventually("the use is known", async || {
            use_of(&world, kind, name, 1).await
        })
        .await;
        assert_eq!(used["firstUsed"], used["lastUsed"]);
        eventually("the owner tells of it", async || {
            let told = &world.get(kind, name).await["status"]["lastUsed"];
            (*told == today()).then_some(())
        })
        .await;
    }
    // All servers have seen what one of them wrote.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let ours = [
        world.platform.name().to_owned(),
        world.team.name().to_owned(),
    ];
    let written = |since| {
        let mut names = Vec::new();
        for request in cluster.requests(since) {
            let is_write = ["create", "update", "patch", "delete"].contains(&&*request.verb);
            if is_write && request.code < 300 && ours.contains(&request.namespace) {
                names.push(format!("{} {}", request.verb, request.resource));
            }
        }
        names.sort();
        names
    };
    assert_eq!(
        written(began),
        [
            "patch credentials/status",
            "patch credentials/status",
            "update oauthclients/status",
            "update serviceaccesstokens/status"
        ],
        "each use is reported by one server"
    );
    let calm = cluster.mark();
    for _ in 0..20 {
        all_use().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(
        written(calm),
        Vec::<String>::new(),
        "a steady use writes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn uses_of_both_tokens_are_kept_apart_and_shown() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    let (id, old) = client_secret(&world).await;
    world.patch(Kind::OAuthClient, "backend", rotate("1")).await;
    let new = eventually("another secret", async || {
        let (_, secret) = client_secret(&world).await;
        (secret != old).then_some(secret)
    })
    .await;
    for secret in [&old, &new] {
        eventually("both are good", async || {
            server.access_token(&id, secret).await.ok()
        })
        .await;
    }
    let status = eventually("both uses are told", async || {
        let status = world.get(Kind::OAuthClient, "backend").await["status"].clone();
        let days = [&status["lastUsed"], &status["previous"]["lastUsed"]];
        days.iter().all(|day| **day == today()).then_some(status)
    })
    .await;
    assert_eq!(status["epoch"], 2);
    assert_ne!(status["tokenId"], status["previous"]["tokenId"]);
    assert!(status["previous"]["notAfter"].is_string());
    assert_eq!(status["lastRotation"]["cause"], "Requested");
}

/// An object of the team whose token was replaced: the old token, the new one, and the old one's end.
struct Replaced {
    old: String,
    new: String,
    end: String,
}

async fn replace(world: &World<'_>, server: &Server, name: &str) -> Replaced {
    let secret = format!("{name}-token");
    let old = world.text(&secret).await.unwrap();
    server.soon("it is good", &old, true).await;
    world.patch(TOKEN, name, rotate("1")).await;
    let new = eventually("the Secret has another token", async || {
        world.text(&secret).await.filter(|text| *text != old)
    })
    .await;
    server.soon("the new one is good", &new, true).await;
    let end = eventually("the old one has an end", async || {
        let status = world.get(TOKEN, name).await["status"].clone();
        status["previous"]["notAfter"].as_str().map(str::to_owned)
    })
    .await;
    Replaced { old, new, end }
}

/// Of two tokens that were replaced alike one goes on being used. With the shortest quiet period reports are ten
/// seconds apart, and 70 seconds of silence are enough.
#[tokio::test(flavor = "multi_thread")]
async fn the_old_token_goes_when_the_new_one_is_in_use_and_it_is_not() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    world.apply_token("quiet", "").await;
    let adopted = json!({"spec": {"rotation": {"retire": "WhenAdopted", "quietPeriod": "1m"}}});
    for name in ["nightly", "quiet"] {
        world.token_ready(name).await;
        world.patch(TOKEN, name, adopted.clone()).await;
    }
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    let busy = replace(&world, &server, "nightly").await;
    let quiet = replace(&world, &server, "quiet").await;
    // Once more, and then never again.
    assert!(server.accepts(&quiet.old).await);

    let silent = Instant::now();
    let mut gone = None;
    while silent.elapsed() < Duration::from_secs(85) || gone.is_none() {
        assert!(server.accepts(&busy.old).await, "in use, it stays");
        assert!(server.accepts(&busy.new).await);
        assert!(server.accepts(&quiet.new).await);
        let status = world.get(TOKEN, "quiet").await["status"].clone();
        if status["previous"].is_null() && gone.is_none() {
            gone = Some((silent.elapsed(), status));
        }
        assert!(silent.elapsed() < Duration::from_secs(160), "it never goes");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(
        world.get(TOKEN, "nightly").await["status"]["previous"]["notAfter"],
        *busy.end
    );
    let (after, status) = gone.unwrap();
    assert!(
        after > Duration::from_secs(50),
        "after a minute of silence, not before: {after:?}"
    );
    server
        .soon("the old one is refused", &quiet.old, false)
        .await;
    assert!(server.accepts(&quiet.new).await);
    assert_eq!(status["epoch"], 2);
    let credential = credential(&world, TOKEN, "quiet").await;
    let entries = credential["spec"]["tokens"].as_array().unwrap();
    let ended: jiff::Timestamp = entries[0]["notAfter"].as_str().unwrap().parse().unwrap();
    assert!(
        ended < quiet.end.parse().unwrap() && ended <= now(),
        "an end only comes nearer"
    );
    world.assert_sound("quiet").await;
    world.assert_sound("nightly").await;
}

/// Who may write a status can at most keep an old token until its deadline, or end it early where the owner
/// asked for that: never bring one back.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_report_revives_nothing() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let old = world.text("nightly-token").await.unwrap();
    world.patch(TOKEN, "nightly", rotate("1")).await;
    eventually("rotated", async || {
        let status = world.get(TOKEN, "nightly").await["status"].clone();
        status["previous"]["notAfter"].is_string().then_some(())
    })
    .await;
    let name = credential(&world, TOKEN, "nightly").await["metadata"]["name"].clone();
    let long_ago = "2020-01-01T00:00:00Z";
    let uses: Vec<Value> = (1..=16)
        .map(|epoch| json!({"epoch": epoch, "firstUsed": long_ago, "lastUsed": "2099-01-01T00:00:00Z"}))
        .collect();
    let patch = Patch::Merge(json!({"status": {"uses": uses}}));
    let credentials = world.platform.api::<Credential>();
    credentials
        .patch_status(name.as_str().unwrap(), &PatchParams::default(), &patch)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        world.accepts(&old).await,
        "retired at its deadline, as written"
    );
    world.assert_sound("nightly").await;
    let refused = Patch::Merge(
        json!({"status": {"uses": [{"epoch": 1, "firstUsed": "yesterday", "lastUsed": "x"}]}}),
    );
    let refused = credentials
        .patch_status(name.as_str().unwrap(), &PatchParams::default(), &refused)
        .await;
    assert!(refused.is_err(), "the schema refuses what is no moment");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_costs_a_report_and_no_answer() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let running = Running::start(&world).await;
    issued(&world).await;
    let token = world.text("nightly-token").await.unwrap();
    drop(running);
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    cluster.kill(Program::Apiserver);
    for _ in 0..20 {
        assert_eq!(server.check(&token).await, StatusCode::NO_CONTENT);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.start(Program::Apiserver);
    eventually("a later use is reported", async || {
        assert!(server.accepts(&token).await);
        use_of(&world, TOKEN, "nightly", 1).await
    })
    .await;
}

/// What is asked for in two ways at once is one rotation, and a client's old secret goes when it is in no use.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_is_rotated_by_trigger_and_goes_when_it_is_quiet() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let client = Kind::OAuthClient;
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    let (id, old) = client_secret(&world).await;
    let mut asked = rotate("1");
    asked["spec"] = json!({"authentication": {"secret": {"rotation":
        {"trigger": "1", "retire": "WhenAdopted", "quietPeriod": "1m"}}}});
    world.patch(client, "backend", asked).await;
    let new = eventually("another secret", async || {
        let (_, secret) = client_secret(&world).await;
        (secret != old).then_some(secret)
    })
    .await;
    eventually("the new one is good", async || {
        server.access_token(&id, &new).await.ok()
    })
    .await;
    server.access_token(&id, &old).await.unwrap();
    let silent = Instant::now();
    let status = loop {
        server.access_token(&id, &new).await.unwrap();
        let status = world.get(client, "backend").await["status"].clone();
        if status["epoch"] == 2 && status["previous"].is_null() {
            break status;
        }
        assert!(silent.elapsed() < Duration::from_secs(160), "it never goes");
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(
        silent.elapsed() > Duration::from_secs(50),
        "after a minute of silence, not before: {:?}",
        silent.elapsed()
    );
    eventually("the old one is refused", async || {
        server.access_token(&id, &old).await.err()
    })
    .await;
    assert_eq!(status["lastRotation"]["cause"], "Requested");
    let entries = credential(&world, client, "backend").await["spec"]["tokens"].clone();
    let epochs: Vec<_> = entries.as_array().unwrap().iter().collect();
    assert_eq!(epochs.last().unwrap()["epoch"], 2, "one rotation for both");
}
