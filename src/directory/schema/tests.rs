use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;
use crate::directory::Severity;
use crate::directory::problem::suggest::Shown;
use crate::resources::crd;

const KNOWN_KEYWORDS: [&str; 18] = [
    "additionalProperties",
    "default",
    "description",
    "enum",
    "format",
    "items",
    "maxItems",
    "maxProperties",
    "maxLength",
    "maximum",
    "minItems",
    "minLength",
    "minimum",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];

fn client(spec: &str) -> Value {
    object("OAuthClient", spec)
}

fn object(kind: &str, spec: &str) -> Value {
    let spec: Value = serde_yaml::from_str(spec).unwrap();
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": "x", "namespace": "team"}, "spec": spec})
}

/// Formats each problem as `<path> <reason>: <message>`.
fn told(kind: Kind, object: &Value) -> Vec<String> {
    validate(kind, object)
        .iter()
        .map(|p| format!("{} {}: {}", p.path, p.reason, p.message))
        .collect()
}

#[test]
fn a_name_that_the_user_chose_is_short_and_printable_in_messages() {
    let name = format!("\u{1b}[31m\u{202e}{}", "x".repeat(1000));
    for value in [json!(null), json!(1), json!("x".repeat(40_000))] {
        let mut object = client("{authentication: {secret: {template: {data: {}}}}}");
        object["spec"]["authentication"]["secret"]["template"]["data"][&name] = value;
        let problems = validate(Kind::OAuthClient, &object);
        assert!(!problems.is_empty());
        for Problem { message, .. } in problems {
            assert!(message.len() < 200, "{message}");
            assert!(
                !message.chars().any(|c| Shown(c).is_escaped()),
                "{message:?}"
            );
        }
    }
}

#[test]
fn good_objects_have_no_problem() {
    for (kind, spec) in [
        (
            Kind::Identity,
            "{issuer: 'https://id.example.com/main', access: {clients: {from: Selector, selector: {matchLabels: {a: b}}}}}",
        ),
        (
            Kind::Scope,
            "{value: 'team:read', audiences: ['https://api'], allowedNamespaces: {from: List, names: [a, b]}}",
        ),
        (
            Kind::OAuthClient,
            "{grantTypes: [ClientCredentials], scopes: ['a', 'b'], authentication: {secret: {lifetime: 720h}}}",
        ),
        (
            Kind::ServiceAccessToken,
            "{clientRef: {name: c}, scopes: [a], expiresAt: '2027-01-31T12:00:00+01:00'}",
        ),
    ] {
        assert_eq!(told(kind, &object(kind.as_str(), spec)), [""; 0], "{kind}");
    }
}

