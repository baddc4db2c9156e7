//! Runs the commands of docs/installation.md as they are written there.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::attacks::plain;
use crate::harness::Cluster;
use crate::tools::{Kube, eventually, read};
use crate::world::{HOME, installed};

/// The shell blocks between the page's marks as one script, which prints a line after each block.
fn blocks(page: &str) -> String {
    let (_, rest) = page.split_once("<!-- installation:begin").unwrap();
    let (part, _) = rest.split_once("<!-- installation:end -->").unwrap();
    let mut script = String::new();
    for block in part.split("```sh\n").skip(1) {
        let (commands, _) = block.split_once("```").unwrap();
        write!(script, "{commands}\necho '=== end of block'\n").unwrap();
    }
    script
}

#[test]
fn the_commands_of_the_installation_page_work() {
    let cluster = Cluster::private();
    let kube = Kube(&cluster);
    let printed = kube.shell(&blocks(&read("docs/installation.md")));
    assert_eq!(printed.matches("=== end of block").count(), 5, "{printed}");
    let left = kube.must("get crd,clusterrole,clusterrolebinding,validatingadmissionpolicy -l app.kubernetes.io/name=symbolon -o name");
    assert_eq!(left, "");
}

/// The page offers this quota against Identities that request too many resources.
#[test]
fn the_documented_quota_admits_an_identity_and_limits_its_namespace() {
    let kube = installed();
    kube.must("create namespace quota");
    let page = read("docs/installation.md");
    let (_, rest) = page.split_once("<!-- quota -->\n```yaml\n").unwrap();
    let (quota, _) = rest.split_once("```").unwrap();
    kube.apply(&quota.replace(HOME, "quota"));
    eventually("the quota is in force", || {
        let live = kube.get("resourcequota identities -n quota")?;
        (live["status"]["hard"]["pods"] == "20").then_some(())
    });
    let create =
        |object: &Value| kube.with("create --dry-run=server -n quota -f -", &object.to_string());
    kube.must("create serviceaccount main-identity -n quota");
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "main"}});
    pod["spec"] = plain("Deployment")["spec"]["template"]["spec"].clone();
    create(&pod).unwrap();
    pod["spec"]["containers"][0]["resources"]["limits"]["memory"] = "17Gi".into();
    let claim = |size: &str| {
        let resources = json!({"requests": {"storage": size}});
        json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": resources},
        })
    };
    create(&claim("1Gi")).unwrap();
    for object in [pod, claim("51Gi")] {
        let error = create(&object).unwrap_err();
        assert!(error.contains("exceeded quota: identities"), "{error}");
    }
}
