//! How a graph is filled in, and what a server lacks of it.

use super::{accepted, comfyui, graph, plain, queue, refused, request, unheard, uploaded};
use crate::harness::{self, picture};
use bytes::Bytes;
use serde_json::{Map, Value, json};
use vydra_core::asset::MediaKind;
use vydra_core::catalog::{Catalog, DEFAULT};
use vydra_core::job::Action;
use vydra_outbound::provider::{
    Accepted, ErrorKind, MediaInput, Provider, ProviderError, Request, Submitted,
};
use vydra_testkit::upstream::{Recorded, Reply, Stub};

async fn submit(
    request: Request,
    replies: Vec<Reply>,
) -> (Vec<Recorded>, Result<Submitted, ProviderError>) {
    let stub = Stub::replying(unheard().into_iter().chain(replies)).await;
    let submitted = comfyui(&stub.url)
        .submit(&harness::context(), request)
        .await;
    (stub.requests(), submitted)
}

fn with(request: Request, settings: &Value) -> Request {
    Request {
        settings: settings.as_object().unwrap().clone(),
        ..request
    }
}

#[tokio::test]
async fn a_file_is_uploaded_under_a_name_of_ours() {
    let (sent, submitted) = submit(request(), vec![uploaded("other (1).png"), accepted()]).await;
    submitted.unwrap();
    let upload = &sent[2];
    assert_eq!(
        (upload.method.as_str(), upload.path.as_str()),
        ("POST", "/upload/image")
    );
    let body = String::from_utf8_lossy(&upload.body);
    for part in [
        format!("name=\"image\"; filename=\"{}-input-0.png\"", super::ID).as_str(),
        "Content-Type: image/png\r\n\r\n\u{fffd}PNG picture\r\n",
        "name=\"type\"\r\n\r\ninput\r\n",
        "name=\"subfolder\"\r\n\r\nvydra\r\n",
        "name=\"overwrite\"\r\n\r\ntrue\r\n",
    ] {
        assert!(body.contains(part), "{part} in {body}");
    }
    // What it was stored as counts.
    assert_eq!(
        sent[3].json()["prompt"]["10"]["inputs"]["image"],
        "vydra/other (1).png"
    );
}

#[tokio::test]
async fn a_graph_is_a_table_too_and_a_value_goes_to_several_places() {
    let settings = json!({
        "graph": graph(), "inputs": {"prompt": ["6.text", "7.text"], "seed": "3.seed"}, "seed": ["3.seed", "9.seed"],
    });
    let mut request = with(plain(), &settings);
    request.kind = MediaKind::Video;
    request.input.insert("seed".to_owned(), json!(77));
    let (sent, submitted) = submit(request, vec![accepted()]).await;
    assert!(matches!(submitted.unwrap(), Submitted::Accepted(_)));
    let mut filled = graph();
    let derived = sent[2].json()["prompt"]["9"]["inputs"]["seed"].clone();
    assert!(derived.is_u64());
    filled["9"]["inputs"]["seed"] = derived;
    for node in ["6", "7"] {
        filled[node]["inputs"]["text"] = json!("make it winter");
    }
    // The caller's own wins.
    filled["3"]["inputs"]["seed"] = json!(77);
    assert_eq!(sent[2].json()["prompt"], filled);
}

