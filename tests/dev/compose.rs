//! The parts of `examples/compose`, without containers: the command line of its service, and its nginx.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::Value;

use super::quickstart;
use super::support::{Client, Dev, Ports, data_of, eventually, free_port, get};

fn example(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose");
    fs::read_to_string(folder.join(file)).unwrap()
}

/// nginx. Dropping it kills it.
struct Nginx(Child);

impl Nginx {
    fn start(folder: &Path, server: &str) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateways/proxies");
        let told = Command::new(script)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        assert!(told.status.success(), "the lines above say what is missing");
        let programs = String::from_utf8(told.stdout).unwrap();
        let program = Path::new(programs.trim_end()).join("nginx");
        let at = folder.display();
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|name| format!("{name}_temp_path {at}/{name};\n"))
            .concat();
        // What the image's own nginx.conf does around conf.d.
        let all = format!(
            "daemon off; master_process off; pid {at}/pid; error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}{server}\n}}\n"
        );
        let path = folder.join("nginx.conf");
        fs::write(&path, all).unwrap();
        let child = Command::new(program)
            .args(["-e", "stderr", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&path)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The words of the service's command, with other addresses and folders.
fn command(replaced: &[(&str, String)]) -> Vec<String> {
    let file: Value = serde_yaml::from_str(&example("compose.yaml")).unwrap();
    let command = file["services"]["symbolon"]["command"].as_array().unwrap();
    let word = |word: &Value| {
        let word = word.as_str().unwrap();
        let with = replaced.iter().find(|(from, _)| *from == word);
        with.map_or_else(|| word.to_owned(), |(_, to)| to.clone())
    };
    command.iter().map(word).collect()
}

#[test]
fn dev_mode_behind_nginx_issues_tokens_and_guards_an_api() {
    let (folder, ports, front, api) = (quickstart(), Ports::free(), free_port(), free_port());
    let state = tempfile::tempdir().unwrap();
    let issuer = format!("http://localhost:{front}/id");
    let words = command(&[
        ("/manifests", folder.path().display().to_string()),
        ("/state", state.path().display().to_string()),
        (":8080", format!(":{}", ports.main)),
        ("http://localhost:8080/id", issuer.clone()),
    ]);
    let mut symbolon = Command::new(env!("CARGO_BIN_EXE_symbolon"));
    symbolon.args(words);
    let dev = Dev::start_ready(symbolon, ports);
    dev.line_with(&["issuer", &issuer]);

    let config = [
        (
            "http://symbolon:8080",
            format!("http://127.0.0.1:{}", ports.main),
        ),
        ("listen 8080", format!("listen 127.0.0.1:{front}")),
        ("127.0.0.1:8090", format!("127.0.0.1:{api}")),
    ];
    let config = config
        .iter()
        .fold(example("nginx.conf"), |text, (from, to)| {
            assert!(text.contains(from), "{from}");
            text.replace(from, to)
        });
    let home = tempfile::tempdir().unwrap();
    let _nginx = Nginx::start(home.path(), &config);
    let at = |path: &str| format!("http://localhost:{front}{path}");
    let document = eventually("nginx answers", || {
        let url = at("/id/.well-known/openid-configuration");
        let (status, body) = get(&url, &[])?;
        assert_eq!(status, 200, "{body}");
        Some(serde_json::from_str::<Value>(&body).unwrap())
    });
    assert_eq!(document["issuer"], issuer);
    let (status, _) = dev.get_url(&at("/.well-known/oauth-authorization-server/id"), &[]);
    assert_eq!(status, 200);

    let secret = state.path().join("secrets/shop/backend-client.yaml");
    let secret: Value = serde_yaml::from_str(&fs::read_to_string(secret).unwrap()).unwrap();
    let client = Client::of(&data_of(&secret));
    assert_eq!(client.issuer, issuer);
    let authorization = format!("Bearer {}", client.token());

    let forged = [("x-auth-subject", "admin"), ("x-auth-scope", "all")];
    let (status, _) = dev.get_url(&at("/orders/1"), &forged);
    assert_eq!(status, 401);
    let headers = [&forged[..], &[("authorization", &authorization)]].concat();
    let (status, body) = dev.get_url(&at("/orders/1"), &headers);
    assert_eq!(status, 200, "{body}");
    assert_eq!(
        body,
        "subject=shop.backend client=shop.backend scope=orders.read token=\n"
    );
    let (status, _) = dev.get_url(&at("/_symbolon"), &headers);
    assert_eq!(status, 404, "the check is internal");
}

/// Otherwise every caller could claim any address, once nginx is in `trustedProxies`.
#[test]
fn nginx_tells_symbolon_the_callers_address_wherever_it_asks() {
    let config = example("nginx.conf");
    let asking = config
        .split("location ")
        .filter(|it| it.contains("proxy_pass http://symbolon"));
    let asking: Vec<&str> = asking.collect();
    assert_eq!(asking.len(), 3);
    for location in asking {
        let appended = "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;";
        assert!(location.contains(appended), "{location}");
    }
}

#[test]
fn the_files_fit_together() {
    let file: Value = serde_yaml::from_str(&example("compose.yaml")).unwrap();
    let services = &file["services"];
    assert_eq!(services["nginx"]["depends_on"][0], "symbolon");
    // Only this machine may reach an issuer without TLS.
    assert_eq!(
        services["nginx"]["ports"],
        serde_json::json!(["127.0.0.1:8080:8080"])
    );
    assert!(services["symbolon"]["ports"].is_null());
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/compose");
    for service in ["symbolon", "nginx"] {
        for volume in services[service]["volumes"].as_array().unwrap() {
            let source = volume.as_str().unwrap().split(':').next().unwrap();
            assert!(
                source == "./state" || folder.join(source).exists(),
                "{source}"
            );
        }
    }
    let version = format!("symbolon/symbolon:{}", env!("CARGO_PKG_VERSION"));
    assert_eq!(services["symbolon"]["image"], version.as_str());
}
