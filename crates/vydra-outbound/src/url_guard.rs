//! Which addresses a URL that a caller named may lead to: pure decisions, no network.
//!
//! Layers 1 and 2 of the guard (the shape of the URL, a literal host) are [`UrlGuard::check_url`]; the test of every
//! address that a name resolves to is [`UrlGuard::check_address`]. [`crate::fetch`] applies both to every hop.
//!
//! The commonest change here is one more reserved range: add it to the table and a row to its test.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use url::{Host, Url};

/// As long as a URL may be.
pub const MAX_LENGTH: usize = 2_048;
/// As long as a name in the DNS can be.
const MAX_HOST_LENGTH: usize = 253;

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix)
}

const fn v6(a: u16, b: u16, c: u16, prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0), prefix)
}

const FORBIDDEN_V4: [Ipv4Net; 18] = [
    v4(0, 0, 0, 0, 8),        // this host
    v4(10, 0, 0, 0, 8),       // private
    v4(100, 64, 0, 0, 10),    // carrier-grade NAT, and one cloud's metadata
    v4(127, 0, 0, 0, 8),      // loopback
    v4(168, 63, 129, 16, 32), // one cloud's metadata, at a public address
    v4(169, 254, 0, 0, 16),   // link-local: most clouds' metadata
    v4(172, 16, 0, 0, 12),    // private
    v4(192, 0, 0, 0, 24),     // protocol assignments
    v4(192, 0, 2, 0, 24),     // documentation
    v4(192, 88, 99, 0, 24),   // 6to4 relays
    v4(192, 168, 0, 0, 16),   // private
    v4(198, 18, 0, 0, 15),    // benchmarks
    v4(198, 51, 100, 0, 24),  // documentation
    v4(203, 0, 113, 0, 24),   // documentation
    v4(224, 0, 0, 0, 4),      // multicast
    v4(233, 252, 0, 0, 24),   // documentation
    v4(240, 0, 0, 0, 4),      // reserved
    v4(255, 255, 255, 255, 32),
];

/// The only part of IPv6 that is given out for use on the Internet. Outside of it are loopback, the unspecified
/// address, v4-compatible, NAT64, discard, segment routing, unique local, link-local, site-local and multicast.
const GLOBAL_V6: Ipv6Net = v6(0x2000, 0, 0, 3);

/// What is reserved inside [`GLOBAL_V6`].
const FORBIDDEN_V6: [Ipv6Net; 4] = [
    v6(0x2001, 0, 0, 23),     // protocol assignments: Teredo, benchmarks, ORCHID
    v6(0x2001, 0xdb8, 0, 32), // documentation
    v6(0x2002, 0, 0, 16),     // 6to4: carries an IPv4 address
    v6(0x3fff, 0, 0, 20),     // documentation
];

/// Names of cloud metadata services: forbidden even where the operator allows their addresses.
const METADATA_HOSTS: [&str; 4] = [
    "metadata",
    "metadata.google.internal",
    "metadata.goog",
    "instance-data",
];

/// Last labels that only mean something inside somebody's network.
const LOCAL_SUFFIXES: [&str; 8] = [
    "corp",
    "home",
    "home.arpa",
    "internal",
    "lan",
    "local",
    "localdomain",
    "localhost",
];

/// A range of addresses in CIDR form: `10.0.0.0/8`, `fd00::/8`, or one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    #[error("\"{0}\" is not a network such as 10.0.0.0/8, fd00::/8 or 10.0.0.5")]
    NotANetwork(String),
    #[error("\"{given}\" has bits set behind its prefix, the network itself is {network}")]
    HostBits { given: String, network: Network },
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self(IpNet::from(ip)));
        }
        let net = text
            .parse::<IpNet>()
            .map_err(|_| NetworkError::NotANetwork(text.to_owned()))?;
        // Somebody who writes 10.0.0.5/8 meant either less or more than the whole of 10.0.0.0/8.
        if net.trunc() != net {
            return Err(NetworkError::HostBits {
                given: text.to_owned(),
                network: Self(net.trunc()),
            });
        }
        Ok(Self(net))
    }
}

/// Why a URL is refused. The texts are for the caller, and never tell what is behind the URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("this is not a complete http or https URL")]
    NotAUrl,
    #[error("only http and https URLs are read")]
    Scheme,
    #[error("a URL must not contain a user name or password")]
    UserInfo,
    #[error("only the ports 80 and 443 are read")]
    Port,
    #[error("a URL may have at most {MAX_LENGTH} characters")]
    TooLong,
    #[error("the host is not a public one")]
    ForbiddenHost,
    // The same words as above: whether it was the name or its address is nobody's business.
    #[error("the host is not a public one")]
    ForbiddenAddress,
}

/// How far a URL that passed [`UrlGuard::check_url`] may lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Any public address, and what the operator allows.
    Public,
    /// Only what the operator allows: the name is a local one or the port an unusual one.
    Allowed,
}

/// The rules for URLs that callers name.
#[derive(Debug, Clone)]
pub struct UrlGuard {
    allow: Vec<Network>,
    forbid: Vec<Network>,
    ports: Vec<u16>,
}

impl UrlGuard {
    /// Public addresses on the ports 80 and 443, and `allow` on any port.
    pub fn new(allow: Vec<Network>) -> Self {
        Self {
            allow,
            forbid: Vec::new(),
            ports: vec![80, 443],
        }
    }

    /// Refuses `networks` too, such as the server's own public addresses. Stronger than what is allowed.
    #[must_use]
    pub fn and_forbid(mut self, networks: Vec<Network>) -> Self {
        self.forbid.extend(networks);
        self
    }

