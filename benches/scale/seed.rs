//! Writes objects directly into etcd, in the form that they have after a long time. The benchmark measures only
//! readers.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use symbolon::directory::sealed;
use symbolon::resources::{
    Cause, Credential, CredentialClient, CredentialEntry, CredentialMemory, CredentialOwner,
    CredentialSpec, Kind, LocalRef, Moment, OwnerKind,
};
use symbolon::tokens::{MacKey, SecretString, SeededEntropy, mac, reference};
use uuid::Uuid;

use crate::harness::Cluster;

/// The number of clients in a namespace.
const TEAM: usize = 100;
/// The number of puts in one transaction: etcd's limit.
const BATCH: usize = 128;

/// Writes `size` clients, as many tokens, and the Credentials of all. Returns every hundredth token.
pub async fn seed(
    cluster: &Cluster,
    platform: &str,
    key: &MacKey,
    size: usize,
) -> Vec<SecretString> {
    let mut maker = Maker {
        platform,
        key,
        entropy: SeededEntropy::new(1),
        now: now(),
    };
    let mut etcd = Etcd::new(cluster);
    let mut sample = Vec::new();
    for number in 0..size {
        let (client, token) = (Uuid::new_v4().to_string(), Uuid::new_v4().to_string());
        etcd.put(Kind::OAuthClient, maker.client(number, &client))
            .await;
        etcd.put(Kind::ServiceAccessToken, maker.token(number, &token))
            .await;
        let kind = OwnerKind::OAuthClient;
        let (credential, _) = maker.credential(number, kind, &client, &client);
        etcd.put(Kind::Credential, credential).await;
        let kind = OwnerKind::ServiceAccessToken;
        let (credential, secret) = maker.credential(number, kind, &token, &client);
        etcd.put(Kind::Credential, credential).await;
        if number % 100 == 0 {
            sample.push(secret);
        }
    }
    etcd.flush().await;
    sample
}

/// The namespace of a client.
fn namespace(number: usize) -> String {
    format!("seeded-{}", number / TEAM)
}

struct Maker<'a> {
    platform: &'a str,
    key: &'a MacKey,
    entropy: SeededEntropy,
    now: Timestamp,
}

