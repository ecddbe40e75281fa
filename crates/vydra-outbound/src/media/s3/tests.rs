use super::*;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use std::error::Error;
use tokio::net::TcpListener;
use tokio::time::Instant;
use vydra_testkit::s3::{ACCESS_KEY_ID, BUCKET, S3Server, SECRET_ACCESS_KEY};

fn settings(endpoint: &str) -> S3Settings {
    S3Settings {
        bucket: format!("s3://{BUCKET}/vydra").parse().unwrap(),
        endpoint: Some(endpoint.parse().unwrap()),
        region: "us-east-1".to_owned(),
        access_key_id: ACCESS_KEY_ID.to_owned(),
        secret_access_key: SECRET_ACCESS_KEY.to_owned(),
        virtual_hosted: false,
        redirects: false,
    }
}

fn at(endpoint: &str) -> MediaStore {
    MediaStore::s3(&settings(endpoint)).unwrap()
}

async fn bucket() -> (S3Server, MediaStore) {
    let server = S3Server::start().await;
    let store = at(&server.url);
    (server, store)
}

/// No two parts of it are the same.
fn bytes(size: usize) -> Vec<u8> {
    (0_u32..)
        .flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes())
        .take(size)
        .collect()
}

fn size_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap()
}

/// All that an operator may read of it.
fn told(error: &MediaError) -> String {
    let mut told = format!("{error:?} | {error}");
    let mut source = error.source();
    while let Some(error) = source {
        told = format!("{told}: {error}");
        source = error.source();
    }
    assert!(!told.contains(SECRET_ACCESS_KEY), "{told}");
    told
}

#[track_caller]
fn storage_failed<T: std::fmt::Debug>(result: Result<T, MediaError>) -> String {
    let error = result.unwrap_err();
    assert!(matches!(error, MediaError::Storage(_)), "{error:?}");
    told(&error)
}

#[tokio::test]
async fn a_bucket_keeps_files_as_a_folder_does() {
    let (server, store) = bucket().await;
    let all = bytes(50_000);
    store
        .put("o/ab.png", Bytes::from(all.clone()))
        .await
        .unwrap();
    assert_eq!(std::fs::read(server.path("vydra/o/ab.png")).unwrap(), all);
    assert_eq!(store.read("o/ab.png", 50_000).await.unwrap(), all);
    let refused = store.read("o/ab.png", 49_999).await;
    assert!(matches!(refused, Err(MediaError::TooLarge)), "{refused:?}");

    store
        .put("o/ab.png", Bytes::from_static(b"new"))
        .await
        .unwrap();
    assert_eq!(store.read("o/ab.png", 3).await.unwrap().as_ref(), b"new");
    store.put("empty", Bytes::new()).await.unwrap();
    assert!(store.read("empty", 0).await.unwrap().is_empty());

    store.delete("o/ab.png").await.unwrap();
    for key in ["o/ab.png", "never/was"] {
        store.delete(key).await.unwrap();
        let read = store.read(key, 9).await;
        assert!(matches!(read, Err(MediaError::NotFound)), "{read:?}");
        let part = store.open(key, Some(0..1)).await;
        assert!(matches!(part, Err(MediaError::NotFound)), "{part:?}");
    }
    server.take_calls();
    let refused = store.read("../other", 9).await;
    assert!(matches!(refused, Err(MediaError::NotFound)), "{refused:?}");
    assert!(server.take_calls().is_empty());
}

