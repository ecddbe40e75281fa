//! Veo on Vertex AI: an operation, asked for by its name.

use crate::gemini::{error, of_google};
use crate::harness::{self, Delivery, Fails, Harness, Made, Task, fails, picture};
use crate::suite::adapter;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use url::form_urlencoded;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_core::time::Clock as _;
use vydra_outbound::provider::{Accepted, ErrorKind, Provider, Request, Submitted};
use vydra_outbound::providers::vertex::{Key, KeyError, REGION, Vertex, base_url};
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::ManualClock;
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

/// Made for these tests, and a key to nothing.
const TEST_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEFAASCBKgwggSkAgEAAoIBAQDh2RzzmL8L/X5z
AL+f1cDGgoasUlm6QA4myVCROiEDn1ho7xAACRERkvBydX0THw1/WHs0JI/MHEoB
raBc7akxyhcQXlNHbgoEOR7GxK71y/6mMwSjGmJIsqnikH5URJ2SK9gn2bPyDh6Y
2HnKTsDdvfPG3FvXUGfIfo5UYMqaYMyVFxghyIWmKAtc5grPbOQHDwINlFx2F8Ud
2v2KrMG2lEnZkIKsO7vbEJk+UfpCQ3a6jAbO0rgWwaGgwZEByudLekXL0lSAe88L
kPjVqnuJvWVIrZ4BdY0Wk2wVWgbIOgT+oX5gA+BPCQHq/BqvA2gVkwIPvClJd5/C
R58IHnvzAgMBAAECggEACtBchIVx0F8o6NTGWB7iBh9F14Zx6WsbwlutUebYodXF
Y/DecUH94TuJ69EYVgwMl2ZjL9H4WKuaF456uThf+5RTmmMJ1ce9Dwq1IItWXUqR
POAAftbKkfSMEd8dTWejq9YRmYbhCNwINwVWf4tZzMRFoeX3N84PyhfVNNEVomKd
H8nD3derDSZ/zV7TvK1jJx72mL/O/9YgvoKZivqSkvxdBpHNuZzM7jRpkfoFo+ag
xqjh/whupWfPz6ZMKAK+VX/BZaYeOZ9Rha2MZh82JkkvCz+ju7zshc6bp2aNzFJP
IJK3MgUOVaWRPbJpllQ8x5yGcr43jAa1ohTXs0tSYQKBgQD3j4KYkJGebmQ5lQzd
yWafikFHxk7+LZxJJu246LhgA+tokWLlxFmqb/4RmXZc1cxTJspm1lFfrsu9eWhQ
oQ1z5UM1Ug2ii7K8jdMSJlUY+tspIdh98i90mDC+FzUpCXo0dNjxaiH67OsfKOxE
H32DekDSy181AX8RS8Nn/0jaCwKBgQDpjB2U+S+ms83blLo/gE2++ur04HJCFc93
BIXRzS7Ub6/lHyg0XfgM7k7BNUnxdUETzwL/wNUSv934bf0UyefYNpCRGGaPtqiC
gG2emDJIfkuxGmBihF62NgNGOLOymWBpBaK3UomYzaXjzAsAbr3uFRiVdzcTwFzt
r0H9Q6b+uQKBgQCByNTYkwIkow8cOQ3zwEBy55JtxINpMhQ7LZN3W1o9zBBAU+gb
OSMg/XGfXGr3JIboGPAHldg3Z3YcsWeEzco1tj3T2F6Zls9vlpLPcxUt8WWwXLQY
4z0JzTfQkG4oQ3WzxoZtmgySdl6ViWjEFhZBNXiCimgxa8VoFeYtwWI6HQKBgCsw
1meujblulyt8ndUQjVA8ZydSOs8t6WhBVd4u6/ItlYHx+SV2G2GI0Ne6WypkXNyk
9BEIQF9vTEWdUah+jnnV3XZ35L+/L/qydZNW4jW15ZmjHyAZCsr3wjNCWTk2VDYX
7Leqc/fmUD+IhKBX2pglHp7FpVHpyUXLm5CS6ldBAoGBANUpvfL/LmbgLTy0VDdb
ujzSwXlLCWrBkyZ2f0Nk35YNNdzmuJgBfX4SIj6GR4a5RxyNjccRTQU31UGRp74S
f5KAIQofDYOCbs4w71TJO+UtgTWoTpZ8ojNb816o9486Pkx0+y2N0zxnxxLKzlHI
fXg0zg3kb05t12NvqDJ1VHiN
-----END PRIVATE KEY-----
";
const PROJECT: &str = "/v1/projects/p-1/locations/us-central1";
const OPERATION: &str = "projects/p-1/locations/us-central1/publishers/google/models/veo-3.1-generate-001/operations/52b37131";

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works: |files| vec![accepted(), running(), done(files)],
    delivery: Delivery::Base64,
    partial: Ok(partial),
    errors,
    refusals: Ok(refusals),
    empty,
    limited: || error(429, "RESOURCE_EXHAUSTED", &json!([])),
    task: Ok(Task {
        accepted,
        unknown_word: || {
            vec![Reply::json(
                200,
                &json!({"name": OPERATION, "done": "soon", "metadata": {"state": "WARMING_UP"}}),
            )]
        },
        done: |files| vec![done(files)],
        gone: || vec![error(404, "NOT_FOUND", &json!([]))],
        cancel: Err("there is no call for it"),
    }),
};

