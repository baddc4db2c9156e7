//! People in dev mode: their store in the state folder, and what each of them needs for a sign-in. The controller issues
//! their enrolment links, as in a cluster.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::cli::control;
use crate::directory::tables::record::{IdentityRecord, Object, UserRecord};
use crate::directory::{Directory, ObjectKey, Served, revoked_before};
use crate::oauth::Endpoint;
use crate::people::enrolment::{EnrolmentState, MAX_LENGTH, Unverified, withdrawal};
use crate::reconcile::cluster::Cluster as _;
use crate::reconcile::enrolment::{self, secret_of};
use crate::reconcile::files::Files;
use crate::resources::StorageType;
use crate::server::{self, App};
use crate::state_file::{Dir, FileMode};
use crate::store::{Holder, Store};
use crate::tokens::MacKey;

/// The folder of the stores in the state folder.
const STORES: &str = "people";
/// The folder of the enrolment links in the state folder, as plain text beside the Secrets.
const LINKS: &str = "enrollment";
/// How long to wait until another process releases the store. The state folder is locked, so none should have it.
const PATIENCE: Duration = Duration::from_secs(5);

/// People that are served.
pub(super) struct People {
    store: Store,
    serving: JoinHandle<()>,
    control: JoinHandle<()>,
    mac: Arc<MacKey>,
    identity: ObjectKey,
}

/// A person who may sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Person {
    /// The username.
    pub(super) username: String,
    /// The full name, if the User has one.
    pub(super) display_name: Option<String>,
    /// What the person needs for the next sign-in.
    pub(super) access: Access,
}

/// What a person needs for the next sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// A link that was not used yet.
    Link(Link),
    /// The person's password.
    Password,
    /// A link that a new value of the annotation asks for.
    Nothing,
}

/// A link for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The URL that sets the password, once.
    pub(super) url: String,
    /// The file with the URL; `None` if it cannot be written.
    pub(super) file: Option<PathBuf>,
}

/// Returns whether an Identity has people.
fn has_people(record: &IdentityRecord) -> bool {
    record.storage != StorageType::None && record.has_passwords
}

/// Returns whether the links of people may change when these files do: the Secret of a link is written or deleted, or a
/// link is used.
pub(super) fn may_change(files: &Files, persons: &[Person], paths: &BTreeSet<PathBuf>) -> bool {
    let are_in = |folder: &Path| paths.iter().any(|path| path.starts_with(folder));
    let has_link = |person: &Person| matches!(person.access, Access::Link(_));
    are_in(&files.secrets_folder())
        || (persons.iter().any(has_link) && are_in(&files.root().join(STORES)))
}

/// Opens the store of an Identity with people, and serves them; `None` if it has none.
///
/// # Errors
/// The store cannot be used.
pub(super) async fn open(
    app: &App,
    files: &Files,
    identity: &ObjectKey,
    mac: Option<Arc<MacKey>>,
    now: Timestamp,
) -> anyhow::Result<Option<People>> {
    let directory = app.publisher().current().directory().clone();
    let Ok(served) = directory.served_identity(identity) else {
        return Ok(None);
    };
    let Some(mac) = mac.filter(|_| has_people(served.record)) else {
        return Ok(None);
    };
    let dir = files.dir();
    dir.ensure(Path::new(STORES))?;
    dir.ensure(Path::new(LINKS))?;
    let holder = holder(served, identity);
    // A store belongs to one issuer, and in dev mode the issuer changes with the address.
    let name = files.unguessable_name(&holder.issuer);
    let path = files.root().join(STORES).join(format!("{name}.db"));
    let opened = Store::open(&path, PATIENCE).await;
    let store = opened.with_context(|| format!("cannot use the store {}", path.display()))?;
    store.bind(&holder, now).await?;
    let serving = server::serve_people((**app).clone(), store.clone(), holder.issuer);
    Ok(Some(People {
        serving: tokio::spawn(serving),
        control: tokio::spawn(control::serve(store.clone())),
        store,
        mac,
        identity: identity.clone(),
    }))
}

