//! A directory of any size with all its credentials: the platform of `platform.yaml`, and teams with a hundred clients
//! and as many ServiceAccessTokens each. The library's own rules build it from raw objects.

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};
use symbolon::directory::{
    Change, Desired, Directory, Lifetime, ObjectKey, SecretKind, Settings, Standing, sealed,
};
use symbolon::resources::{
    Cause, Credential, CredentialClient, CredentialEntry, CredentialMemory, CredentialSpec, Kind,
    LocalRef, Moment,
};
use symbolon::tokens::{MacKey, SecretString, SeededEntropy, TokenHash, mac, reference};

/// The platform's manifests. `ISSUER` is the placeholder of the issuer.
pub const PLATFORM: &str = include_str!("platform.yaml");
/// The manifests of an Identity with people, without Users. `ISSUER` is the placeholder of the issuer.
const PEOPLE: &str = include_str!("people.yaml");
/// The mac key, with which everything is issued.
pub const KEY: [u8; 32] = [7; 32];
/// The number of clients in a namespace.
const TEAM: usize = 100;

/// A directory and the credentials that it accepts.
pub struct Population {
    pub directory: Directory,
    pub identity: ObjectKey,
    /// The client of the API, which may introspect all tokens.
    pub api: IssuedSecret,
    /// One client for each algorithm, with the algorithm's name in lower case.
    pub signers: Vec<IssuedSecret>,
    /// The teams' client secrets, as many as requested.
    pub clients: Vec<IssuedSecret>,
    /// The service access tokens, as many as requested.
    pub tokens: Vec<SecretString>,
}

/// The client id and secret of a client.
pub struct IssuedSecret {
    pub client_id: String,
    pub secret: SecretString,
}

/// A directory with people.
pub struct People {
    pub directory: Directory,
    pub identity: ObjectKey,
    /// The secret of the confidential application.
    pub confidential: IssuedSecret,
}

impl People {
    /// Creates the applications, and `count` Users named `person-0` and so on.
    pub fn new(issuer: &str, count: usize, now: Timestamp) -> Self {
        let mut maker = Maker::new(now);
        maker.apply_all(&PEOPLE.replace("ISSUER", issuer));
        for number in 0..count {
            maker.apply(user(number));
        }
        Self {
            confidential: maker.client_secret(&ObjectKey::new("apps", "confidential")),
            directory: maker.directory,
            identity: ObjectKey::new("platform", "main"),
        }
    }
}

/// A User.
fn user(number: usize) -> Value {
    let name = format!("person-{number}");
    json!({
        "apiVersion": "symbolon.dev/v1alpha1",
        "kind": "User",
        "metadata": {"name": name, "namespace": "platform"},
        "spec": {
            "identityRef": {"name": "main"},
            "displayName": format!("Person {number}"),
            "email": format!("{name}@example.com"),
            "groups": ["staff"],
        },
    })
}

impl Population {
    /// Creates the platform, and `size` clients with a token each.
    pub fn new(issuer: &str, size: usize, now: Timestamp) -> Self {
        let mut maker = Maker::new(now);
        maker.apply_all(&PLATFORM.replace("ISSUER", issuer));
        let platform = |name| ObjectKey::new("platform", name);
        let api = maker.client_secret(&platform("api"));
        let signers = ["rs256", "ps256", "es256", "eddsa"]
            .map(|name| maker.client_secret(&platform(name)))
            .into();
        let (mut clients, mut tokens) = (Vec::new(), Vec::new());
        for number in 0..size {
            let key = team_key(number);
            maker.apply(client(&key));
            maker.apply(service_token(&key));
            clients.push(maker.client_secret(&key));
            tokens.push(maker.service_token(&key));
        }
        Self {
            directory: maker.directory,
            identity: platform("main"),
            api,
            signers,
            clients,
            tokens,
        }
    }
}

/// The name of the client and of the token with this number.
pub fn team_key(number: usize) -> ObjectKey {
    ObjectKey::new(
        &format!("team-{}", number / TEAM),
        &format!("worker-{}", number % TEAM),
    )
}

/// A client without the fields that the API server adds.
pub fn client(key: &ObjectKey) -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1",
        "kind": "OAuthClient",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace},
        "spec": {
            "identityRef": {"name": "main", "namespace": "platform"},
            "displayName": "A worker",
            "grantTypes": ["ClientCredentials"],
            "scopes": ["orders.read", "orders.write"],
            "systemUser": {"name": &*key.name},
            "referenceTokens": "AdministratorsOnly",
        },
    })
}

