//! The recipe for `OpenBao`: workloads log in with access tokens.

use std::process::Command;

use serde_json::json;

use super::program::Program;
use super::world::{World, judge};
use crate::install;
use crate::support::{free_port, post_json, recipe};

#[test]
fn openbao_lets_a_client_log_in_with_an_access_token() {
    let world = World::start();
    let bao = install::openbao();
    let address = format!("127.0.0.1:{}", free_port());
    let mut command = Command::new(&bao);
    command
        .args([
            "server",
            "-dev",
            "-dev-root-token-id=root",
            "-dev-no-store-token",
        ])
        .arg(format!("-dev-listen-address={address}"))
        .env("HOME", world.folder.path());
    let mut program = Program::start(command, world.folder.path());
    let url = format!("http://{address}");
    program.wait_for(&format!("{url}/v1/sys/health"));
    let path = std::env::var("PATH").unwrap();
    let ran = Command::new("bash")
        .args(["-euc", &recipe("openbao")])
        .env(
            "PATH",
            format!("{}:{path}", bao.parent().unwrap().display()),
        )
        .env("HOME", world.folder.path())
        .envs([("BAO_ADDR", url.as_str()), ("BAO_TOKEN", "root")])
        .envs(world.environment())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{ran:?}");
    let login = format!("{url}/v1/auth/jwt/login");
    let good = ["access_token", "access_token_of_type_jwt"];
    judge(&world, &good, |_, token| {
        let (status, answer) = post_json(&login, &json!({"role": "orders", "jwt": token}));
        assert!([200, 400, 403].contains(&status), "{status} {answer}");
        let client = &answer["auth"]["metadata"]["role"];
        (status == 200).then(|| {
            assert_eq!(client, "orders", "{answer}");
            assert_eq!(answer["auth"]["lease_duration"], 600, "{answer}");
            "shop.rs256".to_owned()
        })
    });
}