fn holder(served: Served<'_, IdentityRecord>, identity: &ObjectKey) -> Holder {
    Holder {
        issuer: served.record.issuer.to_string(),
        namespace: identity.namespace.to_string(),
        name: identity.name.to_string(),
        uid: served.object.uid.to_string(),
    }
}

impl People {
    /// Closes the store.
    pub(super) async fn close(self, app: &App) {
        self.serving.abort();
        // The socket is removed before the next process can take the store.
        self.control.abort();
        let _ = self.control.await;
        app.set_people(None);
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "cannot close the store: its write-ahead log is replayed at the next start");
        }
    }

    /// Returns the people who may sign in, and writes the links that they may still use to files that only their owner can
    /// read.
    ///
    /// # Errors
    /// The store or the state folder cannot be used.
    pub(super) async fn persons(
        &self,
        directory: &Directory,
        files: &Files,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Person>> {
        let Ok(served) = directory.served_identity(&self.identity) else {
            return Ok(Vec::new());
        };
        let page = Endpoint::Enrolment.url(&served.record.issuer);
        let dir = files.dir();
        let mut persons = Vec::new();
        for user in directory.users_of(&self.identity) {
            let Some(record) = user.record().filter(|record| !record.has_ended(now)) else {
                continue;
            };
            let found = self.store.credentials(&user.uid).await?;
            let valid_after = found.as_ref().map(|(account, _)| account.valid_after);
            let valid_after = valid_after.max(revoked_before(served.record, record));
            let has_password = found.is_some_and(|(_, password)| password.is_some());
            let state = EnrolmentState {
                namespace: &self.identity.namespace,
                identity: &self.identity.name,
                nonce: record.nonce(),
                issued_at: record.link_issued_at(),
                valid_after,
            };
            let file = Path::new(LINKS).join(format!("{}.url", user.key.name));
            let access = if let Some(link) = self.link(user, state, files, now).await? {
                let url = format!("{page}?link={link}");
                let is_kept = keep(&dir, &file, Some(&url));
                let file = is_kept.then(|| files.root().join(&file));
                Access::Link(Link { url, file })
            } else {
                keep(&dir, &file, None);
                if has_password {
                    Access::Password
                } else {
                    Access::Nothing
                }
            };
            persons.push(Person {
                username: record.username.to_string(),
                display_name: record.display_name.as_deref().map(str::to_owned),
                access,
            });
        }
        persons.sort_by(|one, other| one.username.cmp(&other.username));
        Ok(persons)
    }

    /// Returns the link in a User's enrolment Secret, if it still works.
    async fn link(
        &self,
        user: &Object<UserRecord>,
        state: EnrolmentState<'_>,
        files: &Files,
        now: Timestamp,
    ) -> anyhow::Result<Option<String>> {
        let key = secret_of(&user.key);
        let secret = match files.secret(&key).await {
            Ok(secret) => secret,
            Err(error) => {
                tracing::warn!(secret = %key, %error, "cannot read the enrollment link");
                None
            }
        };
        let url = secret.and_then(|secret| secret.bytes(enrolment::URL));
        let url = url.as_deref().map(|url| String::from_utf8_lossy(url));
        let link = url.as_deref().and_then(|url| url.split_once("?link="));
        let Some((_, link)) = link.filter(|(_, link)| link.len() <= MAX_LENGTH) else {
            return Ok(None);
        };
        let verified = Unverified::parse(link).map(|it| it.verify([&*self.mac], state, now));
        let Some(Ok(verified)) = verified else {
            return Ok(None);
        };
        let withdrawal = withdrawal(&user.uid, state.nonce.unwrap_or_default());
        let end = self.store.enrolment_end(verified.hash, withdrawal, now);
        Ok(end.await?.is_none().then(|| link.to_owned()))
    }
}

