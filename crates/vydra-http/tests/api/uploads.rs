//! Uploads: what is taken, what is refused, what is left behind, and who can use it (contract, section 9).

use crate::fixture::{Answer, Api, CREDITS, Call};
use axum::body::Body;
use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use serde_json::{Value, json};
use std::convert::Infallible;
use vydra_core::job::Mode;
use vydra_testkit::{PUBLIC_URL, files};

const BOUNDARY: &str = "----xyz";
const MAX: usize = 20 * 1_024 * 1_024;

/// A part with these headers.
fn part(headers: &[u8], content: &[u8]) -> Vec<u8> {
    let mut out = format!("--{BOUNDARY}\r\n").into_bytes();
    out.extend(headers);
    out.extend(b"\r\n\r\n");
    out.extend(content);
    out.extend(b"\r\n");
    out
}

fn file_part(name: &[u8], content: &[u8]) -> Vec<u8> {
    let mut headers = b"Content-Disposition: form-data; name=\"file\"; filename=\"".to_vec();
    headers.extend(name);
    headers.extend(b"\"\r\nContent-Type: image/png");
    part(&headers, content)
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

fn form(name: &str, content: &[u8]) -> Vec<u8> {
    [file_part(name.as_bytes(), content), end()].concat()
}

/// A picture in a form, and the form's type.
pub(crate) fn example() -> (String, Vec<u8>) {
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    (media_type, form("lake.png", &files::png(8, 6)))
}

fn upload(api: &Api) -> Call {
    let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
    api.call("POST", "upload")
        .header("content-type", &media_type)
}

/// The upload of a file of this name.
pub(crate) fn of(api: &Api, name: &str, content: &[u8]) -> Call {
    upload(api).body(form(name, content))
}

async fn send(api: &Api, name: &str, content: &[u8]) -> Answer {
    of(api, name, content).send().await
}

/// Files that are given up are removed in the background.
async fn nothing_is_left(api: &Api) {
    while !api.media_files().is_empty() {
        tokio::task::yield_now().await;
    }
}

/// Head of a PNG of this size, then zeros.
pub(crate) fn large_png(bytes: usize) -> Vec<u8> {
    let mut file = files::png(8, 6).to_vec();
    file.resize(bytes, 0);
    file
}

fn jpeg() -> Vec<u8> {
    let mut file =
        b"\xff\xd8\xff\xc0\0\x11\x08\0\x06\0\x08\x03\x01\x11\0\x02\x11\0\x03\x11\0".to_vec();
    file.extend(b"\xff\xd9");
    file
}

fn gif() -> Vec<u8> {
    b"GIF89a\x08\0\x06\0\0\0\0;".to_vec()
}

fn webp() -> Vec<u8> {
    // Seven and five, each in fourteen bits, and no alpha.
    let size = 7_u32 | (5 << 14);
    let data = [&[0x2f_u8], size.to_le_bytes().as_slice(), &[0; 5]].concat();
    let mut file = b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0".to_vec();
    file.extend(data);
    file
}

#[tokio::test]
async fn an_image_is_taken_for_what_it_is() {
    let api = Api::idle().await;
    for (name, content, media_type, filename) in [
        ("cat.png", files::png(8, 6).to_vec(), "image/png", "cat.png"),
        ("cat.jpeg", jpeg(), "image/jpeg", "cat.jpeg"),
        ("cat.gif", gif(), "image/gif", "cat.gif"),
        ("cat.webp", webp(), "image/webp", "cat.webp"),
        // By what the bytes are, not by what they claim.
        ("page.html", gif(), "image/gif", "page.gif"),
    ] {
        let body = send(&api, name, &content).await.ok(200);
        let fields: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(fields, ["url", "filename", "size", "type", "key"]);
        assert_eq!(body["type"], media_type, "{name}");
        assert_eq!(body["filename"], filename);
        assert_eq!(body["size"], content.len());
        let path = body["url"].as_str().unwrap();
        let path = path.strip_prefix(PUBLIC_URL).unwrap();
        let served = api.get(path).without("authorization").send().await;
        assert_eq!(served.header("content-type"), Some(media_type));
        assert_eq!(served.bytes, content, "{name}");
        let key = body["key"].as_str().unwrap();
        let rest = key.strip_prefix("uploads/").unwrap();
        let (maker, rest) = rest.split_once('/').unwrap();
        assert_eq!(maker, api.org.id.bare());
        let (millis, name) = rest.split_once('-').unwrap();
        assert!(millis.parse::<u64>().is_ok() && name == filename, "{key}");
        assert!(!path.contains(name), "the url cannot be guessed: {path}");
    }
    assert_eq!(api.credits().await, CREDITS);
}

#[tokio::test]
async fn an_upload_is_used_by_its_url_its_key_or_its_id() {
    let api = Api::new().await;
    let body = send(&api, "cat.png", &files::png(8, 6)).await.ok(200);
    let url = body["url"].as_str().unwrap();
    let storage_key = url.strip_prefix(&format!("{PUBLIC_URL}/media/")).unwrap();
    let asset = api.store.asset_by_storage_key(storage_key).await.unwrap();
    let own = format!("asset:{}", asset.unwrap().id);
    for name in [
        url,
        body["key"].as_str().unwrap(),
        &own,
        &format!("http://localhost:8787/media/{storage_key}"),
    ] {
        let input = json!({"prompt": "p", "image_url": name});
        let call = api.post("models/gemini/edit", &input);
        let made = call.header("prefer", "respond-async").send().await.ok(202);
        assert_eq!(made["input"]["imageUrl"], own, "{name}");
    }
}

#[tokio::test]
async fn anothers_upload_is_like_one_that_does_not_exist() {
    let api = Api::idle().await;
    let body = send(&api, "cat.png", &files::png(8, 6)).await.ok(200);
    let stranger = api.org("stranger", 100).await;
    let key = api.key(&stranger, &["*"], Mode::Live).await;
    let ask = async |url: &str| {
        let input = json!({"prompt": "p", "imageUrl": url});
        let call = api.post("models/gemini/edit", &input).key(&key);
        let answer = call.header("x-request-id", "same").send().await;
        answer.error("INVALID_URL");
        answer.bytes
    };
    let own_key = body["key"].as_str().unwrap();
    let unknown = ask("uploads/nobody/1-cat.png").await;
    assert_eq!(ask(own_key).await, unknown);
    assert_eq!(ask(&format!("{own_key}x")).await, unknown);
    assert_eq!(ask(body["url"].as_str().unwrap()).await, unknown);
}

#[tokio::test]
async fn two_files_of_one_name_in_one_millisecond_have_keys_of_their_own() {
    let api = Api::idle().await;
    let first = send(&api, "cat.png", &files::png(8, 6)).await.ok(200);
    let second = send(&api, "cat.png", &files::png(9, 6)).await.ok(200);
    assert_ne!(first["key"], second["key"]);
    assert_ne!(first["url"], second["url"]);
    assert!(second["key"].as_str().unwrap().contains("-cat-"));
    assert_eq!(second["filename"], "cat.png");
}

#[tokio::test]
async fn the_largest_file_is_taken_and_one_byte_more_is_not() {
    let api = Api::idle().await;
    let body = send(&api, "big.png", &large_png(MAX)).await.ok(200);
    assert_eq!(body["size"], MAX);
    let kept = api.media_files();
    for size in [MAX + 1, MAX + 10, MAX + 1_000_000] {
        let answer = send(&api, "big.png", &large_png(size)).await;
        let body = answer.error("FILE_TOO_LARGE");
        assert_eq!(body["error"], "File size exceeds 20MB limit", "{size}");
    }
    while api.media_files() != kept {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn too_many_pixels_are_too_large() {
    let api = Api::idle().await;
    for (width, height) in [(8_193_u32, 1_u32), (1, 8_193), (8_000, 8_000)] {
        let mut file = files::png(1, 1).to_vec();
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let body = send(&api, "x.png", &file).await.error("FILE_TOO_LARGE");
        assert!(body["error"].as_str().unwrap().contains("8192"), "{body}");
    }
    assert!(api.media_files().is_empty());
}

#[tokio::test]
async fn what_is_no_image_is_refused() {
    let api = Api::idle().await;
    for content in [
        b"<svg xmlns='http://www.w3.org/2000/svg'/>".to_vec(),
        b"<!doctype html>".to_vec(),
        b"GIF89".to_vec(),
        b"\x89PNG\r\n\x1a\n".to_vec(),
        b"\xff\xd8\xff".to_vec(),
        vec![0; 5_000],
        vec![],
        files::mp4().to_vec(),
        files::wav().to_vec(),
        // A JPEG that never tells its size.
        [
            b"\xff\xd8\xff\xe0\xff\xff".to_vec(),
            vec![0; 2 * 1_024 * 1_024],
        ]
        .concat(),
    ] {
        let body = send(&api, "cat.png", &content).await;
        let body = body.error("INVALID_FILE_TYPE");
        assert_eq!(
            body["error"],
            "Invalid file type. Allowed: image/jpeg, image/jpg, image/png, image/webp, image/gif"
        );
    }
    assert!(api.media_files().is_empty());
}

#[tokio::test]
async fn a_wrong_type_is_refused_before_the_rest_is_read() {
    let api = Api::idle().await;
    let begun = file_part(
        b"x.png",
        b"<!doctype html><title>a page, and not the last of it",
    );
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from(begun))]).chain(stream::pending());
    let answer = upload(&api).send_body(Body::from_stream(body)).await;
    answer.error("INVALID_FILE_TYPE");
}

