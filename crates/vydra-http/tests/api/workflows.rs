//! `POST /jobs`: every workflow of one step, and what it is made of.

use crate::fixture::{Api, is_time};
use serde_json::{Value, json};
use vydra_testkit::{Accepted, ErrorKind, Gate, PUBLIC_URL, Reply, files, refused};

async fn create(api: &Api, workflow: &str, input: &Value) -> crate::fixture::Answer {
    let body = json!({"workflow": workflow, "input": input});
    api.post("jobs", &body).send().await
}

/// An own image, video and audio file, from a balance that is large enough.
async fn media(api: &mut Api) -> (String, String, String) {
    let org = api.org("rich", 100_000).await;
    api.key = api.key(&org, &["*"], vydra_core::job::Mode::Live).await;
    let image = api.picture().await;
    let made = async |path: &str, input: Value, name: &str| -> String {
        let call = api.post(&format!("models/{path}"), &input);
        let body = call.header("prefer", "wait=20").send().await.ok(200);
        body[name].as_str().unwrap().to_owned()
    };
    let video = made("veo3", json!({"prompt": "p"}), "videoUrl").await;
    let audio = made("elevenlabs/tts", json!({"text": "p"}), "audioUrl").await;
    (image, video, audio)
}

#[tokio::test]
async fn each_workflow_runs_at_its_price() {
    let mut api = Api::new().await;
    let (image, video, audio) = media(&mut api).await;
    let rows = [
        ("generate_image", json!({"prompt": "p"}), "gemini-image", 5),
        (
            "generate_image",
            json!({"prompt": "p", "model": "gemini-image", "aspect_ratio": "16:9"}),
            "gemini-image",
            5,
        ),
        (
            "generate_image",
            json!({"prompt": "p", "model": "grok-imagine"}),
            "grok-imagine",
            8,
        ),
        ("generate_video", json!({"prompt": "p"}), "veo3", 175),
        (
            "generate_video",
            json!({"prompt": "p", "model": "veo3", "image_urls": [image], "duration": 4}),
            "veo3",
            175,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "kling-3.1"}),
            "kling-3.1",
            300,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "seedance"}),
            "seedance",
            150,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "seedance-2"}),
            "seedance-2",
            250,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "grok-imagine"}),
            "grok-imagine",
            150,
        ),
        (
            "generate_video",
            json!({"prompt": "p", "model": "grok-imagine", "image_url": image}),
            "grok-imagine",
            150,
        ),
        (
            "edit_image",
            json!({"prompt": "p", "imageUrl": image}),
            "gemini-edit",
            5,
        ),
        (
            "edit_image",
            json!({"prompt": "p", "image_url": image, "model": "gemini-edit"}),
            "gemini-edit",
            5,
        ),
        (
            "swap_character",
            json!({"sourceImageUrl": image, "targetImageUrl": image}),
            "character-swap",
            50,
        ),
        (
            "transfer_motion",
            json!({"imageUrl": image, "motionVideoUrl": video}),
            "motion-transfer",
            200,
        ),
        (
            "lipsync_video",
            json!({"videoUrl": video, "audioUrl": audio}),
            "lipsync",
            100,
        ),
        (
            "lipsync_video",
            json!({"imageUrl": image, "audioUrl": audio}),
            "lipsync",
            100,
        ),
        (
            "house-timelapse",
            json!({"theme": "a castle"}),
            "timelapse-film",
            150,
        ),
        (
            "renovation-timelapse",
            json!({"imageUrl": image}),
            "timelapse-film",
            150,
        ),
    ];
    for (workflow, input, model, price) in rows {
        let gate = api.provider.hold_next();
        let answer = create(&api, workflow, &input).await;
        let body = answer.ok(201);
        let id = body["id"].as_str().unwrap();
        let url = format!("{PUBLIC_URL}/api/v1/jobs/{id}");
        let created = &body["createdAt"];
        assert!(is_time(created));
        assert_eq!(
            body,
            json!({
                "id": id, "status": "pending", "workflow": workflow, "creditsCharged": price,
                "createdAt": created, "_links": {"self": url, "status": url},
            })
        );
        assert_eq!(answer.header("location"), Some(url.as_str()));
        assert_eq!(answer.number("x-credits-charged"), price);
        gate.open();
        let job = api.get(&format!("jobs/{id}?wait=20")).send().await.ok(200);
        assert_eq!(job["status"], "completed", "{workflow}: {job}");
        assert_eq!(
            (&job["workflow"], &job["workflowSlug"]),
            (&json!(workflow), &json!(workflow))
        );
        assert_eq!(job["model"], model, "{workflow} {input}");
        assert_eq!(job["creditsCharged"], price);
        assert!(job["output"]["url"].is_string());
    }
}

