//! `symbolon manual`: every command and option, as `docs/cli.md` has it, from what clap parses.

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Arg, ArgAction, Command, CommandFactory as _};

use super::{Cli, terminal};

#[derive(Debug, clap::Args)]
pub(super) struct Args {}

const PREFACE: &str = "# Commands

<!-- Made by `symbolon manual`; `just generate` writes this file. -->

`symbolon help COMMAND` says the same. An option that has a variable can be given by it; on the command line it wins. Where
an option may be given several times, its variable holds the values with commas between them. The chart sets the
variables of the operator: see its [values](../charts/symbolon/README.md). Exit status 0: done; 1: it did not succeed; 2: it
was asked wrongly, or the standard output cannot be written, as on a full disk.
A closed pipe (`symbolon check DIR | head`) does not change the exit status. Control characters and marks of direction in
names, messages and excerpts are printed as escapes (`\\u{1b}`, in JSON `\\u001b`).
";

pub(super) fn run(_: &Args) -> anyhow::Result<ExitCode> {
    terminal::print(&markdown())?;
    Ok(ExitCode::SUCCESS)
}

fn markdown() -> String {
    let mut program = Cli::command();
    program.build();
    let mut out = String::from(PREFACE);
    for command in program.get_subcommands() {
        section(&mut out, "symbolon", command);
    }
    out
}

fn section(out: &mut String, above: &str, command: &Command) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = format!("{above} {}", command.get_name());
    // Writing to a String cannot fail.
    let _ = write!(out, "\n## {name}\n\n{}.\n", about(command));
    let arguments: Vec<&Arg> = command.get_arguments().filter(|it| is_told(it)).collect();
    if !arguments.is_empty() {
        let _ = write!(
            out,
            "\n| option | variable | default | |\n|---|---|---|---|\n"
        );
        for argument in arguments {
            row(out, argument);
        }
    }
    if let Some(examples) = command.get_after_help() {
        let _ = write!(out, "\n```text\n{}\n```\n", examples.to_string().trim_end());
    }
    for below in command.get_subcommands() {
        section(out, &name, below);
    }
}

fn about(command: &Command) -> String {
    let about = command.get_long_about().or(command.get_about());
    let about = about.map(ToString::to_string).unwrap_or_default();
    flat(&about).trim_end_matches('.').to_owned()
}

fn is_told(argument: &Arg) -> bool {
    let is_clap_s = matches!(
        argument.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    );
    !is_clap_s && !argument.is_hide_set()
}

fn row(out: &mut String, argument: &Arg) {
    let value = argument.get_value_names().unwrap_or_default().join(" ");
    let takes = argument.get_action().takes_values();
    let form = match argument.get_long() {
        Some(long) if takes => format!("--{long} {value}"),
        Some(long) => format!("--{long}"),
        None => value,
    };
    let code = |text: &str| format!("`{text}`");
    let variable = argument.get_env().map(|it| code(&it.to_string_lossy()));
    let defaults = argument.get_default_values().iter();
    let defaults: Vec<String> = defaults.map(|it| code(&it.to_string_lossy())).collect();
    let help = argument.get_long_help().or(argument.get_help());
    let mut says = help.map(|it| flat(&it.to_string())).unwrap_or_default();
    let choices = argument.get_possible_values();
    if takes && !choices.is_empty() {
        let names = choices.iter().map(|it| code(it.get_name()));
        let _ = write!(says, ": {}", names.collect::<Vec<_>>().join(", "));
    }
    if argument.is_required_set() {
        says.push_str("; required");
    }
    if takes && matches!(argument.get_action(), ArgAction::Append) {
        says.push_str("; may be given several times");
    }
    let _ = writeln!(
        out,
        "| `{form}` | {} | {} | {says} |",
        variable.unwrap_or_default(),
        // A flag is off unless it is there.
        if takes {
            defaults.join(", ")
        } else {
            String::new()
        },
    );
}

/// As a cell of a table.
fn flat(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    words.join(" ").replace('|', "\\|")
}
