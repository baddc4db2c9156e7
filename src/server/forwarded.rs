//! Who a request comes from, where proxies stand between. Pure.
//!
//! `X-Forwarded-For` is a list that each proxy appends its own peer to, so that only its right end is worth anything, and
//! that only as far as the proxies are trusted by name: the rightmost address that is none of theirs. Used for what is
//! bounded for each caller and for the audit log, never for the issuer, and never to let anybody in.

use std::net::{IpAddr, SocketAddr};

use crate::directory::Cidr;

/// The caller: the peer, or behind trusted proxies the last address that they do not vouch for themselves. `lists` are
/// the values of all `X-Forwarded-For` headers, in their order.
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
        // What a trusted proxy wrote and nobody can read ends the chain at that proxy.
        match hops.next().and_then(address) {
            Some(address) => caller = address,
            None => break,
        }
    }
    caller
}

/// An address as proxies write it, with or without a port.
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
    fn a_stranger_is_whom_the_socket_says_whatever_the_header_says() {
        for list in ["1.2.3.4", "10.0.0.9", "", "junk"] {
            assert_eq!(who("203.0.113.5", &[list]), "203.0.113.5");
        }
    }

    #[test]
    fn behind_trusted_proxies_it_is_the_rightmost_address_that_is_not_theirs() {
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
    fn what_nobody_can_read_ends_the_chain_where_it_was_written() {
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
    fn where_all_are_trusted_it_is_the_farthest() {
        assert_eq!(who(PROXY, &["10.0.0.3, 10.0.0.2"]), "10.0.0.3");
    }

    proptest! {
        #[test]
        fn what_a_caller_sends_before_a_trusted_proxy_changes_nothing(sent in "[ -~]{0,60}") {
            let list = format!("{sent}, 1.2.3.4");
            prop_assert_eq!(who(PROXY, &[&list]), "1.2.3.4");
            prop_assert_eq!(who(PROXY, &[&sent, "1.2.3.4"]), "1.2.3.4");
        }
    }
}
