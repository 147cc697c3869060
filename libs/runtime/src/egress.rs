//! The guard in front of every host that a tenant chose: forges, registries, token realms, git, webhooks.
//! A URL is checked (scheme, user info, every address that its name resolves to), the addresses are
//! pinned, and only a client that uses the pinned addresses and follows no redirects talks to it.
//! The rule is "public addresses over https or ssh"; `SLIPWAY_FETCH_ALLOW` adds exceptions to it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ipnet::IpNet;
use url::{Host, Url};

use crate::trust::Trust;

#[cfg(test)]
mod tests;

/// A name that does not resolve within this time does not resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest wait for a connection, TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest silence in the middle of an answer.
const READ_TIMEOUT: Duration = Duration::from_secs(20);
/// Longest request as a whole, unless the caller sets another limit on the request.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(60);

/// IPv4 ranges that are not the public internet, by the IANA special-purpose registry, and addresses at
/// which clouds serve metadata or control to their machines although they look public.
const CLOSED_V4: &[(Ipv4Addr, u8)] = &[
    (Ipv4Addr::new(0, 0, 0, 0), 8),
    (Ipv4Addr::new(10, 0, 0, 0), 8),
    (Ipv4Addr::new(100, 64, 0, 0), 10),
    (Ipv4Addr::new(127, 0, 0, 0), 8),
    (Ipv4Addr::new(168, 63, 129, 16), 32),
    (Ipv4Addr::new(169, 254, 0, 0), 16),
    (Ipv4Addr::new(172, 16, 0, 0), 12),
    (Ipv4Addr::new(192, 0, 0, 0), 24),
    (Ipv4Addr::new(192, 0, 2, 0), 24),
    (Ipv4Addr::new(192, 88, 99, 0), 24),
    (Ipv4Addr::new(192, 168, 0, 0), 16),
    (Ipv4Addr::new(198, 18, 0, 0), 15),
    (Ipv4Addr::new(198, 51, 100, 0), 24),
    (Ipv4Addr::new(203, 0, 113, 0), 24),
    (Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Parts of the global unicast range `2000::/3` that are not hosts of the public internet. What lies
/// outside `2000::/3` is closed anyway.
const CLOSED_V6: &[(Ipv6Addr, u8)] = &[
    (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
    (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
    (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
    (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
];

/// What `SLIPWAY_FETCH_ALLOW` opens: comma-separated networks (`10.0.0.0/8`), addresses and host names,
/// the latter two with an optional port (`registry.local:5000`, `[::1]:3000`). Empty opens nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchAllow {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rule {
    Net { net: IpNet, port: Option<u16> },
    Name { name: String, port: Option<u16> },
}

/// An entry of `SLIPWAY_FETCH_ALLOW` that is neither a network nor a host.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is neither a network (10.0.0.0/8) nor a host (git.example.org, 10.1.2.3:5000)")]
pub struct BadFetchAllow(String);

/// Why a URL may not be contacted, or cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// Neither https nor ssh.
    #[error("the address of {host} uses {scheme}; only https and ssh are allowed")]
    Scheme {
        /// The URL's scheme.
        scheme: String,
        /// The URL's host, or a word for its absence.
        host: String,
    },
    /// Plain http to a host that nothing allows it for.
    #[error("{host} is addressed over plain http, which SLIPWAY_FETCH_ALLOW does not cover; use https")]
    PlainHttp {
        /// The host.
        host: String,
    },
    /// There is no host in it.
    #[error("the address names no host")]
    NoHost,
    /// A user name or password stands in the URL.
    #[error("the address of {host} carries a user name or password; store them as a credential instead")]
    UserInfo {
        /// The host.
        host: String,
    },
    /// An address of the host is not public and not covered.
    #[error("{host} has the address {addr}, which is not public and not covered by SLIPWAY_FETCH_ALLOW")]
    Forbidden {
        /// The host.
        host: String,
        /// The first address that is refused.
        addr: IpAddr,
    },
    /// The name does not resolve.
    #[error("{host} does not resolve: {reason}")]
    Resolve {
        /// The host.
        host: String,
        /// The resolver's words.
        reason: String,
    },
    /// No HTTP client could be made.
    #[error("no HTTP client for {host}: {reason}")]
    Client {
        /// The host.
        host: String,
        /// What is wrong, such as missing root certificates.
        reason: String,
    },
}

impl EgressError {
    /// True when policy said no; false when the host could not be found or spoken to, which may pass.
    pub fn is_refusal(&self) -> bool {
        match self {
            Self::Scheme { .. }
            | Self::PlainHttp { .. }
            | Self::NoHost
            | Self::UserInfo { .. }
            | Self::Forbidden { .. } => true,
            Self::Resolve { .. } | Self::Client { .. } => false,
        }
    }
}

/// A URL that may be contacted, with the addresses that were checked. Only these may be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CheckedHost {
    /// The URL as it was checked.
    pub url: Url,
    /// Every address of its host, with the port. Never empty.
    pub addrs: Vec<SocketAddr>,
}

impl CheckedHost {
    /// The host as it stands in the URL; IPv6 in brackets.
    pub fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    /// The port, the scheme's default included.
    pub fn port(&self) -> u16 {
        self.addrs.first().map_or(0, SocketAddr::port)
    }
}

/// The guard. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Egress {
    allow: Arc<FetchAllow>,
    trust: Trust,
}

impl Egress {
    /// A guard with the operator's exceptions.
    pub fn new(allow: FetchAllow) -> Self {
        Self { allow: Arc::new(allow), trust: Trust::default() }
    }

    /// The same guard, believing these authorities beside the system's.
    pub fn trusting(self, trust: Trust) -> Self {
        Self { trust, ..self }
    }

    /// Whom its clients believe.
    pub fn trust(&self) -> &Trust {
        &self.trust
    }

    /// Decides whether a URL may be contacted: resolves its host and checks every address.
    pub async fn check(&self, url: &Url) -> Result<CheckedHost, EgressError> {
        let (host, port) = target(url)?;
        let addrs = match &host {
            Host::Ipv4(ip) => vec![SocketAddr::new(IpAddr::V4(*ip), port)],
            Host::Ipv6(ip) => vec![SocketAddr::new(IpAddr::V6(*ip), port)],
            Host::Domain(name) => resolve(name, port).await?,
        };
        judge(&self.allow, url, &host, &addrs)?;
        Ok(CheckedHost { url: url.clone(), addrs })
    }

    /// A client for exactly this host: pinned addresses, no redirects, no proxy (it would resolve again),
    /// timeouts, rustls. Keep it for as long as the checked host is in use; it pools connections.
    pub fn client(&self, checked: &CheckedHost) -> Result<reqwest::Client, EgressError> {
        let builder = reqwest::Client::builder()
            .resolve_to_addrs(checked.host(), &checked.addrs)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_TIMEOUT)
            .read_timeout(READ_TIMEOUT)
            .timeout(TOTAL_TIMEOUT)
            .user_agent(concat!("slipway/", env!("CARGO_PKG_VERSION")));
        self.trust
            .client(builder)
            .and_then(reqwest::ClientBuilder::build)
            .map_err(|error| EgressError::Client { host: checked.host().to_owned(), reason: error.to_string() })
    }

    /// [`Egress::check`] and [`Egress::client`] in one.
    pub async fn open(&self, url: &Url) -> Result<reqwest::Client, EgressError> {
        self.client(&self.check(url).await?)
    }
}

/// An answer that is longer than the caller can use, or that broke off.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is longer than the limit, in bytes.
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    /// The connection failed in the middle of it.
    #[error("the answer broke off: {0}")]
    Broken(#[from] reqwest::Error),
}

/// Reads an answer's body, but never more than `max_bytes` of it: what strangers send has no length.
pub async fn read_at_most(mut response: reqwest::Response, max_bytes: usize) -> Result<Bytes, BodyError> {
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Err(BodyError::TooLong(max_bytes));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

impl FetchAllow {
    /// True if an exception covers this address of this host at this port.
    fn covers(&self, name: Option<&str>, addr: SocketAddr) -> bool {
        let ip = addr.ip().to_canonical();
        self.rules.iter().any(|rule| match rule {
            Rule::Net { net, port } => net.contains(&ip) && port.is_none_or(|port| port == addr.port()),
            Rule::Name { name: allowed, port } => {
                name == Some(allowed.as_str()) && port.is_none_or(|port| port == addr.port())
            }
        })
    }
}

impl FromStr for FetchAllow {
    type Err = BadFetchAllow;

    fn from_str(text: &str) -> Result<Self, BadFetchAllow> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        Ok(Self { rules: entries.map(parse_rule).collect::<Result<_, _>>()? })
    }
}

fn parse_rule(entry: &str) -> Result<Rule, BadFetchAllow> {
    if let Ok(net) = entry.parse::<IpNet>() {
        return Ok(Rule::Net { net, port: None });
    }
    if let Ok(ip) = entry.parse::<IpAddr>() {
        return Ok(Rule::Net { net: IpNet::from(ip.to_canonical()), port: None });
    }
    let bad = || BadFetchAllow(entry.chars().take(200).collect());
    let (host, port) = match entry.rsplit_once(':') {
        Some((host, port)) => (host, Some(port.parse::<u16>().map_err(|_| bad())?)),
        None => (entry, None),
    };
    match Host::parse(host).map_err(|_| bad())? {
        Host::Ipv4(ip) => Ok(Rule::Net { net: IpNet::from(IpAddr::V4(ip)), port }),
        Host::Ipv6(ip) => Ok(Rule::Net { net: IpNet::from(IpAddr::V6(ip).to_canonical()), port }),
        Host::Domain(name) if is_host_name(&name) => Ok(Rule::Name { name: without_dot(&name), port }),
        Host::Domain(_) => Err(bad()),
    }
}

fn is_host_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// The host that a URL really means, and its port. Schemes other than http and https leave the host as
/// it was written, so it is parsed again: `ssh://0x7f000001/` is a loopback address too.
fn target(url: &Url) -> Result<(Host<String>, u16), EgressError> {
    let text = url.host_str().filter(|text| !text.is_empty()).ok_or(EgressError::NoHost)?;
    let host = Host::parse(text).map_err(|_| EgressError::NoHost)?;
    let (default_port, user_allowed) = match url.scheme() {
        "https" => (443, false),
        "http" => (80, false),
        // An ssh user name is part of the address (git@…), not a credential.
        "ssh" => (22, true),
        scheme => return Err(EgressError::Scheme { scheme: scheme.to_owned(), host: text.to_owned() }),
    };
    if url.password().is_some() || (!user_allowed && !url.username().is_empty()) {
        return Err(EgressError::UserInfo { host: text.to_owned() });
    }
    Ok((host, url.port().unwrap_or(default_port)))
}

async fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, EgressError> {
    let failed = |reason: String| EgressError::Resolve { host: name.to_owned(), reason };
    let addrs = tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((name, port)))
        .await
        .map_err(|_| failed(format!("no answer within {} s", RESOLVE_TIMEOUT.as_secs())))?
        .map_err(|error| failed(error.to_string()))?;
    let addrs: Vec<SocketAddr> = addrs.collect();
    if addrs.is_empty() { Err(failed("it has no address".to_owned())) } else { Ok(addrs) }
}