/// One price before, one job, one progress, one result.
#[tokio::test]
async fn a_workflow_of_steps_is_one_job() {
    let api = Api::new().await;
    let input = json!({"theme": "{{steps.plot}} of {{theme}}"});
    let body = json!({"workflow": "house-timelapse", "input": input});
    let quote = api.post("quotes", &body).send().await.ok(200);
    assert_eq!(quote["credits"], 150);
    let gate = Gate::closed();
    let held = Reply::Held(gate.clone(), Box::new(Reply::Made));
    api.provider.next_for("timelapse-film", held);
    let id = create(&api, "house-timelapse", &input).await.ok(201)["id"].clone();
    let id = id.as_str().unwrap();
    gate.reached().await;
    let job = loop {
        let job = api.get(&format!("jobs/{id}")).send().await.ok(200);
        if !job["statusMessage"].is_null() && job["progress"] == 83 {
            break job;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(
        (&job["status"], &job["output"]),
        (&json!("running"), &Value::Null)
    );
    assert_eq!(job["statusMessage"], "Step 6 of 6: film");
    gate.open();
    let job = api.get(&format!("jobs/{id}?wait=20")).send().await.ok(200);
    assert_eq!(job["status"], "completed", "{job}");
    assert_eq!(
        (&job["progress"], &job["statusMessage"]),
        (&json!(100), &Value::Null)
    );
    assert_eq!(job["resultUrls"].as_array().unwrap().len(), 1);
    assert_eq!(job["output"]["assets"].as_array().unwrap().len(), 1);
    assert_eq!(job["videoUrl"], job["resultUrls"][0]);
    assert!(job["imageUrl"].is_null());
    // What the caller said is shown as it was said, and was never read as a template.
    assert_eq!(job["input"]["theme"], input["theme"]);
    let prompts = api.provider.submitted();
    let house = prompts[1].input["prompt"].as_str().unwrap();
    assert!(
        house.contains("in the middle of it: {{steps.plot}} of {{theme}}."),
        "{house}"
    );

    let charges = api.get(&format!("jobs/{id}/charges")).send().await.ok(200);
    assert_eq!(charges["creditsNet"], 150);
    assert_eq!(charges["priceVersion"], quote["priceVersion"]);
    assert_eq!(charges["breakdown"], quote["breakdown"]);
    assert_eq!(
        charges["breakdown"],
        json!([{
            "item": "House timelapse", "model": "timelapse-film", "pricingUnit": "job",
            "creditsPerUnit": 150, "units": 1, "credits": 150,
        }])
    );
}

#[tokio::test]
async fn a_workflow_of_steps_that_fails_is_paid_back_as_a_whole() {
    let api = Api::new().await;
    let before = api.get("billing/credits").send().await.ok(200)["creditsRemaining"].clone();
    let refusal = refused(ErrorKind::ContentRefused, Accepted::No);
    api.provider.next_for("frame", Reply::Error(refusal));
    let id = create(&api, "house-timelapse", &json!({})).await.ok(201)["id"].clone();
    let path = format!("jobs/{}", id.as_str().unwrap());
    let job = api.get(&format!("{path}?wait=20")).send().await.ok(200);
    assert_eq!(
        (&job["status"], &job["code"]),
        (&json!("failed"), &json!("GENERATION_FAILED"))
    );
    assert_eq!(job["error"], "Failed to generate video");
    assert_eq!(job["details"]["reason"], "content_policy");
    assert_eq!(
        job["refund"],
        json!({"applied": true, "creditsRefunded": 150})
    );
    assert!(job["output"].is_null());
    let charges = api.get(&format!("{path}/charges")).send().await.ok(200);
    assert_eq!(charges["creditsNet"], 0);
    let entries = charges["data"].as_array().unwrap();
    assert_eq!(entries.len(), 2, "one charge and one refund: {charges}");
    let after = api.get("billing/credits").send().await.ok(200);
    assert_eq!(after["creditsRemaining"], before);
}

#[tokio::test]
async fn an_image_to_video_choice_hands_the_image_over() {
    let mut api = Api::new().await;
    let (image, ..) = media(&mut api).await;
    let input = json!({"prompt": "p", "model": "grok-imagine", "image_url": image});
    let id = create(&api, "generate_video", &input).await.ok(201)["id"].clone();
    let path = format!("jobs/{}?wait=20", id.as_str().unwrap());
    api.get(&path).send().await.ok(200);
    let request = api.provider.submitted().pop().unwrap();
    assert_eq!(request.input["model"], "image-to-video");
    assert_eq!(request.media.len(), 1);
    assert_eq!(request.media[0].bytes, files::png(8, 6));
}

#[tokio::test]
async fn an_unknown_workflow_is_told_the_known_ones() {
    let api = Api::idle().await;
    let answer = create(&api, "paint_house", &json!({"prompt": "p"})).await;
    assert_eq!(answer.status, 400);
    let body = answer.error("INVALID_INPUT");
    assert_eq!(body["error"], "Unknown workflow: paint_house");
    let known = body["details"]["allowed"].as_array().unwrap();
    for workflow in [
        "generate_image",
        "generate_video",
        "edit_image",
        "swap_character",
        "transfer_motion",
        "lipsync_video",
        "house-timelapse",
        "renovation-timelapse",
    ] {
        assert!(known.contains(&json!(workflow)), "{workflow}");
    }
}

#[tokio::test]
async fn an_unknown_model_in_a_workflows_input_is_not_found() {
    let api = Api::idle().await;
    for (workflow, model) in [
        ("generate_image", "veo3"),
        ("generate_video", "nothing"),
        ("edit_image", "gemini-image"),
    ] {
        let answer = create(&api, workflow, &json!({"prompt": "p", "model": model})).await;
        assert_eq!(answer.status, 404);
        let body = answer.error("MODEL_NOT_FOUND");
        assert_eq!(body["details"]["model"], model);
        assert!(body["details"]["hint"].as_str().unwrap().contains(workflow));
    }
}

#[tokio::test]
async fn a_workflows_input_is_checked() {
    let api = Api::idle().await;
    for (workflow, input) in [
        ("generate_image", json!({})),
        (
            "generate_image",
            json!({"prompt": "p", "aspect_ratio": "1:9"}),
        ),
        ("generate_video", json!({"prompt": "p", "duration": 99})),
        ("edit_image", json!({"prompt": "p"})),
        ("swap_character", json!({"sourceImageUrl": "asset:x"})),
        ("transfer_motion", json!({})),
        ("lipsync_video", json!({"videoUrl": "asset:x"})),
        ("lipsync_video", json!({"audioUrl": "asset:x"})),
        ("house-timelapse", json!({"theme": ""})),
        ("house-timelapse", json!({"seconds": 9})),
        ("renovation-timelapse", json!({})),
    ] {
        let answer = create(&api, workflow, &input).await;
        assert_eq!(answer.status, 400, "{workflow} {input}");
        let body = answer.error("INVALID_INPUT");
        assert!(!body["details"]["fields"].as_array().unwrap().is_empty());
    }
    for body in [
        json!({"workflow": 5, "input": {}}),
        json!({"workflow": "generate_image", "input": "p"}),
        json!({"workflow": "generate_image", "input": ["p"]}),
    ] {
        api.post("jobs", &body).send().await.error("INVALID_INPUT");
    }
}

#[tokio::test]
async fn a_failed_job_says_why() {
    let api = Api::new().await;
    api.provider.next(Reply::Files(Vec::new()));
    let id = api.pending().await;
    let job = api.get(&format!("jobs/{id}?wait=20")).send().await.ok(200);
    assert_eq!(job["status"], "failed");
    assert_eq!(
        (&job["error"], &job["code"]),
        (
            &json!("Failed to generate image"),
            &json!("GENERATION_FAILED")
        )
    );
    assert_eq!(
        job["refund"],
        json!({"applied": true, "creditsRefunded": 5})
    );
    assert!(job.get("message").is_none());
}
