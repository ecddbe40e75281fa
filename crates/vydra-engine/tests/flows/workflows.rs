//! Workflows of several steps: side by side where they can be, each bought once, and one end for all.

use crate::fixture::{CREDITS, Flow, object, reason, reference};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use vydra_core::asset::{AssetRole, MediaKind};
use vydra_core::job::{Job, JobStatus};
use vydra_engine::{Error, Quoted};
use vydra_outbound::provider::Request;
use vydra_testkit::{
    Accepted, ErrorKind, Gate, PollReply, Reply, ScriptedProvider, files, refused,
};

const PRICE: i64 = 60;

/// A picture, two from it side by side, and a film of all three.
const DIAMOND: &str = r#"
[[workflows]]
slug = "diamond"
name = "Diamond"
description = "d"
credits = 60
example_input = { theme = "t" }
[workflows.input_schema]
type = "object"
[workflows.input_schema.properties]
theme = { type = "string", default = "a barn", minLength = 1 }
imageUrl = { type = "string", x-media = "image" }
[[workflows.steps]]
name = "plot"
model = "gemini-image"
given = "imageUrl"
input = { prompt = "plot of {{theme}}" }
[[workflows.steps]]
name = "left"
model = "gemini-edit"
input = { prompt = "left of {{theme}}", imageUrl = "{{steps.plot}}" }
[[workflows.steps]]
name = "right"
model = "gemini-edit"
input = { prompt = "right of {{theme}}", imageUrl = "{{steps.plot}}" }
[[workflows.steps]]
name = "film"
model = "timelapse-film"
input = { imageUrls = ["{{steps.plot}}", "{{steps.left}}", "{{steps.right}}"] }
"#;

async fn flow() -> Flow {
    flow_with(true).await
}

async fn flow_with(repeatable: bool) -> Flow {
    Flow::with(|setup| {
        setup.catalog = DIAMOND.to_owned();
        setup.repeatable = repeatable;
    })
    .await
}

async fn start(flow: &Flow) -> Job {
    flow.start("diamond", json!({"theme": "a shed"})).await
}

/// The first word of each request's prompt, or its model.
fn asked(provider: &ScriptedProvider) -> Vec<String> {
    provider.submitted().iter().map(step_of).collect()
}

fn step_of(request: &Request) -> String {
    let prompt = request.input.get("prompt").and_then(Value::as_str);
    let word = prompt.and_then(|prompt| prompt.split(' ').next());
    word.unwrap_or("film").to_owned()
}

fn times(provider: &ScriptedProvider, step: &str) -> usize {
    asked(provider)
        .iter()
        .filter(|asked| *asked == step)
        .count()
}

fn hold(flow: &Flow, step: &'static str) -> Gate {
    let gate = Gate::closed();
    flow.provider
        .next_for(step, Reply::Held(gate.clone(), Box::new(Reply::Made)));
    gate
}

/// Ends when each of these tasks was polled: then each was written down.
async fn until_polled(provider: Arc<ScriptedProvider>, tasks: &[&str]) {
    let is_polled = |task: &&str| provider.polled().iter().any(|polled| polled == task);
    while !tasks.iter().all(is_polled) {
        tokio::task::yield_now().await;
    }
}

