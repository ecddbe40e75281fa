//! What a provider delivers, and what of it is paid.

use crate::fixture::{CREDITS, Flow, reason};
use serde_json::json;
use vydra_core::job::JobStatus;
use vydra_testkit::{Reply, files};

/// What [`Flow::images`] costs besides: the picture that they start from.
const PICTURE: i64 = 5;

#[tokio::test]
async fn each_output_becomes_an_asset_in_order() {
    let flow = Flow::new().await;
    let job = flow.images(3).await;
    let made = [1, 2, 3].map(|size| files::png(size, size));
    flow.provider.next(Reply::Files(made.to_vec()));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 45)
        .await;
    let sizes: Vec<_> = job.outputs.iter().map(|asset| asset.dimensions).collect();
    assert_eq!(sizes, [1, 2, 3].map(|size| Some((size, size))));
}

#[tokio::test]
async fn what_is_missing_is_refunded() {
    let flow = Flow::new().await;
    let job = flow.images(4).await;
    flow.provider
        .next(Reply::Files(vec![files::png(1, 1), files::png(2, 2)]));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 30)
        .await;
    assert_eq!((job.outputs.len(), job.refunded.get()), (2, 30));
}

#[tokio::test]
async fn nothing_delivered_is_a_failure() {
    let flow = Flow::new().await;
    flow.provider.next(Reply::Files(Vec::new()));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("no_output", true));
}

#[tokio::test]
async fn a_file_of_the_wrong_kind_is_not_delivered() {
    for wrong in [
        files::mp4(),
        files::wav(),
        "<html>sorry</html>".into(),
        "{}".into(),
        "".into(),
    ] {
        let flow = Flow::new().await;
        flow.provider.next(Reply::Files(vec![wrong.clone()]));
        let job = flow.image().await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
        assert_eq!(reason(&job), ("no_output", true), "{wrong:?}");
    }
}

#[tokio::test]
async fn a_wrong_file_among_right_ones_counts_as_missing() {
    let flow = Flow::new().await;
    let job = flow.images(2).await;
    flow.provider
        .next(Reply::Files(vec!["oops".into(), files::png(9, 9)]));
    flow.step().await;
    let job = flow
        .expect(&job, JobStatus::Completed, CREDITS - PICTURE - 15)
        .await;
    assert_eq!(job.outputs[0].dimensions, Some((9, 9)));
    assert_eq!(job.refunded.get(), 15);
}

#[tokio::test]
async fn more_than_was_paid_is_not_delivered() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Files(vec![files::png(1, 1), files::png(2, 2)]));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.outputs.len(), 1);
}

#[tokio::test]
async fn a_wrong_file_before_one_too_many_does_not_cost_the_caller() {
    let flow = Flow::new().await;
    flow.provider
        .next(Reply::Files(vec!["a caption".into(), files::png(2, 2)]));
    let job = flow.image().await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
    assert_eq!(job.outputs[0].dimensions, Some((2, 2)));
}

#[tokio::test]
async fn video_and_speech_keep_their_length() {
    let flow = Flow::new().await;
    let video = flow.call("veo3", json!({"prompt": "p"})).await;
    let speech = flow.call("elevenlabs/tts", json!({"text": "p"})).await;
    flow.step().await;
    for (job, media_type) in [(video, "video/mp4"), (speech, "audio/wav")] {
        let job = flow
            .expect(&job, JobStatus::Completed, CREDITS - 175 - 5)
            .await;
        assert_eq!(job.outputs[0].media_type, media_type);
        assert_eq!(job.outputs[0].duration_ms, Some(4_000));
    }
}

#[tokio::test]
async fn every_file_lies_under_a_key_of_its_own_that_nobody_guesses() {
    let flow = Flow::new().await;
    let job = flow.images(4).await;
    flow.step().await;
    let outputs = flow.now(&job).await.outputs;
    let mut keys: Vec<&str> = outputs
        .iter()
        .map(|asset| asset.storage_key.as_str())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), 4);
    for key in keys {
        let name = key.split(['/', '.']).nth(1).unwrap();
        assert_eq!(name.len(), 40, "160 bits in hex: {key}");
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_refunded() {
    let flow = Flow::new().await;
    let job = flow.image().await;
    flow.break_media();
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("storage_unavailable", true));
    flow.mend_media();
    let job = flow.image().await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5).await;
}
