//! Which objects a change concerns. Pure.
//!
//! The directory tracks no dependencies: a request joins what it needs. The operator must know which objects to
//! reconcile again. It may queue too many, at the cost of a comparison (see [`Why::Perhaps`]), but never too few.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Work;
use super::queue::Why;
use crate::directory::tables::record::{ClientRecord, Object, ServiceTokenRecord};
use crate::directory::{Change, Directory, ObjectKey, Row};
use crate::resources::{Kind, OwnerKind};

/// Returns the work that follows from `changes`, which turned `before` into `after`.
pub(in crate::reconcile) fn concerned(
    before: &Directory,
    after: &Directory,
    changes: &[Change],
) -> BTreeMap<Work, Why> {
    let mut fanout = Fanout {
        before,
        after,
        found: BTreeMap::new(),
        touched: Touched::default(),
    };
    for change in changes {
        fanout.own(change);
    }
    let touched = std::mem::take(&mut fanout.touched);
    fanout.others(&touched);
    fanout.found
}

/// What other objects may depend on.
#[derive(Default)]
struct Touched {
    identities: bool,
    namespaces: BTreeSet<Arc<str>>,
    scope_values: BTreeSet<Arc<str>>,
    client_ids: BTreeSet<Arc<str>>,
    clients: BTreeSet<ObjectKey>,
    /// Identities with a changed User: a name or a place within the quota may be free for another.
    users_of: BTreeSet<ObjectKey>,
    /// Namespaces in which a client or token was deleted, or counts for another quota. Another object may be within its
    /// quota now.
    freed: BTreeSet<Arc<str>>,
}

struct Fanout<'a> {
    before: &'a Directory,
    after: &'a Directory,
    found: BTreeMap<Work, Why>,
    touched: Touched,
}