#[rstest]
// unknown fields
#[case(
    "{grantTypes: [], scops: [a]}",
    "/spec/scops UnsupportedValue: unknown field `scops`: did you mean `scopes`?"
)]
#[case(
    "{grantTypes: [], client_id: a}",
    "/spec/client_id UnsupportedValue: unknown field `client_id`: did you mean `clientId`?"
)]
#[case(
    "{grantTypes: [], accessTokenLifetime: 1h}",
    "/spec/accessTokenLifetime UnsupportedValue: unknown field `accessTokenLifetime`: it belongs at `spec.tokens.accessTokenLifetime`"
)]
#[case(
    "{grantTypes: [], privateKeyJwt: {}}",
    "/spec/privateKeyJwt UnsupportedValue: unknown field `privateKeyJwt`: it is not available yet, a later release will have it: remove it"
)]
#[case(
    "{grantTypes: [], 'a/b~c': 1}",
    "/spec/a~1b~0c UnsupportedValue: unknown field `a/b~c`: remove it, or use a release of Symbolon that knows it"
)]
// enums
#[case(
    "{grantTypes: [client_credentials]}",
    "/spec/grantTypes/0 UnsupportedValue: `client_credentials` is not a value of grantTypes: did you mean `ClientCredentials`? It is one of ClientCredentials, AuthorizationCode, RefreshToken"
)]
#[case(
    "{grantTypes: [], tokens: {algorithm: HS512}}",
    "/spec/tokens/algorithm UnsupportedValue: `HS512` is not a value of algorithm: write one of RS256, PS256, ES256, EdDSA"
)]
#[case(
    "{grantTypes: [], tokens: {algorithm: rs256}}",
    "/spec/tokens/algorithm UnsupportedValue: `rs256` is not a value of algorithm: did you mean `RS256`? It is one of RS256, PS256, ES256, EdDSA"
)]
// types
#[case(
    "{grantTypes: ClientCredentials}",
    "/spec/grantTypes Invalid: grantTypes must be a list: write [ClientCredentials]"
)]
#[case(
    "{grantTypes: null}",
    "/spec/grantTypes Invalid: grantTypes has no value: write one, or remove the field"
)]
#[case(
    "{grantTypes: [], disabled: 'true'}",
    "/spec/disabled Invalid: disabled must be true or false: write true without quotes"
)]
#[case(
    "{grantTypes: [], disabled: 1}",
    "/spec/disabled Invalid: disabled must be true or false, not a number"
)]
#[case(
    "{grantTypes: [], displayName: 5}",
    "/spec/displayName Invalid: displayName must be a string: put the value in quotes"
)]
#[case(
    "{grantTypes: [], displayName: [5]}",
    "/spec/displayName Invalid: displayName must be a string, not a list"
)]
#[case(
    "{grantTypes: [], systemUser: bot}",
    "/spec/systemUser Invalid: systemUser must be an object: write {name: bot}"
)]
#[case(
    "{grantTypes: [], scopes: {a: b}}",
    "/spec/scopes Invalid: scopes must be a list: begin each item with '- '"
)]
#[case(
    "{grantTypes: [], identityRef: platform/main}",
    "/spec/identityRef Invalid: identityRef must be an object: write {name: main, namespace: platform}"
)]
#[case(
    "{grantTypes: [], identityRef: {name: platform/main}}",
    "/spec/identityRef/name Invalid: `platform/main` is not a name: write name: main and namespace: platform"
)]
#[case(
    "{grantTypes: [], scopes: 'a b, c'}",
    "/spec/scopes Invalid: scopes must be a list: write [a, b, c]"
)]
#[case(
    "{grantTypes: [], scopes: '-a -b'}",
    "/spec/scopes Invalid: scopes must be a list: write a space after each '-'"
)]
// later releases
#[case(
    "{grantTypes: [DeviceCode]}",
    "/spec/grantTypes/0 UnsupportedValue: `DeviceCode` is not available yet, a later release will have it: write one of ClientCredentials, AuthorizationCode, RefreshToken"
)]
#[case(
    "{grantTypes: [password]}",
    "/spec/grantTypes/0 UnsupportedValue: `password` is not supported, since RFC 9700 advises against it: write one of ClientCredentials, AuthorizationCode, RefreshToken"
)]
// one mistake is one problem
#[case(
    "{grantType: []}",
    "/spec/grantType UnsupportedValue: unknown field `grantType`: did you mean `grantTypes`?"
)]
#[case(
    "{grantTypes: [], systemUser: {user: bot}}",
    "/spec/systemUser/user UnsupportedValue: unknown field `user`: did you mean `name`?"
)]
#[case(
    "{grantTypes: [], systemUser: null, name: bot}",
    "/spec/name UnsupportedValue: unknown field `name`: it belongs to `systemUser`: indent it by two spaces more"
)]
#[case(
    "{grantTypes: [], systemUserName: bot}",
    "/spec/systemUserName UnsupportedValue: unknown field `systemUserName`: did you mean `systemUser: {name: …}`?"
)]
#[case(
    "{grantTypes: [], \"\\u00a0scopes\": []}",
    "/spec/\u{a0}scopes UnsupportedValue: unknown field `\u{a0}scopes`: it has a character that only looks like a space (U+00A0): write plain spaces"
)]
// missing
#[case(
    "{}",
    "/spec/grantTypes Invalid: grantTypes is missing (OAuth grants that the client may use)"
)]
#[case(
    "{grantTypes: [], systemUser: {}}",
    "/spec/systemUser/name Invalid: name is missing (Name of the system user)"
)]
// durations
#[case(
    "{grantTypes: [], authentication: {secret: {lifetime: 30d}}}",
    "/spec/authentication/secret/lifetime Invalid: a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `30d`; did you mean `720h`?"
)]
#[case(
    "{grantTypes: [], authentication: {secret: {lifetime: 1.5h}}}",
    "/spec/authentication/secret/lifetime Invalid: a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `1.5h`; did you mean `1h30m`?"
)]
#[case(
    "{grantTypes: [], authentication: {secret: {lifetime: 3600}}}",
    "/spec/authentication/secret/lifetime Invalid: lifetime must be a duration: write the number with its unit, such as 3600h, or 1h if it counts seconds"
)]
#[case(
    "{grantTypes: [], authentication: {secret: {lifetime: '720'}}}",
    "/spec/authentication/secret/lifetime Invalid: a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `720`; write 720h, or 12m if it counts seconds"
)]
#[case(
    "{grantTypes: [], authentication: {secret: {lifetime: soon}}}",
    "/spec/authentication/secret/lifetime Invalid: a duration must be whole numbers with the units h, m, s and ms, such as 720h (30 days), 1h30m or 90s, not `soon`"
)]
// patterns
#[case(
    "{grantTypes: [], clientId: 'a b'}",
    "/spec/clientId Invalid: `a b` is not allowed: write letters, digits, '.', '_' and '-', beginning with a letter or digit; did you mean `a-b`?"
)]
#[case(
    "{grantTypes: [], systemUser: {name: My_Bot}}",
    "/spec/systemUser/name Invalid: `My_Bot` is not allowed: write lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit; did you mean `my-bot`?"
)]
#[case(
    "{grantTypes: [], scopes: ['a b']}",
    "/spec/scopes/0 Invalid: `a b` is not allowed: write printable ASCII without spaces, '\"' and '\\' (RFC 6749 section 3.3); write each value as an item of its own"
)]
#[case(
    "{grantTypes: [], scopes: [\"a\\u202eb\"]}",
    "/spec/scopes/0 Invalid: `a\\u{202e}b` is not allowed: write printable ASCII without spaces, '\"' and '\\' (RFC 6749 section 3.3)"
)]
// bounds
#[case(
    "{grantTypes: [], scopes: ['']}",
    "/spec/scopes/0 Invalid: scopes must not be empty"
)]
#[case(
    "{grantTypes: [], resourceServer: {audiences: []}}",
    "/spec/resourceServer/audiences Invalid: audiences must have at least 1 item"
)]
#[case(
    "{grantTypes: [], scopes: [a, b, a]}",
    "/spec/scopes/2 Invalid: \"a\" occurs twice in scopes: remove one"
)]
fn a_wrong_client_is_told_what_to_write(#[case] spec: &str, #[case] expected: &str) {
    assert_eq!(told(Kind::OAuthClient, &client(spec)), [expected]);
}

