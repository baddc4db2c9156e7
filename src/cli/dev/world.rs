//! The parts of dev mode and the data that flows between them.
//!
//! Manifests -> directory (server and controller have one each); controller -> Secrets and Credentials in files ->
//! directory. A change of a manifest is served before the controller writes anything because of it.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use notify::{RecursiveMode, Watcher as _};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::super::clock::now;
use super::super::files;
use super::super::terminal::MessageLines;
use super::args::Args;
use super::credentials::{CredentialPublisher, Versioned};
use super::origin::PublicUrl;
use super::people::{self, Access, People, Person};
use super::problems::{Failing, Told};
use super::recorders::{FileRevoker, FileUses};
use crate::directory::{Change, Directory, ObjectKey, Problem, Settings};
use crate::keys::KeySet;
use crate::reconcile::cluster::Cluster as _;
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::controller::{Controller, Tuning};
use crate::reconcile::files::Files;
use crate::reconcile::key_secrets;
use crate::reconcile::report::events::Notices;
use crate::resources::Kind;
use crate::server::{App, Config, Uses};
use crate::source::births::BirthFile;
use crate::source::files::Folder;
use crate::source::live::{Event, Update};
use crate::source::watch;
use crate::state_file::Chosen;
use crate::tokens::{MacKey, SystemEntropy};

/// The pause before a retry.
const RETRY: Duration = Duration::from_millis(500);

/// The error context of the first scan, which also writes uids into the state folder.
const FIRST_SCAN: &str = "cannot read the manifests, or cannot write the state folder";

/// The maximum number of faults or Identities that an error lists.
const MAX_TOLD: usize = 20;

/// A running dev mode.
pub(super) struct World {
    app: App,
    files: Files,
    controller: Arc<Controller<Files>>,
    source: watch::FolderWatch<BirthFile>,
    identity: ObjectKey,
    settings: Settings,
    /// Where the server answers.
    site: PublicUrl,
    /// The issuer in the manifest.
    written_issuer: Option<String>,
    serving: CredentialPublisher,
    /// The mac key of the served Identity.
    mac: Option<Arc<MacKey>>,
    /// The people of the Identity, if it has any.
    people: Option<People>,
    /// Those who may sign in.
    persons: Vec<Person>,
    /// The version of the Secret that the mac key was read from.
    mac_version: String,
    /// The version of the Secret that the signing keys were read from.
    signing_version: String,
    /// Changes of Credentials that the server has applied and the controller has not seen.
    credentials: mpsc::UnboundedReceiver<Versioned>,
    touched: mpsc::UnboundedReceiver<Vec<PathBuf>>,
    /// Stops watching when dropped.
    _watcher: notify::RecommendedWatcher,
    told: Told,
    /// Whether files of deleted objects could not be removed yet.
    owes_removal: bool,
    state: PathBuf,
    stop: CancellationToken,
}

