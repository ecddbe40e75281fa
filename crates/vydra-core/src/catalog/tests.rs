use super::*;
use crate::asset::MediaKind;
use crate::job::Action;
use serde_json::{Map, Value, json};

#[expect(
    clippy::needless_pass_by_value,
    reason = "literals read better without a borrow"
)]
fn object(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn price(path: &str, input: Value) -> Priced {
    Catalog::builtin()
        .unwrap()
        .model_at(path)
        .unwrap_or_else(|| panic!("{path}"))
        .price(object(input))
        .unwrap()
}

/// Contract, section 6: the whole table of paths, prices and ways to answer.
#[test]
fn the_paths_cost_and_answer_as_the_contract_says() {
    let picture = "https://example.com/a.png";
    for (path, input, credits, answer, kind, action) in [
        (
            "gemini/generate",
            json!({"prompt": "p"}),
            5,
            Answer::Sync,
            MediaKind::Image,
            Action::Generate,
        ),
        (
            "gemini/edit",
            json!({"prompt": "p", "imageUrl": picture}),
            5,
            Answer::Sync,
            MediaKind::Image,
            Action::Edit,
        ),
        (
            "nano-banana/edit",
            json!({"prompt": "p"}),
            8,
            Answer::Sync,
            MediaKind::Image,
            Action::Generate,
        ),
        (
            "nano-banana/edit",
            json!({"prompt": "p", "image_url": picture}),
            8,
            Answer::Sync,
            MediaKind::Image,
            Action::Edit,
        ),
        (
            "flux-edit/edit",
            json!({"prompt": "p", "imageUrl": picture}),
            15,
            Answer::Sync,
            MediaKind::Image,
            Action::Edit,
        ),
        (
            "flux-edit/edit",
            json!({"prompt": "p", "imageUrl": picture, "num_images": 4}),
            60,
            Answer::Sync,
            MediaKind::Image,
            Action::Edit,
        ),
        (
            "grok-imagine",
            json!({"prompt": "p"}),
            150,
            Answer::Async,
            MediaKind::Video,
            Action::Generate,
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "text-to-video"}),
            150,
            Answer::Async,
            MediaKind::Video,
            Action::Generate,
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "text-to-image"}),
            8,
            Answer::Sync,
            MediaKind::Image,
            Action::Generate,
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "image-to-video", "image_url": picture}),
            150,
            Answer::Async,
            MediaKind::Video,
            Action::Generate,
        ),
        (
            "veo3",
            json!({"prompt": "p"}),
            175,
            Answer::Async,
            MediaKind::Video,
            Action::Generate,
        ),
        (
            "kling",
            json!({"prompt": "p", "image_url": picture}),
            40,
            Answer::Async,
            MediaKind::Video,
            Action::Generate,
        ),
        (
            "elevenlabs/tts",
            json!({"text": "t"}),
            5,
            Answer::Sync,
            MediaKind::Audio,
            Action::Generate,
        ),
    ] {
        let priced = price(path, input.clone());
        assert_eq!(
            (
                priced.price.get(),
                priced.answer,
                priced.call.kind,
                priced.call.action
            ),
            (credits, answer, kind, action),
            "{path} {input}"
        );
    }
}

