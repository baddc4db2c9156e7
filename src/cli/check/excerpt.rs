//! The lines of a file that are drawn for a finding: few, short, and with control characters escaped.
//!
//! The work depends on the length of the excerpt, not of the file: a single line may be as long as the file.

use std::ops::Range;

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use crate::directory::problem::suggest::{Shown, one_line};
use crate::source::manifest::SourceText;

/// The maximum number of characters drawn of a line, and of those before the finding's place.
const WIDEST: usize = 160;
const BEFORE: usize = 60;
/// The maximum number of lines between two places in one piece, and of lines in one place.
const NEAR: usize = 4;
const MAX_LINES: usize = 12;

/// The drawn pieces of a text.
#[derive(Debug)]
pub(super) struct Excerpt {
    name: String,
    pieces: Vec<Piece>,
}

/// Consecutive lines.
#[derive(Debug)]
struct Piece {
    /// Its start, in bytes of all pieces.
    start: usize,
    text: String,
    /// Its first line in the file, counted from zero.
    line: usize,
    /// The byte at which each place in it is drawn, and the place's column in the file, counted from zero.
    columns: Vec<(usize, usize)>,
}

/// A place in the file, and the bytes at which it is drawn.
struct Place {
    span: Range<usize>,
    drawn: Range<usize>,
    is_begun: bool,
}

impl Excerpt {
    /// Returns the lines around one or two places, and the bytes of the places in them.
    pub(super) fn of(
        source: &SourceText,
        span: &Range<usize>,
        other: Option<&Range<usize>>,
    ) -> (Self, Range<usize>, Option<Range<usize>>) {
        let mut places: Vec<Place> = std::iter::once(span)
            .chain(other)
            .map(|span| Place::of(source, span))
            .collect();
        let mut ranges: Vec<Range<usize>> = places
            .iter()
            .map(|place| around(source, &place.span))
            .collect();
        if let [one, two] = &ranges[..] {
            let whole = one.start.min(two.start)..one.end.max(two.end);
            let lines = source.text[whole.clone()]
                .matches('\n')
                .take(2 * MAX_LINES)
                .count();
            let between = one.end.min(two.end)..one.start.max(two.start);
            let apart = source
                .text
                .get(between)
                .map_or(0, |text| text.matches('\n').count());
            if apart <= NEAR && lines < 2 * MAX_LINES {
                ranges = vec![whole];
            } else {
                ranges.sort_by_key(|range| range.start);
            }
        }
        let mut start = 0;
        let mut pieces = Vec::new();
        for range in ranges {
            let piece = Piece::of(source, range, start, &mut places);
            // Two pieces never touch.
            start += piece.text.len() + 1;
            pieces.push(piece);
        }
        let mut drawn = places.into_iter().map(|place| place.drawn);
        let excerpt = Self {
            name: one_line(&source.name).into_owned(),
            pieces,
        };
        (excerpt, drawn.next().unwrap_or_default(), drawn.next())
    }
}

impl Place {
    /// Returns the place. A place of very many lines is cut to its first line.
    fn of(source: &SourceText, span: &Range<usize>) -> Self {
        let length = source.text.len();
        let boundary = |at: usize| {
            (0..=at.min(length))
                .rev()
                .find(|at| source.text.is_char_boundary(*at))
        };
        let start = boundary(span.start).unwrap_or_default();
        let mut end = boundary(span.end).unwrap_or_default().max(start);
        if source.text[start..end]
            .matches('\n')
            .take(MAX_LINES)
            .count()
            == MAX_LINES
        {
            let (line, text) = source.line_at(start);
            end = line + text.len();
        }
        Self {
            span: start..end,
            drawn: 0..0,
            is_begun: false,
        }
    }
}

/// Returns the lines of a place, with one line before and one after.
fn around(source: &SourceText, span: &Range<usize>) -> Range<usize> {
    let (mut start, _) = source.line_at(span.start);
    if start > 0 {
        start = source.line_at(start - 1).0;
    }
    let (line, text) = source.line_at(span.end);
    let mut end = line + text.len();
    if end < source.text.len() {
        let (line, text) = source.line_at(end + 1);
        end = line + text.len();
    }
    start..end
}

