//! Explains patterns and formats in words, and guesses what the user meant.

use std::fmt::Write;

use super::super::suggest::shown;
use super::super::{duration::format_duration, parse_duration, template};
use crate::resources::{
    CLIENT_TEXT, METADATA_KEY, MOMENT_FORM, MOMENT_WORDS, OwnerKind, QUALIFIED_NAME, TOKEN_TEXT,
};

/// The patterns of our schemas and what they ask for.
const PATTERNS: [(&str, &str); 18] = [
    (
        DURATION,
        "a duration such as 90s, 1h30m or 720h: whole numbers with the units h, m, s and ms",
    ),
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$",
        "lower-case letters, digits and '-', beginning and ending with a letter or digit",
    ),
    (
        r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$",
        "lower-case letters, digits, '-' and '.', each part beginning and ending with a letter or digit",
    ),
    (
        r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        "letters, digits, '.', '_' and '-', beginning with a letter or digit",
    ),
    (
        SCOPE,
        "printable ASCII without spaces, '\"' and '\\' (RFC 6749 section 3.3)",
    ),
    (
        r"^\.?[-_a-zA-Z0-9][-._a-zA-Z0-9]*$",
        "letters, digits, '-', '_' and '.', not beginning with '..'",
    ),
    (r"^[a-z0-9]+$", "lower-case letters and digits"),
    (
        r"^[A-Za-z0-9_-]+$",
        "letters, digits, '-' and '_': the `kid` of a key in the JWKS",
    ),
    (
        r"^\+?([0-9]+(\.[0-9]*)?|\.[0-9]+)([KMGTPE]i|[numkMGTPE]|[eE][+-]?[0-9]+)?$",
        "a quantity such as 2, 500m or 128Mi",
    ),
    (
        r"^[1-9][0-9]{0,5}(Mi|Gi|Ti)$",
        "a whole number of Mi, Gi or Ti, such as 512Mi or 10Gi",
    ),
    (
        ISSUER,
        "a URL such as https://id.example.com/main: without a user, query, fragment or trailing slash",
    ),
    (
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    ),
    (
        r"^(Opaque|servicebinding\.io/[A-Za-z0-9]([-A-Za-z0-9_.]{0,60}[A-Za-z0-9])?)$",
        "Opaque or servicebinding.io/<type>: other types belong to other controllers",
    ),
    (MOMENT_FORM, "an RFC 3339 time such as 2027-01-31T12:00:00Z"),
    (
        QUALIFIED_NAME,
        "a label key: at most 63 letters, digits, '-', '_' and '.', with an optional lower-case domain and '/' before them",
    ),
    (
        METADATA_KEY,
        "a key such as example.com/team, or example.com/* for every key of that domain",
    ),
    (
        TOKEN_TEXT,
        "a string with the placeholders $(token), $(client-id), $(issuer) and $(token-url)",
    ),
    (
        CLIENT_TEXT,
        "a string with the placeholders $(client-secret), $(client-id), $(issuer) and $(token-url)",
    ),
];
const DURATION: &str = r"^([0-9]{1,5}(h|m|s|ms)){1,4}$";
const SCOPE: &str = r"^[\x21\x23-\x5B\x5D-\x7E]+$";
const ISSUER: &str = r"^https?://[A-Za-z0-9.\-\[\]:]+(/[A-Za-z0-9._~-]+)*$";

/// Returns what a pattern asks for, in words.
pub(super) fn rule(pattern: &str) -> Option<&'static str> {
    PATTERNS
        .iter()
        .find(|(known, _)| *known == pattern)
        .map(|(_, words)| *words)
}

