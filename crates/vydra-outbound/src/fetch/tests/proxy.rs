//! Through the operator's proxy: every request goes there, but for what is near, and the guard stands before it.

use super::*;

/// Speaks for the whole world.
fn proxy(answer: &str) -> Server {
    Server::saying(ok(answer))
}

fn through(proxy: &Server, guard: UrlGuard, lookup: impl Lookup + 'static) -> InputFetcher {
    let address = format!("http://name:word@{}", proxy.address);
    fetcher(guard, lookup)
        .through(&address.parse().unwrap())
        .unwrap()
}

/// Knows nobody.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Lookup for Nobody {
    async fn lookup(&self, _host: &str) -> io::Result<Vec<IpAddr>> {
        Err(io::Error::from(ErrorKind::NotFound))
    }
}

#[tokio::test]
async fn what_is_public_is_read_through_the_proxy() {
    let proxy = proxy("far");
    for (url, lookup) in [
        (
            "http://files.example/a.png?b=c",
            answers(&[&["93.184.216.34"]]),
        ),
        ("http://93.184.216.34/a.png", answers(&[&[]])),
    ] {
        let fetcher = through(&proxy, allowing(&[]), lookup);
        assert_eq!(fetcher.fetch(url, 10).await.unwrap(), "far");
        let request = proxy.requests.lock().unwrap().pop().unwrap();
        assert!(
            request.starts_with(&format!("GET {url} HTTP/1.1\r\n")),
            "{request}"
        );
        // name:word
        assert!(
            request.contains("proxy-authorization: Basic bmFtZTp3b3Jk\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn https_is_a_tunnel_through_the_proxy() {
    let proxy = Server::saying("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n");
    let fetcher = through(&proxy, allowing(&[]), answers(&[&["93.184.216.34"]]));
    let answer = fetcher.fetch("https://files.example/a.png", 10).await;
    assert_eq!(answer, Err(FetchError::Unreachable));
    let request = proxy.requests.lock().unwrap().remove(0);
    assert!(
        request.starts_with("CONNECT files.example:443 HTTP/1.1\r\n"),
        "{request}"
    );
}

#[tokio::test]
async fn a_name_that_only_the_proxy_knows_is_left_to_it() {
    let proxy = proxy("far");
    let fetcher = through(&proxy, allowing(&[]), Nobody);
    let url = "http://files.example/a.png";
    fetcher.check(url).await.unwrap();
    assert_eq!(fetcher.fetch(url, 10).await.unwrap(), "far");
}

#[tokio::test]
async fn the_guard_stands_before_the_proxy() {
    let proxy = proxy("inside");
    for (url, answer) in [
        ("http://10.0.0.7/", vec![]),
        ("http://[::ffff:127.0.0.1]/", vec![]),
        ("http://names.example/", vec!["127.0.0.1"]),
        ("http://names.example/", vec!["93.184.216.34", "10.0.0.7"]),
        ("http://names.example/", vec!["169.254.169.254"]),
    ] {
        let fetcher = through(&proxy, allowing(&[]), answers(&[&answer]));
        assert_eq!(
            fetcher.fetch(url, 10).await,
            Err(FORBIDDEN),
            "{url} {answer:?}"
        );
        assert_eq!(fetcher.check(url).await, Err(FORBIDDEN), "{url} {answer:?}");
    }
    assert_eq!(proxy.count(), 0);
}

#[tokio::test]
async fn a_redirect_is_guarded_before_the_proxy_too() {
    for target in ["http://127.0.0.1/", "http://inside.example/"] {
        let proxy = Server::redirecting(302, target);
        // The second name that is asked for is that of the target.
        let lookup = answers(&[&["93.184.216.34"], &["10.0.0.7"]]);
        let fetcher = through(&proxy, allowing(&[]), lookup);
        let answer = fetcher.fetch("http://files.example/", 10).await;
        assert_eq!(answer, Err(FORBIDDEN), "{target}");
        assert_eq!(proxy.count(), 1);
    }
}

#[tokio::test]
async fn what_the_operator_allows_is_called_directly() {
    let (proxy, near) = (proxy("far"), Server::saying(ok("near")));
    let fetcher = through(&proxy, allowing(&["127.0.0.1"]), answers(&[&["127.0.0.1"]]));
    let names = format!("http://files.example:{}/", near.address.port());
    for url in [near.url("/"), names] {
        assert_eq!(fetcher.fetch(&url, 10).await.unwrap(), "near", "{url}");
    }
    assert_eq!(proxy.count(), 0);
}

#[tokio::test]
async fn a_proxy_that_does_not_let_through_is_told_as_an_address_that_cannot_be_reached() {
    let refusing =
        Server::saying("HTTP/1.1 407 Request Rejected by Proxy\r\ncontent-length: 3\r\n\r\nno!");
    let gone = Server::saying("");
    for proxy in [refusing, gone] {
        let fetcher = through(&proxy, allowing(&[]), Nobody);
        let answer = fetcher.fetch("http://files.example/", 10).await;
        assert_eq!(answer, Err(FetchError::Unreachable));
    }
}
