//! The bare parts of each case, in one server: the request and an answer of the same bytes, as many signatures and
//! hashes, and the same statements through the same driver. It judges, seals, logs and counts nothing.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::Context as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair,
};
use axum::Router;
use axum::body::Bytes;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::serve::ListenerExt as _;
use symbolon::people::grant::MOST_OF_CLIENT;
use symbolon::people::password::{Comparison, Password, Phc};
use symbolon::people::session::MAX_SESSIONS;
use symbolon::tokens::{SystemEntropy, TokenHash, TokenId};

use super::cases::{CASE, Case};
use super::world::{PASSWORD, PEOPLE, Person, Place, seed};
use crate::bare::{Held, Route};
use crate::driver::{Driver, Step, Value};
use crate::population::People;
use crate::served::now;

/// A schema needs as many connections as the store has.
const CONNECTIONS: usize = 4;
const HOUR: i64 = 3_600_000_000;

struct Parts {
    driver: Driver,
    answers: HashMap<Case, Held>,
    now: i64,
    persons: Vec<Person>,
    hash: String,
    at: AtomicUsize,
    codes: Mutex<Vec<Row>>,
    families: Mutex<Vec<Row>>,
    signed: Signed,
}

/// A code or a family with its grant.
#[derive(Clone)]
struct Row {
    id: String,
    hash: Vec<u8>,
    grant: String,
    session: String,
}

impl Row {
    fn new(grant: &str, session: &str) -> Self {
        let id = TokenId::random(&mut SystemEntropy);
        Self {
            hash: TokenHash::of(id.as_str()).as_bytes().to_vec(),
            id: id.to_string(),
            grant: grant.to_owned(),
            session: session.to_owned(),
        }
    }
}

/// A message with a signature to verify, as long as an access token.
struct Signed {
    key: ParsedPublicKey,
    message: Vec<u8>,
    signature: Vec<u8>,
}

impl Signed {
    fn new() -> anyhow::Result<Self> {
        let pair = RsaKeyPair::generate(KeySize::Rsa2048)?;
        let (message, mut signature) = (vec![b'a'; 800], vec![0; 256]);
        let random = SystemRandom::new();
        pair.sign(&RSA_PKCS1_SHA256, &random, &message, &mut signature)?;
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, pair.public_key())?;
        Ok(Self {
            key,
            message,
            signature,
        })
    }
}

/// Serves the bare parts of the routes in a file until the process is killed.
pub async fn serve(at: SocketAddr, place: &Place, routes: &Path) -> anyhow::Result<()> {
    let routes: Vec<Route> = serde_json::from_slice(&std::fs::read(routes)?)?;
    let mut answers = HashMap::new();
    for route in routes {
        let case = Case::named(&route.path).context("a case")?;
        answers.insert(case, Held::new(route)?);
    }
    let issuer = format!("http://{at}/id");
    let people = People::new(&issuer, PEOPLE, now());
    let store = place.open().await?;
    let persons = seed(&store, &issuer, &people, now()).await?;
    let found = store.credentials(&persons[0].owner).await?;
    let hash = found.and_then(|(_, hash)| hash).context("a password")?;
    store.close().await?;
    let driver = match place {
        Place::File(path) => Driver::file(path).await,
        Place::Schema { url, name } => Driver::postgres(url, name, CONNECTIONS).await,
    };
    let parts = Arc::new(Parts {
        driver,
        answers,
        now: now().as_microsecond(),
        persons,
        hash,
        at: AtomicUsize::new(0),
        codes: Mutex::default(),
        families: Mutex::default(),
        signed: Signed::new()?,
    });
    let handler = move |headers: HeaderMap, body: Bytes| {
        let parts = Arc::clone(&parts);
        async move {
            drop(std::hint::black_box(body));
            let case = headers.get(CASE).and_then(|it| it.to_str().ok());
            let case = case.and_then(Case::named).expect("a case");
            parts.answer(case).await
        }
    };
    let listener = tokio::net::TcpListener::bind(at).await?;
    let listener = listener.tap_io(|socket| {
        // As the server does. If this fails, the socket fails soon anyway.
        let _ = socket.set_nodelay(true);
    });
    axum::serve(listener, Router::new().fallback(handler)).await?;
    Ok(())
}