#[rstest]
#[case(
    "{issuer: 'https://id.example.com/'}",
    "/spec/issuer Invalid: issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main, not `https://id.example.com/`; did you mean `https://id.example.com`?"
)]
#[case(
    "{issuer: 'id.example.com'}",
    "/spec/issuer Invalid: issuer must be a URL without a user, query, fragment or trailing slash, such as https://id.example.com/main, not `id.example.com`; did you mean `https://id.example.com`?"
)]
#[case(
    "{issuer: 'https://id', limits: {perNamespace: {clients: -1}}}",
    "/spec/limits/perNamespace/clients Invalid: clients must be 0 to 100000, not -1"
)]
#[case(
    "{issuer: 'https://id', limits: {perNamespace: {clients: 1.5}}}",
    "/spec/limits/perNamespace/clients Invalid: 1.5 is not a 64-bit integer: write 2"
)]
#[case(
    "{issuer: 'https://id', limits: {perNamespace: {clients: '7'}}}",
    "/spec/limits/perNamespace/clients Invalid: clients must be a number: write 7 without quotes"
)]
#[case(
    "{issuer: 'https://id', gateways: [{name: a, audience: x}, {name: a, audience: y}]}",
    "/spec/gateways/1 Invalid: \"a\" occurs twice in gateways: remove one"
)]
#[case(
    "{issuer: 'https://id', access: {clients: {from: Selector, selector: {matchLabels: {a: 1}}}}}",
    "/spec/access/clients/selector/matchLabels/a Invalid: a must be a string: put the value in quotes"
)]
#[case(
    "{issuer: 'https://id', revokeIssuedBefore: 2027-01-31}",
    "/spec/revokeIssuedBefore Invalid: `2027-01-31` is not a time: write an RFC 3339 time such as 2027-01-31T12:00:00Z; did you mean `2027-01-31T00:00:00Z`?"
)]
#[case(
    "{issuer: 'https://id', revokeIssuedBefore: '9999-12-31T23:59:59Z'}",
    "/spec/revokeIssuedBefore Invalid: a time must be an RFC 3339 string such as 2027-01-31T12:00:00Z, and before 9999-12-30T22:00:00Z"
)]
fn a_wrong_identity_is_told_what_to_write(#[case] spec: &str, #[case] expected: &str) {
    assert_eq!(told(Kind::Identity, &object("Identity", spec)), [expected]);
}

