//! The writes of a rebinding: creates the new Credential before it deletes the old one.

use std::collections::BTreeMap;

use futures::StreamExt as _;
use futures::stream;

use super::{Evidence, Item, RestoreVerdict, owner_secret};
use crate::directory::{Directory, ObjectKey};
use crate::reconcile::cluster::Cluster;
use crate::reconcile::cluster::api::{ApiError, Precondition};
use crate::resources::{Credential, OwnerKind};

/// The number of concurrent requests. A restore shares the API server with everything that comes back.
const AT_ONCE: usize = 16;

/// Reads the Secrets of the owners that were recreated, in the order of the Credentials. Calls `done` after each.
///
/// # Errors
/// Returns the first error of the API server, because a plan needs all of them.
pub async fn evidence<C: Cluster>(
    cluster: &C,
    directory: &Directory,
    credentials: &[Credential],
    done: &(dyn Fn() + Sync),
) -> Result<Vec<Option<Evidence>>, ApiError> {
    let reads = stream::iter(credentials).map(async |credential| {
        let told = match owner_secret(directory, credential) {
            None => None,
            Some(key) => {
                let secret = cluster.secret(&key).await?;
                Some(Evidence::of(directory, credential, secret.as_ref()))
            }
        };
        done();
        Ok(told)
    });
    let all: Vec<Result<_, ApiError>> = reads.buffered(AT_ONCE).collect().await;
    all.into_iter().collect()
}

/// Carries out a plan, service tokens first. After a failure the others are still done, but no client's Credential is
/// deleted. Calls `done` after each item. Returns the failures by index in the plan.
pub async fn carry_out<C: Cluster>(
    cluster: &C,
    items: &[Item],
    done: &(dyn Fn() + Sync),
) -> BTreeMap<usize, ApiError> {
    let (clients, tokens): (Vec<_>, Vec<_>) = items
        .iter()
        .enumerate()
        .partition(|(_, item)| item.credential.spec.owner.kind == OwnerKind::OAuthClient);
    let mut failures = each(cluster, tokens, true, done).await;
    let may_go = failures.is_empty();
    failures.extend(each(cluster, clients, may_go, done).await);
    failures
}

async fn each<C: Cluster>(
    cluster: &C,
    items: Vec<(usize, &Item)>,
    may_go: bool,
    done: &(dyn Fn() + Sync),
) -> BTreeMap<usize, ApiError> {
    stream::iter(items)
        .map(async |(index, item)| {
            let result = one(cluster, item, may_go).await;
            done();
            result.err().map(|error| (index, error))
        })
        .buffer_unordered(AT_ONCE)
        .filter_map(async |failure| failure)
        .collect()
        .await
}

async fn one<C: Cluster>(cluster: &C, item: &Item, may_go: bool) -> Result<(), ApiError> {
    match &item.verdict {
        RestoreVerdict::Current | RestoreVerdict::Refused(_) => return Ok(()),
        RestoreVerdict::Done => {}
        RestoreVerdict::Rebind(rebinding) => {
            cluster.create_credential(&rebinding.credential).await?;
        }
    }
    if may_go && !item.is_witness {
        retire(cluster, &item.credential).await?;
    }
    Ok(())
}

/// Deletes exactly the planned Credential, after its successor was created.
async fn retire<C: Cluster>(cluster: &C, old: &Credential) -> Result<(), ApiError> {
    let metadata = &old.metadata;
    let text = |field: &Option<String>| field.clone().unwrap_or_default();
    let key = ObjectKey::new(&text(&metadata.namespace), &text(&metadata.name));
    let only = Precondition {
        uid: text(&metadata.uid),
        resource_version: text(&metadata.resource_version),
    };
    match cluster.delete_credential(&key, &only).await {
        Err(ApiError::NotFound) => Ok(()),
        other => other,
    }
}
