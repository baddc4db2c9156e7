//! The options for the pods that the operator runs for Identities.

use std::net::SocketAddr;
use std::sync::Arc;

use super::manifests;
use crate::directory::ObjectKey;
use crate::directory::template::secret_metadata::InstallationMetadata;
use crate::reconcile::controller::{EmbeddedIdentity, Serving};
use crate::reconcile::fleet::build::{Allowed, allowed_repository};
use crate::reconcile::fleet::{Fleet, Installation, Monitors, Objects};
use crate::resources::ManagedKind;
use crate::source::kubernetes::{Reach, WatchedKind};

/// Stands for all namespaces.
const EVERYWHERE: &str = "*";

#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Identities")]
pub(super) struct FleetArgs {
    /// The image of Identities' pods; without it the operator runs no pods, and you run `symbolon serve` yourself
    #[arg(long, value_name = "IMAGE", env = "SYMBOLON_IMAGE")]
    image: Option<String>,
    /// The name of an image pull Secret, in each Identity's namespace (repeat it, or separate by commas)
    #[arg(
        long = "image-pull-secret",
        value_name = "NAME",
        env = "SYMBOLON_IMAGE_PULL_SECRETS",
        value_delimiter = ','
    )]
    image_pull_secrets: Vec<String>,
    /// An image repository that Identities may use in `pod.image`, besides that of --image; with a trailing slash all
    /// repositories below it; * for any (repeat it, or separate by commas). Such an image can read the Identity's
    /// signing keys
    #[arg(
        long = "allow-pod-image",
        value_name = "REPOSITORY",
        env = "SYMBOLON_ALLOWED_POD_IMAGES",
        value_delimiter = ',',
        value_parser = allowed_repository
    )]
    allowed_images: Vec<String>,
    /// The other options that Identities may use: lists in JSON, in the format of the chart's value
    /// `identities.allowed`; a missing list allows anything
    #[arg(long, value_name = "JSON", env = "SYMBOLON_ALLOWED_OPTIONS", value_parser = Allowed::parse)]
    allowed_options: Option<Allowed>,
    /// Accept Identities in these namespaces only (repeat it, or separate by commas; * for all); default: in a pod the
    /// pod's namespace, else all
    #[arg(long = "identity-namespace", value_name = "NAMESPACE", env = "SYMBOLON_IDENTITY_NAMESPACES", value_delimiter = ',', value_parser = namespace_or_all)]
    identity_namespaces: Vec<String>,
    /// The Identity with `mode: Embedded` that the operator's own pods serve
    #[arg(long, value_name = "NAMESPACE/NAME", env = "SYMBOLON_EMBEDDED_IDENTITY", value_parser = manifests::object_key)]
    pub(super) embedded_identity: Option<ObjectKey>,
    /// The address to serve the embedded Identity on
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SYMBOLON_LISTEN",
        default_value = "0.0.0.0:8080",
        value_parser = super::listen::address
    )]
    pub(super) listen: SocketAddr,
    /// The `ClusterRole` that lets Identities' pods read users' objects
    #[arg(
        long,
        value_name = "NAME",
        env = "SYMBOLON_SERVER_CLUSTER_ROLE",
        default_value = "symbolon-server"
    )]
    server_cluster_role: String,
    /// Whether to create a `ServiceMonitor` for each Identity, if the cluster has this kind
    #[arg(long, value_name = "BOOL", env = "SYMBOLON_SERVICE_MONITORS", default_value_t = true, action = clap::ArgAction::Set)]
    service_monitors: bool,
    /// A label for each `ServiceMonitor`, by which your Prometheus selects it (repeat it, or separate by commas)
    #[arg(long = "service-monitor-label", value_name = "KEY=VALUE", env = "SYMBOLON_SERVICE_MONITOR_LABELS", value_delimiter = ',', value_parser = label)]
    service_monitor_labels: Vec<(String, String)>,
    /// The scrape interval, such as 30s; default: the interval of your Prometheus
    #[arg(long, value_name = "DURATION", env = "SYMBOLON_SERVICE_MONITOR_INTERVAL", value_parser = interval)]
    service_monitor_interval: Option<String>,
}

