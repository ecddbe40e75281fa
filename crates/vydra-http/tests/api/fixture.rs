//! A caller without a socket, and the rules that hold for every answer.

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, SocketAddr};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use tower::ServiceExt;
use vydra_core::error_code::ErrorCode;
use vydra_core::ids::KeyId;
use vydra_core::job::Mode;
use vydra_core::organization::Organization;
use vydra_core::user::Role;
use vydra_engine::NewKey;
use vydra_http::{ApiState, router};
use vydra_testkit::{PASSWORD, PUBLIC_URL, Setup, TestApp};

pub(crate) const CREDITS: i64 = 1_000;

/// The application with one organization that has 1,000 credits, and a key that may do everything.
pub(crate) struct Api {
    app: TestApp,
    router: Router,
    pub(crate) org: Organization,
    pub(crate) key: String,
}

impl Deref for Api {
    type Target = TestApp;

    fn deref(&self) -> &TestApp {
        &self.app
    }
}

impl DerefMut for Api {
    fn deref_mut(&mut self) -> &mut TestApp {
        &mut self.app
    }
}

impl Api {
    /// With a worker in the background.
    pub(crate) async fn new() -> Self {
        let api = Self::idle().await;
        api.work();
        api
    }

    /// Without a worker: what is submitted waits for [`TestApp::step`].
    pub(crate) async fn idle() -> Self {
        Self::with("enterprise", |_| {}).await
    }

    pub(crate) async fn with(plan: &str, change: impl FnOnce(&mut Setup)) -> Self {
        let app = TestApp::with(|setup| {
            setup.receivers = vec!["127.0.0.1"];
            setup.show_job = vydra_http::show_job;
            change(setup);
        });
        let org = app.org_on(plan, "acme", CREDITS).await;
        let key = app.key(&org, &["*"], Mode::Live).await;
        Self {
            router: router_of(&app),
            app,
            org,
            key,
        }
    }

    /// Stopped in order and started again.
    pub(crate) async fn restart(&mut self) {
        self.app.restart().await;
        self.router = router_of(&self.app);
    }

    /// Killed and started again.
    pub(crate) async fn crash(&mut self) {
        self.app.crash().await;
        self.router = router_of(&self.app);
    }