/// Ends when this many requests were made.
async fn until_asked(provider: Arc<ScriptedProvider>, count: usize) {
    while provider.submitted().len() < count {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn steps_run_side_by_side_and_hand_their_files_on() {
    let flow = flow().await;
    let (left, right) = (hold(&flow, "left"), hold(&flow, "right"));
    let drawn = files::png(16, 9);
    flow.provider
        .next_for("plot", Reply::Files(vec![drawn.clone()]));
    let job = start(&flow).await;
    assert_eq!(flow.credits().await, CREDITS - PRICE);
    flow.work();
    // Neither could be reached if it waited for the other.
    left.reached().await;
    right.reached().await;
    assert_eq!(times(&flow.provider, "film"), 0);
    right.open();
    left.open();
    let ended = flow
        .engine
        .job(&flow.caller, job.id.as_str(), Duration::from_secs(20))
        .await
        .unwrap();
    assert_eq!(ended.status, JobStatus::Completed);
    assert_eq!(flow.credits().await, CREDITS - PRICE);

    let requests = flow.provider.submitted();
    assert_eq!(requests.len(), 4);
    assert_eq!(requests[0].input["prompt"], "plot of a shed");
    for request in &requests[1..3] {
        let [media] = &request.media[..] else {
            panic!("{request:?}");
        };
        assert_eq!((media.field.as_str(), &media.bytes), ("imageUrl", &drawn));
    }
    let film = &requests[3];
    assert_eq!((film.kind, film.media.len()), (MediaKind::Video, 3));
    assert!(film.media.iter().all(|media| media.field == "imageUrls"));
    assert_eq!(film.media[0].bytes, drawn);

    // The result is the last step's; what was made on the way is kept, and not shown with it.
    let ended = flow.now(&job).await;
    let [video] = &ended.outputs[..] else {
        panic!("{ended:?}");
    };
    assert_eq!(
        (video.kind, video.role),
        (MediaKind::Video, AssetRole::Output)
    );
    assert_eq!(
        (ended.call.model.as_str(), ended.progress),
        ("timelapse-film", 100)
    );
    assert_eq!(ended.status_message, None);
    assert_eq!(flow.media_files().len(), 4);
}

/// A step begins as soon as its own are there, whatever else still runs.
#[tokio::test]
async fn a_step_waits_only_for_those_that_it_takes_from() {
    let longer = DIAMOND
        .replace(
            "[[workflows.steps]]\nname = \"film\"",
            "[[workflows.steps]]\nname = \"more\"\nmodel = \"gemini-edit\"\ninput = { prompt = \"more\", imageUrl = \"{{steps.left}}\" }\n[[workflows.steps]]\nname = \"film\"",
        )
        .replace("\"{{steps.right}}\"]", "\"{{steps.right}}\", \"{{steps.more}}\"]");
    let flow = Flow::with(|setup| setup.catalog = longer).await;
    let (right, more) = (hold(&flow, "right"), hold(&flow, "more"));
    let job = start(&flow).await;
    flow.work();
    right.reached().await;
    more.reached().await;
    more.open();
    right.open();
    let wait = Duration::from_secs(20);
    let engine = &flow.engine;
    let job = engine.job(&flow.caller, job.id.as_str(), wait).await;
    assert_eq!(job.unwrap().status, JobStatus::Completed);
}

#[tokio::test]
async fn a_file_that_is_given_takes_the_place_of_its_step() {
    let flow = flow().await;
    let picture = flow.picture().await;
    let job = flow
        .start("diamond", json!({"imageUrl": reference(&picture)}))
        .await;
    assert_eq!(job.input["imageUrl"], reference(&picture));
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - 5 - PRICE)
        .await;
    let requests = &flow.provider.submitted()[1..];
    let mut steps: Vec<String> = requests.iter().map(step_of).collect();
    steps.sort_unstable();
    assert_eq!(steps, ["film", "left", "right"]);
    assert!(requests.iter().all(|request| !request.media.is_empty()));
    assert_eq!(requests.last().unwrap().media.len(), 3);
}

#[tokio::test]
async fn what_was_decided_at_the_start_no_catalogue_changes() {
    let mut flow = flow().await;
    let job = start(&flow).await;
    flow.setup.catalog = DIAMOND
        .replace("plot of", "cellar of")
        .replace("credits = 60", "credits = 900");
    flow.restart().await;
    flow.step().await;
    flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
        .await;
    assert_eq!(
        flow.provider.submitted()[0].input["prompt"],
        "plot of a shed"
    );
}

/// Whatever each step was doing: those that have ended are not run again.
#[tokio::test]
async fn after_a_crash_only_what_had_not_ended_is_run_again() {
    for (held, before, after) in [
        (&["plot"][..], 1, &["film", "left", "plot", "right"][..]),
        (&["left", "right"], 3, &["film", "left", "right"]),
        (&["right"], 3, &["film", "right"]),
        (&["timelapse-film"], 4, &["film"]),
    ] {
        let mut flow = flow().await;
        let gates: Vec<Gate> = held.iter().map(|step| hold(&flow, step)).collect();
        let job = start(&flow).await;
        let (store, org, id) = (flow.store.clone(), flow.org.id.clone(), job.id.clone());
        let all_held = async move {
            for gate in &gates {
                gate.reached().await;
            }
            // Of two side by side one has ended when half of all is done.
            let done = async || store.job(&org, &id).await.unwrap().unwrap().progress;
            while held == ["right"] && done().await < 50 {
                tokio::task::yield_now().await;
            }
        };
        flow.crash_at(all_held).await;
        assert_eq!(flow.provider.submitted().len(), before, "{held:?}");
        flow.expect(&job, JobStatus::Running, CREDITS - PRICE).await;
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
            .await;
        let mut again = asked(&flow.provider).split_off(before);
        again.sort_unstable();
        assert_eq!(again, after, "{held:?}");
    }
}

/// Also at a provider that may not be asked twice.
#[tokio::test]
async fn after_a_crash_the_tasks_of_steps_are_polled_on() {
    for repeatable in [true, false] {
        let mut flow = flow_with(repeatable).await;
        flow.provider.next_for("left", Reply::Task("up-left"));
        flow.provider.next_for("right", Reply::Task("up-right"));
        let job = start(&flow).await;
        let provider = flow.provider.clone();
        flow.crash_at(until_polled(provider, &["up-left", "up-right"]))
            .await;
        for task in ["up-left", "up-right"] {
            let files = vec![files::png(16, 9)];
            flow.provider.next_poll_of(task, PollReply::Files(files));
        }
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
            .await;
        assert_eq!(flow.provider.submitted().len(), 4, "each bought once");
    }
}

#[tokio::test]
async fn a_crash_while_a_step_is_asked_for_that_may_not_be_asked_twice_ends_the_whole() {
    let mut flow = flow_with(false).await;
    let gate = hold(&flow, "left");
    flow.provider.next_for("right", Reply::Task("up-right"));
    let job = start(&flow).await;
    let provider = flow.provider.clone();
    flow.crash_at(async move {
        gate.reached().await;
        until_asked(provider, 3).await;
    })
    .await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("unknown_outcome", true));
    assert_eq!(
        flow.provider.submitted().len(),
        3,
        "nothing was asked again"
    );
}

