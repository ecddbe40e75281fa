//! The catalogue against jobs that outlive it.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use vydra_core::job::JobStatus;
use vydra_engine::Error;
use vydra_testkit::{Reply, ScriptedProvider};

const EXTRA: &str = r#"
[[models]]
slug = "sketch"
path = "sketch"
name = "Sketch"
provider = "house"
model_id = "sketch-1"
description = "Draws."
kind = "image"
answer = "sync"
credits_per_unit = 7
pricing_unit = "image"
[models.input_schema]
type = "object"
required = ["prompt"]
[models.input_schema.properties]
prompt = { type = "string" }
"#;

#[tokio::test]
async fn a_model_of_the_operators_own_can_be_called() {
    let flow = Flow::with(|setup| setup.catalog = EXTRA.to_owned()).await;
    let job = flow.call("sketch", json!({"prompt": "p"})).await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 7).await;
}

#[tokio::test]
async fn a_job_whose_model_is_gone_is_refunded() {
    let mut flow = Flow::with(|setup| setup.catalog = EXTRA.to_owned()).await;
    let job = flow.call("sketch", json!({"prompt": "p"})).await;
    flow.setup.catalog.clear();
    flow.restart().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("model_gone", false));
    assert!(flow.provider.submitted().is_empty());
}

#[tokio::test]
async fn a_job_whose_model_was_switched_off_is_refunded() {
    let mut flow = Flow::with(|setup| setup.catalog = EXTRA.to_owned()).await;
    let job = flow.call("sketch", json!({"prompt": "p"})).await;
    flow.setup.catalog = EXTRA.replace("kind =", "active = false\nkind =");
    flow.restart().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("model_gone", false));
}

#[tokio::test]
async fn a_job_keeps_the_price_at_which_it_was_taken() {
    let mut flow = Flow::with(|setup| setup.catalog = EXTRA.to_owned()).await;
    let job = flow.call("sketch", json!({"prompt": "p"})).await;
    flow.setup.catalog = EXTRA.replace("credits_per_unit = 7", "credits_per_unit = 900");
    flow.restart().await;
    flow.provider.next(Reply::Files(Vec::new()));
    flow.step().await;
    flow.expect(&job, JobStatus::Failed, CREDITS).await;
}

#[tokio::test]
async fn a_model_without_a_provider_cannot_be_called() {
    let flow = Flow::with(|setup| setup.fallback = false).await;
    let refused = flow.try_call("veo3", json!({"prompt": "p"})).await;
    let Err(Error::ModelNotFound { model, hint }) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(model, "veo3");
    assert!(hint.contains("not active"), "{hint}");
    assert_eq!(flow.credits().await, CREDITS);
}

#[tokio::test]
async fn a_models_own_provider_comes_before_the_one_that_serves_everything() {
    let fal = ScriptedProvider::new("fal", true);
    let flow = Flow::with(|setup| setup.others.push(fal.clone())).await;
    let input = json!({"prompt": "p", "aspectRatio": "16:9"});
    let job = flow.call("gemini/generate", input).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.provider.as_deref(), Some("fal"));
    assert!(flow.provider.submitted().is_empty());
    let request = fal.submitted().remove(0);
    assert_eq!(request.model, "fal-ai/nano-banana-2");
    assert_eq!(
        serde_json::Value::Object(request.input),
        json!({"prompt": "p", "aspect_ratio": "16:9"}),
        "under the provider's names"
    );
}
