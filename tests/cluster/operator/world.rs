//! A platform's namespace with an Identity, a team's namespace with a client and a token, and checks on them.

use std::{sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api, Client,
    api::{
        ApiResource, DeleteParams, DynamicObject, GroupVersionKind, ListParams, Patch, PatchParams,
    },
};
use serde::Deserialize as _;
use serde_json::{Value, json};
use symbolon::directory::{Change, Directory, ObjectKey, Settings};
use symbolon::reconcile::cluster::Cluster as Calls;
use symbolon::reconcile::cluster::fence::Fence;
use symbolon::reconcile::cluster::kube_api::{KubeApi, OwnWrites};
use symbolon::reconcile::cluster::reports::Reports;
use symbolon::reconcile::controller::{Controller, Serving, Tuning};
use symbolon::reconcile::report::events::Notices;
use symbolon::resources::{Credential, Kind, ManagedKind};
use symbolon::source::kubernetes::{
    Options, Reach, Refusals, Sink, Source, WatchChange, WatchedKind,
};
use symbolon::tokens::{MacKey, reference};
use tokio_util::sync::CancellationToken;

use crate::harness::{Cluster, PATIENCE, TestNamespace, eventually};

/// The time limit of a request. The operator waits at most twice as long for a write that may be in flight.
pub(super) const REQUEST_TIMEOUT: SignedDuration = SignedDuration::from_millis(700);

/// The namespaces of a platform and of a team.
pub(super) struct World<'a> {
    pub(super) platform: TestNamespace<'a>,
    pub(super) team: TestNamespace<'a>,
}

const MANIFESTS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  access: {clients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
  gateways: [{name: api, audience: https://PLATFORM.example.com/id, scopes: [orders.read]}]
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: PLATFORM}
spec:
  identityRef: {name: main}
  allowedNamespaces: {from: List, names: [TEAM]}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.write, namespace: PLATFORM}
spec:
  identityRef: {name: main}
  allowedNamespaces: {from: List, names: [TEAM]}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: backend, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
  scopes: [orders.read, orders.write]
  systemUser: {name: backend}
  referenceTokens: AdministratorsOnly
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: TEAM}
spec:
  clientRef: {name: backend}
  scopes: [orders.read]
";

impl<'a> World<'a> {
    /// Creates both namespaces without objects.
    pub(super) async fn empty(cluster: &'a Cluster) -> Self {
        cluster.install_crds().await;
        Self {
            platform: cluster.namespace("platform").await,
            team: cluster.namespace("team").await,
        }
    }

    /// Creates both namespaces with all objects, but no controller.
    pub(super) async fn new(cluster: &'a Cluster) -> Self {
        let world = Self::empty(cluster).await;
        world.apply(MANIFESTS).await;
        world
    }

    pub(super) fn client(&self) -> Client {
        self.team.client()
    }

    pub(super) fn namespaces(&self) -> Vec<String> {
        vec![self.platform.name().to_owned(), self.team.name().to_owned()]
    }

    pub(super) fn identity(&self) -> ObjectKey {
        ObjectKey::new(self.platform.name(), "main")
    }