impl World {
    /// Reads all manifests, creates missing keys and starts serving.
    pub(super) async fn open(
        args: &Args,
        site: PublicUrl,
        listen: SocketAddr,
        health: SocketAddr,
    ) -> anyhow::Result<Self> {
        let state = args
            .state
            .clone()
            .unwrap_or_else(|| args.dir.join(".symbolon"));
        // Users paste the printed paths into any shell, so the path must be absolute.
        let state = std::path::absolute(&state)
            .with_context(|| format!("cannot use {}", state.display()))?;
        let folder = Folder::open(&args.dir, std::slice::from_ref(&state))
            .with_context(|| format!("cannot read {}", args.dir.display()))?;
        let chosen = match args.state {
            Some(_) => Chosen::ByUser,
            None => Chosen::ByDefault,
        };
        let files = Files::open(&state, chosen)?;
        let (watcher, touched) = watch_state(&files)
            .with_context(|| format!("cannot watch {}: raise the limits fs.inotify.max_user_instances and fs.inotify.max_user_watches, or end programs that watch many files", state.display()))?;
        let births = || {
            let opened = BirthFile::open(files.dir(), Path::new("uids.json"));
            opened.with_context(|| format!("cannot use {} as the state folder", state.display()))
        };
        // The served Identity is known only after a first scan. The second scan needs it as the default Identity.
        let found = watch::FolderWatch::open(folder.clone(), Settings::default(), births()?)
            .scan()
            .context(FIRST_SCAN)?;
        let identity = choose(args, &found)?;
        let settings = Settings {
            default_identity: Some(
                args.default_identity
                    .clone()
                    .unwrap_or_else(|| identity.clone()),
            ),
            ..Settings::default()
        };
        let mut config = Config::new(identity.clone());
        config.settings = settings.clone();
        config.limits = files::limits();
        config.allowed_hosts = allowed_hosts(listen).map(|mut hosts| {
            hosts.extend(site.hosts());
            hosts
        });
        config.allowed_health_hosts = allowed_hosts(health);
        let (uses, reports) = Uses::new(config.metrics.clone());
        let app = App::with_uses(config, FileRevoker(files.clone()), uses)?;
        let (serving, credentials) =
            CredentialPublisher::new(app.publisher().clone(), identity.clone());
        files.listen(serving.clone());
        tokio::spawn(reports.run(FileUses(files.clone())));
        let controller = Controller::new(
            files.clone(),
            files.own_writes().clone(),
            settings.clone(),
            Tuning::default(),
            Notices::ignored(),
        );
        let mut world = Self {
            app,
            controller: Arc::new(controller),
            source: watch::FolderWatch::open(folder, settings.clone(), births()?),
            identity,
            settings,
            site,
            written_issuer: None,
            serving,
            mac: None,
            people: None,
            persons: Vec::new(),
            mac_version: String::new(),
            signing_version: String::new(),
            files,
            credentials,
            touched,
            _watcher: watcher,
            told: Told::default(),
            owes_removal: false,
            state,
            stop: CancellationToken::new(),
        };
        world.start().await?;
        Ok(world)
    }

    async fn start(&mut self) -> anyhow::Result<()> {
        let update = self.source.scan().context(FIRST_SCAN)?;
        self.take(&update).await;
        self.files.collect_garbage()?;
        self.ensure_keys().await?;
        self.app.status().lists_complete();
        self.controller.lead();
        tokio::spawn(Arc::clone(&self.controller).run(self.stop.clone()));
        self.first_secrets().await;
        self.serve_people().await
    }

    /// Serves people from the time when the Identity has any, and reads the links that they may use.
    async fn serve_people(&mut self) -> anyhow::Result<()> {
        if self.people.is_none() {
            let (files, identity) = (&self.files, &self.identity);
            self.people = people::open(&self.app, files, identity, self.mac.clone(), now()).await?;
        }
        let Some(people) = &self.people else {
            return Ok(());
        };
        let persons = people.persons(&self.directory(), &self.files, now()).await;
        self.persons = persons.context("cannot read the enrollment links")?;
        Ok(())
    }

    /// Serves people after a change, and tells which links are new.
    async fn follow_people(&mut self) {
        let known = self.persons.clone();
        if let Err(error) = self.serve_people().await {
            let error = format!("{error:#}");
            tracing::warn!(error, "cannot serve people");
        }
        for person in &self.persons {
            let is_known = known.iter().any(|known| known.access == person.access);
            if let Access::Link(link) = &person.access
                && !is_known
                && let Some(file) = &link.file
            {
                let (username, file) = (&person.username, file.display());
                tracing::info!(username, %file, "wrote an enrollment link, which sets a password once");
            }
        }
    }

    /// Returns the people who may sign in.
    pub(super) fn persons(&self) -> &[Person] {
        &self.persons
    }

    /// Returns whether people sign in.
    pub(super) const fn has_people(&self) -> bool {
        self.people.is_some()
    }

    /// Closes the store of people.
    pub(super) async fn close(self) {
        if let Some(people) = self.people {
            people.close(&self.app).await;
        }
    }

