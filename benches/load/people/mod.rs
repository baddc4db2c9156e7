//! People: each request of a browser and of its application, at a server with a store of either engine, beside a server
//! of its bare parts.

mod bare;
mod cases;
mod served;
mod world;

use std::net::SocketAddr;
use std::path::Path;

use anyhow::Context as _;
use serde::Serialize;

use self::cases::{Application, Case, Held, Request, code};
pub use self::world::Place;
use crate::bare::Route;
use crate::cases::route;
use crate::postgres::Postgres;
use crate::process::{self, Server};
use crate::report::median;
use crate::wire::{self, Reply};
use crate::{Run, SETTLE, START};

/// The number of grants of the confidential application.
const STABLE: usize = 200;

/// CPU seconds for 1,000 requests.
#[derive(Debug, Serialize)]
pub struct PeopleRow {
    pub case: &'static str,
    pub engine: &'static str,
    pub symbolon: f64,
    pub bare: f64,
    /// The median of the ratios.
    pub ratio: f64,
    pub least_ratio: f64,
    pub most_ratio: f64,
    /// Of the database's server, with Symbolon and with the bare parts.
    pub database: Option<(f64, f64)>,
    pub aim: Option<f64>,
}

/// Serves Symbolon with people.
pub async fn serve(at: SocketAddr, place: &str, known: &Path) -> anyhow::Result<()> {
    served::serve(at, &serde_json::from_str(place)?, known).await
}

/// Serves the bare parts.
pub async fn serve_bare(at: SocketAddr, place: &str, routes: &Path) -> anyhow::Result<()> {
    bare::serve(at, &serde_json::from_str(place)?, routes).await
}

/// One of both servers, and what the load holds of it.
struct Side {
    server: Server,
    held: Held,
}

/// CPU seconds for 1,000 requests: of the server, and of the database's.
#[derive(Clone, Copy, Debug)]
struct Cost {
    server: f64,
    database: f64,
}

/// Measures every case with both engines.
pub fn measure(run: &mut Run<'_>) -> anyhow::Result<()> {
    let folder = run.folder.path().to_owned();
    let file = |name: &str| Place::File(folder.join(name));
    engine(run, "SQLite", [file("symbolon.db"), file("bare.db")], None)?;
    let postgres = Postgres::start();
    let schema = |name: &str| Place::Schema {
        url: postgres.url.clone(),
        name: name.to_owned(),
    };
    let places = [schema("bench_symbolon"), schema("bench_bare")];
    engine(run, "PostgreSQL", places, postgres.root())
}

fn engine(
    run: &mut Run<'_>,
    name: &'static str,
    [own, other]: [Place; 2],
    database: Option<u32>,
) -> anyhow::Result<()> {
    let known = run.folder.path().join("people.json");
    let server = child(run, "serve-people", &own, &known)?;
    let read = || Ok::<_, anyhow::Error>(serde_json::from_slice(&std::fs::read(&known)?)?);
    let mut symbolon = Side {
        server,
        held: Held::new(read()?),
    };
    let routes = run.runtime.block_on(symbolon.probe())?;
    let file = run.folder.path().join("people-routes.json");
    std::fs::write(&file, serde_json::to_vec(&routes)?)?;
    let mut bare = Side {
        server: child(run, "serve-bare-people", &other, &file)?,
        held: Held::new(read()?),
    };
    run.runtime.block_on(bare.grant_stable())?;
    for case in Case::ALL {
        let is_wanted = run.is_wanted(case.name());
        // Later cases use the tokens of this one.
        let rounds = match (is_wanted, case) {
            (true, _) => run.cli.rounds + 1,
            (false, Case::Code) => 1,
            (false, _) => continue,
        };
        let mut costs = Vec::new();
        for round in 0..rounds {
            let pair = run.pair(case, [&mut symbolon, &mut bare], round, database)?;
            costs.push(pair);
        }
        if is_wanted {
            // The first round warms up.
            let row = row(case, name, &costs[1..], database.is_some());
            eprintln!("{name}, {}: {:.2}× the bare parts", row.case, row.ratio);
            run.report.people.push(row);
        }
    }
    Ok(())
}

fn child(run: &Run<'_>, mode: &str, place: &Place, file: &Path) -> anyhow::Result<Server> {
    let mut server = run.child(mode, &[&serde_json::to_string(place)?], file)?;
    server.wait(START)?;
    Ok(server)
}

