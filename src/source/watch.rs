//! Watches a directory of manifests: the IO around [`Live`].

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use super::files::Folder;
use super::live::{Births, Live, Update};
use crate::directory::{ObjectKey, Problem, Settings};
use crate::resources::Kind;

/// The pause that collects writes, so that they are read together.
const TOGETHER: Duration = Duration::from_millis(10);
/// The interval of scans with file events from the system, and without them.
const SCAN: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(50));

/// A directory of manifests and its last known state.
pub struct FolderWatch<B> {
    folder: Folder,
    live: Live,
    births: B,
    seen: BTreeMap<PathBuf, Fingerprint>,
    hints: mpsc::UnboundedReceiver<Hint>,
    /// The paths that were reported and are not read yet.
    pending: BTreeSet<PathBuf>,
    /// An update that is returned once its births are saved.
    unsaved: Option<Update>,
    /// The time of the last scan.
    scanned: Instant,
    /// Stops when dropped. `None` if the system has no watches left, or no file events for this file system.
    watcher: Option<notify::RecommendedWatcher>,
}

/// A report of the system: paths that may have changed.
type Hint = Vec<PathBuf>;

/// Modification time, length and inode: a changed file differs in one of them.
type Fingerprint = Option<(SystemTime, u64, u64)>;

impl<B: Births> FolderWatch<B> {
    /// Opens a directory. The first [`FolderWatch::scan`] returns its objects.
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
            scanned: Instant::now(),
            watcher,
        }
    }

    /// Returns whether the system reports changes. Otherwise the directory is read at short intervals.
    pub const fn is_told(&self) -> bool {
        self.watcher.is_some()
    }

    /// Returns the path of the directory as the user gave it.
    pub fn root(&self) -> &Path {
        self.folder.root()
    }

    /// Returns the place in a file for a problem of an object, as [`Live::place`].
    pub fn place(&self, kind: Kind, key: &ObjectKey, problem: &Problem) -> Option<String> {
        self.live.place(kind, key, problem)
    }

    /// Reads the changes.
    pub fn scan(&mut self) -> io::Result<Update> {
        self.read_changes().map(|(update, _)| update)
    }

    /// Waits for changes and reads them. Cancel-safe: after a cancellation or an error a later call returns the
    /// changes.
    pub async fn changed(&mut self) -> io::Result<Update> {
        loop {
            self.hinted().await;
            let (update, is_news) = self.read_changes()?;
            if is_news || !update.events.is_empty() {
                return Ok(update);
            }
        }
    }

    /// Waits until paths may have changed or the next scan is due. Reported paths stay in `pending`, so that
    /// cancellation loses none.
    async fn hinted(&mut self) {
        let period = if self.is_told() { SCAN.0 } else { SCAN.1 };
        let time_to_scan = self.scanned + period;
        let until = self
            .live
            .deadline()
            .map_or(time_to_scan, |deadline| deadline.min(time_to_scan));
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

    /// Reads the files that are new, changed or pending. Returns also whether there were any.
    fn read_changes(&mut self) -> io::Result<(Update, bool)> {
        let now = Instant::now();
        self.scanned = now;
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
                self.live.put(path.clone(), self.folder.read(&path));
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
    // Links are not followed, since one may lead to the root of the file system. Regular looks find changes behind
    // links.
    let config = notify::Config::default().with_follow_symlinks(false);
    let tell = move |event: notify::Result<notify::Event>| {
        let paths = match event {
            // Our own reads cause access events.
            Ok(event) if event.kind.is_access() => return,
            Ok(event) => event.paths,
            Err(error) => error.paths,
        };
        // Fails only after the receiver is dropped.
        let _ = tell.send(paths);
    };
    let mut watcher = notify::RecommendedWatcher::new(tell, config)?;
    // The directory itself may be a link, since the user named it.
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
    use futures::FutureExt as _;
    use jiff::Timestamp;

    use super::super::live::{Birth, Event, ObjectId};
    use super::*;

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

    async fn next(directory: &mut FolderWatch<Fixed>) -> Update {
        let changed = async {
            loop {
                let update = directory.changed().await.unwrap();
                if !update.events.is_empty() || !update.faults.is_empty() {
                    return update;
                }
            }
        };
        tokio::time::timeout(Duration::from_mins(1), changed)
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
    async fn changes_are_returned_as_they_happen() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("sub/a.yaml");
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = FolderWatch::open(folder, Settings::default(), Fixed);
        assert!(directory.is_told());
        assert!(directory.scan().unwrap().events.is_empty());

        std::fs::create_dir(root.path().join("sub")).unwrap();
        std::fs::write(&path, scope("one")).unwrap();
        assert_eq!(description(&next(&mut directory).await), "one");

        // Editors replace a file by renaming a new one.
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
    async fn cancelled_waiting_loses_no_change() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = FolderWatch::open(folder, Settings::default(), Fixed);
        directory.scan().unwrap();
        std::fs::write(&path, scope("one")).unwrap();
        while directory.pending.is_empty() {
            tokio::time::sleep(TOGETHER / 10).await;
            // A single poll does not get as far as reading. With a time limit it could, if `TOGETHER` passed at the
            // same time.
            assert!(directory.changed().now_or_never().is_none());
        }
        assert_eq!(description(&next(&mut directory).await), "one");
    }

    /// Saving fails once, as on a full disk.
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
    async fn an_update_is_returned_after_its_births_are_saved() {
        let root = tempfile::tempdir().unwrap();
        std::fs::write(root.path().join("a.yaml"), scope("one")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = FolderWatch::open(folder, Settings::default(), Late::default());
        assert!(directory.scan().is_err());
        let update = tokio::time::timeout(Duration::from_mins(1), directory.changed());
        let update = update.await.unwrap().unwrap();
        assert_eq!(description(&update), "one");
    }

    #[tokio::test]
    async fn faults_are_found_without_file_events() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a.yaml");
        std::fs::write(&path, scope("one")).unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = FolderWatch::open(folder, Settings::default(), Fixed);
        directory.watcher = None;
        directory.scan().unwrap();
        std::fs::write(&path, scope("[")).unwrap();
        assert_eq!(next(&mut directory).await.faults.len(), 1);
    }

    /// Links may lead to the root of the file system, or in a circle.
    #[test]
    fn links_to_folders_are_not_watched() {
        let (root, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::os::unix::fs::symlink(elsewhere.path(), root.path().join("out")).unwrap();
        std::os::unix::fs::symlink(root.path(), root.path().join("loop")).unwrap();
        let (tell, mut hints) = mpsc::unbounded_channel();
        let _watcher = watch(root.path(), tell).unwrap();
        std::fs::write(elsewhere.path().join("a.yaml"), "").unwrap();
        std::fs::write(root.path().join("b.yaml"), "").unwrap();
        // Events arrive in order, so that an event for the linked folder would come first.
        let told = hints.blocking_recv().unwrap();
        assert_eq!(told, [root.path().join("b.yaml")]);
    }

    #[tokio::test]
    async fn events_in_hidden_folders_are_ignored() {
        let root = tempfile::tempdir().unwrap();
        let folder = Folder::open(root.path(), &[]).unwrap();
        let mut directory = FolderWatch::open(folder, Settings::default(), Fixed);
        directory.note(vec![root.path().join(".symbolon/secrets/a.yaml")]);
        assert!(directory.pending.is_empty());
    }
}
