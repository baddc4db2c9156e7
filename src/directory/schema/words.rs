//! Explains patterns and formats in words, and guesses what the user meant.

use std::fmt::Write;

use super::super::{parse_duration, template};
use super::compile::Pattern;
use crate::directory::problem::suggest::shown;
use crate::directory::values::duration::format_duration;
use crate::resources::{
    CLAIM_FORM, CLIENT_TEXT, COLOUR_FORM, DURATION_FORM, EMAIL_FORM, ISSUER_URL, LOGO_FORM,
    LOGOUT_URI_FORM, METADATA_KEY, MOMENT_FORM, MOMENT_WORDS, ORIGIN_FORM, OwnerKind,
    QUALIFIED_NAME, REDIRECT_URI_FORM, SUBJECT_FORM, TOKEN_TEXT, USERNAME_FORM,
};

/// The patterns of our schemas and what they ask for.
const PATTERNS: [(&str, &str); 18] = [
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
        r"^[a-z][a-z0-9_]*$",
        "lower-case letters, digits and '_', beginning with a letter",
    ),
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
        r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        "a label value: letters, digits, '-', '_' and '.', beginning and ending with a letter or digit",
    ),
    (
        r"^(Opaque|servicebinding\.io/[A-Za-z0-9]([-A-Za-z0-9_.]{0,60}[A-Za-z0-9])?)$",
        "Opaque or servicebinding.io/<type>: other types belong to other controllers",
    ),
    (
        CLAIM_FORM,
        "the name of a claim: letters, digits, '_', '.', ':', '/' and '-', beginning with a letter or '_'",
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
const SCOPE: &str = r"^[\x21\x23-\x5B\x5D-\x7E]+$";

/// Returns what a pattern asks for, in words.
pub(super) fn rule(pattern: &str) -> Option<&'static str> {
    PATTERNS
        .iter()
        .find(|(known, _)| *known == pattern)
        .map(|(_, words)| *words)
}

/// Returns the message for a text that does not match a pattern. If a CEL rule states the pattern, the message begins
/// with that of the rule.
pub(super) fn refused(pattern: &Pattern, text: &str) -> String {
    let source = &*pattern.source;
    if let Some(fault) = placeholder_fault(source, text) {
        return fault;
    }
    if source == MOMENT_FORM {
        return not_a_moment(text);
    }
    let mut message = match (&pattern.words, rule(source)) {
        (Some(words), _) => format!("{words}, not `{}`", shown(text)),
        (None, Some(rule)) => format!("`{}` is not allowed: write {rule}", shown(text)),
        (None, None) => format!(
            "`{}` is not allowed: write a string that matches {source}",
            shown(text)
        ),
    };
    let fits = |better: &String| better != text && pattern.matches(better);
    if source == REDIRECT_URI_FORM && text.contains('*') {
        message.push_str(
            "; write each URI as an item of its own, since people return only to exactly these",
        );
    } else if source == SCOPE && text.split_whitespace().nth(1).is_some() {
        message.push_str("; write each value as an item of its own");
    } else if let Some(hint) = bare_number(text).filter(|_| source == DURATION_FORM) {
        let _ = write!(message, "; write {hint}");
    } else if let Some(better) = instead(source, text).filter(fits) {
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
    let text = text.trim_matches(|c: char| c.is_whitespace() || QUOTES.contains(&c));
    match pattern {
        DURATION_FORM => duration_instead(text),
        SCOPE => Some(text.to_owned()),
        ISSUER_URL => {
            let end = text.find(['?', '#']).unwrap_or(text.len());
            let url = text[..end].trim_end_matches('/');
            Some(if url.contains("://") {
                url.to_owned()
            } else {
                format!("https://{url}")
            })
        }
        REDIRECT_URI_FORM | LOGOUT_URI_FORM | LOGO_FORM => Some(uri_instead(text)),
        ORIGIN_FORM => {
            let uri = uri_instead(text);
            let start = uri.find("://")? + 3;
            let end = uri[start..].find(['/', '?']);
            Some(uri[..end.map_or(uri.len(), |end| start + end)].to_owned())
        }
        EMAIL_FORM => {
            let inside = text
                .split_once('<')
                .and_then(|(_, rest)| rest.split_once('>'));
            let address = inside.map_or(text, |(address, _)| address);
            Some(address.trim_start_matches("mailto:").to_owned())
        }
        USERNAME_FORM => Some(text.replace(' ', ".")),
        SUBJECT_FORM => Some(text.to_lowercase()),
        COLOUR_FORM => {
            let digits = text.trim_start_matches('#');
            let each_twice = || digits.chars().flat_map(|digit| [digit, digit]).collect();
            let digits: String = match digits.len() {
                3 => each_twice(),
                _ => digits.to_owned(),
            };
            Some(format!("#{digits}"))
        }
        _ => {
            let plain = text.replace(['_', ' '], "-");
            Some(if pattern.contains("A-Z") {
                plain
            } else {
                plain.to_lowercase()
            })
        }
    }
}

/// Corrects what is usually wrong with a URI: no scheme, plain http on the web, a host in upper case, a fragment.
fn uri_instead(text: &str) -> String {
    let text = text.split('#').next().unwrap_or_default();
    let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (scheme, host) = (scheme.to_lowercase(), host.to_lowercase());
    let name = host.rsplit_once(':').map_or(&*host, |(name, _)| name);
    let is_local = ["localhost", "127.0.0.1", "[::1]"].contains(&name);
    let scheme = if scheme == "http" && !is_local {
        "https"
    } else {
        &scheme
    };
    format!("{scheme}://{host}{path}")
}

/// Returns a hint for a key that begins or ends with a character that only looks like a space: YAML takes it for a part
/// of the key.
pub(super) fn odd_space(key: &str) -> Option<String> {
    let is_odd = |c: &char| !c.is_ascii() && (c.is_whitespace() || *c == '\u{feff}');
    let edges = [key.chars().next(), key.chars().next_back()];
    let odd = edges.into_iter().flatten().find(is_odd)?;
    Some(format!(
        "it has a character that only looks like a space (U+{:04X}): write plain spaces",
        u32::from(odd)
    ))
}

/// Shows a value as YAML: without quotes where it needs none.
pub(super) fn yaml(value: &str) -> String {
    let is_plain = value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | '/'))
        && !matches!(
            value.to_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null"
        );
    if is_plain {
        shown(value)
    } else {
        shown(&serde_json::Value::from(value).to_string())
    }
}

