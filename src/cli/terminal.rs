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
use crate::directory::suggest::{Shown, one_line};

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
    let with_colours = wants_colours(io::stdout().is_terminal());
    write(&mut io::stdout().lock(), &escaped(text, with_colours)).map_err(Unwritable)
}

/// Prints one JSON document. The characters that [`print()`] escapes are escaped by the rules of JSON.
pub(super) fn print_json(document: &serde_json::Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(document)?;
    write(&mut io::stdout().lock(), &(harmless_json(&text) + "\n")).map_err(Unwritable)?;
    Ok(())
}

/// Prints a line to the standard error. A failure is ignored: there is no other place to report it.
pub(super) fn note(line: &str) {
    let _ = write(&mut io::stderr().lock(), &format!("{}\n", harmless(line)));
}

/// An error of several lines. Every other error is printed as one: a line of its own would be taken for ours, and a
/// runner of CI obeys lines that begin with `::`.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub(super) struct Lines(pub(super) Vec<String>);

/// Prints an error and its causes.
pub(super) fn complain(error: &anyhow::Error) {
    note(&complaint(error));
}

fn complaint(error: &anyhow::Error) -> String {
    let whole = format!("{error:#}");
    let words = match error.downcast_ref::<Lines>() {
        Some(Lines(lines)) => {
            let lines: Vec<_> = lines.iter().map(|line| one_line(line)).collect();
            lines.join("\n  ")
        }
        None => one_line(&whole).into_owned(),
    };
    format!("symbolon: {words}")
}

/// Prints what clap has to say: help, the version, or what is wrong with the arguments.
pub(super) fn usage(said: clap::Error) -> ExitCode {
    let said = with_arguments_on_one_line(said);
    let words = said.render();
    let plain = words.to_string();
    if said.use_stderr() {
        let is_coloured = harmless(&plain) == plain && wants_colours(io::stderr().is_terminal());
        let words = if is_coloured {
            words.ansi().to_string()
        } else {
            harmless(&plain).into_owned()
        };
        let _ = write(&mut io::stderr().lock(), &words);
        return ExitCode::from(ASKED_WRONGLY);
    }
    let words = if wants_colours(io::stdout().is_terminal()) {
        words.ansi().to_string()
    } else {
        plain
    };
    match write(&mut io::stdout().lock(), &words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&Unwritable(error).into());
            ExitCode::from(ASKED_WRONGLY)
        }
    }
}

/// The same, where an argument that it quotes holds the end of a line.
fn with_arguments_on_one_line(mut said: clap::Error) -> clap::Error {
    let is_wide = |text: &str| text.contains(['\n', '\r']);
    let tamed = said.context().filter_map(|(kind, value)| {
        let tamed = match value {
            ContextValue::String(text) if is_wide(text) => {
                ContextValue::String(one_line(text).into_owned())
            }
            ContextValue::Strings(texts) if texts.iter().any(|text| is_wide(text)) => {
                let texts = texts.iter().map(|text| one_line(text).into_owned());
                ContextValue::Strings(texts.collect())
            }
            // A tip that quotes it, as a part of styled text.
            ContextValue::StyledStrs(tips)
                if kind == ContextKind::Suggested
                    && tips.iter().any(|tip| is_wide(&tip.to_string())) =>
            {
                ContextValue::None
            }
            _ => return None,
        };
        Some((kind, tamed))
    });
    let tamed: Vec<_> = tamed.collect();
    for (kind, value) in tamed {
        said.insert(kind, value);
    }
    said
}

/// Whether to print colours: to a terminal, unless `NO_COLOR` is set.
pub(super) fn wants_colours(is_terminal: bool) -> bool {
    let unset = |name: &str| std::env::var_os(name).is_none_or(|value| value.is_empty());
    is_terminal && unset("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

fn harmless(text: &str) -> Cow<'_, str> {
    escaped(text, false)
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    let written = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

/// Escapes control characters, invisible characters and marks of direction, but not newlines, tabs and, if
/// `with_colours`, sequences that choose a colour.
fn escaped(text: &str, with_colours: bool) -> Cow<'_, str> {
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
        let kept = colour(from).filter(|_| with_colours);
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

/// The sequence at the beginning that chooses a colour or style (`ESC [ … m`), if that is what is there.
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
    fn a_terminal_is_given_nothing_to_obey_but_colours() {
        assert_eq!(harmless("plain\tümlaut\n"), "plain\tümlaut\n");
        assert_eq!(
            harmless("a\u{1b}]0;b\u{7}\rc\u{9b}2J\u{202e}d"),
            "a\\u{1b}]0;b\\u{7}\\u{d}c\\u{9b}2J\\u{202e}d"
        );
        let coloured = "\u{1b}[1;31mx\u{1b}[0m";
        assert_eq!(escaped(coloured, true), coloured);
        assert_eq!(harmless(coloured), "\\u{1b}[1;31mx\\u{1b}[0m");
        assert_eq!(escaped("\u{1b}[2Jx\u{1b}[", true), "\\u{1b}[2Jx\\u{1b}[");
    }

    #[test]
    fn an_error_is_one_line_but_where_its_lines_are_ours() {
        let error = anyhow::anyhow!("cannot\nopen").context("a\n::error::b");
        assert_eq!(
            complaint(&error),
            "symbolon: a\\u{a}::error::b: cannot\\u{a}open"
        );
        let lines = ["there is none", "a\n::error::b"].map(str::to_owned);
        let error = Lines(lines.to_vec()).into();
        assert_eq!(
            complaint(&error),
            "symbolon: there is none\n  a\\u{a}::error::b"
        );
    }

    #[test]
    fn json_is_the_same_value_and_has_nothing_to_obey() {
        let value = serde_json::json!({"a\u{1b}\u{7f}\u{9b}": "\u{202e}\u{e0001}é\n\t"});
        let text = harmless_json(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!text.contains(|c: char| c != '\n' && Shown(c).is_escaped()));
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&text).unwrap(),
            value
        );
    }

    #[test]
    fn a_reader_that_has_gone_is_no_fault_and_a_full_disk_is() {
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
