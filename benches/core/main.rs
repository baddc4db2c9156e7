//! Measures the pure modules. Each signature is beside the bare AWS-LC operation, which is its lower limit.
//!
//! Run `cargo bench --bench core`, or with a filter: `cargo bench --bench core -- sign`.

#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a benchmark that cannot run should stop"
)]

mod directory;
#[expect(dead_code, reason = "the benchmark `load` uses all of it")]
#[path = "../population/mod.rs"]
mod population;

use std::sync::{Arc, LazyLock};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use divan::{Bencher, black_box};
use http::Method;
use jiff::Timestamp;
use symbolon::keys::{Algorithm, KeyRecord, KeyRing, KeySet, generate};
use symbolon::telemetry::traces;
use symbolon::tokens::claims::{AccessTokenClaims, Audience, NoOtherKind, PrincipalKind, Scopes};
use symbolon::tokens::jwt::TokenType;
use symbolon::tokens::mac::{self, Sealed, SealedClient, SealedIdentity, SealedOwner};
use symbolon::tokens::reference::{self, Kind, Prefix, TokenHash};
use symbolon::tokens::{MacKey, SeededEntropy, SystemEntropy};

fn main() {
    // Create it before anything is measured.
    LazyLock::force(&RING);
    divan::main();
}

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    let keys = Algorithm::ALL.map(|algorithm| {
        KeyRecord::active_at_once(Arc::new(generate(algorithm).expect("a key")), NOW)
    });
    KeyRing::new(&KeySet::from_records(keys).expect("a set"), NOW).expect("a ring")
});

fn claims() -> AccessTokenClaims {
    AccessTokenClaims {
        iss: "https://id.example.com/id".into(),
        sub: "team.api".into(),
        aud: Audience::Single("https://id.example.com/id/team".into()),
        client_id: "team.api".into(),
        client_uid: "uid-1".into(),
        iat: NOW,
        nbf: NOW,
        exp: NOW,
        jti: "AAAAAAAAAAAAAAAA".into(),
        scope: Scopes::Text(vec!["team:read".into(), "team:write".into()]),
        principal_kind: PrincipalKind::Client,
        client_system_user: Some("team:robot".into()),
        no_other_kind: NoOtherKind,
    }
}

fn json() -> Vec<u8> {
    claims().to_json().expect("JSON")
}

/// The signed part of a token.
fn signing_input(algorithm: Algorithm) -> Vec<u8> {
    let token = RING
        .sign(algorithm, TokenType::AtJwt, &json())
        .expect("a token");
    token
        .rsplit_once('.')
        .expect("three parts")
        .0
        .as_bytes()
        .to_vec()
}

/// Creates, serializes, encodes and signs claims.
#[divan::bench(args = Algorithm::ALL)]
fn sign_access_token(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    bencher.bench(|| {
        let json = black_box(claims()).to_json().expect("JSON");
        RING.sign(algorithm, TokenType::AtJwt, &json)
    });
}

fn sign_bare_rsa(
    bencher: Bencher<'_, '_>,
    algorithm: Algorithm,
    encoding: &'static dyn RsaEncoding,
) {
    let (key, input) = (
        RsaKeyPair::generate(KeySize::Rsa2048).expect("a key"),
        signing_input(algorithm),
    );
    bencher.bench(|| {
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            encoding,
            &SystemRandom::new(),
            black_box(&input),
            &mut signature,
        )
        .map(|()| signature)
    });
}

#[divan::bench]
fn sign_bare_rs256(bencher: Bencher<'_, '_>) {
    sign_bare_rsa(bencher, Algorithm::RS256, &RSA_PKCS1_SHA256);
}

#[divan::bench]
fn sign_bare_ps256(bencher: Bencher<'_, '_>) {
    sign_bare_rsa(bencher, Algorithm::PS256, &RSA_PSS_SHA256);
}

#[divan::bench]
fn sign_bare_es256(bencher: Bencher<'_, '_>) {
    let key = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("a key");
    let input = signing_input(Algorithm::ES256);
    bencher.bench(|| key.sign(&SystemRandom::new(), black_box(&input)));
}

#[divan::bench]
fn sign_bare_eddsa(bencher: Bencher<'_, '_>) {
    let key = Ed25519KeyPair::generate().expect("a key");
    let input = signing_input(Algorithm::EdDSA);
    bencher.bench(|| key.sign(black_box(&input)));
}

#[divan::bench(args = Algorithm::ALL)]
fn verify_access_token(bencher: Bencher<'_, '_>, algorithm: Algorithm) {
    let token = RING
        .sign(algorithm, TokenType::AtJwt, &json())
        .expect("a token");
    bencher.bench(|| RING.verify(black_box(&token)).expect("a good token"));
}

/// The cost of tracing per request if it is off.
#[divan::bench]
fn trace_request_while_off(bencher: Bencher<'_, '_>) {
    bencher.bench_local(|| {
        let span = traces::request("token", black_box(&Method::POST), || black_box(None));
        traces::answered(&span, 200);
    });
}

#[divan::bench]
fn verify_mac(bencher: Bencher<'_, '_>) {
    let key = MacKey::from_bytes(&*MacKey::generate(&mut SystemEntropy)).expect("a key");
    let (hash, scopes) = (
        TokenHash::of("token"),
        ["team:read".to_owned(), "team:write".to_owned()],
    );
    let sealed = Sealed {
        identity: SealedIdentity {
            namespace: "symbolon",
            name: "main",
        },
        owner: SealedOwner {
            kind: "ServiceAccessToken",
            namespace: "team",
            name: "api",
            uid: "0a6c1f1e-6a9b-4f43-9b0e-6b8a3f0d2c11",
        },
        epoch: 3,
        token_id: "AAAAAAAAAAAAAAAA".parse().expect("an id"),
        hash: &hash,
        client: SealedClient {
            name: "api",
            uid: "7d0f6a52-4c53-4d0a-8c27-0f9e7a1b5d22",
        },
        principal: "team:robot",
        scopes: &scopes,
        issued_at: NOW,
        expires_at: Some(NOW),
        not_after: None,
        nonce: None,
        cause: "Scheduled",
    };
    let seal = mac::seal(&key, &sealed);
    bencher.bench(|| mac::verify(&key, black_box(&sealed), black_box(&seal)));
}

#[divan::bench]
fn reference_token_mint(bencher: Bencher<'_, '_>) {
    let prefix = Prefix::default();
    bencher.bench(|| {
        reference::mint(
            black_box(&prefix),
            Kind::ServiceAccessToken,
            &mut SystemEntropy,
        )
    });
}

#[divan::bench]
fn reference_token_parse(bencher: Bencher<'_, '_>) {
    let minted = reference::mint(
        &Prefix::default(),
        Kind::ServiceAccessToken,
        &mut SeededEntropy::new(1),
    );
    let presented = reference::parse(minted.token.expose()).expect("a good token");
    assert_eq!(presented.hash, minted.hash);
    bencher.bench(|| reference::parse(black_box(minted.token.expose())).is_ok());
}

/// A well-formed token with a wrong checksum, which is the most expensive junk.
#[divan::bench]
fn reference_token_refuse_junk(bencher: Bencher<'_, '_>) {
    let junk = format!("symsat_{}", "A".repeat(65));
    bencher.bench(|| reference::parse(black_box(&junk)).is_err());
}
