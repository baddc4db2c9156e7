//! A workload mounts its token and calls an API whose gateway uses checktoken.

use crate::{
    kubectl::{apply, eventually, kubectl, patch, shell},
    platform::{Platform, cluster_ip, manifest, service},
};

/// The API's response to the workload's request with a header.
fn call(header: &str) -> String {
    let script =
        format!("busybox wget -q -O - --header \"{header}\" http://orders.orders.svc/orders/1");
    shell("shop", "report", &script).1
}

const MOUNTED: &str = "Authorization: Bearer $(busybox cat /var/run/orders/token)";

#[test]
fn a_workload_calls_a_protected_api_with_its_mounted_token_until_it_is_revoked() {
    let _platform = Platform::take();
    let guard = service().ip().to_string();
    apply(&manifest("orders").replace("GUARD", &guard));
    let orders = cluster_ip("orders", "orders").to_string();
    apply(&manifest("report").replace("ORDERS", &orders));
    kubectl("rollout status -n orders deployment/orders --timeout=60s");
    kubectl("wait --for=condition=Ready --timeout=60s -n shop pod/report");

    // The API returns the subject from nginx. Without a valid token, nginx refuses the request.
    assert_eq!(call(MOUNTED), "orders of shop:backend");
    let wrong = "Authorization: Bearer symsat_$(busybox head -c 65 /dev/zero | busybox tr '\\0' 0)";
    for header in ["X-Nothing: here", wrong] {
        let answer = call(header);
        assert!(answer.contains("401 Unauthorized"), "{header}: {answer}");
    }

    patch(
        "-n shop serviceaccesstoken/nightly-report",
        r#"{"spec":{"revoked":true}}"#,
    );
    eventually("the revoked token is refused", || {
        let answer = call(MOUNTED);
        if answer.contains("401 Unauthorized") {
            Ok(())
        } else {
            Err(answer)
        }
    });
}
