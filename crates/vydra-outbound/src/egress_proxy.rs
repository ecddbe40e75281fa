//! The operator's way out: a forward proxy, which may have rules of its own about where callers' URLs lead.

use std::fmt;
use std::str::FromStr;
use url::Url;

/// Where the proxy is, and the name and password for it. Neither is ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct EgressProxy(Url);

#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be the address of an HTTP proxy, such as http://proxy.internal:4750 or http://name:password@10.0.0.9:3128"
)]
pub struct NotAProxy;

impl FromStr for EgressProxy {
    type Err = NotAProxy;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let url = Url::parse(text).map_err(|_| NotAProxy)?;
        let is_proxy = matches!(url.scheme(), "http" | "https")
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none();
        if is_proxy {
            Ok(Self(url))
        } else {
            Err(NotAProxy)
        }
    }
}

impl EgressProxy {
    pub(crate) fn of_all_schemes(&self) -> Result<reqwest::Proxy, reqwest::Error> {
        reqwest::Proxy::all(self.0.clone())
    }
}

impl fmt::Debug for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EgressProxy(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_address_of_a_proxy_is_one() {
        for good in [
            "http://proxy.internal:4750",
            "http://10.0.0.9:3128/",
            "https://name:word@proxy.example",
        ] {
            good.parse::<EgressProxy>().unwrap();
        }
        for bad in [
            "",
            "proxy.internal:4750",
            "10.0.0.9",
            "socks5://10.0.0.9",
            "http://",
            "http://proxy.internal/path",
            "http://proxy.internal/?a",
            "http://proxy.internal/#a",
        ] {
            assert_eq!(bad.parse::<EgressProxy>(), Err(NotAProxy), "{bad}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let proxy: EgressProxy = "http://name:word@10.0.0.9".parse().unwrap();
        assert_eq!(format!("{proxy:?}"), "EgressProxy(…)");
    }
}
