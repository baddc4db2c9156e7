//! The case of the quickstart: `symbolon dev` on a directory of manifests, as a user starts it.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::cases::{Known, Secret};
use crate::population::{self, team_key};
use crate::process::{Server, free_address};
use crate::report::median;

const PROGRAM: &str = env!("CARGO_BIN_EXE_symbolon");
/// The time-out of the first start, which generates an RSA key.
const FIRST_START: Duration = Duration::from_secs(60);

/// A directory that `symbolon dev` serves.
pub struct Dev {
    pub server: Server,
    pub known: Known,
}

/// Serves the platform, and one client with a token, from a folder of manifests.
pub fn start(folder: &Path) -> anyhow::Result<Dev> {
    let at = free_address()?;
    let manifests = manifests(folder);
    fs::create_dir_all(&manifests)?;
    let platform = population::PLATFORM.replace("ISSUER", &format!("http://{at}/id"));
    fs::write(manifests.join("platform.yaml"), platform)?;
    let key = team_key(0);
    let objects = [population::client(&key), population::service_token(&key)];
    let objects = objects
        .iter()
        .map(serde_yaml::to_string)
        .collect::<Result<Vec<_>, _>>()?;
    fs::write(manifests.join("team.yaml"), objects.join("---\n"))?;
    let mut server = serve(folder, at)?;
    server.wait(FIRST_START)?;
    let known = wait_for_secrets(&manifests.join(".symbolon/secrets"))?;
    Ok(Dev { server, known })
}

/// Returns the milliseconds from exec to the first response if keys and Secrets exist: the median of several starts.
pub fn ready_again(folder: &Path, times: u32) -> anyhow::Result<f64> {
    let mut taken = Vec::new();
    for _ in 0..times {
        let at = free_address()?;
        let started = Instant::now();
        let _server = serve(folder, at)?;
        while !answers(at) {
            if started.elapsed() > FIRST_START {
                bail!("symbolon dev did not respond");
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        taken.push(started.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(median(taken.into_iter()))
}

fn manifests(folder: &Path) -> PathBuf {
    folder.join("manifests")
}

fn serve(folder: &Path, at: SocketAddr) -> anyhow::Result<Server> {
    let (listen, health) = (at.to_string(), free_address()?.to_string());
    let manifests = manifests(folder);
    let manifests = manifests.to_str().context("a path in UTF-8")?;
    let args = [
        "dev",
        manifests,
        "--listen",
        &listen,
        "--health-listen",
        &health,
    ];
    Server::start(Path::new(PROGRAM), &args, at, &folder.join("dev.log"))
}

/// Whether the server returns its discovery document.
fn answers(at: SocketAddr) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(at)?;
        write!(
            stream,
            "GET /id/.well-known/openid-configuration HTTP/1.1\r\nHost: {at}\r\nConnection: close\r\n\r\n"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok::<_, std::io::Error>(answer.starts_with("HTTP/1.1 200"))
    };
    ask().unwrap_or(false)
}

fn wait_for_secrets(folder: &Path) -> anyhow::Result<Known> {
    let started = Instant::now();
    loop {
        match known(folder) {
            Ok(known) => return Ok(known),
            Err(error) if started.elapsed() > FIRST_START => {
                return Err(error.context("symbolon dev did not write its secrets"));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn known(folder: &Path) -> anyhow::Result<Known> {
    let client = |name: &str| {
        let values = secret(&folder.join("platform").join(format!("{name}-client.yaml")))?;
        let value = |key: &str| values.get(key).cloned().context("a key of the Secret");
        Ok::<_, anyhow::Error>(Secret {
            client_id: value("client-id")?,
            secret: value("client-secret")?,
        })
    };
    let key = team_key(0);
    let file = folder
        .join(&*key.namespace)
        .join(format!("{}-token.yaml", key.name));
    let token = secret(&file)?.remove("token").context("a token")?;
    Ok(Known {
        api: client("api")?,
        signers: ["rs256", "ps256", "es256", "eddsa"]
            .into_iter()
            .map(client)
            .collect::<Result<_, _>>()?,
        tokens: vec![token],
    })
}

/// The data of a Secret's manifest.
fn secret(file: &Path) -> anyhow::Result<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        #[serde(default)]
        data: BTreeMap<String, String>,
        #[serde(default)]
        string_data: BTreeMap<String, String>,
    }
    let Manifest { data, string_data } = serde_yaml::from_str(&fs::read_to_string(file)?)?;
    let mut values = string_data;
    for (key, value) in data {
        values.insert(key, String::from_utf8(STANDARD.decode(value)?)?);
    }
    Ok(values)
}
