//! Load: clients that buy, look, cancel and try again as fast as they are answered, and write down what they were told.

mod journal;

pub(crate) use journal::{REASON, Shared, Weather, compare, lock};

use crate::api::{Api, Purchase, is_final};
use anyhow::{Context, bail, ensure};
use journal::{Sent, may_be};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

fn purchase(random: &mut StdRng, key: &str) -> Purchase {
    let outcome = match random.random_range(0..100) {
        0..35 => "",
        35..50 => "GENERATION_FAILED",
        50..57 => "CONTENT_POLICY",
        57..64 => "PROCESSING_TIMEOUT",
        64..70 => "PARTIAL=0",
        70..82 => "SLOW=300ms",
        82..94 => "FLAKY=1",
        _ => "LOST",
    };
    let (path, body) = match random.random_range(0..100) {
        // A picture takes a while to draw.
        0..4 => ("models/gemini/generate", json!({"prompt": "a wave"})),
        4..30 => {
            let input = json!({"prompt": "a wave"});
            (
                "jobs",
                json!({"workflow": "generate_image", "input": input}),
            )
        }
        _ => ("models/elevenlabs/tts", json!({"text": "Again."})),
    };
    let outcome = if path == "jobs" && outcome.is_empty() {
        "GENERATION_FAILED"
    } else {
        outcome
    };
    Purchase {
        path: path.into(),
        body,
        outcome,
        // A lost one is never heard of again.
        respond_async: outcome == "LOST" || random.random_bool(0.4),
        key: Some(key.to_owned()),
    }
}

/// One client: calls as fast as it is answered, until the server is gone or it is told to stop.
pub(crate) async fn press(
    api: Api,
    journal: Shared,
    name: String,
    mut random: StdRng,
    stop: CancellationToken,
) -> anyhow::Result<()> {
    for number in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        let alive = match random.random_range(0..100) {
            0..60 => {
                let overdue = lock(&journal).overdue();
                let (key, wanted) = overdue.unwrap_or_else(|| {
                    let key = format!("{name}-{number}");
                    let wanted = purchase(&mut random, &key);
                    let sent = Sent::new(wanted.clone());
                    lock(&journal).sent.insert(key.clone(), sent);
                    (key, wanted)
                });
                send(&api, &journal, &key, &wanted).await?
            }
            60..70 => {
                let again = {
                    let journal = lock(&journal);
                    let known: Vec<_> = journal
                        .sent
                        .iter()
                        .filter(|(_, sent)| sent.job.is_some())
                        .collect();
                    (!known.is_empty()).then(|| {
                        let (key, sent) = known[random.random_range(0..known.len())];
                        (key.clone(), sent.purchase.clone())
                    })
                };
                match again {
                    Some((key, wanted)) => send(&api, &journal, &key, &wanted).await?,
                    None => true,
                }
            }
            70..85 => {
                let job = lock(&journal).some_job(&mut random);
                match job {
                    Some(job) => cancel(&api, &journal, &job).await?,
                    None => true,
                }
            }
            _ => {
                let job = lock(&journal).some_job(&mut random);
                match job {
                    Some(job) => look(&api, &journal, &job).await?,
                    None => true,
                }
            }
        };
        if !alive {
            break;
        }
    }
    Ok(())
}

async fn send(api: &Api, journal: &Shared, key: &str, wanted: &Purchase) -> anyhow::Result<bool> {
    let begun = lock(journal).weather;
    let answer = api.buy(wanted).await?;
    // Two clients may try a known key at once.
    let conflict = answer.as_ref().is_some_and(|answer| answer.status == 409);
    if conflict
        && lock(journal)
            .sent
            .get(key)
            .is_some_and(|sent| sent.job.is_some())
    {
        return Ok(true);
    }
    lock(journal).learn(key, answer.as_ref(), begun)?;
    Ok(answer.is_some())
}