adapter!(HARNESS);

fn upstream(url: &str) -> Arc<Upstream> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: format!("{url}{PROJECT}"),
        credential: Credential::None,
        timeout: Duration::from_secs(10),
    });
    Arc::new(upstream.unwrap())
}

fn with(key: Key, url: &str, clock: &Arc<ManualClock>) -> Vertex {
    let clock = Arc::clone(clock);
    Vertex::new("vertex", upstream(url), key, clock)
}

fn provider(url: &str) -> Arc<dyn Provider> {
    let key = Key::read(&Secret::new(format!(" {KEY}\n"))).unwrap();
    Arc::new(with(key, url, &Arc::default()))
}

fn request() -> Request {
    let input = json!({
        "prompt": "the snow begins to fall",
        "parameters": {"aspectRatio": "16:9", "durationSeconds": 8, "generateAudio": true, "sampleCount": 4},
    });
    let model = "veo-3.1-generate-001";
    let mut request = harness::request(MediaKind::Video, Action::Generate, model, &input);
    request.media = vec![
        picture("image", false),
        picture("lastFrame", false),
        picture("referenceImages", true),
    ];
    request
}

fn golden(sent: &Recorded) {
    let path =
        format!("{PROJECT}/publishers/google/models/veo-3.1-generate-001:predictLongRunning");
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        ("POST", path.as_str())
    );
    assert_eq!(
        sent.header("authorization"),
        Some(format!("Bearer {KEY}").as_str())
    );
    let file = json!({
        "bytesBase64Encoded": BASE64_STANDARD.encode(b"\x89PNG picture"), "mimeType": "image/png",
    });
    assert_eq!(
        sent.json(),
        json!({
            "instances": [{
                "prompt": "the snow begins to fall", "image": file, "lastFrame": file,
                "referenceImages": [{"image": file, "referenceType": "asset"}],
            }],
            "parameters": {"aspectRatio": "16:9", "durationSeconds": 8, "generateAudio": true, "sampleCount": 1},
        })
    );
}

fn accepted() -> Reply {
    Reply::json(200, &json!({"name": OPERATION}))
}

fn running() -> Reply {
    accepted()
}

fn ended(response: &Value) -> Reply {
    Reply::json(
        200,
        &json!({"name": OPERATION, "done": true, "response": response}),
    )
}

fn videos(files: &[Made]) -> Value {
    let files = files.iter().map(|file| {
        let text = match file {
            Made::File(bytes) => BASE64_STANDARD.encode(bytes),
            Made::At(text) => text.clone(),
        };
        json!({"bytesBase64Encoded": text, "mimeType": "video/mp4"})
    });
    files.collect()
}

fn done(files: &[Made]) -> Reply {
    ended(&json!({"raiMediaFilteredCount": 0, "videos": videos(files)}))
}

