//! Resolves unquoted scalars as kubectl does.
//!
//! kubectl reads YAML 1.1 with `sigs.k8s.io/yaml` and sends JSON: `on` and `y` are true, `010` is eight, `1.0` is sent
//! as `1`, and a date stays a string.

use serde_json::{Number, Value};

/// The scalar is NaN or infinite, which JSON cannot express.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotFinite;

/// Returns the value of an unquoted scalar.
pub(super) fn resolve(text: &str) -> Result<Value, NotFinite> {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Ok(Value::Null),
        ".nan" | ".NaN" | ".NAN" | ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF"
        | "-.inf" | "-.Inf" | "-.INF" => {
            return Err(NotFinite);
        }
        _ => {}
    }
    let number = || match text.as_bytes()[0] {
        b'0'..=b'9' | b'+' | b'-' => integer_or_float(&text.replace('_', "")),
        b'.' if separates_digits(text) => float(&text.replace('_', "")),
        _ => None,
    };
    Ok(boolean(text)
        .map(Value::Bool)
        .or_else(number)
        .unwrap_or_else(|| Value::String(text.to_owned())))
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" | "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            Some(true)
        }
        "false" | "False" | "FALSE" | "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            Some(false)
        }
        _ => None,
    }
}

fn integer_or_float(plain: &str) -> Option<Value> {
    integer(plain).or_else(|| float(plain))
}

/// Parses an integer as Go's `strconv.ParseInt` and `ParseUint` do with base 0.
fn integer(plain: &str) -> Option<Value> {
    let (negative, digits) = match plain.as_bytes().first()? {
        b'-' => (true, &plain[1..]),
        b'+' => (false, &plain[1..]),
        _ => (false, plain),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &lower[..]),
    };
    if !digits.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return None;
    }
    let size = i128::from(u64::from_str_radix(digits, radix).ok()?);
    let value = if negative { -size } else { size };
    i64::try_from(value)
        .map(Value::from)
        .or_else(|_| u64::try_from(value).map(Value::from))
        .ok()
}

/// `[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?`
fn float(plain: &str) -> Option<Value> {
    let unsigned = plain.strip_prefix(['-', '+']).unwrap_or(plain);
    let form = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'.' | b'e' | b'E' | b'-' | b'+');
    if unsigned.starts_with(['e', 'E', '-', '+']) || !unsigned.bytes().all(form) || unsigned == "."
    {
        return None;
    }
    number(plain.parse().ok()?)
}

/// Returns whether each `_` is between two digits, as in Go's literals.
fn separates_digits(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    parts
        .windows(2)
        .all(|pair| digit(pair[0].bytes().last()) && digit(pair[1].bytes().next()))
}

/// Returns a float as kubectl sends it: one without a fraction becomes an integer.
pub(super) fn number(float: f64) -> Option<Value> {
    /// Below this value Go writes floats without an exponent, and every float without a fraction fits into an `i64`.
    const WHOLE: f64 = 9.2e18;
    #[allow(
        clippy::cast_possible_truncation,
        reason = "whole and within the bounds of i64"
    )]
    if float.fract() == 0.0 && float.abs() < WHOLE {
        return Some(Value::from(float as i64));
    }
    Number::from_f64(float).map(Value::Number)
}

/// Returns a hint if kubectl reads an unquoted scalar in an unexpected way.
pub fn surprise(source: &str) -> Option<String> {
    let source = source.trim();
    if let Some(value) = boolean(source) {
        let plain = matches!(source, "true" | "false");
        return (!plain).then(|| {
            format!(
                "kubectl reads unquoted {source} as {value}: put it in quotes if you mean a string"
            )
        });
    }
    let Ok(Value::Number(number)) = resolve(source) else {
        return None;
    };
    let written = number.to_string();
    (written != source).then(|| format!("kubectl reads unquoted {source} as the number {written}: put it in quotes if you mean a string"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The expected values are those of `yaml.YAMLToJSON` of `sigs.k8s.io/yaml` 1.6.
    #[test]
    fn scalars_are_resolved_as_in_kubectl() {
        for (text, expected) in [
            ("", json!(null)),
            ("~", json!(null)),
            ("Null", json!(null)),
            ("on", json!(true)),
            ("Y", json!(true)),
            ("No", json!(false)),
            ("OFF", json!(false)),
            ("oN", json!("oN")),
            ("5", json!(5)),
            ("+5", json!(5)),
            ("-5", json!(-5)),
            ("010", json!(8)),
            ("08", json!(8)),
            ("0o17", json!(15)),
            ("0x1F", json!(31)),
            ("0b101", json!(5)),
            ("1_000", json!(1000)),
            (
                "18446744073709551615",
                json!(18_446_744_073_709_551_615_u64),
            ),
            ("1.0", json!(1)),
            ("1e3", json!(1000)),
            ("1.5", json!(1.5)),
            (".5", json!(0.5)),
            ("1.", json!(1)),
            ("1e999", json!("1e999")),
            ("-", json!("-")),
            (".", json!(".")),
            ("+", json!("+")),
            ("--1", json!("--1")),
            ("0x", json!("0x")),
            ("0x-5", json!("0x-5")),
            ("1h30m", json!("1h30m")),
            ("2027-01-31", json!("2027-01-31")),
            ("2027-01-31T12:00:00Z", json!("2027-01-31T12:00:00Z")),
            ("12:30:45", json!("12:30:45")),
            ("1.2.3", json!("1.2.3")),
            ("infinity", json!("infinity")),
            ("nan", json!("nan")),
            ("0O17", json!(15)),
            ("-0x1F", json!(-31)),
            ("-0b11", json!(-3)),
            ("0b2", json!("0b2")),
            ("0_7", json!(7)),
            ("1__0", json!(10)),
            ("_1", json!("_1")),
            ("1_0.5", json!(10.5)),
            (".1_0", json!(0.1)),
            ("._5", json!("._5")),
            ("-.5", json!(-0.5)),
            ("+.5", json!(0.5)),
            ("-0", json!(0)),
            ("1e+3", json!(1000)),
            ("e3", json!("e3")),
            ("tRue", json!("tRue")),
            ("=", json!("=")),
            ("<<", json!("<<")),
            ("-9223372036854775808", json!(i64::MIN)),
            ("9223372036854775808", json!(9_223_372_036_854_775_808_u64)),
            ("team:read", json!("team:read")),
        ] {
            assert_eq!(resolve(text), Ok(expected), "{text}");
        }
        assert_eq!(resolve(".inf"), Err(NotFinite));
    }

    #[test]
    fn only_unexpected_readings_are_surprises() {
        for plain in ["true", "5", "a", "'on'", "\"010\"", "1.5", "null", "720h"] {
            assert_eq!(surprise(plain), None, "{plain}");
        }
        assert_eq!(
            surprise("on").unwrap(),
            "kubectl reads unquoted on as true: put it in quotes if you mean a string"
        );
        assert_eq!(
            surprise("010").unwrap(),
            "kubectl reads unquoted 010 as the number 8: put it in quotes if you mean a string"
        );
    }
}