    /// Follows manifests, Credentials and the state folder while it is polled. A failed read or write, for example on a
    /// full disk, is retried; meanwhile the previous objects stay served.
    pub(super) async fn follow(&mut self) -> Infallible {
        let mut failing = Failing::default();
        loop {
            tokio::select! {
                update = self.source.changed() => match update {
                    Ok(update) => {
                        failing = Failing::default();
                        self.take(&update).await;
                        self.follow_people().await;
                    }
                    Err(error) => {
                        let error = error.to_string();
                        if failing.is_new(&error) {
                            tracing::warn!(error, "cannot read the manifests or write the state folder, will retry: the objects read before stay in use");
                        }
                        tokio::time::sleep(RETRY).await;
                    }
                },
                () = tokio::time::sleep(RETRY), if self.owes_removal => {
                    self.owes_removal = self.files.collect_garbage().is_err();
                }
                Some(change) = self.credentials.recv() => {
                    let mut changes = vec![change];
                    while let Ok(change) = self.credentials.try_recv() {
                        changes.push(change);
                    }
                    self.controller.changed(changes);
                }
                Some(paths) = self.touched.recv() => {
                    let mut paths = BTreeSet::from_iter(paths);
                    while let Ok(more) = self.touched.try_recv() {
                        paths.extend(more);
                    }
                    self.state_touched(&paths).await;
                    if people::may_change(&self.files, &self.persons, &paths) {
                        self.follow_people().await;
                    }
                }
            }
        }
    }

    /// Waits until the first Secrets exist, so that the commands in the banner work.
    async fn first_secrets(&mut self) {
        let patience = tokio::time::sleep(std::time::Duration::from_secs(10));
        tokio::pin!(patience);
        while !self.controller.depth().is_calm() {
            tokio::select! {
                () = &mut patience => return,
                Some(change) = self.credentials.recv() => self.controller.changed(vec![change]),
                () = tokio::time::sleep(std::time::Duration::from_millis(2)) => {}
            }
        }
        while let Ok(change) = self.credentials.try_recv() {
            self.controller.changed(vec![change]);
        }
    }

    async fn take(&mut self, update: &Update) {
        let events = update.events.iter();
        let changes: Vec<_> = events.filter_map(|event| self.change(event)).collect();
        self.app.publisher().apply(changes.iter().cloned());
        // Before the controller, which would create the keys too.
        if let Err(error) = self.ensure_keys().await {
            tracing::error!("{error:#}; the previous keys stay in use");
        }
        self.controller.changed(
            changes
                .into_iter()
                .map(|change| (change, Box::default()))
                .collect(),
        );
        let directory = self.directory();
        let source = &self.source;
        let places = |kind, key: &ObjectKey, problem: &Problem| source.place(kind, key, problem);
        self.told.tell(update, &directory, &places, now());
    }

    /// Returns the change of an event, after updating the files that the controller reads.
    fn change(&mut self, event: &Event) -> Option<Change> {
        match event {
            Event::Upsert(kind, raw) => {
                let mut raw = raw.clone();
                let key = key_of(&raw)?;
                if *kind == Kind::Identity && key == self.identity {
                    self.written_issuer = raw
                        .pointer("/spec/issuer")
                        .and_then(Value::as_str)
                        .map(str::to_owned);
                    self.site.put(&mut raw);
                }
                let change = Change::object(*kind, &raw, &self.settings);
                self.files.put_object(*kind, key, raw);
                change
            }
            Event::Delete(kind, key) => {
                if let Err(error) = self.files.remove_object(*kind, key) {
                    tracing::warn!(%error, %kind, name = %key, "cannot remove the files of a deleted object, will retry");
                    self.owes_removal = true;
                }
                Some(Change::Delete(*kind, key.clone()))
            }
            Event::Namespace(name, labels) => Some(Change::Namespace(name.clone(), labels.clone())),
            Event::NamespaceGone(name) => Some(Change::NamespaceGone(name.clone())),
        }
    }

