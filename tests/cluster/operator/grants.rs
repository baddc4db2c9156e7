//! Namespace grants, with the operator and a server: there is none by default, only the owner gives one, a withdrawal
//! takes effect at once, and every refusal says who refused and who can allow it.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, Patch, PatchParams};
use serde_json::{Value, json};
use symbolon::resources::Kind;

use super::serving::{Server, rights};
use super::world::{Running, World, condition, resource};
use crate::harness::{Cluster, eventually};

const TOKEN: Kind = Kind::ServiceAccessToken;
const CLIENT: Kind = Kind::OAuthClient;

/// The platform's and the team's objects with an operator and a server.
struct Granted<'w> {
    world: &'w World<'w>,
    server: Server,
    _running: Running,
    token: String,
    client_secret: String,
}

impl<'w> Granted<'w> {
    async fn start(world: &'w World<'w>) -> Self {
        let running = Running::start(world).await;
        world.token_ready("nightly").await;
        world.ready(CLIENT, "backend", "True", "Ready").await;
        let account = world.team.cluster_account("server", rights()).await;
        let secret = world.secret("backend-client").await.unwrap().data.unwrap();
        Self {
            server: Server::start(world, account.kubeconfig_path(), &[]).await,
            token: world.text("nightly-token").await.unwrap(),
            client_secret: String::from_utf8(secret["client-secret"].0.clone()).unwrap(),
            world,
            _running: running,
        }
    }

