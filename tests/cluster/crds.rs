//! The CRDs in `crds/` on a real API server: it accepts them, and refuses objects that break their rules.
//! `tests/rules.rs` uses the same fixtures with our own validation, and checks that every rule has one.

use futures::StreamExt as _;
use http::Request;
use k8s_openapi::{
    api::core::v1::Secret,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, Patch, PatchParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};
use symbolon::{
    directory::{Problem, Settings, admit},
    resources::{Kind, crd},
};

use crate::{
    fixtures::{Keyword, Refusal, full, name, refusals, schema_faults, spec_schema},
    harness::{Cluster, TestNamespace, crds, eventually},
};

async fn namespace(purpose: &str) -> TestNamespace<'static> {
    Cluster::shared().install_crds().await;
    Cluster::shared().namespace(purpose).await
}

fn plural(crd: &CustomResourceDefinition) -> &str {
    &crd.spec.names.plural
}

/// The objects of one kind in a namespace as plain JSON, as a user's tool sends them, without our types.
struct Objects {
    client: Client,
    url: String,
}

impl Objects {
    fn of(namespace: &TestNamespace<'_>, plural: &str) -> Self {
        Self {
            client: namespace.client(),
            url: format!(
                "/apis/symbolon.dev/v1alpha1/namespaces/{}/{plural}",
                namespace.name()
            ),
        }
    }

    async fn send(&self, method: &str, url: String, body: &Value) -> Result<Value, Box<Status>> {
        let request = Request::builder()
            .method(method)
            .uri(url)
            .header("content-type", "application/json");
        match self
            .client
            .request(request.body(body.to_string().into_bytes()).unwrap())
            .await
        {
            Ok(answer) => Ok(answer),
            Err(kube::Error::Api(status)) => Err(status),
            Err(error) => panic!("the API server does not respond: {error}"),
        }
    }

    /// Validates an object like `kubectl create --dry-run=server --validate=strict`.
    async fn judge(&self, object: &Value) -> Result<Value, Box<Status>> {
        self.send(
            "POST",
            format!("{}?dryRun=All&fieldValidation=Strict", self.url),
            object,
        )
        .await
    }

    /// Creates an object, or updates it if it exists.
    async fn apply(&self, object: &Value) -> Result<Value, Box<Status>> {
        let created = self
            .send(
                "POST",
                format!("{}?fieldValidation=Strict", self.url),
                object,
            )
            .await;
        match created {
            Err(status) if status.reason == "AlreadyExists" => self.update(object).await,
            other => other,
        }
    }

    async fn update(&self, object: &Value) -> Result<Value, Box<Status>> {
        let url = format!("{}/{}", self.url, name(object));
        let current = self.send("GET", url.clone(), &Value::Null).await?;
        let mut object = object.clone();
        object["metadata"]["resourceVersion"] = current["metadata"]["resourceVersion"].clone();
        self.send("PUT", format!("{url}?fieldValidation=Strict"), &object)
            .await
    }
}

/// The field and the message of each cause of a refusal.
fn causes(status: &Status) -> Vec<(&str, &str)> {
    let details = status.details.as_ref();
    details
        .into_iter()
        .flat_map(|details| &details.causes)
        .map(|cause| (cause.field.as_str(), cause.message.as_str()))
        .collect()
}