    /// Applies manifests, in which PLATFORM and TEAM stand for the namespaces.
    pub(super) async fn apply(&self, yaml: &str) {
        let yaml = yaml
            .replace("PLATFORM", self.platform.name())
            .replace("TEAM", self.team.name());
        for document in serde_yaml::Deserializer::from_str(&yaml) {
            let object = Value::deserialize(document).unwrap();
            let namespace = object["metadata"]["namespace"].as_str().unwrap();
            let kind = Kind::from_name(object["kind"].as_str().unwrap()).unwrap();
            let api: Api<DynamicObject> =
                Api::namespaced_with(self.client(), namespace, &resource(kind));
            let params = PatchParams::apply("test").force();
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            api.patch(&name, &params, &Patch::Apply(&object))
                .await
                .unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// Applies another ServiceAccessToken of the team's client.
    pub(super) async fn apply_token(&self, name: &str, more: &str) {
        let yaml = format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {{name: {name}, namespace: TEAM}}\nspec:\n  clientRef: {{name: backend}}\n  scopes: [orders.read]\n  {more}\n"
        );
        self.apply(&yaml).await;
    }

    /// Changes an object of the team by a merge patch.
    pub(super) async fn patch(&self, kind: Kind, name: &str, patch: Value) {
        self.objects(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    /// An object of the platform as it is now.
    pub(super) async fn get_of_platform(&self, kind: Kind, name: &str) -> Value {
        serde_json::to_value(self.objects_of_platform(kind).get(name).await.unwrap()).unwrap()
    }

    /// Changes an object of the platform by a merge patch.
    pub(super) async fn patch_of_platform(&self, kind: Kind, name: &str, patch: Value) {
        self.objects_of_platform(kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(patch))
            .await
            .unwrap();
    }

    fn objects_of_platform(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), self.platform.name(), &resource(kind))
    }

    /// Deletes an object of the team.
    pub(super) async fn delete(&self, kind: Kind, name: &str) {
        self.objects(kind)
            .delete(name, &DeleteParams::default())
            .await
            .unwrap();
    }

    fn objects(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client(), self.team.name(), &resource(kind))
    }

    /// An object of the team as it is now.
    pub(super) async fn get(&self, kind: Kind, name: &str) -> Value {
        serde_json::to_value(self.objects(kind).get(name).await.unwrap()).unwrap()
    }

    /// Waits until `Ready` of an object of the team has this status and reason for the current generation.
    pub(super) async fn ready(&self, kind: Kind, name: &str, status: &str, reason: &str) -> Value {
        let what = format!("{kind} {name} is Ready={status}, {reason}");
        let mut last = Value::Null;
        let found = tokio::time::timeout(
            // A little less than `eventually` waits, to show the status instead.
            PATIENCE.saturating_sub(Duration::from_secs(1)),
            eventually(&what, async || {
                last = self.get(kind, name).await;
                let ready = condition(&last, "Ready");
                let is_right = ready["status"] == status
                    && ready["reason"] == reason
                    && ready["observedGeneration"] == last["metadata"]["generation"];
                is_right.then(|| last.clone())
            }),
        )
        .await;
        found.unwrap_or_else(|_| panic!("not in time: {what}: {:#}", last["status"]))
    }

    /// Waits until a token is `Ready`.
    pub(super) async fn token_ready(&self, name: &str) -> Value {
        self.ready(Kind::ServiceAccessToken, name, "True", "Ready")
            .await
    }

    pub(super) async fn secret(&self, name: &str) -> Option<Secret> {
        self.team.api::<Secret>().get_opt(name).await.unwrap()
    }

    /// The token in a Secret of the team.
    pub(super) async fn text(&self, secret: &str) -> Option<String> {
        let data = self.secret(secret).await?.data?;
        Some(String::from_utf8(data.get("token")?.0.clone()).unwrap())
    }

    /// The directory that a server builds from a new list of all objects.
    pub(super) async fn directory(&self) -> Directory {
        let mut directory = Directory::new(Settings::default());
        let mac: Option<Secret> = self
            .platform
            .api::<Secret>()
            .get_opt("main-mac")
            .await
            .unwrap();
        let mac = mac.and_then(|secret| MacKey::from_bytes(&secret.data?.get("mac.key")?.0).ok());
        for kind in [
            Kind::Identity,
            Kind::Scope,
            Kind::OAuthClient,
            Kind::ServiceAccessToken,
        ] {
            self.load(&mut directory, kind).await;
        }
        for credential in self.credentials().await {
            directory.apply(Change::credential(&credential, mac.as_ref()).unwrap());
        }
        directory
    }

    pub(super) async fn credentials(&self) -> Vec<Credential> {
        self.platform
            .api::<Credential>()
            .list(&ListParams::default())
            .await
            .unwrap()
            .items
    }

