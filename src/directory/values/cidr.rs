//! A range of addresses (RFC 4632, RFC 4291), parsed as CEL's `isCIDR` parses it.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// An address and a prefix length: `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr(IpNet);

/// A text that is not a [`Cidr`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a CIDR such as 10.0.0.0/8 or fd00::/8")]
pub struct NoCidr;

impl FromStr for Cidr {
    type Err = NoCidr;

    fn from_str(text: &str) -> Result<Self, NoCidr> {
        let (address, length) = text.split_once('/').ok_or(NoCidr)?;
        // The standard library refuses leading zeros, which some programs read as octal. `IpNet::from_str` accepts
        // them.
        let address: IpAddr = address.parse().map_err(|_| NoCidr)?;
        let range = IpNet::new(address, length.parse().map_err(|_| NoCidr)?).map_err(|_| NoCidr)?;
        // An IPv4-mapped IPv6 address could be read in two ways.
        let is_mapped = matches!(address, IpAddr::V6(it) if it.to_ipv4_mapped().is_some());
        if is_mapped || length != range.prefix_len().to_string() {
            return Err(NoCidr);
        }
        Ok(Self(range))
    }
}

impl Cidr {
    /// Returns whether an address is in the range. An IPv4-mapped IPv6 address, as some sockets report it, counts as
    /// IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        self.0.contains(&address.to_canonical())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_in_the_range_of_its_prefix() {
        for (range, inside, outside) in [
            ("10.0.0.0/8", "10.255.1.2", "11.0.0.0"),
            ("10.1.2.3/8", "10.9.9.9", "9.1.2.3"),
            ("192.0.2.7/32", "192.0.2.7", "192.0.2.6"),
            ("192.0.2.6/31", "192.0.2.7", "192.0.2.8"),
            ("fd00::/8", "fdff::1", "fc00::1"),
            ("2001:db8::1/128", "2001:db8::1", "2001:db8::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::10.1.1.1"),
            ("0.0.0.0/0", "203.0.113.9", "::1"),
            ("::/0", "::1", "203.0.113.9"),
        ] {
            let cidr: Cidr = range.parse().unwrap();
            assert!(
                cidr.contains(inside.parse().unwrap()),
                "{inside} is in {range}"
            );
            assert!(
                !cidr.contains(outside.parse().unwrap()),
                "{outside} is not in {range}"
            );
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10.0.0.0",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/08",
            "10.0.0.0/+8",
            "10.0.0/8",
            "010.0.0.0/8",
            "fd00::/129",
            "::ffff:10.0.0.0/104",
            "example.com/8",
            "10.0.0.0/8 ",
            "fe80::1%eth0/64",
            "10.0.0.0/8/8",
        ] {
            assert_eq!(text.parse::<Cidr>(), Err(NoCidr), "{text:?}");
        }
    }
}