    /// `jobs` means `/api/v1/jobs`; a path with a slash before it is taken as it is.
    pub(crate) fn call(&self, method: &str, path: &str) -> Call {
        let path = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/api/v1/{path}")
        };
        let call = Call {
            router: self.router.clone(),
            peer: None,
            method: method.parse().unwrap(),
            path,
            headers: HeaderMap::new(),
            body: Bytes::new(),
        };
        call.key(&self.key)
    }

    pub(crate) fn get(&self, path: &str) -> Call {
        self.call("GET", path)
    }

    pub(crate) fn delete(&self, path: &str) -> Call {
        self.call("DELETE", path)
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> Call {
        let call = self.call("POST", path);
        call.header("content-type", "application/json")
            .body(body.to_string())
    }

    pub(crate) fn login(&self, email: &str, password: &str) -> Call {
        let body = json!({"email": email, "password": password});
        self.post("auth/login", &body).without("authorization")
    }

    /// The session of somebody who is made for it and logs in.
    pub(crate) async fn person(&self, email: &str, role: Role) -> String {
        self.user(&self.org, email, role).await;
        let answer = self.login(email, PASSWORD).send().await;
        answer.ok(200);
        answer.session()
    }

    pub(crate) async fn credits(&self) -> i64 {
        self.balance(&self.org, Mode::Live).await
    }

    /// The URL of an image that cost 5 credits.
    pub(crate) async fn picture(&self) -> String {
        let made = self.post("models/gemini/generate", &json!({"prompt": "p"}));
        made.send().await.ok(200)["imageUrl"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// The router itself, for a server of its own.
    pub(crate) fn state(&self) -> ApiState {
        ApiState {
            engine: Arc::clone(&self.app.engine),
            random: Arc::clone(&self.app.random) as _,
        }
    }

    /// A key that expires after so many days, and its id.
    pub(crate) async fn timed_key(&self, days: Option<u32>) -> (String, KeyId) {
        let new = NewKey {
            organization: self.org.id.clone(),
            name: "k".to_owned(),
            scopes: vec!["*".to_owned()],
            expires_in_days: days,
            mode: Mode::Live,
        };
        let created = self.engine.create_key(new).await.unwrap();
        (created.secret.reveal().to_owned(), created.key.id)
    }

    /// The id of a job that waits for a worker.
    pub(crate) async fn pending(&self) -> String {
        let body = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
        let created = self.post("jobs", &body).send().await;
        created.ok(201)["id"].as_str().unwrap().to_owned()
    }
}

fn router_of(app: &TestApp) -> Router {
    router(ApiState {
        engine: Arc::clone(&app.engine),
        random: Arc::clone(&app.random) as _,
    })
}

#[derive(Debug, Clone)]
pub(crate) struct Call {
    router: Router,
    peer: Option<SocketAddr>,
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Call {
    /// By a person who has logged in, without a key.
    pub(crate) fn session(self, token: &str) -> Self {
        let call = self.without("authorization");
        call.header("cookie", &format!("__session={token}"))
    }

    pub(crate) fn from(mut self, address: &str) -> Self {
        let address: IpAddr = address.parse().unwrap();
        self.peer = Some((address, 40_000).into());
        self
    }

    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.raw_header(name, value.as_bytes())
    }

    /// One more header of a name that may be there already.
    pub(crate) fn also(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(crate) fn raw_header(mut self, name: &str, value: &[u8]) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers
            .insert(name, HeaderValue::from_bytes(value).unwrap());
        self
    }

    /// One more line of a header that may be there already.
    pub(crate) fn another_header(mut self, name: &str, value: &str) -> Self {
        let name: HeaderName = name.parse().unwrap();
        self.headers.append(name, value.parse().unwrap());
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.remove(name);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    pub(crate) async fn send(self) -> Answer {
        let body = Body::from(self.body.clone());
        self.send_body(body).await
    }

    /// The answer as it comes, its body unread.
    pub(crate) async fn open(self, body: Body) -> Response<Body> {
        let mut request = Request::builder().method(&self.method).uri(&self.path);
        *request.headers_mut().unwrap() = self.headers;
        let mut request = request.body(body).unwrap();
        if let Some(peer) = self.peer {
            request.extensions_mut().insert(ConnectInfo(peer));
        }
        self.router.oneshot(request).await.unwrap()
    }

    /// With a body that comes in pieces.
    pub(crate) async fn send_body(self, body: Body) -> Answer {
        let response = self.clone().open(body).await;
        if self.method == Method::OPTIONS {
            return Answer::unchecked(response).await;
        }
        Answer::of(response, &format!("{} {}", self.method, self.path)).await
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    async fn unchecked(response: Response<Body>) -> Self {
        let (parts, body) = response.into_parts();
        Self {
            status: parts.status,
            headers: parts.headers,
            bytes: body.collect().await.unwrap().to_bytes(),
        }
    }

    pub(crate) async fn of(response: Response<Body>, call: &str) -> Self {
        let answer = Self::unchecked(response).await;
        answer.check(call);
        answer
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn number(&self, name: &str) -> i64 {
        let text = self.header(name);
        text.unwrap_or_else(|| panic!("no {name}")).parse().unwrap()
    }

    /// What the answer says about its own length.
    pub(crate) fn length(&self) -> usize {
        usize::try_from(self.number("content-length")).unwrap()
    }

    /// What it put into the session's cookie.
    #[track_caller]
    pub(crate) fn session(&self) -> String {
        let cookie = self.header("set-cookie").expect("a cookie");
        let value = cookie.strip_prefix("__session=").expect(cookie);
        value.split(';').next().unwrap().to_owned()
    }

    /// All of it but the id of the request.
    pub(crate) fn without_id(&self) -> (StatusCode, Vec<(String, String)>, Value) {
        let headers = self
            .headers
            .iter()
            .filter(|(name, _)| *name != "x-request-id");
        let headers = headers.map(|(name, value)| (name.to_string(), format!("{value:?}")));
        let mut body = self.json();
        body.as_object_mut().unwrap().remove("requestId");
        (self.status, headers.collect(), body)
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| {
            panic!("{error}: {}", String::from_utf8_lossy(&self.bytes));
        })
    }

    #[track_caller]
    pub(crate) fn ok(&self, status: u16) -> Value {
        let body = String::from_utf8_lossy(&self.bytes);
        assert_eq!(self.status, status, "{body}");
        self.json()
    }

    /// The body of an error with this code, under the status that the catalogue has for it.
    #[track_caller]
    pub(crate) fn error(&self, code: &str) -> Value {
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        body
    }

    /// Contract, sections 1, 2 and 6: what holds for every answer.
    pub(crate) fn check(&self, call: &str) {
        let id = self.header("x-request-id").expect(call);
        let is_json = self.header("content-type") == Some("application/json");
        if self.status.is_client_error() || self.status.is_server_error() {
            if self.status == StatusCode::RANGE_NOT_SATISFIABLE {
                return;
            }
            assert!(is_json, "{call}: {:?}", self.headers);
            assert_eq!(self.header("cache-control"), Some("no-store"), "{call}");
            // The answer to HEAD has no body to look at.
            if !call.starts_with("HEAD") {
                self.check_error(call, id);
            }
        } else if is_json && !self.bytes.is_empty() {
            check_unfinished(&self.json(), call);
        }
    }

    fn check_error(&self, call: &str, id: &str) {
        const KNOWN: [&str; 9] = [
            "error",
            "code",
            "details",
            "requestId",
            "creditsRequired",
            "creditsRemaining",
            "retryAfter",
            "limits",
            "refund",
        ];
        let Value::Object(body) = self.json() else {
            panic!("{call}: no object")
        };
        let sentence = body["error"].as_str().expect(call);
        assert!(
            !sentence.is_empty() && !sentence.contains("sqlite"),
            "{call}: {sentence}"
        );
        let code = ErrorCode::parse(body["code"].as_str().expect(call)).expect(call);
        assert_eq!(self.status, code.entry().status, "{call}: {body:?}");
        assert_eq!(body["requestId"], id, "{call}");
        let help = format!("<{PUBLIC_URL}/docs/errors/{code}>; rel=\"help\"");
        let mut links = self.headers.get_all("link").iter();
        assert!(links.any(|link| *link == *help), "{call}: no {help}");
        if let Some(details) = body.get("details") {
            assert!(details.is_object(), "{call}: {details}");
        }
        let retry_after = body.get("retryAfter").map(|s| s.as_i64().expect(call));
        assert_eq!(
            self.header("retry-after").map(|s| s.parse().expect(call)),
            retry_after,
            "{call}"
        );
        assert!(retry_after.is_none_or(|seconds| seconds >= 1), "{call}");
        if self.status.is_server_error() {
            assert!(
                body["details"]["retryable"].is_boolean(),
                "{call}: {body:?}"
            );
        }
        for name in body.keys() {
            assert!(KNOWN.contains(&name.as_str()), "{call}: {name}");
        }
    }
}

/// No http URL under a name that a client takes for a result, in whatever is not completed.
pub(crate) fn check_unfinished(value: &Value, call: &str) {
    match value {
        Value::Object(object) => {
            let status = object.get("status").and_then(Value::as_str);
            if matches!(status, Some("pending" | "running" | "failed" | "cancelled")) {
                assert!(!holds_a_result(object), "{call}: {object:?}");
            }
            for inner in object.values() {
                check_unfinished(inner, call);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_unfinished(item, call)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn holds_a_result(object: &Map<String, Value>) -> bool {
    object.iter().any(|(name, value)| {
        let lower = name.to_ascii_lowercase();
        let suspect = lower.ends_with("url")
            || lower.ends_with("urls")
            || ["output", "result", "results", "data", "assets"].contains(&lower.as_str());
        (suspect && holds_a_url(value))
            || value.as_object().is_some_and(holds_a_result)
            || value.as_array().is_some_and(|items| {
                items
                    .iter()
                    .filter_map(Value::as_object)
                    .any(holds_a_result)
            })
    })
}

fn holds_a_url(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with("http"),
        Value::Array(items) => items.iter().any(holds_a_url),
        Value::Object(object) => object.values().any(holds_a_url),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A millisecond time in UTC.
pub(crate) fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| {
        text.len() == 24
            && text.ends_with('Z')
            && text.as_bytes()[10] == b'T'
            && text.as_bytes()[19] == b'.'
    })
}

#[test]
fn the_search_for_urls_finds_them() {
    for wrong in [
        json!({"status": "pending", "imageUrl": "https://x"}),
        json!({"status": "failed", "input": {"image_urls": ["http://x"]}}),
        json!({"data": [{"status": "running", "output": {"deep": ["http://x"]}}]}),
    ] {
        let found = std::panic::catch_unwind(|| check_unfinished(&wrong, "")).is_err();
        assert!(found, "{wrong}");
    }
    let fine = json!({"status": "pending", "_links": {"self": "http://x"}, "imageUrl": "asset:x"});
    check_unfinished(&fine, "");
    check_unfinished(&json!({"status": "completed", "imageUrl": "http://x"}), "");
}
