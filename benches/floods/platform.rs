//! A server to attack: `symbolon dev` on a folder with an honest client, and a tenant with objects of the maximum size.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::subject::{Subject, free_address};

/// The time-out of the start, beside other work.
const PATIENCE: Duration = Duration::from_mins(2);
/// The number of the tenant's scopes and of the audiences of each: the maximum of an object.
const SCOPES: usize = 128;
const AUDIENCES: usize = 8;
/// The length of an audience in bytes.
const AUDIENCE: usize = 500;

/// The server and the credentials of its clients.
pub struct Platform {
    pub subject: Subject,
    honest: Secret,
    tenant: Secret,
}

struct Secret {
    client_id: String,
    secret: String,
}

impl Platform {
    pub async fn start(
        folder: &Path,
        soft_files: Option<u64>,
        algorithm: &str,
    ) -> anyhow::Result<Self> {
        let (at, health) = (free_address()?, free_address()?);
        let manifests = folder.join("manifests");
        fs::create_dir_all(&manifests)?;
        let objects = objects(&format!("http://{at}/id"), algorithm);
        let objects = objects
            .iter()
            .map(serde_yaml::to_string)
            .collect::<Result<Vec<_>, _>>()?;
        fs::write(manifests.join("all.yaml"), objects.join("---\n"))?;
        let log = folder.join("dev.log");
        let mut subject = Subject::dev(at, health, &manifests, soft_files, &log)?;
        subject.wait_ready(PATIENCE).await?;
        let secrets = manifests.join(".symbolon/secrets");
        Ok(Self {
            subject,
            honest: wait_for(&secrets.join("platform/honest-client.yaml")).await?,
            tenant: wait_for(&secrets.join("tenant/wide-client.yaml")).await?,
        })
    }

    /// The honest client's token request, on a new connection.
    pub fn token_request(&self) -> String {
        token_request(self.subject.at, &self.honest, "close")
    }

    /// The tenant's request for a token with all scopes, on a connection that stays open.
    pub fn wide_request(&self) -> String {
        token_request(self.subject.at, &self.tenant, "keep-alive")
    }

    /// The form of the tenant's request for a token with one scope.
    pub fn narrow_form(&self) -> String {
        let Secret { client_id, secret } = &self.tenant;
        format!(
            "grant_type=client_credentials&scope=tenant%3As0&client_id={client_id}&client_secret={secret}"
        )
    }
}

fn token_request(at: SocketAddr, secret: &Secret, connection: &str) -> String {
    let basic = STANDARD.encode(format!("{}:{}", secret.client_id, secret.secret));
    let body = "grant_type=client_credentials";
    format!(
        "POST /id/connect/token HTTP/1.1\r\nHost: {at}\r\nConnection: {connection}\r\nAuthorization: Basic {basic}\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn objects(issuer: &str, algorithm: &str) -> Vec<Value> {
    let object = |kind: &str, namespace: &str, name: &str, spec: Value| {
        json!({
            "apiVersion": "symbolon.dev/v1alpha1",
            "kind": kind,
            "metadata": {"name": name, "namespace": namespace},
            "spec": spec,
        })
    };
    let identity = json!({"name": "main", "namespace": "platform"});
    let client = |scopes: &[String]| {
        json!({
            "identityRef": identity,
            "grantTypes": ["ClientCredentials"],
            "scopes": scopes,
        })
    };
    let mut objects = vec![
        object(
            "Identity",
            "platform",
            "main",
            json!({
                "issuer": issuer,
                "access": {"clients": {"from": "All"}, "scopes": {"from": "All"}},
                "tokens": {"audience": "Many"},
                "signing": {"algorithms": [algorithm]},
            }),
        ),
        object(
            "Scope",
            "platform",
            "read",
            json!({"identityRef": {"name": "main"}, "allowedNamespaces": {"from": "All"}}),
        ),
        object(
            "OAuthClient",
            "platform",
            "honest",
            client(&["read".to_owned()]),
        ),
    ];
    let mut scopes = Vec::new();
    for number in 0..SCOPES {
        let name = format!("s{number}");
        let audiences: Vec<_> = (0..AUDIENCES)
            .map(|other| {
                let start = format!("{issuer}/tenant/{number}/{other}/");
                let rest = "a".repeat(AUDIENCE - start.len());
                format!("{start}{rest}")
            })
            .collect();
        let spec = json!({"identityRef": identity, "audiences": audiences});
        objects.push(object("Scope", "tenant", &name, spec));
        scopes.push(format!("tenant:{name}"));
    }
    objects.push(object("OAuthClient", "tenant", "wide", client(&scopes)));
    objects
}

/// Waits for a client's Secret.
async fn wait_for(file: &Path) -> anyhow::Result<Secret> {
    let started = Instant::now();
    loop {
        match read(file) {
            Ok(secret) => return Ok(secret),
            Err(error) if started.elapsed() > PATIENCE => {
                bail!("symbolon dev did not write {}: {error:#}", file.display());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

fn read(file: &Path) -> anyhow::Result<Secret> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Manifest {
        #[serde(default)]
        data: BTreeMap<String, String>,
        #[serde(default)]
        string_data: BTreeMap<String, String>,
    }
    let Manifest { data, string_data } = serde_yaml::from_str(&fs::read_to_string(file)?)?;
    let value = |key: &str| {
        if let Some(plain) = string_data.get(key) {
            return Ok(plain.clone());
        }
        let encoded = data.get(key).context("a key of the Secret")?;
        Ok::<_, anyhow::Error>(String::from_utf8(STANDARD.decode(encoded)?)?)
    };
    Ok(Secret {
        client_id: value("client-id")?,
        secret: value("client-secret")?,
    })
}
