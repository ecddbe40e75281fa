//! Providers that refuse, have little room, or take their time.

use super::{Prepared, buy, ended, image, keyed, later, purchase, submit_async};
use crate::sim::{Act, Sim};
use std::time::Duration;
use vydra_outbound::provider::{Accepted, ErrorKind};

pub(super) async fn provider_recovers(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let mut failures = 2_u32;
    sim.actor.play(move |_| {
        failures = failures.saturating_sub(1);
        if failures > 0 {
            Act::Fail(ErrorKind::Unavailable, Accepted::No)
        } else {
            Act::Make
        }
    });
    let asked = keyed(buy(sim, "models/gemini/generate", &image()), "k");
    let (id, _) = purchase(sim, asked).await?;
    ended(sim, &id).await?;
    Ok(vec![id])
}

/// It refuses once, and then makes one thing after the other.
pub(super) async fn bounded(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    let mut has_refused = false;
    sim.actor.play(move |_| {
        if std::mem::replace(&mut has_refused, true) {
            Act::MakeIn(Duration::from_secs(3))
        } else {
            Act::Fail(ErrorKind::RateLimited, Accepted::No)
        }
    });
    let mut jobs = Vec::new();
    for key in ["k", "l"] {
        let asked = later(keyed(buy(sim, "models/gemini/generate", &image()), key));
        jobs.push(purchase(sim, asked).await?.0);
    }
    for job in &jobs {
        ended(sim, job).await?;
    }
    Ok(jobs)
}

pub(super) async fn task(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::Task(2));
    submit_async(sim, &Prepared::default()).await
}

pub(super) async fn failing_task(sim: &mut Sim, _: &Prepared) -> anyhow::Result<Vec<String>> {
    sim.actor.play(|_| Act::FailingTask(1, ErrorKind::NoOutput));
    submit_async(sim, &Prepared::default()).await
}
