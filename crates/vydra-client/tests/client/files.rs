//! Files, as far as the shared cases do not reach them.

use crate::support::server;
use serde_json::json;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;
use vydra_client::{Error, Progress, Source, UploadOptions};

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_dropped_leaves_nothing() {
    let (server, builder) = server(&json!([{"expect": {}, "answer": {"fault": "hang"}}]));
    let client = builder.build().unwrap();
    let folder = TempDir::new().unwrap();
    let url = format!("{}/media/a.png", server.url);
    let (to, progress) = (folder.path().join("a.png"), Progress::none());
    tokio::select! {
        outcome = client.download(&url, &to, &progress) => panic!("{outcome:?}"),
        () = server.arrived(1) => {}
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    server.finish();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_is_handed_on_comes_once() {
    let answer = |fault: &str| json!({"expect": {}, "answer": {"status": 200, "headers": {"content-type": "image/png"}, "text": "picture!", "fault": fault}});
    let page = json!({"expect": {}, "answer": {"status": 200, "headers": {"content-type": "text/html"}, "text": "<p>"}});
    let (server, builder) = server(&json!([
        {"expect": {}, "answer": {"fault": "reset"}},
        {"expect": {}, "answer": {"status": 503, "text": "busy"}},
        answer(""),
        answer("half"),
        page,
        answer(""),
    ]));
    let client = builder.build().unwrap();
    let url = format!("{}/media/a.png", server.url);
    let progress = Progress::none();
    let mut content = Vec::new();
    let length = client.download_to(&url, &mut content, &progress).await;
    assert_eq!(length.unwrap(), 8);
    assert_eq!(content, b"picture!");
    let mut part = Vec::new();
    let outcome = client.download_to(&url, &mut part, &progress).await;
    assert!(matches!(outcome, Err(Error::Download(_))), "{outcome:?}");
    assert_eq!(part, b"pict");
    let outcome = client.download_to(&url, &mut part, &progress).await;
    assert!(matches!(outcome, Err(Error::Download(_))), "{outcome:?}");
    assert_eq!(part, b"pict");
    // What takes nothing is no fault of the server's.
    let mut room = [0; 3];
    let mut full = std::io::Cursor::new(room.as_mut_slice());
    let outcome = client.download_to(&url, &mut full, &progress).await;
    assert!(matches!(outcome, Err(Error::File { .. })), "{outcome:?}");
    assert_eq!(server.finish(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_tells_how_far_it_is() {
    let answer =
        json!({"url": "u", "filename": "file", "size": 150_000, "type": "image/png", "key": "k"});
    let (server, builder) =
        server(&json!([{"expect": {}, "answer": {"status": 200, "json": answer}}]));
    let client = builder.build().unwrap();
    let seen: Arc<Mutex<Vec<u64>>> = Arc::default();
    let told = Arc::clone(&seen);
    let progress = Progress::new(move |sent, total| {
        assert_eq!(total, Some(150_000));
        told.lock().unwrap().push(sent);
    });
    let source = Source::bytes(vec![7; 150_000]);
    let upload = client
        .upload(source, &UploadOptions::default(), &progress)
        .await
        .unwrap();
    assert_eq!(upload.size, 150_000);
    assert_eq!(*seen.lock().unwrap(), [65_536, 131_072, 150_000]);
    server.finish();
}

#[test]
fn a_download_is_handed_on_to_who_holds_up_a_thread() {
    let picture =
        json!({"status": 200, "headers": {"content-type": "image/png"}, "text": "picture"});
    let (server, builder) = server(&json!([{"expect": {}, "answer": picture}]));
    let client = builder.build_blocking().unwrap();
    let url = format!("{}/media/a.png", server.url);
    let mut content = std::io::Cursor::new(Vec::new());
    let length = client.download_to(&url, &mut content, &Progress::none());
    assert_eq!(length.unwrap(), 7);
    assert_eq!(content.into_inner(), b"picture");
    server.finish();
}