/// Contract, section 7: the workflows and what each costs.
#[test]
fn the_workflows_cost_what_the_contract_says() {
    let catalog = Catalog::builtin().unwrap();
    let picture = "https://example.com/a.png";
    for (workflow, input, credits) in [
        ("generate_image", json!({"prompt": "p"}), 5),
        (
            "generate_image",
            json!({"prompt": "p", "model": "grok-imagine"}),
            8,
        ),
        ("generate_video", json!({"prompt": "p"}), 175),
        (
            "generate_video",
            json!({"prompt": "p", "model": "kling-3.1"}),
            300,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "seedance"}),
            150,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "seedance-2"}),
            250,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "grok-imagine"}),
            150,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "grok-imagine", "imageUrl": picture}),
            150,
        ),
        ("edit_image", json!({"prompt": "p", "imageUrl": picture}), 5),
        (
            "swap_character",
            json!({"sourceImageUrl": picture, "targetImageUrl": picture}),
            50,
        ),
        (
            "transfer_motion",
            json!({"imageUrl": picture, "motionVideoUrl": picture}),
            200,
        ),
        (
            "lipsync_video",
            json!({"imageUrl": picture, "audioUrl": picture}),
            100,
        ),
        (
            "lipsync_video",
            json!({"videoUrl": picture, "audioUrl": picture}),
            100,
        ),
        ("house-timelapse", json!({}), 150),
        ("house-timelapse", json!({"theme": "a castle"}), 150),
        ("renovation-timelapse", json!({"theme": "a kitchen"}), 150),
        ("renovation-timelapse", json!({"imageUrl": picture}), 150),
    ] {
        match catalog
            .workflow(workflow)
            .unwrap_or_else(|| panic!("{workflow}"))
            .resolve(&catalog, object(input.clone()))
        {
            Resolved::Call { priced, .. } => {
                assert_eq!(priced.price.get(), credits, "{workflow} {input}");
            }
            other => panic!("{workflow} {input}: {other:?}"),
        }
    }
    let refused = catalog
        .workflow("lipsync_video")
        .unwrap()
        .resolve(&catalog, object(json!({"audioUrl": picture})));
    assert!(matches!(refused, Resolved::Invalid(_)), "{refused:?}");
}

#[test]
fn an_image_to_video_needs_its_image() {
    let catalog = Catalog::builtin().unwrap();
    let refused = catalog
        .model("grok-imagine")
        .unwrap()
        .price(object(json!({"prompt": "p", "model": "image-to-video"})))
        .unwrap_err();
    assert_eq!(
        refused.sentence,
        "Missing required field: image_url (string)"
    );
}

