//! The flow schema by which the API server handles each request.

use crate::tools::{Kube, eventually};
use crate::world::{HOME, OPERATOR, installed};

/// The uid of the flow schema that matched a request, from a header of the response.
fn flow_schema(kube: Kube<'_>, path: &str, user: &str) -> Option<String> {
    let mut get = kube.0.kubectl();
    get.args(["get", "--raw", path, "--as", user, "-v=8"]);
    let output = get.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap().to_lowercase();
    let (_, rest) = told.split_once("x-kubernetes-pf-flowschema-uid")?;
    let is_uid = |letter: char| letter.is_ascii_hexdigit() || letter == '-';
    let rest = rest.trim_start_matches(|letter: char| !letter.is_ascii_hexdigit());
    Some(rest.chars().take_while(|&letter| is_uid(letter)).collect())
}

#[test]
fn leases_and_lists_have_their_own_flow_schemas() {
    let kube = installed();
    let server = format!("system:serviceaccount:{HOME}:main-identity");
    let stranger = "system:serviceaccount:default:default";
    let objects = "/apis/symbolon.dev/v1alpha1";
    for (user, path, expected) in [
        (
            OPERATOR,
            format!("/apis/coordination.k8s.io/v1/namespaces/{HOME}/leases/symbolon"),
            "symbolon-leader-election",
        ),
        (
            OPERATOR,
            "/api/v1/secrets?limit=1".to_owned(),
            "symbolon-lists",
        ),
        (
            OPERATOR,
            "/api/v1/namespaces?limit=1".to_owned(),
            "symbolon-lists",
        ),
        (OPERATOR, format!("{objects}/credentials"), "symbolon-lists"),
        (&server, format!("{objects}/oauthclients"), "symbolon-lists"),
        (
            &server,
            format!("{objects}/namespaces/{HOME}/credentials"),
            "symbolon-lists",
        ),
        (&server, "/api/v1/namespaces".to_owned(), "symbolon-lists"),
        // All other requests fall under the common schemas.
        (
            OPERATOR,
            format!("/api/v1/namespaces/{HOME}/secrets/some"),
            "service-accounts",
        ),
        (
            stranger,
            format!("{objects}/oauthclients"),
            "service-accounts",
        ),
        (&server, "/api/v1/pods".to_owned(), "service-accounts"),
    ] {
        let uid = kube.must(&format!(
            "get flowschema {expected} -o jsonpath={{.metadata.uid}}"
        ));
        eventually(&format!("{expected} matches {path} of {user}"), || {
            (flow_schema(kube, &path, user)? == uid).then_some(())
        });
    }
}
