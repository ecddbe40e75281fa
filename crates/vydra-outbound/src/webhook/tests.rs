use super::*;
use crate::url_guard::Network;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

const SOON: Duration = Duration::from_millis(50);

fn now() -> Timestamp {
    Timestamp::from_micros(1_614_265_330_000_000)
}

/// Answers every connection with `answer`, or not at all when that is empty, and tells what it was sent.
fn receiver(answer: &'static str) -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (told, requests) = channel();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut buffer = [0; 1_024];
            while !request.ends_with("{}") {
                let length = stream.read(&mut buffer).unwrap();
                request.push_str(std::str::from_utf8(&buffer[..length]).unwrap());
            }
            if told.send(request).is_err() {
                return;
            }
            if answer.is_empty() {
                held.push(stream);
            } else {
                stream.write_all(answer.as_bytes()).unwrap();
            }
        }
    });
    (url, requests)
}

fn sender(timeout: Duration) -> WebhookSender {
    let networks: Vec<Network> = vec!["127.0.0.1".parse().unwrap()];
    WebhookSender::new(UrlGuard::new(networks), timeout, None).unwrap()
}

async fn send(url: &str, timeout: Duration) -> Result<Answer, FetchError> {
    let message = Message {
        id: "evt_1",
        at: now(),
        signature: "v1,AAAA v1,BBBB",
        body: Bytes::from_static(b"{}"),
    };
    sender(timeout).send(url, message).await
}

const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn a_message_comes_with_its_three_headers() {
    let (url, requests) = receiver("HTTP/1.1 204 No Content\r\n\r\n");
    let answer = send(&url, LONG).await.unwrap();
    assert_eq!((answer.status, answer.retry_after), (204, None));
    let request = requests.recv().unwrap();
    let (first, rest) = request.split_once("\r\n").unwrap();
    assert_eq!(first, "POST /hook HTTP/1.1");
    for line in [
        "content-type: application/json",
        "webhook-id: evt_1",
        "webhook-timestamp: 1614265330",
        "webhook-signature: v1,AAAA v1,BBBB",
        "content-length: 2",
    ] {
        assert!(rest.contains(line), "{line} is not in {rest}");
    }
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_is_not_followed() {
    let (elsewhere, asked) = receiver("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
    let redirect = format!(
        "HTTP/1.1 307 Temporary Redirect\r\nlocation: {elsewhere}\r\ncontent-length: 0\r\n\r\n"
    );
    let (url, _requests) = receiver(redirect.leak());
    assert_eq!(send(&url, LONG).await.unwrap().status, 307);
    assert!(asked.try_recv().is_err());
}

#[tokio::test]
async fn a_receiver_that_says_nothing_is_given_up() {
    let (url, _requests) = receiver("");
    assert_eq!(send(&url, SOON).await, Err(FetchError::TimedOut));
}

#[tokio::test]
async fn a_private_address_is_refused() {
    for url in [
        "http://10.0.0.1/hook",
        "http://127.0.0.2/hook",
        "ftp://example.com",
    ] {
        let refused = send(url, LONG).await;
        assert!(
            matches!(refused, Err(FetchError::Refused(_))),
            "{url}: {refused:?}"
        );
        let checked = sender(LONG).check(url).await;
        assert!(matches!(checked, Err(FetchError::Refused(_))), "{url}");
        assert!(sender(LONG).check_shape(url).is_err(), "{url}");
    }
}

#[tokio::test]
async fn it_is_told_when_to_come_back() {
    let (url, _requests) =
        receiver("HTTP/1.1 429 Too Many\r\nretry-after: 120\r\ncontent-length: 0\r\n\r\n");
    let answer = send(&url, LONG).await.unwrap();
    assert_eq!(
        (answer.status, answer.retry_after),
        (429, Some(Duration::from_mins(2)))
    );
    for (text, seconds) in [
        ("0", Some(0)),
        (" 7 ", Some(7)),
        ("1.5", Some(2)),
        ("Thu, 25 Feb 2021 15:03:10 GMT", Some(60)),
        ("Thu, 25 Feb 2021 15:00:10 GMT", Some(0)),
        ("-1", None),
        ("NaN", None),
        ("1e300", None),
        ("soon", None),
        ("", None),
    ] {
        let read = retry_after(text, now()).map(|span| span.as_secs());
        assert_eq!(read, seconds, "{text:?}");
    }
}
