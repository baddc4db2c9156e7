//! What a server serves depends on the order of changes, not on how they come in batches.

use super::*;
use crate::directory::{Change, Directory};

const SCOPE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: short-lived, namespace: platform}
spec: {identityRef: {name: main}, allowedNamespaces: {from: All}}
";

fn client(disabled: bool) -> String {
    format!(
        "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {{name: brief, namespace: blue}}
spec: {{identityRef: {{name: main, namespace: platform}}, grantTypes: [ClientCredentials], scopes: [], disabled: {disabled}}}
"
    )
}

fn namespace(tier: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Namespace, metadata: {{name: green, labels: {{tier: {tier}}}}}}}"
    )
}

fn delete(kind: Kind, namespace: &str, name: &str) -> Change {
    Change::Delete(kind, ObjectKey::new(namespace, name))
}

/// Changes after which each object is as it was, or gone.
fn changes() -> Vec<Change> {
    let mut world = World::new(QUICKSTART);
    let mut upsert = |yaml: &str| world.changes(yaml).remove(0);
    vec![
        upsert(SCOPE),
        upsert(&namespace("gold")),
        upsert(&client(false)),
        delete(Kind::Scope, "platform", "short-lived"),
        upsert(&client(true)),
        upsert(&namespace("iron")),
        delete(Kind::OAuthClient, "blue", "brief"),
        delete(Kind::ServiceAccessToken, "blue", "nightly"),
        Change::NamespaceGone("green".into()),
    ]
}

fn served(directory: &Directory) -> impl PartialEq + std::fmt::Debug + use<> {
    let client = ObjectKey::new("blue", "brief");
    (
        directory.sizes(),
        directory.labels("green").cloned(),
        directory.client(&client).is_some(),
    )
}

#[tokio::test]
async fn every_split_of_changes_into_batches_is_served_alike() {
    let all = changes();
    for count in 1..=all.len() {
        let changes = &all[..count];
        let expected = {
            let mut world = World::new(QUICKSTART);
            for change in changes {
                world.directory.apply(change.clone());
            }
            served(&world.directory)
        };
        for splits in 0..1_u32 << (count - 1) {
            let fixture = Fixture::of(QUICKSTART, |_| {});
            let mut batch = Vec::new();
            for (at, change) in changes.iter().enumerate() {
                batch.push(change.clone());
                if at + 1 == count || splits & (1 << at) != 0 {
                    fixture.app.publisher().apply(std::mem::take(&mut batch));
                }
            }
            let current = fixture.app.publisher().current();
            assert_eq!(served(current.directory()), expected, "{count} {splits:b}");
        }
    }
}

#[tokio::test]
async fn a_batch_without_news_is_not_published() {
    let fixture = Fixture::of(QUICKSTART, |_| {});
    let known = |fixture: &Fixture| std::sync::Arc::as_ptr(&fixture.app.publisher().current());
    let before = known(&fixture);
    fixture
        .app
        .publisher()
        .apply(World::new("").changes(QUICKSTART));
    assert_eq!(known(&fixture), before);
    let gone = delete(Kind::Scope, "platform", "orders.read");
    fixture.app.publisher().apply([gone]);
    assert_ne!(known(&fixture), before);
}
