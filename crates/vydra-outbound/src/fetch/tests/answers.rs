//! What a host may answer, how long and how much.

use super::*;

#[tokio::test]
async fn other_answers_are_told_by_their_status() {
    let fetcher = local_fetcher();
    for status in [
        201, 202, 203, 204, 206, 300, 304, 400, 401, 403, 404, 429, 500, 503,
    ] {
        let server = Server::saying(format!(
            "HTTP/1.1 {status} X\r\nlocation: http://127.0.0.2/\r\ncontent-length: 0\r\n\r\n"
        ));
        let refused = fetcher.fetch(&server.url("/"), KIB).await;
        assert_eq!(refused, Err(FetchError::Status(status)));
    }
}

#[tokio::test]
async fn a_refresh_header_leads_nowhere() {
    let Some(canary) = Canary::new() else { return };
    let server = Server::saying(format!(
        "HTTP/1.1 200 OK\r\nrefresh: 0; url=http://{0}/\r\nlink: <http://{0}/>; rel=preload\r\ncontent-length: 2\r\n\r\nok",
        canary.address()
    ));
    let bytes = local_fetcher().fetch(&server.url("/"), KIB).await.unwrap();
    assert_eq!(bytes.as_ref(), b"ok");
    assert!(!canary.was_called());
}

#[tokio::test]
async fn a_request_tells_nothing_about_us() {
    let server = Server::start(|head, stream| {
        let answer = if head.starts_with("GET /first ") {
            "HTTP/1.1 302 Found\r\nlocation: /second\r\nset-cookie: a=b\r\ncontent-length: 0\r\n\r\n"
                .to_owned()
        } else {
            ok("x")
        };
        stream.write_all(answer.as_bytes())
    });
    let url = server.url("/first#fragment");
    local_fetcher().fetch(&url, KIB).await.unwrap();
    let requests = server.requests.lock().unwrap();
    assert_eq!(requests.len(), 2);
    for request in requests.iter() {
        let mut names: Vec<_> = request
            .lines()
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .map(|(name, _)| name.to_ascii_lowercase())
            .collect();
        names.sort();
        assert_eq!(names, ["accept", "host", "user-agent"], "{request}");
        assert!(!request.contains("fragment"));
    }
}

#[tokio::test]
async fn an_endless_body_is_stopped_at_the_limit() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&sent);
    let server = Server::start(move |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        loop {
            stream.write_all(&[0; 4096])?;
            counter.fetch_add(4096, Ordering::SeqCst);
        }
    });
    let refused = local_fetcher().fetch(&server.url("/"), 64 * KIB).await;
    assert_eq!(refused, Err(FetchError::TooLarge));
    // What the buffers of two sockets hold, and not what 60 seconds could carry.
    assert!(sent.load(Ordering::SeqCst) < 64 * 1024 * 1024);
}

#[tokio::test]
async fn the_limits_of_the_call_and_of_the_fetcher_both_hold() {
    let server = Server::saying(ok("12345"));
    let tight = impatient(FetchLimits {
        max_bytes: 4,
        ..FetchLimits::default()
    });
    let url = server.url("/");
    assert_eq!(tight.fetch(&url, 5).await, Err(FetchError::TooLarge));
    let fetcher = local_fetcher();
    assert_eq!(fetcher.fetch(&url, 4).await, Err(FetchError::TooLarge));
    assert_eq!(fetcher.fetch(&url, 5).await.unwrap().len(), 5);
}

#[tokio::test]
async fn a_content_length_is_not_believed() {
    let fetcher = local_fetcher();
    for (length, body, outcome) in [
        // More than came.
        ("10", "12345", Err(FetchError::Unreachable)),
        // Less than came: the rest is not part of the answer.
        ("2", "12345", Ok("12")),
        // More than we take: nothing of it is read.
        ("99999999999", "", Err(FetchError::TooLarge)),
        ("-1", "12345", Err(FetchError::Unreachable)),
        (
            "2\r\ncontent-length: 3",
            "12345",
            Err(FetchError::Unreachable),
        ),
    ] {
        let server = Server::saying(format!(
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}"
        ));
        let fetched = fetcher.fetch(&server.url("/"), KIB).await;
        let expected = outcome.map(|text| Bytes::from_static(text.as_bytes()));
        assert_eq!(fetched, expected, "{length}");
    }
}

/// A small gzip file of much nothing would otherwise be counted after it had filled the memory.
#[tokio::test]
async fn nothing_is_decoded() {
    let server = Server::saying(
        "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nGZIP",
    );
    let bytes = local_fetcher().fetch(&server.url("/"), KIB).await.unwrap();
    assert_eq!(bytes.as_ref(), b"GZIP");
}

#[tokio::test]
async fn a_chunked_body_is_read() {
    let server = Server::saying(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    );
    let fetcher = local_fetcher();
    let url = server.url("/");
    assert_eq!(fetcher.fetch(&url, 5).await.unwrap().as_ref(), b"abcde");
    assert_eq!(fetcher.fetch(&url, 4).await, Err(FetchError::TooLarge));
}

