//! The three real clients of contract section 11, doing exactly what its table says. They know one thing of this server:
//! its address.

use crate::api::{Answer, Api};
use crate::programs::until;
use crate::server::{Data, Server};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The plugin waits 2.5 s between its looks; nothing but the test's time hangs on it.
const LOOK_EVERY: Duration = Duration::from_millis(150);
const LOOKS: u32 = 400;

/// The beat of a client that polls; the first look has just been.
async fn ticks() -> Interval {
    let mut next = interval(LOOK_EVERY);
    next.set_missed_tick_behavior(MissedTickBehavior::Delay);
    next.tick().await;
    next
}

/// The first name under which a client finds the job.
fn job_id(body: &Value) -> Option<&str> {
    body["jobId"].as_str().or(body["id"].as_str())
}

/// What a client shows to its user.
fn error_of(body: &Value) -> String {
    let sentence = body["message"].as_str().or(body["error"].as_str());
    sentence.unwrap_or("the generation failed").to_owned()
}

/// An agent's media plugin: one tool that makes a file of any kind.
struct MediaPlugin {
    api: Api,
    /// Only here, to see it fail.
    simulate: Option<&'static str>,
}

#[derive(Debug)]
struct Made {
    /// What the last answer said.
    status: String,
    /// How often it looked after the first answer.
    looks: u32,
    url: String,
    file: Answer,
}

impl MediaPlugin {
    fn new(server: &Server, key: &str) -> Self {
        Self {
            api: server.api(key),
            simulate: None,
        }
    }

    async fn make(&self, path: &str, input: Value) -> Result<Made, String> {
        let path = format!("models/{path}");
        let first = match self.simulate {
            None => self.api.post(&path, &input).await,
            Some(outcome) => self.api.simulate(outcome, &path, &input).await,
        };
        let mut body = first.json();
        if first.status >= 400 {
            return Err(error_of(&body));
        }
        let id = job_id(&body).ok_or("the answer names no job")?.to_owned();
        let mut next = ticks().await;
        for looks in 0..LOOKS {
            let status = body["status"].as_str().unwrap_or_default();
            if matches!(status, "failed" | "error" | "cancelled") {
                return Err(error_of(&body));
            }
            let urls = result_urls(&body);
            if status == "completed" || !urls.is_empty() {
                let url = urls.first().ok_or("completed without a file")?.clone();
                let file = self.download(&url).await?;
                return Ok(Made {
                    status: status.to_owned(),
                    looks,
                    url,
                    file,
                });
            }
            next.tick().await;
            let look = self.api.get(&format!("jobs/{id}")).await;
            body = look.json();
            if look.status >= 400 {
                return Err(error_of(&body));
            }
        }
        Err("it takes too long".to_owned())
    }

    async fn download(&self, url: &str) -> Result<Answer, String> {
        let file = self.api.fetch(url).await;
        let media_type = file.media_type();
        if file.status != 200 {
            return Err(format!("the file answers {}", file.status));
        }
        if media_type.starts_with("application/json") || media_type.starts_with("text/html") {
            return Err(format!("the file is {media_type}"));
        }
        if file.body.is_empty() {
            return Err("the file is empty".to_owned());
        }
        Ok(file)
    }
}

