//! The rules about people that need nothing but the object and that no CEL states, and what a record has by default.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};

use super::{client, identity, problems, scope, user};
use crate::directory::tables::record::{RefreshSettings, SessionSettings};
use crate::directory::{ObjectKey, Settings};
use crate::resources::{Kind, ResponseType, Role, UserType};

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
