//! What the directory says about an object, as a hash. A changed hash is a reason to reconcile the object.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use jiff::Timestamp;

use crate::directory::{Directory, ObjectKey};
use crate::reconcile::enrolment;
use crate::reconcile::work::Work;
use crate::resources::Kind;

/// Returns a hash of everything that the directory says about an object and that its pass depends on.
pub(super) fn judgement(directory: &Directory, work: &Work, now: Timestamp) -> u64 {
    let mut hasher = DefaultHasher::new();
    if let Work::Object(kind, key) = work {
        judge(directory, *kind, key, now, &mut hasher);
    }
    hasher.finish()
}

fn judge(
    directory: &Directory,
    kind: Kind,
    key: &ObjectKey,
    now: Timestamp,
    hasher: &mut DefaultHasher,
) {
    match kind {
        Kind::Identity => {
            if let Some(object) = directory.identity(key) {
                (object, directory.identity_problems(object)).hash(hasher);
            }
        }
        Kind::Scope => {
            if let Some(object) = directory.scope(key) {
                (object, directory.scope_problems(object)).hash(hasher);
            }
        }
        Kind::OAuthClient => {
            if let Some(object) = directory.client(key) {
                let not_granted = directory.accepted_client(object).map(|client| {
                    let interactive = directory.interactive_problems(&client);
                    let consent = directory.consent_is_asked(&client);
                    (directory.not_granted(&client), interactive, consent)
                });
                let standing = directory.client_secret_standing(key, now);
                (object.generation, not_granted, standing).hash(hasher);
            }
        }
        Kind::ServiceAccessToken => {
            if let Some(object) = directory.service_token(key) {
                let standing = directory.service_token_standing(key, now);
                (object.generation, standing).hash(hasher);
            }
        }
        Kind::User => {
            if let Some(object) = directory.user(key) {
                let wanted = enrolment::wanted(directory, object, now);
                (object, directory.user_problems(object), wanted).hash(hasher);
            }
        }
        Kind::Credential => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};

    const OBJECTS: [(Kind, &str, &str); 4] = [
        (Kind::Identity, "platform", "main"),
        (Kind::Scope, "platform", "orders.read"),
        (Kind::OAuthClient, "blue", "shop"),
        (Kind::ServiceAccessToken, "blue", "nightly"),
    ];

    /// Returns the names of the objects whose judgement differs after an edit of the quickstart.
    fn judged_otherwise(from: &str, to: &str) -> Vec<&'static str> {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let all = |yaml: &str| {
            let world = World::new(yaml);
            OBJECTS.map(|(kind, namespace, name)| {
                let work = Work::Object(kind, ObjectKey::new(namespace, name));
                judgement(&world.directory, &work, now)
            })
        };
        assert!(from == to || QUICKSTART.contains(from), "{from}");
        let (before, after) = (all(QUICKSTART), all(&QUICKSTART.replace(from, to)));
        let places = 0..OBJECTS.len();
        let others = places.filter(|at| before[*at] != after[*at]);
        others.map(|at| OBJECTS[at].2).collect()
    }

    #[test]
    fn the_same_objects_are_judged_the_same() {
        assert!(judged_otherwise("", "").is_empty());
    }

    /// An Identity that stores nothing any more concerns its Users, and the clients that sign in people.
    #[test]
    fn users_and_their_clients_are_judged_by_their_identity() {
        let now = "2026-02-01T00:00:00Z".parse().unwrap();
        let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
        let all = |world: &World| {
            let objects = [
                (Kind::User, "platform", "bob"),
                (Kind::OAuthClient, "blue", "web"),
                (Kind::OAuthClient, "blue", "shop"),
            ];
            objects.map(|(kind, namespace, name)| {
                let work = Work::Object(kind, ObjectKey::new(namespace, name));
                judgement(&world.directory, &work, now)
            })
        };
        let before = all(&world);
        assert_eq!(all(&world), before);
        let identity = PEOPLE.split("---").next().unwrap();
        world.apply(&identity.replace("storage: {type: SQLite}", "storage: {type: None}"));
        let after = all(&world);
        assert_ne!(after[0], before[0]);
        assert_ne!(after[1], before[1]);
        assert_eq!(after[2], before[2]);
    }

    #[test]
    fn an_edit_concerns_those_that_are_judged_otherwise() {
        for (from, to, expected) in [
            // The metadata that an Identity allows in templates and its prefix of tokens are part of each secret.
            (
                "  gateways:",
                "  limits: {secretMetadata: {labels: [team]}}\n  gateways:",
                &["main", "shop", "nightly"][..],
            ),
            (
                "  gateways:",
                "  tokens: {referencePrefix: acme}\n  gateways:",
                &["main", "shop", "nightly"],
            ),
            (
                "  gateways:",
                "  network: {trustedProxies: [10.0.0.0/8]}\n  gateways:",
                &["main"],
            ),
            (
                "{name: orders.read, namespace: platform}\nspec:",
                "{name: orders.read, namespace: platform}\nspec:\n  displayName: Orders",
                &["orders.read"],
            ),
            // The client and its token may no longer have the scope.
            (
                "{name: orders.read, namespace: platform}\nspec:",
                "{name: orders.reed, namespace: platform}\nspec:",
                &["orders.read", "shop", "nightly"],
            ),
            (
                "clientRef: {name: shop}",
                "clientRef: {name: shop}\n  rotation: {quietPeriod: 2h, retire: WhenAdopted}",
                &["nightly"],
            ),
        ] {
            assert_eq!(judged_otherwise(from, to), expected, "{to}");
        }
    }
}
