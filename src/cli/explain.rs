//! `symbolon explain`: which rule grants or refuses a client, a scope or a token.

use std::path::PathBuf;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::manifests::{self, World};
use crate::directory::{ObjectKey, Settings, Step, Verdict};

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon explain client shop/till --dir manifests/
  symbolon explain client shop/till --dir manifests/ --scope orders.write
  symbolon explain scope platform/orders.write --dir manifests/ --namespace shop
  symbolon explain token shop/nightly --dir team/ --dir platform/ -o json

Exit status: 0: every rule holds; 1: one refuses; 2: asked wrongly.")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Why an OAuthClient is served and its scopes are granted, or not
    Client {
        #[command(flatten)]
        common: Common,
        /// Only this scope value
        #[arg(long)]
        scope: Option<String>,
    },
    /// Why a Scope is served, or not
    Scope {
        #[command(flatten)]
        common: Common,
        /// Whether clients of this namespace may have it
        #[arg(long)]
        namespace: Option<String>,
    },
    /// Why a ServiceAccessToken can be issued, or not
    Token {
        #[command(flatten)]
        common: Common,
    },
}

#[derive(Debug, clap::Args)]
struct Common {
    /// The object
    #[arg(value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    object: ObjectKey,
    /// Manifests to look in: files and directories; - reads standard input
    #[arg(long, required = true, value_name = "PATH")]
    dir: Vec<PathBuf>,
    /// The Identity of objects that name none, as the operator has it
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// How to write it
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Output {
    /// A line for each rule
    Text,
    /// One object: `kind`, `namespace`, `name`, `allowed` and `steps`
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the edge: what ends is judged by the clock of whoever asks"
    )]
    let now = Timestamp::now();
    let (What::Client { common, .. } | What::Scope { common, .. } | What::Token { common }) =
        &args.what;
    let world = match world(common, now) {
        Ok(world) => world,
        Err(error) => {
            eprintln!("symbolon: {error:#}");
            return Ok(ExitCode::from(super::ASKED_WRONGLY));
        }
    };
    let directory = &world.directory;
    let (kind, steps) = match &args.what {
        What::Client { common, scope } => (
            "OAuthClient",
            directory.explain_client(&common.object, scope.as_deref()),
        ),
        What::Scope { common, namespace } => (
            "Scope",
            directory.explain_scope(&common.object, namespace.as_deref()),
        ),
        What::Token { common } => (
            "ServiceAccessToken",
            directory.explain_service_token(&common.object, now),
        ),
    };
    let allowed = steps.iter().all(|step| step.verdict == Verdict::Holds);
    match common.output {
        Output::Text => print!("{}", text(kind, &common.object, &steps)),
        Output::Json => {
            let ObjectKey { namespace, name } = &common.object;
            let report = json!({"kind": kind, "namespace": **namespace, "name": **name, "allowed": allowed, "steps": steps});
            println!("{}", serde_json::to_string_pretty(&report)?);
        }
    }
    Ok(if allowed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Faults of the manifests go to standard error: what they hide is not there to be explained.
fn world(common: &Common, now: Timestamp) -> anyhow::Result<World> {
    let manifests = manifests::read(&common.dir)?;
    for manifest in &manifests {
        for fault in &manifest.faults {
            let place = manifest.source.position(fault.span.start);
            eprintln!(
                "{}:{}:{}: {}",
                manifest.source.name, place.line, place.column, fault.message
            );
        }
    }
    let settings = Settings {
        default_identity: common.default_identity.clone(),
        ..Settings::default()
    };
    Ok(World::new(settings, &[], &manifests, now))
}

fn text(kind: &str, key: &ObjectKey, steps: &[Step]) -> String {
    let line = |step: &Step| {
        let mark = match step.verdict {
            Verdict::Holds => "✓",
            Verdict::Refuses => "✗",
        };
        format!("  {mark} {}: {}\n", step.rule, step.message)
    };
    format!(
        "{kind} {key}\n{}",
        steps.iter().map(line).collect::<String>()
    )
}
