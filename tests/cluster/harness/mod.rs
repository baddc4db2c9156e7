//! A real Kubernetes API server for tests.
//!
//! - [`Cluster::shared`]: one cluster for all tests of this process; KUBECONFIG's, unchanged, if that is set.
//! - [`Cluster::own`]: one temporary cluster for all tests of this process, for tests that read its audit log.
//! - [`Cluster::private`]: a temporary cluster for a single test that stops or kills parts of it.
//!
//! Temporary clusters run the programs that `build.sh` finds or builds, under the supervisor `up.sh`. They end with
//! this process, however it ends. Each test has its own namespace: [`Cluster::namespace`].
//!
//! A `kube::Client` works only on the runtime that created it, and each `#[tokio::test]` has its own runtime. So create
//! one per test, and never keep one in a static.

mod audit;
mod namespace;
mod supervisor;

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use k8s_openapi::api::authentication::v1::{SelfSubjectReview, UserInfo};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{
    Api, Client, Config, ResourceExt as _,
    api::{Patch, PatchParams, PostParams},
    config::{AuthInfo, KubeConfigOptions, Kubeconfig},
    runtime::{conditions::is_crd_established, wait::await_condition},
};

use self::supervisor::Supervisor;
pub(crate) use self::{
    audit::Mark,
    namespace::{TestNamespace, rule},
    supervisor::Program,
};

/// The field manager of everything that the harness applies.
const FIELD_MANAGER: &str = "symbolon-test-harness";

/// How long [`eventually`] waits. It is long because the machine may be busy; a test that passes never waits so long.
pub(crate) const PATIENCE: Duration = Duration::from_mins(10);

/// A Kubernetes API server with its controllers (no nodes).
pub(crate) struct Cluster {
    kubeconfig: PathBuf,
    /// `None` for KUBECONFIG's cluster, which tests cannot stop and whose audit log they cannot read.
    supervisor: Option<Supervisor>,
    crds: tokio::sync::OnceCell<()>,
}

