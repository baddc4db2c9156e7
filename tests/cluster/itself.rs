//! Tests of the test cluster itself: it is real, isolates tests, can be broken, and leaves nothing behind.

use std::{
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use k8s_openapi::{
    api::core::v1::ConfigMap,
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kube::{
    Api,
    api::{DeleteParams, ListParams, PostParams},
};

use crate::harness::{Cluster, Program, TestNamespace, eventually, rule};

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        ..ConfigMap::default()
    }
}

async fn create(namespace: &TestNamespace<'_>, object: &ConfigMap) -> ConfigMap {
    namespace
        .api()
        .create(&PostParams::default(), object)
        .await
        .expect("a config map can be created")
}

fn is_forbidden<T>(answer: kube::Result<T>) -> bool {
    matches!(answer, Err(kube::Error::Api(status)) if status.code == 403)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_has_the_pinned_version() {
    let version = Cluster::own()
        .client()
        .await
        .apiserver_version()
        .await
        .unwrap();
    let pinned = include_str!("go/kubernetes/go.mod")
        .lines()
        .find_map(|line| line.strip_prefix("require k8s.io/kubernetes "))
        .unwrap();
    // KUBEBUILDER_ASSETS may hold another version.
    if std::env::var_os("KUBEBUILDER_ASSETS").is_none() {
        assert_eq!(version.git_version, pinned);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_reaches_the_cluster() {
    let namespace = Cluster::shared().namespace("kubectl").await;
    let answer = Cluster::shared()
        .kubectl()
        .args(["get", "namespace", namespace.name(), "--output=name"])
        .output()
        .unwrap();
    assert_eq!(
        String::from_utf8(answer.stdout).unwrap().trim_end(),
        format!("namespace/{}", namespace.name())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_is_deleted_with_its_owner() {
    let namespace = Cluster::shared().namespace("garbage").await;
    let owner = create(&namespace, &config_map("owner")).await;
    let mut dependent = config_map("dependent");
    dependent.metadata.owner_references = Some(vec![OwnerReference {
        api_version: "v1".into(),
        kind: "ConfigMap".into(),
        name: "owner".into(),
        uid: owner.metadata.uid.unwrap(),
        ..OwnerReference::default()
    }]);
    create(&namespace, &dependent).await;
    let config_maps: Api<ConfigMap> = namespace.api();
    config_maps
        .delete("owner", &DeleteParams::background())
        .await
        .unwrap();
    eventually("the dependent object is deleted", async || {
        config_maps
            .get_opt("dependent")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_isolate_tests() {
    let ours = Cluster::shared().namespace("apart").await;
    let theirs = Cluster::shared().namespace("apart").await;
    create(&ours, &config_map("same")).await;
    create(&theirs, &config_map("same")).await;
    let account = ours
        .account("reader", vec![rule(&["get", "list"], "", &["configmaps"])])
        .await;
    let client = account.client().await;
    let in_namespace = |namespace: &TestNamespace<'_>| {
        Api::<ConfigMap>::namespaced(client.clone(), namespace.name())
    };
    in_namespace(&ours).get("same").await.unwrap();
    assert!(is_forbidden(in_namespace(&theirs).get("same").await));
    assert!(is_forbidden(
        in_namespace(&ours)
            .create(&PostParams::default(), &config_map("other"))
            .await
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_account_acts_everywhere_within_its_rules() {
    let namespace = Cluster::shared().namespace("wide").await;
    let account = namespace
        .cluster_account("lister", vec![rule(&["list"], "", &["configmaps"])])
        .await;
    assert!(account.kubeconfig_path().is_file());
    let everywhere: Api<ConfigMap> = Api::all(account.client().await);
    everywhere.list(&ListParams::default()).await.unwrap();
    assert!(is_forbidden(
        everywhere
            .delete_collection(&DeleteParams::default(), &ListParams::default())
            .await
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_log_counts_requests() {
    let cluster = Cluster::own();
    let namespace = cluster.namespace("audit").await;
    let config_maps: Api<ConfigMap> = namespace.api();
    let mark = cluster.mark();
    create(&namespace, &config_map("a")).await;
    config_maps.get("a").await.unwrap();
    config_maps.get_opt("absent").await.unwrap();
    let ours = async || {
        let requests = cluster
            .requests(mark)
            .into_iter()
            .filter(|request| request.namespace == namespace.name() && request.user == "admin");
        let requests: Vec<_> = requests.collect();
        (requests.len() >= 3).then_some(requests)
    };
    let requests = eventually("the requests are in the audit log", ours).await;
    let codes = |verb| {
        requests
            .iter()
            .filter(|request| request.is(verb, "configmaps"))
            .map(|request| (request.name.as_str(), request.code))
            .collect::<Vec<_>>()
    };
    assert_eq!(codes("create"), [("a", 201)]);
    assert_eq!(codes("get"), [("a", 200), ("absent", 404)]);
    assert_eq!(codes("list"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_private_cluster_can_be_broken_and_repaired() {
    let cluster = Cluster::private();
    let namespace = cluster.namespace("faults").await;
    let config_maps: Api<ConfigMap> = namespace.api();
    create(&namespace, &config_map("lasting")).await;
    let get =
        async || tokio::time::timeout(Duration::from_secs(2), config_maps.get("lasting")).await;

    cluster.pause(Program::Apiserver);
    assert!(get().await.is_err(), "a paused API server hangs");
    cluster.resume(Program::Apiserver);
    eventually("the API server responds again", async || {
        get().await.ok()?.ok()
    })
    .await;

    cluster.kill(Program::Apiserver);
    assert!(
        get().await.is_ok_and(|answer| answer.is_err()),
        "a killed API server refuses at once"
    );
    cluster.start(Program::Apiserver);
    eventually("the object exists, and the port is the same", async || {
        get().await.ok()?.ok()
    })
    .await;

    cluster.stop(Program::Etcd);
    cluster.start(Program::Etcd);
    eventually("the stored object still exists", async || {
        get().await.ok()?.ok()
    })
    .await;
}

// --- leaving nothing behind ------------------------------------------------------------------------------------------

fn is_running(pid: u32) -> bool {
    // A zombie (state Z, after the name in brackets) has ended too.
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

async fn wait_for_end(pids: &[u32], what: &str) {
    eventually(what, async || {
        (!pids.iter().any(|&pid| is_running(pid))).then_some(())
    })
    .await;
}

fn kill(pid: u32) {
    assert!(
        Command::new("kill")
            .args(["-KILL", &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
#[ignore = "not a test: a_killed_test_run_leaves_no_server_behind runs it in another process and kills that process"]
fn holds_a_cluster_until_killed() {
    let cluster = Cluster::private();
    let pids: Vec<String> = cluster.pids().iter().map(u32::to_string).collect();
    println!(
        "\nholding {} {}",
        cluster.kubeconfig_path().parent().unwrap().display(),
        pids.join(" ")
    );
    std::thread::sleep(Duration::from_mins(10));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_test_run_leaves_no_server_behind() {
    let mut run = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "--ignored",
            "--nocapture",
            "itself::holds_a_cluster_until_killed",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(run.stdout.take().unwrap()).lines();
    let line = lines
        .map(Result::unwrap)
        .find_map(|line| line.strip_prefix("holding ").map(str::to_owned))
        .expect("the run holds a cluster");
    let (folder, pids) = line.split_once(' ').unwrap();
    let pids: Vec<u32> = pids.split(' ').map(|pid| pid.parse().unwrap()).collect();
    assert!(
        pids.len() == 4 && pids.iter().all(|&pid| is_running(pid)),
        "{line}"
    );

    run.kill().unwrap();
    run.wait().unwrap();

    wait_for_end(&pids, "the supervisor and its servers end").await;
    assert!(
        !Path::new(folder).exists(),
        "the supervisor removes its folder before it ends"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_servers_of_a_killed_supervisor_end() {
    let cluster = Cluster::private();
    let pids = cluster.pids();
    kill(pids[0]);
    wait_for_end(&pids, "the servers end").await;
    let folder = cluster.kubeconfig_path().parent().unwrap().to_owned();
    drop(cluster);
    assert!(!folder.exists());
}

// --- errors of the scripts -------------------------------------------------------------------------------------------

fn script(name: &str) -> Command {
    Command::new(
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/cluster")
            .join(name),
    )
}

/// A folder for PATH with the usual tools except `missing`.
fn tools_without(missing: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for tool in [
        "bash", "dirname", "awk", "cut", "mkdir", "rm", "flock", "openssl", "setpriv", "go",
    ] {
        let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
            .map(|path| path.join(tool))
            .find(|path| path.is_file());
        if let Some(found) = found.filter(|_| !missing.contains(&tool)) {
            std::os::unix::fs::symlink(found, folder.path().join(tool)).unwrap();
        }
    }
    folder
}

fn complaint(command: &mut Command) -> String {
    let answer = command.stdin(Stdio::null()).output().unwrap();
    assert!(!answer.status.success());
    String::from_utf8(answer.stderr).unwrap()
}

#[test]
fn a_missing_tool_is_reported_with_its_package() {
    for (tool, package) in [("openssl", "openssl"), ("setpriv", "util-linux")] {
        let path = tools_without(&[tool]);
        let said = complaint(
            script("up.sh")
                .args(["/nowhere", "/nowhere"])
                .env("PATH", path.path()),
        );
        assert_eq!(
            said,
            format!("test cluster: '{tool}' is needed: install Debian's {package}\n")
        );
    }
}

#[test]
fn a_go_that_is_too_old_is_reported() {
    let cache = tempfile::tempdir().unwrap();
    let path = tools_without(&["go"]);
    let old: PathBuf = path.path().join("go");
    std::fs::write(
        &old,
        "#!/bin/bash\n[ \"$1\" = version ] && echo 'go version go1.19.8 linux/amd64'\n",
    )
    .unwrap();
    std::fs::set_permissions(&old, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let said = complaint(
        script("build.sh")
            .env("PATH", path.path())
            .env("SYMBOLON_CACHE", cache.path())
            .env_remove("KUBEBUILDER_ASSETS"),
    );
    assert!(
        said.contains("Go 1.26.0 or newer is needed") && said.contains("is go1.19.8"),
        "{said}"
    );
}

#[test]
fn assets_without_controllers_are_refused() {
    let assets = tempfile::tempdir().unwrap();
    for program in ["etcd", "kube-apiserver"] {
        std::os::unix::fs::symlink("/bin/bash", assets.path().join(program)).unwrap();
    }
    let said = complaint(script("build.sh").env("KUBEBUILDER_ASSETS", assets.path()));
    assert!(
        said.contains("holds no executable kube-controller-manager"),
        "{said}"
    );
}
