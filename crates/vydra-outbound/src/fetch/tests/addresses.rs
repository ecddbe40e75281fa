//! Which addresses are called, whatever a name or a literal says.

use super::*;

#[tokio::test]
async fn what_is_allowed_is_read() {
    let server = Server::saying(ok("hello"));
    let bytes = local_fetcher().fetch(&server.url("/a"), 5).await.unwrap();
    assert_eq!(bytes.as_ref(), b"hello");
    let by_name = fetcher(allowing(&["127.0.0.1"]), answers(&[&["127.0.0.1"]]));
    let url = format!("http://files.example:{}/a", server.address.port());
    assert_eq!(by_name.fetch(&url, 5).await.unwrap().as_ref(), b"hello");
    assert_eq!(server.count(), 2);
}

/// The canary can sing: otherwise the tests below would prove nothing.
#[tokio::test]
async fn a_canary_notices_a_call() {
    let Some(canary) = Canary::new() else { return };
    let limits = FetchLimits {
        total: SHORT,
        ..FetchLimits::default()
    };
    let open = allowing(&["127.0.0.0/8", "::1"]);
    let fetcher = InputFetcher::with_lookup(open, limits, NoLookup).unwrap();
    assert!(!canary.was_called());
    let url = format!("http://{}/", canary.address());
    assert_eq!(fetcher.fetch(&url, KIB).await, Err(FetchError::TimedOut));
    assert!(canary.was_called());
}

#[tokio::test]
async fn literals_are_checked_although_nobody_resolves_them() {
    let canary = Canary::watching(TcpListener::bind("127.0.0.1:0").unwrap());
    let port = canary.address().port();
    let guard = UrlGuard::new(Vec::new()).with_ports(vec![port]);
    let fetcher = fetcher(guard, NoLookup);
    for host in [
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.0.1.",
        "0",
        "\u{2460}\u{2461}\u{2466}.\u{24ea}.\u{24ea}.\u{2460}",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[::127.0.0.1]",
    ] {
        let url = format!("http://{host}:{port}/");
        assert_eq!(fetcher.fetch(&url, KIB).await, Err(FORBIDDEN), "{url}");
        assert_eq!(fetcher.check(&url).await, Err(FORBIDDEN), "{url}");
    }
    assert!(!canary.was_called());
}

#[tokio::test]
async fn one_forbidden_address_condemns_an_answer() {
    let canary = Canary::watching(TcpListener::bind("127.0.0.1:0").unwrap());
    let port = canary.address().port();
    for answer in [
        ["127.0.0.1"].as_slice(),
        &["1.1.1.1", "127.0.0.1"],
        &["127.0.0.1", "1.1.1.1"],
        &["1.1.1.1", "::1"],
        &["2606:4700::1111", "::ffff:127.0.0.1"],
        &["2606:4700::1111", "8.8.8.8", "1.1.1.1", "169.254.169.254"],
        &["0.0.0.0"],
    ] {
        let guard = UrlGuard::new(Vec::new()).with_ports(vec![port]);
        let fetcher = fetcher(guard, answers(&[answer]));
        let url = format!("http://files.example:{port}/");
        assert_eq!(fetcher.fetch(&url, KIB).await, Err(FORBIDDEN), "{answer:?}");
        assert_eq!(fetcher.check(&url).await, Err(FORBIDDEN), "{answer:?}");
    }
    assert!(!canary.was_called());
}

/// The client connects to what its own look-up gave: a name that was good a moment ago earns nothing.
#[tokio::test]
async fn a_name_that_changes_its_address_is_caught() {
    let Some(canary) = Canary::new() else { return };
    let port = canary.address().port();
    let forbidden = canary.address().ip().to_string();
    let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) else {
        println!("skipped: port {port} is taken on the first loopback address");
        return;
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            read_head(&mut stream);
            stream.write_all(ok("good").as_bytes()).unwrap();
        }
    });
    let script = answers(&[&["127.0.0.1"], &[&forbidden]]);
    let calls = Arc::clone(&script.calls);
    // Both routes: an unusual port, and one that counts as usual.
    let guard = allowing(&["127.0.0.1"]).with_ports(vec![80, port]);
    let fetcher = fetcher(guard, script);
    let url = format!("http://rebind.example:{port}/");
    for round in 0..200 {
        assert_eq!(fetcher.fetch(&url, KIB).await.unwrap().as_ref(), b"good");
        assert_eq!(fetcher.fetch(&url, KIB).await, Err(FORBIDDEN), "{round}");
    }
    // Checked while good, fetched while bad.
    assert!(fetcher.check(&url).await.is_ok());
    assert_eq!(fetcher.fetch(&url, KIB).await, Err(FORBIDDEN));
    assert_eq!(calls.load(Ordering::SeqCst), 402, "one look-up a request");
    assert!(!canary.was_called());
}

#[tokio::test]
async fn only_checked_addresses_reach_the_connector() {
    let resolver = GuardedResolver {
        guard: Arc::new(UrlGuard::new(Vec::new())),
        lookup: Arc::new(answers(&[
            &["1.1.1.1", "2606:4700::1111"],
            &["127.0.0.1"],
            &["1.1.1.1", "::1"],
        ])),
        reach: Reach::Public,
    };
    for _ in 0..1_000 {
        let name = || "rebind.example".parse::<Name>().unwrap();
        let public: Vec<_> = resolver.resolve(name()).await.unwrap().collect();
        assert_eq!(
            public,
            [
                "1.1.1.1:0".parse().unwrap(),
                "[2606:4700::1111]:0".parse().unwrap()
            ]
        );
        for _ in 0..2 {
            assert!(resolver.resolve(name()).await.is_err());
        }
    }
}

#[tokio::test]
async fn an_unusual_port_or_a_local_name_leads_only_to_what_is_allowed() {
    let Some(canary) = Canary::new() else { return };
    let port = canary.address().port();
    let canary_ip = canary.address().ip().to_string();
    for (answer, url) in [
        ("1.1.1.1", format!("http://files.example:{port}/")),
        ("1.1.1.1", "http://comfy/".to_owned()),
        ("1.1.1.1", "http://comfy.internal/".to_owned()),
        (canary_ip.as_str(), format!("http://localhost:{port}/")),
    ] {
        let fetcher = fetcher(allowing(&["127.0.0.1"]), answers(&[&[answer]]));
        assert_eq!(fetcher.fetch(&url, KIB).await, Err(FORBIDDEN), "{url}");
    }
    assert!(!canary.was_called());
    let nothing = fetcher(UrlGuard::new(Vec::new()), NoLookup);
    for (url, refusal) in [
        ("http://files.example:8080/", Refusal::Port),
        ("http://localhost/", Refusal::ForbiddenHost),
    ] {
        let refused = nothing.fetch(url, KIB).await;
        assert_eq!(refused, Err(FetchError::Refused(refusal)), "{url}");
    }
}
