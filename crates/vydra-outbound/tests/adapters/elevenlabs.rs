//! ElevenLabs: one call, and its answer is the sound.

use crate::harness::{self, Delivery, Fails, Harness, Made, fails};
use crate::suite::adapter;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use vydra_core::asset::MediaKind;
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, OutputSource, Provider, ProviderError, Request, Submitted,
};
use vydra_outbound::providers::elevenlabs::ElevenLabs;
use vydra_outbound::secret::Secret;
use vydra_outbound::upstream::{Credential, Upstream, UpstreamSettings};
use vydra_testkit::upstream::{KEY, Recorded, Reply, Stub};

pub(crate) const HARNESS: Harness = Harness {
    before: Vec::new,
    provider,
    request,
    golden,
    works,
    delivery: Delivery::Raw,
    partial: Err("a call makes one file"),
    errors,
    refusals: Err("a refusal has a status of its own"),
    empty: || vec![vec![Reply::new(200, "audio/mpeg", "")]],
    limited: || told(429, "too_many_concurrent_requests"),
    task: Err("the answer is the result"),
};

adapter!(HARNESS);

fn provider(url: &str) -> Arc<dyn Provider> {
    let upstream = Upstream::new(&UpstreamSettings {
        base_url: url.to_owned(),
        credential: Credential::Header("xi-api-key".to_owned(), Secret::new(KEY)),
        timeout: Duration::from_secs(10),
    });
    Arc::new(ElevenLabs::new("elevenlabs", Arc::new(upstream.unwrap())))
}

fn request() -> Request {
    asking(&json!({
        "text": "Your picture is ready.", "voice_id": "21m00Tcm4TlvDq8ikWAM", "voice_settings": {"stability": 0.5, "speed": 1.1},
        "seed": 7,
    }))
}

fn asking(input: &Value) -> Request {
    harness::request(
        MediaKind::Audio,
        Action::Generate,
        "eleven_multilingual_v2",
        input,
    )
}

fn golden(sent: &Recorded) {
    assert_eq!(
        (sent.method.as_str(), sent.path.as_str()),
        (
            "POST",
            "/v1/text-to-speech/21m00Tcm4TlvDq8ikWAM?output_format=mp3_44100_128"
        )
    );
    assert_eq!(sent.header("xi-api-key"), Some(KEY));
    assert_eq!(sent.header("content-type"), Some("application/json"));
    assert_eq!(
        sent.json(),
        json!({
            "text": "Your picture is ready.", "voice_settings": {"stability": 0.5, "speed": 1.1}, "seed": 7,
            "model_id": "eleven_multilingual_v2",
        })
    );
}

fn works(files: &[Made]) -> Vec<Reply> {
    let files = files.iter().map(|file| match file {
        Made::File(bytes) => Reply::new(200, "audio/mpeg", bytes.clone())
            .with("request-id", "req_1")
            .with("character-cost", "22"),
        Made::At(_) => unreachable!("the answer is the file"),
    });
    files.collect()
}

fn told(status: u16, code: &str) -> Reply {
    Reply::json(
        status,
        &json!({"detail": {"status": code, "message": "text"}}),
    )
}

fn errors() -> Vec<Fails> {
    let mut rows: Vec<Fails> = [
        (401, "invalid_api_key", ErrorKind::Auth),
        (401, "missing_permissions", ErrorKind::Auth),
        (401, "quota_exceeded", ErrorKind::QuotaExhausted),
        (
            400,
            "max_character_limit_exceeded",
            ErrorKind::InvalidRequest,
        ),
        (400, "invalid_uid", ErrorKind::InvalidRequest),
        (400, "voice_not_found", ErrorKind::InvalidRequest),
        (404, "voice_not_found", ErrorKind::InvalidRequest),
        (404, "something_not_found", ErrorKind::InvalidRequest),
        (
            400,
            "model_can_not_do_text_to_speech",
            ErrorKind::InvalidRequest,
        ),
        (403, "only_for_creator+", ErrorKind::QuotaExhausted),
        (403, "subscription_required", ErrorKind::QuotaExhausted),
        (403, "content_against_policy", ErrorKind::ContentRefused),
        (400, "voice_moderation", ErrorKind::ContentRefused),
        (429, "too_many_concurrent_requests", ErrorKind::RateLimited),
        (429, "system_busy", ErrorKind::Unavailable),
        (429, "a_new_one", ErrorKind::RateLimited),
        (409, "already_running", ErrorKind::Unavailable),
        (425, "too_early", ErrorKind::Unavailable),
        (400, "a_new_one", ErrorKind::InvalidRequest),
        (402, "a_new_one", ErrorKind::QuotaExhausted),
        (500, "internal", ErrorKind::Unavailable),
        (503, "internal", ErrorKind::Unavailable),
    ]
    .into_iter()
    .map(|(status, code, kind)| fails(vec![told(status, code)], kind, Accepted::No))
    .collect();
    let list = json!({"detail": [{"loc": ["body", "text"], "msg": "m", "type": "missing"}]});
    for (status, body, kind) in [
        (422, list, ErrorKind::InvalidRequest),
        (401, json!({"detail": "no"}), ErrorKind::Auth),
        (
            404,
            json!({"detail": "Not Found"}),
            ErrorKind::InvalidRequest,
        ),
    ] {
        rows.push(fails(vec![Reply::json(status, &body)], kind, Accepted::No));
    }
    rows.push(fails(
        vec![Reply::json(200, &json!({"detail": "odd"}))],
        ErrorKind::Protocol,
        Accepted::Unknown,
    ));
    rows
}

