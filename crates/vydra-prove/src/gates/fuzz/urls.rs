//! The guard of URLs. What passes is judged by other readers than its own: nothing that one of them takes for an address inside may
//! pass.

use anyhow::ensure;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use url::Host;
use vydra_outbound::url_guard::{MAX_LENGTH, UrlGuard};

pub(super) const WORDS: [&[u8]; 34] = [
    b"http://",
    b"https://",
    b"//",
    b"\\",
    b"@",
    b"#",
    b"?",
    b":",
    b":80",
    b":443",
    b":8080",
    b"[",
    b"]",
    b"::ffff:",
    b"64:ff9b::",
    b"2002:7f00:1::",
    b"2001:0:",
    b"::5efe:",
    b"fe80::",
    b"%25lo",
    b"%2e",
    b"%31",
    b"%00",
    b".",
    b"0x7f",
    b"0177",
    b"127.0.0.1",
    b"2130706433",
    b"169.254.169.254",
    b"localhost",
    b".internal",
    b"xn--",
    "\u{ff10}".as_bytes(),
    "\u{3002}".as_bytes(),
];

pub(super) fn check(data: &[u8]) -> anyhow::Result<()> {
    let guard = UrlGuard::new(Vec::new());
    addresses(&guard, data)?;
    let text = String::from_utf8_lossy(data);
    let Ok(url) = guard.check_url(&text) else {
        return Ok(());
    };
    ensure!(
        text.len() <= MAX_LENGTH && url.as_str().len() <= MAX_LENGTH,
        "a long one passed"
    );
    ensure!(
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.fragment().is_none()
            && matches!(url.port_or_known_default(), Some(80 | 443)),
        "{text:?} passed as {url}"
    );
    // What is requested is what was checked.
    ensure!(
        guard.check_url(url.as_str()).as_ref() == Ok(&url),
        "{url} is checked in another way a second time"
    );
    let host = match url.host() {
        Some(Host::Ipv4(ip)) => Some(IpAddr::V4(ip)),
        Some(Host::Ipv6(ip)) => Some(IpAddr::V6(ip)),
        Some(Host::Domain(name)) => address(name),
        None => None,
    };
    for ip in host.into_iter().chain(readings(&text)) {
        ensure!(!leads_inside(ip), "{text:?} passed as {url}, and is {ip}");
    }
    Ok(())
}

/// Of an answer of the DNS: the bytes themselves.
fn addresses(guard: &UrlGuard, data: &[u8]) -> anyhow::Result<()> {
    let four = data.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes));
    let sixteen = data.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes));
    let carried = four.map(|ip| ip.to_ipv6_mapped());
    let all = four
        .map(IpAddr::V4)
        .into_iter()
        .chain(sixteen.into_iter().chain(carried).map(IpAddr::V6));
    for ip in all {
        ensure!(
            guard.check_address(ip).is_err() || !leads_inside(ip),
            "the address {ip} passed"
        );
    }
    Ok(())
}

/// What other readers take for the address in the text.
fn readings(text: &str) -> Vec<IpAddr> {
    let Some((_, rest)) = text.split_once("//") else {
        return Vec::new();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let hosts = [
        authority,
        authority.rsplit('@').next().unwrap_or_default(),
        authority.split('@').next().unwrap_or_default(),
        authority.split('\\').next().unwrap_or_default(),
    ];
    hosts
        .into_iter()
        .filter_map(|host| {
            let bracketed = host
                .strip_prefix('[')
                .and_then(|host| host.split(']').next());
            address(bracketed.unwrap_or_else(|| host.split(':').next().unwrap_or_default()))
        })
        .collect()
}

fn address(host: &str) -> Option<IpAddr> {
    host.parse().ok().or_else(|| aton(host).map(IpAddr::V4))
}

/// As the C library has always read them: one to four numbers, each decimal, octal or hexadecimal, the last one for all that is left.
fn aton(host: &str) -> Option<Ipv4Addr> {
    let parts: Vec<u64> = host
        .strip_suffix('.')
        .unwrap_or(host)
        .split('.')
        .map(number)
        .collect::<Option<_>>()?;
    let (last, first) = parts.split_last()?;
    if first.len() > 3 {
        return None;
    }
    let mut whole: u64 = 0;
    for part in first {
        whole = whole << 8 | u64::from(u8::try_from(*part).ok()?);
    }
    let bits = 8 * (4 - u32::try_from(first.len()).ok()?);
    (*last < 1 << bits).then_some(())?;
    u32::try_from(whole << bits | last).ok().map(Ipv4Addr::from)
}

fn number(text: &str) -> Option<u64> {
    let lower = text.to_ascii_lowercase();
    // These take a sign.
    if lower.starts_with('+') {
        return None;
    }
    match lower.strip_prefix("0x") {
        Some(hexadecimal) => u64::from_str_radix(hexadecimal, 16).ok(),
        None if lower.len() > 1 && lower.starts_with('0') => u64::from_str_radix(&lower, 8).ok(),
        None => lower.parse().ok(),
    }
}

/// By the words of the standard library, and not by the guard's own table.
fn leads_inside(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => is_inside(ip),
        IpAddr::V6(ip) => {
            let parts = ip.segments();
            let four = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
            let low = four(parts[6], parts[7]);
            let is_carried = match (parts[0], parts[1]) {
                // v4-compatible, NAT64.
                (0, 0) | (0x64, 0xff9b) => is_inside(low),
                (0x2002, high) => is_inside(four(high, parts[2])),
                // Teredo.
                (0x2001, 0) => is_inside(Ipv4Addr::from(!low.to_bits())),
                // ISATAP.
                _ => parts[4] & !0x0200 == 0 && parts[5] == 0x5efe && is_inside(low),
            };
            is_carried
                || ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_unique_local()
                || ip.is_unicast_link_local()
                || parts[0] & 0xffc0 == 0xfec0
        }
    }
}

fn is_inside(ip: Ipv4Addr) -> bool {
    let [a, b, ..] = ip.octets();
    ip.is_private()
        || ip.is_loopback()
        || ip.is_link_local()
        || ip.is_broadcast()
        || ip.is_multicast()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || ip == Ipv4Addr::new(168, 63, 129, 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_readers_know_what_they_read() {
        for text in [
            "http://127.0.0.1/",
            "http://0x7f.1/",
            "http://2130706433",
            "http://017700000001:80/",
            "http://a@10.1/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[2002:a00:1::]/",
            "http://[fe80::1]/",
            "http://[2606:4700::5efe:127.0.0.1]/",
        ] {
            let read = readings(text);
            assert!(read.into_iter().any(leads_inside), "{text}");
        }
        for text in [
            "http://1.1.1.1/",
            "http://files.example/",
            "http://1.2.3.4.5/",
        ] {
            let read = readings(text);
            assert!(!read.into_iter().any(leads_inside), "{text}");
        }
    }
}
