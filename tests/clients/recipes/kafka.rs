//! The recipe for Kafka: a broker takes access tokens from its clients.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};

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
listeners=CLIENTS://127.0.0.1:CLIENTS,BROKERS://127.0.0.1:BROKERS,CONTROLLER://127.0.0.1:CONTROLLER
inter.broker.listener.name=BROKERS
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT,BROKERS:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs=DATA
";

#[test]
fn kafka_takes_access_tokens_of_both_types() {
    let mut world = World::start();
    // The page says that the audience alone tells ID tokens apart here.
    world.tokens.remove("id_token_for_the_api").unwrap();
    world.tokens.remove("logout_token").unwrap();
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
    let settings = BROKER
        .replace(":CLIENTS,", &format!(":{clients},"))
        .replace(":BROKERS,", &format!(":{brokers},"))
        .replace(":CONTROLLER\n", &format!(":{controller}\n"))
        .replace("DATA", &world.folder.file("data").display().to_string());
    let tokens = recipe("kafka")
        .replace("=ISSUER", &format!("={issuer}"))
        .replace("=AUDIENCE", &format!("={AUDIENCE}"));
    fs::write(world.folder.file("server.properties"), settings + &tokens).unwrap();
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
    let said: BTreeMap<&str, &str> = said
        .lines()
        .map(|line| line.split_once(' ').unwrap())
        .collect();
    let good = [
        "access_token",
        "access_token_of_type_jwt",
        "access_token_of_the_recipe",
    ];
    judge(&world, &good, |name, _| match said[name] {
        "yes" => Some(subject_of(name)),
        _ => None,
    });
}
