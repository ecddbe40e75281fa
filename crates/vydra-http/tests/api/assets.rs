//! Files as their organization sees them: listed, shown, deleted (contract, section 9).

use crate::fixture::{Api, CREDITS};
use crate::uploads;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use vydra_core::job::Mode;
use vydra_testkit::{PUBLIC_URL, files};

/// What a list shows of the file that was sent in last.
async fn sent(api: &Api, key: &str) -> Value {
    let call = uploads::of(api, "cat.png", &files::png(8, 6)).key(key);
    call.send().await.ok(200);
    let list = api.get("assets?limit=1").key(key).send().await.ok(200);
    list["data"][0].clone()
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("{name}: {of}"))
}

async fn list(api: &Api, query: &str) -> Value {
    api.get(&format!("assets{query}")).send().await.ok(200)
}

fn ids(list: &Value) -> Vec<&str> {
    let data = list["data"].as_array().unwrap();
    data.iter().map(|asset| text(asset, "id")).collect()
}

/// The path of a file's URL, to be asked for as a stranger does.
async fn served(api: &Api, url: &str) -> u16 {
    let path = url.strip_prefix(PUBLIC_URL).unwrap();
    let call = api.get(path).without("authorization");
    call.send().await.status.as_u16()
}

#[tokio::test]
async fn what_was_made_and_sent_in_is_listed_with_all_that_is_known() {
    let api = Api::new().await;
    let upload = sent(&api, &api.key).await;
    api.clock.advance(Duration::from_secs(1));
    let input = json!({"workflow": "generate_image", "input": {"prompt": "p"}});
    let job = api.post("jobs", &input).send().await.ok(201);
    let job = text(&job, "id");
    let done = api.get(&format!("jobs/{job}?wait=20")).send().await.ok(200);
    let all = list(&api, "").await;
    assert_eq!(
        all["pagination"],
        json!({"limit": 20, "offset": 0, "count": 2, "nextCursor": null})
    );
    let made = &all["data"][0];
    let fields: Vec<&String> = made.as_object().unwrap().keys().collect();
    assert_eq!(
        fields,
        [
            "id",
            "type",
            "workflow",
            "url",
            "thumbnailUrl",
            "metadata",
            "jobId",
            "createdAt"
        ]
    );
    assert_eq!(made["id"], done["output"]["assets"][0]["id"]);
    assert_eq!(made["url"], done["imageUrl"]);
    assert_eq!(
        (&made["type"], &made["workflow"], &made["jobId"]),
        (&json!("image"), &json!("generate_image"), &json!(job))
    );
    let size = files::png(8, 6).len();
    let known = json!({"size": size, "mimeType": "image/png", "width": 8, "height": 6});
    assert_eq!(made["metadata"], known);

    assert_eq!(all["data"][1], upload);
    assert!(upload["jobId"].is_null() && upload["workflow"].is_null());
    let mut known = known;
    known["filename"] = json!("cat.png");
    assert_eq!(upload["metadata"], known);
    for asset in [made, &upload] {
        let one = api.get(&format!("assets/{}", text(asset, "id")));
        assert_eq!(one.send().await.ok(200), *asset, "bare");
        assert_eq!(served(&api, text(asset, "url")).await, 200);
    }
}