/// The rule itself, over what the name resolved to. One closed address closes the host: a name with a
/// public and a private address is how names are turned against us.
fn judge(allow: &FetchAllow, url: &Url, host: &Host<String>, addrs: &[SocketAddr]) -> Result<(), EgressError> {
    let name = match host {
        Host::Domain(name) => Some(without_dot(name)),
        Host::Ipv4(_) | Host::Ipv6(_) => None,
    };
    let covered = |addr: &SocketAddr| allow.covers(name.as_deref(), *addr);
    if let Some(addr) = addrs.iter().find(|addr| !is_public(addr.ip()) && !covered(addr)) {
        return Err(EgressError::Forbidden { host: host.to_string(), addr: addr.ip() });
    }
    if url.scheme() == "http" && !addrs.iter().all(covered) {
        return Err(EgressError::PlainHttp { host: host.to_string() });
    }
    Ok(())
}

fn without_dot(name: &str) -> String {
    name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase()
}

/// True for an address on the public internet. An IPv4 address inside an IPv6 one (mapped, NAT64) is
/// judged as the IPv4 address that it reaches.
fn is_public(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !CLOSED_V4.iter().any(|(net, bits)| {
            let mask = u32::MAX.checked_shl(32 - u32::from(*bits)).unwrap_or(0);
            u32::from(ip) & mask == u32::from(*net)
        }),
        IpAddr::V6(ip) => {
            if let [0x64, 0xff9b, 0, 0, 0, 0, high, low] = ip.segments() {
                return is_public(IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))));
            }
            let global_unicast = ip.segments()[0] & 0xe000 == 0x2000;
            global_unicast
                && !CLOSED_V6.iter().any(|(net, bits)| {
                    let mask = u128::MAX.checked_shl(128 - u32::from(*bits)).unwrap_or(0);
                    u128::from(ip) & mask == u128::from(*net)
                })
        }
    }
}
