//! Media files: without a key, with ranges, and harmless.

use crate::fixture::{Api, Call};
use serde_json::json;
use vydra_core::asset::{Asset, AssetRole, MediaKind};
use vydra_core::ids::AssetId;
use vydra_core::job::Mode;
use vydra_core::time::Clock;
use vydra_testkit::{PUBLIC_URL, files};

/// The path of a stored image.
async fn picture(api: &Api) -> String {
    api.picture()
        .await
        .strip_prefix(PUBLIC_URL)
        .unwrap()
        .to_owned()
}

fn anonymous(api: &Api, method: &str, path: &str) -> Call {
    api.call(method, path).without("authorization")
}

fn get(api: &Api, path: &str) -> Call {
    anonymous(api, "GET", path)
}

#[tokio::test]
async fn a_file_is_served_as_what_it_is() {
    let api = Api::new().await;
    let path = picture(&api).await;
    let answer = get(&api, &path).send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.bytes, files::png(8, 6));
    assert_eq!(answer.length(), answer.bytes.len());
    for (name, value) in [
        ("content-type", "image/png"),
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cross-origin-resource-policy", "cross-origin"),
        ("accept-ranges", "bytes"),
        ("cache-control", "public, max-age=31536000, immutable"),
        // Also to whoever is no page: a cache may keep the answer for one.
        ("access-control-allow-origin", "*"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    assert!(
        answer
            .header("content-disposition")
            .unwrap()
            .starts_with("inline; filename=\"")
    );
    assert_eq!(answer.header("x-ratelimit-limit"), None);
    // A key that is wrong does not matter, as browsers send none.
    assert_eq!(get(&api, &path).key("nonsense").send().await.status, 200);
}

/// No way leads such a file in today. One that finds one must not run in anybody's browser.
#[tokio::test]
async fn what_a_browser_could_run_is_saved_and_not_opened() {
    let api = Api::idle().await;
    let media = api.media_folder();
    std::fs::create_dir_all(media.join("aa")).unwrap();
    for (name, media_type, disposition) in [
        ("a.svg", "image/svg+xml", "attachment"),
        ("a.avif", "image/avif", "attachment"),
        ("a.html", "text/html", "attachment"),
        ("a.pdf", "application/pdf", "attachment"),
        ("a.jpg", "image/jpeg", "inline"),
        ("a.mp4", "video/mp4", "inline"),
        ("a.wav", "audio/wav", "inline"),
    ] {
        let storage_key = format!("aa/{name}");
        std::fs::write(media.join(&storage_key), "<script>").unwrap();
        let asset = Asset {
            id: AssetId::new(api.clock.now(), api.random.as_ref()),
            org_id: api.org.id.clone(),
            mode: Mode::Live,
            job_id: None,
            role: AssetRole::Input,
            kind: MediaKind::Image,
            media_type: media_type.to_owned(),
            storage_key: storage_key.clone(),
            bytes: 8,
            dimensions: None,
            duration_ms: None,
            filename: None,
            upload_key: None,
            has_thumbnail: true,
            created_at: api.clock.now(),
        };
        api.store.record_asset(&asset).await.unwrap();
        let answer = get(&api, &format!("/media/{storage_key}")).send().await;
        assert_eq!(answer.header("content-type"), Some(media_type));
        let told = answer.header("content-disposition").unwrap();
        assert_eq!(told, format!("{disposition}; filename=\"{name}\""));
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let policy = answer.header("content-security-policy");
        assert_eq!(policy, Some("default-src 'none'; sandbox"));
    }
}

#[tokio::test]
async fn head_tells_all_but_the_bytes() {
    let api = Api::new().await;
    let path = picture(&api).await;
    let answer = anonymous(&api, "HEAD", &path).send().await;
    assert_eq!((answer.status.as_u16(), answer.bytes.len()), (200, 0));
    assert_eq!(answer.header("content-type"), Some("image/png"));
    assert_eq!(answer.length(), files::png(8, 6).len());
    // The storage is not asked.
    api.break_media();
    let head = anonymous(&api, "HEAD", &path);
    let part = head.header("range", "bytes=2-5").send().await;
    assert_eq!((part.status.as_u16(), part.length()), (206, 4));
    let size = files::png(8, 6).len();
    let range = format!("bytes 2-5/{size}");
    assert_eq!(part.header("content-range"), Some(range.as_str()));
    let missing = anonymous(&api, "HEAD", "/media/aa/missing.png")
        .send()
        .await;
    assert_eq!((missing.status.as_u16(), missing.bytes.len()), (404, 0));
}

#[tokio::test]
async fn a_part_of_a_file_can_be_asked_for() {
    let api = Api::new().await;
    let path = picture(&api).await;
    let whole = files::png(8, 6);
    let size = whole.len();
    for (range, from, to) in [
        ("bytes=0-0", 0, 1),
        ("bytes=0-3", 0, 4),
        ("bytes=10-", 10, size),
        ("bytes=-5", size - 5, size),
        ("bytes=4-99999", 4, size),
        ("bytes=-99999", 0, size),
    ] {
        let answer = get(&api, &path).header("range", range).send().await;
        assert_eq!(answer.status, 206, "{range}");
        assert_eq!(answer.bytes, whole.slice(from..to), "{range}");
        assert_eq!(answer.length(), to - from);
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes {from}-{}/{size}", to - 1).as_str())
        );
        assert_eq!(answer.header("content-type"), Some("image/png"));
    }
    for range in ["bytes=99999-", "bytes=-0"] {
        let answer = get(&api, &path).header("range", range).send().await;
        assert_eq!(answer.status, 416, "{range}");
        assert_eq!(
            answer.header("content-range"),
            Some(format!("bytes */{size}").as_str())
        );
        assert!(answer.bytes.is_empty());
    }
    for range in ["bytes=5-2", "bytes=0-1,3-4", "pages=1-2", "nonsense"] {
        let answer = get(&api, &path).header("range", range).send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.bytes.len()),
            (200, size),
            "{range}"
        );
    }
}

