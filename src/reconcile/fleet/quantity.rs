//! Quantities as Kubernetes writes them: `500m`, `1.5`, `1024Mi`, `2e3`. The API server stores each in its canonical
//! form, so the stored text may differ from the applied text. Pure.
//!
//! The grammar is that of `k8s.io/apimachinery/pkg/api/resource.Quantity`.

use serde_json::Value;

/// Whether two quantities are equal, in whatever form.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    one == other || nanos(one).is_some_and(|amount| nanos(other) == Some(amount))
}

/// Returns a quantity in billionths, the precision of the API server. Finer values are rounded up.
fn nanos(amount: &Value) -> Option<i128> {
    match amount {
        Value::Number(number) => parse(&number.to_string()),
        Value::String(text) => parse(text),
        _ => None,
    }
}

fn parse(text: &str) -> Option<i128> {
    let (is_negative, unsigned) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let is_of_number = |it: char| it.is_ascii_digit() || it == '.';
    let suffix = unsigned.trim_start_matches(is_of_number);
    let number = &unsigned[..unsigned.len() - suffix.len()];
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    if part.contains('.') || (whole.is_empty() && part.is_empty()) {
        return None;
    }
    let mantissa: i128 = format!("{whole}{part}").parse().ok()?;
    let (factor, exponent) = unit(suffix)?;
    let digits = mantissa.checked_mul(factor)?;
    let exponent = exponent.checked_sub(i32::try_from(part.len()).ok()?)? + 9;
    let power = 10_i128.checked_pow(exponent.unsigned_abs())?;
    let amount = if exponent < 0 {
        // Round away from zero.
        digits.checked_add(power - 1)? / power
    } else {
        digits.checked_mul(power)?
    };
    Some(if is_negative { -amount } else { amount })
}

/// Returns the factor of a suffix, and its power of ten.
fn unit(suffix: &str) -> Option<(i128, i32)> {
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];
    if let Some(at) = binary.iter().position(|unit| *unit == suffix) {
        return Some((1 << (10 * (at + 1)), 0));
    }
    let decimal = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
    if let Some(at) = decimal.iter().position(|unit| *unit == suffix) {
        return Some((1, i32::try_from(at).ok()? * 3 - 9));
    }
    let exponent = suffix.strip_prefix(['e', 'E'])?;
    // No quantity that fits has a larger exponent.
    let exponent: i32 = exponent.parse().ok().filter(|it| (-30..=30).contains(it))?;
    Some((1, exponent))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    #[rstest]
    #[case(json!("1024Mi"), json!("1Gi"), true)]
    #[case(json!("1000m"), json!("1"), true)]
    #[case(json!("0.5"), json!("500m"), true)]
    #[case(json!(".5"), json!("500m"), true)]
    #[case(json!(2), json!("2"), true)]
    #[case(json!("1e3"), json!("1k"), true)]
    #[case(json!("1E"), json!("1e18"), true)]
    #[case(json!("1.5Gi"), json!("1536Mi"), true)]
    #[case(json!("0.1n"), json!("1n"), true)]
    #[case(json!("-1000m"), json!("-1"), true)]
    #[case(json!("+1"), json!("1"), true)]
    #[case(json!("1G"), json!("1Gi"), false)]
    #[case(json!("1"), json!("-1"), false)]
    #[case(json!("1m"), json!("1M"), false)]
    #[case(json!("1Gb"), json!("1G"), false)]
    #[case(json!("1.2.3"), json!("1.23"), false)]
    #[case(json!(""), json!("0"), false)]
    #[case(json!("1e99"), json!("2e99"), false)]
    #[case(json!("odd"), json!("odd"), true)]
    fn amounts_are_the_same_however_they_are_written(
        #[case] one: Value,
        #[case] other: Value,
        #[case] same: bool,
    ) {
        assert_eq!(is_same(&one, &other), same);
        assert_eq!(is_same(&other, &one), same);
    }
}
