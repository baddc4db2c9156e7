//! The privileges and the memory of our pods.

use std::{collections::BTreeMap, fs};

use crate::{
    kubectl::{json, refused},
    platform::{Platform, manifest},
};

/// A process of our program, from /proc.
struct Process {
    arguments: String,
    /// The fields of its status file, such as `Uid`, `CapEff` and `VmRSS`.
    status: BTreeMap<String, String>,
}

impl Process {
    fn is(&self, key: &str, value: &str) {
        let found = &self.status[key];
        assert_eq!(found, value, "{key} of {}", self.arguments);
    }

    /// Resident memory, in KiB.
    fn resident(&self) -> u64 {
        let words = &self.status["VmRSS"];
        words.trim_end_matches(" kB").parse().unwrap()
    }
}

/// All processes that run our program. The test sees them because it shares the node's process ids.
fn processes() -> Vec<Process> {
    let running = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let folder = entry.unwrap().path();
        let arguments = fs::read_to_string(folder.join("cmdline")).ok()?;
        let arguments = arguments.replace('\0', " ");
        let status = fs::read_to_string(folder.join("status")).ok()?;
        arguments.starts_with("/symbolon ").then(|| Process {
            arguments,
            status: status
                .lines()
                .filter_map(|line| line.split_once(':'))
                .map(|(key, value)| (key.to_owned(), value.trim().to_owned()))
                .collect(),
        })
    });
    running.collect()
}

#[test]
fn operator_and_servers_run_without_privileges_on_the_node() {
    let _platform = Platform::take();
    let processes = processes();
    for (command, least) in [("operator", 2), ("serve", 2)] {
        let mut resident: Vec<u64> = processes
            .iter()
            .filter(|it| it.arguments.starts_with(&format!("/symbolon {command} ")))
            .map(Process::resident)
            .collect();
        resident.sort_unstable();
        assert!(resident.len() >= least, "{command}: {resident:?}");
        eprintln!("node: resident memory of `symbolon {command}`: {resident:?} KiB");
    }
    for process in &processes {
        process.is("Uid", "65532\t65532\t65532\t65532");
        process.is("CapEff", "0000000000000000");
        process.is("CapBnd", "0000000000000000");
        process.is("NoNewPrivs", "1");
        // Mode 2: a seccomp filter is active.
        process.is("Seccomp", "2");
    }
}

#[test]
fn the_namespaces_refuse_pods_with_more_privileges() {
    let _platform = Platform::take();
    for namespace in ["symbolon-system", "platform", "shop", "orders"] {
        let labels = &json(&format!("get namespace {namespace}"))["metadata"]["labels"];
        assert_eq!(labels["pod-security.kubernetes.io/enforce"], "restricted");
        let root = manifest("report")
            .replace("namespace: shop", &format!("namespace: {namespace}"))
            .replace("name: report\n", "name: root\n")
            .replace("runAsNonRoot: true, runAsUser: 65532", "runAsUser: 0")
            .replace("ip: ORDERS", "ip: 10.0.0.1");
        let answer = refused(&root);
        assert!(
            answer.contains("violates PodSecurity \"restricted:latest\""),
            "{answer}"
        );
    }
}