    /// Replaces the ports that public addresses may be read on.
    #[must_use]
    pub fn with_ports(mut self, ports: Vec<u16>) -> Self {
        self.ports = ports;
        self
    }

    /// Checks the shape of a URL and, where its host is a literal address, that address.
    ///
    /// Only the URL that this returns may be requested: another parser could read another host in the same text.
    /// A host that is a name is judged when it has been resolved, by [`Self::check_address_within`].
    pub fn check_url(&self, text: &str) -> Result<Url, Refusal> {
        if text.len() > MAX_LENGTH {
            return Err(Refusal::TooLong);
        }
        check_text(text)?;
        let mut url = Url::parse(text).map_err(|_| Refusal::NotAUrl)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Refusal::Scheme);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Refusal::UserInfo);
        }
        // Percent-encoding can make it longer than the text was.
        if url.as_str().len() > MAX_LENGTH {
            return Err(Refusal::TooLong);
        }
        // No server is sent a fragment, and no log line should carry one.
        url.set_fragment(None);

        let reach = self.reach(&url);
        match url.host() {
            None => return Err(Refusal::NotAUrl),
            Some(Host::Domain(name)) => {
                check_name(name)?;
                if reach == Reach::Allowed && self.allow.is_empty() {
                    return Err(if is_local_name(name) {
                        Refusal::ForbiddenHost
                    } else {
                        Refusal::Port
                    });
                }
            }
            Some(Host::Ipv4(ip)) => self.check_literal(IpAddr::V4(ip), reach)?,
            Some(Host::Ipv6(ip)) => self.check_literal(IpAddr::V6(ip), reach)?,
        }
        Ok(url)
    }

    fn check_literal(&self, ip: IpAddr, reach: Reach) -> Result<(), Refusal> {
        self.check_address(ip)?;
        self.check_address_within(ip, reach)
            .map_err(|_| Refusal::Port)
    }

    /// How far the host and port of `url` may lead.
    pub fn reach(&self, url: &Url) -> Reach {
        let usual_port = url
            .port_or_known_default()
            .is_some_and(|port| self.ports.contains(&port));
        let local_name = url.domain().is_some_and(is_local_name);
        if usual_port && !local_name {
            Reach::Public
        } else {
            Reach::Allowed
        }
    }

    /// Passes public addresses, and those that the operator allows.
    pub fn check_address(&self, ip: IpAddr) -> Result<(), Refusal> {
        self.check_address_within(ip, Reach::Public)
    }

    /// The same, for a URL whose [`Self::reach`] is known.
    pub fn check_address_within(&self, ip: IpAddr, reach: Reach) -> Result<(), Refusal> {
        // The socket layer treats ::ffff:a.b.c.d as a.b.c.d, so that is what it is.
        let ip = ip.to_canonical();
        let listed = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        let passes = !listed(&self.forbid)
            && (listed(&self.allow) || (reach == Reach::Public && is_public(ip)));
        if passes {
            Ok(())
        } else {
            Err(Refusal::ForbiddenAddress)
        }
    }
}

/// Refuses texts that two parsers would read in two ways.
fn check_text(text: &str) -> Result<(), Refusal> {
    // The standard says to drop tabs and newlines and to read a backslash as a slash; others do not.
    if text.chars().any(|c| c.is_control() || c == '\\') {
        return Err(Refusal::NotAUrl);
    }
    let (scheme, rest) = text.split_once(':').ok_or(Refusal::NotAUrl)?;
    let http = ["http", "https"]
        .iter()
        .any(|known| scheme.eq_ignore_ascii_case(known));
    if !http {
        let is_scheme = scheme
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
        return Err(if is_scheme && !scheme.is_empty() {
            Refusal::Scheme
        } else {
            Refusal::NotAUrl
        });
    }
    // The standard takes any number of slashes, even none.
    match rest.strip_prefix("//") {
        Some(rest) if !rest.starts_with('/') => Ok(()),
        _ => Err(Refusal::NotAUrl),
    }
}

/// `name` is lower-case ASCII: the parser saw to that.
fn check_name(name: &str) -> Result<(), Refusal> {
    let bare = name.strip_suffix('.').unwrap_or(name);
    if bare.len() > MAX_HOST_LENGTH {
        return Err(Refusal::NotAUrl);
    }
    let plain = bare.split('.').all(|label| {
        !label.is_empty()
            && label.len() <= 63
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    });
    if !plain {
        return Err(Refusal::NotAUrl);
    }
    if METADATA_HOSTS.contains(&bare) {
        return Err(Refusal::ForbiddenHost);
    }
    Ok(())
}

/// Names without a dot (which resolvers complete with the domain of the machine) and under a local suffix.
fn is_local_name(name: &str) -> bool {
    let bare = name.strip_suffix('.').unwrap_or(name);
    !bare.contains('.')
        || LOCAL_SUFFIXES.iter().any(|suffix| {
            bare.strip_suffix(suffix)
                .is_some_and(|rest| rest.ends_with('.'))
        })
}

fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !FORBIDDEN_V4.iter().any(|net| net.contains(&ip)),
        IpAddr::V6(ip) => {
            GLOBAL_V6.contains(&ip)
                && !FORBIDDEN_V6.iter().any(|net| net.contains(&ip))
                && !is_isatap(ip)
        }
    }
}

/// An interface id of 0:5efe or 200:5efe carries an IPv4 address to tunnel to, under any prefix.
fn is_isatap(ip: Ipv6Addr) -> bool {
    let [_, _, _, _, high, low, _, _] = ip.segments();
    low == 0x5efe && high & !0x0200 == 0
}

#[cfg(test)]
mod tests;
