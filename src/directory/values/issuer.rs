//! Comparison of issuers. Not here: which of two Identities owns an issuer.

/// Returns an issuer in the form that all its spellings share: the host may be in any case, and the default port and
/// a trailing dot of the host may be left out (RFC 3986 section 6.2). For comparison only: tokens carry the issuer as
/// written.
pub(in crate::directory) fn canonical(issuer: &str) -> String {
    let (scheme, rest) = issuer.split_once("://").unwrap_or(("", issuer));
    let scheme = scheme.to_ascii_lowercase();
    let (authority, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let port = authority.rsplit_once(':');
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let (host, port) = match port.filter(|(_, port)| is_port(port)) {
        Some((host, port)) => (host, port.trim_start_matches('0')),
        None => (authority, ""),
    };
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    let own_port = if scheme == "https" { "443" } else { "80" };
    let port = if port == own_port { "" } else { port };
    format!("{scheme}://{host}:{port}{path}")
}
