//! The page of each error, where the header `Link` of an answer leads.

use crate::fixture::Api;
use vydra_core::error_code::ErrorCode;
use vydra_testkit::PUBLIC_URL;

#[tokio::test]
async fn the_link_of_an_error_leads_to_its_page() {
    let api = Api::idle().await;
    for code in ErrorCode::ALL {
        let page = api.get(&format!("/docs/errors/{code}"));
        let answer = page.without("authorization").send().await;
        assert_eq!(answer.status, 200, "{code}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/html; charset=utf-8")
        );
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'"), "{policy}");
        let html = String::from_utf8(answer.bytes.to_vec()).unwrap();
        assert!(html.contains(&format!("<h1>{code}</h1>")), "{code}");
        assert!(html.contains(&format!("{PUBLIC_URL}/api/v1/models/gemini/generate")));
    }
    let error = api.get("nothing").send().await;
    let link = error.header("link").unwrap();
    let path = link
        .strip_prefix(&format!("<{PUBLIC_URL}"))
        .and_then(|rest| rest.strip_suffix(">; rel=\"help\""))
        .unwrap();
    assert_eq!(api.get(path).send().await.status, 200);
}

#[tokio::test]
async fn all_pages_are_listed() {
    let api = Api::idle().await;
    for path in ["/docs/errors", "/docs"] {
        let answer = api.get(path).without("authorization").send().await;
        assert_eq!(answer.status, 200);
        let html = String::from_utf8(answer.bytes.to_vec()).unwrap();
        for code in ErrorCode::ALL {
            let link = format!("href=\"/docs/errors/{code}\"");
            assert!(html.contains(&link), "{path}: {code}");
        }
    }
}

#[tokio::test]
async fn no_other_page_is_there() {
    let api = Api::idle().await;
    for wrong in [
        "invalid_input",
        "INVALID_INPUT/",
        "INVALID",
        "",
        "%FF",
        "<script>",
        "a/b",
    ] {
        let path = format!(
            "/docs/errors/{}",
            wrong.replace('<', "%3C").replace('>', "%3E")
        );
        let answer = api.get(&path).send().await;
        assert!([400, 404].contains(&answer.status.as_u16()), "{path}");
    }
    api.get("/docs/errors/TEAPOT")
        .send()
        .await
        .error("NOT_FOUND");
    let post = api.call("POST", "/docs/errors/NOT_FOUND").send().await;
    post.error("METHOD_NOT_ALLOWED");
    let head = api.call("HEAD", "/docs/errors/NOT_FOUND").send().await;
    assert_eq!((head.status.as_u16(), head.bytes.len()), (200, 0));
}
