//! G3: many jobs of a provider of moods, some of which are never answered. Time leaps over their deadlines, and then each must
//! have ended, with its refund unless it was delivered.

use super::{Outcome, Run, in_memory};
use crate::books::{self, Books};
use crate::fixture::template;
use crate::sim::{Act, Actor, OVERDUE, SWEEP, Sim, on_paused_time};
use anyhow::{Context, ensure};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use std::time::Duration;
use vydra_core::job::{Job, JobStatus, Mode};
use vydra_engine::{Asked, Caller, Preference};
use vydra_outbound::provider::{Accepted, ErrorKind};

/// Jobs that are open at once.
const WAVE: u64 = 500;
/// More than there are places: the last of a wave wait for those that are never answered, until their time is over too.
const PLACES: usize = 150;

fn mood(random: &mut StdRng) -> Act {
    match random.random_range(0..100) {
        0..40 => Act::Make,
        40..45 => Act::MakeOnly(0),
        45..55 => Act::Fail(ErrorKind::ContentRefused, Accepted::Yes),
        55..60 => Act::Fail(ErrorKind::Unavailable, Accepted::No),
        60..65 => Act::Task(1),
        65..70 => Act::FailingTask(1, ErrorKind::NoOutput),
        70..85 => Act::LostTask,
        _ => Act::Silence,
    }
}

pub(super) fn prove(run: &Run) -> Outcome {
    let folder = in_memory()?;
    let template = template(folder.path())?;
    let figures = on_paused_time(async {
        let mut random = StdRng::seed_from_u64(run.seed);
        let actor = Actor::new(false, move |_| mood(&mut random));
        let mut sim = Sim::new(&template, run.seed, actor, |setup| {
            setup.worker.concurrency = PLACES;
        })
        .await?;
        let caller = sim.app.caller_of(&sim.org, Mode::Live).await;
        sim.grant_plenty().await?;
        let (mut waves, mut leaps) = (0_u64, 0_u64);
        let mut left = run.count;
        while left > 0 {
            waves += 1;
            let wave = left.min(WAVE);
            for _ in 0..wave {
                submit(&sim, &caller).await?;
                run.progress.step(run.count);
            }
            left -= wave;
            leaps += until_ended(&mut sim).await?;
        }
        let books = sim.settle().await?;
        ensure!(
            books.jobs.len() as u64 == run.count,
            "{} jobs",
            books.jobs.len()
        );
        let of = |status: &str| books.jobs.iter().filter(|job| job.status == status).count();
        Ok(format!(
            "{} delivered, {} failed and refunded, in {waves} waves with {leaps} leaps over a deadline",
            of("completed"),
            of("failed")
        ))
    })?;
    Ok(figures)
}

async fn submit(sim: &Sim, caller: &Caller) -> anyhow::Result<Job> {
    let input = json!({"prompt": "a lighthouse"});
    let asked = Asked {
        preference: Preference::RespondAsync,
        ..Asked::default()
    };
    let input = input.as_object().cloned().context("an object")?;
    let started = sim
        .app
        .engine
        .generate(caller, "gemini/generate", input, asked)
        .await?;
    ensure!(
        started.job.status == JobStatus::Pending,
        "{:?}",
        started.job
    );
    Ok(started.job)
}

/// Says how many leaps it took. After each, whoever was over its time then is over: one sweep, and no more.
async fn until_ended(sim: &mut Sim) -> anyhow::Result<u64> {
    // Whatever comes to its end by itself does so, retries among it.
    sim.rest(Duration::from_mins(1)).await?;
    let mut leaps = 0;
    while sim.open_jobs().await? > 0 {
        ensure!(
            leaps < 5,
            "{} jobs outlive every deadline",
            sim.open_jobs().await?
        );
        leaps += 1;
        sim.app.clock.advance(OVERDUE);
        let leapt = sim.app.engine.now().as_micros();
        sim.rest(SWEEP).await?;
        let books = Books::read(sim.app.database())?;
        let late = books
            .jobs
            .iter()
            .find(|job| job.is_open() && job.deadline_at.is_none_or(|deadline| deadline <= leapt));
        ensure!(
            late.is_none(),
            "its time is over, and it has not ended: {late:?}"
        );
    }
    books::check(sim.app.database())?;
    Ok(leaps)
}
