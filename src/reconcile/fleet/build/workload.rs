//! The pods: what they run, how many, and how they may be disrupted.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::super::volume::{CLAIM, STORE_DIR, STORE_FILE, claim_template};
use super::super::{Child, name_of};
use super::{About, HEALTH_PORT, HTTP_PORT, database, digest, egress};
use crate::directory::ObjectKey;
use crate::directory::admit::volume;
use crate::reconcile::key_secrets::{KEYSET, MAC, mac_secret, signing_secret};
use crate::resources::{
    ANNOTATION_POD_OPTIONS, ANNOTATION_POD_TEMPLATE, ANNOTATION_REPLICAS, IdentitySpec,
    InheritedMetadata, ManagedKind, PodOptions,
};

/// How long an ending pod still accepts connections, while the network learns that it ends.
pub const PRE_STOP_SECONDS: u64 = 5;
/// How long requests in flight may take after that: the server's own drain.
pub const DRAIN_SECONDS: u64 = 25;
/// After this time a pod is killed.
pub const TERMINATION_GRACE_SECONDS: u64 = PRE_STOP_SECONDS + DRAIN_SECONDS + 5;
/// The number of pods if the Identity does not say.
const DEFAULT_REPLICAS: i64 = 2;
/// A rollout that makes no progress in this time has failed.
pub(in super::super) const PROGRESS_DEADLINE_SECONDS: u64 = 300;
/// The user id of the process.
const USER: u64 = 65532;
/// The CPU request of a pod if its Identity does not say.
const CPU: &str = "50m";
const KEYS_DIR: &str = "/var/run/symbolon/keys";
const TLS_DIR: &str = "/var/run/symbolon/tls";

/// Who sets the number of pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// The Identity.
    Fixed(i64),
    /// No one, or someone who scales the Deployment.
    Unset,
    /// The autoscaler, with this minimum.
    Auto(i64),
}

impl Scale {
    pub(super) fn of(spec: &IdentitySpec) -> Self {
        if volume::wanted(&spec.storage).is_some() {
            // A second pod would have a volume of its own.
            return Self::Fixed(spec.replicas.unwrap_or(1).min(1));
        }
        match (spec.replicas, &spec.autoscaling) {
            (Some(replicas), _) => Self::Fixed(replicas),
            (None, Some(autoscaling)) => Self::Auto(autoscaling.min),
            (None, None) => Self::Unset,
        }
    }

    /// Returns the value of the annotation on the Deployment.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fixed(_) => "spec",
            Self::Unset => "default",
            Self::Auto(_) => "autoscaling",
        }
    }

    /// Returns the replicas of a new Deployment.
    pub const fn first(self) -> i64 {
        match self {
            Self::Fixed(replicas) | Self::Auto(replicas) => replicas,
            Self::Unset => DEFAULT_REPLICAS,
        }
    }
}