#[test]
fn too_long_and_too_many_are_counted_as_the_api_server_counts() {
    let long = |characters: usize| {
        client(&format!(
            "{{grantTypes: [], displayName: '{}'}}",
            "é".repeat(characters)
        ))
    };
    assert_eq!(told(Kind::OAuthClient, &long(128)), [""; 0]);
    assert_eq!(
        told(Kind::OAuthClient, &long(129)),
        ["/spec/displayName Invalid: displayName must have at most 128 characters"]
    );
    let scopes: Vec<String> = (0..129).map(|n| format!("s{n}")).collect();
    let many = json!({"metadata": {"name": "x"}, "spec": {"grantTypes": [], "scopes": scopes}});
    assert_eq!(
        told(Kind::OAuthClient, &many),
        ["/spec/scopes Invalid: scopes must have at most 128 items, not 129"]
    );
}

#[rstest]
#[case("2027-01-31T12:00:00Z", true)]
#[case("2027-01-31T12:00:00.123456789Z", true)]
#[case("2027-01-31T12:00:00+05:30", true)]
#[case("2027-01-31t12:00:00Z", false)]
#[case("2027-01-31 12:00:00Z", false)]
#[case("2027-01-31T12:00:00", false)]
#[case("2027-01-31T12:00:00+0530", false)]
#[case("2027-02-31T12:00:00Z", false)]
#[case("2027-01-31T25:00:00Z", false)]
#[case("2027-01-31T12:00:00.Z", false)]
#[case("2027-01-31T12:00:00Z[UTC]", false)]
#[case("2027-01-31T12:00:00é", false)]
#[case("tomorrow", false)]
#[case("0000-01-01T00:00:00Z", true)]
#[case("9999-12-30T21:59:59Z", true)]
#[case("9999-12-31T23:59:59Z", false)]
fn moments_are_those_of_rfc_3339(#[case] text: &str, #[case] good: bool) {
    assert_eq!(words::is_moment(text), good);
}

#[test]
fn durations_in_other_words_are_translated() {
    for (text, expected) in [
        ("30d", Some("720h")),
        ("1w", Some("168h")),
        ("1y", Some("8760h")),
        ("2 hours", Some("2h")),
        ("90", None),
        ("P30D", Some("720h")),
        ("PT1H30M", Some("1h30m")),
        ("P1M", None),
        ("1.5h", Some("1h30m")),
        ("1H", Some("1h")),
        ("-1h", None),
        ("1e300y", None),
        ("never", None),
        ("0.0001s", None),
    ] {
        assert_eq!(words::duration_instead(text).as_deref(), expected, "{text}");
    }
}

