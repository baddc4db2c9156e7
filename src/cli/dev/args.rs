//! The options of `symbolon dev`.

use std::path::PathBuf;

use super::origin;
use crate::cli::listen::{Listen, listen};
use crate::cli::logging::LogArgs;
use crate::cli::manifests;
use crate::cli::unshown::Unshown;
use crate::directory::ObjectKey;

#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  symbolon dev examples/quickstart
  symbolon dev manifests --listen localhost:9000
  symbolon dev manifests --listen :8080                                                in a container
  symbolon dev manifests --listen :8080 --issuer https://id.example.test/main          behind a proxy with TLS
  symbolon dev manifests --identity platform/main --state /tmp/symbolon
  symbolon dev manifests --log warn --audit false    log problems only

Save a file, and the next request uses it. The state folder has the Secrets in secrets/, the signing keys in keys/ and
the status of each object in status/. It must have been created by symbolon dev at this place: a state folder from a
repository or an archive is refused, since others may know its keys. It may be a link only with --state.")]
pub(in crate::cli) struct Args {
    /// The directory of manifests
    pub(super) dir: PathBuf,
    /// The address to serve on: localhost:PORT, IP:PORT, or :PORT for all addresses; without --issuer it replaces the
    /// origin of the Identity's issuer, by localhost if it is all addresses; port 0 selects a free port
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "localhost:8080",
        env = "SYMBOLON_LISTEN",
        value_parser = listen
    )]
    pub(super) listen: Listen,
    /// The issuer to serve instead of the Identity's: the URL by which clients reach dev mode through a proxy or a
    /// published port
    #[arg(long, value_name = "URL", env = "SYMBOLON_ISSUER", hide_env_values = true, value_parser = Unshown(origin::issuer))]
    pub(super) issuer: Option<String>,
    /// The address to serve /livez, /readyz and /metrics on [default: the port after that of --listen]
    #[arg(long, value_name = "ADDRESS", env = "SYMBOLON_HEALTH_LISTEN", value_parser = listen)]
    pub(super) health_listen: Option<Listen>,
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
