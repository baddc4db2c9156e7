//! Finds the line that causes a parser's error, and what to write there.
//!
//! A YAML parser reports where it could not continue, which is often the line after the mistake, in words of the
//! grammar. The messages repeat no text of the file, since it may contain a Secret. The work is linear in the length of
//! the text, and done once for each document.

use std::ops::Range;

/// Returns the place of the cause and the message; `None` if the parser's own words are the best.
pub(super) fn explain(text: &str, at: usize, info: &str) -> Option<(Range<usize>, String)> {
    let lines = Lines(text);
    if info.contains("tab") || lines.is_indented_with_tab(at) {
        return lines.tab(at);
    }
    if info.contains("mapping values are not allowed") {
        return Some(lines.second_value(at));
    }
    if info.contains("simple key expected") {
        return Some(lines.no_colon(at));
    }
    // In other errors a bracket may be a part of a block of text.
    let is_flow = ["flow", "illegal placement", "bracket"]
        .iter()
        .any(|words| info.contains(words));
    if let Some(found) = is_flow.then(|| unclosed(&text[..at])).flatten() {
        return Some(found);
    }
    if info.contains("did not find expected key") || info.contains("did not find expected '-'") {
        return lines.indentation(at);
    }
    if info.contains("unexpected character") || info.contains("scanning an anchor or alias") {
        let first = text[at..].chars().next()?;
        let start = if info.contains("anchor") && !matches!(first, '*' | '&') {
            text[..at].rfind(['*', '&'])?
        } else {
            at
        };
        let sign = text[start..].chars().next().unwrap_or(first);
        return Some((
            start..start + sign.len_utf8(),
            format!(
                "a value that begins with '{}' must be in quotes",
                crate::directory::problem::suggest::Shown(sign)
            ),
        ));
    }
    if info.contains("unclosed bracket") {
        let bracket = text[at..].chars().next()?;
        return Some((at..at + bracket.len_utf8(), not_closed(bracket)));
    }
    info.contains("unclosed quote").then(|| {
        let end = text[at..].chars().next().map_or(at, |c| at + c.len_utf8());
        (
            at..end,
            "this quote is not closed: write the same quote at the end of the value".to_owned(),
        )
    })
}

struct Lines<'t>(&'t str);

/// A line: its first byte and its text without the line end.
#[derive(Clone, Copy)]
struct Line<'t> {
    start: usize,
    text: &'t str,
}

impl<'t> Line<'t> {
    /// Returns the number of spaces before the first other character.
    fn indent(self) -> usize {
        self.text.len() - self.text.trim_start_matches(' ').len()
    }

    /// Returns the text without the indentation.
    fn content(self) -> &'t str {
        self.text.trim_start_matches([' ', '\t']).trim_end()
    }

    fn is_empty(self) -> bool {
        let content = self.content();
        content.is_empty() || content.starts_with('#')
    }

    fn is_item(self) -> bool {
        self.content().starts_with("- ") || self.content() == "-"
    }

    /// Returns the place of the content.
    fn place(self) -> Range<usize> {
        let start = self.start + self.text.len() - self.text.trim_start_matches([' ', '\t']).len();
        start..start + self.content().len()
    }
}

