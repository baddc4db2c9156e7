//! Watches a directory of manifests: the thin part around [`Live`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::files::{self, Folder};
use super::live::{Births, Live, Update};
use crate::directory::Settings;

/// Writes that come together are read together.
const TOGETHER: Duration = Duration::from_millis(10);
/// How often to look where the system tells of changes, and where it cannot.
const LOOK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(50));

/// A directory of manifests and what was last seen in it.
pub struct Directory<B> {
    folder: Folder,
    live: Live,
    births: B,
    seen: BTreeMap<PathBuf, Fingerprint>,
    hints: mpsc::UnboundedReceiver<Hint>,
    /// What was told and not yet looked at.
    pending: BTreeSet<PathBuf>,
    /// What was read and is to be told once the births in it are saved.
    unsaved: Option<Update>,
    /// When everything was last looked at.
    looked: Instant,
    /// Dropped, it stops. `None`: the system has no watches left, or none for this file system.
    watcher: Option<notify::RecommendedWatcher>,
}

/// What the system told: paths that may have changed.
type Hint = Vec<PathBuf>;

/// Enough of a file to know that it is another.
type Fingerprint = Option<(SystemTime, u64, u64)>;

impl<B: Births> Directory<B> {
    /// Opens a directory; what is in it comes with the first [`Directory::look`].
    pub fn open(folder: Folder, settings: Settings, births: B) -> Self {
        let (tell, hints) = mpsc::unbounded_channel();
        let watcher = watch(folder.root(), tell).ok();
        Self {
            folder,
            live: Live::new(settings),
            births,
            seen: BTreeMap::new(),
            hints,
            pending: BTreeSet::new(),
            unsaved: None,
            looked: Instant::now(),
            watcher,
        }
    }

    /// Whether the system tells of changes; else the directory is looked at all the time.
    pub const fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// The directory as it was given.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Reads what has changed.
    pub fn look(&mut self) -> io::Result<Update> {
        self.read_changes().map(|(update, _)| update)
    }

    /// Waits until something has changed, and reads it. May be dropped and called again, also after an error: what
    /// changed is told by a later call.
    pub async fn changed(&mut self) -> io::Result<Update> {
        loop {
            self.hinted().await;
            let (update, is_news) = self.read_changes()?;
            if is_news || !update.events.is_empty() {
                return Ok(update);
            }
        }
    }

    /// Waits until there are paths that may have changed, or it is time to look. What it was told stays in
    /// `pending`, so that nothing is lost when it is dropped.
    async fn hinted(&mut self) {
        let look = if self.is_told() { LOOK.0 } else { LOOK.1 };
        let time_to_look = self.looked + look;
        let until = self
            .live
            .deadline()
            .map_or(time_to_look, |deadline| deadline.min(time_to_look));
        while self.pending.is_empty() {
            let told = tokio::time::timeout_at(until.into(), self.hints.recv()).await;
            let Ok(Some(hint)) = told else { return };
            self.note(hint);
        }
        tokio::time::sleep(TOGETHER).await;
        while let Ok(hint) = self.hints.try_recv() {
            self.note(hint);
        }
    }

    fn note(&mut self, hint: Hint) {
        let folder = &self.folder;
        self.pending
            .extend(hint.into_iter().filter(|path| folder.concerns(path)));
    }

    /// Reads the files that are new, changed or pending. Says also whether there were any.
    fn read_changes(&mut self) -> io::Result<(Update, bool)> {
        let now = Instant::now();
        self.looked = now;
        let hinted = std::mem::take(&mut self.pending);
        let mut is_news = self.unsaved.is_some();
        let files = match self.folder.files() {
            Ok(files) => files,
            Err(error) => {
                self.pending.extend(hinted);
                return Err(error);
            }
        };
        let present: BTreeSet<&Path> = files.iter().map(PathBuf::as_path).collect();
        let absent: Vec<PathBuf> = self
            .live
            .files()
            .filter(|path| !present.contains(path))
            .map(Path::to_owned)
            .collect();
        for path in absent {
            is_news |= self.seen.remove(&path).is_some();
            self.live.remove(&path, now);
        }
        for path in files {
            let found = fingerprint(&path);
            if hinted.contains(&path) || self.seen.get(&path) != Some(&found) {
                is_news = true;
                self.live.put(path.clone(), files::read(&path));
                self.seen.insert(path, found);
            }
        }
        let news = self.live.update(now, &mut self.births);
        let update = match self.unsaved.take() {
            Some(mut before) => {
                before.events.extend(news.events);
                Update {
                    events: before.events,
                    faults: news.faults,
                }
            }
            None => news,
        };
        if let Err(error) = self.births.save() {
            self.unsaved = Some(update);
            return Err(error);
        }
        Ok((update, is_news))
    }
}

fn watch(
    root: &Path,
    tell: mpsc::UnboundedSender<Hint>,
) -> notify::Result<notify::RecommendedWatcher> {
    // A link may lead to the root of the file system: what is behind one is found by looking.
    let config = notify::Config::default().with_follow_symlinks(false);
    let tell = move |event: notify::Result<notify::Event>| {
        let paths = match event {
            // Reading is what we do ourselves.
            Ok(event) if event.kind.is_access() => return,
            Ok(event) => event.paths,
            Err(error) => error.paths,
        };
        // Nobody listens any more when this fails.
        let _ = tell.send(paths);
    };
    let mut watcher = notify::RecommendedWatcher::new(tell, config)?;
    // The directory itself may be a link: it is what the user named.
    watcher.watch(&root.join("."), RecursiveMode::Recursive)?;
    Ok(watcher)
}