impl Piece {
    fn of(source: &SourceText, range: Range<usize>, start: usize, places: &mut [Place]) -> Self {
        let mut piece = Self {
            start,
            text: String::new(),
            line: source.position(range.start).line - 1,
            columns: Vec::new(),
        };
        let mut at = range.start;
        for line in source.text[range].split_inclusive('\n') {
            piece.draw(source, at, line, places);
            at += line.len();
        }
        // Places at the very end of the text.
        for place in places.iter_mut() {
            let end = start + piece.text.len();
            if place.is_begun && place.span.end >= at {
                place.drawn.end = end;
            } else if !place.is_begun && place.span.start == at {
                place.is_begun = true;
                place.drawn = end..end;
                piece.columns.push((end, source.position(at).column - 1));
            }
        }
        piece
    }

    /// Adds the line at byte `at`, cut around the first place in it.
    fn draw(&mut self, source: &SourceText, at: usize, line: &str, places: &mut [Place]) {
        let (text, end) = match line.strip_suffix('\n') {
            Some(text) => (text.strip_suffix('\r').unwrap_or(text), "\n"),
            None => (line, ""),
        };
        let shown = part(text, at, places);
        if shown.start > 0 {
            self.text.push('…');
        }
        for (offset, character) in text[shown.clone()].char_indices() {
            let byte = at + shown.start + offset;
            self.mark(source, byte..byte + 1, places);
            match character {
                '\t' => self.text.push('\t'),
                character => self.text.push_str(&Shown(character).to_string()),
            }
        }
        if shown.end < text.len() {
            self.text.push('…');
        }
        if !end.is_empty() {
            self.mark(source, at + shown.end..at + line.len(), places);
            self.text.push_str(end);
        }
        let here = self.start + self.text.len();
        for place in places.iter_mut() {
            if place.is_begun && place.span.end >= at + line.len() {
                place.drawn.end = here;
            }
        }
    }

    /// Records which places begin and end at these bytes.
    fn mark(&mut self, source: &SourceText, bytes: Range<usize>, places: &mut [Place]) {
        let here = self.start + self.text.len();
        for place in places.iter_mut() {
            if !place.is_begun && bytes.contains(&place.span.start) {
                place.is_begun = true;
                place.drawn = here..here;
                let column = source.position(place.span.start).column - 1;
                self.columns.push((here, column));
            }
            if place.is_begun && bytes.contains(&place.span.end) {
                place.drawn.end = here;
            }
        }
    }
}

