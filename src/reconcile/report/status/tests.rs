use std::sync::Arc;

use jiff::SignedDuration;

use super::builder::LONGEST_MESSAGE;
use super::*;
use crate::directory::template::secret_metadata::InstallationMetadata;
use crate::directory::testing::{PEOPLE, QUICKSTART, World};
use crate::reconcile::fleet::{Rollout, RolloutPhase};
use crate::reconcile::issue::{Facts, Settled};
use crate::resources::{Cause, Day, Kind, Moment, PreviousToken};

fn at(second: i64) -> Timestamp {
    let start: Timestamp = "2026-02-01T00:00:00Z".parse().unwrap();
    start + SignedDuration::from_secs(second)
}

fn live(kind: &str, generation: i64) -> Value {
    json!({
        "apiVersion": "symbolon.dev/v1alpha1", "kind": kind,
        "metadata": {"namespace": "blue", "name": "x", "generation": generation},
        "status": {"conditions": [
            {"type": "Ready", "status": "Unknown", "reason": "Pending", "message": "waiting for the operator",
             "lastTransitionTime": "1970-01-01T00:00:00Z"},
        ]},
    })
}

fn facts() -> Facts {
    Facts {
        last_used: None,
        token_id: "0123456789abcdef".to_owned(),
        epoch: 3,
        issued_at: at(0),
        expires_at: Some(at(100)),
        renews_at: None,
        cause: Cause::Scheduled,
        nonce: None,
        previous: None,
    }
}

fn done() -> Issuance {
    Issuance::Settled(Settled::Done {
        facts: facts(),
        requeue_at: None,
    })
}

fn token_status(world: &World, live: &Value, issuance: &Issuance, second: i64) -> Value {
    let object = world
        .directory
        .service_token(&ObjectKey::new("blue", "nightly"))
        .unwrap();
    service_token(live, &world.directory, object, issuance, at(second))
}

fn client_status(world: &World, issuance: &Issuance) -> Value {
    let object = world
        .directory
        .client(&ObjectKey::new("blue", "shop"))
        .unwrap();
    client(
        &live("OAuthClient", 1),
        &world.directory,
        object,
        issuance,
        at(0),
    )
}

/// Conditions as `Type=Status/Reason`, in order.
fn told(object: &Value) -> Vec<String> {
    let conditions = object["status"]["conditions"].as_array().unwrap();
    let text = |condition: &Value, field: &str| condition[field].as_str().unwrap().to_owned();
    conditions
        .iter()
        .map(|it| {
            format!(
                "{}={}/{}",
                text(it, "type"),
                text(it, "status"),
                text(it, "reason")
            )
        })
        .collect()
}

fn refused(reason: Reason) -> Issuance {
    let problem = Problem::error(reason, "", "do something");
    Issuance::Settled(Settled::Refused {
        problem,
        until: None,
        facts: None,
    })
}

#[test]
fn an_issued_token_is_ready_and_described() {
    let world = World::new(QUICKSTART);
    let status = token_status(&world, &live("ServiceAccessToken", 2), &done(), 0);
    assert_eq!(
        told(&status),
        [
            "Ready=True/Ready",
            "Accepted=True/Accepted",
            "Granted=True/Granted",
            "Issued=True/Issued",
            "Reconciling=False/Ready",
            "Stalled=False/Ready"
        ]
    );
    let fields = &status["status"];
    assert_eq!(
        (&fields["tokenId"], &fields["epoch"]),
        (&json!("0123456789abcdef"), &json!(3))
    );
    assert_eq!(
        fields["lastRotation"],
        json!({"time": at(0), "cause": "Scheduled"})
    );
    assert_eq!(
        (&fields["observedGeneration"], &fields["clientId"]),
        (&json!(2), &json!("blue.shop"))
    );
    assert!(
        fields["conditions"]
            .as_array()
            .unwrap()
            .iter()
            .all(|condition| condition["observedGeneration"] == 2)
    );
}

#[test]
fn a_label_or_annotation_that_is_not_allowed_is_a_warning_on_a_ready_object() {
    let mut world = World::new(QUICKSTART);
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue}
spec:
  clientRef: {name: shop}
  scopes: [orders.read]
  secret: {template: {labels: {team: blue, owner: helm}}}
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: shop, namespace: blue}
spec:
  identityRef: {name: main, namespace: platform}
  grantTypes: [ClientCredentials]
  scopes: [orders.read]
  systemUser: {name: robot}
  referenceTokens: AdministratorsOnly
  authentication: {secret: {template: {annotations: {jenkins.io/x: y}}}}
