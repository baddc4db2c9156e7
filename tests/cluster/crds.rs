//! The definitions in `crds/` on a real API server: it accepts them, and refuses what their rules forbid.
//! `tests/rules.rs` feeds the same fixtures to our own check, and sees that there is one for every rule.

use http::Request;
use k8s_openapi::{
    api::core::v1::Secret,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    core::Status,
};
use serde_json::{Value, json};

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

/// The objects of one kind in a namespace, as plain JSON: what a user's tool sends, unknown to our types.
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
            Err(error) => panic!("the API server does not answer: {error}"),
        }
    }

    /// As `kubectl create --dry-run=server --validate=strict`.
    async fn judge(&self, object: &Value) -> Result<Value, Box<Status>> {
        self.send(
            "POST",
            format!("{}?dryRun=All&fieldValidation=Strict", self.url),
            object,
        )
        .await
    }

    /// Creates it, or updates it where it is there already.
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

/// Field and message of each cause of a refusal.
fn causes(status: &Status) -> Vec<(&str, &str)> {
    let details = status.details.as_ref();
    details
        .into_iter()
        .flat_map(|details| &details.causes)
        .map(|cause| (cause.field.as_str(), cause.message.as_str()))
        .collect()
}

// --- accepted -----------------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn every_definition_is_accepted_without_reservation() {
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

/// The API server may add defaults, and nothing else.
fn assert_contains(kept: &Value, sent: &Value, at: &str) {
    match sent {
        Value::Object(fields) => fields.iter().for_each(|(field, value)| {
            assert_contains(&kept[field], value, &format!("{at}.{field}"));
        }),
        _ => assert_eq!(kept, sent, "{at}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_explicit_null_is_as_good_as_absent() {
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
    assert_eq!(kept["spec"]["revoked"], json!(false), "it has a default");
    let status = objects.judge(&with("clientRef")).await.unwrap_err();
    assert_eq!(causes(&status)[0], ("spec.clientRef", "Required value"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_object_says_at_once_that_it_waits() {
    let namespace = namespace("pending").await;
    for plural in [
        "identities",
        "scopes",
        "oauthclients",
        "serviceaccesstokens",
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
async fn a_secret_dies_with_the_token_that_owns_it() {
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
    eventually("the Secret is collected", async || {
        secrets
            .get_opt("owned")
            .await
            .unwrap()
            .is_none()
            .then_some(())
    })
    .await;
}

// --- refused: the CEL rules -----------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_the_rules_forbid_is_refused_for_the_rule() {
    let mut wrong = Vec::new();
    for refusal in refusals() {
        wrong.extend(
            refused_for_its_rule(&refusal)
                .await
                .err()
                .map(|why| format!("{}: {why}", refusal.file)),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

async fn refused_for_its_rule(refusal: &Refusal) -> Result<(), String> {
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
        return Err("it is accepted".into());
    };
    match causes(&status)[..] {
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

/// The API server has an odd name for the whole object.
fn field_is(field: &str, at: &str) -> bool {
    field == at || (at.is_empty() && field == "<nil>")
}

// --- refused: the schema --------------------------------------------------------------------------------------------------

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_forbids_is_refused_for_the_field() {
    let namespace = namespace("schema").await;
    let (mut wrong, mut faults) = (Vec::new(), 0);
    for crd in crds() {
        let objects = Objects::of(&namespace, plural(&crd));
        for fault in schema_faults(spec_schema(&crd), &full(plural(&crd))) {
            faults += 1;
            let why = match objects.judge(&fault.object).await {
                Ok(_) => "it is accepted".to_owned(),
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
    assert!(faults > 100, "only {faults} faults made");
}

/// What the API server says of it.
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
