//! The log filter: a level for everything, and levels for targets. Pure.
//!
//! The syntax is a part of `EnvFilter`'s (crate `tracing-subscriber`): only levels and targets. Anything else is
//! refused, since a typo taken for a target would silence everything.

use std::fmt;
use std::str::FromStr;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;

use super::panics;
use crate::telemetry::audit;

/// The levels, from nothing to everything.
const LEVELS: [(&str, LevelFilter); 6] = [
    ("off", LevelFilter::OFF),
    ("error", LevelFilter::ERROR),
    ("warn", LevelFilter::WARN),
    ("info", LevelFilter::INFO),
    ("debug", LevelFilter::DEBUG),
    ("trace", LevelFilter::TRACE),
];
/// Level names of other programs.
const ELSEWHERE: [(&str, &str); 9] = [
    ("warning", "warn"),
    ("err", "error"),
    ("fatal", "error"),
    ("critical", "error"),
    ("notice", "info"),
    ("information", "info"),
    ("verbose", "debug"),
    ("none", "off"),
    ("all", "trace"),
];

/// The log filter: a level for everything, and levels for targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter {
    level: LevelFilter,
    targets: Vec<(String, LevelFilter)>,
}

/// Whether audit events are written, independently of the log level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audit {
    /// Write audit events.
    On,
    /// Leave audit events out.
    Off,
}

/// Why a text is not a [`LogFilter`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadFilter {
    /// An unknown level.
    #[error(
        "unknown level {0:?}{hint}: use off, error, warn, info, debug or trace, or TARGET=LEVEL such as symbolon=debug",
        hint = hint(.0)
    )]
    Level(String),
    /// A target that no module or crate can have.
    #[error("{0:?} is not a module name: use TARGET=LEVEL, such as kube_client::client=debug")]
    Target(String),
    /// Several levels for one target.
    #[error("several levels for {0}: use one")]
    Twice(String),
    /// Audit events have their own option.
    #[error("audit events do not follow the log level: use --audit false to leave them out")]
    Audit,
}

fn hint(level: &str) -> String {
    let level = level.to_ascii_lowercase();
    let found = ELSEWHERE.iter().find(|(name, _)| *name == level);
    found.map_or_else(String::new, |(_, ours)| format!(" (did you mean {ours}?)"))
}

impl LogFilter {
    /// The default filter.
    pub const USUAL: Self = Self {
        level: LevelFilter::INFO,
        targets: Vec::new(),
    };

    /// Converts the filter for the subscriber, with audit events on or off. Panics are always written.
    pub(super) fn targets(&self, audit: Audit) -> Targets {
        let audited = match audit {
            Audit::On => LevelFilter::INFO,
            Audit::Off => LevelFilter::OFF,
        };
        Targets::new()
            .with_default(self.level)
            // h2 logs what callers send at lower levels, so those must be requested by target.
            .with_target("h2", self.level.min(LevelFilter::INFO))
            .with_targets(self.targets.iter().cloned())
            .with_target(audit::TARGET, audited)
            .with_target(panics::TARGET, LevelFilter::ERROR)
    }
}

impl FromStr for LogFilter {
    type Err = BadFilter;

    /// Parses `LEVEL`, `TARGET=LEVEL`, or several of them separated by commas. Without a level for everything, that
    /// level is `info`.
    fn from_str(text: &str) -> Result<Self, BadFilter> {
        let (mut level, mut targets) = (None, Vec::<(String, LevelFilter)>::new());
        for directive in text.split(',') {
            let Some((target, said)) = directive.split_once('=') else {
                let found = read_level(directive)?;
                if level.replace(found).is_some() {
                    return Err(BadFilter::Twice("everything".to_owned()));
                }
                continue;
            };
            if !is_target(target) {
                return Err(BadFilter::Target(target.to_owned()));
            }
            if target == audit::TARGET {
                return Err(BadFilter::Audit);
            }
            let found = read_level(said)?;
            if targets.iter().any(|(known, _)| known == target) {
                return Err(BadFilter::Twice(target.to_owned()));
            }
            targets.push((target.to_owned(), found));
        }
        let level = level.unwrap_or(Self::USUAL.level);
        Ok(Self { level, targets })
    }
}

