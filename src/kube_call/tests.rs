//! What no text of an error may contain: what the exec plugin of a kubeconfig gets and prints, and the text of files.

use std::error::Error;
use std::path::{Path, PathBuf};

use http::Request;
use kube::client::AuthError;

use super::path::shown;
use super::{Builder, Client, Config, KubeFault, builder, config, kubeconfig, stack};

/// A secret in the environment, the arguments and the output of a plugin, and in files.
const CANARY: &str = "CANARYcanary0123456789";
/// A piece of it, in case a text cuts it short.
const PIECE: &str = "CANARY";

/// Writes a kubeconfig whose user is `user`, in YAML's flow style.
fn written(folder: &Path, user: &str) -> PathBuf {
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1
kind: Config
clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:1\", insecure-skip-tls-verify: true}}}}]
contexts: [{{name: x, context: {{cluster: c, user: u}}}}]
current-context: x
users: [{{name: u, user: {user}}}]
"
    );
    std::fs::write(&path, text).unwrap();
    path
}

/// Writes a kubeconfig with an exec plugin that runs this command of the shell.
fn with_plugin(folder: &Path, command: &str) -> PathBuf {
    let user = format!(
        "{{exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, interactiveMode: Never, args: [-c, '{command}', {CANARY}], env: [{{name: CLIENT_SECRET, value: {CANARY}}}]}}}}"
    );
    written(folder, &user)
}

async fn read(path: &Path) -> Result<Config, KubeFault> {
    config(kubeconfig(Some(path.as_os_str()))?, None).await
}

/// Both ways to build a client: kube's own, and the one over another connector, which proxies need.
fn builders() -> [fn(Config) -> Result<Builder, KubeFault>; 2] {
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let over_connector = |config| {
        let mut connector = hyper_util::client::legacy::connect::HttpConnector::new();
        connector.enforce_http(false);
        stack(connector, config)
    };
    [builder, over_connector]
}

/// Asserts that no text of a fault contains the secret, and returns its message.
fn safe(fault: &KubeFault) -> String {
    assert!(fault.source().is_none(), "{fault:?}");
    let chain = anyhow::Error::from(fault.clone()).context("context");
    let texts = format!("{fault} {fault:?} {chain:#} {chain:?}");
    assert!(!texts.contains(PIECE), "{texts}");
    fault.to_string()
}

#[tokio::test]
async fn a_plugin_that_fails_at_the_start_is_told_by_its_exit_status_alone() {
    let folder = tempfile::tempdir().unwrap();
    for (command, said) in [
        ("echo $0; echo $CLIENT_SECRET >&2; exit 7", "exit status 7"),
        ("echo $0; kill -9 $$", "a signal ended"),
        ("echo $0", "cannot be decoded"),
        ("echo {\\\"token\\\": $0", "cannot be decoded"),
        ("echo {\\\"kind\\\": \\\"$0\\\"}", "has no status"),
        (
            "echo {\\\"status\\\": {\\\"token\\\": \\\"t\\\", \\\"expirationTimestamp\\\": \\\"$0\\\"}}",
            "not a time",
        ),
    ] {
        let config = read(&with_plugin(folder.path(), command)).await.unwrap();
        for build in builders() {
            let fault = build(config.clone()).err().unwrap();
            let words = safe(&fault);
            assert!(words.contains(said), "{command}: {words}");
        }
    }
    let user = format!("{{exec: {{apiVersion: v1, command: /absent, args: [{CANARY}]}}}}");
    let config = read(&written(folder.path(), &user)).await.unwrap();
    let fault = builder(config).err().unwrap();
    assert!(safe(&fault).contains("cannot start the exec plugin"));
}