#[tokio::test]
async fn a_graceful_stop_keeps_what_was_done() {
    let flow = flow_with(false).await;
    flow.provider.next_for("left", Reply::Task("up-left"));
    flow.provider.next_for("right", Reply::Task("up-right"));
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    let job = start(&flow).await;
    until_polled(flow.provider.clone(), &["up-left", "up-right"]).await;
    stop.cancel();
    stopped.await;
    assert!(flow.provider.cancelled().is_empty(), "it is still wanted");
    for task in ["up-left", "up-right"] {
        flow.provider
            .next_poll_of(task, PollReply::Files(vec![files::png(16, 9)]));
    }
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
        .await;
    assert_eq!(flow.provider.submitted().len(), 4);
}

#[tokio::test]
async fn a_cancel_ends_every_step_and_refunds_the_whole_once() {
    let flow = flow().await;
    flow.provider.next_for("left", Reply::Task("up-left"));
    flow.provider.next_for("right", Reply::Task("up-right"));
    let job = start(&flow).await;
    let worked = flow.step();
    let cancelled = async {
        until_polled(flow.provider.clone(), &["up-left", "up-right"]).await;
        flow.cancel(&job).await.unwrap();
    };
    tokio::join!(worked, cancelled);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    let mut upstream = flow.provider.cancelled();
    upstream.sort_unstable();
    assert_eq!(upstream, ["up-left", "up-right"]);
    assert_eq!(flow.step().await, 0);
    assert_eq!(times(&flow.provider, "film"), 0);
    flow.cancel(&job).await.unwrap();
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
}

/// The worker is not told, and learns of it when it writes.
#[tokio::test]
async fn a_cancel_by_another_process_ends_every_step_too() {
    let flow = flow().await;
    flow.provider.next_for("left", Reply::Task("up-left"));
    let right = hold(&flow, "right");
    let job = start(&flow).await;
    let elsewhere = async {
        right.reached().await;
        until_polled(flow.provider.clone(), &["up-left"]).await;
        flow.cancel_elsewhere(&job).await;
        right.open();
    };
    tokio::join!(flow.step(), elsewhere);
    flow.expect(&job, JobStatus::Cancelled, CREDITS).await;
    assert_eq!(flow.provider.cancelled(), ["up-left"]);
    assert_eq!(times(&flow.provider, "film"), 0);
    // What came all the same is the operator's.
    assert_eq!(flow.store.late_jobs().await.unwrap(), 1);
}

#[tokio::test]
async fn when_one_step_fails_the_others_are_ended_and_the_whole_is_refunded() {
    let flow = flow().await;
    flow.provider.next_for("left", Reply::Task("up-left"));
    let gate = Gate::closed();
    let refusal = refused(ErrorKind::ContentRefused, Accepted::No);
    let held = Reply::Held(gate.clone(), Box::new(Reply::Error(refusal)));
    flow.provider.next_for("right", held);
    let job = start(&flow).await;
    let when_left_is_taken = async {
        gate.reached().await;
        until_polled(flow.provider.clone(), &["up-left"]).await;
        gate.open();
    };
    tokio::join!(flow.step(), when_left_is_taken);
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("content_policy", false));
    assert_eq!(job.failure.unwrap().message, "Failed to generate video");
    assert_eq!(flow.provider.cancelled(), ["up-left"]);
    assert_eq!(flow.step().await, 0);
    assert_eq!(times(&flow.provider, "film"), 0);
}

