//! The example of Secret templates: Secrets in the form that programs expect.

use serde_json::Value;

use super::support::{Dev, Folder, eventually};

const TEMPLATES: &str = "2-templates.yaml";

fn started() -> (Folder, Dev) {
    let folder = Folder::copy_of("examples/secrets");
    let dev = Dev::start(&folder);
    (folder, dev)
}

#[test]
fn the_templates_of_the_example_render_as_programs_expect() {
    let (folder, dev) = started();
    let client = folder.secret("build", "builder-client", "oauth.env");
    let env: Vec<_> = client["oauth.env"].lines().collect();
    assert_eq!(
        env,
        [
            format!("OAUTH_ISSUER={}", dev.issuer),
            format!("OAUTH_TOKEN_URL={}/connect/token", dev.issuer),
            "OAUTH_CLIENT_ID=build.builder".to_owned(),
            format!("OAUTH_CLIENT_SECRET={}", client["client-secret"]),
        ]
    );
    let curl = folder.secret("build", "curl-token", ".netrc");
    let netrc = format!(
        "machine packages.example.com\n  login build.builder\n  password {}\n",
        curl["token"]
    );
    assert_eq!(curl[".netrc"], netrc);
    let registry = folder.secret("build", "registry-config", "config.json");
    let config: Value = serde_json::from_str(&registry["config.json"]).unwrap();
    let header = &config["registries"]["packages.example.com"]["header"];
    assert_eq!(*header, format!("Bearer {}", registry["token"]));
    assert_eq!(config["note"], "costs $5, $(five)");
    let bound = folder.secret("build", "bound-client", "provider");
    assert_eq!(
        (bound["type"].as_str(), bound["uri"].as_str()),
        ("oauth2", dev.issuer.as_str())
    );
    let text = std::fs::read_to_string(folder.secret_file("build", "bound-client")).unwrap();
    assert!(text.contains("type: servicebinding.io/oauth2"), "{text}");
}

#[test]
fn an_edited_template_keeps_the_token() {
    let (folder, _dev) = started();
    let before = folder.secret("build", "curl-token", ".netrc");
    folder.replace(TEMPLATES, "machine packages.example.com", "default");
    let netrc = folder.value_after("build", "curl-token", ".netrc", &before[".netrc"]);
    assert!(netrc.starts_with("default\n"), "{netrc}");
    folder.replace(TEMPLATES, "        .netrc: |", "        _netrc: |");
    let after = eventually("the Secret has the renamed key", || {
        let data = folder.secret_now("build", "curl-token")?;
        (data.contains_key("_netrc") && !data.contains_key(".netrc")).then_some(data)
    });
    assert_eq!(after["token"], before["token"]);
}