#[tokio::test]
async fn whoever_goes_away_leaves_nothing_behind() {
    let api = Api::idle().await;
    let begun = file_part(b"x.png", &large_png(1_000_000));
    let body = stream::iter([Ok::<_, Infallible>(Bytes::from(begun))]).chain(stream::pending());
    let sending = upload(&api).send_body(Body::from_stream(body));
    let begun = async {
        while api.media_files().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        answer = sending => panic!("{answer:?}"),
        () = begun => {}
    }
    nothing_is_left(&api).await;
}

#[tokio::test]
async fn what_breaks_off_is_no_upload() {
    let api = Api::idle().await;
    let begun = Bytes::from(file_part(b"x.png", &files::png(8, 6)));
    let broken = stream::iter([Ok(begun), Err(std::io::Error::other("the line is dead"))]);
    let answer = upload(&api).send_body(Body::from_stream(broken)).await;
    answer.error("INVALID_INPUT");
    nothing_is_left(&api).await;
}

#[tokio::test]
async fn a_disk_that_went_away_is_told_as_unavailable() {
    let api = Api::idle().await;
    api.break_media();
    let answer = send(&api, "x.png", &files::png(8, 6)).await;
    answer.error("UNAVAILABLE");
    api.mend_media();
    send(&api, "x.png", &files::png(8, 6)).await.ok(200);
}