impl Fanout<'_> {
    fn must(&mut self, kind: Kind, key: &ObjectKey) {
        self.found
            .insert(Work::Object(kind, key.clone()), Why::Must);
    }

    fn perhaps(&mut self, kind: Kind, key: &ObjectKey) {
        self.found
            .entry(Work::Object(kind, key.clone()))
            .or_insert(Why::Perhaps);
    }

    /// Adds the changed object itself, and records what other objects may depend on.
    fn own(&mut self, change: &Change) {
        let (kind, key, is_gone) = match change {
            Change::Upsert(Row::Identity(object)) => (Kind::Identity, &object.key, false),
            Change::Upsert(Row::Scope(object)) => (Kind::Scope, &object.key, false),
            Change::Upsert(Row::Client(object)) => (Kind::OAuthClient, &object.key, false),
            Change::Upsert(Row::ServiceToken(object)) => {
                (Kind::ServiceAccessToken, &object.key, false)
            }
            Change::Upsert(Row::User(object)) => (Kind::User, &object.key, false),
            Change::Delete(kind, key) if *kind != Kind::Credential => (*kind, key, true),
            Change::Namespace(name, _) | Change::NamespaceGone(name) => {
                self.touched.namespaces.insert(name.clone());
                return;
            }
            // The caller handles Credentials by their versions.
            Change::Upsert(Row::Credential(_)) | Change::Delete(..) => return,
        };
        self.must(kind, key);
        self.rivals(kind, key);
        match kind {
            Kind::Identity => self.touched.identities = true,
            Kind::Scope => self.touch_scope(key),
            Kind::OAuthClient => self.touch_client(key),
            Kind::ServiceAccessToken => {
                let counts = |directory: &Directory| {
                    let object = directory.service_token(key)?;
                    Some(object.record().is_some())
                };
                self.free(key, counts(self.before), counts(self.after));
            }
            Kind::User => self.touch_user(key),
            Kind::Credential => {}
        }
        let owner_kind = match kind {
            Kind::OAuthClient => Some(OwnerKind::OAuthClient),
            Kind::ServiceAccessToken => Some(OwnerKind::ServiceAccessToken),
            Kind::Identity | Kind::Scope | Kind::User | Kind::Credential => None,
        };
        if let Some(kind) = owner_kind.filter(|_| is_gone) {
            self.orphans(kind, key);
        }
    }

    /// Adds the objects that want the same Secret as the changed object, because its owner may have changed.
    fn rivals(&mut self, kind: Kind, key: &ObjectKey) {
        for directory in [self.before, self.after] {
            let name = match kind {
                Kind::OAuthClient => directory
                    .client(key)
                    .and_then(|object| Some(object.record()?.secret.name.clone())),
                Kind::ServiceAccessToken => directory
                    .service_token(key)
                    .and_then(|object| Some(object.record()?.secret.name.clone())),
                _ => None,
            };
            let Some(name) = name else { continue };
            let secret = ObjectKey {
                namespace: key.namespace.clone(),
                name,
            };
            for (kind, other) in directory.wanting_secret(&secret) {
                self.perhaps(kind.kind(), &other);
            }
        }
    }

    fn touch_scope(&mut self, key: &ObjectKey) {
        for directory in [self.before, self.after] {
            let record = directory.scope(key).and_then(|object| object.record());
            self.touched
                .scope_values
                .extend(record.map(|record| record.value.clone()));
        }
    }

    fn touch_client(&mut self, key: &ObjectKey) {
        for directory in [self.before, self.after] {
            let record = directory.client(key).and_then(|object| object.record());
            self.touched
                .client_ids
                .extend(record.map(|record| record.client_id.clone()));
        }
        self.touched.clients.insert(key.clone());
        let counts = |directory: &Directory| {
            let object = directory.client(key)?;
            Some(object.record().and_then(|record| record.identity.clone()))
        };
        self.free(key, counts(self.before), counts(self.after));
    }

    /// Records the Identity of a User whose names or whose place among all Users changed.
    fn touch_user(&mut self, key: &ObjectKey) {
        let claims = |directory: &Directory| {
            let record = directory.user(key)?.record()?;
            let (subject, username) = (record.subject.clone(), record.username.clone());
            Some((record.identity.clone()?, subject, username))
        };
        let (before, after) = (claims(self.before), claims(self.after));
        if before != after {
            let identities = before
                .into_iter()
                .chain(after)
                .map(|(identity, ..)| identity);
            self.touched.users_of.extend(identities);
        }
    }

    /// Records that an existing object counts for another quota now, or for none.
    fn free<T: PartialEq>(&mut self, key: &ObjectKey, before: Option<T>, after: Option<T>) {
        if before.is_some() && before != after {
            self.touched.freed.insert(key.namespace.clone());
        }
    }

    /// Adds the Credential of a deleted owner, in whichever Identity's namespace it is.
    fn orphans(&mut self, kind: OwnerKind, key: &ObjectKey) {
        let Some(uid) = self.before.owner_uid(kind, key) else {
            return;
        };
        let namespaces: BTreeSet<_> = self
            .before
            .identities()
            .map(|it| it.key.namespace.clone())
            .collect();
        for namespace in namespaces {
            let credential = ObjectKey {
                namespace,
                name: uid.clone(),
            };
            if self.after.credential(&credential).is_some() {
                let owner = key.namespace.clone();
                self.found
                    .insert(Work::Orphan(credential, owner), Why::Must);
            }
        }
    }

    fn others(&mut self, touched: &Touched) {
        if touched.identities {
            return self.everything();
        }
        let mut values = touched.scope_values.clone();
        self.scopes(touched, &mut values);
        self.clients(touched, &values);
        self.tokens(touched, &values);
        self.users(touched);
    }

    fn everything(&mut self) {
        let after = self.after;
        after
            .identities()
            .for_each(|object| self.perhaps(Kind::Identity, &object.key));
        after
            .scopes()
            .for_each(|object| self.perhaps(Kind::Scope, &object.key));
        after
            .clients()
            .for_each(|object| self.perhaps(Kind::OAuthClient, &object.key));
        after
            .service_tokens()
            .for_each(|object| self.perhaps(Kind::ServiceAccessToken, &object.key));
        after
            .users()
            .for_each(|object| self.perhaps(Kind::User, &object.key));
    }

    fn users(&mut self, touched: &Touched) {
        if touched.users_of.is_empty() {
            return;
        }
        for object in self.after.users() {
            let identity = object.record().and_then(|record| record.identity.as_ref());
            if identity.is_some_and(|identity| touched.users_of.contains(identity)) {
                self.perhaps(Kind::User, &object.key);
            }
        }
    }

    /// Adds the Scopes with a touched value and those of a touched namespace, whose values are touched too.
    fn scopes(&mut self, touched: &Touched, values: &mut BTreeSet<Arc<str>>) {
        if touched.scope_values.is_empty() && touched.namespaces.is_empty() {
            return;
        }
        for object in self.after.scopes() {
            let Some(record) = object.record() else {
                continue;
            };
            let is_here = touched.namespaces.contains(&object.key.namespace);
            if is_here || touched.scope_values.contains(&record.value) {
                values.insert(record.value.clone());
                self.perhaps(Kind::Scope, &object.key);
            }
        }
    }

    fn clients(&mut self, touched: &Touched, values: &BTreeSet<Arc<str>>) {
        let nothing = values.is_empty()
            && touched.client_ids.is_empty()
            && touched.namespaces.is_empty()
            && touched.freed.is_empty();
        if nothing {
            return;
        }
        for object in self.after.clients() {
            let Some(record) = object.record() else {
                continue;
            };
            if touched.has_namespace(&object.key.namespace)
                || touched.client_ids.contains(&record.client_id)
                || (!values.is_empty() && record.scopes.iter().any(|scope| values.contains(scope)))
            {
                self.perhaps(Kind::OAuthClient, &object.key);
            }
        }
    }

    fn tokens(&mut self, touched: &Touched, values: &BTreeSet<Arc<str>>) {
        let nothing = values.is_empty()
            && touched.clients.is_empty()
            && touched.namespaces.is_empty()
            && touched.freed.is_empty();
        if nothing {
            return;
        }
        // Another client with the same id may become the accepted one.
        let rivals = self.found.keys().filter_map(|work| match work {
            Work::Object(Kind::OAuthClient, key) => Some(key.clone()),
            _ => None,
        });
        let clients: BTreeSet<ObjectKey> = touched.clients.iter().cloned().chain(rivals).collect();
        for object in self.after.service_tokens() {
            let Some(record) = object.record() else {
                continue;
            };
            if touched.has_namespace(&object.key.namespace)
                || clients.contains(&record.client)
                || (!values.is_empty() && record.scopes.iter().any(|scope| values.contains(scope)))
            {
                self.perhaps(Kind::ServiceAccessToken, &object.key);
            }
        }
    }
}

