//! Durations as resources write them: `90s`, `1h30m`, `720h`.

use std::fmt::Write as _;

use jiff::SignedDuration;

/// Parses a duration with the units `h`, `m`, `s` and `ms`; `None` if the text is not one.
///
/// At most four parts of at most five digits, so that the sum always fits.
pub fn parse_duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut total = SignedDuration::ZERO;
    for _ in 0..4 {
        if rest.is_empty() {
            break;
        }
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        if !(1..=5).contains(&digits) {
            return None;
        }
        let number: i64 = rest[..digits].parse().ok()?;
        let (part, after) = unit(number, &rest[digits..])?;
        total = total.checked_add(part)?;
        rest = after;
    }
    (rest.is_empty() && !text.is_empty()).then_some(total)
}

fn unit(number: i64, text: &str) -> Option<(SignedDuration, &str)> {
    if let Some(after) = text.strip_prefix("ms") {
        Some((SignedDuration::from_millis(number), after))
    } else if let Some(after) = text.strip_prefix('h') {
        Some((SignedDuration::from_hours(number), after))
    } else if let Some(after) = text.strip_prefix('m') {
        Some((SignedDuration::from_mins(number), after))
    } else {
        text.strip_prefix('s')
            .map(|after| (SignedDuration::from_secs(number), after))
    }
}

/// Formats a duration in the same form, for messages.
pub(crate) fn format_duration(duration: SignedDuration) -> String {
    let seconds = duration.as_secs();
    let parts = [
        (seconds / 3600, "h"),
        (seconds % 3600 / 60, "m"),
        (seconds % 60, "s"),
    ];
    let mut text = String::new();
    for (number, unit) in parts.into_iter().filter(|(number, _)| *number != 0) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{number}{unit}");
    }
    if text.is_empty() {
        text.push_str("0s");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, millis) in [
            ("90s", Some(90_000)),
            ("1h30m", Some(5_400_000)),
            ("720h", Some(720 * 3_600_000)),
            ("1h1m1s1ms", Some(3_661_001)),
            ("250ms", Some(250)),
            ("0s", Some(0)),
            ("", None),
            ("5", None),
            ("30d", None),
            ("1.5h", None),
            ("-1h", None),
            ("123456s", None),
            ("1h1h1h1h1h", None),
            ("h", None),
        ] {
            assert_eq!(
                parse_duration(text).map(|d| d.as_millis()),
                millis,
                "{text}"
            );
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["1h30m", "24h", "10m", "45s", "0s"] {
            assert_eq!(format_duration(parse_duration(text).unwrap()), text);
        }
    }
}
