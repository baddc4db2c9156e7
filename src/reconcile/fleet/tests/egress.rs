//! Tests of an Identity whose clients have certificates of its own CAs.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::resources::KeyRef;

const SPEC: &str = "
network: {egress: {caSecretRef: {name: internal, key: bundle.pem}}}
storage: {type: SQLite}
";

/// The pods can start without the Secret: only some clients cannot be called then.
#[test]
fn the_pods_mount_the_authorities_that_they_trust_when_they_call_clients() {
    let plan = plan(SPEC);
    let pod = &body(&plan, ManagedKind::StatefulSet)["spec"]["template"]["spec"];
    let has = |list: &Value, wanted: Value| list.as_array().unwrap().contains(&wanted);
    let sources = json!([{"secret": {
        "name": "internal", "optional": true, "items": [{"key": "bundle.pem", "path": "ca.crt"}],
    }}]);
    let volume = json!({"name": "egress", "projected": {"defaultMode": 0o440, "sources": sources}});
    assert!(has(&pod["volumes"], volume), "{pod}");
    let container = &pod["containers"][0];
    let folder = "/var/run/symbolon/egress";
    let mount = json!({"name": "egress", "mountPath": folder, "readOnly": true});
    assert!(has(&container["volumeMounts"], mount), "{pod}");
    let argument = json!(format!("--egress-ca-file={folder}/ca.crt"));
    assert!(has(&container["args"], argument), "{pod}");
}

/// No client is called without people.
#[test]
fn an_identity_without_a_store_mounts_no_authorities() {
    let plan = plan("network: {egress: {caSecretRef: {name: internal, key: bundle.pem}}}");
    let deployment = body(&plan, ManagedKind::Deployment).to_string();
    assert!(!deployment.contains("egress"), "{deployment}");
}

#[test]
fn authorities_that_cannot_be_read_are_told_without_their_text() {
    let of = KeyRef {
        name: "internal".to_owned(),
        key: "ca.crt".to_owned(),
    };
    let good = rcgen::generate_simple_self_signed(["a".to_owned()]).unwrap();
    let damaged = "-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----\n";
    let secret = |text: &str| Some(json!({"data": {"ca.crt": STANDARD.encode(text)}}));
    for (found, told) in [
        (None, Some((Reason::SecretNotFound, "does not exist"))),
        (
            Some(json!({"data": {"other": "eA=="}})),
            Some((Reason::SecretNotFound, "has no ca.crt")),
        ),
        (
            secret("hunter2"),
            Some((Reason::Invalid, "no certificate in PEM")),
        ),
        (secret(damaged), Some((Reason::Invalid, "damaged"))),
        (secret(&good.cert.pem()), None),
    ] {
        let found = found.map(|it| SecretObject::new(it.as_object().unwrap().clone()));
        let problem = unusable_authorities(&of, found.as_ref());
        let seen = problem.as_ref().map(|it| (it.reason, &*it.message));
        assert_eq!(
            seen.map(|(reason, _)| reason),
            told.map(|(reason, _)| reason)
        );
        if let (Some((_, message)), Some((_, says))) = (seen, told) {
            assert!(message.contains(says), "{message}");
            assert!(!message.contains("hunter2"), "{message}");
        }
    }
}
