//! Secrets as users want them: templates, other names, contested names, and secrets that others bring.

use std::collections::BTreeMap;

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::Api;
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use reqwest::StatusCode;
use serde_json::{Value, json};
use symbolon::resources::Kind;

use super::serving::{Server, rights};
use super::world::{Running, World, condition};
use crate::harness::{Cluster, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;
const CLIENT: Kind = Kind::OAuthClient;

const A: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
const B: &str = "Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";

fn data(secret: &Secret, key: &str) -> Option<String> {
    let value = secret.data.as_ref()?.get(key)?;
    Some(String::from_utf8(value.0.clone()).unwrap())
}

impl World<'_> {
    /// A Secret of the team, as soon as `is_right`.
    async fn secret_that(
        &self,
        what: &str,
        name: &str,
        is_right: impl Fn(&Secret) -> bool,
    ) -> Secret {
        eventually(what, async || {
            self.secret(name).await.filter(|secret| is_right(secret))
        })
        .await
    }

    async fn merge_secret(&self, name: &str, patch: Value) {
        let secrets = self.team.api::<Secret>();
        let patch = Patch::Merge(patch);
        secrets
            .patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }
}

fn template(template: Value) -> Value {
    json!({"spec": {"secret": {"template": template}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_is_followed_and_what_others_wrote_survives() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    // Reloader, a replicator and a person.
    let theirs = json!({
        "metadata": {
            "annotations": {"reloader.stakater.com/last": "x", "replicator.v1.mittwald.de/replicate-to": "b"},
            "labels": {"velero.io/exclude-from-backup": "true"},
        },
        "data": {"note": "eA=="},
    });
    world.merge_secret("nightly-token", theirs).await;
    let first = json!({
        "labels": {"team": "shop"}, "annotations": {"reloader.stakater.com/match": "true"},
        "data": {".netrc": "password $(token)", "env": "ISSUER=$(issuer)\nURL=$(token-url)\nID=$(client-id)"},
    });
    world.patch(TOKEN, "nightly", template(first)).await;
    let secret = world
        .secret_that("the template is in", "nightly-token", |it| {
            data(it, ".netrc").is_some()
        })
        .await;
    assert_eq!(data(&secret, ".netrc"), Some(format!("password {token}")));
    let platform = world.platform.name();
    let (issuer, id) = (
        format!("https://{platform}.example.com/id"),
        format!("{}.backend", world.team.name()),
    );
    assert_eq!(
        data(&secret, "env"),
        Some(format!(
            "ISSUER={issuer}\nURL={issuer}/connect/token\nID={id}"
        ))
    );
    let replaced = template(json!({
        "labels": null, "annotations": null, "data": {".netrc": null, "env": "$(token|base64)"},
    }));
    world.patch(TOKEN, "nightly", replaced).await;
    let secret = world
        .secret_that("the template is replaced", "nightly-token", |it| {
            data(it, ".netrc").is_none()
        })
        .await;
    assert_eq!(
        data(&secret, "token"),
        Some(token.clone()),
        "no token is made"
    );
    let (labels, annotations) = (
        secret.metadata.labels.clone().unwrap(),
        secret.metadata.annotations.clone().unwrap(),
    );
    assert!(
        !labels.contains_key("team") && !annotations.contains_key("reloader.stakater.com/match")
    );
    assert_eq!(labels["velero.io/exclude-from-backup"], "true");
    assert_eq!(annotations["reloader.stakater.com/last"], "x");
    assert_eq!(annotations["replicator.v1.mittwald.de/replicate-to"], "b");
    assert_eq!(data(&secret, "note").as_deref(), Some("x"));
    world
        .patch(TOKEN, "nightly", super::world::rotate("1"))
        .await;
    let secret = world
        .secret_that("it is rotated", "nightly-token", |it| {
            data(it, "token").is_some_and(|new| new != token)
        })
        .await;
    assert_eq!(
        secret.metadata.annotations.unwrap()["reloader.stakater.com/last"],
        "x"
    );
    world.assert_sound("nightly").await;
}

/// A user who may write tokens and no Secrets has the operator write nothing that a replicator obeys.
#[tokio::test(flavor = "multi_thread")]
async fn a_template_sets_only_what_the_identity_allows() {
    const REPLICATE: &str = "replicator.v1.mittwald.de/replicate-to";
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let annotated = |secret: &Secret| {
        let annotations = secret.metadata.annotations.as_ref();
        annotations.is_some_and(|it| it.contains_key(REPLICATE))
    };
    let wanted =
        json!({"labels": {"team": "shop", "owner": "helm"}, "annotations": {REPLICATE: "*"}});
    world.patch(TOKEN, "nightly", template(wanted)).await;
    let labelled = |secret: &Secret| {
        secret
            .metadata
            .labels
            .as_ref()
            .unwrap()
            .contains_key("team")
    };
    let secret = world
        .secret_that("the rest of the template is in", "nightly-token", labelled)
        .await;
    assert!(
        !annotated(&secret)
            && !secret
                .metadata
                .labels
                .as_ref()
                .unwrap()
                .contains_key("owner")
    );
    let told = async || {
        let token = world.get(TOKEN, "nightly").await;
        let ready = condition(&token, "Ready");
        let message = ready["message"].as_str().unwrap().to_owned();
        let is_told = ready["status"] == "True"
            && message.contains(REPLICATE)
            && message.contains("spec.limits.secretMetadata.annotations");
        is_told.then_some(())
    };
    eventually("the token says what is not written", told).await;
    let identity = |limits: &str| {
        format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {{name: main, namespace: PLATFORM}}\nspec:\n  issuer: https://PLATFORM.example.com/id\n  access: {{clients: {{from: List, names: [TEAM]}}}}\n  signing: {{algorithms: [ES256]}}\n  limits: {limits}\n"
        )
    };
    let allowing = identity("{secretMetadata: {annotations: ['replicator.v1.mittwald.de/*']}}");
    world.apply(&allowing).await;
    world
        .secret_that("the Identity allows it", "nightly-token", annotated)
        .await;
    world.apply(&identity("{}")).await;
    eventually("it is not allowed any more", told).await;
    world
        .patch(TOKEN, "nightly", super::world::rotate("1"))
        .await;
    let token = data(&secret, "token");
    let rotated = world
        .secret_that("it is rotated", "nightly-token", |it| {
            data(it, "token") != token
        })
        .await;
    assert!(annotated(&rotated), "what is there stays");
    let secrets: Api<Secret> = world.team.api();
    secrets
        .delete("nightly-token", &DeleteParams::default())
        .await
        .unwrap();
    let token = data(&rotated, "token");
    let other = world
        .secret_that("another Secret is there", "nightly-token", |it| {
            data(it, "token").is_some_and(|it| Some(it) != token)
        })
        .await;
    assert!(
        !annotated(&other) && labelled(&other),
        "a new Secret has it not"
    );
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_type_and_another_name_make_another_secret_and_kill_no_token() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let mut tokens = vec![world.text("nightly-token").await.unwrap()];
    let typed = template(json!({"type": "servicebinding.io/oauth2", "data": {"type": "oauth2"}}));
    world.patch(TOKEN, "nightly", typed).await;
    world
        .secret_that("it has the type", "nightly-token", |it| {
            it.type_.as_deref() == Some("servicebinding.io/oauth2") && data(it, "token").is_some()
        })
        .await;
    let token = world.token_ready("nightly").await;
    tokens.push(world.text("nightly-token").await.unwrap());
    assert_eq!(token["status"]["binding"]["name"], "nightly-token");
    let renamed = json!({"spec": {"secret": {"name": "other"}}});
    world.patch(TOKEN, "nightly", renamed).await;
    world
        .secret_that("the other Secret has a token", "other", |it| {
            data(it, "token").is_some()
        })
        .await;
    eventually("the Secret before is gone", async || {
        world.secret("nightly-token").await.is_none().then_some(())
    })
    .await;
    eventually("the status tells of the other", async || {
        let status = world.get(TOKEN, "nightly").await["status"].clone();
        (status["secretName"] == "other" && status["binding"]["name"] == "other").then_some(())
    })
    .await;
    tokens.push(world.text("other").await.unwrap());
    for token in &tokens {
        assert!(world.accepts(token).await, "within the overlap");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_want_one_secret_the_older_has_it() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.apply_token("older", "secret: {name: shared}").await;
    world.token_ready("older").await;
    let token = world.text("shared").await.unwrap();
    world.apply_token("younger", "secret: {name: shared}").await;
    let younger = world
        .ready(TOKEN, "younger", "False", "SecretConflict")
        .await;
    let message = condition(&younger, "Ready")["message"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        message.contains("shared") && message.contains("another name"),
        "{message}"
    );
    assert_eq!(world.text("shared").await.unwrap(), token);
    world.assert_sound_in("older", "shared").await;
    world.delete(TOKEN, "older").await;
    world.token_ready("younger").await;
    assert!(!world.accepts(&token).await, "it died with its owner");
    world.assert_sound_in("younger", "shared").await;
}

fn brought(value: &str, labels: &[(&str, &str)]) -> Secret {
    let labels = labels
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    Secret {
        metadata: ObjectMeta {
            name: Some("vault".to_owned()),
            labels: Some(labels.collect::<BTreeMap<_, _>>()),
            ..ObjectMeta::default()
        },
        data: Some([("password".to_owned(), ByteString(value.into()))].into()),
        ..Secret::default()
    }
}

const LABELLED: &[(&str, &str)] = &[("symbolon.dev/client", "backend")];

/// The team's client, which names a Secret that others bring, and a server that serves it.
struct Bringing<'w> {
    world: &'w World<'w>,
    server: Server,
    id: String,
}

impl<'w> Bringing<'w> {
    async fn start(world: &'w World<'w>) -> Self {
        let account = world.team.cluster_account("server", rights()).await;
        let server = Server::start(world, account.kubeconfig_path(), &[]).await;
        let reference = json!({"existingRef": {"name": "vault", "key": "password"}});
        let patch = json!({"spec": {"authentication": {"secret": reference}}});
        world.patch(CLIENT, "backend", patch).await;
        Self {
            world,
            server,
            id: format!("{}.backend", world.team.name()),
        }
    }

    async fn create(&self, value: &str, labels: &[(&str, &str)]) {
        let secrets = self.world.team.api::<Secret>();
        let secret = brought(value, labels);
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }

    async fn change(&self, value: &str) {
        let patch = json!({"stringData": {"password": value}});
        self.world.merge_secret("vault", patch).await;
    }

    async fn label(&self, value: Option<&str>) {
        let patch = json!({"metadata": {"labels": {"symbolon.dev/client": value}}});
        self.world.merge_secret("vault", patch).await;
    }

    async fn accepts(&self, secret: &str) -> bool {
        match self.server.access_token(&self.id, secret).await {
            Ok(_) => true,
            Err(status) => {
                assert_eq!(status, StatusCode::UNAUTHORIZED);
                false
            }
        }
    }

    async fn soon(&self, what: &str, secret: &str, accepted: bool) {
        eventually(what, async || {
            (self.accepts(secret).await == accepted).then_some(())
        })
        .await;
    }

    /// What the client waits for, in words.
    async fn refused(&self, reason: &str) -> String {
        let client = self.world.ready(CLIENT, "backend", "False", reason).await;
        let message = condition(&client, "Ready")["message"].as_str();
        message.unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_brought_by_its_label_and_never_written() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.ready(CLIENT, "backend", "True", "Ready").await;
    let made = world.secret("backend-client").await.unwrap();
    let made = data(&made, "client-secret").unwrap();
    let bringing = Bringing::start(&world).await;
    let message = bringing.refused("SecretNotFound").await;
    assert!(
        message.contains("symbolon.dev/client: backend"),
        "{message}"
    );
    assert!(bringing.accepts(&made).await, "until one is brought");

    // Without the label it is somebody's who knows nothing of this client.
    bringing.create(A, &[]).await;
    let again = json!({"spec": {"displayName": "again"}});
    world.patch(CLIENT, "backend", again).await;
    bringing.refused("SecretNotFound").await;
    assert!(!bringing.accepts(A).await);
    bringing.label(Some("backend")).await;
    let ready = world.ready(CLIENT, "backend", "True", "Ready").await;
    assert_eq!(ready["status"]["secretName"], "vault");
    bringing.soon("what was brought is accepted", A, true).await;
    let lives_on = "what was made lives on for a while";
    bringing.soon(lives_on, &made, true).await;
    assert!(!bringing.accepts(&A.to_lowercase()).await);
    assert!(bringing.server.access_token("nobody", A).await.is_err());
    let untouched = world.secret("vault").await.unwrap();
    assert_eq!(untouched.metadata.owner_references, None);
    assert_eq!(untouched.metadata.annotations, None);
    assert_eq!(untouched.data, brought(A, LABELLED).data);
    eventually("the Secret that was made is deleted", async || {
        world.secret("backend-client").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_brought_secret_is_followed_wherever_it_goes() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let bringing = Bringing::start(&world).await;
    bringing.create(A, LABELLED).await;
    bringing.soon("it is accepted", A, true).await;

    bringing.change(&format!("{B}\n")).await;
    bringing.soon("the new value is accepted", B, true).await;
    assert!(bringing.accepts(A).await, "pods still have the one before");

    bringing.change("changeme").await;
    let message = bringing.refused("WeakSecret").await;
    assert!(!message.contains("changeme"), "{message}");
    assert!(!bringing.accepts("changeme").await);

    // The Secret goes and comes back, as with a backend that is away for a while.
    let secrets = world.team.api::<Secret>();
    secrets
        .delete("vault", &DeleteParams::default())
        .await
        .unwrap();
    bringing.refused("SecretNotFound").await;
    bringing.soon("it is accepted all the same", B, true).await;
    bringing.create(B, LABELLED).await;
    world.ready(CLIENT, "backend", "True", "Ready").await;

    bringing.label(None).await;
    let taken_back = "without the label nothing that was brought is accepted";
    bringing.soon(taken_back, B, false).await;
    bringing.soon("nor what was before", A, false).await;
}

/// Another name in the label takes the Secret away from the client that was named there, as no name does.
#[tokio::test(flavor = "multi_thread")]
async fn a_brought_secret_that_is_labelled_for_another_client_is_refused() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let bringing = Bringing::start(&world).await;
    bringing.create(A, LABELLED).await;
    bringing.soon("it is accepted", A, true).await;
    bringing.label(Some("other")).await;
    bringing.soon("it is another client's", A, false).await;
    bringing.label(Some("backend")).await;
    bringing.soon("it is this client's again", A, true).await;
}

/// A client may have the same value as another: each is itself.
#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_the_same_brought_secret_are_told_apart() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let client = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: NAME, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  authentication: {secret: {existingRef: {name: NAME, key: password}}}
";
    let secrets = world.team.api::<Secret>();
    for name in ["one", "two"] {
        world.apply(&client.replace("NAME", name)).await;
        let mut secret = brought(A, &[("symbolon.dev/client", name)]);
        secret.metadata.name = Some(name.to_owned());
        secrets
            .create(&PostParams::default(), &secret)
            .await
            .unwrap();
    }
    for name in ["one", "two"] {
        world.ready(CLIENT, name, "True", "Ready").await;
    }
    let account = world.team.cluster_account("server", rights()).await;
    let server = Server::start(&world, account.kubeconfig_path(), &[]).await;
    for name in ["one", "two"] {
        let id = format!("{}.{name}", world.team.name());
        assert!(server.access_token(&id, A).await.is_ok(), "{name}");
        assert!(server.access_token(&id, B).await.is_err(), "{name}");
    }
    let id = format!("{}.backend", world.team.name());
    assert!(server.access_token(&id, A).await.is_err());
}
