//! `symbolon restore`: commands for administrators after a backup was restored.

mod progress;
mod report;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use jiff::Timestamp;

use self::progress::Progress;
use self::report::Report;
use super::clock::now;
use super::cluster::{self, Program};
use super::{manifests, terminal};
use crate::directory::problem::suggest::shown;
use crate::directory::{ObjectKey, Settings};
use crate::reconcile::cluster::api::ApiError;
use crate::reconcile::cluster::fence::Fence;
use crate::reconcile::cluster::kube_api::KubeApi;
use crate::reconcile::key_secrets::{FoundMac, read_mac};
use crate::reconcile::restore::{Company, Gather, Gathered, Item, carry_out, evidence, plan_all};
use crate::tokens::MacKey;

/// The time limit of a request.
const TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon restore rebind --identity platform/main --dry-run     print what would be done
  symbolon restore rebind --identity platform/main")]
pub(super) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Bind Credentials to their recreated owners, so that the tokens in restored Secrets are valid again
    #[command(after_help = "Examples:
  symbolon restore rebind --identity platform/main --dry-run
  symbolon restore rebind --identity platform/main --namespace shop
  symbolon restore rebind --identity platform/main --as system:serviceaccount:symbolon-system:symbolon

Stop the operator first. Revoked and expired tokens stay invalid. You can run the command again at any time.

Exit status: 0: success; 1: some Credentials were not rebound, run it again; 2: usage error.")]
    Rebind(Rebind),
}

#[derive(Debug, clap::Args)]
struct Rebind {
    /// The Identity whose Credentials were restored
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    identity: ObjectKey,
    /// Rebind owners in these namespaces only (repeat it, or separate by commas); default: all
    #[arg(long = "namespace", short, value_name = "NAMESPACE", value_delimiter = ',', value_parser = manifests::namespace)]
    namespaces: Vec<String>,
    /// Print what would be done, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// The output format
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Continue although an operator seems to be running; tokens that it has newly issued stay
    #[arg(long)]
    force: bool,
    /// The operator's Lease; default: every Lease with its labels
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_LEASE", value_parser = manifests::object_key)]
    lease: Option<ObjectKey>,
    /// The Identity of objects that name none; give the operator's value
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_DEFAULT_IDENTITY", value_parser = manifests::object_key)]
    default_identity: Option<ObjectKey>,
    /// The kubeconfig context to use
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Impersonate this user to read and write Symbolon's objects and Secrets, if an admission policy lets only the
    /// operator write Credentials; for a user with access to some namespaces only, give --namespace too
    #[arg(long = "as", value_name = "USER")]
    user: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each Credential that needs or needed a change
    Text,
    /// One JSON object with `identity`, `dryRun`, `items`, `unreadable` and `summary`
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
    let own = cluster::client_as(args.context.as_deref(), Program::Restore, None).await?;
    refuse_company(args, &Gather::new(own)).await?;
    let client = cluster::client_as(
        args.context.as_deref(),
        Program::Restore,
        args.user.as_deref(),
    )
    .await?;
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
    let now = now();
    let items = decide(args, &api, gathered, &key, now).await?;
    let failures = if args.dry_run {
        BTreeMap::new()
    } else {
        let progress = Progress::of("Credentials written", items.len());
        carry_out(&api, &items, &key, now, &|| progress.step()).await
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

/// Returns the message that the objects cannot be read, with a hint if only a request for all namespaces was denied.
fn unread(args: &Rebind, error: &ApiError) -> String {
    let identity = &args.identity;
    let hint = match error {
        ApiError::Forbidden(_) if args.namespaces.is_empty() => {
            " in all namespaces: name the operator's namespaces with --namespace"
        }
        _ => "",
    };
    format!("cannot read the objects of Identity {identity}{hint}")
}

/// Fails while an operator runs: it would issue new tokens for the owners that are about to be rebound.
async fn refuse_company(args: &Rebind, gather: &Gather) -> anyhow::Result<()> {
    if args.force {
        return Ok(());
    }
    let company = gather
        .operator_at_work(args.lease.as_ref(), now())
        .await
        .context("cannot find out whether an operator is running: name its Lease with --lease, or give --force")?;
    match company {
        Company::NoOperator => Ok(()),
        Company::NoSuchLease => {
            terminal::note(
                "the Lease that --lease names does not exist: go on only if no operator has ever run in this cluster, or if you are certain that none is running",
            );
            Ok(())
        }
        Company::Operator(lease) => bail!("{}", company_words(&lease)),
    }
}

/// Returns the message that an operator seems to be running. Of a Lease it repeats only the name: a tenant may have
/// written the rest.
fn company_words(lease: &ObjectKey) -> String {
    let (namespace, name) = (shown(&lease.namespace), shown(&lease.name));
    format!(
        "the Lease {namespace}/{name} says that an operator is running: stop the operator and wait until its Lease expires; if it is not your operator's Lease, name that one with --lease (the chart: NAMESPACE/NAME of the Deployment)"
    )
}

async fn restored_key(
    api: &KubeApi,
    identity: &ObjectKey,
) -> anyhow::Result<std::sync::Arc<MacKey>> {
    let found = read_mac(api, identity)
        .await
        .context("cannot read the Identity's mac key")?;
    match found {
        FoundMac::Key(key) => Ok(key),
        FoundMac::Unusable(problem) => Err(anyhow!("{}", problem.message)),
        FoundMac::Missing => bail!(
            "the Secret {identity}-mac does not exist: restore it first, since its key verifies the seals of Credentials"
        ),
    }
}

async fn decide(
    args: &Rebind,
    api: &KubeApi,
    gathered: Gathered,
    key: &MacKey,
    now: Timestamp,
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
        now,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An administrator reads this message in a restore, and follows it.
    #[test]
    fn the_advice_about_a_running_operator_has_no_words_of_a_tenant() {
        let words = company_words(&ObjectKey::new("evil", "mine"));
        assert!(
            words.contains("the Lease evil/mine") && words.contains("--lease"),
            "{words}"
        );
        assert!(!words.contains("--force"), "{words}");
        let hostile = company_words(&ObjectKey::new("evil", &"x\u{1b}[2J\u{202e}".repeat(9000)));
        assert!(hostile.len() < 1000, "{} bytes", hostile.len());
        assert!(!hostile.contains(['\u{1b}', '\u{202e}']), "{hostile}");
    }
}
