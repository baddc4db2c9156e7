//! People in dev mode: their store in the state folder, and the enrolment links, which in a cluster the operator issues.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use jiff::Timestamp;
use tokio::task::JoinHandle;

use crate::directory::tables::record::{IdentityRecord, Object, UserRecord};
use crate::directory::{Directory, ObjectKey, Served, revoked_before};
use crate::oauth::Endpoint;
use crate::people::enrolment::{self, Enrolled, EnrolmentState, MAX_LENGTH, MAX_LIFETIME, Refused};
use crate::reconcile::files::Files;
use crate::resources::StorageType;
use crate::server::{self, App};
use crate::state_file::FileMode;
use crate::store::{Holder, Store};
use crate::tokens::{Hex, MacKey};

/// The folder of the stores in the state folder.
const STORES: &str = "people";
/// The folder of the enrolment links in the state folder.
const LINKS: &str = "enrollment";
/// How long to wait until another process releases the store. The state folder is locked, so none should have it.
const PATIENCE: Duration = Duration::from_secs(5);

/// People that are served.
pub(super) struct People {
    store: Store,
    serving: JoinHandle<()>,
    mac: Arc<MacKey>,
    identity: ObjectKey,
}

/// A link for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Link {
    /// The username.
    pub(super) username: String,
    /// The URL that sets the password, once.
    pub(super) url: String,
    /// The file with the URL.
    pub(super) file: PathBuf,
}