fn read_level(text: &str) -> Result<LevelFilter, BadFilter> {
    let found = LEVELS
        .iter()
        .find(|(name, _)| text.eq_ignore_ascii_case(name));
    found
        .map(|(_, level)| *level)
        .ok_or_else(|| BadFilter::Level(text.to_owned()))
}

/// Whether a text is a Rust path, such as `symbolon::server`.
fn is_target(text: &str) -> bool {
    text.split("::").all(|part| {
        part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
            && part
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    })
}

impl fmt::Display for LogFilter {
    /// Writes the syntax that `from_str` parses.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.level, f)?;
        self.targets
            .iter()
            .try_for_each(|(target, level)| write!(f, ",{target}={level}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tracing::Level;

    use super::*;

    fn read(text: &str) -> Result<LogFilter, BadFilter> {
        text.parse()
    }

    #[test]
    fn a_level_is_for_everything_and_a_target_has_its_own() {
        let filter = read("warn,symbolon::a=debug").unwrap().targets(Audit::On);
        let says = |target: &str, level: Level| filter.would_enable(target, &level);
        assert!(says("symbolon::c", Level::WARN) && !says("symbolon::c", Level::INFO));
        assert!(says("symbolon::a::b", Level::DEBUG));
        let only_a_target = read("kube=debug").unwrap().targets(Audit::On);
        assert!(
            only_a_target.would_enable("symbolon", &Level::INFO),
            "a level for a target silences nothing else"
        );
    }

    #[test]
    fn a_typo_is_refused_and_the_levels_are_named() {
        for typo in [
            "warning",
            "Warning",
            "inf",
            "symbolon",
            "",
            " ",
            ",",
            "info,",
            "info,warning",
            "symbolon=warning",
            "info=",
            "3",
            "info;debug",
            "symbolon[span]=debug",
            "[span]",
            "=info",
            "symbolon==info",
            "a b=info",
            "symbolon:server=info",
        ] {
            let error = read(typo).unwrap_err();
            let said = error.to_string();
            assert!(
                said.contains("info") || said.contains("TARGET=LEVEL"),
                "{typo}: {said}"
            );
        }
        let said = read("warning").unwrap_err().to_string();
        assert_eq!(
            said,
            "unknown level \"warning\" (did you mean warn?): use off, error, warn, info, debug or trace, or TARGET=LEVEL such as symbolon=debug"
        );
        assert!(matches!(read("info,debug"), Err(BadFilter::Twice(_))));
        assert!(matches!(read("a=info,a=debug"), Err(BadFilter::Twice(_))));
    }

    #[test]
    fn audit_events_follow_only_their_own_option() {
        for text in [
            "off",
            "error",
            "warn",
            "info",
            "trace",
            "off,symbolon=off,au=off",
        ] {
            let filter = read(text).unwrap();
            for level in [Level::INFO, Level::WARN] {
                assert!(
                    filter
                        .targets(Audit::On)
                        .would_enable(audit::TARGET, &level),
                    "{text}"
                );
                assert!(
                    !filter
                        .targets(Audit::Off)
                        .would_enable(audit::TARGET, &level),
                    "{text}"
                );
            }
        }
        assert_eq!(read("info,audit=off"), Err(BadFilter::Audit));
    }

    /// At `debug`, h2 logs the headers of every request and response.
    #[test]
    fn h2_frames_are_logged_only_if_the_filter_names_h2() {
        let shows = |text: &str| {
            let filter = read(text).unwrap().targets(Audit::On);
            filter.would_enable("h2::codec::framed_read", &Level::DEBUG)
        };
        for text in ["debug", "trace", "trace,hyper=trace"] {
            assert!(!shows(text), "{text}");
        }
        assert!(shows("info,h2=debug") && shows("h2::codec=trace"));
    }

    proptest! {
        #[test]
        fn a_filter_reads_back_as_it_was_written(text in "((off|ERROR|warn|[a-z]{1,9})(=(info|Debug|trac?e))?,?){1,4}") {
            if let Ok(filter) = read(&text) {
                prop_assert_eq!(read(&filter.to_string()), Ok(filter));
            }
        }
    }
}
