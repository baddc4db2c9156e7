//! An issuer, and the tokens that every verifier is asked about.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use serde_json::{Value, json};
use symbolon::keys::{Algorithm, KeyRing, KeySet};
use symbolon::tokens::jwt::TokenType;

use crate::support::{Client, Dev, Folder, changed, recipe};
use crate::{AUDIENCE, SCOPE};

/// Tokens that an API with the audience [`AUDIENCE`] may accept, with their subjects. Which of them a verifier accepts
/// depends on how it verifies; it must refuse all others.
const GOOD: [(&str, &str); 4] = [
    ("access_token", "shop.rs256"),
    // The same with `typ: JWT`.
    ("access_token_of_type_jwt", "shop.rs256"),
    // Of the client in the recipe for Spring.
    ("access_token_of_the_recipe", "shop.spring"),
    ("service_token", "shop:rs256"),
];

/// A server in dev mode and its tokens.
pub(crate) struct World {
    pub(crate) folder: Folder,
    pub(crate) dev: Dev,
    /// Tokens by name.
    pub(crate) tokens: BTreeMap<String, String>,
    shop: Client,
    api: Client,
}

impl World {
    /// Starts a server, and creates all tokens.
    pub(crate) fn start() -> Self {
        let folder = Folder::copy_of("tests/clients/manifests");
        folder.write("spring.yaml", &spring_client());
        let dev = Dev::start(&folder);
        let client = |namespace: &str, name: &str| {
            Client::of(&folder.secret(namespace, &format!("{name}-client"), "client-secret"))
        };
        let (shop, spring) = (client("shop", "rs256"), client("shop", "spring"));
        let api = client("platform", "api");
        let (token, typed) = (shop.token(), spring.token());
        assert_eq!(header(&token)["typ"], "at+jwt");
        assert_eq!(header(&typed)["typ"], "JWT");
        let mut tokens = forged(&folder, &token);
        let service = folder.secret("shop", "report-token", "token")["token"].clone();
        tokens.extend([
            ("access_token".to_owned(), token),
            ("access_token_of_the_recipe".to_owned(), typed),
            ("service_token".to_owned(), service),
        ]);
        Self {
            folder,
            dev,
            tokens,
            shop,
            api,
        }
    }

    /// The variables that the recipes use.
    pub(crate) fn environment(&self) -> [(&'static str, String); 4] {
        [
            ("ISSUER", self.dev.issuer.clone()),
            ("AUDIENCE", AUDIENCE.to_owned()),
            ("CLIENT_ID", self.api.id.clone()),
            ("CLIENT_SECRET", self.api.secret.clone()),
        ]
    }

    /// Revokes the service token.
    pub(crate) fn revoke(&self) {
        assert_eq!(self.shop.revoke(&self.tokens["service_token"]), 200);
    }
}

/// Checks that a verifier accepts exactly these good tokens. `subject` returns the subject as which it accepts a token,
/// or `None` if it refuses the token.
pub(crate) fn judge(world: &World, good: &[&str], subject: impl Fn(&str, &str) -> Option<String>) {
    let said: BTreeMap<&str, Option<String>> = world
        .tokens
        .iter()
        .map(|(name, token)| (name.as_str(), subject(name, token)))
        .collect();
    let expected: BTreeMap<&str, Option<String>> = world
        .tokens
        .keys()
        .map(|name| {
            let known = GOOD.iter().find(|(known, _)| known == name);
            let known = known.filter(|(known, _)| good.contains(known));
            (
                name.as_str(),
                known.map(|(_, subject)| (*subject).to_owned()),
            )
        })
        .collect();
    assert!(
        expected.values().flatten().count() == good.len(),
        "{good:?}"
    );
    assert_eq!(said, expected);
}

/// The subject of a good token; `?` for any other.
pub(crate) fn subject_of(name: &str) -> String {
    let known = GOOD.iter().find(|(known, _)| *known == name);
    known.map_or("?", |(_, subject)| subject).to_owned()
}

/// Variants of a good token, most of them signed with the issuer's own key.
fn forged(folder: &Folder, token: &str) -> BTreeMap<String, String> {
    let parts: Vec<&str> = token.split('.').collect();
    let claims = decoded(parts[1]);
    let issued = claims["iat"].as_i64().unwrap();
    let keys = &folder.signing_keys("platform", "main")["keyset.json"];
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let ring = KeyRing::new(&keys, Timestamp::from_second(issued).unwrap()).unwrap();
    let sign = |typ: TokenType, changes: Value| {
        let json = changed(&claims, changes).to_string();
        ring.sign(Algorithm::RS256, typ, json.as_bytes()).unwrap()
    };
    let at_jwt = |changes| sign(TokenType::AtJwt, changes);
    let jwt = |changes| sign(TokenType::Jwt, changes);
    let hour = 3600;
    let unsigned = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"at+jwt"}"#);
    let changed = if parts[2].as_bytes()[10] == b'A' {
        "B"
    } else {
        "A"
    };
    let (start, end) = (&parts[2][..10], &parts[2][11..]);
    let own = json!({"client_id": null, "client_uid": null, "principal_kind": null, "scope": null, "nonce": "n"});
    let with = |more: Value| {
        let mut all = own.as_object().unwrap().clone();
        all.extend(more.as_object().unwrap().clone());
        Value::Object(all)
    };
    let events = json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    let past = json!({"iat": issued - 2 * hour, "nbf": issued - 2 * hour, "exp": issued - hour});
    let future = json!({"nbf": issued + hour, "exp": issued + 2 * hour});
    let all = [
        ("access_token_of_type_jwt", jwt(json!({}))),
        ("expired", at_jwt(past.clone())),
        ("expired_of_type_jwt", jwt(past)),
        ("not_yet_valid", at_jwt(future.clone())),
        ("not_yet_valid_of_type_jwt", jwt(future)),
        (
            "other_audience",
            at_jwt(json!({"aud": "https://other.example.com"})),
        ),
        (
            "other_audience_of_type_jwt",
            jwt(json!({"aud": "https://other.example.com"})),
        ),
        (
            "other_issuer",
            at_jwt(json!({"iss": "https://other.example.com/id"})),
        ),
        (
            "other_issuer_of_type_jwt",
            jwt(json!({"iss": "https://other.example.com/id"})),
        ),
        (
            "other_signature",
            format!("{}.{}.{start}{changed}{end}", parts[0], parts[1]),
        ),
        ("unsigned", format!("{unsigned}.{}.", parts[1])),
        ("id_token", jwt(with(json!({"aud": "shop.rs256"})))),
        ("id_token_for_the_api", jwt(with(json!({})))),
        ("logout_token", jwt(with(json!({"events": events})))),
        ("garbage", "symsat_garbage".to_owned()),
    ];
    all.map(|(name, token)| (name.to_owned(), token)).into()
}

fn header(token: &str) -> Value {
    decoded(token.split('.').next().unwrap())
}

fn decoded(part: &str) -> Value {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// A client with the fields of the recipe for Spring.
fn spring_client() -> String {
    let fields = recipe("spring-client");
    let fields = fields.strip_prefix("spec:\n").unwrap();
    format!(
        "apiVersion: symbolon.dev/v1alpha1\n\
         kind: OAuthClient\n\
         metadata: {{name: spring, namespace: shop}}\n\
         spec:\n  \
         identityRef: {{name: main, namespace: platform}}\n  \
         grantTypes: [ClientCredentials]\n  \
         scopes: [{SCOPE}]\n{fields}"
    )
}
