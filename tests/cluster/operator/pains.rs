//! The known pains of operators like this one, hydra-maester's, kaniop's and cert-manager's, and where each is shown
//! not to occur:
//!
//! | pain | test |
//! |---|---|
//! | a restart rewrites everything | `traffic::issuing_asks_for_no_lists_and_a_restart_writes_nothing` |
//! | a Secret that is lost stays lost | `lifecycle::secrets_that_are_deleted_edited_or_turned_back_heal` |
//! | a Secret of somebody else is overwritten | `lifecycle::a_secret_of_somebody_else_is_left_alone` |
//! | two resources with one Secret name fight | `two_resources_with_one_secret_name_do_not_fight` |
//! | a renamed owner leaves its token alive | `a_renamed_owner_gets_a_token_of_its_own_and_the_old_one_dies` |
//! | an owner created anew inherits | `lifecycle::an_owner_that_is_created_anew_has_nothing_of_the_old_one` |
//! | a namespace deleted in the middle stops the rest | `a_namespace_deleted_in_the_middle_of_issuing_stops_nobody_else` |
//! | a status wiped by a restore makes all secrets anew | `a_status_wiped_by_a_restore_changes_no_token` |
//! | one poison object stops the others | `a_poison_object_stops_no_other` |
//! | the API server restarts | `process::an_operator_outlives_a_restart_of_the_api_server`, `serving::a_server_goes_on_while_the_api_server_is_away` |
//! | etcd is killed in the middle of issuing | `etcd_killed_in_the_middle_of_issuing_loses_and_doubles_nothing` |
//! | a conflict storm starves or mints without end | `another_writer_that_never_stops_neither_starves_nor_multiplies_tokens` |
//! | the key that seals records is deleted | `a_deleted_mac_key_is_replaced_and_everything_issued_anew` |
//! | a leader dies, or sleeps | `process`, `replicas` |
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
async fn two_resources_with_one_secret_name_do_not_fight() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world
        .apply_token("other", "secret: {name: nightly-token}")
        .await;
    let other = world.ready(TOKEN, "other", "False", "SecretConflict").await;
    assert_eq!(condition(&other, "Stalled")["status"], "True");
    let before = world.secret("nightly-token").await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = world.secret("nightly-token").await.unwrap();
    assert_eq!(after, before, "they fight");
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_owner_gets_a_token_of_its_own_and_the_old_one_dies() {
    let world = World::new(Cluster::own()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let old = world.text("nightly-token").await.unwrap();
    // The manifest has another name in Git: the new object may come before the old one goes.
    world.apply_token("renamed", "").await;
    world.delete(TOKEN, "nightly").await;
    world.token_ready("renamed").await;
    world.assert_sound("renamed").await;
    assert!(!world.accepts(&old).await);
    eventually("nothing of the old one is left", async || {
        let secret = world.secret("nightly-token").await;
        let credentials = world.credentials().await;
        let is_left = credentials.iter().any(|it| it.spec.owner.name == "nightly");
        (secret.is_none() && !is_left).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_deleted_in_the_middle_of_issuing_stops_nobody_else() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    let other = World::new(&cluster).await;
    // One controller has both to look after.
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
    eventually("the namespace is gone", async || {
        let gone = namespaces.get_opt(world.team.name()).await.unwrap();
        gone.is_none().then_some(())
    })
    .await;
    assert!(!world.accepts(&old).await);
    // The sweep takes its time: its Credentials speak of uids that nobody has any more.
    eventually("nobody works for the namespace that is gone", async || {
        let since = cluster.mark();
        tokio::time::sleep(Duration::from_secs(4)).await;
        let requests = cluster.requests(since);
        let is_work = |verb: &str| !["watch", "list"].contains(&verb);
        let works = requests
            .iter()
            .any(|request| request.namespace == world.team.name() && is_work(&request.verb));
        (!works).then_some(())
    })
    .await;
    other.apply_token("last", "").await;
    other.token_ready("last").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_status_wiped_by_a_restore_changes_no_token() {
    let world = World::new(Cluster::shared()).await;
    let running = Running::start(&world).await;
    world.token_ready("nightly").await;
    world.patch(TOKEN, "nightly", rotate("once")).await;
    eventually("it is rotated", async || {
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
    // Under its eyes, and while it is away.
    wipe().await;
    let facts = |status: &serde_json::Value| {
        ["epoch", "tokenId", "issuedAt", "expiresAt", "rotationNonce"]
            .map(|field| status[field].clone())
    };
    let again = async || {
        eventually("the status is back", async || {
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
        "what was asked for once is done once"
    );
    world.assert_sound("nightly").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_poison_object_stops_no_other() {
    let cluster = Cluster::private();
    let world = World::new(&cluster).await;
    // Definitions of a newer release, with values that this one does not know.
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
    eventually("the definitions are in force", async || {
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

    // A record of the newer release is beyond this one, but no other is.
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
        "it was stored: {applied:?}"
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
async fn etcd_killed_in_the_middle_of_issuing_loses_and_doubles_nothing() {
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
            eventually("the API server takes writes", async || {
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
async fn another_writer_that_never_stops_neither_starves_nor_multiplies_tokens() {
    let world = World::new(Cluster::shared()).await;
    let _running = Running::start(&world).await;
    world.token_ready("nightly").await;
    let first = world.text("nightly-token").await.unwrap();
    let stop = CancellationToken::new();
    // Fifty writes a second, to the Secret and its owner in turns.
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
    let second = eventually("it is rotated in the middle of the storm", async || {
        let text = world.text("nightly-token").await?;
        (text != first).then_some(text)
    })
    .await;
    let took = began.elapsed();
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
        "{writes} writes of another, rotated after {took:?}, epoch {}",
        ours.spec.high
    );
    // A push that lost its race leaves an epoch behind, and never a token that anybody has seen.
    assert!(
        ours.spec.high <= 8,
        "it mints without end: {}",
        ours.spec.high
    );
    let open = ours.spec.tokens.iter().filter(|it| it.not_after.is_none());
    assert_eq!(open.count(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_mac_key_is_replaced_and_everything_issued_anew() {
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
        eventually("it has a token under the new key", async || {
            let token = world.text(&format!("{name}-token")).await?;
            world.accepts(&token).await.then_some(())
        })
        .await;
        world.token_ready(&name).await;
        world.assert_sound(&name).await;
    }
    println!("all eleven have another token after {:?}", began.elapsed());
    assert!(
        !world.accepts(&old).await,
        "no one can tell that it is genuine"
    );
}