#[tokio::test]
async fn a_body_that_stalls_ends_with_the_total_limit() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1")?;
        until_hung_up(stream)
    });
    let fetcher = impatient(FetchLimits {
        total: SHORT,
        ..FetchLimits::default()
    });
    let refused = fetcher.fetch(&server.url("/"), KIB).await;
    assert_eq!(refused, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn a_file_that_is_read_in_pieces_has_a_limit_of_its_own() {
    let fetcher = impatient(FetchLimits {
        // Both are for what is held in memory.
        max_bytes: 0,
        total: Duration::ZERO,
        ..FetchLimits::default()
    });
    let server = Server::saying(ok("12345"));
    let mut file = fetcher.open(&server.url("/"), 5).await.unwrap();
    let mut read = Vec::new();
    while let Some(piece) = file.piece().await.unwrap() {
        assert!(!piece.is_empty());
        read.extend(piece);
    }
    assert_eq!(read, b"12345");
    let refused = fetcher.open(&server.url("/"), 4).await;
    assert_eq!(refused.unwrap_err(), FetchError::TooLarge);
    // One that does not say how long it is.
    let server = Server::saying("HTTP/1.1 200 OK\r\n\r\n12345");
    let mut file = fetcher.open(&server.url("/"), 4).await.unwrap();
    let refused = loop {
        match file.piece().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    assert_eq!(refused, Err(FetchError::TooLarge));
}

#[tokio::test]
async fn a_file_that_stalls_between_two_pieces_is_given_up() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n1")?;
        until_hung_up(stream)
    });
    let fetcher = impatient(FetchLimits {
        idle: SHORT,
        ..FetchLimits::default()
    });
    let mut file = fetcher.open(&server.url("/"), KIB).await.unwrap();
    assert_eq!(file.piece().await, Ok(Some(Bytes::from_static(b"1"))));
    assert_eq!(file.piece().await, Err(FetchError::TimedOut));
    let shown = format!("{file:?}");
    assert!(!shown.contains("http"), "{shown}");
}

#[test]
fn only_what_may_pass_is_worth_another_try() {
    for error in [
        FetchError::Unreachable,
        FetchError::TimedOut,
        FetchError::Status(429),
        FetchError::Status(503),
    ] {
        assert!(error.is_temporary(), "{error:?}");
    }
    for error in [
        FORBIDDEN,
        FetchError::TooLarge,
        FetchError::Redirects,
        FetchError::Status(403),
        FetchError::Status(404),
    ] {
        assert!(!error.is_temporary(), "{error:?}");
    }
}

#[tokio::test]
async fn headers_that_do_not_come_end_with_their_limit() {
    let silent = Server::start(|_, stream| until_hung_up(stream));
    let partial = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-a: b\r\n")?;
        until_hung_up(stream)
    });
    let storm = Server::start(|_, stream| {
        // Not without an end: hyper reads as many as have come before it lets a timer run.
        stream.write_all(&b"HTTP/1.1 100 Continue\r\n\r\n".repeat(1_000))?;
        until_hung_up(stream)
    });
    let fetcher = impatient(FetchLimits {
        headers: SHORT,
        ..FetchLimits::default()
    });
    for server in [silent, partial, storm] {
        let refused = fetcher.fetch(&server.url("/"), KIB).await;
        assert_eq!(refused, Err(FetchError::TimedOut));
    }
}

#[tokio::test]
async fn a_header_without_an_end_is_cut() {
    let server = Server::start(|_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nx-a: ")?;
        loop {
            stream.write_all(&[b'a'; 4096])?;
        }
    });
    let refused = local_fetcher().fetch(&server.url("/"), KIB).await;
    assert_eq!(refused, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn a_resolver_that_is_silent_ends_with_the_limit() {
    let limits = FetchLimits {
        connect: SHORT,
        ..FetchLimits::default()
    };
    let fetcher = InputFetcher::with_lookup(UrlGuard::new(Vec::new()), limits, Silent).unwrap();
    let url = "http://files.example/";
    assert_eq!(fetcher.fetch(url, KIB).await, Err(FetchError::TimedOut));
    assert_eq!(fetcher.check(url).await, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr();
    let url = format!("http://{}/", closed.unwrap());
    let refused = local_fetcher().fetch(&url, KIB).await;
    assert_eq!(refused, Err(FetchError::Unreachable));
    let nameless = fetcher(UrlGuard::new(Vec::new()), answers(&[&[]]));
    let refused = nameless.fetch("http://files.example/", KIB).await;
    assert_eq!(refused, Err(FetchError::Unreachable));
}

/// Plain text where TLS is expected, and a server that no authority vouches for, are all the same to the caller.
#[tokio::test]
async fn https_to_a_plain_server_is_unreachable() {
    let server = Server::saying(ok("x"));
    let url = format!("https://{}/", server.address);
    let refused = local_fetcher().fetch(&url, KIB).await;
    assert_eq!(refused, Err(FetchError::Unreachable));
}

#[tokio::test]
async fn the_systems_resolver_knows_localhost() {
    let addresses = SystemLookup::default().lookup("localhost").await.unwrap();
    assert!(!addresses.is_empty());
    assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
}

#[test]
fn errors_never_name_an_address() {
    for error in [
        FORBIDDEN,
        FetchError::Unreachable,
        FetchError::TooLarge,
        FetchError::TimedOut,
        FetchError::Redirects,
        FetchError::Refused(Refusal::ForbiddenHost),
    ] {
        let text = error.to_string();
        assert!(
            text.chars().all(|c| c == ' ' || c.is_ascii_lowercase()),
            "{text}"
        );
    }
}
