//! The networks that the address of a caller belongs to, for limits. Pure.
//!
//! A customer of an IPv6 provider has a whole /64, and often a /48: it is one caller, or a site of 65,536 callers. Behind
//! one IPv4 address there may be many callers; a /24 often belongs to one customer of a hosting provider, or to one node
//! of a cluster. So no site has a small limit of its own: the sites that hold most lose first.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::shares::Caller;

/// The prefix of IPv4 addresses behind a NAT64, `64:ff9b::/96` (RFC 6052 section 2.1).
const NAT64: u128 = 0x0064_ff9b << 96;

/// Returns the address that limits apply to: the IPv4 address behind a mapped one (RFC 4291 section 2.5.5.2) or one of
/// a NAT64.
pub(super) fn address(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) if address.to_bits() >> 32 == NAT64 >> 32 => {
            let [.., a, b, c, d] = address.octets();
            Ipv4Addr::new(a, b, c, d).into()
        }
        other => other,
    }
}

/// Returns the network that counts as one caller: the IPv4 address or the IPv6 /64.
pub(super) fn network(peer: IpAddr) -> IpAddr {
    match address(peer) {
        IpAddr::V6(address) => first_bits(address, 64),
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// Returns the site of a caller: the IPv4 /24 or the IPv6 /48.
pub(super) fn site(peer: IpAddr) -> IpAddr {
    match address(peer) {
        IpAddr::V6(address) => first_bits(address, 48),
        IpAddr::V4(address) => Ipv4Addr::from_bits(address.to_bits() & !0xff).into(),
    }
}

/// Returns who a caller is, for shares.
pub(super) fn caller(peer: IpAddr) -> Caller {
    Caller {
        network: network(peer),
        site: site(peer),
    }
}

fn first_bits(address: Ipv6Addr, count: u32) -> IpAddr {
    Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> count)).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> [String; 3] {
        let peer: IpAddr = text.parse().unwrap();
        [address(peer), network(peer), site(peer)].map(|it| it.to_string())
    }

    #[test]
    fn a_caller_is_an_ipv4_address_or_an_ipv6_64_and_a_site_is_a_24_or_a_48() {
        let expected = ["192.0.2.9", "192.0.2.9", "192.0.2.0"];
        for text in ["192.0.2.9", "::ffff:192.0.2.9", "64:ff9b::192.0.2.9"] {
            assert_eq!(of(text), expected, "{text}");
        }
        let text = "2001:db8:1:2:3:4:5:6";
        assert_eq!(of(text), [text, "2001:db8:1:2::", "2001:db8:1::"]);
        let local = "64:ff9b:1::192.0.2.9";
        assert_eq!(of(local)[2], "64:ff9b:1::", "only the well-known prefix");
    }
}
