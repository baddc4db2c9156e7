//! Standard output and standard error: control characters are escaped, and a failed write is an error, not a panic.
//!
//! Every command prints through this module. Text of users reaches names, messages and excerpts: a file name may hold a
//! sequence that clears the screen, or a mark that reverses the text after it.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};

use super::ASKED_WRONGLY;
use crate::directory::problem::suggest::{Shown, one_line};

/// The standard output could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write to the standard output")]
pub(super) struct Unwritable(#[source] io::Error);

/// Prints to the standard output, with control characters escaped. A closed pipe is not an error: the reader has read
/// enough.
pub(super) fn print(text: &str) -> Result<(), Unwritable> {
    write(&mut io::stdout().lock(), &harmless(text)).map_err(Unwritable)
}

/// Prints a text that may hold colour sequences of our own. Text of users in it must be escaped already.
pub(super) fn print_coloured(text: &str) -> Result<(), Unwritable> {
    let colours = if wants_colours(io::stdout().is_terminal()) {
        Colours::All
    } else {
        Colours::None
    };
    write(&mut io::stdout().lock(), &escaped(text, colours)).map_err(Unwritable)
}

/// Prints one JSON document. The characters that [`print()`] escapes are escaped by the rules of JSON.
pub(super) fn print_json(document: &serde_json::Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    write(&mut io::stdout().lock(), &(harmless_json(&text) + "\n")).map_err(Unwritable)?;
    Ok(())
}

/// Writes bytes to the standard output as they are. Unlike text, a part of them is useless: a closed pipe is an error.
pub(super) fn write_bytes(bytes: &[u8]) -> Result<(), Unwritable> {
    let mut out = io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    written.map_err(Unwritable)
}

/// Prints one line to the standard error; line ends in it are escaped. A failure is ignored: there is no other place
/// to report it.
pub(super) fn note(line: &str) {
    note_lines([line]);
}

/// Prints each text as one line. CI runners execute lines that begin with `::`, so only the caller may begin one.
fn note_lines<'a>(lines: impl IntoIterator<Item = &'a str>) {
    let _ = write(&mut io::stderr().lock(), &joined(lines));
}

fn joined<'a>(lines: impl IntoIterator<Item = &'a str>) -> String {
    let lines = lines.into_iter().enumerate().map(|(index, line)| {
        let indent = if index == 0 { "" } else { "  " };
        format!("{indent}{}\n", one_line(line))
    });
    lines.collect()
}

/// An error of several lines. Every other error is printed as one line: readers would take a second line for one of
/// ours, and CI runners execute lines that begin with `::`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(super) struct MessageLines(pub(super) Vec<String>);

/// Prints an error and its causes.
pub(super) fn complain(error: &anyhow::Error) {
    note_lines(complaint(error).iter().map(String::as_str));
}

/// Returns the lines of an error. The first one names this program.
fn complaint(error: &anyhow::Error) -> Vec<String> {
    let mut lines = match error.downcast_ref::<MessageLines>() {
        Some(MessageLines(lines)) => lines.clone(),
        None => vec![format!("{error:#}")],
    };
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, "symbolon: ");
    }
    lines
}

/// Prints what clap has to say: help, the version, or what is wrong with the arguments.
pub(super) fn usage(said: clap::Error) -> ExitCode {
    let is_error = said.use_stderr();
    if is_error {
        let words = usage_words(said, io::stderr().is_terminal());
        let _ = write(&mut io::stderr().lock(), &words);
        return ExitCode::from(ASKED_WRONGLY);
    }
    let words = usage_words(said, io::stdout().is_terminal());
    match write(&mut io::stdout().lock(), &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&Unwritable(error).into());
            ExitCode::from(ASKED_WRONGLY)
        }
    }
}

fn usage_words(said: clap::Error, is_terminal: bool) -> String {
    let words = with_harmless_arguments(said).render();
    if wants_colours(is_terminal) {
        escaped(&words.ansi().to_string(), Colours::OfClap).into_owned()
    } else {
        harmless(&words.to_string()).into_owned()
    }
}

/// Escapes control characters and line ends in the arguments that the message quotes.
fn with_harmless_arguments(mut said: clap::Error) -> clap::Error {
    let is_harmful = |text: &str| text.contains(|c| Shown(c).is_escaped());
    let harmless = said.context().filter_map(|(kind, value)| {
        let harmless = match value {
            ContextValue::String(text) if is_harmful(text) => {
                ContextValue::String(one_line(text).into_owned())
            }
            ContextValue::Strings(texts) if texts.iter().any(|text| is_harmful(text)) => {
                let texts = texts.iter().map(|text| one_line(text).into_owned());
                ContextValue::Strings(texts.collect())
            }
            // A suggestion that quotes the argument inside styled text is left out.
            ContextValue::StyledStrs(_) if kind == ContextKind::Suggested => ContextValue::None,
            _ => return None,
        };
        Some((kind, harmless))
    });
    let harmless: Vec<_> = harmless.collect();
    // Without a harmful argument suggestions stay.
    if harmless
        .iter()
        .any(|(_, value)| *value != ContextValue::None)
    {
        for (kind, value) in harmless {
            said.insert(kind, value);
        }
    }
    said
}

/// Whether to print colours: to a terminal, unless `NO_COLOR` is set.
pub(super) fn wants_colours(is_terminal: bool) -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    is_terminal && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, Colours::None)
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// The sequences that are left as they are.
#[derive(Clone, Copy)]
enum Colours {
    None,
    /// The styles of clap's messages: none of them hides what an argument says.
    OfClap,
    /// Any that chooses a colour or a style.
    All,
}