    /// Reads the objects as they are: the Rust types add the defaults of fields that no definition shows yet.
    async fn load(&self, directory: &mut Directory, kind: Kind) {
        for namespace in [&self.platform, &self.team] {
            let objects = Api::<DynamicObject>::namespaced_with(
                self.client(),
                namespace.name(),
                &resource(kind),
            );
            for object in objects.list(&ListParams::default()).await.unwrap() {
                let raw = serde_json::to_value(object).unwrap();
                directory.apply(Change::object(kind, &raw, &Settings::default()).unwrap());
            }
        }
    }

    /// Whether a server accepts a token now.
    pub(super) async fn accepts(&self, token: &str) -> bool {
        let directory = self.directory().await;
        let presented = reference::parse(token).expect("the text has the form of a token");
        directory
            .service_token_presented(&self.identity(), &presented, now())
            .is_ok()
    }

    /// Asserts that the Secret's token is accepted and the newest, and that every other token has an end.
    pub(super) async fn assert_sound(&self, name: &str) {
        self.assert_sound_in(name, &format!("{name}-token")).await;
    }

    /// Like [`Self::assert_sound`], for a Secret with another name.
    pub(super) async fn assert_sound_in(&self, name: &str, secret: &str) {
        let token = self.text(secret).await.expect("the Secret holds a token");
        assert!(
            self.accepts(&token).await,
            "{name}: the Secret's token is not accepted"
        );
        let uid = self.get(Kind::ServiceAccessToken, name).await["metadata"]["uid"].clone();
        let credentials = self.credentials().await;
        let credential = credentials
            .iter()
            .find(|it| uid == it.spec.owner.uid)
            .unwrap();
        let (newest, older) = credential.spec.tokens.split_last().unwrap();
        assert_eq!(
            newest.hash,
            reference::parse(&token).unwrap().hash.to_string(),
            "{name}: the Secret's token is not the newest"
        );
        assert!(
            older.iter().all(|entry| entry.not_after.is_some()),
            "{name}: a previous token has no end: {older:#?}"
        );
    }
}

pub(super) fn condition<'v>(object: &'v Value, kind: &str) -> &'v Value {
    let conditions = object["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == kind);
    found.unwrap_or(&Value::Null)
}

pub(super) fn resource(kind: Kind) -> ApiResource {
    let gvk = GroupVersionKind::gvk("symbolon.dev", "v1alpha1", kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, kind.plural())
}

pub(super) fn rotate(value: &str) -> Value {
    json!({"metadata": {"annotations": {"symbolon.dev/rotate": value}}})
}

#[expect(
    clippy::disallowed_methods,
    reason = "tests use the same clock as the API server"
)]
pub(super) fn now() -> Timestamp {
    Timestamp::now()
}

/// A controller in this process, without leader election.
pub(super) struct Running {
    _source: Source,
    stop: CancellationToken,
    ready_pods: Box<CountPods>,
}

/// Returns how many pods of an Identity are ready and how many should be.
type CountPods = dyn Fn(&str) -> Option<(i64, i64)> + Send + Sync;

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

struct Hand<C>(Arc<Controller<C>>);

impl<C: Calls + Reports + 'static> Sink for Hand<C> {
    fn take(&self, batch: Vec<WatchChange>) {
        let mut changes = Vec::new();
        for seen in batch {
            match seen {
                WatchChange::Object { change, version } => changes.push((change, version)),
                WatchChange::Managed(seen) => self.0.managed_changed(&seen),
                WatchChange::Secret(secret) => {
                    let version = if secret.gone { "" } else { &*secret.version };
                    let controller = secret
                        .controller
                        .as_ref()
                        .map(|(kind, name)| (*kind, &**name));
                    self.0.secret_changed(&secret.key, version, controller);
                }
            }
        }
        self.0.changed(changes);
    }
}

impl Running {
    /// How many pods of an Identity are ready and how many should be, as in the metrics.
    pub(super) fn ready_pods(&self, identity: &ObjectKey) -> Option<(i64, i64)> {
        (self.ready_pods)(&identity.to_string())
    }

