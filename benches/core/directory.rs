//! The directory: judging an object, changing the tables, and the joins that requests compute.

use std::cell::Cell;
use std::sync::LazyLock;

use divan::{Bencher, black_box};
use jiff::{SignedDuration, Timestamp};
use symbolon::directory::counts::census::Census;
use symbolon::directory::tables::record::Used;
use symbolon::directory::{Change, schema};
use symbolon::resources::Kind;
use symbolon::tokens::{SecretString, reference};

use crate::NOW;
use crate::population::{Population, client, created, service_token, team_key};

const ISSUER: &str = "https://id.example.com/id";
/// The number of clients, and of tokens. There are twice as many Credentials.
const SIZES: [usize; 2] = [1, 100_000];

static SMALL: LazyLock<Population> = LazyLock::new(|| Population::new(ISSUER, SIZES[0], NOW));
static LARGE: LazyLock<Population> = LazyLock::new(|| Population::new(ISSUER, SIZES[1], NOW));

fn population(size: usize) -> &'static Population {
    if size == SIZES[0] { &SMALL } else { &LARGE }
}

/// Numbers below `size` in an order that defeats caches.
struct Scattered {
    size: usize,
    at: Cell<usize>,
}

impl Scattered {
    const fn below(size: usize) -> Self {
        Self {
            size,
            at: Cell::new(0),
        }
    }

    fn next(&self) -> usize {
        // A prime, so that every number comes once before any number repeats.
        self.at.set((self.at.get() + 39_119) % self.size);
        self.at.get()
    }
}

fn parse(secret: &SecretString) -> reference::Presented<'_> {
    reference::parse(secret.expose()).expect("a well-formed token")
}

/// Form, hash and join of a service access token, as in introspection and checktoken.
#[divan::bench(args = SIZES)]
fn service_token_presented(bencher: Bencher<'_, '_>, size: usize) {
    let population = population(size);
    let order = Scattered::below(size);
    bencher.bench_local(|| {
        let token = parse(&population.tokens[order.next()]);
        let active =
            population
                .directory
                .service_token_presented(&population.identity, &token, NOW);
        active.expect("a good token").scopes.len()
    });
}

/// The cost of a use whose last report is recent, which is the usual case.
#[divan::bench(args = SIZES)]
fn use_that_is_known(bencher: Bencher<'_, '_>, size: usize) {
    let population = population(size);
    let mut credentials = Vec::new();
    for credential in population.directory.credentials() {
        let mut used = (**credential).clone();
        let uses = used.entries.iter().map(|entry| Used {
            epoch: entry.epoch,
            last: NOW.as_second(),
        });
        used.uses = uses.collect();
        credentials.push(used);
    }
    let order = Scattered::below(credentials.len());
    let later = NOW + SignedDuration::from_hours(1);
    bencher.bench_local(|| {
        let credential = &credentials[order.next()];
        let entry = &credential.entries[0];
        population
            .directory
            .use_to_report(credential, entry, black_box(7), later)
    });
}

/// The census of all tokens for metrics, at most once a minute.
#[divan::bench(args = SIZES)]
fn census(bencher: Bencher<'_, '_>, size: usize) {
    let population = population(size);
    bencher.bench_local(|| Census::take(&population.directory, &population.identity, NOW));
}

/// Form, hash and join of a client secret.
#[divan::bench(args = SIZES)]
fn client_authenticated(bencher: Bencher<'_, '_>, size: usize) {
    let population = population(size);
    let order = Scattered::below(size);
    bencher.bench_local(|| {
        let client = &population.clients[order.next()];
        let accepted = population.directory.client_authenticated(
            &population.identity,
            &client.client_id,
            &parse(&client.secret),
            NOW,
        );
        accepted
            .expect("a good secret")
            .client
            .client
            .record
            .client_id
            .len()
    });
}

/// A well-formed token that no Credential records.
#[divan::bench(args = SIZES)]
fn service_token_unknown(bencher: Bencher<'_, '_>, size: usize) {
    let (population, unknown) = (population(size), Population::new(ISSUER, 2, NOW));
    let token = parse(&unknown.tokens[1]);
    bencher.bench(|| {
        population
            .directory
            .service_token_presented(&population.identity, black_box(&token), NOW)
            .is_err()
    });
}

/// Judges a changed client, puts it into the tables, and publishes the directory.
#[divan::bench(args = SIZES)]
fn apply_client(bencher: Bencher<'_, '_>, size: usize) {
    let mut directory = population(size).directory.clone();
    let mut published = directory.clone();
    let order = Scattered::below(size);
    let changes = (0..size.min(1000)).map(|_| {
        let raw = created(client(&team_key(order.next())), NOW);
        Change::object(Kind::OAuthClient, &raw, directory.settings()).expect("an object")
    });
    let changes: Vec<_> = changes.collect();
    let order = Scattered::below(changes.len());
    bencher.bench_local(|| {
        directory.apply(changes[order.next()].clone());
        published = directory.clone();
        published.sizes().clients
    });
}

/// Turns a raw object into a change: schema, rules, record.
#[divan::bench(args = [Kind::OAuthClient, Kind::ServiceAccessToken])]
fn judge_object(bencher: Bencher<'_, '_>, kind: Kind) {
    let raw = raw(kind, NOW);
    let settings = symbolon::directory::Settings::default();
    bencher.bench(|| Change::object(kind, black_box(&raw), &settings));
}

#[divan::bench(args = [Kind::OAuthClient, Kind::ServiceAccessToken])]
fn validate_schema(bencher: Bencher<'_, '_>, kind: Kind) {
    let raw = raw(kind, NOW);
    bencher.bench(|| schema::validate(kind, black_box(&raw)));
}

fn raw(kind: Kind, now: Timestamp) -> serde_json::Value {
    let key = team_key(0);
    let raw = match kind {
        Kind::OAuthClient => client(&key),
        _ => service_token(&key),
    };
    created(raw, now)
}
