//! G7: fifty hands at the end of one job, on every core: one of them ends it, and it is refunded once at most.

use super::{Outcome, Run, in_memory};
use crate::books;
use crate::fixture::{Fixture, overdue};
use anyhow::{Context, ensure};
use std::sync::Arc;
use tokio::task::JoinSet;
use vydra_core::ids::OrgId;
use vydra_core::job::Mode;
use vydra_store::StoreError;
use vydra_store::store::{Cancellation, Lease};
use vydra_testkit::Database;

const HANDS: u64 = 50;
const PRICE: i64 = 7;

pub(super) fn prove(run: &Run) -> Outcome {
    let folder = in_memory()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let figures = runtime.block_on(async {
        let database = Database::new(run.store, folder.path());
        let database = database.context("there are no programs of Postgres")?;
        let fixture = Arc::new(Fixture::new(database, run.seed));
        let mut winners = [0_u64; 4];
        for number in 0..run.count {
            let winner = one(&fixture, number).await?;
            winners[winner] += 1;
            run.progress.step(run.count);
        }
        let books = books::check(&fixture.database)?;
        books::ended(&books)?;
        let [delivered, failed, cancelled, expired] = winners;
        anyhow::Ok(format!(
            "{HANDS} hands each: {delivered} delivered, {failed} failed, {cancelled} cancelled, {expired} expired; one end and one refund at most"
        ))
    })?;
    Ok(figures)
}

/// Who ended it.
async fn one(fixture: &Arc<Fixture>, number: u64) -> anyhow::Result<usize> {
    let org = fixture
        .organization(&format!("org {number}"), 100, 0)
        .await?;
    let job = fixture.new_job(&org, Mode::Live, PRICE);
    let id = job.id.clone();
    fixture.store.submit_job(job).await?;
    let claimed = fixture
        .store
        .claim_jobs(fixture.claim(Mode::Live, 1))
        .await?;
    let lease = claimed
        .jobs
        .first()
        .context("nothing to claim")?
        .lease
        .clone();
    ensure!(lease.job == id, "another job was claimed");
    // Over its time, so that the sweep may end it too.
    fixture.advance(vydra_core::job::PROCESSING_LIMIT);
    let mut hands = JoinSet::new();
    for hand in 0..HANDS {
        let (fixture, lease, org) = (Arc::clone(fixture), lease.clone(), org.clone());
        hands.spawn(async move {
            let kind = usize::try_from((hand + number) % 5)?;
            let ended = match kind {
                0 => settled(&fixture, &lease, Some(&org)).await?,
                1 => settled(&fixture, &lease, None).await?,
                2 => {
                    let (entry, now) = (fixture.entry(), fixture.now());
                    let answer = fixture
                        .store
                        .cancel_job(&org, &lease.job, entry, now)
                        .await?;
                    matches!(answer, Cancellation::Now(_))
                }
                3 => {
                    let entries = vec![fixture.entry()];
                    let expired = fixture
                        .store
                        .expire_jobs(overdue(), entries, fixture.now())
                        .await?;
                    expired.count == 1
                }
                _ => {
                    // Ends nothing: what was handed back can still be ended by the others.
                    match fixture.store.hand_back(&lease, fixture.now(), &[]).await {
                        Ok(()) | Err(StoreError::LeaseLost) => false,
                        Err(error) => return Err(error.into()),
                    }
                }
            };
            anyhow::Ok(ended.then_some(kind))
        });
    }
    let mut winners = Vec::new();
    while let Some(hand) = hands.join_next().await {
        winners.extend(hand??);
    }
    ensure!(winners.len() == 1, "{id} was ended by {winners:?}");
    Ok(winners[0])
}

/// With an organization it gets one of its outputs.
async fn settled(fixture: &Fixture, lease: &Lease, org: Option<&OrgId>) -> anyhow::Result<bool> {
    let settlement = match org {
        Some(org) => fixture.completed(lease, (org, Mode::Live), PRICE, 1),
        None => fixture.failed(),
    };
    match fixture.store.settle_job(lease, settlement).await {
        Ok(()) => Ok(true),
        Err(StoreError::LeaseLost) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