impl<'t> Lines<'t> {
    fn at(&self, offset: usize) -> Line<'t> {
        let text = self.0;
        let start = text[..offset].rfind('\n').map_or(0, |before| before + 1);
        let end = text[start..]
            .find('\n')
            .map_or(text.len(), |end| start + end);
        let text = text[start..end].trim_end_matches('\r');
        Line { start, text }
    }

    /// Returns the lines before this one that are not empty, the nearest first.
    fn before(&self, line: Line<'t>) -> impl Iterator<Item = Line<'t>> {
        let above = &self.0[..line.start];
        let mut end = above.len();
        let lines = above.split_inclusive('\n').rev().map(move |text| {
            end -= text.len();
            let text = text.trim_end_matches(['\n', '\r']);
            Line { start: end, text }
        });
        lines.filter(|line| !line.is_empty())
    }

    fn number(&self, line: Line<'_>) -> usize {
        self.0[..line.start].matches('\n').count() + 1
    }

    fn is_indented_with_tab(&self, offset: usize) -> bool {
        let line = self.at(offset);
        line.text[line.indent()..].starts_with('\t')
    }

    /// Finds the tab in the indentation of this line or of a line below: the parser may report the value above it.
    fn tab(&self, at: usize) -> Option<(Range<usize>, String)> {
        let mut line = self.at(at);
        while !line.text[line.indent()..].starts_with('\t') {
            let next = line.start + self.0[line.start..].find('\n')? + 1;
            line = self.at(next);
        }
        let start = line.start + line.indent();
        let tabs = self.0[start..].len() - self.0[start..].trim_start_matches('\t').len();
        let message = "this line is indented with a tab, which YAML does not allow: write spaces, two for each level";
        Some((start..start + tabs, message.to_owned()))
    }

    /// Explains a second value: the line's value contains `: `, or the line is indented below one that has a value.
    fn second_value(&self, at: usize) -> (Range<usize>, String) {
        let line = self.at(at);
        let before = &self.0[line.start..at];
        if let Some(colon) = before.find(": ") {
            let value = before[colon + 1..].trim_start();
            let start = at - value.len();
            let end = line.start + line.text.trim_end().len();
            let message = "this value contains ': ' and is not in quotes, so that YAML takes it for another field: put the whole value in quotes";
            return (start..end.max(start), message.to_owned());
        }
        let above = self.before(line).next();
        let above = above.filter(|above| above.indent() < line.indent());
        match above {
            Some(above) => {
                let message = "this field has a value, and the line below is indented as if it were a part of it: remove the value, or indent both lines alike";
                (above.place(), message.to_owned())
            }
            None => (
                line.place(),
                "YAML allows no field here: check the indentation, and that the line above ends its value".to_owned(),
            ),
        }
    }

    /// Explains a line that is not `key: value`.
    fn no_colon(&self, at: usize) -> (Range<usize>, String) {
        let line = self.at(at);
        let content = line.content();
        let message = if content.contains(':') {
            "this line has no space after ':': write 'key: value'"
        } else if content.contains('=') {
            "YAML writes ':' and not '=': write 'key: value'"
        } else if content.starts_with('-') {
            "a list item needs a space after '-': write '- value'"
        } else {
            "this line has no ':': write 'key: value'"
        };
        (line.place(), message.to_owned())
    }

    /// Explains a line whose indentation fits no line above it.
    fn indentation(&self, at: usize) -> Option<(Range<usize>, String)> {
        let line = self.at(at);
        let indent = line.indent();
        // The indentations that are still open, the deepest first, each with its line.
        let mut open: Vec<(usize, Line<'_>)> = Vec::new();
        for above in self.before(line) {
            let least = open.last().map_or(usize::MAX, |(least, _)| *least);
            if above.indent() < least {
                open.push((above.indent(), above));
            }
            if above.indent() == 0 {
                break;
            }
        }
        if let Some((_, above)) = open.iter().find(|(known, _)| *known == indent) {
            let is_part_of_item = above.is_item() && !line.is_item();
            let message = "this line is a part of the list item above, if it is indented by two spaces more: otherwise begin an item with '- '";
            return is_part_of_item.then(|| (line.place(), message.to_owned()));
        }
        let like = |(_, above): &&(usize, Line<'_>)| above.is_item() == line.is_item();
        let near = |(known, _): &&(usize, Line<'_>)| known.abs_diff(indent);
        let meant = open.iter().filter(like).min_by_key(near);
        let (spaces, above) = meant.or_else(|| open.iter().min_by_key(near))?;
        let count = |spaces: usize| match spaces {
            0 => "no space".to_owned(),
            1 => "1 space".to_owned(),
            spaces => format!("{spaces} spaces"),
        };
        let number = self.number(line) - self.number(*above);
        let lines = if number == 1 { "line" } else { "lines" };
        let message = format!(
            "this line is indented by {}, and no line that it could belong to is: write {}, as {number} {lines} above",
            count(indent),
            count(*spaces),
        );
        Some((line.place(), message))
    }
}

/// Returns the innermost open bracket, if it began on an earlier line.
fn unclosed(text: &str) -> Option<(Range<usize>, String)> {
    let mut open: Vec<(usize, char)> = Vec::new();
    let mut quote: Option<char> = None;
    let mut before = '\n';
    let mut comment = false;
    for (at, c) in text.char_indices() {
        let starts = matches!(before, ' ' | '\n' | '[' | '{' | ',' | ':');
        match (quote, c) {
            (_, '\n') => comment = false,
            _ if comment => {}
            (Some('"'), '"') if before != '\\' => quote = None,
            (Some('\''), '\'') => quote = None,
            (None, '#') if matches!(before, ' ' | '\n') => comment = true,
            (None, '"' | '\'') if starts => quote = Some(c),
            (None, '[' | '{') if starts || !open.is_empty() => open.push((at, c)),
            (None, ']' | '}') => {
                open.pop();
            }
            _ => {}
        }
        before = c;
    }
    let (at, bracket) = open.pop().filter(|_| quote.is_none())?;
    // A fault on the same line as the bracket has another cause.
    text[at..]
        .contains('\n')
        .then(|| (at..at + 1, not_closed(bracket)))
}

fn not_closed(bracket: char) -> String {
    let close = if bracket == '[' { ']' } else { '}' };
    format!("this '{bracket}' is not closed: write '{close}' at its end")
}

#[cfg(test)]
mod tests {
    use super::super::parse;

    /// Returns the line and the message of each fault.
    fn told(text: &str) -> Vec<String> {
        let faults = parse(text).faults;
        let line = |at: usize| text[..at].matches('\n').count() + 1;
        let told = faults
            .iter()
            .map(|fault| format!("{}: {}", line(fault.span.start), fault.message));
        told.collect()
    }

    #[test]
    fn the_line_of_the_cause_is_told_and_what_to_write() {
        let tab = "this line is indented with a tab, which YAML does not allow: write spaces, two for each level";
        let quotes = "this value contains ': ' and is not in quotes, so that YAML takes it for another field: put the whole value in quotes";
        let both = "this field has a value, and the line below is indented as if it were a part of it: remove the value, or indent both lines alike";
        for (text, line, message) in [
            ("a:\n\tb: 1\n", 2, tab),
            ("a:\n  b: 1\n  \tc: 2\n", 3, tab),
            ("a: b: c\n", 1, quotes),
            ("x: 1\na:\n  - b: c: d\n", 3, quotes),
            ("a: b\n  c: d\n", 1, both),
            ("a:\n  b: 1\n   c: 2\n", 2, both),
            (
                "a: b\n# c\n\n  c: d\n",
                4,
                "this line is indented by 2 spaces, and no line that it could belong to is: write no space, as 3 lines above",
            ),
            (
                "a:\n  b: [1]\n   c: 2\n",
                3,
                "this line is indented by 3 spaces, and no line that it could belong to is: write 2 spaces, as 1 line above",
            ),
            (
                "a:\n  b: 1\n\n c: 2\n",
                4,
                "this line is indented by 1 space, and no line that it could belong to is: write 2 spaces, as 2 lines above",
            ),
            (
                "a:\n  b:\n    - c\n   - d\n",
                4,
                "this line is indented by 3 spaces, and no line that it could belong to is: write 4 spaces, as 1 line above",
            ),
            (
                "a:\n  - b: 1\n  c: 2\n",
                3,
                "this line is a part of the list item above, if it is indented by two spaces more: otherwise begin an item with '- '",
            ),
            (
                "a:\n  b: 1\n  c:2\n",
                3,
                "this line has no space after ':': write 'key: value'",
            ),
            (
                "a: 1\nb = 2\n",
                2,
                "YAML writes ':' and not '=': write 'key: value'",
            ),
            (
                "a: 1\nb 2\nc: 3\n",
                2,
                "this line has no ':': write 'key: value'",
            ),
            (
                "a: [1, 2\nb: 3\n",
                1,
                "this '[' is not closed: write ']' at its end",
            ),
            (
                "a: 1\nb: {c: [1], d: 2\ne: 3\n",
                2,
                "this '{' is not closed: write '}' at its end",
            ),
            (
                "a: 1\nb: \"c\n",
                2,
                "this quote is not closed: write the same quote at the end of the value",
            ),
            (
                "a: @b\n",
                1,
                "a value that begins with '@' must be in quotes",
            ),
            (
                "a: [*]\n",
                1,
                "a value that begins with '*' must be in quotes",
            ),
            (
                "a: %b\n",
                1,
                "a value that begins with '%' must be in quotes",
            ),
        ] {
            assert_eq!(told(text), [format!("{line}: {message}")], "{text}");
        }
    }

    #[test]
    fn every_line_end_and_every_start_of_a_text_can_be_explained() {
        let text = "a: é\r\n\tb: [1, {c: 'd\r\n- e: f: g\n  h *\n";
        for at in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
            for info in [
                "tabs",
                "mapping values are not allowed",
                "simple key expected ':'",
                "did not find expected key",
                "unexpected character",
                "scanning an anchor or alias",
                "unclosed quote",
                "",
            ] {
                if let Some((span, _)) = super::explain(text, at, info) {
                    assert!(text.get(span.clone()).is_some(), "{at} {info}: {span:?}");
                }
            }
        }
    }
}
