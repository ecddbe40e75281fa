//! The files are real: opened by others' decoders, of the size and length that was asked for.

use crate::api::{Answer, Api};
use crate::browser;
use crate::programs::{installed, run};
use crate::server::{Data, Server, text};
use image::{DynamicImage, GenericImageView, ImageFormat};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fs;
use std::path::Path;
use tokio::process::Command;

async fn studio(data: &Data) -> (Server, Api) {
    let org = data.org("studio", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    (server, api)
}

/// The file, with its media type checked.
async fn fetch(api: &Api, url: &Value, media_type: &str) -> Answer {
    let file = api.fetch(url.as_str().unwrap()).await;
    assert_eq!((file.status, file.media_type()), (200, media_type));
    assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
    file
}

fn decode(file: &Answer, format: ImageFormat) -> DynamicImage {
    assert_eq!(image::guess_format(&file.body).unwrap(), format);
    image::load_from_memory_with_format(&file.body, format).unwrap()
}

/// Not a grey box: many colours, spread over the picture.
fn assert_worth_looking_at(image: &DynamicImage) {
    let small = image.thumbnail_exact(64, 64).to_rgb8();
    let colours: HashSet<[u8; 3]> = small.pixels().map(|pixel| pixel.0).collect();
    assert!(colours.len() > 200, "only {} colours", colours.len());
}

fn assert_ratio((width, height): (u32, u32), ratio: &str) {
    let (w, h) = ratio.split_once(':').unwrap();
    let wanted = w.parse::<f64>().unwrap() / h.parse::<f64>().unwrap();
    let found = f64::from(width) / f64::from(height);
    assert!(
        (found / wanted - 1.0).abs() < 0.02,
        "{ratio}: {width} x {height}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pictures_have_the_aspect_ratio_that_was_asked_for() {
    let data = Data::new();
    let (server, api) = studio(&data).await;
    let mut seen = HashSet::new();
    for ratio in [
        "1:1", "2:3", "3:2", "3:4", "4:3", "4:5", "5:4", "9:16", "16:9", "21:9",
    ] {
        let input = json!({"prompt": format!("mountains at dawn, {ratio}"), "aspectRatio": ratio});
        let answer = api.post("models/gemini/generate", &input).await.expect(200);
        assert_eq!(answer["mimeType"], "image/png");
        let image = decode(
            &fetch(&api, &answer["imageUrl"], "image/png").await,
            ImageFormat::Png,
        );
        assert_ratio(image.dimensions(), ratio);
        assert_worth_looking_at(&image);
        seen.insert(image.dimensions());
        let job = api.end_of(answer["jobId"].as_str().unwrap()).await;
        let asset = &job["output"]["assets"][0];
        assert_eq!(
            (&asset["width"], &asset["height"]),
            (&image.width().into(), &image.height().into())
        );
    }
    assert_eq!(seen.len(), 10);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn edits_deliver_as_many_files_as_were_paid_in_the_format_that_was_asked_for() {
    let data = Data::new();
    let (server, api) = studio(&data).await;
    let prompt = json!({"prompt": "a lake in summer", "aspectRatio": "3:2"});
    let start = api
        .post("models/nano-banana/edit", &prompt)
        .await
        .expect(200);
    assert_eq!(start["mode"], "generate");

    let input = json!({
        "prompt": "northern lights", "imageUrl": start["imageUrl"], "resolution": "1K",
        "numImages": 2, "outputFormat": "jpeg",
    });
    let answer = api.post("models/flux-edit/edit", &input).await;
    assert_eq!(answer.header("x-credits-charged"), Some("30"));
    assert_eq!(answer.header("x-credits-remaining"), Some("962"));
    let answer = answer.expect(200);
    assert_eq!(
        (&answer["creditsCharged"], &answer["mimeType"]),
        (&30.into(), &"image/jpeg".into())
    );
    assert_eq!(answer["resultUrls"], answer["imageUrls"]);
    let urls = answer["resultUrls"].as_array().unwrap();
    assert_eq!(urls.len(), 2);
    let mut bodies = HashSet::new();
    for url in urls {
        let file = fetch(&api, url, "image/jpeg").await;
        let image = decode(&file, ImageFormat::Jpeg);
        assert_ratio(image.dimensions(), "3:2");
        assert_worth_looking_at(&image);
        bodies.insert(file.body);
    }
    assert_eq!(bodies.len(), 2, "the same picture was sold twice");

    // Both spellings; and an own file is taken from storage, so that this works offline.
    let input = json!({"prompt": "in winter", "image_url": start["imageUrl"]});
    let edited = api
        .post("models/nano-banana/edit", &input)
        .await
        .expect(200);
    assert_eq!(edited["mode"], "edit");
    decode(
        &fetch(&api, &edited["imageUrl"], "image/png").await,
        ImageFormat::Png,
    );
    assert_eq!(api.credits().await, 1_000 - 8 - 30 - 8);
    server.stop().await;
}

async fn probe(file: &Path) -> Value {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe
        .args([
            "-v",
            "error",
            "-of",
            "json",
            "-show_format",
            "-show_streams",
            "-count_frames",
        ])
        .arg(file);
    let ran = run(ffprobe).await;
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""));
    serde_json::from_str(&ran.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_video_is_h264_of_the_asked_length_and_plays_in_a_browser() {
    let data = Data::new();
    let (server, api) = studio(&data).await;
    let input = json!({"prompt": "waves at night", "duration": 2, "aspectRatio": "9:16"});
    let accepted = api.post("models/veo3", &input).await.expect(202);
    let job = api.end_of(accepted["jobId"].as_str().unwrap()).await;
    assert_eq!(job["status"], "completed", "{job}");
    let url = text(&job["videoUrl"]);
    let file = fetch(&api, &job["videoUrl"], "video/mp4").await;
    assert_eq!(job["output"]["assets"][0]["size"], file.body.len());
    let part = api.fetch_range(&url, "bytes=4-7").await;
    assert_eq!((part.status, part.body.as_slice()), (206, &b"ftyp"[..]));

    if installed("ffprobe").await {
        let path = data.path("video.mp4");
        fs::write(&path, &file.body).unwrap();
        let probed = probe(&path).await;
        let stream = &probed["streams"][0];
        assert_eq!(stream["codec_name"], "h264");
        let number = |value: &Value| text(value).parse::<f64>().unwrap();
        let duration = number(&probed["format"]["duration"]);
        assert!((duration - 2.0).abs() < 0.1, "{duration} s");
        assert!(number(&stream["nb_read_frames"]) >= 24.0, "{stream}");
        let side = |name: &str| u32::try_from(stream[name].as_u64().unwrap()).unwrap();
        assert_ratio((side("width"), side("height")), "9:16");
    }
    if installed("chromium").await {
        let seen = browser::play(&url).await;
        assert_eq!(seen["error"], Value::Null, "{seen}");
        let number = |name: &str| seen[name].as_f64().unwrap();
        assert!((number("duration") - 2.0).abs() < 0.1, "{seen}");
        assert!(
            number("currentTime") > 0.3 && number("frames") > 2.0,
            "{seen}"
        );
        assert!(
            number("videoWidth") > 100.0 && number("videoHeight") > number("videoWidth"),
            "{seen}"
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_house_timelapse_is_a_film_of_all_its_stages() {
    let data = Data::new();
    let (server, api) = studio(&data).await;
    let input = json!({"theme": "a red barn", "aspect_ratio": "1:1", "seconds": 1});
    let body = json!({"workflow": "house-timelapse", "input": input});
    let accepted = api.post("jobs", &body).await.expect(201);
    let job = api.end_of(accepted["id"].as_str().unwrap()).await;
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(
        (&job["creditsCharged"], &job["provider"]),
        (&150.into(), &"local".into())
    );
    assert_eq!(job["output"]["assets"][0]["durationMs"], 5_000);
    let file = fetch(&api, &job["videoUrl"], "video/mp4").await;
    if installed("ffprobe").await {
        let path = data.path("timelapse.mp4");
        fs::write(&path, &file.body).unwrap();
        let probed = probe(&path).await;
        let stream = &probed["streams"][0];
        assert_eq!(stream["codec_name"], "h264");
        assert_eq!(
            text(&stream["nb_read_frames"]),
            "120",
            "five stages of a second"
        );
        assert_eq!(
            (&stream["width"], &stream["height"]),
            (&960.into(), &960.into())
        );
    }
    assert_eq!(api.credits().await, 1_000 - 150);
    server.stop().await;
}

/// Seconds of sound in a WAV, read from its header; the samples must not be silence.
fn seconds(wav: &[u8]) -> f64 {
    let number = |at: usize| u32::from_le_bytes(wav[at..at + 4].try_into().unwrap());
    let short = |at: usize| u16::from_le_bytes(wav[at..at + 2].try_into().unwrap());
    assert_eq!((&wav[..4], &wav[8..16]), (&b"RIFF"[..], &b"WAVEfmt "[..]));
    assert_eq!(number(4) as usize + 8, wav.len());
    assert_eq!(
        (short(20), short(22), short(34)),
        (1, 1, 16),
        "PCM, mono, 16 bits"
    );
    assert_eq!(&wav[36..40], b"data");
    let (rate, bytes) = (number(24), number(40));
    assert_eq!(bytes as usize + 44, wav.len());
    let loudest = wav[44..]
        .chunks_exact(2)
        .map(|pair| i16::from_le_bytes([pair[0], pair[1]]).unsigned_abs());
    assert!(loudest.max().unwrap() > 1_000, "silence");
    f64::from(bytes) / 2.0 / f64::from(rate)
}

#[tokio::test(flavor = "multi_thread")]
async fn speech_is_a_wav_as_long_as_its_text() {
    let data = Data::new();
    let (server, api) = studio(&data).await;
    let mut lengths = Vec::new();
    for words in [
        "Hello there.",
        "Hello there. Your picture of the lighthouse is ready, and so is the film of the sea.",
    ] {
        let answer = api
            .post("models/elevenlabs/tts", &json!({"text": words}))
            .await
            .expect(200);
        let file = fetch(&api, &answer["audioUrl"], "audio/wav").await;
        let length = seconds(&file.body);
        let job = api.end_of(answer["jobId"].as_str().unwrap()).await;
        if let Some(told) = job["output"]["assets"][0]["durationMs"].as_f64() {
            assert!(
                (told / 1_000.0 - length).abs() < 0.05,
                "{told} ms, but {length} s"
            );
        }
        lengths.push(length);
    }
    assert!(
        lengths[0] > 0.3 && lengths[1] > 2.0 * lengths[0] && lengths[1] < 30.0,
        "{lengths:?}"
    );
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instant_provider_answers_with_ready_made_files() {
    let data = Data::new().with("VYDRA__PROVIDERS__LOCAL__INSTANT", "true");
    let (server, api) = studio(&data).await;
    let mut files = HashSet::new();
    for prompt in ["a lighthouse", "something else"] {
        let answer = api
            .post("models/gemini/generate", &json!({"prompt": prompt}))
            .await
            .expect(200);
        let file = fetch(&api, &answer["imageUrl"], "image/png").await;
        assert_eq!(decode(&file, ImageFormat::Png).dimensions(), (64, 64));
        files.insert(file.body);
    }
    assert_eq!(files.len(), 1);
    server.stop().await;
}
