//! Tests of an Identity with a database: its pods, and what the status says of them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::reconcile::fleet::build::database;
use crate::reconcile::fleet::store_health;
use crate::resources::STORE_FAILS;

const DATABASE: &str = "
storage:
  type: PostgreSQL
  postgresql:
    urlSecretRef: {name: database, key: uri}
    caSecretRef: {name: database-ca, key: bundle.pem}
    schema: shared
    maxConnections: 10
";

/// The pods can start without the Secrets: machine clients do not need the database.
#[test]
fn an_identity_with_a_database_has_many_pods_that_mount_its_url_and_ca() {
    let plan = plan(DATABASE);
    assert_eq!(plan.scale, Scale::Unset);
    let has = |kind| plan.objects.iter().any(|it| it.child.kind == kind);
    assert!(!has(ManagedKind::StatefulSet) && has(ManagedKind::PodDisruptionBudget));
    let pod = &body(&plan, ManagedKind::Deployment)["spec"]["template"]["spec"];
    let volume = |name: &str| {
        let volumes = pod["volumes"].as_array().unwrap().iter();
        volumes.clone().find(|it| it["name"] == name).cloned()
    };
    let part = |name: &str, key: &str, path: &str| json!({"secret": {"name": name, "optional": true, "items": [{"key": key, "path": path}]}});
    let sources = [
        part("database", "uri", "url"),
        part("database-ca", "bundle.pem", "ca.crt"),
    ];
    let mounted =
        json!({"name": "database", "projected": {"defaultMode": 0o440, "sources": sources}});
    assert_eq!(volume("database"), Some(mounted));
    let container = &pod["containers"][0];
    let arguments: Vec<&str> = container["args"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert_eq!(
        arguments[arguments.len() - 4..],
        [
            "--store-url-file=/var/run/symbolon/database/url",
            "--store-ca-file=/var/run/symbolon/database/ca.crt",
            "--store-schema=shared",
            "--store-max-connections=10",
        ]
    );
    let mount =
        json!({"name": "database", "mountPath": "/var/run/symbolon/database", "readOnly": true});
    assert!(
        container["volumeMounts"]
            .as_array()
            .unwrap()
            .contains(&mount)
    );
    // No policy of the Identity keeps the pods from the database, wherever it is.
    let policy = &body(&plan, ManagedKind::NetworkPolicy)["spec"];
    assert_eq!(policy["policyTypes"], json!(["Ingress"]));
}

#[test]
fn without_options_only_the_url_of_the_database_is_mounted() {
    let plan = plan("storage: {type: PostgreSQL, postgresql: {urlSecretRef: {name: a, key: b}}}");
    let pod = &body(&plan, ManagedKind::Deployment)["spec"]["template"]["spec"];
    let text = pod.to_string();
    assert!(text.contains("--store-url-file="), "{text}");
    for other in ["--store-ca-file", "--store-schema", "--store-max", "ca.crt"] {
        assert!(!text.contains(other), "{other}: {text}");
    }
    // Without the type, the Identity has no database.
    let none = super::plan("{}");
    let none = body(&none, ManagedKind::Deployment).to_string();
    assert!(!none.contains("database"), "{none}");
}

#[rstest]
#[case::absent(None, Reason::SecretNotFound, "does not exist")]
#[case::other_key(Some(json!({"data": {"url": "eA=="}})), Reason::SecretNotFound, "has no uri")]
#[case::no_url(
    Some(secret("uri", "hunter2")),
    Reason::DatabaseUnavailable,
    "postgres://"
)]
#[case::weak(
    Some(secret("uri", "postgres://u:hunter2@h/d?sslmode=prefer")),
    Reason::DatabaseUnavailable,
    "verify-full"
)]
#[case::good(
    Some(secret("uri", "postgres://u:hunter2@h/d")),
    Reason::DatabaseUnavailable,
    "1 of 3 pods"
)]
fn why_pods_cannot_use_the_database_is_told_without_the_url(
    #[case] url: Option<Value>,
    #[case] reason: Reason,
    #[case] says: &str,
) {
    let spec = identity(DATABASE).spec;
    let database = database::wanted(&spec).unwrap();
    let secrets = [url, Some(secret("bundle.pem", "x"))];
    let references = store_health::references(database).into_iter().zip(secrets);
    let mounted: Vec<_> = references
        .map(|((of, field), found)| store_health::Mounted {
            of,
            field,
            found: found.map(|it| SecretObject::new(it.as_object().unwrap().clone())),
        })
        .collect();
    let key = ObjectKey::new("platform", "main");
    let problem = store_health::problem(&key, (1, 3), &mounted);
    assert_eq!(problem.reason, reason);
    assert!(problem.message.contains(says), "{}", problem.message);
    assert!(!problem.message.contains("hunter2"), "{}", problem.message);
}

fn secret(key: &str, text: &str) -> Value {
    let text = STANDARD.encode(text);
    json!({"data": {key: text}})
}

/// The operator asks the pods, because no one else knows.
#[rstest]
#[case(STORE_FAILS, Some(true))]
#[case("ok", Some(false))]
#[case("shutting down", Some(false))]
#[tokio::test]
async fn a_pod_tells_whether_it_can_use_its_store(
    #[case] answer: &str,
    #[case] fails: Option<bool>,
) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = format!("{answer}\n");
    let app =
        axum::Router::new().route("/readyz", axum::routing::get(move || async move { answer }));
    let serving = tokio::spawn(async move { axum::serve(listener, app).await });
    assert_eq!(store_health::ask(address).await, fails);
    serving.abort();
    let _ = serving.await;
    assert_eq!(store_health::ask(address).await, None, "no one answers");
}