impl Cluster {
    /// The cluster of this test process: KUBECONFIG's if that is set, else [`Cluster::own`].
    pub(crate) fn shared() -> &'static Self {
        static EXTERNAL: OnceLock<Option<Cluster>> = OnceLock::new();
        EXTERNAL
            .get_or_init(Self::external)
            .as_ref()
            .unwrap_or_else(Self::own)
    }

    /// The temporary cluster of this test process, also if KUBECONFIG is set.
    pub(crate) fn own() -> &'static Self {
        static OWN: OnceLock<Cluster> = OnceLock::new();
        OWN.get_or_init(Self::private)
    }

    /// Starts a temporary cluster that ends with the value. It costs about 3 s of two cores, so only tests that break
    /// or change a cluster use it.
    pub(crate) fn private() -> Self {
        Self::with_feature_gates("")
    }

    /// Like [`Self::private`], with an API server that returns lists in pages instead of streaming them, as older
    /// releases do.
    #[allow(dead_code, reason = "the benchmark of floods needs it")]
    pub(crate) fn private_without_streaming_lists() -> Self {
        Self::with_feature_gates("WatchList=false")
    }

    fn with_feature_gates(feature_gates: &str) -> Self {
        use_aws_lc();
        let supervisor = Supervisor::start(feature_gates);
        Self {
            kubeconfig: supervisor.kubeconfig().to_owned(),
            supervisor: Some(supervisor),
            crds: tokio::sync::OnceCell::new(),
        }
    }

    fn external() -> Option<Self> {
        let kubeconfig =
            PathBuf::from(std::env::var_os("KUBECONFIG").filter(|path| !path.is_empty())?);
        assert!(
            kubeconfig.is_file(),
            "KUBECONFIG={} is not a file; unset it to have the tests start a cluster",
            kubeconfig.display()
        );
        eprintln!(
            "test cluster: using KUBECONFIG={}; the tests leave their CRDs there",
            kubeconfig.display()
        );
        use_aws_lc();
        Some(Self {
            kubeconfig,
            supervisor: None,
            crds: tokio::sync::OnceCell::new(),
        })
    }

    /// The path of a cluster administrator's kubeconfig, for programs under test.
    pub(crate) fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    fn kubeconfig(&self) -> Kubeconfig {
        Kubeconfig::read_from(&self.kubeconfig).expect("the kubeconfig file is well-formed")
    }

    /// Creates a cluster administrator's client on the runtime of the caller.
    pub(crate) async fn client(&self) -> Client {
        client_of(self.kubeconfig()).await
    }

    /// Creates a namespace that is named after its purpose.
    pub(crate) async fn namespace(&self, purpose: &str) -> TestNamespace<'_> {
        TestNamespace::create(self, purpose).await
    }

    /// `kubectl` for this cluster, as its administrator: the one built with the API server, or the one on PATH.
    pub(crate) fn kubectl(&self) -> Command {
        let built = self
            .supervisor
            .as_ref()
            .map(|own| own.programs().join("kubectl"))
            .filter(|path| path.is_file());
        let mut command = Command::new(built.unwrap_or_else(|| "kubectl".into()));
        command.env("KUBECONFIG", &self.kubeconfig);
        if let Some(own) = &self.supervisor {
            // kubectl's cache is keyed by host and port, which a later cluster may use again.
            command.env("KUBECACHEDIR", own.folder().join("kubectl"));
        }
        command
    }

    /// Applies `crds/*.yaml` and waits until they are served. Only the first call on a cluster does the work.
    pub(crate) async fn install_crds(&self) {
        self.crds.get_or_init(|| self.apply_crds()).await;
    }

    async fn apply_crds(&self) {
        let api: Api<CustomResourceDefinition> = Api::all(self.client().await);
        for crd in crds() {
            let name = crd.name_any();
            let applied = api
                .patch(
                    &name,
                    &PatchParams::apply(FIELD_MANAGER).force(),
                    &Patch::Apply(&crd),
                )
                .await;
            applied
                .unwrap_or_else(|error| panic!("the API server refuses the CRD {name}: {error}"));
            let established = tokio::time::timeout(
                PATIENCE,
                await_condition(api.clone(), &name, is_crd_established()),
            );
            established
                .await
                .expect("the CRD is established in time")
                .expect("the CRD can be watched");
        }
        if self.supervisor.is_some() {
            // The garbage collector looks for new kinds only every 30 s, so restart it.
            self.kill(Program::Controllers);
            self.start(Program::Controllers);
        }
    }

    /// Sends SIGTERM to a part of a private cluster and waits until it ends.
    pub(crate) fn stop(&self, program: Program) {
        self.supervised("stop it").command("stop", program);
    }

    /// Kills a part of a private cluster.
    pub(crate) fn kill(&self, program: Program) {
        self.supervised("kill it").command("kill", program);
    }

    /// Starts a part that was stopped or killed. For the API server, waits until it is ready.
    pub(crate) fn start(&self, program: Program) {
        self.supervised("start it").command("start", program);
    }

    /// Restarts the API server of a private cluster with this file as its `--authentication-config`.
    pub(crate) fn authenticate_by(&self, configuration: &str) {
        let supervisor = self.supervised("configure it");
        let file = supervisor.folder().join("authentication.yaml");
        std::fs::write(file, configuration).expect("the cluster's folder is there");
        self.stop(Program::Apiserver);
        self.start(Program::Apiserver);
    }

    /// The user that the API server sees in a bearer token.
    ///
    /// # Errors
    /// The API server does not accept the token.
    pub(crate) async fn user_of(&self, token: &str) -> kube::Result<UserInfo> {
        let mut kubeconfig = self.kubeconfig();
        for user in &mut kubeconfig.auth_infos {
            user.auth_info = Some(AuthInfo {
                token: Some(token.to_owned().into()),
                ..AuthInfo::default()
            });
        }
        let reviews = Api::<SelfSubjectReview>::all(client_of(kubeconfig).await);
        let review = SelfSubjectReview::default();
        let review = reviews.create(&PostParams::default(), &review).await?;
        let status = review.status.expect("the API server answers with a status");
        Ok(status.user_info.expect("and with the user"))
    }

    /// Makes a part of a private cluster hang: its connections stay open and it does not respond.
    pub(crate) fn pause(&self, program: Program) {
        self.supervised("pause it").command("pause", program);
    }

    /// Resumes a paused part.
    pub(crate) fn resume(&self, program: Program) {
        self.supervised("resume it").command("resume", program);
    }

    /// Copies etcd's data, as a snapshot does. etcd stops for a moment.
    pub(crate) fn save_etcd(&self) -> PathBuf {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let folder = self.supervised("copy its data").folder();
        let copy = folder.join(format!("etcd.{}", COUNT.fetch_add(1, Ordering::Relaxed)));
        self.stop(Program::Etcd);
        copy_folder(&folder.join("etcd"), &copy);
        self.start(Program::Etcd);
        copy
    }

    /// Replaces etcd's data by a copy and restarts all parts, as a restore requires.
    pub(crate) fn restore_etcd(&self, copy: &Path) {
        let data = self.supervised("replace its data").folder().join("etcd");
        let all = [Program::Controllers, Program::Apiserver, Program::Etcd];
        for program in all {
            self.stop(program);
        }
        std::fs::remove_dir_all(&data).expect("the data can be removed");
        copy_folder(copy, &data);
        for program in all.into_iter().rev() {
            self.start(program);
        }
    }

    /// The process ids of the supervisor and of the programs that it runs.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.supervised("see its processes").pids()
    }

    /// The current end of the audit log, for [`Cluster::requests`].
    pub(crate) fn mark(&self) -> Mark {
        audit::mark(self.supervised("read its audit log").folder())
    }

    /// Waits until the audit log has what was answered before, because it is written a little after the responses.
    pub(crate) async fn audited(&self) {
        let mark = self.mark();
        let name = format!("audited-{}", uuid::Uuid::new_v4().simple());
        let namespaces: Api<Namespace> = Api::all(self.client().await);
        namespaces
            .get_opt(&name)
            .await
            .expect("the API server answers");
        eventually("the audit log has the latest request", async || {
            let requests = self.requests(mark);
            requests.iter().any(|it| it.name == name).then_some(())
        })
        .await;
    }

    /// The requests answered since a mark, oldest first, without those of the control plane itself.
    pub(crate) fn requests(&self, since: Mark) -> Vec<audit::Request> {
        audit::since(self.supervised("read its audit log").folder(), since)
    }

    fn supervised(&self, what: &str) -> &Supervisor {
        self.supervisor.as_ref().unwrap_or_else(|| {
            panic!(
                "the tests do not change KUBECONFIG's cluster: to {what}, use Cluster::own or ::private"
            )
        })
    }
}

fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").args([from, to]).status();
    assert!(copied.expect("cp can be started").success());
}

/// The CRDs in `crds/`, as a user applies them.
pub(crate) fn crds() -> Vec<CustomResourceDefinition> {
    let Ok(folder) = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("crds")) else {
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = folder
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|it| it == "yaml"))
        .collect();
    files.sort();
    let parse = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        serde_yaml::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    files.iter().map(parse).collect()
}

async fn client_of(kubeconfig: Kubeconfig) -> Client {
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
    Client::try_from(config.expect("the kubeconfig is complete"))
        .expect("a client can be created from the kubeconfig")
}

/// Repeats `ask` until it returns a value, and fails the test after [`PATIENCE`].
pub(crate) async fn eventually<T>(what: &str, ask: impl AsyncFnMut() -> Option<T>) -> T {
    eventually_within(PATIENCE, what, ask).await
}

/// Like [`eventually`], with another time limit.
pub(crate) async fn eventually_within<T>(
    patience: Duration,
    what: &str,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(
            began.elapsed() < patience,
            "not within {} s: {what}",
            patience.as_secs()
        );
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

fn use_aws_lc() {
    // An error means that a provider is already installed.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}