fn fingerprint(path: &Path) -> Fingerprint {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), inode(&metadata)))
}

#[cfg(unix)]
fn inode(metadata: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(metadata)
}

#[cfg(not(unix))]
fn inode(_: &std::fs::Metadata) -> u64 {
    0
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::super::live::{Birth, Event, ObjectId};
    use super::*;
    use crate::directory::ObjectKey;
    use crate::resources::Kind;

    struct Fixed;

    impl Births for Fixed {
        fn birth(&mut self, _: Kind, _: &ObjectKey) -> Birth {
            Birth {
                uid: "u".into(),
                created: Timestamp::UNIX_EPOCH,
            }
        }
        fn death(&mut self, _: Kind, _: &ObjectKey) {}
        fn only(&mut self, _: &BTreeSet<ObjectId>) {}
    }

    fn scope(value: &str) -> String {
        format!(
            "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {{name: a}}\nspec: {{description: {value}}}\n"
        )
    }

    async fn next(directory: &mut Directory<Fixed>) -> Update {
        let changed = async {
            loop {
                let update = directory.changed().await.unwrap();
                if !update.events.is_empty() || !update.faults.is_empty() {
                    return update;
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), changed)
            .await
            .unwrap()
    }

    fn description(update: &Update) -> &str {
        let [Event::Upsert(_, value)] = &update.events[..] else {
            panic!("{update:?}")
        };
        value["spec"]["description"].as_str().unwrap()
    }

    #[tokio::test]
    async fn changes_are_told_as_they_come() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sub/a.yaml");
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = Directory::open(folder, Settings::default(), Fixed);
        assert!(directory.is_told());
        assert!(directory.look().unwrap().events.is_empty());

        std::fs::create_dir(root.path().join("sub")).unwrap();
        std::fs::write(&path, scope("one")).unwrap();
        assert_eq!(description(&next(&mut directory).await), "one");

        // As editors do: a new file in the place of the old one.
        let new = root.path().join("sub/.a.yaml.new");
        std::fs::write(&new, scope("two")).unwrap();
        std::fs::rename(&new, &path).unwrap();
        assert_eq!(description(&next(&mut directory).await), "two");

        std::fs::write(&path, scope("[")).unwrap();
        let update = next(&mut directory).await;
        assert!(update.events.is_empty());
        assert!(
            update.faults[0].to_string().contains("sub/a.yaml:"),
            "{:?}",
            update.faults
        );

        let gone = Instant::now();
        std::fs::remove_file(&path).unwrap();
        loop {
            let update = next(&mut directory).await;
            if let [Event::Delete(Kind::Scope, _)] = &update.events[..] {
                break;
            }
        }
        assert!(gone.elapsed() >= super::super::live::GRACE);
    }

    #[tokio::test]
    async fn what_was_told_is_not_lost_when_waiting_is_given_up() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = Directory::open(folder, Settings::default(), Fixed);
        directory.look().unwrap();
        std::fs::write(&path, scope("one")).unwrap();
        while directory.pending.is_empty() {
            // Shorter than what comes together: it never gets to reading.
            let given_up = tokio::time::timeout(TOGETHER / 10, directory.changed()).await;
            assert!(given_up.is_err());
        }
        assert_eq!(description(&next(&mut directory).await), "one");
    }

    /// Saves at the second attempt, as a full disk or table of files may have it.
    #[derive(Default)]
    struct Late(bool);

    impl Births for Late {
        fn birth(&mut self, kind: Kind, key: &ObjectKey) -> Birth {
            Fixed.birth(kind, key)
        }
        fn death(&mut self, _: Kind, _: &ObjectKey) {}
        fn only(&mut self, _: &BTreeSet<ObjectId>) {}
        fn save(&mut self) -> io::Result<()> {
            if std::mem::replace(&mut self.0, true) {
                Ok(())
            } else {
                Err(io::ErrorKind::StorageFull.into())
            }
        }
    }

    #[tokio::test]
    async fn what_could_not_be_saved_is_told_once_it_can() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.yaml"), scope("one")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = Directory::open(folder, Settings::default(), Late::default());
        assert!(directory.look().is_err());
        let update = tokio::time::timeout(Duration::from_secs(20), directory.changed());
        let update = update.await.unwrap().unwrap();
        assert_eq!(description(&update), "one");
    }

    #[tokio::test]
    async fn a_fault_is_told_though_the_system_said_nothing() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        std::fs::write(&path, scope("one")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = Directory::open(folder, Settings::default(), Fixed);
        directory.watcher = None;
        directory.look().unwrap();
        std::fs::write(&path, scope("[")).unwrap();
        assert_eq!(next(&mut directory).await.faults.len(), 1);
    }

    /// Links lead anywhere: to the root of the file system, or round in a circle.
    #[test]
    fn no_folder_is_watched_through_a_link() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("out")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
        let (tell, mut hints) = mpsc::unbounded_channel();
        let _watcher = watch(root.path(), tell).unwrap();
        std::fs::write(elsewhere.path().join("a.yaml"), "").unwrap();
        std::fs::write(root.path().join("b.yaml"), "").unwrap();
        // Events come in their order.
        let told = hints.blocking_recv().unwrap();
        assert_eq!(told, [root.path().join("b.yaml")]);
    }

    #[tokio::test]
    async fn hidden_folders_such_as_the_state_are_not_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = Directory::open(folder, Settings::default(), Fixed);
        directory.note(vec![root.path().join(".symbolon/secrets/a.yaml")]);
        assert!(directory.pending.is_empty());
    }
}
