//! The way through the steps of a job: each begins when those that it takes from have ended, and what they made is written
//! down before. A job of one call goes it in one step, and writes nothing between.

use super::attempt::{Attempt, Broken, Made};
use super::step::Step;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use std::collections::{HashMap, HashSet};
use vydra_core::asset::Asset;
use vydra_core::job::StepCall;
use vydra_store::store::{PriorStep, StepRoute};

/// What steps have made, by their names.
pub(super) type Files<'a> = HashMap<&'a str, Vec<Asset>>;

/// What the last step made.
pub(super) async fn to_the_end(attempt: &Attempt<'_>) -> Result<Made, Broken> {
    let mut calls = attempt.job.call.calls();
    match calls.next() {
        Some(only) if only.name.is_none() => {
            attempt.stages.begin(only.number);
            let step = Step {
                attempt,
                call: only,
                files: Files::new(),
            };
            let prior = attempt.claimed.steps.get(&only.number);
            step.run(attempt.claimed.attempt, prior).await
        }
        Some(_) | None => several(attempt).await,
    }
}

async fn several(attempt: &Attempt<'_>) -> Result<Made, Broken> {
    let mut waiting: Vec<StepCall<'_>> = attempt.job.call.calls().collect();
    let mut files = Files::new();
    // What earlier attempts have finished is not run again.
    waiting.retain(|call| match attempt.claimed.steps.get(&call.number) {
        Some(PriorStep::Finished { outputs }) => {
            attempt.stages.finish(call.number);
            files.extend(call.name.map(|name| (name, outputs.clone())));
            false
        }
        Some(PriorStep::Unknown { .. } | PriorStep::Task { .. }) | None => true,
    });
    let mut running = FuturesUnordered::new();
    let mut trouble = None;
    loop {
        // With trouble of our own nothing more begins, but what runs was paid for and comes to its end.
        if trouble.is_none() {
            let done: HashSet<&str> = files.keys().copied().collect();
            let is_ready =
                |call: &StepCall<'_>| call.needs.iter().all(|name| done.contains(name.as_str()));
            for call in waiting.extract_if(.., |call| is_ready(call)) {
                let needed = call
                    .needs
                    .iter()
                    .filter_map(|name| files.get_key_value(name.as_str()));
                let step = Step {
                    attempt,
                    call,
                    files: needed.map(|(name, made)| (*name, made.clone())).collect(),
                };
                running.push(one(step));
            }
        }
        match running.next().await {
            Some((call, Ok(made))) if call.is_last => return Ok(made),
            Some((call, Ok(made))) => {
                files.extend(call.name.map(|name| (name, made.outputs)));
            }
            Some((_, Err(Broken::Ours(error)))) => trouble = Some(Broken::Ours(error)),
            Some((_, Err(other))) => return Err(other),
            // Nothing runs, and nothing can: steps wait for one that is not there.
            None => {
                return Err(
                    trouble.unwrap_or_else(|| Broken::Failed(attempt.failure("unreadable", true)))
                );
            }
        }
    }
}

/// A step to its end. When its provider is away, it alone is tried again.
async fn one(step: Step<'_>) -> (StepCall<'_>, Result<Made, Broken>) {
    let (attempt, number) = (step.attempt, step.call.number);
    let mut tries = attempt.claimed.attempt;
    let mut prior = attempt.claimed.steps.get(&number);
    attempt.stages.begin(number);
    let made = loop {
        match step.run(tries, prior).await {
            Err(Broken::Again(wait)) => {
                // Until a provider is asked again, nothing of it is bought.
                attempt.stages.rest(number, true);
                tokio::time::sleep(wait).await;
                (tries, prior) = (tries.saturating_add(1), None);
            }
            Err(Broken::Busy(wait)) => tokio::time::sleep(wait).await,
            Ok(made) if !step.call.is_last => break keep(&step, made).await,
            settled => break settled,
        }
    };
    if made.is_ok() {
        attempt.stages.finish(number);
    }
    (step.call, made)
}

/// Writes down what a step made, so that no later attempt makes it again.
async fn keep(step: &Step<'_>, made: Made) -> Result<Made, Broken> {
    let (attempt, number) = (step.attempt, step.call.number);
    let route = StepRoute {
        step: number,
        route: made.route,
        provider: made.provider.clone(),
    };
    let kept = attempt
        .insist("a step", || {
            let (store, until) = (attempt.engine.store(), attempt.lease_end());
            store.finish_step(attempt.lease, &route, made.outputs.clone(), until)
        })
        .await;
    match kept {
        Ok(()) => Ok(made),
        Err(Broken::LeaseLost) => {
            attempt.too_late(made.outputs).await;
            Err(Broken::LeaseLost)
        }
        Err(other) => Err(other),
    }
}