    async fn state_touched(&mut self, paths: &BTreeSet<PathBuf>) {
        let (keys, credentials) = (self.files.keys_folder(), self.files.credentials_folder());
        let secrets = self.files.secrets_folder();
        let (mut changed, mut recorded) = (BTreeSet::new(), BTreeSet::new());
        for path in paths {
            let (known, touched): (fn(&Directory) -> BTreeSet<ObjectKey>, _) =
                if path.starts_with(&credentials) {
                    (all_credentials, &mut recorded)
                } else if path.starts_with(&secrets) || path.starts_with(&keys) {
                    (all_secrets, &mut changed)
                } else {
                    continue;
                };
            // The event of a folder stands for all files in it. Temporary files have another extension.
            match Files::secret_at(path) {
                Some(key) => drop(touched.insert(key)),
                None if path.extension().is_none() => touched.extend(known(&self.directory())),
                None => {}
            }
        }
        for key in recorded {
            self.files.credential_touched(&key);
        }
        for key in changed {
            let version = self.files.secret_version(&key);
            self.controller.secret_changed(&key, &version, None);
        }
        if paths.iter().any(|path| path.starts_with(&keys))
            && let Err(error) = self.ensure_keys().await
        {
            tracing::error!("{error:#}; the previous keys stay in use");
        }
    }

    /// Creates the Identity's missing keys and loads all of them.
    async fn ensure_keys(&mut self) -> anyhow::Result<()> {
        let directory = self.directory();
        let Ok(served) = directory.served_identity(&self.identity) else {
            return Ok(());
        };
        let keys = self.made_keys(&key_secrets::asked(served.record)).await;
        let keys = keys.context("cannot create the Identity's keys")?;
        match (keys.mac, keys.signing) {
            (Ok(mac), Ok(_)) => {
                self.app.set_mac(Arc::clone(&mac));
                self.mac = Some(Arc::clone(&mac));
                self.serving.set_mac(mac);
            }
            (Err(problem), _) | (_, Err(problem)) => bail!("{}", problem.message),
        }
        let version = self
            .files
            .secret_version(&key_secrets::mac_secret(&self.identity));
        if version != std::mem::replace(&mut self.mac_version, version.clone()) {
            self.controller.mac_changed(&self.identity);
            self.files.tell_all()?;
        }
        self.load_keys().await
    }

    /// The controller may create the keys at the same time. After such a write conflict the second try reads its keys.
    async fn made_keys(
        &self,
        asked: &key_secrets::Asked,
    ) -> Result<key_secrets::IdentityKeys, ApiError> {
        let (files, identity) = (&self.files, &self.identity);
        let ensure =
            async || key_secrets::ensure(files, identity, asked, now(), &mut SystemEntropy).await;
        match ensure().await {
            Err(ApiError::Conflict | ApiError::AlreadyExists) => ensure().await,
            other => other,
        }
    }

    async fn load_keys(&mut self) -> anyhow::Result<()> {
        let key = key_secrets::signing_secret(&self.identity);
        let Some(secret) = self.files.secret(&key).await? else {
            return Ok(());
        };
        let version = secret.version().secret_version;
        if version == self.signing_version {
            return Ok(());
        }
        self.signing_version = version;
        let bytes = secret.bytes(key_secrets::KEYSET).unwrap_or_default();
        match KeySet::parse(&bytes) {
            Ok(set) => self.app.publisher().set_keys(set, now())?,
            Err(error) => {
                tracing::error!(secret = %key, %error, "cannot read the signing keys: the previous keys stay in use")
            }
        }
        Ok(())
    }

    pub(super) const fn app(&self) -> &App {
        &self.app
    }

    pub(super) const fn files(&self) -> &Files {
        &self.files
    }

    pub(super) const fn identity(&self) -> &ObjectKey {
        &self.identity
    }

    pub(super) fn state(&self) -> &Path {
        &self.state
    }

    pub(super) fn root(&self) -> &Path {
        self.source.root()
    }

    pub(super) fn directory(&self) -> Directory {
        self.app.publisher().current().directory().clone()
    }

    /// Returns the issuer of the manifest if dev mode serves another one.
    pub(super) fn replaced_issuer(&self) -> Option<String> {
        let written = self.written_issuer.as_deref()?;
        let is_replaced = self.site.issuer(written).as_deref() != Some(written);
        is_replaced.then(|| format!("{} {written}", self.site.option()))
    }
}