#[tokio::test]
async fn it_needs_its_scope() {
    let api = Api::idle().await;
    for (scope, status) in [("upload:*", 200), ("upload:write", 200), ("models:*", 403)] {
        let key = api.key(&api.org, &[scope], Mode::Live).await;
        let call = upload(&api).key(&key);
        let answer = call.body(form("x.png", &files::png(8, 6))).send().await;
        assert_eq!(answer.status, status, "{scope}");
    }
}

/// The text chunk of a PNG: where the picture was taken.
#[tokio::test]
async fn what_the_file_says_about_its_maker_is_not_published() {
    let api = Api::idle().await;
    let picture = files::png(8, 6);
    let text = b"\0\0\0\x14tEXtComment\0at home, 52Ncrc!";
    let file = [&picture[..33], text, &picture[33..]].concat();
    let body = send(&api, "x.png", &file).await.ok(200);
    let path = body["url"]
        .as_str()
        .unwrap()
        .strip_prefix(PUBLIC_URL)
        .unwrap();
    let served = api.get(path).without("authorization").send().await;
    assert_eq!(served.bytes.len(), file.len());
    assert!(!served.bytes.windows(7).any(|bytes| bytes == b"at home"));
}

/// Reliability map, section 5.2. Each is a 200 or a 400 with the code that is named, never more.
#[tokio::test]
async fn strange_forms_are_read_or_refused() {
    let api = Api::idle().await;
    let png = files::png(8, 6);
    let whole = form("x.png", &png);
    let disposition = b"Content-Disposition: form-data; name=\"note\"";
    let nested = part(
        b"Content-Disposition: form-data; name=\"file\"; filename=\"x\"\r\nContent-Type: multipart/mixed; boundary=in",
        b"--in\r\n\r\nhello, this is the inner part of it\r\n--in--",
    );
    let many: Vec<u8> = (0..2_000).flat_map(|_| part(disposition, b"x")).collect();
    let crowded = format!(
        "Content-Disposition: form-data; name=\"file\"\r\n{}X: 1",
        "X-Header: 1\r\n".repeat(200)
    );
    let lengthy = format!(
        "Content-Disposition: form-data; name=\"file\"; filename=\"{}\"",
        "x".repeat(100_000)
    );
    let cases = vec![
        (
            "text before it",
            [b"preamble\r\n".to_vec(), whole.clone()].concat(),
            None,
        ),
        (
            "bytes behind it",
            [whole.clone(), b"PK\x03\x04 more".to_vec()].concat(),
            None,
        ),
        (
            "a field before it",
            [part(disposition, &[b'x'; 20_000]), whole.clone()].concat(),
            None,
        ),
        (
            "many fields before it",
            [many, whole.clone()].concat(),
            None,
        ),
        (
            "a part without a name",
            [part(b"Content-Type: text/plain", b"x"), whole.clone()].concat(),
            None,
        ),
        (
            "no type and no name of the file",
            [
                part(b"Content-Disposition: form-data; name=\"file\"", &png),
                end(),
            ]
            .concat(),
            None,
        ),
        (
            "no last boundary",
            file_part(b"x.png", &png),
            Some("INVALID_INPUT"),
        ),
        (
            "cut in the file",
            whole[..whole.len() - 40].to_vec(),
            Some("INVALID_INPUT"),
        ),
        (
            "cut in the headers",
            whole[..30].to_vec(),
            Some("INVALID_INPUT"),
        ),
        (
            "two files",
            [file_part(b"a.png", &png), whole.clone()].concat(),
            Some("INVALID_INPUT"),
        ),
        (
            "no file",
            [part(disposition, b"x"), end()].concat(),
            Some("INVALID_INPUT"),
        ),
        ("no part", end(), Some("INVALID_INPUT")),
        ("nothing", vec![], Some("INVALID_INPUT")),
        (
            "another boundary",
            b"--other\r\n\r\nx\r\n--other--".to_vec(),
            Some("INVALID_INPUT"),
        ),
        (
            "only a nameless part",
            [part(b"Content-Type: image/png", &png), end()].concat(),
            Some("INVALID_INPUT"),
        ),
        ("an empty choice", form("", b""), Some("INVALID_INPUT")),
        (
            "a form in the form",
            [nested, end()].concat(),
            Some("INVALID_FILE_TYPE"),
        ),
        (
            "base64",
            form("x.png", b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJ"),
            Some("INVALID_FILE_TYPE"),
        ),
        (
            "too many headers",
            [part(crowded.as_bytes(), &png), end()].concat(),
            Some("INVALID_INPUT"),
        ),
        (
            "a header that is too long",
            [part(lengthy.as_bytes(), &png), end()].concat(),
            Some(""),
        ),
        (
            "a header that is none",
            [part(b"nonsense", &png), end()].concat(),
            Some("INVALID_INPUT"),
        ),
        (
            "a field larger than any file",
            [
                part(disposition, &vec![b'x'; MAX + 1_000_000]),
                whole.clone(),
            ]
            .concat(),
            Some("FILE_TOO_LARGE"),
        ),
    ];
    for (what, body, expected) in cases {
        let answer = upload(&api).body(body).send().await;
        match expected {
            None => drop(answer.ok(200)),
            // Either, as long as it is told.
            Some("") => assert!([200, 400].contains(&answer.status.as_u16()), "{what}"),
            Some(code) => {
                assert_eq!(answer.status, 400, "{what}");
                let body = answer.json();
                assert_eq!(body["code"], code, "{what}: {body}");
                let no_file = [
                    "no file",
                    "no part",
                    "only a nameless part",
                    "an empty choice",
                ];
                assert_eq!(
                    no_file.contains(&what),
                    body["error"] == "No file provided",
                    "{what}: {body}"
                );
            }
        }
    }
    for media_type in [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/mixed; boundary=----xyz",
        "text/plain; boundary=----xyz",
        "nonsense",
    ] {
        let call = upload(&api).header("content-type", media_type);
        let answer = call.body(whole.clone()).send().await;
        assert_eq!(answer.status, 400, "{media_type}");
    }
    let bare = upload(&api).without("content-type").body(whole);
    bare.send().await.error("INVALID_INPUT");
}

#[tokio::test]
async fn a_boundary_may_be_long_and_a_body_may_come_in_any_pieces() {
    let api = Api::idle().await;
    let png = files::png(8, 6);
    for length in [70, 71, 200] {
        let boundary = "b".repeat(length);
        let body = String::from_utf8_lossy(&form("x.png", b"@")).replace(BOUNDARY, &boundary);
        let (before, behind) = body.split_once('@').unwrap();
        let body = [before.as_bytes(), &png, behind.as_bytes()].concat();
        let media_type = format!("multipart/form-data; boundary={boundary}");
        let call = upload(&api).header("content-type", &media_type);
        call.body(body).send().await.ok(200);
    }
    let whole = Bytes::from(form("x.png", &png));
    for cut in 0..whole.len() {
        let pieces = [whole.slice(..cut), whole.slice(cut..)].map(Ok::<_, Infallible>);
        let answer = upload(&api)
            .send_body(Body::from_stream(stream::iter(pieces)))
            .await;
        assert_eq!(answer.ok(200)["size"], png.len(), "cut at {cut}");
    }
}

#[tokio::test]
async fn no_name_does_harm() {
    let api = Api::idle().await;
    let long = vec![b'x'; 255];
    for name in [
        b"a\0b.png".as_slice(),
        b"a/b.png",
        b"a\\\\b.png",
        b"../../etc/passwd",
        b"..",
        b".",
        b"...",
        b".htaccess",
        b"a\r\nSet-Cookie: a=b.png",
        b"a%0d%0aSet-Cookie: a=b.png",
        "\u{202e}gnp.exe".as_bytes(),
        "\u{1f9a6}\u{1f9a6}.png".as_bytes(),
        b"CON.png",
        b"nul",
        b"",
        b" ",
        b"a\\\"b.png",
        b"\xff\xfe\x80.png",
        b"a;b&c|d$(e)`f`.png",
        b"<script>.png",
        b"-rf.png",
        &long,
    ] {
        let body = [file_part(name, &files::png(8, 6)), end()].concat();
        let answer = upload(&api).body(body).send().await;
        harmless(&answer, name);
    }
    for extended in [
        b"UTF-8''caf%C3%A9.png".as_slice(),
        b"UTF-8''%FF%FE.png",
        b"UTF-8''..%2f..%2fx.png",
        b"nonsense",
        b"UTF-8''%",
        b"\xff",
    ] {
        let headers = [
            b"Content-Disposition: form-data; name=\"file\"; filename=\"x.png\"; filename*="
                .as_slice(),
            extended,
        ]
        .concat();
        let body = [part(&headers, &files::png(8, 6)), end()].concat();
        let answer = upload(&api).body(body).send().await;
        harmless(&answer, extended);
    }
}

fn harmless(answer: &Answer, given: &[u8]) {
    let given = String::from_utf8_lossy(given);
    let body: Value = answer.json();
    if answer.status == 400 {
        assert_eq!(body["code"], "INVALID_INPUT", "{given:?}");
        return;
    }
    assert_eq!(answer.status, 200, "{given:?}: {body}");
    let key = body["key"].as_str().unwrap();
    let segments: Vec<&str> = key.split('/').collect();
    let ["uploads", _, last] = segments[..] else {
        panic!("{given:?}: {key}")
    };
    let (_, name) = last.split_once('-').unwrap();
    assert!(
        name.len() <= 100
            && !name.starts_with('.')
            && !name.contains("..")
            && name.strip_suffix(".png").is_some()
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
        "{given:?}: {name}"
    );
}

/// Models that take a film or a sound need not be led to a server that has one.
#[tokio::test]
async fn films_and_sounds_are_taken_where_they_are_asked_for() {
    let api = Api::new().await;
    let send = async |query: &str, name: &str, content: &[u8]| -> Answer {
        let media_type = format!("multipart/form-data; boundary={BOUNDARY}");
        let call = api.call("POST", &format!("upload{query}"));
        let call = call.header("content-type", &media_type);
        call.body(form(name, content)).send().await
    };
    let film = send("?type=video", "waves.mov", &files::mp4())
        .await
        .ok(200);
    assert_eq!(
        (&film["type"], &film["filename"]),
        (&json!("video/mp4"), &json!("waves.mp4"))
    );
    let sound = send("?type=audio", "rain", &files::wav()).await.ok(200);
    assert_eq!(sound["type"], "audio/wav");
    let picture = send("?type=image", "lake.png", &files::png(8, 6))
        .await
        .ok(200);
    let input = json!({"videoUrl": film["key"], "audioUrl": sound["url"]});
    let job = json!({"workflow": "lipsync_video", "input": input});
    api.post("jobs", &job).send().await.ok(201);
    let wrong = json!({"workflow": "lipsync_video", "input": {"videoUrl": picture["url"], "audioUrl": sound["url"]}});
    api.post("jobs", &wrong).send().await.error("INVALID_URL");

    let video = "video/mp4, video/webm, video/quicktime";
    let audio = "audio/mpeg, audio/wav, audio/flac, audio/ogg, audio/mp4, audio/aac";
    let image = "image/jpeg, image/jpg, image/png, image/webp, image/gif";
    for (query, allowed, file) in [
        ("", image, files::mp4()),
        ("?type=video", video, files::png(8, 6)),
        ("?type=video", video, files::wav()),
        ("?type=audio", audio, files::mp4()),
        ("?type=audio", audio, Bytes::from_static(b"<svg/>")),
    ] {
        let told = send(query, "x", &file).await.error("INVALID_FILE_TYPE");
        let sentence = format!("Invalid file type. Allowed: {allowed}");
        assert_eq!(told["error"], sentence, "{query}");
    }
    send("?type=text", "x", b"x").await.error("INVALID_INPUT");
    let mut long = files::wav().to_vec();
    long.resize(50 * 1_024 * 1_024 + 1, 0);
    let told = send("?type=audio", "x", &long)
        .await
        .error("FILE_TOO_LARGE");
    assert_eq!(told["error"], "File size exceeds 50MB limit");
}
