//! The text that dev mode prints when it is ready: the addresses, the clients, a command to paste for each, and the links
//! for people.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use super::people::{Access, Link, Person};
use super::world::World;
use crate::characters::shell_word;
use crate::directory::problem::suggest::one_line;
use crate::directory::tables::record::IdentityRecord;
use crate::directory::{Directory, Object, ObjectKey, Served};
use crate::oauth::Endpoint;
use crate::resources::{ANNOTATION_ENROLL, GrantType, LABEL_CLIENT};

/// Returns the whole text. It contains no secret of a client: the commands read the state files. The links of people
/// work once, and only until they are used.
pub(super) fn text(world: &World, health: &str) -> String {
    let directory = world.directory();
    let mut out = String::new();
    let _ = writeln!(
        out,
        "Symbolon serves {} from {}",
        world.identity(),
        one_line(&world.root().display().to_string())
    );
    match directory.served_identity(world.identity()) {
        Ok(identity) => {
            issuer(&mut out, world, identity, health);
            clients(&mut out, world, &directory, identity);
            service_tokens(&mut out, world, &directory, identity);
            people(&mut out, world, identity);
        }
        Err(_) => {
            let _ = writeln!(out, "\nNothing is served yet:");
            for reason in unserved(&directory, world.identity()) {
                let _ = writeln!(out, "  {}", one_line(&reason));
            }
        }
    }
    let _ = writeln!(
        out,
        "\nSave a file, and the next request uses it. Press Ctrl-C to stop."
    );
    out
}

/// The maximum number of Identities that are named.
const MAX_NAMED: usize = 20;

/// Returns why an Identity is not served.
fn unserved(directory: &Directory, key: &ObjectKey) -> Vec<String> {
    let Some(object) = directory.identity(key) else {
        let known = directory
            .identities()
            .take(MAX_NAMED)
            .map(|it| it.key.to_string());
        let known = known.collect::<Vec<_>>().join(", ");
        let known = if known.is_empty() {
            "the manifests contain no valid Identity: correct the errors in the log".to_owned()
        } else {
            format!(
                "the valid ones are {known}: choose one with --identity, or correct the errors in the log"
            )
        };
        return vec![format!("there is no Identity {key}; {known}")];
    };
    let problems = directory.identity_problems(object).into_iter();
    let told =
        problems.map(|problem| format!("Identity {key}: {}: {}", problem.reason, problem.message));
    told.collect()
}

fn issuer(out: &mut String, world: &World, identity: Served<'_, IdentityRecord>, health: &str) {
    let issuer = &identity.record.issuer;
    let _ = writeln!(out, "\n  issuer     {issuer}");
    if let Some(replaced) = world.replaced_issuer() {
        let _ = writeln!(out, "             ({replaced})");
    }
    let _ = writeln!(
        out,
        "  discovery  {issuer}/.well-known/openid-configuration"
    );
    let _ = writeln!(
        out,
        "  health     {health}/readyz, metrics {health}/metrics"
    );
    let _ = writeln!(
        out,
        "  state      {}",
        one_line(&world.state().display().to_string())
    );
}

