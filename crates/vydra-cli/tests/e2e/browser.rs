//! A headless Chromium that plays a video and tells what it saw.

use crate::programs::PATIENCE;
use axum::extract::State;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use std::process::Stdio;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

const PAGE: &str = r#"<!doctype html><video muted autoplay playsinline></video><script>
const video = document.querySelector("video");
let told = false;
function tell(error) {
  if (told) return;
  told = true;
  const {videoWidth, videoHeight, duration, currentTime} = video;
  const frames = video.getVideoPlaybackQuality().totalVideoFrames;
  const body = JSON.stringify({videoWidth, videoHeight, duration, currentTime, frames, error});
  fetch("/report", {method: "POST", headers: {"content-type": "application/json"}, body});
}
video.addEventListener("timeupdate", () => { if (video.currentTime > 0.3) tell(null); });
video.addEventListener("error", () => tell(video.error.message || "error " + video.error.code));
video.src = VIDEO;
</script>"#;

/// What the browser saw of the video: its size, length, how far it came, how many frames, and an error or null.
pub(crate) async fn play(video: &str) -> Value {
    let page = PAGE.replace("VIDEO", &json!(video).to_string());
    let (report, mut reports) = mpsc::unbounded_channel();
    let router = Router::new()
        .route("/", get(move || async move { Html(page) }))
        .route("/report", post(take))
        .with_state(report);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let stopped = stop.clone().cancelled_owned();
    tasks.spawn(async move {
        axum::serve(listener, router)
            .with_graceful_shutdown(stopped)
            .await
            .unwrap();
    });

    let profile = tempfile::tempdir().unwrap();
    let mut chromium = Command::new("chromium")
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--no-proxy-server",
            "--autoplay-policy=no-user-gesture-required",
        ])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("http://{address}/"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let told = timeout(PATIENCE, reports.recv()).await;
    // Its group, as it has helpers that must not outlive it.
    let group = chromium.id().map(|id| format!("-{id}"));
    if let Some(group) = group {
        let _ = Command::new("kill")
            .args(["-KILL", "--", &group])
            .status()
            .await;
    }
    let _ = chromium.wait().await;
    stop.cancel();
    told.expect("the browser tells nothing").unwrap()
}

async fn take(State(report): State<mpsc::UnboundedSender<Value>>, Json(told): Json<Value>) {
    let _ = report.send(told);
}