fn partial(files: &[Made]) -> (Request, Vec<Reply>) {
    let request = Request {
        outputs: 3,
        ..request()
    };
    let response = json!({"raiMediaFilteredCount": 1, "raiMediaFilteredReasons": ["text"], "videos": videos(files)});
    (request, vec![accepted(), ended(&response)])
}

fn failed(code: i64, message: &str) -> Reply {
    let error = json!({"code": code, "message": message});
    Reply::json(
        200,
        &json!({"name": OPERATION, "done": true, "error": error}),
    )
}

fn refusals() -> Vec<Vec<Reply>> {
    vec![
        vec![accepted(), ended(&json!({"raiMediaFilteredCount": 1}))],
        vec![
            accepted(),
            ended(&json!({"videos": [], "raiMediaFilteredReasons": ["text"]})),
        ],
        vec![
            accepted(),
            failed(3, "The prompt violates our usage guidelines."),
        ],
    ]
}

fn empty() -> Vec<Vec<Reply>> {
    let responses = [
        json!({}),
        json!(null),
        json!({"videos": []}),
        json!({"videos": {}, "raiMediaFilteredCount": 0, "raiMediaFilteredReasons": []}),
        json!({"videos": [{"mimeType": "video/mp4"}, {"gcsUri": "gs://bucket/0.mp4"}, {"bytesBase64Encoded": "***"}]}),
    ];
    let replies = responses.iter().map(ended).chain([failed(13, "text")]);
    replies.map(|reply| vec![accepted(), reply]).collect()
}

fn errors() -> Vec<Fails> {
    let mut rows = of_google();
    rows.push(fails(
        vec![error(401, "UNAUTHENTICATED", &json!([]))],
        ErrorKind::Auth,
        Accepted::No,
    ));
    for (reply, kind) in [
        (failed(1, "text"), ErrorKind::Cancelled),
        (failed(3, "text"), ErrorKind::InvalidRequest),
        (failed(4, "text"), ErrorKind::TimedOut),
        (failed(5, "text"), ErrorKind::ModelGone),
        (failed(7, "text"), ErrorKind::Auth),
        (failed(8, "text"), ErrorKind::NoOutput),
        (failed(9, "text"), ErrorKind::Auth),
        (failed(14, "text"), ErrorKind::NoOutput),
        (failed(16, "text"), ErrorKind::Auth),
        (error(404, "NOT_FOUND", &json!([])), ErrorKind::TaskGone),
    ] {
        rows.push(fails(vec![accepted(), reply], kind, Accepted::Yes));
    }
    // Said of the question alone: the task is asked for again.
    let away = vec![accepted(), error(503, "UNAVAILABLE", &json!([]))];
    rows.push(fails(away, ErrorKind::Unavailable, Accepted::No));
    rows
}

fn account(token_uri: &str) -> Value {
    json!({
        "type": "service_account", "project_id": "p-1", "private_key_id": "k-1", "private_key": TEST_KEY,
        "client_email": "vydra@p-1.iam.gserviceaccount.com", "token_uri": token_uri,
    })
}

fn read(account: &Value) -> Result<Key, KeyError> {
    Key::read(&Secret::new(account.to_string()))
}

fn keys() -> RsaKeyPair {
    let lines = TEST_KEY.lines().filter(|line| !line.starts_with('-'));
    let der = BASE64_STANDARD.decode(lines.collect::<String>()).unwrap();
    RsaKeyPair::from_pkcs8(&der).unwrap()
}

/// A server that gives tokens, and must see none.
async fn granting(reply: Reply) -> (Stub, Key) {
    let grants = Stub::foreign(reply).await;
    let key = read(&account(&format!("{}/token", grants.url))).unwrap();
    (grants, key)
}

fn grant() -> Reply {
    Reply::json(
        200,
        &json!({"access_token": KEY, "expires_in": 3599, "token_type": "Bearer"}),
    )
}

