//! Uploads through the real router. The first line of an input is its Content-Type, and the rest the body. In one piece and in many the
//! same is taken, as the same file; no answer is a fault of ours, and what is refused leaves no file behind.

use super::{Check, pieces};
use crate::gates::in_memory;
use anyhow::{Context, ensure};
use axum::Router;
use axum::body::Body;
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderValue, Request};
use bytes::Bytes;
use http_body_util::BodyExt as _;
use serde_json::Value;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt as _;
use vydra_core::job::Mode;
use vydra_http::{ApiState, router};
use vydra_testkit::TestApp;

pub(super) const WORDS: [&[u8]; 30] = [
    b"--x",
    b"--x\r\n",
    b"--x--",
    b"--x--\r\n",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b"--",
    b"multipart/form-data; boundary=x\n",
    b"boundary=",
    b"; charset=",
    b"Content-Disposition: form-data; name=\"file\"; filename=\"a.png\"\r\n",
    b"Content-Disposition:",
    b"form-data",
    b"name=\"file\"",
    b"name=file",
    b"filename=\"",
    b"filename*=UTF-8''%2e%2e%2f",
    b"Content-Type: image/png\r\n",
    b"Content-Transfer-Encoding: base64\r\n",
    b"Content-Length: 5\r\n",
    b"\\\"",
    b"../",
    b"\0",
    b"\xff\xfe",
    b"\xf0\x9f\xa6\xa6",
    b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\0\0\x01\0\0\0\x01\x08\0\0\0\0",
    b"\xff\xd8\xff",
    b"GIF89a\x01\0\x01\0",
    b"RIFF\0\0\0\0WEBPVP8L",
];

/// The limits are not what is looked at: each request has a second of its own.
const BETWEEN: Duration = Duration::from_secs(1);

struct Api {
    router: Router,
    app: TestApp,
    key: HeaderValue,
    runtime: Runtime,
    _folder: TempDir,
}

/// What of a file that was taken does not differ from one time to the next.
#[derive(Debug, PartialEq, Eq)]
struct Taken {
    said: [Value; 3],
    file: Vec<u8>,
}

pub(super) fn open() -> anyhow::Result<Check> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let folder = in_memory()?;
    let app = TestApp::with(|setup| setup.place = Some(folder.path().to_owned()));
    let key = runtime.block_on(async {
        let org = app.org("acme", 1_000).await;
        app.key(&org, &["*"], Mode::Live).await
    });
    let state = ApiState {
        engine: Arc::clone(&app.engine),
        random: Arc::clone(&app.random) as _,
    };
    let mut api = Api {
        router: router(state),
        key: format!("Bearer {key}").parse()?,
        app,
        runtime,
        _folder: folder,
    };
    Ok(Box::new(move |data| api.check(data)))
}

impl Api {
    fn check(&mut self, data: &[u8]) -> anyhow::Result<()> {
        let line = data.iter().position(|byte| *byte == b'\n');
        let (content_type, body) = data.split_at(line.unwrap_or(data.len()));
        // What is no value of a header does not come so far.
        let Ok(content_type) = HeaderValue::from_bytes(content_type) else {
            return Ok(());
        };
        let body = body.get(1..).unwrap_or_default();
        let whole = self.send(&content_type, [body])?;
        let in_pieces = self.send(&content_type, pieces(body))?;
        ensure!(
            whole == in_pieces,
            "in one piece {whole:?}, and in many {in_pieces:?}"
        );
        // Files that are given up are removed in the background; whoever waits for ever hangs.
        while !self.app.media_files().is_empty() {
            self.runtime.block_on(tokio::task::yield_now());
        }
        Ok(())
    }

    /// None for what is refused: of a form that is wrong in two ways, the one that is met first is told.
    fn send<'a>(
        &mut self,
        content_type: &HeaderValue,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> anyhow::Result<Option<Taken>> {
        self.app.clock.advance(BETWEEN);
        let pieces: Vec<Result<Bytes, Infallible>> = pieces
            .into_iter()
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let request = Request::post("/api/v1/upload")
            .header(AUTHORIZATION, self.key.clone())
            .header(CONTENT_TYPE, content_type)
            .body(Body::from_stream(futures_util::stream::iter(pieces)))?;
        let router = self.router.clone();
        let (status, body) = self.runtime.block_on(async {
            let Ok(response) = router.oneshot(request).await;
            let status = response.status().as_u16();
            anyhow::Ok((status, response.into_body().collect().await?.to_bytes()))
        })?;
        let body: Value = serde_json::from_slice(&body).context("an answer is JSON")?;
        if status == 400 {
            ensure!(body["code"].is_string(), "a refusal without a code: {body}");
            return Ok(None);
        }
        ensure!(status == 200, "status {status}: {body}");
        let said = ["filename", "type", "size"].map(|name| body[name].clone());
        let url = body["url"].as_str().context("an upload has a URL")?;
        let (_, key) = url.split_once("/media/").context("a URL has a key")?;
        let files = self.app.media_files();
        let path = files.iter().find(|path| path.ends_with(key));
        let file = std::fs::read(path.context("what was taken is stored")?)?;
        ensure!(
            said[2] == file.len(),
            "{} bytes are stored, not {}",
            file.len(),
            said[2]
        );
        self.app.lose_file(key);
        Ok(Some(Taken { said, file }))
    }
}
