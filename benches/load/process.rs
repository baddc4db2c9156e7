//! The servers as processes: started, measured from outside, killed by their id.

use std::collections::BTreeMap;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

/// Linux reports CPU time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server that is killed when this value is dropped.
pub struct Server {
    child: Child,
    pub at: SocketAddr,
}

impl Server {
    /// Starts a program that will listen on `at`, with its output in `log`. The kernel kills it when this process ends.
    pub fn start(
        program: &Path,
        args: &[&str],
        at: SocketAddr,
        log: &Path,
    ) -> anyhow::Result<Self> {
        let log = fs::File::create(log)?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args(args)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("setpriv (Debian: util-linux)")?;
        Ok(Self { child, at })
    }

    /// Waits until the server accepts connections, and returns how long that took.
    pub fn wait(&mut self, most: Duration) -> anyhow::Result<Duration> {
        let started = Instant::now();
        while started.elapsed() < most {
            if TcpStream::connect(self.at).is_ok() {
                return Ok(started.elapsed());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("the server on {} exited: {status}", self.at);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        bail!("the server on {} did not accept within {most:?}", self.at)
    }

    /// The CPU time that all threads have used so far, in user and system mode.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        cpu_seconds(self.child.id())
    }

    /// Resident memory in MiB, including resident pages of the program's file.
    pub fn resident_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("VmRSS:")
    }

    /// Private memory in MiB.
    pub fn own_mib(&self) -> anyhow::Result<f64> {
        self.status_mib("RssAnon:")
    }

    fn status_mib(&self, field: &str) -> anyhow::Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let line = line.context("/proc/<pid>/status")?;
        let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have exited by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A loopback address that was free when it was chosen.
pub fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn cpu_seconds(process: u32) -> anyhow::Result<f64> {
    // utime and stime are fields 14 and 15.
    let ticks = stat(process)?.into_iter().skip(11).take(2);
    let ticks: Vec<f64> = ticks.map(|it| it.parse()).collect::<Result<_, _>>()?;
    Ok(ticks.iter().sum::<f64>() / TICKS_PER_SECOND)
}

/// Returns the fields of `/proc/<pid>/stat` from the third.
fn stat(process: u32) -> anyhow::Result<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat"))?;
    // The name may contain any character and ends at the last parenthesis.
    let (_, fields) = stat.rsplit_once(')').context("/proc/<pid>/stat")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// The CPU time that the descendants of a process have used so far, as far as they still run.
pub fn cpu_seconds_below(root: u32) -> anyhow::Result<f64> {
    let mut parents = BTreeMap::new();
    for entry in fs::read_dir("/proc")? {
        let name = entry?.file_name();
        let process = name.to_str().and_then(|name| name.parse::<u32>().ok());
        // A process may end meanwhile.
        if let Some((process, fields)) = process.and_then(|it| Some((it, stat(it).ok()?))) {
            parents.insert(process, fields[1].parse::<u32>()?);
        }
    }
    let mut total = 0.0;
    for process in parents.keys() {
        let mut ancestor = parents.get(process);
        while let Some(found) = ancestor {
            if *found == root {
                total += cpu_seconds(*process).unwrap_or_default();
                break;
            }
            ancestor = parents.get(found);
        }
    }
    Ok(total)
}
