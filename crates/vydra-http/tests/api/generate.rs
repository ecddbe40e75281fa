//! Every row of the contract's table of models: the call, what it answers, and the job that it leaves.

use crate::fixture::{Api, CREDITS, is_time};
use serde_json::{Value, json};
use std::time::Duration;
use vydra_testkit::{PUBLIC_URL, Reply, files};

struct Media {
    image: String,
    video: String,
}

/// An image and a video of the organization's own; the balance is full again afterwards.
async fn media(api: &Api) -> Media {
    let image = api.picture().await;
    let call = api.post("models/veo3", &json!({"prompt": "p"}));
    let video = call.header("prefer", "wait=20").send().await.ok(200);
    let spent = vydra_core::credits::Credits::new(CREDITS - api.credits().await).unwrap();
    let mode = vydra_core::job::Mode::Live;
    api.engine
        .grant(&api.org.id, mode, spent, "for the test")
        .await
        .unwrap();
    Media {
        image,
        video: video["videoUrl"].as_str().unwrap().to_owned(),
    }
}

fn urls(value: &Value) -> Vec<String> {
    let urls = value.as_array().unwrap();
    urls.iter()
        .map(|url| url.as_str().unwrap().to_owned())
        .collect()
}

/// What every completed answer has, under whichever name its kind has it.
async fn check_files(api: &Api, body: &Value, kind: &str, media_type: &str, count: usize) {
    let found = urls(&body["resultUrls"]);
    assert_eq!(found.len(), count, "{body}");
    assert_eq!(body["mimeType"], media_type);
    assert_eq!(body[format!("{kind}Url")], found[0]);
    for other in ["imageUrl", "videoUrl", "audioUrl", "audio_url"] {
        let own = other == format!("{kind}Url") || (kind == "audio" && other == "audio_url");
        assert_eq!(body.get(other).is_some(), own, "{other} in {body}");
    }
    if kind == "image" && count > 1 {
        assert_eq!(urls(&body["imageUrls"]), found);
    } else {
        assert_eq!(body.get("imageUrls"), None);
    }
    for url in found {
        let path = url.strip_prefix(PUBLIC_URL).unwrap();
        let file = api.get(path).without("authorization").send().await;
        assert_eq!(
            (file.status.as_u16(), file.header("content-type")),
            (200, Some(media_type))
        );
    }
}

async fn check_job(
    api: &Api,
    id: &str,
    model: &str,
    price: i64,
    kind: &str,
    media_type: &str,
    count: usize,
) {
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!((&job["id"], &job["jobId"]), (&json!(id), &json!(id)));
    assert_eq!(job["status"], "completed");
    assert_eq!(job["progress"], 100);
    assert_eq!(job["model"], model);
    assert_eq!(
        (&job["workflow"], &job["workflowSlug"]),
        (&Value::Null, &Value::Null)
    );
    assert_eq!(
        (&job["creditsCharged"], &job["creditsRefunded"]),
        (&json!(price), &json!(0))
    );
    for name in ["createdAt", "startedAt", "completedAt"] {
        assert!(is_time(&job[name]), "{name}: {job}");
    }
    for name in ["error", "code", "refund", "statusMessage"] {
        assert_eq!(
            job.get(name),
            Some(&Value::Null),
            "{name} is there, and null"
        );
    }
    assert!(job["input"].is_object());
    check_files(api, &job, kind, media_type, count).await;
    let output = &job["output"];
    assert_eq!(output["url"], job["resultUrls"][0]);
    assert_eq!(output[format!("{kind}Url")], job["resultUrls"][0]);
    let assets = output["assets"].as_array().unwrap();
    assert_eq!(assets.len(), count);
    for (asset, url) in assets.iter().zip(urls(&job["resultUrls"])) {
        assert_eq!(asset["url"], url);
        assert_eq!(
            (&asset["type"], &asset["mimeType"]),
            (&json!(kind), &json!(media_type))
        );
        assert!(asset["id"].as_str().unwrap().starts_with("ast_"));
        assert!(asset["size"].as_u64().unwrap() > 0);
    }
}