fn null() -> Value {
    Value::Text(None)
}

impl Parts {
    async fn answer(&self, case: Case) -> Response {
        match case {
            Case::Authorize => self.authorize().await,
            Case::Code => self.code().await,
            Case::Rotating => self.rotate().await,
            Case::Stable => {
                let family = self.family();
                self.read(("REFRESH_READ", vec![(&*family.id).into()]))
                    .await;
            }
            Case::UserInfo => {
                let Signed {
                    key,
                    message,
                    signature,
                } = &self.signed;
                let verified = key.verify_sig(message, signature);
                verified.expect("a good signature");
                let family = self.family();
                self.read(("GRANT_READ", vec![(&*family.grant).into()]))
                    .await;
            }
            Case::Page => {}
            Case::Password => self.password().await,
        }
        self.answers[&case].answer()
    }

    fn person(&self) -> &Person {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        &self.persons[at % self.persons.len()]
    }

    /// Returns a family, which stays.
    fn family(&self) -> Row {
        let at = self.at.fetch_add(1, Ordering::Relaxed);
        let families = self.families.lock().expect("the families");
        families[at % families.len()].clone()
    }

    async fn read(&self, step: Step) {
        let name = step.0;
        assert_eq!(self.driver.read(step).await, 1, "{name}");
    }