",
    );
    let message = |object: &Value| {
        let conditions = object["status"]["conditions"].as_array().unwrap();
        let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
        assert_eq!(
            (&ready["status"], &ready["reason"]),
            (&json!("True"), &json!("Ready"))
        );
        ready["message"].as_str().unwrap().to_owned()
    };
    let token = message(&token_status(
        &world,
        &live("ServiceAccessToken", 1),
        &done(),
        0,
    ));
    assert_eq!(
        token,
        "the label \"owner\" in spec.secret.template.labels is not written: Identity platform/main does not allow templates to set it, and a Secret that has it keeps it; remove it, or ask the administrators of the Identity to add it to spec.limits.secretMetadata.labels"
    );
    let client = message(&client_status(&world, &done()));
    assert!(
        client.contains("\"jenkins.io/x\" in spec.authentication.secret.template.annotations")
            && client.ends_with("to spec.limits.secretMetadata.annotations"),
        "{client}"
    );
}

#[test]
fn a_key_that_only_the_installation_does_not_allow_leaves_the_object_ready_too() {
    let mut world = World::new("");
    let lists = r#"{"allowedLabels": ["team"], "allowedAnnotations": ["team"]}"#;
    world.directory = world.directory.with_settings(Settings {
        secret_metadata: Arc::new(InstallationMetadata::parse(lists).unwrap()),
        ..Settings::default()
    });
    world.apply(QUICKSTART);
    world.apply(
        "
apiVersion: symbolon.dev/v1alpha1
kind: Identity
metadata: {name: main, namespace: platform}
spec:
  issuer: https://id.example.com/id
  access: {clients: {from: All}, scopes: {from: All}}
  limits: {secretMetadata: {labels: [owner]}}
---
apiVersion: symbolon.dev/v1alpha1
kind: ServiceAccessToken
metadata: {name: nightly, namespace: blue}
spec:
  clientRef: {name: shop}
  scopes: [orders.read]
  secret: {template: {labels: {team: blue, owner: helm}}}
",
    );
    let status = token_status(&world, &live("ServiceAccessToken", 1), &done(), 0);
    let conditions = status["status"]["conditions"].as_array().unwrap();
    let ready = conditions.iter().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"], &ready["message"]),
        (
            &json!("True"),
            &json!("Ready"),
            &json!(
                "the label \"owner\" in spec.secret.template.labels is not written: the installation's chart value secrets.allowedLabels does not list it, and a Secret that has it keeps it; remove it, or ask the administrators of the installation to add it to the chart value secrets.allowedLabels"
            )
        )
    );
}

#[test]
fn the_same_facts_make_the_same_status_at_any_time() {
    let world = World::new(QUICKSTART);
    let first = token_status(&world, &live("ServiceAccessToken", 1), &done(), 0);
    assert_eq!(
        token_status(&world, &first, &done(), 50),
        first,
        "nothing is written again"
    );
}

#[test]
fn only_a_changed_condition_gets_a_new_time() {
    let mut world = World::new(QUICKSTART);
    let first = token_status(&world, &live("ServiceAccessToken", 1), &done(), 0);
    world.delete(Kind::Scope, "platform", "orders.read");
    let problems = vec![Problem::error(Reason::ScopeNotFound, "", "gone")];
    let second = token_status(
        &world,
        &first,
        &Issuance::Settled(Settled::Withheld(problems)),
        60,
    );
    let time = |object: &Value, kind: &str| {
        let conditions = object["status"]["conditions"].as_array().unwrap();
        conditions.iter().find(|it| it["type"] == kind).unwrap()["lastTransitionTime"].clone()
    };
    assert_ne!(time(&first, "Ready"), time(&second, "Ready"));
    assert_ne!(time(&first, "Granted"), time(&second, "Granted"));
    assert_eq!(time(&first, "Accepted"), time(&second, "Accepted"));
    assert_eq!(
        time(&first, "Issued"),
        time(&second, "Issued"),
        "the Secret still holds the token"
    );
    assert_eq!(second["status"]["tokenId"], first["status"]["tokenId"]);
}