pub(super) fn objects(about: &About<'_>, scale: Scale) -> Vec<(Child, Value)> {
    let mut objects = vec![workload(about, scale)];
    let most = about
        .spec
        .autoscaling
        .as_ref()
        .map_or(scale.first(), |it| it.max.max(scale.first()));
    if most > 1 && !is_kept(about) {
        let spec = json!({
            "maxUnavailable": 1,
            "selector": {"matchLabels": about.selector()},
            // A pod that is not ready serves no one and must not block the draining of a node.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        });
        objects.push(about.own(ManagedKind::PodDisruptionBudget, json!({"spec": spec})));
    }
    if let Some(autoscaling) = &about.spec.autoscaling {
        let target = json!({"type": "Utilization", "averageUtilization": autoscaling.target_cpu_utilization});
        let spec = json!({
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name_of(&about.key)},
            "minReplicas": autoscaling.min,
            "maxReplicas": autoscaling.max,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": target}}],
        });
        objects.push(about.own(ManagedKind::HorizontalPodAutoscaler, json!({"spec": spec})));
    }
    objects
}

/// Returns a Deployment, or with a volume a StatefulSet of one pod, because only one pod may hold the volume.
fn workload(about: &About<'_>, scale: Scale) -> (Child, Value) {
    let template = template(about);
    let mut options = json!({"pod": about.spec.pod, "tls": about.spec.network.tls});
    let inherited = &about.spec.inherited_metadata;
    if *inherited != InheritedMetadata::default() {
        options["inherited"] = json!(inherited);
    }
    let annotations = BTreeMap::from([
        (ANNOTATION_POD_TEMPLATE.to_owned(), digest(&template)),
        (ANNOTATION_POD_OPTIONS.to_owned(), digest(&options)),
        (ANNOTATION_REPLICAS.to_owned(), scale.as_str().to_owned()),
    ]);
    let mut spec = json!({
        "selector": {"matchLabels": about.selector()},
        "revisionHistoryLimit": 3,
        "template": template,
    });
    let (kind, more) = match volume::wanted(&about.spec.storage) {
        None => (
            ManagedKind::Deployment,
            json!({
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
                "progressDeadlineSeconds": PROGRESS_DEADLINE_SECONDS,
            }),
        ),
        Some(volume) => (
            ManagedKind::StatefulSet,
            json!({
                "serviceName": name_of(&about.key),
                "updateStrategy": {"type": "RollingUpdate"},
                // With ordered management, a pod that does not start would keep a corrected revision from being tried.
                "podManagementPolicy": "Parallel",
                // People's data is never deleted as a side effect.
                "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
                "volumeClaimTemplates": [claim_template(&volume, &about.inherited_labels(), &inherited.annotations)],
            }),
        ),
    };
    if let (Some(spec), Value::Object(more)) = (spec.as_object_mut(), more) {
        spec.extend(more);
    }
    if let Scale::Fixed(replicas) = scale {
        spec["replicas"] = json!(replicas);
    }
    about.annotated(kind, &annotations, json!({"spec": spec}))
}

fn template(about: &About<'_>) -> Value {
    let none = PodOptions::default();
    let options = about.spec.pod.as_ref().unwrap_or(&none);
    let inherited = &about.spec.inherited_metadata;
    let mut labels = inherited.labels.clone();
    labels.extend(options.labels.clone());
    // The operator's labels win, because other objects select the pods by them.
    labels.extend(about.labels());
    let mut metadata = json!({"labels": labels});
    let mut annotations = inherited.annotations.clone();
    annotations.extend(options.annotations.clone());
    if !annotations.is_empty() {
        metadata["annotations"] = json!(annotations);
    }
    let mut spec = json!({
        "serviceAccountName": name_of(&about.key),
        "automountServiceAccountToken": true,
        "enableServiceLinks": false,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": USER, "runAsGroup": USER, "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container(about, options)],
        "volumes": volumes(about),
    });
    let spread = spread(about, options);
    if !spread.is_empty() {
        spec["topologySpreadConstraints"] = json!(spread);
    }
    if is_kept(about) {
        // Do not change the owner of every file on a large volume at each start.
        spec["securityContext"]["fsGroupChangePolicy"] = json!("OnRootMismatch");
    }
    let pull: Vec<Value> = about
        .of
        .image_pull_secrets
        .iter()
        .chain(options.image_pull_secrets.iter().map(|secret| &secret.name))
        .map(|name| json!({"name": name}))
        .collect();
    let optional: [(&str, Option<Value>); 5] = [
        ("imagePullSecrets", (!pull.is_empty()).then(|| json!(pull))),
        (
            "nodeSelector",
            (!options.node_selector.is_empty()).then(|| json!(options.node_selector)),
        ),
        (
            "priorityClassName",
            options.priority_class_name.as_ref().map(|name| json!(name)),
        ),
        (
            "tolerations",
            (!options.tolerations.is_empty()).then(|| json!(options.tolerations)),
        ),
        (
            "affinity",
            options.affinity.as_ref().map(|affinity| json!(affinity)),
        ),
    ];
    for (field, value) in optional {
        if let Some(value) = value {
            spec[field] = value;
        }
    }
    json!({"metadata": metadata, "spec": spec})
}

fn is_kept(about: &About<'_>) -> bool {
    volume::wanted(&about.spec.storage).is_some()
}

fn container(about: &About<'_>, options: &PodOptions) -> Value {
    let image = options.image.as_ref().unwrap_or(&about.of.image);
    let resources = resources(about, options);
    let mut mounts = vec![json!({"name": "keys", "mountPath": KEYS_DIR, "readOnly": true})];
    if about.spec.network.tls.is_some() {
        mounts.push(json!({"name": "tls", "mountPath": TLS_DIR, "readOnly": true}));
    }
    if is_kept(about) {
        mounts.push(json!({"name": CLAIM, "mountPath": STORE_DIR}));
    }
    mounts.extend(database::mount(about.spec));
    mounts.extend(egress::mount(about.spec));
    let probe = |path: &str, period: u64, failures: u64| {
        json!({
            "httpGet": {"path": path, "port": "health"},
            "periodSeconds": period, "timeoutSeconds": 3, "failureThreshold": failures,
        })
    };
    let mut container = json!({
        "name": "symbolon",
        "image": image,
        "args": arguments(about),
        "ports": [
            {"name": "http", "containerPort": HTTP_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"},
        ],
        "startupProbe": probe("/livez", 1, 60),
        "livenessProbe": probe("/livez", 10, 6),
        "readinessProbe": probe("/readyz", 2, 2),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_SECONDS}}},
        "resources": resources,
        "securityContext": {
            "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": mounts,
    });
    if is_kept(about) {
        // A store that cannot be used writes the reason at the end of the log, and the Identity's status shows it.
        container["terminationMessagePolicy"] = json!("FallbackToLogsOnError");
    }
    let environment = about.of.environment.iter();
    let environment: Vec<Value> = environment
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    if !environment.is_empty() {
        container["env"] = json!(environment);
    }
    container
}

