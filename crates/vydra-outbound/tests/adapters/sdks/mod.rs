//! What the providers' own SDKs send, beside what the adapters send, to servers that answer both alike.
//!
//! `cargo xtask sdks` brings the SDKs. Without them the tests say so and skip.

mod catalogue;
mod schema;

use crate::form::{self, Part};
use crate::harness::{Harness, Task};
use crate::suite;
use crate::{compatible, elevenlabs, fal, gemini, interactions, openai, replicate, vertex};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::process::Command;
use vydra_outbound::provider::{OutputSource, Request};
use vydra_testkit::upstream::{KEY, Recorded, Stub};

/// Far more than an SDK takes to start.
const BOUND: Duration = Duration::from_mins(2);

#[derive(Debug, Clone, Copy)]
enum Language {
    Node,
    Python,
}

/// Where `cargo xtask sdks` puts them.
fn installed(path: &str) -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let found = target.join("sdks").join(path);
    if found.exists() {
        return Some(found);
    }
    println!(
        "skipped: no {}; `cargo xtask sdks` brings it",
        found.display()
    );
    None
}

impl Language {
    fn command(self, conversation: &str) -> Option<Command> {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/adapters/sdks");
        let mut command = match self {
            Self::Node => {
                let packages = installed("node/node_modules")?;
                let mut command = Command::new("node");
                command
                    .arg(scripts.join("node.mjs"))
                    .arg(packages.parent()?);
                command
            }
            Self::Python => {
                let mut command = Command::new(installed("python/bin/python")?);
                command.arg(scripts.join("python.py"));
                command
            }
        };
        #[expect(clippy::disallowed_methods, reason = "node is where PATH says")]
        let path = std::env::var_os("PATH").unwrap_or_default();
        // Neither a proxy nor a key of whoever runs the tests.
        command.arg(conversation).env_clear().env("PATH", path);
        Some(command)
    }

    /// What the SDK understood; None where it is not installed.
    async fn runs(self, conversation: &str, url: &str) -> Option<Value> {
        let mut command = self.command(conversation)?;
        let call = json!({"url": url, "key": KEY}).to_string();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        input.write_all(call.as_bytes()).await.unwrap();
        drop(input);
        let output = tokio::time::timeout(BOUND, child.wait_with_output());
        let output = output.await.expect("the SDK waits for ever").unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{self:?} {conversation}: {told}");
        Some(serde_json::from_slice(&output.stdout).unwrap())
    }
}

/// A request without what is free to differ: the order of fields, the name of a client.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sent {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<&'static str, String>,
    body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Body {
    Nothing,
    Json(Value),
    Form(Vec<Part>),
}

/// Who asks, and how.
const TOLD: [&str; 6] = [
    "authorization",
    "x-goog-api-key",
    "xi-api-key",
    "cancel-after",
    "prefer",
    "x-fal-request-timeout",
];

impl Sent {
    fn new(recorded: &Recorded) -> Self {
        let (path, query) = recorded
            .path
            .split_once('?')
            .unwrap_or((&recorded.path, ""));
        let kind = recorded.header("content-type").unwrap_or_default();
        let body = match recorded.body.is_empty() {
            true => Body::Nothing,
            false if kind.starts_with("multipart/") => Body::Form(form::parts(recorded)),
            false => Body::Json(recorded.json()),
        };
        let told = TOLD
            .into_iter()
            .filter_map(|name| Some((name, recorded.header(name)?.to_owned())));
        Self {
            method: recorded.method.clone(),
            path: path.to_owned(),
            query: url::form_urlencoded::parse(query.as_bytes())
                .into_owned()
                .collect(),
            headers: told.collect(),
            body,
        }
    }
}

fn sent(stub: &Stub) -> Vec<Sent> {
    stub.requests().iter().map(Sent::new).collect()
}

struct Conversation {
    name: &'static str,
    harness: Harness,
    request: Request,
    /// Takes away what one of both sends by itself, with the same meaning.
    alike: fn(&mut Sent),
}

impl Conversation {
    fn of(name: &'static str, harness: Harness) -> Self {
        Self {
            name,
            request: (harness.request)(),
            alike: |_| {},
            harness,
        }
    }

    fn compare(&self, ours: &Stub, theirs: &Stub) {
        let (mut ours, mut theirs) = (sent(ours), sent(theirs));
        ours.iter_mut().chain(&mut theirs).for_each(self.alike);
        assert_eq!(ours, theirs, "ours, and theirs");
    }

    /// Both begin a task and cancel it.
    async fn cancels_with(self, name: &str, language: Language) {
        let Ok(Task {
            accepted,
            cancel: Ok(cancel),
            ..
        }) = &self.harness.task
        else {
            panic!("{name}: there is nothing to cancel");
        };
        let replies = || std::iter::once(accepted()).chain((cancel.in_time)());
        let theirs = Stub::replying(replies()).await;
        if language.runs(name, &theirs.url).await.is_none() {
            return;
        }
        let ours = Stub::replying(replies()).await;
        let provider = (self.harness.provider)(&ours.url);
        let task = suite::submitted(provider.as_ref(), self.request.clone()).await;
        provider.cancel(&task).await;
        self.compare(&ours, &theirs);
    }