/// Every http URL under a name that a result can have, however deep.
fn result_urls(body: &Value) -> Vec<String> {
    fn under(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.starts_with("http") => found.push(text.clone()),
            Value::Array(values) => values.iter().for_each(|value| under(value, found)),
            Value::Object(fields) => fields.values().for_each(|value| under(value, found)),
            _ => {}
        }
    }
    fn search(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Array(values) => values.iter().for_each(|value| search(value, found)),
            Value::Object(fields) => {
                for (name, value) in fields {
                    let lower = name.to_ascii_lowercase();
                    if lower.ends_with("url")
                        || lower.ends_with("urls")
                        || matches!(lower.as_str(), "output" | "result" | "data" | "assets")
                    {
                        under(value, found);
                    } else {
                        search(value, found);
                    }
                }
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    search(body, &mut found);
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agents_media_plugin() {
    let data = Data::new();
    let org = data.org("agents", 1_000).await;
    // The least that a plugin is given: its jobs are its own.
    let key = data.key(&org, &["--scope", "models:write"]).await;
    let server = data.serve().await;
    let plugin = MediaPlugin::new(&server, &key);

    let prompt = json!({"prompt": "a red fox", "model": "text-to-image"});
    let image = plugin.make("grok-imagine", prompt).await.unwrap();
    assert_eq!((image.status.as_str(), image.looks), ("completed", 0));
    assert_eq!(image.file.media_type(), "image/png");

    let video = plugin
        .make("veo3", json!({"prompt": "a river in autumn"}))
        .await
        .unwrap();
    assert_eq!(
        video.status, "completed",
        "it took another URL for the result"
    );
    assert!(video.looks > 0, "a video is not there at once");
    assert_eq!(video.file.media_type(), "video/mp4");

    let input = json!({"prompt": "it runs", "image_url": image.url, "video_url": video.url});
    let moved = plugin.make("kling", input).await.unwrap();
    assert_eq!(
        moved.status, "completed",
        "it took another URL for the result"
    );
    assert_eq!(moved.file.media_type(), "video/mp4");
    assert!(moved.url != video.url && moved.file.body != video.file.body);

    let text = json!({"text": "Your files are ready.", "voice_id": "rachel"});
    let speech = plugin.make("elevenlabs/tts", text).await.unwrap();
    assert_eq!(speech.file.media_type(), "audio/wav");

    let left = data.json(&["org", "show", "--org", &org]).await["credits"].clone();
    assert_eq!(left, 1_000 - 8 - 175 - 40 - 5);
    server.stop().await;
}

/// Before a job is done, nothing in any answer may look like its result.
#[tokio::test(flavor = "multi_thread")]
async fn no_url_stands_where_a_result_will_before_it_is_there() {
    let data = Data::new();
    let org = data.org("agents", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let image = api
        .post("models/gemini/generate", &json!({"prompt": "a coin"}))
        .await
        .expect(200);
    let image = &result_urls(&image)[0];

    let input = json!({"prompt": "it turns", "image_url": image, "imageUrl": image});
    for path in ["kling", "veo3", "grok-imagine"] {
        let path = format!("models/{path}");
        let accepted = api.simulate("SLOW=30s", &path, &input).await.expect(202);
        assert_eq!(result_urls(&accepted), [""; 0], "{accepted}");
        let url = format!("jobs/{}", job_id(&accepted).unwrap());
        let job = api.get(&url).await.expect(200);
        assert_eq!(result_urls(&job), [""; 0], "{job}");
        let cancelled = api.delete(&url).await.expect(200);
        assert_eq!(result_urls(&cancelled), [""; 0], "{cancelled}");
    }
    let workflow = json!({"workflow": "generate_video", "input": input});
    let created = api
        .simulate("SLOW=30s", "jobs", &workflow)
        .await
        .expect(201);
    assert_eq!(result_urls(&created), [""; 0], "{created}");
    api.delete(&format!("jobs/{}", job_id(&created).unwrap()))
        .await
        .expect(200);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_plugin_sees_a_failure_and_refuses_what_is_no_media() {
    let data = Data::new();
    let org = data.org("agents", 0).await;
    let key = data.key(&org, &["--test"]).await;
    let server = data.serve().await;
    let mut plugin = MediaPlugin::new(&server, &key);
    plugin.simulate = Some("GENERATION_FAILED");

    let image = json!({"prompt": "a fox", "model": "text-to-image"});
    let told = plugin.make("grok-imagine", image).await.unwrap_err();
    assert_eq!(told, "Failed to generate image");
    let told = plugin
        .make("veo3", json!({"prompt": "a fox"}))
        .await
        .unwrap_err();
    assert_eq!(told, "Failed to generate video");
    assert_eq!(plugin.api.credits().await, 10_000, "both are paid back");

    plugin.simulate = Some("SLOW=30s");
    let making = plugin.make("veo3", json!({"prompt": "a fox"}));
    let cancelling = async {
        let job = until("the plugin's job runs", || async {
            let running = plugin.api.get("jobs?status=running").await.expect(200);
            running["data"][0]["id"].as_str().map(str::to_owned)
        })
        .await;
        plugin.api.delete(&format!("jobs/{job}")).await.expect(200)
    };
    let (told, _) = tokio::join!(making, cancelling);
    told.unwrap_err();
    assert_eq!(plugin.api.credits().await, 10_000);

    for (url, problem) in [
        ("api/v1/health", "the file is application/json"),
        ("docs", "the file is text/html"),
        ("media/00/00", "the file answers 404"),
    ] {
        let refused = plugin
            .download(&format!("{}/{url}", server.url))
            .await
            .unwrap_err();
        assert!(refused.starts_with(problem), "{refused}");
    }
    server.stop().await;
}

/// Images only; polls until completed even so, and looks for `url` or `imageUrl` in three places.
#[tokio::test(flavor = "multi_thread")]
async fn a_desktop_app() {
    let data = Data::new();
    let org = data.org("desktop", 100).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);

    let input =
        json!({"prompt": "a harbour at noon", "model": "text-to-image", "aspect_ratio": "3:2"});
    let first = api.post("models/grok-imagine", &input).await.expect(200);
    let id = job_id(&first)
        .expect("it demands a job even for an image")
        .to_owned();
    let mut job = api.get(&format!("jobs/{id}")).await.expect(200);
    let mut next = ticks().await;
    for _ in 0..LOOKS {
        if job["status"] == "completed" {
            break;
        }
        assert_ne!(job["status"], "failed", "{job}");
        next.tick().await;
        job = api.get(&format!("jobs/{id}")).await.expect(200);
    }
    assert_eq!(job["status"], "completed");
    let places = [&job, &job["output"], &job["result"]];
    let names = places
        .iter()
        .flat_map(|place| [&place["url"], &place["imageUrl"]]);
    let urls: Vec<&str> = names.filter_map(Value::as_str).collect();
    assert!(!urls.is_empty(), "{job}");
    assert!(
        urls.iter().all(|url| *url == urls[0]),
        "the places disagree: {job}"
    );
    let file = api.fetch(urls[0]).await;
    assert_eq!((file.status, file.media_type()), (200, "image/png"));
    assert_eq!(api.credits().await, 92);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_voice_sdk() {
    let data = Data::new();
    let org = data.org("voices", 100).await;
    let key = data.key(&org, &["--scope", "models:*"]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let input = json!({"text": "Good morning.", "voice_id": "21m00Tcm4TlvDq8ikWAM"});
    let answer = api.post("models/elevenlabs/tts", &input).await.expect(200);
    let url = answer["audio_url"]
        .as_str()
        .or(answer["output"][0].as_str())
        .or(answer["results"][0]["url"].as_str())
        .expect("an audio file");
    let file = api.fetch(url).await;
    assert_eq!((file.status, file.media_type()), (200, "audio/wav"));
    assert_eq!(&file.body[..4], b"RIFF");
    assert_eq!(
        answer["audioUrl"], url,
        "another real client reads the other name"
    );
    server.stop().await;
}