fn resources(about: &About<'_>, options: &PodOptions) -> Value {
    let Some(asked) = &options.resources else {
        return json!({"requests": {"cpu": CPU, "memory": "128Mi"}, "limits": {"memory": "512Mi"}});
    };
    let mut resources = json!(asked);
    let says_cpu = |of: &str| resources[of].get("cpu").is_some();
    // An autoscaler computes in per cent of the request, and a limit without a request counts as one.
    if about.spec.autoscaling.is_some() && !says_cpu("requests") && !says_cpu("limits") {
        resources["requests"]["cpu"] = json!(CPU);
    }
    resources
}

fn arguments(about: &About<'_>) -> Vec<String> {
    let mut arguments = vec![
        "serve".to_owned(),
        format!("--identity={}", about.key),
        format!("--keys-dir={KEYS_DIR}"),
    ];
    if about.spec.network.tls.is_some() {
        arguments.push(format!("--tls-dir={TLS_DIR}"));
    }
    if is_kept(about) {
        arguments.push(format!("--store=sqlite:{STORE_DIR}/{STORE_FILE}"));
    }
    arguments.extend(database::arguments(about.spec));
    arguments.extend(egress::argument(about.spec));
    if !about.of.namespaces.is_empty() {
        arguments.push(format!("--namespace={}", about.of.namespaces.join(",")));
    }
    if !about.of.identity_namespaces.is_empty() {
        let accepted = about.of.identity_namespaces.join(",");
        arguments.push(format!("--identity-namespace={accepted}"));
    }
    if let Some(default) = &about.of.default_identity {
        arguments.push(format!("--default-identity={default}"));
    }
    arguments
}

/// Returns the volumes. The server follows changes of mounted Secrets, so a new key, certificate, CA or database URL restarts
/// no pod.
fn volumes(about: &About<'_>) -> Vec<Value> {
    let part = |secret: ObjectKey, key: &str| json!({"secret": {"name": *secret.name, "items": [{"key": key, "path": key}]}});
    let keys = json!([
        part(signing_secret(&about.key), KEYSET),
        part(mac_secret(&about.key), MAC),
    ]);
    // Only the process's group may read it.
    let mut volumes =
        vec![json!({"name": "keys", "projected": {"defaultMode": 0o440, "sources": keys}})];
    if let Some(tls) = &about.spec.network.tls {
        // Mount only these keys of the Secret, because the spec may name any Secret.
        let items = ["tls.crt", "tls.key"].map(|key| json!({"key": key, "path": key}));
        let source =
            json!({"secretName": tls.secret_ref.name, "defaultMode": 0o440, "items": items});
        volumes.push(json!({"name": "tls", "secret": source}));
    }
    volumes.extend(database::volume(about.spec));
    volumes.extend(egress::volume(about.spec));
    volumes
}

/// Returns the constraints of the Identity's spec, or a preference to spread over zones, then nodes.
fn spread(about: &About<'_>, options: &PodOptions) -> Vec<Value> {
    let pods = json!({"matchLabels": about.selector()});
    if let Some(asked) = &options.topology_spread_constraints {
        let ours = |mut constraint: Map<String, Value>| {
            constraint
                .entry("labelSelector")
                .or_insert_with(|| pods.clone());
            Value::Object(constraint)
        };
        return asked.iter().map(|free| ours(free.0.clone())).collect();
    }
    if is_kept(about) {
        return Vec::new();
    }
    ["topology.kubernetes.io/zone", "kubernetes.io/hostname"]
        .map(|key| {
            json!({
                "maxSkew": 1, "topologyKey": key, "whenUnsatisfiable": "ScheduleAnyway",
                // Do not count pods of the previous revision.
                "labelSelector": pods, "matchLabelKeys": ["pod-template-hash"],
            })
        })
        .into()
}
