//! `symbolon restore`: what an administrator does after a restore.

mod progress;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};

use self::progress::Progress;
use self::report::Report;
use super::clock::now;
use super::{cluster, manifests, terminal};
use crate::directory::{ObjectKey, Settings};
use crate::reconcile::cluster::ApiError;
use crate::reconcile::fence::Fence;
use crate::reconcile::kube_api::KubeApi;
use crate::reconcile::restore::{Gather, Gathered, Item, carry_out, evidence, mac_key, plan_all};
use crate::tokens::MacKey;

/// For one request.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon restore rebind --identity platform/main --dry-run     what would be done
  symbolon restore rebind --identity platform/main")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Bind Credentials to owners that were created anew, so that the tokens in restored Secrets live on
    #[command(after_help = "Examples:
  symbolon restore rebind --identity platform/main --dry-run
  symbolon restore rebind --identity platform/main --namespace shop
  symbolon restore rebind --identity platform/main --as system:serviceaccount:symbolon-system:symbolon

Stop the operator first. What was revoked or has ended stays dead. It may be run again at any time.

Exit status: 0: done; 1: not all of it, run it again; 2: asked wrongly.")]
    Rebind(Rebind),
}

#[derive(Debug, clap::Args)]
struct Rebind {
    /// The Identity whose Credentials were restored
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    identity: ObjectKey,
    /// Only owners in these namespaces (repeat it, or separate by commas); default: all
    #[arg(long = "namespace", short, value_name = "NAMESPACE", value_delimiter = ',', value_parser = manifests::namespace)]
    namespaces: Vec<String>,
    /// Say what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// How to write it
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Go on although an operator seems to be running: what it has issued anew stays
    #[arg(long)]
    force: bool,
    /// The operator's Lease; default: whatever has the labels of one
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_LEASE", value_parser = manifests::object_key)]
    lease: Option<ObjectKey>,
    /// The Identity of objects that name none; give the operator's value
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_DEFAULT_IDENTITY", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// The context of the kubeconfig
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Act as this user when it comes to our objects and Secrets, where an admission policy lets the operator alone
    /// write Credentials; one of some namespaces only needs --namespace too
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each Credential that is not as it should be
    Text,
    /// One object: `identity`, `dryRun`, `items`, `unreadable`, `summary`
    Json,
}

pub(super) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let What::Rebind(args) = &args.what;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(rebind(args))
}

async fn rebind(args: &Rebind) -> anyhow::Result<ExitCode> {
    let own = cluster::client_as(args.context.as_deref(), None).await?;
    refuse_company(args, &Gather::new(own)).await?;
    let client = cluster::client_as(args.context.as_deref(), args.user.as_deref()).await?;
    let gather = Gather::new(client.clone());
    let api = KubeApi::new(client, TIMEOUT, Fence::open());
    let key = restored_key(&api, &args.identity).await?;
    let settings = Settings {
        default_identity: args.default_identity.clone(),
        ..Settings::default()
    };
    let gathered = gather
        .objects(&args.identity, &args.namespaces, &settings)
        .await
        .map_err(|error| {
            let words = unread(args, &error);
            anyhow!(error).context(words)
        })?;
    let unreadable = gathered.unreadable.clone();
    let items = decide(args, &api, gathered, &key).await?;
    let failures = if args.dry_run {
        BTreeMap::new()
    } else {
        let progress = Progress::of("Credentials written", items.len());
        carry_out(&api, &items, &|| progress.step()).await
    };
    let report = Report {
        identity: &args.identity,
        dry_run: args.dry_run,
        items: &items,
        unreadable: &unreadable,
        failures: &failures,
    };
    match args.output {
        Output::Text => terminal::print(&report.text())?,
        Output::Json => terminal::print_json(&report.json())?,
    }
    Ok(if failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// That the objects cannot be read, and what to do where it is for asking in all namespaces.
fn unread(args: &Rebind, error: &ApiError) -> String {
    let identity = &args.identity;
    let hint = match error {
        ApiError::Forbidden(_) if args.namespaces.is_empty() => {
            " in all namespaces: name those where the operator works, with --namespace"
        }
        _ => "",
    };
    format!("cannot read the objects of Identity {identity}{hint}")
}

/// An operator would issue anew what is about to be rebound.
async fn refuse_company(args: &Rebind, gather: &Gather) -> anyhow::Result<()> {
    if args.force {
        return Ok(());
    }
    let company = gather
        .operator_at_work(args.lease.as_ref(), now())
        .await
        .context("cannot see whether an operator is running: name its Lease with --lease, or give --force")?;
    match company {
        None => Ok(()),
        Some(words) => bail!(
            "an operator is running: {words}; stop it and wait until its Lease has run out, or give --force"
        ),
    }
}

async fn restored_key(
    api: &KubeApi,
    identity: &ObjectKey,
) -> anyhow::Result<std::sync::Arc<MacKey>> {
    let found = mac_key(api, identity)
        .await
        .context("cannot read the Identity's mac key")?;
    match found {
        Some(Ok(key)) => Ok(key),
        Some(Err(problem)) => Err(anyhow!("{}", problem.message)),
        None => bail!(
            "the Secret {identity}-mac is not there: restore it first, since it proves which Credentials are genuine"
        ),
    }
}

async fn decide(
    args: &Rebind,
    api: &KubeApi,
    gathered: Gathered,
    key: &MacKey,
) -> anyhow::Result<Vec<Item>> {
    let Gathered {
        directory,
        credentials,
        unreadable: _,
    } = gathered;
    let progress = Progress::of("Secrets read", credentials.len());
    let evidence = evidence(api, &directory, &credentials, &|| progress.step())
        .await
        .context("cannot read the Secrets of the owners")?;
    Ok(plan_all(
        &directory,
        &args.identity,
        credentials,
        &evidence,
        key,
        now(),
    ))
}
