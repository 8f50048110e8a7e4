//! Which address a request comes from, when load balancers stand between. Pure.
//!
//! Promises: what a peer says of others counts only if the operator has named that peer; of a list that grew on its way,
//! only what trusted balancers have added is believed (the rightmost address that is none of them is the client), so that
//! nobody can choose the address that limits are counted by. Does not: read `Forwarded` (RFC 7239), which neither haproxy
//! nor nginx sends unless told to.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

/// A range of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// As IPv6; IPv4 is `::ffff:0:0/96`.
    bits: u128,
    mask: u128,
}

/// The balancers that are believed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trusted(Vec<Network>);

/// Why a text is no [`Network`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoNetwork(String);

impl Trusted {
    /// These.
    pub fn new(networks: Vec<Network>) -> Self {
        Self(networks)
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether `address` is one of them.
    pub fn contains(&self, address: IpAddr) -> bool {
        let bits = bits(address);
        self.0.iter().any(|network| bits & network.mask == network.bits)
    }

    /// The client of a request that came from `peer`, whose `X-Forwarded-For` is `list`.
    pub fn client(&self, peer: IpAddr, list: Option<&str>) -> IpAddr {
        let mut client = peer.to_canonical();
        for said in list.unwrap_or_default().rsplit(',') {
            // What is no address was said by somebody who can't be believed to know one.
            let (true, Some(address)) = (self.contains(client), address(said.trim())) else { break };
            client = address;
        }
        client
    }
}

/// An address as it stands in a list: alone, or with a port.
fn address(text: &str) -> Option<IpAddr> {
    let bracketed = text.strip_prefix('[').and_then(|text| text.strip_suffix(']'));
    bracketed
        .map_or_else(|| text.parse().ok(), |text| text.parse::<Ipv6Addr>().ok().map(IpAddr::V6))
        .or_else(|| text.parse::<SocketAddr>().ok().map(|address| address.ip()))
        .map(|address: IpAddr| address.to_canonical())
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().to_bits(),
        IpAddr::V6(address) => address.to_bits(),
    }
}

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let no_network =
            || NoNetwork(format!("`{text}` is no range of addresses: write 10.0.0.0/8, 2001:db8::/32 or one address"));
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| no_network())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let length: u32 = match length {
            None => longest,
            Some(length) if length.bytes().all(|byte| byte.is_ascii_digit()) => {
                length.parse().ok().filter(|&length| length <= longest).ok_or_else(no_network)?
            }
            Some(_) => return Err(no_network()),
        };
        let mask = u128::MAX.checked_shl(longest - length).unwrap_or(0);
        let bits = bits(address);
        if bits & mask != bits {
            return Err(NoNetwork(format!("`{text}` has bits beyond its length: write the range's first address")));
        }
        Ok(Self { bits, mask })
    }
}

impl fmt::Display for NoNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(list: &[&str]) -> Trusted {
        Trusted::new(list.iter().map(|text| text.parse().unwrap()).collect())
    }

    #[test]
    fn ranges() {
        let all = trusted(&["10.0.0.0/8", "192.0.2.7", "2001:db8::/32", "::1"]);
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::1", false),
            ("::1", true),
            ("::ffff:10.1.2.3", true),
            ("::10.1.2.3", false),
        ] {
            assert_eq!(all.contains(address.parse().unwrap()), expected, "{address}");
        }
        assert!(trusted(&["0.0.0.0/0"]).contains("203.0.113.9".parse().unwrap()));
        assert!(!trusted(&["0.0.0.0/0"]).contains("2001:db8::1".parse().unwrap()));
        assert!(trusted(&["::/0"]).contains("203.0.113.9".parse().unwrap()));
        assert!(!Trusted::default().contains("127.0.0.1".parse().unwrap()));
        for bad in [
            "",
            "x",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/",
            "10.1.0.0/8",
            "10.0.0/8",
            "::/129",
            "h/8",
        ] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_rightmost_that_is_not_trusted() {
        let balancers = trusted(&["10.0.0.0/8", "::1"]);
        for (peer, list, expected) in [
            ("192.0.2.1", None, "192.0.2.1"),
            // Whoever is not trusted speaks for nobody.
            ("192.0.2.1", Some("203.0.113.9"), "192.0.2.1"),
            ("10.0.0.1", None, "10.0.0.1"),
            ("10.0.0.1", Some("203.0.113.9"), "203.0.113.9"),
            ("::ffff:10.0.0.1", Some("203.0.113.9"), "203.0.113.9"),
            // What the client has said before is nothing.
            ("10.0.0.1", Some("198.51.100.1, 203.0.113.9"), "203.0.113.9"),
            ("10.0.0.1", Some("203.0.113.9, 10.0.0.2"), "203.0.113.9"),
            ("10.0.0.1", Some("198.51.100.1,203.0.113.9 ,10.0.0.2,\t10.0.0.3"), "203.0.113.9"),
            ("10.0.0.1", Some("10.0.0.3, 10.0.0.2"), "10.0.0.3"),
            ("10.0.0.1", Some("203.0.113.9:4711"), "203.0.113.9"),
            ("::1", Some("[2001:db8::1]:443"), "2001:db8::1"),
            ("::1", Some("[2001:db8::1]"), "2001:db8::1"),
            ("::1", Some("2001:db8::1"), "2001:db8::1"),
            ("::1", Some("::ffff:203.0.113.9"), "203.0.113.9"),
            // What is no address ends the list.
            ("10.0.0.1", Some("203.0.113.9, unknown"), "10.0.0.1"),
            ("10.0.0.1", Some("203.0.113.9, unknown, 10.0.0.2"), "10.0.0.2"),
            ("10.0.0.1", Some("203.0.113.9, [10.0.0.4]"), "10.0.0.1"),
            ("10.0.0.1", Some("203.0.113.9,"), "10.0.0.1"),
            ("10.0.0.1", Some(""), "10.0.0.1"),
        ] {
            let client = balancers.client(peer.parse().unwrap(), list);
            assert_eq!(client.to_string(), expected, "{peer} {list:?}");
        }
    }
}
