//! What surrounds every answer: the request's id, and a browser's permission.

use crate::fixture::Api;
use serde_json::json;

#[tokio::test]
async fn a_sane_request_id_is_repeated() {
    let api = Api::idle().await;
    for id in [
        "a",
        "req-1.2_3",
        "0191e5a0-1234-7abc-8def-0123456789ab",
        &"x".repeat(128),
    ] {
        let fine = api
            .get("organization")
            .header("x-request-id", id)
            .send()
            .await;
        assert_eq!(fine.header("x-request-id"), Some(id));
        let wrong = api.get("nothing").header("x-request-id", id).send().await;
        assert_eq!(wrong.header("x-request-id"), Some(id));
        assert_eq!(wrong.json()["requestId"], id);
    }
}

#[tokio::test]
async fn an_insane_one_is_replaced() {
    let api = Api::idle().await;
    let long = "x".repeat(129);
    for id in [
        "".as_bytes(),
        b"two words",
        b"<script>",
        b"a\"b",
        b"a\tb",
        b"caf\xc3\xa9",
        long.as_bytes(),
    ] {
        let answer = api
            .get("nothing")
            .raw_header("x-request-id", id)
            .send()
            .await;
        let ours = answer.header("x-request-id").unwrap();
        assert!(ours.starts_with("req_") && ours.len() == 28, "{ours}");
        assert_eq!(answer.json()["requestId"], ours);
    }
}

#[tokio::test]
async fn each_request_has_an_id_of_its_own() {
    let api = Api::idle().await;
    let (one, two) = (
        api.get("health").send().await,
        api.get("health").send().await,
    );
    assert_ne!(one.header("x-request-id"), two.header("x-request-id"));
}

#[tokio::test]
async fn a_browser_may_call() {
    let api = Api::idle().await;
    for (method, path) in [
        ("POST", "models/gemini/generate"),
        ("DELETE", "jobs/job_1"),
        ("GET", "jobs"),
    ] {
        let call = api
            .call("OPTIONS", path)
            .without("authorization")
            .header("origin", "https://app.example")
            .header("access-control-request-method", method)
            .header(
                "access-control-request-headers",
                "authorization,content-type,prefer,x-vydra-simulate,idempotency-key",
            );
        let answer = call.send().await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let methods = answer.header("access-control-allow-methods").unwrap();
        assert!(
            methods.split(',').any(|one| one.trim() == method),
            "{methods}"
        );
        let headers = answer.header("access-control-allow-headers").unwrap();
        for name in [
            "authorization",
            "content-type",
            "prefer",
            "x-vydra-simulate",
        ] {
            assert!(headers.contains(name), "{name} in {headers}");
        }
        assert_eq!(
            answer.header("access-control-allow-credentials"),
            None,
            "no cookie"
        );
    }
}

#[tokio::test]
async fn a_browser_sees_the_headers_also_of_an_error() {
    let api = Api::new().await;
    for call in [
        api.post("models/gemini/generate", &json!({"prompt": "p"})),
        api.get("organization"),
        api.get("organization").without("authorization"),
        api.get("nothing"),
        api.call("PUT", "jobs"),
    ] {
        let answer = call.header("origin", "https://app.example").send().await;
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        let exposed = answer.header("access-control-expose-headers").unwrap();
        for name in [
            "x-request-id",
            "link",
            "x-ratelimit-limit",
            "x-ratelimit-remaining",
            "x-ratelimit-reset",
            "retry-after",
            "ratelimit-policy",
            "ratelimit",
            "x-credits-charged",
            "x-credits-remaining",
        ] {
            assert!(
                exposed.split(',').any(|one| one.trim() == name),
                "{name} in {exposed}"
            );
        }
    }
}

/// A cache that keeps the one answer must not give it to who would get the other.
#[tokio::test]
async fn what_only_a_browser_reads_is_sent_to_browsers_alone() {
    let api = Api::new().await;
    for path in ["organization", "nothing"] {
        let plain = api.get(path).send().await;
        assert_eq!(plain.header("access-control-allow-origin"), None);
        assert_eq!(plain.header("access-control-expose-headers"), None);
        assert_eq!(plain.header("vary"), Some("origin"));
        let call = api.get(path).header("origin", "null");
        let of_a_page = call.send().await;
        assert_eq!(of_a_page.header("access-control-allow-origin"), Some("*"));
        assert_eq!(of_a_page.header("vary"), Some("origin"));
    }
}

#[tokio::test]
async fn a_panic_too_has_its_headers() {
    let api = Api::idle().await;
    api.clock.break_once();
    let call = api.get("organization").header("x-request-id", "mine");
    let answer = call.header("origin", "https://app.example").send().await;
    assert_eq!(answer.status, 500);
    assert_eq!(answer.header("x-request-id"), Some("mine"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
}