#[tokio::test]
async fn a_service_account_signs_for_its_tokens() {
    let (grants, key) = granting(grant()).await;
    let stub = Stub::replying([accepted()]).await;
    let clock = Arc::default();
    let vertex = with(key, &stub.url, &clock);
    let context = harness::context();
    vertex.submit(&context, request()).await.unwrap();
    golden(&stub.requests()[0]);
    assert_eq!(
        context.receipt.lock().unwrap().request_id.as_deref(),
        Some("52b37131")
    );

    let asked = &grants.requests()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("POST", "/token")
    );
    assert_eq!(
        asked.header("content-type"),
        Some("application/x-www-form-urlencoded")
    );
    let fields: Vec<(String, String)> = form_urlencoded::parse(&asked.body).into_owned().collect();
    let [(grant_type, word), (assertion, jwt)] = &fields[..] else {
        panic!("{fields:?}");
    };
    assert_eq!(grant_type, "grant_type");
    assert_eq!(word, "urn:ietf:params:oauth:grant-type:jwt-bearer");
    assert_eq!(assertion, "assertion");

    let (signed, signature) = jwt.rsplit_once('.').unwrap();
    let keys = keys();
    let public = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, keys.public_key());
    let signature = BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap();
    public.verify(signed.as_bytes(), &signature).unwrap();
    let parts: Vec<Value> = signed
        .split('.')
        .map(|part| serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap())
        .collect();
    let now = clock.now().as_seconds();
    assert_eq!(
        parts,
        [
            json!({"alg": "RS256", "typ": "JWT", "kid": "k-1"}),
            json!({
                "iss": "vydra@p-1.iam.gserviceaccount.com", "aud": format!("{}/token", grants.url),
                "scope": "https://www.googleapis.com/auth/cloud-platform", "iat": now, "exp": now + 3600,
            }),
        ]
    );
}

#[tokio::test]
async fn a_token_serves_until_shortly_before_it_ends() {
    let (grants, key) = granting(grant()).await;
    let stub = Stub::answering(|_| accepted()).await;
    let clock = Arc::default();
    let vertex = Arc::new(with(key, &stub.url, &clock));
    let context = harness::context();
    let (submitted, checked) = tokio::join!(vertex.submit(&context, request()), vertex.check());
    submitted.unwrap();
    assert_eq!(checked.unwrap().note, None);
    assert_eq!(grants.requests().len(), 1, "one for both");
    clock.advance(Duration::from_mins(57));
    let Submitted::Accepted(task) = vertex.submit(&context, request()).await.unwrap() else {
        panic!("it is a task");
    };
    vertex.poll(&context, &task).await.unwrap();
    assert_eq!(grants.requests().len(), 1, "it is still good");
    clock.advance(Duration::from_mins(1));
    vertex.poll(&context, &task).await.unwrap();
    assert_eq!(grants.requests().len(), 2, "it would soon end");
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_replaced_once() {
    let refused = || error(401, "UNAUTHENTICATED", &json!([]));
    let (grants, key) = granting(grant()).await;
    let stub = Stub::replying([refused(), accepted(), refused(), refused()]).await;
    let vertex = with(key, &stub.url, &Arc::default());
    let context = harness::context();
    vertex.submit(&context, request()).await.unwrap();
    assert_eq!(grants.requests().len(), 2);
    let error = vertex.submit(&context, request()).await.unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::Auth, Accepted::No)
    );
    assert_eq!(stub.requests().len(), 4);
}

#[tokio::test]
async fn nothing_is_bought_without_a_token() {
    let no = |error: &str| json!({"error": error, "error_description": "secret prompt"});
    for (reply, kind) in [
        (Reply::json(400, &no("invalid_grant")), ErrorKind::Auth),
        (Reply::json(401, &no("invalid_client")), ErrorKind::Auth),
        (Reply::json(404, &no("x")), ErrorKind::Auth),
        (Reply::json(429, &no("x")), ErrorKind::RateLimited),
        (
            Reply::new(503, "text/html", "<html>"),
            ErrorKind::Unavailable,
        ),
        (Reply::new(200, "text/html", "<html>"), ErrorKind::Protocol),
        (
            Reply::json(200, &json!({"access_token": ""})),
            ErrorKind::Protocol,
        ),
        (
            Reply::new(302, "text/plain", "").with("location", "http://127.0.0.1:9/"),
            ErrorKind::Protocol,
        ),
    ] {
        let shown = format!("{reply:?}");
        let (_grants, key) = granting(reply).await;
        let stub = Stub::replying([]).await;
        let vertex = with(key, &stub.url, &Arc::default());
        let error = vertex
            .submit(&harness::context(), request())
            .await
            .unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (kind, Accepted::No),
            "{shown}"
        );
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let key = read(&account("http://127.0.0.1:9/token")).unwrap();
    let vertex = with(key, "http://127.0.0.1:9", &Arc::default());
    let error = vertex.check().await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
}

