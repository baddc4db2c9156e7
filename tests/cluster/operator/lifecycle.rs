//! Changes that users make to clients, tokens, scopes and Secrets.

use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::api::{DeleteParams, ObjectMeta, Patch, PatchParams, PostParams};
use serde_json::json;
use symbolon::resources::Kind;

use super::world::{Running, World, condition, now, rotate};
use crate::harness::{Cluster, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;

#[tokio::test(flavor = "multi_thread")]
async fn applied_yaml_becomes_a_token_in_a_secret() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let token = world.token_ready("nightly").await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    world.assert_sound("nightly").await;
    let secret = world.secret("nightly-token").await.unwrap();
    let owner = &secret.metadata.owner_references.unwrap()[0];
    assert_eq!(
        (owner.controller, owner.block_owner_deletion),
        (Some(true), Some(false))
    );
    assert_eq!(token["status"]["secretName"], "nightly-token");
    let keys: Vec<_> = world
        .secret("backend-client")
        .await
        .unwrap()
        .data
        .unwrap()
        .into_keys()
        .collect();
    assert_eq!(keys, ["client-id", "client-secret", "issuer", "token-url"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_creation_does_not_matter() {
    let world = World::empty(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.apply_token("nightly", "").await;
    world
        .ready(TOKEN, "nightly", "False", "ClientNotFound")
        .await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: backend, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {name: backend}
  referenceTokens: AdministratorsOnly
",
        )
        .await;
    world
        .ready(Kind::OAuthClient, "backend", "False", "IdentityNotFound")
        .await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: https://PLATFORM.example.com/id
  access: {clients: {from: List, names: [TEAM]}}
  signing: {algorithms: [ES256]}
",
        )
        .await;
    world
        .ready(TOKEN, "nightly", "False", "ScopeNotFound")
        .await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: orders.read, namespace: PLATFORM}
spec: {identityRef: {name: main}, allowedNamespaces: {from: All}}
",
        )
        .await;
    world.token_ready("nightly").await;
    world.assert_sound("nightly").await;
}

/// The Identity may never have existed. A commit that revokes a token must still reach its final state.
#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_a_missing_identity_can_be_revoked() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: lost, namespace: TEAM}
spec:
  identityRef: {name: absent, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: lost, namespace: TEAM}
spec: {clientRef: {name: lost}, scopes: [orders.read], revoked: true}
",
        )
        .await;
    world.ready(TOKEN, "lost", "True", "Revoked").await;
}

/// An earlier end takes effect at once, and moving it to a later time does not make an ended token valid again.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_end_is_followed() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let ends_in = |hours: i64| {
        let end = now() + SignedDuration::from_hours(hours);
        json!({"spec": {"expiresAt": end}})
    };
    let fixed = format!(
        "expiresAt: {}\n  rotation: {{policy: Manual}}",
        now() + SignedDuration::from_hours(48)
    );
    world.apply_token("fixed", &fixed).await;
    world.token_ready("fixed").await;
    let old = world.text("fixed-token").await.unwrap();

    world.patch(TOKEN, "fixed", ends_in(-1)).await;
    assert!(!world.accepts(&old).await, "at once, without the operator");
    world.ready(TOKEN, "fixed", "False", "Expired").await;
    world.patch(TOKEN, "fixed", ends_in(24)).await;
    world.token_ready("fixed").await;
    world.assert_sound("fixed").await;
    assert!(!world.accepts(&old).await, "an ended token stays ended");
    let second = world.text("fixed-token").await.unwrap();
    assert_ne!(second, old);

    world.patch(TOKEN, "fixed", ends_in(96)).await;
    eventually("another token has the later end", async || {
        let text = world.text("fixed-token").await.unwrap();
        (text != second).then_some(())
    })
    .await;
    world.token_ready("fixed").await;
    assert!(world.accepts(&second).await, "within the overlap");
    world.assert_sound("fixed").await;
}

