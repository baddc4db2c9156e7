//! The value of an `Authorization` header: a scheme and credentials (RFC 9110 section 11.4).

/// Returns the credentials of a header value with this scheme; `None` for another scheme. Letter case does not count.
pub(super) fn credentials<'h>(header: &'h [u8], scheme: &str) -> Option<&'h [u8]> {
    let cut = header.iter().position(|byte| *byte == b' ');
    let (found, rest) = header.split_at(cut.unwrap_or(header.len()));
    found
        .eq_ignore_ascii_case(scheme.as_bytes())
        .then(|| rest.trim_ascii())
}
