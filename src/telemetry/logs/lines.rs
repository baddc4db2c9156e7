//! Formats an event as a line: JSON, or text for people. Pure, except for the time of the line.
//!
//! Whatever a value contains, an event is one line, and the line parses back to the same fields and values. In text, a
//! value is bare if none of its characters has a meaning, else it is a JSON string. The same holds for the message,
//! which ends before the first `name=`. Both forms escape characters that move the cursor, end a line or change the
//! direction of text.

use std::error::Error;
use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use super::libraries::Libraries;
use crate::characters::is_escaped;

/// The form of log lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogForm {
    /// One JSON object a line, for machines.
    #[default]
    Json,
    /// Text, for people.
    Text,
}

const MESSAGE: &str = "message";

/// Writes events in one form. Spans are not part of the log.
#[derive(Debug)]
pub(super) struct Lines {
    pub form: LogForm,
    pub libraries: Libraries,
}

impl<S, N> FormatEvent<S, N> for Lines
where
    S: Subscriber + for<'lookup> LookupSpan<'lookup>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if !self.libraries.is_written(event.metadata()) {
            return Ok(());
        }
        match self.form {
            LogForm::Json => json(&mut line, event),
            LogForm::Text => text(&mut line, event),
        }
    }
}

fn json(line: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    line.write_str("{\"timestamp\":\"")?;
    SystemTime.format_time(line)?;
    write!(line, "\",\"level\":\"{}\"", event.metadata().level())?;
    let mut fields = Json(line, Ok(()));
    event.record(&mut fields);
    fields.1?;
    line.write_str(",\"target\":")?;
    quoted(line, &event.metadata().target())?;
    line.write_str("}\n")
}

fn text(line: &mut Writer<'_>, event: &Event<'_>) -> fmt::Result {
    SystemTime.format_time(line)?;
    let about = event.metadata();
    write!(line, " {:>5} {}:", about.level().as_str(), about.target())?;
    for part in [Part::Message, Part::Fields] {
        let mut fields = Text {
            line,
            part,
            scratch: String::new(),
            result: Ok(()),
        };
        event.record(&mut fields);
        fields.result?;
    }
    line.write_char('\n')
}

fn name(field: &Field) -> &'static str {
    field.name().trim_start_matches("r#")
}

/// Writes each field as a member of an object that already has members.
struct Json<'a, 'w>(&'a mut Writer<'w>, fmt::Result);

impl Json<'_, '_> {
    fn member(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.1 = self.1.and_then(|()| {
            self.0.write_char(',')?;
            quoted(self.0, &name(field))?;
            self.0.write_char(':')?;
            write(self.0)
        });
    }
}

