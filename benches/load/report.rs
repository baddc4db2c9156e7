//! The results, as a table for people or as JSON.

use serde::Serialize;

use crate::cases::{Case, Size};
use crate::people::PeopleRow;

/// The results of a run. They contain aims, but no verdict.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    pub cpu: Vec<CpuRow>,
    pub people: Vec<PeopleRow>,
    pub latency: Vec<LatencyRow>,
    pub memory: Vec<Figure>,
    pub start: Vec<Figure>,
}

/// CPU seconds of the server for 1,000 requests.
#[derive(Debug, Serialize)]
pub struct CpuRow {
    pub case: String,
    pub size: Size,
    pub symbolon: f64,
    pub bare: f64,
    /// The median of the ratios.
    pub ratio: f64,
    pub least_ratio: f64,
    pub most_ratio: f64,
    pub aim: f64,
    /// The number of requests, of both servers together.
    pub requests: u64,
}

/// Latency under light load, in microseconds.
#[derive(Debug, Serialize)]
pub struct LatencyRow {
    pub case: String,
    pub symbolon_p50: u32,
    pub symbolon_p99: u32,
    pub bare_p50: u32,
    pub bare_p99: u32,
}

/// A figure and its aim.
#[derive(Debug, Serialize)]
pub struct Figure {
    pub name: String,
    pub value: f64,
    pub unit: &'static str,
    pub aim: Option<f64>,
}

/// One pair of loads: the CPU seconds for 1,000 requests of each server.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    pub symbolon: f64,
    pub bare: f64,
    pub requests: u64,
}

impl CpuRow {
    pub fn new(case: &Case, rounds: &[Round]) -> Self {
        let ratios: Vec<f64> = rounds
            .iter()
            .map(|round| round.symbolon / round.bare)
            .collect();
        Self {
            case: case.name.clone(),
            size: case.size,
            symbolon: median(rounds.iter().map(|round| round.symbolon)),
            bare: median(rounds.iter().map(|round| round.bare)),
            ratio: median(ratios.iter().copied()),
            least_ratio: ratios.iter().copied().fold(f64::INFINITY, f64::min),
            most_ratio: ratios.iter().copied().fold(0.0, f64::max),
            aim: case.aim,
            requests: rounds.iter().map(|round| round.requests).sum(),
        }
    }
}

/// The median; the upper one of two medians.
pub fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

impl Report {
    pub fn print(&self) {
        if !self.cpu.is_empty() {
            println!(
                "\nCPU seconds of the server for 1,000 requests (medians; least and greatest ratio in brackets)\n"
            );
            println!(
                "{:<32}{:>10}{:>10}{:>9}  {:<16}{:>9}",
                "", "symbolon", "bare", "ratio", "", "aim"
            );
            for row in &self.cpu {
                println!(
                    "{:<32}{:>10.4}{:>10.4}{:>8.2}×  ({:.2} to {:.2}){:>11}",
                    row.case,
                    row.symbolon,
                    row.bare,
                    row.ratio,
                    row.least_ratio,
                    row.most_ratio,
                    format!("≤ {:.1}×", row.aim),
                );
            }
        }
        self.print_people();
        if !self.latency.is_empty() {
            println!("\nLatency under light load, microseconds\n");
            println!(
                "{:<32}{:>14}{:>14}{:>10}{:>10}",
                "", "symbolon p50", "symbolon p99", "bare p50", "bare p99"
            );
            for row in &self.latency {
                println!(
                    "{:<32}{:>14}{:>14}{:>10}{:>10}",
                    row.case, row.symbolon_p50, row.symbolon_p99, row.bare_p50, row.bare_p99,
                );
            }
        }
        for (title, figures) in [("Memory", &self.memory), ("Start", &self.start)] {
            if !figures.is_empty() {
                println!("\n{title}\n");
            }
            for Figure {
                name,
                value,
                unit,
                aim,
            } in figures
            {
                let aim = aim.map_or(String::new(), |aim| format!("  (aim: ≤ {aim:.0} {unit})"));
                println!("{name:<52}{value:>10.1} {unit}{aim}");
            }
        }
    }

    fn print_people(&self) {
        if self.people.is_empty() {
            return;
        }
        println!(
            "\nPeople: CPU seconds for 1,000 requests (medians; least and greatest ratio in brackets)\n"
        );
        println!(
            "{:<40}{:>10}{:>10}{:>9}  {:<16}{:>9}{:>22}",
            "", "symbolon", "bare", "ratio", "", "aim", "database, with bare"
        );
        for row in &self.people {
            let aim = row.aim.map_or(String::new(), |aim| format!("≤ {aim:.2}×"));
            let database = row
                .database
                .map_or(String::new(), |(own, bare)| format!("{own:.4}  {bare:.4}"));
            println!(
                "{:<40}{:>10.4}{:>10.4}{:>8.2}×  ({:.2} to {:.2})  {aim:>10}{database:>22}",
                format!("{}, {}", row.engine, row.case),
                row.symbolon,
                row.bare,
                row.ratio,
                row.least_ratio,
                row.most_ratio,
            );
        }
    }
}
