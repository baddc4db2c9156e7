//! A controller that is killed at its n-th write, and two controllers at once.
//!
//! After each kill, the next controller must reach a state where the Secret's token is accepted, and no other token
//! beyond its overlap.

use k8s_openapi::api::core::v1::Secret;
use kube::api::DeleteParams;
use serde_json::Value;
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use symbolon::directory::ObjectKey;
use symbolon::reconcile::cluster::Cluster as Calls;
use symbolon::reconcile::cluster::api::{ApiError, Precondition};
use symbolon::reconcile::cluster::kube_api::KubeApi;
use symbolon::reconcile::cluster::reports::Reports;
use symbolon::reconcile::cluster::secret::SecretObject;
use symbolon::resources::{Credential, Kind, OwnerKind};

use super::world::{Running, World, api, rotate};
use crate::harness::{Cluster, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;

/// When the controller is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    /// Before the write.
    Before,
    /// After the write, before its reply.
    After,
}

/// The API calls of a controller that is killed at its n-th write: from then on no call returns.
#[derive(Clone)]
struct Dying {
    api: KubeApi,
    stop: Stop,
    left: Arc<AtomicUsize>,
    dead: Arc<AtomicBool>,
    /// The number of writes under way.
    writing: Arc<AtomicUsize>,
}

impl Dying {
    async fn alive(&self) {
        if self.dead.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }

    async fn die(&self) {
        self.dead.store(true, Ordering::SeqCst);
        self.alive().await;
    }

    async fn write<T>(
        &self,
        write: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        self.alive().await;
        self.writing.fetch_add(1, Ordering::SeqCst);
        let is_last = self.left.fetch_sub(1, Ordering::SeqCst) == 1;
        if is_last && self.stop == Stop::Before {
            self.die().await;
        }
        let done = write.await;
        if is_last {
            self.die().await;
        }
        self.writing.fetch_sub(1, Ordering::SeqCst);
        done
    }

    async fn read<T>(&self, read: impl Future<Output = T>) -> T {
        self.alive().await;
        read.await
    }
}

impl Calls for Dying {
    async fn credential(&self, key: &ObjectKey) -> Result<Option<Credential>, ApiError> {
        self.read(self.api.credential(key)).await
    }
    async fn secret(&self, key: &ObjectKey) -> Result<Option<SecretObject>, ApiError> {
        self.read(self.api.secret(key)).await
    }
    async fn owner(&self, kind: OwnerKind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.read(self.api.owner(kind, key)).await
    }
    async fn create_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        self.write(self.api.create_credential(credential)).await
    }
    async fn replace_credential(&self, credential: &Credential) -> Result<Credential, ApiError> {
        self.write(self.api.replace_credential(credential)).await
    }
    async fn delete_credential(
        &self,
        key: &ObjectKey,
        only: &Precondition,
    ) -> Result<(), ApiError> {
        self.write(self.api.delete_credential(key, only)).await
    }
    async fn create_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        self.write(self.api.create_secret(secret)).await
    }
    async fn replace_secret(&self, secret: &SecretObject) -> Result<SecretObject, ApiError> {
        self.write(self.api.replace_secret(secret)).await
    }
    async fn delete_secret(&self, key: &ObjectKey, only: &Precondition) -> Result<(), ApiError> {
        self.write(self.api.delete_secret(key, only)).await
    }
}

impl Reports for Dying {
    async fn object(&self, kind: Kind, key: &ObjectKey) -> Result<Option<Value>, ApiError> {
        self.read(self.api.object(kind, key)).await
    }
    async fn replace_status(&self, kind: Kind, object: &Value) -> Result<(), ApiError> {
        self.write(self.api.replace_status(kind, object)).await
    }
}

/// Runs a controller until it is killed at its n-th write or has nothing left to do. Returns whether it was killed.
async fn run_until_dead(
    world: &World<'_>,
    writes: usize,
    stop: Stop,
    is_idle: impl AsyncFn() -> bool,
) -> bool {
    let api = api(world).await;
    let own = api.own_writes().clone();
    let dead = Arc::new(AtomicBool::new(false));
    let writing = Arc::new(AtomicUsize::new(0));
    let dying = Dying {
        api,
        stop,
        left: Arc::new(writes.into()),
        dead: dead.clone(),
        writing: writing.clone(),
    };
    let _running = Running::over(world, dying, own).await;
    eventually("the controller is killed or done", async || {
        if dead.load(Ordering::SeqCst) {
            return Some(true);
        }
        // The last write may be visible before the controller is killed by it.
        let is_done = is_idle().await && writing.load(Ordering::SeqCst) == 0;
        is_done.then(|| dead.load(Ordering::SeqCst))
    })
    .await
}