impl FleetArgs {
    /// Returns the namespaces in which Identities are accepted; empty: all.
    pub(super) fn identity_namespaces(&self) -> Vec<String> {
        identity_namespaces(
            &self.identity_namespaces,
            std::env::var("POD_NAMESPACE").ok(),
        )
    }

    /// Returns the namespaces to watch, those of Identities included; empty: all.
    pub(super) fn watched(&self, namespaces: &[String]) -> Vec<String> {
        let mut watched = namespaces.to_vec();
        if !watched.is_empty() {
            watched.extend(self.identity_namespaces());
            watched.sort();
            watched.dedup();
        }
        watched
    }

    /// Returns the labels and annotations that the objects of Identities may inherit.
    pub(super) fn inherited_metadata(&self) -> InstallationMetadata {
        let allowed = self.allowed_options.clone().unwrap_or_default();
        InstallationMetadata::new(allowed.inherited_labels, allowed.inherited_annotations)
    }

    fn image(&self) -> Option<&String> {
        self.image.as_ref().filter(|image| !image.is_empty())
    }

    /// Returns how Identities are served: by pods that the operator runs, by the operator itself, or neither.
    pub(super) fn serving(
        &self,
        objects: Objects,
        namespaces: &[String],
        default_identity: Option<&ObjectKey>,
        environment: Vec<(String, String)>,
        embedded: Option<EmbeddedIdentity>,
    ) -> Serving {
        let fleet = self.image().map(|image| {
            let installation = Installation {
                image: image.clone(),
                allowed_images: self.allowed_images.clone(),
                allowed: self.allowed_options.clone().unwrap_or_default(),
                image_pull_secrets: self.image_pull_secrets.clone(),
                namespaces: self.watched(namespaces),
                identity_namespaces: self.identity_namespaces(),
                default_identity: default_identity.cloned(),
                server_cluster_role: self.server_cluster_role.clone(),
                monitors: Monitors {
                    off: !self.service_monitors,
                    labels: self.service_monitor_labels.iter().cloned().collect(),
                    interval: self.service_monitor_interval.clone(),
                },
                environment,
            };
            Arc::new(Fleet::new(objects, installation))
        });
        Serving::Here { fleet, embedded }
    }

    /// Returns the watches of objects that the operator creates for Identities. Without an image it creates none.
    pub(super) fn watched_kinds(&self, namespaces: &[String]) -> Vec<(WatchedKind, Reach)> {
        if self.image().is_none() {
            return Vec::new();
        }
        watched_kinds(&self.watched(namespaces), &self.identity_namespaces())
    }
}

/// Parses a label as `KEY=VALUE`.
fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a label such as release=prometheus".to_owned()),
    }
}

/// Parses a duration in the format of Prometheus.
fn interval(text: &str) -> Result<String, String> {
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_time = unit.len() < text.len() && matches!(unit, "ms" | "s" | "m" | "h");
    is_time
        .then(|| text.to_owned())
        .ok_or_else(|| "write a duration such as 30s or 1m".to_owned())
}

/// Parses the name of a namespace, or `*`.
pub(super) fn namespace_or_all(text: &str) -> Result<String, String> {
    if text == EVERYWHERE {
        return Ok(text.to_owned());
    }
    manifests::namespace(text)
}

/// Returns the namespaces in which Identities are accepted; empty: all. `own` is the namespace of the operator's pod.
pub(super) fn identity_namespaces(said: &[String], own: Option<String>) -> Vec<String> {
    if said.iter().any(|name| name == EVERYWHERE) {
        Vec::new()
    } else if said.is_empty() {
        own.into_iter().collect()
    } else {
        said.to_vec()
    }
}

/// Returns the namespaces in which Identities and the objects of their pods may exist.
pub(super) fn identities_reach(watched: &[String], accepted: &[String]) -> Reach {
    match (accepted, watched) {
        ([], []) => Reach::Cluster,
        ([], names) | (names, _) => Reach::Namespaces(names.to_vec()),
    }
}