#[tokio::test]
async fn a_step_whose_provider_is_away_is_tried_again_alone() {
    for repeatable in [true, false] {
        let flow = flow_with(repeatable).await;
        // Twice each, which is more in all than one step may.
        for step in ["plot", "left", "right", "timelapse-film"] {
            for _ in 0..2 {
                let away = refused(ErrorKind::Unavailable, Accepted::No);
                flow.provider.next_for(step, Reply::Error(away));
            }
        }
        let job = start(&flow).await;
        assert_eq!(flow.step().await, 1);
        flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
            .await;
        for step in ["plot", "left", "right", "film"] {
            assert_eq!(times(&flow.provider, step), 3, "{step}");
        }
    }
}

#[tokio::test]
async fn a_step_that_fails_too_often_fails_the_whole() {
    let flow = flow().await;
    for _ in 0..3 {
        let away = refused(ErrorKind::Unavailable, Accepted::No);
        flow.provider.next_for("right", Reply::Error(away));
    }
    let job = start(&flow).await;
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("provider_unavailable", true));
    assert_eq!(
        (
            times(&flow.provider, "right"),
            times(&flow.provider, "left")
        ),
        (3, 1)
    );
}

/// It was refused for now, so that nothing is unknown about it.
#[tokio::test]
async fn a_stop_while_a_step_rests_loses_nothing() {
    let flow = flow_with(false).await;
    let mut away = refused(ErrorKind::Unavailable, Accepted::No);
    away.retry_after = Some(Duration::from_mins(5));
    flow.provider.next_for("plot", Reply::Error(away));
    let stop = CancellationToken::new();
    let stopped = flow.work_until(stop.clone());
    let job = start(&flow).await;
    until_asked(flow.provider.clone(), 1).await;
    stop.cancel();
    stopped.await;
    assert_eq!(flow.step().await, 1);
    flow.expect(&job, JobStatus::Completed, CREDITS - PRICE)
        .await;
    assert_eq!(times(&flow.provider, "plot"), 2);
}

