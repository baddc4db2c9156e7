//! Every entry of the table of endpoints works.

use std::collections::BTreeMap;

use axum::http::Method;

use super::*;
use crate::oauth::endpoint::{Endpoint, EndpointPath, Listed, Methods};

const ISSUER: &str = "https://id.example.com/id";

/// Returns a path of the endpoint.
fn path(endpoint: Endpoint) -> String {
    match endpoint.place() {
        EndpointPath::Elsewhere => "/id/nowhere".to_owned(),
        _ => endpoint.path("/id"),
    }
}

async fn send(fixture: &Fixture, method: Method, endpoint: Endpoint) -> Reply {
    let request = Request::builder().method(method).uri(path(endpoint));
    fixture.send(request.body(Body::empty()).unwrap()).await
}

/// Returns the number of requests and of measured durations with the name of the endpoint.
async fn counted(fixture: &Fixture, endpoint: Endpoint) -> (u64, u64) {
    let text = fixture.app.exposition(now()).await.unwrap();
    let label = format!("{{endpoint=\"{}\"", endpoint.name());
    let sum = |metric: &str| {
        let of_endpoint = text
            .lines()
            .filter_map(|line| line.strip_prefix(metric)?.strip_prefix(&label));
        let values = of_endpoint.map(|line| line.rsplit_once(' ').unwrap().1);
        values.map(|value| value.parse::<u64>().unwrap()).sum()
    };
    (
        sum("symbolon_requests_total"),
        sum("symbolon_request_duration_seconds_count"),
    )
}

#[tokio::test]
async fn every_endpoint_is_routed_and_counted_by_its_name() {
    let fixture = Fixture::new();
    for endpoint in Endpoint::served(false) {
        let (requests, durations) = counted(&fixture, endpoint).await;
        let reply = send(&fixture, Method::GET, endpoint).await;
        let is_found = reply.status != StatusCode::NOT_FOUND;
        assert_eq!(
            is_found,
            endpoint.place() != EndpointPath::Elsewhere,
            "{reply}"
        );
        assert_eq!(
            counted(&fixture, endpoint).await,
            (requests + 1, durations + 1),
            "{endpoint:?}"
        );
    }
}

/// Neither their routes nor their documents.
#[tokio::test]
async fn an_identity_without_people_has_no_endpoints_of_people() {
    let fixture = Fixture::new();
    let of_people = Endpoint::ALL.iter().filter(|it| it.is_of_people());
    for endpoint in of_people.copied() {
        for method in [Method::GET, Method::POST] {
            let reply = send(&fixture, method, endpoint).await;
            assert_eq!(reply.status, StatusCode::NOT_FOUND, "{endpoint:?}");
        }
    }
}

#[tokio::test]
async fn every_endpoint_refuses_all_methods_but_its_own() {
    let fixture = Fixture::new();
    for endpoint in Endpoint::served(false) {
        let own: &[Method] = match endpoint.methods() {
            Methods::Any => continue,
            Methods::Read => &[Method::GET, Method::HEAD, Method::OPTIONS],
            Methods::Probe => &[Method::GET, Method::HEAD],
            Methods::Post => &[Method::POST],
            Methods::Page | Methods::ReadOrPost => &[Method::GET, Method::POST],
        };
        for method in [
            Method::GET,
            Method::HEAD,
            Method::OPTIONS,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ] {
            let reply = send(&fixture, method.clone(), endpoint).await;
            let is_refused = reply.status == StatusCode::METHOD_NOT_ALLOWED;
            assert_eq!(is_refused, !own.contains(&method), "{endpoint:?} {method}");
            if is_refused {
                let allowed: Vec<&str> = own.iter().map(Method::as_str).collect();
                assert_eq!(reply.header("allow"), allowed.join(", "), "{endpoint:?}");
            }
        }
    }
}

#[tokio::test]
async fn both_metadata_documents_list_exactly_the_listed_endpoints() {
    let fixture = Fixture::new();
    let listed = Endpoint::served(false).filter_map(|endpoint| {
        let (Listed::Url(member) | Listed::WithAuthMethods(member)) = endpoint.listed() else {
            return None;
        };
        Some((
            member.to_owned(),
            format!("https://id.example.com{}", path(endpoint)),
        ))
    });
    let mut expected: BTreeMap<String, String> = listed.collect();
    assert!(expected.len() >= 4, "{expected:?}");
    expected.insert("issuer".to_owned(), ISSUER.to_owned());
    for document in [Endpoint::OpenIdConfiguration, Endpoint::AuthorizationServer] {
        let metadata = fixture.get(&path(document)).await.json();
        let members = metadata.as_object().unwrap().iter();
        let urls = members.filter_map(|(member, value)| {
            let url = value.as_str().filter(|text| text.contains("://"))?;
            Some((member.clone(), url.to_owned()))
        });
        assert_eq!(urls.collect::<BTreeMap<_, _>>(), expected, "{document:?}");
        for endpoint in Endpoint::served(false) {
            if let Listed::WithAuthMethods(member) = endpoint.listed() {
                let methods = &metadata[format!("{member}_auth_methods_supported")];
                assert!(methods.is_array(), "{document:?}: {member}");
            }
        }
    }
}

#[test]
fn the_documentation_names_every_endpoint() {
    let page = include_str!("../../../docs/endpoints.md");
    for endpoint in Endpoint::served(false) {
        let (EndpointPath::BelowIssuer(path)
        | EndpointPath::BeforeIssuer(path)
        | EndpointPath::Subtree(path)) = endpoint.place()
        else {
            continue;
        };
        assert!(page.contains(&format!("| `{path}")), "{path}");
    }
}