/// The token has expired, so each request runs the plugin.
#[tokio::test]
async fn a_plugin_that_fails_later_is_told_by_its_exit_status_alone() {
    let folder = tempfile::tempdir().unwrap();
    let mark = folder.path().join("mark");
    let command = format!(
        "echo {{\\\"status\\\": {{\\\"token\\\": \\\"$0\\\", \\\"expirationTimestamp\\\": \\\"2020-01-01T00:00:00Z\\\"}}}}; test ! -e {}",
        mark.display()
    );
    let config = read(&with_plugin(folder.path(), &command)).await.unwrap();
    for build in builders() {
        let client = Client::from(build(config.clone()).unwrap().build());
        std::fs::write(&mark, "").unwrap();
        let request = || Request::get("/version").body(Vec::new()).unwrap();
        let sent = client.send(request()).await.err().unwrap();
        let asked = client.request(request()).await.unwrap_err();
        for fault in [sent, asked] {
            let words = safe(&fault);
            assert!(words.contains("exit status 1"), "{words}");
        }
        std::fs::remove_file(&mark).unwrap();
    }
}

#[test]
fn a_faulty_kubeconfig_is_told_by_path_line_and_column_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("kubeconfig");
    let start = "apiVersion: v1\nkind: Config\nusers:\n- name: u\n  user:\n";
    for (rest, line) in [
        (
            format!("    token: {CANARY}\n    client-key-data: {CANARY}\n   exec:\n"),
            "line 8",
        ),
        (
            format!("    token: {CANARY}\n    token: {CANARY}\n"),
            "line 7",
        ),
        (format!("    token: [{CANARY}]\n"), "line 6"),
        (format!("    token: t\n    exec: {CANARY}\n"), "line 7"),
        (format!("    token: \"{CANARY}\n"), "line "),
    ] {
        std::fs::write(&path, format!("{start}{rest}")).unwrap();
        let fault = kubeconfig(Some(path.as_os_str())).unwrap_err();
        let words = safe(&fault);
        let place = format!("{}, {line}", path.display());
        assert!(words.contains(&place), "{rest}: {words}");
    }
    let absent = folder.path().join("absent");
    let fault = kubeconfig(Some(absent.as_os_str())).unwrap_err();
    assert!(fault.to_string().contains(&absent.display().to_string()));
    // The text of a kubeconfig in place of its path.
    let text = format!("{CANARY}/{CANARY}").repeat(100);
    let words = safe(&kubeconfig(Some(text.as_ref())).unwrap_err());
    assert!(words.contains("4500 characters"), "{words}");
}

#[tokio::test]
async fn a_field_that_cannot_be_used_is_named_without_its_value() {
    let folder = tempfile::tempdir().unwrap();
    let pem = |text: &str| {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(text)
    };
    let key = pem(&format!(
        "-----BEGIN PRIVATE KEY-----\n{CANARY}=!\n-----END {CANARY}-----\n"
    ));
    for (user, said) in [
        (
            format!("{{client-key-data: \"{CANARY}!\", client-certificate-data: Zg==}}"),
            "client-key is not base64",
        ),
        (
            format!("{{client-key-data: {key}, client-certificate-data: Zg==}}"),
            "kubeconfig",
        ),
        (
            format!("{{auth-provider: {{name: {CANARY}, config: {{}}}}}}"),
            "auth-provider",
        ),
    ] {
        let config = read(&written(folder.path(), &user)).await.unwrap();
        for build in builders() {
            let words = safe(&build(config.clone()).err().unwrap());
            assert!(words.contains(said), "{user}: {words}");
        }
    }
}