impl Maker<'_> {
    fn client(&self, number: usize, uid: &str) -> Value {
        let name = format!("worker-{number}");
        json!({
            "metadata": self.metadata(&namespace(number), &name, uid),
            "spec": {
                "identityRef": {"name": "main", "namespace": self.platform},
                "displayName": "A worker", "type": "Confidential", "disabled": false,
                "grantTypes": ["ClientCredentials"], "scopes": ["read"],
                "systemUser": {"name": name}, "referenceTokens": "AdministratorsOnly",
            },
            "status": self.status(&format!("{name}-client")),
        })
    }

    fn token(&self, number: usize, uid: &str) -> Value {
        let name = format!("worker-{number}");
        json!({
            "metadata": self.metadata(&namespace(number), &name, uid),
            "spec": {
                "clientRef": {"name": name}, "scopes": ["read"], "lifetime": "720h",
                "neverExpires": false, "revoked": false,
            },
            "status": self.status(&format!("{name}-token")),
        })
    }

    fn credential(
        &mut self,
        number: usize,
        kind: OwnerKind,
        uid: &str,
        client_uid: &str,
    ) -> (Value, SecretString) {
        let (namespace, name) = (namespace(number), format!("worker-{number}"));
        let (sort, principal, scopes) = match kind {
            OwnerKind::OAuthClient => (
                reference::Kind::ClientSecret,
                format!("{namespace}.{name}"),
                vec![],
            ),
            OwnerKind::ServiceAccessToken => (
                reference::Kind::ServiceAccessToken,
                format!("{namespace}:{name}"),
                vec!["read".to_owned()],
            ),
        };
        let prefix = "sym".parse().unwrap();
        let minted = reference::mint(&prefix, sort, &mut self.entropy);
        let entry = CredentialEntry {
            epoch: 1,
            token_id: minted.id.to_string(),
            hash: minted.hash.to_string(),
            client: CredentialClient {
                name: name.clone(),
                uid: client_uid.to_owned(),
            },
            principal,
            scopes,
            issued_at: Moment(self.now),
            expires_at: Some(Moment(self.now + SignedDuration::from_hours(720))),
            not_after: None,
            nonce: None,
            cause: Cause::Initial,
            mac: String::new(),
        };
        let owner = CredentialOwner {
            kind,
            namespace,
            name,
            uid: uid.to_owned(),
        };
        let spec = CredentialSpec {
            identity: LocalRef {
                name: "main".to_owned(),
            },
            owner,
            high: 1,
            base: None,
            tokens: vec![entry],
            memory: CredentialMemory::default(),
        };
        let mut credential = Credential::new(uid, spec);
        credential.metadata.namespace = Some(self.platform.to_owned());
        let seal = sealed(&credential, &credential.spec.tokens[0], &minted.hash)
            .map(|sealed| mac::seal(self.key, &sealed).to_string());
        credential.spec.tokens[0].mac = seal.unwrap();
        let mut raw = serde_json::to_value(&credential).unwrap();
        raw["metadata"] = self.metadata(self.platform, uid, &Uuid::new_v4().to_string());
        (raw, minted.token)
    }

    /// Metadata with the entries of two field managers, as real objects have.
    fn metadata(&self, namespace: &str, name: &str, uid: &str) -> Value {
        let time = self.now.to_string();
        let fields = json!({"f:spec": {"f:identityRef": {}, "f:grantTypes": {}, "f:scopes": {}, "f:systemUser": {}, "f:displayName": {}}});
        let status = json!({"f:status": {"f:clientId": {}, "f:conditions": {"k:{\"type\":\"Ready\"}": {".": {}, "f:type": {}, "f:status": {}, "f:reason": {}, "f:message": {}}}}});
        json!({
            "name": name, "namespace": namespace, "uid": uid, "generation": 1, "creationTimestamp": time,
            "managedFields": [
                {"manager": "kubectl", "operation": "Apply", "apiVersion": "symbolon.dev/v1alpha1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": fields},
                {"manager": "symbolon", "operation": "Update", "subresource": "status", "apiVersion": "symbolon.dev/v1alpha1", "time": time, "fieldsType": "FieldsV1", "fieldsV1": status},
            ],
        })
    }

    fn status(&self, secret: &str) -> Value {
        let time = self.now.to_string();
        let conditions = ["Accepted", "Granted", "Issued", "Ready"].map(|kind| {
            json!({"type": kind, "status": "True", "reason": "Ready", "message": "the Secret holds it", "observedGeneration": 1, "lastTransitionTime": time})
        });
        json!({"observedGeneration": 1, "secretName": secret, "issuer": "https://id.example.com/id", "conditions": conditions})
    }
}

/// The etcd of the API server.
struct Etcd {
    http: reqwest::Client,
    puts: Vec<Value>,
}

impl Etcd {
    fn new(cluster: &Cluster) -> Self {
        let socket = cluster
            .kubeconfig_path()
            .parent()
            .unwrap()
            .join("etcd.sock");
        Self {
            http: reqwest::Client::builder()
                .unix_socket(socket)
                .build()
                .unwrap(),
            puts: Vec::new(),
        }
    }

    async fn put(&mut self, kind: Kind, mut object: Value) {
        object["apiVersion"] = json!("symbolon.dev/v1alpha1");
        object["kind"] = json!(kind.as_str());
        let text = |field: &str| object["metadata"][field].as_str().unwrap().to_owned();
        let key = format!(
            "/registry/symbolon.dev/{}/{}/{}",
            kind.plural(),
            text("namespace"),
            text("name")
        );
        let value = STANDARD.encode(serde_json::to_vec(&object).unwrap());
        self.puts
            .push(json!({"requestPut": {"key": STANDARD.encode(key), "value": value}}));
        if self.puts.len() == BATCH {
            self.flush().await;
        }
    }

    async fn flush(&mut self) {
        let body = json!({"success": std::mem::take(&mut self.puts)});
        let sent = self
            .http
            .post("http://etcd/v3/kv/txn")
            .json(&body)
            .send()
            .await;
        sent.unwrap().error_for_status().unwrap();
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark reads the clock")]
fn now() -> Timestamp {
    Timestamp::from_second(Timestamp::now().as_second()).unwrap()
}
