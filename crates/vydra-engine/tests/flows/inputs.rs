//! Media that a request names: our own files from storage, others fetched once, and nothing charged for what cannot be
//! read.

use crate::fixture::{CREDITS, Flow, invalid_url, reason, reference};
use serde_json::json;
use vydra_core::asset::{Asset, MediaKind};
use vydra_core::ids::AssetId;
use vydra_core::job::{JobStatus, Mode};
use vydra_core::time::Clock as _;
use vydra_testkit::{FileServer, PUBLIC_URL, files};

fn url(asset: &Asset) -> String {
    format!("{PUBLIC_URL}/media/{}", asset.storage_key)
}

#[tokio::test]
async fn a_result_of_ours_is_taken_from_storage() {
    let flow = Flow::new().await;
    let picture = flow.picture().await;
    let key = &picture.storage_key;
    for name in [
        url(&picture),
        reference(&picture),
        // Whatever address the server has for this caller; nobody is asked.
        format!("http://localhost:8787/media/{key}"),
        format!("http://10.0.0.7/media/{key}"),
    ] {
        let before = flow.credits().await;
        let input = json!({"prompt": "winter", "imageUrl": name});
        let job = flow.call("gemini/edit", input).await;
        assert_eq!(job.input["imageUrl"], reference(&picture), "{name}");
        flow.step().await;
        flow.expect(&job, JobStatus::Completed, before - 5).await;
        let request = flow.provider.submitted().pop().unwrap();
        let [media] = request.media.as_slice() else {
            panic!("{:?}", request.media)
        };
        assert_eq!(
            (media.field.as_str(), media.media_type.as_str()),
            ("imageUrl", "image/png")
        );
        assert_eq!(media.bytes, files::png(8, 6));
        assert!(!request.input.contains_key("imageUrl"));
    }
}

#[tokio::test]
async fn several_files_keep_their_order() {
    let flow = Flow::new().await;
    let (one, two) = (flow.picture().await, flow.picture().await);
    let input = json!({
        "prompt": "p", "imageUrl": reference(&one), "imageUrls": [reference(&two), url(&one)],
    });
    let job = flow.call("flux-edit/edit", input).await;
    assert_eq!(
        job.input["imageUrls"],
        json!([reference(&two), reference(&one)])
    );
    flow.step().await;
    let request = flow.provider.submitted().pop().unwrap();
    let fields: Vec<&str> = request.media.iter().map(|m| m.field.as_str()).collect();
    assert_eq!(fields, ["imageUrl", "imageUrls", "imageUrls"]);
}