#[rstest]
#[case(json!({}), "/metadata/name Invalid: metadata.name is missing")]
#[case(json!({"generateName": "x-"}), "/metadata/name Invalid: metadata.name is missing: generateName is not enough, since other objects refer to this one by name")]
#[case(json!({"name": "Big"}), "/metadata/name Invalid: `Big` is not a valid name: write at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit; did you mean `big`?")]
#[case(json!({"name": "a..b"}), "/metadata/name Invalid: `a..b` is not a valid name: write at most 253 lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit")]
#[case(json!({"name": null}), "/metadata/name Invalid: name has no value: write one")]
#[case(json!({"name": 5}), "/metadata/name Invalid: name must be a string: put 5 in quotes")]
#[case(json!({"name": "x", "namespace": "a.b"}), "/metadata/namespace Invalid: `a.b` is not a valid namespace: write at most 63 lower-case letters, digits and '-', beginning and ending with a letter or digit")]
#[case(json!({"name": "x", "labels": {"a": true}}), "/metadata/labels/a Invalid: a label value must be a string: put true in quotes")]
#[case(json!({"name": "x", "labels": {"a/b/c": "d"}}), "/metadata/labels/a~1b~1c Invalid: `a/b/c` is not a valid label key: write at most 63 letters, digits, '-', '_' and '.', with an optional domain and '/' before them")]
#[case(json!({"name": "x", "annotations": {"symbolon.dev/rotate": 2026}}), "/metadata/annotations/symbolon.dev~1rotate Invalid: an annotation value must be a string: put 2026 in quotes")]
fn metadata_is_judged(#[case] metadata: Value, #[case] expected: &str) {
    let object = json!({"metadata": metadata, "spec": {"grantTypes": []}});
    assert_eq!(told(Kind::OAuthClient, &object), [expected]);
}

#[rstest]
#[case(json!([]), " Invalid: this is not a manifest of kind Scope: write an object with apiVersion, kind, metadata and spec")]
#[case(json!({"metadata": {"name": "x"}}), "/spec Invalid: spec is missing: write the desired state of the Scope in it")]
#[case(json!({"spec": {}}), "/metadata Invalid: metadata is missing: write the object's name and namespace in it")]
#[case(json!({"apiVersion": "symbolon.dev/v1", "metadata": {"name": "x"}, "spec": {}}), "/apiVersion UnsupportedValue: this release does not know apiVersion \"symbolon.dev/v1\": write symbolon.dev/v1alpha1")]
#[case(json!({"metadata": {"name": "x", "spec": {"value": "a"}}}), "/metadata/spec UnsupportedValue: spec belongs beside metadata and not in it: indent it and the fields below it by two spaces less")]
#[case(json!({"metadata": {"name": "x"}, "spec": null, "audiences": [], "value": "a"}), "/audiences UnsupportedValue: `audiences` belongs to `spec`, which is empty: indent it and the fields below it by two spaces more")]
#[case(json!({"metadata": null, "name": "x", "namespace": "y", "spec": {}}), "/name UnsupportedValue: `name` belongs to `metadata`, which is empty: indent it and the fields below it by two spaces more")]
#[case(json!({"metadata": {"name": "x"}, "spec": {}, "value": "a"}), "/value UnsupportedValue: unknown field `value`: it belongs at `spec.value`")]
fn the_whole_is_judged(#[case] object: Value, #[case] expected: &str) {
    assert_eq!(told(Kind::Scope, &object), [expected]);
}

