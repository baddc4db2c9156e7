//! Options whose value may be a URL with a password. clap repeats a value that it refuses, and shows the values of
//! variables in its help.

use std::ffi::OsStr;

use clap::builder::TypedValueParser;
use clap::error::ErrorKind;
use clap::{Arg, Command};

/// Parses the value of an option, with errors that do not repeat it. The function's own errors must not repeat it
/// either. The option also needs `hide_env_values`.
#[derive(Clone, Copy)]
pub(super) struct Unshown<T>(pub(super) fn(&str) -> Result<T, String>);

impl<T: Clone + Send + Sync + 'static> TypedValueParser for Unshown<T> {
    type Value = T;

    fn parse_ref(
        &self,
        command: &Command,
        option: Option<&Arg>,
        value: &OsStr,
    ) -> Result<T, clap::Error> {
        let Self(parse) = self;
        let text = value.to_str().ok_or_else(|| "not UTF-8".to_owned());
        text.and_then(parse).map_err(|why| {
            let option = option.map_or_else(|| "an option".to_owned(), ToString::to_string);
            let words = format!("invalid value for '{option}': {why}\n");
            clap::Error::raw(ErrorKind::ValueValidation, words).with_cmd(command)
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::error::ErrorKind;

    use crate::cli::Cli;

    /// The names of values that may be URLs with a password.
    const URLS: [&str; 2] = ["URL", "sqlite:PATH"];

    #[test]
    fn no_value_that_may_be_a_url_with_a_password_is_shown() {
        let mut found = Vec::new();
        for command in Cli::command().get_subcommands() {
            for option in command.get_arguments() {
                let names = option.get_value_names().unwrap_or_default();
                if !names.iter().any(|name| URLS.contains(&name.as_str())) {
                    continue;
                }
                let long = option.get_long().unwrap();
                assert!(option.is_hide_env_values_set(), "--{long}: its help");
                for url in [
                    "postgres://user:CANARY@db.example.com/symbolon",
                    "https://user:CANARY@[",
                    "user:CANARY@db",
                    "",
                ] {
                    let value = format!("--{long}={url}");
                    let parsed = Cli::command().try_get_matches_from([
                        "symbolon",
                        command.get_name(),
                        &value,
                    ]);
                    let Err(error) = parsed else { continue };
                    let words = error.render().ansi().to_string();
                    assert!(!words.contains("CANARY"), "--{long}: {words}");
                    if error.kind() == ErrorKind::ValueValidation {
                        assert!(words.contains(long), "{words}");
                    }
                }
                found.push(format!("{} {long}", command.get_name()));
            }
        }
        for known in ["serve store", "serve otlp-endpoint", "dev issuer"] {
            assert!(found.iter().any(|it| it == known), "{known} of {found:?}");
        }
    }
}
