//! The recipes for the two modules of Apache httpd.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use super::libraries::ALL;
use super::program::Program;
use super::tls::Front;
use super::world::{World, judge};
use crate::install;
use crate::support::{eventually, free_port, get, recipe};

#[test]
fn mod_auth_openidc_introspects_at_every_request() {
    let world = World::start();
    // The module refuses an endpoint without TLS.
    let front = Front::start(&world.dev);
    let (program, url) = start(&world, "apache-openidc", &front);
    judge(&world, &ALL, |name, token| {
        passed(&program, &url, name, token)
    });
    world.revoke();
    let token = &world.tokens["service_token"];
    assert_eq!(passed(&program, &url, "service_token", token), None);
}

#[test]
fn mod_oauth2_caches_for_one_second() {
    let world = World::start();
    let front = Front::start(&world.dev);
    let (program, url) = start(&world, "apache-oauth2", &front);
    judge(&world, &ALL, |name, token| {
        passed(&program, &url, name, token)
    });
    world.revoke();
    let token = &world.tokens["service_token"];
    eventually("the revoked token is refused", || {
        let subject = passed(&program, &url, "service_token", token);
        subject.is_none().then_some(())
    });
}

/// The subject as which a token passes, from the access log; `None` if it does not pass.
fn passed(program: &Program, url: &str, name: &str, token: &str) -> Option<String> {
    let authorization = format!("Bearer {token}");
    let (status, body) = get(
        &format!("{url}?{name}"),
        &[("authorization", &authorization)],
    )
    .unwrap();
    match status {
        200 => {
            let line = eventually("the access log names the user", || {
                let log = program.log();
                let mut lines = log.lines().rev();
                let line = lines.find(|line| line.ends_with(&format!("?{name} 200")))?;
                Some(line.to_owned())
            });
            let (_, rest) = line.split_once("user=").unwrap();
            Some(rest.split(' ').next().unwrap().to_owned())
        }
        401 | 403 => None,
        status => panic!("{url}: {status} {body}"),
    }
}

/// Starts Apache with a recipe and returns the URL of the API.
fn start(world: &World, name: &str, front: &Front) -> (Program, String) {
    let apache = install::apache();
    let modules = apache.join("usr/lib/apache2/modules");
    let libraries = fs::read_dir(apache.join("usr/lib")).unwrap();
    let libraries = libraries
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().ends_with("-linux-gnu"))
        .unwrap();
    let folder = world.folder.path();
    // As root, Apache serves as another user, who must be able to reach the folder.
    fs::set_permissions(folder, Permissions::from_mode(0o755)).unwrap();
    fs::create_dir_all(folder.join("htdocs/orders")).unwrap();
    world.folder.write("ca.pem", &front.certificate);
    fs::write(folder.join("htdocs/orders/index.html"), "orders").unwrap();
    let (root, port) = (folder.display(), free_port());
    let modules_of = |names: &[&str]| {
        let line = |name: &&str| {
            let modules = modules.display();
            format!("LoadModule {name}_module {modules}/mod_{name}.so")
        };
        names.iter().map(line).collect::<Vec<_>>().join("\n")
    };
    let common = modules_of(&["mpm_event", "authn_core", "authz_core", "authz_user", "dir"]);
    let own = if name == "apache-openidc" {
        let module = modules_of(&["auth_openidc"]);
        format!("{module}\nOIDCCABundlePath {root}/ca.pem")
    } else {
        modules_of(&["oauth2"])
    };
    let config = format!(
        "ServerRoot {root}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {root}/httpd.pid\n\
         User #65534\nGroup #65534\nMutex file:{root} default\nErrorLog /dev/stderr\n\
         {common}\n{own}\n\
         LogFormat \"user=%u %U%q %>s\" short\nCustomLog /dev/stdout short\n\
         DocumentRoot {root}/htdocs\nDirectoryIndex index.html\n{}",
        recipe(name)
    );
    world.folder.write("httpd.conf", &config);
    let mut command = Command::new(apache.join("usr/sbin/apache2"));
    command
        .arg("-f")
        .arg(world.folder.file("httpd.conf"))
        .arg("-DFOREGROUND")
        .env("LD_LIBRARY_PATH", libraries)
        .envs(world.environment());
    if name == "apache-openidc" {
        command.env("ISSUER", &front.issuer);
    }
    let mut program = Program::start(command, folder);
    let url = format!("http://127.0.0.1:{port}/orders/");
    program.wait_for(&url);
    (program, url)
}
