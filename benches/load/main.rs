//! Loads the built server over loopback and reports its CPU seconds for 1,000 requests, which are reproducible on a
//! busy machine. Each case is beside a bare limit in the same run. Run `just bench`, or `just bench --help`.
//!
//! Both servers are child processes: a mode of this program, or the real binary, compiled with the same profile. They
//! are loaded in turns, and the report has the median of the pairs. It asserts nothing. Every load is limited in time.

#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and stops when it cannot run"
)]

mod bare;
mod cases;
mod dev;
#[expect(dead_code, reason = "the benchmark `store` uses all of it")]
#[path = "../store/driver.rs"]
mod driver;
mod people;
#[path = "../population/mod.rs"]
mod population;
#[path = "../store/postgres.rs"]
mod postgres;
mod process;
mod report;
mod served;
mod wire;
mod wrk;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};

use crate::cases::{Case, Known, Size};
use crate::process::Server;
use crate::report::{CpuRow, Figure, LatencyRow, Report, Round};
use crate::wrk::Pressure;

// The same allocator as in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The number of clients, and of tokens, in the large directory.
const LARGE: usize = 100_000;
/// The time-out of a start: creating the large directory takes a while.
const START: Duration = Duration::from_secs(300);
/// A pause in which the log's thread writes the lines that it collected, because its CPU time counts.
const SETTLE: Duration = Duration::from_millis(60);

#[derive(Debug, Parser)]
#[expect(clippy::struct_excessive_bools, reason = "options of a command line")]
struct Cli {
    #[command(subcommand)]
    mode: Option<Mode>,
    /// Run only cases whose name contains this text; without it, also measure memory, start and latency
    #[arg(global = true)]
    filter: Option<String>,
    /// Number of pairs of loads for each case
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Duration of each load in seconds
    #[arg(long, default_value_t = 2)]
    seconds: u64,
    /// Number of connections of each load
    #[arg(long, default_value_t = 16)]
    connections: u32,
    /// Serve the small directory from this program instead of `symbolon dev`
    #[arg(long)]
    in_process: bool,
    /// Omit the large directory
    #[arg(long)]
    small: bool,
    /// Measure people and their applications instead of machines, with both databases
    #[arg(long)]
    people: bool,
    /// Number of requests of each load of people; some cases send more or less of them
    #[arg(long, default_value_t = 2000)]
    requests: usize,
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
    /// Set by cargo
    #[arg(long, hide = true)]
    bench: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Output {
    Text,
    Json,
}

/// The modes of child processes.
#[derive(Debug, Subcommand)]
enum Mode {
    #[command(hide = true, name = "serve-bare")]
    Bare { at: SocketAddr, routes: PathBuf },
    #[command(hide = true, name = "serve-symbolon")]
    Symbolon {
        at: SocketAddr,
        size: usize,
        known: PathBuf,
    },
    #[command(hide = true, name = "serve-people")]
    People {
        at: SocketAddr,
        place: String,
        known: PathBuf,
    },
    #[command(hide = true, name = "serve-bare-people")]
    BarePeople {
        at: SocketAddr,
        place: String,
        routes: PathBuf,
    },
}

fn main() -> anyhow::Result<()> {
    let cli = Cli::parse();
    // The same allocator as in the program.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    match &cli.mode {
        Some(Mode::Bare { at, routes }) => runtime.block_on(bare::serve(*at, routes)),
        Some(Mode::Symbolon { at, size, known }) => {
            runtime.block_on(served::serve(*at, *size, known))
        }
        Some(Mode::People { at, place, known }) => {
            runtime.block_on(people::serve(*at, place, known))
        }
        Some(Mode::BarePeople { at, place, routes }) => {
            runtime.block_on(people::serve_bare(*at, place, routes))
        }
        None => Run::new(&cli, &runtime)?.all(),
    }
}

/// One run of the driver.
struct Run<'a> {
    cli: &'a Cli,
    runtime: &'a tokio::runtime::Runtime,
    folder: tempfile::TempDir,
    report: Report,
}

impl<'a> Run<'a> {
    fn new(cli: &'a Cli, runtime: &'a tokio::runtime::Runtime) -> anyhow::Result<Self> {
        wrk::check()?;
        Ok(Self {
            cli,
            runtime,
            folder: tempfile::tempdir()?,
            report: Report::default(),
        })
    }

    fn all(mut self) -> anyhow::Result<()> {
        if self.cli.people {
            people::measure(&mut self)?;
        } else {
            self.quickstart()?;
            if !self.cli.small {
                self.large()?;
            }
        }
        match self.cli.output {
            Output::Text => self.report.print(),
            Output::Json => println!("{}", serde_json::to_string_pretty(&self.report)?),
        }
        Ok(())
    }

    fn quickstart(&mut self) -> anyhow::Result<()> {
        if self.cli.in_process {
            let (server, known) = self.symbolon(1)?;
            let cases = self.wanted(cases::cases(Size::Quickstart, &known));
            return self.measure(&server, &cases);
        }
        let dev = dev::start(self.folder.path())?;
        let (idle, own) = (dev.server.resident_mib()?, dev.server.own_mib()?);
        let cases = self.wanted(cases::cases(Size::Quickstart, &dev.known));
        self.measure(&dev.server, &cases)?;
        if self.cli.filter.is_none() {
            self.figure("idle, the quickstart's directory", idle, "MiB", Some(20.0));
            self.figure(
                "  private memory, without the program's file",
                own,
                "MiB",
                None,
            );
            let after = dev.server.resident_mib()?;
            self.figure("after the load", after, "MiB", None);
            drop(dev.server);
            let ready = dev::ready_again(self.folder.path(), self.cli.rounds)?;
            self.report.start.push(Figure {
                name: "dev mode, from exec to the first response, if keys exist".to_owned(),
                value: ready,
                unit: "ms",
                aim: Some(50.0),
            });
        }
        Ok(())
    }

