//! Finds the caller of a request behind proxies. Pure.
//!
//! Each proxy appends its own peer to the list in `X-Forwarded-For`, so only the part that trusted proxies wrote, at
//! its right end, can be believed. The caller is the rightmost address that is not a trusted proxy. It is used for
//! limits per caller and for the audit log, never for the issuer, and never to grant access.

use std::net::{IpAddr, SocketAddr};

use crate::directory::Cidr;

/// Returns the caller: the peer, or behind trusted proxies the rightmost address that is not a trusted proxy. `lists`
/// are the values of all `X-Forwarded-For` headers, in their order.
pub(super) fn caller<'h>(
    peer: IpAddr,
    trusted: &[Cidr],
    lists: impl DoubleEndedIterator<Item = &'h [u8]>,
) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|range| range.contains(address));
    let mut caller = peer;
    // Nearest first.
    let mut hops = lists
        .rev()
        .flat_map(|list| list.rsplit(|byte| *byte == b','));
    while is_trusted(caller) {
        // An entry that cannot be parsed ends the chain at the trusted proxy that wrote it.
        match hops.next().and_then(address) {
            Some(address) => caller = address,
            None => break,
        }
    }
    caller
}

/// Parses an address as proxies write it, with or without a port.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok();
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let address: IpAddr = text.parse().ok().or_else(with_port).or_else(bare)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn who(peer: &str, lists: &[&str]) -> String {
        let trusted = ["10.0.0.0/8", "fd00::/8"].map(|range| range.parse().unwrap());
        let lists = lists.iter().map(|list| list.as_bytes());
        caller(peer.parse().unwrap(), &trusted, lists).to_string()
    }

    #[test]
    fn without_a_trusted_proxy_the_header_is_ignored() {
        for list in ["1.2.3.4", "10.0.0.9", "", "junk"] {
            assert_eq!(who("203.0.113.5", &[list]), "203.0.113.5");
        }
    }

    #[test]
    fn behind_trusted_proxies_the_caller_is_the_rightmost_address_that_is_not_trusted() {
        for (lists, expected) in [
            (&["1.2.3.4"][..], "1.2.3.4"),
            (&["9.9.9.9, 1.2.3.4"], "1.2.3.4"),
            (&["10.0.0.7, 1.2.3.4"], "1.2.3.4"),
            (&["9.9.9.9,1.2.3.4 , 10.0.0.2,fd00::3"], "1.2.3.4"),
            (&["9.9.9.9", "1.2.3.4, 10.0.0.2"], "1.2.3.4"),
            (&["1.2.3.4", "10.0.0.2"], "1.2.3.4"),
            (&["1.2.3.4:5678"], "1.2.3.4"),
            (&["[2001:db8::1]:5678"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["::ffff:1.2.3.4"], "1.2.3.4"),
        ] {
            assert_eq!(who(PROXY, lists), expected, "{lists:?}");
        }
        assert_eq!(who("::ffff:10.0.0.1", &["1.2.3.4"]), "1.2.3.4");
    }

    #[test]
    fn an_entry_that_cannot_be_parsed_ends_the_chain_at_its_writer() {
        for list in [
            "",
            "unknown",
            "_hidden",
            "9.9.9.9, for=1.2.3.4",
            "9.9.9.9,",
            "1.2.3.4.5",
            "1.2.3.4:99999",
        ] {
            assert_eq!(who(PROXY, &[list]), PROXY, "{list:?}");
        }
        assert_eq!(who(PROXY, &["9.9.9.9, junk, 10.0.0.2"]), "10.0.0.2");
        assert_eq!(who(PROXY, &[]), PROXY);
    }

    #[test]
    fn if_all_addresses_are_trusted_the_caller_is_the_farthest() {
        assert_eq!(who(PROXY, &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    proptest! {
        #[test]
        fn entries_before_those_of_trusted_proxies_change_nothing(sent in "[ -~]{0,60}") {
            let list = format!("{sent}, 1.2.3.4");
            prop_assert_eq!(who(PROXY, &[&list]), "1.2.3.4");
            prop_assert_eq!(who(PROXY, &[&sent, "1.2.3.4"]), "1.2.3.4");
        }
    }
}
