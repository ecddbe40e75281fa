//! Media in a bucket, in place of a folder: a real S3 server beside the binary.

use crate::api::Api;
use crate::programs::until;
use crate::server::{Data, text};
use image::{ImageFormat, RgbImage};
use serde_json::json;
use std::io::Cursor;
use std::path::PathBuf;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use vydra_testkit::s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};

const SECRET: &str = "VYDRA__MEDIA__SECRET_ACCESS_KEY";

fn data_in(s3: &S3Server) -> Data {
    Data::new()
        .with("VYDRA__MEDIA__URL", &format!("s3://{BUCKET}/vydra"))
        .with("VYDRA__MEDIA__ENDPOINT", &s3.url)
        .with("VYDRA__MEDIA__ACCESS_KEY_ID", ACCESS_KEY_ID)
        .with(SECRET, SECRET_ACCESS_KEY)
}

/// Where the bucket has what the URL names.
fn stored(s3: &S3Server, url: &str) -> PathBuf {
    let (_, key) = url.split_once("/media/").unwrap();
    s3.path(&format!("vydra/{key}"))
}

/// More than one part of a bucket.
fn large_png() -> Vec<u8> {
    noise(1_400)
}

/// Cannot be packed: some three bytes a pixel.
fn noise(side: u32) -> Vec<u8> {
    let mut state = 1_u32;
    let image = RgbImage::from_fn(side, side, |_, _| {
        image::Rgb([(); 3].map(|()| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            state.to_be_bytes()[0]
        }))
    });
    let mut png = Cursor::new(Vec::new());
    image.write_to(&mut png, ImageFormat::Png).unwrap();
    png.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn media_in_a_bucket_are_served_like_those_in_a_folder() {
    let s3 = S3Server::start().await;
    let data = data_in(&s3);
    let org = data.org("studio", 1_000).await;
    let key = data.key(&org, &[]).await;
    let mut server = data.serve().await;
    let api = server.api(&key);
    api.get("health").await.expect(200);

    let input = json!({"prompt": "a lake in summer"});
    let made = api.post("models/gemini/generate", &input).await.expect(200);
    let png = large_png();
    let sent = api.upload("noise.png", &png).await.expect(200);
    for (url, media_type) in [
        (&made["imageUrl"], "image/png"),
        (&sent["url"], "image/png"),
    ] {
        let url = text(url);
        let file = api.fetch(&url).await;
        assert_eq!((file.status, file.media_type()), (200, media_type));
        assert_eq!(file.header("x-content-type-options"), Some("nosniff"));
        assert!(file.body == std::fs::read(stored(&s3, &url)).unwrap());
        let size = file.body.len();
        let part = api.fetch_range(&url, "bytes=1000-2999").await;
        assert_eq!(part.status, 206);
        let range = format!("bytes 1000-2999/{size}");
        assert_eq!(part.header("content-range"), Some(range.as_str()));
        assert!(part.body == file.body[1_000..3_000]);
        let part = api.fetch_range(&url, &format!("bytes={size}-")).await;
        assert_eq!(part.status, 416);
    }
    assert!(api.fetch(&text(&sent["url"])).await.body == png);
    // Read from the bucket as the input of a job.
    let edit = json!({"prompt": "in winter", "imageUrl": sent["url"]});
    api.post("models/nano-banana/edit", &edit).await.expect(200);

    // Who hangs up leaves nothing there, neither a file nor parts of it.
    let mut half = TcpStream::connect(server.url.trim_start_matches("http://"))
        .await
        .unwrap();
    let form = Api::form("noise.png", &png);
    let head = format!(
        "POST /api/v1/upload HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n\
         content-type: {}\r\ncontent-length: {}\r\n\r\n",
        Api::FORM,
        form.len()
    );
    half.write_all(head.as_bytes()).await.unwrap();
    half.write_all(&form[..form.len() - 9]).await.unwrap();
    until("a part is in the bucket", || async {
        (!s3.unfinished().is_empty()).then_some(())
    })
    .await;
    // Also when the server is stopped just then.
    drop(half);
    assert!(!data.path("media").exists());
    server.terminate().await;
    assert_eq!(server.ended().await.code(), Some(0));
    let log = server.log();
    assert!(!log.contains(SECRET_ACCESS_KEY), "{log}");
    assert_eq!(s3.unfinished(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn readers_can_be_sent_to_the_bucket() {
    let s3 = S3Server::start().await;
    let data = data_in(&s3).with("VYDRA__MEDIA__READS", "redirect");
    let org = data.org("studio", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let input = json!({"prompt": "a lake in summer"});
    let made = api.post("models/gemini/generate", &input).await.expect(200);
    let url = text(&made["imageUrl"]);
    let file = std::fs::read(stored(&s3, &url)).unwrap();

    let sent_on = api.fetch(&url).await;
    assert_eq!((sent_on.status, sent_on.body.len()), (307, 0));
    assert_eq!(sent_on.header("cache-control"), Some("no-store"));
    let link = sent_on.header("location").unwrap();
    assert!(link.starts_with(&s3.url), "{link}");
    let whole = api.fetch(link).await;
    assert!((whole.status, &whole.body) == (200, &file));
    let part = api.fetch_range(link, "bytes=1000-2999").await;
    assert_eq!(part.status, 206);
    assert!(part.body == file[1_000..3_000]);

    let head = api.head(&url).await;
    assert_eq!((head.status, head.media_type()), (200, "image/png"));
    let length = file.len().to_string();
    assert_eq!(head.header("content-length"), Some(length.as_str()));
    let log = server.stop().await;
    assert!(!log.contains("X-Amz-Signature"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_file_is_never_in_memory_as_a_whole() {
    const UPLOADS: u64 = 4;
    let s3 = S3Server::start().await;
    let data = data_in(&s3);
    let org = data.org("studio", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    // What is set up once is not theirs.
    api.upload("small.png", &noise(8)).await.expect(200);
    let before = server.most_memory();
    let file = noise(2_600);
    let size = u64::try_from(file.len()).unwrap();
    let send = || async {
        let sent = api.upload("noise.png", &file).await.expect(200);
        let kept = std::fs::read(stored(&s3, &text(&sent["url"]))).unwrap();
        assert!(kept == file);
    };
    tokio::join!(send(), send(), send(), send());
    let grown = server.most_memory() - before;
    // A part of 5 MiB each, and what the allocator keeps of the one before, on each of its threads.
    let bound = UPLOADS * 14 * 1_024 * 1_024;
    assert!(bound < UPLOADS * size / 4 * 3, "{size}");
    assert!(grown < bound, "{grown}");
    eprintln!("{UPLOADS} uploads of {size} bytes took {grown} bytes");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_is_away_takes_no_job_and_no_credits() {
    let s3 = S3Server::start().await;
    let data = data_in(&s3);
    let org = data.org("studio", 1_000).await;
    let key = data.key(&org, &[]).await;
    let server = data.serve().await;
    let api = server.api(&key);
    let input = json!({"prompt": "a lake in summer"});
    let made = api.post("models/gemini/generate", &input).await.expect(200);
    let credits = api.credits().await;

    drop(s3);
    let failed = api.post("models/gemini/generate", &input).await;
    let failed = failed.refused(500, "GENERATION_FAILED");
    assert_eq!(failed["details"]["reason"], "storage_unavailable");
    assert_eq!(api.credits().await, credits);
    let sent = api.upload("noise.png", &large_png()).await;
    sent.refused(503, "UNAVAILABLE");
    let read = api.fetch(&text(&made["imageUrl"])).await;
    read.refused(503, "UNAVAILABLE");
    let health = api.get("health").await.refused(503, "UNAVAILABLE");
    assert_eq!(health["details"]["check"], "media");
    let log = server.stop().await;
    assert!(!log.contains(SECRET_ACCESS_KEY), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn doctor_and_check_tell_of_a_bucket_and_not_its_secret() {
    let s3 = S3Server::start().await;
    let data = data_in(&s3);
    data.org("studio", 1_000).await;
    let place = format!("s3://{BUCKET}/vydra/ at {}", s3.url);
    assert_eq!(data.json(&["config", "check"]).await["media"], place);
    let doctor = data.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    let well = format!("ok    media          {place} can be written");
    assert!(doctor.stdout.contains(&well), "{doctor:?}");

    let data = data.with(SECRET, "not-the-secret");
    let doctor = data.run(&["doctor"]).await;
    assert_eq!(doctor.code, Some(1), "{doctor:?}");
    let ill = format!("bad   media          {place} cannot be written: ");
    assert!(doctor.stdout.contains(&ill), "{doctor:?}");
    assert!(doctor.stdout.contains("the access key, its secret"));
    assert!(!format!("{doctor:?}").contains("not-the-secret"));
}
