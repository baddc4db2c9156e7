//! Which of the tokens that the Identity's own keys sign are access tokens: the claims decide, not the `typ` of the
//! header (RFC 8725 section 3.12). ID tokens and logout tokens may have the type `JWT` too.

use rstest::rstest;
use serde_json::json;

use super::*;
use crate::keys::Algorithm;
use crate::tokens::jwt::TokenType;

const CHECK: &str = "/id/connect/checktoken/api";

/// What the endpoints say about a token.
#[derive(Debug, PartialEq)]
struct Said {
    introspected: bool,
    passed: bool,
    revocation: u16,
}

const ACCESS_TOKEN: Said = Said {
    introspected: true,
    passed: true,
    // A JWT cannot be revoked.
    revocation: 400,
};
const NOTHING: Said = Said {
    introspected: false,
    passed: false,
    revocation: 200,
};

struct Asked {
    fixture: Fixture,
    api: String,
    shop: String,
    /// The claims of an access token.
    claims: Value,
}

impl Asked {
    async fn new() -> Self {
        let mut fixture = Fixture::new();
        let (api, shop) = (fixture.client("platform", "api"), fixture.shop());
        let token = fixture.access_token(&shop, "&scope=orders.read").await;
        let claims = fixture.claims(&token);
        Self {
            fixture,
            api,
            shop,
            claims,
        }
    }

    fn sign(&self, typ: TokenType, claims: &Value) -> String {
        let snapshot = self.fixture.app.publisher().current();
        let signed = snapshot
            .ring()
            .sign(Algorithm::RS256, typ, claims.to_string().as_bytes());
        signed.unwrap()
    }

    async fn about(&self, token: &str) -> Said {
        let active = self.fixture.introspect(&self.api, token).await;
        let request = Request::get(CHECK).header("authorization", format!("Bearer {token}"));
        let checked = self
            .fixture
            .send(request.body(Body::empty()).unwrap())
            .await;
        assert!(
            checked.status.is_success() || checked.status == 401,
            "{checked}"
        );
        let revoked = format!("token={token}");
        let revoked = self.fixture.post(REVOKE, &self.shop, &revoked).await;
        Said {
            introspected: active["active"] == true,
            passed: checked.status.is_success(),
            revocation: revoked.status.as_u16(),
        }
    }
}

#[rstest]
#[tokio::test]
async fn an_access_token_is_one_with_either_type(
    #[values(TokenType::AtJwt, TokenType::Jwt)] typ: TokenType,
) {
    let asked = Asked::new().await;
    let token = asked.sign(typ, &asked.claims);
    assert_eq!(asked.about(&token).await, ACCESS_TOKEN);
}

/// What another kind of token adds to the claims of an access token, and what it lacks.
#[rstest]
#[case::id_token(json!({"auth_time": 1, "sid": "s"}), &["client_uid", "principal_kind", "jti", "nbf", "scope", "client_id"])]
#[case::id_token_with_all_registered_claims(json!({"auth_time": 1, "sid": "s"}), &["client_uid", "principal_kind"])]
#[case::id_token_that_tells_the_client(json!({}), &["principal_kind"])]
#[case::id_token_that_tells_the_kind(json!({}), &["client_uid"])]
#[case::id_token_of_a_code_flow(json!({"nonce": "n"}), &[])]
#[case::id_token_beside_an_access_token(json!({"at_hash": "h"}), &[])]
#[case::id_token_beside_a_code(json!({"c_hash": "h"}), &[])]
#[case::id_token_for_another_party(json!({"azp": "blue.shop"}), &[])]
#[case::logout_token(json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}, "sid": "s"}), &[])]
#[case::introspection_response(json!({"token_introspection": {"active": true}}), &[])]
#[case::dpop_proof(json!({"htm": "GET", "htu": "https://api.example.com/"}), &[])]
#[tokio::test]
async fn another_kind_of_token_is_no_access_token_whatever_its_type(
    #[case] adds: Value,
    #[case] lacks: &[&str],
    #[values(TokenType::AtJwt, TokenType::Jwt)] typ: TokenType,
) {
    let asked = Asked::new().await;
    let mut claims = asked.claims.clone();
    let claims_of = claims.as_object_mut().unwrap();
    claims_of.extend(adds.as_object().unwrap().clone());
    for claim in lacks {
        claims_of.remove(*claim).unwrap();
    }
    let token = asked.sign(typ, &claims);
    assert_eq!(asked.about(&token).await, NOTHING, "{claims}");
}

#[tokio::test]
async fn a_token_stays_valid_when_its_client_changes_the_type() {
    let mut asked = Asked::new().await;
    let token = asked.sign(TokenType::AtJwt, &asked.claims);
    let shop = QUICKSTART.replace(
        "  systemUser:",
        "  tokens: {accessTokenType: JWT}\n  systemUser:",
    );
    asked.fixture.apply(&shop);
    assert_eq!(asked.about(&token).await, ACCESS_TOKEN);
    let new = asked.fixture.access_token(&asked.shop, "").await;
    let header = jsonwebtoken::decode_header(&new).unwrap();
    assert_eq!(header.typ.as_deref(), Some("JWT"));
    assert_eq!(asked.about(&new).await, ACCESS_TOKEN);
}
