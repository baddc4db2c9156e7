//! Changes of files while dev mode serves.

use std::time::{Duration, Instant};

use super::support::{Client, Folder, eventually};
use super::{PLATFORM, SHOP, Served};

/// The comment before the quickstart's service access token, so that tests can move the token into another file.
const TOKEN_COMMENT: &str = "# A long-lived opaque token";

#[test]
fn a_saved_file_takes_effect_without_a_restart() {
    let served = Served::start();
    let token = served.token();
    let requires = |scope: &str| format!("scopes: [{scope}]\n---");
    for (from, to, status) in [
        ("orders.read", "orders.write", 403),
        ("orders.write", "orders.read", 200),
        ("orders.read", "orders.write", 403),
        ("orders.write", "orders.read", 200),
    ] {
        served
            .folder
            .replace(PLATFORM, &requires(from), &requires(to));
        let saved = Instant::now();
        eventually("the gateway requires another scope", || {
            (served.check(&token) == status).then_some(())
        });
        println!("saved to served: {:?}", saved.elapsed());
    }
}

#[test]
fn a_client_in_a_new_file_gets_a_secret_and_tokens() {
    let served = Served::start();
    let saved = Instant::now();
    served
        .folder
        .write("4-more.yaml", &client_named("frontend"));
    let secret = served
        .folder
        .secret("shop", "frontend-client", "client-secret");
    println!("saved to Secret: {:?}", saved.elapsed());
    assert_eq!(Client::of(&secret).ask(&[("scope", "orders.read")]).0, 200);
    println!("saved to first token: {:?}", saved.elapsed());
}

#[test]
fn an_error_in_a_file_is_reported_with_its_line_and_the_last_good_version_stays() {
    let served = Served::start();
    let (backend, token) = (served.backend(), served.token());
    let good = served.folder.read(SHOP);

    // Not valid YAML at line 3.
    served
        .folder
        .write(SHOP, &good.replacen("  name: shop\n", "  name: [shop\n", 1));
    served.dev.line_with(&["2-shop.yaml:"]);

    // Other files are still read: a client in a new file is served.
    served
        .folder
        .write("4-more.yaml", &client_named("frontend"));
    served
        .folder
        .secret("shop", "frontend-client", "client-secret");
    assert_eq!(served.check(&token), 200);
    backend.token();

    // An unknown field.
    served
        .folder
        .write(SHOP, &good.replace("lifetime: 720h", "lifetim: 720h"));
    let line = 1 + good
        .lines()
        .position(|line| line.contains("lifetime: 720h"))
        .unwrap();
    served.dev.line_with(&[&format!("2-shop.yaml:{line}:3")]);
    assert_eq!(served.check(&token), 200);
    backend.token();

    // Valid again, with a change.
    served.folder.write(
        SHOP,
        &good.replace(
            "scopes: [orders.read, orders.write]",
            "scopes: [orders.write]",
        ),
    );
    eventually("the change is served", || {
        (served.check(&token) == 401).then_some(())
    });
}

#[test]
fn an_error_at_the_start_does_not_stop_the_rest_from_being_served() {
    let folder = super::quickstart();
    folder.write("4-bad.yaml", "apiVersion: symbolon.dev/v1alpha1\nkind: Scope\nmetadata: {name: bad}\nspec: {nonsense: 1}\n");
    let dev = super::Dev::start(&folder);
    dev.line_with(&["4-bad.yaml:4:"]);
    Client::of(&folder.secret("shop", "backend-client", "client-secret")).token();
}

#[test]
fn an_object_may_move_from_one_file_to_another() {
    let served = Served::start();
    let token = served.token();
    let (rest, sat) = split(&served.folder);
    served.folder.write("5-token.yaml", &sat);
    served.dev.line_with(&["5-token.yaml:"]);
    served.folder.write(SHOP, &rest);
    // Files are read in the order in which they are written, so this one comes last.
    served.folder.write("6-later.yaml", &client_named("later"));
    served
        .folder
        .secret("shop", "later-client", "client-secret");
    assert_eq!(served.check(&token), 200);
    assert_eq!(served.token(), token);
}

#[test]
fn deleting_a_file_revokes_its_token_for_good_after_a_grace_period() {
    let served = Served::start_with(|folder| {
        let (rest, sat) = split(folder);
        folder.write(SHOP, &rest);
        folder.write("5-token.yaml", &sat);
    });
    let token = served.token();
    let sat = served.folder.read("5-token.yaml");
    assert_eq!(served.check(&token), 200);

    // An editor may delete and recreate a file within the grace period.
    served.folder.delete("5-token.yaml");
    std::thread::sleep(Duration::from_millis(300));
    served.folder.write("5-token.yaml", &sat);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(served.check(&token), 200);
    assert_eq!(served.token(), token);

    served.folder.delete("5-token.yaml");
    let deleted = Instant::now();
    eventually("the token is refused", || {
        (served.check(&token) == 401).then_some(())
    });
    println!("deleted to refused: {:?}", deleted.elapsed());
    assert!(
        deleted.elapsed() > Duration::from_secs(1),
        "the token was refused before the grace period ended"
    );
    eventually("its Secret is deleted", || {
        served
            .folder
            .secret_now("shop", "nightly-report-token")
            .is_none()
            .then_some(())
    });

    served.folder.write("5-token.yaml", &sat);
    let new = served.token_after(&token);
    eventually("the new token is accepted", || {
        (served.check(&new) == 200).then_some(())
    });
    assert_eq!(served.check(&token), 401);
}

/// Splits the quickstart's second file into the service access token and the rest; returns the rest first.
fn split(folder: &Folder) -> (String, String) {
    let text = folder.read(SHOP);
    let (rest, sat) = text.split_once(TOKEN_COMMENT).unwrap();
    (
        rest.trim_end().trim_end_matches("---").to_owned(),
        format!("{TOKEN_COMMENT}{sat}"),
    )
}

#[test]
fn a_problem_between_objects_is_reported_with_its_line_too() {
    let served = Served::start();
    let good = served.folder.read(SHOP);
    let wrong = good.replace("  scopes: [orders.read]\n", "  scopes: [orders.reed]\n");
    assert_ne!(wrong, good);
    let line_of = |part: &str| 1 + wrong.lines().position(|it| it.contains(part)).unwrap();
    served.folder.write(SHOP, &wrong);
    let place = format!("2-shop.yaml:{}:12: ", line_of("orders.reed"));
    let told = "ServiceAccessToken shop/nightly-report: ScopeNotGranted: ";
    served.dev.line_with(&[&place, told]);

    // Another problem appears, and the first one moves by a line: it is still the same, so it is not reported again.
    let more = wrong.replace("orders.write", "orders.rite");
    served.folder.write(SHOP, &format!("# A comment\n{more}"));
    let place = format!("2-shop.yaml:{}:", line_of("orders.write") + 1);
    served
        .dev
        .line_with(&[&place, "OAuthClient shop/backend: ScopeNotFound: "]);
    assert_eq!(served.dev.output().matches(told).count(), 1);
}

fn client_named(name: &str) -> String {
    format!(
        "apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {{name: {name}, namespace: shop}}
spec:
  identityRef: {{name: main, namespace: platform}}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
"
    )
}
