use super::*;
use proptest::prelude::*;
use serde_json::json;

fn whole() -> Value {
    json!({
        "method": "POST", "path": "/v1/videos", "headers": {"X-Version": "2"}, "body": {"prompt": "{{prompt}}"}, "media": "base64",
        "outputs": {"at": "/output", "each": "/url", "as": "address"},
        "status": {"at": "/status", "done": ["ok"], "failed": ["bad"], "refused": ["no"]},
        "errors": {"code": "/error/code", "kinds": {"slow": "rate_limited"}},
        "receipt": {"request_id": "x-request-id", "cost": "/cost", "unit": "USD"},
        "task": {"id": "/id", "poll": "/v1/videos/{{id}}", "progress": "/progress", "cancel": {"method": "DELETE", "path": "/v1/videos/{{id}}"}},
    })
}

fn read(settings: &Value) -> Result<Description, String> {
    Description::read(settings.as_object().unwrap())
}

#[test]
fn a_whole_description_is_read() {
    let description = read(&whole()).unwrap();
    assert_eq!(
        description.follow.errors.kinds["slow"],
        ErrorKind::RateLimited
    );
    let task = description.follow.task.unwrap();
    assert_eq!(
        task.cancel,
        Some((Method::DELETE, "/v1/videos/{{id}}".to_owned()))
    );
    let short = json!({"path": "/draw", "outputs": {"at": ""}});
    assert_eq!(read(&short).unwrap().media, Writing::DataUri);
}

/// The pointer of a setting, a wrong value for it, and the name that the sentence must have.
#[test]
fn what_is_wrong_is_said_with_its_name() {
    for (place, value, name) in [
        ("/method", json!("TRACE"), "settings.method"),
        ("/method", json!("GET"), "settings.body"),
        ("/path", json!("v1"), "settings.path"),
        ("/path", json!("//evil.example/x"), "settings.path"),
        ("/path", json!("https://evil.example/x"), "settings.path"),
        ("/path", json!("/a/../b"), "settings.path"),
        ("/path", json!("/a/%2E%2e/b"), "settings.path"),
        ("/path", json!("/a b"), "settings.path"),
        ("/path", json!("/a\\b"), "settings.path"),
        ("/path", json!("/a#b"), "settings.path"),
        ("/path", json!("/a/{{b"), "settings.path"),
        ("/path", json!(7), "settings.path"),
        ("/headers", json!([]), "settings.headers"),
        (
            "/headers",
            json!({"Authorization": "Bearer x"}),
            "settings.headers.Authorization",
        ),
        (
            "/headers",
            json!({"X-API-Key": "x"}),
            "settings.headers.X-API-Key",
        ),
        ("/headers", json!({"Host": "x"}), "settings.headers.Host"),
        ("/headers", json!({"a b": "x"}), "settings.headers.a b"),
        ("/headers", json!({"x-a": "{{b"}), "settings.headers.x-a"),
        ("/headers", json!({"x-a": "b\nc"}), "settings.headers.x-a"),
        ("/headers", json!({"x-a": 1}), "settings.headers.x-a"),
        ("/body", json!({"a": ["{{"]}), "settings.body"),
        ("/media", json!("url"), "settings.media"),
        ("/outputs", json!({}), "settings.outputs.at"),
        ("/outputs/at", json!("output"), "settings.outputs.at"),
        ("/outputs/each", json!("/~2"), "settings.outputs.each"),
        ("/outputs/as", json!("file"), "settings.outputs.as"),
        ("/status", json!({"at": "/s"}), "settings.status.done"),
        ("/status/failed", json!("bad"), "settings.status.failed"),
        ("/status/done", json!([1]), "settings.status.done"),
        ("/errors", json!({"kinds": {}}), "settings.errors.code"),
        (
            "/errors/kinds",
            json!({"x": "oops"}),
            "settings.errors.kinds.x",
        ),
        (
            "/errors/kinds",
            json!({"x": "unknown"}),
            "settings.errors.kinds.x",
        ),
        ("/receipt/cost", json!("a b"), "settings.receipt.cost"),
        ("/receipt", json!({"price": "/x"}), "settings.receipt.price"),
        ("/task/poll", json!("/v1/videos"), "settings.task.poll"),
        (
            "/task/poll",
            json!("/v1/{{id}}/{{prompt}}"),
            "settings.task.poll",
        ),
        ("/task/id", json!("id"), "settings.task.id"),
        ("/task/progress", json!(1), "settings.task.progress"),
        (
            "/task/cancel",
            json!({"method": "GET", "path": "/{{id}}"}),
            "settings.task.cancel.method",
        ),
        (
            "/task/cancel",
            json!({"method": "POST"}),
            "settings.task.cancel.path",
        ),
        ("/task", json!("x"), "settings.task"),
    ] {
        let mut settings = whole();
        *settings.pointer_mut(place).unwrap() = value.clone();
        let said = read(&settings).expect_err(place);
        assert!(
            said.starts_with(&format!("{name} ")),
            "{place} {value}: {said}"
        );
    }
    for (missing, name) in [
        ("path", "settings.path"),
        ("outputs", "settings.outputs"),
        ("status", "settings.status"),
    ] {
        let mut settings = whole();
        settings.as_object_mut().unwrap().shift_remove(missing);
        let said = read(&settings).expect_err(missing);
        assert!(said.starts_with(&format!("{name} is missing")), "{said}");
    }
    let said = read(&json!({"pathh": "/x"})).unwrap_err();
    assert!(
        said.starts_with("settings.pathh is not known; settings takes method, path,"),
        "{said}"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[/~{}a-z.%]{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec(("[a-z]{1,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_setting_is_too_strange(place in 0..10_usize, value in any_json()) {
        let mut settings = whole();
        let keys = [ASKING, FOLLOWING].concat();
        settings[keys[place]] = value;
        let _read_or_refused = read(&settings);
    }
}