    /// Starts a controller that uses the API server directly.
    pub(super) async fn start(world: &World<'_>) -> Self {
        let api = api(world).await;
        let own = api.own_writes().clone();
        Self::over(world, api, own).await
    }

    /// Starts a controller that uses another implementation of the API calls.
    pub(super) async fn over<C: Calls + Reports + 'static>(
        world: &World<'_>,
        calls: C,
        own: OwnWrites,
    ) -> Self {
        Self::serving(world, calls, own, Settings::default(), Serving::default()).await
    }

    /// Starts one controller for the namespaces of several worlds.
    pub(super) async fn over_all(worlds: &[&World<'_>]) -> Self {
        let api = api(worlds[0]).await;
        let own = api.own_writes().clone();
        let namespaces = worlds.iter().flat_map(|world| world.namespaces());
        let reach = Reach::Namespaces(namespaces.collect());
        let (settings, serving) = (Settings::default(), Serving::default());
        Self::reaching(worlds[0], reach, api, own, settings, serving).await
    }

    /// Starts a controller that also runs or embeds Identities.
    pub(super) async fn serving<C: Calls + Reports + 'static>(
        world: &World<'_>,
        calls: C,
        own: OwnWrites,
        settings: Settings,
        serving: Serving,
    ) -> Self {
        let reach = Reach::Namespaces(world.namespaces());
        Self::reaching(world, reach, calls, own, settings, serving).await
    }

    async fn reaching<C: Calls + Reports + 'static>(
        world: &World<'_>,
        reach: Reach,
        calls: C,
        own: OwnWrites,
        settings: Settings,
        serving: Serving,
    ) -> Self {
        let tuning = Tuning {
            workers: 8,
            request_timeout: REQUEST_TIMEOUT,
        };
        let notices = Notices::written(world.client(), "test".to_owned());
        let controller = Controller::new(calls, own, settings.clone(), tuning, notices);
        let controller = Arc::new(controller.served(serving));
        let kinds = Kind::ALL.into_iter().map(WatchedKind::Kind);
        let managed = ManagedKind::ALL
            .into_iter()
            .filter(|kind| kind.is_built_in());
        let watched_kinds = kinds
            .chain([
                WatchedKind::Namespaces,
                WatchedKind::ManagedSecrets,
                WatchedKind::ImportedSecrets,
            ])
            .chain(managed.map(WatchedKind::Managed));
        let reach_of = |watched_kind: &WatchedKind| match watched_kind {
            WatchedKind::Managed(ManagedKind::ClusterRoleBinding) => Reach::Cluster,
            _ => reach.clone(),
        };
        let options = Options {
            watched_kinds: watched_kinds
                .map(|watched_kind| (watched_kind, reach_of(&watched_kind)))
                .collect(),
            settings: Arc::new(settings),
            mac: tokio::sync::watch::channel(None).1,
            start_within: Duration::ZERO,
            silence: symbolon::source::kubernetes::SILENCE,
            refusals: Refusals::default(),
        };
        let source = Source::start(
            &world.client().into(),
            &options,
            &Arc::new(Hand(controller.clone())),
        );
        source.listed(PATIENCE).await.unwrap();
        controller.lead();
        let stop = CancellationToken::new();
        tokio::spawn(controller.clone().run(stop.clone()));
        let ready_pods = move |identity: &str| {
            let known = controller.ready_pods().into_iter();
            let mut own = known.filter(|(of, _)| of == identity);
            own.next().map(|(_, pods)| (pods.ready, pods.wanted))
        };
        Self {
            _source: source,
            stop,
            ready_pods: Box::new(ready_pods),
        }
    }
}

/// The API calls for a controller. They have a time limit and are never repeated.
pub(super) async fn api(world: &World<'_>) -> KubeApi {
    KubeApi::new(
        world.client(),
        REQUEST_TIMEOUT.unsigned_abs() * 5,
        Fence::open(),
    )
}