impl Visit for Json<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.member(field, |line| quoted(line, &value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.member(field, |line| quoted(line, &Shown(value)));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.member(field, |line| quoted(line, &value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.member(field, |line| write!(line, "{value}"));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.member(field, |line| {
            if value.is_finite() {
                write!(line, "{value}")
            } else {
                line.write_str("null")
            }
        });
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Message,
    Fields,
}

/// Writes one part of an event as text.
struct Text<'a, 'w> {
    line: &'a mut Writer<'w>,
    part: Part,
    scratch: String,
    result: fmt::Result,
}

impl Text<'_, '_> {
    fn show(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        let is_message = field.name() == MESSAGE;
        if is_message == (self.part == Part::Message) {
            self.result = self
                .result
                .and_then(|()| self.write(field, value, is_message));
        }
    }

    fn write(&mut self, field: &Field, value: fmt::Arguments<'_>, is_message: bool) -> fmt::Result {
        self.scratch.clear();
        self.scratch.write_fmt(value)?;
        self.line.write_char(' ')?;
        let is_bare = if is_message {
            is_bare_message(&self.scratch)
        } else {
            write!(self.line, "{}=", name(field))?;
            is_bare_value(&self.scratch)
        };
        if is_bare {
            self.line.write_str(&self.scratch)
        } else {
            quoted(self.line, &self.scratch)
        }
    }
}

impl Visit for Text<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.show(field, format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.show(field, format_args!("{value:?}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.show(field, format_args!("{value}"));
    }
}

/// Whether no character ends the value or gives it another meaning.
fn is_bare_value(text: &str) -> bool {
    let is_plain = |c: char| !matches!(c, '"' | '=' | '\\') && !c.is_whitespace() && !is_escaped(c);
    !text.is_empty() && text.chars().all(is_plain)
}

/// Whether no word of the message can start a field.
fn is_bare_message(text: &str) -> bool {
    let is_plain = |c: char| !matches!(c, '=' | '\\') && !is_escaped(c);
    !text.is_empty()
        && !text.starts_with(['"', ' '])
        && !text.ends_with(' ')
        && text.chars().all(is_plain)
}

/// Displays a value by its `Debug`, the form in which the message and `%` values arrive.
struct Shown<'a>(&'a dyn Debug);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Writes a JSON string.
fn quoted(line: &mut Writer<'_>, value: &dyn fmt::Display) -> fmt::Result {
    line.write_char('"')?;
    write!(Escape(line), "{value}")?;
    line.write_char('"')
}

/// Escapes what a JSON string cannot contain, and characters that [`is_escaped`] names.
struct Escape<'a, 'w>(&'a mut Writer<'w>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut clean = 0;
        for (at, character) in text.char_indices() {
            let short = match character {
                '"' => "\\\"",
                '\\' => "\\\\",
                '\n' => "\\n",
                '\r' => "\\r",
                '\t' => "\\t",
                other if is_escaped(other) => "",
                _ => continue,
            };
            self.0.write_str(text.get(clean..at).unwrap_or_default())?;
            clean = at + character.len_utf8();
            self.0.write_str(short)?;
            if short.is_empty() {
                for unit in character.encode_utf16(&mut [0; 2]) {
                    write!(self.0, "\\u{unit:04x}")?;
                }
            }
        }
        self.0.write_str(text.get(clean..).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;
    use crate::telemetry::testing::Log;

    /// Returns the line of one event with this message and these values.
    fn line(form: LogForm, message: &str, values: [&str; 3]) -> String {
        let log = Log::default();
        let guard = log.start_as(form);
        let [shown, debugged, told] = values;
        let told = told.to_owned();
        tracing::warn!(target: "test", text = shown, shown = %debugged, r#type = ?Bare(&told), "{message}");
        drop(guard);
        log.text()
    }

    struct Bare<'a>(&'a str);

    impl Debug for Bare<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    /// Parses a line of text by the rules in the module documentation.
    fn read(line: &str) -> Map<String, Value> {
        let mut found = Map::new();
        let (_time, rest) = line.split_once(' ').unwrap();
        let (level, rest) = rest.trim_start().split_once(' ').unwrap();
        let (target, rest) = rest.split_once(':').unwrap();
        found.insert("level".into(), level.into());
        found.insert("target".into(), target.into());
        let mut rest = rest.strip_suffix('\n').unwrap();
        let string = |rest: &str| {
            let mut parsed = serde_json::Deserializer::from_str(rest).into_iter::<String>();
            let value = parsed.next().unwrap().unwrap();
            (value, parsed.byte_offset())
        };
        if let Some(quoted) = rest.strip_prefix(" \"") {
            let (message, end) = string(&rest[1..]);
            found.insert(MESSAGE.into(), message.into());
            assert!(quoted.len() + 1 >= end);
            rest = &rest[1 + end..];
        } else {
            let first = rest
                .find('=')
                .map(|equals| rest[..equals].rfind(' ').unwrap());
            let (message, fields) = rest.split_at(first.unwrap_or(rest.len()));
            if let Some(message) = message.strip_prefix(' ') {
                found.insert(MESSAGE.into(), message.into());
            }
            rest = fields;
        }
        while let Some(field) = rest.strip_prefix(' ') {
            let (name, value) = field.split_once('=').unwrap();
            let (value, end) = if value.starts_with('"') {
                string(value)
            } else {
                let end = value.find(' ').unwrap_or(value.len());
                (value[..end].to_owned(), end)
            };
            found.insert(name.into(), value.into());
            rest = &field[name.len() + 1 + end..];
        }
        assert_eq!(rest, "");
        found
    }

    fn holds(found: &Map<String, Value>, message: &str, values: [&str; 3]) {
        assert_eq!(found["level"], "WARN");
        assert_eq!(found["target"], "test");
        assert_eq!(found[MESSAGE], message);
        assert_eq!(found["text"], values[0]);
        assert_eq!(found["shown"], values[1]);
        assert_eq!(found["type"], values[2]);
    }

    /// Any text, often with characters that have a meaning in a line.
    fn any_text() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            "[ -~]{0,8}",
            any::<String>(),
            Just(" level=ERROR target=audit event=token_issued".to_owned()),
            Just("\n2026-01-01T00:00:00Z  INFO audit: event=forged".to_owned()),
            Just("\",\"event\":\"forged".to_owned()),
            Just("\u{1b}[2J\u{7}\u{9b}\u{7f}".to_owned()),
            Just("\u{202e}\u{2066}\u{200f}\u{2028}\u{feff}\u{e0041}".to_owned()),
            Just("\\ \\u0041 \\".to_owned()),
        ];
        prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn any_line_reads_back_as_the_same_fields_and_values(
            message in any_text(), a in any_text(), b in any_text(), c in any_text(),
        ) {
            let values = [&*a, &*b, &*c];
            let text = line(LogForm::Text, &message, values);
            holds(&read(&text), &message, values);
            let json = line(LogForm::Json, &message, values);
            holds(&serde_json::from_str(&json).unwrap(), &message, values);
            for line in [text, json] {
                let line = line.strip_suffix('\n').unwrap();
                prop_assert!(!line.contains(is_escaped), "{line:?}");
            }
        }
    }

    #[test]
    fn a_plain_line_is_plain() {
        let text = line(
            LogForm::Text,
            "the \"store\" is open: 5 rows",
            ["a/b:c", "é", "[1, 2]"],
        );
        let (_, text) = text.split_once(' ').unwrap();
        assert_eq!(
            text,
            " WARN test: the \"store\" is open: 5 rows text=a/b:c shown=é type=\"[1, 2]\"\n"
        );
        let log = Log::default();
        let guard = log.start_as(LogForm::Text);
        tracing::info!(target: "test", number = -3, truth = true, part = 0.5, absent = Option::<&str>::None);
        drop(guard);
        let text = log.text();
        assert!(
            text.ends_with("  INFO test: number=-3 truth=true part=0.5\n"),
            "{text}"
        );
    }

    #[test]
    fn json_keeps_numbers_and_booleans() {
        let log = Log::default();
        let guard = log.start_as(LogForm::Json);
        tracing::info!(target: "test", a = -3, b = true, c = 0.5, d = u64::MAX, e = f64::NAN, f = "x");
        drop(guard);
        let mut found: Value = serde_json::from_str(&log.text()).unwrap();
        let found = found.as_object_mut().unwrap();
        let time = found.remove("timestamp").unwrap();
        assert!(
            time.as_str().unwrap().parse::<jiff::Timestamp>().is_ok(),
            "{time}"
        );
        assert_eq!(
            Value::from(found.clone()),
            serde_json::json!({
                "level": "INFO", "target": "test",
                "a": -3, "b": true, "c": 0.5, "d": u64::MAX, "e": null, "f": "x",
            })
        );
    }

    #[test]
    fn characters_that_change_text_direction_are_escaped() {
        for character in ('\u{202a}'..='\u{202e}')
            .chain('\u{2066}'..='\u{2069}')
            .chain(['\x1b', '\n', '\u{85}'])
        {
            assert!(is_escaped(character), "{character:?}");
        }
        assert!(
            !" é漢🙂".contains(is_escaped),
            "ordinary text is not escaped"
        );
    }
}