impl Colours {
    fn hold(self, colour: &str) -> bool {
        match self {
            Self::None => false,
            Self::OfClap => ["0", "1", "4", "31", "32", "33"]
                .iter()
                .any(|style| colour.strip_prefix("\u{1b}[") == Some(&*format!("{style}m"))),
            Self::All => true,
        }
    }
}

/// Escapes control characters, invisible characters and marks of direction, but not newlines, tabs and the sequences
/// of `colours`.
fn escaped(text: &str, colours: Colours) -> Cow<'_, str> {
    let is_harmful = |c: char| !matches!(c, '\n' | '\t') && Shown(c).is_escaped();
    if !text.contains(is_harmful) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(is_harmful) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let mut characters = from.chars();
        let kept = colour(from).filter(|colour| colours.hold(colour));
        rest = match (kept, characters.next()) {
            (Some(colour), _) => {
                out.push_str(colour);
                &from[colour.len()..]
            }
            (None, Some(first)) => {
                // Writing to a String cannot fail.
                let _ = write!(out, "{}", Shown(first));
                characters.as_str()
            }
            (None, None) => "",
        };
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// Returns the sequence at the beginning of `text`, if it selects a colour or style (`ESC [ … m`).
fn colour(text: &str) -> Option<&str> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let end = rest.find(|c: char| !matches!(c, '0'..='9' | ';'))?;
    rest[end..].starts_with('m').then(|| &text[..end + 3])
}

/// Escapes the same characters in JSON as `\uXXXX`. They occur only inside strings, so that the value stays the same.
fn harmless_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for character in json.chars() {
        if character != '\n' && Shown(character).is_escaped() {
            for unit in character.encode_utf16(&mut [0; 2]) {
                // Writing to a String cannot fail.
                let _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_colour_sequences_reach_a_terminal() {
        assert_eq!(harmless("plain\tümlaut\n"), "plain\tümlaut\n");
        assert_eq!(
            harmless("a\u{1b}]0;b\u{7}\rc\u{9b}2J\u{202e}d"),
            "a\\u{1b}]0;b\\u{7}\\u{d}c\\u{9b}2J\\u{202e}d"
        );
        let coloured = "\u{1b}[1;31mx\u{1b}[0m";
        assert_eq!(escaped(coloured, Colours::All), coloured);
        assert_eq!(harmless(coloured), "\\u{1b}[1;31mx\\u{1b}[0m");
        assert_eq!(
            escaped("\u{1b}[2Jx\u{1b}[", Colours::All),
            "\\u{1b}[2Jx\\u{1b}["
        );
    }

    #[test]
    fn an_error_is_one_line_unless_its_lines_are_ours() {
        let printed = |error| joined(complaint(&error).iter().map(String::as_str));
        let error = anyhow::anyhow!("cannot\nopen").context("a\n::error::b");
        assert_eq!(
            printed(error),
            "symbolon: a\\u{a}::error::b: cannot\\u{a}open\n"
        );
        let lines = ["there is none", "a\n::error::b"].map(str::to_owned);
        let error = MessageLines(lines.to_vec()).into();
        assert_eq!(
            printed(error),
            "symbolon: there is none\n  a\\u{a}::error::b\n"
        );
        assert_eq!(
            joined(["a\r\n::error::b\u{1b}[2J"]),
            "a\\u{d}\\u{a}::error::b\\u{1b}[2J\n"
        );
    }

    #[test]
    fn arguments_in_usage_errors_cannot_control_a_terminal() {
        use clap::Parser as _;
        // Some messages name the option alone.
        let mut shown = 0;
        for argument in [
            "\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}[8mx",
            "--z\u{1b}[8mx",
            "--strict=\u{1b}[2J",
            "--output=\u{1b}[8m",
            "--default-identity=\u{1b}[2J\n::error::x",
        ] {
            for command in ["check", "dev", argument] {
                let line = ["symbolon", command, "a", argument, argument];
                let Err(said) = super::super::Cli::try_parse_from(line) else {
                    continue;
                };
                let words = with_harmless_arguments(said).render();
                let plain = harmless(&words.to_string()).into_owned();
                let coloured = escaped(&words.ansi().to_string(), Colours::OfClap).into_owned();
                assert!(coloured.contains("\u{1b}[1m"), "no colours: {coloured:?}");
                let bare = ["0", "1", "4", "31", "32", "33"]
                    .iter()
                    .fold(coloured, |text, style| {
                        text.replace(&format!("\u{1b}[{style}m"), "")
                    });
                assert_eq!(bare, plain, "the same text without colours");
                assert!(
                    !plain.contains(|c| c != '\n' && Shown(c).is_escaped()),
                    "{plain:?}"
                );
                assert!(!plain.contains("\n::"), "{plain:?}");
                shown += usize::from(plain.contains("\\u{1b}["));
            }
        }
        assert!(shown > 5, "{shown}");
        let tip = super::super::Cli::try_parse_from(["symbolon", "chekc"]).unwrap_err();
        let words = with_harmless_arguments(tip).render().to_string();
        assert!(
            words.contains("similar subcommand exists: 'check'"),
            "{words}"
        );
    }

    #[test]
    fn json_keeps_its_value_and_has_no_control_characters() {
        let value = serde_json::json!({"a\u{1b}\u{7f}\u{9b}": "\u{202e}\u{e0001}é\n\t"});
        let text = harmless_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(|c: char| c != '\n' && Shown(c).is_escaped()));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn a_closed_pipe_is_no_error_but_a_full_disk_is() {
        struct Fails(io::ErrorKind);
        impl Write for Fails {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        assert!(write(&mut Fails(io::ErrorKind::BrokenPipe), "a").is_ok());
        assert!(write(&mut Fails(io::ErrorKind::StorageFull), "a").is_err());
    }
}