// --- accepted --------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_accepts_every_crd_without_reservation() {
    Cluster::shared().install_crds().await;
    let api: Api<CustomResourceDefinition> = Api::all(Cluster::shared().client().await);
    let crds = crds();
    assert!(!crds.is_empty());
    for crd in crds {
        let served = api.get(crd.metadata.name.as_ref().unwrap()).await.unwrap();
        let conditions = served.status.unwrap().conditions.unwrap();
        let holds = |kind: &str| {
            conditions
                .iter()
                .any(|condition| condition.type_ == kind && condition.status == "True")
        };
        assert!(
            holds("Established") && holds("NamesAccepted") && !holds("NonStructuralSchema"),
            "{}: {conditions:?}",
            plural(&crd)
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn kubectl_explains_every_kind_and_its_references() {
    Cluster::shared().install_crds().await;
    let explain = |what: &str| {
        // kubectl would keep a schema from before the definitions were published.
        let cache = tempfile::tempdir().unwrap();
        let mut kubectl = Cluster::shared().kubectl();
        kubectl.env("KUBECACHEDIR", cache.path());
        let output = kubectl.args(["explain", what]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        // kubectl breaks lines.
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for (what, expected) in [
        ("identities.symbolon.dev", "One token issuer (RFC 8414)"),
        ("scopes.symbolon.dev", "A scope value of an Identity"),
        (
            "oauthclients.symbolon.dev",
            "A client of an Identity (RFC 6749 section 2)",
        ),
        (
            "serviceaccesstokens.symbolon.dev",
            "A reference token in a Secret.",
        ),
        (
            "credentials.symbolon.dev",
            "The tokens that were issued to one owner",
        ),
        (
            "oauthclients.spec.systemUser.name",
            "Name of the system user. Tokens act as `<namespace of this object>:<name>`.",
        ),
        (
            "serviceaccesstokens.spec.clientRef.name",
            "Name of the OAuthClient.",
        ),
    ] {
        // The API server publishes the schemas some time after the definitions.
        eventually("the kind is explained", async || {
            let told = explain(what);
            assert!(!told.contains("Auto-generated"), "{told}");
            told.contains(expected).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_accepted_and_kept() {
    let namespace = namespace("full").await;
    for crd in crds() {
        for object in full(plural(&crd)) {
            let answer = Objects::of(&namespace, plural(&crd)).judge(&object).await;
            let kept = answer.unwrap_or_else(|status| {
                panic!("{} {}: {}", plural(&crd), name(&object), status.message)
            });
            assert_contains(&kept["spec"], &object["spec"], name(&object));
        }
    }
}

/// Asserts that the API server has changed nothing except for added defaults.
fn assert_contains(kept: &Value, sent: &Value, at: &str) {
    match sent {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| {
            assert_contains(&kept[field], value, &format!("{at}.{field}"));
        }),
        _ => assert_eq!(kept, sent, "{at}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explicit_null_counts_as_absent() {
    let namespace = namespace("null").await;
    let objects = Objects::of(&namespace, "serviceaccesstokens");
    let with = |field: &str| {
        let mut object = full("serviceaccesstokens")[0].clone();
        object["spec"][field] = Value::Null;
        object
    };
    let kept = objects.judge(&with("lifetime")).await.unwrap();
    assert!(kept["spec"].get("lifetime").is_none());
    let kept = objects.judge(&with("revoked")).await.unwrap();
    assert_eq!(
        kept["spec"]["revoked"],
        json!(false),
        "the field has a default"
    );
    let status = objects.judge(&with("clientRef")).await.unwrap_err();
    assert_eq!(causes(&status)[0], ("spec.clientRef", "Required value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_object_has_the_condition_pending_at_once() {
    let namespace = namespace("pending").await;
    for plural in [
        "identities",
        "scopes",
        "oauthclients",
        "serviceaccesstokens",
        "users",
    ] {
        let created = Objects::of(&namespace, plural)
            .apply(&full(plural)[0])
            .await
            .unwrap();
        let condition = &created["status"]["conditions"][0];
        assert_eq!(
            [
                &condition["type"],
                &condition["status"],
                &condition["reason"]
            ],
            ["Ready", "Unknown", "Pending"],
            "{plural}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_deleted_with_the_token_that_owns_it() {
    let namespace = namespace("owned").await;
    let tokens = Objects::of(&namespace, "serviceaccesstokens");
    let token = tokens.apply(&full("serviceaccesstokens")[0]).await.unwrap();
    let secrets: Api<Secret> = namespace.api();
    let owner = json!({
        "apiVersion": token["apiVersion"], "kind": token["kind"], "name": token["metadata"]["name"], "uid": token["metadata"]["uid"],
        "controller": true, "blockOwnerDeletion": false,
    });
    let secret =
        serde_json::from_value(json!({"metadata": {"name": "owned", "ownerReferences": [owner]}}))
            .unwrap();
    secrets
        .create(&PostParams::default(), &secret)
        .await
        .unwrap();
    let url = format!("{}/{}", tokens.url, name(&token));
    tokens
        .send(
            "DELETE",
            url,
            &serde_json::to_value(DeleteParams::background()).unwrap(),
        )
        .await
        .unwrap();
    eventually("the Secret is deleted", async || {
        secrets
            .get_opt("owned")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

// --- refused: the CEL rules ------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn an_object_that_breaks_a_rule_is_refused_with_the_message_of_the_rule() {
    let mut wrong = Vec::new();
    for refusal in refusals() {
        wrong.extend(
            check_refusal(&refusal)
                .await
                .err()
                .map(|why| format!("{}: {why}", refusal.file)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn check_refusal(refusal: &Refusal) -> Result<(), String> {
    let namespace = namespace("refused").await;
    let objects = Objects::of(&namespace, &refusal.plural);
    for object in &refusal.accepted {
        objects
            .apply(object)
            .await
            .map_err(|status| format!("{} should be accepted: {}", name(object), status.message))?;
    }
    let answer = match refusal.before() {
        Some(_) => objects.update(&refusal.refused).await,
        None => objects.judge(&refusal.refused).await,
    };
    let Err(status) = answer else {
        return Err("the API server accepts it".into());
    };
    // Every rule that reads a value of a wrong type reports that too.
    let is_echo = |(field, message): &(&str, &str)| {
        !field_is(field, &refusal.at) && message.contains("invalid data, expected string, got")
    };
    let mut told = causes(&status);
    told.retain(|cause| !is_echo(cause));
    match told[..] {
        [(field, message)] if field_is(field, &refusal.at) && message.ends_with(&refusal.says) => {
            Ok(())
        }
        _ => Err(format!(
            "refused for another reason: {}: {:?}",
            status.message,
            causes(&status)
        )),
    }
}

/// Whether `field` is the field `at`. For the whole object, the API server writes `<nil>`.
fn field_is(field: &str, at: &str) -> bool {
    field == at || (at.is_empty() && field == "<nil>")
}

// --- refused: everything that we refuse ------------------------------------------------------------------------------

/// What only our own admission can refuse: a part of its message, and why the API server cannot.
const ONLY_OURS: [(&str, &str); 4] = [
    (
        "data must have at most",
        "CEL cannot tell a placeholder from one that is escaped",
    ),
    ("KiB together", "CEL counts characters, and memory is bytes"),
    (
        "the default scope value would be longer",
        "CEL does not see the namespace",
    ),
    (
        "the default client id would be longer",
        "CEL does not see the namespace",
    ),
];

/// Texts that some parser of names, URLs, times, durations, selectors or quantities may handle wrongly.
const NASTY: [&str; 48] = [
    "",
    " ",
    "a b",
    "A",
    "-",
    "-a",
    "a-",
    ".",
    "..",
    "a..b",
    "a.-b",
    "a/b",
    "a//b",
    "a/../b",
    "%2e%2e",
    "é",
    "\u{202e}",
    "null",
    "true",
    "0",
    "-1",
    "1e3",
    "issuer",
    "token",
    "client-secret",
    "openid",
    "$(token",
    "$(nothing)",
    "In",
    "Near",
    "https://a/../b",
    "https://A",
    "https://a:443",
    "http://a.example.com",
    "https://a:99999",
    "https://u@a",
    "1h",
    "0s",
    "99999h",
    "1d",
    "2026-02-30T00:00:00Z",
    "2026-01-01t00:00:00z",
    "2026-01-01T00:00:60Z",
    "0000-01-01T00:00:00Z",
    "9999-12-30T23:59:59+23:59",
    "9999-12-31T00:00:00-23:59",
    "9999-12-31T23:59:59Z",
    "10.0.0.0/33",
];

/// All copies of an object with one value replaced or added, each with a description.
fn oddities(object: &Value) -> Vec<(String, Value)> {
    fn walk(value: &Value, at: &str, found: &mut Vec<(String, Vec<Value>)>) {
        let texts = || NASTY.into_iter().map(Value::from);
        let mut odd: Vec<Value> = vec![json!([null]), json!([]), json!({}), json!(7)];
        match value {
            Value::String(text) => {
                odd.extend(texts());
                odd.push(text.repeat(80).into());
            }
            Value::Array(items) => {
                odd.extend(texts().map(|text| json!([text])));
                odd.push(json!([items.first(), items.first()]));
                let items = items.iter().enumerate();
                items.for_each(|(index, item)| walk(item, &format!("{at}/{index}"), found));
            }
            Value::Object(fields) => {
                odd.extend(texts().filter_map(|text| {
                    let mut fields = fields.clone();
                    // Add a key only to maps with free keys, because an unknown field is another error.
                    let is_map = fields.values().all(Value::is_string) && !fields.is_empty();
                    let value = fields.values().next().cloned();
                    fields.insert(text.as_str()?.to_owned(), value?);
                    is_map.then_some(Value::Object(fields))
                }));
                for (name, field) in fields {
                    walk(field, &format!("{at}/{name}"), found);
                }
            }
            Value::Number(_) => odd.extend([json!(-1), json!(0), json!(1.5), json!(i64::MAX)]),
            _ => {}
        }
        found.push((at.to_owned(), odd));
    }
    let mut places = Vec::new();
    walk(&object["spec"], "/spec", &mut places);
    let replaced = |(at, odd): (String, Vec<Value>)| {
        odd.into_iter().filter_map(move |value| {
            let mut object = object.clone();
            *object.pointer_mut(&at)? = value.clone();
            Some((format!("{at} = {value}"), object))
        })
    };
    places.into_iter().flat_map(replaced).collect()
}

/// A user of `kubectl apply` would not see the error of an object that the API server accepts and we refuse.
#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_refuses_everything_that_our_admission_refuses() {
    let namespace = namespace("odd").await;
    let (mut wrong, mut refused) = (Vec::new(), 0);
    for kind in Kind::ALL {
        let objects = Objects::of(&namespace, kind.plural());
        let odd = full(kind.plural())
            .into_iter()
            .flat_map(|object| oddities(&object));
        let ours = odd.filter_map(|(what, object)| {
            let mut named = object.clone();
            named["metadata"]["namespace"] = namespace.name().into();
            let problems = admit::problems(kind, &named, &Settings::default());
            let counts = |problem: &&Problem| {
                let mut known = ONLY_OURS.iter();
                !known.any(|(words, _)| problem.message.contains(words))
            };
            let problem = problems.iter().find(counts)?;
            Some((what, object, problem.message.clone()))
        });
        let ours: Vec<_> = ours.collect();
        refused += ours.len();
        let judged = futures::stream::iter(ours).map(async |(what, object, message)| {
            let is_accepted = objects.judge(&object).await.is_ok();
            is_accepted
                .then(|| format!("{kind} {what}: accepted, but our admission says: {message}"))
        });
        wrong.extend(
            judged
                .buffer_unordered(16)
                .filter_map(async |it| it)
                .collect::<Vec<_>>()
                .await,
        );
    }
    assert!(
        wrong.is_empty(),
        "{} of {refused}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(refused > 1000, "only {refused}");
}

// --- objects that are older than a rule ------------------------------------------------------------------------------

/// A CRD in another group, so that the shared one stays unchanged. `is_loose`: without rules, as an older release has
/// it.
fn definition(kind: Kind, group: &str, is_loose: bool) -> CustomResourceDefinition {
    fn loosen(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                for keyword in ["x-kubernetes-validations", "pattern", "enum", "minLength"] {
                    fields.remove(keyword);
                }
                fields.values_mut().for_each(loosen);
            }
            Value::Array(items) => items.iter_mut().for_each(loosen),
            _ => {}
        }
    }
    let mut definition = serde_json::to_value(crd(kind)).unwrap();
    definition["metadata"] = json!({ "name": format!("{}.{group}", kind.plural()) });
    definition["spec"]["group"] = group.into();
    definition["spec"]["names"]["categories"] = json!([]);
    definition["spec"]["names"]["shortNames"] = json!([]);
    if is_loose {
        loosen(&mut definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]);
    }
    serde_json::from_value(definition).unwrap()
}

/// The kind, the stored spec that breaks a rule, and a corrected spec.
fn old_faults() -> [(Kind, Value, Option<Value>); 11] {
    let owner = json!({"kind": "Nobody", "namespace": "", "name": "", "uid": ""});
    [
        (
            Kind::Identity,
            json!({"issuer": "https://ID.example.com/a/../b"}),
            None,
        ),
        (Kind::Identity, json!({"issuer": ""}), None),
        (
            Kind::Identity,
            json!({"issuer": "https://id.example.com", "storage": {"type": "SQLite", "sqlite": {"size": "5 apples"}}}),
            Some(
                json!({"issuer": "https://id.example.com", "storage": {"type": "SQLite", "sqlite": {"size": "1Gi"}}}),
            ),
        ),
        (
            Kind::Identity,
            json!({"issuer": "https://id.example.com", "revokeIssuedBefore": "9999-12-31T23:59:59Z"}),
            Some(
                json!({"issuer": "https://id.example.com", "revokeIssuedBefore": "2026-01-01T00:00:00Z"}),
            ),
        ),
        (
            Kind::Identity,
            json!({"issuer": "https://id.example.com", "access": {"clients": {"from": "Selector", "selector": {"matchExpressions": [{"key": "a", "operator": "Near"}]}}}}),
            Some(
                json!({"issuer": "https://id.example.com", "access": {"clients": {"from": "All"}}}),
            ),
        ),
        (
            Kind::Scope,
            json!({"value": "a/../b", "identityRef": {"name": "a..b"}}),
            None,
        ),
        (
            Kind::Scope,
            json!({"audiences": ["https://a/../b"]}),
            Some(json!({"audiences": ["https://a/b"]})),
        ),
        (
            Kind::OAuthClient,
            json!({"clientId": "", "identityRef": {"name": ""}, "grantTypes": []}),
            None,
        ),
        (
            Kind::OAuthClient,
            json!({"grantTypes": [], "resourceServer": {"audiences": ["https://a/../b"]}}),
            Some(json!({"grantTypes": []})),
        ),
        (
            Kind::ServiceAccessToken,
            json!({"clientRef": {"name": "a"}, "scopes": ["a"], "revoked": true, "secret": {"key": "issuer"}}),
            Some(json!({"clientRef": {"name": "a"}, "scopes": ["a"], "revoked": true})),
        ),
        (
            Kind::Credential,
            json!({"identity": {"name": ""}, "owner": owner, "high": 3}),
            None,
        ),
    ]
}

/// An object may be older than a rule that it breaks. Its labels and finalizers can be changed, it can be corrected if
/// the field is mutable, and it can be deleted.
#[tokio::test(flavor = "multi_thread")]
async fn an_object_older_than_a_rule_can_be_labelled_corrected_and_deleted() {
    const GROUP: &str = "old-faults.symbolon.test";
    let namespace = Cluster::shared().namespace("old").await;
    let definitions: Api<CustomResourceDefinition> = Api::all(Cluster::shared().client().await);
    let cases = old_faults();
    let kinds = [
        Kind::Identity,
        Kind::Scope,
        Kind::OAuthClient,
        Kind::ServiceAccessToken,
        Kind::Credential,
    ];
    let parameters = PatchParams::apply("test").force();
    for kind in kinds {
        let loose = definition(kind, GROUP, true);
        let name = loose.metadata.name.clone().unwrap();
        definitions
            .patch(&name, &parameters, &Patch::Apply(&loose))
            .await
            .unwrap();
    }
    let objects = |kind: Kind| Objects {
        client: namespace.client(),
        url: format!(
            "/apis/{GROUP}/v1alpha1/namespaces/{}/{}",
            namespace.name(),
            kind.plural()
        ),
    };
    let object = |kind: Kind, name: &str, spec: &Value| {
        json!({
            "apiVersion": format!("{GROUP}/v1alpha1"), "kind": kind.as_str(),
            "metadata": {"name": name, "finalizers": ["symbolon.test/held"]}, "spec": spec,
        })
    };
    for (number, (kind, stored, _)) in cases.iter().enumerate() {
        let (objects, object) = (
            objects(*kind),
            object(*kind, &format!("case-{number}"), stored),
        );
        eventually("it is stored", async || objects.apply(&object).await.ok()).await;
    }
    for kind in kinds {
        let strict = definition(kind, GROUP, false);
        let name = strict.metadata.name.clone().unwrap();
        definitions
            .patch(&name, &parameters, &Patch::Apply(&strict))
            .await
            .unwrap();
    }
    for (number, (kind, stored, _)) in cases.iter().enumerate() {
        let (objects, object) = (
            objects(*kind),
            object(*kind, &format!("new-{number}"), stored),
        );
        eventually("the rules are in force", async || {
            objects.judge(&object).await.err()
        })
        .await;
    }
    let mut wrong = Vec::new();
    for (number, (kind, stored, mended)) in cases.iter().enumerate() {
        let (objects, name) = (objects(*kind), format!("case-{number}"));
        let mut refused = |what: &str, answer: Result<Value, Box<Status>>| {
            wrong.extend(
                answer
                    .err()
                    .map(|status| format!("{kind} {stored}: {what}: {}", status.message)),
            );
        };
        let mut labelled = object(*kind, &name, stored);
        labelled["metadata"]["labels"] = json!({"team": "shop"});
        refused("a label", objects.update(&labelled).await);
        if let Some(mended) = mended {
            refused(
                "mending",
                objects.update(&object(*kind, &name, mended)).await,
            );
        }
        let url = format!("{}/{name}", objects.url);
        refused(
            "deletion",
            objects.send("DELETE", url.clone(), &Value::Null).await,
        );
        let current = objects
            .send("GET", url.clone(), &Value::Null)
            .await
            .unwrap();
        let mut free = current.clone();
        free["metadata"]["finalizers"] = json!([]);
        refused("a finalizer", objects.send("PUT", url.clone(), &free).await);
    }
    for kind in kinds {
        let name = format!("{}.{GROUP}", kind.plural());
        definitions
            .delete(&name, &DeleteParams::default())
            .await
            .unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

// --- refused: the schema ---------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_breaks_the_schema_is_refused_by_its_path() {
    let namespace = namespace("schema").await;
    let (mut wrong, mut faults) = (Vec::new(), 0);
    for crd in crds() {
        let objects = Objects::of(&namespace, plural(&crd));
        for fault in schema_faults(spec_schema(&crd), &full(plural(&crd))) {
            faults += 1;
            let why = match objects.judge(&fault.object).await {
                Ok(_) => "the API server accepts it".to_owned(),
                Err(status)
                    if causes(&status).iter().any(|(field, message)| {
                        *field == fault.at && message.contains(complaint(fault.keyword))
                    }) =>
                {
                    continue;
                }
                Err(status) => format!("refused for another reason: {:?}", causes(&status)),
            };
            wrong.push(format!(
                "{} {} {:?}: {why}",
                plural(&crd),
                fault.at,
                fault.keyword
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {faults}\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    assert!(faults > 100, "only {faults} faults");
}

/// A part of the API server's message about a keyword.
fn complaint(keyword: Keyword) -> &'static str {
    match keyword {
        Keyword::Type | Keyword::Format => "must be of type",
        Keyword::Enum => "Unsupported value",
        Keyword::MinLength => "should be at least",
        Keyword::MaxLength => "Too long",
        Keyword::Pattern => "should match",
        Keyword::Minimum => "should be greater than or equal to",
        Keyword::Maximum => "should be less than or equal to",
        Keyword::MinItems => "should have at least",
        Keyword::MaxItems => "Too many",
        Keyword::Unique => "Duplicate value",
        Keyword::MaxProperties => "must have at most",
        Keyword::Required => "Required value",
    }
}
