//! The recipes for resource servers on Spring Security.

use std::process::Command;

use super::libraries::ALL;
use super::program::{Program, subject};
use super::world::{World, judge};
use crate::install;
use crate::support::recipe;

#[test]
fn spring_accepts_tokens_of_type_jwt_by_two_properties() {
    let mut world = World::start();
    // These two are accepted: as the page says, only the audience tells access tokens from other tokens.
    world.tokens.remove("id_token_for_the_api").unwrap();
    world.tokens.remove("logout_token").unwrap();
    let [plain, _] = classes();
    let (_program, url) = start(&world, &plain, &recipe("spring-jwt"));
    let good = ["access_token_of_type_jwt", "access_token_of_the_recipe"];
    judge(&world, &good, |_, token| subject(&url, token));
}

#[test]
fn spring_accepts_tokens_of_type_at_jwt_with_a_bean() {
    let world = World::start();
    let [_, bean] = classes();
    let (_program, url) = start(&world, &bean, &recipe("spring-jwt"));
    judge(&world, &["access_token"], |_, token| subject(&url, token));
}

#[test]
fn spring_introspects_every_token_at_every_request() {
    let world = World::start();
    let [plain, _] = classes();
    let (_program, url) = start(&world, &plain, &recipe("spring-opaque"));
    judge(&world, &ALL, |_, token| subject(&url, token));
    world.revoke();
    assert_eq!(subject(&url, &world.tokens["service_token"]), None);
}

fn classes() -> [String; 2] {
    install::spring(&recipe("spring-at-jwt"))
}

/// Starts the API and returns its URL.
fn start(world: &World, classes: &str, properties: &str) -> (Program, String) {
    let folder = world.folder.path();
    world.folder.write("application.properties", properties);
    let mut command = Command::new("java");
    command
        .args([
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            "-Xmx256m",
            "-cp",
            classes,
        ])
        .args([
            "verifier.Application",
            "--server.address=127.0.0.1",
            "--server.port=0",
        ])
        .envs(world.environment())
        .current_dir(folder);
    let mut program = Program::start(command, folder);
    let port = program.wait("the API listens", |log| {
        let (_, rest) = log.split_once("Tomcat started on port ")?;
        let (port, _) = rest.split_once(' ')?;
        Some(port.to_owned())
    });
    let url = format!("http://127.0.0.1:{port}/orders");
    program.wait_for(&url);
    (program, url)
}