    fn large(&mut self) -> anyhow::Result<()> {
        let empty = self.symbolon(0)?.0.resident_mib()?;
        let (server, known) = self.symbolon(LARGE)?;
        let full = server.resident_mib()?;
        let cases = self.wanted(cases::cases(Size::Large, &known));
        self.measure(&server, &cases)?;
        if self.cli.filter.is_none() {
            let name = "directory: 100,000 clients and tokens, 200,000 Credentials";
            self.figure(name, full - empty, "MiB", None);
        }
        Ok(())
    }

    fn figure(&mut self, name: &str, value: f64, unit: &'static str, aim: Option<f64>) {
        let name = name.to_owned();
        self.report.memory.push(Figure {
            name,
            value,
            unit,
            aim,
        });
    }

    fn wanted(&self, mut cases: Vec<Case>) -> Vec<Case> {
        let filter = self.cli.filter.as_deref().unwrap_or_default();
        cases.retain(|case| case.name.contains(filter));
        cases
    }

    /// Starts Symbolon as a mode of this program.
    fn symbolon(&self, size: usize) -> anyhow::Result<(Server, Known)> {
        eprintln!("creating a directory of {size} clients and tokens …");
        let known = self.folder.path().join("known.json");
        let mut server = self.child("serve-symbolon", &[&size.to_string()], &known)?;
        server.wait(START)?;
        let known = serde_json::from_slice(&std::fs::read(known)?)?;
        Ok((server, known))
    }

    fn child(&self, mode: &str, args: &[&str], file: &Path) -> anyhow::Result<Server> {
        let at = process::free_address()?;
        let (text, file) = (at.to_string(), file.to_str().context("a path in UTF-8")?);
        let mut all = vec![mode, &text];
        all.extend_from_slice(args);
        all.push(file);
        let log = self.folder.path().join(format!("{mode}.log"));
        Server::start(&std::env::current_exe()?, &all, at, &log)
    }

    /// Measures each case in pairs with the bare limit, which gives the same responses as this server.
    fn measure(&mut self, server: &Server, cases: &[Case]) -> anyhow::Result<()> {
        for case in cases {
            let route = self.runtime.block_on(cases::probe(case, server.at))?;
            let routes = self.folder.path().join("routes.json");
            std::fs::write(&routes, serde_json::to_vec(&[route])?)?;
            let mut bare = self.child("serve-bare", &[], &routes)?;
            bare.wait(START)?;
            let rounds = self.rounds(case, server, &bare)?;
            let row = CpuRow::new(case, &rounds);
            eprintln!("{}: {:.2}× the bare limit", row.case, row.ratio);
            self.report.cpu.push(row);
            if self.cli.filter.is_none() {
                let row = self.light(case, server, &bare)?;
                self.report.latency.push(row);
            }
        }
        Ok(())
    }

    fn rounds(&self, case: &Case, server: &Server, bare: &Server) -> anyhow::Result<Vec<Round>> {
        let warm = Pressure {
            seconds: 1,
            ..self.pressure()
        };
        self.cost(case, server, warm)?;
        self.cost(case, bare, warm)?;
        let pair = |round: u32| {
            // Alternate, so that neither side is always the second.
            let (symbolon, bare) = if round.is_multiple_of(2) {
                let symbolon = self.cost(case, server, self.pressure())?;
                (symbolon, self.cost(case, bare, self.pressure())?)
            } else {
                let bare = self.cost(case, bare, self.pressure())?;
                (self.cost(case, server, self.pressure())?, bare)
            };
            Ok(Round {
                symbolon: symbolon.0,
                bare: bare.0,
                requests: u64::from(symbolon.1) + u64::from(bare.1),
            })
        };
        (0..self.cli.rounds).map(pair).collect()
    }

    const fn pressure(&self) -> Pressure {
        Pressure {
            connections: self.cli.connections,
            seconds: self.cli.seconds,
            pause_ms: None,
        }
    }

    /// Returns the CPU seconds for 1,000 requests, and the number of requests.
    fn cost(&self, case: &Case, server: &Server, pressure: Pressure) -> anyhow::Result<(f64, u32)> {
        let before = server.cpu_seconds()?;
        let outcome = wrk::load(case, server.at, pressure, self.folder.path())?;
        std::thread::sleep(SETTLE);
        let spent = server.cpu_seconds()? - before;
        Ok((
            spent * 1000.0 / f64::from(outcome.requests),
            outcome.requests,
        ))
    }

    /// Measures the latency with four connections that send a request every 10 ms.
    fn light(&self, case: &Case, server: &Server, bare: &Server) -> anyhow::Result<LatencyRow> {
        let pressure = Pressure {
            connections: 4,
            seconds: self.cli.seconds,
            pause_ms: Some(10),
        };
        let folder = self.folder.path();
        let symbolon = wrk::load(case, server.at, pressure, folder)?;
        let bare = wrk::load(case, bare.at, pressure, folder)?;
        Ok(LatencyRow {
            case: case.name.clone(),
            symbolon_p50: symbolon.p50,
            symbolon_p99: symbolon.p99,
            bare_p50: bare.p50,
            bare_p99: bare.p99,
        })
    }
}