#[tokio::test]
async fn files_of_a_list_go_to_one_place_after_the_other() {
    let settings = json!({
        "graph": graph(), "inputs": {"images": ["10.image", "11.second"], "mask": ["10.mask", "11.mask"]},
    });
    let mut request = with(plain(), &settings);
    let mask = MediaInput {
        bytes: Bytes::from_static(b"mask"),
        ..picture("mask", false)
    };
    request.media = vec![picture("images", true), mask, picture("images", true)];
    let replies = ["a.png", "m.png", "b.png"].map(uploaded).to_vec();
    let replies = [replies, vec![accepted()]].concat();
    let (sent, submitted) = submit(request.clone(), replies).await;
    submitted.unwrap();
    let body = sent[5].json();
    let at = |node: &str, input: &str| body["prompt"][node]["inputs"][input].clone();
    assert_eq!(at("10", "image"), "vydra/a.png");
    assert_eq!(at("11", "second"), "vydra/b.png");
    assert_eq!(
        [at("10", "mask"), at("11", "mask")],
        ["vydra/m.png", "vydra/m.png"]
    );
    request.media.push(picture("images", true));
    let (_, submitted) = submit(request, ["a", "m", "b", "c"].map(uploaded).to_vec()).await;
    assert_eq!(submitted.unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn settings_that_fit_no_graph_are_refused_before_anything_is_sent() {
    let of_screen = json!({"nodes": [{"id": 3, "type": "KSampler"}], "links": []});
    for settings in [
        json!({}),
        json!({"graph": "{"}),
        json!({"graph": "{}"}),
        json!({"graph": 5}),
        json!({"graph": of_screen}),
        json!({"graph": {"3": {"class_type": "KSampler"}}}),
        json!({"graph": graph(), "inputs": {"prompt": "66.text"}}),
        json!({"graph": graph(), "inputs": {"prompt": "6"}}),
        json!({"graph": graph(), "inputs": {"prompt": 6}}),
        json!({"graph": graph(), "outputs": ["99"]}),
        json!({"graph": graph(), "outputs": ["9,8"]}),
        json!({"graph": graph(), "outputs": "9"}),
        json!({"graph": graph(), "seed": "33.seed"}),
        json!({"graph": graph(), "input": {}}),
    ] {
        let request = with(plain(), &settings);
        let nowhere = comfyui("http://127.0.0.1:9");
        let submitted = nowhere.submit(&harness::context(), request).await;
        let error = submitted.expect_err(&settings.to_string());
        assert_eq!(
            (error.kind, error.accepted),
            (ErrorKind::InvalidRequest, Accepted::No),
            "{settings}"
        );
    }
    // A picture that would have no say in the result.
    let unmapped = with(request(), &json!({"graph": graph()}));
    let nowhere = comfyui("http://127.0.0.1:9");
    let error = nowhere.submit(&harness::context(), unmapped).await;
    assert_eq!(error.unwrap_err().kind, ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn what_fails_before_the_graph_is_sent_has_bought_nothing() {
    let html = || Reply::new(200, "text/html", "<html>");
    let status = |status: u16| Reply::new(status, "text/plain", "");
    for (replies, kind) in [
        (vec![html()], ErrorKind::Protocol),
        (vec![status(502)], ErrorKind::Unavailable),
        (vec![status(401)], ErrorKind::Auth),
        (vec![queue(&[], &[]), html()], ErrorKind::Protocol),
        (vec![queue(&[], &[]), status(429)], ErrorKind::RateLimited),
        ([unheard(), vec![html()]].concat(), ErrorKind::Protocol),
        (
            [unheard(), vec![status(400)]].concat(),
            ErrorKind::InputUnreadable,
        ),
        (
            [unheard(), vec![status(500)]].concat(),
            ErrorKind::Unavailable,
        ),
    ] {
        let shown = format!("{:?}", replies.last());
        let stub = Stub::replying(replies).await;
        let provider = comfyui(&stub.url);
        let submitted = provider.submit(&harness::context(), request()).await;
        let error = submitted.expect_err(&shown);
        assert_eq!(
            (error.kind, error.accepted),
            (kind, Accepted::No),
            "{shown}"
        );
    }
}

#[tokio::test]
async fn a_file_of_a_model_that_is_not_there_is_named_to_the_operator() {
    let (_, submitted) = submit(
        plain(),
        vec![refused("4", "value_not_in_list", "ckpt_name")],
    )
    .await;
    let detail = submitted.unwrap_err().detail;
    assert_eq!(
        detail,
        "status 400: value_not_in_list:4.ckpt_name, which this server does not have"
    );
}

#[tokio::test]
async fn what_a_graph_names_and_the_server_lacks_is_found() {
    let info = json!({
        "KSampler": {"input": {"required": {
            "seed": ["INT", {"default": 0}], "steps": ["INT", {}], "cfg": ["FLOAT", {}], "denoise": ["FLOAT", {}],
            "sampler_name": [["euler", "ddim"], {}], "scheduler": ["COMBO", {"options": ["karras"]}],
            "model": ["MODEL"], "positive": ["CONDITIONING"], "negative": ["CONDITIONING"], "latent_image": ["LATENT"],
        }}},
        "CheckpointLoaderSimple": {"input": {"required": {"ckpt_name": [["other.safetensors"], {}]}}},
        "CLIPTextEncode": {"input": {"required": {"text": ["STRING", {"multiline": true}], "clip": ["CLIP"]}}},
        "VAEDecode": {"input": {}}, "SaveImage": {}, "VAEEncode": null,
        "LoadImage": {"input": {"required": {"image": [["mine.png"], {"image_upload": true}]}}},
    });
    let route = |settings: Value| settings.as_object().unwrap().clone();
    let of = |graph: Value| route(json!({"graph": graph}));
    let lacking =
        async |url: &str, routes: &[&Map<String, Value>]| comfyui(url).lacking(routes).await;
    // What a request writes over is no lack.
    let written = route(
        json!({"graph": graph(), "inputs": {"model": "4.ckpt_name", "other": ["3.scheduler", "1.x"]}}),
    );
    let stub = Stub::replying([Reply::json(200, &info)]).await;
    let routes = [
        of(graph()),
        of(json!(graph().to_string())),
        written,
        Map::new(),
        of(json!("{")),
    ];
    let found = lacking(&stub.url, &routes.each_ref()).await.unwrap();
    let expected = ["3.scheduler: normal", "4.ckpt_name: sd15.safetensors"]
        .map(str::to_owned)
        .to_vec();
    assert_eq!(
        found,
        [
            Some(expected.clone()),
            Some(expected),
            Some(Vec::new()),
            None,
            None
        ]
    );
    assert_eq!(stub.requests()[0].path, "/object_info");

    let stub = Stub::replying([Reply::json(200, &json!({"SaveImage": {}}))]).await;
    let only = of(
        json!({"9": {"class_type": "SaveImage", "inputs": {}}, "5": {"class_type": "Unheard", "inputs": {}}}),
    );
    let found = lacking(&stub.url, &[&only]).await.unwrap();
    assert_eq!(found, [Some(vec!["5: Unheard".to_owned()])]);
    let garbled = Stub::replying([Reply::json(200, &json!([]))]).await;
    lacking(&garbled.url, &[&only]).await.unwrap_err();
    lacking("http://127.0.0.1:9", &[&only]).await.unwrap_err();
}

/// Sound and films are made as images are: which it is, the graph says.
#[tokio::test]
async fn every_kind_is_a_graph() {
    for (kind, action) in [
        (MediaKind::Video, Action::Generate),
        (MediaKind::Audio, Action::Generate),
    ] {
        let request = Request {
            kind,
            action,
            ..plain()
        };
        let (sent, submitted) = submit(request, vec![accepted()]).await;
        submitted.unwrap();
        assert_eq!(
            sent[2].json()["prompt"]["6"]["inputs"]["text"],
            "make it winter"
        );
    }
}

/// The row of the operator's page, as a caller would use it.
#[tokio::test]
async fn the_example_of_the_page_works() {
    let page = include_str!("../../../../../docs/providers/comfyui.md");
    let row = page
        .split("```")
        .find(|block| block.contains("[[models]]"))
        .and_then(|block| block.strip_prefix("toml"))
        .unwrap();
    let catalog = Catalog::load([("shipped", DEFAULT), ("page", row)]).unwrap();
    let model = catalog.model("own-sd15").unwrap();
    let given = json!({"prompt": "a fox", "numImages": 2, "width": 768});
    let priced = model.price(given.as_object().unwrap().clone()).unwrap();
    let call = priced.call.calls().next().unwrap();
    let request = Request::new("job_1", &call, &model.routes[0], Vec::new());
    assert_eq!(request.outputs, 2);
    let (sent, submitted) = submit(request, vec![accepted()]).await;
    submitted.unwrap();
    let graph = &sent[2].json()["prompt"];
    let at = |node: &str, input: &str| graph[node]["inputs"][input].clone();
    assert_eq!(at("6", "text"), "a fox");
    assert_eq!(at("7", "text"), "");
    assert_eq!(
        [
            at("5", "width"),
            at("5", "height"),
            at("5", "batch_size"),
            at("3", "steps")
        ],
        [768, 512, 2, 20]
    );
    assert!(at("3", "seed").as_u64().unwrap() > 0);
}
