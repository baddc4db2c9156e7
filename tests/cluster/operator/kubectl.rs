//! The recipe of docs/verifiers.md for kube-apiserver and people: a person signs in in a browser, and `kubectl` acts as
//! the person.

use std::{
    collections::BTreeMap, fs, net::TcpListener, path::Path, process::Command, process::Output,
};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Error};
use serde_json::{Value, json};
use symbolon::{
    keys::{Algorithm, KeyRing, KeySet},
    tokens::jwt::{TokenType, UnverifiedJwt},
};

use super::{
    process::Process,
    world::{Running, World},
};
use crate::{
    browser::{Browser, End, Person},
    claims::changed,
    harness::{Cluster, eventually},
    page::recipe,
};

const AUDIENCE: &str = "https://kubernetes.example.com";
const CALLBACK: &str = "http://localhost:8000/";
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const MANIFESTS: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: PLATFORM}
spec:
  issuer: ISSUER
  access:
    clients: {from: List, names: [TEAM]}
    interactiveClients: {from: List, names: [TEAM]}
  storage: {type: SQLite}
  login: {password: Enabled}
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
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: kubectl, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
";

const ALICE: &str = "
apiVersion: symbolon.dev/v1alpha1
kind: User
metadata: {name: alice, namespace: PLATFORM, annotations: {symbolon.dev/enroll: first}}
spec:
  identityRef: {name: main}
  username: alice
  groups: [buyers, 'system:masters']
";

/// The value of a Secret, once it is there.
async fn value(world: &World<'_>, namespace: &str, name: &str, key: &str) -> String {
    let secrets = Api::<Secret>::namespaced(world.client(), namespace);
    eventually(&format!("the Secret {name} has {key}"), async || {
        let secret = secrets.get_opt(name).await.unwrap()?;
        let value = secret.data?.remove(key)?;
        Some(String::from_utf8(value.0).unwrap())
    })
    .await
}

/// The issuer, with its certificate.
struct Issuer {
    url: String,
    certificate: rcgen::Certificate,
    folder: tempfile::TempDir,
}

impl Issuer {
    fn curl(&self) -> Command {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--noproxy", "*", "--cacert"])
            .arg(self.folder.path().join("tls.crt"));
        curl
    }

    /// The status of the userinfo endpoint.
    fn userinfo(&self, access: &str) -> u16 {
        let header = format!("authorization: Bearer {access}");
        let url = format!("{}/connect/userinfo", self.url);
        self.status(&["--header", &header, &url])
    }

    /// The status of the answer to a request of curl.
    fn status(&self, request: &[&str]) -> u16 {
        let answer = self
            .curl()
            .args(["--output", "/dev/null", "--write-out", "%{http_code}"])
            .args(request)
            .output();
        let status = String::from_utf8(answer.unwrap().stdout).unwrap();
        status.parse().unwrap()
    }

    /// Sends a form to the token endpoint.
    fn token(&self, form: &[(&str, &str)], user: Option<&str>) -> Option<Value> {
        let mut curl = self.curl();
        if let Some(user) = user {
            curl.args(["--user", user]);
        }
        for (name, value) in form {
            curl.args(["--data-urlencode", &format!("{name}={value}")]);
        }
        let answer = curl
            .arg(format!("{}/connect/token", self.url))
            .output()
            .expect("curl can be started (on Debian: apt-get install curl)");
        serde_json::from_slice(&answer.stdout).ok()
    }

    /// Sets alice's password, signs her in at a client, and returns the tokens.
    fn sign_in(&self, link: &str, client: &str) -> Value {
        let alice = Person {
            username: "alice".to_owned(),
            password: "correct horse battery staple 7".to_owned(),
        };
        let mut browser = Browser::trusting(&[&self.url], Some(self.certificate.der()));
        let page = browser.open(link).page();
        let form = page.form.clone().unwrap_or_else(|| panic!("{page:?}"));
        let password = alice.password.as_str();
        let fields = [("password", password), ("repeated", password)];
        let done = browser.submit(&form, &fields).page();
        assert_eq!(done.status, 200, "{done:?}");
        let parameters = [
            ("client_id", client),
            ("response_type", "code"),
            ("redirect_uri", CALLBACK),
            ("scope", "openid profile groups offline_access"),
            ("code_challenge", CHALLENGE),
            ("code_challenge_method", "S256"),
        ];
        let url = format!("{}/connect/authorize", self.url);
        let url = reqwest::Url::parse_with_params(&url, parameters).unwrap();
        let End::Left(left) = browser.go(url.as_str(), Some(&alice)).end else {
            panic!("alice stays")
        };
        let mut answer = left.url.query_pairs();
        let (_, code) = answer.find(|(name, _)| name == "code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("client_id", client),
            ("redirect_uri", CALLBACK),
            ("code_verifier", VERIFIER),
            ("code", &*code),
        ];
        self.token(&form, None).unwrap()
    }
}