#[tokio::test]
async fn sync_rows_answer_with_the_result() {
    let api = Api::new().await;
    let Media { image, .. } = media(&api).await;
    let rows = [
        (
            "gemini/generate",
            json!({"prompt": "p", "aspectRatio": "16:9"}),
            "gemini-image",
            5,
            "image",
            1,
            Some("generate"),
        ),
        (
            "gemini/edit",
            json!({"prompt": "p", "imageUrl": image}),
            "gemini-edit",
            5,
            "image",
            1,
            Some("edit"),
        ),
        (
            "nano-banana/edit",
            json!({"prompt": "p"}),
            "nano-banana",
            8,
            "image",
            1,
            Some("generate"),
        ),
        (
            "nano-banana/edit",
            json!({"prompt": "p", "imageUrl": image}),
            "nano-banana",
            8,
            "image",
            1,
            Some("edit"),
        ),
        (
            "flux-edit/edit",
            json!({"prompt": "p", "imageUrl": image}),
            "flux-edit",
            15,
            "image",
            1,
            Some("edit"),
        ),
        (
            "flux-edit/edit",
            json!({
                "prompt": "p", "imageUrl": image, "imageUrls": [image, image], "resolution": "1K", "numImages": 3,
                "aspectRatio": "1:1", "outputFormat": "jpeg", "guidanceScale": 10, "numInferenceSteps": 50, "seed": 7,
            }),
            "flux-edit",
            45,
            "image",
            3,
            Some("edit"),
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "text-to-image"}),
            "grok-imagine",
            8,
            "image",
            1,
            Some("generate"),
        ),
        (
            "elevenlabs/tts",
            json!({"text": "p", "voice_id": "v"}),
            "elevenlabs-tts",
            5,
            "audio",
            1,
            None,
        ),
    ];
    let mut balance = CREDITS;
    for (path, input, model, price, kind, count, mode) in rows {
        let answer = api.post(&format!("models/{path}"), &input).send().await;
        let body = answer.ok(200);
        balance -= price;
        assert_eq!(body["status"], "completed", "{path}");
        assert_eq!(body["creditsCharged"], price, "{path}");
        assert!(body["durationMs"].is_u64(), "{path}");
        assert_eq!(body.get("mode").and_then(Value::as_str), mode, "{path}");
        assert_eq!(body.get("refund"), None);
        assert_eq!(answer.number("x-credits-charged"), price);
        assert_eq!(answer.number("x-credits-remaining"), balance);
        assert_eq!(api.credits().await, balance);
        let media_type = if kind == "image" {
            "image/png"
        } else {
            "audio/wav"
        };
        check_files(&api, &body, kind, media_type, count).await;
        let id = body["jobId"].as_str().unwrap();
        check_job(&api, id, model, price, kind, media_type, count).await;
    }
}

#[tokio::test]
async fn speech_stands_under_both_names() {
    let api = Api::new().await;
    let body = api
        .post("models/elevenlabs/tts", &json!({"text": "p"}))
        .send()
        .await
        .ok(200);
    assert_eq!(body["audioUrl"], body["audio_url"]);
    let id = body["jobId"].as_str().unwrap();
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(
        (&job["audioUrl"], &job["audio_url"]),
        (&body["audioUrl"], &body["audioUrl"])
    );
}

#[tokio::test]
async fn async_rows_answer_with_a_job() {
    let made = Api::new().await;
    let Media { image, video } = media(&made).await;
    // The worker is busy elsewhere: nothing of this can have ended when it is answered.
    let rows = [
        ("grok-imagine", json!({"prompt": "p"}), "grok-imagine", 150),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "image-to-video", "image_url": image}),
            "grok-imagine",
            150,
        ),
        (
            "veo3",
            json!({"prompt": "p", "aspect_ratio": "9:16", "duration": 8}),
            "veo3",
            175,
        ),
        (
            "kling",
            json!({"prompt": "p", "image_url": image, "video_url": video, "keep_original_sound": false}),
            "kling",
            40,
        ),
    ];
    for (path, input, model, price) in rows {
        let before = made.credits().await;
        let gate = made.provider.hold_next();
        let answer = made.post(&format!("models/{path}"), &input).send().await;
        let body = answer.ok(202);
        let id = body["jobId"].as_str().unwrap();
        assert_eq!(body["status"], "pending", "{path}");
        assert!(
            body["message"].as_str().unwrap().contains("Video"),
            "{body}"
        );
        assert_eq!(body["creditsCharged"], price, "{path}");
        assert_eq!(body.get("externalJobId"), Some(&Value::Null));
        assert_eq!(body["input"]["prompt"], "p");
        if input.get("image_url").is_some() {
            assert!(
                body["input"]["image_url"]
                    .as_str()
                    .unwrap()
                    .starts_with("asset:")
            );
        }
        assert_eq!(
            answer.header("location"),
            Some(format!("{PUBLIC_URL}/api/v1/jobs/{id}").as_str())
        );
        assert_eq!(answer.number("x-credits-charged"), price);
        assert_eq!(answer.number("x-credits-remaining"), before - price);
        // Still nothing that a client could take for a result: `fixture` looks.
        let running = made.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_eq!(running["output"], Value::Null);
        gate.open();
        made.get(&format!("jobs/{id}?wait=20")).send().await.ok(200);
        check_job(&made, id, model, price, "video", "video/mp4", 1).await;
        assert_eq!(made.credits().await, before - price);
    }
}

