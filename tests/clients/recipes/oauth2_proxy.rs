//! The recipe for oauth2-proxy: it accepts the access tokens of machines.

use std::process::Command;

use super::program::Program;
use super::world::{World, judge};
use crate::install;
use crate::support::{free_port, get, recipe};

#[test]
fn oauth2_proxy_accepts_access_tokens_of_both_types() {
    let mut world = World::start();
    // These two are accepted: as the page says, only the audience tells access tokens from other tokens.
    world.tokens.remove("id_token_for_the_api").unwrap();
    world.tokens.remove("logout_token").unwrap();
    let program = install::oauth2_proxy();
    let address = format!("127.0.0.1:{}", free_port());
    // In place of the API, oauth2-proxy itself answers.
    let command = recipe("oauth2-proxy");
    assert!(command.contains("--upstream=http://orders/"), "{command}");
    let command = command.replace("--upstream=http://orders/", "--upstream=static://200");
    let path = std::env::var("PATH").unwrap();
    let mut shell = Command::new("bash");
    shell
        .args([
            "-euc",
            &command.replace("\noauth2-proxy ", "\nexec oauth2-proxy "),
        ])
        .env(
            "PATH",
            format!("{}:{path}", program.parent().unwrap().display()),
        )
        .env("OAUTH2_PROXY_HTTP_ADDRESS", &address)
        .envs(world.environment());
    let url = format!("http://{address}");
    let mut running = Program::start(shell, world.folder.path());
    running.wait_for(&format!("{url}/ping"));
    let good = [
        "access_token",
        "access_token_of_type_jwt",
        "access_token_of_the_recipe",
    ];
    judge(&world, &good, |_, token| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str())];
        let (status, body) = get(&url, &headers).unwrap();
        match status {
            200 => {
                // What the API gets as X-Forwarded-User and X-Forwarded-Email.
                let (_, user) = get(&format!("{url}/oauth2/userinfo"), &headers).unwrap();
                let user: serde_json::Value = serde_json::from_str(&user).unwrap();
                assert_eq!(user["user"], user["email"], "{user}");
                user["user"].as_str().map(str::to_owned)
            }
            401 | 403 => None,
            status => panic!("{status} {body}"),
        }
    });
}
