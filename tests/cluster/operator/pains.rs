//! Known faults of similar operators (hydra-maester, kaniop, cert-manager), and the tests that show that this one does
//! not have them:
//!
//! | fault | test |
//! |---|---|
//! | a restart rewrites everything | `traffic::issuing_lists_nothing_and_a_restart_writes_nothing` |
//! | a lost Secret stays lost | `lifecycle::deleted_edited_and_restored_secrets_get_a_valid_token` |
//! | another owner's Secret is overwritten | `lifecycle::another_users_secret_is_not_changed` |
//! | two resources with one Secret name fight | `two_resources_with_one_secret_name_do_not_overwrite_each_other` |
//! | the token of a renamed owner stays valid | `a_renamed_owner_gets_a_new_token_and_the_old_one_ends` |
//! | a recreated owner inherits tokens | `lifecycle::a_recreated_owner_inherits_nothing` |
//! | a namespace deleted while issuing stops the rest | `a_namespace_deleted_while_issuing_does_not_stop_others` |
//! | a status lost in a restore recreates all secrets | `a_status_lost_in_a_restore_changes_no_token` |
//! | one invalid object stops the others | `an_object_with_unknown_values_does_not_stop_others` |
//! | the API server restarts | `process::an_operator_survives_a_restart_of_the_api_server` |
//! | servers stop while the API server is down | `serving::a_server_keeps_serving_while_the_api_server_is_down` |
//! | etcd is killed while issuing | `a_kill_of_etcd_while_issuing_loses_and_duplicates_no_token` |
//! | constant write conflicts block or multiply tokens | `constant_writes_by_others_neither_stop_nor_multiply_tokens` |
//! | the MAC key is deleted | `a_deleted_mac_key_is_replaced_and_every_token_reissued` |
//! | a leader is killed or suspended | `process`, `replicas` |
//! | a crash between any two writes | `faults` |
//! | a restore | `crate::runbooks` |

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use k8s_openapi::{
    api::core::v1::{Namespace, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use serde_json::json;
use symbolon::{
    reconcile::key_secrets,
    resources::{Credential, Kind},
};
use tokio_util::sync::CancellationToken;

use super::world::{Running, World, condition, rotate};
use crate::harness::{Cluster, Program, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;

#[tokio::test(flavor = "multi_thread")]
async fn two_resources_with_one_secret_name_do_not_overwrite_each_other() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .apply_token("other", "secret: {name: nightly-token}")
        .await;
    let other = world.ready(TOKEN, "other", "False", "SecretConflict").await;
    assert_eq!(condition(&other, "Stalled")["status"], "True");
    let before = world.secret("nightly-token").await.unwrap();
    // Time in which one could write.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = world.secret("nightly-token").await.unwrap();
    assert_eq!(after, before, "the two resources overwrite each other");
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_owner_gets_a_new_token_and_the_old_one_ends() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let old = world.text("nightly-token").await.unwrap();
    // After a rename in Git, the new object may be created before the old one is deleted.
    world.apply_token("renamed", "").await;
    world.delete(TOKEN, "nightly").await;
    world.token_ready("renamed").await;
    world.assert_sound("renamed").await;
    assert!(!world.accepts(&old).await);
    eventually(
        "the Secret and the Credential of the old one are deleted",
        async || {
            let secret = world.secret("nightly-token").await;
            let credentials = world.credentials().await;
            let is_left = credentials.iter().any(|it| it.spec.owner.name == "nightly");
            (secret.is_none() && !is_left).then_some(())
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_deleted_while_issuing_does_not_stop_others() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let other = World::new(&cluster).await;
    // One controller manages both.
    let _running = Running::over_all(&[&world, &other]).await;
    world.token_ready("nightly").await;
    let old = world.text("nightly-token").await.unwrap();
    for number in 0..20 {
        world.apply_token(&format!("many-{number}"), "").await;
    }
    let namespaces: Api<Namespace> = Api::all(world.client());
    namespaces
        .delete(world.team.name(), &DeleteParams::default())
        .await
        .unwrap();
    for number in 0..5 {
        other.apply_token(&format!("later-{number}"), "").await;
        other.token_ready(&format!("later-{number}")).await;
        other.assert_sound(&format!("later-{number}")).await;
    }
    eventually("the namespace is deleted", async || {
        let gone = namespaces.get_opt(world.team.name()).await.unwrap();
        gone.is_none().then_some(())
    })
    .await;
    assert!(!world.accepts(&old).await);
    // The sweep of the Credentials, whose owners are gone, takes some time.
    eventually(
        "the operator makes no more requests for the deleted namespace",
        async || {
            let since = cluster.mark();
            tokio::time::sleep(Duration::from_secs(4)).await;
            let requests = cluster.requests(since);
            let is_work = |verb: &str| !["watch", "list"].contains(&verb);
            let works = requests
                .iter()
                .any(|request| request.namespace == world.team.name() && is_work(&request.verb));
            (!works).then_some(())
        },
    )
    .await;
    other.apply_token("last", "").await;
    other.token_ready("last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_lost_in_a_restore_changes_no_token() {
    let world = World::new(Cluster::shared()).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world.patch(TOKEN, "nightly", rotate("once")).await;
    eventually("the token is rotated", async || {
        let object = world.get(TOKEN, "nightly").await;
        (object["status"]["epoch"] == 2).then_some(())
    })
    .await;
    let token = world.text("nightly-token").await.unwrap();
    let before = world.token_ready("nightly").await["status"].clone();
    let wipe = async || {
        let api: Api<symbolon::resources::ServiceAccessToken> = world.team.api();
        let nothing: serde_json::Map<String, serde_json::Value> = before
            .as_object()
            .unwrap()
            .keys()
            .map(|field| (field.clone(), json!(null)))
            .collect();
        let nothing = Patch::Merge(json!({"status": nothing}));
        let params = PatchParams::default();
        api.patch_status("nightly", &params, &nothing)
            .await
            .unwrap();
    };
    // Once while the operator runs, and once while it does not.
    wipe().await;
    let facts = |status: &serde_json::Value| {
        ["epoch", "tokenId", "issuedAt", "expiresAt", "rotationNonce"]
            .map(|field| status[field].clone())
    };
    let again = async || {
        eventually("the status is restored", async || {
            let status = world.get(TOKEN, "nightly").await["status"].clone();
            (facts(&status) == facts(&before)).then_some(())
        })
        .await;
    };
    again().await;
    drop(running);
    wipe().await;
    let _running = Running::start(&world).await;
    again().await;
    world.token_ready("nightly").await;
    assert_eq!(
        world.text("nightly-token").await.unwrap(),
        token,
        "a rotation that was requested once happens once"
    );
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_unknown_values_does_not_stop_others() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    // CRDs of a newer release, with values that this one does not know.
    let definitions: Api<CustomResourceDefinition> = Api::all(world.client());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties";
    for (name, field) in [
        (
            "serviceaccesstokens.symbolon.dev",
            format!("{path}/rotation/properties/onSecretDeleted/enum/-"),
        ),
        (
            "credentials.symbolon.dev",
            format!("{path}/tokens/items/properties/cause/enum/-"),
        ),
    ] {
        let add = json!([{"op": "add", "path": field, "value": "Newer"}]);
        let patch: Patch<()> = Patch::Json(serde_json::from_value(add).unwrap());
        let params = PatchParams::default();
        definitions.patch(name, &params, &patch).await.unwrap();
    }
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    eventually("the CRDs are in force", async || {
        let api: Api<symbolon::resources::ServiceAccessToken> = world.team.api();
        let newer = json!({
            "apiVersion": "symbolon.dev/v1alpha1", "kind": "ServiceAccessToken",
            "metadata": {"name": "newer"},
            "spec": {"clientRef": {"name": "backend"}, "scopes": ["orders.read"], "rotation": {"onSecretDeleted": "Newer"}},
        });
        let params = PatchParams::apply("test").force();
        let applied: kube::Result<_> = api.patch("newer", &params, &Patch::Apply(newer)).await;
        match applied {
            Ok(_) | Err(kube::Error::SerdeError(_)) => Some(()),
            Err(_) => None,
        }
    })
    .await;
    let newer = world
        .ready(TOKEN, "newer", "False", "UnsupportedValue")
        .await;
    assert_eq!(condition(&newer, "Stalled")["status"], "True");
    assert!(world.secret("newer-token").await.is_none());

    // This release cannot read a record of the newer one, but it reads all others.
    let credentials = world.credentials().await;
    let ours = credentials
        .iter()
        .find(|it| it.spec.owner.name == "nightly")
        .unwrap();
    let mut raw = serde_json::to_value(ours).unwrap();
    raw["metadata"] = json!({"name": "11111111-2222-3333-4444-555555555555"});
    raw["spec"]["owner"]["uid"] = json!("11111111-2222-3333-4444-555555555555");
    raw["spec"]["tokens"][0]["cause"] = json!("Newer");
    raw["apiVersion"] = json!("symbolon.dev/v1alpha1");
    raw["kind"] = json!("Credential");
    let api: Api<Credential> = world.platform.api();
    let params = PatchParams::apply("test").force();
    let name = "11111111-2222-3333-4444-555555555555";
    let applied = api.patch(name, &params, &Patch::Apply(raw)).await;
    assert!(
        matches!(applied, Err(kube::Error::SerdeError(_))),
        "the record was not stored: {applied:?}"
    );
    drop(running);
    let _running = Running::start(&world).await;
    world.apply_token("later", "").await;
    world.token_ready("later").await;
    let left = DeleteParams::default();
    drop(api.delete(name, &left).await);
    world.delete(TOKEN, "newer").await;
    world.assert_sound("later").await;
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_of_etcd_while_issuing_loses_and_duplicates_no_token() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    for number in 0..30 {
        world.apply_token(&format!("many-{number}"), "").await;
        if number == 20 {
            cluster.kill(Program::Etcd);
            tokio::time::sleep(Duration::from_secs(2)).await;
            cluster.start(Program::Etcd);
            eventually("the API server accepts writes", async || {
                let api: Api<Namespace> = Api::all(world.client());
                let mark = Patch::Merge(json!({"metadata": {"labels": {"after": "etcd"}}}));
                let params = PatchParams::default();
                let patched = api.patch(world.team.name(), &params, &mark).await;
                patched.is_ok().then_some(())
            })
            .await;
        }
    }
    for number in 0..30 {
        world.token_ready(&format!("many-{number}")).await;
        world.assert_sound(&format!("many-{number}")).await;
    }
    for credential in world.credentials().await {
        let spec = credential.spec;
        let tokens = spec.tokens.iter();
        let ids: BTreeSet<_> = tokens.clone().map(|entry| &entry.token_id).collect();
        assert_eq!(ids.len(), spec.tokens.len());
        let epochs: Vec<_> = tokens.map(|entry| entry.epoch).collect();
        assert!(epochs.is_sorted() && epochs.last() == Some(&spec.high));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn constant_writes_by_others_neither_stop_nor_multiply_tokens() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let first = world.text("nightly-token").await.unwrap();
    let stop = CancellationToken::new();
    // Fifty writes a second, alternately to the Secret and to its owner.
    let (secrets, owners) = (
        world.team.api::<Secret>(),
        world.team.api::<symbolon::resources::ServiceAccessToken>(),
    );
    let storm = tokio::spawn({
        let stop = stop.clone();
        async move {
            let mut ticks = tokio::time::interval(Duration::from_millis(20));
            for count in 0.. {
                if stop.run_until_cancelled(ticks.tick()).await.is_none() {
                    return count;
                }
                let mark = json!({"metadata": {"annotations": {"storm": count.to_string()}}});
                let (mark, params) = (Patch::Merge(mark), PatchParams::default());
                if count % 2 == 0 {
                    drop(secrets.patch("nightly-token", &params, &mark).await);
                } else {
                    drop(owners.patch("nightly", &params, &mark).await);
                }
            }
            0
        }
    });
    tokio::time::sleep(Duration::from_secs(1)).await;
    world.patch(TOKEN, "nightly", rotate("now")).await;
    let began = Instant::now();
    let second = eventually(
        "the token is rotated in spite of the other writes",
        async || {
            let text = world.text("nightly-token").await?;
            (text != first).then_some(text)
        },
    )
    .await;
    let took = began.elapsed();
    // Time in which another token could be issued.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(world.text("nightly-token").await.unwrap(), second);
    stop.cancel();
    let writes = storm.await.unwrap();
    world.token_ready("nightly").await;
    world.assert_sound("nightly").await;
    let credentials = world.credentials().await;
    let ours = credentials
        .iter()
        .find(|it| it.spec.owner.name == "nightly")
        .unwrap();
    println!(
        "{writes} writes of another client, rotated after {took:?}, epoch {}",
        ours.spec.high
    );
    // A failed push uses up an epoch, but its token was never revealed.
    assert!(
        ours.spec.high <= 8,
        "too many tokens were issued: epoch {}",
        ours.spec.high
    );
    let open = ours.spec.tokens.iter().filter(|it| it.not_after.is_none());
    assert_eq!(open.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_mac_key_is_replaced_and_every_token_reissued() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    for number in 0..10 {
        world.apply_token(&format!("many-{number}"), "").await;
    }
    for number in 0..10 {
        world.token_ready(&format!("many-{number}")).await;
    }
    let old = world.text("nightly-token").await.unwrap();
    let secrets = world.platform.api::<Secret>();
    let name = key_secrets::mac_secret(&world.identity()).name;
    secrets
        .delete(&name, &DeleteParams::default())
        .await
        .unwrap();
    let began = Instant::now();
    for name in (0..10)
        .map(|number| format!("many-{number}"))
        .chain(["nightly".to_owned()])
    {
        eventually("the Secret has a token under the new key", async || {
            let token = world.text(&format!("{name}-token")).await?;
            world.accepts(&token).await.then_some(())
        })
        .await;
        world.token_ready(&name).await;
        world.assert_sound(&name).await;
    }
    println!("all eleven have a new token after {:?}", began.elapsed());
    assert!(
        !world.accepts(&old).await,
        "the seal of the old token can no longer be verified"
    );
}