/// Returns the bytes of a line to draw: all of a short line, else those around the first place in it.
fn part(text: &str, at: usize, places: &[Place]) -> Range<usize> {
    if text.chars().nth(WIDEST).is_none() {
        return 0..text.len();
    }
    let within = |byte: &usize| (at..=at + text.len()).contains(byte);
    let first = places
        .iter()
        .map(|place| place.span.start)
        .filter(within)
        .min();
    let first = first.map_or(0, |byte| byte - at);
    let start = text[..first].char_indices().rev().nth(BEFORE - 1);
    let start = start.map_or(0, |(start, _)| start);
    let end = text[start..].char_indices().nth(WIDEST);
    start..end.map_or(text.len(), |(end, _)| start + end)
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        before: usize,
        after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let fits = |piece: &&Piece| {
            span.offset() >= piece.start
                && span.offset() + span.len() <= piece.start + piece.text.len()
        };
        let piece = self.pieces.iter().find(fits);
        let piece = piece.ok_or(MietteError::OutOfBounds)?;
        let local = SourceSpan::from((span.offset() - piece.start, span.len()));
        let found = piece.text.read_span(&local, before, after)?;
        let known = piece.columns.iter().find(|(at, _)| *at == span.offset());
        let column = match known {
            Some((_, column)) if before == 0 => *column,
            _ => found.column(),
        };
        // With the line count of the whole piece, miette draws all labels of the piece together.
        let lines = piece.text.lines().count();
        Ok(Box::new(MietteSpanContents::new_named(
            self.name.clone(),
            found.data(),
            SourceSpan::from((found.span().offset() + piece.start, found.span().len())),
            found.line() + piece.line,
            column,
            lines,
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(
        text: &str,
        span: Range<usize>,
        other: Option<Range<usize>>,
    ) -> (Excerpt, Vec<String>) {
        let source = SourceText::new("a.yaml".into(), text.into());
        let (excerpt, first, second) = Excerpt::of(&source, &span, other.as_ref());
        let places = std::iter::once(first).chain(second);
        let under = |place: Range<usize>| {
            let mut pieces = excerpt.pieces.iter();
            let piece = pieces.rfind(|piece| piece.start <= place.start).unwrap();
            piece.text[place.start - piece.start..place.end - piece.start].to_owned()
        };
        let under = places.map(under).collect();
        (excerpt, under)
    }

    #[test]
    fn control_characters_are_escaped_and_places_stay_correct() {
        let text = "a: \u{202e}b\nc: d\n";
        let (excerpt, under) = drawn(text, 11..12, Some(3..6));
        assert_eq!(excerpt.pieces[0].text, "a: \\u{202e}b\nc: d\n");
        assert_eq!(under, ["d", "\\u{202e}"]);
        let (excerpt, _) = drawn("a\tb\r\nc\rd\n", 0..1, None);
        assert_eq!(excerpt.pieces[0].text, "a\tb\nc\\u{d}d");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let long = format!("{}x{}\n", "a".repeat(70_000), "b".repeat(70_000));
        let (excerpt, under) = drawn(&(long.clone() + &long), 70_000..70_001, None);
        assert_eq!(under, ["x"]);
        let lines: Vec<&str> = excerpt.pieces[0].text.lines().collect();
        assert!(lines.iter().all(|line| line.chars().count() <= WIDEST + 2));
        assert!(lines[0].starts_with("…a") && lines[0].ends_with("b…"));
        assert_eq!(
            excerpt.pieces[0].columns,
            [(under_at(lines[0], 'x'), 70_000)]
        );
        // A place that is longer than the excerpt ends with it.
        let (_, under) = drawn(&long, 0..140_000, None);
        assert_eq!(under[0].chars().count(), WIDEST + 1);
    }

    fn under_at(line: &str, character: char) -> usize {
        line.find(character).unwrap()
    }

    #[test]
    fn distant_places_are_two_pieces() {
        let text = format!("first\n{}last\n", "x\n".repeat(10_000));
        let end = text.len() - 5;
        let (excerpt, under) = drawn(&text, end..end + 4, Some(0..5));
        assert_eq!(under, ["last", "first"]);
        let pieces: Vec<_> = excerpt
            .pieces
            .iter()
            .map(|it| (it.line, it.text.lines().count()))
            .collect();
        assert_eq!(pieces, [(0, 2), (10_000, 2)]);
        let (excerpt, under) = drawn("first\nx\nlast\n", 8..12, Some(0..5));
        assert_eq!(
            (excerpt.pieces.len(), under),
            (1, vec!["last".into(), "first".into()])
        );
    }

    #[test]
    fn a_place_of_very_many_lines_is_cut_to_the_first() {
        let text = "x\n".repeat(10_000);
        let (excerpt, under) = drawn(&text, 0..text.len(), None);
        assert_eq!(under, ["x"]);
        assert!(excerpt.pieces[0].text.len() < 10);
    }

    #[test]
    fn every_place_of_a_text_can_be_drawn() {
        let text = "é: \u{1b}a\r\n\n  b: [\t1, 2]\r\nlast";
        for start in 0..=text.len() + 1 {
            for end in start..=text.len() + 1 {
                let (excerpt, under) = drawn(text, start..end, Some(end..start.max(end)));
                assert_eq!(under.len(), 2);
                let source = SourceText::new("a".into(), text.into());
                let (_, span, _) = Excerpt::of(&source, &(start..end), None);
                let span = SourceSpan::from((span.start, span.len()));
                let (one, _, _) = Excerpt::of(&source, &(start..end), None);
                assert!(
                    one.read_span(&span, 1, 1).is_ok() && one.read_span(&span, 0, 0).is_ok(),
                    "{start}..{end}"
                );
                drop(excerpt);
            }
        }
    }
}