/// Returns the objects sorted by namespace and name.
fn by_key<'d, T: 'd>(objects: impl Iterator<Item = &'d Arc<Object<T>>>) -> Vec<&'d Arc<Object<T>>> {
    let mut objects: Vec<_> = objects.collect();
    objects.sort_by_key(|object| &object.key);
    objects
}

fn clients(
    out: &mut String,
    world: &World,
    directory: &Directory,
    identity: Served<'_, IdentityRecord>,
) {
    let _ = writeln!(out, "\nClients");
    for object in by_key(directory.clients()) {
        let Ok(accepted) = directory.accepted_client(object) else {
            let _ = writeln!(out, "  {} is not accepted: see the log", object.key);
            continue;
        };
        let record = accepted.client.record;
        if accepted.identity.object.key != identity.object.key {
            continue;
        }
        let named = named(record.display_name.as_deref());
        let _ = writeln!(out, "  {}{named}", record.client_id);
        if record.may_use(GrantType::AuthorizationCode) && !record.disabled {
            let uris = record
                .interactive
                .as_ref()
                .map(|it| it.redirect_uris.join(", "));
            let uris = uris.unwrap_or_default();
            let _ = writeln!(
                out,
                "    signs people in, who return to {}",
                one_line(&uris)
            );
        }
        let secret = ObjectKey::new(&object.key.namespace, &record.secret.name);
        if let Some(path) = world
            .files()
            .secret_path(&secret)
            .filter(|_| record.may_use(GrantType::ClientCredentials) && !record.disabled)
        {
            if record.secret.existing_key.is_some() && !path.exists() {
                let _ = writeln!(
                    out,
                    "    needs its client secret: write the Secret {} with the label {LABEL_CLIENT}: {} to {}",
                    record.secret.name,
                    object.key.name,
                    one_line(&path.display().to_string())
                );
            }
            let key = record.secret.existing_key.as_deref();
            let value = value_in(&path, key.unwrap_or("client-secret"));
            let (id, issuer) = (&record.client_id, &identity.record.issuer);
            let line = value.map(|value| {
                format!("curl -s -u \"{id}:{value}\" -d grant_type=client_credentials {issuer}/connect/token")
            });
            command(out, line);
        }
    }
}

fn service_tokens(
    out: &mut String,
    world: &World,
    directory: &Directory,
    identity: Served<'_, IdentityRecord>,
) {
    let is_ours = |client: &ObjectKey| {
        let client = directory.client(client);
        let accepted = client.and_then(|client| directory.accepted_client(client).ok());
        accepted.is_some_and(|client| client.identity.object.key == identity.object.key)
    };
    let tokens: Vec<_> = by_key(directory.service_tokens())
        .into_iter()
        .filter_map(|object| Some((object, object.record()?)))
        .filter(|(_, record)| !record.revoked && is_ours(&record.client))
        .collect();
    if !tokens.is_empty() {
        let _ = writeln!(out, "\nService access tokens");
    }
    for (object, record) in tokens {
        let _ = writeln!(out, "  {}", object.key);
        let secret = ObjectKey::new(&object.key.namespace, &record.secret.name);
        let Some(path) = world.files().secret_path(&secret) else {
            continue;
        };
        if let Some(gateway) = identity.record.gateways.keys().next() {
            let issuer = &identity.record.issuer;
            let line = value_in(&path, "token").map(|value| {
                format!("curl -i -H \"Authorization: Bearer {value}\" {issuer}/connect/checktoken/{gateway}")
            });
            command(out, line);
        }
    }
}

/// The maximum number of people that are named.
const MAX_PEOPLE: usize = 20;

/// Writes where people sign in, and what each of them needs for that.
fn people(out: &mut String, world: &World, identity: Served<'_, IdentityRecord>) {
    if !world.has_people() {
        return;
    }
    let sign_in = Endpoint::SignIn.url(&identity.record.issuer);
    let _ = writeln!(out, "\nPeople, who sign in at {sign_in}");
    let persons = world.persons();
    for Person {
        username,
        display_name,
        access,
    } in persons.iter().take(MAX_PEOPLE)
    {
        let _ = writeln!(
            out,
            "  {}{}",
            one_line(username),
            named(display_name.as_deref())
        );
        let _ = match access {
            Access::Link(Link { url, file }) => {
                let also = file.as_ref().map(|file| {
                    format!("\n    (also in {})", one_line(&file.display().to_string()))
                });
                writeln!(
                    out,
                    "    opens this link, which works once, to set a password:\n    {url}{}",
                    also.unwrap_or_default()
                )
            }
            Access::Password => writeln!(
                out,
                "    has a password; another value of the annotation {ANNOTATION_ENROLL} makes a link that sets a new one"
            ),
            Access::Nothing => writeln!(
                out,
                "    has no password: a new value of the annotation {ANNOTATION_ENROLL} makes a link that sets one"
            ),
        };
    }
    if let Some(more) = persons
        .len()
        .checked_sub(MAX_PEOPLE)
        .filter(|more| *more > 0)
    {
        let _ = writeln!(out, "  and {more} more");
    }
}

/// Returns a display name as an addition to another name.
fn named(display_name: Option<&str>) -> String {
    let name = display_name.map(|name| format!("  ({})", one_line(name)));
    name.unwrap_or_default()
}

/// Writes a command to paste, if there is one.
fn command(out: &mut String, line: Option<String>) {
    let line = line.unwrap_or_else(|| {
        "(no command: the path of the state folder has characters that cannot be pasted; choose another one with --state)".to_owned()
    });
    let _ = writeln!(out, "    {line}");
}

/// Returns a shell command that prints the value of a key of a Secret's manifest; `None` if the path cannot be pasted.
fn value_in(path: &Path, key: &str) -> Option<String> {
    let script = shell_word(&format!("s/^  {key}: //p"))?;
    let path = shell_word(path.to_str()?)?;
    Some(format!("$(sed -n {script} {path} | base64 -d)"))
}