#[tokio::test]
async fn a_foreign_organizations_file_is_not_there() {
    let flow = Flow::new().await;
    let picture = flow.picture().await;
    let stranger = flow.org("stranger", 100).await;
    let caller = flow.caller_of(&stranger, Mode::Live).await;
    let mut told = Vec::new();
    let missing = format!("{PUBLIC_URL}/media/aa/{}.png", "0".repeat(40));
    for name in [url(&picture), missing, reference(&picture)] {
        let input = crate::fixture::object(json!({"prompt": "p", "imageUrl": name}));
        let refused = flow
            .engine
            .generate(
                &caller,
                "gemini/edit",
                input,
                vydra_engine::Asked::default(),
            )
            .await;
        told.push(invalid_url(refused));
    }
    assert_eq!(told[0], told[1], "as if it did not exist");
    assert_eq!(told[0], told[2]);
    assert_eq!(flow.balance(&stranger, Mode::Live).await, 100);
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_and_not_charged() {
    let flow = Flow::new().await;
    for name in [
        "http://10.0.0.7/x.png",
        "http://127.0.0.1/x.png",
        "http://[::1]/x.png",
        "http://private.test/x.png",
        "http://metadata.test/x.png",
        "http://169.254.169.254/x",
        "https://nowhere.test/x.png",
        "ftp://example.com/x.png",
        "file:///etc/passwd",
        "not a url",
        "asset:nonsense",
        "asset:ast_00000000000000000000000000",
    ] {
        let input = json!({"prompt": "p", "imageUrl": name});
        let (field, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
        assert_eq!(field, "imageUrl");
        assert!(
            sentence.starts_with("Invalid URL in imageUrl: "),
            "{sentence}"
        );
        assert!(
            !sentence.contains("10.0.0.7"),
            "what a name leads to is not told: {sentence}"
        );
    }
    assert_eq!(flow.credits().await, CREDITS);
    assert_eq!(flow.step().await, 0);
}

#[tokio::test]
async fn one_bad_file_among_good_ones_is_enough() {
    let flow = Flow::new().await;
    let picture = reference(&flow.picture().await);
    let input =
        json!({"prompt": "p", "imageUrl": picture, "imageUrls": [picture, "http://10.0.0.7/"]});
    let (field, _) = invalid_url(flow.try_call("flux-edit/edit", input).await);
    assert_eq!(field, "imageUrls[1]");
    assert_eq!(flow.credits().await, CREDITS - 5);
}

#[tokio::test]
async fn a_file_of_another_kind_is_refused() {
    let flow = Flow::new().await;
    let video = flow.call("veo3", json!({"prompt": "p"})).await;
    flow.step().await;
    let video = flow.now(&video).await.outputs.remove(0);
    let input = json!({"prompt": "p", "imageUrl": url(&video)});
    let (_, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
    assert_eq!(
        sentence,
        "Invalid URL in imageUrl: it leads to a video, not to an image"
    );
    assert_eq!(flow.credits().await, CREDITS - 175);
}

#[tokio::test]
async fn a_file_of_the_web_is_fetched_once_and_kept() {
    let flow = Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await;
    let server = FileServer::of(files::png(30, 20)).await;
    let input = json!({"prompt": "p", "imageUrl": server.url});
    let job = flow.call("gemini/edit", input).await;
    let shown = job.input["imageUrl"].as_str().unwrap();
    assert!(shown.starts_with("asset:ast_"), "{shown}");
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    let request = flow.provider.submitted().remove(0);
    assert_eq!(request.media[0].bytes, files::png(30, 20));
    assert_eq!(server.requests(), 1);
    // What was echoed can be sent again.
    let again = flow
        .call("gemini/edit", json!({"prompt": "p", "imageUrl": shown}))
        .await;
    assert_eq!(again.input["imageUrl"], shown);
    assert_eq!(server.requests(), 1);
}

/// The bytes in the text of the URI itself, every one of them escaped.
fn escaped(bytes: &[u8]) -> String {
    let digits: Vec<String> = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
    format!("data:text/html,{}", digits.concat())
}

fn base64(bytes: &[u8]) -> String {
    let digits = |group: &[u8]| {
        let all = group
            .iter()
            .fold(0, |all, byte| all << 8 | u32::from(*byte));
        let all = all << (8 * (3 - group.len()));
        let digit = |place: usize| {
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            char::from(alphabet[(all >> (18 - 6 * place) & 63) as usize])
        };
        let padding = "=".repeat(3 - group.len());
        (0..=group.len()).map(digit).collect::<String>() + &padding
    };
    bytes.chunks(3).map(digits).collect()
}

#[tokio::test]
async fn a_file_in_the_text_is_kept_like_one_of_the_web() {
    let flow = Flow::new().await;
    let picture = files::png(30, 20);
    for text in [
        format!("data:image/png;base64,{}", base64(&picture)),
        format!("Data:;BASE64,{}", base64(&picture)),
        // What it claims to be counts for nothing.
        escaped(&picture),
    ] {
        let before = flow.credits().await;
        let input = json!({"prompt": "p", "imageUrl": text});
        let job = flow.call("gemini/edit", input).await;
        let shown = job.input["imageUrl"].as_str().unwrap();
        assert!(shown.starts_with("asset:ast_"), "{shown}");
        flow.step().await;
        flow.expect(&job, JobStatus::Completed, before - 5).await;
        let request = flow.provider.submitted().pop().unwrap();
        let [media] = request.media.as_slice() else {
            panic!("{:?}", request.media)
        };
        assert_eq!(media.media_type, "image/png");
        assert_eq!(media.bytes, picture);
    }
}

/// To read them all would take as long as their number squared.
#[tokio::test]
async fn a_file_in_the_text_has_a_short_type() {
    let flow = Flow::new().await;
    let many: Vec<String> = (0..20)
        .map(|number| format!(";name{number:07}=1"))
        .collect();
    let many = many.concat();
    let text = format!("data:image/png{many},{}", &escaped(&files::png(1, 1))[15..]);
    let input = json!({"prompt": "p", "imageUrl": text});
    let (_, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
    assert!(sentence.contains("not a complete data: URI"), "{sentence}");
    let input = json!({"prompt": "p", "imageUrl": text.replace(&many, &many[..98])});
    flow.call("gemini/edit", input).await;
}

#[tokio::test]
async fn several_files_in_the_text_keep_their_order() {
    let flow = Flow::new().await;
    let texts = [files::png(1, 2), files::png(3, 4)].map(|file| escaped(&file));
    let input = json!({"prompt": "p", "imageUrl": texts[0], "imageUrls": texts});
    let job = flow.call("flux-edit/edit", input).await;
    flow.step().await;
    let left = CREDITS - job.price.get();
    flow.expect(&job, JobStatus::Completed, left).await;
    let request = flow.provider.submitted().remove(0);
    let given: Vec<_> = request.media.iter().map(|media| &media.bytes).collect();
    let (one, two) = (&files::png(1, 2), &files::png(3, 4));
    assert_eq!(given, [one, one, two]);
}

#[tokio::test]
async fn a_file_in_the_text_reaches_the_steps_of_a_workflow() {
    let flow = Flow::new().await;
    let mut input = flow
        .engine
        .catalog()
        .workflow("renovation-timelapse")
        .unwrap()
        .example_input
        .clone();
    input.insert("imageUrl".to_owned(), escaped(&files::png(64, 48)).into());
    let asked = vydra_engine::Asked::default();
    let started = flow
        .engine
        .create_job(&flow.caller, "renovation-timelapse", input, asked)
        .await
        .unwrap();
    let call = serde_json::to_string(&started.job.call.steps).unwrap();
    assert!(
        call.contains("asset:ast_") && !call.contains("data:"),
        "{call}"
    );
}

#[tokio::test]
async fn a_file_in_the_text_is_held_to_the_same_bounds() {
    let flow = Flow::new().await;
    let mut bomb = files::png(1, 1).to_vec();
    bomb[16..20].copy_from_slice(&8_193_u32.to_be_bytes());
    let too_long = vec![0; 20 * 1_024 * 1_024 + 1];
    for (file, why) in [
        (bomb, "larger than 8192 pixels"),
        (files::mp4().to_vec(), "leads to a video, not to an image"),
        (too_long, "the file is too large"),
    ] {
        let text = format!("data:image/png;base64,{}", base64(&file));
        let input = json!({"prompt": "p", "imageUrl": text});
        let (field, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
        assert_eq!(field, "imageUrl");
        assert!(sentence.contains(why), "{sentence}");
    }
    assert_eq!(flow.credits().await, CREDITS);
}

#[tokio::test]
async fn a_page_of_the_web_is_no_image() {
    let flow = Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await;
    // The last says what it is, and not how large.
    let signature = files::png(1, 1).slice(..8);
    for file in ["<!doctype html>".into(), files::mp4(), signature] {
        let server = FileServer::of(file).await;
        let input = json!({"prompt": "p", "imageUrl": server.url});
        let (_, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
        assert!(
            sentence.contains("not") && sentence.contains("an image"),
            "{sentence}"
        );
    }
    assert_eq!(flow.credits().await, CREDITS);
}

#[tokio::test]
async fn a_file_that_is_refused_leaves_nothing_of_those_before_it() {
    let flow = Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await;
    let good = FileServer::of(files::png(8, 6)).await;
    let page = FileServer::of("<html>".into()).await;
    let input = json!({"prompt": "p", "imageUrl": good.url, "imageUrls": [page.url]});
    let (field, _) = invalid_url(flow.try_call("flux-edit/edit", input).await);
    assert_eq!(field, "imageUrls[0]");
    assert_eq!((good.requests(), page.requests()), (1, 1));
    flow.engine.settle_files().await;
    assert_eq!(flow.media_files(), [] as [std::path::PathBuf; 0]);
}

#[tokio::test]
async fn an_image_that_would_fill_the_memory_is_refused() {
    let flow = Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await;
    // Only the head of the file counts: it names 8,193 pixels, or 8,000 times 8,000.
    for (width, height) in [(8_193_u32, 1_u32), (8_000, 8_000)] {
        let mut file = files::png(1, 1).to_vec();
        file[16..20].copy_from_slice(&width.to_be_bytes());
        file[20..24].copy_from_slice(&height.to_be_bytes());
        let server = FileServer::of(file.into()).await;
        let input = json!({"prompt": "p", "imageUrl": server.url});
        let (_, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
        assert!(sentence.contains("larger than 8192 pixels"), "{sentence}");
    }
}

#[tokio::test]
async fn nothing_is_fetched_for_whoever_cannot_pay() {
    let flow = Flow::with(|setup| setup.readable = vec!["127.0.0.1"]).await;
    let server = FileServer::of(files::png(1, 1)).await;
    let poor = flow.org("poor", 4).await;
    let caller = flow.caller_of(&poor, Mode::Live).await;
    let input = crate::fixture::object(json!({"prompt": "p", "imageUrl": server.url}));
    let refused = flow
        .engine
        .generate(
            &caller,
            "gemini/edit",
            input,
            vydra_engine::Asked::default(),
        )
        .await;
    assert!(
        matches!(
            refused,
            Err(vydra_engine::Error::InsufficientCredits { .. })
        ),
        "{refused:?}"
    );
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn an_input_that_vanished_from_storage_is_refunded() {
    let flow = Flow::new().await;
    let picture = flow.picture().await;
    let input = json!({"prompt": "p", "imageUrl": reference(&picture)});
    let job = flow.call("gemini/edit", input).await;
    flow.lose_file(&picture.storage_key);
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS - 5).await;
    assert_eq!(reason(&job), ("input_unreadable", false));
    assert_eq!(
        flow.provider.submitted().len(),
        1,
        "only the picture itself"
    );
}

/// What no field takes, whatever it is a field of; and a part of the sentence.
fn bad_urls() -> Vec<(String, &'static str)> {
    let long = format!("https://example.com/{}", "x".repeat(2_048));
    [
        ("", "it is empty"),
        ("  ", "it is empty"),
        (" https://example.com/x.png", "space"),
        ("https://example.com/x.png ", "space"),
        ("https://example.com/x.png\n", "space"),
        ("https://exam\tple.com/x.png", "not a complete"),
        ("https://user@example.com/x.png", "user name or password"),
        (
            "https://user:word@example.com/x.png",
            "user name or password",
        ),
        (
            "https://:word@vydra.test/media/aa/x.png",
            "user name or password",
        ),
        (long.as_str(), "at most 2048 characters"),
        ("data:", "not a complete data: URI"),
        ("DATA:image/png", "not a complete data: URI"),
        ("data:image/png;base64,????", "not a complete data: URI"),
        ("data:image/png;base64,iVBORw0KGgo=", "does not lead to"),
        ("data:,", "does not lead to"),
        ("data:text/html,<script>1</script>", "does not lead to"),
        ("ftp://example.com/x.png", "only http and https"),
        ("javascript:alert(1)", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("//example.com/x.png", "not a complete"),
        ("/media/aa/x.png", "not a complete"),
        ("example.com/x.png", "not a complete"),
        ("https:example.com", "not a complete"),
        ("https://", "not a complete"),
        ("https:///x.png", "not a complete"),
        ("https://example.com\\@10.0.0.7/", "not a complete"),
        ("http://127.0.0.1/x.png", "cannot be reached"),
        ("http://2130706433/x.png", "cannot be reached"),
        ("http://0x7f.1/x.png", "cannot be reached"),
        ("http://[::ffff:10.0.0.7]/x.png", "cannot be reached"),
        ("http://169.254.169.254/latest", "cannot be reached"),
        ("http://localhost/x.png", "cannot be reached"),
        ("http://metadata.google.internal/x", "cannot be reached"),
        ("https://example.com:22/x.png", "only the ports"),
        (
            "asset:ast_00000000000000000000000000",
            "there is no such file",
        ),
        ("uploads/nobody/1-x.png", "there is no such file"),
        ("uploads/", "there is no such file"),
        ("https://vydra.test/media/aa/x.png", "there is no such file"),
        ("https://vydra.test/api/v1/health", "there is no such file"),
    ]
    .map(|(url, why)| (url.to_owned(), why))
    .to_vec()
}

/// Every media field of every model and workflow that is shipped. The other URLs of the examples lead nowhere, so that a
/// fetch would be told as such before the bad one is met.
#[tokio::test]
async fn each_media_field_is_named_when_its_url_is_bad() {
    let flow = Flow::new().await;
    let mut fields = 0;
    let models = flow.engine.catalog().models().iter().filter_map(|model| {
        let path = model.path.as_deref()?;
        Some((true, path, &model.schema, &model.example_input))
    });
    let workflows = flow.engine.catalog().workflows().iter();
    let workflows =
        workflows.map(|one| (false, one.slug.as_str(), &one.schema, &one.example_input));
    for (is_model, name, schema, example) in models.chain(workflows) {
        for field in schema.media_fields() {
            fields += 1;
            let is_list = schema.json()["properties"][field.name]["type"] == "array";
            for (url, why) in bad_urls() {
                let mut input = example.clone();
                let (value, named) = if is_list {
                    let good = "https://example.com/good.png";
                    (json!([good, good, url]), format!("{}[2]", field.name))
                } else {
                    (json!(url), field.name.to_owned())
                };
                input.insert(field.name.to_owned(), value);
                let asked = vydra_engine::Asked::default();
                let started = if is_model {
                    flow.engine.generate(&flow.caller, name, input, asked).await
                } else {
                    flow.engine
                        .create_job(&flow.caller, name, input, asked)
                        .await
                };
                let (told, sentence) = invalid_url(started);
                assert_eq!(told, named, "{name}: {url:?}");
                assert!(
                    sentence.starts_with(&format!("Invalid URL in {named}: "))
                        && sentence.contains(why),
                    "{name}: {url:?}: {sentence}"
                );
            }
        }
    }
    assert!(fields >= 19, "{fields}");
    assert_eq!(flow.credits().await, CREDITS);
}

#[tokio::test]
async fn a_bad_url_is_told_also_to_whoever_cannot_pay() {
    let flow = Flow::new().await;
    let poor = flow.org("poor", 0).await;
    let caller = flow.caller_of(&poor, Mode::Live).await;
    let input = crate::fixture::object(json!({"prompt": "p", "imageUrl": "ftp://x/"}));
    let asked = vydra_engine::Asked::default();
    let refused = flow
        .engine
        .generate(&caller, "gemini/edit", input, asked)
        .await;
    invalid_url(refused);
}

#[tokio::test]
async fn both_spellings_of_a_field_are_named_as_the_model_has_them() {
    let flow = Flow::new().await;
    for name in ["imageUrl", "image_url"] {
        let mut input = json!({"prompt": "p"});
        input[name] = json!("nonsense");
        let (field, _) = invalid_url(flow.try_call("gemini/edit", input).await);
        assert_eq!(field, "imageUrl");
    }
}

/// What a provider makes may be larger than what is held in memory for the next one.
#[tokio::test]
async fn a_file_of_ours_that_would_fill_the_memory_is_no_input() {
    let flow = Flow::new().await;
    let picture = flow.picture().await;
    let credits = flow.credits().await;
    let large = async |mebibytes: u64| {
        let mut asset = picture.clone();
        asset.id = AssetId::new(flow.clock.now(), flow.random.as_ref());
        asset.storage_key = format!("00/{}.png", asset.id.as_str().to_lowercase());
        asset.bytes = mebibytes << 20;
        flow.store.record_asset(&asset).await.unwrap();
        asset
    };
    let too_large = large(600).await;
    let input = json!({"prompt": "p", "imageUrl": reference(&too_large)});
    let (field, sentence) = invalid_url(flow.try_call("gemini/edit", input).await);
    assert_eq!(field, "imageUrl");
    assert!(sentence.contains("too large"), "{sentence}");
    // Together they are too large, and nobody is asked.
    let (one, other) = (large(300).await, large(300).await);
    let input =
        json!({"prompt": "p", "imageUrl": reference(&one), "imageUrls": [reference(&other)]});
    let job = flow.call("flux-edit/edit", input).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, credits).await;
    assert_eq!(reason(&job), ("input_unreadable", false));
    assert_eq!(flow.provider.submitted().len(), 1, "for the picture alone");
}

/// The size of a JPEG may stand behind a megabyte: to look for it at each piece would take minutes.
#[tokio::test]
async fn an_upload_in_very_small_pieces_is_not_looked_at_for_each() {
    let flow = Flow::new().await;
    let mut upload = flow
        .engine
        .begin_upload(&flow.caller, MediaKind::Image, Some("a.jpg"));
    upload.write(b"\xff\xd8").await.unwrap();
    for _ in 0..500_000 {
        upload.write(b"\xff").await.unwrap();
    }
    let refused = upload.finish().await;
    assert!(
        matches!(refused, Err(vydra_engine::Error::InvalidFileType(_))),
        "{refused:?}"
    );
    assert!(flow.media_files().is_empty());
}
