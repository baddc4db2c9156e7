//! Options of Secrets: templates, other names, name conflicts, and imported secrets.

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
    /// Waits until a Secret of the team fulfils `is_right`, and returns it.
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
async fn a_template_is_applied_and_changes_of_others_survive() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    // Changes by Reloader, a replicator and a user.
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
        .secret_that("the template is applied", "nightly-token", |it| {
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
        "a changed template must not change the token"
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
        .secret_that("the token is rotated", "nightly-token", |it| {
            data(it, "token").is_some_and(|new| new != token)
        })
        .await;
    assert_eq!(
        secret.metadata.annotations.unwrap()["reloader.stakater.com/last"],
        "x"
    );
    world.assert_sound("nightly").await;
}

/// A user who may write ServiceAccessTokens but no Secrets must not be able to make the operator write an annotation
/// that a replicator obeys.
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
        .secret_that(
            "the rest of the template is applied",
            "nightly-token",
            labelled,
        )
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
    eventually("the condition names what is not written", told).await;
    let identity = |limits: &str| {
        format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: Identity\nmetadata: {{name: main, namespace: PLATFORM}}\nspec:\n  issuer: https://PLATFORM.example.com/id\n  access: {{clients: {{from: List, names: [TEAM]}}}}\n  signing: {{algorithms: [ES256]}}\n  limits: {limits}\n"
        )
    };
    let allowing = identity("{secretMetadata: {annotations: ['replicator.v1.mittwald.de/*']}}");
    world.apply(&allowing).await;
    world
        .secret_that(
            "the allowed annotation is written",
            "nightly-token",
            annotated,
        )
        .await;
    world.apply(&identity("{}")).await;
    eventually("the condition reports that it is no longer allowed", told).await;
    world
        .patch(TOKEN, "nightly", super::world::rotate("1"))
        .await;
    let token = data(&secret, "token");
    let rotated = world
        .secret_that("the token is rotated", "nightly-token", |it| {
            data(it, "token") != token
        })
        .await;
    assert!(annotated(&rotated), "an existing annotation stays");
    let secrets: Api<Secret> = world.team.api();
    secrets
        .delete("nightly-token", &DeleteParams::default())
        .await
        .unwrap();
    let token = data(&rotated, "token");
    let other = world
        .secret_that("the Secret is recreated", "nightly-token", |it| {
            data(it, "token").is_some_and(|it| Some(it) != token)
        })
        .await;
    assert!(
        !annotated(&other) && labelled(&other),
        "a recreated Secret must not have the annotation"
    );
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_type_or_name_creates_another_secret_and_ends_no_token() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let mut tokens = vec![world.text("nightly-token").await.unwrap()];
    let typed = template(json!({"type": "servicebinding.io/oauth2", "data": {"type": "oauth2"}}));
    world.patch(TOKEN, "nightly", typed).await;
    world
        .secret_that("the Secret has the new type", "nightly-token", |it| {
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
    eventually("the previous Secret is deleted", async || {
        world.secret("nightly-token").await.is_none().then_some(())
    })
    .await;
    eventually("the status names the other Secret", async || {
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
async fn of_two_owners_with_one_secret_name_the_older_gets_it() {
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
    assert!(!world.accepts(&token).await, "a token ends with its owner");
    world.assert_sound_in("younger", "shared").await;
}

fn imported(value: &str, labels: &[(&str, &str)]) -> Secret {
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

/// The team's client with an imported secret, and a server that serves it.
struct Importing<'w> {
    world: &'w World<'w>,
    server: Server,
    id: String,
}

impl<'w> Importing<'w> {
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
        let secret = imported(value, labels);
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

    /// Waits until the client is refused for a reason, and returns the message.
    async fn refused(&self, reason: &str) -> String {
        let client = self.world.ready(CLIENT, "backend", "False", reason).await;
        let message = condition(&client, "Ready")["message"].as_str();
        message.unwrap().to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_secret_needs_the_label_and_is_never_written() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.ready(CLIENT, "backend", "True", "Ready").await;
    let made = world.secret("backend-client").await.unwrap();
    let made = data(&made, "client-secret").unwrap();
    let importing = Importing::start(&world).await;
    let message = importing.refused("SecretNotFound").await;
    assert!(
        message.contains("symbolon.dev/client: backend"),
        "{message}"
    );
    assert!(
        importing.accepts(&made).await,
        "the issued secret is valid until one is imported"
    );

    // A Secret without the label may belong to a user who does not know this client.
    importing.create(A, &[]).await;
    let again = json!({"spec": {"displayName": "again"}});
    world.patch(CLIENT, "backend", again).await;
    importing.refused("SecretNotFound").await;
    assert!(!importing.accepts(A).await);
    importing.label(Some("backend")).await;
    let ready = world.ready(CLIENT, "backend", "True", "Ready").await;
    assert_eq!(ready["status"]["secretName"], "vault");
    importing
        .soon("the imported secret is accepted", A, true)
        .await;
    let stays = "the issued secret stays valid during the overlap";
    importing.soon(stays, &made, true).await;
    assert!(!importing.accepts(&A.to_lowercase()).await);
    assert!(importing.server.access_token("nobody", A).await.is_err());
    let untouched = world.secret("vault").await.unwrap();
    assert_eq!(untouched.metadata.owner_references, None);
    assert_eq!(untouched.metadata.annotations, None);
    assert_eq!(untouched.data, imported(A, LABELLED).data);
    eventually("the operator's own Secret is deleted", async || {
        world.secret("backend-client").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_of_an_imported_secret_are_followed() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let importing = Importing::start(&world).await;
    importing.create(A, LABELLED).await;
    importing
        .soon("the imported secret is accepted", A, true)
        .await;

    importing.change(&format!("{B}\n")).await;
    importing.soon("the new value is accepted", B, true).await;
    assert!(
        importing.accepts(A).await,
        "the previous value stays valid during the overlap"
    );

    importing.change("changeme").await;
    let message = importing.refused("WeakSecret").await;
    assert!(!message.contains("changeme"), "{message}");
    assert!(!importing.accepts("changeme").await);

    // The Secret is deleted and recreated, as after an outage of a secret backend.
    let secrets = world.team.api::<Secret>();
    secrets
        .delete("vault", &DeleteParams::default())
        .await
        .unwrap();
    importing.refused("SecretNotFound").await;
    importing
        .soon("the recorded secret stays valid", B, true)
        .await;
    importing.create(B, LABELLED).await;
    world.ready(CLIENT, "backend", "True", "Ready").await;

    importing.label(None).await;
    importing
        .soon("the secret is refused without the label", B, false)
        .await;
    importing
        .soon("the previous value is refused too", A, false)
        .await;
}

/// A label with another client's name has the same effect as a missing label.
#[tokio::test(flavor = "multi_thread")]
async fn an_imported_secret_labelled_for_another_client_is_refused() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let importing = Importing::start(&world).await;
    importing.create(A, LABELLED).await;
    importing
        .soon("the imported secret is accepted", A, true)
        .await;
    importing.label(Some("other")).await;
    importing
        .soon(
            "the secret labelled for another client is refused",
            A,
            false,
        )
        .await;
    importing.label(Some("backend")).await;
    importing
        .soon(
            "the secret labelled for this client is accepted again",
            A,
            true,
        )
        .await;
}

/// Two clients may import the same value. Each still authenticates only as itself.
#[tokio::test(flavor = "multi_thread")]
async fn two_clients_with_the_same_imported_secret_authenticate_as_themselves() {
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
        let mut secret = imported(A, &[("symbolon.dev/client", name)]);
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
