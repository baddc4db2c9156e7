//! The recipe of docs/verifiers.md for kube-apiserver: clients of an Identity are users of the Kubernetes API.

use std::{collections::BTreeMap, net::TcpListener, process::Command};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Error};
use serde_json::{Value, json};
use symbolon::{
    keys::{Algorithm, KeyRing, KeySet},
    resources::Kind,
    tokens::jwt::{TokenType, UnverifiedJwt},
};

use super::{
    process::Process,
    world::{Running, World},
};
use crate::{
    claims::changed,
    harness::{Cluster, eventually},
    page::recipe,
};

const AUDIENCE: &str = "https://kubernetes.example.com";
const MANIFESTS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: ISSUER
  access: {clients: {from: List, names: [TEAM]}}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: cluster, namespace: PLATFORM}
spec:
  identityRef: {name: main}
  audiences: [AUDIENCE]
  allowedNamespaces: {from: List, names: [TEAM]}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: backend, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: [ClientCredentials]
  scopes: [cluster]
";

/// The decoded data of a Secret.
async fn data(world: &World<'_>, namespace: &str, name: &str) -> BTreeMap<String, String> {
    let secrets = Api::<Secret>::namespaced(world.client(), namespace);
    let data = secrets.get(name).await.unwrap().data.unwrap();
    let text = |(key, value): (String, k8s_openapi::ByteString)| {
        (key, String::from_utf8(value.0).unwrap())
    };
    data.into_iter().map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn kube_apiserver_takes_access_tokens_of_clients_and_no_other_tokens() {
    let cluster = Cluster::private();
    let world = World::empty(&cluster).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let issuer = format!("https://{address}/id");
    let manifests = MANIFESTS.replace("ISSUER", &issuer);
    world.apply(&manifests.replace("AUDIENCE", AUDIENCE)).await;
    let _running = Running::start(&world).await;
    world
        .ready(Kind::OAuthClient, "backend", "True", "Ready")
        .await;

    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_pem();
    std::fs::write(folder.path().join("tls.key"), key).unwrap();
    let (identity, namespaces) = (world.identity().to_string(), world.namespaces().join(","));
    let arguments = [
        &["serve", "--identity", &identity, "--namespace", &namespaces][..],
        &["--listen", &address, "--health-listen", "127.0.0.1:0"],
        &["--tls-dir", folder.path().to_str().unwrap()],
    ];
    let _server = Process::start(&arguments.concat(), cluster.kubeconfig_path());
    let secret = data(&world, world.team.name(), "backend-client").await;
    let (id, secret) = (&secret["client-id"], &secret["client-secret"]);
    let token = eventually("the server issues a token", async || {
        let answer = Command::new("curl")
            .args(["--silent", "--noproxy", "*", "--cacert"])
            .arg(folder.path().join("tls.crt"))
            .args(["--user", &format!("{id}:{secret}")])
            .args(["--data", "grant_type=client_credentials"])
            .arg(format!("{issuer}/connect/token"))
            .output()
            .expect("curl can be started (on Debian: apt-get install curl)");
        let answer: Value = serde_json::from_slice(&answer.stdout).ok()?;
        answer["access_token"].as_str().map(str::to_owned)
    })
    .await;

    let configuration = recipe("kube-apiserver")
        .replace(": ISSUER\n", &format!(": {issuer}\n"))
        .replace("[AUDIENCE]", &format!("[{AUDIENCE:?}]"))
        .replace(": CA\n", &format!(": {}\n", json!(made.cert.pem())));
    cluster.authenticate_by(&configuration);
    // The API server reads the issuer's keys after it is ready.
    let user = eventually("the API server takes the token", async || {
        cluster.user_of(&token).await.ok()
    })
    .await;
    assert_eq!(user.username.unwrap(), format!("symbolon:{id}"));
    let groups = user.groups.unwrap();
    assert_eq!(groups, ["symbolon:clients", "system:authenticated"]);

    let keys = data(&world, world.platform.name(), "main-signing").await;
    let keys = KeySet::parse(keys["keyset.json"].as_bytes()).unwrap();
    let payload = UnverifiedJwt::parse(&token).unwrap().payload;
    let claims: Value = serde_json::from_slice(&payload).unwrap();
    let now = claims["iat"].as_i64().unwrap();
    let ring = KeyRing::new(&keys, Timestamp::from_second(now).unwrap()).unwrap();
    for (what, changes, is_taken) in [
        ("with the type JWT", json!({}), true),
        ("expired", json!({"exp": now - 1}), false),
        (
            "for another audience",
            json!({"aud": "https://other.example.com"}),
            false,
        ),
        (
            "of another issuer",
            json!({"iss": "https://other.example.com"}),
            false,
        ),
        ("of a person", json!({"principal_kind": "person"}), false),
        (
            "an ID token",
            json!({"client_id": null, "principal_kind": null, "nonce": "n"}),
            false,
        ),
    ] {
        let json = changed(&claims, changes).to_string();
        let signed = ring.sign(Algorithm::RS256, TokenType::Jwt, json.as_bytes());
        match cluster.user_of(&signed.unwrap()).await {
            Ok(user) => assert!(is_taken, "{what}: {user:?}"),
            Err(Error::Api(status)) => {
                assert!(!is_taken && status.code == 401, "{what}: {status:?}")
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}