#[tokio::test]
async fn a_step_that_makes_something_else_fails_the_whole() {
    for wrong in [vec![files::wav()], vec![files::mp4()], Vec::new()] {
        let flow = flow().await;
        flow.provider.next_for("plot", Reply::Files(wrong));
        let job = start(&flow).await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
        assert_eq!(reason(&job), ("no_output", true));
        assert_eq!(asked(&flow.provider), ["plot"]);
        assert!(job.outputs.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_is_lost_between_two_steps_fails_the_whole() {
    let mut flow = flow().await;
    let gates = [hold(&flow, "left"), hold(&flow, "right")];
    let job = start(&flow).await;
    flow.crash_at(async move {
        for gate in gates {
            gate.reached().await;
        }
    })
    .await;
    let [file] = &flow.media_files()[..] else {
        panic!();
    };
    std::fs::remove_file(file).unwrap();
    flow.step().await;
    let job = flow.expect(&job, JobStatus::Failed, CREDITS).await;
    assert_eq!(reason(&job), ("input_unreadable", false));
}

#[tokio::test]
async fn progress_is_that_of_all_steps_and_never_goes_back() {
    let mut flow = flow().await;
    let (left, right) = (Gate::at_progress(60), Gate::at_progress(20));
    for (step, gate) in [("left", &left), ("right", &right)] {
        let held = Reply::Held(gate.clone(), Box::new(Reply::Made));
        flow.provider.next_for(step, held);
    }
    let job = start(&flow).await;
    flow.work();
    // 100, 60, 20 and 0 of four.
    let halfway = loop {
        let now = flow.now(&job).await;
        if now.progress >= 45 {
            break now;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(halfway.progress, 45);
    assert_eq!(
        halfway.status_message.as_deref(),
        Some("Steps 2, 3 of 4: left, right")
    );
    flow.crash().await;
    let film = Gate::at_progress(0);
    flow.provider.next_for(
        "timelapse-film",
        Reply::Held(film.clone(), Box::new(Reply::Made)),
    );
    flow.work();
    film.reached().await;
    let last = loop {
        let now = flow.now(&job).await;
        assert!(now.progress >= 45, "{now:?}");
        if now.progress == 75 && now.status_message.as_deref() == Some("Step 4 of 4: film") {
            break now;
        }
        tokio::task::yield_now().await;
    };
    assert_eq!(last.status, JobStatus::Running);
    film.open();
    let wait = Duration::from_secs(20);
    let job = flow
        .engine
        .job(&flow.caller, job.id.as_str(), wait)
        .await
        .unwrap();
    assert_eq!((job.status, job.progress), (JobStatus::Completed, 100));
}

#[tokio::test]
async fn a_workflow_one_of_whose_models_has_no_provider_cannot_be_started() {
    let fal = ScriptedProvider::new("fal", true);
    let flow = Flow::with(|setup| {
        setup.catalog = DIAMOND.to_owned();
        setup.fallback = false;
        setup.others.push(fal);
    })
    .await;
    let input = || object(json!({}));
    let asked = vydra_engine::Asked::default();
    let refused = flow
        .engine
        .create_job(&flow.caller, "diamond", input(), asked)
        .await;
    assert!(
        matches!(&refused, Err(Error::ModelNotFound { model, .. }) if model == "timelapse-film"),
        "{refused:?}"
    );
    let quoted = flow
        .engine
        .quote(&flow.caller, Quoted::Workflow("diamond"), input());
    assert!(matches!(quoted, Err(Error::ModelNotFound { .. })));
    assert_eq!(flow.credits().await, CREDITS);
}

#[tokio::test]
async fn the_sandbox_scripts_the_whole() {
    for (wish, status, asked_for) in [
        ("GENERATION_FAILED", JobStatus::Failed, 0),
        ("CONTENT_POLICY", JobStatus::Failed, 0),
        ("PARTIAL=0", JobStatus::Failed, 4),
        ("FLAKY=2", JobStatus::Completed, 4),
    ] {
        let mut flow = Flow::in_the_sandbox().await;
        flow.setup.catalog = DIAMOND.to_owned();
        flow.restart().await;
        let before = flow.credits().await;
        let job = flow
            .start_simulating(Some(wish), "diamond", json!({}))
            .await;
        flow.step().await;
        let credits = match status {
            JobStatus::Completed => before - PRICE,
            _ => before,
        };
        flow.expect(&job, status, credits).await;
        assert_eq!(flow.provider.submitted().len(), asked_for, "{wish}");
    }
}

#[tokio::test]
async fn the_shipped_timelapses_run() {
    let flow = Flow::new().await;
    let picture = flow.picture().await;
    for (workflow, input, steps) in [
        ("house-timelapse", json!({"theme": "a castle"}), 6),
        ("house-timelapse", json!({}), 6),
        ("renovation-timelapse", json!({"theme": "a kitchen"}), 5),
        (
            "renovation-timelapse",
            json!({"imageUrl": reference(&picture)}),
            4,
        ),
    ] {
        let (before, credits) = (flow.provider.submitted().len(), flow.credits().await);
        let job = flow.start(workflow, input).await;
        flow.step().await;
        let job = flow.expect(&job, JobStatus::Completed, credits - 150).await;
        assert_eq!(
            flow.provider.submitted().len() - before,
            steps,
            "{workflow}"
        );
        assert_eq!(job.outputs[0].kind, MediaKind::Video);
    }
}

/// What a reader copies must work.
#[tokio::test]
async fn the_example_of_the_manual_runs() {
    let manual = include_str!("../../../../docs/workflows.md");
    let (_, example) = manual.split_once("```toml\n# workflows.toml\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let flow = Flow::with(|setup| setup.catalog = example.to_owned()).await;
    let picture = flow.picture().await;
    let mut credits = CREDITS - 5;
    for (input, steps) in [
        (
            json!({"product": "a teapot"}),
            ["kitchen", "away", "film", "photo"].as_slice(),
        ),
        (
            json!({"product": "a teapot", "imageUrl": reference(&picture), "place": "the sea", "seconds": 2}),
            &["kitchen", "away", "film"],
        ),
    ] {
        let job = flow.start("product-film", input).await;
        let names: Vec<&str> = job
            .call
            .steps
            .iter()
            .map(|step| step.name.as_str())
            .collect();
        assert!(steps.iter().all(|step| names.contains(step)), "{names:?}");
        assert_eq!(names.len(), steps.len());
        flow.step().await;
        credits -= 40;
        flow.expect(&job, JobStatus::Completed, credits).await;
    }
    let requests = flow.provider.submitted();
    let prompts: Vec<&str> = requests
        .iter()
        .filter_map(|request| request.input.get("prompt")?.as_str())
        .collect();
    for place in ["a garden in summer", "the sea"] {
        let shown = format!("The same object, a teapot, in this place: {place}");
        assert!(prompts.contains(&shown.as_str()), "{prompts:?}");
    }
    assert_eq!(requests.last().unwrap().input["seconds"], 2);
}
