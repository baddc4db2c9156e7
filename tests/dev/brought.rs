//! A client secret that somebody brings: in dev mode, a file beside those that dev mode writes.

use std::fs;

use super::support::{Client, eventually};
use super::{SHOP, Served};

const A: &str = "q8Zf0R2kLw7Xn4Vb9Tc6Yh3Jm5Pd1GsA";
const B: &str = "Zt5mW0qC8xK2vN7rJ4bL9fH1sD6gP3yE";

fn bring(served: &Served, secret: &str) {
    let file = served.folder.secret_file("shop", "vault");
    let text = format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  labels: {{symbolon.dev/client: backend}}\nstringData:\n  password: {secret}\n"
    );
    fs::write(file, text).unwrap();
}

#[test]
fn a_file_that_somebody_writes_is_followed_and_never_written() {
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
    bring(&served, A);
    soon("what was brought is accepted", A);
    assert_eq!(made.ask(&[]).0, 200, "what was made lives on for a while");
    let file = served.folder.secret_file("shop", "vault");
    let before = fs::read_to_string(&file).unwrap();
    bring(&served, B);
    soon("what is brought then is accepted", B);
    assert_eq!(
        with(A).ask(&[]).0,
        200,
        "pods have the one before for a while"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before.replace(A, B));
    eventually("the Secret that was made is gone", || {
        let gone = !served.folder.secret_file("shop", "backend-client").exists();
        gone.then_some(())
    });
}