#[test]
fn an_unknown_field_of_metadata_is_only_warned_of() {
    let object = json!({"metadata": {"name": "x", "lables": {}}, "spec": {}});
    assert_eq!(told(Kind::Scope, &object), [""; 0]);
    let [warning] = &ignored(&object)[..] else {
        panic!()
    };
    assert_eq!(
        (warning.severity, warning.path.as_str()),
        (Severity::Warning, "/metadata/lables")
    );
    assert_eq!(
        warning.message,
        "`lables` is not a field of metadata, so the API server ignores it: did you mean `labels`?"
    );
}

#[test]
fn status_is_not_judged() {
    let object =
        json!({"metadata": {"name": "x"}, "spec": {}, "status": {"of": ["a newer release"]}});
    assert_eq!(told(Kind::Scope, &object), [""; 0]);
}

#[test]
fn problems_of_one_object_are_bounded() {
    let fields: Map<String, Value> = (0..10_000)
        .map(|n| (format!("f{n}"), Value::Null))
        .collect();
    let object = json!({"metadata": {"name": "x"}, "spec": fields});
    assert_eq!(validate(Kind::Scope, &object).len(), 100);
}

#[test]
fn every_keyword_of_our_definitions_is_one_that_is_judged() {
    for definition in Kind::ALL.map(crd) {
        let text = serde_json::to_value(&definition.spec.versions[0].schema).unwrap();
        keywords(&text["openAPIV3Schema"]["properties"]["spec"]);
    }
}

fn keywords(schema: &Value) {
    for (keyword, value) in schema.as_object().unwrap() {
        match keyword.as_str() {
            "properties" => value.as_object().unwrap().values().for_each(keywords),
            "items" | "additionalProperties" => keywords(value),
            "type" => assert!(
                ["object", "array", "string", "integer", "boolean"]
                    .contains(&value.as_str().unwrap())
            ),
            "format" => assert!(
                ["date-time", "int64"].contains(&value.as_str().unwrap()),
                "{value}"
            ),
            "pattern" => assert!(
                words::rule(value.as_str().unwrap()).is_some(),
                "no words for {value}"
            ),
            known if KNOWN_KEYWORDS.contains(&known) || known.starts_with("x-kubernetes-") => {}
            unknown => panic!("{unknown} is not judged"),
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let names = prop_oneof![
        "[a-zA-Z/~]{0,8}",
        Just("spec".into()),
        Just("metadata".into()),
        Just("name".into()),
        Just("scopes".into()),
        Just("lifetime".into())
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[0-9.]{0,6}[a-z]{0,3}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 64, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((names.clone(), inner), 0..6)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Replaces the value at one place of a valid object.
fn mutate(value: &mut Value, place: &mut usize, with: &Value) {
    if *place == 0 {
        *value = with.clone();
    }
    *place = place.wrapping_sub(1);
    match value {
        Value::Object(fields) => fields
            .values_mut()
            .for_each(|field| mutate(field, place, with)),
        Value::Array(items) => items.iter_mut().for_each(|item| mutate(item, place, with)),
        _ => {}
    }
}

proptest! {
    #[test]
    fn no_object_makes_it_panic(object in any_json()) {
        for kind in Kind::ALL {
            validate(kind, &object);
        }
    }

    #[test]
    fn a_good_object_with_anything_in_one_place_is_judged_and_points_into_itself(place in 0usize..24, with in any_json()) {
        let mut object = client(
            "{grantTypes: [ClientCredentials], scopes: [a, b], resourceServer: {audiences: [x]}, systemUser: {name: bot},
              authentication: {secret: {lifetime: 720h, rotation: {policy: Auto}}}, tokens: {algorithm: ES256}}",
        );
        mutate(&mut object, &mut { place }, &with);
        for problem in validate(Kind::OAuthClient, &object) {
            let parent = problem.path.rsplit_once('/').map_or("", |(parent, _)| parent);
            prop_assert!(object.pointer(parent).is_some(), "{}", problem.path);
            prop_assert!(!problem.message.chars().any(|c| Shown(c).is_escaped()), "{}", problem.message);
            prop_assert_eq!(problem.severity, Severity::Error);
        }
    }
}
