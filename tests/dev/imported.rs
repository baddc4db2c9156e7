//! An imported client secret. In dev mode the user writes it to a file beside those that dev mode writes.

use std::fs;

use super::support::{Client, Dev, eventually};
use super::{SHOP, Served, quickstart};

const A: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
const B: &str = "Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";

const SYSTEM_USER: &str = "  systemUser: {name: backend}\n";

/// Fields of the client, with a reference to an imported secret.
fn with_reference() -> String {
    format!(
        "{SYSTEM_USER}  authentication: {{secret: {{existingRef: {{name: vault, key: password}}}}}}\n"
    )
}

#[test]
fn a_missing_imported_secret_is_named_at_the_start() {
    let folder = quickstart();
    folder.replace(SHOP, SYSTEM_USER, &with_reference());
    let dev = Dev::start(&folder);
    let file = folder.secret_file("shop", "vault");
    dev.line_with(&[
        "write the Secret vault with the label symbolon.dev/client: backend to ",
        file.to_str().unwrap(),
    ]);
}

fn import(served: &Served, secret: &str) {
    let file = served.folder.secret_file("shop", "vault");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  labels: {{symbolon.dev/client: backend}}\nstringData:\n  password: {secret}\n"
    );
    fs::write(file, text).unwrap();
}

#[test]
fn an_imported_secret_is_followed_and_never_written() {
    let served = Served::start();
    let made = served.backend();
    let with = |secret: &str| Client {
        secret: secret.to_owned(),
        ..made.clone()
    };
    let soon = |what: &str, secret: &str| {
        eventually(what, || (with(secret).ask(&[]).0 == 200).then_some(()));
    };
    served.folder.replace(SHOP, SYSTEM_USER, &with_reference());
    import(&served, A);
    soon("the imported secret is accepted", A);
    assert_eq!(
        made.ask(&[]).0,
        200,
        "the issued secret stays valid during the overlap"
    );
    let file = served.folder.secret_file("shop", "vault");
    let before = fs::read_to_string(&file).unwrap();
    import(&served, B);
    soon("the changed imported secret is accepted", B);
    assert_eq!(
        with(A).ask(&[]).0,
        200,
        "the previous secret stays valid during the overlap"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before.replace(A, B));
    eventually("the operator's own Secret is deleted", || {
        let gone = !served.folder.secret_file("shop", "backend-client").exists();
        gone.then_some(())
    });
}
