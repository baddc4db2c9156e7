//! `symbolon explain`: shows which rule grants or refuses a client, a scope or a token.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::manifests::{self, World};
use super::{clock, terminal};
use crate::directory::problem::suggest::one_line;
use crate::directory::template::secret_metadata::InstallationMetadata;
use crate::directory::{Directory, ObjectKey, RuleVerdict, Settings, Verdict};
use crate::resources::Kind;
use crate::source::manifest::{Manifest, ManifestObject};

/// The maximum number of faults of manifests that are printed.
const MAX_FAULTS: usize = 50;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon explain client shop/till --dir manifests/
  symbolon explain client shop/till --dir manifests/ --scope orders.write
  symbolon explain scope platform/orders.write --dir manifests/ --namespace shop
  symbolon explain token shop/nightly --dir team/ --dir platform/ -o json
  kubectl get sat,oac -n shop -o yaml | symbolon explain token shop/nightly --dir - --dir platform/

Exit status: 0: every rule holds; 1: a rule refuses; 2: usage error, or the output cannot be written.")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Explain why an OAuthClient is served or not, and why its scopes are granted or not
    Client {
        #[command(flatten)]
        common: Common,
        /// Explain this scope value only
        #[arg(long)]
        scope: Option<String>,
    },
    /// Explain why a Scope is served or not
    Scope {
        #[command(flatten)]
        common: Common,
        /// Explain whether clients of this namespace may get the scope
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Explain why a ServiceAccessToken can be issued or not
    Token {
        #[command(flatten)]
        common: Common,
    },
    /// Explain why a User may sign in or not
    User {
        #[command(flatten)]
        common: Common,
        /// Explain whether the person may use this OAuthClient
        #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
        client: Option<ObjectKey>,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The object to explain
    #[arg(value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    object: ObjectKey,
    /// Manifests to read: files and directories; - reads standard input
    #[arg(long, required = true, value_name = "PATH")]
    dir: Vec<PathBuf>,
    /// The Identity of objects that name none; give the operator's value
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// Accept Identities in these namespaces only; give the operator's value; default: all
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    identity_namespace: Vec<String>,
    /// The labels and annotations that templates of Secrets may set; give the operator's value; default: all that the
    /// Identity allows
    #[arg(long, value_name = "JSON", value_parser = InstallationMetadata::parse)]
    allowed_secret_metadata: Option<InstallationMetadata>,
    /// The output format
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// A line for each rule
    Text,
    /// One JSON object with `kind`, `namespace`, `name`, `allowed` and `steps`
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let now = clock::now();
    let (What::Client { common, .. }
    | What::Scope { common, .. }
    | What::Token { common }
    | What::User { common, .. }) = &args.what;
    let (world, manifests) = match world(common, now) {
        Ok(read) => read,
        Err(error) => {
            terminal::complain(&error);
            return Ok(ExitCode::from(super::ASKED_WRONGLY));
        }
    };
    let directory = &world.directory;
    let mut life = Vec::new();
    let (kind, steps) = match &args.what {
        What::Client { common, scope } => (
            "OAuthClient",
            directory.explain_client(&common.object, scope.as_deref()),
        ),
        What::Scope { common, namespace } => (
            "Scope",
            directory.explain_scope(&common.object, namespace.as_deref()),
        ),
        What::Token { common } => {
            let objects = manifests.iter().flat_map(|manifest| &manifest.objects);
            let mut known = objects.filter(|object| {
                object.kind == Kind::ServiceAccessToken && object.key == common.object
            });
            life = known.next().map(lifecycle).unwrap_or_default();
            (
                "ServiceAccessToken",
                directory.explain_service_token(&common.object, now),
            )
        }
        What::User { common, client } => (
            "User",
            directory.explain_user(&common.object, client.as_ref(), now),
        ),
    };
    let warnings = unwritten(directory, &args.what);
    let allowed = steps.iter().all(|step| step.verdict == Verdict::Holds);
    match common.output {
        Output::Text => {
            let notes = [life, warnings].concat();
            terminal::print(&text(kind, &common.object, &steps, &notes))?;
        }
        Output::Json => {
            let ObjectKey { namespace, name } = &common.object;
            let mut report = json!({"kind": kind, "namespace": **namespace, "name": **name, "allowed": allowed, "steps": steps});
            if !life.is_empty() {
                report["lifecycle"] = json!(life);
            }
            if !warnings.is_empty() {
                report["warnings"] = json!(warnings);
            }
            terminal::print_json(&report)?;
        }
    }
    Ok(if allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Returns warnings about labels and annotations of the template that are not written. They refuse nothing.
fn unwritten(directory: &Directory, what: &What) -> Vec<String> {
    let problems = match what {
        What::Client { common, .. } => directory
            .client(&common.object)
            .and_then(|client| directory.accepted_client(client).ok())
            .map(|client| Directory::unwritten_of_client(&client)),
        What::Token { common } => directory
            .service_token(&common.object)
            .map(|token| directory.unwritten_of_token(token)),
        What::Scope { .. } | What::User { .. } => None,
    };
    let problems = problems.unwrap_or_default().into_iter();
    problems.map(|problem| problem.message).collect()
}

/// Reads the manifests. Their faults go to standard error, since an object in a faulty document is missing in the
/// explanation.
fn world(common: &Common, now: Timestamp) -> anyhow::Result<(World, Vec<Manifest>)> {
    let manifests = manifests::read(&common.dir)?.manifests;
    let faults = manifests.iter().flat_map(|manifest| {
        manifest
            .faults
            .iter()
            .map(|fault| (&manifest.source, fault))
    });
    for (source, fault) in faults.clone().take(MAX_FAULTS) {
        let place = source.position(fault.span.start);
        let line = format!(
            "{}:{}:{}: {}",
            source.name, place.line, place.column, fault.message
        );
        terminal::note(&line);
    }
    let more = faults.count().saturating_sub(MAX_FAULTS);
    if more > 0 {
        terminal::note(&format!("and {more} more: run symbolon check to list them"));
    }
    let settings = Settings {
        default_identity: common.default_identity.clone(),
        identity_namespaces: super::fleet::identity_namespaces(&common.identity_namespace, None),
        secret_metadata: Arc::new(common.allowed_secret_metadata.clone().unwrap_or_default()),
        ..Settings::default()
    };
    Ok((World::new(settings, &[], &manifests, now), manifests))
}

/// Describes the lifecycle of a token by its status, if the manifest comes from a cluster.
fn lifecycle(object: &ManifestObject) -> Vec<String> {
    let status = &object.status;
    let text = |at: &Value, field: &str| at[field].as_str().map(str::to_owned);
    let Some(id) = text(status, "tokenId") else {
        return Vec::new();
    };
    let used = |at: &Value| {
        text(at, "lastUsed").map_or("no use recorded".to_owned(), |day| {
            format!("last used on {day}")
        })
    };
    let moment = |field: &str, words: &str| {
        text(status, field)
            .map(|at| format!(", {words} {at}"))
            .unwrap_or_default()
    };
    let mut told = vec![format!(
        "token {id}{}{}{}: {}",
        moment("issuedAt", "issued"),
        moment("expiresAt", "expires"),
        moment("renewsAt", "next rotation"),
        used(status)
    )];
    let previous = &status["previous"];
    if let Some(id) = text(previous, "tokenId") {
        let end = text(previous, "notAfter").map_or("keeps its own expiry".to_owned(), |end| {
            format!("expires {end}")
        });
        let rotation = &object.value["spec"]["rotation"];
        let sooner = if rotation["retire"] == "WhenAdopted" {
            let quiet = text(rotation, "quietPeriod").unwrap_or_else(|| "1h".to_owned());
            format!(", or earlier once the newest token is used and this one is unused for {quiet}")
        } else {
            String::new()
        };
        told.push(format!(
            "previous token {id}, {end}{sooner}: {}",
            used(previous)
        ));
    }
    told.extend(text(status, "createdBy").map(|name| match &*name {
        "unverified" => "the creator is not verified".to_owned(),
        name => format!("created by {name}"),
    }));
    told
}

fn text(kind: &str, key: &ObjectKey, steps: &[RuleVerdict], life: &[String]) -> String {
    let line = |step: &RuleVerdict| {
        let mark = match step.verdict {
            Verdict::Holds => "✓",
            Verdict::Refuses => "✗",
        };
        format!("  {mark} {}: {}\n", step.rule, one_line(&step.message))
    };
    let rules: String = steps.iter().map(line).collect();
    let life = life.iter().map(|line| format!("  · {}\n", one_line(line)));
    format!("{kind} {key}\n{rules}{}", life.collect::<String>())
}
