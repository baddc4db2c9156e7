//! The rules about people that need nothing but the object and that no CEL states, and what a record has by default.

use std::collections::BTreeMap;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{client, identity, problems, scope, user};
use crate::directory::tables::record::{RecordedLink, RefreshSettings, SessionSettings};
use crate::directory::{Change, Directory, ObjectKey, Settings};
use crate::resources::{Kind, MOST_BYTES_ABOUT_PEOPLE, ResponseType, Role, UserType};

fn settings() -> Settings {
    Settings {
        default_identity: Some(ObjectKey::new("platform", "main")),
        ..Settings::default()
    }
}

fn object(kind: Kind, spec: &str) -> Value {
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    let metadata = json!({"name": "x", "namespace": "platform", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"});
    json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": kind.as_str(), "metadata": metadata, "spec": spec})
}

#[rstest]
#[case::protocol_claim(Kind::Scope, "{claims: [department, SUB]}", Some("/spec/claims/1"))]
#[case::claims(Kind::Scope, "{claims: [department, email]}", None)]
#[case::own_claim(
    Kind::User,
    "{attributes: {groups: a}}",
    Some("/spec/attributes/groups")
)]
#[case::protocol_attribute(Kind::User, "{attributes: {Acr: a}}", Some("/spec/attributes/Acr"))]
#[case::attributes(Kind::User, "{attributes: {given_name: Alice}}", None)]
#[case::frame_of_another_host(
    Kind::OAuthClient,
    "{grantTypes: [AuthorizationCode], redirectUris: ['https://a.example.com/cb'], frontchannelLogout: {uri: 'https://b.example.com/cb'}}",
    Some("/spec/frontchannelLogout/uri")
)]
#[case::frame_of_another_port(
    Kind::OAuthClient,
    "{grantTypes: [AuthorizationCode], redirectUris: ['https://a.example.com/cb'], frontchannelLogout: {uri: 'https://a.example.com:8443/cb'}}",
    Some("/spec/frontchannelLogout/uri")
)]
#[case::frame_of_its_own(
    Kind::OAuthClient,
    "{grantTypes: [AuthorizationCode], redirectUris: ['com.example.app:/cb', 'https://a.example.com/cb'], frontchannelLogout: {uri: 'https://a.example.com?out'}}",
    None
)]
fn an_object_alone_shows_its_fault(
    #[case] kind: Kind,
    #[case] spec: &str,
    #[case] path: Option<&str>,
) {
    let found = problems(kind, &object(kind, spec), &settings());
    let paths: Vec<_> = found.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, Vec::from_iter(path));
}

#[test]
fn an_identity_has_the_defaults_of_the_definition() {
    let raw = object(Kind::Identity, "{issuer: 'https://id.example.com'}");
    let identity = identity(&raw, &settings()).unwrap();
    let record = identity.record().unwrap();
    let hours = Duration::from_hours;
    assert!(!record.has_passwords);
    assert_eq!(
        record.sessions,
        SessionSettings {
            idle: hours(2),
            absolute: hours(24),
            remembered: hours(720),
        }
    );
    assert_eq!(
        record.refresh,
        RefreshSettings {
            always_rotates: false,
            confidential: hours(720),
            public: hours(24),
            reuse_grace: Duration::from_secs(60),
            max_age: hours(2160),
        }
    );
    assert_eq!(record.max_users, 2000);
    assert_eq!(record.id_token_lifetime.as_mins(), 5);
    assert_eq!(record.authorization_code_lifetime.as_secs(), 60);
    assert!(record.releasable_claims.is_empty());
}

#[test]
fn a_client_with_codes_has_the_defaults_of_the_definition() {
    let spec = "{grantTypes: [AuthorizationCode], redirectUris: ['https://a.example.com/cb']}";
    let object = client(&object(Kind::OAuthClient, spec), &settings()).unwrap();
    let record = object.record().unwrap();
    assert!(!record.is_public);
    let interactive = record.interactive.as_deref().unwrap();
    assert_eq!(*interactive.response_types, [ResponseType::Code]);
    assert_eq!(*interactive.users, [UserType::Internal]);
    assert!(interactive.needs_pkce && !interactive.needs_par);
    assert_eq!(interactive.access, None);
    let machine = super::client(
        &self::object(Kind::OAuthClient, "{grantTypes: [ClientCredentials]}"),
        &settings(),
    );
    assert_eq!(machine.unwrap().record().unwrap().interactive, None);
}

#[test]
fn a_user_has_the_defaults_of_the_definition() {
    let mut raw = object(Kind::User, "{}");
    raw["metadata"]["annotations"] = json!({"symbolon.dev/enroll": "1"});
    let user = user(&raw, &settings()).unwrap();
    let record = user.record().unwrap();
    assert_eq!(&*record.username, "x");
    assert_eq!((record.kind, record.role), (UserType::Internal, Role::User));
    assert_eq!(record.enroll.as_deref(), Some("1"));
    assert_eq!(record.identity, settings().default_identity);
    let scope = scope(&object(Kind::Scope, "{}"), &settings()).unwrap();
    assert_eq!(scope.record().unwrap().groups, None);
}

