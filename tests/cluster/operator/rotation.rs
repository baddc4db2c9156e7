//! Rotation by use: servers report last use, and the operator retires previous tokens that are no longer in use.

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

/// The reported use of a token of an object.
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
async fn several_servers_report_a_use_once_and_then_write_nothing() {
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
        "without the policy the annotation is unverified"
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
        let used = eventually("the use is reported", async || {
            use_of(&world, kind, name, 1).await
        })
        .await;
        assert_eq!(used["firstUsed"], used["lastUsed"]);
        eventually("the status shows the last use", async || {
            let told = &world.get(kind, name).await["status"]["lastUsed"];
            (*told == today()).then_some(())
        })
        .await;
    }
    // Time in which the other servers could report it, too. Each looks at the record first.
    tokio::time::sleep(Duration::from_secs(6)).await;
    cluster.audited().await;
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
        "only one server reports each use"
    );
    let calm = cluster.mark();
    for _ in 0..20 {
        all_use().await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    cluster.audited().await;
    assert_eq!(
        written(calm),
        Vec::<String>::new(),
        "continued use must not cause writes"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_uses_of_both_tokens_are_recorded_separately_and_shown() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    let (id, old) = client_secret(&world).await;
    world.patch(Kind::OAuthClient, "backend", rotate("1")).await;
    let new = eventually("the Secret has another client secret", async || {
        let (_, secret) = client_secret(&world).await;
        (secret != old).then_some(secret)
    })
    .await;
    for secret in [&old, &new] {
        eventually("both secrets are accepted", async || {
            server.access_token(&id, secret).await.ok()
        })
        .await;
    }
    let status = eventually("the status shows both uses", async || {
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

/// A rotated ServiceAccessToken: the previous token, the new one, and the end of the previous one.
struct Replaced {
    old: String,
    new: String,
    end: String,
}

async fn replace(world: &World<'_>, server: &Server, name: &str) -> Replaced {
    let secret = format!("{name}-token");
    let old = world.text(&secret).await.unwrap();
    server.soon("the token is accepted", &old, true).await;
    world.patch(TOKEN, name, rotate("1")).await;
    let new = eventually("the Secret has another token", async || {
        world.text(&secret).await.filter(|text| *text != old)
    })
    .await;
    server.soon("the new token is accepted", &new, true).await;
    let end = eventually("the previous token has an end", async || {
        let status = world.get(TOKEN, name).await["status"].clone();
        status["previous"]["notAfter"].as_str().map(str::to_owned)
    })
    .await;
    Replaced { old, new, end }
}

/// Two tokens are rotated, and only one previous token stays in use. With the shortest quiet period servers report
/// every ten seconds, so 70 seconds without use are enough.
#[tokio::test(flavor = "multi_thread")]
async fn a_previous_token_ends_when_only_the_new_one_is_in_use() {
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
    // The last use.
    assert!(server.accepts(&quiet.old).await);

    let silent = Instant::now();
    let mut gone = None;
    while silent.elapsed() < Duration::from_secs(85) || gone.is_none() {
        assert!(
            server.accepts(&busy.old).await,
            "a previous token in use stays valid"
        );
        assert!(server.accepts(&busy.new).await);
        assert!(server.accepts(&quiet.new).await);
        let status = world.get(TOKEN, "quiet").await["status"].clone();
        if status["previous"].is_null() && gone.is_none() {
            gone = Some((silent.elapsed(), status));
        }
        assert!(
            silent.elapsed() < Duration::from_mins(5),
            "the previous token does not end"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(
        world.get(TOKEN, "nightly").await["status"]["previous"]["notAfter"],
        *busy.end
    );
    let (after, status) = gone.unwrap();
    assert!(
        after > Duration::from_secs(50),
        "it must stay valid for a minute without use: {after:?}"
    );
    server
        .soon("the quiet previous token is refused", &quiet.old, false)
        .await;
    assert!(server.accepts(&quiet.new).await);
    assert_eq!(status["epoch"], 2);
    let credential = credential(&world, TOKEN, "quiet").await;
    let entries = credential["spec"]["tokens"].as_array().unwrap();
    let ended: jiff::Timestamp = entries[0]["notAfter"].as_str().unwrap().parse().unwrap();
    assert!(
        ended < quiet.end.parse().unwrap() && ended <= now(),
        "an end must only move to an earlier time"
    );
    world.assert_sound("quiet").await;
    world.assert_sound("nightly").await;
}

/// A writer of the status can at most keep a previous token until its recorded end, or end it early where the owner
/// allows that. It can never make an ended token valid again.
#[tokio::test(flavor = "multi_thread")]
async fn a_forged_report_makes_no_token_valid_again() {
    let cluster = Cluster::shared();
    let world = World::new(cluster).await;
    let _running = Running::start(&world).await;
    issued(&world).await;
    let old = world.text("nightly-token").await.unwrap();
    world.patch(TOKEN, "nightly", rotate("1")).await;
    eventually("the token is rotated", async || {
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
    // Time in which the operator could end the previous token.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(
        world.accepts(&old).await,
        "the previous token ends at its recorded end"
    );
    world.assert_sound("nightly").await;
    let refused = Patch::Merge(
        json!({"status": {"uses": [{"epoch": 1, "firstUsed": "yesterday", "lastUsed": "x"}]}}),
    );
    let refused = credentials
        .patch_status(name.as_str().unwrap(), &PatchParams::default(), &refused)
        .await;
    assert!(refused.is_err(), "the schema must refuse invalid times");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_api_server_delays_reports_and_no_response() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let running = Running::start(&world).await;
    issued(&world).await;
    let token = world.text("nightly-token").await.unwrap();
    drop(running);
    let server = Server::start(&world, cluster.kubeconfig_path(), &[]).await;
    cluster.kill(Program::Apiserver);
    for _ in 0..20 {
        assert_eq!(server.check(&token).await, StatusCode::OK);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    cluster.start(Program::Apiserver);
    eventually("a later use is reported", async || {
        assert!(server.accepts(&token).await);
        use_of(&world, TOKEN, "nightly", 1).await
    })
    .await;
}

/// A rotation that is requested in two ways at once happens once, and the previous secret ends when it is no longer
/// used.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_secret_is_rotated_by_trigger_and_ends_when_it_is_quiet() {
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
    let new = eventually("the Secret has another client secret", async || {
        let (_, secret) = client_secret(&world).await;
        (secret != old).then_some(secret)
    })
    .await;
    eventually("the new secret is accepted", async || {
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
        assert!(
            silent.elapsed() < Duration::from_mins(5),
            "the previous token does not end"
        );
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    assert!(
        silent.elapsed() > Duration::from_secs(50),
        "it must stay valid for a minute without use: {:?}",
        silent.elapsed()
    );
    eventually("the previous secret is refused", async || {
        server.access_token(&id, &old).await.err()
    })
    .await;
    assert_eq!(status["lastRotation"]["cause"], "Requested");
    let entries = credential(&world, client, "backend").await["spec"]["tokens"].clone();
    let epochs: Vec<_> = entries.as_array().unwrap().iter().collect();
    assert_eq!(
        epochs.last().unwrap()["epoch"],
        2,
        "both requests cause one rotation"
    );
}