#[tokio::test]
async fn a_part_is_read_with_one_request_and_an_impossible_one_is_told() {
    let (server, store) = bucket().await;
    let all = bytes(50_000);
    store.put("a", Bytes::from(all.clone())).await.unwrap();
    for (asked, given) in [
        (0..1, 0..1_usize),
        (9..40_000, 9..40_000),
        (49_999..50_000, 49_999..50_000),
        (49_990..99_999, 49_990..50_000),
    ] {
        server.take_calls();
        let file = store.open("a", Some(asked)).await.unwrap();
        assert_eq!(server.take_calls().len(), 1);
        assert_eq!(file.size, 50_000);
        assert_eq!(
            file.range.end - file.range.start,
            size_of(&all[given.clone()])
        );
        let chunks: Vec<Bytes> = file.stream.map(Result::unwrap).collect().await;
        assert_eq!(chunks.concat(), &all[given]);
    }
    #[expect(
        clippy::reversed_empty_ranges,
        reason = "a caller of the API can ask for it"
    )]
    for asked in [50_000..50_001, 60_000..70_000, 5..5, 6..5, 5..0] {
        let refused = store.open("a", Some(asked)).await;
        assert!(
            matches!(refused, Err(MediaError::Range { size: 50_000 })),
            "{refused:?}"
        );
    }
}

#[tokio::test]
async fn what_fits_into_a_part_is_one_request() {
    let (server, store) = bucket().await;
    for size in [0, 1, PART] {
        let all = bytes(size);
        let mut writer = store.create("a/small.png").unwrap();
        for piece in all.chunks(1_000_003) {
            writer.write(piece).await.unwrap();
        }
        assert!(server.take_calls().is_empty(), "nothing is known yet");
        writer.finish().await.unwrap();
        let put = format!("PUT /{BUCKET}/vydra/a/small.png {size}");
        assert_eq!(server.take_calls(), [put]);
        assert_eq!(store.read("a/small.png", size_of(&all)).await.unwrap(), all);
        server.take_calls();
    }
}

#[tokio::test]
async fn a_large_file_goes_in_parts_of_which_one_is_held() {
    let (server, store) = bucket().await;
    let all = bytes(PART * 3 + 77);
    // As it comes, and from memory.
    let mut writer = store.create("a/large.mp4").unwrap();
    for piece in all.chunks(700_001) {
        writer.write(piece).await.unwrap();
        let early = std::fs::exists(server.path("vydra/a/large.mp4")).unwrap();
        assert!(!early, "half a file can be read");
    }
    writer.finish().await.unwrap();
    let as_it_comes = server.take_calls();
    store.put("a/large.mp4", all.clone().into()).await.unwrap();
    for calls in [as_it_comes, server.take_calls()] {
        let target = format!("/{BUCKET}/vydra/a/large.mp4");
        assert_eq!(calls.len(), 6, "{calls:?}");
        assert_eq!(calls[0], format!("POST {target}?uploads= 0"));
        for (part, size) in [(1, PART), (2, PART), (3, PART), (4, 77)] {
            let call = &calls[part];
            let begins = format!("PUT {target}?partNumber={part}&uploadId=");
            assert!(call.starts_with(&begins), "{call}");
            assert!(call.ends_with(&format!(" {size}")), "{call}");
        }
        assert!(calls[5].starts_with(&format!("POST {target}?uploadId=")));
    }
    assert!(server.unfinished().is_empty());
    let read = store.read("a/large.mp4", size_of(&all)).await.unwrap();
    assert!(read == all);
}

#[tokio::test]
async fn a_file_that_is_given_up_leaves_no_parts() {
    let (server, store) = bucket().await;
    let mut writer = store.create("a/half.mp4").unwrap();
    writer.write(&bytes(PART * 2 + 1)).await.unwrap();
    assert_eq!(server.unfinished().len(), 3, "the upload and its two parts");
    drop(writer);
    store.settled().await;
    assert!(server.unfinished().is_empty());
    let read = store.read("a/half.mp4", 9).await;
    assert!(matches!(read, Err(MediaError::NotFound)), "{read:?}");
}

/// When the caller goes away just then, nobody knows the name of the upload yet.
#[tokio::test]
async fn a_file_that_is_given_up_while_it_begins_leaves_no_parts() {
    let (server, store) = bucket().await;
    let mut writer = store.create("a/half.mp4").unwrap();
    let all = bytes(PART + 1);
    assert!(writer.write(&all).now_or_never().is_none());
    // It cannot be taken up again: a part of it is lost.
    storage_failed(writer.write(&all).await);
    storage_failed(writer.finish().await);
    store.settled().await;
    let calls = server.take_calls();
    assert_eq!(calls.len(), 2, "{calls:?}");
    assert!(calls[0].starts_with("POST ") && calls[1].starts_with("DELETE "));
    assert!(server.unfinished().is_empty());
}