#[test]
fn a_workflow_names_an_unknown_model() {
    let catalog = Catalog::builtin().unwrap();
    let workflow = catalog.workflow("generate_image").unwrap();
    for model in ["dall-e", "veo3"] {
        match workflow.resolve(&catalog, object(json!({"prompt": "p", "model": model}))) {
            Resolved::UnknownModel(name) => assert_eq!(name, model),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn every_example_is_accepted_by_its_own_schema() {
    let catalog = Catalog::builtin().unwrap();
    for model in catalog.models() {
        model
            .price(model.example_input.clone())
            .unwrap_or_else(|wrong| panic!("{}: {wrong:?}", model.slug));
    }
    for workflow in catalog.workflows() {
        let resolved = workflow.resolve(&catalog, workflow.example_input.clone());
        assert!(
            matches!(resolved, Resolved::Call { .. }),
            "{}: {resolved:?}",
            workflow.slug
        );
    }
}

const SMALL: &str = r#"
[[models]]
slug = "m"
path = "m"
name = "M"
provider = "p"
model_id = "m"
description = "d"
kind = "image"
answer = "sync"
credits_per_unit = 1
pricing_unit = "image"
input_schema = { type = "object", properties = { prompt = { type = "string" } } }
"#;

#[test]
fn an_operator_adds_and_replaces_rows() {
    let dearer = SMALL
        .replace("slug = \"m\"", "slug = \"veo3\"")
        .replace("path = \"m\"", "path = \"veo3\"")
        .replace("_unit = 1", "_unit = 999");
    let catalog =
        Catalog::load([("default", DEFAULT), ("mine", SMALL), ("more", &dearer)]).unwrap();
    assert_eq!(catalog.model("m").unwrap().credits_per_unit.get(), 1);
    assert_eq!(
        catalog.model_at("veo3").unwrap().credits_per_unit.get(),
        999
    );
    assert_eq!(
        catalog.models().len(),
        Catalog::builtin().unwrap().models().len() + 1
    );
}

#[test]
fn what_could_not_be_kept_is_refused_with_its_reason() {
    for (wrong, reason) in [
        (SMALL.replace("_unit = 1", "_unit = 0"), "without a price"),
        (SMALL.replace("_unit = 1", "_unit = -5"), "negative"),
        (
            SMALL.replace("credits_per_unit = 1", ""),
            "credits_per_unit",
        ),
        (SMALL.replace("\"string\"", "\"strnig\""), "model m"),
        (SMALL.replace("slug = \"m\"", "slug = \"M!\""), "lower-case"),
        (
            SMALL.replace("kind = \"image\"", "kind = \"smell\""),
            "smell",
        ),
        (format!("{SMALL}\ncolour = 1"), "colour"),
        (
            format!("{SMALL}\n{}", SMALL.replace("slug = \"m\"", "slug = \"n\"")),
            "same path",
        ),
        (format!("{SMALL}\nunits_from = \"n\""), "units_from"),
        (
            format!(
                "{SMALL}\n[[workflows]]\nslug = \"w\"\nname = \"w\"\ndescription = \"\"\ninput_schema = {{ properties = {{}} }}\nchoices = [{{ model = \"gone\" }}]"
            ),
            "no model gone",
        ),
    ] {
        let error = Catalog::load([("mine.toml", wrong.as_str())])
            .unwrap_err()
            .to_string();
        assert!(
            error.contains(reason) && error.contains("mine.toml"),
            "{reason}: {error}"
        );
    }
}

#[test]
fn the_price_version_follows_prices_and_nothing_else() {
    let version = |edit: &dyn Fn(&str) -> String| {
        let text = edit(DEFAULT);
        Catalog::load([("catalog.default.toml", text.as_str())])
            .unwrap()
            .price_version()
            .to_owned()
    };
    let now = version(&str::to_owned);
    assert_eq!(now.len(), 12, "{now}");
    assert_eq!(now, version(&str::to_owned));
    for (what, text, other) in [
        ("a name", "name = \"Gemini Image\"", "name = \"Gemini\""),
        ("a description", "Makes an image from a text.", "Paints."),
        ("an example", "studio light", "candle light"),
        ("a prompt", "Untouched and deserted", "Deserted"),
        ("a provider's name", "fal-ai/nano-banana-2\"", "x\""),
    ] {
        assert!(DEFAULT.contains(text), "{what}");
        assert_eq!(now, version(&|all| all.replace(text, other)), "{what}");
    }
    let prices = DEFAULT.matches("credits_per_unit = ").count();
    assert!(prices > 10, "{prices}");
    let mut seen = vec![now];
    for (place, _) in DEFAULT.match_indices("credits_per_unit = ") {
        let digit = place + "credits_per_unit = ".len();
        // One digit before the price makes it another one.
        let dearer = version(&|all| format!("{}9{}", &all[..digit], &all[digit..]));
        assert!(!seen.contains(&dearer), "the price at {place}");
        seen.push(dearer);
    }
    let one_price = "credits = 150\n";
    for (place, _) in DEFAULT.match_indices(one_price) {
        let dearer = version(&|all| {
            format!(
                "{}credits = 151\n{}",
                &all[..place],
                &all[place + one_price.len()..]
            )
        });
        assert!(!seen.contains(&dearer), "the price at {place}");
        seen.push(dearer);
    }
    assert!(seen.len() > prices + 2, "workflows of one price");
    let unit = "pricing_unit = \"image\"";
    let by_pixel = version(&|all| all.replacen(unit, "pricing_unit = \"pixel\"", 1));
    assert!(!seen.contains(&by_pixel));
    let dearer_choice = "{ named = \"gemini-image\", model = \"gemini-image\" }";
    assert!(DEFAULT.contains(dearer_choice));
    let routed = version(&|all| {
        all.replace(
            dearer_choice,
            "{ named = \"gemini-image\", model = \"veo3\" }",
        )
    });
    assert!(!seen.contains(&routed));
}

#[test]
fn a_price_is_explained() {
    let picture = "https://example.com/a.png";
    let input = json!({"prompt": "p", "imageUrl": picture, "numImages": 3});
    let priced = price("flux-edit/edit", input);
    let [line] = <[_; 1]>::try_from(priced.call.pricing.lines).unwrap();
    assert_eq!((line.units, line.credits_per_unit.get()), (3, 15));
    assert_eq!(line.credits, priced.price);
    assert_eq!(
        (line.model.as_str(), line.pricing_unit.as_str()),
        ("flux-edit", "image")
    );
    // A variant has its own price and its own unit.
    let image = price(
        "grok-imagine",
        json!({"prompt": "p", "model": "text-to-image"}),
    );
    assert_eq!(image.call.pricing.lines[0].credits.get(), 8);
    assert_eq!(image.call.pricing.lines[0].pricing_unit, "image");
}

/// What a call is routed to at the gateway that serves the whole catalogue.
fn routed(slug: &str, input: &Value) -> Vec<String> {
    let catalog = Catalog::load([("shipped", DEFAULT)]).unwrap();
    let model = catalog.model(slug).unwrap();
    let priced = model.price(input.as_object().unwrap().clone()).unwrap();
    let routes = model.routes.iter();
    routes
        .filter(|route| route.provider == "fal" && route.takes(&priced.call.input))
        .map(|route| route.model.clone())
        .collect()
}

#[test]
fn a_call_is_routed_by_what_it_has() {
    let few = json!(["asset:a", "asset:b", "asset:c"]);
    let many = json!(["asset:a", "asset:b", "asset:c", "asset:d"]);
    for (slug, input, expected) in [
        (
            "nano-banana",
            json!({"prompt": "p"}),
            &["fal-ai/nano-banana-2"][..],
        ),
        (
            "nano-banana",
            json!({"prompt": "p", "imageUrl": "asset:a"}),
            &["fal-ai/nano-banana/edit"],
        ),
        ("veo3", json!({"prompt": "p"}), &["fal-ai/veo3.1"]),
        (
            "veo3",
            json!({"prompt": "p", "image_url": "asset:a"}),
            &["fal-ai/veo3.1/image-to-video"],
        ),
        (
            "grok-imagine",
            json!({"prompt": "p", "model": "text-to-image"}),
            &["xai/grok-imagine-image"],
        ),
        (
            "grok-imagine",
            json!({"prompt": "p"}),
            &["xai/grok-imagine-video/text-to-video"],
        ),
        (
            "flux-edit",
            json!({"prompt": "p", "imageUrl": "asset:x", "imageUrls": few}),
            &["fal-ai/flux-2/edit", "fal-ai/flux-2-flex/edit"],
        ),
        (
            "flux-edit",
            json!({"prompt": "p", "imageUrl": "asset:x", "imageUrls": many}),
            &["fal-ai/flux-2-flex/edit"],
        ),
        (
            "kling",
            json!({"prompt": "p", "image_url": "asset:a"}),
            &["fal-ai/kling-video/v3/pro/image-to-video"],
        ),
        (
            "kling",
            json!({"prompt": "p", "image_url": "asset:a", "video_url": "asset:b"}),
            &["fal-ai/kling-video/v2.6/pro/motion-control"],
        ),
    ] {
        assert_eq!(routed(slug, &input), expected, "{slug} {input}");
    }
}

/// A ratio that a model does not make becomes one that is as near as any that it makes.
#[test]
fn the_shipped_routes_name_the_nearest_ratio() {
    let catalog = Catalog::builtin().unwrap();
    let logarithm = |ratio: &str| {
        let (width, height) = ratio.split_once(':').unwrap();
        (width.parse::<f64>().unwrap() / height.parse::<f64>().unwrap()).ln()
    };
    let mut checked = 0;
    for model in catalog.models() {
        for route in &model.routes {
            let Some(values) = route.values.get("aspect_ratio") else {
                continue;
            };
            let told = model.schema.json()["properties"]["aspect_ratio"]["enum"].clone();
            let told: Vec<String> = serde_json::from_value(told).unwrap();
            let made = || told.iter().filter(|ratio| !values.contains_key(*ratio));
            for (ours, theirs) in values {
                let away = |ratio: &str| (logarithm(ours) - logarithm(ratio)).abs();
                let least = made().map(|ratio| away(ratio)).fold(f64::MAX, f64::min);
                let theirs = theirs.as_str().unwrap();
                assert!(
                    made().any(|ratio| ratio == theirs),
                    "{}: {theirs}",
                    model.slug
                );
                assert!(
                    away(theirs) <= least + 1e-9,
                    "{}: {ours} as {theirs}",
                    model.slug
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= 30, "{checked}");
}