    /// Changes an object of the platform by a merge patch.
    async fn platform(&self, kind: Kind, name: &str, spec: Value) {
        let namespace = self.world.platform.name();
        let api: Api<kube::api::DynamicObject> =
            Api::namespaced_with(self.world.client(), namespace, &resource(kind));
        let patch = Patch::Merge(json!({"spec": spec}));
        api.patch(name, &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn label_team(&self, labels: Value) {
        let api: Api<Namespace> = Api::all(self.world.client());
        let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
        api.patch(self.world.team.name(), &PatchParams::default(), &patch)
            .await
            .unwrap();
    }

    async fn access_token(&self) -> Option<String> {
        let id = format!("{}.backend", self.world.team.name());
        let answer = self.server.access_token(&id, &self.client_secret).await;
        Some(answer.ok()?["access_token"].as_str()?.to_owned())
    }

    /// Waits until both the reference token and a request for an access token are accepted, or both are refused.
    async fn served(&self, what: &str, is_granted: bool) {
        eventually(what, async || {
            let is_accepted = self.server.accepts(&self.token).await;
            let is_issued = self.access_token().await.is_some();
            (is_accepted == is_granted && is_issued == is_granted).then_some(())
        })
        .await;
    }

    /// Waits for a refusal whose message has all of `words`, in which TEAM and PLATFORM stand for the namespaces.
    async fn told(&self, kind: Kind, name: &str, reason: &str, words: &[&str]) {
        let words: Vec<String> = words.iter().map(|word| self.named(word)).collect();
        let what = format!("{kind} {name} is refused with {reason} and {words:?}");
        eventually(&what, async || {
            let object = self.world.get(kind, name).await;
            let ready = condition(&object, "Ready");
            let message = ready["message"].as_str()?;
            let is_said = ready["status"] == "False" && ready["reason"] == reason;
            let is_named = words.iter().all(|word| message.contains(word));
            (is_said && is_named).then_some(())
        })
        .await;
    }

    fn named(&self, text: &str) -> String {
        text.replace("PLATFORM", self.world.platform.name())
            .replace("TEAM", self.world.team.name())
    }

    /// Every form of a namespace grant, and whether it includes the team's namespace, which has the label `tier: gold`.
    fn openings(&self) -> Vec<(Value, bool)> {
        let texts = [
            (r#"{"from": "Same"}"#, false),
            (r#"{"from": "None"}"#, false),
            ("null", false),
            (r#"{"from": "All"}"#, true),
            (r#"{"from": "List", "names": ["TEAM"]}"#, true),
            (r#"{"from": "List", "names": ["TEAM2", "other"]}"#, false),
            (r#"{"from": "List", "names": []}"#, false),
            (
                r#"{"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}}"#,
                true,
            ),
            (
                r#"{"from": "Selector", "selector": {"matchLabels": {"tier": "tin"}}}"#,
                false,
            ),
            (
                r#"{"from": "Selector", "selector": {"matchExpressions": [{"key": "tier", "operator": "In", "values": ["gold", "tin"]}]}}"#,
                true,
            ),
            (
                r#"{"from": "Selector", "selector": {"matchLabels": {"kubernetes.io/metadata.name": "PLATFORM"}}}"#,
                false,
            ),
        ];
        let value = |text: &str| serde_json::from_str(&self.named(text)).unwrap();
        texts
            .into_iter()
            .map(|(text, is_open)| (value(text), is_open))
            .collect()
    }

    /// Gives and withdraws a grant in every form, and checks the effect.
    async fn each_opening(
        &self,
        (kind, name): (Kind, &str),
        spec: impl Fn(Value) -> Value,
        reason: &str,
        words: &[&str],
    ) {
        self.label_team(json!({"tier": "gold"})).await;
        let all = json!({"from": "All", "names": null, "selector": null});
        for (opening, is_open) in self.openings() {
            self.platform(kind, name, spec(Value::Null)).await;
            self.platform(kind, name, spec(opening.clone())).await;
            self.served(&format!("{kind} {name} has the grant {opening}"), is_open)
                .await;
            if is_open {
                self.world.token_ready("nightly").await;
            } else {
                self.told(CLIENT, "backend", reason, words).await;
            }
            self.platform(kind, name, spec(all.clone())).await;
            self.served("the grant is given again", true).await;
        }
        // The grant follows the namespace's label.
        let gold = json!({"from": "Selector", "selector": {"matchLabels": {"tier": "gold"}}});
        self.platform(kind, name, spec(Value::Null)).await;
        self.platform(kind, name, spec(gold)).await;
        for (tier, is_open) in [(Some("gold"), true), (None, false), (Some("gold"), true)] {
            self.label_team(json!({"tier": tier})).await;
            self.served(&format!("the namespace has the tier {tier:?}"), is_open)
                .await;
        }
        let token = self.world.text("nightly-token").await;
        assert_eq!(token.as_ref(), Some(&self.token), "no token was recreated");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scope_is_granted_only_to_the_namespaces_that_its_owner_allows() {
    let world = World::new(Cluster::shared()).await;
    let granted = Granted::start(&world).await;
    let words = [
        "Scope PLATFORM/orders.read",
        "namespace TEAM",
        "the team of namespace PLATFORM",
        "spec.allowedNamespaces",
    ];
    let spec = |opening| json!({"allowedNamespaces": opening});
    granted
        .each_opening(
            (Kind::Scope, "orders.read"),
            spec,
            "ScopeNotGranted",
            &words,
        )
        .await;
    let jwt = granted.access_token().await.unwrap();
    assert!(granted.server.accepts(&jwt).await);
    let closed = json!({"allowedNamespaces": null});
    granted.platform(Kind::Scope, "orders.read", closed).await;
    granted
        .server
        .soon("the server refuses an issued JWT at once", &jwt, false)
        .await;
    let has = "OAuthClient TEAM/backend";
    let not_asked = json!({"spec": {"scopes": ["orders.write"]}});
    granted
        .platform(
            Kind::Scope,
            "orders.read",
            json!({"allowedNamespaces": {"from": "All"}}),
        )
        .await;
    world.patch(CLIENT, "backend", not_asked).await;
    granted
        .told(TOKEN, "nightly", "ScopeNotGranted", &[has, "spec.scopes"])
        .await;
    granted
        .served("the client no longer has the scope", false)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_identity_serves_clients_only_of_the_namespaces_that_it_allows() {
    let world = World::new(Cluster::shared()).await;
    let granted = Granted::start(&world).await;
    let words = [
        "Identity PLATFORM/main",
        "namespace TEAM",
        "its administrators",
        "spec.access.clients",
    ];
    let spec = |opening| json!({"access": {"clients": opening}});
    granted
        .each_opening(
            (Kind::Identity, "main"),
            spec,
            "NamespaceNotAllowed",
            &words,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_usable_only_by_the_namespace_that_owns_it() {
    let world = World::new(Cluster::shared()).await;
    let granted = Granted::start(&world).await;
    let identity =
        |access: Value| granted.platform(Kind::Identity, "main", json!({"access": access}));
    let manifests = "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: till, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  clientId: till
  grantTypes: [ClientCredentials]
---
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: api, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  grantTypes: []
  resourceServer: {audiences: [https://till.example.com]}
---
apiVersion: symbolon.dev/v1alpha1
kind: Scope
metadata: {name: till.open, namespace: TEAM}
spec:
  identityRef: {name: main, namespace: PLATFORM}
  value: till.open
";
    world.apply(manifests).await;
    let asks = ["Identity PLATFORM/main", "the administrators of"];
    let administrators = ["Identity PLATFORM/main", "its administrators"];
    granted
        .told(
            CLIENT,
            "till",
            "NameNotOwned",
            &[&asks[..], &["\"till\"", "TEAM."]].concat(),
        )
        .await;
    granted
        .told(
            CLIENT,
            "api",
            "NameNotOwned",
            &[
                "Identity PLATFORM/main",
                "https://till.example.com",
                "administrators",
            ],
        )
        .await;
    granted
        .told(
            Kind::Scope,
            "till.open",
            "NamespaceNotAllowed",
            &[&administrators[..], &["spec.access.scopes"]].concat(),
        )
        .await;
    identity(json!({"scopes": {"from": "All"}})).await;
    granted
        .told(
            Kind::Scope,
            "till.open",
            "NameNotOwned",
            &[&asks[..], &["\"till.open\""]].concat(),
        )
        .await;
    let lent = json!({"names": [{
        "namespace": world.team.name(), "clientIds": ["till"], "scopes": ["till.*"], "audiences": ["https://till.example.com"],
    }]});
    identity(lent).await;
    for (kind, name) in [
        (CLIENT, "till"),
        (CLIENT, "api"),
        (Kind::Scope, "till.open"),
    ] {
        world.ready(kind, name, "True", "Ready").await;
    }
    let secret = world.secret("till-client").await.unwrap().data.unwrap();
    let secret = String::from_utf8(secret["client-secret"].0.clone()).unwrap();
    let answered = async |what: &str, status: u16| {
        eventually(what, async || {
            let answer = granted.server.access_token("till", &secret).await;
            // The client has no scope, so 400 shows that it was authenticated.
            let is = answer.map_or_else(|status| status.as_u16(), |_| 200);
            (is == status).then_some(())
        })
        .await;
    };
    answered("the client with the granted name is authenticated", 400).await;
    identity(json!({"names": null})).await;
    answered("the client is refused after the name is withdrawn", 401).await;
    granted.told(CLIENT, "till", "NameNotOwned", &asks).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_apply_to_existing_objects() {
    let world = World::new(Cluster::shared()).await;
    let granted = Granted::start(&world).await;
    let limits =
        |limits: Value| granted.platform(Kind::Identity, "main", json!({"limits": limits}));
    limits(json!({"neverExpiringTokens": "Allow"})).await;
    world.apply_token("perpetual", "neverExpires: true").await;
    world.apply_token("yearly", "lifetime: 1000h").await;
    // Among objects of the same second, the first by name counts as the oldest.
    let mut tokens = Vec::new();
    for name in ["perpetual", "yearly"] {
        world.token_ready(name).await;
        let token = world.text(&format!("{name}-token")).await.unwrap();
        granted
            .server
            .soon("the token is accepted", &token, true)
            .await;
        tokens.push(token);
    }
    limits(json!({"neverExpiringTokens": "Deny"})).await;
    granted
        .server
        .soon("the token that never expires is refused", &tokens[0], false)
        .await;
    let identity = "Identity PLATFORM/main";
    let words = [
        identity,
        "its administrators",
        "spec.limits.neverExpiringTokens",
    ];
    granted
        .told(TOKEN, "perpetual", "LimitExceeded", &words)
        .await;
    limits(json!({"maxServiceTokenLifetime": "720h"})).await;
    let words = [
        identity,
        "720h",
        "its administrators",
        "spec.limits.maxServiceTokenLifetime",
    ];
    granted.told(TOKEN, "yearly", "LimitExceeded", &words).await;
    limits(json!({"maxServiceTokenLifetime": "8784h", "perNamespace": {"serviceTokens": 1, "clients": 1}})).await;
    let words = [
        identity,
        "namespace TEAM",
        "its administrators",
        "spec.limits.perNamespace.serviceTokens",
    ];
    granted.told(TOKEN, "yearly", "LimitExceeded", &words).await;
    world
        .apply(
            "
apiVersion: symbolon.dev/v1alpha1
kind: OAuthClient
metadata: {name: second, namespace: TEAM}
spec: {identityRef: {name: main, namespace: PLATFORM}, grantTypes: [ClientCredentials]}
",
        )
        .await;
    let words = [
        identity,
        "namespace TEAM",
        "its administrators",
        "spec.limits.perNamespace.clients",
    ];
    granted
        .told(CLIENT, "second", "LimitExceeded", &words)
        .await;
    granted
        .served("the oldest client and token stay", true)
        .await;
}