#[tokio::test]
async fn both_spellings_come_to_the_same() {
    let api = Api::new().await;
    let image = api.picture().await;
    for (path, one, other) in [
        (
            "gemini/edit",
            json!({"prompt": "p", "imageUrl": image, "aspectRatio": "3:2"}),
            json!({"prompt": "p", "image_url": image, "aspect_ratio": "3:2"}),
        ),
        (
            "flux-edit/edit",
            json!({"prompt": "p", "imageUrl": image, "imageUrls": [image], "numImages": 2}),
            json!({"prompt": "p", "image_url": image, "image_urls": [image], "num_images": 2}),
        ),
        (
            "veo3",
            json!({"prompt": "p", "aspect_ratio": "1:1"}),
            json!({"prompt": "p", "aspectRatio": "1:1"}),
        ),
        (
            "kling",
            json!({"prompt": "p", "image_url": image, "keep_original_sound": false}),
            json!({"prompt": "p", "imageUrl": image, "keepOriginalSound": false}),
        ),
        (
            "elevenlabs/tts",
            json!({"text": "p", "voice_id": "v"}),
            json!({"text": "p", "voiceId": "v"}),
        ),
    ] {
        let mut seen = Vec::new();
        for input in [&one, &other] {
            let call = api.post(&format!("models/{path}"), input);
            let body = call.header("prefer", "respond-async").send().await.ok(202);
            seen.push((body["input"].clone(), body["creditsCharged"].clone()));
        }
        assert_eq!(seen[0], seen[1], "{path}");
        for (name, value) in one.as_object().unwrap() {
            if !value.to_string().contains("http") {
                assert_eq!(&seen[0].0[name], value, "{path}");
            }
        }
    }
}

#[tokio::test]
async fn unknown_fields_are_tolerated_and_defaults_are_shown() {
    let api = Api::new().await;
    let input = json!({"prompt": "p", "webhook": "https://example.com", "callbackUrl": "https://example.com", "style": {"deep": [1]}});
    let call = api.post("models/gemini/generate", &input);
    let body = call.header("prefer", "respond-async").send().await.ok(202);
    assert_eq!(body["input"], json!({"prompt": "p", "aspectRatio": "1:1"}));
}

#[tokio::test]
async fn a_call_can_be_made_async() {
    let api = Api::idle().await;
    for wish in [
        "respond-async",
        "Respond-Async",
        "foo, respond-async",
        "respond-async; x=1",
        "wait=5, respond-async",
        "wait=0",
    ] {
        let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
        let body = call.header("prefer", wish).send().await.ok(202);
        assert_eq!(body["status"], "pending", "{wish}");
        assert!(
            body["message"]
                .as_str()
                .unwrap()
                .starts_with("Image generation started")
        );
    }
}

#[tokio::test]
async fn an_async_call_can_be_waited_for() {
    let api = Api::new().await;
    let call = api.post("models/veo3", &json!({"prompt": "p"}));
    let body = call.header("prefer", "wait=20").send().await.ok(200);
    assert_eq!(body["status"], "completed");
    check_files(&api, &body, "video", "video/mp4", 1).await;
}

#[tokio::test]
async fn a_wait_that_is_over_answers_with_the_job() {
    let api = Api::with("enterprise", |setup| {
        setup.sync_wait = Duration::from_millis(50);
    })
    .await;
    for call in [
        api.post("models/gemini/generate", &json!({"prompt": "p"})),
        api.post("models/veo3", &json!({"prompt": "p"}))
            .header("prefer", "wait=50"),
    ] {
        let body = call.send().await.ok(202);
        let id = body["jobId"].as_str().unwrap();
        api.step().await;
        let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
        assert_eq!(job["status"], "completed", "it goes on");
    }
}

#[tokio::test]
async fn what_is_missing_is_refunded_in_the_same_answer() {
    let api = Api::new().await;
    let image = api.picture().await;
    let before = api.credits().await;
    api.provider.next(Reply::Files(vec![files::png(1, 1)]));
    let input = json!({"prompt": "p", "imageUrl": image, "numImages": 4});
    let answer = api.post("models/flux-edit/edit", &input).send().await;
    let body = answer.ok(200);
    assert_eq!(
        body["refund"],
        json!({"applied": true, "creditsRefunded": 45})
    );
    assert_eq!(body["creditsCharged"], 60);
    assert_eq!(body["resultUrls"].as_array().unwrap().len(), 1);
    assert_eq!(answer.number("x-credits-remaining"), before - 15);
    assert_eq!(api.credits().await, before - 15);
    let id = body["jobId"].as_str().unwrap();
    let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
    assert_eq!(
        (&job["creditsRefunded"], &job["status"]),
        (&json!(45), &json!("completed"))
    );
}

#[tokio::test]
async fn the_kinds_of_file_are_what_the_bytes_say() {
    let api = Api::new().await;
    // The smallest head of a JPEG that has a size.
    let jpeg =
        b"\xff\xd8\xff\xc0\0\x11\x08\0\x05\0\x09\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xd9";
    api.provider
        .next(Reply::Files(vec![bytes::Bytes::from_static(jpeg)]));
    let body = api
        .post("models/gemini/generate", &json!({"prompt": "p"}))
        .send()
        .await
        .ok(200);
    assert_eq!(body["mimeType"], "image/jpeg");
    let (_, extension) = body["imageUrl"].as_str().unwrap().rsplit_once('.').unwrap();
    assert_eq!(extension, "jpg");
}