    async fn authorize(&self) {
        let person = self.person();
        let session = person.session.id.as_str();
        let client = "apps.public";
        let brought = vec![session.into(), client.into(), null()];
        self.read(("AUTHORIZE_READ", brought)).await;
        let grant = TokenId::random(&mut SystemEntropy).to_string();
        let code = Row::new(&grant, session);
        let account = person.session.account.0;
        let soon = self.now + HOUR;
        let mut grants = vec![
            (&*grant).into(),
            account.as_bytes().as_slice().into(),
            session.into(),
            1.into(),
            client.into(),
            "5f0c3d54-9c44-4d2e-8f0e-3a1d52b7c001".into(),
            "openid profile email offline_access".into(),
            "".into(),
            self.now.into(),
            soon.into(),
            person.session.epoch.into(),
            self.now.into(),
            "pwd".into(),
            "pwd".into(),
            null(),
        ];
        let (uri, challenge) = (
            "https://public.example.com/callback",
            "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        );
        if matches!(self.driver, Driver::Postgres(_)) {
            grants.extend([
                (&*code.id).into(),
                (&*code.hash).into(),
                uri.into(),
                challenge.into(),
                "n1".into(),
                soon.into(),
                soon.into(),
                null(),
                0.into(),
                "".into(),
                self.now.into(),
                i64::from(MOST_OF_CLIENT).into(),
            ]);
            self.driver.write(vec![("CODE_ISSUE", grants)]).await;
        } else {
            let uid = grants[5].clone();
            let part = vec![session.into(), client.into(), uid];
            let codes = vec![
                (&*code.id).into(),
                (&*code.hash).into(),
                (&*grant).into(),
                uri.into(),
                challenge.into(),
                "n1".into(),
                soon.into(),
                soon.into(),
            ];
            let surplus = vec![
                account.as_bytes().as_slice().into(),
                client.into(),
                (&*grant).into(),
                i64::from(MOST_OF_CLIENT - 1).into(),
            ];
            let steps = vec![
                ("GRANT_ADD", grants),
                ("PARTICIPANT_ADD", part),
                ("CODE_ADD", codes),
                ("GRANTS_SURPLUS", surplus),
            ];
            self.driver.write(steps).await;
        }
        self.codes.lock().expect("the codes").push(code);
    }

    async fn code(&self) {
        let code = self.codes.lock().expect("the codes").pop();
        let code = code.expect("as many codes as requests");
        self.read(("CODE_READ", vec![(&*code.id).into()])).await;
        let family = Row::new(&code.grant, &code.session);
        let (id, hash) = ((&*code.id).into(), (&*code.hash).into());
        let grant: Value = (&*code.grant).into();
        let end: Value = (self.now + 2000 * HOUR).into();
        let (now, own, own_hash): (Value, Value, Value) = (
            self.now.into(),
            (&*family.id).into(),
            (&*family.hash).into(),
        );
        if matches!(self.driver, Driver::Postgres(_)) {
            let values = vec![
                id,
                hash,
                now.clone(),
                grant,
                end.clone(),
                own,
                own_hash,
                0.into(),
                1.into(),
                now,
                end.clone(),
                end,
            ];
            self.driver.write(vec![("CODE_TAKE", values)]).await;
        } else {
            let family = vec![
                own,
                grant.clone(),
                own_hash,
                0.into(),
                1.into(),
                now.clone(),
                end.clone(),
            ];
            let steps = vec![
                ("CODE_USE", vec![id, hash, now]),
                ("GRANT_EXTEND", vec![grant, end.clone()]),
                ("REFRESH_ADD", family),
                (
                    "SESSION_KEEP",
                    vec![(&*code.session).into(), end.clone(), end],
                ),
            ];
            self.driver.write(steps).await;
        }
        self.families.lock().expect("the families").push(family);
    }

    async fn rotate(&self) {
        let taken = {
            let mut families = self.families.lock().expect("the families");
            let at = self.at.fetch_add(1, Ordering::Relaxed) % families.len();
            families.swap_remove(at)
        };
        self.read(("REFRESH_READ", vec![(&*taken.id).into()])).await;
        let next = Row::new(&taken.grant, &taken.session);
        let values = vec![
            (&*taken.id).into(),
            (&*taken.hash).into(),
            (&*next.hash).into(),
            1.into(),
            1.into(),
            self.now.into(),
            self.now.into(),
        ];
        self.driver.write(vec![("REFRESH_ROTATE", values)]).await;
        let hash = next.hash;
        let advanced = Row { hash, ..taken };
        self.families.lock().expect("the families").push(advanced);
    }

    async fn password(&self) {
        let person = self.person();
        self.read(("CREDENTIALS_READ", vec![(&*person.owner).into()]))
            .await;
        // The account and the network.
        let subjects = [TokenHash::of(&person.owner), TokenHash::of("127.0.0.1")];
        let mut subjects = subjects.map(|hash| hash.as_bytes().to_vec());
        subjects.sort();
        let (floor, most) = (self.now, i64::MAX / 2);
        let is_postgres = matches!(self.driver, Driver::Postgres(_));
        let both = || Value::ManyBytes(subjects.to_vec());
        let reserve = if is_postgres {
            let values = vec![
                both(),
                Value::Ints(vec![floor; 2]),
                Value::Ints(vec![1; 2]),
                Value::Ints(vec![most; 2]),
            ];
            vec![("ATTEMPTS_RESERVE", values)]
        } else {
            let reserve = subjects.iter().map(|subject| {
                let values = vec![(&**subject).into(), floor.into(), 1.into(), most.into()];
                ("ATTEMPT_RESERVE", values)
            });
            reserve.collect()
        };
        self.driver.write(reserve).await;
        let hash = self.hash.clone();
        let compared = tokio::task::spawn_blocking(move || {
            let password = Password::new(PASSWORD).expect("a password");
            Phc::parse(&hash).expect("a hash").verify(&password)
        });
        let compared = compared.await.expect("a hash");
        assert!(matches!(compared, Comparison::Right { .. }));
        let session = TokenId::random(&mut SystemEntropy);
        let account = person.session.account.0;
        let account = || Value::from(account.as_bytes().as_slice());
        let mut values = vec![
            session.as_str().into(),
            TokenHash::of(session.as_str()).as_bytes().as_slice().into(),
            account(),
            self.now.into(),
            self.now.into(),
            "pwd".into(),
            (self.now + 24 * HOUR).into(),
            person.session.epoch.into(),
            0.into(),
        ];
        let others = i64::from(MAX_SESSIONS) - 1;
        if is_postgres {
            values.extend([others.into(), both(), Value::Ints(vec![1; 2])]);
            self.driver.write(vec![("SESSION_BEGIN", values)]).await;
            return;
        }
        let surplus = vec![
            account(),
            self.now.into(),
            others.into(),
            session.as_str().into(),
        ];
        let mut steps = vec![("SESSION_ADD", values), ("SESSION_SURPLUS", surplus)];
        for subject in &subjects {
            steps.push(("ATTEMPT_REFUND", vec![(&**subject).into(), 1.into()]));
        }
        self.driver.write(steps).await;
    }
}