/// A token or a key was written where a path belongs.
#[tokio::test]
async fn a_secret_in_place_of_a_path_is_told_by_its_length_alone() {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{CANARY}{}", "a".repeat(2000));
    for secret in [CANARY, &format!("{CANARY}/b+{CANARY}=="), &long] {
        for (field, said) in [
            (format!("{{tokenFile: {secret}}}"), "token file"),
            (format!("{{tokenFile: /{secret}}}"), "token file"),
            (
                format!("{{client-key: {secret}, client-certificate-data: Zg==}}"),
                "client-key",
            ),
            (
                format!("{{client-certificate: {secret}, client-key-data: Zg==}}"),
                "client-certificate",
            ),
        ] {
            for build in builders() {
                let read = read(&written(folder.path(), &field)).await;
                let words = safe(&read.and_then(build).err().unwrap());
                assert!(words.contains(said), "{field}: {words}");
                let length = format!("{} characters", secret.len());
                assert!(words.contains(&length), "{words}");
            }
        }
    }
    assert_eq!(shown(folder.path()), folder.path().display().to_string());
    let absent = folder.path().join("a/b");
    let said = format!(
        "in {}, with a name of 3 characters",
        folder.path().display()
    );
    assert_eq!(shown(&absent), said);
    assert_eq!(shown(Path::new("absent")), "with a name of 6 characters");
}

/// kube panics on such a token, or fails at every request.
#[tokio::test]
async fn a_token_with_a_line_break_is_refused_before_a_client_is_built() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{CANARY}\n")).unwrap();
    let quoted = format!("\"{CANARY}\\n\"");
    for (user, field) in [
        (format!("{{token: {quoted}}}"), "user.token"),
        (
            format!("{{auth-provider: {{name: oidc, config: {{id-token: {quoted}}}}}}}"),
            "id-token",
        ),
        (format!("{{tokenFile: {}}}", file.display()), "tokenFile"),
    ] {
        let config = read(&written(folder.path(), &user)).await.unwrap();
        for build in builders() {
            let words = safe(&build(config.clone()).err().unwrap());
            assert!(
                words.contains(field) && words.contains("line break"),
                "{user}: {words}"
            );
        }
    }
}

/// kube panics on such a token of a plugin, too, if it has no expiry.
#[tokio::test]
async fn a_plugins_token_with_a_line_break_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("credential");
    let credential = serde_json::json!({"status": {"token": format!("{CANARY}\n")}});
    std::fs::write(&file, credential.to_string()).unwrap();
    let command = format!("cat {}", file.display());
    let config = read(&with_plugin(folder.path(), &command)).await.unwrap();
    for build in builders() {
        let words = safe(&build(config.clone()).err().unwrap());
        assert!(words.contains("line break"), "{words}");
    }
}

#[test]
fn an_error_of_no_listed_kind_gets_a_fixed_text() {
    let unknown = kube::Error::Service(CANARY.into());
    assert_eq!(safe(&unknown.into()), "the request could not be sent");
    let parsed = serde_json::from_str::<u8>(&format!("\"{CANARY}\"")).unwrap_err();
    safe(&kube::Error::SerdeError(parsed).into());
    safe(&kube::Error::Auth(AuthError::AuthExec(CANARY.to_owned())).into());
    let proxy_url = format!("ftp://user:{CANARY}@proxy").parse().unwrap();
    let proxy = kube::Error::ProxyProtocolUnsupported {
        proxy_url: Box::new(proxy_url),
    };
    safe(&proxy.into());
    let plugin = AuthError::AuthExec(CANARY.to_owned());
    safe(&kube::Error::Service(Box::new(plugin)).into());
}

#[test]
fn a_refusal_keeps_what_people_need_and_no_long_word() {
    let token = format!("symsat_{CANARY}{CANARY}");
    let body = format!(
        r#"{{"kind": "Status", "reason": "Forbidden", "message": "webhook said {token}", "details": {{"kind": "identities"}}}}"#
    );
    let fault = KubeFault::refused(403, body.as_bytes());
    assert_eq!(safe(&fault), "Forbidden (403)");
    let refusal = fault.refusal().unwrap();
    assert_eq!(refusal.message, "webhook said …");
    assert_eq!((refusal.code, &*refusal.kind), (403, "identities"));
    let page = KubeFault::refused(502, format!("<html>{CANARY}").as_bytes());
    safe(&page);
    assert_eq!(page.code(), Some(502));
}