#[tokio::test]
async fn a_file_that_is_known_is_not_sent_again() {
    let api = Api::new().await;
    let path = picture(&api).await;
    let tag = get(&api, &path)
        .send()
        .await
        .header("etag")
        .unwrap()
        .to_owned();
    for tags in [
        tag.clone(),
        format!("W/{tag}"),
        format!("\"other\", {tag}"),
        "*".to_owned(),
    ] {
        let answer = get(&api, &path).header("if-none-match", &tags).send().await;
        assert_eq!(
            (answer.status.as_u16(), answer.bytes.len()),
            (304, 0),
            "{tags}"
        );
        assert_eq!(answer.header("etag"), Some(tag.as_str()));
    }
    let other = get(&api, &path)
        .header("if-none-match", "\"other\"")
        .send()
        .await;
    assert_eq!(other.status, 200);
    // A part is only glued to what it belongs to.
    let ranged = |condition: &str| {
        get(&api, &path)
            .header("range", "bytes=0-3")
            .header("if-range", condition)
    };
    assert_eq!(ranged(&tag).send().await.status, 206);
    assert_eq!(ranged("\"other\"").send().await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let api = Api::new().await;
    let path = picture(&api).await;
    let (shard, _) = path.rsplit_once('/').unwrap();
    for wrong in [
        "/media/aa/missing.png",
        "/media/..%2F..%2Fvydra.db",
        "/media/../vydra.db",
        "/media/%2e%2e/vydra.db",
        "/media/probe/writable",
        shard,
        &path.to_ascii_uppercase().replace("/MEDIA/", "/media/"),
        &format!("{path}/"),
        &path.replace(".png", ""),
    ] {
        get(&api, wrong).send().await.error("NOT_FOUND");
    }
}

#[tokio::test]
async fn a_file_that_vanished_from_storage_is_not_found() {
    let api = Api::new().await;
    let path = picture(&api).await;
    api.lose_file(path.strip_prefix("/media/").unwrap());
    get(&api, &path).send().await.error("NOT_FOUND");
}

#[tokio::test]
async fn a_file_that_the_provider_called_an_image_and_is_not_never_reaches_a_browser() {
    let api = Api::new().await;
    api.provider.next(vydra_testkit::Reply::Files(vec![
        "<script>alert(1)</script>".into(),
    ]));
    let answer = api
        .post("models/gemini/generate", &json!({"prompt": "p"}))
        .send()
        .await;
    answer.error("GENERATION_FAILED");
}