/// Returns whether an Identity has people.
fn has_people(record: &IdentityRecord) -> bool {
    record.storage != StorageType::None && record.has_passwords
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
    let hash = digest(&SHA256, holder.issuer.as_bytes());
    let name = format!("{}.db", Hex(&hash.as_ref()[..6]));
    let path = files.root().join(STORES).join(name);
    let opened = Store::open(&path, PATIENCE).await;
    let store = opened.with_context(|| format!("cannot use the store {}", path.display()))?;
    store.bind(&holder, now).await?;
    let serving = server::serve_people((**app).clone(), store.clone(), holder.issuer);
    Ok(Some(People {
        serving: tokio::spawn(serving),
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
        app.set_people(None);
        if let Err(error) = self.store.close().await {
            tracing::warn!(%error, "cannot close the store: its write-ahead log is replayed at the next start");
        }
    }

    /// Returns the links that people may still use, and writes each to a file that only its owner can read. A person
    /// whose annotation asks for a link gets one until it is used.
    ///
    /// # Errors
    /// The store or the state folder cannot be used.
    pub(super) async fn links(
        &self,
        directory: &Directory,
        files: &Files,
        now: Timestamp,
    ) -> anyhow::Result<Vec<Link>> {
        let Ok(served) = directory.served_identity(&self.identity) else {
            return Ok(Vec::new());
        };
        let page = Endpoint::Enrolment.url(&served.record.issuer);
        let mut links = Vec::new();
        for user in directory.users() {
            let Some(record) = user.record() else {
                continue;
            };
            let is_own = record.identity.as_ref() == Some(&self.identity);
            if !is_own || record.has_ended(now) {
                continue;
            }
            let file = Path::new(LINKS).join(format!("{}.url", user.key.name));
            let revoked = revoked_before(served.record, record);
            let person = (&**user, record, revoked);
            if let Some(link) = self.link(person, files, &file, now).await? {
                let url = format!("{page}?link={link}");
                let dir = files.dir();
                dir.write(&file, format!("{url}\n").as_bytes(), FileMode::Private)?;
                links.push(Link {
                    username: record.username.to_string(),
                    url,
                    file: files.root().join(&file),
                });
            } else {
                // It was used, or the annotation is gone.
                let _ = files.dir().remove(&file);
            }
        }
        Ok(links)
    }

    /// Returns the link of a person: the one in the file while it works, else a new one unless it was used. Nothing
    /// counts that was issued before the person was `revoked`.
    async fn link(
        &self,
        (user, record, revoked): (&Object<UserRecord>, &UserRecord, Option<Timestamp>),
        files: &Files,
        file: &Path,
        now: Timestamp,
    ) -> anyhow::Result<Option<String>> {
        let Some(nonce) = record.enroll.as_deref() else {
            return Ok(None);
        };
        // No link would work before this time.
        if revoked.is_some_and(|moment| now < moment) {
            return Ok(None);
        }
        let found = self.store.credentials(&user.uid).await?;
        let state = EnrolmentState {
            namespace: &self.identity.namespace,
            identity: &self.identity.name,
            nonce: Some(nonce),
            valid_after: found
                .as_ref()
                .map(|(account, _)| account.valid_after)
                .max(revoked),
        };
        let has_password = found.is_some_and(|(_, password)| password.is_some());
        let written = files.dir().read(file, 4096)?;
        let written = written.and_then(|content| String::from_utf8(content.bytes).ok());
        let written = written.as_deref().and_then(|text| {
            let (_, link) = text.trim().split_once("?link=")?;
            (link.len() <= MAX_LENGTH).then_some(link)
        });
        if let Some(link) = written
            && let Some(unverified) = enrolment::Unverified::parse(link)
        {
            match unverified.verify([&*self.mac], state, now) {
                Ok(verified) if self.store.is_enrolment_used(verified.hash).await? => {
                    return Ok(None);
                }
                Ok(_) => return Ok(Some(link.to_owned())),
                // A person who was disabled or revoked before the first password needs another link.
                Err(Refused::Superseded) if has_password => return Ok(None),
                Err(_) => {}
            }
        } else if has_password {
            return Ok(None);
        }
        let person = Enrolled {
            namespace: &self.identity.namespace,
            identity: &self.identity.name,
            uid: &user.uid,
            nonce,
        };
        let link = enrolment::issue(&self.mac, person, MAX_LIFETIME, now)?;
        Ok(Some(link.expose().to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use futures::future::BoxFuture;

    use super::*;
    use crate::directory::testing::{PEOPLE, QUICKSTART, World};
    use crate::people::enrolment::Unverified;
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

    #[tokio::test]
    async fn a_person_who_was_disabled_before_the_first_password_gets_another_link() {
        let Opened {
            _folder,
            files,
            app,
            directory,
            people,
            now,
            ..
        } = opened().await;
        let before = people.links(&directory, &files, now).await.unwrap();
        let id = crate::people::account::AccountId(uuid::Uuid::nil());
        let owner = "User-platform-alice".to_owned();
        let later = |seconds| now + jiff::SignedDuration::from_secs(seconds);
        let store = &people.store;
        store.ensure_account(id, owner, later(5)).await.unwrap();
        store.sign_out_everywhere(id, later(5)).await.unwrap();
        let after = people.links(&directory, &files, later(10)).await.unwrap();
        assert_eq!(after.len(), 1);
        assert_ne!(after, before);
        people.close(&app).await;
    }

    #[tokio::test]
    async fn a_link_from_before_revoke_issued_before_is_replaced_and_none_is_issued_until_then() {
        let Opened {
            _folder,
            files,
            app,
            directory,
            people,
            now,
            ..
        } = opened().await;
        let later = |seconds| now + jiff::SignedDuration::from_secs(seconds);
        let before = people.links(&directory, &files, now).await.unwrap();
        let revoke = format!(", revokeIssuedBefore: \"{}\", username: alice", later(60));
        let revoked = ALICE.replace(", username: alice", &revoke);
        let world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}---\n{revoked}"));
        let links = |at| people.links(&world.directory, &files, at);
        assert_eq!(links(later(10)).await.unwrap(), []);
        let after = links(later(62)).await.unwrap();
        assert_eq!(after.len(), 1);
        assert_ne!(after, before);
        assert_eq!(links(later(70)).await.unwrap(), after);
        people.close(&app).await;
    }

    #[tokio::test]
    async fn a_person_gets_one_link_until_it_is_used() {
        let Opened {
            _folder,
            files,
            app,
            directory,
            mac,
            people,
            now,
        } = opened().await;
        let links = people.links(&directory, &files, now).await.unwrap();
        let [link] = links.as_slice() else {
            panic!("{links:?}")
        };
        assert_eq!(link.username, "alice");
        let written = std::fs::read_to_string(&link.file).unwrap();
        assert_eq!(written, format!("{}\n", link.url));
        let mode = std::fs::metadata(&link.file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(people.links(&directory, &files, now).await.unwrap(), links);

        let (_, text) = link.url.split_once("?link=").unwrap();
        let state = EnrolmentState {
            namespace: "platform",
            identity: "main",
            nonce: Some("1"),
            valid_after: None,
        };
        let verified = Unverified::parse(text).unwrap();
        let verified = verified.verify([&*mac], state, now).unwrap();
        let enrolment = Enrolment {
            link: verified.hash,
            issued_at: verified.issued_at,
            expires_at: verified.expires_at,
            owner: "User-platform-alice".to_owned(),
            account: crate::people::account::AccountId(uuid::Uuid::nil()),
            password: "$argon2id$".to_owned(),
        };
        let later = now + jiff::SignedDuration::from_secs(5);
        let account = people.store.enrol(enrolment, later).await.unwrap();
        assert!(account.is_some());
        assert_eq!(people.links(&directory, &files, later).await.unwrap(), []);
        assert!(!link.file.exists());
        people.close(&app).await;
    }
}