/// Anyone who may write Users of some namespace would otherwise fill the memory of the operator and of every server.
#[test]
fn nothing_is_kept_of_what_a_user_outside_the_namespace_of_its_identity_says() {
    let spec = "{groups: [staff], attributes: {tier: gold}}";
    let mut raw = object(Kind::User, spec);
    let kept = |raw: &Value, settings: &Settings| {
        let user = user(raw, settings).unwrap();
        let record = user.record().unwrap();
        (record.groups.len(), record.attributes.len())
    };
    assert_eq!(kept(&raw, &settings()), (1, 1));
    assert_eq!(kept(&raw, &Settings::default()), (0, 0), "of no Identity");
    raw["metadata"]["namespace"] = json!("blue");
    assert_eq!(kept(&raw, &settings()), (0, 0));
}

/// The status of a User can only revoke.
#[test]
fn only_a_server_reads_the_status_of_a_user() {
    let server = Settings {
        serves_only: true,
        ..settings()
    };
    let issued = "2026-06-01T00:00:00Z";
    let mut raw = object(Kind::User, "{}");
    raw["metadata"]["annotations"] = json!({"symbolon.dev/enroll": "1"});
    let link = |nonce| json!({"nonce": nonce, "issuedAt": issued, "expiresAt": issued});
    let mut withdrawn = link("1");
    withdrawn["withdrawnAt"] = json!(issued);
    let earlier = json!([{"hash": "a", "issuedAt": issued}]);
    let mut second = link("1");
    second["earlier"] = earlier;
    let moment = issued.parse().unwrap();
    for (enrolment, expected) in [
        (Value::Null, RecordedLink::None),
        (link("1"), RecordedLink::IssuedAt(moment)),
        (second, RecordedLink::IssuedAt(moment)),
        (link("2"), RecordedLink::None),
        (withdrawn, RecordedLink::None),
    ] {
        let mut status = json!({"endedAt": issued});
        if !enrolment.is_null() {
            status["enrollment"] = enrolment;
        }
        raw["status"] = status;
        let seen = |settings: &Settings| {
            let user = user(&raw, settings).unwrap();
            let record = user.record().unwrap();
            (record.link, record.ended_at)
        };
        assert_eq!(seen(&server), (expected, Some(moment)));
        assert_eq!(seen(&settings()), (RecordedLink::Unread, None));
    }
}

/// An OAuthClient whose texts are as long as an object's may be, and different from those of other clients.
fn largest_client(number: usize) -> Value {
    let text = |index: usize, start: &str, length: usize| {
        let start = format!("{start}{number}.{index}.");
        format!("{start:a<length$}")
    };
    let texts = |count: usize, start: &str, length: usize| -> Vec<_> {
        (0..count).map(|index| text(index, start, length)).collect()
    };
    let uri = 2048;
    let data: BTreeMap<_, _> = (0..7)
        .map(|index| (text(index, "", 250), "a".repeat(4096)))
        .collect();
    let spec = json!({
        "grantTypes": ["AuthorizationCode"],
        "scopes": texts(128, "team:", 128),
        "resourceServer": {"audiences": texts(8, "https://id.example.com/team/", 512)},
        "authentication": {"secret": {"template": {"data": data}}},
        "redirectUris": texts(MOST_BYTES_ABOUT_PEOPLE / uri, "https://a.example.com/", uri),
    });
    let metadata = json!({
        "name": format!("client-{number}"), "namespace": "team", "uid": format!("uid-{number}"),
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    json!({"apiVersion": "symbolon.dev/v1alpha1", "kind": "OAuthClient", "metadata": metadata, "spec": spec})
}

/// The memory of this process, in MiB.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.unwrap().split_whitespace().nth(1).unwrap();
    kib.parse::<usize>().unwrap() >> 10
}

/// The operator keeps every client, also those beyond the quota, and its pod has 256 MiB.
#[test]
#[ignore = "measures the memory of the whole process: cargo test --lib largest_clients -- --ignored"]
fn two_thousand_of_the_largest_clients_fit_into_the_operator() {
    let mut directory = Directory::new(settings());
    let before = resident();
    for number in 0..2000 {
        let raw = largest_client(number);
        let change = Change::object(Kind::OAuthClient, &raw, directory.settings()).unwrap();
        directory.apply(change);
    }
    let key = ObjectKey::new("team", "client-1999");
    assert_eq!(directory.client(&key).unwrap().state.as_ref().err(), None);
    let grown = resident() - before;
    assert!(grown < 200, "{grown} MiB");
}
