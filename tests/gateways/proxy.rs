//! Starts a proxy with its documented configuration, in which only addresses and paths of files are replaced.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;

use serde::Deserialize as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::documented::{self, Block};
use super::support::free_port;

/// A proxy of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Proxy {
    Nginx,
    Traefik,
    Caddy,
    Envoy,
    Haproxy,
}

impl Proxy {
    pub(crate) const ALL: [Self; 5] = [
        Self::Nginx,
        Self::Traefik,
        Self::Caddy,
        Self::Envoy,
        Self::Haproxy,
    ];

    /// The name of its program and of its marks in the page.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Traefik => "traefik",
            Self::Caddy => "caddy",
            Self::Envoy => "envoy",
            Self::Haproxy => "haproxy",
        }
    }
}

/// A running proxy. Dropping it kills it.
pub(crate) struct Running {
    pub(crate) proxy: Proxy,
    pub(crate) port: u16,
    child: Child,
    folder: TempDir,
}

impl Running {
    /// Starts a proxy in front of `backend` that asks `symbolon`.
    pub(crate) fn start(proxy: Proxy, symbolon: SocketAddr, backend: SocketAddr) -> Self {
        Self::start_with(proxy, symbolon, backend, &[])
    }

    /// Starts a proxy whose configuration lacks some filters. Only Envoy has filters with names.
    pub(crate) fn start_with(
        proxy: Proxy,
        symbolon: SocketAddr,
        backend: SocketAddr,
        without: &[&str],
    ) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let setup = Setup {
            without,
            blocks: documented::blocks(proxy.name()),
            folder: folder.path(),
            port: free_port(),
            symbolon,
            backend,
        };
        let mut command = match proxy {
            Proxy::Nginx => setup.nginx(),
            Proxy::Traefik => setup.traefik(),
            Proxy::Caddy => setup.caddy(),
            Proxy::Envoy => setup.envoy(),
            Proxy::Haproxy => setup.haproxy(),
        };
        let port = setup.port;
        let log = File::create(folder.path().join("log")).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self {
            proxy,
            port,
            child: child.unwrap_or_else(|error| panic!("{command:?}: {error}")),
            folder,
        }
    }

    /// Fails the test if the program has ended.
    pub(crate) fn expect_alive(&mut self) {
        let ended = self.child.try_wait().unwrap();
        assert!(ended.is_none(), "{:?} ended: {}", self.proxy, self.log());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("--- {:?} printed:\n{}---", self.proxy, self.log());
        }
    }
}

/// The folder with the programs: found or downloaded once per run.
fn program(name: &str) -> PathBuf {
    static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/proxies");
        let told = Command::new(&script).stderr(Stdio::inherit()).output();
        let told = told.unwrap_or_else(|error| panic!("{}: {error}", script.display()));
        assert!(told.status.success(), "the lines above say what is missing");
        PathBuf::from(String::from_utf8(told.stdout).unwrap().trim_end())
    });
    FOLDER.join(name)
}

/// The documented blocks of a configuration, and the addresses and paths that replace theirs.
struct Setup<'a> {
    blocks: Vec<Block>,
    folder: &'a Path,
    port: u16,
    symbolon: SocketAddr,
    backend: SocketAddr,
    /// The names of Envoy's filters to leave out.
    without: &'a [&'a str],
}