#[tokio::test]
async fn a_list_is_read_page_by_page() {
    let api = Api::idle().await;
    let mut all = Vec::new();
    for _ in 0..5 {
        api.clock.advance(Duration::from_secs(1));
        all.insert(0, text(&sent(&api, &api.key).await, "id").to_owned());
    }
    let mut seen = Vec::new();
    let mut query = "?limit=2".to_owned();
    loop {
        let page = list(&api, &query).await;
        assert_eq!(page["pagination"]["count"], 5);
        seen.extend(ids(&page).into_iter().map(str::to_owned));
        match page["pagination"]["nextCursor"].as_str() {
            Some(next) => query = format!("?limit=2&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, all);
    assert_eq!(ids(&list(&api, "?limit=2&offset=3").await), all[3..]);
    let none = list(&api, "?workflow=generate_image").await;
    assert_eq!(none["pagination"]["count"], 0);
    for wrong in [
        "limit=0",
        "limit=101",
        "offset=-1",
        "after=x",
        "after=ast_00000000000000000000000000",
    ] {
        let answer = api.get(&format!("assets?{wrong}")).send().await;
        answer.error("INVALID_INPUT");
    }
}

#[tokio::test]
async fn what_is_deleted_is_nowhere_any_more() {
    let api = Api::new().await;
    let made = api
        .post(
            "models/flux-edit/edit",
            &json!({"prompt": "p", "imageUrl": api.picture().await, "numImages": 2}),
        )
        .send()
        .await
        .ok(200);
    let job = format!("jobs/{}", text(&made, "jobId"));
    let urls = made["resultUrls"].as_array().unwrap();
    let before = api.get(&job).send().await.ok(200);
    let id = text(&before["output"]["assets"][0], "id").to_owned();
    let path = format!("assets/{id}");
    let files = api.media_files().len();

    let deleted = api.delete(&path).send().await.ok(200);
    assert_eq!(text(&deleted, "id"), id);
    assert!(deleted["deletedAt"].is_string());
    api.delete(&path).send().await.error("NOT_FOUND");
    api.get(&path).send().await.error("NOT_FOUND");
    assert!(!ids(&list(&api, "").await).contains(&id.as_str()));
    assert_eq!(served(&api, urls[0].as_str().unwrap()).await, 404);
    assert_eq!(served(&api, urls[1].as_str().unwrap()).await, 200);
    assert_eq!(api.media_files().len(), files - 1, "the bytes are gone");

    // The job is what it was, but for the file.
    let mut after = api.get(&job).send().await.ok(200);
    assert_eq!(after["resultUrls"], json!([urls[1]]));
    assert_eq!(after["output"]["assets"].as_array().unwrap().len(), 1);
    let rest = after["output"]["assets"][0]["id"].clone();
    let rest = format!("assets/{}", rest.as_str().unwrap());
    api.delete(&rest).send().await.ok(200);
    after = api.get(&job).send().await.ok(200);
    assert_eq!(
        (&after["status"], &after["output"]),
        (&json!("completed"), &json!(null))
    );
    assert_eq!(after.get("resultUrls"), None);
    assert_eq!(after["creditsCharged"], before["creditsCharged"]);

    // No new job takes it in, by whatever name.
    for name in [urls[0].as_str().unwrap().to_owned(), format!("asset:{id}")] {
        let input = json!({"prompt": "p", "imageUrl": name});
        let refused = api.post("models/gemini/edit", &input).send().await;
        let told = refused.error("INVALID_URL");
        let input = json!({"prompt": "p", "imageUrl": "asset:ast_00000000000000000000000000"});
        let unknown = api.post("models/gemini/edit", &input).send().await;
        assert_eq!(told["error"], unknown.error("INVALID_URL")["error"]);
    }
}

#[tokio::test]
async fn an_upload_that_is_deleted_loses_its_key_too() {
    let api = Api::idle().await;
    let upload = uploads::of(&api, "cat.png", &files::png(8, 6))
        .send()
        .await
        .ok(200);
    let id = ids(&list(&api, "").await)[0].to_owned();
    api.delete(&format!("assets/{id}")).send().await.ok(200);
    let input = json!({"prompt": "p", "imageUrl": upload["key"]});
    let refused = api.post("models/gemini/edit", &input).send().await;
    refused.error("INVALID_URL");
    assert!(api.media_files().is_empty());
}

/// Whoever deletes wants the file gone, and whoever has paid wants the job done: both are had.
#[tokio::test]
async fn a_job_that_has_taken_a_file_in_reads_it_to_the_end() {
    let api = Api::idle().await;
    let asset = sent(&api, &api.key).await;
    let input = json!({"prompt": "p", "imageUrl": asset["url"]});
    let call = api.post("models/gemini/edit", &input);
    let job = call.header("prefer", "respond-async").send().await.ok(202);
    let path = format!("assets/{}", text(&asset, "id"));
    api.delete(&path).send().await.ok(200);
    assert_eq!(served(&api, text(&asset, "url")).await, 404);
    assert_eq!(api.media_files().len(), 1, "it is needed");
    api.step().await;
    let job = api.get(&format!("jobs/{}", text(&job, "jobId")));
    assert_eq!(job.send().await.ok(200)["status"], "completed");
    assert_eq!(api.media_files().len(), 2);
    api.step().await;
    assert_eq!(api.media_files().len(), 1, "the output alone");
}

/// Looked at and found, and gone before the job was taken.
#[tokio::test]
async fn a_file_that_is_deleted_while_another_is_fetched_is_refused() {
    let api = Api::with("enterprise", |setup| setup.readable = vec!["127.0.0.1/32"]).await;
    let asset = sent(&api, &api.key).await;
    let path = format!("assets/{}", text(&asset, "id"));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let slow = format!("http://{}/slow.png", listener.local_addr().unwrap());
    let input = json!({"prompt": "p", "imageUrl": slow, "imageUrls": [asset["url"]]});
    let call = api.post("models/flux-edit/edit", &input);
    let serve = async {
        let (mut connection, _) = listener.accept().await.unwrap();
        api.delete(&path).send().await.ok(200);
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(connection.read_u8().await.unwrap());
        }
        let file = files::png(9, 9);
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", file.len());
        connection.write_all(head.as_bytes()).await.unwrap();
        connection.write_all(&file).await.unwrap();
    };
    let (answer, ()) = tokio::join!(call.header("prefer", "respond-async").send(), serve);
    let told = answer.error("INVALID_URL");
    assert_eq!(
        told["error"],
        "Invalid URL in imageUrls[0]: there is no such file"
    );
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn bytes_that_cannot_be_removed_now_are_removed_later() {
    let api = Api::idle().await;
    let asset = sent(&api, &api.key).await;
    api.break_media();
    let path = format!("assets/{}", text(&asset, "id"));
    api.delete(&path).send().await.ok(200);
    api.mend_media();
    assert_eq!(api.media_files().len(), 1);
    assert_eq!(served(&api, text(&asset, "url")).await, 404);
    api.step().await;
    assert!(api.media_files().is_empty());
}

#[tokio::test]
async fn anothers_file_and_one_of_the_sandbox_are_like_one_that_does_not_exist() {
    let api = Api::idle().await;
    let stranger = api.org("stranger", 100).await;
    let theirs = api.key(&stranger, &["*"], Mode::Live).await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let (live, sandboxed) = (sent(&api, &api.key).await, sent(&api, &test).await);
    for (asset, key) in [(&live, &theirs), (&live, &test), (&sandboxed, &api.key)] {
        let id = text(asset, "id");
        for method in ["GET", "DELETE"] {
            let ask = async |id: &str| {
                let call = api.call(method, &format!("assets/{id}")).key(key);
                let mut answer = call.header("x-request-id", "same").send().await;
                answer.error("NOT_FOUND");
                for name in ["x-ratelimit-remaining", "ratelimit"] {
                    answer.headers.remove(name);
                }
                (answer.headers, answer.bytes)
            };
            let unknown = ask("ast_00000000000000000000000000").await;
            assert_eq!(ask(id).await, unknown, "{method}");
            assert_eq!(ask("nonsense").await, unknown, "{method}");
        }
        let cursor = api.get(&format!("assets?after={id}")).key(key);
        cursor.send().await.error("INVALID_INPUT");
        let used = |name: &str| {
            let input = json!({"prompt": "p", "imageUrl": name});
            api.post("models/gemini/edit", &input).key(key).send()
        };
        for name in [text(asset, "url"), &format!("asset:{id}")] {
            used(name).await.error("INVALID_URL");
        }
    }
    for (key, own) in [(&api.key, &live), (&test, &sandboxed)] {
        let list = api.get("assets").key(key).send().await.ok(200);
        assert_eq!(ids(&list), [text(own, "id")]);
    }
    let list = api.get("assets").key(&theirs).send().await.ok(200);
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn what_the_sandbox_made_is_the_sandboxs() {
    let api = Api::new().await;
    let test = api.key(&api.org, &["*"], Mode::Test).await;
    let call = api.post("models/gemini/generate", &json!({"prompt": "p"}));
    let made = call.key(&test).send().await.ok(200);
    let list = api.get("assets").key(&test).send().await.ok(200);
    assert_eq!(list["data"][0]["url"], made["imageUrl"]);
    assert_eq!(list["data"][0]["jobId"], made["jobId"]);
    assert_eq!(api.get("assets").send().await.ok(200)["data"], json!([]));
}

#[tokio::test]
async fn to_read_is_not_to_delete() {
    let api = Api::idle().await;
    let asset = sent(&api, &api.key).await;
    let path = format!("assets/{}", text(&asset, "id"));
    let reader = api.key(&api.org, &["assets:read"], Mode::Live).await;
    api.get(&path).key(&reader).send().await.ok(200);
    let refused = api.delete(&path).key(&reader).send().await;
    let told = refused.error("INSUFFICIENT_SCOPE");
    assert_eq!(told["details"]["required"], json!(["assets:write"]));
    let keeper = api.key(&api.org, &["assets:*"], Mode::Live).await;
    api.delete(&path).key(&keeper).send().await.ok(200);
}

/// A list's last file, sent in.
async fn thumbnail(api: &Api, file: &[u8]) -> (Value, String) {
    uploads::of(api, "cat.png", file).send().await.ok(200);
    let list = list(api, "?limit=1").await;
    let asset = list["data"][0].clone();
    let url = text(&asset, "thumbnailUrl");
    let path = url.strip_prefix(PUBLIC_URL).unwrap().to_owned();
    (asset, path)
}

#[tokio::test]
async fn a_small_picture_is_made_when_it_is_asked_for() {
    let api = Api::idle().await;
    let (asset, path) = thumbnail(&api, &files::png(2_000, 1_000)).await;
    assert_eq!(api.media_files().len(), 1, "not before");
    let get = || api.get(&path).without("authorization");
    let answer = get().send().await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("image/jpeg"));
    assert_eq!(answer.length(), answer.bytes.len());
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("content-security-policy", "default-src 'none'; sandbox"),
        ("cache-control", "public, max-age=31536000, immutable"),
    ] {
        assert_eq!(answer.header(name), Some(value));
    }
    // Start of frame: length, precision, height, width.
    let frame = answer.bytes.windows(2).position(|word| word == b"\xff\xc0");
    let frame = frame.expect("a baseline JPEG");
    assert_eq!(answer.bytes[frame + 5..frame + 9], [1, 0, 2, 0]);
    let tag = answer.header("etag").unwrap();
    let original = text(&asset, "url").strip_prefix(PUBLIC_URL).unwrap();
    let original = api.get(original).send().await;
    assert_ne!(original.header("etag"), Some(tag), "another file");
    let again = get().header("if-none-match", tag).send().await;
    assert_eq!(again.status, 304);
    assert_eq!(get().send().await.bytes, answer.bytes);
    let part = get().header("range", "bytes=0-3").send().await;
    assert_eq!((part.status.as_u16(), part.length()), (206, 4));
    assert_eq!(api.media_files().len(), 2);

    let own = format!("assets/{}", text(&asset, "id"));
    api.delete(&own).send().await.ok(200);
    get().send().await.error("NOT_FOUND");
    assert!(api.media_files().is_empty(), "it goes with its file");
}

#[tokio::test]
async fn many_who_ask_at_once_get_the_same_picture() {
    let api = Api::idle().await;
    let (_, path) = thumbnail(&api, &files::png(600, 600)).await;
    let ask = || api.get(&path).send();
    let (one, two, three) = tokio::join!(ask(), ask(), ask());
    assert_eq!(one.status, 200);
    assert!(one.bytes == two.bytes && two.bytes == three.bytes);
    assert_eq!(api.media_files().len(), 2);
}

#[tokio::test]
async fn what_cannot_be_shown_small_has_no_thumbnail() {
    let api = Api::new().await;
    // Its head is right, and nothing behind it.
    let mut broken = files::png(600, 600).to_vec();
    broken.truncate(60);
    let (asset, path) = thumbnail(&api, &broken).await;
    for _ in 0..2 {
        api.get(&path).send().await.error("NOT_FOUND");
    }
    let own = format!("assets/{}", text(&asset, "id"));
    let shown = api.get(&own).send().await.ok(200);
    assert_eq!(shown["thumbnailUrl"], json!(null), "tried in vain");
    api.clock.advance(Duration::from_secs(1));
    let spoken = api.post("models/elevenlabs/tts", &json!({"text": "p"}));
    spoken.send().await.ok(200);
    let list = list(&api, "?limit=1").await;
    assert_eq!(list["data"][0]["type"], "audio");
    assert_eq!(list["data"][0]["thumbnailUrl"], json!(null));
    let audio = text(&list["data"][0], "url")
        .strip_prefix(PUBLIC_URL)
        .unwrap();
    for nothing in [
        format!("{audio}.thumb.jpg"),
        "/media/aa/missing.png.thumb.jpg".to_owned(),
        format!("{path}.thumb.jpg"),
    ] {
        api.get(&nothing).send().await.error("NOT_FOUND");
    }
}