#[tokio::test]
async fn a_file_of_which_a_part_failed_is_no_file_and_leaves_no_parts() {
    let (server, store) = bucket().await;
    let mut writer = store.create("a/half.mp4").unwrap();
    writer.write(&bytes(PART + 1)).await.unwrap();
    server.refuse([400]);
    let told = storage_failed(writer.write(&bytes(PART)).await);
    assert!(told.contains("400"), "{told}");
    storage_failed(writer.finish().await);
    store.settled().await;
    assert!(server.unfinished().is_empty());
    let read = store.read("a/half.mp4", 9).await;
    assert!(matches!(read, Err(MediaError::NotFound)), "{read:?}");

    let mut writer = store.create("a/half.mp4").unwrap();
    writer.write(&bytes(PART + 1)).await.unwrap();
    // The rest arrives, and the end does not.
    let before = server.take_calls().len();
    assert!(before > 0);
    server.refuse_after(1, [400]);
    storage_failed(writer.finish().await);
    store.settled().await;
    assert!(server.unfinished().is_empty());
    let calls = server.take_calls();
    assert!(calls.last().unwrap().starts_with("DELETE "), "{calls:?}");
}

#[tokio::test]
async fn a_store_that_is_busy_is_asked_three_times() {
    let (server, store) = bucket().await;
    server.refuse([503, 500]);
    store.put("a", Bytes::from_static(b"x")).await.unwrap();
    assert_eq!(server.take_calls().len(), 3);
    server.refuse([503, 503, 503]);
    let told = storage_failed(store.put("a", Bytes::from_static(b"y")).await);
    assert!(told.contains("503"), "{told}");
    assert_eq!(server.take_calls().len(), 3);
    assert_eq!(store.read("a", 9).await.unwrap().as_ref(), b"x");
}

#[tokio::test]
async fn says_whether_it_can_be_written_and_what_is_wrong() {
    let (server, store) = bucket().await;
    store.check_writable().await.unwrap();
    let read = store.read(super::super::PROBE_KEY, 9).await;
    assert!(matches!(read, Err(MediaError::NotFound)), "{read:?}");

    // As AWS answers who may not list the bucket.
    server.refuse_after(2, [403]);
    let told = storage_failed(store.check_writable().await);
    assert!(told.contains("lacks s3:ListBucket"), "{told}");
    server.refuse_after(2, [400]);
    storage_failed(store.check_writable().await);

    let mut wrong = settings(&server.url);
    wrong.secret_access_key = format!("{SECRET_ACCESS_KEY}!");
    let store = MediaStore::s3(&wrong).unwrap();
    let told = storage_failed(store.check_writable().await);
    assert!(told.contains("the access key, its secret,"), "{told}");
    storage_failed(store.read("a", 9).await);
    storage_failed(store.open("a", Some(0..1)).await);

    let mut wrong = settings(&server.url);
    wrong.access_key_id = "somebody".to_owned();
    let store = MediaStore::s3(&wrong).unwrap();
    let told = storage_failed(store.check_writable().await);
    assert!(told.contains("the access key, its secret,"), "{told}");

    let mut wrong = settings(&server.url);
    wrong.bucket = "s3://nowhere".parse().unwrap();
    let store = MediaStore::s3(&wrong).unwrap();
    let told = storage_failed(store.check_writable().await);
    assert!(told.contains("there is no such bucket"), "{told}");
    // Not as if the file alone were missing.
    storage_failed(store.read("a", 9).await);
    storage_failed(store.delete("a").await);
}