fn watched_kinds(watched: &[String], accepted: &[String]) -> Vec<(WatchedKind, Reach)> {
    let is_scoped = !watched.is_empty();
    let identities = identities_reach(watched, accepted);
    let everywhere = match watched {
        [] => Reach::Cluster,
        names => Reach::Namespaces(names.to_vec()),
    };
    let kinds = ManagedKind::ALL.into_iter();
    kinds
        .filter(|kind| kind.is_built_in())
        // The binding that lets pods read users' objects is a ClusterRoleBinding or one RoleBinding per namespace,
        // never both.
        .filter(|kind| !(is_scoped && *kind == ManagedKind::ClusterRoleBinding))
        .map(|kind| {
            let reach = match kind {
                ManagedKind::ClusterRoleBinding => Reach::Cluster,
                ManagedKind::RoleBinding if is_scoped => everywhere.clone(),
                _ => identities.clone(),
            };
            (WatchedKind::Managed(kind), reach)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::ManagedKind::{ClusterRoleBinding, Deployment, RoleBinding};
    use super::*;
    use crate::reconcile::fleet::build::{
        DRAIN_SECONDS, PRE_STOP_SECONDS, TERMINATION_GRACE_SECONDS,
    };

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn identities_are_accepted_in_the_pods_namespace_by_default() {
        let own = || Some("symbolon".to_owned());
        for (said, own, accepted) in [
            (&[][..], None, &[][..]),
            (&[], own(), &["symbolon"]),
            (&["a", "b"], own(), &["a", "b"]),
            (&["*"], own(), &[]),
        ] {
            assert_eq!(identity_namespaces(&names(said), own), names(accepted));
        }
    }

    #[test]
    fn only_the_namespaces_of_the_installation_are_watched() {
        let watched = |namespaces: &[&str], identities: &[&str], kind| {
            let all = watched_kinds(&names(namespaces), &names(identities));
            all.into_iter()
                .find(|(watched_kind, _)| *watched_kind == WatchedKind::Managed(kind))
                .map(|(_, reach)| reach)
        };
        let only = |of: &[&str]| Some(Reach::Namespaces(names(of)));
        assert_eq!(watched(&[], &[], Deployment), Some(Reach::Cluster));
        assert_eq!(watched(&[], &["ids"], Deployment), only(&["ids"]));
        assert_eq!(watched(&[], &["ids"], RoleBinding), only(&["ids"]));
        assert_eq!(
            watched(&[], &["ids"], ClusterRoleBinding),
            Some(Reach::Cluster)
        );
        let all = ["a", "b", "ids"];
        assert_eq!(watched(&all, &["ids"], Deployment), only(&["ids"]));
        assert_eq!(watched(&all, &["ids"], RoleBinding), only(&all));
        assert_eq!(watched(&all, &["ids"], ClusterRoleBinding), None);
    }

    #[test]
    fn labels_and_intervals_of_monitors_have_the_format_of_prometheus() {
        let pair = |key: &str, value: &str| Ok((key.to_owned(), value.to_owned()));
        assert_eq!(label("release=prometheus"), pair("release", "prometheus"));
        assert_eq!(label("a.example.com/b="), pair("a.example.com/b", ""));
        assert!(label("release").is_err() && label("=a").is_err());
        for (text, is_time) in [("30s", true), ("500ms", true), ("s", false), ("30", false)] {
            assert_eq!(interval(text).is_ok(), is_time, "{text}");
        }
    }

    /// The kubelet must not kill a pod before its server has ended.
    #[test]
    fn the_grace_period_of_a_pod_is_longer_than_the_drain_of_its_server() {
        let limits = crate::server::ServerLimits::default();
        let server = (limits.lame_duck + limits.drain).as_secs();
        assert_eq!(server, DRAIN_SECONDS);
        assert!(TERMINATION_GRACE_SECONDS > PRE_STOP_SECONDS + server);
    }
}
