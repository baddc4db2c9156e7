//! Runs the blocks of pages in docs/runbooks and docs/operations as they are written, and checks what each page
//! promises.
//!
//! Each test has its own cluster, because the example's namespaces have fixed names.

mod etcd;
mod operations;
mod pruned;
mod velero;

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use reqwest::StatusCode;

use crate::harness::{Cluster, eventually};
use crate::operator::process::Process;

const PROGRAM: &str = env!("CARGO_BIN_EXE_symbolon");

/// The blocks of a page, and the folder to run them in, which looks like a clone of the repository.
struct Runbook<'a> {
    cluster: &'a Cluster,
    blocks: std::vec::IntoIter<String>,
    folder: tempfile::TempDir,
}

impl<'a> Runbook<'a> {
    /// Applies the example to a cluster and opens a page.
    async fn open(cluster: &'a Cluster, page: &str) -> Self {
        cluster.install_crds().await;
        let folder = tempfile::tempdir().unwrap();
        lay_out(folder.path(), cluster);
        let runbook = Self {
            cluster,
            blocks: blocks(page).into_iter(),
            folder,
        };
        runbook.shell("kubectl apply -f examples/quickstart/");
        runbook
    }

    /// Continues with another page.
    fn turn_to(&mut self, page: &str) {
        self.end();
        self.blocks = blocks(page).into_iter();
    }

    /// Runs the next block.
    fn next(&mut self) -> String {
        let block = self.blocks.next().expect("the page has another block");
        self.shell(&block)
    }

    /// Asserts that all blocks were run.
    fn end(&self) {
        assert_eq!(
            self.blocks.len(),
            0,
            "the test must run all blocks of the page"
        );
    }

    fn shell(&self, script: &str) -> String {
        let path = std::env::var("PATH").unwrap();
        let bin = self.folder.path().join("bin");
        let mut command = Command::new("bash");
        command
            .args(["-euo", "pipefail", "-c", script])
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", bin.display()))
            .stdin(Stdio::null())
            .stderr(Stdio::inherit());
        for (name, value) in self.cluster.kubectl().get_envs() {
            command.env(name, value.unwrap());
        }
        let output = command.output().expect("bash runs the blocks");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{script}\n{printed}");
        printed
    }

    fn operator(&self) -> Process {
        Process::start(
            &[
                "operator",
                "--health-listen",
                "127.0.0.1:0",
                "--request-timeout",
                "2",
                "--lease",
                "default/symbolon-operator",
            ],
            self.cluster.kubeconfig_path(),
        )
    }

    async fn server(&self) -> Server {
        let arguments = ["serve", "--identity", "platform/main"];
        let listen = ["--listen", "127.0.0.1:0", "--health-listen", "127.0.0.1:0"];
        let process = Process::start(
            &[&arguments[..], &listen[..]].concat(),
            self.cluster.kubeconfig_path(),
        );
        let server = Server {
            process,
            http: reqwest::Client::new(),
        };
        let ready = format!("{}/readyz", server.process.address("health"));
        eventually("the server is ready", async || {
            let answer = server.http.get(&ready).send().await.ok()?;
            (answer.status() == StatusCode::OK).then_some(())
        })
        .await;
        server
    }

    /// The current token and client secret of the example's workloads.
    async fn held(&self) -> Held {
        let client = self.cluster.client().await;
        Held {
            token: held(&client, "nightly-report-token", "token").await,
            secret: held(&client, "backend-client", "client-secret").await,
        }
    }
}

/// The token and the client secret of the example's workloads.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    token: String,
    secret: String,
}

/// Waits for a value of a Secret of the example and returns it.
async fn held(client: &Client, name: &str, key: &str) -> String {
    let api: Api<Secret> = Api::namespaced(client.clone(), "shop");
    eventually("the Secret has the value", async || {
        let data = api.get_opt(name).await.ok()??.data?;
        Some(String::from_utf8(data.get(key)?.0.clone()).unwrap())
    })
    .await
}

/// `symbolon serve` of the example's Identity.
struct Server {
    process: Process,
    http: reqwest::Client,
}

impl Server {
    async fn token_is_accepted(&self, token: &str) -> bool {
        let url = format!(
            "{}/id/connect/checktoken/api",
            self.process.address("listen")
        );
        let answer = self.http.get(url).bearer_auth(token).send().await;
        answer.unwrap().status() == StatusCode::OK
    }

    async fn secret_is_accepted(&self, secret: &str) -> bool {
        let url = format!("{}/id/connect/token", self.process.address("listen"));
        let request = self.http.post(url).basic_auth("shop.backend", Some(secret));
        let form = [("grant_type", "client_credentials")];
        request.form(&form).send().await.unwrap().status() == StatusCode::OK
    }

    /// Whether the token is accepted; asserts that the secret is treated in the same way.
    async fn accepts(&self, held: &Held) -> bool {
        let token = self.token_is_accepted(&held.token).await;
        assert_eq!(token, self.secret_is_accepted(&held.secret).await);
        token
    }

    async fn soon_accepts(&self, held: &Held) {
        eventually("the workloads' token and secret are accepted", async || {
            let token = self.token_is_accepted(&held.token).await;
            (token && self.secret_is_accepted(&held.secret).await).then_some(())
        })
        .await;
    }

    async fn soon_refuses(&self, held: &Held) {
        eventually("the workloads' token and secret are refused", async || {
            let token = self.token_is_accepted(&held.token).await;
            (!token && !self.secret_is_accepted(&held.secret).await).then_some(())
        })
        .await;
    }
}

/// The shell blocks between the marks of a page in docs.
fn blocks(page: &str) -> Vec<String> {
    let text = fs::read_to_string(repository(&format!("docs/{page}.md"))).unwrap();
    let (_, rest) = text
        .split_once(":begin (a test runs these blocks) -->")
        .unwrap();
    let (part, _) = rest.split_once(":end -->").unwrap();
    part.split("```sh\n")
        .skip(1)
        .map(|block| block.split_once("```").unwrap().0.to_owned())
        .collect()
}

fn lay_out(folder: &Path, cluster: &Cluster) {
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    symlink(repository("examples"), folder.join("examples")).unwrap();
    symlink(PROGRAM, bin.join("symbolon")).unwrap();
    symlink(
        repository("tests/cluster/runbooks/velero"),
        bin.join("velero"),
    )
    .unwrap();
    let kubectl = cluster.kubectl();
    let kubectl = Path::new(kubectl.get_program());
    if kubectl.is_absolute() {
        symlink(kubectl, bin.join("kubectl")).unwrap();
    }
}

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}
