//! Files change while it serves.

use std::time::{Duration, Instant};

use super::support::{Client, Folder, eventually};
use super::{PLATFORM, SHOP, Served};

/// Where the quickstart's SAT begins, so that tests can move it into a file of its own.
const TOKEN_COMMENT: &str = "# A long-lived opaque token";

#[test]
fn a_saved_file_is_what_the_next_requests_are_answered_by() {
    let served = Served::start();
    let token = served.token();
    let requires = |scope: &str| format!("scopes: [{scope}]\n---");
    for (from, to, status) in [
        ("orders.read", "orders.write", 403),
        ("orders.write", "orders.read", 204),
        ("orders.read", "orders.write", 403),
        ("orders.write", "orders.read", 204),
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
fn a_client_of_a_new_file_gets_a_secret_and_tokens() {
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
fn a_file_with_a_fault_is_reported_with_its_place_and_its_last_good_version_stays() {
    let served = Served::start();
    let (backend, token) = (served.backend(), served.token());
    let good = served.folder.read(SHOP);

    // No YAML, at its line 3.
    served
        .folder
        .write(SHOP, &good.replacen("  name: shop\n", "  name: [shop\n", 1));
    served.dev.line_with(&["2-shop.yaml:"]);

    // The rest goes on being read: a file that came later is served.
    served
        .folder
        .write("4-more.yaml", &client_named("frontend"));
    served
        .folder
        .secret("shop", "frontend-client", "client-secret");
    assert_eq!(served.check(&token), 204);
    backend.token();

    // A field that nobody knows.
    served
        .folder
        .write(SHOP, &good.replace("lifetime: 720h", "lifetim: 720h"));
    let line = 1 + good
        .lines()
        .position(|line| line.contains("lifetime: 720h"))
        .unwrap();
    served.dev.line_with(&[&format!("2-shop.yaml:{line}:3")]);
    assert_eq!(served.check(&token), 204);
    backend.token();

    // Good again, with a change.
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
fn a_fault_at_the_start_does_not_keep_the_rest_from_being_served() {
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
    // Files are read in the order in which they come: this one comes last.
    served.folder.write("6-later.yaml", &client_named("later"));
    served
        .folder
        .secret("shop", "later-client", "client-secret");
    assert_eq!(served.check(&token), 204);
    assert_eq!(served.token(), token);
}

#[test]
fn a_deleted_file_revokes_after_a_grace_and_coming_back_brings_nothing_back() {
    let served = Served::start_with(|folder| {
        let (rest, sat) = split(folder);
        folder.write(SHOP, &rest);
        folder.write("5-token.yaml", &sat);
    });
    let token = served.token();
    let sat = served.folder.read("5-token.yaml");
    assert_eq!(served.check(&token), 204);

    // Editors that delete and write anew are within the grace.
    served.folder.delete("5-token.yaml");
    std::thread::sleep(Duration::from_millis(300));
    served.folder.write("5-token.yaml", &sat);
    std::thread::sleep(Duration::from_millis(2500));
    assert_eq!(served.check(&token), 204);
    assert_eq!(served.token(), token);

    served.folder.delete("5-token.yaml");
    let deleted = Instant::now();
    eventually("the token is dead", || {
        (served.check(&token) == 401).then_some(())
    });
    println!("deleted to dead: {:?}", deleted.elapsed());
    assert!(
        deleted.elapsed() > Duration::from_secs(1),
        "there is a grace"
    );
    eventually("its Secret goes with it", || {
        served
            .folder
            .secret_now("shop", "nightly-report-token")
            .is_none()
            .then_some(())
    });

    served.folder.write("5-token.yaml", &sat);
    let new = served.token_after(&token);
    eventually("the new token is good", || {
        (served.check(&new) == 204).then_some(())
    });
    assert_eq!(served.check(&token), 401);
}

/// The quickstart's second file without the SAT, and the SAT.
fn split(folder: &Folder) -> (String, String) {
    let text = folder.read(SHOP);
    let (rest, sat) = text.split_once(TOKEN_COMMENT).unwrap();
    (
        rest.trim_end().trim_end_matches("---").to_owned(),
        format!("{TOKEN_COMMENT}{sat}"),
    )
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
