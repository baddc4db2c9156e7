//! A namespace for each test, with service accounts that the test acts as.

use std::path::{Path, PathBuf};

use k8s_openapi::{
    api::{
        authentication::v1::{TokenRequest, TokenRequestSpec},
        authorization::v1::{
            ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
        },
        core::v1::{Namespace, ServiceAccount},
        rbac::v1::{
            ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding, RoleRef, Subject,
        },
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::{DeleteParams, PostParams},
    config::Kubeconfig,
};
use serde_json::json;

use super::{Cluster, client_of, eventually};

/// A namespace with a unique name, for one test. In KUBECONFIG's cluster it is deleted at the end. A temporary cluster
/// is removed as a whole.
pub(crate) struct TestNamespace<'a> {
    cluster: &'a Cluster,
    name: String,
    client: Client,
    /// Kubeconfigs of the accounts.
    folder: tempfile::TempDir,
}

/// A rule of a role, such as `rule(&["get", "list"], "symbolon.dev", &["scopes"])`.
pub(crate) fn rule(verbs: &[&str], group: &str, resources: &[&str]) -> PolicyRule {
    let owned = |names: &[&str]| {
        names
            .iter()
            .map(|&name| name.to_owned())
            .collect::<Vec<_>>()
    };
    PolicyRule {
        verbs: owned(verbs),
        api_groups: Some(vec![group.to_owned()]),
        resources: Some(owned(resources)),
        ..PolicyRule::default()
    }
}

/// A `ServiceAccount` that a test acts as.
pub(crate) struct Account {
    kubeconfig: PathBuf,
}

impl Account {
    /// The path of a kubeconfig with a token of the account, for programs under test.
    pub(crate) fn kubeconfig_path(&self) -> &Path {
        &self.kubeconfig
    }

    /// Creates the account's client on the runtime of the caller.
    pub(crate) async fn client(&self) -> Client {
        client_of(Kubeconfig::read_from(&self.kubeconfig).expect("the harness wrote it")).await
    }
}

