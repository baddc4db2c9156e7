//! The recipes for libraries: an API calls `verify`.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use super::world::{World, judge};
use crate::support::recipe;
use crate::{install, script};

/// The tokens that introspection accepts.
pub(super) const ALL: [&str; 4] = [
    "access_token",
    "access_token_of_type_jwt",
    "access_token_of_the_recipe",
    "service_token",
];

#[test]
fn jose_verifies_access_tokens() {
    judge_library(&["access_token"], &|_| node("node-jose"));
}

#[test]
fn openid_client_introspects_every_token() {
    judge_library(&ALL, &|_| node("node-openid-client"));
}

#[test]
fn pyjwt_verifies_access_tokens() {
    judge_library(&["access_token"], &|folder| python("python-pyjwt", folder));
}

#[test]
fn authlib_verifies_access_tokens() {
    judge_library(&["access_token"], &|folder| {
        python("python-authlib", folder)
    });
}

#[test]
fn authlib_introspects_every_token() {
    judge_library(&ALL, &|folder| python("python-introspection", folder));
}

#[test]
fn go_oidc_verifies_access_tokens_of_both_types() {
    judge_library(&ALL[..3], &|_| {
        Command::new(install::go(&recipe("go-oidc")))
    });
}

fn node(name: &str) -> Command {
    // Node.js searches for packages from the folder of the script.
    let folder = install::node().join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::copy(
        install::node().join("recipe.mjs"),
        folder.join("recipe.mjs"),
    )
    .unwrap();
    fs::write(folder.join("verify.mjs"), recipe(name)).unwrap();
    let mut command = Command::new("node");
    command.arg(folder.join("recipe.mjs"));
    command
}

fn python(name: &str, folder: &Path) -> Command {
    fs::write(folder.join("verify.py"), recipe(name)).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/python/recipe.py");
    let mut command = Command::new(install::python());
    command.arg("-B").arg(script).current_dir(folder);
    command
}

/// Asks a library about every token. If it accepts a service token, revokes that token and asks again.
fn judge_library(good: &[&str], library: &dyn Fn(&Path) -> Command) {
    let world = World::start();
    let run = |tokens: &Value| {
        let mut command = library(world.folder.path());
        command.envs(world.environment());
        script::run(command, tokens)
    };
    let seen = run(&json!(world.tokens));
    judge(&world, good, |name, _| {
        seen[name]["sub"].as_str().map(str::to_owned)
    });
    if good.contains(&"service_token") {
        world.revoke();
        let seen = run(&json!({"revoked": world.tokens["service_token"]}));
        assert_eq!(seen, json!({"revoked": null}));
    }
}
