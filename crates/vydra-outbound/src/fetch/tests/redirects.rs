//! Where a redirect may lead.

use super::*;

#[tokio::test]
async fn redirects_are_checked_like_the_first_url() {
    let Some(canary) = Canary::new() else { return };
    let to = canary.address();
    let (port, ip) = (to.port(), to.ip());
    let forbidden_ip = ip.to_string();
    let address = match ip {
        IpAddr::V4(v4) => v4,
        IpAddr::V6(_) => std::net::Ipv4Addr::new(127, 0, 0, 2),
    };
    let whole = u32::from(address);
    let targets = [
        format!("http://{to}/"),
        format!("//{to}/"),
        format!("http://{whole}:{port}/"),
        format!("http://0x{whole:x}:{port}/"),
        format!("http://[::ffff:{address}]:{port}/"),
        format!("http://[::{address}]:{port}/"),
        format!("http://user@{to}/"),
        format!("http://127.0.0.1@{to}/"),
        format!("http://inside.example:{port}/"),
        format!("//inside.example:{port}/"),
        format!("http://localhost:{port}/"),
        format!("http:\\\\{to}\\"),
        format!("\\\\{to}/"),
        format!("/\\{to}/"),
        format!("https://{to}/"),
        format!("gopher://{to}/_x"),
        format!("ftp://{to}/"),
        "file:///etc/hostname".to_owned(),
        "data:text/plain,x".to_owned(),
        "http://[".to_owned(),
    ];
    let fetcher = fetcher(allowing(&["127.0.0.1"]), answers(&[&[&forbidden_ip]]));
    for status in [301, 302, 303, 307, 308] {
        for target in &targets {
            let server = Server::redirecting(status, target);
            let refused = fetcher.fetch(&server.url("/"), KIB).await;
            assert!(
                matches!(refused, Err(FetchError::Refused(_))),
                "{status} {target}: {refused:?}"
            );
            assert_eq!(server.count(), 1, "{target}");
        }
    }
    assert!(!canary.was_called());
}

#[tokio::test]
async fn a_few_redirects_are_followed() {
    let server = Server::start(|head, stream| {
        let path = head.split(' ').nth(1).unwrap();
        let steps: u32 = path.trim_start_matches('/').parse().unwrap();
        let answer = match steps {
            0 => ok("there"),
            _ => format!(
                "HTTP/1.1 302 Found\r\nlocation: ./{}\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n",
                steps - 1
            ),
        };
        stream.write_all(answer.as_bytes())
    });
    let fetcher = local_fetcher();
    for steps in 0..=3 {
        let bytes = fetcher.fetch(&server.url(&format!("/{steps}")), KIB).await;
        assert_eq!(bytes.unwrap().as_ref(), b"there");
    }
    let before = server.count();
    let refused = fetcher.fetch(&server.url("/4"), KIB).await;
    assert_eq!(refused, Err(FetchError::Redirects));
    assert_eq!(server.count() - before, 4);
}

#[tokio::test]
async fn a_circle_of_redirects_ends() {
    let server = Server::redirecting(307, "/again");
    let refused = local_fetcher().fetch(&server.url("/"), KIB).await;
    assert_eq!(refused, Err(FetchError::Redirects));
    assert_eq!(server.count(), 4);
}

#[test]
fn a_hop_keeps_the_rules() {
    let fetcher = local_fetcher();
    let hop = |from: &str, location: &'static str| {
        let headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
        fetcher
            .next_hop(&Url::parse(from).unwrap(), &headers)
            .map(String::from)
    };
    assert_eq!(
        hop("https://a.example/", "http://a.example/"),
        Err(FetchError::Redirects)
    );
    for location in ["/\\b.example/", "http://b.example\\@c.example/"] {
        let refused = hop("http://a.example/", location);
        assert_eq!(refused, Err(FetchError::Refused(Refusal::NotAUrl)));
    }
    for (from, location, next) in [
        ("https://a.example/x/y", "z", "https://a.example/x/z"),
        ("https://a.example/x", "//b.example/", "https://b.example/"),
        (
            "http://a.example/",
            "https://b.example/#f",
            "https://b.example/",
        ),
        (
            "http://a.example/",
            "http://b.example/",
            "http://b.example/",
        ),
    ] {
        assert_eq!(hop(from, location).as_deref(), Ok(next));
    }
    let nowhere = fetcher.next_hop(&Url::parse("http://a.example/").unwrap(), &HeaderMap::new());
    assert_eq!(nowhere, Err(FetchError::Redirects));
}