impl<'a> TestNamespace<'a> {
    pub(super) async fn create(cluster: &'a Cluster, purpose: &str) -> Self {
        let client = cluster.client().await;
        let unique = uuid::Uuid::new_v4().simple().to_string();
        let name = format!("{purpose}-{}", &unique[..8]);
        let namespace = Namespace {
            metadata: named(&name),
            ..Namespace::default()
        };
        Api::all(client.clone())
            .create(&PostParams::default(), &namespace)
            .await
            .expect("a namespace can be created");
        Self {
            cluster,
            name,
            client,
            folder: tempfile::tempdir().expect("a temporary folder can be made"),
        }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The administrator's client.
    pub(crate) fn client(&self) -> Client {
        self.client.clone()
    }

    /// The objects of one kind in this namespace, as the administrator.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: kube::Resource<Scope = k8s_openapi::NamespaceResourceScope, DynamicType: Default>,
    {
        Api::namespaced(self.client(), &self.name)
    }

    /// Creates a `ServiceAccount` with only these rights, within the namespace.
    pub(crate) async fn account(&self, name: &str, rules: Vec<PolicyRule>) -> Account {
        let check = first_access(&rules, Some(&self.name));
        let role = Role {
            metadata: named(name),
            rules: Some(rules),
        };
        let binding = RoleBinding {
            metadata: named(name),
            role_ref: role_ref("Role", name),
            subjects: Some(vec![self.subject(name)]),
        };
        self.api()
            .create(&PostParams::default(), &role)
            .await
            .expect("a role can be created");
        self.api()
            .create(&PostParams::default(), &binding)
            .await
            .expect("a role can be bound");
        self.act_as(name, check).await
    }

    /// Creates a `ServiceAccount` with only these rights, in the whole cluster.
    pub(crate) async fn cluster_account(&self, name: &str, rules: Vec<PolicyRule>) -> Account {
        let check = first_access(&rules, None);
        let unique = format!("{}-{name}", self.name);
        let role = ClusterRole {
            metadata: self.swept(&unique),
            rules: Some(rules),
            ..ClusterRole::default()
        };
        let binding = ClusterRoleBinding {
            metadata: self.swept(&unique),
            role_ref: role_ref("ClusterRole", &unique),
            subjects: Some(vec![self.subject(name)]),
        };
        Api::all(self.client())
            .create(&PostParams::default(), &role)
            .await
            .expect("a cluster role can be created");
        Api::all(self.client())
            .create(&PostParams::default(), &binding)
            .await
            .expect("a cluster role can be bound");
        self.act_as(name, check).await
    }

    fn subject(&self, name: &str) -> Subject {
        Subject {
            kind: "ServiceAccount".into(),
            name: name.into(),
            namespace: Some(self.name.clone()),
            api_group: None,
        }
    }

    /// Metadata of a cluster-wide object. The label names the namespace that it is deleted with.
    fn swept(&self, name: &str) -> ObjectMeta {
        ObjectMeta {
            labels: Some([(SWEEP_LABEL.to_owned(), self.name.clone())].into()),
            ..named(name)
        }
    }

    async fn act_as(&self, name: &str, check: ResourceAttributes) -> Account {
        let accounts: Api<ServiceAccount> = self.api();
        accounts
            .create(
                &PostParams::default(),
                &ServiceAccount {
                    metadata: named(name),
                    ..ServiceAccount::default()
                },
            )
            .await
            .expect("an account can be created");
        let request = TokenRequest {
            spec: TokenRequestSpec {
                expiration_seconds: Some(6 * 3600),
                ..TokenRequestSpec::default()
            },
            ..TokenRequest::default()
        };
        let answer = accounts
            .create_token_request(name, &PostParams::default(), &request)
            .await
            .expect("a token can be requested");
        let token = answer
            .status
            .expect("a token request is answered with a token")
            .token;
        let account = Account {
            kubeconfig: self.write_kubeconfig(name, &token),
        };
        wait_until_allowed(&account.client().await, check).await;
        account
    }

    fn write_kubeconfig(&self, name: &str, token: &str) -> PathBuf {
        let mut config = self.cluster.kubeconfig();
        let current = config
            .current_context
            .clone()
            .expect("the kubeconfig has a current context");
        config.contexts.retain(|context| context.name == current);
        let context = config
            .contexts
            .iter_mut()
            .find_map(|context| context.context.as_mut())
            .expect("the current context exists");
        context.user = Some(name.to_owned());
        context.namespace = Some(self.name.clone());
        config.auth_infos =
            serde_json::from_value(json!([{"name": name, "user": {"token": token}}]))
                .expect("the entry is a user's");
        let path = self.folder.path().join(format!("{name}.kubeconfig"));
        std::fs::write(
            &path,
            serde_yaml::to_string(&config).expect("a kubeconfig can be written as YAML"),
        )
        .expect("the folder can be written to");
        path
    }
}

const SWEEP_LABEL: &str = "symbolon.dev/test-namespace";

fn named(name: &str) -> ObjectMeta {
    ObjectMeta {
        name: Some(name.to_owned()),
        ..ObjectMeta::default()
    }
}

fn role_ref(kind: &str, name: &str) -> RoleRef {
    RoleRef {
        api_group: "rbac.authorization.k8s.io".into(),
        kind: kind.into(),
        name: name.into(),
    }
}

/// An access that the first rule allows, to find out when the rules are in force.
fn first_access(rules: &[PolicyRule], namespace: Option<&str>) -> ResourceAttributes {
    let rule = rules
        .first()
        .expect("an account without rights needs no rules to wait for: give it one");
    let first =
        |names: &Option<Vec<String>>| names.as_ref().and_then(|names| names.first().cloned());
    let whole = first(&rule.resources).unwrap_or_default();
    let (resource, subresource) = whole
        .split_once('/')
        .map_or((whole.as_str(), None), |(resource, sub)| {
            (resource, Some(sub.to_owned()))
        });
    ResourceAttributes {
        verb: rule.verbs.first().cloned(),
        group: first(&rule.api_groups),
        resource: Some(resource.to_owned()),
        subresource,
        name: first(&rule.resource_names),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

/// New roles, bindings and accounts take effect a few milliseconds after the API server has stored them.
async fn wait_until_allowed(client: &Client, access: ResourceAttributes) {
    let reviews: Api<SelfSubjectAccessReview> = Api::all(client.clone());
    let spec = SelfSubjectAccessReviewSpec {
        resource_attributes: Some(access),
        ..SelfSubjectAccessReviewSpec::default()
    };
    let review = SelfSubjectAccessReview {
        spec,
        ..SelfSubjectAccessReview::default()
    };
    let allowed = async || {
        reviews
            .create(&PostParams::default(), &review)
            .await
            .ok()?
            .status?
            .allowed
            .then_some(())
    };
    eventually("the account has its rights", allowed).await;
}

impl Drop for TestNamespace<'_> {
    /// Deletes the namespace from another thread with its own runtime, because the test's runtime may be ending.
    fn drop(&mut self) {
        if self.cluster.supervisor.is_some() {
            return;
        }
        let (kubeconfig, name) = (self.cluster.kubeconfig(), self.name.clone());
        let sweep = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            runtime
                .block_on(sweep(kubeconfig, &name))
                .map_err(std::io::Error::other)
        });
        if !matches!(sweep.join(), Ok(Ok(()))) {
            eprintln!(
                "test cluster: cannot delete the namespace {}: delete it by hand",
                self.name
            );
        }
    }
}

async fn sweep(kubeconfig: Kubeconfig, name: &str) -> kube::Result<()> {
    let client = client_of(kubeconfig).await;
    let ours = kube::api::ListParams::default().labels(&format!("{SWEEP_LABEL}={name}"));
    let options = DeleteParams::background();
    Api::<ClusterRoleBinding>::all(client.clone())
        .delete_collection(&options, &ours)
        .await?;
    Api::<ClusterRole>::all(client.clone())
        .delete_collection(&options, &ours)
        .await?;
    Api::<Namespace>::all(client).delete(name, &options).await?;
    Ok(())
}
