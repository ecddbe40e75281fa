use super::*;

fn upstream(base_url: &str) -> Upstream {
    Upstream::new(&UpstreamSettings {
        base_url: base_url.to_owned(),
        credential: Credential::bearer(Secret::new("k")),
        timeout: Duration::from_secs(5),
    })
    .unwrap()
}

#[test]
fn only_a_plain_address_is_one() {
    for bad in [
        "",
        "api.example.com",
        "ftp://api.example.com",
        "https://",
        "https://api.example.com/v1?a=b",
        "https://api.example.com/#x",
        "https://name:word@api.example.com",
        "file:///etc/passwd",
    ] {
        let settings = UpstreamSettings {
            base_url: bad.to_owned(),
            credential: Credential::None,
            timeout: Duration::from_secs(1),
        };
        assert!(
            matches!(Upstream::new(&settings), Err(UpstreamError::Address)),
            "{bad}"
        );
    }
}

#[test]
fn a_key_that_no_header_carries_is_refused_without_being_shown() {
    let settings = UpstreamSettings {
        base_url: "https://api.example.com".to_owned(),
        credential: Credential::bearer(Secret::new("se\ncret")),
        timeout: Duration::from_secs(1),
    };
    let error = Upstream::new(&settings).unwrap_err();
    assert!(!format!("{error} {error:?} {settings:?}").contains("cret\""));
    assert!(matches!(error, UpstreamError::Key));
}

#[test]
fn no_path_leads_to_another_server() {
    let upstream = upstream("https://api.example.com/v1/");
    let at = |path: &str| upstream.at(path).map(String::from);
    assert_eq!(
        at("/images/generations").as_deref(),
        Some("https://api.example.com/v1/images/generations")
    );
    for path in [
        "//evil.example/x",
        "https://evil.example/x",
        "\\\\evil.example",
        "@evil.example",
        "",
    ] {
        let url = upstream.at(path).unwrap();
        assert_eq!(url.host_str(), Some("api.example.com"), "{path}: {url}");
    }
    for upwards in [
        "..",
        "a/../../x",
        "a/.",
        "tasks/%2e%2E/cancel",
        "a\\..\\x",
        "./x?y",
    ] {
        assert!(upstream.below(upwards).is_none(), "{upwards}");
    }
    for dots in [".", ".."] {
        let path = format!("tasks/{}/cancel", segment(dots));
        assert!(upstream.below(&path).is_none(), "{path}");
    }
    assert!(
        upstream.below("view?filename=../x").is_some(),
        "a query leads nowhere"
    );
    for task in ["../../keys", "a/b", "a?b=c#d", "ä"] {
        let url = upstream
            .at(&format!("tasks/{}/cancel", segment(task)))
            .unwrap();
        assert!(url.path().starts_with("/v1/tasks/"), "{task}: {url}");
        assert!(url.path().ends_with("/cancel"), "{task}: {url}");
        assert_eq!(url.query(), None, "{task}: {url}");
    }
}

#[test]
fn a_url_of_an_answer_gets_our_key_only_on_its_own_server() {
    let upstream = upstream("https://api.example.com/v1");
    for (url, path) in [
        (
            "https://api.example.com/v1/files/1?alt=media",
            Some("/files/1?alt=media"),
        ),
        ("/v1/files/1", Some("/files/1")),
        ("https://API.example.com:443/v1/files/1", Some("/files/1")),
        ("https://api.example.com/v2/files/1", None),
        ("https://api.example.com/v1files", None),
        ("http://api.example.com/v1/files/1", None),
        ("https://api.example.com:8443/v1/files/1", None),
        ("https://api.example.com.evil.example/v1/files/1", None),
        ("https://evil.example/v1/files/1", None),
        ("https://x@api.example.com/v1/files/1", None),
        ("//evil.example/v1/files/1", None),
        ("/\\evil.example/v1/files", None),
        ("data:image/png;base64,AA", None),
    ] {
        assert_eq!(upstream.own_path(url).as_deref(), path, "{url}");
    }
}

#[test]
fn files_beside_the_calls_are_on_the_same_server() {
    let upstream = upstream("https://api.example.com/a/v1");
    for (url, found) in [
        ("/a/v1/files/1?x=y", Some("/a/v1/files/1?x=y")),
        ("/files/1.png?x=y", Some("/files/1.png?x=y")),
        ("/", Some("/")),
        ("https://api.example.com/files/1", Some("/files/1")),
        ("/../../%2e%2e/files/1", Some("/files/1")),
        ("http://api.example.com/files/1", None),
        ("https://api.example.com:8443/files/1", None),
        ("https://x@api.example.com/files/1", None),
        ("//evil.example/files/1", None),
        ("/\\evil.example/files", None),
        ("https://evil.example/a/v1/files/1", None),
        ("data:image/png;base64,AA", None),
    ] {
        let path = upstream.own_file(url);
        let at = path.map(|path| upstream.at(&path).unwrap().to_string());
        let found = found.map(|path| format!("https://api.example.com{path}"));
        assert_eq!(at, found, "{url}");
    }
}

#[test]
fn what_may_be_a_secret_or_a_prompt_is_no_word() {
    for good in ["invalid_api_key", "E005", "image/png", "a.b-c:d"] {
        assert_eq!(word(good), good);
    }
    for bad in [
        "",
        "sk-abcdef",
        "a cat on a roof",
        "https://x.example/y?z",
        "ключ",
        &"x".repeat(81),
    ] {
        assert_eq!(word(bad), "(text)");
    }
}

#[test]
fn a_credential_of_a_call_is_shown_nowhere() {
    let call = Call::get("x").bearer(&Secret::new("a-secret"));
    assert!(!format!("{call:?}").contains("a-secret"));
    assert_eq!(
        call.headers.get(AUTHORIZATION).unwrap().as_bytes(),
        b"Bearer a-secret"
    );
    let unfit = Call::get("x").bearer(&Secret::new("a\nb"));
    assert!(unfit.headers.is_empty());
}