fn row(case: Case, engine: &'static str, costs: &[(Cost, Cost)], has_database: bool) -> PeopleRow {
    let ratios: Vec<f64> = costs
        .iter()
        .map(|(own, bare)| own.server / bare.server)
        .collect();
    let of = |cost: fn(&(Cost, Cost)) -> f64| median(costs.iter().map(cost));
    let is_aimed_at = !matches!(case, Case::Page | Case::Password);
    PeopleRow {
        case: case.name(),
        engine,
        symbolon: of(|(own, _)| own.server),
        bare: of(|(_, bare)| bare.server),
        ratio: median(ratios.iter().copied()),
        least_ratio: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        most_ratio: ratios.iter().copied().fold(0.0, f64::max),
        database: has_database
            .then(|| (of(|(own, _)| own.database), of(|(_, bare)| bare.database))),
        aim: is_aimed_at.then_some(1.25),
    }
}

impl Run<'_> {
    fn is_wanted(&self, case: &str) -> bool {
        let filter = self.cli.filter.as_deref();
        filter.is_none_or(|filter| case.contains(filter))
    }

    /// Loads both servers, in turns first.
    fn pair(
        &self,
        case: Case,
        [symbolon, bare]: [&mut Side; 2],
        round: u32,
        database: Option<u32>,
    ) -> anyhow::Result<(Cost, Cost)> {
        // Pages and codes last some minutes.
        if matches!(case, Case::Page | Case::Password) {
            self.runtime.block_on(symbolon.open_page())?;
            bare.held.copy_page(&symbolon.held);
        }
        if round.is_multiple_of(2) {
            let own = self.cost_of(case, symbolon, database)?;
            Ok((own, self.cost_of(case, bare, database)?))
        } else {
            let bare = self.cost_of(case, bare, database)?;
            Ok((self.cost_of(case, symbolon, database)?, bare))
        }
    }

    fn cost_of(&self, case: Case, side: &mut Side, database: Option<u32>) -> anyhow::Result<Cost> {
        let count = case.count(self.cli.requests).max(1);
        if case == Case::Code {
            self.runtime
                .block_on(side.load(Case::Authorize, count, self.connections()))?;
        }
        let all = side.held.requests(case, count)?;
        let spent = || {
            let database = database.map(process::cpu_seconds_below).transpose()?;
            anyhow::Ok((side.server.cpu_seconds()?, database.unwrap_or_default()))
        };
        let before = spent()?;
        let replies = side.send(all, self.connections());
        let replies = self.runtime.block_on(replies)?;
        std::thread::sleep(SETTLE);
        let after = spent()?;
        side.held.keep(case, &replies)?;
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let thousands = count as f64 / 1000.0;
        Ok(Cost {
            server: (after.0 - before.0) / thousands,
            database: (after.1 - before.1) / thousands,
        })
    }

    const fn connections(&self) -> usize {
        self.cli.connections as usize
    }
}

impl Side {
    async fn send(&self, requests: Vec<Request>, connections: usize) -> anyhow::Result<Vec<Reply>> {
        let host = self.server.at.to_string();
        let requests = requests.iter().map(|request| request.bytes(&host));
        wire::send(self.server.at, requests.collect(), connections).await
    }

    async fn one(&self, request: Request) -> anyhow::Result<Reply> {
        let mut replies = self.send(vec![request], 1).await?;
        replies.pop().context("an answer")
    }

    async fn load(&mut self, case: Case, count: usize, connections: usize) -> anyhow::Result<()> {
        let requests = self.held.requests(case, count)?;
        let replies = self.send(requests, connections).await?;
        self.held.keep(case, &replies)
    }

    /// Gets the refresh tokens of the confidential application.
    async fn grant_stable(&mut self) -> anyhow::Result<()> {
        for _ in 0..STABLE {
            let request = self.held.authorize(Application::Confidential);
            let code = code(&self.one(request).await?)?;
            let request = self.held.redeem(Application::Confidential, &code);
            let reply = self.one(request).await?;
            self.held.keep_stable(&reply)?;
        }
        Ok(())
    }

    /// Goes to the sign-in page as a new browser.
    async fn open_page(&mut self) -> anyhow::Result<()> {
        let redirect = self.one(Held::anonymous(Application::Public)).await?;
        self.held.keep_way(&redirect)?;
        let page = self.held.requests(Case::Page, 1)?;
        let page = self.send(page, 1).await?.pop().context("the page")?;
        self.held.keep_form(&page)
    }

    /// Sends one request of each case, and returns the answers that the bare server must give.
    async fn probe(&mut self) -> anyhow::Result<Vec<Route>> {
        self.grant_stable().await?;
        self.open_page().await?;
        let mut routes = Vec::new();
        for case in Case::ALL {
            let request = self.held.requests(case, 1)?;
            let reply = self.send(request, 1).await?;
            self.held.keep(case, &reply)?;
            let reply = reply.into_iter().next().context("an answer")?;
            let headers = reply
                .head
                .split("\r\n")
                .filter_map(|line| line.split_once(": "));
            let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
            routes.push(route(
                case.name(),
                reply.status,
                headers,
                reply.body.clone(),
            )?);
        }
        Ok(routes)
    }
}