/// Writes a link to its file, or deletes the file. A file that cannot be written is reported, and the other people can still
/// sign in.
fn keep(dir: &Dir, file: &Path, url: Option<&str>) -> bool {
    let done = match url.map(|url| format!("{url}\n")) {
        Some(text) => match dir.read(file, 4096) {
            Ok(Some(written)) if written.bytes == text.as_bytes() => Ok(()),
            Ok(_) => dir.write(file, text.as_bytes(), FileMode::Private),
            Err(error) => Err(error),
        },
        None => dir.remove(file),
    };
    if let Err(error) = &done {
        let file = file.display();
        tracing::warn!(%file, %error, "cannot write the file of an enrollment link: delete what is in its place");
    }
    done.is_ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use base64::Engine as _;
    use futures::future::BoxFuture;

    use super::*;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};
    use crate::people::enrolment::{Enrolled, MAX_LIFETIME, issue};
    use crate::server::{Config, Recorded, RevokeError, Revoker};
    use crate::state_file::Chosen;
    use crate::store::area::enrolment::Enrolment;
    use crate::tokens::TokenId;

    struct Never;

    impl Revoker for Never {
        fn revoke<'a>(
            &'a self,
            _: &'a ObjectKey,
            _: Option<&'a str>,
            _: &'a TokenId,
        ) -> BoxFuture<'a, Result<Recorded, RevokeError>> {
            Box::pin(futures::future::pending())
        }
    }

    const ALICE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: platform, annotations: {symbolon.dev/enroll: \"1\"}}
spec: {identityRef: {name: main}, username: alice}
";

    /// People with alice, who has no password yet.
    struct Opened {
        _folder: tempfile::TempDir,
        files: Files,
        app: App,
        directory: Directory,
        mac: Arc<MacKey>,
        people: People,
        now: Timestamp,
    }

    async fn opened() -> Opened {
        let folder = tempfile::tempdir().unwrap();
        let files = Files::open(&folder.path().join("state"), Chosen::ByUser).unwrap();
        let identity = ObjectKey::new("platform", "main");
        let app = App::new(Config::new(identity.clone()), Never).unwrap();
        let world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}---\n{ALICE}"));
        let directory = world.directory.clone();
        app.publisher()
            .update(|published| *published = directory.clone());
        let mac = Arc::new(MacKey::from_bytes(&[7; 32]).unwrap());
        let now = crate::cli::clock::now();
        let opened = open(&app, &files, &identity, Some(Arc::clone(&mac)), now);
        let people = opened.await.unwrap().unwrap();
        Opened {
            _folder: folder,
            files,
            app,
            directory,
            mac,
            people,
            now,
        }
    }

    fn access<'p>(persons: &'p [Person], username: &str) -> &'p Access {
        let person = persons.iter().find(|person| person.username == username);
        &person.unwrap().access
    }

    fn link(persons: &[Person]) -> Link {
        match access(persons, "alice") {
            Access::Link(link) => link.clone(),
            other => panic!("{other:?}"),
        }
    }

    /// Sets alice's password with her link.
    async fn enrol(opened: &Opened, link: &Link, nonce: &str, at: Timestamp) {
        let (_, text) = link.url.split_once("?link=").unwrap();
        let found = opened.people.store.credentials("User-platform-alice").await;
        let state = EnrolmentState {
            namespace: "platform",
            identity: "main",
            nonce: Some(nonce),
            issued_at: None,
            valid_after: found.unwrap().map(|(account, _)| account.valid_after),
        };
        let verified = Unverified::parse(text).unwrap();
        let verified = verified.verify([&*opened.mac], state, at).unwrap();
        let enrolment = Enrolment {
            link: verified.hash,
            issued_at: verified.issued_at,
            expires_at: verified.expires_at,
            owner: "User-platform-alice".to_owned(),
            account: crate::people::account::AccountId(uuid::Uuid::nil()),
            password: "$argon2id$".to_owned(),
        };
        let account = opened.people.store.enrol(enrolment, at).await.unwrap();
        assert!(account.is_some());
    }

    impl Opened {
        async fn persons(&self, at: Timestamp) -> Vec<Person> {
            let (directory, files) = (&self.directory, &self.files);
            self.people.persons(directory, files, at).await.unwrap()
        }

        /// Writes the Secret with alice's link, as the controller does.
        fn issue(&self, nonce: &str, at: Timestamp) -> String {
            let person = Enrolled {
                namespace: "platform",
                identity: "main",
                uid: "User-platform-alice",
                nonce,
            };
            let link = issue(&self.mac, person, MAX_LIFETIME, at).unwrap();
            let link = link.expose().to_owned();
            let url = format!("https://elsewhere.example.com/enroll?link={link}");
            let url = base64::engine::general_purpose::STANDARD.encode(url);
            let secret = serde_json::json!({
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": { "name": "alice-enrollment", "namespace": "platform" },
                "data": { "url": url },
            });
            let key = ObjectKey::new("platform", "alice-enrollment");
            let path = self.files.secret_path(&key).unwrap();
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, secret.to_string()).unwrap();
            link
        }
    }

    fn later(now: Timestamp, seconds: i64) -> Timestamp {
        now + jiff::SignedDuration::from_secs(seconds)
    }

    #[tokio::test]
    async fn the_link_of_a_secret_is_in_a_private_file_until_it_is_used() {
        let opened = opened().await;
        let now = opened.now;
        let issued = opened.issue("1", now);
        let persons = opened.persons(now).await;
        let found = link(&persons);
        // On the page of the address that is served now.
        assert_eq!(
            found.url,
            format!("https://id.example.com/id/enroll?link={issued}")
        );
        let file = found.file.clone().unwrap();
        let written = std::fs::read_to_string(&file).unwrap();
        assert_eq!(written, format!("{}\n", found.url));
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(opened.persons(now).await, persons);

        enrol(&opened, &found, "1", later(now, 5)).await;
        let persons = opened.persons(later(now, 5)).await;
        assert_eq!(access(&persons, "alice"), &Access::Password);
        assert!(!file.exists());
        opened.people.close(&opened.app).await;
    }

    #[tokio::test]
    async fn what_stands_in_the_way_of_a_links_file_stops_no_one() {
        let opened = opened().await;
        let now = opened.now;
        let file = opened.files.root().join("enrollment/alice.url");
        std::fs::create_dir_all(&file).unwrap();
        assert_eq!(
            access(&opened.persons(now).await, "alice"),
            &Access::Nothing
        );
        opened.issue("1", now);
        let found = link(&opened.persons(now).await);
        assert_eq!(found.file, None);
        // The link itself works.
        enrol(&opened, &found, "1", later(now, 5)).await;

        let key = ObjectKey::new("platform", "alice-enrollment");
        let secret = opened.files.secret_path(&key).unwrap();
        std::fs::remove_file(&secret).unwrap();
        std::os::unix::fs::symlink("/dev/zero", &secret).unwrap();
        let persons = opened.persons(later(now, 5)).await;
        assert_eq!(access(&persons, "alice"), &Access::Password);
        opened.people.close(&opened.app).await;
    }

    #[tokio::test]
    async fn no_repository_can_name_the_store_of_a_state_folder() {
        let (one, other) = (opened().await, opened().await);
        let stores = |opened: &Opened| -> BTreeSet<_> {
            let folder = std::fs::read_dir(opened.files.root().join(STORES)).unwrap();
            folder.map(|entry| entry.unwrap().file_name()).collect()
        };
        let (found, others) = (stores(&one), stores(&other));
        assert!(found.iter().any(|name| name.len() == 35), "{found:?}");
        // Both serve the same issuer.
        assert!(found.is_disjoint(&others), "{found:?} {others:?}");
        one.people.close(&one.app).await;
        other.people.close(&other.app).await;
    }

    #[tokio::test]
    async fn a_link_that_no_longer_works_is_not_shown() {
        let opened = opened().await;
        let now = opened.now;
        opened.issue("another value of the annotation", now);
        let persons = opened.persons(now).await;
        assert_eq!(access(&persons, "alice"), &Access::Nothing);
        opened.issue("1", now);
        let after = opened.persons(later(now, 400_000)).await;
        assert_eq!(access(&after, "alice"), &Access::Nothing);
        opened.people.close(&opened.app).await;
    }

    #[tokio::test]
    async fn a_person_without_a_link_needs_one() {
        let opened = opened().await;
        let persons = opened.persons(opened.now).await;
        assert_eq!(access(&persons, "bob"), &Access::Nothing);
        opened.people.close(&opened.app).await;
    }
}
