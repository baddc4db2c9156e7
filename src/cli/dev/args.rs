//! The options of `symbolon dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::cli::logging::LogArgs;
use crate::cli::manifests;
use crate::directory::ObjectKey;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon dev examples/quickstart
  symbolon dev manifests --listen 127.0.0.1:9000
  symbolon dev manifests --identity platform/main --state /tmp/symbolon
  symbolon dev manifests --log warn --audit false    log problems only

Save a file, and the next request uses it. The state folder has the Secrets in secrets/, the signing keys in keys/ and
the status of each object in status/. It must have been created by symbolon dev at this place: a state folder from a
repository or an archive is refused, since others may know its keys. It may be a link only with --state.")]
pub(in crate::cli) struct Args {
    /// The directory of manifests
    pub(super) dir: PathBuf,
    /// The address to serve on; it replaces the origin of the Identity's issuer; port 0 selects a free port
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8080",
        env = "SYMBOLON_LISTEN"
    )]
    pub(super) listen: SocketAddr,
    /// The address to serve /livez, /readyz and /metrics on [default: the port after that of --listen]
    #[arg(long, value_name = "ADDRESS", env = "SYMBOLON_HEALTH_LISTEN")]
    pub(super) health_listen: Option<SocketAddr>,
    /// The state folder, for secrets, keys and uids [default: DIR/.symbolon]
    #[arg(long, value_name = "DIR")]
    pub(super) state: Option<PathBuf>,
    /// The Identity to serve; required if there are several
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    pub(super) identity: Option<ObjectKey>,
    /// The Identity of objects that name none [default: the served one]
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = manifests::object_key)]
    pub(super) default_identity: Option<ObjectKey>,
    #[command(flatten)]
    pub(super) log: LogArgs,
}