async fn submit(stub: &Stub, input: &Value) -> Result<Submitted, ProviderError> {
    let context = harness::context();
    provider(&stub.url).submit(&context, asking(input)).await
}

#[tokio::test]
async fn raw_sound_becomes_a_file() {
    let pcm = vec![1; 48_000];
    let stub = Stub::replying([Reply::new(200, "audio/pcm", pcm.clone())]).await;
    let input = json!({"text": "t", "voice_id": "v", "output_format": "pcm_24000", "enable_logging": false});
    let Submitted::Done(outputs) = submit(&stub, &input).await.unwrap() else {
        panic!("an answer is the result");
    };
    assert_eq!(
        stub.requests()[0].path,
        "/v1/text-to-speech/v?output_format=pcm_24000&enable_logging=false"
    );
    assert_eq!(
        stub.requests()[0].json(),
        json!({"text": "t", "model_id": "eleven_multilingual_v2"})
    );
    assert_eq!(outputs[0].duration_ms, Some(1_000));
    let OutputSource::Bytes(file) = &outputs[0].source else {
        panic!("bytes");
    };
    assert!(file.starts_with(b"RIFF") && file.ends_with(&pcm));
    assert_eq!(file.len(), 44 + pcm.len());
}

#[tokio::test]
async fn what_cannot_work_is_not_asked() {
    let stub = Stub::replying([]).await;
    for input in [
        json!({"text": "t"}),
        json!({"text": "t", "voice_id": ""}),
        json!({"text": "t", "voice_id": null}),
        json!({"text": "t", "voice_id": ".."}),
        json!({"text": "t", "voice_id": "v", "output_format": "ulaw_8000"}),
        json!({"text": "t", "voice_id": "v", "output_format": "pcm_no"}),
    ] {
        let error = submit(&stub, &input).await.unwrap_err();
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::InvalidRequest, Accepted::No),
            "{input}"
        );
    }
    assert!(stub.requests().is_empty());
}

#[tokio::test]
async fn a_voice_stays_one_piece_of_the_path() {
    let stub = Stub::replying(works(&[Made::File("x".into())])).await;
    let input = json!({"text": "t", "voice_id": "../v1/user?a=b"});
    submit(&stub, &input).await.unwrap();
    assert_eq!(
        stub.requests()[0].path,
        "/v1/text-to-speech/..%2Fv1%2Fuser%3Fa%3Db?output_format=mp3_44100_128"
    );
}

#[tokio::test]
async fn what_it_cost_is_written_down() {
    let stub = Stub::replying(works(&[Made::File("x".into())])).await;
    let context = harness::context();
    provider(&stub.url)
        .submit(&context, request())
        .await
        .unwrap();
    let receipt = context.receipt.lock().unwrap().clone();
    assert_eq!(receipt.request_id.as_deref(), Some("req_1"));
    assert_eq!(receipt.cost.as_deref(), Some("22 characters"));
}

#[tokio::test]
async fn a_check_tells_what_is_left_and_what_can_speak() {
    let models = json!([
        {"model_id": "eleven_v3", "can_do_text_to_speech": true},
        {"model_id": "eleven_english_sts_v2", "can_do_text_to_speech": false},
    ]);
    let account = json!({"tier": "creator", "character_count": 1_200, "character_limit": 10_000});
    let stub = Stub::replying([Reply::json(200, &account), Reply::json(200, &models)]).await;
    let checkup = provider(&stub.url).check().await.unwrap();
    assert_eq!(
        checkup.note.as_deref(),
        Some("8800 of 10000 characters left")
    );
    let models: Vec<String> = checkup.models.unwrap().into_keys().collect();
    assert_eq!(models, ["eleven_v3"]);
    let paths: Vec<String> = stub.requests().into_iter().map(|one| one.path).collect();
    assert_eq!(paths, ["/v1/user/subscription", "/v1/models"]);

    // A key for speech alone is a key.
    let restricted = || told(401, "missing_permissions");
    let stub = Stub::replying([restricted(), restricted()]).await;
    let checkup = provider(&stub.url).check().await.unwrap();
    assert!(checkup.note.unwrap().contains("may not read"));
    assert_eq!(checkup.models, None);
}