#[tokio::test]
async fn who_does_not_answer_is_waited_for_with_a_bound() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let store = at(&url);
    let begun = Instant::now();
    storage_failed(store.put("a", Bytes::from_static(b"x")).await);
    storage_failed(store.open("a", Some(0..1)).await);
    let mut writer = store.create("a").unwrap();
    storage_failed(writer.write(&bytes(PART + 1)).await);
    store.settled().await;
    assert!(begun.elapsed() < RETRY_WITHIN, "{:?}", begun.elapsed());
}

/// Time that is paused goes on when nothing else does: here, while the answer does not come.
#[tokio::test(start_paused = true)]
async fn who_takes_a_request_and_says_nothing_is_waited_for_with_a_bound() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let store = at(&format!("http://{}", listener.local_addr().unwrap()));
    let begun = Instant::now();
    storage_failed(store.put("a", Bytes::from_static(b"x")).await);
    let waited = begun.elapsed();
    // The tries are counted, as the pauses between them are; RETRY_WITHIN is of a clock that does not stand still.
    assert!(ANSWER <= waited && waited < ANSWER * 4, "{waited:?}");
}

#[test]
fn only_a_bucket_is_a_bucket() {
    for (text, name, prefix) in [
        ("s3://abc", "abc", ""),
        ("s3://abc/", "abc", ""),
        ("s3://a.b-c/vydra", "a.b-c", "vydra/"),
        ("s3://abc/Deep/er_1/", "abc", "Deep/er_1/"),
    ] {
        let bucket: Bucket = text.parse().unwrap();
        assert_eq!(
            (bucket.name.as_str(), bucket.prefix.as_str()),
            (name, prefix)
        );
    }
    let long = format!("s3://{}", "a".repeat(64));
    for bad in [
        "",
        "s3:",
        "s3://",
        "s3:///a",
        "s3:abc",
        "S3://abc",
        "s3://ab",
        "s3://Abc",
        "s3://a_c",
        "s3://-abc",
        "s3://abc-",
        "s3://a..c",
        "s3://a:b@c",
        "s3://abc:9000",
        "s3://abc?x=1",
        "s3://abc#x",
        "s3://abc//x",
        "s3://abc/..",
        "s3://abc/./x",
        "s3://abc/x y",
        "s3://abc/x?y",
        "s3://abc/%2e%2e",
        long.as_str(),
    ] {
        assert_eq!(bad.parse::<Bucket>(), Err(NotABucket), "{bad}");
    }
}

#[test]
fn only_a_plain_address_is_an_endpoint() {
    for (text, path_style, host_style) in [
        (
            "http://10.0.0.7:9000",
            "http://10.0.0.7:9000",
            "http://abc.10.0.0.7:9000",
        ),
        (
            "https://s3.example/",
            "https://s3.example",
            "https://abc.s3.example",
        ),
        (
            "https://example/s3",
            "https://example/s3",
            "https://abc.example/s3",
        ),
    ] {
        let endpoint: Endpoint = text.parse().unwrap();
        assert_eq!(endpoint.address(None), path_style);
        assert_eq!(endpoint.address(Some("abc")), host_style);
        assert_eq!(endpoint.is_encrypted(), text.starts_with("https:"));
    }
    for bad in [
        "",
        "s3.example",
        "10.0.0.7:9000",
        "ftp://s3.example",
        "https://",
        "https://me@s3.example",
        "https://me:word@s3.example",
        "https://s3.example/?a",
        "https://s3.example/#a",
    ] {
        assert_eq!(bad.parse::<Endpoint>(), Err(NotAnEndpoint), "{bad}");
    }
}

/// A name that https:// protects must not be called in the open, whatever the store answers.
#[tokio::test]
async fn only_an_endpoint_that_says_http_is_called_without_encryption() {
    let (server, _) = bucket().await;
    for (endpoint, is_called) in [(Some(server.url.as_str()), true), (None, false)] {
        let endpoint = endpoint.map(|url| url.parse().unwrap());
        let http = Http::new(endpoint.as_ref()).unwrap();
        let request = HttpRequest::new(Bytes::new().into());
        let (mut parts, body) = request.into_parts();
        parts.uri = format!("{}/", server.url).parse().unwrap();
        let answer = http.call(HttpRequest::from_parts(parts, body)).await;
        assert_eq!(answer.is_ok(), is_called, "{answer:?}");
    }
}

