//! An imported client secret. In dev mode the user writes it to a file beside those that dev mode writes.

use std::fs;

use super::support::{Client, eventually};
use super::{SHOP, Served};

const A: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
const B: &str = "Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";

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
    let system_user = "  systemUser: {name: backend}\n";
    let reference = "  authentication: {secret: {existingRef: {name: vault, key: password}}}\n";
    served
        .folder
        .replace(SHOP, system_user, &format!("{system_user}{reference}"));
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