#[test]
fn fields_of_others_stay() {
    let world = World::new(QUICKSTART);
    let mut object = live("ServiceAccessToken", 1);
    let theirs = json!({"type": "example.com/Audited", "status": "True", "reason": "Yes", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
    object["status"]["conditions"]
        .as_array_mut()
        .unwrap()
        .insert(0, theirs.clone());
    object["status"]["ofTheNextRelease"] = json!(7);
    let status = token_status(&world, &object, &done(), 0);
    assert_eq!(status["status"]["conditions"][0], theirs);
    assert_eq!(status["status"]["ofTheNextRelease"], 7);
}

#[test]
fn each_class_of_reason_makes_the_conditions_that_tools_wait_for() {
    let world = World::new(QUICKSTART);
    for (reason, ready, reconciling, stalled) in [
        (Reason::RateLimited, "False", "False", "False"),
        (Reason::SecretConflict, "False", "False", "True"),
        (Reason::SecretAccessDenied, "False", "False", "True"),
        (Reason::Issuing, "False", "True", "False"),
        // The current token works while the next one waits for a place.
        (Reason::Rotating, "True", "True", "False"),
        (Reason::Disabled, "True", "False", "False"),
    ] {
        let status = token_status(&world, &live("ServiceAccessToken", 1), &refused(reason), 0);
        let told = told(&status);
        for expected in [
            format!("Ready={ready}"),
            format!("Reconciling={reconciling}"),
            format!("Stalled={stalled}"),
        ] {
            assert!(
                told.contains(&format!("{expected}/{reason}")),
                "{expected} of {reason}: {told:?}"
            );
        }
    }
}

/// A tool that reads the name would mount a Secret that does not exist.
#[test]
fn the_secret_is_named_once_it_holds_the_token() {
    let world = World::new(QUICKSTART);
    let named = |object: &Value| {
        let status = &object["status"];
        (
            status["secretName"].clone(),
            status["binding"]["name"].clone(),
        )
    };
    let waiting = Issuance::Settled(Settled::Withheld(vec![Problem::error(
        Reason::ScopeNotFound,
        "",
        "missing",
    )]));
    let first = token_status(&world, &live("ServiceAccessToken", 1), &waiting, 0);
    assert_eq!(named(&first), (Value::Null, Value::Null));
    let issued = token_status(&world, &first, &done(), 1);
    assert_eq!(
        named(&issued),
        (json!("nightly-token"), json!("nightly-token"))
    );
    let later = token_status(&world, &issued, &waiting, 2);
    assert_eq!(named(&later), named(&issued), "the Secret still exists");
}

#[test]
fn nothing_is_issued_while_the_secret_holds_no_accepted_token() {
    let world = World::new(QUICKSTART);
    let issued = token_status(&world, &live("ServiceAccessToken", 1), &done(), 0);
    let status = token_status(&world, &issued, &refused(Reason::MintLimitReached), 1);
    let told = told(&status);
    for expected in [
        "Issued=False/MintLimitReached",
        "Ready=False/MintLimitReached",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
}

/// Each becomes an event.
#[test]
fn an_obstacle_is_new_once_for_each_reason() {
    let object = |ready: &str, reconciling: &str, stalled: &str, reason: &str| {
        let condition = |kind: &str, status: &str| json!({"type": kind, "status": status, "reason": reason, "message": "do this"});
        json!({"status": {"conditions": [
            condition("Ready", ready), condition("Reconciling", reconciling), condition("Stalled", stalled),
        ]}})
    };
    let unseen = json!({});
    let waits = object("False", "False", "False", "ScopeNotFound");
    let waits_otherwise = object("False", "False", "False", "ClientNotFound");
    let stalled = object("False", "False", "True", "Invalid");
    let works = object("False", "True", "False", "Issuing");
    let rotates = object("True", "True", "False", "Rotating");
    let ready = object("True", "False", "False", "Ready");
    let obstacle = |is_stalled: bool, reason: &str| {
        let (reason, message) = (reason.to_owned(), "do this".to_owned());
        Some(ReadyObstacle {
            is_stalled,
            reason,
            message,
        })
    };
    for (before, after, expected) in [
        (&unseen, &waits, obstacle(false, "ScopeNotFound")),
        (&ready, &waits, obstacle(false, "ScopeNotFound")),
        (&waits, &waits, None),
        (&waits, &waits_otherwise, obstacle(false, "ClientNotFound")),
        (&waits, &stalled, obstacle(true, "Invalid")),
        (&stalled, &stalled, None),
        (&waits, &works, None),
        (&works, &rotates, None),
        (&waits, &ready, None),
    ] {
        assert_eq!(new_obstacle(before, after), expected, "{before} to {after}");
    }
}

#[test]
fn a_client_reports_scopes_that_are_not_granted_and_is_not_ready() {
    let mut world = World::new(QUICKSTART);
    world.delete(Kind::Scope, "platform", "orders.write");
    let status = client_status(&world, &done());
    assert_eq!(status["status"]["notGranted"], json!(["orders.write"]));
    let told = told(&status);
    for expected in [
        "Accepted=True/Accepted",
        "Granted=False/ScopeNotFound",
        "Issued=True/Issued",
        "Ready=False/ScopeNotFound",
        "Stalled=False/ScopeNotFound",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
}

/// Without a policy that guards it, anyone can set the annotation.
#[test]
fn a_creator_is_named_only_if_a_policy_guards_the_annotation() {
    let mut live = live("ServiceAccessToken", 1);
    for (stamped_creators, name, told) in [
        (false, Some("ann@example.com"), "unverified"),
        (true, Some("ann@example.com"), "ann@example.com"),
        (true, None, "unverified"),
        (true, Some(""), "unverified"),
        (true, Some(&*"x".repeat(600)), "unverified"),
    ] {
        live["metadata"]["annotations"] = match name {
            Some(name) => json!({"symbolon.dev/created-by": name}),
            None => json!(null),
        };
        let mut world = World::new(QUICKSTART);
        world.directory = world.directory.with_settings(Settings {
            stamped_creators,
            ..Settings::default()
        });
        let status = token_status(&world, &live, &done(), 0);
        assert_eq!(status["status"]["createdBy"], told, "{name:?}");
    }
}

#[test]
fn both_tokens_and_their_last_days_of_use_are_shown() {
    let day = |text: &str| Some(Day(text.parse().unwrap()));
    let facts = Facts {
        last_used: day("2026-01-02"),
        previous: Some(Box::new(PreviousToken {
            token_id: "fedcba9876543210".to_owned(),
            not_after: Some(Moment(at(60))),
            last_used: day("2026-01-01"),
        })),
        ..facts()
    };
    let issuance = Issuance::Settled(Settled::Done {
        facts,
        requeue_at: None,
    });
    let world = World::new(QUICKSTART);
    let token = token_status(&world, &live("ServiceAccessToken", 1), &issuance, 0);
    for status in [
        &token["status"],
        &client_status(&world, &issuance)["status"],
    ] {
        assert_eq!(status["lastUsed"], "2026-01-02");
        assert_eq!(
            status["previous"],
            json!({"tokenId": "fedcba9876543210", "notAfter": at(60), "lastUsed": "2026-01-01"})
        );
    }
}

/// An expired token is still in the Secret, and `Issued=True` would be wrong.
#[test]
fn an_expired_token_is_no_longer_issued() {
    let world = World::new(QUICKSTART);
    let before = token_status(&world, &live("ServiceAccessToken", 1), &done(), 0);
    let refused = Issuance::Settled(Settled::Refused {
        problem: Problem::error(Reason::Expired, "/spec/lifetime", "it ended"),
        until: None,
        facts: None,
    });
    let told = told(&token_status(&world, &before, &refused, 5));
    for expected in [
        "Issued=False/Expired",
        "Ready=False/Expired",
        "Stalled=True/Expired",
    ] {
        assert!(told.contains(&expected.to_owned()), "{expected}: {told:?}");
    }
}

#[test]
fn a_disabled_client_is_ready_whatever_it_lacks() {
    let mut world = World::new(&QUICKSTART.replace("systemUser: {name: robot}", "disabled: true"));
    world.delete(Kind::Scope, "platform", "orders.write");
    let problems = vec![Problem::error(
        Reason::Disabled,
        "/spec/disabled",
        "disabled",
    )];
    let status = client_status(&world, &Issuance::Settled(Settled::Withheld(problems)));
    assert!(
        told(&status).contains(&"Ready=True/Disabled".to_owned()),
        "{:?}",
        told(&status)
    );
}

#[test]
fn a_revoked_token_keeps_its_number_and_nothing_else() {
    let world = World::new(&QUICKSTART.replace(
        "  scopes: [orders.read]\n",
        "  scopes: [orders.read]\n  revoked: true\n",
    ));
    let before = token_status(
        &World::new(QUICKSTART),
        &live("ServiceAccessToken", 1),
        &done(),
        0,
    );
    let status = token_status(&world, &before, &Issuance::Settled(Settled::Revoked), 5);
    let fields = status["status"].as_object().unwrap();
    assert!(
        !fields.contains_key("tokenId") && !fields.contains_key("expiresAt"),
        "{fields:?}"
    );
    assert_eq!(fields["epoch"], 3);
    let told = told(&status);
    assert!(
        told.contains(&"Ready=True/Revoked".to_owned())
            && told.contains(&"Issued=False/Revoked".to_owned()),
        "{told:?}"
    );
}

#[test]
fn a_message_starts_with_the_worst_problem_and_is_bounded() {
    let waiting = Problem::error(Reason::ScopeNotFound, "", "wait");
    let edit = Problem::error(Reason::Invalid, "", "e".repeat(2000));
    let mut problems = vec![waiting; 9];
    problems.push(edit);
    let worst = worst(&problems).unwrap();
    let text = builder::told(worst, &problems);
    assert!(
        worst.reason == Reason::Invalid
            && text.starts_with("eee")
            && text.chars().count() <= LONGEST_MESSAGE + 1
    );
}

#[test]
fn an_identity_reports_its_keys_or_their_problem() {
    let world = World::new(QUICKSTART);
    let object = world
        .directory
        .identity(&ObjectKey::new("platform", "main"))
        .unwrap();
    let keys = [KeyStatus {
        kid: "k".to_owned(),
        algorithm: crate::resources::SigningAlgorithm::RS256,
        phase: Some(crate::resources::KeyPhase::Active),
        active_from: Some(crate::resources::Moment(at(0))),
        not_after: None,
    }];
    let good = identity(
        &live("Identity", 1),
        &world.directory,
        object,
        KeysFound {
            keys: Some(Ok(&keys)),
            refused: None,
        },
        None,
        at(0),
    );
    assert_eq!(
        good["status"]["keys"],
        json!([{"kid": "k", "algorithm": "RS256", "phase": "Active", "activeFrom": crate::resources::Moment(at(0))}])
    );
    let problem = Problem::error(Reason::SecretConflict, "", "garbled");
    let bad = identity(
        &good,
        &world.directory,
        object,
        KeysFound {
            keys: Some(Err(&problem)),
            refused: None,
        },
        None,
        at(0),
    );
    assert!(told(&bad).contains(&"Ready=False/SecretConflict".to_owned()));
    assert_eq!(
        bad["status"]["keys"], good["status"]["keys"],
        "the known keys stay"
    );
}

fn rollout(phase: RolloutPhase, ready: i64) -> FleetOutcome {
    let rollout = Rollout {
        replicas: 3,
        ready,
        wanted: 2,
        selector: "a=b".to_owned(),
        version: None,
        phase,
        upgrade: None,
    };
    FleetOutcome {
        rollout: Some(rollout),
        ..FleetOutcome::default()
    }
}

/// Returns the endpoints in the status after one that had `before`.
fn endpoints_after(
    before: &Value,
    yaml: &str,
    keys: Option<Result<&[KeyStatus], &Problem>>,
    pods: Option<&FleetOutcome>,
) -> Value {
    let world = World::new(yaml);
    let key = ObjectKey::new("platform", "main");
    let object = world.directory.identity(&key).unwrap();
    let mut live = live("Identity", 1);
    live["status"]["endpoints"] = before.clone();
    let refused = None;
    let found = KeysFound { keys, refused };
    identity(&live, &world.directory, object, found, pods, at(0))["status"]["endpoints"].clone()
}

#[test]
fn an_identity_announces_the_urls_that_it_serves() {
    let keys = Some(Ok(&[][..]));
    let pods = rollout(RolloutPhase::Complete, 2);
    let machines = endpoints_after(&Value::Null, QUICKSTART, keys, Some(&pods));
    let below = |path: &str| format!("https://id.example.com/id{path}");
    let mut expected = json!({
        "issuer": below(""),
        "discovery": below("/.well-known/openid-configuration"),
        "jwks": below("/.well-known/openid-configuration/jwks"),
        "token": below("/connect/token"),
        "introspection": below("/connect/introspect"),
        "revocation": below("/connect/revocation"),
    });
    assert_eq!(machines, expected);
    let people = QUICKSTART.replacen(
        "issuer: https://id.example.com/id",
        "issuer: https://id.example.com/id\n  storage: {type: SQLite}\n  login: {password: Enabled}",
        1,
    );
    for (name, path) in [
        ("authorization", "/connect/authorize"),
        ("pushedAuthorizationRequest", "/connect/par"),
        ("userinfo", "/connect/userinfo"),
        ("endSession", "/connect/endsession"),
    ] {
        expected[name] = json!(below(path));
    }
    let announced = endpoints_after(&machines, &people, keys, Some(&pods));
    assert_eq!(announced, expected);
    // Servers that users run themselves, and the operator's own pods.
    let elsewhere = FleetOutcome::default();
    let announced = endpoints_after(&Value::Null, &people, keys, Some(&elsewhere));
    assert_eq!(announced, expected);
}

#[test]
fn an_identity_announces_no_url_that_it_does_not_serve() {
    let keys = Some(Ok(&[][..]));
    let known = json!({"token": "known"});
    let under = rollout(RolloutPhase::Under("1 of 2".to_owned()), 1);
    let failed = rollout(RolloutPhase::Failed("no further".to_owned()), 1);
    let conflict = FleetOutcome {
        problem: Some(Problem::error(Reason::ValueConflict, "", "taken")),
        ..FleetOutcome::default()
    };
    for before in [Value::Null, known.clone()] {
        let after = |keys, pods| endpoints_after(&before, QUICKSTART, keys, pods);
        // Pods of the previous revision go on.
        for pods in [Some(&under), Some(&failed), Some(&conflict), None] {
            assert_eq!(after(keys, pods), before, "{pods:?}");
        }
        let problem = Problem::error(Reason::SecretConflict, "", "garbled");
        assert_eq!(after(Some(Err(&problem)), None), before);
        let none = rollout(RolloutPhase::Complete, 0);
        assert_eq!(after(keys, Some(&none)), Value::Null);
        let complete = rollout(RolloutPhase::Complete, 2);
        let refused = QUICKSTART.replacen("https://id.example.com/id", "http://id.example.com", 1);
        let announced = endpoints_after(&before, &refused, keys, Some(&complete));
        assert_eq!(announced, Value::Null, "it is not accepted");
    }
}

#[test]
fn an_identity_is_ready_when_its_pods_are() {
    let world = World::new(QUICKSTART);
    let key = ObjectKey::new("platform", "main");
    let object = world.directory.identity(&key).unwrap();
    let with = |phase: RolloutPhase, upgrade: Option<&str>| {
        let rollout = Rollout {
            replicas: 3,
            ready: 2,
            wanted: 2,
            selector: "a=b".to_owned(),
            version: Some("1".to_owned()),
            phase,
            upgrade: upgrade.map(str::to_owned),
        };
        let passed = FleetOutcome {
            rollout: Some(rollout),
            ..FleetOutcome::default()
        };
        identity(
            &live("Identity", 1),
            &world.directory,
            object,
            KeysFound {
                keys: Some(Ok(&[])),
                refused: None,
            },
            Some(&passed),
            at(0),
        )
    };
    let under = || RolloutPhase::Under("1 of 2 replicas are ready".to_owned());
    let failed = || RolloutPhase::Failed("no further".to_owned());
    for (phase, upgrade, expected) in [
        (
            RolloutPhase::Complete,
            None,
            ["Ready=True/Ready", "Reconciling=False", "Stalled=False"],
        ),
        (
            RolloutPhase::Complete,
            Some("waits"),
            ["Ready=True/Ready", "Reconciling=True", "Stalled=False"],
        ),
        (
            under(),
            Some("waits"),
            [
                "Ready=False/RollingOut",
                "Reconciling=True",
                "Stalled=False",
            ],
        ),
        (
            failed(),
            None,
            [
                "Ready=False/ProgressDeadlineExceeded",
                "Reconciling=False",
                "Stalled=True",
            ],
        ),
    ] {
        let object = with(phase, upgrade);
        let told = told(&object);
        for condition in expected {
            let is_told = told.iter().any(|it| it.starts_with(condition));
            assert!(is_told, "{condition}: {told:?}");
        }
        assert_eq!(object["status"]["readyReplicas"], 2);
    }
}

/// Each list in a status is bounded, and so is the whole status.
#[test]
fn a_status_is_bounded_for_every_spec() {
    let scopes: Vec<String> = (0..128).map(|n| format!("{n:0>128}")).collect();
    let asks = format!("scopes: {scopes:?}");
    let world = World::new(&QUICKSTART.replacen("scopes: [orders.read, orders.write]", &asks, 1));
    let wanted = client_status(&world, &done());
    let not_granted = wanted["status"]["notGranted"].as_array().unwrap();
    assert_eq!(not_granted.len(), 128);
    let conditions = wanted["status"]["conditions"].as_array().unwrap();
    let longest = |condition: &Value| condition["message"].as_str().unwrap().chars().count();
    assert!(conditions.iter().map(longest).max().unwrap() <= LONGEST_MESSAGE + 1);
    assert!(wanted["status"].to_string().len() < 32 << 10);
}

#[test]
fn a_client_whose_token_would_be_too_long_is_ready_with_a_warning() {
    let audiences: Vec<String> = (0..8)
        .map(|n| format!("https://api.example.com/{n}/{}", "x".repeat(470)))
        .collect();
    let mut yaml = QUICKSTART.to_owned();
    for scope in ["orders.read", "orders.write"] {
        let own: Vec<String> = audiences.iter().map(|it| format!("{it}/{scope}")).collect();
        let of_scope = yaml.find(&format!("{{name: {scope},")).unwrap();
        let after = yaml.split_off(of_scope);
        yaml += &after.replacen(
            "audiences: [https://api.example.com]",
            &format!("audiences: {own:?}"),
            1,
        );
    }
    let world = World::new(&yaml);
    let wanted = client_status(&world, &done());
    let ready = wanted["status"]["conditions"].as_array().unwrap().iter();
    let ready = ready.clone().find(|it| it["type"] == "Ready").unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("True"), &json!("Ready"))
    );
    let message = ready["message"].as_str().unwrap();
    assert!(
        message.starts_with("an access token with all scopes of this client has "),
        "{message}"
    );
    assert_eq!(
        client_status(&World::new(QUICKSTART), &done())["status"]["conditions"][0]["message"],
        ""
    );
}

/// Returns the condition of a client that people use, as `<status>/<reason>` and its message.
fn interactive_status(world: &World, kind: &str) -> (String, String) {
    let object = world.directory.client(&ObjectKey::new("blue", "web"));
    let live = live("OAuthClient", 1);
    let status = client(&live, &world.directory, object.unwrap(), &done(), at(0));
    let found = condition(&status, kind).unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (
        format!("{}/{}", text("status"), text("reason")),
        text("message"),
    )
}

/// The client's other grants go on, so it stays accepted.
#[test]
fn a_client_that_may_not_sign_in_people_is_told_why() {
    let world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
    assert_eq!(interactive_status(&world, "Granted").0, "True/Granted");
    let identity = PEOPLE.split("---").next().unwrap();
    for (from, to, reason) in [
        (
            "storage: {type: SQLite}",
            "storage: {type: None}",
            "StorageRequired",
        ),
        (
            ", interactiveClients: {from: All}",
            "",
            "NamespaceNotAllowed",
        ),
    ] {
        assert!(identity.contains(from), "{from}");
        let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
        world.apply(&identity.replace(from, to));
        let (granted, message) = interactive_status(&world, "Granted");
        assert_eq!(granted, format!("False/{reason}"));
        assert!(message.contains("platform/main"), "{message}");
        assert_eq!(
            interactive_status(&world, "Ready").0,
            format!("False/{reason}")
        );
        assert_eq!(
            interactive_status(&world, "Stalled").0,
            format!("False/{reason}")
        );
        assert_eq!(interactive_status(&world, "Accepted").0, "True/Accepted");
    }
}

#[test]
fn a_client_that_may_not_skip_consent_is_ready_and_is_told() {
    let mut world = World::new(&format!("{QUICKSTART}---\n{PEOPLE}"));
    let web = PEOPLE
        .split("---")
        .find(|it| it.contains("name: web"))
        .unwrap();
    world.apply(&format!("{}  consent: Skip\n", web.trim_start()));
    let (ready, message) = interactive_status(&world, "Ready");
    assert_eq!(ready, "True/Ready");
    assert!(message.contains("spec.access.skipConsent"), "{message}");
}