/// Kills a controller at each write that `change` causes, lets another one continue, and checks the result.
async fn assert_survives_a_kill_at_every_write(
    change: impl AsyncFn(&World<'_>),
    is_done: impl AsyncFn(&World<'_>) -> bool,
    least: usize,
) {
    for stop in [Stop::Before, Stop::After] {
        let world = World::new(Cluster::shared()).await;
        {
            let _running = Running::start(&world).await;
            world.token_ready("nightly").await;
            world
                .ready(Kind::OAuthClient, "backend", "True", "Ready")
                .await;
        }
        let mut writes = 1;
        loop {
            change(&world).await;
            let died = run_until_dead(&world, writes, stop, async || is_done(&world).await).await;
            {
                let _running = Running::start(&world).await;
                eventually("the next controller is done", async || {
                    is_done(&world).await.then_some(())
                })
                .await;
                world.token_ready("nightly").await;
            }
            world.assert_sound("nightly").await;
            if !died {
                break;
            }
            writes += 1;
        }
        assert!(writes > least, "{stop:?}: only {writes} writes");
    }
}

/// Whether the newest token is in the Secret and in the status, and every previous one has an end.
async fn has_settled(world: &World<'_>, than: u64) -> bool {
    let object = world.get(TOKEN, "nightly").await;
    let uid = object["metadata"]["uid"].as_str().unwrap();
    let credentials = world.credentials().await;
    let Some(credential) = credentials.iter().find(|it| it.spec.owner.uid == uid) else {
        return false;
    };
    let Some((newest, older)) = credential.spec.tokens.split_last() else {
        return false;
    };
    let Some(token) = world.text("nightly-token").await else {
        return false;
    };
    let held = symbolon::tokens::reference::parse(&token)
        .unwrap()
        .hash
        .to_string();
    held == newest.hash
        && older.iter().all(|entry| entry.not_after.is_some())
        && object["status"]["tokenId"] == newest.token_id.as_str()
        && u64::try_from(newest.epoch).unwrap() > than
        && super::world::condition(&object, "Ready")["status"] == "True"
}

async fn epoch(world: &World<'_>) -> u64 {
    let credentials = world.credentials().await;
    let uid = world.get(TOKEN, "nightly").await["metadata"]["uid"].clone();
    let ours = credentials.iter().find(|it| uid == it.spec.owner.uid);
    ours.map_or(0, |it| it.spec.high.try_into().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_first_token_breaks_nothing() {
    let recreate = async |world: &World<'_>| {
        world.delete(TOKEN, "nightly").await;
        eventually("the old Secret is deleted", async || {
            world.secret("nightly-token").await.is_none().then_some(())
        })
        .await;
        world.apply_token("nightly", "").await;
    };
    // Placeholder, Credential, Secret, status.
    assert_survives_a_kill_at_every_write(
        recreate,
        async |world: &World<'_>| has_settled(world, 0).await,
        4,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_move_to_another_secret_breaks_nothing() {
    let rename = async |world: &World<'_>| {
        world.delete(TOKEN, "nightly").await;
        eventually("the old Secret is deleted", async || {
            world.secret("nightly-token").await.is_none().then_some(())
        })
        .await;
        world.apply_token("nightly", "secret: {name: other}").await;
        {
            let _running = Running::start(world).await;
            world.token_ready("nightly").await;
        }
        let name = serde_json::json!({"spec": {"secret": {"name": "nightly-token"}}});
        world.patch(TOKEN, "nightly", name).await;
    };
    let done = async |world: &World<'_>| {
        let is_gone = world.secret("other").await.is_none();
        let status = &world.get(TOKEN, "nightly").await["status"];
        is_gone && status["secretName"] == "nightly-token" && has_settled(world, 1).await
    };
    // Placeholder, Credential, Secret, Credential again, deletion of the previous Secret, status.
    assert_survives_a_kill_at_every_write(rename, done, 6).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_at_any_write_of_a_rotation_breaks_nothing() {
    let before = std::sync::atomic::AtomicU64::new(0);
    let before = &before;
    let ask = async |world: &World<'_>| {
        // Without an overlap the tokens of earlier rounds end, since only one previous token may stay valid.
        world
            .patch(
                TOKEN,
                "nightly",
                serde_json::json!({"spec": {"rotation": {"overlap": "0s"}}}),
            )
            .await;
        let now = epoch(world).await;
        before.store(now, Ordering::SeqCst);
        world
            .patch(
                TOKEN,
                "nightly",
                rotate(&format!(
                    "after-{now}-{}",
                    super::world::now().as_nanosecond()
                )),
            )
            .await;
    };
    let done = async |world: &World<'_>| has_settled(world, before.load(Ordering::SeqCst)).await;
    // Credential, Secret, Credential again, status.
    assert_survives_a_kill_at_every_write(ask, done, 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_controllers_at_once_break_nothing() {
    let world = World::new(Cluster::shared()).await;
    let _running = (Running::start(&world).await, Running::start(&world).await);
    world.token_ready("nightly").await;
    let secrets = world.team.api::<Secret>();
    for round in 0..4 {
        let before = epoch(&world).await;
        if round % 2 == 0 {
            world
                .patch(TOKEN, "nightly", rotate(&round.to_string()))
                .await;
        } else {
            secrets
                .delete("nightly-token", &DeleteParams::default())
                .await
                .unwrap();
        }
        if round == 0 || round % 2 == 1 {
            eventually("both controllers are done", async || {
                has_settled(&world, before).await.then_some(())
            })
            .await;
            world.assert_sound("nightly").await;
        }
    }
    for number in 0..10 {
        world.apply_token(&format!("many-{number}"), "").await;
    }
    for number in 0..10 {
        world.token_ready(&format!("many-{number}")).await;
        world.assert_sound(&format!("many-{number}")).await;
    }
}