/// Returns the message for a text that does not match a pattern.
pub(super) fn refused(pattern: &str, text: &str, matches: impl Fn(&str) -> bool) -> String {
    if let Some(fault) = placeholder_fault(pattern, text) {
        return fault;
    }
    if pattern == MOMENT_FORM {
        return not_a_moment(text);
    }
    let rule =
        rule(pattern).map_or_else(|| format!("a string that matches {pattern}"), str::to_owned);
    let mut message = format!("`{}` is not allowed: write {rule}", shown(text));
    if pattern == SCOPE && text.split_whitespace().nth(1).is_some() {
        message.push_str("; write each value as an item of its own");
    } else if let Some(better) = instead(pattern, text).filter(|better| matches(better)) {
        let _ = write!(message, "; did you mean `{}`?", shown(&better));
    }
    message
}

fn placeholder_fault(pattern: &str, text: &str) -> Option<String> {
    let kind = match pattern {
        TOKEN_TEXT => OwnerKind::ServiceAccessToken,
        CLIENT_TEXT => OwnerKind::OAuthClient,
        _ => return None,
    };
    template::text_fault(kind, text)
}

fn instead(pattern: &str, text: &str) -> Option<String> {
    match pattern {
        DURATION => duration_instead(text),
        SCOPE => Some(text.trim().to_owned()),
        ISSUER => {
            let end = text.find(['?', '#']).unwrap_or(text.len());
            let url = text[..end].trim().trim_end_matches('/');
            Some(if url.contains("://") {
                url.to_owned()
            } else {
                format!("https://{url}")
            })
        }
        _ => {
            let plain = text.trim().replace(['_', ' '], "-");
            Some(if pattern.contains("A-Z") {
                plain
            } else {
                plain.to_lowercase()
            })
        }
    }
}

/// Converts other ways to write a duration, such as `30d` to `720h`: units that Go and CEL do not know, fractions,
/// spaces, bare seconds.
pub(super) fn duration_instead(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (text[..split].parse::<f64>().ok()?, text[split..].trim());
    let seconds = match unit {
        "ms" | "msec" | "millis" => 0.001,
        "" | "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "mo" | "month" | "months" => 30.0 * 86_400.0,
        "y" | "yr" | "year" | "years" => 365.0 * 86_400.0,
        _ => return None,
    } * number;
    let better = format_duration(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?);
    (better != "0s" && parse_duration(&better).is_some()).then_some(better)
}

/// Returns whether a text is a time in the part of RFC 3339 section 5.6 that every reader reads alike.
pub(super) fn is_moment(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shape = |from: usize, form: &[u8]| {
        bytes.get(from..from + form.len()).is_some_and(|part| {
            part.iter().zip(form).all(|(byte, form)| {
                if *form == b'0' {
                    byte.is_ascii_digit()
                } else {
                    byte == form
                }
            })
        })
    };
    if !text.is_ascii() || !shape(0, b"0000-00-00T00:00:00") {
        return false;
    }
    let mut end = 19;
    if bytes.get(end) == Some(&b'.') {
        let digits = bytes[end + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if !(1..=9).contains(&digits) {
            return false;
        }
        end += 1 + digits;
    }
    let zone = &text[end..];
    let offset = zone.len() == 6 && (shape(end, b"+00:00") || shape(end, b"-00:00"));
    (zone == "Z" || offset) && text.parse::<jiff::Timestamp>().is_ok()
}

/// Returns the message for a text that is not such a time.
pub(super) fn not_a_moment(text: &str) -> String {
    // Some write this year to say never: the text looks like a valid time.
    if text.starts_with("9999-") {
        return MOMENT_WORDS.to_owned();
    }
    let mut message = format!(
        "`{}` is not a time: write an RFC 3339 time such as 2027-01-31T12:00:00Z",
        shown(text)
    );
    let plain = text.trim().replacen(' ', "T", 1);
    let tries = [
        format!("{plain}T00:00:00Z"),
        format!("{plain}Z"),
        format!("{plain}:00Z"),
        plain.to_uppercase(),
    ];
    if let Some(better) = tries.iter().find(|better| is_moment(better)) {
        let _ = write!(message, "; did you mean `{better}`?");
    }
    message
}
