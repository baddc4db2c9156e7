//! The load: wrk with a script, limited in time and connections, on loopback only.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use serde::Deserialize;

use crate::cases::Case;

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/load/wrk.lua");

/// The intensity and duration of a load.
#[derive(Clone, Copy, Debug)]
pub struct Pressure {
    pub connections: u32,
    pub seconds: u64,
    /// The pause of each connection before a request; `None` for no pause.
    pub pause_ms: Option<u32>,
}

/// The result of a load.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Outcome {
    pub requests: u32,
    /// Broken connections, time-outs, and responses with a status above 399.
    pub failed: u32,
    /// In microseconds.
    pub p50: u32,
    pub p99: u32,
}

/// Checks that wrk exists.
pub fn check() -> anyhow::Result<()> {
    let Ok(found) = Command::new("wrk").arg("-v").output() else {
        bail!(
            "wrk, which generates the load, is not installed: on Debian, run apt-get install wrk"
        );
    };
    let version = String::from_utf8_lossy(&found.stdout);
    ensure!(
        version.contains("wrk"),
        "the program wrk on PATH is not wrk"
    );
    Ok(())
}

/// Loads a server with the requests of a case.
pub fn load(
    case: &Case,
    at: SocketAddr,
    pressure: Pressure,
    folder: &Path,
) -> anyhow::Result<Outcome> {
    let file = folder.join("case.lua");
    fs::write(&file, lua(case)?)?;
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "1", "--timeout", "5s", "--script", SCRIPT])
        .args(["--connections", &pressure.connections.to_string()])
        .args(["--duration", &format!("{}s", pressure.seconds)])
        .arg(format!("http://{at}/"))
        .arg("--")
        .arg(&file);
    if let Some(pause) = pressure.pause_ms {
        wrk.arg(pause.to_string());
    }
    let output = wrk.output().context("wrk")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find(|line| line.starts_with('{'));
    let line =
        line.with_context(|| format!("{text}{}", String::from_utf8_lossy(&output.stderr)))?;
    let outcome: Outcome = serde_json::from_str(line)?;
    ensure!(
        outcome.failed == 0,
        "{}: {} requests failed",
        case.name,
        outcome.failed
    );
    ensure!(
        outcome.requests > 0,
        "{}: the server answered no request",
        case.name
    );
    Ok(outcome)
}

/// Returns the case as a Lua table. Rust and Lua escape ASCII in the same way.
fn lua(case: &Case) -> anyhow::Result<String> {
    // All tokens have the same length, so the script can replace this token with the others.
    let token = case.tokens.first().map_or("", String::as_str);
    let request = case.request.with_token(token);
    let mut out = String::new();
    writeln!(
        out,
        "return {{ method = {:?}, path = {:?},",
        request.method, request.path
    )?;
    writeln!(out, "headers = {{")?;
    for (name, value) in &request.headers {
        writeln!(out, "[{name:?}] = {value:?},")?;
    }
    let body = &request.body;
    if body.is_empty() {
        writeln!(out, "}}, body = nil,")?;
    } else {
        writeln!(out, "}}, body = {body:?},")?;
    }
    writeln!(out, "tokens = {{")?;
    for token in &case.tokens {
        writeln!(out, "{token:?},")?;
    }
    writeln!(out, "}} }}")?;
    Ok(out)
}
