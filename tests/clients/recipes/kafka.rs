//! The recipes for Kafka and Strimzi: a broker takes access tokens from its clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use super::program::Program;
use super::world::{World, judge, subject_of};
use crate::support::{free_port, recipe};
use crate::{AUDIENCE, install};

/// The settings of a broker that are not about tokens.
const BROKER: &str = "
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:CONTROLLER
controller.listener.names=CONTROLLER
listeners=LISTENER://127.0.0.1:CLIENTS,BROKERS://127.0.0.1:BROKERS,CONTROLLER://127.0.0.1:CONTROLLER
inter.broker.listener.name=BROKERS
listener.security.protocol.map=LISTENER:SASL_PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=DATA
";

#[test]
fn kafka_takes_access_tokens_of_both_types() {
    let mut world = World::start();
    // These two are accepted: as the page says, only the audience tells access tokens from other tokens.
    world.tokens.remove("id_token_for_the_api").unwrap();
    world.tokens.remove("logout_token").unwrap();
    let said = ask_broker(&world, "CLIENTS", &recipe("kafka"));
    judge(&world, &ACCESS_TOKENS, |name, _| {
        said[name].then(|| subject_of(name))
    });
}

#[test]
fn strimzi_takes_access_tokens_of_both_types_and_no_other_tokens_of_the_issuer() {
    let mut world = World::start();
    // The page says that it does not check `nbf`.
    world.tokens.remove("not_yet_valid").unwrap();
    world.tokens.remove("not_yet_valid_of_type_jwt").unwrap();
    let written: Value = serde_yaml::from_str(&recipe("strimzi")).unwrap();
    let listener = &written["spec"]["kafka"]["listeners"][0];
    let authentication = &listener["authentication"];
    assert_eq!(authentication["type"], "custom");
    assert_eq!(authentication["sasl"], true);
    // Strimzi gives the listener this name, and puts its prefix before each setting.
    let name = format!(
        "{}-{}",
        listener["name"].as_str().unwrap(),
        listener["port"]
    );
    let mut settings = String::new();
    for (key, value) in authentication["listenerConfig"].as_object().unwrap() {
        let value = value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned);
        writeln!(settings, "listener.name.{name}.{key}={value}").unwrap();
    }
    let said = ask_broker(&world, &name.to_uppercase(), &settings);
    judge(&world, &ACCESS_TOKENS, |name, _| {
        said[name].then(|| subject_of(name))
    });
}

/// The access tokens of [`World`].
const ACCESS_TOKENS: [&str; 3] = [
    "access_token",
    "access_token_of_type_jwt",
    "access_token_of_the_recipe",
];

/// Starts a broker whose `listener` has these settings, and returns which tokens it accepts.
fn ask_broker(world: &World, listener: &str, settings: &str) -> BTreeMap<String, bool> {
    let class_path = install::kafka();
    let java = || {
        let mut java = Command::new("java");
        java.args(["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx256m"])
            .args(["-cp", &class_path])
            .current_dir(world.folder.path());
        java
    };
    let issuer = &world.dev.issuer;
    let [clients, brokers, controller] = [(); 3].map(|()| free_port());
    let broker = BROKER
        .replace("LISTENER:", &format!("{listener}:"))
        .replace(":CLIENTS,", &format!(":{clients},"))
        .replace(":BROKERS,", &format!(":{brokers},"))
        .replace(":CONTROLLER\n", &format!(":{controller}\n"))
        .replace("DATA", &world.folder.file("data").display().to_string());
    let tokens = settings
        .replace("ISSUER", issuer)
        .replace("AUDIENCE", AUDIENCE);
    fs::write(world.folder.file("server.properties"), broker + &tokens).unwrap();
    let formatted = java()
        .args(["kafka.tools.StorageTool", "format", "--config"])
        .args([
            "server.properties",
            "--cluster-id",
            "AAAAAAAAAAAAAAAAAAAAAA",
        ])
        .output()
        .unwrap();
    assert!(formatted.status.success(), "{formatted:?}");
    let mut command = java();
    let keys = format!("{issuer}/.well-known/openid-configuration/jwks");
    command
        .arg(format!(
            "-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={keys}"
        ))
        .args(["kafka.Kafka", "server.properties"]);
    let mut broker = Program::start(command, world.folder.path());
    broker.wait("the broker starts", |log| {
        log.contains("Kafka Server started").then_some(())
    });
    let mut asking = java();
    asking
        .args(["-Dorg.slf4j.simpleLogger.defaultLogLevel=off", "Judge"])
        .arg(format!("127.0.0.1:{clients}"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut asking = asking.spawn().unwrap();
    let mut lines = String::new();
    for (name, token) in &world.tokens {
        writeln!(lines, "{name} {token}").unwrap();
    }
    let mut input = asking.stdin.take().unwrap();
    input.write_all(lines.as_bytes()).unwrap();
    drop(input);
    let output = asking.wait_with_output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    let lines = said.lines().map(|line| line.split_once(' ').unwrap());
    lines
        .map(|(name, answer)| (name.to_owned(), answer == "yes"))
        .collect()
}