async fn cancel(api: &Api, journal: &Shared, job: &str) -> anyhow::Result<bool> {
    let begun = lock(journal).weather;
    let answer = api.cancel(job).await?;
    let mut journal = lock(journal);
    let weather = journal.weather.max(begun);
    let Some(answer) = answer else {
        ensure!(weather > Weather::Calm, "the cancel of {job} was cut off");
        return Ok(false);
    };
    journal.answers += 1;
    match answer.status {
        200 => {
            let refunded = answer.body["creditsRefunded"].as_i64();
            ensure!(
                refunded == answer.body["creditsCharged"].as_i64(),
                "cancelled without its refund: {answer:?}"
            );
            journal.ended(job, "cancelled", refunded)?;
        }
        409 => {}
        _ if may_be(&answer, weather) => {}
        _ => bail!("cancelling {job} was answered {answer:?}"),
    }
    Ok(true)
}

async fn look(api: &Api, journal: &Shared, job: &str) -> anyhow::Result<bool> {
    let (had_ended, begun) = {
        let journal = lock(journal);
        (journal.ends.contains_key(job), journal.weather)
    };
    let answer = api.get(&format!("jobs/{job}")).await?;
    let mut journal = lock(journal);
    let weather = journal.weather.max(begun);
    let Some(answer) = answer else {
        ensure!(weather > Weather::Calm, "a look at {job} was cut off");
        return Ok(false);
    };
    journal.answers += 1;
    if answer.status == 503 && weather == Weather::Storm {
        return Ok(true);
    }
    ensure!(answer.status == 200, "{job} is lost: {answer:?}");
    let status = answer.body["status"].as_str().unwrap_or_default();
    let refunded = answer.body["creditsRefunded"].as_i64();
    // A read that began before the end may arrive after it was written down.
    if is_final(status) || had_ended {
        journal.ended(job, status, refunded)?;
    }
    Ok(true)
}

/// Sends again what was cut off by an earlier kill. What is being sent is sent by nobody else, so nothing may answer that it is in
/// progress.
pub(crate) async fn ask_again(api: Api, journal: Shared) -> anyhow::Result<()> {
    // They hold the places that the others wait for.
    let mut alive = cancel_lost(&api, &journal).await?;
    while alive {
        let next = lock(&journal).unanswered();
        let Some((key, wanted)) = next else {
            cancel_lost(&api, &journal).await?;
            break;
        };
        alive = send(&api, &journal, &key, &wanted).await?;
    }
    Ok(())
}

/// Cancels what is lost by script and would hold a place until its deadline; whether the server is still there.
async fn cancel_lost(api: &Api, journal: &Shared) -> anyhow::Result<bool> {
    let lost: Vec<String> = {
        let journal = lock(journal);
        let lost = journal
            .sent
            .values()
            .filter(|sent| sent.purchase.outcome == "LOST");
        lost.filter_map(|sent| sent.job.clone())
            .filter(|job| !journal.ends.contains_key(job))
            .collect()
    };
    for job in lost {
        if !cancel(api, journal, &job).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Until all that was sent is answered and every job of it has ended, which must be within `patience`.
pub(crate) async fn drain(
    api: &Api,
    journal: &Shared,
    patience: Duration,
) -> anyhow::Result<Duration> {
    let began = Instant::now();
    ask_again(api.clone(), Arc::clone(journal)).await?;
    let left: Vec<String> = {
        let journal = lock(journal);
        ensure!(
            journal.sent.values().all(|sent| sent.job.is_some()),
            "a key bought nothing although its server lives: {:?}",
            journal.sent.iter().find(|(_, sent)| sent.job.is_none())
        );
        let jobs = journal.sent.values().filter_map(|sent| sent.job.clone());
        jobs.filter(|job| !journal.ends.contains_key(job)).collect()
    };
    for job in left {
        let rest = patience.saturating_sub(began.elapsed()).as_secs().min(30);
        let path = format!("jobs/{job}?wait={rest}");
        let answer = api.get(&path).await?.context("the server is gone")?;
        let status = answer.body["status"].as_str().unwrap_or_default();
        ensure!(is_final(status), "{job} does not end: {answer:?}");
        lock(journal).ended(&job, status, answer.body["creditsRefunded"].as_i64())?;
    }
    let took = began.elapsed();
    ensure!(took <= patience, "jobs took {took:?} to end");
    Ok(took)
}