impl Touched {
    fn has_namespace(&self, namespace: &Arc<str>) -> bool {
        self.namespaces.contains(namespace) || self.freed.contains(namespace)
    }
}

/// Returns the objects that a Secret concerns: those that name it, and the owner that it names, if that exists.
pub(in crate::reconcile) fn owners_of_secret(
    directory: &Directory,
    secret: &ObjectKey,
    controller: Option<(OwnerKind, &str)>,
) -> BTreeSet<Work> {
    let controller = controller
        .map(|(kind, name)| (kind, ObjectKey::new(&secret.namespace, name)))
        .filter(|(kind, owner)| directory.owner_uid(*kind, owner).is_some());
    let naming = directory.naming_secret(secret).into_iter();
    naming
        .chain(controller)
        .map(|(kind, owner)| Work::Object(kind.kind(), owner))
        .collect()
}

/// Returns the clients of an Identity and their tokens, and its Users.
pub(in crate::reconcile) fn owners_under(directory: &Directory, identity: &ObjectKey) -> Vec<Work> {
    let is_client = |object: &Object<ClientRecord>| {
        let record = object.record();
        record.is_some_and(|record| record.identity.as_ref() == Some(identity))
    };
    let clients = directory
        .clients()
        .filter(|object| is_client(object))
        .map(|object| Work::Object(Kind::OAuthClient, object.key.clone()));
    let is_token = |object: &Object<ServiceTokenRecord>| {
        let client = object.record().map(|record| &record.client);
        let client = client.and_then(|client| directory.client(client));
        client.is_some_and(|client| is_client(client))
    };
    let tokens = directory
        .service_tokens()
        .filter(|object| is_token(object))
        .map(|object| Work::Object(Kind::ServiceAccessToken, object.key.clone()));
    let users = directory
        .users_of(identity)
        .map(|object| Work::Object(Kind::User, object.key.clone()));
    clients.chain(tokens).chain(users).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Labels;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};

    /// Returns what is queued when the objects of a text are applied, as `Kind namespace/name`, with `!` for
    /// [`Why::Must`].
    fn looked_at(world: &mut World, yaml: &str) -> Vec<String> {
        let before = world.directory.clone();
        let changes = world.changes(yaml);
        changes
            .iter()
            .cloned()
            .for_each(|change| world.directory.apply(change));
        names(&concerned(&before, &world.directory, &changes))
    }

    fn after_change(world: &mut World, change: Change) -> Vec<String> {
        let before = world.directory.clone();
        world.directory.apply(change.clone());
        names(&concerned(&before, &world.directory, &[change]))
    }

    fn names(found: &BTreeMap<Work, Why>) -> Vec<String> {
        let name = |(work, why): (&Work, &Why)| {
            format!("{work}{}", if *why == Why::Must { "!" } else { "" })
        };
        found.iter().map(name).collect()
    }

    #[test]
    fn a_token_concerns_only_itself() {
        let token = "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: daily, namespace: blue}
spec: {clientRef: {name: shop}, scopes: [orders.read]}
";
        let found = looked_at(&mut World::new(QUICKSTART), token);
        assert_eq!(found, ["ServiceAccessToken blue/daily!"]);
    }

    #[test]
    fn a_scope_concerns_clients_and_tokens_that_name_its_value() {
        let mut world = World::new(QUICKSTART);
        let read = ObjectKey::new("platform", "orders.read");
        assert_eq!(
            after_change(&mut world, Change::Delete(Kind::Scope, read)),
            [
                "Scope platform/orders.read!",
                "OAuthClient blue/shop",
                "ServiceAccessToken blue/nightly"
            ]
        );
        let write = ObjectKey::new("platform", "orders.write");
        assert_eq!(
            after_change(&mut world, Change::Delete(Kind::Scope, write)),
            // The token does not name the Scope, but its client does.
            [
                "Scope platform/orders.write!",
                "OAuthClient blue/shop",
                "ServiceAccessToken blue/nightly"
            ]
        );
    }

    #[test]
    fn a_client_concerns_its_tokens() {
        let mut world = World::new(QUICKSTART);
        let shop = ObjectKey::new("blue", "shop");
        assert_eq!(
            after_change(&mut world, Change::Delete(Kind::OAuthClient, shop)),
            ["OAuthClient blue/shop!", "ServiceAccessToken blue/nightly"]
        );
    }

    #[test]
    fn a_user_concerns_others_if_a_name_or_a_place_may_be_free_for_them() {
        let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
        let alice = |fields: &str| {
            format!(
                "
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {{name: alice, namespace: platform}}
spec: {{identityRef: {{name: main}}, {fields}}}
"
            )
        };
        assert_eq!(
            looked_at(&mut world, &alice("username: Alice, groups: [staff]")),
            ["User platform/alice!"]
        );
        let both = ["User platform/alice!", "User platform/bob"];
        assert_eq!(looked_at(&mut world, &alice("username: carol")), both);
        let key = ObjectKey::new("platform", "alice");
        let deleted = Change::Delete(Kind::User, key);
        assert_eq!(after_change(&mut world, deleted), both);
    }

    #[test]
    fn an_identity_concerns_its_users() {
        let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
        let main = ObjectKey::new("platform", "main");
        let found = after_change(&mut world, Change::Delete(Kind::Identity, main.clone()));
        assert!(found.contains(&"User platform/bob".to_owned()), "{found:?}");
        let under = owners_under(&world.directory, &main);
        let users = under.iter().map(ToString::to_string);
        let users: Vec<_> = users.filter(|it| it.starts_with("User")).collect();
        assert_eq!(users, ["User platform/alice", "User platform/bob"]);
    }

    #[test]
    fn an_object_that_no_longer_counts_for_a_quota_makes_room_for_others() {
        let mut world = World::new(QUICKSTART);
        let text = "---\napiVersion: symbolon.dev/v1alpha1\nkind: ServiceAccessToken\nmetadata: {name: other, namespace: blue}\nspec: {clientRef: {name: shop}, scopes: [orders.read]";
        world.apply(&format!("{text}}}\n"));
        assert_eq!(
            looked_at(&mut world, &format!("{text}, lifetime: 48h}}\n")),
            ["ServiceAccessToken blue/other!"]
        );
        let invalid = format!("{text}, lifetime: 48h, neverExpires: true}}\n");
        assert!(
            looked_at(&mut world, &invalid).contains(&"ServiceAccessToken blue/nightly".to_owned())
        );
    }

    #[test]
    fn an_identity_and_a_namespace_concern_all_objects_that_depend_on_them() {
        let mut world = World::new(QUICKSTART);
        assert_eq!(
            after_change(&mut world, Change::Namespace("blue".into(), Labels::new())),
            ["OAuthClient blue/shop", "ServiceAccessToken blue/nightly"]
        );
        assert_eq!(
            after_change(
                &mut world,
                Change::Namespace("platform".into(), Labels::new())
            ),
            [
                "Scope platform/orders.read",
                "Scope platform/orders.write",
                "OAuthClient blue/shop",
                "ServiceAccessToken blue/nightly"
            ]
        );
        let main = ObjectKey::new("platform", "main");
        assert_eq!(
            after_change(&mut world, Change::Delete(Kind::Identity, main)).len(),
            5
        );
    }

    /// Whatever a Secret's label or owner reference says now, every object that names the Secret is queued, because the
    /// label or reference may have named it before.
    #[test]
    fn a_secret_concerns_the_objects_that_name_it_and_the_one_it_names() {
        let client = |name: &str, secret: &str| {
            format!(
                "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {{name: {name}, namespace: blue}}
spec:
  identityRef: {{name: main, namespace: platform}}
  grantTypes: [ClientCredentials]
  authentication: {{secret: {secret}}}
"
            )
        };
        let mut world = World::new(QUICKSTART);
        world.apply(&client("one", "{existingRef: {name: vault, key: k}}"));
        world.apply(&client("two", "{existingRef: {name: vault, key: k}}"));
        world.apply(&client("three", "{existingRef: {name: other, key: k}}"));
        world.apply(&client("four", "{name: vault}"));
        let concerned = |world: &World, secret: &str, controller| {
            let key = ObjectKey::new("blue", secret);
            let found = owners_of_secret(&world.directory, &key, controller);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let of_vault = ["four", "one", "two"].map(|name| format!("OAuthClient blue/{name}"));
        assert_eq!(concerned(&world, "vault", None), of_vault);
        let relabelled = Some((OwnerKind::OAuthClient, "three"));
        let mut with_three = of_vault.to_vec();
        with_three.insert(2, "OAuthClient blue/three".to_owned());
        assert_eq!(concerned(&world, "vault", relabelled), with_three);
        let nobody = Some((OwnerKind::OAuthClient, "nobody"));
        assert_eq!(concerned(&world, "vault", nobody), of_vault);
        assert!(concerned(&world, "x", nobody).is_empty());
        assert_eq!(
            concerned(&world, "shop-client", None),
            ["OAuthClient blue/shop"]
        );
        let nightly = ["ServiceAccessToken blue/nightly"];
        assert_eq!(concerned(&world, "nightly-token", None), nightly);
        world.delete(Kind::OAuthClient, "blue", "one");
        world.apply(&client("two", "{existingRef: {name: other, key: k}}"));
        assert_eq!(concerned(&world, "vault", None), ["OAuthClient blue/four"]);
    }
}
