//! Where a request comes from. What a stranger writes into a header is not believed; a proxy of ours is.

use axum::extract::ConnectInfo;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName};
use std::net::{IpAddr, SocketAddr};
use vydra_engine::LimitSettings;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// None where there is no connection to ask.
pub(crate) fn of(parts: &Parts, settings: &LimitSettings) -> Option<IpAddr> {
    let ConnectInfo(peer) = parts.extensions.get::<ConnectInfo<SocketAddr>>()?;
    Some(behind(peer.ip(), &parts.headers, settings))
}

/// The nearest address that is no proxy of ours: each proxy adds on the right whom it was called by, and what stands
/// further left may be made up.
fn behind(peer: IpAddr, headers: &HeaderMap, settings: &LimitSettings) -> IpAddr {
    let mut nearest = peer.to_canonical();
    let lines: Vec<_> = headers.get_all(FORWARDED_FOR).iter().collect();
    let entries = lines
        .iter()
        .rev()
        // A line that is no text is one bad entry.
        .flat_map(|line| line.to_str().unwrap_or_default().rsplit(','));
    for entry in entries {
        if !settings.trusts(nearest) {
            break;
        }
        let Some(address) = parse(entry.trim()) else {
            break;
        };
        nearest = address.to_canonical();
    }
    nearest
}

/// An address alone or with a port, as some proxies write it.
fn parse(entry: &str) -> Option<IpAddr> {
    let bare = entry
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    match bare {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => entry
            .parse::<IpAddr>()
            .or_else(|_| entry.parse::<SocketAddr>().map(|socket| socket.ip()))
            .ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    const CALLER: &str = "203.0.113.7";

    #[test]
    fn the_nearest_address_that_is_no_proxy_of_ours() {
        let settings = LimitSettings {
            unauthenticated_per_minute: 60,
            trusted_proxies: ["10.0.0.0/8", "fd00::/8"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        };
        for (peer, lines, expected) in [
            // Nobody's word is taken but a proxy's.
            (CALLER, &[][..], CALLER),
            (CALLER, &["198.51.100.1"], CALLER),
            ("::ffff:203.0.113.7", &["198.51.100.1"], CALLER),
            ("10.0.0.1", &[], "10.0.0.1"),
            ("10.0.0.1", &[CALLER], CALLER),
            ("::ffff:10.0.0.1", &[CALLER], CALLER),
            ("fd00::1", &[CALLER], CALLER),
            // From the right, through all proxies, and no further.
            ("10.0.0.1", &["198.51.100.1, 203.0.113.7"], CALLER),
            ("10.0.0.1", &["198.51.100.1,203.0.113.7 , 10.0.0.2"], CALLER),
            (
                "10.0.0.1",
                &["198.51.100.1", "203.0.113.7", "10.0.0.2"],
                CALLER,
            ),
            ("10.0.0.1", &["203.0.113.7, 10.0.0.3", "10.0.0.2"], CALLER),
            ("10.0.0.1", &["10.0.0.3, 10.0.0.2"], "10.0.0.3"),
            // As proxies write it.
            ("10.0.0.1", &["203.0.113.7:4711"], CALLER),
            ("10.0.0.1", &["::ffff:203.0.113.7"], CALLER),
            ("10.0.0.1", &["[::ffff:203.0.113.7]:4711"], CALLER),
            ("10.0.0.1", &["2001:db8::7"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]"], "2001:db8::7"),
            ("10.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7"),
            // What is no address ends the walk at whom we know.
            ("10.0.0.1", &["203.0.113.7, unknown"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, nonsense, 10.0.0.2"], "10.0.0.2"),
            ("10.0.0.1", &["203.0.113.7,"], "10.0.0.1"),
            ("10.0.0.1", &[""], "10.0.0.1"),
            (
                "10.0.0.1",
                &["203.0.113.7, 10.0.0.2, [10.0.0.3]"],
                "10.0.0.1",
            ),
            ("10.0.0.1", &["203.0.113.7, 1.2.3.4.5"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.7, \u{e4}"], "10.0.0.1"),
        ] {
            let mut headers = HeaderMap::new();
            for line in lines {
                let line = HeaderValue::from_bytes(line.as_bytes()).unwrap();
                headers.append(FORWARDED_FOR, line);
            }
            let found = behind(peer.parse().unwrap(), &headers, &settings);
            assert_eq!(
                found,
                expected.parse::<IpAddr>().unwrap(),
                "{peer} {lines:?}"
            );
        }
    }
}
