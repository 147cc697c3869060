//! Whose request it is: the address of the connection, or, behind proxies that the operator trusts, the one that they
//! say stood before them. `X-Forwarded-For` is read from its end, where the nearest proxy wrote; what stands before
//! the first address that is no proxy of ours could have been written by anybody.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;
use ipnet::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// What `SLIPWAY_TRUSTED_PROXIES` names: comma-separated networks (`10.0.0.0/8`) and addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

/// An entry of `SLIPWAY_TRUSTED_PROXIES` that is neither a network nor an address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a network (10.0.0.0/8) nor an address (192.0.2.7)")]
pub struct BadTrustedProxies(String);

impl FromStr for TrustedProxies {
    type Err = BadTrustedProxies;

    fn from_str(text: &str) -> Result<Self, BadTrustedProxies> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        let net = |entry: &str| {
            let net = entry.parse::<IpNet>().or_else(|_| entry.parse::<IpAddr>().map(IpNet::from));
            net.map_err(|_| BadTrustedProxies(entry.chars().take(200).collect()))
        };
        Ok(Self(entries.map(net).collect::<Result<_, _>>()?))
    }
}

impl TrustedProxies {
    /// Who asks, `peer` being the other end of the connection.
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.to_canonical();
        let lines: Vec<&str> = headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("")).collect();
        for hop in lines.iter().rev().flat_map(|line| line.rsplit(',')) {
            if !self.trusts(client) {
                break;
            }
            // A proxy of ours that writes no address hides who asks; it is the last one that is known.
            let Some(before) = address(hop.trim()) else { break };
            client = before;
        }
        client
    }

    fn trusts(&self, address: IpAddr) -> bool {
        self.0.iter().any(|net| net.contains(&address))
    }
}

/// The part of an address that a limit is kept for: of IPv6 the first 64 bits, for one customer has as many
/// addresses behind them as it likes.
pub fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => IpAddr::V6(Ipv6Addr::from(u128::from(ip) & !u128::from(u64::MAX))),
    }
}

/// An address as proxies write it, some with its port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let parsed = bare.parse::<IpAddr>().or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()));
    parsed.ok().map(|ip| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn client(trusted: &str, peer: &str, lines: &[&str]) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, HeaderValue::from_str(line).expect("a header"));
        }
        let trusted: TrustedProxies = trusted.parse().expect("valid");
        trusted.client(peer.parse().expect("an address"), &headers).to_string()
    }

    #[test]
    fn the_client_is_the_last_address_that_is_no_proxy_of_ours() {
        let ours = "10.0.0.0/8, 192.0.2.7,fd00::/8";
        for (trusted, peer, lines, expected) in [
            ("", "198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            (ours, "198.51.100.1", &["203.0.113.9"], "198.51.100.1"),
            (ours, "10.1.1.1", &["203.0.113.9"], "203.0.113.9"),
            (ours, "10.1.1.1", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            (ours, "10.1.1.1", &["1.1.1.1, 203.0.113.9 , 192.0.2.7,10.2.2.2"], "203.0.113.9"),
            (ours, "10.1.1.1", &["1.1.1.1", "203.0.113.9", "10.2.2.2"], "203.0.113.9"),
            (ours, "10.1.1.1", &[], "10.1.1.1"),
            (ours, "10.1.1.1", &["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            (ours, "10.1.1.1", &["203.0.113.9, unknown"], "10.1.1.1"),
            (ours, "10.1.1.1", &["203.0.113.9, unknown, 10.2.2.2"], "10.2.2.2"),
            (ours, "10.1.1.1", &["203.0.113.9,"], "10.1.1.1"),
            (ours, "10.1.1.1", &["203.0.113.9:4711"], "203.0.113.9"),
            (ours, "10.1.1.1", &["[2001:db8::1]:4711"], "2001:db8::1"),
            (ours, "fd00::1", &["2001:db8::1"], "2001:db8::1"),
            (ours, "::ffff:10.1.1.1", &["::ffff:203.0.113.9"], "203.0.113.9"),
        ] {
            assert_eq!(client(trusted, peer, lines), expected, "{trusted:?} {peer} {lines:?}");
        }
    }

    #[test]
    fn a_wrong_entry_is_named() {
        let error = "10.0.0.0/8,proxy.local".parse::<TrustedProxies>().expect_err("a name").to_string();
        assert!(error.contains("\"proxy.local\""), "{error}");
        assert_eq!(" , ".parse(), Ok(TrustedProxies::default()));
    }

    #[test]
    fn neighbours_share_the_first_half_of_an_address() {
        let of = |text: &str| neighbourhood(text.parse().expect("an address")).to_string();
        assert_eq!([of("192.0.2.7"), of("2001:db8:1:2:3:4:5:6")], ["192.0.2.7", "2001:db8:1:2::"]);
    }
}