    /// Both have a file made, and find the same.
    async fn agrees_with(self, language: Language) {
        let made = suite::made(&self.harness, 0);
        let replies = (self.harness.works)(std::slice::from_ref(&made));
        let replies = suite::with_files(&self.harness, replies, 1);
        let theirs = Stub::replying(replies.clone()).await;
        let Some(understood) = language.runs(self.name, &theirs.url).await else {
            return;
        };
        let ours = Stub::replying(replies).await;
        let provider = (self.harness.provider)(&ours.url);
        let outputs = suite::run(provider.as_ref(), self.request.clone())
            .await
            .unwrap();
        self.compare(&ours, &theirs);
        let mut found = Vec::new();
        for output in outputs {
            found.push(match output.source {
                OutputSource::Url(url) => url,
                OutputSource::Bytes(bytes) => base64(&bytes),
                OutputSource::Own(upstream, path) => {
                    let mut body = upstream.open(&path, 1024).await.unwrap();
                    base64(&body.piece().await.unwrap().unwrap())
                }
            });
        }
        assert_eq!(json!(found), understood, "found, and by {language:?}");
    }
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

fn openai_images() -> Conversation {
    Conversation::of("openai_images", openai::HARNESS)
}

fn openai_edits() -> Conversation {
    Conversation {
        request: openai::edit(),
        ..Conversation::of("openai_edits", openai::HARNESS)
    }
}

fn openai_speech() -> Conversation {
    Conversation::of("openai_speech", openai::speech::HARNESS)
}

fn openai_videos() -> Conversation {
    Conversation {
        request: compatible::videos::from_a_picture(),
        ..Conversation::of("openai_videos", compatible::videos::HARNESS)
    }
}

fn gemini_images() -> Conversation {
    Conversation {
        // Google's servers take both names of a field.
        alike: |sent| {
            let Body::Json(body) = &mut sent.body else {
                return;
            };
            for part in body
                .pointer_mut("/contents/0/parts")
                .and_then(Value::as_array_mut)
                .into_iter()
                .flatten()
            {
                if let Some(Value::Object(file)) = part.get_mut("inlineData")
                    && let Some(kind) = file.remove("mime_type")
                {
                    file.insert("mimeType".to_owned(), kind);
                }
            }
        },
        ..Conversation::of("gemini_images", gemini::HARNESS)
    }
}

fn gemini_videos() -> Conversation {
    Conversation {
        // A list of contents is one turn of the user.
        alike: |sent| {
            if let Body::Json(body) = &mut sent.body
                && let Some(turn) = body.pointer("/input/0/content")
            {
                body["input"] = turn.clone();
            }
            sent.query
                .retain(|name, value| (name.as_str(), value.as_str()) != ("stream", "false"));
        },
        ..Conversation::of("gemini_videos", interactions::HARNESS)
    }
}

fn vertex_videos() -> Conversation {
    Conversation {
        // Written small in the reference of the API, large in the SDKs.
        alike: |sent| {
            if let Body::Json(body) = &mut sent.body
                && let Some(kind) = body.pointer_mut("/instances/0/referenceImages/0/referenceType")
            {
                *kind = kind.as_str().map(str::to_ascii_lowercase).into();
            }
        },
        ..Conversation::of("vertex_videos", vertex::HARNESS)
    }
}

fn replicate() -> Conversation {
    Conversation {
        // The SDKs leave the end of a task to the server, and one of them knows the version by itself.
        alike: |sent| {
            sent.headers.remove("cancel-after");
            sent.path = sent.path.trim_start_matches("/v1").to_owned();
        },
        ..Conversation::of("replicate", replicate::HARNESS)
    }
}

fn elevenlabs() -> Conversation {
    Conversation::of("elevenlabs", elevenlabs::HARNESS)
}

fn fal() -> Conversation {
    Conversation {
        alike: |sent| {
            sent.query
                .retain(|name, value| (name.as_str(), value.as_str()) != ("logs", "0"));
        },
        ..Conversation::of("fal", fal::HARNESS)
    }
}

/// A test of each of these conversations in each of these languages.
macro_rules! agree {
    ($($language:ident in $module:ident: $($conversation:ident),+;)+) => {
        $(mod $module {
            $(
                #[tokio::test]
                async fn $conversation() {
                    super::$conversation().agrees_with(super::Language::$language).await;
                }
            )+
        })+
    };
}

agree! {
    Node in node: openai_images, openai_edits, openai_speech, openai_videos, gemini_images, gemini_videos, vertex_videos,
        replicate, elevenlabs, fal;
    Python in python: openai_images, openai_edits, openai_speech, openai_videos, gemini_images, gemini_videos, vertex_videos,
        replicate, elevenlabs;
}

#[tokio::test]
async fn a_task_is_cancelled_alike() {
    for (name, conversation) in [
        ("fal_cancel", fal()),
        ("gemini_videos_cancel", gemini_videos()),
        ("replicate_cancel", replicate()),
    ] {
        conversation.cancels_with(name, Language::Node).await;
    }
}