#[expect(clippy::too_many_lines, reason = "one way of a person, step by step")]
#[tokio::test(flavor = "multi_thread")]
async fn kubectl_acts_as_a_person_who_signed_in_and_with_no_other_token_of_the_person() {
    let cluster = Cluster::private();
    let world = World::empty(&cluster).await;
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap().to_string();
    drop(free);
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("tls.crt"), made.cert.pem()).unwrap();
    let key = made.signing_key.serialize_pem();
    fs::write(folder.path().join("tls.key"), key).unwrap();
    let issuer = Issuer {
        url: format!("https://{address}/id"),
        certificate: made.cert,
        folder,
    };
    let fields = recipe("kube-apiserver-client");
    let manifests = format!("{MANIFESTS}{}", fields.strip_prefix("spec:\n").unwrap());
    let manifests = manifests.replace("ISSUER", &issuer.url);
    world.apply(&manifests.replace("AUDIENCE", AUDIENCE)).await;
    world.apply(ALICE).await;
    let _running = Running::start(&world).await;

    let (identity, namespaces) = (world.identity().to_string(), world.namespaces().join(","));
    let store = format!(
        "sqlite:{}",
        issuer.folder.path().join("people.db").display()
    );
    let arguments = [
        &["serve", "--identity", &identity, "--namespace", &namespaces][..],
        &["--listen", &address, "--health-listen", "127.0.0.1:0"],
        &["--tls-dir", issuer.folder.path().to_str().unwrap()],
        &["--store", &store],
    ];
    let _server = Process::start(&arguments.concat(), cluster.kubeconfig_path());

    let team = world.team.name();
    let (kubectl, backend) = (format!("{team}.kubectl"), format!("{team}.backend"));
    let secret = value(&world, team, "backend-client", "client-secret").await;
    let machine = eventually("the server issues a token", async || {
        let form = [("grant_type", "client_credentials")];
        let answer = issuer.token(&form, Some(&format!("{backend}:{secret}")))?;
        answer["access_token"].as_str().map(str::to_owned)
    })
    .await;
    let link = value(&world, world.platform.name(), "alice-enrollment", "url").await;
    // Machine clients are served before the store is open.
    eventually("the store is open", async || {
        (issuer.status(&[&link]) == 200).then_some(())
    })
    .await;
    // The browser has a runtime of its own.
    let tokens = std::thread::scope(|scope| {
        let browser = scope.spawn(|| issuer.sign_in(&link, &kubectl));
        browser.join().unwrap()
    });
    let text = |name: &str| {
        let text = tokens[name].as_str();
        text.unwrap_or_else(|| panic!("{tokens}")).to_owned()
    };
    let (id_token, access, refresh) = (
        text("id_token"),
        text("access_token"),
        text("refresh_token"),
    );

    let configuration = recipe("kube-apiserver-people")
        .replace(": ISSUER\n", &format!(": {}\n", issuer.url))
        .replace("AUDIENCE", AUDIENCE)
        .replace("CLIENT_ID", &kubectl)
        .replace(
            ": CA\n",
            &format!(": {}\n", json!(issuer.certificate.pem())),
        );
    cluster.authenticate_by(&configuration);
    // The API server reads the issuer's keys after it is ready.
    let user = eventually("the API server takes the ID token", async || {
        cluster.user_of(&id_token).await.ok()
    })
    .await;
    let claims = claims_of(&id_token);
    assert_eq!(user.username.as_deref(), Some("person:alice"));
    assert_eq!(user.uid.as_deref(), claims["sub"].as_str());
    // A group of a person is never a group of the cluster itself.
    let groups = user.groups.unwrap();
    let expected = [
        "person:buyers",
        "person:system:masters",
        "system:authenticated",
    ];
    assert_eq!(groups, expected);
    let user = cluster.user_of(&machine).await.unwrap();
    assert_eq!(user.username.unwrap(), format!("symbolon:{backend}"));

    refuses_other_tokens(&cluster, &world, &claims, &access).await;

    // kubectl has the refresh token alone, and gets ID tokens itself.
    let config = issuer.folder.path().join("kubeconfig");
    fs::copy(cluster.kubeconfig_path(), &config).unwrap();
    let mine = |arguments: &[&str]| {
        let mut command = cluster.kubectl();
        let command = command.env("KUBECONFIG", &config).env("NO_PROXY", "*");
        command.args(arguments).output().unwrap()
    };
    let certificate = issuer.folder.path().join("tls.crt");
    let credentials = credentials(&issuer.url, &kubectl, &refresh, &certificate);
    let credentials: Vec<&str> = credentials.iter().map(String::as_str).collect();
    done(&mine(&credentials));
    done(&mine(&[
        "config",
        "set-context",
        "--current",
        "--user=alice",
    ]));
    let who = done(&mine(&["auth", "whoami", "--output=json"]));
    let who: Value = serde_json::from_str(&who).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "person:alice");

    let list = ["get", "configmaps", "--namespace", team];
    let refused = mine(&list);
    assert!(!refused.status.success(), "{refused:?}");
    let mut bind = cluster.kubectl();
    let bind = bind
        .args(["create", "rolebinding", "buyers", "--clusterrole=view"])
        .args(["--group=person:buyers", "--namespace", team])
        .output();
    done(&bind.unwrap());
    eventually("the binding counts", async || {
        mine(&list).status.success().then_some(())
    })
    .await;
    let secrets = mine(&["get", "secrets", "--namespace", team]);
    assert!(!secrets.status.success(), "{secrets:?}");

    // kubectl refreshes, until the person is disabled.
    forget_id_token(&config);
    done(&mine(&["auth", "whoami"]));
    forget_id_token(&config);
    world.apply(&format!("{ALICE}  disabled: true\n")).await;
    eventually("the server knows", async || {
        (issuer.userinfo(&access) == 401).then_some(())
    })
    .await;
    let refused = mine(&["auth", "whoami"]);
    assert!(!refused.status.success(), "{refused:?}");
}