/// A ServiceAccessToken of the client with the same name.
pub fn service_token(key: &ObjectKey) -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1",
        "kind": "ServiceAccessToken",
        "metadata": {"name": &*key.name, "namespace": &*key.namespace},
        "spec": {
            "clientRef": {"name": &*key.name},
            "scopes": ["orders.read"],
            "lifetime": "720h",
        },
    })
}

/// Adds what the API server adds to an object: uid, creation time, generation.
pub fn created(mut raw: Value, at: Timestamp) -> Value {
    let text = |field: &str| {
        raw["metadata"][field]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let kind = raw["kind"].as_str().unwrap_or_default().to_owned();
    let name = format!("{kind}/{}/{}", text("namespace"), text("name"));
    // As long as a real uid, and always the same for the same object.
    let uid = TokenHash::of(&name).to_string();
    raw["metadata"]["uid"] = json!(format!(
        "{}-{}-{}-{}-{}",
        &uid[..8],
        &uid[8..12],
        &uid[12..16],
        &uid[16..20],
        &uid[20..32]
    ));
    raw["metadata"]["creationTimestamp"] = json!(at.to_string());
    raw["metadata"]["generation"] = json!(1);
    raw
}

struct Maker {
    directory: Directory,
    key: MacKey,
    entropy: SeededEntropy,
    created: Timestamp,
    now: Timestamp,
}

impl Maker {
    fn new(now: Timestamp) -> Self {
        Self {
            directory: Directory::new(Settings::default()),
            key: MacKey::from_bytes(&KEY).expect("32 bytes"),
            entropy: SeededEntropy::new(1),
            created: now - SignedDuration::from_hours(1),
            now,
        }
    }

    fn apply_all(&mut self, manifests: &str) {
        for document in serde_yaml::Deserializer::from_str(manifests) {
            self.apply(Value::deserialize(document).expect("our own manifests"));
        }
    }

    fn apply(&mut self, raw: Value) {
        let raw = created(raw, self.created);
        let kind = Kind::from_name(raw["kind"].as_str().unwrap_or_default()).expect("our kind");
        let change = Change::object(kind, &raw, self.directory.settings()).expect("an object");
        self.directory.apply(change);
    }

    fn client_secret(&mut self, key: &ObjectKey) -> IssuedSecret {
        let desired = wanted(self.directory.client_secret_standing(key, self.now));
        IssuedSecret {
            client_id: desired.client.client_id.clone(),
            secret: self.issue(*desired),
        }
    }

    fn service_token(&mut self, key: &ObjectKey) -> SecretString {
        let desired = wanted(self.directory.service_token_standing(key, self.now));
        self.issue(*desired)
    }

    /// Issues, seals and records a credential.
    fn issue(&mut self, desired: Desired) -> SecretString {
        let kind = match desired.kind {
            SecretKind::ClientSecret => reference::Kind::ClientSecret,
            SecretKind::ServiceToken => reference::Kind::ServiceAccessToken,
        };
        let minted = reference::mint(&desired.prefix, kind, &mut self.entropy);
        let entry = entry(&desired, &minted, self.now);
        let mut credential = Credential::new(
            &desired.owner.uid,
            CredentialSpec {
                identity: LocalRef {
                    name: desired.identity.name.to_string(),
                },
                owner: desired.owner.clone(),
                high: 1,
                base: None,
                tokens: vec![entry],
                memory: CredentialMemory::default(),
            },
        );
        credential.metadata.namespace = Some(desired.identity.namespace.to_string());
        credential.metadata.uid = Some(desired.owner.uid.clone());
        let seal = sealed(&credential, &credential.spec.tokens[0], &minted.hash)
            .map(|sealed| mac::seal(&self.key, &sealed).to_string());
        credential.spec.tokens[0].mac = seal.expect("a sound entry");
        let change = Change::credential(&credential, Some(&self.key)).expect("a sound Credential");
        self.directory.apply(change);
        minted.token
    }
}

fn wanted(standing: Standing) -> Box<Desired> {
    match standing {
        Standing::Wanted(desired) => desired,
        other => panic!("{other:?}"),
    }
}

fn entry(desired: &Desired, minted: &reference::Minted, now: Timestamp) -> CredentialEntry {
    CredentialEntry {
        epoch: 1,
        token_id: minted.id.to_string(),
        hash: minted.hash.to_string(),
        client: CredentialClient {
            name: desired.client.name.clone(),
            uid: desired.client.uid.clone(),
        },
        principal: desired.principal.clone(),
        scopes: desired.scopes.clone(),
        issued_at: Moment(now),
        expires_at: match desired.lifetime {
            Lifetime::For(lifetime) => Some(Moment(now + lifetime)),
            Lifetime::Until(end) => Some(Moment(end)),
            Lifetime::Never => None,
        },
        not_after: None,
        nonce: None,
        cause: Cause::Initial,
        mac: String::new(),
    }
}
