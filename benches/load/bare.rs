//! The bare limit: the minimum that a server with the same axum, hyper, tokio and allocator must do for the same
//! response. It reads the same request, and writes the same headers and the same number of bytes. If Symbolon signs a
//! token, it signs a token of the same size with a key in memory. It checks, looks up, logs and counts nothing.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256,
    RSA_PSS_SHA256, RsaEncoding, RsaKeyPair,
};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use axum::routing::any;
use axum::serve::ListenerExt as _;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use symbolon::tokens::Algorithm;

/// A path and the response that Symbolon gave.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    pub path: String,
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub answer: Answer,
}

/// The contents of the body, in order.
pub type Answer = Vec<Piece>;

/// A part of a body.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Piece {
    /// A constant text.
    Text(String),
    /// A new JWT.
    Jwt {
        algorithm: String,
        header: String,
        payload: Vec<u8>,
    },
}

/// Serves the routes in a file until the process is killed.
pub async fn serve(at: SocketAddr, routes: &Path) -> anyhow::Result<()> {
    let routes: Vec<Route> = serde_json::from_slice(&std::fs::read(routes)?)?;
    let mut router = Router::new();
    for route in routes {
        let path = route.path.clone();
        let held = Arc::new(Held::new(route)?);
        // `Bytes` reads the whole body.
        let handler = move |body: Bytes| async move {
            drop(std::hint::black_box(body));
            held.answer()
        };
        router = router.route(&path, any(handler));
    }
    let listener = tokio::net::TcpListener::bind(at).await?;
    let listener = listener.tap_io(|socket| {
        // As the server does. If this fails, the socket fails soon anyway.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, router).await?;
    Ok(())
}

/// An answer that is ready to be given.
pub struct Held {
    status: StatusCode,
    headers: HeaderMap,
    body: HeldBody,
}

enum HeldBody {
    Bytes(Bytes),
    Pieces(Vec<HeldPiece>),
}

enum HeldPiece {
    Text(String),
    Jwt {
        signer: Signer,
        header: String,
        payload: Vec<u8>,
    },
}

enum Signer {
    Rsa(RsaKeyPair, &'static dyn RsaEncoding),
    Ecdsa(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

impl Held {
    pub fn new(route: Route) -> anyhow::Result<Self> {
        let mut headers = HeaderMap::new();
        for (name, value) in &route.headers {
            headers.append(HeaderName::try_from(name)?, HeaderValue::from_str(value)?);
        }
        let body = match &*route.answer {
            [] => HeldBody::Bytes(Bytes::new()),
            [Piece::Text(text)] => HeldBody::Bytes(text.clone().into()),
            _ => {
                let pieces = route.answer.into_iter().map(HeldPiece::new);
                HeldBody::Pieces(pieces.collect::<Result<_, _>>()?)
            }
        };
        Ok(Self {
            status: StatusCode::from_u16(route.status)?,
            headers,
            body,
        })
    }

    pub fn answer(&self) -> Response {
        let mut response = Response::new(self.body());
        *response.status_mut() = self.status;
        response.headers_mut().clone_from(&self.headers);
        response
    }

    fn body(&self) -> Body {
        match &self.body {
            HeldBody::Bytes(bytes) => bytes.clone().into(),
            HeldBody::Pieces(pieces) => {
                let mut text = String::with_capacity(4096);
                for piece in pieces {
                    piece.write(&mut text);
                }
                text.into()
            }
        }
    }
}

impl HeldPiece {
    fn new(piece: Piece) -> anyhow::Result<Self> {
        Ok(match piece {
            Piece::Text(text) => Self::Text(text),
            Piece::Jwt {
                algorithm,
                header,
                payload,
            } => Self::Jwt {
                signer: Signer::new(algorithm.parse()?)?,
                header,
                payload,
            },
        })
    }

    fn write(&self, text: &mut String) {
        match self {
            Self::Text(constant) => text.push_str(constant),
            Self::Jwt {
                signer,
                header,
                payload,
            } => {
                let token = text.len();
                text.push_str(header);
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(payload, text);
                let mut signature = [0; 256];
                let signature = signer.sign(&text.as_bytes()[token..], &mut signature);
                text.push('.');
                URL_SAFE_NO_PAD.encode_string(signature, text);
            }
        }
    }
}

impl Signer {
    fn new(algorithm: Algorithm) -> anyhow::Result<Self> {
        Ok(match algorithm {
            Algorithm::RS256 => {
                Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?, &RSA_PKCS1_SHA256)
            }
            Algorithm::PS256 => Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048)?, &RSA_PSS_SHA256),
            Algorithm::ES256 => {
                Self::Ecdsa(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?)
            }
            Algorithm::EdDSA => {
                Self::Ed25519(Ed25519KeyPair::generate().ok().context("an Ed25519 key")?)
            }
        })
    }

    fn sign<'b>(&self, message: &[u8], buffer: &'b mut [u8; 256]) -> &'b [u8] {
        let random = SystemRandom::new();
        let length = match self {
            Self::Rsa(key, encoding) => {
                key.sign(*encoding, &random, message, buffer)
                    .expect("a signature");
                buffer.len()
            }
            Self::Ecdsa(key) => copy(
                key.sign(&random, message).expect("a signature").as_ref(),
                buffer,
            ),
            Self::Ed25519(key) => copy(key.sign(message).as_ref(), buffer),
        };
        &buffer[..length]
    }
}

fn copy(signature: &[u8], buffer: &mut [u8]) -> usize {
    buffer[..signature.len()].copy_from_slice(signature);
    signature.len()
}