/// The deletion of a Secret with `onSecretDeleted: Revoke` also takes effect while the client is disabled.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_clients_leaked_secret_stays_revoked_when_it_is_enabled() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    let client = Kind::OAuthClient;
    let revoking = json!({"spec": {"authentication": {"secret": {"rotation": {"onSecretDeleted": "Revoke"}}}}});
    world.patch(client, "backend", revoking).await;
    world.ready(client, "backend", "True", "Ready").await;
    let disabled = |disabled: bool| json!({"spec": {"disabled": disabled}});
    world.patch(client, "backend", disabled(true)).await;
    world.ready(client, "backend", "True", "Disabled").await;
    let secrets = world.team.api::<Secret>();
    secrets
        .delete("backend-client", &DeleteParams::default())
        .await
        .unwrap();
    let of_client = async || {
        let credentials = world.credentials().await.into_iter();
        let mut credentials = credentials.filter(|it| it.spec.owner.name == "backend");
        credentials.next().unwrap().spec
    };
    eventually("the Credential has no tokens", async || {
        of_client().await.tokens.is_empty().then_some(())
    })
    .await;
    world.ready(client, "backend", "True", "Disabled").await;
    assert!(world.secret("backend-client").await.is_none());
    world.patch(client, "backend", disabled(false)).await;
    world.ready(client, "backend", "True", "Ready").await;
    let epochs: Vec<i64> = of_client().await.tokens.iter().map(|it| it.epoch).collect();
    assert_eq!(epochs, [2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_stays_revoked_and_a_disabled_client_can_be_enabled_again() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();

    world
        .patch(
            Kind::OAuthClient,
            "backend",
            json!({"spec": {"disabled": true}}),
        )
        .await;
    assert!(
        !world.accepts(&token).await,
        "at once, without the operator"
    );
    world
        .ready(Kind::OAuthClient, "backend", "True", "Disabled")
        .await;
    world
        .patch(
            Kind::OAuthClient,
            "backend",
            json!({"spec": {"disabled": false}}),
        )
        .await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;
    assert!(world.accepts(&token).await, "the same token");

    world
        .patch(TOKEN, "nightly", json!({"spec": {"revoked": true}}))
        .await;
    assert!(!world.accepts(&token).await);
    let status = world.ready(TOKEN, "nightly", "True", "Revoked").await["status"].clone();
    assert!(
        status.get("tokenId").is_none() && status["epoch"] == 1,
        "{status:#}"
    );
    let entries = world
        .credentials()
        .await
        .into_iter()
        .filter(|it| it.spec.owner.name == "nightly");
    assert!(entries.flat_map(|it| it.spec.tokens).next().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_withdrawn_grant_that_is_given_back_keeps_its_token() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    let grant = |from: &str| {
        format!(
            "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {{name: orders.read, namespace: PLATFORM}}
spec: {{identityRef: {{name: main}}, allowedNamespaces: {{from: {from}}}}}
"
        )
    };
    world.apply(&grant("Same")).await;
    assert!(!world.accepts(&token).await);
    let object = world
        .ready(TOKEN, "nightly", "False", "ScopeNotGranted")
        .await;
    assert_eq!(condition(&object, "Granted")["status"], "False");
    assert_eq!(
        condition(&object, "Stalled")["status"],
        "False",
        "the owner of the scope can grant it, so the token is not stalled"
    );
    let client = world
        .ready(Kind::OAuthClient, "backend", "False", "ScopeNotGranted")
        .await;
    assert_eq!(client["status"]["notGranted"], json!(["orders.read"]));
    world.apply(&grant("All")).await;
    world.token_ready("nightly").await;
    assert_eq!(world.text("nightly-token").await.unwrap(), token);
    assert!(world.accepts(&token).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_users_secret_is_not_changed() {
    let world = World::new(Cluster::shared()).await;
    let theirs = Secret {
        metadata: ObjectMeta {
            name: Some("nightly-token".into()),
            ..ObjectMeta::default()
        },
        data: Some([("token".to_owned(), ByteString(b"theirs".to_vec()))].into()),
        ..Secret::default()
    };
    let theirs = world
        .team
        .api::<Secret>()
        .create(&PostParams::default(), &theirs)
        .await
        .unwrap();
    let _running = Running::start(&world).await;
    let object = world
        .ready(TOKEN, "nightly", "False", "SecretConflict")
        .await;
    assert_eq!(condition(&object, "Stalled")["status"], "True");
    assert_eq!(condition(&object, "Issued")["status"], "False");
    assert_eq!(world.secret("nightly-token").await.unwrap(), theirs);
    assert!(
        !world
            .credentials()
            .await
            .iter()
            .any(|it| it.spec.owner.name == "nightly")
    );

    let api = world.team.api::<Secret>();
    api.delete("nightly-token", &DeleteParams::default())
        .await
        .unwrap();
    // The operator does not watch other users' Secrets. An edit triggers the next pass at once.
    world.patch(TOKEN, "nightly", rotate("again")).await;
    world.token_ready("nightly").await;
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_secret_is_adopted() {
    let world = World::new(Cluster::shared()).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let token = world.text("nightly-token").await.unwrap();
    drop(running);
    // A backup tool restores it without owner references.
    let api = world.team.api::<Secret>();
    let orphaned = Patch::Merge(json!({"metadata": {"ownerReferences": null}}));
    api.patch("nightly-token", &PatchParams::default(), &orphaned)
        .await
        .unwrap();
    let _running = Running::start(&world).await;
    eventually("the Secret has its owner again", async || {
        world
            .secret("nightly-token")
            .await?
            .metadata
            .owner_references
            .filter(|owners| !owners.is_empty())
    })
    .await;
    assert_eq!(
        world.text("nightly-token").await.unwrap(),
        token,
        "adopting a Secret must not change the token"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_keeps_the_previous_token_valid_for_the_overlap() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world
        .apply_token("short", "rotation: {policy: Auto, overlap: 10s}")
        .await;
    world.token_ready("short").await;
    let first = world.text("short-token").await.unwrap();
    world.patch(TOKEN, "short", rotate("1")).await;
    let second = eventually("the Secret has another token", async || {
        world
            .text("short-token")
            .await
            .filter(|text| *text != first)
    })
    .await;
    assert!(world.accepts(&second).await);
    let old = eventually("the previous token has an end", async || {
        let object = world.get(TOKEN, "short").await;
        object["status"]["previous"]["notAfter"]
            .as_str()
            .map(str::to_owned)
    })
    .await;
    assert!(old.parse::<jiff::Timestamp>().is_ok());
    eventually(
        "the previous token is refused and removed from the status",
        async || {
            let object = world.get(TOKEN, "short").await;
            let is_over =
                !world.accepts(&first).await && object["status"].get("previous").is_none();
            is_over.then_some(())
        },
    )
    .await;
    world.assert_sound("short").await;
    // The same value requests no other rotation.
    world.patch(TOKEN, "short", rotate("1")).await;
    assert_eq!(world.text("short-token").await.unwrap(), second);
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_edited_and_restored_secrets_get_a_valid_token() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let api = world.team.api::<Secret>();
    let first = world.text("nightly-token").await.unwrap();
    let copy = world.secret("nightly-token").await.unwrap().data.unwrap();

    api.delete("nightly-token", &DeleteParams::default())
        .await
        .unwrap();
    let another = async |than: &str| {
        let what = "another token is in the Secret";
        eventually(what, async || {
            world
                .text("nightly-token")
                .await
                .filter(|text| text != than)
        })
        .await
    };
    let second = another(&first).await;
    assert!(
        world.accepts(&first).await,
        "the previous token is valid during the overlap"
    );

    let edit = Patch::Merge(json!({"data": {"token": null}}));
    api.patch("nightly-token", &PatchParams::default(), &edit)
        .await
        .unwrap();
    let third = another(&second).await;

    // A user restores an old copy.
    let old = Patch::Merge(json!({"data": copy}));
    api.patch("nightly-token", &PatchParams::default(), &old)
        .await
        .unwrap();
    another(&first).await;
    eventually("the Secret has settled on a new token", async || {
        let text = world.text("nightly-token").await?;
        (text != first && text != third).then_some(())
    })
    .await;
    world.token_ready("nightly").await;
    eventually("all previous tokens have an end", async || {
        let credentials = world.credentials().await;
        let ours = credentials
            .iter()
            .find(|it| it.spec.owner.name == "nightly")?;
        let open = ours
            .spec
            .tokens
            .iter()
            .filter(|entry| entry.not_after.is_none())
            .count();
        (open == 1).then_some(())
    })
    .await;
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recreated_owner_inherits_nothing() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let old = world.text("nightly-token").await.unwrap();
    world.delete(TOKEN, "nightly").await;
    assert!(!world.accepts(&old).await);
    world.apply_token("nightly", "").await;
    world.token_ready("nightly").await;
    let new = world.text("nightly-token").await.unwrap();
    assert!(world.accepts(&new).await && !world.accepts(&old).await && new != old);
    eventually("the old owner's Credential is swept", async || {
        let count = world
            .credentials()
            .await
            .iter()
            .filter(|it| it.spec.owner.name == "nightly")
            .count();
        (count == 1).then_some(())
    })
    .await;
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_credential_gets_a_new_token_in_the_secret() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let first = world.text("nightly-token").await.unwrap();
    let credentials = world.credentials().await;
    let ours = credentials
        .iter()
        .find(|it| it.spec.owner.name == "nightly")
        .unwrap();
    let api = world.platform.api::<symbolon::resources::Credential>();
    api.delete(&ours.spec.owner.uid, &DeleteParams::default())
        .await
        .unwrap();
    assert!(!world.accepts(&first).await);
    eventually("the Secret has another token", async || {
        world
            .text("nightly-token")
            .await
            .filter(|text| *text != first)
    })
    .await;
    let object = eventually("the epoch continues", async || {
        let object = world.get(TOKEN, "nightly").await;
        (object["status"]["epoch"] == 2).then_some(object)
    })
    .await;
    assert_eq!(condition(&object, "Ready")["status"], "True");
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_key_secret_is_reported_and_never_written() {
    let world = World::new(Cluster::shared()).await;
    let garbled = Secret {
        metadata: ObjectMeta {
            name: Some("main-mac".into()),
            ..ObjectMeta::default()
        },
        data: Some([("mac.key".to_owned(), ByteString(b"short".to_vec()))].into()),
        ..Secret::default()
    };
    let garbled = world
        .platform
        .api::<Secret>()
        .create(&PostParams::default(), &garbled)
        .await
        .unwrap();
    let _running = Running::start(&world).await;
    let disabled = json!({"spec": {"disabled": true}});
    world.patch(Kind::OAuthClient, "backend", disabled).await;
    // Disabling a client must succeed in spite of other errors.
    world
        .ready(Kind::OAuthClient, "backend", "True", "Disabled")
        .await;
    let identities = world.platform.api::<symbolon::resources::Identity>();
    let message = eventually("the Identity reports the Secret", async || {
        let object = serde_json::to_value(identities.get("main").await.unwrap()).unwrap();
        let ready = condition(&object, "Ready");
        (ready["reason"] == "SecretConflict").then(|| ready["message"].as_str().unwrap().to_owned())
    })
    .await;
    assert!(message.contains("main-mac"), "{message}");
    assert_eq!(
        world
            .platform
            .api::<Secret>()
            .get("main-mac")
            .await
            .unwrap(),
        garbled
    );
}