impl Setup<'_> {
    /// The documented block in a language, after replacing each text of `replaced`, which must occur.
    fn block(&self, language: &str, replaced: &[(&str, &str)]) -> String {
        let mut blocks = self.blocks.iter().filter(|it| it.language == language);
        let block = blocks.next().unwrap_or_else(|| panic!("no {language}"));
        replaced
            .iter()
            .fold(block.text.clone(), |text, (from, to)| {
                assert!(text.contains(from), "{from:?} in\n{text}");
                text.replace(from, to)
            })
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, text).unwrap();
        path
    }

    fn here(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn nginx(&self) -> Command {
        let server = self.block(
            "nginx",
            &[
                ("orders.api.svc:8080", &self.backend.to_string()),
                (
                    "main-identity.symbolon-system.svc",
                    &self.symbolon.to_string(),
                ),
                ("listen 8080", &format!("listen {}", self.here())),
            ],
        );
        let folder = self.folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
            .concat();
        // One process, so that killing it leaves nothing behind.
        let config = self.write(
            "nginx.conf",
            &format!(
                "daemon off;\nmaster_process off;\nuser root;\npid {folder}/pid;\nerror_log stderr;\nevents {{}}\n\
                 http {{\naccess_log off;\n{temporary}{server}}}\n"
            ),
        );
        let mut command = Command::new(program("nginx"));
        command.arg("-p").arg(self.folder).arg("-c").arg(config);
        command.args(["-e", "stderr"]);
        command
    }

    fn traefik(&self) -> Command {
        let arguments = self.block("sh", &[(":8080", &self.here())]);
        let manifests = self.block(
            "yaml",
            &[(
                "main-identity.symbolon-system.svc",
                &self.symbolon.to_string(),
            )],
        );
        let dynamic = of_custom_resources(&manifests, self.backend);
        let dynamic = self.write("dynamic.yaml", &dynamic.to_string());
        let mut command = Command::new(program("traefik"));
        command.args(arguments.lines());
        command.arg(format!("--providers.file.filename={}", dynamic.display()));
        command.args(["--global.checkNewVersion=false", "--log.level=WARN"]);
        command
    }

    fn caddy(&self) -> Command {
        let site = self.block(
            "caddyfile",
            &[
                ("orders.api.svc:8080", &self.backend.to_string()),
                (
                    "main-identity.symbolon-system.svc:80",
                    &self.symbolon.to_string(),
                ),
                (
                    ":8080 {",
                    &format!("http://:{} {{\n\tbind 127.0.0.1", self.port),
                ),
            ],
        );
        let options = "{\n\tadmin off\n\tauto_https off\n\tpersist_config off\n}\n";
        let config = self.write("Caddyfile", &format!("{options}{site}"));
        let mut command = Command::new(program("caddy"));
        command.args(["run", "--adapter", "caddyfile", "--config"]);
        command.arg(config);
        for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
            command.env(name, self.folder);
        }
        command
    }

    fn envoy(&self) -> Command {
        let socket = |address: &str, port: u16| format!("address: {address}, port_value: {port}");
        let config = self.block(
            "yaml",
            &[
                (&socket("0.0.0.0", 8080), &socket("127.0.0.1", self.port)),
                (
                    &socket("orders.api.svc", 8080),
                    &socket("127.0.0.1", self.backend.port()),
                ),
                (
                    &socket("main-identity.symbolon-system.svc", 80),
                    &socket("127.0.0.1", self.symbolon.port()),
                ),
            ],
        );
        let mut config: Value = serde_yaml::from_str(&config).unwrap();
        let manager = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
        let manager = config.pointer_mut(manager).unwrap();
        let filters = manager["http_filters"].as_array_mut().unwrap();
        let count = filters.len();
        filters.retain(|it| !self.without.contains(&it["name"].as_str().unwrap()));
        assert_eq!(filters.len() + self.without.len(), count);
        let config = self.write("envoy.json", &config.to_string());
        let mut command = Command::new(program("envoy"));
        command.args([
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "--log-level",
            "warn",
        ]);
        command.arg("--config-path").arg(config);
        command
    }

    fn haproxy(&self) -> Command {
        let lua = self.write("symbolon.lua", &self.block("lua", &[]));
        let config = self.block(
            "haproxy",
            &[
                ("/etc/haproxy/symbolon.lua", lua.to_str().unwrap()),
                ("orders.api.svc:8080", &self.backend.to_string()),
                // HAProxy's resolver knows no search domains, so in a cluster only the whole name works.
                (
                    "main-identity.symbolon-system.svc.cluster.local",
                    &self.symbolon.to_string(),
                ),
                ("bind :8080", &format!("bind {}", self.here())),
            ],
        );
        let config = self.write("haproxy.cfg", &config);
        let mut command = Command::new(program("haproxy"));
        command.arg("-db").arg("-f").arg(config);
        command.env("LD_LIBRARY_PATH", program("lib"));
        command
    }
}

/// Turns Traefik's custom resources into its configuration in a file, which names the same options.
fn of_custom_resources(manifests: &str, backend: SocketAddr) -> Value {
    let documents = serde_yaml::Deserializer::from_str(manifests);
    let all: Vec<Value> = documents
        .map(|it| Value::deserialize(it).unwrap())
        .collect();
    let of_kind = |kind: &'static str| all.iter().filter(move |it| it["kind"] == kind);
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap().to_owned();
    let middlewares: Value = of_kind("Middleware")
        .map(|it| (name(it), it["spec"].clone()))
        .collect();
    let route = of_kind("IngressRoute").next().unwrap();
    let rule = &route["spec"]["routes"][0];
    let named = rule["middlewares"].as_array().unwrap().iter();
    let named: Vec<&Value> = named.map(|it| &it["name"]).collect();
    json!({"http": {
        "routers": {"orders": {
            "entryPoints": route["spec"]["entryPoints"], "rule": rule["match"], "middlewares": named, "service": "orders",
        }},
        "middlewares": middlewares,
        "services": {"orders": {"loadBalancer": {"servers": [{"url": format!("http://{backend}")}]}}},
    }})
}