#[test]
fn a_key_is_an_account_or_a_token() {
    let google = "https://oauth2.googleapis.com/token";
    let key = read(&account(google)).unwrap();
    assert!(!format!("{key:?}").contains("p-1"), "{key:?}");
    assert_eq!(
        key.base_url().as_deref(),
        Some("https://us-central1-aiplatform.googleapis.com/v1/projects/p-1/locations/us-central1")
    );
    assert_eq!(base_url("p-1", REGION), key.base_url().unwrap());
    let token = Key::read(&Secret::new("ya29.a0Af-x")).unwrap();
    assert_eq!(token.base_url(), None);

    for good in [
        "http://127.0.0.1:1/t",
        "http://[::1]/t",
        "http://localhost/t",
    ] {
        read(&account(good)).unwrap();
    }
    for bad in [
        "http://oauth2.googleapis.com/token",
        "http://127.0.0.1.evil.example/token",
        "http://localhost.evil.example/token",
        "ftp://127.0.0.1/token",
        "https://user@oauth2.googleapis.com/token",
        "https://oauth2.googleapis.com/token?a=b",
        "/token",
        "",
    ] {
        let error = read(&account(bad)).unwrap_err();
        assert!(matches!(error, KeyError::TokenUri), "{bad}: {error}");
    }
    let mut other = account(google);
    other["private_key"] = json!("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    assert!(matches!(read(&other), Err(KeyError::PrivateKey)));
    other["private_key"] = json!("hush-hush");
    let error = read(&other).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("hush"), "{error}");
    let is_no_account = |text: &str| {
        let error = Key::read(&Secret::new(text)).unwrap_err();
        matches!(error, KeyError::Account)
    };
    assert!(is_no_account("{\"type\": \"authorized_user\"}"));
    assert!(is_no_account("two words"));
    assert!(matches!(Key::read(&Secret::new(" ")), Err(KeyError::Empty)));
}

#[tokio::test]
async fn an_access_token_is_told_to_end() {
    let stub = Stub::replying([Reply::json(200, &json!({}))]).await;
    let checkup = provider(&stub.url).check().await.unwrap();
    assert!(checkup.note.unwrap().contains("hour"));
    let path = format!("{PROJECT}/models?pageSize=1");
    assert_eq!(stub.requests()[0].path, path);
}

#[tokio::test]
async fn a_poll_names_the_operation_in_its_body() {
    let stub = Stub::replying([accepted(), running()]).await;
    let provider = provider(&stub.url);
    let context = harness::context();
    let Submitted::Accepted(task) = provider.submit(&context, request()).await.unwrap() else {
        panic!("it is a task");
    };
    provider.poll(&context, &task).await.unwrap();
    let asked = &stub.requests()[1];
    let path =
        format!("{PROJECT}/publishers/google/models/veo-3.1-generate-001:fetchPredictOperation");
    assert_eq!(asked.path, path);
    assert_eq!(asked.json(), json!({"operationName": OPERATION}));
    for task in ["a/b#x/operations/1", "../x#/operations/1", OPERATION, "m#1"] {
        let error = provider.poll(&context, task).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::TaskGone, "{task}");
    }
}

#[tokio::test]
async fn files_that_nobody_could_read_are_not_bought() {
    let input = json!({"prompt": "p", "parameters": {"storageUri": "gs://bucket/"}});
    let request = harness::request(MediaKind::Video, Action::Generate, "veo", &input);
    let error = provider("http://127.0.0.1:9")
        .submit(&harness::context(), request)
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind, error.accepted),
        (ErrorKind::InvalidRequest, Accepted::No)
    );
}