/// Removes the ID token that kubectl keeps, as if it had expired.
fn forget_id_token(config: &Path) {
    let text = fs::read_to_string(config).unwrap();
    let mut stored: Value = serde_yaml::from_str(&text).unwrap();
    let users = stored["users"].as_array_mut().unwrap();
    let alice = users.iter_mut().find(|it| it["name"] == "alice").unwrap();
    let provider = alice["user"]["auth-provider"]["config"].as_object_mut();
    let kept = provider.unwrap().remove("id-token");
    assert!(kept.is_some(), "{text}");
    fs::write(config, stored.to_string()).unwrap();
}

/// The command of the recipe, which names the certificate of the issuer too.
fn credentials(issuer: &str, client: &str, refresh: &str, certificate: &Path) -> Vec<String> {
    let command = recipe("kubectl-people");
    let command = command.replace("\\\n", " ");
    let command = command.strip_prefix("kubectl ").unwrap();
    let values = BTreeMap::from([
        ("\"$ISSUER\"", issuer),
        ("\"$CLIENT_ID\"", client),
        ("\"$REFRESH_TOKEN\"", refresh),
    ]);
    let mut words: Vec<String> = command
        .split_whitespace()
        .map(|word| {
            let mut word = word.to_owned();
            for (name, value) in &values {
                word = word.replace(name, value);
            }
            word
        })
        .collect();
    words.push(format!(
        "--auth-provider-arg=idp-certificate-authority={}",
        certificate.display()
    ));
    words
}

fn done(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn claims_of(token: &str) -> Value {
    let payload = UnverifiedJwt::parse(token).unwrap().payload;
    serde_json::from_slice(&payload).unwrap()
}

/// Changes the ID token with these `claims`, and signs it with the issuer's own key.
async fn refuses_other_tokens(cluster: &Cluster, world: &World<'_>, claims: &Value, access: &str) {
    let keys = value(world, world.platform.name(), "main-signing", "keyset.json").await;
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let now = claims["iat"].as_i64().unwrap();
    let ring = KeyRing::new(&keys, Timestamp::from_second(now).unwrap()).unwrap();
    let sign = |claims: &Value| {
        let json = claims.to_string();
        let signed = ring.sign(Algorithm::RS256, TokenType::Jwt, json.as_bytes());
        signed.unwrap()
    };
    let access_claims = claims_of(access);
    let event = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for (what, token, is_taken) in [
        ("as it is", sign(claims), true),
        ("the access token", access.to_owned(), false),
        (
            "the access token for the cluster",
            sign(&changed(&access_claims, json!({"aud": AUDIENCE}))),
            false,
        ),
        (
            "an ID token for the audience of machines",
            sign(&changed(claims, json!({"aud": AUDIENCE}))),
            false,
        ),
        (
            "a token of a machine for the client of people",
            sign(&changed(
                claims,
                json!({"principal_kind": "client", "client_id": "x"}),
            )),
            false,
        ),
        (
            "an ID token for another client",
            sign(&changed(claims, json!({"aud": "team.other"}))),
            false,
        ),
        (
            "an expired one",
            sign(&changed(claims, json!({"exp": now - 1}))),
            false,
        ),
        (
            "a logout token",
            sign(&changed(claims, json!({"events": event}))),
            false,
        ),
    ] {
        match cluster.user_of(&token).await {
            Ok(user) => assert!(is_taken, "{what}: {user:?}"),
            Err(Error::Api(status)) => {
                assert!(!is_taken && status.code == 401, "{what}: {status:?}")
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}