#[tokio::test]
async fn a_link_is_readable_without_a_key_and_names_the_type() {
    let (server, store) = bucket().await;
    store
        .put("o/a.png", Bytes::from_static(b"12345"))
        .await
        .unwrap();
    let made = store.link("o/a.png", "image/png", "inline").await.unwrap();
    assert_eq!(
        made, None,
        "unless it was asked for, the bytes go through us"
    );

    let mut settings = settings(&server.url);
    settings.redirects = true;
    let store = MediaStore::s3(&settings).unwrap();
    let disposition = "inline; filename=\"a.png\"";
    let link = store.link("o/a.png", "image/png", disposition).await;
    let link = link.unwrap().unwrap();
    assert!(!link.contains(SECRET_ACCESS_KEY), "{link}");
    let url: Url = link.parse().unwrap();
    for (name, value) in [
        ("response-content-type", "image/png"),
        ("response-content-disposition", disposition),
        ("X-Amz-Expires", "600"),
    ] {
        let found = url.query_pairs().find(|(key, _)| key == name);
        assert_eq!(found.unwrap().1, value);
    }
    let http = Http::new(settings.endpoint.as_ref()).unwrap();
    let answer = http.0.get(&link).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.bytes().await.unwrap().as_ref(), b"12345");
    // What it says is part of what is signed.
    let forged = link.replace("image%2Fpng", "text%2Fhtml");
    assert_ne!(forged, link);
    let answer = http.0.get(&forged).send().await.unwrap();
    assert_eq!(answer.status(), 403);

    for active in ["text/html", "image/svg+xml", "application/pdf", "", "image"] {
        let made = store.link("o/a.png", active, disposition).await.unwrap();
        assert_eq!(made, None, "{active}");
    }
    let refused = store.link("../other", "image/png", disposition).await;
    assert!(matches!(refused, Err(MediaError::NotFound)), "{refused:?}");
}

#[test]
fn a_secret_is_not_shown() {
    let settings = settings("http://10.0.0.7:9000");
    let store = MediaStore::s3(&settings).unwrap();
    let writer = store.create("a").unwrap();
    let shown = format!("{settings:?} {settings} {store:?} {writer:?}");
    assert!(
        !shown.contains(SECRET_ACCESS_KEY) && !shown.contains(ACCESS_KEY_ID),
        "{shown}"
    );
    assert!(shown.contains("s3://vydra-test/vydra/ at http://10.0.0.7:9000"));
}

/// Also what others keep in the same bucket is nobody's business here.
#[tokio::test]
async fn only_files_of_ours_are_listed_and_removed() {
    let (server, store) = bucket().await;
    let name = "ab".repeat(20);
    let key = format!("ab/{name}.png");
    store.put(&key, Bytes::from_static(b"12345")).await.unwrap();
    let strangers = [
        "vydra/ab/Thumbs.db".to_owned(),
        "vydra/backup.db".to_owned(),
        "other.txt".to_owned(),
        format!("vydra/prod/{key}"),
        format!("vydra/prod/ab/{key}"),
        format!("vydra-2/{key}"),
        key.clone(),
    ];
    for stranger in &strangers {
        let path = server.path(stranger);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }
    let listed: Vec<_> = store.list().collect().await;
    let [Ok(file)] = listed.as_slice() else {
        panic!("{listed:?}");
    };
    assert_eq!((&file.name, file.bytes), (&key, 5));
    assert_eq!(store.size(&key).await.unwrap(), Some(5));
    store.remove(file).await.unwrap();
    assert_eq!(store.size(&key).await.unwrap(), None);
    for stranger in &strangers {
        assert!(server.path(stranger).exists(), "{stranger}");
    }
}