/// Quotation marks that a text may wrongly contain: those of word processors, which YAML takes for a part of the text,
/// and `"` in a quoted text.
const QUOTES: [char; 6] = ['“', '”', '„', '‘', '’', '"'];

/// Returns what a number without a unit may mean as a duration: `720h, or 12m if it counts seconds`. OAuth counts in
/// seconds, while most lifetimes here are hours.
pub(super) fn bare_number(text: &str) -> Option<String> {
    let number: u64 = text.trim().parse().ok().filter(|number| *number > 0)?;
    let hours = (number <= 87_600).then(|| format!("{number}h"));
    let seconds = duration_instead(&format!("{number}s"));
    match (hours, seconds) {
        (Some(hours), Some(seconds)) => Some(format!("{hours}, or {seconds} if it counts seconds")),
        (hours, seconds) => hours.or(seconds),
    }
}

/// Converts other ways to write a duration, such as `30d` to `720h`: units that Go and CEL do not know, fractions,
/// spaces, and ISO 8601 (`P30D`).
pub(super) fn duration_instead(text: &str) -> Option<String> {
    let text = text.trim().to_lowercase();
    if text.starts_with('p') {
        let span: jiff::Span = text.parse().ok()?;
        let days = jiff::SpanRelativeTo::days_are_24_hours();
        return written(span.to_duration(days).ok()?);
    }
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = (text[..split].parse::<f64>().ok()?, text[split..].trim());
    let seconds = match unit {
        "ms" | "msec" | "millis" => 0.001,
        "s" | "sec" | "secs" | "second" | "seconds" => 1.0,
        "m" | "min" | "mins" | "minute" | "minutes" => 60.0,
        "h" | "hr" | "hrs" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        "w" | "week" | "weeks" => 604_800.0,
        "mo" | "month" | "months" => 30.0 * 86_400.0,
        "y" | "yr" | "year" | "years" => 365.0 * 86_400.0,
        _ => return None,
    } * number;
    written(jiff::SignedDuration::try_from_secs_f64(seconds).ok()?)
}

fn written(duration: jiff::SignedDuration) -> Option<String> {
    let better = format_duration(duration);
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