/// Returns the Identity to serve: the one that the user names, or the only one.
fn choose(args: &Args, found: &Update) -> anyhow::Result<ObjectKey> {
    if let Some(identity) = &args.identity {
        return Ok(identity.clone());
    }
    let identities: Vec<ObjectKey> = found
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Upsert(Kind::Identity, raw) => key_of(raw),
            _ => None,
        })
        .collect();
    match identities.as_slice() {
        [only] => Ok(only.clone()),
        [] => {
            let faults = found.faults.iter().take(MAX_TOLD);
            let more = found.faults.len().saturating_sub(MAX_TOLD);
            let more =
                (more > 0).then(|| format!("and {more} more: run symbolon check to list them"));
            let faults = faults.map(ToString::to_string);
            let lines: Vec<String> = std::iter::once(format!(
                "found no Identity in {}: write one (see examples/quickstart)",
                args.dir.display()
            ))
            .chain(faults)
            .chain(more)
            .collect();
            Err(MessageLines(lines).into())
        }
        several => {
            let names = several.iter().take(MAX_TOLD).map(ToString::to_string);
            let more = several.len().saturating_sub(MAX_TOLD);
            let more = (more > 0).then(|| format!("and {more} more"));
            let names = names.chain(more).collect::<Vec<_>>().join(", ");
            bail!(
                "found several Identities in {} ({names}): choose one with --identity NAMESPACE/NAME",
                args.dir.display()
            )
        }
    }
}

fn key_of(raw: &Value) -> Option<ObjectKey> {
    let text = |field: &str| raw["metadata"][field].as_str();
    Some(ObjectKey::new(
        text("namespace").unwrap_or_default(),
        text("name")?,
    ))
}

/// Returns the accepted `Host` headers, as a defence against DNS rebinding: a rebound web page sends its own name. On a
/// network address every name is accepted, since this machine's names there are unknown.
fn allowed_hosts(listen: SocketAddr) -> Option<Vec<String>> {
    let port = listen.port();
    listen.ip().to_canonical().is_loopback().then(|| {
        let names = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned);
        let with_port = names.iter().map(|name| format!("{name}:{port}"));
        let mut hosts: Vec<String> = with_port.chain([listen.to_string()]).collect();
        // Clients leave out the default port of HTTP.
        if port == 80 {
            hosts.extend(names);
        }
        hosts
    })
}

fn all_credentials(directory: &Directory) -> BTreeSet<ObjectKey> {
    directory.credentials().map(|it| it.key.clone()).collect()
}

/// Returns the Secrets that the operator writes for clients and tokens.
fn all_secrets(directory: &Directory) -> BTreeSet<ObjectKey> {
    let of = |key: &ObjectKey, name: &Arc<str>| ObjectKey {
        namespace: key.namespace.clone(),
        name: name.clone(),
    };
    let clients = directory.clients();
    let clients = clients.filter_map(|it| Some(of(&it.key, &it.record()?.secret.name)));
    let tokens = directory.service_tokens();
    let tokens = tokens.filter_map(|it| Some(of(&it.key, &it.record()?.secret.name)));
    clients.chain(tokens).collect()
}

type Touched = mpsc::UnboundedReceiver<Vec<PathBuf>>;

/// Watches the state folder for Secrets that a user edits or deletes, and for Credentials that a user deletes.
fn watch_state(files: &Files) -> notify::Result<(notify::RecommendedWatcher, Touched)> {
    let (sender, touched) = mpsc::unbounded_channel();
    let all = [
        files.secrets_folder(),
        files.keys_folder(),
        files.credentials_folder(),
    ];
    let tell = move |event: notify::Result<notify::Event>| {
        let paths = match event {
            // Events were lost: any file may have changed.
            Ok(event) if event.need_rescan() => all.to_vec(),
            Err(_) => all.to_vec(),
            Ok(event) if event.kind.is_access() => return,
            Ok(event) => event.paths,
        };
        // The receiver is dropped only when the process ends.
        let _ = sender.send(paths);
    };
    // A link may lead to the root of the file system.
    let config = notify::Config::default().with_follow_symlinks(false);
    let mut watcher = notify::RecommendedWatcher::new(tell, config)?;
    // The state folder itself: a watch of a folder in it would end with that folder.
    watcher.watch(files.root(), RecursiveMode::Recursive)?;
    Ok((watcher, touched))
}
