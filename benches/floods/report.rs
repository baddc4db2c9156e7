//! The table of results.

use crate::witness::{Answered, Both};

/// The results of a flood. Memory is in MiB.
pub struct Outcome {
    pub name: &'static str,
    pub what: &'static str,
    /// The default memory limit of the pod.
    pub limit: f64,
    pub before: f64,
    /// When all connections were open.
    pub opened: f64,
    pub peak: f64,
    /// A minute after the flood.
    pub after: f64,
    /// The number of connections whose peer does not read, for floods of this kind.
    pub unread: Option<usize>,
    /// The maximum memory of one of them, in KiB.
    pub unread_limit: f64,
    pub answered: Both,
    /// Whether `/livez` responds after the flood.
    pub alive: bool,
    pub log_lines: usize,
}

pub fn print(outcomes: &[Outcome]) {
    if outcomes.is_empty() {
        return;
    }
    println!(
        "\n{:<18}{:>8}{:>8}{:>8}{:>8}{:>12}{:>22}{:>22}{:>10}",
        "flood",
        "before",
        "peak",
        "limit",
        "after",
        "KiB/unread",
        "/livez slowest",
        "client slowest",
        "log lines"
    );
    for it in outcomes {
        let unread = it.unread.map_or("-".to_owned(), |count| {
            format!("{:.0} (<{:.0})", per_connection(it, count), it.unread_limit)
        });
        println!(
            "{:<18}{:>8.0}{:>8.0}{:>8.0}{:>8.0}{:>12}{:>22}{:>22}{:>10}{}",
            it.name,
            it.before,
            it.peak,
            it.limit,
            it.after,
            unread,
            told(it.answered.livez),
            told(it.answered.client),
            it.log_lines,
            if it.alive { "" } else { "  NOT ALIVE" },
        );
    }
    println!();
    for it in outcomes {
        println!("{:<18}{}", it.name, it.what);
    }
}

#[expect(clippy::cast_precision_loss, reason = "a few thousand connections")]
fn per_connection(outcome: &Outcome, count: usize) -> f64 {
    (outcome.peak.max(outcome.opened) - outcome.before).max(0.0) * 1024.0 / count as f64
}

fn told(answered: Answered) -> String {
    let Answered {
        asked,
        failed,
        slowest,
    } = answered;
    format!("{} ms, {failed}/{asked} failed", slowest.as_millis())
}
